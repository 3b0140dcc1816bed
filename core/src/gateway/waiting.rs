//! Requests that cannot be answered yet: their resource is being fetched, or the endpoint has no room for the answer.

use alloc::{string::String, vec::Vec};

use crate::{
    Duration, Instant,
    coap::{Code, RequestId},
};

/// EXCHANGE_LIFETIME (RFC 7252 §4.8.2): a client that asked longer ago has given up.
const LIFETIME: Duration = Duration::from_secs(247);

/// One request.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) path: String,
    pub(super) id: RequestId,
    /// The content format that is wanted.
    pub(super) accept: Option<u32>,
    since: Instant,
    /// `Some(None)`: to be answered with the resource; `Some(Some(code))`: with that code. `None`: not yet.
    verdict: Option<Option<Code>>,
}

/// All of them, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Queue {
    all: Vec<Waiting>,
    /// How many have a verdict.
    ready: usize,
}

impl Queue {
    /// Forgets whose client has given up, so that a provider that never answers is asked again.
    pub(super) fn expire(&mut self, now: Instant) {
        self.all.retain(|w| now.since(w.since) < LIFETIME);
        self.ready = self.all.iter().filter(|w| w.verdict.is_some()).count();
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether the provider is being asked for `path`.
    pub(super) fn is_asked(&self, path: &str) -> bool {
        self.all.iter().any(|w| w.verdict.is_none() && w.path == path)
    }

    /// Another one; with `ready` its resource is there.
    pub(super) fn push(&mut self, now: Instant, path: String, id: RequestId, accept: Option<u32>, ready: bool) {
        self.all.push(Waiting { path, id, accept, since: now, verdict: ready.then_some(None) });
        self.ready = self.ready.saturating_add(usize::from(ready));
    }

    /// What all get who wait for `path`: the resource, or a code.
    pub(super) fn decide(&mut self, path: &str, code: Option<Code>) {
        for w in self.all.iter_mut().filter(|w| w.verdict.is_none() && w.path == path) {
            w.verdict = Some(code);
            self.ready = self.ready.saturating_add(1);
        }
    }

    /// Hands those that can be answered to `answer` until it says that there is no room.
    pub(super) fn serve(&mut self, mut answer: impl FnMut(&Waiting, Option<Code>) -> bool) {
        if self.ready == 0 {
            return;
        }
        let mut room = true;
        let mut left = self.ready;
        self.all.retain(|w| match w.verdict {
            Some(verdict) if room => {
                room = answer(w, verdict);
                left = left.saturating_sub(usize::from(room));
                !room
            }
            _ => true,
        });
        self.ready = left;
    }
}
