//! Trust anchors, and how they are replaced: a table of keys that only a manifest signed by one of them can change.
//!
//! A device leaves the factory with one to [`MAX_KEYS`] keys, each with a [`Scope`]: the components whose manifests it
//! may sign. A manifest whose one component is [`KEYS`](super::manifest::KEYS) carries, as its payload, a new table, and
//! [`KeyTable::apply`] says whether it replaces the one there is:
//!
//! - it was signed by a key whose scope has the key table in it (the manifest's verifier sees to that);
//! - its epoch is higher, so that no earlier table comes back;
//! - a key that stays is what it was; one that is new, or has a new scope, has the table's epoch;
//! - it still holds the key that signed it, with the right to sign tables, so that nobody locks himself out: to replace
//!   a key, one manifest signed by the old key brings the new one, and one signed by the new key, which shows that it
//!   works, revokes the old;
//! - some key may still sign for the image `[h'00']`.
//!
//! # Bytes
//! A table is, in the payload: format 1 (one byte, 0xB1), the number of keys (one byte), two bytes of 0, the epoch (four
//! bytes); then for each key, in ascending order of the public keys, the public key (32 bytes), its scope (one byte), its
//! epoch (four bytes). Numbers are in network byte order. In flash ([`LEN`] bytes) it is followed by bytes of 0 and, at
//! the end, the CRC-32 of what is before that.

use super::cose::key_id;
use super::manifest::{Component, Key};
use super::refusal::Refusal;
use crate::crc::crc32;
use crate::wire::{Reader, Writer, copy};

/// The most keys in a table.
pub const MAX_KEYS: usize = 4;

/// Bytes of a table in flash: a multiple of every program unit up to 64 bytes that is a power of two.
pub const LEN: usize = 192;

/// The most bytes of a table in a payload.
pub const PAYLOAD: usize = HEAD + MAX_KEYS * ENTRY;

const FORMAT: u8 = 0xB1;
const MAX: u8 = MAX_KEYS as u8;
const HEAD: usize = 8;
const ENTRY: usize = 37;
/// What stands in the places of a table that are free.
const NONE: Key = Key { id: [0; 8], public: [0; 32], scope: Scope(0), epoch: 0 };
/// Bytes before the CRC.
const BODY: usize = LEN - 4;

/// The components for which a key may sign: one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scope(pub u8);

impl Scope {
    /// All images, and the key table.
    pub const ALL: Self = Self(0xff);
    /// The firmware, component `[h'00']`, with its list of chunk digests.
    pub const FIRMWARE: Self = Self(1);
    /// The key table.
    pub const KEYS: Self = Self(0x80);

    /// Whether it has that component in it.
    #[must_use]
    pub const fn has(self, component: Component) -> bool {
        let bit = match component {
            Component::Image(n) | Component::Chunks(n) => 1_u8.wrapping_shl(n as u32),
            Component::Keys => Self::KEYS.0,
        };
        self.0 & bit != 0
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A table of keys, with its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTable {
    keys: [Key; MAX_KEYS],
    len: u8,
    epoch: u32,
}

impl KeyTable {
    const EMPTY: Self = Self { keys: [NONE; MAX_KEYS], len: 0, epoch: 0 };

    /// The table that a device leaves the factory with: epoch 0. `None` where there are none or more than
    /// [`MAX_KEYS`], or one twice.
    #[must_use]
    pub fn factory(keys: &[Key]) -> Option<Self> {
        Self::of(0, keys)
    }

    /// A table with that epoch, of these keys in any order. `None` as for [`factory`](Self::factory).
    #[must_use]
    pub fn of(epoch: u32, keys: &[Key]) -> Option<Self> {
        let mut table = Some(Self { len: u8::try_from(keys.len()).ok()?, epoch, ..Self::EMPTY });
        let places = table.as_mut()?.keys.get_mut(..keys.len()).filter(|places| !places.is_empty())?;
        for key in keys {
            // Its place is behind those that are below it.
            let mut place = 0_usize;
            let mut twins = 0_usize;
            for other in keys {
                place = place.wrapping_add((other.public < key.public).into());
                twins = twins.wrapping_add((other.public == key.public).into());
            }
            *places.get_mut(place).filter(|_| twins == 1)? = *key;
        }
        table
    }

    /// Its keys, in ascending order of the public keys.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        self.keys.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Its epoch: 0 in the factory, higher with each table.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`Refusal::KeyTable`]: it is none.
    pub fn decode(payload: &[u8]) -> Result<Self, Refusal> {
        Encoded::whole(payload).map(|table| table.decoded())
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.array([FORMAT, self.len, 0, 0]);
        writer.u32(self.epoch);
        for Key { public, scope, epoch, .. } in self.keys() {
            writer.bytes(public);
            writer.u8(scope.0);
            writer.u32(*epoch);
        }
    }

    /// Writes it as a payload to `out`; [`PAYLOAD`] bytes are enough.
    ///
    /// # Errors
    /// The bytes that it takes, where `out` is shorter.
    pub fn encode<'o>(&self, out: &'o mut [u8]) -> Result<&'o [u8], usize> {
        let mut writer = Writer::new(out);
        self.write(&mut writer);
        writer.finish()
    }

