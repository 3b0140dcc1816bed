//! A forward proxy (RFC 7252 §5.7.2) without its I/O: what a request asks for, what of it may be passed on, and a bounded
//! cache (§5.6) that spares the way.
//!
//! A host lets an [`Endpoint`](super::Endpoint) with [`Config::proxy`](super::Config::proxy) take requests, gives each to
//! [`Proxy::request`], and either answers at once or makes the request that [`Forward`] names by the same endpoint, and gives its
//! response to [`Proxy::response`]. Blocks are each side's own (RFC 7959 §2.10 leaves a proxy that freedom): what the proxy
//! sees are whole bodies.

use alloc::{
    borrow::ToOwned,
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};

use bytes::Bytes;

use super::{
    code::Code,
    event::Failure,
    option::{self, Opt, Uint},
    uri::{self, Scheme, Uri},
};
use crate::Instant;

/// Max-Age where none is told (RFC 7252 §5.10.5).
const AGE: u32 = 60;

/// Bounds of a [`Proxy`].
#[derive(Debug, Clone, Copy)]
pub struct ProxyConfig {
    /// Responses kept at once. Default 256.
    pub max_entries: usize,
    /// Bytes of all that is kept together, keys included. Default 8 MiB.
    pub max_bytes: usize,
    /// The Hop-Limit that a request without one gets (RFC 8768 §3). Default 16, at least 1.
    pub hop_limit: u8,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self { max_entries: 256, max_bytes: 8 << 20, hop_limit: 16 }
    }
}

/// Options that are owned.
type Owned = Vec<(u16, Vec<u8>)>;

/// What a client is to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The code.
    pub code: Code,
    /// The options, in ascending order.
    pub options: Owned,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    fn refuse(code: Code, text: &[u8]) -> Self {
        Self { code, options: Vec::new(), body: Bytes::copy_from_slice(text) }
    }

    /// The options as a [`Reply`](super::Reply) takes them.
    #[must_use]
    pub fn opts(&self) -> Vec<Opt<'_>> {
        opts(&self.options)
    }
}

/// A request to be made for a client.
#[derive(Debug, Clone)]
pub struct Forward {
    /// Whom and what to ask: `coap://host[:port]/path?query`.
    pub uri: String,
    /// The method. The body is the client's.
    pub method: Code,
    /// The options, in ascending order.
    pub options: Owned,
    /// By what the response is kept; none for a method whose responses are not.
    key: Option<Vec<u8>>,
    /// Versions that the client has.
    etags: Vec<Vec<u8>>,
}

impl Forward {
    /// The options as a [`Request`](super::Request) takes them.
    #[must_use]
    pub fn opts(&self) -> Vec<Opt<'_>> {
        opts(&self.options)
    }
}

/// What is to be done about a client's request.
#[derive(Debug, Clone)]
pub enum Step {
    /// Answer it: from the cache, or because it cannot be passed on.
    Answer(Answer),
    /// Pass it on.
    Forward(Forward),
}

#[derive(Debug)]
struct Entry {
    uri: String,
    code: Code,
    /// But Max-Age.
    options: Owned,
    body: Bytes,
    stored: Instant,
    max_age: u32,
    /// When it was wanted last, by the count of requests.
    used: u64,
    bytes: usize,
}

impl Entry {
    /// Seconds for which it is still fresh (RFC 7252 §5.6.1).
    fn left(&self, now: Instant) -> u32 {
        let age = now.since(self.stored).as_micros().checked_div(1_000_000).unwrap_or(0);
        self.max_age.saturating_sub(u32::try_from(age).unwrap_or(u32::MAX))
    }

    fn etag(&self) -> Option<&[u8]> {
        find(&self.options, option::ETAG).filter(|_| self.code == Code::CONTENT)
    }

    /// What the client gets who has versions `etags`: 2.03 where this is one of them (§5.6.2, §5.10.6.2).
    fn answer(&self, left: u32, etags: &[Vec<u8>]) -> Answer {
        let valid = self.etag().is_some_and(|etag| etags.iter().any(|have| have == etag));
        let mut options: Owned =
            self.options.iter().filter(|(number, _)| !valid || *number == option::ETAG).cloned().collect();
        put(&mut options, option::MAX_AGE, Uint::new(left).as_bytes());
        if valid {
            return Answer { code: Code::VALID, options, body: Bytes::new() };
        }
        Answer { code: self.code, options, body: self.body.clone() }
    }
}

