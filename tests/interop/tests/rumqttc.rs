//! Our broker serves rumqttc.

use rumqttc::{Client, ConnectReturnCode, Connection, Event, LastWill, MqttOptions, Packet, Publish, QoS};
use std::{
    thread,
    time::{Duration, Instant},
};
use waft::mqtt::broker::{BrokerConfig, User};
use waft_interop::{link::PATIENCE, server::Server};

/// rumqttc, driven step by step.
struct Peer {
    client: Client,
    connection: Connection,
}

impl Peer {
    fn with(server: &Server, name: &str, set: impl FnOnce(&mut MqttOptions)) -> Self {
        let mut options = MqttOptions::new(name, "127.0.0.1", server.address.port());
        options.set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(2 << 20, 2 << 20);
        set(&mut options);
        let (client, connection) = Client::new(options, 64);
        Self { client, connection }
    }

    /// A client that is connected, by a session of its own.
    fn new(server: &Server, name: &str) -> Self {
        let mut peer = Self::with(server, name, |_| {});
        assert!(!peer.connected());
        peer
    }

    /// The next packet of which `take` makes something. Where the connection breaks, rumqttc makes another.
    fn next<T>(&mut self, what: &str, mut take: impl FnMut(Packet) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.connection.recv_timeout(Duration::from_millis(100)) {
                Ok(Ok(Event::Incoming(packet))) => {
                    if let Some(taken) = take(packet) {
                        return taken;
                    }
                }
                Ok(Err(_)) => thread::sleep(Duration::from_millis(20)),
                Ok(Ok(Event::Outgoing(_))) | Err(_) => {}
            }
        }
        panic!("{what} did not come");
    }

    /// Waits for CONNACK; gives whether a session was present.
    fn connected(&mut self) -> bool {
        self.next("CONNACK", |packet| match packet {
            Packet::ConnAck(ack) => {
                assert_eq!(ack.code, ConnectReturnCode::Success);
                Some(ack.session_present)
            }
            _ => None,
        })
    }

    fn subscribe(&mut self, filter: &str, qos: QoS) {
        self.client.subscribe(filter, qos).unwrap();
        self.next("SUBACK", |packet| match packet {
            Packet::SubAck(ack) => {
                assert_eq!(ack.return_codes, [rumqttc::SubscribeReasonCode::Success(qos)]);
                Some(())
            }
            _ => None,
        });
    }

    fn message(&mut self) -> Publish {
        self.next("a message", |packet| match packet {
            Packet::Publish(publish) => Some(publish),
            _ => None,
        })
    }

    /// Publishes, until it is acknowledged.
    fn publish(&mut self, topic: &str, payload: &[u8], qos: QoS, retain: bool) {
        self.client.publish(topic, qos, retain, payload).unwrap();
        self.acknowledged(qos);
    }

    fn acknowledged(&mut self, qos: QoS) {
        match qos {
            QoS::AtMostOnce => self.rest(Duration::from_millis(10)),
            QoS::AtLeastOnce => self.next("PUBACK", |p| matches!(p, Packet::PubAck(_)).then_some(())),
            QoS::ExactlyOnce => self.next("PUBCOMP", |p| matches!(p, Packet::PubComp(_)).then_some(())),
        }
    }

    /// Goes on for a while, in which no message may come.
    fn rest(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let happened = self.connection.recv_timeout(end.saturating_duration_since(Instant::now()));
            assert!(!matches!(happened, Ok(Ok(Event::Incoming(Packet::Publish(_))))), "{happened:?}");
        }
    }

    /// DISCONNECT.
    fn close(mut self) {
        self.client.disconnect().unwrap();
        let end = Instant::now() + PATIENCE;
        while !matches!(self.connection.recv_timeout(Duration::from_millis(100)), Ok(Err(_))) {
            assert!(Instant::now() < end, "the connection did not end");
        }
    }
}

fn serve() -> Server {
    Server::start(BrokerConfig::default()).unwrap()
}

fn keeping(options: &mut MqttOptions) {
    options.set_clean_session(false);
}

#[test]
fn messages_pass_at_every_qos_and_size() {
    let server = serve();
    let (mut sub, mut publisher) = (Peer::new(&server, "sub"), Peer::new(&server, "pub"));
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let topic = format!("t/{}", qos as u8);
        sub.subscribe(&topic, qos);
        for len in [0, 1, 127, 128, 70_000, 900_000] {
            let payload: Vec<u8> = (0..len).map(|n: u32| (n ^ (n >> 8)) as u8).collect();
            publisher.publish(&topic, &payload, qos, false);
            let got = sub.message();
            assert_eq!((got.topic.as_str(), got.qos, got.retain, got.dup), (topic.as_str(), qos, false, false));
            assert!(got.payload == payload, "{len} bytes came otherwise");
        }
    }
}

#[test]
fn many_messages_come_in_order() {
    let server = serve();
    let (mut sub, mut publisher) = (Peer::new(&server, "sub"), Peer::new(&server, "pub"));
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        sub.subscribe("n", qos);
        for n in 0..100_u8 {
            publisher.publish("n", &[n], qos, false);
        }
        let got: Vec<u8> = (0..100).flat_map(|_| sub.message().payload).collect();
        assert!(got.iter().copied().eq(0..100), "{got:?}");
    }
}

