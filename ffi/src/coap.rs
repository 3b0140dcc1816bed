//! The CoAP endpoint.
#![allow(non_camel_case_types, reason = "C's names")]

use crate::{
    error::{Fail, result},
    handle::{Memory, Opaque, Out, fits, init, lent, lent_mut, machine, machine_ref, place},
    types::{WAFT_NEVER, deadline, instant, millis, waft_bytes_t, waft_handled_t, waft_output_t, waft_str_t},
};
use core::mem::MaybeUninit;
use heapless::Vec;
use waft::{
    Input, Misuse, Peer,
    coap::{
        Body, Code, Config, ETag, Endpoint, Event, Exchange, Flight, Flow, Observer, Opt, Options, Reply, Request,
        RequestId, Resource, Resources, Seen, Transfer,
    },
};

/// Words of a handle; `sizeof(waft_coap_endpoint_t)` is what to write.
#[cfg(target_pointer_width = "32")]
pub const WAFT_COAP_ENDPOINT_WORDS: usize = 24;
/// Words of a handle; `sizeof(waft_coap_endpoint_t)` is what to write.
#[cfg(not(target_pointer_width = "32"))]
pub const WAFT_COAP_ENDPOINT_WORDS: usize = 36;

/// A CoAP endpoint: client and server at once over one UDP socket.
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

/// A request of a peer's, as an event gave it. It may be copied and kept until it is answered.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_request_id_t {
    _priv: [u64; 7],
}

// SAFETY: `repr(C)` over words.
unsafe impl Opaque for waft_coap_request_id_t {
    type Machine = RequestId;
    const MAGIC: u32 = u32::from_be_bytes(*b"wCoR");
}
const _: () = assert!(fits::<waft_coap_request_id_t>());

/// The options of a message, as an event gave them: a cursor into your input.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_options_t {
    _priv: [u64; 4],
}

// SAFETY: `repr(C)` over words.
unsafe impl Opaque for waft_coap_options_t {
    type Machine = Options<'static>;
    const MAGIC: u32 = u32::from_be_bytes(*b"wCoO");
}
const _: () = assert!(fits::<waft_coap_options_t>());

/// One option.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_option_t {
    /// Which (RFC 7252 §5.10).
    pub number: u16,
    /// Its value, as it stands on the wire.
    pub value: waft_bytes_t,
}

/// Options that one request or reply takes at most.
pub const WAFT_COAP_OPTIONS: usize = 8;

/// What an endpoint is told once. Begin with waft_coap_endpoint_defaults().
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_endpoint_config_t {
    /// Where randomness starts: from a hardware source.
    pub seed: u64,
    /// ACK_TIMEOUT in milliseconds. (2,000)
    pub ack_timeout: u32,
    /// Up to so much is added to it at random, in milliseconds. (1,000)
    pub ack_jitter: u32,
    /// Requests of ours at once, observations among them. (4)
    pub transfers: u16,
    /// Messages of peers' that are remembered to detect duplicates. (8)
    pub seen: u16,
    /// Observers of our resources. (4)
    pub observers: u16,
    /// MAX_RETRANSMIT. (4)
    pub max_retransmit: u8,
    /// Size exponent of the largest block, 0 to 6: 16 to 1,024 bytes. (6)
    pub szx: u8,
}

/// Bytes of memory that waft_coap_endpoint_init() takes with the defaults; what there is more keeps messages.
pub const WAFT_COAP_ENDPOINT_MEMORY: usize = 2560;

/// GET (RFC 7252 §5.8.1). Codes are as on the wire: the class in the upper three bits.
pub const WAFT_COAP_GET: u8 = 0x01;
/// POST.
pub const WAFT_COAP_POST: u8 = 0x02;
/// PUT.
pub const WAFT_COAP_PUT: u8 = 0x03;
/// DELETE.
pub const WAFT_COAP_DELETE: u8 = 0x04;
/// 2.04 Changed.
pub const WAFT_COAP_CHANGED: u8 = 0x44;
/// 2.05 Content.
pub const WAFT_COAP_CONTENT: u8 = 0x45;
/// 2.31 Continue.
pub const WAFT_COAP_CONTINUE: u8 = 0x5f;
/// 4.04 Not Found.
pub const WAFT_COAP_NOT_FOUND: u8 = 0x84;

