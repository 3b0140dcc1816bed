//! Requests, answers, duplicates, observations.

use super::*;

pub(super) fn message(ty: Type, code: Code, id: u16, token: &[u8], options: &[Opt<'_>], payload: &[u8]) -> Vec<u8> {
    let mut buf = [0; 1500];
    let mut encoder = Encoder::new(&mut buf, ty, code, id, &Token::new(token).unwrap());
    for o in options {
        encoder.option(o.number, o.value).unwrap();
    }
    encoder.payload(payload);
    encoder.finish().unwrap().to_vec()
}

pub(super) fn endpoint() -> Endpoint<'static> {
    Endpoint::new(Config::DEFAULT, 1, resources(512, 2, 2, 4, 2))
}

pub(super) fn give<'i>(endpoint: &mut Endpoint<'static>, now: Instant, bytes: &'i [u8]) -> Option<Event<'i>> {
    let Ok(handled) = endpoint.handle_input(now, Input { peer: Peer(7), bytes });
    handled.event
}

pub(super) fn request(event: Option<Event<'_>>) -> RequestId {
    match event {
        Some(Event::Request { id, .. }) => id,
        other => panic!("{other:?}"),
    }
}

/// All that is due, decoded to what matters: type, code, message ID, payload.
pub(super) fn sent(endpoint: &mut Endpoint<'static>, now: Instant) -> Vec<(Type, Code, u16, Vec<u8>)> {
    let mut all = Vec::new();
    let mut buf = [0; 1500];
    while let Output::Transmit { bytes, .. } = endpoint.poll_output(now, &mut buf) {
        let m = Message::decode(bytes).unwrap();
        all.push((m.ty, m.code, m.id, m.payload.to_vec()));
    }
    all
}

use Type::{Acknowledgement as ACK, Confirmable as CON, NonConfirmable as NON, Reset as RST};
pub(super) const T0: Instant = Instant::ZERO;

#[test]
fn a_response_rides_on_the_acknowledgement_and_is_kept_for_duplicates() {
    let mut server = endpoint();
    let get = message(CON, Code::GET, 5, b"t", &[], b"");
    let id = request(give(&mut server, T0, &get));
    assert!(give(&mut server, T0, &get).is_none(), "the host has it");
    assert!(sent(&mut server, T0).is_empty());
    server.respond(T0, &id, &Reply::new(Code::CONTENT, b"hi")).unwrap();
    assert_eq!(server.respond(T0, &id, &Reply::new(Code::CONTENT, b"hi")), Err(endpoint::UNKNOWN));
    let answer = [(ACK, Code::CONTENT, 5, b"hi".to_vec())];
    assert_eq!(sent(&mut server, T0), answer);
    assert!(give(&mut server, seconds(200), &get).is_none());
    assert_eq!(sent(&mut server, seconds(200)), answer);
    assert!(give(&mut server, seconds(247), &get).is_some(), "EXCHANGE_LIFETIME is over");
    assert_eq!(server.stats().duplicates, 2);
}

#[test]
fn a_slow_host_is_acknowledged_for_and_answers_separately() {
    let mut server = endpoint();
    let id = request(give(&mut server, T0, &message(CON, Code::POST, 5, b"t", &[], b"")));
    assert_eq!(server.next_timeout(), Some(seconds(1)));
    assert_eq!(sent(&mut server, seconds(1)), [(ACK, Code::EMPTY, 5, Vec::new())]);
    server.respond(seconds(2), &id, &Reply::new(Code::CHANGED, b"late")).unwrap();
    let first = sent(&mut server, seconds(2));
    assert_eq!((first[0].0, first[0].1, &first[0].3[..]), (CON, Code::CHANGED, &b"late"[..]));
    assert_eq!(sent(&mut server, seconds(5)), first, "not acknowledged: again");
    let ack = message(ACK, Code::EMPTY, first[0].2, b"", &[], b"");
    assert!(give(&mut server, seconds(5), &ack).is_none());
    assert!(sent(&mut server, seconds(60)).is_empty());
    assert_eq!(server.next_timeout(), None);
    assert!(server.arena.is_empty());
}

