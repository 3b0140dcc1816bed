//! Which bytes of a payload are stored, and their hash so far: a prefix, and one bit for each block behind it.
//!
//! ```text
//! 0 .... proven .... hashed .... stored ..(bit)..(bit).......... erased ........ size
//! ```
//!
//! Bytes that arrive in order are hashed as they pass; where the prefix closed over blocks that were stored before their
//! turn, the machine reads them back and hashes them then. The memory it takes is the same for every image.
//!
//! With chunk digests the prefix stops at the end of each chunk until that is *proven*; what came early waits behind it. A
//! chunk that is not the one listed becomes a *hole*: it is erased and fetched again, and what lies behind it stays.

use crate::ota::digest::{BLOCK, NOTHING, Sha256};
use crate::ota::journal::Midstate;

/// What to do with bytes that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// So many of them are stored already, or lie behind the end of the image.
    Skip(usize),
    /// So many more are needed to make up a program unit or a block.
    Short(usize),
    /// Store so many of them.
    Store(u32),
    /// Not yet: the flash there has not been erased, or the chunk before has not been proven.
    Wait,
    /// Too far ahead.
    Beyond,
}

/// How many blocks from the prefix on there is a bit for.
pub(super) const WINDOW: u32 = 64;

/// What is being written. It lies in the machine and is changed where it lies.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Image {
    pub(super) size: u32,
    /// All bytes before this are stored.
    pub(super) stored: u32,
    /// All bytes before this went through `sha`, since the start or since `check`.
    pub(super) hashed: u32,
    /// All flash from `stored` to here is erased, but for the blocks that have a bit, and the hole.
    pub(super) erased: u32,
    /// All chunks before this have the digest that they should have.
    pub(super) proven: u32,
    /// The chunk that is being hashed. One behind `proven` is looked at because it may be there since before a reboot.
    check: u32,
    /// So far chunks are looked at.
    probe: u32,
    erase: u32,
    write: u32,
    /// Bytes of a block that may come before its turn: a power of two, or 0.
    block: u32,
    /// Bytes of a chunk that has a digest of its own, or 0.
    chunk: u32,
    /// What is to be erased again: from where, and up to where.
    hole: (u32, u32),
    /// Bit n: the n-th block after the one that `stored` lies in is stored. Bit 0 is only set where the prefix waits for
    /// a chunk to be proven.
    ahead: u64,
    pub(super) sha: Sha256,
}

/// `n` rounded down to a multiple of `unit`.
#[inline(never)]
pub(super) fn floor(n: u32, unit: u32) -> u32 {
    n.saturating_sub(n.checked_rem(unit).unwrap_or(0))
}

/// `n` rounded up to a multiple of `unit`.
#[inline(never)]
pub(super) fn ceil(n: u32, unit: u32) -> u32 {
    floor(n.saturating_add(unit.saturating_sub(1)), unit)
}

impl Image {
    /// None, until one is [begun](Self::begin).
    pub(super) const NONE: Self = Self {
        size: 0,
        stored: 0,
        hashed: 0,
        erased: 0,
        proven: 0,
        check: 0,
        probe: 0,
        erase: 0,
        write: 0,
        block: 0,
        chunk: 0,
        hole: (0, 0),
        ahead: 0,
        sha: Sha256::UNUSED,
    };

    /// Becomes an image of `size` bytes of which none is stored. Sizes of 0 for what there is not: see [`Image`]. Chunks are
    /// several whole erase blocks, or so many of them are one.
    #[inline(never)]
    pub(super) fn begin(&mut self, size: u32, [erase, write, block, chunk]: [u32; 4]) {
        self.size = size;
        self.erase = erase;
        self.write = write;
        self.block = if chunk.checked_rem(block) == Some(0) { block } else { 0 };
        self.chunk = chunk;
        self.rewind(0, &NOTHING);
    }

    /// Goes back to `offset`, which starts an erase block and a chunk; `hash` is the midstate of what is before it.
    #[inline(never)]
    pub(super) fn rewind(&mut self, offset: u32, hash: &Midstate) {
        self.stored = offset;
        self.hashed = offset;
        self.erased = offset;
        self.proven = offset;
        self.check = offset;
        self.probe = offset;
        self.hole = (0, 0);
        self.ahead = 0;
        if self.chunk == 0 && u64::from(offset) % BLOCK == 0 {
            self.sha.resume(hash, offset.into());
        } else {
            self.sha.resume(&NOTHING, 0);
        }
    }

    /// Becomes `size` bytes that are in the flash already, and are hashed from there.
    pub(super) fn whole(&mut self, size: u32, erase: u32) {
        self.begin(size, [erase, 1, 0, 0]);
        self.stored = size;
    }

