//! Power may fail inside any write and any erase, and leave any part of it done. Whenever it does, the device boots an
//! old or a new image whole, its floor does not sink, it needs nobody's help, and while power stays it ends updated.
//!
//! `make powercut` runs all of it; `make test` a small part.

#[path = "../flash/mod.rs"]
mod flash;

mod chip;
mod explore;
mod world;

use explore::{Depth, Explorer, Stats};
use flash::chunked::Chunked;
use flash::remembered::Remembered;
use flash::{Geometry, envelope, envelope_of_two, image};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use waft::ota::keys::KeyTable;
use waft::ota::manifest::Key;
use waft::ota::update::State;
use world::{Arrival, IMAGE, Release, WHOLE, World};

fn release(sequence: u64, len: usize) -> Release {
    let image = image(sequence, len);
    let envelope = envelope(sequence, &image);
    Release { envelope, sequence, image, good: true, superseded_at: None, table: None, radio: None }
}

/// A release of two images.
fn pair(sequence: u64, len: usize, radio: usize) -> Release {
    let radio = image(sequence + 100, radio);
    let release = release(sequence, len);
    Release { envelope: envelope_of_two(sequence, &release.image, &radio), radio: Some(radio), ..release }
}

/// The key table of that epoch, which has the author's key and another one.
fn table(epoch: u32) -> KeyTable {
    let other = Key { epoch, ..Key::new([epoch as u8; 32]) };
    KeyTable::of(epoch, &[flash::key(), other]).unwrap()
}

/// A release of a key table.
fn rotation(sequence: u64, epoch: u32) -> Release {
    Release { table: Some(table(epoch)), ..release(sequence, 10) }
}

/// What a device lives through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// One update that is confirmed.
    Confirmed,
    /// One that fails its trial, and the one that mends it.
    Reverted,
    /// One that is superseded before it is whole, one that is when it is found valid, and the one that stays.
    Superseded,
    /// A key table before the first update, two of them after it, and another update.
    Rotated,
    /// An update of which flash loses a bit.
    Flipped,
    /// Of two images: one update that is confirmed, one of the firmware alone, and one that fails its trial.
    Pair,
    /// Of two images: one update that is superseded while the second comes, one that is when both are found valid, and the one that
    /// stays.
    SupersededPair,
    /// Of two images: an update of the second of which flash loses a bit.
    FlippedPair,
    /// All the others, one after the other.
    All,
}

impl Life {
    const fn has_two(self) -> bool {
        matches!(self, Self::Pair | Self::SupersededPair | Self::FlippedPair)
    }

    fn releases(self, slot: u32) -> Vec<Release> {
        let len = |n: u32| (slot - n) as usize;
        let factory = if self.has_two() { pair(0, len(100), 77) } else { release(0, len(100)) };
        let mut releases = vec![factory];
        let reverted = Release { good: false, ..release(5, len(50)) };
        let superseded = Release { superseded_at: Some(slot / 3), ..release(3, len(30)) };
        let replaced = Release { superseded_at: Some(WHOLE), ..release(4, len(slot / 2)) };
        releases.extend(match self {
            Self::Confirmed | Self::Flipped => vec![release(2, len(50))],
            Self::Pair => {
                let bad = Release { good: false, ..pair(4, len(50), len(90)) };
                vec![pair(2, len(slot / 2), len(30)), release(3, len(40)), bad, pair(5, len(9), len(slot / 2 + 1))]
            }
            Self::SupersededPair => {
                let superseded = Release { superseded_at: Some(IMAGE + slot / 3), ..pair(3, len(30), len(20)) };
                let replaced = Release { superseded_at: Some(WHOLE), ..pair(4, len(slot / 2), len(50)) };
                vec![superseded, replaced, pair(5, len(9), len(99))]
            }
            Self::FlippedPair => vec![pair(2, len(50), len(40))],
            Self::Reverted => vec![reverted, release(6, len(slot / 2 + 1))],
            Self::Superseded => vec![superseded, replaced, release(5, len(9))],
            Self::Rotated => {
                vec![rotation(2, 1), release(3, len(17)), rotation(4, 4), rotation(5, 5), release(6, len(40))]
            }
            Self::All => {
                vec![release(2, len(17)), superseded, replaced, reverted, release(7, len(3)), release(8, len(99))]
            }
        });
        releases
    }
}

