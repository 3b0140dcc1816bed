//! What a manifest comes to: its components gone through one by one, and the rules that are about all of them.

use super::envelope::Layout;
use super::parameters::{CLASS, DIGEST, PRIORITY, Private, SIZE, URI, VENDOR, digest as read_digest, uri as read_uri};
use super::sequence::{Found, Processor, Section, bit};
use super::{COMPONENTS, ChunkDigests, Component, Image, Key, Manifest, PRIVATE, Payload, Version};
use crate::ota::cbor::{At, Reader};
use crate::ota::chunks::list_size;
use crate::ota::digest::Sha256;
use crate::ota::policy::Severity;
use crate::ota::refusal::Refusal;

/// Reads an envelope that has been authenticated, by that key where it is known: the manifest.
pub(super) fn parse<'a>(
    envelope: &'a [u8],
    slot: Option<u32>,
    key: Option<&Key>,
    manifest: &mut Manifest<'a>,
) -> Result<(), Refusal> {
    let reader = Reader::new(envelope);
    let mut survey = Survey::new(&reader, slot);
    survey.layout.read(&mut ());
    let firmware = survey.go(key, None);
    survey.tell(key, firmware, manifest);
    reader.check()
}

/// Reads an envelope that was verified before: its payload of that number, where it has one.
pub(super) fn payload(envelope: &[u8], slot: Option<u32>, number: usize) -> Option<Payload<'_>> {
    let reader = Reader::new(envelope);
    let mut survey = Survey::new(&reader, slot);
    survey.layout.read(&mut ());
    if !survey.go(None, Some(number)) || reader.is_set() {
        return None;
    }
    let Item { component, uri, content, private, .. } = survey.item;
    Some(Payload {
        component,
        image: survey.item.image(),
        uri,
        content,
        chunks: private.list.and_then(|list| ChunkDigests::new(private.chunk, survey.item.size, *list)),
    })
}

/// A manifest while its components are gone through. (In an order in which short instructions reach what is used most.)
#[repr(C)]
struct Survey<'a, 'r> {
    reader: &'r Reader<'a>,
    /// One bit for each integrated payload that is referred to.
    used: u32,
    payloads: usize,
    /// Lists of chunk digests that no image has asked for yet.
    lists: usize,
    /// There was an image.
    imaged: bool,
    /// The component whose content was looked for last, if no other one was looked at since; what it is to hold.
    looked: usize,
    item: Item<'a>,
    /// What the first image says.
    private: Private<'a>,
    priority: Option<At>,
    layout: Layout<'a, 'r>,
    processor: Processor<'a, 'r>,
}

/// No component.
const NONE: usize = usize::MAX;

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

impl Item<'_> {
    const fn image(&self) -> Image {
        Image { digest: *self.digest, size: self.size }
    }

    /// Bytes of the list of its chunks' digests; `None` where it can have none.
    const fn list_size(&self) -> Option<u32> {
        list_size(self.private.chunk, self.size)
    }
}

impl<'a, 'r> Survey<'a, 'r> {
    #[inline(never)]
    fn new(reader: &'r Reader<'a>, slot: Option<u32>) -> Self {
        Self {
            reader,
            used: 0,
            payloads: 0,
            lists: 0,
            imaged: false,
            looked: NONE,
            item: Item {
                component: Component::Image(0),
                digest: &[0; 32],
                size: 0,
                uri: "",
                content: None,
                private: Private::NONE,
                priority: None,
            },
            private: Private::NONE,
            priority: None,
            layout: Layout::new(reader),
            processor: Processor::new(reader, true, slot, 0),
        }
    }

