//! The contract that every machine keeps.

use crate::Instant;

/// A remote party, by a number of the caller's own: an index into its sockets, say.
///
/// waft never interprets it; it only gives it back with what is to be sent. A number means one party for as long as
/// a machine may still answer it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Peer(pub u32);

/// Bytes that arrived: what has been read of a stream and not been consumed yet, or one whole datagram.
#[derive(Debug, Clone, Copy)]
pub struct Input<'i> {
    /// Whom they came from.
    pub peer: Peer,
    /// The bytes.
    pub bytes: &'i [u8],
}

/// What became of some input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handled<E> {
    /// So many of the bytes are done with. Keep the rest and offer it again, with more behind it.
    /// A datagram is always consumed whole.
    pub consumed: usize,
    /// With no event and the rest not empty: the least number of *further* bytes without which another call is
    /// useless. Zero then says "not now": something else (an answer to an event, an acknowledgement) has to come first.
    pub needed: usize,
    /// What it meant, at most one thing a call; there may be more in the bytes that are left. It borrows from the
    /// input only, so every command may be called while it is held.
    pub event: Option<E>,
}

impl<E> Handled<E> {
    /// `consumed` bytes, nothing to tell.
    #[must_use]
    pub const fn quiet(consumed: usize) -> Self {
        Self { consumed, needed: 0, event: None }
    }

    /// Nothing consumed: `needed` further bytes are missing.
    #[must_use]
    pub const fn incomplete(needed: usize) -> Self {
        Self { consumed: 0, needed, event: None }
    }

    /// `consumed` bytes that meant `event`.
    #[must_use]
    pub const fn event(consumed: usize, event: E) -> Self {
        Self { consumed, needed: 0, event: Some(event) }
    }

    /// The same with the event turned into another machine's.
    #[must_use]
    pub fn map<F>(self, f: impl FnOnce(E) -> F) -> Handled<F> {
        Handled { consumed: self.consumed, needed: self.needed, event: self.event.map(f) }
    }
}

/// What a machine wants of its caller next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output<'o, E> {
    /// Send these bytes (they stand at the start of the buffer given) to that peer, as one datagram or as the next
    /// bytes of the stream.
    Transmit {
        /// To whom.
        peer: Peer,
        /// What.
        bytes: &'o [u8],
    },
    /// Something happened that no input told of: a timer ran out, or an earlier command is ready to ask for something.
    Event(E),
    /// The next output takes `needed` bytes. It is kept: call again with a buffer of that size.
    BufferTooSmall {
        /// Bytes.
        needed: usize,
    },
    /// Nothing more for now: wait for input, or call `handle_timeout` at this time. It lies in the future, or is
    /// `None` where nothing is being waited for.
    Timeout(Option<Instant>),
}

impl<'o, E> Output<'o, E> {
    /// The same with the event turned into another machine's.
    #[must_use]
    pub fn map<F>(self, f: impl FnOnce(E) -> F) -> Output<'o, F> {
        match self {
            Self::Transmit { peer, bytes } => Output::Transmit { peer, bytes },
            Self::Event(event) => Output::Event(f(event)),
            Self::BufferTooSmall { needed } => Output::BufferTooSmall { needed },
            Self::Timeout(at) => Output::Timeout(at),
        }
    }
}

/// The shape all machines share: mutate, drain [`poll_output`](Self::poll_output) to [`Output::Timeout`], wait for
/// bytes or for the deadline, repeat.
///
/// The verbs are inherent methods of each machine; the trait is for code that drives any of them (the simulator,
/// the fuzzers, adapters). Work per call is bounded, calls out of turn are harmless, and time given out of order is
/// clamped.
pub trait Machine {
    /// What the machine tells.
    type Event<'a>;
    /// Why it refuses input: see [`Error`](crate::Error).
    type Error: Copy + core::error::Error;

    /// Takes in bytes that arrived.
    ///
    /// # Errors
    /// The peer broke the protocol; each machine says what to do then.
    fn handle_input<'i>(&mut self, now: Instant, input: Input<'i>) -> Result<Handled<Self::Event<'i>>, Self::Error>;

    /// Lets time-outs happen. Calling it early or late or twice does no harm.
    fn handle_timeout(&mut self, now: Instant);

    /// Asks for the next thing to send or to tell. `out` is scratch for one packet or datagram.
    fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, Self::Event<'o>>;

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    fn next_timeout(&self) -> Option<Instant>;
}
