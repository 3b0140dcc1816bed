//! waft: CoAP messages. Decoding checks all of a message; reading goes through its options besides.

use crate::{case, inputs::*, run};
use waft::coap::{Code, Encoder, Message, Token, Type, option};

fn read(bytes: &[u8]) -> (u32, u16, Token, usize) {
    let message = Message::decode(bytes).unwrap();
    let mut read = 0;
    for option in message.options {
        read += u32::from(option.number) + option.value.len() as u32;
    }
    (read, message.id, message.token, message.payload.len())
}

fn encode_get(out: &mut [u8], id: u16, token: &[u8], segments: &[&str; 3]) -> u32 {
    let token = Token::new(token).unwrap();
    let mut encoder = Encoder::new(out, Type::Confirmable, Code::GET, id, &token);
    encoder.uint(option::OBSERVE, 0).unwrap();
    for segment in segments {
        encoder.option(option::URI_PATH, segment.as_bytes()).unwrap();
    }
    encoder.uint(option::BLOCK2, u32::from(BLOCK)).unwrap();
    encoder.finish().unwrap().len() as u32
}

fn encode_content(out: &mut [u8], id: u16, token: &[u8], etag: &[u8], payload: &[u8]) -> u32 {
    let token = Token::new(token).unwrap();
    let mut encoder = Encoder::new(out, Type::Acknowledgement, Code::CONTENT, id, &token);
    encoder.option(option::ETAG, etag).unwrap();
    encoder.uint(option::CONTENT_FORMAT, u32::from(FORMAT)).unwrap();
    encoder.uint(option::BLOCK2, u32::from(BLOCK_MORE)).unwrap();
    encoder.payload(payload);
    encoder.finish().unwrap().len() as u32
}

pub fn run() {
    let [get, content] = [coap_get(), coap_content()];
    let mut out = [0; 1500];
    run!(case!(waft, coap_decode_get, |b: &[u8]| Message::decode(b)), &get);
    run!(case!(waft, coap_decode_content_1k, |b: &[u8]| Message::decode(b)), &content);
    run!(case!(waft, coap_read_get, |b: &[u8]| read(b)), &get);
    run!(case!(waft, coap_read_content_1k, |b: &[u8]| read(b)), &content);
    run!(
        case!(waft, coap_encode_get, |o: &mut [u8], id: u16, t: &[u8], s: &[&str; 3]| encode_get(o, id, t, s)),
        &mut out,
        ID,
        &TOKEN,
        &SEGMENTS
    );
    assert_eq!(out[..get.len()], get);
    run!(
        case!(waft, coap_encode_content_1k, |o: &mut [u8], id: u16, t: &[u8], e: &[u8], p: &[u8]| {
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
