//! Signatures: COSE_Sign1 with Ed25519 over a detached payload (RFC 9052 §4, draft-ietf-suit-manifest-37 §8.3).

use super::cbor::{Encoder, Map, Reader};
use super::digest::Sha256;
use super::keys::Scope;
use super::refusal::Refusal;
use crate::wire::Writer;
use ed25519_compact::{PublicKey, Signature, VerifyingState};

/// COSE algorithm Ed25519 (RFC 9864); its predecessor -8, EdDSA, is deprecated and refused.
pub const ALG_ED25519: i32 = -19;

/// COSE algorithm SHA-256 (RFC 9054).
pub const ALG_SHA256: i32 = -16;

/// CBOR tag of a SUIT envelope.
pub(crate) const TAG_ENVELOPE: u8 = 107;

/// CBOR tag of a COSE_Sign1.
pub(crate) const TAG_SIGN1: u8 = 18;

/// Bytes in an encoded SUIT_Digest with SHA-256: `[-16, h'…']`.
pub(crate) const DIGEST_LEN: usize = 36;

/// A key that is trusted to sign manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The key identifier: see [`key_id`].
    pub id: [u8; 8],
    /// The Ed25519 public key (RFC 8032 §5.1.5).
    pub public: [u8; 32],
    /// What it may sign.
    pub scope: Scope,
    /// The epoch of the [`KeyTable`](super::keys::KeyTable) that brought it; 0 in the factory.
    pub epoch: u32,
}

impl Key {
    /// The key with its identifier, for everything, since the factory.
    #[must_use]
    pub fn new(public: [u8; 32]) -> Self {
        Self { id: key_id(&public), public, scope: Scope::ALL, epoch: 0 }
    }
}

/// The identifier of a public key: the first 8 bytes of its COSE Key Thumbprint (RFC 9679), which is the SHA-256 of
/// `{1: 1, -1: 6, -2: public}`.
#[must_use]
#[inline(never)]
pub fn key_id(public: &[u8; 32]) -> [u8; 8] {
    let mut hash = Sha256::new();
    hash.update(&[0xa3, 0x01, 0x01, 0x20, 0x06, 0x21, 0x58, 0x20]);
    hash.update(public);
    hash.close().first_chunk().copied().unwrap_or_default()
}

/// Checks Ed25519 signatures: [`Ed25519`], or the device's own hardware.
pub trait Verifier {
    /// Whether `signature` is the one of `message` by the holder of `public` (RFC 8032 §5.1.7). It has to refuse what
    /// is malleable: S not below the group's order, points that are not canonical or of small order.
    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool;
}

/// Ed25519 in software.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ed25519;

impl Verifier for Ed25519 {
    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        match &mut Self::decoded(public, signature) {
            Ok(state) => {
                state.absorb(message);
                Self::holds(state)
            }
            Err(_) => false,
        }
    }
}

impl Ed25519 {
    /// The first half of a verification: both points decoded. (Two functions that are not inlined, so that what one works
    /// with does not lie on the stack under the other: a quarter of all the stack that an update takes.)
    #[inline(never)]
    fn decoded(public: &[u8; 32], signature: &[u8; 64]) -> Result<VerifyingState, ed25519_compact::Error> {
        PublicKey::new(*public).verify_incremental(&Signature::new(*signature))
    }

    /// The second: the group equation.
    #[inline(never)]
    fn holds(state: &VerifyingState) -> bool {
        state.verify().is_ok()
    }
}

/// What an authentication block says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Authentication<'a> {
    /// The SUIT_Digest, encoded: what is signed.
    pub(crate) payload: &'a [u8],
    /// The digest in it.
    pub(crate) digest: &'a [u8; 32],
    /// The protected header, encoded.
    protected: &'a [u8],
    /// The key identifier, where the header has one.
    pub(crate) kid: Option<&'a [u8; 8]>,
    signature: &'a [u8; 64],
}

/// Reads a SUIT_Digest that has to be SHA-256.
pub(crate) fn read_digest<'a>(reader: &Reader<'a>) -> &'a [u8; 32] {
    reader.array_with(2, Refusal::Malformed);
    let algorithm = reader.label();
    reader.unless(algorithm == ALG_SHA256, Refusal::Algorithm);
    reader.array_of(Refusal::Malformed)
}

