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
    sized && (is_right(bytes, kind) || whole_characters(bytes, kind) == Ok(bytes.len()))
}

/// How many of `bytes`, the first part of such a string, are whole characters: all, but for one that is cut off at the
/// end.
pub(super) fn whole_characters(bytes: &[u8], kind: Kind) -> Result<usize, Violation> {
    // Bytes that are still to come of a character, and the next one's least and greatest value (Unicode, Table 3-7).
    let (mut left, mut least, mut greatest) = (0_usize, 0x80, 0xBF);
    let (mut before, mut whole) = (b'/', 0);
    for (at, byte) in bytes.iter().copied().enumerate() {
        if left != 0 {
            if byte < least || byte > greatest {
                return Err(Violation::NotUtf8);
            }
            (left, least, greatest) = (left.wrapping_sub(1), 0x80, 0xBF);
            continue;
        }
        whole = at;
        match byte {
            0 => return Err(Violation::NullCharacter),
            0x01..=0x7F => {}
            0xC2..=0xF4 => {
                left = if byte >= 0xF0 {
                    3
                } else if byte >= 0xE0 {
                    2
                } else {
                    1
                };
                match byte {
                    0xE0 => least = 0xA0,
                    0xED => greatest = 0x9F,
                    0xF0 => least = 0x90,
                    0xF4 => greatest = 0x8F,
                    _ => {}
                }
            }
            _ => return Err(Violation::NotUtf8),
        }
        let wild = byte == b'+' || byte == b'#';
        match kind {
            Kind::Text => {}
            Kind::Name if wild => return Err(Violation::TopicName),
            Kind::Name => {}
            // [MQTT-4.7.1-2], [MQTT-4.7.1-3]
            Kind::Filter if before == b'#' || (before == b'+' && byte != b'/') || (wild && before != b'/') => {
                return Err(Violation::TopicFilter);
            }
            Kind::Filter => before = byte,
        }
    }
    Ok(if left == 0 { bytes.len() } else { whole })
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
            prop_assert_eq!(whole_characters(&bytes, Kind::Text) == Ok(bytes.len()), good.is_some());
            prop_assert_eq!(is_valid(&bytes, Kind::Name), good.is_some_and(topic::valid_name));
            prop_assert_eq!(is_valid(&bytes, Kind::Filter), good.is_some_and(topic::valid_filter));
            if !bytes.contains(&0) {
                let cut = text.map_or_else(|e| e.error_len().is_none().then_some(e.valid_up_to()), |text| Some(text.len()));
                prop_assert_eq!(whole_characters(&bytes, Kind::Text).ok(), cut);
            }
        }
    }

    #[test]
    fn every_character_is_one_and_nothing_else_is() {
        for n in 1..=0x1F_FFFF_u32 {
            if let Some(c) = char::from_u32(n) {
                let mut buf = [0; 4];
                let bytes = c.encode_utf8(&mut buf).as_bytes();
                assert_eq!(whole_characters(bytes, Kind::Text), Ok(bytes.len()));
            }
        }
        for four in 0..=0xFFFF_u16 {
            let [a, b] = four.to_be_bytes();
            for bytes in [[a, b, 0x80, 0x80], [b'x', a, b, 0x80], [b'x', b'x', a, b]] {
                let good = core::str::from_utf8(&bytes).is_ok_and(|text| !text.contains('\0'));
                assert_eq!(whole_characters(&bytes, Kind::Text) == Ok(4), good, "{bytes:02x?}");
            }
        }
    }
}
