//! Hosts for waft's MQTT client and broker on plain TCP sockets and threads, and what is asked of a client and a broker
//! that understand each other.
//!
//! `cargo run -p waft-interop -- --broker HOST:PORT --qos N` asks it of our client and any broker; the Python tests run
//! that against mosquitto, RabbitMQ and NATS. `tests/rumqttc.rs` asks it of rumqttc and our broker.

pub mod link;
pub mod scenarios;
pub mod server;

/// What went wrong, in words.
pub type Outcome<T> = Result<T, String>;
