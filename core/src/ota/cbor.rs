//! Deterministic CBOR (RFC 8949 §4.2.1), the part of it that manifests and reports need: a reader that takes nothing
//! but the shortest form, and a writer that gives nothing else.

use super::manifest::Version;
use super::refusal::Refusal;
use crate::wire::Writer;
use core::cell::Cell;
use core::num::NonZeroUsize;

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

/// The first thing that is wrong with what is being read.
///
/// It sticks: readers go on, with zeros and nothing, so that their callers need not ask after each item, and whoever
/// began asks at the end. No reader gives more items than it has bytes, whatever is wrong.
#[derive(Debug)]
pub(crate) struct Fault(Cell<Why>);

/// A refusal by its place among them, counted from 1; 0: none. (A byte is half as much code to pass as a number of its own
/// is, and refusals are named in a hundred places.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Why(u8);

impl Why {
    const NONE: Self = Self(0);

    #[inline(always)]
    const fn of(refusal: Refusal) -> Self {
        Self((Refusal::Malformed as i16).wrapping_sub(refusal as i16).wrapping_add(1) as u8)
    }
}

impl Fault {
    #[inline(always)]
    pub(crate) fn set(&self, refusal: Refusal) {
        self.put(Why::of(refusal));
    }

    #[inline(never)]
    fn put(&self, why: Why) {
        if !self.is_set() {
            self.0.set(why);
        }
    }

    /// Where this does not hold, it is wrong.
    #[inline(always)]
    pub(crate) fn unless(&self, holds: bool, refusal: Refusal) {
        self.must(holds, Why::of(refusal));
    }

    fn must(&self, holds: bool, why: Why) {
        if !holds {
            self.put(why);
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.get() != Why::NONE
    }

    /// Whether nothing was wrong so far.
    #[inline(never)]
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        // 0 has no place before it.
        let place = usize::from(self.0.get().0).wrapping_sub(1);
        Refusal::ALL.get(place).map_or(Ok(()), |refusal| Err(*refusal))
    }
}

/// What is read, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
    fault: Fault,
}

/// Where an item is in its input; never at its very start. It takes half of what a slice does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At(NonZeroUsize);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, fault: Fault(Cell::new(Why::NONE)) }
    }

    pub(crate) const fn fault(&self) -> &Fault {
        &self.fault
    }

    /// Reads it from its start.
    pub(crate) const fn reader(&self) -> Reader<'a, '_> {
        Reader { input: self, at: 0, end: self.bytes.len() }
    }

    /// Reads it from there.
    pub(crate) const fn at(&self, at: At) -> Reader<'a, '_> {
        Reader { input: self, at: at.0.get(), end: self.bytes.len() }
    }

    /// The number or string that is there, encoded.
    pub(crate) fn item(&self, at: At) -> &'a [u8] {
        let start = self.at(at);
        let mut reader = start;
        let major = reader.rest().first().map_or(UINT, |first| first >> 5);
        let argument = reader.head(major);
        if matches!(major, BYTES | TEXT) {
            reader.skip(usize::try_from(argument).unwrap_or(0));
        }
        reader.since(&start)
    }
}

/// Reads items one by one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a, 'i> {
    input: &'i Input<'a>,
    at: usize,
    end: usize,
}

