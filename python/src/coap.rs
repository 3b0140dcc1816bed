//! `waft.coap`: the endpoint.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyTuple};
use waft::coap::proxy::{self, Answer, Forward, ProxyConfig, Step};
use waft::coap::{
    Body, Code, Condition, Config, ETag, Encoder, Endpoint as Machine, Event, Exchange, Failure, Flow, Opt, Options,
    Policy, Reply, Request, RequestId as Id, Resource, Resources, Token, Type, Violation, option,
};
use waft::{Duration, Input, Output, Peer};

use crate::bridge::{Object, Scratch, at, bytes, handled, make, output};
use crate::errors::{self, Named};

impl Named for Violation {
    const CLASS: &'static str = "PeerError";

    fn name(&self) -> &'static str {
        Violation::name(*self)
    }
}

/// To answer a request by: give it to `respond` or `acknowledge`.
#[pyclass(module = "waft.coap", frozen)]
pub(crate) struct RequestId(Id);

#[pymethods]
impl RequestId {
    /// Who asks.
    #[getter]
    fn peer(&self) -> u32 {
        self.0.peer().0
    }

    /// The token of the request.
    #[getter]
    fn token(&self) -> Vec<u8> {
        self.0.token().as_bytes().to_vec()
    }

    /// Whether it wants to observe the resource.
    #[getter]
    fn observes(&self) -> bool {
        self.0.observes()
    }

    /// Whether it came to a multicast address: an error, or a response without a body, is not sent then.
    #[getter]
    fn multicast(&self) -> bool {
        self.0.is_multicast()
    }

    /// Whether, by an Echo option, its sender has shown that it is there and that the request is new.
    #[getter]
    fn proven(&self) -> bool {
        self.0.is_proven()
    }

    /// Offset and length of the part of the body that the response can carry.
    #[getter]
    fn wanted(&self) -> (u32, u32) {
        self.0.wanted()
    }

    fn __repr__(&self) -> String {
        format!("<waft.coap.RequestId of peer {}>", self.0.peer().0)
    }
}

/// A body, or a part of one of `total` bytes.
fn part(bytes: &[u8], offset: u32, total: Option<u32>) -> Body<'_> {
    total.map_or(Body::Whole(bytes), |total| Body::Part { offset, bytes, total })
}

pub(crate) fn options<'py>(py: Python<'py>, options: Options<'_>) -> Vec<(u16, Bound<'py, PyBytes>)> {
    options.map(|opt| (opt.number, bytes(py, opt.value))).collect()
}

/// A code's object: each is made once.
pub(crate) fn code(py: Python<'_>, code: Code) -> PyResult<Object> {
    static MADE: [PyOnceLock<Object>; 256] = [const { PyOnceLock::new() }; 256];
    let make = || make!(py, "waft.coap", "Code", (code.0,));
    match MADE.get(usize::from(code.0)) {
        Some(place) => Ok(place.get_or_try_init(py, make)?.clone_ref(py)),
        None => make(),
    }
}

/// Python's options, each a number and its bytes.
struct Given(Vec<(u16, Vec<u8>)>);

impl Given {
    fn new(mut given: Vec<(u16, Vec<u8>)>) -> Self {
        given.sort_by_key(|(number, _)| *number);
        Self(given)
    }

    fn opts(&self) -> Vec<Opt<'_>> {
        self.0.iter().map(|(number, value)| Opt { number: *number, value }).collect()
    }
}

fn event(py: Python<'_>, event: Event<'_>) -> PyResult<Object> {
    match event {
        Event::Response { exchange, code: c, options: o, etag, observe, offset, total, payload, last } => {
            let etag = etag.map(|tag| bytes(py, tag.as_bytes()));
            let o = options(py, o);
            let args = (exchange.id(), code(py, c)?, o, etag, observe, offset, total, bytes(py, payload), last);
            make!(py, "waft.coap", "Response", args)
        }
        Event::Request { id, code: c, options: o, payload, offset, more } => {
            let o = options(py, o);
            let args = (Py::new(py, RequestId(id))?, code(py, c)?, o, bytes(py, payload), offset, more);
            make!(py, "waft.coap", "Request", args)
        }
        Event::GroupResponse { exchange, peer: Peer(peer), code: c, options: o, payload } => {
            let args = (exchange.id(), peer, code(py, c)?, options(py, o), bytes(py, payload));
            make!(py, "waft.coap", "GroupResponse", args)
        }
        Event::Failed { exchange, reason } => make!(py, "waft.coap", "Failed", (exchange.id(), reason.name())),
        Event::BodyWanted { exchange, offset, len } => {
            make!(py, "waft.coap", "BodyWanted", (exchange.id(), offset, len))
        }
        Event::ObserverGone { resource: Resource(resource), peer: Peer(peer) } => {
            make!(py, "waft.coap", "ObserverGone", (resource, peer))
        }
        Event::Pong { peer: Peer(peer) } => make!(py, "waft.coap", "Pong", (peer,)),
        Event::Silent { peer: Peer(peer) } => make!(py, "waft.coap", "Silent", (peer,)),
        _ => Err(PyValueError::new_err("an event that this version of waft does not know")),
    }
}

