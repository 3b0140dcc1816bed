//! The 14 control packets (§3): what they hold, what can be wrong with them, and their wire form.
//!
//! Decoding borrows and checks everything the standard lets a receiver check; encoding is bytes of what it is given.
//! A PUBLISH is decoded and encoded up to its payload, which streams past beside it and need never be whole.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{Decoded, decode, decode_from_client, decode_from_server};
pub use encode::{encode_ack, encode_subscribe, encode_unsubscribe, subscribe_len, unsubscribe_len};

use crate::{
    error::{Misuse, numbered},
    mqtt::{text, topic},
    wire::Reader,
};
use core::num::NonZeroU16;

/// The largest remaining length there is (§2.2.3).
pub const MAX_REMAINING: u32 = 268_435_455;

numbered! {
    /// What a peer did that the standard forbids. The connection it came over has to be closed (`[MQTT-4.8.0-1]`).
    Violation {
        /// a control packet type that is reserved, 0 or 15 (Table 2.1)
        ReservedType = -64,
        /// fixed header flags that are not those of Table 2.2 [MQTT-2.2.2-2]
        ReservedFlags = -65,
        /// a remaining length of more than four bytes (2.2.3)
        RemainingLength = -66,
        /// a remaining length or a field that the rest of the packet does not agree with
        Length = -67,
        /// a string that is not UTF-8 [MQTT-1.5.3-1]
        NotUtf8 = -68,
        /// a string that holds U+0000 [MQTT-1.5.3-2]
        NullCharacter = -69,
        /// a packet identifier of zero [MQTT-2.3.1-1]
        ZeroPacketId = -70,
        /// a QoS of 3, or reserved bits beside one [MQTT-3.3.1-4] [MQTT-3.1.2-14] [MQTT-3-8.3-4]
        QoS = -71,
        /// a topic name that is empty or holds a wildcard [MQTT-3.3.2-2] [MQTT-4.7.3-1]
        TopicName = -72,
        /// a topic filter that is empty or has a misplaced wildcard [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-4.7.3-1]
        TopicFilter = -73,
        /// a SUBSCRIBE or UNSUBSCRIBE without a filter [MQTT-3.8.3-3] [MQTT-3.10.3-2]
        NoFilter = -74,
        /// CONNECT flags that contradict each other or are reserved [MQTT-3.1.2-3] [MQTT-3.1.2-11] [MQTT-3.1.2-22]
        ConnectFlags = -75,
        /// a protocol name other than MQTT [MQTT-3.1.2-1]
        ProtocolName = -76,
        /// a protocol level other than 4, to be answered by return code 1 [MQTT-3.1.2-2]
        ProtocolLevel = -77,
        /// no client identifier, and yet no clean session, to be answered by return code 2 [MQTT-3.1.3-8]
        ClientId = -78,
        /// a CONNACK with reserved bits, an unknown return code, or a session with a refusal [MQTT-3.2.2-4]
        ConnAck = -79,
        /// a SUBACK with a reserved return code or not one for each filter [MQTT-3.9.3-1] [MQTT-3.9.3-2]
        SubAck = -80,
        /// a packet that is longer than is accepted here
        PacketTooLarge = -81,
        /// a packet that is not allowed from this side, now, or for that identifier [MQTT-3.1.0-1] [MQTT-3.2.0-1]
        UnexpectedPacket = -82,
        /// DUP on a message of QoS 0 [MQTT-3.3.1-2]
        DupQoS0 = -83,
    }
}

/// How hard delivery of a message is tried (§4.3).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// Sent once and forgotten.
    #[default]
    AtMostOnce = 0,
    /// Sent until it is acknowledged; it may arrive more than once.
    AtLeastOnce = 1,
    /// Arrives once.
    ExactlyOnce = 2,
}

impl QoS {
    /// 0, 1 or 2.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// A packet identifier: 1 … 65,535 (§2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// 1, where a sequence of them starts.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// `id`, unless it is 0 (`[MQTT-2.3.1-1]`).
    #[must_use]
    pub const fn new(id: u16) -> Option<Self> {
        match NonZeroU16::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The one after; 1 after 65,535.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(id) => Self(id),
            None => Self::FIRST,
        }
    }
}

/// The message a server publishes when the connection ends without a DISCONNECT (§3.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Will<'a> {
    /// Where.
    pub topic: &'a str,
    /// What; at most 65,535 bytes.
    pub payload: &'a [u8],
    /// At which QoS.
    pub qos: QoS,
    /// As a retained message (`[MQTT-3.1.2-17]`)?
    pub retain: bool,
}

/// CONNECT (§3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Under which name the server keeps the session. Empty: the server makes one up, and the session must be a clean
    /// one (`[MQTT-3.1.3-7]`).
    pub client_id: &'a str,
    /// Forget what was; keep nothing afterwards (`[MQTT-3.1.2-6]`).
    pub clean_session: bool,
    /// The longest silence of the client, in seconds; 0 for no limit (§3.1.2.10).
    pub keep_alive: u16,
    /// What is to be published should the connection break.
    pub will: Option<Will<'a>>,
    /// User name.
    pub username: Option<&'a str>,
    /// Password, only with a user name (`[MQTT-3.1.2-22]`); at most 65,535 bytes.
    pub password: Option<&'a [u8]>,
}

