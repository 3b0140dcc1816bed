//! The gateway of model C: it gets each resource from its provider once, keeps it, tells observers of a change, and
//! serves it block by block to any number of devices without keeping state for any transfer.
//!
//! A host puts resources in ([`Gateway::put`]), or mounts a provider's URL under a path ([`Gateway::mount`]): the first
//! request below that path then makes the gateway ask for it ([`Event::Fetch`]), all requests meanwhile wait for the same
//! answer, and every later one is served from memory.

mod cache;
mod config;
mod waiting;

pub use cache::Entry;
pub use config::{Config, Event, Stats};

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::convert::Infallible;

use bytes::Bytes;
use cache::Cache;
use waiting::Queue;

use crate::{
    Capacity, Error, Handled, Input, Instant, Machine, Misuse, Output, Peer,
    coap::{
        self, Code, Endpoint, Escaped, Opt, Options, Reply, RequestId, Resource, Violation, link_format,
        option::{self, Uint, format},
    },
};

/// Where what is below a path comes from.
#[derive(Debug)]
struct Mount {
    path: String,
    url: String,
}

/// The gateway: see [the module](self).
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    endpoint: Endpoint<'static>,
    cache: Cache,
    mounts: Vec<Mount>,
    waiting: Queue,
    /// Resources whose observers could not be told for want of room, and where they are or were.
    untold: Vec<(Resource, String)>,
    stats: Stats,
}

