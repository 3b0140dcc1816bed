//! What a device tells about its update: a SUIT_Report (draft-ietf-suit-report) that any reader of those understands.
//!
//! ```text
//! {                                           SUIT_Report
//!   2: h'…',                                    suit-report-nonce, in those that are signed
//!   3: [{0: [h'00'],                            the component
//!        28: << [3, [1, 2, 0]] >>,              its version, where known (suit-parameter-version, equal)
//!        -257: << [state, sequence, ?attempts] >>}],   waft's own parameter; attempts where there were some
//!   4: true                                     the update is complete
//!    / {5: code, 6: [[], 20, 0, 0, {}], 7: reason},   or is not: Refusal's number or 0; suit-report-reason
//!   99: [reference-uri, [-16, digest]]          the manifest it is about
//! }
//! ```
//!
//! The component is the firmware's in every report, also of a release that brings other images, or them alone: what a report tells of is one
//! manifest, installed as a whole or not at all, and its digest at 99 names that. Which image a failure came from it does not say.
//!
//! A report is signed, where that is asked for, by a [`Reporter`](super::reporter::Reporter): a COSE_Sign1 around it.

use super::cbor::{Encoder, Reader};
use super::manifest::{COMPONENT, Comparison, PRIVATE, Version, VersionMatch};
use super::refusal::Refusal;
use crate::wire::Writer;

/// Where an update stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// No update is under way.
    Idle = 0,
    /// An envelope has arrived.
    Announced = 1,
    /// Its signature and its manifest are good.
    Verified = 2,
    /// The application wants it later.
    Deferred = 3,
    /// The image is being fetched.
    Fetching = 4,
    /// All of it is in flash.
    Fetched = 5,
    /// It is, read back, the one that was signed for.
    Validated = 6,
    /// It will be tried at the next boot.
    Ready = 7,
    /// It runs, on trial.
    Trial = 8,
    /// It stays.
    Confirmed = 9,
    /// The old image is back.
    Reverted = 10,
    /// The update was given up.
    Failed = 11,
}

impl State {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Idle,
        Self::Announced,
        Self::Verified,
        Self::Deferred,
        Self::Fetching,
        Self::Fetched,
        Self::Validated,
        Self::Ready,
        Self::Trial,
        Self::Confirmed,
        Self::Reverted,
        Self::Failed,
    ];

    /// The state with that number.
    #[must_use]
    pub fn from_u8(n: u8) -> Option<Self> {
        Self::ALL.get(usize::from(n)).copied()
    }

    /// Its name in lower case, as programs print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Announced => "announced",
            Self::Verified => "verified",
            Self::Deferred => "deferred",
            Self::Fetching => "fetching",
            Self::Fetched => "fetched",
            Self::Validated => "validated",
            Self::Ready => "ready",
            Self::Trial => "trial",
            Self::Confirmed => "confirmed",
            Self::Reverted => "reverted",
            Self::Failed => "failed",
        }
    }

    /// OMA LwM2M object 5, resource 3 `State`: 0 idle, 1 downloading, 2 downloaded, 3 updating.
    #[must_use]
    pub const fn lwm2m_state(self) -> u8 {
        match self {
            Self::Idle | Self::Announced | Self::Verified | Self::Deferred => 0,
            Self::Fetching => 1,
            Self::Fetched | Self::Validated => 2,
            Self::Ready | Self::Trial => 3,
            Self::Confirmed | Self::Reverted | Self::Failed => 0,
        }
    }
}

/// A report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Where the update stands.
    pub state: State,
    /// Why it was refused, has failed or was reverted.
    pub reason: Option<Refusal>,
    /// The manifest's version.
    pub version: Option<Version>,
    /// The manifest's sequence number.
    pub sequence: u64,
    /// The manifest's digest.
    pub digest: [u8; 32],
    /// How often in a row the download has come to nothing: see [`attempts`](super::update::Update::attempts).
    pub attempts: u8,
}

/// Room for any report whose manifest has no reference URI.
pub const MAX: usize = 160;

/// What a suit-report-nonce takes.
pub(super) const NONCE: usize = 10;

impl Report {
    /// suit-report-reason: that of the refusal; 12, invoke-pending, on trial and just before; else 0, ok.
    #[must_use]
    pub fn suit_reason(&self) -> u8 {
        match (self.reason, self.state) {
            (Some(reason), _) => reason.suit_report(),
            (None, State::Ready | State::Trial) => 12,
            (None, State::Failed | State::Reverted) => 11,
            _ => 0,
        }
    }

