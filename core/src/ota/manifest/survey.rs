//! What a manifest comes to: its components gone through one by one, and the rules that are about all of them.

use super::envelope::{Envelope, Layout};
use super::sequence::{Found, Processor, Section};
use super::{COMPONENTS, ChunkDigests, Component, Image, Manifest, Payload, Scope};
use crate::ota::cbor::{Fault, Reader};
use crate::ota::digest::Sha256;
use crate::ota::policy::{Severity, UpdateType};
use crate::ota::refusal::Refusal;

/// Reads an envelope that has been authenticated by a key with that scope: the manifest, and payload number `wanted`.
pub(super) fn parse(
    envelope: &[u8],
    slot: Option<u32>,
    scope: Scope,
    wanted: usize,
) -> Result<(Manifest<'_>, Option<Payload<'_>>), Refusal> {
    let fault = Fault::new();
    let layout = Layout::read(Reader::new(envelope, &fault), &mut ())?;
    let count = layout.components;
    fault.unless(!layout.severed, Refusal::Severed);
    // A device of the profile runs its image from where it is installed.
    fault.unless(layout.section(Section::Load).is_empty(), Refusal::UnknownMember);
    fault.unless(!layout.section(Section::Shared).is_empty(), Refusal::IdentityCheck);
    fault.unless(count <= COMPONENTS, Refusal::Component);
    fault.check()?;

    let mut survey = Survey { layout: &layout, processor: Processor::new(&fault, true, slot, count), used: 0 };
    let (mut firmware, mut terms, mut payload) = (None, None, None);
    let (mut payloads, mut lists, mut unchecked) = (0_usize, 0_usize, 0_u32);
    // The lists of chunk digests first.
    for pass in [true, false] {
        for n in 0..count {
            let id = layout.component(n);
            fault.unless((0..n).all(|other| layout.component(other) != id), Refusal::Component);
            let role = Component::read(id);
            if matches!(role, Some(Component::Chunks(_))) != pass {
                continue;
            }
            let Some((found, this)) = survey.payload(n)? else {
                unchecked |= 1_u32.wrapping_shl(u32::try_from(n).unwrap_or(0));
                continue;
            };
            fault.unless(scope.has(this.component), Refusal::Scope);
            match this.component {
                Component::Image(image) => {
                    lists = lists.wrapping_sub(this.chunks.is_some().into());
                    terms.get_or_insert(found);
                    if let Some(chunks) = this.chunks {
                        survey.list(image, &chunks)?;
                    }
                    if image == 0 {
                        firmware = Some(this);
                    }
                }
                Component::Chunks(_) => lists = lists.wrapping_add(1),
                // It is small, and nothing else waits for it.
                Component::Keys => fault.unless(count == 1 && this.content.is_some(), Refusal::KeyTable),
            }
            if payloads == wanted {
                payload = Some(this);
            }
            payloads = payloads.saturating_add(1);
        }
    }
    // What is not validated has to be what something else is copied from.
    fault.unless(unchecked & !survey.processor.sources == 0, Refusal::ImageMatch);
    fault.unless(lists == 0, Refusal::ChunkList);
    let all = 1_u32.checked_shl(u32::try_from(layout.payload_count).unwrap_or(u32::MAX)).unwrap_or(0);
    fault.unless(survey.used == all.wrapping_sub(1), Refusal::Payload);
    let Processor { vendor, class, requires, .. } = survey.processor;
    fault.check()?;
    let (Some(vendor), Some(class)) = (vendor, class) else { return Err(Refusal::IdentityCheck) };
    let Found { private, severity, .. } = terms.unwrap_or_default();
    let Envelope { digest, key_id: signer, sequence, reference_uri, version, .. } = layout.envelope;
    let manifest = Manifest {
        sequence,
        digest,
        signer,
        vendor: *vendor,
        class: *class,
        payloads,
        image: firmware.map_or(Image::NONE, |firmware| firmware.image),
        uri: firmware.map_or("", |firmware| firmware.uri),
        version,
        kind: private.kind.unwrap_or(UpdateType::Software),
        severity: severity.unwrap_or(Severity::Medium),
        chunk: private.chunk,
        reference_uri,
        requires,
    };
    Ok((manifest, payload))
}

/// A manifest while its components are gone through.
struct Survey<'l, 'a, 'f> {
    layout: &'l Layout<'a, 'f>,
    processor: Processor<'a, 'f>,
    /// One bit for each integrated payload that is referred to.
    used: u32,
}

impl<'a> Survey<'_, 'a, '_> {
    /// What component `n` is to hold; `None` where it is not validated.
    fn payload(&mut self, n: usize) -> Result<Option<(Found<'a>, Payload<'a>)>, Refusal> {
        let layout = self.layout;
        let fault = layout.fault();
        let found = self.processor.pass(layout, n, &mut ());
        fault.check()?;
        let digest = found.digest.ok_or(Refusal::Image)?;
        if found.validated.is_none() {
            return Ok(None);
        }
        fault.unless(found.validated == Some(digest), Refusal::ImageMatch);
        let component = Component::read(layout.component(n)).ok_or(Refusal::Component)?;
        let mut uri = found.uri;
        if let Some(from) = found.from {
            let source = self.processor.pass(layout, from, &mut ());
            let same = source.digest == Some(digest) && source.from.is_none() && source.at < found.at;
            fault.unless(same, Refusal::Image);
            uri = source.uri;
        }
        let size = found.size.ok_or(Refusal::Image)?;
        let image = Image { digest: *digest, size };
        let chunks = match found.private.list {
            Some(list) => {
                let chunk = found.private.chunk.unwrap_or(0);
                fault.unless(matches!(component, Component::Image(_)), Refusal::ChunkList);
                Some(ChunkDigests::new(chunk, size, *list).ok_or(Refusal::ChunkList)?)
            }
            None => None,
        };
        let content = layout.payload(uri).map(|(n, content)| {
            self.used |= 1_u32.checked_shl(u32::try_from(n).unwrap_or(u32::MAX)).unwrap_or(0);
            let described = content.len() == size as usize && Sha256::of(content) == *digest;
            fault.unless(described, Refusal::Payload);
            content
        });
        fault.unless(content.is_some() || !uri.starts_with('#'), Refusal::Payload);
        fault.check()?;
        Ok(Some((found, Payload { component, image, uri, content, chunks })))
    }

    /// The list of the digests of that image's chunks has to be among the payloads.
    fn list(&mut self, image: u8, chunks: &ChunkDigests) -> Result<(), Refusal> {
        for n in 0..self.layout.components {
            if Component::read(self.layout.component(n)) == Some(Component::Chunks(image))
                && let Some((_, list)) = self.payload(n)?
                && list.image == (Image { digest: *chunks.digest(), size: chunks.list_size() })
            {
                return Ok(());
            }
        }
        Err(Refusal::ChunkList)
    }
}
