//! MQTT clients and the broker over streams that are slow, cut at random, and lost.

use bytes::Bytes;
use std::collections::BTreeMap;
use waft::{
    Duration, Peer, Storage,
    mqtt::{
        Connect, QoS,
        broker::{Broker, BrokerConfig, Event as BrokerEvent},
        client::{Client, Config, Event, InFlight},
    },
};
use waft_sim::{App, Context, Link, Network, NodeId};

/// A program that keeps its client connected to the broker.
struct Program {
    broker: NodeId,
    name: &'static str,
    stream: Option<Peer>,
    subscribe: Option<QoS>,
    /// Messages to publish, and how many of them have been handed to the client.
    publish: Vec<(String, QoS)>,
    next: usize,
    acknowledged: usize,
    got: Vec<String>,
    payload: Vec<u8>,
    connections: usize,
}

impl Program {
    fn new(broker: NodeId, name: &'static str) -> Self {
        Self {
            broker,
            name,
            stream: None,
            subscribe: None,
            publish: Vec::new(),
            next: 0,
            acknowledged: 0,
            got: Vec::new(),
            payload: Vec::new(),
            connections: 0,
        }
    }

    fn feed(&mut self, cx: &mut Context<'_>, client: &mut Client<'static>) {
        while let Some((text, qos)) = self.publish.get(self.next) {
            if client.publish(cx.now, "t", text.as_bytes(), *qos, false).is_err() {
                // Messages of QoS 0 leave without an event that says so.
                cx.wake_in(Duration::from_millis(100));
                break;
            }
            self.next += 1;
        }
    }
}

impl App<Client<'static>> for Program {
    fn start(&mut self, cx: &mut Context<'_>, _: &mut Client<'static>) {
        cx.open(self.broker);
    }

    fn opened(&mut self, cx: &mut Context<'_>, client: &mut Client<'static>, peer: Peer) {
        self.stream = Some(peer);
        let connect = Connect { client_id: self.name, clean_session: false, keep_alive: 30, ..Connect::default() };
        client.connect(cx.now, peer, &connect).unwrap();
    }

    fn closed(&mut self, cx: &mut Context<'_>, client: &mut Client<'static>, _: Peer) {
        client.connection_lost(cx.now);
        self.stream = None;
        self.payload.clear();
        cx.wake_in(Duration::from_secs(1));
    }

    fn wake(&mut self, cx: &mut Context<'_>, client: &mut Client<'static>) {
        match self.stream {
            None => {
                cx.open(self.broker);
            }
            Some(_) => self.feed(cx, client),
        }
    }

    fn event(&mut self, cx: &mut Context<'_>, client: &mut Client<'static>, event: Event<'_>) {
        match event {
            Event::Connected { session_present } => {
                self.connections += 1;
                if let Some(qos) = self.subscribe.filter(|_| !session_present) {
                    client.subscribe(cx.now, &[("t", qos)]).unwrap();
                }
                self.feed(cx, client);
            }
            Event::Acknowledged { .. } => {
                self.acknowledged += 1;
                self.feed(cx, client);
            }
            Event::Publish(_) => self.payload.clear(),
            Event::Payload { bytes, last } => {
                self.payload.extend_from_slice(bytes);
                if last {
                    self.got.push(String::from_utf8(self.payload.clone()).unwrap());
                }
            }
            Event::Closed { .. } | Event::Refused { .. } => {
                if let Some(peer) = self.stream {
                    cx.close(peer);
                }
            }
            _ => {}
        }
    }
}

/// The broker's program: accepts every stream.
struct Server;

impl App<Broker> for Server {
    fn opened(&mut self, cx: &mut Context<'_>, broker: &mut Broker, peer: Peer) {
        broker.accept(cx.now, peer).unwrap();
    }
    fn closed(&mut self, cx: &mut Context<'_>, broker: &mut Broker, peer: Peer) {
        broker.connection_lost(cx.now, peer);
    }
    fn event(&mut self, cx: &mut Context<'_>, _: &mut Broker, event: BrokerEvent) {
        if let BrokerEvent::Close { peer, .. } = event {
            cx.close(peer);
        }
    }
    // The broker closes the connection itself, by an event.
    fn error(&mut self, _: &mut Context<'_>, _: &mut Broker, _: Peer, _: waft::mqtt::Error) {}
}

fn client() -> Client<'static> {
    let table = vec![InFlight::EMPTY; 8];
    Client::new(Config::default(), Storage::owned(1024), table)
}

