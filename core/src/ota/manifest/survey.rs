//! What a manifest comes to: its components gone through one by one, and the rules that are about all of them.

use super::envelope::Layout;
use super::parameters::Private;
use super::sequence::{Found, Processor, Section};
use super::{COMPONENTS, ChunkDigests, Component, Image, Key, Manifest, Payload};
use crate::ota::cbor::Fault;
use crate::ota::digest::Sha256;
use crate::ota::policy::{Severity, UpdateType};
use crate::ota::refusal::Refusal;

/// Reads an envelope that has been authenticated, by that key where it is known: the manifest.
pub(super) fn parse<'a>(envelope: &'a [u8], slot: Option<u32>, key: Option<&Key>) -> Result<Manifest<'a>, Refusal> {
    let fault = Fault::new();
    let mut survey = Survey::new(&fault, slot);
    survey.go(envelope, key, None)?;
    survey.manifest(key)
}

/// Reads an envelope that was verified before: its payload of that number, where it has one.
pub(super) fn payload(envelope: &[u8], slot: Option<u32>, number: usize) -> Option<Payload<'_>> {
    let fault = Fault::new();
    let mut survey = Survey::new(&fault, slot);
    survey.go(envelope, None, Some(number)).ok()?;
    survey.wanted.map(|item| item.payload())
}

/// The bit with that number; none beyond 31.
fn bit(n: usize) -> u32 {
    1_u32.checked_shl(u32::try_from(n).unwrap_or(u32::MAX)).unwrap_or(0)
}

/// A manifest while its components are gone through.
struct Survey<'a, 'f> {
    layout: Layout<'a, 'f>,
    processor: Processor<'a, 'f>,
    /// One bit for each integrated payload that is referred to.
    used: u32,
    payloads: usize,
    /// The payload that was asked for; else the firmware.
    wanted: Option<Item<'a>>,
    /// What the first image says.
    private: Option<&'a [u8]>,
    severity: Option<Severity>,
}

/// What a component is to hold: a [`Payload`] whose parts are still in the envelope.
#[derive(Clone, Copy)]
struct Item<'a> {
    component: Component,
    digest: &'a [u8; 32],
    size: u32,
    uri: &'a str,
    content: Option<&'a [u8]>,
    /// Of an image that has chunk digests: bytes of a chunk, the digest of the list, and its bytes.
    chunks: Option<(u32, &'a [u8; 32], u32)>,
}

impl<'a> Item<'a> {
    const fn image(&self) -> Image {
        Image { digest: *self.digest, size: self.size }
    }

    fn payload(&self) -> Payload<'a> {
        let Self { component, size, uri, content, .. } = *self;
        let chunks = self.chunks.and_then(|(chunk, digest, _)| ChunkDigests::new(chunk, size, *digest));
        Payload { component, image: self.image(), uri, content, chunks }
    }
}

impl<'a, 'f> Survey<'a, 'f> {
    fn new(fault: &'f Fault, slot: Option<u32>) -> Self {
        Self {
            layout: Layout::new(fault),
            processor: Processor::new(fault, true, slot, 0),
            used: 0,
            payloads: 0,
            wanted: None,
            private: None,
            severity: None,
        }
    }

