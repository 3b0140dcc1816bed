//! What has to survive a restart, as bytes to be appended to a file.
//!
//! A file is a sequence of frames: the length of a body (4 bytes), a CRC-32 of that length and the body (4), the body.
//! A body holds entries, and is taken whole or not at all:
//!
//! | entry | of | means |
//! | --- | --- | --- |
//! | `BEGIN` | format | the first entry of a file; a description of everything follows, up to `END` |
//! | `END` | the last number of a message, of a session | from here on frames tell what changed |
//! | `MESSAGE` | number, QoS, topic, payload | entries below refer to it by its number |
//! | `SESSION` | key, length, entries of [`saved`](super::session) | the session becomes so |
//! | `GONE` | key | the session has ended |
//! | `RETAIN` | number | the message is the retained one of its topic |
//! | `FORGET` | topic | nothing is retained for it |
//! | `WILL` | number, RETAIN, QoS, topic, payload | a connection has that will |
//! | `NO_WILL` | number | it has none any more |
//!
//! Whatever changed since the last frame becomes the next one when there is nothing more to send, and one at a time is
//! given to the host. What is sent because of a change waits until the host says that its frame is durable: nothing
//! acknowledged is lost, and many changes share one write. Frames are numbered; *stage* is the number of the one that
//! is being gathered.

use super::{
    Acl, Alarm, Broker, Event, Message, SessionKey,
    acl::Rights,
    connection::LastWill,
    session::{Delivery, Session},
};
use crate::{
    Instant, Misuse, Peer,
    mqtt::{Error, QoS, topic::valid_name},
    wire::Reader,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    vec::Vec,
};
use bytes::Bytes;
use core::cmp::Reverse;

const BEGIN: u8 = 1;
const END: u8 = 2;
const MESSAGE: u8 = 3;
const SESSION: u8 = 4;
const GONE: u8 = 5;
const RETAIN: u8 = 6;
const FORGET: u8 = 7;
const WILL: u8 = 8;
const NO_WILL: u8 = 9;

/// The body of a file's first frame.
const HEAD: &[u8] = b"\x01waft broker 1";

/// Bytes of a frame before its body.
const FRAME: usize = 8;

/// How a broker's saved state was found: see [`Broker::restore`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Sessions.
    pub sessions: usize,
    /// Retained messages.
    pub retained: usize,
    /// Bytes at the end that are no whole frame, or not as they were written: a write that was cut off.
    pub torn: usize,
}

/// Appends to bytes.
pub(super) trait Put {
    fn u8(&mut self, value: u8);
    fn u16(&mut self, value: u16);
    fn u32(&mut self, value: usize);
    fn u64(&mut self, value: u64);
    /// At most 65,535 bytes.
    fn short(&mut self, text: &str);
    /// Any length a packet can have.
    fn long(&mut self, bytes: &[u8]);
}

impl Put for Vec<u8> {
    fn u8(&mut self, value: u8) {
        self.push(value);
    }

    fn u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn u32(&mut self, value: usize) {
        self.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn short(&mut self, text: &str) {
        self.u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
        self.extend_from_slice(text.as_bytes());
    }

    fn long(&mut self, bytes: &[u8]) {
        self.u32(bytes.len());
        self.extend_from_slice(bytes);
    }
}

/// Reads what [`Put`] wrote.
pub(super) trait Take<'a> {
    fn u64(&mut self) -> Option<u64>;
    /// A number that counts from 1: whoever goes on counting will not come round.
    fn number(&mut self) -> Option<u64>;
    fn short(&mut self) -> Option<&'a str>;
    /// A topic name.
    fn name(&mut self) -> Option<&'a str>;
    fn long(&mut self) -> Option<&'a [u8]>;
    fn qos(&mut self) -> Option<QoS>;
}

impl<'a> Take<'a> for Reader<'a> {
    fn u64(&mut self) -> Option<u64> {
        let (high, low) = (self.u32()?, self.u32()?);
        Some(u64::from(high).wrapping_shl(32) | u64::from(low))
    }

    fn number(&mut self) -> Option<u64> {
        self.u64().filter(|number| *number <= u64::MAX.wrapping_shr(1))
    }

    fn name(&mut self) -> Option<&'a str> {
        self.short().filter(|name| valid_name(name))
    }

    fn short(&mut self) -> Option<&'a str> {
        let len = self.u16()?;
        core::str::from_utf8(self.take(usize::from(len))?).ok()
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.take(usize::try_from(len).ok()?)
    }

    fn qos(&mut self) -> Option<QoS> {
        QoS::from_u8(self.u8()?)
    }
}

