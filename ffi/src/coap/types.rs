//! What crosses the ABI of an endpoint: configuration, requests, replies, events, counts.
#![allow(non_camel_case_types, reason = "C's names")]

use super::message::{waft_coap_option_t, waft_coap_options_t};
use crate::{
    error::Fail,
    handle::check,
    types::{waft_bytes_t, waft_str_t},
};
use core::mem;
use waft::coap::{
    Failure, Options, RequestId,
    raw::{Kind, Told, Wishes},
};

/// How an endpoint behaves. Begin with waft_coap_endpoint_defaults(), then set `seed`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_endpoint_config_t {
    /// Where message IDs, tokens and jitter start: from a source that others cannot guess (RFC 7252 §11.4).
    pub seed: u64,
    /// Critical options that you understand besides those of RFC 7252 and RFC 7959. They have to live as long as the
    /// endpoint.
    pub understood: *const u16,
    /// How many (0).
    pub understood_count: usize,
    /// ACK_TIMEOUT: the least time until a CON is sent again, in milliseconds (2,000).
    pub ack_timeout: u32,
    /// Up to so much is added to it at random, in milliseconds (1,000).
    pub ack_jitter: u32,
    /// How long a response is waited for after its request was acknowledged, in milliseconds (93,000).
    pub response_timeout: u32,
    /// EXCHANGE_LIFETIME, in milliseconds (247,000).
    pub exchange_lifetime: u32,
    /// After this time without waft_coap_endpoint_respond() a request is acknowledged by itself, in milliseconds
    /// (1,000).
    pub ack_delay: u32,
    /// DEFAULT_LEISURE: answers to multicast requests are spread over so much time, in milliseconds, at most 60,000
    /// (5,000).
    pub leisure: u32,
    /// Of answers longer than 136 bytes, so many bytes may go to addresses that have not shown that they are there,
    /// within EXCHANGE_LIFETIME; beyond that such a GET or FETCH is answered 4.01 with an Echo option (RFC 9175 §2.6), and
    /// any other request not handed on. 0: every such answer; UINT32_MAX: none, where all peers are known (1,048,576).
    pub unproven: u32,
    /// PROBING_RATE: bytes a second that go to a peer that does not respond, on average, in NON requests and in acknowledged ones:
    /// so long the next one to it waits. Not counted are answered requests, and those that ask for no answer (No-Response). 0 lets
    /// no second one go for three days (1).
    pub probing_rate: u32,
    /// Requests of ours at a time, observations among them (4). Each takes WAFT_COAP_TRANSFER_SIZE bytes of the memory.
    pub transfers: u16,
    /// Messages of ours that wait for an answer at a time (4): one for each request, separate response, CON
    /// notification and ping, and one for each block more of a request's `window`. Each takes WAFT_COAP_FLIGHT_SIZE.
    pub flights: u16,
    /// Messages received that are remembered to know duplicates by (8). Each takes WAFT_COAP_SEEN_SIZE.
    pub seen: u16,
    /// Observers of our resources at a time (4). Each takes WAFT_COAP_OBSERVER_SIZE.
    pub observers: u16,
    /// MAX_RETRANSMIT: how often a CON is sent again, at most 16 (4).
    pub max_retransmit: u8,
    /// NSTART: interactions outstanding with one peer (1).
    pub nstart: u8,
    /// The largest block sent or asked for: 2 to the power of (szx + 4) bytes, 0 to 6 (6).
    pub szx: u8,
    /// 0: an observation does not register again when Max-Age has passed without a notification (1).
    pub reregister: u8,
    /// Not 0: requests to a proxy (Proxy-Uri, Proxy-Scheme) come as events instead of being answered 5.05 (0).
    pub proxy: u8,
}

/// RFC 7252 as it stands: one block after the other, fixed time-outs.
pub const WAFT_COAP_POLICY_STANDARD: u8 = 0;
/// CoCoA (draft-ietf-core-cocoa-03): one block after the other, time-outs by round trips measured.
pub const WAFT_COAP_POLICY_COCOA: u8 = 1;
/// A congestion-controlled window where a request's `window` allows more than one block; otherwise as
/// WAFT_COAP_POLICY_STANDARD, but for the first time-out where the peer is known.
pub const WAFT_COAP_POLICY_WINDOWED: u8 = 2;

/// Bytes of memory that do for the defaults: the tables, and 1,500 bytes for messages. WAFT_COAP_MEMORY() says it exactly.
pub const WAFT_COAP_ENDPOINT_MEMORY: usize = 2048;

