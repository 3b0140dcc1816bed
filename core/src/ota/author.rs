//! Writes and signs manifests: what [`manifest::verify`](super::manifest::verify) takes, and takes back to the same
//! values.
//!
//! The same release and key give the same bytes, always: encoding is canonical and Ed25519 has no randomness.

use super::cose::{ALG_ED25519, ALG_SHA256, Key, SIG_STRUCTURE_MAX, TAG_ENVELOPE, TAG_SIGN1, sig_structure};
use super::digest::Sha256;
use super::keys::{KeyTable, PAYLOAD};
use super::manifest::{
    Component, Image, Manifest, PRIVATE, Payload, Requires, Version, VersionMatch, Wait, parse_unverified, payload,
};
use super::policy::{Severity, UpdateType};
pub use super::secret::SecretKey;
use crate::error::Misuse;
use alloc::vec::Vec;
use core::convert::Infallible;
use minicbor::Encoder;
use minicbor::data::{Int, Tag};

impl Image {
    /// The description of these bytes; `None` where they are 4 GiB or more.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        Some(Self { digest: Sha256::of(bytes), size: u32::try_from(bytes.len()).ok()? })
    }
}

/// Texts for people (suit-text, draft-ietf-suit-manifest-37 §8.4.4). They stand in the envelope, severed from the
/// manifest, which has their digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    /// The language's tag, as `en` or `de-CH`.
    pub language: &'a str,
    /// What the update is about (suit-text-update-description).
    pub description: Option<&'a str>,
    /// Who makes the device (suit-text-vendor-name).
    pub vendor: Option<&'a str>,
    /// What the device is called (suit-text-model-name).
    pub model: Option<&'a str>,
    /// The release as people call it (suit-text-component-version).
    pub version: Option<&'a str>,
}

/// A release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release<'a> {
    /// Above that of every release before it.
    pub sequence: u64,
    /// The vendor's UUID.
    pub vendor: [u8; 16],
    /// The device class's UUID.
    pub class: [u8; 16],
    /// The firmware: see [`Image::of`]. [`Image::NONE`] where the release brings [other images](More::images) only.
    pub image: Image,
    /// Where it is: `coap://…`, or a reference relative to where the manifest is. Visible ASCII; empty where there is none.
    pub uri: &'a str,
    /// The version.
    pub version: Option<Version>,
    /// Software or security.
    pub kind: UpdateType,
    /// How urgent it is.
    pub severity: Severity,
    /// Bytes of image in each MQTT chunk, not 0.
    pub chunk: Option<u32>,
    /// Where the whole manifest can be had.
    pub reference_uri: Option<&'a str>,
    /// What devices have to decide before they install.
    pub requires: Requires,
    /// Texts for people.
    pub text: Option<Text<'a>>,
    /// What few releases have.
    pub more: More<'a>,
}

/// What few releases have: other images, payloads in the envelope, chunk digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct More<'a> {
    /// The firmware itself, to be put into the envelope under its URI, which begins with `#`.
    pub content: Option<&'a [u8]>,
    /// The digests of the firmware's chunks, each of [`Release::chunk`] bytes: see [`chunks::list`](super::chunks::list).
    pub list: Option<List<'a>>,
    /// Images that are installed together with the firmware, or without one.
    pub images: &'a [Extra<'a>],
}

/// A list of chunk digests, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List<'a> {
    /// The list.
    pub bytes: &'a [u8],
    /// Where it is; one that begins with `#` is put into the envelope.
    pub uri: &'a str,
}

/// An image besides the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extra<'a> {
    /// Its number: 1 to 6.
    pub number: u8,
    /// Its digest and size.
    pub image: Image,
    /// Where it is.
    pub uri: &'a str,
    /// The image itself, to be put into the envelope under its URI.
    pub content: Option<&'a [u8]>,
}

/// A new table of the keys that devices trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyChange<'a> {
    /// Above that of every release before it.
    pub sequence: u64,
    /// The vendor's UUID.
    pub vendor: [u8; 16],
    /// The device class's UUID.
    pub class: [u8; 16],
    /// The table.
    pub table: &'a KeyTable,
}

