//! mqtt-protocol-core 0.7: packets, and a sans-I/O client that keeps what it sent (in memory of the heap).

use crate::{case, inputs::*, run};
use mqtt_protocol_core::mqtt::{
    Connection, Version,
    common::Cursor,
    connection::Event,
    packet::{GenericPacketTrait, Packet, Qos, SubEntry, SubOpts, v3_1_1 as v4},
    role,
};
use std::sync::Arc;

type Client = Connection<role::Client>;
type Server = Connection<role::Server>;

fn publish_packet(id: u16, qos: Qos, payload: &[u8]) -> v4::Publish {
    let topic = core::hint::black_box(TOPIC);
    v4::Publish::builder().topic_name(topic).unwrap().qos(qos).packet_id(id).payload(payload).build().unwrap()
}

fn encode_publish(payload: &[u8]) -> Vec<u8> {
    publish_packet(ID, Qos::AtLeastOnce, payload).to_continuous_buffer()
}

fn encode_connect() -> Vec<u8> {
    v4::Connect::builder()
        .clean_session(true)
        .keep_alive(KEEP_ALIVE)
        .client_id(core::hint::black_box(CLIENT_ID))
        .unwrap()
        .will_message(WILL_TOPIC, WILL, Qos::AtLeastOnce, false)
        .unwrap()
        .user_name(USERNAME)
        .unwrap()
        .password(PASSWORD)
        .unwrap()
        .build()
        .unwrap()
        .to_continuous_buffer()
}

fn encode_subscribe(filters: &[&str]) -> Vec<u8> {
    let options = SubOpts::new().set_qos(Qos::AtLeastOnce);
    let entries: Vec<_> = filters.iter().map(|filter| SubEntry::new(*filter, options).unwrap()).collect();
    v4::Subscribe::builder().packet_id(ID).entries(entries).build().unwrap().to_continuous_buffer()
}

fn consume(events: Vec<Event>) -> u32 {
    let mut sent = 0;
    for event in events {
        match event {
            Event::RequestSendPacket { packet, .. } => sent += packet.to_continuous_buffer().len() as u32,
            Event::NotifyError(error) => panic!("{error:?}"),
            other => {
                core::hint::black_box(&other);
            }
        }
    }
    sent
}

fn feed(client: &mut Client, bytes: &[u8]) -> u32 {
    consume(client.recv(&mut Cursor::new(bytes)))
}

fn round_trip(client: &mut Client, qos: Qos, payload: &[u8]) -> u32 {
    let id = client.acquire_packet_id().unwrap();
    let mut sent = consume(client.checked_send(publish_packet(id, qos, payload)));
    let [high, low] = id.to_be_bytes();
    if qos == Qos::AtLeastOnce {
        return sent + feed(client, &[0x40, 2, high, low]);
    }
    sent += feed(client, &[0x50, 2, high, low]);
    sent + feed(client, &[0x70, 2, high, low])
}

fn stream(packets: &[u8]) -> u32 {
    let mut done = 0;
    let mut server = server();
    for segment in packets.chunks(SEGMENT) {
        let mut cursor = Cursor::new(segment);
        while (cursor.position() as usize) < segment.len() {
            for event in server.recv(&mut cursor) {
                if let Event::NotifyPacketReceived(Packet::V3_1_1Publish(packet)) = event {
                    core::hint::black_box(&packet);
                    done += 1;
                }
            }
        }
    }
    done
}

/// Connected.
fn server() -> Server {
    let mut server = Server::new(Version::V3_1_1);
    let connect = v4::Connect::builder().clean_session(true).client_id("c").unwrap().build().unwrap();
    server.recv(&mut Cursor::new(&connect.to_continuous_buffer()[..]));
    server.checked_send(
        v4::Connack::builder()
            .session_present(false)
            .return_code(mqtt_protocol_core::mqtt::result_code::ConnectReturnCode::Accepted)
            .build()
            .unwrap(),
    );
    server
}

pub fn run() {
    let [p64, p1k, connect, subscribe] = [publish(64), publish(1024), connect(), subscribe()];
    let rest = |packet: &[u8], header: usize| -> Arc<[u8]> { packet[header..].into() };

    let read = case!(mqtt_protocol_core, decode_publish_64, |b: Arc<[u8]>| v4::Publish::parse(2, b));
    run!(read, rest(&p64, 2));
    let read = case!(mqtt_protocol_core, decode_publish_1k, |b: Arc<[u8]>| v4::Publish::parse(2, b));
    run!(read, rest(&p1k, 3));
    let read = case!(mqtt_protocol_core, decode_connect, |b: &[u8]| v4::Connect::parse(b));
    run!(read, &connect[2..]);
    let read = case!(mqtt_protocol_core, decode_subscribe_4, |b: &[u8]| v4::Subscribe::parse(b));
    run!(read, &subscribe[2..]);
    run!(case!(mqtt_protocol_core, encode_publish_64, |p: &[u8]| encode_publish(p).len() as u32), &PAYLOAD[..64]);
    assert_eq!(encode_publish(&PAYLOAD[..64]), p64);
    run!(case!(mqtt_protocol_core, encode_publish_1k, |p: &[u8]| encode_publish(p).len() as u32), &PAYLOAD[..]);
    run!(case!(mqtt_protocol_core, encode_connect, |_a: ()| encode_connect().len() as u32), ());
    assert_eq!(encode_connect(), connect);
    run!(case!(mqtt_protocol_core, encode_subscribe_4, |f: &[&str]| encode_subscribe(f).len() as u32), &FILTERS);
    assert_eq!(encode_subscribe(&FILTERS), subscribe);

    let mut client = Client::new(Version::V3_1_1);
    let options = v4::Connect::builder().clean_session(false).client_id(CLIENT_ID).unwrap().build().unwrap();
    consume(client.checked_send(options));
    feed(&mut client, b"\x20\x02\x00\x00");
    client.set_auto_pub_response(true);
    run!(
        case!(mqtt_protocol_core, roundtrip_qos1, |c: &mut Client, p: &[u8]| round_trip(c, Qos::AtLeastOnce, p)),
        &mut client,
        &PAYLOAD[..64]
    );
    run!(
        case!(mqtt_protocol_core, roundtrip_qos2, |c: &mut Client, p: &[u8]| round_trip(c, Qos::ExactlyOnce, p)),
        &mut client,
        &PAYLOAD[..64]
    );
    let bytes = crate::inputs::stream();
    case!(mqtt_protocol_core, stream, |bytes: &[u8]| assert_eq!(stream(bytes) as usize, PACKETS))(
        core::hint::black_box(&bytes),
    );
}
