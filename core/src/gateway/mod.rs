//! The gateway of model C: it gets each resource from its provider once, keeps it, tells observers of a change, and
//! serves it block by block to any number of devices without keeping state for any transfer.
//!
//! A host puts resources in ([`Gateway::put`]), or mounts a provider's URL under a path ([`Gateway::mount`]): the first
//! request below that path then makes the gateway ask for it ([`Event::Fetch`]), all requests meanwhile wait for the same
//! answer, and every later one is served from memory.

mod cache;
mod config;

pub use cache::Entry;
pub use config::{Config, Event, Stats};

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::convert::Infallible;

use bytes::Bytes;
use cache::Cache;

use crate::{
    Capacity, Error, Handled, Input, Instant, Machine, Misuse, Output, Peer,
    coap::{
        self, Code, Endpoint, Opt, Options, Reply, RequestId, Resource, Violation, link_format,
        option::{self, Uint, format},
    },
};

/// Where what is below a path comes from.
#[derive(Debug)]
struct Mount {
    path: String,
    url: String,
}

/// A request that waits for its resource.
#[derive(Debug)]
struct Waiting {
    path: String,
    id: RequestId,
}

/// The gateway: see [the module](self).
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    endpoint: Endpoint<'static>,
    cache: Cache,
    mounts: Vec<Mount>,
    waiting: Vec<Waiting>,
    stats: Stats,
}

