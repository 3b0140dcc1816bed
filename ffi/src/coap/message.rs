//! Messages, options, and the numbers of the registries.
#![allow(non_camel_case_types, reason = "C's names")]

use crate::{
    error::{Fail, found, result},
    handle::{Out, lent, lent_mut, lent_one},
    types::{waft_bytes_t, waft_str_t},
};
use core::mem;
use waft::{
    Capacity, Misuse,
    coap::{Code, Condition, ETag, Encoder, Message, Options, Token, Type, option},
};

/// 0.00: Empty message (RFC 7252 §4.1): an acknowledgement, a reset or a ping.
pub const WAFT_COAP_EMPTY: u8 = 0x00;
/// 0.01 GET: RFC 7252 §5.8.1. Safe and idempotent.
pub const WAFT_COAP_GET: u8 = 0x01;
/// 0.02 POST: RFC 7252 §5.8.2. Neither safe nor idempotent.
pub const WAFT_COAP_POST: u8 = 0x02;
/// 0.03 PUT: RFC 7252 §5.8.3. Idempotent.
pub const WAFT_COAP_PUT: u8 = 0x03;
/// 0.04 DELETE: RFC 7252 §5.8.4. Idempotent.
pub const WAFT_COAP_DELETE: u8 = 0x04;
/// 0.05 FETCH: RFC 8132 §2. Safe and idempotent; has a payload.
pub const WAFT_COAP_FETCH: u8 = 0x05;
/// 0.06 PATCH: RFC 8132 §3. Neither safe nor idempotent.
pub const WAFT_COAP_PATCH: u8 = 0x06;
/// 0.07 iPATCH: RFC 8132 §3. Idempotent.
pub const WAFT_COAP_IPATCH: u8 = 0x07;
/// 2.01 Created: RFC 7252 §5.9.1.1.
pub const WAFT_COAP_CREATED: u8 = 0x41;
/// 2.02 Deleted: RFC 7252 §5.9.1.2.
pub const WAFT_COAP_DELETED: u8 = 0x42;
/// 2.03 Valid: RFC 7252 §5.9.1.3: the representation that the ETag names is still good.
pub const WAFT_COAP_VALID: u8 = 0x43;
/// 2.04 Changed: RFC 7252 §5.9.1.4.
pub const WAFT_COAP_CHANGED: u8 = 0x44;
/// 2.05 Content: RFC 7252 §5.9.1.5.
pub const WAFT_COAP_CONTENT: u8 = 0x45;
/// 2.31 Continue: RFC 7959 §2.9.1: this block is taken, go on with the next.
pub const WAFT_COAP_CONTINUE: u8 = 0x5f;
/// 4.00 Bad Request: RFC 7252 §5.9.2.1.
pub const WAFT_COAP_BAD_REQUEST: u8 = 0x80;
/// 4.01 Unauthorized: RFC 7252 §5.9.2.2.
pub const WAFT_COAP_UNAUTHORIZED: u8 = 0x81;
/// 4.02 Bad Option: RFC 7252 §5.9.2.3: a critical option is not understood.
pub const WAFT_COAP_BAD_OPTION: u8 = 0x82;
/// 4.03 Forbidden: RFC 7252 §5.9.2.4.
pub const WAFT_COAP_FORBIDDEN: u8 = 0x83;
/// 4.04 Not Found: RFC 7252 §5.9.2.5.
pub const WAFT_COAP_NOT_FOUND: u8 = 0x84;
/// 4.05 Method Not Allowed: RFC 7252 §5.9.2.6.
pub const WAFT_COAP_METHOD_NOT_ALLOWED: u8 = 0x85;
/// 4.06 Not Acceptable: RFC 7252 §5.9.2.7.
pub const WAFT_COAP_NOT_ACCEPTABLE: u8 = 0x86;
/// 4.08 Request Entity Incomplete: RFC 7959 §2.9.2: blocks before this one are missing.
pub const WAFT_COAP_REQUEST_ENTITY_INCOMPLETE: u8 = 0x88;
/// 4.09 Conflict: RFC 8132 §3.4.
pub const WAFT_COAP_CONFLICT: u8 = 0x89;
/// 4.12 Precondition Failed: RFC 7252 §5.9.2.8.
pub const WAFT_COAP_PRECONDITION_FAILED: u8 = 0x8c;
/// 4.13 Request Entity Too Large: RFC 7252 §5.9.2.9, RFC 7959 §2.9.3.
pub const WAFT_COAP_REQUEST_ENTITY_TOO_LARGE: u8 = 0x8d;
/// 4.15 Unsupported Content-Format: RFC 7252 §5.9.2.10.
pub const WAFT_COAP_UNSUPPORTED_CONTENT_FORMAT: u8 = 0x8f;
/// 4.22 Unprocessable Entity: RFC 8132 §3.4: the patch is sound, but cannot be applied.
pub const WAFT_COAP_UNPROCESSABLE_ENTITY: u8 = 0x96;
/// 4.29 Too Many Requests: RFC 8516: try again after Max-Age.
pub const WAFT_COAP_TOO_MANY_REQUESTS: u8 = 0x9d;
/// 5.00 Internal Server Error: RFC 7252 §5.9.3.1.
pub const WAFT_COAP_INTERNAL_SERVER_ERROR: u8 = 0xa0;
/// 5.01 Not Implemented: RFC 7252 §5.9.3.2.
pub const WAFT_COAP_NOT_IMPLEMENTED: u8 = 0xa1;
/// 5.02 Bad Gateway: RFC 7252 §5.9.3.3.
pub const WAFT_COAP_BAD_GATEWAY: u8 = 0xa2;
/// 5.03 Service Unavailable: RFC 7252 §5.9.3.4: try again after Max-Age.
pub const WAFT_COAP_SERVICE_UNAVAILABLE: u8 = 0xa3;
/// 5.04 Gateway Timeout: RFC 7252 §5.9.3.5.
pub const WAFT_COAP_GATEWAY_TIMEOUT: u8 = 0xa4;
/// 5.05 Proxying Not Supported: RFC 7252 §5.9.3.6.
pub const WAFT_COAP_PROXYING_NOT_SUPPORTED: u8 = 0xa5;
/// 5.08 Hop Limit Reached: RFC 8768 §6.1: too many proxies.
pub const WAFT_COAP_HOP_LIMIT_REACHED: u8 = 0xa8;
/// Option 1: If-Match, RFC 7252 §5.10.8.1.
pub const WAFT_COAP_OPTION_IF_MATCH: u16 = 1;
/// Option 3: Uri-Host, RFC 7252 §5.10.1.
pub const WAFT_COAP_OPTION_URI_HOST: u16 = 3;
/// Option 4: ETag, RFC 7252 §5.10.6.
pub const WAFT_COAP_OPTION_ETAG: u16 = 4;
/// Option 5: If-None-Match, RFC 7252 §5.10.8.2.
pub const WAFT_COAP_OPTION_IF_NONE_MATCH: u16 = 5;
/// Option 6: Observe, RFC 7641 §2.
pub const WAFT_COAP_OPTION_OBSERVE: u16 = 6;
/// Option 7: Uri-Port, RFC 7252 §5.10.1.
pub const WAFT_COAP_OPTION_URI_PORT: u16 = 7;
/// Option 8: Location-Path, RFC 7252 §5.10.7.
pub const WAFT_COAP_OPTION_LOCATION_PATH: u16 = 8;
/// Option 11: Uri-Path, RFC 7252 §5.10.1: one per segment.
pub const WAFT_COAP_OPTION_URI_PATH: u16 = 11;
/// Option 12: Content-Format, RFC 7252 §5.10.3.
pub const WAFT_COAP_OPTION_CONTENT_FORMAT: u16 = 12;
/// Option 14: Max-Age in seconds, RFC 7252 §5.10.5; 60 where absent.
pub const WAFT_COAP_OPTION_MAX_AGE: u16 = 14;
/// Option 15: Uri-Query, RFC 7252 §5.10.1: one per argument.
pub const WAFT_COAP_OPTION_URI_QUERY: u16 = 15;
/// Option 16: Hop-Limit, RFC 8768: how many more proxies a request may pass, 1 to 255.
pub const WAFT_COAP_OPTION_HOP_LIMIT: u16 = 16;
/// Option 17: Accept, RFC 7252 §5.10.4.
pub const WAFT_COAP_OPTION_ACCEPT: u16 = 17;
/// Option 20: Location-Query, RFC 7252 §5.10.7.
pub const WAFT_COAP_OPTION_LOCATION_QUERY: u16 = 20;
/// Option 23: Block2, RFC 7959 §2.1: the block of a response.
pub const WAFT_COAP_OPTION_BLOCK2: u16 = 23;
/// Option 27: Block1, RFC 7959 §2.1: the block of a request.
pub const WAFT_COAP_OPTION_BLOCK1: u16 = 27;
/// Option 28: Size2, RFC 7959 §4: bytes of the whole response body.
pub const WAFT_COAP_OPTION_SIZE2: u16 = 28;
/// Option 35: Proxy-Uri, RFC 7252 §5.10.2.
pub const WAFT_COAP_OPTION_PROXY_URI: u16 = 35;
/// Option 39: Proxy-Scheme, RFC 7252 §5.10.2.
pub const WAFT_COAP_OPTION_PROXY_SCHEME: u16 = 39;
/// Option 60: Size1, RFC 7252 §5.10.9, RFC 7959 §4: bytes of the whole request body.
pub const WAFT_COAP_OPTION_SIZE1: u16 = 60;
/// Option 252: Echo, RFC 9175 §2.2: shows that a client got an answer of ours before.
pub const WAFT_COAP_OPTION_ECHO: u16 = 252;
/// Option 258: No-Response, RFC 7967: the classes of responses that the client does without.
pub const WAFT_COAP_OPTION_NO_RESPONSE: u16 = 258;
/// Option 292: Request-Tag, RFC 9175 §3.2: keeps bodies sent by Block1 apart.
pub const WAFT_COAP_OPTION_REQUEST_TAG: u16 = 292;
/// Content-Format 0: `text/plain; charset=utf-8`.
pub const WAFT_COAP_FORMAT_TEXT: u16 = 0;
/// Content-Format 40: `application/link-format` (RFC 6690).
pub const WAFT_COAP_FORMAT_LINK_FORMAT: u16 = 40;
/// Content-Format 42: `application/octet-stream`.
pub const WAFT_COAP_FORMAT_OCTET_STREAM: u16 = 42;
/// Content-Format 50: `application/json`.
pub const WAFT_COAP_FORMAT_JSON: u16 = 50;
/// Content-Format 60: `application/cbor`.
pub const WAFT_COAP_FORMAT_CBOR: u16 = 60;

