//! Options: numbers, values, and the form they have on the wire (RFC 7252 §3.1, §5.4, §5.10).

use super::Violation;

/// If-Match, RFC 7252 §5.10.8.1.
pub const IF_MATCH: u16 = 1;
/// Uri-Host, RFC 7252 §5.10.1.
pub const URI_HOST: u16 = 3;
/// ETag, RFC 7252 §5.10.6.
pub const ETAG: u16 = 4;
/// If-None-Match, RFC 7252 §5.10.8.2.
pub const IF_NONE_MATCH: u16 = 5;
/// Observe, RFC 7641 §2.
pub const OBSERVE: u16 = 6;
/// Uri-Port, RFC 7252 §5.10.1.
pub const URI_PORT: u16 = 7;
/// Location-Path, RFC 7252 §5.10.7.
pub const LOCATION_PATH: u16 = 8;
/// Uri-Path, RFC 7252 §5.10.1: one per segment.
pub const URI_PATH: u16 = 11;
/// Content-Format, RFC 7252 §5.10.3.
pub const CONTENT_FORMAT: u16 = 12;
/// Max-Age in seconds, RFC 7252 §5.10.5; 60 where absent.
pub const MAX_AGE: u16 = 14;
/// Uri-Query, RFC 7252 §5.10.1: one per argument.
pub const URI_QUERY: u16 = 15;
/// Hop-Limit, RFC 8768: how many more proxies a request may pass, 1 to 255.
pub const HOP_LIMIT: u16 = 16;
/// Accept, RFC 7252 §5.10.4.
pub const ACCEPT: u16 = 17;
/// Location-Query, RFC 7252 §5.10.7.
pub const LOCATION_QUERY: u16 = 20;
/// Block2, RFC 7959 §2.1: the block of a response.
pub const BLOCK2: u16 = 23;
/// Block1, RFC 7959 §2.1: the block of a request.
pub const BLOCK1: u16 = 27;
/// Size2, RFC 7959 §4: bytes of the whole response body.
pub const SIZE2: u16 = 28;
/// Proxy-Uri, RFC 7252 §5.10.2.
pub const PROXY_URI: u16 = 35;
/// Proxy-Scheme, RFC 7252 §5.10.2.
pub const PROXY_SCHEME: u16 = 39;
/// Size1, RFC 7252 §5.10.9, RFC 7959 §4: bytes of the whole request body.
pub const SIZE1: u16 = 60;
/// Echo, RFC 9175 §2.2: shows that a client got an answer of ours before.
pub const ECHO: u16 = 252;
/// No-Response, RFC 7967: the classes of responses that the client does without.
pub const NO_RESPONSE: u16 = 258;
/// Request-Tag, RFC 9175 §3.2: keeps bodies sent by Block1 apart.
pub const REQUEST_TAG: u16 = 292;

/// Content-Formats (RFC 7252 §12.3 and the registry).
pub mod format {
    /// `text/plain; charset=utf-8`
    pub const TEXT: u16 = 0;
    /// `application/link-format` (RFC 6690)
    pub const LINK_FORMAT: u16 = 40;
    /// `application/octet-stream`
    pub const OCTET_STREAM: u16 = 42;
    /// `application/json`
    pub const JSON: u16 = 50;
    /// `application/cbor`
    pub const CBOR: u16 = 60;
}

/// Whether an option must be understood (RFC 7252 §5.4.1): odd numbers must.
#[must_use]
pub const fn is_critical(number: u16) -> bool {
    number & 1 != 0
}

/// Whether a proxy that does not know the option may not forward it (RFC 7252 §5.4.2).
#[must_use]
pub const fn is_unsafe(number: u16) -> bool {
    number & 2 != 0
}

/// Whether the option is no part of the cache key (RFC 7252 §5.4.2, §5.4.6).
#[must_use]
pub const fn is_no_cache_key(number: u16) -> bool {
    number & 0x1E == 0x1C
}

/// What an option may be: its longest length, and what else holds for it.
type Rule = u16;
/// A longest length.
const LEN: Rule = 0x7FF;
/// It is not empty.
const SOME: Rule = 0x800;
/// It may occur more than once.
const MANY: Rule = 0x1000;
/// An endpoint writes it by itself.
const OWN: Rule = 0x2000;

