//! What the client promises.

mod exactly_once;
mod keep_alive;
mod redelivery;
mod session;
mod splits;
mod streaming;

use super::*;
use crate::{
    Capacity,
    error::Code,
    mqtt::{
        Packet, Violation, Will,
        packet::{self, Decoded},
    },
    wire::Writer,
};
use std::{boxed::Box, format, string::String, vec, vec::Vec};

const SERVER: Peer = Peer(7);
const T0: Instant = Instant::ZERO;

fn at(secs: u64) -> Instant {
    Instant::from_micros(secs * 1_000_000)
}

fn client(config: Config, arena: usize, table: usize) -> Client<'static> {
    Client::new(
        config,
        Box::leak(vec![0; arena].into_boxed_slice()),
        Box::leak(vec![InFlight::EMPTY; table].into_boxed_slice()),
    )
}

fn persistent() -> Connect<'static> {
    Connect { client_id: "c", clean_session: false, ..Connect::default() }
}

/// An event in short.
fn tell(event: &Event<'_>) -> String {
    match event {
        Event::Connected { session_present } => format!("connected {session_present}"),
        Event::Refused { code } => format!("refused {code:?}"),
        Event::Publish(p) => format!(
            "publish {} q{} #{} {}{}",
            p.topic,
            p.qos as u8,
            p.id.map_or(0, PacketId::get),
            p.payload_len,
            if p.retain { " retained" } else { "" }
        ),
        Event::Payload { bytes, last } => {
            format!("payload {}{}", String::from_utf8_lossy(bytes), if *last { "." } else { "" })
        }
        Event::Skipped { topic_len, payload_len } => format!("skipped {topic_len} {payload_len}"),
        Event::Acknowledged { id } => format!("acknowledged #{}", id.get()),
        Event::Subscribed { id, codes } => format!("subscribed #{} {codes:?}", id.get()),
        Event::Unsubscribed { id } => format!("unsubscribed #{}", id.get()),
        Event::PayloadWanted { id, offset, len } => format!("wanted #{} {offset}+{len}", id.map_or(0, PacketId::get)),
        Event::Closed { reason } => format!("closed {reason:?}"),
    }
}

/// Drains the client; what it sent, and what it told.
fn drain_by(client: &mut Client<'_>, now: Instant, size: usize) -> (Vec<u8>, Vec<String>) {
    let (mut sent, mut told) = (Vec::new(), Vec::new());
    let mut out = vec![0; size];
    loop {
        match client.poll_output(now, &mut out) {
            Output::Transmit { peer, bytes } => {
                assert_eq!(peer, client.peer);
                assert!(!bytes.is_empty());
                sent.extend_from_slice(bytes);
            }
            Output::Event(event) => told.push(tell(&event)),
            Output::BufferTooSmall { needed } => {
                assert!(needed > out.len());
                let mut more = vec![0; needed];
                let Output::Transmit { bytes, .. } = client.poll_output(now, &mut more) else { panic!("nothing kept") };
                sent.extend_from_slice(bytes);
            }
            Output::Timeout(next) => {
                assert!(next.is_none_or(|next| next > now), "a deadline in the past");
                assert_eq!(next, client.next_timeout());
                return (sent, told);
            }
        }
    }
}

fn drain(client: &mut Client<'_>, now: Instant) -> (Vec<u8>, Vec<String>) {
    drain_by(client, now, 256)
}

fn sent(client: &mut Client<'_>, now: Instant) -> Vec<u8> {
    let (sent, told) = drain(client, now);
    assert!(told.is_empty(), "{told:?}");
    sent
}

/// Offers bytes until they are consumed or nothing moves; what was told, and what was left.
fn offer(client: &mut Client<'_>, now: Instant, mut bytes: &[u8]) -> Result<(Vec<String>, usize), Error> {
    let mut told = Vec::new();
    loop {
        let handled = client.handle_input(now, Input { peer: SERVER, bytes })?;
        assert!(handled.consumed <= bytes.len());
        let quiet = handled.event.is_none();
        told.extend(handled.event.map(|event| tell(&event)));
        bytes = &bytes[handled.consumed..];
        if bytes.is_empty() || (handled.consumed == 0 && quiet) || client.state() == State::Closed {
            return Ok((told, bytes.len()));
        }
    }
}