/// The erase block, the program unit, the slot; how the image comes; what happens; how thoroughly it is tried.
type Case = (Geometry, Arrival, Life, Depth);

const fn geometry(erase: u32, write: u32, slot: u32) -> Geometry {
    Geometry { erase, write, slot }
}

const fn depth(cuts: usize, masks: [u8; 3], sample: [u64; 3]) -> Depth {
    Depth { cuts, masks, sample, chunk: 0, integrated: false }
}

/// The releases have chunk digests, and the list of them is fetched too.
const fn chunked(chunk: u32, depth: Depth) -> Depth {
    Depth { chunk, ..depth }
}

fn world((geometry, arrival, life, depth): Case) -> World {
    let mut releases = life.releases(geometry.slot);
    let codec = (depth.chunk != 0 || life == Life::Rotated).then(|| Chunked::new(depth.chunk, depth.integrated));
    for release in &mut releases {
        let Some(codec) = &codec else { continue };
        if let Some(table) = &release.table {
            codec.add_table(&release.image, table);
        } else if depth.chunk != 0 {
            // The list takes one erase block of the slot.
            release.image.truncate((geometry.slot - geometry.erase) as usize - 9);
            release.envelope = match &release.radio {
                Some(radio) => envelope_of_two(release.sequence, &release.image, radio),
                None => envelope(release.sequence, &release.image),
            };
            codec.add(&release.image);
        }
    }
    let flips = match life {
        Life::Flipped => Some(0),
        Life::FlippedPair => Some(1),
        _ => None,
    };
    World { geometry, arrival, releases, keys: vec![flash::key()], codec, suit: Remembered::default(), flips }
}

/// Runs the cases on all processors. Gives what was done and what failed.
fn run(cases: &[Case]) -> (Stats, Vec<String>) {
    let (next, total) = (Mutex::new(cases.iter()), Mutex::new((Stats::default(), vec![])));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(case) = next.lock().unwrap().next() else { break };
                    let world = world(*case);
                    let mut explorer = Explorer::new(&world, case.3);
                    let outcome = catch_unwind(AssertUnwindSafe(|| explorer.explore()));
                    let Stats { runs, known, boots, states } = explorer.stats;
                    let mut total = total.lock().unwrap();
                    total.0.runs += runs;
                    total.0.known += known;
                    total.0.boots += boots;
                    total.0.states += states;
                    println!("{case:?}: {runs} runs ({known} cuts more led to what was known), {boots} boots, {states} states");
                    if outcome.is_err() {
                        let way: Vec<_> = explorer.way.iter().map(|(op, tear)| (op.start, op.len, op.when, *tear)).collect();
                        total.1.push(format!("{case:?} after cuts at {way:?}"));
                    }
                }
            });
        }
    });
    total.into_inner().unwrap()
}

fn check(cases: &[Case]) -> Stats {
    let (stats, failures) = run(cases);
    assert!(failures.is_empty(), "{failures:#?}");
    stats
}