/// A request to be made. All zero but `method` and `path` is good: NON, blocks of 16 bytes, no body.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_request_t {
    /// Path and query, percent-encoded: "/a/b?x=y".
    pub path: waft_str_t,
    /// Uri-Host; `data` is NULL where there is none.
    pub host: waft_str_t,
    /// Further options in ascending order.
    pub options: *const waft_coap_option_t,
    /// How many, at most WAFT_COAP_OPTIONS.
    pub option_count: usize,
    /// The body, copied. Longer than a block, it goes out by Block1.
    pub payload: waft_bytes_t,
    /// The version that the response must be of, 1 to 8 bytes; empty for any.
    pub etag: waft_bytes_t,
    /// Where in the response body to begin: a multiple of 16.
    pub offset: u32,
    /// WAFT_COAP_GET and so on.
    pub method: u8,
    /// Not 0: CON rather than NON.
    pub confirmable: u8,
    /// Not 0: observe the resource.
    pub observe: u8,
    /// Size exponent of the largest block wanted, 0 to 6.
    pub szx: u8,
    /// Not 0: each block but the last waits for waft_coap_endpoint_advance().
    pub manual: u8,
}

/// A response or a notification.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_reply_t {
    /// Further options in ascending order.
    pub options: *const waft_coap_option_t,
    /// How many, at most WAFT_COAP_OPTIONS.
    pub option_count: usize,
    /// The body, or the part of it that begins at `offset`: at least what the event's `wanted` asks for.
    pub body: waft_bytes_t,
    /// Where `body` begins.
    pub offset: u32,
    /// Bytes of the whole body; 0 says that `body` is all of it.
    pub total: u32,
    /// The number of the observed resource, where `observe` is not 0.
    pub resource: u32,
    /// WAFT_COAP_CONTENT and so on.
    pub code: u8,
    /// Not 0: accepts the observation that the request asks for.
    pub observe: u8,
    /// Not 0: a notification is CON.
    pub confirmable: u8,
}

/// Nothing to tell.
pub const WAFT_COAP_EVENT_NONE: u32 = 0;
/// A block of a response to `exchange`, in order: `code`, `options`, `payload`, `offset`, `total`, `last`.
pub const WAFT_COAP_EVENT_RESPONSE: u32 = 1;
/// A peer asks: `request`, `code`, `options`, `payload`, `offset`, `more`, `wanted_offset`, `wanted_len`, `observe`. Answer
/// by waft_coap_endpoint_respond(), now or later.
pub const WAFT_COAP_EVENT_REQUEST: u32 = 2;
/// `exchange` came to nothing: `reason` 1 no answer, 2 reset, 3 another version, 4 no sense.
pub const WAFT_COAP_EVENT_FAILED: u32 = 3;
/// `peer` no longer observes `resource`.
pub const WAFT_COAP_EVENT_OBSERVER_GONE: u32 = 4;
/// `peer` answered waft_coap_endpoint_ping().
pub const WAFT_COAP_EVENT_PONG: u32 = 5;
/// `peer` did not.
pub const WAFT_COAP_EVENT_SILENT: u32 = 6;

/// What an endpoint tells. Members that a kind does not name are 0 or empty.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_event_t {
    /// WAFT_COAP_EVENT_...
    pub kind: u32,
    /// A request of ours.
    pub exchange: u32,
    /// Who.
    pub peer: u32,
    /// What is observed.
    pub resource: u32,
    /// Where in the body `payload` belongs.
    pub offset: u32,
    /// Bytes of the whole body; 0 where that is not known.
    pub total: u32,
    /// Where the part of the body begins that the response can carry.
    pub wanted_offset: u32,
    /// Its length.
    pub wanted_len: u32,
    /// A code, as on the wire.
    pub code: u8,
    /// 1: the body ends here.
    pub last: u8,
    /// 1: more blocks of the body follow.
    pub more: u8,
    /// 1: a notification, or a request that wants to observe.
    pub observe: u8,
    /// A reason.
    pub reason: u8,
    /// A block of the body.
    pub payload: waft_bytes_t,
    /// The options.
    pub options: waft_coap_options_t,
    /// What to answer by.
    pub request: waft_coap_request_id_t,
}

