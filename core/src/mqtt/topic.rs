//! Topic names and topic filters (§4.7).
//!
//! Both are at least one character long (`[MQTT-4.7.3-1]`), hold no U+0000 (`[MQTT-4.7.3-2]`) and take at most 65,535
//! bytes (`[MQTT-4.7.3-3]`). Characters are compared as they are: nothing is normalised (`[MQTT-4.7.3-4]`).

use super::text::{Kind, is_right};

/// The most bytes a string can have on the wire (§1.5.3).
pub const MAX_LEN: usize = 65_535;

/// Whether `topic` can be published to: a topic name, which holds no wildcard (`[MQTT-4.7.1-1]`).
#[must_use]
pub fn valid_name(topic: &str) -> bool {
    sized(topic) && (is_right(topic.as_bytes(), Kind::Name) || bytewise_name(topic))
}

/// Whether there is neither a wildcard nor U+0000 in it.
pub(super) fn bytewise_name(topic: &str) -> bool {
    !topic.bytes().any(|b| matches!(b, 0 | b'+' | b'#'))
}

/// Whether `filter` can be subscribed to: `#` stands alone in the last level (`[MQTT-4.7.1-2]`), `+` alone in any
/// (`[MQTT-4.7.1-3]`).
#[must_use]
pub fn valid_filter(filter: &str) -> bool {
    sized(filter) && (is_right(filter.as_bytes(), Kind::Filter) || bytewise_filter(filter))
}

pub(super) fn bytewise_filter(filter: &str) -> bool {
    // What the byte before allows: at the start of a level a wildcard may stand, after one nothing but a separator,
    // after `#` nothing at all.
    let mut before = b'/';
    for byte in filter.bytes() {
        let fits = match before {
            b'#' => false,
            b'+' => byte == b'/',
            b'/' => true,
            _ => !matches!(byte, b'+' | b'#'),
        };
        if !fits || byte == 0 {
            return false;
        }
        before = byte;
    }
    true
}

/// Whether the topic name `name` matches `filter`; both are taken to be valid.
///
/// A filter that starts with a wildcard matches no name that starts with `$` (`[MQTT-4.7.2-1]`).
///
/// ```
/// use waft::mqtt::topic::matches;
/// assert!(matches("sport/#", "sport"));
/// assert!(matches("+/tennis/+", "sport/tennis/"));
/// assert!(!matches("#", "$SYS/uptime"));
/// ```
#[must_use]
pub fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && !filter.starts_with('$') {
        return false;
    }
    let mut levels = name.as_bytes().split(|b| *b == b'/');
    for wanted in filter.as_bytes().split(|b| *b == b'/') {
        // `#` stands for the parent level too (§4.7.1.2), so it is looked at before a level is asked for.
        if wanted == b"#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == b"+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

fn sized(topic: &str) -> bool {
    !topic.is_empty() && topic.len() <= MAX_LEN
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    #[test]
    fn wildcards_stand_only_in_filters() {
        for name in ["a", "/", "a//b", "$SYS/x", " ", "ä/€"] {
            assert!(valid_name(name), "{name}");
            assert!(valid_filter(name), "{name}");
        }
        for name in ["a/+", "#", "a+", "a#b", "", "a\0b"] {
            assert!(!valid_name(name), "{name}");
        }
    }

    #[test]
    fn a_wildcard_fills_its_level() {
        for filter in ["#", "+", "sport/tennis/#", "+/tennis/#", "/+", "+/+", "sport/+/player1", "$SYS/#"] {
            assert!(valid_filter(filter), "{filter}");
        }
        for filter in ["", "sport/tennis#", "sport/tennis/#/ranking", "sport+", "+a", "##", "#/", "++", "a\0", "+#"] {
            assert!(!valid_filter(filter), "{filter}");
        }
    }

    #[test]
    fn a_topic_is_at_most_65535_bytes_long() {
        let mut topic = String::from_utf8(std::vec![b'a'; MAX_LEN]).unwrap();
        assert!(valid_name(&topic) && valid_filter(&topic));
        topic.push('a');
        assert!(!valid_name(&topic) && !valid_filter(&topic)); // [MQTT-4.7.3-3]
    }

    #[test]
    fn filters_match_as_the_standard_says() {
        for (filter, name) in [
            ("sport/tennis/player1/#", "sport/tennis/player1"),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking"),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
            ("sport/#", "sport"),
            ("#", "a/b"),
            ("sport/tennis/+", "sport/tennis/player1"),
            ("sport/+", "sport/"),
            ("+/+", "/finance"),
            ("/+", "/finance"),
            ("$SYS/#", "$SYS/a"),
            ("$SYS/monitor/+", "$SYS/monitor/Clients"),
            ("a/b", "a/b"),
        ] {
            assert!(matches(filter, name), "{filter} {name}");
        }
        for (filter, name) in [
            ("sport/tennis/+", "sport/tennis/player1/ranking"),
            ("sport/+", "sport"),
            ("+", "/finance"),
            ("#", "$SYS/a"),
            ("+/monitor/Clients", "$SYS/monitor/Clients"),
            ("ACCOUNTS", "Accounts"),
            ("a/b", "a/b/"),
            ("a/b/", "a/b"),
            ("a", "/a"),
        ] {
            assert!(!matches(filter, name), "{filter} {name}");
        }
    }
}
