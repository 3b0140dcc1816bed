//! SHA-256 (FIPS 180-4) as a stream whose state can be put away and taken up again, so that a download that was
//! interrupted need not be hashed from its start.
//!
//! The compression function is `sha2`'s; the bookkeeping around it is ours, because the saved state must mean the same
//! whatever release of `sha2` wrote it.

use crate::wire::copy;
use sha2::block_api::compress256;

/// Bytes in a block of SHA-256: the state can be saved wherever their count is a multiple of this.
pub const BLOCK: u64 = 64;

/// Bytes in a digest and in a saved state.
pub const LEN: usize = 32;

const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// What is [saved](Sha256::save) before anything was hashed.
pub(crate) const NOTHING: [u8; LEN] = *b"\x6a\x09\xe6\x67\xbb\x67\xae\x85\x3c\x6e\xf3\x72\xa5\x4f\xf5\x3a\
    \x51\x0e\x52\x7f\x9b\x05\x68\x8c\x1f\x83\xd9\xab\x5b\xe0\xcd\x19";

/// A SHA-256 under way.
#[derive(Debug, Clone)]
pub struct Sha256 {
    state: [u32; 8],
    len: u64,
    block: [u8; 64],
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl Sha256 {
    /// Nothing hashed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: INITIAL, len: 0, block: [0; 64] }
    }

    /// A place for one that is [resumed](Self::resume) before it is used: zeros, which take no room in a program.
    pub(crate) const UNUSED: Self = Self { state: [0; 8], len: 0, block: [0; 64] };

    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> [u8; LEN] {
        let mut hash = Self::new();
        hash.update(bytes);
        hash.close()
    }

    /// Whether that is the digest of `bytes`. (Not inlined: the hash is not to lie on the stack of who goes on.)
    #[must_use]
    #[inline(never)]
    pub(crate) fn is(bytes: &[u8], digest: &[u8; LEN]) -> bool {
        let mut hash = Self::new();
        hash.update(bytes);
        hash.pad();
        let words = hash.state.iter().map(|word| word.to_be_bytes());
        words.eq(digest.as_chunks().0.iter().copied())
    }

    /// Bytes hashed so far.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a stream has a position, not a size")]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Hashes `bytes` after what went before.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let filled = self.filled();
        self.len = self.len.wrapping_add(bytes.len() as u64);
        if filled != 0 {
            let room = self.block.get_mut(filled..).unwrap_or_default();
            let n = room.len().min(bytes.len());
            let (now, later) = bytes.split_at_checked(n).unwrap_or((bytes, &[]));
            copy(room, now);
            if n < room.len() {
                return;
            }
            compress256(&mut self.state, core::slice::from_ref(&self.block));
            bytes = later;
        }
        let (blocks, rest) = bytes.as_chunks();
        compress256(&mut self.state, blocks);
        copy(&mut self.block, rest);
    }

    /// The digest of all that was hashed.
    #[must_use]
    pub fn finish(mut self) -> [u8; LEN] {
        self.close()
    }

    /// The digest, where nothing is hashed any more. (It takes the stack of no copy, as `finish` does.)
    pub(crate) fn close(&mut self) -> [u8; LEN] {
        self.pad();
        self.words()
    }

    /// Hashes what comes behind the last byte.
    fn pad(&mut self) {
        let filled = self.filled();
        let bits = self.len.wrapping_mul(8).to_be_bytes();
        // One bit, zeros up to 8 bytes short of a block, the length in bits.
        let rest = self.block.get_mut(filled..).unwrap_or_default();
        rest.fill(0);
        if let Some(first) = rest.first_mut() {
            *first = 0x80;
        }
        if filled >= 56 {
            compress256(&mut self.state, core::slice::from_ref(&self.block));
            self.block = [0; 64];
        }
        if let Some(place) = self.block.last_chunk_mut() {
            *place = bits;
        }
        compress256(&mut self.state, core::slice::from_ref(&self.block));
    }

    /// The state, to be [restored](Self::restore) later together with [`len`](Self::len); `None` where that is not a
    /// multiple of [`BLOCK`]. (Erase blocks of flash always are.)
    #[must_use]
    pub fn save(&self) -> Option<[u8; LEN]> {
        (self.filled() == 0).then(|| self.words())
    }

    /// A hash that goes on where the one that was [saved](Self::save) after `len` bytes stood; `None` where `len` is
    /// not a multiple of [`BLOCK`].
    #[must_use]
    pub fn restore(saved: &[u8; LEN], len: u64) -> Option<Self> {
        let mut hash = Self::new();
        hash.resume(saved, len);
        (hash.filled() == 0).then_some(hash)
    }

    /// Becomes what was saved after `len` bytes, a multiple of [`BLOCK`]: what [`restore`](Self::restore) gives, without a copy of it.
    pub(crate) fn resume(&mut self, saved: &[u8; LEN], len: u64) {
        self.len = len;
        for (word, bytes) in self.state.iter_mut().zip(saved.as_chunks().0) {
            *word = u32::from_be_bytes(*bytes);
        }
    }

    /// Bytes waiting in the block.
    fn filled(&self) -> usize {
        // Fewer than 64: fits whatever usize is.
        (self.len % BLOCK) as usize
    }

    fn words(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        for (bytes, word) in out.as_chunks_mut().0.iter_mut().zip(&self.state) {
            *bytes = word.to_be_bytes();
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::Digest;

    proptest! {
        #[test]
        fn any_split_gives_the_digest_that_sha2_gives(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            cut in any::<prop::sample::Index>(),
        ) {
            let (a, b) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut hash = Sha256::new();
            hash.update(a);
            hash.update(b);
            prop_assert_eq!(hash.len(), bytes.len() as u64);
            let expected: [u8; 32] = sha2::Sha256::digest(&bytes).into();
            prop_assert_eq!(hash.finish(), expected);
            prop_assert_eq!(Sha256::of(&bytes), expected);
            prop_assert!(Sha256::is(&bytes, &expected));
            let mut other = expected;
            other[cut.index(32)] ^= 1;
            prop_assert!(!Sha256::is(&bytes, &other));
        }

        #[test]
        fn a_restored_hash_goes_on_as_if_nothing_had_happened(
            head in (0usize..6).prop_flat_map(|n| proptest::collection::vec(any::<u8>(), n * 64)),
            tail in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut hash = Sha256::new();
            hash.update(&head);
            let saved = hash.save().unwrap();
            hash.update(&tail);
            let mut other = Sha256::restore(&saved, head.len() as u64).unwrap();
            other.update(&tail);
            prop_assert_eq!(other.finish(), hash.finish());
        }
    }

    #[test]
    fn nothing_is_what_is_saved_at_first() {
        assert_eq!(Sha256::new().save(), Some(NOTHING));
    }

    #[test]
    fn only_whole_blocks_can_be_saved_and_restored() {
        let mut hash = Sha256::new();
        assert!(hash.save().is_some());
        hash.update(&[0; 65]);
        assert_eq!(hash.save(), None);
        hash.update(&[0; 63]);
        assert!(Sha256::restore(&hash.save().unwrap(), 128).is_some());
        assert!(Sha256::restore(&hash.save().unwrap(), 127).is_none());
    }
}
