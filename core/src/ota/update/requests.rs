//! What the machine asks for and tells next.

use super::image::Take;
use super::{
    Area, Event, Facts, Kind, Notice, Op, Reboot, Report, Rotation, State, Trigger, Update, chunks, journal, keys,
};
use crate::machine::Output;
use crate::ota::journal::Record;
use crate::ota::manifest::{Component, Version};
use crate::ota::refusal::Refusal;
use crate::wire::copy;

/// Makes of an entry what it is after that verdict; `rotated` is the release whose key table is in use.
pub(super) fn judge(entry: &mut Record, verdict: Kind, rotated: Option<&Facts>) {
    match (verdict, rotated) {
        (Kind::Confirmed, _) => {
            entry.kind = verdict;
            entry.active = entry.updated();
        }
        (Kind::Idle, None) => return,
        // A key table is in use: the images stay what they were.
        (Kind::Idle, Some(facts)) => {
            if entry.kind != Kind::Confirmed {
                entry.kind = Kind::Idle;
            }
            entry.failures = 0;
            entry.sequence = facts.sequence;
            entry.digest = facts.digest;
        }
        _ => {
            entry.kind = verdict;
            entry.left = 1;
            return;
        }
    }
    entry.floor = entry.floor.max(entry.sequence);
    entry.confirmed = journal::name(&entry.digest);
}

