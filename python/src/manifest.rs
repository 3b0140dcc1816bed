//! `waft.ota`: keys, signed manifests, chunk digests, tables of keys.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use waft::Code;
use waft::ota::author::{self, Extra, KeyChange, List, More, Text};
use waft::ota::chunks::{self, ChunkDigests};
use waft::ota::cose;
use waft::ota::keys::{self, KeyTable, Scope};
use waft::ota::manifest::{
    self, Component, Ed25519, Image, Key, Manifest, Payload, Requires, Section, Verifier, Visit, Wait,
};
use waft::ota::refusal::Refusal;
use waft::ota::report::{self, Report, State};
use waft::ota::reporter;

use crate::bridge::{Object, bytes, make};
use crate::errors;
use crate::ota::{exactly, severity, update_type};

/// A key as Python has it: public key, scope, epoch.
type PlainKey = (Vec<u8>, u8, u32);

/// What a device has to decide, as Python has it: use-before, battery, authorisation, versions, device, what to wait for.
type PlainRequires = (Option<u64>, Option<u32>, bool, Vec<String>, Option<Vec<u8>>, Option<PlainWait>);

/// Power, network, time, time of the day, day of the week.
type PlainWait = (Option<i32>, Option<i32>, Option<u64>, Option<u32>, Option<u8>);

/// Language, description, vendor, model, version.
type PlainText = (String, Option<String>, Option<String>, Option<String>, Option<String>);

/// Number, image, URI, whether the image goes into the envelope.
type PlainExtra = (u8, Vec<u8>, String, bool);

fn trusted(keys: &[PlainKey]) -> PyResult<Vec<Key>> {
    keys.iter()
        .map(|(public, scope, epoch)| {
            Ok(Key { scope: Scope(*scope), epoch: *epoch, ..Key::new(exactly("a public key", public)?) })
        })
        .collect()
}

fn plain(key: &Key) -> PlainKey {
    (key.public.to_vec(), key.scope.0, key.epoch)
}

fn component(component: Component) -> (&'static str, u8) {
    match component {
        Component::Image(n) => ("image", n),
        Component::Chunks(n) => ("chunks", n),
        Component::Keys => ("keys", 0),
    }
}

fn requires_of(requires: &Requires) -> PlainRequires {
    let Requires { use_before, battery, authorization, version, device, wait } = requires;
    let versions = version.iter().flatten().map(ToString::to_string).collect();
    let wait = wait.map(|wait| (wait.power, wait.network, wait.time, wait.time_of_day, wait.day_of_week));
    (*use_before, *battery, *authorization, versions, device.map(|device| device.to_vec()), wait)
}

fn requires(plain: PlainRequires) -> PyResult<Requires> {
    let (use_before, battery, authorization, versions, device, wait) = plain;
    let mut version = [None; 2];
    if versions.len() > version.len() {
        return Err(PyValueError::new_err("at most two versions can be required"));
    }
    for (place, text) in version.iter_mut().zip(&versions) {
        *place = Some(text.parse().map_err(|_| {
            PyValueError::new_err(format!("a version is required as in \">=1.2.0\" or \"<2\", not {text:?}"))
        })?);
    }
    let device = device.map(|device| exactly("the device's UUID", &device)).transpose()?;
    let wait = wait.map(|(power, network, time, time_of_day, day_of_week)| Wait {
        power,
        network,
        time,
        time_of_day,
        day_of_week,
    });
    Ok(Requires { use_before, battery, authorization, version, device, wait })
}

