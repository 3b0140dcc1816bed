//! Every state transition of the client, and nothing else.
//!
//! The connection:
//!
//! 1. `Closed`: [`Client::connect`] → 2.
//! 2. `Greeting`: CONNECT goes out → 3.
//! 3. `Connecting`: nothing else may come before CONNACK (`[MQTT-3.2.0-1]`), and we send nothing else before it. CONNACK
//!    accepts → 4; refuses, or does not come in time → 1.
//! 4. `Connected`: all that the table below says. Silence for the keep-alive → PINGREQ; no PINGRESP in time, whatever
//!    else comes → 1 (but see [`Excuse`]).
//!    [`Client::disconnect`]: what is due goes out, then DISCONNECT → 1.
//!
//! Each message and subscription has a place in the table and a [`Step`]; [`TABLE`] says what follows.
//!
//! A message from us:
//!
//! 5. QoS 0: PUBLISH goes out, done (`[MQTT-4.3.1-1]`).
//! 6. QoS 1: PUBLISH goes out, PUBACK comes, done (`[MQTT-4.3.2-1]`).
//! 7. QoS 2: PUBLISH goes out, PUBREC comes and the message is dropped, PUBREL goes out, PUBCOMP comes, done
//!    (`[MQTT-4.3.3-1]`). PUBRELs leave in the order of the PUBRECs (`[MQTT-4.6.0-4]`): the place moves to the end.
//!
//! A message to us:
//!
//! 8. QoS 1: PUBLISH arrives, its payload arrives, the application acknowledges (by itself with
//!    [`Config::manual_ack`](super::Config::manual_ack), else at once), PUBACK goes out, done (`[MQTT-4.3.2-2]`).
//! 9. QoS 2: the same up to PUBREC; the identifier is known until PUBREL comes, and a PUBLISH with it until then is the
//!    same message, acknowledged and not told again. PUBREL comes, PUBCOMP goes out, done (`[MQTT-4.3.3-2]`).
//!
//! Both are kept until then (`[MQTT-4.1.0-1]`, `[MQTT-4.1.0-2]`), and so are their identifiers (`[MQTT-2.3.1-3]`).
//!
//! When the connection ends, what is ours is due again (`[MQTT-4.4.0-1]`, in the table's order: `[MQTT-4.6.0-1]`), with
//! DUP if it had been sent (`[MQTT-3.3.1-1]`), and of what is the server's only QoS 2 stays. A server that comes back
//! without the session starts its identifiers anew, so these are forgotten too.

use super::{
    Client, CloseReason, Due, InFlight, LAST, NEVER, Receiving, Sending,
    slots::{NOWHERE, Side},
};
use crate::{
    Duration, Fail, Instant, Misuse, Peer,
    mqtt::{PacketId, Violation},
};

/// What the connection has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Link {
    Closed,
    // Closed, and why is still to be told: one more than the number of the reason.
    Requested = CloseReason::Requested as u8 + 1,
    ConnectTimeout = CloseReason::ConnectTimeout as u8 + 1,
    KeepAlive = CloseReason::KeepAlive as u8 + 1,
    Greeting,
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

/// How far a message or subscription has come. Those of ours are `due` until sent. Where no packet is kept, what is sent
/// is an acknowledgement, and the step's number is its first byte. In all of them 0x40 says that, 0x02 that it is ours,
/// and 0x04 that the place becomes free without another packet from the server, as it does behind the acknowledgements that
/// are not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Step {
    /// Ours at QoS 0.
    Message0 = 0x06,
    /// Ours at QoS 1: PUBACK is to come.
    Message1 = 0x02,
    /// Ours at QoS 2: PUBREC is to come.
    Message2 = 0x03,
    /// SUBACK is to come.
    Subscribe = 0x0A,
    /// UNSUBACK is to come.
    Unsubscribe = 0x0B,
    /// Ours at QoS 2, PUBREL: PUBCOMP is to come.
    Release = 0x62,
    /// Theirs at QoS 1: the payload is on its way.
    Arriving1 = 0x00,
    /// Theirs at QoS 2, likewise.
    Arriving2 = 0x01,
    /// Theirs at QoS 1: the application has it and has not acknowledged.
    Held1 = 0x04,
    /// Theirs at QoS 2, likewise.
    Held2 = 0x05,
    /// Theirs at QoS 2, likewise, but over an earlier connection: the server is going to send it again.
    Kept2 = 0x08,
    /// Theirs at QoS 2: PUBREL is to come.
    Known = 0x09,
    /// PUBACK is to be sent.
    PubAck = 0x40,
    /// PUBREC is to be sent.
    PubRec = 0x50,
    /// PUBCOMP is to be sent.
    PubComp = 0x70,
}

