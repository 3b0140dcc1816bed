//! What a manifest comes to: its components gone through one by one, and the rules that are about all of them.

use super::envelope::Layout;
use super::parameters::{
    CLASS, DIGEST, Noted, PRIORITY, Private, SIZE, URI, VENDOR, digest as read_digest, uri as read_uri,
};
use super::sequence::{Found, Processor, Section, bit};
use super::{COMPONENTS, ChunkDigests, Component, Image, Key, Manifest, PRIVATE, Payload, Take, Version};
use crate::ota::cbor::{At, Reader};
use crate::ota::chunks::list_size;
use crate::ota::digest::Sha256;
use crate::ota::policy::Severity;
use crate::ota::refusal::Refusal;

/// Reads an envelope that has been authenticated, by that key where it is known: gives its payloads to `visit`, one by one, and
/// then, if all of it is right, the manifest to `take`.
pub(super) fn parse<'a>(
    envelope: &'a [u8],
    slot: Option<u32>,
    key: Option<&Key>,
    visit: Option<&mut dyn FnMut(&Payload<'a>)>,
    take: &mut Take<'_, 'a>,
) -> Result<(), Refusal> {
    let reader = Reader::new(envelope);
    let mut layout = Layout::new(&reader);
    layout.read(&mut ());
    let mut said = Said::default();
    survey(&layout, slot, key, &mut said, visit);
    said.tell(&layout, key, take)
}

/// What all components together say.
#[derive(Default)]
struct Said<'a> {
    noted: Noted,
    of: Payloads<'a>,
}

/// What the payloads together say.
#[derive(Default)]
struct Payloads<'a> {
    payloads: usize,
    /// Digest, size and URI of the firmware, where there is one.
    firmware: Option<(&'a [u8; 32], u32, &'a str)>,
    /// What the first image says, where there is one.
    private: Option<Private<'a>>,
    priority: Option<At>,
}

/// A manifest while its components are gone through. (In an order in which short instructions reach what is used most.)
#[repr(C)]
struct Survey<'l, 'a, 'r, 's> {
    reader: &'r Reader<'a>,
    layout: &'l Layout<'a, 'r>,
    /// One bit for each integrated payload that is referred to.
    used: u32,
    /// Lists of chunk digests that no image has asked for yet.
    lists: usize,
    item: Item<'a>,
    processor: Processor<'a, 'r, 's>,
}

/// What a component is to hold: a [`Payload`] whose parts are still in the envelope.
struct Item<'a> {
    component: Component,
    digest: &'a [u8; 32],
    size: u32,
    uri: &'a str,
    content: Option<&'a [u8]>,
    private: Private<'a>,
    priority: Option<At>,
}

impl<'a> Item<'a> {
    const NONE: Self = Self {
        component: Component::Image(0),
        digest: &[0; 32],
        size: 0,
        uri: "",
        content: None,
        private: Private::NONE,
        priority: None,
    };

