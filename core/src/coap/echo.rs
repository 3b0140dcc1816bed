//! Whether a peer is where it says it is: Echo (RFC 9175 §2), so that nobody is flooded with answers to what he did not ask.
//!
//! A value is a [MAC](super::secret) over the peer and a span of 268 seconds under a key that follows from the endpoint's seed
//! (RFC 9175 appendix A, 2: no state for each client). It is good in its span and the next one. Besides, the last few peers that
//! showed one need not show it again.

use super::{
    code::Code,
    endpoint::{Endpoint, Error, tag},
    event::{Reply, RequestId},
    message::Message,
    option,
    secret::Secret,
    ticks::Tick,
};
use crate::{Instant, Peer, wire::copy};

/// The longest answer to a peer that has not shown that it is there: RFC 9175 §2.4, item 3.
pub(super) const SMALL: usize = 136;
/// What an answer can be long.
pub(super) const LARGE: u32 = 1152;
/// How many peers are remembered.
const PROVEN: u8 = 4;

/// Who is there, and what went to those of whom that is not known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    proven: [Peer; PROVEN as usize],
    /// How many there are.
    known: u8,
    next: u8,
    /// Bytes that may still go to those of whom it is not known, since when.
    credit: u32,
    since: Tick,
}

impl Reach {
    pub(super) const fn new(credit: u32) -> Self {
        Self { proven: [Peer(0); PROVEN as usize], known: 0, next: 0, credit, since: 0 }
    }

    /// Whether `value` is what `peer` was given of late. Then it is remembered.
    pub(super) fn shows(&mut self, secret: &Secret, now: Instant, peer: Peer, shown: &[u8]) -> bool {
        let Ok(shown) = shown.try_into().map(u64::from_le_bytes) else { return false };
        let span = span(now);
        if secret.echo(peer.0, span) != shown && secret.echo(peer.0, span.wrapping_sub(1)) != shown {
            return false;
        }
        if !self.knows(peer) {
            if let Some(place) = self.proven.get_mut(usize::from(self.next)) {
                *place = peer;
            }
            self.next = self.next.wrapping_add(1) & (PROVEN - 1);
            if self.known < PROVEN {
                self.known = self.known.wrapping_add(1);
            }
        }
        true
    }

    pub(super) fn knows(&self, peer: Peer) -> bool {
        self.proven.iter().take(self.known.into()).any(|known| *known == peer)
    }

    /// Bytes that may go to peers of whom it is not known that they are there: at most `limit` in a `lifetime`.
    pub(super) fn credit(&mut self, now: Tick, limit: u32, lifetime: Tick) -> u32 {
        if now.wrapping_sub(self.since) >= lifetime {
            self.since = now;
            self.credit = limit;
        }
        self.credit
    }

    /// `len` bytes are about to go, of this credit. Whether they may.
    pub(super) fn spend(&mut self, credit: u32, len: usize, limit: u32) -> bool {
        let left = u32::try_from(len).ok().and_then(|len| credit.checked_sub(len));
        if let (Some(left), true) = (left, limit != u32::MAX) {
            self.credit = left;
        }
        left.is_some()
    }
}

