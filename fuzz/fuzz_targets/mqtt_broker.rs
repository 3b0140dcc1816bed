//! The broker under any interleaving of peers, packets, commands, time and buffers of any size: it does not panic, keeps
//! its bounds, consumes no more than it is given, and always comes to rest.
//!
//! The input is a list of steps, each an opcode, an argument and, where bytes are sent, a length and those bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use waft::{
    Duration, Input, Instant, Output, Peer,
    mqtt::{
        QoS,
        broker::{Broker, BrokerConfig, Event},
    },
};

const TOPICS: [&str; 4] = ["a", "a/b", "b/", "$SYS/x"];

fn config() -> BrokerConfig {
    BrokerConfig {
        max_connections: 6,
        max_sessions: 8,
        session_expiry: Some(Duration::from_secs(60)),
        max_connect: 200,
        max_packet: 300,
        max_payload: 500,
        max_client_id: 10,
        max_subscriptions: 4,
        max_subscription_bytes: 40,
        max_levels: 4,
        max_in_flight: 3,
        max_inbound: 3,
        max_queued: 6,
        max_queued_bytes: 1_000,
        max_retained: 5,
        max_retained_bytes: 1_000,
        max_backlog: 40,
        ..BrokerConfig::default()
    }
}

fn check(broker: &Broker) {
    let (stats, config) = (broker.stats(), broker.config());
    assert!(stats.connections <= config.max_connections);
    assert!(stats.connected <= stats.connections);
    assert!(stats.sessions <= config.max_sessions);
    assert!(stats.subscriptions <= stats.sessions * config.max_subscriptions);
    assert!(stats.retained <= config.max_retained && stats.retained_bytes <= config.max_retained_bytes);
    assert_eq!(broker.retained("#").count() + broker.retained("$SYS/#").count(), stats.retained);
    assert!(stats.queued <= stats.sessions * config.max_queued);
    assert!(stats.queued_bytes <= stats.sessions * config.max_queued_bytes);
}

fuzz_target!(|data: &[u8]| {
    let mut broker = Broker::new(config(), 1);
    let mut now = Instant::ZERO;
    let mut out = [0; 255];
    let mut rest = data;
    while let [op, arg, after @ ..] = rest {
        rest = after;
        let peer = Peer(u32::from(arg & 7));
        match op % 10 {
            0 => drop(broker.accept(now, peer)),
            1 => broker.connection_lost(now, peer),
            2 => drop(broker.disconnect(now, peer)),
            3 if arg & 8 == 0 => broker.pause(peer),
            3 => broker.resume(peer),
            4 => {
                now = now.after(Duration::from_secs(u64::from(*arg)));
                broker.handle_timeout(now);
            }
            5 => {
                let topic = TOPICS[usize::from(arg & 3)];
                let qos = QoS::from_u8((arg >> 2) & 3).unwrap_or_default();
                let _ = broker.publish(now, topic, vec![0; usize::from(*arg)], qos, arg & 0x80 != 0);
            }
            6 => {
                let size = usize::from(*arg);
                match broker.poll_output(now, &mut out[..size]) {
                    Output::Transmit { bytes, .. } => assert!(!bytes.is_empty() && bytes.len() <= size),
                    Output::BufferTooSmall { needed } => assert!(needed > size),
                    Output::Timeout(at) => assert!(at.is_none_or(|at| at > now)),
                    Output::Event(_) => {}
                }
            }
            _ => {
                let [len, bytes @ ..] = rest else { break };
                let (mut bytes, after) = bytes.split_at(usize::from(*len).min(bytes.len()));
                rest = after;
                while let Ok(handled) = broker.handle_input(now, Input { peer, bytes }) {
                    assert!(handled.consumed <= bytes.len());
                    bytes = &bytes[handled.consumed..];
                    if bytes.is_empty() || handled.consumed == 0 {
                        break;
                    }
                }
            }
        }
        check(&broker);
    }
    // It comes to rest, and every peer that was told to be closed is forgotten.
    for _ in 0..1_000_000 {
        match broker.poll_output(now, &mut out) {
            Output::Event(Event::Close { peer, .. }) => assert!(broker.disconnect(now, peer).is_err()),
            Output::Timeout(at) => return assert!(at.is_none_or(|at| at > now)),
            _ => {}
        }
    }
    panic!("there is always more to send");
});
