//! The client without Rust's types, for bindings to other languages: text comes as bytes and is checked here, and what is
//! told is flat. It is the same client, and what every verb does stands with its namesake.

use super::{Client, CloseReason, Event, output::stream, write};
use crate::{
    Handled, Input, Instant, Misuse, Peer,
    mqtt::{Connect, ConnectReturnCode, Error, PacketId, Publish, QoS},
};

/// What happened: an [`Event`] by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "they are those of `Event`")]
pub enum Kind {
    Nothing = 0,
    Connected = 1,
    Refused = 2,
    Publish = 3,
    Payload = 4,
    Acknowledged = 5,
    Subscribed = 6,
    Unsubscribed = 7,
    PayloadWanted = 8,
    Closed = 9,
    Skipped = 10,
}

/// What became of input, or what the client asks for. What a kind does not name is 0 or empty.
#[derive(Debug, Clone, Copy)]
pub struct Told<'e> {
    /// See [`Handled`].
    pub consumed: usize,
    /// See [`Handled`]; of output, the room that the next packet takes.
    pub needed: usize,
    /// What happened.
    pub kind: Kind,
    /// `Connected`: 1 with a session present. `Refused`: the return code. `Publish`: the first byte of its packet, in which
    /// 8 is DUP, 6 is the QoS and 1 is RETAIN. `Payload`: 1 for the last. `Closed`: the [`CloseReason`].
    pub code: u8,
    /// The packet identifier, if there is one.
    pub id: Option<PacketId>,
    /// `Publish`, `Skipped`: bytes of payload. `PayloadWanted`: bytes.
    pub len: u32,
    /// `PayloadWanted`: from here on. `Skipped`: bytes of topic.
    pub offset: u32,
    /// `Publish`: the topic, a valid one. `Payload`: the bytes. `Subscribed`: the return codes.
    pub bytes: &'e [u8],
}

impl<'e> Told<'e> {
    /// Nothing.
    pub const NOTHING: Self =
        Self { consumed: 0, needed: 0, kind: Kind::Nothing, code: 0, id: None, len: 0, offset: 0, bytes: &[] };

    #[inline]
    pub(super) fn event(&self) -> Option<Event<'e>> {
        if self.kind == Kind::Nothing { None } else { self.some_event() }
    }

    fn some_event(&self) -> Option<Event<'e>> {
        let (bytes, len) = (self.bytes, self.len);
        // Who is told of a packet identifier is told one.
        let id = self.id.unwrap_or(PacketId::FIRST);
        Some(match self.kind {
            Kind::Nothing => return None,
            Kind::Connected => Event::Connected { session_present: self.code != 0 },
            Kind::Refused => Event::Refused {
                code: ConnectReturnCode::from_u8(self.code).unwrap_or(ConnectReturnCode::NotAuthorized),
            },
            Kind::Publish => Event::Publish(Publish {
                dup: self.code & 0x08 != 0,
                qos: QoS::from_u8((self.code >> 1) & 0x03).unwrap_or_default(),
                retain: self.code & 0x01 != 0,
                topic: core::str::from_utf8(bytes).unwrap_or_default(),
                id: self.id,
                payload_len: len,
            }),
            Kind::Payload => Event::Payload { bytes, last: self.code != 0 },
            Kind::Acknowledged => Event::Acknowledged { id },
            Kind::Subscribed => Event::Subscribed { id, codes: bytes },
            Kind::Unsubscribed => Event::Unsubscribed { id },
            Kind::PayloadWanted => Event::PayloadWanted { id: self.id, offset: self.offset, len },
            Kind::Closed => Event::Closed {
                reason: match self.code {
                    0 => CloseReason::Requested,
                    1 => CloseReason::ConnectTimeout,
                    2 => CloseReason::KeepAlive,
                    _ => CloseReason::Overflow,
                },
            },
            Kind::Skipped => {
                Event::Skipped { topic_len: u16::try_from(self.offset).unwrap_or(u16::MAX), payload_len: len }
            }
        })
    }

    pub(super) fn handled(&self) -> Handled<Event<'e>> {
        Handled { consumed: self.consumed, needed: self.needed, event: self.event() }
    }
}

