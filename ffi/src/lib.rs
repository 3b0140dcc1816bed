//! waft for C: the machines of the crate `waft` behind a header.
//!
//! This is the only crate with `unsafe`. What it may do is little: turn a handle that C gave into a reference (after
//! the checks of `handle`), turn a pointer and a length into a slice, and write a result through a pointer. The rules
//! that C keeps in return stand at the top of `waft.h`, whose text is `cbindgen.toml`'s and the doc comments here.
#![no_std]
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::arithmetic_side_effects))]
// A C function's safety is told in C's words, in the header.
#![allow(clippy::missing_safety_doc)]

#[cfg(any(test, feature = "std"))]
extern crate std;

pub mod agent;
#[cfg(feature = "std")]
pub mod author;
pub mod boot;
#[cfg(feature = "std")]
pub mod broker;
pub mod coap;
pub mod error;
#[cfg(feature = "std")]
pub mod gateway;
mod handle;
pub mod keys;
pub mod manifest;
pub mod mqtt;
pub mod policy;
#[cfg(feature = "std")]
pub mod proxy;
pub mod reporter;
pub mod types;
pub mod update;

#[cfg(all(feature = "panic-handler", not(feature = "std")))]
mod panic;