/// RFC 7252 §5.10 table 4, RFC 7641 §2, RFC 7959 §2.1, §4, RFC 7967, RFC 8768, RFC 9175. Those of odd numbers are all critical
/// options that are known here.
static RULES: [(u16, Rule); 23] = [
    (IF_MATCH, 8 | MANY),
    (URI_HOST, 255 | SOME),
    (ETAG, 8 | SOME | MANY),
    (IF_NONE_MATCH, 0),
    (OBSERVE, 3 | OWN),
    (URI_PORT, 2),
    (LOCATION_PATH, 255 | MANY),
    (URI_PATH, 255 | MANY),
    (CONTENT_FORMAT, 2),
    (MAX_AGE, 4),
    (URI_QUERY, 255 | MANY),
    (HOP_LIMIT, 1 | SOME),
    (ACCEPT, 2),
    (LOCATION_QUERY, 255 | MANY),
    (BLOCK2, 3 | OWN),
    (BLOCK1, 3 | OWN),
    (SIZE2, 4 | OWN),
    (PROXY_URI, 1034 | SOME),
    (PROXY_SCHEME, 255 | SOME),
    (SIZE1, 4 | OWN),
    (ECHO, 40 | SOME),
    (NO_RESPONSE, 1),
    (REQUEST_TAG, 8 | MANY),
];

#[cfg_attr(feature = "opt-size", inline(never))]
fn rule(number: u16) -> Option<Rule> {
    RULES.iter().find(|(known, _)| *known == number).map(|(_, rule)| *rule)
}

fn fits(rule: Rule, len: usize) -> bool {
    len <= usize::from(rule & LEN) && (len != 0 || rule & SOME == 0)
}

/// Whether `len` is a length that option `number` may have. Options not named here may have any. One whose length is wrong
/// counts as not understood (§5.4.3).
#[must_use]
pub fn is_length_valid(number: u16, len: usize) -> bool {
    rule(number).is_none_or(|rule| fits(rule, len))
}

/// Whether an option may occur more than once (RFC 7252 §5.4.5, table 4); a further one of the others counts as not
/// understood.
#[must_use]
pub fn is_repeatable(number: u16) -> bool {
    rule(number).is_some_and(|rule| rule & MANY != 0)
}

/// Whether the host may send an option, the one before having the number `last`: not one that the endpoint writes, nor a
/// further one where there may be one, nor one of a wrong length. [RFC7252-5.4.5-1] [RFC7959-2.1-2] [RFC7959-4-3]
pub(super) fn may_send(option: &Opt<'_>, last: u16) -> bool {
    let Some(rule) = rule(option.number) else { return true };
    let again = option.number == last && rule & MANY == 0;
    rule & OWN == 0 && !again && fits(rule, option.value.len())
}

/// The number of the first critical option that must be refused: unknown here and not in `extra`, of a wrong length, or one
/// too many of its kind (RFC 7252 §5.4.1, §5.4.3, §5.4.5). Of those known here only Block1 and Block2 are defined for a
/// `response` (§5.4).
// [RFC7252-5.4-1] [RFC7252-5.4.1-1] [RFC7252-5.4.1-2] [RFC7252-5.4.1-3] [RFC7252-5.4.1-4] [RFC7252-5.4.3-1]
// [RFC7252-5.4.5-2] [RFC7959-2.1-1]
#[cfg_attr(feature = "opt-size", inline(never))]
pub(super) fn first_not_understood(options: Options<'_>, extra: &[u16], response: bool) -> Option<u16> {
    let mut last = 0;
    for o in options {
        let again = o.number == core::mem::replace(&mut last, o.number);
        if !is_critical(o.number) {
            continue;
        }
        let listed = extra.contains(&o.number);
        let good = match rule(o.number) {
            None => listed,
            Some(rule) => {
                let defined = listed || !response || rule & OWN != 0;
                defined && (!again || rule & MANY != 0) && fits(rule, o.value.len())
            }
        };
        if !good {
            return Some(o.number);
        }
    }
    None
}

