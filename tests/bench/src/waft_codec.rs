//! waft: packets.

use crate::{case, inputs::*, run};
use waft::{
    mqtt::{
        Connect, Packet, PacketId, Publish, QoS, Will,
        packet::{Decoded, decode_from_client, encode_subscribe},
    },
    rx::RxBuffer,
    wire::Writer,
};

const MAX: u32 = 256;

fn encode_publish(out: &mut [u8], topic: &str, id: PacketId, payload: &[u8]) -> u32 {
    let mut w = Writer::new(out);
    let publish = Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic,
        id: Some(id),
        payload_len: payload.len() as u32,
    };
    publish.encode(&mut w);
    w.bytes(payload);
    w.finish().unwrap().len() as u32
}

fn stream(bytes: &[u8]) -> u32 {
    let mut memory = [0; 2048];
    let mut rx = RxBuffer::new(&mut memory);
    let (mut packets, mut left) = (0_u32, 0_usize);
    for segment in bytes.chunks(SEGMENT) {
        rx.space()[..segment.len()].copy_from_slice(segment);
        rx.filled(segment.len());
        let mut rest = rx.data();
        loop {
            // A payload need not be whole.
            let Some(behind) = rest.get(left..) else {
                left -= rest.len();
                rest = &[];
                break;
            };
            (rest, left) = (behind, 0);
            let decoded = decode_from_client(rest, MAX);
            core::hint::black_box(&decoded);
            let Ok(Decoded::Packet { packet: Packet::Publish(publish), len }) = decoded else { break };
            packets += 1;
            left = len + publish.payload_len as usize;
        }
        let consumed = rx.data().len() - rest.len();
        rx.consume(consumed);
    }
    packets
}

pub fn run() {
    let id = PacketId::new(ID).unwrap();
    let [p64, p1k, connect, subscribe] = [publish(64), publish(1024), connect(), subscribe()];
    let mut out = [0; 1500];

    run!(case!(waft, decode_publish_64, |b: &[u8]| decode_from_client(b, MAX)), &p64);
    run!(case!(waft, decode_publish_1k, |b: &[u8]| decode_from_client(b, MAX)), &p1k);
    run!(case!(waft, decode_connect, |b: &[u8]| decode_from_client(b, MAX)), &connect);
    run!(case!(waft, decode_subscribe_4, |b: &[u8]| decode_from_client(b, MAX)), &subscribe);

    let len = encode_publish(&mut out, TOPIC, id, &PAYLOAD[..64]);
    assert_eq!(out[..len as usize], p64);
    let case = case!(waft, encode_publish_64, |out: &mut [u8], id: PacketId, payload: &[u8]| {
        encode_publish(out, core::hint::black_box(TOPIC), id, payload)
    });
    run!(case, &mut out, id, &PAYLOAD[..64]);
    let case = case!(waft, encode_publish_1k, |out: &mut [u8], id: PacketId, payload: &[u8]| {
        encode_publish(out, core::hint::black_box(TOPIC), id, payload)
    });
    run!(case, &mut out, id, &PAYLOAD[..]);

    let will = Will { topic: WILL_TOPIC, payload: WILL, qos: QoS::AtLeastOnce, retain: false };
    let connection = Connect {
        client_id: CLIENT_ID,
        clean_session: true,
        keep_alive: KEEP_ALIVE,
        will: Some(will),
        username: Some(USERNAME),
        password: Some(PASSWORD),
    };
    run!(
        case!(waft, encode_connect, |out: &mut [u8], connect: &Connect<'_>| {
            let mut w = Writer::new(out);
            connect.encode(&mut w);
            w.finish().unwrap().len() as u32
        }),
        &mut out,
        &connection
    );
    assert_eq!(out[..connect.len()], connect);

    let filters = FILTERS.map(|filter| (filter, QoS::AtLeastOnce));
    run!(
        case!(waft, encode_subscribe_4, |out: &mut [u8], id: PacketId, filters: &[(&str, QoS)]| {
            let mut w = Writer::new(out);
            encode_subscribe(&mut w, id, filters);
            w.finish().unwrap().len() as u32
        }),
        &mut out,
        id,
        &filters
    );
    assert_eq!(out[..subscribe.len()], subscribe);

    let bytes = crate::inputs::stream();
    case!(waft, stream, |bytes: &[u8]| assert_eq!(stream(bytes) as usize, PACKETS))(core::hint::black_box(&bytes));
}
