//! Command sequences (draft-ietf-suit-manifest-37 §8.4.6) and the abstract machine that they are for (§6.4).
//!
//! One pass does both: every sequence is read to its end and checked, those of alternatives not taken too; what is
//! *live* also has its effect. A frame stops being live when a condition in it fails. Nothing recurses: sequences in
//! sequences lie on a stack of [`DEPTH`] frames.
//!
//! The effect of a fetch is not to fetch: it is to note what has to be fetched. What only the device can decide, later,
//! is noted too ([`Requires`]); it can therefore not be a condition of an alternative, and is refused there.

use super::{COMPONENT, DEPTH, PRIVATE, Requires, VersionMatch, Visit};
use crate::ota::cbor::{Map, Reader};
use crate::ota::cose::read_digest;
use crate::ota::policy::{Severity, UpdateType};
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

/// Parameters of the current component (§8.4.8).
#[derive(Debug, Clone, Copy, Default)]
struct Parameters<'a> {
    vendor: Option<&'a [u8; 16]>,
    class: Option<&'a [u8; 16]>,
    device: Option<&'a [u8; 16]>,
    digest: Option<&'a [u8; 32]>,
    size: Option<u32>,
    uri: Option<&'a str>,
    slot: Option<u32>,
    use_before: Option<u64>,
    battery: Option<u32>,
    version: Option<&'a [u8]>,
    severity: Option<Severity>,
    kind: Option<UpdateType>,
    chunk: Option<u32>,
}

/// What a fetch is to fetch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetch<'a> {
    pub(super) digest: &'a [u8; 32],
    pub(super) size: u32,
    pub(super) uri: &'a str,
    pub(super) kind: UpdateType,
    pub(super) severity: Severity,
    pub(super) chunk: Option<u32>,
}

/// A sequence under way.
#[derive(Debug, Clone, Copy)]
struct Frame<'a> {
    reader: Reader<'a>,
    /// Commands still to be read.
    commands: usize,
    /// Alternatives of a try-each still to be read.
    alternatives: usize,
    /// A try-each is under way, and one of its alternatives has succeeded.
    trying: bool,
    chosen: bool,
    /// Commands have their effect.
    live: bool,
    /// This is an alternative, or is in one.
    alternative: bool,
    conditional: bool,
}

impl<'a> Frame<'a> {
    const EMPTY: Self = Self {
        reader: Reader::new(&[]),
        commands: 0,
        alternatives: 0,
        trying: false,
        chosen: false,
        live: false,
        alternative: false,
        conditional: false,
    };

    fn open(mut reader: Reader<'a>, live: bool) -> Result<Self, Refusal> {
        let items = reader.array()?;
        if items == 0 || items & 1 != 0 {
            return Err(Refusal::Malformed);
        }
        Ok(Self { reader, commands: items >> 1, live, ..Self::EMPTY })
    }
}

/// The abstract machine: reads sequences and keeps what they come to.
#[derive(Debug)]
pub(super) struct Processor<'a> {
    /// Whether sequences have their effect; else they are only checked.
    pub(super) live: bool,
    slot: Option<u32>,
    components: usize,
    /// The parameters that the shared sequence leaves to each of the others.
    shared: Parameters<'a>,
    pub(super) vendor: Option<&'a [u8; 16]>,
    pub(super) class: Option<&'a [u8; 16]>,
    pub(super) fetch: Option<Fetch<'a>>,
    /// The digest that the validate sequence checks.
    pub(super) validated: Option<&'a [u8; 32]>,
    pub(super) requires: Requires,
}

impl<'a> Processor<'a> {
    /// One that carries sequences out, for a device that installs into that slot.
    pub(super) fn new(live: bool, slot: Option<u32>) -> Self {
        Self {
            live,
            slot,
            components: 0,
            shared: Parameters::default(),
            vendor: None,
            class: None,
            fetch: None,
            validated: None,
            requires: Requires::default(),
        }
    }

