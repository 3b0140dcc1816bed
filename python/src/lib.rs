//! The private module `waft._native`: the machines of `waft` as Python classes with the same verbs.
//!
//! Nothing here panics and nothing here does I/O. Events and exceptions are written in Python (`waft.mqtt`, `waft.ota`,
//! …, `waft._errors`), so that they are typed, printable and comparable without stubs of their own.
#![forbid(unsafe_code)]

mod agent;
mod bridge;
mod broker;
mod coap;
mod errors;
mod events;
mod gateway;
mod keep;
mod links;
mod manifest;
mod message;
mod mqtt;
mod ota;
mod uris;

use pyo3::prelude::*;

/// The machines of waft; use them through `waft`, `waft.mqtt`, `waft.coap` and `waft.ota`.
#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::agent::Agent;
    #[pymodule_export]
    use crate::broker::Broker;
    #[pymodule_export]
    use crate::coap::{Endpoint, Proxy, ProxyForward, RequestId, condition};
    #[pymodule_export]
    use crate::errors::error_table;
    #[pymodule_export]
    use crate::events::machine::{BufferTooSmall, Handled, HandledAll, Timeout, Transmit};
    #[pymodule_export]
    use crate::events::mqtt::{
        Acknowledged, Closed, Connected, Payload, PayloadWanted, Publish, Refused, Skipped, Subscribed, Unsubscribed,
    };
    #[pymodule_export]
    use crate::gateway::Gateway;
    #[pymodule_export]
    use crate::links::{read_links, write_links};
    #[pymodule_export]
    use crate::manifest::{
        SecretKey, apply_keys, check_chunk, chunk_list, encode_keys, encode_report, inspect, key_id, open_report,
        open1, read_keys, read_report, refusal_table, sign1, verify, verify_signature, walk,
    };
    #[pymodule_export]
    use crate::message::{Message, decode_message};
    #[pymodule_export]
    use crate::mqtt::{Client, Journal, decode_packet, topic_matches};
    #[pymodule_export]
    use crate::ota::{Update, boot, boot_status_len, boot_swap, choose_model};
    #[pymodule_export]
    use crate::uris::{compose_uri, parse_uri, resolve_uri};

    #[pymodule_init]
    fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
        m.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
