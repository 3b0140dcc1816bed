//! **waft**: MQTT 3.1.1, CoAP and signed firmware updates as sans-IO machines.
//!
//! A machine does no I/O. Bytes and the time go in; bytes, events and requests come out. The whole manual:
//! *mutate, drain `poll_output` to `Timeout`, wait for bytes or for the deadline, repeat.*
//!
//! | machine | what it is | feature |
//! | --- | --- | --- |
//! | [`mqtt::client::Client`] | an MQTT 3.1.1 client in a few hundred bytes | `mqtt` |
//! | [`mqtt::broker::Broker`] | the broker | `mqtt`, `alloc` |
//! | [`coap::Endpoint`] | CoAP client and server at once | `coap` |
//! | [`gateway::Gateway`] | serves over CoAP what it fetched once | `coap`, `alloc` |
//! | [`ota::update::Update`] | a signed update, from manifest to confirmed image | `ota` |
//! | [`agent::Agent`] | the device: client, endpoint and update as one | all three |
//!
//! See [`machine`] for the contract that all of them keep, and [`error`] for what can go wrong.
//!
//! # The loop
//!
//! For a stream; with datagrams it is the same without the [`RxBuffer`].
//!
//! ```no_run
//! use std::{io::{self, ErrorKind, Read, Write}, net::TcpStream, time};
//! use waft::{Input, Instant, Machine, Output, Peer, RxBuffer};
//!
//! fn run<M: Machine>(
//!     machine: &mut M,
//!     stream: &mut TcpStream,
//!     mut told: impl FnMut(&mut M, M::Event<'_>),
//! ) -> io::Result<()> {
//!     let epoch = time::Instant::now();
//!     let now = || Instant::from_micros(epoch.elapsed().as_micros() as u64);
//!     let (mut memory, mut out) = ([0; 2048], [0; 2048]);
//!     let mut rx = RxBuffer::new(&mut memory);
//!     loop {
//!         let deadline = loop {
//!             match machine.poll_output(now(), &mut out) {
//!                 Output::Transmit { bytes, .. } => stream.write_all(bytes)?,
//!                 Output::Event(event) => told(machine, event),
//!                 Output::BufferTooSmall { .. } => return Err(ErrorKind::OutOfMemory.into()),
//!                 Output::Timeout(at) => break at,
//!             }
//!         };
//!         let (consumed, moved) = {
//!             let input = Input { peer: Peer(0), bytes: rx.data() };
//!             let handled = machine.handle_input(now(), input).map_err(|e| io::Error::other(e.to_string()))?;
//!             let moved = handled.consumed > 0 || handled.event.is_some();
//!             if let Some(event) = handled.event {
//!                 told(machine, event); // commands may be called while the event is held
//!             }
//!             (handled.consumed, moved)
//!         };
//!         rx.consume(consumed);
//!         if moved {
//!             continue; // there may be more in what has arrived
//!         }
//!         let wait = deadline.map(|at| time::Duration::from_micros(at.since(now()).as_micros().max(1)));
//!         stream.set_read_timeout(wait)?;
//!         match stream.read(rx.space()) {
//!             Ok(0) => return Ok(()),
//!             Ok(n) => rx.filled(n),
//!             Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => machine.handle_timeout(now()),
//!             Err(e) => return Err(e),
//!         }
//!     }
//! }
//! ```
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

pub use error::{Capacity, Code, Error, Fail, Misuse};
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
