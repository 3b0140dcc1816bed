//! What the standards ask for beyond what a transfer or a server shows in passing, by clause.

use super::{
    server::{T0, endpoint, give, message, request, sent},
    *,
};
use Type::{Acknowledgement as ACK, Confirmable as CON, NonConfirmable as NON, Reset as RST};

/// A request's message ID and token, as it goes out now.
fn fly(client: &mut Endpoint<'static>, now: Instant) -> (u16, Vec<u8>) {
    let mut buf = [0; 1500];
    let Output::Transmit { bytes, .. } = client.poll_output(now, &mut buf) else { panic!("nothing to send") };
    let m = Message::decode(bytes).unwrap();
    (m.id, m.token.as_bytes().to_vec())
}

fn uint(number: u16, value: u32) -> (u16, Vec<u8>) {
    (number, option::Uint::new(value).as_bytes().to_vec())
}

fn response(ty: Type, id: u16, token: &[u8], options: &[(u16, Vec<u8>)], payload: &[u8]) -> Vec<u8> {
    let options: Vec<_> = options.iter().map(|(number, value)| Opt { number: *number, value }).collect();
    message(ty, Code::CONTENT, id, token, &options, payload)
}

/// RFC 7252 §5.2.2, §5.3.2.
#[test]
fn a_response_that_overtakes_its_acknowledgement_is_taken() {
    let mut client = endpoint();
    client.request(T0, Peer(7), &Request::get("/x")).unwrap();
    let (mid, token) = fly(&mut client, T0);
    let separate = response(CON, 900, &token, &[], b"hi");
    assert!(matches!(give(&mut client, T0, &separate), Some(Event::Response { payload: b"hi", last: true, .. })));
    assert_eq!(sent(&mut client, T0), [(ACK, Code::EMPTY, 900, Vec::new())]);
    // The acknowledgement comes late; the response again, since ours was lost.
    assert!(give(&mut client, T0, &message(ACK, Code::EMPTY, mid, b"", &[], b"")).is_none());
    assert!(give(&mut client, seconds(3), &separate).is_none());
    assert_eq!(sent(&mut client, seconds(3)), [(ACK, Code::EMPTY, 900, Vec::new())]);
    assert_eq!((client.stats().unmatched, client.stats().duplicates), (1, 1));
    assert_eq!(client.next_timeout(), None);
}

/// RFC 7252 §5.3.2: source endpoint, message ID of the acknowledgement and token must all match.
#[test]
fn a_response_of_another_peer_or_token_or_message_is_none() {
    let mut client = endpoint();
    client.request(T0, Peer(7), &Request::get("/x")).unwrap();
    let (mid, token) = fly(&mut client, T0);
    for (peer, bytes) in [
        (8, response(ACK, mid, &token, &[], b"bad")),
        (7, response(ACK, mid.wrapping_add(1), &token, &[], b"bad")),
        (7, response(ACK, mid, b"else", &[], b"bad")),
        (7, response(ACK, mid, b"", &[], b"bad")),
        (7, response(ACK, mid, &[&token[..], &[0]].concat(), &[], b"bad")),
        (8, message(RST, Code::EMPTY, mid, b"", &[], b"")),
        (8, message(ACK, Code::EMPTY, mid, b"", &[], b"")),
        (8, response(NON, 5, &token, &[], b"bad")),
    ] {
        let Ok(handled) = client.handle_input(T0, Input { peer: Peer(peer), bytes: &bytes });
        assert!(handled.event.is_none());
    }
    assert_eq!(sent(&mut client, seconds(3)).len(), 1, "still asking");
    let right = response(ACK, mid, &token, &[], b"good");
    assert!(matches!(give(&mut client, seconds(3), &right), Some(Event::Response { payload: b"good", .. })));
}

/// RFC 7252 §4.4.
#[test]
fn message_ids_wrap() {
    let mut client = endpoint();
    client.mid = 0xFFFF;
    for want in [0xFFFF, 0, 1] {
        client.request(T0, Peer(7), &Request::get("/x")).unwrap();
        let (mid, token) = fly(&mut client, T0);
        assert_eq!(mid, want);
        assert!(give(&mut client, T0, &response(ACK, mid, &token, &[], b"x")).is_some());
    }
}

