//! A device: an agent, flash, and what a program around them does.

use crate::{
    App, Context, NodeId,
    fleet::{
        flash::{ERASE, Flash, SLOT, UNIT},
        release::{CLASS, VENDOR},
    },
};
use waft::{
    Duration, Instant, Peer, Storage,
    agent::{Address, Agent, Config, Event, Link, Resources},
    coap,
    ota::{
        self,
        event::{Area, Event as Update, Report, State},
        manifest::Key,
        policy::{self, Model, Policy},
    },
};

/// Where a device finds its peers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peers {
    /// The MQTT broker.
    pub broker: Option<NodeId>,
    /// The CoAP gateway.
    pub gateway: Option<NodeId>,
    /// The CoAP server that manifests name.
    pub server: Option<NodeId>,
}

/// The program around an agent. It answers every request at once, reboots when told to and confirms every trial.
#[derive(Debug)]
pub struct Device {
    /// The device's name.
    pub name: &'static str,
    /// Whom it trusts.
    pub keys: &'static [Key],
    /// Where its peers are.
    pub peers: Peers,
    /// Its flash.
    pub flash: Flash,
    /// The states it went through, over all boots.
    pub states: Vec<State>,
    /// The reports it made, over all boots.
    pub reports: Vec<Report>,
    /// Image bytes that were stored, over all boots.
    pub stored: u64,
    /// The model of the last download.
    pub model: Option<Model>,
    /// How often power came.
    pub boots: u32,
    stream: Option<Peer>,
}

impl Device {
    /// A device that has never been updated.
    #[must_use]
    pub fn new(name: &'static str, key: Key, peers: Peers) -> Self {
        Self {
            name,
            keys: Box::leak(Box::new([key])),
            peers,
            flash: Flash::new(),
            states: Vec::new(),
            reports: Vec::new(),
            stored: 0,
            model: None,
            boots: 0,
            stream: None,
        }
    }

    /// An agent as it is when power comes, with slot `running` booted.
    ///
    /// # Panics
    /// If `name` is no topic level.
    #[must_use]
    pub fn agent(&self, running: u8) -> Agent<'static> {
        let update = ota::update::Config::new(VENDOR, CLASS, self.keys, running, [SLOT, ERASE, UNIT]);
        let address = |node: Option<NodeId>, host| node.map(|_| Address { host, port: 5683 });
        let config = Config {
            root: "waft",
            class: "lamp",
            device: self.name,
            version: "1.0.0",
            broker: address(self.peers.broker, "broker"),
            username: None,
            password: None,
            keep_alive: 60,
            gateway: address(self.peers.gateway, "gateway"),
            policy: Policy::default(),
            costs: policy::Link::default(),
            pull: 4,
            szx: 6,
            stall: Duration::from_secs(5),
            retry: Duration::from_secs(1),
            seed: 7 + u64::from(self.boots),
            update,
        };
        // Memory that is lent, as on a device, and as much as an agent in C has by default, since recorded sessions are played
        // to it; each boot gives a few kilobytes away.
        let coap: &'static mut coap::Memory<512, 4, 8, 1> = Box::leak(Box::new(coap::Memory::EMPTY));
        let resources = Resources {
            mqtt_arena: lend(768),
            mqtt_in_flight: lend(16),
            coap: coap.resources(),
            manifest: lend(1024),
            inbox: lend(1024),
        };
        Agent::new(config, resources).expect("the configuration is in range")
    }

    /// Power comes: the bootloader chooses, a new agent starts.
    ///
    /// # Panics
    /// If the agent does not start.
    pub fn boot(&mut self, now: Instant, machine: &mut Agent<'static>) {
        let (first, second) = self.flash.area(Area::Journal).split_at(ERASE as usize);
        let decision = ota::boot::decide([first, second], 0);
        if let Some(note) = decision.note {
            let page = u32::from(note.page) * ERASE;
            if note.erase.is_some() {
                self.flash.erase(Area::Journal, page, ERASE);
            }
            self.flash.write(Area::Journal, page + note.offset, &note.bytes);
        }
        self.boots += 1;
        *machine = self.agent(decision.slot);
        machine.start(now).expect("an agent that is new can be started");
    }
}

impl App<Agent<'static>> for Device {
    fn start(&mut self, cx: &mut Context<'_>, machine: &mut Agent<'static>) {
        self.boot(cx.now, machine);
    }

    fn event(&mut self, cx: &mut Context<'_>, machine: &mut Agent<'static>, event: Event<'_>) {
        let now = cx.now;
        self.model = machine.model().or(self.model);
        match event {
            Event::Open { link: Link::Broker, .. } => {
                let broker = self.peers.broker.expect("a broker was configured");
                self.stream = Some(cx.open(broker));
            }
            Event::Open { link, host, .. } => {
                let node = match host {
                    "gateway" => self.peers.gateway,
                    _ => self.peers.server,
                };
                machine.opened(now, link, node.expect("only known hosts are named").peer()).unwrap();
            }
            Event::Close { link: Link::Broker, peer } => cx.close(peer),
            Event::Close { .. } | Event::Refused(_) => {}
            Event::Update(Update::Load { area, offset, len }) => {
                let bytes = self.flash.area(area)[offset as usize..][..len as usize].to_vec();
                machine.loaded(now, &bytes).unwrap();
            }
            Event::Update(Update::Erase { area, offset, len }) => {
                self.flash.erase(area, offset, len);
                machine.done(now).unwrap();
            }
            Event::Update(Update::Store { area, offset, bytes }) => {
                self.stored += bytes.len() as u64;
                self.flash.write(area, offset, bytes);
                machine.done(now).unwrap();
            }
            Event::Update(Update::Record { offset, bytes }) => {
                self.flash.write(Area::Journal, offset, bytes);
                machine.done(now).unwrap();
            }
            Event::Update(Update::Activate { .. }) => {
                machine.done(now).unwrap();
                self.reboot(cx, machine);
            }
            Event::Update(Update::State(state)) => {
                self.states.push(state);
                if state == State::Trial {
                    machine.confirm(now).unwrap();
                }
            }
            Event::Update(Update::Report(report)) => self.reports.push(report),
            Event::Update(Update::Fetch { .. }) => {}
        }
    }

    fn opened(&mut self, cx: &mut Context<'_>, machine: &mut Agent<'static>, peer: Peer) {
        if self.stream == Some(peer) {
            machine.opened(cx.now, Link::Broker, peer).unwrap();
        }
    }

    fn closed(&mut self, cx: &mut Context<'_>, machine: &mut Agent<'static>, peer: Peer) {
        if self.stream == Some(peer) {
            self.stream = None;
            machine.closed(cx.now, Link::Broker);
        }
    }
}

impl Device {
    /// Power goes and comes: everything is forgotten but flash.
    pub fn reboot(&mut self, cx: &mut Context<'_>, machine: &mut Agent<'static>) {
        if let Some(peer) = self.stream.take() {
            cx.close(peer);
        }
        self.boot(cx.now, machine);
    }
}

fn lend<T: Default + Clone>(len: usize) -> Storage<'static, T> {
    Storage::Borrowed(Box::leak(vec![T::default(); len].into_boxed_slice()))
}
