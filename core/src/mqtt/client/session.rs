//! The session as bytes: what a device writes to flash so that a reboot or a power cut loses no message and delivers
//! none of QoS 2 twice.
//!
//! [`Client::export`] gives, at any moment, a **record** of what the standard calls session state (§3.1.2.4);
//! [`Client::import`] makes a new client go on from there. When the power may fail, three rules make QoS 2 exactly-once:
//!
//! 1. **Write before you send.** After commands and input, and before the bytes that [`Client::poll_output`] gives go to
//!    the socket: where [`Client::is_exported_in`] says that the last record is out of date, write a new one.
//! 2. **Write what you made of it in the same record.** A record carries a *note* of yours: how many of your messages
//!    you have published, what the received ones led to. Both take effect at once, or neither does. (An effect elsewhere
//!    that is the same when repeated, such as a chunk of firmware written at its offset, needs no note.)
//! 3. **Never overwrite the newest record.** [`Journal`] says where the next one goes, in two regions of flash, so that
//!    a write cut off at any byte leaves the one before; and finds the newest one after a reboot.
//!
//! ```
//! use waft::mqtt::client::{Client, Config, InFlight, session::Journal};
//! # let flash = [[0xFF; 256], [0xFF; 256]];
//! # let (mut arena, mut table) = ([0; 256], [InFlight::EMPTY; 4]);
//! # fn erase(_: usize) {}
//! # fn write(_: usize, _: usize, _: &[u8]) {}
//! let mut client = Client::new(Config::default(), &mut arena, &mut table);
//! // At the start: what was.
//! let (mut journal, newest) = Journal::open([&flash[0], &flash[1]], 4);
//! if let Some(record) = newest {
//!     client.import(record.as_bytes())?;
//! }
//! // Then, whenever something is to be sent:
//! let (mut record, note) = ([0; 128], b"3 published");
//! let place = journal.place(client.export_len(note.len()))?;
//! let len = client.export(place.sequence, note, &mut record)?;
//! if place.erase {
//!     erase(place.page);
//! }
//! write(place.page, place.offset, &record[..len]);
//! # Ok::<(), waft::mqtt::Error>(())
//! ```
//!
//! # What is in it
//! Of messages from us: those of QoS 1 and 2 that are not acknowledged, and PUBREL of those whose PUBREC came. Of
//! messages to us: the identifiers of those of QoS 2 that were acknowledged, until PUBREL comes. SUBSCRIBE and
//! UNSUBSCRIBE without their answer. A message that the application had not acknowledged ([`Config::manual_ack`]) is not in
//! it: the server sends it again. Nothing is, while the session is a clean one, as none of it would be used again.
//!
//! ```text
//! 0   4  "wMS" and the version, 1
//! 4   4  length of the record
//! 8   4  sequence number
//! 12  2  the packet identifier to try next
//! 14  2  length of the note
//! 16     note
//!        packets, in the order in which they began:
//!          3x …        PUBLISH as it is sent again, with DUP
//!          F0 3x …     the same up to its payload, which is asked for again (`publish_streamed`)
//!          62 02 id    PUBREL
//!          50 02 id    PUBREC of an identifier that is not to be told again
//!          82 …, A2 …  SUBSCRIBE, UNSUBSCRIBE
//!     4  CRC-32 of all before
//! ```
//! Integers are in network byte order. A message takes its packet and at most one byte; what is left of a message whose
//! packet is not needed any more takes four.

mod journal;
pub use journal::{Journal, Place};

#[cfg(doc)]
use super::Config;
use super::{
    Client, Due, Error, InFlight, Misuse,
    flow::Step,
    output::stream,
    slots::{NOWHERE, Side},
};
use crate::{
    Capacity,
    crc::crc32,
    mqtt::{
        PacketId,
        packet::{Decoded, Filters, Packet, decode_from_server},
    },
    wire::{Reader, Writer, copy},
};

/// What a record begins with; the last byte is the version.
const MAGIC: [u8; 4] = *b"wMS\x01";
/// Bytes before the note.
const HEAD: usize = 16;
/// Bytes of the checksum.
const CRC: usize = 4;
/// Stands before a PUBLISH whose payload is not here. No packet begins so.
const STREAMED: u8 = 0xF0;

/// A session as [`Client::export`] wrote it, whole and undamaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'s> {
    bytes: &'s [u8],
    /// The number given to [`Client::export`].
    pub sequence: u32,
    /// The application's bytes in it.
    pub note: &'s [u8],
    next_id: PacketId,
    packets: &'s [u8],
}

impl<'s> Record<'s> {
    /// The record at the front of `bytes`; more may follow.
    ///
    /// # Errors
    /// [`Misuse::InvalidSession`]: there is none, it is damaged, or of a version not known here.
    pub fn read(bytes: &'s [u8]) -> Result<Self, Misuse> {
        match Self::parse(bytes) {
            Some((record, crc)) if crc32(record.body()) == crc => Ok(record),
            _ => Err(Misuse::InvalidSession),
        }
    }

