//! Which bytes of the image are stored, and their hash so far: a prefix, and one bit for each block behind it.
//!
//! ```text
//! 0 ........ hashed ........ stored ..(bit)..(bit).......... erased ........ size
//! ```
//!
//! Bytes that arrive in order are hashed as they pass; where the prefix closed over blocks that were stored before their
//! turn, the machine reads them back and hashes them then. The memory it takes is the same for every image.

use crate::ota::digest::Sha256;
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
    /// Not yet: the flash there has not been erased.
    Wait,
    /// Too far ahead.
    Beyond,
}

/// The image that is being written.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) size: u32,
    erase: u32,
    write: u32,
    /// Bytes of a block that may come before its turn: a power of two, or 0.
    block: u32,
    /// All bytes before this are stored.
    pub(super) stored: u32,
    /// All bytes before this went through `sha`.
    pub(super) hashed: u32,
    /// All flash from `stored` to here is erased, but for the blocks that have a bit.
    pub(super) erased: u32,
    /// Bit n: the n-th block after the one that `stored` lies in is stored. Bit 0 is never set.
    ahead: u32,
    pub(super) sha: Sha256,
}

/// `n` rounded down to a multiple of `unit`.
fn floor(n: u32, unit: u32) -> u32 {
    n.saturating_sub(n.checked_rem(unit).unwrap_or(0))
}

/// `n` rounded up to a multiple of `unit`.
fn ceil(n: u32, unit: u32) -> u32 {
    floor(n.saturating_add(unit.saturating_sub(1)), unit)
}

impl Image {
    /// An image of `size` bytes of which none is stored.
    pub(super) fn new(size: u32, erase: u32, write: u32, block: u32) -> Self {
        Self { size, erase, write, block, stored: 0, hashed: 0, erased: 0, ahead: 0, sha: Sha256::new() }
    }

    /// Goes back to `offset`, which starts an erase block; `hash` is the midstate of what is before it.
    pub(super) fn rewind(&mut self, offset: u32, hash: &Midstate) {
        self.stored = offset;
        self.hashed = offset;
        self.erased = offset;
        self.ahead = 0;
        self.sha = Sha256::restore(hash, offset.into()).unwrap_or_default();
    }

    /// Starts hashing from the first byte again.
    pub(super) fn rehash(&mut self) {
        self.hashed = 0;
        self.sha = Sha256::new();
    }

    /// Where the next bytes to be read back for the hash are: at most `most`, and within one erase block.
    pub(super) fn unhashed(&self, most: u32) -> Option<(u32, u32)> {
        let end = self.stored.min(self.block_end(self.hashed));
        let len = end.saturating_sub(self.hashed).min(most);
        (len > 0).then_some((self.hashed, len))
    }

    /// They were read.
    pub(super) fn hash(&mut self, bytes: &[u8]) {
        self.sha.update(bytes);
        self.hashed = self.hashed.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    }

    /// Whether `hashed` lies where an erase block ends, so that its midstate may be kept.
    pub(super) fn at_boundary(&self) -> bool {
        floor(self.hashed, self.erase) == self.hashed
    }

    /// The erase block to be erased next so that everything up to `ahead` bytes behind the prefix is.
    pub(super) fn to_erase(&self, ahead: u32) -> Option<u32> {
        let target = ceil(self.stored.saturating_add(ahead.max(1)).min(self.size), self.erase);
        (self.erased < target).then_some(self.erased)
    }

    /// That erase block is erased.
    pub(super) fn was_erased(&mut self) {
        self.erased = self.erased.saturating_add(self.erase);
    }

    /// Bytes before this offset are taken.
    pub(super) fn end(&self) -> u32 {
        self.erased.min(self.size)
    }

    fn block_end(&self, offset: u32) -> u32 {
        floor(offset, self.erase).saturating_add(self.erase)
    }

    /// How many blocks after the one that `stored` lies in `offset` is.
    fn distance(&self, offset: u32) -> u32 {
        let base = self.stored.checked_div(self.block).unwrap_or(0);
        offset.checked_div(self.block).unwrap_or(0).saturating_sub(base)
    }

    fn bit(&self, distance: u32) -> u32 {
        1_u32.checked_shl(distance).unwrap_or(0)
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
        let mut limit = self.block_end(offset).min(self.end());
        if self.ahead != 0 {
            // Not over the first block that is there already.
            let skip = self.ahead.trailing_zeros().saturating_mul(self.block);
            limit = limit.min(floor(offset, self.block).saturating_add(skip));
        }
        let room = limit.saturating_sub(offset);
        if room == 0 {
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
        let bit = self.bit(self.distance(offset));
        if self.block == 0 || floor(offset, self.block) != offset || bit <= 1 {
            return Take::Beyond;
        }
        if self.ahead & bit != 0 {
            let last = offset.saturating_add(whole) == self.size;
            return Take::Skip(if last { offered } else { offered.min(whole as usize) });
        }
        if offset.saturating_add(whole) > self.end() {
            return Take::Beyond;
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
        if offset != self.stored {
            self.ahead |= self.bit(self.distance(offset));
            return;
        }
        self.advance(offset.saturating_add(len));
        while self.block != 0 && floor(self.stored, self.block) == self.stored && self.ahead & 1 != 0 {
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
        let mut image = Image::new(1000, 256, 8, block);
        while image.to_erase(1000).is_some() {
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
        let mut image = Image::new(100_000, 4096, 8, 64);
        for _ in 0..20 {
            image.was_erased();
        }
        assert_eq!(image.take(31 * 64, 64), Take::Store(64));
        assert_eq!(image.take(32 * 64, 64), Take::Beyond);
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