impl Gateway {
    /// An empty gateway. `seed` starts its randomness.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            endpoint: Endpoint::new(
                coap::Config { unproven: config.unproven, ..coap::Config::default() },
                seed,
                config.resources(),
            ),
            cache: Cache::default(),
            mounts: Vec::new(),
            waiting: Queue::default(),
            untold: Vec::new(),
            stats: Stats::default(),
            config,
        }
    }

    /// Serves `body` at `path` (absolute, percent-encoded where need be) from now on. A change is told to all observers.
    /// Requests that waited for it are answered.
    ///
    /// # Errors
    /// [`Misuse::InvalidUri`]: no absolute path. [`Capacity::Buffer`]: the cache would outgrow its bounds.
    pub fn put(&mut self, now: Instant, path: &str, content_format: u16, body: Bytes) -> Result<(), Error<Violation>> {
        let path = canonical(path).ok_or(Misuse::InvalidUri)?;
        let change = self.cache.put(&path, content_format, body, self.config.max_entries, self.config.max_bytes)?;
        self.waiting.decide(&path, None);
        if let Some(resource) = change {
            self.untold.push((resource, path));
        }
        self.catch_up(now);
        Ok(())
    }

    /// Stops serving `path`; observers are told 4.04 (RFC 7641 §4.2).
    pub fn remove(&mut self, now: Instant, path: &str) -> bool {
        let Some(path) = canonical(path) else { return false };
        let Some(entry) = self.cache.remove(&path) else { return false };
        self.untold.push((entry.resource(), path));
        self.catch_up(now);
        true
    }

    /// Everything below `path`, which ends in a slash, comes from below `url` when it is first asked for.
    ///
    /// # Errors
    /// [`Misuse::InvalidUri`]: `path` does not begin and end with a slash. [`Capacity::Queue`]: too many mounts.
    pub fn mount(&mut self, path: &str, url: &str) -> Result<(), Error<Violation>> {
        let path = canonical(path).filter(|path| path.ends_with('/')).ok_or(Misuse::InvalidUri)?;
        if self.mounts.len() >= self.config.max_mounts {
            return Err(Capacity::Queue.into());
        }
        self.mounts.push(Mount { path, url: url.to_owned() });
        Ok(())
    }

    /// A fetch failed: those who wait are answered with `code`, usually 4.04 or 5.02; the next request tries again.
    pub fn failed(&mut self, now: Instant, path: &str, code: Code) {
        if let Some(path) = canonical(path) {
            self.waiting.decide(&path, Some(code));
            self.catch_up(now);
        }
    }

    /// What is served, by path.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.cache.iter()
    }

    /// How many observe `path`.
    #[must_use]
    pub fn observers(&self, path: &str) -> u32 {
        let entry = canonical(path).and_then(|path| self.cache.get(&path));
        entry.map_or(0, |entry| self.endpoint.observers(entry.resource()))
    }

    /// What was counted.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// One datagram.
    ///
    /// # Errors
    /// None: noise is dropped and counted.
    pub fn handle_input<'i>(&mut self, now: Instant, input: Input<'i>) -> Result<Handled<Event<'i>>, Infallible> {
        let handled = self.endpoint.handle_input(now, input)?;
        let event = match handled.event {
            Some(coap::Event::Request { id, code, options, payload, offset, more }) => {
                self.request(now, input.peer, &id, code, options, payload, (offset, more))
            }
            _ => None,
        };
        Ok(Handled { consumed: handled.consumed, needed: handled.needed, event })
    }

    /// Lets time-outs happen.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
    }

    /// The next datagram. `out` takes 1,152 bytes.
    pub fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        // What the endpoint tells of its own accord (an observer that is gone) is nothing to a gateway; there is at most
        // one such event an observer.
        for _ in 0..=self.config.observers.saturating_add(1) {
            let sent = match self.endpoint.poll_output(now, out) {
                Output::Transmit { peer, bytes } => (peer, bytes.len()),
                Output::Event(_) => continue,
                Output::BufferTooSmall { needed } => return Output::BufferTooSmall { needed },
                Output::Timeout(at) => {
                    if self.catch_up(now) {
                        continue;
                    }
                    return Output::Timeout(at);
                }
            };
            self.stats.sent = self.stats.sent.saturating_add(1);
            return Output::Transmit { peer: sent.0, bytes: out.get(..sent.1).unwrap_or(&[]) };
        }
        Output::Timeout(self.next_timeout())
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.endpoint.next_timeout()
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one event")]
    fn request<'i>(
        &mut self,
        now: Instant,
        peer: Peer,
        id: &RequestId,
        code: Code,
        options: Options<'i>,
        payload: &'i [u8],
        (offset, more): (u32, bool),
    ) -> Option<Event<'i>> {
        self.stats.requests = self.stats.requests.saturating_add(1);
        let Some(path) = path_of(options) else {
            self.refuse(now, id, Code::BAD_REQUEST);
            return None;
        };
        let entry = self.cache.get(&path);
        if options.get(option::IF_MATCH).is_some() || (entry.is_some() && options.get(option::IF_NONE_MATCH).is_some())
        {
            let matches = |etag: &[u8]| entry.is_some_and(|e| etag.is_empty() || etag == e.etag());
            if options.get(option::IF_NONE_MATCH).is_some() || !options.all(option::IF_MATCH).any(matches) {
                self.refuse(now, id, Code::PRECONDITION_FAILED);
                return None;
            }
        }
        match code {
            Code::GET if path == link_format::WELL_KNOWN_CORE => self.discover(now, id, options),
            Code::GET => return self.get(now, id, options, path),
            Code::PUT | Code::POST if path.ends_with("/report") => {
                if more {
                    self.refuse(now, id, Code::REQUEST_ENTITY_TOO_LARGE);
                } else if offset != 0 {
                    self.refuse(now, id, Code::REQUEST_ENTITY_INCOMPLETE);
                } else if self.endpoint.respond(now, id, &Reply::new(Code::CHANGED, &[])).is_ok() {
                    return Some(Event::Report { peer, path, payload });
                }
            }
            _ => self.refuse(now, id, Code::METHOD_NOT_ALLOWED),
        }
        None
    }

    fn get<'i>(&mut self, now: Instant, id: &RequestId, options: Options<'i>, path: String) -> Option<Event<'i>> {
        let accept = options.uint(option::ACCEPT);
        if let Some(entry) = self.cache.get(&path) {
            let valid = options.all(option::ETAG).any(|etag| etag == entry.etag());
            self.stats.hits = self.stats.hits.saturating_add(1);
            if let Err(Error::Capacity(_)) = respond(&mut self.endpoint, now, id, entry, accept, valid) {
                self.wait(now, path, id, accept, true);
            }
            return None;
        }
        let Some(url) = self.mounts.iter().find_map(|mount| {
            let below = path.strip_prefix(&mount.path)?;
            Some([mount.url.as_str(), below].concat())
        }) else {
            self.refuse(now, id, Code::NOT_FOUND);
            return None;
        };
        self.waiting.expire(now);
        let asked = self.waiting.is_asked(&path);
        if self.endpoint.acknowledge(now, id).is_err() || !self.wait(now, path.clone(), id, accept, false) || asked {
            return None;
        }
        self.stats.fetches = self.stats.fetches.saturating_add(1);
        Some(Event::Fetch { path, url })
    }

    /// Lets a request wait; where too many do, it is refused.
    fn wait(&mut self, now: Instant, path: String, id: &RequestId, accept: Option<u32>, ready: bool) -> bool {
        let room = self.waiting.len() < self.config.max_waiting;
        if room {
            self.waiting.push(now, path, *id, accept, ready);
        } else {
            self.refuse(now, id, Code::SERVICE_UNAVAILABLE);
        }
        room
    }

    /// `.well-known/core` (RFC 6690 §4), filtered by the query.
    fn discover(&mut self, now: Instant, id: &RequestId, options: Options<'_>) {
        let Some(query) = options.get(option::URI_QUERY).map_or(Some(""), |q| core::str::from_utf8(q).ok()) else {
            return self.refuse(now, id, Code::BAD_REQUEST);
        };
        if options.uint(option::ACCEPT).is_some_and(|accept| accept != u32::from(format::LINK_FORMAT)) {
            return self.refuse(now, id, Code::NOT_ACCEPTABLE);
        }
        let document = self.cache.describe(query);
        let (format, etag) = (Uint::new(u32::from(format::LINK_FORMAT)), cache::etag(document.as_bytes()));
        let options = [
            Opt { number: option::ETAG, value: &etag },
            Opt { number: option::CONTENT_FORMAT, value: format.as_bytes() },
        ];
        let reply = Reply { options: &options, ..Reply::new(Code::CONTENT, document.as_bytes()) };
        // Where there is no room to answer, the client asks again.
        let _ = self.endpoint.respond(now, id, &reply);
    }

    fn refuse(&mut self, now: Instant, id: &RequestId, code: Code) {
        // Where there is no room to answer, the client asks again.
        let _ = self.endpoint.respond(now, id, &Reply::new(code, &[]));
    }

    /// Answers whom it can be answered to, and tells observers what they were not told for want of room. Whether anything
    /// came of it.
    fn catch_up(&mut self, now: Instant) -> bool {
        let Self { waiting, untold, endpoint, cache, stats, .. } = self;
        let mut moved = false;
        waiting.serve(|w, verdict| {
            let done = match (verdict, cache.get(&w.path)) {
                (None, Some(entry)) => respond(endpoint, now, &w.id, entry, w.accept, false),
                (verdict, _) => endpoint.respond(now, &w.id, &Reply::new(verdict.unwrap_or(Code::NOT_FOUND), &[])),
            };
            let room = !matches!(done, Err(Error::Capacity(_)));
            moved |= room;
            room
        });
        untold.retain(|(resource, path)| {
            let told = match cache.get(path).filter(|entry| entry.resource() == *resource) {
                Some(entry) => entry.reply(false, |reply| endpoint.notify(now, *resource, reply)),
                None => endpoint.notify(now, *resource, &Reply::new(Code::NOT_FOUND, &[])),
            };
            stats.notifications = stats.notifications.saturating_add(told.unwrap_or(0));
            moved |= told.is_ok_and(|told| told != 0);
            matches!(told, Err(Error::Capacity(_)))
        });
        moved
    }
}

