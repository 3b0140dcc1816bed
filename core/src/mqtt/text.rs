//! Sees quickly that a string on the wire (§1.5.3) is right, as nearly all are: ASCII, looked at by words. What is not seen
//! so has to be looked at byte by byte. Only for processors of 64 bits: on a microcontroller the code would cost more than
//! the time.

use crate::Misuse;

/// What a string may hold besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    // The lower halves are the numbers of the errors, so that one becomes the other with little code.
    /// No wildcards.
    Name = (Misuse::InvalidTopic as i8).unsigned_abs(),
    /// Wildcards where they may stand (§4.7.1).
    Filter = (Misuse::InvalidFilter as i8).unsigned_abs(),
    /// Anything.
    Text = (Misuse::InvalidString as i8).unsigned_abs(),
    /// What need not even be text.
    Binary = 0x10 | Self::Text as u8,
}

#[cfg(target_pointer_width = "64")]
pub(super) use words::{is_filter, is_right, name, string, usual_in, usual_name};

#[cfg(not(target_pointer_width = "64"))]
pub(super) use bytes::{is_right, name, string};

/// Nothing is seen quickly.
#[cfg(not(target_pointer_width = "64"))]
mod bytes {
    use super::Kind;

    #[inline]
    pub(in crate::mqtt) fn string(_: &[u8]) -> Option<&str> {
        None
    }

    #[inline]
    pub(in crate::mqtt) fn name(_: &[u8]) -> Option<&str> {
        None
    }

    #[inline]
    pub(in crate::mqtt) fn is_right(_: &[u8], _: Kind) -> bool {
        false
    }
}

#[cfg(target_pointer_width = "64")]
mod words {
    use super::Kind;
    use ascii::AsciiStr;

