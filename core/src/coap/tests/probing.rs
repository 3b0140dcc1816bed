//! PROBING_RATE (RFC 7252 §4.7): what goes to peers that do not respond.

use super::{
    server::{T0, give, message},
    *,
};
use Type::{Acknowledgement as ACK, NonConfirmable as NON};

fn endpoint(config: Config, flights: usize) -> Endpoint<'static> {
    Endpoint::new(config, 5, resources(8192, 4, flights, 4, 0))
}

fn post(payload: &[u8]) -> Request<'_> {
    Request { confirmable: false, payload, ..Request::new(Code::POST, "/log") }
}

/// All that goes out by `until`: when, to whom, how long. Events are dropped.
fn run(client: &mut Endpoint<'static>, mut now: Instant, until: Instant) -> Vec<(Instant, u32, usize)> {
    let (mut buf, mut went) = ([0; 1500], Vec::new());
    loop {
        match client.poll_output(now, &mut buf) {
            Output::Transmit { peer, bytes } => went.push((now, peer.0, bytes.len())),
            Output::Timeout(Some(at)) if at <= until => now = at,
            Output::Timeout(_) => return went,
            _ => {}
        }
    }
}

#[test]
fn a_silent_peer_is_left_alone_until_its_bytes_are_paid_for_and_no_other_is() {
    let mut client = endpoint(Config::DEFAULT, 4);
    client.request(T0, Peer(1), &post(&[7; 1000])).unwrap();
    let first = run(&mut client, T0, seconds(93));
    let [(T0, 1, len)] = first[..] else { panic!("{first:?}") };
    client.request(seconds(93), Peer(1), &Request::get("/x")).unwrap();
    client.request(seconds(93), Peer(2), &post(b"short")).unwrap();
    // A tick more, since those that the bytes are counted from are cut off.
    let paid = seconds(len as u64).after(Duration::from_micros(64));
    let then = run(&mut client, seconds(93), paid);
    assert_eq!(then.iter().map(|(at, peer, _)| (*at, *peer)).collect::<Vec<_>>(), [(seconds(93), 2), (paid, 1)]);
}

/// [RFC7252-4.7-2]
#[test]
fn a_client_that_gives_up_and_asks_again_keeps_to_the_rate() {
    let mut rng = Rng::new(4);
    for (probing_rate, nstart) in [(1, 1), (1, 3), (50, 1), (50, 2)] {
        let mut client = endpoint(Config { probing_rate, nstart, ..Config::DEFAULT }, 8);
        let (mut now, mut went) = (T0, Vec::new());
        for _ in 0..400 {
            let body = body(rng.below(900) as usize);
            let asked = client.request(now, Peer(1), &post(&body));
            let until = now.after(Duration::from_millis(rng.below(100_000)));
            went.extend(run(&mut client, now, until));
            now = until;
            if let (Ok(exchange), 0..2) = (asked, rng.below(3)) {
                client.cancel(now, exchange).ok();
            }
        }
        assert!(went.len() > 20, "{}", went.len());
        let mut sum = 0;
        for (at, _, len) in &went {
            // What is under way now has still to be paid for: NSTART messages.
            assert!(
                sum <= at.as_micros() / 1_000_000 * u64::from(probing_rate) + u64::from(nstart) * 900,
                "{sum} at {at:?}"
            );
            sum += *len as u64;
        }
    }
}

#[test]
fn a_peer_that_answers_is_asked_as_often_as_one_likes() {
    let mut client = endpoint(Config::DEFAULT, 4);
    for n in 0..50 {
        client.request(seconds(n), Peer(7), &post(&[7; 1000])).unwrap();
        let mut buf = [0; 1500];
        let Output::Transmit { bytes, .. } = client.poll_output(seconds(n), &mut buf) else { panic!("{n}") };
        let token = Message::decode(bytes).unwrap().token;
        let answer = message(NON, Code::CHANGED, n as u16, token.as_bytes(), &[], b"");
        assert!(give(&mut client, seconds(n), &answer).is_some());
    }
}

