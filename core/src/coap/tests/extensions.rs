//! No-Response (RFC 7967), multicast (RFC 7252 §8), Echo and Request-Tag (RFC 9175), Hop-Limit (RFC 8768), extended tokens
//! (RFC 8974), diagnostics; and what a flood costs.

use super::{
    server::{T0, endpoint, give, message, request, sent},
    *,
};
use Type::{Acknowledgement as ACK, Confirmable as CON, NonConfirmable as NON, Reset as RST};

fn opt(number: u16, value: &[u8]) -> Opt<'_> {
    Opt { number, value }
}

/// All that is due, whole.
fn datagrams(endpoint: &mut Endpoint<'static>, now: Instant) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut buf = [0; 1500];
    while let Output::Transmit { bytes, .. } = endpoint.poll_output(now, &mut buf) {
        all.push(bytes.to_vec());
    }
    all
}

fn millis(n: u64) -> Instant {
    T0.after(Duration::from_millis(n))
}

#[test]
fn a_client_that_wants_no_response_gets_none() {
    // The value, the code of the response, and whether it comes.
    for (value, code, comes) in [
        (&[][..], Code::CONTENT, true),
        (&[2], Code::CONTENT, false),
        (&[2], Code::NOT_FOUND, true),
        (&[8], Code::NOT_FOUND, false),
        (&[16], Code::INTERNAL_SERVER_ERROR, false),
        (&[16], Code::CHANGED, true),
        (&[26], Code::CHANGED, false),
        (&[26], Code::BAD_GATEWAY, false),
        (&[0xE5], Code::CONTENT, true),
    ] {
        let options = [opt(option::NO_RESPONSE, value)];
        for ty in [CON, NON] {
            let mut server = endpoint();
            let post = message(ty, Code::POST, 5, b"t", &options, b"");
            let id = request(give(&mut server, T0, &post));
            server.respond(T0, &id, &Reply::new(code, b"x")).unwrap();
            let answers = sent(&mut server, T0);
            match (comes, ty) {
                (true, _) => assert_eq!((answers.len(), answers[0].1), (1, code), "{value:?} {code:?}"),
                (false, CON) => assert_eq!(answers, [(ACK, Code::EMPTY, 5, Vec::new())], "acknowledged and no more"),
                (false, _) => assert!(answers.is_empty()),
            }
            assert!(give(&mut server, T0, &post).is_none(), "a duplicate is not handled again");
            assert_eq!(sent(&mut server, T0).len(), usize::from(ty == CON));
            assert!(comes && ty == CON || server.arena.is_empty());
        }
        // Separately: nothing at all.
        let mut server = endpoint();
        let id = request(give(&mut server, T0, &message(CON, Code::POST, 5, b"t", &options, b"")));
        server.acknowledge(T0, &id).unwrap();
        sent(&mut server, T0);
        server.respond(T0, &id, &Reply::new(code, b"x")).unwrap();
        assert_eq!(sent(&mut server, T0).len(), usize::from(comes));
    }
}

fn multicast<'i>(server: &mut Endpoint<'static>, now: Instant, bytes: &'i [u8]) -> Option<Event<'i>> {
    let Ok(handled) = server.handle_multicast(now, Input { peer: Peer(7), bytes });
    handled.event
}

#[test]
fn answers_to_multicast_requests_are_spread_over_the_leisure() {
    let mut times = Vec::new();
    for seed in 0..40 {
        let mut server = Endpoint::new(Config::DEFAULT, seed, resources(512, 2, 2, 4, 2));
        let id = request(multicast(&mut server, T0, &message(NON, Code::GET, 5, b"t", &[], b"")));
        assert!(id.is_multicast());
        server.respond(T0, &id, &Reply::new(Code::CONTENT, b"here")).unwrap();
        assert!(sent(&mut server, T0).is_empty());
        let at = server.next_timeout().unwrap();
        assert!(at > T0 && at <= seconds(5));
        times.push(at);
        let answers = sent(&mut server, at);
        assert_eq!((answers.len(), answers[0].0, answers[0].1), (1, NON, Code::CONTENT));
        assert!(server.arena.is_empty() && server.next_timeout().is_none());
    }
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(*first < seconds(1) && *last > seconds(4), "{first:?} {last:?}");
}

