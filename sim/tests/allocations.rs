//! An agent over memory that was lent to it takes no heap: whole updates by models A and C, every call counted.

use assert_no_alloc::{AllocDisabler, assert_no_alloc, reset_violation_count, violation_count};
use bytes::Bytes;
use waft::{
    Duration, Handled, Input, Instant, Machine, Output, Peer,
    agent::{Agent, Event},
    coap::option::format,
    gateway::{self, Gateway},
    mqtt::broker::{Broker, BrokerConfig},
    ota::{
        author::Release,
        digest::Sha256,
        event::State,
        manifest::Image,
        policy::Severity,
        update::{self, Area, Config, Update},
    },
};
use waft_sim::{
    App, Context, Link, Network,
    fleet::{CLASS, Device, Listener, Peers, Provider, VENDOR, image, key, manifest, publish, reference, release},
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

/// The byte at that place of any image.
fn byte(at: u64) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

/// Takes an update of so many bytes to its reboot, in memory that is lent; gives how many bytes of that there are.
fn update(size: u32) -> usize {
    const BLOCK: usize = 4096;
    let block = |at: u32| -> [u8; BLOCK] { std::array::from_fn(|n| byte(u64::from(at) + n as u64)) };
    let mut hash = Sha256::new();
    for at in (0..size).step_by(BLOCK) {
        hash.update(&block(at)[..BLOCK.min((size - at) as usize)]);
    }
    let release = Release { image: Image { digest: hash.finish(), size }, ..release(&[], 1, "image", Severity::Low) };
    let envelope = release.sign(&key()).unwrap();
    let keys = [key().key()];
    let geometry = [size.next_multiple_of(BLOCK as u32), BLOCK as u32, 8];
    let mut config = Config::new(VENDOR, CLASS, &keys, 0, geometry);
    config.load = BLOCK as u32;
    let (mut manifest, mut out, mut journal) = ([0; 512], [0; 128], vec![0xFF; 2 * BLOCK]);
    let memory = size_of::<Update<'_>>() + manifest.len() + out.len();
    let mut update = Update::new(config, &mut manifest[..]);
    let now = Instant::ZERO;
    assert_no_alloc(|| {
        update.start(now).unwrap();
        loop {
            while let Output::Event(event) = update.poll_output(now, &mut out) {
                match event {
                    update::Event::Load { area: Area::Journal, offset, len } => {
                        update.loaded(now, &journal[offset as usize..][..len as usize]).unwrap();
                    }
                    update::Event::Load { offset, len, .. } => {
                        update.loaded(now, &block(offset)[..len as usize]).unwrap();
                    }
                    update::Event::Erase { area, offset, .. } => {
                        if area == Area::Journal {
                            journal[offset as usize..][..BLOCK].fill(0xFF);
                        }
                        update.done(now).unwrap();
                    }
                    update::Event::Record { offset, bytes } => {
                        journal[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                        update.done(now).unwrap();
                    }
                    update::Event::Activate { .. } => return assert_eq!(update.progress(), (size, size)),
                    _ => {}
                }
            }
            match update.wanted() {
                None => update.announce(now, &envelope).unwrap(),
                Some(wanted) => {
                    let bytes = block(wanted.offset);
                    let bytes = &bytes[..BLOCK.min((wanted.size - wanted.offset) as usize)];
                    if update.data(now, wanted.offset, bytes).unwrap().event.is_some() {
                        update.done(now).unwrap();
                    }
                }
            }
        }
    });
    assert_eq!(violation_count(), 0, "{size} bytes of image took heap");
    memory
}

#[test]
fn an_update_takes_as_much_memory_for_64_mib_as_for_4_kib() {
    assert_eq!(update(4 * 1024), update(64 * 1024 * 1024));
}
