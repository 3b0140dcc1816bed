//! Every transition of a message of ours that awaits an answer ([`Flight`]).
//!
//! 1. A transfer, a server's answer, an observer or a ping gets a flight: **Ready** to be sent.
//! 2. Ready → **Waiting**, when NSTART or its window lets it go ([`Endpoint::may_fly`]).
//! 3. Waiting → Ready again: its time is over; twice as much each time (RFC 7252 §4.2), or as its path says
//!    ([`congestion`](super::congestion)). After MAX_RETRANSMIT, or MAX_TRANSMIT_SPAN, it is lost; one of a window goes on as another message.
//! 4. Waiting → **Acknowledged**: the response is awaited, which comes separately.
//! 5. A response or a reset ends it at any point.

use super::{
    block,
    endpoint::{Endpoint, tag},
    event::Failure,
    exchange::{Phase, flag},
    ticks::{LONGEST, NEVER, Tick, since, until},
};
use crate::Peer;

/// No place in a table.
pub(super) const NONE: usize = usize::MAX;

/// Whose a flight is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    #[default]
    Nobody,
    /// Of the transfer in the place `of`.
    Transfer,
    /// A separate response.
    Response,
    /// A notification to the observer in the place `of`.
    Observer,
    Ping,
    /// Of a transfer that is over, whose peer is left alone until PROBING_RATE has paid for it: see [`probing`](super::probing).
    Silent,
    /// A ping that is over, and was answered.
    Pong,
    /// A ping that is over, and was not.
    Silence,
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
#[repr(C)]
pub struct Flight {
    // What is short first, where short instructions reach it.
    pub(super) owner: Owner,
    pub(super) stage: Stage,
    pub(super) confirmable: bool,
    /// How often it was sent.
    pub(super) tries: u8,
    pub(super) mid: u16,
    pub(super) of: u16,
    pub(super) peer: Peer,
    pub(super) token: u32,
    /// The place in the body that it carries or asks for.
    pub(super) offset: u32,
    /// When it was sent for the first time.
    pub(super) since: Tick,
    /// Until it is sent again; of a window's, which copy of it has got its ID.
    pub(super) timeout: Tick,
    /// When it is sent again; of a window's, when it was sent.
    pub(super) at: Tick,
}

impl Flight {
    /// A free place.
    pub const EMPTY: Self = Self {
        peer: Peer(0),
        token: 0,
        offset: 0,
        since: 0,
        timeout: 0,
        at: 0,
        mid: 0,
        of: 0,
        owner: Owner::Nobody,
        stage: Stage::Ready,
        confirmable: false,
        tries: 0,
    };

    /// Whether it is a transfer's.
    pub(super) fn is_of(&self, transfer: usize) -> bool {
        self.owner == Owner::Transfer && usize::from(self.of) == transfer
    }

    /// Whether it counts for NSTART (RFC 7252 §4.7).
    fn is_outstanding(&self) -> bool {
        match self.owner {
            Owner::Nobody | Owner::Pong | Owner::Silence => false,
            _ => self.stage == Stage::Waiting || (self.stage == Stage::Ready && self.tries != 0),
        }
    }

    /// As another message, sent never before.
    pub(super) fn renew(&mut self) {
        (self.stage, self.tries, self.timeout) = (Stage::Ready, 0, 0);
    }
}

