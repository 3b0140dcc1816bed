//! Parameters of a component (draft-ietf-suit-manifest-37 §8.4.8, draft-ietf-suit-update-management §4): kept as they are
//! encoded, and read again where they are asked for.

use super::{PRIVATE, VersionMatch, Visit, Wait};
use crate::ota::cbor::{Fault, Reader};
use crate::ota::cose::read_digest;
use crate::ota::policy::{Severity, UpdateType};
use crate::ota::refusal::Refusal;

/// The parameters there are, by their keys.
const KEYS: [i32; 14] = [1, 2, 3, 4, 5, 14, 21, 22, 24, 26, 27, 28, 29, PRIVATE];

/// Parameters that are set.
#[derive(Debug)]
pub(super) struct Parameters<'a, 'f> {
    fault: &'f Fault,
    /// Encoded.
    values: [Option<&'a [u8]>; KEYS.len()],
}

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
    pub(super) fn of(encoded: Option<&'a [u8]>, fault: &Fault) -> Self {
        encoded.map_or(Self::default(), |encoded| private(&mut Reader::new(encoded, fault)))
    }
}

impl<'a, 'f> Parameters<'a, 'f> {
    /// None is set.
    pub(super) const fn new(fault: &'f Fault) -> Self {
        Self { fault, values: [None; KEYS.len()] }
    }

    /// None is set any more.
    pub(super) fn clear(&mut self) {
        self.values = [None; KEYS.len()];
    }

    /// Reads the argument of override-parameters (§8.4.10.3); what is in it is set where it is `live`.
    pub(super) fn read(
        &mut self,
        reader: &mut Reader<'a, 'f>,
        components: usize,
        live: bool,
        depth: usize,
        visit: &mut impl Visit<'a>,
    ) {
        let mut map = reader.map();
        self.fault.unless(map.left() != 0, Refusal::Argument);
        while let Some(key) = map.key(reader) {
            let Some(place) = KEYS.iter().position(|known| *known == key).and_then(|n| self.values.get_mut(n)) else {
                return self.fault.set(Refusal::Parameter);
            };
            let start = *reader;
            match key {
                1 | 2 | 24 => drop(uuid(reader)),
                3 => drop(digest(reader)),
                4 => drop(reader.uint()),
                5 | 14 | 26 => drop(reader.u32()),
                21 => drop(uri(reader)),
                22 => drop(component_index(reader, components)),
                27 => drop(reader.int()),
                28 => drop(version(reader)),
                29 => drop(Wait::read(reader)),
                _ => drop(private(reader)),
            }
            let value = reader.since(&start);
            visit.parameter(depth, key, value);
            if live {
                *place = Some(value);
            }
        }
    }

    /// The parameter with the `n`-th key, as it is encoded.
    fn encoded(&self, n: usize) -> Option<&'a [u8]> {
        self.values.get(n).copied().flatten()
    }

    /// The parameter with the `n`-th key, as `read` reads it.
    fn get<T>(&self, n: usize, read: impl FnOnce(&mut Reader<'a, 'f>) -> T) -> Option<T> {
        Some(read(&mut Reader::new(self.encoded(n)?, self.fault)))
    }

    pub(super) fn vendor(&self) -> Option<&'a [u8; 16]> {
        self.get(0, uuid)
    }

    pub(super) fn class(&self) -> Option<&'a [u8; 16]> {
        self.get(1, uuid)
    }

    pub(super) fn digest(&self) -> Option<&'a [u8; 32]> {
        self.get(2, digest)
    }

    pub(super) fn use_before(&self) -> Option<u64> {
        self.get(3, Reader::uint)
    }

    pub(super) fn slot(&self) -> Option<u32> {
        self.get(4, Reader::u32)
    }

    pub(super) fn size(&self) -> Option<u32> {
        self.get(5, Reader::u32)
    }

    pub(super) fn uri(&self) -> Option<&'a str> {
        self.get(6, uri)
    }

    pub(super) fn source(&self) -> Option<usize> {
        self.get(7, |reader| component_index(reader, usize::MAX))
    }

    pub(super) fn device(&self) -> Option<&'a [u8; 16]> {
        self.get(8, uuid)
    }

    pub(super) fn battery(&self) -> Option<u32> {
        self.get(9, Reader::u32)
    }

    pub(super) fn severity(&self) -> Option<Severity> {
        self.get(10, Reader::int).map(Severity::from_priority)
    }

    /// As it is encoded.
    pub(super) fn version(&self) -> Option<&'a [u8]> {
        self.encoded(11)
    }

    /// Likewise.
    pub(super) fn wait(&self) -> Option<&'a [u8]> {
        self.encoded(12)
    }

    /// Likewise: see [`Private::of`].
    pub(super) fn private(&self) -> Option<&'a [u8]> {
        self.encoded(13)
    }
}

fn uuid<'a>(reader: &mut Reader<'a, '_>) -> &'a [u8; 16] {
    reader.array_of(Refusal::Argument)
}

fn digest<'a>(reader: &mut Reader<'a, '_>) -> &'a [u8; 32] {
    let mut inner = reader.nested();
    let digest = read_digest(&mut inner);
    inner.end();
    digest
}

/// RFC 3986: what is not visible ASCII is percent-encoded.
fn uri<'a>(reader: &mut Reader<'a, '_>) -> &'a str {
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
