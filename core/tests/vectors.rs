//! The vectors that Rust, C and Python share: `tests/vectors/mqtt.json` and `coap.json`. Each decoder's answer is put into
//! the same words as what the file says, and compared.

mod json;

use json::Json;
use std::fmt::Write;
use waft::{
    Code as _, coap,
    mqtt::packet::{Decoded, Filters, Packet, Publish, decode},
};

fn vectors(name: &str) -> Vec<Json> {
    let path = format!("{}/../tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    Json::parse(&std::fs::read_to_string(path).unwrap()).get("vectors").unwrap().list().to_vec()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|n| u8::from_str_radix(&text[n..n + 2], 16).unwrap()).collect()
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn join(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().collect::<Vec<_>>().join(",")
}

/// Text is written in hex; names and what is in hex already are not.
fn word(key: &str, value: &Json) -> String {
    match value {
        Json::Number(n) => n.to_string(),
        Json::Text(text) if key.ends_with("_hex") || matches!(key, "type" | "code") => text.clone(),
        Json::Text(text) => hex(text),
        Json::List(list) => join(list.iter().map(|item| match item {
            Json::List(pair) if key == "options" => format!("{}:{}", pair[0].number(), pair[1].text()),
            Json::List(pair) => format!("{}:{}", hex(pair[0].text()), pair[1].number()),
            text => hex(text.text()),
        })),
        Json::Object(_) => panic!("an object in an object"),
    }
}

fn words(object: &Json) -> String {
    let Json::Object(members) = object else { panic!("no object") };
    let mut line = String::new();
    for (key, value) in members {
        match key.as_str() {
            "packet" => line.push_str(value.text()),
            key => write!(line, " {key}={}", word(key, value)).unwrap(),
        }
    }
    line
}

fn error_words(name: &str, code: i32) -> String {
    format!("ERROR {name} {code}")
}

/// What the file says of a vector.
fn expected(vector: &Json) -> Vec<String> {
    let mut lines: Vec<_> = vector.get("says").map_or(&[][..], Json::list).iter().map(words).collect();
    lines.extend(vector.get("message").map(words));
    lines.extend(vector.get("needed").map(|n| format!("NEEDED {}", n.number())));
    if let (Some(name), Some(code)) = (vector.get("error"), vector.get("code")) {
        lines.push(error_words(name.text(), code.number().try_into().unwrap()));
    }
    lines
}

fn filters(list: &Filters<'_>, with_qos: bool) -> String {
    join(list.map(|(filter, qos)| if with_qos { format!("{}:{}", hex(filter), qos as u8) } else { hex(filter) }))
}

fn packet_words(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Connect(c) => {
            let mut line = format!(
                "CONNECT client_id={} clean_session={} keep_alive={}",
                hex(c.client_id),
                u8::from(c.clean_session),
                c.keep_alive
            );
            if let Some(w) = &c.will {
                let (topic, payload) = (hex(w.topic), hex(w.payload));
                let (qos, retain) = (w.qos as u8, u8::from(w.retain));
                write!(line, " will_topic={topic} will_payload_hex={payload} will_qos={qos} will_retain={retain}")
                    .unwrap();
            }
            if let Some(username) = c.username {
                write!(line, " username={}", hex(username)).unwrap();
            }
            if let Some(password) = c.password {
                write!(line, " password_hex={}", hex(password)).unwrap();
            }
            line
        }
        Packet::ConnAck { session_present, code } => {
            format!("CONNACK session_present={} code={}", u8::from(*session_present), *code as u8)
        }
        Packet::Publish(Publish { dup, qos, retain, topic, id, payload_len }) => {
            let id = id.map_or(String::new(), |id| format!(" id={}", id.get()));
            let (topic, qos, retain, dup) = (hex(topic), *qos as u8, u8::from(*retain), u8::from(*dup));
            format!("PUBLISH topic={topic} qos={qos} retain={retain} dup={dup}{id} payload_len={payload_len}")
        }
        Packet::PubAck(id) => format!("PUBACK id={}", id.get()),
        Packet::PubRec(id) => format!("PUBREC id={}", id.get()),
        Packet::PubRel(id) => format!("PUBREL id={}", id.get()),
        Packet::PubComp(id) => format!("PUBCOMP id={}", id.get()),
        Packet::Subscribe { id, filters: list } => {
            format!("SUBSCRIBE id={} filters={}", id.get(), filters(list, true))
        }
        Packet::SubAck { id, codes } => format!("SUBACK id={} codes_hex={}", id.get(), hex(codes)),
        Packet::Unsubscribe { id, filters: list } => {
            format!("UNSUBSCRIBE id={} filters={}", id.get(), filters(list, false))
        }
        Packet::UnsubAck(id) => format!("UNSUBACK id={}", id.get()),
        Packet::PingReq => "PINGREQ".into(),
        Packet::PingResp => "PINGRESP".into(),
        Packet::Disconnect => "DISCONNECT".into(),
    }
}

/// What the decoder says of a stream.
fn mqtt_words(stream: &[u8], max: u32) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        match decode(rest, max) {
            Err(violation) => {
                lines.push(error_words(violation.name(), violation.code()));
                break;
            }
            Ok(Decoded::Incomplete { needed }) => {
                lines.push(format!("NEEDED {needed}"));
                break;
            }
            Ok(Decoded::Packet { packet, len }) => {
                let mut line = packet_words(&packet);
                rest = &rest[len..];
                if let Packet::Publish(publish) = packet {
                    let (payload, behind) = rest.split_at(rest.len().min(publish.payload_len as usize));
                    write!(line, " payload_hex={}", hex(payload)).unwrap();
                    rest = behind;
                }
                lines.push(line);
            }
        }
    }
    lines
}

