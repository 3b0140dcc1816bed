//! Who is let in, and to what.

use super::{super::*, bench::*};
use crate::{
    mqtt::{
        Connect, ConnectReturnCode as C, Packet, Will,
        packet::{encode_subscribe, subscribe_len},
    },
    wire::Writer,
};
use std::{format, vec};

fn ask() -> Bench {
    Bench::new(BrokerConfig { ask_host: true, ..BrokerConfig::default() })
}

fn with(acl: &str) -> Bench {
    let acl = Some(Arc::new(Acl::parse(acl).unwrap()));
    Bench::new(BrokerConfig { acl, ..BrokerConfig::default() })
}

fn ann(client_id: &str) -> Connect<'_> {
    Connect { username: Some("ann"), password: Some(b"secret"), ..clean(client_id) }
}

#[test]
fn the_host_is_asked_and_lets_in() {
    let mut b = ask();
    assert!(b.open(1, &ann("c")).is_empty());
    let password = Some(Password(Bytes::from_static(b"secret")));
    let asked = Event::Authenticate { peer: Peer(1), client_id: "c".into(), username: Some("ann".into()), password };
    assert_eq!(b.events, [asked]);
    assert!(!format!("{:?}", b.events).contains("secret"));
    // Nothing more is taken before the answer.
    let ping = Input { peer: Peer(1), bytes: &[0xC0, 0] };
    assert_eq!(b.broker.handle_input(b.now, ping), Ok(Handled::incomplete(0)));
    b.broker.allow(b.now, Peer(1), None).unwrap();
    b.drain();
    assert_eq!(b.got(1), ["ConnAck 0 Accepted"]);
    assert_eq!(b.broker.handle_input(b.now, ping), Ok(Handled::quiet(2)));
    assert_eq!(b.broker.allow(b.now, Peer(1), None), Err(Misuse::WrongState.into()));
    assert_eq!(b.broker.allow(b.now, Peer(2), None), Err(Misuse::UnknownId.into()));
}

#[test]
fn the_host_refuses_by_any_code_but_acceptance() {
    for code in [C::BadUserNameOrPassword, C::NotAuthorized, C::ServerUnavailable, C::IdentifierRejected] {
        let mut b = ask();
        b.open(1, &ann("c"));
        assert_eq!(b.broker.deny(b.now, Peer(1), C::Accepted), Err(Misuse::OutOfRange.into()));
        b.broker.deny(b.now, Peer(1), code).unwrap();
        b.drain();
        assert_eq!(b.got(1), [format!("ConnAck 0 {code:?}")]);
        assert_eq!(b.closed(1), Some(Reason::Refused(code)));
        assert_eq!((b.broker.stats().sessions, b.broker.stats().connections), (0, 0));
    }
}

#[test]
fn a_host_that_does_not_answer_is_not_waited_for() {
    let mut b = ask();
    b.open(1, &ann("c"));
    b.seconds(10);
    assert_eq!(b.got(1), ["ConnAck 0 ServerUnavailable"]);
    assert_eq!(b.closed(1), Some(Reason::ConnectTimeout));
    assert_eq!(b.broker.allow(b.now, Peer(1), None), Err(Misuse::UnknownId.into()));
    // Nor is a client that has gone.
    b.open(2, &ann("c"));
    b.lose(2);
    assert_eq!(b.broker.allow(b.now, Peer(2), None), Err(Misuse::UnknownId.into()));
}

#[test]
fn nobody_loses_a_session_to_one_who_is_not_let_in() {
    let mut b = ask();
    b.open(1, &ann("c"));
    b.broker.allow(b.now, Peer(1), None).unwrap();
    b.drain();
    b.open(2, &clean("c"));
    assert_eq!(b.broker.stats().connected, 1);
    b.broker.deny(b.now, Peer(2), C::NotAuthorized).unwrap();
    b.drain();
    assert_eq!((b.closed(1), b.broker.stats().connected), (None, 1));
}

#[test]
fn a_message_that_may_not_be_published_is_acknowledged_and_goes_nowhere() {
    let mut b = with("pattern read #\npattern write own/%c");
    b.clean(1);
    b.clean(2);
    b.subscribe(2, &[("#", Q2)]);
    for (qos, got) in [(Q0, vec![]), (Q1, vec!["PubAck 5"]), (Q2, vec!["PubRec 5"])] {
        b.publish(1, "own/c2", b"x", qos, true);
        assert_eq!(b.got(1), got); // [MQTT-3.3.5-2]
    }
    assert!(b.got(2).is_empty());
    assert_eq!((b.broker.retained("#").count(), b.broker.stats().denied), (0, 3));
    b.publish(1, "own/c1", b"x", Q0, false);
    assert_eq!(b.got(2), ["own/c1 x q0"]);
}

