//! The journal: what a device remembers of its update over power cuts.
//!
//! Two erase blocks ("pages"), filled in turn with records of [`LEN`] bytes. Every record is the **whole** state, so
//! the valid record with the highest number is all there is to know, and nothing is ever copied from page to page:
//! when a page is full, the other one, which by then holds only older records, is erased and written from its start.
//! A cut may fall anywhere:
//!
//! - inside a write: the record's CRC does not fit, or its place still reads erased. The record before it stands. The
//!   place is never written again before an erase, the next record goes to the next place that reads erased;
//! - inside an erase: the page held nothing that counts, and it will be erased again before it is written.
//!
//! Wear: a page is erased once for every `2 × (page / 128)` records. An update writes one record for each erase block
//! of the images (with chunk digests one for each chunk, where that is larger), about five more, one for each image behind the first, and one for each time that the
//! download begins; a slot is erased once for each
//! update and once more where a store failed or a chunk was wrong. With erase blocks of 4,096 bytes an update of 256 KiB
//! writes 71 records: two erases of journal pages. Key tables have [two blocks](super::event::Area::Keys) of their own, erased in turn,
//! once for each table.

use crate::{
    crc::crc32,
    wire::{Reader, Writer},
};

/// A saved state of [`Sha256`](super::digest::Sha256).
pub type Midstate = [u8; 32];

/// Bytes of a record: a multiple of every program unit from 1 to 32 bytes that is a power of two.
pub const LEN: usize = 128;

/// [`LEN`] as an offset.
pub const STEP: u32 = 128;

/// The first byte of every record: format 3.
const FORMAT: u8 = 0xA3;

/// Bytes before the CRC.
const BODY: usize = 124;

/// The most images that a device has.
pub const MOST_IMAGES: usize = 4;

/// A bit for each image that there may be.
pub(crate) const IMAGES: u8 = 0xF;

/// Bytes that a record keeps of the digest of the manifest that was confirmed.
const NAME: usize = 26;

/// The most that a record counts.
pub(crate) const MOST_FAILURES: u8 = 127;

/// What a record says is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Nothing.
    Idle = 1,
    /// The images are being fetched; `offset` bytes of `image` are in its inactive slot and `hash` is the midstate behind them. Those
    /// before it are whole. `left`: how often in a row that was begun and nothing of it was recorded.
    Fetching = 2,
    /// All images are whole in their inactive slots. From here on `image` is the first of them, `offset` its size and `hash` its
    /// digest.
    Fetched = 3,
    /// They were found good: boot them next, `left` times at most.
    Ready = 4,
    /// They were booted and have not been confirmed; they may be booted `left` times more.
    Trial = 5,
    /// They were confirmed: the slots they are in are the active ones.
    Confirmed = 6,
    /// They were rejected, or their boots are used up: boot the active slots.
    Reverted = 7,
    /// The update ended without a trial. `left` is the reason: its code without the sign.
    Failed = 8,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Idle,
        Self::Fetching,
        Self::Fetched,
        Self::Ready,
        Self::Trial,
        Self::Confirmed,
        Self::Reverted,
        Self::Failed,
    ];

    fn from_u8(value: u8) -> Option<Self> {
        Self::ALL.get(usize::from(value).wrapping_sub(1)).copied()
    }
}