/// RFC 7252 §5.4.3, RFC 7641 §2: an option of a wrong length counts as not understood, an elective one is ignored then.
#[test]
fn an_elective_option_of_the_wrong_length_is_ignored() {
    let mut server = endpoint();
    for (n, (value, observes)) in
        [(&[][..], true), (&[0, 0, 0], true), (&[0, 0, 0, 0], false), (&[1], false), (&[2], false)]
            .into_iter()
            .enumerate()
    {
        let observe = Opt { number: option::OBSERVE, value };
        let id = request(give(&mut server, T0, &message(CON, Code::GET, n as u16, b"t", &[observe], b"")));
        assert_eq!(id.observes(), observes, "{value:?}");
        server.respond(T0, &id, &Reply::new(Code::CONTENT, b"x")).unwrap();
        sent(&mut server, T0);
    }
}

/// RFC 7252 §5.4.5: a further occurrence of an elective option is ignored.
#[test]
fn the_first_of_two_elective_options_counts() {
    let mut server = endpoint();
    let observe = |value| Opt { number: option::OBSERVE, value };
    let get = message(CON, Code::GET, 1, b"t", &[observe(&[1]), observe(b"")], b"");
    assert!(!request(give(&mut server, T0, &get)).observes());
}

/// RFC 7959 §2.6: an observation begins with the first block.
#[test]
fn a_block_in_the_middle_cannot_be_observed() {
    let mut server = endpoint();
    let options = [Opt { number: option::OBSERVE, value: b"" }, Opt { number: option::BLOCK2, value: &[0x10] }];
    let id = request(give(&mut server, T0, &message(CON, Code::GET, 1, b"t", &options, b"")));
    let reply = Reply { observe: Some(Resource(1)), ..Reply::new(Code::CONTENT, &[1; 40]) };
    server.respond(T0, &id, &reply).unwrap();
    assert_eq!(sent(&mut server, T0)[0].3.len(), 16);
    assert_eq!(server.observers(Resource(1)), 0);
}

/// RFC 7252 §5.10.1, §6.4: dot segments never go out, and a host's name does in lower case.
#[test]
fn a_request_names_its_resource_as_uris_do() {
    let mut client = endpoint();
    for bad in ["/a/../b", "/./a", "/..", "/%2e%2E/x", "a", "/ü", "/%4"] {
        let refused = client.request(T0, Peer(7), &Request::get(bad));
        assert_eq!(refused, Err(crate::Misuse::InvalidUri.into()), "{bad}");
    }
    let named = Request { host: Some("Example.ORG"), ..Request::get("/A%2Fb/...") };
    client.request(T0, Peer(7), &named).unwrap();
    let mut buf = [0; 100];
    let Output::Transmit { bytes, .. } = client.poll_output(T0, &mut buf) else { panic!() };
    let options = Message::decode(bytes).unwrap().options;
    assert_eq!(options.get(option::URI_HOST), Some(&b"example.org"[..]));
    assert!(options.all(option::URI_PATH).eq([&b"A/b"[..], b"..."]));
}

/// RFC 7641 §3.4.
#[test]
fn notifications_are_ordered_by_number_and_by_time() {
    let mut client = endpoint();
    client.request(T0, Peer(7), &Request { observe: true, ..Request::get("/x") }).unwrap();
    let (mid, token) = fly(&mut client, T0);
    let max_age = uint(option::MAX_AGE, 100_000);
    let numbered = |n: u32| [uint(option::OBSERVE, n), max_age.clone()];
    assert!(give(&mut client, T0, &response(ACK, mid, &token, &numbered(0xFF_FFF0), b"0")).is_some());
    let mut id = 100;
    for (at, number, fresh) in [
        (1, 0xFF_FFF0, false),
        (1, 0xFF_FFFF, true),
        (1, 3, true),
        (2, 0xFF_FFFF, false),
        (3, 3, false),
        (4, 0x80_0003, false),
        (5, 0x80_0002, true),
        (6, 3, false),
        // 128 seconds since the last that counted.
        (133, 3, false),
        (134, 3, true),
        (135, 2, false),
    ] {
        for ty in [NON, CON] {
            id += 1;
            let note = response(ty, id, &token, &numbered(number), b"n");
            assert_eq!(give(&mut client, seconds(at), &note).is_some(), fresh && ty == NON, "{number:x} at {at}");
            sent(&mut client, seconds(at));
        }
    }
}

