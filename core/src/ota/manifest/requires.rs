//! What only the device can decide, when it is about to fetch or to install.

use super::{Version, VersionMatch};
use crate::ota::cbor::Reader;
use crate::ota::refusal::Refusal;

/// Conditions that only the device can decide, when it is about to install.
///
/// A machine that cannot decide one of them refuses the manifest ([`Refusal::Condition`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requires {
    /// Not to be installed at or after this time, seconds since 1970 (draft-ietf-suit-update-management §4.1).
    pub use_before: Option<u64>,
    /// Least charge of the battery, mWh (§4.2).
    pub battery: Option<u32>,
    /// The application is to be asked (§5.4).
    pub authorization: bool,
    /// Versions that the installed firmware has to have: both, where there are two (§4.4).
    pub version: [Option<VersionMatch>; 2],
    /// The only device it is for (suit-condition-device-identifier).
    pub device: Option<[u8; 16]>,
    /// What is to be waited for before the first fetch (§5.6).
    pub wait: Option<Wait>,
}

/// What a device knows of itself and of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// The highest time ever believed, seconds since 1970; `None` where no time was ever believed.
    ///
    /// It only ever rises, so that a use-before that was over once is over for good, whatever a clock says later. A
    /// device that knows no time takes what has a use-before: it would else be locked out for good.
    pub time: Option<u64>,
    /// The charge of the battery, mWh; `None` where there is none, or nobody knows.
    pub battery: Option<u32>,
    /// The version of the firmware that is installed.
    pub version: Option<Version>,
    /// The device's UUID.
    pub device: Option<[u8; 16]>,
}

impl Requires {
    /// Whether there is no such condition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Decides what the facts decide: all but [`authorization`](Self::authorization) and [`wait`](Self::wait).
    ///
    /// # Errors
    /// [`Refusal::Device`], [`Refusal::Expired`], [`Refusal::Version`], [`Refusal::Battery`]: what does not hold.
    /// [`Refusal::Condition`]: a fact that is needed is not known.
    pub fn check(&self, facts: &Facts) -> Result<(), Refusal> {
        self.check_at(facts, facts.time, facts.battery)
    }

    /// The same, with that time and charge in the place of those that are known: no copy of the facts is made for it.
    pub(crate) fn check_at(&self, facts: &Facts, time: Option<u64>, battery: Option<u32>) -> Result<(), Refusal> {
        let hold = |holds: Option<bool>, refusal| match holds {
            Some(true) => Ok(()),
            Some(false) => Err(refusal),
            None => Err(Refusal::Condition),
        };
        if let Some(device) = &self.device {
            hold(facts.device.as_ref().map(|own| own == device), Refusal::Device)?;
        }
        if let (Some(before), Some(time)) = (self.use_before, time) {
            hold(Some(time < before), Refusal::Expired)?;
        }
        for wanted in self.version.iter().flatten() {
            hold(facts.version.as_ref().map(|version| wanted.holds(version)), Refusal::Version)?;
        }
        if let Some(least) = self.battery {
            hold(battery.map(|charge| charge >= least), Refusal::Battery)?;
        }
        Ok(())
    }
}

/// What a device is to wait for (suit-parameter-wait-info, draft-ietf-suit-update-management §4.5): all of it.
///
/// Local time and other devices' versions are not known here; a manifest that waits for them is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wait {
    /// A state of the power supply; the draft leaves to the deployment what the number means.
    pub power: Option<i32>,
    /// A state of the network, likewise.
    pub network: Option<i32>,
    /// A time, seconds since 1970.
    pub time: Option<u64>,
    /// A time of the day, UTC: seconds since 00:00:00.
    pub time_of_day: Option<u32>,
    /// A day of the week, UTC: days since Sunday, 0 to 6.
    pub day_of_week: Option<u8>,
}

/// The last second of a day and the last day of a week.
const DAY: u32 = 86_399;
const WEEK: u32 = 6;

