//! Serves a file at `/fw`, block by block and to those who observe it, and takes a new one by PUT:
//! `cargo run -p waft --example serve HOST PORT FILE`
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions, rename};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant as Clock};
use std::{env, error::Error, io};
use waft::coap::link_format::{self, Entry};
use waft::coap::option::{CONTENT_FORMAT, ETAG, URI_QUERY};
use waft::coap::{Body, Code, Condition, Config, ETag, Endpoint, Event, Opt, Reply, Resource, Resources};
use waft::{Input, Instant, Output, Peer};

const FIRMWARE: Resource = Resource(0);
/// Bytes that there is room for.
const SLOT: u64 = 1 << 21;
const LINK_FORMAT: Opt<'_> = Opt { number: CONTENT_FORMAT, value: &[40] };
const OCTETS: Opt<'_> = Opt { number: CONTENT_FORMAT, value: &[42] };

/// Addresses by number, of the last 1024 that were new. A number is given once: what is for one who is forgotten goes to nobody.
#[derive(Default)]
struct Peers(VecDeque<(Peer, SocketAddr)>);

impl Peers {
    fn number(&mut self, address: SocketAddr) -> Peer {
        if let Some((peer, _)) = self.0.iter().find(|(_, known)| *known == address) {
            return *peer;
        }
        let peer = self.0.back().map_or(Peer(0), |(newest, _)| Peer(newest.0.wrapping_add(1)));
        self.0.push_back((peer, address));
        if self.0.len() > 1024 {
            self.0.pop_front();
        }
        peer
    }
}

struct Server {
    name: String,
    /// The version of the file: none where there is no file.
    etag: Option<ETag>,
    /// Who puts a new one, and how much of it is here.
    sender: Option<Peer>,
    stored: u64,
}

impl Server {
    /// The file is another one now: what tells its version from all others.
    fn read(&mut self) -> io::Result<()> {
        let (mut hash, mut bytes) = (Sha256::new(), [0; 4096]);
        let Ok(mut file) = File::open(&self.name) else { return Ok(()) };
        while let n @ 1.. = io::Read::read(&mut file, &mut bytes)? {
            hash.update(&bytes[..n]);
        }
        self.etag = ETag::new(&hash.finalize()[..8]);
        Ok(())
    }