impl KeyChange<'_> {
    /// Writes and signs the envelope. Whether the table may take the place of the one that a device has is for the
    /// device to say: see [`KeyTable::apply`].
    ///
    /// # Errors
    /// [`Misuse::OutOfRange`]: the table has not the key that signs it in it, with the right to sign tables.
    pub fn sign(&self, key: &SecretKey) -> Result<Vec<u8>, Misuse> {
        let Self { sequence, vendor, class, table } = *self;
        let stays = |own: &Key| own.public == key.key().public && own.scope.has(Component::Keys);
        let mut buf = [0; PAYLOAD];
        let content = table.encode(&mut buf).ok().filter(|_| table.keys().iter().any(stays));
        let content = content.ok_or(Misuse::OutOfRange)?;
        let image = Image::of(content).ok_or(Misuse::OutOfRange)?;
        let release = Release {
            sequence,
            vendor,
            class,
            image,
            uri: "#keys",
            version: None,
            kind: UpdateType::Security,
            severity: Severity::High,
            chunk: None,
            reference_uri: None,
            requires: Requires::default(),
            text: None,
            more: More { content: Some(content), ..More::default() },
        };
        release.sign_as(key, Component::Keys)
    }
}

/// One component of a manifest that is being written.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    component: Component,
    image: Image,
    uri: &'a str,
    content: Option<&'a [u8]>,
}

impl Part<'_> {
    const fn is_image(&self) -> bool {
        matches!(self.component, Component::Image(_))
    }
}

type Cbor = Encoder<Vec<u8>>;
type Written = Result<(), minicbor::encode::Error<Infallible>>;

impl<'a> Release<'a> {
    /// Writes and signs the envelope.
    ///
    /// # Errors
    /// [`Misuse::InvalidUri`] for a URI that is empty or not visible ASCII; [`Misuse::OutOfRange`] for what no verifier
    /// would take back as it is: a chunk size of 0, numbers beyond 63 bits where the draft has integers, content that is
    /// not what the digest says; no image at all, or what belongs to a firmware where there is none: content, a list, a version
    /// that has to be installed.
    pub fn sign(&self, key: &SecretKey) -> Result<Vec<u8>, Misuse> {
        self.sign_as(key, Component::Image(0))
    }

    fn sign_as(&self, key: &SecretKey, first: Component) -> Result<Vec<u8>, Misuse> {
        let parts = self.parts(first).ok_or(Misuse::OutOfRange)?;
        let good = |part: &Part<'_>| !part.uri.is_empty() && part.uri.bytes().all(|byte| byte.is_ascii_graphic());
        if !parts.iter().all(good) {
            return Err(Misuse::InvalidUri);
        }
        let envelope = self.envelope(key, &parts).map_err(|_| Misuse::OutOfRange)?;
        // An author never lets out what the verifier reads otherwise.
        match parse_unverified(&envelope, None) {
            Ok(manifest) if self.is(&manifest, &parts) && self.holds(&envelope, &parts) => Ok(envelope),
            _ => Err(Misuse::OutOfRange),
        }
    }