    /// Its bytes in flash.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        self.write(&mut Writer::new(&mut bytes));
        seal(&mut bytes);
        bytes
    }

    /// Reads what is in flash. `None` for anything that is not a table, whole and undamaged.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; LEN]) -> Option<Self> {
        Encoded::stored(bytes).map(|table| table.decoded())
    }

    /// Whether it is the one that is in that payload.
    pub(crate) fn is(&self, payload: &[u8]) -> bool {
        // The identifier of a key says no more than the key.
        Encoded::whole(payload).is_ok_and(|new| {
            let keys = self.keys().iter().map(|key| (&key.public, key.scope, key.epoch));
            new.epoch == self.epoch && new.entries.iter().map(Encoded::parts).eq(keys)
        })
    }

    /// Puts the table in its place.
    #[inline(never)]
    pub(crate) fn replace(place: &mut Option<(Self, u8)>, page: u8, new: &Encoded<'_>) {
        let (table, _) = place.insert((Self::EMPTY, page));
        new.write(table);
    }

    /// The table that a verified manifest with the payload `payload`, signed by the key `signer`, puts in this one's
    /// place. The very table that is in use already is given back as it is.
    ///
    /// # Errors
    /// [`Refusal::KeyTable`]: the payload is none. [`Refusal::KeyEpoch`]: it is not newer, or a key that stays was
    /// changed. [`Refusal::KeyRevokesItself`]: it has not the key `signer`, or that may no longer sign tables.
    /// [`Refusal::KeyNoneLeft`]: nobody could sign for the firmware any more.
    pub fn apply(&self, payload: &[u8], signer: &[u8; 8]) -> Result<Self, Refusal> {
        may_replace(self.keys(), self.epoch, payload, signer)?;
        Self::decode(payload)
    }
}

/// Whether the table with the payload `payload`, from a manifest that was signed by the key `signer`, may take the place of
/// the one of that epoch with these keys: [`KeyTable::apply`], but with no table made of it.
///
/// # Errors
/// As there.
pub(crate) fn may_replace(keys: &[Key], epoch: u32, payload: &[u8], signer: &[u8; 8]) -> Result<(), Refusal> {
    let new = Encoded::whole(payload)?;
    let mut same = new.epoch == epoch && new.entries.len() == keys.len();
    let (mut stay, mut signs, mut images) = (true, false, false);
    for key in new.entries.iter().map(Encoded::key) {
        let kept = keys.contains(&key);
        same &= kept;
        stay &= kept || key.epoch == new.epoch;
        signs |= key.id == *signer && key.scope.has(Component::Keys);
        images |= key.scope.has(Component::Image(0));
    }
    if same {
        return Ok(());
    }
    if new.epoch <= epoch || !stay {
        return Err(Refusal::KeyEpoch);
    }
    if !signs {
        return Err(Refusal::KeyRevokesItself);
    }
    if images { Ok(()) } else { Err(Refusal::KeyNoneLeft) }
}

/// Makes of a payload, which has to be that of a table, its bytes in flash.
///
/// # Errors
/// [`Refusal::KeyTable`]: it is none.
pub(crate) fn store(payload: &[u8], place: &mut [u8; LEN]) -> Result<(), Refusal> {
    Encoded::whole(payload)?;
    place.fill(0);
    copy(place, payload);
    seal(place);
    Ok(())
}

/// Writes the CRC-32 of what is before it.
fn seal(bytes: &mut [u8; LEN]) {
    let crc = bytes.first_chunk::<BODY>().map(|body| crc32(body));
    if let (Some(crc), Some(place)) = (crc, bytes.last_chunk_mut()) {
        *place = crc.to_be_bytes();
    }
}

/// A table where it is encoded.
pub(crate) struct Encoded<'a> {
    epoch: u32,
    entries: &'a [[u8; ENTRY]],
}

impl<'a> Encoded<'a> {
    /// The table that is all of a payload.
    pub(crate) fn whole(payload: &'a [u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(payload);
        Self::read(&mut reader).filter(|_| reader.is_empty()).ok_or(Refusal::KeyTable)
    }

    /// The table that is in flash; `None` for anything that is not one, whole and undamaged.
    pub(crate) fn stored(bytes: &'a [u8; LEN]) -> Option<Self> {
        let (body, crc) = bytes.split_first_chunk::<BODY>()?;
        let mut reader = Reader::new(body);
        let table = Self::read(&mut reader)?;
        (Reader::new(crc).u32()? == crc32(body) && reader.rest().iter().all(|byte| *byte == 0)).then_some(table)
    }

