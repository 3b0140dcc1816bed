//! Fetching a file by CoAP, by policy, over links of all kinds: times, and what those who share the link get.

use crate::{App, Context, Link, Network, NodeId};
use waft::{
    Duration, Instant,
    coap::{Code, Config, Endpoint, Event, Opt, Policy, Reply, Request, Resources, option},
};

/// Serves one file at every path, without keeping anything of who fetches it.
#[derive(Debug)]
pub struct Server {
    /// The file.
    pub file: Vec<u8>,
    /// Requests that were answered.
    pub requests: u64,
}

impl App<Endpoint<'static>> for Server {
    fn event(&mut self, cx: &mut Context<'_>, endpoint: &mut Endpoint<'static>, event: Event<'_>) {
        let Event::Request { id, .. } = event else { return };
        self.requests += 1;
        let options = [Opt { number: option::ETAG, value: &[1, 2, 3, 4] }];
        endpoint.respond(cx.now, &id, &Reply { options: &options, ..Reply::new(Code::CONTENT, &self.file) }).unwrap();
    }
}

/// A file on its way.
#[derive(Debug)]
pub struct Fetch {
    /// Blocks under way at a time at most.
    pub window: u8,
    /// When it is asked for, after the node is switched on.
    pub after: Duration,
    bytes: Vec<Option<u8>>,
    id: Option<waft::coap::Exchange>,
    /// When it was complete, or what went wrong.
    pub done: Option<Result<Instant, String>>,
}

impl Fetch {
    /// A file of `len` bytes.
    #[must_use]
    pub fn new(window: u8, after: Duration, len: usize) -> Self {
        Self { window, after, bytes: vec![None; len], id: None, done: None }
    }

    /// Bytes that have arrived.
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.bytes.iter().flatten().count()
    }

    fn take(&mut self, now: Instant, offset: u32, payload: &[u8], last: bool) {
        let start = offset as usize;
        match self.bytes.get_mut(start..start + payload.len()) {
            Some(place) if place.iter().all(Option::is_none) => {
                place.iter_mut().zip(payload).for_each(|(to, byte)| *to = Some(*byte));
            }
            _ => self.done = Some(Err(format!("a block at {offset} that is none, or came twice"))),
        }
        if last {
            self.done.get_or_insert(Ok(now));
        }
    }

    /// Whether it is this one, whole.
    #[must_use]
    pub fn is(&self, file: &[u8]) -> bool {
        self.bytes.len() == file.len() && self.bytes.iter().zip(file).all(|(a, b)| *a == Some(*b))
    }
}

/// Fetches files from one server, some at a time.
#[derive(Debug)]
pub struct Client {
    /// The server.
    pub server: NodeId,
    /// What it fetches.
    pub fetches: Vec<Fetch>,
}

impl Client {
    fn begin(&mut self, cx: &mut Context<'_>, endpoint: &mut Endpoint<'static>) {
        let now = cx.now;
        let due = |f: &&mut Fetch| f.id.is_none() && now.since(Instant::ZERO) >= f.after;
        for fetch in self.fetches.iter_mut().filter(due) {
            let request = Request { window: fetch.window, ..Request::get("/file") };
            fetch.id = Some(endpoint.request(now, self.server.peer(), &request).unwrap());
        }
        let next = self.fetches.iter().filter(|f| f.id.is_none()).map(|f| f.after).min();
        if let Some(at) = next {
            cx.wake_in(Instant::ZERO.after(at).since(now));
        }
    }
}

impl App<Endpoint<'static>> for Client {
    fn start(&mut self, cx: &mut Context<'_>, endpoint: &mut Endpoint<'static>) {
        self.begin(cx, endpoint);
    }

    fn wake(&mut self, cx: &mut Context<'_>, endpoint: &mut Endpoint<'static>) {
        self.begin(cx, endpoint);
    }

    fn event(&mut self, cx: &mut Context<'_>, _: &mut Endpoint<'static>, event: Event<'_>) {
        match event {
            Event::Response { exchange, offset, payload, last, code, .. } => {
                let Some(fetch) = self.fetches.iter_mut().find(|f| f.id == Some(exchange)) else { return };
                if code == Code::CONTENT {
                    fetch.take(cx.now, offset, payload, last);
                } else {
                    fetch.done = Some(Err(format!("{code:?}")));
                }
            }
            Event::Failed { exchange, reason } => {
                let Some(fetch) = self.fetches.iter_mut().find(|f| f.id == Some(exchange)) else { return };
                fetch.done = Some(Err(reason.name().into()));
            }
            _ => {}
        }
    }
}

/// A file in which no two places look alike.
#[must_use]
pub fn file(len: usize) -> Vec<u8> {
    let mut rng = waft::Rng::new(len as u64);
    (0..len).map(|_| rng.next_u32().to_be_bytes()[0]).collect()
}

/// An endpoint with room for everything.
#[must_use]
pub fn endpoint(config: Config, seed: u64) -> Endpoint<'static> {
    Endpoint::new(config, seed, Resources::owned(64 * 1024, 4, 64, 64, 0))
}

/// How one client fetches one file.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Both directions.
    pub link: Link,
    /// Bytes of the file.
    pub len: usize,
    /// By what.
    pub policy: Policy,
    /// Blocks under way at a time at most.
    pub window: u8,
}

impl Run {
    /// Seconds that it took; or how it failed. A file that is not the one that was served is a failure.
    ///
    /// # Errors
    /// The failure's name.
    pub fn seconds(&self, seed: u64) -> Result<f64, String> {
        let mut net = Network::new(seed, self.link);
        let content = file(self.len);
        let server = net.add(endpoint(Config::DEFAULT, seed), Server { file: content.clone(), requests: 0 });
        let config = Config { policy: self.policy, ..Config::DEFAULT };
        let fetch = Fetch::new(self.window, Duration::ZERO, self.len);
        let client = net.add(endpoint(config, !seed), Client { server, fetches: vec![fetch] });
        let look = |net: &mut Network| {
            net.with(client, |_, _: &mut Endpoint<'static>, c: &mut Client| {
                c.fetches[0].done.clone().map(|done| done.map(|at| (at, c.fetches[0].is(&content))))
            })
            .map_err(|breach| breach.to_string())
        };
        while look(&mut net)?.is_none() {
            if !net.step().map_err(|breach| breach.to_string())? {
                return Err("it never ends".into());
            }
        }
        match look(&mut net)? {
            Some(Ok((at, true))) => Ok(at.as_micros() as f64 / 1e6),
            Some(Ok((_, false))) => Err("not the file that was served".into()),
            Some(Err(reason)) => Err(reason),
            None => Err("it never ends".into()),
        }
    }

    /// The median of so many seeds, failures counting as longest, and how many were byte-exact.
    #[must_use]
    pub fn median(&self, seeds: u64) -> (f64, usize) {
        median(seeds, |seed| self.seconds(seed))
    }
}

/// The median of what `seconds` gives for so many seeds, failures counting as longest, and how many were none.
pub(crate) fn median(seeds: u64, seconds: impl Fn(u64) -> Result<f64, String>) -> (f64, usize) {
    let mut times: Vec<f64> = (0..seeds).map(|seed| seconds(seed + 1).unwrap_or(f64::INFINITY)).collect();
    times.sort_by(f64::total_cmp);
    let exact = times.iter().filter(|t| t.is_finite()).count();
    (times.get(times.len() / 2).copied().unwrap_or(f64::INFINITY), exact)
}
