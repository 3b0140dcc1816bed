//! What finding the subscribers of a topic costs among N subscriptions: `match_cost N`, under
//! `valgrind --tool=callgrind --toggle-collect='*find_subscribers*'`. Prints how many searches it made.
//!
//! The subscriptions are of one session each thousand, three levels deep as topics of devices are.

use std::hint::black_box;
use waft::mqtt::broker::{Broker, BrokerConfig};
use waft::mqtt::packet::{encode_subscribe, subscribe_len};
use waft::mqtt::{Connect, Packet, PacketId, QoS};
use waft::{Input, Instant, Output, Peer, wire::Writer};

const SEARCHES: u32 = 1_000;

fn topic(n: u32) -> String {
    format!("site/device{n:07}/state")
}

fn main() {
    let n: u32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(10);
    let now = Instant::ZERO;
    let config = BrokerConfig { max_queued: 1, ..BrokerConfig::default() };
    let mut broker = Broker::new(config, 1);
    let mut out = vec![0; 4_096];
    let filters: Vec<String> = (0..n).map(topic).collect();
    for (peer, filters) in (0_u32..).zip(filters.chunks(1_000)) {
        broker.accept(now, Peer(peer)).expect("there is room");
        let mut send = |packet: &[u8]| {
            broker.handle_input(now, Input { peer: Peer(peer), bytes: packet }).expect("a packet");
            while !matches!(broker.poll_output(now, &mut out), Output::Timeout(_)) {}
        };
        let connect = Packet::Connect(Connect { client_id: &format!("c{peer}"), ..Connect::default() });
        let mut packet = vec![0; connect.encoded_len()];
        connect.encode(&mut Writer::new(&mut packet));
        send(&packet);
        let filters: Vec<_> = filters.iter().map(|filter| (filter.as_str(), QoS::AtMostOnce)).collect();
        let mut packet = vec![0; subscribe_len(&filters)];
        encode_subscribe(&mut Writer::new(&mut packet), PacketId::new(1).expect("not 0"), &filters);
        send(&packet);
    }
    assert_eq!(broker.stats().subscriptions, n as usize);
    let topics: Vec<_> = (0..SEARCHES).map(|i| topic((i * 7_919) % n)).collect();
    for topic in &topics {
        black_box(find_subscribers(&mut broker, now, topic));
        while !matches!(broker.poll_output(now, &mut out), Output::Timeout(_)) {}
    }
    println!("{SEARCHES}");
}

#[inline(never)]
fn find_subscribers(broker: &mut Broker, now: Instant, topic: &str) -> usize {
    broker.publish(now, topic, bytes::Bytes::new(), QoS::AtMostOnce, false).expect("a topic")
}
