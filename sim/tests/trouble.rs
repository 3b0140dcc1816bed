//! Updates during which something goes wrong at the servers, on the links or in flash.

mod common;

use bytes::Bytes;
use common::*;
use waft::{
    Duration,
    agent::{Agent, Link as Line},
    coap::{Code, option::format},
    gateway::Gateway,
    mqtt::{
        broker::{self, Broker},
        packet::QoS,
    },
    ota::{
        author::Release,
        event::{Area, State},
        manifest::Ed25519,
        policy::{Model, Severity},
        refusal::Refusal,
        reporter::{self, Reporter},
        secret::SecretKey,
    },
};
use waft_sim::{
    App, Context, Link, Network, NodeId,
    fleet::{
        CHUNK, Device, ERASE, Flash, Listener, Peers, Provider, SLOT, image, key, manifest, publish, reference, release,
    },
};

const SERVER: &str = "coap://server/fw.bin";

/// A network with a broker, a gateway that has `image`, and a device that takes it by `model`.
fn fleet(
    seed: u64,
    link: Link,
    model: Model,
    image: &[u8],
    change: impl FnOnce(&mut Device),
) -> (Network, NodeId, NodeId, NodeId) {
    let mut net = Network::new(seed, link);
    let (broker, gateway) = (add_broker(&mut net), add_gateway(&mut net, image));
    let server = add_server(&mut net, Code::CONTENT, image);
    let all = Peers { broker: Some(broker), gateway: Some(gateway), server: Some(server) };
    let peers = match model {
        Model::A => Peers { gateway: None, ..all },
        Model::B => Peers { gateway: None, ..all },
        Model::C => Peers { broker: None, ..all },
    };
    let node = add_special(&mut net, "d", peers, change);
    match model {
        Model::A => publish(&mut net, broker, &manifest(image, 1, &reference(image), Severity::High), Some(image)),
        Model::B => publish(&mut net, broker, &manifest(image, 1, SERVER, Severity::Medium), None),
        Model::C => announce(&mut net, gateway, manifest(image, 1, &reference(image), Severity::Low)),
    }
    (net, node, broker, gateway)
}

const MODELS: [Model; 3] = [Model::A, Model::B, Model::C];

#[test]
fn flash_that_answers_late_and_fails_now_and_then_delays_an_update_and_no_more() {
    for model in MODELS {
        for seed in 0..4 {
            let image = image(60_001);
            let (mut net, node, ..) = fleet(seed, Link::hostile(0.02), model, &image, |d| {
                d.flash_takes = Duration::from_millis(40 + 200 * (seed & 1));
                d.flash_fails_every = if seed < 2 { 0 } else { 101 };
                d.open_takes = Duration::from_secs(3);
            });
            assert_updated(&mut net, node, &image, model);
        }
    }
}

#[test]
fn flash_that_answers_late_has_each_byte_sent_once() {
    for model in MODELS {
        let image = image(60_001);
        let (mut net, node, ..) =
            fleet(1, Link::lossy(0.0), model, &image, |d| d.flash_takes = Duration::from_millis(40));
        assert_updated(&mut net, node, &image, model);
        let received = net.traffic(node).received;
        assert!(received < 70_000, "{received} bytes by model {model:?} for an image of 60,001");
    }
}

#[test]
fn a_slow_link_carries_each_chunk_once() {
    let image = image(50_000);
    let slow = Link { rate: 20_000, delay: Duration::from_millis(300), ..Link::default() };
    let (mut net, node, ..) = fleet(1, slow, Model::A, &image, |_| ());
    assert_updated(&mut net, node, &image, Model::A);
    net.run_for(MINUTE.times(5)).unwrap();
    let received = net.traffic(node).received;
    assert!(received < 53_000, "{received} bytes for an image of 50,000");
}

