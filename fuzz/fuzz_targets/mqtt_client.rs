//! The MQTT client under any interleaving of input, time, commands and small output buffers. What it sends is a
//! stream of well-formed client packets that starts with CONNECT, its deadlines lie in the future, and no identifier
//! is given out twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;
use waft::mqtt::client::{Client, Config, Event, InFlight, State};
use waft::mqtt::packet::{Connect, Decoded, Packet, PacketId, QoS, Will, decode_from_client};
use waft::{Input, Instant, Output, Peer, Storage};

/// What the server makes of the bytes of one connection.
#[derive(Default)]
struct Receiver {
    bytes: Vec<u8>,
    payload: u32,
    packets: usize,
    done: bool,
}

impl Receiver {
    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            assert!(!self.done, "bytes after DISCONNECT");
            if self.payload > 0 {
                self.payload -= 1;
                continue;
            }
            self.bytes.push(byte);
            if let Decoded::Packet { packet, len } = decode_from_client(&self.bytes, 1 << 16).expect("well-formed") {
                assert_eq!(len, self.bytes.len());
                assert_eq!(matches!(packet, Packet::Connect(_)), self.packets == 0);
                match packet {
                    Packet::Publish(publish) => self.payload = publish.payload_len,
                    Packet::Disconnect => self.done = true,
                    _ => {}
                }
                self.packets += 1;
                self.bytes.clear();
            }
        }
    }
}

struct Data<'a>(&'a [u8]);

impl Data<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }
}

const SERVER: Peer = Peer(1);

