//! What is kept for clients that are away, and sent again when they come back (§4.1, §4.4, §4.6).

use super::{super::*, bench::*};
use crate::mqtt::Packet;
use std::format;

#[test]
fn messages_wait_for_a_client_that_is_away() {
    let mut b = Bench::default();
    b.kept(1, "sleeper");
    b.subscribe(1, &[("t", Q2)]);
    b.packet(1, &Packet::Disconnect);
    b.clean(2);
    for (payload, qos) in [(b"0", Q0), (b"1", Q1), (b"2", Q2)] {
        b.publish(2, "t", payload, qos, false);
    }
    assert_eq!(b.kept(1, "sleeper"), ["ConnAck 1 Accepted", "t 1 q1#2", "t 2 q2#3"]); // [MQTT-3.1.2-5]
    assert_eq!(b.broker.stats().dropped, 1);
}

#[test]
fn a_clean_session_ends_with_its_connection() {
    let mut b = Bench::default();
    b.clean(1);
    b.subscribe(1, &[("t", Q1)]);
    b.lose(1);
    assert_eq!(b.broker.stats(), Stats::default()); // [MQTT-3.1.2-6]
}

#[test]
fn a_kept_session_is_forgotten_for_a_clean_one() {
    let mut b = Bench::default();
    b.kept(1, "a");
    b.subscribe(1, &[("t", Q1)]);
    b.lose(1);
    b.broker.publish(b.now, "t", "x", Q1, false).unwrap();
    assert_eq!(b.open(1, &clean("a")), ["ConnAck 0 Accepted"]);
    assert_eq!((b.broker.stats().subscriptions, b.broker.stats().queued), (0, 0));
}

#[test]
fn what_was_not_acknowledged_is_sent_again_in_order() {
    let mut b = Bench::default();
    b.kept(1, "a");
    b.subscribe(1, &[("t", Q2)]);
    for n in 0..6 {
        b.broker.publish(b.now, "t", format!("{n}"), if n % 2 == 0 { Q1 } else { Q2 }, false).unwrap();
    }
    b.drain();
    let first = ["t 0 q1#2", "t 1 q2#3", "t 2 q1#4", "t 3 q2#5", "t 4 q1#6", "t 5 q2#7"];
    assert_eq!(b.got(1), first);
    b.packet(1, &Packet::PubAck(id(4)));
    b.packet(1, &Packet::PubRec(id(7)));
    b.packet(1, &Packet::PubRec(id(3)));
    for _ in 0..2 {
        b.lose(1);
        // [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-4.6.0-1] [MQTT-4.6.0-4]
        let again = ["ConnAck 1 Accepted", "PubRel 7", "PubRel 3", "t 0 q1#2 dup", "t 3 q2#5 dup", "t 4 q1#6 dup"];
        assert_eq!(b.kept(1, "a"), again);
    }
    b.packet(1, &Packet::PubComp(id(7)));
    b.packet(1, &Packet::PubAck(id(2)));
    b.lose(1);
    assert_eq!(b.kept(1, "a"), ["ConnAck 1 Accepted", "PubRel 3", "t 3 q2#5 dup", "t 4 q1#6 dup"]);
}

#[test]
fn a_message_cut_off_in_the_middle_is_sent_again_from_its_beginning() {
    let mut b = Bench { out: 10, ..Bench::default() };
    b.kept(1, "a");
    b.subscribe(1, &[("t", Q1)]);
    b.broker.publish(b.now, "t", "0123456789abcdef", Q1, false).unwrap();
    let mut out = [0; 10];
    assert!(matches!(b.broker.poll_output(b.now, &mut out), Output::Transmit { .. }));
    b.lose(1);
    assert_eq!(b.kept(1, "a"), ["ConnAck 1 Accepted", "t 0123456789abcdef q1#2 dup"]);
}

#[test]
fn half_a_publish_of_a_lost_connection_is_no_message() {
    let mut b = Bench::default();
    b.clean(1);
    b.subscribe(1, &[("t", Q0)]);
    b.kept(2, "p");
    let stream = publish("t", b"whole", Q2, false, 3, false);
    b.send(2, &stream[..stream.len() - 1]).unwrap();
    b.lose(2);
    b.kept(2, "p");
    b.send(2, &publish("t", b"whole", Q2, false, 3, true)).unwrap();
    assert_eq!(b.got(1), ["t whole q0"]);
}

#[test]
fn an_acknowledgement_may_come_before_the_message_was_sent_again() {
    let config = BrokerConfig { max_in_flight: 2, ..BrokerConfig::default() };
    let mut b = Bench::new(config);
    b.kept(1, "a");
    b.subscribe(1, &[("t", Q1)]);
    for n in 0..3 {
        b.broker.publish(b.now, "t", format!("{n}"), Q1, false).unwrap();
    }
    b.drain();
    b.lose(1);
    b.broker.accept(b.now, Peer(1)).unwrap();
    b.sent.clear();
    // Both at once, before anything is sent: the client knows what it has got.
    let mut stream = bytes(&Packet::Connect(crate::mqtt::Connect { clean_session: false, ..clean("a") }));
    stream.extend(bytes(&Packet::PubAck(id(2))));
    let mut rest = &stream[..];
    while !rest.is_empty() {
        rest = &rest[b.broker.handle_input(b.now, Input { peer: Peer(1), bytes: rest }).unwrap().consumed..];
    }
    b.drain();
    assert_eq!(b.got(1), ["ConnAck 1 Accepted", "t 1 q1#3 dup", "t 2 q1#4"]);
}

#[test]
fn a_session_is_forgotten_when_it_expires() {
    let config = BrokerConfig { session_expiry: Some(Duration::from_secs(100)), ..BrokerConfig::default() };
    let mut b = Bench::new(config);
    b.kept(1, "a");
    b.subscribe(1, &[("t", Q1)]);
    b.seconds(1_000); // [MQTT-4.1.0-2]
    b.lose(1);
    b.seconds(99);
    assert_eq!(b.kept(1, "a"), ["ConnAck 1 Accepted"]);
    b.seconds(99);
    b.lose(1);
    b.seconds(100);
    assert_eq!(b.broker.stats(), Stats::default());
    assert_eq!(b.kept(1, "a"), ["ConnAck 0 Accepted"]);
}
