//! Every transition of a request of ours and of a message under way.
//!
//! The flow of a request ([`Transfer`]):
//!
//! 1. `request` opens it: **Sending** where there is a body, **Wanting** where the host gives the body block by block,
//!    **Receiving** where there is none.
//! 2. Wanting: the host is asked (`BodyWanted`) and gives the block: Sending.
//! 3. Sending: the block is on its way (Block1). 2.31 Continue: the next one, Sending or Wanting. 4.13 with a smaller size
//!    on the first: from the beginning with that. Any other response is the final one and goes to 4.
//! 4. Receiving: the first block (Block2) fixes version and size of blocks; from then on as many are under way as the window
//!    has places, and each is told as it arrives. One that the host has not said to be ready after (`advance`) keeps its place.
//!    A smaller block than asked for: the rest of its place is asked for. An error beyond a block that is under way: the body may
//!    end before it. 4.29, 5.03: the window waits for Max-Age.
//! 5. All blocks up to the last are told: over, or **Observing** where the resource is being observed.
//! 6. Observing: a notification, or Max-Age running out and a new registration, goes to 4 from the beginning.
//! 7. `cancel` of an observation: **Leaving** until the deregistration is answered or given up.
//! 8. No answer, RST, another version, nonsense: **Failed** until it has been told.
//!
//! The flow of a message that awaits an answer ([`Flight`]): **Ready** to be sent → **Waiting** for its acknowledgement, back to Ready
//! whenever that takes too long → **Acknowledged**, its response awaited. A response or a reset ends it at any point.
//!
//! What a transfer wants is a flight for `due`, or flights for all between `position` and its bound; each flight knows its own
//! place in the body. How many it has at a time is decided in one place ([`Endpoint::launch`]) only, and when they go
//! in another ([`Endpoint::may_fly`]).

use super::{
    block::{self, Block},
    code::Code,
    config::Stats,
    congestion::{self, Cocoa, Path, Policy},
    endpoint::{Endpoint, micros, tag},
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
    Observing,
    Leaving,
    Failed(Failure),
}

/// A request of ours. Part of [`Resources`](super::Resources).
#[derive(Debug, Clone, Copy)]
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
    /// Goes to a group: answered by many.
    pub(super) group: bool,
    /// To be registered as an observation by the next flight from the beginning.
    pub(super) register: bool,
    /// Registered as an observation.
    pub(super) observed: bool,
    /// The host said which version it must be.
    bound: bool,
    /// The first block has come.
    pub(super) opened: bool,
    /// The last block has come.
    pub(super) ended: bool,
    /// Size exponents of Block2 and of Block1.
    pub(super) szx: u8,
    pub(super) szx1: u8,
    /// Size exponent of the places in the body that flights are for.
    span: u8,
    /// Blocks told that the host is not ready after.
    held: u8,
    /// How often in a row the server asked for a pause.
    pauses: u8,
    /// The token of the first request and of the notifications.
    pub(super) token: u32,
    /// Where the next block begins that was never asked for: of the body sent while sending, of the response then.
    pub(super) position: u32,
    /// The end of the blocks told.
    reach: u32,
    /// Nothing from here on is asked for: the body may end here.
    limit: u32,
    /// Nor from here on: the host wants no more.
    until: u32,
    /// Bytes of the body sent.
    pub(super) body: u32,
    pub(super) total: Option<u32>,
    pub(super) etag: Option<ETag>,
    sequence: u32,
    heard: Instant,
    refresh: Option<Instant>,
    pub(super) path: Path,
}

