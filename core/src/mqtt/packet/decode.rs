//! Bytes to packets.

use super::{Connect, ConnectReturnCode, Filters, Packet, PacketId, Publish, QoS, Violation, Will};
use crate::{mqtt::topic, wire::Reader};

/// What stands at the front of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A packet.
    Packet {
        /// What it says.
        packet: Packet<'a>,
        /// The bytes it took. A PUBLISH ends before its payload.
        len: usize,
    },
    /// Not all of one yet.
    Incomplete {
        /// So many bytes are missing at the least.
        needed: usize,
    },
}

/// Decodes the packet at the front of `bytes`, whichever side it comes from.
///
/// `max` is the largest remaining length accepted; for a PUBLISH, whose payload is no concern here, the largest
/// variable header. So no more than `max` + 5 bytes are ever needed at once.
///
/// # Errors
/// The [`Violation`], as soon as it shows, and the same however the bytes are cut up.
pub fn decode(bytes: &[u8], max: u32) -> Result<Decoded<'_>, Violation> {
    finish(Frame::read(bytes, max).and_then(|frame| match frame.kind() {
        CONNECT | SUBSCRIBE | UNSUBSCRIBE | PINGREQ | DISCONNECT => client_packet(&frame),
        _ => server_packet(&frame),
    }))
}

/// [`decode`] for a server: what only servers send is an [`Violation::UnexpectedPacket`].
///
/// # Errors
/// The [`Violation`].
pub fn decode_from_client(bytes: &[u8], max: u32) -> Result<Decoded<'_>, Violation> {
    finish(Frame::read(bytes, max).and_then(|frame| client_packet(&frame)))
}

/// [`decode`] for a client: what only clients send is an [`Violation::UnexpectedPacket`]. It leaves the decoding of
/// those out of a client's program.
///
/// # Errors
/// The [`Violation`].
pub fn decode_from_server(bytes: &[u8], max: u32) -> Result<Decoded<'_>, Violation> {
    finish(Frame::read(bytes, max).and_then(|frame| server_packet(&frame)))
}

// Control packet types (Table 2.1).
const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;
const SUBSCRIBE: u8 = 8;
const SUBACK: u8 = 9;
const UNSUBSCRIBE: u8 = 10;
const UNSUBACK: u8 = 11;
const PINGREQ: u8 = 12;
const PINGRESP: u8 = 13;
const DISCONNECT: u8 = 14;

/// Why there is no packet.
enum Stop {
    Needed(usize),
    Broken(Violation),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Broken(violation)
    }
}

