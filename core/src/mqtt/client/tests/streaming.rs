//! Payloads larger than every memory.

use super::*;

/// A byte of a payload, by its offset.
fn byte(offset: usize) -> u8 {
    (offset % 251) as u8
}

/// What a server gets of a streamed message, piece by piece: checks the payload and counts it.
#[derive(Default)]
struct Sink {
    head: Vec<u8>,
    left: u32,
    total: usize,
    dup: bool,
    qos: QoS,
}

impl Sink {
    /// Other packets than the message come back.
    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        for &b in bytes {
            if self.left > 0 {
                assert_eq!(b, byte(self.total), "at {}", self.total);
                self.total += 1;
                self.left -= 1;
                continue;
            }
            self.head.push(b);
            if let Ok(Decoded::Packet { packet: Packet::Publish(p), .. }) = packet::decode(&self.head, 100) {
                (self.left, self.dup, self.qos, self.total) = (p.payload_len, p.dup, p.qos, 0);
                self.head.clear();
            }
        }
        core::mem::take(&mut self.head)
    }
}

/// Sends what is due until nothing moves, with payload wherever it is asked for, up to `limit` bytes of it.
fn pump(c: &mut Client<'_>, sink: &mut Sink, out: &mut [u8], source: &[u8], limit: usize) -> Vec<u8> {
    let (mut rest, mut given) = (Vec::new(), 0);
    loop {
        match c.poll_output(T0, out) {
            Output::Transmit { bytes, .. } => rest.extend(sink.take(bytes)),
            Output::Event(Event::PayloadWanted { offset, len, .. }) if given < limit => {
                let from = offset as usize % 251;
                given += c.payload(T0, &source[from..from + len as usize]).unwrap();
            }
            Output::Event(Event::PayloadWanted { .. }) | Output::Timeout(_) => return rest,
            other => panic!("{other:?}"),
        }
    }
}

fn source() -> Vec<u8> {
    (0..1000).map(byte).collect()
}

#[test]
fn no_room_at_all_keeps_a_streamed_message() {
    let mut c = connected(Config::default(), 256, 4, &persistent());
    c.publish_streamed(T0, "a", 1, QoS::AtLeastOnce, false).unwrap();
    for _ in 0..3 {
        assert_eq!(c.poll_output(T0, &mut []), Output::BufferTooSmall { needed: 1 });
    }
    assert_eq!(drain(&mut c, T0), (b"\x32\x06\x00\x01a\x00\x01".to_vec(), vec!["wanted #1 0+1".into()]));
    c.payload(T0, b"x").unwrap();
    assert_eq!(c.poll_output(T0, &mut []), Output::BufferTooSmall { needed: 1 });
    assert_eq!(sent(&mut c, T0), b"x");
}

#[test]
fn three_megabytes_leave_through_512_bytes_though_the_connection_breaks() {
    const LEN: u32 = 3_000_000;
    let source = source();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let config = Config { window: 320, ..Config::default() };
        let mut c = connected(config, 400, 4, &persistent());
        assert!(size_of::<InFlight>() * 4 + 400 + 64 <= 512);
        let mut sink = Sink::default();
        let mut out = [0; 64];
        c.publish_streamed(T0, "big", LEN, qos, false).unwrap();
        // The connection breaks in the middle; a message of QoS 0 is lost, the others start again.
        let before = 1_000_000;
        pump(&mut c, &mut sink, &mut out, &source, before);
        assert!(sink.total >= before && sink.total < before + 1000);
        c.connection_lost(T0);
        c.connect(T0, SERVER, &persistent()).unwrap();
        sent(&mut c, T0);
        fed(&mut c, T0, b"\x20\x02\x01\x00");
        if qos == QoS::AtMostOnce {
            c.publish_streamed(T0, "big", LEN, qos, false).unwrap();
        }
        sink = Sink::default();
        let rest = pump(&mut c, &mut sink, &mut out, &source, usize::MAX);
        assert_eq!((sink.total, sink.left, sink.qos, rest.len()), (LEN as usize, 0, qos, 0));
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => assert_eq!(fed(&mut c, T0, b"\x40\x02\x00\x01"), ["acknowledged #1"]),
            QoS::ExactlyOnce => {
                fed(&mut c, T0, b"\x50\x02\x00\x01");
                assert!(c.slots.kept == 0);
                assert_eq!(sent(&mut c, T0), b"\x62\x02\x00\x01");
                assert_eq!(fed(&mut c, T0, b"\x70\x02\x00\x01"), ["acknowledged #1"]);
            }
        }
        assert_eq!(c.in_flight(), 0);
    }
}

