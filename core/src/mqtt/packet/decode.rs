//! Bytes to packets.
//!
//! What follows shares code, as a microcontroller wants it. On processors of 64 bits it comes second, after `quick`.

use super::{Connect, ConnectReturnCode, Filters, Packet, PacketId, Publish, QoS, Violation, Will};
use crate::{
    mqtt::{
        text::{self, Kind, is_right},
        topic,
    },
    wire::Reader,
};

#[cfg(target_pointer_width = "64")]
mod quick;

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
/// A remaining length that is written in more bytes than it takes, as in 0x80 0x00, is accepted: §2.2.3 says how to encode one
/// and does not forbid it, and four bytes are the most in any case.
///
/// # Errors
/// The [`Violation`], as soon as it shows, and the same however the bytes are cut up.
#[inline]
pub fn decode(bytes: &[u8], max: u32) -> Result<Decoded<'_>, Violation> {
    quick::from_client_or(bytes, max, decode_any)
}

#[inline(never)]
pub(super) fn decode_any(bytes: &[u8], max: u32) -> Result<Decoded<'_>, Violation> {
    decode_of(bytes, max, FROM_CLIENT | FROM_SERVER, |kind, body| match kind {
        CONNECT | SUBSCRIBE | UNSUBSCRIBE | PINGREQ | DISCONNECT => client_packet(kind, body),
        _ => server_packet(kind, body),
    })
}

/// [`decode`] for a server: what only servers send is an [`Violation::UnexpectedPacket`].
///
/// # Errors
/// The [`Violation`].
#[inline]
pub fn decode_from_client(bytes: &[u8], max: u32) -> Result<Decoded<'_>, Violation> {
    quick::from_client_or(bytes, max, decode_any_from_client)
}

#[inline(never)]
pub(super) fn decode_any_from_client(bytes: &[u8], max: u32) -> Result<Decoded<'_>, Violation> {
    decode_of(bytes, max, FROM_CLIENT, client_packet)
}

/// [`decode`] for a client: what only clients send is an [`Violation::UnexpectedPacket`]. It leaves the decoding of
/// those out of a client's program.
///
/// # Errors
/// The [`Violation`].
#[inline]
pub fn decode_from_server(bytes: &[u8], max: u32) -> Result<Decoded<'_>, Violation> {
    quick::from_server_or(bytes, max, decode_any_from_server)
}

#[inline(never)]
pub(super) fn decode_any_from_server(bytes: &[u8], max: u32) -> Result<Decoded<'_>, Violation> {
    decode_of(bytes, max, FROM_SERVER, server_packet)
}

/// Any of the functions above.
trait Decode: Copy + Fn(&[u8], u32) -> Result<Decoded<'_>, Violation> {}

impl<T: Copy + Fn(&[u8], u32) -> Result<Decoded<'_>, Violation>> Decode for T {}

/// Where code is worth more than time, nothing is quicker.
#[cfg(not(target_pointer_width = "64"))]
mod quick {
    use super::{Decode, Decoded, Violation};

    #[inline(always)]
    pub(super) fn from_client_or(bytes: &[u8], max: u32, any: impl Decode) -> Result<Decoded<'_>, Violation> {
        any(bytes, max)
    }

    #[inline(always)]
    pub(super) fn from_server_or(bytes: &[u8], max: u32, any: impl Decode) -> Result<Decoded<'_>, Violation> {
        any(bytes, max)
    }
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

