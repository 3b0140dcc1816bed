//! The texts that Rust, C and Python share: `tests/vectors/text.json`.

mod json;

use json::Json;
use waft::coap::{
    Message, Scheme, Uri, compose,
    link_format::{Link, Links, append, matches},
    resolve,
};
use waft::mqtt::topic;

fn vectors(table: &str) -> Vec<Json> {
    let path = format!("{}/../tests/vectors/text.json", env!("CARGO_MANIFEST_DIR"));
    let list = Json::parse(&std::fs::read_to_string(path).unwrap()).get(table).unwrap().list().to_vec();
    assert!(list.len() >= 10);
    list
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|n| u8::from_str_radix(&text[n..n + 2], 16).unwrap()).collect()
}

/// A text, or the name of an error.
fn said<'v>(vector: &'v Json, key: &str) -> Result<&'v str, &'v str> {
    vector.get("error").map_or_else(|| Ok(vector.get(key).unwrap().text()), |error| Err(error.text()))
}

#[test]
fn uris_are_taken_apart_as_the_vectors_say() {
    for v in vectors("uris") {
        let (text, number) = (|key| v.get(key).unwrap().text(), |key| v.get(key).unwrap().number());
        match Uri::parse(text("uri")) {
            Err(e) => assert_eq!((Some(e.name()), e as i64), (v.get("error").map(Json::text), number("code")), "{v:?}"),
            Ok(uri) => {
                let scheme = if uri.scheme() == Scheme::Coap { "coap" } else { "coaps" };
                let says = (scheme, uri.host(), i64::from(uri.port()), uri.target(), i64::from(uri.is_literal()));
                assert_eq!(says, (text("scheme"), text("host"), number("port"), text("target"), number("literal")));
            }
        }
    }
}

#[test]
fn uris_are_put_together_as_the_vectors_say() {
    for v in vectors("composed") {
        let text = |key| v.get(key).unwrap().text();
        let datagram = unhex(text("hex"));
        let options = Message::decode(&datagram).unwrap().options;
        let scheme = if text("scheme") == "coap" { Scheme::Coap } else { Scheme::Coaps };
        let port = v.get("port").unwrap().number().try_into().unwrap();
        let mut out = [0; 256];
        assert_eq!(compose(scheme, text("host"), port, options, &mut out), Ok(text("uri")));
    }
}

#[test]
fn references_are_resolved_as_the_vectors_say() {
    for v in vectors("resolved") {
        let mut out = [0; 256];
        let uri = resolve(v.get("base").unwrap().text(), v.get("reference").unwrap().text(), &mut out);
        assert_eq!(uri.map_err(|e| e.name()), said(&v, "uri"), "{v:?}");
    }
}

#[test]
fn documents_of_links_are_read_as_the_vectors_say() {
    for v in vectors("documents") {
        let mut links = Links::new(v.get("document").unwrap().text());
        for said in v.get("links").unwrap().list() {
            let link = links.next().unwrap();
            let attributes = said.get("attributes").unwrap().list();
            let pairs = attributes.iter().map(|pair| (pair.list()[0].text(), pair.list()[1].text()));
            assert_eq!(link.target, said.get("target").unwrap().text());
            assert!(link.attributes().eq(pairs), "{v:?}");
            assert_eq!(Link::from_parts(link.target, link.raw_attributes()), link);
        }
        assert_eq!(links.next(), None);
        assert_eq!(links.rest().is_empty(), v.get("whole").unwrap().number() == 1, "{v:?}");
    }
}

#[test]
fn documents_of_links_are_filtered_as_the_vectors_say() {
    for v in vectors("filtered") {
        let (mut out, mut len) = ([0; 256], 0);
        for link in Links::new(v.get("document").unwrap().text()) {
            let filters = v.get("filters").unwrap().list();
            if filters.iter().all(|filter| matches(link.target, link.attributes(), filter.text())) {
                let before = len;
                len = append(&mut out, before, link.target, link.attributes()).unwrap();
                // It takes so much room and no less.
                assert_eq!(append(&mut out[..len - 1], before, link.target, link.attributes()), Err(len));
                assert_eq!(append(&mut out[..len], before, link.target, link.attributes()), Ok(len));
            }
        }
        assert_eq!(str::from_utf8(&out[..len]), Ok(v.get("filtered").unwrap().text()), "{v:?}");
    }
}

#[test]
fn topics_match_as_the_vectors_say() {
    for v in vectors("topics") {
        let (filter, name) = (v.get("filter").unwrap().text(), v.get("name").unwrap().text());
        assert!(topic::valid_filter(filter) && topic::valid_name(name));
        assert_eq!(i64::from(topic::matches(filter, name)), v.get("matches").unwrap().number(), "{v:?}");
    }
}