fn finish(decoded: Result<(Packet<'_>, usize), Stop>) -> Result<Decoded<'_>, Violation> {
    match decoded {
        Ok((packet, len)) => Ok(Decoded::Packet { packet, len }),
        Err(Stop::Needed(needed)) => Ok(Decoded::Incomplete { needed }),
        Err(Stop::Broken(violation)) => Err(violation),
    }
}

/// A fixed header (§2.2) and as much of the rest as is there.
struct Frame<'a> {
    first: u8,
    remaining: usize,
    max: usize,
    /// Length of the fixed header.
    header: usize,
    rest: &'a [u8],
}

impl<'a> Frame<'a> {
    fn read(bytes: &'a [u8], max: u32) -> Result<Self, Stop> {
        let mut reader = Reader::new(bytes);
        let first = reader.u8().ok_or(Stop::Needed(2))?;
        let flags = first & 0x0F;
        // [MQTT-2.2.2-2], [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1], [MQTT-3.14.1-1]
        match first >> 4 {
            0 | 15 => return Err(Violation::ReservedType.into()),
            PUBLISH if flags & 0x06 == 0x06 => return Err(Violation::QoS.into()),
            PUBLISH if flags & 0x0E == 0x08 => return Err(Violation::DupQoS0.into()),
            PUBLISH => {}
            PUBREL | SUBSCRIBE | UNSUBSCRIBE if flags == 0x02 => {}
            PUBREL | SUBSCRIBE | UNSUBSCRIBE => return Err(Violation::ReservedFlags.into()),
            _ if flags != 0 => return Err(Violation::ReservedFlags.into()),
            _ => {}
        }
        // §2.2.3: seven bits a byte, least significant first, at most four bytes.
        let mut remaining = 0_u32;
        for shift in [0_u32, 7, 14, 21] {
            let byte = reader.u8().ok_or(Stop::Needed(1))?;
            remaining |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                let rest = reader.rest();
                let header = bytes.len().saturating_sub(rest.len());
                return Ok(Self { first, remaining: size(remaining), max: size(max), header, rest });
            }
        }
        Err(Violation::RemainingLength.into())
    }

    const fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// The first `n` bytes after the fixed header.
    fn front(&self, n: usize) -> Result<&'a [u8], Stop> {
        if n > self.remaining {
            return Err(Violation::Length.into());
        }
        if n > self.max {
            return Err(Violation::PacketTooLarge.into());
        }
        self.rest.get(..n).ok_or(Stop::Needed(n.saturating_sub(self.rest.len())))
    }

    /// All that follows the fixed header, which is `n` bytes.
    fn exactly(&self, n: usize) -> Result<Reader<'a>, Stop> {
        if self.remaining == n { Ok(Reader::new(self.front(n)?)) } else { Err(Violation::Length.into()) }
    }

    fn whole(&self) -> Result<Reader<'a>, Stop> {
        self.exactly(self.remaining)
    }

    fn len(&self) -> usize {
        self.header.saturating_add(self.remaining)
    }

    /// A packet that holds nothing but a packet identifier.
    fn id(&self) -> Result<PacketId, Stop> {
        Ok(packet_id(&mut self.exactly(2)?)?)
    }
}

fn client_packet<'a>(frame: &Frame<'a>) -> Result<(Packet<'a>, usize), Stop> {
    let packet = match frame.kind() {
        CONNECT => Packet::Connect(connect(frame.whole()?)?),
        SUBSCRIBE => {
            let (id, filters) = filters(frame.whole()?, true)?;
            Packet::Subscribe { id, filters }
        }
        UNSUBSCRIBE => {
            let (id, filters) = filters(frame.whole()?, false)?;
            Packet::Unsubscribe { id, filters }
        }
        PINGREQ => frame.exactly(0).map(|_| Packet::PingReq)?,
        DISCONNECT => frame.exactly(0).map(|_| Packet::Disconnect)?,
        _ => return common_packet(frame),
    };
    Ok((packet, frame.len()))
}

fn server_packet<'a>(frame: &Frame<'a>) -> Result<(Packet<'a>, usize), Stop> {
    let packet = match frame.kind() {
        CONNACK => connack(frame.exactly(2)?)?,
        SUBACK => suback(frame.whole()?)?,
        UNSUBACK => Packet::UnsubAck(frame.id()?),
        PINGRESP => frame.exactly(0).map(|_| Packet::PingResp)?,
        _ => return common_packet(frame),
    };
    Ok((packet, frame.len()))
}

/// What both sides send.
fn common_packet<'a>(frame: &Frame<'a>) -> Result<(Packet<'a>, usize), Stop> {
    let packet = match frame.kind() {
        PUBLISH => return publish(frame),
        PUBACK => Packet::PubAck(frame.id()?),
        PUBREC => Packet::PubRec(frame.id()?),
        PUBREL => Packet::PubRel(frame.id()?),
        PUBCOMP => Packet::PubComp(frame.id()?),
        _ => return Err(Violation::UnexpectedPacket.into()),
    };
    Ok((packet, frame.len()))
}

