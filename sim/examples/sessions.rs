//! Records what comes to a device while it is updated by models A and C, with a good image and with one that was tampered
//! with, for firmware to play to itself: `cargo run -p waft-sim --example sessions -- DIRECTORY`.
//!
//! A session begins with what has to come of it, little-endian: the last state (u8), the reason of the first refusal
//! (i8, 0 for none), two zeros, the number of bytes that the device sent (u32) and their checksum (u32, FNV-1a; a
//! datagram's length, u16, goes before it). Then come records: when (u64, µs), on which peer (u32), what (u8: 0 a stream
//! opened, 1 a stream closed, 2 bytes), how many bytes (u16), the bytes. The server is datagram peer 0.
//!
//! Beside them: a small and a large image, each with its signed envelope, for tests/arm/update.c.

use bytes::Bytes;
use std::{error::Error, fs, path::Path};
use waft::{
    Duration, Instant, Peer,
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
    for (name, len) in [("small", 16 * 1024), ("large", 64 * 1024)] {
        let image = image(len);
        fs::write(directory.join(format!("{name}.envelope")), manifest(&image, 1, &reference(&image), Severity::High))?;
        fs::write(directory.join(format!("{name}.image")), image)?;
    }
    for (model, session) in [("a", session_a as fn(&[u8], &[u8]) -> _), ("c", session_c)] {
        let good = image(IMAGE);
        let envelope = manifest(&good, 1, &reference(&good), Severity::High);
        let turn = |bytes: &[u8]| {
            let (mut turned, at) = (bytes.to_vec(), bytes.len() / 2);
            turned.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1);
            turned
        };
        let (tampered, forged) = (turn(&good), turn(&envelope));
        for (name, envelope, image, expected) in [
            ("good", &envelope, &good, State::Confirmed),
            ("tampered", &envelope, &tampered, State::Failed),
            ("forged", &forged, &good, State::Idle),
        ] {
            let recorded = session(envelope, image)?;
            if recorded.state != expected || (recorded.reason == 0) != (name == "good") {
                return Err(format!("{model} {name} ended {:?} {}", recorded.state, recorded.reason).into());
            }
            fs::write(directory.join(format!("{model}_{name}.session")), encode(&recorded))?;
        }
    }
    Ok(())
}

/// What came, what was sent, and what came of it.
struct Recorded {
    state: State,
    reason: i8,
    arrivals: Vec<Arrival>,
}

type Session = Result<Recorded, Box<dyn Error>>;

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
    let (state, reason) = net.with::<Agent<'static>, Device, _>(node, |_, agent, device| {
        let reason = device.reports.iter().find_map(|report| report.reason);
        (agent.update().state(), reason.map_or(0, |reason| waft::Code::code(&reason)))
    })?;
    Ok(Recorded { state, reason: i8::try_from(reason)?, arrivals: net.recorded() })
}

/// FNV-1a of what was sent, and how many bytes that were.
fn checksum(arrivals: &[Arrival]) -> (u32, u32) {
    let (mut hash, mut count) = (0x811C_9DC5_u32, 0_u32);
    for arrival in arrivals {
        let Arrived::Sent(bytes) = &arrival.what else { continue };
        let len = (arrival.peer == Peer(0)).then_some((bytes.len() as u16).to_be_bytes());
        for byte in len.iter().flatten().chain(bytes) {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
        count += bytes.len() as u32;
    }
    (count, hash)
}

fn encode(recorded: &Recorded) -> Vec<u8> {
    let (count, hash) = checksum(&recorded.arrivals);
    let [reason] = recorded.reason.to_le_bytes();
    let mut session = vec![recorded.state as u8, reason, 0, 0];
    session.extend_from_slice(&count.to_le_bytes());
    session.extend_from_slice(&hash.to_le_bytes());
    for Arrival { at, peer, what } in &recorded.arrivals {
        let (kind, bytes) = match what {
            Arrived::Opened => (0, &[][..]),
            Arrived::Closed => (1, &[][..]),
            Arrived::Bytes(bytes) => (2, &bytes[..]),
            Arrived::Sent(_) => continue,
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