    /// Reads it, and goes through all components; the payload of that `number` is wanted, or the firmware.
    #[inline(never)]
    fn go(&mut self, envelope: &'a [u8], key: Option<&Key>, number: Option<usize>) -> Result<(), Refusal> {
        self.layout.read(envelope, &mut ())?;
        let layout = &self.layout;
        let fault = layout.fault();
        let count = layout.components;
        self.processor.components = count;
        fault.unless(!layout.severed, Refusal::Severed);
        // A device of the profile runs its image from where it is installed.
        fault.unless(layout.section(Section::Load).is_none(), Refusal::UnknownMember);
        fault.unless(layout.section(Section::Shared).is_some(), Refusal::IdentityCheck);
        fault.unless(count <= COMPONENTS, Refusal::Component);
        fault.check()?;
        let (mut first, mut lists, mut unchecked) = (true, 0_usize, 0_u32);
        // The lists of chunk digests first.
        for turn in 0..count.saturating_mul(2) {
            let n = turn.checked_sub(count);
            let (n, pass) = (n.unwrap_or(turn), n.is_none());
            let id = self.layout.component(n);
            fault.unless((0..n).all(|other| self.layout.component(other) != id), Refusal::Component);
            if matches!(Component::read(id), Some(Component::Chunks(_))) != pass {
                continue;
            }
            let Some(item) = self.item(n)? else {
                unchecked |= bit(n);
                continue;
            };
            fault.unless(key.is_none_or(|key| key.scope.has(item.component)), Refusal::Scope);
            match item.component {
                Component::Image(image) => {
                    if core::mem::take(&mut first) {
                        Found { private: self.private, severity: self.severity, .. } = self.processor.found;
                    }
                    if let Some((_, digest, size)) = item.chunks {
                        lists = lists.wrapping_sub(1);
                        self.list(image, digest, size)?;
                    }
                }
                Component::Chunks(_) => lists = lists.wrapping_add(1),
                // It is small, and nothing else waits for it.
                Component::Keys => fault.unless(count == 1 && item.content.is_some(), Refusal::KeyTable),
            }
            if number.map_or(item.component == Component::Image(0), |number| number == self.payloads) {
                self.wanted = Some(item);
            }
            self.payloads = self.payloads.saturating_add(1);
        }
        // What is not validated has to be what something else is copied from.
        fault.unless(unchecked & !self.processor.sources == 0, Refusal::ImageMatch);
        fault.unless(lists == 0, Refusal::ChunkList);
        fault.unless(self.used == bit(self.layout.payload_count).wrapping_sub(1), Refusal::Payload);
        fault.unless(self.processor.vendor.is_some() && self.processor.class.is_some(), Refusal::IdentityCheck);
        fault.check()
    }

    /// What it came to.
    #[inline(never)]
    fn manifest(&self, key: Option<&Key>) -> Result<Manifest<'a>, Refusal> {
        let Self { layout, processor, .. } = self;
        let private = Private::of(self.private, layout.fault());
        let requires = processor.requires();
        layout.fault().check()?;
        Ok(Manifest {
            sequence: layout.sequence,
            digest: *layout.digest,
            signer: key.map(|key| &key.id).or(layout.key_id).copied(),
            vendor: *processor.vendor.unwrap_or(&[0; 16]),
            class: *processor.class.unwrap_or(&[0; 16]),
            payloads: self.payloads,
            image: self.wanted.map_or(Image::NONE, |item| item.image()),
            uri: self.wanted.map_or("", |item| item.uri),
            version: layout.version(),
            kind: private.kind.unwrap_or(UpdateType::Software),
            severity: self.severity.unwrap_or(Severity::Medium),
            chunk: private.chunk,
            reference_uri: layout.reference_uri,
            requires,
        })
    }

    /// What component `n` is to hold; `None` where it is not validated. The processor is left with what it found.
    fn item(&mut self, n: usize) -> Result<Option<Item<'a>>, Refusal> {
        let layout = &self.layout;
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
        let private = Private::of(found.private, fault);
        if let Some(list) = private.list {
            fault.unless(matches!(component, Component::Image(_)), Refusal::ChunkList);
            let chunk = private.chunk.unwrap_or(0);
            chunks = ChunkDigests::new(chunk, size, *list).map(|chunks| (chunk, list, chunks.list_size()));
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
        Ok(Some(Item { component, digest, size, uri, content, chunks }))
    }

    /// The list of the digests of that image's chunks has to be among the payloads.
    fn list(&mut self, image: u8, digest: &[u8; 32], size: u32) -> Result<(), Refusal> {
        for n in 0..self.layout.components {
            if Component::read(self.layout.component(n)) == Some(Component::Chunks(image))
                && let Some(list) = self.item(n)?
                && list.digest == digest
                && list.size == size
            {
                return Ok(());
            }
        }
        Err(Refusal::ChunkList)
    }
}
