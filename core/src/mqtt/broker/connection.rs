//! One connection: the stream of packets that leaves over it and the PUBLISH that is coming in.

use super::{Message, Password, Reason, SessionKey, journal::Stage, session::Outgoing};
use crate::{
    Duration, Instant,
    mqtt::{Packet, PacketId, Publish, QoS},
    wire::Writer,
};
use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use bytes::Bytes;

/// Where a connection stands; [`state`](super::state) owns the transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has not brought its CONNECT.
    Opened,
    /// It has, and the host is asked about it.
    Asked,
    /// It has, and was accepted.
    Connected,
    /// The host is going to be told to close it.
    Closing(Reason),
}

/// What is published when the connection ends without a DISCONNECT.
#[derive(Debug)]
pub(super) struct LastWill {
    pub(super) message: Message,
    pub(super) retain: bool,
    /// The journal's number for it.
    pub(super) number: u64,
}

/// A CONNECT.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) client_id: Arc<str>,
    pub(super) username: Option<Arc<str>>,
    pub(super) clean: bool,
    pub(super) keep_alive: u16,
    pub(super) will: Option<LastWill>,
}

/// A PUBLISH of which not all has arrived.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) topic: Arc<str>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) id: Option<PacketId>,
    /// It has come before, or may not be passed on: its payload is not kept.
    pub(super) ignored: bool,
    pub(super) left: usize,
    payload: Vec<u8>,
}

impl Receiving {
    pub(super) fn new(publish: &Publish<'_>, ignored: bool) -> Self {
        let Publish { qos, retain, id, payload_len, .. } = *publish;
        let left = usize::try_from(payload_len).unwrap_or(usize::MAX);
        Self { topic: publish.topic.into(), qos, retain, id, ignored, left, payload: Vec::new() }
    }

    /// Takes in the next bytes of the payload, at most `left` of them. The memory for it grows with what has arrived
    /// and never past what was announced: five hostile bytes reserve nothing.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.left = self.left.saturating_sub(bytes.len());
        if self.ignored {
            return;
        }
        let len = self.payload.len().saturating_add(bytes.len());
        if len > self.payload.capacity() {
            let wanted = len.max(self.payload.capacity().saturating_mul(2)).min(len.saturating_add(self.left));
            self.payload.reserve_exact(wanted.saturating_sub(self.payload.len()));
        }
        self.payload.extend_from_slice(bytes);
    }

    /// The whole of it.
    pub(super) fn payload(&mut self) -> Bytes {
        core::mem::take(&mut self.payload).into()
    }

    #[cfg(test)]
    pub(super) fn reserved(&self) -> usize {
        self.payload.capacity()
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) phase: Phase,
    /// What the host is asked about.
    pub(super) request: Option<Request>,
    /// Until it has been told of it, with this password.
    pub(super) unasked: Option<Option<Password>>,
    /// The CONNACK's session present, until the host has been told of the client.
    pub(super) untold: Option<bool>,
    pub(super) session: Option<SessionKey>,
    pub(super) will: Option<LastWill>,
    /// The longest silence allowed.
    pub(super) silence: Option<Duration>,
    pub(super) heard: Instant,
    /// When it is next looked at whether that was too long.
    pub(super) alarm: Option<Instant>,
    pub(super) receiving: Option<Receiving>,
    /// It stands in the queue of those that have something to send.
    pub(super) is_ready: bool,
    /// The host wants nothing for it now.
    pub(super) is_paused: bool,
    /// Packets that wait for the one being sent to end; they go before any PUBLISH.
    backlog: Vec<u8>,
    /// Which of them wait until something is durable: up to which frame of the journal, and how many bytes those are.
    barred: VecDeque<(u64, usize)>,
    /// The CONNACK, which goes before everything else, has begun to leave.
    greeted: bool,
    /// What is being sent: whole packets, or a PUBLISH up to its payload.
    head: Vec<u8>,
    /// So many bytes of it have been.
    head_sent: usize,
    /// The payload that follows.
    body: Bytes,
}

