//! The envelope and the manifest in it (draft-ietf-suit-manifest-37 §8.2 to §8.5): what stands where. What the sequences
//! come to is the [processor](super::sequence)'s.

use super::sequence::Section;
use super::{Version, Visit};
use crate::ota::cbor::{At, Reader};
use crate::ota::cose::{read_authentication, read_digest};
use crate::ota::digest::Sha256;
use crate::ota::refusal::Refusal;

/// What any well-formed envelope says, whether or not the device profile can apply it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// SHA-256 of the manifest as its signature covers it.
    pub digest: [u8; 32],
    /// The identifier of the key that signed it, where it states one.
    pub key_id: Option<[u8; 8]>,
    /// suit-manifest-sequence-number.
    pub sequence: u64,
    /// suit-reference-uri.
    pub reference_uri: Option<&'a str>,
    /// suit-set-version.
    pub version: Option<Version>,
    /// The component identifiers (each an array of byte strings), encoded one after another.
    pub components: &'a [u8],
}

/// The members that may stand in the manifest or, in its place, be digested there and stand in the envelope (§8.6).
const SEVERABLE: [i32; 3] = [16, 20, 23];

/// Where the parts of an envelope lie.
#[derive(Debug)]
pub(super) struct Layout<'a, 'r> {
    reader: &'r Reader<'a>,
    pub(super) digest: &'a [u8; 32],
    pub(super) key_id: Option<&'a [u8; 8]>,
    pub(super) sequence: u64,
    pub(super) reference_uri: Option<&'a str>,
    /// suit-set-version.
    pub(super) version: Option<At>,
    /// The component identifiers, one after another.
    ids: Option<At>,
    /// How many components there are.
    pub(super) components: usize,
    /// The command sequences, by [`Section::index`].
    pub(super) sections: [Option<At>; Section::ALL.len()],
    /// A sequence was severed and is not in the envelope.
    pub(super) severed: bool,
    /// The integrated payloads: the members of the envelope whose keys are texts.
    payloads: Option<At>,
    /// How many there are.
    pub(super) payload_count: usize,
}

impl<'a, 'r> Layout<'a, 'r> {
    /// That of an envelope that has not been read.
    #[inline(never)]
    pub(super) const fn new(reader: &'r Reader<'a>) -> Self {
        Self {
            reader,
            digest: &[0; 32],
            key_id: None,
            sequence: 0,
            reference_uri: None,
            version: None,
            ids: None,
            components: 0,
            sections: [None; Section::ALL.len()],
            severed: false,
            payloads: None,
            payload_count: 0,
        }
    }

