//! Two clients with a server between them, over connections that break anywhere.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

/// One side of a small server that passes all messages on to the other client, at the QoS they came with.
#[derive(Default)]
struct Side {
    /// Bytes to the client.
    to: VecDeque<u8>,
    /// Bytes from it, not parsed yet.
    from: Vec<u8>,
    /// Messages of QoS 2 from it that were passed on.
    known: Vec<u16>,
    /// Messages for it, in order: identifier, QoS, payload; PUBREC came.
    queue: VecDeque<(u16, u8, u8, bool)>,
    /// How many of the queue have been sent over this connection.
    sent: usize,
    session: bool,
    up: bool,
}

#[derive(Default)]
struct Server {
    sides: [Side; 2],
    next: u16,
}

impl Server {
    fn receive(&mut self, who: usize, bytes: &[u8]) {
        self.sides[who].from.extend_from_slice(bytes);
        loop {
            let from = core::mem::take(&mut self.sides[who].from);
            let used = self.packet(who, &from);
            self.sides[who].from = from[used..].to_vec();
            if used == 0 {
                return;
            }
        }
    }

    fn packet(&mut self, who: usize, from: &[u8]) -> usize {
        let Ok(Decoded::Packet { packet, mut len }) = packet::decode_from_client(from, 100) else { return 0 };
        let side = &mut self.sides[who];
        let mut answer: Vec<u8> = Vec::new();
        let mut ack = |first: u8, id: PacketId| {
            let [high, low] = id.get().to_be_bytes();
            answer.extend([first, 2, high, low]);
        };
        match packet {
            Packet::Connect(_) => {
                answer.extend([0x20, 2, side.session.into(), 0]);
                (side.session, side.up, side.sent) = (true, true, 0);
            }
            Packet::Publish(publish) => {
                if from.len() < len + 1 {
                    return 0;
                }
                let (qos, payload) = (publish.qos as u8, from[len]);
                len += 1;
                let mut pass = true;
                match (publish.qos, publish.id) {
                    (QoS::AtLeastOnce, Some(id)) => ack(0x40, id),
                    (QoS::ExactlyOnce, Some(id)) => {
                        ack(0x50, id);
                        pass = !side.known.contains(&id.get());
                        if pass {
                            side.known.push(id.get());
                        }
                    }
                    _ => {}
                }
                if pass {
                    self.next += 1;
                    self.sides[1 - who].queue.push_back((self.next, qos, payload, false));
                }
            }
            Packet::PubRel(id) => {
                side.known.retain(|known| *known != id.get());
                ack(0x70, id);
            }
            Packet::PubAck(id) | Packet::PubComp(id) => {
                let place = side.queue.iter().position(|m| m.0 == id.get()).expect("in flight");
                side.queue.remove(place);
                side.sent -= 1;
            }
            Packet::PubRec(id) => {
                side.queue.iter_mut().find(|m| m.0 == id.get()).expect("in flight").3 = true;
                ack(0x62, id);
            }
            other => panic!("{other:?}"),
        }
        self.sides[who].to.extend(answer);
        len
    }

    /// Sends what is queued, three messages at a time.
    fn send(&mut self, who: usize) {
        let side = &mut self.sides[who];
        while side.up && side.sent < side.queue.len().min(3) {
            let (id, qos, payload, received) = side.queue[side.sent];
            let [high, low] = id.to_be_bytes();
            match (qos, received) {
                (0, _) => {
                    side.to.extend([0x30, 4, 0, 1, b't', payload]);
                    side.queue.remove(side.sent);
                    continue;
                }
                (_, true) => side.to.extend([0x62, 2, high, low]),
                _ => side.to.extend([0x30 | (qos << 1) | 8, 6, 0, 1, b't', high, low, payload]),
            }
            side.sent += 1;
        }
    }
}

/// One end: a client, what it has to send, and what came to it.
struct End {
    client: Client<'static>,
    rx: Vec<u8>,
    to_send: Vec<(u8, u8)>,
    payloads: Vec<(u8, u8)>,
    qos: u8,
    id: Option<PacketId>,
    held: Vec<PacketId>,
}

