//! The update machine: takes a device from a manifest to a confirmed image, whatever the power does.
//!
//! 1. [`start`](Update::start) asks to [`Load`](Event::Load) the journal and takes up what it finds there.
//! 2. [`announce`](Update::announce) gives it a manifest. It is *verified*: signature, structure, vendor, class, size and
//!    sequence. The host may [`defer`](Update::defer) or [`veto`](Update::veto).
//! 3. *Fetching*: the inactive slot is erased a bounded way ahead, [`Fetch`](Event::Fetch) asks for bytes,
//!    [`data`](Update::data) turns them into [`Store`](Event::Store), and each erase block that is complete is
//!    [recorded](Event::Record), with the midstate of the hash.
//!    Bytes may come in order, in any pieces; or, with [`Config::block`], blocks of that size in any order, as far as 64 of
//!    them reach: [`missing`](Update::missing) says which. Where the manifest names chunk digests, the list of them is
//!    fetched first ([`payload`](Update::payload) says from where) and each chunk is checked when it is whole: a bad one
//!    alone is fetched again, and after a reboot the chunks that are there are found and kept.
//!    Where a release brings several images they are fetched one after the other, in the order of their numbers.
//! 4. *Fetched*: the digest of what arrived is right. All of it, of all images, is loaded again and hashed once more: *validated*.
//! 5. *Ready*: the host may still defer or veto. Then the journal says so and [`Activate`](Event::Activate) asks for a reboot.
//! 6. *Trial*: the new image runs. [`confirm`](Update::confirm) makes it the one to boot and raises the floor under which
//!    sequence numbers are refused; [`reject`](Update::reject), or silence for [`Config::trial`], reverts.
//!
//! What could not be fetched, or was not what was signed for, is fetched again after a pause that doubles each time: see
//! [`Config::backoff`] and [`attempts`](Update::attempts).
//!
//! # Several images
//! A device may have images besides its firmware ([`Config::more_slots`]), each with two slots. What a release brings becomes active
//! together or not at all: the journal has one bit for each image that says which of its slots is active, and one for each that says
//! whether the update brings it; activation, trial, confirmation and the way back are one record each. Images that a release does
//! not bring stay where they are. After a reboot between the last byte and *ready* a device with several images under way wants the manifest
//! again, since its record has room for one digest; what was fetched is kept, and is validated then.
//!
//! A release may bring a table of keys instead of an image: it is written, recorded, and in use from then on
//! ([`Config::rotation`]). What the device knows of its battery and the time is [told](Update::tell); the download waits for its
//! turn, the window and the battery as [`Config`] says.
//!
//! The states and what leads from one to the other stand in [`table`]. Power may fail at any byte of any write or erase:
//! see [`journal`]. What is never done, in whatever order things happen: the slot that the device runs
//! from or would go back to is not written; a slot is not erased before the journal says that it is not to be booted; the
//! floor does not sink.
//!
//! Requests come one at a time from [`poll_output`](Update::poll_output) or [`data`](Update::data) and are answered by
//! [`done`](Update::done), [`loaded`](Update::loaded) or [`failed`](Update::failed). What failed is asked for again, at most
//! [`RETRIES`] times between two records; a store that failed is not repeated where it was, since flash may be written
//! only once: the erase block is erased and fetched again.

mod conditions;
mod config;
mod image;
mod notices;
mod plan;
mod requests;
mod retry;
mod status;
mod steps;
pub mod table;

use super::chunks;
pub use super::event::{Area, Event, Report, State, Wanted};
pub use super::journal::MOST_IMAGES;
use super::journal::{self, Cursor, Kind, Record};
use super::keys::{self, KeyTable};
use super::manifest::{self, Component, Key, Manifest, Payload};
use super::refusal::Refusal;
use crate::error::{Capacity, Error, Misuse};
use crate::machine::{Handled, Input, Machine, Output};
use crate::time::Clock;
use crate::timer::{Timer, Timers};
use crate::{Instant, Storage};
pub use conditions::Window;
pub use config::Config;
use image::{Image, Take};
use notices::{Notice, Notices};
use plan::Plan;
use table::Trigger;

/// How often requests are made again between two records before the update fails.
pub const RETRIES: u8 = 3;

/// The machine's timers.
#[derive(Debug, Clone, Copy)]
enum Deadline {
    /// The trial is over without a verdict.
    Trial,
    /// What was deferred goes on.
    Defer,
    /// What failed is tried again.
    Retry,
}

