//! Bodies whose blocks go side by side.

use super::*;
use crate::coap::block::size;
use proptest::prelude::*;

/// How a server takes the blocks of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Acts on each by itself.
    Each,
    /// Collects them in any order, and has the body when it has them all.
    Any,
    /// Collects them in order; refuses any other.
    Ordered,
}

/// A server, and what it has of a body.
struct Server {
    takes: Takes,
    body: Vec<Option<u8>>,
    /// Requests handled: where each began, and how long it was.
    handled: Vec<(u32, usize)>,
    /// It loses what it has before it handles the request of this number.
    restarts: Option<usize>,
    /// From the request of this number on it asks for blocks of this size exponent.
    shrinks: Option<(usize, u8)>,
    /// What it says of a block that it does not take.
    refusal: Code,
    /// Times that the last block was accepted.
    finished: usize,
    /// What it had then.
    whole: Vec<Option<u8>>,
}

impl Server {
    fn new(takes: Takes) -> Self {
        let refusal = Code::REQUEST_ENTITY_INCOMPLETE;
        Self {
            takes,
            body: Vec::new(),
            handled: Vec::new(),
            restarts: None,
            shrinks: None,
            refusal,
            finished: 0,
            whole: Vec::new(),
        }
    }

    fn take(&mut self, offset: u32, payload: &[u8], more: bool) -> Code {
        self.handled.push((offset, payload.len()));
        if self.restarts == Some(self.handled.len()) {
            self.body.clear();
        }
        let (start, end) = (offset as usize, offset as usize + payload.len());
        if self.takes == Takes::Ordered {
            if start == 0 {
                self.body.clear();
            }
            if start != self.body.len() {
                return self.refusal;
            }
        }
        self.body.resize(self.body.len().max(end), None);
        self.body[start..end].iter_mut().zip(payload).for_each(|(place, byte)| *place = Some(*byte));
        let complete = self.body.iter().all(Option::is_some);
        match (self.takes, more) {
            (Takes::Each, true) => Code::CHANGED,
            (_, true) => Code::CONTINUE,
            (Takes::Any, false) if !complete => Code::REQUEST_ENTITY_INCOMPLETE,
            _ => {
                self.finished += 1;
                self.whole.clone_from(&self.body);
                Code::CHANGED
            }
        }
    }

    fn has(&self, body: &[u8]) -> bool {
        self.whole.iter().copied().eq(body.iter().copied().map(Some))
    }
}

/// A client with a window's memory before a server with enough of its own.
fn before(config: Config, net: Net, seed: u64) -> Pair {
    let mut pair = pair(config, net, seed);
    pair.sides[0].endpoint = Endpoint::new(config, seed, resources(64 * 1024, 2, 20, 4, 0));
    pair.sides[1].endpoint = Endpoint::new(Config::DEFAULT, !seed, resources(8192, 0, 2, 64, 0));
    pair
}

/// What became of an upload.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    code: Option<Code>,
    failed: Option<Failure>,
    /// Blocks that the host was asked for.
    asked: Vec<u32>,
}