/// The whole state of an update.
// In this order, since the machine that has it looks at the single bytes most: see `Update`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Record {
    /// What is going on.
    pub kind: Kind,
    /// The slots of the confirmed images: bit n is that of image n. An update is written to the other ones.
    pub active: u8,
    /// Which images the update brings: bit n for image n. They become active, or do not, by one record.
    pub brings: u8,
    /// The image that `offset` and `hash` are about.
    pub image: u8,
    /// Boots left, downloads begun, or the reason of a failure: see [`Kind`].
    pub left: u8,
    /// How often a download of this release has failed: 0 to 127. Not 0 only where one is going on, has ended or has failed.
    pub failures: u8,
    /// Its number: one more than the record before it.
    pub number: u32,
    /// Bytes stored, or the image's size: see [`Kind`].
    pub offset: u32,
    /// Sequence number of the manifest of the update.
    pub sequence: u64,
    /// The highest sequence number ever confirmed. It rises at [`Kind::Confirmed`] and never sinks.
    pub floor: u64,
    /// SHA-256 of the manifest of the update.
    pub digest: [u8; 32],
    /// SHA-256 midstate, or the image's digest: see [`Kind`].
    pub hash: Midstate,
    /// The first bytes of the SHA-256 of the manifest that was confirmed last; zeros where none ever was.
    pub confirmed: [u8; NAME],
    /// The latest time that was ever believed, seconds since 1970; 0 where none was.
    pub time: u32,
}

impl Record {
    /// What a device knows whose journal holds nothing: it runs from the slots `active`.
    #[must_use]
    pub const fn blank(active: u8) -> Self {
        Self {
            kind: Kind::Idle,
            active: active & IMAGES,
            brings: 0,
            image: 0,
            left: 0,
            failures: 0,
            number: 0,
            sequence: 0,
            floor: 0,
            offset: 0,
            digest: [0; 32],
            hash: [0; 32],
            confirmed: [0; NAME],
            time: 0,
        }
    }

    /// The slot of that image which is not active.
    #[must_use]
    pub const fn target(&self, image: u8) -> u8 {
        match self.active.checked_shr(image as u32) {
            Some(slots) => !slots & 1,
            None => 1,
        }
    }

    /// The slots that are active once the update is confirmed.
    #[must_use]
    pub const fn updated(&self) -> u8 {
        self.active ^ self.brings
    }

    /// The first image that the update brings, from that number on.
    #[must_use]
    pub(crate) fn next_image(&self, from: u8) -> Option<u8> {
        let left = self.brings & u8::MAX.checked_shl(from.into()).unwrap_or(0);
        (left != 0).then(|| left.trailing_zeros() as u8)
    }

    /// The bytes of the record, under number `number`.
    #[must_use]
    pub fn encode(&self, number: u32) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        self.write(number, &mut bytes);
        bytes
    }

    /// Writes them there.
    pub(crate) fn write(&self, number: u32, bytes: &mut [u8; LEN]) {
        let mut w = Writer::new(bytes);
        let slots = (self.active & IMAGES) | (self.brings << 4);
        let failures = self.failures.min(MOST_FAILURES);
        w.bytes(&[FORMAT, self.kind as u8, slots, self.image, self.left, failures]);
        w.u32(number);
        w.bytes(&self.sequence.to_be_bytes());
        w.bytes(&self.floor.to_be_bytes());
        w.u32(self.offset);
        w.bytes(&self.digest);
        w.bytes(&self.hash);
        w.bytes(&self.confirmed);
        w.u32(self.time);
        if let Some(crc) = bytes.first_chunk::<BODY>().map(|body| crc32(body))
            && let Some(place) = bytes.last_chunk_mut()
        {
            *place = crc.to_be_bytes();
        }
    }

    /// Reads a record. `None` for anything that is not one, whole and undamaged.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut record = Self::blank(0);
        record.read(bytes, None)?;
        Some(record)
    }

    /// Becomes the record that is read. `None`, and nothing has changed, for anything that is not one, whole and undamaged, and
    /// for one whose number is not above that.
    fn read(&mut self, bytes: &[u8], above: Option<u32>) -> Option<()> {
        let (body, crc) = bytes.split_first_chunk::<BODY>()?;
        let mut r = Reader::new(body);
        // The format first: most places are erased, and that is seen at once.
        if r.u8()? != FORMAT || Reader::new(crc).u32()? != crc32(body) {
            return None;
        }
        let [kind, slots, image, left, failures] = r.array()?;
        let kind = Kind::from_u8(kind)?;
        if failures != 0 && !matches!(kind, Kind::Fetching | Kind::Fetched | Kind::Failed) {
            return None;
        }
        let number = r.u32()?;
        if above.is_some_and(|known| number <= known) {
            return None;
        }
        self.kind = kind;
        self.active = slots & IMAGES;
        self.brings = slots >> 4;
        self.image = image;
        self.left = left;
        self.failures = failures;
        self.number = number;
        self.sequence = u64::from_be_bytes(r.array()?);
        self.floor = u64::from_be_bytes(r.array()?);
        self.offset = r.u32()?;
        self.digest = r.array()?;
        self.hash = r.array()?;
        self.confirmed = r.array()?;
        self.time = r.u32()?;
        Some(())
    }
}