#[test]
fn a_slow_host_answers_a_multicast_request_at_once_when_the_leisure_is_over() {
    let mut server = endpoint();
    let id = request(multicast(&mut server, T0, &message(NON, Code::GET, 5, b"t", &[], b"")));
    server.respond(seconds(6), &id, &Reply::new(Code::CONTENT, b"here")).unwrap();
    assert_eq!(sent(&mut server, seconds(6)).len(), 1);
}

#[test]
fn to_multicast_requests_nothing_is_said_where_there_is_nothing_to_say() {
    for (options, code, body, comes) in [
        (&[][..], Code::CONTENT, &b"x"[..], true),
        (&[], Code::CHANGED, b"", false),
        (&[], Code::NOT_FOUND, b"x", false),
        // RFC 7967 §2.1: interest that is expressed overrides that.
        (&[opt(option::NO_RESPONSE, &[2])], Code::NOT_FOUND, b"x", true),
        (&[opt(option::NO_RESPONSE, &[])], Code::CHANGED, b"", true),
        (&[opt(option::NO_RESPONSE, &[2])], Code::CONTENT, b"x", false),
        (&[opt(9, &[])], Code::CONTENT, b"x", false),
    ] {
        let mut server = endpoint();
        let put = message(NON, Code::PUT, 5, b"t", options, b"");
        let event = multicast(&mut server, T0, &put);
        if let Some(Event::Request { id, .. }) = event {
            server.respond(T0, &id, &Reply::new(code, body)).unwrap();
        }
        assert_eq!(sent(&mut server, seconds(5)).len(), usize::from(comes), "{options:?} {code:?}");
    }
}

/// [RFC7252-8-1] [RFC7252-8.1-2]
#[test]
fn of_multicast_datagrams_only_requests_in_non_messages_are_taken() {
    let mut server = endpoint();
    for datagram in [
        message(CON, Code::GET, 5, b"t", &[], b""),
        message(CON, Code::EMPTY, 6, b"", &[], b""),
        message(NON, Code::CONTENT, 7, b"t", &[], b""),
        message(CON, Code::CONTENT, 8, b"t", &[], b""),
        message(RST, Code::EMPTY, 9, b"", &[], b""),
        b"\x40\x01\x00\x00\xf0".to_vec(),
    ] {
        assert!(multicast(&mut server, T0, &datagram).is_none());
        assert!(sent(&mut server, seconds(5)).is_empty(), "no RST either (§8.1)");
    }
    assert_eq!((server.stats().refused, server.stats().malformed), (5, 1));
}

/// A server that spends this much on addresses that may be spoofed.
fn wary(unproven: u32) -> Endpoint<'static> {
    Endpoint::new(Config { unproven, ..Config::DEFAULT }, 1, resources(4096, 2, 2, 8, 2))
}

#[test]
fn large_answers_go_to_those_who_show_that_they_are_there() {
    let mut server = wary(0);
    let body = Reply::new(Code::CONTENT, &[1; 500]);
    let id = request(give(&mut server, T0, &message(CON, Code::GET, 1, b"a", &[], b"")));
    assert!(!id.is_proven());
    server.respond(T0, &id, &body).unwrap();
    let challenge = datagrams(&mut server, T0).pop().unwrap();
    let answer = Message::decode(&challenge).unwrap();
    assert_eq!((answer.ty, answer.code, answer.id), (ACK, Code::UNAUTHORIZED, 1));
    assert!(challenge.len() <= 136 && answer.payload.is_empty());
    let echo = answer.options.get(option::ECHO).unwrap();
    // A small one needs no proof.
    let id = request(give(&mut server, T0, &message(NON, Code::GET, 2, b"b", &[], b"")));
    server.respond(T0, &id, &Reply::new(Code::CONTENT, &[1; 100])).unwrap();
    assert_eq!(sent(&mut server, T0)[0].1, Code::CONTENT);
    // A wrong one proves nothing.
    let wrong = [opt(option::ECHO, b"12345678")];
    let id = request(give(&mut server, T0, &message(NON, Code::GET, 3, b"c", &wrong, b"")));
    server.respond(T0, &id, &body).unwrap();
    assert_eq!(sent(&mut server, T0)[0].1, Code::UNAUTHORIZED);
    // The right one does, and is remembered.
    for (mid, options) in [(4, &[opt(option::ECHO, echo)][..]), (5, &[])] {
        let id = request(give(&mut server, T0, &message(CON, Code::GET, mid, b"d", options, b"")));
        assert_eq!(id.is_proven(), mid == 4);
        server.respond(T0, &id, &body).unwrap();
        let answers = sent(&mut server, T0);
        assert_eq!((answers[0].1, answers[0].3.len()), (Code::CONTENT, 500));
    }
    assert_eq!(server.stats().challenged, 2);
}