/// Sends `body` by `request`, for so many seconds.
fn upload(pair: &mut Pair, request: &Request<'_>, body: &[u8], server: &mut Server, until: u64) -> Told {
    let streamed = Request { payload_len: Some(body.len() as u32), ..*request };
    let whole = Request { payload: body, ..*request };
    let request = if request.payload_len.is_some() { streamed } else { whole };
    let mut told = Told::default();
    pair.sides[0].endpoint.request(pair.now, Peer(7), &request).unwrap();
    let until = pair.now.after(Duration::from_secs(until));
    pair.run(until, &mut |now, _, endpoint, event| match event {
        Event::Request { id, payload, offset, more, .. } => {
            let code = server.take(offset, payload, more);
            if let Some((_, szx)) = server.shrinks.filter(|(from, _)| server.handled.len() >= *from) {
                endpoint.config.szx = szx;
            }
            endpoint.respond(now, &id, &Reply::new(code, b"")).unwrap();
        }
        Event::BodyWanted { exchange, offset, len } => {
            told.asked.push(offset);
            endpoint.body(now, exchange, &body[offset as usize..][..len as usize]).unwrap();
        }
        Event::Response { code, last, .. } => {
            assert!(last && told.code.is_none() && told.failed.is_none());
            told.code = Some(code);
        }
        Event::Failed { reason, .. } => {
            assert!(told.code.is_none() && told.failed.is_none());
            told.failed = Some(reason);
        }
        other => panic!("{other:?}"),
    });
    assert!(pair.sides[0].endpoint.arena.is_empty(), "nothing is left");
    assert!(pair.sides[0].endpoint.flights.iter().all(|f| f.owner == flight::Owner::Nobody));
    told
}

fn put() -> Request<'static> {
    Request { window: 16, random_access: true, szx: 2, ..Request::new(Code::PUT, "/log") }
}

fn streamed() -> Request<'static> {
    Request { payload_len: Some(1), ..put() }
}

#[test]
fn blocks_of_a_body_go_side_by_side_by_plain_requests_and_the_last_goes_last() {
    let image = body(64 * 40 + 9);
    for (takes, request) in
        [(Takes::Each, put()), (Takes::Any, put()), (Takes::Ordered, put()), (Takes::Each, streamed())]
    {
        let tag = [Opt { number: option::REQUEST_TAG, value: b"t" }];
        let request = Request { options: &tag, ..request };
        let (mut pair, mut server) = (before(Config::DEFAULT, Net::default(), 1), Server::new(takes));
        let told = upload(&mut pair, &request, &image, &mut server, 100);
        assert_eq!((told.code, server.finished), (Some(Code::CHANGED), 1), "{takes:?}");
        assert!(server.has(&image));
        let sent: Vec<Message<'_>> = pair.sides[0].sent.iter().map(|m| Message::decode(m).unwrap()).collect();
        assert_eq!(sent.len(), 41, "each once");
        for (n, m) in sent.iter().enumerate() {
            let block = m.options.get(option::BLOCK1).and_then(Block::decode).unwrap();
            assert_eq!(block, Block { num: n as u32, more: n < 40, szx: 2 });
            assert!(m.code == Code::PUT && m.ty == Type::Confirmable && m.options.path_is("/log"));
            assert_eq!(m.options.get(option::REQUEST_TAG), Some(&b"t"[..]));
            assert!(sent[..n].iter().all(|other| other.token != m.token && other.id != m.id));
        }
        let rounds = pair.now.since(Instant::ZERO);
        assert!(rounds >= Duration::from_millis(120), "the first alone, some together, the last alone");
        assert_eq!(told.asked.len(), if request.payload_len.is_some() { 41 } else { 0 });
    }
}