    /// These bytes of the file, as the part of a body that is asked for.
    fn part<'b>(&self, (offset, len): (u32, u32), bytes: &'b mut Vec<u8>) -> io::Result<Body<'b>> {
        let file = File::open(&self.name)?;
        let total = file.metadata()?.len().min(u64::from(u32::MAX)) as u32;
        bytes.resize(total.saturating_sub(offset).min(len) as usize, 0);
        file.read_exact_at(bytes, offset.into())?;
        Ok(Body::Part { offset, bytes, total })
    }

    /// A block of a new file. It goes to where it belongs, and takes the old one's place when it is whole.
    fn put(&mut self, peer: Peer, offset: u32, payload: &[u8], more: bool) -> io::Result<Code> {
        let (offset, end) = (u64::from(offset), u64::from(offset) + payload.len() as u64);
        if offset == 0 {
            (self.sender, self.stored) = (Some(peer), 0);
        }
        if self.sender != Some(peer) || offset > self.stored {
            return Ok(Code::REQUEST_ENTITY_INCOMPLETE);
        }
        if end > SLOT {
            return Ok(Code::REQUEST_ENTITY_TOO_LARGE);
        }
        let new = format!("{}.new", self.name);
        let file = OpenOptions::new().write(true).create(true).truncate(offset == 0).open(&new)?;
        file.write_all_at(payload, offset)?;
        self.stored = end;
        if more {
            return Ok(Code::CONTINUE);
        }
        file.set_len(end)?;
        file.sync_all()?;
        rename(new, &self.name)?;
        let existed = self.etag.is_some();
        self.sender = None;
        self.read()?;
        println!("{end} bytes stored");
        Ok(if existed { Code::CHANGED } else { Code::CREATED })
    }

    /// What the endpoint tells.
    fn told(&mut self, endpoint: &mut Endpoint<'_>, now: Instant, event: &Event<'_>) -> io::Result<()> {
        let Event::Request { id, code: method, options, payload, offset, more } = *event else { return Ok(()) };
        let (is_file, is_core) = (options.path_is("/fw"), options.path_is("/.well-known/core"));
        let condition = options.condition(method, self.etag.is_some(), self.etag);
        let (wanted, mut links, mut bytes) = (id.wanted(), [0; 64], Vec::new());
        let (mut code, mut body) = (Code::METHOD_NOT_ALLOWED, Body::Whole(&[]));
        match method {
            Code::GET if is_core => {
                let fw = Entry { target: "/fw", attributes: &[("rt", "firmware"), ("ct", "42"), ("obs", "")] };
                let filter = options.get(URI_QUERY).and_then(|query| str::from_utf8(query).ok());
                body = Body::Whole(link_format::write(&mut links, [fw], filter).unwrap_or("").as_bytes());
                code = Code::CONTENT;
            }
            Code::GET | Code::PUT if is_file && condition == Condition::Failed => code = Code::PRECONDITION_FAILED,
            Code::GET if is_file && condition == Condition::Valid => code = Code::VALID,
            Code::GET if is_file && self.etag.is_some() => {
                code = Code::CONTENT;
                body = self.part(wanted, &mut bytes)?;
            }
            Code::PUT if is_file => code = self.put(id.peer(), offset, payload, more)?,
            _ if method == Code::GET || !(is_file || is_core) => code = Code::NOT_FOUND,
            _ => {}
        }
        let etag = self.etag;
        let version = etag.as_ref().map(|etag| Opt { number: ETAG, value: etag.as_bytes() });
        let described: Vec<_> = version.into_iter().chain([OCTETS]).collect();
        let options = match code {
            Code::CONTENT if is_core => &[LINK_FORMAT][..],
            Code::CONTENT => &described,
            Code::VALID => &described[..1],
            _ => &[],
        };
        let observe = is_file.then_some(FIRMWARE);
        let _ = endpoint.respond(now, &id, &Reply { options, body, observe, ..Reply::new(code, &[]) });
        if matches!(code, Code::CREATED | Code::CHANGED) {
            let body = self.part((0, 1024), &mut bytes)?;
            let _ =
                endpoint.notify(now, FIRMWARE, &Reply { options: &described, body, ..Reply::new(Code::CONTENT, &[]) });
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().collect();
    let [_, host, port, name] = &arguments[..] else { return Err("serve HOST PORT FILE".into()) };
    let udp = UdpSocket::bind((host.as_str(), port.parse()?))?;
    let (started, seed) = (Clock::now(), RandomState::new().build_hasher().finish());
    let now = || Instant::from_micros(started.elapsed().as_micros() as u64);
    let mut endpoint = Endpoint::new(Config::DEFAULT, seed, Resources::owned(65536, 1, 20, 64, 16));
    let mut server = Server { name: name.clone(), etag: None, sender: None, stored: 0 };
    let mut peers = Peers::default();
    server.read()?;
    println!("CoAP server on {}", udp.local_addr()?);
    let (mut out, mut datagram) = ([0; 1152], [0; 2048]);
    loop {
        let deadline = loop {
            match endpoint.poll_output(now(), &mut out) {
                Output::Transmit { peer, bytes } => {
                    if let Some((_, address)) = peers.0.iter().find(|(number, _)| *number == peer) {
                        drop(udp.send_to(bytes, address));
                    }
                }
                Output::Timeout(at) => break at,
                _ => {}
            }
        };
        let wait = deadline.map(|at| at.as_micros().saturating_sub(now().as_micros()).max(1));
        udp.set_read_timeout(wait.map(Duration::from_micros))?;
        let Ok((n, address)) = udp.recv_from(&mut datagram) else {
            endpoint.handle_timeout(now());
            continue;
        };
        let Ok(handled) = endpoint.handle_input(now(), Input { peer: peers.number(address), bytes: &datagram[..n] });
        if let Some(event) = handled.event {
            server.told(&mut endpoint, now(), &event)?;
        }
    }
}
