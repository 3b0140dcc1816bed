//! What survives a restart, wherever the power is cut.

use super::{super::*, bench::*};
use crate::{
    mqtt::{
        Connect, Packet, Will,
        packet::{encode_subscribe, subscribe_len},
    },
    wire::Writer,
};
use std::{collections::BTreeSet as Set, format, string::String, string::ToString, vec, vec::Vec};

fn config() -> BrokerConfig {
    BrokerConfig { persistent: true, max_in_flight: 2, ..BrokerConfig::default() }
}

/// A client that keeps its session over everything, as the standard wants it.
#[derive(Default)]
struct Client {
    peer: u32,
    name: &'static str,
    will: bool,
    is_connected: bool,
    filters: Vec<(&'static str, QoS)>,
    subscribed: bool,
    /// What it has still to publish and, from the first on, what it did: number, topic, QoS, retained, released.
    out: Vec<(u16, String, QoS, bool, bool)>,
    sent: Set<u16>,
    last_id: u16,
    got: Vec<String>,
    inbound: Set<String>,
}

/// The power was cut.
struct Cut;

struct World {
    bench: Bench,
    file: Vec<u8>,
    /// Bytes that may still be written before the power is cut.
    left: usize,
    written: usize,
    /// Writes end only when there is nothing else to do.
    lazy: bool,
    pending: Option<Bytes>,
    /// What was sent in the moment of the cut does not arrive.
    loses: bool,
    clients: Vec<Client>,
}

impl World {
    fn new(left: usize, lazy: bool, loses: bool) -> Self {
        let subscriber = Client { peer: 1, name: "s", filters: vec![("t/#", Q2), ("u", Q1)], ..Client::default() };
        let publisher = Client { peer: 2, name: "p", will: true, ..Client::default() };
        let late = Client { peer: 3, name: "late", filters: vec![("#", Q1)], ..Client::default() };
        Self {
            bench: Bench::new(config()),
            file: Vec::new(),
            left,
            written: 0,
            lazy,
            pending: None,
            loses,
            clients: vec![subscriber, publisher, late],
        }
    }

    /// The broker starts, with whatever is in the file.
    fn start(&mut self) -> Result<(), Cut> {
        self.bench = Bench::new(config());
        self.pending = None;
        let restored = self.bench.broker.restore(self.bench.now, &self.file).unwrap();
        assert!(restored.torn < 2_000);
        for client in &mut self.clients {
            client.is_connected = false;
        }
        self.compact()
    }

    fn compact(&mut self) -> Result<(), Cut> {
        if self.pending.is_some() {
            self.write()?;
        }
        let new = self.bench.broker.compact().unwrap().concat();
        self.spend(new.len())?;
        // The new file takes the place of the old one at once, or not at all.
        self.file = new;
        self.bench.broker.recorded(self.bench.now).unwrap();
        Ok(())
    }

    fn spend(&mut self, n: usize) -> Result<usize, Cut> {
        if n > self.left {
            return Err(Cut);
        }
        self.left -= n;
        self.written += n;
        Ok(n)
    }

    fn write(&mut self) -> Result<(), Cut> {
        let bytes = self.pending.take().unwrap();
        let whole = bytes.len().min(self.left);
        self.file.extend_from_slice(&bytes[..whole]);
        self.spend(bytes.len())?;
        self.bench.broker.recorded(self.bench.now).unwrap();
        Ok(())
    }

    fn client(&mut self, n: usize) -> &mut Client {
        &mut self.clients[n]
    }

    fn connect(&mut self, n: usize) {
        let Client { peer, name, will, .. } = self.clients[n];
        let will = will.then_some(Will { topic: "u", payload: b"will", qos: Q1, retain: false });
        self.bench.broker.accept(self.bench.now, Peer(peer)).unwrap();
        let connect = Packet::Connect(Connect { clean_session: false, will, ..clean(name) });
        self.feed(peer, &bytes(&connect));
    }

    /// Without draining: everything that can come together does.
    fn feed(&mut self, peer: u32, stream: &[u8]) {
        let mut rest = stream;
        while !rest.is_empty() {
            let handled =
                self.bench.broker.handle_input(self.bench.now, Input { peer: Peer(peer), bytes: rest }).unwrap();
            assert_ne!(handled.consumed, 0);
            rest = &rest[handled.consumed..];
        }
    }

