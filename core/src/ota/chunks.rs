//! Chunk digests: each chunk of an image is known to be good when it arrives, in any order, over any transport.
//!
//! A manifest with this feature names, in its [private parameter](super::manifest::PRIVATE), the size of a chunk and
//! the digest of a *list*: the SHA-256 of every chunk of the image, in order, 32 bytes each; the last chunk is shorter.
//! The list is a payload of its own, component `[h'00', 'chunks']` for the image `[h'00']`: it is described, fetched or
//! integrated, and checked as any other payload. With the list in the staging area, 32 bytes of it are read to check a
//! chunk, so that the memory it takes is the same for every image.
//!
//! A chunk that is not the one listed is given back as [`Refusal::ChunkDigest`], and it alone is fetched again.

use super::digest::Sha256;
use super::refusal::Refusal;
use core::ops::Range;

/// Bytes of one entry of a list: a SHA-256 digest.
pub const ENTRY: u32 = 32;

/// What a manifest says of an image's chunks, and where they and their digests lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkDigests {
    /// Bytes of a chunk; the last one may be shorter. Not 0.
    chunk: u32,
    /// Bytes of the image.
    image: u32,
    /// SHA-256 of the list.
    digest: [u8; 32],
}

impl ChunkDigests {
    /// Chunks of `chunk` bytes of an image of `image` bytes, with the digest of their list. `None` where a chunk has no
    /// bytes, the image none, or the list would be 4 GiB or more.
    #[must_use]
    pub const fn new(chunk: u32, image: u32, digest: [u8; 32]) -> Option<Self> {
        match list_size(chunk, image) {
            Some(_) => Some(Self { chunk, image, digest }),
            None => None,
        }
    }

    /// Bytes of a chunk; the last one may be shorter.
    #[must_use]
    pub const fn chunk(&self) -> u32 {
        self.chunk
    }

    /// SHA-256 of the list.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// How many chunks there are, at least 1.
    #[must_use]
    pub const fn count(&self) -> u32 {
        count(self.chunk, self.image)
    }

    /// Bytes of the list.
    #[must_use]
    pub const fn list_size(&self) -> u32 {
        self.count().saturating_mul(ENTRY)
    }

    /// The chunk in which the image's byte at `offset` lies; `None` behind the image's end.
    #[must_use]
    pub fn chunk_at(&self, offset: u32) -> Option<u32> {
        offset.checked_div(self.chunk).filter(|_| offset < self.image)
    }

    /// Where chunk `n` lies in the image; `None` where there is none of that number.
    #[must_use]
    pub fn range(&self, n: u32) -> Option<Range<u32>> {
        let start = n.checked_mul(self.chunk).filter(|start| *start < self.image)?;
        Some(start..start.saturating_add(self.chunk).min(self.image))
    }

    /// Where the digest of chunk `n` begins in the list; [`ENTRY`] bytes. `None` where there is none of that number.
    #[must_use]
    pub fn entry(&self, n: u32) -> Option<u32> {
        (n < self.count()).then(|| n.saturating_mul(ENTRY))
    }

    /// Whether `bytes` are chunk `n`, all of it, where `entry` are the bytes of the list at [`entry`](Self::entry).
    ///
    /// # Errors
    /// [`Refusal::ChunkDigest`]: they are not. [`Refusal::Size`]: they are not as many, or there is no such chunk.
    pub fn check(&self, n: u32, entry: &[u8; 32], bytes: &[u8]) -> Result<(), Refusal> {
        match self.range(n) {
            Some(range) if bytes.len() == range.len() => Self::compare(entry, &Sha256::of(bytes)),
            _ => Err(Refusal::Size),
        }
    }

    /// Whether a chunk that was hashed piece by piece has the digest that its `entry` in the list states.
    ///
    /// # Errors
    /// [`Refusal::ChunkDigest`]: it has not.
    pub fn compare(entry: &[u8; 32], hash: &[u8; 32]) -> Result<(), Refusal> {
        if entry == hash { Ok(()) } else { Err(Refusal::ChunkDigest) }
    }

    /// Whether `list`, all of it, is the list that was signed for.
    ///
    /// # Errors
    /// [`Refusal::ChunkList`]: it is not.
    pub fn check_list(&self, list: &[u8]) -> Result<(), Refusal> {
        if list.len() == self.list_size() as usize && Sha256::of(list) == self.digest {
            Ok(())
        } else {
            Err(Refusal::ChunkList)
        }
    }
}

