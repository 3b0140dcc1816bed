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

/// The largest arguments that the next shorter form holds, by the base-2 logarithm of the bytes of theirs.
const SHORTER: [u32; 4] = [23, 0xff, 0xffff, u32::MAX];

/// What stands for bytes that are not there.
static ZEROS: [u8; 64] = [0; 64];

const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;

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

/// Reads items one by one.
///
/// Whatever is nested is read in the order in which it stands, so that one cursor does: it is shared, and
/// [entered](Self::enter) into byte strings and left again.
///
/// The first thing that is wrong sticks: it is read on, with zeros and nothing, so that callers need not ask after each item,
/// and whoever began [asks](Self::check) at the end. There are never more items than bytes, whatever is wrong.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    cursor: Cell<Cursor>,
    fault: Cell<Why>,
}

/// Where the next item is, and where the bytes end that are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor {
    at: usize,
    end: usize,
}

/// Where what is around a byte string ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outer(usize);

impl Outer {
    /// Nothing is around.
    pub(crate) const NONE: Self = Self(0);
}

/// Where an item is; never at the very start. It takes half of what a slice does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At(NonZeroUsize);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, cursor: Cell::new(Cursor { at: 0, end: bytes.len() }), fault: Cell::new(Why::NONE) }
    }

    /// That is wrong.
    #[inline(always)]
    pub(crate) fn set(&self, refusal: Refusal) {
        self.put(Why::of(refusal));
    }

    #[inline(never)]
    fn put(&self, why: Why) {
        if !self.is_set() {
            self.fault.set(why);
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

    /// Whether anything was wrong so far.
    pub(crate) fn is_set(&self) -> bool {
        self.fault.get() != Why::NONE
    }

    /// Whether nothing was wrong so far.
    #[inline(never)]
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        // 0 has no place before it.
        let place = usize::from(self.fault.get().0).wrapping_sub(1);
        Refusal::ALL.get(place).map_or(Ok(()), |refusal| Err(*refusal))
    }

    /// The cursor, to be [put back](Self::go_back) when something else has been read.
    pub(crate) fn cursor(&self) -> Cursor {
        self.cursor.get()
    }

    pub(crate) fn go_back(&self, cursor: Cursor) {
        self.cursor.set(cursor);
    }

    /// How many bytes come before the next item.
    pub(crate) fn place(&self) -> usize {
        self.cursor.get().at
    }

    /// Where the next item is.
    pub(crate) fn here(&self) -> Option<At> {
        NonZeroUsize::new(self.place()).map(At)
    }

    /// Reads what is there next, and what follows that; without a place, from the start.
    #[inline(never)]
    pub(crate) fn seek(&self, at: Option<At>) {
        self.cursor.set(Cursor { at: at.map_or(0, |at| at.0.get()), end: self.bytes.len() });
    }

    /// Reads what is there.
    pub(crate) fn at(&self, at: At) -> &Self {
        self.seek(Some(at));
        self
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        let Cursor { at, end } = self.cursor.get();
        self.between(at, end)
    }

    #[inline(never)]
    fn between(&self, start: usize, end: usize) -> &'a [u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// What was read since the place was `start`.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.between(start, self.place())
    }

    /// What is between the place `start` and the end of what is read.
    pub(crate) fn from(&self, start: usize) -> &'a [u8] {
        self.between(start, self.cursor.get().end)
    }

    /// Goes on by so many bytes, which are there.
    fn skip(&self, bytes: usize) {
        let Cursor { at, end } = self.cursor.get();
        self.cursor.set(Cursor { at: at.wrapping_add(bytes), end });
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) {
        let Cursor { at, end } = self.cursor.get();
        self.unless(at == end, Refusal::TrailingBytes);
    }

    /// Enters a byte string, in which items are.
    pub(crate) fn enter(&self) -> Outer {
        let len = self.count(BYTES);
        let Cursor { at, end } = self.cursor.get();
        self.cursor.set(Cursor { at, end: at.wrapping_add(len) });
        Outer(end)
    }

    /// The same, of one behind which nothing may follow.
    pub(crate) fn enter_last(&self) -> Outer {
        let outer = self.enter();
        self.unless(self.cursor.get().end == outer.0, Refusal::TrailingBytes);
        outer
    }

    /// Leaves it; nothing may follow in it.
    pub(crate) fn leave(&self, Outer(end): Outer) {
        self.end();
        self.cursor.set(Cursor { at: self.place(), end });
    }

    /// The first byte of the next item; one that is none, where there is none.
    fn peek(&self) -> u8 {
        match self.rest() {
            [first, ..] => *first,
            [] => u8::MAX,
        }
    }

    /// Whether the next item is of that major type.
    fn is(&self, major: u8) -> bool {
        self.peek() >> 5 == major
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
    fn head(&self, major: u8) -> u64 {
        match Self::split(self.rest(), major) {
            Ok((value, len)) => {
                self.skip(len);
                value
            }
            Err(refusal) => {
                self.set(refusal);
                0
            }
        }
    }

    fn split(bytes: &[u8], major: u8) -> Result<(u64, usize), Refusal> {
        let (&first, rest) =
            bytes.split_first().filter(|(first, _)| **first >> 5 == major).ok_or(Refusal::Malformed)?;
        let info = first & 0x1f;
        if info < 24 {
            return Ok((info.into(), 1));
        }
        if info == 31 {
            return Err(Refusal::NotCanonical);
        }
        let width = 1usize << (info & 3);
        let bytes = rest.get(..width).filter(|_| info < 28).ok_or(Refusal::Malformed)?;
        let value = bytes.iter().fold(0, |value: u64, byte| (value << 8) | u64::from(*byte));
        if value <= SHORTER.get(usize::from(info & 3)).copied().unwrap_or(0).into() {
            Err(Refusal::NotCanonical)
        } else {
            Ok((value, width.wrapping_add(1)))
        }
    }

    /// A count of items. Each takes a byte at least, so that there are never more than bytes are left.
    fn count(&self, major: u8) -> usize {
        match usize::try_from(self.head(major)) {
            Ok(count) if count <= self.rest().len() => count,
            _ => {
                self.set(Refusal::Malformed);
                0
            }
        }
    }

    fn string(&self, major: u8) -> &'a [u8] {
        let len = self.count(major);
        let start = self.place();
        self.skip(len);
        self.since(start)
    }

    /// The number or string that is there, encoded.
    pub(crate) fn item(&self, at: At) -> &'a [u8] {
        self.seek(Some(at));
        let start = self.place();
        let major = self.peek() >> 5;
        let argument = self.head(major);
        if matches!(major, BYTES | TEXT) {
            self.skip(usize::try_from(argument).unwrap_or(0));
        }
        self.since(start)
    }

    pub(crate) fn uint(&self) -> u64 {
        self.head(UINT)
    }

    /// A number up to `most`.
    pub(crate) fn up_to(&self, most: u32) -> u32 {
        match u32::try_from(self.uint()) {
            Ok(value) if value <= most => value,
            _ => {
                self.set(Refusal::Argument);
                0
            }
        }
    }

    pub(crate) fn u32(&self) -> u32 {
        self.up_to(u32::MAX)
    }

    pub(crate) fn int(&self) -> i64 {
        let negative = self.is(NINT);
        let value = self.head(u8::from(negative)).cast_signed();
        if value < 0 {
            self.set(Refusal::Argument);
            return 0;
        }
        if negative { !value } else { value }
    }

    pub(crate) fn i32(&self) -> i32 {
        i32::try_from(self.int()).unwrap_or_else(|_| {
            self.set(Refusal::Argument);
            0
        })
    }

    /// A number that is a label: one beyond 32 bits is none that anybody knows.
    pub(crate) fn label(&self) -> i32 {
        i32::try_from(self.int()).unwrap_or(i32::MIN)
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.string(BYTES)
    }

    /// A byte string of exactly `N` bytes; else `refusal`.
    #[inline(always)]
    pub(crate) fn array_of<const N: usize>(&self, refusal: Refusal) -> &'a [u8; N] {
        self.array_else(Why::of(refusal))
    }

    fn array_else<const N: usize>(&self, why: Why) -> &'a [u8; N] {
        self.bytes().try_into().unwrap_or_else(|_| {
            self.put(why);
            const {
                match ZEROS.first_chunk() {
                    Some(zeros) => zeros,
                    None => &[0; N],
                }
            }
        })
    }

    pub(crate) fn text(&self) -> &'a str {
        let bytes = self.string(TEXT);
        // (Less code than `core::str::from_utf8`, which is fast where texts are long.)
        let text = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        self.unless(text.len() == bytes.len(), Refusal::Malformed);
        text
    }

    /// An array's head: how many items follow.
    pub(crate) fn array(&self) -> usize {
        self.count(ARRAY)
    }

    /// The head of an array of so many items; else `refusal`.
    #[inline(always)]
    pub(crate) fn array_with(&self, items: usize, refusal: Refusal) {
        self.array_with_else(items, Why::of(refusal));
    }

    fn array_with_else(&self, items: usize, why: Why) {
        let found = self.array();
        self.must(found == items, why);
    }

    /// A map's head: how many pairs follow.
    pub(crate) fn map(&self) -> Map<'a> {
        Map { left: self.count(MAP), last: &[] }
    }

    /// Exactly this tag.
    pub(crate) fn tag(&self, tag: u8) {
        let found = self.head(TAG);
        self.unless(found == tag.into(), Refusal::Malformed);
    }

    /// Whether `true` was next; then it is read.
    pub(crate) fn skip_true(&self) -> bool {
        self.skip_byte(TRUE)
    }

    /// Whether `null` was next; then it is read.
    pub(crate) fn skip_null(&self) -> bool {
        self.skip_byte(NULL)
    }

    fn skip_byte(&self, byte: u8) -> bool {
        let found = self.peek() == byte;
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
        let more = self.left != 0;
        if more {
            self.left = self.left.wrapping_sub(1);
        }
        more
    }

    /// A key was read; the place was `start` before.
    pub(crate) fn ordered(&mut self, start: usize, reader: &Reader<'a>) {
        let encoded = reader.since(start);
        // An empty `last` is below any key.
        reader.unless(self.last < encoded, Refusal::KeyOrder);
        self.last = encoded;
    }

    /// The next key, where keys are numbers; its value follows in `reader`.
    pub(crate) fn key(&mut self, reader: &Reader<'a>) -> Option<i32> {
        if !self.more() {
            return None;
        }
        let start = reader.place();
        let key = reader.label();
        self.ordered(start, reader);
        Some(key)
    }

    /// The next key, which has to be this one; else `refusal`.
    #[inline(always)]
    pub(crate) fn required(&mut self, reader: &Reader<'a>, key: i32, refusal: Refusal) {
        self.required_else(reader, key, Why::of(refusal));
    }

    fn required_else(&mut self, reader: &Reader<'a>, key: i32, why: Why) {
        let found = self.key(reader);
        reader.must(found == Some(key), why);
    }

    /// There may be no further pair; else `refusal`.
    #[inline(always)]
    pub(crate) fn end(&self, reader: &Reader<'a>, refusal: Refusal) {
        reader.unless(self.left == 0, refusal);
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

    pub(crate) fn tag(&mut self, tag: u8) {
        self.head(TAG, tag.into());
    }

    pub(crate) fn yes(&mut self) {
        self.0.u8(TRUE);
    }
}