#[test]
fn a_challenge_is_never_sent_again_by_itself() {
    let mut server = wary(0);
    let id = request(give(&mut server, T0, &message(CON, Code::GET, 1, b"a", &[], b"")));
    server.acknowledge(T0, &id).unwrap();
    sent(&mut server, T0);
    server.respond(T0, &id, &Reply::new(Code::CONTENT, &[1; 500])).unwrap();
    let answers = sent(&mut server, T0);
    assert_eq!((answers.len(), answers[0].0, answers[0].1), (1, NON, Code::UNAUTHORIZED));
    assert_eq!(server.next_timeout(), None);
}

#[test]
fn what_is_not_safe_is_challenged_before_it_is_done_or_not_at_all() {
    let mut server = wary(1200);
    let id = request(give(&mut server, T0, &message(CON, Code::POST, 1, b"a", &[], b"")));
    server.respond(T0, &id, &Reply::new(Code::CHANGED, &[1; 1000])).unwrap();
    assert_eq!(sent(&mut server, T0)[0].1, Code::CHANGED);
    // No more is left for an answer of that length: it does not reach the host.
    assert!(give(&mut server, T0, &message(CON, Code::POST, 2, b"b", &[], b"")).is_none());
    assert_eq!(sent(&mut server, T0)[0].1, Code::UNAUTHORIZED);
    // Time heals.
    assert!(give(&mut server, seconds(247), &message(CON, Code::POST, 3, b"c", &[], b"")).is_some());
}

#[test]
fn by_default_a_spoofed_address_gets_a_mebibyte_in_four_minutes() {
    let mut server = endpoint();
    let mut bytes = 0;
    for n in 0..20_000_u32 {
        let now = T0.after(Duration::from_millis(u64::from(n) * 10));
        let get = message(NON, Code::GET, n as u16, &n.to_be_bytes(), &[], b"");
        let Ok(handled) = server.handle_input(now, Input { peer: Peer(n), bytes: &get });
        let id = request(handled.event);
        server.respond(now, &id, &Reply::new(Code::CONTENT, &[7; 300])).unwrap();
        bytes += datagrams(&mut server, now).iter().map(Vec::len).filter(|len| *len > 136).sum::<usize>();
    }
    assert!(bytes > 1 << 19 && bytes <= 1 << 20, "{bytes}");
}

#[test]
fn a_host_may_ask_for_freshness() {
    let mut server = endpoint();
    let id = request(give(&mut server, T0, &message(CON, Code::POST, 1, b"a", &[], b"open")));
    server.challenge(T0, &id).unwrap();
    let challenge = datagrams(&mut server, T0).pop().unwrap();
    let answer = Message::decode(&challenge).unwrap();
    assert_eq!(answer.code, Code::UNAUTHORIZED);
    let echo = [opt(option::ECHO, answer.options.get(option::ECHO).unwrap())];
    let id = request(give(&mut server, T0, &message(CON, Code::POST, 2, b"a", &echo, b"open")));
    assert!(id.is_proven());
    let id = request(give(&mut server, seconds(600), &message(CON, Code::POST, 3, b"a", &echo, b"open")));
    assert!(!id.is_proven(), "that was long ago");
}

