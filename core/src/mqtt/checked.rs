//! Strings on the wire (§1.5.3), looked at once and as bytes: UTF-8, no U+0000, and no wildcards but where they may
//! stand.

use super::{
    Violation,
    text::{Kind, is_right},
    topic::MAX_LEN,
};
use crate::Fail;

/// Whether `bytes` are such a string; of a topic name or filter, one character at least (`[MQTT-4.7.3-1]`,
/// `[MQTT-4.7.3-3]`).
///
/// # Errors
/// By its kind, [`Misuse::InvalidString`], [`Misuse::InvalidTopic`] or [`Misuse::InvalidFilter`].
#[cfg_attr(feature = "opt-size", inline(never))]
#[cfg_attr(not(feature = "opt-size"), inline(always))]
pub(super) fn check(bytes: &[u8], kind: Kind) -> Result<(), Fail> {
    let sized = bytes.len() <= MAX_LEN && (!bytes.is_empty() || !matches!(kind, Kind::Name | Kind::Filter));
    if sized && (kind == Kind::Binary || is_right(bytes, kind) || cut_off(bytes, kind) == Ok(0)) {
        return Ok(());
    }
    Fail::by_number(kind as u8 & 0x0F)
}

/// How many bytes of a character that is cut off stand at the end of `bytes`, the first part of such a string.
#[cfg_attr(feature = "opt-size", inline(never))]
pub(super) fn cut_off(bytes: &[u8], kind: Kind) -> Result<usize, Fail> {
    // Of the character at hand: its bytes, those of them that are to come, and between what the next one lies.
    let (mut all, mut left, mut least, mut most) = (0_u32, 0_u32, 0x80_u8, 0xBF_u8);
    // What stands before a byte where wildcards may stand; nowhere in a name.
    let mut before = if kind == Kind::Filter { b'/' } else { b'x' };
    for byte in bytes.iter().copied() {
        if left != 0 {
            if byte < least || byte > most {
                return Err(Violation::NotUtf8.into());
            }
            (left, least, most) = (left.wrapping_sub(1), 0x80, 0xBF);
            continue;
        }
        if byte >= 0x80 {
            // Unicode, Table 3-7: neither too long a form, nor half of a surrogate pair, nor past the last character.
            if byte.wrapping_sub(0xC2) > 0x32 {
                return Err(Violation::NotUtf8.into());
            }
            match byte {
                0xE0 => least = 0xA0,
                0xED => most = 0x9F,
                0xF0 => least = 0x90,
                0xF4 => most = 0x8F,
                _ => {}
            }
            all = byte.leading_ones();
            left = all.wrapping_sub(1);
        }
        if byte == 0 {
            return Err(Violation::NullCharacter.into());
        }
        // [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.1-3]
        let wild = byte | 0x08 == b'+';
        if kind != Kind::Text && (before == b'#' || (before == b'+' && byte != b'/') || (wild && before != b'/')) {
            return Err(if kind == Kind::Name { Violation::TopicName } else { Violation::TopicFilter }.into());
        }
        if kind == Kind::Filter {
            before = byte;
        }
    }
    Ok(if left == 0 { 0 } else { all.wrapping_sub(left) as usize })
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
            prop_assert_eq!(check(&bytes, Kind::Name).is_ok(), good.is_some_and(topic::valid_name));
            prop_assert_eq!(check(&bytes, Kind::Filter).is_ok(), good.is_some_and(topic::valid_filter));
            // Of text that is cut off, so much is left; of what only looks like it, the rest will show it.
            if let Err(error) = text && error.error_len().is_none() && !bytes.contains(&0) {
                prop_assert_eq!(cut_off(&bytes, Kind::Text), Ok(bytes.len() - error.valid_up_to()));
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
