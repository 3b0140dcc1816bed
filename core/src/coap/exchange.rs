//! Every transition of a request of ours and of a message under way.
//!
//! The flow of a request ([`Transfer`]):
//!
//! 1. `request` opens it: **Sending** where there is a body, **Wanting** where the host gives the body block by block,
//!    **Receiving** where there is none.
//! 2. Wanting: the host is asked (`BodyWanted`) and gives the block: Sending.
//! 3. Sending: the block is on its way (Block1). 2.31 Continue: the next one, Sending or Wanting. 4.13 with a smaller size
//!    on the first: from the beginning with that. Any other response is the final one and goes to 4. With random access as many
//!    are under way as the window has places, once the first is taken: see [`upload`](super::upload).
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
    block::{self, Bits, Block},
    code::Code,
    config::Stats,
    endpoint::{Endpoint, tag},
    event::{Exchange, Failure},
    flight::{NONE, Owner, part},
    message::{Message, Token},
    option,
    raw::{Kind, Raw, Told},
    ticks::{coarse, short},
};
use crate::Peer;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Free,
    Sending,
    /// The host is to be asked for a block of the body.
    Wanting,
    /// It has been.
    Asked,
    Receiving,
    Observing,
    Leaving,
    Failed,
}

/// What a [`Transfer`] is, has or wants: a bit each.
pub(super) mod flag {
    /// A flight is wanted.
    pub(in super::super) const DUE: u16 = 1;
    /// To be registered as an observation by the next flight from the beginning.
    pub(in super::super) const REGISTER: u16 = 2;
    /// Registered as an observation.
    pub(in super::super) const OBSERVED: u16 = 4;
    /// The first block has come; while sending, of random access: has been taken.
    pub(in super::super) const OPENED: u16 = 8;
    /// The last block has come.
    pub(in super::super) const ENDED: u16 = 16;
    /// Its path is a window's.
    pub(in super::super) const WINDOWED: u16 = 32;
    /// `limit` is how long the response's body is, as far as is known.
    pub(in super::super) const SIZED: u16 = 64;
    pub(in super::super) const CONFIRMABLE: u16 = 128;
    /// The host says when the next block is fetched.
    pub(super) const MANUAL: u16 = 256;
    /// The host gives the body block by block.
    pub(in super::super) const STREAMED: u16 = 512;
    /// Goes to a group: answered by many.
    pub(in super::super) const GROUP: u16 = 1024;
    /// The host said which version it must be.
    pub(super) const BOUND: u16 = 2048;
    /// So long ago came the latest notification that `heard` does not tell it.
    pub(super) const SILENT: u16 = 4096;
}

/// A request of ours. Part of [`Resources`](super::Resources).
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Transfer {
    // Bytes first: short instructions reach the first 31 of them.
    pub(super) phase: Phase,
    reason: Option<Failure>,
    /// Of those in [`flag`].
    pub(super) flags: u16,
    /// Size exponents of Block2 and of Block1.
    pub(super) szx: u8,
    pub(super) szx1: u8,
    /// Size exponent of the places in the body that flights are for.
    pub(super) span: u8,
    /// Blocks told that the host is not ready after. While sending in order: how often the body was begun again.
    pub(super) held: u8,
    /// How often in a row the server asked for a pause.
    pub(super) pauses: u8,
    /// The version of the representation; empty: unknown.
    pub(super) etag: Token,
    generation: u16,
    /// Where it keeps what it knows of its path; 0: nowhere.
    pub(super) path: u16,
    /// When the latest notification came: units of 2^20 µs, of which the lower 16 bits do (see [`Self::pass`]).
    heard: u16,
    pub(super) peer: Peer,
    /// The token of the first request and of the notifications.
    pub(super) token: u32,
    /// Where the next block begins that was never asked for: of the body sent while sending, of the response then.
    pub(super) position: u32,
    /// The end of the blocks told. Of a window of the body's blocks: the place of the one that the host is asked for.
    /// While observing: when to register again, in units of 2^20 µs; 0: never.
    pub(super) reach: u32,
    /// Nothing from here on is asked for: the body may end here. While sending: what is before it goes in any order.
    pub(super) limit: u32,
    /// Nor from here on: the host wants no more.
    until: u32,
    /// Bytes of the body sent. Of an observation, which sends none: the number of the latest notification.
    pub(super) body: u32,
}