/// RFC 7641 §3.6, §4.2: whoever does not know a notification resets it, and is forgotten for it.
#[test]
fn a_client_that_forgot_is_forgotten() {
    let mut client = endpoint();
    let observe = [Opt { number: option::OBSERVE, value: &[5] }];
    for (n, ty) in [CON, NON].into_iter().enumerate() {
        assert!(give(&mut client, T0, &message(ty, Code::CONTENT, n as u16, b"gone", &observe, b"x")).is_none());
        assert_eq!(sent(&mut client, T0), [(RST, Code::EMPTY, n as u16, Vec::new())]);
    }
}

/// RFC 7959 §2.6 (and go-coap #575): the rest of a notification is fetched by requests of their own, without Observe.
#[test]
fn the_rest_of_a_notification_is_asked_for_without_observe() {
    let mut pair = pair(Config { szx: 2, ..Config::DEFAULT }, Net::default(), 1);
    let mut state = body(200);
    let mut got = Got::default();
    pair.sides[0].endpoint.request(T0, Peer(7), &Request { observe: true, ..Request::get("/s") }).unwrap();
    for turn in 0..3_u8 {
        state[0] = turn;
        let now = pair.now;
        pair.sides[1].endpoint.notify(now, Resource(3), &Reply::new(Code::CONTENT, &state)).unwrap();
        let until = now.after(Duration::from_secs(10));
        pair.run(until, &mut |now, _, endpoint, event| match event {
            Event::Request { id, .. } => {
                let reply = Reply { observe: Some(Resource(3)), ..Reply::new(Code::CONTENT, &state) };
                endpoint.respond(now, &id, &reply).unwrap();
            }
            event => got.take(&event),
        });
        assert!(got.bytes == state);
    }
    let requests: Vec<_> = pair.sides[0].sent.iter().filter_map(|m| Message::decode(m).ok()).collect();
    let first = requests[0].token;
    assert_eq!(requests.iter().filter(|m| m.code == Code::GET).count(), 1 + 3 * 3);
    for m in requests.iter().filter(|m| m.code == Code::GET) {
        let middle = m.options.get(option::BLOCK2).and_then(Block::decode).is_some_and(|b| b.num != 0);
        assert_eq!(middle, m.options.get(option::OBSERVE).is_none());
        assert_eq!(middle, m.token != first);
    }
}

/// RFC 7959 §2.2, §2.4: what a server may not answer.
#[test]
fn a_block_that_was_not_asked_for_ends_the_transfer() {
    let block2 = |num: u32, more: bool, szx: u32| uint(option::BLOCK2, (num << 4) | (u32::from(more) << 3) | szx);
    for (options, len) in [
        (block2(1, false, 2), 64),
        (block2(0, true, 2), 63),
        (block2(0, true, 2), 0),
        (block2(0, true, 2), 65),
        (block2(0, false, 7), 64),
        ((option::BLOCK2, std::vec![0; 4]), 64),
    ] {
        let mut client = endpoint();
        client.request(T0, Peer(7), &Request { szx: 2, ..Request::get("/x") }).unwrap();
        let (mid, token) = fly(&mut client, T0);
        assert!(
            give(&mut client, T0, &response(ACK, mid, &token, core::slice::from_ref(&options), &body(len))).is_none()
        );
        let mut buf = [0; 64];
        let failed = client.poll_output(T0, &mut buf);
        assert!(
            matches!(failed, Output::Event(Event::Failed { reason: Failure::BadResponse, .. })),
            "{options:?} {len}"
        );
    }
}