#[test]
fn a_chunk_of_the_wrong_size_is_asked_for_now_and_then_until_it_is_right() {
    let image = image(40_000);
    let mut net = Network::new(1, Link::lossy(0.0));
    let broker = add_broker(&mut net);
    let node = add_device(&mut net, "d", Peers { broker: Some(broker), ..Peers::default() });
    publish(&mut net, broker, &manifest(&image, 1, &reference(&image), Severity::High), Some(&image));
    let topic = format!("waft/lamp/{}/1", reference(&image));
    let put = |net: &mut Network, bytes: &[u8]| {
        let (now, bytes) = (net.now(), Bytes::copy_from_slice(bytes));
        net.with::<Broker, Listener, _>(broker, |_, broker, _| {
            broker.publish(now, &topic, bytes, QoS::AtLeastOnce, true).unwrap();
        })
        .unwrap();
    };
    put(&mut net, &[7; 100]);
    net.run_for(HOUR).unwrap();
    let received = net.traffic(node).received;
    assert!(received < 400_000, "{received} bytes in an hour for a chunk that cannot be taken");
    assert_eq!(last_state(&mut net, node), Some(State::Fetching));
    put(&mut net, &image[CHUNK as usize..2 * CHUNK as usize]);
    assert_updated(&mut net, node, &image, Model::A);
}

#[test]
fn a_newer_release_replaces_a_download_that_is_half_done() {
    for model in MODELS {
        let (old, new) = (image(90_000), image(50_007));
        let (mut net, node, broker, gateway) = fleet(3, Link::hostile(0.01), model, &old, |_| ());
        until_stored(&mut net, node, 30_000);
        match model {
            Model::A => publish(&mut net, broker, &manifest(&new, 2, &reference(&new), Severity::High), Some(&new)),
            Model::B => {
                let server = device(&mut net, node, |_, d| d.peers.server.unwrap());
                self::server(&mut net, server, |s| {
                    s.body = new.clone();
                    s.etag = vec![2];
                });
                publish(&mut net, broker, &manifest(&new, 2, SERVER, Severity::Medium), None);
            }
            Model::C => {
                net.with::<Gateway, Provider, _>(gateway, |_, _, p| p.image.clone_from(&new)).unwrap();
                announce(&mut net, gateway, manifest(&new, 2, &reference(&new), Severity::Low));
            }
        }
        assert_updated(&mut net, node, &new, model);
    }
}

/// A broker's host that takes connections or does not.
struct Door {
    open: bool,
    /// It takes the connection and says nothing.
    mute: bool,
}

impl App<Broker> for Door {
    fn event(&mut self, cx: &mut Context<'_>, _: &mut Broker, event: broker::Event) {
        if let broker::Event::Close { peer, .. } = event {
            cx.close(peer);
        }
    }
    fn opened(&mut self, cx: &mut Context<'_>, broker: &mut Broker, peer: waft::Peer) {
        if self.mute {
        } else if self.open {
            broker.accept(cx.now, peer).unwrap();
        } else {
            cx.close(peer);
        }
    }
    fn closed(&mut self, cx: &mut Context<'_>, broker: &mut Broker, peer: waft::Peer) {
        broker.connection_lost(cx.now, peer);
    }
}

fn add_door(net: &mut Network, envelope: &[u8], image: &[u8]) -> NodeId {
    let mut broker = Broker::new(broker::BrokerConfig::default(), 1);
    let now = net.now();
    for (n, chunk) in image.chunks(CHUNK as usize).enumerate() {
        let topic = format!("waft/lamp/{}/{n}", reference(image));
        broker.publish(now, &topic, Bytes::copy_from_slice(chunk), QoS::AtLeastOnce, true).unwrap();
    }
    let envelope = Bytes::copy_from_slice(envelope);
    broker.publish(now, "waft/lamp/manifest", envelope, QoS::AtLeastOnce, true).unwrap();
    net.add(broker, Door { open: true, mute: false })
}

fn shut(net: &mut Network, broker: NodeId, node: NodeId, open: bool) {
    net.with::<Broker, Door, _>(broker, |_, _, door| door.open = open).unwrap();
    if !open {
        net.cut(broker, node);
    }
}

#[test]
fn a_broker_that_is_gone_for_hours_is_asked_for_seldom_and_found_again() {
    let image = image(120_000);
    let mut net = Network::new(4, Link { rate: 200_000, ..Link::lossy(0.01) });
    let envelope = manifest(&image, 1, &reference(&image), Severity::High);
    let broker = add_door(&mut net, &envelope, &image);
    let node = add_device(&mut net, "d", Peers { broker: Some(broker), ..Peers::default() });
    until_stored(&mut net, node, 50_000);
    shut(&mut net, broker, node, false);
    net.run_for(HOUR.times(5)).unwrap();
    let asked = device(&mut net, node, |_, d| d.asked[Line::Broker as usize]);
    assert!((250..900).contains(&asked), "{asked} times in five hours, at least every 64 seconds");
    shut(&mut net, broker, node, true);
    assert_updated(&mut net, node, &image, Model::A);
    let received = net.traffic(node).received;
    assert!(received < 120_000 + 6 * u64::from(CHUNK), "{received}");
}

