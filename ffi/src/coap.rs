//! The CoAP endpoint.
#![allow(non_camel_case_types, reason = "C's names")]

pub mod client;
pub mod link_format;
pub mod message;
pub mod server;
pub mod types;
pub mod uri;

use crate::{
    error::{Fail, result},
    handle::{Memory, Opaque, Out, fits, init, lent, lent_mut, machine, machine_ref, place},
    types::{
        WAFT_NEVER, WAFT_OUTPUT_BUFFER_TOO_SMALL, WAFT_OUTPUT_EVENT, WAFT_OUTPUT_TIMEOUT, WAFT_OUTPUT_TRANSMIT,
        instant, waft_handled_t, waft_output_t,
    },
};
use core::{ffi::c_char, mem};
use heapless::Vec;
use message::waft_coap_option_t;
use types::{
    WAFT_COAP_FAILURE_BAD_RESPONSE, WAFT_COAP_FAILURE_CHANGED, WAFT_COAP_FAILURE_RESET, WAFT_COAP_FAILURE_TIMEOUT,
    WAFT_COAP_POLICY_COCOA, WAFT_COAP_POLICY_STANDARD, WAFT_COAP_POLICY_WINDOWED, waft_coap_endpoint_config_t,
    waft_coap_event_t, waft_coap_stats_t,
};
use waft::{
    Input, Misuse, Peer,
    coap::{
        Endpoint, Flight, Observer, Opt, Path, Policy, Resources, Seen, Transfer,
        raw::{Kind, Rules},
    },
};

/// Words of a handle; `sizeof(waft_coap_endpoint_t)` is what to write.
#[cfg(target_pointer_width = "32")]
pub const WAFT_COAP_ENDPOINT_WORDS: usize = 27;
/// Words of a handle; `sizeof(waft_coap_endpoint_t)` is what to write.
#[cfg(not(target_pointer_width = "32"))]
pub const WAFT_COAP_ENDPOINT_WORDS: usize = 48;

/// A CoAP endpoint (RFC 7252, RFC 7641, RFC 7959): client and server at once over one UDP socket.
///
/// It takes whole datagrams. waft_coap_endpoint_request() opens an exchange, whose response comes as
/// WAFT_COAP_EVENT_RESPONSE, block by block; WAFT_COAP_EVENT_REQUEST is answered by waft_coap_endpoint_respond().
/// Nothing that a peer sends is an error: what is malformed or answers nothing is dropped, answered as the standard
/// says, and counted in waft_coap_stats_t.
#[repr(C)]
pub struct waft_coap_endpoint_t {
    _priv: [u64; WAFT_COAP_ENDPOINT_WORDS],
}

// SAFETY: `repr(C)` over words.
unsafe impl Opaque for waft_coap_endpoint_t {
    type Machine = Endpoint<'static>;
    const MAGIC: u32 = u32::from_be_bytes(*b"wCoE");
}
const _: () = assert!(fits::<waft_coap_endpoint_t>(), "raise WAFT_COAP_ENDPOINT_WORDS");

/// Bytes of memory that a request of ours takes in the tables of waft_coap_endpoint_init().
pub const WAFT_COAP_TRANSFER_SIZE: usize = 52;
/// Bytes of memory that a message of ours that waits for an answer takes there.
pub const WAFT_COAP_FLIGHT_SIZE: usize = 32;
/// Bytes of memory that a message received takes there.
pub const WAFT_COAP_SEEN_SIZE: usize = 12;
/// Bytes of memory that an observer takes there.
pub const WAFT_COAP_OBSERVER_SIZE: usize = 28;
/// Bytes of memory that waft_coap_endpoint_measure_paths() takes for a transfer, and besides those for one more.
pub const WAFT_COAP_PATH_SIZE: usize = 48;
const _: () = {
    let align = align_of::<Transfer>();
    assert!(align == align_of::<Flight>() && align == align_of::<Seen>() && align == align_of::<Observer>());
};
const _: () = assert!(size_of::<Path>() <= WAFT_COAP_PATH_SIZE, "raise WAFT_COAP_PATH_SIZE");
const _: () = assert!(size_of::<Transfer>() <= WAFT_COAP_TRANSFER_SIZE, "raise WAFT_COAP_TRANSFER_SIZE");
const _: () = assert!(size_of::<Flight>() <= WAFT_COAP_FLIGHT_SIZE, "raise WAFT_COAP_FLIGHT_SIZE");
const _: () = assert!(size_of::<Seen>() <= WAFT_COAP_SEEN_SIZE, "raise WAFT_COAP_SEEN_SIZE");
const _: () = assert!(size_of::<Observer>() <= WAFT_COAP_OBSERVER_SIZE, "raise WAFT_COAP_OBSERVER_SIZE");