/// What a record keeps of the digest of the manifest that was confirmed.
#[must_use]
pub(crate) fn name(digest: &[u8; 32]) -> [u8; NAME] {
    digest.first_chunk().copied().unwrap_or_default()
}

/// Where the next record goes, found by looking at every place of both pages once, in any order within a page.
#[derive(Debug, Clone, Copy)]
pub struct Cursor {
    /// The page of the newest record, which must not be erased.
    home: u8,
    /// The page that is written.
    page: u8,
    /// Offset in it of the next free place.
    next: u32,
    /// Whether the page has to be erased first.
    dirty: bool,
    /// Offset behind the last place of each page that does not read erased.
    used: [u32; 2],
    /// The highest number seen or given.
    number: u32,
}

impl Cursor {
    /// Nothing looked at yet.
    pub const NEW: Self = Self { home: 1, page: 0, next: 0, dirty: true, used: [0; 2], number: 0 };

    /// Looks at the place at `offset` of `page`. Gives the record there where it is the newest so far.
    pub fn look(&mut self, page: u8, offset: u32, bytes: &[u8]) -> Option<Record> {
        let mut record = Record::blank(0);
        self.look_for(&mut record, page, offset, bytes).then_some(record)
    }

    /// The same; where the record there is the newest so far, it takes the place of `newest`.
    #[inline(never)]
    pub(crate) fn look_for(&mut self, newest: &mut Record, page: u8, offset: u32, bytes: &[u8]) -> bool {
        if bytes.iter().any(|byte| *byte != 0xFF) {
            let Some(used) = self.used.get_mut(usize::from(page & 1)) else { return false };
            *used = (*used).max(offset.saturating_add(STEP));
        }
        if newest.read(bytes, Some(self.number)).is_none() {
            return false;
        }
        self.number = newest.number;
        self.home = page & 1;
        self.page = self.home;
        self.dirty = false;
        true
    }

    /// All places have been looked at; a page has `size` bytes.
    pub fn settle(&mut self, size: u32) {
        if !self.dirty {
            self.next = self.used.get(usize::from(self.page)).copied().unwrap_or(0);
            self.room(size);
        }
    }

    /// Turns to the other page where this one is full. The page of the newest record is never the one to be erased.
    fn room(&mut self, size: u32) {
        if self.next.saturating_add(STEP) > size {
            self.page = self.home ^ 1;
            self.next = 0;
            self.dirty = true;
        }
    }

    /// The page to be erased before a record can be written.
    #[must_use]
    pub const fn to_erase(&self) -> Option<u8> {
        if self.dirty { Some(self.page) } else { None }
    }

    /// That page was erased.
    pub const fn erased(&mut self) {
        self.dirty = false;
        self.next = 0;
    }

    /// The number of the next record. Each call gives another one.
    pub const fn number(&mut self) -> u32 {
        self.number = self.number.saturating_add(1);
        self.number
    }

    /// The page and the offset in it of the next record.
    #[must_use]
    pub const fn place(&self) -> (u8, u32) {
        (self.page, self.next)
    }

