//! What the tests of whole updates share.
#![allow(dead_code, reason = "each test takes what it needs")]

use bytes::Bytes;
use waft::{
    Duration,
    agent::Agent,
    coap::{self, Code, Endpoint, Event, Opt, Reply, option::format},
    gateway::{self, Gateway},
    mqtt::broker::{self, Broker},
    ota::{
        event::{Area, State},
        policy::Model,
    },
};
use waft_sim::{
    App, Context, Network, NodeId,
    fleet::{Device, Listener, Peers, Provider, key},
};

pub const DAY: Duration = Duration::from_secs(86_400);
pub const HOUR: Duration = Duration::from_secs(3_600);
pub const MINUTE: Duration = Duration::from_secs(60);

pub fn add_broker(net: &mut Network) -> NodeId {
    net.add(Broker::new(broker::BrokerConfig::default(), 1), Listener)
}

pub fn new_gateway() -> Gateway {
    let mut gateway = Gateway::new(gateway::Config::default(), 2);
    gateway.mount("/lamp/image/", "http://provider/image/").unwrap();
    gateway
}

pub fn add_gateway(net: &mut Network, image: &[u8]) -> NodeId {
    net.add(new_gateway(), Provider { image: image.to_vec(), fetched: 0, reports: Vec::new() })
}

/// Lets the gateway serve a manifest.
pub fn announce(net: &mut Network, gateway: NodeId, envelope: Vec<u8>) {
    let now = net.now();
    net.with::<Gateway, Provider, _>(gateway, |_, gateway, _| {
        gateway.put(now, "/lamp/manifest", format::OCTET_STREAM, Bytes::from(envelope)).unwrap();
    })
    .unwrap();
}

pub fn add_device(net: &mut Network, name: &'static str, peers: Peers) -> NodeId {
    add_special(net, name, peers, |_| ())
}

/// A device that is not like the others.
pub fn add_special(net: &mut Network, name: &'static str, peers: Peers, change: impl FnOnce(&mut Device)) -> NodeId {
    let mut device = Device::new(name, key().key(), peers);
    change(&mut device);
    let agent = device.agent(0);
    net.add(agent, device)
}

pub fn device<R>(net: &mut Network, node: NodeId, f: impl FnOnce(&mut Agent<'static>, &mut Device) -> R) -> R {
    net.with::<Agent<'static>, Device, _>(node, |_, agent, device| f(agent, device)).unwrap()
}

pub fn last_state(net: &mut Network, node: NodeId) -> Option<State> {
    device(net, node, |_, device| device.states.last().copied())
}

/// Runs until `bytes` of an image have been stored.
pub fn until_stored(net: &mut Network, node: NodeId, bytes: u64) {
    assert!(net.run_until(DAY, |net| device(net, node, |_, d| d.stored >= bytes)).unwrap());
}

/// Runs until the device has confirmed `image` in slot 1.
pub fn assert_installed(net: &mut Network, node: NodeId, image: &[u8]) {
    let ended = net.run_until(DAY, |net| last_state(net, node) == Some(State::Confirmed)).unwrap();
    device(net, node, |_, device| {
        assert!(ended, "{}: {:?}", device.name, device.states);
        assert!(&device.flash.area(Area::Slot { image: 0, slot: 1 })[..image.len()] == image, "{}", device.name);
    });
}

/// The same, by this model and without any trouble reported.
pub fn assert_updated(net: &mut Network, node: NodeId, image: &[u8], model: Model) {
    assert_installed(net, node, image);
    device(net, node, |_, device| {
        assert_eq!(device.model, Some(model), "{}", device.name);
        let refused: Vec<_> = device.reports.iter().filter_map(|r| r.reason).collect();
        assert!(refused.is_empty(), "{refused:?}");
        let order = [State::Verified, State::Fetching, State::Fetched, State::Validated, State::Ready, State::Trial];
        let mut states = device.states.iter();
        assert!(order.iter().all(|s| states.any(|seen| seen == s)), "{:?}", device.states);
    });
}

/// A CoAP server that answers GET as it is told: code, ETag and body, each of which may change.
#[derive(Debug)]
pub struct Server {
    pub code: Code,
    pub etag: Vec<u8>,
    pub body: Vec<u8>,
    pub requests: u32,
    /// The name it was last asked by.
    pub asked_as: Option<String>,
}

pub fn add_server(net: &mut Network, code: Code, body: &[u8]) -> NodeId {
    let endpoint = Endpoint::new(coap::Config::default(), 3, coap::Resources::owned(16384, 1, 8, 64, 0));
    net.add(endpoint, Server { code, etag: vec![1], body: body.to_vec(), requests: 0, asked_as: None })
}

pub fn server<R>(net: &mut Network, node: NodeId, f: impl FnOnce(&mut Server) -> R) -> R {
    net.with::<Endpoint<'static>, Server, _>(node, |_, _, server| f(server)).unwrap()
}

impl App<Endpoint<'static>> for Server {
    fn event(&mut self, cx: &mut Context<'_>, endpoint: &mut Endpoint<'static>, event: Event<'_>) {
        let Event::Request { id, code, options, .. } = event else { return };
        if code != Code::GET {
            return endpoint.respond(cx.now, &id, &Reply::new(Code::CHANGED, &[])).unwrap();
        }
        self.requests += 1;
        self.asked_as = options.get(coap::option::URI_HOST).map(|host| String::from_utf8_lossy(host).into());
        let options = [Opt { number: coap::option::ETAG, value: &self.etag }];
        let reply = match self.code {
            Code::CONTENT => Reply { options: &options, ..Reply::new(self.code, &self.body) },
            code => Reply::new(code, &[]),
        };
        endpoint.respond(cx.now, &id, &reply).unwrap();
    }
}
