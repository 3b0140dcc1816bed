//! Parameters, memory and counters of an endpoint.

use super::{
    block::Block,
    congestion::{Path, Policy},
    exchange::Transfer,
    flight::Flight,
    observe::Observer,
    seen::Seen,
    ticks::{Tick, ticks},
};
use crate::{Duration, Storage};

/// Parameters of an endpoint. The defaults are those of RFC 7252 §4.8.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// ACK_TIMEOUT: the least time until a CON is sent again. 1 ms to 60 s; what is outside is cut to that.
    pub ack_timeout: Duration,
    /// Up to so much is added to it at random: ACK_TIMEOUT × (ACK_RANDOM_FACTOR − 1). At most 60 s.
    pub ack_jitter: Duration,
    /// MAX_RETRANSMIT: how often a CON is sent again, each time after twice the time. At most 16.
    pub max_retransmit: u8,
    /// NSTART: interactions outstanding with one peer. More than 1 is lawful only with congestion control (§4.7).
    pub nstart: u8,
    /// How long a response is waited for after its CON request was acknowledged, or a NON request sent.
    pub response_timeout: Duration,
    /// EXCHANGE_LIFETIME: how long a message ID of a peer's stands for the same message.
    pub exchange_lifetime: Duration,
    /// After this time without [`respond`](super::Endpoint::respond) a CON request is acknowledged by itself, and the
    /// response follows separately (§5.2.2).
    pub ack_delay: Duration,
    /// Size exponent of the largest block sent or asked for, 0 to 6.
    pub szx: u8,
    /// By what transfers go that fetch several blocks and have a [path](Resources::paths).
    pub policy: Policy,
    /// Whether an observation registers again when Max-Age has passed without a notification (RFC 7641 §3.3.1).
    pub reregister: bool,
    /// Of answers longer than 136 bytes, so many bytes may go to addresses that have not shown that they are there, within
    /// EXCHANGE_LIFETIME; beyond that such a GET or FETCH is answered 4.01 with an Echo option (RFC 9175 §2.6), and any other
    /// request not handed on. So a spoofed address gets no more out of this server however much is asked for, and few clients
    /// that do not know Echo are served all the same. 0: every such answer. `u32::MAX`: none, where all peers are known.
    pub unproven: u32,
    /// DEFAULT_LEISURE (§8.2): answers to multicast requests are spread over so much time. At most 60 s.
    pub leisure: Duration,
    /// PROBING_RATE (§4.7): bytes a second that go to a peer that does not respond, on average, in NON requests and in
    /// acknowledged ones: so long the next one to it waits. Not counted are answered requests, and those that ask for no answer
    /// (No-Response). 0 lets no second one go for 38 hours.
    pub probing_rate: u32,
    /// Whether requests to a proxy (Proxy-Uri, Proxy-Scheme) go to the host instead of being answered 5.05.
    pub proxy: bool,
    /// Critical options that the host understands besides those of RFC 7252 and RFC 7959.
    pub understood: &'static [u16],
}

impl Config {
    /// The defaults, as a constant.
    pub const DEFAULT: Self = Self {
        ack_timeout: Duration::from_secs(2),
        ack_jitter: Duration::from_secs(1),
        max_retransmit: 4,
        nstart: 1,
        response_timeout: Duration::from_secs(93),
        exchange_lifetime: Duration::from_secs(247),
        ack_delay: Duration::from_secs(1),
        szx: Block::MAX_SZX,
        policy: Policy::Windowed,
        reregister: true,
        unproven: 1 << 20,
        leisure: Duration::from_secs(5),
        probing_rate: 1,
        proxy: false,
        understood: &[],
    };
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// [`Config`] as an endpoint has it: in its own units, cut to what is allowed.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Rules {
    pub(super) max_retransmit: u8,
    pub(super) nstart: u8,
    pub(super) szx: u8,
    pub(super) policy: Policy,
    pub(super) reregister: bool,
    pub(super) proxy: bool,
    /// In milliseconds.
    pub(super) leisure: u16,
    pub(super) ack_timeout: Tick,
    pub(super) ack_jitter: Tick,
    pub(super) response_timeout: Tick,
    pub(super) exchange_lifetime: Tick,
    pub(super) ack_delay: Tick,
    pub(super) unproven: u32,
    pub(super) probing_rate: u32,
    pub(super) understood: &'static [u16],
}

/// A minute.
const MINUTE: Tick = 937_500;

