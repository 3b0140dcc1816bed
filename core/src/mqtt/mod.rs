//! MQTT 3.1.1, client and server side.
//!
//! Citations like `[MQTT-x.y.z-n]` and `§4.6` are of the OASIS Standard *MQTT Version 3.1.1*, 29 October 2014. Nothing
//! outside of it is needed to talk to anybody (`[MQTT-7.0.0-2]`).

#[cfg(feature = "alloc")]
pub mod broker;
mod checked;
pub mod client;
pub mod packet;
mod text;
pub mod topic;

pub use packet::{Connect, ConnectReturnCode, Packet, PacketId, Publish, QoS, Violation, Will};

/// What a command or input of the MQTT machines is refused with.
pub type Error = crate::Error<Violation>;

impl From<crate::Fail> for Error {
    #[cold]
    fn from(fail: crate::Fail) -> Self {
        let code = fail.code();
        if let Some(misuse) = crate::Misuse::from_code(code) {
            return Self::Misuse(misuse);
        }
        match (crate::Capacity::from_code(code), Violation::from_code(code)) {
            (Some(capacity), _) => Self::Capacity(capacity),
            // Only what has a number of one of these three becomes a `Fail` here.
            (None, violation) => Self::Peer(violation.unwrap_or(Violation::UnexpectedPacket)),
        }
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Peer(violation)
    }
}
