//! Commands, as packets in the client's memory.

use super::{
    Client, Due,
    flow::Step,
    raw::{PRESENT, Strings},
    slots::{NOWHERE, Side},
};
use crate::{
    Capacity, Fail, Misuse, Peer,
    mqtt::{PacketId, QoS, checked::check, text::Kind},
    wire::{copy, copy_name},
};

/// What each of the strings of a CONNECT is (§3.1.3).
static KINDS: [Kind; 5] = [Kind::Text, Kind::Name, Kind::Binary, Kind::Text, Kind::Binary];
const ALWAYS: u8 = PRESENT[0];

/// The first bytes of these packets.
pub(super) const SUBSCRIBE: u8 = 0x82;
pub(super) const UNSUBSCRIBE: u8 = 0xA2;

/// Bytes of a fixed header with that remaining length, of which each byte holds seven bits; four are the most (§2.2.3).
#[cfg_attr(feature = "opt-size", inline(never))]
#[cfg_attr(not(feature = "opt-size"), inline(always))]
fn header_len(remaining: usize) -> Result<usize, Fail> {
    let (mut len, mut left) = (1_usize, remaining);
    loop {
        (len, left) = (len.wrapping_add(1), left >> 7);
        if left == 0 {
            break;
        }
    }
    if len > 5 { Err(Misuse::OutOfRange.into()) } else { Ok(len) }
}

