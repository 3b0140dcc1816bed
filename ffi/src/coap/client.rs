//! Requests of ours.
#![allow(non_camel_case_types, reason = "C's names")]

use super::{list, types::waft_coap_request_t, waft_coap_endpoint_t};
use crate::{
    error::result,
    handle::{Out, lent, machine, machine_ref},
    types::{instant, waft_bytes_t, waft_str_t},
};
use core::{mem, ptr};
use heapless::Vec;
use waft::{
    Misuse, Peer,
    coap::{
        Code, Endpoint, Exchange,
        raw::{Raw, Wishes},
    },
};

/// Writes a confirmable GET with blocks of up to 1024 bytes. What is left to set is `path`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_request_defaults(request: *mut waft_coap_request_t) -> i32 {
    result((|| {
        let value = waft_coap_request_t {
            path: waft_str_t::EMPTY,
            host: waft_str_t::EMPTY,
            options: core::ptr::null(),
            option_count: 0,
            payload: waft_bytes_t::EMPTY,
            etag: waft_bytes_t::EMPTY,
            payload_len: 0,
            offset: 0,
            until: u32::MAX,
            method: Code::GET.0,
            confirmable: 1,
            observe: 0,
            szx: 6,
            streamed: 0,
            manual: 0,
            window: 1,
            random_access: 0,
        };
        // SAFETY: C lends the place.
        unsafe { Out::new(request)?.set(value) };
        Ok(())
    })())
}

/// Makes a request, which is copied. Its events carry `*exchange`.
///
/// WAFT_ERROR_INVALID_URI: path or host. WAFT_ERROR_INVALID_OPTION: an option is out of order, of a wrong length, or
/// one that the endpoint writes itself; or `observe` with a body. WAFT_ERROR_OUT_OF_RANGE: no method; an `etag` of
/// more than 8 bytes; `offset` is not a multiple of 16, or comes with `observe` or a body; too long a body; too many
/// options. WAFT_ERROR_EXCHANGES, WAFT_ERROR_ARENA: no room now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_request(
    handle: *mut waft_coap_endpoint_t,
    now: u64,
    peer: u32,
    request: *const waft_coap_request_t,
    exchange: *mut u32,
) -> i32 {
    // SAFETY: as there.
    unsafe {
        ask(handle, request, exchange, |endpoint, request| endpoint.request_raw(instant(now), Peer(peer), request))
    }
}

/// Asks all members of a group, whose multicast address is that of `group`. Each answer is a
/// WAFT_COAP_EVENT_GROUP_RESPONSE. The end is WAFT_COAP_EVENT_FAILED with WAFT_COAP_FAILURE_TIMEOUT after
/// `response_timeout`, however many have answered; or waft_coap_endpoint_cancel() before.
///
/// As waft_coap_endpoint_request(). WAFT_ERROR_OUT_OF_RANGE besides: the request is confirmable, observes, or has a
/// body that is longer than a block or streamed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_request_group(
    handle: *mut waft_coap_endpoint_t,
    now: u64,
    group: u32,
    request: *const waft_coap_request_t,
    exchange: *mut u32,
) -> i32 {
    // SAFETY: as there.
    unsafe {
        ask(handle, request, exchange, |endpoint, request| {
            endpoint.request_group_raw(instant(now), Peer(group), request)
        })
    }
}

/// # Safety
/// C lends the handle, the request and all that it names for this call, and the place of the exchange.
unsafe fn ask(
    handle: *mut waft_coap_endpoint_t,
    request: *const waft_coap_request_t,
    exchange: *mut u32,
    how: impl FnOnce(&mut Endpoint<'static>, &Raw<'_>) -> Result<Exchange, waft::Error<waft::coap::Violation>>,
) -> i32 {
    result((|| {
        // SAFETY: the caller's.
        unsafe {
            let (endpoint, out) = (machine(handle)?, Out::new(exchange)?);
            let r = lent(request, 1)?.first().ok_or(Misuse::NullPointer)?;
            let mut options = Vec::new();
            list(&mut options, r.options, r.option_count)?;
            let etag = r.etag.lent()?;
            let path = r.path.as_bytes().lent()?;
            let host = if r.host.data.is_null() { None } else { Some(r.host.as_bytes().lent()?) };
            let (options, payload) = (&options, r.payload.lent()?);
            // What C lends ends with wishes, as is asserted beside its type, and any bytes are some.
            let wishes =
                &*ptr::from_ref(r).byte_add(mem::offset_of!(waft_coap_request_t, payload_len)).cast::<Wishes>();
            out.set(how(endpoint, &Raw { path, host, options, payload, etag, wishes })?.id());
        }
        Ok(())
    })())
}

/// Gives the part of a body that WAFT_COAP_EVENT_BODY_WANTED asked for. It is copied.
///
/// WAFT_ERROR_UNKNOWN_ID, WAFT_ERROR_WRONG_STATE: nothing was asked for. WAFT_ERROR_OUT_OF_RANGE: not of the length
/// asked for. WAFT_ERROR_ARENA: no room now; give it again later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_body(
    handle: *mut waft_coap_endpoint_t,
    now: u64,
    exchange: u32,
    bytes: waft_bytes_t,
) -> i32 {
    // SAFETY: C lends the handle, and the bytes for this call.
    result((|| unsafe { Ok(machine(handle)?.body(instant(now), Exchange::from_id(exchange), bytes.lent()?)?) })())
}

/// Writes to `*position` where the first block begins that was not asked for yet: what is before it is told or under way.
///
/// WAFT_ERROR_UNKNOWN_ID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_position(
    handle: *const waft_coap_endpoint_t,
    exchange: u32,
    position: *mut u32,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, and the place of the position.
        unsafe {
            let out = Out::new(position)?;
            out.set(machine_ref(handle)?.position(Exchange::from_id(exchange))?);
        }
        Ok(())
    })())
}

/// With `manual`: lets another block be fetched.
///
/// WAFT_ERROR_UNKNOWN_ID. WAFT_ERROR_WRONG_STATE: it does not wait for this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_advance(handle: *mut waft_coap_endpoint_t, now: u64, exchange: u32) -> i32 {
    // SAFETY: C lends the handle.
    result(unsafe { machine(handle) }.and_then(|e| Ok(e.advance(instant(now), Exchange::from_id(exchange))?)))
}

/// Gives a request up: no more events of it. An observation is deregistered.
///
/// WAFT_ERROR_UNKNOWN_ID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_cancel(handle: *mut waft_coap_endpoint_t, now: u64, exchange: u32) -> i32 {
    // SAFETY: C lends the handle.
    result(unsafe { machine(handle) }.and_then(|e| Ok(e.cancel(instant(now), Exchange::from_id(exchange))?)))
}

/// Asks whether a peer is there: WAFT_COAP_EVENT_PONG or WAFT_COAP_EVENT_SILENT.
///
/// WAFT_ERROR_IN_FLIGHT: no room now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_ping(handle: *mut waft_coap_endpoint_t, now: u64, peer: u32) -> i32 {
    // SAFETY: C lends the handle.
    result(unsafe { machine(handle) }.and_then(|e| Ok(e.ping(instant(now), Peer(peer))?)))
}
