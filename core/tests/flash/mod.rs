//! A NOR flash that forgets nothing and forgives nothing, and a device around it: what the power-cut tests share.
//!
//! A program unit may be written once between two erases. Power may fail inside any write or erase, after any byte:
//! what comes before is done, in the unit where it happens any bits may have changed, what comes after is as before.

#![allow(dead_code, unreachable_pub, reason = "no test uses all of it")]

pub mod bench;
pub mod device;

use std::sync::OnceLock;
use waft::Rng;
use waft::ota::author::{self, SecretKey};
use waft::ota::boot;
use waft::ota::manifest::{Image, Key, Requires};
use waft::ota::policy::{Severity, UpdateType};
use waft::ota::update::Area;

pub const VENDOR: [u8; 16] = [0x11; 16];
pub const CLASS: [u8; 16] = [0x22; 16];

/// The author that the devices of these tests trust.
pub fn author() -> SecretKey {
    SecretKey::from_seed(&[9; 32]).unwrap()
}

/// What they know of it. (Deriving it takes long without optimisation.)
pub fn key() -> Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    *KEY.get_or_init(|| author().key())
}

/// A signed manifest for that image.
pub fn envelope(sequence: u64, image: &[u8]) -> Vec<u8> {
    let release = author::Release {
        sequence,
        vendor: VENDOR,
        class: CLASS,
        image: Image::of(image).unwrap(),
        uri: "image/1",
        version: Some("1.2.0".parse().unwrap()),
        kind: UpdateType::Security,
        severity: Severity::High,
        chunk: None,
        reference_uri: None,
        requires: Requires::default(),
        text: None,
    };
    release.sign(&author()).unwrap()
}

/// `len` bytes that are different for every `seed`.
pub fn image(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    (0..len).map(|_| rng.next_u32() as u8).collect()
}

/// The power failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut;

/// Sizes in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Geometry {
    pub erase: u32,
    pub write: u32,
    pub slot: u32,
}

/// Journal and both slots.
#[derive(Debug, Clone)]
pub struct Flash {
    pub geometry: Geometry,
    bytes: Vec<u8>,
    /// Bytes written or erased since the device was made: the clock of the cuts.
    pub steps: u64,
    /// When the power fails, soonest last.
    cuts: Vec<u64>,
    rng: Rng,
}

impl Flash {
    pub fn new(geometry: Geometry, factory: &[u8], mut cuts: Vec<u64>) -> Self {
        let mut bytes = vec![0xFF; (2 * geometry.erase + 2 * geometry.slot) as usize];
        bytes[2 * geometry.erase as usize..][..factory.len()].copy_from_slice(factory);
        let rng = Rng::new(cuts.iter().fold(7, |seed, cut| seed * 31 + cut));
        cuts.sort_unstable_by(|a, b| b.cmp(a));
        Self { geometry, bytes, steps: 0, cuts, rng }
    }

    fn start(&self, area: Area, offset: u32, len: usize) -> usize {
        let Geometry { erase, slot, .. } = self.geometry;
        let (base, size) = match area {
            Area::Journal => (0, 2 * erase),
            Area::Slot(0) => (2 * erase, slot),
            Area::Slot(1) => (2 * erase + slot, slot),
            Area::Slot(other) => panic!("there is no slot {other}"),
        };
        assert!(offset as usize + len <= size as usize, "{area:?} ends before {offset} + {len}");
        (base + offset) as usize
    }

    pub fn read(&self, area: Area, offset: u32, len: usize) -> &[u8] {
        &self.bytes[self.start(area, offset, len)..][..len]
    }

    /// One bit is not what it was.
    pub fn flip(&mut self, area: Area, offset: u32) {
        let at = self.start(area, offset, 1);
        self.bytes[at] ^= 0x10;
    }

    /// Something else is there.
    pub fn fill(&mut self, area: Area, bytes: &[u8]) {
        let at = self.start(area, 0, bytes.len());
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Whether the power fails at the step that begins.
    fn step(&mut self) -> bool {
        self.steps += 1;
        let cut = self.cuts.last() == Some(&self.steps);
        if cut {
            self.cuts.pop();
        }
        cut
    }

    /// Changes any bits of the unit around `at` from what they are to what `to` makes of them.
    fn tear(&mut self, at: usize, end: usize, to: impl Fn(usize) -> u8) {
        let unit = self.geometry.write as usize;
        let first = at / unit * unit;
        for place in at..(first + unit).min(end) {
            let (from, mask) = (self.bytes[place], self.rng.next_u32() as u8);
            self.bytes[place] = (from & !mask) | (to(place) & mask);
        }
    }

    pub fn erase(&mut self, area: Area, offset: u32, len: u32) -> Result<(), Cut> {
        assert_eq!((len, offset % len), (self.geometry.erase, 0), "erase blocks are erased whole");
        let start = self.start(area, offset, len as usize);
        for at in start..start + len as usize {
            if self.step() {
                self.tear(at, start + len as usize, |_| 0xFF);
                return Err(Cut);
            }
            self.bytes[at] = 0xFF;
        }
        Ok(())
    }

    pub fn write(&mut self, area: Area, offset: u32, data: &[u8], last: bool) -> Result<(), Cut> {
        let unit = self.geometry.write as usize;
        assert_eq!(offset as usize % unit, 0, "a write starts a unit");
        assert!(last || data.len().is_multiple_of(unit), "a write ends with a unit");
        let padded = data.len().next_multiple_of(unit);
        let start = self.start(area, offset, padded);
        assert!(self.bytes[start..start + padded].iter().all(|b| *b == 0xFF), "{area:?} {offset} is written twice");
        let data: Vec<u8> = data.iter().copied().chain(std::iter::repeat(0)).take(padded).collect();
        for at in start..start + padded {
            if self.step() {
                self.tear(at, start + padded, |place| data[place - start]);
                return Err(Cut);
            }
            self.bytes[at] = data[at - start];
        }
        Ok(())
    }

    /// What the bootloader does: gives the slot that it jumps to.
    pub fn boot(&mut self) -> Result<boot::Decision, Cut> {
        let page = self.geometry.erase;
        let pages = [self.read(Area::Journal, 0, page as usize), self.read(Area::Journal, page, page as usize)];
        let decision = boot::decide(pages, 0);
        if let Some(note) = &decision.note {
            if let Some(erase) = note.erase {
                self.erase(Area::Journal, page * u32::from(erase), page)?;
            }
            self.write(Area::Journal, page * u32::from(note.page) + note.offset, &note.bytes, false)?;
        }
        Ok(decision)
    }
}
