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
//! - one component, [`COMPONENT`], whose image is fetched once and checked against its digest after the fetch and again
//!   by the validate sequence.
//!
//! The order of work: the signature over the digest, then the digest over the manifest, and only then its structure.
//! Nothing is allocated, nothing recurses; sequences nest [`DEPTH`] deep.
//!
//! # The private parameter
//! One parameter is waft's own, [`PRIVATE`], from the range that the draft leaves to private use (§11). Its value is a
//! byte string that holds the CBOR array `[update type]` or `[update type, chunk size]`: the
//! [`UpdateType`]'s number, and the bytes of image in each MQTT chunk of model A.

mod envelope;
mod sequence;
mod version;

use super::chunks::ChunkDigests;
pub use super::cose::{Ed25519, Key, Verifier};
use super::policy::{Severity, UpdateType};
use super::refusal::Refusal;
pub use envelope::Envelope;
pub use sequence::Section;
use sequence::{Fetch, Processor};
pub use version::{Comparison, Version, VersionMatch};

/// The firmware's component, encoded: `[h'00']`, as in the draft's examples.
pub const COMPONENT: &[u8] = &[0x81, 0x41, 0x00];

/// The key table's component, encoded: `['keys']`.
pub const KEYS: &[u8] = &[0x81, 0x44, b'k', b'e', b'y', b's'];

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
    /// Checks an envelope from its signature to its last command: see [`verify_for_slot`].
    ///
    /// # Errors
    /// The rule that it breaks.
    fn verify<'a>(
        &self,
        envelope: &'a [u8],
        keys: &[Key],
        verifier: &dyn Verifier,
        slot: Option<u32>,
    ) -> Result<Manifest<'a>, Refusal>;

    /// Reads an envelope that was verified before and has been in the device's own memory since: see
    /// [`parse_unverified`].
    ///
    /// # Errors
    /// The rule that it breaks.
    fn read<'a>(&self, envelope: &'a [u8], slot: Option<u32>) -> Result<Manifest<'a>, Refusal>;

    /// The payload number `n` of such an envelope, in the order in which they are to be fetched; `None` behind the last.
    /// The list of chunk digests comes before its image.
    fn payload<'a>(&self, envelope: &'a [u8], slot: Option<u32>, n: usize) -> Option<Payload<'a>>;
}

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
    ) -> Result<Manifest<'a>, Refusal> {
        verify_for_slot(envelope, keys, verifier, slot)
    }

    fn read<'a>(&self, envelope: &'a [u8], slot: Option<u32>) -> Result<Manifest<'a>, Refusal> {
        parse_unverified(envelope, slot)
    }

    fn payload<'a>(&self, envelope: &'a [u8], slot: Option<u32>, n: usize) -> Option<Payload<'a>> {
        payload(envelope, slot, n)
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

/// Conditions that only the device can decide, when it is about to install.
///
/// A machine that cannot decide one of them refuses the manifest ([`Refusal::Condition`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requires {
    /// Not to be installed at or after this time, seconds since 1970 (draft-ietf-suit-update-management §4.1).
    pub use_before: Option<u64>,
    /// Least charge of the battery, mWh (§4.2).
    pub battery: Option<u32>,
    /// The application is to be asked (§5.4).
    pub authorization: bool,
    /// Versions that the installed image has to have: both, where there are two (§4.4).
    pub version: [Option<VersionMatch>; 2],
    /// The only device it is for (suit-condition-device-identifier).
    pub device: Option<[u8; 16]>,
}

impl Requires {
    /// Whether there is no such condition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
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
    /// The component's identifier, encoded: [`COMPONENT`].
    pub component: &'a [u8],
    /// The image.
    pub image: Image,
    /// Where it is: `coap://…`, or a reference relative to where the manifest came from (RFC 3986 §5).
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
    let manifest = parse_unverified(envelope, slot)?;
    if !key.scope.has(Component::Image(0)) {
        return Err(Refusal::Scope);
    }
    Ok(Manifest { signer: Some(key.id), ..manifest })
}

/// As [`verify_for_slot`] but without the signature, for an envelope that was verified before and has been in the
/// device's own memory since. It still checks the digest of the manifest and all of its structure.
///
/// # Errors
/// The rule that it breaks.
pub fn parse_unverified(envelope: &[u8], slot: Option<u32>) -> Result<Manifest<'_>, Refusal> {
    let mut processor = Processor::new(true, slot);
    let Envelope { digest, key_id: signer, sequence, reference_uri, version, components: component, .. } =
        envelope::read(envelope, &mut processor, &mut ())?;
    let Processor { vendor, class, fetch, validated, requires, .. } = processor;
    let (Some(vendor), Some(class)) = (vendor, class) else { return Err(Refusal::IdentityCheck) };
    let Fetch { digest: image, size, uri, kind, severity, chunk } = fetch.ok_or(Refusal::Image)?;
    if validated != Some(image) {
        return Err(Refusal::ImageMatch);
    }
    Ok(Manifest {
        sequence,
        digest,
        signer,
        vendor: *vendor,
        class: *class,
        component,
        image: Image { digest: *image, size },
        uri,
        version,
        kind,
        severity,
        chunk,
        reference_uri,
        requires,
    })
}

/// The payload number `n` of an envelope that was verified before: see [`Codec::payload`].
#[must_use]
pub fn payload(envelope: &[u8], slot: Option<u32>, n: usize) -> Option<Payload<'_>> {
    let Manifest { image, uri, .. } = parse_unverified(envelope, slot).ok().filter(|_| n == 0)?;
    Some(Payload { component: Component::Image(0), image, uri, content: None, chunks: None })
}

/// Checks the signature, the digests, that the encoding is canonical, and that all sequences consist of known commands
/// with proper arguments, whether or not the device profile can apply them: several components, load sequences and
/// severed members pass here.
///
/// # Errors
/// The rule that it breaks.
pub fn verify_envelope<'a>(
    envelope: &'a [u8],
    keys: &[Key],
    verifier: &(impl Verifier + ?Sized),
) -> Result<Envelope<'a>, Refusal> {
    super::cose::authenticate(envelope, keys, verifier)?;
    inspect(envelope, &mut ())
}

/// As [`verify_envelope`] but without the signature, showing to `visit` all that it reads: for tools that print.
///
/// # Errors
/// The rule that it breaks; `visit` has then seen what comes before.
pub fn inspect<'a>(envelope: &'a [u8], visit: &mut impl Visit<'a>) -> Result<Envelope<'a>, Refusal> {
    envelope::read(envelope, &mut Processor::new(false, None), visit)
}

/// Sees what a manifest says, in the order in which it says it.
pub trait Visit<'a> {
    /// A sequence begins. Those in other sequences have a `depth` above 0 and may be one `alternative` of a try-each.
    fn sequence(&mut self, section: Section, depth: usize, alternative: bool) {
        let _ = (section, depth, alternative);
    }

    /// A command in the sequence at that depth. `argument` is encoded; it is empty where parameters or sequences follow.
    fn command(&mut self, depth: usize, code: i32, argument: &'a [u8]) {
        let _ = (depth, code, argument);
    }

    /// A parameter that is set, with its encoded value.
    fn parameter(&mut self, depth: usize, key: i32, value: &'a [u8]) {
        let _ = (depth, key, value);
    }

    /// A text, on the component with that encoded identifier or on the manifest.
    fn text(&mut self, language: &'a str, component: Option<&'a [u8]>, key: i32, text: &'a str) {
        let _ = (language, component, key, text);
    }
}

/// Looks at nothing.
impl Visit<'_> for () {}
