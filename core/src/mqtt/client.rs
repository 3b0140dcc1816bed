//! The client: one connection to one server, over anything that carries bytes in their order (`[MQTT-7.1.2-1]`), and
//! the session that outlives it.
//!
//! ```
//! use waft::mqtt::{Connect, QoS, client::{Client, Config, Event, InFlight}};
//! use waft::{Input, Instant, Output, Peer};
//!
//! let (mut arena, mut table) = ([0; 256], [InFlight::EMPTY; 4]);
//! let mut client = Client::new(Config::default(), &mut arena, &mut table);
//! let (now, server, mut out) = (Instant::ZERO, Peer(0), [0; 128]);
//!
//! // A stream to the server is open.
//! client.connect(now, server, &Connect { client_id: "sensor-7", ..Connect::default() }).unwrap();
//! client.publish(now, "hall/temperature", b"21.5", QoS::AtLeastOnce, false).unwrap();
//! let Output::Transmit { bytes, .. } = client.poll_output(now, &mut out) else { panic!() };
//! assert_eq!(bytes.first(), Some(&0x10)); // CONNECT; the message waits for the server's answer
//!
//! let handled = client.handle_input(now, Input { peer: server, bytes: b"\x20\x02\x00\x00" }).unwrap();
//! assert_eq!(handled.event, Some(Event::Connected { session_present: false }));
//! let Output::Transmit { bytes, .. } = client.poll_output(now, &mut out) else { panic!() };
//! assert_eq!(bytes.first(), Some(&0x32)); // PUBLISH, QoS 1
//! ```
//!
//! # Memory
//! - The **arena** holds, encoded and without anything between them, each message until it is acknowledged (at QoS 0:
//!   sent), each SUBSCRIBE and UNSUBSCRIBE until it is answered, and at its end the CONNECT: room for another of that
//!   length is kept from the first [`Client::connect`] on.
//! - The **table** has an [`InFlight`] for each of these, and for each message received whose handshake goes on.
//!   Commands leave [`Config::keep_free`] of it to reception. Acknowledgements are made from it, so none needs room
//!   of its own and none is lost.
//! - **Receiving** takes no memory here: events borrow from the input. Only a packet's header has to be whole there;
//!   a payload passes in whatever pieces come.
//! - **Sending** a payload that fits no memory: [`Client::publish_streamed`].
//!
//! # When it is over
//! After an `Err(Error::Peer(_))`, [`Event::Refused`] or [`Event::Closed`] the connection is closed for the client:
//! close the stream. Its session is kept for the next [`Client::connect`] without
//! [`clean_session`](Connect::clean_session), which sends again, in order, what was not acknowledged.

mod flow;
mod input;
mod output;
pub mod raw;
pub mod session;
mod slots;
#[cfg(test)]
mod tests;
mod write;

use super::{Connect, ConnectReturnCode, Error, PacketId, Publish, QoS, packet::MAX_REMAINING};
use crate::{Duration, Handled, Input, Instant, Machine, Misuse, Output, Peer, Storage, time::Clock};
use flow::{Excuse, Link};
use raw::Told;
pub use slots::InFlight;
use slots::{Due, Slots};

/// How a client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Whether received messages of QoS 1 and 2 are acknowledged by [`Client::acknowledge`] only (`true`), or as soon
    /// as the last of their payload has been handed over.
    pub manual_ack: bool,
    /// The largest packet received without its fixed header, in bytes; of a PUBLISH, the largest topic with 4 bytes
    /// more. The receive buffer needs 5 bytes more than this. A message with a longer topic is passed over and
    /// acknowledged ([`Event::Skipped`]).
    pub max_packet: u16,
    /// The longest payload wanted, in bytes. A message with a longer one is refused from its header: passed over and
    /// acknowledged ([`Event::Skipped`]), while the connection stays.
    pub max_payload: u32,
    /// Bytes of the arena that each [`Client::publish_streamed`] takes for its payload on the way.
    pub window: u16,
    /// Places in the table that commands leave free for reception; at least 1. A server that sends more messages of
    /// QoS 2 at once than fit in the table makes the client close ([`CloseReason::Overflow`]).
    pub keep_free: u16,
    /// How long the server may take to answer CONNECT and PINGREQ, in whole milliseconds up to 2³² of them (what is more, or
    /// less than one, counts as one of these), whatever else it sends meanwhile. Its PINGRESP has to
    /// have been taken in by then, so offer bytes that could not be taken ("not now") again before.
    ///
    /// One thing puts the end of the wait for PINGRESP off: a message whose payload is still arriving when PINGREQ leaves
    /// or, failing that, when the time is up, since that payload stands before the answer in the stream. Each part of it,
    /// and so its end, begins the wait anew; no other message does after it.
    pub answer_timeout: Duration,
}

