//! Why a manifest or an image is refused, and how that is said in other vocabularies.

use crate::error::numbered;

numbered! {
    /// Why an update is refused. Each rule has its own number; a device reports it and changes nothing.
    Refusal {
        /// not CBOR, cut short, or not the structure that belongs there
        Malformed = -96,
        /// CBOR that has a shorter form: an over-long head, an indefinite length
        NotCanonical = -97,
        /// map keys are out of order or twice there
        KeyOrder = -98,
        /// bytes follow where the structure has ended
        TrailingBytes = -99,
        /// the envelope, the manifest or its common part has a member that this profile does not know
        UnknownMember = -100,
        /// a member that must be there is not
        MissingMember = -101,
        /// the authentication block is not one digest and one COSE_Sign1 with exactly the headers of the profile
        Authentication = -102,
        /// a digest that is not SHA-256 or a signature that is not Ed25519 (COSE algorithm -19)
        Algorithm = -103,
        /// no key is known under the key identifier that the signature names
        UnknownKey = -104,
        /// the signature is not one of the trusted keys over this digest
        Signature = -105,
        /// the manifest is not the one whose digest was signed
        ManifestDigest = -106,
        /// a severed member of the envelope is not the one whose digest the manifest states
        MemberDigest = -107,
        /// a command sequence that is needed was severed and is not in the envelope
        Severed = -108,
        /// the manifest is of a version other than 1
        ManifestVersion = -109,
        /// a command that this profile does not know, or one that is not allowed in that sequence
        Command = -110,
        /// a parameter that this profile does not know
        Parameter = -111,
        /// a command or a parameter has a value of the wrong type or out of range
        Argument = -112,
        /// sequences are nested too deeply or run too many commands
        TooDeep = -113,
        /// there is not exactly one component, or a component index beyond those there are
        Component = -114,
        /// the shared sequence does not check vendor and class
        IdentityCheck = -115,
        /// the image is not checked right after its fetch, or not by the validate sequence
        ImageMatch = -116,
        /// the commands do not describe one image that can be fetched: digest, size and URI
        Image = -117,
        /// a condition of the manifest does not hold
        Condition = -118,
        /// the manifest is for another vendor's devices
        Vendor = -119,
        /// the manifest is for another class of devices
        Class = -120,
        /// the sequence number is below that of the release that was last confirmed
        Rollback = -121,
        /// the image is larger than its slot
        Size = -122,
        /// the image is not the one that the manifest describes
        ImageDigest = -123,
        /// the flash could not be read, erased or written
        Storage = -124,
        /// the new image was tried and not confirmed
        Trial = -125,
        /// the device's owner or its application said no
        Vetoed = -126,
    }
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
        // suit-report: 1 cbor-parse, 2 cose-unsupported, 3 alg-unsupported, 4 unauthorised, 5 command-unsupported,
        // 6 component-unsupported, 8 parameter-unsupported, 9 severing-unsupported, 10 condition-failed,
        // 11 operation-failed.
        // LwM2M: 2 not enough flash, 5 integrity check failure, 6 unsupported package type, 8 update failed,
        // 10 cancelled.
        // FUMO: 401 user cancelled, 402 corrupted package, 403 package mismatch, 404 validation (signature) failure,
        // 405 not acceptable, 408 not implemented, 410 update failed, 501 download fails for want of memory.
        let (suit_report, lwm2m, fumo) = match self {
            Self::Malformed | Self::NotCanonical | Self::KeyOrder | Self::TrailingBytes => (1, 6, 402),
            Self::UnknownMember | Self::MissingMember | Self::ManifestVersion => (1, 6, 405),
            Self::Authentication => (2, 6, 404),
            Self::Algorithm => (3, 6, 404),
            Self::UnknownKey | Self::Signature => (4, 5, 404),
            Self::ManifestDigest | Self::MemberDigest => (4, 5, 402),
            Self::Severed => (9, 6, 405),
            Self::Command | Self::TooDeep => (5, 6, 408),
            Self::Parameter | Self::Argument => (8, 6, 408),
            Self::Component => (6, 6, 405),
            Self::IdentityCheck | Self::ImageMatch | Self::Image => (5, 6, 405),
            Self::Condition => (10, 8, 405),
            Self::Vendor | Self::Class => (10, 6, 403),
            Self::Rollback => (10, 8, 405),
            Self::Size => (11, 2, 501),
            Self::ImageDigest => (10, 5, 402),
            Self::Storage | Self::Trial => (11, 8, 410),
            Self::Vetoed => (10, 10, 401),
        };
        Mapping { suit_report, lwm2m, fumo }
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

    #[test]
    fn every_refusal_has_a_number_of_its_own_in_the_updates_range() {
        for (n, refusal) in Refusal::ALL.iter().enumerate() {
            assert!((-127..=-96).contains(&refusal.code()));
            assert_eq!(Refusal::from_code(refusal.code()), Some(*refusal));
            assert_eq!(refusal.code(), -96 - i32::try_from(n).unwrap(), "numbers are given in order, without gaps");
        }
        assert_eq!(Refusal::from_code(0), None);
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
