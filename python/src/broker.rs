//! `waft.mqtt.Broker`.

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::sync::Arc;
use waft::mqtt::ConnectReturnCode;
use waft::mqtt::broker::{self, Acl, BrokerConfig, Event, User};
use waft::{Duration, Input, Peer};

use crate::bridge::{Object, Scratch, at, bytes, handled, make, output};
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
        Event::Authenticate { peer: Peer(peer), client_id, username, password } => {
            let password = password.map(|password| bytes(py, &password.0).unbind());
            make!(py, "waft.mqtt", "Authenticate", (peer, &*client_id, username.as_deref(), password))
        }
        Event::Record { bytes: data } => make!(py, "waft.mqtt", "Record", (bytes(py, &data),)),
        _ => Err(PyValueError::new_err("an event that this version of waft does not know")),
    }
}

fn table(text: &str) -> PyResult<Arc<Acl>> {
    Acl::parse(text).map(Arc::new).map_err(|e| PyValueError::new_err(e.to_string()))
}

/// An MQTT 3.1.1 broker for any number of connections: retained messages, persistent sessions, wills, QoS 0, 1 and 2.
#[pyclass(module = "waft.mqtt")]
pub(crate) struct Broker {
    machine: broker::Broker,
    scratch: Scratch,
}

#[pymethods]
impl Broker {
    /// `users` maps names to passwords; nobody but they may connect. Empty: anybody. `ask_host`: `Authenticate` events
    /// ask for `allow()` or `deny()`. `acl`: who may publish and subscribe to what, as mosquitto's `acl_file` has it.
    /// `persistent`: `Record` events are to be kept, see `restore()`. Times are microseconds.
    ///
    /// Where MQTT 3.1.1 leaves room: an acknowledgement whose identifier is unknown is no violation (PUBACK and PUBCOMP
    /// are ignored, PUBREC is answered by PUBREL, PUBREL by PUBCOMP), one that is not the next step of its message is.
    /// The same filter twice in one SUBSCRIBE sends retained messages for each; the last QoS counts. Overlapping
    /// subscriptions get one copy, of the highest QoS. What a client may not publish, below `$` too, is acknowledged
    /// and goes nowhere.
    ///
    /// What happens at a bound: `accept()` refuses a connection (`max_connections`). CONNECT is answered by return
    /// code 3 (`max_sessions`) or 2 (`max_client_id`). SUBACK refuses (`max_subscriptions`, `max_subscription_bytes`,
    /// `max_levels`) or grants less (`max_qos`). The connection is closed (`max_connect`: remaining length of CONNECT;
    /// `max_packet`: of others, of a PUBLISH without its payload; `max_payload`; `max_inbound`: messages of QoS 2 not
    /// released; `max_retained`, `max_retained_bytes` at QoS 1 and 2). Messages wait (`max_in_flight`) or are dropped
    /// for a session (`max_queued`, `max_queued_bytes`). Nothing more is taken from a client that does not read its
    /// answers (`max_backlog`), or from anybody (`max_unrecorded`: bytes that wait for `recorded()`).
    #[new]
    #[pyo3(signature = (*, seed=0, users=Vec::new(), ask_host=false, acl=None, persistent=false, max_connections=1024, max_sessions=4096, max_connect=16_384, max_packet=131_072, max_payload=1_048_576, max_client_id=1024, max_subscriptions=1024, max_subscription_bytes=131_072, max_levels=128, max_in_flight=20, max_inbound=1024, max_queued=1000, max_queued_bytes=16_777_216, max_retained=65_536, max_retained_bytes=67_108_864, max_backlog=16_384, max_unrecorded=16_777_216, max_qos=2, connect_timeout=10_000_000, session_expiry=None, sys_interval=None))]
    #[allow(clippy::too_many_arguments, reason = "keywords")]
    fn new(
        py: Python<'_>,
        seed: u64,
        users: Vec<(String, Vec<u8>)>,
        ask_host: bool,
        acl: Option<&str>,
        persistent: bool,
        max_connections: usize,
        max_sessions: usize,
        max_connect: u32,
        max_packet: u32,
        max_payload: u32,
        max_client_id: usize,
        max_subscriptions: usize,
        max_subscription_bytes: usize,
        max_levels: usize,
        max_in_flight: usize,
        max_inbound: usize,
        max_queued: usize,
        max_queued_bytes: usize,
        max_retained: usize,
        max_retained_bytes: usize,
        max_backlog: usize,
        max_unrecorded: usize,
        max_qos: u8,
        connect_timeout: u64,
        session_expiry: Option<u64>,
        sys_interval: Option<u64>,
    ) -> PyResult<Self> {
        let config = BrokerConfig {
            users: users.into_iter().map(|(name, password)| User { name, password }).collect(),
            ask_host,
            acl: acl.map(table).transpose()?,
            persistent,
            max_connections,
            max_sessions,
            max_connect,
            max_packet,
            max_payload,
            max_client_id,
            max_subscriptions,
            max_subscription_bytes,
            max_levels,
            max_in_flight,
            max_inbound,
            max_queued,
            max_queued_bytes,
            max_retained,
            max_retained_bytes,
            max_backlog,
            max_unrecorded,
            max_qos: qos(py, max_qos)?,
            connect_timeout: Duration::from_micros(connect_timeout),
            session_expiry: session_expiry.map(Duration::from_micros),
            sys_interval: sys_interval.map(Duration::from_micros),
        };
        Ok(Self { machine: broker::Broker::new(config, seed), scratch: Scratch::default() })
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

    /// Lets in the client of an `Authenticate`; `acl` instead of the broker's own. Offer its bytes again.
    #[pyo3(signature = (now, peer, acl=None))]
    fn allow(&mut self, py: Python<'_>, now: u64, peer: u32, acl: Option<&str>) -> PyResult<()> {
        let acl = acl.map(table).transpose()?;
        self.machine.allow(at(now), Peer(peer), acl).map_err(|e| errors::any(py, &e))
    }

    /// Refuses the client of an `Authenticate` by a return code, 1 to 5 (MQTT 3.1.1 §3.2.2.3).
    #[pyo3(signature = (now, peer, code=5))]
    fn deny(&mut self, py: Python<'_>, now: u64, peer: u32, code: u8) -> PyResult<()> {
        let code = ConnectReturnCode::from_u8(code).unwrap_or(ConnectReturnCode::Accepted);
        self.machine.deny(at(now), Peer(peer), code).map_err(|e| errors::any(py, &e))
    }

    /// Takes up the bytes that were recorded, none for a first start: (sessions, retained, torn bytes at the end).
    fn restore(&mut self, py: Python<'_>, now: u64, data: &[u8]) -> PyResult<(usize, usize, usize)> {
        let found = self.machine.restore(at(now), data).map_err(|e| errors::any(py, &e))?;
        Ok((found.sessions, found.retained, found.torn))
    }

    /// The pieces of a file that takes the place of all that was recorded; `recorded()` when it has.
    fn compact(&mut self, py: Python<'_>) -> PyResult<Vec<Py<PyBytes>>> {
        let pieces = self.machine.compact().map_err(|e| errors::any(py, &e))?;
        Ok(pieces.iter().map(|piece| bytes(py, piece).unbind()).collect())
    }

    /// The bytes of the last `Record` or of `compact()` are durable. Offer everybody's bytes again.
    fn recorded(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.recorded(at(now)).map_err(|e| errors::any(py, &e))
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

    /// Its bounds, by their names; those of time in microseconds, None for none.
    #[getter]
    fn bounds<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (c, all) = (self.machine.config(), PyDict::new(py));
        for (name, bound) in [
            ("max_connections", c.max_connections),
            ("max_sessions", c.max_sessions),
            ("max_client_id", c.max_client_id),
            ("max_subscriptions", c.max_subscriptions),
            ("max_subscription_bytes", c.max_subscription_bytes),
            ("max_levels", c.max_levels),
            ("max_in_flight", c.max_in_flight),
            ("max_inbound", c.max_inbound),
            ("max_queued", c.max_queued),
            ("max_queued_bytes", c.max_queued_bytes),
            ("max_retained", c.max_retained),
            ("max_retained_bytes", c.max_retained_bytes),
            ("max_backlog", c.max_backlog),
            ("max_unrecorded", c.max_unrecorded),
        ] {
            all.set_item(name, bound)?;
        }
        for (name, bound) in
            [("max_connect", c.max_connect), ("max_packet", c.max_packet), ("max_payload", c.max_payload)]
        {
            all.set_item(name, bound)?;
        }
        all.set_item("max_qos", c.max_qos as u8)?;
        all.set_item("connect_timeout", c.connect_timeout.as_micros())?;
        all.set_item("session_expiry", c.session_expiry.map(Duration::as_micros))?;
        all.set_item("sys_interval", c.sys_interval.map(Duration::as_micros))?;
        Ok(all)
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
                s.denied,
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