/// The proxy: see [the module](self).
#[derive(Debug)]
pub struct Proxy {
    config: ProxyConfig,
    cache: BTreeMap<Vec<u8>, Entry>,
    bytes: usize,
    requests: u64,
    hits: u64,
}

impl Proxy {
    /// With nothing in its cache.
    #[must_use]
    pub fn new(config: ProxyConfig) -> Self {
        Self { config, cache: BTreeMap::new(), bytes: 0, requests: 0, hits: 0 }
    }

    /// A client's request, its body whole.
    ///
    /// It is refused 4.04 where it names no other server; 5.05 for a scheme that is not `coap`; 4.00 for a URI that is none,
    /// or a Hop-Limit of 0; 5.08 where the Hop-Limit is reached (RFC 8768 §3); 4.02 for an option that is Unsafe-to-Forward and
    /// not known here (RFC 7252 §5.4.2, §5.7.1).
    pub fn request<'o>(
        &mut self,
        now: Instant,
        method: Code,
        options: impl Iterator<Item = Opt<'o>> + Clone,
        body: &[u8],
    ) -> Step {
        self.requests = self.requests.saturating_add(1);
        let forward = match self.forward(method, options) {
            Ok(forward) => forward,
            Err(refusal) => return Step::Answer(refusal),
        };
        let mut forward = Forward { key: forward.key.map(|key| [&key, body].concat()), ..forward };
        let Some(entry) = forward.key.as_ref().and_then(|key| self.cache.get_mut(key)) else {
            return Step::Forward(forward);
        };
        entry.used = self.requests;
        // [RFC7252-5.6-2] [RFC7252-5.7.1-3]
        let left = entry.left(now);
        if left != 0 {
            self.hits = self.hits.saturating_add(1);
            return Step::Answer(entry.answer(left, &forward.etags));
        }
        // §5.6.2: perhaps it is still good.
        if let Some(etag) = entry.etag() {
            put(&mut forward.options, option::ETAG, etag);
        }
        Step::Forward(forward)
    }

    /// The response to what was passed on, its body whole, its options those of the first block.
    ///
    /// An option in it that is Unsafe-to-Forward and not known here makes it 5.02 (RFC 7252 §5.7.1).
    pub fn response<'o>(
        &mut self,
        now: Instant,
        forward: &Forward,
        code: Code,
        options: impl Iterator<Item = Opt<'o>>,
        body: Bytes,
    ) -> Answer {
        let mut kept = Owned::new();
        let mut max_age = AGE;
        for o in options {
            match o.number {
                option::MAX_AGE => max_age = o.uint().unwrap_or(AGE),
                // [RFC7252-5.7.1-7] [RFC7252-5.7.1-8] [RFC7641-2-1]
                option::OBSERVE | option::BLOCK1 | option::BLOCK2 | option::SIZE1 | option::SIZE2 | option::ECHO => {}
                number if option::is_unsafe(number) => return Answer::refuse(Code::BAD_GATEWAY, &naming(number)),
                number => kept.push((number, o.value.to_owned())),
            }
        }
        if code == Code::VALID
            && let Some(entry) = forward.key.as_ref().and_then(|key| self.cache.get_mut(key))
        {
            // [RFC7252-5.9.1.3-2] [RFC7252-5.9.1.3-3]
            // §5.9.1.3: it is good again, and what came with that is newer.
            entry.options.retain(|(number, _)| find(&kept, *number).is_none());
            entry.options.extend(kept);
            entry.options.sort_by_key(|(number, _)| *number);
            (entry.stored, entry.max_age) = (now, max_age);
            return entry.answer(max_age, &forward.etags);
        }
        if forward.key.is_none() && matches!(code, Code::CREATED | Code::DELETED | Code::CHANGED) {
            // [RFC7252-5.9.1.1-1] [RFC7252-5.9.1.2-1] [RFC7252-5.9.1.4-1]
            // §5.9.1.1, §5.9.1.2, §5.9.1.4: what is kept of it is stale.
            self.cache.values_mut().filter(|e| e.uri == forward.uri).for_each(|e| e.max_age = 0);
        }
        let uri = forward.uri.clone();
        let used = self.requests;
        let mut entry = Entry { uri, code, options: kept, body, stored: now, max_age, used, bytes: 0 };
        // §5.9: of the successes 2.05 can be kept; so can errors.
        // [RFC7252-5.6-1]
        let cacheable = forward.key.is_some() && (code == Code::CONTENT || code.class() >= 4);
        if !cacheable {
            let Entry { code, options, body, .. } = entry;
            return Answer { code, options, body };
        }
        let answer = entry.answer(max_age, &forward.etags);
        if let Some(key) = forward.key.as_ref().filter(|_| max_age != 0 || entry.etag().is_some()) {
            let options: usize = entry.options.iter().map(|(_, value)| value.len().saturating_add(4)).sum();
            let text = key.len().saturating_add(entry.uri.len());
            entry.bytes = text.saturating_add(options).saturating_add(entry.body.len());
            self.keep(key.clone(), entry);
        }
        answer
    }

    /// What a client is answered where what was passed on came to nothing, or could not be: 5.04 for a server that is
    /// silent, else 5.02 (RFC 7252 §5.7.1).
    #[must_use]
    pub fn failed(reason: Option<Failure>) -> Answer {
        // [RFC7252-5.7.1-1] [RFC7252-5.7.1-2]
        let code = if reason == Some(Failure::Timeout) { Code::GATEWAY_TIMEOUT } else { Code::BAD_GATEWAY };
        Answer::refuse(code, b"")
    }

    /// How many requests came, and how many of them were answered from the cache.
    #[must_use]
    pub const fn counts(&self) -> (u64, u64) {
        (self.requests, self.hits)
    }

    /// How many responses are kept, and of how many bytes.
    #[must_use]
    pub fn kept(&self) -> (usize, usize) {
        (self.cache.len(), self.bytes)
    }

    fn forward<'o>(&self, method: Code, options: impl Iterator<Item = Opt<'o>> + Clone) -> Result<Forward, Answer> {
        let refuse = |code| Err(Answer::refuse(code, b""));
        // [RFC7252-5.7.2-3]
        let uri = target(options.clone())?;
        let mut kept = Owned::new();
        let mut etags = Vec::new();
        let mut hops = None;
        for o in options {
            match o.number {
                // [RFC7252-5.7.1-4] [RFC7252-5.7.1-5] [RFC7252-5.7.1-6]
                option::HOP_LIMIT => hops = Some(o.uint().unwrap_or(u32::MAX)),
                option::ETAG => etags.push(o.value.to_owned()),
                // Consumed, or of each side's own.
                option::URI_HOST
                | option::URI_PORT
                | option::URI_PATH
                | option::URI_QUERY
                | option::PROXY_URI
                | option::PROXY_SCHEME
                | option::BLOCK1
                | option::BLOCK2
                | option::SIZE1
                | option::SIZE2
                | option::OBSERVE
                | option::MAX_AGE
                | option::NO_RESPONSE
                | option::ECHO
                | option::REQUEST_TAG => {}
                number if option::is_unsafe(number) => return Err(Answer::refuse(Code::BAD_OPTION, &naming(number))),
                number => kept.push((number, o.value.to_owned())),
            }
        }
        let hops = match hops {
            None => u32::from(self.config.hop_limit.max(1)),
            Some(1) => return Err(Answer::refuse(Code::HOP_LIMIT_REACHED, b"waft")),
            Some(hops @ 2..=255) => hops.saturating_sub(1),
            Some(_) => return refuse(Code::BAD_REQUEST),
        };
        let key = matches!(method, Code::GET | Code::FETCH).then(|| {
            // §5.6: the method, the URI and all options that are part of the key; Hop-Limit tells nothing apart.
            let mut key = [&[method.0], uri.as_bytes(), &[0]].concat();
            for (number, value) in kept.iter().filter(|(number, _)| !option::is_no_cache_key(*number)) {
                key.extend_from_slice(&number.to_be_bytes());
                key.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
                key.extend_from_slice(value);
            }
            key.extend_from_slice(&[0xFF; 2]);
            key
        });
        put(&mut kept, option::HOP_LIMIT, Uint::new(hops).as_bytes());
        Ok(Forward { uri, method, options: kept, key, etags })
    }

    /// Puts a response in; those that were not wanted for the longest time leave where there is no room.
    fn keep(&mut self, key: Vec<u8>, entry: Entry) {
        self.drop(&key);
        if entry.bytes > self.config.max_bytes || self.config.max_entries == 0 {
            return;
        }
        while self.cache.len() >= self.config.max_entries
            || self.bytes.saturating_add(entry.bytes) > self.config.max_bytes
        {
            let Some(oldest) = self.cache.iter().min_by_key(|(_, e)| e.used).map(|(key, _)| key.clone()) else { break };
            self.drop(&oldest);
        }
        self.bytes = self.bytes.saturating_add(entry.bytes);
        self.cache.insert(key, entry);
    }

    fn drop(&mut self, key: &[u8]) {
        if let Some(entry) = self.cache.remove(key) {
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }
}

