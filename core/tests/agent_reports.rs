//! What an agent signs: each report once, however long there is no room to send it.

use std::sync::atomic::{AtomicU32, Ordering};
use waft::agent::{Address, Agent, Config, Event, Link, Resources};
use waft::coap;
use waft::mqtt::client::InFlight;
use waft::ota::author::SecretKey;
use waft::ota::cose::{Ed25519, Key, Signer};
use waft::ota::event::Event as Update;
use waft::ota::policy::{self, Policy};
use waft::ota::refusal::Refusal;
use waft::ota::reporter::{self, Told};
use waft::{Duration, Input, Instant, Output, Peer, ota};

/// Counts what it signs.
struct Counting(SecretKey, AtomicU32);

impl Signer for Counting {
    fn id(&self) -> [u8; 8] {
        self.0.id()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.sign(message)
    }
}

impl Counting {
    fn new() -> Self {
        Self(SecretKey::from_seed(&[7; 32]).unwrap(), AtomicU32::new(0))
    }

    fn count(&self) -> u32 {
        self.1.load(Ordering::Relaxed)
    }
}

/// Bytes of the only parts of flash that are read: all erased.
const ERASE: u32 = 4096;

/// An agent with one link, and what it sends.
struct Bench<'a> {
    agent: Agent<'a>,
    now: Instant,
    sent: Vec<Vec<u8>>,
}

impl<'a> Bench<'a> {
    /// One with `places` for MQTT messages and for CoAP exchanges.
    fn new(by: Link, places: usize, keys: &'a [Key], signer: &'a Counting) -> Self {
        let address = |link| (by == link).then_some(Address { host: "host", port: 1 });
        let config = Config {
            root: "waft",
            class: "lamp",
            device: "d1",
            version: "1.0.0",
            broker: address(Link::Broker),
            username: None,
            password: None,
            keep_alive: 0,
            gateway: address(Link::Gateway),
            policy: Policy::default(),
            costs: policy::Link::default(),
            pull: 4,
            szx: 6,
            stall: Duration::from_secs(5),
            retry: Duration::from_secs(1),
            seed: 7,
            update: ota::update::Config::new([1; 16], [2; 16], keys, 0, [4 * ERASE, ERASE, 4]),
        };
        let resources = Resources {
            mqtt_arena: vec![0; 512].into(),
            mqtt_in_flight: vec![InFlight::EMPTY; places].into(),
            coap: coap::Resources::owned(512, places, 2, 2, 1),
            manifest: vec![0; 512].into(),
            inbox: vec![0; 512].into(),
        };
        let mut agent = Agent::new(config, resources).unwrap();
        agent.sign_reports(signer, 3);
        let mut bench = Self { agent, now: Instant::ZERO, sent: Vec::new() };
        bench.agent.start(bench.now).unwrap();
        bench.drain();
        bench
    }

    fn drain(&mut self) {
        let mut out = [0; 1152];
        loop {
            let link = match self.agent.poll_output(self.now, &mut out) {
                Output::Timeout(_) => return,
                Output::Transmit { bytes, .. } => {
                    self.sent.push(bytes.to_vec());
                    continue;
                }
                Output::Event(Event::Open { link, .. }) => link,
                Output::Event(Event::Update(Update::Load { len, .. })) => {
                    self.agent.loaded(self.now, &vec![0xff; len as usize]).unwrap();
                    continue;
                }
                Output::Event(Event::Update(Update::Erase { .. } | Update::Record { .. })) => {
                    self.agent.done(self.now).unwrap();
                    continue;
                }
                _ => continue,
            };
            self.agent.opened(self.now, link, Peer(1)).unwrap();
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let handled = self.agent.handle_input(self.now, Input { peer: Peer(1), bytes: rest }).unwrap();
            assert_ne!(handled.consumed, 0);
            rest = &rest[handled.consumed..];
            self.drain();
        }
    }

    /// Some time in which nothing arrives.
    fn wait(&mut self) {
        for _ in 0..20 {
            self.now = self.now.after(Duration::from_millis(10));
            self.agent.handle_timeout(self.now);
            self.drain();
        }
    }
}

/// The only report among what was sent.
fn report<'k>(sent: &[Vec<u8>], keys: &'k [Key]) -> Told<'k> {
    // A COSE_Sign1: its tag, and an array of four.
    let found = |bytes: &Vec<u8>| bytes.windows(2).position(|pair| pair == [0xd2, 0x84]).map(|at| bytes[at..].to_vec());
    let reports: Vec<_> = sent.iter().filter_map(found).collect();
    assert_eq!(reports.len(), 1);
    reporter::open(&reports[0], keys, &Ed25519, 0, &mut [0; 1152]).unwrap()
}

#[test]
fn a_report_that_finds_no_place_among_mqtt_messages_is_signed_when_there_is_one() {
    let signer = Counting::new();
    let keys = [signer.0.key()];
    let mut bench = Bench::new(Link::Broker, 2, &keys, &signer);
    // CONNACK. The place that is not kept free for what arrives is the subscription's until it is acknowledged.
    bench.receive(&[0x20, 2, 0, 0]);
    let subscribe = bench.sent.iter().find(|packet| packet[0] == 0x82).unwrap().clone();
    // A manifest that is none, which is reported.
    let topic = b"waft/lamp/manifest";
    let mut publish = vec![0x30, 2 + topic.len() as u8 + 3, 0, topic.len() as u8];
    publish.extend(topic);
    publish.extend([0xff; 3]);
    bench.receive(&publish);
    bench.wait();
    assert_eq!(signer.count(), 0);
    // SUBACK.
    bench.receive(&[0x90, 3, subscribe[2], subscribe[3], 1]);
    let told = report(&bench.sent, &keys);
    assert_eq!((told.report.reason, told.nonce, signer.count()), (Some(Refusal::Malformed), (3 << 32) + 1, 1));
    bench.wait();
    assert_eq!(signer.count(), 1);
}

#[test]
fn a_report_that_finds_no_place_among_coap_exchanges_is_signed_when_there_is_one() {
    let signer = Counting::new();
    let keys = [signer.0.key()];
    let mut bench = Bench::new(Link::Gateway, 1, &keys, &signer);
    // The only exchange observes the manifest (RFC 7641 §2), which is none and is reported.
    let get = bench.sent[0].clone();
    let token = usize::from(get[0] & 15);
    let answer = |observe: &[u8]| {
        let mut answer = vec![0x60 | get[0] & 15, 0x45, get[2], get[3]];
        answer.extend(&get[4..4 + token]);
        answer.extend(observe);
        answer.extend([0xff, 0xff, 0xff, 0xff]);
        answer
    };
    bench.receive(&answer(&[0x61, 1]));
    bench.wait();
    assert_eq!(signer.count(), 0);
    // A notification that ends the observation: 4.04 without Observe.
    let mut end = vec![0x50 | get[0] & 15, 0x84, 0x12, 0x34];
    end.extend(&get[4..4 + token]);
    bench.receive(&end);
    let told = report(&bench.sent, &keys);
    assert_eq!((told.report.reason, told.nonce, signer.count()), (Some(Refusal::Malformed), (3 << 32) + 1, 1));
}
