//! A virtual-time network in which machines meet.
//!
//! Nodes are a [`Machine`](waft::Machine) and an [`App`] that makes a program's decisions. The network carries
//! datagrams, with every impairment a [`Link`] names, and streams, which arrive in order however late. Time jumps from
//! one happening to the next, so an hour of retransmissions takes a moment. Every call is made by the contract, and
//! the contract is checked at every call: [`Breach`].
//!
//! Machines are treated unkindly on purpose: streams are cut at random places, buffers are sometimes too small,
//! `handle_timeout` sometimes comes early.

pub mod fetch;
pub mod fleet;
mod link;
mod network;
mod node;
pub mod upload;

pub use link::Link;
pub use network::{Arrival, Arrived, Network};
pub use node::{App, Breach, Context, NodeId, Traffic};