    /// Shows it as a payload. (Not inlined, for the sake of the stack.)
    #[inline(never)]
    fn show(&self, visit: &mut dyn FnMut(&Payload<'a>)) {
        let Self { component, digest, size, uri, content, private, .. } = self;
        visit(&Payload {
            component: *component,
            image: Image { digest: **digest, size: *size },
            uri,
            content: *content,
            chunks: private.list.and_then(|list| ChunkDigests::new(private.chunk, *size, *list)),
        });
    }

    /// Bytes of the list of its chunks' digests; `None` where it can have none.
    const fn list_size(&self) -> Option<u32> {
        list_size(self.private.chunk, self.size)
    }
}

/// Goes through all components of what was read; each payload is given to `visit`.
#[inline(never)]
fn survey<'a>(
    layout: &Layout<'a, '_>,
    slot: Option<u32>,
    key: Option<&Key>,
    said: &mut Said<'a>,
    mut visit: Option<&mut dyn FnMut(&Payload<'a>)>,
) {
    let reader = layout.reader();
    let count = layout.components;
    reader.unless(!layout.severed, Refusal::Severed);
    // A device of the profile runs its image from where it is installed.
    reader.unless(layout.section(Section::Load).is_none(), Refusal::UnknownMember);
    reader.unless(layout.section(Section::Shared).is_some(), Refusal::IdentityCheck);
    reader.unless(count <= COMPONENTS, Refusal::Component);
    if reader.is_set() {
        return;
    }
    let Said { noted, of } = said;
    let mut survey = Survey {
        reader,
        layout,
        used: 0,
        lists: 0,
        item: Item::NONE,
        processor: Processor::new(reader, true, slot, count, noted),
    };
    let mut unchecked = 0_u32;
    // The lists of chunk digests first.
    for turn in 0..count.wrapping_mul(2) {
        let n = turn.checked_sub(count);
        let (n, pass) = (n.unwrap_or(turn), n.is_none());
        let id = layout.component(n);
        reader.unless((0..n).all(|other| layout.component(other) != id), Refusal::Component);
        if matches!(Component::read(id), Some(Component::Chunks(_))) != pass {
            continue;
        }
        if !survey.look(n) {
            unchecked |= bit(n);
            continue;
        }
        survey.enclosed();
        let item = &survey.item;
        if item.component == Component::Image(0) {
            of.firmware = Some((item.digest, item.size, item.uri));
        }
        if of.private.is_none() && matches!(item.component, Component::Image(_)) {
            of.private = Some(item.private);
            of.priority = item.priority;
        }
        if let Some(visit) = &mut visit {
            item.show(*visit);
        }
        survey.judge(key);
        of.payloads = of.payloads.wrapping_add(1);
    }
    // What is not validated has to be what something else is copied from.
    reader.unless(unchecked & !survey.processor.sources == 0, Refusal::ImageMatch);
    reader.unless(survey.lists == 0, Refusal::ChunkList);
    reader.unless(survey.used == bit(layout.payload_count).wrapping_sub(1), Refusal::Payload);
    let identified = noted.identity(VENDOR, reader).is_some() && noted.identity(CLASS, reader).is_some();
    reader.unless(identified, Refusal::IdentityCheck);
}

impl<'a> Said<'a> {
    /// Gives the manifest that it comes to to `take`, where nothing was wrong. (Not inlined: by then the stack is free again that the
    /// survey took.)
    #[inline(never)]
    fn tell(&self, layout: &Layout<'a, '_>, key: Option<&Key>, take: &mut Take<'_, 'a>) -> Result<(), Refusal> {
        let reader = layout.reader();
        let mut manifest = Manifest {
            sequence: layout.sequence,
            digest: *layout.digest,
            signer: key.map(|key| &key.id).or(layout.key_id).copied(),
            payloads: self.of.payloads,
            reference_uri: layout.reference_uri,
            ..Manifest::default()
        };
        if let (Some(vendor), Some(class)) = (self.noted.identity(VENDOR, reader), self.noted.identity(CLASS, reader)) {
            (manifest.vendor, manifest.class) = (*vendor, *class);
        }
        if let Some((digest, size, uri)) = self.of.firmware {
            manifest.image = Image { digest: *digest, size };
            manifest.uri = uri;
        }
        if let Some(at) = layout.version {
            manifest.version.insert(Version::NONE).read(reader.at(at));
        }
        if let Some(private) = &self.of.private {
            manifest.kind = private.kind;
            manifest.chunk = Some(private.chunk).filter(|chunk| *chunk != 0);
        }
        if let Some(at) = self.of.priority {
            manifest.severity = Severity::from_priority(reader.at(at).int());
        }
        self.noted.require(reader, &mut manifest.requires);
        reader.check()?;
        take(&manifest)
    }
}

impl<'a> Survey<'_, 'a, '_, '_> {
    /// Holds the component that was looked at to the rules of its kind; another one may be looked at for that.
    #[inline(never)]
    fn judge(&mut self, key: Option<&Key>) {
        let (reader, component) = (self.reader, self.item.component);
        reader.unless(key.is_none_or(|key| key.scope.has(component)), Refusal::Scope);
        match component {
            Component::Image(image) => {
                if let Some(list) = self.item.private.list {
                    let size = self.item.list_size().unwrap_or(0);
                    self.lists = self.lists.wrapping_sub(1);
                    reader.unless(self.has_list(image, list, size), Refusal::ChunkList);
                }
            }
            Component::Chunks(_) => self.lists = self.lists.wrapping_add(1),
            // It is small, and nothing else waits for it.
            Component::Keys => {
                reader.unless(self.layout.components == 1 && self.item.content.is_some(), Refusal::KeyTable);
            }
        }
    }

    /// Looks for what component `n` is to hold; `false` where it is not validated.
    #[inline(never)]
    fn look(&mut self, n: usize) -> bool {
        let (layout, reader) = (self.layout, self.reader);
        let processor = &mut self.processor;
        processor.pass(layout, n, &mut ());
        let Found { image, from, at, validated } = &processor.found;
        let (digest, from, at) = (image.get(DIGEST), *from, *at);
        reader.unless(digest.is_some(), Refusal::Image);
        if reader.is_set() || validated.is_none() {
            return false;
        }
        let component = Component::read(layout.component(n));
        reader.unless(component.is_some(), Refusal::Component);
        let item = &mut self.item;
        item.component = component.unwrap_or(Component::Keys);
        item.size = match image.get(SIZE) {
            Some(at) => reader.at(at).u32(),
            None => {
                reader.set(Refusal::Image);
                0
            }
        };
        reader.unless(processor.same(*validated, digest), Refusal::ImageMatch);
        if let Some(at) = digest {
            item.digest = read_digest(reader.at(at));
        }
        item.content = None;
        item.private = Private::NONE;
        if let Some(at) = image.get(PRIVATE) {
            item.private.read(reader.at(at));
        }
        item.priority = image.get(PRIORITY);
        let mut uri = image.get(URI);
        if let Some(from) = from {
            processor.pass(layout, from, &mut ());
            let source = &processor.found;
            uri = source.image.get(URI);
            let same = processor.same(source.image.get(DIGEST), digest);
            reader.unless(same && source.from.is_none() && source.at < at, Refusal::Image);
        }
        item.uri = uri.map_or("", |at| read_uri(reader.at(at)));
        if item.private.list.is_some() {
            let image = matches!(item.component, Component::Image(_));
            reader.unless(image && item.list_size().is_some(), Refusal::ChunkList);
        }
        true
    }

    /// Looks for what the component that was looked at is to hold in the envelope, where it belongs if its URI says so. (By itself: less stack is
    /// under the hash.)
    #[inline(never)]
    fn enclosed(&mut self) {
        let Self { reader, item, .. } = self;
        if let Some((place, payload)) = self.layout.payload(item.uri) {
            self.used |= bit(place);
            reader.unless(payload.len() == item.size as usize && Sha256::is(payload, item.digest), Refusal::Payload);
            item.content = Some(payload);
        }
        reader.unless(item.content.is_some() || !item.uri.starts_with('#'), Refusal::Payload);
    }

    /// Whether the list of the digests of that image's chunks is among the payloads.
    fn has_list(&mut self, image: u8, digest: &[u8; 32], size: u32) -> bool {
        (0..self.layout.components).any(|n| {
            Component::read(self.layout.component(n)) == Some(Component::Chunks(image))
                && self.look(n)
                && self.item.digest == digest
                && self.item.size == size
        })
    }
}
