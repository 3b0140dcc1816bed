//! NOR flash that forgives nothing: what it holds, what was done to it, and what a power cut leaves of that.

use crate::flash::Geometry;
use waft::Rng;
use waft::ota::update::Area;

/// Journal, slots and key tables. It asks of its user what a data sheet asks: whole erase blocks, whole program units, each
/// unit written at most once between two erases, and no write to a block whose erase was cut off, whatever it reads.
#[derive(Debug, Clone)]
pub struct Chip {
    pub geometry: Geometry,
    pub bytes: Vec<u8>,
    /// Bit n: the erase of block n was cut off.
    unsound: u64,
    /// What was done since the log was taken.
    pub log: Vec<Op>,
    /// The bytes that were written, one write behind the other.
    pub written: Vec<u8>,
}

/// Something that was done.
#[derive(Debug, Clone, Copy)]
pub struct Op {
    pub start: usize,
    pub len: usize,
    /// Where in `written` its bytes are; an erase has none.
    pub source: Option<usize>,
    /// The world when it began.
    pub when: Moment,
}

/// What the world knows at some time, beside the flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Which release is offered.
    pub goal: usize,
    /// The highest floor ever seen.
    pub floor: u64,
    /// The highest epoch of a key table whose release was settled.
    pub epoch: u32,
    /// A bit of an image that was stored has flipped, once in a life.
    pub flipped: bool,
    /// How many bytes of it were stored without a gap.
    pub stored: u32,
}

impl Moment {
    /// Before the first release.
    pub const FACTORY: Self = Self { goal: 1, floor: 0, epoch: 0, flipped: false, stored: 0 };
}

/// Where a cut falls: before the unit `unit` of the operation was begun, or in it, changing the bits that `mask` selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tear {
    pub unit: usize,
    pub mask: u8,
}

/// Tears of an erase with such a mask touch the whole block at once: cells do not become erased in order.
pub const WHOLE_BLOCK: u8 = 0x80;

impl Chip {
    pub fn new(geometry: Geometry, factory: &[&[u8]]) -> Self {
        let bytes = geometry.factory(factory);
        assert!(bytes.len() / geometry.erase as usize <= 64);
        Self { geometry, bytes, unsound: 0, log: vec![], written: vec![] }
    }

    fn start(&self, area: Area, offset: u32, len: usize) -> usize {
        let (base, size) = self.geometry.place(area);
        assert!(offset as usize + len <= size as usize, "{area:?} ends before {offset} + {len}");
        (base + offset) as usize
    }

    pub fn read(&self, area: Area, offset: u32, len: usize) -> &[u8] {
        &self.bytes[self.start(area, offset, len)..][..len]
    }

    pub fn erase(&mut self, area: Area, offset: u32, len: u32, when: Moment) {
        assert_eq!((len, offset % len), (self.geometry.erase, 0), "erase blocks are erased whole");
        let (start, len) = (self.start(area, offset, len as usize), len as usize);
        self.log.push(Op { start, len, source: None, when });
        self.bytes[start..start + len].fill(0xFF);
        self.unsound &= !(1 << (start / len));
    }

    pub fn write(&mut self, area: Area, offset: u32, data: &[u8], last: bool, when: Moment) {
        let unit = self.geometry.write as usize;
        assert_eq!(offset as usize % unit, 0, "a write starts a unit");
        assert!(last || data.len().is_multiple_of(unit), "a write ends with a unit");
        let len = data.len().next_multiple_of(unit);
        let start = self.start(area, offset, len);
        assert!(self.bytes[start..start + len].iter().all(|b| *b == 0xFF), "{area:?} {offset} is written twice");
        let block = self.geometry.erase as usize;
        for n in start / block..=(start + len - 1) / block {
            assert_eq!(self.unsound >> n & 1, 0, "{area:?} {offset} is written after an erase that was cut off");
        }
        let source = self.written.len();
        self.written.extend_from_slice(data);
        self.written.resize(source + len, 0);
        self.log.push(Op { start, len, source: Some(source), when });
        self.bytes[start..start + len].copy_from_slice(&self.written[source..]);
    }

