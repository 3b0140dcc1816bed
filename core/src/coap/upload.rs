//! Bodies whose blocks go side by side (Block1, RFC 7959 §2.5), where the host says that the server takes them in any order
//! ([`Request::random_access`](super::Request::random_access)) and the path is a window's.
//!
//! | | [`opened`](super::Transfer) | `limit` | under way |
//! | --- | --- | --- | --- |
//! | **First**: its answer may ask for smaller blocks, or be the final one already | no | `u32::MAX` | the first block |
//! | **Any**: it was taken | yes | where the last block begins | as many as the window has places, none but the last |
//! | **Ordered**: a block was refused for its place, 4.08 (or 5.00, where one before it was missing) | yes | 0 | those before it; then one, from there on |
//! | **Last**: all others were taken | no | `u32::MAX` | the last block, whose answer is the final one |
//!
//! Each block is a plain request with a token and a message ID of its own, and all have the host's options, a
//! Request-Tag (RFC 9175 §3) among them. *Taken* is any success with Block1: 2.31 where the server collects, another where it acts
//! on each block by itself (§2.3). A server that refuses a block in its turn has lost what it had: then all goes again in order, from
//! the beginning, three times at most. One that asks for smaller blocks in the middle gets those that are under way again in
//! that size. Any other answer is the final one.
//!
//! In **Any** and **Ordered** what is lost goes by the window's time-outs, under another message ID in the end: a block
//! may come twice. The last one does not but as RFC 7252 §4.2 has it, since it may bring about what must not be done twice.
//!
//! Nothing is kept of what is under way: of a streamed body the host is asked for a block when it is about to go, one at a time,
//! and again when it was lost.

use super::{
    block::{self, Block},
    code::Code,
    endpoint::{Endpoint, tag},
    exchange::{Phase, Transfer, flag},
    flight::{Flight, Stage},
    message::Message,
    option,
};

/// How often a body is begun again at most.
const MOST_BEGINNINGS: u8 = 3;

impl Transfer {
    /// RFC 7959 §2.7: what answers a body of several blocks comes in order.
    fn narrow(&mut self, several: bool) {
        if several {
            self.clear(flag::WINDOWED);
        }
    }
}

impl Endpoint<'_> {
    /// The block of a body that was sent from `offset` on has been answered, and is under way no more. Whether that was an answer
    /// to it alone, and others follow.
    pub(super) fn on_block(&mut self, transfer: usize, offset: u32, message: &Message<'_>) -> bool {
        let body = tag::BODY.of(transfer);
        let under_way = self.flights.iter().filter(|f| f.is_of(transfer)).map(|f| f.offset).min();
        let Some(t) = self.transfers.get_mut(transfer) else { return false };
        let several = t.body > block::size(t.szx1);
        if !t.is(flag::OPENED) && t.limit == 0 {
            // RFC 7959 §2.7: what answers a body of several blocks comes in order. [RFC7959-2.7-1]
            t.narrow(several);
            return false;
        }
        let next = offset.saturating_add(t.body_len(offset));
        let block = message.options.get(option::BLOCK1).and_then(Block::decode);
        // It went when it was not known yet that one before it would be missing.
        let early = offset < t.position;
        let refused = match message.code {
            Code::REQUEST_ENTITY_INCOMPLETE => t.is(flag::OPENED) || offset != 0,
            // What aiocoap 0.4 says of a block after a gap, and libcoap 4.3 when it has dropped what it had. Any other reason will
            // be told once more.
            Code::INTERNAL_SERVER_ERROR => early || (t.is(flag::OPENED) && offset != 0 && t.held == 0),
            _ => false,
        };
        if refused && (early || t.held < MOST_BEGINNINGS) {
            if early {
                // Any → Ordered. Those before it may have been taken, and go on under their message IDs.
                t.position = offset;
            } else {
                // [RFC7959-2.5-1]
                t.held = t.held.saturating_add(1);
                t.position = 0;
            }
            t.set(flag::OPENED | flag::WINDOWED);
            (t.span, t.limit) = (t.szx1, 0);
            let from = t.position;
            self.arena.remove(body);
            self.ground(transfer, from);
        } else if let (true, Some(block)) = (message.code.is_success() && next < t.body, block) {
            t.pauses = 0;
            t.position = t.position.max(next);
            if !t.is(flag::OPENED) {
                // First → Any.
                t.szx1 = t.szx1.min(block.szx);
                t.set(flag::OPENED);
                (t.span, t.limit) = (t.szx1, t.last());
                self.arena.remove(body);
            } else if block.szx < t.szx1 && t.phase != Phase::Asked {
                // [RFC7959-2.3-2] A host that is asked for a block gives one of the size that it was asked for.
                t.position = t.position.min(under_way.unwrap_or(u32::MAX));
                (t.szx1, t.span) = (block.szx, block.szx);
                t.limit = if t.limit == 0 { 0 } else { t.last() };
                self.ground(transfer, 0);
            }
        } else {
            // After a 4.13 the first may go in a smaller size.
            if t.is(flag::OPENED) || message.code != Code::REQUEST_ENTITY_TOO_LARGE {
                t.close_window();
                t.phase = Phase::Sending;
                t.narrow(several);
                self.ground(transfer, 0);
            }
            return false;
        }
        let idle = self.flights_of(transfer) == 0;
        if let Some(t) = self.transfers.get_mut(transfer) {
            t.put(flag::DUE, idle && t.position >= t.limit);
        }
        true
    }

    /// A flight of a window may go. Where it carries a block: whether that is its turn, and there; else the host is asked for it.
    pub(super) fn has_its_turn(&mut self, flight: &Flight) -> bool {
        let of = usize::from(flight.of);
        let Some(t) = self.transfers.get(of) else { return true };
        match t.phase {
            Phase::Sending => {}
            Phase::Wanting | Phase::Asked => return false,
            _ => return true,
        }
        let (streamed, asked, body) = (t.is(flag::STREAMED), t.reach, tag::BODY.of(of));
        let ready = |f: &&Flight| f.is_of(of) && f.stage == Stage::Ready;
        if self.arena.get(body).is_some() {
            if self.flights.iter().filter(ready).any(|f| f.offset == asked) {
                return asked == flight.offset;
            }
            // It has been answered meanwhile.
            self.arena.remove(body);
        }
        // A server that takes them in order has nothing to refuse while none is lost.
        let first = self.flights.iter().filter(ready).map(|f| f.offset).min();
        if first != Some(flight.offset) || !streamed {
            return first == Some(flight.offset);
        }
        if let Some(t) = self.transfers.get_mut(of) {
            (t.phase, t.reach) = (Phase::Wanting, flight.offset);
        }
        false
    }

    /// A flight of a window is about to go. Any, Ordered → Last: whether it is that, and a flight of a window no more.
    pub(super) fn is_last(&mut self, flight: usize) -> bool {
        let mid = self.mid;
        let Some(f) = self.flights.get_mut(flight) else { return false };
        let Some(t) = self.transfers.get_mut(usize::from(f.of)) else { return false };
        if t.phase != Phase::Sending || f.offset < t.last() {
            return false;
        }
        t.clear(flag::OPENED | flag::WINDOWED);
        t.limit = u32::MAX;
        // As another message: it was none yet.
        (f.mid, self.mid) = (mid, mid.wrapping_add(1));
        true
    }
}
