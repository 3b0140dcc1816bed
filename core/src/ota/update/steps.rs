//! What the machine does with what it was told: the rules behind the commands and the answers.

use super::plan::NO_IMAGE;
use super::requests::judge;
use super::{
    Config, Deadline, Facts, Kind, Notice, Op, Part, Phase, RETRIES, Reboot, Release, Rotation, Trigger, Update,
    journal, table,
};
use crate::Instant;
use crate::error::{Capacity, Code, Error, Misuse};
use crate::ota::chunks::ChunkDigests;
use crate::ota::digest::NOTHING;
use crate::ota::journal::Record;
use crate::ota::keys::{self, Encoded, KeyTable};
use crate::ota::manifest::Component;
use crate::ota::refusal::Refusal;
use crate::ota::report::State;
use crate::wire::Writer;

impl Update<'_> {
    /// Whether commands are taken.
    pub(super) fn running(&mut self, now: Instant) -> Result<(), Error<Refusal>> {
        self.clock.advance(now);
        match self.phase {
            Phase::New => Err(Misuse::WrongState.into()),
            Phase::Scanning | Phase::FirstKeys | Phase::SecondKeys => Err(Capacity::Busy.into()),
            Phase::Running => Ok(()),
        }
    }

    /// Makes the transition that [`table`] has for `trigger` and tells of it.
    pub(super) fn go(&mut self, trigger: Trigger) -> Result<(), Misuse> {
        self.state = table::next(self.state, trigger).ok_or(Misuse::WrongState)?;
        self.notices.push(Notice::State(self.state));
        Ok(())
    }

    // A manifest

    /// Whether the manifest is to be taken, with what is to be known of it; `false` where there is nothing new to do.
    pub(super) fn examine(&mut self, envelope: &[u8], facts: &mut Facts) -> Result<bool, Refusal> {
        self.verified(envelope, facts)?;
        self.contents(envelope, facts)?;
        self.weigh(facts, envelope)
    }

    /// Compares it with what was confirmed and with what is going on.
    fn weigh(&mut self, facts: &Facts, envelope: &[u8]) -> Result<bool, Refusal> {
        let Release { sequence, digest } = &facts.release;
        let entry = &self.entry;
        if *sequence <= entry.floor {
            if *sequence != entry.floor || !digest.starts_with(&entry.confirmed) {
                return Err(Refusal::Rollback);
            }
            // Done already. Where something newer is going on, it goes on.
            if self.running_is_active() && self.go(Trigger::Known).is_ok() {
                self.reason = None;
            }
            return Ok(false);
        }
        let waits = self.pending.as_ref().map(|facts| &facts.release).or(self.rotation.map(|_| &self.rotating));
        let (going_on, with) = match (waits, self.state) {
            (Some(_), _) if *digest == entry.digest => return Ok(false),
            (Some(pending), _) => (pending.sequence, &pending.digest),
            (None, State::Idle | State::Confirmed | State::Failed) => return Ok(true),
            (None, State::Reverted) if *digest == entry.digest => return Err(Refusal::Trial),
            (None, State::Reverted) => return Ok(true),
            (None, _) => (entry.sequence, &entry.digest),
        };
        if *sequence > going_on {
            return Ok(true);
        }
        if digest != with {
            return Err(Refusal::Rollback);
        }
        // The same again.
        if self.manifest_len == 0 {
            self.keep(envelope);
        }
        self.fetch = self.state == State::Fetching;
        Ok(false)
    }

    // A key table

    /// Whether the table in that payload may take the place of the one in use.
    #[inline(never)]
    pub(super) fn may_replace(&self, payload: &[u8], signer: &[u8; 8]) -> Result<(), Refusal> {
        keys::may_replace(self.keys(), self.epoch(), payload, signer)
    }

    /// Whether that table is the one in use.
    #[inline(never)]
    fn uses(&self, payload: &[u8]) -> bool {
        self.table.as_ref().is_some_and(|(table, _)| table.is(payload))
    }

    /// The new table is in the flash, and in use.
    #[inline(never)]
    pub(super) fn rotated(&mut self) {
        self.rotation = Some(Rotation::Record);
        let page = self.table.as_ref().map_or(0, |(_, page)| page ^ 1);
        let slot = self.slot_of(0);
        let Self { config, manifest, manifest_len, table, .. } = self;
        let envelope = manifest.get(..*manifest_len).unwrap_or_default();
        if let Some(Ok(new)) = config.content(envelope, slot, Component::Keys).map(Encoded::whole) {
            KeyTable::replace(table, page, &new);
        }
    }

    /// One of the two pages of key tables was read.
    #[inline(never)]
    pub(super) fn look_keys(&mut self, bytes: &[u8]) {
        let page = u8::from(self.phase == Phase::SecondKeys);
        let found = bytes.first_chunk().and_then(Encoded::stored);
        if let Some(table) = &found
            && table.epoch() > self.epoch()
        {
            KeyTable::replace(&mut self.table, page, table);
        }
        if page == 0 {
            self.phase = Phase::SecondKeys;
        } else {
            self.started();
        }
    }

    /// Keeps the envelope; it was seen to fit.
    pub(super) fn keep(&mut self, envelope: &[u8]) {
        let mut writer = Writer::new(&mut self.manifest);
        writer.bytes(envelope);
        self.manifest_len = writer.finish().map_or(0, <[u8]>::len);
    }

    fn running_is_active(&self) -> bool {
        self.config.running == self.entry.active
    }

    /// Takes it up, or lets it wait where the inactive slot holds an image that runs, will run, or may have to run again.
    #[inline(never)]
    pub(super) fn accept(&mut self, facts: &Facts) {
        // A record of a key table that is on its way says that its release is done with.
        let busy = self.reboot != Reboot::No || self.verdict.is_some();
        if busy || !self.running_is_active() || self.go(Trigger::Announce).is_err() {
            self.pending = Some(*facts);
            return;
        }
        self.pending = None;
        let _ = self.go(Trigger::Accept);
        self.abandon();
        self.reason = None;
        if facts.brings == 0 {
            // Where it is in use already, that is what remains to be recorded.
            let done = self.content(Component::Keys).is_some_and(|payload| self.uses(payload));
            self.rotating = facts.release;
            self.rotation = Some(if done { Rotation::Record } else { Rotation::Erase });
            return;
        }
        self.asks = facts.asks;
        self.turn = self.turn(&facts.release);
        // What is known of this release's earlier downloads.
        let entry = &mut self.entry;
        let before = if entry.digest == facts.release.digest { entry.kind } else { Kind::Idle };
        if before == Kind::Fetched {
            // All of it was fetched before a reboot.
            let _ = self.go(Trigger::Begin);
            let _ = self.go(Trigger::Complete);
            self.plan.forget(NO_IMAGE);
            self.read_back(0);
            return;
        }
        let resumes = before == Kind::Fetching;
        if !resumes {
            entry.kind = Kind::Fetching;
            if before != Kind::Failed {
                entry.failures = 0;
            }
            entry.sequence = facts.release.sequence;
            entry.digest = facts.release.digest;
            entry.brings = facts.brings;
            self.begin_record(0);
        }
        if !resumes && before != Kind::Failed {
            self.again = Instant::ZERO;
        } else if self.again == Instant::ZERO {
            self.again = self.first_pause_ends();
        }
        self.begin(resumes);
        if facts.authorization {
            let _ = self.go(Trigger::Defer);
        }
    }

    /// The first image from that number on is the next to be fetched; nothing of it is there. `false`: there is none.
    fn begin_record(&mut self, from: u8) -> bool {
        let Some(image) = self.entry.next_image(from) else { return false };
        self.entry.image = image;
        self.entry.offset = 0;
        self.entry.hash = NOTHING;
        self.entry.left = 0;
        self.due = true;
        true
    }

    /// Begins with the image that the entry says, or goes on with it.
    fn begin(&mut self, resumes: bool) {
        let image = self.entry.image;
        match self.look_up(image) {
            Ok(()) => self.begin_payload(resumes),
            Err(refusal) => self.fail(refusal),
        }
    }

    /// Begins with its list of chunk digests, or with itself. (Not inlined: looking it up takes stack enough.)
    #[inline(never)]
    fn begin_payload(&mut self, resumes: bool) {
        let Record { image, offset, .. } = self.entry;
        let erase_size = self.config.erase_size;
        let fits = offset < self.plan.size && offset.checked_rem(erase_size) == Some(0);
        if resumes && !fits {
            self.begin_record(image);
        }
        let resumes = resumes && fits;
        match &self.plan.chunks {
            Some(chunks) if !self.plan.integrated => {
                self.part = Part::List;
                if resumes {
                    // What was fetched before a reboot may be there.
                    self.image.whole(chunks.list_size(), erase_size);
                } else {
                    self.begin_list();
                }
            }
            _ => self.begin_image(resumes),
        }
    }

    /// Reads back the first image from that number on that was fetched. `false`: there is none.
    fn read_back(&mut self, from: u8) -> bool {
        let Some(image) = self.entry.next_image(from) else { return false };
        // What was fetched last is known.
        if image != self.plan.image
            && let Err(refusal) = self.look_up(image)
        {
            self.fail(refusal);
        }
        self.part = Part::Image;
        self.image.whole(self.plan.size, self.config.erase_size);
        true
    }

    /// Begins with the list of chunk digests, of which nothing is stored.
    fn begin_list(&mut self) {
        let Config { erase_size, write_size, block, .. } = self.config;
        let size = self.plan.chunks.as_ref().map_or(0, ChunkDigests::list_size);
        self.image.begin(size, [erase_size, write_size, block, 0]);
    }

    /// Goes on with the image where the journal says.
    fn begin_image(&mut self, resumes: bool) {
        let Config { erase_size, write_size, block, ahead, .. } = self.config;
        self.part = Part::Image;
        let chunk = self.plan.chunk();
        self.image.begin(self.plan.size, [erase_size, write_size, block, chunk]);
        self.image.rewind(self.entry.offset, &self.entry.hash);
        if resumes && chunk != 0 {
            self.image.look_ahead(ahead);
        }
    }

    /// What was stored since the last record is fetched again.
    pub(super) fn fetch_again(&mut self) {
        match self.part {
            Part::List => self.begin_list(),
            Part::Image => self.image.rewind(self.entry.offset, &self.entry.hash),
        }
        self.fetch = true;
    }

    /// What was going on goes on no more. An outstanding request is answered to no avail.
    pub(super) fn abandon(&mut self) {
        self.stale = self.waits();
        self.timers.stop(Deadline::Defer);
        self.rotation = None;
        self.timers.stop(Deadline::Retry);
        self.held = false;
        self.waiting = false;
        self.fetch = false;
        self.counted = false;
        self.tries = 0;
    }

    /// The update fails.
    pub(super) fn fail(&mut self, reason: Refusal) {
        if self.go(Trigger::Fail).is_err() {
            return;
        }
        self.abandon();
        self.reboot = Reboot::No;
        self.reason = Some(reason);
        self.entry.kind = Kind::Failed;
        self.entry.left = u8::try_from(reason.code().unsigned_abs()).unwrap_or(0);
        self.due = true;
        self.count_failure(reason);
    }

    // Commands

    pub(super) fn postpone(&mut self, now: Instant, until: Option<Instant>) -> Result<(), Error<Refusal>> {
        self.running(now)?;
        match self.state {
            State::Deferred => {}
            // A key table is there in a moment.
            _ if self.rotation.is_some() => return Err(Misuse::WrongState.into()),
            State::Fetched | State::Validated | State::Ready if self.reboot == Reboot::No => self.held = true,
            _ => self.go(Trigger::Defer)?,
        }
        self.waiting = false;
        self.reason = until.is_none().then_some(Refusal::Vetoed);
        match until {
            Some(until) => self.timers.set(Deadline::Defer, until),
            None => self.timers.stop(Deadline::Defer),
        }
        Ok(())
    }

    pub(super) fn judge(&mut self, now: Instant, verdict: Kind) -> Result<(), Error<Refusal>> {
        self.running(now)?;
        if self.state != State::Trial || self.verdict.is_some() {
            return Err(Misuse::WrongState.into());
        }
        self.timers.stop(Deadline::Trial);
        self.verdict = Some(verdict);
        Ok(())
    }

    // Answers

    /// Whether a request waits for its answer.
    pub(super) const fn waits(&self) -> bool {
        !matches!(self.op, Op::None)
    }

    /// The outstanding request was answered: which one it was, and whether anybody still cares.
    pub(super) fn answered(&mut self) -> (Op, bool) {
        (core::mem::replace(&mut self.op, Op::None), core::mem::take(&mut self.stale))
    }

    /// A record is in the journal.
    pub(super) fn recorded(&mut self, stale: bool) {
        if let Some(verdict) = self.recording {
            self.conclude(verdict);
        }
        // Where the update was replaced meanwhile, what replaced it is still to be written.
        if !stale {
            self.due = false;
        }
    }

    /// The trial is over.
    fn conclude(&mut self, verdict: Kind) {
        self.verdict = None;
        judge(&mut self.entry, verdict, self.rotation.map(|_| &self.rotating));
        self.due = false;
        if verdict == Kind::Idle {
            self.rotation = None;
            self.reason = None;
            let _ = self.go(Trigger::Rotate);
        } else if verdict == Kind::Confirmed {
            self.reason = None;
            let _ = self.go(Trigger::Confirm);
        } else {
            self.reason = Some(Refusal::Trial);
            self.reboot = Reboot::Wanted;
            let _ = self.go(Trigger::Revert);
        }
    }

    /// More of the image went through the hash.
    pub(super) fn hashed(&mut self) {
        if !matches!(self.state, State::Fetching | State::Deferred) {
            if self.state == State::Fetched && self.image.hashed == self.image.size {
                let good = self.image.has(&self.plan.digest);
                if !good {
                    self.fail(Refusal::ImageDigest);
                } else if !self.read_back(self.plan.image.saturating_add(1)) {
                    let _ = self.go(Trigger::Match);
                }
            }
        } else if self.part == Part::List {
            self.hashed_list();
        } else if self.plan.chunks.is_none() && self.image.hashed == self.image.size {
            if self.image.has(&self.plan.digest) {
                self.complete();
            } else {
                self.fail(Refusal::ImageDigest);
            }
        } else if self.image.at_boundary()
            && self.image.hashed > self.entry.offset
            && let Some(hash) = self.image.sha.save()
        {
            self.entry.offset = self.image.hashed;
            self.entry.hash = hash;
            self.entry.left = 0;
            self.counted = false;
            self.due = true;
        }
    }

    /// More of the list of chunk digests went through the hash.
    fn hashed_list(&mut self) {
        let Some(chunks) = self.plan.chunks.as_ref().filter(|_| self.image.hashed >= self.image.size) else { return };
        // Nothing was erased where it was only looked whether it is there.
        let fetched = self.image.erased != 0;
        if self.image.has(chunks.digest()) {
            self.begin_image(!fetched);
        } else if fetched {
            return self.spoiled(Refusal::ChunkList);
        } else {
            self.begin_list();
        }
        self.fetch = true;
    }

    /// A chunk went through the hash, and the list has this digest of it.
    pub(super) fn judge_chunk(&mut self, entry: &[u8]) {
        let good = self.image.has(entry);
        if !self.image.judge(good) {
            return self.spoiled(Refusal::ChunkDigest);
        }
        if self.image.proven == self.image.size {
            self.complete();
        } else {
            self.hashed();
        }
    }

    /// What was fetched is not what was signed for. It is fetched again, now and then.
    fn spoiled(&mut self, refusal: Refusal) {
        self.tries = self.tries.saturating_add(1);
        if self.tries > RETRIES {
            return self.fail(refusal);
        }
        self.notices.push(Notice::Refused(refusal));
        if self.part == Part::List {
            self.fetch_again();
        }
        self.fetch = true;
    }

    /// All of an image arrived.
    fn complete(&mut self) {
        self.counted = false;
        if self.begin_record(self.plan.image.saturating_add(1)) {
            self.begin(false);
            self.fetch = true;
            if self.state == State::Fetching {
                self.count();
            }
            return;
        }
        self.entry.kind = Kind::Fetched;
        self.entry.left = 0;
        self.due = true;
        if self.state == State::Deferred {
            // It was postponed while the last bytes were being written: the reboot is what is left to postpone.
            self.held = true;
            let _ = self.go(Trigger::Resume);
        }
        let _ = self.go(Trigger::Complete);
        self.read_back(0);
        self.entry.image = self.plan.image;
        self.entry.offset = self.plan.size;
        self.entry.hash = self.plan.digest;
    }

    /// `op` has failed once too often.
    pub(super) fn give_up(&mut self, op: Op) {
        self.tries = 0;
        match (op, self.state) {
            (Op::Scan | Op::Keys, _) => {
                // What the journal says must not be guessed: there is no floor without it.
                self.phase = Phase::New;
                let _ = self.go(Trigger::Fail);
                self.reason = Some(Refusal::Storage);
            }
            // The boot goes on uncounted; a verdict that came meanwhile is still to be written.
            (Op::Record, State::Trial) if self.recording.is_none() => self.due = false,
            (_, State::Trial) => match self.verdict.take() {
                // Unwritten is unconfirmed. The host may try again.
                Some(Kind::Confirmed) => {
                    self.timers.set(Deadline::Trial, self.clock.now().after(self.config.trial));
                    self.notices.push(Notice::Refused(Refusal::Storage));
                }
                Some(verdict) => self.conclude(verdict),
                None => self.due = false,
            },
            (op, State::Reverted) => {
                self.due = false;
                if op == Op::Activate {
                    self.reboot = Reboot::No;
                }
                self.notices.push(Notice::Refused(Refusal::Storage));
            }
            (op, _) => {
                self.verdict = None;
                self.fail(Refusal::Storage);
                if matches!(op, Op::ErasePage | Op::Record) {
                    self.due = false;
                }
            }
        }
    }

    // The journal at start

    /// A record of the journal was read.
    #[inline(never)]
    pub(super) fn look(&mut self, bytes: &[u8]) {
        let size = self.config.erase_size;
        let page = u8::from(self.scan >= size);
        let offset = self.scan.saturating_sub(if page == 0 { 0 } else { size });
        self.cursor.look_for(&mut self.entry, page, offset, bytes);
        self.scan = self.scan.saturating_add(journal::STEP);
        if self.scan >= size.saturating_mul(2) {
            self.cursor.settle(size);
            self.tries = 0;
            if self.config.rotation {
                self.phase = Phase::FirstKeys;
            } else {
                self.started();
            }
        }
    }

    fn started(&mut self) {
        self.phase = Phase::Running;
        self.tries = 0;
        self.believe();
        self.replay();
    }

    /// Takes up what the journal says.
    fn replay(&mut self) {
        let entry = &mut self.entry;
        let (running, left) = (self.config.running, entry.left.checked_sub(1));
        let tried = running != entry.active;
        // The bootloader boots what was neither confirmed nor is to be tried: what runs is not to be written.
        let other = tried && running != entry.updated();
        match (entry.kind, tried) {
            (kind, true) if other || !matches!(kind, Kind::Ready | Kind::Trial | Kind::Reverted) => {
                entry.active = running;
                if kind != Kind::Idle {
                    entry.kind = Kind::Idle;
                    entry.failures = 0;
                    self.due = true;
                }
            }
            (Kind::Ready | Kind::Trial, true) => {
                if entry.kind == Kind::Ready {
                    // A bootloader of another kind booted it.
                    entry.kind = Kind::Trial;
                    entry.left = left.unwrap_or(0);
                    self.due = true;
                }
                self.timers.set(Deadline::Trial, self.clock.now().after(self.config.trial));
                let _ = self.go(Trigger::Boot);
            }
            (Kind::Ready, false) if entry.left > 0 => {
                entry.left = left.unwrap_or(0);
                self.due = true;
                self.reboot = Reboot::Wanted;
                let _ = self.go(Trigger::ReplayReady);
            }
            (Kind::Ready | Kind::Trial, false) => {
                // The bootloader went back, or did not boot it however often it was asked.
                entry.kind = Kind::Reverted;
                self.due = true;
                self.reason = Some(Refusal::Trial);
                let _ = self.go(Trigger::ReplayReverted);
            }
            (Kind::Reverted, tried) => {
                self.reason = Some(Refusal::Trial);
                if let (true, Some(left)) = (tried, left) {
                    entry.left = left;
                    self.due = true;
                    self.reboot = Reboot::Wanted;
                }
                let _ = self.go(Trigger::ReplayReverted);
            }
            // Of several images the record has not all digests: their manifest has to come again.
            (Kind::Fetched, _) if entry.next_image(entry.image.saturating_add(1)).is_none() => {
                let size = entry.offset.min(self.config.slot(entry.image));
                self.plan.forget(entry.image);
                self.plan.size = size;
                self.plan.digest = entry.hash;
                self.image.whole(size, self.config.erase_size);
                let _ = self.go(Trigger::ReplayFetched);
            }
            (Kind::Confirmed, _) => {
                let _ = self.go(Trigger::ReplayConfirmed);
            }
            (Kind::Failed, _) => {
                self.reason = Refusal::from_code(i32::from(entry.left).saturating_neg());
                let _ = self.go(Trigger::ReplayFailed);
            }
            (Kind::Idle | Kind::Fetching | Kind::Fetched, _) => {}
        }
    }
}