fn fed(client: &mut Client<'_>, now: Instant, bytes: &[u8]) -> Vec<String> {
    let (told, left) = offer(client, now, bytes).unwrap();
    assert_eq!(left, 0, "not consumed");
    told
}

/// Connected and drained.
fn connected(config: Config, arena: usize, table: usize, connect: &Connect<'_>) -> Client<'static> {
    let mut client = client(config, arena, table);
    client.connect(T0, SERVER, connect).unwrap();
    sent(&mut client, T0);
    assert_eq!(fed(&mut client, T0, b"\x20\x02\x00\x00"), ["connected false"]);
    client
}

fn reconnected(client: &mut Client<'_>, session_present: bool) -> Vec<u8> {
    client.connection_lost(T0);
    client.connect(T0, SERVER, &persistent()).unwrap();
    let connect = sent(client, T0);
    assert_eq!(connect[0], 0x10);
    fed(client, T0, &[0x20, 2, session_present.into(), 0]);
    sent(client, T0)
}

fn id(n: u16) -> PacketId {
    PacketId::new(n).unwrap()
}

#[test]
fn connect_goes_first_and_all_else_waits_for_the_answer() {
    let mut c = client(Config::default(), 256, 4);
    let will = Some(Will { topic: "w", payload: b"gone", qos: QoS::AtLeastOnce, retain: true });
    let connect = Connect { client_id: "c", will, username: Some("u"), password: Some(b"p"), ..Connect::default() };
    assert_eq!(c.publish(T0, "a", b"", QoS::AtMostOnce, false), Err(Misuse::NotConnected.into()));
    c.connect(T0, SERVER, &connect).unwrap();
    assert_eq!(c.state(), State::Connecting);
    assert_eq!(c.connect(T0, SERVER, &connect), Err(Misuse::WrongState.into()));
    c.publish(T0, "a", b"x", QoS::AtMostOnce, false).unwrap();
    let bytes = sent(&mut c, T0);
    let Ok(Decoded::Packet { packet: Packet::Connect(found), len }) = packet::decode(&bytes, 1000) else { panic!() };
    assert_eq!((found, len), (connect, bytes.len()));
    assert_eq!(fed(&mut c, T0, b"\x20\x02\x00\x00"), ["connected false"]);
    assert!(c.is_connected());
    assert_eq!(sent(&mut c, T0), b"\x30\x04\x00\x01ax");
    assert_eq!(c.in_flight(), 0);
}

#[test]
fn a_refusal_closes() {
    let mut c = client(Config::default(), 64, 2);
    c.connect(T0, SERVER, &persistent()).unwrap();
    sent(&mut c, T0);
    assert_eq!(fed(&mut c, T0, b"\x20\x02\x00\x05"), ["refused NotAuthorized"]);
    assert_eq!(c.state(), State::Closed);
    assert_eq!(drain(&mut c, T0), (vec![], vec![]));
}

#[test]
fn every_qos_goes_through_its_handshake() {
    let mut c = connected(Config::default(), 256, 4, &Connect::default());
    assert_eq!(c.publish(T0, "a", b"0", QoS::AtMostOnce, true), Ok(None));
    assert_eq!(c.publish(T0, "a", b"1", QoS::AtLeastOnce, false), Ok(Some(id(1))));
    assert_eq!(c.publish(T0, "a", b"2", QoS::ExactlyOnce, false), Ok(Some(id(2))));
    assert_eq!(sent(&mut c, T0), *b"\x31\x04\x00\x01a0\x32\x06\x00\x01a\x00\x011\x34\x06\x00\x01a\x00\x022");
    assert_eq!(fed(&mut c, T0, b"\x50\x02\x00\x02"), [""; 0]);
    assert_eq!(sent(&mut c, T0), b"\x62\x02\x00\x02");
    assert_eq!(fed(&mut c, T0, b"\x40\x02\x00\x01\x70\x02\x00\x02"), ["acknowledged #1", "acknowledged #2"]);
    assert_eq!((c.in_flight(), c.slots.kept == 0), (0, true));

    assert_eq!(fed(&mut c, T0, b"\x31\x04\x00\x01a0"), ["publish a q0 #0 1 retained", "payload 0."]);
    assert_eq!(fed(&mut c, T0, b"\x32\x06\x00\x01a\x00\x091"), ["publish a q1 #9 1", "payload 1."]);
    assert_eq!(fed(&mut c, T0, b"\x34\x06\x00\x01a\x00\x082"), ["publish a q2 #8 1", "payload 2."]);
    assert_eq!(sent(&mut c, T0), b"\x40\x02\x00\x09\x50\x02\x00\x08");
    assert_eq!(fed(&mut c, T0, b"\x62\x02\x00\x08"), [""; 0]);
    assert_eq!(sent(&mut c, T0), b"\x70\x02\x00\x08");
    assert_eq!(c.in_flight(), 0);
}

#[test]
fn subscriptions_are_answered_under_their_identifier() {
    let mut c = connected(Config::default(), 256, 4, &Connect::default());
    assert_eq!(c.subscribe(T0, &[("a/#", QoS::AtLeastOnce), ("b", QoS::AtMostOnce)]), Ok(id(1)));
    assert_eq!(c.unsubscribe(T0, &["c"]), Ok(id(2)));
    assert_eq!(sent(&mut c, T0), *b"\x82\x0c\x00\x01\x00\x03a/#\x01\x00\x01b\x00\xa2\x05\x00\x02\x00\x01c");
    assert_eq!(
        fed(&mut c, T0, b"\x90\x04\x00\x01\x01\x80\xb0\x02\x00\x02"),
        ["subscribed #1 [1, 128]", "unsubscribed #2"]
    );
    assert_eq!(c.subscribe(T0, &[]), Err(Misuse::InvalidFilter.into()));
    assert_eq!(c.subscribe(T0, &[("a#", QoS::AtMostOnce)]), Err(Misuse::InvalidFilter.into()));
    assert_eq!(c.unsubscribe(T0, &["++"]), Err(Misuse::InvalidFilter.into()));
    assert_eq!(c.publish(T0, "a/+", b"", QoS::AtMostOnce, false), Err(Misuse::InvalidTopic.into()));
}

#[test]
fn a_server_that_breaks_the_protocol_is_left() {
    let breaches: &[(&[u8], Violation)] = &[
        (b"\x20\x02\x00\x00", Violation::UnexpectedPacket), // a second CONNACK
        (b"\xc0\x00", Violation::UnexpectedPacket),
        (b"\x50\x02\x00\x01", Violation::UnexpectedPacket), // PUBREC for QoS 1
        (b"\x90\x04\x00\x02\x00\x00", Violation::SubAck),   // two codes for one filter
        (b"\x90\x03\x00\x01\x00", Violation::UnexpectedPacket), // SUBACK for a message
        (b"\x40\x02\x00\x02", Violation::UnexpectedPacket), // PUBACK for a subscription
        (b"\x32\x05\x00\x01a\x00\x05\x32\x05\x00\x01a\x00\x05", Violation::UnexpectedPacket), // [MQTT-2.3.1-4]
        (b"\x34\x05\x00\x01a\x00\x05\x62\x02\x00\x05", Violation::UnexpectedPacket), // PUBREL before PUBREC
        (b"\x36\x05\x00\x01a\x00\x05", Violation::QoS),
        (b"\x90\x80\x08\x00", Violation::PacketTooLarge),
    ];
    for (bytes, violation) in breaches {
        let mut c = connected(Config { manual_ack: true, ..Config::default() }, 256, 4, &Connect::default());
        c.publish(T0, "a", b"", QoS::AtLeastOnce, false).unwrap();
        c.subscribe(T0, &[("a", QoS::AtMostOnce)]).unwrap();
        sent(&mut c, T0);
        assert_eq!(offer(&mut c, T0, bytes), Err(Error::Peer(*violation)), "{bytes:02x?}");
        assert_eq!(c.publish(T0, "a", b"", QoS::AtLeastOnce, false), Err(Misuse::NotConnected.into()));
        assert_eq!(c.disconnect(T0), Err(Misuse::NotConnected.into()));
        assert_eq!(offer(&mut c, T0, b"\xd0\x00"), Err(Misuse::NotConnected.into()));
        assert_eq!(drain(&mut c, T0), (vec![], vec![]));
        assert_eq!(c.next_timeout(), None);
    }
    for bytes in [&b"\x30\x03\x00\x01a"[..], b"\x40\x02\x00\x01", b"\xd0\x00", b"\x20\x02\x01\x00"] {
        let mut c = client(Config::default(), 64, 2);
        c.connect(T0, SERVER, &Connect::default()).unwrap();
        let error = offer(&mut c, T0, bytes).unwrap_err();
        assert!((-83..=-64).contains(&error.code()), "{bytes:02x?}");
    }
    assert_eq!(Violation::UnexpectedPacket.code(), -82);
}

#[test]
fn strange_answers_do_no_harm() {
    let mut c = connected(Config::default(), 256, 4, &persistent());
    assert_eq!(
        fed(&mut c, T0, b"\x40\x02\x00\x09\x70\x02\x00\x09\xb0\x02\x00\x09\x90\x03\x00\x09\x00\xd0\x00"),
        [""; 0]
    );
    // What a server kept of a session that we lost is brought to its end.
    assert_eq!(fed(&mut c, T0, b"\x50\x02\x00\x09\x62\x02\x00\x08"), [""; 0]);
    assert_eq!(sent(&mut c, T0), b"\x62\x02\x00\x09\x70\x02\x00\x08");
    assert_eq!(c.in_flight(), 1);
    assert_eq!(fed(&mut c, T0, b"\x70\x02\x00\x09"), ["acknowledged #9"]);
}

#[test]
fn disconnect_lets_out_what_is_queued() {
    let mut c = connected(Config::default(), 256, 4, &Connect::default());
    c.publish(T0, "a", b"", QoS::AtMostOnce, false).unwrap();
    c.disconnect(T0).unwrap();
    assert_eq!(c.state(), State::Disconnecting);
    assert_eq!(c.publish(T0, "a", b"", QoS::AtMostOnce, false), Err(Misuse::NotConnected.into()));
    assert_eq!(drain(&mut c, T0), (b"\x30\x03\x00\x01a\xe0\x00".to_vec(), vec!["closed Requested".into()]));
    assert_eq!(c.state(), State::Closed);
}

#[test]
fn an_identifier_in_flight_is_never_used_again() {
    let mut c = connected(Config::default(), 256, 4, &Connect::default());
    assert_eq!(c.publish(T0, "a", b"", QoS::AtLeastOnce, false), Ok(Some(id(1))));
    sent(&mut c, T0);
    for n in 2..=u16::MAX {
        assert_eq!(c.publish(T0, "a", b"", QoS::AtLeastOnce, false), Ok(Some(id(n))));
        sent(&mut c, T0);
        let [high, low] = n.to_be_bytes();
        fed(&mut c, T0, &[0x40, 2, high, low]);
    }
    assert_eq!(c.subscribe(T0, &[("a", QoS::AtMostOnce)]), Ok(id(2)));
}

#[test]
fn full_storage_refuses_and_keeps_room_for_what_has_to_be() {
    let mut c = connected(Config { keep_free: 2, ..Config::default() }, 100, 5, &persistent());
    for _ in 0..3 {
        c.publish(T0, "a", b"x", QoS::ExactlyOnce, false).unwrap();
    }
    assert_eq!(c.publish(T0, "a", b"", QoS::AtMostOnce, false), Err(Capacity::InFlight.into()));
    sent(&mut c, T0);
    // Two places are left for what arrives; a third message has to wait until something has left.
    let two = b"\x32\x05\x00\x01a\x00\x01\x32\x05\x00\x01a\x00\x02\x32\x05\x00\x01a\x00\x03";
    assert_eq!(offer(&mut c, T0, two), Ok((vec!["publish a q1 #1 0".into(), "publish a q1 #2 0".into()], 7)));
    assert_eq!(sent(&mut c, T0), b"\x40\x02\x00\x01\x40\x02\x00\x02");
    assert_eq!(fed(&mut c, T0, &two[14..]), ["publish a q1 #3 0"]);
    sent(&mut c, T0);

    let mut c = connected(Config::default(), 100, 9, &persistent());
    while c.publish(T0, "a", b"xxxxxxxx", QoS::ExactlyOnce, false) != Err(Capacity::Arena.into()) {}
    // The next CONNECT finds its room, and PUBREL needs none.
    let again = reconnected(&mut c, true);
    assert_eq!(again[..2], [0x34, 0x0d]);
    fed(&mut c, T0, b"\x50\x02\x00\x01");
    assert_eq!(sent(&mut c, T0), b"\x62\x02\x00\x01");
}

#[test]
fn messages_are_acknowledged_in_the_order_they_came() {
    let mut c = connected(Config { manual_ack: true, ..Config::default() }, 64, 8, &Connect::default());
    fed(
        &mut c,
        T0,
        b"\x32\x05\x00\x01a\x00\x01\x34\x05\x00\x01a\x00\x02\x32\x05\x00\x01a\x00\x03\x34\x06\x00\x01a\x00\x04x",
    );
    assert_eq!(sent(&mut c, T0), b"");
    c.acknowledge(T0, id(3)).unwrap();
    c.acknowledge(T0, id(4)).unwrap();
    assert_eq!(sent(&mut c, T0), b"");
    c.acknowledge(T0, id(2)).unwrap();
    assert_eq!(sent(&mut c, T0), b"\x50\x02\x00\x02\x50\x02\x00\x04");
    c.acknowledge(T0, id(1)).unwrap();
    assert_eq!(sent(&mut c, T0), b"\x40\x02\x00\x01\x40\x02\x00\x03");
    for n in [1, 2, 9] {
        assert_eq!(c.acknowledge(T0, id(n)), Err(Misuse::UnknownId.into()));
    }
}

#[test]
fn a_message_is_acknowledged_when_it_is_whole() {
    let mut c = connected(Config { manual_ack: true, ..Config::default() }, 64, 4, &Connect::default());
    assert_eq!(fed(&mut c, T0, b"\x32\x07\x00\x01a\x00\x01x"), ["publish a q1 #1 2", "payload x"]);
    assert_eq!(c.payload_left(), 1);
    assert_eq!(c.acknowledge(T0, id(1)), Err(Misuse::UnknownId.into()));
    assert_eq!(fed(&mut c, T0, b"y"), ["payload y."]);
    c.acknowledge(T0, id(1)).unwrap();
    assert_eq!(sent(&mut c, T0), b"\x40\x02\x00\x01");
}

#[test]
fn more_messages_of_qos_2_than_the_table_holds_close_the_connection() {
    let mut c = connected(Config::default(), 64, 2, &persistent());
    fed(&mut c, T0, b"\x34\x05\x00\x01a\x00\x01\x34\x05\x00\x01a\x00\x02");
    sent(&mut c, T0);
    let third = b"\x34\x05\x00\x01a\x00\x03";
    assert_eq!(offer(&mut c, T0, third), Ok((vec!["closed Overflow".into()], 7))); // [MQTT-4.8.0-2]
    assert_eq!(c.state(), State::Closed);
    // After the reconnect the server goes on with those it knows to have arrived.
    reconnected(&mut c, true);
    fed(&mut c, T0, b"\x62\x02\x00\x01\x62\x02\x00\x02");
    assert_eq!(sent(&mut c, T0), b"\x70\x02\x00\x01\x70\x02\x00\x02");
    assert_eq!(fed(&mut c, T0, third), ["publish a q2 #3 0"]);
}

#[test]
fn a_topic_too_long_is_passed_over_and_acknowledged() {
    let config = Config { max_packet: 8, manual_ack: true, ..Config::default() };
    let mut c = connected(config, 64, 4, &Connect::default());
    assert_eq!(fed(&mut c, T0, b"\x30\x0c\x00\x09aaaaaaaaax"), ["skipped 9 1"]);
    assert_eq!(fed(&mut c, T0, b"\x34\x0d\x00\x06aaaaaa\x00\x05xyz"), ["skipped 6 3"]);
    assert_eq!(fed(&mut c, T0, b"\x30\x04\x00\x02ok"), ["publish ok q0 #0 0"]);
    assert_eq!(sent(&mut c, T0), b"\x50\x02\x00\x05");
    assert_eq!(fed(&mut c, T0, b"\x3c\x0d\x00\x06aaaaaa\x00\x05xyz"), [""; 0]);
    assert_eq!(sent(&mut c, T0), b"\x50\x02\x00\x05");
}

#[test]
fn a_topic_passed_over_has_to_be_one() {
    let config = Config { max_packet: 8, ..Config::default() };
    for (topic, violation) in [
        (&b"aaaa\xe2\x82aaaa"[..], Violation::NotUtf8),
        (b"aaaaaaaa\xe2\x82", Violation::NotUtf8),
        (b"aaaaaaa\xed\xa0\x80", Violation::NotUtf8),
        (b"aaaaaaaa\0a", Violation::NullCharacter),
        (b"aaaaaaaa/+", Violation::TopicName),
        (b"#aaaaaaaaa", Violation::TopicName),
    ] {
        let head = [0x30, topic.len() as u8 + 3, 0, topic.len() as u8];
        for cut in 1..=head.len() + topic.len() {
            let mut c = connected(config, 64, 4, &Connect::default());
            let packet = [&head, topic, b"x"].concat();
            let mut rest = vec![];
            let error = packet.chunks(cut).find_map(|part| {
                rest.extend_from_slice(part);
                match offer(&mut c, T0, &rest) {
                    Ok((told, left)) => {
                        assert!(told.is_empty(), "{told:?}");
                        rest.drain(..rest.len() - left);
                        None
                    }
                    Err(error) => Some(error),
                }
            });
            assert_eq!(error, Some(Error::Peer(violation)), "{topic:02x?} by {cut}");
        }
    }
    // Characters of several bytes may be cut anywhere, and U+FEFF is one like others.
    for cut in 1..16 {
        let mut c = connected(config, 64, 4, &Connect::default());
        let (mut rest, mut told) = (vec![], vec![]);
        for part in b"\x30\x10\x00\x0d\xef\xbb\xbf\xe2\x82\xac\xf0\x9f\x98\x80aaax".chunks(cut) {
            rest.extend_from_slice(part);
            let (more, left) = offer(&mut c, T0, &rest).unwrap();
            rest.drain(..rest.len() - left);
            told.extend(more);
        }
        assert_eq!((told, rest.len()), (vec!["skipped 13 1".into()], 0), "by {cut}");
    }
}

#[test]
fn messages_that_overflow_the_table_come_through_one_connection_after_another() {
    for manual_ack in [false, true] {
        let mut c = connected(Config { manual_ack, ..Config::default() }, 64, 1, &persistent());
        let both = b"\x34\x05\x00\x01a\x00\x01\x34\x05\x00\x01a\x00\x02";
        // Read at once, the second waits for the first one's PUBREC, without which nothing would ever change.
        assert_eq!(offer(&mut c, T0, both), Ok((vec!["publish a q2 #1 0".into()], 7)));
        if manual_ack {
            assert_eq!(sent(&mut c, T0), b"");
            assert_eq!(offer(&mut c, T0, &both[7..]), Ok((vec![], 7)));
            c.acknowledge(T0, id(1)).unwrap();
        }
        assert_eq!(sent(&mut c, T0), b"\x50\x02\x00\x01");
        assert_eq!(offer(&mut c, T0, &both[7..]), Ok((vec!["closed Overflow".into()], 7)));
        reconnected(&mut c, true);
        let next = b"\x62\x02\x00\x01\x3c\x05\x00\x01a\x00\x02";
        assert_eq!(offer(&mut c, T0, next), Ok((vec![], 7)));
        assert_eq!(sent(&mut c, T0), b"\x70\x02\x00\x01");
        assert_eq!(fed(&mut c, T0, &next[4..]), ["publish a q2 #2 0"]);
    }
}

#[test]
fn a_payload_larger_than_wanted_is_refused_from_its_header() {
    for manual_ack in [false, true] {
        let mut c = connected(Config { max_payload: 2, manual_ack, ..Config::default() }, 64, 4, &persistent());
        assert_eq!(fed(&mut c, T0, b"\x30\x06\x00\x01axyz"), ["skipped 1 3"]);
        assert_eq!(fed(&mut c, T0, b"\x32\x08\x00\x01a\x00\x06xyz"), ["skipped 1 3"]);
        assert_eq!(sent(&mut c, T0), b"\x40\x02\x00\x06");
        assert_eq!(fed(&mut c, T0, b"\x34\x08\x00\x01a\x00\x05"), ["skipped 1 3"]);
        assert_eq!(sent(&mut c, T0), b"", "not before it is whole");
        assert_eq!(fed(&mut c, T0, b"xyz"), [""; 0]);
        assert_eq!(sent(&mut c, T0), b"\x50\x02\x00\x05");
        assert_eq!(fed(&mut c, T0, b"\x3c\x08\x00\x01a\x00\x05xyz"), [""; 0]);
        assert_eq!(fed(&mut c, T0, b"\x30\x05\x00\x01axy"), ["publish a q0 #0 2", "payload xy."]);
        assert_eq!(sent(&mut c, T0), b"\x50\x02\x00\x05");
        assert_eq!(fed(&mut c, T0, b"\x62\x02\x00\x05"), [""; 0]);
        assert_eq!(sent(&mut c, T0), b"\x70\x02\x00\x05");
        assert_eq!((c.in_flight(), c.is_connected()), (0, true));
    }
}

#[test]
fn the_rest_of_a_message_can_be_refused() {
    let mut c = connected(Config { manual_ack: true, ..Config::default() }, 64, 4, &persistent());
    assert_eq!(c.refuse(T0), Err(Misuse::WrongState.into()));
    assert_eq!(fed(&mut c, T0, b"\x34\x08\x00\x01a\x00\x05x"), ["publish a q2 #5 3", "payload x"]);
    c.refuse(T0).unwrap();
    assert_eq!(fed(&mut c, T0, b"yz\x30\x03\x00\x01b"), ["publish b q0 #0 0"]);
    assert_eq!(c.refuse(T0), Err(Misuse::WrongState.into()));
    assert_eq!(sent(&mut c, T0), b"\x50\x02\x00\x05");
}

#[test]
fn nothing_is_taken_from_a_stranger() {
    let mut c = connected(Config::default(), 64, 4, &Connect::default());
    let stranger = Input { peer: Peer(8), bytes: b"\x30" };
    assert_eq!(c.handle_input(T0, stranger), Err(Misuse::UnknownId.into()));
    assert!(c.is_connected());
}

#[test]
fn the_table_says_one_thing_for_each_case() {
    for (n, (step, cause, _)) in flow::TABLE.iter().enumerate() {
        assert!(!flow::TABLE[..n].iter().any(|(s, c, _)| (s, c) == (step, cause)), "{step:?} {cause:?} twice");
    }
}