/// A CoAP endpoint, client and server at once: retransmission, deduplication, Observe, Block1 and Block2.
#[pyclass(module = "waft.coap")]
pub(crate) struct Endpoint {
    machine: Machine<'static>,
    scratch: Scratch,
}

#[pymethods]
impl Endpoint {
    #[new]
    #[pyo3(signature = (*, seed=0, arena=1_048_576, transfers=64, seen=256, observers=256, szx=6, nstart=1, policy="windowed", flights=None, leisure=5_000_000, unproven=1_048_576, proxy=false, probing_rate=1))]
    #[allow(clippy::too_many_arguments, reason = "keywords")]
    fn new(
        seed: u64,
        arena: usize,
        transfers: usize,
        seen: usize,
        observers: usize,
        szx: u8,
        nstart: u8,
        policy: &str,
        flights: Option<usize>,
        leisure: u64,
        unproven: u32,
        proxy: bool,
        probing_rate: u32,
    ) -> PyResult<Self> {
        let policy = match policy {
            "standard" => Policy::Standard,
            "cocoa" => Policy::Cocoa,
            "windowed" => Policy::Windowed,
            _ => return Err(PyValueError::new_err("a policy is standard, cocoa or windowed")),
        };
        let leisure = Duration::from_micros(leisure);
        let config = Config { szx, nstart, policy, leisure, unproven, proxy, probing_rate, ..Config::default() };
        let flights = flights.unwrap_or(transfers.saturating_add(observers));
        let resources = Resources::owned(arena, transfers, flights, seen, observers);
        Ok(Self { machine: Machine::new(config, seed, resources), scratch: Scratch::default() })
    }

    /// Queues a request for `path` (percent-encoded, with its query); gives the number of the exchange.
    #[pyo3(signature = (now, peer, method, path, payload=None, *, options=Vec::new(), confirmable=true, host=None, observe=false, szx=6, offset=0, etag=None, payload_len=None, manual=false, until=4_294_967_295, window=1, group=false, random_access=false))]
    #[allow(clippy::too_many_arguments, reason = "keywords")]
    fn request(
        &mut self,
        py: Python<'_>,
        now: u64,
        peer: u32,
        method: u8,
        path: &str,
        payload: Option<&[u8]>,
        options: Vec<(u16, Vec<u8>)>,
        confirmable: bool,
        host: Option<&str>,
        observe: bool,
        szx: u8,
        offset: u32,
        etag: Option<&[u8]>,
        payload_len: Option<u32>,
        manual: bool,
        until: u32,
        window: u8,
        group: bool,
        random_access: bool,
    ) -> PyResult<u32> {
        let given = Given::new(options);
        let etag = match etag {
            Some(tag) => Some(ETag::new(tag).ok_or_else(|| PyValueError::new_err("an ETag has 1 to 8 bytes"))?),
            None => None,
        };
        let request = Request {
            confirmable,
            host,
            options: &given.opts(),
            payload: payload.unwrap_or(&[]),
            payload_len,
            observe,
            szx,
            offset,
            etag,
            until,
            flow: if manual { Flow::Manual } else { Flow::Auto },
            window,
            random_access,
            ..Request::new(Code(method), path)
        };
        let asked = if group {
            self.machine.request_group(at(now), Peer(peer), &request)
        } else {
            self.machine.request(at(now), Peer(peer), &request)
        };
        asked.map(Exchange::id).map_err(|e| errors::any(py, &e))
    }

    /// The part of a request's body that `BodyWanted` asked for.
    fn body(&mut self, py: Python<'_>, now: u64, exchange: u32, data: &[u8]) -> PyResult<()> {
        self.machine.body(at(now), Exchange::from_id(exchange), data).map_err(|e| errors::any(py, &e))
    }

    /// Where the first block begins that was not asked for yet: what is before it is told or under way.
    fn position(&self, py: Python<'_>, exchange: u32) -> PyResult<u32> {
        self.machine.position(Exchange::from_id(exchange)).map_err(|e| errors::any(py, &e))
    }

