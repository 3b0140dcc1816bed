//! When an update may go on: what a manifest asks of its device, and what the device's owner does.
//!
//! The download waits, *deferred*, for its turn (jitter, so that a fleet does not start as one), for the pause after one that came
//! to nothing ([`retry`](super::retry)), for the window of the day,
//! for the times that the manifest names and for the battery; the reboot waits for the battery. What is waited for by the
//! clock has a timer; what the host alone knows is looked at again when it [tells](Update::tell).

use super::{Deadline, Phase, Refusal, Release, Trigger, Update};
use crate::crc::crc32;
use crate::error::{Error, Misuse};
use crate::ota::manifest;
use crate::ota::report::State;
use crate::wire::Writer;
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

/// After how many seconds it is looked again whether the times have come that a manifest names.
const LOOK: u32 = 60;

impl Window {
    /// How many seconds until it opens; 0: it is open. `time` in seconds since 1970.
    #[must_use]
    pub fn opens_in(&self, time: u64) -> u32 {
        let passed = self.passed(time);
        if passed < self.len { 0 } else { DAY.wrapping_sub(passed) }
    }

    /// How many seconds until it closes, while it is open.
    #[must_use]
    pub fn closes_in(&self, time: u64) -> u32 {
        self.len.saturating_sub(self.passed(time))
    }

    /// How many seconds ago it opened last.
    #[inline(never)]
    fn passed(&self, time: u64) -> u32 {
        second_of_day(time).wrapping_add(DAY).wrapping_sub(self.start % DAY) % DAY
    }
}

/// Seconds since midnight. 86,400 is 128 times 675: no division of 64 bits.
fn second_of_day(time: u64) -> u32 {
    let parts = u32::try_from(time >> 7).unwrap_or(u32::MAX) % 675;
    parts.wrapping_mul(128).wrapping_add((time & 127) as u32)
}

/// What is waited for that has no time: the host's word on the battery.
const WORD: Instant = Instant::from_micros(u64::MAX);

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
        self.name_device();
        self.told_at = self.clock.now();
        // While the journal is being read, that waits for its end.
        if self.phase == Phase::Running {
            self.believe();
            self.look_again();
        }
        Ok(())
    }

    /// Where no name was told, the device has that of its configuration.
    #[inline(never)]
    pub(super) fn name_device(&mut self) {
        if self.known.device.is_none() && self.config.device != [0; 16] {
            self.known.device = Some(self.config.device);
        }
    }

    /// Believes the time that was told last.
    #[inline(never)]
    pub(super) fn believe(&mut self) {
        let time = self.known.time.map_or(0, |time| u32::try_from(time).unwrap_or(u32::MAX));
        self.entry.time = self.entry.time.max(time);
    }

    /// The time that is believed: what the clock shows, or the latest one ever told where that is later.
    pub(super) fn believed(&self) -> Option<u64> {
        let floor = Some(u64::from(self.entry.time)).filter(|time| *time != 0);
        self.time().max(floor)
    }

    /// What the clock shows, seconds since 1970.
    #[inline(never)]
    fn time(&self) -> Option<u64> {
        let passed = self.clock.now().since(self.told_at).as_micros();
        // 1,000,000 is 64 times 15,625.
        let seconds = u32::try_from(passed >> 6).unwrap_or(u32::MAX) / 15_625;
        self.known.time.map(|time| time.saturating_add(seconds.into()))
    }

    /// Whether what a manifest asks for holds, now or when it will be waited for.
    #[inline(never)]
    pub(super) fn check(&self, requires: &manifest::Requires) -> Result<(), Refusal> {
        // A battery that is known is waited for; so are times.
        let (time, battery) = (self.believed(), self.known.battery.map(|_| u32::MAX));
        requires.check_at(&self.known, time, battery)?;
        match &requires.wait {
            Some(wait) if wait.power.is_some() || wait.network.is_some() || time.is_none() => Err(Refusal::Condition),
            _ => Ok(()),
        }
    }

    /// When this device is to begin: later than others by what its name and the release say.
    pub(super) fn turn(&self, release: &Release) -> Instant {
        self.clock.now().after(self.share(self.config.jitter, &release.digest, 0))
    }

    /// A share of `whole` that depends on the device, the release and the number of the attempt, and on nothing else.
    #[inline(never)]
    pub(super) fn share(&self, whole: Duration, digest: &[u8; 32], attempt: u8) -> Duration {
        let mut seed = [0; 29];
        let mut writer = Writer::new(&mut seed);
        writer.bytes(&self.config.device);
        writer.bytes(digest.get(..8).unwrap_or_default());
        writer.bytes(&self.salt.to_be_bytes());
        writer.u8(attempt);
        // In 65,536ths, without a division of 64 bits.
        Duration::from_micros((whole.as_micros() >> 16).saturating_mul(u64::from(crc32(&seed) >> 16)))
    }

    /// So many seconds from now.
    #[inline(never)]
    fn in_seconds(&self, seconds: u32) -> Instant {
        self.clock.now().after(Duration::from_secs(seconds.into()))
    }

    /// Until when the download has to wait; the origin of time: it has not to.
    pub(super) fn holds_download(&self) -> Instant {
        let now = self.clock.now();
        if self.turn > now {
            return self.turn;
        }
        if self.again > now {
            return self.again;
        }
        if let Some(time) = self.time() {
            let opens = self.config.window.as_ref().map_or(0, |window| window.opens_in(time));
            if opens != 0 {
                return self.in_seconds(opens);
            }
            if !self.asks.have_come(time) {
                return self.in_seconds(LOOK);
            }
        }
        self.holds_reboot()
    }

    /// Until when the reboot has to wait.
    pub(super) fn holds_reboot(&self) -> Instant {
        let least = self.config.battery.max(self.asks.battery);
        if self.known.battery.is_some_and(|charge| charge < least) { WORD } else { Instant::ZERO }
    }

    /// Has the download wait where it has to.
    pub(super) fn holds_back(&mut self) -> bool {
        let until = self.holds_download();
        let waits = until != Instant::ZERO && self.go(Trigger::Defer).is_ok();
        if waits {
            self.hold(until);
        }
        waits
    }

    /// Notes what is waited for: a timer, or a reason.
    #[inline(never)]
    pub(super) fn hold(&mut self, until: Instant) {
        self.waiting = true;
        // At the end of time it never runs out.
        self.timers.set(Deadline::Defer, until);
        if until == WORD {
            self.reason = Some(Refusal::Battery);
        }
    }

    /// Goes on with what waited, where it need not wait any more.
    #[inline(never)]
    pub(super) fn look_again(&mut self) {
        if !self.waiting {
            return;
        }
        let until = if self.state == State::Deferred { self.holds_download() } else { self.holds_reboot() };
        if until == Instant::ZERO {
            let now = self.clock.now();
            let _ = self.resume(now);
        } else {
            self.hold(until);
        }
    }

    /// The download begins: sets the timer for when the window closes.
    #[inline(never)]
    pub(super) fn begun(&mut self) {
        if let (Some(window), Some(time)) = (&self.config.window, self.time())
            && window.len < DAY
        {
            let closes = self.in_seconds(window.closes_in(time));
            self.timers.set(Deadline::Defer, closes);
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
