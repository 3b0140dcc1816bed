//! Command sequences (draft-ietf-suit-manifest-37 §8.4.6) and the abstract machine that they are for (§6.4).
//!
//! It works as §6.6 has it for devices with little memory: the sequences are gone through once for each component, with
//! that component's parameters, and what is about others is passed over. One pass does both, checking and carrying out:
//! every sequence is read to its end, those of alternatives not taken too; what is *live* also has its effect. A frame
//! stops being live when a condition in it fails. Nothing recurses: sequences in sequences lie on a stack of [`DEPTH`]
//! frames.
//!
//! The effect of a fetch is not to fetch: it is to note what has to be fetched. What only the device can decide, later,
//! is noted too ([`Requires`](super::Requires)); it can therefore not be a condition of an alternative, and is refused there.

use super::envelope::Layout;
use super::parameters::{
    BATTERY, CLASS, DEVICE, DIGEST, Image, Noted, PRIORITY, Parameters, SLOT, SOURCE, URI, USE_BEFORE, VENDOR, VERSION,
    WAIT, component_index,
};
use super::{COMPONENT, DEPTH, Visit};
use crate::ota::cbor::{At, Outer, Reader};
use crate::ota::refusal::Refusal;

/// Commands that have no parameter of their number (§8.4.9, §8.4.10).
const SET_COMPONENT_INDEX: i32 = 12;
const ABORT: i32 = 14;
const TRY_EACH: i32 = 15;
const OVERRIDE_PARAMETERS: i32 = 20;
const FETCH: i32 = 21;
const COPY: i32 = 22;
const INVOKE: i32 = 23;
const SWAP: i32 = 31;
const RUN_SEQUENCE: i32 = 32;

/// The commands that have a reporting policy and nothing else (§8.4.7). The shared sequence may only have conditions.
const CONDITIONS: u32 = set(&[VENDOR, CLASS, DIGEST, USE_BEFORE, SLOT, ABORT, DEVICE, BATTERY, PRIORITY, VERSION]);
const DIRECTIVES: u32 = set(&[FETCH, COPY, INVOKE, WAIT, SWAP]);

/// A set of commands: one bit for each.
const fn set(mut commands: &[i32]) -> u32 {
    let mut set = 0;
    while let [first, rest @ ..] = commands {
        set |= command(*first);
        commands = rest;
    }
    set
}

/// The set of that command; one whose number is above 31 is in none.
const fn command(command: i32) -> u32 {
    match 1_u32.checked_shl(command.cast_unsigned()) {
        Some(bit) => bit,
        None => 0,
    }
}

/// The bit with that number; none beyond 31.
pub(super) fn bit(n: usize) -> u32 {
    1_u32.checked_shl(u32::try_from(n).unwrap_or(u32::MAX)).unwrap_or(0)
}

/// A command sequence of a manifest, by its key there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Section {
    /// Comes before each of the others (in suit-common).
    Shared = 4,
    /// The image that is installed is the right one.
    Validate = 7,
    /// It is copied to where it runs.
    Load = 8,
    /// It is started.
    Invoke = 9,
    /// Payloads are fetched.
    PayloadFetch = 16,
    /// The update is installed.
    Install = 20,
}

impl Section {
    /// All of them, in the order in which a device comes to them.
    pub const ALL: [Self; 6] =
        [Self::Shared, Self::PayloadFetch, Self::Install, Self::Validate, Self::Load, Self::Invoke];

    /// Its place in that order.
    pub(super) const fn index(self) -> usize {
        match self {
            Self::Shared => 0,
            Self::PayloadFetch => 1,
            Self::Install => 2,
            Self::Validate => 3,
            Self::Load => 4,
            Self::Invoke => 5,
        }
    }

    /// Whether payloads are fetched and put in their places there.
    const fn installs(self) -> bool {
        matches!(self, Self::PayloadFetch | Self::Install)
    }
}

/// What the sequences come to for one component.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Found {
    /// The parameters with which it is fetched, or copied; none where it is neither.
    pub(super) image: Image,
    /// The component that it is a copy of.
    pub(super) from: Option<usize>,
    /// How many commands came before that.
    pub(super) at: usize,
    /// The digest that the validate sequence checks.
    pub(super) validated: Option<At>,
}

