//! A broker that takes up arbitrary bytes: it refuses them and is as it was, or is a broker that keeps its word. Then
//! what it writes is what it takes up again.
//!
//! The first byte says what the rest is: 0 a file as it is, otherwise bodies of records, each behind its length (two
//! bytes), for which the frames are made here, as no fuzzer finds a checksum.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use waft::{
    Input, Instant, Output, Peer,
    mqtt::{
        QoS,
        broker::{Broker, BrokerConfig, Event, Stats},
    },
};

fn config() -> BrokerConfig {
    BrokerConfig {
        persistent: true,
        max_in_flight: 3,
        max_queued: 6,
        max_retained: 5,
        max_retained_bytes: 1_000,
        ..BrokerConfig::default()
    }
}

/// CRC-32 (IEEE 802.3).
fn crc(pieces: &[&[u8]]) -> u32 {
    !pieces.iter().copied().flatten().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

fn frame(file: &mut Vec<u8>, body: &[u8]) {
    let len = (body.len() as u32).to_be_bytes();
    file.extend_from_slice(&len);
    file.extend_from_slice(&crc(&[&len, body]).to_be_bytes());
    file.extend_from_slice(body);
}

fn file(data: &[u8]) -> Vec<u8> {
    let Some((how, mut rest)) = data.split_first() else { return Vec::new() };
    if *how == 0 {
        return rest.to_vec();
    }
    let mut file = Vec::new();
    frame(&mut file, b"\x01waft broker 1");
    while let Some((len, behind)) = rest.split_first_chunk::<2>() {
        let (body, behind) = behind.split_at(usize::from(u16::from_be_bytes(*len)).min(behind.len()));
        frame(&mut file, body);
        rest = behind;
    }
    file
}

/// Goes on until there is nothing to do; what each peer got.
fn settle(broker: &mut Broker) -> BTreeMap<u32, Vec<u8>> {
    let (mut got, mut out) = (BTreeMap::<u32, Vec<u8>>::new(), [0; 255]);
    for _ in 0..1_000_000 {
        match broker.poll_output(Instant::ZERO, &mut out) {
            Output::Transmit { peer, bytes } => got.entry(peer.0).or_default().extend_from_slice(bytes),
            Output::Event(Event::Record { .. }) => broker.recorded(Instant::ZERO).expect("it was given"),
            Output::Timeout(at) if at.is_none_or(|at| at > Instant::ZERO) => return got,
            Output::Timeout(_) => panic!("a deadline that has passed"),
            _ => {}
        }
    }
    panic!("there is always more to do");
}

/// What does not depend on who is there.
fn lasting(broker: &Broker) -> (Stats, Vec<(String, Vec<u8>, QoS)>) {
    let stats = Stats { received: 0, sent: 0, dropped: 0, denied: 0, connections: 0, connected: 0, ..broker.stats() };
    (stats, broker.retained("#").map(|m| (m.topic.to_owned(), m.payload.to_vec(), m.qos)).collect())
}

fn compacted(broker: &mut Broker) -> Vec<u8> {
    let pieces = broker.compact().expect("nothing is being written");
    broker.recorded(Instant::ZERO).expect("it was given");
    pieces.concat()
}

fuzz_target!(|data: &[u8]| {
    let file = file(data);
    let mut broker = Broker::new(config(), 1);
    match broker.restore(Instant::ZERO, &file) {
        Err(_) => {
            assert_eq!(lasting(&broker), lasting(&Broker::new(config(), 1)));
            return assert!(broker.restore(Instant::ZERO, b"").is_ok());
        }
        Ok(found) => {
            let stats = broker.stats();
            assert!(found.torn <= file.len() && found.sessions == stats.sessions);
            assert!(stats.retained <= 5 && stats.retained_bytes <= 1_000);
        }
    }
    // What it writes is what it takes up, and writes.
    let first = compacted(&mut broker);
    let mut again = Broker::new(config(), 1);
    assert_eq!(again.restore(Instant::ZERO, &first).expect("its own bytes").torn, 0);
    assert_eq!(lasting(&again), lasting(&broker));
    let second = compacted(&mut again);
    assert_eq!(first, second);

    // Clients take up their sessions, and messages go through them.
    for (n, client) in [b'a', b'b', b'x'].into_iter().enumerate() {
        let peer = Peer(n as u32);
        let _ = broker.accept(Instant::ZERO, peer);
        let stream = [b"\x10\x0d\0\x04MQTT\x04\0\0\0\0\x01".as_slice(), &[client]].concat();
        let _ = broker.handle_input(Instant::ZERO, Input { peer, bytes: &stream });
        assert!(settle(&mut broker).get(&peer.0).is_some_and(|got| got.starts_with(&[0x20, 2])));
        for bytes in
            [&b"\x82\x06\0\x09\0\x01#\x02"[..], b"\x34\x06\0\x01a\0\x05x", b"\x62\x02\0\x05", b"\x50\x02\0\x02"]
        {
            let _ = broker.handle_input(Instant::ZERO, Input { peer, bytes });
            settle(&mut broker);
        }
    }
    let mut last = Broker::new(config(), 1);
    let bytes = compacted(&mut broker);
    assert_eq!(last.restore(Instant::ZERO, &bytes).expect("its own bytes").torn, 0);
});
