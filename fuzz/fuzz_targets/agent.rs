//! The agent under any interleaving of stream bytes, datagrams, flash answers, time, lost links and small output
//! buffers. It asks for one flash request at a time, inside its flash; its deadlines lie in the future; it never writes
//! what it has not erased.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waft::{
    Duration, Input, Instant, Output, Peer, Storage,
    agent::{Address, Agent, Config, Event, Link, Resources},
    coap,
    ota::{
        self,
        event::{Area, Event as Update},
        manifest::Key,
        policy::{self, Policy},
    },
};

const ERASE: u32 = 256;
const SLOT: u32 = 1024;
const UNIT: u32 = 4;

/// Journal, both slots, the key tables.
struct Flash([Vec<u8>; 4]);

impl Flash {
    fn area(&mut self, area: Area, offset: u32, len: u32) -> &mut [u8] {
        let index = match area {
            Area::Journal => 0,
            Area::Slot { slot: n, .. } => 1 + usize::from(n),
            Area::Keys => 3,
        };
        &mut self.0[index][offset as usize..][..len as usize]
    }
}

/// The request that waits for its answer.
enum Asked {
    Nothing,
    Done,
    Load(Vec<u8>),
}

struct World {
    flash: Flash,
    asked: Asked,
    links: [Option<Peer>; 3],
    opening: Vec<Link>,
}

