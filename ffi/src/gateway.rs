//! The CoAP gateway. Hosted only.
#![allow(non_camel_case_types, reason = "C's names")]

use crate::{
    error::result,
    handle::{Opaque, Out, boxed, lent, lent_mut, machine, machine_ref, unboxed},
    types::{WAFT_NEVER, deadline, instant, waft_bytes_t, waft_handled_t, waft_output_t, waft_str_t},
};
use std::{string::String, vec::Vec};
use waft::{
    Input, Misuse, Peer,
    coap::Code,
    gateway::{Config, Event, Gateway},
};

/// A gateway and what its latest event names.
pub(crate) struct Host {
    gateway: Gateway,
    path: String,
    url: String,
}

/// A CoAP gateway: gets each resource from its provider once, keeps it, tells observers of a change, and serves it
/// block by block to any number of devices without keeping state for any transfer.
///
/// Put resources in by waft_gateway_put(), or mount a provider's URL under a path by waft_gateway_mount().
pub struct waft_gateway_t {
    _private: (),
}

// SAFETY: C has nothing but pointers to it, which come from `boxed`.
unsafe impl Opaque for waft_gateway_t {
    type Machine = Host;
    const MAGIC: u32 = u32::from_be_bytes(*b"wGat");
}

/// Bounds of a gateway. Begin with waft_gateway_defaults(), then set `seed`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_gateway_config_t {
    /// Where randomness starts: from a source that others cannot guess.
    pub seed: u64,
    /// Resources kept at once. (256)
    pub max_entries: usize,
    /// Bytes of all resources together. (64 MiB)
    pub max_bytes: usize,
    /// Requests that wait for a provider at once. (1,024)
    pub max_waiting: usize,
    /// Mounts. (64)
    pub max_mounts: usize,
    /// Observations kept at once. (4,096)
    pub observers: usize,
    /// Bytes that may go within four minutes to addresses that have not shown that they are there; beyond that a large
    /// answer takes an Echo option (RFC 9175). (64 MiB)
    pub unproven: u32,
}

/// Nothing to tell.
pub const WAFT_GATEWAY_EVENT_NONE: u32 = 0;
/// Get `url`, and call waft_gateway_put() or waft_gateway_failed() for `path`. It is asked for once, however many wait.
pub const WAFT_GATEWAY_EVENT_FETCH: u32 = 1;
/// The device `peer` reports `payload` at `path`, "/class/device/report".
pub const WAFT_GATEWAY_EVENT_REPORT: u32 = 2;

/// What a gateway asks and tells. Members that a kind does not name are 0 or empty.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_gateway_event_t {
    /// WAFT_GATEWAY_EVENT_...
    pub kind: u32,
    /// Who.
    pub peer: u32,
    /// Where; until the next event of this gateway.
    pub path: waft_str_t,
    /// Where it is to be had; until the next event of this gateway.
    pub url: waft_str_t,
    /// A report.
    pub payload: waft_bytes_t,
}

impl waft_gateway_event_t {
    const NONE: Self = Self {
        kind: WAFT_GATEWAY_EVENT_NONE,
        peer: 0,
        path: waft_str_t::EMPTY,
        url: waft_str_t::EMPTY,
        payload: waft_bytes_t::EMPTY,
    };

    /// The event, whose text `kept_path` and `kept_url` keep.
    fn of(event: Option<Event<'_>>, kept_path: &mut String, kept_url: &mut String) -> Self {
        let mut keep = |path| {
            *kept_path = path;
            waft_str_t::of(kept_path)
        };
        match event {
            None => Self::NONE,
            Some(Event::Fetch { path, url }) => {
                *kept_url = url;
                Self { kind: WAFT_GATEWAY_EVENT_FETCH, path: keep(path), url: waft_str_t::of(kept_url), ..Self::NONE }
            }
            Some(Event::Report { peer, path, payload }) => Self {
                kind: WAFT_GATEWAY_EVENT_REPORT,
                peer: peer.0,
                path: keep(path),
                payload: waft_bytes_t::of(payload),
                ..Self::NONE
            },
        }
    }
}

