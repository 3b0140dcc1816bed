//! A session as entries of the [journal](super::super::journal): what changed, and all of it.
//!
//! | entry | of | means |
//! | --- | --- | --- |
//! | `OPEN` | client identifier | the session begins |
//! | `RIGHTS` | user name, rights | as the client connected last; rights only where the host gave them |
//! | `SUBSCRIBE` | filter, QoS, number of its search, last message it may find | |
//! | `UNSUBSCRIBE` | filter | |
//! | `SEARCHED` | number of a search, topic | it is over, or has come to this topic |
//! | `QUEUE` | message, flags, number of the search if it was retained | it waits, in `queue` or in `held` |
//! | `LINE_UP` | | the first of `held` goes to the end of `queue` |
//! | `SEND` | packet identifier | the first of `queue` goes to the end of `in_flight` |
//! | `PUBACK`, `PUBREC`, `PUBCOMP` | packet identifier | the client sent it |
//! | `RECEIVE`, `RELEASE` | packet identifier | a message of QoS 2 came; its PUBREL did |

use super::{
    super::{
        Message,
        acl::Rights,
        journal::{Known, Put, Take, delivery},
        retained::Walk,
    },
    Delivery, Flight, Session, Subscription,
};
use crate::{
    mqtt::{PacketId, QoS, topic::valid_filter},
    wire::Reader,
};
use alloc::{string::String, sync::Arc, vec::Vec};

const OPEN: u8 = 1;
const RIGHTS: u8 = 2;
const SUBSCRIBE: u8 = 3;
const UNSUBSCRIBE: u8 = 4;
const SEARCHED: u8 = 5;
const QUEUE: u8 = 6;
const LINE_UP: u8 = 7;
const SEND: u8 = 8;
pub(super) const PUBACK: u8 = 9;
pub(super) const PUBREC: u8 = 10;
pub(super) const PUBCOMP: u8 = 11;
pub(super) const RECEIVE: u8 = 12;
pub(super) const RELEASE: u8 = 13;

const RETAINED: u8 = 4;
const HELD: u8 = 8;

/// The changes of a session since they were last asked for.
#[derive(Debug, Default)]
pub(super) struct Changes {
    entries: Vec<u8>,
    /// What they refer to.
    messages: Vec<Arc<Message>>,
}

impl Changes {
    pub(super) fn subscribe(&mut self, filter: &str, qos: QoS, walk: u64, until: u64) {
        self.entries.u8(SUBSCRIBE);
        self.entries.short(filter);
        self.entries.u8(qos as u8);
        self.entries.u64(walk);
        self.entries.u64(until);
    }

    pub(super) fn unsubscribe(&mut self, filter: &str) {
        self.entries.u8(UNSUBSCRIBE);
        self.entries.short(filter);
    }

    pub(super) fn searched(&mut self, walk: u64) {
        self.entries.u8(SEARCHED);
        self.entries.u64(walk);
        self.entries.u8(0);
    }

    /// A message of QoS 1 or 2 waits; others are not kept.
    pub(super) fn queue(&mut self, delivery: &Delivery, held: bool, walk: u64) {
        if delivery.qos == QoS::AtMostOnce {
            return;
        }
        self.messages.push(delivery.message.clone());
        self.entries.u8(QUEUE);
        self.entries.u64(delivery.message.serial);
        let flag = |set, flag| if set { flag } else { 0 };
        self.entries.u8(delivery.qos as u8 | flag(delivery.retain, RETAINED) | flag(held, HELD));
        if delivery.retain {
            self.entries.u64(walk);
        }
    }

    pub(super) fn line_up(&mut self, delivery: &Delivery) {
        if delivery.qos != QoS::AtMostOnce {
            self.entries.u8(LINE_UP);
        }
    }

    pub(super) fn send(&mut self, id: PacketId) {
        self.id(SEND, id);
    }

    pub(super) fn id(&mut self, entry: u8, id: PacketId) {
        self.entries.u8(entry);
        self.entries.u16(id.get());
    }

    fn open(&mut self, client_id: &str) {
        self.entries.u8(OPEN);
        self.entries.short(client_id);
    }

    fn rights(&mut self, username: Option<&str>, acl: Option<&str>) {
        self.entries.u8(RIGHTS);
        self.entries.u8(u8::from(username.is_some()));
        self.entries.short(username.unwrap_or_default());
        self.entries.u8(u8::from(acl.is_some()));
        self.entries.long(acl.unwrap_or_default().as_bytes());
    }

    fn take(&mut self) -> Option<(Vec<u8>, Vec<Arc<Message>>)> {
        let Self { entries, messages } = core::mem::take(self);
        (!entries.is_empty()).then_some((entries, messages))
    }
}

impl Session {
    /// The journal keeps this session from here on; what it is so far is known to it.
    pub(in super::super) fn start_recording(&mut self) {
        self.changes = Some(Changes::default());
    }

    /// The session begins, and the journal keeps it.
    pub(in super::super) fn record_open(&mut self) {
        let mut changes = Changes::default();
        changes.open(&self.client_id);
        self.changes = Some(changes);
    }

    /// Who connects, and what it may do from now on.
    pub(in super::super) fn set_rights(&mut self, username: Option<Arc<str>>, rights: Option<Rights>, given: bool) {
        let same = self.username == username && !self.rights_given && !given;
        self.username = username;
        self.rights = rights;
        self.rights_given = given;
        self.drop_denied();
        let text = self.given_text();
        if let Some(changes) = self.changes.as_mut().filter(|_| !same) {
            changes.rights(self.username.as_deref(), text.as_deref());
        }
    }

