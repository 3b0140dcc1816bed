//! One session (§4.1): what a client is subscribed to, and every message on its way to it or from it.
//!
//! A message for the client goes this way; this file owns each step of it:
//!
//! | QoS | waits | on its way | until |
//! | --- | --- | --- | --- |
//! | 0 | `instant` | | it is sent |
//! | 1 | `queue` | `in_flight` | PUBACK |
//! | 2 | `queue` | `in_flight`, then `releasing` | PUBREC, then PUBCOMP |
//!
//! A message that comes while an older one of its topic, a retained one, has not been found yet waits in `held` before,
//! and so do all that come after it.
//!
//! All of it lasts as long as the session does (`[MQTT-4.1.0-1]`), and that at least as long as its connection
//! (`[MQTT-4.1.0-2]`).
//!
//! When the client comes back, `releasing` is sent again as PUBREL and `in_flight` as PUBLISH with DUP, each in its
//! order (`[MQTT-4.4.0-1]`, `[MQTT-4.6.0-1]`, `[MQTT-4.6.0-4]`).

mod saved;

use super::{
    BrokerConfig, Message,
    acl::Rights,
    journal::Stage,
    retained::{Retained, Step, Walk},
};
use crate::{
    Instant, Peer,
    mqtt::{PacketId, QoS, Violation},
};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    sync::Arc,
};
use saved::Changes;

/// A message for one session.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) message: Arc<Message>,
    /// The lower of the message's and the subscription's (`[MQTT-3.8.4-6]`).
    pub(super) qos: QoS,
    /// It was there before the subscription (`[MQTT-3.3.1-8]`, `[MQTT-3.3.1-9]`).
    pub(super) retain: bool,
}

/// One that is on its way.
#[derive(Debug)]
struct Flight {
    id: PacketId,
    delivery: Delivery,
    /// It may be sent when this frame of the journal is durable.
    stage: u64,
    /// It has been sent, over this connection or another.
    tried: bool,
}

/// A PUBLISH to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) delivery: Delivery,
    pub(super) id: Option<PacketId>,
    pub(super) dup: bool,
}

#[derive(Debug)]
struct Subscription {
    qos: QoS,
    /// Place in `walks` while there are retained messages to be looked for.
    walk: Option<u64>,
}

/// Fewer than there are packet identifiers, whatever the configuration says.
const MAX_IN_FLIGHT: usize = 65_534;

/// How many messages a subscription takes out of the retained ones ahead of their being sent.
const AHEAD: usize = 64;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client_id: Arc<str>,
    /// It ends with the connection (`[MQTT-3.1.2-6]`).
    pub(super) clean: bool,
    /// The client's connection, where it has one.
    pub(super) peer: Option<Peer>,
    /// What the client may do. Everything, if none are given.
    pub(super) rights: Option<Rights>,
    rights_given: bool,
    pub(super) username: Option<Arc<str>>,
    /// Rights that the host gave before a restart.
    pub(super) saved_acl: Option<String>,
    /// What the journal is to be told; none where it does not keep this session.
    changes: Option<Changes>,
    /// When it is forgotten.
    pub(super) expiry: Option<Instant>,
    subscriptions: BTreeMap<Arc<str>, Subscription>,
    subscription_bytes: usize,
    /// Searches for retained messages, in the order they were asked for.
    walks: BTreeMap<u64, Walk>,
    /// Numbers `walks` and what waits.
    serial: u64,
    queue: VecDeque<(u64, Delivery)>,
    instant: VecDeque<(u64, Delivery)>,
    held: VecDeque<Delivery>,
    in_flight: VecDeque<Flight>,
    /// So many of `in_flight` have been sent over this connection.
    sent: usize,
    releasing: VecDeque<PacketId>,
    /// Bytes of all of these messages.
    bytes: usize,
    last_id: PacketId,
    /// QoS 2 from the client: received and not released.
    received: BTreeSet<PacketId>,
}

impl Session {
    pub(super) fn new(client_id: Arc<str>, clean: bool) -> Self {
        Self {
            client_id,
            clean,
            peer: None,
            rights: None,
            rights_given: false,
            username: None,
            saved_acl: None,
            changes: None,
            expiry: None,
            subscriptions: BTreeMap::new(),
            subscription_bytes: 0,
            walks: BTreeMap::new(),
            serial: 0,
            queue: VecDeque::new(),
            instant: VecDeque::new(),
            held: VecDeque::new(),
            in_flight: VecDeque::new(),
            sent: 0,
            releasing: VecDeque::new(),
            bytes: 0,
            last_id: PacketId::FIRST,
            received: BTreeSet::new(),
        }
    }