#[test]
fn a_hop_limit_out_of_range_is_refused() {
    for (value, fine) in
        [(&[1][..], true), (&[255], true), (&[0], false), (&[], false), (&[1, 0], false), (&[0, 1], true)]
    {
        let mut server = endpoint();
        let event =
            give(&mut server, T0, &message(CON, Code::GET, 1, b"a", &[opt(option::HOP_LIMIT, value)], b"")).is_some();
        assert_eq!(event, fine, "{value:?}");
        if !fine {
            assert_eq!(sent(&mut server, T0)[0].1, Code::BAD_REQUEST);
        }
    }
}

#[test]
fn a_proxys_requests_are_refused_or_handed_on() {
    for (proxy, number, value) in [
        (false, option::PROXY_URI, &b"coap://a/b"[..]),
        (false, option::PROXY_SCHEME, b"coap"),
        (true, option::PROXY_SCHEME, b"coap"),
    ] {
        let mut server = Endpoint::new(Config { proxy, ..Config::DEFAULT }, 1, resources(512, 2, 2, 4, 2));
        let taken = give(&mut server, T0, &message(CON, Code::GET, 1, b"a", &[opt(number, value)], b"")).is_some();
        assert_eq!(taken, proxy);
        assert!(taken || sent(&mut server, T0)[0].1 == Code::PROXYING_NOT_SUPPORTED);
    }
}

#[test]
fn an_option_that_is_not_understood_is_named() {
    let mut server = endpoint();
    assert!(give(&mut server, T0, &message(CON, Code::GET, 1, b"a", &[opt(65_001, b"")], b"")).is_none());
    assert_eq!(sent(&mut server, T0), [(ACK, Code::BAD_OPTION, 1, b"option 65001".to_vec())]);
}

#[test]
fn extended_tokens_are_rejected_as_by_who_knows_none() {
    // RFC 8974 §2.2.2: that is how a client finds out. 13: one byte of length follows, 14: two; 15 is reserved.
    for (head, rest) in [(0x4D, &[0; 14][..]), (0x4E, &[0; 300]), (0x4F, &[0; 20]), (0x49, &[0; 9])] {
        let mut server = endpoint();
        let mut datagram = std::vec![head, 0x01, 0x12, 0x34];
        datagram.extend_from_slice(rest);
        assert!(give(&mut server, T0, &datagram).is_none());
        assert_eq!(sent(&mut server, T0), [(RST, Code::EMPTY, 0x1234, Vec::new())]);
        datagram[0] |= 0x10;
        assert!(give(&mut server, T0, &datagram).is_none());
        assert!(sent(&mut server, T0).is_empty(), "a NON is ignored");
    }
}

#[test]
fn a_request_tag_goes_with_every_block_of_a_body() {
    let mut pair = pair(Config { szx: 0, ..Config::DEFAULT }, Net::default(), 1);
    let tag = [opt(option::REQUEST_TAG, b"t1")];
    let put = Request { payload: &[5; 50], options: &tag, ..Request::new(Code::PUT, "/x") };
    pair.sides[0].endpoint.request(T0, Peer(7), &put).unwrap();
    let mut blocks = 0;
    pair.run(seconds(60), &mut |now, _, endpoint, event| {
        if let Event::Request { id, options, more, .. } = event {
            blocks += 1;
            assert_eq!(options.get(option::REQUEST_TAG), Some(&b"t1"[..]));
            let code = if more { Code::CONTINUE } else { Code::CHANGED };
            endpoint.respond(now, &id, &Reply::new(code, b"")).unwrap();
        }
    });
    assert_eq!(blocks, 4);
}

