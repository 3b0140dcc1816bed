//! Sending a file by CoAP, block by block or by a window of blocks, to servers of all kinds.

use crate::{
    App, Context, Link, Network, NodeId,
    fetch::{endpoint, file, median},
};
use waft::{
    Instant,
    coap::{Code, Config, Endpoint, Event, Exchange, Policy, Reply, Request},
};

/// How a server takes the blocks of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// It writes each to its place, and keeps nothing of who sends it.
    Each,
    /// One after the other; it refuses any other (4.08).
    Ordered,
}

/// Takes one file at every path.
#[derive(Debug)]
pub struct Taker {
    /// How.
    pub takes: Takes,
    /// What has come of it.
    pub file: Vec<u8>,
}

impl App<Endpoint<'static>> for Taker {
    fn event(&mut self, cx: &mut Context<'_>, endpoint: &mut Endpoint<'static>, event: Event<'_>) {
        let Event::Request { id, payload, offset, more, .. } = event else { return };
        let start = offset as usize;
        let code = match self.takes {
            Takes::Ordered if start > self.file.len() => Code::REQUEST_ENTITY_INCOMPLETE,
            Takes::Ordered if more => Code::CONTINUE,
            _ => Code::CHANGED,
        };
        if code != Code::REQUEST_ENTITY_INCOMPLETE {
            self.file.resize(self.file.len().max(start + payload.len()), 0);
            self.file[start..start + payload.len()].copy_from_slice(payload);
        }
        endpoint.respond(cx.now, &id, &Reply::new(code, b"")).unwrap();
    }
}

/// Sends a file as a stream of blocks.
#[derive(Debug)]
pub struct Sender {
    server: NodeId,
    run: Upload,
    file: Vec<u8>,
    exchange: Option<Exchange>,
    /// When it was taken, or what went wrong.
    done: Option<Result<Instant, String>>,
}

impl App<Endpoint<'static>> for Sender {
    fn start(&mut self, cx: &mut Context<'_>, endpoint: &mut Endpoint<'static>) {
        let request = Request {
            payload_len: Some(u32::try_from(self.file.len()).unwrap()),
            window: self.run.window,
            random_access: self.run.random_access,
            ..Request::new(Code::PUT, "/file")
        };
        self.exchange = Some(endpoint.request(cx.now, self.server.peer(), &request).unwrap());
    }

    fn event(&mut self, cx: &mut Context<'_>, endpoint: &mut Endpoint<'static>, event: Event<'_>) {
        match event {
            Event::BodyWanted { exchange, offset, len } => {
                let part = &self.file[offset as usize..][..len as usize];
                endpoint.body(cx.now, exchange, part).unwrap();
            }
            Event::Response { code: Code::CHANGED, .. } => self.done = Some(Ok(cx.now)),
            Event::Response { code, .. } => self.done = Some(Err(format!("{code:?}"))),
            Event::Failed { reason, .. } => self.done = Some(Err(reason.name().into())),
            _ => {}
        }
    }
}

/// How one client sends one file.
#[derive(Debug, Clone, Copy)]
pub struct Upload {
    /// Both directions.
    pub link: Link,
    /// Bytes of the file.
    pub len: usize,
    /// By what.
    pub policy: Policy,
    /// Blocks under way at a time at most.
    pub window: u8,
    /// Whether the client takes the server for one that takes them in any order.
    pub random_access: bool,
    /// How the server takes them.
    pub takes: Takes,
}

impl Upload {
    /// Seconds that it took until the client knew it; or how it failed. A file that is not the one that was sent is a failure.
    ///
    /// # Errors
    /// The failure's name.
    pub fn seconds(&self, seed: u64) -> Result<f64, String> {
        let mut net = Network::new(seed, self.link);
        let file = file(self.len);
        let server = net.add(endpoint(Config::DEFAULT, seed), Taker { takes: self.takes, file: Vec::new() });
        let config = Config { policy: self.policy, ..Config::DEFAULT };
        let sender = Sender { server, run: *self, file: file.clone(), exchange: None, done: None };
        let client = net.add(endpoint(config, !seed), sender);
        loop {
            let done = net
                .with(client, |_, _: &mut Endpoint<'static>, s: &mut Sender| s.done.clone())
                .map_err(|breach| breach.to_string())?;
            if let Some(done) = done {
                let whole = net.with(server, |_, _: &mut Endpoint<'static>, t: &mut Taker| t.file == file);
                return match done {
                    Ok(at) if whole.map_err(|breach| breach.to_string())? => Ok(at.as_micros() as f64 / 1e6),
                    Ok(_) => Err("not the file that was sent".into()),
                    Err(reason) => Err(reason),
                };
            }
            if !net.step().map_err(|breach| breach.to_string())? {
                return Err("it never ends".into());
            }
        }
    }

    /// The median of so many seeds, failures counting as longest, and how many were byte-exact.
    #[must_use]
    pub fn median(&self, seeds: u64) -> (f64, usize) {
        median(seeds, |seed| self.seconds(seed))
    }
}
