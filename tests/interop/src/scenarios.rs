//! What a client and a broker do for each other, each by itself on topics and with names of its own.

use crate::{
    Outcome,
    link::{Link, Message},
};
use std::{net::SocketAddr, time::Duration};
use waft::mqtt::{QoS, Will};

/// A broker, and what may be asked of it.
#[derive(Debug, Clone, Copy)]
pub struct Broker {
    /// Where it listens.
    pub address: SocketAddr,
    /// The highest QoS at which it takes and gives messages.
    pub qos: QoS,
    /// How long it may take to send again what is not acknowledged.
    pub patience: Duration,
}

type Scenario = fn(&Broker) -> Outcome<()>;

/// All of them, by name.
pub const ALL: &[(&str, Scenario)] = &[
    ("every QoS", every_qos),
    ("order", order),
    ("retained messages", retained),
    ("wills", wills),
    ("sessions", sessions),
    ("large payloads", large),
    ("redelivery to us", redelivery_to_us),
    ("redelivery by us", redelivery_by_us),
    ("keep-alive", keep_alive),
];

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Outcome<()> {
    if holds { Ok(()) } else { Err(what()) }
}

impl Broker {
    fn link(&self, name: &str, clean: bool, manual_ack: bool) -> Link {
        Link::new(self.address, name, clean, manual_ack)
    }

    fn connected(&self, name: &str) -> Outcome<Link> {
        let mut link = self.link(name, true, false);
        link.connect(60, None)?;
        Ok(link)
    }

