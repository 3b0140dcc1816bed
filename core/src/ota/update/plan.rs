//! What a manifest says that is to be done, looked up where it is kept. Nothing but the plan is changed here.

use super::image::ceil;
use super::{Area, Config, Facts, Part, Update};
use crate::ota::chunks::ChunkDigests;
use crate::ota::manifest::{Component, Manifest, Payload};
use crate::ota::refusal::Refusal;

/// The number of no image.
pub(super) const NO_IMAGE: u8 = u8::MAX;

/// What an image is to be, and how it comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Its number.
    pub(super) image: u8,
    /// Bytes.
    pub(super) size: u32,
    /// Their SHA-256.
    pub(super) digest: [u8; 32],
    /// What each chunk is checked by as it arrives.
    pub(super) chunks: Option<ChunkDigests>,
    /// The list of chunk digests is in the envelope.
    pub(super) integrated: bool,
    /// The image is in the envelope.
    pub(super) enclosed: bool,
}

impl Plan {
    pub(super) const NONE: Self =
        Self { image: 0, size: 0, digest: [0; 32], chunks: None, integrated: false, enclosed: false };

    /// Bytes of a chunk; 0 where there are none.
    pub(super) const fn chunk(&self) -> u32 {
        match &self.chunks {
            Some(chunks) => chunks.chunk(),
            None => 0,
        }
    }

    /// Becomes one for that image, of which nothing is known yet.
    pub(super) const fn forget(&mut self, image: u8) {
        self.image = image;
        self.size = 0;
        self.chunks = None;
        self.integrated = false;
        self.enclosed = false;
    }

    /// Whether what arrives can be checked by its chunks: each is so many erase blocks, or so many are one, and the
    /// list has room behind the image. Where not, the digest of the whole image has to do.
    fn can_check(&self, config: &Config<'_>) -> bool {
        let Some(chunks) = &self.chunks else { return false };
        let Config { erase_size, write_size, .. } = *config;
        let chunk = chunks.chunk();
        let divides = |unit: u32, n: u32| n.checked_rem(unit) == Some(0);
        let list = if self.integrated { 0 } else { ceil(chunks.list_size(), erase_size) };
        (divides(erase_size, chunk) || divides(chunk, erase_size))
            && divides(write_size, chunk)
            && ceil(self.size, erase_size).saturating_add(list) <= config.slot(self.image)
    }
}

/// Whether slots of `slot` bytes have room for so many.
fn fits(slot: u32, size: u32) -> Result<(), Refusal> {
    if size == 0 || size > slot { Err(Refusal::Size) } else { Ok(()) }
}

impl Config<'_> {
    /// The payload for that component, where it is in that envelope. (Not inlined, for the sake of the stack.)
    #[inline(never)]
    pub(super) fn content<'e>(&self, envelope: &'e [u8], slot: Option<u32>, wanted: Component) -> Option<&'e [u8]> {
        let mut content = None;
        let mut visit = |payload: &Payload<'e>| {
            if payload.component == wanted {
                content = payload.content;
            }
        };
        self.codec.payloads(envelope, slot, &mut visit).ok()?;
        content
    }
}