/// `waft.ota.Manifest`.
pub(crate) fn manifest_object(py: Python<'_>, m: &Manifest<'_>, payloads: &[Payload<'_>]) -> PyResult<Object> {
    let fields = PyDict::new(py);
    fields.set_item("sequence", m.sequence)?;
    fields.set_item("version", m.version.map(|version| version.to_string()))?;
    fields.set_item("vendor", bytes(py, &m.vendor))?;
    fields.set_item("class_id", bytes(py, &m.class))?;
    fields.set_item("kind", m.kind.name())?;
    fields.set_item("severity", m.severity.name())?;
    fields.set_item("uri", m.uri)?;
    fields.set_item("image_digest", bytes(py, &m.image.digest))?;
    fields.set_item("image_size", m.image.size)?;
    fields.set_item("chunk", m.chunk)?;
    fields.set_item("digest", bytes(py, &m.digest))?;
    fields.set_item("signer", m.signer.map(|id| bytes(py, &id)))?;
    fields.set_item("reference_uri", m.reference_uri)?;
    fields.set_item("requires", requires_of(&m.requires))?;
    let payloads = payloads.iter().map(|payload| {
        let Payload { component: role, image, uri, content, chunks } = payload;
        let (kind, number) = component(*role);
        let content = content.map(|content| bytes(py, content));
        let chunks = chunks.map(|chunks| (chunks.chunk(), bytes(py, chunks.digest())));
        (kind, number, bytes(py, &image.digest), image.size, *uri, content, chunks)
    });
    fields.set_item("payloads", payloads.collect::<Vec<_>>())?;
    make!(py, "waft._manifest", "_manifest", (fields,))
}

/// An author's Ed25519 key.
#[pyclass(module = "waft.ota", frozen)]
pub(crate) struct SecretKey {
    pub(crate) key: author::SecretKey,
    pub(crate) seed: [u8; 32],
}

#[pymethods]
impl SecretKey {
    /// The key that grows from 32 random bytes.
    #[new]
    fn new(seed: &[u8]) -> PyResult<Self> {
        let seed = exactly("a seed", seed)?;
        let key = author::SecretKey::from_seed(&seed)
            .ok_or_else(|| PyValueError::new_err("a seed of zeros is no key: take random bytes"))?;
        Ok(Self { key, seed })
    }

    /// A new key, from the system's randomness.
    #[staticmethod]
    fn generate(py: Python<'_>) -> PyResult<Self> {
        let random = py.import("secrets")?.getattr("token_bytes")?.call1((32,))?;
        Self::new(random.cast::<PyBytes>()?.as_bytes())
    }

    /// The 32 bytes that make the key. Keep them secret.
    #[getter]
    fn seed(&self) -> Vec<u8> {
        self.seed.to_vec()
    }

    /// The public key: 32 bytes.
    #[getter]
    fn public(&self) -> Vec<u8> {
        self.key.key().public.to_vec()
    }

    /// The key identifier that manifests name: 8 bytes.
    #[getter]
    fn id(&self) -> Vec<u8> {
        self.key.key().id.to_vec()
    }

    /// The Ed25519 signature of a message: 64 bytes.
    fn sign_message(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(message).to_vec()
    }

    /// The signed envelope of a release; use `waft.ota.Release`.
    #[pyo3(signature = (image, *, vendor, class_id, sequence, version, kind, severity, uri, chunk, reference_uri=None, requires=None, text=None, content=false, list_uri=None, images=vec![]))]
    #[allow(clippy::too_many_arguments, reason = "keywords")]
    fn sign(
        &self,
        py: Python<'_>,
        image: Option<&[u8]>,
        vendor: &[u8],
        class_id: &[u8],
        sequence: u64,
        version: Option<&str>,
        kind: &str,
        severity: &str,
        uri: &str,
        chunk: Option<u32>,
        reference_uri: Option<&str>,
        requires: Option<PlainRequires>,
        text: Option<PlainText>,
        content: bool,
        list_uri: Option<&str>,
        images: Vec<PlainExtra>,
    ) -> PyResult<Vec<u8>> {
        let version = match version {
            Some(text) => Some(text.parse().map_err(|_| {
                PyValueError::new_err(format!("a version is up to 5 numbers and a stage, like 1.2.0, not {text:?}"))
            })?),
            None => None,
        };
        let described =
            |image: &[u8]| Image::of(image).ok_or_else(|| PyValueError::new_err("an image is shorter than 4 GiB"));
        let firmware = image.map(described).transpose()?.unwrap_or(Image::NONE);
        let image = image.unwrap_or_default();
        let list = chunks::list(image, list_uri.and(chunk).unwrap_or(0));
        let mut extras = Vec::new();
        for (number, image, uri, content) in &images {
            extras.push(Extra { number: *number, image: described(image)?, uri, content: content.then_some(image) });
        }
        let release = author::Release {
            sequence,
            vendor: exactly("the vendor's UUID", vendor)?,
            class: exactly("the class's UUID", class_id)?,
            image: firmware,
            uri,
            version,
            kind: update_type(kind)?,
            severity: self::severity(severity)?,
            chunk,
            reference_uri,
            requires: requires.map(self::requires).transpose()?.unwrap_or_default(),
            text: text.as_ref().map(|(language, description, vendor, model, version)| Text {
                language,
                description: description.as_deref(),
                vendor: vendor.as_deref(),
                model: model.as_deref(),
                version: version.as_deref(),
            }),
            more: More {
                content: content.then_some(image),
                list: list_uri.map(|uri| List { bytes: &list, uri }),
                images: &extras,
            },
        };
        release.sign(&self.key).map_err(|e| errors::misuse(py, e))
    }

    /// The signed envelope of a table of keys; use `waft.ota.KeyTable`.
    #[pyo3(signature = (*, vendor, class_id, sequence, epoch, keys))]
    fn sign_keys(
        &self,
        py: Python<'_>,
        vendor: &[u8],
        class_id: &[u8],
        sequence: u64,
        epoch: u32,
        keys: Vec<PlainKey>,
    ) -> PyResult<Vec<u8>> {
        let change = KeyChange {
            sequence,
            vendor: exactly("the vendor's UUID", vendor)?,
            class: exactly("the class's UUID", class_id)?,
            table: &table(epoch, &keys)?,
        };
        change.sign(&self.key).map_err(|e| errors::misuse(py, e))
    }

    fn __repr__(&self) -> String {
        let id: String = self.key.key().id.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("<waft.ota.SecretKey {id}>")
    }
}

/// The payloads of an envelope that was found good.
fn payloads(envelope: &[u8]) -> Vec<Payload<'_>> {
    (0..).map_while(|n| manifest::payload(envelope, None, n)).collect()
}

