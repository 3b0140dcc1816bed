//! waft's broker on TCP, in one thread: `host PORT`. The smallest program that serves it well.

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    time,
};
use waft::{
    Input, Instant, Output, Peer,
    mqtt::broker::{Broker, BrokerConfig, Event},
};

const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    /// Received, not taken yet.
    rx: Vec<u8>,
    /// What the stream would not take; the broker sends nothing more until it has gone.
    tx: Vec<u8>,
    readable: bool,
}

impl Connection {
    /// Writes what it can and keeps the rest; whether there is one.
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.tx.extend_from_slice(bytes);
        let mut done = 0;
        while done < self.tx.len() {
            match self.stream.write(&self.tx[done..]) {
                Ok(n) => done += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // Where it is broken, reading says so.
                Err(_) => break,
            }
        }
        self.tx.drain(..done);
        !self.tx.is_empty()
    }
}

fn main() -> std::io::Result<()> {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("host PORT");
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(([127, 0, 0, 1], port).into())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let start = time::Instant::now();
    let now = || Instant::from_micros(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
    let mut broker = Broker::new(BrokerConfig::default(), std::process::id().into());
    let mut connections: HashMap<u32, Connection> = HashMap::new();
    let mut last = 0_u32;
    let mut events = Events::with_capacity(1_024);
    let (mut input, mut out) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut wait = None;
    loop {
        poll.poll(&mut events, wait)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    last = last.wrapping_add(1);
                    stream.set_nodelay(true)?;
                    if broker.accept(now(), Peer(last)).is_ok() {
                        let interest = Interest::READABLE | Interest::WRITABLE;
                        poll.registry().register(&mut stream, Token(last as usize), interest)?;
                        let (rx, tx) = (Vec::new(), Vec::new());
                        connections.insert(last, Connection { stream, rx, tx, readable: false });
                    }
                }
                continue;
            }
            let peer = u32::try_from(event.token().0).expect("a peer's number");
            let Some(connection) = connections.get_mut(&peer) else { continue };
            connection.readable |= event.is_readable();
            if event.is_writable() && !connection.tx.is_empty() && !connection.write(&[]) {
                broker.resume(Peer(peer));
            }
        }
        broker.handle_timeout(now());
        let mut gone = Vec::new();
        for (&peer, connection) in &mut connections {
            if !connection.readable && connection.rx.is_empty() {
                continue;
            }
            if connection.readable && connection.rx.len() < 1 << 20 {
                match connection.stream.read(&mut input) {
                    Ok(0) => gone.push(peer),
                    Ok(n) => connection.rx.extend_from_slice(&input[..n]),
                    Err(e) if e.kind() == ErrorKind::WouldBlock => connection.readable = false,
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(_) => gone.push(peer),
                }
            }
            let mut taken = 0;
            while taken < connection.rx.len() {
                match broker.handle_input(now(), Input { peer: Peer(peer), bytes: &connection.rx[taken..] }) {
                    Ok(handled) if handled.consumed == 0 => break,
                    Ok(handled) => taken += handled.consumed,
                    Err(_) => taken = connection.rx.len(),
                }
            }
            connection.rx.drain(..taken);
        }
        for peer in gone {
            connections.remove(&peer);
            broker.connection_lost(now(), Peer(peer));
        }
        let mut sent = false;
        let next = loop {
            match broker.poll_output(now(), &mut out) {
                Output::Transmit { peer, bytes } => {
                    sent = true;
                    if connections.get_mut(&peer.0).is_some_and(|connection| connection.write(bytes)) {
                        broker.pause(peer);
                    }
                }
                Output::Event(Event::Close { peer, .. }) => drop(connections.remove(&peer.0)),
                Output::Event(_) | Output::BufferTooSmall { .. } => {}
                Output::Timeout(at) => break at,
            }
        };
        // What it would not take before acknowledgements had left, it may now.
        let busy = connections.values().any(|connection| connection.readable || sent && !connection.rx.is_empty());
        let deadline = next.map(|at| time::Duration::from_micros(at.as_micros().saturating_sub(now().as_micros())));
        wait = if busy { Some(time::Duration::ZERO) } else { deadline };
    }
}
