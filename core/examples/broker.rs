//! A broker with rights and a state file: `cargo run -p waft --all-features --example broker 127.0.0.1:1883 ACL STATE`
//!
//! A thread for each connection reads; everything else happens in one. A client that lets a write wait for a second is
//! cut off; a host that can poll its sockets would call `pause` instead.
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, read, read_to_string, rename};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{ErrorKind, Read, Result as IoResult, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant as Clock};
use std::{env, error::Error, thread};
use waft::mqtt::broker::{Acl, Broker, BrokerConfig, Event};
use waft::{Input, Instant, Output, Peer};

/// What the other threads tell. No bytes: the connection is gone.
enum Said {
    Opened(Peer, TcpStream),
    Bytes(Peer, Vec<u8>),
}

/// Hands in what a connection reads.
fn listen(peer: Peer, mut stream: TcpStream, tell: &mpsc::SyncSender<Said>) {
    let mut bytes = [0; 4096];
    loop {
        let n = stream.read(&mut bytes).unwrap_or(0);
        if tell.send(Said::Bytes(peer, bytes[..n].to_vec())).is_err() || n == 0 {
            return;
        }
    }
}

/// Puts a file with these contents in the place of the one there is, or leaves that.
fn replace(path: &str, pieces: &[impl AsRef<[u8]>]) -> IoResult<File> {
    let new = format!("{path}.new");
    let mut file = File::create(&new)?;
    pieces.iter().try_for_each(|piece| file.write_all(piece.as_ref()))?;
    file.sync_all()?;
    rename(new, path)?;
    OpenOptions::new().append(true).open(path)
}

/// The state that there was, and the file to go on with.
fn restore(broker: &mut Broker, now: Instant, path: &str) -> Result<File, Box<dyn Error>> {
    let was = read(path).or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(Vec::new()) } else { Err(e) })?;
    broker.restore(now, &was)?;
    let file = replace(path, &broker.compact()?)?;
    broker.recorded(now)?;
    Ok(file)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().collect();
    let [_, address, acl, state] = &arguments[..] else { return Err("broker HOST:PORT ACL STATE".into()) };
    let (started, seed) = (Clock::now(), RandomState::new().build_hasher().finish());
    let now = || Instant::from_micros(started.elapsed().as_micros() as u64);

    let acl = Some(Arc::new(Acl::parse(&read_to_string(acl)?)?));
    let mut broker = Broker::new(BrokerConfig { acl, persistent: true, ..BrokerConfig::default() }, seed);
    let mut file = restore(&mut broker, now(), state)?;

    let listener = TcpListener::bind(address)?;
    println!("MQTT broker on {}", listener.local_addr()?);
    let (tell, said) = mpsc::sync_channel(64);
    thread::spawn(move || {
        for (peer, stream) in (0..).map(Peer).zip(listener.incoming().flatten()) {
            let (Ok(reader), tell_too) = (stream.try_clone(), tell.clone()) else { continue };
            if tell.send(Said::Opened(peer, stream)).is_ok() {
                thread::spawn(move || listen(peer, reader, &tell_too));
            }
        }
    });

    // Sockets, and what came over them and was not taken yet.
    let (mut connections, mut out) = (BTreeMap::<Peer, (TcpStream, Vec<u8>)>::new(), [0; 4096]);
    loop {
        let mut busy = true;
        while busy {
            busy = false;
            for (peer, (_, rx)) in &mut connections {
                while let Ok(handled) = broker.handle_input(now(), Input { peer: *peer, bytes: rx })
                    && handled.consumed != 0
                {
                    rx.drain(..handled.consumed);
                    busy = true;
                }
            }
            loop {
                match broker.poll_output(now(), &mut out) {
                    Output::Timeout(_) => break,
                    Output::Transmit { peer, bytes } => {
                        let written = connections.get_mut(&peer).map(|(stream, _)| stream.write_all(bytes));
                        if matches!(written, Some(Err(_))) {
                            connections.remove(&peer).map(|(stream, _)| stream.shutdown(Shutdown::Both));
                            broker.connection_lost(now(), peer);
                        }
                    }
                    Output::Event(Event::Record { bytes }) => {
                        file.write_all(&bytes)?;
                        file.sync_data()?;
                        broker.recorded(now())?;
                    }
                    Output::Event(Event::Close { peer, reason }) => {
                        println!("{} closed: {} ({})", peer.0, reason.name(), reason.code());
                        connections.remove(&peer).map(|(stream, _)| stream.shutdown(Shutdown::Both));
                    }
                    _ => {}
                }
                busy = true;
            }
        }
        let wait = broker.next_timeout().map_or(u64::MAX, |at| at.as_micros().saturating_sub(now().as_micros()));
        match said.recv_timeout(Duration::from_micros(wait.min(60_000_000))) {
            Ok(Said::Opened(peer, stream)) => {
                stream.set_write_timeout(Some(Duration::from_secs(1)))?;
                match broker.accept(now(), peer) {
                    Ok(()) => drop(connections.insert(peer, (stream, Vec::new()))),
                    Err(_) => stream.shutdown(Shutdown::Both)?,
                }
            }
            Ok(Said::Bytes(peer, bytes)) if bytes.is_empty() => {
                connections.remove(&peer);
                broker.connection_lost(now(), peer);
            }
            Ok(Said::Bytes(peer, bytes)) => {
                if let Some((stream, rx)) = connections.get_mut(&peer) {
                    rx.extend(bytes);
                    if rx.len() > 1 << 20 {
                        stream.shutdown(Shutdown::Both)?; // it sends on and on, and reads no answer
                    }
                }
            }
            Err(_) => broker.handle_timeout(now()),
        }
    }
}