    /// Reads suit-components: their number, and their encoding (§8.4.5).
    pub(super) fn components(&mut self, reader: &mut Reader<'a>) -> Result<&'a [u8], Refusal> {
        self.components = reader.array()?;
        let start = *reader;
        for _ in 0..self.components {
            read_component(reader)?;
        }
        let encoded = reader.since(&start);
        if self.components == 0 || (self.live && encoded != COMPONENT) {
            return Err(Refusal::Component);
        }
        Ok(encoded)
    }

    /// Reads, and where it is live carries out, one of the manifest's sequences.
    pub(super) fn run(
        &mut self,
        section: Section,
        sequence: Reader<'a>,
        visit: &mut impl Visit<'a>,
    ) -> Result<(), Refusal> {
        let mut parameters = self.shared;
        let fetched_before = self.fetch.is_some();
        let mut matched = false;
        let mut first = true;
        let mut stack = [Frame::EMPTY; DEPTH];
        let mut depth = 0usize;
        if let Some(frame) = stack.first_mut() {
            *frame = Frame::open(sequence, self.live)?;
        }
        visit.sequence(section, 0, false);
        loop {
            let frame = stack.get_mut(depth).ok_or(Refusal::TooDeep)?;
            let mut inner = None;
            if let Some(left) = frame.alternatives.checked_sub(1) {
                // The next alternative. It is only carried out where none before it has succeeded.
                frame.alternatives = left;
                let live = frame.live && !frame.chosen;
                if left == 0 && frame.reader.skip_null() {
                    frame.chosen |= live;
                } else {
                    inner = Some(Frame {
                        alternative: true,
                        conditional: true,
                        ..Frame::open(frame.reader.nested()?, live)?
                    });
                }
            } else if frame.trying {
                frame.trying = false;
                frame.live &= frame.chosen;
            } else if let Some(left) = frame.commands.checked_sub(1) {
                frame.commands = left;
                let code = frame.reader.label()?;
                // §6.2: with several components, each sequence begins by naming those it is about.
                if core::mem::take(&mut first) && self.components > 1 && code != 12 {
                    return Err(Refusal::Component);
                }
                match code {
                    1..=5 | 14 | 24 | 26..=28 => {
                        policy(frame, code, depth, visit)?;
                        if frame.live {
                            frame.live = if code != 3 {
                                self.condition(code, section, frame.conditional, &parameters)?
                            } else if frame.conditional {
                                return Err(Refusal::Condition);
                            } else {
                                let fetched = !fetched_before && self.fetch.is_some();
                                matched |= self.image_match(section, fetched, &parameters)?;
                                true
                            };
                        }
                    }
                    12 => {
                        let start = frame.reader;
                        self.index(&mut frame.reader)?;
                        visit.command(depth, code, frame.reader.since(&start));
                    }
                    15 => {
                        visit.command(depth, code, &[]);
                        frame.alternatives = frame.reader.array()?;
                        frame.trying = true;
                        frame.chosen = false;
                        if frame.alternatives < 2 {
                            return Err(Refusal::Argument);
                        }
                    }
                    20 => {
                        visit.command(depth, code, &[]);
                        let mut unused = Parameters::default();
                        let to = if frame.live { &mut parameters } else { &mut unused };
                        to.read(&mut frame.reader, self.components, depth, visit)?;
                    }
                    21..=23 | 31 if section != Section::Shared => {
                        policy(frame, code, depth, visit)?;
                        if frame.live {
                            self.directive(code, section, &parameters)?;
                        }
                    }
                    32 => {
                        visit.command(depth, code, &[]);
                        let conditional = frame.conditional;
                        inner = Some(Frame { conditional, ..Frame::open(frame.reader.nested()?, frame.live)? });
                    }
                    _ => return Err(Refusal::Command),
                }
            } else {
                // The end of a sequence.
                frame.reader.end()?;
                let Frame { live, alternative, .. } = *frame;
                let Some(outer) = depth.checked_sub(1) else {
                    if self.live && !live {
                        return Err(Refusal::Condition);
                    }
                    break;
                };
                depth = outer;
                if let Some(outer) = stack.get_mut(depth) {
                    if alternative {
                        outer.chosen |= live;
                    } else {
                        outer.live &= live;
                    }
                }
            }
            if let Some(inner) = inner {
                depth = depth.saturating_add(1);
                visit.sequence(section, depth, inner.alternative);
                *stack.get_mut(depth).ok_or(Refusal::TooDeep)? = inner;
            }
        }
        if section == Section::Shared {
            self.shared = parameters;
            if self.live && (self.vendor.is_none() || self.class.is_none()) {
                return Err(Refusal::IdentityCheck);
            }
        }
        if !fetched_before && self.fetch.is_some() && !matched {
            return Err(Refusal::ImageMatch);
        }
        Ok(())
    }

    /// Reads the argument of set-component-index (§8.4.10.1).
    fn index(&self, reader: &mut Reader<'a>) -> Result<(), Refusal> {
        if reader.skip_true() {
            return Ok(());
        }
        let count = if reader.is_array() { reader.array()? } else { 1 };
        if count == 0 {
            return Err(Refusal::Argument);
        }
        for _ in 0..count {
            component_index(reader, self.components)?;
        }
        Ok(())
    }

    /// Whether a condition holds; those that the device has to decide are noted and taken to.
    ///
    /// A condition whose parameter is not set does not hold.
    fn condition(
        &mut self,
        code: i32,
        section: Section,
        conditional: bool,
        parameters: &Parameters<'a>,
    ) -> Result<bool, Refusal> {
        let shared = section == Section::Shared && !conditional;
        match code {
            1 => return identity(&mut self.vendor, parameters.vendor, shared),
            2 => return identity(&mut self.class, parameters.class, shared),
            5 => return Ok(parameters.slot.is_some() && parameters.slot == Some(self.slot.ok_or(Refusal::Condition)?)),
            14 => return Ok(false),
            _ => {}
        }
        if conditional {
            return Err(Refusal::Condition);
        }
        let requires = &mut self.requires;
        match code {
            4 => match parameters.use_before {
                Some(time) => requires.use_before = Some(requires.use_before.map_or(time, |other| other.min(time))),
                None => return Ok(false),
            },
            24 => match (parameters.device, requires.device) {
                (Some(device), None) => requires.device = Some(*device),
                (Some(device), Some(other)) => return Ok(*device == other),
                (None, _) => return Ok(false),
            },
            26 => match parameters.battery {
                // `None` is below any.
                Some(_) => requires.battery = requires.battery.max(parameters.battery),
                None => return Ok(false),
            },
            27 => match parameters.severity {
                Some(_) => requires.authorization = true,
                None => return Ok(false),
            },
            _ => {
                let Some(encoded) = parameters.version else { return Ok(false) };
                let wanted = Some(VersionMatch::read(&mut Reader::new(encoded))?);
                if !requires.version.contains(&wanted) {
                    let free = requires.version.iter_mut().find(|place| place.is_none());
                    *free.ok_or(Refusal::Condition)? = wanted;
                }
            }
        }
        Ok(true)
    }

    /// Notes an image-match (§8.4.9.2): whether it was that of the image that this sequence fetched.
    fn image_match(&mut self, section: Section, fetched: bool, parameters: &Parameters<'a>) -> Result<bool, Refusal> {
        let digest = parameters.digest.ok_or(Refusal::Condition)?;
        match section {
            Section::Validate if self.validated.is_none_or(|other| other == digest) => {
                self.validated = Some(digest);
                Ok(false)
            }
            Section::Invoke if self.validated == Some(digest) => Ok(false),
            Section::PayloadFetch | Section::Install
                if fetched && self.fetch.is_some_and(|fetch| fetch.digest == digest) =>
            {
                Ok(true)
            }
            _ => Err(Refusal::ImageMatch),
        }
    }

    /// Carries out a directive that is about the component (§8.4.10).
    fn directive(&mut self, code: i32, section: Section, parameters: &Parameters<'a>) -> Result<(), Refusal> {
        match (code, section) {
            (21, Section::PayloadFetch | Section::Install) => {
                let (Some(digest), Some(size), Some(uri), None) =
                    (parameters.digest, parameters.size, parameters.uri, self.fetch)
                else {
                    return Err(Refusal::Image);
                };
                self.fetch = Some(Fetch {
                    digest,
                    size,
                    uri,
                    kind: parameters.kind.unwrap_or(UpdateType::Software),
                    severity: parameters.severity.unwrap_or(Severity::Medium),
                    chunk: parameters.chunk,
                });
                Ok(())
            }
            (23, Section::Invoke) => Ok(()),
            // Copy and swap need a second component.
            _ => Err(Refusal::Command),
        }
    }
}

/// Reads the reporting policy of a command that has no other argument (§8.4.7).
fn policy<'a>(frame: &mut Frame<'a>, code: i32, depth: usize, visit: &mut impl Visit<'a>) -> Result<(), Refusal> {
    let start = frame.reader;
    if frame.reader.uint()? > 15 {
        return Err(Refusal::Argument);
    }
    visit.command(depth, code, frame.reader.since(&start));
    Ok(())
}