fn respond(
    endpoint: &mut Endpoint<'static>,
    now: Instant,
    id: &RequestId,
    entry: &Entry,
    accept: Option<u32>,
    valid: bool,
) -> Result<(), Error<Violation>> {
    if accept.is_some_and(|accept| accept != u32::from(entry.content_format())) {
        // RFC 7252 §5.10.4: another representation than the one that is wanted is none.
        return endpoint.respond(now, id, &Reply::new(Code::NOT_ACCEPTABLE, &[]));
    }
    entry.reply(valid, |reply| endpoint.respond(now, id, reply))
}

/// The path that the options name, as it stands in a URI; `None` where a segment is `.` or `..`, which none may be
/// (RFC 7252 §5.10.1) and which would lead out of a mount.
fn path_of(options: Options<'_>) -> Option<String> {
    let mut path = String::new();
    for segment in options.all(option::URI_PATH) {
        push_segment(&mut path, segment.iter().copied())?;
    }
    if path.is_empty() {
        path.push('/');
    }
    Some(path)
}

/// A host's path in the same form: what must be escaped is, and nothing else. `None` where it is not absolute.
fn canonical(path: &str) -> Option<String> {
    let mut result = String::new();
    for segment in path.strip_prefix('/')?.split('/') {
        // What is no escape is taken as it stands.
        match Escaped::new(segment) {
            Some(escaped) => push_segment(&mut result, escaped.bytes())?,
            None => push_segment(&mut result, segment.bytes())?,
        }
    }
    Some(result)
}

fn push_segment(path: &mut String, segment: impl Iterator<Item = u8> + Clone) -> Option<()> {
    if segment.clone().eq(*b".") || segment.clone().eq(*b"..") {
        return None;
    }
    path.push('/');
    for byte in segment {
        if coap::is_segment_char(byte) {
            path.push(char::from(byte));
        } else {
            path.push('%');
            for digit in [byte >> 4, byte & 0x0F] {
                path.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
    Some(())
}

impl Machine for Gateway {
    type Event<'e> = Event<'e>;
    type Error = Infallible;

    fn handle_input<'i>(&mut self, now: Instant, input: Input<'i>) -> Result<Handled<Event<'i>>, Self::Error> {
        Gateway::handle_input(self, now, input)
    }

    fn handle_timeout(&mut self, now: Instant) {
        Gateway::handle_timeout(self, now);
    }

    fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        Gateway::poll_output(self, now, out)
    }

    fn next_timeout(&self) -> Option<Instant> {
        Gateway::next_timeout(self)
    }
}
