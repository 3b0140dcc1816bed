//! The author's side: keys and signed releases.
#![allow(non_camel_case_types, reason = "C's names")]

use crate::{
    error::{Fail, result},
    handle::{Out, lent, lent_mut},
    manifest::waft_key_t,
    types::{waft_bytes_t, waft_str_t},
};
use waft::{
    Capacity, Misuse,
    ota::{
        author::{More, Release, SecretKey, Text},
        manifest::{Image, Requires},
        policy::{Severity, UpdateType},
    },
};

/// A release to be signed. All zero but the first seven members, `kind` and `severity` is good.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_release_t {
    /// Above that of every release before it.
    pub sequence: u64,
    /// The vendor's UUID.
    pub vendor: [u8; 16],
    /// The device class's UUID.
    pub class_id: [u8; 16],
    /// SHA-256 of the image: see waft_sha256().
    pub image_digest: [u8; 32],
    /// Bytes of the image.
    pub image_size: u32,
    /// Bytes of image in each MQTT chunk; 0 where the manifest shall not say.
    pub chunk: u32,
    /// Where the image is: `coap://...`, or a reference relative to where the manifest is. Visible ASCII.
    pub uri: waft_str_t,
    /// The version, "1.2.0-rc.3" say; `data` is NULL where there is none.
    pub version: waft_str_t,
    /// Where the whole manifest can be had; `data` is NULL where it shall not say.
    pub reference_uri: waft_str_t,
    /// The language of the texts for people that follow, "en" say; `data` is NULL where there are none.
    pub language: waft_str_t,
    /// What the update is about; `data` is NULL for nothing, here and in what follows.
    pub description: waft_str_t,
    /// Who makes the device.
    pub vendor_name: waft_str_t,
    /// What the device is called.
    pub model_name: waft_str_t,
    /// The release as people call it.
    pub version_name: waft_str_t,
    /// The only device it is for: a UUID of 16 bytes; `len` is 0 for all.
    pub device: waft_bytes_t,
    /// Not to be installed at or after this time, seconds since 1970; 0 for any.
    pub use_before: u64,
    /// Least charge of the battery in mWh; 0 for any.
    pub battery: u32,
    /// WAFT_TYPE_...
    pub kind: u8,
    /// WAFT_SEVERITY_...
    pub severity: u8,
    /// Not 0: the application is to be asked.
    pub authorization: u8,
}

/// The key that grows from a seed.
///
/// # Safety
/// `seed` is NULL or points to 32 bytes.
unsafe fn secret_key(seed: *const u8) -> Result<SecretKey, Fail> {
    // SAFETY: the caller's.
    let seed = unsafe { lent(seed.cast::<[u8; 32]>(), 1) }?.first().ok_or(Misuse::NullPointer)?;
    SecretKey::from_seed(seed).ok_or_else(|| Misuse::OutOfRange.into())
}

/// Writes the public key that belongs to the secret key at `seed`: 32 random bytes, RFC 8032 §5.1.5. Devices have to
/// trust it.
///
/// WAFT_ERROR_OUT_OF_RANGE: the bytes are all zero, which is no key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_secret_key_public(seed: *const u8, key: *mut waft_key_t) -> i32 {
    result((|| {
        // SAFETY: C lends the seed, and the place of the key.
        unsafe { Out::new(key)?.set(waft_key_t { bytes: secret_key(seed)?.key().public }) };
        Ok(())
    })())
}

/// # Safety
/// What the release names is lent for `'r`.
unsafe fn core_release<'r>(r: &waft_release_t) -> Result<Release<'r>, Fail> {
    // SAFETY: the caller's, for this function's whole body.
    unsafe {
        let text = match r.language.lent_if_any()? {
            None => None,
            Some(language) => Some(Text {
                language,
                description: r.description.lent_if_any()?,
                vendor: r.vendor_name.lent_if_any()?,
                model: r.model_name.lent_if_any()?,
                version: r.version_name.lent_if_any()?,
            }),
        };
        let device = match r.device.lent()? {
            [] => None,
            uuid => Some(uuid.try_into().map_err(|_| Misuse::OutOfRange)?),
        };
        let version = match r.version.lent_if_any()? {
            None => None,
            Some(version) => Some(version.parse().map_err(|_| Misuse::InvalidString)?),
        };
        Ok(Release {
            sequence: r.sequence,
            vendor: r.vendor,
            class: r.class_id,
            image: Image { digest: r.image_digest, size: r.image_size },
            uri: r.uri.lent()?,
            version,
            kind: UpdateType::from_u8(r.kind).ok_or(Misuse::OutOfRange)?,
            severity: Severity::from_u8(r.severity).ok_or(Misuse::OutOfRange)?,
            chunk: (r.chunk != 0).then_some(r.chunk),
            reference_uri: r.reference_uri.lent_if_any()?,
            requires: Requires {
                use_before: (r.use_before != 0).then_some(r.use_before),
                battery: (r.battery != 0).then_some(r.battery),
                authorization: r.authorization != 0,
                device,
                ..Requires::default()
            },
            text,
            more: More::default(),
        })
    }
}

/// Writes the manifest of a release, signed with the secret key at `seed` (32 bytes), to `buffer`. `*len` becomes its
/// length. The same release and key give the same bytes, always.
///
/// WAFT_ERROR_BUFFER: the buffer is too small; 1,024 bytes do where there are no long texts. WAFT_ERROR_INVALID_URI:
/// `uri`. WAFT_ERROR_INVALID_STRING: a text that is not UTF-8, a version that is none. WAFT_ERROR_OUT_OF_RANGE: what
/// no verifier would take back as it is; no such type or severity; a seed of zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_release_sign(
    release: *const waft_release_t,
    seed: *const u8,
    buffer: *mut u8,
    buffer_len: usize,
    len: *mut usize,
) -> i32 {
    result((|| {
        // SAFETY: C lends the release and what it names, the seed, the buffer, and the place of the length.
        unsafe {
            let out = Out::new(len)?;
            let release = core_release(lent(release, 1)?.first().ok_or(Misuse::NullPointer)?)?;
            let envelope = release.sign(&secret_key(seed)?)?;
            let place = lent_mut(buffer, buffer_len)?.get_mut(..envelope.len()).ok_or(Capacity::Buffer)?;
            place.copy_from_slice(&envelope);
            out.set(envelope.len());
        }
        Ok(())
    })())
}
