//! A server's cases: the resources of tests/conformance/README.md behind an endpoint.

use super::{Json, Names, Sent, endpoint, peer};
use waft::coap::{Code, Endpoint, Event, Opt, Reply, RequestId, Resource, option};
use waft::{Duration, Input, Instant, Output};

const WATCHED: Resource = Resource(1);
const TEXT: Opt<'static> = Opt { number: option::CONTENT_FORMAT, value: b"" };
const V1: Opt<'static> = Opt { number: option::ETAG, value: b"v1" };

struct Bench {
    endpoint: Endpoint<'static>,
    now: Instant,
    sent: Sent,
    names: Names,
    /// Requests that the host has seen since the last look.
    handled: i64,
    /// What is answered later.
    later: Vec<(Instant, RequestId)>,
    upload: Vec<u8>,
    format: Option<Vec<u8>>,
    state: Vec<u8>,
}

impl Bench {
    fn drain(&mut self) {
        let mut buf = [0; 1500];
        loop {
            match self.endpoint.poll_output(self.now, &mut buf) {
                Output::Transmit { peer, bytes } => self.sent.0.push((peer, bytes.to_vec())),
                Output::Event(_) => {}
                Output::Timeout(_) => return,
                other => panic!("{other:?}"),
            }
        }
    }

    fn respond(&mut self, id: &RequestId, reply: &Reply<'_>) {
        self.endpoint.respond(self.now, id, reply).unwrap();
    }

    fn handle(&mut self, event: &Event<'_>) {
        let Event::Request { id, code, options, payload, offset, more, .. } = event else { panic!("{event:?}") };
        self.handled += 1;
        let content = |options: &'static [Opt<'static>], body| Reply { options, ..Reply::new(Code::CONTENT, body) };
        let large: Vec<u8> = (0..150_u8).map(|n| b'a' + n % 26).collect();
        let segments: Vec<_> = options.all(option::URI_PATH).collect();
        let [path] = segments[..] else { return self.respond(id, &Reply::new(Code::NOT_FOUND, b"")) };
        match (path, *code) {
            (b"test", Code::GET) => self.respond(id, &content(&[TEXT], b"test")),
            (b"test", Code::PUT | Code::POST) => self.respond(id, &Reply::new(Code::CHANGED, b"")),
            (b"test", Code::DELETE) => self.respond(id, &Reply::new(Code::DELETED, b"")),
            (b"separate", Code::GET) => {
                self.endpoint.acknowledge(self.now, id).unwrap();
                self.later.push((self.now.after(Duration::from_secs(2)), *id));
            }
            (b"large", Code::GET) => self.respond(id, &content(&[V1, TEXT], &large)),
            (b"upload", Code::PUT) => {
                let format = options.get(option::CONTENT_FORMAT).map(<[u8]>::to_vec);
                if *offset == 0 {
                    self.upload.clear();
                    self.format = format.clone();
                }
                let known = self.upload.len() == *offset as usize && self.format == format;
                let code = match (known, more) {
                    (false, _) => Code::REQUEST_ENTITY_INCOMPLETE,
                    (true, true) => Code::CONTINUE,
                    (true, false) => Code::CHANGED,
                };
                if known {
                    self.upload.extend_from_slice(payload);
                }
                self.respond(id, &Reply::new(code, b""));
            }
            (b"obs", Code::GET) => {
                let state = self.state.clone();
                self.respond(id, &Reply { observe: Some(WATCHED), ..content(&[TEXT], &state) });
            }
            (b"test" | b"separate" | b"large" | b"upload" | b"obs", _) => {
                self.respond(id, &Reply::new(Code::METHOD_NOT_ALLOWED, b""));
            }
            _ => self.respond(id, &Reply::new(Code::NOT_FOUND, b"")),
        }
    }

    fn wait(&mut self, until: Instant) {
        loop {
            let answer = self.later.iter().map(|(at, _)| *at).min();
            let due = [self.endpoint.next_timeout(), answer].into_iter().flatten().min().filter(|at| *at <= until);
            self.now = due.unwrap_or(until);
            self.endpoint.handle_timeout(self.now);
            let (over, later) = self.later.drain(..).partition(|(at, _)| *at <= self.now);
            self.later = later;
            let over: Vec<(Instant, RequestId)> = over;
            for (_, id) in over {
                self.respond(&id, &Reply { options: &[TEXT], ..Reply::new(Code::CONTENT, b"late") });
            }
            self.drain();
            if due.is_none() {
                return;
            }
        }
    }

    fn step(&mut self, step: &[Json]) -> Result<(), String> {
        match step[0].text() {
            "in" => {
                let bytes = self.names.bytes(step[1].text());
                let input = Input { peer: peer(step.get(2)), bytes: &bytes };
                let Ok(handled) = self.endpoint.handle_input(self.now, input);
                assert_eq!(handled.consumed, bytes.len());
                if let Some(event) = handled.event {
                    self.handle(&event);
                }
                self.drain();
            }
            "out" => return self.sent.expect(&mut self.names, &step[1], peer(step.get(2))),
            "handled" => {
                let handled = std::mem::take(&mut self.handled);
                if handled != step[1].number() {
                    return Err(format!("the host saw {handled} requests"));
                }
            }
            "wait" => self.wait(self.now.after(Duration::from_millis(step[1].number() as u64))),
            "notify" => {
                self.state = self.names.bytes(step[1].text());
                let reply =
                    Reply { options: &[TEXT], confirmable: step[2].bool(), ..Reply::new(Code::CONTENT, &self.state) };
                self.endpoint.notify(self.now, WATCHED, &reply).unwrap();
                self.drain();
            }
            "end" => {
                let code = Code(step[1].number() as u8);
                self.endpoint.notify(self.now, WATCHED, &Reply::new(code, b"")).unwrap();
                self.drain();
            }
            "observers" => {
                let found = self.endpoint.observers(WATCHED);
                if i64::from(found) != step[1].number() {
                    return Err(format!("{found} observers"));
                }
            }
            other => panic!("what is {other}?"),
        }
        Ok(())
    }
}

pub fn case(case: &Json) -> Result<(), String> {
    for seed in 0..3 {
        let mut bench = Bench {
            endpoint: endpoint(2, seed),
            now: Instant::from_micros(1_000_000),
            sent: Sent::default(),
            names: Names::default(),
            handled: 0,
            later: Vec::new(),
            upload: Vec::new(),
            format: None,
            state: b"0".to_vec(),
        };
        for (n, step) in case.get("steps").list().iter().enumerate() {
            bench.step(step.list()).map_err(|what| format!("step {n} {:?}: {what}", step.list()))?;
        }
        bench.sent.over()?;
    }
    Ok(())
}
