//! What can be asked of the machine at any time: where it stands, what is missing, what it trusts.

use super::{Component, Image, Instant, Key, Manifest, Part, Payload, Phase, Refusal, State, Update, Wanted};

impl Update<'_> {
    /// Where the update stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether `start` has read the journal: commands are taken from then on.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Which bytes of the [`payload`](Self::payload) are missing; `None` unless one is being fetched.
    #[must_use]
    pub fn wanted(&self) -> Option<Wanted> {
        let Image { stored, size, .. } = self.image;
        (self.state == State::Fetching).then(|| Wanted { offset: stored, end: self.image.end(), size })
    }

    /// The first missing bytes of the payload at or behind `from`: where they begin, and how many follow without one that is
    /// there. What lies so far ahead that it could not be remembered (64 blocks behind the first missing byte) is left out;
    /// bytes at or behind [`Wanted::end`] are taken once flash has been erased for them. `None`: no such bytes.
    #[must_use]
    pub fn missing(&self, from: u32) -> Option<(u32, u32)> {
        if self.state == State::Fetching { self.image.missing(from) } else { None }
    }

    /// The component that is being fetched, whether or not its manifest is at hand.
    #[must_use]
    pub const fn component(&self) -> Component {
        match self.part {
            Part::List => Component::Chunks(self.plan.image),
            Part::Image => Component::Image(self.plan.image),
        }
    }

    /// What is being fetched: of each image that the release brings the list of chunk digests, where there is one, then the image.
    /// `None` unless something is.
    #[must_use]
    pub fn payload(&self) -> Option<Payload<'_>> {
        if self.state == State::Fetching { self.find(self.component()) } else { None }
    }

    /// The image that is being fetched or was looked at last: 0, unless the device has several.
    #[must_use]
    pub const fn image(&self) -> u8 {
        self.plan.image
    }

    /// Bytes of that image stored from its start without a gap, and its size. (0, 0) while there is no image.
    #[must_use]
    pub fn progress(&self) -> (u32, u32) {
        (if self.part == Part::Image { self.image.stored } else { 0 }, self.plan.size)
    }

    /// The manifest of the update. `None` before the first one and after a reboot, until it is announced again.
    #[must_use]
    pub fn manifest<'s>(&'s self) -> Option<Manifest<'s>> {
        let envelope = self.manifest.get(..self.manifest_len).filter(|envelope| !envelope.is_empty())?;
        let mut found = None;
        let mut take = |manifest: &Manifest<'s>| {
            found = Some(*manifest);
            Ok(())
        };
        self.config.codec.read(envelope, self.slot_of(0), &mut take).ok()?;
        found
    }

    /// Manifests with a lower sequence number are refused: the highest one ever confirmed.
    #[must_use]
    pub const fn floor(&self) -> u64 {
        self.entry.floor
    }

    /// The keys that are trusted: the factory's, or those that a release brought.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        self.table.as_ref().map_or(self.config.keys, |(table, _)| table.keys())
    }

    /// The epoch of the table that they are from; 0: the factory's.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.table.as_ref().map_or(0, |(table, _)| table.epoch())
    }

    /// The slots of the confirmed images: bit n is that of image n, so that of a device with one image it is its slot.
    #[must_use]
    pub const fn active_slots(&self) -> u8 {
        self.entry.active
    }

    /// The sequence number of the update that is going on, or of the last one.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.entry.sequence
    }

    /// Why the last update failed or was reverted.
    #[must_use]
    pub const fn reason(&self) -> Option<Refusal> {
        self.reason
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }
}