#[test]
fn a_hundred_and_twenty_thousand_requests_in_a_lifetime_take_no_more_memory() {
    let mut server = endpoint();
    let (peers, lifetime) = (8, 247_000_u64);
    let (mut handled, mut repeated) = (0_u32, 0_u32);
    for n in 0..120_000_u32 {
        let now = millis(u64::from(n) * lifetime / 120_000);
        let peer = Peer(n % peers);
        let get = message(CON, Code::GET, (n / peers) as u16, b"t", &[], b"");
        for repetition in 0..=u32::from(n % 10 == 0) {
            let Ok(done) = server.handle_input(now, Input { peer, bytes: &get });
            if let Some(Event::Request { id, .. }) = done.event {
                handled += 1;
                server.respond(now, &id, &Reply::new(Code::CONTENT, b"21.5")).unwrap();
            }
            repeated += repetition;
            let answers = sent(&mut server, now);
            assert_eq!((answers.len(), answers[0].1, &answers[0].3[..]), (1, Code::CONTENT, &b"21.5"[..]));
        }
    }
    assert_eq!((handled, repeated, server.stats().duplicates), (120_000, 12_000, 12_000));
    // Four places and 512 bytes, as in the beginning. Those that are not idempotent hold theirs: half of them at most.
    let mut refused = 0;
    for n in 0..1_000_u16 {
        let post = message(CON, Code::POST, n, b"t", &[], b"");
        let Ok(done) = server.handle_input(millis(lifetime), Input { peer: Peer(100), bytes: &post });
        match done.event {
            Some(Event::Request { id, .. }) => {
                server.respond(millis(lifetime), &id, &Reply::new(Code::CHANGED, b"")).unwrap();
                sent(&mut server, millis(lifetime));
            }
            _ => refused += usize::from(sent(&mut server, millis(lifetime))[0].1 == Code::SERVICE_UNAVAILABLE),
        }
    }
    assert_eq!(refused, 998);
}

#[test]
fn a_client_answers_a_challenge_by_itself() {
    for (seed, observe) in (0..20).flat_map(|seed| [(seed, false), (seed, true)]) {
        let config = Config { unproven: 0, ..Config::DEFAULT };
        let mut pair = pair(config, Net { loss: 10, duplicate: 10, reorder: 10 }, seed);
        let (text, mut got) = (body(3000), Got::default());
        let get = Request { observe, ..Request::get("/x") };
        pair.sides[0].endpoint.request(T0, Peer(7), &get).unwrap();
        pair.run(seconds(600), &mut |now, _, endpoint, event| match event {
            Event::Request { id, .. } => {
                let reply = Reply { observe: Some(Resource(1)), ..Reply::new(Code::CONTENT, &text) };
                endpoint.respond(now, &id, &reply).unwrap();
            }
            event => got.take(&event),
        });
        assert_eq!((got.bytes == text, got.failed.len()), (true, 0), "seed {seed}");
        assert_eq!(got.observed.is_empty(), !observe);
        assert!(pair.sides[1].endpoint.stats().challenged > 0);
        assert!(observe || pair.sides[0].endpoint.arena.is_empty());
    }
}

#[test]
fn a_body_goes_out_to_a_server_that_wants_to_know_who_sends_it() {
    let mut pair = pair(Config { szx: 2, unproven: 0, ..Config::DEFAULT }, Net::default(), 1);
    let (text, mut got, mut taken) = (body(300), Got::default(), Vec::new());
    let put = Request { payload: &text, ..Request::new(Code::PUT, "/x") };
    pair.sides[0].endpoint.request(T0, Peer(7), &put).unwrap();
    pair.run(seconds(60), &mut |now, _, endpoint, event| match event {
        Event::Request { id, payload, offset, more, .. } => {
            assert_eq!(taken.len(), offset as usize);
            taken.extend_from_slice(payload);
            let code = if more { Code::CONTINUE } else { Code::CHANGED };
            endpoint.respond(now, &id, &Reply::new(code, b"")).unwrap();
        }
        event => got.take(&event),
    });
    assert_eq!((taken == text, got.code), (true, Some(Code::CHANGED)));
    assert_eq!(pair.sides[1].endpoint.stats().challenged, 1);
}

