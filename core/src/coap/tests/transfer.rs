//! Bodies both ways.

use super::*;

/// Serves `image` at every path with an ETag of its length, takes bodies at every path, and collects what the client gets.
fn serve<'s>(
    image: &'s [u8],
    got: &'s mut Got,
    upload: &'s mut Vec<u8>,
) -> impl FnMut(Instant, usize, &mut Endpoint<'static>, Event<'_>) + 's {
    move |now, side, endpoint, event| {
        if side == 0 {
            got.take(&event);
            return;
        }
        let Event::Request { id, code, payload, offset, more, .. } = event else { return };
        let etag = [image.len() as u8, 1];
        let etag = [Opt { number: option::ETAG, value: &etag }];
        let reply = match code {
            Code::GET => Reply { options: &etag, ..Reply::new(Code::CONTENT, image) },
            _ if offset as usize > upload.len() => Reply::new(Code::REQUEST_ENTITY_INCOMPLETE, &[]),
            _ => {
                upload.truncate(offset as usize);
                upload.extend_from_slice(payload);
                Reply::new(if more { Code::CONTINUE } else { Code::CHANGED }, b"")
            }
        };
        endpoint.respond(now, &id, &reply).unwrap();
    }
}

#[test]
fn a_body_arrives_byte_exact_over_a_bad_network() {
    let image = body(64 * 1024);
    for seed in 0..6 {
        let net = Net { loss: seed * 2, duplicate: 10, reorder: 10 };
        let mut pair = pair(Config::DEFAULT, net, seed);
        let (mut got, mut upload) = (Got::default(), Vec::new());
        let request = Request { szx: 6 - (seed as u8 & 3), ..Request::get("/image") };
        pair.sides[0].endpoint.request(pair.now, Peer(7), &request).unwrap();
        pair.run(seconds(100_000), &mut serve(&image, &mut got, &mut upload));
        assert_eq!((got.done, &got.failed[..]), (1, &[][..]), "seed {seed}");
        assert!(got.bytes == image);
        assert_eq!(pair.sides[0].endpoint.transfers.iter().filter(|t| t.phase() != exchange::Phase::Free).count(), 0);
        assert!(pair.sides[0].endpoint.arena.is_empty());
    }
}

#[test]
fn tiny_output_buffers_lose_nothing() {
    let image = body(3000);
    let mut pair = pair(Config::DEFAULT, Net { loss: 10, duplicate: 10, reorder: 10 }, 3);
    for side in &mut pair.sides {
        side.out = 0;
    }
    let (mut got, mut upload) = (Got::default(), Vec::new());
    pair.sides[0].endpoint.request(pair.now, Peer(7), &Request { szx: 2, ..Request::get("/image") }).unwrap();
    pair.run(seconds(10_000), &mut serve(&image, &mut got, &mut upload));
    assert!(got.bytes == image && got.done == 1);
}

#[test]
fn bodies_of_every_length_around_a_block_arrive() {
    for len in [0, 1, 15, 16, 17, 31, 32, 33, 1023, 1024, 1025, 2048] {
        for szx in [0, 1, 6] {
            let image = body(len);
            let mut pair = pair(Config::DEFAULT, Net::default(), 1);
            let (mut got, mut upload) = (Got::default(), Vec::new());
            pair.sides[0].endpoint.request(pair.now, Peer(7), &Request { szx, ..Request::get("/image") }).unwrap();
            let put = Request { szx, payload: &image, ..Request::new(Code::PUT, "/up") };
            pair.run(seconds(1000), &mut serve(&image, &mut got, &mut upload));
            assert!(got.bytes == image && got.done == 1, "GET {len} {szx}");
            pair.sides[0].endpoint.request(pair.now, Peer(7), &put).unwrap();
            pair.run(seconds(2000), &mut serve(&image, &mut got, &mut upload));
            assert_eq!(got.code, Some(Code::CHANGED));
            assert!(got.done == 2 && upload == image, "PUT {len} {szx}");
        }
    }
}

