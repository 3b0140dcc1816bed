//! One clock, many nodes, and what is under way between them.

use crate::{
    link::{Link, Path},
    node::{Action, App, Breach, Context, Host, Node, NodeId, STREAMS, Traffic},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};
use waft::{Duration, Instant, Machine, Peer, Rng};

/// A network in virtual time. Same nodes, same links, same seed: same run, byte for byte.
pub struct Network {
    now: Instant,
    rng: Rng,
    nodes: Vec<Place>,
    paths: BTreeMap<(NodeId, NodeId), Path>,
    /// Paths that are the same as another.
    shared: BTreeMap<(NodeId, NodeId), (NodeId, NodeId)>,
    default_link: Link,
    streams: BTreeMap<Peer, Stream>,
    queue: BinaryHeap<Reverse<Scheduled>>,
    /// Keeps things that happen at one time in the order they were caused.
    sequence: u64,
    next_stream: u32,
    recording: Option<(NodeId, Vec<Arrival>)>,
}

/// Something that came to a node from the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// On which stream or from which node.
    pub peer: Peer,
    /// What.
    pub what: Arrived,
}

/// What came to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrived {
    /// A stream is open.
    Opened,
    /// A stream is closed.
    Closed,
    /// Bytes of a stream, or a datagram.
    Bytes(Vec<u8>),
    /// The node's own answer: bytes that it sent.
    Sent(Vec<u8>),
}

struct Place {
    host: Box<dyn Host>,
    wake: Option<Instant>,
    /// When the latest wake-up that stands in the queue comes.
    scheduled: Option<Instant>,
}

struct Stream {
    ends: [NodeId; 2],
    /// When the last segment towards each end arrives.
    last: [Instant; 2],
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Scheduled {
    at: Instant,
    sequence: u64,
    to: NodeId,
    what: What,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Start,
    Wake,
    Opened(Peer),
    Closed(Peer),
    Bytes(Peer, Vec<u8>),
}

impl Network {
    /// A network without nodes whose links are as `link` where [`link`](Self::link) says nothing else.
    #[must_use]
    pub fn new(seed: u64, link: Link) -> Self {
        Self {
            now: Instant::ZERO,
            rng: Rng::new(seed),
            nodes: Vec::new(),
            paths: BTreeMap::new(),
            shared: BTreeMap::new(),
            default_link: link,
            streams: BTreeMap::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
            next_stream: STREAMS,
            recording: None,
        }
    }

    /// Adds a node that is switched on now.
    ///
    /// # Panics
    /// With more than 2³¹ nodes.
    pub fn add<M: Machine + 'static>(&mut self, machine: M, app: impl App<M>) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).ok().filter(|n| *n < STREAMS).expect("fewer nodes than 2^31"));
        self.nodes.push(Place { host: Box::new(Node::new(machine, app)), wake: None, scheduled: None });
        self.schedule(self.now, id, What::Start);
        id
    }

    /// Sets both directions of the path between two nodes.
    pub fn link(&mut self, a: NodeId, b: NodeId, link: Link) {
        self.link_one_way(a, b, link);
        self.link_one_way(b, a, link);
    }

    /// Sets the path from one node to another.
    pub fn link_one_way(&mut self, from: NodeId, to: NodeId, link: Link) {
        self.path(from, to).link = link;
    }

