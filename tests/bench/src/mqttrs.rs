//! mqttrs 0.4: packets over a slice; without wildcard or NUL checks.

use crate::{case, inputs::*, run};
use core::convert::TryFrom;
use mqttrs::{
    Connect, LastWill, Packet, Pid, Protocol, Publish, QoS, QosPid, Subscribe, SubscribeTopic, decode_slice,
    encode_slice,
};

fn encode_publish(out: &mut [u8], payload: &[u8]) -> u32 {
    let publish = Publish {
        dup: false,
        qospid: QosPid::AtLeastOnce(Pid::try_from(ID).unwrap()),
        retain: false,
        topic_name: core::hint::black_box(TOPIC),
        payload,
    };
    encode_slice(&Packet::Publish(publish), out).unwrap() as u32
}

fn encode_connect(out: &mut [u8]) -> u32 {
    let connect = Connect {
        protocol: Protocol::MQTT311,
        keep_alive: KEEP_ALIVE,
        client_id: core::hint::black_box(CLIENT_ID),
        clean_session: true,
        last_will: Some(LastWill { topic: WILL_TOPIC, message: WILL, qos: QoS::AtLeastOnce, retain: false }),
        username: Some(USERNAME),
        password: Some(PASSWORD),
    };
    encode_slice(&Packet::Connect(connect), out).unwrap() as u32
}

fn encode_subscribe(out: &mut [u8], filters: &[&str]) -> u32 {
    let topics = filters.iter().map(|f| SubscribeTopic { topic_path: (*f).into(), qos: QoS::AtLeastOnce }).collect();
    encode_slice(&Packet::Subscribe(Subscribe::new(Pid::try_from(ID).unwrap(), topics)), out).unwrap() as u32
}

fn stream(bytes: &[u8]) -> u32 {
    let mut buffer = [0_u8; 2048];
    let (mut len, mut packets) = (0, 0);
    for segment in bytes.chunks(SEGMENT) {
        buffer[len..len + segment.len()].copy_from_slice(segment);
        len += segment.len();
        let mut start = 0;
        // It does not tell how long a packet is, and one that is not whole makes it panic.
        while let Some(size) = whole(&buffer[start..len]) {
            core::hint::black_box(&decode_slice(&buffer[start..start + size]));
            start += size;
            packets += 1;
        }
        buffer.copy_within(start..len, 0);
        len -= start;
    }
    packets
}

fn whole(bytes: &[u8]) -> Option<usize> {
    let mut remaining = 0;
    for n in 0..4 {
        let byte = *bytes.get(n + 1)?;
        remaining |= usize::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            return Some(n + 2 + remaining).filter(|size| *size <= bytes.len());
        }
    }
    None
}

pub fn run() {
    let [p64, p1k, connect, subscribe] = [publish(64), publish(1024), connect(), subscribe()];
    let mut out = [0; 1500];

    run!(case!(mqttrs, decode_publish_64, |b: &[u8]| decode_slice(b)), &p64);
    run!(case!(mqttrs, decode_publish_1k, |b: &[u8]| decode_slice(b)), &p1k);
    run!(case!(mqttrs, decode_connect, |b: &[u8]| decode_slice(b)), &connect);
    run!(case!(mqttrs, decode_subscribe_4, |b: &[u8]| decode_slice(b)), &subscribe);
    run!(case!(mqttrs, encode_publish_64, |o: &mut [u8], p: &[u8]| encode_publish(o, p)), &mut out, &PAYLOAD[..64]);
    assert_eq!(out[..p64.len()], p64);
    run!(case!(mqttrs, encode_publish_1k, |o: &mut [u8], p: &[u8]| encode_publish(o, p)), &mut out, &PAYLOAD[..]);
    run!(case!(mqttrs, encode_connect, |o: &mut [u8]| encode_connect(o)), &mut out);
    assert_eq!(out[..connect.len()], connect);
    run!(case!(mqttrs, encode_subscribe_4, |o: &mut [u8], f: &[&str]| encode_subscribe(o, f)), &mut out, &FILTERS);
    assert_eq!(out[..subscribe.len()], subscribe);
    let bytes = crate::inputs::stream();
    case!(mqttrs, stream, |bytes: &[u8]| assert_eq!(stream(bytes) as usize, PACKETS))(core::hint::black_box(&bytes));
}
