//! Records what comes to a device while it is updated by models A and C, with a good image and with one that was tampered
//! with, for firmware to play to itself: `cargo run -p waft-sim --example sessions -- DIRECTORY`.
//!
//! A session is a row of records, little-endian: when (u64, µs), on which peer (u32), what (u8: 0 a stream opened,
//! 1 a stream closed, 2 bytes), how many bytes (u16), the bytes. The server is datagram peer 0.

use bytes::Bytes;
use std::{error::Error, fs, path::Path};
use waft::{
    Duration, Instant,
    agent::Agent,
    coap::option::format,
    gateway::{self, Gateway},
    mqtt::broker::{self, Broker},
    ota::{event::State, policy::Severity},
};
use waft_sim::{
    Arrival, Arrived, Link, Network,
    fleet::{Device, Listener, Peers, Provider, image, key, manifest, publish, reference},
};

/// Bytes of the image.
const IMAGE: usize = 24_000;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: sessions DIRECTORY")?;
    let directory = Path::new(&directory);
    fs::create_dir_all(directory)?;
    fs::write(directory.join("key.bin"), key().key().public)?;
    for (model, session) in [("a", session_a as fn(&[u8], &[u8]) -> _), ("c", session_c)] {
        let good = image(IMAGE);
        let envelope = manifest(&good, 1, &reference(&good), Severity::High);
        let mut tampered = good.clone();
        if let Some(byte) = tampered.get_mut(IMAGE / 2) {
            *byte ^= 1;
        }
        for (name, image) in [("good", &good), ("tampered", &tampered)] {
            let (ended, arrivals) = session(&envelope, image)?;
            let expected = if name == "good" { State::Confirmed } else { State::Failed };
            if ended != Some(expected) {
                return Err(format!("{model} {name} ended {ended:?}").into());
            }
            fs::write(directory.join(format!("{model}_{name}.session")), encode(&arrivals))?;
        }
    }
    Ok(())
}

type Session = Result<(Option<State>, Vec<Arrival>), Box<dyn Error>>;

/// The chunks stand where the manifest says, whatever is in them.
fn session_a(envelope: &[u8], image: &[u8]) -> Session {
    let mut net = Network::new(1, Link { delay: Duration::from_millis(20), ..Link::default() });
    let broker = net.add(Broker::new(broker::BrokerConfig::default(), 1), Listener);
    let good = waft_sim::fleet::image(IMAGE);
    let now = net.now();
    net.with::<Broker, Listener, _>(broker, |_, broker, _| {
        for (n, chunk) in image.chunks(waft_sim::fleet::CHUNK as usize).enumerate() {
            let topic = format!("waft/lamp/{}/{n}", reference(&good));
            let chunk = Bytes::copy_from_slice(chunk);
            broker.publish(now, &topic, chunk, waft::mqtt::packet::QoS::AtLeastOnce, true)?;
        }
        Ok::<_, Box<dyn Error>>(())
    })??;
    publish(&mut net, broker, envelope, None);
    run(net, Peers { broker: Some(broker), ..Peers::default() })
}

fn session_c(envelope: &[u8], image: &[u8]) -> Session {
    let mut net = Network::new(1, Link { delay: Duration::from_millis(20), ..Link::default() });
    let mut gateway = Gateway::new(gateway::Config::default(), 2);
    gateway.mount("/lamp/image/", "http://provider/image/")?;
    gateway.put(Instant::ZERO, "/lamp/manifest", format::OCTET_STREAM, Bytes::copy_from_slice(envelope))?;
    let gateway = net.add(gateway, Provider { image: image.to_vec(), fetched: 0, reports: Vec::new() });
    run(net, Peers { gateway: Some(gateway), ..Peers::default() })
}

fn run(mut net: Network, peers: Peers) -> Session {
    let device = Device::new("m4", key().key(), peers);
    let agent = device.agent(0);
    let node = net.add(agent, device);
    net.record(node);
    net.run_for(Duration::from_secs(120))?;
    let ended = net.with::<Agent<'static>, Device, _>(node, |_, _, device| device.states.last().copied())?;
    Ok((ended, net.recorded()))
}

fn encode(arrivals: &[Arrival]) -> Vec<u8> {
    let mut session = Vec::new();
    for Arrival { at, peer, what } in arrivals {
        let (kind, bytes) = match what {
            Arrived::Opened => (0, &[][..]),
            Arrived::Closed => (1, &[][..]),
            Arrived::Bytes(bytes) => (2, &bytes[..]),
        };
        // A segment is at most an MTU long.
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        session.extend_from_slice(&at.as_micros().to_le_bytes());
        session.extend_from_slice(&peer.0.to_le_bytes());
        session.push(kind);
        session.extend_from_slice(&len.to_le_bytes());
        session.extend_from_slice(bytes);
    }
    session
}
