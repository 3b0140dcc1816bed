//! The envelope and the manifest in it (draft-ietf-suit-manifest-37 §8.2 to §8.5): what stands where. What the sequences
//! come to is the [processor](super::sequence)'s.

use super::sequence::Section;
use super::{Version, Visit};
use crate::ota::cbor::{At, Fault, Input, Reader};
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
pub(super) struct Layout<'a, 'i> {
    pub(super) digest: &'a [u8; 32],
    pub(super) key_id: Option<&'a [u8; 8]>,
    pub(super) sequence: u64,
    pub(super) reference_uri: Option<&'a str>,
    /// suit-set-version.
    version: Option<At>,
    /// The component identifiers, one after another.
    ids: Reader<'a, 'i>,
    /// How many components there are.
    pub(super) components: usize,
    /// The command sequences, by [`Section::index`].
    pub(super) sections: [Option<At>; Section::ALL.len()],
    /// A sequence was severed and is not in the envelope.
    pub(super) severed: bool,
    /// The integrated payloads: the members of the envelope whose keys are texts.
    payloads: Reader<'a, 'i>,
    /// How many there are.
    pub(super) payload_count: usize,
}

impl<'a, 'i> Layout<'a, 'i> {
    /// That of an envelope that has not been read.
    #[inline(never)]
    pub(super) const fn new(input: &'i Input<'a>) -> Self {
        Self {
            digest: &[0; 32],
            key_id: None,
            sequence: 0,
            reference_uri: None,
            version: None,
            ids: input.reader(),
            components: 0,
            sections: [None; Section::ALL.len()],
            severed: false,
            payloads: input.reader(),
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
        self.version.map(|at| Version::read(&mut self.input().at(at)))
    }

    /// Reads an envelope to its end, but for what is in the sequences. (Not inlined: its part of the stack is free again when
    /// the sequences are gone through.)
    #[inline(never)]
    pub(super) fn read(&mut self, visit: &mut impl Visit<'a>) {
        let fault = self.fault();
        let mut reader = self.input().reader();
        let (mut members, block) = read_authentication(&mut reader);
        members.required(&mut reader, 3, Refusal::MissingMember);
        // A digest covers a member with its head.
        let start = reader;
        let manifest = reader.nested();
        if fault.is_set() || Sha256::of(reader.since(&start)) != *block.digest {
            return fault.set(Refusal::ManifestDigest);
        }
        self.digest = block.digest;
        self.key_id = block.kid;

        let mut severed = [None; SEVERABLE.len()];
        self.read_manifest(manifest, &mut severed, visit);
        while members.left() != 0 && !reader.is_text() {
            let key = members.key(&mut reader).unwrap_or_default();
            let place = SEVERABLE.iter().position(|severable| *severable == key);
            let Some(digest) = place.and_then(|place| severed.get_mut(place)).and_then(Option::take) else {
                fault.set(Refusal::UnknownMember);
                break;
            };
            let mut member = reader;
            reader.bytes();
            fault.unless(Sha256::of(reader.since(&member)) == *digest, Refusal::MemberDigest);
            self.member(key, &mut member, visit);
        }
        self.payload_count = members.left();
        self.payloads = reader;
        while members.more() {
            let start = reader;
            reader.text();
            members.ordered(&start, &reader);
            reader.bytes();
        }
        reader.end();
        // The text is for people; the sequences are needed.
        self.severed = matches!(severed, [Some(_), ..] | [_, Some(_), _]);
    }

    fn read_manifest(
        &mut self,
        mut reader: Reader<'a, 'i>,
        severed: &mut [Option<&'a [u8; 32]>; SEVERABLE.len()],
        visit: &mut impl Visit<'a>,
    ) {
        let fault = reader.fault();
        let mut members = reader.map();
        members.required(&mut reader, 1, Refusal::MissingMember);
        let version = reader.uint();
        fault.unless(version == 1, Refusal::ManifestVersion);
        members.required(&mut reader, 2, Refusal::MissingMember);
        self.sequence = reader.uint();
        members.required(&mut reader, 3, Refusal::MissingMember);
        self.read_common(reader.nested());
        while let Some(key) = members.key(&mut reader) {
            match key {
                4 => self.reference_uri = Some(reader.text()),
                6 => {
                    let mut version = reader.nested();
                    self.version = version.here();
                    Version::read(&mut version);
                    version.end();
                }
                _ if reader.is_bytes() => self.member(key, &mut reader, visit),
                _ => {
                    let place = SEVERABLE.iter().position(|severable| *severable == key);
                    match place.and_then(|place| severed.get_mut(place)) {
                        Some(place) => *place = Some(read_digest(&mut reader)),
                        None => return fault.set(Refusal::UnknownMember),
                    }
                }
            }
        }
        reader.end();
    }

    /// Reads suit-common (§8.4.5).
    fn read_common(&mut self, mut reader: Reader<'a, 'i>) {
        let mut members = reader.map();
        members.required(&mut reader, 2, Refusal::MissingMember);
        self.components = reader.array();
        self.ids = reader;
        for _ in 0..self.components {
            read_component(&mut reader);
        }
        if members.left() != 0 {
            members.required(&mut reader, 4, Refusal::UnknownMember);
            self.put(Section::Shared.index(), &mut reader);
        }
        members.end(&reader, Refusal::UnknownMember);
        reader.end();
        reader.fault().unless(self.components != 0, Refusal::Component);
    }

    /// Reads a member that is a byte string, wherever it stands.
    fn member(&mut self, key: i32, reader: &mut Reader<'a, 'i>, visit: &mut impl Visit<'a>) {
        match Section::ALL.iter().position(|section| *section as i32 == key) {
            Some(place) if place != Section::Shared.index() => self.put(place, reader),
            _ if key == 23 => read_text(reader.nested(), visit),
            _ => {
                reader.bytes();
                reader.fault().set(Refusal::UnknownMember);
            }
        }
    }

    /// Reads the sequence of the section with that index.
    fn put(&mut self, section: usize, reader: &mut Reader<'a, 'i>) {
        if let Some(place) = self.sections.get_mut(section) {
            *place = reader.here();
        }
        // An empty one would read as one that is not there.
        reader.fault().unless(!reader.bytes().is_empty(), Refusal::Malformed);
    }

    pub(super) const fn input(&self) -> &'i Input<'a> {
        self.payloads.input()
    }

    pub(super) const fn fault(&self) -> &'i Fault {
        self.payloads.fault()
    }

    /// The sequence of that section.
    pub(super) fn section(&self, section: Section) -> Option<At> {
        self.sections.get(section.index()).copied().flatten()
    }

    /// The encoded identifiers of the components, one after another.
    fn identifiers(&self) -> &'a [u8] {
        let mut reader = self.ids;
        for _ in 0..self.components {
            read_component(&mut reader);
        }
        reader.since(&self.ids)
    }

