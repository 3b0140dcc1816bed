//! How fast the blocks of a transfer are asked for (RFC 7252 §4.7): when a message counts as lost, and how many may be
//! outstanding.
//!
//! | [`Policy`] | time-out | sent again after | outstanding | source |
//! | --- | --- | --- | --- | --- |
//! | `Standard` | 2 to 3 s, whatever the path | twice the time, each time | 1 | RFC 7252 §4.2, §4.8 |
//! | `Cocoa` | of the round trips measured, those of repeated messages too | 3, 2 or 1½ times, by its length | 1 | draft-ietf-core-cocoa-03 |
//! | `Windowed` | of the round trips measured, or one round trip after what was sent later was answered | the same, twice only where all is silent | a window | below |
//!
//! What was measured of a path is kept when its transfer is over, for as long as nothing else wants the place. A request that stands
//! alone under `Windowed` waits the first time by how long its peer's answers have taken, at least a fifth of a second, and then as RFC 7252
//! has it: one that gets lost costs no two seconds. §4.8.1 allows that, and of a path that has got worse one message too many tells.
//! The blocks of a body that go one after the other wait as ever: a late copy may do harm where duplicates are forgotten soon.
//!
//! # The window
//! Where a transfer may have several blocks outstanding, this is what it goes by. Nothing of it shows on the wire, where plain
//! requests for blocks go.
//!
//! - **Round trips** are measured on messages sent once (Karn: of a repeated one nobody knows which copy was answered).
//!   The shortest of the last 30 seconds stands for the path without queues, which then gets a moment to empty its queue.
//! - **Lost** is what was sent before something that has been answered, and has had a round trip and a quarter (RACK, RFC 8985
//!   §6.2); or all, where nothing has been heard for a time-out (RFC 6298: the mean and four deviations, the deviation at least a
//!   sixteenth). The time-out doubles only where silence follows silence: what is lost at random is asked for again at once.
//! - **The queue** is estimated as Vegas does: window × (round trip − shortest) ÷ round trip is how many of our blocks wait
//!   in the path. Delays under 4 ms are none.
//! - **Growth**: from 6 blocks (6 KiB; RFC 6928 allows ten segments) by one for each answer until one waits in the queue, then by
//!   one a round trip below one, and back above two, the more the longer the queue. So a slow link is full, and whoever shares it
//!   waits for two blocks of ours, not for the whole window.
//! - **Loss with a queue** of more than five is congestion: the window shrinks by three tenths, once a round trip. **Loss without** is the
//!   radio's: it takes back what two answers gave, so that up to a third may be lost before the window shrinks.
//! - **Silence** leaves two blocks, then one: a dead path is asked ever more rarely.
//! - **Pacing**: two windows a round trip at most, with an eighth of a round trip to catch up.
//!
//! Spans of time are counted in ticks of 64 µs, so that all arithmetic is of 32 bits.

use super::{
    ids::Ids,
    ticks::{SECOND, Tick, is_over, later, since},
};
use crate::Peer;

/// By what a transfer goes that fetches its blocks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Policy {
    /// RFC 7252 as it stands: one block after the other, fixed time-outs.
    Standard = 0,
    /// CoCoA (draft-ietf-core-cocoa-03): one block after the other, time-outs by round trips measured.
    Cocoa = 1,
    /// A congestion-controlled window where [`Request::window`](super::Request::window) allows more than one block;
    /// otherwise as `Standard`, but for the first time-out where the peer is known.
    #[default]
    Windowed = 2,
}

/// The longest time-out, half a minute.
const LONGEST: Tick = 32 * SECOND;

/// Mean and deviation of round trips (RFC 6298 §2).
#[derive(Debug, Default, Clone, Copy)]
struct Estimate {
    /// 0: nothing measured yet.
    mean: Tick,
    deviation: Tick,
}

impl Estimate {
    /// A round trip. A device that slept meanwhile is no long path.
    fn sample(&mut self, rtt: Tick) {
        let rtt = rtt.min(LONGEST);
        if self.mean == 0 {
            *self = Self { mean: rtt, deviation: rtt >> 1 };
            return;
        }
        let off = self.mean.abs_diff(rtt);
        self.deviation = self.deviation.saturating_sub(self.deviation >> 2).saturating_add(off >> 2);
        self.mean = self.mean.saturating_sub(self.mean >> 3).saturating_add(rtt >> 3).max(1);
    }