/// A request to be made. Begin with waft_coap_request_defaults(), then set `path`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_request_t {
    /// Path and query, percent-encoded: "/a/b?x=y".
    pub path: waft_str_t,
    /// Uri-Host, percent-encoded; `data` is NULL where there is none: a server with one name needs none.
    pub host: waft_str_t,
    /// Further options in ascending order of their numbers. Not Uri-Path, Uri-Query, Observe, Block1, Block2, Size1 or
    /// Size2: the endpoint writes those itself.
    pub options: *const waft_coap_option_t,
    /// How many, at most WAFT_COAP_OPTIONS (0).
    pub option_count: usize,
    /// The body, copied. Longer than a block, it goes out by Block1.
    pub payload: waft_bytes_t,
    /// The version that the response must be of, 1 to 8 bytes, else WAFT_COAP_FAILURE_CHANGED; `len` is 0 for any
    /// version.
    pub etag: waft_bytes_t,
    /// With `streamed`: bytes of the body.
    pub payload_len: u32,
    /// Where in the response's body to begin: a multiple of 16 (0).
    pub offset: u32,
    /// Where in the response's body to stop: blocks from here on are not asked for (UINT32_MAX: all of it).
    pub until: u32,
    /// A method (WAFT_COAP_GET).
    pub method: u8,
    /// 0: NON messages, which are not repeated when they are lost (1).
    pub confirmable: u8,
    /// Not 0: observe the resource (0).
    pub observe: u8,
    /// The largest block wanted: 2 to the power of (szx + 4) bytes, 0 to 6 (6).
    pub szx: u8,
    /// Not 0: the body is not in `payload` but asked for by WAFT_COAP_EVENT_BODY_WANTED, block by block (0).
    pub streamed: u8,
    /// Not 0: after each block but the last, waft_coap_endpoint_advance() has to be called for the next (0).
    pub manual: u8,
    /// How many blocks of the response may be under way at a time, as far as `flights` reaches, under congestion control: where
    /// waft_coap_endpoint_measure_paths() has given room for that.
    /// 0 and 1: one after the other, in order. With more, the first block comes first and the others as they arrive (1).
    pub window: u8,
    /// Not 0: the server takes the blocks of the body in any order, since it acts on each by itself or puts together what it has.
    /// Then `window` is how many of those may be under way at a time; the first goes alone, and the last when all others have
    /// been taken. A server that refuses one for its place (4.08) gets what it has not taken in order (0).
    pub random_access: u8,
}

// It ends with what the core takes as it is.
const _: () = {
    const START: usize = mem::offset_of!(waft_coap_request_t, payload_len);
    macro_rules! alike {
        ($($member:ident),*) => {$(
            let at = mem::offset_of!(waft_coap_request_t, $member).wrapping_sub(START);
            assert!(at == mem::offset_of!(Wishes, $member));
        )*};
    }
    alike!(payload_len, offset, until, method, confirmable, observe, szx, streamed, manual, window, random_access);
    assert!(align_of::<Wishes>() <= align_of::<u32>());
    assert!(size_of::<Wishes>() <= size_of::<waft_coap_request_t>().wrapping_sub(START));
};

/// A request received, to be answered by waft_coap_endpoint_respond(). It is a value: keep a copy for as long as the
/// answer takes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_request_id_t {
    pub(super) _priv: [u32; WAFT_COAP_REQUEST_ID_WORDS],
}

/// Words of a waft_coap_request_id_t.
pub const WAFT_COAP_REQUEST_ID_WORDS: usize = 7;

/// A response or a notification. All zero but `code` and `body` is good.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_reply_t {
    /// Further options in ascending order of their numbers: ETag, Content-Format, Max-Age and so on. Not Observe,
    /// Block1, Block2, Size1 or Size2: the endpoint writes those itself. A body of several blocks should have an ETag.
    pub options: *const waft_coap_option_t,
    /// How many, at most WAFT_COAP_OPTIONS.
    pub option_count: usize,
    /// The body: the endpoint cuts out of it the block that was asked for. Or a part of the body that holds at least
    /// what is wanted: see waft_coap_event_t, `offset`, `total`.
    pub body: waft_bytes_t,
    /// Where `body` begins in the whole body.
    pub offset: u32,
    /// Bytes of the whole body; 0 says that `body` is all of it.
    pub total: u32,
    /// With `observe`: the number of the resource.
    pub resource: u32,
    /// A response code.
    pub code: u8,
    /// Not 0, of a response: accepts the observation asked for, under the number `resource`.
    pub observe: u8,
    /// Not 0, of a notification: it is a CON. One a day is regardless (RFC 7641 §4.5).
    pub confirmable: u8,
}

