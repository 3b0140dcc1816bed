//! The one place where an endpoint's messages are written: kept options and the endpoint's own, merged in order.

use super::{
    block::Block,
    code::Code,
    endpoint::{Endpoint, tag},
    event::ETag,
    exchange::Phase,
    flight::Flight,
    message::{Encoder, Message, Token, Type},
    option::{self, Opt, Uint},
};
use crate::error::Misuse;

/// What a message has besides the options it is based on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outline<'p> {
    pub(super) ty: Type,
    pub(super) code: Code,
    pub(super) mid: u16,
    pub(super) token: Token,
    pub(super) etag: Option<ETag>,
    pub(super) observe: Option<u32>,
    pub(super) block2: Option<Block>,
    pub(super) block1: Option<Block>,
    pub(super) size2: Option<u32>,
    pub(super) size1: Option<u32>,
    pub(super) echo: Option<&'p [u8]>,
    pub(super) payload: &'p [u8],
}

impl Outline<'_> {
    /// A message with nothing but its header.
    pub(super) const fn new(ty: Type, code: Code, mid: u16, token: Token) -> Self {
        Self {
            ty,
            code,
            mid,
            token,
            etag: None,
            observe: None,
            block2: None,
            block1: None,
            size2: None,
            size1: None,
            echo: None,
            payload: &[],
        }
    }

    /// Bytes of the message with these options.
    pub(super) fn len(&self, options: &[Opt<'_>]) -> usize {
        match self.write(&mut [], &mut options.iter().copied()) {
            Ok(bytes) => bytes.len(),
            Err(needed) => needed,
        }
    }

    /// Writes the message: `base` and the outline's own options in order.
    pub(super) fn write<'o, 'b>(
        &self,
        buf: &'o mut [u8],
        base: &mut dyn Iterator<Item = Opt<'b>>,
    ) -> Result<&'o [u8], usize> {
        let mut encoder = Encoder::new(buf, self.ty, self.code, self.mid, &self.token);
        let mut next = base.next();
        let own = [
            (option::ETAG, None),
            (option::OBSERVE, self.observe),
            (option::BLOCK2, self.block2.map(Block::encode)),
            (option::BLOCK1, self.block1.map(Block::encode)),
            (option::SIZE2, self.size2),
            (option::SIZE1, self.size1),
            (option::ECHO, None),
            (u16::MAX, None),
        ];
        for (number, value) in own {
            while let Some(option) = next.filter(|o| o.number <= number) {
                // In order, having been checked or written in order before.
                let _ = encoder.option(option.number, option.value);
                next = base.next();
            }
            let uint = Uint::new(value.unwrap_or(0));
            let value = match (number, &self.etag) {
                (option::ETAG, Some(etag)) => Some(etag.as_bytes()),
                (option::ECHO, _) => self.echo,
                _ => value.map(|_| uint.as_bytes()),
            };
            if let Some(value) = value {
                let _ = encoder.option(number, value);
            }
        }
        encoder.payload(self.payload);
        encoder.finish()
    }
}

/// Checks options of the host's: in order, of lengths that the standard allows, none twice that may be there once, and none
/// that the endpoint writes itself. [RFC7252-5.4.5-1] [RFC7959-2.1-2] [RFC7959-4-3]
pub(super) fn check(options: &[Opt<'_>]) -> Result<(), Misuse> {
    let mut last = 0;
    for o in options {
        let own = matches!(o.number, option::OBSERVE | option::BLOCK1 | option::BLOCK2 | option::SIZE1 | option::SIZE2);
        let long = o.value.len() > 1034;
        let again = o.number == last && option::occurs_once(o.number);
        // §5.10.7: as in Uri-Path, dot segments have been resolved. [RFC7252-5.10.7-2]
        let dots = o.number == option::LOCATION_PATH && matches!(o.value, b"." | b"..");
        if own || long || again || dots || o.number < last || !option::is_length_valid(o.number, o.value.len()) {
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
    /// Writes the message of a transfer's flight: the kept request with what this flight has of its own.
    pub(super) fn write_request(&self, out: &mut [u8], flight: &Flight, transfer: usize) -> Result<usize, usize> {
        let Some(t) = self.transfers.get(transfer) else { return Ok(0) };
        let Some(Ok(kept)) = self.arena.get(tag::REQUEST.of(transfer)).map(Message::decode) else { return Ok(0) };
        let ty = if flight.confirmable { Type::Confirmable } else { Type::NonConfirmable };
        let token = Token::new(&flight.token.to_be_bytes()).unwrap_or(Token::EMPTY);
        // [RFC7959-2.3-5] [RFC7641-3.3.1-2] [RFC7641-3.6-1]
        let mut outline = Outline::new(ty, kept.code, flight.mid, token);
        outline.echo = self.arena.get(tag::ECHO.of(transfer)).and_then(|kept| kept.get(1..));
        match t.phase() {
            Phase::Leaving => outline.observe = Some(1),
            Phase::Sending => {
                let (offset, len) = t.body_block();
                outline.payload = if t.streamed {
                    self.arena.get(tag::BODY.of(transfer)).unwrap_or(&[])
                } else {
                    let start = usize::try_from(offset).unwrap_or(usize::MAX);
                    let end = start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
                    kept.payload.get(start..end).unwrap_or(&[])
                };
                let more = offset.saturating_add(len) < t.body;
                if more || offset != 0 {
                    outline.block1 = Some(Block::at(offset, more, t.szx1));
                    outline.size1 = (offset == 0).then_some(t.body);
                }
                if !more && t.szx < Block::MAX_SZX {
                    outline.block2 = Some(Block::at(0, false, t.szx));
                }
            }
            // [RFC7959-2.2-1] [RFC7959-2.3-3] [RFC7959-2.4-1]
            _ if flight.offset != 0 || t.szx < Block::MAX_SZX => {
                outline.block2 = Some(Block::at(flight.offset, false, t.szx));
            }
            _ => {}
        }
        if t.asks_size() {
            // RFC 7959 §4: how far the window may reach.
            outline.size2 = Some(0);
        }
        if t.register && flight.token == t.token {
            outline.observe = Some(0);
            // Registered again: the version that is already here need not come again.
            outline.etag = ETag::of(t.etag).filter(|_| t.observed && t.ended);
        }
        // RFC 7959 §2.10: what the first block has made would make the condition fail. [RFC7959-2.10-1]
        let later = outline.block1.is_some_and(|b| b.num != 0);
        let mut base = kept.options.filter(|o| !(later && o.number == option::IF_NONE_MATCH));
        outline.write(out, &mut base).map(<[u8]>::len)
    }
}
