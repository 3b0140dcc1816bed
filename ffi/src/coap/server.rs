//! Requests of others, and what is sent to observers.
#![allow(non_camel_case_types, reason = "C's names")]

use super::{
    list,
    types::{waft_coap_reply_t, waft_coap_request_id_t},
    waft_coap_endpoint_t,
};
use crate::{
    error::{Fail, result},
    handle::{Out, lent, lent_one, machine, machine_ref},
    types::instant,
};
use heapless::Vec;
use waft::{
    Misuse,
    coap::{Body, Code, Reply, RequestId, Resource},
};

/// Hands the core's reply to `then`.
///
/// # Safety
/// `reply` and all that it names are lent for this call, or NULL.
unsafe fn with_reply(
    reply: *const waft_coap_reply_t,
    then: &mut dyn FnMut(&Reply<'_>) -> Result<(), Fail>,
) -> Result<(), Fail> {
    // SAFETY: the caller's, for this function's whole body.
    unsafe {
        let r = lent(reply, 1)?.first().ok_or(Misuse::NullPointer)?;
        let mut options = Vec::new();
        list(&mut options, r.options, r.option_count)?;
        let bytes = r.body.lent()?;
        let whole = r.total == 0;
        then(&Reply {
            code: Code(r.code),
            options: &options,
            body: if whole { Body::Whole(bytes) } else { Body::Part { offset: r.offset, bytes, total: r.total } },
            observe: (r.observe != 0).then_some(Resource(r.resource)),
            confirmable: r.confirmable != 0,
        })
    }
}

/// # Safety
/// `id` is NULL or points to a waft_coap_request_id_t.
unsafe fn request_id<'b>(id: *const waft_coap_request_id_t) -> Result<&'b RequestId, Fail> {
    // SAFETY: the caller's. It is as long, and any bytes are a value of it.
    let id = unsafe { lent_one(id.cast::<RequestId>()) }?;
    id.is_sound().then_some(id).ok_or_else(|| Misuse::BadHandle.into())
}

/// Answers a request. Where there is an acknowledgement still to be sent, the response rides on it. A block past the
/// end of the body is answered 4.00.
///
/// WAFT_ERROR_BAD_HANDLE: no event gave that request. WAFT_ERROR_UNKNOWN_ID: it is answered already, or too old.
/// WAFT_ERROR_INVALID_OPTION: an option is out of order, of a wrong length, or one that the endpoint writes itself.
/// WAFT_ERROR_OUT_OF_RANGE: the part does not hold what is wanted, the code is no response, or there are too many
/// options. WAFT_ERROR_ARENA, WAFT_ERROR_IN_FLIGHT: no room now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_respond(
    handle: *mut waft_coap_endpoint_t,
    now: u64,
    id: *const waft_coap_request_id_t,
    reply: *const waft_coap_reply_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, the identifier, the reply, and all that it names for this call.
        unsafe {
            let (endpoint, id) = (machine(handle)?, request_id(id)?);
            with_reply(reply, &mut |reply| Ok(endpoint.respond(instant(now), id, reply)?))
        }
    })())
}

/// Acknowledges a request whose response will take a while. After `ack_delay` that happens by itself.
///
/// WAFT_ERROR_UNKNOWN_ID: it is answered or acknowledged already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_acknowledge(
    handle: *mut waft_coap_endpoint_t,
    now: u64,
    id: *const waft_coap_request_id_t,
) -> i32 {
    // SAFETY: C lends the handle and the identifier.
    result((|| unsafe { Ok(machine(handle)?.acknowledge(instant(now), request_id(id)?)?) })())
}

/// Answers a request 4.01 with an Echo option (RFC 9175 §2.3): its client sends it again with that option, and then
/// `proven` is 1. For requests that open a valve, say. Nothing may have been done about the request yet.
///
/// As waft_coap_endpoint_respond().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_challenge(
    handle: *mut waft_coap_endpoint_t,
    now: u64,
    id: *const waft_coap_request_id_t,
) -> i32 {
    // SAFETY: C lends the handle and the identifier.
    result((|| unsafe { Ok(machine(handle)?.challenge(instant(now), request_id(id)?)?) })())
}

/// Tells the observers of `resource` its new state. `*observers` becomes how many there are. A `reply` with a code of
/// class 4 or 5 ends the observations.
///
/// WAFT_ERROR_INVALID_OPTION, WAFT_ERROR_OUT_OF_RANGE: as waft_coap_endpoint_respond(); a part has to begin at 0 and
/// to hold a block. WAFT_ERROR_ARENA: no room now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_notify(
    handle: *mut waft_coap_endpoint_t,
    now: u64,
    resource: u32,
    reply: *const waft_coap_reply_t,
    observers: *mut u32,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, the reply and all that it names for this call, and the place of the count.
        unsafe {
            let (endpoint, out) = (machine(handle)?, Out::new(observers)?);
            let mut count = 0;
            with_reply(reply, &mut |reply| {
                count = endpoint.notify(instant(now), Resource(resource), reply)?;
                Ok(())
            })?;
            out.set(count);
        }
        Ok(())
    })())
}

/// How many observe a resource of ours.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_observers(
    handle: *const waft_coap_endpoint_t,
    resource: u32,
    observers: *mut u32,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle and the place of the count.
        unsafe {
            let (endpoint, out) = (machine_ref(handle)?, Out::new(observers)?);
            out.set(endpoint.observers(Resource(resource)));
        }
        Ok(())
    })())
}
