//! When an update may go on: what a manifest asks of its device, and what the device's owner does.
//!
//! The download waits, *deferred*, for its turn (jitter, so that a fleet does not start as one), for the pause after one that came
//! to nothing ([`retry`](super::retry)), for the window of the day,
//! for the times that the manifest names and for the battery; the reboot waits for the battery. What is waited for by the
//! clock has a timer; what the host alone knows is looked at again when it [tells](Update::tell).

use super::{Deadline, Facts, Phase, Refusal, Update};
use crate::crc::crc32;
use crate::error::{Error, Misuse};
use crate::ota::manifest;
use crate::ota::report::State;
use crate::{Duration, Instant};

/// A time of the day, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// When it opens: seconds since 00:00:00, below 86,400.
    pub start: u32,
    /// How many seconds it stays open: 1 to 86,400.
    pub len: u32,
}

/// Seconds of a day.
const DAY: u32 = 86_400;

/// How often it is looked whether the times have come that a manifest names.
const LOOK: Duration = Duration::from_secs(60);

impl Window {
    /// How many seconds until it opens; 0: it is open. `time` in seconds since 1970.
    #[must_use]
    pub fn opens_in(&self, time: u64) -> u32 {
        let passed = second_of_day(time).wrapping_add(DAY).wrapping_sub(self.start % DAY) % DAY;
        if passed < self.len { 0 } else { DAY.wrapping_sub(passed) }
    }

    /// How many seconds until it closes, while it is open.
    #[must_use]
    pub fn closes_in(&self, time: u64) -> u32 {
        let passed = second_of_day(time).wrapping_add(DAY).wrapping_sub(self.start % DAY) % DAY;
        self.len.saturating_sub(passed)
    }
}

/// Seconds since midnight. 86,400 is 128 times 675: no division of 64 bits.
fn second_of_day(time: u64) -> u32 {
    let parts = u32::try_from(time >> 7).unwrap_or(u32::MAX) % 675;
    parts.wrapping_mul(128).wrapping_add((time & 127) as u32)
}

/// What has to be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// The clock.
    Until(Instant),
    /// The host's word on the battery.
    Battery,
}