    fn each_qos(&self) -> impl Iterator<Item = QoS> {
        let most = self.qos;
        [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter().filter(move |qos| *qos as u8 <= most as u8)
    }
}

fn every_qos(broker: &Broker) -> Outcome<()> {
    let mut link = broker.connected("rust-round")?;
    for qos in broker.each_qos() {
        let topic = format!("rust/round/{}", qos as u8);
        let granted = link.subscribe(&[(&topic, qos)])?;
        ensure(granted == [qos as u8], || format!("granted {granted:?}"))?;
        for payload in [&b""[..], b"x", &[7; 1_000]] {
            link.publish(&topic, payload, qos, false)?;
            let got = link.message()?;
            let right = got.topic == topic && got.payload == payload && got.qos == qos && !got.retain;
            ensure(right, || format!("{got:?}"))?;
        }
    }
    link.settle()?;
    link.close()
}

fn order(broker: &Broker) -> Outcome<()> {
    let mut link = broker.connected("rust-order")?;
    for qos in broker.each_qos() {
        let topic = format!("rust/order/{}", qos as u8);
        link.subscribe(&[(&topic, qos)])?;
        for n in 0..200_u8 {
            link.run("room", |link| link.client.in_flight() < 10)?;
            let now = link.now();
            link.client.publish(now, &topic, &[n], qos, false).map_err(|e| e.to_string())?;
            link.drain(usize::MAX)?;
        }
        link.run("200 messages", |link| link.messages.len() == 200)?;
        let got: Vec<_> = link.messages.drain(..).flat_map(|m| m.payload).collect();
        ensure(got.iter().copied().eq(0..200), || format!("{got:?}"))?;
        link.settle()?;
    }
    link.close()
}

fn retained(broker: &Broker) -> Outcome<()> {
    let mut link = broker.connected("rust-kept")?;
    link.publish("rust/kept", b"old", QoS::AtLeastOnce, true)?;
    link.publish("rust/kept", b"new", QoS::AtLeastOnce, true)?;
    link.subscribe(&[("rust/kept", QoS::AtLeastOnce)])?;
    let got = link.message()?;
    ensure(got.retain && got.payload == b"new", || format!("{got:?}"))?;
    link.publish("rust/kept", b"", QoS::AtLeastOnce, true)?;
    let got = link.message()?;
    ensure(!got.retain && got.len == 0, || format!("{got:?}"))?;
    link.subscribe(&[("rust/kept", QoS::AtLeastOnce)])?;
    link.rest(Duration::from_millis(200))?;
    ensure(link.messages.is_empty(), || format!("{:?}", link.messages))?;
    link.close()
}

fn wills(broker: &Broker) -> Outcome<()> {
    let mut heir = broker.connected("rust-heir")?;
    heir.subscribe(&[("rust/will", QoS::AtLeastOnce)])?;
    let will = Will { topic: "rust/will", payload: b"adieu", qos: QoS::AtLeastOnce, retain: false };
    let mut testator = broker.link("rust-testator", true, false);
    testator.connect(60, Some(will))?;
    testator.close()?;
    heir.rest(Duration::from_millis(200))?;
    ensure(heir.messages.is_empty(), || "the will came after DISCONNECT".into())?;
    testator.connect(60, Some(will))?;
    testator.cut();
    let got = heir.message()?;
    ensure(got.payload == b"adieu" && got.qos == QoS::AtLeastOnce, || format!("{got:?}"))?;
    heir.close()
}

fn sessions(broker: &Broker) -> Outcome<()> {
    let mut sleeper = broker.link("rust-sleeper", false, false);
    sleeper.connect(60, None)?;
    sleeper.subscribe(&[("rust/night", broker.qos)])?;
    sleeper.close()?;
    let mut other = broker.connected("rust-awake")?;
    // NATS goes on sending to the one that left until all its parts know of it.
    other.rest(broker.patience)?;
    for n in 0..5 {
        other.publish("rust/night", &[n], broker.qos, false)?;
    }
    ensure(sleeper.connect(60, None)?, || "the session is gone".into())?;
    for n in 0..5 {
        let got = sleeper.message()?;
        ensure(got.payload == [n] && !got.dup, || format!("{got:?}"))?;
    }
    sleeper.settle()?;
    sleeper.close()?;
    let mut clean = broker.link("rust-sleeper", true, false);
    ensure(!clean.connect(60, None)?, || "a clean session follows one".into())?;
    clean.close()
}

fn large(broker: &Broker) -> Outcome<()> {
    let payload: Vec<u8> = (0..700_001_u32).map(|n| (n ^ (n >> 8)) as u8).collect();
    let mut link = broker.connected("rust-large")?;
    link.subscribe(&[("rust/large", broker.qos)])?;
    for qos in broker.each_qos() {
        link.publish("rust/large", &payload, qos, false)?;
        ensure(link.message()?.payload == payload, || "it came otherwise".into())?;
        link.stream("rust/large", &payload, qos)?;
        ensure(link.message()?.payload == payload, || "the streamed one came otherwise".into())?;
    }
    link.settle()?;
    link.close()
}

fn redelivery_to_us(broker: &Broker) -> Outcome<()> {
    for qos in broker.each_qos().skip(1) {
        let topic = format!("rust/again/{}", qos as u8);
        let mut link = broker.link(&format!("rust-again-{}", qos as u8), false, true);
        link.connect(60, None)?;
        link.subscribe(&[(&topic, qos)])?;
        broker.connected("rust-sender")?.publish(&topic, b"once", qos, false)?;
        let mut got: Message = link.message()?;
        link.cut();
        link.connect(60, None)?;
        if qos == QoS::AtLeastOnce {
            got = link.message()?;
            ensure(got.payload == b"once" && got.dup, || format!("{got:?}"))?;
        }
        let now = link.now();
        link.client.acknowledge(now, got.id.ok_or("no identifier")?).map_err(|e| e.to_string())?;
        link.settle()?;
        link.rest(Duration::from_millis(200))?;
        link.cut();
        ensure(link.connect(60, None)?, || "the session is gone".into())?;
        link.rest(broker.patience)?;
        ensure(link.messages.is_empty(), || format!("more came: {:?}", link.messages))?;
        link.close()?;
    }
    Ok(())
}

fn redelivery_by_us(broker: &Broker) -> Outcome<()> {
    let mut reader = broker.connected("rust-reader")?;
    for qos in broker.each_qos().skip(1) {
        let topic = format!("rust/cut/{}", qos as u8);
        reader.subscribe(&[(&topic, qos)])?;
        for sent in [0, 1, 10, usize::MAX] {
            let mut link = broker.link("rust-writer", false, false);
            link.connect(60, None)?;
            let now = link.now();
            let number = link.client.publish(now, &topic, b"precious", qos, false).map_err(|e| e.to_string())?;
            link.drain(sent)?;
            link.cut();
            link.connect(60, None)?;
            link.acknowledged(number)?;
            link.close()?;
            ensure(reader.message()?.payload == b"precious", || "another payload".into())?;
            reader.rest(Duration::from_millis(200))?;
            let more = reader.messages.drain(..).count();
            let may = usize::from(qos == QoS::AtLeastOnce && sent == usize::MAX);
            ensure(more <= may, || format!("{more} more after {sent} bytes at {qos:?}"))?;
        }
    }
    reader.close()
}

fn keep_alive(broker: &Broker) -> Outcome<()> {
    let mut link = broker.link("rust-silent", true, false);
    link.connect(1, None)?;
    link.rest(Duration::from_millis(2_600))?;
    ensure(link.client.is_connected(), || "the connection was given up".into())?;
    link.close()
}