    fn next_serial(&mut self) -> u64 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    /// Messages waiting or unacknowledged, and their bytes.
    pub(super) fn queued(&self) -> (usize, usize) {
        let waiting = self.queue.len().saturating_add(self.instant.len()).saturating_add(self.held.len());
        (waiting.saturating_add(self.in_flight.len()), self.bytes)
    }

    // ---- the connection comes and goes

    /// A connection begins: all that was on its way starts again.
    pub(super) fn attach(&mut self, peer: Peer) {
        self.peer = Some(peer);
        self.sent = 0;
    }

    /// PUBRELs to be sent again, in order.
    pub(super) fn releasing(&self) -> impl Iterator<Item = PacketId> {
        self.releasing.iter().copied()
    }

    /// The connection is gone. Messages of QoS 0 do not wait for another (§3.1.2.4).
    pub(super) fn detach(&mut self) {
        self.peer = None;
        while let Some((_, delivery)) = self.instant.pop_front() {
            self.bytes = self.bytes.saturating_sub(delivery.message.size());
        }
        for delivery in core::mem::take(&mut self.held) {
            if delivery.qos == QoS::AtMostOnce {
                self.bytes = self.bytes.saturating_sub(delivery.message.size());
            } else {
                self.held.push_back(delivery);
            }
        }
    }

    // ---- rights

    /// Whether the client may publish to this topic.
    pub(super) fn may_write(&self, topic: &str) -> bool {
        self.rights.as_ref().is_none_or(|rights| rights.may_write(topic))
    }

    /// Whether messages of this topic may go to the client.
    pub(super) fn may_read(&self, topic: &str) -> bool {
        self.rights.as_ref().is_none_or(|rights| rights.may_read(topic))
    }

    /// Whoever comes back may have other rights than who went, or another name: what is on its way to the client and
    /// may not be read any more goes no further. What waits is looked at when its turn comes.
    pub(super) fn drop_denied(&mut self) {
        for flight in core::mem::take(&mut self.in_flight) {
            if self.may_read(&flight.delivery.message.topic) {
                self.in_flight.push_back(flight);
            } else {
                self.bytes = self.bytes.saturating_sub(flight.delivery.message.size());
                self.note(saved::PUBACK, flight.id);
            }
        }
    }

    /// Takes what may not be read from the front of `queue`: for the journal it is sent, and acknowledged at once.
    fn skip_denied(&mut self) {
        while let Some((_, first)) = self.queue.front() {
            if self.may_read(&first.message.topic) {
                return;
            }
            let Some((_, delivery)) = self.queue.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(delivery.message.size());
            if self.changes.is_some() {
                let id = self.unused_id();
                if let Some(changes) = &mut self.changes {
                    changes.send(id);
                }
                self.note(saved::PUBACK, id);
            }
        }
    }

    // ---- subscriptions

    /// Grants a subscription, or replaces the one with that filter (`[MQTT-3.8.4-3]`). Messages retained so far, up to
    /// the one numbered `until`, are going to be sent. False where it is one too many, too long, or denied.
    pub(super) fn subscribe(&mut self, config: &BrokerConfig, filter: &str, qos: QoS, until: u64) -> bool {
        if self.rights.as_ref().is_some_and(|rights| !rights.may_subscribe(filter)) {
            return false;
        }
        let serial = self.next_serial();
        let filter: Arc<str> = match self.subscriptions.get_key_value(filter) {
            Some((filter, _)) => filter.clone(),
            None => {
                let bytes = self.subscription_bytes.saturating_add(filter.len());
                if self.subscriptions.len() >= config.max_subscriptions
                    || bytes > config.max_subscription_bytes
                    || filter.split('/').count() > config.max_levels
                {
                    return false;
                }
                self.subscription_bytes = bytes;
                filter.into()
            }
        };
        let old = self.subscriptions.insert(filter.clone(), Subscription { qos, walk: Some(serial) });
        if let Some(walk) = old.and_then(|old| old.walk) {
            self.walks.remove(&walk);
        }
        if let Some(changes) = &mut self.changes {
            changes.subscribe(&filter, qos, serial, until);
        }
        self.walks.insert(serial, Walk::new(filter, until));
        true
    }