/// A confirmable message: sent again until it is acknowledged or reset.
pub const WAFT_COAP_CON: u8 = 0;
/// A non-confirmable message: sent once.
pub const WAFT_COAP_NON: u8 = 1;
/// An acknowledgement; may carry the response.
pub const WAFT_COAP_ACK: u8 = 2;
/// A reset: nothing can be done with the message.
pub const WAFT_COAP_RST: u8 = 3;

/// An option to send, or one received.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_option_t {
    /// Its value as it stands on the wire.
    pub value: waft_bytes_t,
    /// WAFT_COAP_OPTION_..., or any other number.
    pub number: u16,
}

/// The options of a message received, in ascending order of their numbers. Copy it to go through them more than once.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_options_t {
    /// Those that are left, in their form on the wire.
    pub bytes: waft_bytes_t,
    /// The number of the option before.
    pub number: u16,
}

impl waft_coap_options_t {
    /// # Safety
    /// The bytes are as [`waft_bytes_t`] has to be.
    #[inline(always)]
    pub(crate) unsafe fn lent<'b>(&self) -> Result<Options<'b>, Fail> {
        // SAFETY: the caller's.
        Ok(Options::from_parts(unsafe { self.bytes.lent() }?, self.number))
    }
}

/// Takes the next option out of `options`. 1 where there was one, 0 at the end; then `*option` is left alone. So:
/// `while (waft_coap_options_next(&options, &option) == 1) ...`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_options_next(
    options: *mut waft_coap_options_t,
    option: *mut waft_coap_option_t,
) -> i32 {
    found((|| {
        // SAFETY: C lends the options and what they were received in, and the place of the option. What C has is laid out as
        // `Options` are, as is asserted below, and a value of it: its bytes are some and not NULL, and any number will do.
        unsafe {
            let (out, left) = (Out::new(option)?, lent_one(options)?);
            if left.bytes.len == 0 {
                return Ok(false);
            }
            left.bytes.lent()?;
            let Some(next) = (*options.cast::<Options<'_>>()).next() else { return Ok(false) };
            out.set(waft_coap_option_t { value: waft_bytes_t::of(next.value), number: next.number });
        }
        Ok(true)
    })())
}

/// Looks for the first of the options left that has this number. 1 where there is one, else 0; then `*option` is left
/// alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_options_find(
    options: *const waft_coap_options_t,
    number: u16,
    option: *mut waft_coap_option_t,
) -> i32 {
    found((|| {
        // SAFETY: as for `waft_coap_options_next`.
        unsafe {
            let out = Out::new(option)?;
            let options = lent_one(options)?.lent()?;
            let Some(value) = options.get(number) else { return Ok(false) };
            out.set(waft_coap_option_t { value: waft_bytes_t::of(value), number });
        }
        Ok(true)
    })())
}

