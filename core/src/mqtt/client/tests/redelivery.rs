//! After a reconnect.

use super::*;

#[test]
fn what_was_not_acknowledged_is_sent_again_in_order() {
    for session_present in [true, false] {
        let mut c = connected(Config::default(), 512, 8, &persistent());
        for (payload, qos) in
            [(b"1", QoS::AtLeastOnce), (b"2", QoS::ExactlyOnce), (b"3", QoS::AtLeastOnce), (b"4", QoS::ExactlyOnce)]
        {
            c.publish(T0, "a", payload, qos, false).unwrap();
        }
        sent(&mut c, T0);
        // 4 reaches PUBREC before 2, so its PUBREL is the first.
        fed(&mut c, T0, b"\x50\x02\x00\x04\x40\x02\x00\x01");
        c.publish(T0, "a", b"5", QoS::AtLeastOnce, false).unwrap();
        c.publish(T0, "a", b"0", QoS::AtMostOnce, false).unwrap();
        assert_eq!(
            reconnected(&mut c, session_present),
            *b"\x3c\x06\x00\x01a\x00\x022\x3a\x06\x00\x01a\x00\x033\x62\x02\x00\x04\x32\x06\x00\x01a\x00\x055"
        );
        // And the second time, with DUP on what went out in between.
        fed(&mut c, T0, b"\x50\x02\x00\x02");
        assert_eq!(
            reconnected(&mut c, session_present),
            *b"\x3a\x06\x00\x01a\x00\x033\x62\x02\x00\x04\x3a\x06\x00\x01a\x00\x055\x62\x02\x00\x02"
        );
        fed(&mut c, T0, b"\x40\x02\x00\x03\x70\x02\x00\x04\x40\x02\x00\x05\x70\x02\x00\x02");
        assert_eq!((c.in_flight(), c.slots.kept == 0), (0, true));
    }
}

#[test]
fn a_clean_session_forgets() {
    let mut c = connected(Config::default(), 128, 8, &persistent());
    c.publish(T0, "a", b"1", QoS::ExactlyOnce, false).unwrap();
    fed(&mut c, T0, b"\x34\x05\x00\x01a\x00\x07");
    sent(&mut c, T0);
    c.connection_lost(T0);
    assert_eq!(c.in_flight(), 2);
    c.connect(T0, SERVER, &Connect::default()).unwrap();
    assert_eq!(c.in_flight(), 0);
    sent(&mut c, T0);
    fed(&mut c, T0, b"\x20\x02\x00\x00");
    assert_eq!(sent(&mut c, T0), b"");
    assert_eq!(fed(&mut c, T0, b"\x34\x05\x00\x01a\x00\x07"), ["publish a q2 #7 0"]);
}

#[test]
fn a_message_of_qos_2_is_told_once_whatever_happens() {
    let message = b"\x34\x06\x00\x01a\x00\x07x";
    let again = b"\x3c\x06\x00\x01a\x00\x07x";
    let mut c = connected(Config::default(), 128, 8, &persistent());
    assert_eq!(fed(&mut c, T0, message).len(), 2);
    assert_eq!(reconnected(&mut c, true), b""); // PUBREC was lost with the connection
    assert_eq!(fed(&mut c, T0, again), [""; 0]);
    assert_eq!(sent(&mut c, T0), b"\x50\x02\x00\x07");
    assert_eq!(fed(&mut c, T0, again), [""; 0]);
    assert_eq!(sent(&mut c, T0), b"\x50\x02\x00\x07");
    fed(&mut c, T0, b"\x62\x02\x00\x07");
    reconnected(&mut c, true); // PUBCOMP was lost
    fed(&mut c, T0, b"\x62\x02\x00\x07");
    assert_eq!(sent(&mut c, T0), b"\x70\x02\x00\x07");
    assert_eq!(c.in_flight(), 0);
    // From here on the identifier stands for another message.
    assert_eq!(fed(&mut c, T0, message).len(), 2);
}

#[test]
fn half_a_message_does_not_count() {
    for first in [0x32, 0x34] {
        let mut c = connected(Config::default(), 128, 8, &persistent());
        let message = [first, 7, 0, 1, b'a', 0, 7, b'x', b'y'];
        assert_eq!(fed(&mut c, T0, &message[..8]).len(), 2);
        reconnected(&mut c, true);
        assert_eq!(c.in_flight(), 0);
        assert_eq!(fed(&mut c, T0, &message).last().unwrap(), "payload xy.");
    }
}

#[test]
fn a_server_without_the_session_starts_its_identifiers_anew() {
    let message = b"\x34\x05\x00\x01a\x00\x07";
    let mut c = connected(Config::default(), 128, 8, &persistent());
    fed(&mut c, T0, message);
    sent(&mut c, T0);
    reconnected(&mut c, false);
    assert_eq!(fed(&mut c, T0, message), ["publish a q2 #7 0"]);
}

