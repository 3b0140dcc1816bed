//! The client without Rust's types, for bindings to other languages: text comes as bytes and is checked here, what is told is
//! flat, and an error is a number. It is the same client, and what every verb does stands with its namesake; only the time is
//! told before, by [`Client::tick`].

use super::{Client, CloseReason, Event, output::stream, write};
use crate::{
    Fail, Handled, Instant, Peer,
    mqtt::{ConnectReturnCode, PacketId, Publish, QoS},
};

/// What happened, and all numbers about it. What a kind does not name is 0.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct What {
    /// An [`Event`], in the order of the constants here.
    pub kind: u32,
    /// `PAYLOAD_WANTED`: from here on.
    pub offset: u32,
    /// `PUBLISH`, `SKIPPED`: bytes of payload. `PAYLOAD_WANTED`: bytes.
    pub len: u32,
    /// The packet identifier, if there is one.
    pub id: u16,
    /// `PUBLISH`: 0 to 2.
    pub qos: u8,
    /// `PUBLISH`: 1 if it is retained.
    pub retain: u8,
    /// `PUBLISH`: 1 if it was perhaps sent before.
    pub dup: u8,
    /// `CONNECTED`: 1 if the server kept the session.
    pub session_present: u8,
    /// `PAYLOAD`: 1 for the last.
    pub last: u8,
    /// `REFUSED`: the return code. `CLOSED`: the [`CloseReason`].
    pub code: u8,
}

#[allow(missing_docs, reason = "they are those of `Event`")]
impl What {
    pub const NOTHING: u32 = 0;
    pub const CONNECTED: u32 = 1;
    pub const REFUSED: u32 = 2;
    pub const PUBLISH: u32 = 3;
    pub const PAYLOAD: u32 = 4;
    pub const ACKNOWLEDGED: u32 = 5;
    pub const SUBSCRIBED: u32 = 6;
    pub const UNSUBSCRIBED: u32 = 7;
    pub const PAYLOAD_WANTED: u32 = 8;
    pub const CLOSED: u32 = 9;
    pub const SKIPPED: u32 = 10;
}

/// What became of input, or what the client asks for.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct Told<'e> {
    /// What happened.
    pub what: What,
    /// See [`Handled`].
    pub consumed: usize,
    /// See [`Handled`]; of output, the room that the next packet takes.
    pub needed: usize,
    /// `SKIPPED`: bytes of topic.
    pub topic_len: u16,
    /// `PUBLISH`: the topic, a valid one.
    pub topic: Option<&'e [u8]>,
    /// `PAYLOAD`: the bytes. `SUBSCRIBED`: the return codes.
    pub bytes: Option<&'e [u8]>,
}

impl<'e> Told<'e> {
    /// Nothing is consumed: so many bytes more are wanted, or 0 for "not now".
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn want(&mut self, needed: usize) -> Result<(), Fail> {
        (self.consumed, self.needed) = (0, needed);
        Ok(())
    }

    #[inline]
    pub(super) fn event(&self) -> Option<Event<'e>> {
        if self.what.kind == What::NOTHING { None } else { self.some_event() }
    }

    fn some_event(&self) -> Option<Event<'e>> {
        let (bytes, What { kind, offset, len, code, .. }) = (self.bytes.unwrap_or(&[]), self.what);
        let any_id = PacketId::new(self.what.id);
        // Who is told of a packet identifier is told one.
        let id = any_id.unwrap_or(PacketId::FIRST);
        Some(match kind {
            What::CONNECTED => Event::Connected { session_present: self.what.session_present != 0 },
            What::REFUSED => {
                Event::Refused { code: ConnectReturnCode::from_u8(code).unwrap_or(ConnectReturnCode::NotAuthorized) }
            }
            What::PUBLISH => Event::Publish(Publish {
                dup: self.what.dup != 0,
                qos: QoS::from_u8(self.what.qos).unwrap_or_default(),
                retain: self.what.retain != 0,
                topic: core::str::from_utf8(self.topic.unwrap_or(&[])).unwrap_or_default(),
                id: any_id,
                payload_len: len,
            }),
            What::PAYLOAD => Event::Payload { bytes, last: self.what.last != 0 },
            What::ACKNOWLEDGED => Event::Acknowledged { id },
            What::SUBSCRIBED => Event::Subscribed { id, codes: bytes },
            What::UNSUBSCRIBED => Event::Unsubscribed { id },
            What::PAYLOAD_WANTED => Event::PayloadWanted { id: any_id, offset, len },
            What::CLOSED => Event::Closed {
                reason: match code {
                    0 => CloseReason::Requested,
                    1 => CloseReason::ConnectTimeout,
                    2 => CloseReason::KeepAlive,
                    _ => CloseReason::Overflow,
                },
            },
            What::SKIPPED => Event::Skipped { topic_len: self.topic_len, payload_len: len },
            _ => return None,
        })
    }

    pub(super) fn handled(&self) -> Handled<Event<'e>> {
        Handled { consumed: self.consumed, needed: self.needed, event: self.event() }
    }
}

