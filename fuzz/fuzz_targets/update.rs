//! The update machine: any order of commands, answers, failures, time and power cuts, buffers of any size, over flash that
//! allows no byte to be written twice.
//!
//! What must hold: nothing panics; one request at a time; the slots in use are never written; the floor never sinks;
//! after draining the deadline lies in the future.
#![no_main]

#[path = "../../core/tests/flash/mod.rs"]
mod flash;

use flash::chunked::Chunked;
use flash::{CLASS, Credulous, Flash, Geometry, VENDOR, envelope, envelope_of_two, image};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use waft::ota::keys::KeyTable;
use waft::ota::manifest::{Facts, Key};
use waft::ota::update::{Area, Config, Event, Update};
use waft::{Instant, Output};

const GEOMETRY: Geometry = Geometry { erase: 256, write: 8, slot: 1024 };

/// The second image of release 3, which has two.
static RADIO: LazyLock<Vec<u8>> = LazyLock::new(|| image(9, 333));

/// Signed manifests and their images.
static RELEASES: LazyLock<Vec<(Vec<u8>, Vec<u8>)>> = LazyLock::new(|| {
    let images = (0..4).map(|n| image(n, 200 + 270 * n as usize)).zip(0..);
    let sign = |n, image: &[u8]| if n == 3 { envelope_of_two(n, image, &RADIO) } else { envelope(n, image) };
    images.map(|(image, n)| (sign(n, &image), image)).collect()
});

/// Reads manifests of the image of release 1 as key tables.
static CODEC: LazyLock<Chunked> = LazyLock::new(|| {
    let codec = Chunked::new(0, false);
    codec.add_table(&RELEASES[1].1, &KeyTable::of(1, &[flash::key()]).expect("one key is a table"));
    codec
});

static KEYS: LazyLock<[Key; 1]> = LazyLock::new(|| [flash::key()]);

/// A request that waits for its answer, its bytes by value.
#[derive(Debug)]
enum Asked {
    Load { area: Area, offset: u32, len: u32 },
    Erase { area: Area, offset: u32, len: u32 },
    Write { area: Area, offset: u32, bytes: Vec<u8>, last: bool },
    Activate,
}

struct Bench {
    flash: Flash,
    update: Update<'static>,
    running: u8,
    floor: u64,
    now: u64,
    asked: Option<Asked>,
    block: u32,
}

