//! Reports that nobody else can have sent: each is signed with a key of the device's own, and has a suit-report-nonce
//! (draft-ietf-suit-report) above that of the one before, so that one that was recorded is of no use later.
//!
//! The nonce is a number of 64 bits in network byte order: the upper half is what the device's host gives, a number that rises
//! with each start (a count of them that it keeps in flash, or the time), and the lower half counts the reports since.
//!
//! ```
//! # #[cfg(feature = "author")] {
//! use waft::ota::{author::SecretKey, manifest::Ed25519, refusal::Refusal, report::{Report, State}};
//! use waft::ota::reporter::{MAX, Reporter, open};
//!
//! let report = Report { state: State::Confirmed, reason: None, version: None, sequence: 7, digest: [1; 32], attempts: 0 };
//! let device = SecretKey::from_seed(&[9; 32]).unwrap();
//! let mut out = [0; MAX];
//! let signed = Reporter::new(&device, 1).seal(&report, &mut out).unwrap();
//!
//! let (keys, mut scratch) = ([device.key()], [0; MAX]);
//! let told = open(signed, &keys, &Ed25519, 0, &mut scratch).unwrap();
//! assert_eq!((told.report, told.key.id), (report, device.key().id));
//! // The same one again.
//! assert_eq!(open(signed, &keys, &Ed25519, told.nonce, &mut scratch).err(), Some(Refusal::ReportReplay));
//! # }
//! ```

use super::cose::{Key, SIGNED, Signer, Verifier, open1, sign1_within};
use super::refusal::Refusal;
use super::report::{self, NONCE, Report};

/// Room for any report with its signature, and for opening it.
pub const MAX: usize = report::MAX + NONCE + SIGNED;

/// Signs a device's reports.
#[derive(Clone, Copy)]
pub struct Reporter<'a> {
    signer: &'a (dyn Signer + Sync),
    /// Of the last report.
    nonce: u64,
}

impl<'a> Reporter<'a> {
    /// One that signs with that key. `start` has to be above what it was whenever the device started before, or its reports are
    /// taken for old ones until it is.
    #[must_use]
    pub fn new(signer: &'a (dyn Signer + Sync), start: u32) -> Self {
        Self { signer, nonce: u64::from(start) << 32 }
    }

    /// Writes the report, with a nonce and a signature, to `out`: a COSE_Sign1. [`MAX`] bytes are enough.
    ///
    /// # Errors
    /// The bytes that it takes, where `out` is shorter: nothing was signed then, and the next nonce stays the next.
    pub fn seal<'o>(&mut self, report: &Report, out: &'o mut [u8]) -> Result<&'o [u8], usize> {
        let nonce = self.nonce.saturating_add(1);
        let mut plain = [0; report::MAX + NONCE];
        let plain = report.write(Some(nonce), "", &mut plain)?;
        let signed = sign1_within(plain, self.signer, out)?;
        self.nonce = nonce;
        Ok(signed)
    }
}

/// A report whose device is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told<'k> {
    /// What it tells.
    pub report: Report,
    /// Its nonce: to be kept, for the next one of that device.
    pub nonce: u64,
    /// Whose it is.
    pub key: &'k Key,
}

/// Opens a signed report, where one of the keys signed it and it is newer than `last`, the nonce of the last one that was taken
/// of that device; 0 where there was none. `scratch` is worked in: [`MAX`] bytes are enough.
///
/// # Errors
/// [`Refusal::UnknownKey`], [`Refusal::Signature`]: nobody signed it whose key is known. [`Refusal::ReportReplay`]: it is not
/// newer. [`Refusal::MissingMember`]: it has no nonce. What else a strict reader finds wrong with it, or [`Refusal::Size`].
pub fn open<'k>(
    signed: &[u8],
    keys: &'k [Key],
    verifier: &(impl Verifier + ?Sized),
    last: u64,
    scratch: &mut [u8],
) -> Result<Told<'k>, Refusal> {
    let (plain, key) = open1(signed, keys, verifier, scratch)?;
    let (report, _, nonce) = Report::read(plain)?;
    let nonce = nonce.ok_or(Refusal::MissingMember)?;
    if nonce <= last {
        return Err(Refusal::ReportReplay);
    }
    Ok(Told { report, nonce, key })
}

