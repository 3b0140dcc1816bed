//! The agent's one file of transitions.
//!
//! 1. `start`: the update replays its journal; links are opened.
//! 2. A manifest arrives, retained from the broker or by Observe from the gateway, and is announced to the update.
//! 3. The update accepts it: [`Fetch`] says whence the image comes.
//! 4. Image bytes go into the update, which asks for them to be stored; what is stored is acknowledged.
//! 5. The update checks, activates, tries and confirms; its reports go back the way the manifest came.

use super::{
    config::{Config, Resources},
    event::{Event, Link},
    fetch::{Fetch, WINDOW},
};
use crate::{
    Error, Handled, Input, Instant, Machine, Misuse, Output, Peer, Rng, Storage,
    coap::{self, Endpoint, Exchange, block},
    crc::crc32,
    mqtt::{
        self,
        client::Client,
        packet::{PacketId, Violation},
    },
    ota::{self, cose::Signer, event::Report, manifest::Component, policy::Model, reporter::Reporter, update::Update},
    time::Clock,
    timer::{Timer, Timers, earliest},
};

/// Writes a report with its signature.
pub(super) type Seal = for<'o> fn(&mut Reporter<'_>, &Report, &'o mut [u8]) -> Result<&'o [u8], usize>;

/// The timers of an agent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wait {
    /// Open the broker's link again.
    Broker = 0,
    /// Open the gateway's link again.
    Gateway = 1,
    /// Open the server's link again.
    Server = 2,
    /// Observe the manifest again.
    Watch = 3,
    /// The download has stood still.
    Stall = 4,
    /// Ask the server for the next block again.
    Block = 5,
    /// Look again at a manifest whose update failed.
    Again = 6,
    /// Report to the gateway again.
    Report = 7,
}

impl Timer for Wait {
    fn index(self) -> usize {
        self as usize
    }
}

/// The state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// Not open, and nobody asked.
    Down,
    /// The host was asked to open it.
    Asked,
    /// Open under this handle.
    Up(Peer),
}

/// What the PUBLISH that is being received is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Incoming {
    /// Nothing: it is drained.
    Drain,
    /// The manifest, of which so many bytes are in the inbox.
    Manifest(usize),
    /// A chunk of the image; the next byte's offset in the image.
    Chunk { n: u32, at: u32 },
}

/// What an agent counts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// MQTT packets and CoAP datagrams received.
    pub received: u32,
    /// MQTT packets and CoAP datagrams sent.
    pub sent: u32,
    /// Offset at which the last download went on after a reboot; 0 for one that began at the beginning.
    pub resumed_at: u32,
}

/// A device under update: see [the module](super).
pub struct Agent<'a> {
    pub(super) clock: Clock,
    pub(super) rng: Rng,
    pub(super) timers: Timers<8>,
    pub(super) config: Config<'a>,
    pub(super) mqtt: Client<'a>,
    pub(super) coap: Endpoint<'a>,
    pub(super) update: Update<'a>,
    pub(super) inbox: Storage<'a, u8>,
    pub(super) lines: [Line; 3],
    pub(super) failures: [u8; 3],
    /// Links to be closed by the host.
    pub(super) closing: [Option<Peer>; 3],
    /// Whose manifest is in the inbox, and how long it is once it is whole.
    pub(super) arriving: Option<(Link, Option<usize>)>,
    pub(super) incoming: Incoming,
    pub(super) incoming_id: Option<PacketId>,
    /// Acknowledged once nothing is being stored.
    pub(super) unacknowledged: Option<PacketId>,
    /// A flash request has not been answered.
    pub(super) busy: bool,
    /// The observation of the gateway's manifest.
    pub(super) watch: Option<Exchange>,
    /// A checksum of the manifest announced last, and how often in a row its update failed or it was refused.
    pub(super) tried: (u32, u8),
    /// Whence the accepted manifest came.
    pub(super) announced: Option<Link>,
    pub(super) fetch: Fetch,
    /// The sequence number of the release that `fetch` is for.
    pub(super) fetching: Option<(u64, Component)>,
    pub(super) model: Option<Model>,
    pub(super) report: Option<Report>,
    /// The report under way to the gateway.
    pub(super) reporting: Option<(Exchange, Report)>,
    /// Who signs reports, and how: what links that is [`sign_reports`](Agent::sign_reports).
    pub(super) reporter: Option<(Reporter<'a>, Seal)>,
    pub(super) started: bool,
    pub(super) stats: Stats,
}

