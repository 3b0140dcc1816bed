//! Time as machines see it: a number the caller passes in.

/// A point in time: microseconds since an origin of the caller's choosing.
///
/// Any monotonic counter will do; the origin means nothing, and 2⁶⁴ µs last 584,542 years. All arithmetic saturates,
/// so no instant a caller can make leads to a panic or to a wrap.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

/// A span of time in microseconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// `micros` microseconds after the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// `millis` milliseconds after the origin; saturates.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The instant `by` later; the end of time where that would be past it.
    #[must_use]
    pub const fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by.0))
    }

    /// How long after `earlier` this instant is; zero where it is before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `micros` microseconds.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// `millis` milliseconds; saturates.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// `secs` seconds; saturates.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Length in microseconds.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// `n` times as long; saturates.
    #[must_use]
    pub const fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// This and `other` one after the other; saturates.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// The latest time a machine was told: time never runs backwards inside a machine, whatever its caller says.
#[derive(Debug, Default, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// A clock at the origin.
    pub const START: Self = Self(Instant::ZERO);

    /// Takes the caller's `now` and gives the machine's: the later of `now` and all that came before.
    pub fn advance(&mut self, now: Instant) -> Instant {
        self.0 = self.0.max(now);
        self.0
    }

    /// The latest time told.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_time_is_no_panic() {
        let end = Instant::from_micros(u64::MAX);
        assert_eq!(end.after(Duration::from_secs(u64::MAX)), end);
        assert_eq!(Instant::ZERO.since(end), Duration::ZERO);
        assert_eq!(Duration::from_secs(u64::MAX).times(3).as_micros(), u64::MAX);
    }

    #[test]
    fn a_clock_never_goes_back() {
        let mut clock = Clock::START;
        assert_eq!(clock.advance(Instant::from_micros(9)), Instant::from_micros(9));
        assert_eq!(clock.advance(Instant::from_micros(3)), Instant::from_micros(9));
    }
}
