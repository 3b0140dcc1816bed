//! What the machine has to know of its device.

use super::conditions::Window;
use crate::Duration;
use crate::ota::journal::{self, IMAGES, MOST_IMAGES};
use crate::ota::keys::KeyTable;
use crate::ota::manifest::{self, Codec, Key, Verifier};

/// What the update machine has to know of its device.
#[derive(Clone, Copy)]
pub struct Config<'a> {
    /// The vendor's UUID that a manifest must name.
    pub vendor: [u8; 16],
    /// The device class's UUID that a manifest must name.
    pub class: [u8; 16],
    /// Whose manifests are trusted.
    pub keys: &'a [Key],
    /// How manifests are encoded: [`manifest::Suit`].
    pub codec: &'a (dyn Codec + Sync),
    /// How signatures are checked: [`manifest::Ed25519`], or hardware.
    pub verifier: &'a (dyn Verifier + Sync),
    /// The slots in use, which the bootloader chose: bit n is that of image n. With one image it is the slot, 0 or 1, that this
    /// firmware runs from. They are never written.
    pub running: u8,
    /// Bytes of a slot of the firmware: a multiple of `erase_size`.
    pub slot_size: u32,
    /// Bytes of a slot of images 1, 2 and 3, which a release may bring with the firmware or without it: of a radio, say. Each has two
    /// slots, as the firmware has. 0: the device has no such image, and a release that brings it is refused.
    pub more_slots: [u32; MOST_IMAGES - 1],
    /// Bytes of an erase block: a multiple of 128, at least 256. The journal is two of them.
    pub erase_size: u32,
    /// Bytes of a program unit: 1, 2, 4, 8, 16 or 32.
    pub write_size: u32,
    /// The most bytes of image that are loaded at once to be hashed, at least 1.
    pub load: u32,
    /// How many bytes behind the last one stored are kept erased, in erase blocks begun.
    pub ahead: u32,
    /// Bytes of a block that may arrive before its turn: a power of two, a multiple of `write_size`, that divides
    /// `erase_size`. 63 blocks ahead are remembered, as far as `ahead` reaches. 0: everything in order.
    pub block: u32,
    /// Whether keys can be replaced: [`Area::Keys`](super::Area::Keys) is there for the table, which then stands for `keys`.
    /// Without it a manifest that brings one is refused.
    pub rotation: bool,
    /// The device's UUID, or zeros: for manifests that are for one device only, and for its turn in a fleet.
    pub device: [u8; 16],
    /// A download begins so much later at most, by a share that the device's UUID and the manifest give. 0: at once.
    pub jitter: Duration,
    /// How long the first pause is before a download that came to nothing is made again. It doubles each time, to a day at most, less up
    /// to half of it by a share as for `jitter`; the journal counts, so that a device that reboots again and again asks no
    /// oftener. 0: a download that failed is made again when its manifest is announced, at once.
    pub backoff: Duration,
    /// When downloads are made, once a time was [told](super::Update::tell).
    pub window: Option<Window>,
    /// The least charge of the battery to download and to reboot with, mWh, where one was told. 0: any.
    pub battery: u32,
    /// How far above that of the last confirmed release a sequence number may lie: one that is too high would shut out all
    /// that come after.
    pub step: u64,
    /// How often a new image is booted before the bootloader goes back; at least 1.
    pub attempts: u8,
    /// How long a new image may run without being confirmed.
    pub trial: Duration,
}

impl<'a> Config<'a> {
    /// A device with such flash and one image, running from slot `running`; the rest as most want it: loads of 256 bytes, two erase blocks
    /// ahead, in order, 3 boots of at most 10 minutes, a minute before the second try.
    #[must_use]
    pub const fn new(
        vendor: [u8; 16],
        class: [u8; 16],
        keys: &'a [Key],
        running: u8,
        [slot_size, erase_size, write_size]: [u32; 3],
    ) -> Self {
        Self {
            vendor,
            class,
            keys,
            codec: &manifest::Suit,
            verifier: &manifest::Ed25519,
            running,
            slot_size,
            more_slots: [0; MOST_IMAGES - 1],
            erase_size,
            write_size,
            load: 256,
            ahead: erase_size.saturating_mul(2),
            block: 0,
            rotation: false,
            device: [0; 16],
            jitter: Duration::ZERO,
            backoff: Duration::from_secs(60),
            window: None,
            battery: 0,
            step: 1 << 32,
            attempts: 3,
            trial: Duration::from_secs(600),
        }
    }

    /// Bytes of a slot of that image; 0: there is none.
    #[inline(never)]
    pub(super) fn slot(&self, image: u8) -> u32 {
        match image.checked_sub(1) {
            Some(n) => self.more_slots.get(usize::from(n)).copied().unwrap_or(0),
            None => self.slot_size,
        }
    }

    /// Whether it is one that a device can have. (Not inlined, for the sake of the stack.)
    #[inline(never)]
    pub(super) fn is_sound(&self) -> bool {
        let divides = |unit: u32, n: u32| n.checked_rem(unit) == Some(0);
        let block = self.block.is_power_of_two()
            && divides(self.write_size, self.block)
            && divides(self.block, self.erase_size);
        // A bit of an image that this firmware knows nothing of stays what it is.
        self.running <= IMAGES
            && self.erase_size >= 256
            && divides(journal::STEP, self.erase_size)
            && self.slot_size != 0
            && (0..8).all(|n| divides(self.erase_size, self.slot(n)))
            && self.write_size.is_power_of_two()
            && self.write_size <= 32
            && self.load > 0
            && self.attempts > 0
            && self.window.is_none_or(|window| window.start < 86_400 && window.len > 0 && window.len <= 86_400)
            && (self.block == 0 || block)
            && (!self.rotation || KeyTable::factory(self.keys).is_some())
    }
}
