//! Messages of peers', remembered: detects duplicates and answers them alike (RFC 7252 §4.5), with a hard cap.
//!
//! **When the table is full.** A message that has been answered and may harmlessly be handled twice gives up its place,
//! the longest known first: a response, or a request that is idempotent, or a block of a body (the host sees by its offset
//! that it has it). That is what RFC 7252 §4.5 allows. A request that is *not* idempotent keeps its place for
//! EXCHANGE_LIFETIME. Such requests hold at most half of the table; one that would hold more is answered 5.03 and not handled.
//! A request that the host has not answered keeps its place too; with none left a message is dropped, as if it had been lost,
//! and the peer sends it again. Nothing grows.
//!
//! **When the arena is full,** answers kept for duplicates leave it, the oldest first. A duplicate of an idempotent request is then
//! handled again; one of a request that is not idempotent is answered by the same code without payload.
//!
//! ```text
//!          Pending ──respond──▶ (Leisure ─time─▶) Replied ──arena full──▶ Forgotten
//!             │ acknowledge, ack_delay
//!             ▼
//!           Acked ──respond (separate)──▶ Done            Done: an acknowledged response; Reject: a reset, once
//! ```

use super::{
    code::Code,
    config::{MINUTE, Stats},
    endpoint::{Endpoint, tag},
    flight::NONE,
    ticks::{LONGEST, NEVER, Tick, until},
};
use crate::Peer;

/// What is known of a message that arrived.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// No message: the place is free.
    #[default]
    Free,
    /// The host has it.
    Pending,
    /// Acknowledged; the host has it, and the response follows separately.
    Acked,
    /// Acknowledged, and that was all.
    Done,
    /// The answer stands in the arena, and is to be sent later: the request came by multicast.
    Leisure,
    /// The answer stands in the arena.
    Replied,
    /// The answer had to leave the arena.
    Forgotten,
    /// To be reset; forgotten once that is done.
    Reject,
}

/// What else is known of it: a bit each.
pub(super) mod flag {
    /// The answer is to be sent.
    pub(in super::super) const DUE: u8 = 8;
    pub(in super::super) const CONFIRMABLE: u8 = 16;
    /// It may give up its place once it is answered.
    pub(in super::super) const HARMLESS: u8 = 32;
}

/// A message of a peer's. Part of [`Resources`](super::Resources).
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct Seen {
    // What is short first, where short instructions reach it.
    /// The [`Answer`] in its lowest bits, and of those in [`flag`].
    state: u8,
    /// The code of the answer.
    pub(super) code: Code,
    pub(super) mid: u16,
    /// When it arrived; of a multicast request, when its leisure is over (RFC 7252 §8.2), a minute later at most.
    pub(super) at: Tick,
    pub(super) peer: Peer,
}

impl Seen {
    /// A free place.
    pub const EMPTY: Self = Self { at: 0, peer: Peer(0), mid: 0, state: 0, code: Code::EMPTY };

    pub(super) const fn new(peer: Peer, mid: u16, answer: Answer, flags: u8) -> Self {
        Self { peer, mid, state: answer as u8 | flags, ..Self::EMPTY }
    }

    pub(super) const fn answer(&self) -> Answer {
        match self.state & ANSWER {
            1 => Answer::Pending,
            2 => Answer::Acked,
            3 => Answer::Done,
            4 => Answer::Leisure,
            5 => Answer::Replied,
            6 => Answer::Forgotten,
            7 => Answer::Reject,
            _ => Answer::Free,
        }
    }

    /// With another answer, which is to be sent or not.
    pub(super) fn set(&mut self, answer: Answer, due: bool) {
        self.state = self.state & !(ANSWER | flag::DUE) | answer as u8 | if due { flag::DUE } else { 0 };
    }

    pub(super) const fn is(&self, flags: u8) -> bool {
        self.state & flags != 0
    }

    /// The answer is to be sent, again perhaps.
    pub(super) fn fall_due(&mut self) {
        self.state |= flag::DUE;
    }

    /// How long it is until something is to be sent: the acknowledgement of a request that the host has not answered, or the
    /// answer to a multicast request.
    pub(super) fn wait(&self, now: Tick, delay: Tick) -> Tick {
        match self.answer() {
            Answer::Pending if self.is(flag::CONFIRMABLE) => until(now, self.at.wrapping_add(delay)),
            Answer::Leisure => until(now, self.at),
            _ => NEVER,
        }
    }