#[test]
fn separate_responses_reach_the_client_once_whatever_is_lost() {
    for seed in 0..30 {
        let mut pair = pair(Config::DEFAULT, Net { loss: 20, duplicate: 20, reorder: 20 }, seed);
        let (mut asked, mut got) = (0, Got::default());
        pair.sides[0].endpoint.request(pair.now, Peer(7), &Request::new(Code::POST, "/slow")).unwrap();
        pair.run(seconds(2000), &mut |now, side, endpoint, event| match event {
            Event::Request { id, .. } => {
                assert_eq!(side, 1);
                asked += 1;
                endpoint.acknowledge(now, &id).unwrap();
                endpoint.respond(now, &id, &Reply::new(Code::CHANGED, b"done")).unwrap();
            }
            event => got.take(&event),
        });
        assert_eq!((asked, got.done, got.failed.len()), (1, 1, 0), "seed {seed}");
    }
}

#[test]
fn a_non_request_has_a_non_response_and_is_handled_once() {
    let mut server = endpoint();
    let get = message(NON, Code::GET, 5, b"t", &[], b"");
    let id = request(give(&mut server, T0, &get));
    server.respond(T0, &id, &Reply::new(Code::CONTENT, b"hi")).unwrap();
    let answers = sent(&mut server, T0);
    assert_eq!((answers.len(), answers[0].0), (1, NON));
    assert!(give(&mut server, T0, &get).is_none());
    assert!(sent(&mut server, T0).is_empty() && server.arena.is_empty());
    let mut pair = pair(Config::DEFAULT, Net { duplicate: 50, ..Net::default() }, 3);
    let mut got = Got::default();
    let request = Request { confirmable: false, ..Request::get("/x") };
    pair.sides[0].endpoint.request(T0, Peer(7), &request).unwrap();
    pair.run(seconds(1000), &mut |now, _, endpoint, event| match event {
        Event::Request { id, .. } => endpoint.respond(now, &id, &Reply::new(Code::CONTENT, &[9; 2000])).unwrap(),
        event => got.take(&event),
    });
    assert_eq!((got.bytes.len(), got.done), (2000, 1));
}

#[test]
fn what_cannot_be_understood_is_answered_as_the_standard_says() {
    let critical = Opt { number: 9, value: b"" };
    let szx7 = Opt { number: option::BLOCK2, value: &[7] };
    let long = Opt { number: option::BLOCK2, value: &[0; 4] };
    let host = Opt { number: option::URI_HOST, value: b"a" };
    let short = Opt { number: option::BLOCK1, value: &[0x08] };
    let proxy = Opt { number: option::PROXY_URI, value: b"coap://x" };
    for (bytes, want) in [
        (message(CON, Code::GET, 1, b"", &[critical], b""), Some((ACK, Code::BAD_OPTION))),
        (message(NON, Code::GET, 1, b"", &[critical], b""), None),
        (message(CON, Code::GET, 1, b"", &[long], b""), Some((ACK, Code::BAD_OPTION))),
        (message(CON, Code::GET, 1, b"", &[host, host], b""), Some((ACK, Code::BAD_OPTION))),
        (message(CON, Code::GET, 1, b"", &[szx7], b""), Some((ACK, Code::BAD_REQUEST))),
        (message(CON, Code::PUT, 1, b"", &[short], b"short"), Some((ACK, Code::BAD_REQUEST))),
        (message(CON, Code::GET, 1, b"", &[proxy], b""), Some((ACK, Code::PROXYING_NOT_SUPPORTED))),
        (message(CON, Code::EMPTY, 1, b"", &[], b""), Some((RST, Code::EMPTY))),
        (message(CON, Code::CONTENT, 1, b"t", &[], b""), Some((RST, Code::EMPTY))),
        (message(NON, Code::CONTENT, 1, b"t", &[], b""), None),
        (
            message(NON, Code::CONTENT, 1, b"t", &[Opt { number: option::OBSERVE, value: &[1] }], b""),
            Some((RST, Code::EMPTY)),
        ),
        (message(ACK, Code::CONTENT, 1, b"t", &[], b""), None),
        (message(ACK, Code::EMPTY, 1, b"", &[], b""), None),
        (message(RST, Code::EMPTY, 1, b"", &[], b""), None),
        (b"\x40\x01\x00\x01\xff".to_vec(), Some((RST, Code::EMPTY))),
        (b"\x49\x01\x00\x01".to_vec(), Some((RST, Code::EMPTY))),
        (b"\x50\x01\x00\x01\xff".to_vec(), None),
        (b"\x00\x01\x00\x01".to_vec(), None),
        (b"\x40\x01\x00".to_vec(), None),
    ] {
        let mut server = endpoint();
        assert!(give(&mut server, T0, &bytes).is_none(), "{bytes:x?}");
        let answers: Vec<_> = sent(&mut server, T0).iter().map(|a| (a.0, a.1)).collect();
        assert_eq!(answers, want.into_iter().collect::<Vec<_>>(), "{bytes:x?}");
    }
}