impl End {
    fn new(manual_ack: bool) -> Self {
        let config = Config { manual_ack, keep_free: 4, ..Config::default() };
        Self {
            client: client(config, 200, 8),
            rx: vec![],
            to_send: vec![],
            payloads: vec![],
            qos: 0,
            id: None,
            held: vec![],
        }
    }

    fn turn(&mut self, server: &mut Server, who: usize, now: Instant, chunk: usize, out: usize) {
        if self.client.state() == State::Closed {
            server.sides[who].up = false;
            server.sides[who].to.clear();
            server.sides[who].from.clear();
            self.rx.clear();
            self.client.connect(now, SERVER, &persistent()).unwrap();
        }
        if let Some(&(qos, payload)) = self.to_send.first()
            && self.client.publish(now, "t", &[payload], QoS::from_u8(qos).unwrap(), false).is_ok()
        {
            self.to_send.remove(0);
        }
        server.receive(who, &drain_by(&mut self.client, now, out).0);
        server.send(who);
        let n = chunk.min(server.sides[who].to.len());
        self.rx.extend(server.sides[who].to.drain(..n));
        loop {
            let handled = self.client.handle_input(now, Input { peer: SERVER, bytes: &self.rx }).expect("no breach");
            let consumed = handled.consumed;
            match handled.event {
                Some(Event::Publish(publish)) => {
                    self.qos = publish.qos as u8;
                    self.id = publish.id;
                }
                Some(Event::Payload { bytes, last: true }) => {
                    self.payloads.push((self.qos, bytes[0]));
                    self.held.extend(self.id.take());
                }
                Some(Event::Closed { reason }) => panic!("{reason:?}"),
                _ => {}
            }
            self.rx.drain(..consumed);
            if consumed == 0 {
                break;
            }
        }
    }

    fn acknowledge(&mut self, now: Instant) {
        for id in self.held.drain(..) {
            // One of QoS 1 may have been lost with its connection.
            let _ = self.client.acknowledge(now, id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn each_message_arrives_as_often_as_its_qos_says(
        qos in proptest::collection::vec(0..3u8, 1..40),
        chunks in proptest::collection::vec((1..30usize, 1..40usize, 0..12u8), 1..60),
        manual_ack: bool,
    ) {
        let mut server = Server::default();
        let mut ends = [End::new(false), End::new(manual_ack)];
        ends[0].to_send = qos.iter().enumerate().map(|(n, qos)| (*qos, n as u8)).collect();
        let mut broken = false;
        let mut rounds = 0;
        loop {
            let script = chunks.get(rounds).copied();
            let (chunk, out, fault) = script.unwrap_or((64, 64, 99));
            let now = Instant::from_millis(rounds as u64);
            for (who, end) in ends.iter_mut().enumerate() {
                if usize::from(fault) == who {
                    broken = true;
                    end.client.connection_lost(now);
                }
                end.turn(&mut server, who, now, chunk, out);
                if fault != 5 {
                    end.acknowledge(now);
                }
            }
            rounds += 1;
            let idle = ends.iter().all(|end| end.client.is_connected() && end.client.in_flight() == 0 && end.to_send.is_empty())
                && server.sides.iter().all(|side| side.queue.is_empty() && side.to.is_empty());
            if idle && script.is_none() {
                break;
            }
            prop_assert!(rounds < 2000, "nothing moves: {:?}", ends[0].client);
        }
        let got = &ends[1].payloads;
        let of = |qos: u8| got.iter().filter(move |m| m.0 == qos).map(|m| m.1).collect::<Vec<_>>();
        let sent = |wanted: u8| qos.iter().enumerate().filter(move |(_, q)| **q == wanted).map(|(n, _)| n as u8).collect::<Vec<_>>();
        prop_assert_eq!(of(2), sent(2), "exactly once and in order");
        let mut once = of(1);
        if broken {
            // Repeats aside, the order in which each came first is the order they were sent in.
            let mut seen = Vec::new();
            once.retain(|n| !seen.contains(n) && { seen.push(*n); true });
        }
        prop_assert_eq!(once, sent(1), "at least once and in order");
        if !broken {
            prop_assert_eq!(of(0), sent(0));
        }
    }
}
