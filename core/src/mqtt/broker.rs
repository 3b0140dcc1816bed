//! The broker: MQTT's server side for any number of connections (§3, §4), with allocation and without I/O.
//!
//! The host owns the sockets, or whatever carries bytes in their order (`[MQTT-7.1.1-1]`), and gives each connection a number, its [`Peer`]. It tells what happens to them, and does
//! what it is told:
//!
//! 1. A connection was accepted: [`accept`](Broker::accept). It was closed: [`connection_lost`](Broker::connection_lost).
//!    Bytes arrived: [`handle_input`](Broker::handle_input); the host keeps what was not consumed. Where nothing was
//!    consumed and nothing more is needed, the client does not read what is sent to it; offer the bytes again after
//!    more has been sent.
//! 2. Then call [`poll_output`](Broker::poll_output) until it gives [`Output::Timeout`], writing each
//!    [`Output::Transmit`] to that peer's stream and closing a peer on [`Event::Close`].
//! 3. Wait for bytes, or until that time and then [`handle_timeout`](Broker::handle_timeout).
//!
//! A peer whose socket takes no more is [paused](Broker::pause) until it does: its messages then wait here, within
//! bounds, instead of in the host.
//!
//! Peers take turns, one buffer each. Packets go out as pieces of the stream, so `out` may be of any size and is never
//! too small. An offence ends only the peer that commits it. Payloads are kept once however many clients wait for them.
//! What a peer can take of the broker is bounded by [`BrokerConfig`]; the work of a call is bounded by the packet it
//! takes in and by the number of sessions that want it.
//!
//! # Where the standard leaves room
//!
//! - **Acknowledgements of nothing.** One with an identifier that is unknown here is no violation: the text names none,
//!   and a client may remember what a server has lost. PUBACK and PUBCOMP are ignored. PUBREC is answered by PUBREL, as
//!   it must be whenever it comes (`[MQTT-4.3.3-1]`), and PUBREL by PUBCOMP (`[MQTT-4.3.3-2]`); nothing is remembered of
//!   either. An acknowledgement that is not the next step of its message, such as PUBACK at QoS 2, is a violation.
//! - **The same filter twice in one SUBSCRIBE** is as in two packets (`[MQTT-3.8.4-4]`): retained messages are sent for
//!   each (`[MQTT-3.8.4-3]`), and the QoS of the last counts. Where so many are retained that those of the first have not
//!   all been queued, the rest of them comes once, with the second, which replaces the first.
//! - **Overlapping subscriptions** get one copy, of the highest QoS (`[MQTT-3.3.5-1]`).
//! - **QoS 2** is passed on when PUBLISH comes, not when PUBREL does (method B of figure 4.3).
//! - **What a client may not publish**, below `$` too, is acknowledged and goes nowhere (`[MQTT-3.3.5-2]`).
//! - **Messages of QoS 0** do not wait for an absent client (§3.1.2.4).
//! - **A client identifier** is any text of at most [`max_client_id`](BrokerConfig::max_client_id) bytes
//!   (`[MQTT-3.1.3-5]`); who gives none gets one, with a clean session (`[MQTT-3.1.3-6]`).
//! - **After a restart** every message on its way is sent again with DUP, be it for the first time: what left before the
//!   power went, nobody knows.
//!
//! ```
//! use waft::{Input, Instant, Output, Peer};
//! use waft::mqtt::{QoS, broker::{Broker, BrokerConfig, Event}};
//!
//! let now = Instant::ZERO;
//! let mut broker = Broker::new(BrokerConfig::default(), 1);
//! broker.publish(now, "greeting", "hello", QoS::AtMostOnce, true).unwrap();
//!
//! broker.accept(now, Peer(7)).unwrap();
//! let connect = b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01c";
//! broker.handle_input(now, Input { peer: Peer(7), bytes: connect }).unwrap();
//! let mut out = [0; 64];
//! let Output::Event(Event::Connected { client_id, .. }) = broker.poll_output(now, &mut out) else { panic!() };
//! assert_eq!(&*client_id, "c");
//! let Output::Transmit { peer: Peer(7), bytes } = broker.poll_output(now, &mut out) else { panic!() };
//! assert_eq!(bytes, b"\x20\x02\x00\x00"); // CONNACK
//! ```