    /// Looks which chunks are there already, up to so many bytes behind the prefix.
    pub(super) fn look_ahead(&mut self, ahead: u32) {
        if self.block != 0 && self.chunk >= self.erase {
            let most = self.chunk.max(self.block.saturating_mul(WINDOW / 2));
            self.probe = self.stored.saturating_add(ahead.min(most)).min(self.size);
        }
    }

    /// Whether it is doing that.
    pub(super) const fn is_looking(&self) -> bool {
        self.check < self.probe
    }

    /// Where the next bytes to be read back for the hash are, and how many: at most `most`, and within one erase block; 0
    /// where there are none.
    #[inline(never)]
    pub(super) fn unhashed(&self, most: u32) -> (u32, u32) {
        let stored = if self.is_looking() { self.size } else { self.stored };
        let end = stored.min(self.chunk_end()).min(self.block_end(self.hashed));
        (self.hashed, end.saturating_sub(self.hashed).min(most))
    }

    /// They were read.
    pub(super) fn hash(&mut self, bytes: &[u8]) {
        self.sha.update(bytes);
        self.hashed = self.hashed.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    }

    /// Whether what went through the hash has that digest. (Not inlined: the hash is copied, and much is called afterwards.)
    #[inline(never)]
    pub(super) fn has(&self, digest: &[u8]) -> bool {
        self.sha.clone().finish() == *digest
    }

    /// Whether `hashed` lies where an erase block ends, so that what was reached may be recorded.
    pub(super) fn at_boundary(&self) -> bool {
        floor(self.hashed, self.erase) == self.hashed && (self.chunk == 0 || self.hashed == self.proven)
    }

    // Chunks

    /// Where the chunk that is being hashed ends; without chunks, the end of the image.
    fn chunk_end(&self) -> u32 {
        if self.chunk == 0 { self.size } else { self.check.saturating_add(self.chunk).min(self.size) }
    }

    /// The chunk, by its number, all of which went through the hash.
    pub(super) fn hashed_chunk(&self) -> Option<u32> {
        let whole = self.hashed == self.chunk_end() && self.check < self.size;
        self.check.checked_div(self.chunk).filter(|_| whole)
    }

    /// It has the digest that it should have, or not. Gives false where a chunk that was fetched has not.
    #[inline(never)]
    pub(super) fn judge(&mut self, good: bool) -> bool {
        let (start, end, looking) = (self.check, self.chunk_end(), self.is_looking());
        self.sha.resume(&NOTHING, 0);
        self.check = end;
        if good && looking && start == self.stored {
            self.advance(end);
        } else if good && looking && self.distance(end) <= WINDOW {
            self.mark(start, end, true);
        }
        if good && start == self.proven {
            self.proven = end;
        }
        if !looking && !good {
            self.spoil(start, end);
        }
        if !self.is_looking() {
            self.probe = 0;
            self.check = self.proven;
        }
        self.hashed = self.check;
        self.close();
        good || looking
    }

    /// The bytes from `start` to `end`, where the prefix ends, are no good: erases them and what shares an erase block
    /// with them.
    #[inline(never)]
    fn spoil(&mut self, start: u32, end: u32) {
        let (start, edge) = (floor(start, self.erase), ceil(end, self.erase));
        let back = self.distance_of(self.stored.saturating_sub(start));
        self.proven = start;
        if back > self.ahead.leading_zeros() {
            // Never within the window that is taken; what cannot be remembered is fetched again.
            self.erased = start;
            self.ahead = 0;
        } else {
            self.ahead = self.ahead.checked_shl(back).unwrap_or(0);
            self.hole = (start, edge.min(self.erased));
        }
        self.stored = start;
        self.check = start;
        self.mark(end, edge, false);
    }

    // Erasing

    /// The erase block to be erased next so that everything up to `ahead` bytes behind the prefix is.
    #[inline(never)]
    pub(super) fn next_erase(&mut self, ahead: u32) -> Option<u32> {
        if self.hole.0 < self.hole.1 {
            return Some(self.hole.0);
        }
        let target = ceil(self.stored.saturating_add(ahead.max(1)).min(self.size), self.erase);
        while self.erased < target {
            if !self.is_there(self.erased, self.block_end(self.erased).min(self.size)) {
                return Some(self.erased);
            }
            self.erased = self.erased.saturating_add(self.erase);
        }
        None
    }

    /// That erase block is erased.
    pub(super) fn was_erased(&mut self) {
        let next = if self.hole.0 < self.hole.1 { &mut self.hole.0 } else { &mut self.erased };
        *next = next.saturating_add(self.erase);
    }

    /// Bytes before this offset are taken.
    pub(super) fn end(&self) -> u32 {
        self.erased.min(self.size)
    }

    fn block_end(&self, offset: u32) -> u32 {
        floor(offset, self.erase).saturating_add(self.erase)
    }

    // Blocks

