//! One publisher, many subscribers, QoS 0: `load PORT SUBSCRIBERS MESSAGES`. Prints messages delivered per second.
//!
//! The publisher is at most a window ahead of the slowest subscriber, so that no broker has a reason to drop any. All
//! messages are alike, so that counting bytes counts messages; the load costs little beside the broker.

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use std::{
    io::{ErrorKind, Read, Write},
    thread::sleep,
    time::{Duration, Instant},
};

const WINDOW: usize = 200;
const TOPIC: &[u8; 20] = b"bench/fanout/0000001";
const PAYLOAD: usize = 64;
const CONNECT: &[u8] = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04";
const MESSAGE: usize = 2 + 2 + TOPIC.len() + PAYLOAD;

fn message() -> Vec<u8> {
    let mut packet = vec![0x30, u8::try_from(MESSAGE - 2).expect("less than 128"), 0, 20];
    packet.extend_from_slice(TOPIC);
    packet.resize(MESSAGE, 7);
    packet
}

/// A connection that is let in.
fn client(port: u16, number: usize) -> std::net::TcpStream {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("a broker");
    stream.set_nodelay(true).expect("TCP");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("TCP");
    stream.write_all(&[CONNECT, format!("f{number:03}").as_bytes()].concat()).expect("CONNECT");
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).expect("CONNACK");
    assert_eq!(connack, [0x20, 2, 0, 0]);
    stream
}

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|number| number.parse().ok()).collect();
    let [port, subscribers, messages] = numbers[..] else { panic!("load PORT SUBSCRIBERS MESSAGES") };
    let port = u16::try_from(port).expect("a port");
    let mut poll = Poll::new().expect("epoll");
    let mut streams = Vec::new();
    for n in 0..subscribers {
        let mut stream = client(port, n);
        let mut subscribe = vec![0x82, 25, 0, 1, 0, 20];
        subscribe.extend_from_slice(TOPIC);
        subscribe.push(0);
        stream.write_all(&subscribe).expect("SUBSCRIBE");
        let mut suback = [0; 5];
        stream.read_exact(&mut suback).expect("SUBACK");
        assert_eq!(suback, [0x90, 3, 0, 1, 0]);
        stream.set_nonblocking(true).expect("TCP");
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(n), Interest::READABLE).expect("epoll");
        streams.push((stream, 0_usize));
    }
    let mut publisher = client(port, subscribers);
    sleep(Duration::from_millis(100));
    let burst = message().repeat(WINDOW / 4);
    let mut events = Events::with_capacity(1_024);
    let mut buffer = vec![0; 256 << 10];
    let (mut sent, start) = (0, Instant::now());
    loop {
        let slowest = streams.iter().map(|(_, bytes)| bytes / MESSAGE).min().unwrap_or(0);
        if slowest >= messages {
            break;
        }
        while sent < messages && sent + WINDOW / 4 <= slowest + WINDOW {
            publisher.write_all(&burst).expect("PUBLISH");
            sent += WINDOW / 4;
        }
        poll.poll(&mut events, Some(Duration::from_secs(20))).expect("epoll");
        assert!(!events.is_empty(), "{slowest} of {sent} messages came, then nothing for 20 seconds");
        for event in &events {
            let (stream, bytes) = &mut streams[event.token().0];
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => panic!("the broker closed a subscriber's connection"),
                    Ok(n) => *bytes += n,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(e) => panic!("{e}"),
                }
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = (messages * subscribers) as f64 / start.elapsed().as_secs_f64();
    println!("{rate:.0}");
}