/// Options that one call takes at most.
pub const WAFT_COAP_OPTIONS: usize = 16;

/// Fills a list.
///
/// # Safety
/// As for [`lent`], and each option's value likewise.
unsafe fn list<'b>(
    list: &mut Vec<Opt<'b>, WAFT_COAP_OPTIONS>,
    options: *const waft_coap_option_t,
    count: usize,
) -> Result<(), Fail> {
    if count > WAFT_COAP_OPTIONS {
        return Err(Misuse::OutOfRange.into());
    }
    // SAFETY: the caller's.
    for option in unsafe { lent(options, count) }? {
        // SAFETY: likewise.
        let value = unsafe { option.value.lent() }?;
        list.push(Opt { number: option.number, value }).map_err(|_| Misuse::OutOfRange)?;
    }
    Ok(())
}

/// Writes the defaults, which the members' descriptions name in parentheses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_defaults(config: *mut waft_coap_endpoint_config_t) -> i32 {
    result((|| {
        let value = waft_coap_endpoint_config_t {
            seed: 0,
            understood: core::ptr::null(),
            understood_count: 0,
            ack_timeout: 2_000,
            ack_jitter: 1_000,
            response_timeout: 93_000,
            exchange_lifetime: 247_000,
            ack_delay: 1_000,
            leisure: 5_000,
            unproven: 1_048_576,
            probing_rate: 1,
            transfers: 4,
            flights: 4,
            seen: 8,
            observers: 4,
            max_retransmit: 4,
            nstart: 1,
            szx: 6,
            reregister: 1,
            proxy: 0,
        };
        // SAFETY: C lends the place.
        unsafe { Out::new(config)?.set(value) };
        Ok(())
    })())
}

/// What C configures, in the core's units.
#[inline(never)]
fn rules(c: &waft_coap_endpoint_config_t, understood: &'static [u16]) -> Rules {
    Rules {
        max_retransmit: c.max_retransmit,
        nstart: c.nstart,
        szx: c.szx,
        policy: Policy::Standard,
        reregister: c.reregister != 0,
        proxy: c.proxy != 0,
        leisure: u16::try_from(c.leisure).unwrap_or(u16::MAX),
        ack_timeout: Rules::span(c.ack_timeout),
        ack_jitter: Rules::span(c.ack_jitter),
        response_timeout: Rules::span(c.response_timeout),
        exchange_lifetime: Rules::span(c.exchange_lifetime),
        ack_delay: Rules::span(c.ack_delay),
        unproven: c.unproven,
        probing_rate: c.probing_rate,
        understood,
    }
}

/// Makes an endpoint in `handle`, of `size` = `sizeof *handle` bytes, that works in `memory`: its four tables, and
/// behind them messages that may have to be sent again. WAFT_COAP_MEMORY() says how much that is.
///
/// WAFT_ERROR_BUFFER: the memory does not hold the tables.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_init(
    handle: *mut waft_coap_endpoint_t,
    size: usize,
    config: *const waft_coap_endpoint_config_t,
    memory: *mut u8,
    memory_len: usize,
) -> i32 {
    result((|| {
        place(handle, size)?;
        // SAFETY: C lends a configuration, or NULL, and what it names for as long as the endpoint is used.
        let (c, understood) = unsafe {
            let c = lent(config, 1)?.first().ok_or(Misuse::NullPointer)?;
            (c, lent(c.understood, c.understood_count)?)
        };
        // SAFETY: C lends the memory for as long as the endpoint is used.
        let mut memory = unsafe { Memory::new(memory, memory_len) }?;
        // SAFETY: the places of all four tables, which have the same alignment, are empty when they are zeros.
        let (transfers, flights, seen, observers) = unsafe {
            /// Far below 2^32, and so is the sum: 16 bits of places, of less than a hundred bytes each.
            const fn table<T>(places: u16) -> usize {
                (places as usize).wrapping_mul(size_of::<T>())
            }
            let len = table::<Transfer>(c.transfers)
                .wrapping_add(table::<Flight>(c.flights))
                .wrapping_add(table::<Seen>(c.seen))
                .wrapping_add(table::<Observer>(c.observers));
            let mut tables = memory.cleared::<Transfer>(len)?;
            let (transfers, flights) = (usize::from(c.transfers), usize::from(c.flights));
            let (seen, observers) = (usize::from(c.seen), usize::from(c.observers));
            (tables.next(transfers), tables.next(flights), tables.next(seen), tables.next(observers))
        };
        let endpoint = Endpoint::by_rules(
            rules(c, understood),
            c.seed,
            Resources {
                arena: memory.rest().into(),
                transfers: transfers.into(),
                flights: flights.into(),
                seen: seen.into(),
                observers: observers.into(),
                paths: waft::Storage::empty(),
            },
        );
        // SAFETY: C lends the handle.
        unsafe { init(handle, size, endpoint) }
    })())
}

