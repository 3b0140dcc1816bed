//! A device with such a flash, from power on to the next reboot, and the world that offers it releases.

use crate::chip::{Chip, Moment, Op};
use crate::flash::chunked::Chunked;
use crate::flash::remembered::Remembered;
use crate::flash::{CLASS, Credulous, Geometry, VENDOR};
use core::iter;
use waft::ota::boot;
use waft::ota::keys::{self, KeyTable};
use waft::ota::manifest::{Component, Key};
use waft::ota::update::{Area, Config, Event, State, Update};
use waft::{Error, Instant, Output, Rng};

/// What a release is in this world.
#[derive(Debug, Clone)]
pub struct Release {
    pub envelope: Vec<u8>,
    pub sequence: u64,
    pub image: Vec<u8>,
    /// Whether its self-test says so.
    pub good: bool,
    /// After so many bytes of it the next release is announced; [`WHOLE`]: when it is found valid.
    pub superseded_at: Option<u32>,
    /// It brings this instead of an image.
    pub table: Option<KeyTable>,
    /// It brings this too: image 1.
    pub radio: Option<Vec<u8>>,
}

/// See [`Release::superseded_at`].
pub const WHOLE: u32 = u32::MAX;

/// How the bytes of an image arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Model A: chunks of so many bytes, in order, each of them twice (QoS 1).
    Chunks(usize),
    /// Model B: blocks of so many bytes, in order.
    Blocks(usize),
    /// Model C: blocks of so many bytes, a window of them in any order.
    Window(u32),
}

/// A device, its life and what is around it.
pub struct World {
    pub geometry: Geometry,
    pub arrival: Arrival,
    /// The first is the factory's.
    pub releases: Vec<Release>,
    pub keys: Vec<Key>,
    /// A bit of what is stored of that image of the first release flips unnoticed.
    pub flips: Option<u8>,
    /// What knows the chunk digests of the releases, where they have some.
    pub codec: Option<Chunked>,
    pub suit: Remembered,
}

/// What happened between power on and a reboot.
pub struct Run {
    pub log: Vec<Op>,
    pub written: Vec<u8>,
    /// The world at its end.
    pub end: Moment,
    /// The release that was fetched first, and from where.
    pub resumed: Option<(usize, u32)>,
    /// Bytes of image that were stored.
    pub taken: u32,
    /// The states it went through.
    pub states: Vec<State>,
}

struct Device<'w> {
    world: &'w World,
    chip: &'w mut Chip,
    when: Moment,
    now: u64,
    taken: u32,
    resumed: Option<(usize, u32)>,
    states: Vec<State>,
}

/// The run of the firmware is over.
struct Reboot;

impl World {
    /// The flash of a device from the factory.
    pub fn factory(&self) -> Chip {
        let Release { image, radio, .. } = &self.releases[0];
        let images: Vec<_> = iter::once(image).chain(radio).map(|image| &image[..]).collect();
        Chip::new(self.geometry, &images)
    }

    /// Whether all releases have been settled.
    pub fn is_over(&self, when: Moment) -> bool {
        when.goal >= self.releases.len()
    }

    /// What a device may have to fetch again after a cut.
    pub fn repeated(&self) -> u32 {
        match (&self.codec, self.arrival) {
            (Some(codec), _) => codec.chunk.max(self.geometry.erase),
            (None, Arrival::Window(block)) => self.geometry.erase + WINDOW * block,
            (None, _) => self.geometry.erase,
        }
    }

    /// Power comes, and stays until the device reboots by itself or a release is settled.
    pub fn power_on(&self, chip: &mut Chip, when: Moment) -> Run {
        let mut device = Device { world: self, chip, when, now: 0, taken: 0, resumed: None, states: vec![] };
        let decision = device.boot();
        let active = device.whole(&decision);
        // A key table raises the floor and leaves the image what it was.
        let tables = self.releases.iter().filter(|release| release.table.is_some()).map(|release| release.sequence);
        let floor = if tables.clone().any(|sequence| sequence == when.floor) {
            let images = self.releases.iter().filter(|release| release.table.is_none() && release.good);
            images.map(|release| release.sequence).filter(|sequence| *sequence < when.floor).max().unwrap_or(0)
        } else {
            when.floor
        };
        assert!(decision.trial || active >= floor, "release {active} runs below the floor");
        assert!(decision.trial || decision.slots == decision.active);
        let Reboot = device.run(decision.slots);
        let Device { when: end, resumed, taken, states, .. } = device;
        let (log, written) = chip.take_log();
        Run { log, written, end, resumed, taken, states }
    }
}

/// How far a download is: what is stored of the image that comes, behind all those before it.
fn stored(update: &Update<'_>) -> u32 {
    u32::from(update.image()) * IMAGE + update.progress().0
}

/// More than an image has bytes.
pub const IMAGE: u32 = 1 << 16;

/// Blocks of model C that are on their way at once.
const WINDOW: u32 = 4;

