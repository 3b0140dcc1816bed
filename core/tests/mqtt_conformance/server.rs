//! Cases for servers. See tests/conformance/README.md for the steps.

use super::{Ids, hex, json::Json};
use std::collections::BTreeMap;
use waft::{
    Duration, Input, Instant, Output, Peer,
    mqtt::broker::{Broker, BrokerConfig, Event},
};

/// A connection, as its client sees it.
struct Connection {
    peer: Peer,
    /// Received, and not looked at yet.
    got: Vec<u8>,
    /// Sent, and not consumed yet.
    rest: Vec<u8>,
    closed: Option<&'static str>,
}

struct Bench {
    broker: Broker,
    now: Instant,
    /// By the names the case gives them.
    connections: BTreeMap<String, Connection>,
    opened: u32,
    ids: Ids,
}

impl Bench {
    fn by_peer(&mut self, peer: Peer) -> Option<&mut Connection> {
        self.connections.values_mut().find(|connection| connection.peer == peer)
    }

    fn drain(&mut self) {
        let mut out = [0; 100];
        loop {
            match self.broker.poll_output(self.now, &mut out) {
                Output::Transmit { peer, bytes } => {
                    let bytes = bytes.to_vec();
                    let connection = self.by_peer(peer).expect("nothing for who is gone");
                    assert_eq!(connection.closed, None, "bytes after Close");
                    connection.got.extend(bytes);
                }
                Output::Event(Event::Close { peer, reason }) => {
                    if let Some(connection) = self.by_peer(peer) {
                        connection.closed = Some(reason.name());
                    }
                }
                Output::Event(_) => {}
                Output::BufferTooSmall { .. } => panic!("no buffer is too small"),
                Output::Timeout(_) => return,
            }
        }
    }

    fn send(&mut self, who: &str, bytes: &[u8]) {
        let connection = self.connections.get_mut(who).unwrap();
        let peer = connection.peer;
        connection.rest.extend_from_slice(bytes);
        let mut rest = std::mem::take(&mut connection.rest);
        loop {
            match self.broker.handle_input(self.now, Input { peer, bytes: &rest }) {
                Ok(handled) if handled.consumed != 0 => drop(rest.drain(..handled.consumed)),
                Ok(_) => break,
                Err(_) => {
                    rest.clear();
                    break;
                }
            }
        }
        self.connections.get_mut(who).unwrap().rest = rest;
    }

    fn step(&mut self, step: &[Json], by_byte: bool) -> Result<(), String> {
        let who = step.get(1).and_then(|who| if let Json::Text(who) = who { Some(&**who) } else { None }).unwrap_or("");
        match step[0].text() {
            "open" => {
                self.opened += 1;
                let peer = Peer(self.opened);
                self.broker.accept(self.now, peer).map_err(|error| error.to_string())?;
                let connection = Connection { peer, got: Vec::new(), rest: Vec::new(), closed: None };
                self.connections.insert(who.into(), connection);
            }
            "send" => {
                let bytes = self.ids.bytes(step[2].text());
                for part in bytes.chunks(if by_byte { 1 } else { bytes.len().max(1) }) {
                    if self.connections[who].closed.is_none() {
                        self.send(who, part);
                    }
                    if by_byte {
                        self.drain();
                    }
                }
                self.drain();
            }
            "expect" => {
                let expected = step[2].text();
                let got = std::mem::take(&mut self.connections.get_mut(who).unwrap().got);
                if self.ids.matches(expected, &got) != Some(got.len()) {
                    return Err(format!("{who} expected {expected:?} and got {:?}", hex(&got)));
                }
            }
            // The first of them first, the others in any order.
            "answers" => {
                let got = std::mem::take(&mut self.connections.get_mut(who).unwrap().got);
                let mut left: Vec<_> = step[2].list().iter().map(Json::text).collect();
                let mut at = 0;
                while !left.is_empty() {
                    let most = if left.len() == step[2].list().len() { 1 } else { left.len() };
                    let found = (0..most).find_map(|n| Some((n, self.ids.matches(left[n], &got[at..])?)));
                    let Some((n, len)) = found else {
                        return Err(format!("{who} expected one of {left:?} and got {:?}", hex(&got[at..])));
                    };
                    left.remove(n);
                    at += len;
                }
                if at != got.len() {
                    return Err(format!("{who} got {:?} too", hex(&got[at..])));
                }
            }
            "closed" => {
                let (closed, reason) = (self.connections[who].closed, step[2].text());
                if closed != Some(reason) {
                    return Err(format!("{who} is closed by {closed:?}, not by {reason:?}"));
                }
            }
            "kept" => {
                if let Some(reason) = self.connections[who].closed {
                    return Err(format!("{who} is closed by {reason:?}"));
                }
            }
            "lose" => {
                self.broker.connection_lost(self.now, self.connections[who].peer);
                self.drain();
            }
            "wait" => {
                self.now = self.now.after(Duration::from_secs(step[1].number().try_into().unwrap()));
                self.broker.handle_timeout(self.now);
                self.drain();
            }
            other => panic!("no such step: {other}"),
        }
        Ok(())
    }
}

pub fn case(case: &Json, by_byte: bool) -> Result<(), String> {
    let mut bench = Bench {
        broker: Broker::new(BrokerConfig::default(), 1),
        now: Instant::ZERO,
        connections: BTreeMap::new(),
        opened: 0,
        ids: Ids::default(),
    };
    for (n, step) in case.get("steps").list().iter().enumerate() {
        bench.step(step.list(), by_byte).map_err(|why| format!("step {n}: {why}"))?;
    }
    match bench.connections.iter().find(|(_, connection)| !connection.got.is_empty()) {
        Some((who, connection)) => Err(format!("{who} got {:?} too", hex(&connection.got))),
        None => Ok(()),
    }
}