impl Default for Transfer {
    fn default() -> Self {
        Self::EMPTY
    }
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
        group: false,
        register: false,
        observed: false,
        bound: false,
        opened: false,
        ended: false,
        szx: 0,
        szx1: 0,
        span: 0,
        held: 0,
        pauses: 0,
        token: 0,
        position: 0,
        reach: 0,
        limit: u32::MAX,
        until: u32::MAX,
        body: 0,
        total: None,
        etag: None,
        sequence: 0,
        heard: Instant::ZERO,
        refresh: None,
        path: Path::Standard,
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
    pub(super) fn open(&mut self, peer: Peer, request: &Request<'_>, body: u32, szx: u8, token: u32, policy: Policy) {
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
            until: request.until,
            etag: request.etag,
            path: Path::new(policy, request.window),
            ..Self::EMPTY
        };
    }

    /// Whether the server is to say how long the body is: it is the first request of a window.
    pub(super) fn asks_size(&self) -> bool {
        self.phase == Phase::Receiving && !self.opened && matches!(self.path, Path::Windowed(_))
    }

    /// The place behind the last one that is to be asked for.
    fn bound(&self) -> u32 {
        self.limit.min(self.until)
    }

    /// Whether it could do with a flight more than the `own` that it has.
    fn wants(&self, own: usize) -> bool {
        if self.due {
            return own == 0;
        }
        let fetching = self.phase == Phase::Receiving && self.opened && self.position < self.bound();
        fetching && own.saturating_add(self.held.into()) < self.window()
    }

    /// How many flights it may have.
    fn window(&self) -> usize {
        match &self.path {
            Path::Windowed(window) if self.opened => window.size().into(),
            _ => 1,
        }
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
        // [RFC7959-3.2-1]
        self.szx1 = self.szx1.min(block.szx);
        self.position = next;
        self.phase = if self.streamed { Phase::Wanting { asked: false } } else { Phase::Sending };
        self.due = !self.streamed;
        true
    }

    /// 4. The host is ready for another block. Whether that was awaited.
    pub(super) fn advance(&mut self) -> bool {
        let held = self.held;
        self.held = held.saturating_sub(1);
        held != 0 && self.phase == Phase::Receiving
    }

    /// 4. From the beginning: there is a version that was not seen yet.
    fn restart(&mut self) {
        self.phase = Phase::Receiving;
        self.position = 0;
        self.due = true;
        self.close_window();
    }

    /// 4. Nothing is known of the representation that comes next.
    fn close_window(&mut self) {
        (self.opened, self.ended, self.held, self.reach, self.limit) = (false, false, 0, 0, u32::MAX);
    }

    /// 4. A block of the body, `next` being the place behind it. Whether it belongs to the others.
    fn take_block(&mut self, next: u32, more: bool, szx: u8, size: Option<u32>) -> bool {
        if !self.opened {
            self.opened = true;
            self.span = szx;
            self.position = next;
            self.total = size;
            self.limit = size.unwrap_or(u32::MAX);
        }
        self.szx = szx;
        self.reach = self.reach.max(next);
        self.pauses = 0;
        if !more {
            self.ended = true;
            self.total = Some(next);
            self.limit = next;
        }
        self.reach <= self.limit || !self.ended
    }

    /// 4, with nothing under way: whether all that was wanted has been told. A size that the server told is a hint, and an error
    /// beyond another block may have been a block's own: what seemed to be behind the end is asked for now.
    fn is_complete(&mut self) -> bool {
        let complete = self.ended || self.position >= self.until;
        if !complete && self.position >= self.limit {
            self.limit = u32::MAX;
        }
        complete
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
        // [RFC7641-3.4-1]
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
    /// When it was sent for the first time.
    since: congestion::Tick,
    /// Microseconds until it is sent again.
    timeout: u32,
    /// When it is sent again; of a window's, when it was sent.
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
        since: 0,
        timeout: 0,
        at: Instant::ZERO,
    };

    /// A CON of no transfer's.
    pub(super) const fn to(peer: Peer) -> Self {
        Self { peer, confirmable: true, ..Self::EMPTY }
    }

    /// Whether it is a transfer's.
    fn is_of(&self, transfer: usize) -> bool {
        matches!(self.owner, Owner::Transfer(t) if usize::from(t) == transfer)
    }

    /// Whether it counts for NSTART (RFC 7252 §4.7).
    pub(super) fn is_outstanding(&self) -> bool {
        match self.owner {
            Owner::Nobody | Owner::Pinged(_) => false,
            _ => self.stage == Stage::Waiting || (self.stage == Stage::Ready && self.tries != 0),
        }
    }
}