impl Endpoint<'_> {
    /// Lets transfers that want flights have them, where there are free places.
    pub(super) fn launch(&mut self) {
        for index in 0..self.transfers.len() {
            while self.give_flight(index) {}
        }
    }

    /// Lets a transfer have a flight more. Whether it has got one.
    fn give_flight(&mut self, index: usize) -> bool {
        let own = self.flights_of(index);
        let Some(t) = self.transfers.get(index).filter(|t| t.phase != Phase::Free) else { return false };
        let wants = if t.is(flag::DUE) { own == 0 } else { t.is(flag::OPENED) && (self.control.more)(self, t, own) };
        if !wants {
            return false;
        }
        let named = t.is(flag::REGISTER) || t.phase == Phase::Leaving;
        // [RFC7959-2.7-1]
        let offset = if named { 0 } else { t.position };
        if !self.fly(index, named, offset) {
            return false;
        }
        if let Some(t) = self.transfers.get_mut(index) {
            if !t.is(flag::DUE) {
                t.position = offset.saturating_add(block::size(t.span));
            }
            t.clear(flag::DUE);
        }
        true
    }

    /// A flight for what is at `offset` of a transfer's body, under the transfer's token or one of its own.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn fly(&mut self, transfer: usize, named: bool, offset: u32) -> bool {
        let Some(t) = self.transfers.get(transfer) else { return false };
        let token = if named { t.token } else { self.secret.draw() };
        let (peer, confirmable) = (t.peer, t.is(flag::CONFIRMABLE));
        match self.take_off(Owner::Transfer, transfer, peer) {
            Some(f) => {
                (f.token, f.offset, f.confirmable) = (token, offset, confirmable);
                true
            }
            None => false,
        }
    }

    /// How many flights a transfer has.
    pub(super) fn flights_of(&self, transfer: usize) -> usize {
        self.flights.iter().filter(|f| f.is_of(transfer)).count()
    }

    /// Whether a flight belongs to a window.
    pub(super) fn is_windowed(&self, flight: &Flight) -> bool {
        (self.control.windows)(self, flight)
    }

    /// How long it is until something is to be done about a flight. That is ready: until it may go, by NSTART (RFC 7252
    /// §4.7), or by its window. All else: until its time is over. [`NEVER`]: not before something else happens.
    pub(super) fn wait(&self, f: &Flight) -> Tick {
        if matches!(f.owner, Owner::Nobody | Owner::Pong | Owner::Silence) {
            return NEVER;
        }
        if f.stage != Stage::Acknowledged
            && let Some(wait) = (self.control.wait)(self, f)
        {
            return wait;
        }
        if f.stage != Stage::Ready {
            return until(self.now, f.at);
        }
        // One that is sent again has its place already.
        if f.tries == 0 {
            // [RFC7252-4.7-1] [RFC7641-4.5.1-1]
            let counts = |o: &&Flight| o.peer == f.peer && o.is_outstanding() && !self.is_windowed(o);
            if self.flights.iter().filter(counts).count() >= usize::from(self.config.nstart) {
                return NEVER;
            }
            if f.owner == Owner::Transfer {
                return until(self.now, self.quiet);
            }
        }
        0
    }

    /// Ready → Waiting: a flight has been sent.
    pub(super) fn sent(&mut self, index: usize) {
        let spread = self.secret.draw();
        let (now, from) = (self.now, self.from());
        let first = self.config.ack_timeout.saturating_add(part(self.config.ack_jitter, spread));
        let Some(f) = self.flights.get_mut(index) else { return };
        f.stage = Stage::Waiting;
        let before = f.timeout;
        // [RFC7252-4.2-5] [RFC7252-4.8.1-2]
        f.timeout = before.min(LONGEST >> 1).wrapping_mul(2);
        if f.tries == 0 {
            (f.since, f.timeout) = (now, first);
        }
        f.tries = f.tries.saturating_add(1);
        f.at = now;
        if (self.control.sent)(self, index, before, spread) {
            return;
        }
        let response = self.config.response_timeout;
        if let Some(f) = self.flights.get_mut(index) {
            f.at = from.wrapping_add(if f.confirmable { f.timeout } else { response });
        }
    }

    /// Gives a message a message ID and a place among the flights. `None`: there is none.
    pub(super) fn take_off(&mut self, owner: Owner, of: usize, peer: Peer) -> Option<&mut Flight> {
        let index = self.place();
        if index == NONE {
            return None;
        }
        let mid = self.mid;
        // [RFC7252-4.4-2] [RFC7252-8.1-3]
        let flight = Flight {
            owner,
            of: u16::try_from(of & 0xFFFF).unwrap_or(u16::MAX),
            peer,
            mid,
            confirmable: true,
            ..Flight::EMPTY
        };
        // One of a window takes its ID when it goes.
        if !self.is_windowed(&flight) {
            self.mid = mid.wrapping_add(1);
        }
        let place = self.flights.get_mut(index)?;
        *place = flight;
        Some(place)
    }

    /// Ends a flight whatever its stage.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn land(&mut self, flight: usize) {
        self.arena.remove(tag::SEPARATE.of(flight));
        if let Some(f) = self.flights.get_mut(flight) {
            *f = Flight::EMPTY;
        }
    }

    /// Ends the flights of a transfer that are for what is at `from` or behind it.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn ground(&mut self, transfer: usize, from: u32) {
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
            let waits = !matches!(f.owner, Owner::Nobody | Owner::Pong | Owner::Silence);
            f.mid == mid && f.peer == peer && f.tries != 0 && waits
        })
    }

    /// An empty ACK arrived (RFC 7252 §4.2): Ready or Waiting → Acknowledged, or over where nothing else follows.
    pub(super) fn on_acknowledged(&mut self, flight: usize) {
        let until = self.from().wrapping_add(self.config.response_timeout);
        (self.control.acknowledged)(self, flight);
        let Some(f) = self.flights.get_mut(flight).filter(|f| f.confirmable) else { return };
        match f.owner {
            Owner::Transfer => {
                if f.stage != Stage::Acknowledged {
                    (f.stage, f.at) = (Stage::Acknowledged, until);
                }
            }
            Owner::Ping => f.owner = Owner::Pong,
            Owner::Observer => {
                let observer = usize::from(f.of);
                self.land(flight);
                self.notified(observer, true);
            }
            _ => self.land(flight),
        }
    }

    /// RST arrived (§4.2), or time ran out: the flight is over, and what it was for.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn on_lost(&mut self, flight: usize, reason: Failure) {
        let Some(f) = self.flights.get_mut(flight) else { return };
        let of = usize::from(f.of);
        match f.owner {
            Owner::Transfer => self.fail(of, reason),
            // §4.3, a ping is answered by a reset.
            Owner::Ping => f.owner = if reason == Failure::Reset { Owner::Pong } else { Owner::Silence },
            Owner::Observer => {
                self.land(flight);
                self.lose_observer(of);
            }
            _ => self.land(flight),
        }
    }

    /// A flight's time is over: it is sent again after twice the time, or given up (§4.2). One of a window goes by its path.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn expire(&mut self, index: usize) {
        let most = self.config.max_retransmit;
        let goes_on = (self.control.lost)(self, index);
        let Some(f) = self.flights.get(index).filter(|_| goes_on != Some(true)) else { return };
        if goes_on.is_none() && f.stage == Stage::Waiting && f.confirmable && f.tries <= most {
            let (late, from) = (self.is_late(f), self.from());
            if let Some(f) = self.flights.get_mut(index) {
                f.stage = Stage::Ready;
                if late {
                    (f.stage, f.tries) = (Stage::Waiting, most.saturating_add(1));
                    f.at = from.wrapping_add(f.timeout);
                }
            }
        } else {
            self.on_lost(index, Failure::Timeout);
        }
    }

    /// Whether MAX_TRANSMIT_SPAN (§4.8.2) is over since a flight went out first: a host that slept has missed its chance to
    /// send it again, and may still be answered. [RFC7252-4.2-6]
    pub(super) fn is_late(&self, f: &Flight) -> bool {
        let first = self.config.ack_timeout.saturating_add(self.config.ack_jitter);
        let doublings = 1_u32.wrapping_shl(u32::from(self.config.max_retransmit)).wrapping_sub(1);
        since(self.now, f.since).is_none_or(|span| span > first.saturating_mul(doublings))
    }

    /// Whether a flight is ready, and may go now.
    pub(super) fn may_fly(&mut self, index: usize) -> bool {
        let Some(f) = self.flights.get(index).filter(|f| f.stage == Stage::Ready) else { return false };
        self.wait(f) == 0 && (self.control.renew)(self, index)
    }
}

/// A random part of a span.
pub(super) fn part(whole: Tick, spread: u32) -> Tick {
    u32::try_from(u64::from(spread).wrapping_mul(u64::from(whole)) >> 32).unwrap_or(0)
}