/// One publisher, one subscriber, `count` messages. Gives what arrived, and how often the two connected.
fn exchange(seed: u64, link: Link, qos: QoS, count: usize, cuts: usize) -> (Vec<String>, usize) {
    let mut net = Network::new(seed, link);
    let broker = net.add(Broker::new(BrokerConfig::default(), seed), Server);
    let subscriber = net.add(client(), Program { subscribe: Some(qos), ..Program::new(broker, "subscriber") });
    net.run_for(Duration::from_secs(30)).unwrap();
    let publish = (0..count).map(|n| (format!("message {n}"), qos)).collect();
    let publisher = net.add(client(), Program { publish, ..Program::new(broker, "publisher") });
    for cut in 0..cuts {
        net.run_for(Duration::from_millis(1_700)).unwrap();
        net.cut(if cut % 2 == 0 { publisher } else { subscriber }, broker);
    }
    net.run_for(Duration::from_secs(3_600)).unwrap();
    let look = |net: &mut Network, node| {
        net.with(node, |_, _: &mut Client<'static>, p: &mut Program| (p.got.clone(), p.acknowledged, p.connections))
            .unwrap()
    };
    let (_, acknowledged, a) = look(&mut net, publisher);
    assert_eq!(acknowledged, if qos == QoS::AtMostOnce { 0 } else { count }, "seed {seed}");
    let (got, _, b) = look(&mut net, subscriber);
    (got, a + b)
}

fn expected(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("message {n}")).collect()
}

#[test]
fn every_message_arrives_once_and_in_order_over_a_bad_link() {
    for seed in 0..10 {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            // At QoS 0 the client sends all while it is connected, so that nothing may be cut.
            let (got, _) = exchange(seed, Link::lossy(0.1), qos, 40, 0);
            assert_eq!(got, expected(40), "seed {seed} {qos:?}");
        }
    }
}

#[test]
fn exactly_once_stays_exactly_once_however_often_streams_are_cut() {
    let mut connections = 0;
    for seed in 0..20 {
        let (got, n) = exchange(seed, Link::lossy(0.05), QoS::ExactlyOnce, 60, 8);
        assert_eq!(got, expected(60), "seed {seed}");
        connections += n;
    }
    assert!(connections > 20 * 2 * 3, "the cuts did cut: {connections}");
}

#[test]
fn at_least_once_loses_nothing_however_often_streams_are_cut() {
    let mut twice = 0;
    for seed in 0..20 {
        let (got, _) = exchange(seed, Link::lossy(0.05), QoS::AtLeastOnce, 60, 8);
        let mut counts = BTreeMap::new();
        for text in &got {
            *counts.entry(text).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 60, "seed {seed}");
        twice += got.len() - 60;
    }
    assert!(twice > 0, "no message had to be repeated: the cuts tested nothing");
}

#[test]
fn a_retained_message_reaches_who_comes_later() {
    let mut net = Network::new(1, Link::lossy(0.02));
    let mut machine = Broker::new(BrokerConfig::default(), 1);
    machine.publish(waft::Instant::ZERO, "t", Bytes::from_static(b"kept"), QoS::AtLeastOnce, true).unwrap();
    let broker = net.add(machine, Server);
    let late = net.add(client(), Program { subscribe: Some(QoS::AtLeastOnce), ..Program::new(broker, "late") });
    let done = net
        .run_until(Duration::from_secs(60), |net| {
            net.with(late, |_, _: &mut Client<'static>, p: &mut Program| p.got == ["kept"]).unwrap()
        })
        .unwrap();
    assert!(done);
}