    fn timeout(&self, deviations: u32) -> Tick {
        self.mean.saturating_add(self.deviation.saturating_mul(deviations)).min(LONGEST)
    }

    /// The time-out of a message that stands alone: an answer may take the peer some time. `None`: nothing has been measured yet.
    fn alone(&self) -> Option<Tick> {
        (self.mean != 0).then(|| self.timeout(4).max(SECOND / 5))
    }
}

/// What is known of the path of a transfer. Part of [`Resources`](super::Resources).
#[derive(Debug, Default, Clone, Copy)]
pub struct Path(pub(super) Known);

impl Path {
    /// A free place.
    pub const EMPTY: Self = Self(Known::Nothing);
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) enum Known {
    #[default]
    Nothing,
    /// Of all of them: the message IDs that they use.
    Ids(Ids),
    Cocoa(Cocoa),
    Windowed(Window),
    /// Of no transfer: how long a peer's answers took.
    Peer(Past),
}

/// Round trips to a peer, from transfers that are over and from requests that stand alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past {
    pub(super) peer: Peer,
    rtt: Estimate,
    /// When the last of them ended.
    pub(super) at: Tick,
}

impl Past {
    /// Of a peer of which nothing is known.
    pub(super) const fn new(peer: Peer) -> Self {
        Self { peer, rtt: Estimate { mean: 0, deviation: 0 }, at: 0 }
    }

    /// An answer to a message that was sent once.
    pub(super) fn answered(&mut self, now: Tick, rtt: Tick) {
        self.rtt.sample(rtt.max(1));
        self.at = now;
    }

    /// A transfer is over, of which this was known.
    pub(super) fn replace(&mut self, now: Tick, known: &Known) {
        let rtt = match known {
            Known::Windowed(Window { rtt, .. }) | Known::Cocoa(Cocoa { strong: rtt, .. }) => *rtt,
            _ => return,
        };
        if rtt.mean != 0 {
            (self.rtt, self.at) = (rtt, now);
        }
    }

    /// The time-out of a request that stands alone (RFC 6298), which may take the peer some time.
    pub(super) fn timeout(&self) -> Option<Tick> {
        self.rtt.alone()
    }
}

impl Known {
    /// `None`: nothing but what RFC 7252 says.
    pub(super) const fn new(policy: Policy, most: u8) -> Option<Self> {
        match policy {
            Policy::Cocoa => Some(Self::Cocoa(Cocoa::NEW)),
            Policy::Windowed if most > 1 => Some(Self::Windowed(Window { most, ..Window::NEW })),
            _ => None,
        }
    }
}

/// CoCoA's time-out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cocoa {
    strong: Estimate,
    weak: Estimate,
    /// 0: the standard's.
    timeout: Tick,
    updated: Tick,
}

impl Cocoa {
    /// Of a path whose round trips are known from before.
    pub(super) fn known(past: &Past) -> Self {
        Self { strong: past.rtt, timeout: past.rtt.timeout(4), updated: past.at, ..Self::NEW }
    }

    const NEW: Self = Self {
        strong: Estimate { mean: 0, deviation: 0 },
        weak: Estimate { mean: 0, deviation: 0 },
        timeout: 0,
        updated: 0,
    };

    /// Nothing was heard for very long.
    pub(super) fn age(&mut self, updated: Tick) {
        self.updated = updated;
    }

    /// The first time-out of a message, before dithering; ages it (§4.3). `standard` is that of RFC 7252.
    pub(super) fn first(&mut self, now: Tick, standard: Tick) -> Tick {
        if self.timeout == 0 {
            return standard;
        }
        let age = now.wrapping_sub(self.updated);
        if self.timeout < SECOND && age > self.timeout.saturating_mul(16) {
            self.timeout = self.timeout.saturating_mul(2);
            self.updated = now;
        } else if self.timeout > 3 * SECOND && age > self.timeout.saturating_mul(4) {
            self.timeout = SECOND.saturating_add(self.timeout >> 1);
            self.updated = now;
        }
        self.timeout
    }

    /// The time-out after this one (§4.2.1, variable back-off).
    pub(super) fn next(timeout: Tick) -> Tick {
        let next = match timeout {
            ..SECOND => timeout.saturating_mul(3),
            SECOND..=46_875 => timeout.saturating_mul(2),
            _ => timeout.saturating_add(timeout >> 1),
        };
        next.min(LONGEST)
    }

