//! For devices whose firmware runs from one place only: a *primary* area, and a *staging* area that updates are stored in.
//!
//! To the update machine nothing changes. It counts two slots, the one that runs and the other; with staging both
//! slots 0 and 1 of its requests are the staging area, since it never asks for the slot that runs. What is
//! different is the boot: where [`decide`](super::decide) chooses a slot that is not in the primary area, the two areas
//! change places first. Nothing is lost by that: the image that ran is in the staging area then, and where the new one
//! fails its trial, they change places again.
//!
//! ```text
//! let decision = boot::decide([journal0, journal1], 0);
//! while let Some(step) = staging::step([status0, status1], decision.slots & 1, &layout)? {
//!     match step {
//!         Step::Begin { page, header } => { flash_erase(status(page)); flash_program(status(page), &header) }
//!         Step::Move { from, to, page, mark } => {
//!             flash_erase(address(to));                                   // one erase block
//!             flash_copy(address(from), address(to), layout.erase);
//!             flash_program(status(page) + mark, &[0; write]);            // one program unit
//!         }
//!     }
//! }
//! // Only now, so that power that fails in a swap uses up no attempt. If this fails: swap to decision.active.
//! if let Some(note) = &decision.note { ... }
//! jump(primary)
//! ```
//!
//! # How
//! The primary area has one erase block more than a slot. All its blocks move up by one; then, one after the other, a block
//! of the staging area takes the place below, and the block above goes to the staging area. Each move reads what no
//! later one has touched and writes where nothing is that is not elsewhere too, so a move that was cut off is made again from its
//! start. That it was made is marked behind it, in one of two *status pages* of [`Layout::status_len`] bytes. A
//! header at its start says which slot is on its way to the primary area; of two pages the one with the higher number
//! counts. Where neither has a header, that is slot 0: the factory's.
//!
//! Power may fail at any byte of any of it (`core/tests/staging.rs` tries them all, in pairs). What a swap was begun for is ended,
//! whatever is wanted then, and undone where that is not wanted any more.
//!
//! Wear: a swap erases each block of the primary area twice, each of the staging area once, and one status page. An update
//! swaps once, one that is reverted twice. Time: it copies three slots; MCUboot's swap-move does the same, and can take the
//! place of this: see [`boot`](super).
//!
//! A device of several images has a primary and a staging area and two status pages for each of them that runs from one place, and swaps
//! them one after the other before it writes the note: image n to slot `decision.slots >> n & 1`. Power that fails between two swaps
//! leaves the decision what it was, so that the rest is swapped at the next boot; nothing runs before all are.
//!
//! Not provided: a primary area that is only overwritten, from which there is no way back; areas of which the blocks are
//! of different sizes, or images that run from the staging area as well.

use crate::Misuse;
use crate::crc::crc32;
use crate::wire::{Reader, Writer};

/// Bytes of a status page's header: a multiple of every program unit.
pub const HEADER: usize = 32;

/// The first byte of every header.
const FORMAT: u8 = 0xB1;

/// Bytes before the CRC.
const BODY: usize = 28;

/// The sizes of a device's flash, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Of the staging area: a multiple of `erase`, and the update's `slot_size`. The primary area has `erase` more.
    pub slot: u32,
    /// Of an erase block of either area.
    pub erase: u32,
    /// Of a program unit: 1, 2, 4, 8, 16 or 32.
    pub write: u32,
}

/// A block, by its offset in its area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Where firmware runs.
    Primary(u32),
    /// Where updates are stored.
    Staging(u32),
}

/// What a bootloader has to do before it asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Erase that status page (0 or 1) and write its header.
    Begin {
        /// Which.
        page: u8,
        /// What to write at its start.
        header: [u8; HEADER],
    },
    /// Erase the block at `to`, copy there the one at `from`, and then mark it.
    Move {
        /// The block to be copied.
        from: Place,
        /// The block to be erased and written.
        to: Place,
        /// The status page of the mark.
        page: u8,
        /// The mark's offset in it: a program unit of zeros is written there.
        mark: u32,
    },
}

impl Layout {
    /// The erase blocks of a slot, where the sizes are sound.
    fn blocks(&self) -> Option<u32> {
        let sound = self.write.is_power_of_two() && self.write <= 32 && self.slot.checked_rem(self.erase) == Some(0);
        self.slot.checked_div(self.erase).filter(|blocks| sound && *blocks > 0)
    }

    /// Bytes that a status page has to have at least; it is as many whole erase blocks. 0: the sizes are none that
    /// [`Layout`] allows.
    #[must_use]
    pub fn status_len(&self) -> u32 {
        let marks = self.blocks().and_then(|blocks| blocks.checked_mul(3)?.checked_mul(self.write));
        marks.and_then(|marks| marks.checked_add(HEADER as u32)).unwrap_or(0)
    }
}

/// Which slot a status page is about, and its number.
fn header(page: &[u8]) -> Option<(u8, u32)> {
    let (body, rest) = page.split_first_chunk::<BODY>()?;
    let mut reader = Reader::new(body);
    if reader.u8()? != FORMAT || Reader::new(rest).u32()? != crc32(body) {
        return None;
    }
    let slot = reader.u8().filter(|slot| *slot <= 1)?;
    Some((slot, reader.u32()?))
}

