//! Packets to bytes.
//!
//! What is given is taken to be valid ([`Connect::check`], [`topic::valid_name`](crate::mqtt::topic::valid_name)):
//! encoding checks nothing but that lengths do not wrap. The [`Writer`] remembers if there was no room.

use super::{Connect, Packet, PacketId, Publish, QoS};
use crate::{mqtt::topic, wire::Writer};

/// Bytes of a whole packet whose remaining length is `remaining`: with its fixed header (§2.2.3).
const fn framed(remaining: usize) -> usize {
    let header = match remaining {
        0..0x80 => 2,
        0x80..0x4000 => 3,
        0x4000..0x20_0000 => 4,
        _ => 5,
    };
    remaining.saturating_add(header)
}

/// Writes a fixed header; `first` holds the type and the flags of Table 2.2 (`[MQTT-2.2.2-1]`).
fn header(w: &mut Writer<'_>, first: u8, remaining: usize) {
    if let Ok(short @ 0..0x80) = u8::try_from(remaining) {
        return w.array([first, short]);
    }
    w.u8(first);
    let mut left = remaining;
    loop {
        let [low, ..] = left.to_le_bytes();
        left >>= 7;
        if left == 0 {
            return w.u8(low & 0x7F);
        }
        w.u8(low | 0x80);
    }
}

/// Bytes that [`Writer::prefixed`] writes.
#[inline]
fn binary_len(bytes: &[u8]) -> usize {
    bytes.len().min(topic::MAX_LEN).wrapping_add(2)
}

impl Connect<'_> {
    /// Bytes of the packet.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        framed(self.remaining())
    }

    fn remaining(&self) -> usize {
        // Name, level, flags, keep-alive: 10 bytes. Six times 65,537 and these are a number.
        let mut n = binary_len(self.client_id.as_bytes()).wrapping_add(10);
        if let Some(will) = &self.will {
            n = n.wrapping_add(binary_len(will.topic.as_bytes())).wrapping_add(binary_len(will.payload));
        }
        if let Some(username) = self.username {
            n = n.wrapping_add(binary_len(username.as_bytes()));
        }
        if let Some(password) = self.password {
            n = n.wrapping_add(binary_len(password));
        }
        n
    }

    /// Writes the packet (§3.1); the fields in the order of `[MQTT-3.1.3-1]`.
    pub fn encode(&self, w: &mut Writer<'_>) {
        #[cfg(target_pointer_width = "64")]
        if short::connect(self, w).is_some() {
            return;
        }
        self.encode_any(w);
    }

    #[cfg_attr(target_pointer_width = "64", cold, inline(never))]
    fn encode_any(&self, w: &mut Writer<'_>) {
        header(w, 0x10, self.remaining());
        let [high, low] = self.keep_alive.to_be_bytes();
        w.array([0, 4, b'M', b'Q', b'T', b'T', 4, self.flags(), high, low]);
        w.prefixed(self.client_id.as_bytes());
        if let Some(will) = &self.will {
            w.prefixed(will.topic.as_bytes());
            w.prefixed(will.payload);
        }
        if let Some(username) = self.username {
            w.prefixed(username.as_bytes());
        }
        if let Some(password) = self.password {
            w.prefixed(password);
        }
    }

    /// §3.1.2.3
    fn flags(&self) -> u8 {
        let mut flags = 0;
        if self.clean_session {
            flags |= 0x02;
        }
        if let Some(will) = &self.will {
            flags |= 0x04 | ((will.qos as u8) << 3);
            if will.retain {
                flags |= 0x20;
            }
        }
        if self.password.is_some() {
            flags |= 0x40;
        }
        if self.username.is_some() {
            flags |= 0x80;
        }
        flags
    }
}

impl Publish<'_> {
    /// Bytes of the packet up to its payload.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let payload = self.payload();
        framed(self.variable_header().saturating_add(payload)).saturating_sub(payload)
    }

    fn payload(&self) -> usize {
        usize::try_from(self.payload_len).unwrap_or(usize::MAX)
    }

    fn variable_header(&self) -> usize {
        binary_len(self.topic.as_bytes()).wrapping_add(if self.id.is_some() { 2 } else { 0 })
    }

    /// The remaining length: variable header and payload. A packet can have at most
    /// [`MAX_REMAINING`](super::MAX_REMAINING).
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.variable_header().saturating_add(self.payload())
    }

    /// Writes the packet (§3.3) up to its payload.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    pub fn encode(&self, w: &mut Writer<'_>) {
        let mut first = 0x30 | ((self.qos as u8) << 1);
        if self.dup {
            first |= 0x08;
        }
        if self.retain {
            first |= 0x01;
        }
        header(w, first, self.remaining());
        w.prefixed(self.topic.as_bytes());
        if let Some(id) = self.id {
            w.u16(id.get());
        }
    }
}

