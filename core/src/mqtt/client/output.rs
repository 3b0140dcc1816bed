//! Bytes to the server.

use super::{
    Client, Due, Event, InFlight, Sending,
    flow::{Link, Step},
    input::{id_len, remaining_length},
    raw::{Told, What},
    slots::NOWHERE,
};
use crate::{
    Output,
    mqtt::PacketId,
    wire::{Reader, copy},
};

const PINGREQ: u8 = 0xC0;
const DISCONNECT: u8 = 0xE0;

impl Client<'_> {
    /// Whether there is nothing to send or to tell, as most calls find.
    pub(super) fn is_quiet(&self) -> bool {
        !cfg!(feature = "opt-size") && !self.due
    }

    /// [`Client::poll_output`], where there is something.
    #[inline(never)]
    pub(super) fn put_out_some<'o>(&mut self, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        match self.packet_out(out) {
            Some(len) => Output::Transmit { peer: self.peer, bytes: out.get(..len).unwrap_or(&[]) },
            None => self.put_out_any(out),
        }
    }

    /// Likewise, the long way.
    #[cfg_attr(not(feature = "opt-size"), inline(never))]
    fn put_out_any<'o>(&mut self, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        let mut told = Told::default();
        let len = self.put_out(out, &mut told);
        if len != 0 {
            return Output::Transmit { peer: self.peer, bytes: out.get(..len).unwrap_or(&[]) };
        }
        match told.event() {
            Some(event) => Output::Event(event),
            None if told.needed != 0 => Output::BufferTooSmall { needed: told.needed },
            None => Output::Timeout(self.next_timeout()),
        }
    }

    /// The short way of what leaves most often: a whole PUBLISH or PUBREL, and nothing else. `None`:
    /// it takes the long way, on which firmware, for less code, has everything.
    #[inline]
    fn packet_out(&mut self, out: &mut [u8]) -> Option<usize> {
        if cfg!(feature = "opt-size") || self.link != Link::Connected || self.ping || self.leaving {
            return None;
        }
        let (mut found, mut start, mut end) = (None, 0_usize, 0_usize);
        for (index, slot) in self.slots.as_slice().iter().enumerate() {
            if slot.due != Due::No {
                if found.is_some() || slot.due != Due::Yes || slot.more != 0 || !slot.step.is_ours() {
                    return None;
                }
                found = Some((index, *slot));
                start = end;
            }
            end = end.wrapping_add(slot.len());
        }
        let (index, slot) = found?;
        let len = if slot.step.is_kept() {
            let packet = self.slots.memory.get(start..)?.get(..slot.len())?;
            copy(out.get_mut(..packet.len())?, packet);
            packet.len()
        } else {
            let [high, low] = slot.id?.get().to_be_bytes();
            *out.first_chunk_mut()? = [slot.step as u8, 2, high, low];
            4
        };
        self.sent(index);
        self.due = false;
        self.bytes_out();
        Some(len)
    }

    /// See [`Client::poll_output_raw`].
    pub(super) fn put_out(&mut self, out: &mut [u8], told: &mut Told<'_>) -> usize {
        let mut len = 0_usize;
        // As many packets as fit: one write, one segment.
        while let Some(space) = out.get_mut(len..) {
            match self.write_next(space, len == 0, told) {
                0 => break,
                more => len = len.wrapping_add(more),
            }
            if self.is_quiet() {
                break;
            }
        }
        if len != 0 {
            self.bytes_out();
        } else if self.link != Link::Closed && self.is_closed() {
            told.what.kind = What::CLOSED;
            told.what.code = (self.link as u8).wrapping_sub(1);
            self.link = Link::Closed;
        } else if !cfg!(feature = "opt-size") && told.needed == 0 && self.sending.taken == self.sending.total {
            self.due = false;
        }
        len
    }

    /// Writes the next packet, or the next part of one. 0: there is none, or it takes the room that `told` names, or, if it may
    /// `ask`, `told` asks for payload.
    #[inline]
    fn write_next(&mut self, space: &mut [u8], ask: bool, told: &mut Told<'_>) -> usize {
        let (mut start, mut index) = (self.slots.memory.len().wrapping_sub(self.reserve), NOWHERE);
        if self.link == Link::Greeting {
            self.sending.end = self.reserve;
        } else if self.link == Link::Connected {
            index = self.next_due();
            let (mut first, mut id, mut more, mut due) = (DISCONNECT, None, 0, Due::No);
            if let Some(slot) = self.slots.get(index) {
                (first, id, more, due) = (slot.step as u8, slot.id, slot.more, slot.due);
            }
            if self.ping && !due.has_begun() {
                first = PINGREQ;
            } else if first == DISCONNECT && !self.leaving {
                return 0;
            }
            if first >= Step::PubAck as u8 {
                return self.write_short(index, first, id, space, told);
            }
            let len;
            (start, len) = self.slots.span(index);
            if due == Due::Yes {
                // A whole packet leaves at once; firmware has less code without this short way.
                if !cfg!(feature = "opt-size")
                    && more == 0
                    && let Some(space) = space.get_mut(..len)
                {
                    copy(space, self.slots.memory.get(start..).unwrap_or(&[]));
                    self.sent(index);
                    return len;
                }
                self.sending = Sending { end: len, ..Sending::default() };
                if more != 0 {
                    self.go_on_with(index, told);
                }
            }
        } else {
            return 0;
        }
        let Sending { sent, end, .. } = self.sending;
        let Some(packet) = self.slots.memory.get(start.wrapping_add(sent)..start.wrapping_add(end)) else { return 0 };
        let len = copy(space, packet);
        let sent = sent.wrapping_add(len);
        self.sending.sent = sent;
        if sent != end || self.sending.taken != self.sending.total {
            self.stir();
            if len == 0 && sent != end {
                told.needed = 1;
            } else if len == 0 && ask {
                self.go_on_with(index, told);
            } else if let Some(place @ &mut InFlight { due: Due::Yes, .. }) = self.slots.get_mut(index) {
                place.due = Due::Begun;
            }
        } else if index == NOWHERE {
            self.link = Link::Connecting;
        } else {
            self.sent(index);
        }
        len
    }

    /// A message that is streamed.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn go_on_with(&mut self, index: usize, told: &mut Told<'_>) {
        if let Some(stream) = self.stream {
            stream(self, index, told);
        }
    }

    /// Writes a packet that is not kept.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn write_short(
        &mut self,
        index: usize,
        first: u8,
        id: Option<PacketId>,
        space: &mut [u8],
        told: &mut Told<'_>,
    ) -> usize {
        let rest = if first < PINGREQ { 2 } else { 0 };
        let len = usize::from(rest).wrapping_add(2);
        let Some(space) = space.get_mut(..len) else {
            told.needed = len;
            self.stir();
            return 0;
        };
        let [high, low] = id.map_or(0, PacketId::get).to_be_bytes();
        // (Put together in a register.)
        let packet = u32::from_le_bytes([first, rest, high, low]);
        copy(space, &packet.to_le_bytes());
        match first {
            PINGREQ => self.pinged(),
            DISCONNECT => self.close(Link::Requested),
            _ => self.sent(index),
        }
        len
    }

    /// The place with something to send: the one begun, or the first in the order things began, and no acknowledgement
    /// before that of an earlier message (`[MQTT-4.6.0-2]`, `[MQTT-4.6.0-3]`). [`NOWHERE`]: there is none.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn next_due(&mut self) -> usize {
        let (mut held1, mut held2, mut first, mut more) = (false, false, NOWHERE, false);
        if self.is_quiet() {
            return first;
        }
        for (index, slot) in self.slots.as_slice().iter().enumerate() {
            match slot.step {
                Step::Held1 => held1 = true,
                Step::Held2 => held2 = true,
                Step::PubAck if held1 => {}
                Step::PubRec if held2 => {}
                _ if slot.due == Due::No => {}
                _ if slot.due.has_begun() => return index,
                _ => {
                    more = first != NOWHERE;
                    first = first.min(index);
                }
            }
        }
        if !cfg!(feature = "opt-size") {
            self.due = more || self.ping || self.leaving;
        }
        first
    }

    /// Where the window of a message that is streamed begins, and how many bytes of payload are to go into it.
    fn window(&mut self, index: usize) -> Option<(usize, usize)> {
        let packet = self.slots.packet(index);
        let first = *packet.first()?;
        let (len, remaining) = remaining_length(packet);
        let mut reader = Reader::new(packet.get(len..)?);
        let variable = id_len(first).wrapping_add(reader.u16()?.into());
        reader.take(variable)?;
        let payload = remaining.wrapping_sub(variable).wrapping_sub(2);
        self.sending.total = u32::try_from(payload).unwrap_or(0);
        let left = self.sending.total.wrapping_sub(self.sending.taken);
        let window = reader.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        Some((packet.len().wrapping_sub(reader.len()), window))
    }

    /// Payload that was asked for. How much of it was taken; `None` if none was asked for.
    pub(super) fn fill_window(&mut self, bytes: &[u8]) -> Option<usize> {
        let index = self.slots.as_slice().iter().position(|slot| slot.due == Due::Asked)?;
        let (header, window) = self.window(index)?;
        let len = window.min(bytes.len());
        if len != 0 {
            copy(self.slots.packet_mut(index).get_mut(header..)?, bytes.get(..len)?);
            self.slots.get_mut(index)?.due = Due::Begun;
            self.sending.sent = header;
            self.sending.end = header.wrapping_add(len);
            self.sending.taken = self.sending.taken.wrapping_add(u32::try_from(len).unwrap_or(0));
        }
        Some(len)
    }
}

/// Begins the message at `index`, of which a header and a window are kept; or asks for payload, once for each window. Linked
/// with `publish_streamed` and `import` only.
pub(super) fn stream(client: &mut Client<'_>, index: usize, told: &mut Told<'_>) {
    if !client.slots.get(index).is_some_and(InFlight::is_streamed) {
        return;
    }
    let Some((header, window)) = client.window(index) else { return };
    let Some(place) = client.slots.get_mut(index) else { return };
    match place.due {
        Due::Yes => client.sending.end = header,
        Due::Begun if client.sending.sent == client.sending.end => {
            place.due = Due::Asked;
            told.what.kind = What::PAYLOAD_WANTED;
            told.what.id = place.id.map_or(0, PacketId::get);
            told.what.len = u32::try_from(window).unwrap_or(u32::MAX);
            told.what.offset = client.sending.taken;
        }
        _ => {}
    }
}
