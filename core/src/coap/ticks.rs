//! Time inside an endpoint: units of 64 µs in 32 bits, so that what is remembered is short and arithmetic cheap.
//!
//! They wrap after three days. Of two of them it can be told which is later while they lie no further apart than half of
//! that: spans are cut to it, and what is remembered longer is forgotten ([`handle_timeout`](super::Endpoint::handle_timeout))
//! or counted in seconds.

use crate::{Duration, Instant};

/// A point in time, or a span of it.
pub(super) type Tick = u32;

/// Ticks of a second.
pub(super) const SECOND: Tick = 15_625;

/// The longest span: 38 hours.
pub(super) const LONGEST: Tick = u32::MAX >> 1;

/// A span in ticks, none of it lost.
#[cfg_attr(feature = "opt-size", inline(never))]
pub(super) fn ticks(span: Duration) -> Tick {
    u32::try_from(span.as_micros().saturating_add(63) >> 6).unwrap_or(LONGEST).min(LONGEST)
}

/// The tick that `now` lies in.
#[allow(clippy::cast_possible_truncation, reason = "they wrap")]
pub(super) fn tick(now: Instant) -> Tick {
    (now.as_micros() >> 6) as Tick
}

/// How long ago `at` is; `None` where it is still to come.
pub(super) fn since(now: Tick, at: Tick) -> Option<Tick> {
    let span = now.wrapping_sub(at);
    if span > LONGEST { None } else { Some(span) }
}

/// Whether `at` has come.
pub(super) fn is_over(now: Tick, at: Tick) -> bool {
    now.wrapping_sub(at) <= LONGEST
}

/// How long it is until `at`: 0 where that has come.
pub(super) fn until(now: Tick, at: Tick) -> Tick {
    at.wrapping_sub(now).cast_signed().max(0).cast_unsigned()
}

/// More than it can be until anything.
pub(super) const NEVER: Tick = u32::MAX;

/// The later of two.
pub(super) fn later(a: Tick, b: Tick) -> Tick {
    if is_over(a, b) { a } else { b }
}

/// Time in units of 2^20 µs, about seconds, of which 32 bits do for ever.
#[allow(clippy::cast_possible_truncation, reason = "that is 142 years")]
pub(super) fn coarse(now: Instant) -> u32 {
    (now.as_micros() >> 20) as u32
}

/// The lower half of that.
#[allow(clippy::cast_possible_truncation, reason = "it wraps after 19 hours")]
pub(super) fn short(now: Instant) -> u16 {
    coarse(now) as u16
}

/// Time in units of 2^32 µs, which are 71 minutes.
#[allow(clippy::cast_possible_truncation, reason = "nothing is lost")]
pub(super) fn long(now: Instant) -> u32 {
    (now.as_micros() >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_of_two_is_known_across_the_wrap() {
        let long = Duration::from_secs(1 << 40);
        assert_eq!((ticks(Duration::from_secs(2)), ticks(Duration::from_micros(1)), ticks(long)), (31_250, 1, LONGEST));
        for base in [0, 5, u32::MAX - 3, LONGEST] {
            let next = base.wrapping_add(9);
            assert!(is_over(next, base) && is_over(base, base) && !is_over(base, next));
            assert_eq!((since(next, base), since(base, next)), (Some(9), None));
            assert_eq!((later(base, next), later(next, base)), (next, next));
            assert_eq!((until(base, next), until(next, base), until(base, base)), (9, 0, 0));
        }
    }
}