impl World {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Open { link, .. } => self.opening.push(link),
            Event::Close { link, .. } => self.links[link as usize] = None,
            Event::Refused(_) => {}
            Event::Update(Update::State(_) | Update::Report(_) | Update::Fetch { .. }) => {}
            Event::Update(request) => {
                assert!(matches!(self.asked, Asked::Nothing), "two requests at a time");
                self.asked = Asked::Done;
                match request {
                    Update::Load { area, offset, len } => {
                        self.asked = Asked::Load(self.flash.area(area, offset, len).to_vec());
                    }
                    Update::Erase { area, offset, len } => {
                        assert!(offset % ERASE == 0 && len == ERASE);
                        self.flash.area(area, offset, len).fill(0xFF);
                    }
                    Update::Store { area, offset, bytes } => {
                        let place = self.flash.area(area, offset, bytes.len() as u32);
                        assert!(offset % UNIT == 0 && place.iter().all(|b| *b == 0xFF), "written twice");
                        place.copy_from_slice(bytes);
                    }
                    Update::Record { offset, bytes } => {
                        let place = self.flash.area(Area::Journal, offset, bytes.len() as u32);
                        assert!(place.iter().all(|b| *b == 0xFF), "written twice");
                        place.copy_from_slice(bytes);
                    }
                    _ => {}
                }
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut data = data.iter().copied();
    let keys = [Key::new([7; 32])];
    let address = |host| Some(Address { host, port: 1 });
    let config = Config {
        root: "w",
        class: "c",
        device: "d",
        version: "1",
        broker: address("b"),
        username: None,
        password: None,
        keep_alive: 10,
        gateway: address("g"),
        policy: Policy::default(),
        costs: policy::Link::default(),
        pull: 2,
        szx: 2,
        stall: Duration::from_secs(2),
        retry: Duration::from_secs(1),
        seed: 1,
        update: ota::update::Config::new([1; 16], [2; 16], &keys, 0, [SLOT, ERASE, UNIT]),
    };
    let resources = Resources {
        mqtt_arena: Storage::owned(160),
        mqtt_in_flight: Storage::owned(4),
        coap: coap::Resources::owned(160, 2, 2, 2, 0),
        manifest: Storage::owned(512),
        inbox: Storage::owned(512),
    };
    let mut agent = Agent::new(config, resources).expect("in range");
    let erased = |len: u32| vec![0xFF; len as usize];
    let mut world = World {
        flash: Flash([erased(2 * ERASE), erased(SLOT), erased(SLOT), erased(2 * ERASE)]),
        asked: Asked::Nothing,
        links: [None; 3],
        opening: Vec::new(),
    };
    let mut now = Instant::ZERO;
    let mut rx: Vec<u8> = Vec::new();
    let mut peers = 0;
    let _ = agent.start(now);

    while let Some(op) = data.next() {
        let mut byte = || data.next().unwrap_or(0);
        match op % 12 {
            0 => {
                let n = byte();
                rx.extend((0..n).map(|_| byte()));
            }
            // Packets that fit, so that the fuzzer need not find them.
            1 => rx.extend([0x20, 2, byte() & 1, 0]),
            2 => {
                let n = byte() % 100;
                rx.extend([0x32, 16 + n, 0, 12]);
                rx.extend(b"w/c/manifest");
                rx.extend([0, byte()]);
                rx.extend((0..n).map(|_| byte()));
            }
            3 | 4 => {
                let link = if op % 12 == 3 { Link::Gateway } else { Link::Server };
                if let Some(peer) = world.links[link as usize] {
                    let n = byte();
                    let datagram: Vec<u8> = (0..n).map(|_| byte()).collect();
                    let handled = agent.handle_input(now, Input { peer, bytes: &datagram }).expect("a datagram");
                    assert_eq!(handled.consumed, datagram.len());
                    if let Some(event) = handled.event {
                        world.take(event);
                    }
                }
            }
            5 => now = now.after(Duration::from_millis(u64::from(byte()) * 100)),
            6 => {
                let link = Link::ALL[usize::from(byte() % 3)];
                if let Some(at) = world.opening.iter().position(|l| *l == link) {
                    world.opening.swap_remove(at);
                    peers += 1;
                    if agent.opened(now, link, Peer(peers)).is_ok() {
                        world.links[link as usize] = Some(Peer(peers));
                        if link == Link::Broker {
                            rx.clear();
                        }
                    }
                }
            }
            7 => {
                let link = Link::ALL[usize::from(byte() % 3)];
                world.links[link as usize] = None;
                world.opening.retain(|l| *l != link);
                agent.closed(now, link);
            }
            8 => match core::mem::replace(&mut world.asked, Asked::Nothing) {
                Asked::Nothing => assert!(agent.done(now).is_err()),
                Asked::Done => agent.done(now).expect("asked for"),
                Asked::Load(bytes) => agent.loaded(now, &bytes).expect("asked for"),
            },
            9 => {
                // The device's application.
                let _ = match byte() % 6 {
                    0 => agent.confirm(now),
                    1 => agent.reject(now),
                    2 => agent.defer(now, now.after(Duration::from_secs(u64::from(byte())))),
                    3 => agent.veto(now),
                    4 => agent.resume(now),
                    _ => agent.cancel(now),
                };
            }
            _ => {}
        }
        agent.handle_timeout(now);
        if let Some(peer) = world.links[Link::Broker as usize] {
            for _ in 0..8 {
                match agent.handle_input(now, Input { peer, bytes: &rx }) {
                    Ok(handled) => {
                        assert!(handled.consumed <= rx.len());
                        let idle = handled.consumed == 0 && handled.event.is_none();
                        if let Some(event) = handled.event {
                            world.take(event);
                        }
                        rx.drain(..handled.consumed);
                        if idle {
                            break;
                        }
                    }
                    Err(_) => {
                        world.links[Link::Broker as usize] = None;
                        break;
                    }
                }
            }
        }
        let mut out = vec![0; usize::from(op)];
        for round in 0.. {
            assert!(round < 1000, "an output that never ends");
            match agent.poll_output(now, &mut out) {
                Output::Transmit { bytes, .. } => assert!(!bytes.is_empty()),
                Output::Event(event) => world.take(event),
                Output::BufferTooSmall { needed } => {
                    assert!(needed > out.len());
                    out = vec![0; needed];
                }
                Output::Timeout(at) => {
                    assert!(at.is_none_or(|at| at > now), "a deadline in the past");
                    break;
                }
            }
        }
    }
});