impl Gateway {
    /// An empty gateway. `seed` starts its randomness.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            endpoint: Endpoint::new(coap::Config::default(), seed, config.resources()),
            cache: Cache::default(),
            mounts: Vec::new(),
            waiting: Vec::new(),
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
        if !path.starts_with('/') {
            return Err(Misuse::InvalidUri.into());
        }
        let change = self.cache.put(path, content_format, body, self.config.max_entries, self.config.max_bytes)?;
        self.answer_waiting(now, path);
        if let Some(resource) = change {
            self.notify(now, path, resource);
        }
        Ok(())
    }

    /// Stops serving `path`; observers are told 4.04 (RFC 7641 §4.2).
    pub fn remove(&mut self, now: Instant, path: &str) -> bool {
        let Some(entry) = self.cache.remove(path) else { return false };
        let reply = Reply { observe: Some(entry.resource()), ..Reply::new(Code::NOT_FOUND, &[]) };
        // Where there is no room to tell an observer, its Max-Age does.
        let _ = self.endpoint.notify(now, entry.resource(), &reply);
        true
    }

    /// Everything below `path`, which ends in a slash, comes from below `url` when it is first asked for.
    ///
    /// # Errors
    /// [`Misuse::InvalidUri`]: `path` does not begin and end with a slash. [`Capacity::Queue`]: too many mounts.
    pub fn mount(&mut self, path: &str, url: &str) -> Result<(), Error<Violation>> {
        if !path.starts_with('/') || !path.ends_with('/') {
            return Err(Misuse::InvalidUri.into());
        }
        if self.mounts.len() >= self.config.max_mounts {
            return Err(Capacity::Queue.into());
        }
        self.mounts.push(Mount { path: path.to_owned(), url: url.to_owned() });
        Ok(())
    }

    /// A fetch failed: those who wait are answered with `code`, usually 4.04 or 5.02; the next request tries again.
    pub fn failed(&mut self, now: Instant, path: &str, code: Code) {
        for id in self.take_waiting(path) {
            // Where there is no room to answer, the client's own time-out does.
            let _ = self.endpoint.respond(now, &id, &Reply::new(code, &[]));
        }
    }

    /// What is served, by path.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.cache.iter()
    }

    /// How many observe `path`.
    #[must_use]
    pub fn observers(&self, path: &str) -> u32 {
        self.cache.get(path).map_or(0, |entry| self.endpoint.observers(entry.resource()))
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
            Some(coap::Event::Request { id, code, options, payload, more, .. }) => {
                self.request(now, input.peer, &id, code, options, payload, more)
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
        for _ in 0..=self.config.observers {
            let sent = match self.endpoint.poll_output(now, out) {
                Output::Transmit { peer, bytes } => (peer, bytes.len()),
                Output::Event(_) => continue,
                Output::BufferTooSmall { needed } => return Output::BufferTooSmall { needed },
                Output::Timeout(at) => return Output::Timeout(at),
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
        more: bool,
    ) -> Option<Event<'i>> {
        self.stats.requests = self.stats.requests.saturating_add(1);
        let Some(path) = path_of(options) else {
            self.refuse(now, id, Code::BAD_OPTION);
            return None;
        };
        match code {
            Code::GET if path == link_format::WELL_KNOWN_CORE => self.discover(now, id, options),
            Code::GET => return self.get(now, id, options, path),
            Code::PUT | Code::POST if path.ends_with("/report") => {
                if more {
                    self.refuse(now, id, Code::REQUEST_ENTITY_TOO_LARGE);
                } else if self.endpoint.respond(now, id, &Reply::new(Code::CHANGED, &[])).is_ok() {
                    return Some(Event::Report { peer, path, payload });
                }
            }
            _ => self.refuse(now, id, Code::METHOD_NOT_ALLOWED),
        }
        None
    }

    fn get<'i>(&mut self, now: Instant, id: &RequestId, options: Options<'i>, path: String) -> Option<Event<'i>> {
        if let Some(entry) = self.cache.get(&path) {
            let valid = options.all(option::ETAG).any(|etag| etag == entry.etag());
            // Where there is no room to answer, the client asks again.
            let _ = respond(&mut self.endpoint, now, id, entry, valid);
            self.stats.hits = self.stats.hits.saturating_add(1);
            return None;
        }
        let Some(url) = self.mounts.iter().find_map(|mount| {
            let below = path.strip_prefix(&mount.path)?;
            Some([mount.url.as_str(), below].concat())
        }) else {
            self.refuse(now, id, Code::NOT_FOUND);
            return None;
        };
        if self.waiting.len() >= self.config.max_waiting {
            self.refuse(now, id, Code::SERVICE_UNAVAILABLE);
            return None;
        }
        let asked = self.waiting.iter().any(|waiting| waiting.path == path);
        if self.endpoint.acknowledge(now, id).is_err() {
            return None;
        }
        self.waiting.push(Waiting { path: path.clone(), id: *id });
        if asked {
            return None;
        }
        self.stats.fetches = self.stats.fetches.saturating_add(1);
        Some(Event::Fetch { path, url })
    }

    /// `.well-known/core` (RFC 6690 §4), filtered by the query.
    fn discover(&mut self, now: Instant, id: &RequestId, options: Options<'_>) {
        let Some(query) = options.get(option::URI_QUERY).map_or(Some(""), |q| core::str::from_utf8(q).ok()) else {
            return self.refuse(now, id, Code::BAD_REQUEST);
        };
        let document = self.cache.describe(query);
        let format = Uint::new(u32::from(format::LINK_FORMAT));
        let options = [Opt { number: option::CONTENT_FORMAT, value: format.as_bytes() }];
        let reply = Reply { options: &options, ..Reply::new(Code::CONTENT, document.as_bytes()) };
        // Where there is no room to answer, the client asks again.
        let _ = self.endpoint.respond(now, id, &reply);
    }

    fn refuse(&mut self, now: Instant, id: &RequestId, code: Code) {
        // Where there is no room to answer, the client asks again.
        let _ = self.endpoint.respond(now, id, &Reply::new(code, &[]));
    }

    fn take_waiting(&mut self, path: &str) -> Vec<RequestId> {
        let mut ids = Vec::new();
        self.waiting.retain(|waiting| {
            let ours = waiting.path == path;
            if ours {
                ids.push(waiting.id);
            }
            !ours
        });
        ids
    }

    fn answer_waiting(&mut self, now: Instant, path: &str) {
        for id in self.take_waiting(path) {
            if let Some(entry) = self.cache.get(path) {
                // Where there is no room to answer, the client's own time-out does.
                let _ = respond(&mut self.endpoint, now, &id, entry, false);
            }
        }
    }

    fn notify(&mut self, now: Instant, path: &str, resource: Resource) {
        let Some(entry) = self.cache.get(path) else { return };
        let told = entry.reply(false, |reply| self.endpoint.notify(now, resource, reply));
        self.stats.notifications = self.stats.notifications.saturating_add(told.unwrap_or(0));
    }
}

fn respond(
    endpoint: &mut Endpoint<'static>,
    now: Instant,
    id: &RequestId,
    entry: &Entry,
    valid: bool,
) -> Result<(), Error<Violation>> {
    entry.reply(valid, |reply| endpoint.respond(now, id, reply))
}

/// The path that the options name, as it would stand in a URI; `None` where a segment is no UTF-8.
fn path_of(options: Options<'_>) -> Option<String> {
    let mut path = String::new();
    for segment in options.all(option::URI_PATH) {
        path.push('/');
        path.push_str(core::str::from_utf8(segment).ok()?);
    }
    if path.is_empty() {
        path.push('/');
    }
    Some(path)
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
