//! The table of what is in flight, in the order it began, and the packets kept for it, in the same order.

use super::flow::Step;
use crate::{Storage, mqtt::PacketId};
use core::fmt;

/// A place in the table of a [`Client`](super::Client): the memory one message, subscription or handshake takes besides
/// its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// Bytes of its packet.
    pub(super) len: u32,
    /// `None` at QoS 0.
    pub(super) id: Option<PacketId>,
    /// How many filters a SUBSCRIBE or UNSUBSCRIBE has. Of a message, not 0: its payload is asked for when it is sent.
    pub(super) more: u16,
    pub(super) step: Step,
    pub(super) due: Due,
}

/// The number of a place that there is not.
pub(super) const NOWHERE: usize = usize::MAX;

/// Who sends a message or subscription: the bit that all steps of it have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Side {
    Theirs = 0,
    Ours = 0x02,
}

/// Whether a packet is to be sent for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Due {
    No,
    Yes,
    /// Part of it is out. One place at most is so, or the next.
    Begun,
    /// And `PayloadWanted` has been told for the rest.
    Asked,
}

impl Due {
    pub(super) fn has_begun(self) -> bool {
        self >= Self::Begun
    }
}

impl InFlight {
    /// A free place.
    pub const EMPTY: Self = Self { len: 0, id: None, more: 0, step: Step::Arriving1, due: Due::No };

    pub(super) fn len(&self) -> usize {
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }

    /// Its payload is asked for when it is sent.
    pub(super) fn is_streamed(&self) -> bool {
        self.more != 0 && !matches!(self.step, Step::Subscribe | Step::Unsubscribe)
    }
}

impl Default for InFlight {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// The places, those taken first; and the packets, back to back at the front of their memory.
#[repr(C)]
pub(super) struct Slots<'a> {
    places: Storage<'a, InFlight>,
    pub(super) memory: Storage<'a, u8>,
    /// Bytes that packets take.
    pub(super) kept: usize,
    used: u16,
}

impl<'a> Slots<'a> {
    pub(super) fn new(places: Storage<'a, InFlight>, memory: Storage<'a, u8>) -> Self {
        // No more places than packet identifiers: `Client::free_id` relies on it.
        Self { places: places.at_most(0xFFFF), memory, kept: 0, used: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.kept = 0;
    }

    pub(super) fn free(&self) -> usize {
        self.places.len().wrapping_sub(self.used.into())
    }

    pub(super) fn as_slice(&self) -> &[InFlight] {
        self.places.get(..self.used.into()).unwrap_or(&[])
    }

    /// A place that is taken.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn get(&self, index: usize) -> Option<&InFlight> {
        self.places.get(index)
    }

    /// Likewise.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut InFlight> {
        self.places.get_mut(index)
    }

    /// Takes the place behind all others, if there is one; without a packet so far.
    #[cfg_attr(feature = "opt-size", inline(never))]
    #[cfg_attr(not(feature = "opt-size"), inline(always))]
    pub(super) fn push(&mut self, id: Option<PacketId>, step: Step, due: Due) -> Option<&mut InFlight> {
        let place = self.places.get_mut(usize::from(self.used))?;
        *place = InFlight { id, step, due, ..InFlight::EMPTY };
        self.used = self.used.wrapping_add(1);
        Some(place)
    }

    /// Takes one out, and its packet.
    #[cfg_attr(not(feature = "opt-size"), inline)]
    pub(super) fn remove(&mut self, index: usize) {
        match self.last(index) {
            Some((start, _)) => (self.kept, self.used) = (start, self.used.wrapping_sub(1)),
            None => self.remove_any(index),
        }
    }

    /// Likewise, the long way.
    #[cfg_attr(not(feature = "opt-size"), inline(never))]
    fn remove_any(&mut self, index: usize) {
        let (start, len) = self.span(index);
        self.kept = self.kept.wrapping_sub(len);
        shift(&mut self.memory, start, len, self.kept);
        self.used = self.used.wrapping_sub(1);
        shift(&mut self.places, index, 1, self.used.into());
    }

    /// The short way to [`span`](Self::span), if the place is the last one, as mostly it is. Firmware has less code.
    #[inline]
    fn last(&self, index: usize) -> Option<(usize, usize)> {
        if cfg!(feature = "opt-size") || index.wrapping_add(1) != self.used.into() {
            return None;
        }
        let len = self.get(index)?.len();
        Some((self.kept.wrapping_sub(len), len))
    }

    /// Where the packet of a place begins in the memory, and how long it is.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn span(&self, index: usize) -> (usize, usize) {
        let (mut start, mut len) = (0_usize, 0);
        for slot in self.places.iter().take(index.wrapping_add(1)) {
            start = start.wrapping_add(len);
            len = slot.len();
        }
        (start, len)
    }

    pub(super) fn packet(&self, index: usize) -> &[u8] {
        let (start, len) = self.span(index);
        self.memory.get(start..).and_then(|bytes| bytes.get(..len)).unwrap_or(&[])
    }

    pub(super) fn packet_mut(&mut self, index: usize) -> &mut [u8] {
        let (start, len) = self.span(index);
        self.memory.get_mut(start..).and_then(|bytes| bytes.get_mut(..len)).unwrap_or(&mut [])
    }

    /// What we (or the server) send under `id`; [`NOWHERE`] if there is nothing. (Nothing of the server's is without one.)
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn find(&self, id: Option<PacketId>, side: Side) -> usize {
        // As numbers, which takes one comparison.
        let number = |id: Option<PacketId>| id.map_or(0, PacketId::get);
        let is_it = |slot: &InFlight| number(slot.id) == number(id) && (slot.step as u8 ^ side as u8) & 0x02 == 0;
        self.as_slice().iter().position(is_it).unwrap_or(NOWHERE)
    }
}

/// Moves what stands `by` behind `start`, up to `end`, to there.
fn shift<T: Copy>(slice: &mut [T], start: usize, by: usize, end: usize) {
    #[cfg(target_pointer_width = "64")]
    if let Some(slice) = slice.get_mut(start..end.wrapping_add(by)).filter(|slice| by < slice.len()) {
        slice.copy_within(by.., 0);
    }
    // `copy_within` keeps a panic at opt-level z.
    #[cfg(not(target_pointer_width = "64"))]
    for at in start..end {
        let Some(from) = slice.get(at.wrapping_add(by)) else { return };
        let value = *from;
        let Some(to) = slice.get_mut(at) else { return };
        *to = value;
    }
}

impl fmt::Debug for Slots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}
