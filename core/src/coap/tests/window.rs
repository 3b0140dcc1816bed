//! Blocks under way side by side.

use super::*;
use crate::coap::block::size;

/// What a server makes of a request for a block: a code, Block2, further options, and a payload.
type Answer = (Code, Option<Block>, Vec<(u16, Vec<u8>)>, Vec<u8>);

/// A client before a server that is no endpoint, 50 ms away; nothing is lost but what `serve` does not answer.
struct Bench {
    client: Endpoint<'static>,
    now: Instant,
    wire: BTreeMap<(Instant, u64), Vec<u8>>,
    order: u64,
    /// Blocks asked for: when, at which offset, and the message.
    asked: Vec<(Instant, u32, Vec<u8>)>,
    told: Vec<(u32, usize, bool)>,
    bytes: Vec<Option<u8>>,
    code: Option<Code>,
    failed: Option<Failure>,
}

impl Bench {
    fn new(config: Config, flights: usize) -> Self {
        Self {
            client: Endpoint::new(config, 9, resources(4096, 2, flights, 4, 0)),
            now: Instant::ZERO,
            wire: BTreeMap::new(),
            order: 0,
            asked: Vec::new(),
            told: Vec::new(),
            bytes: Vec::new(),
            code: None,
            failed: None,
        }
    }

    fn request(&mut self, request: &Request<'_>) -> Exchange {
        self.client.request(self.now, Peer(7), request).unwrap()
    }

    fn run(&mut self, until: u64, serve: &mut dyn FnMut(Block, usize) -> Option<Answer>) {
        let until = self.now.after(Duration::from_millis(until));
        loop {
            let mut buf = [0; 2048];
            let timeout = loop {
                let bytes = match self.client.poll_output(self.now, &mut buf) {
                    Output::Transmit { bytes, .. } => bytes.to_vec(),
                    Output::Event(Event::Failed { reason, .. }) => {
                        self.failed = Some(reason);
                        continue;
                    }
                    Output::Timeout(at) => break at,
                    other => panic!("{other:?}"),
                };
                let message = Message::decode(&bytes).unwrap();
                let block = message
                    .options
                    .get(option::BLOCK2)
                    .map_or(Block { szx: 6, ..Block::default() }, |v| Block::decode(v).unwrap());
                self.asked.push((self.now, block.offset(), bytes.clone()));
                let Some((code, block, mut options, payload)) = serve(block, self.asked.len()) else { continue };
                options.extend(block.map(|b| (option::BLOCK2, option::Uint::new(b.encode()).as_bytes().to_vec())));
                options.sort();
                let ty = if message.ty == Type::Confirmable { Type::Acknowledgement } else { Type::NonConfirmable };
                let mut out = [0; 2048];
                let mut encoder = Encoder::new(&mut out, ty, code, message.id, &message.token);
                for (number, value) in &options {
                    encoder.option(*number, value).unwrap();
                }
                encoder.payload(&payload);
                self.order += 1;
                let at = self.now.after(Duration::from_millis(50));
                self.wire.insert((at, self.order), encoder.finish().unwrap().to_vec());
            };
            let arrival = self.wire.keys().next().map(|(at, _)| *at);
            let Some(next) = crate::timer::earliest(arrival, timeout).filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            assert!(next > self.now || arrival == Some(next));
            self.now = next;
            if arrival == Some(next) {
                let (_, bytes) = self.wire.pop_first().unwrap();
                let Ok(handled) = self.client.handle_input(self.now, Input { peer: Peer(7), bytes: &bytes });
                if let Some(Event::Response { code, offset, payload, last, .. }) = handled.event {
                    self.code = Some(code);
                    if code.is_success() {
                        self.told.push((offset, payload.len(), last));
                        let end = offset as usize + payload.len();
                        self.bytes.resize(self.bytes.len().max(end), None);
                        for (place, byte) in self.bytes[offset as usize..].iter_mut().zip(payload) {
                            assert_eq!(place.replace(*byte), None, "{offset} told twice");
                        }
                    }
                }
            }
        }
    }

    fn is(&self, image: &[u8]) -> bool {
        self.bytes.iter().copied().eq(image.iter().copied().map(Some))
    }

    fn is_over(&self) -> bool {
        self.client.transfers.iter().all(|t| t.phase() == exchange::Phase::Free)
            && self.client.flights.iter().all(|f| f.owner == flight::Owner::Nobody)
    }
}

