//! Cases for clients. See tests/conformance/README.md for the steps.

use super::{Ids, hex, json::Json};
use waft::{
    Duration, Error, Input, Instant, Output, Peer, Storage,
    mqtt::{
        Connect, PacketId, Publish, QoS, Will,
        client::{Client, Config, Event, InFlight, State},
    },
};

const SERVER: Peer = Peer(1);

struct Bench {
    client: Client<'static>,
    now: Instant,
    /// Sent by the client, and not looked at yet.
    sent: Vec<u8>,
    told: Vec<String>,
    /// The message that is arriving.
    message: Option<(String, Vec<u8>)>,
    /// Offered to the client, and not consumed yet.
    rest: Vec<u8>,
    /// Why the connection ended.
    closed: Option<String>,
    ids: Ids,
}

fn bytes_of(hex: &Json) -> Vec<u8> {
    Ids::default().bytes(hex.text())
}

fn qos(level: &Json) -> QoS {
    QoS::from_u8(level.number().try_into().unwrap()).unwrap()
}

impl Bench {
    fn tell(&mut self, event: &Event<'_>) {
        let line = match *event {
            Event::Connected { session_present } => format!("connected {}", u8::from(session_present)),
            Event::Refused { code } => {
                self.closed = Some("Refused".into());
                format!("refused {}", code as u8)
            }
            Event::Publish(Publish { dup, qos, retain, topic, id, payload_len }) => {
                let id = id.map_or(String::new(), |id| format!(" #{}", id.get()));
                let flags = [if dup { " dup" } else { "" }, if retain { " retain" } else { "" }].concat();
                self.message = Some((format!("message {topic} q{}{id}{flags}", qos as u8), Vec::new()));
                if payload_len != 0 {
                    return;
                }
                return self.message_over();
            }
            Event::Payload { bytes, last } => {
                self.message.as_mut().expect("a message began").1.extend_from_slice(bytes);
                if last {
                    self.message_over();
                }
                return;
            }
            Event::Skipped { topic_len, payload_len } => format!("skipped {topic_len} {payload_len}"),
            Event::Acknowledged { id } => format!("acknowledged {}", id.get()),
            Event::Subscribed { id, codes } => format!("subscribed {} {}", id.get(), hex(codes)),
            Event::Unsubscribed { id } => format!("unsubscribed {}", id.get()),
            Event::PayloadWanted { .. } => panic!("no case streams"),
            Event::Closed { reason } => {
                self.closed = Some(format!("{reason:?}"));
                format!("closed {reason:?}")
            }
        };
        self.told.push(line);
    }

    fn message_over(&mut self) {
        let (head, payload) = self.message.take().unwrap();
        self.told.push(format!("{head} {}", hex(&payload)).trim_end().into());
    }

    fn drain(&mut self) {
        loop {
            let mut out = [0; 100];
            match self.client.poll_output(self.now, &mut out) {
                Output::Transmit { bytes, .. } => self.sent.extend_from_slice(bytes),
                Output::Event(event) => {
                    let Event::Closed { reason } = event else { panic!("{event:?} out of nothing") };
                    self.tell(&Event::Closed { reason });
                }
                Output::BufferTooSmall { .. } => panic!("a hundred bytes are enough"),
                Output::Timeout(_) => return,
            }
        }
    }

    fn offer(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let mut rest = std::mem::take(&mut self.rest);
        let mut drained = false;
        while !rest.is_empty() && self.client.state() != State::Closed {
            match self.client.handle_input(self.now, Input { peer: SERVER, bytes: &rest }) {
                Ok(handled) => {
                    if let Some(event) = handled.event {
                        self.tell(&event);
                    }
                    match (handled.consumed, handled.needed) {
                        // Not before something has left.
                        (0, 0) if !drained && handled.event.is_none() => {
                            self.drain();
                            drained = true;
                            continue;
                        }
                        (0, _) => break,
                        (n, _) => drop(rest.drain(..n)),
                    }
                }
                Err(Error::Peer(violation)) => self.closed = Some(violation.name().into()),
                Err(error) => panic!("{error}"),
            }
            drained = false;
        }
        self.rest = rest;
    }