impl<'a> Agent<'a> {
    /// An agent at rest: [`start`](Self::start) it.
    ///
    /// # Errors
    /// [`Misuse`]: the configuration is out of range.
    pub fn new(config: Config<'a>, resources: Resources<'a>) -> Result<Self, Misuse> {
        config.check()?;
        // A block that is longer than what flash erases at once could not be stored whole.
        let erase = usize::try_from(config.update.erase_size).unwrap_or(usize::MAX);
        let config = Config { szx: config.szx.min(block::szx_within(erase)), ..config };
        let config = Config { update: with_window(config.update, block::size(config.szx)), ..config };
        let mut rng = Rng::new(config.seed);
        let mqtt_config = mqtt::client::Config { manual_ack: true, ..mqtt::client::Config::default() };
        Ok(Self {
            clock: Clock::START,
            timers: Timers::STOPPED,
            mqtt: Client::new(mqtt_config, resources.mqtt_arena, resources.mqtt_in_flight),
            coap: Endpoint::new(coap::Config::default(), rng.next_u64(), resources.coap),
            update: Update::new(config.update, resources.manifest).salted(crc32(config.device.as_bytes())),
            inbox: resources.inbox,
            rng,
            config,
            lines: [Line::Down; 3],
            failures: [0; 3],
            closing: [None; 3],
            arriving: None,
            incoming: Incoming::Drain,
            incoming_id: None,
            unacknowledged: None,
            busy: false,
            watch: None,
            tried: (0, 0),
            announced: None,
            fetch: Fetch::Idle,
            fetching: None,
            model: None,
            report: None,
            reporting: None,
            reporter: None,
            started: false,
            stats: Stats::default(),
        })
    }

    /// Signs the reports from now on, each newer than the one before: see [`Reporter::new`], also for `start`. Without it they are
    /// as trustworthy as the link that they go by.
    pub fn sign_reports(&mut self, signer: &'a (dyn Signer + Sync), start: u32) {
        self.reporter = Some((Reporter::new(signer, start), |reporter, report, out| reporter.seal(report, out)));
    }

    // ---- what the application commands -------------------------------------------------------------------------

    /// Power is on: reads the journal, then opens the links.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: it has been started.
    pub fn start(&mut self, now: Instant) -> Result<(), Error<Violation>> {
        let now = self.clock.advance(now);
        if self.started {
            return Err(Misuse::WrongState.into());
        }
        self.update.start(now).map_err(no_peer)?;
        self.started = true;
        Ok(())
    }

    /// The running image has passed its trial: keep it.
    ///
    /// # Errors
    /// As [`Update::confirm`].
    pub fn confirm(&mut self, now: Instant) -> Result<(), Error<Violation>> {
        self.update.confirm(self.clock.advance(now)).map_err(no_peer)
    }

    /// The running image has failed its trial: go back to the other.
    ///
    /// # Errors
    /// As [`Update::reject`].
    pub fn reject(&mut self, now: Instant) -> Result<(), Error<Violation>> {
        self.update.reject(self.clock.advance(now)).map_err(no_peer)
    }

    /// Not before `until`: see [`Update::defer`].
    ///
    /// # Errors
    /// As [`Update::defer`].
    pub fn defer(&mut self, now: Instant, until: Instant) -> Result<(), Error<Violation>> {
        self.update.defer(self.clock.advance(now), until).map_err(no_peer)
    }

