//! PUBLISH, SUBSCRIBE, retained messages, the three QoS (§3.3, §3.8 - §3.10, §4.3, §4.7).

use super::{super::*, bench::*};
use crate::mqtt::Packet;
use crate::mqtt::Violation;
use std::{format, vec, vec::Vec};

#[test]
fn a_message_goes_to_whom_it_may_concern_at_the_lower_qos() {
    let mut b = Bench::default();
    for (peer, filter, qos) in [(1, "a/+", Q2), (2, "a/#", Q1), (3, "#", Q0), (4, "a/b/c", Q2), (5, "+", Q2)] {
        b.clean(peer);
        assert!(b.subscribe(peer, &[(filter, qos)]).is_empty());
    }
    b.clean(9);
    b.publish(9, "a/b", b"x", Q2, false);
    assert_eq!(b.got(9), ["PubRec 5"]);
    assert_eq!(b.got(1), ["a/b x q2#2"]); // [MQTT-3.8.4-6]
    assert_eq!(b.got(2), ["a/b x q1#2"]);
    assert_eq!(b.got(3), ["a/b x q0"]);
    assert!(b.got(4).is_empty() && b.got(5).is_empty());
}

#[test]
fn subscriptions_that_overlap_deliver_once_at_the_highest_qos() {
    let mut b = Bench::default();
    b.clean(1);
    b.subscribe(1, &[("a/#", Q0), ("a/+", Q2), ("a/b", Q1)]);
    b.publish(1, "a/b", b"x", Q2, false);
    assert_eq!(b.got(1), ["PubRec 5", "a/b x q2#2"]); // [MQTT-3.3.5-1]
}

#[test]
fn suback_grants_each_filter_in_order() {
    let mut b = Bench::new(BrokerConfig { max_qos: Q1, max_levels: 3, ..BrokerConfig::default() });
    b.clean(1);
    let mut buf = [0; 64];
    let mut w = crate::wire::Writer::new(&mut buf);
    crate::mqtt::packet::encode_subscribe(&mut w, id(9), &[("a", Q2), ("b/c/d/e", Q0), ("c", Q0), ("d", Q1)]);
    let subscribe = w.finish().unwrap().to_vec();
    b.send(1, &subscribe).unwrap();
    assert_eq!(b.got(1), ["SubAck 9 [1, 128, 0, 1]"]); // [MQTT-3.8.4-5] [MQTT-3.9.3-1] [MQTT-3.8.4-4]
    b.publish(1, "b/c/d/e", b"x", Q0, false);
    assert!(b.got(1).is_empty());
}

#[test]
fn an_unsubscribed_filter_delivers_no_more_and_others_do() {
    let mut b = Bench::default();
    b.clean(1);
    b.subscribe(1, &[("a/+", Q1), ("a/b", Q0)]);
    assert_eq!(b.unsubscribe(1, &["a/+", "not/there"]), ["UnsubAck 78"]); // [MQTT-3.10.4-5]
    b.publish(1, "a/b", b"x", Q0, false);
    b.publish(1, "a/c", b"y", Q0, false);
    assert_eq!(b.got(1), ["a/b x q0"]); // [MQTT-3.10.4-1] [MQTT-3.10.4-2]
}

#[test]
fn delivery_begun_before_unsubscribe_is_completed() {
    let mut b = Bench::default();
    b.kept(1, "a");
    b.subscribe(1, &[("t", Q1)]);
    b.clean(2);
    b.publish(2, "t", b"x", Q1, false);
    assert_eq!(b.got(1), ["t x q1#2"]);
    b.unsubscribe(1, &["t"]);
    b.lose(1);
    assert_eq!(b.kept(1, "a"), ["ConnAck 1 Accepted", "t x q1#2 dup"]); // [MQTT-3.10.4-3]
}

