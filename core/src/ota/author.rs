//! Writes and signs manifests: what [`manifest::verify`](super::manifest::verify) takes, and takes back to the same
//! values.
//!
//! The same release and key give the same bytes, always: encoding is canonical and Ed25519 has no randomness.

use super::cose::{ALG_ED25519, ALG_SHA256, Key, SIG_STRUCTURE_MAX, TAG_ENVELOPE, TAG_SIGN1, sig_structure};
use super::digest::Sha256;
use super::manifest::{Image, Manifest, PRIVATE, Requires, Version, VersionMatch, parse_unverified};
use super::policy::{Severity, UpdateType};
use crate::error::Misuse;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;
use ed25519_compact::{KeyPair, Seed};
use minicbor::Encoder;
use minicbor::data::{Int, Tag};

/// An author's secret key.
pub struct SecretKey {
    pair: KeyPair,
    key: Key,
}

impl SecretKey {
    /// The key that grows from 32 random bytes (RFC 8032 §5.1.5). `None` where they are all zero, which is no key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Option<Self> {
        let pair = KeyPair::try_from_seed(Seed::new(*seed)).ok()?;
        let key = Key::new(*pair.pk);
        Some(Self { pair, key })
    }

    /// The public key with its identifier: what devices have to trust.
    #[must_use]
    pub const fn key(&self) -> Key {
        self.key
    }

    /// The Ed25519 signature of `message` (RFC 8032 §5.1.6).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        *self.pair.sk.sign(message, None)
    }
}

impl fmt::Debug for SecretKey {
    /// Shows the public key only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("key", &self.key).finish_non_exhaustive()
    }
}

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
    /// The image: see [`Image::of`].
    pub image: Image,
    /// Where it is: `coap://…`, or a reference relative to where the manifest is. Visible ASCII.
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
}

type Cbor = Encoder<Vec<u8>>;
type Written = Result<(), minicbor::encode::Error<Infallible>>;

