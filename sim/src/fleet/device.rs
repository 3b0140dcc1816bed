//! A device: an agent, flash, and what a program around them does.

use crate::{
    App, Context, NodeId,
    fleet::{
        flash::{Flash, SLOT, UNIT},
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
        secret::SecretKey,
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

/// What the program answers later.
#[derive(Debug)]
enum Late {
    Done,
    Failed,
    Loaded(Vec<u8>),
    Activated,
    Opened(Link, Peer),
}

/// The program around an agent. It reboots when told to and confirms every trial. By default it answers every request at
/// once and its flash never fails.
#[derive(Debug)]
pub struct Device {
    /// The device's name.
    pub name: &'static str,
    /// Whom it trusts.
    pub keys: &'static [Key],
    /// What it signs its reports with, if anything.
    pub signer: Option<&'static SecretKey>,
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
    /// How long flash takes for each request, which is answered only then.
    pub flash_takes: Duration,
    /// Every so many requests to flash one fails, half done; 0: none.
    pub flash_fails_every: u32,
    /// How long it takes to open a datagram link.
    pub open_takes: Duration,
    /// How often each link was asked for.
    pub asked: [u32; 3],
    /// How often it was to be closed by the agent's wish.
    pub closed: [u32; 3],
    flash_requests: u32,
    late: Vec<(Instant, Late)>,
    stream: Option<Peer>,
}

impl Device {
    /// A device that has never been updated.
    #[must_use]
    pub fn new(name: &'static str, key: Key, peers: Peers) -> Self {
        Self {
            name,
            keys: Box::leak(Box::new([key])),
            signer: None,
            peers,
            flash: Flash::new(),
            states: Vec::new(),
            reports: Vec::new(),
            stored: 0,
            model: None,
            boots: 0,
            flash_takes: Duration::ZERO,
            flash_fails_every: 0,
            open_takes: Duration::ZERO,
            asked: [0; 3],
            closed: [0; 3],
            flash_requests: 0,
            late: Vec::new(),
            stream: None,
        }
    }

    /// An agent as it is when power comes, with the slots `running` booted.
    ///
    /// # Panics
    /// If `name` is no topic level.
    #[must_use]
    pub fn agent(&self, running: u8) -> Agent<'static> {
        let mut update =
            ota::update::Config::new(VENDOR, CLASS, self.keys, running, [SLOT, self.flash.erase_size, UNIT]);
        for size in update.more_slots.iter_mut().take(self.flash.images() - 1) {
            *size = SLOT;
        }
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
        let coap: &'static mut coap::Memory<512, 4, 8, 1, 18, 2> = Box::leak(Box::new(coap::Memory::EMPTY));
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
        let (first, second) = self.flash.area(Area::Journal).split_at(self.flash.erase_size as usize);
        let decision = ota::boot::decide([first, second], 0);
        if let Some(note) = decision.note {
            let page = u32::from(note.page) * self.flash.erase_size;
            if note.erase.is_some() {
                self.flash.erase(Area::Journal, page, self.flash.erase_size);
            }
            self.flash.write(Area::Journal, page + note.offset, &note.bytes);
        }
        self.boots += 1;
        *machine = self.agent(decision.slots);
        if let Some(signer) = self.signer {
            machine.sign_reports(signer, self.boots);
        }
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
            Event::Open { link, host, .. } => {
                self.asked[link as usize] += 1;
                match (link, host) {
                    (Link::Broker, _) => self.stream = Some(cx.open(self.peers.broker.expect("it was configured"))),
                    (_, host) => {
                        let node = if host == "gateway" { self.peers.gateway } else { self.peers.server };
                        let peer = node.expect("only known hosts are named").peer();
                        self.answer(cx, machine, self.open_takes, Late::Opened(link, peer));
                    }
                }
            }
            Event::Close { link, peer } => {
                self.closed[link as usize] += 1;
                if link == Link::Broker {
                    cx.close(peer);
                }
            }
            Event::Refused(_) => {}
            Event::Update(Update::Load { area, offset, len }) => {
                let bytes = self.flash.area(area)[offset as usize..][..len as usize].to_vec();
                self.worked(cx, machine, Late::Loaded(bytes), |_, _| ());
            }
            Event::Update(Update::Erase { area, offset, len }) => {
                self.worked(cx, machine, Late::Done, |flash, fine| {
                    if fine {
                        flash.erase(area, offset, len);
                    }
                });
            }
            Event::Update(Update::Store { area, offset, bytes }) => {
                self.stored += bytes.len() as u64;
                self.worked(cx, machine, Late::Done, |flash, fine| flash.write(area, offset, half(bytes, fine)));
            }
            Event::Update(Update::Record { offset, bytes }) => {
                self.worked(cx, machine, Late::Done, |flash, fine| {
                    flash.write(Area::Journal, offset, half(bytes, fine));
                });
            }
            Event::Update(Update::Activate { .. }) => self.answer(cx, machine, self.flash_takes, Late::Activated),
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

    fn wake(&mut self, cx: &mut Context<'_>, machine: &mut Agent<'static>) {
        let now = cx.now;
        while let Some(at) = self.late.iter().position(|(at, _)| *at <= now) {
            let (_, late) = self.late.remove(at);
            self.answered(cx, machine, late);
        }
        self.wake_up(cx);
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
        self.late.clear();
        self.boot(cx.now, machine);
    }

    /// Flash did what it was asked, or failed to, and says so after a while.
    fn worked(
        &mut self,
        cx: &mut Context<'_>,
        machine: &mut Agent<'static>,
        late: Late,
        work: impl FnOnce(&mut Flash, bool),
    ) {
        self.flash_requests += 1;
        let fine = self.flash_fails_every == 0 || !self.flash_requests.is_multiple_of(self.flash_fails_every);
        work(&mut self.flash, fine);
        self.answer(cx, machine, self.flash_takes, if fine { late } else { Late::Failed });
    }

    fn answer(&mut self, cx: &mut Context<'_>, machine: &mut Agent<'static>, after: Duration, late: Late) {
        if after == Duration::ZERO {
            return self.answered(cx, machine, late);
        }
        self.late.push((cx.now.after(after), late));
        self.wake_up(cx);
    }

    fn answered(&mut self, cx: &mut Context<'_>, machine: &mut Agent<'static>, late: Late) {
        let now = cx.now;
        match late {
            Late::Done => machine.done(now).unwrap(),
            Late::Failed => machine.failed(now).unwrap(),
            Late::Loaded(bytes) => machine.loaded(now, &bytes).unwrap(),
            Late::Activated => {
                machine.done(now).unwrap();
                self.reboot(cx, machine);
            }
            Late::Opened(link, peer) => machine.opened(now, link, peer).unwrap(),
        }
    }

    fn wake_up(&self, cx: &mut Context<'_>) {
        if let Some(at) = self.late.iter().map(|(at, _)| *at).min() {
            cx.wake_in(at.since(cx.now));
        }
    }
}

/// What reaches flash of a write that may fail in the middle.
fn half(bytes: &[u8], fine: bool) -> &[u8] {
    if fine { bytes } else { &bytes[..bytes.len() / 2] }
}

fn lend<T: Default + Clone>(len: usize) -> Storage<'static, T> {
    Storage::Borrowed(Box::leak(vec![T::default(); len].into_boxed_slice()))
}