/// 4.29 Too Many Requests (RFC 8516).
const TOO_MANY_REQUESTS: Code = Code::new(4, 29);
/// How often a block is asked for at most while others arrive.
const MOST_TRIES: u8 = 60;

impl<'a> Endpoint<'a> {
    /// Lets transfers that want flights have them, where there are free places.
    pub(super) fn launch(&mut self) {
        // An eighth of the places is for what else there is; the others are shared by those that fetch.
        let busy = self.transfers.iter().filter(|t| !matches!(t.phase, Phase::Free | Phase::Observing)).count();
        let places = self.flights.len().saturating_sub(self.flights.len() >> 3);
        let share = places.checked_div(busy).unwrap_or(0).max(1);
        for index in 0..self.transfers.len() {
            while self.transfers.get(index).is_some_and(|t| t.phase != Phase::Free && t.wants(0)) {
                let own = self.flights.iter().filter(|f| f.is_of(index)).count();
                let Some(&t) = self.transfers.get(index).filter(|t| own < share && t.wants(own)) else { break };
                let named = t.register || t.phase == Phase::Leaving;
                let token = if named { t.token } else { self.rng.next_u32() };
                // [RFC7959-2.7-1]
                let offset = if named { 0 } else { t.position };
                let flight = Flight { peer: t.peer, confirmable: t.confirmable, token, offset, ..Flight::EMPTY };
                if !self.take_off(Owner::Transfer(u16::try_from(index).unwrap_or(u16::MAX)), flight) {
                    return;
                }
                if let Some(t) = self.transfers.get_mut(index) {
                    if !t.due {
                        t.position = offset.saturating_add(block::size(t.span));
                    }
                    t.due = false;
                }
            }
        }
    }

    /// The window that a flight belongs to.
    fn window_of(&self, flight: &Flight) -> Option<&congestion::Window> {
        let Owner::Transfer(index) = flight.owner else { return None };
        match self.transfers.get(usize::from(index)) {
            Some(Transfer { opened: true, path: Path::Windowed(window), .. }) => Some(window),
            _ => None,
        }
    }

    /// Whether a flight is ready, and NSTART (RFC 7252 §4.7), or its window, lets it go. None: not before the instant given.
    pub(super) fn may_fly(&self, now: Instant, index: usize) -> Result<(), Option<Instant>> {
        let f = self.flights.get(index).ok_or(None)?;
        if f.stage != Stage::Ready || matches!(f.owner, Owner::Nobody | Owner::Pinged(_)) {
            return Err(None);
        }
        let free = match self.window_of(f) {
            Some(window) => {
                let next = window.next();
                let out = self.flights.iter().filter(|o| o.owner == f.owner && o.stage != Stage::Ready).count();
                if out < usize::from(window.size()) && next > now {
                    return Err(Some(next));
                }
                out < usize::from(window.size())
            }
            // One that is sent again has its place already.
            None if f.tries != 0 => true,
            None => {
                // [RFC7252-4.7-1] [RFC7641-4.5.1-1]
                let counts = |o: &&Flight| o.peer == f.peer && o.is_outstanding() && self.window_of(o).is_none();
                self.flights.iter().filter(counts).count() < usize::from(self.config.nstart.max(1))
            }
        };
        free.then_some(()).ok_or(None)
    }

