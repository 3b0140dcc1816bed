//! One message and its form on the wire (RFC 7252 §3).

use super::{
    Violation,
    code::Code,
    option::{Options, Uint},
};
use crate::{
    error::Misuse,
    wire::{Reader, Writer},
};

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
    /// From the two bits of the header.
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Confirmable,
            1 => Self::NonConfirmable,
            2 => Self::Acknowledgement,
            _ => Self::Reset,
        }
    }
}

/// What ties a response to its request: 0 to 8 bytes of the client's choosing (RFC 7252 §5.3.1).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    len: u8,
    bytes: [u8; 8],
}

impl Token {
    /// The zero-length token.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; 8] };

    /// Of these bytes; `None` past eight.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut token = Self { len: u8::try_from(bytes.len()).ok()?, bytes: [0; 8] };
        let place = token.bytes.get_mut(..bytes.len())?;
        place.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
        Some(token)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

/// A message, borrowed from its datagram.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// CON, NON, ACK or RST.
    pub ty: Type,
    /// Method, response or empty.
    pub code: Code,
    /// Message ID: detects duplicates, ties ACK and RST to what they answer (RFC 7252 §4.4).
    pub id: u16,
    /// Ties a response to a request.
    pub token: Token,
    /// The options.
    pub options: Options<'a>,
    /// The payload; empty where there is none.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Decodes a datagram.
    ///
    /// # Errors
    /// A [`Violation`] for each way in which it can be no message. Other than [`Violation::Version`] and
    /// [`Violation::Truncated`] they are format errors, on which a CON is answered with RST (RFC 7252 §4.2).
    pub fn decode(datagram: &'a [u8]) -> Result<Self, Violation> {
        let Some((&[first, code, id_high, id_low], rest)) = datagram.split_first_chunk::<4>() else {
            return Err(Violation::Truncated);
        };
        if first >> 6 != 1 {
            return Err(Violation::Version);
        }
        let ty = Type::from_bits(first >> 4);
        let code = Code(code);
        let len = first & 0x0F;
        if len > 8 {
            return Err(Violation::TokenLength);
        }
        let mut reader = Reader::new(rest);
        let token = reader.take(usize::from(len)).and_then(Token::new).ok_or(Violation::TokenLength)?;
        if code == Code::EMPTY && !rest.is_empty() {
            return Err(Violation::EmptyMessage);
        }
        // Classes 1, 6 and 7 are reserved (§3, §12.1); a reset is empty, an acknowledgement empty or a response (§4.3).
        let fits = match ty {
            Type::Reset => code == Code::EMPTY,
            Type::Acknowledgement => code == Code::EMPTY || code.is_response(),
            Type::NonConfirmable => code.is_request() || code.is_response(),
            Type::Confirmable => code.class() == 0 || code.is_response(),
        };
        if !fits {
            return Err(Violation::CodeClass);
        }
        let (options, payload) = Options::split(reader.rest())?;
        Ok(Self { ty, code, id: u16::from_be_bytes([id_high, id_low]), token, options, payload })
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
    last: u16,
    open: bool,
}

impl<'a> Encoder<'a> {
    /// Writes header and token.
    #[must_use]
    pub fn new(buf: &'a mut [u8], ty: Type, code: Code, id: u16, token: &Token) -> Self {
        let mut w = Writer::new(buf);
        w.u8(0x40 | ((ty as u8) << 4) | token.len);
        w.u8(code.0);
        w.u16(id);
        w.bytes(token.as_bytes());
        Self { w, last: 0, open: true }
    }

    /// Appends an option.
    ///
    /// # Errors
    /// [`Misuse::InvalidOption`]: its number is below the one before, its value longer than 65 804 bytes, or the
    /// payload is already written. Nothing is written then.
    pub fn option(&mut self, number: u16, value: &[u8]) -> Result<(), Misuse> {
        self.head(number, value.len())?;
        self.w.bytes(value);
        Ok(())
    }

    /// Appends an option whose value is an unsigned integer.
    ///
    /// # Errors
    /// As [`option`](Self::option).
    pub fn uint(&mut self, number: u16, value: u32) -> Result<(), Misuse> {
        self.option(number, Uint::new(value).as_bytes())
    }

    /// Appends an option whose value is the text that `raw` is the percent-encoded form of (RFC 7252 §6.4); a host in
    /// lower case.
    ///
    /// # Errors
    /// As [`option`](Self::option).
    pub fn escaped(&mut self, number: u16, raw: super::uri::Escaped<'_>) -> Result<(), Misuse> {
        self.head(number, raw.bytes().count())?;
        for byte in raw.bytes() {
            self.w.u8(if number == super::option::URI_HOST { byte.to_ascii_lowercase() } else { byte });
        }
        Ok(())
    }

    /// Appends the payload behind its marker, or nothing where it is empty. No option may follow.
    pub fn payload(&mut self, payload: &[u8]) {
        if !payload.is_empty() {
            self.w.u8(0xFF);
            self.w.bytes(payload);
        }
        self.open = false;
    }

    /// The message.
    ///
    /// # Errors
    /// The number of bytes it takes, where the buffer is shorter.
    pub fn finish(self) -> Result<&'a [u8], usize> {
        self.w.finish()
    }

    /// Delta and length (RFC 7252 §3.1).
    fn head(&mut self, number: u16, len: usize) -> Result<(), Misuse> {
        let delta = number.checked_sub(self.last).filter(|_| self.open).ok_or(Misuse::InvalidOption)?;
        let len = u32::try_from(len).ok().filter(|len| *len <= 65_804).ok_or(Misuse::InvalidOption)?;
        let (delta, delta_ext) = nibble(u32::from(delta));
        let (len, len_ext) = nibble(len);
        self.w.u8((delta << 4) | len);
        self.extension(delta, delta_ext);
        self.extension(len, len_ext);
        self.last = number;
        Ok(())
    }

    fn extension(&mut self, nibble: u8, ext: u16) {
        let [high, low] = ext.to_be_bytes();
        if nibble == 14 {
            self.w.u8(high);
        }
        if nibble >= 13 {
            self.w.u8(low);
        }
    }
}

/// The four-bit field for `n` and what extends it.
fn nibble(n: u32) -> (u8, u16) {
    let (nibble, base) = match n {
        0..=12 => return (u8::try_from(n).unwrap_or(0), 0),
        13..=268 => (13, 13),
        _ => (14, 269),
    };
    (nibble, u16::try_from(n.saturating_sub(base)).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::{super::option, *};
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