    /// The encoded identifier of component `n`; empty where there is none of that number.
    pub(super) fn component(&self, n: usize) -> &'a [u8] {
        let mut reader = self.ids;
        for _ in 0..n.min(self.components) {
            read_component(&mut reader);
        }
        let start = reader;
        if n < self.components {
            read_component(&mut reader);
        }
        reader.since(&start)
    }

    /// The integrated payload under that key (§5.5), and its place among them.
    pub(super) fn payload(&self, key: &str) -> Option<(usize, &'a [u8])> {
        let mut reader = self.payloads;
        (0..self.payload_count).find_map(|n| {
            let found = reader.text() == key;
            let bytes = reader.bytes();
            found.then_some((n, bytes))
        })
    }

    /// The key and the bytes of the integrated payload at that place.
    pub(super) fn payload_at(&self, n: usize) -> Option<(&'a str, &'a [u8])> {
        let mut reader = self.payloads;
        (0..self.payload_count).map(|_| (reader.text(), reader.bytes())).nth(n)
    }
}

/// Reads a component identifier.
pub(super) fn read_component(reader: &mut Reader<'_, '_>) {
    for _ in 0..reader.array() {
        reader.bytes();
    }
}

/// Reads suit-text (§8.4.4): by language, texts on the manifest and on each component.
fn read_text<'a>(mut reader: Reader<'a, '_>, visit: &mut impl Visit<'a>) {
    let mut languages = reader.map();
    while languages.more() {
        let start = reader;
        let language = reader.text();
        languages.ordered(&start, &reader);
        let mut texts = reader.map();
        while texts.more() {
            // A number: a text on the manifest. A component identifier: texts on that.
            let start = reader;
            if reader.is_array() {
                read_component(&mut reader);
                let component = reader.since(&start);
                texts.ordered(&start, &reader);
                let mut texts = reader.map();
                while let Some(key) = texts.key(&mut reader) {
                    visit.text(language, Some(component), key, reader.text());
                }
            } else {
                let key = reader.label();
                texts.ordered(&start, &reader);
                visit.text(language, None, key, reader.text());
            }
        }
    }
    reader.end();
}