    /// A bit of what was just written there is not what it should be, and nobody is told.
    pub fn flip(&mut self, area: Area, offset: u32, when: Moment) {
        let at = self.start(area, offset, 1);
        let unit = self.geometry.write as usize;
        let source = self.written.len();
        self.written.extend_from_slice(&self.bytes[at..at + unit]);
        self.written[source] ^= 1;
        self.log.push(Op { start: at, len: unit, source: Some(source), when });
        self.bytes[at] ^= 1;
    }

    /// What was done, and a log that begins again.
    pub fn take_log(&mut self) -> (Vec<Op>, Vec<u8>) {
        (core::mem::take(&mut self.log), core::mem::take(&mut self.written))
    }

    /// How many units an operation has.
    pub fn units(&self, op: &Op) -> usize {
        op.len / self.geometry.write as usize
    }

    /// Does what an operation does of `units` units from the first on.
    pub fn redo(&mut self, op: &Op, written: &[u8], units: usize) {
        let len = units * self.geometry.write as usize;
        match op.source {
            Some(source) => self.bytes[op.start..][..len].copy_from_slice(&written[source..][..len]),
            None => {
                self.bytes[op.start..][..len].fill(0xFF);
                let bit = 1 << (op.start / self.geometry.erase as usize);
                self.unsound = if len == op.len { self.unsound & !bit } else { self.unsound | bit };
            }
        }
    }

    /// This flash after that operation was cut off there.
    pub fn torn(&self, op: &Op, written: &[u8], tear: Tear) -> Self {
        let mut chip = Self { log: vec![], written: vec![], bytes: self.bytes.clone(), ..*self };
        let unit = self.geometry.write as usize;
        let (first, len) = if tear.mask & WHOLE_BLOCK != 0 { (0, op.len) } else { (tear.unit * unit, unit) };
        chip.redo(op, written, if tear.mask & WHOLE_BLOCK != 0 { 0 } else { tear.unit });
        if first >= op.len || tear.mask == 0 {
            return chip;
        }
        let mut rng = Rng::new((op.start as u64) << 32 | (tear.unit as u64) << 8 | u64::from(tear.mask));
        let to: Vec<u8> = (0..len).map(|n| op.source.map_or(0xFF, |source| written[source + first + n])).collect();
        let bytes = &mut chip.bytes[op.start + first..][..len];
        let prefix = rng.below(len as u64) as usize;
        let kind = tear.mask & !WHOLE_BLOCK;
        // One cell was quicker than all the others, or slower.
        let odd = match kind {
            // In a unit of one byte, the remaining ones name its bits.
            5.. if len == 1 => None,
            5.. if kind % 3 != 1 => Some(kind % 3 == 2),
            _ => None,
        };
        if let Some(quick) = odd {
            let differ: u32 = bytes.iter().zip(&to).map(|(from, to)| (from ^ to).count_ones()).sum();
            let mut left = rng.below(u64::from(differ).max(1));
            for (byte, to) in bytes.iter_mut().zip(&to) {
                for bit in (0..8).map(|n| 1 << n) {
                    if (*byte ^ to) & bit != 0 {
                        if (left == 0) == quick {
                            *byte ^= bit;
                        }
                        left = left.wrapping_sub(1);
                    }
                }
            }
            return chip;
        }
        for (n, (byte, to)) in bytes.iter_mut().zip(&to).enumerate() {
            let mut random = || rng.next_u32() as u8;
            let mask = match kind {
                1 => random(),
                2 => random() & random() & random(),
                3 => random() | random() | random(),
                4 if n < prefix => 0xFF,
                4 if n > prefix => 0,
                mask if len == 1 => mask.wrapping_mul(37),
                _ => random(),
            };
            *byte = (*byte & !mask) | (to & mask);
        }
        chip
    }

    /// Tells one state from another.
    pub fn hash(&self, when: Moment) -> u64 {
        let mut sum = 0x9E37_79B9_7F4A_7C15
            ^ self.unsound
            ^ (when.goal as u64) << 56
            ^ when.floor << 40
            ^ u64::from(when.epoch) << 32
            ^ u64::from(when.flipped) << 31;
        let (words, rest) = self.bytes.as_chunks::<8>();
        assert!(rest.is_empty());
        for word in words {
            let product = u128::from(u64::from_le_bytes(*word) ^ 0xA076_1D64_78BD_642F) * u128::from(sum | 1);
            sum ^= (product as u64 ^ (product >> 64) as u64).wrapping_add(0xE703_7ED1_A0B4_28DB).rotate_left(23);
        }
        sum
    }
}
