//! Tables of the keys that a device trusts.
#![allow(non_camel_case_types, reason = "C's names")]

use crate::{
    error::{Fail, result},
    handle::{Out, lent, lent_mut},
    manifest::{lent_keys, waft_key_t},
    types::waft_bytes_t,
};
use waft::{
    Error, Misuse,
    ota::{
        keys::{KeyTable, LEN, MAX_KEYS},
        manifest::Key,
        refusal::Refusal,
    },
};

/// Bytes of a table of keys in flash: a multiple of every program unit up to 64 bytes.
pub const WAFT_KEY_TABLE_SIZE: usize = 192;
const _: () = assert!(LEN == WAFT_KEY_TABLE_SIZE, "the header says otherwise");

/// The most keys in a table.
pub const WAFT_KEY_TABLE_KEYS: usize = 4;
const _: () = assert!(MAX_KEYS == WAFT_KEY_TABLE_KEYS, "the header says otherwise");

/// A table of keys as it stands in flash, with its checksum.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_key_table_t {
    /// What to write to flash, and to read from there.
    pub bytes: [u8; WAFT_KEY_TABLE_SIZE],
}

/// # Safety
/// The keys are lent.
unsafe fn table(epoch: u32, keys: *const waft_key_t, key_count: usize) -> Result<KeyTable, Fail> {
    // SAFETY: the caller's.
    let trusted: heapless::Vec<Key, MAX_KEYS> = unsafe { lent_keys(keys, key_count) }?;
    Ok(KeyTable::of(epoch, &trusted).ok_or(Misuse::OutOfRange)?)
}

/// # Safety
/// The table is lent.
unsafe fn read(table: *const waft_key_table_t) -> Result<KeyTable, Fail> {
    // SAFETY: the caller's.
    let table = unsafe { lent(table, 1) }?.first().ok_or(Misuse::NullPointer)?;
    Ok(KeyTable::from_bytes(&table.bytes).ok_or(Error::Peer(Refusal::KeyTable))?)
}

/// Makes a table of these keys, in any order: the one that a device leaves the factory with has epoch 0.
///
/// WAFT_ERROR_OUT_OF_RANGE: no keys, more than WAFT_KEY_TABLE_KEYS, or one twice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_key_table_make(
    epoch: u32,
    keys: *const waft_key_t,
    key_count: usize,
    made: *mut waft_key_table_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the keys, and the place of the table.
        unsafe {
            let out = Out::new(made)?;
            out.set(waft_key_table_t { bytes: table(epoch, keys, key_count)?.to_bytes() });
        }
        Ok(())
    })())
}

/// Reads a table: `*key_count` keys go to `keys`, which has room for WAFT_KEY_TABLE_KEYS, and the epoch to `*epoch`.
///
/// WAFT_ERROR_UPDATE_KEY_TABLE: it is none, or damaged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_key_table_read(
    table: *const waft_key_table_t,
    keys: *mut waft_key_t,
    key_count: *mut usize,
    epoch: *mut u32,
) -> i32 {
    result((|| {
        // SAFETY: C lends the table, room for the keys, and the places of the numbers.
        unsafe {
            let (count, since) = (Out::new(key_count)?, Out::new(epoch)?);
            let room = lent_mut(keys, MAX_KEYS)?;
            let table = read(table)?;
            for (place, key) in room.iter_mut().zip(table.keys()) {
                *place = waft_key_t::of(key);
            }
            count.set(table.keys().len());
            since.set(table.epoch());
        }
        Ok(())
    })())
}

/// The table that takes the place of `table` by a manifest with the payload `payload`, which the key with the identifier
/// at `signer` (8 bytes, see waft_manifest_t) has signed. `applied` may be `table`.
///
/// WAFT_ERROR_UPDATE_KEY_TABLE, ..._KEY_EPOCH, ..._KEY_REVOKES_ITSELF, ..._KEY_NONE_LEFT: why it does not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_key_table_apply(
    table: *const waft_key_table_t,
    payload: waft_bytes_t,
    signer: *const u8,
    applied: *mut waft_key_table_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the table, the payload, the identifier, and the place of the new table.
        unsafe {
            let out = Out::new(applied)?;
            let signer = lent(signer.cast::<[u8; 8]>(), 1)?.first().ok_or(Misuse::NullPointer)?;
            let new = read(table)?.apply(payload.lent()?, signer).map_err(Error::Peer)?;
            out.set(waft_key_table_t { bytes: new.to_bytes() });
        }
        Ok(())
    })())
}

/// Writes the manifest that brings a table of keys to devices, signed with the secret key at `seed` (32 bytes), to
/// `buffer`. `*len` becomes its length. `identity` points to the vendor's UUID and, behind it, the class's.
///
/// WAFT_ERROR_BUFFER: the buffer is too small; 512 bytes do. WAFT_ERROR_OUT_OF_RANGE: the table has not the key that
/// signs in it, with the right to sign tables; a seed of zeros.
#[cfg(feature = "std")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_key_table_sign(
    table: *const waft_key_table_t,
    sequence: u64,
    identity: *const u8,
    seed: *const u8,
    buffer: *mut u8,
    buffer_len: usize,
    len: *mut usize,
) -> i32 {
    result((|| {
        // SAFETY: C lends the table, the identity, the seed, the buffer, and the place of the length.
        unsafe {
            let out = Out::new(len)?;
            let [vendor, class] = *lent(identity.cast::<[[u8; 16]; 2]>(), 1)?.first().ok_or(Misuse::NullPointer)?;
            let table = read(table)?;
            let change = waft::ota::author::KeyChange { sequence, vendor, class, table: &table };
            let envelope = change.sign(&crate::author::secret_key(seed)?)?;
            let place = lent_mut(buffer, buffer_len)?.get_mut(..envelope.len()).ok_or(waft::Capacity::Buffer)?;
            place.copy_from_slice(&envelope);
            out.set(envelope.len());
        }
        Ok(())
    })())
}
