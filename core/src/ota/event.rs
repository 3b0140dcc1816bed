//! What the update machine asks of its host and tells it.

pub use super::report::{Report, State};

/// A part of the flash. Offsets count from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Area {
    /// Two erase blocks, one behind the other: see [`journal`](super::journal).
    Journal,
    /// A slot of an image.
    Slot {
        /// Whose: 0 is the firmware, the only one that most devices have.
        image: u8,
        /// Which of the two: 0 or 1.
        slot: u8,
    },
    /// Two erase blocks, one behind the other, for key tables: see [`Config::rotation`](super::update::Config::rotation).
    Keys,
}

/// What the update machine asks and tells.
///
/// Requests ([`Load`](Self::Load) … [`Activate`](Self::Activate)) come one at a time; each is answered by `done` (or
/// `loaded`) or `failed` before the next one comes. The rest is told and wants no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'e> {
    /// Read `len` bytes; answer with `loaded`.
    Load {
        /// From where.
        area: Area,
        /// From there on.
        offset: u32,
        /// Bytes: at most `Config::load`, or 128, or 192 of `Area::Keys`.
        len: u32,
    },
    /// Erase one erase block: `offset` and `len` are its own.
    Erase {
        /// Where.
        area: Area,
        /// Its start.
        offset: u32,
        /// Its size.
        len: u32,
    },
    /// Write image bytes to a slot, or a key table. The place was erased before and not written since. `offset` is a multiple of
    /// the program unit, and so is the length, but for the last bytes of the image: the host fills up their unit
    /// with whatever it likes.
    Store {
        /// Where.
        area: Area,
        /// From there on.
        offset: u32,
        /// What: a part of what was given to `data`, or 192 bytes of a key table.
        bytes: &'e [u8],
    },
    /// Write a record of 128 bytes to the journal, at an offset that is a multiple of 128. The place was erased before
    /// and not written since.
    Record {
        /// Where in the journal.
        offset: u32,
        /// What.
        bytes: &'e [u8],
    },
    /// Boot from those slots next. `done` says that it will be so; reboot then. With [`boot`](super::boot) there is nothing to
    /// do before the reboot.
    Activate {
        /// Which: bit n is the slot of image n, so that of a device with one image it is its slot.
        slots: u8,
    },
    /// Deliver that image (or the list of its chunk digests) from `offset` on. `wanted()` says how far it is taken at any time. Comes again when bytes that
    /// were taken have to be given once more (a write failed), and when the same manifest is announced again.
    Fetch {
        /// Which.
        image: u8,
        /// The first byte that is missing.
        offset: u32,
    },
    /// The state changed.
    State(State),
    /// Something worth telling the author of the release.
    Report(Report),
}

/// Which bytes of the image are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The first byte that is not stored.
    pub offset: u32,
    /// Bytes before this offset are taken now.
    pub end: u32,
    /// The size of the image.
    pub size: u32,
}
