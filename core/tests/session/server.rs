//! Servers: a model of one that sends and receives by the text of §4.3 and §4.4, and the broker.

use super::NOW;
use std::{
    collections::{BTreeSet, VecDeque},
    fmt::{self, Debug},
};
use waft::{
    Input, Output, Peer,
    mqtt::broker::{Broker, BrokerConfig, Event},
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
    /// With a file that outlives it.
    KeptBroker,
}

impl Kind {
    pub fn is_broker(self) -> bool {
        matches!(self, Self::Broker | Self::KeptBroker)
    }

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
            Self::Broker => Box::new(Real::new(false)),
            Self::KeptBroker => Box::new(Real::new(true)),
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
    /// Makes durable what is to be. Whether there was anything.
    fn write(&mut self) -> bool {
        false
    }
    /// Goes on with what was durable, without any connection.
    fn lose_power(&mut self) {}
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

struct Real {
    broker: Broker,
    peers: [Option<Peer>; 2],
    /// Bytes that were not taken in yet.
    rest: [Vec<u8>; 2],
    out: [Vec<u8>; 2],
    /// What outlives its power, if anything does.
    file: Option<Vec<u8>>,
    /// To be appended to the file.
    record: Option<Vec<u8>>,
}

impl fmt::Debug for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { broker, peers, rest, out, file, record } = self;
        write!(f, "{broker:?}{peers:?}{rest:?}{out:?}{record:?}")?;
        // Files are the same that lead to the same.
        file.as_ref().map_or(Ok(()), |file| write!(f, "{:?}", restored(file)))
    }
}

fn restored(file: &[u8]) -> Broker {
    let mut broker = Broker::new(BrokerConfig { persistent: true, ..BrokerConfig::default() }, 1);
    broker.restore(NOW, file).expect("a file of the broker's");
    broker
}

impl Real {
    fn new(persistent: bool) -> Self {
        let mut real = Self {
            broker: Broker::new(BrokerConfig::default(), 1),
            peers: [None, None],
            rest: Default::default(),
            out: Default::default(),
            file: None,
            record: None,
        };
        if persistent {
            real.file = Some(Vec::new());
            real.lose_power();
        }
        real
    }

    fn take_in(&mut self) {
        for who in 0..2 {
            let Some(peer) = self.peers[who] else { continue };
            let bytes = std::mem::take(&mut self.rest[who]);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let consumed = self.broker.handle_input(NOW, Input { peer, bytes: rest }).expect("no breach").consumed;
                rest = &rest[consumed..];
                self.drain();
                if consumed == 0 {
                    break;
                }
            }
            self.rest[who] = rest.to_vec();
        }
    }

    fn drain(&mut self) {
        let mut out = [0; 256];
        loop {
            match self.broker.poll_output(NOW, &mut out) {
                Output::Transmit { peer, bytes } => {
                    let who = self.peers.iter().position(|known| *known == Some(peer)).expect("a peer");
                    self.out[who].extend(bytes);
                }
                Output::Event(Event::Record { bytes }) => {
                    assert!(self.record.is_none(), "one at a time");
                    self.record = Some(bytes.to_vec());
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
        let peer = Peer(u32::try_from(who).unwrap());
        self.broker.accept(NOW, peer).unwrap();
        self.peers[who] = Some(peer);
    }

    fn lost(&mut self, who: usize) {
        let Some(peer) = self.peers[who].take() else { return };
        self.broker.connection_lost(NOW, peer);
        self.rest[who].clear();
        self.out[who].clear();
        self.drain();
    }

    fn receive(&mut self, who: usize, bytes: &[u8]) {
        self.rest[who].extend(bytes);
        self.take_in();
    }

    fn send(&mut self, who: usize) -> Vec<u8> {
        std::mem::take(&mut self.out[who])
    }

    fn write(&mut self) -> bool {
        let (Some(file), Some(record)) = (&mut self.file, self.record.take()) else { return false };
        file.extend(record);
        self.broker.recorded(NOW).unwrap();
        self.drain();
        self.take_in();
        true
    }

    fn lose_power(&mut self) {
        let Some(file) = &mut self.file else { return };
        self.broker = restored(file);
        *file = self.broker.compact().unwrap().concat();
        self.broker.recorded(NOW).unwrap();
        (self.rest, self.out, self.record) = Default::default();
        self.peers = [None, None];
        self.drain();
    }

    fn check_idle(&self) {
        let stats = self.broker.stats();
        assert_eq!(stats.queued, 0, "{stats:?}");
    }
}
