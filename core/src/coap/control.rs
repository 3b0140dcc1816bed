//! What measures the paths of transfers, where anything does.
//!
//! An endpoint goes by RFC 7252's fixed time-outs, one block after the other, unless it is given memory for what it learns
//! of paths ([`Endpoint::measure_paths`]): that is where the code of windows and of CoCoA comes in, and firmware that does
//! not ask for it does not hold it.

use super::{
    congestion::{Cocoa, Known, Past, Path, Policy, Window},
    endpoint::{Endpoint, tag},
    exchange::{Phase, TOO_MANY_REQUESTS, Transfer, flag},
    flight::{Flight, Owner, Stage, part},
    ids::Ids,
    message::Message,
    option,
    ticks::{LONGEST, NEVER, SECOND, Tick, since, until},
};
use crate::{Duration, Peer, Storage};
use core::fmt;

/// Hooks of an endpoint, which are called for any flight and any transfer, whether it has a place among the paths or none.
pub(super) struct Control {
    /// A transfer begins, of which so many blocks may be under way.
    pub(super) open: fn(&mut Endpoint<'_>, usize, u8),
    /// A transfer is over.
    pub(super) close: fn(&mut Endpoint<'_>, usize),
    /// Whether a flight belongs to a window.
    pub(super) windows: fn(&Endpoint<'_>, &Flight) -> bool,
    /// Whether a transfer that has so many flights, and whose first block is there, wants one more and may have it.
    pub(super) more: fn(&Endpoint<'_>, &Transfer, usize) -> bool,
    /// How long it is until something is to be done about a flight that is not acknowledged: see [`Endpoint::wait`]. `None`: it
    /// is no window's.
    pub(super) wait: fn(&Endpoint<'_>, &Flight) -> Option<Tick>,
    /// A flight has been sent. Whether all is done about it; else its time-out, which was this before, may have been changed,
    /// with a random number to do it by.
    pub(super) sent: fn(&mut Endpoint<'_>, usize, Tick, u32) -> bool,
    /// A flight is acknowledged.
    pub(super) acknowledged: fn(&mut Endpoint<'_>, usize),
    /// A flight's time is over. Whether its transfer goes on; `None`: it is no window's, or waits no more.
    pub(super) lost: fn(&mut Endpoint<'_>, usize) -> Option<bool>,
    /// Before a flight goes, of a window perhaps: see there. Whether it may.
    pub(super) renew: fn(&mut Endpoint<'_>, usize) -> bool,
    /// An answer to a transfer's flight asks for what another's has asked for before, and was given since. Whether it is a window's,
    /// and asked for again.
    pub(super) again: fn(&mut Endpoint<'_>, usize, usize) -> bool,
    /// A transfer's flight is answered, by a response: whether that is an error in a window, and nothing is to be told of it.
    pub(super) puts_off: fn(&mut Endpoint<'_>, usize, usize, &Message<'_>) -> bool,
    /// A transfer's flight for what is at this offset has been answered, and is over. Where it carried a block of a body: whether
    /// all is done about it.
    pub(super) uploads: fn(&mut Endpoint<'_>, usize, u32, &Message<'_>) -> bool,
    /// The endpoint's host has slept for very long.
    pub(super) lapse: fn(&mut Endpoint<'_>),
}

/// Of the object, not of what is in it: nothing of formatting comes with a hook then.
impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Control")
    }
}

/// RFC 7252 as it stands.
pub(super) static STANDARD: Control = Control {
    open: |_, _, _| {},
    close: |_, _| {},
    windows: |_, _| false,
    more: |_, t, own| own == 0 && t.held == 0 && t.fetches(),
    wait: |_, _| None,
    sent: |_, _, _, _| false,
    acknowledged: |_, _| {},
    lost: |_, _| None,
    renew: |_, _| true,
    again: |_, _, _| false,
    puts_off: |_, _, _, _| false,
    uploads: |_, _, _, _| false,
    lapse: |_| {},
};

/// By paths.
static MEASURED: Control = Control {
    open,
    close,
    windows,
    more,
    wait,
    sent,
    acknowledged: answered,
    lost,
    renew,
    again,
    puts_off,
    uploads,
    lapse,
};

impl<'a> Endpoint<'a> {
    /// Lets transfers go by `policy` that find a place in `paths`, of which one is the endpoint's own. [`Endpoint::new`] does it
    /// with what it is given; [`Endpoint::standard`] does not. It is done before the first request, or never.
    pub fn measure_paths(&mut self, policy: Policy, paths: Storage<'a, Path>) {
        self.config.policy = policy;
        self.paths = paths;
        if let (true, Some(first)) = (policy != Policy::Standard, self.paths.first_mut()) {
            first.0 = Known::Ids(Ids::NEW);
            self.control = &MEASURED;
        }
    }

    fn path_of(&self, flight: &Flight) -> Option<&Path> {
        let t = self.transfers.get(usize::from(flight.of)).filter(|_| flight.owner == Owner::Transfer)?;
        self.paths.get(usize::from(t.path))
    }

    fn window_at(&mut self, path: u16) -> Option<&mut Window> {
        match self.paths.get_mut(usize::from(path)) {
            Some(Path(Known::Windowed(window))) => Some(window),
            _ => None,
        }
    }

    /// What is known of a peer from before.
    fn past(&self, peer: Peer) -> Option<&Past> {
        self.paths.iter().find_map(|p| match &p.0 {
            Known::Peer(past) if past.peer == peer => Some(past),
            _ => None,
        })
    }

    /// The place for what is known of a peer: its own, a free one, or that of the peer that was heard of last the longest ago.
    fn past_mut(&mut self, peer: Peer) -> Option<&mut Past> {
        let (mut found, mut most) = (None, 0);
        for (index, path) in self.paths.iter().enumerate() {
            let weight = match &path.0 {
                Known::Peer(past) if past.peer == peer => u32::MAX,
                Known::Peer(past) => since(self.now, past.at).unwrap_or(0).saturating_add(1),
                Known::Nothing => LONGEST.wrapping_add(1),
                _ => 0,
            };
            if weight > most {
                (found, most) = (Some(index), weight);
            }
        }
        let known = &mut self.paths.get_mut(found?)?.0;
        if most != u32::MAX {
            *known = Known::Peer(Past::new(peer));
        }
        match known {
            Known::Peer(past) => Some(past),
            _ => None,
        }
    }

    /// Blocks of a flight's transfer that are outstanding.
    fn outstanding(&self, flight: &Flight) -> usize {
        self.flights.iter().filter(|f| f.is_of(flight.of.into()) && f.stage != Stage::Ready).count()
    }
}

fn open(e: &mut Endpoint<'_>, transfer: usize, window: u8) {
    let Some(t) = e.transfers.get(transfer) else { return };
    // RFC 7959 §2.7: what answers a body of several blocks comes in order. [RFC7959-2.7-1]
    let ordered = t.limit == 0 && t.body_len(0) < t.body;
    let Some(mut path) = Known::new(e.config.policy, if ordered { 1 } else { window }) else { return };
    let peer = t.peer;
    if let (Known::Cocoa(cocoa), Some(past)) = (&mut path, e.past(peer)) {
        *cocoa = Cocoa::known(past);
    }
    let free = e.paths.iter().position(|p| matches!(p.0, Known::Nothing));
    let Some(place) = free.or_else(|| e.paths.iter().position(|p| matches!(p.0, Known::Peer(_)))) else { return };
    if let (Some(p), Some(t)) = (e.paths.get_mut(place), e.transfers.get_mut(transfer)) {
        p.0 = path;
        t.path = u16::try_from(place).unwrap_or(0);
        t.put(flag::WINDOWED, matches!(path, Known::Windowed(_)));
    }
}

fn close(e: &mut Endpoint<'_>, transfer: usize) {
    let Some(t) = e.transfers.get_mut(transfer).filter(|t| t.path != 0) else { return };
    let (path, peer, now) = (core::mem::take(&mut t.path), t.peer, e.now);
    let Some(path) = e.paths.get_mut(usize::from(path)) else { return };
    let known = core::mem::take(&mut path.0);
    if let Some(past) = e.past_mut(peer) {
        past.replace(now, &known);
    }
}

fn windows(e: &Endpoint<'_>, flight: &Flight) -> bool {
    flight.owner == Owner::Transfer && e.transfers.get(usize::from(flight.of)).is_some_and(Transfer::is_window)
}

/// How many flights each transfer may have at most. An eighth of the places is for what else there is; the others are shared by those that fetch.
fn share(e: &Endpoint<'_>) -> usize {
    let busy = e.transfers.iter().filter(|t| !matches!(t.phase, Phase::Free | Phase::Observing)).count();
    let places = e.flights.len().saturating_sub(e.flights.len() >> 3);
    places.checked_div(busy).unwrap_or(0).max(1)
}

/// A window is no reason to forget whom to leave alone.
fn more(e: &Endpoint<'_>, transfer: &Transfer, own: usize) -> bool {
    let wants = transfer.fetches() || (transfer.phase == Phase::Sending && transfer.position < transfer.limit);
    wants
        && own < share(e)
        && own.saturating_add(transfer.held.into()) < size(e, transfer)
        && (own == 0 || e.flights.iter().any(|f| f.owner == Owner::Nobody))
}

/// How many flights a transfer may have.
fn size(e: &Endpoint<'_>, transfer: &Transfer) -> usize {
    match e.paths.get(usize::from(transfer.path)) {
        Some(Path(Known::Windowed(window))) if transfer.is_window() => window.size().into(),
        _ => 1,
    }
}

/// How often a block is asked for at most while others arrive.
const MOST_TRIES: u8 = 60;

fn wait(e: &Endpoint<'_>, f: &Flight) -> Option<Tick> {
    windows(e, f).then(|| due_in_window(e, f).map_or(NEVER, |at| until(e.now, at)))
}

fn due_in_window(e: &Endpoint<'_>, f: &Flight) -> Option<Tick> {
    let Some(Path(Known::Windowed(window))) = e.path_of(f) else { return None };
    if f.stage == Stage::Waiting {
        return Some(window.deadline(f.at, e.config.ack_timeout).0);
    }
    // Until the host has given the block that it is asked for, none goes.
    e.transfers.get(usize::from(f.of)).filter(|t| !matches!(t.phase, Phase::Wanting | Phase::Asked))?;
    (e.outstanding(f) < usize::from(window.size())).then(|| window.next())
}

fn sent(e: &mut Endpoint<'_>, flight: usize, before: Tick, spread: u32) -> bool {
    let (now, standard, jitter) = (e.now, e.config.ack_timeout, e.config.ack_jitter);
    let Some(&f) = e.flights.get(flight).filter(|f| f.owner == Owner::Transfer) else { return false };
    let Some(t) = e.transfers.get(usize::from(f.of)) else { return false };
    let past = e.past(f.peer).and_then(Past::timeout);
    // Of a body that goes block by block a copy that comes late may do harm where duplicates are forgotten soon.
    let mut known = past.filter(|_| t.is(flag::OBSERVED) || t.body_len(0) == t.body);
    let timeout = match e.paths.get_mut(usize::from(t.path)) {
        Some(Path(Known::Windowed(window))) => {
            if !t.is(flag::OPENED) && f.tries == 1 {
                window.begin(now);
            }
            window.sent(now);
            if t.is_window() {
                e.arena.remove(tag::BODY.of(f.of.into()));
                return true;
            }
            known = window.timeout().or(past);
            None
        }
        Some(Path(Known::Cocoa(cocoa))) => {
            let timeout = cocoa.first(now, standard);
            let first = timeout.saturating_add(part(timeout >> 1, spread));
            Some(if f.tries == 1 { first } else { Cocoa::next(before) })
        }
        _ => None,
    };
    // The first time by what is known, then as the standard has it.
    let alone = known.map(|timeout| match f.tries {
        1 => timeout.saturating_add(part(timeout >> 1, spread)).min(f.timeout),
        _ => f.timeout.max(standard.saturating_add(part(jitter, spread))),
    });
    if let (Some(f), Some(timeout)) = (e.flights.get_mut(flight), timeout.or(alone)) {
        f.timeout = timeout;
    }
    false
}

fn answered(e: &mut Endpoint<'_>, flight: usize) {
    // What was acknowledged has been measured then.
    let first = |f: &&Flight| f.owner == Owner::Transfer && f.stage != Stage::Acknowledged;
    let Some(&f) = e.flights.get(flight).filter(first) else { return };
    let (now, standard, out) = (e.now, e.config.ack_timeout, e.outstanding(&f));
    let Some(t) = e.transfers.get(usize::from(f.of)) else { return };
    let filled = out >= size(e, t);
    let rtt = now.wrapping_sub(f.since);
    match e.paths.get_mut(usize::from(t.path)) {
        Some(Path(Known::Cocoa(cocoa))) => cocoa.answered(now, rtt, f.tries, standard),
        Some(Path(Known::Windowed(window))) if t.is_window() => {
            window.answered(now, f.at, since(now, f.at).unwrap_or(0), f.tries, filled);
        }
        Some(Path(Known::Windowed(window))) => window.opened(now, rtt, f.tries),
        _ if f.tries == 1 && f.confirmable => {
            if let Some(past) = e.past_mut(f.peer) {
                past.answered(now, rtt);
            }
        }
        _ => {}
    }
}

fn lost(e: &mut Endpoint<'_>, flight: usize) -> Option<bool> {
    let tries = e.flights.get(flight).filter(|f| f.stage == Stage::Waiting && windows(e, f))?.tries;
    Some(lose(e, flight) && tries < MOST_TRIES)
}

/// Waiting → Ready. Where that is known by silence, so are all that have had a round trip; and after MAX_TRANSMIT_WAIT
/// (§4.8.2) of silence the transfer is lost.
fn lose(e: &mut Endpoint<'_>, flight: usize) -> bool {
    let (now, first, most) = (e.now, e.config.ack_timeout, e.config.max_retransmit);
    let wait = first.saturating_add(e.config.ack_jitter).saturating_mul((2_u32 << most).wrapping_sub(1));
    let Some(&f) = e.flights.get(flight) else { return true };
    let path = e.transfers.get(usize::from(f.of)).map_or(0, |t| t.path);
    let Some(window) = e.window_at(path) else { return true };
    let (_, silent) = window.deadline(f.at, first);
    if silent {
        window.silent(now);
        let window = *window;
        if window.silences() > most && since(now, window.heard()).is_none_or(|span| span >= wait) {
            return false;
        }
        let late =
            |o: &&mut Flight| o.is_of(f.of.into()) && o.stage == Stage::Waiting && window.had_round_trip(now, o.at);
        e.flights.iter_mut().filter(late).for_each(|o| o.stage = Stage::Ready);
    } else {
        window.lost(now, f.at);
    }
    if let Some(f) = e.flights.get_mut(flight) {
        f.stage = Stage::Ready;
    }
    true
}

/// The ID of a new message, where it is one, or where the same was sent as often and as long as may be (§4.2), or was a NON.
/// False: there is none now.
fn renew(e: &mut Endpoint<'_>, flight: usize) -> bool {
    let Some(f) = e.flights.get(flight).copied().filter(|f| windows(e, f)) else { return true };
    if !e.has_its_turn(&f) {
        return false;
    }
    if e.is_last(flight) {
        return true;
    }
    let copy = u32::from(f.tries).saturating_add(1);
    let again = f.tries.checked_rem(e.config.max_retransmit.saturating_add(1)) != Some(0);
    if (f.confirmable && again && !e.is_late(&f)) || f.timeout == copy {
        return true;
    }
    let of = usize::from(f.of);
    let lifetime = Duration::from_micros(u64::from(e.config.exchange_lifetime) << 6);
    let (now, at, before) = (e.clock.now(), e.now, e.mid);
    let taken = match e.paths.first_mut() {
        Some(Path(Known::Ids(ids))) => ids.take(before, now, lifetime),
        _ => None,
    };
    let Some(t) = e.transfers.get(of) else { return true };
    let path = t.path;
    let Some((mid, confirmable)) = taken else {
        if let Some(window) = e.window_at(path) {
            window.without_ids(at);
        }
        return false;
    };
    let confirmable = confirmable && t.is(flag::CONFIRMABLE);
    e.mid = mid.wrapping_add(1);
    if let Some(f) = e.flights.get_mut(flight) {
        (f.mid, f.confirmable, f.since, f.timeout) = (mid, confirmable, at, copy);
    }
    true
}

fn again(e: &mut Endpoint<'_>, transfer: usize, flight: usize) -> bool {
    let Some(t) = e.transfers.get_mut(transfer).filter(|t| t.is_window() && t.pauses < 64) else { return false };
    let Some(f) = e.flights.get_mut(flight) else { return false };
    t.pauses = t.pauses.saturating_add(1);
    f.renew();
    true
}

/// The body may end before it, or the server asks to be asked later.
fn puts_off(e: &mut Endpoint<'_>, transfer: usize, flight: usize, message: &Message<'_>) -> bool {
    answered(e, flight);
    if message.code.class() < 4 && !message.payload.is_empty() {
        return false;
    }
    let Some(&Flight { offset, token, .. }) = e.flights.get(flight) else { return false };
    let before = e.flights.iter().any(|f| f.is_of(transfer) && f.offset < offset);
    let age = message.options.uint(option::MAX_AGE).unwrap_or(60);
    let Some(t) = e.transfers.get_mut(transfer).filter(|t| t.is_window() && t.token != token) else {
        return false;
    };
    if matches!(message.code, super::Code::SERVICE_UNAVAILABLE | TOO_MANY_REQUESTS) && age <= 300 && t.pauses < 8 {
        // RFC 7252 §5.9.3.4, RFC 8516.
        t.pauses = t.pauses.saturating_add(1);
        let path = t.path;
        let until = e.from().wrapping_add(age.saturating_mul(SECOND));
        if let Some(window) = e.window_at(path) {
            window.pause(until);
        }
        let token = e.secret.draw();
        if let Some(f) = e.flights.get_mut(flight) {
            f.token = token;
            f.renew();
        }
        return true;
    }
    if !before || t.is(flag::ENDED) || t.reach > offset || t.phase != Phase::Receiving {
        return false;
    }
    (t.limit, t.position) = (offset, offset);
    t.clear(flag::SIZED);
    e.ground(transfer, offset);
    true
}

fn uploads(e: &mut Endpoint<'_>, transfer: usize, offset: u32, message: &Message<'_>) -> bool {
    let sends = |t: &&Transfer| matches!(t.phase, Phase::Sending | Phase::Wanting | Phase::Asked);
    let path = e.transfers.get(transfer).filter(sends).map_or(0, |t| t.path);
    e.window_at(path).is_some() && e.on_block(transfer, offset, message)
}

fn lapse(e: &mut Endpoint<'_>) {
    let now = e.now;
    for path in e.paths.iter_mut() {
        match &mut path.0 {
            Known::Windowed(window) => window.begin(now),
            Known::Cocoa(cocoa) => cocoa.age(now.wrapping_sub(LONGEST)),
            _ => {}
        }
    }
}
