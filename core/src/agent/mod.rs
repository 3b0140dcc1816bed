//! The device: MQTT client, CoAP endpoint and update as one machine, for all three delivery models.
//!
//! The host opens what [`Event::Open`] asks for, carries bytes, does what flash requests ask, and reboots when
//! [`ota::event::Event::Activate`](crate::ota::event::Event) is done. The agent chooses the model (policy, the manifest's
//! URI, the links there are), fetches only what is missing, and tries again for as long as it takes.

mod config;
mod device;
mod event;
mod fetch;
mod input;
mod links;
mod plan;
pub mod topic;

pub use config::{Address, Config, Resources};
pub use device::{Agent, Stats};
pub use event::{Event, Link};
