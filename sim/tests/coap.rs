//! CoAP endpoints over datagrams that are lost, doubled and reordered.

use std::fmt::Write;
use waft::{
    Duration,
    coap::{Body, Code, Config, Endpoint, Event, Reply, Request, Resource, Resources},
};
use waft_sim::{App, Context, Link, Network, NodeId};

const BODY: usize = 8 * 1024;

fn body() -> Vec<u8> {
    (0..BODY).map(|n| (n * 31 % 251) as u8).collect()
}

/// Serves one resource, to be got, observed and put.
struct Server {
    content: Vec<u8>,
    received: Vec<u8>,
    requests: usize,
}

impl App<Endpoint<'static>> for Server {
    fn event(&mut self, cx: &mut Context<'_>, endpoint: &mut Endpoint<'static>, event: Event<'_>) {
        let Event::Request { id, code, payload, offset, more, .. } = event else { return };
        self.requests += 1;
        let reply = if code == Code::GET {
            let (offset, len) = id.wanted();
            let start = (offset as usize).min(self.content.len());
            let end = self.content.len().min(start + len as usize);
            Reply {
                body: Body::Part { offset, bytes: &self.content[start..end], total: self.content.len() as u32 },
                observe: id.observes().then_some(Resource(1)),
                ..Reply::new(Code::CONTENT, &[])
            }
        } else {
            if offset == 0 {
                self.received.clear();
            }
            if offset as usize == self.received.len() {
                self.received.extend_from_slice(payload);
            }
            Reply::new(if more { Code::CONTINUE } else { Code::CHANGED }, &[])
        };
        endpoint.respond(cx.now, &id, &reply).unwrap();
    }
}

/// Makes one request and keeps what comes of it.
struct Asker {
    server: NodeId,
    put: Option<Vec<u8>>,
    observe: bool,
    got: Vec<u8>,
    done: Option<bool>,
}

impl App<Endpoint<'static>> for Asker {
    fn start(&mut self, cx: &mut Context<'_>, endpoint: &mut Endpoint<'static>) {
        let method = if self.put.is_some() { Code::PUT } else { Code::GET };
        let payload = self.put.as_deref().unwrap_or_default();
        let request = Request { payload, observe: self.observe, ..Request::new(method, "/r") };
        endpoint.request(cx.now, self.server.peer(), &request).unwrap();
    }

    fn event(&mut self, _: &mut Context<'_>, _: &mut Endpoint<'static>, event: Event<'_>) {
        match event {
            Event::Response { offset, payload, last, code, .. } => {
                self.got.truncate(offset as usize);
                self.got.extend_from_slice(payload);
                if last {
                    self.done = Some(code.class() == 2);
                }
            }
            Event::Failed { .. } => self.done = Some(false),
            _ => {}
        }
    }
}

fn endpoint(seed: u64) -> Endpoint<'static> {
    Endpoint::new(Config::default(), seed, Resources::owned(32 * 1024, 4, 8, 64, 4))
}

fn pair(seed: u64, link: Link, put: bool, observe: bool) -> (Network, NodeId, NodeId) {
    let mut net = Network::new(seed, link);
    let server = net.add(endpoint(seed), Server { content: body(), received: Vec::new(), requests: 0 });
    let put = put.then(body);
    let asker = net.add(endpoint(!seed), Asker { server, put, observe, got: Vec::new(), done: None });
    (net, server, asker)
}

fn ask<R>(net: &mut Network, asker: NodeId, f: impl FnOnce(&mut Asker) -> R) -> R {
    net.with(asker, |_, _: &mut Endpoint<'static>, a: &mut Asker| f(a)).unwrap()
}

/// Of 20 transfers: how many ended well, how many with a failure told, and the median time in seconds.
fn transfers(loss: f64, put: bool) -> (usize, usize, u64) {
    let (mut well, mut failed, mut times) = (0, 0, Vec::new());
    for seed in 0..20 {
        let (mut net, server, asker) = pair(seed, Link::hostile(loss), put, false);
        let ended = net.run_until(Duration::from_secs(3_600), |net| ask(net, asker, |a| a.done.is_some())).unwrap();
        assert!(ended, "seed {seed}: a transfer that never ends");
        if ask(&mut net, asker, |a| a.done) == Some(true) {
            let got = if put {
                net.with(server, |_, _: &mut Endpoint<'static>, s: &mut Server| s.received.clone()).unwrap()
            } else {
                ask(&mut net, asker, |a| a.got.clone())
            };
            assert!(got == body(), "seed {seed}: not the body that was sent");
            well += 1;
            times.push(net.now().as_micros() / 1_000_000);
        } else {
            failed += 1;
        }
    }
    times.sort_unstable();
    (well, failed, times.get(times.len() / 2).copied().unwrap_or(0))
}

#[test]
fn block_transfers_survive_the_loss_that_rfc_7252_is_made_for() {
    let mut table = String::from("8 KiB by blocks of 1,024, 20 runs each: loss, complete, failed, median seconds\n");
    for (loss, least) in [(0.0, 20), (0.05, 20), (0.1, 19), (0.2, 14), (0.3, 4)] {
        for put in [false, true] {
            let (well, failed, seconds) = transfers(loss, put);
            let what = if put { "Block1" } else { "Block2" };
            writeln!(table, "{what} {:3.0} %  {well:2}  {failed:2}  {seconds:3}", loss * 100.0).unwrap();
            assert!(well >= least, "{table}");
        }
    }
    println!("{table}");
}

#[test]
fn an_observer_sees_the_latest_state_in_the_end() {
    for seed in 0..20 {
        let (mut net, server, asker) = pair(seed, Link::hostile(0.1), false, true);
        net.with(server, |_, _: &mut Endpoint<'static>, s: &mut Server| s.content.truncate(10)).unwrap();
        net.run_for(Duration::from_secs(100)).unwrap();
        for n in 0..5 {
            net.with(server, |cx, endpoint: &mut Endpoint<'static>, s: &mut Server| {
                s.content = format!("state {n}").into_bytes();
                endpoint.notify(cx.now, Resource(1), &Reply::new(Code::CONTENT, &s.content)).unwrap();
            })
            .unwrap();
            net.run_for(Duration::from_secs(7)).unwrap();
        }
        net.run_for(Duration::from_secs(200)).unwrap();
        assert_eq!(ask(&mut net, asker, |a| a.got.clone()), b"state 4", "seed {seed}");
    }
}
