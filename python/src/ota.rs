//! `waft.ota`: keys, manifests, the policy, the update machine, the bootloader's decision.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use waft::ota::boot::staging::{self, Layout, Place, Step};
use waft::ota::event::{self, Area};
use waft::ota::policy::{Choice, Link, Policy, Severity, UpdateType};
use waft::ota::refusal::Refusal;
use waft::ota::report::Report;
use waft::ota::update;
use waft::{Duration, Input, Peer, Storage};

use crate::bridge::{Object, Scratch, at, bytes, handled, make, output};
use crate::errors::{self, Named};
use crate::keep;
use crate::manifest::manifest_object;

impl Named for Refusal {
    const CLASS: &'static str = "Refusal";

    fn name(&self) -> &'static str {
        Refusal::name(*self)
    }
}

/// 32 bytes, or an error that says what of.
pub(crate) fn exactly<const N: usize>(what: &str, data: &[u8]) -> PyResult<[u8; N]> {
    data.try_into().map_err(|_| PyValueError::new_err(format!("{what} must be {N} bytes, not {}", data.len())))
}

pub(crate) fn public_keys(keys: &[Vec<u8>]) -> PyResult<Vec<[u8; 32]>> {
    keys.iter().map(|key| exactly("a public key", key)).collect()
}

pub(crate) fn update_type(name: &str) -> PyResult<UpdateType> {
    UpdateType::ALL
        .into_iter()
        .find(|kind| kind.name() == name)
        .ok_or_else(|| PyValueError::new_err(format!("the type must be \"software\" or \"security\", not {name:?}")))
}

pub(crate) fn severity(name: &str) -> PyResult<Severity> {
    Severity::ALL.into_iter().find(|severity| severity.name() == name).ok_or_else(|| {
        PyValueError::new_err(format!("the severity must be \"high\", \"medium\" or \"low\", not {name:?}"))
    })
}

fn choice(name: &str) -> PyResult<Choice> {
    Ok(match name {
        "a" => Choice::A,
        "b" => Choice::B,
        "c" => Choice::C,
        "cheaper" => Choice::Cheaper,
        _ => {
            return Err(PyValueError::new_err(format!("a choice is \"a\", \"b\", \"c\" or \"cheaper\", not {name:?}")));
        }
    })
}

/// The paper's policy with some entries replaced: (type, severity, choice).
pub(crate) fn policy(overrides: &[(String, String, String)]) -> PyResult<Policy> {
    let mut policy = Policy::default();
    for (kind, grade, chosen) in overrides {
        policy = policy.with(update_type(kind)?, severity(grade)?, choice(chosen)?);
    }
    Ok(policy)
}

/// The model that the policy takes for an update: "a", "b" or "c".
#[pyfunction]
#[pyo3(signature = (kind, severity, cost_a, cost_b, overrides))]
pub(crate) fn choose_model(
    kind: &str,
    severity: &str,
    cost_a: u32,
    cost_b: u32,
    overrides: Vec<(String, String, String)>,
) -> PyResult<&'static str> {
    let model =
        policy(&overrides)?.choose(update_type(kind)?, self::severity(severity)?, Link { a: cost_a, b: cost_b });
    Ok(model.name())
}

/// The bootloader's decision: (slots, trial, active, note or None), a note being (page to erase or None, page, offset,
/// bytes).
#[pyfunction]
#[allow(clippy::type_complexity, reason = "taken apart by waft.ota.boot")]
pub(crate) fn boot(
    page0: &[u8],
    page1: &[u8],
    factory: u8,
) -> PyResult<(u8, bool, u8, Option<(Option<u8>, u8, u32, Vec<u8>)>)> {
    if factory > 0xF {
        return Err(PyValueError::new_err(format!("slots are a bit for each of four images, not {factory}")));
    }
    let decision = waft::ota::boot::decide([page0, page1], factory);
    let note = decision.note.map(|note| (note.erase, note.page, note.offset, note.bytes.to_vec()));
    Ok((decision.slots, decision.trial, decision.active, note))
}

