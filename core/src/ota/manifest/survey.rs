//! What a manifest comes to: its components gone through one by one, and the rules that are about all of them.

use super::envelope::{Envelope, Layout};
use super::parameters::Private;
use super::sequence::{Found, Processor, Section};
use super::{COMPONENTS, ChunkDigests, Component, Image, Key, Manifest, Payload};
use crate::ota::cbor::Fault;
use crate::ota::digest::Sha256;
use crate::ota::policy::{Severity, UpdateType};
use crate::ota::refusal::Refusal;

/// Reads an envelope that has been authenticated, by that key where it is known: the manifest. Payload number `n` goes to
/// where the second of `wanted` says.
pub(super) fn parse<'a>(
    envelope: &'a [u8],
    slot: Option<u32>,
    key: Option<&Key>,
    mut wanted: Option<(usize, &mut Option<Payload<'a>>)>,
) -> Result<Manifest<'a>, Refusal> {
    let fault = Fault::new();
    let mut layout = Layout::new(&fault);
    layout.read(envelope, &mut ())?;
    let count = layout.components;
    fault.unless(!layout.severed, Refusal::Severed);
    // A device of the profile runs its image from where it is installed.
    fault.unless(layout.section(Section::Load).is_empty(), Refusal::UnknownMember);
    fault.unless(!layout.section(Section::Shared).is_empty(), Refusal::IdentityCheck);
    fault.unless(count <= COMPONENTS, Refusal::Component);
    fault.check()?;

    let mut survey = Survey { layout: &layout, processor: Processor::new(&fault, true, slot, count), used: 0 };
    let (mut image, mut uri) = (Image::NONE, "");
    let (mut private, mut severity, mut first) = (Private::default(), None, true);
    let (mut payloads, mut lists, mut unchecked) = (0_usize, 0_usize, 0_u32);
    // The lists of chunk digests first.
    for pass in [true, false] {
        for n in 0..count {
            let id = layout.component(n);
            fault.unless((0..n).all(|other| layout.component(other) != id), Refusal::Component);
            if matches!(Component::read(id), Some(Component::Chunks(_))) != pass {
                continue;
            }
            let Some(this) = survey.payload(n)? else {
                unchecked |= bit(n);
                continue;
            };
            fault.unless(key.is_none_or(|key| key.scope.has(this.component)), Refusal::Scope);
            match this.component {
                Component::Image(number) => {
                    if core::mem::take(&mut first) {
                        Found { private, severity, .. } = survey.processor.found;
                    }
                    if number == 0 {
                        (image, uri) = (this.image, this.uri);
                    }
                    if let Some(chunks) = &this.chunks {
                        lists = lists.wrapping_sub(1);
                        survey.list(number, chunks)?;
                    }
                }
                Component::Chunks(_) => lists = lists.wrapping_add(1),
                // It is small, and nothing else waits for it.
                Component::Keys => fault.unless(count == 1 && this.content.is_some(), Refusal::KeyTable),
            }
            if let Some((n, place)) = &mut wanted
                && *n == payloads
            {
                **place = Some(this);
            }
            payloads = payloads.saturating_add(1);
        }
    }
    // What is not validated has to be what something else is copied from.
    fault.unless(unchecked & !survey.processor.sources == 0, Refusal::ImageMatch);
    fault.unless(lists == 0, Refusal::ChunkList);
    fault.unless(survey.used == bit(layout.payload_count).wrapping_sub(1), Refusal::Payload);
    let Processor { vendor, class, .. } = survey.processor;
    let requires = survey.processor.requires();
    fault.unless(vendor.is_some() && class.is_some(), Refusal::IdentityCheck);
    fault.check()?;
    let Envelope { digest, key_id, sequence, reference_uri, version, .. } = layout.envelope;
    Ok(Manifest {
        sequence,
        digest,
        signer: key.map(|key| key.id).or(key_id),
        vendor: vendor.copied().unwrap_or_default(),
        class: class.copied().unwrap_or_default(),
        payloads,
        image,
        uri,
        version,
        kind: private.kind.unwrap_or(UpdateType::Software),
        severity: severity.unwrap_or(Severity::Medium),
        chunk: private.chunk,
        reference_uri,
        requires,
    })
}

/// The bit with that number; none beyond 31.
fn bit(n: usize) -> u32 {
    1_u32.checked_shl(u32::try_from(n).unwrap_or(u32::MAX)).unwrap_or(0)
}

/// A manifest while its components are gone through.
struct Survey<'l, 'a, 'f> {
    layout: &'l Layout<'a, 'f>,
    processor: Processor<'a, 'f>,
    /// One bit for each integrated payload that is referred to.
    used: u32,
}

impl<'a> Survey<'_, 'a, '_> {
    /// What component `n` is to hold; `None` where it is not validated. The processor is left with what it found.
    fn payload(&mut self, n: usize) -> Result<Option<Payload<'a>>, Refusal> {
        let layout = self.layout;
        let fault = layout.fault();
        self.processor.pass(layout, n, &mut ());
        fault.check()?;
        let found = self.processor.found;
        let digest = found.digest.ok_or(Refusal::Image)?;
        if found.validated.is_none() {
            return Ok(None);
        }
        fault.unless(found.validated == Some(digest), Refusal::ImageMatch);
        let component = Component::read(layout.component(n)).ok_or(Refusal::Component)?;
        let mut uri = found.uri;
        if let Some(from) = found.from {
            self.processor.pass(layout, from, &mut ());
            let source = core::mem::replace(&mut self.processor.found, found);
            let same = source.digest == Some(digest) && source.from.is_none() && source.at < found.at;
            fault.unless(same, Refusal::Image);
            uri = source.uri;
        }
        let size = found.size.ok_or(Refusal::Image)?;
        let mut chunks = None;
        if let Some(list) = found.private.list {
            fault.unless(matches!(component, Component::Image(_)), Refusal::ChunkList);
            chunks = ChunkDigests::new(found.private.chunk.unwrap_or(0), size, *list);
            fault.unless(chunks.is_some(), Refusal::ChunkList);
        }
        let mut content = None;
        if let Some((n, payload)) = layout.payload(uri) {
            self.used |= bit(n);
            fault.unless(payload.len() == size as usize && Sha256::of(payload) == *digest, Refusal::Payload);
            content = Some(payload);
        }
        fault.unless(content.is_some() || !uri.starts_with('#'), Refusal::Payload);
        fault.check()?;
        Ok(Some(Payload { component, image: Image { digest: *digest, size }, uri, content, chunks }))
    }

    /// The list of the digests of that image's chunks has to be among the payloads.
    fn list(&mut self, image: u8, chunks: &ChunkDigests) -> Result<(), Refusal> {
        for n in 0..self.layout.components {
            if Component::read(self.layout.component(n)) == Some(Component::Chunks(image))
                && let Some(list) = self.payload(n)?
                && list.image.digest == *chunks.digest()
                && list.image.size == chunks.list_size()
            {
                return Ok(());
            }
        }
        Err(Refusal::ChunkList)
    }
}