fn encode(slot: u8, number: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    let mut writer = Writer::new(&mut bytes);
    writer.u8(FORMAT);
    writer.u8(slot);
    writer.u32(number);
    if let Some(crc) = bytes.first_chunk::<BODY>().map(|body| crc32(body))
        && let Some(place) = bytes.last_chunk_mut()
    {
        *place = crc.to_be_bytes();
    }
    bytes
}

/// The next step on the way to having `slot` (0 or 1) in the primary area; `None` when it is there. `pages` are the two status
/// pages as they are now.
///
/// # Errors
/// [`Misuse::OutOfRange`]: the layout is not one that [`Layout`] allows, or the pages are shorter than
/// [`Layout::status_len`].
pub fn step(pages: [&[u8]; 2], slot: u8, layout: &Layout) -> Result<Option<Step>, Misuse> {
    let len = layout.status_len() as usize;
    let blocks = layout.blocks().filter(|_| len != 0 && pages.iter().all(|page| page.len() >= len));
    let blocks = blocks.ok_or(Misuse::OutOfRange)?;
    let [first, second] = pages;
    let (page, bytes, newest) = match (header(first), header(second)) {
        (Some((_, a)), Some(found @ (_, b))) if b > a => (1, second, Some(found)),
        (None, Some(found)) => (1, second, Some(found)),
        (found, _) => (0, first, found),
    };
    let Some((towards, number)) = newest else {
        return Ok((slot & 1 != 0).then(|| Step::Begin { page: 0, header: encode(1, 1) }));
    };
    let done = marks(bytes, blocks.saturating_mul(3), layout.write);
    if let Some((from, to)) = the_move(done, blocks, layout.erase) {
        let mark = done.saturating_mul(layout.write).saturating_add(HEADER as u32);
        return Ok(Some(Step::Move { from, to, page, mark }));
    }
    let next = Step::Begin { page: page ^ 1, header: encode(slot & 1, number.saturating_add(1)) };
    Ok((towards != slot & 1).then_some(next))
}

/// How many moves are marked: they are, one after the other, up to the first place that reads erased. A mark that was cut off counts,
/// unless nothing of it is there: its move was made before it.
fn marks(page: &[u8], most: u32, unit: u32) -> u32 {
    let is_set = |n: u32| {
        let at = (n.saturating_mul(unit) as usize).saturating_add(HEADER);
        let mark = page.get(at..at.saturating_add(unit as usize)).unwrap_or_default();
        mark.iter().any(|byte| *byte != 0xFF)
    };
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low.midpoint(high);
        if is_set(middle) {
            low = middle.saturating_add(1);
        } else {
            high = middle;
        }
    }
    low
}

/// Move number `n` of a swap of so many blocks; `None` behind the last.
fn the_move(n: u32, blocks: u32, erase: u32) -> Option<(Place, Place)> {
    let primary = |block: u32| Place::Primary(block.saturating_mul(erase));
    let Some(later) = n.checked_sub(blocks) else {
        let up = blocks.saturating_sub(n);
        return Some((primary(up.saturating_sub(1)), primary(up)));
    };
    let block = later >> 1;
    let staging = Place::Staging(block.saturating_mul(erase));
    let moves = if later & 1 == 0 { (staging, primary(block)) } else { (primary(block.saturating_add(1)), staging) };
    (block < blocks).then_some(moves)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    const LAYOUT: Layout = Layout { slot: 512, erase: 256, write: 8 };

    #[test]
    fn a_device_from_the_factory_has_slot_0_in_its_place() {
        for junk in [0xFF, 0, 0x5A] {
            let page = vec![junk; 256];
            assert_eq!(step([&page, &page], 0, &LAYOUT), Ok(None));
            let begin = step([&page, &page], 1, &LAYOUT).unwrap().unwrap();
            assert!(matches!(begin, Step::Begin { page: 0, .. }));
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let page = vec![0xFF; 256];
        for layout in [
            Layout { write: 3, ..LAYOUT },
            Layout { write: 64, ..LAYOUT },
            Layout { slot: 500, ..LAYOUT },
            Layout { slot: 0, ..LAYOUT },
            Layout { erase: 0, ..LAYOUT },
            Layout { slot: u32::MAX - 15, erase: 16, write: 32 },
        ] {
            assert_eq!(step([&page, &page], 0, &layout), Err(Misuse::OutOfRange), "{layout:?}");
        }
        assert_eq!(LAYOUT.status_len(), 32 + 6 * 8);
        assert_eq!(step([&page[..80], &page[..79]], 0, &LAYOUT), Err(Misuse::OutOfRange));
        assert_eq!(step([&page[..80], &page[..80]], 0, &LAYOUT), Ok(None));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let good = encode(1, 7);
        assert_eq!(header(&good), Some((1, 7)));
        for bit in 0..HEADER * 8 {
            let mut torn = good;
            torn[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(header(&torn), None, "bit {bit}");
        }
    }

    #[test]
    fn each_move_writes_where_what_was_there_is_elsewhere() {
        let places: std::vec::Vec<_> = (0..9).map(|n| the_move(n, 3, 10).unwrap()).collect();
        let p = Place::Primary;
        let s = Place::Staging;
        assert_eq!(places[..3], [(p(20), p(30)), (p(10), p(20)), (p(0), p(10))]);
        assert_eq!(places[3..7], [(s(0), p(0)), (p(10), s(0)), (s(10), p(10)), (p(20), s(10))]);
        assert_eq!(the_move(9, 3, 10), None);
    }
}