impl Timer for Deadline {
    fn index(self) -> usize {
        self as usize
    }
}

/// The request that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    None,
    /// Reading the journal at start.
    Scan,
    ErasePage,
    /// Of the entry, or of the verdict over a trial: see [`Update::recording`].
    Record,
    EraseSlot,
    /// Of `op_len` bytes at `op_offset` of the payload.
    Store,
    Load,
    /// Reading a chunk's digest from the list.
    Entry,
    /// Reading the key table of one of its two pages at start.
    Keys,
    EraseKeys,
    StoreKeys,
    Activate,
}

/// What is being fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The list of chunk digests, which lies behind the image in its slot.
    List,
    Image,
}

/// How far `start` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Scanning,
    /// The journal has been read; next is the first page of key tables.
    FirstKeys,
    /// And the second.
    SecondKeys,
    Running,
}

/// How far the reboot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reboot {
    /// None wanted.
    No,
    /// To be asked for once the journal is up to date.
    Wanted,
    /// The host will do it.
    Due,
}

/// How far a new key table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rotation {
    /// Its page has to be erased.
    Erase,
    /// It has to be written.
    Store,
    /// It is in the flash. What remains is to record that the release is done with.
    Record,
}

/// A release, by what names it.
#[derive(Debug, Clone, Copy)]
struct Release {
    sequence: u64,
    digest: [u8; 32],
}

impl Release {
    const NONE: Self = Self { sequence: 0, digest: [0; 32] };
}

/// What a manifest asks of the battery and the time. (What it asks for of the power supply and the network is refused.)
#[derive(Debug, Clone, Copy)]
struct Asks {
    use_before: Option<u64>,
    /// Not to be fetched before this time, seconds since 1970, on a day before this second of it, nor on another day of the week.
    since: u64,
    second: u32,
    day: Option<u8>,
    /// mWh.
    battery: u32,
}

impl Asks {
    const NOTHING: Self = Self { use_before: None, since: 0, second: 0, day: None, battery: 0 };

    /// Whether its times have come: `time` in seconds since 1970.
    fn have_come(&self, time: u64) -> bool {
        let (time_of_day, day_of_week) = (Some(self.second), self.day);
        manifest::Wait { time: Some(self.since), time_of_day, day_of_week, power: None, network: None }
            .time_has_come(time)
    }
}

/// What the machine has to know of a manifest once it was verified.
#[derive(Debug, Clone, Copy)]
struct Facts {
    release: Release,
    asks: Asks,
    /// Which images it brings, a bit for each; none: it brings a key table.
    brings: u8,
    authorization: bool,
    /// The key that signed it.
    signer: Option<[u8; 8]>,
}

impl Facts {
    const NONE: Self =
        Self { release: Release::NONE, asks: Asks::NOTHING, brings: 0, authorization: false, signer: None };

    /// Notes what that manifest says.
    fn note(&mut self, manifest: &Manifest<'_>) {
        let manifest::Requires { battery, use_before, wait, authorization, .. } = &manifest.requires;
        self.release = Release { sequence: manifest.sequence, digest: manifest.digest };
        self.authorization = *authorization;
        self.signer = manifest.signer;
        self.asks.battery = battery.unwrap_or(0);
        self.asks.use_before = *use_before;
        if let Some(wait) = wait {
            self.asks.since = wait.time.unwrap_or(0);
            self.asks.second = wait.time_of_day.unwrap_or(0);
            self.asks.day = wait.day_of_week;
        }
    }
}

