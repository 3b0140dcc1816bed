//! Every transition of a request of ours and of a message under way.
//!
//! The flow of a request ([`Transfer`]):
//!
//! 1. `request` opens it: **Sending** where there is a body, **Wanting** where the host gives the body block by block,
//!    **Receiving** where there is none.
//! 2. Wanting: the host is asked (`BodyWanted`) and gives the block: Sending.
//! 3. Sending: the block is on its way (Block1). 2.31 Continue: the next one, Sending or Wanting. 4.13 with a smaller size
//!    on the first: from the beginning with that. Any other response is the final one and goes to 4.
//! 4. A response block (Block2) arrives in order and is told. More follow: Receiving again, at once or (**Paused**)
//!    after `advance`.
//! 5. The last block: over, or **Observing** where the resource is being observed.
//! 6. Observing: a notification, or Max-Age running out and a new registration, goes to 4 from the beginning.
//! 7. `cancel` of an observation: **Leaving** until the deregistration is answered or given up.
//! 8. No answer, RST, another version, nonsense: **Failed** until it has been told.
//!
//! The flow of a message that awaits an answer ([`Flight`]): **Ready** to be sent → **Waiting** for its acknowledgement, back to Ready
//! whenever that takes too long → **Acknowledged**, its response awaited. A response or a reset ends it at any point.
//!
//! A transfer asks for a flight by `due`; each flight knows its own place in the body. That a transfer has one at a time is
//! decided in one place ([`Endpoint::launch`]) only.

use super::{
    block::{self, Block},
    config::Stats,
    endpoint::{Endpoint, tag},
    event::{ETag, Event, Exchange, Failure, Flow, Request},
    message::{Message, Token},
    option,
};
use crate::{Duration, Instant, Peer};

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Free,
    Sending,
    Wanting {
        asked: bool,
    },
    Receiving,
    Paused,
    Observing,
    Leaving,
    Failed(Failure),
}

/// A request of ours. Part of [`Resources`](super::Resources).
#[derive(Debug, Default, Clone, Copy)]
pub struct Transfer {
    phase: Phase,
    /// A flight is wanted.
    pub(super) due: bool,
    generation: u16,
    pub(super) peer: Peer,
    pub(super) confirmable: bool,
    manual: bool,
    /// The host gives the body block by block.
    pub(super) streamed: bool,
    /// To be registered as an observation by the next flight from the beginning.
    pub(super) register: bool,
    /// Registered as an observation.
    pub(super) observed: bool,
    /// The host said which version it must be.
    bound: bool,
    /// Size exponents of Block2 and of Block1.
    pub(super) szx: u8,
    pub(super) szx1: u8,
    /// The token of the first request and of the notifications.
    pub(super) token: u32,
    /// Where the next block goes: of the body sent while sending, of the response then.
    pub(super) position: u32,
    /// Bytes of the body sent.
    pub(super) body: u32,
    pub(super) total: Option<u32>,
    pub(super) etag: Option<ETag>,
    sequence: u32,
    heard: Instant,
    refresh: Option<Instant>,
}

impl Transfer {
    /// A free place.
    pub const EMPTY: Self = Self {
        phase: Phase::Free,
        due: false,
        generation: 0,
        peer: Peer(0),
        confirmable: false,
        manual: false,
        streamed: false,
        register: false,
        observed: false,
        bound: false,
        szx: 0,
        szx1: 0,
        token: 0,
        position: 0,
        body: 0,
        total: None,
        etag: None,
        sequence: 0,
        heard: Instant::ZERO,
        refresh: None,
    };

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn handle(&self, index: usize) -> Exchange {
        Exchange::new(u16::try_from(index).unwrap_or(u16::MAX), self.generation)
    }

    /// When an observation is to be registered again.
    pub(super) fn refresh(&self) -> Option<Instant> {
        self.refresh.filter(|_| self.phase == Phase::Observing)
    }