    /// A record was written there, or may have been written in part. It counts only where it is `whole`.
    pub fn written(&mut self, whole: bool, size: u32) {
        if whole {
            self.home = self.page;
        }
        self.next = self.next.saturating_add(STEP);
        self.room(size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_where_there_can_be_some() {
        for failures in [0, 1, 126, 127] {
            for active in [0, 1, 9] {
                let record =
                    Record { kind: Kind::Failed, failures, number: 4, brings: 6, image: 2, ..Record::blank(active) };
                assert_eq!(Record::decode(&record.encode(4)), Some(record));
                let ready = Record { kind: Kind::Ready, ..record };
                assert_eq!(Record::decode(&ready.encode(4)), Some(ready).filter(|_| failures == 0));
            }
        }
        let most = Record { kind: Kind::Failed, failures: 255, ..Record::blank(0) };
        assert_eq!(Record::decode(&most.encode(1)).unwrap().failures, 127);
    }

    #[test]
    fn slots_change_for_the_images_that_an_update_brings() {
        let record = Record { brings: 0b1010, ..Record::blank(0b0011) };
        assert_eq!([0, 1, 2, 3].map(|n| record.target(n)), [0, 0, 1, 1]);
        assert_eq!(record.updated(), 0b1001);
        assert_eq!([0, 1, 2, 3, 4].map(|n| record.next_image(n)), [Some(1), Some(1), Some(3), Some(3), None]);
    }

    fn record(number: u32) -> Record {
        Record { number, sequence: 7, floor: 6, offset: 4096, left: 3, digest: [1; 32], ..Record::blank(1) }
    }

    #[test]
    fn a_record_survives_the_flash() {
        let bytes = record(9).encode(9);
        assert_eq!(Record::decode(&bytes), Some(record(9)));
    }

    #[test]
    fn every_prefix_and_every_flipped_bit_is_noticed() {
        let bytes = record(9).encode(9);
        for cut in 0..LEN {
            let mut torn = [0xFF; LEN];
            torn[..cut].copy_from_slice(&bytes[..cut]);
            assert!(Record::decode(&torn).is_none() || torn == bytes, "cut at {cut}");
        }
        for bit in 0..LEN * 8 {
            let mut torn = bytes;
            torn[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(&torn), None, "bit {bit}");
        }
        assert_eq!(Record::decode(&[0xFF; LEN]), None);
        assert_eq!(Record::decode(&[0; LEN]), None);
    }

    #[test]
    fn the_next_record_goes_behind_a_torn_one() {
        let mut cursor = Cursor::NEW;
        let mut torn = record(2).encode(2);
        torn[100..].fill(0xFF);
        assert!(cursor.look(0, 0, &record(1).encode(1)).is_some());
        assert!(cursor.look(0, STEP, &torn).is_none());
        assert!(cursor.look(0, 2 * STEP, &[0xFF; LEN]).is_none());
        cursor.settle(1024);
        assert_eq!((cursor.to_erase(), cursor.place()), (None, (0, 2 * STEP)));
    }

    #[test]
    fn a_full_page_gives_way_to_the_other_one() {
        let mut cursor = Cursor::NEW;
        assert_eq!(cursor.to_erase(), Some(0));
        cursor.erased();
        cursor.written(true, 256);
        assert_eq!((cursor.to_erase(), cursor.place()), (None, (0, STEP)));
        cursor.written(true, 256);
        assert_eq!((cursor.to_erase(), cursor.place()), (Some(1), (1, 0)));
        cursor.erased();
        cursor.written(false, 256);
        cursor.written(false, 256);
        assert_eq!(cursor.to_erase(), Some(1), "page 0 still holds the newest record");
    }

    #[test]
    fn junk_in_both_pages_is_no_record() {
        let mut cursor = Cursor::NEW;
        for page in 0..2 {
            for place in 0..8 {
                assert!(cursor.look(page, place * STEP, &[0x5A; LEN]).is_none());
            }
        }
        cursor.settle(1024);
        assert_eq!(cursor.to_erase(), Some(0));
    }
}