    /// With `manual=True`: fetch another block.
    fn advance(&mut self, py: Python<'_>, now: u64, exchange: u32) -> PyResult<()> {
        self.machine.advance(at(now), Exchange::from_id(exchange)).map_err(|e| errors::any(py, &e))
    }

    /// Gives an exchange up; an observation is deregistered.
    fn cancel(&mut self, py: Python<'_>, now: u64, exchange: u32) -> PyResult<()> {
        self.machine.cancel(at(now), Exchange::from_id(exchange)).map_err(|e| errors::any(py, &e))
    }

    /// Asks whether a peer is there.
    fn ping(&mut self, py: Python<'_>, now: u64, peer: u32) -> PyResult<()> {
        self.machine.ping(at(now), Peer(peer)).map_err(|e| errors::any(py, &e))
    }

    /// Answers a request; the endpoint cuts the block that was asked for. Where `total` is given, `body` is but the part from
    /// `offset` on of one of so many bytes, and holds what `id.wanted` says. `observe` accepts an observation under a number of
    /// your own.
    #[pyo3(signature = (now, id, code, body, *, options=Vec::new(), observe=None, offset=0, total=None))]
    #[allow(clippy::too_many_arguments, reason = "keywords")]
    fn respond(
        &mut self,
        py: Python<'_>,
        now: u64,
        id: &RequestId,
        code: u8,
        body: &[u8],
        options: Vec<(u16, Vec<u8>)>,
        observe: Option<u32>,
        offset: u32,
        total: Option<u32>,
    ) -> PyResult<()> {
        let given = Given::new(options);
        let reply = Reply {
            code: Code(code),
            options: &given.opts(),
            body: part(body, offset, total),
            observe: observe.map(Resource),
            confirmable: true,
        };
        self.machine.respond(at(now), &id.0, &reply).map_err(|e| errors::any(py, &e))
    }

    /// Answers 4.01 with an Echo option: the client sends the request again with it, and then `id.proven` is true.
    fn challenge(&mut self, py: Python<'_>, now: u64, id: &RequestId) -> PyResult<()> {
        self.machine.challenge(at(now), &id.0).map_err(|e| errors::any(py, &e))
    }

    /// Acknowledges a request whose answer follows later.
    fn acknowledge(&mut self, py: Python<'_>, now: u64, id: &RequestId) -> PyResult<()> {
        self.machine.acknowledge(at(now), &id.0).map_err(|e| errors::any(py, &e))
    }

    /// Tells the observers of a resource its new state; gives how many there are. Where `total` is given, `body` is but the first
    /// block of one of so many bytes.
    #[pyo3(signature = (now, resource, code, body, *, options=Vec::new(), confirmable=true, total=None))]
    #[allow(clippy::too_many_arguments, reason = "keywords")]
    fn notify(
        &mut self,
        py: Python<'_>,
        now: u64,
        resource: u32,
        code: u8,
        body: &[u8],
        options: Vec<(u16, Vec<u8>)>,
        confirmable: bool,
        total: Option<u32>,
    ) -> PyResult<u32> {
        let given = Given::new(options);
        let body = part(body, 0, total);
        let reply = Reply { code: Code(code), options: &given.opts(), body, observe: None, confirmable };
        self.machine.notify(at(now), Resource(resource), &reply).map_err(|e| errors::any(py, &e))
    }

    /// How many observe a resource.
    fn observers(&self, resource: u32) -> u32 {
        self.machine.observers(Resource(resource))
    }

