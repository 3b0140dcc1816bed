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
        author::{Extra, List, More, Release, SecretKey, Text},
        chunks, cose,
        manifest::{Image, Requires, Wait},
        policy::{Severity, UpdateType},
    },
};

/// A release to be signed. All zero but the first seven members, `kind` and `severity` is good. Where it brings other images only
/// and no firmware, `image_digest`, `image_size` and `uri` are zero too.
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
    /// What there is to wait for before the first fetch: WAFT_WAIT_..., or'ed; 0 for nothing.
    pub wait: u8,
    /// A day of the week, UTC: days since Sunday.
    pub wait_day_of_week: u8,
    /// A time of the day, UTC: seconds since 00:00:00.
    pub wait_time_of_day: u32,
    /// A state of the power supply; what it means is between author and device.
    pub wait_power: i32,
    /// A state of the network, likewise.
    pub wait_network: i32,
    /// A time, seconds since 1970.
    pub wait_time: u64,
    /// What the installed version has to be, ">=1.2.0" or "<2" say; `data` is NULL where it does not matter.
    pub require_version: [waft_str_t; 2],
    /// The firmware itself, to be put into the envelope under `uri`, which then begins with `#`; `len` is 0 for not.
    pub content: waft_bytes_t,
    /// The list of the digests of the firmware's chunks of `chunk` bytes: see waft_chunk_list(). `len` is 0 for none.
    pub list: waft_bytes_t,
    /// Where the list is; one that begins with `#` puts it into the envelope.
    pub list_uri: waft_str_t,
    /// Images that are installed together with the firmware, or without one; NULL for none.
    pub images: *const waft_release_image_t,
    /// How many: WAFT_RELEASE_IMAGES at most.
    pub image_count: usize,
}

/// The most images beside the firmware.
pub const WAFT_RELEASE_IMAGES: usize = 6;

/// Wait for `wait_power`.
pub const WAFT_WAIT_POWER: u8 = 1;
/// Wait for `wait_network`.
pub const WAFT_WAIT_NETWORK: u8 = 2;
/// Wait for `wait_time`.
pub const WAFT_WAIT_TIME: u8 = 4;
/// Wait for `wait_time_of_day`.
pub const WAFT_WAIT_TIME_OF_DAY: u8 = 8;
/// Wait for `wait_day_of_week`.
pub const WAFT_WAIT_DAY_OF_WEEK: u8 = 16;

/// An image that is installed together with the firmware.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_release_image_t {
    /// SHA-256 of the image.
    pub digest: [u8; 32],
    /// Where it is.
    pub uri: waft_str_t,
    /// The image itself, to be put into the envelope under `uri`, which then begins with `#`; `len` is 0 for not.
    pub content: waft_bytes_t,
    /// Bytes of the image.
    pub size: u32,
    /// Its number: 1 to 6.
    pub number: u8,
}

/// The key that grows from a seed.
///
/// # Safety
/// `seed` is NULL or points to 32 bytes.
pub(crate) unsafe fn secret_key(seed: *const u8) -> Result<SecretKey, Fail> {
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
        unsafe { Out::new(key)?.set(waft_key_t::of(&secret_key(seed)?.key())) };
        Ok(())
    })())
}

/// What there is to wait for.
fn wait(r: &waft_release_t) -> Option<Wait> {
    let has = |bit| r.wait & bit != 0;
    (r.wait != 0).then(|| Wait {
        power: has(WAFT_WAIT_POWER).then_some(r.wait_power),
        network: has(WAFT_WAIT_NETWORK).then_some(r.wait_network),
        time: has(WAFT_WAIT_TIME).then_some(r.wait_time),
        time_of_day: has(WAFT_WAIT_TIME_OF_DAY).then_some(r.wait_time_of_day),
        day_of_week: has(WAFT_WAIT_DAY_OF_WEEK).then_some(r.wait_day_of_week),
    })
}