/// The update machine: see [this module](self).
// What is looked at most comes first: the shortest instructions of small processors reach 32 bytes, and 32 words.
#[repr(C)]
pub struct Update<'a> {
    state: State,
    phase: Phase,
    op: Op,
    /// What `op` is for has been given up; its answer is awaited all the same.
    stale: bool,
    /// `entry` has to be written.
    due: bool,
    /// The verdict over a trial, until it is written.
    verdict: Option<Kind>,
    /// The verdict that is being written, where one is.
    recording: Option<Kind>,
    reboot: Reboot,
    /// How far a release is that brings a new key table, where one does.
    rotation: Option<Rotation>,
    part: Part,
    /// `Fetch` has to be told.
    fetch: bool,
    /// The host postponed or vetoed the reboot.
    held: bool,
    /// Not the host, but the clock or the battery has what goes on wait.
    waiting: bool,
    /// The download that goes on is counted in the journal as one that brought nothing, until it brings something.
    counted: bool,
    tries: u8,
    /// The state that was told last and is still to be reported.
    told: Option<State>,
    reason: Option<Refusal>,
    /// What the journal says, or will say once `due` is served.
    entry: Record,
    /// What `op` is about, where it stores.
    op_offset: u32,
    /// How many bytes it stores or loads.
    op_len: u32,
    image: Image,
    /// The image that is fetched or read back.
    plan: Plan,
    clock: Clock,
    timers: Timers<3>,
    cursor: Cursor,
    /// Where the next record to be looked at is.
    scan: u32,
    manifest: Storage<'a, u8>,
    manifest_len: usize,
    notices: Notices,
    config: Config<'a>,
    known: manifest::Facts,
    told_at: Instant,
    /// Not to begin before.
    turn: Instant,
    /// Not to begin again before, once that is known since power on; the origin of time where it is not.
    again: Instant,
    /// What makes this device's pauses others than those of its fellows, beside its UUID.
    salt: u32,
    asks: Asks,
    /// The one that `rotation` is about.
    rotating: Release,
    /// A newer release that waits for the end of the trial.
    pending: Option<Facts>,
    /// The key table in use, where it is not the factory's, and the page that it is in.
    table: Option<(KeyTable, u8)>,
}

impl<'a> Update<'a> {
    /// A machine for such a device. `manifest` holds one envelope; a longer one is refused.
    #[must_use]
    pub fn new(config: Config<'a>, manifest: impl Into<Storage<'a, u8>>) -> Self {
        Self {
            state: State::Idle,
            phase: Phase::New,
            op: Op::None,
            stale: false,
            due: false,
            verdict: None,
            recording: None,
            reboot: Reboot::No,
            rotation: None,
            part: Part::Image,
            fetch: false,
            held: false,
            waiting: false,
            counted: false,
            tries: 0,
            told: None,
            reason: None,
            op_offset: 0,
            op_len: 0,
            image: Image::NONE,
            entry: Record::blank(config.running),
            plan: Plan::NONE,
            clock: Clock::START,
            timers: Timers::STOPPED,
            cursor: Cursor::NEW,
            scan: 0,
            manifest: manifest.into(),
            manifest_len: 0,
            notices: Notices::NEW,
            known: manifest::Facts { time: None, battery: None, version: None, device: None },
            told_at: Instant::ZERO,
            turn: Instant::ZERO,
            again: Instant::ZERO,
            salt: 0,
            asks: Asks::NOTHING,
            rotating: Release::NONE,
            pending: None,
            table: None,
            config,
        }
    }

    // Commands

    /// Reads the journal and takes up what it says. Once, before everything else; again where it failed.
    ///
    /// # Errors
    /// [`Misuse::OutOfRange`]: the configuration is not one that [`Config`] allows. [`Misuse::WrongState`]: it has been
    /// started.
    pub fn start(&mut self, now: Instant) -> Result<(), Error<Refusal>> {
        self.clock.advance(now);
        if self.phase != Phase::New {
            return Err(Misuse::WrongState.into());
        }
        if !self.config.is_sound() {
            return Err(Misuse::OutOfRange.into());
        }
        self.name_device();
        self.phase = Phase::Scanning;
        self.state = State::Idle;
        self.cursor = Cursor::NEW;
        self.scan = 0;
        self.tries = 0;
        Ok(())
    }

    /// Gives the machine an envelope with a manifest. The same one again is welcome: it resumes a download that a reboot
    /// interrupted, asks for the [`Fetch`](Event::Fetch) again, or does nothing. A newer one replaces what is going on; in a trial it waits for its
    /// end.
    ///
    /// # Errors
    /// [`Error::Peer`] with the rule that the manifest breaks; a [`Report`] follows and nothing else changes.
    /// [`Capacity::Manifest`]: it is longer than the storage given for it. [`Capacity::Busy`]: the journal has not been read.
    pub fn announce(&mut self, now: Instant, envelope: &[u8]) -> Result<(), Error<Refusal>> {
        self.running(now)?;
        if envelope.len() > self.manifest.len() {
            return Err(Capacity::Manifest.into());
        }
        let mut facts = Facts::NONE;
        match self.examine(envelope, &mut facts) {
            Ok(true) => {
                self.keep(envelope);
                self.accept(&facts);
            }
            Ok(false) => {}
            Err(refusal) => {
                self.notices.push(Notice::Refused(refusal));
                return Err(Error::Peer(refusal));
            }
        }
        Ok(())
    }

