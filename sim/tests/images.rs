//! A release of two images by all three models: both become active, or neither does.

mod common;

use bytes::Bytes;
use common::{DAY, add_broker, add_special, device, new_gateway};
use waft::{
    Duration,
    agent::Agent,
    coap::{self, Body, Code, Endpoint, Reply, option::format},
    gateway::{self, Gateway},
    mqtt::{broker::Broker, packet::QoS},
    ota::{
        author::{Extra, More, Release},
        event::{Area, State},
        manifest::Image,
        policy::{Model, Severity},
    },
};
use waft_sim::{
    App, Context, Link, Network, NodeId,
    fleet::{CHUNK, Device, ERASE, Listener, Peers, image, key, publish, reference, release},
};

/// What a server has: a body for each path.
#[derive(Debug)]
struct Files(Vec<(String, Vec<u8>)>);

impl Files {
    fn find(&self, is: impl Fn(&str) -> bool) -> &[u8] {
        &self.0.iter().find(|(path, _)| is(path)).expect("only what is there is asked for").1
    }
}

impl App<Gateway> for Files {
    fn event(&mut self, cx: &mut Context<'_>, gateway: &mut Gateway, event: gateway::Event<'_>) {
        if let gateway::Event::Fetch { path, .. } = event {
            let body = self.find(|name| path.ends_with(name)).to_vec();
            gateway.put(cx.now, &path, format::OCTET_STREAM, Bytes::from(body)).unwrap();
        }
    }
}

impl App<Endpoint<'static>> for Files {
    fn event(&mut self, cx: &mut Context<'_>, endpoint: &mut Endpoint<'static>, event: coap::Event<'_>) {
        if let coap::Event::Request { id, options, .. } = event {
            let body = self.find(|path| options.path_is(path));
            endpoint
                .respond(cx.now, &id, &Reply { body: Body::Whole(body), ..Reply::new(Code::CONTENT, &[]) })
                .unwrap();
        }
    }
}

/// A signed manifest for a firmware and another image, where `uris` say.
fn manifest(images: [&[u8]; 2], uris: [&str; 2], severity: Severity) -> Vec<u8> {
    let [firmware, other] = images;
    let extra = Extra { number: 1, image: Image::of(other).unwrap(), uri: uris[1], content: None };
    let more = More { images: &[extra], ..More::default() };
    Release { more, ..release(firmware, 1, uris[0], severity) }.sign(&key()).unwrap()
}

/// A network with what delivers these images by that model, and a device that has slots for both.
fn world(model: Model, images: [&[u8]; 2], seed: u64, link: Link) -> (Network, NodeId) {
    let mut net = Network::new(seed, link);
    let relative = images.map(reference);
    let mut peers = Peers::default();
    match model {
        Model::A => {
            let broker = add_broker(&mut net);
            peers.broker = Some(broker);
            let now = net.now();
            net.with::<Broker, Listener, _>(broker, |_, broker, _| {
                for (n, chunk) in images[1].chunks(CHUNK as usize).enumerate() {
                    let topic = format!("waft/lamp/{}/{n}", relative[1]);
                    broker.publish(now, &topic, Bytes::copy_from_slice(chunk), QoS::AtLeastOnce, true).unwrap();
                }
            })
            .unwrap();
            let envelope = manifest(images, [&relative[0], &relative[1]], Severity::High);
            publish(&mut net, broker, &envelope, Some(images[0]));
        }
        Model::B => {
            let broker = add_broker(&mut net);
            let files = Files(vec![("/fw.bin".into(), images[0].to_vec()), ("/radio.bin".into(), images[1].to_vec())]);
            let endpoint = Endpoint::new(coap::Config::default(), 3, coap::Resources::owned(16384, 1, 8, 64, 0));
            peers = Peers { broker: Some(broker), server: Some(net.add(endpoint, files)), gateway: None };
            let uris = ["coap://server/fw.bin", "coap://server/radio.bin"];
            publish(&mut net, broker, &manifest(images, uris, Severity::Medium), None);
        }
        Model::C => {
            let files = relative.iter().cloned().zip(images.map(<[u8]>::to_vec)).collect();
            let gateway = net.add(new_gateway(), Files(files));
            peers.gateway = Some(gateway);
            net.with::<Gateway, Files, _>(gateway, |cx, gateway, _| {
                let envelope = manifest(images, [&relative[0], &relative[1]], Severity::Low);
                gateway.put(cx.now, "/lamp/manifest", format::OCTET_STREAM, Bytes::from(envelope)).unwrap();
            })
            .unwrap();
        }
    }
    let node = add_special(&mut net, "two", peers, |device| device.flash.add_image());
    (net, node)
}

fn assert_installed(net: &mut Network, node: NodeId, images: [&[u8]; 2], model: Model) {
    let ended = net.run_until(DAY, |net| common::last_state(net, node) == Some(State::Confirmed)).unwrap();
    device(net, node, |agent, device| {
        assert!(ended, "{model:?}: {:?}", device.states);
        assert_eq!((device.model, agent.update().active_slots()), (Some(model), 0b11));
        for (n, bytes) in (0..).zip(images) {
            assert!(
                &device.flash.area(Area::Slot { image: n, slot: 1 })[..bytes.len()] == bytes,
                "{model:?}: image {n}"
            );
        }
        let refused: Vec<_> = device.reports.iter().filter_map(|report| report.reason).collect();
        assert!(refused.is_empty(), "{refused:?}");
    });
}

#[test]
fn two_images_reach_a_device_by_every_model() {
    let (firmware, radio) = (image(50_003), image(33_333));
    let images = [&firmware[..], &radio];
    for model in [Model::A, Model::B, Model::C] {
        for (link, seed) in [(Link::default(), 1), (Link::lossy(0.2), 2), (Link::hostile(0.03), 3)] {
            let (mut net, node) = world(model, images, seed, link);
            assert_installed(&mut net, node, images, model);
        }
    }
}

#[test]
fn power_that_fails_in_either_image_costs_at_most_one_erase_block_and_the_window() {
    let (firmware, radio) = (image(60_001), image(50_003));
    let images = [&firmware[..], &radio];
    for model in [Model::A, Model::B, Model::C] {
        let link = Link { delay: Duration::from_millis(10), ..Link::default() };
        let (mut net, node) = world(model, images, 5, link);
        for at in [30_000, 90_000] {
            common::until_stored(&mut net, node, at);
            net.with::<Agent<'static>, Device, _>(node, |cx, agent, device| device.reboot(cx, agent)).unwrap();
        }
        assert_installed(&mut net, node, images, model);
        device(&mut net, node, |_, device| {
            let twice = device.stored - 110_004;
            // Model B's window is sixteen blocks of 1,024 bytes.
            assert!(twice <= 2 * u64::from(ERASE) + 2 * 16 * 1024, "{model:?}: {twice} bytes were stored twice");
        });
    }
}
