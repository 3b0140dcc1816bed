//! waft: a client's round trips. After each step the client is drained to `Timeout`, as its contract says.

use crate::{case, inputs::*, run};
use waft::{
    Input, Instant, Output, Peer,
    mqtt::{
        Connect, QoS,
        client::{Client, Config, Event, InFlight},
    },
};

const PEER: Peer = Peer(0);

fn drain(client: &mut Client<'_>, now: Instant, out: &mut [u8]) -> usize {
    let mut sent = 0;
    loop {
        match client.poll_output(now, out) {
            Output::Transmit { bytes, .. } => sent += core::hint::black_box(bytes).len(),
            Output::Timeout(_) => return sent,
            _ => panic!("nothing else"),
        }
    }
}

fn feed<'i>(client: &mut Client<'_>, now: Instant, bytes: &'i [u8]) -> Option<Event<'i>> {
    let handled = client.handle_input(now, Input { peer: PEER, bytes }).unwrap();
    assert_eq!(handled.consumed, bytes.len());
    handled.event
}

fn round_trip(client: &mut Client<'_>, now: Instant, qos: QoS, payload: &[u8], out: &mut [u8]) -> u32 {
    let id = client.publish(now, core::hint::black_box(TOPIC), payload, qos, false).unwrap().unwrap();
    let mut sent = drain(client, now, out);
    let [high, low] = id.get().to_be_bytes();
    let last = if qos == QoS::AtLeastOnce {
        0x40
    } else {
        assert!(feed(client, now, &[0x50, 2, high, low]).is_none());
        sent += drain(client, now, out);
        0x70
    };
    let Some(Event::Acknowledged { .. }) = feed(client, now, &[last, 2, high, low]) else { panic!("acknowledged") };
    (sent + drain(client, now, out)) as u32
}

pub fn run() {
    let (mut arena, mut table) = ([0; 512], [InFlight::EMPTY; 8]);
    let mut client = Client::new(Config::default(), &mut arena, &mut table);
    let mut out = [0; 256];
    let now = Instant::from_millis(1);
    client.connect(now, PEER, &Connect { client_id: CLIENT_ID, ..Connect::default() }).unwrap();
    drain(&mut client, now, &mut out);
    assert_eq!(feed(&mut client, now, b"\x20\x02\x00\x00"), Some(Event::Connected { session_present: false }));
    drain(&mut client, now, &mut out);

    run!(
        case!(waft, roundtrip_qos1, |client: &mut Client<'_>, now: Instant, payload: &[u8], out: &mut [u8]| {
            round_trip(client, now, QoS::AtLeastOnce, payload, out)
        }),
        &mut client,
        now,
        &PAYLOAD[..64],
        &mut out
    );
    run!(
        case!(waft, roundtrip_qos2, |client: &mut Client<'_>, now: Instant, payload: &[u8], out: &mut [u8]| {
            round_trip(client, now, QoS::ExactlyOnce, payload, out)
        }),
        &mut client,
        now,
        &PAYLOAD[..64],
        &mut out
    );
}
