//! What the machine asks for and tells next.

use super::image::Take;
use super::{
    Area, Event, Kind, Notice, Op, Phase, Reboot, Release, Report, Rotation, State, Trigger, Update, chunks, journal,
    keys,
};
use crate::Instant;
use crate::machine::Output;
use crate::ota::journal::Record;
use crate::ota::manifest::{Component, Version};
use crate::ota::refusal::Refusal;
use crate::wire::copy;

/// Makes of an entry what it is after that verdict; `rotated` is the release whose key table is in use.
#[inline(never)]
pub(super) fn judge(entry: &mut Record, verdict: Kind, rotated: Option<&Release>) {
    match (verdict, rotated) {
        (Kind::Confirmed, _) => {
            entry.kind = verdict;
            entry.active = entry.updated();
        }
        (Kind::Idle, None) => return,
        // A key table is in use: the images stay what they were.
        (Kind::Idle, Some(release)) => {
            if entry.kind != Kind::Confirmed {
                entry.kind = Kind::Idle;
            }
            entry.failures = 0;
            entry.sequence = release.sequence;
            entry.digest = release.digest;
        }
        _ => {
            entry.kind = verdict;
            entry.left = 1;
            return;
        }
    }
    entry.floor = entry.floor.max(entry.sequence);
    entry.confirmed = journal::name(&entry.digest);
}