    /// Goes on until nothing happens any more.
    fn settle(&mut self) -> Result<(), Cut> {
        loop {
            self.bench.drain();
            let mut busy = false;
            if !self.lazy || !self.loses {
                busy |= self.listen();
            }
            for event in core::mem::take(&mut self.bench.events) {
                if let Event::Record { bytes } = event {
                    self.pending = Some(bytes);
                }
            }
            if !busy && self.pending.is_some() || !self.lazy && self.pending.is_some() {
                self.write()?;
                busy = true;
            } else if self.lazy && self.loses {
                busy |= self.listen();
            }
            if !busy && self.pending.is_none() {
                return Ok(());
            }
        }
    }

    /// The clients take what was sent to them, and answer.
    fn listen(&mut self) -> bool {
        let mut busy = false;
        for n in 0..self.clients.len() {
            let peer = self.clients[n].peer;
            for line in self.bench.got(peer) {
                busy = true;
                let answer = self.clients[n].hear(&line);
                self.feed(peer, &answer);
            }
        }
        busy
    }

    fn publish(&mut self, n: usize, topic: &str, qos: QoS, retain: bool) {
        let client = self.client(n);
        client.last_id += 1;
        client.out.push((client.last_id, topic.into(), qos, retain, false));
        if client.is_connected {
            let stream = client.send();
            let peer = client.peer;
            self.feed(peer, &stream);
        }
    }

    fn leave(&mut self, n: usize) {
        let peer = self.client(n).peer;
        self.client(n).is_connected = false;
        self.feed(peer, b"\xe0\x00");
    }

    fn scene(&mut self) -> Result<(), Cut> {
        self.start()?;
        self.connect(0);
        self.settle()?;
        self.connect(1);
        self.settle()?;
        self.publish(1, "t/1", Q1, false);
        self.publish(1, "t/2", Q2, true);
        self.settle()?;
        self.leave(0);
        for n in 3..6 {
            self.publish(1, &format!("t/{n}"), Q2, n % 2 == 0);
        }
        self.settle()?;
        self.compact()?;
        self.publish(1, "t/6", Q2, true);
        self.connect(0);
        self.settle()?;
        self.publish(1, "t/7", Q2, false);
        self.connect(2);
        self.settle()?;
        self.publish(1, "t/2", Q1, true);
        self.settle()
    }

    /// After the cut: all come back, and what was begun is ended.
    fn aftermath(&mut self) {
        self.left = usize::MAX;
        assert!(self.start().is_ok());
        for n in [0, 1, 2] {
            self.connect(n);
            assert!(self.settle().is_ok());
        }
        assert!(self.settle().is_ok());
    }
}

impl Client {
    /// What it sends of its own: subscriptions that were not acknowledged, messages that were not sent.
    fn send(&mut self) -> Vec<u8> {
        let mut stream = Vec::new();
        if !self.subscribed && !self.filters.is_empty() {
            let mut packet = vec![0; subscribe_len(&self.filters)];
            encode_subscribe(&mut Writer::new(&mut packet), id(9), &self.filters);
            stream.extend(packet);
        }
        for (number, topic, qos, retain, _) in &self.out {
            if self.sent.insert(*number) {
                stream.extend(publish(topic, format!("m{number}").as_bytes(), *qos, *retain, *number, false));
            }
        }
        stream
    }