/// One option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opt<'a> {
    /// Which.
    pub number: u16,
    /// Its value, as it stands on the wire.
    pub value: &'a [u8],
}

impl Opt<'_> {
    /// The value as an unsigned integer (RFC 7252 §3.2): big-endian, leading zeros allowed. `None` past four bytes.
    #[must_use]
    pub fn uint(&self) -> Option<u32> {
        uint(self.value)
    }
}

/// Reads an unsigned integer of up to four bytes (RFC 7252 §3.2).
#[must_use]
// [RFC7252-3.2-1]
pub fn uint(value: &[u8]) -> Option<u32> {
    (value.len() <= 4).then(|| value.iter().fold(0_u32, |n, &byte| (n << 8) | u32::from(byte)))
}

/// An unsigned integer in its shortest form: no leading zero byte, none at all for 0 (RFC 7252 §3.2).
#[derive(Debug, Clone, Copy)]
pub struct Uint {
    bytes: [u8; 4],
    skip: u8,
}

impl Uint {
    /// Of `value`.
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self { bytes: value.to_be_bytes(), skip: (value.leading_zeros() >> 3) as u8 }
    }

    /// The option's value.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(usize::from(self.skip)..).unwrap_or(&[])
    }
}

/// The options of a message, in ascending order of their numbers: an iterator that borrows from the message.
// In C's layout: `waft_coap_options_t` is the same.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Options<'a> {
    rest: &'a [u8],
    number: u16,
}

impl<'a> Options<'a> {
    /// None at all.
    pub const EMPTY: Self = Self::from_parts(&[], 0);

    /// Checks what follows the token: options, and behind the marker a payload (RFC 7252 §3).
    ///
    /// # Errors
    /// A delta or length that is reserved, too large or runs past the end; a marker without a payload.
    #[inline]
    pub(super) fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Violation> {
        let (mut left, mut fault) = (Self::from_parts(bytes, 0), None);
        while left.step(&mut fault).is_some() {}
        if let Some(fault) = fault {
            return Err(fault);
        }
        let Some(options) = bytes.get(..bytes.len().wrapping_sub(left.rest.len())) else {
            return Err(Violation::EmptyPayload);
        };
        let mut payload = left.rest;
        if let Some((_marker, behind)) = payload.split_first() {
            // [RFC7252-3-4]
            if behind.is_empty() {
                return Err(Violation::EmptyPayload);
            }
            payload = behind;
        }
        Ok((Self::from_parts(options, 0), payload))
    }

    /// Takes the first option off, and `number` becomes its number. `None` where there is none, or something that is none:
    /// then that is the fault, and nothing is left.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    fn step(&mut self, fault: &mut Option<Violation>) -> Option<&'a [u8]> {
        let (&head, rest) = self.rest.split_first().filter(|(head, _)| **head != PAYLOAD_MARKER)?;
        self.rest = rest;
        let head = usize::from(head);
        let delta = field(&mut self.rest, head >> 4);
        let violation = if let Ok(number) = u16::try_from(usize::from(self.number).wrapping_add(delta)) {
            self.number = number;
            let len = field(&mut self.rest, head & 0x0F);
            if let Some((value, rest)) = self.rest.split_at_checked(len) {
                self.rest = rest;
                return Some(value);
            }
            Violation::OptionLength
        } else {
            Violation::OptionDelta
        };
        *fault = Some(violation);
        self.rest = self.rest.get(..0).unwrap_or(&[]);
        None
    }

    /// What is left of the options in their form on the wire, and the number of the option before that: all that
    /// [`from_parts`](Self::from_parts) takes to go on.
    #[must_use]
    pub const fn parts(self) -> (&'a [u8], u16) {
        (self.rest, self.number)
    }

    /// From what [`parts`](Self::parts) gave. Whatever else the bytes are, iteration ends where they are no options.
    #[must_use]
    pub const fn from_parts(bytes: &'a [u8], number: u16) -> Self {
        Self { rest: bytes, number }
    }

    /// The value of the first option with this number.
    #[must_use]
    pub fn get(self, number: u16) -> Option<&'a [u8]> {
        self.all(number).next()
    }

    /// The first option with this number as an unsigned integer; `None` where it is absent or longer than four bytes.
    #[must_use]
    pub fn uint(self, number: u16) -> Option<u32> {
        self.get(number).and_then(uint)
    }

    /// The values of all options with this number, in order.
    pub fn all(self, number: u16) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.filter(move |o| o.number == number).map(|o| o.value)
    }

    /// Whether the segments of Uri-Path are those of `path`: `/a/b`, with or without the slash in front, not escaped.
    #[must_use]
    pub fn path_is(self, path: &str) -> bool {
        let path = path.strip_prefix("/").unwrap_or(path);
        let mut segments = self.all(URI_PATH);
        if path.is_empty() {
            return segments.next().is_none_or(<[u8]>::is_empty) && segments.next().is_none();
        }
        segments.eq(super::text::split(path, b'/').map(str::as_bytes))
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Opt<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Opt<'a>> {
        // Of checked options there is never a fault; of others (`from_parts`) it is the end.
        let value = self.step(&mut None)?;
        Some(Opt { number: self.number, value })
    }
}

