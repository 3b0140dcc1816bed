//! A broker that goes on, one rebuilt from all that was appended, and one rebuilt from a compacted file are the same.

use super::{super::*, bench::*};
use crate::{
    mqtt::{
        Connect, Packet, Will,
        packet::{encode_subscribe, encode_unsubscribe, subscribe_len, unsubscribe_len},
    },
    wire::Writer,
};
use proptest::prelude::*;
use std::{collections::BTreeMap as Map, format, string::String, vec, vec::Vec};

const TOPICS: [&str; 5] = ["a", "a/b", "b", "b/c", "secret"];
const FILTERS: [&str; 6] = ["a", "a/#", "+", "#", "+/b", "b/c"];
const CLIENTS: [&str; 3] = ["x", "y", "z"];
/// Who gives no name reads everything, `ann` not all.
const ACL: &str = "topic #\nuser ann\ntopic write #\ntopic read a/#\ntopic read b";

fn config() -> BrokerConfig {
    BrokerConfig {
        persistent: true,
        max_in_flight: 2,
        max_inbound: 3,
        max_queued: 6,
        max_queued_bytes: 60,
        max_retained: 3,
        max_retained_bytes: 90,
        max_subscriptions: 4,
        acl: Some(Arc::new(Acl::parse(ACL).unwrap())),
        ..BrokerConfig::default()
    }
}

#[derive(Debug, Clone)]
enum Do {
    Connect {
        slot: u32,
        client: usize,
        clean: bool,
        named: bool,
        will: Option<(usize, QoS, bool)>,
    },
    Lose(u32),
    Leave(u32),
    Subscribe(u32, Vec<(usize, QoS)>),
    Unsubscribe(u32, usize),
    Publish {
        slot: u32,
        topic: usize,
        len: usize,
        qos: QoS,
        retain: bool,
        id: u16,
    },
    Release(u32, u16),
    /// The client answers so many of the packets that it has got.
    Answer(u32, usize),
    Host {
        topic: usize,
        len: usize,
        qos: QoS,
        retain: bool,
    },
    /// The file has the last record.
    Written,
    Compact,
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![1 => Just(Q0), 2 => Just(Q1), 3 => Just(Q2)]
}

fn action() -> impl Strategy<Value = Do> {
    let (slot, topic, filter) = (0_u32..4, 0..TOPICS.len(), 0..FILTERS.len());
    let message = (topic.clone(), prop_oneof![0_usize..4, 20_usize..35], qos(), any::<bool>()).boxed();
    let will = proptest::option::of((topic, qos(), any::<bool>()));
    prop_oneof![
        4 => (slot.clone(), 0..CLIENTS.len(), prop::bool::weighted(0.2), any::<bool>(), will).prop_map(
            |(slot, client, clean, named, will)| Do::Connect { slot, client, clean, named, will }
        ),
        1 => slot.clone().prop_map(Do::Lose),
        1 => slot.clone().prop_map(Do::Leave),
        4 => (slot.clone(), prop::collection::vec((filter.clone(), qos()), 1..3))
            .prop_map(|(slot, filters)| Do::Subscribe(slot, filters)),
        1 => (slot.clone(), filter).prop_map(|(slot, filter)| Do::Unsubscribe(slot, filter)),
        8 => (slot.clone(), message.clone(), 1_u16..4).prop_map(|(slot, (topic, len, qos, retain), id)| {
            Do::Publish { slot, topic, len, qos, retain, id }
        }),
        2 => (slot.clone(), 1_u16..4).prop_map(|(slot, id)| Do::Release(slot, id)),
        4 => (slot, 1_usize..4).prop_map(|(slot, n)| Do::Answer(slot, n)),
        3 => message.prop_map(|(topic, len, qos, retain)| Do::Host { topic, len, qos, retain }),
        4 => Just(Do::Written),
        1 => Just(Do::Compact),
    ]
}

/// A broker with its file, and clients that answer when they are told to.
struct Run {
    b: Bench,
    file: Vec<u8>,
    /// Where the file is whole, since it was written anew.
    whole: Vec<usize>,
    is_writing: bool,
    got: Map<u32, VecDeque<String>>,
    serial: usize,
}

impl Run {
    fn new(file: &[u8]) -> Self {
        let mut b = Bench::new(config());
        b.out = 64;
        let restored = b.broker.restore(b.now, file).unwrap();
        assert_eq!(restored.torn, 0);
        let mut run = Self { b, file: Vec::new(), whole: Vec::new(), is_writing: false, got: Map::new(), serial: 0 };
        run.compact();
        run
    }

    fn after(actions: &[Do]) -> Self {
        let mut run = Self::new(b"");
        for action in actions {
            run.act(action);
        }
        run
    }

