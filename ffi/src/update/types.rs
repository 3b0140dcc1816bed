//! What goes into an update and what it tells, as C sees it.
#![allow(non_camel_case_types, reason = "C's names")]

use crate::{
    error::Fail,
    handle::{Memory, lent},
    manifest::{keys, waft_key_t},
    types::{millis, waft_bytes_t},
};
use waft::{
    Code, Misuse,
    ota::{
        manifest::{Facts, Key, Version},
        refusal::Refusal,
        update::{Area, Config, Event, Update, Window},
    },
};

/// What the update has to know of its device. Begin with waft_update_defaults(), then set the first seven.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_update_config_t {
    /// The vendor's UUID that a manifest must name.
    pub vendor: [u8; 16],
    /// The device class's UUID that a manifest must name.
    pub class_id: [u8; 16],
    /// Whose manifests are trusted. Copied into the memory.
    pub keys: *const waft_key_t,
    /// How many keys.
    pub key_count: usize,
    /// Bytes of a slot of the firmware: a multiple of `erase_size`.
    pub slot_size: u32,
    /// Bytes of a slot of images 1, 2 and 3, which a release may bring with the firmware: of a radio, say. Each has two slots, as the
    /// firmware has. 0: the device has no such image. (0)
    pub more_slots: [u32; 3],
    /// Bytes of an erase block: a multiple of 128, at least 256. The journal is two of them. (4,096)
    pub erase_size: u32,
    /// Bytes of a program unit: 1, 2, 4, 8, 16 or 32. (8)
    pub write_size: u32,
    /// The most bytes that are loaded at once to be hashed. (256)
    pub load: u32,
    /// How many bytes behind the last one stored are kept erased; 0 stands for two erase blocks. (0)
    pub ahead: u32,
    /// Bytes of a block that may arrive before its turn; 0: everything in order. (0)
    pub block: u32,
    /// How long a new image may run without being confirmed, in milliseconds. (600,000)
    pub trial: u32,
    /// How often a new image is booted before the bootloader goes back. (3)
    pub attempts: u8,
    /// The slots in use, which the bootloader chose: bit n is that of image n; with one image it is the slot, 0 or 1, that this firmware
    /// runs from. They are never written. (0)
    pub running: u8,
    /// 1: keys can be replaced, by a release that brings a table of them; WAFT_AREA_KEYS is there for it, and buffers for records are 192
    /// bytes. (0)
    pub rotation: u8,
    /// The device's UUID: for manifests that are for one device only, and for its turn in a fleet. (zeros: none)
    pub device_id: [u8; 16],
    /// A download begins so many milliseconds later at most, by a share that the device's UUID and the manifest give. (0)
    pub jitter: u32,
    /// How many milliseconds the first pause is before a download that came to nothing is made again; it doubles each time, to a day at
    /// most, less up to half of it as for `jitter`. 0: at once, when the manifest is announced again. (60,000)
    pub backoff: u32,
    /// Downloads begin at this time of the day, UTC, in seconds since 00:00:00, once a time was told by waft_update_tell(). (0)
    pub window_start: u32,
    /// For how many seconds; 0: all day. (0)
    pub window_len: u32,
    /// The least charge of the battery to download and to reboot with, mWh, where one was told; 0: any. (0)
    pub battery: u32,
    /// How far above that of the last confirmed release a sequence number may lie. (4,294,967,296)
    pub step: u64,
}

impl waft_update_config_t {
    pub(crate) const DEFAULT: Self = Self {
        vendor: [0; 16],
        class_id: [0; 16],
        keys: core::ptr::null(),
        key_count: 0,
        slot_size: 0,
        more_slots: [0; 3],
        erase_size: 4096,
        write_size: 8,
        load: 256,
        ahead: 0,
        block: 0,
        trial: 600_000,
        attempts: 3,
        running: 0,
        rotation: 0,
        device_id: [0; 16],
        jitter: 0,
        backoff: 60_000,
        window_start: 0,
        window_len: 0,
        battery: 0,
        step: 1 << 32,
    };

    /// # Safety
    /// `keys` is as its description says.
    pub(crate) unsafe fn core(&self, memory: &mut Memory) -> Result<Config<'static>, Fail> {
        // SAFETY: the caller's.
        Ok(self.with(unsafe { self.trusted(memory) }?))
    }

    /// # Safety
    /// As for [`core`](Self::core).
    pub(super) unsafe fn trusted(&self, memory: &mut Memory) -> Result<&'static [Key], Fail> {
        // SAFETY: the caller's.
        keys(memory, unsafe { lent(self.keys, self.key_count) }?)
    }

    pub(super) fn with(&self, keys: &'static [Key]) -> Config<'static> {
        let sizes = [self.slot_size, self.erase_size, self.write_size];
        let mut config = Config::new(self.vendor, self.class_id, keys, self.running, sizes);
        config.more_slots = self.more_slots;
        config.load = self.load;
        if self.ahead != 0 {
            config.ahead = self.ahead;
        }
        config.block = self.block;
        config.attempts = self.attempts;
        config.rotation = self.rotation != 0;
        config.device = self.device_id;
        config.jitter = millis(self.jitter);
        config.backoff = millis(self.backoff);
        config.window = (self.window_len != 0).then_some(Window { start: self.window_start, len: self.window_len });
        config.battery = self.battery;
        config.step = self.step;
        config.trial = millis(self.trial);
        config
    }
}

