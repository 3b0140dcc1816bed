//! What a bootloader needs.
#![allow(non_camel_case_types, reason = "C's names")]

use crate::{
    error::result,
    handle::{Out, lent},
    types::waft_bytes_t,
};
use waft::{
    Misuse,
    ota::boot::{
        self,
        staging::{self, Layout, Place, Step},
    },
};

/// No page has to be erased.
pub const WAFT_NO_PAGE: u8 = 0xff;

/// What a bootloader is to do.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_boot_t {
    /// The slots to boot from: bit n is that of image n. With one image it is the slot, 0 or 1, to jump to.
    pub slots: u8,
    /// The slots of the confirmed images, as `slots`.
    pub active: u8,
    /// 1: what is in `slots` is on trial.
    pub trial: u8,
    /// 1: write `note_bytes` to the journal before the jump. If that fails, boot from `active` instead.
    pub note: u8,
    /// The journal page (0 or 1) to erase before that, or WAFT_NO_PAGE.
    pub note_erase: u8,
    /// The journal page (0 or 1) to write to.
    pub note_page: u8,
    /// Where in that page.
    pub note_offset: u32,
    /// What to write.
    pub note_bytes: [u8; 128],
    /// The image that `image_size` and `image_digest` are about, the first that the last update brought: 0 is the firmware.
    pub image: u8,
    /// Bytes of that image in its slot; 0 where the journal does not know.
    pub image_size: u32,
    /// Their SHA-256.
    pub image_digest: [u8; 32],
}

impl waft_boot_t {
    const ZEROS: Self = Self {
        slots: 0,
        active: 0,
        trial: 0,
        note: 0,
        note_erase: 0,
        note_page: 0,
        note_offset: 0,
        note_bytes: [0; 128],
        image: 0,
        image_size: 0,
        image_digest: [0; 32],
    };
}

/// Decides from the two pages of the journal which slots to boot from. `factory` are those of a device that never took an update.
/// No cryptography, no state, no memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_boot_decide(
    page0: waft_bytes_t,
    page1: waft_bytes_t,
    factory: u8,
    decision: *mut waft_boot_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the pages for this call, and the place of the decision.
        unsafe {
            let out = Out::new(decision)?;
            let d = boot::decide([page0.lent()?, page1.lent()?], factory);
            let boot = out.begin(waft_boot_t::ZEROS);
            boot.slots = d.slots;
            boot.active = d.active;
            boot.trial = d.trial.into();
            boot.note_erase = d.note.as_ref().and_then(|note| note.erase).unwrap_or(WAFT_NO_PAGE);
            if let Some(note) = &d.note {
                boot.note = 1;
                boot.note_page = note.page;
                boot.note_offset = note.offset;
                boot.note_bytes = note.bytes;
            }
            if let Some(image) = &d.image {
                boot.image = image.image;
                boot.image_size = image.size;
                boot.image_digest = image.digest;
            }
        }
        Ok(())
    })())
}

/// Nothing is left to do: what is wanted is in the primary area.
pub const WAFT_SWAP_DONE: u8 = 0;
/// Erase status page `page` and write `header` at its start.
pub const WAFT_SWAP_BEGIN: u8 = 1;
/// Erase the block at `to`, copy there the one at `from`, then write a program unit of zeros at `mark` of status page `page`.
pub const WAFT_SWAP_MOVE: u8 = 2;

/// The sizes of a device's flash in bytes, where firmware runs from one place and updates are stored in another: see waft_boot_swap().
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_boot_layout_t {
    /// Of the staging area: a multiple of `erase`, and the update's `slot_size`. The primary area has `erase` more.
    pub slot: u32,
    /// Of an erase block of either area.
    pub erase: u32,
    /// Of a program unit: 1, 2, 4, 8, 16 or 32.
    pub write: u32,
}

/// What a bootloader has to do before it asks again. Members that a kind does not name are 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_boot_swap_t {
    /// WAFT_SWAP_...
    pub kind: u8,
    /// A status page: 0 or 1.
    pub page: u8,
    /// 1: `from` is an offset in the staging area; 0: in the primary one.
    pub from_staging: u8,
    /// 1: `to` is an offset in the staging area; 0: in the primary one.
    pub to_staging: u8,
    /// The block to be copied.
    pub from: u32,
    /// The block to be erased and written.
    pub to: u32,
    /// Where in the status page.
    pub mark: u32,
    /// What to write there.
    pub header: [u8; 32],
}

const _: () = assert!(staging::HEADER == 32, "the header says otherwise");

/// Bytes that each of the two status pages has to have at least, of which it is as many whole erase blocks; 0: the sizes are
/// none that waft_boot_layout_t allows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_boot_status_len(layout: *const waft_boot_layout_t) -> u32 {
    // SAFETY: C lends the layout for this call.
    unsafe { lent(layout, 1) }.ok().and_then(|layout| layout.first()).map_or(0, |layout| layout.to_core().status_len())
}

/// For a bootloader of a device whose firmware runs from one place, the primary area, while updates are stored in a staging area,
/// which stands for WAFT_AREA_SLOT0 and WAFT_AREA_SLOT1 both: the next step on the way to having `slot`, the one of
/// waft_boot_decide(), in the primary area. Of several images each has areas and status pages of its own. `page0` and `page1` are the status pages as they are now.
///
/// Do it and ask again, until WAFT_SWAP_DONE; then write the note of the decision, and jump. Power may fail at any byte of it. What was
/// in the primary area is in the staging area then, from where it is brought back when the new image fails its trial.
/// WAFT_ERROR_OUT_OF_RANGE: the sizes are none that are allowed, or a page is too short.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_boot_swap(
    layout: *const waft_boot_layout_t,
    page0: waft_bytes_t,
    page1: waft_bytes_t,
    slot: u8,
    swap: *mut waft_boot_swap_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the layout and the pages for this call, and the place of the step.
        unsafe {
            let out = Out::new(swap)?;
            let layout = lent(layout, 1)?.first().ok_or(Misuse::NullPointer)?.to_core();
            let step = staging::step([page0.lent()?, page1.lent()?], slot, &layout)?;
            out.set(waft_boot_swap_t::of(step));
        }
        Ok(())
    })())
}

impl waft_boot_layout_t {
    const fn to_core(self) -> Layout {
        Layout { slot: self.slot, erase: self.erase, write: self.write }
    }
}

impl waft_boot_swap_t {
    fn of(step: Option<Step>) -> Self {
        let none = Self {
            kind: WAFT_SWAP_DONE,
            page: 0,
            from_staging: 0,
            to_staging: 0,
            from: 0,
            to: 0,
            mark: 0,
            header: [0; 32],
        };
        match step {
            None => none,
            Some(Step::Begin { page, header }) => Self { kind: WAFT_SWAP_BEGIN, page, header, ..none },
            Some(Step::Move { from, to, page, mark }) => {
                let ((from_staging, from), (to_staging, to)) = (place(from), place(to));
                Self { kind: WAFT_SWAP_MOVE, page, from_staging, to_staging, from, to, mark, ..none }
            }
        }
    }
}

const fn place(place: Place) -> (u8, u32) {
    match place {
        Place::Primary(offset) => (0, offset),
        Place::Staging(offset) => (1, offset),
    }
}