impl Update<'_> {
    /// What is to be known of the manifest, if it may be believed and is for this device. (Not inlined,
    /// as what follows is not: the signature takes the most stack of all, so that little is to lie under it.)
    #[inline(never)]
    pub(super) fn verified(&self, envelope: &[u8], facts: &mut Facts) -> Result<(), Refusal> {
        let Config { verifier, codec, vendor, class, .. } = &self.config;
        let mut take = |m: &Manifest<'_>| {
            if m.vendor != *vendor {
                return Err(Refusal::Vendor);
            }
            if m.class != *class {
                return Err(Refusal::Class);
            }
            facts.note(m);
            self.check(&m.requires)?;
            if self.entry.floor != 0 && m.sequence.saturating_sub(self.entry.floor) > self.config.step {
                return Err(Refusal::FastForward);
            }
            Ok(())
        };
        codec.verify(envelope, self.keys(), *verifier, self.slot_of(0), &mut take)
    }

    /// Adds to the facts what its payloads are.
    #[inline(never)]
    pub(super) fn contents<'e>(&self, envelope: &'e [u8], facts: &mut Facts) -> Result<(), Refusal> {
        let mut table = None;
        let mut judged = Ok(());
        let mut visit = |payload: &Payload<'e>| {
            if judged.is_err() {
                return;
            }
            judged = match payload.component {
                Component::Image(image) | Component::Chunks(image) => match self.config.slot(image) {
                    0 => Err(Refusal::Component),
                    slot if payload.component == Component::Image(image) => {
                        facts.brings |= 1_u8.wrapping_shl(image.into());
                        fits(slot, payload.image.size)
                    }
                    _ => Ok(()),
                },
                Component::Keys if self.config.rotation => {
                    table = Some(payload.content);
                    Ok(())
                }
                Component::Keys => Err(Refusal::Component),
            };
        };
        self.config.codec.payloads(envelope, self.slot_of(0), &mut visit)?;
        judged?;
        if let Some(table) = table {
            // One that was applied already is welcome: the record of it may be missing.
            let signer = facts.signer.as_ref().ok_or(Refusal::UnknownKey)?;
            self.may_replace(table.ok_or(Refusal::Payload)?, signer)?;
        }
        // Either images or a key table.
        if table.is_some() == (facts.brings != 0) { Err(Refusal::Component) } else { Ok(()) }
    }

    /// The slot that image `image` is written to.
    pub(super) fn slot_of(&self, image: u8) -> Option<u32> {
        Some(self.entry.target(image).into())
    }

    /// The manifest that is kept; nothing where there is none.
    fn envelope(&self) -> &[u8] {
        self.manifest.get(..self.manifest_len).unwrap_or_default()
    }

    /// Of the manifest that is kept the payload for that component.
    #[inline(never)]
    pub(super) fn find<'s>(&'s self, wanted: Component) -> Option<Payload<'s>> {
        let mut found = None;
        let mut visit = |payload: &Payload<'s>| {
            if payload.component == wanted {
                found = Some(*payload);
            }
        };
        self.config.codec.payloads(self.envelope(), self.slot_for(wanted), &mut visit).ok()?;
        found
    }

    /// The payload itself, where it is in the envelope.
    pub(super) fn content(&self, wanted: Component) -> Option<&[u8]> {
        self.config.content(self.envelope(), self.slot_for(wanted), wanted)
    }

    /// The slot that what is for that component is written to.
    fn slot_for(&self, wanted: Component) -> Option<u32> {
        self.slot_of(match wanted {
            Component::Image(image) | Component::Chunks(image) => image,
            Component::Keys => 0,
        })
    }

    /// What the manifest that is kept says of that image.
    #[inline(never)]
    pub(super) fn look_up(&mut self, image: u8) -> Result<(), Refusal> {
        let slot = self.slot_of(image);
        let Self { plan, config, manifest, manifest_len, .. } = self;
        plan.forget(image);
        let envelope = manifest.get(..*manifest_len).unwrap_or_default();
        let mut found = Err(Refusal::Component);
        let mut visit = |payload: &Payload<'_>| {
            if payload.component == Component::Chunks(image) {
                // The list of chunk digests comes before its image.
                plan.integrated = payload.content.is_some();
            }
            if payload.component != Component::Image(image) {
                return;
            }
            plan.size = payload.image.size;
            plan.digest = payload.image.digest;
            // What is in the envelope was checked with it.
            plan.enclosed = payload.content.is_some();
            plan.chunks = payload.chunks;
            found = fits(config.slot(image), plan.size);
        };
        config.codec.payloads(envelope, slot, &mut visit)?;
        if plan.enclosed || !plan.can_check(config) {
            plan.chunks = None;
        }
        found
    }

    /// The slot of the image that is fetched or read back.
    pub(super) fn area(&self) -> Area {
        let image = self.plan.image;
        Area::Slot { image, slot: self.entry.target(image) }
    }

    /// Where the list of chunk digests lies in the slot: behind the image.
    pub(super) fn list_origin(&self) -> u32 {
        ceil(self.plan.size, self.config.erase_size)
    }

    /// Where what is fetched lies in the slot.
    pub(super) fn origin(&self) -> u32 {
        if self.part == Part::List { self.list_origin() } else { 0 }
    }

    /// The chunk digest at `offset` of a list that is in the envelope.
    pub(super) fn integrated_entry(&self, offset: u32) -> Option<[u8; 32]> {
        let list = self.content(Component::Chunks(self.plan.image)).filter(|_| self.plan.integrated)?;
        list.get(offset as usize..)?.first_chunk().copied()
    }
}
