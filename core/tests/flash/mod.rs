//! NOR flash whose program units may be written once between two erases, releases, and a bench for the update machine.

#![allow(dead_code, unreachable_pub, reason = "no test uses all of it")]

pub mod bench;
pub mod chunked;
pub mod remembered;

use std::sync::OnceLock;
use waft::Rng;
use waft::ota::author::{self, Extra, More, SecretKey};
use waft::ota::boot;
use waft::ota::manifest::{Image, Key, Requires, Verifier};
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
    envelope_by(&author(), sequence, image)
}

/// One by another author.
pub fn envelope_by(author: &SecretKey, sequence: u64, image: &[u8]) -> Vec<u8> {
    release(sequence, image).sign(author).unwrap()
}

/// A signed manifest for two images.
pub fn envelope_of_two(sequence: u64, image: &[u8], other: &[u8]) -> Vec<u8> {
    let extra = Extra { number: 1, image: Image::of(other).unwrap(), uri: "image/2", content: None };
    let more = More { images: &[extra], ..More::default() };
    author::Release { more, ..release(sequence, image) }.sign(&author()).unwrap()
}

/// A release of that image.
pub fn release(sequence: u64, image: &[u8]) -> author::Release<'static> {
    author::Release {
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
        more: Default::default(),
    }
}

/// `len` bytes that are different for every `seed`.
pub fn image(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    (0..len).map(|_| rng.next_u32() as u8).collect()
}

/// Believes every signature: the tests of the machine are not tests of Ed25519, which takes long without optimisation.
#[derive(Debug)]
pub struct Credulous;

impl Verifier for Credulous {
    fn verify(&self, _: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
        true
    }
}

/// Sizes in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Geometry {
    pub erase: u32,
    pub write: u32,
    pub slot: u32,
}

impl Geometry {
    /// Where an area lies, and its size: the journal, both slots of the firmware, the key tables, and both slots of each other image.
    pub fn place(&self, area: Area) -> (u32, u32) {
        let Self { erase, slot: size, .. } = *self;
        match area {
            Area::Journal => (0, 2 * erase),
            Area::Slot { image: 0, slot: slot @ 0..=1 } => (2 * erase + u32::from(slot) * size, size),
            Area::Keys => (2 * erase + 2 * size, 2 * erase),
            Area::Slot { image, slot: slot @ 0..=1 } => {
                (4 * erase + (2 * u32::from(image) + u32::from(slot)) * size, size)
            }
            other => panic!("there is no {other:?}"),
        }
    }

    /// Flash of a device with such images from the factory: the firmware, and perhaps others.
    pub fn factory(&self, images: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0xFF; 4 * self.erase as usize + 2 * images.len() * self.slot as usize];
        for (image, content) in (0..).zip(images) {
            let (start, _) = self.place(Area::Slot { image, slot: 0 });
            bytes[start as usize..][..content.len()].copy_from_slice(content);
        }
        bytes
    }
}

/// Journal, slots and key tables.
#[derive(Debug, Clone)]
pub struct Flash {
    pub geometry: Geometry,
    bytes: Vec<u8>,
    /// Bytes written or erased since the device was made.
    pub steps: u64,
}

impl Flash {
    pub fn new(geometry: Geometry, factory: &[u8]) -> Self {
        Self::of(geometry, &[factory])
    }

    /// That of a device with several images.
    pub fn of(geometry: Geometry, factory: &[&[u8]]) -> Self {
        Self { geometry, bytes: geometry.factory(factory), steps: 0 }
    }

    fn start(&self, area: Area, offset: u32, len: usize) -> usize {
        let (base, size) = self.geometry.place(area);
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

    pub fn erase(&mut self, area: Area, offset: u32, len: u32) {
        assert_eq!((len, offset % len), (self.geometry.erase, 0), "erase blocks are erased whole");
        let start = self.start(area, offset, len as usize);
        self.bytes[start..start + len as usize].fill(0xFF);
        self.steps += u64::from(len);
    }

    pub fn write(&mut self, area: Area, offset: u32, data: &[u8], last: bool) {
        let unit = self.geometry.write as usize;
        assert_eq!(offset as usize % unit, 0, "a write starts a unit");
        assert!(last || data.len().is_multiple_of(unit), "a write ends with a unit");
        let padded = data.len().next_multiple_of(unit);
        let start = self.start(area, offset, padded);
        let place = &mut self.bytes[start..start + padded];
        assert!(place.iter().all(|b| *b == 0xFF), "{area:?} {offset} is written twice");
        place.fill(0);
        place[..data.len()].copy_from_slice(data);
        self.steps += padded as u64;
    }

    /// What the bootloader does: gives the slot that it jumps to.
    pub fn boot(&mut self) -> boot::Decision {
        let page = self.geometry.erase;
        let pages = [self.read(Area::Journal, 0, page as usize), self.read(Area::Journal, page, page as usize)];
        let decision = boot::decide(pages, 0);
        if let Some(note) = &decision.note {
            if let Some(erase) = note.erase {
                self.erase(Area::Journal, page * u32::from(erase), page);
            }
            self.write(Area::Journal, page * u32::from(note.page) + note.offset, &note.bytes, false);
        }
        decision
    }
}
