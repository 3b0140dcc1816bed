//! A table of deadlines, one place for each timer a machine has.

use crate::Instant;

/// The timers of a machine: a fieldless enum, one documented variant per timer, numbered from 0.
pub trait Timer: Copy {
    /// Its place in the table.
    fn index(self) -> usize;
}

/// Optional deadlines of `N` timers.
#[derive(Debug, Clone, Copy)]
pub struct Timers<const N: usize> {
    deadlines: [Instant; N],
}

/// Of a timer that is stopped: the end of time, which nobody lives to see.
const NEVER: Instant = Instant::from_micros(u64::MAX);

fn some(deadline: Instant) -> Option<Instant> {
    if deadline == NEVER { None } else { Some(deadline) }
}

impl<const N: usize> Default for Timers<N> {
    fn default() -> Self {
        Self::STOPPED
    }
}

impl<const N: usize> Timers<N> {
    /// All stopped.
    pub const STOPPED: Self = Self { deadlines: [NEVER; N] };

    /// Lets `timer` run out at `at`, whatever was set before. At the end of time it never does.
    pub fn set(&mut self, timer: impl Timer, at: Instant) {
        if let Some(place) = self.deadlines.get_mut(timer.index()) {
            *place = at;
        }
    }

    /// Stops `timer`.
    pub fn stop(&mut self, timer: impl Timer) {
        self.set(timer, NEVER);
    }

    /// When `timer` runs out, where it is running.
    #[must_use]
    pub fn get(&self, timer: impl Timer) -> Option<Instant> {
        self.deadlines.get(timer.index()).copied().and_then(some)
    }

    /// Whether `timer` has run out; stops it then.
    pub fn expired(&mut self, timer: impl Timer, now: Instant) -> bool {
        match self.deadlines.get_mut(timer.index()) {
            Some(place) if *place <= now && *place != NEVER => {
                *place = NEVER;
                true
            }
            _ => false,
        }
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        some(self.deadlines.iter().fold(NEVER, |earliest, at| earliest.min(*at)))
    }
}

/// The earlier of two optional deadlines.
#[must_use]
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    enum T {
        A,
        B,
    }
    impl Timer for T {
        fn index(self) -> usize {
            self as usize
        }
    }

    #[test]
    fn a_timer_runs_out_once() {
        let mut timers = Timers::<2>::STOPPED;
        timers.set(T::A, Instant::from_micros(5));
        timers.set(T::B, Instant::from_micros(3));
        assert_eq!(timers.next(), Some(Instant::from_micros(3)));
        assert!(!timers.expired(T::A, Instant::from_micros(4)));
        assert!(timers.expired(T::B, Instant::from_micros(4)));
        assert!(!timers.expired(T::B, Instant::from_micros(4)));
        timers.stop(T::A);
        assert_eq!(timers.next(), None);
    }
}
