//! Load on a CoAP server: `load PORT SECONDS` asks for `/bench` from many sockets, each with some CON requests under way, and
//! prints how many right answers came a second. Every answer is looked at: type, code, message ID, token, payload.

use std::{
    env,
    io::ErrorKind,
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

/// Clients, and requests that each has under way. More sockets than a server's table of duplicates has places, in sum.
const SOCKETS: usize = 64;
const UNDER_WAY: u16 = 4;
/// Where fewer answers have come, the next requests wait a moment.
const BURST: u64 = 128;
/// A request that is not answered within this is asked again under another message ID.
const PATIENCE: Duration = Duration::from_millis(200);

struct Client {
    socket: UdpSocket,
    next: u16,
    /// Message IDs under way, and when they were sent.
    out: Vec<(u16, Instant)>,
}

impl Client {
    fn ask(&mut self, now: Instant) {
        let [high, low] = self.next.to_be_bytes();
        let request = [0x44, 1, high, low, high, low, 0xA5, 0x5A, 0xB5, b'b', b'e', b'n', b'c', b'h'];
        // A full buffer is as good as loss.
        let _ = self.socket.send(&request);
        self.out.push((self.next, now));
        self.next = self.next.wrapping_add(1);
    }

    /// Whether these are the answer to a request that is under way.
    fn is_answer(&mut self, bytes: &[u8]) -> bool {
        let &[0x64, 0x45, high, low, t0, t1, 0xA5, 0x5A, ref rest @ ..] = bytes else { return false };
        let id = u16::from_be_bytes([high, low]);
        let Some(place) = self.out.iter().position(|(known, _)| *known == id) else { return false };
        self.out.swap_remove(place);
        [t0, t1] == [high, low] && rest.ends_with(&[b'x'; 64])
    }
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let [_, port, seconds] = &arguments[..] else { panic!("load PORT SECONDS") };
    let port: u16 = port.parse().expect("a port");
    let seconds: f64 = seconds.parse().expect("a number of seconds");
    let mut clients: Vec<_> = (0..SOCKETS)
        .map(|n| {
            let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
            socket.connect(("127.0.0.1", port)).unwrap();
            socket.set_nonblocking(true).unwrap();
            Client { socket, next: (n as u16).wrapping_mul(1021), out: Vec::new() }
        })
        .collect();
    let began = Instant::now();
    // The first tenth does not count.
    let (warm, end) = (Duration::from_secs_f64(seconds / 10.0), Duration::from_secs_f64(seconds * 1.1));
    let (mut answers, mut counted) = (0_u64, 0_u64);
    let mut bytes = [0; 2048];
    loop {
        let now = Instant::now();
        let elapsed = now - began;
        if elapsed >= end {
            break;
        }
        let before = answers;
        for client in &mut clients {
            loop {
                match client.socket.recv(&mut bytes) {
                    Ok(len) => answers += u64::from(client.is_answer(&bytes[..len])),
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => panic!("{e}"),
                }
            }
            client.out.retain(|(_, at)| now - *at < PATIENCE);
            while client.out.len() < usize::from(UNDER_WAY) {
                client.ask(now);
            }
        }
        if elapsed < warm {
            counted = answers;
        }
        // Whoever answers fast is not to be woken for every single datagram: they come in bursts.
        if answers - before < BURST {
            thread::sleep(Duration::from_micros(100));
        }
    }
    println!("{:.0}", (answers - counted) as f64 / (end - warm).as_secs_f64());
}