    const WORD: usize = size_of::<u64>();
    const HIGH: u64 = each(0x80);
    /// The first character after U+0000.
    const NOT_NULL: u8 = 0x01;
    /// The first one after `#` and `+`. Before it are control characters, the space and punctuation that topics rarely hold.
    const NOT_WILD: u8 = b'+' + 1;

    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; WORD])
    }

    /// `bytes`, if they are seen to be a string.
    pub(in crate::mqtt) fn string(bytes: &[u8]) -> Option<&str> {
        if all_from(bytes, NOT_NULL) { as_text(bytes) } else { None }
    }

    /// `bytes`, if they are seen to be a topic name, or nothing of one.
    pub(in crate::mqtt) fn name(bytes: &[u8]) -> Option<&str> {
        if all_from(bytes, NOT_WILD) { as_text(bytes) } else { None }
    }

    /// Whether `bytes` are seen to be right, or nothing.
    #[inline]
    pub(in crate::mqtt) fn is_right(bytes: &[u8], kind: Kind) -> bool {
        match kind {
            Kind::Text => all_from(bytes, NOT_NULL),
            Kind::Binary => true,
            Kind::Name => all_from(bytes, NOT_WILD),
            Kind::Filter => is_filter(bytes),
        }
    }

    /// [`name`], for the most usual lengths only.
    #[inline(always)]
    pub(in crate::mqtt) fn usual_name(bytes: &[u8]) -> Option<&str> {
        if usual_from(bytes, NOT_WILD) { as_text(bytes) } else { None }
    }

    /// [`string`] or, for `NAME`, [`name`] of what `packet` holds from `start` to `end`, for the most usual lengths only;
    /// quickest where more text follows.
    #[inline(always)]
    pub(in crate::mqtt) fn usual_in<const NAME: bool>(packet: &[u8], start: usize, end: usize) -> Option<&str> {
        let bytes = packet.get(start..end)?;
        if !usual_from(bytes, if NAME { NOT_WILD } else { NOT_NULL }) {
            return None;
        }
        // A length that the compiler knows takes no loop.
        match packet.get(start..)?.first_chunk::<{ 4 * WORD }>().map(AsciiStr::from_ascii) {
            Some(Ok(longer)) => Some(<&AsciiStr>::from(longer.as_slice().get(..bytes.len())?).as_str()),
            _ => as_text_only(bytes),
        }
    }

    /// `bytes` of ASCII as text, for which there is no way but to look at them once more.
    #[inline(always)]
    fn as_text(bytes: &[u8]) -> Option<&str> {
        AsciiStr::from_ascii(bytes).ok().map(AsciiStr::as_str)
    }

    #[cold]
    #[inline(never)]
    fn as_text_only(bytes: &[u8]) -> Option<&str> {
        as_text(bytes)
    }

    /// Whether every byte is ASCII and `least` or more.
    #[inline]
    fn all_from(bytes: &[u8], least: u8) -> bool {
        if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk())
            && bytes.len() <= 4 * WORD
        {
            let ([a, b], [c, d]) = (halves(*first), halves(*last));
            let less = less(a, least) | less(b, least) | less(c, least) | less(d, least);
            return (a | b | c | d | less) & HIGH == 0;
        }
        let (mut rest, mut found) = (bytes, 0);
        while let Some((word, behind)) = rest.split_first_chunk() {
            let word = u64::from_le_bytes(*word);
            found |= word | less(word, least);
            rest = behind;
        }
        // Looking at some bytes twice does no harm.
        let word = match bytes.last_chunk() {
            Some(last) => u64::from_le_bytes(*last),
            None => rest.iter().fold(each(b'a'), |word, byte| (word << 8) | u64::from(*byte)),
        };
        (found | word | less(word, least)) & HIGH == 0
    }

    /// Whether `bytes` are of the most usual lengths, 16 to 32, and, where all are ASCII, every one is `least` or more.
    #[inline(always)]
    fn usual_from(bytes: &[u8], least: u8) -> bool {
        let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) else { return false };
        let ([a, b], [c, d]) = (halves(*first), halves(*last));
        bytes.len() <= 4 * WORD && (less(a, least) | less(b, least) | less(c, least) | less(d, least)) & HIGH == 0
    }

    #[inline(always)]
    fn halves(bytes: [u8; 2 * WORD]) -> [u64; 2] {
        let both = u128::from_le_bytes(bytes);
        [both as u64, (both >> 64) as u64]
    }

    /// The highest bit of the first byte of ASCII that is less than `least` is set, and that of none before it.
    #[inline(always)]
    fn less(word: u64, least: u8) -> u64 {
        word.wrapping_sub(each(least))
    }

    /// Whether `bytes` are seen to be a topic filter: `#` alone in the last level (`[MQTT-4.7.1-2]`), `+` alone in any
    /// (`[MQTT-4.7.1-3]`).
    #[inline(always)]
    pub(in crate::mqtt) fn is_filter(bytes: &[u8]) -> bool {
        if bytes.len() <= WORD {
            return false;
        }
        // Before a wildcard in the last level, there are only such as `fits` looks for.
        let bytes = match bytes {
            [rest @ .., wild] if wild | 0x08 == b'+' && rest.last() == Some(&b'/') => rest,
            _ => bytes,
        };
        let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) else { return false };
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        if !fits(first, bytes, 0) || !fits(last, bytes, bytes.len().wrapping_sub(WORD)) {
            return false;
        }
        let mut all = first | last;
        let mut rest = bytes.get(WORD..).unwrap_or(&[]);
        while rest.len() > WORD
            && let Some((word, behind)) = rest.split_first_chunk()
        {
            let word = u64::from_le_bytes(*word);
            all |= word;
            if !fits(word, bytes, bytes.len().wrapping_sub(rest.len())) {
                return false;
            }
            rest = behind;
        }
        all & HIGH == 0
    }

    /// Whether the wildcards of `word`, which stands in `bytes` from `at` on, little end first, are `+` in a level before the
    /// last.
    #[inline(always)]
    fn fits(word: u64, bytes: &[u8], at: usize) -> bool {
        // Added to a byte of ASCII, this sets its highest bit unless it is less.
        let mut marks = (word.wrapping_add(each(0x80 - NOT_WILD)) & HIGH) ^ HIGH;
        while marks != 0 {
            let index = at.wrapping_add((marks.trailing_zeros() >> 3) as usize);
            marks &= marks.wrapping_sub(1);
            let alone = match index.checked_sub(1) {
                Some(before) => bytes.get(before..).and_then(<[u8]>::first_chunk) == Some(b"/+/"),
                None => bytes.starts_with(b"+/"),
            };
            if !alone {
                return false;
            }
        }
        true
    }
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;
    use crate::mqtt::topic;
    use proptest::prelude::*;
    use std::{string::String, vec::Vec};

    proptest! {
        #[test]
        fn what_is_quickly_seen_is_true(
            bytes in prop::collection::vec(prop::sample::select(b"+#/*\"aZ~-,\0\x01\x7f\x80\xac\xc3\xa4\xff".to_vec()), 0..70),
            behind in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let text = String::from_utf8(bytes.clone());
            let text = text.as_deref().ok().filter(|text| !text.contains('\0'));
            let ascii = text.filter(|text| text.is_ascii());
            let plain = ascii.filter(|text| text.bytes().all(|byte| byte > b'+'));
            let usual = (16..=32).contains(&bytes.len());
            let packet = [&bytes[..], &behind].concat();
            prop_assert_eq!(string(&bytes), ascii);
            prop_assert_eq!(name(&bytes), plain);
            prop_assert_eq!(is_right(&bytes, Kind::Name), plain.is_some());
            prop_assert_eq!(is_right(&bytes, Kind::Text), ascii.is_some());
            prop_assert_eq!(usual_name(&bytes), plain.filter(|_| usual));
            prop_assert_eq!(usual_in::<true>(&packet, 0, bytes.len()), plain.filter(|_| usual));
            prop_assert_eq!(usual_in::<false>(&packet, 0, bytes.len()), ascii.filter(|_| usual));
            prop_assert!(!is_filter(&bytes) || text.is_some_and(topic::bytewise_filter));
        }

        #[test]
        fn wildcards_that_are_misplaced_are_not_seen_to_fit(
            levels in prop::collection::vec(prop::sample::select(std::vec!["+", "+", "#", "level", "le", "", "l+", "+l", "#l", "++"]), 1..9),
        ) {
            let filter = levels.join("/");
            prop_assert!(!is_filter(filter.as_bytes()) || topic::bytewise_filter(&filter));
        }

        #[test]
        fn usual_names_and_filters_are_quickly_seen(
            levels in prop::collection::vec("[a-zA-Z0-9_.:-]{0,20}", 1..9),
            wild in prop::collection::vec(any::<bool>(), 9),
            rest: bool,
        ) {
            let text = levels.join("/");
            prop_assert_eq!(name(text.as_bytes()), Some(&*text));
            let mut levels: Vec<_> = levels.iter().zip(wild).map(|(level, wild)| if wild { "+" } else { level }).collect();
            if rest {
                levels.push("#");
            }
            let filter = levels.join("/");
            prop_assert_eq!(is_filter(filter.as_bytes()), filter.len() > 8);
        }
    }
}
