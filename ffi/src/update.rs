//! The update machine.
#![allow(non_camel_case_types, reason = "C's names")]

pub mod types;

use crate::{
    error::result,
    handle::{Memory, Opaque, Out, fits, init_with, lent, lent_mut, machine, machine_ref, place},
    manifest::waft_manifest_t,
    types::{WAFT_NEVER, deadline, instant, waft_bytes_t, waft_handled_t, waft_output_t},
};
use types::{waft_update_config_t, waft_update_event_t, waft_update_facts_t, waft_update_status_t};
use waft::{
    Instant, Misuse, Output,
    ota::{refusal::Refusal, update::Update},
};

/// Words of a handle; `sizeof(waft_update_t)` is what to write.
#[cfg(target_pointer_width = "32")]
pub const WAFT_UPDATE_WORDS: usize = 152;
/// Words of a handle; `sizeof(waft_update_t)` is what to write.
#[cfg(not(target_pointer_width = "32"))]
pub const WAFT_UPDATE_WORDS: usize = 160;

/// A signed update: from the manifest to the confirmed image. It fetches nothing itself: give it manifests by
/// waft_update_announce() and the image by waft_update_data(), whichever way they come. waft_agent_t does both.
///
/// It asks for flash by events, one at a time; answer each by waft_update_done() (or waft_update_loaded()) or
/// waft_update_failed().
#[repr(C)]
pub struct waft_update_t {
    _priv: [u64; WAFT_UPDATE_WORDS],
}

// SAFETY: `repr(C)` over words.
unsafe impl Opaque for waft_update_t {
    type Machine = Update<'static>;
    const MAGIC: u32 = u32::from_be_bytes(*b"wUpd");
}
const _: () = assert!(fits::<waft_update_t>(), "raise WAFT_UPDATE_WORDS");

/// Writes the defaults, which the members' descriptions name in parentheses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_defaults(config: *mut waft_update_config_t) -> i32 {
    result((|| {
        // SAFETY: C lends the place.
        unsafe { Out::new(config)?.set(waft_update_config_t::DEFAULT) };
        Ok(())
    })())
}

/// Makes an update in `handle`, of `size` = `sizeof *handle` bytes, that works in `memory`: WAFT_KEY_SIZE bytes for each
/// key, and behind them as many bytes as the longest manifest that is to be taken (1,024 do for most).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_init(
    handle: *mut waft_update_t,
    size: usize,
    config: *const waft_update_config_t,
    memory: *mut u8,
    memory_len: usize,
) -> i32 {
    result((|| {
        place(handle, size)?;
        // SAFETY: C lends the configuration for this call, the handle, and the memory for as long as that is used.
        unsafe {
            let config = lent(config, 1)?.first().ok_or(Misuse::NullPointer)?;
            let mut memory = Memory::new(memory, memory_len)?;
            let keys = config.trusted(&mut memory)?;
            init_with(handle, size, || Update::new(config.with(keys), memory.rest()))
        }
    })())
}

/// Runs a command on the machine.
///
/// # Safety
/// C lends the handle.
unsafe fn command(
    handle: *mut waft_update_t,
    now: u64,
    f: impl FnOnce(&mut Update<'static>, Instant) -> Result<(), waft::Error<Refusal>>,
) -> i32 {
    // SAFETY: the caller's.
    result(unsafe { machine(handle) }.and_then(|update| Ok(f(update, instant(now))?)))
}

/// Power is on: asks for the journal, by WAFT_UPDATE_EVENT_LOAD, and goes on where the last update was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_start(handle: *mut waft_update_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Update::start) }
}

/// Gives it a signed envelope. -96 to -191: why it is refused; nothing changed. The manifest that is being worked on may be
/// given again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_announce(handle: *mut waft_update_t, now: u64, envelope: waft_bytes_t) -> i32 {
    // SAFETY: C lends the handle, and the envelope for this call.
    unsafe {
        match envelope.lent() {
            Ok(envelope) => command(handle, now, |update, now| update.announce(now, envelope)),
            Err(fail) => fail.code(),
        }
    }
}

/// Gives it bytes of the image, which begin at `offset` of it. `handled->consumed` of them are done with; there may be an event (to
/// store them) to be answered. Where nothing is consumed and `needed` is 0, answer what is asked for, poll, and try again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_data(
    handle: *mut waft_update_t,
    now: u64,
    offset: u32,
    bytes: waft_bytes_t,
    handled: *mut waft_handled_t,
    event: *mut waft_update_event_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, the bytes for as long as it looks at the event, and the places of the results.
        unsafe {
            let update = machine(handle)?;
            let (handled, out) = (Out::new(handled)?, Out::new(event)?);
            let done = update.data(instant(now), offset, bytes.lent()?);
            let done = done.as_ref().map_err(|error| *error)?;
            handled.set(waft_handled_t { consumed: done.consumed, needed: done.needed });
            let told = out.begin(waft_update_event_t::NONE);
            if let Some(event) = &done.event {
                told.tell(event);
            }
        }
        Ok(())
    })())
}

/// What was asked for is done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_done(handle: *mut waft_update_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Update::done) }
}