    /// 1.
    pub(super) fn open(&mut self, peer: Peer, request: &Request<'_>, body: u32, szx: u8, token: u32) {
        let streamed = request.payload_len.is_some() && body != 0;
        // A block can only begin at a multiple of its size.
        let fits = u8::try_from(request.offset.trailing_zeros().saturating_sub(4)).unwrap_or(szx);
        *self = Self {
            phase: match (streamed, body) {
                (true, _) => Phase::Wanting { asked: false },
                (false, 0) => Phase::Receiving,
                _ => Phase::Sending,
            },
            due: !streamed,
            generation: self.generation.wrapping_add(1),
            peer,
            confirmable: request.confirmable,
            manual: request.flow == Flow::Manual,
            streamed,
            register: request.observe,
            bound: request.etag.is_some(),
            szx: if request.offset == 0 { szx } else { szx.min(fits) },
            szx1: szx,
            token,
            position: if body == 0 { request.offset } else { 0 },
            body,
            etag: request.etag,
            ..Self::EMPTY
        };
    }

    /// Offset and length of the body block that is wanted or on its way.
    pub(super) fn body_block(&self) -> (u32, u32) {
        (self.position, self.body.saturating_sub(self.position).min(block::size(self.szx1)))
    }

    /// 2. The host has been asked.
    pub(super) fn asked(&mut self) {
        self.phase = Phase::Wanting { asked: true };
    }

    /// 2. The host has given the block.
    pub(super) fn supplied(&mut self) {
        self.phase = Phase::Sending;
        self.due = true;
    }

    /// 3. Whether the response asks for another block of the body.
    fn continues(&mut self, message: &Message<'_>) -> bool {
        let Some(block) = message.options.get(option::BLOCK1).and_then(Block::decode) else { return false };
        let (offset, len) = self.body_block();
        let next = if message.code == super::Code::REQUEST_ENTITY_TOO_LARGE {
            if offset != 0 || block.szx >= self.szx1 {
                return false;
            }
            0
        } else if message.code.is_success() && offset.saturating_add(len) < self.body {
            // RFC 7959 §2.3: a 2.04 here instead of 2.31 says that the block was acted on by itself.
            offset.saturating_add(len)
        } else {
            return false;
        };
        self.szx1 = self.szx1.min(block.szx);
        self.position = next;
        self.phase = if self.streamed { Phase::Wanting { asked: false } } else { Phase::Sending };
        self.due = !self.streamed;
        true
    }

    /// 4. The host is ready for the next block. Whether it was awaited.
    pub(super) fn advance(&mut self) -> bool {
        let paused = self.phase == Phase::Paused;
        if paused {
            self.phase = Phase::Receiving;
            self.due = true;
        }
        paused
    }

    /// 4. From the beginning again: the version changed while an observed representation was being fetched.
    fn restart(&mut self) {
        self.phase = Phase::Receiving;
        self.position = 0;
        self.due = true;
    }

    /// 6. Max-Age is over: register again.
    pub(super) fn reregister(&mut self) {
        self.phase = Phase::Receiving;
        self.due = true;
        self.refresh = None;
        self.register = true;
    }

    /// RFC 7641 §3.4: whether a notification is newer than the last. 128 seconds of silence let any number count as new.
    fn is_newer(&self, now: Instant, sequence: u32) -> bool {
        let ahead = sequence.wrapping_sub(self.sequence) & 0xFF_FFFF;
        (ahead != 0 && ahead < 0x80_0000) || now.since(self.heard) > Duration::from_secs(128)
    }
}

/// Whose a flight is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    #[default]
    Nobody,
    Transfer(u16),
    /// A separate response.
    Response,
    /// A notification to the observer in that place.
    Observer(u16),
    Ping,
    /// A ping that is over: whether it was answered.
    Pinged(bool),
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Ready,
    Waiting,
    Acknowledged,
}

/// A message of ours that awaits an answer. Part of [`Resources`](super::Resources).
#[derive(Debug, Default, Clone, Copy)]
pub struct Flight {
    pub(super) owner: Owner,
    pub(super) stage: Stage,
    pub(super) confirmable: bool,
    /// How often it was sent.
    pub(super) tries: u8,
    pub(super) peer: Peer,
    pub(super) mid: u16,
    pub(super) token: u32,
    /// The place in the body that it carries or asks for.
    pub(super) offset: u32,
    /// Microseconds until it is sent again.
    timeout: u32,
    at: Instant,
}