#[test]
fn a_release_heard_of_while_the_broker_is_away_is_the_one_that_is_fetched() {
    let (old, new) = (image(120_000), image(64_000));
    let mut net = Network::new(4, Link { rate: 200_000, ..Link::lossy(0.01) });
    let broker = add_door(&mut net, &manifest(&old, 1, &reference(&old), Severity::High), &old);
    let gateway = add_gateway(&mut net, &new);
    let node = add_device(&mut net, "d", Peers { broker: Some(broker), gateway: Some(gateway), server: None });
    until_stored(&mut net, node, 50_000);
    shut(&mut net, broker, node, false);
    announce(&mut net, gateway, manifest(&new, 2, &reference(&new), Severity::High));
    assert_installed(&mut net, node, &new);
    device(&mut net, node, |_, d| assert!(d.reports.iter().all(|r| r.reason.is_none())));
}

#[test]
fn what_one_link_began_another_goes_on_with() {
    let image = image(120_000);
    let mut net = Network::new(4, Link { rate: 200_000, ..Link::lossy(0.0) });
    let envelope = manifest(&image, 1, &reference(&image), Severity::High);
    let broker = add_door(&mut net, &envelope, &image);
    let gateway = add_gateway(&mut net, &image);
    let node = add_device(&mut net, "d", Peers { broker: Some(broker), gateway: Some(gateway), server: None });
    until_stored(&mut net, node, 51_000);
    shut(&mut net, broker, node, false);
    announce(&mut net, gateway, envelope);
    net.run_for(HOUR).unwrap();
    assert_updated(&mut net, node, &image, Model::C);
    device(&mut net, node, |_, d| assert!(d.stored < 120_000 + 2 * u64::from(ERASE)));
}

#[test]
fn a_manifest_that_is_withdrawn_lets_what_was_begun_end() {
    let image = image(60_000);
    let (mut net, node, _, gateway) = fleet(3, Link::hostile(0.01), Model::C, &image, |_| ());
    until_stored(&mut net, node, 20_000);
    let now = net.now();
    net.with::<Gateway, Provider, _>(gateway, |_, gateway, _| assert!(gateway.remove(now, "/lamp/manifest"))).unwrap();
    assert_updated(&mut net, node, &image, Model::C);
    let (mut net, node, broker, _) = fleet(3, Link::hostile(0.01), Model::A, &image, |_| ());
    until_stored(&mut net, node, 20_000);
    publish(&mut net, broker, b"", None);
    assert_updated(&mut net, node, &image, Model::A);
}

#[test]
fn a_gateway_that_forgot_its_observers_has_them_again_within_two_minutes() {
    let (first, second) = (image(20_000), image(30_000));
    let (mut net, node, _, gateway) = fleet(3, Link::lossy(0.02), Model::C, &first, |_| ());
    until_stored(&mut net, node, 10_000);
    let now = net.now();
    net.with::<Gateway, Provider, _>(gateway, |_, gateway, _| {
        *gateway = new_gateway();
        let envelope = manifest(&first, 1, &reference(&first), Severity::Low);
        gateway.put(now, "/lamp/manifest", format::OCTET_STREAM, Bytes::from(envelope)).unwrap();
    })
    .unwrap();
    assert_updated(&mut net, node, &first, Model::C);
    net.run_for(MINUTE.times(2)).unwrap();
    let now = net.now();
    net.with::<Gateway, Provider, _>(gateway, |_, gateway, provider| {
        *gateway = new_gateway();
        provider.image.clone_from(&second);
        let envelope = manifest(&second, 2, &reference(&second), Severity::Low);
        gateway.put(now, "/lamp/manifest", format::OCTET_STREAM, Bytes::from(envelope)).unwrap();
    })
    .unwrap();
    let heard = |net: &mut Network| device(net, node, |a, _| a.update().sequence() == 2);
    assert!(net.run_until(MINUTE.times(2), heard).unwrap());
}