/// What goes into CONNECT.
#[derive(Debug, Clone, Copy)]
pub struct RawConnect<'c> {
    /// What is there of the client identifier, the will's topic, the will's payload, the user name and the password.
    pub strings: [Option<&'c [u8]>; 5],
    /// 0x02 for a clean session; of the will, its QoS times 8, and 0x20 if it is retained.
    pub flags: u8,
    /// In seconds; 0 for none.
    pub keep_alive: u16,
}

impl<'c> From<&Connect<'c>> for RawConnect<'c> {
    fn from(connect: &Connect<'c>) -> Self {
        let will = connect.will;
        Self {
            strings: [
                Some(connect.client_id.as_bytes()),
                will.map(|will| will.topic.as_bytes()),
                will.map(|will| will.payload),
                connect.username.map(str::as_bytes),
                connect.password,
            ],
            flags: u8::from(connect.clean_session) << 1
                | will.map_or(0, |will| (will.qos as u8) << 3 | u8::from(will.retain) << 5),
            keep_alive: connect.keep_alive,
        }
    }
}

impl Client<'_> {
    /// [`Client::connect`].
    ///
    /// # Errors
    /// As there.
    pub fn connect_raw(&mut self, now: Instant, peer: Peer, connect: &RawConnect<'_>) -> Result<(), Error> {
        self.open(now, peer, connect)
    }

    /// [`Client::publish`].
    ///
    /// # Errors
    /// As there.
    pub fn publish_raw(
        &mut self,
        now: Instant,
        topic: &[u8],
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> Result<Option<PacketId>, Error> {
        let len = u32::try_from(payload.len()).map_err(|_| Misuse::OutOfRange)?;
        self.queue_publish(now, topic, len, Some(payload), qos, retain)
    }

    /// [`Client::publish_streamed`].
    ///
    /// # Errors
    /// As there.
    pub fn publish_streamed_raw(
        &mut self,
        now: Instant,
        topic: &[u8],
        len: u32,
        qos: QoS,
        retain: bool,
    ) -> Result<Option<PacketId>, Error> {
        self.stream = stream;
        self.queue_publish(now, topic, len, None, qos, retain)
    }

    /// [`Client::subscribe`], with the filters from an iterator, which is run through twice. What it says is wrong with one
    /// is handed on.
    ///
    /// # Errors
    /// As there.
    pub fn subscribe_raw<'f>(
        &mut self,
        now: Instant,
        filters: impl Iterator<Item = Result<(&'f [u8], QoS), Misuse>> + Clone,
    ) -> Result<PacketId, Error> {
        self.queue_filters(now, write::SUBSCRIBE, filters)
    }

    /// [`Client::unsubscribe`], likewise; the QoS means nothing.
    ///
    /// # Errors
    /// As there.
    pub fn unsubscribe_raw<'f>(
        &mut self,
        now: Instant,
        filters: impl Iterator<Item = Result<(&'f [u8], QoS), Misuse>> + Clone,
    ) -> Result<PacketId, Error> {
        self.queue_filters(now, write::UNSUBSCRIBE, filters)
    }

    /// [`Client::handle_input`]. `told` is [`Told::NOTHING`] before.
    ///
    /// # Errors
    /// As there.
    pub fn handle_input_raw<'i>(&mut self, now: Instant, input: Input<'i>, told: &mut Told<'i>) -> Result<(), Error> {
        self.tick(now);
        self.take_in(input, told)
    }

    /// [`Client::poll_output`]: how many bytes stand at the front of `out`, to be sent to [`Client::peer`]. If there are
    /// none, `told` has something to tell, or names the room [`needed`](Told::needed), or neither: then there is nothing
    /// until [`Client::next_timeout`]. It is [`Told::NOTHING`] before.
    pub fn poll_output_raw(&mut self, now: Instant, out: &mut [u8], told: &mut Told<'_>) -> usize {
        self.tick(now);
        self.timed_out();
        self.put_out(out, told)
    }

    /// Whom the client is, or was last, connected to.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }
}
