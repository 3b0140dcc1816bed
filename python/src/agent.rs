//! `waft.Agent`: a device as one machine.

use pyo3::prelude::*;
use waft::agent::{self, Address, Config, Event, Link, Resources};
use waft::mqtt::client::InFlight;
use waft::ota::policy;
use waft::ota::refusal::Refusal;
use waft::{Duration, Input, Misuse, Peer, Storage, coap};

use crate::bridge::{Object, Scratch, at, handled, make, output};
use crate::errors;
use crate::keep;
use crate::manifest::SecretKey;
use crate::mqtt::return_code;
use crate::ota;

fn link(py: Python<'_>, link: Link) -> PyResult<Object> {
    make!(py, "waft.agent", "Link", (link as u8,))
}

fn link_of(py: Python<'_>, n: u8) -> PyResult<Link> {
    Link::ALL.into_iter().find(|link| *link as u8 == n).ok_or_else(|| errors::misuse(py, Misuse::OutOfRange))
}

fn event(py: Python<'_>, event: Event<'_>) -> PyResult<Object> {
    match event {
        Event::Open { link: l, host, port } => make!(py, "waft.agent", "Open", (link(py, l)?, host, port)),
        Event::Close { link: l, peer: Peer(peer) } => make!(py, "waft.agent", "Close", (link(py, l)?, peer)),
        Event::Refused(code) => make!(py, "waft.agent", "Refused", (code as u8, return_code(code))),
        Event::Update(e) => ota::event(py, e),
    }
}

/// A device under update: MQTT client, CoAP endpoint and update as one machine, for all three delivery models.
#[pyclass(module = "waft.agent")]
pub(crate) struct Agent {
    machine: agent::Agent<'static>,
    scratch: Scratch,
}

#[pymethods]
impl Agent {
    #[new]
    #[pyo3(signature = (*, root, class_name, device, vendor, class_id, keys, slot_size, more_slots=vec![], broker=None, gateway=None, username=None, password=None, keep_alive=30, version="", policy=Vec::new(), cost_a=1, cost_b=1, pull=4, szx=6, stall=3_000_000, retry=500_000, seed=0, running=0, erase_size=4096, write_size=4, block=0, ahead=0, rotation=false, device_id=None, jitter=0, backoff=60_000_000, window=None, battery=0, step=4_294_967_296, attempts=3, trial=600_000_000, manifest_room=2048))]
    #[allow(clippy::too_many_arguments, reason = "keywords")]
    fn new(
        py: Python<'_>,
        root: &str,
        class_name: &str,
        device: &str,
        vendor: &[u8],
        class_id: &[u8],
        keys: Vec<Vec<u8>>,
        slot_size: u32,
        more_slots: Vec<u32>,
        broker: Option<(String, u16)>,
        gateway: Option<(String, u16)>,
        username: Option<&str>,
        password: Option<&[u8]>,
        keep_alive: u16,
        version: &str,
        policy: Vec<(String, String, String)>,
        cost_a: u32,
        cost_b: u32,
        pull: u8,
        szx: u8,
        stall: u64,
        retry: u64,
        seed: u64,
        running: u8,
        erase_size: u32,
        write_size: u32,
        block: u32,
        ahead: u32,
        rotation: bool,
        device_id: Option<&[u8]>,
        jitter: u64,
        backoff: u64,
        window: Option<(u32, u32)>,
        battery: u32,
        step: u64,
        attempts: u8,
        trial: u64,
        manifest_room: usize,
    ) -> PyResult<Self> {
        let address = |(host, port): (String, u16)| Address { host: keep::string(&host), port };
        let sizes = [slot_size, erase_size, write_size];
        let update = ota::Settings {
            vendor,
            class_id,
            keys: &keys,
            running,
            sizes,
            more_slots: &more_slots,
            block,
            ahead,
            rotation,
            device_id,
            jitter,
            backoff,
            window,
            battery,
            step,
            attempts,
            trial,
        };
        let config = Config {
            root: keep::string(root),
            class: keep::string(class_name),
            device: keep::string(device),
            version: keep::string(version),
            broker: broker.map(address),
            username: username.map(keep::string),
            password: password.map(keep::bytes),
            keep_alive,
            gateway: gateway.map(address),
            policy: ota::policy(&policy)?,
            costs: policy::Link { a: cost_a, b: cost_b },
            pull,
            szx,
            stall: Duration::from_micros(stall),
            retry: Duration::from_micros(retry),
            seed,
            update: update.config()?,
        };
        let resources = Resources {
            mqtt_arena: Storage::owned(2048),
            mqtt_in_flight: Storage::Owned(vec![InFlight::EMPTY; 24]),
            coap: coap::Resources::owned(4096, 8, 8, 16, 0),
            manifest: Storage::owned(manifest_room),
            inbox: Storage::owned(manifest_room),
        };
        let machine = agent::Agent::new(config, resources).map_err(|e| errors::misuse(py, e))?;
        Ok(Self { machine, scratch: Scratch::default() })
    }

