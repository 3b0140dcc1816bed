//! Cases for servers. See tests/conformance/README.md for the steps.

use super::{Ids, hex, json::Json};
use std::{collections::BTreeMap, sync::Arc};
use waft::{
    Duration, Error, Input, Instant, Misuse, Output, Peer,
    mqtt::{
        ConnectReturnCode,
        broker::{Acl, Broker, BrokerConfig, Event},
    },
};

/// A connection, as its client sees it.
struct Connection {
    peer: Peer,
    /// Received, and not looked at yet.
    got: Vec<u8>,
    /// Sent, and not consumed yet.
    rest: Vec<u8>,
    closed: Option<&'static str>,
    /// What the host was asked about it, and has not been looked at yet.
    asked: Option<[Option<String>; 3]>,
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
                Output::Event(Event::Authenticate { peer, client_id, username, password }) => {
                    let password = password.map(|password| hex(&password.0));
                    let asked = [Some((*client_id).into()), username.map(|name| (*name).into()), password];
                    let connection = self.by_peer(peer).expect("who is gone is not asked about");
                    assert_eq!(connection.asked.replace(asked), None, "asked twice");
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
                let connection = Connection { peer, got: Vec::new(), rest: Vec::new(), closed: None, asked: None };
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
            "asked" => {
                let text = |json: &Json| if let Json::Text(text) = json { Some(text.clone()) } else { None };
                let expected = Some([2, 3, 4].map(|n| text(&step[n])));
                let asked = self.connections.get_mut(who).unwrap().asked.take();
                if asked != expected {
                    return Err(format!("the host was to be asked {expected:?} about {who}, and was {asked:?}"));
                }
            }
            "allow" | "deny" => {
                let peer = self.connections[who].peer;
                let answered = match step.get(2) {
                    Some(code) => {
                        let code = ConnectReturnCode::from_u8(code.number().try_into().unwrap()).unwrap();
                        self.broker.deny(self.now, peer, code)
                    }
                    None => self.broker.allow(self.now, peer, None),
                };
                // Who has gone meanwhile is answered in vain.
                if !matches!(answered, Ok(()) | Err(Error::Misuse(Misuse::UnknownId))) {
                    return Err(format!("{who}: {answered:?}"));
                }
                self.drain();
                if answered.is_ok() && self.connections[who].closed.is_none() {
                    self.send(who, &[]);
                    self.drain();
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

fn config(case: &Json) -> BrokerConfig {
    let (how, default) = (case.get("broker"), BrokerConfig::default());
    if *how == Json::Null {
        return default;
    }
    let number = |name| (*how.get(name) != Json::Null).then(|| how.get(name).number());
    BrokerConfig {
        ask_host: *how.get("ask_host") == Json::Bool(true),
        acl: (*how.get("acl") != Json::Null).then(|| Arc::new(Acl::parse(how.get("acl").text()).unwrap())),
        max_client_id: number("max_client_id").map_or(default.max_client_id, |n| n.try_into().unwrap()),
        max_connect: number("max_connect").map_or(default.max_connect, |n| n.try_into().unwrap()),
        ..default
    }
}

pub fn case(case: &Json, by_byte: bool) -> Result<(), String> {
    let mut bench = Bench {
        broker: Broker::new(config(case), 1),
        now: Instant::ZERO,
        connections: BTreeMap::new(),
        opened: 0,
        ids: Ids::default(),
    };
    for (n, step) in case.get("steps").list().iter().enumerate() {
        bench.step(step.list(), by_byte).map_err(|why| format!("step {n}: {why}"))?;
    }
    if let Some((who, connection)) = bench.connections.iter().find(|(_, connection)| connection.asked.is_some()) {
        return Err(format!("the host was asked about {who}: {:?}", connection.asked));
    }
    match bench.connections.iter().find(|(_, connection)| !connection.got.is_empty()) {
        Some((who, connection)) => Err(format!("{who} got {:?} too", hex(&connection.got))),
        None => Ok(()),
    }
}
