//! `waft.mqtt`: the client.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use waft::mqtt::client::{self, CloseReason, InFlight, State, session};
use waft::mqtt::packet::{
    Connect, ConnectReturnCode, Decoded, Packet, PacketId, Publish, QoS, Violation, Will, decode,
};
use waft::{Input, Misuse, Peer, Storage};

use crate::bridge::{Object, Scratch, at, bytes, handled, make, object, output};
use crate::errors::{self, Named};
use crate::events::machine::HandledAll;
use crate::events::mqtt as events;

impl Named for Violation {
    const CLASS: &'static str = "PeerError";

    fn name(&self) -> &'static str {
        Violation::name(*self)
    }
}

pub(crate) fn qos(py: Python<'_>, n: u8) -> PyResult<QoS> {
    QoS::from_u8(n).ok_or_else(|| errors::misuse(py, Misuse::OutOfRange))
}

fn packet_id(py: Python<'_>, n: u16) -> PyResult<PacketId> {
    PacketId::new(n).ok_or_else(|| errors::misuse(py, Misuse::UnknownId))
}

pub(crate) const fn return_code(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::Accepted => "accepted",
        ConnectReturnCode::UnacceptableProtocolVersion => "unacceptable protocol version",
        ConnectReturnCode::IdentifierRejected => "identifier rejected",
        ConnectReturnCode::ServerUnavailable => "server unavailable",
        ConnectReturnCode::BadUserNameOrPassword => "bad user name or password",
        ConnectReturnCode::NotAuthorized => "not authorized",
    }
}

/// A will as Python gives it.
#[derive(FromPyObject)]
pub(crate) struct PyWill {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
}

fn event(py: Python<'_>, event: client::Event<'_>) -> PyResult<Object> {
    use client::Event as E;
    let text = |s: &str| PyString::new(py, s).unbind();
    match event {
        E::Publish(p) => object(
            py,
            events::Publish {
                topic: text(p.topic),
                payload_len: p.payload_len,
                qos: p.qos as u8,
                retain: p.retain,
                dup: p.dup,
                id: p.id.map(PacketId::get),
            },
        ),
        E::Payload { bytes: data, last } => object(py, events::Payload { data: bytes(py, data).unbind(), last }),
        E::Connected { session_present } => object(py, events::Connected { session_present }),
        E::Refused { code } => object(py, events::Refused { code: code as u8, name: text(return_code(code)) }),
        E::Skipped { topic_len, payload_len } => object(py, events::Skipped { topic_len, payload_len }),
        E::Acknowledged { id } => object(py, events::Acknowledged { id: id.get() }),
        E::Subscribed { id, codes } => {
            object(py, events::Subscribed { id: id.get(), codes: bytes(py, codes).unbind() })
        }
        E::Unsubscribed { id } => object(py, events::Unsubscribed { id: id.get() }),
        E::PayloadWanted { id, offset, len } => {
            object(py, events::PayloadWanted { id: id.map(PacketId::get), offset, len })
        }
        E::Closed { reason } => {
            let why = match reason {
                CloseReason::Requested => "requested",
                CloseReason::ConnectTimeout => "no answer to CONNECT",
                CloseReason::KeepAlive => "no answer to PINGREQ",
                CloseReason::Overflow => "more messages at once than the table holds",
            };
            object(py, events::Closed { reason: text(why) })
        }
    }
}

