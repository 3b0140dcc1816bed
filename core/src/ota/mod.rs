//! Signed firmware updates: the manifest, its author and its verifier, and the machine that takes a device through one.

#[cfg(feature = "author")]
pub mod author;
pub mod boot;
mod cbor;
pub mod chunks;
pub mod cose;
pub mod digest;
pub mod event;
pub mod journal;
pub mod keys;
pub mod manifest;
pub mod policy;
pub mod refusal;
pub mod report;
pub mod reporter;
pub mod secret;
pub mod update;