/// Reads an option's value as an unsigned integer (RFC 7252 §3.2).
///
/// WAFT_ERROR_INVALID_OPTION: it is longer than four bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_option_uint(option: *const waft_coap_option_t, value: *mut u32) -> i32 {
    result((|| {
        // SAFETY: C lends the option and its value, and the place of the number.
        unsafe {
            let out = Out::new(value)?;
            let option = lent_one(option)?;
            out.set(option::uint(option.value.lent()?).ok_or(Misuse::InvalidOption)?);
        }
        Ok(())
    })())
}

/// 1 where the options ask for `path` ("/a/b", not percent-encoded), else 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_path_is(options: *const waft_coap_options_t, path: waft_str_t) -> i32 {
    found((|| {
        // SAFETY: C lends the options, what they were received in, and the path.
        unsafe {
            let options = lent_one(options)?.lent()?;
            Ok(options.path_is(path.lent()?))
        }
    })())
}

/// What a request's ETag, If-Match and If-None-Match options say (RFC 7252 §5.10.6.2, §5.10.8), where `exists` is not 0
/// if there is a representation and `etag` is its version, empty where it has none: 0, go on; WAFT_COAP_VALID, answer
/// that with the ETag and no body; WAFT_COAP_PRECONDITION_FAILED, answer that and do nothing. Or an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_condition(
    options: *const waft_coap_options_t,
    method: u8,
    exists: u8,
    etag: waft_bytes_t,
) -> i32 {
    let condition = || {
        // SAFETY: C lends the options, what they were received in, and the ETag.
        unsafe {
            let options = lent_one(options)?.lent()?;
            Ok::<_, Fail>(options.condition(Code(method), exists != 0, ETag::new(etag.lent()?)))
        }
    };
    match condition() {
        Ok(Condition::Proceed) => 0,
        Ok(Condition::Valid) => i32::from(WAFT_COAP_VALID),
        Ok(Condition::Failed) => i32::from(WAFT_COAP_PRECONDITION_FAILED),
        Err(fail) => fail.code(),
    }
}