#[test]
fn a_body_larger_than_memory_goes_up_block_by_block() {
    let image = body(64 * 1024);
    for seed in 0..4 {
        let config = Config { szx: 4, ..Config::DEFAULT };
        let mut pair = pair(config, Net { loss: seed * 3, duplicate: 5, reorder: 5 }, seed);
        let (mut got, mut upload) = (Got::default(), Vec::new());
        let put = Request { payload_len: Some(image.len() as u32), ..Request::new(Code::PUT, "/up") };
        pair.sides[0].endpoint.request(pair.now, Peer(7), &put).unwrap();
        {
            let mut server = serve(&[], &mut got, &mut upload);
            pair.run(seconds(100_000), &mut |now, side, endpoint, event| match event {
                Event::BodyWanted { exchange, offset, len } => {
                    let part = &image[offset as usize..][..len as usize];
                    assert!(endpoint.body(now, exchange, &part[1..]).is_err());
                    endpoint.body(now, exchange, part).unwrap();
                    assert_eq!(endpoint.body(now, exchange, part), Err(crate::Misuse::WrongState.into()));
                }
                event => server(now, side, endpoint, event),
            });
        }
        assert_eq!((got.done, got.failed.len()), (1, 0), "seed {seed}");
        assert!(upload == image);
    }
}

#[test]
fn the_server_chooses_a_smaller_block_both_ways() {
    let image = body(5000);
    let mut pair = pair(Config::DEFAULT, Net::default(), 1);
    pair.sides[1].endpoint = Endpoint::new(Config { szx: 1, ..Config::DEFAULT }, 9, resources(1024, 0, 2, 4, 0));
    let (mut got, mut upload) = (Got::default(), Vec::new());
    pair.sides[0].endpoint.request(pair.now, Peer(7), &Request::get("/image")).unwrap();
    pair.run(seconds(1000), &mut serve(&image, &mut got, &mut upload));
    assert!(got.bytes == image);
    assert!(pair.sides[1].sent.iter().all(|m| Message::decode(m).unwrap().payload.len() <= 32));
    pair.sides[0].sent.clear();
    pair.sides[0]
        .endpoint
        .request(pair.now, Peer(7), &Request { payload: &image[..3000], ..Request::new(Code::PUT, "/up") })
        .unwrap();
    pair.run(seconds(2000), &mut serve(&image, &mut got, &mut upload));
    assert!(upload == image[..3000]);
    assert!(pair.sides[0].sent[1..].iter().all(|m| Message::decode(m).unwrap().payload.len() <= 32));
}

#[test]
fn a_body_that_is_too_large_at_once_starts_again_in_smaller_blocks() {
    let image = body(300);
    let mut pair = pair(Config::DEFAULT, Net::default(), 1);
    let mut upload = Vec::new();
    let mut done = false;
    pair.sides[1].endpoint = Endpoint::new(Config { szx: 2, ..Config::DEFAULT }, 9, resources(1024, 0, 2, 4, 0));
    pair.sides[0]
        .endpoint
        .request(pair.now, Peer(7), &Request { szx: 3, payload: &image, ..Request::new(Code::PUT, "/up") })
        .unwrap();
    pair.run(seconds(1000), &mut |now, side, endpoint, event| match event {
        Event::Request { id, payload, offset, more, .. } => {
            assert_eq!((side, offset as usize), (1, upload.len()));
            let code = match (payload.len() > 64, more) {
                (true, _) => Code::REQUEST_ENTITY_TOO_LARGE,
                (_, true) => Code::CONTINUE,
                _ => Code::CHANGED,
            };
            if payload.len() <= 64 {
                upload.extend_from_slice(payload);
            }
            endpoint.respond(now, &id, &Reply::new(code, b"")).unwrap();
        }
        Event::Response { code, .. } => done = code == Code::CHANGED,
        _ => {}
    });
    assert!(done && upload == image);
}