    fn compact(&mut self) {
        self.written();
        self.file = self.b.broker.compact().unwrap().concat();
        self.whole = vec![self.file.len()];
        self.b.broker.recorded(self.b.now).unwrap();
        self.settle();
    }

    /// A record is in the file as soon as it is given out; only its answer may be late.
    fn settle(&mut self) {
        self.b.drain();
        for event in core::mem::take(&mut self.b.events) {
            if let Event::Record { bytes } = event {
                assert!(!self.is_writing);
                self.is_writing = true;
                self.file.extend_from_slice(&bytes);
                self.whole.push(self.file.len());
            }
        }
        let peers: Vec<u32> = self.b.sent.keys().copied().collect();
        for peer in peers {
            let lines = self.b.got(peer);
            self.got.entry(peer).or_default().extend(lines);
        }
    }

    fn answer_record(&mut self) {
        if core::mem::take(&mut self.is_writing) {
            self.b.broker.recorded(self.b.now).unwrap();
            self.settle();
        }
    }

    fn written(&mut self) {
        while self.is_writing {
            self.answer_record();
        }
    }

    fn feed(&mut self, slot: u32, stream: &[u8]) {
        let mut rest = stream;
        while !rest.is_empty() && self.b.broker.connections.contains_key(&Peer(slot)) {
            let input = Input { peer: Peer(slot), bytes: rest };
            match self.b.broker.handle_input(self.b.now, input) {
                Ok(handled) if handled.consumed != 0 => rest = &rest[handled.consumed..],
                _ => break,
            }
        }
    }

    fn connect(&mut self, slot: u32, client: usize, clean_session: bool, named: bool, will: Option<Will<'_>>) {
        self.got.remove(&slot);
        self.b.broker.accept(self.b.now, Peer(slot)).unwrap();
        let username = named.then_some("ann");
        let connect = Connect { clean_session, will, username, ..clean(CLIENTS[client]) };
        self.feed(slot, &bytes(&Packet::Connect(connect)));
    }

    fn payload(&mut self, len: usize) -> String {
        self.serial += 1;
        if len == 0 { String::new() } else { format!("{:0len$}", self.serial) }
    }

    fn act(&mut self, action: &Do) {
        match action {
            Do::Connect { slot, .. } if self.b.broker.connections.contains_key(&Peer(*slot)) => {
                self.b.broker.connection_lost(self.b.now, Peer(*slot));
            }
            Do::Connect { slot, client, clean, named, will } => {
                let will =
                    will.map(|(topic, qos, retain)| Will { topic: TOPICS[topic], payload: b"will", qos, retain });
                self.connect(*slot, *client, *clean, *named, will);
            }
            Do::Lose(slot) => self.b.broker.connection_lost(self.b.now, Peer(*slot)),
            Do::Leave(slot) => self.feed(*slot, &[0xE0, 0]),
            Do::Subscribe(slot, filters) => {
                let filters: Vec<_> = filters.iter().map(|(filter, qos)| (FILTERS[*filter], *qos)).collect();
                let mut packet = vec![0; subscribe_len(&filters)];
                encode_subscribe(&mut Writer::new(&mut packet), id(9), &filters);
                self.feed(*slot, &packet);
            }
            Do::Unsubscribe(slot, filter) => {
                let filters = [FILTERS[*filter]];
                let mut packet = vec![0; unsubscribe_len(&filters)];
                encode_unsubscribe(&mut Writer::new(&mut packet), id(9), &filters);
                self.feed(*slot, &packet);
            }
            Do::Publish { slot, topic, len, qos, retain, id } => {
                let payload = self.payload(*len);
                self.feed(*slot, &publish(TOPICS[*topic], payload.as_bytes(), *qos, *retain, *id, false));
            }
            Do::Release(slot, n) => self.feed(*slot, &bytes(&Packet::PubRel(id(*n)))),
            Do::Answer(slot, most) => {
                for _ in 0..*most {
                    let Some(line) = self.got.get_mut(slot).and_then(VecDeque::pop_front) else { break };
                    self.feed(*slot, &answer(&line));
                }
            }
            Do::Host { topic, len, qos, retain } => {
                let payload = self.payload(*len);
                let _ = self.b.broker.publish(self.b.now, TOPICS[*topic], payload, *qos, *retain);
            }
            Do::Written => self.answer_record(),
            Do::Compact => self.compact(),
        }
        self.settle();
    }

    /// The power goes for all but this broker: its clients are gone, and their wills are published in the order in which
    /// a restart does.
    fn alone(&mut self) {
        let mut wills: Vec<_> = self.b.broker.connections.values_mut().filter_map(|c| c.will.take()).collect();
        wills.sort_unstable_by_key(|will| will.number);
        let peers: Vec<Peer> = self.b.broker.connections.keys().copied().collect();
        for peer in peers {
            self.b.broker.connection_lost(self.b.now, peer);
        }
        for will in wills {
            self.b.broker.journal.no_will(&will);
            self.b.broker.publish_will(will.message, will.retain);
        }
        self.got.clear();
    }

