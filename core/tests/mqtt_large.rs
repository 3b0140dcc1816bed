//! The longest PUBLISH there is, 268,435,455 bytes of remaining length, out and in, through 512 bytes of memory.

use waft::{
    Input, Instant, Output, Peer,
    mqtt::{
        Connect, QoS,
        client::{Client, Config, Event, InFlight},
    },
};

const NOW: Instant = Instant::ZERO;
const REMAINING: u32 = 268_435_455;
/// The payload repeats itself after so many bytes, which no buffer is a multiple of.
const PERIOD: usize = 251;

/// Enough of the payload to find any part of up to 512 bytes in.
fn pattern() -> Vec<u8> {
    (0..PERIOD * 4).map(|n| (n % PERIOD) as u8).collect()
}

fn from(offset: usize, len: usize, pattern: &[u8]) -> &[u8] {
    &pattern[offset % PERIOD..][..len]
}

/// Connected, with `arena` and `table` for its memory.
fn connected<'a>(config: Config, arena: &'a mut [u8], table: &'a mut [InFlight]) -> Client<'a> {
    let mut client = Client::new(config, arena, table);
    let connect = Connect { client_id: "c", clean_session: false, ..Connect::default() };
    client.connect(NOW, Peer(0), &connect).unwrap();
    let mut out = [0; 64];
    assert!(matches!(client.poll_output(NOW, &mut out), Output::Transmit { .. }));
    feed(&mut client, b"\x20\x02\x00\x00");
    client
}

fn feed(client: &mut Client<'_>, bytes: &[u8]) {
    assert_eq!(client.handle_input(NOW, Input { peer: Peer(0), bytes }).unwrap().consumed, bytes.len());
}

fn sends(client: &mut Client<'_>, expected: &[u8]) {
    let mut out = [0; 16];
    match client.poll_output(NOW, &mut out) {
        Output::Transmit { bytes, .. } => assert_eq!(bytes, expected),
        Output::Timeout(_) => assert!(expected.is_empty()),
        other => panic!("{other:?}"),
    }
}

fn header(qos: QoS) -> Vec<u8> {
    let mut header = vec![0x30 | ((qos as u8) << 1), 0xFF, 0xFF, 0xFF, 0x7F, 0, 3, b'b', b'i', b'g'];
    if qos != QoS::AtMostOnce {
        header.extend([0, 1]);
    }
    header
}

fn payload_len(qos: QoS) -> u32 {
    REMAINING - if qos == QoS::AtMostOnce { 5 } else { 7 }
}