/// What was to be loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_loaded(handle: *mut waft_update_t, now: u64, bytes: waft_bytes_t) -> i32 {
    // SAFETY: C lends the handle, and the bytes for this call.
    unsafe {
        match bytes.lent() {
            Ok(bytes) => command(handle, now, |update, now| update.loaded(now, bytes)),
            Err(fail) => fail.code(),
        }
    }
}

/// What was asked for failed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_failed(handle: *mut waft_update_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Update::failed) }
}

/// Not before `until`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_defer(handle: *mut waft_update_t, now: u64, until: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, |update, now| update.defer(now, instant(until))) }
}

/// Not now, until waft_update_resume().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_veto(handle: *mut waft_update_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Update::veto) }
}

/// Lifts a veto or a deferral.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_resume(handle: *mut waft_update_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Update::resume) }
}

/// What is to be fetched cannot be had, and has not been for long: the download waits as one that came to nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_unreachable(handle: *mut waft_update_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Update::unreachable) }
}

/// Gives the update up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_cancel(handle: *mut waft_update_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Update::cancel) }
}

/// The image on trial is good: keep it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_confirm(handle: *mut waft_update_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Update::confirm) }
}

/// The image on trial is bad: go back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_reject(handle: *mut waft_update_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Update::reject) }
}

/// Tells what manifests ask for, and what the window for downloads and the battery are measured by. After waft_update_start(), and
/// again when it changes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_tell(
    handle: *mut waft_update_t,
    now: u64,
    facts: *const waft_update_facts_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, and the facts for this call.
        unsafe {
            let update = machine(handle)?;
            let facts = lent(facts, 1)?.first().ok_or(Misuse::NullPointer)?.to_core()?;
            Ok(update.tell(instant(now), &facts)?)
        }
    })())
}

/// The first missing bytes of the payload that is being fetched, at or behind `from`: 0 in `*len` where there are none. Blocks of
/// `block` bytes may be given in any order; which of them are missing is found by asking from the end of one gap for the
/// next.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_missing(
    handle: *const waft_update_t,
    from: u32,
    offset: *mut u32,
    len: *mut u32,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle and the places of the results.
        unsafe {
            let update = machine_ref(handle)?;
            let (at, count) = (Out::new(offset)?, Out::new(len)?);
            let (offset, len) = update.missing(from).unwrap_or((0, 0));
            at.set(offset);
            count.set(len);
        }
        Ok(())
    })())
}

/// Where the payload that is being fetched can be had: the list of chunk digests, or the image. The text lies in the handle's
/// memory and stays until the next command. WAFT_ERROR_WRONG_STATE: nothing is being fetched.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_payload(handle: *const waft_update_t, uri: *mut waft_bytes_t) -> i32 {
    result((|| {
        // SAFETY: C lends the handle and the place of the result.
        unsafe {
            let update = machine_ref(handle)?;
            let out = Out::new(uri)?;
            out.set(waft_bytes_t::of(update.payload().ok_or(Misuse::WrongState)?.uri.as_bytes()));
        }
        Ok(())
    })())
}

/// Where the update stands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_status(handle: *const waft_update_t, status: *mut waft_update_status_t) -> i32 {
    result((|| {
        // SAFETY: C lends the handle and the place of the status.
        unsafe {
            let update = machine_ref(handle)?;
            Out::new(status)?.set(waft_update_status_t::of(update));
        }
        Ok(())
    })())
}

/// The manifest of the update that is going on. Its text lies in the handle's memory and stays until the next command.
/// WAFT_ERROR_WRONG_STATE: there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_manifest(handle: *const waft_update_t, manifest: *mut waft_manifest_t) -> i32 {
    result((|| {
        // SAFETY: C lends the handle and the place of the manifest.
        unsafe { waft_manifest_t::tell(manifest, machine_ref(handle)?) }
    })())
}

/// Lets time-outs happen. Early or twice does no harm.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_handle_timeout(handle: *mut waft_update_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    result(unsafe { machine(handle) }.map(|update| update.handle_timeout(instant(now))))
}

/// Asks for the next thing to do or to tell, until `output->kind` is WAFT_OUTPUT_TIMEOUT. An update transmits nothing; `buffer`
/// is for records: 128 bytes do.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_poll_output(
    handle: *mut waft_update_t,
    now: u64,
    buffer: *mut u8,
    buffer_len: usize,
    output: *mut waft_output_t,
    event: *mut waft_update_event_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, the buffer, and the places of the results.
        unsafe {
            let update = machine(handle)?;
            let (output, out) = (Out::new(output)?, Out::new(event)?);
            let said = update.poll_output(instant(now), lent_mut(buffer, buffer_len)?);
            output.set(waft_output_t::said(&said));
            let told = out.begin(waft_update_event_t::NONE);
            if let Output::Event(event) = &said {
                told.tell(event);
            }
        }
        Ok(())
    })())
}

/// When to call waft_update_handle_timeout() at the latest; WAFT_NEVER for a bad handle too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_update_next_timeout(handle: *const waft_update_t) -> u64 {
    // SAFETY: C lends the handle.
    unsafe { machine_ref(handle) }.map_or(WAFT_NEVER, |update| deadline(update.next_timeout()))
}