/// The next step of a swap: None; (page, header); or ((staging, from), (staging, to), page, mark).
#[pyfunction]
#[allow(clippy::type_complexity, reason = "taken apart by waft.ota.boot_swap")]
pub(crate) fn boot_swap(
    py: Python<'_>,
    page0: &[u8],
    page1: &[u8],
    slot: u8,
    sizes: (u32, u32, u32),
) -> PyResult<(Option<(u8, Vec<u8>)>, Option<((bool, u32), (bool, u32), u8, u32)>)> {
    let (slot_size, erase, write) = sizes;
    let layout = Layout { slot: slot_size, erase, write };
    let place = |place| match place {
        Place::Primary(offset) => (false, offset),
        Place::Staging(offset) => (true, offset),
    };
    let step = staging::step([page0, page1], slot, &layout).map_err(|e| errors::misuse(py, e))?;
    Ok(match step {
        None => (None, None),
        Some(Step::Begin { page, header }) => (Some((page, header.to_vec())), None),
        Some(Step::Move { from, to, page, mark }) => (None, Some((place(from), place(to), page, mark))),
    })
}

/// Bytes that a status page has to have at least; 0: the sizes cannot be.
#[pyfunction]
pub(crate) fn boot_status_len(sizes: (u32, u32, u32)) -> u32 {
    let (slot, erase, write) = sizes;
    Layout { slot, erase, write }.status_len()
}

/// The area, and the image that it is of.
fn area(py: Python<'_>, area: Area) -> PyResult<(Object, u8)> {
    let (number, image): (u8, u8) = match area {
        Area::Slot { image, slot } => (slot, image),
        Area::Journal => (2, 0),
        Area::Keys => (3, 0),
    };
    Ok((make!(py, "waft.ota", "Area", (number,))?, image))
}

pub(crate) fn state(py: Python<'_>, state: event::State) -> PyResult<Object> {
    make!(py, "waft.ota", "State", (state.name(),))
}

pub(crate) fn report(py: Python<'_>, r: &Report) -> PyResult<Object> {
    let reason = r.reason.map(Refusal::name);
    let args = (
        state(py, r.state)?,
        reason,
        r.version.map(|version| version.to_string()),
        r.sequence,
        bytes(py, &r.digest),
        r.attempts,
    );
    make!(py, "waft.ota", "Report", args)
}

/// An event of the update machine, or of an agent's.
pub(crate) fn event(py: Python<'_>, event: event::Event<'_>) -> PyResult<Object> {
    use event::Event as E;
    match event {
        E::Load { area: a, offset, len } => {
            let (area, image) = area(py, a)?;
            make!(py, "waft.ota", "Load", (area, offset, len, image))
        }
        E::Erase { area: a, offset, len } => {
            let (area, image) = area(py, a)?;
            make!(py, "waft.ota", "Erase", (area, offset, len, image))
        }
        E::Store { area: a, offset, bytes: data } => {
            let (area, image) = area(py, a)?;
            make!(py, "waft.ota", "Store", (area, offset, bytes(py, data), image))
        }
        E::Record { offset, bytes: data } => make!(py, "waft.ota", "Record", (offset, bytes(py, data))),
        E::Activate { slots } => make!(py, "waft.ota", "Activate", (slots,)),
        E::Fetch { image, offset } => make!(py, "waft.ota", "Fetch", (offset, image)),
        E::State(s) => make!(py, "waft.ota", "StateChanged", (state(py, s)?,)),
        E::Report(r) => report(py, &r),
    }
}

/// The update machine's configuration as Python's arguments say it.
pub(crate) struct Settings<'a> {
    pub(crate) vendor: &'a [u8],
    pub(crate) class_id: &'a [u8],
    pub(crate) keys: &'a [Vec<u8>],
    pub(crate) running: u8,
    /// Of a slot, of an erase block, of a program unit.
    pub(crate) sizes: [u32; 3],
    /// Of a slot of each image besides the firmware.
    pub(crate) more_slots: &'a [u32],
    pub(crate) block: u32,
    /// 0: as the core has it.
    pub(crate) ahead: u32,
    pub(crate) rotation: bool,
    pub(crate) device_id: Option<&'a [u8]>,
    pub(crate) jitter: u64,
    pub(crate) backoff: u64,
    pub(crate) window: Option<(u32, u32)>,
    pub(crate) battery: u32,
    pub(crate) step: u64,
    pub(crate) attempts: u8,
    pub(crate) trial: u64,
}

