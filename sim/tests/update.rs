//! One signed update, end to end, by all three models, through links that lose, repeat and reorder.

use bytes::Bytes;
use waft::{
    Duration,
    agent::Agent,
    coap::{self, Endpoint, option::format},
    gateway::{self, Gateway},
    mqtt::broker::{self, Broker},
    ota::{
        event::{Area, State},
        manifest::Key,
        policy::{Model, Severity},
        refusal::Refusal,
    },
};
use waft_sim::{
    Link, Network, NodeId,
    fleet::{Device, ERASE, FileServer, Listener, Peers, Provider, image, key, manifest, publish, reference},
};

const DAY: Duration = Duration::from_secs(86_400);

fn add_broker(net: &mut Network) -> NodeId {
    net.add(Broker::new(broker::BrokerConfig::default(), 1), Listener)
}

fn add_gateway(net: &mut Network, image: &[u8]) -> NodeId {
    let mut gateway = Gateway::new(gateway::Config::default(), 2);
    gateway.mount("/lamp/image/", "http://provider/image/").unwrap();
    net.add(gateway, Provider { image: image.to_vec(), fetched: 0, reports: Vec::new() })
}

fn add_device(net: &mut Network, name: &'static str, peers: Peers) -> NodeId {
    let device = Device::new(name, key().key(), peers);
    let agent = device.agent(0);
    net.add(agent, device)
}

fn device<R>(net: &mut Network, node: NodeId, f: impl FnOnce(&mut Agent<'static>, &mut Device) -> R) -> R {
    net.with::<Agent<'static>, Device, _>(node, |_, agent, device| f(agent, device)).unwrap()
}

fn last_state(net: &mut Network, node: NodeId) -> Option<State> {
    device(net, node, |_, device| device.states.last().copied())
}

fn assert_updated(net: &mut Network, node: NodeId, image: &[u8], model: Model) {
    let ended = net.run_until(DAY, |net| last_state(net, node) == Some(State::Confirmed)).unwrap();
    device(net, node, |_, device| {
        assert!(ended, "{}: {:?}", device.name, device.states);
        assert_eq!(&device.flash.area(Area::Slot(1))[..image.len()], image, "{}", device.name);
        assert_eq!(device.model, Some(model), "{}", device.name);
        let refused: Vec<_> = device.reports.iter().filter_map(|r| r.reason).collect();
        assert!(refused.is_empty(), "{refused:?}");
        let order = [State::Verified, State::Fetching, State::Fetched, State::Validated, State::Ready, State::Trial];
        let mut states = device.states.iter();
        assert!(order.iter().all(|s| states.any(|seen| seen == s)), "{:?}", device.states);
    });
}

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
        let now = net.now();
        net.with::<Gateway, Provider, _>(gateway, |_, gateway, _| {
            gateway.put(now, "/lamp/manifest", format::OCTET_STREAM, Bytes::from(envelope)).unwrap();
        })
        .unwrap();
        for node in nodes {
            assert_updated(&mut net, node, &image, Model::C);
        }
        net.run_for(Duration::from_secs(300)).unwrap();
        net.with::<Gateway, Provider, _>(gateway, |_, _, provider| {
            assert_eq!(provider.fetched, 1);
            for name in ["c1", "c2", "c3"] {
                assert!(provider.reports.iter().any(|path| path.ends_with(&format!("/{name}/report"))), "{name}");
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
        let now = net.now();
        net.with::<Gateway, Provider, _>(gateway, |_, gateway, _| {
            gateway.put(now, "/lamp/manifest", format::OCTET_STREAM, Bytes::from(envelope)).unwrap();
        })
        .unwrap();
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