#[cfg(test)]
mod tests {
    use super::super::cose::{Ed25519, sign1};
    use super::super::report::State;
    use super::super::secret::SecretKey;
    use super::*;
    use std::vec;

    fn device(n: u8) -> SecretKey {
        SecretKey::from_seed(&[n; 32]).unwrap()
    }

    fn report(state: State) -> Report {
        let version = "1.2.0-rc.3".parse().ok();
        Report { state, reason: None, version, sequence: u64::MAX, digest: [0xab; 32], attempts: 255 }
    }

    fn opened<'k>(signed: &[u8], keys: &'k [Key], last: u64) -> Result<Told<'k>, Refusal> {
        open(signed, keys, &Ed25519, last, &mut [0; MAX])
    }

    #[test]
    fn a_report_that_is_forged_changed_or_sent_again_is_refused() {
        let (own, other) = (device(1), device(2));
        let keys = [own.key()];
        let mut reporter = Reporter::new(&own, 5);
        let (mut first, mut second) = ([0; MAX], [0; MAX]);
        let first = reporter.seal(&report(State::Failed), &mut first).unwrap();
        let second = reporter.seal(&report(State::Confirmed), &mut second).unwrap();

        let told = opened(first, &keys, 0).unwrap();
        assert_eq!(told, Told { report: report(State::Failed), nonce: (5 << 32) + 1, key: &keys[0] });
        let last = opened(second, &keys, told.nonce).unwrap().nonce;
        // Again, and out of order.
        assert_eq!(opened(second, &keys, last), Err(Refusal::ReportReplay));
        assert_eq!(opened(first, &keys, last), Err(Refusal::ReportReplay));
        // After a reset it goes on above all that came before.
        let mut out = [0; MAX];
        let after = Reporter::new(&own, 6).seal(&report(State::Trial), &mut out).unwrap();
        assert!(opened(after, &keys, last).is_ok());

        // By another key, under its own identifier and under the device's.
        struct Posing<'a>(&'a SecretKey, [u8; 8]);
        impl Signer for Posing<'_> {
            fn id(&self) -> [u8; 8] {
                self.1
            }
            fn sign(&self, message: &[u8]) -> [u8; 64] {
                self.0.sign(message)
            }
        }
        for (id, refusal) in [(other.key().id, Refusal::UnknownKey), (own.key().id, Refusal::Signature)] {
            let posing = Posing(&other, id);
            let mut out = [0; MAX];
            let forged = Reporter::new(&posing, 9).seal(&report(State::Confirmed), &mut out).unwrap();
            assert_eq!(opened(forged, &keys, 0), Err(refusal));
        }
        for n in 0..second.len() {
            let mut changed = second.to_vec();
            changed[n] ^= 1;
            assert!(opened(&changed, &keys, 0).is_err(), "byte {n}");
            assert!(opened(&second[..n], &keys, 0).is_err(), "cut at {n}");
        }
        // One that is not signed, and one that is, without a nonce.
        let mut plain = [0; MAX];
        let plain = report(State::Confirmed).encode("", &mut plain).unwrap();
        assert!(opened(plain, &keys, 0).is_err());
        let mut out = [0; MAX];
        let signed = sign1(plain, &own, &mut out).unwrap();
        assert_eq!(opened(signed, &keys, 0), Err(Refusal::MissingMember));
    }

    #[test]
    fn a_report_of_any_size_fits() {
        let own = device(1);
        let mut longest = report(State::Failed);
        longest.version = "2147483647.2147483647.2147483647-alpha.2147483647.2147483647".parse().ok();
        longest.reason = Some(Refusal::Unreachable);
        assert!(longest.version.is_some());
        let mut out = [0; MAX];
        let signed = Reporter::new(&own, u32::MAX).seal(&longest, &mut out).unwrap();
        assert_eq!(opened(signed, &[own.key()], 0).unwrap().report, longest);
        let needed = signed.len();
        let mut reporter = Reporter::new(&own, 1);
        for short in [0, 100, needed - 1] {
            assert_eq!(reporter.seal(&longest, &mut [0; MAX][..short]), Err(needed));
        }
        // No number was used up by that.
        let mut exact = vec![0; needed];
        let signed = reporter.seal(&longest, &mut exact).unwrap();
        assert_eq!(opened(signed, &[own.key()], 0).unwrap().nonce, (1 << 32) + 1);
    }
}
