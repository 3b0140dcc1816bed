//! The endpoint: what comes in is sorted, what is due goes out.

use super::{
    Violation,
    code::Code,
    config::{Config, Resources, Rules, Stats},
    congestion::Path,
    control::{Control, STANDARD},
    echo::Reach,
    event::Event,
    exchange::Transfer,
    flight::{Flight, NONE, Owner, Stage},
    message::{Message, Type},
    multicast::{Group, no_group},
    observe::Observer,
    option,
    outline::Outline,
    raw::{Kind, Told},
    secret::Secret,
    seen::{Answer, Seen, flag},
    ticks::{LONGEST, NEVER, Tick, coarse, later, long, short, tick, until},
};
use crate::{Handled, Input, Instant, Machine, Misuse, Output, Peer, Storage, arena::Arena, time::Clock, wire::Writer};

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
#[repr(C)]
pub struct Endpoint<'a> {
    // What is short and what is used most first, where short instructions reach it.
    pub(super) config: Rules,
    /// The flight to look at first, so that all have their turn.
    cursor: u16,
    /// The next message ID (RFC 7252 §4.4).
    pub(super) mid: u16,
    /// The tick of the clock.
    pub(super) now: Tick,
    /// Until then no transfer begins: see [`probing`](super::probing).
    pub(super) quiet: Tick,
    /// The number of the latest notification, 24 bits.
    pub(super) sequence: u32,
    pub(super) transfers: Storage<'a, Transfer>,
    pub(super) flights: Storage<'a, Flight>,
    pub(super) seen: Storage<'a, Seen>,
    pub(super) observers: Storage<'a, Observer>,
    pub(super) arena: Arena<'a>,
    pub(super) control: &'static Control,
    pub(super) group: Group,
    pub(super) clock: Clock,
    pub(super) secret: Secret,
    pub(super) stats: Stats,
    pub(super) reach: Reach,
    pub(super) paths: Storage<'a, Path>,
}

impl<'a> Endpoint<'a> {
    /// An endpoint in memory of the caller's. Of the `seed` follow message IDs, tokens and jitter: take it from a source
    /// that others cannot guess (RFC 7252 §11.4).
    #[must_use]
    pub fn new(config: Config, seed: u64, mut resources: Resources<'a>) -> Self {
        let paths = core::mem::replace(&mut resources.paths, Storage::empty());
        let mut endpoint = Self::standard(&config, seed, resources);
        endpoint.measure_paths(config.policy, paths);
        endpoint
    }

    /// The same, of which all transfers go by [`Policy::Standard`](super::Policy::Standard) whatever the configuration says: firmware that makes no other holds no code for
    /// windows. [`measure_paths`](Self::measure_paths) makes up for it.
    #[must_use]
    #[inline]
    pub fn standard(config: &Config, seed: u64, resources: Resources<'a>) -> Self {
        Self::by_rules(Rules::new(config), seed, resources)
    }

    /// [`Endpoint::standard`], of a configuration in the endpoint's own units.
    #[must_use]
    #[inline]
    pub fn by_rules(mut rules: Rules, seed: u64, resources: Resources<'a>) -> Self {
        rules.cut();
        let mut secret = Secret::new(seed);
        let [a, b, ..] = secret.draw().to_be_bytes();
        Self {
            clock: Clock::START,
            secret,
            config: rules,
            now: 0,
            quiet: 0,
            sequence: 1,
            control: &STANDARD,
            group: no_group,
            arena: Arena::new(resources.arena),
            transfers: resources.transfers,
            flights: resources.flights,
            seen: resources.seen,
            observers: resources.observers,
            paths: resources.paths,
            stats: Stats::default(),
            reach: Reach::new(rules.unproven),
            cursor: 0,
            mid: u16::from_be_bytes([a, b]),
        }
    }

