//! The commands of a client.

use super::{
    block,
    code::Code,
    endpoint::{Endpoint, Error, UNKNOWN, packet, tag},
    event::{Exchange, Request},
    exchange::{Phase, flag},
    flight::Owner,
    message::{Encoder, Token, Type},
    option::{self, Opt},
    outline::check,
    raw::{Raw, Wishes},
    uri,
};
use crate::{Capacity, Instant, Misuse, Peer, wire::copy};

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
        self.request_raw(now, peer, &Raw::of(request, &Wishes::of(request)))
    }

    /// [`Endpoint::request`] of a request of which not more is known.
    ///
    /// # Errors
    /// As there. [`Misuse::OutOfRange`] besides: the ETag has more than eight bytes.
    pub fn request_raw(&mut self, now: Instant, peer: Peer, request: &Raw<'_>) -> Result<Exchange, Error> {
        let wishes = request.wishes;
        self.tick(now);
        check(request.options)?;
        // Its length, and whether path and host are any.
        let write = |buf: &mut [u8]| write(buf, request);
        let len = write(&mut []).ok_or(Misuse::InvalidUri)?;
        let of_uri = |number| match number {
            option::URI_PATH | option::URI_QUERY => true,
            option::URI_HOST => request.host.is_some(),
            _ => false,
        };
        if request.options.iter().any(|o| of_uri(o.number)) {
            return Err(Misuse::InvalidOption.into());
        }
        let own = u32::try_from(request.payload.len()).unwrap_or(u32::MAX);
        let body = if wishes.streamed == 0 { own } else { wishes.payload_len };
        let szx = wishes.szx.min(self.config.szx);
        let from_start = body == 0 && wishes.observe == 0;
        let out_of_range = !Code(wishes.method).is_request()
            || request.etag.len() > 8
            || (wishes.streamed != 0 && own != 0)
            || (wishes.offset != 0 && (wishes.offset & 15 != 0 || !from_start))
            || wishes.offset >= block::Block::MAX_NUM << 4
            || body.checked_shr(u32::from(szx).saturating_add(4)).unwrap_or(0) > block::Block::MAX_NUM;
        if out_of_range {
            return Err(Misuse::OutOfRange.into());
        }
        if wishes.observe != 0 && body != 0 {
            return Err(Misuse::InvalidOption.into());
        }
        let free = self.transfers.iter().position(|t| t.phase() == Phase::Free);
        let index = free.filter(|_| !self.flights.is_empty()).ok_or(Capacity::Exchanges)?;
        write(self.place_for(tag::REQUEST.of(index), len).ok_or(Capacity::Arena)?);
        // [RFC7641-3.1-1]
        if wishes.observe != 0 && self.observes_already(index, peer) {
            self.arena.remove(tag::REQUEST.of(index));
            return Err(Misuse::WrongState.into());
        }
        let token = self.secret.draw();
        let place = self.transfers.get_mut(index).ok_or(Capacity::Exchanges)?;
        place.open(peer, request, body, szx, token);
        let exchange = place.handle(index);
        (self.control.open)(self, index, wishes.window);
        Ok(exchange)
    }

    /// The payload, of `len` bytes, of a request that was just made, to be written while nothing of it has gone out.
    #[cfg(all(feature = "mqtt", feature = "coap", feature = "ota"))]
    pub(crate) fn payload_mut(&mut self, exchange: Exchange, len: usize) -> &mut [u8] {
        let kept = self.arena.get_mut(tag::REQUEST.of(exchange.index())).unwrap_or_default();
        let start = kept.len().wrapping_sub(len);
        kept.get_mut(start..).unwrap_or_default()
    }

    /// RFC 7641 §3.1: a resource is registered for once; the URI and all other options tell which it is. [RFC7641-3.1-1]
    fn observes_already(&self, index: usize, peer: Peer) -> bool {
        let kept = |index| packet(&self.arena, tag::REQUEST.of(index));
        let asked = kept(index);
        let live = |t: &super::Transfer| {
            t.peer == peer && t.is(flag::REGISTER | flag::OBSERVED) && !matches!(t.phase, Phase::Leaving | Phase::Free)
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
        copy(self.place_for(tag::BODY.of(index), bytes.len()).ok_or(Capacity::Arena)?, bytes);
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

/// Writes the request as it is kept: code, the host's options, those of the URI, the body. Its length, whether it fits or not;
/// `None`: path or host are none.
fn write(buf: &mut [u8], request: &Raw<'_>) -> Option<usize> {
    let target = request.path;
    let encoder = Encoder::new(buf, Type::Confirmable, Code(request.wishes.method), 0, &Token::EMPTY);
    let mut kept = Kept { encoder, options: request.options };
    if let Some(host) = request.host {
        // RFC 7252 §6.1: a host has a name. [RFC7252-6.1-1]
        host.first()?;
        kept.part(option::URI_HOST, host)?;
    }
    let mut rest = match target {
        [] | [b'?', ..] => target,
        [b'/', rest @ ..] => rest,
        _ => return None,
    };
    // A path of nothing but a slash has no segments.
    let (mut number, mut more) = (option::URI_PATH, !rest.is_empty());
    if let [b'?', query @ ..] = rest {
        (number, rest) = (option::URI_QUERY, query);
    }
    while more {
        let ends = |byte: &u8| match byte {
            b'/' | b'?' => number == option::URI_PATH,
            b'&' => number == option::URI_QUERY,
            _ => false,
        };
        let len = rest.iter().position(ends).unwrap_or(rest.len());
        let (part, behind) = rest.split_at_checked(len)?;
        kept.part(number, part)?;
        more = false;
        if let [mark, behind @ ..] = behind {
            (rest, more) = (behind, true);
            if *mark == b'?' {
                number = option::URI_QUERY;
            }
        }
    }
    kept.options_to(u16::MAX);
    kept.encoder.payload(request.payload);
    let (Ok(len) | Err(len)) = kept.encoder.finish().map(<[u8]>::len);
    Some(len)
}

/// A request on its way into the arena.
struct Kept<'k> {
    encoder: Encoder<'k>,
    /// Those of the host's options that are not written yet.
    options: &'k [Opt<'k>],
}

impl Kept<'_> {
    /// The host's options up to this number.
    fn options_to(&mut self, number: u16) {
        while let [o, rest @ ..] = self.options {
            if o.number > number {
                break;
            }
            // In order, having been checked.
            let _ = self.encoder.option(o.number, o.value);
            self.options = rest;
        }
    }

    /// A part of the URI as an option: percent-decoded, a host in lower case (RFC 7252 §6.4). `None`: there is a character or an
    /// escape that a URI cannot have, or it is longer than 255 bytes.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn part(&mut self, number: u16, raw: &[u8]) -> Option<()> {
        self.options_to(number);
        let mut text = [0_u8; 255];
        let mut len = 0_usize;
        let mut raw = raw.iter().copied();
        while let Some(byte) = raw.next() {
            let byte = match byte {
                b'%' => uri::hex(raw.next())? << 4 | uri::hex(raw.next())?,
                _ if uri::is_query_char(byte) => byte,
                _ => return None,
            };
            *text.get_mut(len)? = if number == option::URI_HOST { byte.to_ascii_lowercase() } else { byte };
            len = len.wrapping_add(1);
        }
        let text = text.get(..len)?;
        // RFC 7252 §5.10.1: a segment is neither `.` nor `..`; `resolve` takes them out of a URI.
        // [RFC7252-5.10.1-1]
        if number == option::URI_PATH && matches!(text, b"." | b"..") {
            return None;
        }
        let _ = self.encoder.option(number, text);
        Some(())
    }
}
