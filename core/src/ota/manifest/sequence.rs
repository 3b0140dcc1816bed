//! Command sequences (draft-ietf-suit-manifest-37 §8.4.6) and the abstract machine that they are for (§6.4).
//!
//! It works as §6.6 has it for devices with little memory: the sequences are gone through once for each component, with
//! that component's parameters, and what is about others is passed over. One pass does both, checking and carrying out:
//! every sequence is read to its end, those of alternatives not taken too; what is *live* also has its effect. A frame
//! stops being live when a condition in it fails. Nothing recurses: sequences in sequences lie on a stack of [`DEPTH`]
//! frames.
//!
//! The effect of a fetch is not to fetch: it is to note what has to be fetched. What only the device can decide, later,
//! is noted too ([`Requires`]); it can therefore not be a condition of an alternative, and is refused there.

use super::envelope::Layout;
use super::parameters::{Parameters, component_index, version};
use super::{Component, DEPTH, Requires, Visit, Wait};
use crate::ota::cbor::{Fault, Reader};
use crate::ota::policy::Severity;
use crate::ota::refusal::Refusal;

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
pub(super) struct Found<'a> {
    /// The digest of what is fetched, or copied, to it.
    pub(super) digest: Option<&'a [u8; 32]>,
    pub(super) size: Option<u32>,
    pub(super) uri: &'a str,
    /// The component that it is a copy of.
    pub(super) from: Option<usize>,
    /// How many commands came before that.
    pub(super) at: usize,
    /// As it is encoded.
    pub(super) private: Option<&'a [u8]>,
    pub(super) severity: Option<Severity>,
    /// It was checked after that.
    matched: bool,
    /// The digest that the validate sequence checks.
    pub(super) validated: Option<&'a [u8; 32]>,
}

