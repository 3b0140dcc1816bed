//! Whether a peer is where it says it is: Echo (RFC 9175 §2), so that nobody is flooded with answers to what he did not ask.
//!
//! A value is a MAC over the peer and a span of 268 seconds under a key that follows from the endpoint's seed (RFC 9175
//! appendix A, 2: no state for each client). It is good in its span and the next one. Besides, the last few peers that showed
//! one need not show it again.
//!
//! The MAC is HalfSipHash-2-4 with 64 bits of key and of output: SipHash for processors of 32 bits, by its authors. RFC 9175 §5
//! asks for 64 bits that nobody else can predict; a key of more would be no stronger, since it follows from a seed of 64.

use super::{
    code::Code,
    endpoint::{Endpoint, Error, tag},
    event::{Reply, RequestId},
    message::Message,
    option,
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
    key: u64,
    proven: [Peer; PROVEN as usize],
    /// How many there are.
    known: u8,
    next: u8,
    /// Bytes that may still go to those of whom it is not known, since when.
    credit: u32,
    since: Tick,
}

impl Reach {
    /// Of an endpoint's seed.
    pub(super) fn new(seed: u64, credit: u32) -> Self {
        let key = halfsiphash(seed, 0x7761_6674, 0x4563_686F);
        Self { key, proven: [Peer(0); PROVEN as usize], known: 0, next: 0, credit, since: 0 }
    }

    /// What `peer` is to show.
    pub(super) fn value(&self, now: Instant, peer: Peer) -> [u8; 8] {
        halfsiphash(self.key, peer.0, span(now)).to_le_bytes()
    }

    /// Whether `value` is what `peer` was given of late. Then it is remembered.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn shows(&mut self, now: Instant, peer: Peer, value: &[u8]) -> bool {
        let Ok(value) = value.try_into().map(u64::from_le_bytes) else { return false };
        let mut span = span(now);
        if halfsiphash(self.key, peer.0, span) != value {
            span = span.wrapping_sub(1);
            if halfsiphash(self.key, peer.0, span) != value {
                return false;
            }
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

    /// [`Reach::shows`] now.
    pub(super) fn shows(&mut self, peer: Peer, value: &[u8]) -> bool {
        self.reach.shows(self.clock.now(), peer, value)
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
            return self.asks_again(transfer, flight);
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

/// Which span of 2^28 µs it is.
#[allow(clippy::cast_possible_truncation, reason = "that is 36,000 years")]
fn span(now: Instant) -> u32 {
    (now.as_micros() >> 28) as u32
}

/// HalfSipHash-2-4 of two words, 64 bits of it.
#[cfg_attr(feature = "opt-size", inline(never))]
#[allow(clippy::cast_possible_truncation, reason = "halves")]
fn halfsiphash(key: u64, first: u32, second: u32) -> u64 {
    let (k0, k1) = (key as u32, (key >> 32) as u32);
    let [mut a, mut b, mut c, mut d] = [k0, k1 ^ 0xEE, k0 ^ 0x6C79_6765, k1 ^ 0x7465_6462];
    let mut low = 0;
    // The words, one that tells how many bytes they are, and twice the end: after so many rounds a word is done.
    let (mut word, mut round) = (first, 0_u8);
    d ^= word;
    loop {
        a = a.wrapping_add(b);
        b = b.rotate_left(5) ^ a;
        a = a.rotate_left(16);
        c = c.wrapping_add(d);
        d = d.rotate_left(8) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(7) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(13) ^ c;
        c = c.rotate_left(16);
        round = round.wrapping_add(1);
        let next = match round {
            2 => second,
            4 => 8 << 24,
            6 => 0,
            10 => {
                low = b ^ d;
                b ^= 0xDD;
                continue;
            }
            14 => return u64::from(low) | u64::from(b ^ d) << 32,
            _ => continue,
        };
        a ^= word;
        d ^= next;
        word = next;
        if round == 6 {
            c ^= 0xEE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Duration;

    #[test]
    fn the_mac_is_halfsiphash_2_4() {
        // The reference's vector for the input 00 01 … 07 under the key 00 01 … 07 (`vectors_hsip64` of its authors).
        let mac = halfsiphash(0x0706_0504_0302_0100, 0x0302_0100, 0x0706_0504);
        assert_eq!(mac.to_le_bytes(), [0xED, 0xFE, 0xE8, 0x20, 0xBC, 0xE4, 0x85, 0x8C]);
    }

    #[test]
    fn a_value_is_good_for_its_peer_and_not_for_ever() {
        let mut reach = Reach::new(7, 0);
        let at = |seconds| Instant::ZERO.after(Duration::from_secs(seconds));
        let value = reach.value(at(1), Peer(3));
        assert!(!reach.shows(at(2), Peer(4), &value) && !reach.shows(at(2), Peer(3), &value[1..]));
        assert!(!reach.shows(at(600), Peer(3), &value) && !reach.knows(Peer(3)));
        assert!(reach.shows(at(300), Peer(3), &value) && reach.knows(Peer(3)));
        for other in 10..14 {
            let value = reach.value(at(300), Peer(other));
            assert!(reach.shows(at(300), Peer(other), &value));
        }
        assert!(!reach.knows(Peer(3)), "those who came later take its place");
        assert_ne!(Reach::new(8, 0).value(at(1), Peer(3)), value);
    }

    #[test]
    fn so_much_is_spent_in_a_lifetime_and_no_more() {
        let lifetime = 1000;
        let spend = |reach: &mut Reach, now, len, limit| {
            let credit = reach.credit(now, limit, lifetime);
            reach.spend(credit, len, limit)
        };
        let mut reach = Reach::new(7, 300);
        assert!(spend(&mut reach, 0, 200, 300));
        assert!(!spend(&mut reach, 0, 200, 300));
        assert!(spend(&mut reach, 0, 100, 300));
        assert!(spend(&mut reach, lifetime, 300, 300));
        let mut reach = Reach::new(7, u32::MAX);
        assert!((0..9).all(|_| spend(&mut reach, 0, 1 << 30, u32::MAX)));
    }
}