#[test]
fn a_retained_message_waits_for_subscribers_until_it_is_replaced_or_removed() {
    let mut b = Bench::default();
    b.clean(1);
    b.publish(1, "a/b", b"old", Q0, true);
    b.publish(1, "a/b", b"new", Q1, true); // [MQTT-3.3.1-5]
    b.publish(1, "a/b", b"not kept", Q0, false); // [MQTT-3.3.1-12]
    b.publish(1, "a/c", b"other", Q0, true); // [MQTT-3.3.1-7]
    b.got(1);
    b.clean(2);
    assert_eq!(b.subscribe(2, &[("a/+", Q2)]), ["a/b new q1#2 retain", "a/c other q0 retain"]); // [MQTT-3.3.1-6] [MQTT-3.3.1-8]
    b.publish(1, "a/c", b"live", Q0, true);
    assert_eq!(b.got(2), ["a/c live q0"]); // [MQTT-3.3.1-9]
    b.publish(1, "a/b", b"", Q0, true);
    assert_eq!(b.got(2), ["a/b  q0"]); // [MQTT-3.3.1-10]
    b.clean(3);
    assert_eq!(b.subscribe(3, &[("#", Q0)]), ["a/c live q0 retain"]); // [MQTT-3.3.1-11]
    // Subscribing once more sends them once more [MQTT-3.8.4-3].
    assert_eq!(b.subscribe(3, &[("#", Q0)]), ["a/c live q0 retain"]);
    b.lose(1);
    assert_eq!(b.broker.stats().retained, 1); // [MQTT-3.1.2.7]
}

#[test]
fn the_same_filter_twice_in_one_packet_is_as_in_two() {
    let mut b = Bench::default();
    b.broker.publish(b.now, "t", "old", Q2, true).unwrap();
    b.clean(1);
    // [MQTT-3.8.4-4]: as if they came one after the other; [MQTT-3.8.4-3]: so the second sends it once more.
    let got = b.subscribe(1, &[("t", Q1), ("t", Q0)]);
    assert_eq!(got, ["t old q1#2 retain", "t old q0 retain"]);
    b.broker.publish(b.now, "t", "new", Q2, false).unwrap();
    b.drain();
    assert_eq!(b.got(1), ["t new q0"]);
}

#[test]
fn more_retained_messages_than_are_queued_come_as_the_client_takes_them() {
    let config = BrokerConfig { max_queued: 10, max_queued_bytes: 50_000, max_in_flight: 4, ..BrokerConfig::default() };
    let mut b = Bench::new(config);
    for n in 0..300 {
        b.broker.publish(b.now, &format!("image/{n:03}"), vec![0; 10_000], Q1, true).unwrap();
    }
    b.clean(1);
    let (mut got, mut seen, mut asleep) = (b.subscribe(1, &[("image/#", Q1)]), Vec::new(), 0);
    while seen.len() < 300 {
        assert!(b.broker.stats().queued_bytes <= 50_040);
        assert!(!got.is_empty() && got.len() <= 4, "{got:?}");
        for line in got {
            let (topic, rest) = line.split_once(' ').unwrap();
            seen.push(std::string::String::from(topic));
            let number = rest.split(['#', ' ']).find_map(|word| word.parse().ok()).unwrap();
            b.packet(1, &Packet::PubAck(id(number)));
        }
        got = b.got(1);
        asleep += 1;
        assert!(asleep < 1_000);
    }
    assert!(seen.is_sorted() && b.broker.stats().dropped == 0);
}

#[test]
fn a_message_newer_than_the_subscription_does_not_come_twice() {
    let config = BrokerConfig { max_in_flight: 1, ..BrokerConfig::default() };
    let mut b = Bench::new(config);
    for n in 0..100 {
        b.broker.publish(b.now, &format!("t/{n:02}"), "old", Q1, true).unwrap();
    }
    b.clean(1);
    assert_eq!(b.subscribe(1, &[("t/+", Q1)]), ["t/00 old q1#2 retain"]);
    // Retained, but the search has not come there yet.
    b.broker.publish(b.now, "t/99", "new", Q1, true).unwrap();
    let mut all = Vec::new();
    for n in 2..200 {
        b.packet(1, &Packet::PubAck(id(n)));
        all.extend(b.got(1));
    }
    let last: Vec<_> = all.iter().filter(|line| line.starts_with("t/99")).collect();
    assert_eq!((all.len(), last.len()), (99, 1), "{last:?}");
    assert!(last[0].starts_with("t/99 new q1") && !last[0].ends_with("retain"));
}

#[test]
fn topics_with_a_dollar_are_hidden_from_wildcards_and_closed_to_clients() {
    let config = BrokerConfig { sys_interval: Some(Duration::from_secs(60)), ..BrokerConfig::default() };
    let mut b = Bench::new(config);
    b.clean(1);
    assert!(b.subscribe(1, &[("#", Q0), ("+/broker/version", Q0)]).is_empty()); // [MQTT-4.7.2-1]
    b.seconds(60);
    assert!(b.got(1).is_empty());
    b.clean(2);
    let version = b.subscribe(2, &[("$SYS/broker/version", Q0)]);
    assert_eq!(version, [format!("$SYS/broker/version waft {} q0 retain", env!("CARGO_PKG_VERSION"))]);
    assert_eq!(b.subscribe(2, &[("$SYS/broker/clients/connected", Q0)]), ["$SYS/broker/clients/connected 1 q0 retain"]);
    b.publish(1, "$SYS/broker/version", b"lie", Q1, true);
    assert_eq!(b.got(1), ["PubAck 5"]); // [MQTT-3.3.5-2]
    assert!(b.got(2).is_empty());
    b.seconds(60);
    assert_eq!(b.got(2)[1], "$SYS/broker/clients/connected 2 q0");
}

