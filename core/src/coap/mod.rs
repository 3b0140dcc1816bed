//! CoAP (RFC 7252) with Observe (RFC 7641) and Block-wise transfers (RFC 7959).
//!
//! [`Endpoint`] is the machine: client and server at once over one UDP socket. [`Message`] and [`Encoder`] are its codec,
//! [`Uri`] and [`link_format`] the textual grammars beside it.

pub mod block;
mod client;
mod code;
mod conditional;
mod config;
pub mod congestion;
mod control;
mod echo;
mod endpoint;
mod event;
mod exchange;
mod flight;
mod ids;
pub mod link_format;
mod message;
mod multicast;
mod observe;
pub mod option;
mod outline;
mod probing;
#[cfg(feature = "alloc")]
pub mod proxy;
pub mod raw;
mod secret;
mod seen;
mod server;
mod text;
mod ticks;
mod upload;
mod uri;

pub use block::Block;
pub use code::Code;
pub use conditional::Condition;
pub use config::{Config, Memory, Resources, Stats};
pub use congestion::{Path, Policy};
pub use endpoint::Endpoint;
pub use event::{Body, ETag, Event, Exchange, Failure, Flow, Reply, Request, RequestId, Resource};
pub use exchange::Transfer;
pub use flight::Flight;
pub use message::{Encoder, Message, Token, Type};
pub use observe::Observer;
pub use option::{Opt, Options};
pub use seen::Seen;
#[cfg(feature = "alloc")]
pub(crate) use uri::is_segment_char;
pub use uri::{Escaped, Scheme, Uri, compose, resolve, split_target};

crate::error::numbered! {
    /// How a datagram can be no CoAP message. An [`Endpoint`] never returns these: it drops such datagrams, answers
    /// where the standard says so, and counts them.
    Violation {
        /// shorter than the four bytes of a header
        Truncated = -84,
        /// not version 1 of CoAP; silently ignored (RFC 7252 §3)
        Version = -85,
        /// the token is longer than eight bytes (RFC 7252 §3) or than the message; so the longer ones of RFC 8974 are not
        /// taken, which is what its §2.2.2 lets a client find out
        TokenLength = -86,
        /// an empty message with something behind its header (RFC 7252 §4.1)
        EmptyMessage = -87,
        /// a code of a reserved class, or one that this type of message cannot have (RFC 7252 §3, §4.3)
        CodeClass = -88,
        /// an option's delta is reserved, cut off, or leads past 65535 (RFC 7252 §3.1)
        OptionDelta = -89,
        /// an option's length is reserved, cut off, or past the end of the message (RFC 7252 §3.1)
        OptionLength = -90,
        /// a payload marker with nothing behind it (RFC 7252 §3)
        EmptyPayload = -91,
    }
}

#[cfg(test)]
mod tests;