    /// Encodes it, deterministically. `reference_uri` is the manifest's, or empty where it has none.
    ///
    /// # Errors
    /// The bytes that it takes, where `out` is shorter; [`MAX`] are enough beside the URI's.
    pub fn encode<'o>(&self, reference_uri: &str, out: &'o mut [u8]) -> Result<&'o [u8], usize> {
        self.write(None, reference_uri, out)
    }

    /// As [`encode`](Self::encode), with that suit-report-nonce: [`NONCE`] bytes more.
    pub(super) fn write<'o>(
        &self,
        nonce: Option<u64>,
        reference_uri: &str,
        out: &'o mut [u8],
    ) -> Result<&'o [u8], usize> {
        let mut writer = Writer::new(out);
        let mut encoder = Encoder(&mut writer);
        encoder.map(if nonce.is_some() { 4 } else { 3 });
        if let Some(nonce) = nonce {
            encoder.uint(2);
            encoder.bytes(&nonce.to_be_bytes());
        }
        encoder.uint(3);
        encoder.array(1);
        encoder.map(if self.version.is_some() { 3 } else { 2 });
        encoder.uint(0);
        encoder.0.bytes(COMPONENT);
        if let Some(version) = &self.version {
            encoder.uint(28);
            let mut buf = [0; 40];
            encoder.bytes(write(&mut buf, |inner| {
                inner.array(2);
                inner.uint(Comparison::Equal as u64);
                inner.version(version);
            }));
        }
        encoder.int(PRIVATE);
        let mut buf = [0; 16];
        encoder.bytes(write(&mut buf, |inner| {
            inner.array(if self.attempts == 0 { 2 } else { 3 });
            inner.uint(self.state as u64);
            inner.uint(self.sequence);
            if self.attempts != 0 {
                inner.uint(self.attempts.into());
            }
        }));
        encoder.uint(4);
        if self.reason.is_none() && self.state == State::Confirmed {
            encoder.yes();
        } else {
            encoder.map(3);
            encoder.uint(5);
            encoder.int(self.reason.map_or(0, |reason| reason as i32));
            encoder.uint(6);
            encoder.array(5);
            encoder.array(0);
            // The install sequence: what a device reports on is one whole manifest, not a command of it.
            encoder.uint(20);
            encoder.uint(0);
            encoder.uint(0);
            encoder.map(0);
            encoder.uint(7);
            encoder.uint(self.suit_reason().into());
        }
        encoder.uint(99);
        encoder.array(2);
        encoder.text(reference_uri);
        encoder.array(2);
        encoder.int(super::cose::ALG_SHA256);
        encoder.bytes(&self.digest);
        writer.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote: the report and the reference URI. For tests and tools; it is no reader
    /// of SUIT_Reports in general.
    ///
    /// # Errors
    /// What a strict reader finds wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &str), Refusal> {
        Self::read(bytes).map(|(report, uri, _)| (report, uri))
    }

    /// The same, and the suit-report-nonce, where it has one.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, &str, Option<u64>), Refusal> {
        let reader = Reader::new(bytes);
        let read = Self::members(&reader);
        reader.check()?;
        Ok(read)
    }

    fn members<'a>(r: &Reader<'a>) -> (Self, &'a str, Option<u64>) {
        let mut report = r.map();
        let mut nonce = None;
        let mut next = report.key(r);
        if next == Some(2) {
            nonce = Some(u64::from_be_bytes(*r.array_of(Refusal::Argument)));
            next = report.key(r);
        }
        r.unless(next == Some(3), Refusal::MissingMember);
        r.array_with(1, Refusal::Malformed);
        let mut claims = r.map();
        claims.required(r, 0, Refusal::MissingMember);
        let start = r.place();
        for _ in 0..r.array() {
            r.bytes();
        }
        r.unless(r.since(start) == COMPONENT, Refusal::Component);
        let mut version = None;
        let mut next = claims.key(r);
        if next == Some(28) {
            let claim = r.enter();
            let mut claimed = VersionMatch::NONE;
            claimed.read(r);
            version = Some(claimed.version);
            r.leave(claim);
            next = claims.key(r);
        }
        r.unless(next == Some(PRIVATE), Refusal::MissingMember);
        let claim = r.enter();
        let members = r.array();
        r.unless(matches!(members, 2 | 3), Refusal::Malformed);
        let state = u8::try_from(r.uint()).ok().and_then(State::from_u8);
        r.unless(state.is_some(), Refusal::Argument);
        let sequence = r.uint();
        let attempts = if members == 3 { u8::try_from(r.uint()).unwrap_or(0) } else { 0 };
        // One form for each report.
        r.unless((attempts != 0) == (members == 3), Refusal::Argument);
        r.leave(claim);
        claims.end(r, Refusal::Malformed);
        report.required(r, 4, Refusal::MissingMember);
        let mut reason = None;
        if !r.skip_true() {
            let mut result = r.map();
            result.required(r, 5, Refusal::MissingMember);
            let code = r.label();
            reason = Refusal::from_code(code);
            r.unless(code == 0 || reason.is_some(), Refusal::Argument);
            result.required(r, 6, Refusal::MissingMember);
            r.array_with(5, Refusal::Malformed);
            r.array_with(0, Refusal::Malformed);
            for _ in 0..3 {
                r.uint();
            }
            let record = r.map();
            record.end(r, Refusal::Malformed);
            result.required(r, 7, Refusal::MissingMember);
            r.uint();
            result.end(r, Refusal::Malformed);
        }
        report.required(r, 99, Refusal::MissingMember);
        r.array_with(2, Refusal::Malformed);
        let uri = r.text();
        let digest = *super::cose::read_digest(r);
        report.end(r, Refusal::Malformed);
        r.end();
        (Self { state: state.unwrap_or(State::Failed), reason, version, sequence, digest, attempts }, uri, nonce)
    }
}