    /// Its bytes, for [`Client::import`].
    #[must_use]
    pub const fn as_bytes(&self) -> &'s [u8] {
        self.bytes
    }

    /// All but the checksum.
    fn body(&self) -> &'s [u8] {
        self.bytes.get(..self.bytes.len().saturating_sub(CRC)).unwrap_or(&[])
    }

    /// What could be one, and the checksum it has.
    fn parse(bytes: &'s [u8]) -> Option<(Self, u32)> {
        let mut reader = Reader::new(bytes);
        if reader.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let len = usize::try_from(reader.u32()?).ok()?;
        let (body, crc) = bytes.get(..len)?.split_at_checked(len.checked_sub(CRC)?)?;
        let mut reader = Reader::new(body.get(8..)?);
        let sequence = reader.u32()?;
        let next_id = PacketId::new(reader.u16()?)?;
        let note_len = reader.u16()?;
        let note = reader.take(note_len.into())?;
        let packets = reader.rest();
        Some((Self { bytes: bytes.get(..len)?, sequence, note, next_id, packets }, Reader::new(crc).u32()?))
    }
}

impl Client<'_> {
    /// The session as bytes, into `out`; how many there are. `sequence` and `note` are the application's: the number
    /// tells newer records from older ones ([`Place::sequence`]; 0 does where nothing is compared), the note comes back
    /// from [`Client::import`]. At any moment, and without a change to the client. See [the module](self) for when.
    ///
    /// # Errors
    /// [`Capacity::Buffer`]: `out` is shorter than [`Client::export_len`]. [`Misuse::OutOfRange`]: the note is longer
    /// than 65,535 bytes.
    pub fn export(&self, sequence: u32, note: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let note_len = u16::try_from(note.len()).map_err(|_| Misuse::OutOfRange)?;
        let len = self.export_len(note.len());
        let size = u32::try_from(len).map_err(|_| Capacity::Buffer)?;
        let mut writer = Writer::new(out.get_mut(..len).ok_or(Capacity::Buffer)?);
        writer.bytes(&MAGIC);
        writer.u32(size);
        writer.u32(sequence);
        writer.u16(self.last_id.map_or(PacketId::FIRST, PacketId::next).get());
        writer.u16(note_len);
        writer.bytes(note);
        self.each_part(&mut |part| writer.bytes(part));
        if let Some((body, place)) = out.get_mut(..len).and_then(<[u8]>::split_last_chunk_mut::<CRC>) {
            *place = crc32(body).to_be_bytes();
        }
        Ok(len)
    }

    /// How many bytes [`Client::export`] gives now, with a note of `note` bytes.
    #[must_use]
    pub fn export_len(&self, note: usize) -> usize {
        let mut len = note.saturating_add(HEAD).saturating_add(CRC);
        self.each_part(&mut |part| len = len.saturating_add(part.len()));
        len
    }

    /// Whether the session in `record` is the one there is now, so that no new record is needed before something is sent.
    /// `false` where that is no record; its checksum is not looked at.
    #[must_use]
    pub fn is_exported_in(&self, record: &[u8]) -> bool {
        let Some(mut left) = Record::parse(record).map(|(record, _)| record.packets) else { return false };
        let mut same = true;
        self.each_part(&mut |part| match left.strip_prefix(part) {
            Some(rest) => left = rest,
            None => same = false,
        });
        same && left.is_empty()
    }

    /// Goes on with the session that [`Client::export`] wrote: after the next [`Client::connect`] without
    /// [`clean_session`](crate::mqtt::Connect::clean_session) what was not acknowledged is sent again, in order and under
    /// the identifiers it had, and [`Event::Acknowledged`](super::Event) tells of it. More bytes may follow the record.
    ///
    /// # Errors
    /// The client has no session then; with [`Misuse::WrongState`] (there is a connection) it keeps the one it has.
    /// [`Misuse::InvalidSession`]: this is no record. [`Capacity::InFlight`], [`Capacity::Arena`]: the table or the arena is smaller
    /// than that of the client that wrote it.
    pub fn import<'s>(&mut self, bytes: &'s [u8]) -> Result<Record<'s>, Error> {
        if !self.is_closed() {
            return Err(Misuse::WrongState.into());
        }
        self.slots.clear();
        let record = Record::read(bytes)?;
        self.last_id = PacketId::new(record.next_id.get().wrapping_sub(1));
        self.has_session = true;
        let mut packets = record.packets;
        while !packets.is_empty() {
            match self.take_back(packets) {
                Ok(len) => packets = packets.get(len..).unwrap_or(&[]),
                Err(error) => {
                    self.slots.clear();
                    return Err(error);
                }
            }
        }
        Ok(record)
    }

    /// The packets of a record, in parts.
    fn each_part(&self, put: &mut dyn FnMut(&[u8])) {
        let slots = if self.has_session { self.slots.as_slice() } else { &[] };
        for (index, slot) in slots.iter().enumerate() {
            let Some(id) = slot.id else { continue };
            let packet = || self.slots.packet(index);
            match slot.step {
                Step::Message1 | Step::Message2 => {
                    let mut packet = packet();
                    if slot.is_streamed() {
                        put(&[STREAMED]);
                        if let Ok(Decoded::Packet { len, .. }) = decode_from_server(packet, u32::MAX) {
                            packet = packet.get(..len).unwrap_or(&[]);
                        }
                    }
                    if let Some((first, rest)) = packet.split_first() {
                        // By the time it is read, it may have been sent ([MQTT-3.3.1-1]).
                        put(&[first | 0x08]);
                        put(rest);
                    }
                }
                Step::Subscribe | Step::Unsubscribe => put(packet()),
                Step::Release | Step::PubRec | Step::Known => {
                    let [high, low] = id.get().to_be_bytes();
                    put(&[if slot.step == Step::Release { 0x62 } else { 0x50 }, 2, high, low]);
                }
                _ => {}
            }
        }
    }

    /// Takes in the packet at the front of some of a record; how long it is.
    fn take_back(&mut self, packets: &[u8]) -> Result<usize, Error> {
        let (mark, streamed) = if packets.first() == Some(&STREAMED) { (1, true) } else { (0, false) };
        let bytes = packets.get(mark..).unwrap_or(&[]);
        let (mut slot, packet, window) = read_packet(bytes, streamed).ok_or(Misuse::InvalidSession)?;
        let side = if slot.step.is_ours() { Side::Ours } else { Side::Theirs };
        if slot.id.is_none() || self.slots.find(slot.id, side) != NOWHERE {
            return Err(Misuse::InvalidSession.into());
        }
        if slot.step.is_kept() {
            let len = packet.len().saturating_add(window.min(self.window.max(1).into()));
            slot.len = u32::try_from(len).map_err(|_| Capacity::Arena)?;
            let end = self.slots.kept.saturating_add(len);
            copy(self.slots.memory.get_mut(self.slots.kept..end).ok_or(Capacity::Arena)?, packet);
        }
        self.stir();
        if slot.is_streamed() {
            self.stream = Some(stream);
        }
        *self.slots.push(slot.id, slot.step, slot.due).ok_or(Capacity::InFlight)? = slot;
        self.slots.kept = self.slots.kept.wrapping_add(slot.len());
        Ok(mark.saturating_add(packet.len()))
    }
}

