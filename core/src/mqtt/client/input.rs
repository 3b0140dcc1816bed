//! Bytes from the server, cut into packets.
//!
//! Not inlined into one another, the functions write their results where the caller wants them, which takes a fifth
//! less code than merging them all at the end of one.

use super::{
    Client, CloseReason, Event, Receiving,
    flow::{Admission, Cause, Link, Next, Step},
};
use crate::{
    Handled, Instant,
    mqtt::{
        ConnectReturnCode, Error, Packet, PacketId, Publish, QoS, Violation,
        packet::{Decoded, check_name, decode_from_server, oversized_publish},
    },
};

type Taken<'i> = Result<Handled<Event<'i>>, Error>;

/// Not now: something has to be sent or acknowledged first.
const NOT_NOW: Taken<'static> = Ok(Handled::quiet(0));

impl Client<'_> {
    pub(super) fn take_in<'i>(&mut self, now: Instant, bytes: &'i [u8]) -> Taken<'i> {
        let taken = if bytes.is_empty() {
            Ok(Handled::incomplete(1))
        } else if self.receiving.header != 0 {
            self.skip_header(bytes)
        } else if self.receiving.left != 0 {
            Ok(self.payload_in(bytes))
        } else {
            self.packet_in(bytes)
        };
        match &taken {
            Ok(handled) if handled.consumed != 0 => self.bytes_in(now),
            Ok(_) => {}
            Err(_) => self.lost(), // [MQTT-4.8.0-1]
        }
        taken
    }

    #[inline(never)]
    fn payload_in<'i>(&mut self, bytes: &'i [u8]) -> Handled<Event<'i>> {
        let left = usize::try_from(self.receiving.left).unwrap_or(usize::MAX);
        let bytes = bytes.get(..left).unwrap_or(bytes);
        let len = bytes.len();
        self.receiving.left = self.receiving.left.saturating_sub(u32::try_from(len).unwrap_or(u32::MAX));
        let last = self.receiving.left == 0;
        let quiet = self.receiving.quiet;
        if last {
            self.arrived();
        }
        if quiet { Handled::quiet(len) } else { Handled::event(len, Event::Payload { bytes, last }) }
    }

    #[inline(never)]
    fn packet_in<'i>(&mut self, bytes: &'i [u8]) -> Taken<'i> {
        let (packet, len) = match decode_from_server(bytes, self.config.max_packet.into()) {
            Ok(Decoded::Packet { packet, len }) => (packet, len),
            Ok(Decoded::Incomplete { needed }) => return Ok(Handled::incomplete(needed)),
            Err(Violation::PacketTooLarge) if self.link == Link::Connected => return self.oversized(bytes),
            Err(violation) => return Err(violation.into()),
        };
        // [MQTT-3.2.0-1]: CONNACK first, and once.
        if matches!(packet, Packet::ConnAck { .. }) != (self.link == Link::Connecting) {
            return Err(Violation::UnexpectedPacket.into());
        }
        let (id, cause) = match packet {
            Packet::ConnAck { session_present, code: ConnectReturnCode::Accepted } => {
                self.accepted(session_present)?;
                return Ok(Handled::event(len, Event::Connected { session_present }));
            }
            Packet::ConnAck { code, .. } => {
                self.lost(); // [MQTT-3.2.2-5]
                return Ok(Handled::event(len, Event::Refused { code }));
            }
            Packet::Publish(publish) => return self.publish_in(publish, len),
            Packet::PubRel(id) => return if self.released(id)? { Ok(Handled::quiet(len)) } else { NOT_NOW },
            Packet::PingResp => {
                self.ponged();
                return Ok(Handled::quiet(len));
            }
            Packet::PubAck(id) => (id, Cause::PubAck),
            Packet::PubRec(id) => (id, Cause::PubRec),
            Packet::PubComp(id) => (id, Cause::PubComp),
            Packet::UnsubAck(id) => (id, Cause::UnsubAck),
            Packet::SubAck { id, codes } => {
                let asked = self.slots.sent(id).and_then(|index| self.slots.get(index));
                if asked.is_some_and(|slot| slot.step == Step::Subscribe && usize::from(slot.filters) != codes.len()) {
                    return Err(Violation::SubAck.into()); // [MQTT-3.9.3-1]
                }
                (id, Cause::SubAck)
            }
            _ => return Err(Violation::UnexpectedPacket.into()),
        };
        Ok(match self.answered(id, cause)? {
            Next::Gone => Handled::event(
                len,
                match packet {
                    Packet::SubAck { codes, .. } => Event::Subscribed { id, codes },
                    Packet::UnsubAck(_) => Event::Unsubscribed { id },
                    _ => Event::Acknowledged { id },
                },
            ),
            Next::Breach => return NOT_NOW,
            _ => Handled::quiet(len),
        })
    }

    /// Lets a message begin; whether it is one that was told before. `Err`: it does not begin now, and this is to be
    /// answered.
    fn begin<'i>(
        &mut self,
        qos: QoS,
        id: Option<PacketId>,
        dup: bool,
        left: u32,
        quiet: bool,
    ) -> Result<bool, Taken<'i>> {
        let mut duplicate = false;
        if let Some(id) = id {
            match self.arriving(qos, id, dup) {
                Ok(Admission::New) => {}
                Ok(Admission::Duplicate) => duplicate = true,
                Ok(Admission::NotNow) => return Err(NOT_NOW),
                Ok(Admission::Overflow) => {
                    self.lost(); // [MQTT-4.8.0-2]
                    return Err(Ok(Handled::event(0, Event::Closed { reason: CloseReason::Overflow })));
                }
                Err(violation) => return Err(Err(violation.into())),
            }
        }
        self.receiving = Receiving { left, id, quiet: quiet || duplicate, ..Receiving::default() };
        if left == 0 {
            self.arrived();
        }
        Ok(duplicate)
    }

    #[inline(never)]
    fn publish_in<'i>(&mut self, publish: Publish<'i>, len: usize) -> Taken<'i> {
        let Publish { payload_len, .. } = publish;
        let wanted = payload_len <= self.config.max_payload;
        match self.begin(publish.qos, publish.id, publish.dup, payload_len, !wanted) {
            Ok(true) => Ok(Handled::quiet(len)),
            Ok(false) if wanted => Ok(Handled::event(len, Event::Publish(publish))),
            Ok(false) => {
                let topic_len = u16::try_from(publish.topic.len()).unwrap_or(u16::MAX);
                Ok(Handled::event(len, Event::Skipped { topic_len, payload_len }))
            }
            Err(taken) => taken,
        }
    }

    /// A packet that is too large: a PUBLISH is passed over.
    #[inline(never)]
    fn oversized<'i>(&mut self, bytes: &'i [u8]) -> Taken<'i> {
        let (len, publish) = oversized_publish(bytes).ok_or(Violation::PacketTooLarge)?;
        self.receiving = Receiving {
            left: publish.payload_len,
            header: u32::from(publish.topic_len).saturating_add(if publish.qos == QoS::AtMostOnce { 0 } else { 2 }),
            topic_len: publish.topic_len,
            qos: publish.qos,
            ..Receiving::default()
        };
        Ok(Handled::quiet(len))
    }

    /// Topic and packet identifier of a PUBLISH that is passed over.
    #[inline(never)]
    fn skip_header<'i>(&mut self, bytes: &'i [u8]) -> Taken<'i> {
        let Receiving { header, qos, topic_len, left, .. } = self.receiving;
        let id_len = if qos == QoS::AtMostOnce { 0 } else { 2 };
        let header = usize::try_from(header).unwrap_or(usize::MAX);
        let topic = header.saturating_sub(id_len);
        let valid = topic_part(bytes.get(..topic).unwrap_or(bytes), bytes.len() < topic)?;
        let Some(whole) = bytes.get(..header) else {
            let consumed = valid;
            let rest = u32::try_from(header.saturating_sub(consumed)).unwrap_or(0);
            self.receiving.header = rest;
            return Ok(if consumed == 0 {
                // The rest of a character, or of the identifier.
                Handled::incomplete(if topic == 0 { header.saturating_sub(bytes.len()) } else { 1 })
            } else {
                Handled::quiet(consumed)
            });
        };
        let id = match whole.get(topic..) {
            Some(&[high, low]) => Some(PacketId::new(u16::from_be_bytes([high, low])).ok_or(Violation::ZeroPacketId)?),
            _ => None,
        };
        match self.begin(qos, id, false, left, true) {
            Ok(true) => Ok(Handled::quiet(header)),
            Ok(false) => Ok(Handled::event(header, Event::Skipped { topic_len, payload_len: left })),
            Err(taken) => taken,
        }
    }
}

/// How much of `bytes` may be passed over as (part of) a topic name: all but a character cut off at the end, where
/// `more` is to come. Nobody is told of it, and yet it has to be one.
fn topic_part(bytes: &[u8], more: bool) -> Result<usize, Violation> {
    let (valid, error) = match core::str::from_utf8(bytes) {
        Ok(_) => (bytes.len(), None),
        Err(error) => (error.valid_up_to(), Some(error)),
    };
    let text = bytes.get(..valid).and_then(|valid| core::str::from_utf8(valid).ok()).unwrap_or_default();
    check_name(text)?;
    if error.is_some_and(|error| !more || error.error_len().is_some()) {
        return Err(Violation::NotUtf8);
    }
    Ok(valid)
}