#[test]
fn a_server_that_is_not_content_with_the_answer_to_its_challenge_is_told_of() {
    let mut client = endpoint();
    client.request(T0, Peer(7), &Request::get("/x")).unwrap();
    let (mut rounds, mut value) = (0, 0_u16);
    loop {
        let asked = datagrams(&mut client, T0).pop().unwrap();
        let asked = Message::decode(&asked).unwrap();
        if rounds > 0 {
            assert_eq!(asked.options.get(option::ECHO), Some(&value.to_be_bytes()[..]));
        }
        rounds += 1;
        // A new value a hundred times, then the same once more.
        value += u16::from(rounds <= 100);
        let value = value.to_be_bytes();
        let answer =
            message(ACK, Code::UNAUTHORIZED, asked.id, asked.token.as_bytes(), &[opt(option::ECHO, &value)], b"");
        if let Some(Event::Response { code, last, .. }) = give(&mut client, T0, &answer) {
            assert_eq!((code, last, rounds), (Code::UNAUTHORIZED, true, 101));
            break;
        }
    }
    assert!(client.arena.is_empty());
}

/// [RFC7252-8.2-1]
#[test]
fn a_request_to_a_group_is_answered_by_each_member_once() {
    let mut client = endpoint();
    let get = Request { confirmable: false, ..Request::get("/light") };
    let exchange = client.request_group(T0, Peer(100), &get).unwrap();
    let asked = datagrams(&mut client, T0);
    let asked = Message::decode(&asked[0]).unwrap();
    assert_eq!(asked.ty, NON);
    let mut answered = Vec::new();
    for (member, ty, times) in [(1, NON, 1), (2, NON, 2), (3, CON, 2)] {
        let answer = message(ty, Code::CONTENT, 9, asked.token.as_bytes(), &[], &[member]);
        for _ in 0..times {
            let Ok(done) = client.handle_input(T0, Input { peer: Peer(u32::from(member)), bytes: &answer });
            match done.event {
                Some(Event::GroupResponse { exchange: e, peer, code, payload, .. }) => {
                    assert_eq!((e, code, payload), (exchange, Code::CONTENT, &[member][..]));
                    answered.push(peer);
                }
                None => {}
                other => panic!("{other:?}"),
            }
            let acks = sent(&mut client, T0);
            assert_eq!(acks.len(), usize::from(ty == CON), "a CON is acknowledged, each time");
        }
    }
    assert_eq!(answered, [Peer(1), Peer(2), Peer(3)]);
    // What is not understood, and what is no answer to this.
    let critical = message(NON, Code::CONTENT, 10, asked.token.as_bytes(), &[opt(9, b"")], b"");
    assert!(give(&mut client, T0, &critical).is_none());
    let other = message(CON, Code::CONTENT, 11, b"abcd", &[], b"");
    assert!(give(&mut client, T0, &other).is_none());
    assert_eq!(sent(&mut client, T0), [(RST, Code::EMPTY, 11, Vec::new())]);
    // Time ends it.
    let mut buf = [0; 64];
    match client.poll_output(seconds(93), &mut buf) {
        Output::Event(Event::Failed { exchange: e, reason: Failure::Timeout }) => assert_eq!(e, exchange),
        other => panic!("{other:?}"),
    }
    assert!(client.arena.is_empty());
    for wrong in [
        Request::get("/x"),
        Request { observe: true, ..get },
        Request { payload: &[0; 1025], method: Code::PUT, ..get },
        Request { payload_len: Some(5), method: Code::PUT, ..get },
    ] {
        assert_eq!(client.request_group(T0, Peer(100), &wrong), Err(crate::Misuse::OutOfRange.into()));
    }
}

/// [RFC7252-8.1-1] [RFC7252-8.2.1-1] [RFC7252-8.1-3]
#[test]
fn a_request_to_a_group_is_non_has_no_etag_and_a_message_id_of_its_own() {
    let mut client = endpoint();
    let get = Request { confirmable: false, ..Request::get("/light") };
    let wrong = [
        Request::get("/light"),
        Request { options: &[Opt { number: option::ETAG, value: b"v" }], ..get },
        Request { etag: ETag::new(b"v"), ..get },
    ];
    for request in wrong {
        assert_eq!(client.request_group(T0, Peer(100), &request), Err(crate::Misuse::OutOfRange.into()));
    }
    client.request(T0, Peer(7), &Request::get("/x")).unwrap();
    client.request_group(T0, Peer(100), &get).unwrap();
    let ids: Vec<u16> = datagrams(&mut client, T0).iter().map(|m| Message::decode(m).unwrap().id).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1]);
}