/// A message (RFC 7252 §3). Pointers in it point into the datagram.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_message_t {
    /// Its options.
    pub options: waft_coap_options_t,
    /// Its payload.
    pub payload: waft_bytes_t,
    /// Its token; `token_len` bytes of it count.
    pub token: [u8; 8],
    /// 0 to 8.
    pub token_len: u8,
    /// Its type: WAFT_COAP_CON, WAFT_COAP_NON, WAFT_COAP_ACK or WAFT_COAP_RST.
    pub kind: u8,
    /// A method or response code, or WAFT_COAP_EMPTY.
    pub code: u8,
    /// Its message ID.
    pub id: u16,
}

/// Decodes a datagram. An endpoint does it by itself: this is for tools and tests.
///
/// -84 to -91: it is no message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_decode(datagram: waft_bytes_t, message: *mut waft_coap_message_t) -> i32 {
    result((|| {
        // SAFETY: C lends the datagram and the place of the message, which is laid out as `Message` is, as is asserted below.
        unsafe {
            let out = Out::new(message)?;
            match Message::decode_here(datagram.lent()?) {
                Ok(m) => out.set(mem::transmute::<Message<'_>, waft_coap_message_t>(m)),
                Err(violation) => return Err(violation.into()),
            }
        }
        Ok(())
    })())
}

