//! CONNECT, its refusals, the ways a connection ends, and the will (§3.1, §3.2, §3.14).

use super::{super::*, bench::*};
use crate::mqtt::Violation;
use crate::mqtt::{Connect, ConnectReturnCode as C, Packet, Will};
use std::vec;

fn with_will(client_id: &str, retain: bool) -> Connect<'_> {
    Connect {
        will: Some(Will { topic: "will", payload: b"gone", qos: Q1, retain }),
        keep_alive: 10,
        ..clean(client_id)
    }
}

#[test]
fn the_host_hears_of_a_client_and_the_client_of_its_session() {
    let mut b = Bench::default();
    assert_eq!(b.kept(1, "dev"), ["ConnAck 0 Accepted"]); // [MQTT-3.2.2-3]
    let connected = Event::Connected { peer: Peer(1), client_id: "dev".into(), session_present: false };
    assert_eq!(b.events, [connected]);
    b.lose(1);
    assert_eq!(b.kept(2, "dev"), ["ConnAck 1 Accepted"]); // [MQTT-3.2.2-2]
    b.lose(2);
    assert_eq!(b.open(3, &clean("dev")), ["ConnAck 0 Accepted"]); // [MQTT-3.2.2-1]
    b.lose(3);
    assert_eq!(b.kept(4, "dev"), ["ConnAck 0 Accepted"]); // [MQTT-3.1.2-6]
}

#[test]
fn without_an_identifier_a_client_gets_one_for_a_clean_session_only() {
    let mut b = Bench::default();
    b.open(1, &clean(""));
    b.open(2, &clean("")); // [MQTT-3.1.3-6]
    let ids: vec::Vec<_> = b.events.iter().map(|e| std::format!("{e:?}")).collect();
    assert_ne!(ids[0], ids[1]);
    assert_eq!(b.broker.stats().connected, 2);
    // [MQTT-3.1.3-8]
    b.broker.accept(b.now, Peer(3)).unwrap();
    let connect = bytes(&Packet::Connect(Connect { clean_session: false, ..clean("") }));
    assert_eq!(b.send(3, &connect), Err(Error::Peer(Violation::ClientId)));
    assert_eq!(b.got(3), ["ConnAck 0 IdentifierRejected"]);
    assert_eq!(b.closed(3), Some(Reason::Violation(Violation::ClientId)));
}

#[test]
fn another_protocol_level_is_answered_another_protocol_is_not() {
    let mut b = Bench::default();
    let mut connect = bytes(&Packet::Connect(clean("a")));
    connect[8] = 5; // [MQTT-3.1.2-2]
    b.broker.accept(b.now, Peer(1)).unwrap();
    assert_eq!(b.send(1, &connect), Err(Error::Peer(Violation::ProtocolLevel)));
    assert_eq!(b.got(1), ["ConnAck 0 UnacceptableProtocolVersion"]);
    assert_eq!(b.closed(1), Some(Reason::Violation(Violation::ProtocolLevel)));
    connect[4] = b'm'; // [MQTT-3.1.2-1]
    b.broker.accept(b.now, Peer(2)).unwrap();
    assert_eq!(b.send(2, &connect), Err(Error::Peer(Violation::ProtocolName)));
    assert!(b.got(2).is_empty()); // [MQTT-3.1.4-1]
    assert_eq!(b.closed(2).map(|reason| reason.code()), Some(-76));
}

#[test]
fn a_violation_ends_its_peer_and_no_other() {
    let mut b = Bench::default();
    b.clean(1);
    b.clean(2);
    b.subscribe(2, &[("will", Q0)]);
    b.open(3, &with_will("w", false));
    assert_eq!(b.send(3, &[0xF0, 0]), Err(Error::Peer(Violation::ReservedType)));
    assert_eq!(b.closed(3), Some(Reason::Violation(Violation::ReservedType)));
    assert_eq!(b.got(2), ["will gone q0"]);
    // A second CONNECT is one too [MQTT-3.1.0-2].
    let again = bytes(&Packet::Connect(clean("c1")));
    assert_eq!(b.send(1, &again), Err(Error::Peer(Violation::UnexpectedPacket)));
    assert_eq!((b.closed(1).map(|r| r.code()), b.closed(2)), (Some(-82), None));
    b.packet(2, &Packet::PingReq);
    assert_eq!(b.got(2), ["PingResp"]); // [MQTT-3.12.4-1]
}