    /// Its epoch.
    pub(crate) const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Reads a table; `None` where there is none.
    #[inline(never)]
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let [FORMAT, count @ 1..=MAX, 0, 0] = reader.array()? else { return None };
        let epoch = reader.u32()?;
        let table = Self { epoch, entries: reader.take(usize::from(count).wrapping_mul(ENTRY))?.as_chunks().0 };
        let mut before: Option<&[u8; 32]> = None;
        for entry in table.entries {
            let (public, scope, epoch) = Self::parts(entry);
            if scope.0 == 0 || epoch > table.epoch || before >= Some(public) {
                return None;
            }
            before = Some(public);
        }
        Some(table)
    }

    /// The key of an entry.
    fn key(entry: &[u8; ENTRY]) -> Key {
        let (public, scope, epoch) = Self::parts(entry);
        Key { id: key_id(public), public: *public, scope, epoch }
    }

    /// Its public key, scope and epoch.
    fn parts(entry: &[u8; ENTRY]) -> (&[u8; 32], Scope, u32) {
        match (entry.first_chunk(), entry.last_chunk::<5>()) {
            (Some(public), Some([scope, epoch @ ..])) => (public, Scope(*scope), u32::from_be_bytes(*epoch)),
            _ => (&NONE.public, NONE.scope, NONE.epoch),
        }
    }

    /// The table itself.
    fn decoded(&self) -> KeyTable {
        let mut table = KeyTable::EMPTY;
        self.write(&mut table);
        table
    }

    /// Writes it in the place of an empty one.
    fn write(&self, table: &mut KeyTable) {
        table.len = self.entries.len() as u8;
        table.epoch = self.epoch;
        for (place, entry) in table.keys.iter_mut().zip(self.entries) {
            *place = Self::key(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn key(n: u8) -> Key {
        Key::new([n; 32])
    }

    fn table(epoch: u32, keys: &[Key]) -> KeyTable {
        KeyTable::of(epoch, keys).unwrap()
    }

    fn payload(table: &KeyTable) -> Vec<u8> {
        let mut out = [0; PAYLOAD];
        table.encode(&mut out).unwrap().to_vec()
    }

    fn apply(old: &KeyTable, new: &KeyTable, signer: Key) -> Result<KeyTable, Refusal> {
        old.apply(&payload(new), &signer.id)
    }

    #[test]
    fn a_table_survives_the_payload_and_the_flash() {
        for count in 1..=4 {
            let keys: Vec<_> = (0..count).map(|n| Key { epoch: 3, ..key(9 - n) }).collect();
            let table = table(7, &keys);
            assert_eq!(KeyTable::decode(&payload(&table)), Ok(table));
            assert_eq!(KeyTable::from_bytes(&table.to_bytes()), Some(table));
            assert_eq!(table.keys().len(), keys.len());
            assert!(keys.iter().all(|key| table.keys().contains(key)));
        }
        assert_eq!(KeyTable::of(0, &[]), None);
        assert_eq!(KeyTable::of(0, &[key(1), key(2), key(1)]), None);
        assert_eq!(KeyTable::of(0, &[1, 2, 3, 4, 5].map(key)), None);
    }

    #[test]
    fn a_payload_is_compared_and_stored_as_the_table_that_it_is() {
        for count in 1..=4 {
            let keys: Vec<_> = (0..count).map(|n| Key { epoch: 3, ..key(9 - n) }).collect();
            let new = table(7, &keys);
            let mut flash = [0xAA; LEN];
            assert_eq!(store(&payload(&new), &mut flash), Ok(()));
            assert_eq!(flash, new.to_bytes());
            assert!(new.is(&payload(&new)));
            let narrow = Key { scope: Scope::KEYS, ..keys[0] };
            let older = Key { epoch: 2, ..keys[0] };
            let other = Key { epoch: 3, ..key(20) };
            for other in [
                table(8, &keys),
                table(7, &[&[other], &keys[1..]].concat()),
                table(7, &[&[narrow], &keys[1..]].concat()),
                table(7, &[&[older], &keys[1..]].concat()),
                table(7, &[key(20)]),
            ] {
                assert!(!new.is(&payload(&other)) && !other.is(&payload(&new)), "{other:?}");
            }
            // One that is in use has nothing left when another takes its place.
            let mut place = Some((table(6, &[1, 2, 3, 4].map(key)), 0));
            KeyTable::replace(&mut place, 1, &Encoded::whole(&payload(&new)).unwrap());
            assert_eq!(place, Some((new, 1)));
        }
        let mut flash = [0xAA; LEN];
        assert_eq!(store(b"no table", &mut flash), Err(Refusal::KeyTable));
        assert_eq!(flash, [0xAA; LEN]);
    }

    #[test]
    fn every_prefix_and_every_flipped_bit_in_flash_is_noticed() {
        let bytes = table(7, &[key(1), key(2)]).to_bytes();
        for cut in 0..LEN {
            let mut torn = [0xFF; LEN];
            torn[..cut].copy_from_slice(&bytes[..cut]);
            assert_eq!(KeyTable::from_bytes(&torn), None, "cut at {cut}");
        }
        for bit in 0..LEN * 8 {
            let mut torn = bytes;
            torn[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(KeyTable::from_bytes(&torn), None, "bit {bit}");
        }
        assert_eq!(KeyTable::from_bytes(&[0; LEN]), None);
        assert_eq!(KeyTable::from_bytes(&[0xFF; LEN]), None);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let good = payload(&table(7, &[key(1), key(2)]));
        let bad = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            assert_eq!(KeyTable::decode(&bytes), Err(Refusal::KeyTable), "{bytes:02x?}");
        };
        for len in 0..good.len() {
            bad(&|bytes| bytes.truncate(len));
        }
        bad(&|bytes| bytes.push(0));
        bad(&|bytes| bytes[0] = 0xB2);
        bad(&|bytes| bytes[1] = 0);
        bad(&|bytes| bytes[1] = 5);
        bad(&|bytes| bytes[3] = 1);
        bad(&|bytes| bytes[8..40].fill(2));
        bad(&|bytes| bytes[8..40].fill(3));
        bad(&|bytes| bytes[40] = 0);
        bad(&|bytes| bytes[44] = 8);
    }

    #[test]
    fn a_key_is_replaced_in_two_steps_and_in_no_single_one() {
        let (old, new) = (key(1), Key { epoch: 1, ..key(2) });
        let first = table(0, &[old]);
        // Straight to the new key: the old one may not sign that, and the new one is not known.
        assert_eq!(apply(&first, &table(1, &[new]), old), Err(Refusal::KeyRevokesItself));
        let both = apply(&first, &table(1, &[old, new]), old).unwrap();
        let second = apply(&both, &table(2, &[new]), new).unwrap();
        assert_eq!(second.keys(), [new]);
        // Neither of the former tables comes back.
        for before in [&first, &both] {
            assert_eq!(apply(&second, before, new), Err(Refusal::KeyEpoch));
        }
        assert_eq!(apply(&second, &second, new), Ok(second), "the same again is welcome");
    }

    #[test]
    fn a_key_that_stays_is_what_it_was() {
        let (a, b) = (key(1), Key { scope: Scope::FIRMWARE, ..key(2) });
        let now = table(0, &[a, b]);
        let wider = Key { scope: Scope::ALL, ..b };
        assert_eq!(apply(&now, &table(1, &[a, wider]), a), Err(Refusal::KeyEpoch));
        assert!(apply(&now, &table(1, &[a, Key { epoch: 1, ..wider }]), a).is_ok());
        assert_eq!(apply(&now, &table(5, &[a, Key { epoch: 4, ..key(3) }]), a), Err(Refusal::KeyEpoch));
        assert_eq!(apply(&now, &table(0, &[a]), a), Err(Refusal::KeyEpoch));
    }

    #[test]
    fn somebody_can_always_sign_the_next_image_and_the_next_table() {
        let keys = Key { scope: Scope::KEYS, ..key(1) };
        let firmware = Key { scope: Scope::FIRMWARE, ..key(2) };
        let now = table(0, &[keys, firmware]);
        assert_eq!(apply(&now, &table(1, &[keys]), keys), Err(Refusal::KeyNoneLeft));
        assert_eq!(apply(&now, &table(1, &[firmware]), keys), Err(Refusal::KeyRevokesItself));
        let weaker = Key { scope: Scope::FIRMWARE, epoch: 1, ..keys };
        assert_eq!(apply(&now, &table(1, &[weaker, firmware]), keys), Err(Refusal::KeyRevokesItself));
        let other = Key { scope: Scope::FIRMWARE, epoch: 1, ..key(3) };
        assert_eq!(apply(&now, &table(1, &[keys, other]), keys).unwrap().keys().len(), 2);
    }

    #[test]
    fn a_scope_has_the_components_of_its_bits() {
        assert!(Scope::ALL.has(Component::Keys) && Scope::ALL.has(Component::Image(3)));
        assert!(Scope::FIRMWARE.has(Component::Image(0)) && Scope::FIRMWARE.has(Component::Chunks(0)));
        assert!(!Scope::FIRMWARE.has(Component::Image(1)) && !Scope::FIRMWARE.has(Component::Keys));
        assert!(!Scope::KEYS.has(Component::Image(0)));
        assert_eq!(Scope::KEYS.and(Scope::FIRMWARE), Scope(0x81));
    }
}
