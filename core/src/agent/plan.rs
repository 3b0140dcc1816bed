//! What the agent's state calls for next: announcing, observing, fetching, reporting. Every step may be taken again and
//! changes nothing then; a step for which there is no room is taken later.

use super::{
    device::{Agent, Line, Wait},
    event::Link,
    fetch::{Fetch, Pull, REMEMBERED, Step, WINDOW},
    topic::{self, Name},
};
use crate::{
    Capacity, Duration, Error, Instant,
    coap::{Code, Flow, Request, Scheme, Uri, block},
    mqtt::packet::QoS,
    ota::{
        event::{Report, State},
        policy::Model,
        reporter,
    },
};

/// So many failures in a row make a link count as dead where there is another.
const DEAD: u8 = 4;

/// So often what is fetched is asked for until it counts as out of reach.
const PATIENCE: u8 = 120;

impl Agent<'_> {
    /// Does what the state calls for and storage allows. Doing it again changes nothing.
    pub(super) fn plan(&mut self, now: Instant) {
        self.acknowledge_stored(now);
        self.announce(now);
        self.plan_watch(now);
        self.plan_fetch(now);
        self.plan_report(now);
    }

    pub(super) fn acknowledge_stored(&mut self, now: Instant) {
        if let Some(id) = self.unacknowledged
            && !self.busy
            && !matches!(self.mqtt.acknowledge(now, id), Err(Error::Capacity(_)))
        {
            self.unacknowledged = None;
        }
    }

    /// Gives the whole manifest in the inbox to the update; keeps it where the update is busy.
    pub(super) fn announce(&mut self, now: Instant) {
        let Some((link, Some(len))) = self.arriving else { return };
        let envelope = self.inbox.get(..len).unwrap_or(&[]);
        let sum = checksum(envelope);
        let failed_before = self.tried.0 == sum && self.timers.get(Wait::Again).is_some();
        if !failed_before {
            match self.update.announce(now, envelope) {
                Err(Error::Capacity(Capacity::Busy)) => return,
                Ok(()) => self.announced = Some(link),
                // The update reports the refusal itself.
                Err(_) => {}
            }
            if self.tried.0 != sum {
                self.tried = (sum, 0);
            }
        }
        self.arriving = None;
    }

    /// Takes in a report. A manifest that was refused is not looked at again before a pause, which doubles each time from a minute to a
    /// day. What the update itself tries again needs no such thing.
    pub(super) fn reported(&mut self, now: Instant, report: Report) {
        self.report = Some(report);
        let deferred = report.state == State::Deferred;
        if report.reason.is_some() && !deferred && !self.update.tries_again() {
            let (sum, times) = self.tried;
            self.tried = (sum, times.saturating_add(1));
            let minutes = 1_u64.checked_shl(times.into()).unwrap_or(u64::MAX).min(24 * 60);
            self.timers.set(Wait::Again, now.after(Duration::from_secs(60).times(minutes)));
        }
    }

    /// Has the manifest sent again.
    pub(super) fn look_again(&mut self, now: Instant) {
        if let Some(watch) = self.watch.take() {
            let _ = self.coap.cancel(now, watch);
        }
        if self.mqtt.is_connected() {
            self.subscribe_manifest(now);
        }
    }

    pub(super) fn plan_watch(&mut self, now: Instant) {
        let Line::Up(peer) = self.line(Link::Gateway) else { return };
        if self.watch.is_some() || self.timers.get(Wait::Watch).is_some() {
            return;
        }
        let Some(path) = Name::join(&["/", self.config.class, "/manifest"]) else { return };
        let request = Request { observe: true, szx: self.config.szx, ..Request::get(path.as_str()) };
        self.watch = self.coap.request(now, peer, &request).ok();
    }

    pub(super) fn plan_fetch(&mut self, now: Instant) {
        if self.is_dry() {
            // Where it is not being fetched any more, there is nothing to put off.
            let _ = self.update.unreachable(now);
        }
        let fetching = self.update.state() == State::Fetching;
        let same = self.fetching == Some((self.update.sequence(), self.update.component()));
        let ours = fetching && same && !self.has_better_way();
        match (ours, &self.fetch) {
            (_, Fetch::Idle) if fetching => self.begin_fetch(now),
            (_, Fetch::Idle) => {}
            (true, Fetch::Mqtt(_)) => self.plan_pull(now, true),
            (true, Fetch::Coap { .. }) => self.plan_blocks(now),
            (false, Fetch::Mqtt(_)) => {
                self.plan_pull(now, false);
                self.timers.stop(Wait::Stall);
            }
            (false, Fetch::Coap { .. }) => self.end_blocks(now),
        }
    }

    /// Whether the link that the image comes by is dead while the other one has just brought the same manifest.
    fn has_better_way(&self) -> bool {
        let dead = |link| self.failures.get(link as usize).is_some_and(|n| *n >= DEAD);
        match (&self.fetch, self.announced) {
            (Fetch::Mqtt(_), Some(Link::Gateway)) => dead(Link::Broker) && !self.mqtt.is_connected(),
            (Fetch::Coap { link: Link::Gateway, .. }, Some(Link::Broker)) => {
                dead(Link::Gateway) && self.mqtt.is_connected()
            }
            _ => false,
        }
    }

    /// Chooses the model (the policy's where the links and the manifest's URI allow it).
    pub(super) fn begin_fetch(&mut self, now: Instant) {
        let (Some(wanted), Some(manifest)) = (self.update.wanted(), self.update.manifest()) else { return };
        let uri = self.update.payload().map_or(manifest.uri, |payload| payload.uri);
        if wanted.offset >= wanted.size || !self.update.has_recorded() {
            // It may be there already, which is looked at; or it is still to be written that it is asked for.
            return;
        }
        let by_mqtt = self.announced == Some(Link::Broker);
        let relative = topic::is_relative(uri);
        let gateway =
            self.config.gateway.is_some() && self.failures.get(Link::Gateway as usize).is_none_or(|n| *n < DEAD);
        let unit = self.config.update.write_size;
        let wish = self.config.policy.choose(manifest.kind, manifest.severity, self.config.costs);
        let (fetch, model) = match (relative, by_mqtt) {
            (true, true) if wish == Model::B && gateway => (self.at_gateway(uri), Model::B),
            (true, true) => {
                let size = manifest.chunk.unwrap_or(wanted.size);
                // A chunk that ends within a program unit could not be stored.
                let whole = size.checked_rem(unit) == Some(0) || size >= wanted.size;
                let pull = self
                    .manifest_topic()
                    .filter(|_| whole)
                    .and_then(|base| topic::resolve(base.as_str(), uri))
                    .and_then(|base| Pull::new(base, size, wanted.size, wanted.offset));
                (pull.map(Fetch::Mqtt), Model::A)
            }
            (true, false) => (self.at_gateway(uri), Model::C),
            (false, _) => (at_server(uri), if by_mqtt { Model::B } else { Model::C }),
        };
        let Some(fetch) = fetch else {
            // No way to get there: the update is given up and says so.
            let _ = self.update.cancel(now);
            return;
        };
        self.fetching = Some((self.update.sequence(), self.update.component()));
        self.stats.resumed_at = wanted.offset;
        self.model = Some(model);
        self.fetch = fetch;
        self.timers.stop(Wait::Block);
        self.timers.set(Wait::Stall, now.after(self.config.stall));
    }

    /// Whether what is fetched counts as out of reach: it was asked for so often in a row that more than an hour has passed. Where that has
    /// happened before, half as often each time.
    fn is_dry(&self) -> bool {
        let patience = PATIENCE >> self.update.attempts().min(6);
        match &self.fetch {
            Fetch::Idle => false,
            Fetch::Mqtt(pull) => self.mqtt.is_connected() && pull.stalls() >= patience.min(PATIENCE / 3),
            Fetch::Coap { idle, .. } => *idle >= patience,
        }
    }

    pub(super) fn at_gateway(&self, reference: &str) -> Option<Fetch> {
        let base = Name::join(&["/", self.config.class, "/manifest"])?;
        let path = topic::resolve(base.as_str(), reference)?;
        Some(Fetch::Coap { link: Link::Gateway, path, exchange: None, held: 0, ordered: false, idle: 0 })
    }

    /// Asks for the chunks that are next; where the download is over, ends all subscriptions to chunks.
    pub(super) fn plan_pull(&mut self, now: Instant, fetching: bool) {
        let Fetch::Mqtt(pull) = &mut self.fetch else { return };
        if !self.mqtt.is_connected() {
            if !fetching {
                // What the broker's session still has of them is drained when it comes.
                self.fetch = Fetch::Idle;
            }
            return;
        }
        let offset = match self.update.wanted() {
            Some(wanted) if fetching => wanted.offset,
            _ => u32::MAX,
        };
        while let Some(step) = pull.step(offset, self.config.pull) {
            let (Step::Subscribe(n) | Step::Unsubscribe(n)) = step;
            let Some(name) = pull.base.numbered(n) else { break };
            let done = match step {
                Step::Subscribe(_) => self.mqtt.subscribe(now, &[(name.as_str(), QoS::AtLeastOnce)]),
                Step::Unsubscribe(_) => self.mqtt.unsubscribe(now, &[name.as_str()]),
            };
            if done.is_err() {
                return;
            }
            pull.took(step);
        }
        if !fetching {
            self.fetch = Fetch::Idle;
        } else if self.timers.get(Wait::Stall).is_none() {
            self.timers.set(Wait::Stall, now.after(self.config.stall));
        }
    }

    pub(super) fn plan_blocks(&mut self, now: Instant) {
        let Some(wanted) = self.update.wanted() else { return };
        let Fetch::Coap { link, path, exchange, held, ordered, .. } = &mut self.fetch else { return };
        let block = block::size(self.config.szx);
        // Blocks are counted from the image's start and are a power of two long; what is there already is passed over.
        let offset = wanted.offset & !block.wrapping_sub(1);
        let (block_of_update, ahead) = (self.config.update.block, self.config.update.ahead);
        let window = match ahead.checked_div(block) {
            Some(window @ 2..) if block_of_update == block && !*ordered => window.min(WINDOW.into()),
            _ => 1,
        };
        if self.busy || wanted.offset >= wanted.size {
            return;
        }
        let end = wanted.end.min(wanted.size);
        let fits = |blocks: u32, from: u32| end >= from.saturating_add(block.saturating_mul(blocks)).min(wanted.size);
        match *exchange {
            Some(running) => {
                let last = offset.saturating_add(block.saturating_mul(REMEMBERED));
                while *held != 0 {
                    let Ok(position) = self.coap.position(running) else {
                        *exchange = None;
                        return;
                    };
                    if position > last || !fits(1, position) {
                        return;
                    }
                    *held = held.saturating_sub(1);
                    let _ = self.coap.advance(now, running);
                }
            }
            None => {
                if !fits(window, offset) {
                    return;
                }
                let line = self.lines.get(*link as usize).copied();
                let Some(Line::Up(peer)) = line else { return };
                if self.timers.get(Wait::Block).is_some() {
                    return;
                }
                // RFC 7252 §6.4 step 5: a server that has a name is told which one it is asked by.
                let uri = self.update.payload().and_then(|payload| Uri::parse(payload.uri).ok());
                let host = uri.filter(|uri| !uri.is_literal()).map(|uri| uri.host());
                let window = u8::try_from(window).unwrap_or(1);
                let request = Request {
                    host,
                    szx: self.config.szx,
                    offset,
                    flow: Flow::Manual,
                    window,
                    ..Request::get(path.as_str())
                };
                *held = 0;
                *exchange = self.coap.request(now, peer, &request).ok();
            }
        }
    }

    /// Blocks that flash had taken are missing again: they are asked for from the first one on.
    pub(super) fn begin_blocks_anew(&mut self, now: Instant) {
        if let Fetch::Coap { exchange, .. } = &mut self.fetch
            && let Some(running) = exchange.take()
        {
            let _ = self.coap.cancel(now, running);
        }
    }

    pub(super) fn end_blocks(&mut self, now: Instant) {
        let Fetch::Coap { link, exchange, .. } = &self.fetch else { return };
        let link = *link;
        if let Some(exchange) = *exchange {
            let _ = self.coap.cancel(now, exchange);
        }
        self.fetch = Fetch::Idle;
        self.timers.stop(Wait::Stall);
        if link == Link::Server {
            self.close(now, link);
        }
    }

    /// Sends the latest report the way the fleet's owner will find it: retained at the broker, or to the gateway.
    pub(super) fn plan_report(&mut self, now: Instant) {
        let Some(report) = self.report else { return };
        let by_gateway = self.config.broker.is_none() || self.announced == Some(Link::Gateway);
        let mut bytes = [0; reporter::MAX];
        if self.mqtt.is_connected() {
            let Some(name) = self.own_topic("/report") else { return };
            let Some(encoded) = self.encoded(&report, &mut bytes) else { return };
            let len = encoded.len();
            if self.mqtt.publish(now, name.as_str(), encoded, QoS::AtLeastOnce, true).is_ok() {
                self.report = None;
                if let Some((reporter, seal)) = &mut self.reporter {
                    let _ = seal(reporter, &report, self.mqtt.queued_last(len));
                }
            }
        } else if let (true, Line::Up(peer)) = (by_gateway, self.line(Link::Gateway)) {
            if self.reporting.is_some() || self.timers.get(Wait::Report).is_some() {
                return;
            }
            let Some(path) = Name::join(&["/", self.config.class, "/", self.config.device, "/report"]) else { return };
            let Some(encoded) = self.encoded(&report, &mut bytes) else { return };
            let len = encoded.len();
            let request = Request { method: Code::PUT, payload: encoded, ..Request::get(path.as_str()) };
            if let Ok(exchange) = self.coap.request(now, peer, &request) {
                self.report = None;
                self.reporting = Some((exchange, report));
                if let Some((reporter, seal)) = &mut self.reporter {
                    let _ = seal(reporter, &report, self.coap.payload_mut(exchange, len));
                }
            }
        }
    }

    /// A report as it goes out; of one that is to be signed as many bytes, so that it is signed once it has its place and not each time
    /// that there is none. What cannot be encoded is forgotten.
    fn encoded<'o>(&mut self, report: &Report, out: &'o mut [u8]) -> Option<&'o [u8]> {
        let encoded = match &mut self.reporter {
            Some((reporter, seal)) => match seal(reporter, report, &mut []) {
                Err(len) => out.get(..len).ok_or(len),
                signed => signed,
            },
            None => report.encode("", out),
        };
        if encoded.is_err() {
            self.report = None;
        }
        encoded.ok()
    }
}

/// The image's place where the manifest names a server of its own.
fn at_server(uri: &str) -> Option<Fetch> {
    let parsed = Uri::parse(uri).ok().filter(|uri| uri.scheme() == Scheme::Coap)?;
    let path = Name::join(&[parsed.target()])?;
    Some(Fetch::Coap { link: Link::Server, path, exchange: None, held: 0, ordered: false, idle: 0 })
}

/// FNV-1a, 32 bits: tells a manifest from the one before.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811C_9DC5, |sum, &byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