#[test]
fn qos_2_is_passed_on_once_until_released() {
    let mut b = Bench::default();
    b.clean(1);
    b.subscribe(1, &[("t", Q0)]);
    b.kept(2, "p");
    let first = publish("t", b"x", Q2, false, 7, false);
    let again = publish("t", b"x", Q2, false, 7, true);
    b.send(2, &first).unwrap();
    b.send(2, &again).unwrap();
    b.lose(2);
    assert_eq!(b.kept(2, "p"), ["ConnAck 1 Accepted"]);
    b.send(2, &again).unwrap();
    assert_eq!((b.got(2), b.got(1)), (vec!["PubRec 7".into()], vec!["t x q0".into()])); // [MQTT-4.3.3-2]
    b.packet(2, &Packet::PubRel(id(7)));
    b.packet(2, &Packet::PubRel(id(7)));
    assert_eq!(b.got(2), ["PubComp 7", "PubComp 7"]);
    b.send(2, &first).unwrap();
    assert_eq!(b.got(1), ["t x q0"]);
    // QoS 1 is a new message each time [MQTT-4.3.2-2].
    b.publish(2, "t", b"y", Q1, false);
    b.publish(2, "t", b"y", Q1, false);
    assert_eq!(b.got(1).len(), 2);
}

#[test]
fn qos_2_to_a_client_goes_through_all_four_steps() {
    let mut b = Bench::default();
    b.clean(1);
    b.subscribe(1, &[("t", Q2)]);
    b.broker.publish(b.now, "t", "x", Q2, false).unwrap();
    b.drain();
    assert_eq!(b.got(1), ["t x q2#2"]);
    b.packet(1, &Packet::PubRec(id(2)));
    b.packet(1, &Packet::PubRec(id(2)));
    assert_eq!(b.got(1), ["PubRel 2", "PubRel 2"]); // [MQTT-4.3.3-1]
    b.packet(1, &Packet::PubComp(id(2)));
    // Unknown ones are of an earlier time and are let go.
    b.packet(1, &Packet::PubComp(id(2)));
    b.packet(1, &Packet::PubAck(id(3)));
    assert_eq!(b.broker.stats().queued, 0);
    // The wrong one for a message in flight is a breach.
    b.broker.publish(b.now, "t", "x", Q2, false).unwrap();
    b.drain();
    assert_eq!(b.send(1, &bytes(&Packet::PubAck(id(3)))), Err(Error::Peer(Violation::UnexpectedPacket)));
}

#[test]
fn messages_keep_their_order_and_identifiers_in_flight_are_not_reused() {
    let config = BrokerConfig { max_in_flight: 3, ..BrokerConfig::default() };
    let mut b = Bench::new(config);
    b.clean(1);
    b.subscribe(1, &[("t", Q1)]);
    for n in 0..7 {
        b.broker.publish(b.now, "t", format!("{n}"), Q1, false).unwrap();
    }
    b.broker.publish(b.now, "t", "at once", Q0, false).unwrap();
    b.drain();
    assert_eq!(b.got(1), ["t 0 q1#2", "t 1 q1#3", "t 2 q1#4", "t at once q0"]); // [MQTT-4.6.0-6]
    b.packet(1, &Packet::PubAck(id(3)));
    assert_eq!(b.got(1), ["t 3 q1#5"]);
    // Once around all identifiers 2 and 4 are still in flight [MQTT-2.3.1-4].
    let mut next = 5_u32;
    for n in 0..65_540 {
        b.broker.publish(b.now, "t", format!("{n}"), Q1, false).unwrap();
        b.packet(1, &Packet::PubAck(id(next as u16)));
        let got = b.got(1);
        let line = got.first().unwrap();
        next = line.rsplit('#').next().unwrap().parse().unwrap();
        assert!(next != 2 && next != 4, "{line}");
    }
}

