//! Sockets: a thread for each that reads, and one place where all that arrives is waited for.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream, ToSocketAddrs, UdpSocket},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use waft::{Peer, agent::Link};

/// The most bytes that are read of a stream at once.
pub const READ: usize = 4096;

pub enum Arrived {
    Stream(Vec<u8>),
    Datagram(Vec<u8>),
    /// The stream ended.
    End,
}

pub struct Sockets {
    tcp: Option<(Peer, TcpStream)>,
    udp: HashMap<Peer, Arc<UdpSocket>>,
    peers: u32,
    /// Bounded: a reader waits when the agent is busy, and so, in the end, does the broker.
    sender: SyncSender<(Peer, Arrived)>,
    receiver: Receiver<(Peer, Arrived)>,
}

impl Sockets {
    pub fn new() -> Self {
        let (sender, receiver) = sync_channel(4);
        Self { tcp: None, udp: HashMap::new(), peers: 0, sender, receiver }
    }

    /// The broker's stream.
    pub fn stream(&self) -> Option<Peer> {
        self.tcp.as_ref().map(|(peer, _)| *peer)
    }

    /// The next thing that arrives on a socket that is still open.
    pub fn wait(&self, limit: Duration) -> Option<(Peer, Arrived)> {
        let (peer, arrived) = self.receiver.recv_timeout(limit).ok()?;
        (self.stream() == Some(peer) || self.udp.contains_key(&peer)).then_some((peer, arrived))
    }

    pub fn open(&mut self, link: Link, host: &str, port: u16) -> io::Result<Peer> {
        let peer = Peer(self.peers);
        self.peers += 1;
        let address = (host, port).to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
        let sender = self.sender.clone();
        if link == Link::Broker {
            let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
            stream.set_nodelay(true)?;
            let mut reader = stream.try_clone()?;
            thread::spawn(move || {
                let mut buf = [0; READ];
                loop {
                    let (arrived, ended) = match reader.read(&mut buf) {
                        Ok(0) | Err(_) => (Arrived::End, true),
                        Ok(n) => (Arrived::Stream(buf[..n].to_vec()), false),
                    };
                    if sender.send((peer, arrived)).is_err() || ended {
                        break;
                    }
                }
            });
            self.tcp = Some((peer, stream));
        } else {
            let socket = UdpSocket::bind(if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" })?;
            socket.connect(address)?;
            socket.set_read_timeout(Some(Duration::from_millis(200)))?;
            let socket = Arc::new(socket);
            let reader = Arc::downgrade(&socket);
            thread::spawn(move || {
                let mut buf = [0; 2048];
                while let Some(socket) = reader.upgrade() {
                    // An ICMP error shows up here; the agent's own time-outs deal with a peer that is gone.
                    if let Ok(n) = socket.recv(&mut buf)
                        && sender.send((peer, Arrived::Datagram(buf[..n].to_vec()))).is_err()
                    {
                        break;
                    }
                }
            });
            self.udp.insert(peer, socket);
        }
        Ok(peer)
    }

    /// Sends. A datagram that cannot be sent is a lost one; a stream that cannot be written to ends for its reader too.
    pub fn send(&mut self, peer: Peer, bytes: &[u8]) {
        let sent = match (&mut self.tcp, self.udp.get(&peer)) {
            (Some((at, stream)), _) if *at == peer => stream.write_all(bytes),
            (_, Some(socket)) => socket.send(bytes).map(|_| ()),
            _ => Ok(()),
        };
        drop(sent);
    }

    pub fn close(&mut self, peer: Peer) {
        if let Some((_, stream)) = self.tcp.take_if(|(at, _)| *at == peer) {
            drop(stream.shutdown(Shutdown::Both));
        }
        self.udp.remove(&peer);
    }

    pub fn close_all(&mut self) {
        self.udp.clear();
        if let Some(peer) = self.stream() {
            self.close(peer);
        }
    }
}
