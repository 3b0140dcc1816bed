//! Bytes on the wire, both directions, for each byte of image, by model, on a link without loss: a line of JSON.
//! `cargo run -p waft-sim --release --example wire`

use bytes::Bytes;
use std::error::Error;
use waft::{
    Duration, Instant,
    agent::Agent,
    coap::{self, Endpoint, option::format},
    gateway::{self, Gateway},
    mqtt::broker::{self, Broker},
    ota::{event::State, policy::Severity},
};
use waft_sim::{
    Link, Network,
    fleet::{Device, FileServer, Listener, Peers, Provider, image, key, manifest, publish, reference},
};

const IMAGE: usize = 200 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let image = image(IMAGE);
    let relative = manifest(&image, 1, &reference(&image), Severity::High);
    let absolute = manifest(&image, 1, "coap://server/fw.bin", Severity::High);
    let mut ratios = Vec::new();
    for model in ["a", "b", "c"] {
        let mut net = Network::new(1, Link { delay: Duration::from_millis(20), ..Link::default() });
        let mut peers = Peers::default();
        match model {
            "c" => {
                let mut gateway = Gateway::new(gateway::Config::default(), 2);
                gateway.mount("/lamp/image/", "http://provider/image/")?;
                gateway.put(Instant::ZERO, "/lamp/manifest", format::OCTET_STREAM, Bytes::from(relative.clone()))?;
                let provider = Provider { image: image.clone(), fetched: 0, reports: Vec::new() };
                peers.gateway = Some(net.add(gateway, provider));
            }
            _ => {
                let broker = net.add(Broker::new(broker::BrokerConfig::default(), 1), Listener);
                peers.broker = Some(broker);
                if model == "a" {
                    publish(&mut net, broker, &relative, Some(&image));
                } else {
                    let endpoint = Endpoint::new(coap::Config::default(), 3, coap::Resources::owned(4096, 1, 4, 16, 0));
                    peers.server = Some(net.add(endpoint, FileServer { image: image.clone() }));
                    publish(&mut net, broker, &absolute, None);
                }
            }
        }
        let device = Device::new("wire", key().key(), peers);
        let agent = device.agent(0);
        let node = net.add(agent, device);
        let ended = net.run_until(Duration::from_secs(3600), |net| {
            net.with::<Agent<'static>, Device, _>(node, |_, _, d| d.states.last() == Some(&State::Confirmed))
                .unwrap_or(true)
        })?;
        if !ended {
            return Err(format!("model {model} did not end").into());
        }
        net.run_for(Duration::from_secs(10))?;
        let traffic = net.traffic(node);
        #[allow(clippy::cast_precision_loss, reason = "a ratio of small numbers")]
        let ratio = (traffic.sent + traffic.received) as f64 / IMAGE as f64;
        ratios.push(format!(r#""wire.model_{model}.ratio":{ratio:.4}"#));
    }
    println!("{{{}}}", ratios.join(","));
    Ok(())
}
