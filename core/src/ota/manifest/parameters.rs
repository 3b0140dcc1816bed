//! Parameters of a component (draft-ietf-suit-manifest-37 §8.4.8, draft-ietf-suit-update-management §4): kept as they are
//! encoded, and read again where they are asked for.

use super::{PRIVATE, Requires, VersionMatch, Visit, Wait};
use crate::ota::cbor::{At, Reader};
use crate::ota::cose::read_digest;
use crate::ota::policy::UpdateType;
use crate::ota::refusal::Refusal;

pub(super) const VENDOR: i32 = 1;
pub(super) const CLASS: i32 = 2;
pub(super) const DIGEST: i32 = 3;
pub(super) const USE_BEFORE: i32 = 4;
pub(super) const SLOT: i32 = 5;
pub(super) const SIZE: i32 = 14;
pub(super) const URI: i32 = 21;
pub(super) const SOURCE: i32 = 22;
pub(super) const DEVICE: i32 = 24;
pub(super) const BATTERY: i32 = 26;
pub(super) const PRIORITY: i32 = 27;
pub(super) const VERSION: i32 = 28;
pub(super) const WAIT: i32 = 29;

/// The parameters there are, by their keys: first those of an [image](Image), the last of which a condition is about too;
/// then those that only conditions are about. A condition has the number of the parameter that it is about.
const KEYS: [i16; 14] = [
    DIGEST as i16,
    SIZE as i16,
    URI as i16,
    PRIVATE as i16,
    PRIORITY as i16,
    VENDOR as i16,
    CLASS as i16,
    USE_BEFORE as i16,
    DEVICE as i16,
    BATTERY as i16,
    VERSION as i16,
    WAIT as i16,
    SLOT as i16,
    SOURCE as i16,
];

/// The index of a key among those there are, or one beyond them.
fn index(key: i32) -> usize {
    KEYS.iter().position(|known| i32::from(*known) == key).unwrap_or(KEYS.len())
}

/// Where the values of parameters are that are set.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Parameters([Option<At>; KEYS.len()]);

/// The index of the first one that conditions are about.
const CONDITIONS: usize = 4;

/// Where those are that conditions, with the numbers of [those from there on](KEYS), have noted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Noted {
    values: [Option<At>; 8],
    /// A second version.
    version: Option<At>,
}

impl Noted {
    /// The value of that parameter, to be read.
    fn get<'a, 'r>(&self, key: i32, reader: &'r Reader<'a>) -> Option<&'r Reader<'a>> {
        let at = self.values.get(index(key).wrapping_sub(CONDITIONS)).copied().flatten();
        at.map(|at| reader.at(at))
    }

    /// Its place; `None` where it is not to be noted.
    pub(super) fn place(&mut self, key: i32) -> Option<&mut Option<At>> {
        self.values.get_mut(index(key).wrapping_sub(CONDITIONS))
    }

    /// The places of versions.
    pub(super) fn versions(&mut self) -> impl Iterator<Item = &mut Option<At>> {
        self.values.get_mut(index(VERSION).wrapping_sub(CONDITIONS)).into_iter().chain([&mut self.version])
    }

    /// The vendor, or the class, whose devices the manifest is for.
    pub(super) fn identity<'a>(&self, key: i32, reader: &Reader<'a>) -> Option<&'a [u8; 16]> {
        self.get(key, reader).map(uuid)
    }

    /// Writes down what the device has to decide, where nothing is yet.
    pub(super) fn require(&self, reader: &Reader<'_>, requires: &mut Requires) {
        requires.use_before = self.get(USE_BEFORE, reader).map(Reader::uint);
        requires.battery = self.get(BATTERY, reader).map(Reader::u32);
        requires.authorization = self.get(PRIORITY, reader).is_some();
        let [first, second] = &mut requires.version;
        if let Some(reader) = self.get(VERSION, reader) {
            version(reader, first.insert(VersionMatch::NONE));
        }
        if let Some(at) = self.version {
            version(reader.at(at), second.insert(VersionMatch::NONE));
        }
        requires.device = self.identity(DEVICE, reader).copied();
        if let Some(reader) = self.get(WAIT, reader) {
            requires.authorization |= requires.wait.insert(Wait::default()).read(reader);
        }
    }
}

/// Where those of an image are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Image([Option<At>; 5]);

impl Image {
    /// Where the value of that parameter is.
    pub(super) fn get(&self, key: i32) -> Option<At> {
        value(&self.0, key)
    }
}

/// Where the value of that parameter is, if it is among those.
fn value(values: &[Option<At>], key: i32) -> Option<At> {
    values.get(index(key)).copied().flatten()
}