    /// Postpones the download, or the reboot of an image that is fetched, until a time or until
    /// [`resume`](Self::resume).
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: there is nothing to postpone, or the reboot was asked for already.
    pub fn defer(&mut self, now: Instant, until: Instant) -> Result<(), Error<Refusal>> {
        self.postpone(now, Some(until))
    }

    /// Says no to the download, or to the reboot of an image that is fetched, until [`resume`](Self::resume).
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: as for [`defer`](Self::defer).
    pub fn veto(&mut self, now: Instant) -> Result<(), Error<Refusal>> {
        self.postpone(now, None)
    }

    /// Goes on with what was deferred or vetoed.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: nothing was.
    pub fn resume(&mut self, now: Instant) -> Result<(), Error<Refusal>> {
        self.running(now)?;
        if !core::mem::take(&mut self.held) {
            self.go(Trigger::Resume)?;
        }
        self.timers.stop(Deadline::Defer);
        self.waiting = false;
        self.reason = None;
        self.fetch = self.state == State::Fetching;
        if self.fetch {
            self.count();
            self.begun();
        }
        Ok(())
    }

    /// What is to be fetched cannot be had, and has not been for long: the download waits, deferred, as one that came to nothing
    /// ([`Config::backoff`]). [`resume`](Self::resume) begins at once.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: nothing is being fetched.
    pub fn unreachable(&mut self, now: Instant) -> Result<(), Error<Refusal>> {
        self.running(now)?;
        self.give_way()
    }

    /// Gives the update up. The image that runs is not touched.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: there is none, or the reboot was asked for already.
    pub fn cancel(&mut self, now: Instant) -> Result<(), Error<Refusal>> {
        self.running(now)?;
        if self.reboot != Reboot::No || self.verdict.is_some() {
            return Err(Misuse::WrongState.into());
        }
        self.go(Trigger::Cancel)?;
        self.abandon();
        self.reason = Some(Refusal::Vetoed);
        self.entry.kind = Kind::Idle;
        self.entry.failures = 0;
        self.due = true;
        Ok(())
    }

    /// The new image is good: it is the one to boot from now on.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: no image is on trial, or there has been a verdict.
    pub fn confirm(&mut self, now: Instant) -> Result<(), Error<Refusal>> {
        self.judge(now, Kind::Confirmed)
    }

    /// The new image is no good: the one before it is booted again.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: as for [`confirm`](Self::confirm).
    pub fn reject(&mut self, now: Instant) -> Result<(), Error<Refusal>> {
        self.judge(now, Kind::Reverted)
    }