/// What a gateway counts.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_gateway_stats_t {
    /// Requests taken in.
    pub requests: u64,
    /// Requests served from memory.
    pub hits: u64,
    /// Resources asked of a provider.
    pub fetches: u64,
    /// Notifications sent, counted by observer.
    pub notifications: u64,
    /// Datagrams sent.
    pub sent: u64,
}

/// Writes the defaults, which the members' descriptions name in parentheses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_gateway_defaults(config: *mut waft_gateway_config_t) -> i32 {
    result((|| {
        let Config { max_entries, max_bytes, max_waiting, max_mounts, observers, unproven } = Config::default();
        let value =
            waft_gateway_config_t { seed: 0, max_entries, max_bytes, max_waiting, max_mounts, observers, unproven };
        // SAFETY: C lends the place.
        unsafe { Out::new(config)?.set(value) };
        Ok(())
    })())
}

/// Makes a gateway on the heap; `*gateway` becomes it, for waft_gateway_free() in the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_gateway_new(
    config: *const waft_gateway_config_t,
    gateway: *mut *mut waft_gateway_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the configuration, and the place of the gateway.
        unsafe {
            let out = Out::new(gateway)?;
            let c = lent(config, 1)?.first().ok_or(Misuse::NullPointer)?;
            let core = Config {
                max_entries: c.max_entries,
                max_bytes: c.max_bytes,
                max_waiting: c.max_waiting,
                max_mounts: c.max_mounts,
                observers: c.observers,
                unproven: c.unproven,
            };
            let gateway = Gateway::new(core, c.seed);
            out.set(boxed(Host { gateway, path: String::new(), url: String::new() }));
        }
        Ok(())
    })())
}

/// Frees a gateway, which is used no more. NULL is nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_gateway_free(gateway: *mut waft_gateway_t) -> i32 {
    // SAFETY: C gives the gateway back.
    result(unsafe { unboxed(gateway) })
}

/// Serves `body`, which is copied, at `path` (absolute, percent-encoded where need be) from now on, as `content_format`
/// (WAFT_COAP_FORMAT_... or any other). A change is told to all observers; requests that waited for it are answered.
///
/// WAFT_ERROR_INVALID_URI: no absolute path. WAFT_ERROR_BUFFER: the cache would outgrow its bounds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_gateway_put(
    gateway: *mut waft_gateway_t,
    now: u64,
    path: waft_str_t,
    content_format: u16,
    body: waft_bytes_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the gateway, and the path and the body for this call.
        unsafe {
            let host = machine(gateway)?;
            let (path, body) = (path.lent()?, Vec::from(body.lent()?));
            Ok(host.gateway.put(instant(now), path, content_format, body.into())?)
        }
    })())
}

/// Stops serving `path`; observers are told 4.04.
///
/// WAFT_ERROR_UNKNOWN_ID: it was not served.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_gateway_remove(gateway: *mut waft_gateway_t, now: u64, path: waft_str_t) -> i32 {
    result((|| {
        // SAFETY: C lends the gateway and the path.
        let was = unsafe { machine(gateway)?.gateway.remove(instant(now), path.lent()?) };
        was.then_some(()).ok_or_else(|| Misuse::UnknownId.into())
    })())
}

/// Everything below `path`, which begins and ends with a slash, comes from below `url` when it is first asked for:
/// WAFT_GATEWAY_EVENT_FETCH.
///
/// WAFT_ERROR_INVALID_URI: `path`. WAFT_ERROR_QUEUE: too many mounts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_gateway_mount(gateway: *mut waft_gateway_t, path: waft_str_t, url: waft_str_t) -> i32 {
    // SAFETY: C lends the gateway and the text for this call.
    result((|| unsafe { Ok(machine(gateway)?.gateway.mount(path.lent()?, url.lent()?)?) })())
}

