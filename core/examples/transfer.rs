//! Gets a file from any CoAP server by a window of plain Block2 requests, or puts one there by Block1, over however many kills:
//! `cargo run -p waft --example transfer get|put HOST PORT PATH FILE`
use std::fs::{File, OpenOptions, read, remove_file, rename};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{ErrorKind, Write};
use std::net::UdpSocket;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant as Clock};
use std::{env, error::Error};
use waft::coap::{Code, Config, ETag, Endpoint, Event, Failure, Request, Resources};
use waft::{Input, Instant, Output, Peer};

type Done<T> = Result<T, Box<dyn Error>>;
const SERVER: Peer = Peer(0);
/// Bytes of the smallest block.
const UNIT: usize = 16;
const UNKNOWN: u32 = u32::MAX;
/// So many blocks may have to be fetched again after a kill.
const SAVED_AFTER: u32 = 64;

struct Transfer {
    endpoint: Endpoint<'static>,
    started: Clock,
    put: bool,
    path: String,
    name: String,
    /// The file, or the part of it that is here.
    part: File,
    /// Of a file that is fetched, in `FILE.note`: what it is, its version and length, and a bit for each 16 bytes that are here.
    of: String,
    etag: Option<ETag>,
    total: u32,
    have: Vec<u8>,
    unsaved: u32,
    tries: u32,
}

impl Transfer {
    fn now(&self) -> Instant {
        Instant::from_micros(self.started.elapsed().as_micros() as u64)
    }

    fn has(&self, unit: usize) -> bool {
        self.have.get(unit / 8).is_some_and(|bits| bits >> (unit % 8) & 1 != 0)
    }

    /// What of the file is here, from a run before.
    fn remember(&mut self, note: &[u8]) -> Option<()> {
        let (etag_len, rest) = note.strip_prefix(self.of.as_bytes())?.split_first()?;
        let (etag, rest) = rest.split_at_checked(8)?;
        let (total, have) = rest.split_first_chunk()?;
        self.etag = Some(ETag::new(etag.get(..usize::from(*etag_len))?)?);
        (self.total, self.have) = (u32::from_be_bytes(*total), have.to_vec());
        Some(())
    }

    /// What of the file is safe: not noted before it is.
    fn save(&mut self) -> Done<()> {
        self.unsaved = 0;
        self.part.sync_data()?;
        if let Some(etag) = self.etag {
            let mut note = File::create(format!("{}.note.new", self.name))?;
            let (mut padded, etag) = ([0; 8], etag.as_bytes());
            padded[..etag.len()].copy_from_slice(etag);
            let head = [self.of.as_bytes(), &[etag.len() as u8], &padded, &self.total.to_be_bytes()].concat();
            note.write_all(&[&head, &self.have[..]].concat())?;
            note.sync_data()?;
            rename(format!("{}.note.new", self.name), format!("{}.note", self.name))?;
        }
        Ok(())
    }

    fn forget_note(&self) -> Done<()> {
        match remove_file(format!("{}.note", self.name)) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }

    fn begin_again(&mut self, why: &str) -> Done<bool> {
        self.tries += 1;
        if self.tries == 8 {
            return Err(format!("given up: {why}").into());
        }
        println!("once more: {why}");
        if !self.put {
            (self.etag, self.total) = (None, UNKNOWN);
            self.have.clear();
            self.forget_note()?;
            self.part.set_len(0)?;
        }
        self.ask()
    }

    /// For the file to be put, or the first part that is missing. Whether none is, and all is done.
    fn ask(&mut self) -> Done<bool> {
        let now = self.now();
        if self.put {
            let len = self.part.metadata()?.len().try_into()?;
            let request = Request { payload_len: Some(len), ..Request::new(Code::PUT, &self.path) };
            self.endpoint.request(now, SERVER, &request)?;
            return Ok(false);
        }
        let start = (0..).find(|unit| !self.has(*unit)).unwrap_or(0);
        if start * UNIT >= self.total as usize {
            self.part.set_len(self.total.into())?;
            self.save()?;
            self.forget_note()?;
            rename(format!("{}.part", self.name), &self.name)?;
            println!("{} bytes fetched", self.total);
            return Ok(true);
        }
        let until =
            (start..8 * self.have.len()).find(|unit| self.has(*unit)).map_or(UNKNOWN, |end| (end * UNIT) as u32);
        let (offset, etag) = ((start * UNIT) as u32, self.etag);
        let missing = Request { window: 16, offset, until, etag, ..Request::get(&self.path) };
        self.endpoint.request(now, SERVER, &missing)?;
        Ok(false)
    }