/// RFC 7959 §2.4: larger blocks than wanted are none of the server's business, smaller ones are; in mid-transfer too.
#[test]
fn block_sizes_may_fall_in_mid_transfer() {
    let image = body(1000);
    let mut pair = pair(Config::DEFAULT, Net::default(), 1);
    let mut got = Got::default();
    pair.sides[0].endpoint.request(T0, Peer(7), &Request { szx: 4, ..Request::get("/x") }).unwrap();
    pair.run(seconds(100), &mut |now, side, endpoint, event| match event {
        Event::Request { id, .. } => {
            assert_eq!(side, 1);
            if id.wanted().0 >= 512 {
                endpoint.config.szx = 1;
            }
            // As one that asked for blocks of 32 bytes there and then.
            let id = RequestId { szx: endpoint.config.szx.min(id.szx), ..id };
            endpoint.respond(now, &id, &Reply::new(Code::CONTENT, &image)).unwrap();
        }
        event => got.take(&event),
    });
    assert!(got.bytes == image && got.done == 1);
}

/// RFC 7959 §2.9.3, RFC 7252 §5.9.2.9: what is too large or incomplete is told, and the body not sent on.
#[test]
fn an_upload_that_is_refused_ends_there() {
    for code in [Code::REQUEST_ENTITY_TOO_LARGE, Code::REQUEST_ENTITY_INCOMPLETE, Code::FORBIDDEN] {
        let image = body(5000);
        let mut pair = pair(Config::DEFAULT, Net::default(), 1);
        let (mut got, mut blocks) = (Got::default(), 0);
        let put = Request { payload: &image[..3000], ..Request::new(Code::PUT, "/x") };
        pair.sides[0].endpoint.request(T0, Peer(7), &put).unwrap();
        pair.run(seconds(100), &mut |now, _, endpoint, event| match event {
            Event::Request { id, .. } => {
                blocks += 1;
                let reply = Reply::new(if blocks == 2 { code } else { Code::CONTINUE }, b"");
                endpoint.respond(now, &id, &reply).unwrap();
            }
            event => got.take(&event),
        });
        assert_eq!((blocks, got.code, got.done), (2, Some(code), 1));
        assert!(pair.sides[0].endpoint.arena.is_empty());
    }
}

/// RFC 7959 §2.7: body and response both in blocks.
#[test]
fn a_long_question_has_a_long_answer() {
    let (question, answer) = (body(300), body(500));
    for seed in 0..60 {
        let net = Net { loss: seed % 4 * 2, duplicate: 10, reorder: 10 };
        let mut pair = pair(Config { szx: 2, ..Config::DEFAULT }, net, seed);
        let (mut got, mut upload) = (Got::default(), Vec::new());
        let post = Request { payload: &question, ..Request::new(Code::FETCH, "/x") };
        pair.sides[0].endpoint.request(T0, Peer(7), &post).unwrap();
        pair.run(seconds(1000), &mut |now, _, endpoint, event| match event {
            Event::Request { id, payload, offset, more, .. } => {
                if id.block2.is_none_or(|b| b.num() == 0) {
                    upload.truncate(offset as usize);
                    upload.extend_from_slice(payload);
                    assert!(more || upload == question);
                }
                let reply = if more { Reply::new(Code::CONTINUE, b"") } else { Reply::new(Code::CONTENT, &answer) };
                endpoint.respond(now, &id, &reply).unwrap();
            }
            event => got.take(&event),
        });
        assert!(got.bytes == answer && got.done == 1 && got.failed.is_empty(), "seed {seed} {got:?}");
    }
}

/// [RFC7252-5.4.5-1] [RFC7252-5.10.6.1-1] [RFC7252-5.10.7-2]: what a response may not have is not taken from the host.
#[test]
fn the_options_of_a_response_are_checked() {
    let one = |number, value| Opt { number, value };
    for wrong in [
        [one(option::CONTENT_FORMAT, b""), one(option::CONTENT_FORMAT, b"")],
        [one(option::MAX_AGE, b""), one(option::MAX_AGE, b"\x01")],
        [one(option::ETAG, b"a"), one(option::ETAG, b"b")],
        [one(option::LOCATION_PATH, b"a"), one(option::LOCATION_PATH, b"..")],
        [one(option::LOCATION_PATH, b"."), one(option::LOCATION_PATH, b"a")],
    ] {
        let mut server = endpoint();
        let id = request(give(&mut server, T0, &message(CON, Code::POST, 1, b"t", &[], b"")));
        let refused = Err(crate::Misuse::InvalidOption.into());
        let reply = Reply { options: &wrong, ..Reply::new(Code::CREATED, b"") };
        assert_eq!(server.respond(T0, &id, &reply), refused, "{wrong:?}");
        assert_eq!(server.notify(T0, Resource(1), &reply).err(), refused.err());
    }
}