    /// Not now: see [`Update::veto`].
    ///
    /// # Errors
    /// As [`Update::veto`].
    pub fn veto(&mut self, now: Instant) -> Result<(), Error<Violation>> {
        self.update.veto(self.clock.advance(now)).map_err(no_peer)
    }

    /// A veto is lifted: see [`Update::resume`].
    ///
    /// # Errors
    /// As [`Update::resume`].
    pub fn resume(&mut self, now: Instant) -> Result<(), Error<Violation>> {
        self.update.resume(self.clock.advance(now)).map_err(no_peer)
    }

    /// Gives the update up: see [`Update::cancel`].
    ///
    /// # Errors
    /// As [`Update::cancel`].
    pub fn cancel(&mut self, now: Instant) -> Result<(), Error<Violation>> {
        self.update.cancel(self.clock.advance(now)).map_err(no_peer)
    }

    /// What the device knows of itself and of the time: see [`Update::tell`].
    ///
    /// # Errors
    /// As [`Update::tell`].
    pub fn tell(&mut self, now: Instant, known: &ota::manifest::Facts) -> Result<(), Error<Violation>> {
        self.update.tell(self.clock.advance(now), known).map_err(no_peer)
    }

    // ---- what the host answers ---------------------------------------------------------------------------------

    /// The link asked for is open; `peer` names it from now on. Where it is not needed any more, [`Event::Close`] follows.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: it is open already. [`Misuse::OutOfRange`]: another link has that handle.
    pub fn opened(&mut self, now: Instant, link: Link, peer: Peer) -> Result<(), Error<Violation>> {
        let now = self.clock.advance(now);
        if self.lines.contains(&Line::Up(peer)) {
            return Err(Misuse::OutOfRange.into());
        }
        match self.line(link) {
            Line::Asked => {}
            Line::Up(_) => return Err(Misuse::WrongState.into()),
            Line::Down => {
                if let Some(place) = self.closing.get_mut(link as usize) {
                    *place = Some(peer);
                }
                return Ok(());
            }
        }
        if link == Link::Broker {
            self.connect(now, peer)?;
        }
        self.set_line(link, Line::Up(peer));
        Ok(())
    }

    /// The link could not be opened, or was lost. It is asked for again after a pause.
    pub fn closed(&mut self, now: Instant, link: Link) {
        let now = self.clock.advance(now);
        if self.line(link) == Line::Down {
            return;
        }
        if link == Link::Broker {
            self.mqtt.connection_lost(now);
        }
        self.line_lost(now, link);
    }

    /// The flash request is done.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: there was none.
    pub fn done(&mut self, now: Instant) -> Result<(), Error<Violation>> {
        let now = self.clock.advance(now);
        self.update.done(now).map_err(no_peer)?;
        self.busy = false;
        Ok(())
    }

    /// The bytes that [`Load`](ota::event::Event::Load) asked for.
    ///
    /// # Errors
    /// [`Misuse`]: none were asked for, or not so many.
    pub fn loaded(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Error<Violation>> {
        let now = self.clock.advance(now);
        self.update.loaded(now, bytes).map_err(no_peer)?;
        self.busy = false;
        Ok(())
    }

    /// The flash request failed.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: there was none.
    pub fn failed(&mut self, now: Instant) -> Result<(), Error<Violation>> {
        let now = self.clock.advance(now);
        self.update.failed(now).map_err(no_peer)?;
        self.busy = false;
        self.begin_blocks_anew(now);
        Ok(())
    }

    // ---- what can be asked -------------------------------------------------------------------------------------

    /// The update: its state, progress, manifest and floor.
    #[must_use]
    pub const fn update(&self) -> &Update<'a> {
        &self.update
    }

    /// The delivery model of the current download.
    #[must_use]
    pub const fn model(&self) -> Option<Model> {
        self.model
    }