/// Checks an envelope as a device does.
#[pyfunction]
#[pyo3(signature = (envelope, keys))]
pub(crate) fn verify(py: Python<'_>, envelope: &[u8], keys: Vec<PlainKey>) -> PyResult<Object> {
    let manifest = manifest::verify(envelope, &trusted(&keys)?, &Ed25519).map_err(|e| errors::peer(py, &e))?;
    manifest_object(py, &manifest, &payloads(envelope))
}

/// Reads an envelope without asking who signed it.
#[pyfunction]
pub(crate) fn inspect(py: Python<'_>, envelope: &[u8]) -> PyResult<Object> {
    let manifest = manifest::parse_unverified(envelope, None).map_err(|e| errors::peer(py, &e))?;
    manifest_object(py, &manifest, &payloads(envelope))
}

/// What a manifest says, in order: (what, depth, key, value).
struct Steps(Vec<(&'static str, usize, i32, Vec<u8>)>);

impl<'a> Visit<'a> for Steps {
    fn sequence(&mut self, section: Section, depth: usize, alternative: bool) {
        self.0.push((if alternative { "alternative" } else { "sequence" }, depth, section as i32, vec![]));
    }

    fn command(&mut self, depth: usize, code: i32, argument: &'a [u8]) {
        self.0.push(("command", depth, code, argument.to_vec()));
    }

    fn parameter(&mut self, depth: usize, key: i32, value: &'a [u8]) {
        self.0.push(("parameter", depth, key, value.to_vec()));
    }

    fn text(&mut self, language: &'a str, component: Option<&'a [u8]>, key: i32, text: &'a str) {
        let what = if component.is_some() { "component text" } else { "text" };
        self.0.push((what, 0, key, format!("{language}: {text}").into_bytes()));
    }
}

/// All that any well-formed envelope says, whether or not a device can apply it: sequence number, digest, key identifier,
/// reference URI, version, components (encoded), and the steps of its sequences.
#[pyfunction]
#[allow(clippy::type_complexity, reason = "taken apart by waft.ota.walk")]
pub(crate) fn walk<'py>(
    py: Python<'py>,
    envelope: &[u8],
) -> PyResult<(
    u64,
    Bound<'py, PyBytes>,
    Option<Bound<'py, PyBytes>>,
    Option<String>,
    Option<String>,
    Bound<'py, PyBytes>,
    Vec<(&'static str, usize, i32, Bound<'py, PyBytes>)>,
)> {
    let mut steps = Steps(Vec::new());
    let found = manifest::inspect(envelope, &mut steps).map_err(|e| errors::peer(py, &e))?;
    Ok((
        found.sequence,
        bytes(py, &found.digest),
        found.key_id.map(|id| bytes(py, &id)),
        found.reference_uri.map(String::from),
        found.version.map(|version| version.to_string()),
        bytes(py, found.components),
        steps.0.iter().map(|(what, depth, key, value)| (*what, *depth, *key, bytes(py, value))).collect(),
    ))
}

/// Whether `signature` is the Ed25519 signature of `message` by the holder of the public `key` (RFC 8032 §5.1.7), as
/// strictly as manifests are judged.
#[pyfunction]
pub(crate) fn verify_signature(key: &[u8], message: &[u8], signature: &[u8]) -> PyResult<bool> {
    let key = exactly("a public key", key)?;
    Ok(<&[u8; 64]>::try_from(signature).is_ok_and(|signature| Ed25519.verify(&key, message, signature)))
}

/// The identifier of a public key: 8 bytes.
#[pyfunction]
pub(crate) fn key_id(public: &[u8]) -> PyResult<Vec<u8>> {
    Ok(waft::ota::cose::key_id(&exactly("a public key", public)?).to_vec())
}

fn table(epoch: u32, keys: &[PlainKey]) -> PyResult<KeyTable> {
    KeyTable::of(epoch, &trusted(keys)?)
        .ok_or_else(|| PyValueError::new_err(format!("a table has 1 to {} keys, each once", keys::MAX_KEYS)))
}

/// A table of keys as bytes: as a payload, or as it stands in flash.
#[pyfunction]
pub(crate) fn encode_keys(epoch: u32, keys: Vec<PlainKey>, flash: bool) -> PyResult<Vec<u8>> {
    let table = table(epoch, &keys)?;
    if flash {
        return Ok(table.to_bytes().to_vec());
    }
    let mut out = [0; keys::PAYLOAD];
    table.encode(&mut out).map(<[u8]>::to_vec).map_err(|_| PyValueError::new_err("it does not fit"))
}

/// Reads a table of keys, as a payload or as it stands in flash: its epoch, and the keys.
#[pyfunction]
pub(crate) fn read_keys(py: Python<'_>, data: &[u8]) -> PyResult<(u32, Vec<PlainKey>)> {
    let read = match <&[u8; keys::LEN]>::try_from(data) {
        Ok(flash) => KeyTable::from_bytes(flash).ok_or(Refusal::KeyTable),
        Err(_) => KeyTable::decode(data),
    };
    let table = read.map_err(|e| errors::peer(py, &e))?;
    Ok((table.epoch(), table.keys().iter().map(plain).collect()))
}

/// The table that takes the place of another one.
#[pyfunction]
pub(crate) fn apply_keys(
    py: Python<'_>,
    epoch: u32,
    keys: Vec<PlainKey>,
    payload: &[u8],
    signer: &[u8],
) -> PyResult<(u32, Vec<PlainKey>)> {
    let signer = exactly("a key identifier", signer)?;
    let table = table(epoch, &keys)?.apply(payload, &signer).map_err(|e| errors::peer(py, &e))?;
    Ok((table.epoch(), table.keys().iter().map(plain).collect()))
}

/// The list of the digests of an image's chunks.
#[pyfunction]
pub(crate) fn chunk_list(image: &[u8], chunk: u32) -> PyResult<Vec<u8>> {
    if chunk == 0 {
        return Err(PyValueError::new_err("the chunk size must be positive"));
    }
    Ok(chunks::list(image, chunk))
}

/// Raises `Refusal` where `data` are not chunk `n` of an image of `size` bytes.
#[pyfunction]
pub(crate) fn check_chunk(py: Python<'_>, list: &[u8], chunk: u32, size: u32, n: u32, data: &[u8]) -> PyResult<()> {
    let check = || {
        let digests = ChunkDigests::new(chunk, size, [0; 32]).ok_or(Refusal::ChunkList)?;
        let at = digests.entry(n).ok_or(Refusal::Size)? as usize;
        let entry = list.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Refusal::ChunkList)?;
        digests.check(n, entry, data)
    };
    check().map_err(|e: Refusal| errors::peer(py, &e))
}

