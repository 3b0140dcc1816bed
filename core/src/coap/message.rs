//! One message and its form on the wire (RFC 7252 §3).

use super::{
    Violation,
    code::Code,
    option::{self, Options},
};
use crate::{
    error::Misuse,
    wire::{WORDS, Writer, copy},
};
use core::array;

/// How a message is to be handled by the message layer (RFC 7252 §4.2, §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Type {
    /// CON: sent again until it is acknowledged or reset.
    Confirmable = 0,
    /// NON: sent once.
    NonConfirmable = 1,
    /// ACK: a confirmable message arrived; may carry the response.
    Acknowledgement = 2,
    /// RST: a message arrived that nothing can be done with.
    Reset = 3,
}

impl Type {
    /// From its number on the wire, 0 to 3.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Confirmable),
            1 => Some(Self::NonConfirmable),
            2 => Some(Self::Acknowledgement),
            3 => Some(Self::Reset),
            _ => None,
        }
    }
}

/// What ties a response to its request: 0 to 8 bytes of the client's choosing (RFC 7252 §5.3.1).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Token {
    bytes: [u8; 8],
    len: u8,
}

impl Token {
    /// The zero-length token.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; 8] };

    /// Of these bytes; `None` past eight.
    #[must_use]
    #[cfg_attr(target_pointer_width = "64", inline)]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if WORDS {
            return (bytes.len() <= 8).then(|| Self::of(bytes));
        }
        let mut token = Self { len: bytes.len() as u8, ..Self::EMPTY };
        copy(token.bytes.get_mut(..bytes.len())?, bytes);
        Some(token)
    }

    /// Becomes that of these bytes; empty past eight.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn fill(&mut self, bytes: &[u8]) {
        *self = Self::EMPTY;
        if let Some(place) = self.bytes.get_mut(..bytes.len()) {
            copy(place, bytes);
            self.len = bytes.len() as u8;
        }
    }

    /// Of these bytes, eight at most.
    #[inline(always)]
    fn of(bytes: &[u8]) -> Self {
        let len = bytes.len() as u8;
        // In words, which may overlap.
        if let (true, Some(low), Some(high)) = (WORDS, bytes.first_chunk(), bytes.last_chunk()) {
            let [low, high] = [low, high].map(|half| u64::from(u32::from_le_bytes(*half)));
            let shift = u32::from(len).wrapping_sub(4).wrapping_mul(8);
            return Self { bytes: (low | high << shift).to_le_bytes(), len };
        }
        Self { bytes: padded(bytes), len }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// How many there are.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "as on the wire")]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// The bytes, and zeros behind them.
    #[must_use]
    pub const fn padded(&self) -> [u8; 8] {
        self.bytes
    }
}

/// Byte by byte.
#[cfg_attr(target_pointer_width = "64", inline(never))]
#[cfg_attr(not(target_pointer_width = "64"), inline(always))]
fn padded(bytes: &[u8]) -> [u8; 8] {
    array::from_fn(|n| bytes.get(n).copied().unwrap_or(0))
}

/// A message, borrowed from its datagram.
// In C's layout: `waft_coap_message_t` is the same.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Message<'a> {
    /// The options.
    pub options: Options<'a>,
    /// The payload; empty where there is none.
    pub payload: &'a [u8],
    /// Ties a response to a request.
    pub token: Token,
    /// CON, NON, ACK or RST.
    pub ty: Type,
    /// Method, response or empty.
    pub code: Code,
    /// Message ID: detects duplicates, ties ACK and RST to what they answer (RFC 7252 §4.4).
    pub id: u16,
}

impl<'a> Message<'a> {
    /// Decodes a datagram.
    ///
    /// # Errors
    /// A [`Violation`] for each way in which it can be no message. Other than [`Violation::Version`] and
    /// [`Violation::Truncated`] they are format errors, on which a CON is answered with RST (RFC 7252 §4.2).
    pub fn decode(datagram: &'a [u8]) -> Result<Self, Violation> {
        Self::decode_here(datagram)
    }

