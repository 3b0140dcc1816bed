//! What answers the agent's requests, and what the device prints.

use std::{error::Error, time::SystemTime};

use waft::{
    Duration, Instant, Peer,
    agent::{Address, Agent, Config, Event, Link},
    ota::{
        self,
        event::{Event as Update, State},
        manifest::Facts,
        policy::{Model, Policy},
    },
};

use crate::{
    End,
    flash::{ERASE, Flash},
    options::{Options, SelfTest, Until},
};

/// A connection to be made or unmade.
pub enum LinkRequest {
    Open(Link, String, u16),
    Close(Peer),
}

/// What the last line tells, over all boots.
#[derive(Default)]
pub struct Tally {
    pub rx: u64,
    pub tx: u64,
    messages: u32,
    resumed_at: u32,
    image: u32,
    version: String,
    severity: &'static str,
    model: &'static str,
    sequence: u64,
    state: &'static str,
    reason: Option<&'static str>,
    /// The exit status, once it is known.
    code: Option<u8>,
}

pub struct Host<'a> {
    pub options: &'a Options,
    pub flash: &'a Flash,
    pub tally: &'a mut Tally,
    /// The slot that runs.
    pub slot: u8,
    pub end: Option<End>,
    pub link: Option<LinkRequest>,
    /// When reports that nobody takes are given up, in seconds, once all else is done.
    pub until: Option<u64>,
}

/// Seconds that a boot goes on for reports that have not arrived.
const SETTLE: u64 = 10;

impl Options {
    pub fn config(&self, running: u8) -> Config<'_> {
        Config {
            root: &self.root,
            class: &self.class_name,
            device: &self.name,
            version: &self.installed,
            broker: self.broker.as_ref().map(|(host, port)| Address { host, port: *port }),
            username: None,
            password: None,
            keep_alive: 30,
            gateway: self.gateway.as_ref().map(|(host, port)| Address { host, port: *port }),
            policy: Policy::default(),
            costs: ota::policy::Link::default(),
            pull: 4,
            szx: 6,
            stall: Duration::from_secs(3),
            retry: Duration::from_millis(500),
            seed: self.seed,
            update: ota::update::Config {
                rotation: self.rotation,
                device: self.device_id,
                jitter: self.jitter,
                backoff: self.backoff,
                window: self.window,
                battery: self.battery,
                step: self.step,
                attempts: self.attempts,
                trial: self.trial,
                ..ota::update::Config::new(self.vendor, self.class, &self.keys, running, [self.slot_size, ERASE, 4])
            },
        }
    }

    /// What the device knows of itself and of the time.
    pub fn facts(&self) -> Facts {
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().filter(|_| self.clock);
        Facts {
            time: clock.map(|time| time.as_secs()),
            battery: self.charge,
            version: self.installed.parse().ok(),
            device: None,
        }
    }
}

impl Host<'_> {
    /// Does what an event asks and answers at once: this flash is a file.
    pub fn act(&mut self, now: Instant, agent: &mut Agent<'_>, event: Event<'_>) -> Result<(), Box<dyn Error>> {
        match event {
            Event::Open { link, host, port } => self.link = Some(LinkRequest::Open(link, host.to_owned(), port)),
            Event::Close { peer, .. } => self.link = Some(LinkRequest::Close(peer)),
            Event::Refused(code) => eprintln!("device: the broker refuses the connection: {code:?}"),
            Event::Update(Update::Load { area, offset, len }) => {
                let bytes = self.flash.read(area, offset, len)?;
                agent.loaded(now, &bytes)?;
            }
            Event::Update(Update::Erase { area, offset, len }) => {
                self.flash.erase(area, offset, len)?;
                agent.done(now)?;
            }
            Event::Update(Update::Store { area, offset, bytes }) => {
                self.flash.write(area, offset, bytes)?;
                agent.done(now)?;
                let (have, total) = agent.update().progress();
                println!(r#"{{"event":"progress","have":{have},"total":{total}}}"#);
            }
            Event::Update(Update::Record { offset, bytes }) => {
                self.flash.write(ota::event::Area::Journal, offset, bytes)?;
                agent.done(now)?;
            }
            Event::Update(Update::Activate { .. }) => {
                agent.done(now)?;
                self.end = Some(End::Reboot);
            }
            Event::Update(Update::Fetch { .. }) => {}
            Event::Update(Update::State(state)) => self.state(now, agent, state)?,
            Event::Update(Update::Report(report)) => {
                if let Some(reason) = report.reason {
                    self.tally.reason = Some(reason.name());
                    if report.state != State::Reverted {
                        self.tally.state = "refused";
                    }
                    if self.options.until == Until::Refused {
                        self.tally.code = Some(3);
                    }
                }
            }
        }
        Ok(())
    }

    fn state(&mut self, now: Instant, agent: &mut Agent<'_>, state: State) -> Result<(), Box<dyn Error>> {
        println!(r#"{{"event":"state","state":"{}"}}"#, state.name());
        if let Some(manifest) = agent.update().manifest() {
            self.tally.version = manifest.version.map(|v| v.to_string()).unwrap_or_default();
            self.tally.severity = manifest.severity.name();
            self.tally.sequence = manifest.sequence;
            self.tally.image = manifest.image.size;
        }
        match state {
            // Here a product finds out whether it still does what it is for.
            State::Trial => match self.options.self_test {
                SelfTest::Pass => agent.confirm(now)?,
                SelfTest::Fail => agent.reject(now)?,
                SelfTest::Crash => self.end = Some(End::Reboot),
            },
            State::Confirmed => {
                self.tally.state = "confirmed";
                self.tally.code = Some(0);
            }
            State::Reverted => {
                self.tally.state = "reverted";
                self.tally.code = Some(4);
            }
            State::Failed => {
                self.tally.state = "failed";
                self.tally.code = Some(4);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether this boot is over: after a reboot was asked for, or when all is done and told.
    pub fn ended(&mut self, agent: &Agent<'_>, seconds: u64) -> Option<End> {
        if self.tally.code.is_some() {
            self.until.get_or_insert(seconds.saturating_add(SETTLE));
        }
        let patient = self.until.is_none_or(|until| seconds < until);
        if matches!(self.options.until, Until::Seconds(limit) if seconds >= limit) {
            self.tally.code.get_or_insert(4);
        } else if self.end.is_none() && !agent.is_settled() && patient {
            return None;
        }
        if self.end.is_none() && self.tally.code.is_none() {
            return None;
        }
        let stats = agent.stats();
        self.tally.messages += stats.received + stats.sent;
        self.tally.resumed_at = self.tally.resumed_at.max(stats.resumed_at);
        if let Some(model) = agent.model() {
            self.tally.model = match model {
                Model::A => "a",
                Model::B => "b",
                Model::C => "c",
            };
        }
        let end = self.end.take().or(self.tally.code.map(End::Exit))?;
        if let End::Exit(_) = end {
            self.tally.print();
        }
        Some(end)
    }
}

impl Tally {
    fn print(&self) {
        let reason = self.reason.map_or("null".to_owned(), |reason| format!("\"{reason}\""));
        println!(
            r#"{{"event":"done","state":"{}","model":"{}","severity":"{}","version":"{}","sequence":{},"rx":{},"tx":{},"image":{},"messages":{},"resumed_at":{},"reason":{reason}}}"#,
            self.state,
            self.model,
            self.severity,
            self.version,
            self.sequence,
            self.rx,
            self.tx,
            self.image,
            self.messages,
            self.resumed_at,
        );
    }
}