fn out(qos: QoS) {
    let (mut arena, mut table, mut out) = ([0; 288], [InFlight::EMPTY; 3], [0; 176]);
    assert!(arena.len() + size_of_val(&table) + out.len() <= 512);
    let mut client = connected(Config { window: 240, ..Config::default() }, &mut arena, &mut table);
    let (pattern, header) = (pattern(), header(qos));
    client.publish_streamed(NOW, "big", payload_len(qos), qos, false).unwrap();
    // Bytes of the packet that left.
    let mut sent = 0_usize;
    loop {
        match client.poll_output(NOW, &mut out) {
            Output::Transmit { bytes, .. } => {
                let (first, rest) = bytes.split_at(header.len().saturating_sub(sent).min(bytes.len()));
                if !first.is_empty() {
                    assert_eq!(first, &header[sent..][..first.len()]);
                }
                sent += first.len();
                if !rest.is_empty() {
                    assert_eq!(rest, from(sent - header.len(), rest.len(), &pattern));
                }
                sent += rest.len();
            }
            Output::Event(Event::PayloadWanted { offset, len, .. }) => {
                let given = client.payload(NOW, from(offset as usize, len as usize, &pattern)).unwrap();
                assert_eq!(given, len as usize);
            }
            Output::Timeout(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sent, 5 + REMAINING as usize);
    match qos {
        QoS::AtMostOnce => {}
        QoS::AtLeastOnce => feed(&mut client, b"\x40\x02\x00\x01"),
        QoS::ExactlyOnce => {
            feed(&mut client, b"\x50\x02\x00\x01");
            sends(&mut client, b"\x62\x02\x00\x01");
            feed(&mut client, b"\x70\x02\x00\x01");
        }
    }
    assert_eq!((client.in_flight(), client.is_connected()), (0, true));
}

/// What the application does with it.
#[derive(Clone, Copy, PartialEq)]
enum Want {
    All,
    /// `Config::max_payload` is less.
    TooLarge,
    /// It says so when half of it has come.
    Half,
}

fn into(qos: QoS, want: Want) {
    let (mut arena, mut table) = ([0; 64], [InFlight::EMPTY; 3]);
    const BUFFER: usize = 400;
    assert!(arena.len() + size_of_val(&table) + BUFFER <= 512);
    let max_payload = if want == Want::TooLarge { payload_len(qos) - 1 } else { u32::MAX };
    let mut client = connected(Config { max_payload, manual_ack: true, ..Config::default() }, &mut arena, &mut table);
    let (pattern, header) = (pattern(), header(qos));
    let input = |bytes| Input { peer: Peer(0), bytes };
    let handled = client.handle_input(NOW, input(&header)).unwrap();
    assert_eq!(handled.consumed, header.len());
    match handled.event {
        Some(Event::Publish(publish)) if want != Want::TooLarge => {
            assert_eq!((publish.payload_len, publish.qos), (payload_len(qos), qos));
        }
        Some(Event::Skipped { topic_len: 3, payload_len: len }) if want == Want::TooLarge => {
            assert_eq!(len, payload_len(qos));
        }
        other => panic!("{other:?}"),
    }
    let (mut offset, len) = (0_usize, payload_len(qos) as usize);
    while offset < len {
        if want == Want::Half && offset >= len / 2 && offset < len / 2 + BUFFER {
            client.refuse(NOW).unwrap();
        }
        let bytes = from(offset, BUFFER.min(len - offset), &pattern);
        let handled = client.handle_input(NOW, input(bytes)).unwrap();
        assert_eq!(handled.consumed, bytes.len());
        let told = want == Want::All || (want == Want::Half && offset < len / 2);
        match handled.event {
            Some(Event::Payload { bytes: told_bytes, last }) if told => {
                assert_eq!(told_bytes, bytes);
                assert_eq!(last, offset + bytes.len() == len);
            }
            None if !told => {}
            other => panic!("{other:?}"),
        }
        offset += bytes.len();
    }
    assert_eq!(client.payload_left(), 0);
    if qos != QoS::AtMostOnce && want == Want::All {
        sends(&mut client, b"");
        client.acknowledge(NOW, waft::mqtt::PacketId::FIRST).unwrap();
    }
    match qos {
        QoS::AtMostOnce => sends(&mut client, b""),
        QoS::AtLeastOnce => sends(&mut client, b"\x40\x02\x00\x01"),
        QoS::ExactlyOnce => {
            sends(&mut client, b"\x50\x02\x00\x01");
            feed(&mut client, b"\x62\x02\x00\x01");
            sends(&mut client, b"\x70\x02\x00\x01");
        }
    }
    // The stream goes on behind it.
    let handled = client.handle_input(NOW, input(b"\x30\x03\x00\x01a")).unwrap();
    assert!(matches!(handled.event, Some(Event::Publish(publish)) if publish.topic == "a"));
    assert_eq!((client.in_flight(), client.is_connected()), (0, true));
}

#[test]
fn it_arrives_at_qos_0() {
    into(QoS::AtMostOnce, Want::All);
}

#[test]
fn it_arrives_at_qos_1() {
    into(QoS::AtLeastOnce, Want::All);
}

#[test]
fn it_arrives_at_qos_2() {
    into(QoS::ExactlyOnce, Want::All);
}

#[test]
fn larger_than_wanted_it_is_passed_over_at_qos_0() {
    into(QoS::AtMostOnce, Want::TooLarge);
}

#[test]
fn larger_than_wanted_it_is_passed_over_at_qos_1() {
    into(QoS::AtLeastOnce, Want::TooLarge);
}

#[test]
fn larger_than_wanted_it_is_passed_over_at_qos_2() {
    into(QoS::ExactlyOnce, Want::TooLarge);
}

#[test]
fn half_of_it_can_be_refused() {
    into(QoS::ExactlyOnce, Want::Half);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "make test runs it in a release build")]
fn it_leaves_at_qos_2() {
    out(QoS::ExactlyOnce);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "make test runs it in a release build")]
fn it_leaves_at_qos_1() {
    out(QoS::AtLeastOnce);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "make test runs it in a release build")]
fn it_leaves_at_qos_0() {
    out(QoS::AtMostOnce);
}