    /// Ends the subscription with exactly that filter (`[MQTT-3.10.4-1]`); whether there was one. What waits already
    /// is still delivered (`[MQTT-3.10.4-3]`).
    pub(super) fn unsubscribe(&mut self, filter: &str) -> bool {
        let Some(old) = self.subscriptions.remove(filter) else { return false };
        self.subscription_bytes = self.subscription_bytes.saturating_sub(filter.len());
        if let Some(changes) = &mut self.changes {
            changes.unsubscribe(filter);
        }
        if let Some(walk) = old.walk {
            self.walks.remove(&walk);
        }
        true
    }

    /// The filters subscribed to, and the QoS granted.
    pub(super) fn subscribed(&self) -> impl Iterator<Item = (&Arc<str>, QoS)> {
        self.subscriptions.iter().map(|(filter, subscription)| (filter, subscription.qos))
    }

    /// The filters subscribed to.
    pub(super) fn filters(&self) -> impl Iterator<Item = &Arc<str>> {
        self.subscriptions.keys()
    }

    /// Queues retained messages that new subscriptions ask for, as long as there is room. Takes at most `budget` steps
    /// and counts them off.
    pub(super) fn refill(&mut self, config: &BrokerConfig, retained: &Retained, budget: &mut usize) {
        while self.queue.len().saturating_add(self.instant.len()) < AHEAD {
            let Some(mut first) = self.walks.first_entry() else {
                let Some(delivery) = self.held.pop_front() else { return };
                if let Some(changes) = &mut self.changes {
                    changes.line_up(&delivery);
                }
                self.line_up(delivery);
                continue;
            };
            let number = *first.key();
            let walk = first.get_mut();
            let Some(subscription) = self.subscriptions.get_mut(walk.filter()) else {
                first.remove();
                continue;
            };
            let Some(left) = budget.checked_sub(1) else { return };
            *budget = left;
            match retained.step(walk) {
                Step::Passed => {}
                Step::Found(message) if self.rights.as_ref().is_some_and(|rights| !rights.may_read(&message.topic)) => {
                }
                Step::Over => {
                    subscription.walk = None;
                    first.remove();
                    if let Some(changes) = &mut self.changes {
                        changes.searched(number);
                    }
                }
                Step::Found(message) => {
                    let again = walk.again;
                    let qos = message.qos.min(subscription.qos);
                    if again && qos == QoS::AtMostOnce {
                        continue;
                    }
                    let delivery = Delivery { message: message.clone(), qos, retain: true };
                    // With nothing but what waits for this search in the way, it could never go on.
                    let stuck = self.queued().0 == self.held.len();
                    if !stuck && !self.has_room(config, message.size()) {
                        // It stays where it is kept until the client has acknowledged others.
                        if let Some(walk) = self.walks.values_mut().next() {
                            walk.back_to(message);
                        }
                        return;
                    }
                    self.push(delivery, number);
                }
            }
        }
    }

    fn end_walk(&mut self, number: u64) {
        if let Some(walk) = self.walks.remove(&number)
            && let Some(subscription) = self.subscriptions.get_mut(walk.filter())
        {
            subscription.walk = None;
        }
    }

    /// Whether there may be retained messages left that new subscriptions ask for.
    pub(super) fn is_searching(&self) -> bool {
        !self.walks.is_empty()
    }

    /// The last message that such a search may find.
    pub(super) fn searched_until(&self) -> u64 {
        self.walks.values().map(Walk::until).max().unwrap_or_default()
    }

    /// Whether such a search is still to find the retained message of this topic.
    fn is_to_find(&self, retained: &Retained, topic: &str) -> bool {
        let found = || retained.get(topic);
        self.is_searching() && found().is_some_and(|found| self.walks.values().any(|walk| walk.is_to_find(found)))
    }

    // ---- to the client

    fn has_room(&self, config: &BrokerConfig, size: usize) -> bool {
        let (messages, bytes) = self.queued();
        // One message always fits, or a payload allowed in could never leave.
        messages == 0 || (messages < config.max_queued && bytes.saturating_add(size) <= config.max_queued_bytes)
    }

    /// `walk` is the search that found it, or 0.
    fn push(&mut self, delivery: Delivery, walk: u64) {
        if let Some(changes) = &mut self.changes {
            changes.queue(&delivery, false, walk);
        }
        self.bytes = self.bytes.saturating_add(delivery.message.size());
        self.line_up(delivery);
    }

    fn line_up(&mut self, delivery: Delivery) {
        let serial = self.next_serial();
        let queue = if delivery.qos == QoS::AtMostOnce { &mut self.instant } else { &mut self.queue };
        queue.push_back((serial, delivery));
    }

