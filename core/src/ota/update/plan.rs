//! What a manifest says that is to be done, looked up where it is kept. Nothing but the plan is changed here.

use super::image::ceil;
use super::{Area, Config, Facts, PAYLOADS, Part, Update};
use crate::ota::chunks::ChunkDigests;
use crate::ota::manifest::{Component, Manifest, Payload};
use crate::ota::refusal::Refusal;

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
}

/// A manifest to be written to. (Not inlined, since it is made in two places.)
#[inline(never)]
pub(super) fn blank<'m>() -> Manifest<'m> {
    Manifest::default()
}

impl Update<'_> {
    /// What is to be known of the manifest, if it may be believed and is for this device. (Not inlined,
    /// as what follows is not: the signature takes the most stack of all, so that little is to lie under it.)
    #[inline(never)]
    pub(super) fn verified(&mut self, envelope: &[u8], facts: &mut Facts) -> Result<(), Refusal> {
        let Config { verifier, codec, vendor, class, .. } = &self.config;
        let m = &mut blank();
        codec.verify(envelope, self.keys(), *verifier, self.slot_of(0), m)?;
        if m.vendor != *vendor {
            return Err(Refusal::Vendor);
        }
        if m.class != *class {
            return Err(Refusal::Class);
        }
        facts.note(m);
        self.check(&mut m.requires)?;
        if self.entry.floor != 0 && m.sequence.saturating_sub(self.entry.floor) > self.config.step {
            return Err(Refusal::FastForward);
        }
        Ok(())
    }

    /// Adds to the facts what its payloads are.
    #[inline(never)]
    pub(super) fn contents(&self, envelope: &[u8], facts: &mut Facts) -> Result<(), Refusal> {
        let mut keys = false;
        for n in 0..PAYLOADS {
            let found = self.config.codec.payload(envelope, self.slot_of(0), n);
            let Some(payload) = &found else { break };
            match payload.component {
                Component::Image(image) if self.config.slot(image) != 0 => {
                    self.fits(image, payload.image.size)?;
                    facts.brings |= 1_u8.wrapping_shl(image.into());
                }
                Component::Chunks(image) if self.config.slot(image) != 0 => {}
                Component::Keys if self.config.rotation => {
                    let signer = facts.signer.as_ref().ok_or(Refusal::UnknownKey)?;
                    // One that was applied already is welcome: the record of it may be missing.
                    self.may_replace(payload, signer)?;
                    keys = true;
                }
                _ => return Err(Refusal::Component),
            }
        }
        // Either images or a key table.
        if keys == (facts.brings != 0) { Err(Refusal::Component) } else { Ok(()) }
    }

    /// Whether the slots of that image have room for so many bytes.
    fn fits(&self, image: u8, size: u32) -> Result<(), Refusal> {
        if size == 0 || size > self.config.slot(image) { Err(Refusal::Size) } else { Ok(()) }
    }

    /// The slot that image `image` is written to.
    pub(super) fn slot_of(&self, image: u8) -> Option<u32> {
        Some(self.entry.target(image).into())
    }

    /// The manifest that is kept; nothing where there is none.
    fn envelope(&self) -> &[u8] {
        self.manifest.get(..self.manifest_len).unwrap_or_default()
    }

    /// Of the manifest that is kept the payload for that component. (Not inlined, since much looks for one.)
    #[inline(never)]
    pub(super) fn find(&self, wanted: Component) -> Option<Payload<'_>> {
        let slot = self.slot_of(match wanted {
            Component::Image(image) | Component::Chunks(image) => image,
            Component::Keys => 0,
        });
        for n in 0..PAYLOADS {
            let found = self.config.codec.payload(self.envelope(), slot, n);
            if found.as_ref()?.component == wanted {
                return found;
            }
        }
        None
    }

    /// The payload itself, where it is in the envelope. (Not inlined, for the sake of the stack.)
    #[inline(never)]
    pub(super) fn content(&self, wanted: Component) -> Option<&[u8]> {
        self.find(wanted)?.content
    }

    /// What the manifest that is kept says of that image.
    #[inline(never)]
    pub(super) fn look_up(&mut self, image: u8) -> Result<(), Refusal> {
        self.plan.forget(image);
        let (slot, envelope) = (self.slot_of(image), self.manifest.get(..self.manifest_len).unwrap_or_default());
        for n in 0..PAYLOADS {
            let found = self.config.codec.payload(envelope, slot, n);
            let Some(payload) = &found else { break };
            if payload.component != Component::Image(image) {
                // The list of chunk digests comes before its image.
                if payload.component == Component::Chunks(image) {
                    self.plan.integrated = payload.content.is_some();
                }
                continue;
            }
            self.plan.size = payload.image.size;
            self.plan.digest = payload.image.digest;
            // What is in the envelope was checked with it.
            self.plan.enclosed = payload.content.is_some();
            if let Some(chunks) = &payload.chunks
                && !self.plan.enclosed
                && self.can_check(chunks)
            {
                self.plan.chunks = payload.chunks;
            }
            return self.fits(image, self.plan.size);
        }
        Err(Refusal::Component)
    }

    /// Whether what arrives can be checked by these chunks: each is so many erase blocks, or so many are one, and the
    /// list has room behind the image. Where not, the digest of the whole image has to do.
    fn can_check(&self, chunks: &ChunkDigests) -> bool {
        let Config { erase_size, write_size, .. } = self.config;
        let Plan { image, size, integrated, .. } = self.plan;
        let chunk = chunks.chunk();
        let divides = |unit: u32, n: u32| n.checked_rem(unit) == Some(0);
        let list = if integrated { 0 } else { ceil(chunks.list_size(), erase_size) };
        (divides(erase_size, chunk) || divides(chunk, erase_size))
            && divides(write_size, chunk)
            && ceil(size, erase_size).saturating_add(list) <= self.config.slot(image)
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
