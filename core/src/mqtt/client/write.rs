//! Commands, as packets in the client's memory.

use super::{Client, Due, InFlight, flow::Step, raw::RawConnect};
use crate::{
    Capacity, Instant, Misuse, Peer,
    mqtt::{Error, PacketId, QoS, checked::is_valid, packet::MAX_REMAINING, text::Kind, topic::MAX_LEN},
    wire::{copy, copy_name},
};

/// Of the strings of a CONNECT, the flag that says that it is there (§3.1.2.3), and what it is.
const STRINGS: [(u8, Option<Kind>); 5] =
    [(0, Some(Kind::Text)), (0x04, Some(Kind::Name)), (0, None), (0x80, Some(Kind::Text)), (0x40, None)];

/// The first bytes of these packets.
pub(super) const SUBSCRIBE: u8 = 0x82;
pub(super) const UNSUBSCRIBE: u8 = 0xA2;

/// How many bytes the header of a packet takes with that remaining length, of which each holds seven bits (§2.2.3); if it
/// can have it.
#[cfg_attr(feature = "opt-size", inline(never))]
fn header_len(remaining: usize) -> Option<usize> {
    let remaining = u32::try_from(remaining).ok().filter(|n| *n <= MAX_REMAINING)?;
    let bits = (remaining | 1).ilog2().wrapping_add(1);
    usize::try_from(bits.wrapping_add(6) / 7).ok()?.checked_add(1)
}

/// Writes a packet whose length was worked out before: what were too long would be left out.
struct Pen<'p>(&'p mut [u8]);

impl Pen<'_> {
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn put(&mut self, bytes: &[u8]) {
        if let Some((place, rest)) = core::mem::take(&mut self.0).split_at_mut_checked(bytes.len()) {
            copy(place, bytes);
            self.0 = rest;
        }
    }

    fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// A string or binary data of at most [`MAX_LEN`] bytes (§1.5.3).
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn prefixed(&mut self, bytes: &[u8]) {
        self.u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
        // Most are names; firmware has one way to copy.
        if cfg!(feature = "opt-size") {
            return self.put(bytes);
        }
        if let Some((place, rest)) = core::mem::take(&mut self.0).split_at_mut_checked(bytes.len()) {
            copy_name(place, bytes);
            self.0 = rest;
        }
    }

    /// A fixed header (§2.2).
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn header(&mut self, first: u8, remaining: usize) {
        self.put(&[first]);
        let mut left = remaining;
        loop {
            let [low, ..] = left.to_le_bytes();
            left >>= 7;
            if left == 0 {
                return self.put(&[low]);
            }
            self.put(&[low | 0x80]);
        }
    }
}