/// An MQTT 3.1.1 client: one connection to one server, and the session that outlives it.
#[pyclass(module = "waft.mqtt")]
pub(crate) struct Client {
    machine: client::Client<'static>,
    scratch: Scratch,
    /// What the server did wrong after the events that `handle_all` gave: raised by the next call that takes input.
    wrong: Option<waft::mqtt::Error>,
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (*, manual_ack=false, max_packet=65535, max_payload=268_435_455, window=4096, arena=65536, in_flight=32, answer_timeout=10_000_000))]
    fn new(
        manual_ack: bool,
        max_packet: u16,
        max_payload: u32,
        window: u16,
        arena: usize,
        in_flight: usize,
        answer_timeout: u64,
    ) -> Self {
        let config = client::Config {
            manual_ack,
            max_packet,
            max_payload,
            window,
            answer_timeout: waft::Duration::from_micros(answer_timeout),
            ..client::Config::default()
        };
        let table = Storage::Owned(vec![InFlight::EMPTY; in_flight]);
        Self {
            machine: client::Client::new(config, Storage::owned(arena), table),
            scratch: Scratch::default(),
            wrong: None,
        }
    }

    /// The stream is open and `peer` stands for it: queues CONNECT.
    #[pyo3(signature = (now, peer, client_id, *, clean_session=true, keep_alive=60, will=None, username=None, password=None))]
    #[allow(clippy::too_many_arguments, reason = "the fields of CONNECT, by name")]
    fn connect(
        &mut self,
        py: Python<'_>,
        now: u64,
        peer: u32,
        client_id: &str,
        clean_session: bool,
        keep_alive: u16,
        will: Option<PyWill>,
        username: Option<&str>,
        password: Option<&[u8]>,
    ) -> PyResult<()> {
        let will = match &will {
            Some(w) => Some(Will { topic: &w.topic, payload: &w.payload, qos: qos(py, w.qos)?, retain: w.retain }),
            None => None,
        };
        let connect = Connect { client_id, clean_session, keep_alive, will, username, password };
        self.wrong = None;
        self.machine.connect(at(now), Peer(peer), &connect).map_err(|e| errors::any(py, &e))
    }

    /// The stream is closed.
    fn connection_lost(&mut self, now: u64) {
        self.wrong = None;
        self.machine.connection_lost(at(now));
    }

    /// Queues DISCONNECT.
    fn disconnect(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.disconnect(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// Queues a message; gives its packet identifier at QoS 1 and 2.
    #[pyo3(signature = (now, topic, payload, qos=0, retain=false))]
    fn publish(
        &mut self,
        py: Python<'_>,
        now: u64,
        topic: &str,
        payload: &[u8],
        qos: u8,
        retain: bool,
    ) -> PyResult<Option<u16>> {
        let qos = self::qos(py, qos)?;
        let id = self.machine.publish(at(now), topic, payload, qos, retain).map_err(|e| errors::any(py, &e))?;
        Ok(id.map(PacketId::get))
    }

    /// Queues a message of `len` bytes that are asked for by `PayloadWanted`.
    #[pyo3(signature = (now, topic, len, qos=0, retain=false))]
    fn publish_streamed(
        &mut self,
        py: Python<'_>,
        now: u64,
        topic: &str,
        len: u32,
        qos: u8,
        retain: bool,
    ) -> PyResult<Option<u16>> {
        let qos = self::qos(py, qos)?;
        let id = self.machine.publish_streamed(at(now), topic, len, qos, retain).map_err(|e| errors::any(py, &e))?;
        Ok(id.map(PacketId::get))
    }

    /// The bytes that `PayloadWanted` asked for; gives how many were taken.
    fn payload(&mut self, py: Python<'_>, now: u64, data: &[u8]) -> PyResult<usize> {
        self.machine.payload(at(now), data).map_err(|e| errors::any(py, &e))
    }

    /// Queues SUBSCRIBE for `[(filter, qos), …]`; gives its packet identifier.
    fn subscribe(&mut self, py: Python<'_>, now: u64, filters: Vec<(String, u8)>) -> PyResult<u16> {
        let mut wanted = Vec::with_capacity(filters.len());
        for (filter, n) in &filters {
            wanted.push((filter.as_str(), qos(py, *n)?));
        }
        self.machine.subscribe(at(now), &wanted).map(PacketId::get).map_err(|e| errors::any(py, &e))
    }

    /// Queues UNSUBSCRIBE; gives its packet identifier.
    fn unsubscribe(&mut self, py: Python<'_>, now: u64, filters: Vec<String>) -> PyResult<u16> {
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        self.machine.unsubscribe(at(now), &filters).map(PacketId::get).map_err(|e| errors::any(py, &e))
    }

    /// With `manual_ack`: the message is safe here.
    fn acknowledge(&mut self, py: Python<'_>, now: u64, id: u16) -> PyResult<()> {
        let id = packet_id(py, id)?;
        self.machine.acknowledge(at(now), id).map_err(|e| errors::any(py, &e))
    }

    /// The message that is being received is not wanted: the rest of it is passed over, then it is acknowledged.
    fn refuse(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.refuse(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// The session as bytes, with a note of the caller's in them: what is to be kept over a reboot.
    #[pyo3(signature = (note=None, *, sequence=0))]
    fn export<'py>(&self, py: Python<'py>, note: Option<&[u8]>, sequence: u32) -> PyResult<Bound<'py, PyBytes>> {
        let note = note.unwrap_or_default();
        let mut record = vec![0; self.machine.export_len(note.len())];
        self.machine.export(sequence, note, &mut record).map_err(|e| errors::any(py, &e))?;
        Ok(bytes(py, &record))
    }

    /// Whether `record` holds the session as it is now.
    fn is_exported_in(&self, record: &[u8]) -> bool {
        self.machine.is_exported_in(record)
    }

    /// Goes on with the session that `export` gave; gives the note in it.
    fn import_<'py>(&mut self, py: Python<'py>, record: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let record = self.machine.import(record).map_err(|e| errors::any(py, &e))?;
        Ok(bytes(py, record.note))
    }

    /// Bytes still to come of the message that is being received.
    #[getter]
    fn payload_left(&self) -> u32 {
        self.machine.payload_left()
    }

    /// Places taken in the table: messages, subscriptions and handshakes that are not finished.
    #[getter]
    fn in_flight(&self) -> usize {
        self.machine.in_flight()
    }

    /// Whether the server has accepted and nothing has ended the connection since.
    #[getter]
    fn is_connected(&self) -> bool {
        self.machine.is_connected()
    }

    /// "closed", "connecting", "connected" or "disconnecting".
    #[getter]
    fn state(&self) -> &'static str {
        match self.machine.state() {
            State::Closed => "closed",
            State::Connecting => "connecting",
            State::Connected => "connected",
            State::Disconnecting => "disconnecting",
        }
    }

    /// Takes in what has come of the stream and was not consumed yet.
    fn handle_input(&mut self, py: Python<'_>, now: u64, peer: u32, data: &[u8]) -> PyResult<Object> {
        if let Some(e) = self.wrong.take() {
            return Err(errors::any(py, &e));
        }
        let done = self.machine.handle_input(at(now), Input { peer: Peer(peer), bytes: data });
        let done = done.map_err(|e| errors::any(py, &e))?;
        let told = done.event.map(|e| event(py, e)).transpose()?;
        handled(py, done.consumed, done.needed, told)
    }

    /// `handle_input` again and again, until it takes no more: `HandledAll`, with every event in order. What the server
    /// did wrong after an event is raised by the next call.
    fn handle_all(&mut self, py: Python<'_>, now: u64, peer: u32, data: &[u8]) -> PyResult<Object> {
        if let Some(e) = self.wrong.take() {
            return Err(errors::any(py, &e));
        }
        let (mut consumed, mut needed) = (0, 0);
        let told = PyList::empty(py);
        while let Some(bytes) = data.get(consumed..).filter(|rest| !rest.is_empty()) {
            match self.machine.handle_input(at(now), Input { peer: Peer(peer), bytes }) {
                Ok(done) => {
                    (consumed, needed) = (consumed.saturating_add(done.consumed), done.needed);
                    match done.event {
                        Some(e) => told.append(event(py, e)?)?,
                        None if done.consumed == 0 => break,
                        None => {}
                    }
                }
                Err(e) if told.is_empty() => return Err(errors::any(py, &e)),
                Err(e) => {
                    // Anything else it says again.
                    self.wrong = matches!(e, waft::Error::Peer(_)).then_some(e);
                    break;
                }
            }
        }
        object(py, HandledAll { consumed, needed, events: told.into_any().unbind() })
    }

    /// Lets time-outs happen.
    fn handle_timeout(&mut self, now: u64) {
        self.machine.handle_timeout(at(now));
    }

    /// The next thing to send or to tell: `Transmit`, an event, `BufferTooSmall`, or `Timeout` last.
    #[pyo3(signature = (now, max=65536))]
    fn poll_output(&mut self, py: Python<'_>, now: u64, max: usize) -> PyResult<Object> {
        output(py, self.machine.poll_output(at(now), self.scratch.of(max)), |e| event(py, e))
    }

    /// When to call `handle_timeout` at the latest, in microseconds.
    fn next_timeout(&self) -> Option<u64> {
        self.machine.next_timeout().map(waft::Instant::as_micros)
    }

    fn __repr__(&self) -> String {
        format!("<waft.mqtt.Client {}, {} in flight>", self.state(), self.in_flight())
    }
}