    /// Counters since it was made, by name.
    #[getter]
    fn stats(&self) -> std::collections::BTreeMap<&'static str, u32> {
        let s = self.machine.stats();
        [
            ("received", s.received),
            ("sent", s.sent),
            ("retransmitted", s.retransmitted),
            ("malformed", s.malformed),
            ("duplicates", s.duplicates),
            ("unmatched", s.unmatched),
            ("stale", s.stale),
            ("refused", s.refused),
            ("dropped", s.dropped),
            ("challenged", s.challenged),
        ]
        .into()
    }

    /// Takes in one datagram. Noise is dropped and counted.
    fn handle_input(&mut self, py: Python<'_>, now: u64, peer: u32, data: &[u8]) -> PyResult<Object> {
        let done = match self.machine.handle_input(at(now), Input { peer: Peer(peer), bytes: data }) {
            Ok(done) => done,
            Err(never) => match never {},
        };
        let told = done.event.map(|e| event(py, e)).transpose()?;
        handled(py, done.consumed, done.needed, told)
    }

    /// Takes in one datagram as a server does that is interested in requests alone, and makes no object but what it needs: None,
    /// or who asks, the offset of the part of the answer that is asked for, offset and `more` of the body's part where it
    /// comes by Block1, the code, Uri-Path, Uri-Query, options, payload, and whether it wants to observe.
    fn handle_request<'py>(
        &mut self,
        py: Python<'py>,
        now: u64,
        peer: u32,
        data: &[u8],
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let Ok(done) = self.machine.handle_input(at(now), Input { peer: Peer(peer), bytes: data });
        let Some(Event::Request { id, code: c, options: all, payload, offset, more }) = done.event else {
            return Ok(None);
        };
        let text = |number| -> PyResult<Bound<'py, PyTuple>> {
            let texts: Vec<_> = all.all(number).map(String::from_utf8_lossy).collect();
            PyTuple::new(py, texts)
        };
        let block1 = all.get(option::BLOCK1).map(|_| (offset, more));
        let (path, queries, payload) = (text(option::URI_PATH)?, text(option::URI_QUERY)?, bytes(py, payload));
        let (answer, observes) = (id.wanted().0, id.observes());
        let options = PyTuple::new(py, options(py, all))?;
        let asked =
            (Py::new(py, RequestId(id))?, answer, block1, code(py, c)?, path, queries, options, payload, observes);
        asked.into_pyobject(py).map(Some)
    }

    /// Takes in one datagram that came to a multicast address: of those only requests in NON messages count.
    fn handle_multicast(&mut self, py: Python<'_>, now: u64, peer: u32, data: &[u8]) -> PyResult<Object> {
        let Ok(done) = self.machine.handle_multicast(at(now), Input { peer: Peer(peer), bytes: data });
        let told = done.event.map(|e| event(py, e)).transpose()?;
        handled(py, done.consumed, done.needed, told)
    }

    /// Lets time-outs happen.
    fn handle_timeout(&mut self, now: u64) {
        self.machine.handle_timeout(at(now));
    }

    /// The next datagram or the next thing to tell; `Timeout` last.
    #[pyo3(signature = (now, max=65536))]
    fn poll_output(&mut self, py: Python<'_>, now: u64, max: usize) -> PyResult<Object> {
        output(py, self.machine.poll_output(at(now), self.scratch.of(max)), |e| event(py, e))
    }

    /// All that `poll_output` gives, in one: datagrams as pairs of a peer and bytes, things to tell, and when to call
    /// `handle_timeout` at the latest.
    #[allow(clippy::type_complexity, reason = "it is a tuple")]
    fn poll_all<'py>(
        &mut self,
        py: Python<'py>,
        now: u64,
    ) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyList>, Option<u64>)> {
        let (datagrams, told) = (PyList::empty(py), PyList::empty(py));
        // What a datagram has at most.
        let scratch = self.scratch.of(65_536);
        loop {
            match self.machine.poll_output(at(now), scratch) {
                Output::Transmit { peer: Peer(peer), bytes: data } => datagrams.append((peer, bytes(py, data)))?,
                Output::Event(e) => told.append(event(py, e)?)?,
                Output::BufferTooSmall { .. } => {
                    return Err(PyValueError::new_err("a message is longer than a datagram"));
                }
                Output::Timeout(until) => return Ok((datagrams, told, until.map(waft::Instant::as_micros))),
            }
        }
    }

    /// When to call `handle_timeout` at the latest, in microseconds.
    fn next_timeout(&self) -> Option<u64> {
        self.machine.next_timeout().map(waft::Instant::as_micros)
    }

    fn __repr__(&self) -> String {
        let s = self.machine.stats();
        format!("<waft.coap.Endpoint {} received, {} sent>", s.received, s.sent)
    }
}

/// What a request's ETag, If-Match and If-None-Match options say of the version that is there: None to go on, else the
/// code to answer with, 2.03 (with the ETag and no body) or 4.12.
#[pyfunction]
#[pyo3(signature = (method, options, exists, etag=None))]
pub(crate) fn condition(
    py: Python<'_>,
    method: u8,
    options: Vec<(u16, Vec<u8>)>,
    exists: bool,
    etag: Option<&[u8]>,
) -> PyResult<Option<Object>> {
    let options = encoded(py, options)?;
    let options = Options::from_parts(&options, 0);
    match options.condition(Code(method), exists, etag.and_then(ETag::new)) {
        Condition::Proceed => Ok(None),
        Condition::Valid => code(py, Code::VALID).map(Some),
        Condition::Failed => code(py, Code::PRECONDITION_FAILED).map(Some),
    }
}