impl Flight {
    /// A free place.
    pub const EMPTY: Self = Self {
        owner: Owner::Nobody,
        stage: Stage::Ready,
        confirmable: false,
        tries: 0,
        peer: Peer(0),
        mid: 0,
        token: 0,
        offset: 0,
        timeout: 0,
        at: Instant::ZERO,
    };

    /// A CON of no transfer's.
    pub(super) const fn to(peer: Peer) -> Self {
        Self { peer, confirmable: true, ..Self::EMPTY }
    }

    /// When its time is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.owner != Owner::Nobody && self.stage != Stage::Ready).then_some(self.at)
    }

    /// Whether it counts for NSTART (RFC 7252 §4.7).
    pub(super) fn is_outstanding(&self) -> bool {
        match self.owner {
            Owner::Nobody | Owner::Pinged(_) => false,
            _ => self.stage == Stage::Waiting || (self.stage == Stage::Ready && self.tries != 0),
        }
    }

    /// Ready → Waiting: it has been sent. `first` and `response` are the first and the longest time to wait.
    pub(super) fn sent(&mut self, now: Instant, first: u32, response: Duration) {
        self.stage = Stage::Waiting;
        self.timeout = if self.tries == 0 { first } else { self.timeout.saturating_mul(2) };
        self.tries = self.tries.saturating_add(1);
        let wait = if self.confirmable { Duration::from_micros(u64::from(self.timeout)) } else { response };
        self.at = now.after(wait);
    }
}

impl<'a> Endpoint<'a> {
    /// Lets a transfer that wants a flight have one, where there is a free place and none of its own under way.
    pub(super) fn launch(&mut self) {
        for index in 0..self.transfers.len() {
            let owner = Owner::Transfer(u16::try_from(index).unwrap_or(u16::MAX));
            let Some(&t) = self.transfers.get(index) else { return };
            if t.phase == Phase::Free || !t.due || self.flights.iter().any(|f| f.owner == owner) {
                continue;
            }
            let named = t.register || t.phase == Phase::Leaving;
            let token = if named { t.token } else { self.rng.next_u32() };
            let offset = if named { 0 } else { t.position };
            let flight = Flight { peer: t.peer, confirmable: t.confirmable, token, offset, ..Flight::EMPTY };
            if !self.take_off(owner, flight) {
                return;
            }
            if let Some(t) = self.transfers.get_mut(index) {
                t.due = false;
            }
        }
    }

    /// Gives a message a message ID and a place among the flights. False: there is none.
    pub(super) fn take_off(&mut self, owner: Owner, flight: Flight) -> bool {
        let mid = self.mid;
        let Some(place) = self.flights.iter_mut().find(|f| f.owner == Owner::Nobody) else { return false };
        *place = Flight { owner, mid, ..flight };
        self.mid = mid.wrapping_add(1);
        true
    }

    /// Ends a flight whatever its stage.
    pub(super) fn land(&mut self, flight: usize) {
        self.arena.remove(tag::SEPARATE.of(flight));
        if let Some(f) = self.flights.get_mut(flight) {
            *f = Flight::EMPTY;
        }
    }

    /// Ends the flights of a transfer.
    fn ground(&mut self, transfer: usize) {
        for index in 0..self.flights.len() {
            if self
                .flights
                .get(index)
                .is_some_and(|f| matches!(f.owner, Owner::Transfer(t) if usize::from(t) == transfer))
            {
                self.land(index);
            }
        }
    }

    /// The flight that ACK or RST with this message ID answers.
    pub(super) fn find_flight(&self, peer: Peer, mid: u16) -> Option<usize> {
        self.flights.iter().position(|f| {
            f.mid == mid && f.peer == peer && f.tries != 0 && !matches!(f.owner, Owner::Nobody | Owner::Pinged(_))
        })
    }

    /// An empty ACK arrived (RFC 7252 §4.2): Ready or Waiting → Acknowledged, or over where nothing else follows.
    pub(super) fn on_acknowledged(&mut self, now: Instant, flight: usize) {
        let wait = self.config.response_timeout;
        let Some(f) = self.flights.get_mut(flight).filter(|f| f.confirmable) else { return };
        match f.owner {
            Owner::Transfer(_) if f.stage == Stage::Acknowledged => {}
            Owner::Transfer(_) => {
                f.stage = Stage::Acknowledged;
                f.at = now.after(wait);
            }
            Owner::Observer(observer) => {
                self.land(flight);
                self.notified(now, usize::from(observer));
            }
            Owner::Ping => f.owner = Owner::Pinged(true),
            _ => self.land(flight),
        }
    }