    fn hear(&mut self, line: &str) -> Vec<u8> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = || words[1].parse::<u16>().unwrap();
        match words[0] {
            "ConnAck" => {
                assert_eq!(words[2], "Accepted");
                // Sessions that were acknowledged are there: a subscription was.
                assert!(!self.subscribed || words[1] == "1", "{}", self.name);
                self.is_connected = true;
                let mut stream = Vec::new();
                for (number, topic, qos, retain, released) in &self.out {
                    if *released {
                        stream.extend(bytes(&Packet::PubRel(id(*number))));
                    } else if self.sent.contains(number) {
                        stream.extend(publish(topic, format!("m{number}").as_bytes(), *qos, *retain, *number, true));
                    }
                }
                stream.extend(self.send());
                stream
            }
            "SubAck" => {
                self.subscribed = true;
                Vec::new()
            }
            "PubAck" | "PubComp" => {
                self.out.retain(|(n, ..)| *n != number());
                Vec::new()
            }
            "PubRec" => {
                for message in self.out.iter_mut().filter(|message| message.0 == number()) {
                    message.4 = true;
                }
                bytes(&Packet::PubRel(id(number())))
            }
            "PubRel" => {
                self.inbound.remove(words[1]);
                bytes(&Packet::PubComp(id(number())))
            }
            _ => {
                let (qos, number) = words[2].split_once('#').unwrap();
                let text = format!("{} {} {qos}", words[0], words[1]);
                if qos == "q1" {
                    self.got.push(text);
                    return bytes(&Packet::PubAck(id(number.parse().unwrap())));
                }
                if self.inbound.insert(number.to_string()) {
                    self.got.push(text);
                }
                bytes(&Packet::PubRec(id(number.parse().unwrap())))
            }
        }
    }
}

#[test]
fn the_power_is_cut_at_every_byte_and_nothing_acknowledged_is_lost() {
    for (lazy, loses) in [(false, false), (true, false), (true, true)] {
        let mut whole = World::new(usize::MAX, lazy, loses);
        assert!(whole.scene().is_ok());
        assert!(whole.written > 1_000);
        let check = |world: &World, left: usize| {
            let got = &world.clients[0].got;
            let times = |text: &str| got.iter().filter(|line| *line == text).count();
            let begun = world.clients[1].last_id;
            for n in 1..=begun {
                let (topic, qos) = match n {
                    1 => ("t/1".into(), Q1),
                    8 => ("t/2".into(), Q1),
                    n => (format!("t/{n}"), Q2),
                };
                let found = times(&format!("{topic} m{n} q{}", qos as u8));
                if qos == Q2 {
                    assert_eq!(found, 1, "m{n}, {left} bytes written, {got:?}");
                } else {
                    assert!(found >= 1, "m{n}, {left} bytes written, {got:?}");
                }
            }
            let mut retained: Vec<_> = world.bench.broker.retained("#").map(|m| m.topic.to_string()).collect();
            retained.retain(|topic| topic != "u");
            let expected: Set<_> =
                [(2, "t/2"), (4, "t/4"), (6, "t/6")].into_iter().filter(|(n, _)| *n <= begun).collect();
            assert_eq!(retained, expected.into_iter().map(|(_, topic)| topic.to_string()).collect::<Vec<_>>());
            if begun >= 8 {
                let kept = world.bench.broker.retained("t/2").next().unwrap();
                assert_eq!((&kept.payload[..], kept.qos), (&b"m8"[..], Q1));
            }
            assert!(world.clients.iter().all(|client| client.out.is_empty()));
            assert!(world.bench.broker.sessions.values().all(|session| session.inbound() == 0));
            assert_eq!((world.bench.broker.stats().queued, world.bench.broker.stats().sessions), (0, 3));
        };
        for left in 0..whole.written {
            let mut world = World::new(left, lazy, loses);
            assert!(world.scene().is_err());
            world.aftermath();
            check(&world, left);
        }
    }
}

#[test]
fn a_client_that_was_there_when_the_broker_went_down_leaves_its_will() {
    let mut world = World::new(usize::MAX, false, false);
    assert!(world.scene().is_ok());
    assert!(!world.clients[0].got.contains(&"u will q1".to_string()));
    world.aftermath();
    assert!(world.clients[0].got.contains(&"u will q1".to_string()));
    // Who says goodbye does not.
    let mut world = World::new(usize::MAX, false, false);
    assert!(world.scene().is_ok());
    world.leave(1);
    assert!(world.settle().is_ok());
    world.aftermath();
    assert!(!world.clients[0].got.contains(&"u will q1".to_string()));
}

