//! What a bootloader needs: which slot, which record to write before the jump, when to go back. No cryptography, no
//! state, no heap; it reads the two journal pages where they lie in memory-mapped flash.
//!
//! ```text
//! let decision = boot::decide([page0, page1], 0);
//! if let Some(note) = &decision.note {
//!     if let Some(page) = note.erase { flash_erase(page_address(page)) }
//!     flash_program(page_address(note.page) + note.offset, &note.bytes)   // if this fails: boot the active slot
//! }
//! jump(slot_address(decision.slots & 1))
//! ```
//!
//! Slots come as bits, bit n being the slot of image n: of a device with one image that number is its slot. All images change
//! slots by one record, or none does.
//!
//! # One slot and a staging area
//! Where firmware runs from one place only, the other slot is a staging area, and the bootloader swaps the two before
//! the jump: see [`staging`].
//!
//! # MCUboot, or another bootloader
//! There is no need for this one, nor for [`staging`]. The update machine asks for requests on one image slot only, the one that is not
//! [active](super::update::Update::active_slots), so a device with a slot that is run and a staging slot, between which its
//! bootloader swaps, serves slots 0 and 1 both with the staging slot (MCUboot: the secondary one, less its trailer).
//!
//! - [`Activate`](super::event::Event::Activate): hand over by MCUboot's trailer, `boot_set_pending(0)`, and answer `done`; after
//!   [`Reverted`](super::report::State::Reverted) there is nothing to do, since what is not confirmed is swapped back.
//! - At power on, [`Config::running`](super::update::Config::running) is the active slots (those of [`decide`], whose note is not written),
//!   or the other ones where MCUboot runs an image that is not confirmed: `boot_swap_type()` was `BOOT_SWAP_TYPE_TEST`, `image_ok`
//!   is not set.
//! - When the machine has told [`Confirmed`](super::report::State::Confirmed): `boot_write_img_confirmed()`. Where power fails between the
//!   two, MCUboot goes back, and the machine notices at the next start that another image runs than was confirmed.
//!
//! MCUboot checks a signature of its own before each swap; it needs the image in its format, with header and TLVs.
//!
//! # Checking at every boot
//! A bootloader that wants to check the firmware before every jump hashes, where `image` is about it, `image.size` bytes of the slot
//! and compares them with `image.digest`; where they differ it boots the other slots.

pub mod staging;

use super::journal::{Cursor, Kind, LEN, Record, STEP};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The slots to boot from: bit n is that of image n. Bit 0, the firmware's, is the one to jump to.
    pub slots: u8,
    /// Whether what is in them is on trial.
    pub trial: bool,
    /// What is in one of these slots, where the journal knows: of the first image that the last update brought, its size and its
    /// SHA-256.
    pub image: Option<BootImage>,
    /// A record to write before the jump. Without it the boot would not count, and an image that hangs would be
    /// booted for ever: where writing it fails, jump to [`active`](Self::active) instead.
    pub note: Option<Note>,
    /// The slots of the confirmed images, as `slots`.
    pub active: u8,
}

/// What is in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootImage {
    /// The image's number: 0 is the firmware.
    pub image: u8,
    /// Bytes, from the start of the slot.
    pub size: u32,
    /// Their SHA-256.
    pub digest: [u8; 32],
}

/// A record, and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// Erase this journal page (0 or 1) first.
    pub erase: Option<u8>,
    /// The journal page (0 or 1) to write to.
    pub page: u8,
    /// Where in that page: a multiple of 128.
    pub offset: u32,
    /// What to write there.
    pub bytes: [u8; LEN],
}

