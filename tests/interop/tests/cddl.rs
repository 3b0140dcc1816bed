//! What waft's author writes, and the draft's examples, by a validator of CDDL; and envelopes that are no CBOR of that kind.

use waft::ota::author::{Extra, KeyChange, List, More, Release, SecretKey, Text};
use waft::ota::chunks;
use waft::ota::keys::KeyTable;
use waft::ota::manifest::{Image, Requires, Wait};
use waft::ota::policy::{Severity, UpdateType};

const SCHEMA: &str = include_str!("../../vectors/suit/envelope.cddl");

fn valid(envelope: &[u8]) -> Result<(), String> {
    cddl::validate_cbor_from_slice(SCHEMA, envelope, None).map_err(|error| error.to_string())
}

fn hex(text: &str) -> Vec<u8> {
    let text = text.trim();
    (0..text.len()).step_by(2).map(|n| u8::from_str_radix(&text[n..n + 2], 16).unwrap()).collect()
}

fn releases() -> Vec<Vec<u8>> {
    let key = SecretKey::from_seed(&[7; 32]).unwrap();
    let firmware = [5; 1000];
    let plain = Release {
        sequence: 7,
        vendor: [1; 16],
        class: [2; 16],
        image: Image::of(&firmware).unwrap(),
        uri: "image/x",
        version: "1.2.0-rc.3".parse().ok(),
        kind: UpdateType::Security,
        severity: Severity::High,
        chunk: Some(300),
        reference_uri: Some("https://example.com/m"),
        requires: Requires::default(),
        text: Some(Text {
            language: "en",
            description: Some("closes a hole"),
            vendor: Some("waft"),
            model: None,
            version: Some("1.2.0"),
        }),
        more: More::default(),
    };
    let wait = Wait { power: Some(1), network: Some(-1), time: Some(9), time_of_day: Some(8), day_of_week: Some(6) };
    let requires = Requires {
        use_before: Some(1 << 40),
        battery: Some(500),
        authorization: true,
        version: [">=1.0".parse().ok(), "<2.0-alpha".parse().ok()],
        device: Some([4; 16]),
        wait: Some(wait),
    };
    let list = chunks::list(&firmware, 300);
    let radio = Image::of(b"for the radio").unwrap();
    let images = [
        Extra { number: 1, image: radio, uri: "image/radio", content: None },
        Extra { number: 2, image: radio, uri: "#radio", content: Some(b"for the radio") },
    ];
    let more = More { content: None, list: Some(List { bytes: &list, uri: "#chunks" }), images: &images };
    let table = KeyTable::of(1, &[key.key()]).unwrap();
    vec![
        plain.sign(&key).unwrap(),
        Release { requires, text: None, ..plain }.sign(&key).unwrap(),
        Release { requires, more, ..plain }.sign(&key).unwrap(),
        KeyChange { sequence: 8, vendor: [1; 16], class: [2; 16], table: &table }.sign(&key).unwrap(),
    ]
}

#[test]
fn what_is_authored_is_valid() {
    for envelope in releases() {
        valid(&envelope).unwrap();
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/suit/");
    for n in ["0_1", "1_1", "2_1", "2_2", "3_1", "4_1", "5_1"] {
        let path = format!("{folder}example{n}.ed25519.alg19.suit.hex");
        valid(&hex(&std::fs::read_to_string(path).unwrap())).unwrap_or_else(|error| panic!("{n}: {error}"));
    }
}

#[test]
fn the_schema_is_enforced() {
    let good = releases().remove(0);
    let digest = good.windows(3).position(|bytes| bytes == [0x82, 0x2f, 0x58]).unwrap();
    // Another algorithm, another tag, a manifest version 2, a policy of more bits: each is noticed.
    let manifest = good.windows(4).position(|bytes| bytes == [1, 1, 2, 7]).unwrap();
    let fetch = good.windows(4).position(|bytes| bytes == [0x15, 2, 3, 15]).unwrap();
    for (at, to) in [(1, 108), (digest + 1, 0x2e), (manifest + 1, 2), (fetch + 3, 0x10), (fetch, 0x13)] {
        let mut changed = good.clone();
        changed[at] = to;
        assert!(valid(&changed).is_err(), "{at}");
    }
}
