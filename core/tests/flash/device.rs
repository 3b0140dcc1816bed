//! A device with such a flash, and the world that offers it releases.

use super::{Cut, Flash, Geometry};
use waft::ota::manifest::{Key, Verifier};
use waft::ota::update::{Area, Config, Event, State, Update};
use waft::{Error, Instant, Output};

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
}

/// See [`Release::superseded_at`].
pub const WHOLE: u32 = u32::MAX;

/// Believes every signature: the tests of the machine are not tests of Ed25519, which takes long without optimisation.
#[derive(Debug)]
pub struct Credulous;

impl Verifier for Credulous {
    fn verify(&self, _: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
        true
    }
}

/// How the bytes of an image arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// In order, in pieces of so many bytes.
    Pieces(usize),
    /// In blocks of so many bytes, shuffled within the window.
    Blocks(u32),
}

/// What happened in a life.
#[derive(Debug, Default)]
pub struct Life {
    pub boots: u32,
    pub cuts: u32,
    /// Image bytes that were taken, repeated ones included.
    pub taken: u64,
    /// Highest floor ever seen.
    pub floor: u64,
    pub states: Vec<State>,
}

/// What ends a run of the firmware.
enum End {
    Cut,
    Reboot,
    /// The release is done with: confirmed, or reverted.
    Settled,
}

pub struct Device<'w> {
    pub flash: Flash,
    pub life: Life,
    pub arrival: Arrival,
    /// The first is the factory's.
    releases: &'w [Release],
    /// Which one is offered.
    goal: usize,
    key: Key,
    now: u64,
}

impl<'w> Device<'w> {
    pub fn new(geometry: Geometry, releases: &'w [Release], arrival: Arrival, cuts: Vec<u64>) -> Self {
        let flash = Flash::new(geometry, &releases[0].image, cuts);
        Self { flash, life: Life::default(), arrival, releases, goal: 1, key: super::key(), now: 0 }
    }

    /// From the first boot until all releases are settled.
    pub fn live(&mut self) {
        while self.goal < self.releases.len() {
            self.life.boots += 1;
            assert!(self.life.boots < 200, "the device makes no progress at release {}", self.goal);
            let Ok(decision) = self.flash.boot() else {
                self.life.cuts += 1;
                continue;
            };
            let active = self.whole(decision.slot, decision.trial);
            assert!(decision.trial || active >= self.life.floor, "release {active} runs below the floor");
            match self.run(decision.slot) {
                End::Cut => self.life.cuts += 1,
                End::Reboot => {}
                End::Settled => self.goal += 1,
            }
        }
    }

    /// The sequence number of the release in that slot, which has to be there to its last byte.
    fn whole(&self, slot: u8, trial: bool) -> u64 {
        let holds = |release: &&Release| self.flash.read(Area::Slot(slot), 0, release.image.len()) == release.image;
        let release = self.releases.iter().rev().find(holds);
        release.unwrap_or_else(|| panic!("what boots from slot {slot} (trial: {trial}) is no whole image")).sequence
    }