#[test]
fn a_flood_of_requests_costs_constant_memory_and_stays_lawful() {
    let mut server = endpoint();
    for n in 0..5_000_u32 {
        let id = request(give(&mut server, T0, &message(CON, Code::GET, n as u16, b"t", &[], b"")));
        server.respond(T0, &id, &Reply::new(Code::CONTENT, &[1; 100])).unwrap();
        assert_eq!(sent(&mut server, T0).len(), 1);
    }
    // Requests that are not idempotent keep their places, but at most half of them; the others are turned away unhandled.
    let mut server = endpoint();
    let mut handled = 0;
    for n in 0..100 {
        match give(&mut server, T0, &message(CON, Code::POST, n, b"t", &[], b"")) {
            Some(Event::Request { id, .. }) => {
                handled += 1;
                server.respond(T0, &id, &Reply::new(Code::CHANGED, &[1; 100])).unwrap();
                assert_eq!(sent(&mut server, T0)[0].1, Code::CHANGED);
            }
            _ => assert_eq!(sent(&mut server, T0)[0].1, Code::SERVICE_UNAVAILABLE),
        }
    }
    assert_eq!(handled, 2);
    // Their answers leave the arena when it is needed; then a duplicate has the same code at least, and is not handled.
    let id = request(give(&mut server, T0, &message(CON, Code::GET, 200, b"t", &[], b"")));
    server.respond(T0, &id, &Reply::new(Code::CONTENT, &[1; 480])).unwrap();
    sent(&mut server, T0);
    assert!(give(&mut server, T0, &message(CON, Code::POST, 0, b"t", &[], b"")).is_none());
    assert_eq!(sent(&mut server, T0), [(ACK, Code::CHANGED, 0, Vec::new())]);
    // And they are free again after EXCHANGE_LIFETIME.
    request(give(&mut server, seconds(250), &message(CON, Code::POST, 300, b"t", &[], b"")));
}

#[test]
fn requests_the_host_holds_are_not_forgotten() {
    let mut server = endpoint();
    let ids: Vec<_> =
        (0..4).map(|n| request(give(&mut server, T0, &message(CON, Code::GET, n, b"t", &[], b"")))).collect();
    assert!(give(&mut server, T0, &message(CON, Code::GET, 9, b"t", &[], b"")).is_none());
    assert_eq!(server.stats().dropped, 1);
    for id in &ids {
        server.respond(T0, id, &Reply::new(Code::CONTENT, b"x")).unwrap();
    }
    assert_eq!(sent(&mut server, T0).len(), 4);
    request(give(&mut server, T0, &message(CON, Code::GET, 9, b"t", &[], b"")));
}

#[test]
fn a_ping_is_answered_by_a_reset() {
    let mut pair = pair(Config::DEFAULT, Net::default(), 1);
    let mut pongs = 0;
    pair.sides[0].endpoint.ping(T0, Peer(7)).unwrap();
    pair.run(seconds(100), &mut |_, _, _, event| pongs += usize::from(matches!(event, Event::Pong { .. })));
    assert_eq!(pongs, 1);
    pair.net.loss = 100;
    pair.sides[0].endpoint.ping(pair.now, Peer(7)).unwrap();
    let mut silent = 0;
    pair.run(seconds(1000), &mut |_, _, _, event| silent += usize::from(matches!(event, Event::Silent { .. })));
    assert_eq!(silent, 1);
}

#[test]
fn a_host_without_the_resource_resets_nothing_but_a_reset_fails_the_request() {
    let mut client = endpoint();
    client.request(T0, Peer(7), &Request::get("/x")).unwrap();
    let mid = sent(&mut client, T0)[0].2;
    assert!(give(&mut client, T0, &message(RST, Code::EMPTY, mid, b"", &[], b"")).is_none());
    assert!(matches!(client.poll_output(T0, &mut []), Output::Event(Event::Failed { reason: Failure::Reset, .. })));
    assert!(matches!(client.poll_output(T0, &mut []), Output::Timeout(None)));
}

