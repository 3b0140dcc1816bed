//! PROBING_RATE (RFC 7252 §4.7): how much goes to a peer that does not respond.
//!
//! A NON request, or an acknowledged one, that nothing has answered when its transfer is given up is still *expected*: its
//! flight keeps its place, and counts for NSTART with its peer, until PROBING_RATE has paid for the bytes that were sent. Anything
//! that the peer sends ends that at once. CON requests that nobody acknowledges are kept in check by their back-off
//! (§4.2), windows by their congestion control, and a request that has asked for no answer (RFC 7967) got none by its own wish.
//!
//! Such flights are the first to make room for others. Which peer it was is not known then any more, so that until the end of
//! its time no transfer begins with anyone. Nothing grows, and the rate holds however many peers are silent.

use super::{
    congestion,
    endpoint::{Endpoint, tag},
    flight::{Flight, Owner, Stage},
    message::Message,
    option,
};
use crate::{Instant, Peer};

/// Ticks of a second.
const SECOND: u32 = 15_625;

impl Endpoint<'_> {
    /// A transfer is given up. [RFC7252-4.7-2]
    pub(super) fn hush(&mut self, transfer: usize) {
        let now = self.clock.now();
        let Some(t) = self.transfers.get(transfer) else { return };
        let kept = self.arena.get(tag::REQUEST.of(transfer)).map(Message::decode);
        // A group has answered when one of its members has.
        if (t.group && t.ended) || kept.is_none_or(|m| m.is_ok_and(|m| m.options.get(option::NO_RESPONSE).is_some())) {
            return;
        }
        for index in 0..self.flights.len() {
            let Some(&f) = self.flights.get(index).filter(|f| f.is_of(transfer) && f.tries != 0) else { continue };
            if (f.confirmable && f.stage != Stage::Acknowledged) || self.window_of(&f).is_some() {
                continue;
            }
            let (Ok(len) | Err(len)) = self.write_request(&mut [], &f, transfer);
            // Each of the NSTART interactions that there may be with the peer has its part of the rate.
            let bytes = [f.tries, self.config.nstart.max(1)]
                .iter()
                .fold(u32::try_from(len).unwrap_or(u32::MAX), |bytes, n| bytes.saturating_mul(u32::from(*n)));
            let owed = bytes.saturating_mul(SECOND).checked_div(self.config.probing_rate).unwrap_or(u32::MAX);
            let paid = congestion::tick(now).wrapping_sub(f.since);
            let (Some(rest), Some(f)) = (owed.checked_sub(paid).filter(|n| *n != 0), self.flights.get_mut(index))
            else {
                continue;
            };
            (f.owner, f.stage, f.at) = (Owner::Silent, Stage::Waiting, congestion::after(now, rest));
        }
    }

    /// A peer has sent something.
    pub(super) fn heard(&mut self, peer: Peer) {
        for f in self.flights.iter_mut() {
            if f.owner == Owner::Silent && f.peer == peer {
                *f = Flight::EMPTY;
            }
        }
    }

    /// A place for a flight, that of a silent one where there is no other: of the one whose time is over first.
    pub(super) fn place(&mut self) -> Option<usize> {
        let free = self.flights.iter().position(|f| f.owner == Owner::Nobody);
        if free.is_some() {
            return free;
        }
        let silent = self.flights.iter().enumerate().filter(|(_, f)| f.owner == Owner::Silent);
        let (index, at) = silent.map(|(index, f)| (index, f.at)).min_by_key(|(_, at)| *at)?;
        self.quiet = self.quiet.max(at);
        self.land(index);
        Some(index)
    }

    /// Until when no transfer begins, for the sake of peers that are not known any more.
    pub(super) fn quiet(&self, now: Instant, flight: &Flight) -> Option<Instant> {
        Some(self.quiet).filter(|at| *at > now && matches!(flight.owner, Owner::Transfer(_)))
    }
}