/// Where exported sessions go in two pages of flash or two areas of a file, and which one is the newest.
#[pyclass(module = "waft.mqtt")]
pub(crate) struct Journal {
    journal: session::Journal,
    newest: Option<Vec<u8>>,
}

#[pymethods]
impl Journal {
    #[new]
    #[pyo3(signature = (page0, page1, unit=1))]
    fn new(page0: &[u8], page1: &[u8], unit: usize) -> Self {
        let (journal, newest) = session::Journal::open([page0, page1], unit);
        Self { journal, newest: newest.map(|record| record.as_bytes().to_vec()) }
    }

    /// The newest record that is whole, as it was found.
    #[getter]
    fn newest<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.newest.as_deref().map(|record| bytes(py, record))
    }

    /// Where a record of `len` bytes is to be written now; once for each.
    fn place(&mut self, py: Python<'_>, len: usize) -> PyResult<Object> {
        let place = self.journal.place(len).map_err(|e| errors::capacity(py, e))?;
        make!(py, "waft.mqtt", "Place", (place.page, place.offset, place.erase, place.sequence))
    }
}

/// Whether `filter` matches the topic `name` (MQTT 3.1.1 §4.7).
#[pyfunction]
pub(crate) fn topic_matches(filter: &str, name: &str) -> bool {
    waft::mqtt::topic::matches(filter, name)
}

