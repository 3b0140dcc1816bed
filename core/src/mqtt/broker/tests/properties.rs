//! What holds whatever peers send, and however it is cut up.

use super::{super::*, bench::*};
use crate::mqtt::{Connect, Packet, Will};
use proptest::prelude::*;
use std::{format, string::String, vec, vec::Vec};

const CONFIG: BrokerConfig = BrokerConfig {
    max_connections: 4,
    max_sessions: 5,
    session_expiry: Some(Duration::from_secs(50)),
    connect_timeout: Duration::from_secs(10),
    max_connect: 100,
    max_packet: 100,
    max_payload: 300,
    max_client_id: 8,
    max_subscriptions: 3,
    max_subscription_bytes: 12,
    max_levels: 3,
    max_qos: QoS::ExactlyOnce,
    max_in_flight: 2,
    max_inbound: 2,
    max_queued: 5,
    max_queued_bytes: 600,
    max_retained: 3,
    max_retained_bytes: 700,
    max_backlog: 20,
    sys_interval: None,
    users: Vec::new(),
    ask_host: false,
    persistent: false,
    max_unrecorded: 1_000,
    acl: None,
};

#[derive(Debug, Clone)]
enum Do {
    Accept(u32),
    Lose(u32),
    Send(u32, Vec<u8>),
    Host(String, usize, QoS, bool),
    Disconnect(u32),
    Pause(u32, bool),
    Wait(u64),
    Poll(usize),
}

fn topic() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("a/b"), Just("b"), Just("b/"), Just("$x")].prop_map(String::from)
}

fn filter() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("a/#"), Just("+"), Just("#"), Just("+/b"), Just("a/b/c/d")].prop_map(String::from)
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(Q0), Just(Q1), Just(Q2)]
}