    /// How many blocks after the one that `stored` lies in `offset` is.
    #[inline(never)]
    fn distance(&self, offset: u32) -> u32 {
        self.distance_of(offset).saturating_sub(self.distance_of(self.stored))
    }

    /// The bit of the block that begins at `offset`; none where it is too far.
    #[inline(never)]
    fn bit(&self, offset: u32) -> u64 {
        1_u64.checked_shl(self.distance(offset)).unwrap_or(0)
    }

    /// Notes of the blocks that begin from `start` to `end` whether they are stored.
    #[inline(never)]
    fn mark(&mut self, start: u32, end: u32, there: bool) {
        let mut at = start;
        while self.block != 0 && at < end {
            let bit = self.bit(at);
            self.ahead = if there { self.ahead | bit } else { self.ahead & !bit };
            at = at.saturating_add(self.block);
        }
    }

    /// Whether the block that begins at `offset` was stored before its turn.
    #[inline(never)]
    fn has_block(&self, offset: u32) -> bool {
        self.ahead & self.bit(offset) != 0
    }

    /// Whether all blocks that begin from `start` to `end` are stored.
    fn is_there(&self, start: u32, end: u32) -> bool {
        let mut at = start.max(floor(self.stored, self.block));
        while self.block != 0 && at < end {
            if at >= self.stored && !self.has_block(at) {
                return false;
            }
            at = at.saturating_add(self.block);
        }
        self.block != 0 || self.stored >= end
    }

    /// The first byte from `from` on that is not stored, and how many are missing from there on, as far as there is a bit
    /// for them.
    pub(super) fn missing(&self, from: u32) -> Option<(u32, u32)> {
        let reach = floor(self.stored, self.block).saturating_add(self.reach().saturating_mul(self.block));
        let end = if self.block == 0 { self.size } else { self.size.min(reach) };
        let is_there = |at| at < self.stored || self.has_block(at);
        let next = |at: u32| floor(at, self.block).saturating_add(self.block);
        let mut start = from.max(self.stored);
        while self.block != 0 && start < end && is_there(start) {
            start = next(start);
        }
        let mut stop = start;
        while self.block != 0 && stop < end && !is_there(stop) {
            stop = next(stop);
        }
        let stop = if self.block == 0 { end } else { stop.min(end) };
        (start < stop).then(|| (start, stop.saturating_sub(start)))
    }

    /// How many blocks from the prefix on are taken: as many as there are bits for, even where the chunk that the prefix
    /// is in has to be fetched again.
    fn reach(&self) -> u32 {
        let kept = self.distance_of(self.stored.saturating_sub(self.proven));
        if self.chunk != 0 && self.distance_of(self.chunk) <= WINDOW / 2 { WINDOW.saturating_sub(kept) } else { WINDOW }
    }

    fn distance_of(&self, bytes: u32) -> u32 {
        bytes.checked_div(self.block).unwrap_or(0)
    }

    /// What is to become of `len` bytes that belong at `offset`.
    pub(super) fn take(&self, offset: u32, len: usize) -> Take {
        if offset >= self.size {
            return Take::Skip(len);
        }
        let len32 = u32::try_from(len).unwrap_or(u32::MAX).min(self.size.saturating_sub(offset));
        if offset < self.stored {
            let known = self.stored.saturating_sub(offset);
            // The tail behind the end of the image goes with the bytes before it.
            return if self.stored == self.size || known as usize >= len {
                Take::Skip(len)
            } else {
                Take::Skip(known as usize)
            };
        }
        if offset > self.stored {
            return self.take_ahead(offset, len32, len);
        }
        let mut limit = self.block_end(offset).min(self.end()).min(self.chunk_end());
        if self.hole.0 < self.hole.1 {
            limit = limit.min(self.hole.0);
        }
        if self.ahead != 0 {
            // Not over the first block that is there already.
            let skip = self.ahead.trailing_zeros().saturating_mul(self.block);
            limit = limit.min(floor(offset, self.block).saturating_add(skip));
        }
        let room = limit.saturating_sub(offset);
        if room == 0 || self.is_looking() {
            return Take::Wait;
        }
        let mut take = len32.min(room);
        if offset.saturating_add(take) < self.size {
            take = floor(take, self.write);
        }
        if take == 0 {
            return Take::Short(self.write.saturating_sub(len32) as usize);
        }
        Take::Store(take)
    }

    fn take_ahead(&self, offset: u32, len: u32, offered: usize) -> Take {
        let whole = self.block.min(self.size.saturating_sub(offset));
        if self.block == 0 || floor(offset, self.block) != offset || self.distance(offset) >= self.reach() {
            return Take::Beyond;
        }
        if self.has_block(offset) {
            let last = offset.saturating_add(whole) == self.size;
            return Take::Skip(if last { offered } else { offered.min(whole as usize) });
        }
        let end = offset.saturating_add(whole);
        if end > self.end() || self.is_looking() {
            return Take::Beyond;
        }
        if end > self.hole.0 && offset < self.hole.1 && self.hole.0 < self.hole.1 {
            return Take::Wait;
        }
        if len < whole { Take::Short(whole.saturating_sub(len) as usize) } else { Take::Store(whole) }
    }

