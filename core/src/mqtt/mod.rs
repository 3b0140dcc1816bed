//! MQTT 3.1.1, client and server side.

#[cfg(feature = "alloc")]
pub mod broker;
pub mod client;
pub mod packet;
pub mod topic;
