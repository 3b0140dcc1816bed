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
    flight::Owner,
    message::{Message, Token, Type},
    option,
    seen::{Answer, Seen},
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
        let most = usize::try_from(block::size(request.szx.min(self.config.szx))).unwrap_or(0);
        let streamed = request.payload_len.is_some() || request.payload.len() > most;
        // [RFC7252-8.1-1] [RFC7252-8.2.1-1]
        let tagged = request.etag.is_some() || request.options.iter().any(|o| o.number == option::ETAG);
        if request.confirmable || request.observe || streamed || tagged {
            return Err(Misuse::OutOfRange.into());
        }
        let exchange = self.request(now, group, request)?;
        if let Some(t) = self.transfers.get_mut(exchange.index()) {
            t.group = true;
        }
        Ok(exchange)
    }

    /// Which request to a group this is the token of.
    pub(super) fn find_group(&self, token: &Token) -> Option<usize> {
        // [RFC7252-8.2-1]
        let token = u32::from_be_bytes(token.as_bytes().try_into().ok()?);
        self.flights.iter().filter(|f| f.token == token && f.tries != 0).find_map(|f| match f.owner {
            Owner::Transfer(t) => Some(usize::from(t)).filter(|t| self.transfers.get(*t).is_some_and(|t| t.group)),
            _ => None,
        })
    }

    /// A member of a group answered; once only, whatever comes twice (§4.5).
    pub(super) fn on_group<'i>(
        &mut self,
        now: Instant,
        peer: Peer,
        transfer: usize,
        message: &Message<'i>,
    ) -> Option<Event<'i>> {
        let exchange = self.transfers.get(transfer)?.handle(transfer);
        let confirmable = message.ty == Type::Confirmable;
        if self.refuses(message) {
            Stats::count(&mut self.stats.refused);
            if confirmable {
                self.reject(now, peer, message.id);
            }
            return None;
        }
        let seen = Seen { peer, mid: message.id, answer: Answer::Done, due: confirmable, confirmable, ..Seen::EMPTY };
        self.remember(now, Seen { harmless: true, ..seen })?;
        self.transfers.get_mut(transfer)?.ended = true;
        let Message { code, options, payload, .. } = *message;
        Some(Event::GroupResponse { exchange, peer, code, options, payload })
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
        let now = self.tick(now);
        Stats::count(&mut self.stats.received);
        let event = match Message::decode(input.bytes) {
            Ok(message) if message.ty == Type::NonConfirmable && message.code.is_request() => {
                self.on_request(now, input.peer, &message, true)
            }
            decoded => {
                // [RFC7252-8-1] [RFC7252-8.1-2]
                let stats = &mut self.stats;
                Stats::count(if decoded.is_ok() { &mut stats.refused } else { &mut stats.malformed });
                None
            }
        };
        Ok(Handled { consumed: input.bytes.len(), needed: 0, event })
    }
}