/// §3.3
fn publish<'a>(frame: &Frame<'a>) -> Result<(Packet<'a>, usize), Stop> {
    // Reserved flags and QoS 3 are out by now.
    let qos = QoS::from_u8((frame.first >> 1) & 0x03).ok_or(Violation::QoS)?;
    let topic_len = Reader::new(frame.front(2)?).u16().ok_or(Violation::Length)?;
    let id_len = if qos == QoS::AtMostOnce { 0 } else { 2 };
    let header = usize::from(topic_len).saturating_add(2).saturating_add(id_len);
    let mut reader = Reader::new(frame.front(header)?);
    let topic = topic_name(&mut reader)?;
    let id = if qos == QoS::AtMostOnce { None } else { Some(packet_id(&mut reader)?) };
    let payload_len = u32::try_from(frame.remaining.saturating_sub(header)).map_err(|_| Violation::Length)?;
    let packet = Publish { dup: frame.first & 0x08 != 0, qos, retain: frame.first & 0x01 != 0, topic, id, payload_len };
    Ok((Packet::Publish(packet), frame.header.saturating_add(header)))
}

/// §3.1
fn connect(mut reader: Reader<'_>) -> Result<Connect<'_>, Violation> {
    // Name and level come before anything that another version may have put differently.
    if string(&mut reader)? != "MQTT" {
        return Err(Violation::ProtocolName);
    }
    if reader.u8().ok_or(Violation::Length)? != 4 {
        return Err(Violation::ProtocolLevel);
    }
    let flags = reader.u8().ok_or(Violation::Length)?;
    let keep_alive = reader.u16().ok_or(Violation::Length)?;
    let has = |bit: u8| flags & bit != 0;
    let (clean_session, with_will, with_password, with_username) = (has(0x02), has(0x04), has(0x40), has(0x80));
    let will_qos = QoS::from_u8((flags >> 3) & 0x03).ok_or(Violation::QoS)?;
    // [MQTT-3.1.2-3], [MQTT-3.1.2-22], [MQTT-3.1.2-11], [MQTT-3.1.2-13], [MQTT-3.1.2-15]
    if has(0x01) || (with_password && !with_username) || (!with_will && has(0x38)) {
        return Err(Violation::ConnectFlags);
    }
    // [MQTT-3.1.3-3]; then what the flags announce, all of it and nothing else: [MQTT-3.1.2-18], [MQTT-3.1.2-19],
    // [MQTT-3.1.2-20], [MQTT-3.1.2-21].
    let client_id = string(&mut reader)?;
    let will = if with_will {
        let topic = topic_name(&mut reader)?;
        Some(Will { topic, payload: binary(&mut reader)?, qos: will_qos, retain: has(0x20) })
    } else {
        None
    };
    let username = if with_username { Some(string(&mut reader)?) } else { None };
    let password = if with_password { Some(binary(&mut reader)?) } else { None };
    nothing_more(&reader)?;
    // Last, for it is answered, and only a packet that is right in all else may be: [MQTT-3.1.4-1].
    if client_id.is_empty() && !clean_session {
        return Err(Violation::ClientId); // [MQTT-3.1.3-8]
    }
    Ok(Connect { client_id, clean_session, keep_alive, will, username, password })
}

/// §3.2
fn connack(mut reader: Reader<'_>) -> Result<Packet<'_>, Violation> {
    let flags = reader.u8().ok_or(Violation::Length)?;
    let code = reader.u8().and_then(ConnectReturnCode::from_u8).ok_or(Violation::ConnAck)?;
    // [MQTT-3.2.2-4]; the other seven bits are reserved (§3.2.2.1).
    if flags > 1 || (flags == 1 && code != ConnectReturnCode::Accepted) {
        return Err(Violation::ConnAck);
    }
    Ok(Packet::ConnAck { session_present: flags == 1, code })
}

/// §3.8, §3.10
fn filters(mut reader: Reader<'_>, with_qos: bool) -> Result<(PacketId, Filters<'_>), Violation> {
    let id = packet_id(&mut reader)?;
    let bytes = reader.rest();
    if bytes.is_empty() {
        return Err(Violation::NoFilter);
    }
    while !reader.is_empty() {
        if !topic::valid_filter(string(&mut reader)?) {
            return Err(Violation::TopicFilter);
        }
        if with_qos {
            // [MQTT-3-8.3-4]: the upper six bits are reserved.
            QoS::from_u8(reader.u8().ok_or(Violation::Length)?).ok_or(Violation::QoS)?;
        }
    }
    Ok((id, Filters { bytes, with_qos }))
}

/// §3.9
fn suback(mut reader: Reader<'_>) -> Result<Packet<'_>, Violation> {
    let id = packet_id(&mut reader)?;
    let codes = reader.rest();
    if codes.is_empty() || codes.iter().any(|code| !matches!(code, 0 | 1 | 2 | 0x80)) {
        return Err(Violation::SubAck);
    }
    Ok(Packet::SubAck { id, codes })
}

fn packet_id(reader: &mut Reader<'_>) -> Result<PacketId, Violation> {
    PacketId::new(reader.u16().ok_or(Violation::Length)?).ok_or(Violation::ZeroPacketId)
}

fn binary<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Violation> {
    let len = reader.u16().ok_or(Violation::Length)?;
    reader.take(len.into()).ok_or(Violation::Length)
}

/// §1.5.3: every string there is, whatever it is for (`[MQTT-3.1.3-4]`, `[MQTT-3.1.3-10]`, `[MQTT-3.1.3-11]`,
/// `[MQTT-3.3.2-1]`, `[MQTT-3.8.3-1]`, `[MQTT-3.10.3-1]`). U+FEFF is a character like others (`[MQTT-1.5.3-3]`).
fn string<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Violation> {
    let text = core::str::from_utf8(binary(reader)?).map_err(|_| Violation::NotUtf8)?;
    if text.bytes().any(|b| b == 0) { Err(Violation::NullCharacter) } else { Ok(text) }
}

fn topic_name<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Violation> {
    let name = string(reader)?;
    if topic::valid_name(name) { Ok(name) } else { Err(Violation::TopicName) }
}

/// Whether `text` may be part of a topic name, or nothing of one.
pub(in crate::mqtt) fn check_name(text: &str) -> Result<(), Violation> {
    match text.bytes().find(|byte| matches!(byte, 0 | b'+' | b'#')) {
        None => Ok(()),
        Some(0) => Err(Violation::NullCharacter), // [MQTT-4.7.3-2]
        Some(_) => Err(Violation::TopicName),     // [MQTT-3.3.2-2]
    }
}

fn nothing_more(reader: &Reader<'_>) -> Result<(), Violation> {
    if reader.is_empty() { Ok(()) } else { Err(Violation::Length) }
}

fn size(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// A PUBLISH whose topic is longer than is accepted.
#[derive(Debug, Clone, Copy)]
pub(in crate::mqtt) struct Oversized {
    pub(in crate::mqtt) qos: QoS,
    pub(in crate::mqtt) topic_len: u16,
    pub(in crate::mqtt) payload_len: u32,
}

/// The fixed header and the topic's length of a PUBLISH that [`decode`] found to be a
/// [`Violation::PacketTooLarge`], and how many bytes these take: what it needs to be passed over. `None` if it is no
/// PUBLISH.
pub(in crate::mqtt) fn oversized_publish(bytes: &[u8]) -> Option<(usize, Oversized)> {
    let frame = Frame::read(bytes, u32::MAX).ok().filter(|frame| frame.kind() == PUBLISH)?;
    let topic_len = Reader::new(frame.rest).u16()?;
    let qos = QoS::from_u8((frame.first >> 1) & 0x03)?;
    let id_len = if qos == QoS::AtMostOnce { 0 } else { 2 };
    let header = usize::from(topic_len).saturating_add(2).saturating_add(id_len);
    let payload_len = u32::try_from(frame.remaining.checked_sub(header)?).ok()?;
    Some((frame.header.saturating_add(2), Oversized { qos, topic_len, payload_len }))
}