    /// Ready → Waiting: a flight has been sent.
    pub(super) fn sent(&mut self, now: Instant, index: usize) {
        let spread = u64::from(self.rng.next_u32());
        let response = self.config.response_timeout;
        let [least, jitter] = [micros(self.config.ack_timeout, 1_000), micros(self.config.ack_jitter, 0)];
        let part = |whole: u32| u32::try_from(spread.wrapping_mul(u64::from(whole)) >> 32).unwrap_or(0);
        let tick = congestion::tick(now);
        let Some(f) = self.flights.get_mut(index) else { return };
        let transfer = match f.owner {
            Owner::Transfer(index) => self.transfers.get_mut(usize::from(index)),
            _ => None,
        };
        f.stage = Stage::Waiting;
        let mut windowed = false;
        let mut next = f.timeout.saturating_mul(2);
        let mut first = least.saturating_add(part(jitter));
        match transfer {
            Some(Transfer { path: Path::Windowed(window), opened, .. }) => {
                windowed = *opened;
                if !windowed && f.tries == 0 {
                    window.begin(now);
                }
                window.sent(now);
            }
            Some(Transfer { path: Path::Cocoa(cocoa), .. }) => {
                let timeout = cocoa.first(tick, least >> 6) << 6;
                first = timeout.saturating_add(part(timeout >> 1));
                next = Cocoa::next(f.timeout >> 6) << 6;
            }
            _ => {}
        }
        if f.tries == 0 {
            f.since = tick;
        }
        // [RFC7252-4.2-5] [RFC7252-4.8.1-2]
        f.timeout = if f.tries == 0 { first } else { next };
        f.tries = f.tries.saturating_add(1);
        f.at = now;
        if windowed {
            return;
        }
        f.at = now.after(if f.confirmable { Duration::from_micros(u64::from(f.timeout)) } else { response });
    }

    /// When a flight's time is over.
    fn deadline(&self, f: &Flight) -> Option<Instant> {
        if f.owner == Owner::Nobody || f.stage == Stage::Ready {
            return None;
        }
        match self.window_of(f).filter(|_| f.stage == Stage::Waiting) {
            Some(window) => Some(window.deadline(f.at, self.first_timeout()).0),
            None => Some(f.at),
        }
    }

    fn first_timeout(&self) -> congestion::Tick {
        congestion::ticks(self.config.ack_timeout)
    }

    /// When the next flight may go, or has to be sent again.
    pub(super) fn next_flight_at(&self) -> Option<Instant> {
        let now = self.clock.now();
        let at = |(index, f): (usize, &Flight)| self.deadline(f).or_else(|| self.may_fly(now, index).err().flatten());
        self.flights.iter().enumerate().filter_map(at).min()
    }

    /// A flight was answered or acknowledged for the first time: what that says of the path.
    fn measure(&mut self, now: Instant, flight: usize) {
        let Some(&f) = self.flights.get(flight).filter(|f| f.stage != Stage::Acknowledged) else { return };
        let out = self.flights.iter().filter(|o| o.owner == f.owner && o.stage != Stage::Ready).count();
        let (tick, standard) = (congestion::tick(now), self.first_timeout());
        let Owner::Transfer(index) = f.owner else { return };
        let Some(t) = self.transfers.get_mut(usize::from(index)) else { return };
        let (filled, opened) = (out >= t.window(), t.opened);
        let rtt = tick.wrapping_sub(f.since);
        match &mut t.path {
            Path::Standard => {}
            Path::Cocoa(cocoa) => cocoa.answered(tick, rtt, f.tries, standard),
            Path::Windowed(window) if opened => {
                window.answered(now, f.at, congestion::ticks(now.since(f.at)), f.tries, filled);
            }
            Path::Windowed(window) => window.answered(now, Instant::ZERO, rtt, f.tries, filled),
        }
    }

