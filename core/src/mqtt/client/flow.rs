//! Every state transition of the client, and nothing else.
//!
//! The connection:
//!
//! 1. `Closed`: [`Client::connect`] queues CONNECT → 2.
//! 2. `Connecting`: CONNECT goes out; nothing else may come before CONNACK (`[MQTT-3.2.0-1]`), and we send nothing else
//!    before it. CONNACK accepts → 3; refuses, or does not come in time → 1.
//! 3. `Connected`: all that the table below says. Silence for the keep-alive → PINGREQ; no PINGRESP in time, whatever
//!    else comes → 1 (but see [`Excuse`]).
//!    [`Client::disconnect`]: what is due goes out, then DISCONNECT → 1.
//!
//! Each message and subscription has a place in the table and a [`Step`]; [`TABLE`] says what follows.
//!
//! A message from us:
//!
//! 4. QoS 0: PUBLISH goes out, done (`[MQTT-4.3.1-1]`).
//! 5. QoS 1: PUBLISH goes out, PUBACK comes, done (`[MQTT-4.3.2-1]`).
//! 6. QoS 2: PUBLISH goes out, PUBREC comes and the message is dropped, PUBREL goes out, PUBCOMP comes, done
//!    (`[MQTT-4.3.3-1]`). PUBRELs leave in the order of the PUBRECs (`[MQTT-4.6.0-4]`): the place moves to the end.
//!
//! A message to us:
//!
//! 7. QoS 1: PUBLISH arrives, its payload arrives, the application acknowledges (by itself with
//!    [`Config::manual_ack`](super::Config::manual_ack), else at once), PUBACK goes out, done (`[MQTT-4.3.2-2]`).
//! 8. QoS 2: the same up to PUBREC; the identifier is known until PUBREL comes, and a PUBLISH with it until then is the
//!    same message, acknowledged and not told again. PUBREL comes, PUBCOMP goes out, done (`[MQTT-4.3.3-2]`).
//!
//! Both are kept until then (`[MQTT-4.1.0-1]`, `[MQTT-4.1.0-2]`), and so are their identifiers (`[MQTT-2.3.1-3]`).
//!
//! When the connection ends, what is ours is due again (`[MQTT-4.4.0-1]`, in the table's order: `[MQTT-4.6.0-1]`), with
//! DUP if it had been sent (`[MQTT-3.3.1-1]`), and of what is the server's only QoS 2 stays. A server that comes back
//! without the session starts its identifiers anew, so these are forgotten too.

use super::{Client, CloseReason, Deadline, InFlight, Receiving, Sending, TAG_CONNECT, TAG_QOS0};
use crate::{
    Duration, Instant, Peer,
    mqtt::{PacketId, QoS, Violation},
};

/// What the connection has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Closed,
    Connecting,
    Connected,
}

/// Why PINGRESP may be late: one message, begun before the PINGREQ left or at least before the time was up, whose
/// payload is still coming, stands before it in the stream. One for each wait, or packet after packet could take the
/// place of the answer for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excuse {
    /// There has been none.
    None,
    /// That message is under way. Each part of it begins the wait anew; silence ends it.
    UnderWay,
    /// It is whole, and nothing puts the end of the wait off any more.
    Spent,
}

/// How far a message or subscription has come. Those of ours are `due` until sent; [`Step::PubAck`],
/// [`Step::PubRec`] and [`Step::PubComp`] always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Step {
    /// Ours at QoS 0.
    Message0,
    /// Ours at QoS 1: PUBACK is to come.
    Message1,
    /// Ours at QoS 2: PUBREC is to come.
    Message2,
    /// SUBACK is to come.
    Subscribe,
    /// UNSUBACK is to come.
    Unsubscribe,
    /// Ours at QoS 2, PUBREL: PUBCOMP is to come.
    Release,
    /// Theirs at QoS 1: the payload is on its way.
    Arriving1,
    /// Theirs at QoS 2, likewise.
    Arriving2,
    /// Theirs at QoS 1: the application has it and has not acknowledged.
    Held1,
    /// Theirs at QoS 2, likewise.
    Held2,
    /// Theirs at QoS 2, likewise, but over an earlier connection: the server is going to send it again.
    Kept2,
    /// PUBACK is to be sent.
    PubAck,
    /// PUBREC is to be sent.
    PubRec,
    /// Theirs at QoS 2: PUBREL is to come.
    Known,
    /// PUBCOMP is to be sent.
    PubComp,
}

