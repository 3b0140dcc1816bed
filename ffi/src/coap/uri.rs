//! `coap` URIs (RFC 7252 §6).
#![allow(non_camel_case_types, reason = "C's names")]

use super::message::waft_coap_options_t;
use crate::{
    error::{Fail, result},
    handle::{Out, lent_mut, lent_one},
    types::waft_str_t,
};
use waft::{
    Capacity, Misuse,
    coap::{Scheme, Uri, compose, resolve},
};

/// A `coap` URI in its parts. Pointers in it point into the text.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_uri_t {
    /// A name, still percent-encoded, or an address; of IPv6 without its brackets.
    pub host: waft_str_t,
    /// Path and query as they stand, for waft_coap_endpoint_request(). Empty where there is neither.
    pub target: waft_str_t,
    /// The port; that of the scheme where the URI names none.
    pub port: u16,
    /// 1 for `coaps` (DTLS; RFC 7252 §6.2), 0 for `coap`.
    pub secure: u8,
    /// Whether the host is an address: then a request has no Uri-Host option.
    pub literal: u8,
}

/// Takes an absolute `coap` or `coaps` URI apart (RFC 7252 §6.4).
///
/// WAFT_ERROR_INVALID_URI: another scheme, no host, a fragment, a character or an escape that a URI cannot have, a port that is
/// none, or a path segment or query argument past 255 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_uri_parse(text: waft_str_t, uri: *mut waft_coap_uri_t) -> i32 {
    result((|| {
        // SAFETY: C lends the text and the place of the URI.
        unsafe {
            let out = Out::new(uri)?;
            let uri = Uri::parse(text.lent()?)?;
            out.set(waft_coap_uri_t {
                host: waft_str_t::of(uri.host()),
                target: waft_str_t::of(uri.target()),
                port: uri.port(),
                secure: u8::from(uri.scheme() == Scheme::Coaps),
                literal: uri.is_literal().into(),
            });
        }
        Ok(())
    })())
}

/// Puts the URI of a request together (RFC 7252 §6.5) from its options and, where they do not name them, `server`'s host and port;
/// its target is not looked at. `*len` becomes its length.
///
/// WAFT_ERROR_BUFFER: the buffer is too small.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_uri_compose(
    server: *const waft_coap_uri_t,
    options: *const waft_coap_options_t,
    buffer: *mut u8,
    buffer_len: usize,
    len: *mut usize,
) -> i32 {
    result((|| {
        // SAFETY: C lends the server's address, the options and what they were received in, the buffer, and the place of the length.
        unsafe {
            let out = Out::new(len)?;
            let (server, options) = (lent_one(server)?, lent_one(options)?.lent()?);
            let scheme = if server.secure == 0 { Scheme::Coap } else { Scheme::Coaps };
            let buffer = lent_mut(buffer, buffer_len)?;
            let uri = compose(scheme, server.host.lent()?, server.port, options, buffer);
            out.set(uri.map_err(|_| Capacity::Buffer)?.len());
        }
        Ok(())
    })())
}

/// Resolves `reference` against the absolute URI `base` (RFC 3986 §5.2), as the URI of an image against that of its manifest. A
/// fragment is left out. `*len` becomes the result's length.
///
/// WAFT_ERROR_INVALID_URI: `base` has no scheme, or one of them holds a character that no URI has. WAFT_ERROR_BUFFER: the buffer is
/// too small; one byte more than both texts together have always does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_uri_resolve(
    base: waft_str_t,
    reference: waft_str_t,
    buffer: *mut u8,
    buffer_len: usize,
    len: *mut usize,
) -> i32 {
    result((|| {
        // SAFETY: C lends the texts, the buffer, and the place of the length.
        unsafe {
            let out = Out::new(len)?;
            let uri = resolve(base.lent()?, reference.lent()?, lent_mut(buffer, buffer_len)?);
            out.set(
                uri.map_err(|misuse| match misuse {
                    // The only thing that can be too long is the result.
                    Misuse::OutOfRange => Fail::from(Capacity::Buffer),
                    other => other.into(),
                })?
                .len(),
            );
        }
        Ok(())
    })())
}