impl Wait {
    /// Reads suit-parameter-wait-info: whether the application is to authorise the update.
    pub(super) fn read(&mut self, reader: &Reader<'_>) -> bool {
        let mut authorization = false;
        let outer = reader.enter();
        let mut events = reader.map();
        reader.unless(events.left() != 0, Refusal::Argument);
        while let Some(event) = events.key(reader) {
            match event {
                1 => {
                    reader.int();
                    authorization = true;
                }
                2 => self.power = Some(reader.i32()),
                3 => self.network = Some(reader.i32()),
                5 => self.time = Some(reader.uint()),
                8 => self.time_of_day = Some(reader.up_to(DAY)),
                9 => self.day_of_week = Some(reader.up_to(WEEK) as u8),
                _ => reader.set(Refusal::Argument),
            }
        }
        reader.leave(outer);
        authorization
    }

    /// Whether its times have come: `time` in seconds since 1970. A device without a clock cannot wait for them.
    #[must_use]
    pub fn time_has_come(&self, time: u64) -> bool {
        // 86,400 is 128 times 675: no division of 64 bits. (Until the year 19,000.)
        let day = u32::try_from(time >> 7).unwrap_or(u32::MAX) / 675;
        let midnight = u64::from(day).wrapping_mul(u64::from(DAY).wrapping_add(1));
        // 1 January 1970 was a Thursday.
        let weekday = day.wrapping_add(4) % 7;
        self.time.is_none_or(|wanted| time >= wanted)
            && self.time_of_day.is_none_or(|wanted| time.saturating_sub(midnight) >= wanted.into())
            && self.day_of_week.is_none_or(|wanted| weekday == wanted.into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Comparison;
    use super::*;

    fn facts() -> Facts {
        Facts { time: Some(1_000), battery: Some(50), version: "1.2".parse().ok(), device: Some([7; 16]) }
    }

    #[test]
    fn what_does_not_hold_has_its_reason() {
        let none = Requires::default();
        assert_eq!(none.check(&Facts::default()), Ok(()));
        let version = Some(VersionMatch { comparison: Comparison::Lesser, version: "1.2".parse().unwrap() });
        let cases = [
            (Requires { use_before: Some(1_000), ..none }, Refusal::Expired),
            (Requires { battery: Some(51), ..none }, Refusal::Battery),
            (Requires { version: [None, version], ..none }, Refusal::Version),
            (Requires { device: Some([8; 16]), ..none }, Refusal::Device),
        ];
        for (requires, refusal) in cases {
            assert_eq!(requires.check(&facts()), Err(refusal));
        }
        let met = Requires { use_before: Some(1_001), battery: Some(50), device: Some([7; 16]), ..none };
        assert_eq!(met.check(&facts()), Ok(()));
    }

    #[test]
    fn what_is_not_known_does_not_hold_but_for_the_time() {
        let none = Requires::default();
        assert_eq!(Requires { battery: Some(0), ..none }.check(&Facts::default()), Err(Refusal::Condition));
        assert_eq!(Requires { device: Some([0; 16]), ..none }.check(&Facts::default()), Err(Refusal::Condition));
        assert_eq!(Requires { use_before: Some(0), ..none }.check(&Facts::default()), Ok(()));
        assert_eq!(Requires { use_before: Some(0), ..none }.check(&facts()), Err(Refusal::Expired));
    }

    #[test]
    fn a_time_of_the_week_comes_each_week() {
        let sunday = Wait { day_of_week: Some(0), time_of_day: Some(3_600), ..Wait::default() };
        // Saturday 15 July 2023, 23:59:59, was 1 689 465 599.
        let midnight = 1_689_465_600;
        assert!(!sunday.time_has_come(midnight - 1));
        assert!(!sunday.time_has_come(midnight + 3_599));
        assert!(sunday.time_has_come(midnight + 3_600));
        assert!(sunday.time_has_come(midnight + 86_399));
        assert!(!sunday.time_has_come(midnight + 86_400 + 3_600));
        assert!(sunday.time_has_come(midnight + 7 * 86_400 + 3_600));
        let later = Wait { time: Some(midnight), ..Wait::default() };
        assert!(!later.time_has_come(midnight - 1) && later.time_has_come(midnight));
    }
}
