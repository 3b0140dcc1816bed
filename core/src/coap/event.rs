//! What an endpoint is asked for and what it tells.

use super::{
    block::{self, Bits, Block},
    code::Code,
    message::Token,
    option::{Opt, Options},
};
use crate::Peer;

/// A version of a representation: 1 to 8 bytes of the server's choosing (RFC 7252 §5.10.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ETag(Token);

impl ETag {
    /// Of these bytes; `None` where there are none or more than eight.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        Token::new(bytes).filter(|_| !bytes.is_empty()).map(Self)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A request of ours, from [`request`](super::Endpoint::request) to its last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Exchange(u32);

impl Exchange {
    /// From the number that [`id`](Self::id) gave.
    #[must_use]
    pub const fn from_id(id: u32) -> Self {
        Self(id)
    }

    /// A number for it, for C and Python.
    #[must_use]
    pub const fn id(self) -> u32 {
        self.0
    }

    pub(super) const fn new(index: u16, generation: u16) -> Self {
        Self(((generation as u32) << 16) | index as u32)
    }

    pub(super) fn index(self) -> usize {
        usize::try_from(self.0 & 0xFFFF).unwrap_or(usize::MAX)
    }
}

/// A resource that can be observed, by a number of the host's own.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Resource(pub u32);

/// Who says when the next block is fetched.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flow {
    /// The endpoint, at once.
    #[default]
    Auto,
    /// The host, by [`advance`](super::Endpoint::advance) once for each block told but the last: when it is stored in flash, say. Until
    /// then the block keeps its place in the [window](Request::window).
    Manual,
}

/// A request to be made.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// GET, PUT and so on.
    pub method: Code,
    /// Whether its messages are CON rather than NON. A NON that is lost is not repeated.
    pub confirmable: bool,
    /// Path and query, percent-encoded: `/a/b?x=y`. What [`Uri::target`](super::Uri::target) gives.
    pub path: &'r str,
    /// Uri-Host, percent-encoded; a server with one name needs none (RFC 7252 §5.10.1).
    pub host: Option<&'r str>,
    /// Further options in ascending order. Not Uri-Path, Uri-Query, Observe, Block1, Block2, Size1, Size2: the endpoint
    /// writes those itself.
    pub options: &'r [Opt<'r>],
    /// The body, copied. Longer than a block, it goes out by Block1.
    pub payload: &'r [u8],
    /// The body's length where it is not given here but asked for by [`Event::BodyWanted`], block by block.
    pub payload_len: Option<u32>,
    /// Whether to observe the resource (RFC 7641). GET and FETCH.
    pub observe: bool,
    /// Size exponent of the largest block wanted, 0 to 6: 16 to 1024 bytes. The server may choose smaller ones.
    pub szx: u8,
    /// Where in the response body to begin: a multiple of 16, 0 for all of it. Blocks are no larger than what
    /// divides it.
    pub offset: u32,
    /// The version that the response must be of, [`Failure::Changed`] otherwise: binds a resumed transfer to what is
    /// already there.
    pub etag: Option<ETag>,
    /// Where in the response body to stop: blocks from here on are not asked for. For what is missing between blocks that
    /// are already there, with `offset`. `u32::MAX` for all of it.
    pub until: u32,
    /// Who says when the next block is fetched.
    pub flow: Flow,
    /// How many blocks of the response may be under way at a time, as far as there are
    /// [`flights`](super::Resources::flights) and a place among the [`paths`](super::Resources::paths); how many are is a matter of [`congestion`](super::congestion). 0 and 1: one after the other, in order.
    /// With more, the first block comes first, and the others as they arrive. With `random_access` it is blocks of the body that are
    /// under way; the response's come in order then, where the body was longer than a block (RFC 7959 §2.7).
    pub window: u8,
    /// Whether the server takes the blocks of a body in any order: it acts on each by itself, or puts together what it has
    /// (RFC 7959 §2.3, §2.5). The first block goes alone and the last when all others have been taken. A server that
    /// refuses one for its place (4.08) gets all that it has not taken in order; one that has lost what it had, all from the beginning.
    pub random_access: bool,
}

impl<'r> Request<'r> {
    /// A confirmable request for `path`, without body, with blocks of up to 1024 bytes.
    #[must_use]
    pub const fn new(method: Code, path: &'r str) -> Self {
        Self {
            method,
            confirmable: true,
            path,
            host: None,
            options: &[],
            payload: &[],
            payload_len: None,
            observe: false,
            szx: Block::MAX_SZX,
            offset: 0,
            etag: None,
            until: u32::MAX,
            flow: Flow::Auto,
            window: 1,
            random_access: false,
        }
    }

    /// GET `path`.
    #[must_use]
    pub const fn get(path: &'r str) -> Self {
        Self::new(Code::GET, path)
    }
}