    /// Bytes are on their way to the flash: hashes them where it is their turn.
    pub(super) fn pass(&mut self, offset: u32, bytes: &[u8]) {
        if offset == self.hashed {
            self.hash(bytes);
        }
    }

    /// They are in the flash.
    pub(super) fn was_stored(&mut self, offset: u32, len: u32) {
        let end = offset.saturating_add(len);
        if offset != self.stored {
            return self.mark(offset, end, true);
        }
        self.advance(end);
        self.close();
    }

    /// Lets the prefix grow over the blocks that came early, up to the end of the chunk.
    fn close(&mut self) {
        while self.block != 0
            && self.ahead & 1 != 0
            && (self.chunk == 0 || self.stored < self.proven.saturating_add(self.chunk))
            && floor(self.stored, self.block) == self.stored
        {
            self.ahead &= !1;
            self.advance(self.stored.saturating_add(self.block).min(self.size));
        }
    }

    fn advance(&mut self, stored: u32) {
        let blocks = self.distance(stored);
        self.ahead = self.ahead.checked_shr(blocks).unwrap_or(0);
        self.stored = stored;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(block: u32) -> Image {
        let mut image = Image::NONE;
        image.begin(1000, [256, 8, block, 0]);
        while image.next_erase(1000).is_some() {
            image.was_erased();
        }
        image
    }

    #[test]
    fn the_last_bytes_need_not_fill_a_unit() {
        let mut image = image(0);
        assert_eq!(image.take(0, 5), Take::Short(3));
        assert_eq!(image.take(0, 13), Take::Store(8));
        assert_eq!(image.take(0, 900), Take::Store(256), "no store crosses an erase block");
        image.rewind(768, &Sha256::new().save().unwrap());
        image.erased = 1024;
        image.was_stored(768, 224);
        assert_eq!(image.take(992, 5), Take::Store(0).max_short(3));
        assert_eq!(image.take(992, 8), Take::Store(8));
        assert_eq!(image.take(992, 99), Take::Store(8), "what lies behind the image is not stored");
    }

    impl Take {
        fn max_short(self, n: usize) -> Self {
            if self == Self::Store(0) { Self::Short(n) } else { self }
        }
    }

    #[test]
    fn what_is_stored_is_not_stored_again() {
        let mut image = image(0);
        image.was_stored(0, 128);
        assert_eq!(image.take(0, 64), Take::Skip(64));
        assert_eq!(image.take(64, 128), Take::Skip(64));
        assert_eq!(image.take(128, 64), Take::Store(64));
        assert_eq!(image.take(1000, 4), Take::Skip(4));
    }

    #[test]
    fn blocks_may_come_in_any_order() {
        let mut image = image(64);
        assert_eq!(image.take(128, 64), Take::Store(64));
        image.was_stored(128, 64);
        assert_eq!(image.take(128, 64), Take::Skip(64));
        assert_eq!(image.take(64, 256), Take::Store(64), "a block, whatever came with it");
        assert_eq!(image.take(0, 256), Take::Store(128), "up to the block that is there");
        image.was_stored(0, 40);
        assert_eq!(image.take(40, 256), Take::Store(88));
        image.was_stored(40, 24);
        image.was_stored(64, 64);
        assert_eq!(image.stored, 192);
        assert_eq!(image.take(960, 40), Take::Store(40), "the last block is shorter");
        assert_eq!(image.take(200, 64), Take::Beyond, "not where a block starts");
    }

    #[test]
    fn the_window_is_bounded() {
        let mut image = Image::NONE;
        image.begin(100_000, [4096, 8, 64, 0]);
        for _ in 0..20 {
            image.was_erased();
        }
        assert_eq!(image.take(63 * 64, 64), Take::Store(64));
        assert_eq!(image.take(64 * 64, 64), Take::Beyond);
    }

    #[test]
    fn any_order_ends_with_everything_stored() {
        for step in [1_u32, 3, 5, 7, 9, 11, 13] {
            let mut image = image(64);
            for n in 0..16 {
                let offset = (n * step % 16) * 64;
                match image.take(offset, 64.min(1000 - offset as usize)) {
                    Take::Store(len) => image.was_stored(offset, len),
                    other => assert!(matches!(other, Take::Skip(_)), "{other:?}"),
                }
            }
            assert_eq!((image.stored, image.ahead), (1000, 0), "step {step}");
        }
    }
}