impl Device<'_> {
    /// What the bootloader does: gives the slot that it jumps to.
    fn boot(&mut self) -> boot::Decision {
        let page = self.chip.geometry.erase;
        let read = |page: u32, chip: &Chip| chip.read(Area::Journal, page, chip.geometry.erase as usize).to_vec();
        let pages = [read(0, self.chip), read(page, self.chip)];
        let decision = boot::decide([&pages[0], &pages[1]], 0);
        if let Some(note) = &decision.note {
            if let Some(erase) = note.erase {
                self.chip.erase(Area::Journal, page * u32::from(erase), page, self.when);
            }
            let offset = page * u32::from(note.page) + note.offset;
            self.chip.write(Area::Journal, offset, &note.bytes, false, self.when);
        }
        decision
    }

    /// The sequence number of the release in these slots, which has to be there to its last byte, with the other image that
    /// belongs to it: the one it brings, or the one that was there when it came.
    fn whole(&self, decision: &boot::Decision) -> u64 {
        let holds = |image: u8, bytes: &[u8]| {
            let area = Area::Slot { image, slot: decision.slots >> image & 1 };
            self.chip.read(area, 0, bytes.len()) == bytes
        };
        let releases = &self.world.releases;
        let release = releases.iter().rposition(|release| release.table.is_none() && holds(0, &release.image));
        let release = release.unwrap_or_else(|| panic!("what boots is no whole image: {decision:?}"));
        let stays = |other: &&Release| other.good && other.superseded_at.is_none();
        let brought = releases[release].radio.as_ref();
        let radio = brought.or_else(|| releases[..release].iter().filter(stays).rev().find_map(|r| r.radio.as_ref()));
        assert!(radio.is_none_or(|radio| holds(1, radio)), "the images do not belong together: {decision:?}");
        releases[release].sequence
    }

    fn run(&mut self, running: u8) -> Reboot {
        let world = self.world;
        let Geometry { erase, write, slot } = world.geometry;
        let mut config = Config::new(VENDOR, CLASS, &world.keys, running, [slot, erase, write]);
        config.verifier = &Credulous;
        config.load = 100;
        // Power that fails in a trial uses up an attempt: with as many cuts as attempts, a good image is given up too.
        config.attempts = 4;
        config.codec = &world.suit;
        if let Some(codec) = &world.codec {
            config.codec = codec;
            config.rotation = true;
        }
        if let Arrival::Window(block) = world.arrival {
            config.block = block;
            config.ahead = WINDOW * block;
        }
        if world.releases[0].radio.is_some() {
            config.more_slots[0] = slot;
        }
        let mut storage = [0; 640];
        let mut update = Update::new(config, &mut storage);
        update.start(self.time()).unwrap();
        let mut announced = 0;
        let mut failed = false;
        for _ in 0..2000 {
            if let Some(reboot) = self.drain(&mut update) {
                return reboot;
            }
            self.look(&update);
            let goal = &world.releases[self.when.goal];
            match update.state() {
                State::Trial if goal.good => update.confirm(self.time()).unwrap(),
                State::Trial => update.reject(self.time()).unwrap(),
                State::Confirmed if update.sequence() == goal.sequence => return self.settle(&update),
                State::Reverted if update.sequence() == goal.sequence => {
                    let again = update.announce(self.time(), &goal.envelope);
                    assert!(matches!(again, Err(Error::Peer(_))), "what failed its trial is taken again");
                    return self.settle(&update);
                }
                State::Fetching if announced == goal.sequence => {
                    if self.is_superseded(&update) {
                        self.next();
                    } else if let Some(reboot) = self.deliver(&mut update) {
                        return reboot;
                    }
                }
                // A download that was begun and brought nothing before the cut is not begun again at once.
                State::Deferred if announced == goal.sequence => {
                    self.now = update.next_timeout().expect("it waits for the clock").as_micros();
                }
                // It was found, and is mended by doing it again.
                State::Failed if announced == goal.sequence && self.when.flipped && !failed => {
                    failed = true;
                    update.announce(self.time(), &goal.envelope).unwrap();
                }
                _ if announced == goal.sequence => {
                    panic!("release {announced} is stuck in {:?}", update.state())
                }
                _ => {
                    announced = goal.sequence;
                    update.announce(self.time(), &goal.envelope).unwrap();
                }
            }
        }
        panic!("the device makes no progress")
    }

    fn settle(&mut self, update: &Update<'_>) -> Reboot {
        self.when.epoch = update.epoch();
        self.next();
        Reboot
    }

    fn next(&mut self) {
        self.when.goal += 1;
        self.when.stored = 0;
    }

    fn look(&mut self, update: &Update<'_>) {
        if !update.is_started() {
            return;
        }
        assert!(update.floor() >= self.when.floor, "the floor sinks");
        self.when.floor = update.floor();
        assert!(update.epoch() >= self.when.epoch, "an old key table is in use again");
        let ours = update.sequence() == self.world.releases[self.when.goal].sequence;
        // Of a list of digests nothing is promised; it is at most a chunk of them that comes again.
        if update.state() == State::Fetching && ours && update.progress().0 != 0 {
            self.when.stored = stored(update);
        }
    }

    /// Does all that is asked for.
    fn drain(&mut self, update: &mut Update<'_>) -> Option<Reboot> {
        for _ in 0..10_000 {
            let now = self.time();
            let mut out = [0; keys::LEN];
            let event = match update.poll_output(now, &mut out) {
                Output::Event(event) => event,
                Output::Timeout(at) => {
                    assert!(at.is_none_or(|at| at > now));
                    return None;
                }
                other => panic!("{other:?}"),
            };
            match event {
                Event::Load { area, offset, len } => {
                    update.loaded(now, self.chip.read(area, offset, len as usize)).unwrap();
                }
                Event::Erase { area, offset, len } => {
                    self.chip.erase(area, offset, len, self.when);
                    update.done(now).unwrap();
                }
                Event::Record { offset, bytes } => {
                    self.chip.write(Area::Journal, offset, bytes, false, self.when);
                    update.done(now).unwrap();
                }
                Event::Store { area, offset, bytes } => {
                    assert_eq!(area, Area::Keys, "only data() stores an image");
                    self.chip.write(area, offset, bytes, false, self.when);
                    update.done(now).unwrap();
                }
                Event::Activate { .. } => return Some(Reboot),
                Event::State(state) => {
                    self.states.push(state);
                    if state == State::Validated
                        && self.world.releases[self.when.goal].superseded_at == Some(WHOLE)
                        && update.sequence() == self.world.releases[self.when.goal].sequence
                    {
                        self.next();
                        update.announce(now, &self.world.releases[self.when.goal].envelope).unwrap();
                    }
                }
                Event::Fetch { offset, .. } if update.progress().0 == offset => {
                    let release = self.world.releases.iter().position(|r| r.sequence == update.sequence());
                    self.resumed = self.resumed.or(release.map(|n| (n, stored(update))));
                }
                Event::Fetch { .. } | Event::Report(_) => {}
            }
            self.look(update);
        }
        panic!("poll_output never ends");
    }

    /// Gives the next bytes.
    fn deliver(&mut self, update: &mut Update<'_>) -> Option<Reboot> {
        let world = self.world;
        let release = &world.releases[self.when.goal];
        let image = release.radio.as_ref().filter(|_| update.image() == 1).unwrap_or(&release.image);
        let listing = update.payload().is_some_and(|payload| payload.component == Component::Chunks(0));
        let image = if listing { world.codec.as_ref().unwrap().list(image) } else { image };
        let wanted = update.wanted().unwrap();
        assert_eq!(wanted.size as usize, image.len());
        assert!(wanted.end > wanted.offset, "nothing is taken and nothing is asked for");
        let aligned = |block: u32| wanted.offset / block * block;
        match world.arrival {
            Arrival::Chunks(len) => {
                let start = aligned(len as u32);
                for _ in 0..2 {
                    if let Some(reboot) = self.give(update, image, start, len) {
                        return Some(reboot);
                    }
                }
                None
            }
            Arrival::Blocks(len) => self.give(update, image, aligned(len as u32), len),
            Arrival::Window(block) => {
                let mut order = [0, 1, 2, 3];
                let mut rng = Rng::new(wanted.offset.into());
                for n in 1..order.len() {
                    order.swap(n, rng.below(n as u64 + 1) as usize);
                }
                order.into_iter().find_map(|n| self.give(update, image, aligned(block) + n * block, block as usize))
            }
        }
    }

    /// Gives `len` bytes from `offset` on, as far as they are taken.
    fn give(&mut self, update: &mut Update<'_>, image: &[u8], offset: u32, len: usize) -> Option<Reboot> {
        let mut offset = offset as usize;
        let mut end = (offset + len).min(image.len());
        let what = update.payload().map(|payload| payload.component);
        while offset < end && update.state() == State::Fetching && !self.is_superseded(update) {
            if update.payload().map(|payload| payload.component) != what {
                return None;
            }
            let now = self.time();
            let handled = match update.data(now, offset as u32, &image[offset..end]) {
                Ok(handled) => handled,
                Err(Error::Capacity(_)) => return None,
                Err(other) => panic!("{other:?}"),
            };
            if let Some(Event::Store { area, offset: at, bytes }) = handled.event {
                assert_eq!(bytes, &image[offset..][..handled.consumed]);
                self.taken += bytes.len() as u32;
                self.chip.write(area, at, bytes, offset + bytes.len() == image.len(), self.when);
                if self.world.flips == Some(update.image()) && !self.when.flipped && at > 200 {
                    self.when.flipped = true;
                    self.chip.flip(area, at, self.when);
                }
                update.done(now).unwrap();
            } else if handled.consumed == 0 && handled.needed == 0 {
                return None;
            }
            end = (end + handled.needed).min(image.len());
            offset += handled.consumed;
            if let Some(reboot) = self.drain(update) {
                return Some(reboot);
            }
            self.look(update);
        }
        None
    }

    fn is_superseded(&self, update: &Update<'_>) -> bool {
        self.world.releases[self.when.goal].superseded_at.is_some_and(|at| stored(update) >= at)
    }

    fn time(&mut self) -> Instant {
        self.now += 1000;
        Instant::from_micros(self.now)
    }
}