#[test]
fn three_megabytes_arrive_through_no_memory_at_all() {
    const LEN: u32 = 3_000_000;
    let source: Vec<u8> = (0..251 * 64).map(byte).collect();
    for first in [0x30, 0x32, 0x34] {
        let mut c = connected(Config::default(), 64, 2, &persistent());
        let id = (first != 0x30).then(|| id(5));
        let qos = QoS::from_u8((first >> 1) & 3).unwrap();
        let publish = Publish { dup: false, qos, retain: false, topic: "big", id, payload_len: LEN };
        let mut header = [0; 32];
        let mut writer = Writer::new(&mut header);
        publish.encode(&mut writer);
        assert_eq!(fed(&mut c, T0, writer.finish().unwrap()).len(), 1);
        let (mut got, mut ended) = (0_usize, false);
        while !ended {
            let n = source.len().min(c.payload_left() as usize);
            let handled = c.handle_input(T0, Input { peer: SERVER, bytes: &source[..n] }).unwrap();
            let Some(Event::Payload { bytes, last }) = handled.event else { panic!() };
            assert_eq!(bytes, &source[..handled.consumed]);
            got += handled.consumed;
            ended = last;
        }
        assert_eq!(got, LEN as usize);
        let answer: &[u8] = match first {
            0x30 => b"",
            0x32 => b"\x40\x02\x00\x05",
            _ => b"\x50\x02\x00\x05",
        };
        assert_eq!(sent(&mut c, T0), answer);
    }
}

#[test]
fn payload_is_asked_for_window_by_window() {
    let mut c = connected(Config { window: 4, ..Config::default() }, 128, 4, &persistent());
    c.publish_streamed(T0, "a", 6, QoS::AtLeastOnce, false).unwrap();
    c.publish(T0, "b", b"", QoS::AtMostOnce, false).unwrap();
    assert_eq!(c.payload(T0, b"x"), Err(Misuse::WrongState.into()));
    assert_eq!(drain(&mut c, T0), (b"\x32\x0b\x00\x01a\x00\x01".to_vec(), vec!["wanted #1 0+4".into()]));
    assert_eq!(drain(&mut c, T0), (vec![], vec![]), "told once");
    assert_eq!(c.payload(T0, b""), Ok(0));
    assert_eq!(c.payload(T0, b"u"), Ok(1));
    assert_eq!(c.payload(T0, b"x"), Err(Misuse::WrongState.into()));
    assert_eq!(drain(&mut c, T0), (b"u".to_vec(), vec!["wanted #1 1+4".into()]));
    assert_eq!(c.payload(T0, b"vwxyz!"), Ok(4));
    assert_eq!(drain(&mut c, T0), (b"vwxy".to_vec(), vec!["wanted #1 5+1".into()]));
    assert_eq!(c.payload(T0, b"z!"), Ok(1));
    // What was queued behind it follows.
    assert_eq!(drain(&mut c, T0), (b"z\x30\x03\x00\x01b".to_vec(), vec![]));
    // After a reconnect it is asked for again from the start.
    assert_eq!(c.in_flight(), 1);
    c.connection_lost(T0);
    c.connect(T0, SERVER, &persistent()).unwrap();
    sent(&mut c, T0);
    fed(&mut c, T0, b"\x20\x02\x01\x00");
    assert_eq!(drain(&mut c, T0), (b"\x3a\x0b\x00\x01a\x00\x01".to_vec(), vec!["wanted #1 0+4".into()]));
}

#[test]
fn an_empty_payload_is_not_asked_for() {
    let mut c = connected(Config::default(), 128, 4, &persistent());
    c.publish_streamed(T0, "a", 0, QoS::AtMostOnce, true).unwrap();
    assert_eq!(drain(&mut c, T0), (b"\x31\x03\x00\x01a".to_vec(), vec![]));
}

#[test]
fn a_packet_longer_than_any_is_refused() {
    let mut c = connected(Config::default(), 256, 4, &persistent());
    assert_eq!(c.publish_streamed(T0, "a", MAX_REMAINING - 2, QoS::AtMostOnce, false), Err(Misuse::OutOfRange.into()));
    assert_eq!(c.publish_streamed(T0, "a", u32::MAX, QoS::AtMostOnce, false), Err(Misuse::OutOfRange.into()));
    assert_eq!(c.publish_streamed(T0, "a", MAX_REMAINING - 3, QoS::AtMostOnce, false), Ok(None));
}