    /// Whether all reports have been delivered and nothing waits for the broker: a good time to power down.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.report.is_none() && self.reporting.is_none() && self.mqtt.in_flight() == 0 && !self.busy
    }

    /// What was counted.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    // ---- input -------------------------------------------------------------------------------------------------

    /// Bytes of the broker's stream, or one datagram. A datagram of which nothing was consumed has to be given again when flash
    /// has answered; where that cannot be done, it counts as lost and comes again.
    ///
    /// # Errors
    /// The broker broke MQTT: close its connection; the agent asks for a new one after a pause.
    pub fn handle_input<'i>(&mut self, now: Instant, input: Input<'i>) -> Result<Handled<Event<'i>>, Error<Violation>> {
        let now = self.clock.advance(now);
        if self.line(Link::Broker) == Line::Up(input.peer) {
            let handled = self.stream(now, input);
            if handled.is_err() {
                self.line_lost(now, Link::Broker);
            }
            return handled;
        }
        for link in [Link::Gateway, Link::Server] {
            if self.line(link) == Line::Up(input.peer) {
                return Ok(self.datagram(now, link, input));
            }
        }
        Ok(Handled::quiet(input.bytes.len()))
    }

    // ---- time and output ---------------------------------------------------------------------------------------

    /// Lets time-outs happen.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        self.mqtt.handle_timeout(now);
        self.coap.handle_timeout(now);
        self.update.handle_timeout(now);
        if self.timers.expired(Wait::Again, now) {
            self.look_again(now);
        }
        for timer in [Wait::Broker, Wait::Gateway, Wait::Server, Wait::Watch, Wait::Block, Wait::Report] {
            self.timers.expired(timer, now);
        }
        if self.timers.expired(Wait::Stall, now)
            && let Fetch::Mqtt(pull) = &mut self.fetch
        {
            let pause = pull.stalled(self.config.stall);
            self.timers.set(Wait::Stall, now.after(pause));
        }
    }

    /// The next thing to send, to open, to store or to know. `out` takes one packet or datagram: 1,152 bytes are
    /// enough for blocks of 1,024.
    pub fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        let now = self.clock.advance(now);
        if !self.started {
            return Output::Timeout(None);
        }
        self.handle_timeout(now);
        // What the protocols have to say comes first: the last acknowledgements leave before a link is closed, and before the
        // update asks for a reboot.
        // Each pass takes in at most one event of each protocol, whose queues are bounded; so is this.
        for _ in 0..16 {
            self.plan(now);
            let sent = match self.mqtt.poll_output(now, out) {
                Output::Transmit { peer, bytes } => Some((peer, bytes.len())),
                Output::Event(_) => {
                    // Of its own accord the client only tells that the keep-alive ran out; nothing streams out here.
                    self.close(now, Link::Broker);
                    None
                }
                Output::BufferTooSmall { needed } => return Output::BufferTooSmall { needed },
                Output::Timeout(_) => None,
            };
            if let Some((peer, len)) = sent {
                return self.transmit(peer, len, out);
            }
            let (sent, failed) = match self.coap.poll_output(now, out) {
                Output::Transmit { peer, bytes } => (Some((peer, bytes.len())), None),
                Output::Event(coap::Event::Failed { exchange, reason }) => (None, Some((exchange, reason))),
                Output::Event(_) => continue,
                Output::BufferTooSmall { needed } => return Output::BufferTooSmall { needed },
                Output::Timeout(_) => (None, None),
            };
            if let Some((peer, len)) = sent {
                return self.transmit(peer, len, out);
            }
            match failed {
                Some((exchange, reason)) => {
                    self.coap_event(now, Link::Gateway, coap::Event::Failed { exchange, reason });
                }
                None => break,
            }
        }
        if let Some(close) = self.told_to_close() {
            return close;
        }
        let asked = match self.update.poll_output(now, out) {
            Output::Event(event) => Some(detach(event)),
            Output::BufferTooSmall { needed } => return Output::BufferTooSmall { needed },
            Output::Transmit { .. } | Output::Timeout(_) => None,
        };
        if let Some((event, len)) = asked {
            match event {
                ota::event::Event::Report(report) => self.reported(now, report),
                ota::event::Event::State(_) | ota::event::Event::Fetch { .. } => {}
                _ => self.busy = true,
            }
            return Output::Event(Event::Update(attach(event, out.get(..len).unwrap_or(&[]))));
        }
        if let Some(link) = self.link_to_open() {
            return self.open(link, out);
        }
        Output::Timeout(self.next_timeout())
    }

    fn transmit<'o>(&mut self, peer: Peer, len: usize, out: &'o [u8]) -> Output<'o, Event<'o>> {
        self.stats.sent = self.stats.sent.saturating_add(1);
        Output::Transmit { peer, bytes: out.get(..len).unwrap_or(&[]) }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let protocols = earliest(self.mqtt.next_timeout(), self.coap.next_timeout());
        earliest(earliest(protocols, self.update.next_timeout()), self.timers.next())
    }
}

