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
    Fail, Handled, Input, Misuse, Peer,
    mqtt::{
        ConnectReturnCode, PacketId, Violation,
        checked::cut_off,
        text::{Kind, is_right},
    },
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
const TYPES: [u8; 15] = [NEVER, NEVER, 0, 0, TOLD, 0, 2, TOLD, NEVER | 2, ANY, NEVER | 2, UNSUBACK, NEVER, NONE, NEVER];
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;

impl Client<'_> {
    /// The short way of what comes most often, whole and about something: PUBACK, PUBREC and PUBCOMP. `None`: it takes the
    /// long way, on which firmware, for less code, has everything.
    #[inline]
    pub(super) fn acknowledgement_in<'i>(&mut self, input: Input<'_>) -> Option<Handled<Event<'i>>> {
        let &[first, 2, high, low, ..] = input.bytes else { return None };
        let cause = match first {
            0x40 => Cause::PUBACK,
            0x50 => Cause::PUBREC,
            0x70 => Cause::PUBCOMP,
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

    pub(super) fn take_in<'i>(&mut self, peer: Peer, bytes: &'i [u8], told: &mut Told<'i>) -> Result<(), Fail> {
        if self.is_closed() {
            return Err(Misuse::NotConnected.into());
        }
        if peer != self.peer {
            return Err(Misuse::UnknownId.into());
        }
        let taken = match bytes.first() {
            None => {
                told.needed = 1;
                Ok(())
            }
            Some(_) if self.receiving.header != 0 => self.header_in(bytes, told),
            Some(_) if self.receiving.left != 0 => {
                self.payload_in(bytes, told);
                Ok(())
            }
            Some(first) => self.packet_in(*first, bytes, told),
        };
        if taken.is_err() {
            self.lost(); // [MQTT-4.8.0-1]
        } else if told.consumed != 0 {
            self.bytes_in();
        }
        taken
    }

    #[inline]
    fn payload_in<'i>(&mut self, bytes: &'i [u8], told: &mut Told<'i>) {
        let left = usize::try_from(self.receiving.left).unwrap_or(usize::MAX);
        let bytes = bytes.get(..left).unwrap_or(bytes);
        told.consumed = bytes.len();
        self.receiving.left = self.receiving.left.wrapping_sub(u32::try_from(bytes.len()).unwrap_or(0));
        let last = self.receiving.left == 0;
        if !self.receiving.quiet {
            told.what.kind = What::PAYLOAD;
            told.what.last = last.into();
            told.bytes = Some(bytes);
        }
        if last {
            self.arrived();
        }
    }

    /// The packet at the front of `bytes`; of a PUBLISH, topic and packet identifier.
    #[inline]
    fn packet_in<'i>(&mut self, first: u8, bytes: &'i [u8], told: &mut Told<'i>) -> Result<(), Fail> {
        let kind = first >> 4;
        let about = TYPES.get(usize::from(kind)).copied().unwrap_or(0) ^ (first & 0x0F);
        if kind == PUBLISH {
            // §3.3.1
            let flags = first & 0x0E;
            if flags & 0x06 == 0x06 {
                return Err(Violation::QoS.into());
            }
            if flags == 0x08 {
                return Err(Violation::DupQoS0.into());
            }
        } else if kind == 0 || kind == 15 {
            return Err(Violation::ReservedType.into());
        } else if about & 0x0F != 0 {
            return Err(Violation::ReservedFlags.into()); // [MQTT-2.2.2-2], [MQTT-3.6.1-1]
        }
        // [MQTT-3.2.0-1]: first comes CONNACK, and that once.
        if self.link != if kind == CONNACK { Link::Connecting } else { Link::Connected } {
            return Err(Violation::UnexpectedPacket.into());
        }
        let (len, remaining) = remaining_length(bytes);
        let Some(rest) = bytes.get(len..).filter(|_| len != 0) else {
            if bytes.len() > 4 {
                return Err(Violation::RemainingLength.into());
            }
            return told.want(1);
        };
        told.consumed = len;
        if kind == PUBLISH {
            self.publish_in(first, remaining, rest, told)
        } else {
            self.whole_in(about & 0xF0, remaining, rest, told, kind)
        }
    }

    /// §3.3; `rest` is behind the fixed header.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn publish_in<'i>(&mut self, first: u8, remaining: usize, rest: &'i [u8], told: &mut Told<'i>) -> Result<(), Fail> {
        let id_len = id_len(first);
        let Some(behind) = remaining.checked_sub(id_len.wrapping_add(2)) else {
            return Err(Violation::Length.into());
        };
        let Some((len, rest)) = rest.split_first_chunk() else { return told.want(2_usize.wrapping_sub(rest.len())) };
        let topic_len = u16::from_be_bytes(*len);
        let Some(left) = behind.checked_sub(topic_len.into()) else { return Err(Violation::Length.into()) };
        if topic_len == 0 {
            return Err(Violation::TopicName.into());
        }
        let header = usize::from(topic_len).wrapping_add(id_len);
        let passed_over = header.wrapping_add(2) > self.max_packet.into();
        // Topic and identifier, or neither: what is there of them counts towards what is needed.
        if !passed_over && rest.len() < header {
            return told.want(header.wrapping_sub(rest.len()));
        }
        told.consumed = told.consumed.wrapping_add(2);
        self.receiving = Receiving {
            left: u32::try_from(left).unwrap_or(u32::MAX),
            header: u32::try_from(header).unwrap_or(0),
            topic_len,
            first,
            ..Receiving::default()
        };
        if passed_over { Ok(()) } else { self.header_in(rest, told) }
    }

    /// Topic and packet identifier of a PUBLISH, or some of those that are passed over: then nothing has been consumed yet.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn header_in<'i>(&mut self, rest: &'i [u8], told: &mut Told<'i>) -> Result<(), Fail> {
        let (begun, id_len) = (told.consumed == 0, id_len(self.receiving.first));
        let header = usize::try_from(self.receiving.header).unwrap_or(usize::MAX);
        let topic_len = header.saturating_sub(id_len);
        let topic = rest.get(..topic_len).unwrap_or(rest);
        // Of what is passed over nobody is told, and yet it has to be a topic name. A character may be cut off where more is to
        // come.
        let cut = if is_right(topic, Kind::Name) { 0 } else { cut_off(topic, Kind::Name)? };
        if cut != 0 && topic.len() == topic_len {
            return Err(Violation::NotUtf8.into());
        }
        if rest.len() < header {
            let valid = topic.len().wrapping_sub(cut);
            told.consumed = valid;
            self.receiving.header = u32::try_from(header.wrapping_sub(valid)).unwrap_or(0);
            if valid == 0 {
                // The rest of a character, or of the identifier.
                told.needed = if topic_len == 0 { header.wrapping_sub(rest.len()) } else { 1 };
            }
            return Ok(());
        }
        let Receiving { left, first, topic_len, .. } = self.receiving;
        told.consumed = told.consumed.wrapping_add(header);
        let id = rest.get(topic.len()..).and_then(<[u8]>::first_chunk).map_or(0, |id| u16::from_be_bytes(*id));
        let id = if id_len == 0 { None } else { Some(PacketId::new(id).ok_or(Violation::ZeroPacketId)?) };
        // (Both are looked at, so that there is one way through what follows.)
        let wanted = !begun & (left <= self.max_payload);
        let admission = id.map_or(Admission::New, |id| self.arriving(first & 0x04 != 0, id, first & 0x08 != 0));
        if admission == Admission::Unexpected {
            return Err(Violation::UnexpectedPacket.into());
        }
        if admission == Admission::Overflow {
            self.lost(); // [MQTT-4.8.0-2]
            told.what.kind = What::CLOSED;
            told.what.code = CloseReason::Overflow as u8;
            return told.want(0);
        }
        if admission == Admission::NotNow {
            if !begun {
                self.receiving = Receiving::default();
            }
            return told.want(0);
        }
        let new = admission == Admission::New;
        self.receiving.header = 0;
        self.receiving.id = id;
        self.receiving.quiet = !(wanted && new);
        if new {
            told.what.len = left;
            told.topic_len = topic_len;
            told.what.kind = What::SKIPPED;
            if wanted {
                told.what.kind = What::PUBLISH;
                told.what.id = id.map_or(0, PacketId::get);
                told.what.qos = (first >> 1) & 3;
                told.what.retain = first & 1;
                told.what.dup = (first >> 3) & 1;
                told.topic = Some(topic);
            }
        }
        if left == 0 {
            self.arrived();
        }
        Ok(())
    }

    /// A packet of any other type than PUBLISH; `rest` is behind the fixed header.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn whole_in<'i>(
        &mut self,
        about: u8,
        remaining: usize,
        rest: &'i [u8],
        told: &mut Told<'i>,
        kind: u8,
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
        let Some(body) = rest.get(..remaining) else { return told.want(remaining.wrapping_sub(rest.len())) };
        told.consumed = told.consumed.wrapping_add(remaining);
        let Some((id, codes)) = body.split_first_chunk() else {
            if about != NONE {
                return Err(Violation::Length.into());
            }
            self.ponged();
            return Ok(());
        };
        let id = u16::from_be_bytes(*id);
        if kind == CONNACK {
            return self.connack_in(id, told);
        }
        let id = PacketId::new(id).ok_or(Violation::ZeroPacketId)?;
        // [MQTT-3.9.3-2]
        if about == ANY && (codes.is_empty() || codes.iter().any(|code| !matches!(code, 0 | 1 | 2 | 0x80))) {
            return Err(Violation::SubAck.into());
        }
        match self.answered(Cause::packet(kind), id, codes.len()) {
            Taken::Done => {
                told.what.kind = (about >> 4).into();
                told.what.id = id.get();
                told.bytes = Some(codes);
                Ok(())
            }
            Taken::Quiet => Ok(()),
            Taken::NotNow => told.want(0),
            Taken::Unexpected => Err(Violation::UnexpectedPacket.into()),
            Taken::Miscounted => Err(Violation::SubAck.into()),
        }
    }

    /// §3.2; flags and return code.
    fn connack_in(&mut self, both: u16, told: &mut Told<'_>) -> Result<(), Fail> {
        // [MQTT-3.2.2-4]; the other seven bits are reserved (§3.2.2.1).
        if both > ConnectReturnCode::NotAuthorized as u16 && both != 0x0100 {
            return Err(Violation::ConnAck.into());
        }
        let [flags, code] = both.to_be_bytes();
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
