//! However bytes are cut, and whatever they are.

use super::*;
use proptest::prelude::*;

/// One packet a server may send to a client that has subscribed under 1 and published under 2 and 3.
fn server_packet() -> impl Strategy<Value = Vec<u8>> {
    let publish = (0..3u8, 1..5u16, "[a-z/]{1,12}", proptest::collection::vec(any::<u8>(), 0..200), any::<bool>());
    prop_oneof![
        8 => publish.prop_map(|(qos, n, topic, payload, retain)| {
            let qos = QoS::from_u8(qos).unwrap();
            let id = (qos != QoS::AtMostOnce).then(|| id(n));
            let publish = Publish { dup: false, qos, retain, topic: &topic, id, payload_len: payload.len() as u32 };
            let mut bytes = vec![0; publish.encoded_len()];
            publish.encode(&mut Writer::new(&mut bytes));
            bytes.extend(payload);
            bytes
        }),
        1 => Just(b"\xd0\x00".to_vec()),
        1 => Just(b"\x90\x03\x00\x01\x01".to_vec()),
        1 => Just(b"\x40\x02\x00\x02".to_vec()),
        1 => Just(b"\x50\x02\x00\x03".to_vec()),
        1 => Just(b"\x70\x02\x00\x03".to_vec()),
        3 => (1..5u8).prop_map(|n| vec![0x62, 2, 0, n]),
        1 => proptest::collection::vec(any::<u8>(), 1..6),
    ]
}

fn script() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(server_packet(), 0..20).prop_map(|packets| packets.concat())
}

/// What is told and sent, payloads put together again, and the error it ends with.
fn run(script: &[u8], cuts: &[usize], out: usize, max_packet: u16) -> (Vec<String>, Vec<u8>, Option<Error>) {
    let mut c = connected(Config { max_packet, ..Config::default() }, 256, 8, &persistent());
    c.subscribe(T0, &[("a", QoS::AtLeastOnce)]).unwrap();
    c.publish(T0, "b", b"one", QoS::AtLeastOnce, false).unwrap();
    c.publish(T0, "b", b"two", QoS::ExactlyOnce, false).unwrap();
    let mut all_sent = Vec::new();
    let mut told: Vec<String> = Vec::new();
    let mut payload = Vec::new();
    let mut kept: Vec<u8> = Vec::new();
    let mut cuts = cuts.iter().cycle();
    let mut rest = script;
    let mut error = None;
    'all: while !rest.is_empty() {
        let n = (*cuts.next().unwrap()).min(rest.len());
        kept.extend_from_slice(&rest[..n]);
        rest = &rest[n..];
        let mut stuck = false;
        loop {
            let (sent, events) = drain_by(&mut c, T0, out);
            all_sent.extend(sent);
            told.extend(events);
            match c.handle_input(T0, Input { peer: SERVER, bytes: &kept }) {
                Ok(handled) => {
                    let (consumed, needed) = (handled.consumed, handled.needed);
                    match handled.event {
                        Some(Event::Payload { bytes, last }) => {
                            payload.extend_from_slice(bytes);
                            if last {
                                told.push(format!("payload {payload:?}"));
                                payload.clear();
                            }
                        }
                        Some(event) => told.push(tell(&event)),
                        None if handled.consumed == 0 => {
                            assert!(handled.needed != 0 || !stuck, "stuck for good");
                            stuck = true;
                        }
                        None => {}
                    }
                    kept.drain(..consumed);
                    if consumed != 0 {
                        stuck = false;
                    } else if needed != 0 {
                        break;
                    }
                    if c.state() == State::Closed {
                        break 'all;
                    }
                }
                Err(e) => {
                    error = Some(e);
                    break 'all;
                }
            }
        }
    }
    let (sent, events) = drain_by(&mut c, T0, out);
    all_sent.extend(sent);
    told.extend(events);
    (told, all_sent, error)
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events_and_answers(
        script in script(), cuts in proptest::collection::vec(1..40usize, 1..20), out in 0..20usize, max in prop_oneof![Just(256u16), 8..14u16],
    ) {
        let whole = run(&script, &[1_000_000], 1000, max);
        prop_assert_eq!(&run(&script, &[1], 1, max), &whole);
        prop_assert_eq!(&run(&script, &cuts, out, max), &whole);
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), cuts in proptest::collection::vec(1..40usize, 1..20)) {
        prop_assert_eq!(run(&bytes, &cuts, 3, 16), run(&bytes, &[1000], 100, 16));
    }
}

#[test]
fn no_more_is_asked_for_than_a_packet_has_before_its_payload() {
    let packets: [(&[u8], usize); 5] = [
        (b"\x34\x0d\x00\x06abcdef\x00\x01pay", 12),
        (b"\x30\x0b\x00\x06abcdefpay", 10),
        (b"\x90\x03\x00\x01\x01", 5),
        (b"\x40\x02\x00\x02", 4),
        (b"\xd0\x00", 2),
    ];
    for (packet, header) in packets {
        for len in 0..header {
            let mut c = connected(Config::default(), 256, 8, &persistent());
            let handled = c.handle_input(T0, Input { peer: SERVER, bytes: &packet[..len] }).unwrap();
            assert_eq!((handled.consumed, handled.event), (0, None), "{packet:?} {len}");
            assert!((1..=header - len).contains(&handled.needed), "{packet:?} {len}: {}", handled.needed);
        }
    }
}
