//! The agent's links: which are needed, when a lost one is opened again, and how the broker is greeted.

use super::{
    config::Address,
    device::{Agent, Incoming, Line, Wait},
    event::{Event, Link},
    fetch::Fetch,
    topic::{self, Name},
};
use crate::{
    Duration, Error, Instant, Misuse, Output, Peer,
    coap::Uri,
    mqtt::packet::{Connect, QoS, Violation, Will},
    wire::copy,
};

impl Agent<'_> {
    pub(super) fn line(&self, link: Link) -> Line {
        self.lines.get(link as usize).copied().unwrap_or(Line::Down)
    }

    pub(super) fn set_line(&mut self, link: Link, line: Line) {
        if let Some(place) = self.lines.get_mut(link as usize) {
            *place = line;
        }
    }

    pub(super) fn failures_of(&mut self, link: Link, n: u8) {
        if let Some(place) = self.failures.get_mut(link as usize) {
            *place = n;
        }
    }

    /// A link that is down and should be up.
    pub(super) fn link_to_open(&self) -> Option<Link> {
        let needs_server = matches!(self.fetch, Fetch::Coap { link: Link::Server, .. });
        // The journal is read first: what arrives before could not be judged.
        let ready = self.update.is_started();
        Link::ALL.into_iter().find(|&link| {
            let (wanted, wait) = match link {
                Link::Broker => (self.config.broker.is_some(), Wait::Broker),
                Link::Gateway => (self.config.gateway.is_some(), Wait::Gateway),
                Link::Server => (needs_server, Wait::Server),
            };
            ready && wanted && self.line(link) == Line::Down && self.timers.get(wait).is_none()
        })
    }

    pub(super) fn open<'o>(&mut self, link: Link, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        let mut server = [0; topic::MAX_NAME];
        let address = match link {
            Link::Broker => self.config.broker,
            Link::Gateway => self.config.gateway,
            Link::Server => self.update.payload().and_then(|payload| {
                let uri = Uri::parse(payload.uri).ok()?;
                let place = server.get_mut(..uri.host().len())?;
                copy(place, uri.host().as_bytes());
                let port = uri.port();
                let host = core::str::from_utf8(place).ok()?;
                Some(Address { host, port })
            }),
        };
        let Some(Address { host, port }) = address else { return Output::Timeout(self.next_timeout()) };
        let Some(place) = out.get_mut(..host.len()) else { return Output::BufferTooSmall { needed: host.len() } };
        copy(place, host.as_bytes());
        self.set_line(link, Line::Asked);
        let host = core::str::from_utf8(place).unwrap_or("");
        Output::Event(Event::Open { link, host, port })
    }

    /// The agent gives a link up: the host is told, and it is opened again after a pause where it is needed.
    pub(super) fn close(&mut self, now: Instant, link: Link) {
        if let Line::Up(peer) = self.line(link)
            && let Some(place) = self.closing.get_mut(link as usize)
        {
            *place = Some(peer);
        }
        if link == Link::Broker {
            self.mqtt.connection_lost(now);
        }
        self.line_lost(now, link);
    }

    pub(super) fn told_to_close<'o>(&mut self) -> Option<Output<'o, Event<'o>>> {
        Link::ALL.into_iter().find_map(|link| {
            let peer = self.closing.get_mut(link as usize)?.take()?;
            Some(Output::Event(Event::Close { link, peer }))
        })
    }

    pub(super) fn line_lost(&mut self, now: Instant, link: Link) {
        self.set_line(link, Line::Down);
        let wait = match link {
            Link::Broker => {
                self.unacknowledged = None;
                self.incoming = Incoming::Drain;
                if self.arriving == Some((Link::Broker, None)) {
                    self.arriving = None;
                }
                Wait::Broker
            }
            Link::Gateway => {
                self.watch = None;
                if self.arriving == Some((Link::Gateway, None)) {
                    self.arriving = None;
                }
                Wait::Gateway
            }
            Link::Server => Wait::Server,
        };
        if let Fetch::Coap { link: from, exchange, .. } = &mut self.fetch
            && *from == link
        {
            *exchange = None;
        }
        self.pause(now, wait, link);
    }

    /// Sets a retry timer: the pause doubles with each failure in a row, up to 64 times, and is spread over half its
    /// length so that a fleet does not come back at once.
    pub(super) fn pause(&mut self, now: Instant, wait: Wait, link: Link) {
        let failed = self.failures.get(link as usize).copied().unwrap_or(0);
        self.failures_of(link, failed.saturating_add(1));
        if let Fetch::Coap { link: from, idle, .. } = &mut self.fetch
            && *from == link
            && matches!(wait, Wait::Block | Wait::Server | Wait::Gateway)
        {
            *idle = idle.saturating_add(1);
        }
        let full = self.config.retry.times(1 << failed.min(6)).as_micros();
        let pause = (full / 2).saturating_add(self.rng.below(full / 2));
        self.timers.set(wait, now.after(Duration::from_micros(pause)));
    }

    pub(super) fn connect(&mut self, now: Instant, peer: Peer) -> Result<(), Error<Violation>> {
        let status = self.own_topic("/status").ok_or(Misuse::InvalidTopic)?;
        let connect = Connect {
            client_id: self.config.device,
            clean_session: false,
            keep_alive: self.config.keep_alive,
            will: Some(Will {
                topic: status.as_str(),
                payload: self.config.version.as_bytes(),
                qos: QoS::AtMostOnce,
                retain: true,
            }),
            username: self.config.username,
            password: self.config.password,
        };
        self.mqtt.connect(now, peer, &connect)
    }

    pub(super) fn connected(&mut self, now: Instant, session_present: bool) {
        self.failures_of(Link::Broker, 0);
        // Subscribing again brings the retained manifest again: the device may have been away when it changed.
        self.subscribe_manifest(now);
        if let Fetch::Mqtt(pull) = &mut self.fetch {
            pull.moved();
            if !session_present {
                pull.forget();
            }
        }
    }

    pub(super) fn subscribe_manifest(&mut self, now: Instant) {
        if let Some(name) = self.manifest_topic() {
            // Where there is no room, the next connection brings it.
            let _ = self.mqtt.subscribe(now, &[(name.as_str(), QoS::AtLeastOnce)]);
        }
    }

    pub(super) fn manifest_topic(&self) -> Option<Name> {
        Name::join(&[self.config.root, "/", self.config.class, "/manifest"])
    }

    pub(super) fn own_topic(&self, leaf: &str) -> Option<Name> {
        Name::join(&[self.config.root, "/", self.config.class, "/", self.config.device, leaf])
    }
}