impl Default for Config {
    /// Acknowledges by itself, receives headers of up to 256 bytes and payloads of any length, streams by 128 bytes,
    /// keeps one place free, and waits 10 seconds.
    fn default() -> Self {
        Self {
            manual_ack: false,
            max_packet: 256,
            max_payload: MAX_REMAINING,
            window: 128,
            keep_free: 1,
            answer_timeout: Duration::from_secs(10),
        }
    }
}

/// What a client tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'e> {
    /// The server accepted. Without a session present, earlier subscriptions are gone.
    Connected {
        /// The server kept the session (§3.2.2.2).
        session_present: bool,
    },
    /// The server refused, and the connection is closed.
    Refused {
        /// Why.
        code: ConnectReturnCode,
    },
    /// A message begins. [`Event::Payload`] follows until the last of its payload; none if that is empty.
    Publish(Publish<'e>),
    /// The next part of the payload of the message that began last.
    Payload {
        /// At least one byte.
        bytes: &'e [u8],
        /// The message ends here, and is acknowledged unless [`Config::manual_ack`] is set.
        last: bool,
    },
    /// A message is passed over, because its topic is longer than [`Config::max_packet`] allows or its payload longer
    /// than [`Config::max_payload`]. The server gets its acknowledgement, so that it does not send it for ever.
    Skipped {
        /// Bytes of its topic.
        topic_len: u16,
        /// Bytes of its payload.
        payload_len: u32,
    },
    /// The message published under this identifier has arrived (PUBACK at QoS 1, PUBCOMP at QoS 2); the identifier
    /// may be used again.
    Acknowledged {
        /// As [`Client::publish`] gave it.
        id: PacketId,
    },
    /// SUBACK.
    Subscribed {
        /// As [`Client::subscribe`] gave it.
        id: PacketId,
        /// For each filter the QoS granted, or [`SUBSCRIPTION_REFUSED`](super::packet::SUBSCRIPTION_REFUSED).
        codes: &'e [u8],
    },
    /// UNSUBACK.
    Unsubscribed {
        /// As [`Client::unsubscribe`] gave it.
        id: PacketId,
    },
    /// Call [`Client::payload`] with these bytes of the message being streamed. After a reconnect the message starts
    /// again at offset 0. Until it is complete nothing else can be sent.
    PayloadWanted {
        /// As [`Client::publish_streamed`] gave it.
        id: Option<PacketId>,
        /// From here on.
        offset: u32,
        /// So many are taken at once.
        len: u32,
    },
    /// The connection is closed: close the stream.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// Why the client closed the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CloseReason {
    /// [`Client::disconnect`] asked for it and DISCONNECT has been sent (`[MQTT-3.14.4-1]`).
    Requested = 0,
    /// There was no CONNACK within [`Config::answer_timeout`] (§3.2).
    ConnectTimeout = 1,
    /// There was no PINGRESP within [`Config::answer_timeout`] (§3.1.2.10), though other packets may have come.
    KeepAlive = 2,
    /// More messages came at once than the table holds (`[MQTT-4.8.0-2]`). The server sends them again.
    Overflow = 3,
}

/// See [`Client::stream`].
type Stream = fn(&mut Client<'_>, usize, &mut Told<'_>);

/// What a connection has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// There is none.
    Closed,
    /// CONNECT is on its way and CONNACK is waited for.
    Connecting,
    /// The server accepted.
    Connected,
    /// What is queued and then DISCONNECT is to be sent.
    Disconnecting,
}

/// Of a deadline that is not set: the end of time, which nobody lives to see.
const NEVER: Instant = Instant::from_micros(u64::MAX);

/// The last moment before it.
const LAST: Instant = Instant::from_micros(u64::MAX - 1);

/// The packet that is being sent, perhaps in pieces.
#[derive(Debug, Clone, Copy, Default)]
struct Sending {
    /// How much of it is out of what stands in the memory, and where that ends: the packet, or what there is now of a
    /// message being streamed.
    sent: usize,
    end: usize,
    /// How much payload has been taken of a message being streamed, of how much.
    taken: u32,
    total: u32,
}