/// An update that takes a window of blocks of `size` in any order, where its flash allows that and the host says nothing else.
fn with_window(update: ota::update::Config<'_>, size: u32) -> ota::update::Config<'_> {
    let divides = |unit: u32, n: u32| n.checked_rem(unit) == Some(0);
    if update.block != 0 || !divides(size, update.erase_size) || !divides(update.write_size, size) {
        return update;
    }
    let ahead = update.ahead.max(size.saturating_mul(WINDOW.into()));
    ota::update::Config { block: size, ahead, ..update }
}

/// The update has no peer: what it can say of one becomes a misuse, which no command gives.
fn no_peer<P>(error: Error<P>) -> Error<Violation> {
    match error {
        Error::Misuse(misuse) => misuse.into(),
        Error::Capacity(capacity) => capacity.into(),
        Error::Peer(_) => Misuse::WrongState.into(),
    }
}

/// An event without the bytes it borrows from the output buffer, and how many those are.
fn detach(event: ota::event::Event<'_>) -> (ota::event::Event<'static>, usize) {
    use ota::event::Event as E;
    match event {
        E::Store { area, offset, bytes } => (E::Store { area, offset, bytes: &[] }, bytes.len()),
        E::Record { offset, bytes } => (E::Record { offset, bytes: &[] }, bytes.len()),
        E::Load { area, offset, len } => (E::Load { area, offset, len }, 0),
        E::Erase { area, offset, len } => (E::Erase { area, offset, len }, 0),
        E::Activate { slots } => (E::Activate { slots }, 0),
        E::Fetch { image, offset } => (E::Fetch { image, offset }, 0),
        E::State(state) => (E::State(state), 0),
        E::Report(report) => (E::Report(report), 0),
    }
}

/// The reverse: the bytes stand at the start of the output buffer.
fn attach<'o>(event: ota::event::Event<'o>, out: &'o [u8]) -> ota::event::Event<'o> {
    use ota::event::Event as E;
    match event {
        E::Store { area, offset, .. } => E::Store { area, offset, bytes: out },
        E::Record { offset, .. } => E::Record { offset, bytes: out },
        other => other,
    }
}

impl Machine for Agent<'_> {
    type Event<'e> = Event<'e>;
    type Error = Error<Violation>;

    fn handle_input<'i>(&mut self, now: Instant, input: Input<'i>) -> Result<Handled<Event<'i>>, Self::Error> {
        Agent::handle_input(self, now, input)
    }

    fn handle_timeout(&mut self, now: Instant) {
        Agent::handle_timeout(self, now);
    }

    fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        Agent::poll_output(self, now, out)
    }

    fn next_timeout(&self) -> Option<Instant> {
        Agent::next_timeout(self)
    }
}