// ---- frames

const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut rest: &mut [u32] = &mut table;
    let mut n = 0_u32;
    while let Some((entry, others)) = rest.split_first_mut() {
        let (mut crc, mut bit) = (n, 0_u8);
        while bit < 8 {
            crc = crc.wrapping_shr(1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
            bit = bit.wrapping_add(1);
        }
        *entry = crc;
        n = n.wrapping_add(1);
        rest = others;
    }
    table
};

/// CRC-32 (IEEE 802.3) of pieces.
fn crc32(pieces: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in pieces.iter().copied().flatten() {
        let [low, ..] = crc.to_le_bytes();
        crc = crc.wrapping_shr(8) ^ CRC.get(usize::from(low ^ byte)).copied().unwrap_or_default();
    }
    !crc
}

/// The eight bytes that go before a body, which may be in pieces.
fn frame(pieces: &[&[u8]]) -> [u8; FRAME] {
    let len = pieces.iter().fold(0_usize, |len, piece| len.saturating_add(piece.len()));
    let len = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    let mut all = Vec::with_capacity(pieces.len().saturating_add(1));
    all.push(&len[..]);
    all.extend_from_slice(pieces);
    let [a, b, c, d] = len;
    let [e, f, g, h] = crc32(&all).to_be_bytes();
    [a, b, c, d, e, f, g, h]
}

pub(super) fn framed(body: &[u8]) -> Bytes {
    [&frame(&[body]), body].concat().into()
}

/// The next body, and what follows it.
fn next(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = file.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (body, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    (crc32(&[len, body]) == u32::from_be_bytes(*crc)).then_some((body, rest))
}

/// All of a message but its payload, which is the last of the entry.
fn message_head(message: &Message) -> Vec<u8> {
    let mut head = Vec::new();
    head.u8(MESSAGE);
    head.u64(message.serial);
    head.u8(message.qos as u8);
    head.short(&message.topic);
    head.u32(message.payload.len());
    head
}

fn put_will(body: &mut Vec<u8>, number: u64, will: &LastWill) {
    body.u8(WILL);
    body.u64(number);
    body.u8(u8::from(will.retain));
    body.u8(will.message.qos as u8);
    body.short(&will.message.topic);
    body.long(&will.message.payload);
}

// ---- gathering

/// How far recording has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stage {
    /// The frame that is being gathered.
    pub(super) current: u64,
    /// This one and all before are durable.
    pub(super) durable: u64,
}

/// What changed since the last frame, but for the sessions, which know it themselves.
#[derive(Debug, Default)]
pub(super) struct Journal {
    on: bool,
    stage: Stage,
    /// The host has this frame.
    outstanding: Option<u64>,
    /// Peers for which something waits until it is durable.
    pub(super) waiting: BTreeSet<Peer>,
    /// Bytes that wait to become a frame, about.
    gathered: usize,
    gone: Vec<SessionKey>,
    topics: BTreeSet<Arc<str>>,
    wills: Vec<u8>,
    last_will: u64,
    /// Messages up to this number are in the file if anything refers to them.
    mark: u64,
}

impl Journal {
    pub(super) fn new(on: bool) -> Self {
        let stage = Stage { current: u64::from(on), durable: 0 };
        Self { on, stage, ..Self::default() }
    }

    pub(super) const fn is_on(&self) -> bool {
        self.on
    }

    pub(super) const fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether so much waits for the host that no more should come.
    pub(super) const fn is_full(&self, max: usize) -> bool {
        self.outstanding.is_some() && self.gathered > max
    }

    /// A packet came that may change so many bytes.
    pub(super) const fn weigh(&mut self, bytes: usize) {
        self.gathered = self.gathered.saturating_add(bytes);
    }

    pub(super) fn session_gone(&mut self, key: SessionKey) {
        if self.on {
            self.gone.push(key);
        }
    }

    /// What is retained for `topic` has changed.
    pub(super) fn retained(&mut self, topic: &Arc<str>) {
        if self.on {
            self.topics.insert(topic.clone());
        }
    }