/// The message that is being received.
#[derive(Debug, Clone, Copy, Default)]
struct Receiving {
    /// Bytes of payload to come.
    left: u32,
    /// Bytes of topic and packet identifier to come of a message that is passed over.
    header: u32,
    /// Bytes of topic in it.
    topic_len: u16,
    /// The identifier, at QoS 1 and 2.
    id: Option<PacketId>,
    /// The first byte of its packet.
    first: u8,
    /// Nothing of it is told: it was received before, or is not wanted.
    quiet: bool,
}

/// An MQTT client. See [the module](self).
// In this order, since the instructions of a Cortex-M that reach a byte not far behind the front are half as long.
#[derive(Debug)]
#[repr(C)]
pub struct Client<'a> {
    /// What is in flight. The CONNECT stands at the end of the memory.
    slots: Slots<'a>,
    link: Link,
    manual_ack: bool,
    /// DISCONNECT follows when all is sent.
    leaving: bool,
    /// A PINGREQ is to be sent.
    ping: bool,
    /// What PINGRESP may be waited for longer for.
    excuse: Excuse,
    /// Something arrived since the idle timer was set.
    heard: bool,
    /// What is in flight is of a session that goes on.
    has_session: bool,
    /// `poll_output` may find something to send or to tell ([`Client::stir`]); taken back when there is nothing else.
    due: bool,
    sending: Sending,
    receiving: Receiving,
    /// In seconds; 0 for none.
    keep_alive: u16,
    /// The identifier given last.
    last_id: Option<PacketId>,
    keep_free: u16,
    max_packet: u16,
    window: u16,
    peer: Peer,
    /// Bytes of the last CONNECT, and so room that the next one finds.
    reserve: usize,
    /// In milliseconds.
    answer_timeout: u32,
    max_payload: u32,
    /// [`output::stream`] as soon as a message is streamed, so that a program that streams none has nothing of it.
    stream: Option<Stream>,
    clock: Clock,
    /// Time for a PINGREQ.
    idle: Instant,
    /// The answer to CONNECT or PINGREQ is overdue.
    answer: Instant,
}

impl<'a> Client<'a> {
    /// A client without a session, which keeps packets in `arena` and track of them in `table`.
    #[must_use]
    pub fn new(config: Config, arena: impl Into<Storage<'a, u8>>, table: impl Into<Storage<'a, InFlight>>) -> Self {
        Self {
            slots: Slots::new(table.into(), arena.into()),
            link: Link::Closed,
            leaving: false,
            ping: false,
            excuse: Excuse::None,
            heard: false,
            has_session: false,
            due: false,
            sending: Sending::default(),
            receiving: Receiving::default(),
            keep_alive: 0,
            last_id: None,
            peer: Peer(0),
            reserve: 0,
            stream: None,
            clock: Clock::START,
            idle: NEVER,
            answer: NEVER,
            keep_free: config.keep_free.max(1),
            max_packet: config.max_packet,
            window: config.window,
            manual_ack: config.manual_ack,
            answer_timeout: u32::try_from(config.answer_timeout.as_micros().div_ceil(1000)).unwrap_or(u32::MAX),
            max_payload: config.max_payload,
        }
    }

    // ---- what is

    /// What the connection has come to.
    #[must_use]
    pub fn state(&self) -> State {
        match self.link {
            _ if self.is_closed() => State::Closed,
            _ if self.leaving => State::Disconnecting,
            Link::Connected => State::Connected,
            _ => State::Connecting,
        }
    }