/// The URI that a request to a proxy names (§5.7.2, §5.10.2), in one form for one resource.
fn target<'o>(options: impl Iterator<Item = Opt<'o>> + Clone) -> Result<String, Answer> {
    let get = |number| options.clone().find(|o| o.number == number).map(|o| o.value);
    let bad = || Answer::refuse(Code::BAD_REQUEST, b"");
    let other = || Answer::refuse(Code::PROXYING_NOT_SUPPORTED, b"");
    // Proxy-Uri takes precedence over all that Uri-Host and its like say.
    if let Some(text) = get(option::PROXY_URI) {
        let text = core::str::from_utf8(text).map_err(|_| bad())?;
        let ours = text.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("coap"));
        let uri = if ours { Uri::parse(text).map_err(|_| bad())? } else { return Err(other()) };
        return Ok(join(uri.host(), uri.port(), uri.target()));
    }
    let scheme = get(option::PROXY_SCHEME).ok_or_else(|| Answer::refuse(Code::NOT_FOUND, b""))?;
    if !scheme.eq_ignore_ascii_case(b"coap") {
        return Err(other());
    }
    let host = get(option::URI_HOST).and_then(|host| core::str::from_utf8(host).ok()).ok_or_else(bad)?;
    let port = match get(option::URI_PORT) {
        Some(port) => option::uint(port).and_then(|port| u16::try_from(port).ok()).ok_or_else(bad)?,
        None => Scheme::Coap.default_port(),
    };
    let mut path = String::new();
    for (number, mark) in [(option::URI_PATH, '/'), (option::URI_QUERY, '?')] {
        for (at, o) in options.clone().filter(|o| o.number == number).enumerate() {
            path.push(if at != 0 && mark == '?' { '&' } else { mark });
            uri::escape_into(&mut path, o.value, number == option::URI_QUERY);
        }
        if path.is_empty() {
            path.push('/');
        }
    }
    let uri = join(host, port, &path);
    Uri::parse(&uri).map_err(|_| bad())?;
    Ok(uri)
}