impl Step {
    pub(super) fn is_ours(self) -> bool {
        self as u8 & 0x02 != 0
    }

    /// Its packet is kept.
    pub(super) fn is_kept(self) -> bool {
        self as u8 & 0x42 == 0x02
    }

    /// Who comes to it has something to send.
    fn sends(self) -> bool {
        self as u8 & 0x42 != 0
    }

    /// Its place becomes free without another packet from the server, or a PUBREC leaves first.
    fn frees(self) -> bool {
        self as u8 & 0x04 != 0 || self as u8 & 0x42 == 0x40
    }
}

/// What makes a step follow another. What a packet causes has the packet's number (Table 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cause(u8);

impl Cause {
    /// The packet that was due is out.
    const SENT: Self = Self(0);
    /// The connection ended.
    const LOST: Self = Self(1);
    /// The server has no session.
    const FORGOTTEN: Self = Self(2);
    /// A PUBLISH that had come before, and the last of its payload.
    const AGAIN: Self = Self(3);
    pub(super) const PUBACK: Self = Self(4);
    pub(super) const PUBREC: Self = Self(5);
    const PUBREL: Self = Self(6);
    pub(super) const PUBCOMP: Self = Self(7);
    /// The last of the payload came.
    const WHOLE: Self = Self(8);
    const SUBACK: Self = Self(9);
    /// The application acknowledges.
    const ACKNOWLEDGE: Self = Self(10);
    const UNSUBACK: Self = Self(11);

    /// A packet of that type, which is an acknowledgement.
    pub(super) const fn packet(kind: u8) -> Self {
        Self(kind)
    }
}

/// The table: where a message or subscription is, what happens, and what follows: a step, or nothing as it is done. What
/// is not in it, the server may not do. (What is ours and has an identifier stays where it is when it is sent.)
pub(super) const TABLE: &[(Step, Cause, Option<Step>)] = &[
    // 5
    (Step::Message0, Cause::SENT, None),
    (Step::Message0, Cause::LOST, None),
    // 6
    (Step::Message1, Cause::PUBACK, None),
    (Step::Message1, Cause::LOST, Some(Step::Message1)),
    // 7
    (Step::Message2, Cause::PUBREC, Some(Step::Release)),
    (Step::Message2, Cause::LOST, Some(Step::Message2)),
    (Step::Release, Cause::PUBCOMP, None),
    (Step::Release, Cause::PUBREC, Some(Step::Release)),
    (Step::Release, Cause::LOST, Some(Step::Release)),
    // Subscriptions
    (Step::Subscribe, Cause::SUBACK, None),
    (Step::Subscribe, Cause::LOST, Some(Step::Subscribe)),
    (Step::Unsubscribe, Cause::UNSUBACK, None),
    (Step::Unsubscribe, Cause::LOST, Some(Step::Unsubscribe)),
    // 8
    (Step::Arriving1, Cause::WHOLE, Some(Step::Held1)),
    (Step::Arriving1, Cause::LOST, None),
    (Step::Held1, Cause::ACKNOWLEDGE, Some(Step::PubAck)),
    (Step::Held1, Cause::AGAIN, Some(Step::Held1)),
    (Step::Held1, Cause::LOST, None),
    (Step::PubAck, Cause::SENT, None),
    (Step::PubAck, Cause::LOST, None),
    // 9
    (Step::Arriving2, Cause::WHOLE, Some(Step::Held2)),
    (Step::Arriving2, Cause::LOST, None),
    (Step::Held2, Cause::ACKNOWLEDGE, Some(Step::PubRec)),
    (Step::Held2, Cause::AGAIN, Some(Step::Held2)),
    (Step::Held2, Cause::LOST, Some(Step::Kept2)),
    // PUBREC waits for the PUBLISH that it is going to answer.
    (Step::Kept2, Cause::ACKNOWLEDGE, Some(Step::Known)),
    (Step::Kept2, Cause::AGAIN, Some(Step::Held2)),
    (Step::Kept2, Cause::LOST, Some(Step::Kept2)),
    (Step::Kept2, Cause::FORGOTTEN, None),
    (Step::PubRec, Cause::SENT, Some(Step::Known)),
    (Step::PubRec, Cause::LOST, Some(Step::Known)),
    (Step::Known, Cause::AGAIN, Some(Step::PubRec)),
    (Step::Known, Cause::PUBREL, Some(Step::PubComp)),
    (Step::Known, Cause::LOST, Some(Step::Known)),
    (Step::Known, Cause::FORGOTTEN, None),
    (Step::PubComp, Cause::SENT, None),
    (Step::PubComp, Cause::LOST, None),
];