impl Bench {
    fn machine(running: u8, block: u32) -> Update<'static> {
        let Geometry { erase, write, slot } = GEOMETRY;
        let mut config = Config::new(VENDOR, CLASS, &*KEYS, running, [slot, erase, write]);
        config.verifier = &Credulous;
        config.block = block;
        config.rotation = true;
        config.more_slots[0] = slot;
        config.codec = &*CODEC;
        Update::new(config, vec![0; 512])
    }

    fn boot(&mut self) {
        let decision = self.flash.boot();
        self.running = decision.slots;
        self.asked = None;
        self.update = Self::machine(self.running, self.block);
        self.update.start(Instant::from_micros(self.now)).expect("the geometry is sound");
    }

    /// The next output, into a buffer of `room` bytes. False: there is none.
    fn poll(&mut self, room: usize) -> bool {
        let mut out = vec![0; room];
        let now = Instant::from_micros(self.now);
        let asked = match self.update.poll_output(now, &mut out) {
            Output::Event(Event::Load { area, offset, len }) => Asked::Load { area, offset, len },
            Output::Event(Event::Erase { area, offset, len }) => Asked::Erase { area, offset, len },
            Output::Event(Event::Record { offset, bytes }) => {
                Asked::Write { area: Area::Journal, offset, bytes: bytes.to_vec(), last: false }
            }
            // A key table, out of its manifest.
            Output::Event(Event::Store { area, offset, bytes }) => {
                Asked::Write { area, offset, bytes: bytes.to_vec(), last: false }
            }
            Output::Event(Event::Activate { .. }) => Asked::Activate,
            Output::Event(_) => return true,
            Output::BufferTooSmall { needed } => {
                assert!(needed > room);
                return false;
            }
            Output::Timeout(at) => {
                assert!(at.is_none_or(|at| at > now), "a deadline in the past");
                return false;
            }
            Output::Transmit { .. } => panic!("it has no peer"),
        };
        self.ask(asked);
        true
    }

    fn ask(&mut self, asked: Asked) {
        assert!(self.asked.is_none(), "{asked:?} while {:?} waits", self.asked);
        if let Asked::Erase { area, .. } | Asked::Write { area, .. } = &asked {
            let used = |image: u8| Area::Slot { image, slot: self.running >> image & 1 };
            assert!(*area != used(0) && *area != used(1), "a slot in use is written");
        }
        self.asked = Some(asked);
    }

    fn answer(&mut self, fail: bool) {
        let now = Instant::from_micros(self.now);
        let Some(asked) = self.asked.take() else {
            assert!(self.update.done(now).is_err() && self.update.failed(now).is_err());
            return;
        };
        // What failed may have been done all the same, or not.
        let partly = self.now % 2 == 0;
        match &asked {
            Asked::Erase { area, offset, len } if !fail || partly => self.flash.erase(*area, *offset, *len),
            Asked::Write { area, offset, bytes, last } if !fail || partly => {
                self.flash.write(*area, *offset, bytes, *last);
            }
            _ => {}
        }
        if fail {
            self.update.failed(now).expect("a request waits");
        } else if let Asked::Load { area, offset, len } = asked {
            self.update.loaded(now, self.flash.read(area, offset, len as usize)).expect("as many bytes as asked for");
        } else {
            self.update.done(now).expect("a request waits");
        }
    }

    fn data(&mut self, release: usize, offset: u32, len: usize) {
        let image = if self.update.image() == 1 { &*RADIO } else { &RELEASES[release].1 };
        let from = (offset as usize).min(image.len());
        let bytes = &image[from..(from + len).min(image.len())];
        let size = self.update.progress().1 as usize;
        let now = Instant::from_micros(self.now);
        if let Ok(handled) = self.update.data(now, offset, bytes) {
            assert!(handled.consumed <= bytes.len());
            if let Some(Event::Store { area, offset, bytes }) = handled.event {
                let last = offset as usize + bytes.len() == size;
                self.ask(Asked::Write { area, offset, bytes: bytes.to_vec(), last });
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((first, steps)) = input.split_first() else { return };
    let block = [0, 8, 64, 256][usize::from(first % 4)];
    let flash = Flash::of(GEOMETRY, &[&RELEASES[0].1, &RADIO]);
    let mut bench = Bench { flash, update: Bench::machine(0, block), running: 0, floor: 0, now: 1, asked: None, block };
    bench.boot();
    for step in steps.chunks_exact(2) {
        let (what, how) = (step[0], step[1]);
        let n = usize::from(how % 4);
        bench.now += u64::from(how) * u64::from(how);
        let now = Instant::from_micros(bench.now);
        match what % 16 {
            0 => drop(bench.update.announce(now, &RELEASES[n].0)),
            1 => {
                let mut envelope = RELEASES[n].0.clone();
                let at = usize::from(how) % envelope.len();
                envelope[at] ^= 1 << (what / 32);
                let _ = bench.update.announce(now, &envelope);
            }
            2 => drop(bench.update.defer(now, Instant::from_micros(bench.now + u64::from(how)))),
            3 if how % 8 == 2 => drop(bench.update.unreachable(now)),
            3 => drop(if how % 2 == 0 { bench.update.veto(now) } else { bench.update.resume(now) }),
            4 => drop(if how % 16 == 0 { bench.update.cancel(now) } else { bench.update.resume(now) }),
            13 if how % 4 == 0 => {
                let time = Some(u64::from(how) << 24);
                let known = Facts { time, battery: Some(u32::from(how)), ..Facts::default() };
                let _ = bench.update.tell(now, &known);
            }
            5 => drop(if how % 4 == 0 { bench.update.reject(now) } else { bench.update.confirm(now) }),
            6 => bench.update.handle_timeout(now),
            7 if how % 4 == 0 => bench.boot(),
            8 => bench.answer(how % 8 == 0),
            9 => drop(bench.poll(usize::from(how))),
            10 => bench.data(n, u32::from(how) * 8, usize::from(what) * 3),
            11 | 12 => {
                let wanted = bench.update.wanted().map_or(0, |wanted| wanted.offset);
                let release = bench.update.sequence().min(3) as usize;
                bench.data(release, wanted, usize::from(how));
            }
            _ => {
                // A host that does as it should, for a while.
                for _ in 0..how {
                    bench.answer(false);
                    if !bench.poll(128) && bench.asked.is_none() {
                        break;
                    }
                }
            }
        }
        if bench.update.is_started() {
            assert!(bench.update.floor() >= bench.floor, "the floor sinks");
            bench.floor = bench.update.floor();
        }
    }
});
