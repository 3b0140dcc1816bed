//! Parameters of a component (draft-ietf-suit-manifest-37 §8.4.8, draft-ietf-suit-update-management §4): kept as they are
//! encoded, and read again where they are asked for.

use super::{PRIVATE, VersionMatch, Visit, Wait};
use crate::ota::cbor::{At, Input, Reader};
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

/// The parameters there are, by their keys: first those of an image, then those that only conditions are about. A condition
/// has the number of the parameter that it is about.
const KEYS: [i32; 14] =
    [DIGEST, SIZE, URI, SOURCE, PRIVATE, PRIORITY, VENDOR, CLASS, USE_BEFORE, SLOT, DEVICE, BATTERY, VERSION, WAIT];

/// The index of a key among those there are, or one beyond them.
fn index(key: i32) -> usize {
    KEYS.iter().position(|known| *known == key).unwrap_or(KEYS.len())
}

/// Where the values of parameters are that are set.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Parameters([Option<At>; KEYS.len()]);

/// What waft's own parameter says: see [`PRIVATE`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Private<'a> {
    pub(super) kind: Option<UpdateType>,
    pub(super) chunk: Option<u32>,
    /// The digest of the list of chunk digests.
    pub(super) list: Option<&'a [u8; 32]>,
}

impl<'a> Private<'a> {
    /// What it says, where it was set; it was read before.
    pub(super) fn of(value: Option<At>, input: &Input<'a>) -> Self {
        value.map_or(Self::default(), |at| private(&mut input.at(at)))
    }
}

impl Parameters {
    /// None is set any more.
    pub(super) fn clear(&mut self) {
        self.0 = [None; KEYS.len()];
    }

    /// Where the value of that parameter is.
    pub(super) fn get(&self, key: i32) -> Option<At> {
        self.0.get(index(key)).copied().flatten()
    }

    /// Its place; `None` where there is no such parameter.
    pub(super) fn place(&mut self, key: i32) -> Option<&mut Option<At>> {
        self.0.get_mut(index(key))
    }

    /// Reads the argument of override-parameters (§8.4.10.3); what is in it is set where it is `live`.
    pub(super) fn read<'a>(
        &mut self,
        reader: &mut Reader<'a, '_>,
        components: usize,
        live: bool,
        depth: usize,
        visit: &mut impl Visit<'a>,
    ) {
        let fault = reader.fault();
        let mut map = reader.map();
        fault.unless(map.left() != 0, Refusal::Argument);
        while let Some(key) = map.key(reader) {
            let Some(place) = self.place(key) else { return fault.set(Refusal::Parameter) };
            let start = *reader;
            check(key, reader, components);
            visit.parameter(depth, key, reader.since(&start));
            if live {
                *place = start.here();
            }
        }
    }
}

/// Checks the value of the parameter with that key. (Not inlined, for the sake of the stack.)
#[inline(never)]
fn check(key: i32, reader: &mut Reader<'_, '_>, components: usize) {
    match key {
        VENDOR | CLASS | DEVICE => drop(uuid(reader)),
        DIGEST => drop(digest(reader)),
        USE_BEFORE => drop(reader.uint()),
        SLOT | SIZE | BATTERY => drop(reader.u32()),
        URI => drop(uri(reader)),
        SOURCE => drop(component_index(reader, components)),
        PRIORITY => drop(reader.int()),
        VERSION => drop(version(reader)),
        WAIT => drop(Wait::read(reader, &mut Wait::default())),
        _ => drop(private(reader)),
    }
}

pub(super) fn uuid<'a>(reader: &mut Reader<'a, '_>) -> &'a [u8; 16] {
    reader.array_of(Refusal::Argument)
}

pub(super) fn digest<'a>(reader: &mut Reader<'a, '_>) -> &'a [u8; 32] {
    let mut inner = reader.nested();
    let digest = read_digest(&mut inner);
    inner.end();
    digest
}

/// RFC 3986: what is not visible ASCII is percent-encoded.
pub(super) fn uri<'a>(reader: &mut Reader<'a, '_>) -> &'a str {
    let uri = reader.text();
    let visible = !uri.is_empty() && uri.bytes().all(|byte| byte.is_ascii_graphic());
    reader.fault().unless(visible, Refusal::Argument);
    uri
}

/// Reads suit-parameter-version.
pub(super) fn version(reader: &mut Reader<'_, '_>) -> VersionMatch {
    let mut inner = reader.nested();
    let version = VersionMatch::read(&mut inner);
    inner.end();
    version
}

fn private<'a>(reader: &mut Reader<'a, '_>) -> Private<'a> {
    let fault = reader.fault();
    let mut inner = reader.nested();
    let items = inner.array();
    let kind = u8::try_from(inner.uint()).ok().and_then(UpdateType::from_u8);
    fault.unless(kind.is_some() && items <= 3, Refusal::Argument);
    let mut private = Private { kind, ..Private::default() };
    if items >= 2 {
        let chunk = inner.u32();
        fault.unless(chunk != 0, Refusal::Argument);
        private.chunk = Some(chunk);
    }
    if items >= 3 {
        private.list = Some(inner.array_of(Refusal::Argument));
    }
    inner.end();
    private
}

/// The index of one of so many components.
pub(super) fn component_index(reader: &mut Reader<'_, '_>, components: usize) -> usize {
    match usize::try_from(reader.uint()) {
        Ok(index) if index < components => index,
        _ => {
            reader.fault().set(Refusal::Component);
            0
        }
    }
}
