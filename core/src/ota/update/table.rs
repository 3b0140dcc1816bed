//! The state machine as a table. Nothing else changes the state: the machine looks up here where a trigger leads, and
//! what does not stand here does not happen. The diagram in the documentation is made from it by [`mermaid`]:
#![doc = include_str!("states.md")]

use crate::ota::report::State::{self, *};

/// What moves an update from state to state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Trigger {
    /// A manifest was given: the first, or one newer than what is going on (supersession).
    Announce,
    /// It was found authentic, newer than what runs, and meant for this device.
    Accept,
    /// Nobody objects to the download.
    Begin,
    /// The host postponed or vetoed the download.
    Defer,
    /// The time it was postponed to has come, or the host said so.
    Resume,
    /// The last byte arrived, and all of them have the right digest.
    Complete,
    /// Read back from the flash they still have it.
    Match,
    /// Ready to be booted.
    Arm,
    /// After a reboot: the new image is the one that runs.
    Boot,
    /// The host is content with it.
    Confirm,
    /// The host is not, or the time for its trial is up, or the bootloader went back to the old image.
    Revert,
    /// It brought a key table, which is in use from now on.
    Rotate,
    /// The host gave it up.
    Cancel,
    /// Wrong digest, or the flash does not do as it should.
    Fail,
    /// The manifest announced is that of the confirmed image: all is done already.
    Known,
    /// After a reboot: the image is in the slot, whole.
    ReplayFetched,
    /// After a reboot: it should have been booted and was not.
    ReplayReady,
    /// After a reboot: the last update was confirmed.
    ReplayConfirmed,
    /// After a reboot: the last update was reverted.
    ReplayReverted,
    /// After a reboot: the last update failed.
    ReplayFailed,
}

/// Every transition there is, by the state it starts from, in protocol order.
pub const TRANSITIONS: &[(State, Trigger, State)] = &[
    (Idle, Trigger::Announce, Announced),
    (Idle, Trigger::Known, Confirmed),
    (Idle, Trigger::Fail, Failed),
    (Idle, Trigger::ReplayFetched, Fetched),
    (Idle, Trigger::ReplayReady, Ready),
    (Idle, Trigger::Boot, Trial),
    (Idle, Trigger::ReplayConfirmed, Confirmed),
    (Idle, Trigger::ReplayReverted, Reverted),
    (Idle, Trigger::ReplayFailed, Failed),
    (Announced, Trigger::Accept, Verified),
    (Verified, Trigger::Announce, Announced),
    (Verified, Trigger::Begin, Fetching),
    (Verified, Trigger::Defer, Deferred),
    (Verified, Trigger::Rotate, Confirmed),
    (Verified, Trigger::Cancel, Idle),
    (Verified, Trigger::Fail, Failed),
    (Deferred, Trigger::Announce, Announced),
    (Deferred, Trigger::Resume, Fetching),
    (Deferred, Trigger::Cancel, Idle),
    (Deferred, Trigger::Fail, Failed),
    (Fetching, Trigger::Announce, Announced),
    (Fetching, Trigger::Defer, Deferred),
    (Fetching, Trigger::Complete, Fetched),
    (Fetching, Trigger::Cancel, Idle),
    (Fetching, Trigger::Fail, Failed),
    (Fetched, Trigger::Announce, Announced),
    (Fetched, Trigger::Match, Validated),
    (Fetched, Trigger::Cancel, Idle),
    (Fetched, Trigger::Fail, Failed),
    (Validated, Trigger::Announce, Announced),
    (Validated, Trigger::Arm, Ready),
    (Validated, Trigger::Cancel, Idle),
    (Validated, Trigger::Fail, Failed),
    (Ready, Trigger::Announce, Announced),
    (Ready, Trigger::Cancel, Idle),
    (Ready, Trigger::Fail, Failed),
    (Trial, Trigger::Confirm, Confirmed),
    (Trial, Trigger::Revert, Reverted),
    (Confirmed, Trigger::Announce, Announced),
    (Confirmed, Trigger::Known, Confirmed),
    (Reverted, Trigger::Announce, Announced),
    (Reverted, Trigger::Known, Confirmed),
    (Failed, Trigger::Announce, Announced),
    (Failed, Trigger::Known, Confirmed),
    (Failed, Trigger::Cancel, Idle),
];

/// Where `trigger` leads from `state`; `None` where it has no meaning there.
#[must_use]
pub fn next(state: State, trigger: Trigger) -> Option<State> {
    TRANSITIONS.iter().find(|(from, by, _)| *from == state && *by == trigger).map(|(_, _, to)| *to)
}

/// The table as a Mermaid state diagram.
///
/// # Errors
/// Those of `out`.
#[cfg(feature = "std")]
pub fn mermaid(out: &mut dyn core::fmt::Write) -> core::fmt::Result {
    out.write_str("stateDiagram-v2\n    [*] --> idle\n")?;
    for (from, by, to) in TRANSITIONS {
        writeln!(out, "    {} --> {}: {by:?}", from.name(), to.name())?;
    }
    Ok(())
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn the_diagram_is_that_of_the_table() {
        let mut text = std::string::String::from("```mermaid\n");
        mermaid(&mut text).unwrap();
        text.push_str("```\n");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ota/update/states.md");
        if std::env::var_os("WAFT_TABLES").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), text, "WAFT_TABLES=write cargo test writes it anew");
    }

    #[test]
    fn no_trigger_leads_two_ways() {
        for (n, (from, by, _)) in TRANSITIONS.iter().enumerate() {
            assert!(TRANSITIONS.iter().skip(n + 1).all(|(f, b, _)| (f, b) != (from, by)), "{from:?} {by:?}");
        }
    }

    #[test]
    fn every_state_can_be_reached_and_left() {
        for state in &State::ALL {
            assert!(*state == Idle || TRANSITIONS.iter().any(|(_, _, to)| to == state), "{state:?} is never entered");
            assert!(TRANSITIONS.iter().any(|(from, _, _)| from == state), "{state:?} is never left");
        }
    }

    #[test]
    fn a_newer_release_supersedes_at_every_state_but_the_trial() {
        for state in &State::ALL {
            let free = !matches!(state, Announced | Trial);
            assert_eq!(next(*state, Trigger::Announce).is_some(), free, "{state:?}");
        }
    }

    #[test]
    fn only_a_trial_can_be_confirmed_and_only_a_confirmed_or_known_one_is() {
        for (from, by, to) in TRANSITIONS {
            if *to == Confirmed {
                let known = matches!(by, Trigger::Known | Trigger::ReplayConfirmed);
                assert!(known || [(Trial, Trigger::Confirm), (Verified, Trigger::Rotate)].contains(&(*from, *by)));
            }
        }
    }
}
