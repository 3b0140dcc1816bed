//! What goes into a broker and what it tells, as C sees it.
#![allow(non_camel_case_types, reason = "C's names")]

use crate::types::{waft_bytes_t, waft_str_t};
use waft::mqtt::broker::{Event, Reason};

/// Someone who may connect.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_broker_user_t {
    /// User name.
    pub name: waft_str_t,
    /// Password.
    pub password: waft_bytes_t,
}

/// Bounds on everything that a peer controls, and what happens at each. Begin with waft_broker_defaults(), then set
/// `seed`. Nothing is reserved for what is merely announced: memory grows with what arrives.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_broker_config_t {
    /// Where randomness starts, for client identifiers that are made up and for hashing.
    pub seed: u64,
    /// Who may connect; copied. A wrong name or password is answered by return code 4.
    pub users: *const waft_broker_user_t,
    /// How many; 0: anybody may connect. (0)
    pub user_count: usize,
    /// Connections at a time. One more is refused by waft_broker_accept(). (1,024)
    pub max_connections: usize,
    /// Sessions, those of absent clients included. One more client is answered by return code 3, server unavailable.
    /// (4,096)
    pub max_sessions: usize,
    /// Longest client identifier in bytes. A longer one is answered by return code 2, identifier rejected. (1,024)
    pub max_client_id: usize,
    /// Subscriptions of one session. One more is refused in the SUBACK. (1,024)
    pub max_subscriptions: usize,
    /// Bytes that the topic filters of one session have together. More are refused in the SUBACK. (128 KiB)
    pub max_subscription_bytes: usize,
    /// Levels of a topic filter. One that has more is refused in the SUBACK. (128)
    pub max_levels: usize,
    /// Messages of QoS 1 and 2 on their way to one client without being acknowledged; the others wait. 1 to 65,534. (20)
    pub max_in_flight: usize,
    /// Messages of QoS 2 on their way from one client: received, not released. One more closes the connection. (1,024)
    pub max_inbound: usize,
    /// Messages that wait for one session or are unacknowledged by it. One more is dropped for this session. (1,000)
    pub max_queued: usize,
    /// Bytes of topic and payload of those messages; likewise. One message may go beyond: where no other waits, or where the
    /// others may not go before it, as a retained one that a subscription is still to find. (16 MiB)
    pub max_queued_bytes: usize,
    /// Retained messages. One more of QoS 1 or 2 closes the connection it came over, unacknowledged; one more of QoS 0
    /// is not retained. (65,536)
    pub max_retained: usize,
    /// Bytes of topic and payload of those; likewise. (64 MiB)
    pub max_retained_bytes: usize,
    /// Bytes of acknowledgements that wait for a client that reads nothing. Then nothing is taken from it until it
    /// reads. (16 KiB)
    pub max_backlog: usize,
    /// While the host is writing, at most about so many bytes of changes are gathered; then nothing is taken from
    /// anybody until waft_broker_recorded(). (16 MiB)
    pub max_unrecorded: usize,
    /// Largest remaining length of a CONNECT, the only packet of a peer that is not known yet. A larger one closes the
    /// connection. (16 KiB)
    pub max_connect: u32,
    /// Largest remaining length of any other packet; of a PUBLISH, of what stands before its payload. A larger one
    /// closes the connection. The host has to be able to hold so much and 5 bytes of each connection. (128 KiB)
    pub max_packet: u32,
    /// Largest payload of a PUBLISH. A larger one closes the connection. (1 MiB)
    pub max_payload: u32,
    /// How long a connection may take to bring its CONNECT, and the host to answer about it, in milliseconds. (10,000)
    pub connect_timeout: u32,
    /// How long the session of an absent client is kept, in milliseconds; 0: for ever. (0)
    pub session_expiry: u32,
    /// How often `$SYS` topics are published, in milliseconds; 0: never. (0)
    pub sys_interval: u32,
    /// Who may publish and subscribe to what, written as mosquitto's `acl_file`; copied. NULL: everybody to everything.
    /// (NULL)
    pub acl: waft_str_t,
    /// The highest QoS granted to a subscription. (2)
    pub max_qos: u8,
    /// 1: WAFT_BROKER_EVENT_AUTHENTICATE asks about every client. (0)
    pub ask_host: u8,
    /// 1: the state survives a restart: see waft_broker_restore(). (0)
    pub persistent: u8,
}

/// Nothing to tell.
pub const WAFT_BROKER_EVENT_NONE: u32 = 0;
/// The client `client_id` was let in over `peer`; `session_present`.
pub const WAFT_BROKER_EVENT_CONNECTED: u32 = 1;
/// Close the connection `peer` now: `reason`, and `code` where that has one. The broker knows the peer no more.
pub const WAFT_BROKER_EVENT_CLOSE: u32 = 2;

/// `client_id` wants to be let in over `peer`, with `username` and `password` (NULL: without): answer by
/// waft_broker_allow() or waft_broker_deny().
pub const WAFT_BROKER_EVENT_AUTHENTICATE: u32 = 3;
/// Append `bytes` to the file, make them durable, then call waft_broker_recorded().
pub const WAFT_BROKER_EVENT_RECORD: u32 = 4;