impl Rules {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            ack_timeout: ticks(config.ack_timeout).clamp(16, MINUTE),
            ack_jitter: ticks(config.ack_jitter).min(MINUTE),
            response_timeout: ticks(config.response_timeout),
            exchange_lifetime: ticks(config.exchange_lifetime),
            ack_delay: ticks(config.ack_delay),
            unproven: config.unproven,
            probing_rate: config.probing_rate,
            understood: config.understood,
            // 1024 µs are 16 ticks.
            leisure: u16::try_from(ticks(config.leisure).min(MINUTE) >> 4).unwrap_or(u16::MAX),
            max_retransmit: config.max_retransmit.min(16),
            nstart: config.nstart.max(1),
            szx: config.szx.min(Block::MAX_SZX),
            policy: Policy::Standard,
            reregister: config.reregister,
            proxy: config.proxy,
        }
    }
}

/// The memory of an endpoint.
#[derive(Debug)]
pub struct Resources<'a> {
    /// Encoded requests and responses that may have to be sent again: room for the options and the body of each request of
    /// ours, a block of each response on its way, and, as far as there is room, of answers given. 8 bytes each besides.
    pub arena: Storage<'a, u8>,
    /// Requests of ours, observations among them: at most 65 535.
    pub transfers: Storage<'a, Transfer>,
    /// Messages of ours that wait for an answer: one for each transfer, separate response, CON notification and ping
    /// that shall be under way at a time, and one for each block more of a transfer's [window](super::Request::window). An eighth of them is
    /// not given to windows.
    pub flights: Storage<'a, Flight>,
    /// Messages of peers', remembered to detect duplicates, and requests that wait for the host.
    pub seen: Storage<'a, Seen>,
    /// Observers of our resources.
    pub observers: Storage<'a, Observer>,
    /// What is known of the paths of transfers that go by [`Policy::Windowed`] or [`Policy::Cocoa`]: one place for each at a
    /// time, and one more. A transfer that finds none goes by [`Policy::Standard`].
    pub paths: Storage<'a, Path>,
}

#[cfg(feature = "alloc")]
impl Resources<'static> {
    /// On the heap: `arena` bytes, and so many places in each table.
    #[must_use]
    pub fn owned(arena: usize, transfers: usize, flights: usize, seen: usize, observers: usize) -> Self {
        Self {
            arena: Storage::owned(arena),
            transfers: Storage::owned(transfers),
            flights: Storage::owned(flights),
            seen: Storage::owned(seen),
            observers: Storage::owned(observers),
            paths: Storage::owned(transfers.saturating_add(1)),
        }
    }
}

/// The arrays behind [`Resources`], for a `static`. A window of blocks wants more flights than there are transfers. Of the
/// `PATHS` two do for one window at a time, and none where there shall be no window.
#[derive(Debug)]
pub struct Memory<
    const ARENA: usize,
    const TRANSFERS: usize,
    const SEEN: usize,
    const OBSERVERS: usize,
    const FLIGHTS: usize = TRANSFERS,
    const PATHS: usize = FLIGHTS,
> {
    arena: [u8; ARENA],
    transfers: [Transfer; TRANSFERS],
    flights: [Flight; FLIGHTS],
    seen: [Seen; SEEN],
    observers: [Observer; OBSERVERS],
    paths: [Path; PATHS],
}

impl<const A: usize, const T: usize, const S: usize, const O: usize, const F: usize, const P: usize>
    Memory<A, T, S, O, F, P>
{
    /// Empty memory.
    pub const EMPTY: Self = Self {
        arena: [0; A],
        transfers: [Transfer::EMPTY; T],
        flights: [Flight::EMPTY; F],
        seen: [Seen::EMPTY; S],
        observers: [Observer::EMPTY; O],
        paths: [Path::EMPTY; P],
    };

    /// What an endpoint takes.
    pub fn resources(&mut self) -> Resources<'_> {
        Resources {
            arena: (&mut self.arena).into(),
            transfers: (&mut self.transfers).into(),
            flights: (&mut self.flights).into(),
            seen: (&mut self.seen).into(),
            observers: (&mut self.observers).into(),
            paths: (&mut self.paths).into(),
        }
    }
}

/// Counts since the endpoint was made. They stop at their end instead of wrapping.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams taken in.
    pub received: u32,
    /// Messages sent, those sent again included.
    pub sent: u32,
    /// Of those, messages sent again.
    pub retransmitted: u32,
    /// Datagrams that were no message.
    pub malformed: u32,
    /// Messages that had arrived before.
    pub duplicates: u32,
    /// Responses, acknowledgements and resets that answer nothing.
    pub unmatched: u32,
    /// Notifications that were older than the one before.
    pub stale: u32,
    /// Messages refused for an option that is not understood.
    pub refused: u32,
    /// Messages dropped for want of room.
    pub dropped: u32,
    /// Requests answered by a challenge to show that their sender is there (RFC 9175).
    pub challenged: u32,
}

impl Stats {
    /// Counts one more.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn count(counter: &mut u32) {
        *counter = counter.saturating_add(1);
    }
}