impl Step {
    pub(super) fn is_ours(self) -> bool {
        self <= Self::Release
    }

    /// The arena holds its packet.
    pub(super) fn is_kept(self) -> bool {
        self < Self::Release
    }
}

/// What makes a step follow another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Cause {
    /// The packet that was due is out.
    Sent,
    /// This packet came.
    PubAck,
    PubRec,
    PubComp,
    SubAck,
    UnsubAck,
    PubRel,
    /// The last of the payload came.
    Whole,
    /// The last of the payload came of a PUBLISH that had come before.
    Again,
    /// The application acknowledges.
    Acknowledge,
    /// The connection ended.
    Lost,
    /// The server has no session.
    Forgotten,
}

impl Cause {
    fn is_answer(self) -> bool {
        Self::PubAck <= self && self <= Self::UnsubAck
    }
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// This step; nothing to send.
    Wait(Step),
    /// This step, with its packet to send.
    Send(Step),
    /// Done.
    Gone,
    /// Nothing: what came answers nothing that was sent over this connection.
    Ignore,
    /// The server may not.
    Breach,
}

/// The table: where a message or subscription is, what happens, what follows. What is not in it, the server may not do.
pub(super) const TABLE: &[(Step, Cause, Next)] = &[
    // 4
    (Step::Message0, Cause::Sent, Next::Gone),
    (Step::Message0, Cause::Lost, Next::Gone),
    // What was queued after `connect` belongs to the new session.
    (Step::Message0, Cause::Forgotten, Next::Send(Step::Message0)),
    // 5
    (Step::Message1, Cause::Sent, Next::Wait(Step::Message1)),
    (Step::Message1, Cause::PubAck, Next::Gone),
    (Step::Message1, Cause::Lost, Next::Send(Step::Message1)),
    (Step::Message1, Cause::Forgotten, Next::Send(Step::Message1)),
    // 6
    (Step::Message2, Cause::Sent, Next::Wait(Step::Message2)),
    (Step::Message2, Cause::PubRec, Next::Send(Step::Release)),
    (Step::Message2, Cause::Lost, Next::Send(Step::Message2)),
    (Step::Message2, Cause::Forgotten, Next::Send(Step::Message2)),
    (Step::Release, Cause::Sent, Next::Wait(Step::Release)),
    (Step::Release, Cause::PubRec, Next::Send(Step::Release)),
    (Step::Release, Cause::PubComp, Next::Gone),
    (Step::Release, Cause::Lost, Next::Send(Step::Release)),
    (Step::Release, Cause::Forgotten, Next::Send(Step::Release)),
    // Subscriptions
    (Step::Subscribe, Cause::Sent, Next::Wait(Step::Subscribe)),
    (Step::Subscribe, Cause::SubAck, Next::Gone),
    (Step::Subscribe, Cause::Lost, Next::Send(Step::Subscribe)),
    (Step::Subscribe, Cause::Forgotten, Next::Send(Step::Subscribe)),
    (Step::Unsubscribe, Cause::Sent, Next::Wait(Step::Unsubscribe)),
    (Step::Unsubscribe, Cause::UnsubAck, Next::Gone),
    (Step::Unsubscribe, Cause::Lost, Next::Send(Step::Unsubscribe)),
    (Step::Unsubscribe, Cause::Forgotten, Next::Send(Step::Unsubscribe)),
    // 7
    (Step::Arriving1, Cause::Whole, Next::Wait(Step::Held1)),
    (Step::Arriving1, Cause::Lost, Next::Gone),
    (Step::Held1, Cause::Acknowledge, Next::Send(Step::PubAck)),
    (Step::Held1, Cause::Again, Next::Wait(Step::Held1)),
    (Step::Held1, Cause::Lost, Next::Gone),
    (Step::PubAck, Cause::Sent, Next::Gone),
    (Step::PubAck, Cause::Lost, Next::Gone),
    // 8
    (Step::Arriving2, Cause::Whole, Next::Wait(Step::Held2)),
    (Step::Arriving2, Cause::Lost, Next::Gone),
    (Step::Held2, Cause::Acknowledge, Next::Send(Step::PubRec)),
    (Step::Held2, Cause::Again, Next::Wait(Step::Held2)),
    (Step::Held2, Cause::Lost, Next::Wait(Step::Kept2)),
    // PUBREC waits for the PUBLISH that it is going to answer.
    (Step::Kept2, Cause::Acknowledge, Next::Wait(Step::Known)),
    (Step::Kept2, Cause::Again, Next::Wait(Step::Held2)),
    (Step::Kept2, Cause::Lost, Next::Wait(Step::Kept2)),
    (Step::Kept2, Cause::Forgotten, Next::Gone),
    (Step::PubRec, Cause::Sent, Next::Wait(Step::Known)),
    (Step::PubRec, Cause::Lost, Next::Wait(Step::Known)),
    (Step::Known, Cause::Again, Next::Send(Step::PubRec)),
    (Step::Known, Cause::PubRel, Next::Send(Step::PubComp)),
    (Step::Known, Cause::Lost, Next::Wait(Step::Known)),
    (Step::Known, Cause::Forgotten, Next::Gone),
    (Step::PubComp, Cause::Sent, Next::Gone),
    (Step::PubComp, Cause::Lost, Next::Gone),
];

