//! The one place where an endpoint's messages are written: kept options and the endpoint's own, merged in order.

use super::{
    Violation,
    block::{Bits, Block},
    code::Code,
    endpoint::{Endpoint, packet, tag},
    event::Body,
    exchange::{Phase, flag},
    flight::Flight,
    message::{Encoder, Message, Token, Type},
    option::{self, Opt, Options},
};
use crate::error::Misuse;

/// What a message has besides the options it is based on.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Outline<'p> {
    pub(super) ty: Type,
    pub(super) code: Code,
    pub(super) mid: u16,
    token: &'p Token,
    /// The options that it is based on.
    pub(super) base: Base<'p>,
    /// Empty: none.
    etag: &'p [u8],
    /// Options that are unsigned integers, as in [`NUMBERS`]: 1 more than each has, 0 where there is none.
    uints: [u32; NUMBERS.len()],
    /// Empty: none.
    pub(super) echo: &'p [u8],
    pub(super) payload: &'p [u8],
}

/// The options that an [`Outline`] may have, in order, and what is behind all.
static NUMBERS: [u16; 8] = [
    option::ETAG,
    option::OBSERVE,
    option::BLOCK2,
    option::BLOCK1,
    option::SIZE2,
    option::SIZE1,
    option::ECHO,
    u16::MAX,
];

/// Where those of them stand there that are unsigned integers.
pub(super) mod own {
    pub(in super::super) const OBSERVE: usize = 1;
    pub(in super::super) const BLOCK2: usize = 2;
    pub(in super::super) const BLOCK1: usize = 3;
    pub(in super::super) const SIZE2: usize = 4;
    pub(in super::super) const SIZE1: usize = 5;
}

/// The options that a message is based on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base<'b> {
    /// Of the host's, in order.
    pub(super) listed: &'b [Opt<'b>],
    /// Of a message that is kept.
    pub(super) kept: Options<'b>,
    /// But for those with this number.
    pub(super) without: u16,
}

impl Base<'_> {
    /// None. What is kept never has Block2, which is written by itself: all that is stays.
    const EMPTY: Self = Self { listed: &[], kept: Options::EMPTY, without: option::BLOCK2 };
}

impl<'b> Iterator for Base<'b> {
    type Item = Opt<'b>;

    #[cfg_attr(feature = "opt-size", inline(never))]
    fn next(&mut self) -> Option<Opt<'b>> {
        if let Some((first, rest)) = self.listed.split_first() {
            self.listed = rest;
            return Some(*first);
        }
        let without = self.without;
        self.kept.find(|option| option.number != without)
    }
}

impl<'p> Outline<'p> {
    /// A message with nothing but its header, based on no options.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) const fn new(ty: Type, code: Code, mid: u16, token: &'p Token) -> Self {
        Self { ty, code, mid, token, base: Base::EMPTY, etag: &[], uints: [0; NUMBERS.len()], echo: &[], payload: &[] }
    }

    /// Gives it one of the options in [`own`], or none. (A size of `u32::MAX` is none: no block reaches its end.)
    #[inline(always)]
    pub(super) fn uint(&mut self, own: usize, value: Option<u32>) {
        if let Some(place) = self.uints.get_mut(own) {
            *place = value.map_or(0, |value| value.wrapping_add(1));
        }
    }

    /// Its payload is what goes out of a body from `offset` on, nothing where that is past its end: the length of all of it.
    /// `None`: what is given does not hold that.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn cut(&mut self, body: &Body<'p>, offset: u32, size: u32) -> Option<u32> {
        let (start, bytes, total) = match *body {
            Body::Whole(bytes) => (0, bytes, u32::try_from(bytes.len()).ok()?),
            Body::Part { offset, bytes, total } => (offset, bytes, total),
        };
        if offset == 0 || offset < total {
            let len = total.saturating_sub(offset).min(size);
            let from = usize::try_from(offset.checked_sub(start)?).ok()?;
            let to = from.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
            self.payload = bytes.get(from..to)?;
        }
        Some(total)
    }

    /// Bytes of the message.
    pub(super) fn len(&self) -> usize {
        let (Ok(len) | Err(len)) = self.write(&mut []);
        len
    }

    /// Writes the message: the options it is based on and its own in order. Its length, or what it takes.
    pub(super) fn write(&self, buf: &mut [u8]) -> Result<usize, usize> {
        let mut base = self.base;
        let mut encoder = Encoder::new(buf, self.ty, self.code, self.mid, self.token);
        let mut next = base.next();
        for (number, uint) in NUMBERS.iter().zip(&self.uints) {
            while let Some(option) = next.filter(|o| o.number <= *number) {
                // In order, having been checked or written in order before.
                let _ = encoder.option(option.number, option.value);
                next = base.next();
            }
            let bytes = match *number {
                option::ETAG => self.etag,
                option::ECHO => self.echo,
                _ => {
                    if let Some(value) = uint.checked_sub(1) {
                        let _ = encoder.uint(*number, value);
                    }
                    continue;
                }
            };
            if !bytes.is_empty() {
                let _ = encoder.option(*number, bytes);
            }
        }
        encoder.payload(self.payload);
        encoder.finish().map(<[u8]>::len)
    }
}

