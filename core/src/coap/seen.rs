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

use super::endpoint::{Endpoint, tag};
use super::{code::Code, config::Stats};
use crate::{Duration, Instant, Peer};

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

/// A message of a peer's. Part of [`Resources`](super::Resources).
#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    pub(super) at: Instant,
    pub(super) peer: Peer,
    pub(super) mid: u16,
    /// Milliseconds from `at` until the answer to a multicast request goes out (RFC 7252 §8.2).
    pub(super) leisure: u16,
    pub(super) answer: Answer,
    /// The answer is to be sent.
    pub(super) due: bool,
    pub(super) confirmable: bool,
    /// Whether it may give up its place once it is answered.
    pub(super) harmless: bool,
    /// The code of the answer.
    pub(super) code: Code,
}

impl Seen {
    /// A free place.
    pub const EMPTY: Self = Self {
        at: Instant::ZERO,
        peer: Peer(0),
        mid: 0,
        leisure: 0,
        answer: Answer::Free,
        due: false,
        confirmable: false,
        harmless: false,
        code: Code::EMPTY,
    };

    /// When something is to be sent: the acknowledgement of a request that the host has not answered, or the answer to a
    /// multicast request.
    pub(super) fn due_at(&self, delay: Duration) -> Option<Instant> {
        match self.answer {
            Answer::Pending if self.confirmable => Some(self.at.after(delay)),
            Answer::Leisure => Some(self.leisure_at()),
            _ => None,
        }
    }

    /// That time has come.
    pub(super) fn fall_due(&mut self) {
        self.answer = if self.answer == Answer::Leisure { Answer::Replied } else { Answer::Acked };
        self.due = true;
    }

    /// When the leisure of a multicast request ends.
    pub(super) fn leisure_at(&self) -> Instant {
        self.at.after(Duration::from_millis(u64::from(self.leisure)))
    }

    fn waits(&self) -> bool {
        self.due || matches!(self.answer, Answer::Pending | Answer::Acked | Answer::Leisure)
    }
}

impl Endpoint<'_> {
    /// The place of a message that arrived before.
    pub(super) fn find_seen(&self, now: Instant, peer: Peer, mid: u16) -> Option<usize> {
        self.seen
            .iter()
            .position(|s| s.answer != Answer::Free && s.mid == mid && s.peer == peer && !self.is_old(now, s))
    }

    fn is_old(&self, now: Instant, seen: &Seen) -> bool {
        now.since(seen.at) >= self.config.exchange_lifetime
    }

    /// A place for a message that has just arrived, answered by `answer`. None: drop the message.
    pub(super) fn remember(&mut self, now: Instant, message: Seen) -> Option<usize> {
        let rank = |s: &Seen| match s.answer {
            Answer::Free => Some((0, Instant::ZERO)),
            _ if self.is_old(now, s) => Some((1, s.at)),
            _ if s.waits() || !s.harmless => None,
            _ => Some((2, s.at)),
        };
        let ranked = self.seen.iter().enumerate().filter_map(|(index, s)| rank(s).map(|r| (r, index)));
        let Some((_, index)) = ranked.min() else {
            Stats::count(&mut self.stats.dropped);
            return None;
        };
        self.arena.remove(tag::REPLY.of(index));
        if let Some(place) = self.seen.get_mut(index) {
            *place = Seen { at: now, ..message };
        }
        Some(index)
    }

    /// Whether one more request that is not idempotent may hold a place.
    pub(super) fn may_hold(&self, now: Instant) -> bool {
        let held = self.seen.iter().filter(|s| s.answer != Answer::Free && !s.harmless && !self.is_old(now, s)).count();
        held < self.seen.len().div_ceil(2)
    }

    /// Resets a message: once, and without remembering it (a duplicate will be reset for the same reason).
    pub(super) fn reject(&mut self, now: Instant, peer: Peer, mid: u16) {
        self.remember(now, Seen { peer, mid, answer: Answer::Reject, due: true, harmless: true, ..Seen::EMPTY });
    }

    /// Puts a packet into the arena, in the place of answers kept for duplicates where there is no other.
    pub(super) fn make_room(&mut self, len: usize) -> bool {
        while self.arena.room() < len {
            let kept = self.seen.iter().enumerate().filter(|(_, s)| s.answer == Answer::Replied && !s.due);
            let Some((_, index)) = kept.map(|(index, s)| ((!s.harmless, s.at), index)).min() else { return false };
            self.arena.remove(tag::REPLY.of(index));
            if let Some(seen) = self.seen.get_mut(index) {
                seen.answer = Answer::Forgotten;
            }
        }
        true
    }
}
