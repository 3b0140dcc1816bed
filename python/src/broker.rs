//! `waft.mqtt.Broker`.

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use waft::mqtt::broker::{self, BrokerConfig, Event, User};
use waft::{Duration, Input, Peer};

use crate::bridge::{Object, Scratch, at, handled, make, output};
use crate::errors;
use crate::mqtt::qos;

fn event(py: Python<'_>, event: Event) -> PyResult<Object> {
    match event {
        Event::Connected { peer: Peer(peer), client_id, session_present } => {
            make!(py, "waft.mqtt", "ClientConnected", (peer, &*client_id, session_present))
        }
        Event::Close { peer: Peer(peer), reason } => {
            make!(py, "waft.mqtt", "CloseConnection", (peer, reason.name(), reason.code()))
        }
        _ => Err(PyValueError::new_err("an event that this version of waft does not know")),
    }
}

/// An MQTT 3.1.1 broker for any number of connections: retained messages, persistent sessions, wills, QoS 0, 1 and 2.
#[pyclass(module = "waft.mqtt")]
pub(crate) struct Broker {
    machine: broker::Broker,
    scratch: Scratch,
}

#[pymethods]
impl Broker {
    /// `users` maps names to passwords; nobody but they may connect. Empty: anybody.
    #[new]
    #[pyo3(signature = (*, seed=0, users=Vec::new(), max_connections=1024, max_payload=1_048_576, max_queued=1000, max_retained=65_536, max_retained_bytes=67_108_864, sys_interval=None))]
    #[allow(clippy::too_many_arguments, reason = "keywords")]
    fn new(
        seed: u64,
        users: Vec<(String, Vec<u8>)>,
        max_connections: usize,
        max_payload: u32,
        max_queued: usize,
        max_retained: usize,
        max_retained_bytes: usize,
        sys_interval: Option<u64>,
    ) -> Self {
        let config = BrokerConfig {
            users: users.into_iter().map(|(name, password)| User { name, password }).collect(),
            max_connections,
            max_payload,
            max_queued,
            max_retained,
            max_retained_bytes,
            sys_interval: sys_interval.map(Duration::from_micros),
            ..BrokerConfig::default()
        };
        Self { machine: broker::Broker::new(config, seed), scratch: Scratch::default() }
    }

    /// A connection was accepted; `peer` stands for it.
    fn accept(&mut self, py: Python<'_>, now: u64, peer: u32) -> PyResult<()> {
        self.machine.accept(at(now), Peer(peer)).map_err(|e| errors::any(py, &e))
    }

    /// A connection is gone.
    fn connection_lost(&mut self, now: u64, peer: u32) {
        self.machine.connection_lost(at(now), Peer(peer));
    }

    /// Ends a connection from this side.
    fn disconnect(&mut self, py: Python<'_>, now: u64, peer: u32) -> PyResult<()> {
        self.machine.disconnect(at(now), Peer(peer)).map_err(|e| errors::any(py, &e))
    }

    /// This peer's stream takes no more for now.
    fn pause(&mut self, peer: u32) {
        self.machine.pause(Peer(peer));
    }

    /// This peer's stream takes bytes again.
    fn resume(&mut self, peer: u32) {
        self.machine.resume(Peer(peer));
    }

    /// The host publishes; gives to how many sessions it went.
    #[pyo3(signature = (now, topic, payload, qos=0, retain=false))]
    fn publish(
        &mut self,
        py: Python<'_>,
        now: u64,
        topic: &str,
        payload: &[u8],
        qos: u8,
        retain: bool,
    ) -> PyResult<usize> {
        let qos = self::qos(py, qos)?;
        self.machine
            .publish(at(now), topic, Bytes::copy_from_slice(payload), qos, retain)
            .map_err(|e| errors::any(py, &e))
    }

    /// The retained messages whose topics match: [(topic, payload, qos), …].
    fn retained(&self, filter: &str) -> Vec<(String, Vec<u8>, u8)> {
        let owned = |m: broker::RetainedMessage<'_>| (m.topic.to_owned(), m.payload.to_vec(), m.qos as u8);
        self.machine.retained(filter).map(owned).collect()
    }

    /// What it holds and has done.
    #[getter]
    fn stats(&self, py: Python<'_>) -> PyResult<Object> {
        let s = self.machine.stats();
        make!(
            py,
            "waft.mqtt",
            "BrokerStats",
            (
                s.connections,
                s.connected,
                s.sessions,
                s.subscriptions,
                s.retained,
                s.retained_bytes,
                s.queued,
                s.queued_bytes,
                s.received,
                s.sent,
                s.dropped,
            )
        )
    }

    /// Takes in what has come of a connection and was not consumed yet.
    fn handle_input(&mut self, py: Python<'_>, now: u64, peer: u32, data: &[u8]) -> PyResult<Object> {
        let done = self.machine.handle_input(at(now), Input { peer: Peer(peer), bytes: data });
        let done = done.map_err(|e| errors::any(py, &e))?;
        let told = done.event.map(|e| event(py, e)).transpose()?;
        handled(py, done.consumed, done.needed, told)
    }

    /// Lets time-outs happen.
    fn handle_timeout(&mut self, now: u64) {
        self.machine.handle_timeout(at(now));
    }

    /// The next bytes to be sent or the next event; `Timeout` last.
    #[pyo3(signature = (now, max=65536))]
    fn poll_output(&mut self, py: Python<'_>, now: u64, max: usize) -> PyResult<Object> {
        output(py, self.machine.poll_output(at(now), self.scratch.of(max)), |e| event(py, e))
    }

    /// When to call `handle_timeout` at the latest, in microseconds.
    fn next_timeout(&self) -> Option<u64> {
        self.machine.next_timeout().map(waft::Instant::as_micros)
    }

    fn __repr__(&self) -> String {
        let s = self.machine.stats();
        format!("<waft.mqtt.Broker {} connected, {} sessions, {} retained>", s.connected, s.sessions, s.retained)
    }
}