#[test]
fn nothing_is_taken_before_connect_nor_what_only_a_server_sends() {
    for first in [0x20, 0x30, 0x82, 0xC0, 0xE0] {
        let mut b = Bench::default();
        b.broker.accept(b.now, Peer(1)).unwrap();
        let input = Input { peer: Peer(1), bytes: &[first] };
        assert_eq!(b.broker.handle_input(b.now, input), Err(Error::Peer(Violation::UnexpectedPacket))); // [MQTT-3.1.0-1]
    }
    for packet in [Packet::PingResp, Packet::UnsubAck(id(1)), Packet::SubAck { id: id(1), codes: &[0] }] {
        let mut b = Bench::default();
        b.clean(1);
        assert_eq!(b.send(1, &bytes(&packet)), Err(Error::Peer(Violation::UnexpectedPacket)));
    }
}

#[test]
fn what_follows_a_refused_connect_or_a_disconnect_is_not_processed() {
    let user = User { name: "u".into(), password: b"p".into() };
    let mut b = Bench::new(BrokerConfig { users: vec![user], ..BrokerConfig::default() });
    for (username, password) in [(None, None), (Some("u"), None), (Some("u"), Some(&b"q"[..])), (Some("x"), Some(b"p"))]
    {
        b.broker.accept(b.now, Peer(1)).unwrap();
        let mut stream = bytes(&Packet::Connect(Connect { username, password, ..clean("a") }));
        stream.extend(publish("t", b"x", Q0, true, 1, false)); // [MQTT-3.1.4-5]
        let first = Input { peer: Peer(1), bytes: &stream };
        let consumed = b.broker.handle_input(b.now, first).unwrap().consumed;
        let rest = Input { peer: Peer(1), bytes: &stream[consumed..] };
        assert_eq!(b.broker.handle_input(b.now, rest), Ok(Handled::quiet(rest.bytes.len())));
        b.drain();
        assert_eq!(b.got(1), ["ConnAck 0 BadUserNameOrPassword"]);
        assert_eq!(b.closed(1), Some(Reason::Refused(C::BadUserNameOrPassword))); // [MQTT-3.2.2-5]
    }
    assert_eq!(b.open(1, &Connect { username: Some("u"), password: Some(b"p"), ..clean("a") }), ["ConnAck 0 Accepted"]);
    b.packet(1, &Packet::Disconnect);
    assert_eq!(b.closed(1), Some(Reason::Disconnected));
    assert_eq!(b.broker.stats(), Stats::default());
}

#[test]
fn a_client_of_the_same_name_takes_over() {
    let mut b = Bench::default();
    b.clean(9);
    b.subscribe(9, &[("will", Q0)]);
    b.open(1, &Connect { clean_session: false, ..with_will("same", false) });
    b.subscribe(1, &[("t", Q1)]);
    assert_eq!(b.kept(2, "same"), ["ConnAck 1 Accepted"]);
    assert_eq!(b.closed(1), Some(Reason::TakenOver)); // [MQTT-3.1.4-2]
    assert_eq!(b.got(9), ["will gone q0"]); // [MQTT-3.1.2-8]
    b.publish(9, "t", b"x", Q1, false);
    assert_eq!(b.got(2), ["t x q1#2"]);
    assert_eq!(b.broker.stats().sessions, 2);
}

#[test]
fn the_will_is_published_in_every_case_but_a_disconnect() {
    let mut b = Bench::default();
    b.clean(9);
    b.subscribe(9, &[("will", Q0)]);
    type End = fn(&mut Bench);
    let ends: [(End, Option<Reason>); 5] = [
        (|b| b.lose(1), None),
        (|b| b.seconds(15), Some(Reason::KeepAlive)),
        (|b| b.broker.disconnect(b.now, Peer(1)).unwrap(), Some(Reason::Host)),
        (|b| b.send(1, &[0, 0]).unwrap_err().code().eq(&-64).then_some(()).unwrap(), None),
        (|b| b.packet(1, &Packet::Disconnect), Some(Reason::Disconnected)),
    ];
    for (n, (end, reason)) in ends.into_iter().enumerate() {
        b.open(1, &with_will("w", n == 0));
        end(&mut b);
        b.drain();
        let closed = b.closed(1);
        assert!(reason.is_none() || reason == closed, "{reason:?} {closed:?}");
        if reason == Some(Reason::Disconnected) {
            assert!(b.got(9).is_empty()); // [MQTT-3.14.4-3] [MQTT-3.1.2-10]
        } else {
            assert_eq!(b.got(9), ["will gone q0"], "{n}"); // [MQTT-3.1.2-12]
        }
    }
    let will = b.broker.retained("#").next().unwrap(); // [MQTT-3.1.2-16] [MQTT-3.1.2-17]
    assert_eq!((will.topic, &will.payload[..], will.qos), ("will", &b"gone"[..], Q1));
}

