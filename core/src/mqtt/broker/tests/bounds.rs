//! What a peer can take of the broker, and what happens when it wants more.

use super::{super::*, bench::*};
use crate::mqtt::Violation;
use crate::mqtt::{Connect, ConnectReturnCode as C, Packet};
use std::{format, vec};

#[test]
fn five_hostile_bytes_reserve_nothing() {
    let mut b = Bench::default();
    b.broker.accept(b.now, Peer(1)).unwrap();
    assert_eq!(b.send(1, &[0x10, 0xFF, 0xFF, 0xFF, 0x7F]), Err(Error::Peer(Violation::PacketTooLarge)));
    b.clean(2);
    assert_eq!(b.send(2, &[0x82, 0xFF, 0xFF, 0xFF, 0x7F]), Err(Error::Peer(Violation::PacketTooLarge)));
    b.clean(3);
    // The largest payload allowed: announced, not sent.
    b.send(3, &[0x30, 0x83, 0x80, 0x40, 0, 1, b't']).unwrap();
    assert_eq!(b.broker.connections[&Peer(3)].reserved(), 0);
    b.send(3, &[1; 100]).unwrap();
    assert!(b.broker.connections[&Peer(3)].reserved() <= 200);
    b.send(3, &[1; 10_000]).unwrap();
    assert!(b.broker.connections[&Peer(3)].reserved() <= 20_200);
    b.clean(4);
    // A byte more than the largest.
    assert_eq!(b.send(4, &[0x30, 0x84, 0x80, 0x40, 0, 1, b't']), Err(Error::Peer(Violation::PacketTooLarge)));
}

#[test]
fn a_payload_has_no_slack_when_it_is_whole() {
    let mut b = Bench::default();
    b.clean(1);
    let stream = publish("t", &vec![3; 100_000], Q0, true, 1, false);
    for piece in stream.chunks(1_460) {
        b.send(1, piece).unwrap();
        assert!(b.broker.connections[&Peer(1)].reserved() <= 100_000);
    }
    assert_eq!(b.broker.stats().retained_bytes, 100_001);
}

#[test]
fn connections_and_sessions_are_counted() {
    let config = BrokerConfig { max_connections: 3, max_sessions: 2, ..BrokerConfig::default() };
    let mut b = Bench::new(config);
    b.kept(1, "a");
    b.kept(2, "b");
    assert_eq!(b.kept(3, "c"), ["ConnAck 0 ServerUnavailable"]);
    assert_eq!(b.closed(3), Some(Reason::Refused(C::ServerUnavailable)));
    b.broker.accept(b.now, Peer(3)).unwrap();
    assert_eq!(b.broker.accept(b.now, Peer(4)), Err(Capacity::Peers.into()));
    // Who has a session gets in.
    b.packet(3, &Packet::Connect(Connect { clean_session: false, ..clean("a") }));
    assert_eq!(b.got(3), ["ConnAck 1 Accepted"]);
}

#[test]
fn identifiers_of_clients_have_a_length() {
    let mut b = Bench::new(BrokerConfig { max_client_id: 23, ..BrokerConfig::default() });
    let longest = "0123456789abcdefghijABC"; // [MQTT-3.1.3-5]
    assert_eq!(b.open(1, &clean(longest)), ["ConnAck 0 Accepted"]);
    assert_eq!(b.open(2, &clean(&format!("{longest}x"))), ["ConnAck 0 IdentifierRejected"]); // [MQTT-3.1.3-9]
}

#[test]
fn subscriptions_are_counted_and_so_are_their_bytes() {
    let config = BrokerConfig { max_subscriptions: 2, max_subscription_bytes: 10, ..BrokerConfig::default() };
    let mut b = Bench::new(config);
    b.clean(1);
    b.subscribe(1, &[("1234567", Q0), ("1234", Q0), ("123", Q0), ("a", Q0)]);
    assert_eq!(b.broker.stats().subscriptions, 2);
    b.subscribe(1, &[("123", Q1)]);
    b.unsubscribe(1, &["1234567"]);
    b.subscribe(1, &[("1234", Q0)]);
    assert_eq!(b.broker.stats().subscriptions, 2);
    b.publish(1, "1234", b"x", Q0, false);
    assert_eq!(b.got(1), ["1234 x q0"]);
}

#[test]
fn a_full_queue_drops_what_comes_later() {
    let config = BrokerConfig { max_queued: 3, max_queued_bytes: 100, ..BrokerConfig::default() };
    let mut b = Bench::new(config);
    b.kept(1, "a");
    b.subscribe(1, &[("t", Q1)]);
    b.lose(1);
    for n in 0..5 {
        b.broker.publish(b.now, "t", format!("{n}"), Q1, false).unwrap();
    }
    assert_eq!(b.broker.stats().dropped, 2);
    assert_eq!(b.kept(1, "a"), ["ConnAck 1 Accepted", "t 0 q1#2", "t 1 q1#3", "t 2 q1#4"]);
    for n in 2..5 {
        b.packet(1, &Packet::PubAck(id(n)));
    }
    b.broker.publish(b.now, "t", vec![0; 60], Q1, false).unwrap();
    b.broker.publish(b.now, "t", vec![0; 60], Q1, false).unwrap();
    assert_eq!((b.broker.stats().queued, b.broker.stats().dropped), (1, 3));
    // A message larger than all of the queue may pass when it is alone.
    b.drain();
    b.packet(1, &Packet::PubAck(id(5)));
    b.got(1);
    b.broker.publish(b.now, "t", vec![0; 500], Q1, false).unwrap();
    b.drain();
    assert_eq!(b.got(1), ["t (500 bytes) q1#6"]);
}