/// A sequence under way.
#[derive(Debug, Clone, Copy)]
struct Frame<'a, 'f> {
    reader: Reader<'a, 'f>,
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

impl<'a, 'f> Frame<'a, 'f> {
    /// A sequence that begins.
    fn open(mut reader: Reader<'a, 'f>, flags: u8) -> Self {
        let items = reader.array();
        reader.fault().unless(items != 0 && items & 1 == 0, Refusal::Malformed);
        Self { reader, commands: items >> 1, alternatives: 0, flags }
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

/// The abstract machine: goes through sequences and keeps what they come to.
#[derive(Debug)]
pub(super) struct Processor<'a, 'f> {
    fault: &'f Fault,
    /// Whether sequences have their effect; else they are only checked.
    live: bool,
    slot: Option<u32>,
    pub(super) components: usize,
    /// The component of this pass.
    current: usize,
    role: Option<Component>,
    parameters: Parameters<'a, 'f>,
    /// Commands read in this pass.
    step: usize,
    pub(super) found: Found<'a>,
    /// One bit for each component that another one is copied from.
    pub(super) sources: u32,
    pub(super) vendor: Option<&'a [u8; 16]>,
    pub(super) class: Option<&'a [u8; 16]>,
    /// What the device has to decide: see [`requires`](Self::requires).
    use_before: Option<u64>,
    battery: Option<u32>,
    authorization: bool,
    device: Option<&'a [u8; 16]>,
    /// As they are encoded: versions, and what to wait for.
    versions: [Option<&'a [u8]>; 2],
    wait: Option<&'a [u8]>,
}

impl<'a, 'f> Processor<'a, 'f> {
    /// One that carries sequences out, where it is `live`, for a device that installs into that slot.
    pub(super) fn new(fault: &'f Fault, live: bool, slot: Option<u32>, components: usize) -> Self {
        Self {
            fault,
            live,
            slot,
            components,
            current: 0,
            role: None,
            parameters: Parameters::new(fault),
            step: 0,
            found: Found::default(),
            sources: 0,
            vendor: None,
            class: None,
            use_before: None,
            battery: None,
            authorization: false,
            device: None,
            versions: [None; 2],
            wait: None,
        }
    }

    /// What the device has to decide.
    pub(super) fn requires(&self) -> Requires {
        let Self { fault, use_before, battery, authorization, .. } = *self;
        let version = self.versions.map(|encoded| encoded.map(|encoded| version(&mut Reader::new(encoded, fault))));
        let wait = self.wait.map(|encoded| Wait::read(&mut Reader::new(encoded, fault)));
        Requires {
            use_before,
            battery,
            authorization: authorization || wait.is_some_and(|(_, authorization)| authorization),
            version,
            device: self.device.copied(),
            wait: wait.map(|(wait, _)| wait),
        }
    }

    /// Goes through all sequences for one component; what they come to is then [`found`](Self::found).
    pub(super) fn pass(&mut self, layout: &Layout<'a, 'f>, component: usize, visit: &mut impl Visit<'a>) {
        self.current = component;
        self.role = Component::read(layout.component(component));
        self.step = 0;
        self.found = Found::default();
        for section in Section::ALL {
            let Some(sequence) = layout.section(section) else { continue };
            self.parameters.clear();
            // §8.4.5: it comes before each of the others.
            if self.live
                && section != Section::Shared
                && let Some(shared) = layout.section(Section::Shared)
            {
                self.run(Section::Shared, shared, visit);
            }
            self.run(section, sequence, visit);
            self.fault.unless(self.found.digest.is_none() || self.found.matched, Refusal::ImageMatch);
        }
    }

    /// Reads, and where it is live carries out, one of the manifest's sequences.
    fn run(&mut self, section: Section, sequence: &'a [u8], visit: &mut impl Visit<'a>) {
        let fault = self.fault;
        let several = self.components > 1;
        let mut first = several;
        let flags = if self.live { LIVE } else { 0 } | if several { 0 } else { SELECTED };
        let mut stack = [Frame::open(Reader::new(sequence, fault), flags); DEPTH];
        let mut depth = 0usize;
        visit.sequence(section, 0, false);
        while !fault.is_set() {
            let Some(frame) = stack.get_mut(depth) else { return };
            let mut inner = None;
            if let Some(left) = frame.alternatives.checked_sub(1) {
                // The next alternative. It is only carried out where none before it has succeeded.
                frame.alternatives = left;
                let live = if frame.is(CHOSEN) { 0 } else { frame.flags & LIVE };
                if left == 0 && frame.reader.skip_null() {
                    if live != 0 {
                        frame.flags |= CHOSEN;
                    }
                } else {
                    let flags = frame.flags & SELECTED | live | ALTERNATIVE | CONDITIONAL;
                    inner = Some(Frame::open(frame.reader.nested(), flags));
                }
            } else if frame.is(TRYING) {
                frame.put(TRYING, false);
                frame.put(LIVE, frame.is(LIVE | CHOSEN));
            } else if let Some(left) = frame.commands.checked_sub(1) {
                frame.commands = left;
                self.step = self.step.saturating_add(1);
                let code = frame.reader.label();
                // §6.2: with several components, each sequence begins by naming those it is about.
                fault.unless(!core::mem::take(&mut first) || code == 12, Refusal::Component);
                let start = frame.reader;
                match code {
                    12 => {
                        // In a sequence that is run for several components it could not be said for which it counts.
                        fault.unless(depth == 0 || !self.live, Refusal::Command);
                        let selected = self.index(&mut frame.reader);
                        frame.put(SELECTED, selected);
                        visit.command(depth, code, frame.reader.since(&start));
                    }
                    15 => {
                        visit.command(depth, code, &[]);
                        frame.alternatives = frame.reader.array();
                        frame.flags = frame.flags & !CHOSEN | TRYING;
                        fault.unless(frame.alternatives >= 2, Refusal::Argument);
                    }
                    20 => {
                        visit.command(depth, code, &[]);
                        let acts = frame.is(LIVE | SELECTED);
                        self.parameters.read(&mut frame.reader, self.components, acts, depth, visit);
                    }
                    32 => {
                        visit.command(depth, code, &[]);
                        let flags = frame.flags & (LIVE | SELECTED | CONDITIONAL);
                        inner = Some(Frame::open(frame.reader.nested(), flags));
                    }
                    _ => {
                        let condition = matches!(code, 1..=5 | 14 | 24 | 26..=28);
                        let directive = matches!(code, 21..=23 | 29 | 31) && section != Section::Shared;
                        fault.unless(condition || directive, Refusal::Command);
                        // The reporting policy (§8.4.7).
                        frame.reader.up_to(15);
                        visit.command(depth, code, frame.reader.since(&start));
                        if frame.is(LIVE | SELECTED) && !fault.is_set() {
                            let live = self.carry_out(code, section, frame.is(CONDITIONAL));
                            frame.put(LIVE, live);
                        }
                    }
                }
            } else {
                // The end of a sequence.
                frame.reader.end();
                let (live, alternative) = (frame.is(LIVE), frame.is(ALTERNATIVE));
                let Some(outer) = depth.checked_sub(1) else {
                    return fault.unless(live || !self.live, Refusal::Condition);
                };
                depth = outer;
                if let Some(outer) = stack.get_mut(depth) {
                    match (alternative, live) {
                        (true, true) => outer.flags |= CHOSEN,
                        (false, false) => outer.put(LIVE, false),
                        _ => {}
                    }
                }
            }
            if let Some(inner) = inner {
                depth = depth.saturating_add(1);
                match stack.get_mut(depth) {
                    Some(place) => *place = inner,
                    None => return fault.set(Refusal::TooDeep),
                }
                visit.sequence(section, depth, inner.is(ALTERNATIVE));
            }
        }
    }

    /// Reads the argument of set-component-index (§8.4.10.1): whether it has the component of this pass in it.
    fn index(&self, reader: &mut Reader<'a, 'f>) -> bool {
        if reader.skip_true() {
            return true;
        }
        let count = if reader.is_array() { reader.array() } else { 1 };
        self.fault.unless(count != 0, Refusal::Argument);
        let mut selected = false;
        for _ in 0..count {
            selected |= component_index(reader, self.components) == self.current;
        }
        selected
    }

    /// Carries out a command that has no argument: whether it is a directive or a condition that holds. Conditions that
    /// the device has to decide are noted and taken to. One whose parameter is not set does not hold.
    fn carry_out(&mut self, code: i32, section: Section, conditional: bool) -> bool {
        let fault = self.fault;
        let parameters = &self.parameters;
        let shared = section == Section::Shared && !conditional;
        match code {
            1 => return identity(fault, &mut self.vendor, parameters.vendor(), shared),
            2 => return identity(fault, &mut self.class, parameters.class(), shared),
            5 => {
                fault.unless(self.slot.is_some(), Refusal::Condition);
                return parameters.slot().is_some() && parameters.slot() == self.slot;
            }
            14 => return false,
            21..=23 | 31 => {
                self.directive(code, section);
                return true;
            }
            _ => {}
        }
        // What is only noted cannot decide between alternatives.
        fault.unless(!conditional, Refusal::Condition);
        match code {
            3 => match parameters.digest() {
                Some(digest) => self.image_match(digest, section),
                None => return false,
            },
            4 => match parameters.use_before() {
                Some(time) => self.use_before = Some(self.use_before.map_or(time, |other| other.min(time))),
                None => return false,
            },
            24 => match (parameters.device(), self.device) {
                (Some(device), Some(other)) => return device == other,
                (None, _) => return false,
                (device, None) => self.device = device,
            },
            26 => match parameters.battery() {
                // `None` is below any.
                battery @ Some(_) => self.battery = self.battery.max(battery),
                None => return false,
            },
            27 => match parameters.severity() {
                Some(_) => self.authorization = true,
                None => return false,
            },
            28 => match parameters.version() {
                None => return false,
                Some(version) => self.version_match(version),
            },
            _ => match parameters.wait() {
                None => return false,
                Some(wait) => self.wait(wait, section),
            },
        }
        true
    }

    /// Notes an image-match (§8.4.9.2).
    fn image_match(&mut self, digest: &'a [u8; 32], section: Section) {
        let found = &mut self.found;
        let fits = match section {
            Section::Validate => *found.validated.get_or_insert(digest) == digest,
            Section::Invoke => found.validated == Some(digest),
            _ if section.installs() => {
                found.matched = true;
                found.digest == Some(digest)
            }
            _ => false,
        };
        self.fault.unless(fits, Refusal::ImageMatch);
    }

    /// Notes what version has to be installed: of the firmware, and twice at most.
    fn version_match(&mut self, wanted: &'a [u8]) {
        // Once for each sequence that comes after the shared one.
        match self.versions.iter_mut().find(|place| place.is_none_or(|known| known == wanted)) {
            Some(place) if place.is_some() || self.role == Some(Component::Image(0)) => *place = Some(wanted),
            _ => self.fault.set(Refusal::Condition),
        }
    }

    /// Notes what has to be waited for (draft-ietf-suit-update-management §5.6), before the first fetch.
    fn wait(&mut self, wanted: &'a [u8], section: Section) {
        self.fault.unless(section.installs(), Refusal::Command);
        self.fault.unless(self.wait.is_none_or(|known| known == wanted), Refusal::Condition);
        self.wait = Some(wanted);
    }

    /// Carries out a directive that is about the component (§8.4.10).
    fn directive(&mut self, code: i32, section: Section) {
        let parameters = &self.parameters;
        if code == 23 {
            return self.fault.unless(section == Section::Invoke, Refusal::Command);
        }
        self.fault.unless(section.installs(), Refusal::Command);
        let (uri, from) = if code == 21 { (parameters.uri(), None) } else { (Some(""), parameters.source()) };
        let whole = (code == 21 || from.is_some()) && from != Some(self.current);
        let (Some(uri), Some(digest), None, true) = (uri, parameters.digest(), self.found.digest, whole) else {
            return self.fault.set(Refusal::Image);
        };
        if let Some(from) = from {
            self.sources |= 1_u32.wrapping_shl(u32::try_from(from).unwrap_or(0));
        }
        self.found = Found {
            digest: Some(digest),
            size: parameters.size(),
            uri,
            from,
            at: self.step,
            private: parameters.private(),
            severity: parameters.severity(),
            matched: false,
            validated: None,
        };
    }
}

/// A vendor or class check (§8.4.9.1). The first one, in the shared sequence and whatever happens there, says whom the
/// manifest is for; by that, others are decided.
fn identity<'a>(fault: &Fault, known: &mut Option<&'a [u8; 16]>, stated: Option<&'a [u8; 16]>, shared: bool) -> bool {
    match (*known, stated) {
        (Some(known), Some(stated)) => known == stated,
        (None, Some(_)) => {
            fault.unless(shared, Refusal::IdentityCheck);
            *known = stated;
            true
        }
        (_, None) => false,
    }
}