    /// Gives a message a message ID and a place among the flights. False: there is none.
    pub(super) fn take_off(&mut self, owner: Owner, flight: Flight) -> bool {
        let mid = self.mid;
        let Some(place) = self.flights.iter_mut().find(|f| f.owner == Owner::Nobody) else { return false };
        // [RFC7252-4.4-2]
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

    /// Ends the flights of a transfer that are for what is at `from` or behind it.
    fn ground(&mut self, transfer: usize, from: u32) {
        for index in 0..self.flights.len() {
            if self.flights.get(index).is_some_and(|f| f.is_of(transfer) && f.offset >= from) {
                self.land(index);
            }
        }
    }

    /// The flight that ACK or RST with this message ID answers.
    pub(super) fn find_flight(&self, peer: Peer, mid: u16) -> Option<usize> {
        self.flights.iter().position(|f| {
            // [RFC7252-4.4-3]
            f.mid == mid && f.peer == peer && f.tries != 0 && !matches!(f.owner, Owner::Nobody | Owner::Pinged(_))
        })
    }

    /// An empty ACK arrived (RFC 7252 §4.2): Ready or Waiting → Acknowledged, or over where nothing else follows.
    pub(super) fn on_acknowledged(&mut self, now: Instant, flight: usize) {
        let wait = self.config.response_timeout;
        self.measure(now, flight);
        let Some(f) = self.flights.get_mut(flight).filter(|f| f.confirmable) else { return };
        match f.owner {
            Owner::Transfer(_) if f.stage == Stage::Acknowledged => {}
            Owner::Transfer(_) => {
                f.stage = Stage::Acknowledged;
                f.at = now.after(wait);
            }
            Owner::Observer(observer) => {
                self.land(flight);
                self.notified(now, usize::from(observer), true);
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

    /// Time passes for the flights: sent again after twice the time, or given up (§4.2). Those of a window go by their path.
    pub(super) fn expire_flights(&mut self, now: Instant) {
        let most = self.config.max_retransmit.min(16);
        for index in 0..self.flights.len() {
            let Some(&f) = self.flights.get(index).filter(|f| self.deadline(f).is_some_and(|at| at <= now)) else {
                continue;
            };
            if matches!(f.owner, Owner::Pinged(_)) {
                continue;
            }
            if f.stage == Stage::Waiting && self.window_of(&f).is_some() {
                self.lose(now, index, &f, most);
            } else if f.stage == Stage::Waiting && f.confirmable && f.tries <= most {
                let late = self.is_late(now, &f, most);
                if let Some(f) = self.flights.get_mut(index) {
                    f.stage = Stage::Ready;
                    if late {
                        f.stage = Stage::Waiting;
                        f.tries = most.saturating_add(1);
                        f.at = now.after(Duration::from_micros(u64::from(f.timeout)));
                    }
                }
            } else {
                self.on_lost(index, Failure::Timeout);
            }
        }
    }

    /// Whether MAX_TRANSMIT_SPAN (§4.8.2) is over since a flight went out first: a host that slept has missed its chance to
    /// send it again, and may still be answered. [RFC7252-4.2-6]
    fn is_late(&self, now: Instant, f: &Flight, most: u8) -> bool {
        let Owner::Transfer(index) = f.owner else { return self.is_over(now, f, most) };
        let standard = self.transfers.get(usize::from(index)).is_some_and(|t| matches!(t.path, Path::Standard));
        standard && self.is_over(now, f, most)
    }

    fn is_over(&self, now: Instant, f: &Flight, most: u8) -> bool {
        let first =
            congestion::ticks(self.config.ack_timeout).saturating_add(congestion::ticks(self.config.ack_jitter));
        let doublings = 1_u32.checked_shl(u32::from(most)).unwrap_or(u32::MAX).saturating_sub(1);
        congestion::tick(now).wrapping_sub(f.since) > first.saturating_mul(doublings)
    }

    /// A flight of a window is lost: Waiting → Ready. Where that is known by silence, so are all that have had a round trip; and
    /// after MAX_TRANSMIT_WAIT (§4.8.2) of silence the transfer is.
    fn lose(&mut self, now: Instant, index: usize, f: &Flight, most: u8) {
        let first = self.first_timeout();
        let Owner::Transfer(transfer) = f.owner else { return };
        let Some(Path::Windowed(window)) = self.transfers.get_mut(usize::from(transfer)).map(|t| &mut t.path) else {
            return;
        };
        let (_, silent) = window.deadline(f.at, first);
        if silent {
            window.silent(now);
            let window = *window;
            let wait = self.config.ack_timeout.plus(self.config.ack_jitter).times((2_u64 << most).saturating_sub(1));
            if window.silences() > most && now.since(window.heard()) >= wait {
                return self.on_lost(index, Failure::Timeout);
            }
            let late =
                |o: &&mut Flight| o.owner == f.owner && o.stage == Stage::Waiting && window.had_round_trip(now, o.at);
            self.flights.iter_mut().filter(late).for_each(|f| f.stage = Stage::Ready);
        } else {
            window.lost(now, f.at);
        }
        if let Some(f) = self.flights.get_mut(index) {
            f.stage = Stage::Ready;
        }
        if f.tries >= MOST_TRIES {
            self.on_lost(index, Failure::Timeout);
        }
    }

    /// A message of a window that was sent again as often as may be, or a NON, goes on as another message.
    pub(super) fn renew(&mut self, index: usize) {
        let often = self.config.max_retransmit.saturating_add(1);
        let mid = self.mid;
        let windowed = self.flights.get(index).is_some_and(|f| self.window_of(f).is_some());
        let again = |f: &&mut Flight| f.tries != 0 && (!f.confirmable || f.tries.checked_rem(often) == Some(0));
        if let Some(f) = self.flights.get_mut(index).filter(again).filter(|_| windowed) {
            f.mid = mid;
            self.mid = mid.wrapping_add(1);
        }
    }

    /// Any → Failed; Leaving → Free.
    fn fail(&mut self, transfer: usize, reason: Failure) {
        self.ground(transfer, 0);
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
        self.ground(transfer, 0);
        self.arena.remove(tag::REQUEST.of(transfer));
        self.arena.remove(tag::BODY.of(transfer));
        self.arena.remove(tag::ECHO.of(transfer));
        if let Some(t) = self.transfers.get_mut(transfer) {
            *t = Transfer { generation: t.generation, ..Transfer::EMPTY };
        }
    }

    /// 7. Observing → Leaving; all else is over at once.
    pub(super) fn leave(&mut self, transfer: usize) {
        self.ground(transfer, 0);
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
        let live = |t: &Transfer| t.observed && matches!(t.phase, Phase::Receiving | Phase::Observing);
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
        if option::not_understood_in_response(options, self.config.understood) {
            Stats::count(&mut self.stats.refused);
            self.fail(transfer, Failure::BadResponse);
            return None;
        }
        if flight.is_some_and(|flight| self.echoes(transfer, flight, message)) {
            return None;
        }
        match flight {
            Some(flight) => self.measure(now, flight),
            None if sequence.is_some_and(|s| self.transfers.get(transfer).is_some_and(|t| !t.is_newer(now, s))) => {
                Stats::count(&mut self.stats.stale);
                return None;
            }
            None => {}
        }
        if let (Some(flight), true) = (flight, code.class() >= 4 || message.payload.is_empty())
            && self.puts_off(now, transfer, flight, message)
        {
            return None;
        }
        match flight.filter(|_| !registering) {
            Some(flight) => self.land(flight),
            None => self.ground(transfer, 0),
        }
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
                t.phase = Phase::Receiving;
                offset = 0;
            }
            _ => {}
        }
        if registering {
            if code != Code::VALID {
                t.close_window();
            }
            if t.register || t.observed {
                t.register = false;
                t.observed = sequence.is_some();
                t.sequence = sequence.unwrap_or(t.sequence);
                t.heard = now;
            }
        }
        let etag = options.get(option::ETAG).and_then(ETag::new);
        let mut over = true;
        let mut told = 0;
        if code.is_success() && code != Code::VALID {
            if !t.opened && !t.bound {
                t.etag = etag;
            // [RFC7959-2.4-6] [RFC7959-2.6-1] [RFC7252-5.10.6-1]
            } else if t.etag.is_some() && t.etag != etag {
                // RFC 7959 §2.4: blocks of two versions must not be put together.
                if t.observed && !t.bound {
                    self.ground(transfer, 0);
                    self.transfers.get_mut(transfer)?.restart();
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
            // [RFC7959-2.3-2] [RFC7959-2.4-3] [RFC7959-2.4-4]
            let szx = t.szx.min(block.szx);
            let beyond = block.more && Block::at(next, false, szx).num > Block::MAX_NUM;
            // [RFC7959-2.3-1]
            if block.offset() != offset || (block.more && len != block.size()) || beyond {
                self.fail(transfer, Failure::BadResponse);
                return None;
            }
            // [RFC7959-4-2]
            if !t.take_block(next, block.more, szx, options.uint(option::SIZE2)) {
                self.fail(transfer, Failure::Changed);
                return None;
            }
            told = offset;
            let part = block.more && next & block::size(t.span).wrapping_sub(1) != 0;
            t.held = t.held.saturating_add(u8::from(t.manual));
            if part {
                // A smaller block than the place that it was for: on with the rest of that.
                let flight = Flight {
                    peer: t.peer,
                    confirmable: t.confirmable,
                    token: self.rng.next_u32(),
                    offset: next,
                    ..Flight::EMPTY
                };
                self.take_off(Owner::Transfer(u16::try_from(transfer).unwrap_or(u16::MAX)), flight);
            } else if !block.more {
                self.ground(transfer, next);
            }
            let more = self.flights.iter().any(|f| f.is_of(transfer));
            over = !more && self.transfers.get_mut(transfer)?.is_complete();
        }
        let t = self.transfers.get_mut(transfer)?;
        let event = Event::Response {
            exchange: t.handle(transfer),
            code,
            options,
            etag,
            observe: t.observed.then_some(t.sequence),
            offset: told,
            total: t.total,
            payload: message.payload,
            last: over,
        };
        if !over {
            t.phase = Phase::Receiving;
        } else if t.observed {
            self.ground(transfer, 0);
            let t = self.transfers.get_mut(transfer)?;
            t.phase = Phase::Observing;
            // RFC 7641 §3.3.1: Max-Age, and 5 to 15 seconds more.
            // [RFC7252-5.4.4-1] [RFC7641-3.3.1-1]
            let age = options.uint(option::MAX_AGE).unwrap_or(60);
            let spread = u64::from(self.rng.next_u32() & 0x7F_FFFF);
            let patience = Duration::from_secs(u64::from(age).saturating_add(5)).plus(Duration::from_micros(spread));
            t.refresh = self.config.reregister.then(|| now.after(patience));
        } else {
            self.close(transfer);
        }
        Some(event)
    }

    /// 4, an error in a window: whether nothing is to be told of it, since the body may end before it, or since the server asks
    /// to be asked later.
    fn puts_off(&mut self, now: Instant, transfer: usize, flight: usize, message: &Message<'_>) -> bool {
        let Some(&Flight { offset, token, .. }) = self.flights.get(flight) else { return false };
        let before = self.flights.iter().any(|f| f.is_of(transfer) && f.offset < offset);
        let new = self.rng.next_u32();
        let mid = self.mid;
        let Some(t) = self.transfers.get_mut(transfer).filter(|t| t.opened && t.token != token) else { return false };
        let Path::Windowed(window) = &mut t.path else { return false };
        let age = message.options.uint(option::MAX_AGE).unwrap_or(60);
        if matches!(message.code, Code::SERVICE_UNAVAILABLE | TOO_MANY_REQUESTS) && age <= 300 && t.pauses < 8 {
            // RFC 7252 §5.9.3.4, RFC 8516.
            t.pauses = t.pauses.saturating_add(1);
            window.pause(now.after(Duration::from_secs(age.into())));
            if let Some(f) = self.flights.get_mut(flight) {
                *f = Flight {
                    peer: f.peer,
                    owner: f.owner,
                    confirmable: f.confirmable,
                    offset,
                    token: new,
                    mid,
                    ..Flight::EMPTY
                };
                self.mid = mid.wrapping_add(1);
            }
            return true;
        }
        if !before || t.ended || t.reach > offset {
            return false;
        }
        t.limit = offset;
        t.position = offset;
        self.ground(transfer, offset);
        true
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
