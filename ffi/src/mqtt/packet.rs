//! Packets, for tools and tests: the client decodes by itself.
#![allow(non_camel_case_types, reason = "C's names")]

use super::{waft_mqtt_connect_t, waft_mqtt_filter_t};
use crate::{
    error::{Fail, result},
    handle::{Out, lent},
    types::{waft_bytes_t, waft_handled_t, waft_str_t},
};
use waft::{
    Misuse,
    mqtt::packet::{Connect, Decoded, Filters, Packet, Publish, decode},
};

/// CONNECT (MQTT 3.1.1 §3.1): `connect`.
pub const WAFT_MQTT_PACKET_CONNECT: u8 = 1;
/// CONNACK (§3.2): `session_present`, `code`.
pub const WAFT_MQTT_PACKET_CONNACK: u8 = 2;
/// PUBLISH (§3.3) up to its payload of `payload_len` bytes: `topic`, `qos`, `retain`, `dup`, `id`.
pub const WAFT_MQTT_PACKET_PUBLISH: u8 = 3;
/// PUBACK (§3.4): `id`.
pub const WAFT_MQTT_PACKET_PUBACK: u8 = 4;
/// PUBREC (§3.5): `id`.
pub const WAFT_MQTT_PACKET_PUBREC: u8 = 5;
/// PUBREL (§3.6): `id`.
pub const WAFT_MQTT_PACKET_PUBREL: u8 = 6;
/// PUBCOMP (§3.7): `id`.
pub const WAFT_MQTT_PACKET_PUBCOMP: u8 = 7;
/// SUBSCRIBE (§3.8): `id`, `filters`.
pub const WAFT_MQTT_PACKET_SUBSCRIBE: u8 = 8;
/// SUBACK (§3.9): `id`, and in `codes`, for each filter, the QoS granted or 128.
pub const WAFT_MQTT_PACKET_SUBACK: u8 = 9;
/// UNSUBSCRIBE (§3.10): `id`, `filters`.
pub const WAFT_MQTT_PACKET_UNSUBSCRIBE: u8 = 10;
/// UNSUBACK (§3.11): `id`.
pub const WAFT_MQTT_PACKET_UNSUBACK: u8 = 11;
/// PINGREQ (§3.12).
pub const WAFT_MQTT_PACKET_PINGREQ: u8 = 12;
/// PINGRESP (§3.13).
pub const WAFT_MQTT_PACKET_PINGRESP: u8 = 13;
/// DISCONNECT (§3.14).
pub const WAFT_MQTT_PACKET_DISCONNECT: u8 = 14;

/// The filters of a SUBSCRIBE or an UNSUBSCRIBE. Copy it to go through them more than once.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_mqtt_filters_t {
    /// Those that are left, in their form on the wire.
    pub bytes: waft_bytes_t,
    /// 1: with the QoS wanted, as in a SUBSCRIBE.
    pub with_qos: u8,
}

/// A packet. Members that a kind does not name are 0 or empty; pointers point into what was decoded.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_mqtt_packet_t {
    /// What a CONNECT says.
    pub connect: waft_mqtt_connect_t,
    /// A topic name.
    pub topic: waft_str_t,
    /// Topic filters.
    pub filters: waft_mqtt_filters_t,
    /// Return codes of a SUBACK.
    pub codes: waft_bytes_t,
    /// Bytes of payload that follow a PUBLISH.
    pub payload_len: u32,
    /// A packet identifier; 0 for none.
    pub id: u16,
    /// WAFT_MQTT_PACKET_...; 0 where the packet is not all there.
    pub kind: u8,
    /// 0 to 2.
    pub qos: u8,
    /// 1: retained.
    pub retain: u8,
    /// 1: perhaps sent before.
    pub dup: u8,
    /// 1: the server kept the session.
    pub session_present: u8,
    /// A CONNACK's return code, 0 to 5.
    pub code: u8,
}

impl waft_mqtt_packet_t {
    const NONE: Self = Self {
        connect: waft_mqtt_connect_t {
            client_id: waft_str_t::EMPTY,
            will_topic: waft_str_t::EMPTY,
            will_payload: waft_bytes_t::EMPTY,
            username: waft_str_t::EMPTY,
            password: waft_bytes_t::EMPTY,
            keep_alive: 0,
            will_qos: 0,
            will_retain: 0,
            clean_session: 0,
        },
        topic: waft_str_t::EMPTY,
        filters: waft_mqtt_filters_t { bytes: waft_bytes_t::EMPTY, with_qos: 0 },
        codes: waft_bytes_t::EMPTY,
        payload_len: 0,
        id: 0,
        kind: 0,
        qos: 0,
        retain: 0,
        dup: 0,
        session_present: 0,
        code: 0,
    };