/// Encodes into a buffer of its own, for what is wrapped in a byte string. All callers' buffers are large enough.
fn write(buf: &mut [u8], items: impl FnOnce(&mut Encoder<'_, '_>)) -> &[u8] {
    let mut writer = Writer::new(buf);
    items(&mut Encoder(&mut writer));
    writer.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report() -> Report {
        let version = "1.2.0".parse().ok();
        Report { state: State::Confirmed, reason: None, version, sequence: 7, digest: [0xab; 32], attempts: 0 }
    }

    #[test]
    fn a_confirmed_update_reports_true() {
        let mut out = [0; MAX];
        let bytes = report().encode("", &mut out).unwrap();
        let mut expected = std::vec![0xa3, 0x03, 0x81, 0xa3, 0x00, 0x81, 0x41, 0x00];
        expected.extend([0x18, 28, 0x46, 0x82, 0x03, 0x83, 0x01, 0x02, 0x00]);
        expected.extend([0x39, 0x01, 0x00, 0x43, 0x82, 0x09, 0x07]);
        expected.extend([0x04, 0xf5, 0x18, 99, 0x82, 0x60, 0x82, 0x2f, 0x58, 0x20]);
        expected.extend([0xab; 32]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_report_that_does_not_fit_tells_its_size() {
        let mut out = [0; 20];
        let needed = report().encode("coap://h/m", &mut out).unwrap_err();
        let mut out = [0; MAX];
        assert_eq!(report().encode("coap://h/m", &mut out).unwrap().len(), needed);
    }

    #[test]
    fn a_changed_length_is_refused() {
        let mut out = [0; MAX];
        let bytes = report().encode("", &mut out).unwrap();
        for len in 0..bytes.len() {
            assert!(Report::decode(&bytes[..len]).is_err());
        }
        let longer: std::vec::Vec<u8> = bytes.iter().copied().chain([0]).collect();
        assert_eq!(Report::decode(&longer), Err(Refusal::TrailingBytes));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            state in proptest::sample::select(&State::ALL[..]),
            reason in proptest::option::of(proptest::sample::select(Refusal::ALL)),
            version in proptest::option::of(proptest::collection::vec(0..i32::MAX, 1..=3)),
            sequence in any::<u64>(),
            digest in any::<[u8; 32]>(),
            uri in "[a-z:/]{0,20}",
            attempts in any::<u8>(),
        ) {
            let version = version.and_then(|numbers| Version::new(&numbers));
            // A confirmed update was not refused.
            let reason = reason.filter(|_| state != State::Confirmed);
            let report = Report { state, reason, version, sequence, digest, attempts };
            let mut out = [0; MAX + 20];
            let bytes = report.encode(&uri, &mut out).unwrap();
            prop_assert!(bytes.len() <= MAX + uri.len());
            prop_assert_eq!(Report::decode(bytes).unwrap(), (report, uri.as_str()));
        }
    }
}
