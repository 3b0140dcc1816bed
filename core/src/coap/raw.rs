//! The endpoint without Rust's types, for bindings to other languages: what is told is flat. It is the same endpoint, and
//! what every verb does stands with its namesake.

pub use super::config::Rules;
use super::{
    code::Code,
    endpoint::Endpoint,
    event::{ETag, Event, Exchange, Failure, Flow, Request, RequestId, Resource},
    message::Token,
    option::{Opt, Options},
};
use crate::{Input, Instant, Peer};

/// A [`Request`] of which not more is known than C tells.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "they are those of `Request`")]
pub struct Raw<'r> {
    pub path: &'r [u8],
    pub host: Option<&'r [u8]>,
    pub options: &'r [Opt<'r>],
    pub payload: &'r [u8],
    /// Empty: none.
    pub etag: &'r [u8],
    pub wishes: &'r Wishes,
}

/// What of a [`Request`] is numbers: any will do, and those that say yes or no are 0 for no.
// In C's layout: `waft_coap_request_t` ends with the same.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs, reason = "they are those of `Request`")]
pub struct Wishes {
    /// Where `streamed`.
    pub payload_len: u32,
    pub offset: u32,
    pub until: u32,
    pub method: u8,
    pub confirmable: u8,
    pub observe: u8,
    pub szx: u8,
    /// The body is asked for block by block.
    pub streamed: u8,
    /// [`Flow::Manual`].
    pub manual: u8,
    pub window: u8,
    pub random_access: u8,
}

impl Wishes {
    pub(super) fn of(request: &Request<'_>) -> Self {
        Self {
            payload_len: request.payload_len.unwrap_or(0),
            offset: request.offset,
            until: request.until,
            method: request.method.0,
            confirmable: request.confirmable.into(),
            observe: request.observe.into(),
            szx: request.szx,
            streamed: request.payload_len.is_some().into(),
            manual: (request.flow == Flow::Manual).into(),
            window: request.window,
            random_access: request.random_access.into(),
        }
    }
}

impl<'r> Raw<'r> {
    pub(super) fn of(request: &'r Request<'_>, wishes: &'r Wishes) -> Self {
        Self {
            path: request.path.as_bytes(),
            host: request.host.map(str::as_bytes),
            options: request.options,
            payload: request.payload,
            etag: request.etag.as_ref().map_or(&[], ETag::as_bytes),
            wishes,
        }
    }
}

/// What happened: an [`Event`] by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs, reason = "they are those of `Event`")]
pub enum Kind {
    Nothing = 0,
    Response = 1,
    Request = 2,
    Failed = 3,
    BodyWanted = 4,
    ObserverGone = 5,
    Pong = 6,
    Silent = 7,
    GroupResponse = 8,
}

/// What a datagram tells, or what the endpoint has to say. What a kind does not name is 0 or empty.
// In C's layout: `waft_coap_event_t` is the same. What is short stands where short instructions reach it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Told<'e> {
    /// What happened.
    pub kind: Kind,
    /// A method or a response code.
    pub code: Code,
    /// `Failed`: why.
    pub reason: Option<Failure>,
    /// `Response`: it is a notification. `Request`: it wants to observe.
    pub observe: bool,
    /// `Response`: `total` is known.
    pub has_total: bool,
    /// `Response`: this was all.
    pub last: bool,
    /// `Request`: more blocks of the body follow.
    pub more: bool,
    /// `Request`: it came to a multicast address.
    pub multicast: bool,
    /// `Request`: its sender has shown that it is there ([`RequestId::is_proven`]).
    pub proven: bool,
    /// `Response`: the version of the representation; empty for none.
    pub etag: Token,
    /// Who.
    pub peer: Peer,
    /// Which request of ours.
    pub exchange: u32,
    /// `ObserverGone`: what it observed.
    pub resource: Resource,
    /// `Response`: the number of the notification.
    pub sequence: u32,
    /// Where in the body the payload belongs, or what is wanted begins.
    pub offset: u32,
    /// `Response`: bytes of the whole body.
    pub total: u32,
    /// `Request`: where in its body the part begins that the response can carry, and its length ([`RequestId::wanted`]).
    pub wanted_offset: u32,
    /// See there.
    pub wanted_len: u32,
    /// `BodyWanted`: bytes. Of output: the bytes that the buffer should have had, or 0.
    pub len: u32,
    /// The options.
    pub options: Options<'e>,
    /// A body, or a block of it.
    pub payload: &'e [u8],
    /// `Request`: to answer it by.
    pub request: RequestId,
}

impl<'e> Told<'e> {
    /// Nothing.
    pub const NOTHING: Self = Self {
        kind: Kind::Nothing,
        code: Code::EMPTY,
        reason: None,
        observe: false,
        has_total: false,
        last: false,
        more: false,
        multicast: false,
        proven: false,
        etag: Token::EMPTY,
        peer: Peer(0),
        exchange: 0,
        resource: Resource(0),
        sequence: 0,
        offset: 0,
        total: 0,
        wanted_offset: 0,
        wanted_len: 0,
        len: 0,
        options: Options::EMPTY,
        payload: &[],
        request: RequestId::NONE,
    };

    pub(super) fn event(&self) -> Option<Event<'e>> {
        let exchange = Exchange::from_id(self.exchange);
        let Self { code, options, payload, peer, offset, resource, len, .. } = *self;
        Some(match self.kind {
            Kind::Nothing => return None,
            Kind::Response => Event::Response {
                exchange,
                code,
                options,
                etag: ETag::new(self.etag.as_bytes()),
                observe: self.observe.then_some(self.sequence),
                offset,
                total: self.has_total.then_some(self.total),
                payload,
                last: self.last,
            },
            Kind::Request => Event::Request { id: self.request, code, options, payload, offset, more: self.more },
            Kind::Failed => Event::Failed { exchange, reason: self.reason.unwrap_or(Failure::Timeout) },
            Kind::BodyWanted => Event::BodyWanted { exchange, offset, len },
            Kind::ObserverGone => Event::ObserverGone { resource, peer },
            Kind::Pong => Event::Pong { peer },
            Kind::Silent => Event::Silent { peer },
            Kind::GroupResponse => Event::GroupResponse { exchange, peer, code, options, payload },
        })
    }
}

impl Endpoint<'_> {
    /// [`Endpoint::handle_input`]. `told` is [`Told::NOTHING`] before.
    pub fn handle_input_raw<'i>(&mut self, now: Instant, input: Input<'i>, told: &mut Told<'i>) {
        self.tick(now);
        self.take_in(input, told);
    }

    /// [`Endpoint::handle_multicast`]. `told` is [`Told::NOTHING`] before.
    pub fn handle_multicast_raw<'i>(&mut self, now: Instant, input: Input<'i>, told: &mut Told<'i>) {
        self.tick(now);
        self.take_in_multicast(input, told);
    }

    /// [`Endpoint::next_timeout`] in microseconds; `u64::MAX`: there is none.
    #[must_use]
    pub fn next_timeout_raw(&self) -> u64 {
        self.deadline()
    }

    /// [`Endpoint::poll_output`]: how many bytes stand at the front of `out`, to be sent to [`Told::peer`]. If there are none,
    /// `told` has something to tell, or names the room that the next datagram takes, [`Told::len`], or neither: then there is
    /// nothing until [`Endpoint::next_timeout`]. It is [`Told::NOTHING`] before.
    pub fn poll_output_raw(&mut self, now: Instant, out: &mut [u8], told: &mut Told<'_>) -> usize {
        self.handle_timeout(now);
        self.put_out(out, told)
    }
}