    /// That time has come.
    pub(super) fn ripen(&mut self) {
        self.set(if self.answer() == Answer::Leisure { Answer::Replied } else { Answer::Acked }, true);
    }

    /// How long ago it arrived.
    fn age(&self, now: Tick) -> Tick {
        let age = now.wrapping_sub(self.at);
        // What is ahead by as much as the longest leisure is not old.
        if age > MINUTE.wrapping_neg().wrapping_sub(1) { 0 } else { age }
    }

    fn waits(&self) -> bool {
        self.is(flag::DUE) || matches!(self.answer(), Answer::Pending | Answer::Acked | Answer::Leisure)
    }
}

/// The bits of an [`Answer`].
const ANSWER: u8 = 7;

impl Endpoint<'_> {
    /// The place of a message that arrived before.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn find_seen(&self, peer: Peer, mid: u16) -> Option<usize> {
        let known = |s: &Seen| s.mid == mid && s.peer == peer && s.answer() != Answer::Free && !self.is_old(s);
        self.seen.iter().position(known)
    }

    pub(super) fn is_old(&self, seen: &Seen) -> bool {
        seen.age(self.now) >= self.config.exchange_lifetime
    }

    /// The place that weighs most by what it is and its age, whose answer leaves the arena; [`NONE`] where none weighs anything.
    fn oust(&mut self, weigh: fn(&Self, &Seen, Tick) -> u32) -> usize {
        let (mut found, mut most) = (NONE, 0);
        for (index, seen) in self.seen.iter().enumerate() {
            let weight = weigh(self, seen, seen.age(self.now));
            if weight > most {
                (found, most) = (index, weight);
            }
        }
        self.arena.remove(tag::REPLY.of(found));
        found
    }

    /// A place for a message that has just arrived, `at` ticks before its leisure is over. None: drop the message.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn remember(&mut self, message: Seen) -> Option<usize> {
        // A free one, or the one that is old for the longest time, or that did no harm for the longest time.
        let index = self.oust(|e, s, age| match s.answer() {
            Answer::Free => u32::MAX,
            _ if age >= e.config.exchange_lifetime => age | !LONGEST,
            _ if s.waits() || !s.is(flag::HARMLESS) => 0,
            _ => age.wrapping_add(1),
        });
        let Some(place) = self.seen.get_mut(index) else {
            Stats::count(&mut self.stats.dropped);
            return None;
        };
        *place = Seen { at: self.now.wrapping_add(message.at), ..message };
        Some(index)
    }

    /// Whether one more request that is not idempotent may hold a place.
    pub(super) fn may_hold(&self) -> bool {
        let held =
            self.seen.iter().filter(|s| s.answer() != Answer::Free && !s.is(flag::HARMLESS) && !self.is_old(s)).count();
        held < self.seen.len().div_ceil(2)
    }

    /// Resets a message: once, and without remembering it (a duplicate will be reset for the same reason).
    pub(super) fn reject(&mut self, peer: Peer, mid: u16) {
        self.remember(Seen::new(peer, mid, Answer::Reject, flag::DUE | flag::HARMLESS));
    }

    /// A place for a packet in the arena, that of answers kept for duplicates where there is no other: of those that
    /// may harmlessly be handled again before others, and the oldest first.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn place_for(&mut self, tag: u32, len: usize) -> Option<&mut [u8]> {
        while self.arena.room() < len {
            let index = self.oust(|_, s, age| match s.answer() {
                Answer::Replied if !s.is(flag::DUE) => {
                    age.min(LONGEST >> 1).wrapping_add(1) | if s.is(flag::HARMLESS) { !LONGEST } else { 0 }
                }
                _ => 0,
            });
            self.seen.get_mut(index)?.set(Answer::Forgotten, false);
        }
        self.arena.place(tag, len)
    }

    /// Time passes for messages received: what is due is sent, and what is old forgotten.
    pub(super) fn age_seen(&mut self) {
        let (now, delay, lifetime) = (self.now, self.config.ack_delay, self.config.exchange_lifetime);
        for (index, s) in self.seen.iter_mut().enumerate() {
            if s.answer() != Answer::Free && s.age(now) >= lifetime {
                self.arena.remove(tag::REPLY.of(index));
                *s = Seen::EMPTY;
            } else if s.wait(now, delay) == 0 {
                s.ripen();
            }
        }
    }
}
