//! One device on the bench: flash that works (or fails on request), and everything the machine told.

use super::{CLASS, Credulous, Flash, Geometry, VENDOR};
use waft::ota::refusal::Refusal;
use waft::ota::update::{Area, Config, Event, Report, State, Update};
use waft::{Error, Instant, Output};

pub const GEOMETRY: Geometry = Geometry { erase: 256, write: 8, slot: 2048 };

/// Which request is answered by `failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Load,
    Erase,
    Store,
    Record,
    Activate,
}

pub struct Bench {
    pub flash: Flash,
    pub update: Update<'static>,
    pub now: u64,
    /// So many requests of that kind fail.
    pub faults: Option<(Fault, u32)>,
    pub states: Vec<State>,
    pub reports: Vec<Report>,
    pub fetches: Vec<u32>,
    pub activated: Option<u8>,
    pub config: Config<'static>,
    /// Bytes for the manifest.
    pub room: usize,
}

impl Bench {
    /// A device fresh from the factory, started.
    pub fn new() -> Self {
        Self::with(Flash::new(GEOMETRY, &super::image(0, 500)), |_| {})
    }

    pub fn with(flash: Flash, change: impl FnOnce(&mut Config<'static>)) -> Self {
        let Geometry { erase, write, slot } = flash.geometry;
        let keys: &'static _ = Box::leak(Box::new([super::key()]));
        let mut config = Config::new(VENDOR, CLASS, keys, 0, [slot, erase, write]);
        config.verifier = &Credulous;
        change(&mut config);
        let mut bench = Self {
            flash,
            update: Update::new(config, vec![0; 512]),
            now: 0,
            faults: None,
            states: vec![],
            reports: vec![],
            fetches: vec![],
            activated: None,
            config,
            room: 512,
        };
        bench.start();
        bench
    }

    pub fn time(&mut self) -> Instant {
        self.now += 1000;
        Instant::from_micros(self.now)
    }

    fn start(&mut self) {
        let now = self.time();
        self.update.start(now).unwrap();
        self.drain();
    }

    /// Through the bootloader into whatever it chooses.
    pub fn reboot(&mut self) {
        let decision = self.flash.boot();
        self.config.running = decision.slots;
        self.update = Update::new(self.config, vec![0; self.room]);
        self.activated = None;
        self.start();
    }

    fn fails(&mut self, fault: Fault) -> bool {
        match &mut self.faults {
            Some((kind, left)) if *kind == fault && *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    fn answer(&mut self, fault: Fault, act: impl FnOnce(&mut Flash)) {
        let now = self.time();
        if self.fails(fault) {
            self.update.failed(now).unwrap();
        } else {
            act(&mut self.flash);
            self.update.done(now).unwrap();
        }
    }

    /// Does all that is asked for and notes all that is told.
    pub fn drain(&mut self) {
        while self.step() {}
    }

    /// The next output; false for the time-out.
    pub fn step(&mut self) -> bool {
        let now = self.time();
        let mut out = [0; 192];
        match self.update.poll_output(now, &mut out) {
            Output::Timeout(at) => {
                assert!(at.is_none_or(|at| at > now));
                return false;
            }
            Output::Event(event) => {
                self.touches(&event);
                self.act(now, event);
            }
            other => panic!("{other:?}"),
        }
        true
    }

    /// What runs, or would be gone back to, is neither read nor written.
    fn touches(&self, event: &Event<'_>) {
        if let Event::Load { area, .. } | Event::Erase { area, .. } | Event::Store { area, .. } = event
            && let Area::Slot { image, slot } = area
        {
            assert_ne!(*slot, self.update.active_slots() >> image & 1, "{event:?}");
        }
    }

    fn act(&mut self, now: Instant, event: Event<'_>) {
        match event {
            Event::Load { area, offset, len } => {
                if self.fails(Fault::Load) {
                    self.update.failed(now).unwrap();
                } else {
                    let bytes = self.flash.read(area, offset, len as usize);
                    self.update.loaded(now, bytes).unwrap();
                }
            }
            Event::Erase { area, offset, len } => {
                self.answer(Fault::Erase, |flash| flash.erase(area, offset, len));
            }
            Event::Record { offset, bytes } => {
                self.answer(Fault::Record, |flash| flash.write(Area::Journal, offset, bytes, false));
            }
            Event::Activate { slots } => {
                self.activated = Some(slots);
                self.answer(Fault::Activate, |_| {});
            }
            Event::Fetch { offset, .. } => self.fetches.push(offset),
            Event::State(state) => self.states.push(state),
            Event::Report(report) => self.reports.push(report),
            Event::Store { area, offset, bytes } => {
                let last = area != Area::Keys && self.update.progress().1 as usize == offset as usize + bytes.len();
                self.answer(Fault::Store, |flash| flash.write(area, offset, bytes, last));
            }
        }
    }

    pub fn announce(&mut self, envelope: &[u8]) -> Result<(), Error<Refusal>> {
        let now = self.time();
        let result = self.update.announce(now, envelope);
        self.drain();
        result
    }

    /// Gives `image` from what is wanted up to `end`, in pieces of `piece` bytes.
    pub fn feed(&mut self, image: &[u8], end: usize, piece: usize) {
        let what = self.update.component();
        for _ in 0..10_000 {
            let Some(wanted) = self.update.wanted().filter(|w| (w.offset as usize) < end) else { return };
            if self.update.component() != what {
                return;
            }
            let mut len = piece;
            loop {
                let now = self.time();
                let (from, to) = (wanted.offset as usize, (wanted.offset as usize + len).min(image.len()));
                let handled = self.update.data(now, wanted.offset, &image[from..to]).unwrap();
                if let Some(Event::Store { area, offset, bytes }) = handled.event {
                    let last = from + bytes.len() == image.len();
                    self.answer(Fault::Store, |flash| flash.write(area, offset, bytes, last));
                    self.drain();
                    break;
                }
                assert_eq!(handled.consumed, 0, "nothing of it was stored before");
                assert!(handled.needed > 0, "the machine is drained and takes nothing");
                len += handled.needed;
            }
        }
        panic!("the image is never whole");
    }

    /// Lets time pass to when the machine wants to be called, and gives how long that was, in µs.
    pub fn wait(&mut self) -> u64 {
        let at = self.update.next_timeout().expect("it waits for the clock").as_micros();
        let passed = at - self.now;
        self.now = at;
        self.drain();
        passed
    }

    pub fn state(&self) -> State {
        self.update.state()
    }

    /// The whole way to the trial of a release.
    pub fn install(&mut self, sequence: u64, image: &[u8]) {
        self.announce(&super::envelope(sequence, image)).unwrap();
        self.feed(image, image.len(), 100);
        assert_eq!((self.state(), self.activated), (State::Ready, Some(1 - self.config.running)));
        self.reboot();
        assert_eq!(self.state(), State::Trial);
    }

    pub fn confirm(&mut self) {
        let now = self.time();
        self.update.confirm(now).unwrap();
        self.drain();
    }

    pub fn reject(&mut self) {
        let now = self.time();
        self.update.reject(now).unwrap();
        self.drain();
    }
}
