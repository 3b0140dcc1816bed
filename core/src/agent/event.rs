//! What an agent asks and tells.

use crate::{Peer, mqtt::packet::ConnectReturnCode, ota};

/// A connection that the host keeps for the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Link {
    /// The TCP stream to the MQTT broker.
    Broker = 0,
    /// The UDP peer that is the gateway.
    Gateway = 1,
    /// The UDP peer that a manifest's `coap://` URI names.
    Server = 2,
}

impl Link {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Broker, Self::Gateway, Self::Server];
}

/// What an agent asks of its host or tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'e> {
    /// Open this link and answer [`opened`](super::Agent::opened), or [`closed`](super::Agent::closed) if that fails.
    Open {
        /// Which.
        link: Link,
        /// A name or an address; stands at the start of the output buffer.
        host: &'e str,
        /// A port.
        port: u16,
    },
    /// Close this link: the agent is done with it. No answer.
    Close {
        /// Which.
        link: Link,
        /// The handle it was opened under.
        peer: Peer,
    },
    /// The broker refuses the connection; the agent tries again later.
    Refused(ConnectReturnCode),
    /// A request for flash, answered by [`done`](super::Agent::done), [`loaded`](super::Agent::loaded) or
    /// [`failed`](super::Agent::failed); or news of the update.
    Update(ota::event::Event<'e>),
}