/// A value that C copies about, with its magic word.
fn copied<O: Opaque>(value: O::Machine) -> O {
    let mut place = MaybeUninit::<O>::zeroed();
    // SAFETY: the place is this function's own and of the type's size and alignment; zeros are a value of it (`Opaque`), which
    // stays behind should `init` fail, and it does not.
    unsafe {
        let _ = init(place.as_mut_ptr(), size_of::<O>(), value);
        place.assume_init()
    }
}

impl waft_coap_event_t {
    const NONE: Self = Self {
        kind: WAFT_COAP_EVENT_NONE,
        exchange: 0,
        peer: 0,
        resource: 0,
        offset: 0,
        total: 0,
        wanted_offset: 0,
        wanted_len: 0,
        code: 0,
        last: 0,
        more: 0,
        observe: 0,
        reason: 0,
        payload: waft_bytes_t::EMPTY,
        options: waft_coap_options_t { _priv: [0; 4] },
        request: waft_coap_request_id_t { _priv: [0; 7] },
    };

    /// # Safety
    /// C looks at the event's options only while the input stands that they borrow from.
    unsafe fn of(event: Option<Event<'_>>) -> Self {
        let Some(event) = event else { return Self::NONE };
        // SAFETY: only the lifetime changes, and the caller vouches for that.
        let kept = |options: Options<'_>| unsafe { core::mem::transmute::<Options<'_>, Options<'static>>(options) };
        match event {
            Event::Response { exchange, code, options, observe, offset, total, payload, last, .. } => Self {
                kind: WAFT_COAP_EVENT_RESPONSE,
                exchange: exchange.id(),
                code: code.0,
                options: copied(kept(options)),
                observe: u8::from(observe.is_some()),
                offset,
                total: total.unwrap_or(0),
                payload: waft_bytes_t::of(payload),
                last: u8::from(last),
                ..Self::NONE
            },
            Event::Request { id, code, options, payload, offset, more } => {
                let (wanted_offset, wanted_len) = id.wanted();
                Self {
                    kind: WAFT_COAP_EVENT_REQUEST,
                    peer: id.peer().0,
                    code: code.0,
                    options: copied(kept(options)),
                    payload: waft_bytes_t::of(payload),
                    offset,
                    more: u8::from(more),
                    observe: u8::from(id.observes()),
                    wanted_offset,
                    wanted_len,
                    request: copied(id),
                    ..Self::NONE
                }
            }
            Event::Failed { exchange, reason } => {
                Self { kind: WAFT_COAP_EVENT_FAILED, exchange: exchange.id(), reason: reason as u8, ..Self::NONE }
            }
            Event::ObserverGone { resource, peer } => {
                Self { kind: WAFT_COAP_EVENT_OBSERVER_GONE, resource: resource.0, peer: peer.0, ..Self::NONE }
            }
            Event::Pong { peer } => Self { kind: WAFT_COAP_EVENT_PONG, peer: peer.0, ..Self::NONE },
            Event::Silent { peer } => Self { kind: WAFT_COAP_EVENT_SILENT, peer: peer.0, ..Self::NONE },
            // Asked for only where a request's body is streamed, which C's requests are not.
            _ => Self::NONE,
        }
    }
}

/// # Safety
/// The options live for `'o`.
unsafe fn options<'o>(
    options: *const waft_coap_option_t,
    count: usize,
) -> Result<Vec<Opt<'o>, WAFT_COAP_OPTIONS>, Fail> {
    let mut list = Vec::new();
    // SAFETY: the caller's.
    unsafe {
        for option in lent(options, count)? {
            let option = Opt { number: option.number, value: option.value.lent()? };
            list.push(option).map_err(|_| Misuse::OutOfRange)?;
        }
    }
    Ok(list)
}

