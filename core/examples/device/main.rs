//! A device: the agent with a file for flash, a TCP stream to the broker and UDP sockets to CoAP servers.
//!
//! `cargo run --release --features std --example device -- --help`

mod flash;
mod host;
mod options;
mod sockets;

use std::{error::Error, process::ExitCode};

use flash::{ERASE, Flash};
use host::{Host, LinkRequest, Tally};
use options::Options;
use sockets::{Arrived, Sockets};
use waft::{
    Input, Instant, Output, Peer, RxBuffer, Storage,
    agent::{Agent, Link, Resources},
    coap,
    ota::{self, event::Area},
};

/// What a boot ended with.
enum End {
    Reboot,
    Exit(u8),
}

fn main() -> ExitCode {
    let end = Options::parse().map_err(|why| (2, why)).and_then(|options| device(&options).map_err(|why| (4, why)));
    match end {
        Ok(code) => ExitCode::from(code),
        Err((code, why)) => {
            eprintln!("device: {why}");
            ExitCode::from(code)
        }
    }
}

fn device(options: &Options) -> Result<u8, Box<dyn Error>> {
    let flash = Flash::open(&options.flash, options.slot_size)?;
    let mut tally = Tally::default();
    let epoch = std::time::Instant::now();
    loop {
        // What a bootloader does: choose the slot, count the attempt.
        let pages = flash.read(Area::Journal, 0, 2 * ERASE)?;
        let (first, second) = pages.split_at(ERASE as usize);
        let decision = ota::boot::decide([first, second], 0);
        if let Some(note) = decision.note {
            if let Some(page) = note.erase {
                flash.erase(Area::Journal, u32::from(page) * ERASE, ERASE)?;
            }
            flash.write(Area::Journal, u32::from(note.page) * ERASE + note.offset, &note.bytes)?;
        }
        let host = Host {
            options,
            flash: &flash,
            tally: &mut tally,
            slot: decision.slots,
            end: None,
            link: None,
            until: None,
        };
        match Boot::new(host, epoch)?.run()? {
            End::Reboot => {}
            End::Exit(code) => return Ok(code),
        }
    }
}

/// One boot of the device: from power-on to a reboot or to the end.
struct Boot<'a> {
    agent: Agent<'a>,
    host: Host<'a>,
    epoch: std::time::Instant,
    sockets: Sockets,
    /// What came of the broker's stream and was not consumed yet.
    rx: RxBuffer<'a>,
}

impl<'a> Boot<'a> {
    fn new(host: Host<'a>, epoch: std::time::Instant) -> Result<Self, Box<dyn Error>> {
        let resources = Resources {
            mqtt_arena: Storage::owned(1024),
            mqtt_in_flight: Storage::owned(16),
            coap: coap::Resources::owned(512, 4, 4, 8, 0),
            manifest: Storage::owned(2048),
            inbox: Storage::owned(2048),
        };
        let agent = Agent::new(host.options.config(host.slot), resources)?;
        Ok(Self { agent, host, epoch, sockets: Sockets::new(), rx: RxBuffer::new(Storage::owned(4 * sockets::READ)) })
    }

    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Mutate, drain to `Timeout`, wait for bytes or for the deadline, repeat.
    fn run(mut self) -> Result<End, Box<dyn Error>> {
        self.agent.start(self.now())?;
        self.agent.tell(self.now(), &self.host.options.facts())?;
        loop {
            let deadline = self.drain()?;
            if self.offer_stream()? {
                continue;
            }
            if let Some(end) = self.host.ended(&self.agent, self.epoch.elapsed().as_secs()) {
                self.sockets.close_all();
                return Ok(end);
            }
            let wait = deadline.map_or(500_000, |at| at.since(self.now()).as_micros().min(500_000));
            match self.sockets.wait(std::time::Duration::from_micros(wait)) {
                Some((peer, Arrived::Stream(bytes))) => {
                    self.host.tally.rx += bytes.len() as u64;
                    let Some(space) = self.rx.space().get_mut(..bytes.len()) else {
                        return Err(format!("the broker's packet {peer:?} is longer than the buffer").into());
                    };
                    space.copy_from_slice(&bytes);
                    self.rx.filled(bytes.len());
                }
                Some((peer, Arrived::Datagram(bytes))) => {
                    self.host.tally.rx += bytes.len() as u64;
                    let now = self.now();
                    let handled = self.agent.handle_input(now, Input { peer, bytes: &bytes })?;
                    if let Some(event) = handled.event {
                        self.host.act(now, &mut self.agent, event)?;
                    }
                }
                Some((peer, Arrived::End)) => {
                    self.close(peer);
                    self.agent.closed(self.now(), Link::Broker);
                }
                None => self.agent.handle_timeout(self.now()),
            }
        }
    }

    /// Sends and does all that the agent wants.
    fn drain(&mut self) -> Result<Option<Instant>, Box<dyn Error>> {
        let mut out = [0; 2048];
        loop {
            let now = self.now();
            match self.agent.poll_output(now, &mut out) {
                Output::Transmit { peer, bytes } => {
                    self.host.tally.tx += bytes.len() as u64;
                    self.sockets.send(peer, bytes);
                }
                Output::Event(event) => self.host.act(now, &mut self.agent, event)?,
                Output::BufferTooSmall { needed } => return Err(format!("a packet of {needed} bytes").into()),
                Output::Timeout(at) => return Ok(at),
            }
            match self.host.link.take() {
                Some(LinkRequest::Open(link, host, port)) => match self.sockets.open(link, &host, port) {
                    Ok(peer) => {
                        if link == Link::Broker {
                            self.rx.clear();
                        }
                        self.agent.opened(self.now(), link, peer)?;
                    }
                    Err(_) => self.agent.closed(self.now(), link),
                },
                Some(LinkRequest::Close(peer)) => self.close(peer),
                None => {}
            }
            if self.host.end.is_some() {
                return Ok(None);
            }
        }
    }

    /// Offers what has come of the stream and was not consumed yet. Whether anything became of it.
    fn offer_stream(&mut self) -> Result<bool, Box<dyn Error>> {
        let Some(peer) = self.sockets.stream() else { return Ok(false) };
        if self.rx.data().is_empty() {
            return Ok(false);
        }
        let now = self.now();
        let Ok(handled) = self.agent.handle_input(now, Input { peer, bytes: self.rx.data() }) else {
            // The broker broke MQTT: the agent asks for another connection.
            self.close(peer);
            return Ok(true);
        };
        let consumed = handled.consumed;
        let moved = consumed > 0 || handled.event.is_some();
        if let Some(event) = handled.event {
            self.host.act(now, &mut self.agent, event)?;
        }
        self.rx.consume(consumed);
        Ok(moved)
    }

    fn close(&mut self, peer: Peer) {
        if self.sockets.stream() == Some(peer) {
            self.rx.clear();
        }
        self.sockets.close(peer);
    }
}