    /// Whether the server has accepted and nothing has ended the connection since.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.state() == State::Connected
    }

    /// Bytes still to come of the payload of the message being received.
    #[must_use]
    pub fn payload_left(&self) -> u32 {
        self.receiving.left
    }

    /// Messages, subscriptions and handshakes that are not finished: places taken in the table.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.slots.as_slice().len()
    }

    // ---- what is to be done

    /// A stream to the server is open, and `peer` stands for it: sends CONNECT. Tells [`Event::Connected`],
    /// [`Event::Refused`] or [`Event::Closed`] when it is known.
    ///
    /// With `clean_session`, or after a clean session, all that is kept of an earlier session is dropped
    /// (`[MQTT-3.1.2-6]`), messages not acknowledged among them.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: there is a connection. [`Misuse::InvalidString`], [`Misuse::InvalidTopic`],
    /// [`Misuse::InvalidOption`]: see [`Connect::check`]. [`Capacity::Arena`](crate::Capacity::Arena): the arena has no room for this CONNECT.
    pub fn connect(&mut self, now: Instant, peer: Peer, connect: &Connect<'_>) -> Result<(), Error> {
        self.tick(now);
        let Connect { client_id, will, username, password, .. } = connect;
        let mut strings: raw::Strings<'_> = [client_id.as_bytes(), &[], &[], &[], &[]];
        let mut flags = u8::from(connect.clean_session) << 1;
        let mut add = |index: usize, bytes| {
            if let (Some(string), Some(flag)) = (strings.get_mut(index), raw::PRESENT.get(index)) {
                *string = bytes;
                flags |= flag;
            }
        };
        if let Some(will) = will {
            add(1, will.topic.as_bytes());
            add(2, will.payload);
        }
        if let Some(username) = username {
            add(3, username.as_bytes());
        }
        if let Some(password) = password {
            add(4, password);
        }
        flags |= will.map_or(0, |will| (will.qos as u8) << 3 | u8::from(will.retain) << 5);
        Ok(self.open(peer, &strings, flags, connect.keep_alive)?)
    }

    /// The stream has closed or broken: the session waits for the next [`Client::connect`]. Nothing if it has been
    /// known.
    pub fn connection_lost(&mut self, now: Instant) {
        self.tick(now);
        self.lost();
    }

    /// Sends what is queued, then DISCONNECT, then tells [`Event::Closed`]. The server drops the will
    /// (`[MQTT-3.14.4-3]`). It waits for CONNACK where that has not come, and for the payload of what is streamed.
    ///
    /// # Errors
    /// [`Misuse::NotConnected`].
    pub fn disconnect(&mut self, now: Instant) -> Result<(), Error> {
        self.tick(now);
        self.may_send()?;
        self.leaving = true;
        self.stir();
        Ok(())
    }

    /// Publishes a message that fits in the arena, in which it stays until it is acknowledged
    /// ([`Event::Acknowledged`] with the identifier given here) or, at QoS 0, sent.
    ///
    /// # Errors
    /// [`Misuse::NotConnected`], [`Misuse::InvalidTopic`], [`Misuse::OutOfRange`] (longer than any packet),
    /// [`Capacity::InFlight`](crate::Capacity::InFlight), [`Capacity::Arena`](crate::Capacity::Arena).
    pub fn publish(
        &mut self,
        now: Instant,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> Result<Option<PacketId>, Error> {
        self.tick(now);
        Ok(given(self.publish_raw(qos, retain, topic.as_bytes(), payload)?))
    }

    /// Publishes a message of any length: when its turn comes, and again after a reconnect if it was not acknowledged,
    /// [`Event::PayloadWanted`] asks for its payload piece by piece.
    ///
    /// # Errors
    /// As [`Client::publish`]. The arena is to hold its header and [`Config::window`] bytes.
    pub fn publish_streamed(
        &mut self,
        now: Instant,
        topic: &str,
        len: u32,
        qos: QoS,
        retain: bool,
    ) -> Result<Option<PacketId>, Error> {
        self.tick(now);
        Ok(given(self.publish_streamed_raw(qos, retain, topic.as_bytes(), len)?))
    }

    /// Gives payload that [`Event::PayloadWanted`] asked for, from the offset it named on. Returns how many of the
    /// bytes were taken: no more than it asked for. Where fewer are given, it asks again for the rest.
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: none is wanted now.
    pub fn payload(&mut self, now: Instant, bytes: &[u8]) -> Result<usize, Error> {
        self.tick(now);
        self.fill_window(bytes).ok_or_else(|| Misuse::WrongState.into())
    }

    /// Subscribes. Tells [`Event::Subscribed`] with the identifier given here.
    ///
    /// # Errors
    /// [`Misuse::NotConnected`], [`Misuse::InvalidFilter`] (or none is given), [`Misuse::OutOfRange`],
    /// [`Capacity::InFlight`](crate::Capacity::InFlight), [`Capacity::Arena`](crate::Capacity::Arena).
    pub fn subscribe(&mut self, now: Instant, filters: &[(&str, QoS)]) -> Result<PacketId, Error> {
        fn take<'f>((filter, qos): &'f (&str, QoS)) -> (&'f [u8], u8) {
            (filter.as_bytes(), *qos as u8)
        }
        self.tick(now);
        let id = self.subscribe_raw(filters, |filter| Ok(take(filter)), take)?;
        Ok(given(id).unwrap_or(PacketId::FIRST))
    }

    /// Takes subscriptions back. Tells [`Event::Unsubscribed`] with the identifier given here.
    ///
    /// # Errors
    /// As [`Client::subscribe`].
    pub fn unsubscribe(&mut self, now: Instant, filters: &[&str]) -> Result<PacketId, Error> {
        self.tick(now);
        let id = self.unsubscribe_raw(filters, |filter| Ok(filter.as_bytes()), |filter| filter.as_bytes())?;
        Ok(given(id).unwrap_or(PacketId::FIRST))
    }

    /// With [`Config::manual_ack`]: the message received under this identifier is safe, so PUBACK or PUBREC may go.
    /// They leave in the order the messages came (`[MQTT-4.6.0-2]`, `[MQTT-4.6.0-3]`): one waits for those before it.
    ///
    /// A message of QoS 1 that was not acknowledged when the connection broke comes again; one of QoS 2 does not,
    /// and can be acknowledged without a connection too.
    ///
    /// # Errors
    /// [`Misuse::UnknownId`]: no whole message with this identifier waits for it.
    pub fn acknowledge(&mut self, now: Instant, id: PacketId) -> Result<(), Error> {
        self.tick(now);
        Ok(self.acknowledged(id)?)
    }

    /// The message that is being received ([`Event::Publish`]) is not wanted: the rest of its payload is passed over,
    /// without [`Event::Payload`], and then it is acknowledged, even with [`Config::manual_ack`].
    ///
    /// # Errors
    /// [`Misuse::WrongState`]: there is nothing to come of a message.
    pub fn refuse(&mut self, now: Instant) -> Result<(), Error> {
        self.tick(now);
        if self.receiving.left == 0 {
            return Err(Misuse::WrongState.into());
        }
        self.receiving.quiet = true;
        Ok(())
    }

    // ---- the contract

    /// Takes in bytes from the server: at most one event a call.
    ///
    /// `consumed` and `needed` both 0 mean that an acknowledgement has to leave first: drain [`Client::poll_output`] or
    /// [`Client::acknowledge`] a message, and offer the bytes again.
    ///
    /// # Errors
    /// [`Error::Peer`](crate::Error::Peer): the server broke the protocol; the connection is closed, close the stream.
    /// [`Misuse::NotConnected`], [`Misuse::UnknownId`] (another peer's bytes).
    pub fn handle_input<'i>(&mut self, now: Instant, input: Input<'i>) -> Result<Handled<Event<'i>>, Error> {
        self.tick(now);
        if let Some(handled) = self.acknowledgement_in(input) {
            return Ok(handled);
        }
        self.handle_any(input)
    }

    /// Likewise, the long way.
    #[cfg_attr(not(feature = "opt-size"), inline(never))]
    fn handle_any<'i>(&mut self, input: Input<'i>) -> Result<Handled<Event<'i>>, Error> {
        let mut told = Told::default();
        self.take_in(input.peer, input.bytes, &mut told)?;
        Ok(told.handled())
    }

    /// Lets the keep-alive and the waiting for answers run out.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tick(now);
        self.timed_out();
    }

    /// The next bytes for the server, which may be several packets or part of one: any `out` of 4 bytes will do.
    pub fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        self.tick(now);
        self.timed_out();
        // Most calls find nothing.
        if self.is_quiet() { Output::Timeout(self.next_timeout()) } else { self.put_out_some(out) }
    }

    /// When to call [`Client::handle_timeout`].
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        Some(self.next_timeout_raw()).filter(|at| *at != NEVER)
    }
}

/// A packet identifier, of which 0 says that there is none.
fn given(id: u32) -> Option<PacketId> {
    PacketId::new(id as u16)
}

impl Machine for Client<'_> {
    type Event<'e> = Event<'e>;
    type Error = Error;

    fn handle_input<'i>(&mut self, now: Instant, input: Input<'i>) -> Result<Handled<Event<'i>>, Error> {
        self.handle_input(now, input)
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout(now);
    }

    fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        self.poll_output(now, out)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next_timeout()
    }
}
