//! What a path between two nodes does to bytes.

use waft::{Duration, Instant, Rng};

/// One direction of a path. The default is perfect: no delay, no loss, no limit.
///
/// Probabilities run from 0.0 (never) to 1.0 (always) and count per datagram, or per segment of a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// How long a byte is under way.
    pub delay: Duration,
    /// Up to so much is added to `delay`, evenly spread. Datagrams may overtake each other by it.
    pub jitter: Duration,
    /// A datagram is lost; a segment of a stream comes late, by one retransmission time-out per loss.
    pub loss: f64,
    /// A datagram arrives twice.
    pub duplicate: f64,
    /// A datagram is held back, by one to four times `delay` (or 10 ms, where that is more), so that later ones overtake it.
    pub reorder: f64,
    /// One bit of a datagram is flipped. (Real UDP has a checksum; a serial line or a bug may not.)
    pub corrupt: f64,
    /// Bits per second, streams and datagrams together; 0 is no limit.
    pub rate: u64,
    /// Bytes that wait for `rate` at most: a datagram that finds more before it is lost. 0 is no limit.
    pub queue: usize,
    /// The longest datagram in bytes; longer ones are lost. Streams are cut into segments of at most so many.
    pub mtu: usize,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            corrupt: 0.0,
            rate: 0,
            queue: 0,
            mtu: 1472,
        }
    }
}

impl Link {
    /// A path that loses `loss` of what is sent and is otherwise what a home has: 20 ms, 5 ms of jitter.
    #[must_use]
    pub fn lossy(loss: f64) -> Self {
        Self { delay: Duration::from_millis(20), jitter: Duration::from_millis(5), loss, ..Self::default() }
    }

    /// Everything that can go wrong goes wrong, each with probability `p`.
    #[must_use]
    pub fn hostile(p: f64) -> Self {
        Self { duplicate: p, reorder: p, ..Self::lossy(p) }
    }
}

/// Draws an event of probability `p`.
pub(crate) fn happens(rng: &mut Rng, p: f64) -> bool {
    // 2³² equal parts: exact for 0 and 1, and the same on every machine.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 ≤ p ≤ 1")]
    let threshold = (p.clamp(0.0, 1.0) * 4_294_967_296.0) as u64;
    rng.below(1 << 32) < threshold
}

/// The state of one direction of a path.
#[derive(Debug, Default)]
pub(crate) struct Path {
    pub(crate) link: Link,
    /// Until when the sender's side is busy putting bits on the line.
    busy: Instant,
}

/// Bytes that IPv4 and UDP put before a datagram, and IPv4 and TCP before a segment: what the rate limit counts too.
const UDP_OVERHEAD: usize = 28;
const TCP_OVERHEAD: usize = 40;

impl Path {
    pub(crate) fn new(link: Link) -> Self {
        Self { link, busy: Instant::ZERO }
    }

    /// When the last bit of `bytes` bytes leaves the sender.
    fn leaves(&mut self, now: Instant, bytes: usize) -> Instant {
        let start = now.max(self.busy);
        if self.link.rate == 0 {
            return start;
        }
        let micros = (bytes as u64).saturating_mul(8_000_000) / self.link.rate;
        self.busy = start.after(Duration::from_micros(micros));
        self.busy
    }

    fn under_way(&self, rng: &mut Rng) -> Duration {
        self.link.delay.plus(Duration::from_micros(rng.below(self.link.jitter.as_micros().saturating_add(1))))
    }

    /// When a datagram arrives: never, once or twice. May change it.
    pub(crate) fn datagram(&mut self, now: Instant, rng: &mut Rng, bytes: &mut [u8]) -> Vec<Instant> {
        let waits = self.busy.since(now).as_micros().saturating_mul(self.link.rate) / 8_000_000;
        if self.link.queue != 0 && waits > self.link.queue as u64 {
            return Vec::new();
        }
        let leaves = self.leaves(now, bytes.len() + UDP_OVERHEAD);
        if bytes.len() > self.link.mtu || happens(rng, self.link.loss) {
            return Vec::new();
        }
        if happens(rng, self.link.corrupt) {
            let bit = rng.below(bytes.len() as u64 * 8) as usize;
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        let copies = 1 + usize::from(happens(rng, self.link.duplicate));
        (0..copies)
            .map(|_| {
                let mut at = leaves.after(self.under_way(rng));
                if happens(rng, self.link.reorder) {
                    at = at.after(self.link.delay.max(Duration::from_millis(10)).times(1 + rng.below(4)));
                }
                at
            })
            .collect()
    }

    /// How a stream's bytes arrive: cut at random places, in order, not before `last`, where the segment before arrived.
    pub(crate) fn stream(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        mut last: Instant,
        mut bytes: &[u8],
    ) -> Vec<(Instant, Vec<u8>)> {
        let mut segments = Vec::new();
        while !bytes.is_empty() {
            // Most segments are as long as they may be; some are cut short, so that packets straddle them.
            let longest = bytes.len().min(self.link.mtu.max(1));
            let len = if rng.below(4) == 0 { 1 + rng.below(longest as u64) as usize } else { longest };
            let (segment, rest) = bytes.split_at(len);
            bytes = rest;
            let mut at = self.leaves(now, len + TCP_OVERHEAD).after(self.under_way(rng));
            // RFC 6298 §2.4 and §5.5: a second, then twice as long each time.
            let mut timeout = Duration::from_millis(1_000).max(self.link.delay.times(3));
            for _ in 0..8 {
                if !happens(rng, self.link.loss) {
                    break;
                }
                at = at.after(timeout);
                timeout = timeout.times(2);
            }
            last = last.max(at);
            segments.push((last, segment.to_vec()));
        }
        segments
    }
}
