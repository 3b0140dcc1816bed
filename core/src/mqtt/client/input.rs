//! Bytes from the server, cut into packets.
//!
//! Only what servers send is decoded here, straight from its bytes, and checked as
//! [`decode_from_server`](crate::mqtt::packet::decode_from_server) does it.

use super::{
    Client, CloseReason, Event, Receiving,
    flow::{Admission, Cause, Link, Taken},
    raw::{Told, What},
};
use crate::{
    Fail, Handled, Input, Misuse,
    mqtt::{
        ConnectReturnCode, PacketId, Violation,
        checked::cut_off,
        text::{Kind, is_right},
    },
    wire::Reader,
};

// Of each packet type (Table 2.1): in the lower half its flags (Table 2.2); in the upper half what there is to tell of it, if
// a server sends it with two bytes behind the fixed header, or one of these:
/// A SUBACK, the one whose length is not given.
const ANY: u8 = (What::SUBSCRIBED as u8) << 4;
/// A PINGRESP, the one that has nothing.
const NONE: u8 = 0xE0;
/// Servers do not send it.
const NEVER: u8 = 0xF0;
const TOLD: u8 = (What::ACKNOWLEDGED as u8) << 4;
const UNSUBACK: u8 = (What::UNSUBSCRIBED as u8) << 4;
static TYPES: [u8; 16] =
    [NEVER, NEVER, 0, 0, TOLD, 0, 2, TOLD, NEVER | 2, ANY, NEVER | 2, UNSUBACK, NEVER, NONE, NEVER, NEVER];
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const SUBACK: u8 = 9;
const PINGRESP: u8 = 13;

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
            Taken::Done => Some(Event::Acknowledged { id }),
            Taken::Quiet => None,
            _ => return None,
        };
        self.bytes_in();
        Some(Handled { consumed: 4, needed: 0, event })
    }

    pub(super) fn take_in<'i>(&mut self, input: Input<'i>, told: &mut Told<'i>) -> Result<(), Fail> {
        if self.is_closed() {
            return Err(Misuse::NotConnected.into());
        }
        if input.peer != self.peer {
            return Err(Misuse::UnknownId.into());
        }
        let bytes = input.bytes;
        if bytes.is_empty() {
            told.needed = 1;
        } else if self.receiving.header == 0 && self.receiving.left != 0 {
            self.payload_in(bytes, told);
        } else if let Err(violation) = self.packet_in(bytes, told) {
            self.lost(); // [MQTT-4.8.0-1]
            return Err(violation);
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
            told.what.kind = What::PAYLOAD;
            told.what.last = last.into();
            told.bytes = bytes;
        }
        if last {
            self.arrived();
        }
    }

    /// The packet at the front of `bytes`; of a PUBLISH, topic and packet identifier.
    #[inline]
    fn packet_in<'i>(&mut self, bytes: &'i [u8], told: &mut Told<'i>) -> Result<(), Fail> {
        let (mut reader, mut message) = (Reader::new(bytes), self.receiving);
        let begun = message.header != 0;
        if !begun {
            let first = *bytes.first().unwrap_or(&0);
            let kind = first >> 4;
            let about = TYPES.get(usize::from(kind)).copied().unwrap_or(0) ^ (first & 0x0F);
            if kind == PUBLISH {
                // §3.3.1
                match first & 0x0E {
                    0x06 | 0x0E => return Err(Violation::QoS.into()),
                    0x08 => return Err(Violation::DupQoS0.into()),
                    _ => {}
                }
            } else if kind == 0 || kind == 15 {
                return Err(Violation::ReservedType.into());
            } else if about & 0x0F != 0 {
                return Err(Violation::ReservedFlags.into()); // [MQTT-2.2.2-2], [MQTT-3.6.1-1]
            }
            let (len, remaining) = remaining_length(bytes);
            let rest = bytes.get(len..).unwrap_or(&[]);
            if len == 0 {
                if bytes.len() > 4 {
                    return Err(Violation::RemainingLength.into());
                }
                told.needed = 1;
                return Ok(());
            }
            if kind != PUBLISH {
                return self.whole_in(kind, about & 0xF0, len, remaining, rest, told);
            }
            // §3.3
            reader = Reader::new(rest);
            let id_len = id_len(first);
            let Some(behind) = remaining.checked_sub(id_len.wrapping_add(2)) else {
                return Err(Violation::Length.into());
            };
            let Some(topic_len) = reader.u16() else {
                told.needed = 2_usize.wrapping_sub(rest.len());
                return Ok(());
            };
            let Some(left) = behind.checked_sub(topic_len.into()) else { return Err(Violation::Length.into()) };
            if topic_len == 0 {
                return Err(Violation::TopicName.into());
            }
            let header = usize::from(topic_len).wrapping_add(id_len);
            message = Receiving {
                left: u32::try_from(left).unwrap_or(u32::MAX),
                header: u32::try_from(header).unwrap_or(0),
                topic_len,
                first,
                ..Receiving::default()
            };
            if header.wrapping_add(2) > self.max_packet.into() {
                if self.link != Link::Connected {
                    return Err(Violation::PacketTooLarge.into());
                }
                // It is passed over.
                told.consumed = bytes.len().wrapping_sub(reader.len());
                self.receiving = message;
                return Ok(());
            }
            // Topic and identifier, or neither: what is there of them counts towards what is needed.
            if reader.len() < header {
                told.needed = header.wrapping_sub(reader.len());
                return Ok(());
            }
        }
        let header = usize::try_from(message.header).unwrap_or(usize::MAX);
        let topic_len = header.saturating_sub(id_len(message.first));
        let topic = reader.rest().get(..topic_len).unwrap_or(reader.rest());
        // Of what is passed over nobody is told, and yet it has to be a topic name. A character may be cut off where more is to
        // come.
        let cut = if is_right(topic, Kind::Name) { 0 } else { cut_off(topic, Kind::Name)? };
        if cut != 0 && topic.len() == topic_len {
            return Err(Violation::NotUtf8.into());
        }
        if reader.len() < header {
            let valid = topic.len().wrapping_sub(cut);
            told.consumed = valid;
            self.receiving.header = u32::try_from(header.wrapping_sub(valid)).unwrap_or(0);
            if valid == 0 {
                // The rest of a character, or of the identifier.
                told.needed = if topic_len == 0 { header.wrapping_sub(reader.len()) } else { 1 };
            }
            return Ok(());
        }
        reader.take(topic_len);
        if id_len(message.first) != 0 {
            message.id = PacketId::new(reader.u16().unwrap_or(0));
            if message.id.is_none() {
                return Err(Violation::ZeroPacketId.into());
            }
        }
        if self.link != Link::Connected {
            return Err(Violation::UnexpectedPacket.into()); // [MQTT-3.2.0-1]
        }
        message.quiet = begun || message.left > self.max_payload;
        let mut duplicate = false;
        if let Some(id) = message.id {
            match self.arriving(message.first & 0x04 != 0, id, message.first & 0x08 != 0) {
                Admission::New => {}
                Admission::Duplicate => duplicate = true,
                Admission::NotNow => return Ok(()),
                Admission::Overflow => {
                    self.lost(); // [MQTT-4.8.0-2]
                    told.what.kind = What::CLOSED;
                    told.what.code = CloseReason::Overflow as u8;
                    return Ok(());
                }
                Admission::Unexpected => return Err(Violation::UnexpectedPacket.into()),
            }
        }
        told.consumed = bytes.len().wrapping_sub(reader.len());
        self.receiving = Receiving { header: 0, quiet: message.quiet || duplicate, ..message };
        if message.left == 0 {
            self.arrived();
        }
        if !duplicate {
            told.what.len = message.left;
            if message.quiet {
                told.what.kind = What::SKIPPED;
                told.topic_len = message.topic_len;
            } else {
                told.what.kind = What::PUBLISH;
                told.what.id = message.id.map_or(0, PacketId::get);
                told.what.qos = (message.first >> 1) & 3;
                told.what.retain = message.first & 1;
                told.what.dup = (message.first >> 3) & 1;
                told.topic = topic;
            }
        }
        Ok(())
    }

    /// A packet of any other type than PUBLISH; `len` bytes of it are its fixed header, and `rest` is behind that.
    #[inline]
    fn whole_in<'i>(
        &mut self,
        kind: u8,
        about: u8,
        len: usize,
        remaining: usize,
        rest: &'i [u8],
        told: &mut Told<'i>,
    ) -> Result<(), Fail> {
        if about == NEVER {
            return Err(Violation::UnexpectedPacket.into());
        }
        if about != ANY && remaining != (if about == NONE { 0 } else { 2 }) {
            return Err(Violation::Length.into());
        }
        if remaining > usize::from(self.max_packet) {
            return Err(Violation::PacketTooLarge.into());
        }
        let Some(body) = rest.get(..remaining) else {
            told.needed = remaining.wrapping_sub(rest.len());
            return Ok(());
        };
        let (id, codes) = match *body {
            [high, low, ref codes @ ..] => (u16::from_be_bytes([high, low]), codes),
            _ if kind == PINGRESP => (1, &[][..]),
            _ => return Err(Violation::Length.into()),
        };
        told.consumed = len.wrapping_add(remaining);
        if kind == CONNACK {
            return self.connack_in(id, told);
        }
        let id = PacketId::new(id).ok_or(Violation::ZeroPacketId)?;
        // [MQTT-3.9.3-2]
        if kind == SUBACK && (codes.is_empty() || codes.iter().any(|code| !matches!(code, 0 | 1 | 2 | 0x80))) {
            return Err(Violation::SubAck.into());
        }
        if self.link != Link::Connected {
            return Err(Violation::UnexpectedPacket.into()); // [MQTT-3.2.0-1]
        }
        let cause = match kind {
            PINGRESP => {
                self.ponged();
                return Ok(());
            }
            4 => Cause::PubAck,
            5 => Cause::PubRec,
            6 => Cause::PubRel,
            7 => Cause::PubComp,
            SUBACK => Cause::SubAck,
            _ => Cause::UnsubAck,
        };
        match self.answered(cause, id, codes.len()) {
            Taken::Done => {
                told.what.kind = (about >> 4).into();
                told.what.id = id.get();
                told.bytes = codes;
            }
            Taken::Quiet => {}
            Taken::NotNow => told.consumed = 0,
            Taken::Unexpected => return Err(Violation::UnexpectedPacket.into()),
            Taken::Miscounted => return Err(Violation::SubAck.into()),
        }
        Ok(())
    }

    /// §3.2
    fn connack_in(&mut self, flags_and_code: u16, told: &mut Told<'_>) -> Result<(), Fail> {
        let [flags, code] = flags_and_code.to_be_bytes();
        // [MQTT-3.2.2-4]; the other seven bits are reserved (§3.2.2.1).
        if flags > 1 || code > ConnectReturnCode::NotAuthorized as u8 || (flags == 1 && code != 0) {
            return Err(Violation::ConnAck.into());
        }
        // [MQTT-3.2.0-1]: it answers CONNECT, once.
        if self.link != Link::Connecting {
            return Err(Violation::UnexpectedPacket.into());
        }
        if code == 0 {
            self.accepted(flags == 1)?;
            told.what.kind = What::CONNECTED;
            told.what.session_present = flags;
        } else {
            self.lost(); // [MQTT-3.2.2-5]
            told.what.kind = What::REFUSED;
            told.what.code = code;
        }
        Ok(())
    }
}

/// Bytes of a fixed header and the length it tells (§2.2.3): seven bits a byte, least significant first, at most four bytes.
/// 0 bytes: they are not all there, or there are more.
#[cfg_attr(feature = "opt-size", inline(never))]
pub(super) fn remaining_length(packet: &[u8]) -> (usize, usize) {
    let (mut len, mut remaining, mut shift) = (1_usize, 0_usize, 0_u32);
    while shift < 28
        && let Some(byte) = packet.get(len)
    {
        len = len.wrapping_add(1);
        remaining |= usize::from(byte & 0x7F) << shift;
        if *byte < 0x80 {
            return (len, remaining);
        }
        shift = shift.wrapping_add(7);
    }
    (0, 0)
}

/// Bytes of a PUBLISH's packet identifier.
pub(super) fn id_len(first: u8) -> usize {
    if first & 0x06 == 0 { 0 } else { 2 }
}