#[test]
fn a_response_with_an_unknown_critical_option_is_rejected() {
    let mut client = endpoint();
    client.request(T0, Peer(7), &Request::get("/x")).unwrap();
    let mut buf = [0; 64];
    let Output::Transmit { bytes, .. } = client.poll_output(T0, &mut buf) else { panic!() };
    let token = Message::decode(bytes).unwrap().token;
    let response = message(CON, Code::CONTENT, 77, token.as_bytes(), &[Opt { number: 9, value: b"" }], b"");
    assert!(give(&mut client, T0, &response).is_none());
    assert_eq!(sent(&mut client, T0), [(RST, Code::EMPTY, 77, Vec::new())]);
}

/// Observes, and changes the state `changes` times, `every` seconds; both sides over `net`.
fn observe(net: Net, seed: u64, len: usize, confirmable: bool, changes: u32, every: u64) -> (Got, Vec<u8>, Pair) {
    let mut pair = pair(Config { szx: 3, ..Config::DEFAULT }, net, seed);
    let mut got = Got::default();
    let mut state = body(len);
    let etag = |state: &[u8]| [state[0], state[1]];
    pair.sides[0].endpoint.request(T0, Peer(7), &Request { observe: true, ..Request::get("/s") }).unwrap();
    // The client registers again every minute or so: a transfer that is under way at the end may come to its own.
    for n in 0..=changes + 20 {
        if n > changes && got.bytes.len() == state.len() {
            break;
        }
        if n != 0 && n <= changes {
            state[0] = state[0].wrapping_add(1);
            let tag = etag(&state);
            let options = [Opt { number: option::ETAG, value: &tag }];
            let reply = Reply { options: &options, confirmable, ..Reply::new(Code::CONTENT, &state) };
            let now = pair.now;
            pair.sides[1].endpoint.notify(now, Resource(3), &reply).unwrap();
        }
        let until = pair.now.after(Duration::from_secs(match n {
            _ if n < changes => every,
            _ if n == changes => 400,
            _ => 5,
        }));
        pair.run(until, &mut |now, _, endpoint, event| match event {
            Event::Request { id, .. } => {
                let tag = etag(&state);
                let options = [Opt { number: option::ETAG, value: &tag }];
                let reply =
                    Reply { options: &options, observe: Some(Resource(3)), ..Reply::new(Code::CONTENT, &state) };
                endpoint.respond(now, &id, &reply).unwrap();
            }
            event => got.take(&event),
        });
    }
    (got, state, pair)
}

#[test]
fn an_observer_ends_with_the_last_state() {
    for (len, confirmable) in [(50, true), (50, false), (1000, true), (1000, false)] {
        let (got, state, pair) = observe(Net::default(), 1, len, confirmable, 5, 10);
        assert!(got.bytes == state && got.failed.is_empty(), "{len} {confirmable}");
        assert!(got.observed.len() >= 6);
        assert!(got.observed.is_sorted());
        assert_eq!(pair.sides[1].endpoint.observers(Resource(3)), 1);
    }
    for seed in 0..20 {
        let net = Net { loss: 10, duplicate: 10, reorder: 20 };
        let (got, state, _) = observe(net, seed, 1000, true, 10, 2);
        assert!(got.bytes == state && got.failed.is_empty(), "seed {seed} {:?}", got.failed);
    }
}

