//! What a broker may take, and from whom.

use super::Acl;
use crate::{Duration, mqtt::QoS};
use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt;

/// Someone who may connect.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// User name.
    pub name: String,
    /// Password.
    pub password: Vec<u8>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Bounds on everything that a peer controls, and what happens at each.
///
/// Nothing is reserved for what is merely announced: memory grows with what arrives. The most a broker holds is
/// `max_sessions` × (`max_queued_bytes` + a message + twice `max_subscription_bytes`) + `max_connections` × (`max_payload` +
/// two `max_backlog`) + `max_retained_bytes` + twice `max_unrecorded`, and less where messages are shared: a payload is kept once, however many
/// sessions wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerConfig {
    /// Connections at a time. One more is refused by `accept`. Default 1,024.
    pub max_connections: usize,
    /// Sessions, those of absent clients included. One more client is answered by return code 3, server unavailable.
    /// Default 4,096.
    pub max_sessions: usize,
    /// How long the session of an absent client is kept (§4.1 leaves that to the administrator). Default: for ever.
    pub session_expiry: Option<Duration>,
    /// How long a connection may take to bring its CONNECT (§3.1.4); it is closed then. Default 10 s.
    pub connect_timeout: Duration,
    /// Largest remaining length of a CONNECT, the only packet of a peer that is not known yet. A larger one closes the
    /// connection. Default 16 KiB.
    pub max_connect: u32,
    /// Largest remaining length of any other packet; of a PUBLISH, of what stands before its payload. A larger one
    /// closes the connection. A host has to be able to hold so much and 5 bytes. Default 128 KiB.
    pub max_packet: u32,
    /// Largest payload of a PUBLISH. A larger one closes the connection. Default 1 MiB.
    pub max_payload: u32,
    /// Longest client identifier in bytes. A longer one is answered by return code 2, identifier rejected.
    /// Default 1,024.
    pub max_client_id: usize,
    /// Subscriptions of one session. One more is refused in the SUBACK. Default 1,024.
    pub max_subscriptions: usize,
    /// Bytes that the topic filters of one session have together. More are refused in the SUBACK. Default 128 KiB.
    pub max_subscription_bytes: usize,
    /// Levels of a topic filter. One that has more is refused in the SUBACK. Default 128.
    pub max_levels: usize,
    /// The highest QoS granted to a subscription. Default: QoS 2.
    pub max_qos: QoS,
    /// Messages of QoS 1 and 2 that are on their way to one client without being acknowledged; the others wait.
    /// 1 … 65,534. Default 20.
    pub max_in_flight: usize,
    /// Messages of QoS 2 on their way from one client: received, not released. One more closes the connection.
    /// Default 1,024.
    pub max_inbound: usize,
    /// Messages that wait for one session or are unacknowledged by it. One more is dropped for this session, and
    /// counted in [`Stats::dropped`](super::Stats::dropped). Default 1,000.
    pub max_queued: usize,
    /// Bytes of topic and payload of those messages; likewise. Default 16 MiB. A single message may be larger than this
    /// where no other waits; and where those that wait may not go before a retained message that a subscription is still to find
    /// (`[MQTT-4.6.0-6]`), that message goes beyond both bounds.
    pub max_queued_bytes: usize,
    /// Retained messages. One more of QoS 1 or 2 closes the connection it came over, unacknowledged
    /// (`[MQTT-4.8.0-2]`); one more of QoS 0 is not retained (`[MQTT-3.3.1-7]`). Default 65,536.
    pub max_retained: usize,
    /// Bytes of topic and payload of the retained messages; likewise. Default 64 MiB.
    pub max_retained_bytes: usize,
    /// Bytes of acknowledgements that wait for a client that reads nothing. From there on nothing is taken from it
    /// (consumed 0, needed 0) until it reads. Default 16 KiB.
    pub max_backlog: usize,
    /// How often `$SYS/broker/…` topics are published, retained, at QoS 0: `version`, `clients/connected`,
    /// `clients/disconnected`, `clients/total`, `subscriptions/count`, `retained messages/count`, `retained
    /// messages/bytes`, `messages/queued`, `messages/queued/bytes`, `messages/received`, `messages/sent`,
    /// `publish/messages/dropped`, `publish/messages/denied`. Default: never.
    pub sys_interval: Option<Duration>,
    /// Who may connect; a wrong name or password is answered by return code 4. Default, and when empty: anybody.
    pub users: Vec<User>,
    /// The host is asked about every client that passed the other checks:
    /// [`Event::Authenticate`](super::Event::Authenticate). What it has not answered within `connect_timeout` is
    /// answered by return code 3, server unavailable. Default: no.
    pub ask_host: bool,
    /// Sessions, what waits for them, retained messages and wills are to survive a restart: the host keeps what
    /// [`Event::Record`](super::Event::Record) gives, and acknowledgements wait until it has. See
    /// [`restore`](super::Broker::restore). Default: no.
    pub persistent: bool,
    /// While the host is writing, at most about so many bytes of changes are gathered; nothing more is taken from
    /// anybody then (consumed 0, needed 0) until [`recorded`](super::Broker::recorded). Default 16 MiB.
    pub max_unrecorded: usize,
    /// Who may publish and subscribe to what, where the host's answer does not say otherwise. Default: everybody to
    /// everything.
    pub acl: Option<Arc<Acl>>,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            max_connections: 1_024,
            max_sessions: 4_096,
            session_expiry: None,
            connect_timeout: Duration::from_secs(10),
            max_connect: 16 << 10,
            max_packet: 128 << 10,
            max_payload: 1 << 20,
            max_client_id: 1_024,
            max_subscriptions: 1_024,
            max_subscription_bytes: 128 << 10,
            max_levels: 128,
            max_qos: QoS::ExactlyOnce,
            max_in_flight: 20,
            max_inbound: 1_024,
            max_queued: 1_000,
            max_queued_bytes: 16 << 20,
            max_retained: 65_536,
            max_retained_bytes: 64 << 20,
            max_backlog: 16 << 10,
            sys_interval: None,
            users: Vec::new(),
            ask_host: false,
            persistent: false,
            max_unrecorded: 16 << 20,
            acl: None,
        }
    }
}

impl BrokerConfig {
    /// Whether someone with this name and password may connect. How long the answer takes does not tell how much of a
    /// password was right.
    pub(super) fn admits(&self, username: Option<&str>, password: Option<&[u8]>) -> bool {
        let (name, password) = (username.unwrap_or_default(), password.unwrap_or_default());
        self.users.is_empty() || self.users.iter().any(|user| user.name == name && same(&user.password, password))
    }
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |seen, (x, y)| seen | (x ^ y)) == 0
}