#[test]
fn whatever_a_silent_peer_sends_ends_the_wait() {
    let mut client = endpoint(Config::DEFAULT, 4);
    client.request(T0, Peer(7), &post(&[7; 1000])).unwrap();
    run(&mut client, T0, seconds(100));
    client.request(seconds(100), Peer(7), &post(b"again")).unwrap();
    assert_eq!(run(&mut client, seconds(100), seconds(200)), []);
    assert!(give(&mut client, seconds(200), &message(NON, Code::GET, 9, b"t", &[], b"")).is_some());
    assert_eq!(run(&mut client, seconds(200), seconds(200)).len(), 1);
}

#[test]
fn an_acknowledged_request_without_a_response_counts_and_one_that_wants_none_does_not() {
    let mut client = endpoint(Config::DEFAULT, 4);
    let request = Request { confirmable: true, ..post(&[7; 1000]) };
    let mut buf = [0; 1500];
    client.request(T0, Peer(7), &request).unwrap();
    let Output::Transmit { bytes, .. } = client.poll_output(T0, &mut buf) else { panic!() };
    let ack = message(ACK, Code::EMPTY, Message::decode(bytes).unwrap().id, b"", &[], b"");
    give(&mut client, T0, &ack);
    run(&mut client, T0, seconds(100));
    client.request(seconds(100), Peer(7), &Request::get("/x")).unwrap();
    assert_eq!(run(&mut client, seconds(100), seconds(1000)), []);

    let mut client = endpoint(Config::DEFAULT, 4);
    let silence = [Opt { number: option::NO_RESPONSE, value: &[26] }];
    for n in 0..20 {
        let exchange =
            client.request(seconds(n * 3), Peer(7), &Request { options: &silence, ..post(&[7; 1000]) }).unwrap();
        assert_eq!(run(&mut client, seconds(n * 3), seconds(n * 3)).len(), 1);
        client.cancel(seconds(n * 3), exchange).unwrap();
    }
}

#[test]
fn a_group_is_silent_where_no_member_answers() {
    for answers in [true, false] {
        let mut client = endpoint(Config::DEFAULT, 4);
        let get = Request { confirmable: false, ..Request::get("/.well-known/core") };
        let exchange = client.request_group(T0, Peer(100), &get).unwrap();
        let mut buf = [0; 1500];
        let Output::Transmit { bytes, .. } = client.poll_output(T0, &mut buf) else { panic!() };
        let token = Message::decode(bytes).unwrap().token;
        if answers {
            let answer = message(NON, Code::CONTENT, 3, token.as_bytes(), &[], b"</x>");
            assert!(matches!(give(&mut client, T0, &answer), Some(Event::GroupResponse { .. })));
        }
        client.cancel(seconds(6), exchange).unwrap();
        client.request_group(seconds(6), Peer(100), &get).unwrap();
        assert_eq!(run(&mut client, seconds(6), seconds(6)).len(), usize::from(answers));
        assert_eq!(run(&mut client, seconds(6), seconds(60)).len(), usize::from(!answers));
    }
}

/// More silent peers than places: none of them gets more than its rate, and those that one answers and tells are served.
#[test]
fn the_rate_holds_for_more_peers_than_there_are_places() {
    let mut rng = Rng::new(9);
    let mut client = endpoint(Config::DEFAULT, 4);
    let mut sums = [0_u64; 12];
    let (mut now, mut total) = (T0, 0);
    for _ in 0..600 {
        let peer = rng.below(12) as u32;
        let body = body(rng.below(900) as usize);
        let asked = client.request(now, Peer(peer), &post(&body));
        let until = now.after(Duration::from_secs(rng.below(20)));
        for (at, peer, len) in run(&mut client, now, until) {
            let sum = &mut sums[peer as usize];
            assert!(*sum <= at.as_micros() / 1_000_000, "{sum} to {peer} at {at:?}");
            *sum += len as u64;
            total += 1;
        }
        now = until;
        if let Ok(exchange) = asked {
            client.cancel(now, exchange).unwrap();
        }
        // A server's answer finds a place, and a ping too.
        assert!(client.ping(now, Peer(50)).is_ok());
        let pinged = run(&mut client, now, now);
        assert_eq!(pinged.iter().filter(|p| p.1 == 50).count(), 1);
        let mid = client.mid.wrapping_sub(1);
        let reset = message(Type::Reset, Code::EMPTY, mid, b"", &[], b"");
        let Ok(_) = client.handle_input(now, Input { peer: Peer(50), bytes: &reset });
        run(&mut client, now, now);
    }
    assert!(total > 20, "{total}");
}