    /// Takes a message for the client (`[MQTT-4.5.0-1]`), be it away (`[MQTT-3.1.2-5]`). False where it is dropped: the queue is full, or it is of
    /// QoS 0 and the client is away.
    pub(super) fn enqueue(&mut self, config: &BrokerConfig, retained: &Retained, delivery: Delivery) -> bool {
        let wanted = delivery.qos != QoS::AtMostOnce || self.peer.is_some();
        if !wanted || !self.has_room(config, delivery.message.size()) {
            return false;
        }
        // [MQTT-4.6.0-6]: not before the retained message that came before it.
        if !self.held.is_empty() || self.is_to_find(retained, &delivery.message.topic) {
            if let Some(changes) = &mut self.changes {
                changes.queue(&delivery, true, 0);
            }
            self.bytes = self.bytes.saturating_add(delivery.message.size());
            self.held.push_back(delivery);
        } else {
            self.push(delivery, 0);
        }
        true
    }

    /// The next PUBLISH to be sent. Messages go out in the order they came in, but that those of QoS 0 overtake when
    /// the others have to wait for acknowledgements (`[MQTT-4.6.0-5]`, `[MQTT-4.6.0-6]` are about each QoS for itself).
    ///
    /// What the journal keeps gets its identifier first and is sent when that is durable: nothing of QoS 2 may come
    /// again under another one.
    pub(super) fn next(&mut self, config: &BrokerConfig, stage: Stage) -> Option<Outgoing> {
        while self.changes.is_some() && self.is_open(config) && self.send_first(stage.current) {}
        if let Some(flight) = self.in_flight.get_mut(self.sent).filter(|flight| flight.stage <= stage.durable) {
            // [MQTT-3.3.1-1]: DUP, if it was sent before over another connection.
            let dup = core::mem::replace(&mut flight.tried, true);
            let outgoing = Outgoing { delivery: flight.delivery.clone(), id: Some(flight.id), dup };
            self.sent = self.sent.saturating_add(1);
            return Some(outgoing);
        }
        self.skip_denied();
        let open = self.is_open(config);
        let waiting = self.queue.front().filter(|_| open).map(|(serial, _)| *serial);
        let instant = self.instant.front().map(|(serial, _)| *serial);
        match (waiting, instant) {
            (Some(waiting), instant) if instant.is_none_or(|instant| waiting < instant) => {
                self.send_first(0);
                self.sent = self.in_flight.len();
                let flight = self.in_flight.back_mut()?;
                flight.tried = true;
                Some(Outgoing { delivery: flight.delivery.clone(), id: Some(flight.id), dup: false })
            }
            (_, Some(_)) => {
                let (_, delivery) = self.instant.pop_front()?;
                self.bytes = self.bytes.saturating_sub(delivery.message.size());
                Some(Outgoing { delivery, id: None, dup: false })
            }
            _ => None,
        }
    }

    /// Whether something is to be sent that is not durable yet.
    pub(super) fn is_barred(&self, stage: Stage) -> bool {
        self.in_flight.get(self.sent).is_some_and(|flight| flight.stage > stage.durable)
    }

    fn is_open(&self, config: &BrokerConfig) -> bool {
        let unacknowledged = self.in_flight.len().saturating_add(self.releasing.len());
        unacknowledged < config.max_in_flight.clamp(1, MAX_IN_FLIGHT)
    }

    /// The first of `queue` that may be read goes to `in_flight`; whether there was one.
    fn send_first(&mut self, stage: u64) -> bool {
        self.skip_denied();
        let Some((_, delivery)) = self.queue.pop_front() else { return false };
        let id = self.unused_id();
        if let Some(changes) = &mut self.changes {
            changes.send(id);
        }
        self.in_flight.push_back(Flight { id, delivery, stage, tried: false });
        true
    }