#[test]
fn a_publisher_whose_message_cannot_be_retained_gets_no_acknowledgement() {
    let mut b = Bench::new(BrokerConfig { max_retained: 1, max_retained_bytes: 10, ..BrokerConfig::default() });
    b.clean(1);
    b.publish(1, "a", b"1", Q1, true);
    b.publish(1, "b", b"2", Q0, true); // may be let go [MQTT-3.3.1-7]
    assert_eq!(b.got(1), ["PubAck 5"]);
    b.publish(1, "a", b"0123456789", Q0, true); // as the one before must be
    assert_eq!(b.broker.retained("#").count(), 0);
    b.publish(1, "a", b"1", Q1, true);
    b.got(1);
    b.publish(1, "b", b"2", Q2, true);
    assert!(b.got(1).is_empty());
    assert_eq!(b.closed(1), Some(Reason::Capacity(Capacity::Retained))); // [MQTT-4.8.0-2]
    assert_eq!(b.broker.publish(b.now, "b", "2", Q1, true), Err(Capacity::Retained.into()));
}

#[test]
fn messages_of_qos_2_that_are_never_released_end_somewhere() {
    let mut b = Bench::new(BrokerConfig { max_inbound: 3, ..BrokerConfig::default() });
    b.clean(1);
    for n in 1..=3 {
        b.send(1, &publish("t", b"", Q2, false, n, false)).unwrap();
    }
    b.send(1, &publish("t", b"", Q2, false, 3, true)).unwrap();
    assert_eq!(b.closed(1), None);
    b.send(1, &publish("t", b"", Q2, false, 4, false)).unwrap();
    assert_eq!(b.closed(1), Some(Reason::Capacity(Capacity::InFlight)));
}

#[test]
fn who_reads_nothing_is_read_from_no_more() {
    let mut b = Bench::new(BrokerConfig { max_backlog: 10, ..BrokerConfig::default() });
    b.open(1, &Connect { keep_alive: 10, ..clean("a") });
    b.broker.pause(Peer(1));
    let ping = Input { peer: Peer(1), bytes: &[0xC0, 0] };
    let mut taken = 0;
    while b.broker.handle_input(b.now, ping).unwrap().consumed != 0 {
        b.drain();
        taken += 1;
    }
    assert_eq!(taken, 5);
    assert_eq!(b.broker.handle_input(b.now, ping), Ok(Handled::incomplete(0)));
    b.broker.resume(Peer(1));
    b.drain();
    assert_eq!(b.got(1).len(), 5);
    assert_eq!(b.broker.handle_input(b.now, ping), Ok(Handled::quiet(2)));
    b.seconds(15);
    assert_eq!(b.closed(1), Some(Reason::KeepAlive));
}

#[test]
fn messages_of_a_paused_peer_wait_within_bounds() {
    let mut b = Bench::new(BrokerConfig { max_queued: 4, ..BrokerConfig::default() });
    b.clean(1);
    b.subscribe(1, &[("t", Q0)]);
    b.broker.pause(Peer(1));
    for n in 0..10 {
        b.broker.publish(b.now, "t", format!("{n}"), Q0, false).unwrap();
        b.drain();
    }
    assert!(b.got(1).is_empty());
    b.broker.resume(Peer(1));
    b.drain();
    assert_eq!(b.got(1), ["t 0 q0", "t 1 q0", "t 2 q0", "t 3 q0"]);
    // The end of a paused peer is told.
    b.broker.pause(Peer(1));
    b.broker.disconnect(b.now, Peer(1)).unwrap();
    b.drain();
    assert_eq!(b.closed(1), Some(Reason::Host));
}

#[test]
fn a_long_fruitless_search_is_cut_up_and_stops_nobody() {
    let mut b = Bench::default();
    // No jump can tell that none of these ends in `x`.
    for n in 0..20_000 {
        b.broker.publish(b.now, &format!("{n:05}/a"), "1", Q0, true).unwrap();
    }
    b.broker.publish(b.now, "99999/x", "found", Q0, true).unwrap();
    b.clean(1);
    assert!(b.subscribe(1, &[("+/x", Q0)]).is_empty());
    b.clean(2);
    b.packet(2, &Packet::PingReq);
    assert_eq!(b.got(2), ["PingResp"]);
    let mut rounds = 0;
    while b.sent.is_empty() {
        b.now = b.broker.next_timeout().unwrap();
        b.broker.handle_timeout(b.now);
        b.drain();
        rounds += 1;
    }
    assert_eq!(b.got(1), ["99999/x found q0 retain"]);
    assert!((10..=50).contains(&rounds), "{rounds}");
    assert_eq!(b.broker.next_timeout(), None);
}
