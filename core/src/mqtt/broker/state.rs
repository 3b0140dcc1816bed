//! Every transition of connections and of sessions.
//!
//! | connection | on | becomes |
//! | --- | --- | --- |
//! | none | `accept` | opened |
//! | opened | CONNECT that is admitted | asked if the host is to be, else connected |
//! | asked | `allow` | connected |
//! | asked | `deny`; no answer in time | closing, after its CONNACK |
//! | opened | CONNECT that is refused | closing, after its CONNACK |
//! | opened | no CONNECT in time | closing |
//! | connected | DISCONNECT | closing, no will |
//! | connected | silence of 1.5 × keep-alive; a CONNECT with the same client identifier | closing, will |
//! | opened, asked, connected | a violation, a bound, the host's `disconnect` | closing, will |
//! | closing | the host is told | none |
//! | any | `connection_lost` | none, will if not closing |
//!
//! | session | on | becomes |
//! | --- | --- | --- |
//! | none | CONNECT | attached |
//! | attached | end of the connection | none if clean, else detached |
//! | detached | CONNECT with clean session 0 | attached |
//! | detached | CONNECT with clean session 1; expiry | none |

use super::{
    Acl, Alarm, Broker, Event, Message, Password, Reason, SessionKey,
    acl::Rights,
    connection::{Connection, LastWill, Phase, Request},
    session::Session,
};
use crate::{
    Capacity, Duration, Instant, Misuse, Peer,
    mqtt::{Connect, ConnectReturnCode, Error, Packet, Violation},
};
use alloc::{format, sync::Arc};
use bytes::Bytes;

impl Broker {
    // ---- opened

    pub(super) fn open(&mut self, now: Instant, peer: Peer) -> Result<(), Error> {
        if self.connections.contains_key(&peer) {
            return Err(Misuse::WrongState.into());
        }
        if self.connections.len() >= self.config.max_connections {
            return Err(Capacity::Peers.into());
        }
        self.connections.insert(peer, Connection::new(now));
        // §3.1.4: a CONNECT has to come within a reasonable time.
        self.set_alarm(peer, now.after(self.config.connect_timeout));
        Ok(())
    }

    /// CONNECT, well formed: whether a client is let in (§3.1.4). Any identifier will do that is not too long
    /// (`[MQTT-3.1.3-5]`).
    pub(super) fn connect(&mut self, now: Instant, peer: Peer, connect: &Connect<'_>) {
        let known = self.clients.contains_key(connect.client_id);
        let refusal = if connect.client_id.len() > self.config.max_client_id {
            ConnectReturnCode::IdentifierRejected // [MQTT-3.1.3-9]
        } else if !self.config.admits(connect.username, connect.password) {
            ConnectReturnCode::BadUserNameOrPassword
        } else if !known && self.sessions.len() >= self.config.max_sessions {
            ConnectReturnCode::ServerUnavailable
        } else {
            let request = Request {
                // [MQTT-3.1.3-6]: one that gives no identifier gets one that nobody has.
                client_id: match connect.client_id {
                    "" => self.unused_client_id(),
                    given => given.into(),
                },
                username: connect.username.map(Into::into),
                clean: connect.clean_session,
                keep_alive: connect.keep_alive,
                will: connect.will.map(|will| LastWill {
                    message: Message {
                        topic: will.topic.into(),
                        payload: Bytes::copy_from_slice(will.payload),
                        qos: will.qos,
                        serial: 0,
                    },
                    retain: will.retain,
                    number: 0,
                }),
            };
            if self.config.ask_host {
                self.ask(peer, request, connect.password);
            } else {
                self.admit(now, peer, request, None);
            }
            return;
        };
        self.refuse(now, peer, refusal, Reason::Refused(refusal));
    }

    // ---- opened → asked

    /// The host is going to be asked.
    fn ask(&mut self, peer: Peer, request: Request, password: Option<&[u8]>) {
        let Some(connection) = self.connections.get_mut(&peer) else { return };
        connection.phase = Phase::Asked;
        connection.request = Some(request);
        connection.unasked = Some(password.map(|password| Password(Bytes::copy_from_slice(password))));
        self.wake(peer);
    }