#[test]
fn observing_what_does_not_change_costs_a_few_bytes_a_minute() {
    let image = image(10_000);
    let (mut net, node, ..) = fleet(3, Link::lossy(0.0), Model::C, &image, |_| ());
    assert_updated(&mut net, node, &image, Model::C);
    net.run_for(MINUTE.times(5)).unwrap();
    let before = net.traffic(node);
    net.run_for(HOUR).unwrap();
    let after = net.traffic(node);
    let (messages, bytes) = (after.outputs - before.outputs, after.received - before.received);
    assert!(messages <= 60 && bytes <= 60 * 40, "{messages} messages out, {bytes} bytes in, in an hour");
}

#[test]
fn a_server_that_cannot_be_observed_is_asked_again() {
    let (first, second) = (image(10_000), image(20_000));
    let mut net = Network::new(3, Link::lossy(0.0));
    // Every path has the manifest; the image is elsewhere.
    let plain = add_server(&mut net, Code::CONTENT, &manifest(&first, 1, SERVER, Severity::Low));
    let files = add_server(&mut net, Code::CONTENT, &first);
    let node = add_device(&mut net, "d", Peers { broker: None, gateway: Some(plain), server: Some(files) });
    assert_updated(&mut net, node, &first, Model::C);
    server(&mut net, files, |s| s.body.clone_from(&second));
    server(&mut net, plain, |s| {
        s.body = manifest(&second, 2, SERVER, Severity::Low);
        s.etag = vec![2];
    });
    let heard = |net: &mut Network| device(net, node, |a, _| a.update().sequence() == 2);
    assert!(net.run_until(MINUTE.times(3), heard).unwrap());
    let asked = server(&mut net, plain, |s| s.requests);
    net.run_for(HOUR).unwrap();
    assert!(server(&mut net, plain, |s| s.requests) - asked < 100);
}

#[test]
fn a_server_without_the_image_is_asked_for_it_seldom() {
    let image = image(30_003);
    for (code, body) in [
        (Code::NOT_FOUND, &[][..]),
        (Code::SERVICE_UNAVAILABLE, &[]),
        (Code::CHANGED, &[]),
        (Code::CONTENT, &[]),
        (Code::CONTENT, &image[..8 * 1024]),
        (Code::CONTENT, &image[..17_000]),
        (Code::CONTENT, &image[..17_002]),
    ] {
        let (mut net, node, ..) = fleet(3, Link::lossy(0.0), Model::B, &image, |_| ());
        let files = device(&mut net, node, |_, d| d.peers.server.unwrap());
        server(&mut net, files, |s| {
            s.code = code;
            s.body = body.to_vec();
        });
        net.run_for(HOUR).unwrap();
        let requests = server(&mut net, files, |s| s.requests);
        assert!((50..250).contains(&requests), "{code:?} {}: {requests} requests in an hour", body.len());
        server(&mut net, files, |s| {
            s.code = Code::CONTENT;
            s.body.clone_from(&image);
            s.etag = vec![2];
        });
        assert_updated(&mut net, node, &image, Model::B);
    }
}

#[test]
fn a_server_that_is_gone_for_days_is_asked_less_and_less_often() {
    let image = image(30_003);
    let (mut net, node, ..) = fleet(3, Link::lossy(0.0), Model::B, &image, |_| ());
    let files = device(&mut net, node, |_, d| d.peers.server.unwrap());
    server(&mut net, files, |s| s.code = Code::NOT_FOUND);
    net.run_for(DAY).unwrap();
    let first = server(&mut net, files, |s| s.requests);
    assert!((200..1000).contains(&first), "{first} requests in a day");
    net.run_for(DAY.times(6)).unwrap();
    let more = server(&mut net, files, |s| s.requests) - first;
    assert!((5..200).contains(&more), "{more} requests in the six days after");
    device(&mut net, node, |agent, d| {
        assert!(agent.update().attempts() > 8);
        assert_eq!(d.reports.last().and_then(|r| r.reason), Some(Refusal::Unreachable));
    });
    server(&mut net, files, |s| s.code = Code::CONTENT);
    assert_installed(&mut net, node, &image);
    device(&mut net, node, |agent, _| assert_eq!(agent.update().attempts(), 0));
}