    /// What the endpoint tells; whether all is done.
    fn told(&mut self, event: &Event<'_>) -> Done<bool> {
        match *event {
            Event::BodyWanted { exchange, offset, len } => {
                let mut block = vec![0; len as usize];
                self.part.read_exact_at(&mut block, offset.into())?;
                self.endpoint.body(self.now(), exchange, &block)?;
            }
            Event::Response { code, .. } if self.put && code.is_success() => {
                println!("{} bytes put", self.part.metadata()?.len());
                return Ok(true);
            }
            Event::Response { code: Code::CONTENT, etag, offset, total, payload, last, .. } => {
                self.part.write_all_at(payload, offset.into())?; // blocks come in any order
                (self.etag, self.total) = (etag, total.unwrap_or(self.total));
                let units = offset as usize / UNIT..(offset as usize + payload.len()).div_ceil(UNIT);
                self.have.resize(self.have.len().max(units.end.div_ceil(8)), 0);
                units.for_each(|unit| self.have[unit / 8] |= 1 << (unit % 8));
                self.unsaved += 1;
                if self.unsaved == SAVED_AFTER {
                    self.save()?;
                }
                if last {
                    return self.ask();
                }
            }
            Event::Response { code, .. } => {
                let why = format!("{}.{:02}", code.class(), code.detail());
                // Of a body that comes by blocks the server forgot the first; a file of which a part is here is shorter now.
                if code == Code::REQUEST_ENTITY_INCOMPLETE || !self.have.is_empty() {
                    return self.begin_again(&why);
                }
                return Err(why.into());
            }
            Event::Failed { reason: Failure::Changed, .. } => return self.begin_again("Changed"),
            Event::Failed { reason, .. } => {
                self.save()?;
                return Err(format!("{}: what is here is kept", reason.name()).into());
            }
            _ => {}
        }
        Ok(false)
    }
}

fn main() -> Done<()> {
    let arguments: Vec<String> = env::args().collect();
    let [_, verb, host, port, path, name] = &arguments[..] else {
        return Err("transfer get|put HOST PORT PATH FILE".into());
    };
    let udp = UdpSocket::bind(if host.contains(':') { "[::]:0" } else { "0.0.0.0:0" })?;
    udp.connect((host.as_str(), port.parse()?))?;
    let (put, note, part) = (verb == "put", read(format!("{name}.note")), format!("{name}.part"));
    let kept = !put && note.is_ok() && OpenOptions::new().read(true).open(&part).is_ok();
    let mut how = OpenOptions::new();
    let mut transfer = Transfer {
        endpoint: Endpoint::new(
            Config::DEFAULT,
            RandomState::new().build_hasher().finish(),
            Resources::owned(4096, 2, 20, 4, 0),
        ),
        started: Clock::now(),
        put,
        path: path.clone(),
        name: name.clone(),
        part: if put {
            File::open(name)?
        } else {
            how.read(true).write(true).create(true).truncate(false).open(part)?
        },
        of: format!("{host} {port} {path}\n"),
        etag: None,
        total: UNKNOWN,
        have: Vec::new(),
        unsaved: 0,
        tries: 0,
    };
    if kept && transfer.remember(&note?).is_some() {
        println!(
            "{} bytes are here",
            UNIT * transfer.have.iter().map(|bits| bits.count_ones() as usize).sum::<usize>()
        );
    } else if !put {
        transfer.part.set_len(0)?;
    }
    let (mut out, mut datagram) = ([0; 1152], [0; 2048]);
    let mut done = transfer.ask()?;
    while !done {
        let deadline = loop {
            match transfer.endpoint.poll_output(transfer.now(), &mut out) {
                Output::Transmit { bytes, .. } => drop(udp.send(bytes)), // what cannot be sent now is as good as lost
                Output::Event(event) => done |= transfer.told(&event)?,
                Output::BufferTooSmall { .. } => return Err("PATH is too long".into()),
                Output::Timeout(at) => break at,
            }
        };
        let wait = deadline.map(|at| at.as_micros().saturating_sub(transfer.now().as_micros()).max(1));
        udp.set_read_timeout(wait.map(Duration::from_micros))?;
        match udp.recv(&mut datagram) {
            Ok(n) => {
                let now = transfer.now();
                let Ok(handled) = transfer.endpoint.handle_input(now, Input { peer: SERVER, bytes: &datagram[..n] });
                if let Some(event) = handled.event {
                    done |= transfer.told(&event)?;
                }
            }
            Err(refused) if refused.kind() == ErrorKind::ConnectionRefused => {} // nobody listens there, at the moment
            Err(_) => transfer.endpoint.handle_timeout(transfer.now()),
        }
    }
    Ok(())
}
