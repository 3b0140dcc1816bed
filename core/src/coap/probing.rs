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
    endpoint::{Endpoint, tag},
    exchange::flag,
    flight::{NONE, Owner, Stage},
    option,
    ticks::{LONGEST, SECOND, later},
};
use crate::Peer;

impl Endpoint<'_> {
    /// A transfer is given up. [RFC7252-4.7-2]
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn hush(&mut self, transfer: usize) {
        let Some(t) = self.transfers.get(transfer) else { return };
        let Ok(kept) = self.kept(tag::REQUEST.of(transfer)) else { return };
        // A group has answered when one of its members has.
        if (t.is(flag::GROUP) && t.is(flag::ENDED)) || kept.options.get(option::NO_RESPONSE).is_some() {
            return;
        }
        for index in 0..self.flights.len() {
            let Some(f) = self.flights.get(index).filter(|f| f.is_of(transfer) && f.tries != 0) else { continue };
            if (f.confirmable && f.stage != Stage::Acknowledged) || self.is_windowed(f) {
                continue;
            }
            let (Ok(len) | Err(len)) = self.write_request(&mut [], f);
            // Each of the NSTART interactions that there may be with the peer has its part of the rate.
            let times = u32::from(f.tries).wrapping_mul(u32::from(self.config.nstart));
            // Datagrams of 16 bits, so often as two times 8 bits say, are 32 bits of bytes; and of ticks, where they are cut.
            let bytes = u32::from(u16::try_from(len).unwrap_or(u16::MAX)).wrapping_mul(times);
            let owed = bytes
                .min(u32::MAX / SECOND)
                .wrapping_mul(SECOND)
                .checked_div(self.config.probing_rate)
                .unwrap_or(LONGEST);
            let paid = self.now.wrapping_sub(f.since);
            if let (1.., Some(f)) = (owed.saturating_sub(paid), self.flights.get_mut(index)) {
                (f.owner, f.stage, f.at) = (
                    Owner::Silent,
                    Stage::Waiting,
                    f.since.wrapping_add(owed.min(LONGEST.wrapping_sub(1)).wrapping_add(1)),
                );
            }
        }
    }

    /// A peer has sent something.
    pub(super) fn heard(&mut self, peer: Peer) {
        for f in self.flights.iter_mut() {
            if f.owner == Owner::Silent && f.peer == peer {
                f.owner = Owner::Nobody;
            }
        }
    }

    /// A place for a flight, that of a silent one where there is no other: of the one whose time is over first. [`NONE`]: there
    /// is none.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn place(&mut self) -> usize {
        let (mut found, mut least) = (NONE, u32::MAX);
        for (index, f) in self.flights.iter().enumerate() {
            let left = match f.owner {
                Owner::Nobody => 0,
                Owner::Silent => f.at.wrapping_sub(self.now).max(1),
                _ => continue,
            };
            if left < least {
                (found, least) = (index, left);
            }
        }
        if let Some(f) = self.flights.get(found).filter(|f| f.owner == Owner::Silent) {
            self.quiet = later(self.quiet, f.at);
        }
        found
    }
}