/// Writes the defaults, which the members' descriptions name in parentheses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_defaults(config: *mut waft_coap_endpoint_config_t) -> i32 {
    result((|| {
        let value = waft_coap_endpoint_config_t {
            seed: 0,
            ack_timeout: 2_000,
            ack_jitter: 1_000,
            transfers: 4,
            seen: 8,
            observers: 4,
            max_retransmit: 4,
            szx: 6,
        };
        // SAFETY: C lends the place.
        unsafe { Out::new(config)?.set(value) };
        Ok(())
    })())
}

/// Makes an endpoint in `handle`, of `size` = `sizeof *handle` bytes, that works in `memory`.
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
        // SAFETY: C lends the configuration for this call, the handle, and the memory for as long as that is used.
        unsafe {
            let c = lent(config, 1)?.first().ok_or(Misuse::NullPointer)?;
            let mut memory = Memory::new(memory, memory_len)?;
            let transfers = usize::from(c.transfers);
            let resources = Resources {
                transfers: memory.table(transfers, |_| Transfer::EMPTY)?.into(),
                flights: memory.table(transfers, |_| Flight::EMPTY)?.into(),
                seen: memory.table(usize::from(c.seen), |_| Seen::EMPTY)?.into(),
                observers: memory.table(usize::from(c.observers), |_| Observer::EMPTY)?.into(),
                arena: memory.rest().into(),
            };
            let config = Config {
                ack_timeout: millis(c.ack_timeout),
                ack_jitter: millis(c.ack_jitter),
                max_retransmit: c.max_retransmit,
                szx: c.szx,
                ..Config::DEFAULT
            };
            init(handle, size, Endpoint::new(config, c.seed, resources))
        }
    })())
}

/// Makes a request. What comes of it is told as `*exchange`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_request(
    handle: *mut waft_coap_endpoint_t,
    now: u64,
    peer: u32,
    request: *const waft_coap_request_t,
    exchange: *mut u32,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, what `request` names for this call, and the place of `exchange`.
        unsafe {
            let endpoint = machine(handle)?;
            let r = lent(request, 1)?.first().ok_or(Misuse::NullPointer)?;
            let out = Out::new(exchange)?;
            let options = options(r.options, r.option_count)?;
            let etag = r.etag.lent()?;
            let request = Request {
                method: Code(r.method),
                confirmable: r.confirmable != 0,
                path: r.path.lent()?,
                host: r.host.lent_if_any()?,
                options: &options,
                payload: r.payload.lent()?,
                payload_len: None,
                observe: r.observe != 0,
                szx: r.szx,
                offset: r.offset,
                etag: if etag.is_empty() { None } else { Some(ETag::new(etag).ok_or(Misuse::InvalidOption)?) },
                flow: if r.manual != 0 { Flow::Manual } else { Flow::Auto },
            };
            out.set(endpoint.request(instant(now), Peer(peer), &request)?.id());
        }
        Ok(())
    })())
}

/// With `manual`: fetches the next block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_advance(handle: *mut waft_coap_endpoint_t, now: u64, exchange: u32) -> i32 {
    // SAFETY: C lends the handle.
    result(
        unsafe { machine(handle) }
            .and_then(|endpoint| Ok(endpoint.advance(instant(now), Exchange::from_id(exchange))?)),
    )
}

/// Ends an exchange; an observation is given up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_cancel(handle: *mut waft_coap_endpoint_t, now: u64, exchange: u32) -> i32 {
    // SAFETY: C lends the handle.
    result(
        unsafe { machine(handle) }.and_then(|endpoint| Ok(endpoint.cancel(instant(now), Exchange::from_id(exchange))?)),
    )
}

/// Asks whether a peer is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_ping(handle: *mut waft_coap_endpoint_t, now: u64, peer: u32) -> i32 {
    // SAFETY: C lends the handle.
    result(unsafe { machine(handle) }.and_then(|endpoint| Ok(endpoint.ping(instant(now), Peer(peer))?)))
}

