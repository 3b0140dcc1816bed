//! The cases of tests/conformance against the machines: bytes in, bytes out, connection kept or closed.
//!
//! Each runs twice: with everything at once, and byte by byte.
#![cfg(all(feature = "mqtt", feature = "alloc"))]

mod client;
mod json;
mod server;

use json::Json;
use std::collections::BTreeMap;

/// Packet identifiers that the machine chose, by the names that a case gives them.
#[derive(Default)]
struct Ids(BTreeMap<String, u16>);

impl Ids {
    /// Bytes from hex, with identifiers for their names.
    fn bytes(&self, hex: &str) -> Vec<u8> {
        let mut rest = hex;
        let mut bytes = Vec::new();
        while !rest.is_empty() {
            if let Some(named) = rest.strip_prefix('<') {
                let (name, after) = named.split_once('>').unwrap();
                let id = self.0.get(name).unwrap_or_else(|| panic!("nothing was called {name}"));
                bytes.extend_from_slice(&id.to_be_bytes());
                rest = after;
            } else {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
        }
        bytes
    }

    /// Whether `bytes` begin with these; how many they are. Learns the names that are new: each another number, not 0.
    fn matches(&mut self, hex: &str, bytes: &[u8]) -> Option<usize> {
        let mut rest = hex;
        let mut at = 0;
        let mut new = Vec::new();
        while !rest.is_empty() {
            if let Some(named) = rest.strip_prefix('<') {
                let (name, after) = named.split_once('>').unwrap();
                let found = u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().unwrap());
                match self.0.get(name) {
                    Some(known) if *known != found => return None,
                    Some(_) => {}
                    None if found == 0 || new.contains(&found) => return None,
                    None => {
                        new.push(found);
                        self.0.insert(name.into(), found);
                    }
                }
                at += 2;
                rest = after;
            } else {
                if *bytes.get(at)? != u8::from_str_radix(&rest[..2], 16).unwrap() {
                    return None;
                }
                at += 1;
                rest = &rest[2..];
            }
        }
        Some(at)
    }

    /// Text with identifiers, in decimal, for their names.
    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, id) in &self.0 {
            text = text.replace(&format!("<{name}>"), &id.to_string());
        }
        text
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs all cases of a file; none may fail.
fn run(file: &str, least: usize, case: impl Fn(&Json, bool) -> Result<(), String>) {
    let path = format!("{}/../tests/conformance/{file}", env!("CARGO_MANIFEST_DIR"));
    let cases = Json::parse(&std::fs::read_to_string(path).unwrap());
    let mut failed = Vec::new();
    for one in cases.list() {
        for by_byte in [false, true] {
            if let Err(why) = case(one, by_byte) {
                failed.push(format!(
                    "{}{}: {why}",
                    one.get("name").text(),
                    if by_byte { ", byte by byte" } else { "" }
                ));
            }
        }
    }
    assert!(cases.list().len() >= least, "{} cases", cases.list().len());
    assert!(failed.is_empty(), "{} failed\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn the_broker_does_what_each_case_says() {
    // Nothing in them but the standard's own: [MQTT-7.0.0-2].
    run("mqtt_server.json", 300, server::case);
}

#[test]
fn the_client_does_what_each_case_says() {
    // [MQTT-7.0.0-2]
    run("mqtt_client.json", 300, client::case);
}
