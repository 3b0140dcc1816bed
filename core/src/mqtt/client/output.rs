//! Bytes to the server.

use super::{
    Client, CloseReason, Due, InFlight, Sending,
    flow::{Cause, Link, Step},
    input::{id_len, remaining_length},
    raw::{Kind, Told},
};
use crate::{
    Instant,
    wire::{Reader, copy},
};

impl Client<'_> {
    /// See [`Client::poll_output_raw`].
    pub(super) fn put_out(&mut self, now: Instant, out: &mut [u8], told: &mut Told<'_>) -> usize {
        let mut len = 0_usize;
        // As many packets as fit: one write, one segment.
        while let Some(space) = out.get_mut(len..) {
            match self.write_next(now, space, told) {
                0 => break,
                more => len = len.wrapping_add(more),
            }
        }
        if len != 0 {
            self.bytes_out(now);
        } else if let Some(reason) = self.closed.take() {
            told.kind = Kind::Closed;
            told.code = reason as u8;
        } else {
            self.ask(told);
        }
        len
    }

    /// Writes the next packet, or the next part of one. 0: there is none, or it takes the room that `told` names.
    fn write_next(&mut self, now: Instant, space: &mut [u8], told: &mut Told<'_>) -> usize {
        let due = match self.link {
            Link::Greeting => {
                let start = self.slots.memory.len().saturating_sub(self.reserve);
                let len = self.write_part(start, self.reserve, space, told);
                if self.sending.sent == self.reserve {
                    self.sending = Sending::default();
                    self.link = Link::Connecting;
                }
                return len;
            }
            Link::Connected => self.next_due(),
            _ => return 0,
        };
        let slot = due.and_then(|index| self.slots.get(index));
        let begun = slot.is_some_and(|slot| slot.due.has_begun());
        let (packet, len) = match (due, slot) {
            _ if self.ping && !begun => ([0xC0, 0, 0, 0], 2),
            (Some(index), Some(slot)) => {
                let first = match slot.step {
                    Step::PubAck => 0x40,
                    Step::PubRec => 0x50,
                    Step::PubComp => 0x70,
                    Step::Release => 0x62,
                    _ => return self.write_kept(index, space, told),
                };
                let [high, low] = slot.id.map_or(0, |id| id.get()).to_be_bytes();
                ([first, 2, high, low], 4)
            }
            _ if self.leaving => ([0xE0, 0, 0, 0], 2),
            _ => return 0,
        };
        let Some(space) = space.get_mut(..len) else {
            told.needed = len;
            return 0;
        };
        copy(space, &packet);
        match (packet, due) {
            ([0xC0, ..], _) => self.pinged(now),
            (_, Some(index)) => drop(self.apply(index, Cause::Sent)),
            _ => self.close(CloseReason::Requested),
        }
        len
    }

    /// The place with something to send: the one begun, or the first in the order things began, and no acknowledgement
    /// before that of an earlier message (`[MQTT-4.6.0-2]`, `[MQTT-4.6.0-3]`).
    fn next_due(&self) -> Option<usize> {
        let (mut held1, mut held2, mut first) = (false, false, None);
        for (index, slot) in self.slots.as_slice().iter().enumerate() {
            match slot.step {
                Step::Held1 => held1 = true,
                Step::Held2 => held2 = true,
                Step::PubAck if held1 => {}
                Step::PubRec if held2 => {}
                _ if slot.due.has_begun() => return Some(index),
                _ if slot.due == Due::Yes && first.is_none() => first = Some(index),
                _ => {}
            }
        }
        first
    }

    /// Writes what is to be sent of a kept packet now.
    fn write_kept(&mut self, index: usize, space: &mut [u8], told: &mut Told<'_>) -> usize {
        let Some(slot) = self.slots.get(index) else { return 0 };
        let (start, len) = self.slots.span(index);
        if slot.due == Due::Yes {
            self.sending = Sending { end: len, ..Sending::default() };
            if slot.streamed {
                self.begin_stream(index);
            }
        }
        let written = self.write_part(start, self.sending.end, space, told);
        if self.sending.sent == self.sending.end && self.sending.taken == self.sending.total {
            let _ = self.apply(index, Cause::Sent);
        } else if written != 0
            && let Some(place) = self.slots.get_mut(index)
        {
            place.due = Due::Begun;
        }
        written
    }

    /// Writes what fits of the packet at `start`, of which `end` bytes are to be sent.
    fn write_part(&mut self, start: usize, end: usize, space: &mut [u8], told: &mut Told<'_>) -> usize {
        let sent = self.sending.sent;
        let packet = self.slots.memory.get(start..).and_then(|bytes| bytes.get(sent..end)).unwrap_or(&[]);
        let len = packet.len().min(space.len());
        copy(space, packet);
        self.sending.sent = sent.wrapping_add(len);
        if space.is_empty() && !packet.is_empty() {
            told.needed = 1;
        }
        len
    }

    /// It is a header and a window.
    fn begin_stream(&mut self, index: usize) {
        let packet = self.slots.packet(index);
        let mut reader = Reader::new(packet);
        let first = reader.u8().unwrap_or(0);
        if let Ok(Some(remaining)) = remaining_length(&mut reader)
            && let Some(topic_len) = reader.u16()
        {
            let variable = usize::from(topic_len).wrapping_add(id_len(first));
            let header = packet.len().wrapping_sub(reader.len()).wrapping_add(variable);
            (self.sending.end, self.sending.header) = (header, header);
            self.sending.total = u32::try_from(remaining.wrapping_sub(variable).wrapping_sub(2)).unwrap_or(0);
        }
    }

    /// The message whose window is empty, its place in the table, and how many bytes are to go into the window.
    fn window_wanted(&mut self) -> Option<(usize, &mut InFlight, usize)> {
        let Sending { sent, end, header, taken, total } = self.sending;
        if sent != end || taken == total {
            return None;
        }
        let index = self.slots.as_slice().iter().position(|slot| slot.due.has_begun())?;
        let slot = self.slots.get_mut(index)?;
        let left = usize::try_from(total.wrapping_sub(taken)).unwrap_or(usize::MAX);
        let window = slot.len().wrapping_sub(header).min(left);
        Some((index, slot, window))
    }

    /// Asks for payload, once for each window.
    fn ask(&mut self, told: &mut Told<'_>) {
        if let Some((_, slot, len)) = self.window_wanted()
            && slot.due == Due::Begun
        {
            slot.due = Due::Asked;
            told.kind = Kind::PayloadWanted;
            told.id = slot.id;
            told.len = u32::try_from(len).unwrap_or(u32::MAX);
            told.offset = self.sending.taken;
        }
    }

    /// Payload that was asked for. How much of it was taken; `None` if none was asked for.
    pub(super) fn fill_window(&mut self, bytes: &[u8]) -> Option<usize> {
        let (index, slot, window) = self.window_wanted()?;
        if slot.due != Due::Asked {
            return None;
        }
        let len = window.min(bytes.len());
        if len != 0 {
            slot.due = Due::Begun;
            let header = self.sending.header;
            copy(self.slots.packet_mut(index).get_mut(header..)?, bytes.get(..len)?);
            self.sending.sent = header;
            self.sending.end = header.wrapping_add(len);
            self.sending.taken = self.sending.taken.wrapping_add(u32::try_from(len).unwrap_or(0));
        }
        Some(len)
    }
}