/// The block of `image` that is asked for; past its end nothing.
fn cut(image: &[u8], block: Block) -> Option<(Block, Vec<u8>)> {
    let start = block.offset() as usize;
    let end = image.len().min(start + block.size() as usize);
    (start < image.len()).then(|| (Block { more: end < image.len(), ..block }, image[start..end].to_vec()))
}

fn content(image: &[u8], block: Block, etag: u8) -> Option<Answer> {
    let (block, payload) = cut(image, block)?;
    let mut options = std::vec![(option::ETAG, std::vec![etag])];
    if block.num == 0 {
        options.push((option::SIZE2, option::Uint::new(image.len() as u32).as_bytes().to_vec()));
    }
    Some((Code::CONTENT, Some(block), options, payload))
}

fn windowed(szx: u8) -> Request<'static> {
    Request { window: 8, szx, ..Request::get("/image") }
}

#[test]
fn a_window_of_blocks_arrives_byte_exact_over_a_bad_network() {
    let image = body(40_000);
    for seed in 0..8 {
        let net = Net { loss: seed * 2, duplicate: 10, reorder: 10 };
        let mut pair = pair(Config::DEFAULT, net, seed);
        pair.sides[0].endpoint = Endpoint::new(Config::DEFAULT, seed, resources(512, 2, 12, 4, 0));
        let mut got = std::vec![None; image.len()];
        let (mut done, mut unordered, mut highest) = (0, false, 0);
        let request = Request { szx: 6 - (seed as u8 & 3), window: 10, ..Request::get("/image") };
        pair.sides[0].endpoint.request(pair.now, Peer(7), &request).unwrap();
        pair.run(seconds(1000), &mut |now, _, endpoint, event| match event {
            Event::Request { id, .. } => {
                let etag = [Opt { number: option::ETAG, value: b"1" }];
                let reply = Reply { options: &etag, ..Reply::new(Code::CONTENT, &image) };
                endpoint.respond(now, &id, &reply).unwrap();
            }
            Event::Response { offset, payload, last, total, .. } => {
                unordered |= offset < highest;
                highest = highest.max(offset);
                for (place, byte) in got[offset as usize..].iter_mut().zip(payload) {
                    assert_eq!(place.replace(*byte), None, "told once only");
                }
                assert_eq!(total, Some(40_000));
                done += usize::from(last);
                assert_eq!(last, got.iter().all(Option::is_some), "the last is told last");
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(done, 1, "seed {seed}");
        assert!(got.iter().zip(&image).all(|(a, b)| *a == Some(*b)));
        assert!(unordered || seed == 0);
        assert!(pair.sides[0].endpoint.flights.iter().all(|f| f.owner == flight::Owner::Nobody));
    }
}

#[test]
fn each_block_is_asked_for_by_a_plain_request_with_a_token_of_its_own() {
    let image = body(20_000);
    let mut bench = Bench::new(Config::DEFAULT, 16);
    bench.request(&windowed(6));
    bench.run(5_000, &mut |block, _| content(&image, block, 1));
    assert!(bench.is(&image) && bench.is_over());
    let messages: Vec<Message<'_>> = bench.asked.iter().map(|(_, _, m)| Message::decode(m).unwrap()).collect();
    assert_eq!(messages.len(), 20, "each once");
    for (n, m) in messages.iter().enumerate() {
        assert!(m.code == Code::GET && m.ty == Type::Confirmable && m.options.path_is("/image"));
        assert!(messages[..n].iter().all(|other| other.token != m.token && other.id != m.id));
    }
    // The first alone, then as many as the window has places.
    let at = |n: usize| bench.asked[n].0.as_micros() / 1000;
    assert!(at(0) == 0 && at(1) >= 50 && at(6) < 100 && at(19) < 250);
}

#[test]
fn never_more_are_under_way_than_the_host_or_its_memory_allows() {
    let image = body(100_000);
    for (window, flights, most) in [(8, 32, 8), (200, 8, 7), (3, 3, 3), (2, 1, 1)] {
        let mut bench = Bench::new(Config::DEFAULT, flights);
        bench.request(&Request { window, ..windowed(6) });
        let mut left = 0;
        // Of each place only the first answer is kept back for a while, so the window fills.
        for _ in 0..600 {
            bench.run(10, &mut |block, _| content(&image, block, 1));
            left = left.max(bench.wire.len());
        }
        assert_eq!(left, most);
        assert!(bench.is(&image));
    }
}

#[test]
fn without_a_size_the_end_is_found_by_asking_beyond_it() {
    let image = body(9 * 64 + 5);
    for beyond in [Some(Code::BAD_REQUEST), Some(Code::BAD_OPTION), None] {
        for len in [image.len(), 9 * 64, 64, 5] {
            let image = &image[..len];
            let mut bench = Bench::new(Config::DEFAULT, 16);
            bench.request(&windowed(2));
            bench.run(5_000, &mut |block, _| match (content(image, block, 1), beyond) {
                (Some(mut answer), _) => {
                    answer.2.retain(|(number, _)| *number != option::SIZE2);
                    Some(answer)
                }
                (None, Some(code)) => Some((code, None, Vec::new(), Vec::new())),
                (None, None) => Some((Code::CONTENT, Some(block), std::vec![(option::ETAG, std::vec![1])], Vec::new())),
            });
            assert!(bench.is(image) && bench.is_over(), "{len} {beyond:?}");
            assert_eq!(bench.told.iter().filter(|(_, _, last)| *last).count(), 1);
            assert!(bench.asked.len() <= len.div_ceil(64) + 8, "not more than a window beyond");
        }
    }
}

#[test]
fn an_error_within_the_body_is_told_and_a_size_that_was_a_guess_is_no_end() {
    let image = body(1000);
    let mut bench = Bench::new(Config::DEFAULT, 16);
    bench.request(&windowed(2));
    bench.run(60_000, &mut |block, _| {
        if block.offset() >= 512 {
            return Some((Code::NOT_FOUND, None, Vec::new(), Vec::new()));
        }
        content(&image, block, 1)
    });
    assert_eq!((bench.code, bench.bytes.len()), (Some(Code::NOT_FOUND), 512));
    assert!(bench.is_over());
    for guess in [0, 64, 640, 5000] {
        let mut bench = Bench::new(Config::DEFAULT, 16);
        bench.request(&windowed(2));
        bench.run(5_000, &mut |block, _| {
            let mut answer = content(&image, block, 1).unwrap_or((Code::BAD_REQUEST, None, Vec::new(), Vec::new()));
            answer.2.retain(|(number, _)| *number != option::SIZE2);
            answer.2.push((option::SIZE2, option::Uint::new(guess).as_bytes().to_vec()));
            Some(answer)
        });
        assert!(bench.is(&image) && bench.is_over(), "{guess}");
    }
}

#[test]
fn another_version_or_a_shorter_one_ends_it() {
    let image = body(2000);
    let mut bench = Bench::new(Config::DEFAULT, 16);
    bench.request(&windowed(2));
    bench.run(5_000, &mut |block, n| content(&image, block, if n > 12 { 2 } else { 1 }));
    assert_eq!(bench.failed, Some(Failure::Changed));
    assert!(bench.is_over());
    let mut bench = Bench::new(Config::DEFAULT, 16);
    bench.request(&windowed(2));
    bench.run(5_000, &mut |block, n| {
        content(&image[..if n == 8 { block.offset() as usize + 9 } else { 2000 }], block, 1)
    });
    assert_eq!(bench.failed, Some(Failure::Changed), "one block says the body ends before others");
}

#[test]
fn a_server_may_turn_to_smaller_blocks_in_the_middle() {
    let image = body(5000);
    let mut bench = Bench::new(Config::DEFAULT, 16);
    bench.request(&windowed(4));
    bench.run(20_000, &mut |block, n| {
        let small = if n > 7 { block.szx.min(2) } else { block.szx };
        content(&image, Block::at(block.offset(), false, small), 1)
    });
    assert!(bench.is(&image) && bench.is_over());
    assert!(bench.told.iter().any(|(_, len, _)| *len == 256) && bench.told.iter().any(|(_, len, _)| *len == 64));
}

#[test]
fn a_server_that_is_busy_is_left_alone_for_max_age() {
    let image = body(3000);
    for code in [Code::SERVICE_UNAVAILABLE, Code::new(4, 29)] {
        let mut bench = Bench::new(Config::DEFAULT, 16);
        bench.request(&windowed(2));
        let mut refused = Vec::new();
        let mut calm = Instant::ZERO;
        for _ in 0..2000 {
            let now = bench.now;
            bench.run(10, &mut |block, n| {
                if (10..14).contains(&n) {
                    refused.push(block.offset());
                    calm = now.after(Duration::from_millis(60 + 7_000));
                    return Some((code, None, std::vec![(option::MAX_AGE, std::vec![7])], Vec::new()));
                }
                content(&image, block, 1)
            });
        }
        assert!(bench.is(&image) && bench.is_over());
        assert_eq!(refused.len(), 4);
        let again = bench.asked.iter().skip(14).find(|(_, offset, _)| refused.contains(offset)).unwrap();
        assert!(again.0 >= seconds(7) && again.0 <= calm, "{:?}", again.0);
    }
    // For ever is not waited for.
    let mut bench = Bench::new(Config::DEFAULT, 16);
    bench.request(&windowed(2));
    bench.run(10_000_000, &mut |block, n| match n {
        5.. => Some((Code::SERVICE_UNAVAILABLE, None, std::vec![(option::MAX_AGE, std::vec![7])], Vec::new())),
        _ => content(&image, block, 1),
    });
    assert_eq!(bench.code, Some(Code::SERVICE_UNAVAILABLE));
    assert!(bench.is_over() && bench.asked.len() < 30);
}

#[test]
fn what_is_missing_between_blocks_is_fetched_alone() {
    let image = body(5000);
    let mut bench = Bench::new(Config::DEFAULT, 16);
    let etag = ETag::new(&[1]);
    bench.request(&Request { offset: 1024, until: 3072, etag, ..windowed(4) });
    bench.run(5_000, &mut |block, _| content(&image, block, 1));
    assert!(bench.bytes[1024..].iter().zip(&image[1024..3072]).all(|(a, b)| *a == Some(*b)));
    assert_eq!((bench.bytes.len(), bench.asked.len(), bench.is_over()), (3072, 8, true));
    let mut bench = Bench::new(Config::DEFAULT, 16);
    bench.request(&Request { offset: 1024, until: 3072, etag: ETag::new(&[2]), ..windowed(4) });
    bench.run(5_000, &mut |block, _| content(&image, block, 1));
    assert_eq!(bench.failed, Some(Failure::Changed));
}

#[test]
fn blocks_that_the_host_has_not_stored_keep_their_places() {
    let image = body(5000);
    let mut bench = Bench::new(Config::DEFAULT, 16);
    let exchange = bench.request(&Request { flow: Flow::Manual, ..windowed(2) });
    let mut stored = 0;
    for _ in 0..1000 {
        bench.run(60, &mut |block, _| content(&image, block, 1));
        assert!(bench.asked.len() <= stored + 8 + 1);
        if bench.told.len() > stored {
            stored += 1;
            let over = bench.is_over();
            assert_eq!(bench.client.advance(bench.now, exchange).is_err(), over);
        } else if !bench.is_over() {
            assert!(bench.client.advance(bench.now, exchange).is_err(), "nothing was told");
        }
    }
    assert!(bench.is(&image) && bench.is_over());
}

#[test]
fn a_lost_block_is_asked_for_again_as_the_same_message_then_as_another() {
    let image = body(20_000);
    let mut bench = Bench::new(Config::DEFAULT, 16);
    bench.request(&windowed(6));
    let mut lost = 0;
    bench.run(20_000, &mut |block, _| {
        if block.num == 3 && lost < 7 {
            lost += 1;
            return None;
        }
        content(&image, block, 1)
    });
    assert!(bench.is(&image) && bench.is_over());
    let third: Vec<&Vec<u8>> = bench.asked.iter().filter(|(_, at, _)| *at == 3072).map(|(_, _, m)| m).collect();
    assert_eq!(third.len(), 8);
    assert!(third[..5].iter().all(|m| *m == third[0]), "MAX_RETRANSMIT times as it was");
    assert!(third[5] != third[0] && third[5..].iter().all(|m| *m == third[5]));
    assert_eq!(bench.asked.len(), 27, "and nothing else twice");
}

#[test]
fn a_dead_path_is_asked_ever_more_rarely_and_given_up() {
    let image = body(20_000);
    let mut bench = Bench::new(Config::DEFAULT, 16);
    bench.request(&windowed(6));
    bench.run(92_000, &mut |block, n| if n > 9 { None } else { content(&image, block, 1) });
    assert_eq!(bench.failed, None);
    bench.run(100_000, &mut |_, _| None);
    assert_eq!(bench.failed, Some(Failure::Timeout));
    assert!(bench.is_over());
    assert!(bench.asked.len() < 9 + 8 + 15, "{}", bench.asked.len());
    // One that comes back goes on, however long it takes in all.
    let mut bench = Bench::new(Config::DEFAULT, 16);
    bench.request(&windowed(0));
    let mut answered = 0;
    for _ in 0..8 {
        answered += 30;
        let mut left = 30;
        bench.run(50_000, &mut |block, _| {
            left = i32::max(left - 1, 0);
            if left == 0 { None } else { content(&image[..3000], block, 1) }
        });
    }
    assert!(bench.is(&image[..3000]), "{answered} {:?} {}", bench.failed, bench.told.len());
}

#[test]
fn a_window_leaves_room_for_other_requests() {
    let image = body(60_000);
    let mut bench = Bench::new(Config::DEFAULT, 8);
    bench.request(&Request { window: 100, ..windowed(2) });
    bench.run(300, &mut |block, _| content(&image, block, 1));
    let before = bench.asked.len();
    bench.client.ping(bench.now, Peer(7)).unwrap();
    bench.client.cancel(bench.now, bench.client.transfers[0].handle(0)).unwrap();
    assert!(before > 20);
    // Two at a time share.
    let mut bench = Bench::new(Config::DEFAULT, 8);
    let first = bench.request(&Request { window: 100, ..windowed(2) });
    bench.run(200, &mut |block, _| content(&image, block, 1));
    let second = bench.request(&Request { window: 100, ..windowed(2) });
    bench.bytes.clear();
    let mut buf = [0; 2048];
    let mut served = [0_u32; 2];
    for _ in 0..20 {
        bench.now = bench.now.after(Duration::from_millis(50));
        let mut due = Vec::new();
        for (_, bytes) in core::mem::take(&mut bench.wire) {
            due.push(bytes);
        }
        while let Output::Transmit { bytes, .. } = bench.client.poll_output(bench.now, &mut buf) {
            let m = Message::decode(bytes).unwrap();
            let block = m.options.get(option::BLOCK2).and_then(Block::decode).unwrap();
            let (block, payload) = cut(&image, block).unwrap();
            let mut out = [0; 256];
            let mut encoder = Encoder::new(&mut out, Type::Acknowledgement, Code::CONTENT, m.id, &m.token);
            encoder.option(option::ETAG, &[1]).unwrap();
            encoder.option(option::BLOCK2, option::Uint::new(block.encode()).as_bytes()).unwrap();
            encoder.payload(&payload);
            due.push(encoder.finish().unwrap().to_vec());
        }
        for bytes in due {
            let Ok(handled) = bench.client.handle_input(bench.now, Input { peer: Peer(7), bytes: &bytes });
            if let Some(Event::Response { exchange, .. }) = handled.event {
                served[usize::from(exchange == second)] += 1;
                assert!(exchange == first || exchange == second);
            }
        }
    }
    assert!(served[0] > 10 && served[1] > 10, "{served:?}");
}

#[test]
fn the_standards_policies_fetch_one_block_after_the_other() {
    let image = body(5000);
    for policy in [Policy::Standard, Policy::Cocoa] {
        let mut bench = Bench::new(Config { policy, ..Config::DEFAULT }, 16);
        bench.request(&windowed(2));
        let mut out = 0;
        for _ in 0..1000 {
            bench.run(10, &mut |block, _| content(&image, block, 1));
            out = out.max(bench.wire.len());
        }
        assert_eq!(out, 1);
        assert!(bench.is(&image) && bench.is_over());
        assert!(bench.told.windows(2).all(|pair| pair[0].0 + size(2) == pair[1].0), "in order");
    }
}

#[test]
fn cocoa_goes_by_the_round_trips_that_it_measured() {
    let image = body(10_000);
    let mut bench = Bench::new(Config { policy: Policy::Cocoa, ..Config::DEFAULT }, 4);
    bench.request(&Request { szx: 2, ..Request::get("/image") });
    let mut lost = None;
    for _ in 0..800 {
        let now = bench.now;
        bench.run(10, &mut |block, n| {
            if n == 100 {
                lost = Some((now, block.offset()));
                return None;
            }
            content(&image, block, 1)
        });
    }
    let (at, offset) = lost.unwrap();
    let again = bench.asked.iter().filter(|(_, o, _)| *o == offset).nth(1).unwrap().0;
    let waited = again.since(at).as_micros() / 1000;
    assert!((50..200).contains(&waited), "{waited} ms, not two seconds");
}

#[test]
fn a_server_that_asks_who_is_there_in_the_middle_gets_an_answer_for_each_block() {
    let image = body(5000);
    let mut bench = Bench::new(Config::DEFAULT, 16);
    bench.request(&windowed(2));
    let (mut first, mut refused) = (None, 0);
    for _ in 0..200 {
        let before = bench.asked.len();
        bench.run(10, &mut |block, n| {
            // From the tenth on those are refused that were under way when the value changed.
            let late = n >= 10 && first.is_none_or(|first| n < first + 6);
            if late {
                first = first.or(Some(n));
                refused += 1;
                return Some((Code::UNAUTHORIZED, None, std::vec![(option::ECHO, std::vec![7; 8])], Vec::new()));
            }
            content(&image, block, 1)
        });
        for (_, _, message) in &bench.asked[before..] {
            let message = Message::decode(message).unwrap();
            let echo = message.options.get(option::ECHO);
            assert!(echo.is_none_or(|value| value == [7; 8]));
        }
    }
    assert_eq!(refused, 6);
    assert!(bench.is(&image) && bench.is_over(), "{:?}", bench.code);
}

#[test]
fn a_body_of_more_blocks_than_there_are_message_ids_goes_on_by_non_and_uses_none_too_soon() {
    let image = body(72_000 * 16);
    let mut bench = Bench::new(Config::DEFAULT, 250);
    bench.request(&Request { window: 200, ..windowed(0) });
    bench.run(1_000_000, &mut |block, _| content(&image, block, 1));
    assert!(bench.is(&image) && bench.is_over());
    let mut last = std::collections::BTreeMap::new();
    let mut types = [0, 0];
    for (now, _, message) in &bench.asked {
        let message = Message::decode(message).unwrap();
        let confirmable = message.ty == Type::Confirmable;
        types[usize::from(confirmable)] += 1;
        if let Some((at, con)) = last.insert(message.id, (*now, confirmable)) {
            let least = Duration::from_secs(if con { 247 } else { 100 });
            assert!(now.since(at) >= least, "{} again after {:?}", message.id, now.since(at));
        }
    }
    assert!(types[0] > 40_000 && types[1] > 0, "{types:?}");
    let (end, first) = (bench.asked[49_000].0, bench.asked[0].0);
    assert!(
        end.since(first) < Duration::from_secs(40),
        "{:?}, three quarters of the IDs as fast as the window goes",
        end.since(first)
    );
}

#[test]
fn a_request_that_stands_alone_is_sent_again_by_what_is_known_of_its_peer() {
    for (policy, window) in [(Policy::Windowed, 1), (Policy::Windowed, 8), (Policy::Cocoa, 1), (Policy::Standard, 1)] {
        let image = body(300);
        let mut bench = Bench::new(Config { policy, ..Config::DEFAULT }, 8);
        let request = Request { window, szx: 2, ..Request::get("/state") };
        let gaps = |bench: &mut Bench| {
            let before = bench.asked.len();
            bench.request(&Request { window: 1, ..request });
            bench.run(100_000, &mut |_, _| None);
            let sent: Vec<u64> = bench.asked[before..].iter().map(|(at, ..)| at.as_micros() / 1000).collect();
            sent.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<u64>>()
        };
        let unknown = gaps(&mut bench);
        assert!((2_000..3_000).contains(&unknown[0]), "{unknown:?}");
        bench.request(&request);
        bench.run(5_000, &mut |block, _| content(&image, block, 1));
        assert!(bench.is(&image));
        let known = gaps(&mut bench);
        assert_eq!(known.len(), 4, "{policy:?}");
        match policy {
            Policy::Standard => assert!((2_000..3_000).contains(&known[0]), "{known:?}"),
            Policy::Cocoa => assert!(known[0] < 1_500, "{known:?}"),
            Policy::Windowed => {
                assert!((200..=451).contains(&known[0]), "{known:?}");
                assert!(
                    (2_000..=3_000).contains(&known[1]) && known[3] >= 8_000,
                    "then as the standard has it: {known:?}"
                );
            }
        }
    }
}

#[test]
fn what_is_known_of_peers_takes_no_place_from_a_window() {
    let image = body(3000);
    let mut bench = Bench::new(Config::DEFAULT, 16);
    for _ in 0..5 {
        bench.request(&Request::get("/state"));
        bench.run(1_000, &mut |_, _| Some((Code::CONTENT, None, Vec::new(), std::vec![0; 8])));
        bench.bytes.clear();
    }
    for _ in 0..3 {
        let before = bench.asked.len();
        bench.request(&windowed(2));
        bench.run(2_000, &mut |block, _| content(&image, block, 1));
        assert!(bench.is(&image));
        let sent = &bench.asked[before..];
        assert!(sent[46].0.since(sent[0].0) < Duration::from_millis(700), "some at a time");
        bench.bytes.clear();
    }
}
