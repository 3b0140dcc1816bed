//! One signed update, end to end, by all three models, through links that lose, repeat and reorder.

mod common;

use common::{DAY, add_broker, add_device, add_gateway, announce, assert_updated, device};
use waft::{
    Duration,
    agent::Agent,
    coap::{self, Endpoint},
    gateway::Gateway,
    ota::{
        manifest::Key,
        policy::{Model, Severity},
        refusal::Refusal,
    },
};
use waft_sim::{
    Link, Network,
    fleet::{Device, ERASE, FileServer, Peers, Provider, image, key, manifest, publish, reference},
};

fn links() -> [(Link, u64); 4] {
    [(Link::default(), 1), (Link::lossy(0.05), 2), (Link::lossy(0.2), 3), (Link::hostile(0.03), 4)]
}

#[test]
fn model_a_reaches_a_device_that_is_awake_and_one_that_sleeps() {
    for (link, seed) in links() {
        let image = image(100_001);
        let mut net = Network::new(seed, link);
        let broker = add_broker(&mut net);
        let peers = Peers { broker: Some(broker), ..Peers::default() };
        let awake = add_device(&mut net, "awake", peers);
        net.run_for(Duration::from_secs(10)).unwrap();
        publish(&mut net, broker, &manifest(&image, 1, &reference(&image), Severity::High), Some(&image));
        assert_updated(&mut net, awake, &image, Model::A);
        let sleeper = add_device(&mut net, "sleeper", peers);
        assert_updated(&mut net, sleeper, &image, Model::A);
    }
}

#[test]
fn model_b_fetches_over_coap_what_mqtt_announced() {
    for (link, seed) in links() {
        let image = image(50_003);
        let mut net = Network::new(seed, link);
        let broker = add_broker(&mut net);
        let endpoint = Endpoint::new(coap::Config::default(), 3, coap::Resources::owned(16384, 1, 8, 64, 0));
        let server = net.add(endpoint, FileServer { image: image.clone() });
        let peers = Peers { broker: Some(broker), server: Some(server), ..Peers::default() };
        let node = add_device(&mut net, "b", peers);
        publish(&mut net, broker, &manifest(&image, 1, "coap://server/fw.bin", Severity::Medium), None);
        assert_updated(&mut net, node, &image, Model::B);
    }
}

#[test]
fn model_c_serves_many_from_one_fetch() {
    for (link, seed) in links() {
        let image = image(30_000);
        let mut net = Network::new(seed, link);
        let gateway = add_gateway(&mut net, &image);
        let peers = Peers { gateway: Some(gateway), ..Peers::default() };
        let nodes = ["c1", "c2", "c3"].map(|name| add_device(&mut net, name, peers));
        net.run_for(Duration::from_secs(20)).unwrap();
        let envelope = manifest(&image, 1, &reference(&image), Severity::Low);
        announce(&mut net, gateway, envelope);
        for node in nodes {
            assert_updated(&mut net, node, &image, Model::C);
        }
        net.run_for(Duration::from_secs(300)).unwrap();
        net.with::<Gateway, Provider, _>(gateway, |_, _, provider| {
            assert_eq!(provider.fetched, 1);
            for name in ["c1", "c2", "c3"] {
                assert!(provider.reports.iter().any(|(path, _)| path.ends_with(&format!("/{name}/report"))), "{name}");
            }
        })
        .unwrap();
    }
}

#[test]
fn a_power_cut_in_mid_download_costs_at_most_one_erase_block_and_the_window() {
    for model in [Model::A, Model::C] {
        let image = image(120_000);
        let mut net = Network::new(5, Link { delay: Duration::from_millis(10), ..Link::default() });
        let (broker, gateway) = (add_broker(&mut net), add_gateway(&mut net, &image));
        let envelope = manifest(&image, 1, &reference(&image), Severity::High);
        let peers = match model {
            Model::A => Peers { broker: Some(broker), ..Peers::default() },
            _ => Peers { gateway: Some(gateway), ..Peers::default() },
        };
        publish(&mut net, broker, &envelope, Some(&image));
        announce(&mut net, gateway, envelope);
        let node = add_device(&mut net, "cut", peers);
        for at in [30_000, 70_000] {
            assert!(net.run_until(DAY, |net| device(net, node, |_, d| d.stored >= at)).unwrap());
            net.with::<Agent<'static>, Device, _>(node, |cx, agent, device| device.reboot(cx, agent)).unwrap();
        }
        assert_updated(&mut net, node, &image, model);
        device(&mut net, node, |_, device| {
            let twice = device.stored - image.len() as u64;
            assert!(twice <= 2 * u64::from(ERASE), "{model:?}: {twice} bytes were stored twice");
        });
    }
}

#[test]
fn a_manifest_that_is_not_for_this_device_is_refused_with_its_reason() {
    let image = image(5_000);
    let good = manifest(&image, 3, &reference(&image), Severity::High);
    let mut tampered = good.clone();
    let middle = tampered.len() - 40;
    tampered[middle] ^= 1;
    for (envelope, reason) in [(tampered, None), (good, Some(Refusal::UnknownKey))] {
        let mut net = Network::new(6, Link::default());
        let broker = add_broker(&mut net);
        let peers = Peers { broker: Some(broker), ..Peers::default() };
        let mut app = Device::new("refuses", key().key(), peers);
        if reason.is_some() {
            app.keys = Box::leak(Box::new([Key::new([7; 32])]));
        }
        let agent = app.agent(0);
        let node = net.add(agent, app);
        publish(&mut net, broker, &envelope, Some(&image));
        net.run_for(Duration::from_secs(60)).unwrap();
        device(&mut net, node, |_, device| {
            assert_eq!(device.stored, 0);
            let told = device.reports.last().and_then(|report| report.reason);
            assert!(told.is_some(), "{:?}", device.states);
            assert!(reason.is_none() || told == reason, "{told:?}");
        });
    }
}