/// Slot 0 of an image.
pub const WAFT_AREA_SLOT0: u8 = 0;
/// Slot 1 of an image.
pub const WAFT_AREA_SLOT1: u8 = 1;
/// The journal: two erase blocks, one behind the other.
pub const WAFT_AREA_JOURNAL: u8 = 2;
/// Two erase blocks, one behind the other, for key tables: where the configuration says `rotation`.
pub const WAFT_AREA_KEYS: u8 = 3;

/// Nothing to do.
pub const WAFT_STATE_IDLE: u8 = 0;
/// A manifest was given and is being looked at.
pub const WAFT_STATE_ANNOUNCED: u8 = 1;
/// The manifest is authentic, newer than what runs, and meant for this device.
pub const WAFT_STATE_VERIFIED: u8 = 2;
/// The host postponed or vetoed the download.
pub const WAFT_STATE_DEFERRED: u8 = 3;
/// The image is being fetched into the inactive slot.
pub const WAFT_STATE_FETCHING: u8 = 4;
/// All of it arrived with the right digest; it is being read back and hashed again.
pub const WAFT_STATE_FETCHED: u8 = 5;
/// What is in the slot is what the manifest says.
pub const WAFT_STATE_VALIDATED: u8 = 6;
/// It may be booted; the host may still defer or veto.
pub const WAFT_STATE_READY: u8 = 7;
/// The new image runs and waits to be confirmed or rejected.
pub const WAFT_STATE_TRIAL: u8 = 8;
/// The new image is the one to boot from now on.
pub const WAFT_STATE_CONFIRMED: u8 = 9;
/// The new image was given up; the one before it is booted.
pub const WAFT_STATE_REVERTED: u8 = 10;
/// The update ended before its trial.
pub const WAFT_STATE_FAILED: u8 = 11;

/// Nothing to tell.
pub const WAFT_UPDATE_EVENT_NONE: u32 = 0;
/// Read `len` bytes of `area` from `offset` on; answer with ..._loaded().
pub const WAFT_UPDATE_EVENT_LOAD: u32 = 1;
/// Erase the erase block of `len` bytes at `offset` of `area`; answer with ..._done().
pub const WAFT_UPDATE_EVENT_ERASE: u32 = 2;
/// Write `bytes` of image to `area` at `offset`, a multiple of the program unit; answer with ..._done(). The last bytes of an
/// image need not fill theirs: pad them with anything.
pub const WAFT_UPDATE_EVENT_STORE: u32 = 3;
/// Write the record `bytes` to the journal at `offset`; answer with ..._done().
pub const WAFT_UPDATE_EVENT_RECORD: u32 = 4;
/// Boot from `slots` next, a bit for each image; answer with ..._done(), then reboot. With waft_boot_decide() in the bootloader there is nothing
/// else to do.
pub const WAFT_UPDATE_EVENT_ACTIVATE: u32 = 5;
/// Deliver `image`, or the list of its chunk digests, from `offset` on. (waft_agent_t does, and does not tell it.)
pub const WAFT_UPDATE_EVENT_FETCH: u32 = 6;
/// The update is in another `state`.
pub const WAFT_UPDATE_EVENT_STATE: u32 = 7;
/// Something worth telling the author of the release: `state`, `reason`, `sequence`, `attempts`.
pub const WAFT_UPDATE_EVENT_REPORT: u32 = 8;

/// What an update asks and tells. Members that a kind does not name are 0 or empty.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_update_event_t {
    /// WAFT_UPDATE_EVENT_...
    pub kind: u32,
    /// Where.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
    /// Why an update was refused or failed: the number of an error, or 0.
    pub reason: i32,
    /// A manifest's sequence number.
    pub sequence: u64,
    /// WAFT_AREA_...
    pub area: u8,
    /// The image that a slot or a FETCH is of: 0, unless the device has several.
    pub image: u8,
    /// Bit n: the slot of image n. With one image it is its slot, 0 or 1.
    pub slots: u8,
    /// WAFT_STATE_...
    pub state: u8,
    /// How often in a row the download has come to nothing.
    pub attempts: u8,
    /// What to write.
    pub bytes: waft_bytes_t,
}

impl waft_update_event_t {
    pub(crate) const NONE: Self = Self {
        kind: WAFT_UPDATE_EVENT_NONE,
        offset: 0,
        len: 0,
        reason: 0,
        sequence: 0,
        area: 0,
        image: 0,
        slots: 0,
        state: 0,
        attempts: 0,
        bytes: waft_bytes_t::EMPTY,
    };

    /// Bytes of an area.
    fn place(&mut self, area: Area, offset: u32, len: u32) {
        (self.area, self.image) = match area {
            Area::Journal => (WAFT_AREA_JOURNAL, 0),
            Area::Keys => (WAFT_AREA_KEYS, 0),
            Area::Slot { image, slot } => (slot, image),
        };
        self.offset = offset;
        self.len = len;
    }

