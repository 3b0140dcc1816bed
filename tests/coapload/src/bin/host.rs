//! waft's endpoint as a server on UDP, in one thread: `host PORT` serves 64 bytes at `/bench`. The smallest program that
//! does it: one datagram a system call, all checks on, duplicates detected.

use std::{
    collections::HashMap,
    env,
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    time,
};
use waft::{
    Input, Instant, Output, Peer,
    coap::{Code, Config, Endpoint, Event, Opt, Reply, Resources, option},
};

/// Addresses of peers by number and back. It forgets all when it is full: then nobody has waited for long.
#[derive(Default)]
struct Peers {
    numbers: HashMap<SocketAddr, u32>,
    addresses: Vec<SocketAddr>,
    /// The last of them, which the next is likely to be.
    last: Option<(SocketAddr, u32)>,
}

impl Peers {
    const MOST: usize = 65_536;

    fn number(&mut self, address: SocketAddr) -> Peer {
        if let Some((known, number)) = self.last
            && known == address
        {
            return Peer(number);
        }
        if self.addresses.len() >= Self::MOST {
            *self = Self::default();
        }
        let next = self.addresses.len() as u32;
        let number = *self.numbers.entry(address).or_insert(next);
        if number == next {
            self.addresses.push(address);
        }
        self.last = Some((address, number));
        Peer(number)
    }
}

fn main() {
    let port: u16 = env::args().nth(1).and_then(|port| port.parse().ok()).expect("host PORT");
    let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let resources = Resources::owned(1 << 13, 4, 8, 64, 16);
    let seed = time::SystemTime::now().duration_since(time::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let mut endpoint = Endpoint::new(Config::DEFAULT, seed, resources);
    let mut peers = Peers::default();
    let began = time::Instant::now();
    let body = [b'x'; 64];
    let text = [Opt { number: option::CONTENT_FORMAT, value: b"" }];
    let content = Reply { options: &text, ..Reply::new(Code::CONTENT, &body) };
    let (mut rx, mut tx) = ([0; 2048], [0; 2048]);
    let mut waits = false;
    loop {
        let now = Instant::from_micros(began.elapsed().as_micros() as u64);
        let deadline = loop {
            match endpoint.poll_output(now, &mut tx) {
                Output::Transmit { peer: Peer(peer), bytes } => {
                    // What cannot be sent is as good as lost.
                    let _ = socket.send_to(bytes, peers.addresses[peer as usize]);
                }
                Output::Timeout(at) => break at,
                _ => {}
            }
        };
        let wait = deadline.map(|at| time::Duration::from_micros(at.since(now).as_micros().max(1)));
        // A system call, where there is another time to wait for.
        if wait.is_some() || waits {
            socket.set_read_timeout(wait).unwrap();
            waits = wait.is_some();
        }
        let (len, address) = match socket.recv_from(&mut rx) {
            Ok(came) => came,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                continue;
            }
            Err(e) => panic!("{e}"),
        };
        let now = Instant::from_micros(began.elapsed().as_micros() as u64);
        let peer = peers.number(address);
        let Ok(handled) = endpoint.handle_input(now, Input { peer, bytes: &rx[..len] });
        if let Some(Event::Request { id, code, options, .. }) = handled.event {
            let reply = match (options.path_is("/bench"), code) {
                (true, Code::GET) => content,
                (true, _) => Reply::new(Code::METHOD_NOT_ALLOWED, b""),
                (false, _) => Reply::new(Code::NOT_FOUND, b""),
            };
            // Without room the request is as good as lost, and comes again.
            let _ = endpoint.respond(now, &id, &reply);
        }
    }
}