/// Lets transfers go by `policy`, WAFT_COAP_POLICY_…, instead of by WAFT_COAP_POLICY_STANDARD: as many at a time as `memory` has
/// places of WAFT_COAP_PATH_SIZE bytes, without the first. It is called after waft_coap_endpoint_init() and before
/// the first request, or never; firmware that does not name it links nothing of it.
///
/// WAFT_ERROR_OUT_OF_RANGE: there is no such policy.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_measure_paths(
    handle: *mut waft_coap_endpoint_t,
    policy: u8,
    memory: *mut u8,
    memory_len: usize,
) -> i32 {
    result((|| {
        let policy = match policy {
            WAFT_COAP_POLICY_STANDARD => Policy::Standard,
            WAFT_COAP_POLICY_COCOA => Policy::Cocoa,
            WAFT_COAP_POLICY_WINDOWED => Policy::Windowed,
            _ => return Err(Misuse::OutOfRange.into()),
        };
        // SAFETY: C lends the handle, and the memory for as long as the endpoint is used.
        let (endpoint, mut memory) = unsafe { (machine(handle)?, Memory::new(memory, memory_len)?) };
        endpoint.measure_paths(policy, memory.all(|_| Path::EMPTY)?.into());
        Ok(())
    })())
}

/// What has been counted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_stats(
    handle: *const waft_coap_endpoint_t,
    stats: *mut waft_coap_stats_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle and the place of the counts.
        unsafe {
            let (endpoint, out) = (machine_ref(handle)?, Out::new(stats)?);
            let s = endpoint.stats();
            out.set(waft_coap_stats_t {
                received: s.received,
                sent: s.sent,
                retransmitted: s.retransmitted,
                malformed: s.malformed,
                duplicates: s.duplicates,
                unmatched: s.unmatched,
                stale: s.stale,
                refused: s.refused,
                dropped: s.dropped,
                challenged: s.challenged,
            });
        }
        Ok(())
    })())
}

/// What a WAFT_COAP_FAILURE_... is called: "Timeout" say. "Unknown" for a number that is not in use. Never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn waft_coap_failure_name(reason: u8) -> *const c_char {
    // One text: strings of their own stand in one section with all others of the library, which is linked whole.
    static NAMES: [u8; 42] = *b"Unknown\0Timeout\0Reset\0Changed\0BadResponse\0";
    let start = match reason {
        WAFT_COAP_FAILURE_TIMEOUT => 8,
        WAFT_COAP_FAILURE_RESET => 16,
        WAFT_COAP_FAILURE_CHANGED => 22,
        WAFT_COAP_FAILURE_BAD_RESPONSE => 30,
        _ => 0,
    };
    NAMES.get(start..).unwrap_or(&NAMES).as_ptr().cast()
}

/// Hands in a datagram. `event->kind` is WAFT_COAP_EVENT_NONE where there is nothing to tell.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_handle_input(
    handle: *mut waft_coap_endpoint_t,
    now: u64,
    peer: u32,
    data: *const u8,
    len: usize,
    handled: *mut waft_handled_t,
    event: *mut waft_coap_event_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, the bytes for as long as it looks at the event, and the places of the results.
        unsafe {
            let (endpoint, handled) = (machine(handle)?, Out::new(handled)?);
            let input = Input { peer: Peer(peer), bytes: lent(data, len)? };
            endpoint.handle_input_raw(instant(now), input, waft_coap_event_t::told(event)?);
            handled.set(waft_handled_t { consumed: len, needed: 0 });
        }
        Ok(())
    })())
}

/// Hands in a datagram that came to a multicast address. All but a request in a NON message is ignored (RFC 7252 §8.1).
/// The answer goes out at a random time within `leisure`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_handle_multicast(
    handle: *mut waft_coap_endpoint_t,
    now: u64,
    peer: u32,
    data: *const u8,
    len: usize,
    handled: *mut waft_handled_t,
    event: *mut waft_coap_event_t,
) -> i32 {
    result((|| {
        // SAFETY: as for `waft_coap_endpoint_handle_input`.
        unsafe {
            let (endpoint, handled) = (machine(handle)?, Out::new(handled)?);
            let input = Input { peer: Peer(peer), bytes: lent(data, len)? };
            endpoint.handle_multicast_raw(instant(now), input, waft_coap_event_t::told(event)?);
            handled.set(waft_handled_t { consumed: len, needed: 0 });
        }
        Ok(())
    })())
}

/// Lets time-outs happen. Early or twice does no harm.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_handle_timeout(handle: *mut waft_coap_endpoint_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    result(unsafe { machine(handle) }.map(|endpoint| endpoint.handle_timeout(instant(now))))
}

