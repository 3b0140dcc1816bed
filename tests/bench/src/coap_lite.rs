//! coap-lite 0.13: packets that own lists of options.

use crate::{case, inputs::*, run};
use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType, ResponseType};

fn decode(bytes: &[u8]) -> (u32, Packet) {
    let packet = Packet::from_bytes(bytes).unwrap();
    let mut read = 0;
    for (number, values) in packet.options() {
        for value in values {
            read += u32::from(*number) + value.len() as u32;
        }
    }
    (read, packet)
}

fn encode_get(id: u16, token: &[u8], segments: &[&str; 3]) -> Vec<u8> {
    let mut packet = Packet::new();
    packet.header.set_type(MessageType::Confirmable);
    packet.header.code = MessageClass::Request(RequestType::Get);
    packet.header.message_id = id;
    packet.set_token(token.to_vec());
    packet.add_option(CoapOption::Observe, Vec::new());
    for segment in segments {
        packet.add_option(CoapOption::UriPath, segment.as_bytes().to_vec());
    }
    packet.add_option(CoapOption::Block2, vec![BLOCK]);
    packet.to_bytes().unwrap()
}

fn encode_content(id: u16, token: &[u8], etag: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut packet = Packet::new();
    packet.header.set_type(MessageType::Acknowledgement);
    packet.header.code = MessageClass::Response(ResponseType::Content);
    packet.header.message_id = id;
    packet.set_token(token.to_vec());
    packet.add_option(CoapOption::ETag, etag.to_vec());
    packet.add_option(CoapOption::ContentFormat, vec![FORMAT as u8]);
    packet.add_option(CoapOption::Block2, vec![BLOCK_MORE]);
    packet.payload = payload.to_vec();
    packet.to_bytes().unwrap()
}

pub fn run() {
    let [get, content] = [coap_get(), coap_content()];
    run!(case!(coap_lite, coap_decode_get, |b: &[u8]| decode(b)), &get);
    run!(case!(coap_lite, coap_decode_content_1k, |b: &[u8]| decode(b)), &content);
    assert_eq!(encode_get(ID, &TOKEN, &SEGMENTS), get);
    run!(
        case!(coap_lite, coap_encode_get, |id: u16, t: &[u8], s: &[&str; 3]| encode_get(id, t, s)),
        ID,
        &TOKEN,
        &SEGMENTS
    );
    assert!(encode_content(ID, &TOKEN, &ETAG, PAYLOAD) == content);
    run!(
        case!(coap_lite, coap_encode_content_1k, |id: u16, t: &[u8], e: &[u8], p: &[u8]| encode_content(id, t, e, p)),
        ID,
        &TOKEN,
        &ETAG,
        PAYLOAD
    );
}