impl Settings<'_> {
    pub(crate) fn config(&self) -> PyResult<update::Config<'static>> {
        let keys = keep::keys(public_keys(self.keys)?);
        let vendor = exactly("the vendor's UUID", self.vendor)?;
        let class = exactly("the class's UUID", self.class_id)?;
        let config = update::Config::new(vendor, class, keys, self.running, self.sizes);
        let mut more_slots = config.more_slots;
        let places = more_slots.get_mut(..self.more_slots.len());
        let most = update::MOST_IMAGES;
        places
            .ok_or_else(|| PyValueError::new_err(format!("a device has {most} images at most")))?
            .copy_from_slice(self.more_slots);
        Ok(update::Config {
            more_slots,
            block: self.block,
            ahead: if self.ahead == 0 { config.ahead } else { self.ahead },
            rotation: self.rotation,
            device: self.device_id.map_or(Ok([0; 16]), |id| exactly("the device's UUID", id))?,
            jitter: Duration::from_micros(self.jitter),
            backoff: Duration::from_micros(self.backoff),
            window: self.window.map(|(start, len)| update::Window { start, len }),
            battery: self.battery,
            step: self.step,
            attempts: self.attempts,
            trial: Duration::from_micros(self.trial),
            ..config
        })
    }
}

/// What a device knows of itself and of the time.
pub(crate) fn facts(
    time: Option<u64>,
    battery: Option<u32>,
    version: Option<&str>,
) -> PyResult<waft::ota::manifest::Facts> {
    let version = version
        .map(|text| text.parse().map_err(|_| PyValueError::new_err(format!("no version: {text:?}"))))
        .transpose()?;
    Ok(waft::ota::manifest::Facts { time, battery, version, device: None })
}

/// The update machine: takes a device through a signed update; it asks for flash work and writes none itself.
#[pyclass(module = "waft.ota")]
pub(crate) struct Update {
    machine: update::Update<'static>,
    scratch: Scratch,
}

