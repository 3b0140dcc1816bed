//! A broker, and peers that are nothing but the bytes they have got.

use super::super::*;
use crate::{
    mqtt::{
        Connect, Packet, PacketId, Publish,
        packet::{Decoded, decode, encode_subscribe, encode_unsubscribe, subscribe_len, unsubscribe_len},
    },
    wire::Writer,
};
use std::{
    collections::BTreeMap as Map,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

pub(super) use QoS::{AtLeastOnce as Q1, AtMostOnce as Q0, ExactlyOnce as Q2};

pub(super) fn bytes(packet: &Packet<'_>) -> Vec<u8> {
    let mut buf = vec![0; packet.encoded_len()];
    packet.encode(&mut Writer::new(&mut buf));
    buf
}

pub(super) fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

pub(super) struct Bench {
    pub(super) broker: Broker,
    pub(super) now: Instant,
    pub(super) out: usize,
    pub(super) events: Vec<Event>,
    pub(super) sent: Map<u32, Vec<u8>>,
}

impl Bench {
    pub(super) fn new(config: BrokerConfig) -> Self {
        let broker = Broker::new(config, 1);
        Self { broker, now: Instant::ZERO, out: 1_000, events: Vec::new(), sent: Map::new() }
    }

    pub(super) fn seconds(&mut self, n: u64) {
        self.now = self.now.after(Duration::from_secs(n));
        self.broker.handle_timeout(self.now);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        let mut out = vec![0; self.out];
        loop {
            match self.broker.poll_output(self.now, &mut out) {
                Output::Transmit { peer, bytes } => {
                    assert!(!bytes.is_empty());
                    self.sent.entry(peer.0).or_default().extend_from_slice(bytes);
                }
                Output::Event(event) => self.events.push(event),
                Output::BufferTooSmall { .. } => panic!("never too small"),
                Output::Timeout(at) => {
                    assert_eq!(at, self.broker.next_timeout());
                    assert!(at.is_none_or(|at| at > self.now), "{at:?} is not after {:?}", self.now);
                    return;
                }
            }
        }
    }

    /// Offers bytes until all are consumed.
    pub(super) fn send(&mut self, peer: u32, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let result = self.broker.handle_input(self.now, Input { peer: Peer(peer), bytes });
            self.drain();
            match result? {
                Handled { consumed: 0, needed, .. } => panic!("{needed} bytes are missing"),
                Handled { consumed, .. } => bytes = &bytes[consumed..],
            }
        }
        Ok(())
    }

    pub(super) fn packet(&mut self, peer: u32, packet: &Packet<'_>) {
        self.send(peer, &bytes(packet)).unwrap();
    }

    /// Accepts a peer and sends its CONNECT; what it got.
    pub(super) fn open(&mut self, peer: u32, connect: &Connect<'_>) -> Vec<String> {
        self.broker.accept(self.now, Peer(peer)).unwrap();
        self.sent.remove(&peer);
        self.packet(peer, &Packet::Connect(*connect));
        self.got(peer)
    }

    /// A client with a clean session.
    pub(super) fn clean(&mut self, peer: u32) {
        assert_eq!(self.open(peer, &clean(&format!("c{peer}"))), ["ConnAck 0 Accepted"]);
    }

    /// A client with a session that is kept.
    pub(super) fn kept(&mut self, peer: u32, client_id: &str) -> Vec<String> {
        self.open(peer, &Connect { clean_session: false, ..clean(client_id) })
    }

    pub(super) fn lose(&mut self, peer: u32) {
        self.broker.connection_lost(self.now, Peer(peer));
        self.drain();
    }

    pub(super) fn subscribe(&mut self, peer: u32, filters: &[(&str, QoS)]) -> Vec<String> {
        let mut buf = vec![0; subscribe_len(filters)];
        encode_subscribe(&mut Writer::new(&mut buf), id(77), filters);
        self.send(peer, &buf).unwrap();
        let mut got = self.got(peer);
        assert!(got.first().is_some_and(|first| first.starts_with("SubAck 77")), "{got:?}");
        got.remove(0);
        got
    }

    pub(super) fn unsubscribe(&mut self, peer: u32, filters: &[&str]) -> Vec<String> {
        let mut buf = vec![0; unsubscribe_len(filters)];
        encode_unsubscribe(&mut Writer::new(&mut buf), id(78), filters);
        self.send(peer, &buf).unwrap();
        self.got(peer)
    }

    pub(super) fn publish(&mut self, peer: u32, topic: &str, payload: &[u8], qos: QoS, retain: bool) {
        self.send(peer, &publish(topic, payload, qos, retain, 5, false)).unwrap();
    }

    /// What `peer` has got since it was asked last, a line for each packet.
    pub(super) fn got(&mut self, peer: u32) -> Vec<String> {
        let stream = self.sent.remove(&peer).unwrap_or_default();
        let (mut rest, mut lines) = (&stream[..], Vec::new());
        while !rest.is_empty() {
            let Decoded::Packet { packet, len } = decode(rest, u32::MAX).unwrap() else { panic!("half a packet") };
            rest = &rest[len..];
            lines.push(match packet {
                Packet::Publish(Publish { dup, qos, retain, topic, id, payload_len }) => {
                    let (payload, after) = rest.split_at(payload_len as usize);
                    rest = after;
                    let payload = match payload.len() {
                        0..40 => String::from_utf8_lossy(payload).to_string(),
                        long => format!("({long} bytes)"),
                    };
                    let id = id.map_or(String::new(), |id| format!("#{}", id.get()));
                    let flags = [if dup { " dup" } else { "" }, if retain { " retain" } else { "" }].concat();
                    format!("{topic} {payload} q{}{id}{flags}", qos as u8)
                }
                Packet::ConnAck { session_present, code } => format!("ConnAck {} {code:?}", u8::from(session_present)),
                Packet::PubAck(id) => format!("PubAck {}", id.get()),
                Packet::PubRec(id) => format!("PubRec {}", id.get()),
                Packet::PubRel(id) => format!("PubRel {}", id.get()),
                Packet::PubComp(id) => format!("PubComp {}", id.get()),
                Packet::SubAck { id, codes } => format!("SubAck {} {codes:?}", id.get()),
                Packet::UnsubAck(id) => format!("UnsubAck {}", id.get()),
                other => format!("{other:?}"),
            });
        }
        lines
    }

    /// Why `peer` was closed; None if it was not.
    pub(super) fn closed(&mut self, peer: u32) -> Option<Reason> {
        let at = self.events.iter().position(|event| matches!(event, Event::Close { peer: p, .. } if p.0 == peer))?;
        let Event::Close { reason, .. } = self.events.remove(at) else { unreachable!() };
        Some(reason)
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new(BrokerConfig::default())
    }
}

pub(super) fn clean(client_id: &str) -> Connect<'_> {
    Connect { client_id, keep_alive: 0, ..Connect::default() }
}

pub(super) fn publish(topic: &str, payload: &[u8], qos: QoS, retain: bool, packet_id: u16, dup: bool) -> Vec<u8> {
    let id = (qos != Q0).then(|| id(packet_id));
    let mut stream =
        bytes(&Packet::Publish(Publish { dup, qos, retain, topic, id, payload_len: payload.len() as u32 }));
    stream.extend_from_slice(payload);
    stream
}
