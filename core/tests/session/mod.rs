//! Devices that lose connections and power, a server, and the streams between them, one step at a time.
//!
//! A device runs one client by the three rules of `waft::mqtt::client::session`: it writes a record before it sends, its
//! note says how much it has published and what it has got, and only the record outlives its power.

pub mod explore;
pub mod random;
pub mod server;

use server::{Kind, Server};
use std::{collections::VecDeque, fmt};
use waft::{
    Input, Instant, Output, Peer, Storage,
    mqtt::{
        Connect, PacketId, QoS,
        client::{Client, Config, Event, InFlight, session::Journal},
    },
};

const NOW: Instant = Instant::ZERO;

/// QoS and payload of a message.
pub type Message = (u8, u8);

/// Packets on their way over a stream, each as its bytes.
pub type Wire = VecDeque<Vec<u8>>;

/// What is explored.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// The QoS of each message that device 0 publishes; its payload is its number.
    pub publish: &'static [u8],
    /// The QoS of each message that the model of a server has for device 0.
    pub receive: &'static [u8],
    pub manual_ack: bool,
    pub kind: Kind,
    /// How often the connection or the power of a device may fail.
    pub faults: u8,
    /// How often the model of a server may send something again over the same connection.
    pub repeats: u8,
    /// How often the model of a server may lose its session.
    pub forgets: u8,
    /// A rule that the devices break: to show that it is noticed.
    pub broken: Broken,
}

/// Ways to break the rules, with which the exploration has to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    Nothing,
    /// Sends first, writes the record later.
    SendsBeforeItWrites,
    /// Writes no record for what it received.
    ForgetsWhatItReceived,
}

impl Scene {
    pub const BLANK: Self = Self {
        publish: &[],
        receive: &[],
        manual_ack: false,
        kind: Kind::Model { window: 2, lowest_id: false },
        faults: 2,
        repeats: 0,
        forgets: 0,
        broken: Broken::Nothing,
    };

    fn devices(&self) -> usize {
        if self.kind.is_broker() { 2 } else { 1 }
    }
}

/// One thing that happens. The number is the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Connect(usize),
    Publish(usize),
    Write(usize),
    Send(usize),
    ToServer(usize),
    ToClient(usize),
    Acknowledge(usize),
    LoseConnection(usize),
    LosePower(usize),
    Repeat,
    Forget,
    ServerWrites,
    ServerLosesPower,
}

impl Action {
    pub const ALL: [Self; 22] = [
        Self::Connect(0),
        Self::Publish(0),
        Self::Write(0),
        Self::Send(0),
        Self::ToServer(0),
        Self::ToClient(0),
        Self::Acknowledge(0),
        Self::LoseConnection(0),
        Self::LosePower(0),
        Self::Repeat,
        Self::Forget,
        Self::Connect(1),
        Self::Publish(1),
        Self::Write(1),
        Self::Send(1),
        Self::ToServer(1),
        Self::ToClient(1),
        Self::Acknowledge(1),
        Self::LoseConnection(1),
        Self::LosePower(1),
        Self::ServerWrites,
        Self::ServerLosesPower,
    ];
}

/// Two pages that are written in units of four bytes, by a journal.
#[derive(Debug)]
struct Flash {
    pages: [Vec<u8>; 2],
    /// Bytes that are still erased or written before the power fails.
    left: usize,
}

impl Flash {
    /// Writes the session of `client`. Whether the power stayed on.
    fn write(&mut self, client: &Client<'_>, note: &[u8]) -> bool {
        let [first, second] = &self.pages;
        let place = Journal::open([first, second], 4).0.place(client.export_len(note.len())).unwrap();
        let mut record = vec![0; client.export_len(note.len())];
        client.export(place.sequence, note, &mut record).unwrap();
        let page = &mut self.pages[place.page];
        let erased = if place.erase { 0..page.len() } else { 0..0 };
        let bytes =
            erased.map(|at| (at, 0xFF)).chain(record.into_iter().enumerate().map(|(n, b)| (place.offset + n, b)));
        for (at, byte) in bytes {
            let Some(left) = self.left.checked_sub(1) else { return false };
            self.left = left;
            page[at] = byte;
        }
        true
    }

    fn newest(&self) -> Option<Vec<u8>> {
        let [first, second] = &self.pages;
        Journal::open([first, second], 4).1.map(|record| record.as_bytes().to_vec())
    }
}

