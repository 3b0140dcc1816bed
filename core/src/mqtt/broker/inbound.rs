//! What the packets of a connected client do.

use super::{
    Broker, Message,
    connection::{Phase, Receiving},
    session::Delivery,
};
use crate::{
    Capacity, Handled, Instant, Peer,
    mqtt::{
        Error, Packet, PacketId, Publish, QoS, Violation,
        packet::{Decoded, Filters, SUBSCRIPTION_REFUSED, decode_from_client},
    },
};
use alloc::{string::ToString, sync::Arc, vec::Vec};
use bytes::Bytes;

impl Broker {
    /// Takes in bytes of a connection that is not closing: one packet, or more of a payload.
    pub(super) fn take(&mut self, now: Instant, peer: Peer, bytes: &[u8]) -> Result<Handled<super::Event>, Error> {
        let Some(connection) = self.connections.get_mut(&peer) else { return Ok(Handled::quiet(bytes.len())) };
        if connection.receiving.is_some() {
            connection.heard = now;
            return self.payload(peer, bytes).map(Handled::quiet);
        }
        if connection.backlog() >= self.config.max_backlog {
            // It reads nothing: take nothing either.
            return Ok(Handled::incomplete(0));
        }
        if connection.phase == Phase::Asked || self.journal.is_full(self.config.max_unrecorded) {
            return Ok(Handled::incomplete(0));
        }
        let opened = connection.phase == Phase::Opened;
        // [MQTT-3.1.0-1]: nothing before a CONNECT, however its beginning looks. Types that do not exist and wrong
        // flags are for the decoder to tell.
        if opened && bytes.first().is_some_and(|first| !matches!(first >> 4, 0 | 1 | 15)) {
            return Err(Error::Peer(Violation::UnexpectedPacket));
        }
        let max = if opened { self.config.max_connect } else { self.config.max_packet };
        match decode_from_client(bytes, max).map_err(Error::Peer)? {
            Decoded::Incomplete { needed } => Ok(Handled::incomplete(needed)),
            Decoded::Packet { packet, len } => {
                connection.heard = now;
                self.journal.weigh(len);
                match packet {
                    Packet::Publish(publish) => {
                        self.publish_header(peer, &publish)?;
                        let rest = bytes.get(len..).unwrap_or_default();
                        Ok(Handled::quiet(len.saturating_add(self.payload(peer, rest)?)))
                    }
                    packet => self.packet(now, peer, packet, opened).map(|()| Handled::quiet(len)),
                }
            }
        }
    }

    fn packet(&mut self, now: Instant, peer: Peer, packet: Packet<'_>, opened: bool) -> Result<(), Error> {
        match packet {
            Packet::Connect(connect) if opened => self.connect(now, peer, &connect),
            Packet::Disconnect => self.disconnected(now, peer),
            Packet::PingReq => self.send(peer, &Packet::PingResp), // [MQTT-3.12.4-1]
            Packet::Subscribe { id, filters } => self.subscribe(peer, id, filters),
            Packet::Unsubscribe { id, filters } => self.unsubscribe(peer, id, filters),
            Packet::PubAck(id) => self.session(peer, |session| session.puback(id))?,
            Packet::PubRec(id) => {
                self.session(peer, |session| session.pubrec(id))?;
                self.send(peer, &Packet::PubRel(id)); // [MQTT-4.3.3-1]
            }
            Packet::PubComp(id) => self.session(peer, |session| session.pubcomp(id))?,
            Packet::PubRel(id) => {
                self.session(peer, |session| {
                    session.pubrel(id);
                    Ok(())
                })?;
                self.send(peer, &Packet::PubComp(id)); // [MQTT-4.3.3-2]
            }
            // A second CONNECT among them: [MQTT-3.1.0-2].
            _ => return Err(Error::Peer(Violation::UnexpectedPacket)),
        }
        self.wake(peer);
        Ok(())
    }