fn packet() -> impl Strategy<Value = Vec<u8>> {
    let connect = ("[a-c]{0,2}", any::<bool>(), 0_u16..20, proptest::option::of((topic(), qos(), any::<bool>())));
    prop_oneof![
        4 => connect.prop_map(|(client_id, clean_session, keep_alive, will)| {
            let will = will.as_ref().map(|(topic, qos, retain)| {
                Will { topic: topic.as_str(), payload: b"will", qos: *qos, retain: *retain }
            });
            let clean_session = clean_session || client_id.is_empty();
            bytes(&Packet::Connect(Connect { client_id: &client_id, clean_session, keep_alive, will, ..clean("") }))
        }),
        8 => (topic(), 0_usize..310, qos(), any::<bool>(), 1_u16..6, any::<bool>()).prop_map(
            |(topic, len, qos, retain, id, dup)| publish(&topic, &vec![b'x'; len], qos, retain, id, dup && qos != Q0)
        ),
        4 => prop::collection::vec((filter(), qos()), 1..4).prop_map(|filters| {
            let filters: Vec<_> = filters.iter().map(|(filter, qos)| (filter.as_str(), *qos)).collect();
            let mut buf = vec![0; crate::mqtt::packet::subscribe_len(&filters)];
            crate::mqtt::packet::encode_subscribe(&mut crate::wire::Writer::new(&mut buf), id(9), &filters);
            buf
        }),
        1 => filter().prop_map(|filter| {
            let mut buf = vec![0; crate::mqtt::packet::unsubscribe_len(&[&filter])];
            crate::mqtt::packet::encode_unsubscribe(&mut crate::wire::Writer::new(&mut buf), id(9), &[&filter]);
            buf
        }),
        6 => (0_u8..4, 1_u16..8).prop_map(|(kind, n)| {
            bytes(&[Packet::PubAck, Packet::PubRec, Packet::PubRel, Packet::PubComp][usize::from(kind)](id(n)))
        }),
        1 => Just(vec![0xC0, 0]),
        1 => Just(vec![0xE0, 0]),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
}

fn action() -> impl Strategy<Value = Do> {
    let peer = 0_u32..5;
    prop_oneof![
        3 => peer.clone().prop_map(Do::Accept),
        1 => peer.clone().prop_map(Do::Lose),
        12 => (peer.clone(), packet()).prop_map(|(peer, bytes)| Do::Send(peer, bytes)),
        1 => (topic(), 0_usize..400, qos(), any::<bool>()).prop_map(|(t, n, q, r)| Do::Host(t, n, q, r)),
        1 => peer.clone().prop_map(Do::Disconnect),
        1 => (peer, any::<bool>()).prop_map(|(peer, pause)| Do::Pause(peer, pause)),
        1 => (0_u64..20).prop_map(Do::Wait),
        4 => (0_usize..50).prop_map(Do::Poll),
    ]
}

fn check(broker: &Broker) {
    let stats = broker.stats();
    assert!(stats.connections <= CONFIG.max_connections && stats.sessions <= CONFIG.max_sessions);
    assert!(stats.retained <= CONFIG.max_retained && stats.retained_bytes <= CONFIG.max_retained_bytes);
    assert!(stats.subscriptions <= stats.sessions * CONFIG.max_subscriptions);
    assert_eq!(broker.clients.len(), stats.sessions);
    for session in broker.sessions.values() {
        let (messages, bytes) = session.queued();
        // One message may go beyond: where no other waits, or where the others wait for it.
        let message = CONFIG.max_payload as usize + "a/b".len();
        assert!(messages <= CONFIG.max_queued + 1 && bytes <= CONFIG.max_queued_bytes + message);
        assert!(session.inbound() <= CONFIG.max_inbound);
        assert!(session.releasing().count() <= CONFIG.max_in_flight);
        assert!(session.filters().map(|filter| filter.len()).sum::<usize>() <= CONFIG.max_subscription_bytes);
    }
    for connection in broker.connections.values() {
        assert!(connection.reserved() <= CONFIG.max_payload as usize);
        assert!(connection.backlog() <= CONFIG.max_backlog + CONFIG.max_packet as usize);
    }
    assert!(broker.ready.len() <= broker.connections.len());
}

proptest! {
    #[test]
    fn no_sequence_of_anything_panics_or_takes_more_than_it_may(actions in prop::collection::vec(action(), 0..150)) {
        let mut broker = Broker::new(CONFIG, 3);
        let mut now = Instant::ZERO;
        let mut out = [0; 50];
        for action in actions {
            match action {
                Do::Accept(peer) => drop(broker.accept(now, Peer(peer))),
                Do::Lose(peer) => broker.connection_lost(now, Peer(peer)),
                Do::Send(peer, bytes) => {
                    let mut rest = &bytes[..];
                    while let Ok(handled) = broker.handle_input(now, Input { peer: Peer(peer), bytes: rest }) {
                        prop_assert!(handled.consumed <= rest.len());
                        rest = &rest[handled.consumed..];
                        if rest.is_empty() || handled.consumed == 0 {
                            break;
                        }
                    }
                }
                Do::Host(topic, len, qos, retain) => _ = broker.publish(now, &topic, vec![1; len], qos, retain),
                Do::Disconnect(peer) => drop(broker.disconnect(now, Peer(peer))),
                Do::Pause(peer, true) => broker.pause(Peer(peer)),
                Do::Pause(peer, false) => broker.resume(Peer(peer)),
                Do::Wait(seconds) => {
                    now = now.after(Duration::from_secs(seconds));
                    broker.handle_timeout(now);
                }
                Do::Poll(size) => drop(broker.poll_output(now, &mut out[..size])),
            }
            check(&broker);
        }
        // In the end it comes to rest.
        for _ in 0..100_000 {
            if let Output::Timeout(at) = broker.poll_output(now, &mut out) {
                prop_assert!(at.is_none_or(|at| at > now));
                return Ok(());
            }
        }
        prop_assert!(false, "there is always more to send");
    }

    #[test]
    fn any_split_of_the_input_gives_the_same(packets in prop::collection::vec(packet(), 1..12), cut in 1_usize..30) {
        let run = |pieces: usize| {
            let mut b = Bench::new(BrokerConfig { max_backlog: 10_000, ..CONFIG });
            b.clean(1);
            b.subscribe(1, &[("#", Q0)]);
            b.broker.accept(b.now, Peer(2)).unwrap();
            let mut stream = bytes(&Packet::Connect(clean("a")));
            stream.extend(packets.concat());
            let (mut start, mut end) = (0, 0);
            let mut error = None;
            while end < stream.len() {
                end = stream.len().min(end + pieces);
                while start < end && error.is_none() && b.broker.connections.contains_key(&Peer(2)) {
                    let input = Input { peer: Peer(2), bytes: &stream[start..end] };
                    match b.broker.handle_input(b.now, input) {
                        Err(e) => error = Some(e),
                        Ok(Handled { consumed: 0, needed, .. }) => {
                            assert!(needed > 0 && needed <= 105, "{needed}");
                            break;
                        }
                        Ok(Handled { consumed, .. }) => start += consumed,
                    }
                    b.drain();
                }
                b.drain();
            }
            (format!("{:?}", b.events), error, b.sent.clone(), b.broker.stats())
        };
        prop_assert_eq!(run(cut), run(usize::MAX / 2));
    }
}
