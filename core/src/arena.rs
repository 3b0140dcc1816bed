//! Packets that may have to be sent again, encoded, oldest first, back to back in one slice of the caller's.

use crate::{Storage, error::Capacity};
use core::fmt;

/// Bytes of bookkeeping before each packet: its length and its tag.
const HEAD: usize = 8;

/// A queue of encoded packets, each found by a tag.
///
/// Packets stand in the order they were pushed, which is the order they have to be sent again in
/// (`[MQTT-4.6.0-1]`). Removing one moves the later ones down: nothing fragments, and a packet is always one slice.
pub struct Arena<'a> {
    buf: Storage<'a, u8>,
    used: usize,
}

impl<'a> Arena<'a> {
    /// An empty arena in `buf`. Each packet takes its own length and [`Arena::OVERHEAD`].
    #[must_use]
    pub fn new(buf: impl Into<Storage<'a, u8>>) -> Self {
        Self { buf: buf.into(), used: 0 }
    }

    /// Bytes a packet takes besides its own.
    pub const OVERHEAD: usize = HEAD;

    /// The longest packet that [`push`](Self::push) would take now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.buf.len().saturating_sub(self.used).saturating_sub(HEAD)
    }

    /// Whether nothing is kept.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// Keeps a packet of `len` bytes, which `write` fills in, behind all others.
    ///
    /// # Errors
    /// [`Capacity::Arena`]: it does not fit; nothing changed.
    pub fn push(&mut self, tag: u32, len: usize, write: impl FnOnce(&mut [u8])) -> Result<(), Capacity> {
        write(self.place(tag, len).ok_or(Capacity::Arena)?);
        Ok(())
    }

    /// The place of a packet of `len` bytes behind all others, to be filled in; `None` where it does not fit.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(crate) fn place(&mut self, tag: u32, len: usize) -> Option<&mut [u8]> {
        let end = len.checked_add(HEAD)?.checked_add(self.used)?;
        let place = self.buf.get_mut(self.used..end)?;
        let (head, body) = place.split_first_chunk_mut::<HEAD>()?;
        *head = encode_head(u32::try_from(len).ok()?, tag);
        self.used = end;
        Some(body)
    }

    /// The packet with `tag`.
    #[must_use]
    pub fn get(&self, tag: u32) -> Option<&[u8]> {
        self.iter().find(|(found, _)| *found == tag).map(|(_, packet)| packet)
    }

    /// The packet with `tag`, to change in place (to set DUP, say).
    pub fn get_mut(&mut self, tag: u32) -> Option<&mut [u8]> {
        let (start, end) = self.find(tag)?;
        self.buf.get_mut(start.saturating_add(HEAD)..end)
    }

    /// Gives the packet with `tag` another tag. Whether it was there.
    pub fn retag(&mut self, tag: u32, to: u32) -> bool {
        let Some((start, end)) = self.find(tag) else { return false };
        let size = end.saturating_sub(start).saturating_sub(HEAD);
        let Some(head) = self.buf.get_mut(start..).and_then(|b| b.first_chunk_mut::<HEAD>()) else { return false };
        *head = encode_head(u32::try_from(size).unwrap_or(0), to);
        true
    }

    /// Forgets the packet with `tag`. Whether it was there.
    pub fn remove(&mut self, tag: u32) -> bool {
        let Some((start, end)) = self.find(tag) else { return false };
        if let Some(kept) = self.buf.get_mut(..self.used).filter(|kept| start <= end && end <= kept.len()) {
            kept.copy_within(end.., start);
        }
        self.used = self.used.saturating_sub(end.saturating_sub(start));
        true
    }

    /// Tags and packets, oldest first.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: self.as_bytes() }
    }

    /// All that is kept, with its bookkeeping: what a session's export holds.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.buf.get(..self.used).unwrap_or(&[])
    }

    fn find(&self, tag: u32) -> Option<(usize, usize)> {
        let mut start = 0_usize;
        for (found, packet) in self.iter() {
            let end = start.saturating_add(HEAD).saturating_add(packet.len());
            if found == tag {
                return Some((start, end));
            }
            start = end;
        }
        None
    }
}

impl fmt::Debug for Arena<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

fn encode_head(size: u32, tag: u32) -> [u8; HEAD] {
    let [a, b, c, d] = size.to_be_bytes();
    let [e, f, g, h] = tag.to_be_bytes();
    [a, b, c, d, e, f, g, h]
}

/// Iterator of [`Arena::iter`].
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = crate::wire::Reader::new(self.rest);
        let size = usize::try_from(reader.u32()?).ok()?;
        let tag = reader.u32()?;
        let packet = reader.take(size)?;
        self.rest = reader.rest();
        Some((tag, packet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_keep_their_order_when_one_goes() {
        let mut memory = [0; 64];
        let mut arena = Arena::new(&mut memory);
        for (tag, packet) in [(1, &b"one"[..]), (2, b"two!"), (3, b"three")] {
            arena.push(tag, packet.len(), |b| b.copy_from_slice(packet)).unwrap();
        }
        assert!(arena.remove(2));
        assert!(!arena.remove(2));
        assert!(arena.retag(3, 7));
        assert!(arena.iter().eq([(1, &b"one"[..]), (7, b"three")]));
        assert_eq!(arena.get(7), Some(&b"three"[..]));
    }

    #[test]
    fn a_full_arena_refuses_and_keeps_what_it_has() {
        let mut memory = [0; 20];
        let mut arena = Arena::new(&mut memory);
        assert_eq!(arena.room(), 12);
        assert_eq!(arena.push(1, 13, |_| ()), Err(Capacity::Arena));
        arena.push(1, 12, |b| b.fill(9)).unwrap();
        assert_eq!(arena.push(2, 0, |_| ()), Err(Capacity::Arena));
        assert_eq!(arena.push(2, usize::MAX, |_| ()), Err(Capacity::Arena));
        assert_eq!(arena.get(1), Some(&[9; 12][..]));
    }
}