impl Update<'_> {
    /// The next notice.
    pub(super) fn next_notice(&mut self) -> Option<Event<'static>> {
        if let Some(state) = self.told.take() {
            return Some(Event::Report(self.report(state, self.reason)));
        }
        Some(match self.notices.pop()? {
            Notice::State(state) => {
                self.told = Some(state);
                Event::State(state)
            }
            // What was tried and reverted is offered again: nothing has changed, least of all that.
            Notice::Refused(Refusal::Trial) => Event::Report(self.report(State::Reverted, Some(Refusal::Trial))),
            Notice::Refused(refusal) => Event::Report(self.report(State::Failed, Some(refusal))),
        })
    }

    pub(super) fn report(&self, state: State, reason: Option<Refusal>) -> Report {
        let (sequence, digest, attempts) = (self.entry.sequence, self.entry.digest, self.attempts());
        Report { state, reason, version: self.version(), sequence, digest, attempts }
    }

    /// The version of the release that the entry is about, where its manifest is at hand.
    #[inline(never)]
    fn version(&self) -> Option<Version> {
        let envelope = self.manifest.get(..self.manifest_len)?;
        let (digest, version) = self.config.codec.stated(envelope)?;
        version.filter(|_| digest == self.entry.digest)
    }

    /// Erases the journal page or writes the record, whichever comes next.
    pub(super) fn record<'o>(&mut self, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        let size = self.config.erase_size;
        let start = |page: u8| size.saturating_mul(page.into());
        if let Some(page) = self.cursor.to_erase() {
            self.op = Op::ErasePage;
            return Output::Event(Event::Erase { area: Area::Journal, offset: start(page), len: size });
        }
        let Some(place) = out.first_chunk_mut::<{ journal::LEN }>() else {
            return Output::BufferTooSmall { needed: journal::LEN };
        };
        let mut record = self.entry;
        if let Some(kind) = self.verdict {
            judge(&mut record, kind, self.rotating.as_ref().map(|(facts, _)| facts));
        }
        record.write(self.cursor.number(), place);
        let (page, offset) = self.cursor.place();
        self.op = Op::Record { verdict: self.verdict };
        Output::Event(Event::Record { offset: start(page).saturating_add(offset), bytes: place })
    }

    /// Has the next bytes of an image stored that came in the envelope.
    pub(super) fn unwrap_image<'o>(&mut self, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        let unit = self.config.write_size as usize;
        if out.len() < unit {
            return Output::BufferTooSmall { needed: unit };
        }
        let offset = self.image.stored;
        let image = self.find(Component::Image(self.plan.image));
        let rest = image.and_then(|p| p.content).and_then(|c| c.get(offset as usize..)).unwrap_or_default();
        let most = rest.len().min(out.len());
        let Take::Store(len) = self.image.take(offset, most) else { return Output::Timeout(self.timers.next()) };
        let Some(place) = out.get_mut(..len as usize) else { return Output::Timeout(self.timers.next()) };
        copy(place, rest);
        self.image.pass(offset, place);
        self.op = Op::Store { offset, len };
        Output::Event(Event::Store { area: self.area(), offset, bytes: place })
    }

    /// Erases a page for the new key table or writes it there.
    pub(super) fn rotate<'o>(&mut self, rotation: Rotation, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        let len = self.config.erase_size;
        let offset = self.table.map_or(0, |(_, page)| if page == 0 { len } else { 0 });
        let area = Area::Keys;
        match rotation {
            Rotation::Erase => {
                self.op = Op::EraseKeys;
                Output::Event(Event::Erase { area, offset, len })
            }
            Rotation::Store => {
                let Some(table) = self.new_table() else {
                    self.fail(Refusal::KeyTable);
                    return Output::Timeout(self.timers.next());
                };
                let Some(place) = out.first_chunk_mut::<{ keys::LEN }>() else {
                    return Output::BufferTooSmall { needed: keys::LEN };
                };
                *place = table.to_bytes();
                self.op = Op::StoreKeys;
                Output::Event(Event::Store { area, offset, bytes: place })
            }
            Rotation::Record => {
                self.verdict = Some(Kind::Idle);
                self.record(out)
            }
        }
    }

    /// What the state asks for next, where nothing has to be recorded first.
    pub(super) fn step(&mut self) -> Option<Event<'static>> {
        let area = self.area();
        match self.state {
            State::Verified => {
                if let Some(hold) = self.holds_download() {
                    self.go(Trigger::Defer).ok()?;
                    self.hold(hold);
                    return None;
                }
                self.go(Trigger::Begin).ok()?;
                self.count();
                self.begun();
                self.fetch = true;
            }
            State::Fetching | State::Fetched => {
                let origin = self.origin();
                if let Some((offset, len)) = self.image.unhashed(self.config.load) {
                    self.op = Op::Load { len };
                    return Some(Event::Load { area, offset: origin.saturating_add(offset), len });
                }
                if let Some(n) = self.image.hashed_chunk() {
                    let (offset, len) = (n.saturating_mul(chunks::ENTRY), chunks::ENTRY);
                    if let Some(entry) = self.integrated_entry(offset) {
                        self.judge_chunk(&entry);
                        return None;
                    }
                    self.op = Op::Entry;
                    return Some(Event::Load { area, offset: self.list_origin().saturating_add(offset), len });
                }
                if self.state == State::Fetching {
                    if let Some(offset) = self.image.next_erase(self.config.ahead) {
                        self.op = Op::EraseSlot;
                        let offset = origin.saturating_add(offset);
                        return Some(Event::Erase { area, offset, len: self.config.erase_size });
                    }
                    if core::mem::take(&mut self.fetch) && !self.plan.enclosed {
                        return Some(Event::Fetch { image: self.plan.image, offset: self.image.stored });
                    }
                }
            }
            State::Validated => self.go(Trigger::Arm).ok()?,
            State::Ready if self.reboot == Reboot::No && !self.held => {
                if let Some(hold) = self.holds_reboot() {
                    self.held = true;
                    self.hold(hold);
                    self.notices.push(Notice::Refused(Refusal::Battery));
                    return None;
                }
                // What is over while it was fetched is not installed.
                if let (Some(before), Some(time)) = (self.use_before, self.known().time)
                    && time >= before
                {
                    self.fail(Refusal::Expired);
                    return None;
                }
                // From here on the bootloader may boot it.
                self.entry.kind = Kind::Ready;
                self.entry.failures = 0;
                self.entry.left = self.config.attempts;
                self.due = true;
                self.reboot = Reboot::Wanted;
            }
            State::Ready | State::Reverted if self.reboot == Reboot::Wanted => {
                let Record { active, .. } = self.entry;
                let slots = if self.state == State::Ready { self.entry.updated() } else { active };
                self.op = Op::Activate;
                return Some(Event::Activate { slots });
            }
            State::Confirmed | State::Failed => {
                let facts = self.pending.take()?;
                self.accept(&facts);
            }
            _ => {}
        }
        None
    }
}