/// Checks options of the host's: in order, of lengths that the standard allows, none twice that may be there once, and none
/// that the endpoint writes itself.
pub(super) fn check(options: &[Opt<'_>]) -> Result<(), Misuse> {
    let mut last = 0;
    for o in options {
        // §5.10.7: as in Uri-Path, dot segments have been resolved. [RFC7252-5.10.7-2]
        let dots = o.number == option::LOCATION_PATH && matches!(o.value, b"." | b"..");
        if o.number < last || o.value.len() > 1034 || dots || !option::may_send(o, last) {
            return Err(Misuse::InvalidOption);
        }
        last = o.number;
    }
    Ok(())
}

/// [`check`] for a response, which has one ETag at most. [RFC7252-5.10.6.1-1]
pub(super) fn check_reply(options: &[Opt<'_>]) -> Result<(), Misuse> {
    let tags = options.iter().filter(|o| o.number == option::ETAG).count();
    if tags > 1 { Err(Misuse::InvalidOption) } else { check(options) }
}

impl Endpoint<'_> {
    /// A message in the arena; none where it is not there.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn kept(&self, tag: u32) -> Result<Message<'_>, Violation> {
        Message::decode(packet(&self.arena, tag))
    }

    /// Writes the message of a transfer's flight: the kept request with what this flight has of its own.
    pub(super) fn write_request(&self, out: &mut [u8], flight: &Flight) -> Result<usize, usize> {
        let transfer = usize::from(flight.of);
        let Some(t) = self.transfers.get(transfer) else { return Ok(0) };
        let Ok(kept) = self.kept(tag::REQUEST.of(transfer)) else { return Ok(0) };
        let ty = if flight.confirmable { Type::Confirmable } else { Type::NonConfirmable };
        let token = Token::new(&flight.token.to_be_bytes()).unwrap_or(Token::EMPTY);
        // [RFC7959-2.3-5] [RFC7641-3.3.1-2] [RFC7641-3.6-1]
        let mut outline = Outline::new(ty, kept.code, flight.mid, &token);
        outline.base.kept = kept.options;
        outline.echo = packet(&self.arena, tag::ECHO.of(transfer)).get(1..).unwrap_or(&[]);
        match t.phase() {
            Phase::Leaving => outline.uint(own::OBSERVE, Some(1)),
            Phase::Sending => {
                let (offset, len) = (flight.offset, t.body_len(flight.offset));
                outline.payload = if t.is(flag::STREAMED) {
                    packet(&self.arena, tag::BODY.of(transfer))
                } else {
                    let start = usize::try_from(offset).unwrap_or(usize::MAX);
                    let end = start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
                    kept.payload.get(start..end).unwrap_or(&[])
                };
                if offset != 0 {
                    // RFC 7959 §2.10: what the first block has made would make the condition fail. [RFC7959-2.10-1]
                    outline.base.without = option::IF_NONE_MATCH;
                }
                let more = offset.saturating_add(len) < t.body;
                if more || offset != 0 {
                    outline.uint(own::BLOCK1, Some(Bits::at(offset, more, t.szx1).get()));
                    outline.uint(own::SIZE1, (offset == 0).then_some(t.body));
                }
                if !more && t.szx < Block::MAX_SZX {
                    outline.uint(own::BLOCK2, Some(Bits::at(0, false, t.szx).get()));
                }
            }
            // [RFC7959-2.2-1] [RFC7959-2.3-3] [RFC7959-2.4-1]
            _ if flight.offset != 0 || t.szx < Block::MAX_SZX => {
                outline.uint(own::BLOCK2, Some(Bits::at(flight.offset, false, t.szx).get()));
            }
            _ => {}
        }
        if t.asks_size() {
            // RFC 7959 §4: how far the window may reach.
            outline.uint(own::SIZE2, Some(0));
        }
        if t.is(flag::REGISTER) && flight.token == t.token {
            outline.uint(own::OBSERVE, Some(0));
            // Registered again: the version that is already here need not come again.
            if t.is(flag::OBSERVED) && t.is(flag::ENDED) {
                outline.etag = t.etag.as_bytes();
            }
        }
        outline.write(out)
    }
}