    /// Its components.
    fn parts(&self, first: Component) -> Option<Vec<Part<'a>>> {
        let More { content, list, images } = self.more;
        let mut parts = Vec::new();
        if self.image != Image::NONE {
            parts.push(Part { component: first, image: self.image, uri: self.uri, content });
        } else if images.is_empty() || !self.uri.is_empty() || content.is_some() || list.is_some() {
            return None;
        }
        if let Some(List { bytes, uri }) = list {
            let content = uri.starts_with('#').then_some(bytes);
            parts.push(Part { component: Component::Chunks(0), image: Image::of(bytes)?, uri, content });
        }
        for Extra { number, image, uri, content } in images {
            let component = Component::Image(*number);
            parts.push(Part { component, image: *image, uri, content: *content });
        }
        Some(parts)
    }

    /// Whether `manifest` says what this release says.
    fn is(&self, manifest: &Manifest<'_>, parts: &[Part<'_>]) -> bool {
        let firmware = parts.first().filter(|part| part.component == Component::Image(0));
        let image = parts.first().filter(|part| part.is_image());
        let expected = Manifest {
            sequence: self.sequence,
            digest: manifest.digest,
            signer: manifest.signer,
            vendor: self.vendor,
            class: self.class,
            payloads: parts.len(),
            image: firmware.map_or(Image::NONE, |part| part.image),
            uri: firmware.map_or("", |part| part.uri),
            version: self.version,
            kind: image.map_or(UpdateType::Software, |_| self.kind),
            severity: image.map_or(Severity::Medium, |_| self.severity),
            chunk: self.chunk,
            reference_uri: self.reference_uri,
            requires: self.requires,
        };
        *manifest == expected
    }

    /// Whether the envelope's payloads are those of this release.
    fn holds(&self, envelope: &[u8], parts: &[Part<'_>]) -> bool {
        (0..parts.len()).all(|n| {
            payload(envelope, None, n).is_some_and(|found| {
                let Payload { component, image, uri, content, chunks } = found;
                let listed = self.more.list.is_some() && component == Component::Image(0);
                chunks.is_some() == listed
                    && parts.iter().any(|part| {
                        (component, image, uri, content) == (part.component, part.image, part.uri, part.content)
                    })
            })
        })
    }

    fn envelope(&self, key: &SecretKey, parts: &[Part<'_>]) -> Result<Vec<u8>, minicbor::encode::Error<Infallible>> {
        let component = parts.first().map_or(Component::Image(0), |part| part.component);
        let text = self.text.as_ref().map(|said| text(said, component)).transpose()?;
        // Digests cover members with their heads.
        let text = text.map(|text| wrap(&text)).transpose()?;
        let manifest = wrap(&self.manifest(parts, text.as_deref())?)?;

        let payload = encode(|e| digest(e, &Sha256::of(&manifest)))?;
        let protected = encode(|e| e.map(2)?.u8(1)?.int(int(ALG_ED25519))?.u8(4)?.bytes(&key.key().id).map(drop))?;
        let mut buf = [0; SIG_STRUCTURE_MAX];
        let signature = key.sign(sig_structure(&protected, &payload, &mut buf));
        let sign1 = encode(|e| {
            e.tag(Tag::new(TAG_SIGN1.into()))?.array(4)?;
            e.bytes(&protected)?.map(0)?.null()?.bytes(&signature).map(drop)
        })?;
        let block = encode(|e| e.array(2)?.bytes(&payload)?.bytes(&sign1).map(drop))?;

        // In the order of their encoded keys, each once.
        let mut integrated = alloc::collections::BTreeMap::new();
        for Part { uri, content, .. } in parts {
            if let Some(content) = content {
                integrated.insert(encode(|e| e.str(uri).map(drop))?, wrap(content)?);
            }
        }
        let members = (if text.is_some() { 3_u64 } else { 2 }).saturating_add(integrated.len() as u64);
        let mut envelope = encode(|e| {
            e.tag(Tag::new(TAG_ENVELOPE.into()))?.map(members)?;
            e.u8(2)?.bytes(&block)?.u8(3).map(drop)
        })?;
        envelope.extend_from_slice(&manifest);
        if let Some(text) = text {
            envelope.push(23);
            envelope.extend_from_slice(&text);
        }
        for (key, content) in integrated {
            envelope.extend(key);
            envelope.extend(content);
        }
        Ok(envelope)
    }

    fn manifest(
        &self,
        parts: &[Part<'_>],
        text: Option<&[u8]>,
    ) -> Result<Vec<u8>, minicbor::encode::Error<Infallible>> {
        let common = encode(|e| {
            e.map(2)?.u8(2)?.array(parts.len() as u64)?;
            for part in parts {
                identifier(e, part.component)?;
            }
            e.u8(4)?.bytes(&self.shared(parts)?).map(drop)
        })?;
        let mut validate = Commands::new(parts);
        let mut invoke = Commands::new(parts);
        for (n, part) in parts.iter().enumerate() {
            validate.about(n)?;
            validate.policy(3, 15)?;
            if n == 0 && part.component == Component::Image(0) {
                invoke.about(n)?;
                invoke.policy(23, 2)?;
            }
        }
        let (validate, invoke) = (validate.finish()?, invoke.finish()?);
        let install = self.install(parts)?;
        encode(|e| {
            let invoked = invoke.len() > 1;
            let optional = [self.reference_uri.is_some(), self.version.is_some(), text.is_some(), invoked];
            let members = optional.iter().filter(|there| **there).count() as u64;
            e.map(members.saturating_add(5))?.u8(1)?.u8(1)?.u8(2)?.u64(self.sequence)?.u8(3)?.bytes(&common)?;
            if let Some(uri) = self.reference_uri {
                e.u8(4)?.str(uri)?;
            }
            if let Some(version) = &self.version {
                e.u8(6)?.bytes(&encode(|e| numbers(e, version))?)?;
            }
            e.u8(7)?.bytes(&validate)?;
            if invoked {
                e.u8(9)?.bytes(&invoke)?;
            }
            e.u8(20)?.bytes(&install)?;
            if let Some(text) = text {
                e.u8(23)?;
                digest(e, &Sha256::of(text))?;
            }
            Ok(())
        })
    }

    /// Who it is for and what it is.
    fn shared(&self, parts: &[Part<'_>]) -> Result<Vec<u8>, minicbor::encode::Error<Infallible>> {
        let device = self.requires.device;
        let mut commands = Commands::new(parts);
        for (n, part) in parts.iter().enumerate() {
            commands.about(n)?;
            let first = n == 0;
            // The type and the urgency are the first image's.
            let leads = first && part.is_image();
            let there = [first, first, true, true, first && device.is_some(), leads, leads];
            commands.set(there.iter().filter(|there| **there).count(), |e| {
                if first {
                    e.u8(1)?.bytes(&self.vendor)?.u8(2)?.bytes(&self.class)?;
                }
                e.u8(3)?.bytes(&encode(|e| digest(e, &part.image.digest))?)?.u8(14)?.u32(part.image.size)?;
                if let Some(device) = device.filter(|_| first) {
                    e.u8(24)?.bytes(&device)?;
                }
                if leads {
                    e.u8(27)?.u8(self.severity.priority())?;
                    e.int(int(PRIVATE))?.bytes(&encode(|e| self.private(e))?)?;
                }
                Ok(())
            })?;
            for condition in [Some(1), Some(2), device.map(|_| 24)].into_iter().flatten().filter(|_| first) {
                commands.policy(condition, 15)?;
            }
        }
        commands.finish()
    }

    fn private(&self, e: &mut Cbor) -> Written {
        let list = self.more.list.map(|list| Sha256::of(list.bytes));
        let items = [true, self.chunk.is_some(), list.is_some()];
        e.array(items.iter().filter(|there| **there).count() as u64)?.u8(self.kind as u8)?;
        if let Some(chunk) = self.chunk {
            e.u32(chunk)?;
        }
        if let Some(list) = list {
            e.bytes(&list)?;
        }
        Ok(())
    }

    /// Where it is, and what has to hold before it is fetched.
    fn install(&self, parts: &[Part<'_>]) -> Result<Vec<u8>, minicbor::encode::Error<Infallible>> {
        let Requires { use_before, battery, authorization, version: [first, second], wait, .. } = self.requires;
        let (first, second) = if first.is_some() { (first, second) } else { (second, None) };
        let mut commands = Commands::new(parts);
        // The lists of chunk digests are fetched before their images; what the device has to decide comes before all.
        let mut order: Vec<_> = parts.iter().enumerate().collect();
        order.sort_by_key(|(_, part)| !matches!(part.component, Component::Chunks(_)));
        let conditions = [use_before.map(|_| 4), battery.map(|_| 26), authorization.then_some(27), first.map(|_| 28)];
        let decided = conditions.iter().flatten().count() != 0 || wait.is_some();
        // With one component, all of it is set at once.
        let together = parts.len() == 1;
        if decided || together {
            commands.about(0)?;
            let uri = parts.first().map(|part| part.uri).filter(|_| together);
            let there = [uri.is_some(), use_before.is_some(), battery.is_some(), first.is_some(), wait.is_some()];
            let count = there.iter().filter(|there| **there).count();
            if count != 0 {
                commands.set(count, |e| {
                    if let Some(time) = use_before {
                        e.u8(4)?.u64(time)?;
                    }
                    if let Some(uri) = uri {
                        e.u8(21)?.str(uri)?;
                    }
                    if let Some(charge) = battery {
                        e.u8(26)?.u32(charge)?;
                    }
                    if let Some(wanted) = &first {
                        required_version(e, wanted)?;
                    }
                    if let Some(wait) = &wait {
                        e.u8(29)?.bytes(&encode(|e| events(e, wait))?)?;
                    }
                    Ok(())
                })?;
            }
            for condition in conditions.into_iter().flatten() {
                commands.policy(condition, 15)?;
            }
            if let Some(wanted) = &second {
                commands.set(1, |e| required_version(e, wanted))?;
                commands.policy(28, 15)?;
            }
            if wait.is_some() {
                commands.policy(29, 2)?;
            }
        }
        for (n, part) in order {
            if !together {
                commands.about(n)?;
                commands.set(1, |e| e.u8(21)?.str(part.uri).map(drop))?;
            }
            commands.policy(21, 2)?;
            commands.policy(3, 15)?;
        }
        commands.finish()
    }
}

/// A command sequence that is being written.
struct Commands {
    encoder: Cbor,
    count: u64,
    /// Commands have to say which component they are about.
    several: bool,
}

impl Commands {
    fn new(parts: &[Part<'_>]) -> Self {
        Self { encoder: Encoder::new(Vec::new()), count: 0, several: parts.len() > 1 }
    }

    /// The next commands are about that component.
    fn about(&mut self, component: usize) -> Written {
        if self.several {
            self.count = self.count.saturating_add(1);
            self.encoder.u8(12)?.u64(component as u64)?;
        }
        Ok(())
    }

    /// override-parameters with so many of them.
    fn set(&mut self, count: usize, parameters: impl FnOnce(&mut Cbor) -> Written) -> Written {
        self.count = self.count.saturating_add(1);
        self.encoder.u8(20)?.map(count as u64)?;
        parameters(&mut self.encoder)
    }

    /// A command that has a reporting policy only.
    fn policy(&mut self, code: u8, policy: u8) -> Written {
        self.count = self.count.saturating_add(1);
        self.encoder.u8(code)?.u8(policy).map(drop)
    }

    fn finish(self) -> Result<Vec<u8>, minicbor::encode::Error<Infallible>> {
        let mut sequence = encode(|e| e.array(self.count.saturating_mul(2)).map(drop))?;
        sequence.extend(self.encoder.into_writer());
        Ok(sequence)
    }
}

/// A component identifier.
fn identifier(e: &mut Cbor, component: Component) -> Written {
    match component {
        Component::Image(n) => e.array(1)?.bytes(&[n])?,
        Component::Chunks(n) => e.array(2)?.bytes(&[n])?.bytes(b"chunks")?,
        Component::Keys => e.array(1)?.bytes(b"keys")?,
    };
    Ok(())
}

/// suit-parameter-wait-info.
fn events(e: &mut Cbor, wait: &Wait) -> Written {
    let Wait { power, network, time, time_of_day, day_of_week } = *wait;
    let there = [power.is_some(), network.is_some(), time.is_some(), time_of_day.is_some(), day_of_week.is_some()];
    e.map(there.iter().filter(|there| **there).count() as u64)?;
    for (key, state) in [(2, power), (3, network)] {
        if let Some(state) = state {
            e.u8(key)?.i32(state)?;
        }
    }
    for (key, when) in [(5, time), (8, time_of_day.map(u64::from)), (9, day_of_week.map(u64::from))] {
        if let Some(when) = when {
            e.u8(key)?.u64(when)?;
        }
    }
    Ok(())
}

/// suit-text in one language, about that component.
fn text(text: &Text<'_>, about: Component) -> Result<Vec<u8>, minicbor::encode::Error<Infallible>> {
    let component = [(1, text.vendor), (2, text.model), (6, text.version)];
    let component = || component.iter().filter_map(|(key, text)| text.map(|text| (*key, text)));
    encode(|e| {
        let count = component().count() as u64;
        let pairs = u64::from(text.description.is_some()).saturating_add(u64::from(count != 0));
        e.map(1)?.str(text.language)?.map(pairs)?;
        if let Some(description) = text.description {
            e.u8(2)?.str(description)?;
        }
        if count != 0 {
            identifier(e, about)?;
            e.map(count)?;
            for (key, text) in component() {
                e.u8(key)?.str(text)?;
            }
        }
        Ok(())
    })
}

fn required_version(e: &mut Cbor, wanted: &VersionMatch) -> Written {
    let encoded = encode(|e| {
        e.array(2)?.u8(wanted.comparison as u8)?;
        numbers(e, &wanted.version)
    })?;
    e.u8(28)?.bytes(&encoded).map(drop)
}

fn numbers(e: &mut Cbor, version: &Version) -> Written {
    e.array(version.numbers().len() as u64)?;
    for number in version.numbers() {
        e.i32(*number)?;
    }
    Ok(())
}

fn digest(e: &mut Cbor, digest: &[u8; 32]) -> Written {
    e.array(2)?.int(int(ALG_SHA256))?.bytes(digest).map(drop)
}

fn int(value: i32) -> Int {
    Int::from(value)
}

fn encode(items: impl FnOnce(&mut Cbor) -> Written) -> Result<Vec<u8>, minicbor::encode::Error<Infallible>> {
    let mut encoder = Encoder::new(Vec::new());
    items(&mut encoder)?;
    Ok(encoder.into_writer())
}

/// `bytes` as a byte string.
fn wrap(bytes: &[u8]) -> Result<Vec<u8>, minicbor::encode::Error<Infallible>> {
    encode(|e| e.bytes(bytes).map(drop))
}