impl Release<'_> {
    /// Writes and signs the envelope.
    ///
    /// # Errors
    /// [`Misuse::InvalidUri`] for a URI that is empty or not visible ASCII; [`Misuse::OutOfRange`] for what no verifier
    /// would take back as it is: a chunk size of 0, numbers beyond 63 bits where the draft has integers.
    pub fn sign(&self, key: &SecretKey) -> Result<Vec<u8>, Misuse> {
        if self.uri.is_empty() || !self.uri.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Misuse::InvalidUri);
        }
        let envelope = self.envelope(key).map_err(|_| Misuse::OutOfRange)?;
        // An author never lets out what the verifier reads otherwise.
        match parse_unverified(&envelope, None) {
            Ok(manifest) if self.is(&manifest) => Ok(envelope),
            _ => Err(Misuse::OutOfRange),
        }
    }

    /// Whether `manifest` says what this release says.
    fn is(&self, manifest: &Manifest<'_>) -> bool {
        let expected = Manifest {
            sequence: self.sequence,
            digest: manifest.digest,
            signer: manifest.signer,
            vendor: self.vendor,
            class: self.class,
            payloads: manifest.payloads,
            image: self.image,
            uri: self.uri,
            version: self.version,
            kind: self.kind,
            severity: self.severity,
            chunk: self.chunk,
            reference_uri: self.reference_uri,
            requires: self.requires,
        };
        *manifest == expected
    }

    fn envelope(&self, key: &SecretKey) -> Result<Vec<u8>, minicbor::encode::Error<Infallible>> {
        let text = self.text.as_ref().map(text).transpose()?;
        // Digests cover members with their heads.
        let text = text.map(|text| wrap(&text)).transpose()?;
        let manifest = wrap(&self.manifest(text.as_deref())?)?;

        let payload = encode(|e| digest(e, &Sha256::of(&manifest)))?;
        let protected = encode(|e| e.map(2)?.u8(1)?.int(int(ALG_ED25519))?.u8(4)?.bytes(&key.key.id).map(drop))?;
        let mut buf = [0; SIG_STRUCTURE_MAX];
        let signature = key.sign(sig_structure(&protected, &payload, &mut buf));
        let sign1 = encode(|e| {
            e.tag(Tag::new(TAG_SIGN1))?.array(4)?;
            e.bytes(&protected)?.map(0)?.null()?.bytes(&signature).map(drop)
        })?;
        let block = encode(|e| e.array(2)?.bytes(&payload)?.bytes(&sign1).map(drop))?;

        let mut envelope = encode(|e| {
            e.tag(Tag::new(TAG_ENVELOPE))?.map(if text.is_some() { 3 } else { 2 })?;
            e.u8(2)?.bytes(&block)?.u8(3).map(drop)
        })?;
        envelope.extend_from_slice(&manifest);
        if let Some(text) = text {
            envelope.push(23);
            envelope.extend_from_slice(&text);
        }
        Ok(envelope)
    }

    fn manifest(&self, text: Option<&[u8]>) -> Result<Vec<u8>, minicbor::encode::Error<Infallible>> {
        let common = encode(|e| {
            e.map(2)?.u8(2)?.array(1)?.array(1)?.bytes(&[0])?;
            e.u8(4)?.bytes(&encode(|e| self.shared(e))?).map(drop)
        })?;
        let validate = [0x82, 3, 15];
        let invoke = [0x82, 23, 2];
        let install = encode(|e| self.install(e))?;
        encode(|e| {
            let optional = [self.reference_uri.is_some(), self.version.is_some(), text.is_some()];
            let members = optional.iter().filter(|there| **there).count() as u64;
            e.map(members.saturating_add(6))?.u8(1)?.u8(1)?.u8(2)?.u64(self.sequence)?.u8(3)?.bytes(&common)?;
            if let Some(uri) = self.reference_uri {
                e.u8(4)?.str(uri)?;
            }
            if let Some(version) = &self.version {
                e.u8(6)?.bytes(&encode(|e| numbers(e, version))?)?;
            }
            e.u8(7)?.bytes(&validate)?.u8(9)?.bytes(&invoke)?.u8(20)?.bytes(&install)?;
            if let Some(text) = text {
                e.u8(23)?;
                digest(e, &Sha256::of(text))?;
            }
            Ok(())
        })
    }

    /// Who it is for and what it is.
    fn shared(&self, e: &mut Cbor) -> Written {
        let device = self.requires.device;
        let more = if device.is_some() { 1 } else { 0 };
        e.array([6, 8].get(more).copied().unwrap_or(6))?;
        e.u8(20)?.map([6, 7].get(more).copied().unwrap_or(6))?;
        e.u8(1)?.bytes(&self.vendor)?.u8(2)?.bytes(&self.class)?;
        e.u8(3)?.bytes(&encode(|e| digest(e, &self.image.digest))?)?.u8(14)?.u32(self.image.size)?;
        if let Some(device) = device {
            e.u8(24)?.bytes(&device)?;
        }
        e.u8(27)?.u8(self.severity.priority())?;
        e.int(int(PRIVATE))?.bytes(&encode(|e| {
            let items = if self.chunk.is_some() { 2 } else { 1 };
            e.array(items)?.u8(self.kind as u8)?;
            if let Some(chunk) = self.chunk {
                e.u32(chunk)?;
            }
            Ok(())
        })?)?;
        for condition in [Some(1), Some(2), device.map(|_| 24)].into_iter().flatten() {
            e.u8(condition)?.u8(15)?;
        }
        Ok(())
    }

    /// Where it is, and what has to hold before it is fetched.
    fn install(&self, e: &mut Cbor) -> Written {
        let Requires { use_before, battery, authorization, version: [first, second], .. } = self.requires;
        let (first, second) = if first.is_some() { (first, second) } else { (second, None) };
        let conditions = [use_before.map(|_| 4), battery.map(|_| 26), authorization.then_some(27), first.map(|_| 28)];
        let count = |there: &[bool]| there.iter().filter(|there| **there).count() as u64;
        let commands = conditions.iter().flatten().count() as u64;
        let commands = commands.saturating_add(if second.is_some() { 5 } else { 3 });
        e.array(commands.saturating_mul(2))?;
        e.u8(20)?.map(count(&[true, use_before.is_some(), battery.is_some(), first.is_some()]))?;
        if let Some(time) = use_before {
            e.u8(4)?.u64(time)?;
        }
        e.u8(21)?.str(self.uri)?;
        if let Some(charge) = battery {
            e.u8(26)?.u32(charge)?;
        }
        if let Some(wanted) = &first {
            required_version(e, wanted)?;
        }
        for condition in conditions.into_iter().flatten() {
            e.u8(condition)?.u8(15)?;
        }
        if let Some(wanted) = &second {
            e.u8(20)?.map(1)?;
            required_version(e, wanted)?;
            e.u8(28)?.u8(15)?;
        }
        e.u8(21)?.u8(2)?.u8(3)?.u8(15).map(drop)
    }
}

/// suit-text in one language.
fn text(text: &Text<'_>) -> Result<Vec<u8>, minicbor::encode::Error<Infallible>> {
    let component = [(1, text.vendor), (2, text.model), (6, text.version)];
    let component = || component.iter().filter_map(|(key, text)| text.map(|text| (*key, text)));
    encode(|e| {
        let about = component().count() as u64;
        let pairs = u64::from(text.description.is_some()).saturating_add(u64::from(about != 0));
        e.map(1)?.str(text.language)?.map(pairs)?;
        if let Some(description) = text.description {
            e.u8(2)?.str(description)?;
        }
        if about != 0 {
            e.array(1)?.bytes(&[0])?.map(about)?;
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
