//! Silence.

use super::*;
use proptest::prelude::*;

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
fn packets_are_no_pingresp() {
    let mut c = quiet(8);
    assert_eq!(sent(&mut c, at(7)), b"\xc0\x00");
    for t in 8..17 {
        fed(&mut c, at(t), b"\x30\x04\x00\x01ax\x32\x05\x00\x01a\x00\x01");
        assert!(!drain(&mut c, at(t)).0.is_empty());
    }
    assert_eq!(drain(&mut c, at(17)), (vec![], vec!["closed KeepAlive".into()]));
}

#[test]
fn a_payload_on_its_way_stands_before_the_pingresp() {
    // The message began before PINGREQ left, or before the time was up; a long topic that is passed over is one too.
    for (config, head) in [
        (Config::default(), &b"\x30\x84\x80\x04\x00\x01a"[..]),
        (Config { max_packet: 8, ..Config::default() }, b"\x30\x84\x80\x04\xff\xffa"),
    ] {
        for began in [1, 16] {
            let mut c = connected(config, 128, 4, &Connect { keep_alive: 8, ..Connect::default() });
            for t in 1..100 {
                let part = if t < began {
                    &b""[..]
                } else if t == began {
                    head
                } else {
                    b"x"
                };
                fed_if_any(&mut c, at(t), part);
                let told = drain(&mut c, at(t)).1;
                assert!(told.is_empty(), "{told:?} at {t}");
            }
            // Each part begins the wait anew, and then nothing more comes.
            assert_eq!(drain(&mut c, Instant::from_millis(108_999)).1, [""; 0]);
            assert_eq!(drain(&mut c, at(109)).1, ["closed KeepAlive"]);
        }
    }
}

fn fed_if_any(c: &mut Client<'_>, now: Instant, bytes: &[u8]) {
    if !bytes.is_empty() {
        fed(c, now, bytes);
    }
}

#[test]
fn one_payload_and_no_second_puts_the_end_of_the_wait_off() {
    for answered in [false, true] {
        let mut c = quiet(8);
        fed(&mut c, at(6), b"\x30\x06\x00\x01a");
        assert_eq!(sent(&mut c, at(7)), b"\xc0\x00");
        for t in [15, 24, 33] {
            fed(&mut c, at(t), b"x");
            drain(&mut c, at(t));
        }
        // It was whole at 33. The next one begins at once, and counts for nothing.
        if answered {
            fed(&mut c, at(40), b"\xd0\x00");
        }
        for t in 34..43 {
            fed_if_any(&mut c, at(t), if t == 40 && answered { b"" } else { b"\x30\x05\x00\x01axy" });
            assert_eq!(drain(&mut c, at(t)).1, [""; 0]);
        }
        fed(&mut c, at(42), b"\x30\x08\x00\x01ax");
        assert_eq!(drain(&mut c, at(43)).1, if answered { vec![] } else { vec!["closed KeepAlive"] });
    }
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
fn what_is_queued_when_a_pingreq_is_due_leaves_with_it() {
    for (size, queued) in [(256, 1), (256, 2), (5, 1), (5, 2), (2, 1)] {
        let mut c = quiet(8);
        for _ in 0..queued {
            c.publish(at(7), "a", b"", QoS::AtLeastOnce, false).unwrap();
        }
        let (sent, told) = drain_by(&mut c, at(7), size);
        assert_eq!(told, [""; 0]);
        let publishes = &b"\x32\x05\x00\x01a\x00\x01\x32\x05\x00\x01a\x00\x02"[..queued * 7];
        assert_eq!(sent, [b"\xc0\x00", publishes].concat());
    }
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

proptest! {
    /// Whatever comes and goes: no silence of ours is longer than the keep-alive (`[MQTT-3.1.2-23]`); no two PINGREQs
    /// are closer than seven eighths of it; a server that falls silent is left, and at once when its time is over.
    #[test]
    fn the_keep_alive_is_exact(
        secs in 1..100_u16,
        answer in 1..200_u64,
        traffic in proptest::collection::vec((0..60_000_u64, 0..3_u8), 0..60),
        silent_after in 0..60_usize,
    ) {
        let ms = Instant::from_millis;
        let keep_alive = u64::from(secs) * 1000;
        let config = Config { answer_timeout: Duration::from_secs(answer), ..Config::default() };
        let mut c = connected(config, 128, 4, &Connect { keep_alive: secs, ..Connect::default() });
        let (mut left, mut pinged, mut last) = (0, None::<u64>, 0);
        // The first PINGREQ that nothing came after.
        let mut unanswered = None::<u64>;
        let mut traffic = traffic.into_iter().enumerate();
        let mut next = traffic.next();
        loop {
            let silent = next.is_none_or(|(n, _)| n >= silent_after);
            let due = c.next_timeout().map_or(u64::MAX, |at| at.as_micros().div_ceil(1000));
            let event = next.map(|(_, (wait, what))| (last + wait % (2 * keep_alive), what));
            let (now, mut ping) = (due.min(event.map_or(u64::MAX, |(at, _)| at)), false);
            match event {
                Some((at, what)) if at < due => {
                    next = traffic.next();
                    last = at;
                    match what {
                        0 => drop(c.publish(ms(now), "a", b"", QoS::AtMostOnce, false)),
                        1 if !silent => {
                            fed(&mut c, ms(now), b"\x30\x03\x00\x01a");
                        }
                        _ => {}
                    }
                }
                _ => ping = true,
            }
            c.handle_timeout(ms(now));
            let (sent, told) = drain(&mut c, ms(now));
            if let [told] = &told[..] {
                prop_assert_eq!(told, "closed KeepAlive");
                prop_assert_eq!(Some(now), unanswered.map(|at| at + answer * 1000), "closed at the wrong time");
                prop_assert!(silent || answer * 1000 <= keep_alive * 2);
                break;
            }
            if !sent.is_empty() {
                prop_assert!(now - left <= keep_alive, "silent for {} ms of {keep_alive}", now - left);
                left = now;
            }
            if sent.windows(2).any(|two| two == b"\xc0\x00") {
                prop_assert!(ping, "before it was due");
                if let Some(before) = pinged {
                    prop_assert!(now - before >= keep_alive * 7 / 8, "two PINGREQs within {} ms", now - before);
                }
                pinged = Some(now);
                if silent {
                    unanswered = unanswered.or(Some(now));
                } else {
                    fed(&mut c, ms(now), b"\xd0\x00");
                    unanswered = None;
                }
            }
            prop_assert!(now < 100_000_000, "the server is silent and nothing happens");
        }
    }
}