    /// Cuts all streams between two nodes, now: what is under way is lost, and both ends are told.
    pub fn cut(&mut self, a: NodeId, b: NodeId) {
        let cut: Vec<Peer> =
            self.streams.iter().filter(|(_, s)| s.ends == [a, b] || s.ends == [b, a]).map(|(&p, _)| p).collect();
        self.queue.retain(
            |Reverse(s)| !matches!(&s.what, What::Bytes(p, _) | What::Opened(p) | What::Closed(p) if cut.contains(p)),
        );
        for peer in cut {
            for end in [a, b] {
                self.schedule(self.now, end, What::Closed(peer));
            }
        }
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Writes down from now on what comes to `node`, and what it sends: to play it to the same machine elsewhere.
    pub fn record(&mut self, node: NodeId) {
        self.recording = Some((node, Vec::new()));
    }

    /// What was written down.
    pub fn recorded(&mut self) -> Vec<Arrival> {
        self.recording.take().map(|(_, arrivals)| arrivals).unwrap_or_default()
    }

    /// What a node has sent and received.
    #[must_use]
    pub fn traffic(&self, node: NodeId) -> Traffic {
        self.nodes.get(node.0 as usize).map(|place| place.host.traffic()).unwrap_or_default()
    }

    /// Lets `f` look at, or command, the machine and the application of a node, and drains the machine.
    ///
    /// # Errors
    /// The machine broke the contract.
    ///
    /// # Panics
    /// If the node's machine and application are not of these types.
    pub fn with<M: Machine + 'static, A: App<M>, R>(
        &mut self,
        node: NodeId,
        f: impl FnOnce(&mut Context<'_>, &mut M, &mut A) -> R,
    ) -> Result<R, Breach> {
        let mut result = None;
        self.visit(node, |host, cx| {
            let node = host.as_any().downcast_mut::<Node<M, A>>().expect("the node is of these types");
            result = Some(f(cx, &mut node.machine, &mut node.app));
            Ok(())
        })?;
        Ok(result.expect("visited"))
    }

    /// Lets the next thing happen. `false` when nothing is left to happen.
    ///
    /// # Errors
    /// A machine broke the contract.
    pub fn step(&mut self) -> Result<bool, Breach> {
        let Some(Reverse(Scheduled { at, to, what, .. })) = self.queue.pop() else { return Ok(false) };
        self.now = self.now.max(at);
        if let Some((node, arrivals)) = &mut self.recording
            && *node == to
        {
            let arrived = match &what {
                What::Opened(peer) => Some((*peer, Arrived::Opened)),
                What::Closed(peer) => Some((*peer, Arrived::Closed)),
                What::Bytes(peer, bytes) => Some((*peer, Arrived::Bytes(bytes.clone()))),
                What::Start | What::Wake => None,
            };
            arrivals.extend(arrived.map(|(peer, what)| Arrival { at: self.now, peer, what }));
        }
        match what {
            What::Start => self.visit(to, |host, cx| {
                host.start(cx);
                Ok(())
            })?,
            What::Wake => {
                if let Some(place) = self.nodes.get_mut(to.0 as usize).filter(|place| place.scheduled == Some(at)) {
                    place.scheduled = None;
                    self.visit(to, |host, cx| {
                        host.woken(cx);
                        Ok(())
                    })?;
                }
            }
            What::Opened(peer) => self.visit(to, |host, cx| {
                host.opened(cx, peer);
                Ok(())
            })?,
            What::Closed(peer) => {
                self.streams.remove(&peer);
                self.visit(to, |host, cx| {
                    host.closed(cx, peer);
                    Ok(())
                })?;
            }
            What::Bytes(peer, bytes) => self.visit(to, |host, cx| host.received(cx, peer, &bytes))?,
        }
        Ok(true)
    }

    /// Runs for `span` of virtual time, or until nothing is left to happen.
    ///
    /// # Errors
    /// A machine broke the contract.
    pub fn run_for(&mut self, span: Duration) -> Result<(), Breach> {
        let end = self.now.after(span);
        while self.queue.peek().is_some_and(|Reverse(next)| next.at <= end) {
            self.step()?;
        }
        self.now = end;
        Ok(())
    }

    /// Lets `span` pass in which nothing happens, as where everything is suspended: what was due meanwhile happens late.
    pub fn jump(&mut self, span: Duration) {
        self.now = self.now.after(span);
    }

    /// Runs until `done`, looked at after every step. `false` when that did not come within `span`.
    ///
    /// # Errors
    /// A machine broke the contract.
    pub fn run_until(&mut self, span: Duration, mut done: impl FnMut(&mut Self) -> bool) -> Result<bool, Breach> {
        let end = self.now.after(span);
        while !done(self) {
            if self.queue.peek().is_none_or(|Reverse(next)| next.at > end) {
                return Ok(false);
            }
            self.step()?;
        }
        Ok(true)
    }

    fn path(&mut self, from: NodeId, to: NodeId) -> &mut Path {
        let link = self.default_link;
        let key = self.shared.get(&(from, to)).copied().unwrap_or((from, to));
        self.paths.entry(key).or_insert_with(|| Path::new(link))
    }

    /// Lets datagrams of the path from `a` to `b` and of that from `c` to `d` go over one line, in one queue.
    pub fn share(&mut self, (a, b): (NodeId, NodeId), (c, d): (NodeId, NodeId)) {
        self.shared.insert((c, d), (a, b));
    }

    fn schedule(&mut self, at: Instant, to: NodeId, what: What) {
        self.sequence += 1;
        self.queue.push(Reverse(Scheduled { at, sequence: self.sequence, to, what }));
    }

    /// Does something with a node, drains it, and carries out what it asked for.
    fn visit(
        &mut self,
        id: NodeId,
        f: impl FnOnce(&mut dyn Host, &mut Context<'_>) -> Result<(), String>,
    ) -> Result<(), Breach> {
        let Some(place) = self.nodes.get_mut(id.0 as usize) else { return Ok(()) };
        let mut actions = Vec::new();
        let mut cx = Context {
            now: self.now,
            rng: &mut self.rng,
            id,
            actions: &mut actions,
            wake: &mut place.wake,
            next_stream: &mut self.next_stream,
        };
        let deadline = f(&mut *place.host, &mut cx).and_then(|()| place.host.drain(&mut cx)).map_err(|how| Breach {
            node: id,
            at: self.now,
            how,
        })?;
        let next = waft::timer::earliest(deadline, place.wake);
        if let Some(at) = next.filter(|_| place.scheduled != next) {
            place.scheduled = next;
            self.schedule(at, id, What::Wake);
        } else if next.is_none() {
            place.scheduled = None;
        }
        // Closing comes last: what the machine had to say by then is sent.
        actions.sort_by_key(|action| matches!(action, Action::Close(_)));
        for action in actions {
            self.carry_out(id, action);
        }
        Ok(())
    }

    fn carry_out(&mut self, from: NodeId, action: Action) {
        if let (Action::Send { peer, bytes }, Some((node, arrivals))) = (&action, &mut self.recording)
            && *node == from
        {
            arrivals.push(Arrival { at: self.now, peer: *peer, what: Arrived::Sent(bytes.clone()) });
        }
        match action {
            Action::Open { to, peer } => {
                // SYN, SYN-ACK: the one who accepts knows after one way, the one who opened after two.
                let there = self.now.after(self.path(from, to).link.delay);
                let back = there.after(self.path(to, from).link.delay);
                self.streams.insert(peer, Stream { ends: [from, to], last: [back, there] });
                self.schedule(there, to, What::Opened(peer));
                self.schedule(back, from, What::Opened(peer));
            }
            Action::Close(peer) => {
                let Some(stream) = self.streams.get(&peer) else { return };
                let (ends, last) = (stream.ends, stream.last);
                for (end, last) in ends.into_iter().zip(last) {
                    let at = if end == from { self.now } else { last.max(self.now) };
                    self.schedule(at, end, What::Closed(peer));
                }
            }
            Action::Send { peer, bytes } if peer.0 >= STREAMS => self.send_stream(from, peer, &bytes),
            Action::Send { peer, bytes } => self.send_datagram(from, NodeId(peer.0), bytes),
        }
    }

    fn send_stream(&mut self, from: NodeId, peer: Peer, bytes: &[u8]) {
        let link = self.default_link;
        let Some(stream) = self.streams.get_mut(&peer) else { return };
        let Some(side) = stream.ends.iter().position(|end| *end != from) else { return };
        let (Some(to), Some(last)) = (stream.ends.get(side).copied(), stream.last.get_mut(side)) else { return };
        let path = self.paths.entry((from, to)).or_insert_with(|| Path::new(link));
        let segments = path.stream(self.now, &mut self.rng, *last, bytes);
        *last = segments.last().map_or(*last, |(at, _)| *at);
        for (at, segment) in segments {
            self.schedule(at, to, What::Bytes(peer, segment));
        }
    }

    fn send_datagram(&mut self, from: NodeId, to: NodeId, mut bytes: Vec<u8>) {
        let link = self.default_link;
        let key = self.shared.get(&(from, to)).copied().unwrap_or((from, to));
        let path = self.paths.entry(key).or_insert_with(|| Path::new(link));
        for at in path.datagram(self.now, &mut self.rng, &mut bytes) {
            self.schedule(at, to, What::Bytes(from.peer(), bytes.clone()));
        }
    }
}