    /// A message that was sent `tries` times, `rtt` ago for the first time, has been answered (§4.2).
    pub(super) fn answered(&mut self, now: Tick, rtt: Tick, tries: u8, standard: Tick) {
        let old = if self.timeout == 0 { standard } else { self.timeout };
        self.timeout = match tries {
            1 => {
                self.strong.sample(rtt.max(1));
                (self.strong.timeout(4) >> 1).saturating_add(old >> 1)
            }
            2 | 3 => {
                self.weak.sample(rtt.max(1));
                (self.weak.timeout(1) >> 2).saturating_add(old.saturating_sub(old >> 2))
            }
            _ => return,
        };
        self.updated = now;
    }
}

/// A block, in the window's fixed point.
const BLOCK: u16 = 16;
/// What a window keeps after a loss, or where it lets its queue run empty.
const LEAST: u16 = 2 * BLOCK;
/// The first window.
const FIRST: u16 = 6 * BLOCK;
/// A queue in which one more block does no harm.
const SHORT: u16 = BLOCK;
/// A queue that is long enough.
const LONG: u16 = 2 * BLOCK;
/// A queue in which a loss is its overflow.
const FULL: u16 = 5 * BLOCK;

/// The window of blocks outstanding: see [the module](self).
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    rtt: Estimate,
    /// The shortest round trip; 0: unknown.
    floor: Tick,
    /// Since when `floor` is the shortest.
    since: Tick,
    /// Sixteenths of a block.
    window: u16,
    /// Below it, the window grows by one for each answer.
    threshold: u16,
    /// When the message was sent that is the latest sent of those answered, and how long its answer took.
    answered: Tick,
    took: Tick,
    /// When anything was heard last.
    heard: Tick,
    /// What was sent before is no reason to shrink again.
    cut: Tick,
    /// Nothing is sent before.
    next: Tick,
    /// Time-outs in a row without an answer.
    silences: u8,
    /// The host's bound.
    most: u8,
}

impl Window {
    const NEW: Self = Self {
        rtt: Estimate { mean: 0, deviation: 0 },
        floor: 0,
        since: 0,
        window: FIRST,
        threshold: u16::MAX,
        answered: 0,
        took: 0,
        heard: 0,
        cut: 0,
        next: 0,
        silences: 0,
        most: 1,
    };

    /// Blocks that may be outstanding.
    pub(super) fn size(&self) -> u16 {
        (self.window / BLOCK).min(self.most.into()).max(1)
    }

    /// Blocks of ours that wait in the path's queue.
    fn queue(&self) -> u16 {
        let late = self.rtt.mean.saturating_sub(self.floor);
        if late <= 63 {
            return 0;
        }
        let queue = u32::from(self.window).saturating_mul(late).checked_div(self.rtt.mean).unwrap_or(0);
        u16::try_from(queue).unwrap_or(u16::MAX)
    }

    /// The part of a block by which each of a window's answers makes a block.
    fn share(&self) -> u16 {
        (BLOCK * BLOCK).checked_div(self.window).unwrap_or(BLOCK).max(1)
    }

    fn set(&mut self, window: u16) {
        self.window = window.min(u16::from(self.most).saturating_mul(BLOCK)).max(BLOCK);
    }

    /// The first message goes out.
    pub(super) fn begin(&mut self, now: Tick) {
        (self.heard, self.next, self.cut, self.since) = (now, now, now, now);
    }

    /// A message goes out.
    pub(super) fn sent(&mut self, now: Tick) {
        let gap = (self.rtt.mean >> 1).saturating_mul(BLOCK.into()).checked_div(self.window.into()).unwrap_or(0);
        // What was due by an eighth of a round trip ago may be caught up with.
        let late = since(now, self.next).unwrap_or(0).saturating_sub(self.rtt.mean >> 3);
        self.next = self.next.wrapping_add(late.saturating_add(gap));
    }

    /// From when on the next message may go out.
    pub(super) fn next(&self) -> Tick {
        self.next
    }

    /// Nothing is sent for a while, and then carefully.
    pub(super) fn pause(&mut self, until: Tick) {
        self.next = later(self.next, until);
        self.threshold = LEAST;
        self.window = BLOCK;
    }

    /// Nothing is sent for a second, for want of message IDs.
    pub(super) fn without_ids(&mut self, now: Tick) {
        self.next = later(self.next, now.wrapping_add(SECOND));
    }

