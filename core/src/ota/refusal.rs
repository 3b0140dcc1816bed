//! Why a manifest or an image is refused, and how that is said in other vocabularies.
//!
#![doc = include_str!("refusal.md")]

use crate::error::numbered;

/// Declares the refusals: each with its meaning, its number, and its place in other vocabularies.
macro_rules! refusals {
    ($($(#[doc = $text:literal])+ $variant:ident = $code:literal => ($suit:literal, $lwm2m:literal, $fumo:literal),)+) => {
        numbered! {
            /// Why an update is refused. Each rule has its own number; a device reports it and changes nothing.
            Refusal: i16 { $($(#[doc = $text])+ $variant = $code,)+ }
        }

        /// In the order of their numbers, which has no gaps.
        const MAPPINGS: [Mapping; Refusal::ALL.len()] = [$(Mapping { suit_report: $suit, lwm2m: $lwm2m, fumo: $fumo }),+];
    };
}

// suit-report-reason: 1 cbor-parse, 2 cose-unsupported, 3 alg-unsupported, 4 unauthorised, 5 command-unsupported,
// 6 component-unsupported, 7 component-unauthorised, 8 parameter-unsupported, 9 severing-unsupported,
// 10 condition-failed, 11 operation-failed.
// LwM2M: 2 not enough flash, 4 connection lost, 5 integrity check failure, 6 unsupported package type, 8 update failed, 10 cancelled.
// FUMO: 401 user cancelled, 402 corrupted package, 403 package mismatch, 404 validation (signature) failure,
// 405 not acceptable, 408 not implemented, 410 update failed, 501 download fails for want of memory.
refusals! {
    /// not CBOR, cut short, or not the structure that belongs there
    Malformed = -96 => (1, 6, 402),
    /// CBOR that has a shorter form: an over-long head, an indefinite length
    NotCanonical = -97 => (1, 6, 402),
    /// map keys are out of order or twice there
    KeyOrder = -98 => (1, 6, 402),
    /// bytes follow where the structure has ended
    TrailingBytes = -99 => (1, 6, 402),
    /// the envelope, the manifest or its common part has a member that this profile does not know
    UnknownMember = -100 => (1, 6, 405),
    /// a member that must be there is not
    MissingMember = -101 => (1, 6, 405),
    /// the authentication block is not one digest and one COSE_Sign1 with exactly the headers of the profile
    Authentication = -102 => (2, 6, 404),
    /// a digest that is not SHA-256 or a signature that is not Ed25519 (COSE algorithm -19)
    Algorithm = -103 => (3, 6, 404),
    /// no key is known under the key identifier that the signature names
    UnknownKey = -104 => (4, 5, 404),
    /// the signature is not one of the trusted keys over this digest
    Signature = -105 => (4, 5, 404),
    /// the manifest is not the one whose digest was signed
    ManifestDigest = -106 => (4, 5, 402),
    /// a severed member of the envelope is not the one whose digest the manifest states
    MemberDigest = -107 => (4, 5, 402),
    /// a command sequence that is needed was severed and is not in the envelope
    Severed = -108 => (9, 6, 405),
    /// the manifest is of a version other than 1
    ManifestVersion = -109 => (1, 6, 405),
    /// a command that this profile does not know, or one that is not allowed in that sequence
    Command = -110 => (5, 6, 408),
    /// a parameter that this profile does not know
    Parameter = -111 => (8, 6, 408),
    /// a command or a parameter has a value of the wrong type or out of range
    Argument = -112 => (8, 6, 408),
    /// sequences are nested too deeply or run too many commands
    TooDeep = -113 => (5, 6, 408),
    /// a component that this device does not know, one twice, or an index beyond those there are
    Component = -114 => (6, 6, 405),
    /// the shared sequence does not check vendor and class
    IdentityCheck = -115 => (5, 6, 405),
    /// the image is not checked right after its fetch, or not by the validate sequence
    ImageMatch = -116 => (5, 6, 405),
    /// the commands do not describe images that can be fetched: digest, size and URI, each once
    Image = -117 => (5, 6, 405),
    /// a condition of the manifest does not hold
    Condition = -118 => (10, 8, 405),
    /// the manifest is for another vendor's devices
    Vendor = -119 => (10, 6, 403),
    /// the manifest is for another class of devices
    Class = -120 => (10, 6, 403),
    /// the sequence number is below that of the release that was last confirmed
    Rollback = -121 => (10, 8, 405),
    /// the image is larger than its slot
    Size = -122 => (11, 2, 501),
    /// the image is not the one that the manifest describes
    ImageDigest = -123 => (10, 5, 402),
    /// the flash could not be read, erased or written
    Storage = -124 => (11, 8, 410),
    /// the new image was tried and not confirmed
    Trial = -125 => (11, 8, 410),
    /// the device's owner or its application said no
    Vetoed = -126 => (10, 10, 401),
    /// the sequence number lies further above that of the last confirmed release than one step may
    FastForward = -127 => (10, 8, 405),
    /// the time before which it was to be used is over
    Expired = -128 => (10, 8, 405),
    /// the battery holds less than the manifest asks for
    Battery = -129 => (10, 8, 405),
    /// the version installed is not one that the manifest asks for
    Version = -130 => (10, 8, 403),
    /// the manifest is for another device
    Device = -131 => (10, 6, 403),
    /// the key that signed it may not sign for that component
    Scope = -132 => (7, 5, 404),
    /// a payload in the envelope that nothing refers to, or that is not the one described
    Payload = -133 => (10, 5, 402),
    /// the list of chunk digests does not fit its image, or is not there
    ChunkList = -134 => (10, 5, 405),
    /// a chunk of the image is not the one that the list describes
    ChunkDigest = -135 => (10, 5, 402),
    /// not a table of keys, or more than one thing at once
    KeyTable = -136 => (10, 6, 402),
    /// the key table is not newer than the one in use, or a key in it has changed without a new epoch
    KeyEpoch = -137 => (10, 8, 405),
    /// the key table no longer holds the key that signed it
    KeyRevokesItself = -138 => (4, 8, 405),
    /// with the key table no key would be left for an image or for the table itself
    KeyNoneLeft = -139 => (4, 8, 405),
    /// what is to be fetched cannot be had from where the manifest says
    Unreachable = -140 => (11, 4, 410),
    /// a report that is not newer than the last one of that device
    ReportReplay = -141 => (4, 8, 405),
}

/// A refusal in other vocabularies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// suit-report-reason (draft-ietf-suit-report, SUIT_Report_Reasons), 0 … 12.
    pub suit_report: u8,
    /// OMA LwM2M object 5, resource 5 `Update Result`, 0 … 11.
    pub lwm2m: u8,
    /// OMA FUMO 1.0 result code, 200 … 599.
    pub fumo: u16,
}

impl Refusal {
    /// This refusal in other vocabularies: the one table that code, documentation and tests share.
    #[must_use]
    pub const fn mapping(self) -> Mapping {
        let place = (-96_i16).wrapping_sub(self as i16) as usize;
        match MAPPINGS.split_at_checked(place) {
            Some((_, [mapping, ..])) => *mapping,
            _ => Mapping { suit_report: 11, lwm2m: 8, fumo: 410 },
        }
    }

    /// suit-report-reason (draft-ietf-suit-report §suit-report-result).
    #[must_use]
    pub const fn suit_report(self) -> u8 {
        self.mapping().suit_report
    }

    /// OMA LwM2M object 5, resource 5 `Update Result`.
    #[must_use]
    pub const fn lwm2m_result(self) -> u8 {
        self.mapping().lwm2m
    }

    /// OMA FUMO 1.0 result code.
    #[must_use]
    pub const fn fumo(self) -> u16 {
        self.mapping().fumo
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::ota::policy::Severity;
    use crate::ota::report::State;
    use std::fmt::Write;
    use std::string::String;

    #[test]
    fn every_refusal_has_a_number_of_its_own_in_the_updates_range() {
        for (n, refusal) in Refusal::ALL.iter().enumerate() {
            assert!((-191..=-96).contains(&refusal.code()));
            assert_eq!(Refusal::from_code(refusal.code()), Some(*refusal));
            assert_eq!(refusal.code(), -96 - i32::try_from(n).unwrap(), "numbers are given in order, without gaps");
        }
        assert_eq!(Refusal::from_code(0), None);
    }

    /// The table as it stands in the documentation.
    fn table() -> String {
        let mut text =
            String::from("| reason | number | meaning | suit-report-reason | LwM2M `Update Result` | FUMO |\n");
        text.push_str("| --- | --- | --- | --- | --- | --- |\n");
        for refusal in Refusal::ALL {
            let Mapping { suit_report, lwm2m, fumo } = refusal.mapping();
            let (name, code) = (refusal.name(), refusal.code());
            writeln!(text, "| `{name}` | {code} | {refusal} | {suit_report} | {lwm2m} | {fumo} |").unwrap();
        }
        text.push_str("\n| state | LwM2M `State` |\n| --- | --- |\n");
        for state in State::ALL {
            writeln!(text, "| {} | {} |", state.name(), state.lwm2m_state()).unwrap();
        }
        text.push_str("\n| severity | LwM2M `Severity` | suit-parameter-update-priority |\n| --- | --- | --- |\n");
        for severity in Severity::ALL {
            writeln!(text, "| {} | {} | {} |", severity.name(), severity as u8, severity.priority()).unwrap();
        }
        text
    }

    #[test]
    fn the_documentation_says_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ota/refusal.md");
        if std::env::var_os("WAFT_TABLES").is_some() {
            std::fs::write(path, table()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), table(), "WAFT_TABLES=write cargo test writes it anew");
    }

    #[test]
    fn every_mapping_is_a_failure_in_its_vocabulary() {
        for refusal in Refusal::ALL {
            let Mapping { suit_report, lwm2m, fumo } = refusal.mapping();
            assert!((1..=11).contains(&suit_report), "{refusal:?}");
            assert!((2..=10).contains(&lwm2m), "{refusal:?}");
            assert!((400..600).contains(&fumo), "{refusal:?}");
        }
    }
}
