//! Bytes to the server.

use super::{
    Client, CloseReason, Event, Sending,
    flow::{Link, Step},
};
use crate::{
    Instant, Output,
    mqtt::{
        PacketId,
        packet::{Decoded, Packet, decode_from_server},
    },
    wire::copy,
};

impl Client<'_> {
    /// Whether there is nothing to send or tell.
    pub(super) fn is_quiet(&self) -> bool {
        let silent = self.sending.tag.is_none() && self.closed.is_none() && !self.ping && !self.leaving;
        silent && !self.slots.as_slice().iter().any(|slot| slot.due)
    }

    #[inline(never)]
    pub(super) fn put_out<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, Event<'o>> {
        let mut len = 0_usize;
        // As many packets as fit: one write, one segment.
        while let Some(space) = out.get_mut(len..) {
            match self.write_next(now, space) {
                Ok(0) => break,
                Ok(more) => len = len.saturating_add(more),
                Err(needed) if len == 0 => return Output::BufferTooSmall { needed },
                Err(_) => break,
            }
        }
        if len != 0 {
            self.bytes_out(now);
            return Output::Transmit { peer: self.peer, bytes: out.get(..len).unwrap_or(&[]) };
        }
        if let Some(reason) = self.closed.take() {
            return Output::Event(Event::Closed { reason });
        }
        match self.ask() {
            Some(event) => Output::Event(event),
            None => Output::Timeout(self.next_timeout()),
        }
    }

    /// Writes the next packet, or the next part of one. 0: there is none. `Err`: so much room it takes.
    fn write_next(&mut self, now: Instant, space: &mut [u8]) -> Result<usize, usize> {
        if let Some(tag) = self.sending.tag {
            return self.write_kept(tag, space);
        }
        if self.link != Link::Connected {
            return Ok(0);
        }
        if self.ping {
            write_empty(space, 0xC0)?;
            self.pinged(now);
            return Ok(2);
        }
        if let Some((index, step, id)) = self.next_due() {
            let first = match step {
                Step::PubAck => 0x40,
                Step::PubRec => 0x50,
                Step::PubComp => 0x70,
                Step::Release => 0x62,
                _ => {
                    let streamed = self.slots.get(index).is_some_and(|slot| slot.streamed);
                    let tag = id.map_or(super::TAG_QOS0, |id| id.get().into());
                    if !streamed && let Some(len) = self.write_whole(tag, space) {
                        self.sent(index);
                        return Ok(len);
                    }
                    self.send_kept(tag);
                    if streamed {
                        self.stream_kept(tag);
                    }
                    return self.write_kept(tag, space);
                }
            };
            let [high, low] = id.map_or(0, PacketId::get).to_be_bytes();
            write_small(space, &[first, 2, high, low])?;
            self.sent(index);
            return Ok(4);
        }
        if self.leaving {
            write_empty(space, 0xE0)?;
            self.close(CloseReason::Requested);
            return Ok(2);
        }
        Ok(0)
    }

    /// The first place with something to send: in the order things began, and no acknowledgement before that of an
    /// earlier message (`[MQTT-4.6.0-2]`, `[MQTT-4.6.0-3]`).
    fn next_due(&self) -> Option<(usize, Step, Option<PacketId>)> {
        let (mut held1, mut held2) = (false, false);
        for (index, slot) in self.slots.as_slice().iter().enumerate() {
            match slot.step {
                Step::Held1 => held1 = true,
                Step::Held2 => held2 = true,
                Step::PubAck if held1 => {}
                Step::PubRec if held2 => {}
                _ if slot.due => return Some((index, slot.step, slot.id)),
                _ => {}
            }
        }
        None
    }

    /// Begins to send a kept packet.
    pub(super) fn send_kept(&mut self, tag: u32) {
        let header = self.arena.get(tag).map_or(0, <[u8]>::len);
        self.sending = Sending { tag: Some(tag), header, ..Sending::default() };
    }

    /// It is a header and a window.
    fn stream_kept(&mut self, tag: u32) {
        if let Some(Ok(Decoded::Packet { packet: Packet::Publish(publish), len })) =
            self.arena.get(tag).map(|packet| decode_from_server(packet, u32::MAX))
        {
            self.sending.header = len;
            self.sending.total = publish.payload_len;
        }
    }

    /// Writes a kept packet at once, if there is room for it. How long it is.
    fn write_whole(&self, tag: u32, space: &mut [u8]) -> Option<usize> {
        let packet = self.arena.get(tag)?;
        copy(space.get_mut(..packet.len())?, packet);
        Some(packet.len())
    }

    fn write_kept(&mut self, tag: u32, space: &mut [u8]) -> Result<usize, usize> {
        let Sending { sent, header, filled, .. } = self.sending;
        let end = header.saturating_add(filled);
        let rest = self.arena.get(tag).and_then(|packet| packet.get(sent..end)).unwrap_or(&[]);
        let len = rest.len().min(space.len());
        copy(space, rest);
        if len < rest.len() {
            self.sending.sent = sent.saturating_add(len);
            return if len == 0 { Err(1) } else { Ok(len) };
        }
        // All that is there is out.
        if self.sending.taken < self.sending.total {
            self.sending.sent = header;
            self.sending.filled = 0;
        } else {
            self.kept_sent(tag);
        }
        Ok(len)
    }

    /// Whether the window is empty and more is to go into it.
    fn wants_payload(&self) -> bool {
        let Sending { tag, sent, header, filled, taken, total, .. } = self.sending;
        tag.is_some() && sent == header && filled == 0 && taken < total
    }

    /// Room in the window for payload that is to come.
    fn window(&self) -> usize {
        let kept = self.sending.tag.and_then(|tag| self.arena.get(tag)).map_or(0, <[u8]>::len);
        let left = usize::try_from(self.sending.total.saturating_sub(self.sending.taken)).unwrap_or(usize::MAX);
        kept.saturating_sub(self.sending.header).min(left)
    }

    /// Asks for payload, once for each window.
    fn ask(&mut self) -> Option<Event<'static>> {
        if self.sending.asked || !self.wants_payload() {
            return None;
        }
        self.sending.asked = true;
        let id = self.sending.tag.and_then(|tag| u16::try_from(tag).ok()).and_then(PacketId::new);
        let len = u32::try_from(self.window()).unwrap_or(u32::MAX);
        Some(Event::PayloadWanted { id, offset: self.sending.taken, len })
    }

    /// Payload that was asked for. How much of it was taken; `None` if none was asked for.
    pub(super) fn fill_window(&mut self, bytes: &[u8]) -> Option<usize> {
        if !self.sending.asked {
            return None;
        }
        let len = self.window().min(bytes.len());
        let from = bytes.get(..len)?;
        let header = self.sending.header;
        let packet = self.sending.tag.and_then(|tag| self.arena.get_mut(tag))?;
        copy(packet.get_mut(header..)?, from);
        if len != 0 {
            self.sending.asked = false;
            self.sending.filled = len;
            self.sending.taken = self.sending.taken.saturating_add(u32::try_from(len).ok()?);
        }
        Some(len)
    }
}

/// Writes a packet that is nothing but its fixed header. Byte by byte: as a constant of two bytes the compiler takes it for
/// C text, and every image would have all the texts there are.
fn write_empty(space: &mut [u8], packet: u8) -> Result<(), usize> {
    let [first, second, ..] = space else { return Err(2) };
    *first = packet;
    *second = 0;
    Ok(())
}

fn write_small(space: &mut [u8], packet: &[u8]) -> Result<(), usize> {
    copy(space.get_mut(..packet.len()).ok_or(packet.len())?, packet);
    Ok(())
}