    /// A message was answered that had been sent at `sent`, `rtt` ago, for the `tries`th time. `filled`: as many were
    /// outstanding as may be.
    pub(super) fn answered(&mut self, now: Tick, sent: Tick, rtt: Tick, tries: u8, filled: bool) {
        let rtt = rtt.max(1);
        self.heard = now;
        self.silences = 0;
        if (tries == 1 || rtt >= self.floor) && (self.took == 0 || !is_over(self.answered, sent)) {
            self.answered = sent;
            self.took = rtt;
        }
        if tries != 1 {
            return self.grow(filled && is_over(sent, self.cut));
        }
        self.rtt.sample(rtt);
        if self.floor == 0 || rtt < self.floor {
            self.floor = rtt;
        }
        if since(now, self.since).is_none_or(|span| span > 30 * SECOND) {
            // Two blocks empty the queue for a moment, in which the path shows its length anew.
            (self.since, self.cut) = (now, now);
            self.floor = rtt;
            self.threshold = self.window.min(self.threshold);
            self.window = self.window.min(LEAST);
        }
        self.grow(filled && is_over(sent, self.cut));
    }

    /// The first message of a window was answered.
    pub(super) fn opened(&mut self, now: Tick, rtt: Tick, tries: u8) {
        let ahead = self.cut.wrapping_sub(1);
        self.cut = ahead;
        self.answered(now, ahead, rtt, tries, true);
    }

    fn grow(&mut self, filled: bool) {
        let queue = self.queue();
        let starting = self.window < self.threshold;
        if starting && queue > SHORT {
            self.threshold = self.window;
        } else if queue > LONG {
            self.set(self.window.saturating_sub(self.share().saturating_mul(queue >> 5)).max(LEAST));
        } else if filled && queue < SHORT {
            self.set(self.window.saturating_add(if starting { BLOCK } else { self.share() }));
        }
    }

    /// A message that was sent at `sent` is lost, as what was sent later shows.
    pub(super) fn lost(&mut self, now: Tick, sent: Tick) {
        if self.queue() <= FULL {
            let twice = if self.window < self.threshold { BLOCK } else { self.share() }.saturating_mul(2);
            self.set(self.window.saturating_sub(twice).max(LEAST));
        } else if !is_over(self.cut, sent) {
            self.cut = now;
            let tenth = self.window.checked_div(10).unwrap_or(0);
            self.set(self.window.saturating_sub(tenth.saturating_mul(3)).max(LEAST));
            self.threshold = self.window;
        }
    }

    /// Nothing was heard for a time-out.
    pub(super) fn silent(&mut self, now: Tick) {
        self.silences = self.silences.saturating_add(1);
        self.cut = now;
        self.threshold = match self.silences {
            1 => self.window,
            _ => (self.threshold >> 1).max(LEAST),
        };
        self.window = self.window.min(if self.silences == 1 { LEAST } else { BLOCK });
    }

    /// Time-outs in a row without an answer.
    pub(super) fn silences(&self) -> u8 {
        self.silences
    }

    /// The time-out of a message that stands alone.
    pub(super) fn timeout(&self) -> Option<Tick> {
        self.rtt.alone()
    }

    /// Whether what was sent then has had a round trip.
    pub(super) fn had_round_trip(&self, now: Tick, sent: Tick) -> bool {
        since(now, sent).is_some_and(|span| span >= self.rtt.mean)
    }

    /// When anything was heard last.
    pub(super) fn heard(&self) -> Tick {
        self.heard
    }

    /// When a message that was sent at `sent` counts as lost, and whether that is by silence. `first` is the time-out where
    /// nothing has been measured yet.
    pub(super) fn deadline(&self, sent: Tick, first: Tick) -> (Tick, bool) {
        if self.took != 0 && !is_over(sent, self.answered) {
            let slack = (self.rtt.mean >> 2).max(self.rtt.deviation);
            return (sent.wrapping_add(self.took.saturating_add(slack).saturating_add(1)), false);
        }
        let timeout = match self.rtt {
            Estimate { mean: 0, .. } => first,
            Estimate { mean, deviation } => Estimate { mean, deviation: deviation.max(mean >> 4).max(40) }.timeout(4),
        };
        let timeout = timeout.checked_shl(self.silences.min(9).into()).unwrap_or(LONGEST).min(LONGEST);
        (later(sent, self.heard).wrapping_add(timeout), true)
    }
}
