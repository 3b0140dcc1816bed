//! An agent over memory that was lent to it takes no heap: whole updates by models A and C, every call counted.

use assert_no_alloc::{AllocDisabler, assert_no_alloc, reset_violation_count, violation_count};
use bytes::Bytes;
use waft::{
    Duration, Handled, Input, Instant, Machine, Output, Peer,
    agent::{Agent, Event},
    coap::option::format,
    gateway::{self, Gateway},
    mqtt::broker::{Broker, BrokerConfig},
    ota::{event::State, policy::Severity},
};
use waft_sim::{
    App, Context, Link, Network,
    fleet::{Device, Listener, Peers, Provider, image, key, manifest, publish, reference},
};

#[global_allocator]
static ALLOCATOR: AllocDisabler = AllocDisabler;

/// An agent whose every call is watched.
struct Watched(Agent<'static>);

impl Machine for Watched {
    type Event<'e> = Event<'e>;
    type Error = <Agent<'static> as Machine>::Error;

    fn handle_input<'i>(&mut self, now: Instant, input: Input<'i>) -> Result<Handled<Event<'i>>, Self::Error> {
        assert_no_alloc(|| self.0.handle_input(now, input))
    }
    fn handle_timeout(&mut self, now: Instant) {
        assert_no_alloc(|| self.0.handle_timeout(now));
    }
    fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        assert_no_alloc(|| self.0.poll_output(now, out))
    }
    fn next_timeout(&self) -> Option<Instant> {
        assert_no_alloc(|| self.0.next_timeout())
    }
}

/// A device that hands its agent's calls through.
struct Through(Device);

impl App<Watched> for Through {
    fn start(&mut self, cx: &mut Context<'_>, machine: &mut Watched) {
        self.0.start(cx, &mut machine.0);
    }
    fn event(&mut self, cx: &mut Context<'_>, machine: &mut Watched, event: Event<'_>) {
        self.0.event(cx, &mut machine.0, event);
    }
    fn opened(&mut self, cx: &mut Context<'_>, machine: &mut Watched, peer: Peer) {
        self.0.opened(cx, &mut machine.0, peer);
    }
    fn closed(&mut self, cx: &mut Context<'_>, machine: &mut Watched, peer: Peer) {
        self.0.closed(cx, &mut machine.0, peer);
    }
}

#[test]
fn an_agent_over_lent_memory_takes_no_heap() {
    // That the watch sees what it is for.
    reset_violation_count();
    assert_no_alloc(|| drop(std::hint::black_box(Box::new(7_u64))));
    assert!(violation_count() > 0);
    reset_violation_count();

    for by_mqtt in [true, false] {
        let image = image(60_000);
        let envelope = manifest(&image, 1, &reference(&image), Severity::High);
        let mut net = Network::new(1, Link::lossy(0.05));
        let broker = net.add(Broker::new(BrokerConfig::default(), 1), Listener);
        let mut gateway = Gateway::new(gateway::Config::default(), 2);
        gateway.mount("/lamp/image/", "http://provider/image/").unwrap();
        gateway.put(Instant::ZERO, "/lamp/manifest", format::OCTET_STREAM, Bytes::from(envelope.clone())).unwrap();
        let gateway = net.add(gateway, Provider { image: image.clone(), fetched: 0, reports: Vec::new() });
        publish(&mut net, broker, &envelope, Some(&image));
        let peers = Peers { broker: by_mqtt.then_some(broker), gateway: (!by_mqtt).then_some(gateway), server: None };
        let device = Device::new("frugal", key().key(), peers);
        let agent = device.agent(0);
        let node = net.add(Watched(agent), Through(device));
        let confirmed = net.run_until(Duration::from_secs(3600), |net| {
            net.with::<Watched, Through, _>(node, |_, _, app| app.0.states.last() == Some(&State::Confirmed)).unwrap()
        });
        assert!(confirmed.unwrap());
    }
    assert_eq!(violation_count(), 0);
}
