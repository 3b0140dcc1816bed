//! Takes every cut that there is, and in what follows every second and third one.
//!
//! Nothing survives a cut but flash, so a cut is tried by taking the flash as it was before the operation that was cut
//! off, with a part of it done, and powering on from there: nothing is played again. Where two histories lead to the same
//! flash (and the world has seen the same), what follows is the same and is run once.

use crate::chip::{Chip, Moment, Op, Tear, WHOLE_BLOCK};
use crate::world::{Run, World};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The keys are hashes already.
#[derive(Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64");
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

/// How thoroughly.
#[derive(Debug, Clone, Copy)]
pub struct Depth {
    /// Cuts in one life.
    pub cuts: usize,
    /// How many subsets of the bits of a torn unit are tried, for the first cut, the second, the third; 1: none of them
    /// changed.
    pub masks: [u8; 3],
    /// Of the tears of the first, second and third cut, one of so many is taken.
    pub sample: [u64; 3],
    /// Bytes of a chunk with a digest of its own, or 0; and whether the list of them comes in the envelope.
    pub chunk: u32,
    pub integrated: bool,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stats {
    /// Cuts after which the device was powered on and run until all releases were settled, or until it was in a state
    /// from which it had been.
    pub runs: u64,
    /// Cuts that left a state which had been run from already.
    pub known: u64,
    /// Power-ons that were run.
    pub boots: u64,
    /// Different states of flash and world at a power-on.
    pub states: u64,
}

/// A way through the cuts of one life.
pub struct Explorer<'w> {
    world: &'w World,
    depth: Depth,
    /// The states powered on from, and how many cuts were tried after it.
    seen: HashMap<u64, u8, BuildHasherDefault<AsItIs>>,
    pub stats: Stats,
    /// The cuts on the way to where it is.
    pub way: Vec<(Op, Tear)>,
    tick: u64,
}

impl<'w> Explorer<'w> {
    pub fn new(world: &'w World, depth: Depth) -> Self {
        Self { world, depth, seen: HashMap::default(), stats: Stats::default(), way: vec![], tick: 0 }
    }

    /// From the factory on.
    pub fn explore(&mut self) {
        let chip = self.world.factory();
        self.follow(chip, Moment::FACTORY, self.depth.cuts);
        self.stats.states = self.seen.len() as u64;
    }

    /// Lets power stay until the end, and then tries the cuts that may happen on the way there.
    fn follow(&mut self, mut chip: Chip, mut when: Moment, cuts: usize) {
        let mut chain: Vec<(u64, Chip, Run)> = vec![];
        let promised = if self.way.is_empty() { None } else { Some((when.goal, when.stored)) };
        while !self.world.is_over(when) {
            let key = chip.hash(when);
            assert!(chain.iter().all(|(other, ..)| *other != key), "the device goes round in a circle");
            if self.seen.get(&key).is_some_and(|tried| usize::from(*tried) >= cuts) {
                break;
            }
            self.seen.insert(key, cuts as u8);
            let before = chip.clone();
            let run = self.world.power_on(&mut chip, when);
            self.stats.boots += 1;
            if let (true, Some((goal, stored)), Some((fetched, from))) = (chain.is_empty(), promised, run.resumed)
                && goal == fetched
                && !when.flipped
            {
                assert!(from + self.world.repeated() >= stored, "{stored} bytes were there, and it resumes at {from}");
            }
            when = run.end;
            chain.push((key, before, run));
            assert!(chain.len() < 100, "the device boots and boots");
        }
        if self.world.is_over(when) {
            let last = self.world.releases.last().map_or(0, |release| release.sequence);
            assert_eq!(when.floor, last, "the last release was not confirmed");
            let epoch = self.world.releases.iter().filter_map(|release| release.table).map(|table| table.epoch()).max();
            assert_eq!(when.epoch, epoch.unwrap_or(0), "the last key table is not in use");
        }
        let Some(later) = cuts.checked_sub(1) else { return };
        for (_, mut chip, run) in chain {
            for op in &run.log {
                self.cut(&chip, op, &run.written, later);
                chip.redo(op, &run.written, chip.units(op));
            }
        }
    }

    /// About how many cuts `explore` tries, as an undisturbed life has operations: of several cuts in one life the second
    /// comes somewhere after the first.
    pub fn expected(&self) -> u64 {
        let mut chip = self.world.factory();
        let mut when = Moment::FACTORY;
        let mut counts = [0; 3];
        while !self.world.is_over(when) {
            let run = self.world.power_on(&mut chip, when);
            when = run.end;
            for op in &run.log {
                for (count, masks) in counts.iter_mut().zip(self.depth.masks) {
                    *count += self.tears(&chip, op, masks).count() as u64;
                }
            }
        }
        let levels = counts.into_iter().zip(self.depth.sample).take(self.depth.cuts);
        levels.enumerate().fold(1, |tried, (n, (count, sample))| tried * count.div_ceil(sample) / (n as u64 + 1))
    }

    /// The cuts there may be in one operation.
    fn tears(&self, chip: &Chip, op: &Op, masks: u8) -> impl Iterator<Item = Tear> + use<> {
        let units = chip.units(op);
        let tears = (0..units).flat_map(move |unit| (0..masks).map(move |mask| Tear { unit, mask }));
        let block = if op.source.is_none() { masks } else { 0 };
        let whole = (1..block).map(|mask| Tear { unit: 0, mask: mask | WHOLE_BLOCK });
        // At last: all of it is done, and nobody was told.
        tears.chain(whole).chain([Tear { unit: units, mask: 0 }])
    }

    /// Tries all cuts in one operation.
    fn cut(&mut self, chip: &Chip, op: &Op, written: &[u8], later: usize) {
        let nth = self.depth.cuts - 1 - later;
        for tear in self.tears(chip, op, self.depth.masks[nth]) {
            self.tick = self.tick.wrapping_add(0x9E37_79B9_7F4A_7C15);
            if !(self.tick >> 20).is_multiple_of(self.depth.sample[nth]) {
                continue;
            }
            let torn = chip.torn(op, written, tear);
            if self.seen.get(&torn.hash(op.when)).is_some_and(|tried| usize::from(*tried) >= later) {
                self.stats.known += 1;
                continue;
            }
            self.stats.runs += 1;
            self.way.push((*op, tear));
            self.follow(torn, op.when, later);
            self.way.pop();
        }
    }
}