/// Decides from the two journal pages which slots to boot from. `factory` are those of a device that never took an update.
///
/// The same pages give the same decision: a cut before or inside the write of the note changes nothing but, at most,
/// one place of the journal.
#[must_use]
pub fn decide(pages: [&[u8]; 2], factory: u8) -> Decision {
    let [first, second] = pages;
    let size = u32::try_from(first.len().min(second.len())).unwrap_or(u32::MAX);
    let mut cursor = Cursor::NEW;
    let mut newest = Record::blank(factory);
    for page in 0..2 {
        let bytes = if page == 0 { first } else { second };
        let mut offset = 0;
        for place in bytes.chunks_exact(LEN) {
            cursor.look_for(&mut newest, page, offset, place);
            offset = offset.saturating_add(STEP);
        }
    }
    cursor.settle(size);
    // Whether this boot is one of those that are counted.
    let counts = match (newest.kind, newest.left) {
        (Kind::Ready | Kind::Trial, 0) => {
            newest.kind = Kind::Reverted;
            true
        }
        (Kind::Ready | Kind::Trial, left) => {
            newest.kind = Kind::Trial;
            newest.left = left.saturating_sub(1);
            true
        }
        _ => false,
    };
    let kind = newest.kind;
    let trial = kind == Kind::Trial;
    let note = counts.then(|| {
        let erase = cursor.to_erase();
        let bytes = newest.encode(cursor.number());
        let (page, offset) = cursor.place();
        Note { erase, page, offset, bytes }
    });
    Decision {
        slots: if trial { newest.updated() } else { newest.active },
        trial,
        image: matches!(kind, Kind::Trial | Kind::Confirmed).then_some(BootImage {
            image: newest.image,
            size: newest.offset,
            digest: newest.hash,
        }),
        note,
        active: newest.active,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn pages(records: &[Record]) -> [vec::Vec<u8>; 2] {
        let mut first = vec![0xFF; 512];
        for (n, record) in records.iter().enumerate() {
            first[n * LEN..][..LEN].copy_from_slice(&record.encode(u32::try_from(n).unwrap() + 1));
        }
        [first, vec![0xFF; 512]]
    }

    fn write(pages: &mut [vec::Vec<u8>; 2], note: &Note) {
        if let Some(page) = note.erase {
            pages[usize::from(page)].fill(0xFF);
        }
        let place = &mut pages[usize::from(note.page)][note.offset as usize..][..LEN];
        assert!(place.iter().all(|byte| *byte == 0xFF), "only what is erased may be written");
        place.copy_from_slice(&note.bytes);
    }

    #[test]
    fn an_empty_or_broken_journal_boots_the_factory_slot() {
        for junk in [&[0xFFu8; 512][..], &[0; 512], &[0x5A; 100], &[]] {
            let decision = decide([junk, junk], 1);
            assert_eq!((decision.slots, decision.trial, decision.note), (1, false, None));
        }
    }

    #[test]
    fn a_new_image_is_tried_as_often_as_allowed_and_then_left() {
        let ready = Record { kind: Kind::Ready, brings: 1, left: 2, offset: 9, hash: [7; 32], ..Record::blank(0) };
        let mut pages = pages(&[ready]);
        for (slot, trial) in [(1, true), (1, true), (0, false), (0, false)] {
            let decision = decide([&pages[0], &pages[1]], 0);
            assert_eq!((decision.slots, decision.trial, decision.active), (slot, trial, 0));
            assert_eq!(decision.image, trial.then_some(BootImage { image: 0, size: 9, digest: [7; 32] }));
            if let Some(note) = decision.note {
                write(&mut pages, &note);
            }
        }
    }

    #[test]
    fn the_note_goes_to_the_other_page_when_this_one_is_full() {
        let trial = Record { kind: Kind::Trial, brings: 1, left: 9, ..Record::blank(1) };
        let mut pages = pages(&[trial; 4]);
        let note = decide([&pages[0], &pages[1]], 0).note.unwrap();
        assert_eq!((note.erase, note.page, note.offset), (Some(1), 1, 0));
        write(&mut pages, &note);
        assert_eq!(decide([&pages[0], &pages[1]], 0).note.unwrap().offset, STEP);
    }

    #[test]
    fn a_confirmed_image_is_booted_without_a_note() {
        let pages = pages(&[Record { kind: Kind::Confirmed, ..Record::blank(1) }]);
        let decision = decide([&pages[0], &pages[1]], 0);
        assert_eq!((decision.slots, decision.trial, decision.note), (1, false, None));
    }

    #[test]
    fn all_images_that_an_update_brings_change_slots_at_once_and_the_others_stay() {
        let ready = Record { kind: Kind::Ready, brings: 0b0101, left: 1, ..Record::blank(0b0110) };
        let mut pages = pages(&[ready]);
        for (slots, trial) in [(0b0011, true), (0b0110, false)] {
            let decision = decide([&pages[0], &pages[1]], 0);
            assert_eq!((decision.slots, decision.trial, decision.active), (slots, trial, 0b0110));
            write(&mut pages, &decision.note.unwrap());
        }
        let confirmed = Record { kind: Kind::Confirmed, active: ready.updated(), number: 9, ..ready };
        pages[1][..LEN].copy_from_slice(&confirmed.encode(9));
        assert_eq!(decide([&pages[0], &pages[1]], 0).slots, 0b0011);
    }
}
