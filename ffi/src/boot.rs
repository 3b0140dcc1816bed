//! What a bootloader needs.
#![allow(non_camel_case_types, reason = "C's names")]

use crate::{error::result, handle::Out, types::waft_bytes_t};
use waft::ota::boot;

/// No page has to be erased.
pub const WAFT_NO_PAGE: u8 = 0xff;

/// What a bootloader is to do.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_boot_t {
    /// The slot to jump to: 0 or 1.
    pub slot: u8,
    /// The slot of the confirmed image.
    pub active: u8,
    /// 1: the image in `slot` is on trial.
    pub trial: u8,
    /// 1: write `note_bytes` to the journal before the jump. If that fails, jump to `active` instead.
    pub note: u8,
    /// The journal page (0 or 1) to erase before that, or WAFT_NO_PAGE.
    pub note_erase: u8,
    /// The journal page (0 or 1) to write to.
    pub note_page: u8,
    /// Where in that page.
    pub note_offset: u32,
    /// What to write.
    pub note_bytes: [u8; 128],
    /// Bytes of the image in `slot`; 0 where the journal does not know.
    pub image_size: u32,
    /// Their SHA-256.
    pub image_digest: [u8; 32],
}

/// Decides from the two pages of the journal which slot to boot. `factory` is the slot of a device that never took an update.
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
            let (note, image) = (d.note.as_ref(), d.image.as_ref());
            out.set(waft_boot_t {
                slot: d.slot,
                active: d.active,
                trial: u8::from(d.trial),
                note: u8::from(note.is_some()),
                note_erase: note.and_then(|n| n.erase).unwrap_or(WAFT_NO_PAGE),
                note_page: note.map_or(0, |n| n.page),
                note_offset: note.map_or(0, |n| n.offset),
                note_bytes: note.map_or([0; 128], |n| n.bytes),
                image_size: image.map_or(0, |i| i.size),
                image_digest: image.map_or([0; 32], |i| i.digest),
            });
        }
        Ok(())
    })())
}
