//! Manifests: verified, and laid out flat.
#![allow(non_camel_case_types, reason = "C's names")]

use crate::{
    error::{Fail, result},
    handle::{Memory, Out, lent, lent_mut},
    types::{waft_bytes_t, waft_str_t},
};
use waft::ota::{
    chunks::ChunkDigests,
    cose,
    digest::Sha256,
    keys::Scope,
    manifest::{self, Codec, Component, Ed25519, Key, Manifest, Payload, Suit, Verifier, Version},
    refusal::Refusal,
    update::Update,
};

/// An Ed25519 public key that is trusted to sign manifests.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_key_t {
    /// As RFC 8032 encodes it.
    pub bytes: [u8; 32],
    /// The epoch of the table of keys that brought it; 0 in the factory.
    pub epoch: u32,
    /// What it may sign: WAFT_SCOPE_..., and `1 << n` for the image number n. 0 stands for WAFT_SCOPE_ALL.
    pub scope: u8,
}

/// The firmware, with its list of chunk digests.
pub const WAFT_SCOPE_FIRMWARE: u8 = 0x01;
/// The table of keys.
pub const WAFT_SCOPE_KEYS: u8 = 0x80;
/// Everything.
pub const WAFT_SCOPE_ALL: u8 = 0xff;

impl waft_key_t {
    const NONE: Self = Self { bytes: [0; 32], epoch: 0, scope: 0 };

    pub(crate) fn core(&self) -> Key {
        let scope = Scope(if self.scope == 0 { WAFT_SCOPE_ALL } else { self.scope });
        Key { scope, epoch: self.epoch, ..Key::new(self.bytes) }
    }

    pub(crate) const fn of(key: &Key) -> Self {
        Self { bytes: key.public, epoch: key.epoch, scope: key.scope.0 }
    }
}

/// Bytes of memory that a trusted key takes.
pub const WAFT_KEY_SIZE: usize = 48;
const _: () = assert!(size_of::<Key>() <= WAFT_KEY_SIZE, "raise WAFT_KEY_SIZE");

/// The keys as the core has them, `N` at most, for a call.
///
/// # Safety
/// `keys` is NULL or points to `key_count` keys.
pub(crate) unsafe fn lent_keys<const N: usize>(
    keys: *const waft_key_t,
    key_count: usize,
) -> Result<heapless::Vec<Key, N>, Fail> {
    let mut trusted = heapless::Vec::new();
    // SAFETY: the caller's.
    for key in unsafe { lent(keys, key_count) }? {
        trusted.push(key.core()).map_err(|_| waft::Misuse::OutOfRange)?;
    }
    Ok(trusted)
}

/// The keys as the core has them, in `memory`.
pub(crate) fn keys(memory: &mut Memory, keys: &[waft_key_t]) -> Result<&'static [Key], Fail> {
    Ok(memory.table(keys.len(), |n| keys.get(n).unwrap_or(&waft_key_t::NONE).core())?)
}

/// A software update.
pub const WAFT_TYPE_SOFTWARE: u8 = 0;
/// A security update.
pub const WAFT_TYPE_SECURITY: u8 = 1;

/// It cannot wait.
pub const WAFT_SEVERITY_HIGH: u8 = 0;
/// It should come soon.
pub const WAFT_SEVERITY_MEDIUM: u8 = 1;
/// It comes when it is cheap.
pub const WAFT_SEVERITY_LOW: u8 = 2;

/// What a manifest says of a release.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_manifest_t {
    /// Rises with each release.
    pub sequence: u64,
    /// SHA-256 of the manifest: names this manifest and no other.
    pub digest: [u8; 32],
    /// The vendor's UUID.
    pub vendor: [u8; 16],
    /// The device class's UUID.
    pub class_id: [u8; 16],
    /// SHA-256 of the firmware.
    pub image_digest: [u8; 32],
    /// Bytes of the firmware; 0 where the manifest is about something else.
    pub image_size: u32,
    /// Bytes of image in each MQTT chunk; 0 where the manifest does not say.
    pub chunk: u32,
    /// The release's version, "1.2.0-rc.3" say, with a NUL at its end; empty where the manifest does not say.
    pub version: [u8; WAFT_VERSION_TEXT],
    /// Where the image is: in the envelope that was verified.
    pub uri: waft_str_t,
    /// WAFT_TYPE_...
    pub kind: u8,
    /// WAFT_SEVERITY_...
    pub severity: u8,
    /// Not 0: the application is to be asked.
    pub authorization: u8,
    /// How many payloads it has: see waft_manifest_payload().
    pub payloads: u8,
    /// Not to be installed at or after this time, seconds since 1970; 0 for any.
    pub use_before: u64,
    /// Least charge of the battery in mWh; 0 for any.
    pub battery: u32,
    /// The identifier of the key that signed it.
    pub signer: [u8; 8],
}

