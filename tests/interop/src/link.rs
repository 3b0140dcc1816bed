//! A client and its connections, one after the other. No threads: each step is one of the caller's.

use crate::Outcome;
use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant as Clock},
};
use waft::{
    Input, Instant, Output, Peer, Storage,
    mqtt::{
        Connect, PacketId, QoS, Will,
        client::{Client, CloseReason, Config, Event, InFlight},
    },
};

/// How long anything that has to happen may take.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// What a client told, messages apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The server accepted; whether it kept the session.
    Connected(bool),
    /// The server refused, by this code.
    Refused(u8),
    /// SUBACK: what was granted.
    Subscribed(PacketId, Vec<u8>),
    /// UNSUBACK.
    Unsubscribed(PacketId),
    /// PUBACK or PUBCOMP.
    Acknowledged(PacketId),
    /// The next bytes of a streamed message are wanted: from there, so many.
    Wanted(u32, u32),
    /// A message was passed over.
    Skipped,
    /// The client closed the connection.
    Closed(CloseReason),
}

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Topic name.
    pub topic: String,
    /// Payload, as far as it has come.
    pub payload: Vec<u8>,
    /// Bytes of payload announced.
    pub len: usize,
    /// QoS.
    pub qos: QoS,
    /// It was there before.
    pub retain: bool,
    /// It may have come before.
    pub dup: bool,
    /// At QoS 1 and 2.
    pub id: Option<PacketId>,
}

/// See the [module](self).
pub struct Link {
    /// The machine.
    pub client: Client<'static>,
    /// What came.
    pub messages: VecDeque<Message>,
    told: VecDeque<Told>,
    server: SocketAddr,
    name: String,
    clean: bool,
    stream: Option<TcpStream>,
    received: Vec<u8>,
    start: Clock,
}

impl Link {
    /// A client of that name, for a server there.
    #[must_use]
    pub fn new(server: SocketAddr, name: &str, clean: bool, manual_ack: bool) -> Self {
        let config = Config { manual_ack, max_packet: 1_024, window: 4_096, ..Config::default() };
        let table = Storage::Owned(vec![InFlight::EMPTY; 32]);
        Self {
            client: Client::new(config, Storage::owned(2 << 20), table),
            messages: VecDeque::new(),
            told: VecDeque::new(),
            server,
            name: name.into(),
            clean,
            stream: None,
            received: Vec::new(),
            start: Clock::now(),
        }
    }

