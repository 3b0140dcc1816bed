//! PUBLISH, CONNECT, SUBSCRIBE and acknowledgements as they mostly are, laid out straight. What is not seen to be right here
//! is looked at again by the rest of the decoder, which tells why. Only for processors of 64 bits: on a microcontroller the
//! code would cost more than the time.
//!
//! The functions that are kept apart (`inline(never)`) are so for the registers they leave to others; the cold ones, for the
//! compiler takes what leads to them to be the exception.

use super::{Connect, Decode, Decoded, Filters, Packet, PacketId, Publish, QoS, Violation, Will};
use crate::mqtt::text;
use core::num::NonZeroUsize;

/// Decodes the PUBLISH, CONNECT, SUBSCRIBE or acknowledgement at the front of `bytes`; or what is there, by `any`.
#[inline(always)]
pub(super) fn from_client_or(bytes: &[u8], max: u32, any: impl Decode) -> Result<Decoded<'_>, Violation> {
    match bytes {
        [0x30..=0x3F, ..] => usual_publish_or(bytes, max, any),
        _ => connect_or_subscribe_or(bytes, max, any),
    }
}

/// Decodes the PUBLISH or acknowledgement at the front of `bytes`; or what is there, by `any`.
#[inline(always)]
pub(super) fn from_server_or(bytes: &[u8], max: u32, any: impl Decode) -> Result<Decoded<'_>, Violation> {
    match bytes {
        [0x30..=0x3F, ..] => usual_publish_or(bytes, max, any),
        _ => acknowledgement_or(bytes, max, any),
    }
}

#[inline(never)]
fn connect_or_subscribe_or(bytes: &[u8], max: u32, any: impl Decode) -> Result<Decoded<'_>, Violation> {
    match bytes {
        [0x10, ..] => connect_or(bytes, max, any),
        [0x82, ..] => subscribe_or(bytes, max, any),
        _ => acknowledgement_or(bytes, max, any),
    }
}

/// §3.4 … §3.7
#[inline(never)]
fn acknowledgement_or(bytes: &[u8], max: u32, any: impl Decode) -> Result<Decoded<'_>, Violation> {
    if let [first @ (0x40 | 0x50 | 0x62 | 0x70), 2, high, low, ..] = bytes
        && let Some(id) = PacketId::new(u16::from_be_bytes([*high, *low]))
        && max >= 2
    {
        let packet = match first {
            0x40 => Packet::PubAck(id),
            0x50 => Packet::PubRec(id),
            0x62 => Packet::PubRel(id),
            _ => Packet::PubComp(id),
        };
        return Ok(Decoded::Packet { packet, len: 4 });
    }
    any(bytes, max)
}

#[cold]
#[inline(never)]
fn other(bytes: &[u8], max: u32, any: impl Decode) -> Result<Decoded<'_>, Violation> {
    any(bytes, max)
}

#[inline(never)]
fn usual_publish_or(bytes: &[u8], max: u32, any: impl Decode) -> Result<Decoded<'_>, Violation> {
    match publish(bytes, max, text::usual_name) {
        Some((publish, len)) => Ok(Decoded::Packet { packet: Packet::Publish(publish), len }),
        None => unusual_publish_or(bytes, max, any),
    }
}

#[cold]
#[inline(never)]
fn unusual_publish_or(bytes: &[u8], max: u32, any: impl Decode) -> Result<Decoded<'_>, Violation> {
    match publish(bytes, max, |name| text::name(name).filter(|name| !name.is_empty())) {
        Some((publish, len)) => Ok(Decoded::Packet { packet: Packet::Publish(publish), len }),
        None => any(bytes, max),
    }
}

/// The PUBLISH (§3.3) at the front of `bytes`, and the bytes before its payload, which are all there.
#[inline(always)]
fn publish(bytes: &[u8], max: u32, name: fn(&[u8]) -> Option<&str>) -> Option<(Publish<'_>, usize)> {
    // None is shorter.
    if bytes.len() < 5 {
        return None;
    }
    // §2.2.3: a remaining length of one byte, or of two.
    let (first, remaining, start) = match bytes {
        [first, low @ 0..0x80, ..] => (*first, u32::from(*low), 2_usize),
        [first, low, high @ 0..0x80, ..] => (*first, u32::from(*low & 0x7F) | u32::from(*high) << 7, 3),
        _ => return None,
    };
    // [MQTT-3.3.1-4], [MQTT-3.3.1-2]; and the lengths of topic length and packet identifier.
    let (qos, lens) = match first {
        0x30 | 0x31 => (QoS::AtMostOnce, 2),
        0x32 | 0x33 | 0x3A | 0x3B => (QoS::AtLeastOnce, 4),
        0x34 | 0x35 | 0x3C | 0x3D => (QoS::ExactlyOnce, 4),
        _ => return None,
    };
    let topic_len = usize::from(u16::from_be_bytes(*bytes.get(start..)?.first_chunk()?));
    let variable = topic_len.wrapping_add(lens);
    let payload_len = remaining.checked_sub(variable as u32)?;
    if variable as u32 > max {
        return None;
    }
    let len = start.wrapping_add(variable);
    let header = bytes.get(..len)?;
    let topic = name(header.get(start.wrapping_add(2)..)?.get(..topic_len)?)?;
    let id = match lens {
        2 => None,
        _ => Some(PacketId::new(u16::from_be_bytes(*header.last_chunk()?))?),
    };
    Some((Publish { dup: first & 0x08 != 0, qos, retain: first & 0x01 != 0, topic, id, payload_len }, len))
}

