//! Deterministic CBOR (RFC 8949 §4.2.1), the part of it that manifests and reports need: a reader that takes nothing
//! but the shortest form, and a writer that gives nothing else.

use super::manifest::Version;
use super::refusal::Refusal;
use crate::wire::{self, Writer};

/// Major types (RFC 8949 §3.1).
const UINT: u8 = 0;
const NINT: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;

/// Reads items one by one from the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(wire::Reader<'a>);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(wire::Reader::new(bytes))
    }

    /// What has not been read.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0.rest()
    }

    /// What was read since `self` was `start`.
    pub(crate) fn since(&self, start: &Self) -> &'a [u8] {
        let len = start.rest().len().saturating_sub(self.rest().len());
        start.rest().get(..len).unwrap_or_default()
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::TrailingBytes) }
    }

    /// Whether the next item is of that major type.
    fn is(&self, major: u8) -> bool {
        self.0.peek().is_some_and(|first| first >> 5 == major)
    }

    pub(crate) fn is_bytes(&self) -> bool {
        self.is(BYTES)
    }

    pub(crate) fn is_text(&self) -> bool {
        self.is(TEXT)
    }

    pub(crate) fn is_array(&self) -> bool {
        self.is(ARRAY)
    }

    /// Major type and argument of the next item, in their shortest form.
    fn head(&mut self) -> Result<(u8, u64), Refusal> {
        let first = self.0.u8().ok_or(Refusal::Malformed)?;
        let info = first & 0x1f;
        let argument = match info {
            0..24 => info.into(),
            24..28 => {
                let width = 1usize << (info & 3);
                let bytes = self.0.take(width).ok_or(Refusal::Malformed)?;
                let value = bytes.iter().fold(0, |value: u64, byte| (value << 8) | u64::from(*byte));
                // The largest value that the next shorter form holds.
                let shorter: u64 = match info {
                    24 => 23,
                    25 => 0xff,
                    26 => 0xffff,
                    _ => 0xffff_ffff,
                };
                if value <= shorter {
                    return Err(Refusal::NotCanonical);
                }
                value
            }
            31 => return Err(Refusal::NotCanonical),
            _ => return Err(Refusal::Malformed),
        };
        Ok((first >> 5, argument))
    }

    fn expect(&mut self, major: u8) -> Result<u64, Refusal> {
        match self.head()? {
            (found, argument) if found == major => Ok(argument),
            _ => Err(Refusal::Malformed),
        }
    }

    /// A count of items. Each takes a byte at least, so that there are never more than bytes are left.
    fn count(&mut self, major: u8) -> Result<usize, Refusal> {
        let count = self.expect(major)?;
        usize::try_from(count).ok().filter(|count| *count <= self.0.len()).ok_or(Refusal::Malformed)
    }

    fn string(&mut self, major: u8) -> Result<&'a [u8], Refusal> {
        let len = self.count(major)?;
        self.0.take(len).ok_or(Refusal::Malformed)
    }

    pub(crate) fn uint(&mut self) -> Result<u64, Refusal> {
        self.expect(UINT)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Refusal> {
        u32::try_from(self.uint()?).map_err(|_| Refusal::Argument)
    }

    pub(crate) fn int(&mut self) -> Result<i64, Refusal> {
        let (major, argument) = self.head()?;
        let value = i64::try_from(argument).map_err(|_| Refusal::Argument)?;
        match major {
            UINT => Ok(value),
            NINT => Ok(!value),
            _ => Err(Refusal::Malformed),
        }
    }

    /// A number that is a label: one beyond 32 bits is none that anybody knows.
    pub(crate) fn label(&mut self) -> Result<i32, Refusal> {
        Ok(i32::try_from(self.int()?).unwrap_or(i32::MIN))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Refusal> {
        self.string(BYTES)
    }

    /// A byte string of exactly `N` bytes.
    pub(crate) fn array_of<const N: usize>(&mut self) -> Result<&'a [u8; N], Refusal> {
        self.bytes()?.try_into().map_err(|_| Refusal::Argument)
    }

    /// The items in a byte string.
    pub(crate) fn nested(&mut self) -> Result<Self, Refusal> {
        self.bytes().map(Self::new)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Refusal> {
        core::str::from_utf8(self.string(TEXT)?).map_err(|_| Refusal::Malformed)
    }

    /// An array's head: how many items follow.
    pub(crate) fn array(&mut self) -> Result<usize, Refusal> {
        self.count(ARRAY)
    }

    /// A map's head: how many pairs follow.
    pub(crate) fn map(&mut self) -> Result<Map<'a>, Refusal> {
        Ok(Map { left: self.count(MAP)?, last: &[] })
    }

    /// Exactly this tag.
    pub(crate) fn tag(&mut self, tag: u64) -> Result<(), Refusal> {
        if self.expect(TAG)? == tag { Ok(()) } else { Err(Refusal::Malformed) }
    }

    /// Whether `true` was next; then it is read.
    pub(crate) fn skip_true(&mut self) -> bool {
        self.skip_byte(TRUE)
    }

    /// Whether `null` was next; then it is read.
    pub(crate) fn skip_null(&mut self) -> bool {
        self.skip_byte(NULL)
    }

    fn skip_byte(&mut self, byte: u8) -> bool {
        let found = self.0.peek() == Some(byte);
        if found {
            self.0.u8();
        }
        found
    }
}