    /// [`decode`](Self::decode), compiled into the function that calls it: smaller and faster where there is but one.
    ///
    /// # Errors
    /// As for `decode`.
    #[inline(always)]
    pub fn decode_here(datagram: &'a [u8]) -> Result<Self, Violation> {
        let Some((head, rest)) = datagram.split_first_chunk::<4>() else {
            return Err(Violation::Truncated);
        };
        let head = u32::from_be_bytes(*head);
        // [RFC7252-3-2]
        if head >> 30 != 1 {
            return Err(Violation::Version);
        }
        // [RFC7252-3-3]
        let len = head >> 24 & 0x0F;
        let Some((token, behind)) = rest.split_at_checked(len as usize).filter(|_| len <= 8) else {
            return Err(Violation::TokenLength);
        };
        let ty = Type::from_u8((head >> 28 & 3) as u8).unwrap_or(Type::Reset);
        let code = Code((head >> 16) as u8);
        // [RFC7252-4.1-1] [RFC7252-4.1-2]
        if code == Code::EMPTY && !rest.is_empty() {
            return Err(Violation::EmptyMessage);
        }
        // Classes 1, 6 and 7 are reserved (§3, §12.1); a reset is empty, an acknowledgement empty or a response (§4.3).
        // One bit for each class: of CON, of NON, of ACK.
        const CLASSES: u32 = 0x3C_3D_3D;
        let shift = (ty as u8) << 3 | code.class();
        // [RFC7252-4.2-1] [RFC7252-4.3-1] [RFC7252-4.3-3]
        let fits = if code == Code::EMPTY { ty != Type::NonConfirmable } else { CLASSES >> shift & 1 != 0 };
        if !fits {
            return Err(Violation::CodeClass);
        }
        let (options, payload) = Options::split(behind)?;
        Ok(Self { options, payload, token: Token::of(token), ty, code, id: head as u16 })
    }

    /// Encodes the message; [`Encoder`] does it piece by piece.
    ///
    /// # Errors
    /// The number of bytes it takes, where `buf` is shorter.
    pub fn encode<'o>(&self, buf: &'o mut [u8]) -> Result<&'o [u8], usize> {
        let mut encoder = Encoder::new(buf, self.ty, self.code, self.id, &self.token);
        for option in self.options {
            // In order and in length, having been decoded.
            let _ = encoder.option(option.number, option.value);
        }
        encoder.payload(self.payload);
        encoder.finish()
    }
}

/// Writes one message: header and token at once, then options in ascending order, then the payload.
#[derive(Debug)]
pub struct Encoder<'a> {
    w: Writer<'a>,
    /// The number of the option before; past all of them where none may follow.
    last: u32,
}

impl<'a> Encoder<'a> {
    /// Writes header and token.
    #[must_use]
    #[inline(always)]
    pub fn new(buf: &'a mut [u8], ty: Type, code: Code, id: u16, token: &Token) -> Self {
        if !WORDS {
            return Self::with_token(buf, ty, code, id, token.as_bytes());
        }
        let mut w = Writer::new(buf);
        let [high, low] = id.to_be_bytes();
        let [a, b, c, d, e, f, g, h] = token.bytes;
        // [RFC7252-3-1]
        let first = 0x40 | (ty as u8) << 4 | token.len;
        w.front([first, code.0, high, low, a, b, c, d, e, f, g, h], usize::from(token.len).wrapping_add(4));
        Self { w, last: 0 }
    }

    /// The same of a token's bytes, of which those past the eighth are left out.
    #[must_use]
    #[inline(always)]
    pub fn with_token(buf: &'a mut [u8], ty: Type, code: Code, id: u16, token: &[u8]) -> Self {
        let token = token.get(..8).unwrap_or(token);
        let mut encoder = Self { w: Writer::new(buf), last: 0 };
        // [RFC7252-3-1]
        let first = 0x40 | (ty as u32) << 4 | token.len() as u32;
        encoder.w.uint(first << 24 | u32::from(code.0) << 16 | u32::from(id), 4);
        encoder.w.bytes(token);
        encoder
    }

    /// Appends an option.
    ///
    /// # Errors
    /// [`Misuse::InvalidOption`]: its number is below the one before, its value longer than 65 804 bytes, or the
    /// payload is already written. Nothing is written then.
    #[cfg_attr(target_pointer_width = "64", inline)]
    pub fn option(&mut self, number: u16, value: &[u8]) -> Result<(), Misuse> {
        self.option_here(number, value)
    }

    /// [`option`](Self::option), compiled into the function that calls it: smaller and faster where there is but one.
    ///
    /// # Errors
    /// As [`option`](Self::option).
    #[inline(always)]
    pub fn option_here(&mut self, number: u16, value: &[u8]) -> Result<(), Misuse> {
        match self.head(number, value.len())? {
            Some(head) => self.w.headed(head, value),
            None => self.w.bytes(value),
        }
        Ok(())
    }

    /// Appends an option whose value is an unsigned integer.
    ///
    /// # Errors
    /// As [`option`](Self::option).
    #[cfg_attr(target_pointer_width = "64", inline)]
    pub fn uint(&mut self, number: u16, value: u32) -> Result<(), Misuse> {
        if !WORDS {
            return self.option(number, option::Uint::new(value).as_bytes());
        }
        let skip = value.leading_zeros() & 0x38;
        let [a, b, c, d] = value.checked_shl(skip).unwrap_or(0).to_be_bytes();
        let len = 4_usize.wrapping_sub((skip >> 3) as usize);
        match self.head(number, len)? {
            Some(head) => self.w.front([head, a, b, c, d], len.wrapping_add(1)),
            None => self.w.front([a, b, c, d], len),
        }
        Ok(())
    }