#[test]
fn retained_messages_are_found_and_cleared() {
    let server = serve();
    let mut peer = Peer::new(&server, "p");
    peer.publish("r/1", b"old", QoS::AtLeastOnce, true);
    peer.publish("r/1", b"new", QoS::ExactlyOnce, true);
    peer.client.subscribe("r/+", QoS::AtLeastOnce).unwrap();
    let got = peer.message();
    assert_eq!((&got.payload[..], got.retain, got.qos), (&b"new"[..], true, QoS::AtLeastOnce));
    peer.client.publish("r/1", QoS::AtLeastOnce, true, "").unwrap();
    assert!(!peer.message().retain);
    assert_eq!(server.stats().retained, 0);
}

#[test]
fn a_will_comes_when_the_connection_breaks_and_not_when_it_is_closed() {
    let server = serve();
    let mut heir = Peer::new(&server, "heir");
    heir.subscribe("w/#", QoS::ExactlyOnce);
    let testator = |name: &str| {
        let mut peer = Peer::with(&server, name, |options| {
            options.set_last_will(LastWill::new(format!("w/{name}"), "adieu", QoS::ExactlyOnce, false));
        });
        assert!(!peer.connected());
        peer
    };
    testator("polite").close();
    heir.rest(Duration::from_millis(200));
    drop(testator("abrupt"));
    let got = heir.message();
    assert_eq!((got.topic.as_str(), &got.payload[..], got.qos), ("w/abrupt", &b"adieu"[..], QoS::ExactlyOnce));
}

#[test]
fn a_session_waits_for_its_client() {
    let server = serve();
    let mut asleep = Peer::with(&server, "sleeper", keeping);
    assert!(!asleep.connected());
    asleep.subscribe("night", QoS::ExactlyOnce);
    asleep.close();
    let mut other = Peer::new(&server, "other");
    for (n, qos) in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce].into_iter().enumerate() {
        other.publish("night", &[n as u8], qos, false);
    }
    let mut awake = Peer::with(&server, "sleeper", keeping);
    assert!(awake.connected());
    for n in 0..3 {
        assert_eq!(awake.message().payload[..], [n]);
    }
    awake.rest(Duration::from_millis(100));
    assert!(server.wait(|stats| stats.queued == 0));
}

#[test]
fn what_rumqttc_did_not_acknowledge_comes_again() {
    let server = serve();
    let mut peer = Peer::with(&server, "p", |options| {
        options.set_clean_session(false).set_manual_acks(true);
    });
    assert!(!peer.connected());
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        peer.subscribe("again", qos);
        Peer::new(&server, "other").publish("again", b"once", qos, false);
        let first = peer.message();
        assert!(!first.dup);
        server.cut();
        let second = peer.message();
        assert!(second.dup && second.pkid == first.pkid && second.payload == first.payload, "{second:?}");
        peer.client.ack(&second).unwrap();
        peer.rest(Duration::from_millis(100));
        assert!(server.wait(|stats| stats.queued == 0));
    }
}

#[test]
fn what_rumqttc_sends_again_is_passed_on_as_its_qos_says() {
    let server = serve();
    let mut publisher = Peer::with(&server, "p", keeping);
    assert!(!publisher.connected());
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        // A session that collects what is published.
        let topic = format!("again/{}", qos as u8);
        let mut reader = Peer::with(&server, "reader", keeping);
        reader.connected();
        reader.subscribe(&topic, QoS::ExactlyOnce);
        reader.close();
        let before = server.stats().received;
        // The broker's answer gets lost, and then the connection.
        server.mute(true);
        publisher.client.publish(&topic, qos, false, "precious").unwrap();
        publisher.rest(Duration::from_millis(50));
        assert!(server.wait(|stats| stats.received > before));
        server.cut();
        server.mute(false);
        publisher.acknowledged(qos);
        let copies = if qos == QoS::ExactlyOnce { 1 } else { 2 };
        let mut reader = Peer::with(&server, "reader", keeping);
        assert!(reader.connected());
        for _ in 0..copies {
            assert_eq!(reader.message().payload, "precious");
        }
        reader.rest(Duration::from_millis(100));
        reader.close();
    }
}

#[test]
fn one_who_is_not_known_is_refused() {
    let users = vec![User { name: "ann".into(), password: b"secret".into() }];
    let server = Server::start(BrokerConfig { users, ..BrokerConfig::default() }).unwrap();
    let mut known = Peer::with(&server, "a", |options| {
        options.set_credentials("ann", "secret");
    });
    assert!(!known.connected());
    let mut wrong = Peer::with(&server, "b", |options| {
        options.set_credentials("ann", "wrong");
    });
    let end = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < end, "no answer");
        if let Ok(Err(error)) = wrong.connection.recv_timeout(Duration::from_millis(100)) {
            break error;
        }
    };
    let refused = rumqttc::ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword);
    assert_eq!(error.to_string(), refused.to_string());
}