#[test]
fn a_notification_stands_once_in_the_arena() {
    let mut server = Endpoint::new(Config::DEFAULT, 1, resources(200, 0, 4, 4, 4));
    let observe = Opt { number: option::OBSERVE, value: b"" };
    for n in 0..4_u8 {
        let id = request(give(&mut server, T0, &message(CON, Code::GET, u16::from(n), &[n], &[observe], b"")));
        let reply = Reply { observe: Some(Resource(1)), ..Reply::new(Code::CONTENT, b"x") };
        server.respond(T0, &id, &reply).unwrap();
        sent(&mut server, T0);
    }
    assert_eq!(server.notify(T0, Resource(1), &Reply::new(Code::CONTENT, &[7; 100])), Ok(4));
    assert_eq!(server.notify(T0, Resource(2), &Reply::new(Code::CONTENT, &[7; 100])), Ok(0));
    let first = sent(&mut server, T0);
    assert_eq!(first.len(), 1, "NSTART");
    // A newer state while the first notification is under way: that one is not sent again as it was.
    server.notify(T0, Resource(1), &Reply { confirmable: false, ..Reply::new(Code::CONTENT, &[8; 20]) }).unwrap();
    let mut again = sent(&mut server, seconds(3));
    assert_ne!(again[0].2, first[0].2);
    for _ in 0..4 {
        assert_eq!((again.len(), &again[0].3[..]), (1, &[8; 20][..]));
        give(&mut server, seconds(3), &message(ACK, Code::EMPTY, again[0].2, b"", &[], b""));
        again = sent(&mut server, seconds(3));
    }
    assert!(again.is_empty());
    server
        .notify(seconds(3), Resource(1), &Reply { confirmable: false, ..Reply::new(Code::CONTENT, &[9; 20]) })
        .unwrap();
    assert_eq!(sent(&mut server, seconds(3)).iter().filter(|m| m.0 == NON && m.3 == [9; 20]).count(), 4);
    assert!(server.arena.get(endpoint::tag::NOTE.of(server.sequence as usize)).is_none());
}

#[test]
fn observers_leave_by_deregistering_by_reset_and_by_silence() {
    let observe = |value| [Opt { number: option::OBSERVE, value }];
    let register = |server: &mut Endpoint<'static>| {
        let id = request(give(server, T0, &message(CON, Code::GET, 1, b"t", &observe(b""), b"")));
        let reply = Reply { observe: Some(Resource(1)), ..Reply::new(Code::CONTENT, b"x") };
        server.respond(T0, &id, &reply).unwrap();
        sent(server, T0);
    };
    let gone = |server: &mut Endpoint<'static>, now| {
        let mut buf = [0; 64];
        for _ in 0..9 {
            if let Output::Event(Event::ObserverGone { resource: Resource(1), .. }) = server.poll_output(now, &mut buf)
            {
                return server.observers(Resource(1)) == 0;
            }
        }
        false
    };
    let mut server = endpoint();
    register(&mut server);
    let id = request(give(&mut server, T0, &message(CON, Code::GET, 2, b"t", &observe(&[1]), b"")));
    assert!(!id.observes());
    assert!(gone(&mut server, T0));
    for confirmable in [true, false] {
        let mut server = endpoint();
        register(&mut server);
        server.notify(T0, Resource(1), &Reply { confirmable, ..Reply::new(Code::CONTENT, b"y") }).unwrap();
        let mid = sent(&mut server, T0)[0].2;
        give(&mut server, T0, &message(RST, Code::EMPTY, mid, b"", &[], b""));
        assert!(gone(&mut server, T0), "{confirmable}");
    }
    let mut server = endpoint();
    register(&mut server);
    server.notify(T0, Resource(1), &Reply::new(Code::CONTENT, b"y")).unwrap();
    for second in 0..100 {
        sent(&mut server, seconds(second));
        if server.observers(Resource(1)) == 0 {
            return assert!(second > 60);
        }
    }
    panic!("still there");
}

#[test]
fn an_old_notification_is_no_news() {
    let mut client = endpoint();
    client.request(T0, Peer(7), &Request { observe: true, ..Request::get("/x") }).unwrap();
    let mut buf = [0; 64];
    let Output::Transmit { bytes, .. } = client.poll_output(T0, &mut buf) else { panic!() };
    let token = Message::decode(bytes).unwrap().token;
    let mut mid = 0;
    let mut note = |client: &mut Endpoint<'static>, now, sequence: u32| {
        mid += 1;
        let value = option::Uint::new(sequence);
        let options = [Opt { number: option::OBSERVE, value: value.as_bytes() }];
        let bytes = message(CON, Code::CONTENT, mid, token.as_bytes(), &options, b"x");
        let news = give(client, now, &bytes).is_some();
        assert_eq!(sent(client, now), [(ACK, Code::EMPTY, mid, Vec::new())], "acknowledged in any case");
        news
    };
    assert!(note(&mut client, T0, 5));
    assert!(!note(&mut client, T0, 5) && !note(&mut client, T0, 4) && note(&mut client, T0, 6));
    assert!(note(&mut client, T0, 0x80_0005) && note(&mut client, T0, 0xFF_FFFF) && note(&mut client, T0, 1));
    assert!(!note(&mut client, T0, 0xFF_FFFF));
    assert_eq!(client.stats().stale, 3);
}

