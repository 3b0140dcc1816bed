//! Requests to many at once (RFC 7252 §8).
//!
//! A server is told by its host which datagrams came to a multicast address. Of those it takes requests in NON messages only
//! (§8.1), keeps silent where it has nothing to say (§8.2) unless No-Response asks otherwise (RFC 7967 §2.1), and answers at
//! a random time within its leisure.
//!
//! A client asks a group once, in a NON message, and is told each answer with who gave it, until it has waited long enough.

use super::{
    block,
    config::Stats,
    endpoint::{Endpoint, Error},
    event::{Event, Exchange, Request},
    exchange::flag,
    flight::Owner,
    message::{Message, Type},
    option,
    raw::{Kind, Raw, Told, Wishes},
};
use crate::{Handled, Input, Instant, Misuse, Peer};

impl Endpoint<'_> {
    /// Asks all members of a group: `group` is its multicast address. Each answer is an [`Event::GroupResponse`]. The end is
    /// [`Event::Failed`] with [`Failure::Timeout`](super::Failure::Timeout) when
    /// [`response_timeout`](super::Config::response_timeout) is over, however many have answered; or
    /// [`cancel`](Self::cancel) before, once DEFAULT_LEISURE and a round trip are over, say.
    ///
    /// # Errors
    /// As [`request`](Self::request). [`Misuse::OutOfRange`] besides: it is CON, which no multicast request may be (RFC 7252
    /// §8.1), has an ETag (§8.2.1), observes, or has a body longer than a block or one that is asked for.
    pub fn request_group(&mut self, now: Instant, group: Peer, request: &Request<'_>) -> Result<Exchange, Error> {
        self.request_group_raw(now, group, &Raw::of(request, &Wishes::of(request)))
    }

    /// [`Endpoint::request_group`], as [`Endpoint::request_raw`] is of [`Endpoint::request`].
    ///
    /// # Errors
    /// As there.
    pub fn request_group_raw(&mut self, now: Instant, group: Peer, request: &Raw<'_>) -> Result<Exchange, Error> {
        let wishes = request.wishes;
        let most = usize::try_from(block::size(wishes.szx.min(self.config.szx))).unwrap_or(0);
        let streamed = wishes.streamed != 0 || request.payload.len() > most;
        // [RFC7252-8.1-1] [RFC7252-8.2.1-1]
        let tagged = !request.etag.is_empty() || request.options.iter().any(|o| o.number == option::ETAG);
        if wishes.confirmable != 0 || wishes.observe != 0 || streamed || tagged {
            return Err(Misuse::OutOfRange.into());
        }
        let exchange = self.request_raw(now, group, request)?;
        if let Some(t) = self.transfers.get_mut(exchange.index()) {
            t.set(flag::GROUP);
            t.clear(flag::WINDOWED);
        }
        self.group = on_group;
        Ok(exchange)
    }

    /// Takes in a datagram that came to a multicast address. All but a request in a NON message is ignored (§8.1), and
    /// counted.
    ///
    /// # Errors
    /// None ever.
    pub fn handle_multicast<'i>(
        &mut self,
        now: Instant,
        input: Input<'i>,
    ) -> Result<Handled<Event<'i>>, core::convert::Infallible> {
        let mut told = Told::NOTHING;
        self.handle_multicast_raw(now, input, &mut told);
        Ok(Handled { consumed: input.bytes.len(), needed: 0, event: told.event() })
    }

    pub(super) fn take_in_multicast<'i>(&mut self, input: Input<'i>, told: &mut Told<'i>) {
        Stats::count(&mut self.stats.received);
        match Message::decode(input.bytes) {
            Ok(message) if message.ty == Type::NonConfirmable && message.code.is_request() => {
                self.on_request(input.peer, &message, true, told);
            }
            decoded => {
                // [RFC7252-8-1] [RFC7252-8.1-2]
                let stats = &mut self.stats;
                Stats::count(if decoded.is_ok() { &mut stats.refused } else { &mut stats.malformed });
            }
        }
    }
}

/// Takes a response that is a group member's. Whether it was one.
pub(super) type Group = for<'e, 'a, 'i, 't> fn(&'e mut Endpoint<'a>, Peer, &Message<'i>, &'t mut Told<'i>) -> bool;

/// Of an endpoint that has asked no group.
pub(super) fn no_group<'i>(_: &mut Endpoint<'_>, _: Peer, _: &Message<'i>, _: &mut Told<'i>) -> bool {
    false
}

/// Of one that has.
fn on_group<'i>(e: &mut Endpoint<'_>, peer: Peer, message: &Message<'i>, told: &mut Told<'i>) -> bool {
    // [RFC7252-8.2-1]
    let Ok(token) = message.token.as_bytes().try_into().map(u32::from_be_bytes) else { return false };
    let asked = e.flights.iter().find(|f| f.token == token && f.tries != 0 && f.owner == Owner::Transfer);
    let Some(transfer) = asked.map(|f| usize::from(f.of)) else { return false };
    if !e.transfers.get(transfer).is_some_and(|t| t.is(flag::GROUP)) {
        return false;
    }
    if e.refuses(message) {
        Stats::count(&mut e.stats.refused);
        if message.ty == Type::Confirmable {
            e.reject(peer, message.id);
        }
        return true;
    }
    // Each member answers once only, whatever comes twice (§4.5).
    if e.acknowledged(peer, message).is_none() {
        return true;
    }
    if let Some(t) = e.transfers.get_mut(transfer) {
        t.set(flag::ENDED);
        told.kind = Kind::GroupResponse;
        told.exchange = t.handle(transfer).id();
    }
    told.peer = peer;
    (told.code, told.options, told.payload) = (message.code, message.options, message.payload);
    true
}