/// A request of a peer's, to be answered by [`respond`](super::Endpoint::respond). It holds all that the answer needs, so
/// that it can be kept while the answer is being made.
// In C's layout, without padding and of such values only that any bytes are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct RequestId {
    pub(super) peer: Peer,
    pub(super) block1: Option<Bits>,
    /// As asked for, its size already cut to ours.
    pub(super) block2: Option<Bits>,
    pub(super) token: Token,
    /// The size exponent of the response's blocks.
    pub(super) szx: u8,
    pub(super) mid: u16,
    /// Of those in [`flag`].
    pub(super) flags: u16,
    /// The No-Response option: bit `class` for each class that is not wanted, and bit 0 where there is one.
    pub(super) quiet: u16,
}

/// What a [`RequestId`] is or has.
pub(super) mod flag {
    pub(in super::super) const OBSERVE: u16 = 1;
    pub(in super::super) const SIZE2: u16 = 2;
    pub(in super::super) const MULTICAST: u16 = 4;
    pub(in super::super) const PROVEN: u16 = 8;
    /// GET or FETCH: it may be asked for again.
    pub(in super::super) const SAFE: u16 = 16;
    /// It wants to observe no longer.
    pub(in super::super) const LEAVE: u16 = 32;
    /// It is for another server.
    pub(in super::super) const PROXIED: u16 = 64;
    /// Its options make no sense.
    pub(in super::super) const UNSOUND: u16 = 128;
    /// There is a request.
    pub(in super::super) const LIVE: u16 = 0x8000;
    pub(super) const ALL: u16 = 0x807F;
}

impl RequestId {
    /// None.
    pub(super) const NONE: Self =
        Self { peer: Peer(0), block1: None, block2: None, token: Token::EMPTY, szx: 0, mid: 0, flags: 0, quiet: 0 };

    /// Who asks.
    #[must_use]
    pub const fn peer(&self) -> Peer {
        self.peer
    }

    /// The token of the request.
    #[must_use]
    pub const fn token(&self) -> Token {
        self.token
    }

    pub(super) const fn is(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    /// Whether it wants to observe the resource: [`Reply::observe`] accepts.
    #[must_use]
    pub const fn observes(&self) -> bool {
        self.is(flag::OBSERVE)
    }

    /// Whether it came to a multicast address ([`handle_multicast`](super::Endpoint::handle_multicast)).
    #[must_use]
    pub const fn is_multicast(&self) -> bool {
        self.is(flag::MULTICAST)
    }

    /// Whether its sender has shown, by an Echo option (RFC 9175), that it receives what is sent to its address, and that it
    /// has received something of late.
    #[must_use]
    pub const fn is_proven(&self) -> bool {
        self.is(flag::PROVEN)
    }

    /// Whether it asks for a block of the response behind the first.
    pub(super) fn is_further(&self) -> bool {
        self.block2.is_some_and(|b| b.num() != 0)
    }

    /// Whether the client wants a response with this code: by its No-Response option (RFC 7967 §2.1) or, without one, by
    /// RFC 7252 §8.2, which does without errors and empty bodies after a multicast request.
    pub(super) fn wants(&self, code: Code, empty: bool) -> bool {
        if self.quiet != 0 {
            return self.quiet.wrapping_shr(code.class().into()) & 1 == 0;
        }
        !self.is_multicast() || (code.is_success() && !empty)
    }

    /// Offset and length of the part of the body that the response can carry: all that [`Body::Part`] has to hold.
    #[must_use]
    pub fn wanted(&self) -> (u32, u32) {
        (self.block2.map_or(0, Bits::offset), block::size(self.szx))
    }

    /// Whether an event gave it, as far as it shows.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.is(flag::LIVE) && self.flags & !flag::ALL == 0 && self.token.len() <= 8 && self.szx <= Block::MAX_SZX
    }
}

/// The body of a response.
#[derive(Debug, Clone, Copy)]
pub enum Body<'r> {
    /// All of it: the endpoint cuts the block that was asked for.
    Whole(&'r [u8]),
    /// A part that holds [`RequestId::wanted`], or its rest where the body ends before.
    Part {
        /// Where `bytes` begin in the body.
        offset: u32,
        /// The part.
        bytes: &'r [u8],
        /// Bytes of the whole body.
        total: u32,
    },
}

/// A response or a notification.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'r> {
    /// Its code.
    pub code: Code,
    /// Further options in ascending order (ETag, Content-Format, Max-Age, …). Not Observe, Block1, Block2, Size1, Size2:
    /// the endpoint writes those itself. A body of several blocks should have an ETag.
    pub options: &'r [Opt<'r>],
    /// Its body.
    pub body: Body<'r>,
    /// Accepts an observation ([`RequestId::observes`]) under this number. A full table turns it down: then the
    /// response says so to the client.
    pub observe: Option<Resource>,
    /// Of a notification: whether it is CON. (A response is what its request was.) One a day is CON regardless
    /// (RFC 7641 §4.5).
    pub confirmable: bool,
}

