//! Every transition of a message of ours that awaits an answer ([`Flight`]).
//!
//! 1. A transfer, a server's answer, an observer or a ping gets a flight: **Ready** to be sent.
//! 2. Ready → **Waiting**, when NSTART or its window lets it go ([`Endpoint::may_fly`]).
//! 3. Waiting → Ready again: its time is over; twice as much each time (RFC 7252 §4.2), or as its path says
//!    ([`congestion`]). After MAX_RETRANSMIT, or MAX_TRANSMIT_SPAN, it is lost; one of a window goes on as another message.
//! 4. Waiting → **Acknowledged**: the response is awaited, which comes separately.
//! 5. A response or a reset ends it at any point.
//!
//! # Message IDs of windows
//! RFC 7252 §4.4: an ID is not used again within EXCHANGE_LIFETIME (247 s), so that 265 CON a second use them up. The IDs are taken
//! quarter by quarter, and it is remembered when each was used last. A quarter that went in less than a third of that time is a
//! hurry: blocks are asked for by NON then, each sent once under its ID, which is free after MAX_LATENCY (100 s, §4.8.2); what is
//! lost is asked for by another message. A quarter that is not free yet is passed over; with none free, windows wait. So
//! 48 MiB come as fast as they can, and 4 Mbit/s lastingly, in blocks of 1024; who wants more opens another port,
//! whose IDs are its own.