    /// The host answers: what it was asked about.
    pub(super) fn answered(&mut self, peer: Peer) -> Result<Request, Error> {
        let Some(connection) = self.connections.get_mut(&peer) else { return Err(Misuse::UnknownId.into()) };
        if connection.phase != Phase::Asked || connection.unasked.is_some() {
            return Err(Misuse::WrongState.into());
        }
        connection.request.take().ok_or(Error::Misuse(Misuse::WrongState))
    }

    // ---- opened, asked → connected

    /// Lets a client in, unless its will may not be published.
    pub(super) fn admit(&mut self, now: Instant, peer: Peer, request: Request, acl: Option<Arc<Acl>>) {
        let given = acl.is_some();
        let acl = acl.or_else(|| self.config.acl.clone());
        let rights = acl.map(|acl| Rights::new(acl, request.client_id.clone(), request.username.clone()));
        let denied = match (&rights, &request.will) {
            (Some(rights), Some(will)) => !rights.may_write(&will.message.topic),
            _ => false,
        };
        // Others may have come while the host was thinking.
        let known = self.clients.contains_key(&request.client_id);
        if denied {
            let code = ConnectReturnCode::NotAuthorized;
            self.refuse(now, peer, code, Reason::Refused(code));
        } else if !known && self.sessions.len() >= self.config.max_sessions {
            let code = ConnectReturnCode::ServerUnavailable;
            self.refuse(now, peer, code, Reason::Refused(code));
        } else {
            self.welcome(now, peer, request, rights, given);
        }
    }

    fn welcome(&mut self, now: Instant, peer: Peer, request: Request, rights: Option<Rights>, given: bool) {
        let Request { client_id, username, clean, keep_alive, will } = request;
        // [MQTT-3.1.4-2]: whoever has that identifier now is disconnected, as if the network had failed.
        let holder = self.clients.get(&client_id).and_then(|key| self.sessions.get(key)).and_then(|held| held.peer);
        if let Some(holder) = holder {
            self.close(now, holder, Reason::TakenOver);
        }
        // [MQTT-3.1.4-3], [MQTT-3.1.2-6]: a clean session forgets what was, and nothing of it comes back.
        if clean && let Some(key) = self.clients.get(&client_id).copied() {
            self.end_session(key);
        }
        // [MQTT-3.1.2-4], [MQTT-3.2.2-1], [MQTT-3.2.2-2], [MQTT-3.2.2-3]
        // The identifier and nothing else tells which session that is: [MQTT-3.1.3-2].
        let kept = self.clients.get(&client_id).copied();
        let session_present = kept.is_some();
        let key = kept.unwrap_or_else(|| self.begin_session(client_id, clean));

        let Some(connection) = self.connections.get_mut(&peer) else { return };
        connection.phase = Phase::Connected;
        connection.untold = Some(session_present);
        connection.session = Some(key);
        // [MQTT-3.1.2-8], [MQTT-3.1.2-9]: what counts from now on if the connection breaks.
        connection.will = will;
        if let Some(will) = &mut connection.will {
            self.journal.will(will);
        }
        let stage = self.journal.stage().current;
        // [MQTT-3.1.4-4], [MQTT-3.2.0-1]
        connection.push(&Packet::ConnAck { session_present, code: ConnectReturnCode::Accepted }, stage);
        if let Some(session) = self.sessions.get_mut(&key) {
            if let Some(at) = session.expiry.take() {
                self.alarms.remove(&(at, Alarm::Session(key)));
            }
            session.set_rights(username, rights, given);
            session.attach(peer);
            // [MQTT-4.4.0-1]; the PUBLISHes follow by themselves.
            for id in session.releasing() {
                connection.push(&Packet::PubRel(id), stage);
            }
        }
        connection.heard = now;
        // [MQTT-3.1.2-24]: one and a half times the keep-alive.
        connection.silence = match keep_alive {
            0 => None,
            seconds => Some(Duration::from_millis(u64::from(seconds).saturating_mul(1_500))),
        };
        match connection.silence {
            Some(silence) => self.set_alarm(peer, now.after(silence)),
            None => self.stop_alarm(peer),
        }
        self.wake(peer);
    }