impl Client<'_> {
    pub(super) fn open(&mut self, now: Instant, peer: Peer, connect: &RawConnect<'_>) -> Result<(), Error> {
        self.tick(now);
        if !self.is_closed() {
            return Err(Misuse::WrongState.into());
        }
        let (mut remaining, mut flags) = (10_usize, connect.flags);
        for (string, (bit, kind)) in connect.strings.iter().zip(STRINGS) {
            let Some(bytes) = *string else { continue };
            match kind {
                Some(Kind::Name) if !is_valid(bytes, Kind::Name) => return Err(Misuse::InvalidTopic.into()),
                Some(Kind::Text) if !is_valid(bytes, Kind::Text) => return Err(Misuse::InvalidString.into()),
                _ if bytes.len() > MAX_LEN => return Err(Misuse::InvalidString.into()),
                _ => {}
            }
            flags |= bit;
            remaining = remaining.wrapping_add(2).wrapping_add(bytes.len());
        }
        let clean = flags & 0x02 != 0;
        // Nobody without a name and with a session; no password without a user name.
        if (!clean && connect.strings[0].is_none_or(<[u8]>::is_empty)) || flags & 0xC0 == 0x40 {
            return Err(Misuse::InvalidOption.into());
        }
        // [MQTT-3.1.2-6]: a clean session starts from nothing and leaves nothing.
        let forget = clean || self.clean_session;
        let len = header_len(remaining).ok_or(Misuse::OutOfRange)?.wrapping_add(remaining);
        let kept = if forget { 0 } else { self.slots.kept() };
        let start = self.slots.memory.len().wrapping_sub(len);
        let place = self.slots.memory.get_mut(start..).ok_or(Capacity::Arena)?;
        if start < kept {
            return Err(Capacity::Arena.into());
        }
        let mut pen = Pen(place);
        pen.header(0x10, remaining);
        pen.put(b"\0\x04MQTT\x04");
        pen.put(&[flags]);
        pen.u16(connect.keep_alive);
        // [MQTT-3.1.3-1]
        for string in connect.strings.iter().flatten() {
            pen.prefixed(string);
        }
        self.reserve = len;
        if forget {
            self.slots.clear();
        }
        self.opened(peer, clean, connect.keep_alive);
        Ok(())
    }

    pub(super) fn may_send(&self) -> Result<(), Misuse> {
        if self.is_closed() || self.leaving { Err(Misuse::NotConnected) } else { Ok(()) }
    }

    /// A place for a packet, and its memory, in which the header stands already; with something left for the next CONNECT
    /// and for reception. `missing` bytes of it are not kept.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn queue(&mut self, first: u8, remaining: usize, missing: usize, slot: InFlight) -> Result<Pen<'_>, Error> {
        let header = header_len(remaining).ok_or(Misuse::OutOfRange)?;
        let len = header.wrapping_add(remaining).wrapping_sub(missing);
        if self.slots.free() <= usize::from(self.slots.keep_free) {
            return Err(Capacity::InFlight.into());
        }
        let start = self.slots.kept();
        let room = self.slots.memory.len().wrapping_sub(start);
        if len.saturating_add(self.reserve) > room {
            return Err(Capacity::Arena.into());
        }
        if let Some(id) = slot.id {
            self.next_id = id.next();
        }
        self.stir();
        self.slots.push(InFlight { len: u32::try_from(len).unwrap_or(u32::MAX), due: Due::Yes, ..slot });
        let place = self.slots.memory.get_mut(start..).and_then(|room| room.get_mut(..len)).unwrap_or(&mut []);
        let mut pen = Pen(place);
        pen.header(first, remaining);
        Ok(pen)
    }

    pub(super) fn queue_publish(
        &mut self,
        now: Instant,
        topic: &[u8],
        payload_len: u32,
        payload: Option<&[u8]>,
        qos: QoS,
        retain: bool,
    ) -> Result<Option<PacketId>, Error> {
        self.tick(now);
        self.may_send()?;
        if !is_valid(topic, Kind::Name) {
            return Err(Misuse::InvalidTopic.into());
        }
        let payload_len = usize::try_from(payload_len).unwrap_or(usize::MAX);
        let (step, id) = match qos {
            QoS::AtMostOnce => (Step::Message0, None),
            QoS::AtLeastOnce => (Step::Message1, Some(self.free_id())),
            QoS::ExactlyOnce => (Step::Message2, Some(self.free_id())),
        };
        let variable = topic.len().wrapping_add(if id.is_some() { 4 } else { 2 });
        let remaining = variable.saturating_add(payload_len);
        let body = match payload {
            Some(payload) => payload.len(),
            None => payload_len.min(self.window.into()),
        };
        let slot = InFlight { id, step, streamed: payload.is_none(), ..InFlight::EMPTY };
        let first = 0x30 | (qos as u8) << 1 | u8::from(retain);
        let mut pen = self.queue(first, remaining, payload_len.wrapping_sub(body), slot)?;
        pen.prefixed(topic);
        if let Some(id) = id {
            pen.u16(id.get());
        }
        pen.put(payload.unwrap_or(&[]));
        Ok(id)
    }

    pub(super) fn queue_filters<'f>(
        &mut self,
        now: Instant,
        first: u8,
        filters: impl Iterator<Item = Result<(&'f [u8], QoS), Misuse>> + Clone,
    ) -> Result<PacketId, Error> {
        self.tick(now);
        self.may_send()?;
        // Of each filter, its length and the QoS wanted.
        let more = if first == SUBSCRIBE { 3 } else { 2 };
        let (mut count, mut remaining) = (0_u16, 2_usize);
        for filter in filters.clone() {
            let (filter, _) = filter?;
            if !is_valid(filter, Kind::Filter) {
                return Err(Misuse::InvalidFilter.into());
            }
            remaining = remaining.saturating_add(filter.len()).saturating_add(more);
            count = count.checked_add(1).ok_or(Misuse::OutOfRange)?;
        }
        if count == 0 {
            return Err(Misuse::InvalidFilter.into());
        }
        let id = self.free_id();
        let step = if first == SUBSCRIBE { Step::Subscribe } else { Step::Unsubscribe };
        let slot = InFlight { id: Some(id), step, filters: count, ..InFlight::EMPTY };
        let mut pen = self.queue(first, remaining, 0, slot)?;
        pen.u16(id.get());
        for (filter, qos) in filters.flatten() {
            pen.prefixed(filter);
            if first == SUBSCRIBE {
                pen.put(&[qos as u8]);
            }
        }
        Ok(id)
    }

    /// An identifier that nothing of ours in flight has (`[MQTT-2.3.1-2]`). The table is shorter than the numbers
    /// are many, so one is found.
    fn free_id(&self) -> PacketId {
        let mut id = self.next_id;
        while self.slots.find(id, true).is_some() {
            id = id.next();
        }
        id
    }
}