impl<'a, 'i> Reader<'a, 'i> {
    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.input.bytes.get(self.at..self.end).unwrap_or_default()
    }

    pub(crate) const fn input(&self) -> &'i Input<'a> {
        self.input
    }

    pub(crate) const fn fault(&self) -> &'i Fault {
        &self.input.fault
    }

    /// Where the next item is.
    pub(crate) const fn here(&self) -> Option<At> {
        match NonZeroUsize::new(self.at) {
            Some(at) => Some(At(at)),
            None => None,
        }
    }

    /// What was read since `self` was `start`.
    pub(crate) fn since(&self, start: &Self) -> &'a [u8] {
        self.input.bytes.get(start.at..self.at).unwrap_or_default()
    }

    /// Goes on by so many bytes, which are there.
    fn skip(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn set(&self, refusal: Refusal) {
        self.fault().set(refusal);
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) {
        self.fault().unless(self.at == self.end, Refusal::TrailingBytes);
    }

    /// Whether the next item is of that major type.
    fn is(&self, major: u8) -> bool {
        self.rest().first().is_some_and(|first| first >> 5 == major)
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

    /// The argument of the next item, which has to be of that major type and in its shortest form.
    fn head(&mut self, major: u8) -> u64 {
        match Self::split(self.rest(), major) {
            Ok((value, rest)) => {
                self.at = self.end.saturating_sub(rest.len());
                value
            }
            Err(refusal) => {
                self.set(refusal);
                0
            }
        }
    }

    fn split(bytes: &[u8], major: u8) -> Result<(u64, &[u8]), Refusal> {
        let (&first, rest) =
            bytes.split_first().filter(|(first, _)| **first >> 5 == major).ok_or(Refusal::Malformed)?;
        let info = first & 0x1f;
        if info < 24 {
            return Ok((info.into(), rest));
        }
        if info == 31 {
            return Err(Refusal::NotCanonical);
        }
        let width = 1usize << (info & 3);
        let (bytes, rest) = rest.split_at_checked(width).filter(|_| info < 28).ok_or(Refusal::Malformed)?;
        let value = bytes.iter().fold(0, |value: u64, byte| (value << 8) | u64::from(*byte));
        // The smallest value that the next shorter form does not hold.
        let least = match width {
            1 => 24,
            2 => 1 << 8,
            4 => 1 << 16,
            _ => 1 << 32,
        };
        if value < least { Err(Refusal::NotCanonical) } else { Ok((value, rest)) }
    }

    /// A count of items. Each takes a byte at least, so that there are never more than bytes are left.
    fn count(&mut self, major: u8) -> usize {
        match usize::try_from(self.head(major)) {
            Ok(count) if count <= self.end.saturating_sub(self.at) => count,
            _ => {
                self.set(Refusal::Malformed);
                0
            }
        }
    }

    fn string(&mut self, major: u8) -> &'a [u8] {
        let len = self.count(major);
        let start = *self;
        self.skip(len);
        self.since(&start)
    }

    pub(crate) fn uint(&mut self) -> u64 {
        self.head(UINT)
    }

    /// A number up to `most`.
    pub(crate) fn up_to(&mut self, most: u32) -> u32 {
        match u32::try_from(self.uint()) {
            Ok(value) if value <= most => value,
            _ => {
                self.set(Refusal::Argument);
                0
            }
        }
    }

    pub(crate) fn u32(&mut self) -> u32 {
        self.up_to(u32::MAX)
    }

    pub(crate) fn int(&mut self) -> i64 {
        let negative = self.is(NINT);
        match i64::try_from(self.head(if negative { NINT } else { UINT })) {
            Ok(value) if negative => !value,
            Ok(value) => value,
            Err(_) => {
                self.set(Refusal::Argument);
                0
            }
        }
    }

    pub(crate) fn i32(&mut self) -> i32 {
        i32::try_from(self.int()).unwrap_or_else(|_| {
            self.set(Refusal::Argument);
            0
        })
    }

    /// A number that is a label: one beyond 32 bits is none that anybody knows.
    pub(crate) fn label(&mut self) -> i32 {
        i32::try_from(self.int()).unwrap_or(i32::MIN)
    }

    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        self.string(BYTES)
    }

    /// A byte string of exactly `N` bytes; else `refusal`.
    #[inline(always)]
    pub(crate) fn array_of<const N: usize>(&mut self, refusal: Refusal) -> &'a [u8; N] {
        self.array_else(Why::of(refusal))
    }

    fn array_else<const N: usize>(&mut self, why: Why) -> &'a [u8; N] {
        self.bytes().try_into().unwrap_or_else(|_| {
            self.fault().put(why);
            const { &[0; N] }
        })
    }

    /// The items in a byte string.
    pub(crate) fn nested(&mut self) -> Self {
        let len = self.count(BYTES);
        let inner = Self { end: self.at.saturating_add(len), ..*self };
        self.at = inner.end;
        inner
    }

    pub(crate) fn text(&mut self) -> &'a str {
        core::str::from_utf8(self.string(TEXT)).unwrap_or_else(|_| {
            self.set(Refusal::Malformed);
            ""
        })
    }

    /// An array's head: how many items follow.
    pub(crate) fn array(&mut self) -> usize {
        self.count(ARRAY)
    }

    /// The head of an array of so many items; else `refusal`.
    #[inline(always)]
    pub(crate) fn array_with(&mut self, items: usize, refusal: Refusal) {
        self.array_with_else(items, Why::of(refusal));
    }

    fn array_with_else(&mut self, items: usize, why: Why) {
        let found = self.array();
        self.fault().must(found == items, why);
    }

    /// A map's head: how many pairs follow.
    pub(crate) fn map(&mut self) -> Map<'a> {
        Map { left: self.count(MAP), last: &[] }
    }

    /// Exactly this tag.
    pub(crate) fn tag(&mut self, tag: u64) {
        let found = self.head(TAG);
        self.fault().unless(found == tag, Refusal::Malformed);
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
        let found = self.rest().first() == Some(&byte);
        if found {
            self.skip(1);
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

    /// Whether there is another pair; its key is then to be read, and [`ordered`](Self::ordered) asked.
    pub(crate) fn more(&mut self) -> bool {
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    /// A key was read; `reader` was `start` before.
    pub(crate) fn ordered(&mut self, start: &Reader<'a, '_>, reader: &Reader<'a, '_>) {
        let encoded = reader.since(start);
        // An empty `last` is below any key.
        reader.fault().unless(self.last < encoded, Refusal::KeyOrder);
        self.last = encoded;
    }

    /// The next key, where keys are numbers; its value follows in `reader`.
    pub(crate) fn key(&mut self, reader: &mut Reader<'a, '_>) -> Option<i32> {
        if !self.more() {
            return None;
        }
        let start = *reader;
        let key = reader.label();
        self.ordered(&start, reader);
        Some(key)
    }

    /// The next key, which has to be this one; else `refusal`.
    #[inline(always)]
    pub(crate) fn required(&mut self, reader: &mut Reader<'a, '_>, key: i32, refusal: Refusal) {
        self.required_else(reader, key, Why::of(refusal));
    }

    fn required_else(&mut self, reader: &mut Reader<'a, '_>, key: i32, why: Why) {
        let found = self.key(reader);
        reader.fault().must(found == Some(key), why);
    }

    /// There may be no further pair; else `refusal`.
    pub(crate) fn end(&self, reader: &Reader<'a, '_>, refusal: Refusal) {
        reader.fault().unless(self.left == 0, refusal);
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

    pub(crate) fn tag(&mut self, tag: u64) {
        self.head(TAG, tag);
    }

    pub(crate) fn yes(&mut self) {
        self.0.u8(TRUE);
    }
}