#[test]
fn a_message_larger_than_every_buffer_leaves_in_pieces_with_nothing_between() {
    let mut b = Bench { out: 7, ..Bench::default() };
    b.clean(1);
    b.subscribe(1, &[("big", Q0)]);
    b.clean(2);
    let payload: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
    let stream = publish("big", &payload, Q0, false, 1, false);
    for piece in stream.chunks(999) {
        let mut piece = piece;
        while !piece.is_empty() {
            let handled = b.broker.handle_input(b.now, Input { peer: Peer(2), bytes: piece }).unwrap();
            piece = &piece[handled.consumed..];
        }
    }
    let mut out = [0; 7];
    let (mut got, mut pings) = (Vec::new(), 0);
    while let Output::Transmit { peer: Peer(1), bytes } = b.broker.poll_output(b.now, &mut out) {
        got.extend_from_slice(bytes);
        if got.len() % 1_000 == 0 {
            let ping = Input { peer: Peer(1), bytes: &[0xC0, 0] };
            b.broker.handle_input(b.now, ping).unwrap();
            pings += 1;
        }
    }
    assert!(pings > 10);
    assert_eq!(got[..stream.len()], stream);
    assert_eq!(got[stream.len()..], [0xD0, 0].repeat(pings));
}

#[test]
fn a_buffer_of_nothing_is_too_small_and_nothing_is_lost() {
    let mut b = Bench::default();
    b.clean(1);
    b.subscribe(1, &[("t", Q1)]);
    b.broker.publish(b.now, "t", "x", Q1, false).unwrap();
    for _ in 0..3 {
        assert_eq!(b.broker.poll_output(b.now, &mut []), Output::BufferTooSmall { needed: 1 });
    }
    b.drain();
    assert_eq!(b.got(1), ["t x q1#2"]);
}

#[test]
fn peers_take_turns() {
    let mut b = Bench::default();
    for peer in 0..4 {
        b.clean(peer);
        b.subscribe(peer, &[("t", Q0)]);
    }
    b.broker.publish(b.now, "t", vec![1; 10_000], Q0, false).unwrap();
    let (mut out, mut turns) = ([0; 100], Vec::new());
    while let Output::Transmit { peer, .. } = b.broker.poll_output(b.now, &mut out) {
        turns.push(peer.0);
    }
    for four in turns.chunks_exact(4) {
        let mut four = four.to_vec();
        four.sort_unstable();
        assert_eq!(four, [0, 1, 2, 3]);
    }
}

#[test]
fn a_payload_is_kept_once_for_all() {
    let mut b = Bench::default();
    let payload = Bytes::from(vec![7; 1_000]);
    for peer in 0..3 {
        b.kept(peer, &format!("c{peer}"));
        b.subscribe(peer, &[("t", Q1)]);
        b.lose(peer);
    }
    b.broker.publish(b.now, "t", payload.clone(), Q1, true).unwrap();
    let kept = b.broker.retained("t").next().unwrap().payload;
    assert_eq!(kept.as_ptr(), payload.as_ptr());
    assert_eq!(b.broker.stats().queued_bytes, 3 * 1_001);
}

#[test]
fn a_message_does_not_overtake_the_retained_one_of_its_topic() {
    let config = BrokerConfig { max_in_flight: 1, max_queued: 70, ..BrokerConfig::default() };
    let mut b = Bench::new(config);
    for n in 0..100 {
        b.broker.publish(b.now, &format!("t/{n:02}"), "old", Q1, true).unwrap();
    }
    b.clean(1);
    assert_eq!(b.subscribe(1, &[("t/+", Q1)]), ["t/00 old q1#2 retain"]);
    // Not retained themselves, and the search has not come to the second. The queue is full before the last.
    for topic in ["t/01", "t/99", "t/02", "t/99", "t/99", "t/99", "t/99"] {
        b.broker.publish(b.now, topic, "new", Q1, false).unwrap();
    }
    let mut all = Vec::new();
    for n in 2..200 {
        b.packet(1, &Packet::PubAck(id(n)));
        all.extend(b.got(1));
    }
    let dropped = usize::try_from(b.broker.stats().dropped).unwrap();
    assert_eq!((all.len(), b.broker.stats().queued, b.broker.stats().queued_bytes), (99 + 7 - dropped, 0, 0));
    assert!((1..4).contains(&dropped));
    for topic in ["t/01", "t/02", "t/99"] {
        let lines: Vec<_> = all.iter().filter(|line| line.starts_with(topic)).collect();
        assert!(lines.len() > 1, "{lines:?}");
        for (n, line) in lines.iter().enumerate() {
            assert!(line.contains(if n == 0 { " old " } else { " new " }), "{lines:?}");
        }
    }
}
