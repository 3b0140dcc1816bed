//! Observers of our resources (RFC 7641 §4).
//!
//! A notification stands once in the arena, however many observers it goes to. One that is newer takes its place with those
//! who have not had it: observers see the latest state, not every state (§4.5.2).

use super::{
    block::{self, Bits},
    endpoint::{Endpoint, Error, tag},
    event::{Reply, RequestId, Resource},
    flight::{NONE, Owner},
    message::{Token, Type},
    option,
    outline::{Outline, check_reply, own},
    raw::{Kind, Told},
};
use crate::{Capacity, Instant, Misuse, Peer};

/// About a day (§4.5: a CON notification at least every 24 hours), in spans of 71 minutes: when so many have ended, 22 hours and a
/// half to 24 are over.
const DAY: u8 = 20;

/// So many NON notifications may follow each other: then one is CON, and until that is acknowledged there is no other (§7).
const UNCONFIRMED: u8 = 31;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Free,
    Here,
    /// The notification it is about to get is the last (§4.2).
    Ending,
    /// To be told to the host.
    Gone,
}

/// What is to be sent to an observer, and whether something was: a bit each.
mod due {
    pub(super) const NON: u8 = 1;
    pub(super) const CON: u8 = 2;
    pub(super) const SOME: u8 = NON | CON;
    /// It has been told something, under the message ID that is kept.
    pub(super) const TOLD: u8 = 4;
}

/// An observer. Part of [`Resources`](super::Resources).
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct Observer {
    // What is short first, where short instructions reach it.
    state: State,
    /// Whether there is a notification that was not sent to it yet: of those in [`due`].
    due: u8,
    /// NON notifications since it was last heard of.
    unconfirmed: u8,
    /// Spans of 2^32 µs that have ended since then.
    age: u8,
    szx: u8,
    token: Token,
    /// The message ID of the latest, where it was told one.
    mid: u16,
    peer: Peer,
    resource: Resource,
    /// The number of the notification that is due or under way; 0: none.
    note: u32,
}

impl Observer {
    /// A free place.
    pub const EMPTY: Self = Self {
        peer: Peer(0),
        resource: Resource(0),
        note: 0,
        mid: 0,
        token: Token::EMPTY,
        state: State::Free,
        due: 0,
        unconfirmed: 0,
        age: 0,
        szx: 0,
    };

    pub(super) fn was_told(&self, peer: Peer, mid: u16) -> bool {
        matches!(self.state, State::Here | State::Ending)
            && self.due & due::TOLD != 0
            && self.peer == peer
            && self.mid == mid
    }

    /// So many spans of 2^32 µs have ended.
    pub(super) fn pass(&mut self, spans: u32) {
        self.age = self.age.saturating_add(u8::try_from(spans).unwrap_or(u8::MAX));
    }

    /// Whether it is the one that asks, again perhaps.
    fn asked(&self, id: &RequestId) -> bool {
        matches!(self.state, State::Here | State::Ending) && self.peer == id.peer && self.token == id.token
    }
}