/// Looks it up. `None`: it is not in the table.
#[cfg_attr(not(feature = "opt-size"), inline(always))]
fn next(step: Step, cause: Cause) -> Option<Option<Step>> {
    let row = TABLE.iter().find(|(from, on, _)| *from == step && *on == cause);
    row.map(|(_, _, next)| *next)
}

/// What came of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Taken {
    /// What it was about is done.
    Done,
    /// Nothing to tell.
    Quiet,
    /// Something has to leave the table first.
    NotNow,
    /// It may not come.
    Unexpected,
    /// A SUBACK with another number of return codes than there were filters.
    Miscounted,
}

/// Whether a PUBLISH of QoS 1 or 2 is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Admission {
    New,
    /// It was told before.
    Duplicate,
    /// Something has to leave the table first.
    NotNow,
    /// Nothing will leave the table before this PUBLISH is taken in.
    Overflow,
    /// Its identifier is in use for another message (`[MQTT-2.3.1-4]`).
    Unexpected,
}

impl Client<'_> {
    // ---- the connection

    /// 1 → 2
    pub(super) fn opened(&mut self, peer: Peer, clean_session: bool, keep_alive: u16) {
        self.peer = peer;
        self.has_session = !clean_session;
        self.keep_alive = keep_alive;
        self.link = Link::Greeting;
        self.await_answer();
        self.stir();
    }

    /// 3 → 4
    pub(super) fn accepted(&mut self, session_present: bool) -> Result<(), Fail> {
        if session_present && !self.has_session {
            return Err(Violation::ConnAck.into()); // [MQTT-3.2.2-1]
        }
        if !session_present {
            self.all(Cause::FORGOTTEN);
        }
        self.link = Link::Connected;
        self.answer = NEVER;
        self.stir();
        Ok(())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.link < Link::Greeting
    }

    /// Any → 1
    pub(super) fn lost(&mut self) {
        if self.is_closed() {
            return;
        }
        self.link = Link::Closed;
        (self.idle, self.answer) = (NEVER, NEVER);
        self.sending = Sending::default();
        self.receiving = Receiving::default();
        self.leaving = false;
        self.ping = false;
        self.excuse = Excuse::None;
        self.all(Cause::LOST);
    }

    /// Any → 1, to be told by `poll_output`.
    pub(super) fn close(&mut self, reason: Link) {
        self.lost();
        self.link = reason;
        self.stir();
    }

    /// Lets the next `poll_output` look for something to send or to tell. Firmware always looks, and has less code.
    #[inline]
    pub(super) fn stir(&mut self) {
        if !cfg!(feature = "opt-size") {
            self.due = true;
        }
    }

    /// So many times so many microseconds from now.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn later(&self, times: u32, micros: u32) -> Instant {
        self.clock.now().after(Duration::from_micros(u64::from(times).wrapping_mul(micros.into())))
    }

    /// Deadlines.
    #[inline]
    pub(super) fn timed_out(&mut self) {
        // Firmware has less code without this short way.
        if cfg!(feature = "opt-size") || self.idle.min(self.answer) <= self.clock.now() {
            self.run_out();
        }
    }

    #[cfg_attr(not(feature = "opt-size"), cold)]
    #[inline(never)]
    fn run_out(&mut self) {
        // Before the end of time, so that what never runs out does not.
        let now = self.clock.now().min(LAST);
        if self.answer <= now {
            let reason = if self.link == Link::Connected { Link::KeepAlive } else { Link::ConnectTimeout };
            // A client that is not connected receives nothing.
            if self.excuse == Excuse::None && self.is_receiving() {
                self.await_pong();
            } else {
                self.close(reason);
            }
        }
        if self.idle <= now {
            self.idle = NEVER;
            self.ping = true;
            self.stir();
        }
    }

    /// The keep-alive starts again (`[MQTT-3.1.2-23]`): an eighth of it early, so that it holds though the caller's
    /// timer is late.
    fn rest(&mut self) {
        if self.keep_alive != 0 {
            self.idle = self.later(self.keep_alive.into(), 875_000);
        }
        self.heard = false;
    }

    /// Bytes left. Sending puts the next PINGREQ off, unless nothing has been heard since it was put off last: who only
    /// sends learns too that nobody is there.
    pub(super) fn bytes_out(&mut self) {
        if self.link != Link::Connected || self.heard {
            self.rest();
        }
    }

    /// Bytes came. Those of the message that stands before the PINGRESP begin its time anew, and so does its end; whatever
    /// else comes does not.
    pub(super) fn bytes_in(&mut self) {
        self.heard = true;
        if self.excuse == Excuse::UnderWay {
            self.await_pong();
            if !self.is_receiving() {
                self.excuse = Excuse::Spent;
            }
        }
    }

    /// PINGRESP has its whole time from now on, and a message that is under way stands before it.
    fn await_pong(&mut self) {
        self.excuse = if self.is_receiving() { Excuse::UnderWay } else { Excuse::None };
        self.await_answer();
    }

    fn await_answer(&mut self) {
        self.answer = self.later(self.answer_timeout, 1000);
    }

    /// A message is under way.
    pub(super) fn is_receiving(&self) -> bool {
        self.receiving.left != 0 || self.receiving.header != 0
    }

    /// PINGREQ leaves.
    pub(super) fn pinged(&mut self) {
        self.ping = false;
        self.rest();
        if self.answer == NEVER {
            self.await_pong();
        }
    }

    /// PINGRESP came.
    pub(super) fn ponged(&mut self) {
        self.answer = NEVER;
        self.excuse = Excuse::None;
    }

    // ---- messages and subscriptions

    /// PUBLISH came.
    pub(super) fn arriving(&mut self, at_2: bool, id: PacketId, dup: bool) -> Admission {
        let index = self.slots.find(Some(id), Side::Theirs);
        if let Some(&InFlight { step, due, .. }) = self.slots.get(index) {
            if due != Due::No {
                return Admission::NotNow;
            }
            // §4.4 lets a server send again over the same connection, too.
            let same = if at_2 { step != Step::Held1 } else { step == Step::Held1 && dup };
            let again = same && next(step, Cause::AGAIN).is_some();
            return if again { Admission::Duplicate } else { Admission::Unexpected };
        }
        let step = if at_2 { Step::Arriving2 } else { Step::Arriving1 };
        if self.slots.push(Some(id), step, Due::No).is_some() {
            Admission::New
        } else if self.will_free() {
            Admission::NotNow
        } else {
            Admission::Overflow
        }
    }

    /// Whether a place becomes free without another packet from the server, or a PUBREC leaves first: without it the
    /// server would begin the next connection with the same messages, for ever.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn will_free(&self) -> bool {
        self.slots.as_slice().iter().any(|slot| slot.step.frees())
    }

    /// The last of the payload came.
    pub(super) fn arrived(&mut self) {
        let index = self.slots.find(self.receiving.id.take(), Side::Theirs);
        if self.apply(index, Cause::WHOLE) == Taken::Unexpected {
            self.apply(index, Cause::AGAIN);
        } else if self.receiving.quiet || !self.manual_ack {
            // What was passed over, nobody can acknowledge, and yet it has to be: [MQTT-4.5.0-2].
            self.apply(index, Cause::ACKNOWLEDGE);
        }
    }

    /// The application acknowledges.
    pub(super) fn acknowledged(&mut self, id: PacketId) -> Result<(), Misuse> {
        let index = self.slots.find(Some(id), Side::Theirs);
        if index == NOWHERE || self.apply(index, Cause::ACKNOWLEDGE) == Taken::Unexpected {
            return Err(Misuse::UnknownId);
        }
        Ok(())
    }

    /// A packet came that is about what has a place; a SUBACK with that many `codes`.
    #[cfg_attr(not(feature = "opt-size"), inline(always))]
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn answered(&mut self, cause: Cause, id: PacketId, codes: usize) -> Taken {
        let side = if cause == Cause::PUBREL { Side::Theirs } else { Side::Ours };
        let index = self.slots.find(Some(id), side);
        let Some(&InFlight { step, due, more, .. }) = self.slots.get(index) else {
            let step = match cause {
                // Forgotten already, and yet it wants its answer.
                Cause::PUBREL => Step::PubComp,
                // A server that kept a session which we lost goes on with it.
                Cause::PUBREC => Step::Release,
                _ => return Taken::Quiet,
            };
            // Where there never will be a place for the answer, it is left out.
            self.stir();
            let taken = self.slots.push(Some(id), step, Due::Yes).is_some();
            return if taken || !self.will_free() { Taken::Quiet } else { Taken::NotNow };
        };
        if due != Due::No {
            if side == Side::Theirs {
                return Taken::NotNow;
            }
            // It answers nothing that was sent over this connection.
            if step.is_kept() {
                return Taken::Quiet;
            }
        }
        // [MQTT-3.9.3-1]
        if step == Step::Subscribe && cause == Cause::SUBACK && usize::from(more) != codes {
            return Taken::Miscounted;
        }
        if cfg!(feature = "opt-size") { self.apply(index, cause) } else { self.apply_here(index, cause) }
    }

    /// The packet that was due is out.
    pub(super) fn sent(&mut self, index: usize) {
        match self.slots.get_mut(index) {
            Some(place) if place.step.is_ours() && place.id.is_some() => place.due = Due::No,
            _ => {
                self.apply(index, Cause::SENT);
            }
        }
    }

    fn all(&mut self, cause: Cause) {
        let mut index = 0_usize;
        while index < self.slots.as_slice().len() {
            if self.apply(index, cause) != Taken::Done {
                index = index.wrapping_add(1);
            }
        }
    }

    /// Takes one place one step further.
    pub(super) fn apply(&mut self, index: usize, cause: Cause) -> Taken {
        self.apply_here(index, cause)
    }

    /// Likewise, without a call.
    #[cfg_attr(not(feature = "opt-size"), inline(always))]
    fn apply_here(&mut self, index: usize, cause: Cause) -> Taken {
        let Some(place) = self.slots.get_mut(index) else { return Taken::Quiet };
        let InFlight { id, step: before, due, .. } = *place;
        let Some(next) = next(before, cause) else { return Taken::Unexpected };
        let Some(step) = next else {
            self.slots.remove(index);
            return Taken::Done;
        };
        place.step = step;
        place.due = Due::No;
        if step.sends() {
            place.due = Due::Yes;
            self.stir();
        }
        if step == Step::Release && before == Step::Message2 {
            // 7: the message is no longer needed, and the place moves to the end.
            self.slots.remove(index);
            self.slots.push(id, step, Due::Yes);
        } else if cause == Cause::LOST && due != Due::Yes {
            self.sent_before(index);
        }
        Taken::Quiet
    }

    /// Sets DUP in a kept packet that is a PUBLISH of QoS 1 or 2: it has been sent, or part of it.
    fn sent_before(&mut self, index: usize) {
        let (start, len) = self.slots.span(index);
        // What keeps no packet begins where that of another does.
        if len != 0
            && let Some(first @ (0x32..=0x35)) = self.slots.memory.get_mut(start)
        {
            *first |= 0x08; // [MQTT-3.3.1-1]
        }
    }
}