impl Connection {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Opened,
            request: None,
            unasked: None,
            untold: None,
            session: None,
            will: None,
            silence: None,
            heard: now,
            alarm: None,
            receiving: None,
            is_ready: false,
            is_paused: false,
            backlog: Vec::new(),
            barred: VecDeque::new(),
            greeted: false,
            head: Vec::new(),
            head_sent: 0,
            body: Bytes::new(),
        }
    }

    /// Queues a packet that is no PUBLISH. It may be sent when the frame `stage` of the journal is durable.
    pub(super) fn push(&mut self, packet: &Packet<'_>, stage: u64) {
        let before = self.backlog.len();
        write(&mut self.backlog, packet);
        let len = self.backlog.len().saturating_sub(before);
        match self.barred.back_mut() {
            Some((last, bytes)) if *last >= stage => *bytes = bytes.saturating_add(len),
            _ => self.barred.push_back((stage, len)),
        }
    }

    /// Whether packets wait until something is durable.
    pub(super) fn is_barred(&self, stage: Stage) -> bool {
        self.barred.back().is_some_and(|(last, _)| *last > stage.durable)
    }

    /// Bytes of the packets queued that may be sent.
    fn free(&mut self, stage: Stage) -> usize {
        let mut free = 0_usize;
        while let Some((_, bytes)) = self.barred.front().filter(|(last, _)| *last <= stage.durable) {
            free = free.saturating_add(*bytes);
            self.barred.pop_front();
        }
        free
    }

    /// Bytes of packets queued.
    pub(super) const fn backlog(&self) -> usize {
        self.backlog.len()
    }

    /// Nothing more of what is being received is wanted.
    pub(super) fn stop_receiving(&mut self) {
        self.receiving = None;
    }

    /// Forgets all that was to be sent or is being received.
    pub(super) fn clear(&mut self) {
        self.stop_receiving();
        self.backlog = Vec::new();
        self.barred = VecDeque::new();
        self.head = Vec::new();
        self.head_sent = 0;
        self.body = Bytes::new();
    }

    /// Fills `out` with the next bytes of the stream and says how many those are. `next` gives the next PUBLISH.
    ///
    /// Packets follow each other without gaps and go out in as many pieces as it takes, so that a payload may be
    /// larger than `out`; nothing stands between its pieces.
    pub(super) fn fill(&mut self, out: &mut [u8], stage: Stage, mut next: impl FnMut() -> Option<Outgoing>) -> usize {
        let mut filled = 0_usize;
        while let Some(room) = out.get_mut(filled..).filter(|room| !room.is_empty()) {
            if !self.has_output(stage, &mut next) {
                break;
            }
            let n = match self.head.get(self.head_sent..).filter(|head| !head.is_empty()) {
                Some(head) => {
                    let n = copy(room, head);
                    self.head_sent = self.head_sent.saturating_add(n);
                    n
                }
                None => {
                    let n = copy(room, &self.body);
                    // `n` is at most its length.
                    drop(self.body.split_to(n));
                    n
                }
            };
            filled = filled.saturating_add(n);
        }
        filled
    }

    /// Whether there is something to be sent; starts on the next packet when the one before has been sent.
    pub(super) fn has_output(&mut self, stage: Stage, next: &mut impl FnMut() -> Option<Outgoing>) -> bool {
        if self.head_sent < self.head.len() || !self.body.is_empty() {
            return true;
        }
        self.head.clear();
        self.head_sent = 0;
        let free = self.free(stage);
        if free != 0 {
            self.greeted = true;
            if free == self.backlog.len() {
                core::mem::swap(&mut self.head, &mut self.backlog);
            } else {
                self.head.extend(self.backlog.drain(..free));
            }
            return true;
        }
        if !self.greeted {
            return false;
        }
        let Some(Outgoing { delivery, id, dup }) = next() else { return false };
        let message = &delivery.message;
        let publish = Publish {
            dup,
            qos: delivery.qos,
            retain: delivery.retain,
            topic: &message.topic,
            id,
            payload_len: u32::try_from(message.payload.len()).unwrap_or(u32::MAX),
        };
        write(&mut self.head, &Packet::Publish(publish));
        self.body = message.payload.clone();
        true
    }

    #[cfg(test)]
    pub(super) fn reserved(&self) -> usize {
        self.receiving.as_ref().map_or(0, Receiving::reserved)
    }
}

fn write(into: &mut Vec<u8>, packet: &Packet<'_>) {
    let start = into.len();
    into.resize(start.saturating_add(packet.encoded_len()), 0);
    if let Some(place) = into.get_mut(start..) {
        packet.encode(&mut Writer::new(place));
    }
}

/// Copies as much as fits.
fn copy(to: &mut [u8], from: &[u8]) -> usize {
    let n = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..n), from.get(..n)) {
        to.copy_from_slice(from);
    }
    n
}