    /// Queues a packet for `peer`.
    fn send(&mut self, peer: Peer, packet: &Packet<'_>) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.push(packet, self.journal.stage().current);
            self.wake(peer);
        }
    }

    fn session(
        &mut self,
        peer: Peer,
        f: impl FnOnce(&mut super::session::Session) -> Result<(), Violation>,
    ) -> Result<(), Error> {
        let key = self.connections.get(&peer).and_then(|connection| connection.session);
        match key.and_then(|key| self.sessions.get_mut(&key)) {
            Some(session) => f(session).map_err(Error::Peer),
            None => Ok(()),
        }
    }

    // ---- PUBLISH

    /// The beginning of a PUBLISH.
    fn publish_header(&mut self, peer: Peer, publish: &Publish<'_>) -> Result<(), Error> {
        if publish.payload_len > self.config.max_payload {
            return Err(Error::Peer(Violation::PacketTooLarge));
        }
        let Some(connection) = self.connections.get_mut(&peer) else { return Ok(()) };
        let session = connection.session.and_then(|key| self.sessions.get(&key));
        let mut again = false;
        if let (QoS::ExactlyOnce, Some(id), Some(session)) = (publish.qos, publish.id, session) {
            again = session.has_received(id);
            if !again && session.inbound() >= self.config.max_inbound {
                return Err(Capacity::InFlight.into());
            }
        }
        // §4.7.2: clients do not talk to each other below `$`. [MQTT-3.3.5-2]: it is acknowledged all the same.
        let denied = publish.topic.starts_with('$') || session.is_some_and(|session| !session.may_write(publish.topic));
        if denied && !again {
            self.stats.denied = self.stats.denied.wrapping_add(1);
        }
        connection.receiving = Some(Receiving::new(publish, again || denied));
        Ok(())
    }

    /// More of its payload; how much of `bytes` that was.
    fn payload(&mut self, peer: Peer, bytes: &[u8]) -> Result<usize, Error> {
        let Some(connection) = self.connections.get_mut(&peer) else { return Ok(0) };
        let Some(receiving) = connection.receiving.as_mut() else { return Ok(0) };
        let part = bytes.get(..receiving.left).unwrap_or(bytes);
        receiving.take(part);
        if receiving.left == 0 {
            let Some(mut receiving) = connection.receiving.take() else { return Ok(0) };
            let payload = receiving.payload();
            self.received(peer, receiving, payload)?;
        }
        Ok(part.len())
    }

    /// All of a PUBLISH is here: take the message on, and only then acknowledge it (`[MQTT-3.3.4-1]`).
    fn received(&mut self, peer: Peer, publish: Receiving, payload: Bytes) -> Result<(), Error> {
        let Receiving { topic, qos, retain, id, ignored, .. } = publish;
        self.stats.received = self.stats.received.wrapping_add(1);
        if !ignored {
            let message = self.message(topic, payload, qos);
            self.journal.weigh(message.size());
            if retain {
                self.journal.retained(&message.topic);
            }
            // [MQTT-3.3.1-12]: without RETAIN nothing of what is retained changes.
            if retain && !self.retained.retain(&message) {
                if qos != QoS::AtMostOnce {
                    return Err(Capacity::Retained.into()); // [MQTT-4.8.0-2], [MQTT-3.3.1-5]
                }
                self.retained.remove(&message.topic); // [MQTT-3.3.1-7]
            }
            self.route(&message);
        }
        match (qos, id) {
            (QoS::AtLeastOnce, Some(id)) => self.send(peer, &Packet::PubAck(id)), // [MQTT-4.3.2-2]
            (QoS::ExactlyOnce, Some(id)) => {
                if !ignored {
                    self.session(peer, |session| {
                        session.receive(id);
                        Ok(())
                    })?;
                }
                self.send(peer, &Packet::PubRec(id)); // [MQTT-4.3.3-2]
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn message(&mut self, topic: Arc<str>, payload: Bytes, qos: QoS) -> Arc<Message> {
        self.serial = self.serial.wrapping_add(1);
        Arc::new(Message { topic, payload, qos, serial: self.serial })
    }

    /// Adds a message to every session that has a matching subscription (`[MQTT-4.5.0-1]`) and to no other
    /// (`[MQTT-3.3.2-3]`), once (§3.3.5); to how
    /// many. Its own RETAIN flag and DUP are not passed on (`[MQTT-3.3.1-3]`, `[MQTT-3.3.1-9]`).
    pub(super) fn route(&mut self, message: &Arc<Message>) -> usize {
        let mut taken = 0_usize;
        for (key, granted) in self.subscriptions.matching(&message.topic) {
            let Some(session) = self.sessions.get_mut(&key) else { continue };
            if !session.may_read(&message.topic) {
                continue;
            }
            let qos = message.qos.min(granted); // [MQTT-3.8.4-6]
            if session.enqueue(&self.config, &self.retained, Delivery { message: message.clone(), qos, retain: false })
            {
                taken = taken.saturating_add(1);
                if let Some(peer) = session.peer {
                    self.wake(peer);
                }
            } else {
                self.stats.dropped = self.stats.dropped.wrapping_add(1);
            }
        }
        taken
    }

    pub(super) fn publish_will(&mut self, will: Message, retain: bool) {
        if will.topic.starts_with('$') {
            return;
        }
        let message = self.message(will.topic, will.payload, will.qos);
        if retain {
            self.journal.retained(&message.topic);
        }
        self.retain_or_forget(&message, retain);
        self.route(&message);
    }

    /// Retains a message, if it is to be; where there is no room, an older one of its topic would be a lie.
    fn retain_or_forget(&mut self, message: &Arc<Message>, retain: bool) {
        if retain && !self.retained.retain(message) {
            self.retained.remove(&message.topic);
        }
    }

    pub(super) fn publish_sys(&mut self, now: Instant) {
        self.arm_sys(now);
        let stats = self.stats();
        for (topic, value) in [
            ("$SYS/broker/version", concat!("waft ", env!("CARGO_PKG_VERSION")).into()),
            ("$SYS/broker/clients/connected", stats.connected.to_string()),
            ("$SYS/broker/clients/disconnected", stats.sessions.saturating_sub(stats.connected).to_string()),
            ("$SYS/broker/clients/total", stats.sessions.to_string()),
            ("$SYS/broker/subscriptions/count", stats.subscriptions.to_string()),
            ("$SYS/broker/retained messages/count", stats.retained.to_string()),
            ("$SYS/broker/retained messages/bytes", stats.retained_bytes.to_string()),
            ("$SYS/broker/messages/queued", stats.queued.to_string()),
            ("$SYS/broker/messages/queued/bytes", stats.queued_bytes.to_string()),
            ("$SYS/broker/messages/received", stats.received.to_string()),
            ("$SYS/broker/messages/sent", stats.sent.to_string()),
            ("$SYS/broker/publish/messages/dropped", stats.dropped.to_string()),
            ("$SYS/broker/publish/messages/denied", stats.denied.to_string()),
        ] {
            let message = self.message(topic.into(), value.into(), QoS::AtMostOnce);
            self.retain_or_forget(&message, true);
            self.route(&message);
        }
    }

    // ---- SUBSCRIBE, UNSUBSCRIBE

    /// One answer for all filters, with wildcards or without (`[MQTT-3.8.3-2]`), each taken as if it came alone (`[MQTT-3.8.4-4]`), in their order
    /// (`[MQTT-3.9.3-1]`).
    fn subscribe(&mut self, peer: Peer, id: PacketId, filters: Filters<'_>) {
        let Some(key) = self.connections.get(&peer).and_then(|connection| connection.session) else { return };
        let mut codes = Vec::new();
        let mut budget = super::STEPS;
        if let Some(session) = self.sessions.get_mut(&key) {
            for (filter, wanted) in filters {
                let granted = wanted.min(self.config.max_qos);
                if session.subscribe(&self.config, filter, granted, self.serial) {
                    self.subscriptions.insert(filter, key, granted);
                    codes.push(granted as u8); // [MQTT-3.8.4-5]
                    // [MQTT-3.3.1-6], [MQTT-3.8.4-3]: as much as is looked for at once; the rest follows while it is
                    // sent. Now, as the same filter may stand here again.
                    session.refill(&self.config, &self.retained, &mut budget);
                } else {
                    codes.push(SUBSCRIPTION_REFUSED);
                }
            }
        }
        self.send(peer, &Packet::SubAck { id, codes: &codes }); // [MQTT-3.8.4-1], [MQTT-3.8.4-2]
    }

    fn unsubscribe(&mut self, peer: Peer, id: PacketId, filters: Filters<'_>) {
        let Some(key) = self.connections.get(&peer).and_then(|connection| connection.session) else { return };
        if let Some(session) = self.sessions.get_mut(&key) {
            for (filter, _) in filters {
                if session.unsubscribe(filter) {
                    self.subscriptions.remove(filter, key); // [MQTT-3.10.4-2]
                }
            }
        }
        // [MQTT-3.10.4-4], [MQTT-3.10.4-5], [MQTT-3.10.4-6]
        self.send(peer, &Packet::UnsubAck(id));
    }
}
