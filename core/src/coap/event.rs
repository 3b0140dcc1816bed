//! What an endpoint is asked for and what it tells.

use super::{
    block::{self, Block},
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

    pub(super) const fn token(self) -> Token {
        self.0
    }

    /// The version that a transfer knows; `None`: an empty token, for none.
    pub(super) fn of(token: Token) -> Option<Self> {
        Some(Self(token)).filter(|_| token.len() != 0)
    }
}

/// A request of ours, from [`request`](super::Endpoint::request) to its last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// With more, the first block comes first, and the others as they arrive.
    pub window: u8,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u32; Self::WORDS]);

/// What stands in the first word of a [`RequestId`]: the length of the token in the lowest four bits, and from these bits on.
mod head {
    /// The size exponent of a response's blocks.
    pub(super) const SZX: u32 = 4;
    /// The No-Response option: bit `class - 1` for each class that is not wanted, and bit 0 where there is one.
    pub(super) const QUIET: u32 = 8;
    pub(super) const OBSERVE: u32 = 1 << 16;
    pub(super) const SIZE2: u32 = 1 << 17;
    pub(super) const MULTICAST: u32 = 1 << 18;
    pub(super) const PROVEN: u32 = 1 << 19;
    /// GET or FETCH: it may be asked for again.
    pub(super) const SAFE: u32 = 1 << 20;
    /// There is a request.
    pub(super) const LIVE: u32 = 1 << 31;
    pub(super) const ALL: u32 = 0x801F_1B7F;
}

/// What a request says of its answer, as [`RequestId::new`] takes it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wishes {
    pub(super) block1: Option<Block>,
    /// As asked for, its size already cut to ours.
    pub(super) block2: Option<Block>,
    pub(super) szx: u8,
    pub(super) quiet: u8,
    pub(super) observe: bool,
    pub(super) size2: bool,
    pub(super) multicast: bool,
    pub(super) proven: bool,
    pub(super) safe: bool,
}

impl RequestId {
    /// None.
    pub(super) const NONE: Self = Self([0; Self::WORDS]);

    pub(super) fn new(peer: Peer, mid: u16, token: &Token, wishes: &Wishes) -> Self {
        let bit = |flag: bool, bit: u32| if flag { bit } else { 0 };
        let flags = bit(wishes.observe, head::OBSERVE)
            | bit(wishes.size2, head::SIZE2)
            | bit(wishes.multicast, head::MULTICAST)
            | bit(wishes.proven, head::PROVEN)
            | bit(wishes.safe, head::SAFE);
        let small =
            u32::from(token.len()) | u32::from(wishes.szx) << head::SZX | u32::from(wishes.quiet) << head::QUIET;
        let block = |block: Option<Block>| block.map_or(u32::MAX, Block::encode);
        let [a, b, c, d, e, f, g, h] = token.padded();
        let [low, high] = [[a, b, c, d], [e, f, g, h]].map(u32::from_le_bytes);
        let head = head::LIVE | flags | small;
        Self([head, peer.0, block(wishes.block1), block(wishes.block2), mid.into(), low, high])
    }

    fn head(&self) -> u32 {
        let [head, ..] = self.0;
        head
    }

    /// Who asks.
    #[must_use]
    pub const fn peer(&self) -> Peer {
        let [_, peer, ..] = self.0;
        Peer(peer)
    }

    /// The token of the request.
    #[must_use]
    pub fn token(&self) -> Token {
        let [head, .., low, high] = self.0;
        let ([a, b, c, d], [e, f, g, h]) = (low.to_le_bytes(), high.to_le_bytes());
        let len = usize::try_from(head & 15).unwrap_or(0);
        [a, b, c, d, e, f, g, h].get(..len).and_then(Token::new).unwrap_or(Token::EMPTY)
    }

    pub(super) fn mid(&self) -> u16 {
        let [_, _, _, _, mid, ..] = self.0;
        u16::try_from(mid).unwrap_or(0)
    }

    pub(super) fn szx(&self) -> u8 {
        u8::try_from(self.head() >> head::SZX & 7).unwrap_or(0)
    }

    pub(super) fn block1(&self) -> Option<Block> {
        let [_, _, block, ..] = self.0;
        Block::from_bits(block)
    }

    pub(super) fn block2(&self) -> Option<Block> {
        let [_, _, _, block, ..] = self.0;
        Block::from_bits(block)
    }

    /// Whether it wants to observe the resource: [`Reply::observe`] accepts.
    #[must_use]
    pub fn observes(&self) -> bool {
        self.head() & head::OBSERVE != 0
    }