    pub(super) fn will(&mut self, will: &mut LastWill) {
        if self.on {
            self.last_will = self.last_will.wrapping_add(1);
            will.number = self.last_will;
            put_will(&mut self.wills, will.number, will);
        }
    }

    pub(super) fn no_will(&mut self, will: &LastWill) {
        if self.on {
            self.wills.u8(NO_WILL);
            self.wills.u64(will.number);
        }
    }

    /// The gathered frame goes to the host.
    fn hand_out(&mut self, mark: u64) {
        self.outstanding = Some(self.stage.current);
        self.stage.current = self.stage.current.wrapping_add(1);
        self.gathered = 0;
        self.mark = mark;
    }
}

impl Broker {
    /// The frame of all that changed, if anything did and the host has no other.
    pub(super) fn record(&mut self) -> Option<Event> {
        if !self.journal.on || self.journal.outstanding.is_some() {
            return None;
        }
        let (mut body, mut sessions, mut defined) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mark = self.journal.mark;
        let mut define = |body: &mut Vec<u8>, message: &Message| {
            if message.serial > mark && defined.insert(message.serial) {
                body.extend_from_slice(&message_head(message));
                body.extend_from_slice(&message.payload);
            }
        };
        for (key, session) in &mut self.sessions {
            let Some((changes, messages)) = session.changes() else { continue };
            for message in messages {
                define(&mut body, &message);
            }
            sessions.u8(SESSION);
            sessions.u64(*key);
            sessions.long(&changes);
        }
        let mut retained = Vec::new();
        for topic in core::mem::take(&mut self.journal.topics) {
            match self.retained.get(&topic) {
                Some(message) => {
                    define(&mut body, message);
                    retained.u8(RETAIN);
                    retained.u64(message.serial);
                }
                None => {
                    retained.u8(FORGET);
                    retained.short(&topic);
                }
            }
        }
        for key in core::mem::take(&mut self.journal.gone) {
            body.u8(GONE);
            body.u64(key);
        }
        // Sessions first: what they took out of the retained messages is found before it is replaced.
        for part in [sessions, retained, core::mem::take(&mut self.journal.wills)] {
            body.extend_from_slice(&part);
        }
        if body.is_empty() {
            // Nothing to wait for.
            self.journal.stage.durable = self.journal.stage.current;
            self.journal.stage.current = self.journal.stage.current.wrapping_add(1);
            self.journal.gathered = 0;
            self.release();
            return None;
        }
        self.journal.hand_out(self.serial);
        Some(Event::Record { bytes: framed(&body) })
    }

    /// Those who waited get their turn.
    fn release(&mut self) {
        for peer in core::mem::take(&mut self.journal.waiting) {
            self.wake(peer);
        }
    }

    /// The bytes of the last [`Event::Record`], or of [`compact`](Self::compact), are durable. What was to be sent
    /// because of them now is. Bytes that were not consumed before, of any peer, are to be offered again.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: there were none.
    pub fn recorded(&mut self, now: Instant) -> Result<(), Error> {
        self.clock.advance(now);
        self.journal.stage.durable = self.journal.outstanding.take().ok_or(Misuse::WrongState)?;
        self.release();
        Ok(())
    }

    /// All that a restart has to find, in pieces: bytes for a new file that takes the place of the old one, and to which
    /// the next [`Event::Record`] is appended. Then call [`recorded`](Self::recorded). Payloads are shared, not copied.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: not [`BrokerConfig::persistent`](super::BrokerConfig::persistent), or an
    /// [`Event::Record`] has not been answered.
    pub fn compact(&mut self) -> Result<Vec<Bytes>, Error> {
        if !self.journal.on || self.journal.outstanding.is_some() {
            return Err(Misuse::WrongState.into());
        }
        let mut pieces = alloc::vec![framed(HEAD)];
        let mut defined = BTreeSet::new();
        let mut define = |pieces: &mut Vec<Bytes>, message: &Message| {
            if defined.insert(message.serial) {
                let head = message_head(message);
                pieces.push([&frame(&[&head, &message.payload])[..], &head].concat().into());
                pieces.push(message.payload.clone());
            }
        };
        // `$SYS` topics are made anew.
        for message in self.retained.all().filter(|message| !message.is_passing()) {
            define(&mut pieces, message);
            let mut body = Vec::new();
            body.u8(RETAIN);
            body.u64(message.serial);
            pieces.push(framed(&body));
        }
        for (key, session) in &mut self.sessions {
            session.changes();
            let Some((all, messages)) = session.everything() else { continue };
            for message in messages {
                define(&mut pieces, &message);
            }
            let mut body = Vec::new();
            body.u8(SESSION);
            body.u64(*key);
            body.long(&all);
            pieces.push(framed(&body));
        }
        for will in self.connections.values().filter_map(|connection| connection.will.as_ref()) {
            let mut body = Vec::new();
            put_will(&mut body, will.number, will);
            pieces.push(framed(&body));
        }
        let mut body = Vec::new();
        body.u8(END);
        body.u64(self.serial);
        body.u64(self.last_session);
        pieces.push(framed(&body));
        self.journal.gone.clear();
        self.journal.topics.clear();
        self.journal.wills.clear();
        self.journal.hand_out(self.serial);
        Ok(pieces)
    }

