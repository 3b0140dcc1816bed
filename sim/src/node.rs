//! A machine and its application, driven by the contract, which is checked at every step.

use crate::link::happens;
use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    fmt,
};
use waft::{Duration, Handled, Input, Instant, Machine, Output, Peer, Rng};

/// A node of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// The peer by which other nodes send it datagrams, and by which it is known where its datagrams arrive.
    #[must_use]
    pub const fn peer(self) -> Peer {
        Peer(self.0)
    }
}

/// A machine broke the contract of [`waft::machine`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Whose machine.
    pub node: NodeId,
    /// When.
    pub at: Instant,
    /// How.
    pub how: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} at {} µs: {}", self.node.0, self.at.as_micros(), self.how)
    }
}

impl std::error::Error for Breach {}

/// What an application asks of the network.
#[derive(Debug)]
pub(crate) enum Action {
    Open { to: NodeId, peer: Peer },
    Close(Peer),
    Send { peer: Peer, bytes: Vec<u8> },
}

/// An application's view of its node.
#[derive(Debug)]
pub struct Context<'c> {
    /// The time.
    pub now: Instant,
    /// Numbers from the network's seed.
    pub rng: &'c mut Rng,
    pub(crate) id: NodeId,
    pub(crate) actions: &'c mut Vec<Action>,
    pub(crate) wake: &'c mut Option<Instant>,
    pub(crate) next_stream: &'c mut u32,
}

/// Streams are numbered from here; below are datagram peers, which are nodes.
pub(crate) const STREAMS: u32 = 0x8000_0000;

impl Context<'_> {
    /// The node this is.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Opens a stream. [`App::opened`] tells when it is there; the peer is the same at both ends.
    pub fn open(&mut self, to: NodeId) -> Peer {
        let peer = Peer(*self.next_stream);
        *self.next_stream = self.next_stream.wrapping_add(1) | STREAMS;
        self.actions.push(Action::Open { to, peer });
        peer
    }

    /// Closes a stream when the machine is drained. What it sent still arrives, then both ends are told by [`App::closed`].
    pub fn close(&mut self, peer: Peer) {
        self.actions.push(Action::Close(peer));
    }

    /// Calls [`App::wake`] after `delay`; only the latest call counts.
    pub fn wake_in(&mut self, delay: Duration) {
        *self.wake = Some(self.now.after(delay));
    }
}