/// Nothing to tell.
pub const WAFT_COAP_EVENT_NONE: u32 = 0;
/// A block of the response to `exchange`, in order: `code`, `options`, `etag`, `payload` at `offset`, `last`; `total`
/// where `has_total`. With `observe` it is notification number `sequence`, and `offset` 0 begins a new representation.
/// `last` without `observe` ends the exchange.
pub const WAFT_COAP_EVENT_RESPONSE: u32 = 1;
/// `peer` asks: `request`, `code` (the method), `options`, and of the body `payload` at `offset`; `observe` where it
/// wants to observe. Answer by waft_coap_endpoint_respond(), now or later. The response can carry `wanted_len` bytes
/// of its body from `wanted_offset` on. With `more`, further blocks of the request's body follow: WAFT_COAP_CONTINUE
/// asks for the next, WAFT_COAP_REQUEST_ENTITY_INCOMPLETE says that one is missing, WAFT_COAP_REQUEST_ENTITY_TOO_LARGE
/// that it is too large; any other success has taken this block by itself, in whatever order they come.
pub const WAFT_COAP_EVENT_REQUEST: u32 = 2;
/// `exchange` came to nothing and is over: `reason`.
pub const WAFT_COAP_EVENT_FAILED: u32 = 3;
/// Give `len` bytes from `offset` on of the body of `exchange` to waft_coap_endpoint_body(). Offset 0 may come again:
/// the server wants smaller blocks. With `random_access` any may come again, in any order: it was lost.
pub const WAFT_COAP_EVENT_BODY_WANTED: u32 = 4;
/// `peer` no longer observes `resource`: it left, or did not acknowledge.
pub const WAFT_COAP_EVENT_OBSERVER_GONE: u32 = 5;
/// `peer` answered waft_coap_endpoint_ping().
pub const WAFT_COAP_EVENT_PONG: u32 = 6;
/// `peer` did not answer waft_coap_endpoint_ping().
pub const WAFT_COAP_EVENT_SILENT: u32 = 7;
/// `peer` answers waft_coap_endpoint_request_group(), `exchange`: `code`, `options`, `payload`. There may be more.
pub const WAFT_COAP_EVENT_GROUP_RESPONSE: u32 = 8;

/// No answer, or none in time.
pub const WAFT_COAP_FAILURE_TIMEOUT: u8 = 1;
/// The peer sent RST: it cannot make anything of the request, or has forgotten it.
pub const WAFT_COAP_FAILURE_RESET: u8 = 2;
/// The representation is another one than the blocks before were of, or than `etag` of the request.
pub const WAFT_COAP_FAILURE_CHANGED: u8 = 3;
/// The response makes no sense: a critical option that is not understood, or a block that is not the one asked for.
pub const WAFT_COAP_FAILURE_BAD_RESPONSE: u8 = 4;

/// What an endpoint tells. Members that a kind does not name are 0 or empty.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_event_t {
    /// WAFT_COAP_EVENT_...
    pub kind: u32,
    /// A method or a response code.
    pub code: u8,
    /// WAFT_COAP_FAILURE_...
    pub reason: u8,
    /// 1: it is a notification, or wants to observe.
    pub observe: u8,
    /// 1: `total` is known.
    pub has_total: u8,
    /// 1: the body ends here.
    pub last: u8,
    /// 1: more blocks of the body follow.
    pub more: u8,
    /// 1: the request came to a multicast address. An error, or a response without a body, is not sent then.
    pub multicast: u8,
    /// 1: by an Echo option the sender of the request has shown that it is there and that the request is new.
    pub proven: u8,
    /// The version of the representation; `etag_len` bytes of it count.
    pub etag: [u8; 8],
    /// 0 for none, else 1 to 8.
    pub etag_len: u8,
    /// Whose.
    pub peer: u32,
    /// Which request of ours: what waft_coap_endpoint_request() gave.
    pub exchange: u32,
    /// A number of your own.
    pub resource: u32,
    /// The number of a notification.
    pub sequence: u32,
    /// Where in the body `payload` belongs.
    pub offset: u32,
    /// Bytes of the whole body.
    pub total: u32,
    /// Where in its body the part begins that the response can carry.
    pub wanted_offset: u32,
    /// Its length.
    pub wanted_len: u32,
    /// Bytes wanted.
    pub len: u32,
    /// Options.
    pub options: waft_coap_options_t,
    /// A body, or a block of it.
    pub payload: waft_bytes_t,
    /// A request.
    pub request: waft_coap_request_id_t,
}