fuzz_target!(|data: &[u8]| {
    let mut data = Data(data);
    let config = Config {
        manual_ack: data.byte() & 1 != 0,
        max_packet: u16::from(data.byte()),
        window: u16::from(data.byte() % 64),
        keep_free: u16::from(data.byte() % 4),
        ..Config::default()
    };
    let arena = Storage::Owned(vec![0; usize::from(data.byte()) * 2]);
    let table: Vec<InFlight> = vec![InFlight::EMPTY; usize::from(data.byte() % 10)];
    let places = table.len();
    let mut client = Client::new(config, arena, table);
    let mut now = Instant::ZERO;
    let mut rx: Vec<u8> = Vec::new();
    let mut receiver = Receiver::default();
    let mut ours: HashSet<PacketId> = HashSet::new();
    let mut last_wanted = 0_u32;

    while !data.0.is_empty() {
        let mut new_id = None;
        match data.byte() % 16 {
            0 => {
                let n = usize::from(data.byte()).min(data.0.len());
                rx.extend_from_slice(&data.0[..n]);
                data.0 = &data.0[n..];
            }
            // Packets that fit, so that the fuzzer need not find them.
            1 => rx.extend([[0x40, 0x50, 0x62, 0x70, 0xB0][usize::from(data.byte() % 5)], 2, 0, data.byte() % 8]),
            2 => {
                let (flags, id, len) = (data.byte(), data.byte() % 8, data.byte() % 64);
                match flags & 6 {
                    0 => rx.extend([0x30 | flags & 1, 3 + len, 0, 1, b'a']),
                    qos => rx.extend([0x30 | flags & 9 | (qos & 6).min(4), 5 + len, 0, 1, b'a', 0, id]),
                }
                rx.resize(rx.len() + usize::from(len), flags);
            }
            3 => rx.extend([0x20, 2, data.byte() & 1, 0]),
            4 => rx.extend([0x90, 3, 0, data.byte() % 8, 1]),
            5 => now = Instant::from_micros(now.as_micros().saturating_add(u64::from(data.byte()) * 500_000)),
            6 => {
                let flags = data.byte();
                let connect = Connect {
                    client_id: if flags & 2 != 0 { "client" } else { "" },
                    clean_session: flags & 1 != 0,
                    keep_alive: u16::from(flags),
                    will: (flags & 4 != 0).then_some(Will {
                        topic: "w",
                        payload: b"gone",
                        qos: QoS::AtLeastOnce,
                        retain: true,
                    }),
                    username: (flags & 8 != 0).then_some("user"),
                    password: (flags & 16 != 0).then_some(b"secret"),
                };
                if client.connect(now, SERVER, &connect).is_ok() {
                    rx.clear();
                    receiver = Receiver::default();
                    if connect.clean_session {
                        ours.clear();
                    }
                }
            }
            7 => client.connection_lost(now),
            8 => {
                let _ = client.disconnect(now);
            }
            9 => {
                let (qos, len) = (QoS::from_u8(data.byte() % 3).unwrap_or_default(), usize::from(data.byte() % 32));
                new_id = client.publish(now, "t/opic", &[7; 32][..len], qos, false).ok().flatten();
            }
            10 => {
                let (qos, len) = (QoS::from_u8(data.byte() % 3).unwrap_or_default(), u32::from(data.byte()));
                new_id = client.publish_streamed(now, "stream", len, qos, true).ok().flatten();
            }
            11 => {
                let _ = client.payload(now, &vec![9; usize::from(data.byte()).min(last_wanted as usize + 1)]);
            }
            12 => new_id = client.subscribe(now, &[("a/+", QoS::ExactlyOnce), ("#", QoS::AtMostOnce)]).ok(),
            13 => new_id = client.unsubscribe(now, &["a/+"]).ok(),
            14 => {
                if let Some(id) = PacketId::new(u16::from(data.byte() % 8)) {
                    let _ = client.acknowledge(now, id);
                }
            }
            _ => client.handle_timeout(now),
        }
        if let Some(id) = new_id {
            assert!(ours.insert(id), "{id:?} is in flight");
        }

        // Something goes out, through a small buffer.
        let mut out = vec![0; usize::from(data.byte() % 24)];
        let mut rounds = 0;
        if data.byte() & 3 != 0 {
            loop {
                rounds += 1;
                assert!(rounds < 10_000, "no end of output");
                match client.poll_output(now, &mut out) {
                    Output::Transmit { peer, bytes } => {
                        assert_eq!(peer, SERVER);
                        assert!(!bytes.is_empty());
                        receiver.take(bytes);
                    }
                    Output::Event(Event::PayloadWanted { len, .. }) => {
                        assert!(len > 0);
                        last_wanted = len;
                    }
                    Output::Event(Event::Closed { .. }) => assert_eq!(client.state(), State::Closed),
                    Output::Event(event) => panic!("{event:?}"),
                    Output::BufferTooSmall { needed } => {
                        assert!(needed > out.len() && needed <= 4);
                        out.resize(needed, 0);
                    }
                    Output::Timeout(next) => {
                        assert!(next.is_none_or(|next| next > now));
                        break;
                    }
                }
            }
        }

        // Something comes in.
        while !rx.is_empty() {
            let Ok(handled) = client.handle_input(now, Input { peer: SERVER, bytes: &rx }) else {
                rx.clear();
                break;
            };
            let (consumed, needed) = (handled.consumed, handled.needed);
            assert!(consumed <= rx.len());
            match handled.event {
                None if consumed == 0 => {
                    // A packet never needs more than the limit and its fixed header.
                    assert!(needed == 0 || rx.len() + needed <= usize::from(config.max_packet) + 5, "{} + {needed}, {}: {rx:02x?}", rx.len(), config.max_packet);
                    break;
                }
                Some(Event::Acknowledged { id } | Event::Subscribed { id, .. } | Event::Unsubscribed { id }) => {
                    ours.remove(&id);
                }
                Some(Event::Payload { bytes, last }) => {
                    assert!(!bytes.is_empty());
                    assert_eq!(last, client.payload_left() == 0);
                }
                Some(Event::Closed { .. } | Event::Refused { .. }) => {
                    assert_eq!(client.state(), State::Closed);
                    rx.clear();
                    break;
                }
                _ => {}
            }
            rx.drain(..consumed);
        }
        assert!(client.in_flight() <= places);
    }
});