/// [RFC7252-4.2-6]: who slept through MAX_TRANSMIT_SPAN does not send again, and still takes the answer.
#[test]
fn nothing_is_sent_again_after_its_time() {
    for (asleep, sends) in [(44, true), (46, false), (90, false)] {
        let mut client = endpoint();
        client.request(T0, Peer(7), &Request::get("/x")).unwrap();
        let (mid, token) = fly(&mut client, T0);
        assert_eq!(!sent(&mut client, seconds(asleep)).is_empty(), sends, "after {asleep} s");
        assert!(give(&mut client, seconds(asleep), &response(ACK, mid, &token, &[], b"x")).is_some());
    }
}

/// RFC 7959 §2.7: the rest of a long answer to a POST is fetched by POSTs, however many it takes.
#[test]
fn the_blocks_of_an_answer_to_a_post_hold_no_places() {
    let answer = body(1000);
    let mut pair = pair(Config { szx: 0, ..Config::DEFAULT }, Net::default(), 1);
    let mut got = Got::default();
    let post = Request { payload: b"?", ..Request::new(Code::POST, "/x") };
    pair.sides[0].endpoint.request(T0, Peer(7), &post).unwrap();
    pair.run(seconds(100), &mut |now, _, endpoint, event| match event {
        Event::Request { id, .. } => endpoint.respond(now, &id, &Reply::new(Code::CHANGED, &answer)).unwrap(),
        event => got.take(&event),
    });
    assert!(got.bytes == answer && got.code == Some(Code::CHANGED), "{got:?}");
}

/// RFC 7252 §4.8.2: MAX_TRANSMIT_WAIT bounds one message, not a transfer.
#[test]
fn a_transfer_may_take_as_long_as_it_does() {
    let image = body(100);
    let mut pair = pair(Config::DEFAULT, Net::default(), 1);
    let mut got = Got::default();
    let mut waiting = None;
    pair.sides[0].endpoint.request(T0, Peer(7), &Request { szx: 0, ..Request::get("/x") }).unwrap();
    for turn in 1..=8 {
        pair.run(seconds(turn * 90), &mut |_, _, _, event| match event {
            Event::Request { id, .. } => waiting = Some(id),
            event => got.take(&event),
        });
        if let Some(id) = waiting.take() {
            let now = pair.now;
            pair.sides[1].endpoint.respond(now, &id, &Reply::new(Code::CONTENT, &image)).unwrap();
        }
    }
    assert!(got.bytes == image && got.done == 1 && got.failed.is_empty());
}

/// RFC 7252 §4.2: the acknowledgement of a separate response is lost until the server gives up; the client has it once.
#[test]
fn a_separate_response_is_told_once_however_often_it_comes() {
    let mut client = endpoint();
    client.request(T0, Peer(7), &Request::get("/x")).unwrap();
    let (mid, token) = fly(&mut client, T0);
    give(&mut client, T0, &message(ACK, Code::EMPTY, mid, b"", &[], b""));
    assert!(sent(&mut client, seconds(60)).is_empty(), "acknowledged: not sent again");
    let separate = response(CON, 900, &token, &[], b"hi");
    let told = (0..5).filter(|n| give(&mut client, seconds(61 + n * 7), &separate).is_some()).count();
    assert_eq!((told, client.stats().duplicates), (1, 4));
}

/// RFC 7252 §4.2, §4.8.2: acknowledged, and then nothing.
#[test]
fn a_response_that_never_follows_its_acknowledgement_is_given_up() {
    let mut client = endpoint();
    client.request(T0, Peer(7), &Request::get("/x")).unwrap();
    let (mid, _) = fly(&mut client, T0);
    for n in 0..9 {
        // An acknowledgement that comes again buys no time.
        give(&mut client, seconds(n * 10), &message(ACK, Code::EMPTY, mid, b"", &[], b""));
    }
    assert!(sent(&mut client, seconds(92)).is_empty());
    let mut buf = [0; 64];
    let failed = client.poll_output(seconds(93), &mut buf);
    assert!(matches!(failed, Output::Event(Event::Failed { reason: Failure::Timeout, .. })));
}