    /// Takes up what a broker recorded before: the bytes of its file, none for a first start. A frame that was cut off
    /// or is damaged counts for nothing, and neither does anything behind it. Wills of connections that there were are
    /// published (§3.1.2.5), and the time after which absent clients are forgotten begins anew. Then
    /// [`compact`](Self::compact) gives the file to go on with.
    ///
    /// Where bounds are lower than they were, sessions and what waits for them are kept as they are until the clients
    /// have taken them; of the retained messages the latest are kept, as many as there may be.
    ///
    /// # Errors
    /// Nothing is taken up then. [`Misuse::WrongState`]: not
    /// [`BrokerConfig::persistent`](super::BrokerConfig::persistent), or the broker was used already.
    /// [`Misuse::OutOfRange`]: these are not bytes that a broker of this version wrote.
    pub fn restore(&mut self, now: Instant, file: &[u8]) -> Result<Restored, Error> {
        let now = self.clock.advance(now);
        let unused = self.connections.is_empty() && self.sessions.is_empty() && self.serial == 0;
        if !self.journal.on || !unused || self.journal.outstanding.is_some() {
            return Err(Misuse::WrongState.into());
        }
        let mut rest = match next(file) {
            Some((HEAD, rest)) => rest,
            // Not even its beginning was written.
            None if framed(HEAD).starts_with(file) => &[],
            _ => return Err(Misuse::OutOfRange.into()),
        };
        let mut replay = Replay::default();
        while let Some((body, behind)) = next(rest) {
            if self.replay(&mut replay, body).is_none() {
                // Whole, and yet not understood: to go on without it would lose it for good.
                self.sessions.clear();
                self.clients.clear();
                (self.serial, self.last_session) = (0, 0);
                return Err(Misuse::OutOfRange.into());
            }
            rest = behind;
        }
        let mut retained: Vec<_> = replay.retained.into_values().collect();
        retained.sort_unstable_by_key(|message| Reverse(message.serial));
        for message in retained {
            self.retained.retain(&message);
        }
        let known: Vec<SessionKey> = self.sessions.keys().copied().collect();
        for key in known {
            self.take_up(now, key);
        }
        for (number, will) in replay.wills {
            self.journal.last_will = self.journal.last_will.max(number);
            self.journal.no_will(&will);
            self.publish_will(will.message, will.retain);
        }
        Ok(Restored { sessions: self.sessions.len(), retained: self.retained.len(), torn: rest.len() })
    }

    /// A session from the file is one of an absent client.
    fn take_up(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        for (filter, qos) in session.subscribed() {
            self.subscriptions.insert(filter, key, qos);
        }
        // Not every message is recorded. What comes now is later than any that a search of before may find.
        self.serial = self.serial.max(session.searched_until());
        session.start_recording();
        // Rights that are no longer understood are none.
        let given = session.saved_acl.take().map(|text| Arc::new(Acl::parse(&text).unwrap_or_default()));
        let acl = given.or_else(|| self.config.acl.clone());
        session.rights = acl.map(|acl| Rights::new(acl, session.client_id.clone(), session.username.clone()));
        if let Some(expiry) = self.config.session_expiry {
            let at = now.after(expiry);
            session.expiry = Some(at);
            self.alarms.insert((at, Alarm::Session(key)));
        }
    }