mod acl;
mod config;
mod connection;
mod event;
mod inbound;
mod journal;
mod retained;
mod session;
mod state;
mod subscriptions;
#[cfg(test)]
mod tests;

pub use acl::{Acl, AclError};
pub use config::{BrokerConfig, User};
pub use event::{Event, Password, Reason, RetainedMessage, Stats};

use crate::{
    Capacity, Duration, Handled, Input, Instant, Machine, Misuse, Output, Peer, Rng,
    mqtt::{
        ConnectReturnCode, Error, QoS,
        packet::MAX_REMAINING,
        topic::{self, valid_filter, valid_name},
    },
    time::Clock,
    timer::earliest,
};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    vec::Vec,
};
use bytes::Bytes;
use connection::Connection;
use journal::Journal;
pub use journal::Restored;
use retained::{Retained, Step, Walk};
use session::Session;
use subscriptions::Subscriptions;

/// Names a session; never used twice.
type SessionKey = u64;

/// Steps that a search for retained messages takes in one call at the most.
const STEPS: usize = 1_024;

/// When such a search that found nothing goes on.
const PAUSE: Duration = Duration::from_millis(1);

/// Time-outs that happen in one call at the most.
const EXPIRED: usize = 64;

/// An application message, as all sessions share it.
#[derive(Debug)]
struct Message {
    topic: Arc<str>,
    payload: Bytes,
    qos: QoS,
    /// Its place in the order in which messages came.
    serial: u64,
}

impl Message {
    fn size(&self) -> usize {
        self.topic.len().saturating_add(self.payload.len())
    }

    /// It is made again and again, and not recorded.
    fn is_passing(&self) -> bool {
        self.qos == QoS::AtMostOnce && self.topic.starts_with("$SYS/broker/")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Connection(Peer),
    Session(SessionKey),
    Sys,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Broker {
    config: BrokerConfig,
    clock: Clock,
    rng: Rng,
    connections: BTreeMap<Peer, Connection>,
    sessions: BTreeMap<SessionKey, Session>,
    clients: BTreeMap<Arc<str>, SessionKey>,
    last_session: SessionKey,
    subscriptions: Subscriptions,
    retained: Retained,
    journal: Journal,
    /// Numbers messages.
    serial: u64,
    /// Whose turn it is to send.
    ready: VecDeque<Peer>,
    alarms: BTreeSet<(Instant, Alarm)>,
    sys_is_armed: bool,
    /// When a search goes on that took too long for one call.
    resume: Option<Instant>,
    stats: Stats,
}

/// What one turn of output came to.
enum Turn {
    Sent(Peer, usize),
    Told(Event),
    NoRoom,
    Idle,
}

impl Broker {
    /// A broker without connections. `seed` determines the client identifiers it makes up and how it
    /// hashes; take a random one where peers are not trusted.
    #[must_use]
    pub fn new(config: BrokerConfig, seed: u64) -> Self {
        let retained = Retained::new(config.max_retained, config.max_retained_bytes);
        let mut rng = Rng::new(seed);
        let subscriptions = Subscriptions::new((rng.next_u64(), rng.next_u64()));
        let journal = Journal::new(config.persistent);
        Self {
            config,
            journal,
            clock: Clock::START,
            rng,
            connections: BTreeMap::new(),
            sessions: BTreeMap::new(),
            clients: BTreeMap::new(),
            last_session: 0,
            subscriptions,
            retained,
            serial: 0,
            ready: VecDeque::new(),
            alarms: BTreeSet::new(),
            sys_is_armed: false,
            resume: None,
            stats: Stats::default(),
        }
    }

    // ---- getters

    /// What it may take.
    #[must_use]
    pub const fn config(&self) -> &BrokerConfig {
        &self.config
    }

    /// What it holds and has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (mut queued, mut queued_bytes, mut connected) = (0_usize, 0_usize, 0_usize);
        for session in self.sessions.values() {
            let (messages, bytes) = session.queued();
            queued = queued.saturating_add(messages);
            queued_bytes = queued_bytes.saturating_add(bytes);
            connected = connected.saturating_add(usize::from(session.peer.is_some()));
        }
        Stats {
            connections: self.connections.len(),
            connected,
            sessions: self.sessions.len(),
            subscriptions: self.subscriptions.len(),
            retained: self.retained.len(),
            retained_bytes: self.retained.bytes(),
            queued,
            queued_bytes,
            ..self.stats
        }
    }

    /// The retained messages whose topics match `filter`, in the order of their topics; none if it is not valid.
    pub fn retained(&self, filter: &str) -> impl Iterator<Item = RetainedMessage<'_>> {
        let mut walk = valid_filter(filter).then(|| Walk::new(filter.into(), u64::MAX));
        core::iter::from_fn(move || {
            loop {
                match self.retained.step(walk.as_mut()?) {
                    Step::Passed => {}
                    Step::Over => return None,
                    Step::Found(message) => {
                        let Message { topic, payload, qos, .. } = &**message;
                        return Some(RetainedMessage { topic, payload, qos: *qos });
                    }
                }
            }
        })
    }