impl Default for Transfer {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Transfer {
    /// A free place.
    pub const EMPTY: Self = Self {
        peer: Peer(0),
        token: 0,
        position: 0,
        reach: 0,
        limit: 0,
        until: 0,
        body: 0,
        heard: 0,
        generation: 0,
        path: 0,
        etag: Token::EMPTY,
        phase: Phase::Free,
        reason: None,
        flags: 0,
        szx: 0,
        szx1: 0,
        span: 0,
        held: 0,
        pauses: 0,
    };

    /// Whether one of these holds.
    pub(super) const fn is(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    /// Whether it is a window's, and has begun to be one.
    pub(super) const fn is_window(&self) -> bool {
        const BOTH: u16 = flag::OPENED | flag::WINDOWED;
        self.flags & BOTH == BOTH
    }

    pub(super) fn set(&mut self, flags: u16) {
        self.flags |= flags;
    }

    pub(super) fn clear(&mut self, flags: u16) {
        self.flags &= !flags;
    }

    /// Sets or clears them.
    pub(super) fn put(&mut self, flags: u16, on: bool) {
        self.clear(flags);
        if on {
            self.set(flags);
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn handle(&self, index: usize) -> Exchange {
        // There are 65 535 places at most.
        Exchange::new(u16::try_from(index & 0xFFFF).unwrap_or(u16::MAX), self.generation)
    }

    /// When an observation is to be registered again, in units of 2^20 µs.
    pub(super) fn refresh(&self) -> Option<u32> {
        (self.phase == Phase::Observing && self.reach != 0).then_some(self.reach)
    }

    /// Time passes that may let the 16 bits of `heard` wrap: at least once in 2^32 µs, and there were so many of these since.
    pub(super) fn pass(&mut self, now: u16, spans: u32) {
        if spans > 1 || now.wrapping_sub(self.heard) > STALE {
            self.set(flag::SILENT);
        }
    }

    /// 1.
    pub(super) fn open(&mut self, peer: Peer, request: &Raw<'_>, body: u32, szx: u8, token: u32) {
        let wishes = request.wishes;
        let streamed = wishes.streamed != 0 && body != 0;
        let generation = self.generation.wrapping_add(1);
        *self = Self::EMPTY;
        self.phase = match (streamed, body) {
            (true, _) => Phase::Wanting,
            (false, 0) => Phase::Receiving,
            _ => Phase::Sending,
        };
        self.generation = generation;
        self.peer = peer;
        self.put(flag::DUE, !streamed);
        self.put(flag::STREAMED, streamed);
        self.put(flag::CONFIRMABLE, wishes.confirmable != 0);
        self.put(flag::MANUAL, wishes.manual != 0);
        self.put(flag::REGISTER, wishes.observe != 0);
        self.put(flag::BOUND, !request.etag.is_empty());
        // A block can only begin at a multiple of its size: any at 0, which has 32 zeros.
        let zeros = wishes.offset.trailing_zeros().saturating_sub(4);
        self.szx = u8::try_from(u32::from(szx).min(zeros)).unwrap_or(szx);
        self.szx1 = szx;
        self.token = token;
        self.position = if body == 0 { wishes.offset } else { 0 };
        self.body = body;
        self.limit = if body == 0 || wishes.random_access != 0 { u32::MAX } else { 0 };
        self.until = wishes.until;
        self.etag.fill(request.etag);
    }

    /// Whether the server is to say how long the body is: it is the first request of a window.
    pub(super) fn asks_size(&self) -> bool {
        self.phase == Phase::Receiving && self.flags & (flag::OPENED | flag::WINDOWED) == flag::WINDOWED
    }

    /// Whether there are blocks of the response's body that were not asked for yet.
    pub(super) fn fetches(&self) -> bool {
        self.phase == Phase::Receiving && self.position < self.limit.min(self.until)
    }

    /// Where the last block of the body begins.
    pub(super) fn last(&self) -> u32 {
        self.body.saturating_sub(1) & !block::size(self.szx1).wrapping_sub(1)
    }

    /// Length of the block of the body that begins there.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn body_len(&self, offset: u32) -> u32 {
        self.body.saturating_sub(offset).min(block::size(self.szx1))
    }

    /// Offset and length of the body block that the host is asked for.
    pub(super) fn body_block(&self) -> (u32, u32) {
        let offset = if self.is(flag::OPENED) { self.reach } else { self.position };
        (offset, self.body_len(offset))
    }

    /// 2. The host has given the block.
    pub(super) fn supplied(&mut self) {
        self.phase = Phase::Sending;
        if !self.is(flag::OPENED) {
            self.set(flag::DUE);
        }
    }

    /// 3. Whether the response asks for another block of the body.
    pub(super) fn continues(&mut self, message: &Message<'_>) -> bool {
        let Some(block) = message.options.get(option::BLOCK1).and_then(Bits::decode) else { return false };
        let (szx, offset, len) = (block.szx(), self.position, self.body_len(self.position));
        let next = if message.code == Code::REQUEST_ENTITY_TOO_LARGE {
            if offset != 0 || szx >= self.szx1 {
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
        self.szx1 = self.szx1.min(szx);
        self.position = next;
        let streamed = self.is(flag::STREAMED);
        self.phase = if streamed { Phase::Wanting } else { Phase::Sending };
        self.put(flag::DUE, !streamed);
        true
    }

    /// 4. The host is ready for another block. Whether that was awaited.
    pub(super) fn advance(&mut self) -> bool {
        let held = self.held;
        self.held = held.saturating_sub(1);
        held != 0 && self.phase == Phase::Receiving
    }

    /// 4. Nothing is known of the representation that comes next.
    pub(super) fn close_window(&mut self) {
        self.clear(flag::OPENED | flag::ENDED);
        (self.held, self.reach, self.limit) = (0, 0, u32::MAX);
    }

    /// 4. A block of the body arrived, which was asked for at `offset` and reaches to `next`. What is to be done about flights.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn take_part(&mut self, offset: u32, next: u32, message: &Message<'_>, etag: &Token) -> Result<Next, Failure> {
        // [RFC7959-2.4-6] [RFC7959-2.6-1] [RFC7252-5.10.6-1]
        if self.is(flag::OPENED | flag::BOUND) && self.etag.len() != 0 && self.etag != *etag {
            // RFC 7959 §2.4: blocks of two versions must not be put together.
            if !self.is(flag::OBSERVED) || self.is(flag::BOUND) {
                return Err(Failure::Changed);
            }
            // From the beginning: there is a version that was not seen yet.
            (self.phase, self.position) = (Phase::Receiving, 0);
            self.set(flag::DUE);
            self.close_window();
            return Ok(Next::Again);
        }
        let block = match message.options.get(option::BLOCK2) {
            // No block option: all there is, which is only an answer to who asked for the beginning.
            None => Bits::at(0, false, self.szx),
            Some(value) => Bits::decode(value).ok_or(Failure::BadResponse)?,
        };
        let more = block.more();
        // [RFC7959-2.3-2] [RFC7959-2.4-3] [RFC7959-2.4-4]
        let szx = self.szx.min(block.szx());
        let beyond = more && next.wrapping_shr(u32::from(szx).wrapping_add(4)) > Block::MAX_NUM;
        // [RFC7959-2.3-1]
        if block.offset() != offset || (more && next.wrapping_sub(offset) != block.size()) || beyond {
            return Err(Failure::BadResponse);
        }
        // [RFC7959-4-2]
        if !self.take_block(next, more, szx, message.options.uint(option::SIZE2)) {
            return Err(Failure::Changed);
        }
        self.held = self.held.saturating_add(u8::from(self.is(flag::MANUAL)));
        Ok(match next & block::size(self.span).wrapping_sub(1) {
            _ if !more => Next::End,
            0 => Next::Place,
            _ => Next::Rest,
        })
    }

    /// 4. A block of the body, `next` being the place behind it. Whether it belongs to the others.
    fn take_block(&mut self, next: u32, more: bool, szx: u8, size: Option<u32>) -> bool {
        if !self.is(flag::OPENED) {
            self.set(flag::OPENED);
            self.span = szx;
            self.position = next;
            self.put(flag::SIZED, size.is_some());
            self.limit = size.unwrap_or(u32::MAX);
        }
        self.szx = szx;
        self.reach = self.reach.max(next);
        self.pauses = 0;
        if !more {
            self.set(flag::ENDED | flag::SIZED);
            self.limit = next;
        }
        self.reach <= self.limit || !self.is(flag::ENDED)
    }

    /// 4, with nothing under way: whether all that was wanted has been told. A size that the server told is a hint, and an error
    /// beyond another block may have been a block's own: what seemed to be behind the end is asked for now.
    fn is_complete(&mut self) -> bool {
        let complete = self.is(flag::ENDED) || self.position >= self.until;
        if !complete && self.position >= self.limit {
            self.limit = u32::MAX;
            self.clear(flag::SIZED);
        }
        complete
    }

    /// 6. Max-Age is over: register again.
    pub(super) fn reregister(&mut self) {
        self.phase = Phase::Receiving;
        self.set(flag::DUE | flag::REGISTER);
        self.reach = 0;
    }

    /// RFC 7641 §3.4: whether a notification is newer than the last. 128 seconds of silence let any number count as new.
    fn is_newer(&self, now: u16, sequence: u32) -> bool {
        // [RFC7641-3.4-1]
        let ahead = sequence.wrapping_sub(self.body) & 0xFF_FFFF;
        (ahead != 0 && ahead < 0x80_0000) || self.is(flag::SILENT) || now.wrapping_sub(self.heard) > STALE
    }
}

/// What follows a block of the response's body.
enum Next {
    /// The rest of the place that it was asked for.
    Rest,
    /// The next place.
    Place,
    /// Nothing: the body ends here.
    End,
    /// The first block: it is another body.
    Again,
}

/// 128 seconds, in units of 2^20 µs.
const STALE: u16 = 122;

/// 4.29 Too Many Requests (RFC 8516).
pub(super) const TOO_MANY_REQUESTS: Code = Code::new(4, 29);

impl Endpoint<'_> {
    /// Any → Failed; Leaving → Free.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn fail(&mut self, transfer: usize, reason: Failure) {
        if reason == Failure::Timeout {
            self.hush(transfer);
        }
        self.ground(transfer, 0);
        let Some(t) = self.transfers.get_mut(transfer) else { return };
        if t.phase == Phase::Leaving {
            self.close(transfer);
        } else {
            (t.phase, t.reason) = (Phase::Failed, Some(reason));
            t.clear(flag::DUE);
        }
    }

    /// Any → Free. The place keeps its generation, so that old handles stay invalid.
    pub(super) fn close(&mut self, transfer: usize) {
        self.ground(transfer, 0);
        for kind in [tag::REQUEST, tag::BODY, tag::ECHO] {
            self.arena.remove(kind.of(transfer));
        }
        let Some(t) = self.transfers.get_mut(transfer) else { return };
        t.phase = Phase::Free;
        (self.control.close)(self, transfer);
    }

    /// 7. Observing → Leaving; all else is over at once.
    pub(super) fn leave(&mut self, transfer: usize) {
        self.hush(transfer);
        self.ground(transfer, 0);
        let Some(t) = self.transfers.get_mut(transfer) else { return };
        if t.is(flag::OBSERVED) && t.phase != Phase::Failed {
            t.phase = Phase::Leaving;
            t.set(flag::DUE);
        } else {
            self.close(transfer);
        }
    }

    /// Whose response this is: a transfer's for one of its flights, or with [`NONE`] of these for a notification. [`NONE`] of
    /// both: nobody's.
    pub(super) fn find_response(&self, peer: Peer, token: &Token) -> (usize, usize) {
        let Ok(token) = token.as_bytes().try_into().map(u32::from_be_bytes) else { return (NONE, NONE) };
        for (index, f) in self.flights.iter().enumerate() {
            if f.token == token && f.peer == peer && f.tries != 0 && f.owner == Owner::Transfer {
                return (usize::from(f.of), index);
            }
        }
        let found = self.transfers.iter().position(|t| {
            let live = t.is(flag::OBSERVED) && matches!(t.phase, Phase::Receiving | Phase::Observing);
            live && t.token == token && t.peer == peer
        });
        (found.unwrap_or(NONE), NONE)
    }

    /// 3 to 6. A response arrived, for a flight of the transfer or, with [`NONE`], as a notification.
    pub(super) fn on_response<'i>(
        &mut self,
        transfer: usize,
        flight: usize,
        message: &Message<'i>,
        told: &mut Told<'i>,
    ) -> Option<()> {
        let options = message.options;
        let code = message.code;
        let now = short(self.clock.now());
        let t = self.transfers.get(transfer)?;
        let sequence =
            options.get(option::OBSERVE).filter(|v| code.is_success() && v.len() <= 3).and_then(option::uint);
        let (registering, mut offset) = match self.flights.get(flight) {
            Some(f) => (t.token == f.token, f.offset),
            None => (true, 0),
        };
        if self.refuses(message) {
            Stats::count(&mut self.stats.refused);
            self.fail(transfer, Failure::BadResponse);
            return None;
        }
        if flight != NONE {
            if self.echoes(transfer, flight, message) || (self.control.puts_off)(self, transfer, flight, message) {
                return None;
            }
        } else if sequence.is_some_and(|s| !t.is_newer(now, s)) {
            Stats::count(&mut self.stats.stale);
            return None;
        }
        if registering {
            self.ground(transfer, 0);
        } else {
            self.land(flight);
        }
        if (self.control.uploads)(self, transfer, offset, message) {
            return None;
        }
        let t = self.transfers.get_mut(transfer)?;
        t.clear(flag::DUE);
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
            if t.is(flag::REGISTER | flag::OBSERVED) {
                t.clear(flag::REGISTER | flag::SILENT);
                t.put(flag::OBSERVED, sequence.is_some());
                t.body = sequence.unwrap_or(0);
                t.heard = now;
            }
        }
        let mut etag = Token::EMPTY;
        etag.fill(options.get(option::ETAG).unwrap_or(&[]));
        let mut over = true;
        let whole = code.is_success() && code != Code::VALID;
        if whole {
            let next = offset.saturating_add(u32::try_from(message.payload.len()).unwrap_or(u32::MAX));
            match t.take_part(offset, next, message, &etag) {
                Err(reason) => {
                    self.fail(transfer, reason);
                    return None;
                }
                Ok(Next::Again) => {
                    self.ground(transfer, 0);
                    return None;
                }
                // A smaller block than the place that it was for: on with the rest of that.
                Ok(Next::Rest) => _ = self.fly(transfer, false, next),
                Ok(Next::End) => self.ground(transfer, next),
                Ok(Next::Place) => {}
            }
            over = self.flights_of(transfer) == 0;
            told.offset = offset;
        }
        let t = self.transfers.get_mut(transfer)?;
        told.etag = etag;
        if whole {
            t.etag = etag;
            over = over && t.is_complete();
        }
        told.kind = Kind::Response;
        told.exchange = t.handle(transfer).id();
        told.code = code;
        told.options = options;
        if t.is(flag::OBSERVED) {
            (told.observe, told.sequence) = (true, t.body);
        }
        if t.is(flag::SIZED) {
            (told.has_total, told.total) = (true, t.limit);
        }
        told.payload = message.payload;
        told.last = over;
        if !over {
            t.phase = Phase::Receiving;
        } else if t.is(flag::OBSERVED) {
            // RFC 7641 §3.3.1: Max-Age, and 5 to 15 seconds more.
            // [RFC7252-5.4.4-1] [RFC7641-3.3.1-1]
            let age = options.uint(option::MAX_AGE).unwrap_or(60);
            // In units of 2^20 µs, of which 7 to 14 are more than 5 seconds and less than 15, however what is before was rounded.
            let patience = part(15_625 << 18, age).saturating_add(self.secret.draw() & 7).saturating_add(7);
            let at = coarse(self.clock.now()).saturating_add(patience);
            (t.phase, t.reach) = (Phase::Observing, if self.config.reregister { at } else { 0 });
            self.ground(transfer, 0);
        } else {
            self.close(transfer);
        }
        None
    }

    /// The next thing that a transfer or a ping has to tell of itself.
    pub(super) fn poll_transfer(&mut self, told: &mut Told<'_>) {
        for (index, t) in self.transfers.iter_mut().enumerate() {
            if !matches!(t.phase, Phase::Failed | Phase::Wanting) {
                continue;
            }
            told.exchange = t.handle(index).id();
            if t.phase == Phase::Failed {
                (told.kind, told.reason) = (Kind::Failed, t.reason);
                return self.close(index);
            }
            t.phase = Phase::Asked;
            told.kind = Kind::BodyWanted;
            (told.offset, told.len) = t.body_block();
            return;
        }
        for (index, f) in self.flights.iter().enumerate() {
            if matches!(f.owner, Owner::Pong | Owner::Silence) {
                told.kind = if f.owner == Owner::Pong { Kind::Pong } else { Kind::Silent };
                told.peer = f.peer;
                return self.land(index);
            }
        }
    }
}