    /// What has been counted.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
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
        let mut told = Told::NOTHING;
        self.handle_input_raw(now, input, &mut told);
        Ok(Handled { consumed: input.bytes.len(), needed: 0, event: told.event() })
    }

    /// Lets time-outs happen.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tick(now);
        self.quiet = later(self.quiet, self.now);
        for index in 0..self.flights.len() {
            let late = |f: &&Flight| f.stage != Stage::Ready && self.wait(f) == 0;
            if self.flights.get(index).filter(late).is_some() {
                self.expire(index);
            }
        }
        let seconds = coarse(self.clock.now());
        for t in self.transfers.iter_mut() {
            if t.refresh().is_some_and(|at| at <= seconds) {
                t.reregister();
            }
        }
        self.age_seen();
    }

    /// The next datagram to send or thing to tell.
    pub fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        let mut told = Told::NOTHING;
        let len = self.poll_output_raw(now, out, &mut told);
        let out: &'o [u8] = out;
        match (out.get(..len), told.event()) {
            (Some(bytes @ [_, ..]), _) => Output::Transmit { peer: told.peer, bytes },
            (_, Some(event)) => Output::Event(event),
            _ if told.len != 0 => Output::BufferTooSmall { needed: usize::try_from(told.len).unwrap_or(usize::MAX) },
            _ => Output::Timeout(self.next_timeout()),
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let at = self.deadline();
        (at != u64::MAX).then_some(Instant::from_micros(at))
    }

    /// The microseconds of [`next_timeout`](Self::next_timeout); `u64::MAX`: there is none.
    pub(super) fn deadline(&self) -> u64 {
        let mut least = NEVER;
        for f in self.flights.iter() {
            least = least.min(self.wait(f));
        }
        for s in self.seen.iter() {
            least = least.min(s.wait(self.now, self.config.ack_delay));
        }
        let seconds = coarse(self.clock.now());
        for refresh in self.transfers.iter().filter_map(Transfer::refresh) {
            // What lies beyond all ticks is looked at again on the way.
            let away = refresh.saturating_sub(seconds).min(LONGEST >> 14);
            least = least.min(until(self.now, seconds.wrapping_add(away) << 14));
        }
        if least == NEVER {
            return u64::MAX;
        }
        (self.clock.now().as_micros() >> 6).wrapping_add(least.into()) << 6
    }

    /// The machine's time for a command that was given at `now`.
    pub(super) fn tick(&mut self, now: Instant) {
        let before = self.clock.now();
        let now = self.clock.advance(now);
        self.now = tick(now);
        let passed = long(now).wrapping_sub(long(before));
        if passed != 0 {
            self.pass(passed);
        }
    }

    /// So many times have 2^32 µs (71 minutes) passed: what is remembered by less than the clock's bits is looked at.
    #[cold]
    fn pass(&mut self, spans: u32) {
        let now = short(self.clock.now());
        self.transfers.iter_mut().for_each(|t| t.pass(now, spans));
        self.observers.iter_mut().for_each(|o| o.pass(spans));
        if spans > 16 {
            self.lapse();
        }
    }

    /// The tick that spans which begin now are counted from: none is shorter for it.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn from(&self) -> Tick {
        let now = self.clock.now().as_micros();
        self.now.wrapping_add(u32::from(now & 63 != 0))
    }

    /// Nothing was done for so long that ticks may have wrapped: all that had a time is due.
    fn lapse(&mut self) {
        let past = self.now.wrapping_sub(LONGEST);
        self.quiet = past;
        for f in self.flights.iter_mut() {
            (f.since, f.at) = (past, self.now);
        }
        for s in self.seen.iter_mut() {
            s.at = past;
        }
        (self.control.lapse)(self);
    }

    /// Takes in a datagram.
    pub(super) fn take_in<'i>(&mut self, input: Input<'i>, told: &mut Told<'i>) {
        Stats::count(&mut self.stats.received);
        let peer = input.peer;
        match Message::decode(input.bytes) {
            Ok(message) => {
                self.heard(peer);
                self.on_message(peer, &message, told);
            }
            Err(violation) => {
                Stats::count(&mut self.stats.malformed);
                // RFC 7252 §4.2, §4.3: a CON that is no message is reset, all else ignored; another version always (§3).
                // [RFC7252-4.2-1] [RFC7252-4.2-3] [RFC7252-4.3-3] [RFC7252-4.3-4]
                let Some(&[first, _, high, low]) = input.bytes.first_chunk::<4>() else { return };
                if violation != Violation::Version && first & 0x30 == 0 {
                    self.reject(peer, u16::from_be_bytes([high, low]));
                }
            }
        }
    }

    fn on_message<'i>(&mut self, peer: Peer, message: &Message<'i>, told: &mut Told<'i>) {
        if message.code.is_request() {
            self.on_request(peer, message, false, told);
            return;
        }
        match message.ty {
            // [RFC7252-4.2-4]
            Type::Acknowledgement | Type::Reset => {
                if !self.on_answer(peer, message, told) {
                    Stats::count(&mut self.stats.unmatched);
                }
            }
            // [TD_COAP_CORE_31]
            // §4.3: a ping.
            _ if message.code == Code::EMPTY => self.reject(peer, message.id),
            _ => {
                self.on_separate(peer, message, told);
            }
        }
    }

    /// ACK or RST arrived. Whether it was for anything.
    fn on_answer<'i>(&mut self, peer: Peer, message: &Message<'i>, told: &mut Told<'i>) -> bool {
        let flight = self.find_flight(peer, message.id);
        if message.ty == Type::Reset {
            return self.on_reset(peer, message.id, flight);
        }
        let Some(index) = flight else { return false };
        // §5.2.2: what else an acknowledgement of a response says means nothing. [RFC7252-5.2.2-4]
        let ours = self.flights.get(index).is_some_and(|f| f.owner == Owner::Transfer);
        if message.code == Code::EMPTY || !ours {
            self.on_acknowledged(index);
            return true;
        }
        // §5.3.2: a piggybacked response has the message ID and the token of its request.
        // [RFC7252-5.2.1-1] [RFC7252-5.3.2-1] [RFC7252-5.3.2-2]
        let (transfer, found) = self.find_response(peer, &message.token);
        if found == index {
            self.on_response(transfer, index, message, told);
        }
        found == index
    }

    /// A response in a message of its own (§5.2.2, §5.2.3), a notification perhaps.
    fn on_separate<'i>(&mut self, peer: Peer, message: &Message<'i>, told: &mut Told<'i>) -> Option<()> {
        // [RFC7252-5.2.2-3] [RFC7252-5.2.3-1] [RFC7252-5.3.2-3] [RFC7252-4.3-2]
        let confirmable = message.ty == Type::Confirmable;
        if let Some(s) = self.find_seen(peer, message.id).and_then(|i| self.seen.get_mut(i)) {
            if s.is(flag::CONFIRMABLE) && s.answer() == Answer::Done {
                s.fall_due();
            }
            Stats::count(&mut self.stats.duplicates);
            return None;
        }
        if (self.group)(self, peer, message, told) {
            return None;
        }
        let (transfer, flight) = self.find_response(peer, &message.token);
        // §4.2: a CON that nothing can be done with is reset; so is, for the server's sake, a notification that
        // nobody waits for (RFC 7641 §3.6).
        // [RFC7641-3.5-1]
        let none = transfer == NONE;
        if none {
            Stats::count(&mut self.stats.unmatched);
        }
        if none || self.refuses(message) {
            if confirmable || (none && message.options.get(option::OBSERVE).is_some()) {
                self.reject(peer, message.id);
            }
        } else if confirmable {
            // [RFC7641-3.5-2]
            self.acknowledged(peer, message)?;
        }
        self.on_response(transfer, flight, message, told)
    }

    /// Remembers a response, and acknowledges it where it is CON. `None`: there is no place; it counts as lost.
    pub(super) fn acknowledged(&mut self, peer: Peer, message: &Message<'_>) -> Option<()> {
        let owed = if message.ty == Type::Confirmable { flag::CONFIRMABLE | flag::DUE } else { 0 };
        self.remember(Seen::new(peer, message.id, Answer::Done, flag::HARMLESS | owed)).map(|_| ())
    }

    pub(super) fn refuses(&self, message: &Message<'_>) -> bool {
        option::first_not_understood(message.options, self.config.understood, true).is_some()
    }

    /// The next datagram, of which it gives the length, or thing to tell.
    pub(super) fn put_out(&mut self, out: &mut [u8], told: &mut Told<'_>) -> usize {
        let mut written = self.next_answer(out, told);
        if written.is_none() {
            written = self.next_note(out, told);
        }
        if written.is_none() {
            written = self.next_flight(out, told);
        }
        match written {
            Some(Ok(len)) => {
                Stats::count(&mut self.stats.sent);
                return len;
            }
            // Nothing changes where it does not fit.
            Some(Err(needed)) => told.len = u32::try_from(needed).unwrap_or(u32::MAX),
            None => {
                self.poll_transfer(told);
                if told.kind == Kind::Nothing {
                    self.poll_observer(told);
                }
            }
        }
        0
    }

    /// Acknowledgements, resets and answers.
    fn next_answer(&mut self, out: &mut [u8], told: &mut Told<'_>) -> Option<Result<usize, usize>> {
        let index = self.seen.iter().position(|s| s.is(flag::DUE))?;
        let s = self.seen.get_mut(index)?;
        told.peer = s.peer;
        let answer = s.answer();
        let head = empty(if answer == Answer::Reject { Type::Reset } else { Type::Acknowledgement }, s.mid);
        let mut bytes = &head[..];
        if answer == Answer::Replied {
            bytes = packet(&self.arena, tag::REPLY.of(index));
        }
        let written = copy(out, bytes);
        if written.is_ok() {
            let once = answer == Answer::Replied && !s.is(flag::CONFIRMABLE);
            let left = match answer {
                Answer::Reject => Answer::Free,
                // A NON is answered once (§4.5): nothing to keep.
                _ if once => Answer::Done,
                _ => answer,
            };
            s.set(left, false);
            if once {
                self.arena.remove(tag::REPLY.of(index));
            }
        }
        Some(written)
    }

    /// Requests, separate responses, CON notifications, pings: the first time and again.
    fn next_flight(&mut self, out: &mut [u8], told: &mut Told<'_>) -> Option<Result<usize, usize>> {
        self.launch();
        let len = self.flights.len();
        let mut index = usize::from(self.cursor);
        let mut left = len;
        loop {
            left = left.checked_sub(1)?;
            if index >= len {
                index = 0;
            }
            if self.may_fly(index) {
                break;
            }
            index = index.wrapping_add(1);
        }
        self.freshen(index);
        let f = self.flights.get(index)?;
        told.peer = f.peer;
        let (of, again) = (usize::from(f.of), f.tries != 0);
        let written = match f.owner {
            Owner::Transfer => self.write_request(out, f),
            Owner::Observer => self.write_note(out, of, Type::Confirmable, f.mid),
            Owner::Response => copy(out, packet(&self.arena, tag::SEPARATE.of(index))),
            _ => copy(out, &empty(Type::Confirmable, f.mid)),
        };
        if written.is_ok() {
            if again {
                Stats::count(&mut self.stats.retransmitted);
            }
            self.sent(index);
            self.cursor = u16::try_from(index & 0xFFFF).unwrap_or(0).wrapping_add(1);
        }
        Some(written)
    }

    /// Puts a message into the arena. `None`: it has no room now.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn keep(&mut self, tag: u32, outline: &Outline<'_>) -> Option<()> {
        let place = self.place_for(tag, outline.len())?;
        let _ = outline.write(place);
        Some(())
    }
}

/// A packet in the arena; empty where it is not there.
#[cfg_attr(feature = "opt-size", inline(never))]
pub(super) fn packet<'p>(arena: &'p Arena<'_>, tag: u32) -> &'p [u8] {
    arena.get(tag).unwrap_or(&[])
}

pub(super) fn copy(out: &mut [u8], bytes: &[u8]) -> Result<usize, usize> {
    let mut w = Writer::new(out);
    w.bytes(bytes);
    w.finish().map(<[u8]>::len)
}

/// A message of nothing but its header (RFC 7252 §3, §4.1): version 1, its type, no token, the code 0.00, its message ID.
fn empty(ty: Type, mid: u16) -> [u8; 4] {
    // [RFC7252-4.2-2] [RFC7252-4.2-3] [RFC7252-4.4-1]
    (0x4000_0000 | (ty as u32) << 28 | u32::from(mid)).to_be_bytes()
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