/// A vendor or class check (§8.4.9.1). The first one, in the shared sequence and whatever happens there, says whom the
/// manifest is for; by that, others are decided.
fn identity<'a>(known: &mut Option<&'a [u8; 16]>, stated: Option<&'a [u8; 16]>, shared: bool) -> Result<bool, Refusal> {
    match (*known, stated) {
        (Some(known), Some(stated)) => Ok(known == stated),
        (None, Some(_)) if shared => {
            *known = stated;
            Ok(true)
        }
        (None, Some(_)) => Err(Refusal::IdentityCheck),
        (_, None) => Ok(false),
    }
}

/// Reads a component identifier.
pub(super) fn read_component(reader: &mut Reader<'_>) -> Result<(), Refusal> {
    for _ in 0..reader.array()? {
        reader.bytes()?;
    }
    Ok(())
}

fn component_index(reader: &mut Reader<'_>, components: usize) -> Result<(), Refusal> {
    match usize::try_from(reader.uint()?) {
        Ok(index) if index < components => Ok(()),
        _ => Err(Refusal::Component),
    }
}

impl<'a> Parameters<'a> {
    /// Reads the argument of override-parameters into the parameters there are (§8.4.10.3).
    fn read(
        &mut self,
        reader: &mut Reader<'a>,
        components: usize,
        depth: usize,
        visit: &mut impl Visit<'a>,
    ) -> Result<(), Refusal> {
        let mut map: Map<'a> = reader.map()?;
        if map.left() == 0 {
            return Err(Refusal::Argument);
        }
        while let Some(key) = map.key(reader)? {
            let start = *reader;
            match key {
                1 => self.vendor = Some(reader.array_of()?),
                2 => self.class = Some(reader.array_of()?),
                3 => {
                    let mut inner = reader.nested()?;
                    self.digest = Some(read_digest(&mut inner)?);
                    inner.end()?;
                }
                4 => self.use_before = Some(reader.uint()?),
                5 => self.slot = Some(reader.u32()?),
                14 => self.size = Some(reader.u32()?),
                21 => {
                    let uri = reader.text()?;
                    // RFC 3986: what is not visible ASCII is percent-encoded.
                    if uri.is_empty() || !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
                        return Err(Refusal::Argument);
                    }
                    self.uri = Some(uri);
                }
                22 => component_index(reader, components)?,
                24 => self.device = Some(reader.array_of()?),
                26 => self.battery = Some(reader.u32()?),
                27 => self.severity = Some(Severity::from_priority(reader.int()?)),
                28 => {
                    let encoded = reader.bytes()?;
                    let mut inner = Reader::new(encoded);
                    VersionMatch::read(&mut inner)?;
                    inner.end()?;
                    self.version = Some(encoded);
                }
                PRIVATE => self.private(reader.nested()?)?,
                _ => return Err(Refusal::Parameter),
            }
            visit.parameter(depth, key, reader.since(&start));
        }
        Ok(())
    }

    /// Reads waft's own parameter: see [`PRIVATE`].
    fn private(&mut self, mut reader: Reader<'a>) -> Result<(), Refusal> {
        let items = reader.array()?;
        let kind = u8::try_from(reader.uint()?).ok().and_then(UpdateType::from_u8);
        self.kind = Some(kind.ok_or(Refusal::Argument)?);
        self.chunk = match items {
            1 => None,
            2 => match reader.u32()? {
                0 => return Err(Refusal::Argument),
                chunk => Some(chunk),
            },
            _ => return Err(Refusal::Argument),
        };
        reader.end()
    }
}
