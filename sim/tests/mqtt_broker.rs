//! The broker between a publisher and a subscriber whose connections break all the time.

use std::collections::BTreeSet;
use waft::{
    Duration, Instant, Peer,
    mqtt::{
        Connect, QoS,
        broker::{self, Broker, BrokerConfig},
        client::{Client, Config, Event, InFlight},
    },
};
use waft_sim::{App, Context, Link, Network, NodeId};

struct Host;

impl App<Broker> for Host {
    fn opened(&mut self, cx: &mut Context<'_>, broker: &mut Broker, peer: Peer) {
        broker.accept(cx.now, peer).unwrap();
    }
    fn closed(&mut self, cx: &mut Context<'_>, broker: &mut Broker, peer: Peer) {
        broker.connection_lost(cx.now, peer);
    }
    fn event(&mut self, cx: &mut Context<'_>, _: &mut Broker, event: broker::Event) {
        if let broker::Event::Close { peer, .. } = event {
            cx.close(peer);
        }
    }
    fn error(&mut self, _: &mut Context<'_>, _: &mut Broker, peer: Peer, error: waft::mqtt::Error) {
        panic!("{peer:?}: {error}");
    }
}

const TOPIC: [&str; 3] = ["t/0", "t/1", "t/2"];

/// Connects again and again, publishes `left` numbers, and keeps the numbers it gets.
struct Device {
    broker: NodeId,
    name: &'static str,
    subscribed: bool,
    left: Vec<(QoS, u32)>,
    got: [Vec<u32>; 3],
    topic: usize,
    payload: Vec<u8>,
}

impl Device {
    fn new(broker: NodeId, name: &'static str, subscribed: bool, left: Vec<(QoS, u32)>) -> Self {
        Self { broker, name, subscribed, left, got: [const { Vec::new() }; 3], topic: 0, payload: Vec::new() }
    }

    fn publish(&mut self, now: Instant, client: &mut Client<'static>) {
        while let Some((qos, n)) = self.left.last().copied() {
            // The payload is larger than the buffers on the way.
            let payload = n.to_be_bytes().repeat(100);
            if !client.is_connected() || client.publish(now, TOPIC[qos as usize], &payload, qos, false).is_err() {
                return;
            }
            self.left.pop();
        }
    }
}

impl App<Client<'static>> for Device {
    fn start(&mut self, cx: &mut Context<'_>, _: &mut Client<'static>) {
        cx.open(self.broker);
    }
    fn opened(&mut self, cx: &mut Context<'_>, client: &mut Client<'static>, peer: Peer) {
        let connect = Connect { client_id: self.name, clean_session: false, keep_alive: 30, ..Connect::default() };
        client.connect(cx.now, peer, &connect).unwrap();
    }
    fn closed(&mut self, cx: &mut Context<'_>, client: &mut Client<'static>, _: Peer) {
        client.connection_lost(cx.now);
        self.payload.clear();
        cx.open(self.broker);
    }
    fn error(&mut self, _: &mut Context<'_>, _: &mut Client<'static>, _: Peer, error: waft::mqtt::Error) {
        panic!("{}: {error}", self.name);
    }
    fn event(&mut self, cx: &mut Context<'_>, client: &mut Client<'static>, event: Event<'_>) {
        match event {
            Event::Connected { session_present: false } if self.subscribed => {
                client.subscribe(cx.now, &[("t/+", QoS::ExactlyOnce)]).unwrap();
            }
            Event::Publish(publish) => {
                self.topic = TOPIC.iter().position(|topic| *topic == publish.topic).unwrap();
            }
            Event::Payload { bytes, last } => {
                self.payload.extend_from_slice(bytes);
                if last {
                    let payload = std::mem::take(&mut self.payload);
                    assert_eq!(payload.len(), 400);
                    let n = u32::from_be_bytes(*payload.first_chunk().unwrap());
                    assert!(payload.chunks(4).all(|part| part == n.to_be_bytes()));
                    self.got[self.topic].push(n);
                }
            }
            Event::Closed { .. } | Event::Refused { .. } => panic!("{event:?}"),
            _ => {}
        }
        self.publish(cx.now, client);
    }
}

fn client() -> Client<'static> {
    Client::new(Config::default(), vec![0; 4_096], vec![InFlight::default(); 32])
}

#[test]
fn connections_that_break_lose_nothing_of_qos_1_and_double_nothing_of_qos_2() {
    const EACH: u32 = 60;
    let mut doubled = 0;
    for seed in 0..20 {
        let link = Link { rate: 200_000, ..Link::lossy(0.02) };
        let mut net = Network::new(seed, link);
        let broker = net.add(Broker::new(BrokerConfig { max_in_flight: 5, ..BrokerConfig::default() }, seed), Host);
        let reader = net.add(client(), Device::new(broker, "reader", true, Vec::new()));
        net.run_for(Duration::from_secs(5)).unwrap();
        let numbers = (0..EACH).rev().flat_map(|n| [(QoS::ExactlyOnce, n), (QoS::AtLeastOnce, n)]).collect();
        let writer = net.add(client(), Device::new(broker, "writer", false, numbers));
        let mut cuts = waft::Rng::new(seed);
        let mut got = Default::default();
        for round in 0..200 {
            net.run_for(Duration::from_millis(200 + cuts.below(800))).unwrap();
            got = net.with(reader, |_, _: &mut Client<'static>, device: &mut Device| device.got.clone()).unwrap();
            let done = got[2].len() as u32 >= EACH && got[1].last() == Some(&(EACH - 1));
            if done {
                break;
            }
            if round % 2 == 0 {
                net.cut(if cuts.below(2) == 0 { reader } else { writer }, broker);
            }
        }
        // Nothing comes late.
        net.run_for(Duration::from_secs(20)).unwrap();
        let [none, at_least_once, exactly_once]: [Vec<u32>; 3] =
            net.with(reader, |_, _: &mut Client<'static>, device: &mut Device| device.got.clone()).unwrap();
        assert!(none.is_empty());
        assert_eq!(exactly_once, (0..EACH).collect::<Vec<_>>(), "seed {seed}, of {got:?}");
        let seen: BTreeSet<u32> = at_least_once.iter().copied().collect();
        assert_eq!(seen.len() as u32, EACH, "seed {seed}");
        doubled += at_least_once.len() - seen.len();
        net.with(broker, |_, broker: &mut Broker, _: &mut Host| assert_eq!(broker.stats().queued, 0)).unwrap();
    }
    // Connections did break while messages were on their way.
    assert!(doubled > 20, "{doubled}");
}
