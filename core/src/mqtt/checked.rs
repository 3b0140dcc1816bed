//! Strings on the wire (§1.5.3), looked at once and as bytes: UTF-8, no U+0000, and no wildcards but where they may
//! stand.

use super::{
    Violation,
    text::{Kind, is_right},
    topic::MAX_LEN,
};

/// Whether `bytes` are such a string; of a topic name or filter, one character at least (`[MQTT-4.7.3-1]`,
/// `[MQTT-4.7.3-3]`).
pub(super) fn is_valid(bytes: &[u8], kind: Kind) -> bool {
    let sized = bytes.len() <= MAX_LEN && (kind == Kind::Text || !bytes.is_empty());
    sized && (is_right(bytes, kind) || cut_off(bytes, kind) == Ok(0))
}

/// How many bytes of a character that is cut off stand at the end of `bytes`, the first part of such a string.
#[cfg_attr(feature = "opt-size", inline(never))]
pub(super) fn cut_off(bytes: &[u8], kind: Kind) -> Result<u8, Violation> {
    // Of the character at hand: bytes there are, and bytes to come; its bits, and the least that need so many bytes.
    let (mut there, mut left, mut bits, mut least) = (0_u32, 0_u32, 0_u32, 0_u32);
    // What stands before a byte where wildcards may stand; nowhere in a name.
    let mut before = if kind == Kind::Filter { b'/' } else { b'x' };
    for byte in bytes.iter().copied() {
        if left != 0 {
            bits = (bits << 6) | u32::from(byte & 0x3F);
            (there, left) = (there.wrapping_add(1), left.wrapping_sub(1));
            // Neither too long a form, nor half of a surrogate pair, nor past the last character.
            if byte & 0xC0 != 0x80 || (left == 0 && (bits < least || bits >> 11 == 0x1B || bits > 0x10_FFFF)) {
                return Err(Violation::NotUtf8);
            }
            continue;
        }
        if byte == 0 {
            return Err(Violation::NullCharacter);
        }
        there = 1;
        if byte >= 0x80 {
            // The first byte of a character is 0xC2 … 0xF4.
            if byte.wrapping_sub(0xC2) > 0x32 {
                return Err(Violation::NotUtf8);
            }
            // One byte that follows makes a character of 11 bits, and each further one adds 5. (Of the shorter ones, those of
            // one are out already.)
            left = if byte >= 0xF0 { 3 } else { ((u32::from(byte) >> 5) & 1).wrapping_add(1) };
            bits = u32::from(byte) & (0x3F >> left);
            least = 0x02 << left.wrapping_mul(5);
        }
        // [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.1-3]
        let wild = byte | 0x08 == b'+';
        if kind != Kind::Text && (before == b'#' || (before == b'+' && byte != b'/') || (wild && before != b'/')) {
            return Err(if kind == Kind::Name { Violation::TopicName } else { Violation::TopicFilter });
        }
        if kind == Kind::Filter {
            before = byte;
        }
    }
    Ok(if left == 0 { 0 } else { u8::try_from(there).unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::topic;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_string_is_what_unicode_and_the_standard_say(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(
            b"+#/a\0\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xff".to_vec())], 0..8)) {
            let text = core::str::from_utf8(&bytes);
            let good = text.ok().filter(|text| !text.contains('\0'));
            prop_assert_eq!(cut_off(&bytes, Kind::Text) == Ok(0), good.is_some());
            prop_assert_eq!(is_valid(&bytes, Kind::Name), good.is_some_and(topic::valid_name));
            prop_assert_eq!(is_valid(&bytes, Kind::Filter), good.is_some_and(topic::valid_filter));
            // Of text that is cut off, so much is left; of what only looks like it, the rest will show it.
            if let Err(error) = text && error.error_len().is_none() && !bytes.contains(&0) {
                prop_assert_eq!(cut_off(&bytes, Kind::Text).map(usize::from), Ok(bytes.len() - error.valid_up_to()));
            }
        }
    }

    #[test]
    fn every_character_is_one_and_nothing_else_is() {
        for n in 1..=0x1F_FFFF_u32 {
            if let Some(c) = char::from_u32(n) {
                let mut buf = [0; 4];
                let bytes = c.encode_utf8(&mut buf).as_bytes();
                assert_eq!(cut_off(bytes, Kind::Text), Ok(0));
            }
        }
        for four in 0..=0xFFFF_u16 {
            let [a, b] = four.to_be_bytes();
            for bytes in [[a, b, 0x80, 0x80], [b'x', a, b, 0x80], [b'x', b'x', a, b]] {
                let good = core::str::from_utf8(&bytes).is_ok_and(|text| !text.contains('\0'));
                assert_eq!(cut_off(&bytes, Kind::Text) == Ok(0), good, "{bytes:02x?}");
            }
        }
    }
}