// The same as sets: who sends them (PUBLISH apart), those of flags 0010, and those of two
// bytes or none after the fixed header.
const BOTH: u16 = 1 << PUBACK | 1 << PUBREC | 1 << PUBREL | 1 << PUBCOMP;
const FROM_CLIENT: u16 = BOTH | 1 << CONNECT | 1 << SUBSCRIBE | 1 << UNSUBSCRIBE | 1 << PINGREQ | 1 << DISCONNECT;
const FROM_SERVER: u16 = BOTH | 1 << CONNACK | 1 << SUBACK | 1 << UNSUBACK | 1 << PINGRESP;
const TWO_BYTES: u16 = BOTH | 1 << CONNACK | 1 << UNSUBACK;
const FLAG_2: u16 = 1 << PUBREL | 1 << SUBSCRIBE | 1 << UNSUBSCRIBE;
const NO_BYTES: u16 = 1 << PINGREQ | 1 << PINGRESP | 1 << DISCONNECT;

/// Why there is no packet.
enum Stop {
    Needed(usize),
    Broken(Violation),
}

impl Stop {
    #[inline]
    fn told<'a>(self) -> Result<Decoded<'a>, Violation> {
        match self {
            Self::Needed(needed) => Ok(Decoded::Incomplete { needed }),
            Self::Broken(violation) => Err(violation),
        }
    }
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Broken(violation)
    }
}

/// Fixed header, then a PUBLISH up to its payload or any other packet whole, of which `packet` makes what it is.
/// `allowed` has a bit for each type that may come.
fn decode_of<'a>(
    bytes: &'a [u8],
    max: u32,
    allowed: u16,
    packet: impl FnOnce(u8, Reader<'a>) -> Result<Packet<'a>, Violation>,
) -> Result<Decoded<'a>, Violation> {
    let frame = match Frame::read(bytes) {
        Ok(frame) => frame,
        Err(stop) => return stop.told(),
    };
    if frame.kind() == PUBLISH {
        return publish(&frame, size(max));
    }
    match frame.body(size(max), allowed) {
        Ok(body) => packet(frame.kind(), Reader::new(body))
            .map(|packet| Decoded::Packet { packet, len: frame.header.saturating_add(frame.remaining) }),
        Err(stop) => stop.told(),
    }
}

/// A fixed header (§2.2) and as much of the rest as is there.
struct Frame<'a> {
    first: u8,
    remaining: usize,
    /// Length of the fixed header.
    header: usize,
    rest: &'a [u8],
}

impl<'a> Frame<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Stop> {
        let [first, after @ ..] = bytes else { return Err(Stop::Needed(2)) };
        check_flags(*first)?;
        // §2.2.3: seven bits a byte, least significant first, at most four bytes.
        let (mut remaining, mut rest) = (0_usize, after);
        for shift in [0_u32, 7, 14, 21] {
            let [byte, more @ ..] = rest else { return Err(Stop::Needed(1)) };
            rest = more;
            remaining |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(Self { first: *first, remaining, header: bytes.len().wrapping_sub(rest.len()), rest });
            }
        }
        Err(Violation::RemainingLength.into())
    }

    const fn kind(&self) -> u8 {
        self.first >> 4
    }

    const fn is(&self, kinds: u16) -> bool {
        kinds & (1 << self.kind()) != 0
    }

    /// The first `n` bytes after the fixed header, which are at most `max`.
    fn front(&self, n: usize, max: usize) -> Result<&'a [u8], Stop> {
        if n > self.remaining {
            return Err(Violation::Length.into());
        }
        if n > max {
            return Err(Violation::PacketTooLarge.into());
        }
        self.rest.get(..n).ok_or(Stop::Needed(n.wrapping_sub(self.rest.len())))
    }

    /// All that follows the fixed header.
    fn body(&self, max: usize, allowed: u16) -> Result<&'a [u8], Stop> {
        if !self.is(allowed) {
            return Err(Violation::UnexpectedPacket.into());
        }
        if (self.is(TWO_BYTES) && self.remaining != 2) || (self.is(NO_BYTES) && self.remaining != 0) {
            return Err(Violation::Length.into());
        }
        self.front(self.remaining, max)
    }
}

