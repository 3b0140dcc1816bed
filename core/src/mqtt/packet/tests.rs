//! What the codec promises, by packet and by breach.

use super::*;
use crate::{error::Code, wire::Writer};
use proptest::prelude::*;
use std::{string::String, vec::Vec};

const MAX: u32 = 1 << 20;

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut buf = std::vec![0; packet.encoded_len()];
    let mut writer = Writer::new(&mut buf);
    packet.encode(&mut writer);
    writer.finish().expect("encoded_len is right").to_vec()
}

/// Decoded whole; and no shorter front of it gives anything but "more".
fn decoded(bytes: &[u8]) -> Result<Packet<'_>, Violation> {
    for end in 0..bytes.len() {
        match decode(&bytes[..end], MAX) {
            Ok(Decoded::Incomplete { needed }) => assert!(needed >= 1 && end + needed <= bytes.len()),
            Ok(Decoded::Packet { .. }) => panic!("decoded from {end} of {} bytes", bytes.len()),
            Err(violation) => {
                assert_eq!(decode(bytes, MAX), Err(violation), "the cut changes the breach");
                return Err(violation);
            }
        }
    }
    match decode(bytes, MAX)? {
        Decoded::Packet { packet, len } => {
            assert_eq!(len, bytes.len());
            Ok(packet)
        }
        Decoded::Incomplete { needed } => panic!("{needed} missing"),
    }
}

fn id(n: u16) -> PacketId {
    PacketId::new(n).unwrap()
}

#[test]
fn violations_are_numbered_within_their_range() {
    assert!(Violation::ALL.iter().all(|v| (-83..=-64).contains(&v.code())));
    assert_eq!(Violation::ReservedType.code(), -64);
    assert_eq!(Violation::DupQoS0.name(), "DupQoS0");
}

#[test]
fn the_examples_of_the_standard_come_out_byte_for_byte() {
    // Figure 3.6
    let connect = Connect {
        client_id: "",
        clean_session: true,
        keep_alive: 10,
        will: Some(Will { topic: "w", payload: b"x", qos: QoS::AtLeastOnce, retain: false }),
        username: Some("u"),
        password: Some(b"p"),
    };
    let bytes = encoded(&Packet::Connect(connect));
    assert_eq!(bytes[..12], [0x10, 24, 0, 4, b'M', b'Q', b'T', b'T', 4, 0b1100_1110, 0, 10]);
    assert_eq!(bytes[12..], *b"\x00\x00\x00\x01w\x00\x01x\x00\x01u\x00\x01p");
    assert_eq!(decoded(&bytes), Ok(Packet::Connect(connect)));
    // Figure 3.11
    let publish =
        Publish { dup: false, qos: QoS::AtLeastOnce, retain: false, topic: "a/b", id: Some(id(10)), payload_len: 0 };
    assert_eq!(encoded(&Packet::Publish(publish)), *b"\x32\x07\x00\x03a/b\x00\x0a");
    // Figures 3.23 and 3.32
    let mut buf = [0; 32];
    let mut writer = Writer::new(&mut buf);
    let filters = [("a/b", QoS::AtLeastOnce), ("c/d", QoS::ExactlyOnce)];
    encode_subscribe(&mut writer, id(10), &filters);
    let bytes = writer.finish().unwrap();
    assert_eq!(bytes, b"\x82\x0e\x00\x0a\x00\x03a/b\x01\x00\x03c/d\x02");
    assert_eq!(bytes.len(), subscribe_len(&filters));
    let Ok(Packet::Subscribe { id: subscribe_id, filters: found }) = decoded(bytes) else { panic!() };
    assert_eq!(subscribe_id, id(10));
    assert!(found.eq(filters));
    let mut buf = [0; 32];
    let mut writer = Writer::new(&mut buf);
    encode_unsubscribe(&mut writer, id(10), &["a/b", "c/d"]);
    let bytes = writer.finish().unwrap();
    assert_eq!(bytes, b"\xa2\x0c\x00\x0a\x00\x03a/b\x00\x03c/d");
    assert_eq!(bytes.len(), unsubscribe_len(&["a/b", "c/d"]));
    let Ok(Packet::Unsubscribe { filters, .. }) = decoded(bytes) else { panic!() };
    assert!(filters.map(|(f, _)| f).eq(["a/b", "c/d"]));
}

#[test]
fn small_packets_decode_to_what_was_encoded() {
    for packet in [
        Packet::ConnAck { session_present: true, code: ConnectReturnCode::Accepted },
        Packet::ConnAck { session_present: false, code: ConnectReturnCode::NotAuthorized },
        Packet::PubAck(id(1)),
        Packet::PubRec(id(0x1234)),
        Packet::PubRel(id(0xFFFF)),
        Packet::PubComp(id(0x100)),
        Packet::SubAck { id: id(9), codes: &[0, 1, 2, 0x80] },
        Packet::UnsubAck(id(77)),
        Packet::PingReq,
        Packet::PingResp,
        Packet::Disconnect,
    ] {
        assert_eq!(decoded(&encoded(&packet)), Ok(packet));
    }
}