/// Bytes of a version as text, NUL included.
pub const WAFT_VERSION_TEXT: usize = 80;

impl waft_manifest_t {
    /// One that says nothing.
    const NONE: Self = Self {
        sequence: 0,
        digest: [0; 32],
        vendor: [0; 16],
        class_id: [0; 16],
        image_digest: [0; 32],
        image_size: 0,
        chunk: 0,
        version: [0; WAFT_VERSION_TEXT],
        uri: waft_str_t::EMPTY,
        kind: 0,
        severity: 0,
        authorization: 0,
        payloads: 0,
        use_before: 0,
        battery: 0,
        signer: [0; 8],
    };

    /// Writes what the manifest says. (In the caller's memory, since it is as large as half of the stack that an update takes.)
    ///
    /// # Safety
    /// The pointer is good for a write, and nothing else uses it meanwhile.
    unsafe fn set(out: Out<Self>, manifest: &Manifest<'_>) {
        let place = out.pointer();
        // SAFETY: not NULL; the caller vouches for the rest. A value stands there before it is referred to.
        let to = unsafe {
            place.write(Self::NONE);
            &mut *place
        };
        to.sequence = manifest.sequence;
        to.digest = manifest.digest;
        to.vendor = manifest.vendor;
        to.class_id = manifest.class;
        to.image_digest = manifest.image.digest;
        to.image_size = manifest.image.size;
        to.chunk = manifest.chunk.unwrap_or(0);
        write_version(manifest.version.as_ref(), &mut to.version);
        to.uri = waft_str_t::of(manifest.uri);
        to.kind = manifest.kind as u8;
        to.severity = manifest.severity as u8;
        to.authorization = manifest.requires.authorization.into();
        to.payloads = u8::try_from(manifest.payloads).unwrap_or(u8::MAX);
        to.use_before = manifest.requires.use_before.unwrap_or(0);
        to.battery = manifest.requires.battery.unwrap_or(0);
        to.signer = manifest.signer.unwrap_or([0; 8]);
    }

    /// Writes what the manifest of the update says, where there is one.
    ///
    /// # Safety
    /// `manifest` is NULL or good for a write, and nothing else uses it meanwhile.
    pub(crate) unsafe fn tell(manifest: *mut Self, update: &Update<'_>) -> Result<(), Fail> {
        let out = Out::new(manifest)?;
        let found = update.manifest();
        // SAFETY: the caller's.
        unsafe { Self::set(out, found.as_ref().ok_or(waft::Misuse::WrongState)?) };
        Ok(())
    }
}

/// A version as text.
pub(crate) fn version_text(version: Option<&Version>) -> [u8; WAFT_VERSION_TEXT] {
    let mut text = [0; WAFT_VERSION_TEXT];
    write_version(version, &mut text);
    text
}

/// Writes a version over NULs: as its `Display`, without the formatting machinery.
fn write_version(version: Option<&Version>, text: &mut [u8; WAFT_VERSION_TEXT]) {
    let mut places = text.iter_mut();
    let mut put = |part: &[u8]| {
        for byte in part {
            if let Some(place) = places.next() {
                *place = *byte;
            }
        }
    };
    for (n, number) in version.map_or(&[][..], Version::numbers).iter().enumerate() {
        match number {
            -1 => put(b"-rc"),
            -2 => put(b"-beta"),
            -3 => put(b"-alpha"),
            _ => {
                // A point, where it is not the first, and up to ten digits, from the last one on.
                let mut part = [b'.'; 11];
                let mut left = number.unsigned_abs();
                let mut start = part.len();
                for digit in part.iter_mut().rev() {
                    *digit = b'0'.wrapping_add((left % 10) as u8);
                    left /= 10;
                    start = start.wrapping_sub(1);
                    if left == 0 {
                        break;
                    }
                }
                put(part.get(start.wrapping_sub(usize::from(n != 0))..).unwrap_or_default());
            }
        }
    }
}

/// Keys that waft_manifest_verify() looks at.
pub const WAFT_VERIFY_KEYS: usize = 8;