    fn of(packet: &Packet<'_>) -> Self {
        let with = |kind, id: waft::mqtt::PacketId| Self { kind, id: id.get(), ..Self::NONE };
        let filters = |filters: &Filters<'_>, with_qos| waft_mqtt_filters_t {
            bytes: waft_bytes_t::of(filters.as_bytes()),
            with_qos,
        };
        match packet {
            Packet::Connect(connect) => {
                Self { kind: WAFT_MQTT_PACKET_CONNECT, connect: waft_mqtt_connect_t::of(connect), ..Self::NONE }
            }
            Packet::ConnAck { session_present, code } => Self {
                kind: WAFT_MQTT_PACKET_CONNACK,
                session_present: u8::from(*session_present),
                code: *code as u8,
                ..Self::NONE
            },
            Packet::Publish(Publish { dup, qos, retain, topic, id, payload_len }) => Self {
                kind: WAFT_MQTT_PACKET_PUBLISH,
                topic: waft_str_t::of(topic),
                payload_len: *payload_len,
                id: id.map_or(0, waft::mqtt::PacketId::get),
                qos: *qos as u8,
                retain: u8::from(*retain),
                dup: u8::from(*dup),
                ..Self::NONE
            },
            Packet::PubAck(id) => with(WAFT_MQTT_PACKET_PUBACK, *id),
            Packet::PubRec(id) => with(WAFT_MQTT_PACKET_PUBREC, *id),
            Packet::PubRel(id) => with(WAFT_MQTT_PACKET_PUBREL, *id),
            Packet::PubComp(id) => with(WAFT_MQTT_PACKET_PUBCOMP, *id),
            Packet::Subscribe { id, filters: list } => {
                Self { filters: filters(list, 1), ..with(WAFT_MQTT_PACKET_SUBSCRIBE, *id) }
            }
            Packet::SubAck { id, codes } => {
                Self { codes: waft_bytes_t::of(codes), ..with(WAFT_MQTT_PACKET_SUBACK, *id) }
            }
            Packet::Unsubscribe { id, filters: list } => {
                Self { filters: filters(list, 0), ..with(WAFT_MQTT_PACKET_UNSUBSCRIBE, *id) }
            }
            Packet::UnsubAck(id) => with(WAFT_MQTT_PACKET_UNSUBACK, *id),
            Packet::PingReq => Self { kind: WAFT_MQTT_PACKET_PINGREQ, ..Self::NONE },
            Packet::PingResp => Self { kind: WAFT_MQTT_PACKET_PINGRESP, ..Self::NONE },
            Packet::Disconnect => Self { kind: WAFT_MQTT_PACKET_DISCONNECT, ..Self::NONE },
        }
    }
}

impl waft_mqtt_connect_t {
    fn of(connect: &Connect<'_>) -> Self {
        let will = connect.will.as_ref();
        Self {
            client_id: waft_str_t::of(connect.client_id),
            will_topic: will.map_or(waft_str_t::EMPTY, |will| waft_str_t::of(will.topic)),
            will_payload: will.map_or(waft_bytes_t::EMPTY, |will| waft_bytes_t::of(will.payload)),
            username: connect.username.map_or(waft_str_t::EMPTY, waft_str_t::of),
            password: connect.password.map_or(waft_bytes_t::EMPTY, waft_bytes_t::of),
            keep_alive: connect.keep_alive,
            will_qos: will.map_or(0, |will| will.qos as u8),
            will_retain: will.map_or(0, |will| u8::from(will.retain)),
            clean_session: u8::from(connect.clean_session),
        }
    }
}

/// Decodes the packet at the front of `bytes`, whichever side it comes from. A PUBLISH ends before its payload. A
/// client does it by itself: this is for tools and tests.
///
/// `max` is the largest remaining length accepted; of a PUBLISH, the largest variable header. Where the packet is not
/// all there, `packet->kind` and `handled->consumed` are 0, and `handled->needed` is how many bytes are missing at the
/// least.
///
/// -64 to -83: the rule that it breaks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_decode(
    bytes: waft_bytes_t,
    max: u32,
    handled: *mut waft_handled_t,
    packet: *mut waft_mqtt_packet_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the bytes and the places of the results.
        unsafe {
            let (handled, out) = (Out::new(handled)?, Out::new(packet)?);
            match decode(bytes.lent()?, max).map_err(waft::Error::Peer)? {
                Decoded::Packet { packet, len } => {
                    handled.set(waft_handled_t { consumed: len, needed: 0 });
                    out.set(waft_mqtt_packet_t::of(&packet));
                }
                Decoded::Incomplete { needed } => {
                    handled.set(waft_handled_t { consumed: 0, needed });
                    out.set(waft_mqtt_packet_t::NONE);
                }
            }
        }
        Ok(())
    })())
}

/// Takes the next filter out of `filters`. 1 where there was one, 0 at the end; then `*filter` is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_filters_next(
    filters: *mut waft_mqtt_filters_t,
    filter: *mut waft_mqtt_filter_t,
) -> i32 {
    let next = || -> Result<bool, Fail> {
        // SAFETY: C lends the filters, what they were decoded from, and the place of the filter.
        unsafe {
            let (out, rest) = (Out::new(filter)?, Out::new(filters)?);
            let given = lent(filters, 1)?.first().ok_or(Misuse::NullPointer)?;
            let mut left = Filters::from_parts(given.bytes.lent()?, given.with_qos != 0);
            let Some((text, qos)) = left.next() else { return Ok(false) };
            rest.set(waft_mqtt_filters_t { bytes: waft_bytes_t::of(left.as_bytes()), ..*given });
            out.set(waft_mqtt_filter_t { filter: waft_str_t::of(text), qos: qos as u8 });
        }
        Ok(true)
    };
    next().map_or_else(Fail::code, i32::from)
}