    /// Takes in a body. None where it is not one that this version writes.
    fn replay(&mut self, replay: &mut Replay, body: &[u8]) -> Option<()> {
        let mut r = Reader::new(body);
        let mut here = Vec::new();
        while !r.is_empty() {
            match r.u8()? {
                END => {
                    self.serial = self.serial.max(r.number()?);
                    self.last_session = self.last_session.max(r.number()?);
                    replay.begun = true;
                    replay.kept.clear();
                }
                MESSAGE => {
                    let (serial, qos, topic, payload) = (r.number()?, r.qos()?, r.name()?, r.long()?);
                    let payload = Bytes::copy_from_slice(payload);
                    let message = Arc::new(Message { topic: topic.into(), payload, qos, serial });
                    self.serial = self.serial.max(serial);
                    if replay.known.insert(serial, Arc::downgrade(&message)).is_some() {
                        return None;
                    }
                    here.push(message);
                }
                SESSION => {
                    let (key, entries) = (r.number()?, r.long()?);
                    let session = self.sessions.entry(key).or_insert_with(|| Session::new("".into(), false));
                    session.replay(entries, &replay.known)?;
                    // One client, one session.
                    if *self.clients.entry(session.client_id.clone()).or_insert(key) != key {
                        return None;
                    }
                    self.last_session = self.last_session.max(key);
                }
                GONE => {
                    if let Some(session) = self.sessions.remove(&r.u64()?) {
                        self.clients.remove(&session.client_id);
                    }
                }
                RETAIN => {
                    if let Some(message) = replay.known.get(&r.u64()?).and_then(Weak::upgrade) {
                        // What is retained for the others comes behind: only all of it together keeps the bounds.
                        replay.retained.insert(message.topic.clone(), message);
                    }
                }
                FORGET => {
                    replay.retained.remove(r.short()?);
                }
                WILL => {
                    let number = r.number()?;
                    let retain = r.u8()? != 0;
                    let (qos, topic) = (r.qos()?, r.name()?.into());
                    let payload = Bytes::copy_from_slice(r.long()?);
                    let message = Message { topic, payload, qos, serial: 0 };
                    replay.wills.insert(number, LastWill { message, retain, number });
                }
                NO_WILL => {
                    replay.wills.remove(&r.u64()?);
                }
                _ => return None,
            }
        }
        if !replay.begun {
            replay.kept.append(&mut here);
        }
        // Messages that nothing refers to are gone; so are their names, from time to time.
        if replay.known.len() > replay.limit {
            replay.known.retain(|_, message| message.strong_count() > 0);
            replay.limit = replay.known.len().saturating_mul(2).max(1_024);
        }
        Some(())
    }
}

/// While a file is read.
#[derive(Default)]
struct Replay {
    known: BTreeMap<u64, Weak<Message>>,
    limit: usize,
    /// The description at the beginning of the file is over.
    begun: bool,
    /// Messages in it, which what follows refers to.
    kept: Vec<Arc<Message>>,
    retained: BTreeMap<Arc<str>, Arc<Message>>,
    wills: BTreeMap<u64, LastWill>,
}

/// Finds the messages that entries refer to.
pub(super) type Known = BTreeMap<u64, Weak<Message>>;

/// An entry's delivery: the flags are the QoS, then 4 for retained, 8 for held.
pub(super) fn delivery(known: &Known, serial: u64, flags: u8) -> Option<Option<Delivery>> {
    // What is of QoS 0 is not kept.
    let qos = QoS::from_u8(flags & 3).filter(|qos| *qos != QoS::AtMostOnce)?;
    let message = known.get(&serial).and_then(Weak::upgrade);
    Some(message.map(|message| Delivery { message, qos, retain: flags & 4 != 0 }))
}

const _: () = assert!(BEGIN == 1, "the first byte of HEAD");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_whole_and_as_it_was_written_or_it_is_none() {
        assert_eq!(crc32(&[b"1234", b"56789"]), 0xCBF4_3926);
        let frame = framed(b"body");
        assert_eq!(next(&frame), Some((&b"body"[..], &b""[..])));
        for n in 0..frame.len() {
            assert_eq!(next(&frame[..n]), None);
            for bit in 0..8 {
                let mut other = frame.to_vec();
                other[n] ^= 1 << bit;
                assert_eq!(next(&other), None);
            }
        }
    }
}
