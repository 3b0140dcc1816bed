//! Our broker on a TCP port: one thread that owns the machine, and one for each connection that reads.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    thread,
    time::{Duration, Instant as Clock},
};
use waft::{
    Input, Instant, Output, Peer,
    mqtt::broker::{Broker, BrokerConfig, Event, Stats},
};

enum Happening {
    Accepted(TcpStream),
    Bytes(Peer, Vec<u8>),
    End(Peer),
    Cut,
    Mute(bool),
    Ask(Sender<Stats>),
    Stop,
}

/// A broker that listens on a free port of the loopback, until it is dropped.
pub struct Server {
    /// Where.
    pub address: SocketAddr,
    happenings: SyncSender<Happening>,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// What the socket says.
    pub fn start(config: BrokerConfig) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        // Bounded: readers wait when the broker is busy, and so do the clients.
        let (happenings, receiver) = sync_channel(64);
        let sender = happenings.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if sender.send(Happening::Accepted(stream)).is_err() {
                    return;
                }
            }
        });
        let sender = happenings.clone();
        thread::spawn(move || Host::new(config, sender).run(&receiver));
        Ok(Self { address, happenings })
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        drop(self.happenings.send(Happening::Cut));
    }

    /// Whatever is sent to the clients gets lost while this holds.
    pub fn mute(&self, yes: bool) {
        drop(self.happenings.send(Happening::Mute(yes)));
    }

    /// What the broker holds and has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (sender, receiver) = channel();
        drop(self.happenings.send(Happening::Ask(sender)));
        receiver.recv().unwrap_or_default()
    }

    /// Until the broker's state is as `check` wants it; whether that came.
    pub fn wait(&self, check: impl Fn(&Stats) -> bool) -> bool {
        let end = Clock::now() + crate::link::PATIENCE;
        while !check(&self.stats()) {
            if Clock::now() > end {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.happenings.send(Happening::Stop));
        // Ends the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

struct Host {
    broker: Broker,
    streams: HashMap<Peer, (TcpStream, Vec<u8>)>,
    sender: SyncSender<Happening>,
    start: Clock,
    next: u32,
    mute: bool,
}

impl Host {
    fn new(config: BrokerConfig, sender: SyncSender<Happening>) -> Self {
        let broker = Broker::new(config, 1);
        Self { broker, streams: HashMap::new(), sender, start: Clock::now(), next: 0, mute: false }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.start.elapsed().as_micros() as u64)
    }

    fn run(mut self, receiver: &Receiver<Happening>) {
        loop {
            let limit = self.drain();
            match receiver.recv_timeout(limit) {
                Ok(Happening::Accepted(stream)) => self.accepted(stream),
                Ok(Happening::Bytes(peer, bytes)) => self.bytes(peer, &bytes),
                Ok(Happening::End(peer)) => self.end(peer),
                Ok(Happening::Cut) => {
                    for peer in self.streams.keys().copied().collect::<Vec<_>>() {
                        self.end(peer);
                    }
                }
                Ok(Happening::Mute(yes)) => self.mute = yes,
                Ok(Happening::Ask(answer)) => drop(answer.send(self.broker.stats())),
                Err(RecvTimeoutError::Timeout) => {
                    let now = self.now();
                    self.broker.handle_timeout(now);
                }
                Ok(Happening::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn accepted(&mut self, stream: TcpStream) {
        let peer = Peer(self.next);
        self.next += 1;
        let now = self.now();
        let (Ok(mut reader), Ok(())) = (stream.try_clone(), self.broker.accept(now, peer)) else { return };
        drop(stream.set_nodelay(true));
        drop(stream.set_write_timeout(Some(Duration::from_secs(5))));
        self.streams.insert(peer, (stream, Vec::new()));
        let sender = self.sender.clone();
        thread::spawn(move || {
            let mut bytes = [0; 16_384];
            loop {
                match reader.read(&mut bytes) {
                    Ok(0) | Err(_) => return drop(sender.send(Happening::End(peer))),
                    Ok(len) if sender.send(Happening::Bytes(peer, bytes[..len].to_vec())).is_err() => return,
                    Ok(_) => {}
                }
            }
        });
    }

    fn bytes(&mut self, peer: Peer, bytes: &[u8]) {
        let now = self.now();
        let Some((_, rest)) = self.streams.get_mut(&peer) else { return };
        rest.extend_from_slice(bytes);
        let mut taken = 0;
        // An error comes as `Event::Close` too.
        while let Ok(handled) = self.broker.handle_input(now, Input { peer, bytes: &rest[taken..] }) {
            taken += handled.consumed;
            if handled.consumed == 0 || taken == rest.len() {
                break;
            }
        }
        rest.drain(..taken);
    }

    fn end(&mut self, peer: Peer) {
        if let Some((stream, _)) = self.streams.remove(&peer) {
            drop(stream.shutdown(Shutdown::Both));
            let now = self.now();
            self.broker.connection_lost(now, peer);
        }
    }

    /// Sends what is to be sent; gives how long there is nothing to do.
    fn drain(&mut self) -> Duration {
        let mut out = [0; 16_384];
        loop {
            let now = self.now();
            match self.broker.poll_output(now, &mut out) {
                Output::Transmit { peer, bytes } => {
                    if let Some((stream, _)) = self.streams.get_mut(&peer)
                        && !self.mute
                    {
                        // A stream that breaks ends for its reader too.
                        drop(stream.write_all(bytes));
                    }
                }
                Output::Event(Event::Close { peer, .. }) => {
                    if let Some((stream, _)) = self.streams.remove(&peer) {
                        drop(stream.shutdown(Shutdown::Both));
                    }
                }
                Output::Event(_) => {}
                Output::BufferTooSmall { .. } => return Duration::ZERO,
                Output::Timeout(at) => {
                    let long = Duration::from_secs(60);
                    let until = |at: Instant| Duration::from_micros(at.as_micros().saturating_sub(now.as_micros()));
                    return at.map_or(long, until).min(long);
                }
            }
        }
    }
}