    /// RST arrived (§4.2), or time ran out: the flight is over, and what it was for.
    pub(super) fn on_lost(&mut self, flight: usize, reason: Failure) {
        let Some(f) = self.flights.get_mut(flight) else { return };
        match f.owner {
            Owner::Transfer(transfer) => self.fail(usize::from(transfer), reason),
            // §4.3, a ping is answered by a reset.
            Owner::Ping => f.owner = Owner::Pinged(reason == Failure::Reset),
            Owner::Observer(observer) => {
                self.land(flight);
                self.lose_observer(usize::from(observer));
            }
            _ => self.land(flight),
        }
    }

    /// Time passes for the flights: sent again with twice the time, or given up (§4.2).
    pub(super) fn expire_flights(&mut self, now: Instant) {
        let most = self.config.max_retransmit.min(16);
        for index in 0..self.flights.len() {
            let Some(f) = self.flights.get_mut(index).filter(|f| f.deadline().is_some_and(|at| at <= now)) else {
                continue;
            };
            if matches!(f.owner, Owner::Pinged(_)) {
                continue;
            }
            if f.stage == Stage::Waiting && f.confirmable && f.tries <= most {
                f.stage = Stage::Ready;
            } else {
                self.on_lost(index, Failure::Timeout);
            }
        }
    }

    /// Any → Failed; Leaving → Free.
    fn fail(&mut self, transfer: usize, reason: Failure) {
        self.ground(transfer);
        let Some(t) = self.transfers.get_mut(transfer) else { return };
        if t.phase == Phase::Leaving {
            self.close(transfer);
        } else {
            t.phase = Phase::Failed(reason);
            t.due = false;
        }
    }

    /// Any → Free. The place keeps its generation, so that old handles stay invalid.
    pub(super) fn close(&mut self, transfer: usize) {
        self.ground(transfer);
        self.arena.remove(tag::REQUEST.of(transfer));
        self.arena.remove(tag::BODY.of(transfer));
        if let Some(t) = self.transfers.get_mut(transfer) {
            *t = Transfer { generation: t.generation, ..Transfer::EMPTY };
        }
    }

    /// 7. Observing → Leaving; all else is over at once.
    pub(super) fn leave(&mut self, transfer: usize) {
        self.ground(transfer);
        let Some(t) = self.transfers.get_mut(transfer) else { return };
        if t.observed && !matches!(t.phase, Phase::Failed(_)) {
            t.phase = Phase::Leaving;
            t.due = true;
        } else {
            self.close(transfer);
        }
    }

    /// Whose response this is: a flight's, or a notification's.
    pub(super) fn find_response(&self, peer: Peer, token: &Token) -> Option<(usize, Option<usize>)> {
        let token = u32::from_be_bytes(token.as_bytes().try_into().ok()?);
        for (index, f) in self.flights.iter().enumerate() {
            if let (Owner::Transfer(t), true) = (f.owner, f.token == token && f.peer == peer && f.tries != 0) {
                return Some((usize::from(t), Some(index)));
            }
        }
        let live = |t: &Transfer| t.observed && matches!(t.phase, Phase::Receiving | Phase::Paused | Phase::Observing);
        let found = self.transfers.iter().position(|t| live(t) && t.token == token && t.peer == peer)?;
        Some((found, None))
    }

