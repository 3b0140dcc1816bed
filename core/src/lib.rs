//! **waft**: MQTT 3.1.1, CoAP and signed firmware updates as sans-IO machines.
//!
//! A machine does no I/O. Bytes and the time go in; bytes, events and requests come out. The whole manual:
//! *mutate, drain `poll_output` to `Timeout`, wait for bytes or for the deadline, repeat.* See [`machine`] for the
//! contract that all of them keep, and [`error`] for what can go wrong.
#![no_std]
#![forbid(unsafe_code)]
#![warn(unreachable_pub)]
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects
    )
)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

pub mod arena;
#[cfg(any(feature = "mqtt", feature = "ota"))]
mod crc;
pub mod error;
pub mod machine;
pub mod rng;
pub mod rx;
pub mod storage;
pub mod time;
pub mod timer;
pub mod wire;

pub use error::{Capacity, Code, Error, Misuse};
pub use machine::{Handled, Input, Machine, Output, Peer};
pub use rng::Rng;
pub use rx::RxBuffer;
pub use storage::Storage;
pub use time::{Duration, Instant};

#[cfg(all(feature = "mqtt", feature = "coap", feature = "ota"))]
pub mod agent;
#[cfg(feature = "coap")]
pub mod coap;
#[cfg(all(feature = "coap", feature = "alloc"))]
pub mod gateway;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "ota")]
pub mod ota;
