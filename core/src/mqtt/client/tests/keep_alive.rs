//! Silence.

use super::*;

const SECOND: u64 = 1_000_000;

fn quiet(secs: u16) -> Client<'static> {
    connected(Config::default(), 128, 4, &Connect { keep_alive: secs, ..Connect::default() })
}

#[test]
fn silence_is_broken_before_the_keep_alive_is_over() {
    let mut c = quiet(8);
    assert_eq!(c.next_timeout(), Some(at(7)));
    c.handle_timeout(at(6));
    assert_eq!(sent(&mut c, at(6)), b"");
    c.handle_timeout(at(7));
    assert_eq!(sent(&mut c, at(7)), b"\xc0\x00");
    fed(&mut c, at(8), b"\xd0\x00");
    assert_eq!(c.next_timeout(), Some(at(14)));
    c.publish(at(10), "a", b"", QoS::AtMostOnce, false).unwrap();
    sent(&mut c, at(10));
    assert_eq!(c.next_timeout(), Some(at(17)));
}

#[test]
fn a_missing_pingresp_closes() {
    let mut c = quiet(8);
    assert_eq!(sent(&mut c, at(7)), b"\xc0\x00");
    // Another silence passes meanwhile, and the time for the answer is not put off by it.
    assert_eq!(sent(&mut c, at(14)), b"\xc0\x00");
    assert_eq!(c.next_timeout(), Some(at(17)));
    c.handle_timeout(at(17));
    assert_eq!(drain(&mut c, at(17)), (vec![], vec!["closed KeepAlive".into()]));
    assert_eq!(c.next_timeout(), None);
}

#[test]
fn a_server_that_is_heard_is_there() {
    let mut c = quiet(8);
    assert_eq!(sent(&mut c, at(7)), b"\xc0\x00");
    for t in 8..40 {
        fed(&mut c, at(t), b"\x30\x03\x00\x01a");
        drain(&mut c, at(t));
    }
    assert!(c.is_connected());
}

#[test]
fn who_only_sends_pings_too() {
    let mut c = quiet(8);
    let mut pings = 0;
    for t in 1..=8 {
        c.publish(at(t), "a", b"", QoS::AtMostOnce, false).unwrap();
        pings += sent(&mut c, at(t)).windows(2).filter(|w| *w == b"\xc0\x00").count();
    }
    assert_eq!(pings, 1);
}

#[test]
fn without_keep_alive_nothing_is_due() {
    let mut c = quiet(0);
    assert_eq!(c.next_timeout(), None);
    assert_eq!(sent(&mut c, at(1 << 40)), b"");
}

#[test]
fn a_missing_connack_closes() {
    let mut c = client(Config::default(), 64, 2);
    c.connect(T0, SERVER, &Connect::default()).unwrap();
    sent(&mut c, T0);
    assert_eq!(c.next_timeout(), Some(at(10)));
    assert_eq!(drain(&mut c, at(10)).1, ["closed ConnectTimeout"]);
    assert_eq!(c.state(), State::Closed);
}

#[test]
fn time_that_runs_backwards_or_ends_is_no_panic() {
    let mut c = quiet(u16::MAX);
    c.handle_timeout(Instant::from_micros(u64::MAX));
    drain_by(&mut c, Instant::from_micros(5 * SECOND), 3);
    c.handle_timeout(T0);
    assert!(c.next_timeout().is_none_or(|t| t > T0));
}

#[test]
fn the_keep_alive_counts_from_connect() {
    let mut c = client(Config::default(), 64, 2);
    c.connect(T0, SERVER, &Connect { client_id: "c", keep_alive: 2, ..Connect::default() }).unwrap();
    sent(&mut c, T0);
    // CONNACK comes when the keep-alive is nearly over already, and then after it.
    assert_eq!(sent(&mut c, at(3)), b"");
    assert_eq!(fed(&mut c, at(3), b"\x20\x02\x00\x00"), ["connected false"]);
    assert_eq!(sent(&mut c, at(3)), b"\xc0\x00");
}