/// Reads an envelope up to and with its authentication block: how many members it has, and that block.
pub(crate) fn read_authentication<'a>(reader: &Reader<'a>) -> (Map<'a>, Authentication<'a>) {
    reader.tag(TAG_ENVELOPE);
    let mut members = reader.map();
    members.required(reader, 2, Refusal::MissingMember);
    let envelope = reader.enter();
    // The digest, and one signature: what is signed twice has two authors, what is not signed none.
    reader.array_with(2, Refusal::Authentication);
    let block = reader.enter();
    let payload = reader.rest();
    let digest = read_digest(reader);
    reader.leave(block);

    let block = reader.enter_last();
    reader.tag(TAG_SIGN1);
    reader.array_with(4, Refusal::Authentication);
    let (protected, kid) = read_protected(reader);
    // Nothing unprotected, nothing attached.
    let bare = reader.map().left() == 0 && reader.skip_null();
    reader.unless(bare, Refusal::Authentication);
    let signature = reader.array_of(Refusal::Authentication);
    reader.leave(block);
    reader.leave(envelope);
    (members, Authentication { payload, digest, protected, kid, signature })
}

/// The protected header: exactly the algorithm, and perhaps the key identifier (RFC 9052 §3.1), which is given beside it.
fn read_protected<'a>(reader: &Reader<'a>) -> (&'a [u8], Option<&'a [u8; 8]>) {
    let outer = reader.enter();
    let protected = reader.rest();
    let mut header = reader.map();
    header.required(reader, 1, Refusal::Authentication);
    let algorithm = reader.label();
    reader.unless(algorithm == ALG_ED25519, Refusal::Algorithm);
    let mut kid = None;
    if header.left() != 0 {
        header.required(reader, 4, Refusal::Authentication);
        kid = Some(reader.array_of(Refusal::UnknownKey));
    }
    header.end(reader, Refusal::Authentication);
    reader.leave(outer);
    (protected, kid)
}

/// The longest Sig_structure: its array's head, context, the header with a key identifier, no external data, a digest.
pub(crate) const SIG_STRUCTURE_MAX: usize = 1 + 11 + 1 + 13 + 1 + 2 + DIGEST_LEN;

/// Writes the Sig_structure, which is what the signature covers (RFC 9052 §4.4).
pub(crate) fn sig_structure<'b>(protected: &[u8], payload: &[u8], buf: &'b mut [u8; SIG_STRUCTURE_MAX]) -> &'b [u8] {
    let mut writer = Writer::new(buf);
    // An array of four: the context, the header (of at most 13 bytes), no external data, the payload, which is an encoded digest.
    writer.bytes(b"\x84\x6aSignature1");
    writer.u8(0x40 | protected.len() as u8);
    writer.bytes(protected);
    writer.bytes(&[0x40, 0x58, DIGEST_LEN as u8]);
    writer.bytes(payload);
    writer.finish().unwrap_or_default()
}

/// Checks the signature of an envelope, and reads no more of it than that takes: the key that signed it. (Not inlined, so
/// that its stack is free again when the manifest is read.)
#[inline(never)]
pub(crate) fn authenticate<'k>(
    envelope: &[u8],
    keys: &'k [Key],
    verifier: &(impl Verifier + ?Sized),
) -> Result<&'k Key, Refusal> {
    let reader = Reader::new(envelope);
    let (_, block) = read_authentication(&reader);
    reader.check()?;
    let mut buf = [0; SIG_STRUCTURE_MAX];
    let message = sig_structure(block.protected, block.payload, &mut buf);
    signed_by(keys, block.kid, verifier, message, block.signature)
}

/// Which of the keys signed that message: the one with that identifier, where there is one.
fn signed_by<'k>(
    keys: &'k [Key],
    kid: Option<&[u8; 8]>,
    verifier: &(impl Verifier + ?Sized),
    message: &[u8],
    signature: &[u8; 64],
) -> Result<&'k Key, Refusal> {
    let mut refusal = Refusal::UnknownKey;
    for key in keys {
        if kid.is_none_or(|kid| *kid == key.id) {
            if verifier.verify(&key.public, message, signature) {
                return Ok(key);
            }
            refusal = Refusal::Signature;
        }
    }
    Err(refusal)
}

/// Signs what a device tells, a [report](super::report) say: with a key of the device's own, in its memory or in hardware.
pub trait Signer {
    /// The identifier of the key: see [`key_id`].
    fn id(&self) -> [u8; 8];

    /// The Ed25519 signature of `message` (RFC 8032 §5.1.6).
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

/// Bytes that a signature adds to a payload of less than 64 KiB.
pub const SIGNED: usize = 1 + 1 + 14 + 1 + 3 + 66;

/// Room for a Sig_structure around a payload, in the same terms.
const AROUND: usize = 1 + 11 + 14 + 1 + 3;

/// Writes `payload` with its signature: a tagged COSE_Sign1 (RFC 9052 §4.2) with the protected header `{1: -19, 4: kid}`
/// and the payload in it. `out` is worked in, too: [`SIGNED`] bytes more than the payload are enough.
///
/// # Errors
/// The bytes that `out` should have had.
pub fn sign1<'o>(payload: &[u8], signer: &(impl Signer + ?Sized), out: &'o mut [u8]) -> Result<&'o [u8], usize> {
    let room = payload.len().saturating_add(SIGNED);
    if out.len() < room {
        return Err(room);
    }
    sign1_within(payload, signer, out)
}