#[test]
fn an_observation_registers_again_when_max_age_is_over_and_deregisters() {
    let mut pair = pair(Config::DEFAULT, Net::default(), 1);
    let mut seen = Vec::new();
    let host = |now, endpoint: &mut Endpoint<'static>, event: Event<'_>, seen: &mut Vec<_>| match event {
        Event::Request { id, options, .. } => {
            let fresh = options.get(option::ETAG) == Some(b"v1");
            let options = [Opt { number: option::ETAG, value: b"v1" }];
            let (code, body) = if fresh { (Code::VALID, &b""[..]) } else { (Code::CONTENT, &[5; 3000][..]) };
            let reply = Reply { options: &options, observe: Some(Resource(3)), ..Reply::new(code, body) };
            endpoint.respond(now, &id, &reply).unwrap();
        }
        Event::Response { code, observe, .. } => seen.push((code, observe.is_some())),
        other => panic!("{other:?}"),
    };
    let exchange =
        pair.sides[0].endpoint.request(T0, Peer(7), &Request { observe: true, ..Request::get("/s") }).unwrap();
    pair.run(seconds(50), &mut |now, _, endpoint, event| host(now, endpoint, event, &mut seen));
    assert_eq!(seen, [(Code::CONTENT, true); 3]);
    pair.run(seconds(80), &mut |now, _, endpoint, event| host(now, endpoint, event, &mut seen));
    assert_eq!(seen[3..], [(Code::VALID, true)]);
    let now = pair.now;
    pair.sides[0].endpoint.cancel(now, exchange).unwrap();
    let mut gone = 0;
    pair.run(seconds(1000), &mut |now, _, endpoint, event| match event {
        Event::ObserverGone { .. } => gone += 1,
        event => host(now, endpoint, event, &mut seen),
    });
    assert_eq!((gone, seen.len()), (1, 4));
    assert!(pair.sides[0].endpoint.arena.is_empty());
}

#[test]
fn an_error_notification_ends_the_observation_on_both_sides() {
    let mut pair = pair(Config::DEFAULT, Net::default(), 1);
    let mut last = None;
    pair.sides[0].endpoint.request(T0, Peer(7), &Request { observe: true, ..Request::get("/s") }).unwrap();
    for turn in 1..=2 {
        pair.run(seconds(turn * 10), &mut |now, _, endpoint, event| match event {
            Event::Request { id, .. } => {
                let reply = Reply { observe: Some(Resource(3)), ..Reply::new(Code::CONTENT, b"x") };
                endpoint.respond(now, &id, &reply).unwrap();
            }
            Event::Response { code, observe, last: end, .. } => last = Some((code, observe.is_some(), end)),
            other => panic!("{other:?}"),
        });
        let now = pair.now;
        let count = pair.sides[1].endpoint.notify(now, Resource(3), &Reply::new(Code::NOT_FOUND, b""));
        assert_eq!(count, Ok(if turn == 1 { 1 } else { 0 }));
    }
    assert_eq!(last, Some((Code::NOT_FOUND, false, true)));
    assert!(pair.sides[1].endpoint.flights.iter().all(|f| f.owner == flight::Owner::Nobody));
}

proptest::proptest! {
    #[test]
    fn garbage_harms_nobody(datagrams in proptest::collection::vec(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40), 0..60)) {
        let mut endpoint = endpoint();
        endpoint.request(T0, Peer(7), &Request { observe: true, ..Request::get("/x") }).unwrap();
        let mut buf = [0; 1500];
        for (n, mut bytes) in datagrams.into_iter().enumerate() {
            if let Some(first) = bytes.first_mut() {
                *first = 0x40 | (*first & 0x31);
            }
            let now = Instant::from_millis(n as u64 * 700);
            if let Some(Event::Request { id, .. }) = give(&mut endpoint, now, &bytes) {
                let reply = Reply { observe: Some(Resource(1)), ..Reply::new(Code::CONTENT, &[1; 100]) };
                let _ = endpoint.respond(now, &id, &reply);
            }
            let _ = endpoint.notify(now, Resource(1), &Reply::new(Code::CONTENT, b"n"));
            for _ in 0..50 {
                if let Output::Timeout(at) = endpoint.poll_output(now, &mut buf) {
                    proptest::prop_assert!(at.is_none_or(|at| at > now));
                    break;
                }
            }
        }
    }
}
