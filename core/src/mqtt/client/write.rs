//! Commands, as packets in the client's memory.

use super::{Client, Due, flow::Step, raw::RawConnect};
use crate::{
    Capacity, Fail, Misuse, Peer,
    mqtt::{PacketId, QoS, checked::check, text::Kind, topic::MAX_LEN},
    wire::{copy, copy_name},
};

/// Of the strings of a CONNECT, the flag that says that it is there (§3.1.2.3), and what it is.
const STRINGS: [(u8, Option<Kind>); 5] =
    [(0, Some(Kind::Text)), (0x04, Some(Kind::Name)), (0, None), (0x80, Some(Kind::Text)), (0x40, None)];

/// The first bytes of these packets.
pub(super) const SUBSCRIBE: u8 = 0x82;
pub(super) const UNSUBSCRIBE: u8 = 0xA2;

/// A fixed header (§2.2).
struct Header {
    bytes: [u8; 5],
    len: usize,
}

impl Header {
    /// With a remaining length of seven bits a byte, least significant first, at most four bytes (§2.2.3).
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn new(first: u8, remaining: usize) -> Result<Self, Fail> {
        let (mut bytes, mut len, mut left) = ([first, 0, 0, 0, 0], 1_usize, remaining);
        loop {
            let byte = bytes.get_mut(len).ok_or(Misuse::OutOfRange)?;
            len = len.wrapping_add(1);
            let [low, ..] = left.to_le_bytes();
            left >>= 7;
            if left == 0 {
                *byte = low;
                return Ok(Self { bytes, len });
            }
            *byte = low | 0x80;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

impl Client<'_> {
    pub(super) fn open(&mut self, peer: Peer, connect: &RawConnect<'_>) -> Result<(), Fail> {
        if !self.is_closed() {
            return Err(Misuse::WrongState.into());
        }
        let (mut remaining, mut flags) = (10_usize, connect.flags);
        for (string, (bit, kind)) in connect.strings.iter().zip(&STRINGS) {
            let Some(bytes) = *string else { continue };
            if let Some(kind) = *kind {
                check(bytes, kind)?;
            } else if bytes.len() > MAX_LEN {
                return Err(Misuse::InvalidString.into());
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
        let header = Header::new(0x10, remaining)?;
        let len = header.len.wrapping_add(remaining);
        let kept = if forget { 0 } else { self.slots.kept };
        let start = self.slots.memory.len().checked_sub(len).filter(|start| *start >= kept).ok_or(Capacity::Arena)?;
        if forget {
            self.slots.clear();
        }
        self.reserve = len;
        let mut at = self.put(start, header.as_bytes());
        let [high, low] = connect.keep_alive.to_be_bytes();
        at = self.put(at, &[0, 4, b'M', b'Q', b'T', b'T', 4, flags, high, low]);
        // [MQTT-3.1.3-1]
        for string in connect.strings.iter().flatten() {
            at = self.put_prefixed(at, string);
        }
        self.opened(peer, clean, connect.keep_alive);
        Ok(())
    }

    pub(super) fn may_send(&self) -> Result<(), Fail> {
        if self.is_closed() || self.leaving { Err(Misuse::NotConnected.into()) } else { Ok(()) }
    }

    /// A place for a packet, in the memory of which the header stands already and behind it all else is put; with something
    /// left for the next CONNECT and for reception. `missing` bytes of the packet are not kept. For `more`, see the place.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn queue(
        &mut self,
        first: u8,
        remaining: usize,
        missing: usize,
        step: Step,
        id: Option<PacketId>,
        more: u16,
    ) -> Result<usize, Fail> {
        let header = Header::new(first, remaining)?;
        let len = header.len.wrapping_add(remaining).wrapping_sub(missing);
        if self.slots.free() <= usize::from(self.slots.keep_free) {
            return Err(Capacity::InFlight.into());
        }
        let start = self.slots.kept;
        let room = self.slots.memory.len().wrapping_sub(start);
        if len.saturating_add(self.reserve) > room {
            return Err(Capacity::Arena.into());
        }
        if let Some(id) = id {
            self.next_id = id.next();
        }
        self.stir();
        self.slots.kept = start.wrapping_add(len);
        if let Some(place) = self.slots.push(id, step, Due::Yes) {
            place.len = u32::try_from(len).unwrap_or(u32::MAX);
            place.more = more;
        }
        Ok(self.put(start, header.as_bytes()))
    }

    /// Writes at a place in the memory, whose length was worked out before: what were too long would be left out. Where that
    /// ends.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn put(&mut self, at: usize, bytes: &[u8]) -> usize {
        let end = at.wrapping_add(bytes.len());
        if let Some(place) = self.slots.memory.get_mut(at..end) {
            copy(place, bytes);
        }
        end
    }

    #[cfg_attr(feature = "opt-size", inline(never))]
    fn put_u16(&mut self, at: usize, value: u16) -> usize {
        self.put(at, &value.to_be_bytes())
    }

    /// A string or binary data of at most [`MAX_LEN`] bytes (§1.5.3).
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn put_prefixed(&mut self, at: usize, bytes: &[u8]) -> usize {
        let [low, high, ..] = bytes.len().to_le_bytes();
        let at = self.put_u16(at, u16::from_le_bytes([low, high]));
        // Most are names; firmware has one way to copy.
        if cfg!(feature = "opt-size") {
            return self.put(at, bytes);
        }
        let end = at.wrapping_add(bytes.len());
        if let Some(place) = self.slots.memory.get_mut(at..end) {
            copy_name(place, bytes);
        }
        end
    }

    /// A PUBLISH. Behind `payload`, `missing` bytes are asked for when it is sent, for which there is a `window`.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn queue_publish(
        &mut self,
        qos: QoS,
        retain: bool,
        topic: &[u8],
        payload: &[u8],
        (missing, window): (usize, u16),
    ) -> Result<u16, Fail> {
        self.may_send()?;
        check(topic, Kind::Name)?;
        let (step, id) = match qos {
            QoS::AtMostOnce => (Step::Message0, None),
            QoS::AtLeastOnce => (Step::Message1, Some(self.free_id())),
            QoS::ExactlyOnce => (Step::Message2, Some(self.free_id())),
        };
        let variable = topic.len().wrapping_add(if id.is_some() { 4 } else { 2 });
        let remaining = variable.saturating_add(payload.len()).saturating_add(missing);
        let first = 0x30 | (qos as u8) << 1 | u8::from(retain);
        let mut at = self.queue(first, remaining, missing.saturating_sub(window.into()), step, id, window)?;
        at = self.put_prefixed(at, topic);
        if let Some(id) = id {
            at = self.put_u16(at, id.get());
        }
        self.put(at, payload);
        Ok(id.map_or(0, PacketId::get))
    }

    pub(super) fn queue_filters<'f>(
        &mut self,
        first: u8,
        filters: impl Iterator<Item = (&'f [u8], QoS)> + Clone,
    ) -> Result<u16, Fail> {
        self.may_send()?;
        // Of each filter, its length and the QoS wanted.
        let more = if first == SUBSCRIBE { 3 } else { 2 };
        let (mut count, mut remaining) = (0_u16, 2_usize);
        for (filter, _) in filters.clone() {
            check(filter, Kind::Filter)?;
            remaining = remaining.saturating_add(filter.len()).saturating_add(more);
            count = count.checked_add(1).ok_or(Misuse::OutOfRange)?;
        }
        if count == 0 {
            return Err(Misuse::InvalidFilter.into());
        }
        let id = self.free_id();
        let step = if first == SUBSCRIBE { Step::Subscribe } else { Step::Unsubscribe };
        let mut at = self.queue(first, remaining, 0, step, Some(id), count)?;
        at = self.put_u16(at, id.get());
        for (filter, qos) in filters {
            at = self.put_prefixed(at, filter);
            if first == SUBSCRIBE {
                at = self.put(at, &[qos as u8]);
            }
        }
        Ok(id.get())
    }

    /// An identifier that nothing of ours in flight has (`[MQTT-2.3.1-2]`). The table is shorter than the numbers
    /// are many, so one is found.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn free_id(&self) -> PacketId {
        let mut id = self.next_id;
        while self.slots.find(id, true).is_some() {
            id = id.next();
        }
        id
    }
}