/// Every reason for which an update is refused, in other vocabularies: (name, number, suit-report-reason, LwM2M update
/// result, FUMO).
#[pyfunction]
pub(crate) fn refusal_table() -> Vec<(&'static str, i32, u8, u8, u16)> {
    let row = |refusal: &Refusal| {
        (Refusal::name(*refusal), refusal.code(), refusal.suit_report(), refusal.lwm2m_result(), refusal.fumo())
    };
    Refusal::ALL.iter().map(row).collect()
}

/// A SUIT_Report: state, reason (a refusal's name), version, sequence number, the manifest's digest and its reference URI.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "a report's members")]
pub(crate) fn encode_report(
    py: Python<'_>,
    state: &str,
    reason: Option<&str>,
    version: Option<&str>,
    sequence: u64,
    digest: &[u8],
    attempts: u8,
    reference_uri: &str,
) -> PyResult<Vec<u8>> {
    let state = State::ALL.into_iter().find(|known| known.name() == state);
    let refusal = reason.map(|name| Refusal::ALL.iter().copied().find(|known| Refusal::name(*known) == name));
    if refusal == Some(None) {
        return Err(PyValueError::new_err(format!("no refusal is called {reason:?}")));
    }
    let report = Report {
        state: state.ok_or_else(|| PyValueError::new_err("no such state"))?,
        reason: refusal.flatten(),
        version: version
            .map(str::parse)
            .transpose()
            .map_err(|_| PyValueError::new_err(format!("no version: {version:?}")))?,
        sequence,
        digest: exactly("a digest", digest)?,
        attempts,
    };
    let mut out = vec![0; report::MAX.saturating_add(reference_uri.len())];
    report.encode(reference_uri, &mut out).map(<[u8]>::to_vec).map_err(|_| errors::misuse(py, waft::Misuse::OutOfRange))
}