#[test]
fn an_undisturbed_life_goes_through_every_state_once_per_release() {
    for arrival in [Arrival::Chunks(96), Arrival::Blocks(64), Arrival::Window(64)] {
        let world = world((geometry(256, 4, 1024), arrival, Life::All, depth(0, [0; 3], [1; 3])));
        let mut chip = world.factory();
        let mut when = chip::Moment::FACTORY;
        let mut states = vec![];
        let mut taken = 0;
        while !world.is_over(when) {
            let run = world.power_on(&mut chip, when);
            when = run.end;
            taken += run.taken;
            states.extend(run.states);
        }
        let count = |state| states.iter().filter(|s| **s == state).count();
        assert_eq!((count(State::Announced), count(State::Validated), count(State::Trial)), (6, 5, 4), "{states:?}");
        assert_eq!((count(State::Failed), when.floor), (0, 8));
        let sizes: usize =
            world.releases.iter().skip(1).filter(|r| r.superseded_at != Some(341)).map(|r| r.image.len()).sum();
        // And what was fetched of the one that was superseded.
        assert!((sizes..sizes + 600).contains(&(taken as usize)), "{taken} bytes of {sizes} were stored");
    }
}

/// A part that takes seconds without optimisation.
#[test]
fn power_may_fail_anywhere_and_again_while_the_device_mends_it() {
    let one = depth(1, [3, 0, 0], [1; 3]);
    let two = depth(2, [3, 3, 0], [3, 23, 1]);
    let stats = check(&[
        (geometry(256, 32, 512), Arrival::Chunks(96), Life::All, one),
        (geometry(256, 32, 512), Arrival::Window(64), Life::Reverted, two),
        (geometry(384, 8, 768), Arrival::Blocks(64), Life::Superseded, one),
        (geometry(256, 1, 256), Arrival::Blocks(16), Life::Confirmed, one),
        (geometry(256, 16, 1024), Arrival::Window(64), Life::All, chunked(256, one)),
        (geometry(256, 8, 1024), Arrival::Chunks(256), Life::Reverted, chunked(512, one)),
        (geometry(256, 8, 512), Arrival::Blocks(64), Life::Rotated, depth(1, [12, 0, 0], [1; 3])),
        (geometry(256, 8, 512), Arrival::Blocks(64), Life::Flipped, one),
        (geometry(256, 8, 1024), Arrival::Blocks(64), Life::Flipped, chunked(256, one)),
        (geometry(256, 32, 512), Arrival::Chunks(96), Life::Pair, one),
        (geometry(256, 32, 512), Arrival::Window(64), Life::SupersededPair, one),
        (geometry(256, 16, 512), Arrival::Blocks(64), Life::FlippedPair, one),
        (geometry(256, 32, 768), Arrival::Window(64), Life::Pair, chunked(256, one)),
    ]);
    println!("powercut smoke {}", stats.runs);
    assert!(stats.runs > 5_000, "{stats:?}");
}

/// What `make powercut` bounds the proof by: more than ten million runs, in less than ten minutes of two processors.
const MOST: u64 = 40_000_000;

/// Samples the cases that would try the most cuts, until all together try about `most`: the same ones each time. Every single
/// cut stays; there are fewer subsets of its bits, fewer second cuts after each first, fewer third after each second.
fn bound(cases: &mut [Case], most: u64) {
    let expected: Vec<u64> = cases.iter().map(|case| Explorer::new(&world(*case), case.3).expected()).collect();
    let sum = |cap: u64| expected.iter().map(|n| u128::from(*n.min(&cap))).sum::<u128>();
    // The highest share that none may exceed.
    let (mut cap, mut step) = (0, 1 << 40);
    while step != 0 {
        if sum(cap + step) <= u128::from(most) {
            cap += step;
        }
        step /= 2;
    }
    for ((.., depth), tried) in cases.iter_mut().zip(&expected) {
        let over = tried.div_ceil(cap.max(1));
        match depth.cuts {
            1 => depth.masks[0] = (u64::from(depth.masks[0]) / over).max(3) as u8,
            cuts => depth.sample[cuts - 1] *= over,
        }
    }
    println!("powercut: {} cases, about {} cuts to be tried, at most {cap} in one", cases.len(), sum(cap));
}