/// Table 2.2 (`[MQTT-2.2.2-2]`, `[MQTT-3.6.1-1]`, `[MQTT-3.8.1-1]`, `[MQTT-3.10.1-1]`, `[MQTT-3.14.1-1]`); of a PUBLISH,
/// §3.3.1.
const fn check_flags(first: u8) -> Result<(), Violation> {
    let (kind, flags) = (first >> 4, first & 0x0F);
    if kind == PUBLISH {
        return match flags & 0x0E {
            0x06 | 0x0E => Err(Violation::QoS),
            0x08 => Err(Violation::DupQoS0),
            _ => Ok(()),
        };
    }
    if kind == 0 || kind == 15 {
        return Err(Violation::ReservedType);
    }
    let wanted = if FLAG_2 & (1 << kind) != 0 { 0x02 } else { 0 };
    if flags == wanted { Ok(()) } else { Err(Violation::ReservedFlags) }
}

fn client_packet(kind: u8, body: Reader<'_>) -> Result<Packet<'_>, Violation> {
    Ok(match kind {
        CONNECT => Packet::Connect(connect(body)?),
        SUBSCRIBE => {
            let (id, filters) = filters(body, true)?;
            Packet::Subscribe { id, filters }
        }
        UNSUBSCRIBE => {
            let (id, filters) = filters(body, false)?;
            Packet::Unsubscribe { id, filters }
        }
        PINGREQ => Packet::PingReq,
        DISCONNECT => Packet::Disconnect,
        _ => return acknowledgement(kind, body),
    })
}

fn server_packet(kind: u8, body: Reader<'_>) -> Result<Packet<'_>, Violation> {
    Ok(match kind {
        CONNACK => connack(body)?,
        SUBACK => suback(body)?,
        UNSUBACK => Packet::UnsubAck(packet_id(body)?.0),
        PINGRESP => Packet::PingResp,
        _ => return acknowledgement(kind, body),
    })
}

/// What both sides send.
fn acknowledgement(kind: u8, body: Reader<'_>) -> Result<Packet<'_>, Violation> {
    let (id, _) = packet_id(body)?;
    Ok(match kind {
        PUBACK => Packet::PubAck(id),
        PUBREC => Packet::PubRec(id),
        PUBREL => Packet::PubRel(id),
        _ => Packet::PubComp(id),
    })
}

/// §3.3
fn publish<'a>(frame: &Frame<'a>, max: usize) -> Result<Decoded<'a>, Violation> {
    let (qos, topic_len, header) = match publish_head(frame, max) {
        Ok(head) => head,
        Err(stop) => return stop.told(),
    };
    let mut reader = match frame.front(header, max) {
        Ok(front) => Reader::new(front),
        Err(stop) => return stop.told(),
    };
    let topic = reader.take(2).and_then(|_| reader.take(topic_len)).ok_or(Violation::Length)?;
    let topic = topic_name(topic)?;
    let id = if qos == QoS::AtMostOnce { None } else { Some(packet_id(reader)?.0) };
    let payload_len = u32::try_from(frame.remaining.wrapping_sub(header)).map_err(|_| Violation::Length)?;
    let packet = Publish { dup: frame.first & 0x08 != 0, qos, retain: frame.first & 0x01 != 0, topic, id, payload_len };
    Ok(Decoded::Packet { packet: Packet::Publish(packet), len: frame.header.wrapping_add(header) })
}

/// QoS, bytes of the topic, and of all before the payload.
fn publish_head(frame: &Frame<'_>, max: usize) -> Result<(QoS, usize, usize), Stop> {
    // Reserved flags and QoS 3 are out by now.
    let qos = QoS::from_u8((frame.first >> 1) & 0x03).ok_or(Violation::QoS)?;
    let topic_len = Reader::new(frame.front(2, max)?).u16().ok_or(Violation::Length)?.into();
    let header = 2_usize.wrapping_add(topic_len).wrapping_add(if qos == QoS::AtMostOnce { 0 } else { 2 });
    Ok((qos, topic_len, header))
}

/// §3.1
fn connect(mut reader: Reader<'_>) -> Result<Connect<'_>, Violation> {
    let front = reader;
    let Some([0, 4, b'M', b'Q', b'T', b'T', 4, flags, keep_alive @ ..]) = reader.array::<10>() else {
        return Err(other_protocol(front));
    };
    let keep_alive = u16::from_be_bytes(keep_alive);
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
        let topic = topic_name(binary(&mut reader)?)?;
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

/// What is wrong with the first 10 bytes of a CONNECT. Name and level come before anything that another version may have
/// put differently.
#[cold]
fn other_protocol(mut reader: Reader<'_>) -> Violation {
    match string(&mut reader) {
        Err(violation) => violation,
        Ok("MQTT") if reader.peek().is_none_or(|level| level == 4) => Violation::Length,
        Ok("MQTT") => Violation::ProtocolLevel,
        Ok(_) => Violation::ProtocolName,
    }
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
fn filters(reader: Reader<'_>, with_qos: bool) -> Result<(PacketId, Filters<'_>), Violation> {
    let (id, mut reader) = packet_id(reader)?;
    let bytes = reader.rest();
    if bytes.is_empty() {
        return Err(Violation::NoFilter);
    }
    while !reader.is_empty() {
        let filter = binary(&mut reader)?;
        if filter.is_empty() || (!is_right(filter, Kind::Filter) && !topic::bytewise_filter(utf8(filter)?)) {
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
fn suback(reader: Reader<'_>) -> Result<Packet<'_>, Violation> {
    let (id, reader) = packet_id(reader)?;
    let codes = reader.rest();
    if codes.is_empty() || codes.iter().any(|code| !matches!(code, 0 | 1 | 2 | 0x80)) {
        return Err(Violation::SubAck);
    }
    Ok(Packet::SubAck { id, codes })
}

/// And what follows it.
#[inline]
fn packet_id(mut reader: Reader<'_>) -> Result<(PacketId, Reader<'_>), Violation> {
    let id = PacketId::new(reader.u16().ok_or(Violation::Length)?).ok_or(Violation::ZeroPacketId)?;
    Ok((id, reader))
}

#[inline]
fn binary<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Violation> {
    let len = reader.u16().ok_or(Violation::Length)?;
    reader.take(len.into()).ok_or(Violation::Length)
}

/// §1.5.3: every string there is, whatever it is for (`[MQTT-3.1.3-4]`, `[MQTT-3.1.3-10]`, `[MQTT-3.1.3-11]`,
/// `[MQTT-3.3.2-1]`, `[MQTT-3.8.3-1]`, `[MQTT-3.10.3-1]`). U+FEFF is a character like others (`[MQTT-1.5.3-3]`).
fn string<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Violation> {
    let bytes = binary(reader)?;
    text::string(bytes).map_or_else(|| utf8(bytes), Ok)
}

#[inline(never)]
fn utf8(bytes: &[u8]) -> Result<&str, Violation> {
    let text = core::str::from_utf8(bytes).map_err(|_| Violation::NotUtf8)?;
    if text.bytes().any(|byte| byte == 0) { Err(Violation::NullCharacter) } else { Ok(text) }
}

fn topic_name(bytes: &[u8]) -> Result<&str, Violation> {
    match text::name(bytes) {
        Some(name) if !name.is_empty() => Ok(name),
        _ => bytewise_name(bytes),
    }
}

#[inline(never)]
fn bytewise_name(bytes: &[u8]) -> Result<&str, Violation> {
    let name = utf8(bytes)?;
    if !name.is_empty() && topic::bytewise_name(name) { Ok(name) } else { Err(Violation::TopicName) }
}

fn nothing_more(reader: &Reader<'_>) -> Result<(), Violation> {
    if reader.is_empty() { Ok(()) } else { Err(Violation::Length) }
}

fn size(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