impl Default for Connect<'_> {
    /// A clean session under a name of the server's choosing, with a keep-alive of a minute.
    fn default() -> Self {
        Self { client_id: "", clean_session: true, keep_alive: 60, will: None, username: None, password: None }
    }
}

impl Connect<'_> {
    /// Whether it can be sent.
    ///
    /// # Errors
    /// [`Misuse::InvalidString`], [`Misuse::InvalidTopic`] (of the will), or [`Misuse::InvalidOption`]: an empty
    /// client identifier without a clean session, a password without a user name.
    pub fn check(&self) -> Result<(), Misuse> {
        let long = |bytes: &[u8]| bytes.len() > topic::MAX_LEN;
        let bad = |text: &str| long(text.as_bytes()) || text.bytes().any(|b| b == 0);
        if bad(self.client_id) || self.username.is_some_and(bad) || self.password.is_some_and(long) {
            return Err(Misuse::InvalidString);
        }
        if let Some(will) = &self.will {
            if !topic::valid_name(will.topic) {
                return Err(Misuse::InvalidTopic);
            }
            if long(will.payload) {
                return Err(Misuse::InvalidString);
            }
        }
        if (self.client_id.is_empty() && !self.clean_session) || (self.password.is_some() && self.username.is_none()) {
            return Err(Misuse::InvalidOption);
        }
        Ok(())
    }
}

/// Why a server refuses a connection, or that it does not (Table 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ConnectReturnCode {
    /// It does not.
    Accepted = 0,
    /// It does not speak this version.
    UnacceptableProtocolVersion = 1,
    /// It does not allow that client identifier.
    IdentifierRejected = 2,
    /// MQTT is not available there.
    ServerUnavailable = 3,
    /// User name or password are malformed or wrong.
    BadUserNameOrPassword = 4,
    /// The client may not connect.
    NotAuthorized = 5,
}

impl ConnectReturnCode {
    /// 0 … 5.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::Accepted,
            1 => Self::UnacceptableProtocolVersion,
            2 => Self::IdentifierRejected,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }
}

/// The return code of a SUBACK for a filter that was refused (§3.9.3).
pub const SUBSCRIPTION_REFUSED: u8 = 0x80;

/// PUBLISH (§3.3) up to its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Perhaps sent before (`[MQTT-3.3.1-1]`).
    pub dup: bool,
    /// How hard delivery is tried.
    pub qos: QoS,
    /// To a server: to be kept for later subscribers (`[MQTT-3.3.1-5]`). To a client: kept from before it subscribed
    /// (`[MQTT-3.3.1-8]`).
    pub retain: bool,
    /// Where; a valid topic name.
    pub topic: &'a str,
    /// There exactly where `qos` is not 0 (`[MQTT-2.3.1-5]`).
    pub id: Option<PacketId>,
    /// Bytes of payload that follow.
    pub payload_len: u32,
}

/// A control packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Client to server, first of all (`[MQTT-3.1.0-1]`).
    Connect(Connect<'a>),
    /// The server's answer, its first packet (`[MQTT-3.2.0-1]`).
    ConnAck {
        /// The server kept a session (§3.2.2.2).
        session_present: bool,
        /// Accepted, or why not.
        code: ConnectReturnCode,
    },
    /// A message; the payload follows.
    Publish(Publish<'a>),
    /// QoS 1: it has arrived.
    PubAck(PacketId),
    /// QoS 2, part 1: it has arrived.
    PubRec(PacketId),
    /// QoS 2, part 2: the identifier may be forgotten.
    PubRel(PacketId),
    /// QoS 2, part 3: it is forgotten.
    PubComp(PacketId),
    /// Client to server: send me these.
    Subscribe {
        /// Answered under this.
        id: PacketId,
        /// With the QoS wanted.
        filters: Filters<'a>,
    },
    /// The answer.
    SubAck {
        /// Of the SUBSCRIBE.
        id: PacketId,
        /// One for each filter: the QoS granted, or [`SUBSCRIPTION_REFUSED`].
        codes: &'a [u8],
    },
    /// Client to server: no more of these.
    Unsubscribe {
        /// Answered under this.
        id: PacketId,
        /// The QoS given with them means nothing.
        filters: Filters<'a>,
    },
    /// The answer.
    UnsubAck(PacketId),
    /// Client to server: still there?
    PingReq,
    /// The answer.
    PingResp,
    /// Client to server: goodbye, and no will.
    Disconnect,
}

/// The filters of a SUBSCRIBE or UNSUBSCRIBE, in wire form, valid. An iterator of (filter, QoS wanted).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filters<'a> {
    bytes: &'a [u8],
    with_qos: bool,
}

impl<'a> Filters<'a> {
    /// From their wire form, of a SUBSCRIBE (`with_qos`) or of an UNSUBSCRIBE. Whatever else the bytes are, iteration
    /// ends where they are no filters.
    #[must_use]
    pub const fn from_parts(bytes: &'a [u8], with_qos: bool) -> Self {
        Self { bytes, with_qos }
    }

    /// Their wire form.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> Iterator for Filters<'a> {
    type Item = (&'a str, QoS);

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = Reader::new(self.bytes);
        let len = reader.u16()?;
        let filter = reader.take(len.into())?;
        let filter = text::string(filter).or_else(|| core::str::from_utf8(filter).ok())?;
        let qos = if self.with_qos { QoS::from_u8(reader.u8()?)? } else { QoS::AtMostOnce };
        self.bytes = reader.rest();
        Some((filter, qos))
    }
}
