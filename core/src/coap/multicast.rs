//! Requests to many at once (RFC 7252 §8).
//!
//! A server is told by its host which datagrams came to a multicast address. Of those it takes requests in NON messages only
//! (§8.1), keeps silent where it has nothing to say (§8.2) unless No-Response asks otherwise (RFC 7967 §2.1), and answers at
//! a random time within its leisure.

use super::{
    config::Stats,
    endpoint::Endpoint,
    event::Event,
    message::{Message, Type},
};
use crate::{Handled, Input, Instant};

impl Endpoint<'_> {
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
                let stats = &mut self.stats;
                Stats::count(if decoded.is_ok() { &mut stats.refused } else { &mut stats.malformed });
                None
            }
        };
        Ok(Handled { consumed: input.bytes.len(), needed: 0, event })
    }
}