/// A fetch failed: those who wait are answered with `code`, usually WAFT_COAP_NOT_FOUND or WAFT_COAP_BAD_GATEWAY.
///
/// WAFT_ERROR_OUT_OF_RANGE: that is no response code.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_gateway_failed(
    gateway: *mut waft_gateway_t,
    now: u64,
    path: waft_str_t,
    code: u8,
) -> i32 {
    result((|| {
        // SAFETY: C lends the gateway and the path for this call.
        let (host, path) = unsafe { (machine(gateway)?, path.lent()?) };
        if !Code(code).is_response() {
            return Err(Misuse::OutOfRange.into());
        }
        host.gateway.failed(instant(now), path, Code(code));
        Ok(())
    })())
}

/// How many observe `path`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_gateway_observers(
    gateway: *const waft_gateway_t,
    path: waft_str_t,
    observers: *mut u32,
) -> i32 {
    result((|| {
        // SAFETY: C lends the gateway, the path, and the place of the count.
        unsafe {
            let (host, out) = (machine_ref(gateway)?, Out::new(observers)?);
            out.set(host.gateway.observers(path.lent()?));
        }
        Ok(())
    })())
}

/// What it counts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_gateway_stats(gateway: *const waft_gateway_t, stats: *mut waft_gateway_stats_t) -> i32 {
    result((|| {
        // SAFETY: C lends the gateway and the place of the counts.
        unsafe {
            let (host, out) = (machine_ref(gateway)?, Out::new(stats)?);
            let s = host.gateway.stats();
            out.set(waft_gateway_stats_t {
                requests: s.requests,
                hits: s.hits,
                fetches: s.fetches,
                notifications: s.notifications.into(),
                sent: s.sent,
            });
        }
        Ok(())
    })())
}

/// Hands in a datagram. `event->kind` is WAFT_GATEWAY_EVENT_NONE where there is nothing to do or to tell.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_gateway_handle_input(
    gateway: *mut waft_gateway_t,
    now: u64,
    peer: u32,
    data: *const u8,
    len: usize,
    handled: *mut waft_handled_t,
    event: *mut waft_gateway_event_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the gateway, the bytes for as long as it looks at the event, and the places of the results.
        unsafe {
            let host = machine(gateway)?;
            let (handled, out) = (Out::new(handled)?, Out::new(event)?);
            let input = Input { peer: Peer(peer), bytes: lent(data, len)? };
            let Ok(done) = host.gateway.handle_input(instant(now), input);
            handled.set(waft_handled_t { consumed: done.consumed, needed: done.needed });
            out.set(waft_gateway_event_t::of(done.event, &mut host.path, &mut host.url));
        }
        Ok(())
    })())
}

/// Lets time-outs happen. Early or twice does no harm.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_gateway_handle_timeout(gateway: *mut waft_gateway_t, now: u64) -> i32 {
    // SAFETY: C lends the gateway.
    result(unsafe { machine(gateway) }.map(|host| host.gateway.handle_timeout(instant(now))))
}

/// Asks for the next datagram to send or thing to tell, until `output->kind` is WAFT_OUTPUT_TIMEOUT. `buffer` takes
/// 1,152 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_gateway_poll_output(
    gateway: *mut waft_gateway_t,
    now: u64,
    buffer: *mut u8,
    buffer_len: usize,
    output: *mut waft_output_t,
    event: *mut waft_gateway_event_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the gateway, the buffer, and the places of the results.
        unsafe {
            let host = machine(gateway)?;
            let (output, out) = (Out::new(output)?, Out::new(event)?);
            let (what, told) = waft_output_t::of(host.gateway.poll_output(instant(now), lent_mut(buffer, buffer_len)?));
            output.set(what);
            out.set(waft_gateway_event_t::of(told, &mut host.path, &mut host.url));
        }
        Ok(())
    })())
}

/// When to call waft_gateway_handle_timeout() at the latest; WAFT_NEVER for a bad handle too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_gateway_next_timeout(gateway: *const waft_gateway_t) -> u64 {
    // SAFETY: C lends the gateway.
    unsafe { machine_ref(gateway) }.map_or(WAFT_NEVER, |host| deadline(host.gateway.next_timeout()))
}
