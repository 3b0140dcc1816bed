//! What crosses the ABI besides numbers: small structs that C reads and writes.
#![allow(non_camel_case_types, reason = "C's names")]

use crate::{
    error::Fail,
    handle::{check, lent},
};
use core::{
    ffi::c_char,
    ptr::{self, NonNull},
    slice,
};
use waft::{Duration, Instant, Misuse, Output};

/// Text in UTF-8, without a NUL at its end. `WAFT_STR("...")` makes one of a literal.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_str_t {
    /// Its first byte; may be NULL where `len` is 0.
    pub data: *const c_char,
    /// Bytes.
    pub len: usize,
}

/// Bytes that belong to somebody else.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_bytes_t {
    /// The first; may be NULL where `len` is 0.
    pub data: *const u8,
    /// How many.
    pub len: usize,
}

impl waft_str_t {
    pub(crate) const EMPTY: Self = Self { data: ptr::null(), len: 0 };

    pub(crate) const fn of(text: &str) -> Self {
        Self { data: text.as_ptr().cast(), len: text.len() }
    }

    /// For what looks at the bytes itself.
    pub(crate) const fn as_bytes(self) -> waft_bytes_t {
        waft_bytes_t { data: self.data.cast(), len: self.len }
    }

    /// # Safety
    /// It names as many bytes as it says, which live and do not change for `'b`; or nothing.
    pub(crate) unsafe fn lent<'b>(self) -> Result<&'b str, Fail> {
        // SAFETY: the caller's.
        let bytes = unsafe { self.as_bytes().lent() }?;
        core::str::from_utf8(bytes).map_err(|_| Misuse::InvalidString.into())
    }

    /// The same; `None` where the pointer is NULL.
    ///
    /// # Safety
    /// As for [`lent`](Self::lent).
    pub(crate) unsafe fn lent_if_any<'b>(self) -> Result<Option<&'b str>, Fail> {
        // SAFETY: the caller's.
        if self.data.is_null() { Ok(None) } else { unsafe { self.lent() }.map(Some) }
    }
}

impl waft_bytes_t {
    pub(crate) const EMPTY: Self = Self { data: ptr::null(), len: 0 };

    pub(crate) const fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), len: bytes.len() }
    }

    /// Whether it can be what it says, as far as it shows: where that is.
    pub(crate) fn check(self) -> Result<NonNull<u8>, Fail> {
        check(self.data, self.len)
    }

    /// # Safety
    /// As for [`waft_str_t::lent`]; and `found` is what [`check`](Self::check) gave.
    pub(crate) const unsafe fn lent_at<'b>(self, found: NonNull<u8>) -> &'b [u8] {
        // SAFETY: the caller's.
        unsafe { slice::from_raw_parts(found.as_ptr(), self.len) }
    }

    /// # Safety
    /// As for [`waft_str_t::lent`].
    #[inline(always)]
    pub(crate) unsafe fn lent<'b>(self) -> Result<&'b [u8], Fail> {
        // SAFETY: the caller's.
        unsafe { lent(self.data, self.len) }
    }
}

/// No deadline.
pub const WAFT_NEVER: u64 = u64::MAX;

/// What became of input.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_handled_t {
    /// So many bytes are done with. Keep the rest and offer it again, with more behind it. A datagram is always
    /// consumed whole.
    pub consumed: usize,
    /// Where there is no event and bytes are left: at least so many *further* bytes are missing. 0 then says "not now":
    /// something else has to come first, the answer to an event, say.
    pub needed: usize,
}

/// Send `len` bytes from the start of the buffer to `peer`: one datagram, or the next bytes of the stream.
pub const WAFT_OUTPUT_TRANSMIT: u32 = 1;
/// Something happened: look at the event.
pub const WAFT_OUTPUT_EVENT: u32 = 2;
/// The next output takes a buffer of `len` bytes. It is kept: call again with such a buffer.
pub const WAFT_OUTPUT_BUFFER_TOO_SMALL: u32 = 3;
/// Nothing more for now: wait for input, or call ..._handle_timeout() at `deadline`.
pub const WAFT_OUTPUT_TIMEOUT: u32 = 4;

/// What a machine wants next.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_output_t {
    /// WAFT_OUTPUT_...: 1 to 4.
    pub kind: u32,
    /// To whom to transmit.
    pub peer: u32,
    /// Bytes to transmit, or bytes that the buffer should have had.
    pub len: usize,
    /// Microseconds of your clock; lies in the future, or is WAFT_NEVER.
    pub deadline: u64,
}

impl waft_output_t {
    /// The output, and its event where it is one.
    pub(crate) fn of<E>(output: Output<'_, E>) -> (Self, Option<E>) {
        let what = Self::said(&output);
        (what, if let Output::Event(event) = output { Some(event) } else { None })
    }

    /// The output without its event.
    pub(crate) fn said<E>(output: &Output<'_, E>) -> Self {
        let blank = Self { kind: WAFT_OUTPUT_EVENT, peer: 0, len: 0, deadline: WAFT_NEVER };
        match output {
            Output::Transmit { peer, bytes } => {
                Self { kind: WAFT_OUTPUT_TRANSMIT, peer: peer.0, len: bytes.len(), ..blank }
            }
            Output::Event(_) => blank,
            Output::BufferTooSmall { needed } => Self { kind: WAFT_OUTPUT_BUFFER_TOO_SMALL, len: *needed, ..blank },
            Output::Timeout(at) => Self { kind: WAFT_OUTPUT_TIMEOUT, deadline: deadline(*at), ..blank },
        }
    }
}

/// A deadline as C has it.
pub(crate) fn deadline(at: Option<Instant>) -> u64 {
    at.map_or(WAFT_NEVER, Instant::as_micros)
}

/// A time as C gives it.
pub(crate) const fn instant(now: u64) -> Instant {
    Instant::from_micros(now)
}

/// A span as C gives it, in milliseconds.
pub(crate) const fn millis(span: u32) -> Duration {
    Duration::from_millis(span as u64)
}