impl Found {
    /// Whether the component is neither fetched nor copied.
    fn is_none(&self) -> bool {
        self.image.get(DIGEST).is_none()
    }
}

/// A sequence under way.
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// What it is in.
    outer: Outer,
    /// Commands still to be read.
    commands: usize,
    /// Alternatives of a try-each still to be read.
    alternatives: usize,
    flags: u8,
}

/// A try-each is under way, and one of its alternatives has succeeded.
const TRYING: u8 = 1;
const CHOSEN: u8 = 2;
/// No condition has failed.
const LIVE: u8 = 4;
/// Commands are about the component that this pass is for.
const SELECTED: u8 = 8;
/// This is an alternative, or is in one.
const ALTERNATIVE: u8 = 16;
const CONDITIONAL: u8 = 32;

impl Frame {
    const NONE: Self = Self { outer: Outer::NONE, commands: 0, alternatives: 0, flags: 0 };

    /// A sequence that begins, and was entered.
    fn open(&mut self, reader: &Reader<'_>, outer: Outer, flags: u8) {
        let items = reader.array();
        reader.unless(items != 0 && items & 1 == 0, Refusal::Malformed);
        *self = Self { outer, commands: items >> 1, alternatives: 0, flags };
    }

    /// Whether it has all of these flags.
    const fn is(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Sets that flag or takes it away.
    fn put(&mut self, flag: u8, on: bool) {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
    }
}

/// The abstract machine: goes through sequences and keeps what they come to. (In an order in which short instructions reach
/// what is used most.)
#[derive(Debug)]
#[repr(C)]
pub(super) struct Processor<'a, 'r, 'n> {
    reader: &'r Reader<'a>,
    /// Whether sequences have their effect; else they are only checked.
    live: bool,
    /// The component of this pass is the firmware.
    firmware: bool,
    /// It was fetched, or copied, and checked after that.
    matched: bool,
    slot: Option<u32>,
    pub(super) components: usize,
    /// The component of this pass.
    current: usize,
    /// Commands read in this pass.
    step: usize,
    /// One bit for each component that another one is copied from.
    pub(super) sources: u32,
    pub(super) found: Found,
    parameters: Parameters,
    /// What conditions are about that only the device can decide, and whom the manifest is for.
    noted: &'n mut Noted,
}

impl<'a, 'r, 'n> Processor<'a, 'r, 'n> {
    /// One that carries sequences out, where it is `live`, for a device that installs into that slot. What conditions are about
    /// that only the device can decide, and whom the manifest is for, is `noted`.
    pub(super) fn new(
        reader: &'r Reader<'a>,
        live: bool,
        slot: Option<u32>,
        components: usize,
        noted: &'n mut Noted,
    ) -> Self {
        Self {
            reader,
            live,
            slot,
            components,
            current: 0,
            firmware: false,
            matched: false,
            parameters: Parameters::default(),
            step: 0,
            found: Found::default(),
            sources: 0,
            noted,
        }
    }

    /// Whether the same number or string is at both places.
    pub(super) fn same(&self, a: Option<At>, b: Option<At>) -> bool {
        a.map(|at| self.reader.item(at)) == b.map(|at| self.reader.item(at))
    }

    /// Goes through all sequences for one component; what they come to is then [`found`](Self::found).
    pub(super) fn pass(&mut self, layout: &Layout<'a, 'r>, component: usize, visit: &mut impl Visit<'a>) {
        self.current = component;
        self.firmware = layout.component(component) == COMPONENT;
        (self.step, self.matched) = (0, false);
        let found = &mut self.found;
        (found.image, found.from, found.validated) = (Image::default(), None, None);
        for (section, sequence) in Section::ALL.iter().zip(&layout.sections) {
            let (section, Some(sequence)) = (*section, *sequence) else { continue };
            self.parameters.clear();
            // §8.4.5: it comes before each of the others.
            if self.live
                && section != Section::Shared
                && let Some(shared) = layout.section(Section::Shared)
            {
                self.run(Section::Shared, shared, visit);
            }
            self.run(section, sequence, visit);
            self.reader.unless(self.found.is_none() || self.matched, Refusal::ImageMatch);
        }
    }