    /// What it says, whether or not the device profile can apply it.
    pub(super) fn envelope(&self) -> Envelope<'a> {
        Envelope {
            digest: *self.digest,
            key_id: self.key_id.copied(),
            sequence: self.sequence,
            reference_uri: self.reference_uri,
            version: self.version(),
            components: self.identifiers(),
        }
    }

    /// suit-set-version.
    pub(super) fn version(&self) -> Option<Version> {
        self.version.map(|at| {
            let mut version = Version::NONE;
            self.reader.seek(Some(at));
            version.read(self.reader);
            version
        })
    }

    /// Reads an envelope to its end, but for what is in the sequences. (Not inlined: its part of the stack is free again when
    /// the sequences are gone through.)
    #[inline(never)]
    pub(super) fn read(&mut self, visit: &mut impl Visit<'a>) {
        let reader = self.reader;
        let (mut members, block) = read_authentication(reader);
        members.required(reader, 3, Refusal::MissingMember);
        // A digest covers a member with its head.
        let start = reader.place();
        let outer = reader.enter();
        if reader.is_set() || !Sha256::is(reader.from(start), block.digest) {
            return reader.set(Refusal::ManifestDigest);
        }
        self.digest = block.digest;
        self.key_id = block.kid;

        let mut severed = [None; SEVERABLE.len()];
        self.read_manifest(&mut severed, visit);
        reader.leave(outer);
        while members.left() != 0 && !reader.is_text() {
            let key = members.key(reader).unwrap_or_default();
            let place = SEVERABLE.iter().position(|severable| *severable == key);
            let Some(digest) = place.and_then(|place| severed.get_mut(place)).and_then(Option::take) else {
                reader.set(Refusal::UnknownMember);
                break;
            };
            let (at, start) = (reader.here(), reader.place());
            reader.bytes();
            reader.unless(Sha256::is(reader.since(start), digest), Refusal::MemberDigest);
            reader.seek(at);
            self.member(key, visit);
        }
        self.payload_count = members.left();
        self.payloads = reader.here();
        while members.more() {
            let start = reader.place();
            reader.text();
            members.ordered(start, reader);
            reader.bytes();
        }
        reader.end();
        // The text is for people; the sequences are needed.
        self.severed = matches!(severed, [Some(_), ..] | [_, Some(_), _]);
    }

    fn read_manifest(&mut self, severed: &mut [Option<&'a [u8; 32]>; SEVERABLE.len()], visit: &mut impl Visit<'a>) {
        let reader = self.reader;
        let mut members = reader.map();
        members.required(reader, 1, Refusal::MissingMember);
        let version = reader.uint();
        reader.unless(version == 1, Refusal::ManifestVersion);
        members.required(reader, 2, Refusal::MissingMember);
        self.sequence = reader.uint();
        members.required(reader, 3, Refusal::MissingMember);
        self.read_common();
        while let Some(key) = members.key(reader) {
            match key {
                4 => self.reference_uri = Some(reader.text()),
                6 => {
                    let outer = reader.enter();
                    self.version = reader.here();
                    { Version::NONE }.read(reader);
                    reader.leave(outer);
                }
                _ if reader.is_bytes() => self.member(key, visit),
                _ => {
                    let place = SEVERABLE.iter().position(|severable| *severable == key);
                    match place.and_then(|place| severed.get_mut(place)) {
                        Some(place) => *place = Some(read_digest(reader)),
                        None => return reader.set(Refusal::UnknownMember),
                    }
                }
            }
        }
    }

    /// Reads suit-common (§8.4.5).
    fn read_common(&mut self) {
        let reader = self.reader;
        let outer = reader.enter();
        let mut members = reader.map();
        members.required(reader, 2, Refusal::MissingMember);
        self.components = reader.array();
        self.ids = reader.here();
        for _ in 0..self.components {
            read_component(reader);
        }
        if members.left() != 0 {
            members.required(reader, 4, Refusal::UnknownMember);
            self.put(Section::Shared.index());
        }
        members.end(reader, Refusal::UnknownMember);
        reader.leave(outer);
        reader.unless(self.components != 0, Refusal::Component);
    }

    /// Reads a member that is a byte string, wherever it stands.
    fn member(&mut self, key: i32, visit: &mut impl Visit<'a>) {
        match Section::ALL.iter().position(|section| *section as i32 == key) {
            Some(place) if place != Section::Shared.index() => self.put(place),
            _ if key == 23 => read_text(self.reader, visit),
            _ => {
                self.reader.bytes();
                self.reader.set(Refusal::UnknownMember);
            }
        }
    }

    /// Reads the sequence of the section with that index.
    fn put(&mut self, section: usize) {
        let reader = self.reader;
        if let Some(place) = self.sections.get_mut(section) {
            *place = reader.here();
        }
        // An empty one would read as one that is not there.
        reader.unless(!reader.bytes().is_empty(), Refusal::Malformed);
    }

    pub(super) const fn reader(&self) -> &'r Reader<'a> {
        self.reader
    }

    /// The sequence of that section.
    pub(super) fn section(&self, section: Section) -> Option<At> {
        self.sections.get(section.index()).copied().flatten()
    }

    /// The encoded identifiers of the components, one after another.
    fn identifiers(&self) -> &'a [u8] {
        let reader = self.reader;
        reader.seek(self.ids);
        let start = reader.place();
        for _ in 0..self.components {
            read_component(reader);
        }
        reader.since(start)
    }

    /// The encoded identifier of component `n`; empty where there is none of that number.
    pub(super) fn component(&self, n: usize) -> &'a [u8] {
        let reader = self.reader;
        reader.seek(self.ids);
        for _ in 0..n.min(self.components) {
            read_component(reader);
        }
        let start = reader.place();
        if n < self.components {
            read_component(reader);
        }
        reader.since(start)
    }

    /// The integrated payload under that key (§5.5), and its place among them.
    pub(super) fn payload(&self, key: &str) -> Option<(usize, &'a [u8])> {
        let reader = self.reader;
        reader.seek(self.payloads);
        (0..self.payload_count).find_map(|n| {
            let found = reader.text() == key;
            let bytes = reader.bytes();
            found.then_some((n, bytes))
        })
    }

    /// The key and the bytes of the integrated payload at that place.
    pub(super) fn payload_at(&self, n: usize) -> Option<(&'a str, &'a [u8])> {
        let reader = self.reader;
        reader.seek(self.payloads);
        (0..self.payload_count).map(|_| (reader.text(), reader.bytes())).nth(n)
    }
}

/// Reads a component identifier.
pub(super) fn read_component(reader: &Reader<'_>) {
    for _ in 0..reader.array() {
        reader.bytes();
    }
}

/// Reads suit-text (§8.4.4): by language, texts on the manifest and on each component.
fn read_text<'a>(reader: &Reader<'a>, visit: &mut impl Visit<'a>) {
    let outer = reader.enter();
    let mut languages = reader.map();
    while languages.more() {
        let start = reader.place();
        let language = reader.text();
        languages.ordered(start, reader);
        let mut texts = reader.map();
        while texts.more() {
            // A number: a text on the manifest. A component identifier: texts on that.
            let start = reader.place();
            if reader.is_array() {
                read_component(reader);
                let component = reader.since(start);
                texts.ordered(start, reader);
                let mut texts = reader.map();
                while let Some(key) = texts.key(reader) {
                    visit.text(language, Some(component), key, reader.text());
                }
            } else {
                let key = reader.label();
                texts.ordered(start, reader);
                visit.text(language, None, key, reader.text());
            }
        }
    }
    reader.leave(outer);
}