/// Options as they stand on the wire, in order.
pub(crate) fn encoded(py: Python<'_>, options: Vec<(u16, Vec<u8>)>) -> PyResult<Vec<u8>> {
    let given = Given::new(options);
    let most = given.0.iter().map(|(_, value)| value.len().saturating_add(5)).fold(4, usize::saturating_add);
    let mut buffer = vec![0; most];
    let mut encoder = Encoder::new(&mut buffer, Type::Confirmable, Code::GET, 0, &Token::EMPTY);
    for (number, value) in &given.0 {
        encoder.option(*number, value).map_err(|e| errors::misuse(py, e))?;
    }
    let message = encoder.finish().map_err(|_| PyValueError::new_err("the options are too long"))?;
    Ok(message.get(4..).unwrap_or_default().to_vec())
}

fn owned(py: Python<'_>, options: &[(u16, Vec<u8>)]) -> Vec<(u16, Py<PyBytes>)> {
    options.iter().map(|(number, value)| (*number, bytes(py, value).unbind())).collect()
}

fn answer(py: Python<'_>, answer: &Answer) -> PyResult<Object> {
    let args = (code(py, answer.code)?, owned(py, &answer.options), bytes(py, &answer.body));
    make!(py, "waft.coap", "ProxyAnswer", args)
}

/// A request to be made for a client, by its method and with its body; give the response to `Proxy.response`.
#[pyclass(module = "waft.coap", frozen)]
pub(crate) struct ProxyForward(Forward);

#[pymethods]
impl ProxyForward {
    /// Whom and what to ask: coap://host[:port]/path?query.
    #[getter]
    fn uri(&self) -> &str {
        &self.0.uri
    }

    /// The method.
    #[getter]
    fn method(&self, py: Python<'_>) -> PyResult<Object> {
        code(py, self.0.method)
    }

    /// The options, in ascending order.
    #[getter]
    fn options(&self, py: Python<'_>) -> Vec<(u16, Py<PyBytes>)> {
        owned(py, &self.0.options)
    }

    fn __repr__(&self) -> String {
        format!("<waft.coap.ProxyForward to {}>", self.0.uri)
    }
}

/// A forward proxy's rules and its bounded cache, without I/O.
#[pyclass(module = "waft.coap")]
pub(crate) struct Proxy(proxy::Proxy);

#[pymethods]
impl Proxy {
    #[new]
    #[pyo3(signature = (*, max_entries=256, max_bytes=8_388_608, hop_limit=16))]
    fn new(max_entries: usize, max_bytes: usize, hop_limit: u8) -> Self {
        Self(proxy::Proxy::new(ProxyConfig { max_entries, max_bytes, hop_limit }))
    }

    /// A client's request, its body whole: a `ProxyAnswer`, or a `ProxyForward` to be made.
    #[pyo3(signature = (now, method, options, payload=None))]
    fn request(
        &mut self,
        py: Python<'_>,
        now: u64,
        method: u8,
        options: Vec<(u16, Vec<u8>)>,
        payload: Option<&[u8]>,
    ) -> PyResult<Object> {
        let given = Given::new(options);
        let opts = given.opts();
        match self.0.request(at(now), Code(method), opts.iter().copied(), payload.unwrap_or(&[])) {
            Step::Answer(a) => answer(py, &a),
            Step::Forward(forward) => Ok(Py::new(py, ProxyForward(forward))?.into_any()),
        }
    }

    /// The response to what was passed on, its body whole: what to answer the client.
    #[pyo3(signature = (now, forward, code, options, payload=None))]
    fn response(
        &mut self,
        py: Python<'_>,
        now: u64,
        forward: &ProxyForward,
        code: u8,
        options: Vec<(u16, Vec<u8>)>,
        payload: Option<&[u8]>,
    ) -> PyResult<Object> {
        let given = Given::new(options);
        let body = payload.unwrap_or(&[]).to_vec().into();
        let a = self.0.response(at(now), &forward.0, Code(code), given.opts().into_iter(), body);
        answer(py, &a)
    }

    /// What to answer a client where what was passed on failed for this reason, or could not be asked.
    #[staticmethod]
    #[pyo3(signature = (reason=None))]
    fn failed(py: Python<'_>, reason: Option<&str>) -> PyResult<Object> {
        let timeout = reason == Some(Failure::Timeout.name());
        answer(py, &proxy::Proxy::failed(timeout.then_some(Failure::Timeout)))
    }

    /// How many requests came, and how many of them were answered from the cache.
    #[getter]
    fn counts(&self) -> (u64, u64) {
        self.0.counts()
    }

    /// How many responses are kept, and of how many bytes.
    #[getter]
    fn kept(&self) -> (usize, usize) {
        self.0.kept()
    }
}