    /// Power is on: reads the journal, then opens the links.
    fn start(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.start(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// Signs the reports from now on.
    fn sign_reports(&mut self, key: &SecretKey, start: u32) {
        self.machine.sign_reports(keep::signer(&key.key, key.seed), start);
    }

    /// The running image has passed its trial: keep it.
    fn confirm(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.confirm(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// The running image has failed its trial: go back to the other.
    fn reject(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.reject(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// Not before `until`.
    fn defer(&mut self, py: Python<'_>, now: u64, until: u64) -> PyResult<()> {
        self.machine.defer(at(now), at(until)).map_err(|e| errors::any(py, &e))
    }

    /// Not now.
    fn veto(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.veto(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// Goes on with what was deferred or vetoed.
    fn resume(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.resume(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// Gives the update up.
    fn cancel(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.cancel(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// What the device knows of itself and of the time.
    #[pyo3(signature = (now, *, time=None, battery=None, version=None))]
    fn tell(
        &mut self,
        py: Python<'_>,
        now: u64,
        time: Option<u64>,
        battery: Option<u32>,
        version: Option<&str>,
    ) -> PyResult<()> {
        self.machine.tell(at(now), &ota::facts(time, battery, version)?).map_err(|e| errors::any(py, &e))
    }

    /// The link asked for is open; `peer` names it from now on.
    fn opened(&mut self, py: Python<'_>, now: u64, link: u8, peer: u32) -> PyResult<()> {
        let link = link_of(py, link)?;
        self.machine.opened(at(now), link, Peer(peer)).map_err(|e| errors::any(py, &e))
    }

    /// The link could not be opened, or was lost.
    fn closed(&mut self, py: Python<'_>, now: u64, link: u8) -> PyResult<()> {
        self.machine.closed(at(now), link_of(py, link)?);
        Ok(())
    }

    /// The flash request is done.
    fn done(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.done(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// The bytes that `Load` asked for.
    fn loaded(&mut self, py: Python<'_>, now: u64, data: &[u8]) -> PyResult<()> {
        self.machine.loaded(at(now), data).map_err(|e| errors::any(py, &e))
    }

    /// The flash request failed.
    fn failed(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.failed(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// Where the update stands.
    #[getter]
    fn state(&self, py: Python<'_>) -> PyResult<Object> {
        ota::state(py, self.machine.update().state())
    }

    /// Bytes stored without a gap, and the size of the image.
    #[getter]
    fn progress(&self) -> (u32, u32) {
        self.machine.update().progress()
    }

    /// The manifest of the update.
    #[getter]
    fn manifest(&self, py: Python<'_>) -> PyResult<Option<Object>> {
        self.machine.update().manifest().map(|m| crate::manifest::manifest_object(py, &m, &[])).transpose()
    }

    /// Manifests with a lower sequence number are refused.
    #[getter]
    fn floor(&self) -> u64 {
        self.machine.update().floor()
    }

    /// How often in a row the download of this release has come to nothing, over all reboots.
    #[getter]
    fn attempts(&self) -> u8 {
        self.machine.update().attempts()
    }

    /// The slots of the confirmed images: bit n is that of image n.
    #[getter]
    fn active_slots(&self) -> u8 {
        self.machine.update().active_slots()
    }

    /// The image that is being fetched or was looked at last: 0, unless the device has several.
    #[getter]
    fn image(&self) -> u8 {
        self.machine.update().image()
    }

    /// The epoch of the key table in use; 0: the factory's.
    #[getter]
    fn epoch(&self) -> u32 {
        self.machine.update().epoch()
    }

    /// Why the last update failed or was reverted, or what it waits for.
    #[getter]
    fn reason(&self) -> Option<&'static str> {
        self.machine.update().reason().map(Refusal::name)
    }

    /// The delivery model of the download: "a", "b" or "c".
    #[getter]
    fn model(&self) -> Option<&'static str> {
        self.machine.model().map(policy::Model::name)
    }

    /// Whether all that it has to tell has been told.
    #[getter]
    fn is_settled(&self) -> bool {
        self.machine.is_settled()
    }

    /// What it counts.
    #[getter]
    fn stats(&self, py: Python<'_>) -> PyResult<Object> {
        let s = self.machine.stats();
        make!(py, "waft.agent", "AgentStats", (s.received, s.sent, s.resumed_at))
    }

    /// Takes in what has come of the broker's stream and was not consumed yet, or one datagram.
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

    /// The next thing to send, to do or to tell; `Timeout` last.
    #[pyo3(signature = (now, max=65536))]
    fn poll_output(&mut self, py: Python<'_>, now: u64, max: usize) -> PyResult<Object> {
        output(py, self.machine.poll_output(at(now), self.scratch.of(max)), |e| event(py, e))
    }

    /// When to call `handle_timeout` at the latest, in microseconds.
    fn next_timeout(&self) -> Option<u64> {
        self.machine.next_timeout().map(waft::Instant::as_micros)
    }

    fn __repr__(&self) -> String {
        format!("<waft.Agent {}>", self.machine.update().state().name())
    }
}