/// What waft's own parameter says: see [`PRIVATE`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Private<'a> {
    pub(super) kind: UpdateType,
    /// Bytes of a chunk; 0 where it does not say.
    pub(super) chunk: u32,
    /// The digest of the list of chunk digests.
    pub(super) list: Option<&'a [u8; 32]>,
}

impl<'a> Private<'a> {
    /// Nothing said.
    pub(super) const NONE: Self = Self { kind: UpdateType::Software, chunk: 0, list: None };

    /// Reads it, where nothing is said yet.
    pub(super) fn read(&mut self, reader: &Reader<'a>) {
        let outer = reader.enter();
        let items = reader.array();
        let kind = u8::try_from(reader.uint()).ok().and_then(UpdateType::from_u8);
        reader.unless(kind.is_some() && items <= 3, Refusal::Argument);
        self.kind = kind.unwrap_or(UpdateType::Software);
        if items >= 2 {
            self.chunk = reader.u32();
            reader.unless(self.chunk != 0, Refusal::Argument);
        }
        if items >= 3 {
            self.list = Some(reader.array_of(Refusal::Argument));
        }
        reader.leave(outer);
    }
}

impl Parameters {
    /// None is set any more.
    pub(super) fn clear(&mut self) {
        self.0 = [None; KEYS.len()];
    }

    /// Where the value of that parameter is.
    pub(super) fn get(&self, key: i32) -> Option<At> {
        value(&self.0, key)
    }

    /// Those of an image.
    pub(super) fn image(&self) -> Image {
        self.0.first_chunk().map_or(Image::default(), |values| Image(*values))
    }

    /// Its place; `None` where there is no such parameter.
    pub(super) fn place(&mut self, key: i32) -> Option<&mut Option<At>> {
        self.0.get_mut(index(key))
    }

    /// Reads the argument of override-parameters (§8.4.10.3); what is in it is set where it is `live`.
    #[inline(never)]
    pub(super) fn read<'a>(
        &mut self,
        reader: &Reader<'a>,
        components: usize,
        live: bool,
        depth: usize,
        visit: &mut impl Visit<'a>,
    ) {
        let mut map = reader.map();
        reader.unless(map.left() != 0, Refusal::Argument);
        while let Some(key) = map.key(reader) {
            let Some(place) = self.place(key) else { return reader.set(Refusal::Parameter) };
            let (at, start) = (reader.here(), reader.place());
            check(key, reader, components);
            visit.parameter(depth, key, reader.since(start));
            if live {
                *place = at;
            }
        }
    }
}

/// Checks the value of the parameter with that key. (Not inlined, nor is what needs room to check, for the sake of the stack.)
#[inline(never)]
fn check(key: i32, reader: &Reader<'_>, components: usize) {
    match key {
        VENDOR | CLASS | DEVICE => drop(uuid(reader)),
        DIGEST => drop(digest(reader)),
        USE_BEFORE => drop(reader.uint()),
        SLOT | SIZE | BATTERY => drop(reader.u32()),
        URI => drop(uri(reader)),
        SOURCE => drop(component_index(reader, components)),
        PRIORITY => drop(reader.int()),
        VERSION => check_version(reader),
        WAIT => check_wait(reader),
        _ => { Private::NONE }.read(reader),
    }
}

#[inline(never)]
fn check_version(reader: &Reader<'_>) {
    version(reader, &mut { VersionMatch::NONE });
}

#[inline(never)]
fn check_wait(reader: &Reader<'_>) {
    Wait::default().read(reader);
}

pub(super) fn uuid<'a>(reader: &Reader<'a>) -> &'a [u8; 16] {
    reader.array_of(Refusal::Argument)
}

pub(super) fn digest<'a>(reader: &Reader<'a>) -> &'a [u8; 32] {
    let outer = reader.enter();
    let digest = read_digest(reader);
    reader.leave(outer);
    digest
}

/// RFC 3986: what is not visible ASCII is percent-encoded.
pub(super) fn uri<'a>(reader: &Reader<'a>) -> &'a str {
    let uri = reader.text();
    let visible = !uri.is_empty() && uri.bytes().all(|byte| byte.is_ascii_graphic());
    reader.unless(visible, Refusal::Argument);
    uri
}

/// Reads suit-parameter-version.
pub(super) fn version(reader: &Reader<'_>, version: &mut VersionMatch) {
    let outer = reader.enter();
    version.read(reader);
    reader.leave(outer);
}

/// The index of one of so many components.
pub(super) fn component_index(reader: &Reader<'_>, components: usize) -> usize {
    match usize::try_from(reader.uint()) {
        Ok(index) if index < components => index,
        _ => {
            reader.set(Refusal::Component);
            0
        }
    }
}
