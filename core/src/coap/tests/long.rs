//! What is remembered for long in few bits: when a notification came, when an observer was heard of, how long a body is.

use super::{
    server::{T0, endpoint, give, message, request, sent},
    *,
};
use Type::{Acknowledgement as ACK, Confirmable as CON, NonConfirmable as NON};

fn response(ty: Type, id: u16, token: &[u8], options: &[(u16, u32)], payload: &[u8]) -> Vec<u8> {
    let values: Vec<_> = options.iter().map(|(number, value)| (*number, option::Uint::new(*value))).collect();
    let options: Vec<_> =
        values.iter().map(|(number, value)| Opt { number: *number, value: value.as_bytes() }).collect();
    message(ty, Code::CONTENT, id, token, &options, payload)
}

/// A client that observes, and its token; its latest notification was number 100, at the beginning.
fn observing() -> (Endpoint<'static>, Vec<u8>) {
    let config = Config { reregister: false, ..Config::DEFAULT };
    let mut client = Endpoint::new(config, 1, resources(512, 2, 2, 4, 2));
    client.request(T0, Peer(7), &Request { observe: true, ..Request::get("/x") }).unwrap();
    let mut buf = [0; 100];
    let Output::Transmit { bytes, .. } = client.poll_output(T0, &mut buf) else { panic!("nothing to send") };
    let Message { id, token, .. } = Message::decode(bytes).unwrap();
    let first = response(ACK, id, token.as_bytes(), &[(option::OBSERVE, 100)], b"0");
    assert!(give(&mut client, T0, &first).is_some());
    (client, token.as_bytes().to_vec())
}

/// RFC 7641 §3.4: 128 seconds of silence, or any number more, let an older number count; fewer after that do not.
#[test]
fn a_silence_lets_any_number_count_however_long_it_is() {
    // 71 minutes, 19 hours and 38 hours are where what is remembered in fewer bits comes round.
    let round = [1_u64 << 32, 1 << 36, 1 << 37, 1 << 38].map(|micros| micros / 1_000_000);
    let spans =
        [129, 3600, 86_400 * 30].into_iter().chain(round.iter().flat_map(|s| [s - 60, *s, s + 1, s + 60, s + 200]));
    for span in spans {
        for step in [span, 1800] {
            let (mut client, token) = observing();
            let mut id = 0;
            let mut told = |client: &mut Endpoint<'static>, at, number| {
                id += 1;
                let note = response(NON, id, &token, &[(option::OBSERVE, number)], b"n");
                give(client, seconds(at), &note).is_some()
            };
            for at in (step..span).step_by(usize::try_from(step).unwrap()) {
                client.handle_timeout(seconds(at));
            }
            assert!(told(&mut client, span, 99), "after {span} s");
            assert!(!told(&mut client, span + 100, 98), "100 s after {span} s");
            assert!(told(&mut client, span + 130, 98), "130 s after {span} s");
        }
    }
}

/// RFC 7641 §4.5: at least every 24 hours a notification is CON, and what is acknowledged begins another day.
#[test]
fn a_notification_a_day_is_confirmable() {
    let day = 24 * 3600;
    for start in [1, 3000, day * 12] {
        let mut server = endpoint();
        let observe = [Opt { number: option::OBSERVE, value: b"" }];
        let id = request(give(&mut server, seconds(start), &message(CON, Code::GET, 1, b"t", &observe, b"")));
        let reply = Reply { observe: Some(Resource(1)), confirmable: false, ..Reply::new(Code::CONTENT, b"x") };
        server.respond(seconds(start), &id, &reply).unwrap();
        sent(&mut server, seconds(start));
        let mut notify = |at: u64| {
            server.notify(seconds(at), Resource(1), &reply).unwrap();
            let (ty, _, mid, _) = sent(&mut server, seconds(at)).remove(0);
            if ty == CON {
                give(&mut server, seconds(at), &message(ACK, Code::EMPTY, mid, b"", &[], b""));
            }
            ty
        };
        assert_eq!([notify(start + day / 2), notify(start + day * 9 / 10), notify(start + day)], [NON, NON, CON]);
        assert_eq!([notify(start + day * 3 / 2), notify(start + day * 2), notify(start + day * 200)], [NON, CON, CON]);
    }
}

/// RFC 7959 §4: what Size2 says is a hint. One that the body goes past is told no more.
#[test]
fn a_size_that_proves_wrong_is_not_told() {
    let mut client = endpoint();
    client.request(T0, Peer(7), &Request { szx: 0, ..Request::get("/x") }).unwrap();
    let mut buf = [0; 100];
    let mut totals = Vec::new();
    for (num, more, size) in [(0, true, Some(32)), (1, true, None), (2, true, None), (3, false, None)] {
        let Output::Transmit { bytes, .. } = client.poll_output(T0, &mut buf) else { panic!("nothing to send") };
        let Message { id, token, .. } = Message::decode(bytes).unwrap();
        let block = (option::BLOCK2, Block { num, more, szx: 0 }.encode());
        let options: Vec<_> = [block].into_iter().chain(size.map(|size| (option::SIZE2, size))).collect();
        let block = response(ACK, id, token.as_bytes(), &options, &[7; 16]);
        let Some(Event::Response { total, .. }) = give(&mut client, T0, &block) else { panic!("nothing is told") };
        totals.push(total);
    }
    assert_eq!(totals, [Some(32), None, None, Some(64)]);
}
