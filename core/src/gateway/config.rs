//! A gateway's bounds, and what it asks and tells.

use alloc::string::String;

use crate::{Peer, coap::Resources};

/// Bounds of a [`Gateway`](super::Gateway).
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Resources kept at once. Default 256.
    pub max_entries: usize,
    /// Bytes of all resources together. Default 64 MiB.
    pub max_bytes: usize,
    /// Requests that wait for a provider at once; more are answered 5.03. Default 1,024.
    pub max_waiting: usize,
    /// Mounts. Default 64.
    pub max_mounts: usize,
    /// Observations kept at once. Default 4,096.
    pub observers: usize,
    /// Bytes that may go within four minutes to addresses that have not shown that they are there, as
    /// [`coap::Config::unproven`](crate::coap::Config::unproven): what an attacker can make of it, and what clients that do
    /// not know Echo (RFC 9175) have together. Default 64 MiB.
    pub unproven: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_entries: 256,
            max_bytes: 64 << 20,
            max_waiting: 1024,
            max_mounts: 64,
            observers: 4096,
            unproven: 64 << 20,
        }
    }
}

impl Config {
    /// Memory for the endpoint. Responses are kept for as long as the tables have room; transfers need none.
    pub(super) fn resources(&self) -> Resources<'static> {
        Resources::owned(512 << 10, 1, 512, 4096, self.observers)
    }
}

/// What a gateway asks and tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'e> {
    /// Get `url` and answer [`put`](super::Gateway::put) or [`failed`](super::Gateway::failed) for `path`. It is asked
    /// for once, however many wait.
    Fetch {
        /// Where it will be served.
        path: String,
        /// Where it is to be had.
        url: String,
    },
    /// A device reports.
    Report {
        /// The device.
        peer: Peer,
        /// `/<class>/<device>/report`.
        path: String,
        /// A [report](crate::ota::report).
        payload: &'e [u8],
    },
}

/// What a gateway counts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Requests taken in.
    pub requests: u64,
    /// Requests served from memory.
    pub hits: u64,
    /// Resources asked of a provider.
    pub fetches: u64,
    /// Notifications sent, counted by observer.
    pub notifications: u32,
    /// Datagrams sent.
    pub sent: u64,
}