/// A device.
pub struct Device {
    client: Client<'static>,
    /// What is in flash.
    record: Vec<u8>,
    /// Where it is written byte by byte.
    flash: Option<Flash>,
    /// Messages handed to the client.
    published: u8,
    /// QoS and payload of what arrived and counts.
    pub got: Vec<Message>,
    /// Arrived and not acknowledged.
    held: Vec<(Option<PacketId>, u8, u8)>,
    arriving: (Option<PacketId>, u8),
    up: bool,
    to_server: Wire,
    to_client: Wire,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, record, flash: _, published, got, held, arriving, up, to_server, to_client } = self;
        write!(f, "{client:?}{record:?}{published}{got:?}{held:?}{arriving:?}{up}{to_server:?}{to_client:?}")
    }
}

impl Device {
    fn new(scene: &Scene) -> Self {
        let mut device = Self {
            client: Self::client(scene),
            record: Vec::new(),
            flash: None,
            published: 0,
            got: Vec::new(),
            held: Vec::new(),
            arriving: (None, 0),
            up: false,
            to_server: Wire::new(),
            to_client: Wire::new(),
        };
        device.write();
        device
    }

    fn client(scene: &Scene) -> Client<'static> {
        let config = Config { manual_ack: scene.manual_ack, keep_free: 4, ..Config::default() };
        let many = scene.publish.len();
        Client::new(config, Storage::owned(128 + 24 * many), vec![InFlight::EMPTY; 8 + many])
    }

    fn note(&self) -> Vec<u8> {
        let mut note = vec![self.published];
        note.extend(self.got.iter().flat_map(|(qos, payload)| [*qos, *payload]));
        note
    }

    /// Writes a record if the last one is out of date. Whether it was.
    fn write(&mut self) -> bool {
        let note = self.note();
        let mut record = vec![0; self.client.export_len(note.len())];
        self.client.export(0, &note, &mut record).unwrap();
        if record[16..] == self.record[self.record.len().min(16)..] {
            assert!(self.client.is_exported_in(&self.record));
            return false;
        }
        self.record = record;
        assert!(self.client.is_exported_in(&self.record));
        true
    }

    /// Writes the record byte by byte, too. Whether the power stayed on.
    fn burn(&mut self) -> bool {
        let note = self.note();
        let Some(flash) = &mut self.flash else { return true };
        let whole = flash.write(&self.client, &note);
        if !whole {
            self.record = flash.newest().unwrap_or_default();
        }
        whole
    }

    fn is_written(&self) -> bool {
        let Ok(record) = waft::mqtt::client::session::Record::read(&self.record) else { return false };
        self.client.is_exported_in(&self.record) && record.note == self.note()
    }

    fn reboot(&mut self, scene: &Scene) {
        self.client = Self::client(scene);
        if let Some(flash) = &self.flash {
            self.record = flash.newest().unwrap_or_default();
        }
        let note = if self.record.is_empty() { &[0] } else { self.client.import(&self.record).expect("a record").note };
        self.published = note[0];
        self.got = note[1..].chunks(2).map(|m| (m[0], m[1])).collect();
        self.held.clear();
        self.arriving = (None, 0);
    }

    /// Sends what is due. Whether there was anything.
    fn send(&mut self) -> bool {
        let mut out = [0; 256];
        let mut sent = false;
        loop {
            match self.client.poll_output(NOW, &mut out) {
                Output::Transmit { bytes, .. } => {
                    self.to_server.extend(packets(bytes));
                    sent = true;
                }
                Output::Timeout(_) => return sent,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Takes in the next packet. Whether anything happened; whether the connection is over.
    fn receive(&mut self, scene: &Scene) -> (bool, bool) {
        let Some(packet) = self.to_client.pop_front() else { return (false, false) };
        let mut bytes = &packet[..];
        while !bytes.is_empty() {
            let handled = self.client.handle_input(NOW, Input { peer: Peer(0), bytes }).expect("no breach");
            bytes = &bytes[handled.consumed..];
            match handled.event {
                Some(Event::Publish(publish)) => self.arriving = (publish.id, publish.qos as u8),
                Some(Event::Payload { bytes, last: true }) => {
                    let (id, qos) = self.arriving;
                    if scene.manual_ack && id.is_some() {
                        self.held.push((id, qos, bytes[0]));
                    } else {
                        self.got.push((qos, bytes[0]));
                    }
                }
                Some(Event::Closed { .. }) => return (true, true),
                Some(_) => {}
                None if handled.consumed == 0 => {
                    let moved = bytes.len() < packet.len();
                    self.to_client.push_front(bytes.to_vec());
                    return (moved, false);
                }
                None => {}
            }
        }
        (true, false)
    }
}

/// Cuts a stream into packets.
pub fn packets(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        assert!(bytes[1] < 0x80, "short ones only");
        let (packet, rest) = bytes.split_at(2 + usize::from(bytes[1]));
        packets.push(packet.to_vec());
        bytes = rest;
    }
    packets
}

/// All there is.
#[derive(Debug)]
pub struct World {
    scene: Scene,
    pub devices: Vec<Device>,
    pub server: Box<dyn Server>,
    faults: u8,
    repeats: u8,
    forgets: u8,
    /// How many bytes are written between the first power cut and the second.
    next_cut: Option<usize>,
    /// Power cuts in the middle of a write.
    pub cuts: usize,
}

impl World {
    /// The last device writes its sessions to flash, byte by byte, and its power fails after `cuts.0` bytes, then after
    /// `cuts.1` more.
    pub fn with_flash(scene: Scene, cuts: (usize, Option<usize>)) -> Self {
        let mut world = Self::new(scene);
        let device = world.devices.last_mut().unwrap();
        let mut flash = Flash { pages: [vec![0xFF; 160], vec![0xFF; 160]], left: usize::MAX };
        flash.write(&device.client, &device.note());
        flash.left = cuts.0;
        device.flash = Some(flash);
        world.next_cut = cuts.1;
        world
    }

    pub fn new(scene: Scene) -> Self {
        let devices = (0..scene.devices()).map(|_| Device::new(&scene)).collect();
        let mut world = Self {
            scene,
            devices,
            server: scene.kind.start(scene.receive),
            faults: scene.faults,
            repeats: scene.repeats,
            forgets: scene.forgets,
            next_cut: None,
            cuts: 0,
        };
        if scene.kind.is_broker() {
            world.act(Action::Connect(1));
            world.devices[1].client.subscribe(NOW, &[("t", QoS::ExactlyOnce)]).unwrap();
            let quiet = Action::ALL.map(|action| match action {
                Action::LoseConnection(_) | Action::LosePower(_) | Action::ServerLosesPower => Action::ServerWrites,
                Action::Connect(_) | Action::Publish(_) => Action::Write(1),
                other => other,
            });
            while quiet.iter().any(|action| world.act(*action)) {}
            assert_eq!(world.devices[1].client.in_flight(), 0);
        }
        world
    }

    /// Does it. `false`: it could not happen now, or changed nothing.
    pub fn act(&mut self, action: Action) -> bool {
        let scene = self.scene;
        let who = match action {
            Action::Connect(n) | Action::Publish(n) | Action::Write(n) | Action::Send(n) | Action::ToServer(n) => n,
            Action::ToClient(n) | Action::Acknowledge(n) | Action::LoseConnection(n) | Action::LosePower(n) => n,
            Action::Repeat | Action::Forget | Action::ServerWrites | Action::ServerLosesPower => 0,
        };
        let Some(device) = self.devices.get_mut(who) else { return false };
        match action {
            Action::Connect(_) => {
                if device.up {
                    return false;
                }
                device.up = true;
                let name = ["a", "b"][who];
                let connect = Connect { client_id: name, clean_session: false, keep_alive: 0, ..Connect::default() };
                device.client.connect(NOW, Peer(0), &connect).unwrap();
                device.send();
                self.server.opened(who);
                // CONNECT and CONNACK pass undisturbed; what the server sends behind it may be lost.
                self.act(Action::ToServer(who));
                while !self.act(Action::ToClient(who)) {
                    assert!(self.act(Action::ServerWrites), "no CONNACK");
                }
                true
            }
            Action::Publish(_) => {
                let Some(qos) = scene.publish.get(usize::from(device.published)).filter(|_| who == 0) else {
                    return false;
                };
                let qos = QoS::from_u8(*qos).unwrap();
                let done = device.up && device.client.publish(NOW, "t", &[device.published], qos, false).is_ok();
                device.published += u8::from(done);
                done
            }
            Action::Write(_) => {
                let written = device.write();
                if written && !device.burn() {
                    device.flash.as_mut().unwrap().left = self.next_cut.take().unwrap_or(usize::MAX);
                    self.cuts += 1;
                    self.disconnect(who);
                    self.devices[who].reboot(&scene);
                }
                written
            }
            Action::Send(_) => {
                let written = match scene.broken {
                    Broken::Nothing => device.is_written(),
                    Broken::SendsBeforeItWrites => true,
                    Broken::ForgetsWhatItReceived => {
                        device.client.is_exported_in(&device.record) || device.published == 0
                    }
                };
                written && device.up && device.send()
            }
            Action::ToServer(_) => {
                let Some(packet) = device.to_server.pop_front() else { return false };
                self.server.receive(who, &packet);
                self.server_sends();
                true
            }
            Action::ToClient(_) => {
                let (moved, closed) = device.receive(&scene);
                if closed {
                    self.disconnect(who);
                }
                moved
            }
            Action::Acknowledge(_) => {
                if device.held.is_empty() {
                    return false;
                }
                let (id, qos, payload) = device.held.remove(0);
                device.client.acknowledge(NOW, id.unwrap()).expect("held");
                device.got.push((qos, payload));
                true
            }
            Action::LoseConnection(_) => {
                if self.faults == 0 || !device.up {
                    return false;
                }
                self.faults -= 1;
                self.disconnect(who);
                true
            }
            Action::LosePower(_) => {
                if self.faults == 0 {
                    return false;
                }
                self.faults -= 1;
                self.disconnect(who);
                self.devices[who].reboot(&scene);
                true
            }
            Action::Repeat => {
                let done = self.repeats != 0 && device.up && self.server.repeat();
                self.repeats -= u8::from(done);
                self.server_sends();
                done
            }
            Action::ServerWrites => {
                let written = self.server.write();
                self.server_sends();
                written
            }
            Action::ServerLosesPower => {
                if self.faults == 0 || scene.kind != Kind::KeptBroker {
                    return false;
                }
                self.faults -= 1;
                self.server.lose_power();
                for who in 0..self.devices.len() {
                    self.disconnect(who);
                }
                true
            }
            Action::Forget => {
                if self.forgets == 0 || device.up {
                    return false;
                }
                self.forgets -= 1;
                self.server.forget();
                true
            }
        }
    }

    fn disconnect(&mut self, who: usize) {
        let device = &mut self.devices[who];
        if device.up {
            device.up = false;
            device.client.connection_lost(NOW);
            // Of those of QoS 1 each comes again, and is to be acknowledged then.
            device.held.retain(|(_, qos, _)| *qos == 2);
            device.to_server.clear();
            device.to_client.clear();
            self.server.lost(who);
            self.server_sends();
        }
    }

    fn server_sends(&mut self) {
        for (who, device) in self.devices.iter_mut().enumerate() {
            let bytes = self.server.send(who);
            if device.up {
                device.to_client.extend(packets(&bytes));
            }
        }
    }

    /// QoS 2: nothing twice and all in order; QoS 1: each came first in order.
    pub fn check(&self) {
        for (got, _) in self.streams() {
            for qos in [1, 2] {
                let mut seen: Vec<u8> = Vec::new();
                for (_, payload) in got.iter().filter(|m| m.0 == qos) {
                    if seen.contains(payload) {
                        assert!(qos == 1 || self.scene.forgets != 0, "message {payload} of QoS 2 came twice: {got:?}");
                    } else {
                        seen.push(*payload);
                    }
                }
                assert!(seen.is_sorted(), "QoS {qos} out of order: {got:?}");
            }
        }
    }

    /// With no more faults, all that was to arrive arrives, and nothing stays in flight.
    pub fn settle(&mut self) {
        for _ in 0..60 {
            let mut moved = self.act(Action::ServerWrites);
            for who in 0..self.devices.len() {
                use Action::{Acknowledge, Connect, Publish, Send, ToClient, ToServer, Write};
                for action in
                    [Connect(who), Publish(who), Write(who), Send(who), ToServer(who), ToClient(who), Acknowledge(who)]
                {
                    while self.act(action) {
                        moved = true;
                    }
                }
            }
            if !moved {
                break;
            }
        }
        self.check();
        for device in &self.devices {
            assert_eq!(device.client.in_flight(), 0, "something is left: {device:?}");
            assert!(device.up && device.held.is_empty());
        }
        assert_eq!(usize::from(self.devices[0].published), self.scene.publish.len());
        for (got, sent) in self.streams() {
            for (n, qos) in sent.iter().enumerate() {
                let times = got.iter().filter(|m| **m == (*qos, n as u8)).count();
                match qos {
                    2 if self.scene.forgets == 0 => assert_eq!(times, 1, "message {n} of QoS 2: {got:?}"),
                    0 => assert!(times <= 1),
                    _ => assert!(times >= 1, "message {n} of QoS {qos} is lost: {got:?}"),
                }
            }
        }
        self.server.check_idle();
    }

    /// What arrived somewhere, and what was to.
    fn streams(&self) -> Vec<(&[Message], &'static [u8])> {
        match self.scene.kind {
            Kind::Broker | Kind::KeptBroker => vec![(&self.devices[1].got, self.scene.publish)],
            Kind::Model { .. } => {
                vec![(self.server.got(), self.scene.publish), (&self.devices[0].got, self.scene.receive)]
            }
        }
    }
}