#[test]
fn held_messages_of_qos_2_outlive_the_connection() {
    let mut c = connected(Config { manual_ack: true, ..Config::default() }, 128, 8, &persistent());
    fed(&mut c, T0, b"\x34\x05\x00\x01a\x00\x07\x32\x05\x00\x01a\x00\x08");
    c.connection_lost(T0);
    c.acknowledge(T0, id(7)).unwrap();
    assert_eq!(c.acknowledge(T0, id(8)), Err(Misuse::UnknownId.into()));
    assert_eq!(reconnected(&mut c, true), b"");
    // The server asks again, and now it gets its answer.
    assert_eq!(fed(&mut c, T0, b"\x3c\x05\x00\x01a\x00\x07"), [""; 0]);
    assert_eq!(sent(&mut c, T0), b"\x50\x02\x00\x07");
    assert_eq!(fed(&mut c, T0, b"\x3a\x05\x00\x01a\x00\x08"), ["publish a q1 #8 0"]);
}

#[test]
fn a_held_message_that_comes_again_is_held_still() {
    let mut c = connected(Config { manual_ack: true, ..Config::default() }, 128, 8, &persistent());
    fed(&mut c, T0, b"\x34\x05\x00\x01a\x00\x07");
    reconnected(&mut c, true);
    assert_eq!(fed(&mut c, T0, b"\x3c\x05\x00\x01a\x00\x07"), [""; 0]);
    assert_eq!(sent(&mut c, T0), b"");
    c.acknowledge(T0, id(7)).unwrap();
    assert_eq!(sent(&mut c, T0), b"\x50\x02\x00\x07");
}

#[test]
fn an_unanswered_subscribe_is_sent_again() {
    let mut c = connected(Config::default(), 128, 8, &persistent());
    c.subscribe(T0, &[("a", QoS::AtLeastOnce)]).unwrap();
    let first = sent(&mut c, T0);
    assert_eq!(reconnected(&mut c, false), first);
    assert_eq!(fed(&mut c, T0, b"\x90\x03\x00\x01\x01"), ["subscribed #1 [1]"]);
}

#[test]
fn an_answer_to_what_was_not_sent_again_yet_counts_for_nothing() {
    let mut c = connected(Config::default(), 128, 8, &persistent());
    c.publish(T0, "a", b"", QoS::ExactlyOnce, false).unwrap();
    sent(&mut c, T0);
    c.connection_lost(T0);
    c.connect(T0, SERVER, &persistent()).unwrap();
    sent(&mut c, T0);
    assert_eq!(fed(&mut c, T0, b"\x20\x02\x01\x00\x50\x02\x00\x01"), ["connected true"]);
    assert_eq!(sent(&mut c, T0), b"\x3c\x05\x00\x01a\x00\x01");
}

#[test]
fn nothing_of_a_clean_session_is_used_again() {
    let mut c = connected(Config::default(), 128, 8, &Connect { client_id: "c", ..Connect::default() });
    c.publish(T0, "a", b"1", QoS::AtLeastOnce, false).unwrap();
    fed(&mut c, T0, b"\x34\x05\x00\x01a\x00\x07");
    sent(&mut c, T0);
    assert_eq!(reconnected(&mut c, false), b"");
    assert_eq!((c.in_flight(), c.slots.kept == 0), (0, true));
}

#[test]
fn a_message_of_which_a_part_was_sent_is_sent_again_with_dup() {
    for (qos, first) in [(QoS::AtLeastOnce, 0x3A), (QoS::ExactlyOnce, 0x3C)] {
        let mut c = connected(Config::default(), 128, 8, &persistent());
        c.publish(T0, "a", b"12345678", qos, false).unwrap();
        let mut out = [0; 4];
        assert!(matches!(c.poll_output(T0, &mut out), Output::Transmit { bytes: [0x32 | 0x34, ..], .. }));
        assert_eq!(reconnected(&mut c, true)[0], first);
    }
    // A SUBSCRIBE has no such flag.
    let mut c = connected(Config::default(), 128, 8, &persistent());
    c.subscribe(T0, &[("abc", QoS::AtMostOnce)]).unwrap();
    let mut out = [0; 4];
    assert!(matches!(c.poll_output(T0, &mut out), Output::Transmit { bytes: [0x82, ..], .. }));
    assert_eq!(reconnected(&mut c, true)[0], 0x82);
}

#[test]
fn a_held_message_of_qos_1_sent_again_over_the_same_connection_is_told_once() {
    let mut c = connected(Config { manual_ack: true, ..Config::default() }, 64, 4, &persistent());
    assert_eq!(fed(&mut c, T0, b"\x32\x06\x00\x01a\x00\x05x"), ["publish a q1 #5 1", "payload x."]);
    assert_eq!(fed(&mut c, T0, b"\x3a\x06\x00\x01a\x00\x05x"), [""; 0]);
    c.acknowledge(T0, id(5)).unwrap();
    assert_eq!(sent(&mut c, T0), b"\x40\x02\x00\x05");
    // After PUBACK it is a new one, DUP or not [MQTT-4.3.2-2].
    assert_eq!(fed(&mut c, T0, b"\x3a\x06\x00\x01a\x00\x05x"), ["publish a q1 #5 1", "payload x."]);
}