#[test]
fn remaining_lengths_change_size_where_table_2_4_says() {
    for (payload_len, header) in
        [(124, 2), (125, 3), (16_380, 3), (16_381, 4), (2_097_148, 4), (2_097_149, 5), (268_435_452, 5)]
    {
        let publish = Publish { dup: false, qos: QoS::AtMostOnce, retain: true, topic: "t", id: None, payload_len };
        let bytes = encoded(&Packet::Publish(publish));
        assert_eq!(bytes.len(), header + 3);
        assert_eq!(decoded(&bytes), Ok(Packet::Publish(publish)), "{payload_len}");
    }
}

#[test]
fn each_breach_has_its_own_violation() {
    use Violation::*;
    let cases: &[(&[u8], Violation)] = &[
        (b"\x00\x00", ReservedType),
        (b"\xf0\x00", ReservedType),
        (b"\x11\x00", ReservedFlags),
        (b"\x60\x02\x00\x01", ReservedFlags), // [MQTT-3.6.1-1]
        (b"\x80\x02\x00\x01", ReservedFlags), // [MQTT-3.8.1-1]
        (b"\xa0\x02\x00\x01", ReservedFlags), // [MQTT-3.10.1-1]
        (b"\xe1\x00", ReservedFlags),         // [MQTT-3.14.1-1]
        (b"\x30\x80\x80\x80\x80\x01", RemainingLength),
        (b"\x30\xff\xff\xff\xff", RemainingLength),
        (b"\x40\x03\x00\x01\x00", Length),
        (b"\x40\x01\x01", Length),
        (b"\xc0\x01\x00", Length),
        (b"\x30\x01\x00", Length),
        (b"\x30\x03\x00\x02a", Length),
        (b"\x32\x05\x00\x02ab\x00", Length),
        (b"\x30\x04\x00\x02\xc3\x28", NotUtf8),
        (b"\x30\x05\x00\x03\xed\xa0\x80", NotUtf8), // U+D800, [MQTT-1.5.3-1]
        (b"\x30\x05\x00\x03a\x00b", NullCharacter),
        (b"\x40\x02\x00\x00", ZeroPacketId),
        (b"\x32\x05\x00\x01a\x00\x00", ZeroPacketId),
        (b"\x36\x05\x00\x01a\x00\x01", QoS),
        (b"\x38\x03\x00\x01a", DupQoS0),
        (b"\x30\x02\x00\x00", TopicName),
        (b"\x30\x03\x00\x01#", TopicName),
        (b"\x30\x05\x00\x03a/+", TopicName),
        (b"\x82\x02\x00\x01", NoFilter),
        (b"\xa2\x02\x00\x01", NoFilter),
        (b"\x82\x05\x00\x01\x00\x00\x00", TopicFilter),
        (b"\x82\x07\x00\x01\x00\x02a#\x00", TopicFilter),
        (b"\xa2\x06\x00\x01\x00\x02+a", TopicFilter),
        (b"\x82\x06\x00\x01\x00\x01a\x03", QoS),
        (b"\x82\x06\x00\x01\x00\x01a\x04", QoS), // [MQTT-3-8.3-4]
        (b"\x82\x05\x00\x01\x00\x01a", Length),
        (b"\x20\x02\x02\x00", ConnAck),
        (b"\x20\x02\x00\x06", ConnAck),
        (b"\x20\x02\x01\x05", ConnAck), // [MQTT-3.2.2-4]
        (b"\x20\x03\x00\x00\x00", Length),
        (b"\x90\x02\x00\x01", SubAck),
        (b"\x90\x03\x00\x01\x03", SubAck),
        (b"\x82\xff\xff\xff\x7f\x00", PacketTooLarge),
        (b"\x10\x0a\x00\x04MQTX\x04\x02\x00\x00", ProtocolName),
        (b"\x10\x0a\x00\x04MQTT\x05\x02\x00\x00", ProtocolLevel),
        (b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00", ClientId),
        (b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x00\x00\x00", ConnectFlags), // [MQTT-3.1.2-3]
        (b"\x10\x0c\x00\x04MQTT\x04\x42\x00\x00\x00\x00", ConnectFlags), // [MQTT-3.1.2-22]
        (b"\x10\x0c\x00\x04MQTT\x04\x0a\x00\x00\x00\x00", ConnectFlags), // [MQTT-3.1.2-13]
        (b"\x10\x0c\x00\x04MQTT\x04\x22\x00\x00\x00\x00", ConnectFlags), // [MQTT-3.1.2-15]
        (b"\x10\x0c\x00\x04MQTT\x04\x1e\x00\x00\x00\x00", QoS),          // [MQTT-3.1.2-14]
        (b"\x10\x0c\x00\x04MQTT\x04\x06\x00\x00\x00\x00", Length),       // [MQTT-3.1.2-9]
        (b"\x10\x0c\x00\x04MQTT\x04\x82\x00\x00\x00\x00", Length),       // [MQTT-3.1.2-19]
        (b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x00\x00", Length),   // [MQTT-3.1.2-18]
        (b"\x10\x11\x00\x04MQTT\x04\x06\x00\x00\x00\x00\x00\x01+\x00\x00", TopicName),
    ];
    for (bytes, violation) in cases {
        assert_eq!(decoded(bytes), Err(*violation), "{bytes:02x?}");
    }
    let found: Vec<_> = cases.iter().map(|(_, v)| *v).collect();
    assert!(Violation::ALL.iter().all(|v| found.contains(v) || *v == UnexpectedPacket));
}

#[test]
fn each_side_has_packets_only_it_may_send() {
    let only_client: &[&[u8]] =
        &[b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00", b"\x82\x06\x00\x01\x00\x01a\x00", b"\xc0\x00", b"\xe0\x00"];
    let only_server: &[&[u8]] = &[b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x00", b"\xb0\x02\x00\x01", b"\xd0\x00"];
    for bytes in only_client {
        assert!(matches!(decode_from_client(bytes, MAX), Ok(Decoded::Packet { .. })));
        assert_eq!(decode_from_server(bytes, MAX), Err(Violation::UnexpectedPacket));
    }
    for bytes in only_server {
        assert!(matches!(decode_from_server(bytes, MAX), Ok(Decoded::Packet { .. })));
        assert_eq!(decode_from_client(bytes, MAX), Err(Violation::UnexpectedPacket));
    }
}

#[test]
fn a_zero_width_no_break_space_is_a_character_like_any_other() {
    // [MQTT-1.5.3-3]
    let Ok(Packet::Publish(publish)) = decoded(b"\x30\x06\x00\x04\xef\xbb\xbfa") else { panic!() };
    assert_eq!(publish.topic, "\u{feff}a");
}

#[test]
fn the_limit_counts_the_variable_header_of_a_publish_only() {
    let bytes = b"\x30\xff\xff\xff\x7f\x00\x03abc";
    assert!(matches!(decode(bytes, 5), Ok(Decoded::Packet { len: 10, .. })));
    assert_eq!(decode(bytes, 4), Err(Violation::PacketTooLarge));
    assert_eq!(decode(b"\x90\x05\x00\x01\x00\x00\x00", 4), Err(Violation::PacketTooLarge));
}

#[test]
fn a_connect_that_may_not_be_sent_is_told() {
    let good = Connect { client_id: "c", ..Connect::default() };
    assert_eq!(good.check(), Ok(()));
    assert_eq!(Connect { client_id: "", clean_session: false, ..good }.check(), Err(Misuse::InvalidOption));
    assert_eq!(Connect { password: Some(b"p"), ..good }.check(), Err(Misuse::InvalidOption));
    assert_eq!(Connect { client_id: "a\0", ..good }.check(), Err(Misuse::InvalidString));
    let long = std::vec![b'a'; 65_536];
    assert_eq!(Connect { username: Some("u"), password: Some(&long), ..good }.check(), Err(Misuse::InvalidString));
    let will = Some(Will { topic: "#", payload: b"", qos: QoS::AtMostOnce, retain: false });
    assert_eq!(Connect { will, ..good }.check(), Err(Misuse::InvalidTopic));
}

fn text() -> impl Strategy<Value = String> {
    "[^\u{0}]{0,20}"
}

proptest! {
    #[test]
    fn any_connect_survives_the_wire(
        client_id in text(), clean in any::<bool>(), keep_alive: u16,
        will in proptest::option::of(("[^\u{0}+#]{1,9}", proptest::collection::vec(any::<u8>(), 0..9), 0..3u8, any::<bool>())),
        user in proptest::option::of((text(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)))),
        room: prop::sample::Index,
    ) {
        let connect = Connect {
            client_id: &client_id,
            clean_session: clean || client_id.is_empty(),
            keep_alive,
            will: will.as_ref().map(|(topic, payload, qos, retain)| Will { topic, payload, qos: QoS::from_u8(*qos).unwrap(), retain: *retain }),
            username: user.as_ref().map(|(name, _)| name.as_str()),
            password: user.as_ref().and_then(|(_, password)| password.as_deref()),
        };
        prop_assert_eq!(connect.check(), Ok(()));
        let bytes = encoded(&Packet::Connect(connect));
        prop_assert_eq!(decoded(&bytes), Ok(Packet::Connect(connect)));
        let mut buf = std::vec![0; room.index(bytes.len())];
        let mut writer = Writer::new(&mut buf);
        connect.encode(&mut writer);
        prop_assert_eq!(writer.finish(), Err(bytes.len()));
    }

    #[test]
    fn any_publish_survives_the_wire(topic in "[^\u{0}+#]{1,30}", qos in 0..3u8, dup: bool, retain: bool, n in 1..=u16::MAX, payload_len in 0..200_000_000u32) {
        let qos = QoS::from_u8(qos).unwrap();
        let publish = Publish { dup: dup && qos != QoS::AtMostOnce, qos, retain, topic: &topic, id: (qos != QoS::AtMostOnce).then(|| id(n)), payload_len };
        let bytes = encoded(&Packet::Publish(publish));
        prop_assert_eq!(decoded(&bytes), Ok(Packet::Publish(publish)));
    }

    /// Where there is a quick way, it leads nowhere else than the other.
    #[test]
    fn what_is_decoded_quickly_is_decoded_the_same(
        topic in "[a-z/]{16,32}|[ -~]{0,40}",
        filters in proptest::collection::vec("([a-z]{1,9}|\\+)(/([a-z]{1,9}|\\+)){0,4}(/#)?", 1..5),
        qos in 0..3u8, n in 1..=u16::MAX, payload in proptest::collection::vec(any::<u8>(), 0..150),
        username in proptest::option::of("[a-z]{16,20}"), with_will: bool, with_password: bool,
        change in proptest::option::weighted(0.7, (any::<prop::sample::Index>(), any::<u8>())),
        cut in proptest::option::weighted(0.3, any::<prop::sample::Index>()),
        max in prop_oneof![Just(MAX), 0..130u32],
    ) {
        let qos = QoS::from_u8(qos).unwrap();
        let id = id(n);
        let id_of = (qos != QoS::AtMostOnce).then_some(id);
        let publish = Publish { dup: false, qos, retain: with_will, topic: &topic, id: id_of, payload_len: payload.len() as u32 };
        let will = with_will.then_some(Will { topic: &topic, payload: &payload[..payload.len().min(9)], qos, retain: with_password });
        let password = username.as_ref().filter(|_| with_password).map(|_| &payload[..payload.len().min(20)]);
        let connect = Connect { client_id: "sensor-0123456789abcdef", will, username: username.as_deref(), password, ..Connect::default() };
        let filters: Vec<_> = filters.iter().map(|filter| (filter.as_str(), qos)).collect();
        let mut subscribe = std::vec![0; subscribe_len(&filters)];
        encode_subscribe(&mut Writer::new(&mut subscribe), id, &filters);
        let mut short = std::vec![0; subscribe.len() - 1];
        let mut writer = Writer::new(&mut short);
        encode_subscribe(&mut writer, id, &filters);
        prop_assert_eq!(writer.finish(), Err(subscribe.len()));
        let acks = [Packet::PubAck(id), Packet::PubRec(id), Packet::PubRel(id), Packet::PubComp(id)];
        let packets = [Packet::Publish(publish), Packet::Connect(connect)].into_iter().chain(acks).map(|packet| encoded(&packet));
        for mut bytes in packets.chain([subscribe]) {
            bytes.extend_from_slice(&payload);
            if let Some((index, value)) = &change {
                let index = index.index(bytes.len().min(80));
                bytes[index] = *value;
            }
            let bytes = &bytes[..cut.as_ref().map_or(bytes.len(), |cut| cut.index(bytes.len()))];
            prop_assert_eq!(decode(bytes, max), decode::decode_any(bytes, max));
            prop_assert_eq!(decode_from_client(bytes, max), decode::decode_any_from_client(bytes, max));
            prop_assert_eq!(decode_from_server(bytes, max), decode::decode_any_from_server(bytes, max));
        }
    }

    #[test]
    fn garbage_never_panics_and_what_decodes_encodes_to_the_same(
        bytes in proptest::collection::vec(any::<u8>(), 0..64), kind in 1..15u8, fitting: bool,
    ) {
        let mut bytes = bytes;
        if fitting && bytes.len() > 1 {
            bytes[0] = (kind << 4) | if matches!(kind, 6 | 8 | 10) { 2 } else { 0 };
            bytes[1] = u8::try_from(bytes.len() - 2).unwrap();
        }
        if let Ok(Decoded::Packet { packet, len }) = decode(&bytes, MAX) {
            let again = encoded(&packet);
            // A remaining length may be written longer than it needs to be.
            if len == again.len() {
                prop_assert_eq!(&bytes[..len], &again[..]);
            }
        }
    }
}