/// The client sent DISCONNECT.
pub const WAFT_BROKER_DISCONNECTED: u8 = 0;
/// No CONNECT came in time.
pub const WAFT_BROKER_CONNECT_TIMEOUT: u8 = 1;
/// The client was silent for one and a half times its keep-alive.
pub const WAFT_BROKER_KEEP_ALIVE: u8 = 2;
/// A client with the same identifier has connected.
pub const WAFT_BROKER_TAKEN_OVER: u8 = 3;
/// waft_broker_disconnect().
pub const WAFT_BROKER_HOST: u8 = 4;
/// CONNECT was refused: `code` is the return code, 1 to 5.
pub const WAFT_BROKER_REFUSED: u8 = 5;
/// The client broke the protocol: `code` is -64 to -83.
pub const WAFT_BROKER_VIOLATION: u8 = 6;
/// A bound was reached: `code` is -32 to -63.
pub const WAFT_BROKER_CAPACITY: u8 = 7;
/// A reason that this header does not know.
pub const WAFT_BROKER_OTHER: u8 = 255;

/// What a broker tells. Members that a kind does not name are 0 or empty.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_broker_event_t {
    /// WAFT_BROKER_EVENT_...
    pub kind: u32,
    /// A connection.
    pub peer: u32,
    /// A number: see `reason`.
    pub code: i32,
    /// WAFT_BROKER_...
    pub reason: u8,
    /// 1: the client found its session again.
    pub session_present: u8,
    /// A client identifier. This and what follows stands until the next waft_broker_poll_output() of this broker.
    pub client_id: waft_str_t,
    /// A user name.
    pub username: waft_str_t,
    /// A password.
    pub password: waft_bytes_t,
    /// What is to be recorded.
    pub bytes: waft_bytes_t,
}

impl waft_broker_event_t {
    pub(super) const NONE: Self = Self {
        kind: WAFT_BROKER_EVENT_NONE,
        peer: 0,
        code: 0,
        reason: 0,
        session_present: 0,
        client_id: waft_str_t::EMPTY,
        username: waft_str_t::EMPTY,
        password: waft_bytes_t::EMPTY,
        bytes: waft_bytes_t::EMPTY,
    };

    /// The event, which its owner keeps.
    pub(super) fn of(event: Option<&Event>) -> Self {
        match event {
            Some(Event::Connected { peer, client_id, session_present }) => Self {
                kind: WAFT_BROKER_EVENT_CONNECTED,
                peer: peer.0,
                session_present: u8::from(*session_present),
                client_id: waft_str_t::of(client_id),
                ..Self::NONE
            },
            Some(Event::Close { peer, reason }) => {
                let code = match reason {
                    Reason::Refused(code) => i32::from(*code as u8),
                    other => other.code(),
                };
                Self { kind: WAFT_BROKER_EVENT_CLOSE, peer: peer.0, reason: number(reason), code, ..Self::NONE }
            }
            Some(Event::Authenticate { peer, client_id, username, password }) => Self {
                kind: WAFT_BROKER_EVENT_AUTHENTICATE,
                peer: peer.0,
                client_id: waft_str_t::of(client_id),
                username: username.as_deref().map_or(waft_str_t::EMPTY, waft_str_t::of),
                password: password.as_ref().map_or(waft_bytes_t::EMPTY, |password| waft_bytes_t::of(&password.0)),
                ..Self::NONE
            },
            Some(Event::Record { bytes }) => {
                Self { kind: WAFT_BROKER_EVENT_RECORD, bytes: waft_bytes_t::of(bytes), ..Self::NONE }
            }
            _ => Self::NONE,
        }
    }
}

fn number(reason: &Reason) -> u8 {
    match reason {
        Reason::Disconnected => WAFT_BROKER_DISCONNECTED,
        Reason::ConnectTimeout => WAFT_BROKER_CONNECT_TIMEOUT,
        Reason::KeepAlive => WAFT_BROKER_KEEP_ALIVE,
        Reason::TakenOver => WAFT_BROKER_TAKEN_OVER,
        Reason::Host => WAFT_BROKER_HOST,
        Reason::Refused(_) => WAFT_BROKER_REFUSED,
        Reason::Violation(_) => WAFT_BROKER_VIOLATION,
        Reason::Capacity(_) => WAFT_BROKER_CAPACITY,
        _ => WAFT_BROKER_OTHER,
    }
}

/// What a broker holds and has done. The last four wrap.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_broker_stats_t {
    /// Connections.
    pub connections: usize,
    /// Those of them that are clients let in.
    pub connected: usize,
    /// Sessions, those of absent clients included.
    pub sessions: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Retained messages.
    pub retained: usize,
    /// Bytes of their topics and payloads.
    pub retained_bytes: usize,
    /// Messages that wait for sessions or are unacknowledged, each counted for every session.
    pub queued: usize,
    /// Bytes of their topics and payloads, likewise.
    pub queued_bytes: usize,
    /// PUBLISH packets received.
    pub received: u64,
    /// PUBLISH packets sent.
    pub sent: u64,
    /// Messages that some session did not get.
    pub dropped: u64,
    /// PUBLISH packets that were not passed on, as their publisher had no right to.
    pub denied: u64,
}