/// A map under way: gives each key, and refuses those that are not above the one before in the order of their encoding
/// (RFC 8949 §4.2.1).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Map<'a> {
    left: usize,
    last: &'a [u8],
}

impl<'a> Map<'a> {
    /// Pairs that have not been read.
    pub(crate) const fn left(&self) -> usize {
        self.left
    }

    /// The next key, where keys are numbers; its value follows in `reader`.
    pub(crate) fn key(&mut self, reader: &mut Reader<'a>) -> Result<Option<i32>, Refusal> {
        self.next(reader, Reader::label)
    }

    /// The next key as `read` reads it.
    pub(crate) fn next<T>(
        &mut self,
        reader: &mut Reader<'a>,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, Refusal>,
    ) -> Result<Option<T>, Refusal> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let start = *reader;
        let key = read(reader)?;
        let encoded = reader.since(&start);
        // An empty `last` is below any key.
        if self.last >= encoded {
            return Err(Refusal::KeyOrder);
        }
        self.last = encoded;
        Ok(Some(key))
    }
}

/// Writes items into a [`Writer`].
#[derive(Debug)]
pub(crate) struct Encoder<'w, 'a>(pub(crate) &'w mut Writer<'a>);

impl Encoder<'_, '_> {
    fn head(&mut self, major: u8, argument: u64) {
        let first = major << 5;
        let bytes = argument.to_be_bytes();
        let (info, width) = match argument {
            0..24 => return self.0.u8(first | (argument & 0x1f) as u8),
            24..=0xff => (24, 1),
            0x100..=0xffff => (25, 2),
            0x1_0000..=0xffff_ffff => (26, 4),
            _ => (27, 8),
        };
        self.0.u8(first | info);
        self.0.bytes(bytes.get(bytes.len().saturating_sub(width)..).unwrap_or_default());
    }

    pub(crate) fn uint(&mut self, value: u64) {
        self.head(UINT, value);
    }

    pub(crate) fn int(&mut self, value: i32) {
        let value = i64::from(value);
        if value < 0 { self.head(NINT, (!value).cast_unsigned()) } else { self.head(UINT, value.cast_unsigned()) }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.head(BYTES, bytes.len() as u64);
        self.0.bytes(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.head(TEXT, text.len() as u64);
        self.0.bytes(text.as_bytes());
    }

    pub(crate) fn array(&mut self, items: u8) {
        self.head(ARRAY, items.into());
    }

    pub(crate) fn map(&mut self, pairs: u8) {
        self.head(MAP, pairs.into());
    }

    pub(crate) fn version(&mut self, version: &Version) {
        let numbers = version.numbers();
        self.head(ARRAY, numbers.len() as u64);
        for number in numbers {
            self.int(*number);
        }
    }

    pub(crate) fn yes(&mut self) {
        self.0.u8(TRUE);
    }
}