#[pymethods]
impl Update {
    #[new]
    #[pyo3(signature = (*, vendor, class_id, keys, slot_size, more_slots=vec![], running=0, erase_size=4096, write_size=4, block=0, ahead=0, rotation=false, device_id=None, jitter=0, backoff=60_000_000, window=None, battery=0, step=4_294_967_296, attempts=3, trial=600_000_000, manifest_room=4096))]
    #[allow(clippy::too_many_arguments, reason = "keywords")]
    fn new(
        vendor: &[u8],
        class_id: &[u8],
        keys: Vec<Vec<u8>>,
        slot_size: u32,
        more_slots: Vec<u32>,
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
        let sizes = [slot_size, erase_size, write_size];
        let settings = Settings {
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
        let config = settings.config()?;
        Ok(Self { machine: update::Update::new(config, Storage::owned(manifest_room)), scratch: Scratch::default() })
    }

    /// Reads the journal and takes up what it says.
    fn start(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.start(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// Gives it an envelope; raises `Refusal` with the rule that it breaks.
    fn announce(&mut self, py: Python<'_>, now: u64, envelope: &[u8]) -> PyResult<()> {
        self.machine.announce(at(now), envelope).map_err(|e| errors::any(py, &e))
    }

    /// Postpones the download or the reboot until a time.
    fn defer(&mut self, py: Python<'_>, now: u64, until: u64) -> PyResult<()> {
        self.machine.defer(at(now), at(until)).map_err(|e| errors::any(py, &e))
    }

    /// Says no to the download or the reboot, until `resume`.
    fn veto(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.veto(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// Goes on with what was deferred or vetoed.
    fn resume(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.resume(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// What is to be fetched cannot be had, and has not been for long.
    fn unreachable(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.unreachable(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// Gives the update up.
    fn cancel(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.cancel(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// The image on trial is good.
    fn confirm(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.confirm(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// The image on trial is no good.
    fn reject(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.reject(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// Bytes of the image that belong at `offset`.
    fn data(&mut self, py: Python<'_>, now: u64, offset: u32, data: &[u8]) -> PyResult<Object> {
        let done = self.machine.data(at(now), offset, data).map_err(|e| errors::any(py, &e))?;
        let told = done.event.map(|e| event(py, e)).transpose()?;
        handled(py, done.consumed, done.needed, told)
    }

    /// What was asked for is done.
    fn done(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.done(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// What `Load` asked for was read.
    fn loaded(&mut self, py: Python<'_>, now: u64, data: &[u8]) -> PyResult<()> {
        self.machine.loaded(at(now), data).map_err(|e| errors::any(py, &e))
    }

    /// What was asked for cannot be done.
    fn failed(&mut self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.machine.failed(at(now)).map_err(|e| errors::any(py, &e))
    }

    /// Image bytes as a stream, at the first byte that is missing. `peer` is not looked at.
    fn handle_input(&mut self, py: Python<'_>, now: u64, peer: u32, data: &[u8]) -> PyResult<Object> {
        let done = self.machine.handle_input(at(now), Input { peer: Peer(peer), bytes: data });
        let done = done.map_err(|e| errors::any(py, &e))?;
        let told = done.event.map(|e| event(py, e)).transpose()?;
        handled(py, done.consumed, done.needed, told)
    }

    /// Lets a trial end or what was deferred go on, where it is time.
    fn handle_timeout(&mut self, now: u64) {
        self.machine.handle_timeout(at(now));
    }

    /// The next request or the next thing to tell; `Timeout` last.
    #[pyo3(signature = (now, max=65536))]
    fn poll_output(&mut self, py: Python<'_>, now: u64, max: usize) -> PyResult<Object> {
        output(py, self.machine.poll_output(at(now), self.scratch.of(max)), |e| event(py, e))
    }

    /// When to call `handle_timeout` at the latest, in microseconds.
    fn next_timeout(&self) -> Option<u64> {
        self.machine.next_timeout().map(waft::Instant::as_micros)
    }

    /// Where the update stands.
    #[getter]
    fn state(&self, py: Python<'_>) -> PyResult<Object> {
        state(py, self.machine.state())
    }

    /// Which bytes are missing, while it is being fetched.
    #[getter]
    fn wanted(&self, py: Python<'_>) -> PyResult<Option<Object>> {
        self.machine.wanted().map(|w| make!(py, "waft.ota", "Wanted", (w.offset, w.end, w.size))).transpose()
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
        self.machine.tell(at(now), &facts(time, battery, version)?).map_err(|e| errors::any(py, &e))
    }

    /// The first missing bytes of the payload at or behind `start`: (offset, length), or None.
    #[pyo3(signature = (start=0))]
    fn missing(&self, start: u32) -> Option<(u32, u32)> {
        self.machine.missing(start)
    }

    /// Where the payload that is being fetched can be had: the list of chunk digests, or the image.
    #[getter]
    fn payload_uri(&self) -> Option<String> {
        self.machine.payload().map(|payload| payload.uri.to_owned())
    }

    /// The image that is being fetched or was looked at last: 0, unless the device has several.
    #[getter]
    fn image(&self) -> u8 {
        self.machine.image()
    }

    /// The epoch of the key table in use; 0: the factory's.
    #[getter]
    fn epoch(&self) -> u32 {
        self.machine.epoch()
    }

    /// Bytes stored without a gap, and the size of the image.
    #[getter]
    fn progress(&self) -> (u32, u32) {
        self.machine.progress()
    }

    /// The manifest of the update.
    #[getter]
    fn manifest(&self, py: Python<'_>) -> PyResult<Option<Object>> {
        self.machine.manifest().map(|m| manifest_object(py, &m, &[])).transpose()
    }

    /// Manifests with a lower sequence number are refused.
    #[getter]
    fn floor(&self) -> u64 {
        self.machine.floor()
    }

    /// How often in a row the download of this release has come to nothing, over all reboots.
    #[getter]
    fn attempts(&self) -> u8 {
        self.machine.attempts()
    }

    /// The slots of the confirmed images: bit n is that of image n.
    #[getter]
    fn active_slots(&self) -> u8 {
        self.machine.active_slots()
    }

    /// Why the last update failed or was reverted.
    #[getter]
    fn reason(&self) -> Option<&'static str> {
        self.machine.reason().map(Refusal::name)
    }

    fn __repr__(&self) -> String {
        let (have, size) = self.machine.progress();
        format!("<waft.ota.Update {}, {have} of {size} bytes>", self.machine.state().name())
    }
}