#[test]
fn a_silent_client_is_closed_after_one_and_a_half_times_its_keep_alive() {
    let mut b = Bench::default();
    b.open(1, &Connect { keep_alive: 10, ..clean("a") });
    b.open(2, &clean("b"));
    b.seconds(14);
    b.packet(1, &Packet::PingReq);
    b.seconds(14);
    assert_eq!(b.closed(1), None);
    b.seconds(1);
    assert_eq!(b.closed(1), Some(Reason::KeepAlive)); // [MQTT-3.1.2-24]
    b.seconds(1_000_000);
    assert_eq!(b.closed(2), None); // 0 turns it off
    assert_eq!(b.broker.next_timeout(), None);
}

#[test]
fn a_payload_that_is_still_coming_is_no_silence() {
    let mut b = Bench::default();
    b.open(1, &Connect { keep_alive: 10, ..clean("a") });
    let stream = publish("t", &[7; 30], Q0, false, 1, false);
    for byte in stream.chunks(5) {
        b.send(1, byte).unwrap();
        b.seconds(10);
    }
    assert_eq!((b.closed(1), b.broker.stats().received), (None, 1));
}

#[test]
fn a_connection_that_brings_no_connect_is_closed() {
    let mut b = Bench::default();
    b.broker.accept(b.now, Peer(1)).unwrap();
    b.seconds(9);
    assert_eq!(b.closed(1), None);
    b.seconds(1);
    assert_eq!(b.closed(1), Some(Reason::ConnectTimeout));
}

#[test]
fn the_host_that_errs_is_told_and_nothing_changes() {
    let mut b = Bench::default();
    b.clean(1);
    assert_eq!(b.broker.accept(b.now, Peer(1)), Err(Misuse::WrongState.into()));
    assert_eq!(b.broker.disconnect(b.now, Peer(2)), Err(Misuse::UnknownId.into()));
    let input = Input { peer: Peer(2), bytes: b"x" };
    assert_eq!(b.broker.handle_input(b.now, input), Err(Misuse::UnknownId.into()));
    assert_eq!(b.broker.publish(b.now, "a/+", "", Q0, false), Err(Misuse::InvalidTopic.into()));
    b.lose(2);
    b.broker.pause(Peer(2));
    b.broker.resume(Peer(2));
    b.drain();
    assert_eq!(b.closed(1), None);
    b.lose(1);
    b.broker.accept(b.now, Peer(1)).unwrap();
}

#[test]
fn who_says_goodbye_or_errs_gets_what_is_owed_to_it_first() {
    for (last, reason) in [
        (&b"\xe0\x00"[..], Reason::Disconnected),
        (b"\xe1\x00", Reason::Violation(Violation::ReservedFlags)),
        (b"\x10\x00", Reason::Violation(Violation::Length)),
    ] {
        let mut b = Bench::default();
        b.broker.accept(b.now, Peer(1)).unwrap();
        let stream =
            [&bytes(&Packet::Connect(clean("a"))), &publish("t", b"x", Q1, false, 5, false)[..], last].concat();
        // All at once, and nothing is drained in between.
        let mut rest = &stream[..];
        while !rest.is_empty() {
            match b.broker.handle_input(b.now, Input { peer: Peer(1), bytes: rest }) {
                Ok(handled) => rest = &rest[handled.consumed..],
                Err(_) => break,
            }
        }
        b.drain();
        assert_eq!(b.got(1), ["ConnAck 0 Accepted", "PubAck 5"]); // [MQTT-3.1.4-4]
        assert_eq!(b.closed(1), Some(reason));
        assert_eq!(b.broker.stats().connections, 0);
    }
}

#[test]
fn a_malformed_connect_is_not_answered_even_where_its_identifier_would_be() {
    // No client identifier, a session to be kept, and a will that is cut off: [MQTT-3.1.4-1] before [MQTT-3.1.3-8].
    let connect = b"\x10\x0f\x00\x04MQTT\x04\x04\x00\x00\x00\x00\x00\x09w";
    let mut b = Bench::default();
    b.broker.accept(b.now, Peer(1)).unwrap();
    assert_eq!(b.send(1, connect), Err(Error::Peer(Violation::Length)));
    assert!(b.got(1).is_empty());
    assert_eq!(b.closed(1), Some(Reason::Violation(Violation::Length)));
}