use super::{
    block,
    congestion::{self, Cocoa, Path},
    endpoint::{Endpoint, micros, tag},
    event::Failure,
    exchange::{Phase, Transfer},
};
use crate::{Duration, Instant, Peer};

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
    /// Of a transfer that is over, whose peer is left alone until PROBING_RATE has paid for it: see [`probing`](super::probing).
    Silent,
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
    pub(super) since: congestion::Tick,
    /// Microseconds until it is sent again; of a window's, which copy of it has got its ID.
    pub(super) timeout: u32,
    /// When it is sent again; of a window's, when it was sent.
    pub(super) at: Instant,
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

    /// A request of a transfer's for what is at `offset`.
    pub(super) fn block(transfer: &Transfer, token: u32, offset: u32) -> Self {
        Self { peer: transfer.peer, confirmable: transfer.confirmable, token, offset, ..Self::EMPTY }
    }

    /// A CON of no transfer's.
    pub(super) const fn to(peer: Peer) -> Self {
        Self { peer, confirmable: true, ..Self::EMPTY }
    }

    /// Whether it is a transfer's.
    pub(super) fn is_of(&self, transfer: usize) -> bool {
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
                let flight = Flight::block(&t, token, offset);
                // A window is no reason to forget whom to leave alone.
                let room = own == 0 || self.flights.iter().any(|f| f.owner == Owner::Nobody);
                if !room || !self.take_off(Owner::Transfer(u16::try_from(index).unwrap_or(u16::MAX)), flight) {
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
    pub(super) fn window_of(&self, flight: &Flight) -> Option<&congestion::Window> {
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
                if let Some(quiet) = self.quiet(now, f) {
                    return Err(Some(quiet));
                }
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
    pub(super) fn measure(&mut self, now: Instant, flight: usize) {
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
        let Some(place) = self.place().and_then(|index| self.flights.get_mut(index)) else { return false };
        // [RFC7252-4.4-2] [RFC7252-8.1-3]
        let flight = Flight { owner, mid, ..flight };
        *place = flight;
        // One of a window takes its ID when it goes.
        if self.window_of(&flight).is_none() {
            self.mid = mid.wrapping_add(1);
        }
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
                let late = self.is_over(now, &f, most);
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

    /// Before a flight of a window goes: the ID of a new message, where it is one, or where the same was sent as often and as long
    /// as may be (§4.2), or was a NON. False: there is none now.
    pub(super) fn renew(&mut self, now: Instant, index: usize) -> bool {
        let most = self.config.max_retransmit.min(16);
        let Some(f) = self.flights.get(index) else { return true };
        let Some(&window) = self.window_of(f) else { return true };
        let copy = u32::from(f.tries).saturating_add(1);
        let same =
            f.confirmable && f.tries.checked_rem(most.saturating_add(1)) != Some(0) && !self.is_over(now, f, most);
        if same || f.timeout == copy {
            return true;
        }
        let Owner::Transfer(transfer) = f.owner else { return true };
        let Some(t) = self.transfers.get_mut(usize::from(transfer)) else { return true };
        let Some((mid, confirmable)) = self.ids.take(self.mid, now, self.config.exchange_lifetime) else {
            t.path = Path::Windowed(window.without_ids(now));
            return false;
        };
        self.mid = mid.wrapping_add(1);
        let confirmable = confirmable && t.confirmable;
        if let Some(f) = self.flights.get_mut(index) {
            (f.mid, f.confirmable, f.since, f.timeout) = (mid, confirmable, congestion::tick(now), copy);
        }
        true
    }
}

/// Which message IDs windows have used: see [the module](self).
#[derive(Debug)]
pub(super) struct Ids {
    /// When each quarter was used last, and the one in use was begun: units of 2^20 µs, from 1; 0 is never.
    used: [u32; 4],
    begun: u32,
    /// Bit n: quarter n was used for CON.
    confirmable: u8,
    /// The one in use.
    quarter: u8,
}

impl Ids {
    pub(super) const NEW: Self = Self { used: [0; 4], begun: 0, confirmable: 0xF, quarter: 0xFF };

    /// The next ID from `mid` on, and whether CON may be sent under it. None: there is none now.
    fn take(&mut self, mid: u16, now: Instant, lifetime: Duration) -> Option<(u16, bool)> {
        let second = |span: u64| u32::try_from(span >> 20).unwrap_or(u32::MAX).saturating_add(1);
        let (now, lifetime) = (second(now.as_micros()), second(lifetime.as_micros()));
        let [high, _] = mid.to_be_bytes();
        let (mut quarter, mut id) = (high >> 6, mid);
        let bit = |quarter: u8| 1_u8.wrapping_shl(quarter.into());
        if quarter != self.quarter {
            let free = |quarter: &u8| {
                let last = self.used.get(usize::from(*quarter)).copied().unwrap_or(0);
                let lasts = if self.confirmable & bit(*quarter) == 0 { MAX_LATENCY } else { lifetime };
                last == 0 || now.saturating_sub(last) > lasts
            };
            let next = (0..4).map(|n: u8| quarter.wrapping_add(n) & 3).find(free)?;
            if next != quarter {
                (quarter, id) = (next, u16::from(next) << 14);
            }
            let ended = self.used.get(usize::from(self.quarter)).copied().unwrap_or(0);
            let hurried = self.begun != 0 && ended.saturating_sub(self.begun) <= lifetime.saturating_add(2) / 3;
            self.confirmable = if hurried { self.confirmable & !bit(quarter) } else { self.confirmable | bit(quarter) };
            (self.quarter, self.begun) = (quarter, now);
        }
        if let Some(used) = self.used.get_mut(usize::from(quarter)) {
            *used = now;
        }
        Some((id, self.confirmable & bit(quarter) != 0))
    }
}

/// MAX_LATENCY (§4.8.2), 100 s, in units of 2^20 µs.
const MAX_LATENCY: u32 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `rate` IDs a second for so many seconds; gives those taken by second, and checks each against its last use.
    fn run(rate: usize, seconds: u64) -> std::vec::Vec<usize> {
        let (mut ids, mut mid) = (Ids::NEW, 65_000_u16);
        let mut last = std::vec![None; 65_536];
        let mut taken = std::vec::Vec::new();
        for s in 0..seconds {
            taken.push(0);
            for n in 0..rate {
                let now = Instant::from_micros(s * 1_000_000 + (n * 1_000_000 / rate) as u64);
                let Some((id, con)) = ids.take(mid, now, Duration::from_secs(247)) else { break };
                let before: Option<(Instant, bool)> = last[usize::from(id)].replace((now, con));
                if let Some((at, con)) = before {
                    let least = Duration::from_secs(if con { 247 } else { 100 });
                    assert!(now.since(at) >= least, "{id} again after {:?}", now.since(at));
                }
                mid = id.wrapping_add(1);
                *taken.last_mut().unwrap() += 1;
            }
        }
        taken
    }

    #[test]
    fn no_id_is_used_again_while_it_may_be_remembered() {
        for rate in [100, 250, 400, 1000, 20_000] {
            let taken = run(rate, 2000);
            let all: usize = taken.iter().sum();
            // One quarter of four is always in use, and none can be had of it.
            assert!(all >= (rate * 2000).min(2000 * 450) * 95 / 100, "{rate}: {all}");
        }
        assert!(run(250, 2000).iter().all(|n| *n == 250), "no wait at the rate that CON allows");
        assert!(run(20_000, 3).iter().sum::<usize>() >= 49_152, "three quarters at once");
    }
}