#[test]
fn an_upload_takes_few_round_trips_and_one_that_is_not_asked_for_takes_one_for_each_block() {
    let image = body(64 * 40);
    let mut times = Vec::new();
    for random_access in [true, false] {
        let (mut pair, mut server) = (before(Config::DEFAULT, Net::default(), 1), Server::new(Takes::Each));
        let request = Request { random_access, payload: &image, ..put() };
        pair.sides[0].endpoint.request(pair.now, Peer(7), &request).unwrap();
        let mut done = None;
        pair.run(seconds(100), &mut |now, _, endpoint, event| match event {
            Event::Request { id, payload, offset, more, .. } => {
                let code = server.take(offset, payload, more);
                endpoint.respond(now, &id, &Reply::new(code, b"")).unwrap();
            }
            Event::Response { .. } => done = Some(now),
            other => panic!("{other:?}"),
        });
        assert!(server.has(&image));
        times.push(done.unwrap().since(Instant::ZERO).as_micros() / 40_000);
    }
    assert!(times[0] <= 8 && times[1] == 40, "{times:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_network_and_the_server_do_the_body_is_there_whole_or_its_failure_is_told(
        seed: u32, len in 0_usize..6000, szx in 0_u8..7, loss in 0_u64..30, duplicate in 0_u64..20, reorder in 0_u64..20,
        kind in 0_u8..3, stream: bool, window in 0_u8..40, restarts in prop::option::of(1_usize..60),
        shrinks in prop::option::of((1_usize..60, 0_u8..6)), post: bool,
    ) {
        let image = body(len);
        let takes = [Takes::Each, Takes::Any, Takes::Ordered][usize::from(kind)];
        let mut pair = before(Config::DEFAULT, Net { loss, duplicate, reorder }, seed.into());
        // What acts on each block by itself has nothing to lose.
        let restarts = restarts.filter(|_| takes != Takes::Each);
        let mut server = Server { restarts, shrinks, ..Server::new(takes) };
        let method = if post { Code::POST } else { Code::PUT };
        let request = Request { method, window, szx, ..if stream { streamed() } else { put() } };
        let told = upload(&mut pair, &request, &image, &mut server, 4000);
        match told {
            Told { code: Some(Code::CHANGED), failed: None, .. } => prop_assert!(server.has(&image), "{:?}", server.handled),
            // Not before a request has gone out as often as it may (RFC 7252 §4.2).
            Told { code: None, failed: Some(Failure::Timeout), .. } => {
                let mut times = BTreeMap::new();
                for sent in &pair.sides[0].sent {
                    *times.entry(Message::decode(sent).unwrap().token.as_bytes().to_vec()).or_insert(0) += 1;
                }
                prop_assert!(loss != 0 && times.values().any(|times| *times > Config::DEFAULT.max_retransmit), "{times:?}");
            }
            // By one block after the other nothing is begun again. A server that refuses what it has may do so for a copy that went
            // under another message ID, or was under way side by side with others; three beginnings may meet with that.
            Told { code: Some(Code::REQUEST_ENTITY_INCOMPLETE), failed: None, .. } => {
                let late = takes == Takes::Ordered && (loss > 10 || reorder != 0);
                prop_assert!(late || (window < 2 && restarts.is_some()));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

#[test]
fn a_server_that_takes_blocks_in_order_only_gets_the_rest_in_order() {
    let image = body(64 * 60);
    for (seed, request) in (1..20).flat_map(|seed| [(seed, put()), (seed, streamed())]) {
        let net = Net { loss: 8, duplicate: 5, reorder: 0 };
        let (mut pair, mut server) = (before(Config::DEFAULT, net, seed), Server::new(Takes::Ordered));
        server.refusal = [Code::REQUEST_ENTITY_INCOMPLETE, Code::INTERNAL_SERVER_ERROR][seed as usize & 1];
        let told = upload(&mut pair, &request, &image, &mut server, 1000);
        assert_eq!((told.code, server.finished), (Some(Code::CHANGED), 1), "seed {seed}");
        assert!(server.has(&image));
        let most = server.handled.len();
        assert!(most <= 60 * 4, "{most} blocks handled, at worst begun again");
    }
}

#[test]
fn a_server_that_has_lost_what_it_had_gets_it_all_again() {
    let image = body(64 * 30);
    for (takes, at) in [(Takes::Any, 20), (Takes::Any, 30), (Takes::Ordered, 12), (Takes::Ordered, 30)] {
        let (mut pair, mut server) = (before(Config::DEFAULT, Net::default(), 3), Server::new(takes));
        server.restarts = Some(at);
        let told = upload(&mut pair, &put(), &image, &mut server, 100);
        assert_eq!(told.code, Some(Code::CHANGED), "{takes:?} {at}");
        assert!(server.has(&image));
    }
}

#[test]
fn a_server_that_says_5_00_of_what_it_has_dropped_gets_it_all_again_once() {
    let image = body(64 * 30);
    for for_ever in [false, true] {
        let (mut pair, mut server) = (before(Config::DEFAULT, Net::default(), 3), Server::new(Takes::Ordered));
        (server.restarts, server.refusal) = (Some(15), Code::INTERNAL_SERVER_ERROR);
        let request = Request { payload: &image, ..put() };
        let mut told = None;
        pair.sides[0].endpoint.request(pair.now, Peer(7), &request).unwrap();
        pair.run(seconds(1000), &mut |now, _, endpoint, event| match event {
            Event::Request { id, payload, offset, more, .. } => {
                let code = server.take(offset, payload, more);
                let code = if for_ever && offset > 1000 { Code::INTERNAL_SERVER_ERROR } else { code };
                endpoint.respond(now, &id, &Reply::new(code, b"")).unwrap();
            }
            Event::Response { code, last: true, .. } => told = Some(code),
            other => panic!("{other:?}"),
        });
        assert_eq!(told, Some(if for_ever { Code::INTERNAL_SERVER_ERROR } else { Code::CHANGED }));
        assert!(server.handled.len() < 90 && (for_ever || server.has(&image)));
    }
}

#[test]
fn a_server_that_refuses_for_ever_is_not_asked_for_ever() {
    let image = body(64 * 30);
    let (mut pair, mut handled) = (before(Config::DEFAULT, Net::default(), 3), 0);
    let request = Request { payload: &image, ..put() };
    let mut code = None;
    pair.sides[0].endpoint.request(pair.now, Peer(7), &request).unwrap();
    pair.run(seconds(1000), &mut |now, _, endpoint, event| match event {
        Event::Request { id, offset, .. } => {
            handled += 1;
            let code = if offset >= 640 { Code::REQUEST_ENTITY_INCOMPLETE } else { Code::CONTINUE };
            endpoint.respond(now, &id, &Reply::new(code, b"")).unwrap();
        }
        Event::Response { code: c, last: true, .. } => code = Some(c),
        other => panic!("{other:?}"),
    });
    assert_eq!(code, Some(Code::REQUEST_ENTITY_INCOMPLETE));
    assert!(handled < 80, "{handled}: three beginnings");
}

#[test]
fn a_server_that_asks_for_smaller_blocks_gets_them_at_the_beginning_and_in_the_middle() {
    let image = body(6000);
    for (at, request) in [1, 2, 7, 20].into_iter().flat_map(|at| [(at, put()), (at, streamed())]) {
        let (mut pair, mut server) = (before(Config::DEFAULT, Net::default(), 4), Server::new(Takes::Any));
        server.shrinks = Some((at, 2));
        let told = upload(&mut pair, &Request { szx: 4, ..request }, &image, &mut server, 100);
        assert_eq!(told.code, Some(Code::CHANGED));
        assert!(server.has(&image));
        let large = server.handled.iter().filter(|(_, len)| *len > size(2) as usize).count();
        assert!(large < at + 17, "{large}: those that were under way already");
        let again = server.handled.iter().map(|(_, len)| *len).sum::<usize>();
        assert!(again <= image.len() + 16 * 256, "{again} bytes");
    }
}

#[test]
fn an_error_ends_it_and_what_was_under_way_with_it() {
    let image = body(64 * 30);
    let (mut pair, mut server) = (before(Config::DEFAULT, Net::default(), 5), Server::new(Takes::Any));
    let request = Request { payload: &image, ..put() };
    let mut told = Vec::new();
    pair.sides[0].endpoint.request(pair.now, Peer(7), &request).unwrap();
    pair.run(seconds(100), &mut |now, _, endpoint, event| match event {
        Event::Request { id, payload, offset, more, .. } => {
            let code = server.take(offset, payload, more);
            let code = if offset == 640 { Code::REQUEST_ENTITY_TOO_LARGE } else { code };
            endpoint.respond(now, &id, &Reply::new(code, b"full")).unwrap();
        }
        Event::Response { code, last, .. } => told.push((code, last)),
        other => panic!("{other:?}"),
    });
    assert_eq!(told, [(Code::REQUEST_ENTITY_TOO_LARGE, true)]);
    assert!(server.handled.len() < 30 && server.finished == 0);
    assert!(pair.sides[0].endpoint.flights.iter().all(|f| f.owner == flight::Owner::Nobody));
}

#[test]
fn a_busy_server_is_left_alone_and_then_gets_the_rest() {
    let image = body(64 * 30);
    for request in [put(), streamed()] {
        let (mut pair, mut server) = (before(Config::DEFAULT, Net::default(), 5), Server::new(Takes::Each));
        let (mut done, mut refused, mut again) = (None, None, Instant::ZERO);
        let request = match request.payload_len {
            Some(_) => Request { payload_len: Some(image.len() as u32), ..request },
            None => Request { payload: &image, ..request },
        };
        pair.sides[0].endpoint.request(pair.now, Peer(7), &request).unwrap();
        pair.run(seconds(100), &mut |now, _, endpoint, event| match event {
            Event::Request { id, payload, offset, more, .. } => {
                if offset == 320 && refused.replace(now).is_none() {
                    let age = [Opt { number: option::MAX_AGE, value: &[9] }];
                    let busy = Reply { options: &age, ..Reply::new(Code::SERVICE_UNAVAILABLE, b"") };
                    return endpoint.respond(now, &id, &busy).unwrap();
                }
                again = now;
                let code = server.take(offset, payload, more);
                endpoint.respond(now, &id, &Reply::new(code, b"")).unwrap();
            }
            Event::BodyWanted { exchange, offset, len } => {
                endpoint.body(now, exchange, &image[offset as usize..][..len as usize]).unwrap();
            }
            Event::Response { code, .. } => done = Some(code),
            other => panic!("{other:?}"),
        });
        assert_eq!(done, Some(Code::CHANGED));
        assert!(server.has(&image));
        assert!(again >= seconds(9), "{again:?}");
    }
}

#[test]
fn a_host_that_takes_its_time_to_read_a_block_is_asked_for_one_at_a_time() {
    let image = body(64 * 30);
    let net = Net { loss: 10, duplicate: 10, reorder: 10 };
    for seed in 1..12 {
        let (mut pair, mut server) = (before(Config::DEFAULT, net, seed), Server::new(Takes::Any));
        let request = Request { payload_len: Some(image.len() as u32), ..put() };
        let exchange = pair.sides[0].endpoint.request(pair.now, Peer(7), &request).unwrap();
        let (mut asked, mut done) = (None, None);
        // It gives what it was asked for when it is looked at next, which may be late.
        for n in 0..20_000_u64 {
            let until = pair.now.after(Duration::from_millis(7 + n % 90));
            pair.run(until, &mut |now, _, endpoint, event| match event {
                Event::Request { id, payload, offset, more, .. } => {
                    let code = server.take(offset, payload, more);
                    endpoint.respond(now, &id, &Reply::new(code, b"")).unwrap();
                }
                Event::BodyWanted { offset, len, .. } => {
                    assert_eq!(asked.replace((offset, len)), None, "one at a time");
                }
                Event::Response { code, .. } => done = Some(code),
                other => panic!("{other:?}"),
            });
            if let Some((offset, len)) = asked.take() {
                let part = &image[offset as usize..][..len as usize];
                let now = pair.now;
                pair.sides[0].endpoint.body(now, exchange, part).unwrap();
            }
            if done.is_some() {
                break;
            }
        }
        assert_eq!(done, Some(Code::CHANGED), "seed {seed}");
        assert!(server.has(&image));
    }
}

#[test]
fn what_answers_a_body_of_several_blocks_comes_in_order() {
    let (image, answer) = (body(64 * 12), body(64 * 20));
    for random_access in [true, false] {
        let (mut pair, mut server) = (before(Config::DEFAULT, Net::default(), 6), Server::new(Takes::Any));
        let request = Request { method: Code::FETCH, payload: &image, random_access, ..put() };
        pair.sides[0].endpoint.request(pair.now, Peer(7), &request).unwrap();
        let (mut got, mut asked) = (Vec::new(), Vec::new());
        pair.run(seconds(100), &mut |now, _, endpoint, event| match event {
            Event::Request { id, options, payload, offset, more, .. } => {
                let block1 = options.get(option::BLOCK1).is_some();
                if block1 && more {
                    let code = server.take(offset, payload, more);
                    return endpoint.respond(now, &id, &Reply::new(code, b"")).unwrap();
                }
                asked.push((now, id.wanted().0));
                endpoint.respond(now, &id, &Reply::new(Code::CONTENT, &answer)).unwrap();
            }
            Event::Response { offset, payload, .. } => {
                assert_eq!(got.len(), offset as usize);
                got.extend_from_slice(payload);
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(got, answer);
        // [RFC7959-2.7-1]
        assert!(asked.windows(2).all(|pair| pair[0].0 < pair[1].0), "one after the other");
    }
}

#[test]
fn a_first_block_that_is_too_large_goes_again_in_smaller_ones_side_by_side() {
    let image = body(64 * 40);
    for request in [put(), streamed()] {
        let (mut pair, mut server) = (before(Config::DEFAULT, Net::default(), 7), Server::new(Takes::Each));
        pair.sides[1].endpoint.config.szx = 2;
        let request = match request.payload_len {
            Some(_) => Request { payload_len: Some(image.len() as u32), szx: 4, ..request },
            None => Request { payload: &image, szx: 4, ..request },
        };
        pair.sides[0].endpoint.request(pair.now, Peer(7), &request).unwrap();
        let mut done = None;
        pair.run(seconds(100), &mut |now, _, endpoint, event| match event {
            Event::Request { id, payload, .. } if payload.len() > 64 => {
                endpoint.respond(now, &id, &Reply::new(Code::REQUEST_ENTITY_TOO_LARGE, b"")).unwrap();
            }
            Event::Request { id, payload, offset, more, .. } => {
                let code = server.take(offset, payload, more);
                endpoint.respond(now, &id, &Reply::new(code, b"")).unwrap();
            }
            Event::BodyWanted { exchange, offset, len } => {
                endpoint.body(now, exchange, &image[offset as usize..][..len as usize]).unwrap();
            }
            Event::Response { .. } => done = Some(now),
            other => panic!("{other:?}"),
        });
        assert!(server.has(&image));
        assert!(done.unwrap() < Instant::from_micros(400_000), "{done:?}");
    }
}

/// RFC 7959 §2.10: what the first block has made would make the condition of the others fail.
#[test]
fn if_none_match_goes_with_the_first_block_alone() {
    let image = body(64 * 9);
    let condition = [Opt { number: option::IF_NONE_MATCH, value: b"" }];
    for request in [put(), streamed(), Request { window: 1, random_access: false, ..put() }] {
        let request = Request { options: &condition, ..request };
        let (mut pair, mut server) = (before(Config::DEFAULT, Net::default(), 8), Server::new(Takes::Each));
        let told = upload(&mut pair, &request, &image, &mut server, 100);
        assert_eq!((told.code, server.has(&image)), (Some(Code::CHANGED), true));
        let conditional = pair.sides[0].sent.iter().map(|m| Message::decode(m).unwrap().options);
        let firsts: Vec<_> = conditional.map(|options| options.get(option::IF_NONE_MATCH).is_some()).collect();
        assert!(firsts[0] && firsts[1..].iter().all(|first| !first), "{firsts:?}");
    }
}