impl Client<'_> {
    /// See [`Client::connect_raw`].
    pub(super) fn open(&mut self, peer: Peer, strings: &Strings<'_>, flags: u8, keep_alive: u16) -> Result<(), Fail> {
        if !self.is_closed() {
            return Err(Misuse::WrongState.into());
        }
        let (mut remaining, flags) = (10_usize, flags | ALWAYS);
        for ((bytes, bit), kind) in strings.iter().zip(&PRESENT).zip(&KINDS) {
            if flags & bit == 0 {
                continue;
            }
            check(bytes, *kind)?;
            remaining = remaining.wrapping_add(2).wrapping_add(bytes.len());
        }
        let clean = flags & 0x02 != 0;
        // No password without a user name; nobody without a name and with a session.
        if flags & 0xC0 == 0x40 || (!clean && strings[0].is_empty()) {
            return Err(Misuse::InvalidOption.into());
        }
        // [MQTT-3.1.2-6]: a clean session starts from nothing and leaves nothing.
        let forget = clean || !self.has_session;
        let len = header_len(remaining)?.wrapping_add(remaining);
        let kept = if forget { 0 } else { self.slots.kept };
        let start = self.slots.memory.len().checked_sub(len).filter(|start| *start >= kept).ok_or(Capacity::Arena)?;
        if forget {
            self.slots.clear();
        }
        self.reserve = len;
        self.slots.kept = start;
        self.put_header(0x10, remaining);
        self.put(b"\0\x04MQTT\x04");
        self.put_u8(flags & !ALWAYS);
        self.put_u16(keep_alive.into());
        // [MQTT-3.1.3-1]
        for (bytes, bit) in strings.iter().zip(&PRESENT) {
            if flags & bit != 0 {
                self.put_prefixed(bytes);
            }
        }
        self.slots.kept = kept;
        self.opened(peer, clean, keep_alive);
        Ok(())
    }

    pub(super) fn may_send(&self) -> Result<(), Fail> {
        if self.is_closed() || self.leaving { Err(Misuse::NotConnected.into()) } else { Ok(()) }
    }

    /// A place for a packet, of which the header stands in the memory and all else is to be put there; with something left for
    /// the next CONNECT and for reception. `missing` bytes of the packet are not kept. For `more`, see the place. Its packet
    /// identifier, or 0 at QoS 0.
    #[cfg_attr(feature = "opt-size", inline(never))]
    #[cfg_attr(not(feature = "opt-size"), inline(always))]
    fn queue(&mut self, first: u8, remaining: usize, missing: usize, step: Step, more: u16) -> Result<u32, Fail> {
        let len = header_len(remaining)?.wrapping_add(remaining).wrapping_sub(missing);
        if self.slots.free() <= usize::from(self.keep_free) {
            return Err(Capacity::InFlight.into());
        }
        let room = self.slots.memory.len().wrapping_sub(self.slots.kept);
        if len.saturating_add(self.reserve) > room {
            return Err(Capacity::Arena.into());
        }
        let mut id = None;
        if step != Step::Message0 {
            id = self.free_id();
            self.last_id = id;
        }
        self.stir();
        if let Some(place) = self.slots.push(id, step, Due::Yes) {
            place.len = u32::try_from(len).unwrap_or(u32::MAX);
            place.more = more;
        }
        self.put_header(first, remaining);
        Ok(id.map_or(0, |id| id.get().into()))
    }

    /// Writes behind what is kept, where the room was made sure of before: what were too long would be left out.
    #[cfg_attr(feature = "opt-size", inline(never))]
    #[cfg_attr(not(feature = "opt-size"), inline(always))]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let start = self.slots.kept;
        self.slots.kept = start.wrapping_add(bytes.len());
        if let Some(place) = self.slots.memory.get_mut(start..self.slots.kept) {
            copy(place, bytes);
        }
    }

    #[cfg_attr(feature = "opt-size", inline(never))]
    #[cfg_attr(not(feature = "opt-size"), inline(always))]
    fn put_u8(&mut self, value: u8) {
        self.put_all([value]);
    }

    #[inline(always)]
    fn put_all<const N: usize>(&mut self, bytes: [u8; N]) {
        if cfg!(feature = "opt-size") {
            return self.put(&bytes);
        }
        let at = self.slots.kept;
        self.slots.kept = at.wrapping_add(N);
        if let Some(place) = self.slots.memory.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *place = bytes;
        }
    }

    /// The lower half: a packet identifier, or a length.
    #[cfg_attr(feature = "opt-size", inline(never))]
    #[cfg_attr(not(feature = "opt-size"), inline(always))]
    fn put_u16(&mut self, value: u32) {
        let [.., high, low] = value.to_be_bytes();
        self.put_all([high, low]);
    }

    /// A string or binary data of at most [`MAX_LEN`] bytes (§1.5.3).
    #[cfg_attr(feature = "opt-size", inline(never))]
    #[cfg_attr(not(feature = "opt-size"), inline(always))]
    fn put_prefixed(&mut self, bytes: &[u8]) {
        // Most are names, and short; firmware has one way to copy.
        if cfg!(feature = "opt-size") {
            self.put_u16(u32::try_from(bytes.len()).unwrap_or(0));
            return self.put(bytes);
        }
        let [low, high, ..] = bytes.len().to_le_bytes();
        let start = self.slots.kept;
        self.slots.kept = start.wrapping_add(2).wrapping_add(bytes.len());
        if let Some(place) = self.slots.memory.get_mut(start..self.slots.kept)
            && let Some((prefix, place)) = place.split_first_chunk_mut()
        {
            *prefix = [high, low];
            copy_name(place, bytes);
        }
    }

    /// A fixed header (§2.2).
    #[cfg_attr(feature = "opt-size", inline(never))]
    #[cfg_attr(not(feature = "opt-size"), inline(always))]
    fn put_header(&mut self, first: u8, remaining: usize) {
        let [low, ..] = remaining.to_le_bytes();
        // Most packets are short; firmware has one way.
        if !cfg!(feature = "opt-size") && remaining < 0x80 {
            return self.put_all([first, low]);
        }
        self.put_u8(first);
        let mut left = remaining;
        while left > 0x7F {
            let [low, ..] = left.to_le_bytes();
            self.put_u8(low | 0x80);
            left >>= 7;
        }
        let [low, ..] = left.to_le_bytes();
        self.put_u8(low);
    }

    /// A PUBLISH, but for its payload of `len` bytes. Of these, `missing` are not kept, where there is a `window` for them.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn queue_publish(
        &mut self,
        qos: QoS,
        retain: bool,
        topic: &[u8],
        len: usize,
        (missing, window): (usize, u16),
    ) -> Result<u32, Fail> {
        self.may_send()?;
        check(topic, Kind::Name)?;
        let (step, variable) = match qos {
            QoS::AtMostOnce => (Step::Message0, 2_usize),
            QoS::AtLeastOnce => (Step::Message1, 4),
            QoS::ExactlyOnce => (Step::Message2, 4),
        };
        let remaining = variable.wrapping_add(topic.len()).saturating_add(len);
        let first = 0x30 | (qos as u8) << 1 | u8::from(retain);
        let id = self.queue(first, remaining, missing, step, window)?;
        self.put_prefixed(topic);
        if id != 0 {
            self.put_u16(id);
        }
        Ok(id)
    }

    #[inline]
    pub(super) fn queue_filters<'f, T>(
        &mut self,
        first: u8,
        filters: &'f [T],
        look: impl Fn(&'f T) -> Result<(&'f [u8], u8), Fail>,
        take: impl Fn(&'f T) -> (&'f [u8], u8),
    ) -> Result<u32, Fail> {
        self.may_send()?;
        let Ok(count) = u16::try_from(filters.len()) else { return Err(Misuse::OutOfRange.into()) };
        if count == 0 {
            return Err(Misuse::InvalidFilter.into());
        }
        let mut remaining = 2_usize;
        for filter in filters {
            let (filter, qos) = look(filter)?;
            check(filter, Kind::Filter)?;
            if qos > QoS::ExactlyOnce as u8 {
                return Err(Misuse::OutOfRange.into());
            }
            // Its length and, in a SUBSCRIBE, the QoS wanted.
            let more = if first == SUBSCRIBE { 3 } else { 2 };
            remaining = remaining.saturating_add(filter.len().wrapping_add(more));
        }
        let step = if first == SUBSCRIBE { Step::Subscribe } else { Step::Unsubscribe };
        let id = self.queue(first, remaining, 0, step, count)?;
        self.put_u16(id);
        for filter in filters {
            let (filter, qos) = take(filter);
            self.put_prefixed(filter);
            if first == SUBSCRIBE {
                self.put_u8(qos);
            }
        }
        Ok(id)
    }

    /// An identifier that nothing of ours in flight has (`[MQTT-2.3.1-2]`). There is one: a place of the table is free, which
    /// has no more of them than there are numbers.
    #[inline(always)]
    fn free_id(&self) -> Option<PacketId> {
        let mut id = self.last_id;
        loop {
            // (What stands for none is followed by 1, and 65,535 by that.)
            id = PacketId::new(id.map_or(0, PacketId::get).wrapping_add(1)).or(Some(PacketId::FIRST));
            if self.slots.find(id, Side::Ours) == NOWHERE {
                return id;
            }
        }
    }
}