#[test]
fn another_image_in_its_place_is_refused_and_its_own_manifest_accepted() {
    let (old, new) = (image(60_000), image(60_008));
    let (mut net, node, broker, _) = fleet(3, Link::lossy(0.0), Model::B, &old, |_| ());
    until_stored(&mut net, node, 20_000);
    let files = device(&mut net, node, |_, d| d.peers.server.unwrap());
    server(&mut net, files, |s| {
        s.body.clone_from(&new);
        s.etag = vec![2];
    });
    net.run_for(HOUR).unwrap();
    device(&mut net, node, |_, d| {
        assert_eq!(d.reports.last().and_then(|r| r.reason), Some(Refusal::ImageDigest));
        assert!(d.stored < 60_000 * 8, "{} bytes stored in an hour", d.stored);
    });
    publish(&mut net, broker, &manifest(&new, 2, SERVER, Severity::Medium), None);
    assert_installed(&mut net, node, &new);
}

#[test]
fn an_image_that_no_slot_holds_is_refused_before_a_byte_of_it_came() {
    for model in MODELS {
        let image = image(SLOT as usize + 1);
        let (mut net, node, ..) = fleet(3, Link::lossy(0.0), model, &image, |_| ());
        net.run_for(HOUR).unwrap();
        device(&mut net, node, |_, d| {
            assert_eq!(d.reports.last().and_then(|r| r.reason), Some(Refusal::Size));
            assert_eq!(d.stored, 0);
        });
        assert!(net.traffic(node).received < 40_000);
    }
}

#[test]
fn a_download_is_put_off_and_taken_up_again() {
    for model in MODELS {
        let image = image(60_000);
        let (mut net, node, ..) =
            fleet(5, Link::hostile(0.01), model, &image, |d| d.flash_takes = Duration::from_millis(30));
        for (stored, veto) in [(9_000, true), (30_000, false)] {
            until_stored(&mut net, node, stored);
            let now = net.now();
            device(&mut net, node, |agent, _| {
                if veto { agent.veto(now).unwrap() } else { agent.defer(now, now.after(HOUR)).unwrap() }
            });
            net.run_for(MINUTE).unwrap();
            let before = net.traffic(node).received;
            net.run_for(MINUTE.times(20)).unwrap();
            assert!(net.traffic(node).received - before < 3_000, "nothing is fetched meanwhile");
            assert_eq!(last_state(&mut net, node), Some(State::Deferred));
            if veto {
                let now = net.now();
                device(&mut net, node, |agent, _| agent.resume(now).unwrap());
            }
        }
        assert_installed(&mut net, node, &image);
        device(&mut net, node, |_, d| assert!(d.stored < 60_000 + 4 * u64::from(ERASE), "{model:?} {}", d.stored));
    }
}

#[test]
fn a_link_that_opens_when_it_is_not_needed_any_more_is_closed_again() {
    let image = image(30_000);
    let (mut net, node, ..) = fleet(5, Link::lossy(0.0), Model::B, &image, |d| d.open_takes = Duration::from_secs(30));
    net.run_until(MINUTE, |net| device(net, node, |_, d| d.asked[Line::Server as usize] == 1)).unwrap();
    net.run_for(Duration::from_secs(10)).unwrap();
    let now = net.now();
    device(&mut net, node, |agent, _| agent.veto(now).unwrap());
    net.run_for(MINUTE).unwrap();
    let now = net.now();
    device(&mut net, node, |agent, _| agent.resume(now).unwrap());
    assert_installed(&mut net, node, &image);
    device(&mut net, node, |_, d| assert_eq!((d.asked, d.closed), ([2, 0, 2], [0, 0, 2])));
}