    /// Everything comes back and is acknowledged, then all there is to be seen of subscriptions and of what was received
    /// is looked at. Without what differs by right: DUP, packet identifiers that are new, and the order among topics. (A search
    /// passes over what is kept over no restart; before one it finds that, and waits for room for it.)
    fn behaviour(&mut self) -> Vec<String> {
        self.written();
        let mut seen = Vec::new();
        for (slot, client) in (0..).zip(0..CLIENTS.len()) {
            let key = self.b.broker.clients.get(CLIENTS[client]);
            let named = key.is_some_and(|key| self.b.broker.sessions[key].username.is_some());
            self.connect(slot, client, false, named, None);
            self.listen(&mut seen);
        }
        for topic in TOPICS {
            let _ = self.b.broker.publish(self.b.now, topic, "new", Q2, false);
            self.listen(&mut seen);
        }
        for n in 1..4 {
            for slot in 0..3 {
                self.feed(slot, &publish("a/b", format!("{slot}{n}").as_bytes(), Q2, false, n, true));
                self.feed(slot, &bytes(&Packet::PubRel(id(n))));
            }
            self.listen(&mut seen);
        }
        seen.extend(self.b.broker.retained("#").map(|m| format!("{} {:?} {:?}", m.topic, m.payload, m.qos)));
        seen
    }

    fn listen(&mut self, seen: &mut Vec<String>) {
        let mut lines = Vec::new();
        loop {
            self.settle();
            self.written();
            let Some((slot, line)) = self.got.iter_mut().find_map(|(slot, lines)| Some((*slot, lines.pop_front()?)))
            else {
                break;
            };
            self.feed(slot, &answer(&line));
            let line = line.replace(" dup", "");
            let line = match line.split_once('#') {
                Some((line, rest)) => format!("{line} {}", if rest.ends_with(" retain") { "retain" } else { "" }),
                None if line.contains(" q0") => continue,
                None if line.starts_with("PubRel") => "PubRel".into(),
                None => line,
            };
            lines.push((slot, String::from(line.split(' ').next().unwrap_or_default()), line));
        }
        lines.sort_by(|(slot, topic, _), (other, than, _)| (slot, topic).cmp(&(other, than)));
        seen.extend(lines.into_iter().map(|(slot, _, line)| format!("{slot}: {line}")));
    }
}

/// What a client says to a packet.
fn answer(line: &str) -> Vec<u8> {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |text: &str| id(text.parse().unwrap());
    match (words[0], words.get(2).and_then(|word| word.split_once('#'))) {
        ("PubRec", _) => bytes(&Packet::PubRel(number(words[1]))),
        ("PubRel", _) => bytes(&Packet::PubComp(number(words[1]))),
        (_, Some(("q1", n))) => bytes(&Packet::PubAck(number(n))),
        (_, Some(("q2", n))) => bytes(&Packet::PubRec(number(n))),
        _ => Vec::new(),
    }
}

#[test]
fn a_client_answers_what_it_gets() {
    assert_eq!(answer("a 12 q1#7 retain"), bytes(&Packet::PubAck(id(7))));
    assert_eq!(answer("a  q2#7"), bytes(&Packet::PubRec(id(7))));
    assert_eq!(answer("PubRel 3"), bytes(&Packet::PubComp(id(3))));
    assert!(answer("a 1 q0").is_empty() && answer("ConnAck 1 Accepted").is_empty());
}

