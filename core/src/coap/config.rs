//! Parameters, memory and counters of an endpoint.

use super::{
    block::Block,
    congestion::{Path, Policy},
    exchange::Transfer,
    flight::Flight,
    observe::Observer,
    seen::Seen,
    ticks::{LONGEST, Tick, ticks},
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

/// [`Config`] as an endpoint has it: spans in units of 64 µs, which are cut to a half of all that 32 bits can tell; and what an
/// endpoint is made of that is told spans in milliseconds ([`span`](Self::span)).
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs, reason = "they are those of `Config`")]
pub struct Rules {
    pub max_retransmit: u8,
    pub nstart: u8,
    pub szx: u8,
    pub policy: Policy,
    pub reregister: bool,
    pub proxy: bool,
    /// In milliseconds.
    pub leisure: u16,
    pub ack_timeout: Tick,
    pub ack_jitter: Tick,
    pub response_timeout: Tick,
    pub exchange_lifetime: Tick,
    pub ack_delay: Tick,
    pub unproven: u32,
    pub probing_rate: u32,
    pub understood: &'static [u16],
}

/// A minute.
pub(super) const MINUTE: Tick = 937_500;

impl Rules {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            ack_timeout: ticks(config.ack_timeout),
            ack_jitter: ticks(config.ack_jitter),
            response_timeout: ticks(config.response_timeout),
            exchange_lifetime: ticks(config.exchange_lifetime),
            ack_delay: ticks(config.ack_delay),
            unproven: config.unproven,
            probing_rate: config.probing_rate,
            understood: config.understood,
            leisure: u16::try_from(config.leisure.as_micros().wrapping_div(1000)).unwrap_or(u16::MAX),
            max_retransmit: config.max_retransmit,
            nstart: config.nstart,
            szx: config.szx,
            policy: config.policy,
            reregister: config.reregister,
            proxy: config.proxy,
        }
    }

    /// So many milliseconds.
    #[must_use]
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub fn span(millis: u32) -> Tick {
        // 8 ms are 125 units.
        u32::try_from(u64::from(millis).wrapping_mul(125).wrapping_add(7) >> 3).unwrap_or(LONGEST).min(LONGEST)
    }

    /// Cut to what is allowed. Whatever the policy, it takes [`Endpoint::measure_paths`](super::Endpoint::measure_paths) to
    /// go by it.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn cut(&mut self) {
        self.ack_timeout = self.ack_timeout.clamp(16, MINUTE);
        self.ack_jitter = self.ack_jitter.min(MINUTE);
        self.leisure = self.leisure.min(60_000);
        self.max_retransmit = self.max_retransmit.min(16);
        self.nstart = self.nstart.max(1);
        self.szx = self.szx.min(Block::MAX_SZX);
        self.policy = Policy::Standard;
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
