//! The commands of a client.

use super::{
    block,
    endpoint::{Endpoint, Error, UNKNOWN, tag},
    event::{Exchange, Request},
    exchange::Phase,
    flight::Owner,
    message::{Encoder, Token, Type},
    option,
    outline::check,
    uri::{self, Escaped},
};
use crate::{Capacity, Instant, Misuse, Peer};

impl Endpoint<'_> {
    /// Makes a request. Its events carry the [`Exchange`] that is returned.
    ///
    /// The request is copied: it takes room in the arena until its exchange is over.
    ///
    /// # Errors
    /// [`Misuse::InvalidUri`]: path or host. [`Misuse::InvalidOption`]: an option is out of order, of a wrong length, or one
    /// that the endpoint writes itself. [`Misuse::OutOfRange`]: the method is none, `offset` is not a multiple of 16, comes
    /// with `observe` or with a body, or the body is longer than block numbers reach. [`Misuse::InvalidOption`] too for
    /// `observe` with a body. [`Misuse::WrongState`]: this resource is being observed already. [`Capacity::Exchanges`], [`Capacity::Arena`]: no room now.
    pub fn request(&mut self, now: Instant, peer: Peer, request: &Request<'_>) -> Result<Exchange, Error> {
        self.tick(now);
        check(request.options)?;
        let (path, query) = uri::split_target(request.path)?;
        let host = request.host.map(|h| Escaped::new(h).ok_or(Misuse::InvalidUri)).transpose()?;
        let mut texts = uri::segments(path).chain(uri::arguments(query)).chain(host);
        // RFC 7252 §5.10.1: a segment is neither `.` nor `..`; `resolve` takes them out of a URI.
        // [RFC7252-5.10.1-1]
        let dots = |text: Escaped<'_>| text.bytes().eq(*b".") || text.bytes().eq(*b"..");
        // RFC 7252 §6.1: a host has a name. [RFC7252-6.1-1]
        let nameless = request.host.is_some_and(str::is_empty);
        if nameless || texts.any(|text| text.bytes().take(256).count() > 255) || uri::segments(path).any(dots) {
            return Err(Misuse::InvalidUri.into());
        }
        let named = |number| number == option::URI_HOST && host.is_some();
        let of_uri = |number| matches!(number, option::URI_PATH | option::URI_QUERY) || named(number);
        if request.options.iter().any(|o| of_uri(o.number)) {
            return Err(Misuse::InvalidOption.into());
        }
        let own = u32::try_from(request.payload.len()).unwrap_or(u32::MAX);
        let body = request.payload_len.unwrap_or(own);
        let szx = request.szx.min(self.config.szx);
        let from_start = body == 0 && !request.observe;
        let out_of_range = !request.method.is_request()
            || (request.payload_len.is_some() && own != 0)
            || (request.offset != 0 && (request.offset & 15 != 0 || !from_start))
            || request.offset >= block::Block::MAX_NUM << 4
            || body.checked_shr(u32::from(szx).saturating_add(4)).unwrap_or(0) > block::Block::MAX_NUM;
        if out_of_range {
            return Err(Misuse::OutOfRange.into());
        }
        if request.observe && body != 0 {
            return Err(Misuse::InvalidOption.into());
        }
        let free = self.transfers.iter().position(|t| t.phase() == Phase::Free);
        let index = free.filter(|_| !self.flights.is_empty()).ok_or(Capacity::Exchanges)?;
        let write = |buf: &mut [u8]| match write(buf, request, host, path, query) {
            Ok(len) | Err(len) => len,
        };
        let len = write(&mut []);
        if !self.make_room(len) {
            return Err(Capacity::Arena.into());
        }
        self.arena.push(tag::REQUEST.of(index), len, |buf| {
            write(buf);
        })?;
        // [RFC7641-3.1-1]
        if request.observe && self.observes_already(index, peer) {
            self.arena.remove(tag::REQUEST.of(index));
            return Err(Misuse::WrongState.into());
        }
        let token = self.rng.next_u32();
        let place = self.transfers.get_mut(index).ok_or(Capacity::Exchanges)?;
        place.open(peer, request, body, szx, token);
        let exchange = place.handle(index);
        self.control.open(self, index, request.window);
        Ok(exchange)
    }

    /// RFC 7641 §3.1: a resource is registered for once; the URI and all other options tell which it is. [RFC7641-3.1-1]
    fn observes_already(&self, index: usize, peer: Peer) -> bool {
        let kept = |index| self.arena.get(tag::REQUEST.of(index));
        let asked = kept(index);
        let live = |t: &super::Transfer| {
            t.peer == peer && (t.register || t.observed) && !matches!(t.phase, Phase::Leaving | Phase::Free)
        };
        self.transfers.iter().enumerate().any(|(other, t)| other != index && live(t) && kept(other) == asked)
    }

    /// Gives the part of a body that [`Event::BodyWanted`](super::Event::BodyWanted) asked for. It is copied.
    ///
    /// # Errors
    /// [`Misuse::UnknownId`]: no such exchange. [`Misuse::WrongState`]: nothing was asked for. [`Misuse::OutOfRange`]:
    /// not of the length asked for. [`Capacity::Arena`]: no room now; give it again later.
    pub fn body(&mut self, now: Instant, exchange: Exchange, bytes: &[u8]) -> Result<(), Error> {
        self.tick(now);
        let index = self.find(exchange)?;
        let t = self.transfers.get(index).ok_or(UNKNOWN)?;
        let (_, len) = t.body_block();
        if t.phase != Phase::Asked {
            return Err(Misuse::WrongState.into());
        }
        if usize::try_from(len) != Ok(bytes.len()) {
            return Err(Misuse::OutOfRange.into());
        }
        if !self.make_room(bytes.len()) {
            return Err(Capacity::Arena.into());
        }
        self.arena.push(tag::BODY.of(index), bytes.len(), |buf| {
            super::endpoint::copy(buf, bytes).ok();
        })?;
        if let Some(t) = self.transfers.get_mut(index) {
            t.supplied();
        }
        Ok(())
    }

    /// Where the first block begins that was not asked for yet: what is before it is told or under way.
    ///
    /// # Errors
    /// [`Misuse::UnknownId`]: no such exchange.
    pub fn position(&self, exchange: Exchange) -> Result<u32, Error> {
        let index = self.find(exchange)?;
        self.transfers.get(index).map(|t| t.position).ok_or(UNKNOWN)
    }

    /// Lets another block be fetched, with [`Flow::Manual`](super::Flow::Manual).
    ///
    /// # Errors
    /// [`Misuse::UnknownId`]: no such exchange. [`Misuse::WrongState`]: it does not wait for this.
    pub fn advance(&mut self, now: Instant, exchange: Exchange) -> Result<(), Error> {
        self.tick(now);
        let index = self.find(exchange)?;
        let awaited = self.transfers.get_mut(index).is_some_and(super::Transfer::advance);
        awaited.then_some(()).ok_or(Misuse::WrongState.into())
    }

    /// Gives a request up: no more events of it. An observation is deregistered (RFC 7641 §3.6); its place and its
    /// room in the arena are free when that is answered.
    ///
    /// # Errors
    /// [`Misuse::UnknownId`]: no such exchange.
    pub fn cancel(&mut self, now: Instant, exchange: Exchange) -> Result<(), Error> {
        self.tick(now);
        let index = self.find(exchange)?;
        self.leave(index);
        Ok(())
    }

    /// Asks whether a peer is there (RFC 7252 §4.3): [`Event::Pong`](super::Event::Pong) or
    /// [`Event::Silent`](super::Event::Silent).
    ///
    /// # Errors
    /// [`Capacity::InFlight`]: no place among the flights now.
    pub fn ping(&mut self, now: Instant, peer: Peer) -> Result<(), Error> {
        self.tick(now);
        if self.take_off(Owner::Ping, 0, peer).is_some() { Ok(()) } else { Err(Capacity::InFlight.into()) }
    }

    /// RST (RFC 7252 §4.2) for a flight or for a NON notification (RFC 7641 §3.6). Whether it was for anything.
    pub(super) fn on_reset(&mut self, peer: Peer, mid: u16, flight: Option<usize>) -> bool {
        if let Some(flight) = flight {
            self.on_lost(flight, super::Failure::Reset);
            return true;
        }
        match self.observers.iter().position(|o| o.was_told(peer, mid)) {
            Some(observer) => {
                self.lose_observer(observer);
                true
            }
            None => false,
        }
    }

    fn find(&self, exchange: Exchange) -> Result<usize, Error> {
        let index = exchange.index();
        let live =
            |t: &super::Transfer| !matches!(t.phase(), Phase::Free | Phase::Leaving) && t.handle(index) == exchange;
        self.transfers.get(index).filter(|t| live(t)).map(|_| index).ok_or(UNKNOWN)
    }
}

/// Writes the request as it is kept: code, the host's options, those of the URI, the body.
fn write(
    buf: &mut [u8],
    request: &Request<'_>,
    host: Option<Escaped<'_>>,
    path: &str,
    query: Option<&str>,
) -> Result<usize, usize> {
    let mut encoder = Encoder::new(buf, Type::Confirmable, request.method, 0, &Token::EMPTY);
    let mut options = request.options.iter().peekable();
    for number in [option::URI_HOST, option::URI_PATH, option::URI_QUERY, u16::MAX] {
        while let Some(o) = options.next_if(|o| o.number <= number) {
            // In order, having been checked.
            let _ = encoder.option(o.number, o.value);
        }
        let mut put = |text: Escaped<'_>| {
            let _ = encoder.escaped(number, text);
        };
        match number {
            option::URI_HOST => host.into_iter().for_each(put),
            option::URI_PATH => uri::segments(path).for_each(put),
            option::URI_QUERY => uri::arguments(query).for_each(&mut put),
            _ => {}
        }
    }
    encoder.payload(request.payload);
    encoder.finish().map(<[u8]>::len)
}
