//! An update from its manifest to its confirmation, for `tests/arm/update.c` to measure. The slots are no flash: what is
//! stored is taken for stored, and what is read back is the image, so that what is counted is the update's own.
#![cfg_attr(target_os = "none", no_std)]

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use waft::ota::digest::Sha256;
use waft::ota::keys::Scope;
use waft::ota::manifest::{Ed25519, Key, Verifier};
use waft::ota::update::{Area, Config, Event, State, Update};
use waft::{Instant, Output};

/// Believes every signature: what remains is parser, processor and state machine.
struct Credulous;

impl Verifier for Credulous {
    fn verify(&self, _: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
        true
    }
}

const ERASE: u32 = 4096;
const SLOT: u32 = 256 * 1024;

/// What is not to be on the stack.
struct Memory {
    keys: [Key; 1],
    manifest: [u8; 1024],
    journal: [u8; 2 * ERASE as usize],
    out: [u8; 128],
    update: MaybeUninit<Update<'static>>,
}

struct Lone(UnsafeCell<Memory>);

// SAFETY: there is one thread and no interrupt.
unsafe impl Sync for Lone {}

static MEMORY: Lone = Lone(UnsafeCell::new(Memory {
    keys: [Key { id: [0; 8], public: [0; 32], scope: Scope::ALL, epoch: 0 }],
    manifest: [0; 1024],
    journal: [0; 2 * ERASE as usize],
    out: [0; 128],
    update: MaybeUninit::uninit(),
}));

/// Bytes that C lends for good.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes {
    data: *const u8,
    len: usize,
}

impl Bytes {
    /// # Safety
    /// They are there, and stay.
    unsafe fn lent(self) -> &'static [u8] {
        // SAFETY: the caller's.
        unsafe { core::slice::from_raw_parts(self.data, self.len) }
    }
}

/// Makes a device that never took an update and trusts the key `public`; `believe`: or rather anybody.
///
/// # Safety
/// The bytes are there, and stay; they are 32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn update_prepare(believe: bool, public: Bytes) {
    // SAFETY: nothing else looks at it, and what did before is not used again.
    let memory = unsafe { &mut *MEMORY.0.get() };
    // SAFETY: the caller's.
    let public = unsafe { public.lent() };
    memory.keys = [Key::new(public.first_chunk().copied().unwrap_or_default())];
    memory.journal.fill(0xff);
    let mut config = Config::new([0x11; 16], [0x22; 16], &memory.keys, 0, [SLOT, ERASE, 8]);
    config.verifier = if believe { &Credulous } else { &Ed25519 };
    memory.update.write(Update::new(config, &mut memory.manifest[..]));
}

/// Takes the device that was prepared through an update, to its reboot. Gives its last state's number.
///
/// # Safety
/// There is one, and it was not taken through one yet. The bytes are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn update_run(envelope: Bytes, image: Bytes) -> u32 {
    // SAFETY: the update has what it was lent of the memory, which is none of what is taken here.
    let (update, journal, out) = unsafe {
        let memory = MEMORY.0.get();
        ((*memory).update.assume_init_mut(), &mut (*memory).journal, &mut (*memory).out)
    };
    // SAFETY: the caller's.
    let (envelope, image) = unsafe { (envelope.lent(), image.lent()) };
    let now = Instant::ZERO;
    let _ = update.start(now);
    while !drain(update, journal, out, image) {
        let given = match update.state() {
            State::Idle => update.announce(now, envelope),
            State::Fetching => give(update, image),
            _ => break,
        };
        if given.is_err() {
            break;
        }
    }
    update.state() as u32
}

/// Gives the next block.
#[inline(never)]
fn give(update: &mut Update<'_>, image: &[u8]) -> Result<(), waft::Error<waft::ota::refusal::Refusal>> {
    let now = Instant::ZERO;
    let wanted = update.wanted().map_or(0, |wanted| wanted.offset);
    let block = image.get(wanted as usize..).unwrap_or_default();
    let block = block.get(..1024).unwrap_or(block);
    match update.data(now, wanted, block)?.event {
        Some(Event::Store { .. }) => update.done(now),
        _ => Ok(()),
    }
}

/// Does what is asked for; whether it is the reboot.
#[inline(never)]
fn drain(update: &mut Update<'_>, journal: &mut [u8], out: &mut [u8], image: &[u8]) -> bool {
    let now = Instant::ZERO;
    while let Output::Event(event) = update.poll_output(now, out) {
        let _ = match event {
            Event::Load { area, offset, len } => {
                let from = if area == Area::Journal { &*journal } else { image };
                let bytes = from.get(offset as usize..).and_then(|bytes| bytes.get(..len as usize));
                update.loaded(now, bytes.unwrap_or_default())
            }
            Event::Record { offset, bytes } => {
                for (place, byte) in journal.iter_mut().skip(offset as usize).zip(bytes) {
                    *place = *byte;
                }
                update.done(now)
            }
            Event::Erase { .. } => update.done(now),
            Event::Activate { .. } => return true,
            _ => Ok(()),
        };
    }
    false
}

/// Hashes it, `times` times.
///
/// # Safety
/// The bytes are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn update_hash(image: Bytes, times: u32) -> u32 {
    // SAFETY: the caller's.
    let image = unsafe { image.lent() };
    (0..times).map(|_| u32::from(core::hint::black_box(Sha256::of(image))[0])).sum()
}

/// Checks a signature that is not one: what that takes does not depend on it.
///
/// # Safety
/// The bytes are there: 32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn update_verify(public: Bytes) -> bool {
    // SAFETY: the caller's.
    let public = unsafe { public.lent() }.first_chunk().copied().unwrap_or_default();
    let mut signature = [1; 64];
    for (place, byte) in signature.iter_mut().zip(public) {
        *place = byte;
    }
    Ed25519.verify(&public, b"a message", &signature)
}

/// What a no_std library has to have. Nothing reaches it.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