/// What stands between options and payload (RFC 7252 §3): no option begins so.
pub(super) const PAYLOAD_MARKER: u8 = 0xFF;

/// What a field of four bits says with the bytes that extend it, which are taken off `rest` (RFC 7252 §3.1): 13 adds a byte, 14 two,
/// 15 is reserved. More than any delta and any length where that cannot be.
// [RFC7252-3.1-2] [RFC7252-3.1-3]
#[cfg_attr(target_pointer_width = "64", inline(always))]
fn field(rest: &mut &[u8], nibble: usize) -> usize {
    let (high, last) = match (nibble, *rest) {
        (..13, _) => return nibble,
        (13, all) => (0, all),
        // 269 is 13 and one in the upper byte.
        (14, [high, last @ ..]) => (usize::from(*high).wrapping_add(1) << 8, last),
        _ => return NONE,
    };
    let [low, behind @ ..] = last else { return NONE };
    *rest = behind;
    (high | usize::from(*low)).wrapping_add(13)
}

/// More than a field of four bits and what extends it can say.
const NONE: usize = isize::MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_from_the_number() {
        assert!(is_critical(IF_MATCH) && !is_critical(ETAG));
        assert!(is_unsafe(URI_HOST) && is_unsafe(MAX_AGE) && !is_unsafe(ETAG));
        assert!(is_no_cache_key(SIZE1) && is_no_cache_key(SIZE2) && !is_no_cache_key(URI_PATH));
    }

    #[test]
    fn unsigned_integers_are_as_short_as_they_can_be() {
        for (value, bytes) in [
            (0, &[][..]),
            (1, &[1]),
            (255, &[255]),
            (256, &[1, 0]),
            (0x0102_0304, &[1, 2, 3, 4]),
            (0x1_0000, &[1, 0, 0]),
        ] {
            assert_eq!(Uint::new(value).as_bytes(), bytes);
            assert_eq!(uint(bytes), Some(value));
        }
        assert_eq!(uint(&[0, 0, 0, 7]), Some(7));
        assert_eq!(uint(&[0; 5]), None);
    }

    #[test]
    fn a_path_is_compared_by_segments() {
        let wire = [0xB1, b'a', 0x02, b'b', b'c'];
        let (options, payload) = Options::split(&wire).unwrap();
        assert!(payload.is_empty());
        assert!(options.path_is("/a/bc") && options.path_is("a/bc"));
        assert!(!options.path_is("/a") && !options.path_is("/a/bc/") && !options.path_is("/abc"));
        assert!(Options::EMPTY.path_is("/") && Options::EMPTY.path_is("") && !Options::EMPTY.path_is("/a"));
    }

    #[test]
    fn a_number_past_65535_is_refused() {
        assert_eq!(Options::split(&[0xE0, 0xFF, 0xFF]).err(), Some(Violation::OptionDelta));
        let (mut options, _) = Options::split(&[0xE0, 0xFE, 0xF2]).unwrap();
        assert_eq!(options.next(), Some(Opt { number: 65535, value: &[] }));
        assert_eq!(Options::split(&[0xE0, 0xFE, 0xF2, 0x10]).err(), Some(Violation::OptionDelta));
    }
}