#[inline(never)]
fn connect_or(bytes: &[u8], max: u32, any: impl Decode) -> Result<Decoded<'_>, Violation> {
    match connect(bytes, max) {
        Some((connect, len)) => Ok(Decoded::Packet { packet: Packet::Connect(connect), len }),
        None => other(bytes, max, any),
    }
}

/// The CONNECT (§3.1) at the front of `bytes`, and how long it is.
#[inline(always)]
fn connect(bytes: &[u8], max: u32) -> Option<(Connect<'_>, usize)> {
    let [_, remaining @ 12..0x80, protocol @ .., high, low, _, _] = bytes.first_chunk::<14>()? else { return None };
    let keep_alive = u16::from_be_bytes([*high, *low]);
    let protocol = u64::from_be_bytes(*protocol);
    let flags = protocol as u8;
    let has = |bit: u8| flags & bit != 0;
    let (clean_session, with_will, with_password, with_username) = (has(0x02), has(0x04), has(0x40), has(0x80));
    if protocol >> 8 != u64::from_be_bytes(*b"\0\0\x04MQTT\x04")
        || u32::from(*remaining) > max
        || has(0x01)
        || (with_password && !with_username)
        || (!with_will && has(0x38))
    {
        return None;
    }
    let len = usize::from(*remaining).wrapping_add(2);
    let packet = bytes.get(..len)?;
    let (start, mut end) = field(packet, 12)?;
    let client_id = text::usual_in::<false>(packet, start, end)?;
    let mut will = None;
    if with_will {
        let (start, topic_end) = field(packet, end)?;
        let topic = text::usual_in::<true>(packet, start, topic_end)?;
        let start;
        (start, end) = field(packet, topic_end)?;
        let qos = QoS::from_u8(flags >> 3 & 0x03)?;
        will = Some(Will { topic, payload: packet.get(start..end)?, qos, retain: has(0x20) });
    }
    let mut username = None;
    if with_username {
        let start;
        (start, end) = field(packet, end)?;
        username = Some(text::usual_in::<false>(packet, start, end)?);
    }
    let mut password = None;
    if with_password {
        let start;
        (start, end) = field(packet, end)?;
        password = Some(packet.get(start..end)?);
    }
    if end != len {
        return None;
    }
    Some((Connect { client_id, clean_session, keep_alive, will, username, password }, len))
}

/// Where the field whose length is at `at` starts and ends.
#[inline(always)]
fn field(packet: &[u8], at: usize) -> Option<(usize, usize)> {
    let len = u16::from_be_bytes(*packet.get(at..)?.first_chunk()?);
    let start = at.wrapping_add(2);
    let end = start.wrapping_add(len.into());
    if end > packet.len() { None } else { Some((start, end)) }
}

#[inline(never)]
fn subscribe_or(bytes: &[u8], max: u32, any: impl Decode) -> Result<Decoded<'_>, Violation> {
    if let Some(len) = subscribe_len(bytes, max)
        && let Some([_, _, high, low, filters @ ..]) = bytes.get(..len.get())
        && let Some(id) = PacketId::new(u16::from_be_bytes([*high, *low]))
    {
        let filters = Filters { bytes: filters, with_qos: true };
        return Ok(Decoded::Packet { packet: Packet::Subscribe { id, filters }, len: len.get() });
    }
    other(bytes, max, any)
}

/// How long the SUBSCRIBE (§3.8) at the front of `bytes` is, if its filters are right.
#[inline(never)]
fn subscribe_len(bytes: &[u8], max: u32) -> Option<NonZeroUsize> {
    let [_, remaining @ 6..0x80, ..] = bytes else { return None };
    if u32::from(*remaining) > max {
        return None;
    }
    let len = usize::from(*remaining).wrapping_add(2);
    let mut rest = bytes.get(4..len)?;
    while let Some((len, behind)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes(*len));
        let qos = *behind.get(len)?;
        if qos > 2 || !text::is_filter(behind.get(..len)?) {
            return None;
        }
        rest = behind.get(len.wrapping_add(1)..)?;
    }
    if rest.is_empty() { NonZeroUsize::new(len) } else { None }
}
