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
//! What a transfer wants is a flight for `due`, or flights for all between `position` and its bound. How many it has at a time is
//! decided in one place ([`Endpoint::launch`]) only.

use super::{
    block::{self, Block},
    code::Code,
    config::Stats,
    congestion::{Path, Policy},
    endpoint::{Endpoint, tag},
    event::{ETag, Event, Exchange, Failure, Flow, Request},
    flight::{Flight, Owner, Stage},
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
    pub(super) phase: Phase,
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
    pub(super) span: u8,
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
    pub(super) fn wants(&self, own: usize) -> bool {
        if self.due {
            return own == 0;
        }
        let fetching = self.phase == Phase::Receiving && self.opened && self.position < self.bound();
        fetching && own.saturating_add(self.held.into()) < self.window()
    }

    /// How many flights it may have.
    pub(super) fn window(&self) -> usize {
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

/// 4.29 Too Many Requests (RFC 8516).
const TOO_MANY_REQUESTS: Code = Code::new(4, 29);

impl Endpoint<'_> {
    /// Any → Failed; Leaving → Free.
    pub(super) fn fail(&mut self, transfer: usize, reason: Failure) {
        if reason == Failure::Timeout {
            self.hush(transfer);
        }
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
        self.hush(transfer);
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
                let flight = Flight::block(t, self.rng.next_u32(), next);
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

    /// 4, an answer that asks for what another block's answer has asked for before, and was given since: whether the block is
    /// asked for again.
    pub(super) fn asks_again(&mut self, transfer: usize, flight: usize) -> bool {
        let Some(t) = self.transfers.get_mut(transfer).filter(|t| t.opened && t.pauses < 64) else { return false };
        let Some(f) = self.flights.get_mut(flight).filter(|_| matches!(t.path, Path::Windowed(_))) else {
            return false;
        };
        t.pauses = t.pauses.saturating_add(1);
        (f.stage, f.tries, f.timeout) = (Stage::Ready, 0, 0);
        true
    }

    /// 4, an error in a window: whether nothing is to be told of it, since the body may end before it, or since the server asks
    /// to be asked later.
    fn puts_off(&mut self, now: Instant, transfer: usize, flight: usize, message: &Message<'_>) -> bool {
        let Some(&Flight { offset, token, .. }) = self.flights.get(flight) else { return false };
        let before = self.flights.iter().any(|f| f.is_of(transfer) && f.offset < offset);
        let Some(t) = self.transfers.get_mut(transfer).filter(|t| t.opened && t.token != token) else { return false };
        let Path::Windowed(window) = &mut t.path else { return false };
        let age = message.options.uint(option::MAX_AGE).unwrap_or(60);
        if matches!(message.code, Code::SERVICE_UNAVAILABLE | TOO_MANY_REQUESTS) && age <= 300 && t.pauses < 8 {
            // RFC 7252 §5.9.3.4, RFC 8516.
            t.pauses = t.pauses.saturating_add(1);
            window.pause(now.after(Duration::from_secs(age.into())));
            let token = self.rng.next_u32();
            if let Some(f) = self.flights.get_mut(flight) {
                (f.token, f.stage, f.tries, f.timeout) = (token, Stage::Ready, 0, 0);
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
