//! Endpoints that talk to each other over a bad network, in virtual time.

mod extensions;
mod long;
mod probing;
mod server;
mod standard;
mod transfer;
mod upload;
mod window;

use super::*;
use crate::{Duration, Input, Instant, Output, Peer, Rng};
use std::{collections::BTreeMap, vec::Vec};

/// What the network does to datagrams, in percent.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Net {
    pub(super) loss: u64,
    pub(super) duplicate: u64,
    pub(super) reorder: u64,
}

/// One side of a pair: its endpoint and what it has been told.
pub(super) struct Side {
    pub(super) endpoint: Endpoint<'static>,
    /// The size of the buffer offered at first; a larger one follows only when asked for.
    pub(super) out: usize,
    pub(super) sent: Vec<Vec<u8>>,
}

/// Client (0) and server (1), a clock, and datagrams on their way.
pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) sides: [Side; 2],
    pub(super) net: Net,
    rng: Rng,
    order: u64,
    wire: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
}

/// What a host does about an event: `side`, and the endpoint to command.
pub(super) type Host<'h> = &'h mut dyn FnMut(Instant, usize, &mut Endpoint<'static>, Event<'_>);

pub(super) fn pair(config: Config, net: Net, seed: u64) -> Pair {
    let side = |n: u64| Side {
        endpoint: Endpoint::new(config, seed * 2 + n, resources(4096, 4, 6, 8, 4)),
        out: 2048,
        sent: Vec::new(),
    };
    Pair { now: Instant::ZERO, sides: [side(0), side(1)], net, rng: Rng::new(seed), order: 0, wire: BTreeMap::new() }
}

pub(super) fn resources(
    arena: usize,
    transfers: usize,
    flights: usize,
    seen: usize,
    observers: usize,
) -> Resources<'static> {
    fn leak<T: Copy>(value: T, len: usize) -> crate::Storage<'static, T> {
        crate::Storage::Borrowed(std::vec![value; len].leak())
    }
    Resources {
        arena: leak(0, arena),
        transfers: leak(Transfer::EMPTY, transfers),
        flights: leak(Flight::EMPTY, flights),
        seen: leak(Seen::EMPTY, seen),
        observers: leak(Observer::EMPTY, observers),
        paths: leak(Path::EMPTY, transfers + 1),
    }
}

impl Pair {
    /// Runs until nothing is to be done any more or `until` is reached.
    pub(super) fn run(&mut self, until: Instant, host: Host<'_>) {
        loop {
            for side in 0..2 {
                self.drain(side, host);
            }
            let arrival = self.wire.keys().next().map(|(at, _)| *at);
            let timers = self.sides.iter().filter_map(|s| s.endpoint.next_timeout()).min();
            let Some(next) = crate::timer::earliest(arrival, timers).filter(|at| *at <= until) else {
                self.now = self.now.max(until);
                return;
            };
            assert!(next >= self.now);
            self.now = next;
            while self.wire.keys().next().is_some_and(|(at, _)| *at <= self.now) {
                let (_, (to, bytes)) = self.wire.pop_first().unwrap();
                let endpoint = &mut self.sides[to].endpoint;
                let Ok(handled) = endpoint.handle_input(self.now, Input { peer: Peer(7), bytes: &bytes });
                assert_eq!(handled.consumed, bytes.len());
                if let Some(event) = handled.event {
                    host(self.now, to, endpoint, event);
                }
                self.drain(to, host);
            }
            for side in 0..2 {
                self.sides[side].endpoint.handle_timeout(self.now);
            }
        }
    }

    fn drain(&mut self, side: usize, host: Host<'_>) {
        let mut buf = std::vec![0; self.sides[side].out];
        for _ in 0..10_000 {
            let endpoint = &mut self.sides[side].endpoint;
            match endpoint.poll_output(self.now, &mut buf) {
                Output::Transmit { peer, bytes } => {
                    assert_eq!(peer, Peer(7));
                    let bytes = bytes.to_vec();
                    buf = std::vec![0; self.sides[side].out];
                    self.send(side, bytes);
                }
                Output::Event(Event::Failed { exchange, reason }) => {
                    host(self.now, side, endpoint, Event::Failed { exchange, reason });
                }
                Output::Event(event) => {
                    // Events of poll_output borrow nothing.
                    let event = match event {
                        Event::BodyWanted { exchange, offset, len } => Event::BodyWanted { exchange, offset, len },
                        Event::ObserverGone { resource, peer } => Event::ObserverGone { resource, peer },
                        Event::Pong { peer } => Event::Pong { peer },
                        Event::Silent { peer } => Event::Silent { peer },
                        other => panic!("{other:?}"),
                    };
                    host(self.now, side, endpoint, event);
                }
                Output::BufferTooSmall { needed } => {
                    assert!(needed > buf.len());
                    buf = std::vec![0; needed];
                }
                Output::Timeout(at) => {
                    assert!(at.is_none_or(|at| at > self.now), "a deadline that is over at {:?}", self.now);
                    return;
                }
            }
        }
        panic!("never drained");
    }

    pub(super) fn send(&mut self, from: usize, bytes: Vec<u8>) {
        assert!(Message::decode(&bytes).is_ok(), "sent {bytes:x?}");
        self.sides[from].sent.push(bytes.clone());
        let copies = if self.rng.below(100) < self.net.duplicate { 2 } else { 1 };
        for _ in 0..copies {
            if self.rng.below(100) < self.net.loss {
                continue;
            }
            let late = if self.rng.below(100) < self.net.reorder { self.rng.below(900) } else { 0 };
            let at = self.now.after(Duration::from_millis(20 + late));
            self.order += 1;
            self.wire.insert((at, self.order), (1 - from, bytes.clone()));
        }
    }
}

/// A body in which no two places look alike.
pub(super) fn body(len: usize) -> Vec<u8> {
    let mut rng = Rng::new(len as u64);
    (0..len).map(|_| rng.next_u32() as u8).collect()
}

pub(super) fn seconds(n: u64) -> Instant {
    Instant::ZERO.after(Duration::from_secs(n))
}

/// Collects what a client is told of its responses.
#[derive(Debug, Default)]
pub(super) struct Got {
    pub(super) code: Option<Code>,
    pub(super) bytes: Vec<u8>,
    pub(super) done: usize,
    pub(super) observed: Vec<u32>,
    pub(super) failed: Vec<Failure>,
}

impl Got {
    pub(super) fn take(&mut self, event: &Event<'_>) {
        match *event {
            Event::Response { code, offset, payload, last, total, observe, .. } => {
                if offset == 0 {
                    self.bytes.clear();
                }
                if let (0, Some(seq)) = (offset, observe) {
                    self.observed.push(seq);
                }
                assert_eq!(offset as usize % 16, 0);
                if self.code.is_some() && code.is_success() {
                    assert_eq!(self.bytes.len(), offset as usize);
                }
                self.code = Some(code);
                self.bytes.extend_from_slice(payload);
                if last {
                    self.done += 1;
                    if code == Code::CONTENT {
                        assert_eq!(total, Some(offset + payload.len() as u32));
                    }
                }
            }
            Event::Failed { reason, .. } => self.failed.push(reason),
            _ => {}
        }
    }
}