impl<'r> Reply<'r> {
    /// A response with this body and no options.
    #[must_use]
    pub const fn new(code: Code, body: &'r [u8]) -> Self {
        Self { code, options: &[], body: Body::Whole(body), observe: None, confirmable: true }
    }
}

/// Why a request of ours came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Failure {
    /// No answer, or none in time.
    Timeout = 1,
    /// The peer sent RST: it cannot make anything of the request, or has forgotten it.
    Reset = 2,
    /// The representation is another one than the blocks before were of, or than [`Request::etag`].
    Changed = 3,
    /// The response makes no sense: a critical option that is not understood (RFC 7252 §5.4.1), or a block that is not
    /// the one asked for.
    BadResponse = 4,
}

impl Failure {
    /// Its name, as C and Python print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "Timeout",
            Self::Reset => "Reset",
            Self::Changed => "Changed",
            Self::BadResponse => "BadResponse",
        }
    }
}

/// What an endpoint tells.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A block of a response; in order, unless a [window](Request::window) was asked for. `last && observe.is_none()` ends the exchange.
    Response {
        /// Of which request.
        exchange: Exchange,
        /// Its code; of class 4 or 5 too.
        code: Code,
        /// Its options.
        options: Options<'e>,
        /// The version of the representation.
        etag: Option<ETag>,
        /// The number of the notification, while the resource is being observed. `offset` 0 begins a new
        /// representation, whether or not the one before was complete.
        observe: Option<u32>,
        /// Where in the body `payload` belongs.
        offset: u32,
        /// Bytes of the whole body: told by the server (Size2), or known at the last block.
        total: Option<u32>,
        /// The block.
        payload: &'e [u8],
        /// Whether this was all: the body, or what was wanted of it, is complete.
        last: bool,
    },
    /// A member of a group answers a [request to all](super::Endpoint::request_group). There may be more.
    GroupResponse {
        /// Of which request.
        exchange: Exchange,
        /// Who answers.
        peer: Peer,
        /// Its code.
        code: Code,
        /// Its options. With Block2 and more to come, the rest is had from `peer` by a request with an offset.
        options: Options<'e>,
        /// Its body, or the first block of it.
        payload: &'e [u8],
    },
    /// A peer asks: answer with [`respond`](super::Endpoint::respond), now or later.
    Request {
        /// To answer it by.
        id: RequestId,
        /// The method.
        code: Code,
        /// Its options.
        options: Options<'e>,
        /// Its body, or a block of it.
        payload: &'e [u8],
        /// Where in the body `payload` belongs (Block1).
        offset: u32,
        /// Whether more blocks of the body follow: then 2.31 Continue asks for the next, 4.08 says that one is missing,
        /// 4.13 that it is too large; any other success has taken this block by itself, in whatever order they come.
        more: bool,
    },
    /// The exchange came to nothing and is over.
    Failed {
        /// Which.
        exchange: Exchange,
        /// Why.
        reason: Failure,
    },
    /// Give this part of the request's body to [`body`](super::Endpoint::body).
    BodyWanted {
        /// Of which request.
        exchange: Exchange,
        /// Where the part begins. 0 may come again: the server wants smaller blocks. With [`Request::random_access`] any
        /// may come again, in any order: it was lost.
        offset: u32,
        /// Bytes of the part, at most 1024.
        len: u32,
    },
    /// An observer left, or did not acknowledge.
    ObserverGone {
        /// What it observed.
        resource: Resource,
        /// Who.
        peer: Peer,
    },
    /// An answer to [`ping`](super::Endpoint::ping).
    Pong {
        /// Whose.
        peer: Peer,
    },
    /// No answer to [`ping`](super::Endpoint::ping).
    Silent {
        /// Whose.
        peer: Peer,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_for_one() {
        let id = RequestId { flags: flag::LIVE | flag::OBSERVE, quiet: 0x35, ..RequestId::NONE };
        assert!(id.is_sound() && id.observes() && !id.is_proven() && !id.is_multicast());
        assert!(!id.wants(Code::CONTENT, false) && !id.wants(Code::NOT_FOUND, true) && id.wants(Code(0x60), false));
        let all = RequestId { flags: flag::LIVE | flag::MULTICAST, ..RequestId::NONE };
        assert!(
            all.wants(Code::CONTENT, false) && !all.wants(Code::CONTENT, true) && !all.wants(Code::NOT_FOUND, false)
        );
        for wrong in [
            RequestId::NONE,
            RequestId { flags: flag::OBSERVE, ..id },
            RequestId { flags: flag::LIVE | 0x100, ..id },
            RequestId { szx: 7, ..id },
        ] {
            assert!(!wrong.is_sound(), "{wrong:?}");
        }
        assert_eq!(RequestId { block2: Some(Bits::at(96, false, 1)), szx: 1, ..id }.wanted(), (96, 32));
    }
}
