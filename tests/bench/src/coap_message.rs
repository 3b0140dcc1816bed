//! coap-message-implementations 0.2: options and payload; header and token are its caller's and done here by hand.

use crate::{case, inputs::*, run};
use coap_message::{MessageOption, MinimalWritableMessage, ReadableMessage};
use coap_message_implementations::inmemory::{Message, MessageMut};

fn decode(bytes: &[u8]) -> (u32, u16, &[u8], usize) {
    let (&[first, code, high, low], rest) = bytes.split_first_chunk().unwrap();
    assert!(first >> 6 == 1);
    let (token, rest) = rest.split_at(usize::from(first & 15));
    let message = Message::new_from_slice(code, rest);
    let mut read = 0;
    for option in message.options() {
        read += u32::from(option.number()) + option.value().len() as u32;
    }
    (read, u16::from_be_bytes([high, low]), token, message.payload().len())
}

/// Header and token; what is left of the buffer.
fn begin<'o>(out: &'o mut [u8], first: u8, id: u16, token: &[u8]) -> (&'o mut u8, &'o mut [u8]) {
    let (header, rest) = out.split_first_chunk_mut().unwrap();
    let [start, code, high, low] = header;
    *start = first | token.len() as u8;
    [*high, *low] = id.to_be_bytes();
    let (place, rest) = rest.split_at_mut(token.len());
    place.copy_from_slice(token);
    (code, rest)
}

fn encode_get(out: &mut [u8], id: u16, token: &[u8], segments: &[&str; 3]) -> u32 {
    let (code, tail) = begin(out, 0x40, id, token);
    let mut message = MessageMut::new_in_slice(code, tail);
    message.set_code(1);
    message.add_option(6, b"").unwrap();
    for segment in segments {
        message.add_option(11, segment.as_bytes()).unwrap();
    }
    message.add_option(23, &[BLOCK]).unwrap();
    (4 + token.len() + message.finish().0) as u32
}

fn encode_content(out: &mut [u8], id: u16, token: &[u8], etag: &[u8], payload: &[u8]) -> u32 {
    let (code, tail) = begin(out, 0x60, id, token);
    let mut message = MessageMut::new_in_slice(code, tail);
    message.set_code(0x45);
    message.add_option(4, etag).unwrap();
    message.add_option(12, &[FORMAT as u8]).unwrap();
    message.add_option(23, &[BLOCK_MORE]).unwrap();
    message.set_payload(payload).unwrap();
    (4 + token.len() + message.finish().0) as u32
}

pub fn run() {
    let [get, content] = [coap_get(), coap_content()];
    let mut out = [0; 1500];
    run!(case!(coap_message, coap_decode_get, |b: &[u8]| decode(b)), &get);
    run!(case!(coap_message, coap_decode_content_1k, |b: &[u8]| decode(b)), &content);
    run!(
        case!(coap_message, coap_encode_get, |o: &mut [u8], id: u16, t: &[u8], s: &[&str; 3]| encode_get(o, id, t, s)),
        &mut out,
        ID,
        &TOKEN,
        &SEGMENTS
    );
    assert_eq!(out[..get.len()], get);
    run!(
        case!(coap_message, coap_encode_content_1k, |o: &mut [u8], id: u16, t: &[u8], e: &[u8], p: &[u8]| {
            encode_content(o, id, t, e, p)
        }),
        &mut out,
        ID,
        &TOKEN,
        &ETAG,
        PAYLOAD
    );
    assert_eq!(out[..content.len()], content);
}