    /// Bytes of the image that belong at `offset`, in any pieces. What comes back:
    ///
    /// - an [`Event::Store`] of some of them, which are consumed: write them, answer, drain `poll_output`, give the rest;
    /// - consumed without an event: they are stored already, or lie behind the end of the image;
    /// - nothing consumed, `needed` not zero: so many more make up a program unit (or a block that comes before its turn);
    /// - nothing consumed, `needed` zero: not now; a request waits for its answer, or `poll_output` has to be drained.
    ///
    /// # Errors
    /// [`Capacity::Window`]: they lie too far ahead; see [`wanted`](Self::wanted). [`Misuse::WrongState`]: there is no update.
    pub fn data<'i>(
        &mut self,
        now: Instant,
        offset: u32,
        bytes: &'i [u8],
    ) -> Result<Handled<Event<'i>>, Error<Refusal>> {
        self.running(now)?;
        match self.state {
            State::Fetching => {}
            State::Announced | State::Verified | State::Deferred => return Ok(Handled::quiet(0)),
            State::Idle | State::Reverted | State::Failed => return Err(Misuse::WrongState.into()),
            // A copy that comes late.
            State::Fetched | State::Validated | State::Ready | State::Trial | State::Confirmed => {
                return Ok(Handled::quiet(bytes.len()));
            }
        }
        let take = self.image.take(offset, bytes.len());
        match take {
            Take::Skip(n) => Ok(Handled::quiet(n)),
            Take::Short(n) => Ok(Handled::incomplete(n)),
            Take::Beyond => Err(Capacity::Window.into()),
            _ if self.waits() || self.due => Ok(Handled::quiet(0)),
            Take::Wait => Ok(Handled::quiet(0)),
            Take::Store(len) => {
                let bytes = bytes.get(..len as usize).unwrap_or_default();
                Ok(Handled::event(bytes.len(), self.store(offset, len, bytes)))
            }
        }
    }

    /// What was asked for is done.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: nothing was, or it was a [`Load`](Event::Load).
    pub fn done(&mut self, now: Instant) -> Result<(), Error<Refusal>> {
        self.clock.advance(now);
        if matches!(self.op, Op::None | Op::Scan | Op::Load | Op::Entry | Op::Keys) {
            return Err(Misuse::WrongState.into());
        }
        let (op, stale) = self.answered();
        match op {
            Op::ErasePage => self.cursor.erased(),
            Op::Record => {
                self.cursor.written(true, self.config.erase_size);
                self.tries = 0;
                self.recorded(stale);
            }
            _ if stale => {}
            Op::EraseSlot => self.image.was_erased(),
            Op::Store => {
                self.image.was_stored(self.op_offset, self.op_len);
                self.hashed();
            }
            Op::Activate => self.reboot = Reboot::Due,
            Op::EraseKeys => self.rotation = Some(Rotation::Store),
            Op::StoreKeys => self.rotated(),
            Op::None | Op::Scan | Op::Load | Op::Entry | Op::Keys => {}
        }
        Ok(())
    }

    /// What was asked for by [`Event::Load`] was read.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: nothing was asked for. [`Misuse::OutOfRange`]: `bytes` are not as many.
    pub fn loaded(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Error<Refusal>> {
        self.clock.advance(now);
        if !matches!(self.op, Op::Scan | Op::Load | Op::Entry | Op::Keys) {
            return Err(Misuse::WrongState.into());
        }
        if bytes.len() != self.op_len as usize {
            return Err(Misuse::OutOfRange.into());
        }
        match self.answered() {
            (Op::Scan, _) => self.look(bytes),
            (Op::Keys, _) => self.look_keys(bytes),
            (Op::Load, false) => {
                self.image.hash(bytes);
                self.hashed();
            }
            (Op::Entry, false) => self.judge_chunk(bytes),
            _ => {}
        }
        Ok(())
    }

    /// What was asked for cannot be done.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: nothing was.
    pub fn failed(&mut self, now: Instant) -> Result<(), Error<Refusal>> {
        self.clock.advance(now);
        if !self.waits() {
            return Err(Misuse::WrongState.into());
        }
        let (op, stale) = self.answered();
        if op == Op::Record {
            self.cursor.written(false, self.config.erase_size);
        }
        if stale && !matches!(op, Op::Record | Op::ErasePage) {
            return Ok(());
        }
        self.tries = self.tries.saturating_add(1);
        if self.tries > RETRIES {
            self.give_up(op);
        } else if op == Op::Store {
            self.fetch_again();
        }
        Ok(())
    }

    // The machine

    /// Lets a trial end or what was deferred go on, where it is time.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        if self.timers.expired(Deadline::Trial, now) {
            let _ = self.judge(now, Kind::Reverted);
        }
        if self.timers.expired(Deadline::Retry, now) {
            self.try_again();
        }
        if self.timers.expired(Deadline::Defer, now) {
            match self.state {
                // The window closes.
                State::Fetching => {
                    if !self.holds_back() {
                        self.begun();
                    }
                }
                _ if self.waiting => self.look_again(),
                _ => drop(self.resume(now)),
            }
        }
    }

    /// Image bytes as a stream: [`data`](Self::data) at the first byte that is missing.
    ///
    /// # Errors
    /// Those of [`data`](Self::data).
    pub fn handle_input<'i>(&mut self, now: Instant, input: Input<'i>) -> Result<Handled<Event<'i>>, Error<Refusal>> {
        self.data(now, self.image.stored, input.bytes)
    }

    /// Asks for the next request or the next thing to tell. `out` takes a record: 128 bytes.
    pub fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        self.handle_timeout(now);
        // Each turn is a step of the state machine that tells of itself: two in a row never happen.
        for _ in 0..4 {
            if self.has_notice() || self.waits() || self.due || !self.step() {
                break;
            }
        }
        if self.has_notice() { self.tell_notice() } else { self.ask(out) }
    }
}

impl Machine for Update<'_> {
    type Event<'e> = Event<'e>;
    type Error = Error<Refusal>;

    fn handle_input<'i>(&mut self, now: Instant, input: Input<'i>) -> Result<Handled<Event<'i>>, Self::Error> {
        Update::handle_input(self, now, input)
    }

    fn handle_timeout(&mut self, now: Instant) {
        Update::handle_timeout(self, now);
    }

    fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        Update::poll_output(self, now, out)
    }

    fn next_timeout(&self) -> Option<Instant> {
        Update::next_timeout(self)
    }
}