#[test]
fn signed_reports_cannot_be_forged_or_sent_again() {
    let image = image(20_000);
    let signer: &'static SecretKey = Box::leak(Box::new(SecretKey::from_seed(&[9; 32]).unwrap()));
    let (mut net, node, _, gateway) = fleet(5, Link::lossy(0.2), Model::C, &image, |d| d.signer = Some(signer));
    assert_updated(&mut net, node, &image, Model::C);
    net.run_for(MINUTE.times(5)).unwrap();
    let (told, boots) = device(&mut net, node, |_, d| (d.reports.clone(), d.boots));
    assert_eq!(boots, 2, "the nonce goes on rising over a reboot");
    let came = net.with::<Gateway, Provider, _>(gateway, |_, _, p| p.reports.clone()).unwrap();
    let (keys, mut last) = ([signer.key()], 0);
    let open = |signed: &[u8], last| reporter::open(signed, &keys, &Ed25519, last, &mut [0; reporter::MAX]);
    for (_, signed) in &came {
        let opened = open(signed, last).unwrap();
        assert!(told.contains(&opened.report));
        last = opened.nonce;
        assert_eq!(open(signed, last), Err(Refusal::ReportReplay));
    }
    let (_, newest) = came.last().unwrap();
    assert_eq!(open(newest, 0).unwrap().report.state, State::Confirmed);
    // Whoever can write to the gateway, but has not the key.
    let mut out = [0; reporter::MAX];
    let forged = told.first().unwrap().encode("", &mut out).unwrap();
    assert!(open(forged, 0).is_err());
    let other = SecretKey::from_seed(&[8; 32]).unwrap();
    let mut out = [0; reporter::MAX];
    let forged = Reporter::new(&other, u32::MAX).seal(told.first().unwrap(), &mut out).unwrap();
    assert_eq!(open(forged, 0), Err(Refusal::UnknownKey));
}

#[test]
fn the_last_report_arrives_though_the_gateway_was_away() {
    let image = image(20_000);
    let (mut net, node, _, gateway) = fleet(5, Link::lossy(0.0), Model::C, &image, |_| ());
    assert!(net.run_until(DAY, |net| device(net, node, |_, d| d.states.contains(&State::Fetched))).unwrap());
    net.with::<Gateway, Provider, _>(gateway, |_, _, p| p.reports.clear()).unwrap();
    net.link(node, gateway, Link { loss: 1.0, ..Link::lossy(1.0) });
    assert_updated(&mut net, node, &image, Model::C);
    net.run_for(HOUR).unwrap();
    net.link(node, gateway, Link::lossy(0.0));
    net.run_for(MINUTE.times(5)).unwrap();
    net.with::<Gateway, Provider, _>(gateway, |_, _, p| assert!(!p.reports.is_empty())).unwrap();
    device(&mut net, node, |agent, d| {
        assert!(agent.is_settled());
        assert_eq!(d.flash.area(Area::Slot { image: 0, slot: 1 })[..image.len()], image);
    });
}

#[test]
fn nothing_is_lost_where_power_goes_and_the_servers_change_at_once() {
    let (old, new) = (image(100_000), image(70_000));
    for seed in 0..6 {
        let (mut net, node, broker, gateway) =
            fleet(seed, Link::hostile(0.02), if seed & 1 == 0 { Model::A } else { Model::C }, &old, |d| {
                d.flash_takes = Duration::from_millis(20);
            });
        until_stored(&mut net, node, 40_000);
        net.with::<Agent<'static>, Device, _>(node, |cx, agent, device| device.reboot(cx, agent)).unwrap();
        publish(&mut net, broker, &manifest(&new, 2, &reference(&new), Severity::High), Some(&new));
        net.with::<Gateway, Provider, _>(gateway, |_, _, p| p.image.clone_from(&new)).unwrap();
        announce(&mut net, gateway, manifest(&new, 2, &reference(&new), Severity::High));
        net.with::<Agent<'static>, Device, _>(node, |cx, agent, device| device.reboot(cx, agent)).unwrap();
        assert_installed(&mut net, node, &new);
    }
}

#[test]
fn a_broker_that_takes_the_connection_and_says_nothing_is_left() {
    let image = image(20_000);
    let mut net = Network::new(4, Link::lossy(0.01));
    let broker = add_door(&mut net, &manifest(&image, 1, &reference(&image), Severity::High), &image);
    net.with::<Broker, Door, _>(broker, |_, _, door| door.mute = true).unwrap();
    let node = add_device(&mut net, "d", Peers { broker: Some(broker), ..Peers::default() });
    net.run_for(HOUR).unwrap();
    let asked = device(&mut net, node, |_, d| d.asked[Line::Broker as usize]);
    assert!((10..200).contains(&asked), "{asked}");
    net.with::<Broker, Door, _>(broker, |_, _, door| door.mute = false).unwrap();
    assert_updated(&mut net, node, &image, Model::A);
}

