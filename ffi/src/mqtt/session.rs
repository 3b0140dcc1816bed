//! A client's session as a record, and the pages of flash that records go to.
#![allow(non_camel_case_types, reason = "C's names")]

use super::waft_mqtt_client_t;
use crate::{
    error::{Fail, result},
    handle::{Opaque, Out, fits, init, lent_mut, machine, machine_ref, place},
    types::waft_bytes_t,
};
use waft::mqtt::client::session::{Journal, Record};

/// How many bytes waft_mqtt_client_export() writes now, with a note of `note_len` bytes; 0 for a bad handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_export_len(handle: *const waft_mqtt_client_t, note_len: usize) -> usize {
    // SAFETY: C lends the handle.
    unsafe { machine_ref(handle) }.map_or(0, |client| client.export_len(note_len))
}

/// Writes the session into `buffer` as a record, to be kept where a reboot or a power cut leaves it; `*len` becomes its
/// length. At any moment, and without a change to the client. `note` is yours: it comes back from
/// waft_mqtt_client_import(). `sequence` is that of waft_mqtt_journal_place(), or 0.
///
/// QoS 2 is exactly-once over power cuts if a record is written after commands and input, where
/// waft_mqtt_client_is_exported_in() says that the last one is out of date, and before anything that
/// waft_mqtt_client_poll_output() gives is sent; and if what messages led to is in the note, or does no harm twice.
///
/// WAFT_ERROR_BUFFER: `buffer_len` is less than waft_mqtt_client_export_len().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_export(
    handle: *const waft_mqtt_client_t,
    sequence: u32,
    note: waft_bytes_t,
    buffer: *mut u8,
    buffer_len: usize,
    len: *mut usize,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, the note and the buffer for this call, and the place of `len`.
        unsafe {
            let (client, out) = (machine_ref(handle)?, Out::new(len)?);
            out.set(client.export(sequence, note.lent()?, lent_mut(buffer, buffer_len)?)?);
        }
        Ok(())
    })())
}

/// 1 while the session in `record` is that of the client, so that no new record is needed; 0 if not, or an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_is_exported_in(
    handle: *const waft_mqtt_client_t,
    record: waft_bytes_t,
) -> i32 {
    // SAFETY: C lends the handle, and the record for this call.
    unsafe { machine_ref(handle).and_then(|client| Ok(i32::from(client.is_exported_in(record.lent()?)))) }
        .unwrap_or_else(Fail::code)
}

/// Goes on with the session in `record`: connect without `clean_session` afterwards, and what was not acknowledged is
/// sent again under the identifiers it had. `*note` becomes the note in it. More bytes may follow the record.
///
/// WAFT_ERROR_WRONG_STATE: there is a connection. WAFT_ERROR_INVALID_SESSION: this is no record, or a damaged one.
/// WAFT_ERROR_ARENA, WAFT_ERROR_IN_FLIGHT: the client that wrote it had more memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_import(
    handle: *mut waft_mqtt_client_t,
    record: waft_bytes_t,
    note: *mut waft_bytes_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, the record for as long as it looks at the note, and the place of `note`.
        unsafe {
            let (client, out) = (machine(handle)?, Out::new(note)?);
            out.set(waft_bytes_t::of(client.import(record.lent()?)?.note));
        }
        Ok(())
    })())
}

/// Words of a handle; `sizeof(waft_mqtt_journal_t)` is what to write.
pub const WAFT_MQTT_JOURNAL_WORDS: usize = 6;

/// Where records of waft_mqtt_client_export() go in two pages of flash, one after another, so that a write or an erasure
/// that the power cuts off at any byte leaves the newest whole record to be found.
#[repr(C)]
pub struct waft_mqtt_journal_t {
    _priv: [u64; WAFT_MQTT_JOURNAL_WORDS],
}

// SAFETY: `repr(C)` over words.
unsafe impl Opaque for waft_mqtt_journal_t {
    type Machine = Journal;
    const MAGIC: u32 = u32::from_be_bytes(*b"wMqJ");
}
const _: () = assert!(fits::<waft_mqtt_journal_t>(), "raise WAFT_MQTT_JOURNAL_WORDS");

/// Where the next record is to be written.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_mqtt_place_t {
    /// In this page: 0 or 1.
    pub page: u32,
    /// For waft_mqtt_client_export().
    pub sequence: u32,
    /// From here on, in bytes; a multiple of the unit.
    pub offset: usize,
    /// 1: the whole page has to be erased first.
    pub erase: u8,
}

/// Looks through the two pages, which are of one length, for the newest record: `*newest`, of length 0 where there is
/// none. `size` is `sizeof *journal`. The flash writes no fewer than `unit` bytes; fill the last unit of a record with
/// 0xFF.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_journal_open(
    journal: *mut waft_mqtt_journal_t,
    size: usize,
    page_0: waft_bytes_t,
    page_1: waft_bytes_t,
    unit: usize,
    newest: *mut waft_bytes_t,
) -> i32 {
    result((|| {
        place(journal, size)?;
        // SAFETY: C lends the journal's place, the pages for as long as it looks at `newest`, and the place of that.
        unsafe {
            let out = Out::new(newest)?;
            let (opened, record) = Journal::open([page_0.lent()?, page_1.lent()?], unit);
            init(journal, size, opened)?;
            out.set(record.map_or(waft_bytes_t::EMPTY, |record: Record<'_>| waft_bytes_t::of(record.as_bytes())));
        }
        Ok(())
    })())
}

/// Where a record of `len` bytes is to be written now; call it once for each. After a write that failed, though the power
/// stayed on, open the journal again. WAFT_ERROR_BUFFER: the record is longer than a page.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_journal_place(
    journal: *mut waft_mqtt_journal_t,
    len: usize,
    place: *mut waft_mqtt_place_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the journal and the place of `place`.
        unsafe {
            let (journal, out) = (machine(journal)?, Out::new(place)?);
            let next = journal.place(len)?;
            out.set(waft_mqtt_place_t {
                page: u32::try_from(next.page).unwrap_or(0),
                sequence: next.sequence,
                offset: next.offset,
                erase: u8::from(next.erase),
            });
        }
        Ok(())
    })())
}
