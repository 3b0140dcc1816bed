//! What comes in: the broker's stream and datagrams, sorted into manifests, image bytes and answers.

use super::{
    device::{Agent, Incoming, Wait},
    event::{Event, Link},
    fetch::Fetch,
    topic,
};
use crate::{
    Duration, Error, Handled, Input, Instant,
    coap::{self, Code, Exchange, Reply},
    mqtt::{self, packet::Violation},
    ota,
    wire::copy,
};

impl Agent<'_> {
    pub(super) fn stream<'i>(
        &mut self,
        now: Instant,
        input: Input<'i>,
    ) -> Result<Handled<Event<'i>>, Error<Violation>> {
        if self.mqtt.payload_left() > 0 {
            return self.payload(now, input);
        }
        self.acknowledge_stored(now);
        self.announce(now);
        // One acknowledgement and one manifest can wait; nothing else is read before they are through.
        if self.unacknowledged.is_some() || matches!(self.arriving, Some((Link::Broker, Some(_)))) {
            return Ok(Handled::quiet(0));
        }
        let handled = self.mqtt.handle_input(now, input)?;
        if handled.consumed > 0 {
            self.stats.received = self.stats.received.saturating_add(1);
        }
        let event = match handled.event {
            Some(mqtt::client::Event::Connected { session_present }) => {
                self.connected(now, session_present);
                None
            }
            Some(mqtt::client::Event::Refused { code }) => {
                self.close(now, Link::Broker);
                Some(Event::Refused(code))
            }
            Some(mqtt::client::Event::Publish(publish)) => {
                self.incoming_id = publish.id;
                self.incoming = self.classify(publish.topic, publish.payload_len);
                if publish.payload_len == 0 {
                    self.unacknowledged = publish.id;
                    self.acknowledge_stored(now);
                }
                None
            }
            _ => None,
        };
        Ok(Handled { consumed: handled.consumed, needed: handled.needed, event })
    }

    fn classify(&mut self, topic: &str, len: u32) -> Incoming {
        if let Some(manifest) = self.manifest_topic()
            && topic == manifest.as_str()
        {
            let fits = usize::try_from(len).is_ok_and(|len| len <= self.inbox.len());
            // A whole manifest that waits to be announced is not overwritten.
            let free = !matches!(self.arriving, Some((_, Some(_))));
            if !fits || !free || len == 0 {
                return Incoming::Drain;
            }
            self.arriving = Some((Link::Broker, None));
            return Incoming::Manifest(0);
        }
        let (Fetch::Mqtt(pull), Some(wanted)) = (&mut self.fetch, self.update.wanted()) else { return Incoming::Drain };
        let Some(n) = topic::chunk_number(topic, pull.base.as_str()) else { return Incoming::Drain };
        match pull.span(n, wanted.size) {
            // The first byte of a chunk that is to be taken may not lie beyond what is there already.
            Some((at, span)) if span == len && at <= wanted.offset => Incoming::Chunk { n, at },
            Some((_, span)) if span == len => {
                pull.drop_chunk(n);
                Incoming::Drain
            }
            _ => {
                pull.misfit(n);
                Incoming::Drain
            }
        }
    }

    fn payload<'i>(&mut self, now: Instant, input: Input<'i>) -> Result<Handled<Event<'i>>, Error<Violation>> {
        let left = usize::try_from(self.mqtt.payload_left()).unwrap_or(usize::MAX);
        let bytes = input.bytes.get(..left).unwrap_or(input.bytes);
        let mut handled = Handled::quiet(bytes.len());
        if let Incoming::Chunk { n, at } = self.incoming {
            if self.busy {
                // What went to flash last is not there yet; the rest waits.
                return Ok(Handled::quiet(0));
            }
            if self.update.wanted().is_none_or(|wanted| at > wanted.offset) {
                // Finished, deferred, given up or set back since the chunk began.
                self.drain_chunk(n);
            }
        }
        match self.incoming {
            Incoming::Drain => {}
            Incoming::Manifest(at) => {
                let end = at.saturating_add(bytes.len());
                if let Some(place) = self.inbox.get_mut(at..end) {
                    copy(place, bytes);
                }
                self.incoming = Incoming::Manifest(end);
            }
            Incoming::Chunk { n, at } => match self.update.data(now, at, bytes) {
                Ok(taken) => {
                    let moved = u32::try_from(taken.consumed).unwrap_or(u32::MAX);
                    self.incoming = Incoming::Chunk { n, at: at.saturating_add(moved) };
                    if taken.event.is_some() {
                        self.busy = true;
                    }
                    if let (true, Fetch::Mqtt(pull)) = (moved != 0, &mut self.fetch) {
                        pull.moved();
                        self.timers.set(Wait::Stall, now.after(self.config.stall));
                    }
                    handled = taken.map(Event::Update);
                    if handled.needed != 0 && bytes.len() == left {
                        // The chunk ends within a program unit, which flash cannot take.
                        self.incoming = Incoming::Drain;
                        handled = Handled::quiet(bytes.len());
                    }
                }
                Err(_) => self.drain_chunk(n),
            },
        }
        if handled.consumed == 0 {
            return Ok(handled);
        }
        let taken = bytes.get(..handled.consumed).unwrap_or(bytes);
        self.mqtt.handle_input(now, Input { peer: input.peer, bytes: taken })?;
        if self.mqtt.payload_left() == 0 {
            self.unacknowledged = self.incoming_id.take();
            if let Incoming::Manifest(len) = self.incoming {
                self.arriving = Some((Link::Broker, Some(len)));
                self.announce(now);
            }
            self.incoming = Incoming::Drain;
        }
        Ok(handled)
    }

    fn drain_chunk(&mut self, n: u32) {
        if let Fetch::Mqtt(pull) = &mut self.fetch {
            pull.drop_chunk(n);
        }
        self.incoming = Incoming::Drain;
    }

    pub(super) fn datagram<'i>(&mut self, now: Instant, link: Link, input: Input<'i>) -> Handled<Event<'i>> {
        let running = match &self.fetch {
            Fetch::Coap { link: from, exchange, .. } => *from == link && exchange.is_some(),
            _ => false,
        };
        if self.busy && running {
            // Perhaps a block, for which flash is not ready.
            return Handled::quiet(0);
        }
        self.stats.received = self.stats.received.saturating_add(1);
        let consumed = input.bytes.len();
        let event = match self.coap.handle_input(now, input) {
            Ok(handled) => handled.event,
            Err(_) => None,
        };
        let event = event.and_then(|event| self.coap_event(now, link, event));
        Handled { consumed, needed: 0, event }
    }

    pub(super) fn coap_event<'e>(&mut self, now: Instant, link: Link, event: coap::Event<'e>) -> Option<Event<'e>> {
        match event {
            coap::Event::Response { exchange, code, options, observe, offset, payload, last, .. }
                if Some(exchange) == self.watch =>
            {
                self.manifest_block(now, exchange, code, offset, payload, last);
                if last && observe.is_none() && self.watch.is_some() {
                    // It cannot be observed: it is asked for again when it is no longer fresh.
                    self.watch = None;
                    let age = options.uint(coap::option::MAX_AGE).unwrap_or(60).clamp(10, 86_400);
                    self.timers.set(Wait::Watch, now.after(Duration::from_secs(age.into())));
                }
                None
            }
            coap::Event::Response { exchange, code, .. } if self.is_report(exchange) => {
                if code.class() == 5 {
                    self.report_lost(now);
                }
                self.reporting = None;
                None
            }
            coap::Event::Response { exchange, code, offset, payload, last, .. } => {
                self.image_block(now, exchange, code, offset, payload, last).map(Event::Update)
            }
            coap::Event::Failed { exchange, .. } => {
                if self.is_report(exchange) {
                    self.report_lost(now);
                } else if Some(exchange) == self.watch {
                    self.watch = None;
                    self.pause(now, Wait::Watch, link);
                } else if let Fetch::Coap { link, exchange: running, .. } = &mut self.fetch
                    && *running == Some(exchange)
                {
                    *running = None;
                    let link = *link;
                    self.pause(now, Wait::Block, link);
                }
                None
            }
            coap::Event::Request { id, .. } => {
                // A device has no resources of its own: RFC 7252 §5.8.1.
                // Where there is no room to answer, the client asks again.
                let _ = self.coap.respond(now, &id, &Reply::new(Code::NOT_FOUND, &[]));
                None
            }
            _ => None,
        }
    }

    fn is_report(&self, exchange: Exchange) -> bool {
        self.reporting.is_some_and(|(reporting, _)| reporting == exchange)
    }

    /// The report did not arrive: it goes out again after a pause, unless a newer one does.
    fn report_lost(&mut self, now: Instant) {
        let lost = self.reporting.take().map(|(_, report)| report);
        self.report = self.report.or(lost);
        self.pause(now, Wait::Report, Link::Gateway);
    }

    fn manifest_block(
        &mut self,
        now: Instant,
        exchange: Exchange,
        code: Code,
        offset: u32,
        payload: &[u8],
        last: bool,
    ) {
        if code == Code::VALID {
            return self.failures_of(Link::Gateway, 0);
        }
        if code != Code::CONTENT {
            // Nothing published yet (4.04), or the gateway cannot (5.xx): it is asked again later.
            self.watch = None;
            let _ = self.coap.cancel(now, exchange);
            return self.pause(now, Wait::Watch, Link::Gateway);
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(payload.len());
        if last && end == 0 {
            // Nothing published yet, and it will be told: the resource is there to be observed.
            return self.failures_of(Link::Gateway, 0);
        }
        let ours = match self.arriving {
            None => offset == 0,
            Some((link, None)) => link == Link::Gateway,
            Some((_, Some(_))) => false,
        };
        let place = self.inbox.get_mut(start..end).filter(|_| ours);
        let Some(place) = place else {
            // Another manifest is arriving, or this one is too long: the observation begins anew later.
            self.watch = None;
            let _ = self.coap.cancel(now, exchange);
            if self.arriving == Some((Link::Gateway, None)) {
                self.arriving = None;
            }
            return self.pause(now, Wait::Watch, Link::Gateway);
        };
        copy(place, payload);
        self.arriving = Some((Link::Gateway, last.then_some(end)));
        if last {
            self.failures_of(Link::Gateway, 0);
            self.announce(now);
        }
    }

    fn image_block<'e>(
        &mut self,
        now: Instant,
        exchange: Exchange,
        code: Code,
        offset: u32,
        payload: &'e [u8],
        last: bool,
    ) -> Option<ota::event::Event<'e>> {
        let Fetch::Coap { link, exchange: running, held, ordered, .. } = &mut self.fetch else { return None };
        let link = *link;
        if *running != Some(exchange) {
            return None;
        }
        // What is there already is passed over; what flash takes at once is the rest of the block.
        let (mut at, mut event, mut refused) = (0_usize, None, false);
        while let (Code::CONTENT, Some(rest)) = (code, payload.get(at..).filter(|rest| !rest.is_empty())) {
            let place = offset.saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
            let Ok(taken) = self.update.data(now, place, rest) else {
                refused = true;
                break;
            };
            at = at.saturating_add(taken.consumed);
            event = taken.event;
            refused = taken.needed != 0;
            if event.is_some() || taken.consumed == 0 {
                break;
            }
        }
        let stored = event.is_some();
        self.busy |= stored;
        if at == payload.len() && !last && code == Code::CONTENT {
            *held = held.saturating_add(1);
        } else {
            // The end of what the server has, or not what was asked for, or more than flash takes at once or before its turn.
            *ordered |= refused;
            *running = None;
            if !last {
                let _ = self.coap.cancel(now, exchange);
            }
        }
        if stored {
            self.failures_of(link, 0);
            if let Fetch::Coap { idle, .. } = &mut self.fetch {
                *idle = 0;
            }
        } else if last || at != payload.len() || code != Code::CONTENT {
            // There is nothing to be had now: the rest is asked for again.
            self.pause(now, Wait::Block, link);
        }
        event
    }
}
