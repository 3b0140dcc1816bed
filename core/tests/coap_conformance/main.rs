//! The cases of tests/conformance against the endpoint, as server and as client: datagrams in, datagrams out.
#![cfg(all(feature = "coap", feature = "alloc"))]

mod client;
#[path = "../mqtt_conformance/json.rs"]
mod json;
mod server;

use json::Json;
use std::collections::BTreeMap;
use waft::{Peer, coap::Endpoint};

/// Message IDs and tokens that the machine chose, by the names that a case gives them.
#[derive(Default)]
struct Names(BTreeMap<String, Vec<u8>>);

impl Names {
    /// Bytes that a name stands for: a token's is t, u or v; all others are message IDs.
    fn length(name: &str) -> usize {
        if name.starts_with(['t', 'u', 'v']) { 4 } else { 2 }
    }

    /// Bytes from hex, with what the names stand for.
    fn bytes(&self, hex: &str) -> Vec<u8> {
        let mut rest = hex;
        let mut bytes = Vec::new();
        while !rest.is_empty() {
            if let Some(named) = rest.strip_prefix('<') {
                let (name, after) = named.split_once('>').unwrap();
                bytes.extend_from_slice(self.0.get(name).unwrap_or_else(|| panic!("nothing was called {name}")));
                rest = after;
            } else {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
        }
        bytes
    }

    /// Whether `bytes` are these. Learns the names that are new.
    fn matches(&mut self, hex: &str, bytes: &[u8]) -> bool {
        let mut rest = hex;
        let mut left = bytes;
        while !rest.is_empty() {
            if let Some(named) = rest.strip_prefix('<') {
                let (name, after) = named.split_once('>').unwrap();
                let Some((found, behind)) = left.split_at_checked(Self::length(name)) else { return false };
                match self.0.get(name) {
                    Some(known) if known != found => return false,
                    Some(_) => {}
                    // Another name is another number.
                    None if self.0.values().any(|known| known == found) => return false,
                    None => {
                        self.0.insert(name.into(), found.to_vec());
                    }
                }
                left = behind;
                rest = after;
            } else {
                let Some((first, behind)) = left.split_first() else { return false };
                if *first != u8::from_str_radix(&rest[..2], 16).unwrap() {
                    return false;
                }
                left = behind;
                rest = &rest[2..];
            }
        }
        left.is_empty()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whose datagram a step is about: by default `a`.
fn peer(name: Option<&Json>) -> Peer {
    Peer(name.map_or(0, |name| u32::from(name.text().as_bytes()[0] - b'a')))
}

/// What was sent, since the last look.
#[derive(Default)]
struct Sent(Vec<(Peer, Vec<u8>)>);

impl Sent {
    /// Whether exactly these have been sent to a peer.
    fn expect(&mut self, names: &mut Names, wanted: &Json, to: Peer) -> Result<(), String> {
        let (found, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0).into_iter().partition(|(p, _)| *p == to);
        self.0 = others;
        let wanted = wanted.list();
        let all = wanted.len() == found.len();
        if all && wanted.iter().zip(&found).all(|(hex, (_, bytes))| names.matches(hex.text(), bytes)) {
            return Ok(());
        }
        Err(format!("sent {:?}, not {wanted:?}", found.iter().map(|(_, bytes)| hex(bytes)).collect::<Vec<_>>()))
    }

    /// Whether this has been sent to `a`, once or again, and nothing else.
    fn expect_again(&mut self, names: &mut Names, wanted: &str) -> Result<(), String> {
        let found = std::mem::take(&mut self.0);
        let all = found.iter().all(|(to, bytes)| *to == Peer(0) && names.matches(wanted, bytes));
        if all && !found.is_empty() { Ok(()) } else { Err(format!("sent {found:?}")) }
    }

    /// At the end nothing is left that nobody looked at.
    fn over(&self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("left: {:?}", self.0)) }
    }
}

fn endpoint(szx: u8, seed: u64) -> Endpoint<'static> {
    let config = waft::coap::Config { szx, ..waft::coap::Config::default() };
    Endpoint::new(config, seed, waft::coap::Resources::owned(8192, 8, 8, 16, 4))
}

fn run(file: &str, case: impl Fn(&Json) -> Result<(), String>) {
    let path = format!("{}/../tests/conformance/{file}", env!("CARGO_MANIFEST_DIR"));
    let cases = Json::parse(&std::fs::read_to_string(path).unwrap());
    let mut failed = Vec::new();
    for one in cases.list() {
        let name = one.get("name").text();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(one)));
        match result {
            Ok(Ok(())) => {}
            Ok(Err(what)) => failed.push(format!("{name}: {what}")),
            Err(_) => failed.push(format!("{name}: a panic")),
        }
    }
    assert!(failed.is_empty(), "{} of {} cases:\n{}", failed.len(), cases.list().len(), failed.join("\n"));
}

#[test]
fn server_cases() {
    run("coap_server.json", server::case);
}

#[test]
fn client_cases() {
    run("coap_client.json", client::case);
}
