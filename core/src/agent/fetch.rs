//! Where an image comes from, and which part of it has been asked for.

use super::{event::Link, topic::Name};
use crate::{Duration, coap::Exchange};

/// The download under way.
#[derive(Debug)]
pub(super) enum Fetch {
    /// None.
    Idle,
    /// Model A: retained chunks pulled from the broker.
    Mqtt(Pull),
    /// Models B and C: blocks from a CoAP server.
    Coap {
        /// The gateway or the manifest's server.
        link: Link,
        /// The image's path there.
        path: Name,
        /// The request under way.
        exchange: Option<Exchange>,
        /// So many blocks that came keep the next ones waiting, until flash has room for those.
        held: u8,
        /// The server's blocks are none that flash takes before their turn: one after the other.
        ordered: bool,
        /// How often in a row nothing of it came.
        idle: u8,
    },
}

/// Blocks under way at a time: sixteen fill a link of 160 kbit/s and 0.8 s, or of 2.6 Mbit/s and 50 ms.
pub(super) const WINDOW: u8 = 16;
/// Blocks behind the first missing one that the update remembers.
pub(super) const REMEMBERED: u32 = 31;

/// The window of chunks asked of the broker.
///
/// Each chunk is a retained message of its own topic: subscribing asks for it, acknowledging says that it is stored,
/// unsubscribing ends it. A broker sends what is asked for in that order, so the chunks arrive in order; one that does
/// not is dropped and asked for again when its turn comes.
#[derive(Debug)]
pub(super) struct Pull {
    /// Topic of the image, without the chunk's number.
    pub(super) base: Name,
    /// Bytes of a chunk.
    pub(super) size: u32,
    /// Chunks of the image.
    pub(super) count: u32,
    /// First chunk whose subscription stands.
    first: u32,
    /// First chunk never asked for.
    next: u32,
    /// Bit n: chunk `first + n` came when it could not be taken.
    dropped: u16,
    /// How often in a row it has stood still.
    stalls: u8,
}

/// What a [`Pull`] wants done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Subscribe(u32),
    Unsubscribe(u32),
}

impl Pull {
    /// Chunks of `size` bytes (not 0) of an image of `total` bytes, of which `offset` are there.
    pub(super) fn new(base: Name, size: u32, total: u32, offset: u32) -> Option<Self> {
        let at = offset.checked_div(size)?;
        Some(Self { base, size, count: total.div_ceil(size), first: at, next: at, dropped: 0, stalls: 0 })
    }

    /// The next step with the image complete up to `offset` (`u32::MAX`: all of it) and at most `window` chunks asked for at once.
    pub(super) fn step(&self, offset: u32, window: u8) -> Option<Step> {
        let at = offset.checked_div(self.size)?;
        let finished = at >= self.count;
        if self.first < self.next && (self.first < at || finished) {
            return Some(Step::Unsubscribe(self.first));
        }
        if finished {
            return None;
        }
        if self.dropped & 1 != 0 {
            return Some(Step::Subscribe(self.first));
        }
        let top = at.saturating_add(u32::from(window)).min(self.count);
        (self.next < top).then_some(Step::Subscribe(self.next))
    }

    /// The step was taken.
    pub(super) fn took(&mut self, step: Step) {
        match step {
            Step::Unsubscribe(_) => {
                self.first = self.first.saturating_add(1);
                self.dropped >>= 1;
            }
            Step::Subscribe(n) if n < self.next => self.dropped &= !1,
            Step::Subscribe(_) => self.next = self.next.saturating_add(1),
        }
    }

    /// Chunk `n` came and was not taken.
    pub(super) fn drop_chunk(&mut self, n: u32) {
        if let Some(bit) = n.checked_sub(self.first).filter(|_| n < self.next) {
            self.dropped |= 1_u16.checked_shl(bit).unwrap_or(0);
        }
    }

    /// Chunk `n` is not as long as it should be. The first one is asked for again when it has stalled: it would only come
    /// as it is.
    pub(super) fn misfit(&mut self, n: u32) {
        if n != self.first {
            self.drop_chunk(n);
        }
    }

    /// Nothing came for too long: the first chunk is to be asked for again. Until then twice as long each time.
    pub(super) fn stalled(&mut self, pause: Duration) -> Duration {
        self.drop_chunk(self.first);
        self.stalls = self.stalls.saturating_add(1);
        pause.times(1 << self.stalls.min(6))
    }

    /// How often in a row it has stood still.
    pub(super) fn stalls(&self) -> u8 {
        self.stalls
    }

    /// Bytes came, or the broker has.
    pub(super) fn moved(&mut self) {
        self.stalls = 0;
    }

    /// The broker knows of no subscription any more.
    pub(super) fn forget(&mut self) {
        self.next = self.first;
        self.dropped = 0;
    }

    /// Where chunk `n` lies in an image of `total` bytes: its offset and its length.
    pub(super) fn span(&self, n: u32, total: u32) -> Option<(u32, u32)> {
        let start = n.checked_mul(self.size).filter(|s| *s < total)?;
        Some((start, self.size.min(total.saturating_sub(start))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(offset: u32) -> Pull {
        Pull::new(Name::join(&["w/c/image/x"]).unwrap(), 10, 35, offset).unwrap()
    }

    fn run(pull: &mut Pull, offset: u32) -> std::vec::Vec<Step> {
        let mut steps = std::vec::Vec::new();
        while let Some(step) = pull.step(offset, 2) {
            pull.took(step);
            steps.push(step);
            assert!(steps.len() < 50);
        }
        steps
    }

    #[test]
    fn a_window_slides_over_the_chunks() {
        let mut p = pull(0);
        assert_eq!(run(&mut p, 0), [Step::Subscribe(0), Step::Subscribe(1)]);
        assert_eq!(run(&mut p, 9), []);
        assert_eq!(run(&mut p, 10), [Step::Unsubscribe(0), Step::Subscribe(2)]);
        assert_eq!(run(&mut p, 30), [Step::Unsubscribe(1), Step::Unsubscribe(2), Step::Subscribe(3)]);
        assert_eq!(run(&mut p, u32::MAX), [Step::Unsubscribe(3)]);
    }

    #[test]
    fn a_dropped_chunk_is_asked_for_again_when_its_turn_comes() {
        let mut p = pull(0);
        run(&mut p, 0);
        p.drop_chunk(1);
        assert_eq!(run(&mut p, 0), []);
        assert_eq!(run(&mut p, 10), [Step::Unsubscribe(0), Step::Subscribe(1), Step::Subscribe(2)]);
    }

    #[test]
    fn a_download_resumes_in_the_chunk_that_is_missing() {
        let mut p = pull(25);
        assert_eq!(run(&mut p, 25), [Step::Subscribe(2), Step::Subscribe(3)]);
        assert_eq!(p.stalled(Duration::from_secs(5)), Duration::from_secs(10));
        assert_eq!(run(&mut p, 25), [Step::Subscribe(2)]);
        p.forget();
        assert_eq!(run(&mut p, 25), [Step::Subscribe(2), Step::Subscribe(3)]);
        assert_eq!(p.span(3, 35), Some((30, 5)));
        assert_eq!(p.span(4, 35), None);
    }
}
