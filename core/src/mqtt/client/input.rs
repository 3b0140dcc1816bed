//! Bytes from the server, cut into packets.
//!
//! Only what servers send is decoded here, straight from its bytes, and checked as
//! [`decode_from_server`](crate::mqtt::packet::decode_from_server) does it.

use super::{
    Client, CloseReason, Event, Receiving,
    flow::{Admission, Cause, Link, Taken},
    raw::{Kind, Told},
};
use crate::{
    Handled, Input, Misuse,
    mqtt::{ConnectReturnCode, Error, PacketId, Violation, checked::cut_off, text},
    wire::Reader,
};

// Of each packet type (Table 2.1), its flags (Table 2.2), and further, where a server sends it:
const SENT: u8 = 0x10;
/// Two bytes follow the fixed header.
const TWO: u8 = 0x30;
/// None do.
const NONE: u8 = 0x50;
const TYPES: [u8; 16] = [
    0xFF,
    0,
    TWO,
    SENT,
    TWO,
    TWO,
    TWO | 2,
    TWO,
    2,
    SENT,
    2,
    TWO,
    0,
    NONE,
    0,
    0xFF, // 0 and 15 are reserved
];
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PINGRESP: u8 = 13;

/// Whether a first byte can be one (`[MQTT-2.2.2-2]`, `[MQTT-3.6.1-1]`); what is to be known of the type.
fn type_of(first: u8) -> Result<u8, Violation> {
    let [kind, flags] = [first >> 4, first & 0x0F];
    let about = TYPES.get(usize::from(kind)).copied().unwrap_or(0xFF);
    if kind == PUBLISH {
        // §3.3.1
        return match flags & 0x0E {
            0x06 | 0x0E => Err(Violation::QoS),
            0x08 => Err(Violation::DupQoS0),
            _ => Ok(about),
        };
    }
    if about == 0xFF {
        return Err(Violation::ReservedType);
    }
    if about & 0x0F == flags { Ok(about) } else { Err(Violation::ReservedFlags) }
}

