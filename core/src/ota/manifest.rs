//! The manifest: what a release says about itself (draft-ietf-suit-manifest-37), and the profile of it that a device
//! takes.
//!
//! # The profile
//! SHA-256 digests, Ed25519 signatures (COSE algorithm -19, draft-ietf-suit-mti), canonical CBOR. It is stricter than
//! the draft, so that no two readers can disagree about what was signed:
//!
//! - only the shortest heads and definite lengths, keys in order and once, nothing after the end: an envelope that is
//!   accepted is, byte for byte, the one that encoding its content again gives;
//! - exactly one signature, over the digest in the authentication block, with exactly the protected header `{1: -19}`,
//!   or `{1: -19, 4: kid}` with the 8 bytes of [`Key::id`];
//! - a member, command or parameter that is not known is refused, never skipped;
//! - the shared sequence checks vendor and class, unconditionally;
//! - every payload is fetched (or in the envelope) once, checked against its digest right after that, and again by the
//!   validate sequence; nothing is in the envelope that is not referred to;
//! - where there are several components, each sequence names the one it is about before anything else, and none that is
//!   run inside of another does.
//!
//! # Components
//! Those of [`Component`]: the firmware and up to six images more, installed together or not at all; lists of chunk
//! digests; and the key table, which comes alone and in the envelope. An image may be fetched to any other component
//! and copied or swapped from there: to the device that is the same image.
//!
//! The order of work: the signature over the digest, then the digest over the manifest, and only then its structure.
//! Nothing is allocated, nothing recurses; sequences nest [`DEPTH`] deep.
//!
//! # The private parameter
//! One parameter is waft's own, [`PRIVATE`], from the range that the draft leaves to private use (§11). Its value is a
//! byte string that holds the CBOR array `[update type]`, `[update type, chunk size]` or `[update type, chunk size, list
//! digest]`: the [`UpdateType`]'s number, the bytes of image in each MQTT chunk of model A, and, for an image whose chunks
//! are signed for one by one, the SHA-256 of the [list of their digests](super::chunks).

mod envelope;
mod inspect;
mod parameters;
mod requires;
mod sequence;
mod survey;
mod version;

use super::cbor::Reader;
use super::chunks::ChunkDigests;
pub use super::cose::{Ed25519, Key, Verifier};
use super::policy::{Severity, UpdateType};
use super::refusal::Refusal;
pub use envelope::Envelope;
use envelope::Layout;
pub use inspect::{Visit, inspect, verify_envelope};
pub use requires::{Facts, Requires, Wait};
pub use sequence::Section;
use survey::parse;
pub use version::{Comparison, Version, VersionMatch};

/// The firmware's component, encoded: `[h'00']`, as in the draft's examples.
pub const COMPONENT: &[u8] = &[0x81, 0x41, 0x00];

/// The key table's component, encoded: `['keys']`.
pub const KEYS: &[u8] = &[0x81, 0x44, b'k', b'e', b'y', b's'];

/// What a list of chunk digests has in its component behind its image's number, encoded.
const CHUNKS: &[u8] = b"\x46chunks";

/// A component of the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Component {
    /// An image, `[h'00']` to `[h'06']`; 0 is the firmware.
    Image(u8),
    /// The list of the digests of that image's chunks: `[h'00', 'chunks']`. See [`chunks`](super::chunks).
    Chunks(u8),
    /// The table of the keys that are trusted: [`KEYS`]. See [`keys`](super::keys).
    Keys,
}

impl Component {
    /// The component with that encoded identifier; `None` where it is not of the profile.
    #[must_use]
    pub fn read(id: &[u8]) -> Option<Self> {
        match id {
            [0x81, 0x41, n @ 0..=6] => Some(Self::Image(*n)),
            [0x82, 0x41, n @ 0..=6, rest @ ..] if rest == CHUNKS => Some(Self::Chunks(*n)),
            _ if id == KEYS => Some(Self::Keys),
            _ => None,
        }
    }
}

/// The most components that a manifest may have.
pub const COMPONENTS: usize = 8;