fn join(host: &str, port: u16, target: &str) -> String {
    let mut uri = "coap://".to_owned();
    let bare = host.contains(':') && !host.starts_with('[');
    uri.push_str(if bare { "[" } else { "" });
    uri.push_str(&host.to_ascii_lowercase());
    uri.push_str(if bare { "]" } else { "" });
    if port != Scheme::Coap.default_port() {
        uri.push(':');
        uri.push_str(&port.to_string());
    }
    if !target.starts_with('/') {
        uri.push('/');
    }
    uri.push_str(target);
    uri
}

fn naming(number: u16) -> Vec<u8> {
    [b"option ", number.to_string().as_bytes()].concat()
}

fn find(options: &Owned, number: u16) -> Option<&[u8]> {
    options.iter().find(|(found, _)| *found == number).map(|(_, value)| value.as_slice())
}

/// Puts an option in its place, behind others of its number.
fn put(options: &mut Owned, number: u16, value: &[u8]) {
    let at = options.iter().position(|(other, _)| *other > number).unwrap_or(options.len());
    options.insert(at, (number, value.to_owned()));
}

fn opts(options: &Owned) -> Vec<Opt<'_>> {
    options.iter().map(|(number, value)| Opt { number: *number, value }).collect()
}

#[cfg(test)]
#[path = "tests/proxy.rs"]
mod tests;