    // ---- commands

    /// A connection was accepted. It has [`BrokerConfig::connect_timeout`] to bring its CONNECT.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: that peer is known already. [`Capacity::Peers`]: as many connections as there may be;
    /// close this one.
    pub fn accept(&mut self, now: Instant, peer: Peer) -> Result<(), Error> {
        let now = self.clock.advance(now);
        self.open(now, peer)?;
        if !self.sys_is_armed && self.config.sys_interval.is_some() {
            self.sys_is_armed = true;
            self.alarms.insert((now, Alarm::Sys));
        }
        Ok(())
    }

    /// A connection is gone, without a DISCONNECT unless one was read from it: its will is published
    /// (`[MQTT-3.1.2-8]`). Nothing more is told of this peer, and its number may be used again. Nothing happens when
    /// it is not known.
    pub fn connection_lost(&mut self, now: Instant, peer: Peer) {
        let now = self.clock.advance(now);
        self.forget(now, peer);
    }

    /// Ends a connection from this side; its will is published. [`Event::Close`] follows.
    ///
    /// # Errors
    /// [`Misuse::UnknownId`]: no such peer.
    pub fn disconnect(&mut self, now: Instant, peer: Peer) -> Result<(), Error> {
        let now = self.clock.advance(now);
        if !self.connections.contains_key(&peer) {
            return Err(Misuse::UnknownId.into());
        }
        self.close(now, peer, Reason::Host);
        Ok(())
    }

    /// Lets the client in that [`Event::Authenticate`] told of. `acl` says what it may publish and subscribe to; without
    /// it [`BrokerConfig::acl`] does. What came of that peer and was not consumed is to be offered again.
    ///
    /// # Errors
    /// [`Misuse::UnknownId`]: no such peer. [`Misuse::WrongState`]: the host was not asked about it.
    pub fn allow(&mut self, now: Instant, peer: Peer, acl: Option<Arc<Acl>>) -> Result<(), Error> {
        let now = self.clock.advance(now);
        let request = self.answered(peer)?;
        self.admit(now, peer, request, acl);
        Ok(())
    }

    /// Answers the client that [`Event::Authenticate`] told of by `code`, usually
    /// [`BadUserNameOrPassword`](ConnectReturnCode::BadUserNameOrPassword) or
    /// [`NotAuthorized`](ConnectReturnCode::NotAuthorized).
    ///
    /// # Errors
    /// As of [`allow`](Self::allow); [`Misuse::OutOfRange`]: `code` is no refusal.
    pub fn deny(&mut self, now: Instant, peer: Peer, code: ConnectReturnCode) -> Result<(), Error> {
        let now = self.clock.advance(now);
        if code == ConnectReturnCode::Accepted {
            return Err(Misuse::OutOfRange.into());
        }
        self.answered(peer)?;
        self.refuse(now, peer, code, Reason::Refused(code));
        Ok(())
    }