/// Something that a manifest wants installed: it is fetched, or in the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Where it belongs.
    pub component: Component,
    /// Its digest and its size.
    pub image: Image,
    /// Where it is: `coap://…`, or a reference relative to where the manifest came from (RFC 3986 §5). What begins with
    /// `#` is in the envelope.
    pub uri: &'a str,
    /// The payload itself, where it is in the envelope; its digest has been checked.
    pub content: Option<&'a [u8]>,
    /// The chunks of an image that has chunk digests.
    pub chunks: Option<ChunkDigests>,
}

/// How manifests are encoded: all that the update machine has to know of it.
pub trait Codec {
    /// Checks an envelope from its signature to its last command, and gives what it says to `take`, if all of it is right: see
    /// [`verify_for_slot`]. (So the manifest takes stack when what checked it takes none any more.)
    ///
    /// # Errors
    /// The rule that it breaks, or what `take` finds wrong with it.
    fn verify<'a>(
        &self,
        envelope: &'a [u8],
        keys: &[Key],
        verifier: &dyn Verifier,
        slot: Option<u32>,
        take: &mut Take<'_, 'a>,
    ) -> Result<(), Refusal>;

    /// Reads an envelope that was verified before and has been in the device's own memory since: see
    /// [`parse_unverified`].
    ///
    /// # Errors
    /// As for [`verify`](Self::verify).
    fn read<'a>(&self, envelope: &'a [u8], slot: Option<u32>, take: &mut Take<'_, 'a>) -> Result<(), Refusal>;

    /// The version that such an envelope states, where its manifest has that digest: what reports tell. It takes less stack
    /// than [`read`](Self::read).
    fn version(&self, envelope: &[u8], digest: &[u8; 32]) -> Option<Version> {
        let mut version = None;
        let mut take = |manifest: &Manifest<'_>| {
            version = manifest.version.filter(|_| manifest.digest == *digest);
            Ok(())
        };
        self.read(envelope, None, &mut take).ok()?;
        version
    }

    /// Gives the payloads of such an envelope to `visit`, in the order in which they are to be fetched.
    /// The list of chunk digests comes before its image.
    ///
    /// # Errors
    /// As for [`read`](Self::read); what was given is then not to be used.
    fn payloads<'a>(
        &self,
        envelope: &'a [u8],
        slot: Option<u32>,
        visit: &mut dyn FnMut(&Payload<'a>),
    ) -> Result<(), Refusal>;
}

/// What is made of a manifest that is right: an error, where it is not to be taken.
pub type Take<'t, 'a> = dyn FnMut(&Manifest<'a>) -> Result<(), Refusal> + 't;

/// SUIT manifests in CBOR.
#[derive(Debug, Clone, Copy, Default)]
pub struct Suit;

impl Codec for Suit {
    fn verify<'a>(
        &self,
        envelope: &'a [u8],
        keys: &[Key],
        verifier: &dyn Verifier,
        slot: Option<u32>,
        take: &mut Take<'_, 'a>,
    ) -> Result<(), Refusal> {
        let key = super::cose::authenticate(envelope, keys, verifier)?;
        parse(envelope, slot, Some(key), None, take)
    }

    fn read<'a>(&self, envelope: &'a [u8], slot: Option<u32>, take: &mut Take<'_, 'a>) -> Result<(), Refusal> {
        parse(envelope, slot, None, None, take)
    }

    fn version(&self, envelope: &[u8], digest: &[u8; 32]) -> Option<Version> {
        let reader = Reader::new(envelope);
        let mut layout = Layout::new(&reader);
        layout.read(&mut ());
        if reader.is_set() || layout.digest != digest {
            return None;
        }
        layout.version()
    }

    fn payloads<'a>(
        &self,
        envelope: &'a [u8],
        slot: Option<u32>,
        visit: &mut dyn FnMut(&Payload<'a>),
    ) -> Result<(), Refusal> {
        parse(envelope, slot, None, Some(visit), &mut |_| Ok(()))
    }
}

/// How deep sequences nest, the outermost included.
pub const DEPTH: usize = 4;

/// The private parameter's key: see [this module](self#the-private-parameter).
pub const PRIVATE: i32 = -257;

/// An image as the manifest describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// SHA-256 of the image (suit-parameter-image-digest).
    pub digest: [u8; 32],
    /// Its size in bytes (suit-parameter-image-size).
    pub size: u32,
}

impl Image {
    /// No image.
    pub const NONE: Self = Self { digest: [0; 32], size: 0 };
}