/// Writes a packet that holds a packet identifier and nothing else; `first` is the first byte of its fixed header:
/// 0x40 PUBACK, 0x50 PUBREC, 0x62 PUBREL, 0x70 PUBCOMP, 0xB0 UNSUBACK. The identifier is that of the packet it answers
/// (`[MQTT-2.3.1-6]`, `[MQTT-2.3.1-7]`).
pub fn encode_ack(w: &mut Writer<'_>, first: u8, id: PacketId) {
    header(w, first, 2);
    w.u16(id.get());
}

/// The filters of a SUBSCRIBE or of an UNSUBSCRIBE, as commands give them.
#[derive(Debug, Clone, Copy)]
enum FilterList<'f> {
    Subscribe(&'f [(&'f str, QoS)]),
    Unsubscribe(&'f [&'f str]),
}

impl<'f> FilterList<'f> {
    /// One of them. A common type for both keeps one copy of the code.
    fn get(self, index: usize) -> Option<(&'f str, Option<QoS>)> {
        match self {
            Self::Subscribe(filters) => filters.get(index).map(|(filter, qos)| (*filter, Some(*qos))),
            Self::Unsubscribe(filters) => filters.get(index).map(|filter| (*filter, None)),
        }
    }

    fn remaining(self) -> usize {
        let (mut n, mut index) = (2_usize, 0_usize);
        while let Some((filter, qos)) = self.get(index) {
            n = n.saturating_add(binary_len(filter.as_bytes())).saturating_add(qos.is_some().into());
            index = index.wrapping_add(1);
        }
        n
    }

    /// Bytes of the packet.
    fn encoded_len(self) -> usize {
        framed(self.remaining())
    }

    /// Writes the packet (§3.8, §3.10).
    fn encode(self, w: &mut Writer<'_>, id: PacketId) {
        #[cfg(target_pointer_width = "64")]
        if short::filters(self, w, id).is_some() {
            return;
        }
        self.encode_any(w, id);
    }

    #[cfg_attr(target_pointer_width = "64", cold, inline(never))]
    fn encode_any(self, w: &mut Writer<'_>, id: PacketId) {
        let first = if matches!(self, Self::Subscribe(_)) { 0x82 } else { 0xA2 };
        header(w, first, self.remaining());
        w.u16(id.get());
        let mut index = 0_usize;
        while let Some((filter, qos)) = self.get(index) {
            w.prefixed(filter.as_bytes());
            if let Some(qos) = qos {
                w.u8(qos as u8);
            }
            index = index.wrapping_add(1);
        }
    }
}

/// Bytes of a SUBSCRIBE.
#[must_use]
pub fn subscribe_len(filters: &[(&str, QoS)]) -> usize {
    FilterList::Subscribe(filters).encoded_len()
}

/// Writes a SUBSCRIBE (§3.8).
pub fn encode_subscribe(w: &mut Writer<'_>, id: PacketId, filters: &[(&str, QoS)]) {
    FilterList::Subscribe(filters).encode(w, id);
}

/// Bytes of an UNSUBSCRIBE.
#[must_use]
pub fn unsubscribe_len(filters: &[&str]) -> usize {
    FilterList::Unsubscribe(filters).encoded_len()
}

/// Writes an UNSUBSCRIBE (§3.10).
pub fn encode_unsubscribe(w: &mut Writer<'_>, id: PacketId, filters: &[&str]) {
    FilterList::Unsubscribe(filters).encode(w, id);
}

impl Packet<'_> {
    /// Bytes of the packet; of a PUBLISH, without its payload.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Connect(connect) => connect.encoded_len(),
            Self::Publish(publish) => publish.encoded_len(),
            Self::Subscribe { filters, .. } | Self::Unsubscribe { filters, .. } => {
                framed(filters.bytes.len().saturating_add(2))
            }
            Self::SubAck { codes, .. } => framed(codes.len().saturating_add(2)),
            Self::PingReq | Self::PingResp | Self::Disconnect => 2,
            _ => 4,
        }
    }

    /// Writes the packet; a PUBLISH without its payload.
    pub fn encode(&self, w: &mut Writer<'_>) {
        match *self {
            Self::Connect(connect) => connect.encode(w),
            Self::ConnAck { session_present, code } => {
                header(w, 0x20, 2);
                w.u8(session_present.into());
                w.u8(code as u8);
            }
            Self::Publish(publish) => publish.encode(w),
            Self::PubAck(id) => encode_ack(w, 0x40, id),
            Self::PubRec(id) => encode_ack(w, 0x50, id),
            Self::PubRel(id) => encode_ack(w, 0x62, id),
            Self::PubComp(id) => encode_ack(w, 0x70, id),
            Self::Subscribe { id, filters } => with_id(w, 0x82, id, filters.bytes),
            Self::SubAck { id, codes } => with_id(w, 0x90, id, codes),
            Self::Unsubscribe { id, filters } => with_id(w, 0xA2, id, filters.bytes),
            Self::UnsubAck(id) => encode_ack(w, 0xB0, id),
            Self::PingReq => header(w, 0xC0, 0),
            Self::PingResp => header(w, 0xD0, 0),
            Self::Disconnect => header(w, 0xE0, 0),
        }
    }
}