    /// Whether it came to a multicast address ([`handle_multicast`](super::Endpoint::handle_multicast)).
    #[must_use]
    pub fn is_multicast(&self) -> bool {
        self.head() & head::MULTICAST != 0
    }

    /// Whether its sender has shown, by an Echo option (RFC 9175), that it receives what is sent to its address, and that it
    /// has received something of late.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.head() & head::PROVEN != 0
    }

    pub(super) fn asks_size(&self) -> bool {
        self.head() & head::SIZE2 != 0
    }

    pub(super) fn is_safe(&self) -> bool {
        self.head() & head::SAFE != 0
    }

    /// Whether the client wants a response with this code: by its No-Response option (RFC 7967 §2.1) or, without one, by
    /// RFC 7252 §8.2, which does without errors and empty bodies after a multicast request.
    pub(super) fn wants(&self, code: Code, empty: bool) -> bool {
        let quiet = self.head() >> head::QUIET & 0x1F;
        if quiet != 0 {
            let bit = code.class().checked_sub(1).and_then(|n| 1_u32.checked_shl(n.into())).unwrap_or(0);
            return quiet & bit == 0;
        }
        !self.is_multicast() || (code.is_success() && !empty)
    }

    /// Offset and length of the part of the body that the response can carry: all that [`Body::Part`] has to hold.
    #[must_use]
    pub fn wanted(&self) -> (u32, u32) {
        (self.block2().map_or(0, Block::offset), block::size(self.szx()))
    }

    /// As plain words, for those who cannot hold it as it is. They hold for the endpoint that gave it only.
    #[must_use]
    pub const fn to_words(&self) -> [u32; Self::WORDS] {
        self.0
    }

    /// From what [`to_words`](Self::to_words) gave; `None` for what it never gives.
    #[must_use]
    pub fn from_words(words: [u32; Self::WORDS]) -> Option<Self> {
        let [head, _, block1, block2, mid, ..] = words;
        let block = |bits: u32| bits == u32::MAX || (bits >> 24 == 0 && bits & 7 != 7);
        let szx = head >> head::SZX & 7;
        let plain = head & !head::ALL == 0 && head & head::LIVE != 0 && head & 15 <= 8 && szx != 7;
        (plain && block(block1) && block(block2) && mid >> 16 == 0).then_some(Self(words))
    }

    /// Words of [`to_words`](Self::to_words).
    pub const WORDS: usize = 7;
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
        /// 4.13 that it is too large.
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
        /// Where the part begins. 0 may come again: the server wants smaller blocks.
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
    fn a_requests_name_survives_as_words_and_nothing_else_is_one() {
        let token = Token::new(&[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        let block = Block { num: Block::MAX_NUM, more: true, szx: 6 };
        let wishes =
            Wishes { block1: Some(block), szx: 2, observe: true, proven: true, quiet: 0x1B, ..Wishes::default() };
        let id = RequestId::new(Peer(0x8000_0001), 0xFFFF, &token, &wishes);
        assert_eq!(RequestId::from_words(id.to_words()), Some(id));
        assert_eq!((id.peer(), id.mid(), id.token(), id.szx()), (Peer(0x8000_0001), 0xFFFF, token, 2));
        assert_eq!((id.block1(), id.block2(), id.observes(), id.is_proven()), (Some(block), None, true, true));
        assert!(!id.asks_size() && !id.is_multicast() && !id.is_safe());
        assert!(!id.wants(Code::CONTENT, false) && id.wants(Code(0x60), false));
        let wishes =
            Wishes { block2: Some(Block::default()), size2: true, multicast: true, safe: true, ..Wishes::default() };
        let other = RequestId::new(Peer(2), 0, &Token::EMPTY, &wishes);
        assert_eq!(RequestId::from_words(other.to_words()), Some(other));
        assert_eq!((other.token(), other.block2()), (Token::EMPTY, Some(Block::default())));
        assert!(other.asks_size() && other.is_multicast() && other.is_safe() && !other.observes());
        assert_eq!(RequestId::from_words([0; RequestId::WORDS]), None);
        let [head, ..] = id.to_words();
        for (at, wrong) in [
            (0, head & !(1 << 31)),
            (0, head | 1 << 21),
            (0, head | 4 << 8),
            (0, head | 1),
            (0, head | 7 << 4),
            (2, 0x0100_0000),
            (2, 7),
            (3, 0x0F),
            (4, 0x1_0000),
        ] {
            let mut words = id.to_words();
            words[at] = wrong;
            assert_eq!(RequestId::from_words(words), None, "{at}: {wrong:x}");
        }
    }
}