/// Reads a SUIT_Report of waft's: the report, and the reference URI of the manifest that it is about.
#[pyfunction]
pub(crate) fn read_report(py: Python<'_>, data: &[u8]) -> PyResult<(Object, String)> {
    let (report, uri) = Report::decode(data).map_err(|e| errors::peer(py, &e))?;
    Ok((crate::ota::report(py, &report)?, uri.into()))
}

/// A signed report of a device's: the report, its number, and the identifier of the key.
#[pyfunction]
pub(crate) fn open_report(py: Python<'_>, signed: &[u8], keys: Vec<PlainKey>, last: u64) -> PyResult<Object> {
    let keys = trusted(&keys)?;
    let mut scratch = vec![0; signed.len().saturating_add(cose::SIGNED)];
    let told = reporter::open(signed, &keys, &Ed25519, last, &mut scratch).map_err(|e| errors::peer(py, &e))?;
    let args = (crate::ota::report(py, &told.report)?, told.nonce, bytes(py, &told.key.id));
    make!(py, "waft.ota", "SignedReport", args)
}

/// A payload with a signature around it: a COSE_Sign1.
#[pyfunction]
pub(crate) fn sign1(py: Python<'_>, payload: &[u8], key: &SecretKey) -> PyResult<Vec<u8>> {
    let mut out = vec![0; payload.len().saturating_add(cose::SIGNED)];
    let signed = cose::sign1(payload, &key.key, &mut out).map(<[u8]>::to_vec);
    signed.map_err(|_| errors::misuse(py, waft::Misuse::OutOfRange))
}

/// The payload of a COSE_Sign1, and the identifier of the key that signed it.
#[pyfunction]
pub(crate) fn open1<'py>(
    py: Python<'py>,
    signed: &[u8],
    keys: Vec<PlainKey>,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let keys = trusted(&keys)?;
    let opened = cose::open1(signed, &keys, &Ed25519, &mut vec![0; signed.len().saturating_add(cose::SIGNED)]);
    let (payload, key) = opened.map_err(|e| errors::peer(py, &e))?;
    Ok((bytes(py, payload), bytes(py, &key.id)))
}