/// Verifies a signed envelope and its manifest, as an update does. `*manifest` points into the envelope.
///
/// -96 to -191: the rule that it breaks; see waft_error_name(). WAFT_ERROR_OUT_OF_RANGE: more than WAFT_VERIFY_KEYS
/// keys.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_manifest_verify(
    envelope: waft_bytes_t,
    keys: *const waft_key_t,
    key_count: usize,
    manifest: *mut waft_manifest_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the envelope, the keys and the place of the manifest.
        unsafe {
            let out = Out::new(manifest)?;
            let trusted: heapless::Vec<Key, WAFT_VERIFY_KEYS> = lent_keys(keys, key_count)?;
            let mut out = Some(out);
            let mut take = |manifest: &Manifest<'_>| {
                if let Some(out) = out.take() {
                    waft_manifest_t::set(out, manifest);
                }
                Ok(())
            };
            Ok(Suit.verify(envelope.lent()?, &trusted, &Ed25519, None, &mut take).map_err(waft::Error::Peer)?)
        }
    })())
}

/// An image; `number` 0 is the firmware.
pub const WAFT_COMPONENT_IMAGE: u8 = 0;
/// The list of the digests of that image's chunks.
pub const WAFT_COMPONENT_CHUNKS: u8 = 1;
/// The table of keys.
pub const WAFT_COMPONENT_KEYS: u8 = 2;

/// Something that a manifest wants installed.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_payload_t {
    /// Its SHA-256.
    pub digest: [u8; 32],
    /// SHA-256 of the list of the digests of its chunks; zeros where `chunk` is 0.
    pub list_digest: [u8; 32],
    /// Where it is: in the envelope that was verified.
    pub uri: waft_str_t,
    /// The payload itself, where it is in the envelope; else `data` is NULL.
    pub content: waft_bytes_t,
    /// Bytes.
    pub size: u32,
    /// Bytes of a chunk, where each chunk is signed for; else 0.
    pub chunk: u32,
    /// WAFT_COMPONENT_...
    pub component: u8,
    /// Which image: 0 to 6.
    pub number: u8,
}

impl waft_payload_t {
    fn of(payload: &Payload<'_>) -> Self {
        let Payload { component, image, uri, content, chunks } = payload;
        let (component, number) = match component {
            Component::Image(n) => (WAFT_COMPONENT_IMAGE, *n),
            Component::Chunks(n) => (WAFT_COMPONENT_CHUNKS, *n),
            Component::Keys => (WAFT_COMPONENT_KEYS, 0),
        };
        Self {
            digest: image.digest,
            list_digest: chunks.map_or([0; 32], |chunks| *chunks.digest()),
            uri: waft_str_t::of(uri),
            content: content.map_or(waft_bytes_t::EMPTY, waft_bytes_t::of),
            size: image.size,
            chunk: chunks.map_or(0, |chunks| chunks.chunk()),
            component,
            number,
        }
    }
}

/// Payload number `n` of an envelope that was verified, in the order in which they are to be fetched. `*payload` points
/// into the envelope.
///
/// WAFT_ERROR_OUT_OF_RANGE: it has not so many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_manifest_payload(envelope: waft_bytes_t, n: u32, payload: *mut waft_payload_t) -> i32 {
    result((|| {
        // SAFETY: C lends the envelope and the place of the payload.
        unsafe {
            let out = Out::new(payload)?;
            let found = manifest::payload(envelope.lent()?, None, n as usize).ok_or(waft::Misuse::OutOfRange)?;
            out.set(waft_payload_t::of(&found));
        }
        Ok(())
    })())
}

/// Whether `chunk` is chunk number `n` of an image of `image_size` bytes in chunks of `chunk_size`, where `entry` points to
/// the 32 bytes at 32 times `n` of the list of chunk digests.
///
/// WAFT_ERROR_UPDATE_CHUNK_DIGEST: it is another one. WAFT_ERROR_UPDATE_SIZE: it is longer or shorter, or there is none of
/// that number. WAFT_ERROR_OUT_OF_RANGE: there are no such chunks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_chunk_check(
    chunk_size: u32,
    image_size: u32,
    n: u32,
    entry: *const u8,
    chunk: waft_bytes_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the entry and the chunk.
        unsafe {
            let entry = lent(entry.cast::<[u8; 32]>(), 1)?.first().ok_or(waft::Misuse::NullPointer)?;
            let chunks = ChunkDigests::new(chunk_size, image_size, [0; 32]).ok_or(waft::Misuse::OutOfRange)?;
            chunks.check(n, entry, chunk.lent()?).map_err(waft::Error::Peer)?;
        }
        Ok(())
    })())
}