/// Decodes the packet at the front of `data`, whichever side it comes from, for tools and tests; a `PUBLISH` ends before its
/// payload. `max` is the largest remaining length accepted, of a `PUBLISH` the largest variable header.
#[pyfunction]
#[pyo3(signature = (data, max=268_435_455))]
pub(crate) fn decode_packet(py: Python<'_>, data: &[u8], max: u32) -> PyResult<Object> {
    let (packet, len) = match decode(data, max).map_err(|e| errors::peer(py, &e))? {
        Decoded::Incomplete { needed } => return handled(py, 0, needed, None),
        Decoded::Packet { packet, len } => (packet, len),
    };
    let fields = PyDict::new(py);
    let id = |id: PacketId| fields.set_item("id", id.get());
    let kind = match packet {
        Packet::Connect(connect) => {
            fields.set_item("client_id", connect.client_id)?;
            fields.set_item("clean_session", connect.clean_session)?;
            fields.set_item("keep_alive", connect.keep_alive)?;
            if let Some(will) = connect.will {
                fields.set_item("will_topic", will.topic)?;
                fields.set_item("will_payload", bytes(py, will.payload))?;
                fields.set_item("will_qos", will.qos as u8)?;
                fields.set_item("will_retain", will.retain)?;
            }
            if let Some(username) = connect.username {
                fields.set_item("username", username)?;
            }
            if let Some(password) = connect.password {
                fields.set_item("password", bytes(py, password))?;
            }
            "CONNECT"
        }
        Packet::ConnAck { session_present, code } => {
            fields.set_item("session_present", session_present)?;
            fields.set_item("code", code as u8)?;
            "CONNACK"
        }
        Packet::Publish(Publish { dup, qos, retain, topic, id, payload_len }) => {
            fields.set_item("topic", topic)?;
            fields.set_item("qos", qos as u8)?;
            fields.set_item("retain", retain)?;
            fields.set_item("dup", dup)?;
            if let Some(id) = id {
                fields.set_item("id", id.get())?;
            }
            fields.set_item("payload_len", payload_len)?;
            "PUBLISH"
        }
        Packet::PubAck(n) => id(n).map(|()| "PUBACK")?,
        Packet::PubRec(n) => id(n).map(|()| "PUBREC")?,
        Packet::PubRel(n) => id(n).map(|()| "PUBREL")?,
        Packet::PubComp(n) => id(n).map(|()| "PUBCOMP")?,
        Packet::UnsubAck(n) => id(n).map(|()| "UNSUBACK")?,
        Packet::Subscribe { id: n, filters } => {
            id(n)?;
            fields.set_item("filters", filters.map(|(filter, qos)| (filter, qos as u8)).collect::<Vec<_>>())?;
            "SUBSCRIBE"
        }
        Packet::Unsubscribe { id: n, filters } => {
            id(n)?;
            fields.set_item("filters", filters.map(|(filter, _)| filter).collect::<Vec<_>>())?;
            "UNSUBSCRIBE"
        }
        Packet::SubAck { id: n, codes } => {
            id(n)?;
            fields.set_item("codes", bytes(py, codes))?;
            "SUBACK"
        }
        Packet::PingReq => "PINGREQ",
        Packet::PingResp => "PINGRESP",
        Packet::Disconnect => "DISCONNECT",
    };
    let packet = make!(py, "waft.mqtt", "Packet", (kind, fields))?;
    handled(py, len, 0, Some(packet))
}