    /// This peer's stream takes no more for now: nothing is transmitted to it until [`resume`](Self::resume).
    /// Its messages wait in its session, within bounds. Nothing happens when the peer is not known.
    pub fn pause(&mut self, peer: Peer) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.is_paused = true;
        }
    }

    /// This peer's stream takes bytes again.
    pub fn resume(&mut self, peer: Peer) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.is_paused = false;
            self.wake(peer);
        }
    }

    /// The host publishes a message; to how many sessions it went. Topics that start with `$` are the host's alone.
    ///
    /// # Errors
    /// [`Misuse::InvalidTopic`]; [`Misuse::OutOfRange`]: a payload too long for any packet;
    /// [`Capacity::Retained`]: `retain`, and there is no room for it.
    pub fn publish(
        &mut self,
        now: Instant,
        topic: &str,
        payload: impl Into<Bytes>,
        qos: QoS,
        retain: bool,
    ) -> Result<usize, Error> {
        self.clock.advance(now);
        let payload = payload.into();
        if !valid_name(topic) {
            return Err(Misuse::InvalidTopic.into());
        }
        // The most that a variable header takes is allowed for.
        let size = payload.len().saturating_add(topic::MAX_LEN).saturating_add(4);
        if u32::try_from(size).map_or(true, |size| size > MAX_REMAINING) {
            return Err(Misuse::OutOfRange.into());
        }
        let message = self.message(topic.into(), payload, qos);
        if retain {
            if !self.retained.retain(&message) {
                return Err(Capacity::Retained.into());
            }
            self.journal.retained(&message.topic);
        }
        Ok(self.route(&message))
    }

    // ---- input, time, output

    /// Takes in bytes of a connection, a packet or part of a payload a call; all events come through
    /// [`poll_output`](Self::poll_output).
    ///
    /// # Errors
    /// [`Error::Peer`]: the client broke the protocol. Its will is published, its other bytes are of no interest, and
    /// [`Event::Close`] follows. [`Error::Misuse`], [`Misuse::UnknownId`]: no such peer.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) -> Result<Handled<Event>, Error> {
        let now = self.clock.advance(now);
        let Input { peer, bytes } = input;
        let Some(connection) = self.connections.get(&peer) else { return Err(Misuse::UnknownId.into()) };
        if matches!(connection.phase, connection::Phase::Closing(_)) {
            // [MQTT-3.1.4-5], [MQTT-3.14.4-2]
            return Ok(Handled::quiet(bytes.len()));
        }
        match self.take(now, peer, bytes) {
            Err(Error::Peer(violation)) => {
                self.violated(now, peer, violation);
                Err(Error::Peer(violation))
            }
            Err(Error::Capacity(capacity)) => {
                self.close(now, peer, Reason::Capacity(capacity));
                Ok(Handled::quiet(bytes.len()))
            }
            other => other,
        }
    }

    /// Lets time-outs happen: missing CONNECTs, silent clients, sessions to be forgotten.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        self.expire(now, EXPIRED);
    }

    /// The next bytes to be sent, or the next event. `out` may be of any size but 0; a few KiB are sensible.
    pub fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, Event> {
        let now = self.clock.advance(now);
        match self.turn(now, out) {
            Turn::Sent(peer, n) => Output::Transmit { peer, bytes: out.get(..n).unwrap_or_default() },
            Turn::Told(event) => Output::Event(event),
            Turn::NoRoom => Output::BufferTooSmall { needed: 1 },
            Turn::Idle => Output::Timeout(self.next_timeout()),
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), at the latest.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        earliest(self.alarms.first().map(|(at, _)| *at), self.resume)
    }

    fn turn(&mut self, now: Instant, out: &mut [u8]) -> Turn {
        let mut budget = STEPS;
        // Who could not go on because the budget was used up. The others are not kept waiting by that.
        let mut tired = Vec::new();
        let turn = loop {
            if let Some(peer) = self.ready.pop_front() {
                match self.turn_of(now, peer, out, &mut budget) {
                    Some(turn) => break turn,
                    None if budget == 0 && self.is_searching(peer) => tired.push(peer),
                    None => {}
                }
            } else if self.alarms.first().is_none_or(|(at, _)| *at > now) {
                match self.record() {
                    Some(event) => break Turn::Told(event),
                    None if self.ready.is_empty() => break Turn::Idle,
                    None => {}
                }
            } else {
                // What is due has to happen before a deadline is given, which lies in the future.
                self.expire(now, 1);
            }
        };
        self.resume = (matches!(turn, Turn::Idle) && !tired.is_empty()).then(|| now.after(PAUSE));
        for peer in tired {
            self.wake(peer);
        }
        turn
    }

    fn is_searching(&self, peer: Peer) -> bool {
        let connection = self.connections.get(&peer).filter(|connection| !connection.is_paused);
        let key = connection.and_then(|connection| connection.session);
        key.and_then(|key| self.sessions.get(&key)).is_some_and(Session::is_searching)
    }

    /// What `peer` has to tell or to send, if anything.
    fn turn_of(&mut self, now: Instant, peer: Peer, out: &mut [u8], budget: &mut usize) -> Option<Turn> {
        self.connections.get_mut(&peer)?.is_ready = false;
        if let Some(event) = self.untold(peer) {
            self.wake(peer);
            return Some(Turn::Told(event));
        }
        let connection = self.connections.get_mut(&peer)?;
        let mut filled = 0;
        if !connection.is_paused {
            let mut session = connection.session.and_then(|key| self.sessions.get_mut(&key));
            let (config, retained, stats) = (&self.config, &self.retained, &mut self.stats);
            let stage = self.journal.stage();
            let mut more = || {
                let session = session.as_mut()?;
                session.refill(config, retained, budget);
                let outgoing = session.next(config, stage)?;
                stats.sent = stats.sent.wrapping_add(1);
                Some(outgoing)
            };
            if out.is_empty() && connection.has_output(stage, &mut more) {
                self.ready.push_front(peer);
                connection.is_ready = true;
                return Some(Turn::NoRoom);
            }
            filled = connection.fill(out, stage, more);
        }
        if filled == 0 {
            let stage = self.journal.stage();
            let session = connection.session.and_then(|key| self.sessions.get(&key));
            if connection.is_barred(stage) {
                self.journal.waiting.insert(peer);
                return None;
            }
            if session.is_some_and(|session| session.is_barred(stage)) {
                self.journal.waiting.insert(peer);
            }
            return self.closed(now, peer).map(Turn::Told);
        }
        // Its turn comes again after the others', until there is nothing left.
        self.wake(peer);
        Some(Turn::Sent(peer, filled))
    }

    /// Gives `peer` a turn.
    fn wake(&mut self, peer: Peer) {
        if let Some(connection) = self.connections.get_mut(&peer)
            && !connection.is_ready
        {
            connection.is_ready = true;
            self.ready.push_back(peer);
        }
    }

    fn arm_sys(&mut self, now: Instant) {
        if let Some(interval) = self.config.sys_interval {
            self.alarms.insert((now.after(interval.max(PAUSE)), Alarm::Sys));
        }
    }
}

impl Machine for Broker {
    type Event<'a> = Event;
    type Error = Error;

    fn handle_input<'i>(&mut self, now: Instant, input: Input<'i>) -> Result<Handled<Event>, Error> {
        Self::handle_input(self, now, input)
    }

    fn handle_timeout(&mut self, now: Instant) {
        Self::handle_timeout(self, now);
    }

    fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, Event> {
        Self::poll_output(self, now, out)
    }

    fn next_timeout(&self) -> Option<Instant> {
        Self::next_timeout(self)
    }
}