/// What a refusal, WAFT_ERROR_UPDATE_..., is called elsewhere.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_mapping_t {
    /// OMA FUMO 1.0 result code.
    pub fumo: u16,
    /// suit-report-reason.
    pub suit_report: u8,
    /// OMA LwM2M object 5, resource 5 `Update Result`.
    pub lwm2m: u8,
}

/// Translates a refusal into other vocabularies.
///
/// WAFT_ERROR_OUT_OF_RANGE: `refusal` is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_refusal_mapping(refusal: i32, mapping: *mut waft_mapping_t) -> i32 {
    result((|| {
        let out = Out::new(mapping)?;
        let found = Refusal::from_code(refusal).ok_or(waft::Misuse::OutOfRange)?.mapping();
        // SAFETY: C lends the place of the mapping.
        unsafe { out.set(waft_mapping_t { fumo: found.fumo, suit_report: found.suit_report, lwm2m: found.lwm2m }) };
        Ok(())
    })())
}

/// Checks the Ed25519 signature of a message (RFC 8032 §5.1.7): 64 bytes.
///
/// WAFT_ERROR_UPDATE_SIGNATURE: it is not the key's signature of that message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_ed25519_verify(
    key: *const waft_key_t,
    message: waft_bytes_t,
    signature: waft_bytes_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the key, the message and the signature.
        unsafe {
            let key = lent(key, 1)?.first().ok_or(waft::Misuse::NullPointer)?;
            let (message, signature) = (message.lent()?, signature.lent()?);
            let good = <&[u8; 64]>::try_from(signature).is_ok_and(|s| Ed25519.verify(&key.bytes, message, s));
            if good { Ok(()) } else { Err(waft::Error::Peer(Refusal::Signature).into()) }
        }
    })())
}

/// Opens what waft_payload_sign() made: `*payload` becomes what is in it, which lies in `signed`. `scratch` is worked in and
/// has to have WAFT_OPEN_SCRATCH bytes more than `signed`.
///
/// -96 to -191: what is wrong with it. WAFT_ERROR_BUFFER: `scratch` is too small. WAFT_ERROR_OUT_OF_RANGE: more than
/// WAFT_VERIFY_KEYS keys.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_payload_open(
    signed_payload: waft_bytes_t,
    keys: *const waft_key_t,
    key_count: usize,
    scratch: *mut u8,
    scratch_len: usize,
    payload: *mut waft_bytes_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the payload, the keys, the scratch memory and the place of what is in it.
        unsafe {
            let out = Out::new(payload)?;
            let trusted: heapless::Vec<Key, WAFT_VERIFY_KEYS> = lent_keys(keys, key_count)?;
            let (signed, scratch) = (signed_payload.lent()?, lent_mut(scratch, scratch_len)?);
            if scratch.len().saturating_sub(WAFT_OPEN_SCRATCH) < signed.len() {
                return Err(waft::Capacity::Buffer.into());
            }
            let (opened, _) = cose::open1(signed, &trusted, &Ed25519, scratch).map_err(waft::Error::Peer)?;
            out.set(waft_bytes_t::of(opened));
        }
        Ok(())
    })())
}

/// Bytes that waft_payload_open() works in beside those of the payload.
pub const WAFT_OPEN_SCRATCH: usize = 16;

/// Writes the SHA-256 of `bytes` to the 32 bytes at `digest`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_sha256(bytes: waft_bytes_t, digest: *mut u8) -> i32 {
    result((|| {
        // SAFETY: C lends the bytes, and the place of the digest.
        unsafe { Out::new(digest.cast::<[u8; 32]>())?.set(Sha256::of(bytes.lent()?)) };
        Ok(())
    })())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_version_reads_as_rust_prints_it() {
        for text in ["0", "1.2.0", "10.20.30-rc.1", "1.0-alpha", "2147483647.2147483647.2147483647-alpha.2147483647.7"]
        {
            let version: Version = text.parse().unwrap();
            let c = version_text(Some(&version));
            assert_eq!(core::ffi::CStr::from_bytes_until_nul(&c).unwrap().to_str().unwrap(), version.to_string());
        }
        assert_eq!(version_text(None), [0; WAFT_VERSION_TEXT]);
    }
}