    /// Goes through all components of what was read: whether there is a payload of that `number`, or else firmware. That is then
    /// the [`item`](Self::item).
    #[inline(never)]
    fn go(&mut self, key: Option<&Key>, number: Option<usize>) -> bool {
        let layout = &self.layout;
        let reader = self.reader;
        let count = layout.components;
        self.processor.components = count;
        reader.unless(!layout.severed, Refusal::Severed);
        // A device of the profile runs its image from where it is installed.
        reader.unless(layout.section(Section::Load).is_none(), Refusal::UnknownMember);
        reader.unless(layout.section(Section::Shared).is_some(), Refusal::IdentityCheck);
        reader.unless(count <= COMPONENTS, Refusal::Component);
        if reader.is_set() {
            return false;
        }
        let (mut unchecked, mut wanted) = (0_u32, None);
        // The lists of chunk digests first.
        for turn in 0..count.wrapping_mul(2) {
            let n = turn.checked_sub(count);
            let (n, pass) = (n.unwrap_or(turn), n.is_none());
            let id = self.layout.component(n);
            reader.unless((0..n).all(|other| self.layout.component(other) != id), Refusal::Component);
            if matches!(Component::read(id), Some(Component::Chunks(_))) != pass {
                continue;
            }
            if !self.look(n) {
                unchecked |= bit(n);
                continue;
            }
            self.enclosed(n);
            if number.map_or(self.item.component == Component::Image(0), |number| number == self.payloads) {
                wanted = Some(n);
            }
            self.judge(key);
            self.payloads = self.payloads.wrapping_add(1);
        }
        // What is not validated has to be what something else is copied from.
        reader.unless(unchecked & !self.processor.sources == 0, Refusal::ImageMatch);
        reader.unless(self.lists == 0, Refusal::ChunkList);
        reader.unless(self.used == bit(self.layout.payload_count).wrapping_sub(1), Refusal::Payload);
        let identified = self.processor.identity(VENDOR).is_some() && self.processor.identity(CLASS).is_some();
        reader.unless(identified, Refusal::IdentityCheck);
        let Some(n) = wanted else { return false };
        if n != self.looked {
            self.look(n);
            self.enclosed(n);
        }
        true
    }

    /// Holds the component that was looked at to the rules of its kind; another one may be looked at for that.
    #[inline(never)]
    fn judge(&mut self, key: Option<&Key>) {
        let (reader, component) = (self.reader, self.item.component);
        reader.unless(key.is_none_or(|key| key.scope.has(component)), Refusal::Scope);
        match component {
            Component::Image(image) => {
                if !self.imaged {
                    self.imaged = true;
                    Item { private: self.private, priority: self.priority, .. } = self.item;
                }
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

    /// Writes down what it came to, in the place of a manifest that says nothing.
    #[inline(never)]
    fn tell(&self, key: Option<&Key>, firmware: bool, manifest: &mut Manifest<'a>) {
        let Self { layout, processor, .. } = self;
        manifest.sequence = layout.sequence;
        manifest.digest = *layout.digest;
        manifest.signer = key.map(|key| &key.id).or(layout.key_id).copied();
        if let (Some(vendor), Some(class)) = (processor.identity(VENDOR), processor.identity(CLASS)) {
            (manifest.vendor, manifest.class) = (*vendor, *class);
        }
        manifest.payloads = self.payloads;
        if firmware {
            manifest.image = self.item.image();
            manifest.uri = self.item.uri;
        }
        if let Some(at) = layout.version {
            manifest.version.insert(Version::NONE).read(self.reader.at(at));
        }
        manifest.kind = self.private.kind;
        if let Some(at) = self.priority {
            manifest.severity = Severity::from_priority(self.reader.at(at).int());
        }
        manifest.chunk = Some(self.private.chunk).filter(|chunk| *chunk != 0);
        manifest.reference_uri = layout.reference_uri;
        processor.require(&mut manifest.requires);
    }

    /// Looks for what component `n` is to hold; `false` where it is not validated.
    #[inline(never)]
    fn look(&mut self, n: usize) -> bool {
        let layout = &self.layout;
        let reader = self.reader;
        let processor = &mut self.processor;
        self.looked = NONE;
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

    /// Looks for what component `n`, which was looked at, is to hold in the envelope, where it belongs if its URI says so. (By itself: less stack is
    /// under the hash.)
    #[inline(never)]
    fn enclosed(&mut self, n: usize) {
        self.looked = n;
        let Self { reader, item, .. } = self;
        if let Some((place, payload)) = self.layout.payload(item.uri) {
            self.used |= bit(place);
            reader.unless(payload.len() == item.size as usize && Sha256::of(payload) == *item.digest, Refusal::Payload);
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