    /// Reads, and where it is live carries out, one of the manifest's sequences.
    fn run(&mut self, section: Section, sequence: At, visit: &mut impl Visit<'a>) {
        let reader = self.reader.at(sequence);
        let several = self.components > 1;
        let flags = if self.live { LIVE } else { 0 } | if several { 0 } else { SELECTED };
        let mut stack = [Frame::NONE; DEPTH];
        let [outermost, ..] = &mut stack;
        outermost.open(reader, reader.enter(), flags);
        if several {
            // §6.2: with several components, each sequence begins by naming those it is about.
            let cursor = reader.cursor();
            reader.unless(reader.label() == SET_COMPONENT_INDEX, Refusal::Component);
            reader.go_back(cursor);
        }
        let mut depth = 0usize;
        visit.sequence(section, 0, false);
        while !reader.is_set() {
            let Some(frame) = stack.get_mut(depth) else { return };
            // The flags of a sequence that begins inside of this one.
            let mut inner = None;
            if let Some(left) = frame.alternatives.checked_sub(1) {
                // The next alternative. It is only carried out where none before it has succeeded.
                frame.alternatives = left;
                let live = if frame.is(CHOSEN) { 0 } else { frame.flags & LIVE };
                if left == 0 && reader.skip_null() {
                    if live != 0 {
                        frame.flags |= CHOSEN;
                    }
                } else {
                    inner = Some(frame.flags & SELECTED | live | ALTERNATIVE | CONDITIONAL);
                }
            } else if frame.is(TRYING) {
                frame.put(TRYING, false);
                frame.put(LIVE, frame.is(LIVE | CHOSEN));
            } else if let Some(left) = frame.commands.checked_sub(1) {
                frame.commands = left;
                self.step = self.step.wrapping_add(1);
                let code = reader.label();
                let start = reader.place();
                match code {
                    SET_COMPONENT_INDEX => {
                        // In a sequence that is run for several components it could not be said for which it counts.
                        reader.unless(depth == 0 || !self.live, Refusal::Command);
                        let selected = self.index();
                        frame.put(SELECTED, selected);
                        visit.command(depth, code, reader.since(start));
                    }
                    TRY_EACH => {
                        visit.command(depth, code, &[]);
                        frame.alternatives = reader.array();
                        frame.flags = frame.flags & !CHOSEN | TRYING;
                        reader.unless(frame.alternatives >= 2, Refusal::Argument);
                    }
                    OVERRIDE_PARAMETERS => {
                        visit.command(depth, code, &[]);
                        let acts = frame.is(LIVE | SELECTED);
                        self.parameters.read(reader, self.components, acts, depth, visit);
                    }
                    RUN_SEQUENCE => {
                        visit.command(depth, code, &[]);
                        inner = Some(frame.flags & (LIVE | SELECTED | CONDITIONAL));
                    }
                    _ => {
                        let allowed = if section == Section::Shared { CONDITIONS } else { CONDITIONS | DIRECTIVES };
                        reader.unless(command(code) & allowed != 0, Refusal::Command);
                        reader.up_to(15);
                        visit.command(depth, code, reader.since(start));
                        if frame.is(LIVE | SELECTED) && !reader.is_set() {
                            let cursor = reader.cursor();
                            let live = self.carry_out(code, section, frame.is(CONDITIONAL));
                            reader.go_back(cursor);
                            frame.put(LIVE, live);
                        }
                    }
                }
            } else {
                // The end of a sequence.
                reader.leave(frame.outer);
                let (live, alternative) = (frame.is(LIVE), frame.is(ALTERNATIVE));
                let Some(outer) = depth.checked_sub(1) else {
                    return reader.unless(live || !self.live, Refusal::Condition);
                };
                depth = outer;
                if let Some(outer) = stack.get_mut(depth) {
                    match (alternative, live) {
                        (true, true) => outer.flags |= CHOSEN,
                        (false, false) => outer.put(LIVE, false),
                        _ => {}
                    }
                }
                continue;
            }
            if let Some(flags) = inner {
                let outer = reader.enter();
                depth = depth.saturating_add(1);
                match stack.get_mut(depth) {
                    Some(place) => place.open(reader, outer, flags),
                    None => return reader.set(Refusal::TooDeep),
                }
                visit.sequence(section, depth, flags & ALTERNATIVE != 0);
            }
        }
    }

