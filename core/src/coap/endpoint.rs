//! The endpoint: what comes in is sorted, what is due goes out.

use super::{
    Violation,
    code::Code,
    config::{Config, Resources, Stats},
    echo::Reach,
    event::Event,
    exchange::Transfer,
    flight::{Flight, Ids, Owner},
    message::{Encoder, Message, Token, Type},
    observe::Observer,
    option,
    outline::Outline,
    seen::{Answer, Seen},
};
use crate::{
    Capacity, Duration, Handled, Input, Instant, Machine, Misuse, Output, Peer, Rng, Storage, arena::Arena,
    time::Clock, timer::earliest, wire::Writer,
};

/// Why a command was refused. The peer's errors never come up: on datagrams they are noise.
pub(super) type Error = crate::Error<Violation>;

/// Names of packets in the arena: a kind, and the place in the table that it belongs to.
pub(super) mod tag {
    #[derive(Clone, Copy)]
    pub(in super::super) struct Kind(u32);

    /// A request of ours: its code, options and body.
    pub(in super::super) const REQUEST: Kind = Kind(1 << 24);
    /// A block of a body that the host gives block by block.
    pub(in super::super) const BODY: Kind = Kind(2 << 24);
    /// An answer, by the place of its request among those seen.
    pub(in super::super) const REPLY: Kind = Kind(3 << 24);
    /// A separate response, by its flight.
    pub(in super::super) const SEPARATE: Kind = Kind(4 << 24);
    /// A notification, by its number.
    pub(in super::super) const NOTE: Kind = Kind(5 << 24);
    /// What a server wants to see in the requests of a transfer: how often it did, and the value of the Echo option.
    pub(in super::super) const ECHO: Kind = Kind(6 << 24);

    impl Kind {
        pub(in super::super) fn of(self, index: usize) -> u32 {
            self.0 | (u32::try_from(index).unwrap_or(u32::MAX) & 0xFF_FFFF)
        }
    }
}

/// A CoAP endpoint: client and server at once.
///
/// It takes whole datagrams and consumes them whole. [`request`](Self::request) opens an [`Exchange`](super::Exchange), whose
/// response comes as [`Event::Response`], block by block; [`Event::Request`] is answered by [`respond`](Self::respond).
/// Nothing a peer sends is an error: what is malformed or answers nothing is dropped, answered as the standard says, and
/// counted in [`stats`](Self::stats).
///
/// ```
/// use waft::{Input, Instant, Output, Peer, coap::*};
/// let (mut a, mut b) = (Memory::<512, 2, 4, 0>::EMPTY, Memory::<512, 2, 4, 0>::EMPTY);
/// let mut client = Endpoint::new(Config::DEFAULT, 1, a.resources());
/// let mut server = Endpoint::new(Config::DEFAULT, 2, b.resources());
/// let (now, there, mut buf) = (Instant::ZERO, Peer(0), [0; 256]);
/// client.request(now, there, &Request::get("/hello"))?;
/// let Output::Transmit { peer, bytes } = client.poll_output(now, &mut buf) else { panic!() };
/// let Ok(handled) = server.handle_input(now, Input { peer, bytes });
/// let Some(Event::Request { id, options, .. }) = handled.event else { panic!() };
/// assert!(options.path_is("/hello"));
/// server.respond(now, &id, &Reply::new(Code::CONTENT, b"world"))?;
/// let Output::Transmit { peer, bytes } = server.poll_output(now, &mut buf) else { panic!() };
/// let Ok(handled) = client.handle_input(now, Input { peer, bytes });
/// assert!(matches!(handled.event, Some(Event::Response { payload: b"world", last: true, .. })));
/// # Ok::<(), waft::Error<Violation>>(())
/// ```
#[derive(Debug)]
pub struct Endpoint<'a> {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) rng: Rng,
    /// The next message ID (RFC 7252 §4.4).
    pub(super) mid: u16,
    /// Those that windows have used.
    pub(super) ids: Ids,
    /// The flight to look at first, so that all have their turn.
    cursor: usize,
    /// The number of the latest notification, 24 bits.
    pub(super) sequence: u32,
    pub(super) stats: Stats,
    /// Until then no transfer begins: see [`probing`](super::probing).
    pub(super) quiet: Instant,
    pub(super) reach: Reach,
    pub(super) arena: Arena<'a>,
    pub(super) transfers: Storage<'a, Transfer>,
    pub(super) flights: Storage<'a, Flight>,
    pub(super) seen: Storage<'a, Seen>,
    pub(super) observers: Storage<'a, Observer>,
}

