//! What a broker tells its host, and what it can be asked.

#[cfg(doc)]
use super::{Broker, BrokerConfig};
use crate::{
    Capacity, Code, Peer,
    mqtt::{ConnectReturnCode, QoS, Violation},
};
use alloc::sync::Arc;
use bytes::Bytes;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The client sent DISCONNECT.
    Disconnected,
    /// No CONNECT came in time (§3.1.4).
    ConnectTimeout,
    /// The client was silent for one and a half times its keep-alive (`[MQTT-3.1.2-24]`).
    KeepAlive,
    /// A client with the same identifier has connected (`[MQTT-3.1.4-2]`).
    TakenOver,
    /// The host wanted it: [`Broker::disconnect`].
    Host,
    /// The CONNECT was answered by this return code.
    Refused(ConnectReturnCode),
    /// The client broke the protocol, or sent a packet larger than [`BrokerConfig`] allows.
    Violation(Violation),
    /// A bound of [`BrokerConfig`] was reached (`[MQTT-4.8.0-2]`): [`Capacity::InFlight`] of `max_inbound`,
    /// [`Capacity::Retained`] of the retained messages.
    Capacity(Capacity),
}

impl Reason {
    /// The number of the violation or bound, 0 for other reasons.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Self::Violation(violation) => violation.code(),
            Self::Capacity(capacity) => capacity.code(),
            _ => 0,
        }
    }

    /// The reason's name, or the name of the violation or bound.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Disconnected => "Disconnected",
            Self::ConnectTimeout => "ConnectTimeout",
            Self::KeepAlive => "KeepAlive",
            Self::TakenOver => "TakenOver",
            Self::Host => "Host",
            Self::Refused(code) => match code {
                ConnectReturnCode::Accepted => "Accepted",
                ConnectReturnCode::UnacceptableProtocolVersion => "UnacceptableProtocolVersion",
                ConnectReturnCode::IdentifierRejected => "IdentifierRejected",
                ConnectReturnCode::ServerUnavailable => "ServerUnavailable",
                ConnectReturnCode::BadUserNameOrPassword => "BadUserNameOrPassword",
                ConnectReturnCode::NotAuthorized => "NotAuthorized",
            },
            Self::Violation(violation) => violation.name(),
            Self::Capacity(capacity) => capacity.name(),
        }
    }
}

/// A password, which is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(
    /// Its bytes.
    pub Bytes,
);

impl core::fmt::Debug for Password {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("…")
    }
}

/// What a broker tells its host, always through [`Broker::poll_output`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A client was let in.
    Connected {
        /// Over this connection.
        peer: Peer,
        /// Its identifier, or the one made up for it.
        client_id: Arc<str>,
        /// It found its session again.
        session_present: bool,
    },
    /// Somebody wants to be let in: [`allow`](Broker::allow) or [`deny`](Broker::deny) it. Nothing more is taken from
    /// that connection before. Only with [`BrokerConfig::ask_host`].
    Authenticate {
        /// Over this connection.
        peer: Peer,
        /// The client's identifier, or the one made up for it.
        client_id: Arc<str>,
        /// Its user name, if it gave one.
        username: Option<Arc<str>>,
        /// Its password, if it gave one.
        password: Option<Password>,
    },
    /// Append these bytes to the file, make them durable, then call [`recorded`](Broker::recorded). Another comes only
    /// after that. Only with [`BrokerConfig::persistent`].
    Record {
        /// What changed since the last time.
        bytes: Bytes,
    },
    /// Close this connection now. Whatever was to be sent before has been; the broker knows the peer no more, and its
    /// number may be used again. It may come without [`Event::Connected`] before it.
    Close {
        /// This one.
        peer: Peer,
        /// Why.
        reason: Reason,
    },
}

/// A look at what a broker holds and has done. The counters wrap.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
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
    /// Messages that some session did not get: its queue was full, or the client away and the message of QoS 0.
    pub dropped: u64,
    /// PUBLISH packets that were not passed on, as their publisher had no right to.
    pub denied: u64,
}

/// A retained message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetainedMessage<'a> {
    /// Its topic name.
    pub topic: &'a str,
    /// Its payload, not empty.
    pub payload: &'a Bytes,
    /// The QoS it was published with.
    pub qos: QoS,
}