#[test]
fn a_subscription_reaches_as_far_as_the_rights_do() {
    let mut b = with("topic read a/#\ntopic deny a/secret\ntopic write #");
    b.clean(1);
    for topic in ["a/1", "a/secret", "b"] {
        b.broker.publish(b.now, topic, "old", Q0, true).unwrap();
    }
    let mut subscribe = vec![0; subscribe_len(&[("#", Q0), ("b", Q0), ("a/secret", Q0)])];
    encode_subscribe(&mut Writer::new(&mut subscribe), id(9), &[("#", Q0), ("b", Q0), ("a/secret", Q0)]);
    b.send(1, &subscribe).unwrap();
    assert_eq!(b.got(1), ["SubAck 9 [0, 128, 128]", "a/1 old q0 retain"]);
    b.publish(1, "a/1", b"new", Q0, false);
    b.publish(1, "a/secret", b"new", Q0, false);
    b.publish(1, "b", b"new", Q0, false);
    assert_eq!(b.got(1), ["a/1 new q0"]);
}

#[test]
fn a_will_that_may_not_be_published_is_refused_at_once() {
    let mut b = with("pattern write status/%c");
    let will = |topic| Some(Will { topic, payload: b"gone", qos: Q0, retain: false });
    assert_eq!(b.open(1, &Connect { will: will("status/b"), ..clean("a") }), ["ConnAck 0 NotAuthorized"]);
    assert_eq!(b.closed(1), Some(Reason::Refused(C::NotAuthorized)));
    assert_eq!(b.open(2, &Connect { will: will("status/a"), ..clean("a") }), ["ConnAck 0 Accepted"]);
}

#[test]
fn the_hosts_answer_brings_its_own_rights() {
    let mut b = ask();
    let acl = |text| Some(Arc::new(Acl::parse(text).unwrap()));
    b.broker.config.acl = acl("topic deny #");
    b.open(1, &ann("c"));
    b.broker.allow(b.now, Peer(1), acl("user ann\ntopic t")).unwrap();
    b.drain();
    b.got(1);
    b.subscribe(1, &[("t", Q0)]);
    b.packet(1, &Packet::PingReq);
    b.publish(1, "t", b"x", Q0, false);
    assert_eq!(b.got(1), ["PingResp", "t x q0"]);
}

#[test]
fn who_takes_up_a_session_under_another_name_gets_what_that_one_may_read() {
    for persistent in [false, true] {
        let acl = Some(Arc::new(Acl::parse("user ann\ntopic read #\nuser bob\ntopic read b").unwrap()));
        let mut b = Bench::new(BrokerConfig { acl, persistent, max_in_flight: 1, ..BrokerConfig::default() });
        let durable = |b: &mut Bench| {
            while b.broker.recorded(b.now).is_ok() {
                b.drain();
            }
        };
        let kept = |username| Connect { username: Some(username), clean_session: false, ..clean("c") };
        b.open(1, &kept("ann"));
        durable(&mut b);
        let filters = [("#", Q2)];
        let mut subscribe = vec![0; subscribe_len(&filters)];
        encode_subscribe(&mut Writer::new(&mut subscribe), id(9), &filters);
        b.send(1, &subscribe).unwrap();
        for (topic, payload) in [("a", "1"), ("a", "2"), ("b", "3"), ("a", "4"), ("b", "5")] {
            b.broker.publish(b.now, topic, payload, Q2, false).unwrap();
        }
        b.drain();
        durable(&mut b);
        // The first is on its way.
        assert_eq!(b.got(1).last().unwrap(), "a 1 q2#2");
        b.lose(1);
        let mut got = b.open(2, &kept("bob"));
        durable(&mut b);
        got.extend(b.got(2));
        assert!(
            got.last().unwrap().starts_with("b 3 q2#") && got.iter().all(|line| !line.starts_with("a ")),
            "{got:?}"
        );
        let n: u16 = got.last().unwrap().split_once('#').unwrap().1.parse().unwrap();
        b.packet(2, &Packet::PubRec(id(n)));
        b.packet(2, &Packet::PubComp(id(n)));
        durable(&mut b);
        let got = b.got(2);
        assert!(got.last().is_some_and(|last| last.starts_with("b 5 q2#")), "{got:?}");
        assert_eq!((b.broker.stats().queued, b.broker.stats().queued_bytes), (1, 2));
        assert_eq!(b.broker.publish(b.now, "a", "6", Q2, false), Ok(0));
    }
}
