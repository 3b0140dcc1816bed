//! Sees quickly that a string on the wire (§1.5.3) is right, as nearly all are: ASCII without U+0000, looked at by words.
//! What is not seen so has to be looked at byte by byte. Only for processors of 64 bits: on a microcontroller the code
//! would cost more than the time.

/// What a string may hold besides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything.
    Text,
    /// No wildcards.
    Name,
    /// Wildcards where they may stand (§4.7.1).
    Filter,
}

#[cfg(target_pointer_width = "64")]
pub(super) use words::{is_right, quick};

/// Whether it is quickly seen that `bytes` are right.
#[cfg(not(target_pointer_width = "64"))]
#[inline]
pub(super) fn is_right(_: &[u8], _: Kind) -> bool {
    false
}

/// And as text.
#[cfg(not(target_pointer_width = "64"))]
#[inline]
pub(super) fn quick(_: &[u8], _: Kind) -> Option<&str> {
    None
}

#[cfg(target_pointer_width = "64")]
mod words {
    use super::Kind;
    use ascii::AsciiStr;

    const WORD: usize = size_of::<u64>();

    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; WORD])
    }

    #[inline]
    pub(in crate::mqtt) fn quick(bytes: &[u8], kind: Kind) -> Option<&str> {
        if is_right(bytes, kind) { AsciiStr::from_ascii(bytes).ok().map(AsciiStr::as_str) } else { None }
    }

    #[inline]
    pub(in crate::mqtt) fn is_right(bytes: &[u8], kind: Kind) -> bool {
        let mut rest = bytes;
        while let Some((word, behind)) = rest.split_first_chunk() {
            let at = bytes.len().wrapping_sub(rest.len());
            if !right(u64::from_le_bytes(*word), kind, bytes, at) {
                return false;
            }
            rest = behind;
        }
        if !rest.is_empty() {
            let (word, at) = match bytes.last_chunk() {
                // Looking at some bytes twice does no harm.
                Some(last) => (u64::from_le_bytes(*last), bytes.len().wrapping_sub(WORD)),
                None => (rest.iter().rev().fold(each(b'a'), |word, byte| (word << 8) | u64::from(*byte)), 0),
            };
            if !right(word, kind, bytes, at) {
                return false;
            }
        }
        true
    }

    /// Whether the eight bytes from `at` on, little end first, are right. One taken from a byte of ASCII sets its highest
    /// bit where the byte is 0, and nowhere before that. `+` and `#` differ in one bit.
    #[inline]
    fn right(word: u64, kind: Kind, bytes: &[u8], at: usize) -> bool {
        let odd = word | word.wrapping_sub(each(1));
        let wild = ((word | each(b'+' ^ b'#')) ^ each(b'+' | b'#')).wrapping_sub(each(1));
        match kind {
            Kind::Text => odd & each(0x80) == 0,
            Kind::Name => (odd | wild) & each(0x80) == 0,
            Kind::Filter => odd & each(0x80) == 0 && (wild & each(0x80) == 0 || stand(wild & each(0x80), bytes, at)),
        }
    }

    /// Whether the wildcards among the marked bytes stand where they may.
    #[inline]
    fn stand(mut marks: u64, bytes: &[u8], at: usize) -> bool {
        while marks != 0 {
            let index = at.wrapping_add((marks.trailing_zeros() >> 3) as usize);
            marks &= marks.wrapping_sub(1);
            let before = bytes.get(index.wrapping_sub(1)).is_none_or(|byte| *byte == b'/');
            let fits = match (bytes.get(index), bytes.get(index.wrapping_add(1))) {
                (Some(b'+' | b'#'), None) | (Some(b'+'), Some(b'/')) => before,
                (Some(b'+' | b'#'), _) => false,
                // It was marked for standing behind a wildcard.
                _ => true,
            };
            if !fits {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::topic;
    use proptest::prelude::*;
    use std::string::String;

    proptest! {
        #[test]
        fn what_is_quickly_seen_is_true(bytes in prop::collection::vec(prop::sample::select(b"+#/*\"a\0\x01\x7f\x80\xc3\xa4".to_vec()), 0..30)) {
            let text = String::from_utf8(bytes.clone());
            let text = text.as_deref().ok().filter(|text| !text.contains('\0'));
            for kind in [Kind::Text, Kind::Name, Kind::Filter] {
                let right = text.filter(|text| text.is_empty() || match kind {
                    Kind::Text => true,
                    Kind::Name => topic::valid_name(text),
                    Kind::Filter => topic::valid_filter(text),
                });
                let found = quick(&bytes, kind);
                prop_assert!(found.is_none() || found == right);
                if cfg!(target_pointer_width = "64") && bytes.is_ascii() {
                    prop_assert_eq!(found, right);
                }
            }
        }
    }
}
