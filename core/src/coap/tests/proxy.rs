use super::*;
use crate::Duration;

fn at(seconds: u64) -> Instant {
    Instant::ZERO.after(Duration::from_secs(seconds))
}

fn opt(number: u16, value: &[u8]) -> Opt<'_> {
    Opt { number, value }
}

const URI: &[u8] = b"coap://Example.org/a?x=1";

fn ask(proxy: &mut Proxy, now: u64, method: Code, options: &[Opt<'_>]) -> Step {
    proxy.request(at(now), method, options.iter().copied(), b"")
}

fn forward(step: Step) -> Forward {
    match step {
        Step::Forward(forward) => forward,
        Step::Answer(answer) => panic!("{answer:?}"),
    }
}

fn answer(step: Step) -> Answer {
    match step {
        Step::Answer(answer) => answer,
        Step::Forward(forward) => panic!("{forward:?}"),
    }
}

fn get(proxy: &mut Proxy, now: u64) -> Step {
    ask(proxy, now, Code::GET, &[opt(option::PROXY_URI, URI)])
}

fn respond(proxy: &mut Proxy, now: u64, forward: &Forward, code: Code, options: &[Opt<'_>], body: &[u8]) -> Answer {
    proxy.response(at(now), forward, code, options.iter().copied(), Bytes::copy_from_slice(body))
}

/// [RFC7252-5.7.2-3]
#[test]
fn what_is_asked_for_is_named_by_one_uri_or_by_its_parts() {
    let mut proxy = Proxy::new(ProxyConfig::default());
    let by_uri = forward(get(&mut proxy, 0));
    assert_eq!(by_uri.uri, "coap://example.org/a?x=1");
    let port = 5683_u16.to_be_bytes();
    let parts = [
        opt(option::URI_HOST, b"example.org"),
        opt(option::URI_PORT, &port),
        opt(option::URI_PATH, b"a"),
        opt(option::URI_QUERY, b"x=1"),
        opt(option::PROXY_SCHEME, b"coap"),
    ];
    let by_parts = forward(ask(&mut proxy, 0, Code::GET, &parts));
    assert_eq!((by_parts.uri, by_parts.key), (by_uri.uri, by_uri.key));
    let escaped = [opt(3, b"::1"), opt(7, &[1]), opt(11, b"a/b"), opt(15, b"x&y"), opt(15, b"z"), opt(39, b"coap")];
    assert_eq!(forward(ask(&mut proxy, 0, Code::GET, &escaped)).uri, "coap://[::1]:1/a%2Fb?x%26y&z");
    // Proxy-Uri is what counts.
    let both = [opt(3, b"other"), opt(11, b"b"), opt(35, b"coap://one")];
    assert_eq!(forward(ask(&mut proxy, 0, Code::GET, &both)).uri, "coap://one/");
    for (options, code) in [
        (&[][..], Code::NOT_FOUND),
        (&[opt(11, b"a")], Code::NOT_FOUND),
        (&[opt(35, b"http://a/b")], Code::PROXYING_NOT_SUPPORTED),
        (&[opt(35, b"coaps://a/b")], Code::PROXYING_NOT_SUPPORTED),
        (&[opt(3, b"a"), opt(39, b"http")], Code::PROXYING_NOT_SUPPORTED),
        (&[opt(35, b"coap://")], Code::BAD_REQUEST),
        (&[opt(35, b"coap://a/\xFF")], Code::BAD_REQUEST),
        (&[opt(39, b"coap")], Code::BAD_REQUEST),
        (&[opt(3, b"a b"), opt(39, b"coap")], Code::BAD_REQUEST),
    ] {
        assert_eq!(answer(ask(&mut proxy, 0, Code::GET, options)).code, code, "{options:?}");
    }
}

/// [RFC7252-5.7.1-4] [RFC7252-5.7.1-5] [RFC7252-5.7.1-6] [RFC7252-5.7.1-7]
#[test]
fn options_go_on_as_their_numbers_say() {
    let mut proxy = Proxy::new(ProxyConfig::default());
    // If-Match, an ETag, Observe, Content-Format, Accept, Block2, one that is unknown, critical and safe, and No-Response.
    let options = [
        opt(1, b"v"),
        opt(4, b"e"),
        opt(6, b""),
        opt(12, b"*"),
        opt(17, b"*"),
        opt(23, b"\x06"),
        opt(35, URI),
        opt(65_001, b"z"),
        opt(258, b"\x02"),
    ];
    let numbers: Vec<u16> = forward(ask(&mut proxy, 0, Code::PUT, &options)).options.iter().map(|o| o.0).collect();
    assert_eq!(numbers, [1, 12, 16, 17, 65_001]);
    // Unknown and Unsafe-to-Forward, critical or not.
    for number in [65_002, 65_003] {
        let refused = answer(ask(&mut proxy, 0, Code::GET, &[opt(35, URI), opt(number, b"")]));
        assert_eq!((refused.code, &refused.body[..5]), (Code::BAD_OPTION, &b"optio"[..]));
        let asked = forward(get(&mut proxy, 0));
        assert_eq!(respond(&mut proxy, 0, &asked, Code::CONTENT, &[opt(number, b"")], b"x").code, Code::BAD_GATEWAY);
    }
}

#[test]
fn a_request_passes_so_many_proxies_and_no_more() {
    let mut proxy = Proxy::new(ProxyConfig::default());
    let hops = |proxy: &mut Proxy, value: &[u8]| ask(proxy, 0, Code::GET, &[opt(16, value), opt(35, URI)]);
    let passed = |step| find(&forward(step).options, option::HOP_LIMIT).map(<[u8]>::to_vec);
    assert_eq!(passed(get(&mut proxy, 0)), Some(std::vec![16]));
    assert_eq!(passed(hops(&mut proxy, &[255])), Some(std::vec![254]));
    assert_eq!(passed(hops(&mut proxy, &[2])), Some(std::vec![1]));
    assert_eq!(answer(hops(&mut proxy, &[1])).code, Code::HOP_LIMIT_REACHED);
    assert_eq!(answer(hops(&mut proxy, &[])).code, Code::BAD_REQUEST);
    assert_eq!(answer(hops(&mut proxy, &[1, 0])).code, Code::BAD_REQUEST);
}

/// [RFC7252-5.6-2] [RFC7252-5.7.1-3] [RFC7252-5.9.1.3-2]
#[test]
fn a_response_is_kept_while_it_is_fresh_and_grows_old() {
    let mut proxy = Proxy::new(ProxyConfig::default());
    let asked = forward(get(&mut proxy, 0));
    let first = respond(&mut proxy, 0, &asked, Code::CONTENT, &[opt(4, b"v1"), opt(12, b""), opt(14, &[100])], b"body");
    assert_eq!(first.options, [(4, b"v1".to_vec()), (12, Vec::new()), (14, std::vec![100])]);
    let later = answer(get(&mut proxy, 40));
    assert_eq!((later.code, &later.body[..]), (Code::CONTENT, &b"body"[..]));
    assert_eq!(find(&later.options, option::MAX_AGE), Some(&[60][..]), "40 seconds older");
    // A client that has that version need not have it again.
    let have = answer(ask(&mut proxy, 41, Code::GET, &[opt(4, b"v0"), opt(4, b"v1"), opt(35, URI)]));
    assert_eq!((have.code, have.body.len(), have.options.len()), (Code::VALID, 0, 2));
    // Another method, Accept or body is another response; what is no part of the key is not (§5.4.6).
    forward(ask(&mut proxy, 42, Code::FETCH, &[opt(35, URI)]));
    forward(ask(&mut proxy, 42, Code::GET, &[opt(17, b"2"), opt(35, URI)]));
    answer(ask(&mut proxy, 42, Code::GET, &[opt(35, URI), opt(0xFC, b"no cache key")]));
    // Stale: asked whether it is still good, and it is.
    let asked = forward(get(&mut proxy, 100));
    assert_eq!(find(&asked.options, option::ETAG), Some(&b"v1"[..]));
    let again = respond(&mut proxy, 100, &asked, Code::VALID, &[opt(4, b"v1"), opt(14, &[5])], b"");
    assert_eq!((again.code, &again.body[..]), (Code::CONTENT, &b"body"[..]));
    assert_eq!(find(&answer(get(&mut proxy, 104)).options, option::MAX_AGE), Some(&[1][..]));
    forward(get(&mut proxy, 105));
    assert_eq!(proxy.counts().1, 4);
}

#[test]
fn errors_are_kept_too_and_what_changes_a_resource_makes_it_stale() {
    let mut proxy = Proxy::new(ProxyConfig::default());
    let asked = forward(get(&mut proxy, 0));
    respond(&mut proxy, 0, &asked, Code::NOT_FOUND, &[], b"");
    assert_eq!(answer(get(&mut proxy, 59)).code, Code::NOT_FOUND);
    let put = forward(ask(&mut proxy, 59, Code::PUT, &[opt(35, URI)]));
    let created = respond(&mut proxy, 59, &put, Code::CREATED, &[opt(8, b"a")], b"");
    assert_eq!(created.options, [(8, b"a".to_vec())]);
    let asked = forward(get(&mut proxy, 59));
    assert!(find(&asked.options, option::ETAG).is_none());
    respond(&mut proxy, 59, &asked, Code::CONTENT, &[opt(14, &[])], b"Max-Age 0, and no ETag: not kept");
    forward(get(&mut proxy, 59));
}

#[test]
fn the_body_of_a_fetch_is_part_of_the_key() {
    let mut proxy = Proxy::new(ProxyConfig::default());
    let mut fetch = |body: &[u8]| {
        let step = proxy.request(at(0), Code::FETCH, [opt(35, URI)].into_iter(), body);
        if let Step::Forward(forward) = &step {
            proxy.response(at(0), forward, Code::CONTENT, [].into_iter(), Bytes::copy_from_slice(body));
        }
        matches!(step, Step::Answer(_))
    };
    assert_eq!([&b"a"[..], b"b", b"a", b""].map(&mut fetch), [false, false, true, false]);
}

#[test]
fn the_cache_stays_within_its_bounds() {
    let config = ProxyConfig { max_entries: 4, max_bytes: 1000, ..ProxyConfig::default() };
    let mut proxy = Proxy::new(config);
    for n in 0..100_u32 {
        let uri = std::format!("coap://a/{n}");
        let asked = forward(ask(&mut proxy, 0, Code::GET, &[opt(35, uri.as_bytes())]));
        let body = std::vec![0; (n as usize * 37) % 600];
        respond(&mut proxy, 0, &asked, Code::CONTENT, &[], &body);
        let (entries, bytes) = proxy.kept();
        assert!(entries <= 4 && bytes <= 1000);
        // The first is wanted again and again, so it stays as long as there is room for it.
        if n < 4 {
            answer(ask(&mut proxy, 0, Code::GET, &[opt(35, b"coap://a/0")]));
        }
    }
    let asked = forward(ask(&mut proxy, 0, Code::GET, &[opt(35, b"coap://a/large")]));
    respond(&mut proxy, 0, &asked, Code::CONTENT, &[], &[0; 1001]);
    forward(ask(&mut proxy, 0, Code::GET, &[opt(35, b"coap://a/large")]));
}

/// [RFC7252-5.7.1-1] [RFC7252-5.7.1-2]
#[test]
fn what_came_to_nothing_is_a_gateways_error() {
    assert_eq!(Proxy::failed(Some(Failure::Timeout)).code, Code::GATEWAY_TIMEOUT);
    assert_eq!(Proxy::failed(Some(Failure::Reset)).code, Code::BAD_GATEWAY);
    assert_eq!(Proxy::failed(None).code, Code::BAD_GATEWAY);
}

/// [RFC7252-5.9.1.1-1] [RFC7252-5.9.1.2-1] [RFC7252-5.9.1.4-1] [RFC7252-5.6-1]
#[test]
fn what_changes_a_resource_makes_stale_what_is_kept_of_it_and_unknown_successes_are_not_kept() {
    for code in [Code::CREATED, Code::DELETED, Code::CHANGED] {
        let mut proxy = Proxy::new(ProxyConfig::default());
        let asked = forward(get(&mut proxy, 0));
        respond(&mut proxy, 0, &asked, Code::CONTENT, &[], b"old");
        answer(get(&mut proxy, 1));
        let put = forward(ask(&mut proxy, 1, Code::POST, &[opt(35, URI)]));
        respond(&mut proxy, 1, &put, code, &[], b"");
        forward(get(&mut proxy, 1));
    }
    let mut proxy = Proxy::new(ProxyConfig::default());
    let asked = forward(get(&mut proxy, 0));
    respond(&mut proxy, 0, &asked, Code::new(2, 30), &[opt(14, &[100])], b"what");
    forward(get(&mut proxy, 1));
}

/// [RFC7252-5.7.1-8] [RFC7252-5.9.1.3-3] [RFC7641-2-1]
#[test]
fn options_of_a_response_go_on_are_replaced_and_observe_is_not_kept() {
    let mut proxy = Proxy::new(ProxyConfig::default());
    let asked = forward(get(&mut proxy, 0));
    // One that is unknown, elective and safe; Observe.
    let first = respond(&mut proxy, 0, &asked, Code::CONTENT, &[opt(4, b"v"), opt(6, &[5]), opt(2048, b"a")], b"x");
    assert_eq!(find(&first.options, 2048), Some(&b"a"[..]));
    let kept = answer(get(&mut proxy, 1));
    assert_eq!((find(&kept.options, 2048), find(&kept.options, option::OBSERVE)), (Some(&b"a"[..]), None));
    let asked = forward(get(&mut proxy, 60));
    respond(&mut proxy, 60, &asked, Code::VALID, &[opt(4, b"v"), opt(2048, b"b")], b"");
    let kept = answer(get(&mut proxy, 61));
    let all: Vec<_> = kept.options.iter().filter(|(number, _)| *number == 2048).collect();
    assert_eq!(all, [&(2048, b"b".to_vec())]);
}