fn with_id(w: &mut Writer<'_>, first: u8, id: PacketId, rest: &[u8]) {
    header(w, first, rest.len().saturating_add(2));
    w.u16(id.get());
    w.bytes(rest);
}

/// Packets whose remaining length is one byte, laid out straight where there is room for them. Only for processors of 64 bits:
/// on a microcontroller the code would cost more than the time.
#[cfg(target_pointer_width = "64")]
mod short {
    use super::{Connect, FilterList, PacketId, Writer};
    use crate::wire::copy_name;

    /// The longest remaining length of one byte (§2.2.3).
    const LONGEST: usize = 0x7F;

    /// What has not been written of a packet.
    struct Rest<'a>(&'a mut [u8]);

    impl Rest<'_> {
        #[inline(always)]
        fn array<const N: usize>(&mut self, bytes: [u8; N]) -> Option<()> {
            let (place, rest) = core::mem::take(&mut self.0).split_first_chunk_mut()?;
            *place = bytes;
            self.0 = rest;
            Some(())
        }

        /// Of up to [`LONGEST`] bytes.
        #[inline(always)]
        fn prefixed(&mut self, bytes: &[u8]) -> Option<()> {
            self.array([0, bytes.len() as u8])?;
            let (place, rest) = core::mem::take(&mut self.0).split_at_mut_checked(bytes.len())?;
            copy_name(place, bytes);
            self.0 = rest;
            Some(())
        }
    }

    #[inline(always)]
    pub(super) fn connect(connect: &Connect<'_>, w: &mut Writer<'_>) -> Option<()> {
        let id = connect.client_id.as_bytes();
        // Lengths that are no longer than that do not overflow when summed up; if one is, so is `any`.
        let (mut remaining, mut any) = (id.len().wrapping_add(12), id.len());
        let mut add = |len: usize| {
            any |= len;
            remaining = remaining.wrapping_add(len).wrapping_add(2);
        };
        if let Some(will) = &connect.will {
            add(will.topic.len());
            add(will.payload.len());
        }
        if let Some(username) = connect.username {
            add(username.len());
        }
        if let Some(password) = connect.password {
            add(password.len());
        }
        if any > LONGEST || remaining > LONGEST {
            return None;
        }
        let mut rest = Rest(w.place(remaining.wrapping_add(2))?);
        let [high, low] = connect.keep_alive.to_be_bytes();
        rest.array([0x10, remaining as u8, 0, 4, b'M', b'Q', b'T', b'T', 4, connect.flags(), high, low])?;
        rest.prefixed(id)?;
        if let Some(will) = &connect.will {
            rest.prefixed(will.topic.as_bytes())?;
            rest.prefixed(will.payload)?;
        }
        if let Some(username) = connect.username {
            rest.prefixed(username.as_bytes())?;
        }
        if let Some(password) = connect.password {
            rest.prefixed(password)?;
        }
        Some(())
    }

    pub(super) fn filters(filters: FilterList<'_>, w: &mut Writer<'_>, id: PacketId) -> Option<()> {
        let (first, extra) = match filters {
            FilterList::Subscribe(_) => (0x82, 3),
            FilterList::Unsubscribe(_) => (0xA2, 2),
        };
        let (mut remaining, mut index) = (2_usize, 0_usize);
        while let Some((filter, _)) = filters.get(index) {
            remaining = remaining.checked_add(filter.len().checked_add(extra)?)?;
            index = index.wrapping_add(1);
        }
        if remaining > LONGEST {
            return None;
        }
        let mut rest = Rest(w.place(remaining.wrapping_add(2))?);
        let [high, low] = id.get().to_be_bytes();
        rest.array([first, remaining as u8, high, low])?;
        let mut index = 0_usize;
        while let Some((filter, qos)) = filters.get(index) {
            rest.prefixed(filter.as_bytes())?;
            if let Some(qos) = qos {
                rest.array([qos as u8])?;
            }
            index = index.wrapping_add(1);
        }
        Some(())
    }
}