/// All of it: `make powercut`.
#[test]
#[ignore = "takes minutes"]
fn every_cut_every_pair_and_many_triples() {
    let mut cases = vec![];
    let arrivals = [Arrival::Chunks(96), Arrival::Blocks(64), Arrival::Window(64)];
    // Every cut, with many subsets of bits, in a long life; then every pair; then some triples.
    for write in [1, 2, 4, 8, 16, 32] {
        for arrival in arrivals {
            cases.push((geometry(256, write, 1024), arrival, Life::All, depth(1, [64, 0, 0], [1; 3])));
            cases.push((geometry(512, write, 1024), arrival, Life::All, depth(1, [64, 0, 0], [1; 3])));
        }
    }
    for (n, write) in [32, 16, 8, 4, 2, 1].into_iter().enumerate() {
        let masks = if write > 4 { [4, 4, 0] } else { [2, 2, 0] };
        for life in [Life::Reverted, Life::Superseded, Life::Confirmed] {
            cases.push((geometry(256, write, 512), arrivals[n % 3], life, depth(2, masks, [1; 3])));
        }
    }
    for (n, chunk) in [256, 512, 64].into_iter().enumerate() {
        for write in [4, 16, 32] {
            let integrated = Depth { integrated: true, ..chunked(chunk, depth(1, [64, 0, 0], [1; 3])) };
            cases.push((geometry(256, write, 1024), arrivals[n], Life::All, integrated));
            cases.push((
                geometry(256, write, 1024),
                arrivals[n],
                Life::All,
                chunked(chunk, depth(1, [64, 0, 0], [1; 3])),
            ));
            cases.push((
                geometry(256, write, 768),
                arrivals[n],
                Life::Reverted,
                chunked(chunk, depth(2, [3, 3, 0], [1, 3, 1])),
            ));
        }
    }
    for write in [1, 4, 32] {
        cases.push((geometry(256, write, 512), arrivals[1], Life::Flipped, depth(1, [64, 0, 0], [1; 3])));
        cases.push((
            geometry(256, write, 1024),
            arrivals[2],
            Life::Flipped,
            chunked(256, depth(1, [16, 0, 0], [1; 3])),
        ));
    }
    for write in [4, 16, 32] {
        cases.push((geometry(256, write, 512), arrivals[0], Life::Rotated, depth(1, [64, 0, 0], [1; 3])));
        cases.push((geometry(256, write, 512), arrivals[2], Life::Rotated, depth(2, [3, 3, 0], [1; 3])));
    }
    for (n, write) in [32, 8, 1].into_iter().enumerate() {
        for life in [Life::Pair, Life::SupersededPair, Life::FlippedPair] {
            cases.push((geometry(256, write, 1024), arrivals[n], life, depth(1, [64, 0, 0], [1; 3])));
        }
        cases.push((
            geometry(256, write, 1024),
            arrivals[n],
            Life::Pair,
            chunked([256, 512, 64][n], depth(1, [64, 0, 0], [1; 3])),
        ));
        cases.push((geometry(256, write, 512), arrivals[n], Life::Pair, depth(2, [3, 3, 0], [1, 3, 1])));
        cases.push((geometry(256, write, 512), arrivals[n], Life::SupersededPair, depth(2, [3, 3, 0], [1, 3, 1])));
    }
    for arrival in arrivals {
        cases.push((geometry(384, 8, 768), arrival, Life::All, depth(3, [3, 3, 3], [1, 7, 50])));
    }
    bound(&mut cases, std::env::var("WAFT_POWERCUT_MOST").map_or(MOST, |most| most.parse().expect("a number")));
    let began = std::time::Instant::now();
    let (stats, failures) = run(&cases);
    println!("powercut runs {} failures {} states {} boots {}", stats.runs, failures.len(), stats.states, stats.boots);
    println!("{} s, {} cuts more led to states known", began.elapsed().as_secs(), stats.known);
    assert!(failures.is_empty(), "{failures:#?}");
}