    /// 3 to 6. A response arrived, for a flight of the transfer or as a notification.
    pub(super) fn on_response<'i>(
        &mut self,
        now: Instant,
        transfer: usize,
        flight: Option<usize>,
        message: &Message<'i>,
    ) -> Option<Event<'i>> {
        let options = message.options;
        let code = message.code;
        let sequence =
            options.get(option::OBSERVE).filter(|v| code.is_success() && v.len() <= 3).and_then(option::uint);
        let (registering, mut offset) = match flight.and_then(|f| self.flights.get(f)) {
            Some(f) => (self.transfers.get(transfer).is_some_and(|t| t.token == f.token), f.offset),
            None => (true, 0),
        };
        if option::not_understood(options, self.config.understood) {
            Stats::count(&mut self.stats.refused);
            self.fail(transfer, Failure::BadResponse);
            return None;
        }
        if flight.is_none() {
            let t = self.transfers.get(transfer)?;
            if sequence.is_some_and(|s| !t.is_newer(now, s)) {
                Stats::count(&mut self.stats.stale);
                return None;
            }
        }
        self.ground(transfer);
        let t = self.transfers.get_mut(transfer)?;
        t.due = false;
        match t.phase {
            Phase::Leaving => {
                self.close(transfer);
                return None;
            }
            Phase::Sending => {
                self.arena.remove(tag::BODY.of(transfer));
                if t.continues(message) {
                    return None;
                }
                offset = 0;
            }
            _ => {}
        }
        if registering && (t.register || t.observed) {
            t.register = false;
            t.observed = sequence.is_some();
            t.sequence = sequence.unwrap_or(t.sequence);
            t.heard = now;
        }
        let etag = options.get(option::ETAG).and_then(ETag::new);
        let mut last = true;
        let mut told = 0;
        if code.is_success() && code != super::Code::VALID {
            if offset == 0 && !t.bound {
                t.etag = etag;
                t.total = None;
            } else if t.etag.is_some() && t.etag != etag {
                // RFC 7959 §2.4: blocks of two versions must not be put together.
                if t.observed && !t.bound {
                    t.restart();
                } else {
                    self.fail(transfer, Failure::Changed);
                }
                return None;
            }
            t.etag = etag;
            let len = u32::try_from(message.payload.len()).unwrap_or(u32::MAX);
            let block = match options.get(option::BLOCK2).map(Block::decode) {
                // No block option: all there is, which is only an answer to who asked for the beginning.
                None => Block { szx: t.szx, ..Block::default() },
                Some(Some(block)) => block,
                Some(None) => Block { num: Block::MAX_NUM, ..Block::default() },
            };
            let next = offset.saturating_add(len);
            let szx = t.szx.min(block.szx);
            let beyond = block.more && Block::at(next, false, szx).num > Block::MAX_NUM;
            if block.offset() != offset || (block.more && len != block.size()) || beyond {
                self.fail(transfer, Failure::BadResponse);
                return None;
            }
            last = !block.more;
            told = offset;
            t.szx = szx;
            t.position = next;
            t.total = if last { Some(next) } else { options.uint(option::SIZE2).or(t.total) };
        }
        let event = Event::Response {
            exchange: t.handle(transfer),
            code,
            options,
            etag,
            observe: t.observed.then_some(t.sequence),
            offset: told,
            total: t.total,
            payload: message.payload,
            last,
        };
        if !last {
            t.phase = if t.manual { Phase::Paused } else { Phase::Receiving };
            t.due = !t.manual;
        } else if t.observed {
            t.phase = Phase::Observing;
            // RFC 7641 §3.3.1: Max-Age, and 5 to 15 seconds more.
            let age = options.uint(option::MAX_AGE).unwrap_or(60);
            let spread = u64::from(self.rng.next_u32() & 0x7F_FFFF);
            let patience = Duration::from_secs(u64::from(age).saturating_add(5)).plus(Duration::from_micros(spread));
            t.refresh = self.config.reregister.then(|| now.after(patience));
        } else {
            self.close(transfer);
        }
        Some(event)
    }

    /// The next thing that a transfer has to tell of itself.
    pub(super) fn poll_transfer<'e>(&mut self) -> Option<Event<'e>> {
        for index in 0..self.transfers.len() {
            let t = self.transfers.get_mut(index)?;
            let exchange = t.handle(index);
            match t.phase {
                Phase::Failed(reason) => {
                    self.close(index);
                    return Some(Event::Failed { exchange, reason });
                }
                Phase::Wanting { asked: false } => {
                    t.asked();
                    let (offset, len) = t.body_block();
                    return Some(Event::BodyWanted { exchange, offset, len });
                }
                _ => {}
            }
        }
        for index in 0..self.flights.len() {
            let f = self.flights.get(index)?;
            let peer = f.peer;
            if let Owner::Pinged(answered) = f.owner {
                self.land(index);
                return Some(if answered { Event::Pong { peer } } else { Event::Silent { peer } });
            }
        }
        None
    }
}