/// How many chunks of `chunk` bytes an image has.
const fn count(chunk: u32, image: u32) -> u32 {
    match image.checked_div(chunk) {
        Some(whole) if whole.wrapping_mul(chunk) == image => whole,
        Some(whole) => whole.saturating_add(1),
        None => 0,
    }
}

/// Bytes of the list of their digests; `None` where there are [no such chunks](ChunkDigests::new).
pub(crate) const fn list_size(chunk: u32, image: u32) -> Option<u32> {
    if chunk == 0 || image == 0 { None } else { count(chunk, image).checked_mul(ENTRY) }
}

/// The list of the digests of an image's chunks of `size` bytes; empty where `size` is 0.
#[cfg(feature = "alloc")]
#[must_use]
pub fn list(image: &[u8], size: u32) -> alloc::vec::Vec<u8> {
    let mut list = alloc::vec::Vec::new();
    if size != 0 {
        for chunk in image.chunks(size as usize) {
            list.extend_from_slice(&Sha256::of(chunk));
        }
    }
    list
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn chunks(image: &[u8], size: u32) -> (ChunkDigests, Vec<u8>) {
        let list = list(image, size);
        let len = u32::try_from(image.len()).unwrap();
        (ChunkDigests::new(size, len, Sha256::of(&list)).unwrap(), list)
    }

    fn entry(chunks: &ChunkDigests, list: &[u8], n: u32) -> [u8; 32] {
        let at = chunks.entry(n).unwrap() as usize;
        list[at..at + 32].try_into().unwrap()
    }

    proptest! {
        #[test]
        fn every_chunk_is_known_by_its_digest_and_by_no_other(
            image in proptest::collection::vec(any::<u8>(), 1..300),
            size in 1u32..70,
            flip in any::<prop::sample::Index>(),
        ) {
            let (chunks, list) = chunks(&image, size);
            prop_assert_eq!(chunks.list_size() as usize, list.len());
            prop_assert_eq!(chunks.check_list(&list), Ok(()));
            let mut at = 0;
            for n in 0..chunks.count() {
                let range = chunks.range(n).unwrap();
                prop_assert_eq!(range.start, at);
                at = range.end;
                prop_assert_eq!(chunks.chunk_at(range.start), Some(n));
                prop_assert_eq!(chunks.chunk_at(range.end - 1), Some(n));
                let mut bytes = image[range.start as usize..range.end as usize].to_vec();
                let entry = entry(&chunks, &list, n);
                prop_assert_eq!(chunks.check(n, &entry, &bytes), Ok(()));
                let place = flip.index(bytes.len());
                bytes[place] ^= 1;
                prop_assert_eq!(chunks.check(n, &entry, &bytes), Err(Refusal::ChunkDigest));
                bytes.pop();
                prop_assert_eq!(chunks.check(n, &entry, &bytes), Err(Refusal::Size));
            }
            prop_assert_eq!(at as usize, image.len());
            prop_assert_eq!((chunks.range(chunks.count()), chunks.entry(chunks.count())), (None, None));
            prop_assert_eq!(chunks.chunk_at(at), None);
        }
    }

    #[test]
    fn a_list_that_was_changed_is_refused() {
        let (chunks, mut list) = chunks(&[7; 100], 30);
        list[3] ^= 1;
        assert_eq!(chunks.check_list(&list), Err(Refusal::ChunkList));
        list[3] ^= 1;
        assert_eq!(chunks.check_list(&list[..96]), Err(Refusal::ChunkList));
        assert_eq!(chunks.check_list(&list), Ok(()));
    }

    #[test]
    fn sizes_that_make_no_list_are_none() {
        assert_eq!(ChunkDigests::new(0, 10, [0; 32]), None);
        assert_eq!(ChunkDigests::new(10, 0, [0; 32]), None);
        assert_eq!(ChunkDigests::new(1, u32::MAX, [0; 32]), None);
        let largest = ChunkDigests::new(64, u32::MAX, [0; 32]).unwrap();
        assert_eq!(largest.range(largest.count() - 1), Some(u32::MAX - 63..u32::MAX));
    }
}
