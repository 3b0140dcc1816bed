//! Servers: a model of one that sends and receives by the text of §4.3 and §4.4, and the broker.

use super::NOW;
use std::{collections::BTreeSet, collections::VecDeque, fmt::Debug};
use waft::{
    Input, Output, Peer,
    mqtt::broker::{Broker, BrokerConfig},
};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The model: how many messages it has in flight; whether it takes the lowest identifier that is free, which is used
    /// again at once, or the next.
    Model {
        window: usize,
        lowest_id: bool,
    },
    Broker,
}

impl Kind {
    pub fn start(self, messages: &[u8]) -> Box<dyn Server> {
        match self {
            Self::Model { window, lowest_id } => Box::new(Model {
                window,
                lowest_id,
                next_id: 1,
                waiting: messages.iter().enumerate().map(|(n, qos)| (*qos, n as u8)).collect(),
                flights: VecDeque::new(),
                known: BTreeSet::new(),
                got: Vec::new(),
                out: Vec::new(),
                session: false,
                up: false,
            }),
            Self::Broker => Box::new(Real {
                broker: Broker::new(BrokerConfig::default(), 1),
                peers: [None, None],
                next: 0,
                out: Default::default(),
            }),
        }
    }
}

pub trait Server: Debug {
    fn opened(&mut self, who: usize);
    fn lost(&mut self, who: usize);
    fn receive(&mut self, who: usize, packet: &[u8]);
    /// All that it sends to that device now.
    fn send(&mut self, who: usize) -> Vec<u8>;
    /// What arrived here.
    fn got(&self) -> &[(u8, u8)] {
        &[]
    }
    /// Sends the oldest PUBLISH or PUBREL of QoS 2 again. Whether there was one.
    fn repeat(&mut self) -> bool {
        false
    }
    /// Loses the session.
    fn forget(&mut self) {}
    /// Nothing is in flight.
    fn check_idle(&self);
}

/// A message of the model's on its way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    id: u8,
    qos: u8,
    payload: u8,
    /// PUBREC came.
    released: bool,
}

#[derive(Debug)]
struct Model {
    window: usize,
    lowest_id: bool,
    next_id: u8,
    waiting: VecDeque<(u8, u8)>,
    flights: VecDeque<Flight>,
    /// Identifiers of QoS 2 that arrived.
    known: BTreeSet<u8>,
    got: Vec<(u8, u8)>,
    out: Vec<u8>,
    session: bool,
    up: bool,
}

impl Model {
    fn publish(flight: Flight, dup: bool) -> Vec<u8> {
        let Flight { id, qos, payload, released } = flight;
        match released {
            true => vec![0x62, 2, 0, id],
            false => vec![0x30 | (qos << 1) | (u8::from(dup) << 3), 6, 0, 1, b't', 0, id, payload],
        }
    }

    fn fill(&mut self) {
        while self.up && self.flights.len() < self.window {
            let Some((qos, payload)) = self.waiting.pop_front() else { return };
            if qos == 0 {
                self.out.extend([0x30, 4, 0, 1, b't', payload]);
                continue;
            }
            let used = |id: u8| self.flights.iter().any(|flight| flight.id == id);
            let id = if self.lowest_id { (1..).find(|id| !used(*id)).unwrap() } else { self.next_id };
            self.next_id += 1;
            let flight = Flight { id, qos, payload, released: false };
            self.out.extend(Self::publish(flight, false));
            self.flights.push_back(flight);
        }
    }
}

impl Server for Model {
    fn opened(&mut self, _: usize) {
        self.up = true;
    }

    fn lost(&mut self, _: usize) {
        self.up = false;
        self.out.clear();
    }

    fn receive(&mut self, _: usize, packet: &[u8]) {
        let id = packet[3];
        match packet[0] {
            0x10 => {
                self.out.extend([0x20, 2, self.session.into(), 0]);
                self.session = true;
                for flight in &self.flights {
                    self.out.extend(Self::publish(*flight, true));
                }
            }
            0x32 | 0x3A => {
                self.got.push((1, packet[7]));
                self.out.extend([0x40, 2, 0, packet[6]]);
            }
            0x34 | 0x3C => {
                let id = packet[6];
                if self.known.insert(id) {
                    assert!(packet[0] == 0x34 || self.session);
                    self.got.push((2, packet[7]));
                } else {
                    assert_eq!(packet[0], 0x3C, "an identifier in use was used again");
                }
                self.out.extend([0x50, 2, 0, id]);
            }
            0x30 => self.got.push((0, packet[5])),
            0x62 => {
                self.known.remove(&id);
                self.out.extend([0x70, 2, 0, id]);
            }
            0x40 => self.flights.retain(|flight| flight.id != id || flight.qos != 1),
            0x50 => {
                if let Some(flight) = self.flights.iter_mut().find(|flight| flight.id == id) {
                    assert_eq!(flight.qos, 2, "PUBREC for QoS 1");
                    flight.released = true;
                }
                self.out.extend([0x62, 2, 0, id]);
            }
            0x70 => self.flights.retain(|flight| flight.id != id || !flight.released),
            other => panic!("{other:02x}"),
        }
        self.fill();
    }

    fn send(&mut self, _: usize) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn got(&self) -> &[(u8, u8)] {
        &self.got
    }

    fn repeat(&mut self) -> bool {
        let Some(flight) = self.flights.iter().find(|flight| flight.qos == 2) else { return false };
        self.out.extend(Self::publish(*flight, true));
        true
    }

    fn forget(&mut self) {
        self.session = false;
        self.known.clear();
        // Messages survive, as retained ones would; the flows do not.
        for flight in self.flights.drain(..).rev() {
            self.waiting.push_front((flight.qos, flight.payload));
        }
        self.next_id = 1;
    }

    fn check_idle(&self) {
        assert!(self.flights.is_empty() && self.waiting.is_empty() && self.known.is_empty(), "{self:?}");
    }
}

#[derive(Debug)]
struct Real {
    broker: Broker,
    peers: [Option<Peer>; 2],
    next: u32,
    out: [Vec<u8>; 2],
}

impl Real {
    fn drain(&mut self) {
        let mut out = [0; 256];
        loop {
            match self.broker.poll_output(NOW, &mut out) {
                Output::Transmit { peer, bytes } => {
                    let who = self.peers.iter().position(|known| *known == Some(peer)).expect("a peer");
                    self.out[who].extend(bytes);
                }
                Output::Event(_) => {}
                Output::Timeout(_) => return,
                other => panic!("{other:?}"),
            }
        }
    }
}

impl Server for Real {
    fn opened(&mut self, who: usize) {
        // The same number for the same device: what is the same is to look the same.
        self.next = who as u32;
        let peer = Peer(self.next);
        self.broker.accept(NOW, peer).unwrap();
        self.peers[who] = Some(peer);
    }

    fn lost(&mut self, who: usize) {
        let peer = self.peers[who].take().expect("connected");
        self.broker.connection_lost(NOW, peer);
        self.out[who].clear();
        self.drain();
    }

    fn receive(&mut self, who: usize, mut bytes: &[u8]) {
        let peer = self.peers[who].expect("connected");
        while !bytes.is_empty() {
            let handled = self.broker.handle_input(NOW, Input { peer, bytes }).expect("no breach");
            bytes = &bytes[handled.consumed..];
            self.drain();
        }
    }

    fn send(&mut self, who: usize) -> Vec<u8> {
        std::mem::take(&mut self.out[who])
    }

    fn check_idle(&self) {
        let stats = self.broker.stats();
        assert_eq!(stats.queued, 0, "{stats:?}");
    }
}
