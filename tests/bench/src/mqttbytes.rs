//! mqttbytes 0.6, rumqttc's codec as a crate of its own: packets over `BytesMut`.

use crate::{case, inputs::*, run};
use bytes::{Bytes, BytesMut};
use mqttbytes::{
    QoS,
    v4::{Connect, LastWill, Login, Publish, Subscribe, SubscribeFilter, read},
};

fn encode_publish(out: &mut BytesMut, payload: &Bytes) -> u32 {
    out.clear();
    let mut publish = Publish::from_bytes(core::hint::black_box(TOPIC), QoS::AtLeastOnce, payload.clone());
    publish.pkid = ID;
    publish.write(out).unwrap() as u32
}

fn encode_connect(out: &mut BytesMut) -> u32 {
    out.clear();
    let mut connect = Connect::new(core::hint::black_box(CLIENT_ID));
    connect.keep_alive = KEEP_ALIVE;
    connect.last_will = Some(LastWill::new(WILL_TOPIC, WILL, QoS::AtLeastOnce, false));
    connect.login = Some(Login::new(USERNAME, core::str::from_utf8(PASSWORD).unwrap()));
    connect.write(out).unwrap() as u32
}

fn encode_subscribe(out: &mut BytesMut, filters: &[&str]) -> u32 {
    out.clear();
    let filters = filters.iter().map(|filter| SubscribeFilter::new((*filter).into(), QoS::AtLeastOnce));
    let mut subscribe = Subscribe::new_many(filters);
    subscribe.pkid = ID;
    subscribe.write(out).unwrap() as u32
}

fn stream(bytes: &[u8]) -> u32 {
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    let mut packets = 0;
    for segment in bytes.chunks(SEGMENT) {
        buffer.extend_from_slice(segment);
        while let Ok(packet) = read(&mut buffer, 4096) {
            core::hint::black_box(&packet);
            packets += 1;
        }
    }
    packets
}

/// Decoding takes the bytes away, so each run gets its own.
macro_rules! run_owned {
    ($case:expr, $bytes:expr) => {
        for _ in 0..crate::RUNS {
            let mut bytes = BytesMut::from(&$bytes[..]);
            ($case)(core::hint::black_box(&mut bytes));
        }
    };
}

pub fn run() {
    let [p64, p1k, connect, subscribe] = [publish(64), publish(1024), connect(), subscribe()];
    let mut out = BytesMut::with_capacity(1500);

    run_owned!(case!(mqttbytes, decode_publish_64, |b: &mut BytesMut| read(b, 4096)), p64);
    run_owned!(case!(mqttbytes, decode_publish_1k, |b: &mut BytesMut| read(b, 4096)), p1k);
    run_owned!(case!(mqttbytes, decode_connect, |b: &mut BytesMut| read(b, 4096)), connect);
    run_owned!(case!(mqttbytes, decode_subscribe_4, |b: &mut BytesMut| read(b, 4096)), subscribe);
    let small = Bytes::from_static(&PAYLOAD[..64]);
    run!(case!(mqttbytes, encode_publish_64, |o: &mut BytesMut, p: &Bytes| encode_publish(o, p)), &mut out, &small);
    assert_eq!(out[..], p64);
    let large = Bytes::from_static(PAYLOAD);
    run!(case!(mqttbytes, encode_publish_1k, |o: &mut BytesMut, p: &Bytes| encode_publish(o, p)), &mut out, &large);
    run!(case!(mqttbytes, encode_connect, |o: &mut BytesMut| encode_connect(o)), &mut out);
    assert_eq!(out[..], connect);
    run!(
        case!(mqttbytes, encode_subscribe_4, |o: &mut BytesMut, f: &[&str]| encode_subscribe(o, f)),
        &mut out,
        &FILTERS
    );
    assert_eq!(out[..], subscribe);
    let bytes = crate::inputs::stream();
    case!(mqttbytes, stream, |bytes: &[u8]| assert_eq!(stream(bytes) as usize, PACKETS))(core::hint::black_box(&bytes));
}