impl Update<'_> {
    /// Whether something is to be told.
    pub(super) fn has_notice(&self) -> bool {
        self.told.is_some() || !self.notices.is_empty()
    }

    /// The next notice.
    #[inline(never)]
    pub(super) fn tell_notice<'o>(&mut self) -> Output<'o, Event<'o>> {
        let (state, reason) = match self.told.take() {
            Some(state) => (state, self.reason),
            None => match self.notices.pop() {
                Some(Notice::State(state)) => {
                    self.told = Some(state);
                    return Output::Event(Event::State(state));
                }
                // What was tried and reverted is offered again: nothing has changed, least of all that.
                Some(Notice::Refused(Refusal::Trial)) => (State::Reverted, Some(Refusal::Trial)),
                Some(Notice::Refused(refusal)) => (State::Failed, Some(refusal)),
                None => return self.nothing(),
            },
        };
        Output::Event(Event::Report(self.report(state, reason)))
    }

    /// Nothing is to be asked for or told until a timer runs out.
    fn nothing<'o>(&self) -> Output<'o, Event<'o>> {
        Output::Timeout(self.timers.next())
    }

    fn report(&self, state: State, reason: Option<Refusal>) -> Report {
        let (sequence, digest, attempts) = (self.entry.sequence, self.entry.digest, self.attempts());
        Report { state, reason, version: self.version(), sequence, digest, attempts }
    }

    /// The version of the release that the entry is about, where its manifest is at hand.
    #[inline(never)]
    fn version(&self) -> Option<Version> {
        let envelope = self.manifest.get(..self.manifest_len)?;
        self.config.codec.version(envelope, &self.entry.digest)
    }

    /// Whether the journal has to be written before anything else is done.
    fn has_to_record(&self) -> bool {
        self.due || self.verdict.is_some()
    }

    /// Asks for what comes next.
    #[inline(never)]
    pub(super) fn ask<'o>(&mut self, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        let erase_size = self.config.erase_size;
        let (op, area, offset, len) = match (self.phase, self.state) {
            _ if self.waits() => return self.nothing(),
            (Phase::New, _) => return self.nothing(),
            (Phase::Scanning, _) => (Op::Scan, Area::Journal, self.scan, journal::STEP),
            (Phase::FirstKeys, _) => (Op::Keys, Area::Keys, 0, keys::LEN as u32),
            (Phase::SecondKeys, _) => (Op::Keys, Area::Keys, erase_size, keys::LEN as u32),
            _ if self.has_to_record() => match self.cursor.to_erase() {
                Some(page) => (Op::ErasePage, Area::Journal, self.page(page), erase_size),
                None => return self.record(out),
            },
            (_, State::Verified) => match self.rotation {
                Some(Rotation::Erase) => (Op::EraseKeys, Area::Keys, self.free_page(), erase_size),
                Some(Rotation::Store) => return self.store_keys(out),
                _ => return self.nothing(),
            },
            (_, State::Fetching | State::Fetched) => {
                let fetching = self.state == State::Fetching;
                let unhashed = self.image.unhashed(self.config.load);
                let (op, from, (offset, len)) = if unhashed.1 != 0 {
                    (Op::Load, self.origin(), unhashed)
                } else if let Some(n) = self.image.hashed_chunk() {
                    (Op::Entry, self.list_origin(), (n.saturating_mul(chunks::ENTRY), chunks::ENTRY))
                } else if fetching && let Some(offset) = self.image.next_erase(self.config.ahead) {
                    (Op::EraseSlot, self.origin(), (offset, erase_size))
                } else if fetching {
                    return self.fetch(out);
                } else {
                    return self.nothing();
                };
                (op, self.area(), from.saturating_add(offset), len)
            }
            (_, State::Ready | State::Reverted) if self.reboot == Reboot::Wanted => {
                let Record { active, .. } = self.entry;
                let slots = if self.state == State::Ready { self.entry.updated() } else { active };
                self.op = Op::Activate;
                return Output::Event(Event::Activate { slots });
            }
            _ => return self.nothing(),
        };
        self.op = op;
        self.op_len = len;
        Output::Event(match op {
            Op::ErasePage | Op::EraseSlot | Op::EraseKeys => Event::Erase { area, offset, len },
            _ => Event::Load { area, offset, len },
        })
    }

    /// Where one of two pages begins.
    fn page(&self, page: u8) -> u32 {
        if page == 0 { 0 } else { self.config.erase_size }
    }

    /// Where a new key table goes: to the page that the one in use is not in.
    fn free_page(&self) -> u32 {
        let len = self.config.erase_size;
        self.table.as_ref().map_or(0, |(_, page)| if *page == 0 { len } else { 0 })
    }

    /// Writes the record.
    #[inline(never)]
    fn record<'o>(&mut self, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        let Some(place) = out.first_chunk_mut::<{ journal::LEN }>() else {
            return Output::BufferTooSmall { needed: journal::LEN };
        };
        let mut record = self.entry;
        if let Some(kind) = self.verdict {
            judge(&mut record, kind, self.rotation.map(|_| &self.rotating));
        }
        record.write(self.cursor.number(), place);
        let (page, offset) = self.cursor.place();
        self.op = Op::Record;
        self.recording = self.verdict;
        Output::Event(Event::Record { offset: self.page(page).saturating_add(offset), bytes: place })
    }

    /// Has the image fetched; what came in the envelope is taken from there.
    fn fetch<'o>(&mut self, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        let fetch = core::mem::take(&mut self.fetch);
        if self.plan.enclosed {
            return self.unwrap_image(out);
        }
        if !fetch {
            return self.nothing();
        }
        Output::Event(Event::Fetch { image: self.plan.image, offset: self.image.stored })
    }

    /// Has the next bytes of an image stored that came in the envelope.
    #[inline(never)]
    fn unwrap_image<'o>(&mut self, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        let (unit, offset) = (self.config.write_size as usize, self.image.stored);
        let Take::Store(_) = self.image.take(offset, usize::MAX) else { return self.nothing() };
        if out.len() < unit {
            return Output::BufferTooSmall { needed: unit };
        }
        let image = self.content(Component::Image(self.plan.image));
        let rest = image.and_then(|bytes| bytes.get(offset as usize..)).unwrap_or_default();
        let Take::Store(len) = self.image.take(offset, rest.len().min(out.len())) else { return self.nothing() };
        let Some(place) = out.get_mut(..len as usize) else { return self.nothing() };
        copy(place, rest);
        Output::Event(self.store(offset, len, place))
    }

    /// Has `len` bytes of the payload stored, which belong at `offset` of it.
    pub(super) fn store<'e>(&mut self, offset: u32, len: u32, bytes: &'e [u8]) -> Event<'e> {
        self.image.pass(offset, bytes);
        self.op = Op::Store;
        self.op_offset = offset;
        self.op_len = len;
        Event::Store { area: self.area(), offset: self.origin().saturating_add(offset), bytes }
    }

    /// Has the new key table stored.
    #[inline(never)]
    fn store_keys<'o>(&mut self, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        // It was checked against the signature when it was announced.
        let Some(place) = out.first_chunk_mut::<{ keys::LEN }>() else {
            return Output::BufferTooSmall { needed: keys::LEN };
        };
        let stored = self.content(Component::Keys).map(|payload| keys::store(payload, place));
        if stored != Some(Ok(())) {
            self.fail(Refusal::KeyTable);
            return self.nothing();
        }
        self.op = Op::StoreKeys;
        Output::Event(Event::Store { area: Area::Keys, offset: self.free_page(), bytes: place })
    }

    /// Makes the next step that takes nothing from outside, where nothing has to be recorded first. `false`: there is none.
    pub(super) fn step(&mut self) -> bool {
        if self.phase != Phase::Running || self.waits() || self.has_to_record() {
            return false;
        }
        match self.state {
            State::Verified => match self.rotation {
                None => self.set_out(),
                // What remains is to be recorded.
                Some(Rotation::Record) => self.verdict = Some(Kind::Idle),
                Some(_) => return false,
            },
            State::Fetching | State::Fetched if self.plan.integrated => return self.judge_integrated(),
            State::Validated => return self.go(Trigger::Arm).is_ok(),
            State::Ready if self.reboot == Reboot::No && !self.held => self.arm(),
            State::Confirmed | State::Failed if self.pending.is_some() => self.accept_pending(),
            _ => return false,
        }
        true
    }

    /// The download begins, unless it has to wait.
    fn set_out(&mut self) {
        if !self.holds_back() && self.go(Trigger::Begin).is_ok() {
            self.count();
            self.begun();
            self.fetch = true;
        }
    }

    /// Takes up the release that waited. (Not inlined, for the sake of the stack.)
    #[inline(never)]
    fn accept_pending(&mut self) {
        if let Some(facts) = self.pending.take() {
            self.accept(&facts);
        }
    }

    /// Judges a chunk, all of which went through the hash, by a list that is in the envelope. `false`: there is none.
    #[inline(never)]
    fn judge_integrated(&mut self) -> bool {
        let Some(n) = self.image.hashed_chunk() else { return false };
        let Some(entry) = self.integrated_entry(n.saturating_mul(chunks::ENTRY)) else { return false };
        self.judge_chunk(&entry);
        true
    }

    /// The image is to be booted, unless that has to wait.
    fn arm(&mut self) {
        let hold = self.holds_reboot();
        if hold != Instant::ZERO {
            self.held = true;
            self.hold(hold);
            self.notices.push(Notice::Refused(Refusal::Battery));
            return;
        }
        // What is over while it was fetched is not installed.
        if let (Some(before), Some(time)) = (self.asks.use_before, self.believed())
            && time >= before
        {
            return self.fail(Refusal::Expired);
        }
        // From here on the bootloader may boot it.
        self.entry.kind = Kind::Ready;
        self.entry.failures = 0;
        self.entry.left = self.config.attempts;
        self.due = true;
        self.reboot = Reboot::Wanted;
    }
}