impl Endpoint<'_> {
    /// Tells the observers of a resource its new state, CON or NON by [`Reply::confirmable`]. How many there are.
    ///
    /// With a body longer than a block the notification has the first block; observers fetch the others by requests.
    /// A code of class 4 or 5 ends the observations.
    ///
    /// # Errors
    /// [`Misuse::InvalidOption`]: as [`respond`](Self::respond). [`Misuse::OutOfRange`]: a part that does not begin at 0 or is
    /// shorter than a block. [`Capacity::Arena`](crate::Capacity::Arena): no room for it now.
    pub fn notify(&mut self, now: Instant, resource: Resource, reply: &Reply<'_>) -> Result<u32, Error> {
        self.tick(now);
        check_reply(reply.options)?;
        let mut outline = Outline::new(Type::Confirmable, reply.code, 0, &Token::EMPTY);
        let total = outline.cut(&reply.body, 0, block::size(self.config.szx)).ok_or(Misuse::OutOfRange)?;
        let count = self.observers(resource);
        if count == 0 {
            return Ok(0);
        }
        let success = reply.code.is_success();
        // [RFC7641-4.4-1] [RFC7641-4.4-2] [RFC7641-4.4-3]
        let sequence = (self.sequence.wrapping_add(1) & 0xFF_FFFF).max(1);
        outline.base.listed = reply.options;
        // [RFC7641-4.2-5]
        outline.uint(own::OBSERVE, success.then_some(sequence));
        outline.uint(own::SIZE2, Some(total));
        self.keep(tag::NOTE.of(usize::try_from(sequence).unwrap_or(0)), &outline).ok_or(Capacity::Arena)?;
        self.sequence = sequence;
        for index in 0..self.observers.len() {
            let Some(o) = self.observers.get_mut(index) else { break };
            if o.state != State::Here || o.resource != resource {
                continue;
            }
            // [RFC7641-4.1-1] [RFC7641-4.3.1-1] [RFC7641-4.5-1]
            let old = core::mem::replace(&mut o.note, sequence);
            // [RFC7641-4.5-3] [RFC7641-7-1]
            let silent = o.age >= DAY || o.unconfirmed >= UNCONFIRMED;
            o.due = (o.due & due::TOLD) | if reply.confirmable || silent { due::CON } else { due::NON };
            // [RFC7641-4.2-2] [RFC7641-4.2-4]
            if !success {
                o.state = State::Ending;
            }
            self.release(old);
        }
        Ok(count)
    }

    /// How many observe a resource.
    #[must_use]
    pub fn observers(&self, resource: Resource) -> u32 {
        let count = self.observers.iter().filter(|o| o.state == State::Here && o.resource == resource).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Where an observer that registers goes: the place it has, or a free one; [`NONE`] where there is neither.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn observer_place(&self, id: &RequestId) -> usize {
        // [RFC7641-4.1-2]
        match self.find_observer(id) {
            NONE => self.observers.iter().position(|o| o.state == State::Free).unwrap_or(NONE),
            known => known,
        }
    }

    #[cfg_attr(feature = "opt-size", inline(never))]
    fn find_observer(&self, id: &RequestId) -> usize {
        self.observers.iter().position(|o| o.asked(id)).unwrap_or(NONE)
    }

    /// §4.1: registers, or registers again.
    pub(super) fn register(&mut self, place: usize, id: &RequestId, resource: Resource) {
        self.settle(place);
        if let Some(o) = self.observers.get_mut(place) {
            let (peer, token, szx) = (id.peer, id.token, id.szx);
            *o = Observer { state: State::Here, peer, token, resource, szx, ..Observer::EMPTY };
        }
    }

    /// §4.1: a GET with Observe 1.
    pub(super) fn deregister(&mut self, id: &RequestId) {
        self.lose_observer(self.find_observer(id));
    }

    /// It rejected a notification, did not acknowledge one, or deregistered.
    pub(super) fn lose_observer(&mut self, place: usize) {
        self.settle(place);
        if let Some(o) = self.observers.get_mut(place) {
            // [RFC7641-4.5-2]
            o.state = if o.state == State::Ending { State::Free } else { State::Gone };
        }
    }

    /// It has acknowledged a notification, or a NON has been sent.
    pub(super) fn notified(&mut self, place: usize, acknowledged: bool) {
        let Some(o) = self.observers.get_mut(place) else { return };
        if acknowledged {
            (o.unconfirmed, o.age) = (0, 0);
        } else {
            o.unconfirmed = o.unconfirmed.saturating_add(1);
        }
        if o.due & due::SOME == 0 {
            self.settle(place);
            if let Some(o) = self.observers.get_mut(place).filter(|o| o.state == State::Ending) {
                *o = Observer::EMPTY;
            }
        }
    }

    /// Nothing is due or under way for an observer any more.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn settle(&mut self, place: usize) {
        while let Some(flight) = self.note_flight(place) {
            self.land(flight);
        }
        if let Some(o) = self.observers.get_mut(place) {
            o.due &= due::TOLD;
            let old = core::mem::take(&mut o.note);
            self.release(old);
        }
    }

    fn note_flight(&self, place: usize) -> Option<usize> {
        self.flights.iter().position(|f| f.owner == Owner::Observer && usize::from(f.of) == place)
    }

    /// Lets a notification leave the arena when no observer needs it any more.
    fn release(&mut self, note: u32) {
        if note != 0 && !self.observers.iter().any(|o| o.note == note) {
            self.arena.remove(tag::NOTE.of(usize::try_from(note).unwrap_or(0)));
        }
    }

    /// NON notifications that are due; CON ones get a flight. An eighth of the flights stays free for what else there is.
    pub(super) fn next_note(&mut self, out: &mut [u8], told: &mut Told<'_>) -> Option<Result<usize, usize>> {
        let kept = self.flights.len() >> 3;
        for place in 0..self.observers.len() {
            let Some(o) = self.observers.get(place).filter(|o| o.due & due::SOME != 0) else { continue };
            if self.note_flight(place).is_some() {
                continue;
            }
            let peer = o.peer;
            if o.due & due::CON != 0 {
                let free = self.flights.iter().filter(|f| matches!(f.owner, Owner::Nobody | Owner::Silent)).count();
                if free > kept {
                    self.take_off(Owner::Observer, place, peer);
                }
                continue;
            }
            let mid = self.mid;
            let written = self.write_note(out, place, Type::NonConfirmable, mid);
            if written.is_ok() {
                self.mid = mid.wrapping_add(1);
                if let Some(o) = self.observers.get_mut(place) {
                    (o.due, o.mid) = (due::TOLD, mid);
                }
                self.notified(place, false);
            }
            told.peer = peer;
            return Some(written);
        }
        None
    }

    /// Before a notification's flight goes, again perhaps: with a newer state it is another message (§4.5.2).
    pub(super) fn freshen(&mut self, flight: usize) {
        let mid = self.mid;
        let Some(f) = self.flights.get_mut(flight).filter(|f| f.owner == Owner::Observer) else { return };
        let Some(o) = self.observers.get_mut(usize::from(f.of)).filter(|o| o.due & due::SOME != 0) else { return };
        // [RFC7641-4.4-4]
        if f.tries != 0 {
            f.mid = mid;
            self.mid = mid.wrapping_add(1);
        }
        (o.due, o.mid) = (due::TOLD, f.mid);
    }

    /// Writes a notification as this observer gets it: the kept one, cut to its size of blocks.
    pub(super) fn write_note(&self, out: &mut [u8], place: usize, ty: Type, mid: u16) -> Result<usize, usize> {
        let Some(o) = self.observers.get(place) else { return Ok(0) };
        let Ok(kept) = self.kept(tag::NOTE.of(usize::try_from(o.note).unwrap_or(0))) else { return Ok(0) };
        let total = kept.options.uint(option::SIZE2).unwrap_or(0);
        let size = block::size(o.szx);
        let more = total > size;
        // [RFC7641-4.2-1]
        let mut outline = Outline::new(ty, kept.code, mid, &o.token);
        outline.base.kept = kept.options;
        if more {
            outline.uint(own::BLOCK2, Some(Bits::at(0, more, o.szx).get()));
        } else {
            outline.base.without = option::SIZE2;
        }
        let len = usize::try_from(size).unwrap_or(0).min(kept.payload.len());
        outline.payload = kept.payload.get(..len).unwrap_or(&[]);
        outline.write(out)
    }

    /// An observer that is gone, to be told.
    pub(super) fn poll_observer(&mut self, told: &mut Told<'_>) {
        if let Some(o) = self.observers.iter_mut().find(|o| o.state == State::Gone) {
            told.kind = Kind::ObserverGone;
            (told.resource, told.peer) = (o.resource, o.peer);
            *o = Observer::EMPTY;
        }
    }
}