impl Endpoint<'_> {
    /// [`Reach::credit`] now.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn credit(&mut self) -> u32 {
        self.reach.credit(self.now, self.config.unproven, self.config.exchange_lifetime)
    }

    /// [`Reach::spend`] now.
    pub(super) fn spend(&mut self, len: usize) -> bool {
        let credit = self.credit();
        self.reach.spend(credit, len, self.config.unproven)
    }

    /// What a peer is to show now.
    pub(super) fn echo(&self, peer: Peer) -> [u8; 8] {
        value(&self.secret, span(self.clock.now()), peer)
    }

    /// [`Reach::shows`] now.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn shows(&mut self, peer: Peer, value: &[u8]) -> bool {
        self.reach.shows(&self.secret, self.clock.now(), peer, value)
    }

    /// A response to a request of ours: where it is 4.01 with an Echo option, the request goes again with that (RFC 9175
    /// §2.3), and so do all further ones of the transfer. Whether it does: not if it had that value, nor for ever.
    pub(super) fn echoes(&mut self, transfer: usize, flight: usize, message: &Message<'_>) -> bool {
        let Some(value) = message.options.get(option::ECHO).filter(|_| message.code == Code::UNAUTHORIZED) else {
            return false;
        };
        let tag = tag::ECHO.of(transfer);
        let (often, before) = self.arena.get(tag).and_then(<[u8]>::split_first).map_or((0, &[][..]), |(n, v)| (*n, v));
        let len = value.len().wrapping_add(1);
        if before == value {
            return (self.control.again)(self, transfer, flight);
        }
        if often == u8::MAX || value.is_empty() || value.len() > 40 {
            return false;
        }
        self.arena.remove(tag);
        let Some((first, place)) = self.place_for(tag, len).and_then(<[u8]>::split_first_mut) else { return false };
        *first = often.wrapping_add(1);
        copy(place, value);
        let mid = self.mid;
        let Some(f) = self.flights.get_mut(flight) else { return false };
        f.renew();
        f.mid = mid;
        self.mid = mid.wrapping_add(1);
        true
    }

    /// Answers a request 4.01 with an Echo option (RFC 9175 §2.3): its client sends it again with that option, which
    /// shows that it is there and that it wants this now. [`RequestId::is_proven`] is true then. For requests that open
    /// a valve, say. Nothing may have been done about the request yet.
    ///
    /// # Errors
    /// As [`respond`](Self::respond).
    pub fn challenge(&mut self, now: Instant, id: &RequestId) -> Result<(), Error> {
        self.tick(now);
        self.answer(id, &Reply::new(Code::UNAUTHORIZED, &[]), true)
    }
}

/// What a peer is to show in a span of time.
fn value(secret: &Secret, span: u32, peer: Peer) -> [u8; 8] {
    secret.echo(peer.0, span).to_le_bytes()
}

/// Which span of 2^28 µs it is.
#[allow(clippy::cast_possible_truncation, reason = "that is 36,000 years")]
fn span(now: Instant) -> u32 {
    (now.as_micros() >> 28) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Duration;

    #[test]
    fn a_value_is_good_for_its_peer_and_not_for_ever() {
        let (secret, mut reach) = (Secret::new(7), Reach::new(0));
        let at = |seconds| Instant::ZERO.after(Duration::from_secs(seconds));
        let given = value(&secret, span(at(1)), Peer(3));
        let mut shows =
            |seconds, peer, shown: &[u8]| (reach.shows(&secret, at(seconds), Peer(peer), shown), reach.knows(Peer(3)));
        assert_eq!([shows(2, 4, &given), shows(2, 3, &given[1..]), shows(600, 3, &given)], [(false, false); 3]);
        assert_eq!(shows(300, 3, &given), (true, true));
        let others = (10..14).map(|other| shows(300, other, &value(&secret, span(at(300)), Peer(other))));
        assert_eq!(others.last(), Some((true, false)), "those who came later take its place");
        assert_ne!(value(&Secret::new(8), span(at(1)), Peer(3)), given);
    }

    #[test]
    fn so_much_is_spent_in_a_lifetime_and_no_more() {
        let lifetime = 1000;
        let spend = |reach: &mut Reach, now, len, limit| {
            let credit = reach.credit(now, limit, lifetime);
            reach.spend(credit, len, limit)
        };
        let mut reach = Reach::new(300);
        assert!(spend(&mut reach, 0, 200, 300));
        assert!(!spend(&mut reach, 0, 200, 300));
        assert!(spend(&mut reach, 0, 100, 300));
        assert!(spend(&mut reach, lifetime, 300, 300));
        let mut reach = Reach::new(u32::MAX);
        assert!((0..9).all(|_| spend(&mut reach, 0, 1 << 30, u32::MAX)));
    }
}