#[test]
fn flash_with_small_erase_blocks_is_fed_small_blocks() {
    let image = image(20_001);
    for model in MODELS {
        let (mut net, node, ..) = fleet(5, Link::lossy(0.01), model, &image, |d| d.flash = Flash::of(256));
        net.run_for(MINUTE.times(2)).unwrap();
        assert_eq!(last_state(&mut net, node), Some(State::Confirmed), "{model:?}");
        assert_updated(&mut net, node, &image, model);
    }
}

#[test]
fn chunks_that_flash_cannot_take_whole_are_not_asked_for() {
    let image = image(20_000);
    let mut net = Network::new(4, Link::lossy(0.0));
    let (broker, gateway) = (add_broker(&mut net), add_gateway(&mut net, &image));
    let uri = reference(&image);
    let odd = Release { chunk: Some(1_001), ..release(&image, 1, &uri, Severity::High) }.sign(&key()).unwrap();
    publish(&mut net, broker, &odd, None);
    let node = add_device(&mut net, "d", Peers { broker: Some(broker), ..Peers::default() });
    net.run_for(HOUR).unwrap();
    device(&mut net, node, |_, d| {
        assert_eq!(d.reports.last().and_then(|r| r.reason), Some(Refusal::Vetoed));
        assert_eq!(d.stored, 0);
    });
    announce(&mut net, gateway, odd);
    let both = add_device(&mut net, "e", Peers { gateway: Some(gateway), ..Peers::default() });
    assert_updated(&mut net, both, &image, Model::C);
}

#[test]
fn a_server_that_has_a_name_is_asked_by_it() {
    let image = image(5_000);
    let (mut net, node, ..) = fleet(5, Link::lossy(0.0), Model::B, &image, |_| ());
    assert_updated(&mut net, node, &image, Model::B);
    let files = device(&mut net, node, |_, d| d.peers.server.unwrap());
    assert_eq!(server(&mut net, files, |s| s.asked_as.clone()).as_deref(), Some("server"));
}

#[test]
fn a_day_that_passes_at_once_is_a_pause() {
    for model in MODELS {
        let image = image(60_000);
        let (mut net, node, ..) =
            fleet(6, Link::lossy(0.01), model, &image, |d| d.flash_takes = Duration::from_millis(10));
        for stored in [10_000, 40_000] {
            until_stored(&mut net, node, stored);
            net.jump(DAY);
        }
        net.run_for(HOUR).unwrap();
        assert_updated(&mut net, node, &image, model);
    }
}

#[test]
fn datagrams_that_come_half_a_minute_late_harm_nobody() {
    for model in [Model::B, Model::C] {
        let image = image(20_000);
        let wild = Link { jitter: Duration::from_secs(30), duplicate: 0.3, ..Link::lossy(0.02) };
        let (mut net, node, ..) = fleet(7, wild, model, &image, |_| ());
        assert_updated(&mut net, node, &image, model);
        device(&mut net, node, |_, d| assert_eq!(d.stored, 20_000));
    }
}

#[test]
fn bits_that_flip_never_reach_a_confirmed_image() {
    for seed in 0..6 {
        let image = image(20_000);
        let flips = Link { corrupt: 0.02, ..Link::lossy(0.02) };
        let (mut net, node, ..) = fleet(seed, flips, Model::C, &image, |_| ());
        assert_installed(&mut net, node, &image);
    }
}

#[test]
fn an_image_comes_side_by_side_from_a_plain_server_and_from_the_gateway() {
    // One block after the other, 128 KiB would take 6.4 seconds for round trips alone.
    let image = image(128 * 1024);
    for model in [Model::B, Model::C] {
        let far = Link { delay: Duration::from_millis(25), ..Link::default() };
        let (mut net, node, ..) = fleet(1, far, model, &image, |_| ());
        until_stored(&mut net, node, 1);
        let began = net.now();
        until_stored(&mut net, node, image.len() as u64);
        let took = net.now().since(began);
        assert!(took < Duration::from_millis(900), "{took:?}");
        assert_updated(&mut net, node, &image, model);
        device(&mut net, node, |_, d| assert_eq!(d.stored, image.len() as u64, "each block once"));
    }
}