/// A manifest that the device profile can apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manifest<'a> {
    /// Rises with each release (suit-manifest-sequence-number).
    pub sequence: u64,
    /// SHA-256 of the manifest as its signature covers it: names this manifest and no other.
    pub digest: [u8; 32],
    /// The identifier of the key that signed it. [`parse_unverified`] knows it where the envelope states it.
    pub signer: Option<[u8; 8]>,
    /// The vendor's UUID that the shared sequence checks.
    pub vendor: [u8; 16],
    /// The device class's UUID that the shared sequence checks.
    pub class: [u8; 16],
    /// How many payloads there are: see [`Codec::payloads`].
    pub payloads: usize,
    /// The firmware, component `[h'00']`; [`Image::NONE`] where the manifest is about something else.
    pub image: Image,
    /// Where it is: `coap://…`, or a reference relative to where the manifest came from (RFC 3986 §5). Empty where there
    /// is no firmware.
    pub uri: &'a str,
    /// The release's version (suit-set-version), where it states one.
    pub version: Option<Version>,
    /// Software or security.
    pub kind: UpdateType,
    /// How urgent it is.
    pub severity: Severity,
    /// Bytes of image in each MQTT chunk, where it states them; never 0.
    pub chunk: Option<u32>,
    /// Where the whole manifest can be had (suit-reference-uri).
    pub reference_uri: Option<&'a str>,
    /// What the device has to decide before it installs.
    pub requires: Requires,
}

impl Default for Manifest<'_> {
    /// One that says nothing, to be written to.
    fn default() -> Self {
        Self {
            sequence: 0,
            digest: [0; 32],
            signer: None,
            vendor: [0; 16],
            class: [0; 16],
            payloads: 0,
            image: Image::NONE,
            uri: "",
            version: None,
            kind: UpdateType::Software,
            severity: Severity::Medium,
            chunk: None,
            reference_uri: None,
            requires: Requires::default(),
        }
    }
}

/// Checks an envelope from its signature to its last command and gives what the device profile needs of it.
///
/// # Errors
/// The rule that it breaks. A manifest with alternatives for different slots needs [`verify_for_slot`].
pub fn verify<'a>(
    envelope: &'a [u8],
    keys: &[Key],
    verifier: &(impl Verifier + ?Sized),
) -> Result<Manifest<'a>, Refusal> {
    verify_for_slot(envelope, keys, verifier, None)
}

/// As [`verify`], for a device that installs into this slot (suit-parameter-component-slot): of the alternatives that a
/// manifest has for different slots, that one's are taken.
///
/// # Errors
/// The rule that it breaks.
pub fn verify_for_slot<'a>(
    envelope: &'a [u8],
    keys: &[Key],
    verifier: &(impl Verifier + ?Sized),
    slot: Option<u32>,
) -> Result<Manifest<'a>, Refusal> {
    let key = super::cose::authenticate(envelope, keys, verifier)?;
    parsed(envelope, slot, Some(key))
}

/// As [`verify_for_slot`] but without the signature, for an envelope that was verified before and has been in the
/// device's own memory since. It still checks the digest of the manifest and all of its structure.
///
/// # Errors
/// The rule that it breaks.
pub fn parse_unverified(envelope: &[u8], slot: Option<u32>) -> Result<Manifest<'_>, Refusal> {
    parsed(envelope, slot, None)
}

fn parsed<'a>(envelope: &'a [u8], slot: Option<u32>, key: Option<&Key>) -> Result<Manifest<'a>, Refusal> {
    let mut parsed = Manifest::default();
    let mut take = |manifest: &Manifest<'a>| {
        parsed = *manifest;
        Ok(())
    };
    parse(envelope, slot, key, None, &mut take)?;
    Ok(parsed)
}

/// The payload number `n` of an envelope that was verified before, in the order of [`Codec::payloads`]; `None` behind the last.
#[must_use]
pub fn payload<'a>(envelope: &'a [u8], slot: Option<u32>, n: usize) -> Option<Payload<'a>> {
    let (mut found, mut before) = (None, 0_usize);
    let mut visit = |payload: &Payload<'a>| {
        if before == n {
            found = Some(*payload);
        }
        before = before.wrapping_add(1);
    };
    Suit.payloads(envelope, slot, &mut visit).ok()?;
    found
}