impl Client<'_> {
    /// The short way of what comes most often, whole and about something: PUBACK, PUBREC and PUBCOMP. `None`: it takes the
    /// long way, on which firmware, for less code, has everything.
    #[inline]
    pub(super) fn acknowledgement_in<'i>(&mut self, input: Input<'_>) -> Option<Handled<Event<'i>>> {
        let &[first, 2, high, low, ..] = input.bytes else { return None };
        let cause = match first {
            0x40 => Cause::PubAck,
            0x50 => Cause::PubRec,
            0x70 => Cause::PubComp,
            _ => return None,
        };
        let ready = self.link == Link::Connected && input.peer == self.peer && !self.is_receiving();
        if cfg!(feature = "opt-size") || !ready {
            return None;
        }
        let id = PacketId::new(u16::from_be_bytes([high, low]))?;
        // What goes wrong changes nothing, and is found again.
        let event = match self.answered(cause, id, 0) {
            Ok(Taken::Done) => Some(Event::Acknowledged { id }),
            Ok(Taken::Quiet) => None,
            _ => return None,
        };
        self.bytes_in();
        Some(Handled { consumed: 4, needed: 0, event })
    }

    pub(super) fn take_in<'i>(&mut self, input: Input<'i>, told: &mut Told<'i>) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Misuse::NotConnected.into());
        }
        if input.peer != self.peer {
            return Err(Misuse::UnknownId.into());
        }
        let bytes = input.bytes;
        let taken = if bytes.is_empty() {
            told.needed = 1;
            Ok(())
        } else if self.receiving.header != 0 {
            self.skip_header(bytes, told)
        } else if self.receiving.left != 0 {
            self.payload_in(bytes, told);
            Ok(())
        } else {
            self.packet_in(bytes, told)
        };
        if let Err(violation) = taken {
            self.lost(); // [MQTT-4.8.0-1]
            return Err(violation.into());
        }
        if told.consumed != 0 {
            self.bytes_in();
        }
        Ok(())
    }

    fn payload_in<'i>(&mut self, bytes: &'i [u8], told: &mut Told<'i>) {
        let left = usize::try_from(self.receiving.left).unwrap_or(usize::MAX);
        let bytes = bytes.get(..left).unwrap_or(bytes);
        told.consumed = bytes.len();
        self.receiving.left = self.receiving.left.wrapping_sub(u32::try_from(bytes.len()).unwrap_or(0));
        let last = self.receiving.left == 0;
        if !self.receiving.quiet {
            told.kind = Kind::Payload;
            told.code = last.into();
            told.bytes = bytes;
        }
        if last {
            self.arrived();
        }
    }

    fn packet_in<'i>(&mut self, bytes: &'i [u8], told: &mut Told<'i>) -> Result<(), Violation> {
        let mut reader = Reader::new(bytes);
        let first = reader.u8().unwrap_or(0);
        let about = type_of(first)?;
        let Some(remaining) = remaining_length(&mut reader) else {
            if bytes.len() > 4 {
                return Err(Violation::RemainingLength);
            }
            told.needed = 1;
            return Ok(());
        };
        let kind = first >> 4;
        if kind == PUBLISH {
            return self.publish_in(first, remaining, bytes, reader, told);
        }
        if about & SENT == 0 {
            return Err(Violation::UnexpectedPacket);
        }
        if (about & TWO == TWO && remaining != 2) || (about & NONE == NONE && remaining != 0) {
            return Err(Violation::Length);
        }
        if remaining > usize::from(self.max_packet) {
            return Err(Violation::PacketTooLarge);
        }
        let Some(body) = reader.take(remaining) else {
            told.needed = remaining.wrapping_sub(reader.len());
            return Ok(());
        };
        let (high, low, codes) = match *body {
            [high, low, ref codes @ ..] => (high, low, codes),
            _ if kind == PINGRESP => (0, 1, &[][..]),
            _ => return Err(Violation::Length),
        };
        let consumed = bytes.len().wrapping_sub(reader.len());
        if kind == CONNACK {
            told.consumed = consumed;
            return self.connack_in(high, low, told);
        }
        let id = PacketId::new(u16::from_be_bytes([high, low])).ok_or(Violation::ZeroPacketId)?;
        let (cause, what) = match kind {
            4 => (Cause::PubAck, Kind::Acknowledged),
            5 => (Cause::PubRec, Kind::Nothing),
            6 => (Cause::PubRel, Kind::Nothing),
            7 => (Cause::PubComp, Kind::Acknowledged),
            9 => {
                // [MQTT-3.9.3-2]
                if codes.is_empty() || codes.iter().any(|code| !matches!(code, 0 | 1 | 2 | 0x80)) {
                    return Err(Violation::SubAck);
                }
                (Cause::SubAck, Kind::Subscribed)
            }
            _ => (Cause::UnsubAck, Kind::Unsubscribed),
        };
        if self.link != Link::Connected {
            return Err(Violation::UnexpectedPacket); // [MQTT-3.2.0-1]
        }
        if kind == PINGRESP {
            self.ponged();
            told.consumed = consumed;
            return Ok(());
        }
        match self.answered(cause, id, codes.len())? {
            Taken::NotNow => return Ok(()),
            Taken::Quiet => {}
            Taken::Done => {
                told.kind = what;
                told.id = Some(id);
                told.bytes = codes;
            }
        }
        told.consumed = consumed;
        Ok(())
    }

    /// §3.2
    fn connack_in(&mut self, flags: u8, code: u8, told: &mut Told<'_>) -> Result<(), Violation> {
        // [MQTT-3.2.2-4]; the other seven bits are reserved (§3.2.2.1).
        if flags > 1 || code > ConnectReturnCode::NotAuthorized as u8 || (flags == 1 && code != 0) {
            return Err(Violation::ConnAck);
        }
        // [MQTT-3.2.0-1]: it answers CONNECT, once.
        if self.link != Link::Connecting {
            return Err(Violation::UnexpectedPacket);
        }
        if code == 0 {
            self.accepted(flags == 1)?;
            told.kind = Kind::Connected;
            told.code = flags;
        } else {
            self.lost(); // [MQTT-3.2.2-5]
            told.kind = Kind::Refused;
            told.code = code;
        }
        Ok(())
    }

    /// §3.3; `reader` stands behind the fixed header.
    fn publish_in<'i>(
        &mut self,
        first: u8,
        remaining: usize,
        bytes: &'i [u8],
        mut reader: Reader<'i>,
        told: &mut Told<'i>,
    ) -> Result<(), Violation> {
        let id_len = id_len(first);
        let least = id_len.wrapping_add(2);
        if remaining < least {
            return Err(Violation::Length);
        }
        let Some(topic_len) = reader.u16() else {
            told.needed = 2_usize.wrapping_sub(reader.len());
            return Ok(());
        };
        let header = usize::from(topic_len).wrapping_add(id_len);
        let Some(left) = remaining.wrapping_sub(2).checked_sub(header) else { return Err(Violation::Length) };
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        if topic_len == 0 {
            return Err(Violation::TopicName);
        }
        if header.wrapping_add(2) > self.max_packet.into() {
            if self.link != Link::Connected {
                return Err(Violation::PacketTooLarge);
            }
            // It is passed over.
            told.consumed = bytes.len().wrapping_sub(reader.len());
            let header = u32::try_from(header).unwrap_or(0);
            self.receiving = Receiving { left, header, topic_len, first, ..Receiving::default() };
            return Ok(());
        }
        // Both or neither: what is there of them counts towards what is needed.
        let Some((topic, id)) = reader.take(header).and_then(|both| both.split_at_checked(topic_len.into())) else {
            told.needed = header.wrapping_sub(reader.len());
            return Ok(());
        };
        let name = text::Kind::Name;
        if !text::is_right(topic, name) && cut_off(topic, name)? != 0 {
            return Err(Violation::NotUtf8);
        }
        told.consumed = bytes.len().wrapping_sub(reader.len());
        self.begin(first, id, topic, topic_len, left, told)
    }

    /// Lets a message begin that is to be told if its `topic` is known. What it would consume stands in `told` already.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn begin<'i>(
        &mut self,
        first: u8,
        id: &[u8],
        topic: &'i [u8],
        topic_len: u16,
        left: u32,
        told: &mut Told<'i>,
    ) -> Result<(), Violation> {
        let id = match *id {
            [high, low] => Some(PacketId::new(u16::from_be_bytes([high, low])).ok_or(Violation::ZeroPacketId)?),
            _ => None,
        };
        if self.link != Link::Connected {
            return Err(Violation::UnexpectedPacket); // [MQTT-3.2.0-1]
        }
        let wanted = !topic.is_empty() && left <= self.max_payload;
        let mut duplicate = false;
        if let Some(id) = id {
            match self.arriving(first & 0x04 != 0, id, first & 0x08 != 0)? {
                Admission::New => {}
                Admission::Duplicate => duplicate = true,
                Admission::NotNow => {
                    told.consumed = 0;
                    return Ok(());
                }
                Admission::Overflow => {
                    self.lost(); // [MQTT-4.8.0-2]
                    told.consumed = 0;
                    told.kind = Kind::Closed;
                    told.code = CloseReason::Overflow as u8;
                    return Ok(());
                }
            }
        }
        self.receiving = Receiving { left, id, quiet: !wanted || duplicate, ..Receiving::default() };
        if left == 0 {
            self.arrived();
        }
        if !duplicate {
            told.len = left;
            if wanted {
                told.kind = Kind::Publish;
                told.code = first;
                told.id = id;
                told.bytes = topic;
            } else {
                told.kind = Kind::Skipped;
                told.offset = topic_len.into();
            }
        }
        Ok(())
    }

    /// Topic and packet identifier of a PUBLISH that is passed over.
    fn skip_header<'i>(&mut self, bytes: &'i [u8], told: &mut Told<'i>) -> Result<(), Violation> {
        let Receiving { header, first, topic_len, left, .. } = self.receiving;
        let id_len = id_len(first);
        let header = usize::try_from(header).unwrap_or(usize::MAX);
        let topic = header.saturating_sub(id_len);
        let part = bytes.get(..topic).unwrap_or(bytes);
        // Nobody is told of it, and yet it has to be a topic name. A character may be cut off where more is to come.
        let cut = usize::from(cut_off(part, text::Kind::Name)?);
        if cut != 0 && part.len() == topic {
            return Err(Violation::NotUtf8);
        }
        let valid = part.len().wrapping_sub(cut);
        if let Some(whole) = bytes.get(..header) {
            told.consumed = header;
            self.receiving.header = 0;
            let id = whole.get(topic..).unwrap_or(&[]);
            let begun = self.begin(first, id, &[], topic_len, left, told);
            if told.consumed == 0 {
                self.receiving.header = u32::try_from(header).unwrap_or(0);
            }
            return begun;
        }
        told.consumed = valid;
        self.receiving.header = u32::try_from(header.wrapping_sub(valid)).unwrap_or(0);
        if valid == 0 {
            // The rest of a character, or of the identifier.
            told.needed = if topic == 0 { header.wrapping_sub(bytes.len()) } else { 1 };
        }
        Ok(())
    }
}

/// §2.2.3: seven bits a byte, least significant first, at most four bytes. `None`: there are more.
#[cfg_attr(feature = "opt-size", inline(never))]
pub(super) fn remaining_length(reader: &mut Reader<'_>) -> Option<usize> {
    let (mut remaining, mut shift) = (0_usize, 0_u32);
    while shift < 28 {
        let byte = reader.u8()?;
        remaining |= usize::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(remaining);
        }
        shift = shift.wrapping_add(7);
    }
    None
}

/// Bytes of a PUBLISH's packet identifier.
pub(super) fn id_len(first: u8) -> usize {
    if first & 0x06 == 0 { 0 } else { 2 }
}
