//! Commands, as packets in the client's memory.

use super::{
    Client, Due, InFlight,
    flow::{Link, Step},
    raw::RawConnect,
};
use crate::{
    Capacity, Instant, Misuse, Peer,
    mqtt::{
        Error, PacketId, QoS,
        checked::is_valid,
        packet::{MAX_REMAINING, framed, header},
        text::Kind,
        topic::MAX_LEN,
    },
    wire::Writer,
};

/// The first bytes of these packets.
pub(super) const SUBSCRIBE: u8 = 0x82;
pub(super) const UNSUBSCRIBE: u8 = 0xA2;

impl RawConnect<'_> {
    /// The remaining length, if it can be sent.
    fn check(&self) -> Result<usize, Misuse> {
        let mut remaining = 10_usize;
        for (n, string) in self.strings.iter().enumerate() {
            let Some(bytes) = *string else { continue };
            match n {
                1 if !is_valid(bytes, Kind::Name) => return Err(Misuse::InvalidTopic),
                0 | 3 if !is_valid(bytes, Kind::Text) => return Err(Misuse::InvalidString),
                _ if bytes.len() > MAX_LEN => return Err(Misuse::InvalidString),
                _ => {}
            }
            remaining = remaining.wrapping_add(2).wrapping_add(bytes.len());
        }
        let [client_id, _, _, username, password] = self.strings;
        let nameless = client_id.is_none_or(<[u8]>::is_empty) && self.flags & 0x02 == 0;
        if nameless || (password.is_some() && username.is_none()) {
            return Err(Misuse::InvalidOption);
        }
        Ok(remaining)
    }

    /// Writes the packet (§3.1); the fields in the order of `[MQTT-3.1.3-1]`.
    fn encode(&self, w: &mut Writer<'_>, remaining: usize) {
        let [_, will, _, username, password] = self.strings;
        let mut flags = self.flags;
        for (there, bit) in [(will.is_some(), 0x04), (password.is_some(), 0x40), (username.is_some(), 0x80)] {
            if there {
                flags |= bit;
            }
        }
        header(w, 0x10, remaining);
        let [high, low] = self.keep_alive.to_be_bytes();
        w.bytes(&[0, 4, b'M', b'Q', b'T', b'T', 4, flags, high, low]);
        for string in self.strings.into_iter().flatten() {
            w.prefixed(string);
        }
    }
}

impl Client<'_> {
    pub(super) fn open(&mut self, now: Instant, peer: Peer, connect: &RawConnect<'_>) -> Result<(), Error> {
        let now = self.clock.advance(now);
        if self.link != Link::Closed {
            return Err(Misuse::WrongState.into());
        }
        let remaining = connect.check()?;
        let len = framed(remaining);
        let clean = connect.flags & 0x02 != 0;
        // [MQTT-3.1.2-6]: a clean session starts from nothing and leaves nothing.
        let forget = clean || self.clean_session;
        let kept = if forget { 0 } else { self.slots.kept() };
        let free = self.slots.memory.get_mut(kept..).unwrap_or(&mut []);
        let start = free.len().checked_sub(len).ok_or(Capacity::Arena)?;
        connect.encode(&mut Writer::new(free.get_mut(start..).unwrap_or(&mut [])), remaining);
        self.reserve = len;
        if forget {
            self.slots.clear();
        }
        self.opened(now, peer, clean, connect.keep_alive);
        Ok(())
    }

    pub(super) fn may_send(&self) -> Result<(), Misuse> {
        if self.link == Link::Closed || self.leaving { Err(Misuse::NotConnected) } else { Ok(()) }
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
        self.clock.advance(now);
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
        within(remaining)?;
        let body = match payload {
            Some(payload) => payload.len(),
            None => payload_len.min(self.window.into()),
        };
        let len = framed(remaining).wrapping_sub(payload_len).wrapping_add(body);
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
        self.clock.advance(now);
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
        within(remaining)?;
        let len = framed(remaining);
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

/// Whether a packet can have that remaining length.
fn within(remaining: usize) -> Result<(), Misuse> {
    if u32::try_from(remaining).is_ok_and(|n| n <= MAX_REMAINING) { Ok(()) } else { Err(Misuse::OutOfRange) }
}