#[test]
fn mqtt_streams_are_read_as_the_vectors_say() {
    let vectors = vectors("mqtt");
    assert!(vectors.len() >= 60);
    for vector in vectors {
        let name = vector.get("name").unwrap().text();
        let stream = unhex(vector.get("hex").unwrap().text());
        let max = vector.get("max").map_or(u32::MAX, |max| max.number().try_into().unwrap());
        assert_eq!(mqtt_words(&stream, max), expected(&vector), "{name}");
        // Wherever it is cut, what came before is the same, and never an error that the whole does not have.
        for cut in 0..stream.len() {
            let part = mqtt_words(&stream[..cut], max);
            let whole = expected(&vector);
            match part.last().filter(|last| last.starts_with("ERROR")) {
                Some(error) => assert_eq!(Some(error), whole.last(), "{name}, cut at {cut}"),
                None => assert!(part.len() <= whole.len() + 1, "{name}, cut at {cut}"),
            }
        }
    }
}

/// What the decoder says of a datagram.
fn coap_words(datagram: &[u8]) -> String {
    match coap::Message::decode(datagram) {
        Err(violation) => error_words(violation.name(), violation.code()),
        Ok(m) => {
            let ty = ["CON", "NON", "ACK", "RST"][m.ty as usize];
            let options = join(m.options.map(|o| format!("{}:{}", o.number, hex(o.value))));
            let (class, detail, token, payload) =
                (m.code.class(), m.code.detail(), hex(m.token.as_bytes()), hex(m.payload));
            format!(
                " type={ty} code={class}.{detail:02} id={} token_hex={token} options={options} payload_hex={payload}",
                m.id
            )
        }
    }
}

#[test]
fn coap_datagrams_are_read_as_the_vectors_say() {
    let vectors = vectors("coap");
    assert!(vectors.len() >= 60);
    for vector in vectors {
        let name = vector.get("name").unwrap().text();
        let datagram = unhex(vector.get("hex").unwrap().text());
        assert_eq!([coap_words(&datagram)], *expected(&vector), "{name}");
        // What is a message encodes to one that says the same.
        if let Ok(message) = coap::Message::decode(&datagram) {
            let mut buffer = [0; 512];
            assert_eq!(coap_words(message.encode(&mut buffer).unwrap()), coap_words(&datagram), "{name}");
        }
    }
}

/// The bytes of a file in `suit`, changed as the verdict says.
#[cfg(feature = "ota")]
fn envelope(verdict: &Json) -> Vec<u8> {
    let file = verdict.get("file").unwrap().text();
    let path = format!("{}/../tests/vectors/suit/{file}", env!("CARGO_MANIFEST_DIR"));
    let mut bytes = unhex(std::fs::read_to_string(path).unwrap().trim());
    for change in verdict.get("flip").map_or(&[][..], Json::list) {
        let [at, bits] = change.list() else { panic!("no pair") };
        bytes[usize::try_from(at.number()).unwrap()] ^= u8::try_from(bits.number()).unwrap();
    }
    if let Some(length) = verdict.get("length") {
        bytes.truncate(length.number().try_into().unwrap());
    }
    bytes.extend(verdict.get("append_hex").map_or(Vec::new(), |more| unhex(more.text())));
    bytes
}

#[cfg(feature = "ota")]
#[test]
fn envelopes_are_judged_as_the_verdicts_say() {
    use waft::ota::manifest::{Ed25519, Key, verify};
    let path = format!("{}/../tests/vectors/suit/verdicts.json", env!("CARGO_MANIFEST_DIR"));
    let file = Json::parse(&std::fs::read_to_string(path).unwrap());
    let key = Key::new(unhex(file.get("public_key_hex").unwrap().text()).try_into().unwrap());
    for verdict in file.get("verdicts").unwrap().list() {
        let bytes = envelope(verdict);
        let found = match verify(&bytes, &[key], &Ed25519) {
            Err(refusal) => error_words(refusal.name(), refusal.code()),
            Ok(m) => {
                let (digest, image, uri) = (hex(m.digest), hex(m.image.digest), hex(m.uri));
                let (sequence, size) = (m.sequence, m.image.size);
                format!(" sequence={sequence} digest_hex={digest} image_size={size} image_digest_hex={image} uri={uri}")
            }
        };
        let said = verdict.get("manifest").map_or_else(|| expected(verdict).concat(), words);
        assert_eq!(found, said, "{}", verdict.get("name").unwrap().text());
    }
}