const _: () = {
    assert!(WAFT_COAP_EVENT_NONE == Kind::Nothing as u32 && WAFT_COAP_EVENT_RESPONSE == Kind::Response as u32);
    assert!(WAFT_COAP_EVENT_REQUEST == Kind::Request as u32 && WAFT_COAP_EVENT_FAILED == Kind::Failed as u32);
    assert!(WAFT_COAP_EVENT_BODY_WANTED == Kind::BodyWanted as u32 && WAFT_COAP_EVENT_PONG == Kind::Pong as u32);
    assert!(
        WAFT_COAP_EVENT_OBSERVER_GONE == Kind::ObserverGone as u32 && WAFT_COAP_EVENT_SILENT == Kind::Silent as u32
    );
    assert!(WAFT_COAP_EVENT_GROUP_RESPONSE == Kind::GroupResponse as u32);
};

// C's event is laid out as what the core tells.
const _: () = {
    macro_rules! alike {
        ($($member:ident),*) => {
            $(assert!(mem::offset_of!(waft_coap_event_t, $member) == mem::offset_of!(Told<'_>, $member));)*
        };
    }
    alike!(kind, code, reason, observe, has_total, last, more, multicast, proven, etag, peer, exchange, resource);
    alike!(sequence, offset, total, wanted_offset, wanted_len, len, options, payload, request);
    assert!(mem::offset_of!(waft_coap_event_t, etag_len).wrapping_sub(8) == mem::offset_of!(waft_coap_event_t, etag));
    assert!(size_of::<waft_coap_event_t>() == size_of::<Told<'_>>());
    assert!(align_of::<waft_coap_event_t>() == align_of::<Told<'_>>());
    assert!(size_of::<waft_coap_request_id_t>() == size_of::<RequestId>());
    // SAFETY: any byte is a number.
    assert!(unsafe { mem::transmute::<Option<Failure>, u8>(None) } == 0);
};

impl waft_coap_event_t {
    /// Nothing yet, in the place that C has for an event.
    ///
    /// # Safety
    /// `place` is NULL or good for a write of an event, and nothing else uses it for `'e`.
    pub(super) unsafe fn told<'e>(place: *mut Self) -> Result<&'e mut Told<'e>, Fail> {
        let told = check(place, 1)?.cast::<Told<'e>>();
        // SAFETY: not NULL, aligned, and laid out as is asserted above; the caller vouches for the rest.
        // `Told::NOTHING` is zeros and two empty slices, as a test says: that is shorter to write than to copy.
        unsafe {
            told.write_bytes(0, 1);
            (&raw mut (*told.as_ptr()).options).write(Options::EMPTY);
            (&raw mut (*told.as_ptr()).payload).write(&[]);
            Ok(&mut *told.as_ptr())
        }
    }
}

/// Counts since the endpoint was made. They stop at their end instead of wrapping.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_stats_t {
    /// Datagrams taken in.
    pub received: u32,
    /// Messages sent, those sent again included.
    pub sent: u32,
    /// Of those, messages sent again.
    pub retransmitted: u32,
    /// Datagrams that were no message.
    pub malformed: u32,
    /// Messages that had arrived before.
    pub duplicates: u32,
    /// Responses, acknowledgements and resets that answer nothing.
    pub unmatched: u32,
    /// Notifications that were older than the one before.
    pub stale: u32,
    /// Messages refused for an option that is not understood.
    pub refused: u32,
    /// Messages dropped for want of room.
    pub dropped: u32,
    /// Requests answered by a challenge to show that their sender is there (RFC 9175).
    pub challenged: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_begins_as_nothing() {
        let mut place = core::mem::MaybeUninit::uninit();
        // SAFETY: the place is there.
        let told = unsafe { waft_coap_event_t::told(place.as_mut_ptr()) }.unwrap();
        assert_eq!(std::format!("{told:?}"), std::format!("{:?}", Told::NOTHING));
        // SAFETY: NULL is no place.
        assert!(unsafe { waft_coap_event_t::told(core::ptr::null_mut()) }.is_err());
    }
}