    /// The machine's time.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_micros(self.start.elapsed().as_micros() as u64)
    }

    /// Opens a connection; gives whether the server had kept the session.
    pub fn connect(&mut self, keep_alive: u16, will: Option<Will<'_>>) -> Outcome<bool> {
        let stream = TcpStream::connect_timeout(&self.server, PATIENCE).map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        self.stream = Some(stream);
        self.received.clear();
        let connect =
            Connect { client_id: &self.name, clean_session: self.clean, keep_alive, will, ..Connect::default() };
        let now = self.now();
        self.client.connect(now, Peer(0), &connect).map_err(|e| e.to_string())?;
        match self.wait("CONNACK", |told| matches!(told, Told::Connected(_) | Told::Refused(_)))? {
            Told::Connected(present) => Ok(present),
            told => Err(format!("{told:?}")),
        }
    }

    /// Sends what is to be sent, or no more than its first `most` bytes; gives how many left.
    pub fn drain(&mut self, most: usize) -> Outcome<usize> {
        let mut out = [0; 16_384];
        let mut left = 0;
        loop {
            let now = self.now();
            match self.client.poll_output(now, &mut out) {
                Output::Transmit { bytes, .. } => {
                    let bytes = &bytes[..bytes.len().min(most - left)];
                    left += bytes.len();
                    self.stream.as_mut().ok_or("no stream")?.write_all(bytes).map_err(|e| e.to_string())?;
                }
                Output::Event(event) => note(&mut self.told, &mut self.messages, event),
                Output::BufferTooSmall { needed } => return Err(format!("the client wants {needed} bytes at once")),
                Output::Timeout(_) => return Ok(left),
            }
        }
    }

    /// Sends, waits for bytes once, and takes them in.
    pub fn turn(&mut self, limit: Duration) -> Outcome<()> {
        self.drain(usize::MAX)?;
        let now = self.now();
        let until = self
            .client
            .next_timeout()
            .map_or(limit, |at| limit.min(Duration::from_micros(at.as_micros().saturating_sub(now.as_micros()))));
        let stream = self.stream.as_mut().ok_or("no stream")?;
        stream.set_read_timeout(Some(until.max(Duration::from_millis(1)))).map_err(|e| e.to_string())?;
        let mut bytes = [0; 16_384];
        match stream.read(&mut bytes) {
            Ok(0) => return Err("the server closed the connection".into()),
            Ok(len) => self.received.extend_from_slice(&bytes[..len]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let now = self.now();
                self.client.handle_timeout(now);
            }
            Err(e) => return Err(e.to_string()),
        }
        let mut taken = 0;
        while taken < self.received.len() {
            let input = Input { peer: Peer(0), bytes: &self.received[taken..] };
            let now = Instant::from_micros(self.start.elapsed().as_micros() as u64);
            let handled = self.client.handle_input(now, input).map_err(|e| e.to_string())?;
            let told = handled.event.is_some();
            if let Some(event) = handled.event {
                note(&mut self.told, &mut self.messages, event);
            }
            taken += handled.consumed;
            if handled.consumed == 0 && !told {
                break;
            }
        }
        self.received.drain(..taken);
        self.drain(usize::MAX).map(|_| ())
    }

    /// Until `check` holds.
    pub fn run(&mut self, what: &str, mut check: impl FnMut(&mut Self) -> bool) -> Outcome<()> {
        let end = Clock::now() + PATIENCE;
        self.drain(usize::MAX)?;
        while !check(self) {
            let left = end.saturating_duration_since(Clock::now());
            if left.is_zero() {
                return Err(format!("{what} did not happen; told {:?}, {} messages", self.told, self.messages.len()));
            }
            self.turn(left.min(Duration::from_millis(200)))?;
        }
        Ok(())
    }

    /// Goes on for a while.
    pub fn rest(&mut self, time: Duration) -> Outcome<()> {
        let end = Clock::now() + time;
        while Clock::now() < end {
            self.turn(end.saturating_duration_since(Clock::now()))?;
        }
        Ok(())
    }

    /// The next thing told of which `wanted` is true.
    pub fn wait(&mut self, what: &str, wanted: impl Fn(&Told) -> bool) -> Outcome<Told> {
        self.run(what, |link| link.told.iter().any(&wanted))?;
        let at = self.told.iter().position(&wanted).ok_or(what)?;
        self.told.remove(at).ok_or_else(|| what.into())
    }

    /// Subscribes; gives what was granted.
    pub fn subscribe(&mut self, filters: &[(&str, QoS)]) -> Outcome<Vec<u8>> {
        let now = self.now();
        let number = self.client.subscribe(now, filters).map_err(|e| e.to_string())?;
        match self.wait("SUBACK", |told| matches!(told, Told::Subscribed(id, _) if *id == number))? {
            Told::Subscribed(_, codes) => Ok(codes),
            told => Err(format!("{told:?}")),
        }
    }

    /// Publishes, until it is acknowledged.
    pub fn publish(&mut self, topic: &str, payload: &[u8], qos: QoS, retain: bool) -> Outcome<()> {
        let now = self.now();
        let number = self.client.publish(now, topic, payload, qos, retain).map_err(|e| e.to_string())?;
        self.drain(usize::MAX)?;
        self.acknowledged(number)
    }

    /// Publishes a payload of which the client never holds more than a window.
    pub fn stream(&mut self, topic: &str, payload: &[u8], qos: QoS) -> Outcome<()> {
        let (now, len) = (self.now(), payload.len() as u32);
        let number = self.client.publish_streamed(now, topic, len, qos, false).map_err(|e| e.to_string())?;
        let mut given = 0;
        while given < payload.len() {
            let Told::Wanted(offset, len) = self.wait("PayloadWanted", |told| matches!(told, Told::Wanted(..)))? else {
                return Err("no payload wanted".into());
            };
            let (offset, now) = (offset as usize, self.now());
            let part = &payload[offset..offset + len as usize];
            given = offset + self.client.payload(now, part).map_err(|e| e.to_string())?;
        }
        self.drain(usize::MAX)?;
        self.acknowledged(number)
    }

    /// Until that message is acknowledged; at once where there is no number.
    pub fn acknowledged(&mut self, number: Option<PacketId>) -> Outcome<()> {
        let Some(number) = number else { return Ok(()) };
        self.wait("an acknowledgement", |told| *told == Told::Acknowledged(number)).map(|_| ())
    }

    /// The next whole message.
    pub fn message(&mut self) -> Outcome<Message> {
        self.run("a message", |link| link.messages.front().is_some_and(|m| m.payload.len() == m.len))?;
        self.messages.pop_front().ok_or_else(|| "no message".into())
    }

    /// Until no handshake goes on.
    pub fn settle(&mut self) -> Outcome<()> {
        self.run("the end of all handshakes", |link| link.client.in_flight() == 0)
    }

    /// DISCONNECT, then the end of the stream.
    pub fn close(&mut self) -> Outcome<()> {
        let now = self.now();
        self.client.disconnect(now).map_err(|e| e.to_string())?;
        self.drain(usize::MAX)?;
        if let Some(mut stream) = self.stream.take() {
            stream.shutdown(Shutdown::Write).map_err(|e| e.to_string())?;
            stream.set_read_timeout(Some(PATIENCE)).map_err(|e| e.to_string())?;
            // Some reset it, which ends it as well.
            drop(stream.read_to_end(&mut Vec::new()));
        }
        let now = self.now();
        self.client.connection_lost(now);
        Ok(())
    }

    /// The stream ends without a DISCONNECT.
    pub fn cut(&mut self) {
        if let Some(stream) = self.stream.take() {
            drop(stream.shutdown(Shutdown::Both));
        }
        let now = self.now();
        self.client.connection_lost(now);
    }
}

fn note(told: &mut VecDeque<Told>, messages: &mut VecDeque<Message>, event: Event<'_>) {
    told.push_back(match event {
        Event::Publish(p) => {
            return messages.push_back(Message {
                topic: p.topic.into(),
                payload: Vec::new(),
                len: p.payload_len as usize,
                qos: p.qos,
                retain: p.retain,
                dup: p.dup,
                id: p.id,
            });
        }
        Event::Payload { bytes, .. } => {
            if let Some(message) = messages.back_mut() {
                message.payload.extend_from_slice(bytes);
            }
            return;
        }
        Event::Connected { session_present } => Told::Connected(session_present),
        Event::Refused { code } => Told::Refused(code as u8),
        Event::Subscribed { id, codes } => Told::Subscribed(id, codes.into()),
        Event::Unsubscribed { id } => Told::Unsubscribed(id),
        Event::Acknowledged { id } => Told::Acknowledged(id),
        Event::PayloadWanted { offset, len, .. } => Told::Wanted(offset, len),
        Event::Skipped { .. } => Told::Skipped,
        Event::Closed { reason } => Told::Closed(reason),
    });
}