/// Asks for the next datagram to send or thing to tell, until `output->kind` is WAFT_OUTPUT_TIMEOUT. `buffer` is for
/// one datagram: 1,152 bytes hold any that is sent with blocks of 1,024.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_poll_output(
    handle: *mut waft_coap_endpoint_t,
    now: u64,
    buffer: *mut u8,
    buffer_len: usize,
    output: *mut waft_output_t,
    event: *mut waft_coap_event_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, the buffer, and the places of the results.
        unsafe {
            let (endpoint, output) = (machine(handle)?, Out::new(output)?);
            let (buffer, told) = (lent_mut(buffer, buffer_len)?, waft_coap_event_t::told(event)?);
            let sent = endpoint.poll_output_raw(instant(now), buffer, told);
            let needed = if told.kind == Kind::Nothing { mem::take(&mut told.len) as usize } else { 0 };
            let (kind, len) = match told.kind {
                _ if sent != 0 => (WAFT_OUTPUT_TRANSMIT, sent),
                Kind::Nothing if needed != 0 => (WAFT_OUTPUT_BUFFER_TOO_SMALL, needed),
                Kind::Nothing => (WAFT_OUTPUT_TIMEOUT, 0),
                _ => (WAFT_OUTPUT_EVENT, 0),
            };
            let idle = kind == WAFT_OUTPUT_TIMEOUT;
            let deadline = if idle { endpoint.next_timeout_raw() } else { WAFT_NEVER };
            output.set(waft_output_t { kind, peer: told.peer.0, len, deadline });
        }
        Ok(())
    })())
}

/// When to call waft_coap_endpoint_handle_timeout() at the latest; WAFT_NEVER for a bad handle too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_next_timeout(handle: *const waft_coap_endpoint_t) -> u64 {
    // SAFETY: C lends the handle.
    unsafe { machine_ref(handle) }.map_or(WAFT_NEVER, |endpoint| endpoint.next_timeout_raw())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::millis;
    use waft::coap::{Config, Failure};

    #[test]
    fn an_empty_place_is_all_zeros() {
        fn shows(places: &dyn core::fmt::Debug) -> std::string::String {
            std::format!("{places:?}")
        }
        let mut bytes = std::boxed::Box::new([0xFF_u8; 512]);
        // SAFETY: they live for long enough, and nothing else refers to them.
        let mut memory = unsafe { Memory::new(bytes.as_mut_ptr(), 512) }.unwrap();
        let mut tables = memory.cleared::<Transfer>(200).unwrap();
        // SAFETY: they are that long together, and so aligned.
        unsafe {
            assert_eq!(shows(&tables.next::<Transfer>(1)), shows(&[Transfer::EMPTY]));
            assert_eq!(shows(&tables.next::<Flight>(2)), shows(&[Flight::EMPTY; 2]));
            assert_eq!(shows(&tables.next::<Seen>(1)), shows(&[Seen::EMPTY]));
            assert_eq!(shows(&tables.next::<Observer>(1)), shows(&[Observer::EMPTY]));
        }
        assert!(memory.cleared::<Transfer>(513).is_err());
    }

    #[test]
    fn the_defaults_and_names_are_the_cores() {
        let mut config = core::mem::MaybeUninit::uninit();
        // SAFETY: the place is there.
        assert_eq!(unsafe { waft_coap_endpoint_defaults(config.as_mut_ptr()) }, 0);
        // SAFETY: it has been written.
        let c = unsafe { config.assume_init() };
        let core = Config::DEFAULT;
        let spans = [c.ack_timeout, c.ack_jitter, c.response_timeout, c.exchange_lifetime, c.ack_delay, c.leisure];
        let cores = [
            core.ack_timeout,
            core.ack_jitter,
            core.response_timeout,
            core.exchange_lifetime,
            core.ack_delay,
            core.leisure,
        ];
        assert_eq!((c.unproven, c.proxy != 0), (core.unproven, core.proxy));
        assert_eq!(c.probing_rate, core.probing_rate);
        assert_eq!(spans.map(millis), cores);
        assert_eq!((c.max_retransmit, c.nstart, c.szx), (core.max_retransmit, core.nstart, core.szx));
        for failure in [Failure::Timeout, Failure::Reset, Failure::Changed, Failure::BadResponse] {
            // SAFETY: it is a string of C's that lives for ever.
            let name = unsafe { core::ffi::CStr::from_ptr(waft_coap_failure_name(failure as u8)) };
            assert_eq!(name.to_str(), Ok(failure.name()));
        }
        // SAFETY: likewise.
        assert_eq!(unsafe { core::ffi::CStr::from_ptr(waft_coap_failure_name(99)) }, c"Unknown");
    }
}