#[test]
fn a_transfer_waits_for_flash_and_resumes_where_it_was() {
    let image = body(1000);
    let mut pair = pair(Config::DEFAULT, Net::default(), 1);
    let (mut got, mut upload) = (Got::default(), Vec::new());
    let request = Request { szx: 2, flow: Flow::Manual, ..Request::get("/image") };
    let exchange = pair.sides[0].endpoint.request(pair.now, Peer(7), &request).unwrap();
    pair.run(seconds(1000), &mut serve(&image, &mut got, &mut upload));
    assert_eq!(got.bytes.len(), 64);
    let now = pair.now;
    pair.sides[0].endpoint.advance(now, exchange).unwrap();
    assert_eq!(pair.sides[0].endpoint.advance(now, exchange), Err(crate::Misuse::WrongState.into()));
    pair.run(seconds(2000), &mut serve(&image, &mut got, &mut upload));
    assert_eq!(got.bytes.len(), 128);
    pair.sides[0].endpoint.cancel(now, exchange).unwrap();
    assert_eq!(pair.sides[0].endpoint.cancel(now, exchange), Err(crate::Misuse::UnknownId.into()));
    // Resumed, bound to the version: the size of blocks falls to what divides the offset.
    let etag = ETag::new(&[1000_u32 as u8, 1]);
    let request = Request { offset: 16 * 9, etag, ..Request::get("/image") };
    pair.sides[0].endpoint.request(now, Peer(7), &request).unwrap();
    got.bytes.resize(16 * 9, 0);
    pair.run(seconds(3000), &mut serve(&image, &mut got, &mut upload));
    assert!(got.done == 1 && got.bytes[16 * 9..] == image[16 * 9..]);
    for (offset, etag, want) in
        [(64, ETag::new(b"other"), Failure::Changed), (0, ETag::new(b"other"), Failure::Changed)]
    {
        pair.sides[0].endpoint.request(now, Peer(7), &Request { offset, etag, ..Request::get("/image") }).unwrap();
        let until = pair.now.after(Duration::from_secs(100));
        pair.run(until, &mut serve(&image, &mut got, &mut upload));
        assert_eq!(got.failed.pop(), Some(want));
    }
    // Past the end.
    got.code = None;
    pair.sides[0].endpoint.request(now, Peer(7), &Request { offset: 1024, ..Request::get("/image") }).unwrap();
    pair.run(seconds(5000), &mut serve(&image, &mut got, &mut upload));
    assert_eq!((got.code, got.done), (Some(Code::BAD_REQUEST), 2));
}

#[test]
fn another_version_in_mid_transfer_fails() {
    let mut pair = pair(Config::DEFAULT, Net::default(), 1);
    let mut version = 0_u8;
    let mut got = Got::default();
    pair.sides[0].endpoint.request(pair.now, Peer(7), &Request { szx: 0, ..Request::get("/image") }).unwrap();
    pair.run(seconds(1000), &mut |now, side, endpoint, event| match event {
        Event::Request { id, .. } => {
            assert_eq!(side, 1);
            version += 1;
            let etag = [version / 3];
            let options = [Opt { number: option::ETAG, value: &etag }];
            endpoint.respond(now, &id, &Reply { options: &options, ..Reply::new(Code::CONTENT, &[1; 100]) }).unwrap();
        }
        event => got.take(&event),
    });
    assert_eq!((&got.failed[..], got.bytes.len(), got.done), (&[Failure::Changed][..], 32, 0));
}

#[test]
fn a_dead_peer_is_given_up_after_max_transmit_wait() {
    let mut pair = pair(Config::DEFAULT, Net { loss: 100, ..Net::default() }, 5);
    let mut got = Got::default();
    let mut failed_at = Instant::ZERO;
    pair.sides[0].endpoint.request(pair.now, Peer(7), &Request::get("/x")).unwrap();
    pair.run(seconds(1000), &mut |now, _, _, event| {
        failed_at = now;
        got.take(&event);
    });
    assert_eq!(got.failed, [Failure::Timeout]);
    assert_eq!(pair.sides[0].sent.len(), 5);
    assert!(pair.sides[0].sent.iter().all(|m| *m == pair.sides[0].sent[0]), "sent again unchanged");
    // 31 times 2 to 3 seconds.
    assert!(failed_at >= seconds(62) && failed_at <= seconds(93), "{failed_at:?}");
}

#[test]
fn requests_to_one_peer_take_their_turns() {
    let image = body(2000);
    let mut pair = pair(Config::DEFAULT, Net::default(), 5);
    let mut order = Vec::new();
    let first = pair.sides[0].endpoint.request(pair.now, Peer(7), &Request { szx: 0, ..Request::get("/a") }).unwrap();
    let second = pair.sides[0].endpoint.request(pair.now, Peer(7), &Request { szx: 0, ..Request::get("/b") }).unwrap();
    pair.run(seconds(1000), &mut |now, _, endpoint, event| match event {
        Event::Request { id, .. } => endpoint.respond(now, &id, &Reply::new(Code::CONTENT, &image)).unwrap(),
        Event::Response { exchange, .. } => order.push(exchange),
        _ => {}
    });
    assert_eq!(order.len(), 250);
    assert!(order.chunks(2).all(|pair| pair.contains(&first) && pair.contains(&second)));
}