    /// Becomes that event; it was none.
    #[inline(never)]
    pub(crate) fn tell(&mut self, event: &Event<'_>) {
        self.kind = match *event {
            Event::Load { area, offset, len } => {
                self.place(area, offset, len);
                WAFT_UPDATE_EVENT_LOAD
            }
            Event::Erase { area, offset, len } => {
                self.place(area, offset, len);
                WAFT_UPDATE_EVENT_ERASE
            }
            Event::Store { area, offset, bytes } => {
                self.place(area, offset, 0);
                self.bytes = waft_bytes_t::of(bytes);
                WAFT_UPDATE_EVENT_STORE
            }
            Event::Record { offset, bytes } => {
                self.place(Area::Journal, offset, 0);
                self.bytes = waft_bytes_t::of(bytes);
                WAFT_UPDATE_EVENT_RECORD
            }
            Event::Activate { slots } => {
                self.slots = slots;
                WAFT_UPDATE_EVENT_ACTIVATE
            }
            Event::Fetch { image, offset } => {
                (self.image, self.offset) = (image, offset);
                WAFT_UPDATE_EVENT_FETCH
            }
            Event::State(state) => {
                self.state = state as u8;
                WAFT_UPDATE_EVENT_STATE
            }
            Event::Report(ref report) => {
                self.state = report.state as u8;
                self.reason = reason(report.reason);
                self.sequence = report.sequence;
                self.attempts = report.attempts;
                WAFT_UPDATE_EVENT_REPORT
            }
        };
    }
}

/// A refusal's number; 0 for none.
pub(crate) fn reason(refusal: Option<Refusal>) -> i32 {
    refusal.map_or(0, |refusal| refusal.code())
}

/// Where an update stands.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_update_status_t {
    /// Manifests with a lower sequence number are refused.
    pub floor: u64,
    /// Sequence number of the update that is going on, or of the last one.
    pub sequence: u64,
    /// Bytes of `image` stored from its start without a gap.
    pub have: u32,
    /// Bytes of `image`; 0 while there is none.
    pub size: u32,
    /// While fetching: bytes before this offset are taken now.
    pub end: u32,
    /// Why the last update failed or was reverted: the number of an error, or 0.
    pub reason: i32,
    /// WAFT_STATE_...
    pub state: u8,
    /// The slots of the confirmed images: bit n is that of image n, so that of a device with one image it is its slot.
    pub active_slots: u8,
    /// The image that is being fetched or was looked at last: 0, unless the device has several.
    pub image: u8,
    /// The epoch of the key table in use; 0: the factory's.
    pub epoch: u32,
    /// While fetching: the first byte of the payload that is missing, how many bytes are from there on, and how many the
    /// payload has, which is the image or the list of its chunk digests.
    pub missing: u32,
    /// See `missing`.
    pub missing_len: u32,
    /// See `missing`.
    pub payload_size: u32,
    /// How often in a row the download of this release has come to nothing, over all reboots.
    pub attempts: u8,
}

impl waft_update_status_t {
    pub(crate) fn of(update: &Update<'_>) -> Self {
        let (have, size) = update.progress();
        let (missing, missing_len) = update.missing(0).unwrap_or((0, 0));
        let wanted = update.wanted();
        Self {
            floor: update.floor(),
            sequence: update.sequence(),
            have,
            size,
            end: wanted.map_or(0, |wanted| wanted.end),
            reason: reason(update.reason()),
            state: update.state() as u8,
            active_slots: update.active_slots(),
            image: update.image(),
            epoch: update.epoch(),
            missing,
            missing_len,
            payload_size: wanted.map_or(0, |wanted| wanted.size),
            attempts: update.attempts(),
        }
    }
}

/// No charge is known.
pub const WAFT_NO_BATTERY: u32 = u32::MAX;

/// What a device knows of itself and of the time.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_update_facts_t {
    /// Seconds since 1970, from where nobody can lie; 0: not known. It is believed for good.
    pub time: u64,
    /// The charge of the battery, mWh, or WAFT_NO_BATTERY.
    pub battery: u32,
    /// The version of the firmware that is installed: its numbers, 1.2.0 being 1, 2, 0, and 1.2.0-rc.3 being 1, 2, 0, -1, 3 (-2: beta,
    /// -3: alpha).
    pub version: [i32; 6],
    /// How many numbers; 0: not known.
    pub version_len: u32,
}

const _: () = assert!(Version::MAX == 6);

impl waft_update_facts_t {
    pub(crate) fn to_core(self) -> Result<Facts, Fail> {
        let numbers = self.version.get(..self.version_len as usize).ok_or(Misuse::OutOfRange)?;
        let version = if numbers.is_empty() { None } else { Some(Version::new(numbers).ok_or(Misuse::OutOfRange)?) };
        let time = Some(self.time).filter(|time| *time != 0);
        let battery = Some(self.battery).filter(|charge| *charge != WAFT_NO_BATTERY);
        Ok(Facts { time, battery, version, device: None })
    }
}
