//! The envelope and the manifest in it (draft-ietf-suit-manifest-37 §8.2 to §8.5).

use super::sequence::{Processor, Section, read_component};
use super::{Version, Visit};
use crate::ota::cbor::Reader;
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

/// Reads an envelope to its end.
pub(super) fn read<'a>(
    envelope: &'a [u8],
    processor: &mut Processor<'a>,
    visit: &mut impl Visit<'a>,
) -> Result<Envelope<'a>, Refusal> {
    let mut reader = Reader::new(envelope);
    let (mut members, block) = read_authentication(&mut reader)?;
    if members.key(&mut reader)? != Some(3) {
        return Err(Refusal::MissingMember);
    }
    // A digest covers a member with its head.
    let start = reader;
    let mut manifest = reader.nested()?;
    if Sha256::of(reader.since(&start)) != *block.digest {
        return Err(Refusal::ManifestDigest);
    }

    let mut severed = [None; SEVERABLE.len()];
    let mut read = read_manifest(&mut manifest, &mut severed, processor, visit)?;
    read.digest = *block.digest;
    read.key_id = block.kid.copied();

    while members.left() != 0 {
        // A text key would be an integrated payload (§5.5).
        let key = if reader.is_text() { None } else { members.key(&mut reader)? };
        let place = key.and_then(|key| SEVERABLE.iter().position(|severable| *severable == key));
        let digest = place.and_then(|place| severed.get_mut(place)).and_then(Option::take);
        let (Some(key), Some(digest)) = (key, digest) else { return Err(Refusal::UnknownMember) };
        let start = reader;
        let member = reader.nested()?;
        if Sha256::of(reader.since(&start)) != *digest {
            return Err(Refusal::MemberDigest);
        }
        severable(key, member, processor, visit)?;
    }
    reader.end()?;
    // The text is for people; the sequences are needed.
    if let [fetch, install, _] = severed
        && processor.live
        && (fetch.is_some() || install.is_some())
    {
        return Err(Refusal::Severed);
    }
    Ok(read)
}

fn read_manifest<'a>(
    reader: &mut Reader<'a>,
    severed: &mut [Option<&'a [u8; 32]>; SEVERABLE.len()],
    processor: &mut Processor<'a>,
    visit: &mut impl Visit<'a>,
) -> Result<Envelope<'a>, Refusal> {
    let mut members = reader.map()?;
    let mut required = |reader: &mut Reader<'a>, key| {
        if members.key(reader)? == Some(key) { Ok(()) } else { Err(Refusal::MissingMember) }
    };
    required(reader, 1)?;
    if reader.uint()? != 1 {
        return Err(Refusal::ManifestVersion);
    }
    required(reader, 2)?;
    let sequence = reader.uint()?;
    required(reader, 3)?;
    let components = read_common(reader.nested()?, processor, visit)?;
    let mut read = Envelope { digest: [0; 32], key_id: None, sequence, reference_uri: None, version: None, components };
    while let Some(key) = members.key(reader)? {
        match key {
            4 => read.reference_uri = Some(reader.text()?),
            6 => {
                let mut version = reader.nested()?;
                read.version = Some(Version::read(&mut version)?);
                version.end()?;
            }
            7 => processor.run(Section::Validate, reader.nested()?, visit)?,
            // A device of the profile runs its image from where it is installed.
            8 if !processor.live => processor.run(Section::Load, reader.nested()?, visit)?,
            9 => processor.run(Section::Invoke, reader.nested()?, visit)?,
            _ => {
                let place = SEVERABLE.iter().position(|severable| *severable == key);
                let place = place.and_then(|place| severed.get_mut(place)).ok_or(Refusal::UnknownMember)?;
                if reader.is_bytes() {
                    severable(key, reader.nested()?, processor, visit)?;
                } else {
                    *place = Some(read_digest(reader)?);
                }
            }
        }
    }
    reader.end()?;
    Ok(read)
}

/// Reads suit-common (§8.4.5): the components' identifiers, encoded.
fn read_common<'a>(
    mut reader: Reader<'a>,
    processor: &mut Processor<'a>,
    visit: &mut impl Visit<'a>,
) -> Result<&'a [u8], Refusal> {
    let mut members = reader.map()?;
    if members.key(&mut reader)? != Some(2) {
        return Err(Refusal::MissingMember);
    }
    let components = processor.components(&mut reader)?;
    match members.key(&mut reader)? {
        Some(4) => processor.run(Section::Shared, reader.nested()?, visit)?,
        Some(_) => return Err(Refusal::UnknownMember),
        None if processor.live => return Err(Refusal::IdentityCheck),
        None => {}
    }
    if members.left() != 0 {
        return Err(Refusal::UnknownMember);
    }
    reader.end()?;
    Ok(components)
}

/// Reads a member that can be severed, wherever it stands.
fn severable<'a>(
    key: i32,
    member: Reader<'a>,
    processor: &mut Processor<'a>,
    visit: &mut impl Visit<'a>,
) -> Result<(), Refusal> {
    match key {
        16 => processor.run(Section::PayloadFetch, member, visit),
        20 => processor.run(Section::Install, member, visit),
        _ => read_text(member, visit),
    }
}

/// Reads suit-text (§8.4.4): by language, texts on the manifest and on each component.
fn read_text<'a>(mut reader: Reader<'a>, visit: &mut impl Visit<'a>) -> Result<(), Refusal> {
    let mut languages = reader.map()?;
    while let Some(language) = languages.next(&mut reader, Reader::text)? {
        let mut texts = reader.map()?;
        // A number: a text on the manifest. A component identifier: texts on that.
        let key = |reader: &mut Reader<'a>| {
            let start = *reader;
            if !reader.is_array() {
                return reader.label().map(Ok);
            }
            read_component(reader)?;
            Ok(Err(reader.since(&start)))
        };
        while let Some(key) = texts.next(&mut reader, key)? {
            match key {
                Ok(key) => visit.text(language, None, key, reader.text()?),
                Err(component) => {
                    let mut texts = reader.map()?;
                    while let Some(key) = texts.key(&mut reader)? {
                        visit.text(language, Some(component), key, reader.text()?);
                    }
                }
            }
        }
    }
    reader.end()
}