/// As [`sign1`], of which `out` has to have no byte more than it takes.
pub(super) fn sign1_within<'o>(
    payload: &[u8],
    signer: &(impl Signer + ?Sized),
    out: &'o mut [u8],
) -> Result<&'o [u8], usize> {
    // The head of a payload of less than 256 bytes is shorter than the longest.
    let shorter = if payload.len() < 24 { 2 } else { usize::from(payload.len() < 256) };
    let room = payload.len().saturating_add(SIGNED).saturating_sub(shorter);
    if out.len() < room {
        return Err(room);
    }
    let header = header(&signer.id());
    let signature = signer.sign(sig_structure_of(&header, payload, out).ok_or(room)?);
    let mut writer = Writer::new(out);
    let mut encoder = Encoder(&mut writer);
    encoder.tag(TAG_SIGN1);
    encoder.array(4);
    encoder.bytes(&header);
    encoder.map(0);
    encoder.bytes(payload);
    encoder.bytes(&signature);
    writer.finish()
}

/// The payload of what [`sign1`] wrote, where one of the keys signed it, and that key. `scratch` is as for that.
///
/// # Errors
/// What a strict reader finds wrong with it, [`Refusal::UnknownKey`], or [`Refusal::Signature`]; [`Refusal::Size`] where
/// `scratch` is shorter than `signed`.
pub fn open1<'a, 'k>(
    signed: &'a [u8],
    keys: &'k [Key],
    verifier: &(impl Verifier + ?Sized),
    scratch: &mut [u8],
) -> Result<(&'a [u8], &'k Key), Refusal> {
    let reader = Reader::new(signed);
    reader.tag(TAG_SIGN1);
    reader.array_with(4, Refusal::Authentication);
    let (protected, kid) = read_protected(&reader);
    let unprotected = reader.map();
    unprotected.end(&reader, Refusal::Authentication);
    let payload = reader.bytes();
    let signature = reader.array_of(Refusal::Authentication);
    reader.end();
    reader.check()?;
    let message = sig_structure_of(protected, payload, scratch).ok_or(Refusal::Size)?;
    Ok((payload, signed_by(keys, kid, verifier, message, signature)?))
}

/// The protected header `{1: -19, 4: kid}`.
fn header(kid: &[u8; 8]) -> [u8; 13] {
    let mut header = [0xa2, 0x01, 0x32, 0x04, 0x48, 0, 0, 0, 0, 0, 0, 0, 0];
    if let Some(place) = header.last_chunk_mut() {
        *place = *kid;
    }
    header
}

/// The Sig_structure of a payload of any length, where there is room for it.
fn sig_structure_of<'b>(protected: &[u8], payload: &[u8], buf: &'b mut [u8]) -> Option<&'b [u8]> {
    let mut writer = Writer::new(buf);
    let mut encoder = Encoder(&mut writer);
    encoder.array(4);
    encoder.text("Signature1");
    encoder.bytes(protected);
    encoder.bytes(&[]);
    encoder.bytes(payload);
    writer.finish().ok()
}

const _: () = assert!(AROUND <= SIGNED, "what is signed fits where the signed thing is written");

#[cfg(all(test, feature = "author"))]
mod tests {
    use super::*;
    use crate::ota::author::SecretKey;

    fn secret() -> SecretKey {
        SecretKey::from_seed(&[3; 32]).unwrap()
    }

    #[test]
    fn what_is_signed_is_opened_and_nothing_else_is() {
        let payload = [7; 150];
        let mut out = [0; 150 + SIGNED];
        let mut scratch = [0; 150 + SIGNED + 1];
        let signed = sign1(&payload, &secret(), &mut out).unwrap().to_vec();
        let keys = [secret().key()];
        assert_eq!(open1(&signed, &keys, &Ed25519, &mut scratch), Ok((&payload[..], &keys[0])));
        for n in 0..signed.len() {
            let mut changed = signed.clone();
            changed[n] ^= 1;
            assert!(open1(&changed, &keys, &Ed25519, &mut scratch).is_err(), "byte {n}");
            assert!(open1(&signed[..n], &keys, &Ed25519, &mut scratch).is_err(), "cut at {n}");
        }
        let longer = [&signed[..], &[0]].concat();
        assert_eq!(open1(&longer, &keys, &Ed25519, &mut scratch), Err(Refusal::TrailingBytes));
        let other = [SecretKey::from_seed(&[4; 32]).unwrap().key()];
        assert_eq!(open1(&signed, &other, &Ed25519, &mut scratch), Err(Refusal::UnknownKey));
        assert_eq!(open1(&signed, &keys, &Ed25519, &mut [0; 20]), Err(Refusal::Size));
        assert_eq!(sign1(&payload, &secret(), &mut out[1..]), Err(150 + SIGNED));
    }
}