/// Encodes a message with `message`'s type, code, message ID, token and payload, and with the `count` options of
/// `options` (in ascending order of their numbers) instead of its own. `*len` becomes its
/// length.
///
/// WAFT_ERROR_BUFFER: the buffer is too small. WAFT_ERROR_INVALID_OPTION: the options are not in order.
/// WAFT_ERROR_OUT_OF_RANGE: a token of more than 8 bytes, a type that is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_encode(
    message: *const waft_coap_message_t,
    options: *const waft_coap_option_t,
    count: usize,
    buffer: *mut u8,
    buffer_len: usize,
    len: *mut usize,
) -> i32 {
    result((|| {
        // SAFETY: C lends the message, the options and what both name, the buffer, and the place of the length.
        unsafe {
            let out = Out::new(len)?;
            let m = lent_one(message)?;
            let token = m.token.get(..usize::from(m.token_len)).ok_or(Misuse::OutOfRange)?;
            if m.kind > WAFT_COAP_RST {
                return Err(Misuse::OutOfRange.into());
            }
            let kind = Type::from_u8(m.kind & WAFT_COAP_RST).ok_or(Misuse::OutOfRange)?;
            let buffer = lent_mut(buffer, buffer_len)?;
            let mut encoder = Encoder::with_token(buffer, kind, Code(m.code), m.id, token);
            let mut options = lent(options, count)?;
            while let [option, rest @ ..] = options {
                encoder.option_here(option.number, option.value.lent()?)?;
                options = rest;
            }
            encoder.payload(m.payload.lent()?);
            out.set(encoder.finish().map_err(|_| Capacity::Buffer)?.len());
        }
        Ok(())
    })())
}