#[test]
fn what_takes_the_place_of_something_else_in_one_record_has_room() {
    let config = BrokerConfig { max_retained: 1, ..config() };
    let mut b = Bench::new(config.clone());
    let mut file = b.broker.compact().unwrap().concat();
    b.broker.recorded(b.now).unwrap();
    b.broker.publish(b.now, "b", "old", Q1, true).unwrap();
    b.broker.publish(b.now, "b", "", Q1, true).unwrap();
    b.broker.publish(b.now, "a", "new", Q1, true).unwrap();
    b.drain();
    let [Event::Record { bytes }] = &b.events[..] else { panic!("{:?}", b.events) };
    file.extend_from_slice(bytes);
    let mut restored = Broker::new(config, 1);
    restored.restore(b.now, &file).unwrap();
    assert_eq!(describe(&restored), [r#"retained a b"new" AtLeastOnce"#]);
}

#[test]
fn where_less_may_be_retained_than_before_the_latest_is() {
    let mut run = Run::new(b"");
    for (topic, payload) in [("a", "1"), ("b", "2"), ("a", "3")] {
        run.b.broker.publish(run.b.now, topic, payload, Q1, true).unwrap();
    }
    run.settle();
    let mut restored = Broker::new(BrokerConfig { max_retained: 1, ..config() }, 1);
    assert_eq!(restored.restore(run.b.now, &run.file).unwrap().retained, 1);
    assert_eq!(describe(&restored), [r#"retained a b"3" AtLeastOnce"#]);
}

/// Entries as another version may write them, or somebody who wants to do harm.
#[test]
fn a_record_that_is_whole_but_not_understood_is_no_torn_one() {
    let mut run = Run::new(b"");
    run.connect(1, 0, false, true, None);
    run.settle();
    for body in [
        &b"\xee"[..],                                   // no such entry
        b"\x03\0\0\0\0\0\0\0\x09\0\0\x01#\0\0\0\0",     // a message whose topic is a filter
        b"\x03\xff\0\0\0\0\0\0\x09\0\0\x01a\0\0\0\0",   // or whose number is about to come round
        b"\x04\0\0\0\0\0\0\0\x09\0\0\0\0",              // a session of nobody
        b"\x04\0\0\0\0\0\0\0\x09\0\0\0\x04\x01\0\x01x", // a second one of the same client
        b"\x04\0\0\0\0\0\0\0\x01\0\0\0\x04\x01\0\x01y", // another name for the first
        b"\x04\0\0\0\0\0\0\0\x01\0\0\0\x03\x08\0\x01",  // sent, and nothing was there
    ] {
        let file = [&run.file[..], &journal::framed(body)].concat();
        let mut restored = Broker::new(config(), 1);
        assert_eq!(restored.restore(run.b.now, &file), Err(Misuse::OutOfRange.into()), "{body:x?}");
        // Nothing of it was taken up.
        assert_eq!(restored.restore(run.b.now, &run.file), Ok(Restored { sessions: 1, retained: 0, torn: 0 }));
    }
}

/// All that a restart has to find.
fn describe(broker: &Broker) -> Vec<String> {
    let mut all: Vec<String> =
        broker.retained("#").map(|m| format!("retained {} {:?} {:?}", m.topic, m.payload, m.qos)).collect();
    assert_eq!(broker.clients.len(), broker.sessions.len());
    for (client, key) in &broker.clients {
        let lines = broker.sessions[key].describe(&broker.retained);
        all.extend(lines.into_iter().map(|line| format!("{client}: {line}")));
    }
    all
}

proptest! {
    #[test]
    fn a_broker_that_goes_on_and_one_that_is_restored_are_the_same(
        actions in prop::collection::vec(action(), 1..60),
        frame in any::<prop::sample::Index>(),
    ) {
        // After each step that gave a record out: what the file so far makes of a broker.
        let mut run = Run::new(b"");
        let mut moments = vec![(run.whole[0], Vec::new())];
        for (n, action) in actions.iter().enumerate() {
            let (whole, file) = (run.whole.clone(), run.file.len());
            run.act(action);
            if run.whole != whole || run.file.len() != file {
                let mut live = Run::after(&actions[..=n]);
                prop_assert_eq!(&live.file, &run.file, "the same actions, the same bytes");
                live.alone();
                let live = describe(&live.b.broker);
                if run.whole.len() == 1 || run.whole[0] != whole[0] {
                    moments.clear();
                }
                moments.push((run.file.len(), live));
            }
        }
        for (len, live) in &moments {
            let mut restored = Broker::new(config(), 1);
            restored.restore(Instant::ZERO, &run.file[..*len]).unwrap();
            prop_assert_eq!(&describe(&restored), live);
        }
        // Torn at any byte of a frame: as if that had not been written.
        let at = frame.index(moments.len());
        let end = moments.get(at + 1).map_or(run.file.len(), |(end, _)| *end);
        for cut in moments[at].0..end {
            let mut restored = Broker::new(config(), 1);
            let found = restored.restore(Instant::ZERO, &run.file[..cut]).unwrap();
            prop_assert_eq!(found.torn, cut - moments[at].0);
            prop_assert_eq!(&describe(&restored), &moments[at].1);
        }

        run.written();
        let mut compacted = Run::after(&actions);
        compacted.compact();
        let mut again = Run::new(&compacted.file);
        again.compact();
        let mut restored = [Run::new(&run.file), Run::new(&compacted.file), Run::new(&again.file)];
        run.alone();
        let live = describe(&run.b.broker);
        let behaviour = run.behaviour();
        for restored in &mut restored {
            prop_assert_eq!(&describe(&restored.b.broker), &live);
            prop_assert_eq!(&restored.behaviour(), &behaviour);
        }
    }
}