    /// Reads the argument of set-component-index (§8.4.10.1): whether it has the component of this pass in it.
    #[inline(never)]
    fn index(&self) -> bool {
        let reader = self.reader;
        if reader.skip_true() {
            return true;
        }
        let count = if reader.is_array() { reader.array() } else { 1 };
        reader.unless(count != 0, Refusal::Argument);
        let mut selected = false;
        for _ in 0..count {
            selected |= component_index(reader, self.components) == self.current;
        }
        selected
    }

    /// Carries out a command that has no argument: whether it is a directive or a condition that holds. Conditions that
    /// the device has to decide are noted and taken to. One whose parameter is not set does not hold. (Not inlined, so that it
    /// has registers of its own.)
    #[inline(never)]
    fn carry_out(&mut self, code: i32, section: Section, conditional: bool) -> bool {
        let reader = self.reader;
        match code {
            ABORT => return false,
            FETCH | COPY | INVOKE | SWAP => {
                self.directive(code, section);
                return true;
            }
            SLOT => reader.unless(self.slot.is_some(), Refusal::Condition),
            VENDOR | CLASS => {}
            // What is only noted cannot decide between alternatives.
            _ => reader.unless(!conditional, Refusal::Condition),
        }
        let Some(value) = self.parameters.get(code) else { return false };
        match code {
            DIGEST => self.image_match(value, section),
            SLOT => return self.slot == Some(self.reader.at(value).u32()),
            VERSION => self.version_match(value),
            _ => {
                let Some(noted) = self.noted.place(code) else { return false };
                let first = noted.is_none();
                let before = reader.item(*noted.get_or_insert(value));
                // Numbers are in the order of their encodings (RFC 8949 §4.2.1).
                let order = reader.item(value).cmp(before);
                let same = order.is_eq();
                match code {
                    USE_BEFORE if order.is_lt() => *noted = Some(value),
                    BATTERY if order.is_gt() => *noted = Some(value),
                    // draft-ietf-suit-update-management §5.6: before the first fetch.
                    WAIT => {
                        reader.unless(section.installs(), Refusal::Command);
                        reader.unless(same, Refusal::Condition);
                    }
                    USE_BEFORE | BATTERY | PRIORITY => {}
                    // §8.4.9.1. The first vendor and the first class, in the shared sequence and whatever happens there, say whom the
                    // manifest is for; by that, others are decided.
                    _ => {
                        let shared = section == Section::Shared && !conditional;
                        reader.unless(!first || shared || code == DEVICE, Refusal::IdentityCheck);
                        return same;
                    }
                }
            }
        }
        true
    }

    /// Notes an image-match (§8.4.9.2).
    fn image_match(&mut self, digest: At, section: Section) {
        let found = &mut self.found;
        let other = match section {
            Section::Validate => Some(*found.validated.get_or_insert(digest)),
            Section::Invoke => found.validated,
            _ if section.installs() => {
                self.matched = true;
                found.image.get(DIGEST)
            }
            _ => None,
        };
        let fits = self.same(Some(digest), other);
        self.reader.unless(fits, Refusal::ImageMatch);
    }

    /// Notes what version has to be installed: of the firmware, and twice at most.
    fn version_match(&mut self, wanted: At) {
        let reader = self.reader;
        // Once for each sequence that comes after the shared one.
        let mut places = self.noted.versions();
        match places.find(|place| place.is_none_or(|known| reader.item(known) == reader.item(wanted))) {
            Some(place) if place.is_some() || self.firmware => *place = Some(wanted),
            _ => reader.set(Refusal::Condition),
        }
    }

    /// Carries out a directive that is about the component (§8.4.10).
    fn directive(&mut self, code: i32, section: Section) {
        let reader = self.reader;
        if code == INVOKE {
            return reader.unless(section == Section::Invoke, Refusal::Command);
        }
        reader.unless(section.installs(), Refusal::Command);
        let parameters = &self.parameters;
        let mut from = None;
        let described = if code == FETCH {
            parameters.get(URI).is_some()
        } else {
            from = parameters.get(SOURCE).map(|at| component_index(self.reader.at(at), self.components));
            from.is_some_and(|from| from != self.current)
        };
        if !described || parameters.get(DIGEST).is_none() || !self.found.is_none() {
            return reader.set(Refusal::Image);
        }
        self.sources |= from.map_or(0, bit);
        (self.found.image, self.found.from, self.found.at) = (parameters.image(), from, self.step);
    }
}
