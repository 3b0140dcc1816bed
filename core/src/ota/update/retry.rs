//! Downloads that came to nothing: how often they did, and when they are made again.
//!
//! The journal counts two things of a release: downloads that *failed*, since what arrived was not what was signed for or flash did
//! not do as it should; and downloads *begun* in a row of which nothing was recorded, since the source is out of reach or the
//! device was reset before. The first stay until the image is found good, the second until an erase block of it is recorded. A
//! download is counted as begun before its first request leaves, so that a device that crashes and boots without end asks
//! less and less often.
//!
//! After `n` of them in all the next one is made `backoff × 2^(n - 1)` later, a day at most, less a share of up to half of
//! it that depends on the device, the release and `n`. A reboot begins the pause anew, since it is not known how long
//! the device was off; the first that comes before anything was recorded costs none, as a reset may happen to anybody. There is
//! no last attempt: a newer release, or [`cancel`](Update::cancel), ends it.

use super::{Deadline, Facts, Kind, Notice, State, Storage, Trigger, Update};
use crate::error::{Error, Misuse};
use crate::ota::journal::{MOST_FAILURES, Record};
use crate::ota::refusal::Refusal;
use crate::{Duration, Instant};

/// The longest pause.
pub(super) const LONGEST: Duration = Duration::from_secs(86_400);

impl Update<'_> {
    /// How often in a row the download of this release has come to nothing, over all reboots: it failed, or nothing of it arrived.
    /// 0 where none is going on, and when the image is found good.
    #[must_use]
    pub fn attempts(&self) -> u8 {
        let Record { kind, left, failures, .. } = self.entry;
        // The one that goes on may still bring something.
        let begun = if kind == Kind::Fetching { left.saturating_sub(self.counted.into()) } else { 0 };
        failures.saturating_add(begun)
    }

    /// When the pause is over that begins at power on.
    pub(super) fn first_pause_ends(&self) -> Instant {
        let Record { failures, .. } = self.entry;
        let begun = self.attempts().saturating_sub(failures);
        self.pause_ends(failures.saturating_add(begun.saturating_sub(1)))
    }

    /// When the pause is over that begins now, after so many attempts.
    fn pause_ends(&self, attempts: u8) -> Instant {
        let now = self.clock.now();
        if attempts == 0 {
            return now;
        }
        let mut full = self.config.backoff.min(LONGEST);
        for _ in 1..attempts {
            full = full.plus(full).min(LONGEST);
        }
        let half = Duration::from_micros(full.as_micros() >> 1);
        now.after(half).after(self.share(half, &self.entry.digest, attempts))
    }

    /// A download begins: it is one that brings nothing, until it does.
    pub(super) fn count(&mut self) {
        if !self.counted && !self.plan.enclosed && self.config.backoff != Duration::ZERO {
            self.counted = true;
            self.entry.left = self.entry.left.saturating_add(1);
            self.due = true;
        }
    }

    /// The source is out of reach: the download waits.
    pub(super) fn give_way(&mut self) -> Result<(), Error<Refusal>> {
        if self.state != State::Fetching || self.plan.enclosed {
            return Err(Misuse::WrongState.into());
        }
        self.count();
        self.counted = false;
        self.go(Trigger::Defer)?;
        let again = self.pause_ends(self.attempts());
        self.again = again;
        self.hold(again);
        self.reason = Some(Refusal::Unreachable);
        Ok(())
    }

    /// The update has failed: where another try may mend that, one is made.
    pub(super) fn count_failure(&mut self, reason: Refusal) {
        let mends =
            matches!(reason, Refusal::ImageDigest | Refusal::ChunkDigest | Refusal::ChunkList | Refusal::Storage);
        if !mends {
            return;
        }
        self.entry.failures = self.entry.failures.saturating_add(1).min(MOST_FAILURES);
        let again = self.pause_ends(self.attempts());
        self.again = again;
        if self.config.backoff != Duration::ZERO {
            self.timers.set(Deadline::Retry, again);
        }
    }

    /// Announces to itself what has failed, as long as its manifest is at hand. (Not inlined, for the sake of the stack.)
    #[inline(never)]
    pub(super) fn try_again(&mut self) {
        if self.state != State::Failed {
            return;
        }
        let kept = core::mem::replace(&mut self.manifest, Storage::empty());
        let envelope = kept.get(..self.manifest_len).filter(|envelope| !envelope.is_empty());
        let mut facts = Facts::NONE;
        let found = envelope.map(|envelope| self.examine(envelope, &mut facts));
        self.manifest = kept;
        match found {
            Some(Ok(true)) => self.accept(&facts),
            Some(Err(refusal)) => self.notices.push(Notice::Refused(refusal)),
            Some(Ok(false)) | None => {}
        }
    }
}

/// What the [agent](crate::agent) has to know.
#[cfg(all(feature = "mqtt", feature = "coap"))]
impl Update<'_> {
    /// Whether the journal says all that it has to: that a download has begun, before anything is asked for.
    pub(crate) const fn has_recorded(&self) -> bool {
        !self.due
    }

    /// Whether it will try again of its own accord.
    pub(crate) fn tries_again(&self) -> bool {
        self.timers.get(Deadline::Retry).is_some()
    }

    /// Gives it another share in pauses than devices that have the same UUID, or none.
    pub(crate) const fn salted(mut self, salt: u32) -> Self {
        self.salt = salt;
        self
    }
}