#[test]
fn nothing_is_acknowledged_before_it_is_durable() {
    let mut b = Bench::new(config());
    assert!(b.broker.restore(b.now, b"").is_ok());
    let _ = b.broker.compact().unwrap();
    b.broker.recorded(b.now).unwrap();
    assert!(b.kept(1, "a").is_empty());
    let record = |b: &mut Bench| {
        let at = b.events.iter().position(|event| matches!(event, Event::Record { .. })).unwrap();
        b.events.remove(at);
        b.broker.recorded(b.now).unwrap();
        b.drain();
    };
    record(&mut b);
    assert_eq!(b.got(1), ["ConnAck 0 Accepted"]);
    let mut packet = vec![0; subscribe_len(&[("t", Q2)])];
    encode_subscribe(&mut Writer::new(&mut packet), id(9), &[("t", Q2)]);
    b.send(1, &packet).unwrap();
    assert!(b.got(1).is_empty());
    record(&mut b);
    assert_eq!(b.got(1), ["SubAck 9 [2]"]);
    b.publish(1, "t", b"x", Q2, false);
    b.packet(1, &Packet::PingReq);
    assert!(b.got(1).is_empty());
    // One frame for the message and its being sent.
    record(&mut b);
    assert_eq!(b.got(1), ["PubRec 5", "t x q2#2", "PingResp"]);
    // What changes nothing waits for nothing.
    b.packet(1, &Packet::PingReq);
    assert_eq!(b.got(1), ["PingResp"]);
    assert_eq!(b.broker.recorded(b.now), Err(Misuse::WrongState.into()));
}

#[test]
fn a_host_that_writes_slowly_is_not_flooded() {
    let mut b = Bench::new(BrokerConfig { max_unrecorded: 1_000, ..config() });
    b.broker.accept(b.now, Peer(1)).unwrap();
    b.packet(1, &Packet::Connect(Connect { clean_session: false, ..clean("a") }));
    let message = publish("t", &[7; 300], Q1, true, 5, false);
    let mut taken = 0;
    while b.broker.handle_input(b.now, Input { peer: Peer(1), bytes: &message }).unwrap().consumed != 0 {
        b.drain();
        taken += 1;
        assert!(taken < 10);
    }
    assert_eq!(taken, 4);
    b.broker.recorded(b.now).unwrap();
    b.drain();
    assert_ne!(b.broker.handle_input(b.now, Input { peer: Peer(1), bytes: &message }).unwrap().consumed, 0);
}

#[test]
fn rights_and_offline_messages_come_back_with_the_session() {
    let acl = |text| Some(Arc::new(Acl::parse(text).unwrap()));
    let config = BrokerConfig { ask_host: true, ..config() };
    let mut world = World::new(usize::MAX, false, false);
    world.bench = Bench::new(config.clone());
    assert!(world.bench.broker.restore(world.bench.now, b"").is_ok());
    assert!(world.compact().is_ok());
    world.clients[0].subscribed = false;
    world.connect(0);
    world.bench.drain();
    world.bench.broker.allow(world.bench.now, Peer(1), acl("topic read t/1")).unwrap();
    assert!(world.settle().is_ok());
    world.leave(0);
    assert!(world.settle().is_ok());
    let now = world.bench.now;
    let mut again = Broker::new(config, 1);
    let restored = again.restore(now, &world.file).unwrap();
    assert_eq!(restored, Restored { sessions: 1, retained: 0, torn: 0 });
    assert_eq!(again.publish(now, "t/1", "x", Q1, false), Ok(1));
    assert_eq!(again.publish(now, "t/2", "x", Q1, false), Ok(0));
    assert_eq!(again.restore(now, b""), Err(Misuse::WrongState.into()));
}

#[test]
fn a_file_that_is_no_brokers_is_left_alone() {
    let mut broker = Broker::new(config(), 1);
    assert_eq!(broker.restore(Instant::ZERO, b"root:x:0:0:"), Err(Misuse::OutOfRange.into()));
    assert_eq!(broker.restore(Instant::ZERO, &[0; 100]), Err(Misuse::OutOfRange.into()));
    assert!(broker.restore(Instant::ZERO, b"\0\0").is_ok());
    let mut other = Broker::new(BrokerConfig::default(), 1);
    assert_eq!(other.restore(Instant::ZERO, b""), Err(Misuse::WrongState.into()));
    assert_eq!(other.compact(), Err(Misuse::WrongState.into()));
}