impl Update<'_> {
    /// What the device knows of itself and of the time: what manifests ask for, and what the battery and the window for
    /// downloads are measured by. Tell it again when it changes.
    ///
    /// The time is believed, and written to the journal with the next record: a use-before that was over once is over for good.
    /// Tell one that comes from where nobody can lie, or none: without a time neither use-before nor windows are kept.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: it has not been started.
    pub fn tell(&mut self, now: Instant, known: &manifest::Facts) -> Result<(), Error<Refusal>> {
        self.clock.advance(now);
        if self.phase == Phase::New {
            return Err(Misuse::WrongState.into());
        }
        self.known = *known;
        self.told_at = self.clock.now();
        // While the journal is being read, that waits for its end.
        if self.phase == Phase::Running {
            self.believe();
            self.look_again();
        }
        Ok(())
    }

    /// Believes the time that was told last.
    pub(super) fn believe(&mut self) {
        let time = self.known.time.map_or(0, |time| u32::try_from(time).unwrap_or(u32::MAX));
        self.entry.time = self.entry.time.max(time);
    }

    /// What is known, and the time that is believed.
    pub(super) fn known(&self) -> manifest::Facts {
        let floor = Some(u64::from(self.entry.time)).filter(|time| *time != 0);
        let device = self.known.device.or(Some(self.config.device).filter(|device| *device != [0; 16]));
        manifest::Facts { time: self.time().max(floor), device, ..self.known }
    }

    /// What the clock shows, seconds since 1970.
    fn time(&self) -> Option<u64> {
        let passed = self.clock.now().since(self.told_at).as_micros();
        // 1,000,000 is 64 times 15,625.
        let seconds = u32::try_from(passed >> 6).unwrap_or(u32::MAX) / 15_625;
        self.known.time.map(|time| time.saturating_add(seconds.into()))
    }

    /// Whether what a manifest asks for holds, now or when it will be waited for.
    #[inline(never)]
    pub(super) fn check(&self, requires: &manifest::Requires) -> Result<(), Refusal> {
        let known = self.known();
        // A battery that is known is waited for; so are times.
        let battery = requires.battery.filter(|_| known.battery.is_none());
        manifest::Requires { battery, ..*requires }.check(&known)?;
        match requires.wait {
            Some(wait) if wait.power.is_some() || wait.network.is_some() || known.time.is_none() => {
                Err(Refusal::Condition)
            }
            _ => Ok(()),
        }
    }

    /// When this device is to begin: later than others by what its name and the release say.
    pub(super) fn turn(&self, facts: &Facts) -> Instant {
        self.clock.now().after(self.share(self.config.jitter, &facts.digest, 0))
    }

    /// A share of `whole` that depends on the device, the release and the number of the attempt, and on nothing else.
    pub(super) fn share(&self, whole: Duration, digest: &[u8; 32], attempt: u8) -> Duration {
        let mut seed = [0; 29];
        let parts = self.config.device.iter().chain(digest.iter().take(8));
        for (place, byte) in seed.iter_mut().zip(parts.chain(&self.salt.to_be_bytes()).chain(&[attempt])) {
            *place = *byte;
        }
        // In 65,536ths, without a division of 64 bits.
        Duration::from_micros((whole.as_micros() >> 16).saturating_mul(u64::from(crc32(&seed) >> 16)))
    }

    /// What the download has to wait for.
    pub(super) fn holds_download(&self) -> Option<Hold> {
        let now = self.clock.now();
        if self.turn > now {
            return Some(Hold::Until(self.turn));
        }
        if let Some(again) = self.again.filter(|again| *again > now) {
            return Some(Hold::Until(again));
        }
        let time = self.time();
        if let (Some(window), Some(time)) = (self.config.window, time)
            && window.opens_in(time) != 0
        {
            return Some(Hold::Until(now.after(Duration::from_secs(window.opens_in(time).into()))));
        }
        if let (Some(wait), Some(time)) = (self.wait, time)
            && !wait.time_has_come(time)
        {
            return Some(Hold::Until(now.after(LOOK)));
        }
        self.holds_reboot()
    }

    /// What the reboot has to wait for.
    pub(super) fn holds_reboot(&self) -> Option<Hold> {
        let least = self.config.battery.max(self.least);
        self.known.battery.is_some_and(|charge| charge < least).then_some(Hold::Battery)
    }

    /// Notes what is waited for: a timer, or a reason.
    pub(super) fn hold(&mut self, hold: Hold) {
        self.waiting = true;
        match hold {
            Hold::Until(at) => self.timers.set(Deadline::Defer, at),
            Hold::Battery => {
                self.timers.stop(Deadline::Defer);
                self.reason = Some(Refusal::Battery);
            }
        }
    }

    /// Goes on with what waited, where it need not wait any more.
    pub(super) fn look_again(&mut self) {
        if !self.waiting {
            return;
        }
        let hold = if self.state == State::Deferred { self.holds_download() } else { self.holds_reboot() };
        match hold {
            Some(hold) => self.hold(hold),
            None => {
                let now = self.clock.now();
                let _ = self.resume(now);
            }
        }
    }

    /// The download begins: sets the timer for when the window closes.
    pub(super) fn begun(&mut self) {
        if let (Some(window), Some(time)) = (self.config.window, self.time())
            && window.len < DAY
        {
            let closes = Duration::from_secs(window.closes_in(time).into());
            self.timers.set(Deadline::Defer, self.clock.now().after(closes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_lie_over_midnight() {
        let window = Window { start: 82_800, len: 7_200 };
        let day = 20_000 * 86_400;
        assert_eq!(window.opens_in(day + 82_799), 1);
        assert_eq!((window.opens_in(day + 82_800), window.closes_in(day + 82_800)), (0, 7_200));
        assert_eq!((window.opens_in(day + 10), window.closes_in(day + 10)), (0, 3_590));
        assert_eq!(window.opens_in(day + 3_600), 79_200);
        let always = Window { start: 5, len: 86_400 };
        assert!((0..86_400).step_by(1_000).all(|second| always.opens_in(day + second) == 0));
    }
}
