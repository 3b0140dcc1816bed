//! Reports that are signed with a key of the device's own.
#![allow(non_camel_case_types, reason = "C's names")]

use crate::{
    agent::waft_agent_t,
    error::{Fail, result},
    handle::{Out, lent_one, machine},
    manifest::{WAFT_VERIFY_KEYS, WAFT_VERSION_TEXT, lent_keys, version_text, waft_key_t},
    types::waft_bytes_t,
};
use core::ffi::c_void;
use waft::{
    Capacity, Misuse,
    ota::{
        cose::Signer,
        manifest::{Ed25519, Key},
        reporter,
        secret::SecretKey,
    },
};

/// Who signs a device's reports: a key in its hardware, or one in memory (waft_signer_of_seed()).
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_signer_t {
    /// The identifier of the key: the first 8 bytes of its COSE Key Thumbprint (RFC 9679).
    pub key_id: [u8; 8],
    /// What `sign` is given.
    pub context: *mut c_void,
    /// Writes the Ed25519 signature of `message` (RFC 8032 §5.1.6) to the 64 bytes at `signature`.
    pub sign: Option<unsafe extern "C" fn(context: *mut c_void, message: waft_bytes_t, signature: *mut u8)>,
}

// SAFETY: C vouches that `sign` may be called, with that context, by whoever uses the agent.
unsafe impl Sync for waft_signer_t {}

impl Signer for waft_signer_t {
    fn id(&self) -> [u8; 8] {
        self.key_id
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        if let Some(sign) = self.sign {
            // SAFETY: C's function, with C's context; the signature has room for 64 bytes.
            unsafe { sign(self.context, waft_bytes_t::of(message), signature.as_mut_ptr()) };
        }
        signature
    }
}

/// # Safety
/// `context` points to the 32 bytes of a seed, `signature` to 64 bytes to write to, and the message is lent.
unsafe extern "C" fn sign_by_seed(context: *mut c_void, message: waft_bytes_t, signature: *mut u8) {
    // SAFETY: the caller's.
    unsafe {
        if let (Ok(seed), Ok(message)) = (lent_one(context.cast::<[u8; 32]>()), message.lent())
            && let Some(key) = SecretKey::from_seed(seed)
        {
            signature.cast::<[u8; 64]>().write(key.sign(message));
        }
    }
}

/// Makes `*signer` one that signs with the secret key at `seed`: 32 random bytes (RFC 8032 §5.1.5) that have to live as long as
/// the signer.
///
/// WAFT_ERROR_OUT_OF_RANGE: the bytes are all zero, which is no key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_signer_of_seed(seed: *const u8, signer: *mut waft_signer_t) -> i32 {
    result((|| {
        // SAFETY: C lends the seed, and the place of the signer.
        unsafe {
            let out = Out::new(signer)?;
            let key = SecretKey::from_seed(lent_one(seed.cast())?).ok_or(Misuse::OutOfRange)?;
            let context = seed.cast_mut().cast();
            out.set(waft_signer_t { key_id: key.key().id, context, sign: Some(sign_by_seed) });
        }
        Ok(())
    })())
}

/// Has the agent sign its reports from now on, each as one that is newer than those before: a receiver that knows the key tells
/// forged ones and copies (waft_report_open()). `start` has to be above what it was whenever the device started before: a
/// count of its starts that it keeps in flash, say, or the time. The signer has to live as long as the agent. Firmware
/// that does not name this function links nothing of it.
///
/// WAFT_ERROR_OUT_OF_RANGE: the signer has no function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_sign_reports(
    handle: *mut waft_agent_t,
    signer: *const waft_signer_t,
    start: u32,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, and the signer for as long as the agent is used.
        let (agent, signer) = unsafe { (machine(handle)?, lent_one(signer)?) };
        if signer.sign.is_none() {
            return Err(Misuse::OutOfRange.into());
        }
        agent.sign_reports(signer, start);
        Ok(())
    })())
}

/// A report whose device is known.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_report_t {
    /// The manifest's sequence number.
    pub sequence: u64,
    /// The report's own number: what waft_report_open() is to be given with the next one of this device.
    pub nonce: u64,
    /// The manifest's digest.
    pub digest: [u8; 32],
    /// The manifest's version as text, with a NUL at its end; empty where it is not known.
    pub version: [u8; WAFT_VERSION_TEXT],
    /// The identifier of the device's key.
    pub key_id: [u8; 8],
    /// Why the update was refused, has failed or was reverted: WAFT_ERROR_UPDATE_..., or 0.
    pub reason: i32,
    /// WAFT_STATE_...
    pub state: u8,
    /// How often in a row the download has come to nothing.
    pub attempts: u8,
}

/// Bytes of the longest report with its signature.
pub const WAFT_REPORT_MAX: usize = 256;
const _: () = assert!(reporter::MAX == WAFT_REPORT_MAX, "the header says otherwise");

/// Opens a report that a device signed: `last` is the number of the last report that was taken of it, 0 where there was none.
///
/// -96 to -191: what is wrong with it; WAFT_ERROR_UPDATE_UNKNOWN_KEY or ..._SIGNATURE: it is none of these keys';
/// WAFT_ERROR_UPDATE_REPORT_REPLAY: it is not newer than `last`. WAFT_ERROR_OUT_OF_RANGE: more than WAFT_VERIFY_KEYS keys.
/// WAFT_ERROR_BUFFER: it is longer than any report, WAFT_REPORT_MAX.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_report_open(
    signed_report: waft_bytes_t,
    keys: *const waft_key_t,
    key_count: usize,
    last: u64,
    report: *mut waft_report_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the report, the keys, and the place of what is in it.
        unsafe {
            let out = Out::new(report)?;
            let trusted: heapless::Vec<Key, WAFT_VERIFY_KEYS> = lent_keys(keys, key_count)?;
            let signed = signed_report.lent()?;
            if signed.len() > WAFT_REPORT_MAX {
                return Err(Fail::from(Capacity::Buffer));
            }
            let told = reporter::open(signed, &trusted, &Ed25519, last, &mut [0; WAFT_REPORT_MAX])
                .map_err(waft::Error::Peer)?;
            out.set(waft_report_t {
                sequence: told.report.sequence,
                nonce: told.nonce,
                digest: told.report.digest,
                version: version_text(told.report.version.as_ref()),
                key_id: told.key.id,
                reason: told.report.reason.map_or(0, |reason| reason as i32),
                state: told.report.state as u8,
                attempts: told.report.attempts,
            });
        }
        Ok(())
    })())
}