impl<'a> Endpoint<'a> {
    /// An endpoint in memory of the caller's. Of the `seed` follow message IDs, tokens and jitter: take it from a source
    /// that others cannot guess (RFC 7252 §11.4).
    #[must_use]
    pub fn new(config: Config, seed: u64, resources: Resources<'a>) -> Self {
        let mut rng = Rng::new(seed);
        let [a, b, ..] = rng.next_u32().to_be_bytes();
        Self {
            config: Config { szx: config.szx.min(super::Block::MAX_SZX), ..config },
            clock: Clock::START,
            mid: u16::from_be_bytes([a, b]),
            ids: Ids::NEW,
            rng,
            cursor: 0,
            sequence: 1,
            stats: Stats::default(),
            quiet: Instant::ZERO,
            reach: Reach::new(seed, config.unproven),
            arena: Arena::new(resources.arena),
            transfers: resources.transfers,
            flights: resources.flights,
            seen: resources.seen,
            observers: resources.observers,
        }
    }

    /// What has been counted.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// The parameters.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Takes in a datagram.
    ///
    /// # Errors
    /// None ever.
    pub fn handle_input<'i>(
        &mut self,
        now: Instant,
        input: Input<'i>,
    ) -> Result<Handled<Event<'i>>, core::convert::Infallible> {
        let now = self.clock.advance(now);
        Stats::count(&mut self.stats.received);
        let event = match Message::decode(input.bytes) {
            Ok(message) => {
                self.heard(input.peer);
                self.on_message(now, input.peer, &message)
            }
            Err(violation) => {
                Stats::count(&mut self.stats.malformed);
                self.on_garbage(now, input, violation);
                None
            }
        };
        Ok(Handled { consumed: input.bytes.len(), needed: 0, event })
    }

    /// Lets time-outs happen.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        self.expire_flights(now);
        for t in self.transfers.iter_mut() {
            if t.refresh().is_some_and(|at| at <= now) {
                t.reregister();
            }
        }
        let delay = self.config.ack_delay;
        for s in self.seen.iter_mut() {
            if s.due_at(delay).is_some_and(|at| at <= now) {
                s.fall_due();
            }
        }
    }

    /// The next datagram to send or thing to tell.
    pub fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        self.handle_timeout(now);
        let now = self.clock.now();
        match self.next_datagram(now, out) {
            Some((peer, Ok(len))) => {
                Stats::count(&mut self.stats.sent);
                let out: &'o [u8] = out;
                return Output::Transmit { peer, bytes: out.get(..len).unwrap_or(&[]) };
            }
            Some((_, Err(needed))) => return Output::BufferTooSmall { needed },
            None => {}
        }
        match self.poll_transfer().or_else(|| self.poll_observer()) {
            Some(event) => Output::Event(event),
            None => Output::Timeout(self.next_timeout()),
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let delay = self.config.ack_delay;
        let flights = self.next_flight_at();
        let transfers = self.transfers.iter().filter_map(Transfer::refresh).min();
        let seen = self.seen.iter().filter_map(|s| s.due_at(delay)).min();
        earliest(earliest(flights, transfers), seen)
    }

    /// RFC 7252 §4.2, §4.3: a CON that is no message is reset, all else ignored; another version always (§3).
    fn on_garbage(&mut self, now: Instant, input: Input<'_>, violation: Violation) {
        // [RFC7252-4.2-1] [RFC7252-4.2-3] [RFC7252-4.3-3] [RFC7252-4.3-4]
        let Some(&[first, _, high, low]) = input.bytes.first_chunk::<4>() else { return };
        if violation != Violation::Version && first & 0x30 == 0 {
            self.reject(now, input.peer, u16::from_be_bytes([high, low]));
        }
    }

    fn on_message<'i>(&mut self, now: Instant, peer: Peer, message: &Message<'i>) -> Option<Event<'i>> {
        if message.code.is_request() {
            return self.on_request(now, peer, message, false);
        }
        match message.ty {
            // [RFC7252-4.2-4]
            Type::Acknowledgement | Type::Reset => {
                let flight = self.find_flight(peer, message.id);
                if message.ty == Type::Reset {
                    if !self.on_reset(peer, message.id, flight) {
                        Stats::count(&mut self.stats.unmatched);
                    }
                    return None;
                }
                let Some(index) = flight else {
                    Stats::count(&mut self.stats.unmatched);
                    return None;
                };
                // §5.2.2: what else an acknowledgement of a response says means nothing. [RFC7252-5.2.2-4]
                let ours = |f: &Flight| matches!(f.owner, Owner::Transfer(_));
                if message.code == Code::EMPTY || !self.flights.get(index).is_some_and(ours) {
                    self.on_acknowledged(now, index);
                    return None;
                }
                // §5.3.2: a piggybacked response has the message ID and the token of its request.
                // [RFC7252-5.2.1-1] [RFC7252-5.3.2-1] [RFC7252-5.3.2-2]
                match self.find_response(peer, &message.token) {
                    Some((transfer, Some(found))) if found == index => self.on_response(now, transfer, flight, message),
                    _ => {
                        Stats::count(&mut self.stats.unmatched);
                        None
                    }
                }
            }
            // [TD_COAP_CORE_31]
            // §4.3: a ping.
            _ if message.code == Code::EMPTY => {
                self.reject(now, peer, message.id);
                None
            }
            _ => self.on_separate(now, peer, message),
        }
    }

    /// A response in a message of its own (§5.2.2, §5.2.3), a notification perhaps.
    fn on_separate<'i>(&mut self, now: Instant, peer: Peer, message: &Message<'i>) -> Option<Event<'i>> {
        // [RFC7252-5.2.2-3] [RFC7252-5.2.3-1] [RFC7252-5.3.2-3] [RFC7252-4.3-2]
        let confirmable = message.ty == Type::Confirmable;
        if let Some(s) = self.find_seen(now, peer, message.id).and_then(|i| self.seen.get_mut(i)) {
            s.due |= s.confirmable && s.answer == Answer::Done;
            Stats::count(&mut self.stats.duplicates);
            return None;
        }
        if let Some(transfer) = self.find_group(&message.token) {
            return self.on_group(now, peer, transfer, message);
        }
        let found = self.find_response(peer, &message.token);
        let Some((transfer, flight)) = found.filter(|_| !self.refuses(message)) else {
            // §4.2: a CON that nothing can be done with is reset; so is, for the server's sake, a notification that
            // nobody waits for (RFC 7641 §3.6).
            if found.is_none() {
                Stats::count(&mut self.stats.unmatched);
            }
            // [RFC7641-3.5-1]
            if confirmable || (found.is_none() && message.options.get(option::OBSERVE).is_some()) {
                self.reject(now, peer, message.id);
            }
            return match found {
                Some((transfer, flight)) => self.on_response(now, transfer, flight, message),
                None => None,
            };
        };
        // [RFC7641-3.5-2]
        if confirmable {
            let seen = Seen {
                peer,
                mid: message.id,
                answer: Answer::Done,
                due: true,
                confirmable,
                harmless: true,
                ..Seen::EMPTY
            };
            self.remember(now, seen)?;
        }
        self.on_response(now, transfer, flight, message)
    }

    pub(super) fn refuses(&self, message: &Message<'_>) -> bool {
        option::not_understood_in_response(message.options, self.config.understood)
    }

    /// Writes the next datagram that is due. Nothing changes where it does not fit.
    fn next_datagram(&mut self, now: Instant, out: &mut [u8]) -> Option<(Peer, Result<usize, usize>)> {
        if let Some(answer) = self.next_answer(out) {
            return Some(answer);
        }
        match self.next_note(now, out) {
            Some(note) => Some(note),
            None => self.next_flight(now, out),
        }
    }

    /// Acknowledgements, resets and answers.
    fn next_answer(&mut self, out: &mut [u8]) -> Option<(Peer, Result<usize, usize>)> {
        let index = self.seen.iter().position(|s| s.due)?;
        let s = self.seen.get_mut(index)?;
        let written = match s.answer {
            Answer::Replied => copy(out, self.arena.get(tag::REPLY.of(index)).unwrap_or(&[])),
            Answer::Reject => empty(out, Type::Reset, s.mid),
            _ => empty(out, Type::Acknowledgement, s.mid),
        };
        if written.is_ok() {
            s.due = false;
            if s.answer == Answer::Reject {
                s.answer = Answer::Free;
            } else if s.answer == Answer::Replied && !s.confirmable {
                // A NON is answered once (§4.5): nothing to keep.
                s.answer = Answer::Done;
                self.arena.remove(tag::REPLY.of(index));
            }
        }
        Some((s.peer, written))
    }

    /// Requests, separate responses, CON notifications, pings: the first time and again.
    fn next_flight(&mut self, now: Instant, out: &mut [u8]) -> Option<(Peer, Result<usize, usize>)> {
        self.launch();
        let len = self.flights.len();
        let cursor = self.cursor;
        let index =
            (cursor..len).chain(0..cursor.min(len)).find(|i| self.may_fly(now, *i).is_ok() && self.renew(now, *i))?;
        self.freshen(index);
        let f = *self.flights.get(index)?;
        let written = match f.owner {
            Owner::Transfer(transfer) => self.write_request(out, &f, usize::from(transfer)),
            Owner::Observer(observer) => self.write_note(out, usize::from(observer), Type::Confirmable, f.mid),
            Owner::Response => copy(out, self.arena.get(tag::SEPARATE.of(index)).unwrap_or(&[])),
            _ => empty(out, Type::Confirmable, f.mid),
        };
        if written.is_ok() {
            if f.tries != 0 {
                Stats::count(&mut self.stats.retransmitted);
            }
            self.sent(now, index);
            self.cursor = index.saturating_add(1);
        }
        Some((f.peer, written))
    }

    /// Puts a message into the arena.
    pub(super) fn keep(&mut self, tag: u32, outline: &Outline<'_>, options: &[super::Opt<'_>]) -> Result<(), Capacity> {
        let len = outline.len(options);
        if !self.make_room(len) {
            return Err(Capacity::Arena);
        }
        self.arena.push(tag, len, |buf| {
            let _ = outline.write(buf, &mut options.iter().copied());
        })
    }

    /// The machine's time for a command that was given at `now`.
    pub(super) fn tick(&mut self, now: Instant) -> Instant {
        self.clock.advance(now)
    }
}

/// A duration in microseconds, cut to `least` … 60 s.
pub(super) fn micros(duration: Duration, least: u32) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX).clamp(least, 60_000_000)
}

pub(super) fn copy(out: &mut [u8], bytes: &[u8]) -> Result<usize, usize> {
    let mut w = Writer::new(out);
    w.bytes(bytes);
    w.finish().map(<[u8]>::len)
}

fn empty(out: &mut [u8], ty: Type, mid: u16) -> Result<usize, usize> {
    // [RFC7252-4.2-2] [RFC7252-4.2-3] [RFC7252-4.4-1]
    Encoder::new(out, ty, Code::EMPTY, mid, &Token::EMPTY).finish().map(<[u8]>::len)
}

impl Machine for Endpoint<'_> {
    type Event<'e> = Event<'e>;
    type Error = core::convert::Infallible;

    fn handle_input<'i>(&mut self, now: Instant, input: Input<'i>) -> Result<Handled<Event<'i>>, Self::Error> {
        self.handle_input(now, input)
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout(now);
    }

    fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        self.poll_output(now, out)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next_timeout()
    }
}

/// The commands' shorthand.
pub(super) const UNKNOWN: Error = crate::Error::Misuse(Misuse::UnknownId);