/// # Safety
/// What the reply names lives for this call.
unsafe fn with_reply<R>(
    reply: *const waft_coap_reply_t,
    f: impl FnOnce(&Reply<'_>) -> Result<R, Fail>,
) -> Result<R, Fail> {
    // SAFETY: the caller's.
    unsafe {
        let r = lent(reply, 1)?.first().ok_or(Misuse::NullPointer)?;
        let options = options(r.options, r.option_count)?;
        let bytes = r.body.lent()?;
        f(&Reply {
            code: Code(r.code),
            options: &options,
            body: if r.total == 0 {
                Body::Whole(bytes)
            } else {
                Body::Part { offset: r.offset, bytes, total: r.total }
            },
            observe: (r.observe != 0).then_some(Resource(r.resource)),
            confirmable: r.confirmable != 0,
        })
    }
}

/// Answers a request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_respond(
    handle: *mut waft_coap_endpoint_t,
    now: u64,
    request: *const waft_coap_request_id_t,
    reply: *const waft_coap_reply_t,
) -> i32 {
    // SAFETY: C lends the handle, and the request and what the reply names for this call.
    result(unsafe {
        machine(handle).and_then(|endpoint| {
            let id = machine_ref(request)?;
            with_reply(reply, |reply| Ok(endpoint.respond(instant(now), id, reply)?))
        })
    })
}

/// Tells all observers of a resource. `*observers` becomes how many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_notify(
    handle: *mut waft_coap_endpoint_t,
    now: u64,
    resource: u32,
    reply: *const waft_coap_reply_t,
    observers: *mut u32,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, what the reply names for this call, and the place of `observers`.
        unsafe {
            let (endpoint, out) = (machine(handle)?, Out::new(observers)?);
            out.set(with_reply(reply, |reply| Ok(endpoint.notify(instant(now), Resource(resource), reply)?))?);
        }
        Ok(())
    })())
}

/// The next option of a message; the cursor moves on. 0 at the end, 1 where there was one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_options_next(
    options: *mut waft_coap_options_t,
    option: *mut waft_coap_option_t,
) -> i32 {
    // SAFETY: C lends the cursor, the input that it points into, and the place of the option.
    let next = unsafe {
        machine(options).and_then(|options| {
            let out = Out::new(option)?;
            let next = options.next();
            let found = next.is_some();
            if let Some(Opt { number, value }) = next {
                out.set(waft_coap_option_t { number, value: waft_bytes_t::of(value) });
            }
            Ok(i32::from(found))
        })
    };
    next.unwrap_or_else(|fail| fail.0)
}

/// Hands in a datagram. `event->kind` is WAFT_COAP_EVENT_NONE where there is nothing to tell. Noise is no error.
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
            let endpoint = machine(handle)?;
            let (handled, out) = (Out::new(handled)?, Out::new(event)?);
            let input = Input { peer: Peer(peer), bytes: lent(data, len)? };
            let Ok(done) = endpoint.handle_input(instant(now), input);
            handled.set(waft_handled_t { consumed: done.consumed, needed: done.needed });
            out.set(waft_coap_event_t::of(done.event));
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

/// Asks for the next thing to send or to tell, until `output->kind` is WAFT_OUTPUT_TIMEOUT. 1,152 bytes of buffer do for blocks
/// of 1,024.
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
            let endpoint = machine(handle)?;
            let (output, out) = (Out::new(output)?, Out::new(event)?);
            let (what, told) = waft_output_t::of(endpoint.poll_output(instant(now), lent_mut(buffer, buffer_len)?));
            output.set(what);
            out.set(waft_coap_event_t::of(told));
        }
        Ok(())
    })())
}

/// When to call waft_coap_endpoint_handle_timeout() at the latest; WAFT_NEVER for a bad handle too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_endpoint_next_timeout(handle: *const waft_coap_endpoint_t) -> u64 {
    // SAFETY: C lends the handle.
    unsafe { machine_ref(handle) }.map_or(WAFT_NEVER, |endpoint| deadline(endpoint.next_timeout()))
}