    fn run(&mut self, running: u8) -> End {
        let keys = [self.key];
        let Geometry { erase, write, slot } = self.flash.geometry;
        let mut config = Config::new(super::VENDOR, super::CLASS, &keys, running, [slot, erase, write]);
        config.verifier = &Credulous;
        config.load = 100;
        if let Arrival::Blocks(block) = self.arrival {
            config.block = block;
            config.ahead = 4 * block;
        }
        let mut storage = [0; 512];
        let mut update = Update::new(config, &mut storage);
        update.start(self.time()).unwrap();
        let mut announced = 0;
        loop {
            match self.drain(&mut update) {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(Cut) => return End::Cut,
            }
            assert!(update.floor() >= self.life.floor, "the floor sinks");
            self.life.floor = update.floor();
            let goal = &self.releases[self.goal];
            match update.state() {
                State::Trial if goal.good => update.confirm(self.time()).unwrap(),
                State::Trial => update.reject(self.time()).unwrap(),
                State::Confirmed if update.sequence() == goal.sequence => return End::Settled,
                State::Reverted if update.sequence() == goal.sequence => {
                    assert_eq!(
                        update.announce(self.time(), &goal.envelope).map_err(|e| matches!(e, Error::Peer(_))),
                        Err(true)
                    );
                    return End::Settled;
                }
                State::Fetching if announced == goal.sequence => {
                    if self.is_superseded(&update) {
                        self.goal += 1;
                        continue;
                    }
                    match self.deliver(&mut update) {
                        Ok(None) => {}
                        Ok(Some(end)) => return end,
                        Err(Cut) => return End::Cut,
                    }
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
    }

    /// Does all that is asked for.
    fn drain(&mut self, update: &mut Update<'_>) -> Result<Option<End>, Cut> {
        for _ in 0..10_000 {
            let now = self.time();
            let mut out = [0; 128];
            let event = match update.poll_output(now, &mut out) {
                Output::Event(event) => event,
                Output::Timeout(at) => {
                    assert!(at.is_none_or(|at| at > now));
                    return Ok(None);
                }
                other => panic!("{other:?}"),
            };
            match event {
                Event::Load { area, offset, len } => {
                    update.loaded(now, self.flash.read(area, offset, len as usize)).unwrap();
                }
                Event::Erase { area, offset, len } => {
                    self.flash.erase(area, offset, len)?;
                    update.done(now).unwrap();
                }
                Event::Record { offset, bytes } => {
                    self.flash.write(Area::Journal, offset, bytes, false)?;
                    update.done(now).unwrap();
                }
                Event::Store { .. } => panic!("only data() stores"),
                Event::Activate { .. } => return Ok(Some(End::Reboot)),
                Event::State(state) => {
                    self.life.states.push(state);
                    if state == State::Validated && self.releases[self.goal].superseded_at == Some(WHOLE) {
                        self.goal += 1;
                        update.announce(now, &self.releases[self.goal].envelope).unwrap();
                    }
                }
                Event::Fetch { .. } | Event::Report(_) => {}
            }
        }
        panic!("poll_output never ends");
    }

    /// Gives the next bytes.
    fn deliver(&mut self, update: &mut Update<'_>) -> Result<Option<End>, Cut> {
        let image = &self.releases[self.goal].image;
        let wanted = update.wanted().unwrap();
        assert_eq!(wanted.size as usize, image.len());
        assert!(wanted.end > wanted.offset, "nothing is taken and nothing is asked for");
        let pieces: Vec<(u32, usize)> = match self.arrival {
            Arrival::Pieces(len) => vec![(wanted.offset, len)],
            // What is ahead comes first.
            Arrival::Blocks(block) => {
                let first = wanted.offset / block * block;
                (first..wanted.end).step_by(block as usize).rev().map(|at| (at, block as usize)).collect()
            }
        };
        for (offset, len) in pieces {
            let mut offset = offset as usize;
            let mut end = (offset + len).min(image.len());
            while offset < end && update.state() == State::Fetching && !self.is_superseded(update) {
                let now = self.time();
                let handled = match update.data(now, offset as u32, &image[offset..end]) {
                    Ok(handled) => handled,
                    Err(Error::Capacity(_)) => break,
                    Err(other) => panic!("{other:?}"),
                };
                if let Some(Event::Store { area, offset: at, bytes }) = handled.event {
                    assert_eq!((at as usize, bytes), (offset, &image[offset..][..handled.consumed]));
                    self.life.taken += bytes.len() as u64;
                    self.flash.write(area, at, bytes, at as usize + bytes.len() == image.len())?;
                    update.done(now).unwrap();
                } else if handled.consumed == 0 && handled.needed == 0 {
                    break;
                }
                end = (end + handled.needed).min(image.len());
                offset += handled.consumed;
                if let Some(end) = self.drain(update)? {
                    return Ok(Some(end));
                }
            }
        }
        Ok(None)
    }

    fn is_superseded(&self, update: &Update<'_>) -> bool {
        self.releases[self.goal].superseded_at.is_some_and(|at| update.progress().0 >= at)
    }

    fn time(&mut self) -> Instant {
        self.now += 1000;
        Instant::from_micros(self.now)
    }
}