/// The packet at the front of `bytes`: its place in the table, its bytes, and how much payload is missing.
fn read_packet(bytes: &[u8], streamed: bool) -> Option<(InFlight, &[u8], usize)> {
    let first = *bytes.first()?;
    if first == 0x82 || first == 0xA2 {
        let (step, packet, id, filters) = read_filters(bytes, first == 0x82)?;
        let slot = InFlight { step, due: Due::Yes, id: Some(id), more: filters, ..InFlight::EMPTY };
        return (!streamed).then_some((slot, packet, 0));
    }
    let Ok(Decoded::Packet { packet, len }) = decode_from_server(bytes, u32::MAX) else { return None };
    let (step, id, len, missing) = match packet {
        Packet::Publish(publish) => {
            let step = if publish.qos as u8 == 1 { Step::Message1 } else { Step::Message2 };
            let payload = usize::try_from(publish.payload_len).ok()?;
            let (here, missing) = if streamed { (0, payload) } else { (payload, 0) };
            (step, publish.id?, len.checked_add(here)?, missing)
        }
        Packet::PubRel(id) => (Step::Release, id, len, 0),
        Packet::PubRec(id) => (Step::Known, id, len, 0),
        _ => return None,
    };
    if streamed && !step.is_kept() {
        return None;
    }
    let due = if step.is_ours() { Due::Yes } else { Due::No };
    let slot = InFlight { step, due, more: streamed.into(), id: Some(id), ..InFlight::EMPTY };
    Some((slot, bytes.get(..len)?, missing))
}

/// A SUBSCRIBE or UNSUBSCRIBE, its identifier, and how many filters it has. A server's packets have a decoder in every
/// client; these are read here, so that the one of a client's packets stays out.
fn read_filters(bytes: &[u8], subscribe: bool) -> Option<(Step, &[u8], PacketId, u16)> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    let mut remaining = 0_usize;
    for shift in [0_u32, 7, 14, 21] {
        let byte = reader.u8()?;
        remaining |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let len = bytes.len().checked_sub(reader.len())?.checked_add(remaining)?;
    let mut body = Reader::new(reader.take(remaining)?);
    let id = PacketId::new(body.u16()?)?;
    let mut filters = Filters::from_parts(body.rest(), subscribe);
    let mut count = 0_u16;
    while filters.next().is_some() {
        count = count.checked_add(1)?;
    }
    let step = if subscribe { Step::Subscribe } else { Step::Unsubscribe };
    (count != 0 && filters.as_bytes().is_empty()).then_some((step, bytes.get(..len)?, id, count))
}