    fn unused_client_id(&mut self) -> Arc<str> {
        loop {
            let id = format!("waft-{:016x}", self.rng.next_u64());
            if !self.clients.contains_key(id.as_str()) {
                return id.into();
            }
        }
    }

    // ---- opened, asked → closing

    /// Answers a CONNECT by a refusal and closes (`[MQTT-3.2.2-4]`, `[MQTT-3.2.2-5]`).
    pub(super) fn refuse(&mut self, now: Instant, peer: Peer, code: ConnectReturnCode, reason: Reason) {
        self.close(now, peer, reason);
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.push(&Packet::ConnAck { session_present: false, code }, 0);
        }
    }

    // ---- opened, connected → closing

    /// A packet that the standard forbids. Only this peer is closed (`[MQTT-4.8.0-1]`), and only a CONNECT may be
    /// answered before (`[MQTT-3.1.4-1]`): `[MQTT-3.1.2-2]`, `[MQTT-3.1.3-8]`. There is no return code for anything
    /// else (`[MQTT-3.2.2-6]`).
    pub(super) fn violated(&mut self, now: Instant, peer: Peer, violation: Violation) {
        let reason = Reason::Violation(violation);
        let opened = self.connections.get(&peer).is_some_and(|connection| connection.phase == Phase::Opened);
        match violation {
            Violation::ProtocolLevel if opened => {
                self.refuse(now, peer, ConnectReturnCode::UnacceptableProtocolVersion, reason);
            }
            Violation::ClientId if opened => self.refuse(now, peer, ConnectReturnCode::IdentifierRejected, reason),
            _ => self.close(now, peer, reason),
        }
    }

    /// DISCONNECT: the will is forgotten (`[MQTT-3.14.4-3]`, `[MQTT-3.1.2-10]`).
    pub(super) fn disconnected(&mut self, now: Instant, peer: Peer) {
        let will = self.connections.get_mut(&peer).and_then(|connection| connection.will.take());
        if let Some(will) = will {
            self.journal.no_will(&will);
        }
        self.close(now, peer, Reason::Disconnected);
    }

    /// Ends a connection; the host will be told to close it.
    pub(super) fn close(&mut self, now: Instant, peer: Peer, reason: Reason) {
        let Some(connection) = self.connections.get_mut(&peer) else { return };
        if matches!(connection.phase, Phase::Closing(_)) {
            return;
        }
        connection.phase = Phase::Closing(reason);
        // Its own doing: what it is owed for all it sent before still goes, the CONNACK first of all
        // ([MQTT-3.1.4-4]). Otherwise it is gone, or is to go at once.
        if matches!(reason, Reason::Disconnected | Reason::Violation(_) | Reason::Capacity(_)) {
            connection.stop_receiving();
        } else {
            connection.clear();
        }
        self.leave(now, peer);
        self.wake(peer);
    }

    // ---- any → none

    /// The host has been told to close it, or told that it is gone.
    pub(super) fn forget(&mut self, now: Instant, peer: Peer) {
        self.leave(now, peer);
        if self.connections.remove(&peer).is_some_and(|connection| connection.is_ready) {
            self.ready.retain(|ready| *ready != peer);
        }
    }

    /// What the end of a connection means for its session and will. Once: later calls find nothing to do.
    fn leave(&mut self, now: Instant, peer: Peer) {
        self.stop_alarm(peer);
        let Some(connection) = self.connections.get_mut(&peer) else { return };
        let will = connection.will.take();
        if let Some(key) = connection.session.take() {
            self.detach(now, key);
        }
        // [MQTT-3.1.2-8], [MQTT-3.1.2-12], [MQTT-3.1.2-16], [MQTT-3.1.2-17]
        if let Some(will) = will {
            self.journal.no_will(&will);
            self.publish_will(will.message, will.retain);
        }
    }

    // ---- sessions

    fn begin_session(&mut self, client_id: Arc<str>, clean: bool) -> SessionKey {
        self.last_session = self.last_session.wrapping_add(1);
        let key = self.last_session;
        self.clients.insert(client_id.clone(), key);
        let mut session = Session::new(client_id, clean);
        if self.journal.is_on() && !clean {
            session.record_open();
        }
        self.sessions.insert(key, session);
        key
    }

    fn detach(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        session.detach();
        if session.clean {
            self.end_session(key);
        } else if let Some(expiry) = self.config.session_expiry {
            let at = now.after(expiry);
            session.expiry = Some(at);
            self.alarms.insert((at, Alarm::Session(key)));
        }
    }

    /// Forgets a session. What is retained is no part of it (`[MQTT-3.1.2-7]`).
    fn end_session(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.remove(&key) else { return };
        self.clients.remove(&session.client_id);
        if !session.clean {
            self.journal.session_gone(key);
        }
        for filter in session.filters() {
            self.subscriptions.remove(filter, key);
        }
        if let Some(at) = session.expiry {
            self.alarms.remove(&(at, Alarm::Session(key)));
        }
    }

    // ---- time

    fn set_alarm(&mut self, peer: Peer, at: Instant) {
        self.stop_alarm(peer);
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.alarm = Some(at);
            self.alarms.insert((at, Alarm::Connection(peer)));
        }
    }

    fn stop_alarm(&mut self, peer: Peer) {
        if let Some(at) = self.connections.get_mut(&peer).and_then(|connection| connection.alarm.take()) {
            self.alarms.remove(&(at, Alarm::Connection(peer)));
        }
    }

    /// Lets at most `most` time-outs happen.
    pub(super) fn expire(&mut self, now: Instant, most: usize) {
        for _ in 0..most {
            let Some(&(at, alarm)) = self.alarms.first() else { return };
            if at > now {
                return;
            }
            self.alarms.pop_first();
            match alarm {
                Alarm::Session(key) => self.end_session(key),
                Alarm::Connection(peer) => self.overdue(now, peer),
                Alarm::Sys => self.publish_sys(now),
            }
        }
    }

    /// The alarm of a connection. It is not put off with every packet, but looked at again when it goes off.
    fn overdue(&mut self, now: Instant, peer: Peer) {
        let Some(connection) = self.connections.get_mut(&peer) else { return };
        connection.alarm = None;
        match (connection.phase, connection.silence) {
            (Phase::Opened, _) => self.close(now, peer, Reason::ConnectTimeout),
            (Phase::Asked, _) => self.refuse(now, peer, ConnectReturnCode::ServerUnavailable, Reason::ConnectTimeout),
            (Phase::Connected, Some(silence)) => {
                let due = connection.heard.after(silence);
                if due > now {
                    self.set_alarm(peer, due);
                } else {
                    self.close(now, peer, Reason::KeepAlive); // [MQTT-3.1.2-24]
                }
            }
            _ => {}
        }
    }

    // ---- telling the host

    /// The event that `peer` owes the host before anything is sent to it.
    pub(super) fn untold(&mut self, peer: Peer) -> Option<Event> {
        let connection = self.connections.get_mut(&peer)?;
        if let Some(password) = connection.unasked.take_if(|_| connection.phase == Phase::Asked) {
            let Request { client_id, username, .. } = connection.request.as_ref()?;
            let (client_id, username) = (client_id.clone(), username.clone());
            return Some(Event::Authenticate { peer, client_id, username, password });
        }
        let session_present = connection.untold.take()?;
        let session = self.sessions.get(&connection.session?)?;
        Some(Event::Connected { peer, client_id: session.client_id.clone(), session_present })
    }

    /// The event that ends `peer`, when all has been sent.
    pub(super) fn closed(&mut self, now: Instant, peer: Peer) -> Option<Event> {
        let Phase::Closing(reason) = self.connections.get(&peer)?.phase else { return None };
        self.forget(now, peer);
        Some(Event::Close { peer, reason })
    }
}
