//! `waft.Gateway`.

use bytes::Bytes;
use pyo3::prelude::*;
use waft::coap::Code;
use waft::gateway::{self, Config, Event};
use waft::{Input, Peer};

use crate::bridge::{Object, Scratch, at, bytes, handled, make, output};
use crate::errors;

fn event(py: Python<'_>, event: Event<'_>) -> PyResult<Object> {
    match event {
        Event::Fetch { path, url } => make!(py, "waft.gateway", "Fetch", (path, url)),
        Event::Report { peer: Peer(peer), path, payload } => {
            make!(py, "waft.gateway", "Report", (peer, path, bytes(py, payload)))
        }
    }
}

/// A CoAP gateway: gets each resource from its provider once, keeps it, tells observers of a change, and serves it block by
/// block to any number of devices.
#[pyclass(module = "waft.gateway")]
pub(crate) struct Gateway {
    machine: gateway::Gateway,
    scratch: Scratch,
}

#[pymethods]
impl Gateway {
    #[new]
    #[pyo3(signature = (*, seed=0, max_entries=256, max_bytes=67_108_864, max_waiting=1024, observers=4096, unproven=67_108_864))]
    fn new(
        seed: u64,
        max_entries: usize,
        max_bytes: usize,
        max_waiting: usize,
        observers: usize,
        unproven: u32,
    ) -> Self {
        let config = Config { max_entries, max_bytes, max_waiting, observers, unproven, ..Config::default() };
        Self { machine: gateway::Gateway::new(config, seed), scratch: Scratch::default() }
    }

    /// Serves `body` at `path` from now on; observers are told, requests that waited for it are answered.
    fn put(&mut self, py: Python<'_>, now: u64, path: &str, content_format: u16, body: &[u8]) -> PyResult<()> {
        let body = Bytes::copy_from_slice(body);
        self.machine.put(at(now), path, content_format, body).map_err(|e| errors::any(py, &e))
    }

    /// Stops serving `path`; whether it was served.
    fn remove(&mut self, now: u64, path: &str) -> bool {
        self.machine.remove(at(now), path)
    }

    /// Everything below `path` comes from below `url` when it is first asked for. Both end in a slash.
    fn mount(&mut self, py: Python<'_>, path: &str, url: &str) -> PyResult<()> {
        self.machine.mount(path, url).map_err(|e| errors::any(py, &e))
    }

    /// A fetch failed: those who wait are answered with `code`.
    fn failed(&mut self, now: u64, path: &str, code: u8) {
        self.machine.failed(at(now), path, Code(code));
    }

    /// The paths that are served.
    fn paths(&self) -> Vec<String> {
        self.machine.entries().map(|(path, _)| path.to_owned()).collect()
    }

    /// How many observe `path`.
    fn observers(&self, path: &str) -> u32 {
        self.machine.observers(path)
    }

    /// What it counts.
    #[getter]
    fn stats(&self, py: Python<'_>) -> PyResult<Object> {
        let s = self.machine.stats();
        make!(py, "waft.gateway", "GatewayStats", (s.requests, s.hits, s.fetches, s.notifications, s.sent))
    }

    /// Takes in one datagram.
    fn handle_input(&mut self, py: Python<'_>, now: u64, peer: u32, data: &[u8]) -> PyResult<Object> {
        let done = match self.machine.handle_input(at(now), Input { peer: Peer(peer), bytes: data }) {
            Ok(done) => done,
            Err(never) => match never {},
        };
        let told = done.event.map(|e| event(py, e)).transpose()?;
        handled(py, done.consumed, done.needed, told)
    }

    /// Lets time-outs happen.
    fn handle_timeout(&mut self, now: u64) {
        self.machine.handle_timeout(at(now));
    }

    /// The next datagram or the next thing to do; `Timeout` last.
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
        format!("<waft.Gateway {} resources, {} requests>", self.machine.entries().count(), s.requests)
    }
}