    /// A command; the name of the error it gives.
    fn command(&mut self, step: &[Json]) -> Result<(), String> {
        let now = self.now;
        let done = match step[0].text() {
            "connect" => {
                let how = &step[1];
                let text = |key| if *how.get(key) == Json::Null { None } else { Some(how.get(key).text()) };
                let will = how.get("will");
                let (payload, password);
                let mut connect = Connect {
                    client_id: text("client").unwrap_or("c"),
                    clean_session: *how.get("clean") != Json::Bool(false),
                    keep_alive: if *how.get("keep_alive") == Json::Null {
                        0
                    } else {
                        how.get("keep_alive").number() as u16
                    },
                    username: text("user"),
                    ..Connect::default()
                };
                if *will != Json::Null {
                    let will = will.list();
                    payload = bytes_of(&will[1]);
                    let (qos, retain) = (qos(&will[2]), will[3].bool());
                    connect.will = Some(Will { topic: will[0].text(), payload: &payload, qos, retain });
                }
                if let Some(hex) = text("password") {
                    password = Ids::default().bytes(hex);
                    connect.password = Some(&password);
                }
                self.client.connect(now, SERVER, &connect)
            }
            "publish" => {
                let payload = bytes_of(&step[2]);
                self.client.publish(now, step[1].text(), &payload, qos(&step[3]), step[4].bool()).map(|_| ())
            }
            "subscribe" => {
                let filters: Vec<_> = step[1].list().iter().map(|f| (f.list()[0].text(), qos(&f.list()[1]))).collect();
                self.client.subscribe(now, &filters).map(|_| ())
            }
            "unsubscribe" => {
                let filters: Vec<_> = step[1].list().iter().map(Json::text).collect();
                self.client.unsubscribe(now, &filters).map(|_| ())
            }
            "acknowledge" => {
                let id = PacketId::new(step[1].number().try_into().unwrap()).unwrap();
                self.client.acknowledge(now, id)
            }
            "disconnect" => self.client.disconnect(now),
            other => panic!("no such command: {other}"),
        };
        if let Ok(()) = done {
            self.closed = None;
            self.drain();
        }
        done.map_err(|error| match error {
            Error::Misuse(misuse) => format!("{misuse:?}"),
            Error::Capacity(capacity) => format!("{capacity:?}"),
            Error::Peer(violation) => format!("{violation:?}"),
        })
    }

    fn step(&mut self, step: &[Json], by_byte: bool) -> Result<(), String> {
        match step[0].text() {
            "in" => {
                let bytes = self.ids.bytes(step[1].text());
                for part in bytes.chunks(if by_byte { 1 } else { bytes.len().max(1) }) {
                    self.offer(part);
                    if by_byte {
                        self.drain();
                    }
                }
                self.drain();
            }
            "out" => {
                let (expected, sent) = (step[1].text(), std::mem::take(&mut self.sent));
                if self.ids.matches(expected, &sent) != Some(sent.len()) {
                    return Err(format!("{expected:?} was to be sent, and {:?} was", hex(&sent)));
                }
            }
            "told" => {
                let expected: Vec<_> = step[1].list().iter().map(|line| self.ids.text(line.text())).collect();
                let told = std::mem::take(&mut self.told);
                if told != expected {
                    return Err(format!("{expected:?} was to be told, and {told:?} was"));
                }
            }
            "closed" => {
                let reason = step[1].text();
                if self.client.state() != State::Closed || self.closed.as_deref() != Some(reason) {
                    return Err(format!("closed by {:?}, not by {reason:?}", self.closed));
                }
            }
            "kept" => {
                if self.client.state() == State::Closed || !self.rest.is_empty() {
                    return Err(format!("closed by {:?}, {} bytes left", self.closed, self.rest.len()));
                }
            }
            "lose" => {
                self.client.connection_lost(self.now);
                self.rest.clear();
                self.message = None;
            }
            "wait" => {
                self.now = self.now.after(Duration::from_millis(step[1].number().try_into().unwrap()));
                self.client.handle_timeout(self.now);
                self.drain();
            }
            "error" => {
                let (name, done) = (step[1].text(), self.command(step[2].list()));
                if done.as_ref().err().map(|error| &**error) != Some(name) {
                    return Err(format!("{:?} gave {done:?}, not {name}", step[2]));
                }
            }
            _ => self.command(step)?,
        }
        Ok(())
    }
}

pub fn case(case: &Json, by_byte: bool) -> Result<(), String> {
    let config =
        Config { manual_ack: *case.get("manual_ack") == Json::Bool(true), max_packet: 1_000, ..Config::default() };
    let table: Storage<'static, InFlight> = Storage::owned(32);
    let mut bench = Bench {
        client: Client::new(config, Storage::<u8>::owned(8_192), table),
        now: Instant::ZERO,
        sent: Vec::new(),
        told: Vec::new(),
        message: None,
        rest: Vec::new(),
        closed: None,
        ids: Ids::default(),
    };
    for (n, step) in case.get("steps").list().iter().enumerate() {
        bench.step(step.list(), by_byte).map_err(|why| format!("step {n}: {why}"))?;
    }
    if bench.sent.is_empty() && bench.told.is_empty() {
        return Ok(());
    }
    Err(format!("sent {:?} and told {:?} too", hex(&bench.sent), bench.told))
}