/// # Safety
/// What the release names is lent for `'r`.
unsafe fn core_release<'e, 'r: 'e>(
    r: &waft_release_t,
    extras: &'e mut heapless::Vec<Extra<'r>, WAFT_RELEASE_IMAGES>,
) -> Result<Release<'e>, Fail> {
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
        let whole = |bytes: &'r [u8]| (!bytes.is_empty()).then_some(bytes);
        for image in lent(r.images, r.image_count)? {
            let waft_release_image_t { digest, uri, content, size, number } = *image;
            let (uri, content) = (uri.lent()?, whole(content.lent()?));
            let extra = Extra { number, image: Image { digest, size }, uri, content };
            extras.push(extra).map_err(|_| Misuse::OutOfRange)?;
        }
        let mut versions = [None; 2];
        for (place, text) in versions.iter_mut().zip(r.require_version) {
            if let Some(text) = text.lent_if_any()? {
                *place = Some(text.parse().map_err(|_| Misuse::InvalidString)?);
            }
        }
        let list = whole(r.list.lent()?);
        let list_uri = r.list_uri.lent()?;
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
                version: versions,
                wait: wait(r),
            },
            text,
            more: More {
                content: whole(r.content.lent()?),
                list: list.map(|bytes| List { bytes, uri: list_uri }),
                images: extras,
            },
        })
    }
}

/// Writes the manifest of a release, signed with the secret key at `seed` (32 bytes), to `buffer`. `*len` becomes its
/// length. The same release and key give the same bytes, always.
///
/// WAFT_ERROR_BUFFER: the buffer is too small; 1,024 bytes do where there are no long texts. WAFT_ERROR_INVALID_URI:
/// `uri`. WAFT_ERROR_INVALID_STRING: a text that is not UTF-8, a version that is none. WAFT_ERROR_OUT_OF_RANGE: what
/// no verifier would take back as it is; no image at all, or without a firmware what belongs to one (`content`, `list`,
/// `require_version`); no such type or severity; a seed of zeros.
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
            let mut extras = heapless::Vec::new();
            let release = core_release(lent(release, 1)?.first().ok_or(Misuse::NullPointer)?, &mut extras)?;
            let envelope = release.sign(&secret_key(seed)?)?;
            let place = lent_mut(buffer, buffer_len)?.get_mut(..envelope.len()).ok_or(Capacity::Buffer)?;
            place.copy_from_slice(&envelope);
            out.set(envelope.len());
        }
        Ok(())
    })())
}

/// Writes the list of the digests of an image's chunks of `chunk` bytes, the last one shorter, to `buffer`. `*len` becomes
/// its length: 32 bytes for each chunk.
///
/// WAFT_ERROR_BUFFER: the buffer is too small. WAFT_ERROR_OUT_OF_RANGE: `chunk` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_chunk_list(
    image: waft_bytes_t,
    chunk: u32,
    buffer: *mut u8,
    buffer_len: usize,
    len: *mut usize,
) -> i32 {
    result((|| {
        // SAFETY: C lends the image, the buffer, and the place of the length.
        unsafe {
            let out = Out::new(len)?;
            if chunk == 0 {
                return Err(Misuse::OutOfRange.into());
            }
            let list = chunks::list(image.lent()?, chunk);
            let place = lent_mut(buffer, buffer_len)?.get_mut(..list.len()).ok_or(Capacity::Buffer)?;
            place.copy_from_slice(&list);
            out.set(list.len());
        }
        Ok(())
    })())
}

/// Bytes that waft_payload_sign() adds to a payload of less than 64 KiB.
pub const WAFT_SIGNED: usize = 86;
const _: () = assert!(cose::SIGNED == WAFT_SIGNED, "the header says otherwise");

/// Writes `payload`, a report say, with a signature around it, a COSE_Sign1, by the secret key at `seed` (32 bytes) to
/// `buffer`. `*len` becomes its length.
///
/// WAFT_ERROR_BUFFER: the buffer has less than WAFT_SIGNED bytes more than the payload. WAFT_ERROR_OUT_OF_RANGE: a seed of
/// zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_payload_sign(
    payload: waft_bytes_t,
    seed: *const u8,
    buffer: *mut u8,
    buffer_len: usize,
    len: *mut usize,
) -> i32 {
    result((|| {
        // SAFETY: C lends the payload, the seed, the buffer, and the place of the length.
        unsafe {
            let out = Out::new(len)?;
            let key = secret_key(seed)?;
            let buffer = lent_mut(buffer, buffer_len)?;
            out.set(cose::sign1(payload.lent()?, &key, buffer).map_err(|_| Capacity::Buffer)?.len());
        }
        Ok(())
    })())
}
