//! CoAP's decoders: a datagram is refused or encodes again to the same message, URIs and link format end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waft::coap::{Block, Message, Scheme, Uri, compose, link_format::Links, option, resolve};

fuzz_target!(|data: &[u8]| {
    if let Ok(message) = Message::decode(data) {
        let mut buf = vec![0; data.len()];
        let again = message.encode(&mut buf).expect("never longer than it was");
        let copy = Message::decode(again).expect("it was well-formed");
        assert_eq!((copy.ty, copy.code, copy.id, copy.token), (message.ty, message.code, message.id, message.token));
        assert_eq!(copy.payload, message.payload);
        assert!(copy.options.eq(message.options));
        assert!(message.options.map(|o| o.number).is_sorted());
        assert_eq!(again.len() == data.len(), again == data);
        for value in message.options.all(option::BLOCK2).chain(message.options.all(option::BLOCK1)) {
            if let Some(block) = Block::decode(value) {
                assert_eq!(option::uint(value), Some(block.encode()));
            }
        }
        let mut text = [0; 2048];
        if let Ok(text) = compose(Scheme::Coap, "h", 5683, message.options, &mut text) {
            if let Ok(uri) = Uri::parse(text) {
                assert!(uri.segments().count() <= message.options.all(option::URI_PATH).count());
            }
        }
    }
    if let Ok(text) = core::str::from_utf8(data) {
        let mut links = Links::new(text);
        let attributes = links.by_ref().flat_map(|link| link.attributes()).count();
        assert!(attributes <= text.len());
        if let Ok(uri) = Uri::parse(text) {
            assert!(text.ends_with(uri.target()));
        }
        let mut out = [0; 256];
        let (base, reference) = text.split_once('\n').unwrap_or(("coap://h/a/b", text));
        if let Ok(target) = resolve(base, reference, &mut out) {
            assert!(target.contains(':'));
        }
    }
});