// C's message is laid out as the core's, down to the options and the slices in it.
const _: () = {
    let (options, payload) = (Options::from_parts(&[1; 3], 0x1234), &[2; 5]);
    let (ty, code) = (Type::Acknowledgement, Code::CONTENT);
    let m = Message { options, payload, token: Token::EMPTY, ty, code, id: 0xFEDC };
    // SAFETY: any bytes are a value of what C has; the pointers in it are to the arrays above.
    unsafe {
        let c = mem::transmute::<Message<'_>, waft_coap_message_t>(m);
        assert!(*c.options.bytes.data == 1 && c.options.bytes.len == 3 && c.options.number == 0x1234);
        assert!(*c.payload.data == 2 && c.payload.len == 5 && c.token_len == 0);
        assert!(c.kind == WAFT_COAP_ACK && c.code == WAFT_COAP_CONTENT && c.id == 0xFEDC);
    }
    assert!(mem::offset_of!(Message<'_>, token) == mem::offset_of!(waft_coap_message_t, token));
};

// The numbers are those of the core.
const _: () = {
    assert!(WAFT_COAP_EMPTY == Code::EMPTY.0);
    assert!(WAFT_COAP_GET == Code::GET.0);
    assert!(WAFT_COAP_POST == Code::POST.0);
    assert!(WAFT_COAP_PUT == Code::PUT.0);
    assert!(WAFT_COAP_DELETE == Code::DELETE.0);
    assert!(WAFT_COAP_FETCH == Code::FETCH.0);
    assert!(WAFT_COAP_PATCH == Code::PATCH.0);
    assert!(WAFT_COAP_IPATCH == Code::IPATCH.0);
    assert!(WAFT_COAP_CREATED == Code::CREATED.0);
    assert!(WAFT_COAP_DELETED == Code::DELETED.0);
    assert!(WAFT_COAP_VALID == Code::VALID.0);
    assert!(WAFT_COAP_CHANGED == Code::CHANGED.0);
    assert!(WAFT_COAP_CONTENT == Code::CONTENT.0);
    assert!(WAFT_COAP_CONTINUE == Code::CONTINUE.0);
    assert!(WAFT_COAP_BAD_REQUEST == Code::BAD_REQUEST.0);
    assert!(WAFT_COAP_UNAUTHORIZED == Code::UNAUTHORIZED.0);
    assert!(WAFT_COAP_BAD_OPTION == Code::BAD_OPTION.0);
    assert!(WAFT_COAP_FORBIDDEN == Code::FORBIDDEN.0);
    assert!(WAFT_COAP_NOT_FOUND == Code::NOT_FOUND.0);
    assert!(WAFT_COAP_METHOD_NOT_ALLOWED == Code::METHOD_NOT_ALLOWED.0);
    assert!(WAFT_COAP_NOT_ACCEPTABLE == Code::NOT_ACCEPTABLE.0);
    assert!(WAFT_COAP_REQUEST_ENTITY_INCOMPLETE == Code::REQUEST_ENTITY_INCOMPLETE.0);
    assert!(WAFT_COAP_CONFLICT == Code::CONFLICT.0);
    assert!(WAFT_COAP_PRECONDITION_FAILED == Code::PRECONDITION_FAILED.0);
    assert!(WAFT_COAP_REQUEST_ENTITY_TOO_LARGE == Code::REQUEST_ENTITY_TOO_LARGE.0);
    assert!(WAFT_COAP_UNSUPPORTED_CONTENT_FORMAT == Code::UNSUPPORTED_CONTENT_FORMAT.0);
    assert!(WAFT_COAP_UNPROCESSABLE_ENTITY == Code::UNPROCESSABLE_ENTITY.0);
    assert!(WAFT_COAP_TOO_MANY_REQUESTS == Code::TOO_MANY_REQUESTS.0);
    assert!(WAFT_COAP_HOP_LIMIT_REACHED == Code::HOP_LIMIT_REACHED.0);
    assert!(WAFT_COAP_INTERNAL_SERVER_ERROR == Code::INTERNAL_SERVER_ERROR.0);
    assert!(WAFT_COAP_NOT_IMPLEMENTED == Code::NOT_IMPLEMENTED.0);
    assert!(WAFT_COAP_BAD_GATEWAY == Code::BAD_GATEWAY.0);
    assert!(WAFT_COAP_SERVICE_UNAVAILABLE == Code::SERVICE_UNAVAILABLE.0);
    assert!(WAFT_COAP_GATEWAY_TIMEOUT == Code::GATEWAY_TIMEOUT.0);
    assert!(WAFT_COAP_PROXYING_NOT_SUPPORTED == Code::PROXYING_NOT_SUPPORTED.0);
    assert!(WAFT_COAP_OPTION_IF_MATCH == option::IF_MATCH);
    assert!(WAFT_COAP_OPTION_URI_HOST == option::URI_HOST);
    assert!(WAFT_COAP_OPTION_ETAG == option::ETAG);
    assert!(WAFT_COAP_OPTION_IF_NONE_MATCH == option::IF_NONE_MATCH);
    assert!(WAFT_COAP_OPTION_OBSERVE == option::OBSERVE);
    assert!(WAFT_COAP_OPTION_URI_PORT == option::URI_PORT);
    assert!(WAFT_COAP_OPTION_LOCATION_PATH == option::LOCATION_PATH);
    assert!(WAFT_COAP_OPTION_URI_PATH == option::URI_PATH);
    assert!(WAFT_COAP_OPTION_CONTENT_FORMAT == option::CONTENT_FORMAT);
    assert!(WAFT_COAP_OPTION_MAX_AGE == option::MAX_AGE);
    assert!(WAFT_COAP_OPTION_URI_QUERY == option::URI_QUERY);
    assert!(WAFT_COAP_OPTION_ACCEPT == option::ACCEPT);
    assert!(WAFT_COAP_OPTION_LOCATION_QUERY == option::LOCATION_QUERY);
    assert!(WAFT_COAP_OPTION_BLOCK2 == option::BLOCK2);
    assert!(WAFT_COAP_OPTION_BLOCK1 == option::BLOCK1);
    assert!(WAFT_COAP_OPTION_SIZE2 == option::SIZE2);
    assert!(WAFT_COAP_OPTION_PROXY_URI == option::PROXY_URI);
    assert!(WAFT_COAP_OPTION_PROXY_SCHEME == option::PROXY_SCHEME);
    assert!(WAFT_COAP_OPTION_SIZE1 == option::SIZE1);
    assert!(WAFT_COAP_OPTION_HOP_LIMIT == option::HOP_LIMIT);
    assert!(WAFT_COAP_OPTION_ECHO == option::ECHO);
    assert!(WAFT_COAP_OPTION_NO_RESPONSE == option::NO_RESPONSE);
    assert!(WAFT_COAP_OPTION_REQUEST_TAG == option::REQUEST_TAG);
    assert!(WAFT_COAP_FORMAT_TEXT == option::format::TEXT);
    assert!(WAFT_COAP_FORMAT_LINK_FORMAT == option::format::LINK_FORMAT);
    assert!(WAFT_COAP_FORMAT_OCTET_STREAM == option::format::OCTET_STREAM);
    assert!(WAFT_COAP_FORMAT_JSON == option::format::JSON);
    assert!(WAFT_COAP_FORMAT_CBOR == option::format::CBOR);
};