    /// Appends an option whose value is the text that `raw` is the percent-encoded form of (RFC 7252 §6.4); a host in
    /// lower case.
    ///
    /// # Errors
    /// As [`option`](Self::option).
    pub fn escaped(&mut self, number: u16, raw: super::uri::Escaped<'_>) -> Result<(), Misuse> {
        if let Some(head) = self.head(number, raw.bytes().count())? {
            self.w.u8(head);
        }
        for byte in raw.bytes() {
            self.w.u8(if number == option::URI_HOST { byte.to_ascii_lowercase() } else { byte });
        }
        Ok(())
    }

    /// Appends the payload behind its marker, or nothing where it is empty. No option may follow.
    #[cfg_attr(not(target_pointer_width = "64"), inline(always))]
    pub fn payload(&mut self, payload: &[u8]) {
        if !payload.is_empty() {
            self.w.headed(option::PAYLOAD_MARKER, payload);
        }
        self.last = u32::MAX;
    }

    /// The message.
    ///
    /// # Errors
    /// The number of bytes it takes, where the buffer is shorter.
    pub fn finish(self) -> Result<&'a [u8], usize> {
        self.w.finish()
    }

    /// Delta and length (RFC 7252 §3.1): the one byte that has both, still to be written, or none where they are written.
    #[inline(always)]
    fn head(&mut self, number: u16, len: usize) -> Result<Option<u8>, Misuse> {
        // [RFC7252-3.1-1]
        let delta = u32::from(number).checked_sub(self.last).ok_or(Misuse::InvalidOption)?;
        let short = WORDS && delta <= 12 && len <= 12;
        if !short {
            self.long_head(delta, len)?;
        }
        self.last = u32::from(number);
        Ok(short.then_some((delta as u8) << 4 | len as u8))
    }

    #[cfg_attr(target_pointer_width = "64", inline(never))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(always))]
    fn long_head(&mut self, delta: u32, len: usize) -> Result<(), Misuse> {
        // More than 269 and two bytes. No slice is so long that it would seem negative.
        if len.wrapping_sub(269).cast_signed() > 0xFFFF {
            return Err(Misuse::InvalidOption);
        }
        let len = len as u32;
        let at = self.w.len();
        self.w.u8(0);
        let head = self.field(delta) << 4 | self.field(len);
        self.w.amend(at, head as u8);
        Ok(())
    }

    /// The field of four bits for `n`, having written what extends it: a byte of 13, two of 14.
    fn field(&mut self, n: u32) -> u32 {
        if n < 13 {
            return n;
        }
        // 269 less in two bytes. Where that is below zero it is 13 less in one byte, which is the lower of the two.
        let more = n.wrapping_sub(269);
        let len = 2_u32.wrapping_add_signed(more.cast_signed() >> 31);
        self.w.uint(more, len as usize);
        len.wrapping_add(12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn the_example_of_the_standard_comes_out_byte_for_byte() {
        // RFC 7252 appendix A, figure 16: CON GET coap://server/temperature, MID 0x7d34, no token.
        let mut buf = [0; 32];
        let mut encoder = Encoder::new(&mut buf, Type::Confirmable, Code::GET, 0x7d34, &Token::EMPTY);
        encoder.option(option::URI_PATH, b"temperature").unwrap();
        let bytes = encoder.finish().unwrap();
        assert_eq!(bytes, b"\x40\x01\x7d\x34\xbbtemperature");
        // ... and the ACK 2.05 "22.3 C".
        let message = Message::decode(b"\x60\x45\x7d\x34\xff22.3 C").unwrap();
        assert_eq!((message.ty, message.code, message.id), (Type::Acknowledgement, Code::CONTENT, 0x7d34));
        assert_eq!(message.payload, b"22.3 C");
    }

    #[test]
    fn each_breach_has_its_name() {
        for (bytes, violation) in [
            (&b""[..], Violation::Truncated),
            (b"\x40\x01\x00", Violation::Truncated),
            (b"\x80\x01\x00\x00", Violation::Version),
            (b"\x49\x01\x00\x00123456789", Violation::TokenLength),
            (b"\x42\x01\x00\x001", Violation::TokenLength),
            (b"\x40\x00\x00\x00x", Violation::EmptyMessage),
            (b"\x41\x00\x00\x00x", Violation::EmptyMessage),
            (b"\x40\x20\x00\x00", Violation::CodeClass),
            (b"\x60\x01\x00\x00", Violation::CodeClass),
            (b"\x70\x45\x00\x00", Violation::CodeClass),
            (b"\x50\x00\x00\x00", Violation::CodeClass),
            (b"\x40\x01\x00\x00\xf0", Violation::OptionDelta),
            (b"\x40\x01\x00\x00\xd0", Violation::OptionDelta),
            (b"\x40\x01\x00\x00\x0f", Violation::OptionLength),
            (b"\x40\x01\x00\x00\x02x", Violation::OptionLength),
            (b"\x40\x01\x00\x00\xff", Violation::EmptyPayload),
        ] {
            assert_eq!(Message::decode(bytes).err(), Some(violation), "{bytes:x?}");
        }
    }

    #[test]
    fn options_out_of_order_are_refused() {
        let mut buf = [0; 32];
        let mut encoder = Encoder::new(&mut buf, Type::Confirmable, Code::GET, 1, &Token::EMPTY);
        encoder.option(11, b"a").unwrap();
        assert_eq!(encoder.option(10, b"a"), Err(Misuse::InvalidOption));
        encoder.option(11, b"b").unwrap();
        encoder.payload(b"x");
        assert_eq!(encoder.option(12, b""), Err(Misuse::InvalidOption));
        assert_eq!(encoder.finish().unwrap(), b"\x40\x01\x00\x01\xb1a\x01b\xffx");
    }

    #[test]
    fn a_length_or_a_delta_takes_the_form_of_its_range() {
        static BYTES: [u8; 65_805] = [7; 65_805];
        let mut buf = std::vec![0; 66_000];
        for (n, head) in [
            (12, &[0xCC][..]),
            (13, &[0xDD, 0, 0]),
            (268, &[0xDD, 255, 255]),
            (269, &[0xEE, 0, 0, 0, 0]),
            (65_535, &[0xEE, 0xFE, 0xF2, 0xFE, 0xF2]),
        ] {
            let mut encoder = Encoder::new(&mut buf, Type::Confirmable, Code::GET, 1, &Token::EMPTY);
            encoder.option(n, &BYTES[..n.into()]).unwrap();
            let bytes = encoder.finish().unwrap();
            assert_eq!(&bytes[4..][..head.len()], head, "{n}");
            let option = Message::decode(bytes).unwrap().options.next().unwrap();
            assert_eq!((option.number, option.value.len()), (n, n.into()));
        }
        let mut encoder = Encoder::new(&mut buf, Type::Confirmable, Code::GET, 1, &Token::EMPTY);
        assert_eq!(encoder.option(1, &BYTES), Err(Misuse::InvalidOption));
        encoder.option(1, &BYTES[..65_804]).unwrap();
        let bytes = encoder.finish().unwrap();
        assert_eq!(&bytes[4..7], [0x1E, 0xFF, 0xFF]);
        assert_eq!(Message::decode(bytes).unwrap().options.next().unwrap().value.len(), 65_804);
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(
            token in prop::collection::vec(any::<u8>(), 0..=8),
            id in any::<u16>(),
            mut options in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..400)), 0..8),
            payload in prop::collection::vec(any::<u8>(), 0..64),
            room in 0..4096_usize,
        ) {
            options.sort_by_key(|o| o.0);
            let mut buf = [0; 4096];
            let token = Token::new(&token).unwrap();
            let mut encoder = Encoder::new(&mut buf, Type::NonConfirmable, Code::POST, id, &token);
            for (number, value) in &options {
                encoder.option(*number, value).unwrap();
            }
            encoder.payload(&payload);
            let bytes = encoder.finish().unwrap();
            let message = Message::decode(bytes).unwrap();
            prop_assert_eq!(message.token, token);
            prop_assert_eq!(message.id, id);
            prop_assert_eq!(message.payload, &payload[..]);
            let got: Vec<_> = message.options.map(|o| (o.number, o.value.to_vec())).collect();
            prop_assert_eq!(got, options);
            let mut again = [0; 4096];
            match message.encode(&mut again[..room]) {
                Ok(again) => prop_assert_eq!(again, bytes),
                Err(needed) => {
                    prop_assert_eq!(needed, bytes.len());
                    prop_assert!(room < needed);
                }
            }
        }

        #[test]
        fn garbage_is_refused_or_comes_out_as_it_went_in(bytes in prop::collection::vec(any::<u8>(), 0..128), valid in any::<bool>()) {
            let mut bytes = bytes;
            if let (true, Some(first)) = (valid, bytes.first_mut()) {
                *first = 0x40 | (*first & 0x33);
            }
            if let Ok(message) = Message::decode(&bytes) {
                let mut buf = [0; 256];
                let again = message.encode(&mut buf).unwrap();
                // Lengths and deltas have one form each, save for extensions that were not needed: never longer.
                prop_assert!(again.len() <= bytes.len());
                prop_assert_eq!(Message::decode(again).unwrap().payload, message.payload);
            }
        }
    }
}