/// What happens around a machine: the decisions that a program makes which embeds one.
pub trait App<M: Machine>: 'static {
    /// The node is switched on.
    fn start(&mut self, _cx: &mut Context<'_>, _machine: &mut M) {}
    /// The machine tells something.
    fn event(&mut self, cx: &mut Context<'_>, machine: &mut M, event: M::Event<'_>);
    /// The machine refused input from `peer`. By default its stream is closed.
    fn error(&mut self, cx: &mut Context<'_>, _machine: &mut M, peer: Peer, _error: M::Error) {
        cx.close(peer);
    }
    /// A stream is open, whoever opened it.
    fn opened(&mut self, _cx: &mut Context<'_>, _machine: &mut M, _peer: Peer) {}
    /// A stream is closed, whoever closed it.
    fn closed(&mut self, _cx: &mut Context<'_>, _machine: &mut M, _peer: Peer) {}
    /// The time of [`Context::wake_in`] has come.
    fn wake(&mut self, _cx: &mut Context<'_>, _machine: &mut M) {}
}

/// What a node has sent and received: payloads of datagrams and bytes of streams, without IP's headers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes handed to the network.
    pub sent: u64,
    /// Bytes that arrived.
    pub received: u64,
    /// Outputs of the machine: datagrams, and writes to streams.
    pub outputs: u64,
}

/// How many bytes of a stream are offered to a machine at most before it has to consume some.
pub(crate) const RX_CAPACITY: usize = 512;
/// More outputs than this between two time-outs is a loop.
const MANY: usize = 100_000;

#[derive(Debug, Default)]
struct Rx {
    bytes: Vec<u8>,
    /// Without so many bytes in all, another call is useless.
    wanted: usize,
}

/// What the network sees of a node.
pub(crate) trait Host: Any {
    fn start(&mut self, cx: &mut Context<'_>);
    fn opened(&mut self, cx: &mut Context<'_>, peer: Peer);
    fn closed(&mut self, cx: &mut Context<'_>, peer: Peer);
    fn received(&mut self, cx: &mut Context<'_>, peer: Peer, bytes: &[u8]) -> Result<(), String>;
    fn woken(&mut self, cx: &mut Context<'_>);
    /// Drains the machine; gives its deadline.
    fn drain(&mut self, cx: &mut Context<'_>) -> Result<Option<Instant>, String>;
    fn traffic(&self) -> Traffic;
    fn as_any(&mut self) -> &mut dyn Any;
}

pub(crate) struct Node<M, A> {
    pub(crate) machine: M,
    pub(crate) app: A,
    streams: BTreeMap<Peer, Rx>,
    traffic: Traffic,
    out: Vec<u8>,
    /// Datagrams that the machine did not want yet.
    held: VecDeque<(Peer, Vec<u8>)>,
}

impl<M: Machine + 'static, A: App<M>> Node<M, A> {
    pub(crate) fn new(machine: M, app: A) -> Self {
        Self {
            machine,
            app,
            streams: BTreeMap::new(),
            traffic: Traffic::default(),
            out: vec![0; 2048],
            held: VecDeque::new(),
        }
    }

    /// Offers one stream's bytes, in windows of at most [`RX_CAPACITY`], until it wants no more of them.
    fn offer(&mut self, cx: &mut Context<'_>, peer: Peer) -> Result<(), String> {
        let Some(mut rx) = self.streams.remove(&peer) else { return Ok(()) };
        let mut start = 0;
        let mut idle = 0;
        while let Some(rest) = rx.bytes.get(start..).filter(|rest| !rest.is_empty() && rest.len() >= rx.wanted) {
            let window = &rest[..rest.len().min(RX_CAPACITY)];
            let handled = match self.machine.handle_input(cx.now, Input { peer, bytes: window }) {
                Ok(handled) => handled,
                Err(error) => {
                    // Nothing of this stream is of use any more.
                    self.app.error(cx, &mut self.machine, peer, error);
                    return Ok(());
                }
            };
            let Handled { consumed, needed, event } = handled;
            if consumed > window.len() {
                return Err(format!("consumed {consumed} of {} bytes", window.len()));
            }
            idle = if consumed == 0 { idle + 1 } else { 0 };
            if idle > 64 {
                return Err("more than 64 events from the same byte".into());
            }
            start += consumed;
            rx.wanted = 0;
            match event {
                Some(event) => self.app.event(cx, &mut self.machine, event),
                None if consumed == 0 && needed == 0 => break,
                None if consumed == 0 => {
                    rx.wanted = window.len() + needed;
                    if rx.wanted > RX_CAPACITY {
                        return Err(format!("wants {} bytes at once, more than {RX_CAPACITY}", rx.wanted));
                    }
                }
                None => {}
            }
        }
        rx.bytes.drain(..start);
        self.streams.insert(peer, rx);
        Ok(())
    }

    /// Offers the datagram that has waited longest. Whether it was taken: one that is not wanted yet is kept.
    fn offer_datagram(&mut self, cx: &mut Context<'_>) -> Result<bool, String> {
        let Some((peer, bytes)) = self.held.pop_front() else { return Ok(false) };
        let taken = match self.machine.handle_input(cx.now, Input { peer, bytes: &bytes }) {
            Ok(Handled { consumed: 0, needed: 0, event: None }) => bytes.is_empty(),
            Ok(Handled { consumed, .. }) if consumed != bytes.len() => {
                return Err(format!("consumed {consumed} of a datagram of {} bytes", bytes.len()));
            }
            Ok(Handled { event, .. }) => {
                event.into_iter().for_each(|event| self.app.event(cx, &mut self.machine, event));
                true
            }
            Err(error) => {
                self.app.error(cx, &mut self.machine, peer, error);
                true
            }
        };
        if !taken {
            self.held.push_front((peer, bytes));
        }
        Ok(taken)
    }

    /// Takes one output, through a buffer of `room` bytes. Whether there was one.
    fn poll(&mut self, cx: &mut Context<'_>, room: usize) -> Result<Poll, String> {
        let buffer = self.out.get_mut(..room).unwrap_or_default();
        Ok(match self.machine.poll_output(cx.now, buffer) {
            Output::Transmit { peer, bytes } => {
                if bytes.is_empty() {
                    return Err("transmits nothing".into());
                }
                self.traffic.sent += bytes.len() as u64;
                self.traffic.outputs += 1;
                cx.actions.push(Action::Send { peer, bytes: bytes.to_vec() });
                Poll::Some
            }
            Output::Event(event) => {
                self.app.event(cx, &mut self.machine, event);
                Poll::Some
            }
            Output::BufferTooSmall { needed } if needed <= room => {
                return Err(format!("has no room in {room} bytes, yet needs {needed}"));
            }
            Output::BufferTooSmall { needed } => Poll::TooSmall(needed),
            Output::Timeout(at) => Poll::Drained(at),
        })
    }

    fn drain_outputs(&mut self, cx: &mut Context<'_>) -> Result<Option<Instant>, String> {
        for _ in 0..MANY {
            // One call in eight comes with too small a buffer: the output has to be kept.
            let room = if happens(cx.rng, 0.125) { cx.rng.below(16) as usize } else { self.out.len() };
            match self.poll(cx, room)? {
                Poll::Some => {}
                Poll::TooSmall(needed) => {
                    if self.out.len() < needed {
                        self.out.resize(needed, 0);
                    }
                    match self.poll(cx, needed)? {
                        Poll::Some => {}
                        _ => return Err(format!("said it needs {needed} bytes, got them, and gave no output")),
                    }
                }
                Poll::Drained(at) => return Ok(at),
            }
        }
        Err(format!("more than {MANY} outputs without a pause"))
    }

    fn check_deadline(&self, now: Instant, at: Option<Instant>) -> Result<(), String> {
        if at != self.machine.next_timeout() {
            return Err(format!("Timeout({at:?}) but next_timeout() is {:?}", self.machine.next_timeout()));
        }
        match at {
            Some(at) if at <= now => Err(format!("a deadline at {} µs is not in the future", at.as_micros())),
            _ => Ok(()),
        }
    }
}

enum Poll {
    Some,
    TooSmall(usize),
    Drained(Option<Instant>),
}

impl<M: Machine + 'static, A: App<M>> Host for Node<M, A> {
    fn start(&mut self, cx: &mut Context<'_>) {
        self.app.start(cx, &mut self.machine);
    }

    fn opened(&mut self, cx: &mut Context<'_>, peer: Peer) {
        self.streams.insert(peer, Rx::default());
        self.app.opened(cx, &mut self.machine, peer);
    }

    fn closed(&mut self, cx: &mut Context<'_>, peer: Peer) {
        self.streams.remove(&peer);
        self.app.closed(cx, &mut self.machine, peer);
    }

    fn received(&mut self, cx: &mut Context<'_>, peer: Peer, bytes: &[u8]) -> Result<(), String> {
        self.traffic.received += bytes.len() as u64;
        if peer.0 >= STREAMS {
            if let Some(rx) = self.streams.get_mut(&peer) {
                rx.bytes.extend_from_slice(bytes);
            }
            return self.offer(cx, peer);
        }
        self.held.push_back((peer, bytes.to_vec()));
        self.offer_datagram(cx).map(|_| ())
    }

    fn woken(&mut self, cx: &mut Context<'_>) {
        if cx.wake.is_some_and(|at| at <= cx.now) {
            *cx.wake = None;
            self.app.wake(cx, &mut self.machine);
        }
        // Sometimes early: that has to be harmless.
        if self.machine.next_timeout().is_some_and(|at| at <= cx.now) || happens(cx.rng, 0.125) {
            self.machine.handle_timeout(cx.now);
        }
    }

    fn drain(&mut self, cx: &mut Context<'_>) -> Result<Option<Instant>, String> {
        // What was refused with "not now" may be welcome after the outputs, and bring outputs of its own.
        for _ in 0..MANY {
            let at = self.drain_outputs(cx)?;
            self.check_deadline(cx.now, at)?;
            if self.offer_datagram(cx)? {
                continue;
            }
            let before: usize = self.streams.values().map(|rx| rx.bytes.len()).sum();
            let waiting: Vec<Peer> =
                self.streams.iter().filter(|(_, rx)| !rx.bytes.is_empty() && rx.wanted == 0).map(|(&p, _)| p).collect();
            if waiting.is_empty() {
                return Ok(at);
            }
            for peer in waiting {
                self.offer(cx, peer)?;
            }
            let after: usize = self.streams.values().map(|rx| rx.bytes.len()).sum();
            if before == after {
                let at = self.drain_outputs(cx)?;
                self.check_deadline(cx.now, at)?;
                return Ok(at);
            }
        }
        Err("input and output feed each other for ever".into())
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
