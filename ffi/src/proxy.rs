//! A CoAP forward proxy's rules and cache. Hosted only.
#![allow(non_camel_case_types, reason = "C's names")]

use crate::{
    coap::message::{waft_coap_option_t, waft_coap_options_t},
    error::{Fail, result},
    handle::{Opaque, Out, boxed, lent, machine, unboxed},
    types::{instant, waft_bytes_t, waft_str_t},
};
use std::{collections::BTreeMap, vec::Vec};
use waft::{
    Capacity, Misuse,
    coap::{
        Code, Failure, Options,
        proxy::{Answer, Forward, Proxy, ProxyConfig, Step},
    },
};

/// Requests that are passed on at a time.
pub const WAFT_COAP_PROXY_FORWARDS: usize = 1024;

/// A proxy, what it passed on, and what its latest answer holds.
pub(crate) struct Host {
    proxy: Proxy,
    forwards: BTreeMap<u32, Forward>,
    next: u32,
    answer: Option<Answer>,
    options: Vec<waft_coap_option_t>,
}

/// A CoAP forward proxy without its I/O (RFC 7252 §5.7.2): what a request asks for, what of it may be passed on, and a
/// bounded cache that spares the way.
///
/// Let an endpoint with `proxy` take requests, give each, its body whole, to waft_coap_proxy_request(), and either
/// answer at once or make the request by the same endpoint and give its response to waft_coap_proxy_response().
pub struct waft_coap_proxy_t {
    _private: (),
}

// SAFETY: C has nothing but pointers to it, which come from `boxed`.
unsafe impl Opaque for waft_coap_proxy_t {
    type Machine = Host;
    const MAGIC: u32 = u32::from_be_bytes(*b"wCoP");
}

/// Bounds of a proxy. All zero but `max_entries` and `max_bytes` is good.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_proxy_config_t {
    /// Responses kept at once: 256, say.
    pub max_entries: usize,
    /// Bytes of all that is kept together: 8 MiB, say.
    pub max_bytes: usize,
    /// The Hop-Limit that a request without one gets (RFC 8768 §3); 0 for 16.
    pub hop_limit: u8,
}

/// What is to be done about a client's request. Pointers hold until the next call with this proxy.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_proxy_step_t {
    /// 0: answer the client with `code`, `options` and `body`. Else: ask `uri` with `options` and the client's method
    /// and body, and give the response to waft_coap_proxy_response() by this number.
    pub forward: u32,
    /// Whom and what to ask: `coap://host[:port]/path?query`.
    pub uri: waft_str_t,
    /// The options, in ascending order.
    pub options: *const waft_coap_option_t,
    /// How many.
    pub option_count: usize,
    /// The body to answer with.
    pub body: waft_bytes_t,
    /// The code to answer with.
    pub code: u8,
}

impl Host {
    fn list(&mut self, options: &[(u16, Vec<u8>)]) {
        let own =
            |(number, value): &(u16, Vec<u8>)| waft_coap_option_t { value: waft_bytes_t::of(value), number: *number };
        self.options = options.iter().map(own).collect();
    }

    fn answered(&mut self, answer: Answer) -> waft_coap_proxy_step_t {
        // What the list points to is on the heap and stays where it is.
        self.list(&answer.options);
        let answer = self.answer.insert(answer);
        waft_coap_proxy_step_t {
            forward: 0,
            uri: waft_str_t::EMPTY,
            options: self.options.as_ptr(),
            option_count: self.options.len(),
            body: waft_bytes_t::of(&answer.body),
            code: answer.code.0,
        }
    }

    fn passed_on(&mut self, forward: Forward) -> Result<waft_coap_proxy_step_t, Fail> {
        if self.forwards.len() >= WAFT_COAP_PROXY_FORWARDS {
            return Err(Capacity::Exchanges.into());
        }
        loop {
            self.next = self.next.wrapping_add(1);
            if self.next != 0 && !self.forwards.contains_key(&self.next) {
                break;
            }
        }
        self.list(&forward.options);
        let kept = self.forwards.entry(self.next).or_insert(forward);
        Ok(waft_coap_proxy_step_t {
            forward: self.next,
            uri: waft_str_t::of(&kept.uri),
            options: self.options.as_ptr(),
            option_count: self.options.len(),
            body: waft_bytes_t::EMPTY,
            code: 0,
        })
    }
}

