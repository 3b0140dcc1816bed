//! The table of what is in flight, in the order it began.

use super::flow::Step;
use crate::{Storage, mqtt::PacketId};
use core::fmt;

/// A place in the table of a [`Client`](super::Client): the memory one message, subscription or handshake takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    pub(super) step: Step,
    /// A packet is to be sent for it.
    pub(super) due: bool,
    /// Its payload is asked for when it is sent.
    pub(super) streamed: bool,
    /// `None` at QoS 0.
    pub(super) id: Option<PacketId>,
    /// How many filters a SUBSCRIBE or UNSUBSCRIBE has.
    pub(super) filters: u16,
}

impl InFlight {
    /// A free place.
    pub const EMPTY: Self = Self { step: Step::Message0, due: false, streamed: false, id: None, filters: 0 };
}

impl Default for InFlight {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// The places, those taken first.
pub(super) struct Slots<'a> {
    places: Storage<'a, InFlight>,
    used: usize,
}

impl<'a> Slots<'a> {
    pub(super) fn new(places: Storage<'a, InFlight>) -> Self {
        Self { places, used: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    pub(super) fn free(&self) -> usize {
        // Fewer places than packet identifiers: `Client::free_id` relies on it.
        self.places.len().min(0xFFFE).saturating_sub(self.used)
    }

    pub(super) fn as_slice(&self) -> &[InFlight] {
        self.places.get(..self.used).unwrap_or(&[])
    }

    pub(super) fn get(&self, index: usize) -> Option<InFlight> {
        self.as_slice().get(index).copied()
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut InFlight> {
        self.places.get_mut(..self.used)?.get_mut(index)
    }

    /// Puts one behind all others. Whether there was room.
    pub(super) fn push(&mut self, slot: InFlight) -> bool {
        if self.free() == 0 {
            return false;
        }
        let Some(place) = self.places.get_mut(self.used) else { return false };
        *place = slot;
        self.used = self.used.saturating_add(1);
        true
    }

    pub(super) fn remove(&mut self, index: usize) {
        let Some(behind) = self.places.get_mut(index..self.used) else { return };
        let mut moved = InFlight::EMPTY;
        for place in behind.iter_mut().rev() {
            core::mem::swap(place, &mut moved);
        }
        if !behind.is_empty() {
            self.used = self.used.saturating_sub(1);
        }
    }

    /// What we send under `id`.
    pub(super) fn sent(&self, id: PacketId) -> Option<usize> {
        self.as_slice().iter().position(|slot| slot.id == Some(id) && slot.step.is_ours())
    }

    /// What the server sends under `id`.
    pub(super) fn received(&self, id: PacketId) -> Option<usize> {
        self.as_slice().iter().position(|slot| slot.id == Some(id) && !slot.step.is_ours())
    }
}

impl fmt::Debug for Slots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}