/// A CONNECT's client identifier, will topic, will payload, user name and password, as far as [`PRESENT`] says that they are
/// there.
pub type Strings<'c> = [&'c [u8]; 5];

/// Of each of them the flag that says that it is there (§3.1.2.3). The client identifier always is; the bit that stands for it
/// here is reserved on the wire and not sent.
pub static PRESENT: [u8; 5] = [0x01, 0x04, 0x04, 0x80, 0x40];

impl Client<'_> {
    /// Takes in the time, as every verb does by itself that has `now`.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub fn tick(&mut self, now: Instant) {
        self.clock.advance(now);
    }

    /// [`Client::connect`]. `flags` are those of [`PRESENT`], 0x02 for a clean session and, of the will, 0x08 times its QoS, and
    /// 0x20 if it is retained. `keep_alive` is in seconds.
    ///
    /// # Errors
    /// As there.
    pub fn connect_raw(&mut self, peer: Peer, strings: &Strings<'_>, flags: u8, keep_alive: u16) -> Result<(), Fail> {
        self.open(peer, strings, flags, keep_alive)
    }

    /// [`Client::publish`]. The packet identifier, or 0.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn publish_raw(&mut self, qos: QoS, retain: bool, topic: &[u8], payload: &[u8]) -> Result<u32, Fail> {
        let id = self.queue_publish(qos, retain, topic, payload.len(), (0, 0))?;
        self.put(payload);
        Ok(id)
    }

    /// The last `len` bytes of what was queued last, to be written while nothing of it has gone out.
    #[cfg(all(feature = "mqtt", feature = "coap", feature = "ota"))]
    pub(crate) fn queued_last(&mut self, len: usize) -> &mut [u8] {
        let end = self.slots.kept;
        self.slots.memory.get_mut(end.wrapping_sub(len)..end).unwrap_or_default()
    }

    /// [`Client::publish_streamed`]. The packet identifier, or 0.
    ///
    /// # Errors
    /// As there.
    pub fn publish_streamed_raw(&mut self, qos: QoS, retain: bool, topic: &[u8], len: u32) -> Result<u32, Fail> {
        self.stream = Some(stream);
        let window = u16::try_from(len).unwrap_or(u16::MAX).min(self.window.max(1));
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let id = self.queue_publish(qos, retain, topic, len, (len.saturating_sub(window.into()), window))?;
        self.slots.kept = self.slots.kept.wrapping_add(window.into());
        Ok(id)
    }

    /// [`Client::subscribe`]. A filter and the QoS wanted are what `look` sees in each of `filters`, if there is nothing against it,
    /// and `take` finds there again. The packet identifier.
    ///
    /// # Errors
    /// As there, and those of `look`.
    #[inline]
    pub fn subscribe_raw<'f, T>(
        &mut self,
        filters: &'f [T],
        look: impl Fn(&'f T) -> Result<(&'f [u8], u8), Fail>,
        take: impl Fn(&'f T) -> (&'f [u8], u8),
    ) -> Result<u32, Fail> {
        self.queue_filters(write::SUBSCRIBE, filters, look, take)
    }

    /// [`Client::unsubscribe`], likewise.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn unsubscribe_raw<'f, T>(
        &mut self,
        filters: &'f [T],
        look: impl Fn(&'f T) -> Result<&'f [u8], Fail>,
        take: impl Fn(&'f T) -> &'f [u8],
    ) -> Result<u32, Fail> {
        self.queue_filters(write::UNSUBSCRIBE, filters, |f| look(f).map(|filter| (filter, 0)), |f| (take(f), 0))
    }

    /// [`Client::handle_input`]. `told` is the default before.
    ///
    /// # Errors
    /// As there.
    pub fn handle_input_raw<'i>(&mut self, peer: Peer, bytes: &'i [u8], told: &mut Told<'i>) -> Result<(), Fail> {
        self.take_in(peer, bytes, told)
    }

    /// [`Client::poll_output`]: how many bytes stand at the front of `out`, to be sent to [`Client::peer`]. If there are
    /// none, `told` has something to tell, or names the room [`needed`](Told::needed), or neither: then there is nothing
    /// until [`Client::next_timeout`]. It is the default before.
    pub fn poll_output_raw(&mut self, out: &mut [u8], told: &mut Told<'_>) -> usize {
        self.timed_out();
        self.put_out(out, told)
    }

    /// [`Client::next_timeout`]; the end of time if there is none.
    #[must_use]
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub fn next_timeout_raw(&self) -> Instant {
        self.idle.min(self.answer)
    }

    /// Whom the client is, or was last, connected to.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }
}