/// # Safety
/// `options` is NULL or points to options that are lent.
unsafe fn received<'b>(options: *const waft_coap_options_t) -> Result<Options<'b>, Fail> {
    // SAFETY: the caller's.
    unsafe { lent(options, 1)?.first().ok_or(Misuse::NullPointer)?.lent() }
}

/// Makes a proxy on the heap; `*proxy` becomes it, for waft_coap_proxy_free() in the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_proxy_new(
    config: *const waft_coap_proxy_config_t,
    proxy: *mut *mut waft_coap_proxy_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the configuration, and the place of the proxy.
        unsafe {
            let out = Out::new(proxy)?;
            let c = lent(config, 1)?.first().ok_or(Misuse::NullPointer)?;
            let hop_limit = if c.hop_limit == 0 { ProxyConfig::default().hop_limit } else { c.hop_limit };
            let proxy = Proxy::new(ProxyConfig { max_entries: c.max_entries, max_bytes: c.max_bytes, hop_limit });
            let forwards = BTreeMap::new();
            out.set(boxed(Host { proxy, forwards, next: 0, answer: None, options: Vec::new() }));
        }
        Ok(())
    })())
}

/// Frees a proxy; NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_proxy_free(proxy: *mut waft_coap_proxy_t) -> i32 {
    // SAFETY: C gives the proxy back.
    result(unsafe { unboxed(proxy) })
}

/// A client's request, with its `options` and its body whole; `*step` says what to do about it.
///
/// It is refused 4.04 where it names no other server; 5.05 for a scheme that is not coap; 4.00 for a URI that is none or
/// a Hop-Limit of 0; 5.08 where the Hop-Limit is reached; 4.02 for an option that is Unsafe-to-Forward and not known.
/// WAFT_ERROR_EXCHANGES: WAFT_COAP_PROXY_FORWARDS are passed on already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_proxy_request(
    proxy: *mut waft_coap_proxy_t,
    now: u64,
    method: u8,
    options: *const waft_coap_options_t,
    body: waft_bytes_t,
    step: *mut waft_coap_proxy_step_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the proxy, the options, what they were received in, the body, and the place of the step.
        unsafe {
            let (host, out) = (machine(proxy)?, Out::new(step)?);
            let step = match host.proxy.request(instant(now), Code(method), received(options)?, body.lent()?) {
                Step::Answer(answer) => host.answered(answer),
                Step::Forward(forward) => host.passed_on(forward)?,
            };
            out.set(step);
        }
        Ok(())
    })())
}

/// The response to what was passed on under the number `forward`, its body whole, its options those of the first block;
/// `*step` is what to answer the client.
///
/// WAFT_ERROR_UNKNOWN_ID: nothing was passed on under that number, or its response was given already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_proxy_response(
    proxy: *mut waft_coap_proxy_t,
    now: u64,
    forward: u32,
    code: u8,
    options: *const waft_coap_options_t,
    body: waft_bytes_t,
    step: *mut waft_coap_proxy_step_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the proxy, the options, what they were received in, the body, and the place of the step.
        unsafe {
            let (host, out) = (machine(proxy)?, Out::new(step)?);
            let (options, body) = (received(options)?, body.lent()?.to_vec());
            let forward = host.forwards.remove(&forward).ok_or(Misuse::UnknownId)?;
            let answer = host.proxy.response(instant(now), &forward, Code(code), options, body.into());
            out.set(host.answered(answer));
        }
        Ok(())
    })())
}

/// What was passed on under the number `forward` came to nothing: `reason` is a WAFT_COAP_FAILURE_..., or 0 where it
/// could not even be asked. `*step` is what to answer the client: 5.04 where the server is silent, else 5.02.
///
/// WAFT_ERROR_UNKNOWN_ID: nothing was passed on under that number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_proxy_failed(
    proxy: *mut waft_coap_proxy_t,
    forward: u32,
    reason: u8,
    step: *mut waft_coap_proxy_step_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the proxy and the place of the step.
        unsafe {
            let (host, out) = (machine(proxy)?, Out::new(step)?);
            host.forwards.remove(&forward).ok_or(Misuse::UnknownId)?;
            let reason = if reason == Failure::Timeout as u8 { Some(Failure::Timeout) } else { None };
            out.set(host.answered(Proxy::failed(reason)));
        }
        Ok(())
    })())
}