    /// `[MQTT-2.3.1-4]`: an identifier that no unacknowledged message has. There are more of them than messages can be
    /// in flight.
    fn unused_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.next();
            let id = self.last_id;
            if !self.releasing.contains(&id) && !self.in_flight.iter().any(|flight| flight.id == id) {
                return id;
            }
        }
    }

    /// An acknowledgement of QoS `qos` for the message `id`: takes it out of `in_flight`. None where it is none of
    /// this session's, which may well be: the client remembers an acknowledgement that a broker lost. An
    /// acknowledgement of the other QoS is a breach.
    fn acknowledge(&mut self, id: PacketId, qos: QoS) -> Result<Option<Delivery>, Violation> {
        let Some(at) = self.in_flight.iter().position(|flight| flight.id == id) else { return Ok(None) };
        if self.in_flight.get(at).is_some_and(|flight| flight.delivery.qos != qos) {
            return Err(Violation::UnexpectedPacket);
        }
        let Some(Flight { delivery, .. }) = self.in_flight.remove(at) else { return Ok(None) };
        self.note(if qos == QoS::AtLeastOnce { saved::PUBACK } else { saved::PUBREC }, id);
        if at < self.sent {
            self.sent = self.sent.saturating_sub(1);
        }
        self.bytes = self.bytes.saturating_sub(delivery.message.size());
        Ok(Some(delivery))
    }

    fn note(&mut self, entry: u8, id: PacketId) {
        if let Some(changes) = &mut self.changes {
            changes.id(entry, id);
        }
    }

    /// PUBACK: delivered (`[MQTT-4.3.2-1]`).
    pub(super) fn puback(&mut self, id: PacketId) -> Result<(), Violation> {
        self.acknowledge(id, QoS::AtLeastOnce).map(|_| ())
    }

    /// PUBREC: never send the PUBLISH again (`[MQTT-4.3.3-1]`). The answer is a PUBREL in any case, so that a client
    /// with an identifier unknown here gets on.
    pub(super) fn pubrec(&mut self, id: PacketId) -> Result<(), Violation> {
        if self.acknowledge(id, QoS::ExactlyOnce)?.is_some() {
            self.releasing.push_back(id);
        }
        Ok(())
    }

    /// PUBCOMP: delivered, and the identifier is free.
    pub(super) fn pubcomp(&mut self, id: PacketId) -> Result<(), Violation> {
        if self.in_flight.iter().any(|flight| flight.id == id) {
            return Err(Violation::UnexpectedPacket);
        }
        if self.releasing.contains(&id) {
            self.note(saved::PUBCOMP, id);
        }
        self.releasing.retain(|used| *used != id);
        Ok(())
    }

    // ---- from the client

    /// Whether the message of QoS 2 with this identifier has come before and must not be passed on again
    /// (`[MQTT-4.3.3-2]`).
    pub(super) fn has_received(&self, id: PacketId) -> bool {
        self.received.contains(&id)
    }

    /// How many messages of QoS 2 wait for their PUBREL.
    pub(super) fn inbound(&self) -> usize {
        self.received.len()
    }

    /// A message of QoS 2 was passed on.
    pub(super) fn receive(&mut self, id: PacketId) {
        self.note(saved::RECEIVE, id);
        self.received.insert(id);
    }

    /// PUBREL: the next message with that identifier is another one.
    pub(super) fn pubrel(&mut self, id: PacketId) {
        if self.received.remove(&id) {
            self.note(saved::RELEASE, id);
        }
    }
}

#[cfg(test)]
impl Session {
    /// All that a restart has to find, of messages of QoS 1 and 2.
    pub(super) fn describe(&self, retained: &Retained) -> alloc::vec::Vec<String> {
        use alloc::{format, vec::Vec};
        let one = |delivery: &Delivery| {
            let Delivery { message, qos, retain } = delivery;
            format!("{} {:?} {qos:?} retain {retain}", message.topic, message.payload)
        };
        let mut lines = Vec::from([format!(
            "{:?}, {} and {} bytes, received {:?}, releasing {:?}",
            self.username, self.bytes, self.subscription_bytes, self.received, self.releasing
        )]);
        // What is kept over no restart may have been found before one, and is passed over after it.
        let is_ahead = |Subscription { qos, walk }: &Subscription, message: &Message| {
            let walk = walk.and_then(|number| self.walks.get(&number));
            let lasts = message.qos.min(*qos) != QoS::AtMostOnce && self.may_read(&message.topic);
            lasts && walk.is_some_and(|walk| walk.is_to_find(message))
        };
        for (filter, subscription) in &self.subscriptions {
            let ahead = retained.all().filter(|message| is_ahead(subscription, message));
            let ahead: Vec<_> = ahead.map(|message| &message.topic).collect();
            lines.push(format!("subscribed {filter} {:?}, to be found {ahead:?}", subscription.qos));
        }
        lines.extend(
            self.in_flight.iter().map(|flight| format!("in flight {} {}", flight.id.get(), one(&flight.delivery))),
        );
        lines.extend(self.queue.iter().map(|(_, delivery)| format!("waits {}", one(delivery))));
        let mut held = false;
        for delivery in self.held.iter().filter(|delivery| delivery.qos != QoS::AtMostOnce) {
            let before = retained.get(&delivery.message.topic);
            held |= before.is_some_and(|message| self.subscriptions.values().any(|s| is_ahead(s, message)));
            lines.push(format!("{} {}", if held { "held" } else { "waits" }, one(delivery)));
        }
        lines
    }
}
