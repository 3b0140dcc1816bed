//! Commands, as packets in the client's memory.

use super::{Client, Due, InFlight, flow::Step, raw::RawConnect};
use crate::{
    Capacity, Instant, Misuse, Peer,
    mqtt::{Error, PacketId, QoS, checked::is_valid, packet::header, text::Kind, topic::MAX_LEN},
    wire::Writer,
};

/// Of the strings of a CONNECT, the flag that says that it is there (§3.1.2.3), and what it is.
const STRINGS: [(u8, Option<Kind>); 5] =
    [(0, Some(Kind::Text)), (0x04, Some(Kind::Name)), (0, None), (0x80, Some(Kind::Text)), (0x40, None)];

/// The first bytes of these packets.
pub(super) const SUBSCRIBE: u8 = 0x82;
pub(super) const UNSUBSCRIBE: u8 = 0xA2;

/// How many bytes the header of a packet takes with that remaining length (§2.2.3), and whether it can have it.
#[cfg_attr(feature = "opt-size", inline(never))]
fn header_len(remaining: usize) -> Result<usize, Misuse> {
    match remaining {
        0..0x80 => Ok(2),
        0x80..0x4000 => Ok(3),
        0x4000..0x20_0000 => Ok(4),
        0x20_0000..0x1000_0000 => Ok(5),
        _ => Err(Misuse::OutOfRange),
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
        let len = header_len(remaining)?.wrapping_add(remaining);
        let kept = if forget { 0 } else { self.slots.kept() };
        let start = self.slots.memory.len().wrapping_sub(len);
        let place = self.slots.memory.get_mut(start..).ok_or(Capacity::Arena)?;
        if start < kept {
            return Err(Capacity::Arena.into());
        }
        let mut writer = Writer::new(place);
        header(&mut writer, 0x10, remaining);
        writer.bytes(b"\0\x04MQTT\x04");
        writer.u8(flags);
        writer.u16(connect.keep_alive);
        // [MQTT-3.1.3-1]
        for string in connect.strings.iter().flatten() {
            writer.prefixed(string);
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

    /// Room for a packet of `len` bytes that has a place too, with something left for the next CONNECT and for reception.
    fn room_for(&mut self, len: usize) -> Result<&mut [u8], Capacity> {
        if self.slots.free() <= usize::from(self.slots.keep_free) {
            return Err(Capacity::InFlight);
        }
        let reserve = self.reserve;
        let room = self.slots.room();
        let most = room.len().saturating_sub(reserve);
        room.get_mut(..most).and_then(|room| room.get_mut(..len)).ok_or(Capacity::Arena)
    }

    /// The packet is written.
    fn queued(&mut self, step: Step, id: Option<PacketId>, len: usize, filters: u16, streamed: bool) {
        if let Some(id) = id {
            self.next_id = id.next();
        }
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.due = true;
        self.slots.push(InFlight { len, id, filters, step, due: Due::Yes, streamed });
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
        let header_len = header_len(remaining)?;
        let body = match payload {
            Some(payload) => payload.len(),
            None => payload_len.min(self.window.into()),
        };
        let len = header_len.wrapping_add(variable).wrapping_add(body);
        let mut writer = Writer::new(self.room_for(len)?);
        header(&mut writer, 0x30 | (qos as u8) << 1 | u8::from(retain), remaining);
        writer.prefixed(topic);
        if let Some(id) = id {
            writer.u16(id.get());
        }
        writer.bytes(payload.unwrap_or(&[]));
        self.queued(step, id, len, 0, payload.is_none());
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
        let len = header_len(remaining)?.wrapping_add(remaining);
        let id = self.free_id();
        let mut writer = Writer::new(self.room_for(len)?);
        header(&mut writer, first, remaining);
        writer.u16(id.get());
        for (filter, qos) in filters.flatten() {
            writer.prefixed(filter);
            if first == SUBSCRIBE {
                writer.u8(qos as u8);
            }
        }
        let step = if first == SUBSCRIBE { Step::Subscribe } else { Step::Unsubscribe };
        self.queued(step, Some(id), len, count, false);
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