/// Looks it up. An answer to what has not been sent over this connection yet counts for nothing.
fn next(slot: InFlight, cause: Cause) -> Next {
    if slot.due && slot.step.is_kept() && cause.is_answer() {
        return Next::Ignore;
    }
    let row = TABLE.iter().find(|(step, on, _)| *step == slot.step && *on == cause);
    row.map_or(Next::Breach, |(_, _, next)| *next)
}

/// Whether a PUBLISH of QoS 1 or 2 is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    New,
    /// It was told before.
    Duplicate,
    /// Something has to leave the table first.
    NotNow,
    /// Nothing will leave the table before this PUBLISH is taken in.
    Overflow,
}

impl Client<'_> {
    // ---- the connection

    /// 1 → 2
    pub(super) fn opened(&mut self, now: Instant, peer: Peer, clean_session: bool, keep_alive: u16) {
        let now = self.clock.advance(now);
        if clean_session || self.clean_session {
            self.slots.clear();
            self.arena.clear();
        }
        self.peer = peer;
        self.clean_session = clean_session;
        self.keep_alive = keep_alive;
        self.closed = None;
        self.link = Link::Connecting;
        self.timers.set(Deadline::Answer, now.after(self.config.answer_timeout));
    }

    /// 2 → 3
    pub(super) fn accepted(&mut self, session_present: bool) -> Result<(), Violation> {
        if session_present && self.clean_session {
            return Err(Violation::ConnAck); // [MQTT-3.2.2-1]
        }
        if !session_present {
            self.all(Cause::Forgotten);
        }
        self.link = Link::Connected;
        self.timers.stop(Deadline::Answer);
        Ok(())
    }

    /// Any → 1
    pub(super) fn lost(&mut self) {
        if self.link == Link::Closed {
            return;
        }
        self.link = Link::Closed;
        self.timers = crate::timer::Timers::STOPPED;
        if let Sending { tag: Some(tag), sent: 1.., .. } = self.sending {
            self.sent_before(tag);
        }
        self.sending = Sending::default();
        self.receiving = Receiving::default();
        self.leaving = false;
        self.ping = false;
        self.excuse = Excuse::None;
        self.arena.remove(TAG_CONNECT);
        self.all(Cause::Lost);
    }

    /// Any → 1, to be told by `poll_output`.
    pub(super) fn close(&mut self, reason: CloseReason) {
        self.lost();
        self.closed = Some(reason);
    }

    /// Deadlines.
    pub(super) fn timed_out(&mut self, now: Instant) {
        if self.timers.expired(Deadline::Answer, now) {
            if self.link == Link::Connecting {
                self.close(CloseReason::ConnectTimeout);
            } else if self.excuse == Excuse::None && self.is_receiving() {
                self.await_pong(now);
            } else {
                self.close(CloseReason::KeepAlive);
            }
        }
        if self.timers.expired(Deadline::Idle, now) {
            self.ping = true;
        }
    }

    /// The keep-alive starts again (`[MQTT-3.1.2-23]`): an eighth of it early, so that it holds though the caller's
    /// timer is late.
    fn rest(&mut self, now: Instant) {
        if self.keep_alive != 0 {
            let quiet = Duration::from_micros(875_000).times(self.keep_alive.into());
            self.timers.set(Deadline::Idle, now.after(quiet));
        }
        self.heard = false;
    }

    /// Bytes left. Sending puts the next PINGREQ off, unless nothing has been heard since it was put off last: who only
    /// sends learns too that nobody is there.
    pub(super) fn bytes_out(&mut self, now: Instant) {
        if self.link == Link::Connecting || self.heard {
            self.rest(now);
        }
    }

    /// Bytes came. Those of the message that stands before the PINGRESP begin its time anew, and so does its end; whatever
    /// else comes does not.
    pub(super) fn bytes_in(&mut self, now: Instant) {
        self.heard = true;
        if self.excuse == Excuse::UnderWay {
            self.await_pong(now);
            if !self.is_receiving() {
                self.excuse = Excuse::Spent;
            }
        }
    }

    /// PINGRESP has its whole time from now on, and a message that is under way stands before it.
    fn await_pong(&mut self, now: Instant) {
        self.excuse = if self.is_receiving() { Excuse::UnderWay } else { Excuse::None };
        self.timers.set(Deadline::Answer, now.after(self.config.answer_timeout));
    }

    /// A message is under way.
    fn is_receiving(&self) -> bool {
        self.receiving.left != 0 || self.receiving.header != 0
    }

    /// PINGREQ left.
    pub(super) fn pinged(&mut self, now: Instant) {
        self.ping = false;
        self.rest(now);
        if self.timers.get(Deadline::Answer).is_none() {
            self.await_pong(now);
        }
    }

    /// PINGRESP came.
    pub(super) fn ponged(&mut self) {
        self.timers.stop(Deadline::Answer);
        self.excuse = Excuse::None;
    }

    // ---- messages and subscriptions

    /// A command's packet is in the arena. There is a place: the command looked.
    pub(super) fn queued(&mut self, step: Step, id: Option<PacketId>, filters: u16, streamed: bool) {
        if let Some(id) = id {
            self.next_id = id.next();
        }
        self.slots.push(InFlight { step, due: true, streamed, id, filters });
    }

    /// PUBLISH came.
    pub(super) fn arriving(&mut self, qos: QoS, id: PacketId, dup: bool) -> Result<Admission, Violation> {
        let at_2 = qos == QoS::ExactlyOnce;
        match self.slots.received(id).and_then(|index| self.slots.get(index)) {
            None => {}
            Some(slot) if slot.due => return Ok(Admission::NotNow),
            Some(slot) if at_2 && matches!(slot.step, Step::Known | Step::Held2 | Step::Kept2) => {
                return Ok(Admission::Duplicate);
            }
            // §4.4 lets a server send again over the same connection, too.
            Some(slot) if !at_2 && dup && slot.step == Step::Held1 => return Ok(Admission::Duplicate),
            Some(_) => return Err(Violation::UnexpectedPacket), // [MQTT-2.3.1-4]
        }
        let step = if at_2 { Step::Arriving2 } else { Step::Arriving1 };
        Ok(if self.slots.push(InFlight { step, id: Some(id), ..InFlight::EMPTY }) {
            Admission::New
        } else if self.will_free() {
            Admission::NotNow
        } else {
            Admission::Overflow
        })
    }

    /// Whether a place becomes free without another packet from the server, or a PUBREC leaves first: without it the
    /// server would begin the next connection with the same messages, for ever.
    fn will_free(&self) -> bool {
        use Step::{Held1, Held2, Message0, PubAck, PubComp, PubRec};
        let frees = |step| matches!(step, Message0 | Held1 | Held2 | PubAck | PubRec | PubComp);
        self.slots.as_slice().iter().any(|slot| frees(slot.step))
    }

    /// The last of the payload came.
    pub(super) fn arrived(&mut self) {
        let Some(id) = self.receiving.id.take() else { return };
        let Some(index) = self.slots.received(id) else { return };
        let fresh =
            matches!(self.slots.get(index), Some(slot) if matches!(slot.step, Step::Arriving1 | Step::Arriving2));
        self.apply(index, if fresh { Cause::Whole } else { Cause::Again });
        // What was passed over, nobody can acknowledge, and yet it has to be: [MQTT-4.5.0-2].
        if fresh && (self.receiving.quiet || !self.config.manual_ack) {
            self.apply(index, Cause::Acknowledge);
        }
    }

    /// The application acknowledges. Whether it can.
    pub(super) fn acknowledged(&mut self, id: PacketId) -> bool {
        self.slots.received(id).is_some_and(|index| self.apply(index, Cause::Acknowledge) != Next::Breach)
    }

    /// PUBREL came. Whether it could be taken in.
    pub(super) fn released(&mut self, id: PacketId) -> Result<bool, Violation> {
        match self.slots.received(id) {
            Some(index) if self.slots.get(index).is_some_and(|slot| slot.due) => Ok(false),
            Some(index) if self.apply(index, Cause::PubRel) == Next::Breach => Err(Violation::UnexpectedPacket),
            Some(_) => Ok(true),
            // Forgotten already, and yet it wants its answer.
            None => Ok(self.answer(Step::PubComp, id)),
        }
    }

    /// PUBACK, PUBREC, PUBCOMP, SUBACK or UNSUBACK came. What it led to.
    pub(super) fn answered(&mut self, id: PacketId, cause: Cause) -> Result<Next, Violation> {
        match self.slots.sent(id) {
            Some(index) => match self.apply(index, cause) {
                Next::Breach => Err(Violation::UnexpectedPacket),
                next => Ok(next),
            },
            // A server that kept a session which we lost goes on with it.
            None if cause == Cause::PubRec && !self.answer(Step::Release, id) => Ok(Next::Breach),
            None => Ok(Next::Ignore),
        }
    }

    /// Makes a place for nothing but an answer. Whether there was one; where there never will be, the answer is left
    /// out.
    fn answer(&mut self, step: Step, id: PacketId) -> bool {
        self.slots.push(InFlight { step, due: true, id: Some(id), ..InFlight::EMPTY }) || !self.will_free()
    }

    /// The packet of a place left.
    pub(super) fn sent(&mut self, index: usize) {
        self.apply(index, Cause::Sent);
    }

    /// The kept packet with this tag left.
    pub(super) fn kept_sent(&mut self, tag: u32) {
        self.sending = Sending::default();
        if tag == TAG_CONNECT {
            self.arena.remove(tag);
            return;
        }
        let of_tag = |slot: &InFlight| slot.step.is_kept() && slot.id.map_or(TAG_QOS0, |id| id.get().into()) == tag;
        if let Some(index) = self.slots.as_slice().iter().position(of_tag) {
            self.sent(index);
        }
    }

    /// Sets DUP in a kept packet that is a PUBLISH of QoS 1 or 2: it has been sent, or part of it.
    fn sent_before(&mut self, tag: u32) {
        if let Some(first @ (0x32..=0x35)) = self.arena.get_mut(tag).and_then(|packet| packet.first_mut()) {
            *first |= 0x08; // [MQTT-3.3.1-1]
        }
    }

    fn all(&mut self, cause: Cause) {
        let mut index = 0_usize;
        while index < self.slots.as_slice().len() {
            if self.apply(index, cause) != Next::Gone {
                index = index.saturating_add(1);
            }
        }
    }

    /// Takes one place one step further.
    fn apply(&mut self, index: usize, cause: Cause) -> Next {
        let Some(slot) = self.slots.get(index) else { return Next::Ignore };
        let next = next(slot, cause);
        let tag = slot.id.map_or(TAG_QOS0, |id| id.get().into());
        let (step, due) = match next {
            Next::Ignore | Next::Breach => return next,
            Next::Gone => {
                if slot.step.is_kept() {
                    self.arena.remove(tag);
                }
                self.slots.remove(index);
                return next;
            }
            Next::Wait(step) => (step, false),
            Next::Send(step) => (step, true),
        };
        match (slot.step, cause) {
            // 6: the message is no longer needed, and the place moves to the end.
            (Step::Message2, Cause::PubRec) => {
                self.arena.remove(tag);
                self.slots.remove(index);
                self.slots.push(InFlight { step, due, streamed: false, ..slot });
            }
            _ => {
                if cause == Cause::Lost && slot.step.is_kept() && !slot.due {
                    self.sent_before(tag);
                }
                if let Some(place) = self.slots.get_mut(index) {
                    *place = InFlight { step, due, ..slot };
                }
            }
        }
        next
    }
}