    fn given_text(&self) -> Option<String> {
        let rights = self.rights.as_ref().filter(|_| self.rights_given)?;
        Some(rights.acl().text().into())
    }

    /// What changed, and the messages it refers to. None if nothing did.
    pub(in super::super) fn changes(&mut self) -> Option<(Vec<u8>, Vec<Arc<Message>>)> {
        self.changes.as_mut()?.take()
    }

    /// All of it in the same form. None where nothing of it is kept.
    pub(in super::super) fn everything(&self) -> Option<(Vec<u8>, Vec<Arc<Message>>)> {
        self.changes.as_ref()?;
        let mut all = Changes::default();
        all.open(&self.client_id);
        all.rights(self.username.as_deref(), self.given_text().as_deref());
        for (filter, Subscription { qos, walk }) in &self.subscriptions {
            let search = walk.and_then(|number| Some((number, self.walks.get(&number)?)));
            let (number, until) = search.map_or((0, 0), |(number, walk)| (number, walk.until()));
            all.subscribe(filter, *qos, number, until);
        }
        for Flight { id, delivery, .. } in &self.in_flight {
            all.queue(delivery, false, 0);
            all.send(*id);
        }
        for (_, delivery) in &self.queue {
            all.queue(delivery, false, 0);
        }
        for delivery in &self.held {
            all.queue(delivery, true, 0);
        }
        for (number, walk) in &self.walks {
            let (is_behind, at) = walk.position();
            all.entries.u8(SEARCHED);
            all.entries.u64(*number);
            all.entries.u8(if is_behind { 2 } else { 1 });
            all.entries.short(at);
        }
        for id in &self.releasing {
            all.id(PUBREC, *id);
        }
        for id in &self.received {
            all.id(RECEIVE, *id);
        }
        all.take()
    }

    /// Takes in entries. None where they are not what this version writes.
    pub(in super::super) fn replay(&mut self, entries: &[u8], known: &Known) -> Option<()> {
        let mut r = Reader::new(entries);
        while !r.is_empty() {
            match r.u8()? {
                OPEN if self.client_id.is_empty() => self.client_id = r.short()?.into(),
                RIGHTS => {
                    let (named, name) = (r.u8()? != 0, r.short()?);
                    let (given, text) = (r.u8()? != 0, r.long()?);
                    let text = core::str::from_utf8(text).ok()?;
                    self.rights_given = given;
                    self.username = named.then(|| name.into());
                    self.saved_acl = given.then(|| text.into());
                }
                SUBSCRIBE => {
                    let filter = r.short().filter(|filter| valid_filter(filter))?;
                    let (filter, qos): (Arc<str>, _) = (filter.into(), r.qos()?);
                    let (walk, until) = (r.number()?, r.number()?);
                    self.unsubscribe(&filter);
                    self.subscription_bytes = self.subscription_bytes.saturating_add(filter.len());
                    self.serial = self.serial.max(walk);
                    let mut number = None;
                    if self.walks.contains_key(&walk) {
                        return None;
                    }
                    if walk != 0 {
                        self.walks.insert(walk, Walk::again(filter.clone(), until));
                        number = Some(walk);
                    }
                    self.subscriptions.insert(filter, Subscription { qos, walk: number });
                }
                UNSUBSCRIBE => {
                    self.unsubscribe(r.short()?);
                }
                SEARCHED => {
                    let number = r.u64()?;
                    match r.u8()? {
                        0 => self.end_walk(number),
                        how => {
                            let at = r.short()?;
                            if let Some(walk) = self.walks.get_mut(&number) {
                                walk.go_on(how == 2, at);
                            }
                        }
                    }
                }
                QUEUE => {
                    let (serial, flags) = (r.u64()?, r.u8()?);
                    let walk = if flags & RETAINED == 0 { 0 } else { r.u64()? };
                    // It is there, unless the file was written by another hand.
                    let delivery = delivery(known, serial, flags)??;
                    if let Some(walk) = self.walks.get_mut(&walk) {
                        walk.go_on(true, &delivery.message.topic);
                    }
                    self.bytes = self.bytes.saturating_add(delivery.message.size());
                    if flags & HELD == 0 {
                        self.line_up(delivery);
                    } else {
                        self.held.push_back(delivery);
                    }
                }
                LINE_UP => {
                    if let Some(delivery) = self.held.pop_front() {
                        self.line_up(delivery);
                    }
                }
                entry => {
                    let id = PacketId::new(r.u16()?)?;
                    self.replay_id(entry, id)?;
                }
            }
        }
        // There is none without a name.
        (!self.client_id.is_empty()).then_some(())
    }

    fn replay_id(&mut self, entry: u8, id: PacketId) -> Option<()> {
        match entry {
            SEND => {
                let (_, delivery) = self.queue.pop_front()?;
                self.last_id = id;
                // It may have been sent.
                self.in_flight.push_back(Flight { id, delivery, stage: 0, tried: true });
            }
            PUBACK | PUBREC => {
                if let Some(at) = self.in_flight.iter().position(|flight| flight.id == id)
                    && let Some(flight) = self.in_flight.remove(at)
                {
                    self.bytes = self.bytes.saturating_sub(flight.delivery.message.size());
                }
                if entry == PUBREC {
                    self.releasing.push_back(id);
                }
            }
            PUBCOMP => self.releasing.retain(|used| *used != id),
            RECEIVE => {
                self.received.insert(id);
            }
            RELEASE => {
                self.received.remove(&id);
            }
            _ => return None,
        }
        Some(())
    }
}
