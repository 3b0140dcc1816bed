//! The names under which a fleet's releases are published. Nothing else on the wire is private to waft.
//!
//! | what | MQTT topic | CoAP path at the gateway |
//! | --- | --- | --- |
//! | the manifest | `<root>/<class>/manifest` | `/<class>/manifest` |
//! | the image | `<root>/<class>/image/<id>/<n>`, chunk `n` from 0 | `/<class>/image/<id>` |
//! | a device's report | `<root>/<class>/<device>/report` | `/<class>/<device>/report` |
//! | a device's presence | `<root>/<class>/<device>/status` | |
//!
//! `<id>` is what the manifest's URI says: a reference relative to the manifest, so one signed manifest serves both columns.

use crate::wire::Writer;

/// The longest topic or path an agent handles, in bytes.
pub const MAX_NAME: usize = 128;

/// A topic or a path being put together on the stack.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    bytes: [u8; MAX_NAME],
    len: usize,
}

impl Name {
    /// The parts one after the other; `None` where they are too long together.
    pub(crate) fn join(parts: &[&str]) -> Option<Self> {
        let mut bytes = [0; MAX_NAME];
        let mut writer = Writer::new(&mut bytes);
        for part in parts {
            writer.bytes(part.as_bytes());
        }
        let len = writer.len();
        (len <= MAX_NAME).then_some(Self { bytes, len })
    }

    /// This name, a slash and a number.
    pub(crate) fn numbered(&self, n: u32) -> Option<Self> {
        let mut digits = [0; 10];
        Self::join(&[self.as_str(), "/", decimal(n, &mut digits)])
    }

    pub(crate) fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|b| core::str::from_utf8(b).ok()).unwrap_or("")
    }
}

/// Resolves a manifest's reference against the name the manifest came under (RFC 3986 §5.2, for the one shape that is
/// allowed: a path without `.`, `..` or empty segments, query or fragment).
pub(crate) fn resolve(base: &str, reference: &str) -> Option<Name> {
    if !is_relative(reference) {
        return None;
    }
    let folder = base.bytes().rposition(|b| b == b'/').and_then(|at| base.get(..=at)).unwrap_or("");
    Name::join(&[folder, reference])
}

/// Whether a manifest's URI is a reference relative to the manifest.
pub(crate) fn is_relative(reference: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'/');
    reference.bytes().all(allowed) && reference.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

/// The chunk number in `topic`, where it is one of the image at `base`.
pub(crate) fn chunk_number(topic: &str, base: &str) -> Option<u32> {
    let digits = topic.strip_prefix(base)?.strip_prefix('/')?;
    if digits.is_empty() || digits.len() > 10 || (digits.starts_with('0') && digits != "0") {
        return None;
    }
    let mut n = 0_u32;
    for digit in digits.bytes() {
        let value = digit.checked_sub(b'0').filter(|v| *v <= 9)?;
        n = n.checked_mul(10)?.checked_add(u32::from(value))?;
    }
    Some(n)
}

fn decimal(mut n: u32, digits: &mut [u8; 10]) -> &str {
    let mut start = digits.len();
    for place in digits.iter_mut().rev() {
        // A u32 modulo 10 is below 10.
        *place = b'0'.wrapping_add((n % 10).to_le_bytes()[0]);
        n /= 10;
        start = start.saturating_sub(1);
        if n == 0 {
            break;
        }
    }
    digits.get(start..).and_then(|d| core::str::from_utf8(d).ok()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_replaces_the_last_segment() {
        assert_eq!(resolve("waft/lamp/manifest", "image/0a1b").unwrap().as_str(), "waft/lamp/image/0a1b");
        assert_eq!(resolve("/lamp/manifest", "image/0a1b").unwrap().as_str(), "/lamp/image/0a1b");
        for bad in ["", "/x", "a//b", "../x", "a/./b", "coap://h/x", "a?b", "a#b", "a/+", "#"] {
            assert!(resolve("/lamp/manifest", bad).is_none(), "{bad}");
        }
        assert!(resolve("/lamp/manifest", &"x".repeat(MAX_NAME)).is_none());
    }

    #[test]
    fn chunk_numbers_are_read_as_they_are_written() {
        let base = Name::join(&["waft/lamp/image/0a1b"]).unwrap();
        for n in [0, 7, 10, 4_294_967_295] {
            let topic = base.numbered(n).unwrap();
            assert_eq!(chunk_number(topic.as_str(), base.as_str()), Some(n));
        }
        for bad in ["", "/", "/01", "/x", "/4294967296", "/1/", "1", "/-1", "/99999999999"] {
            let topic = std::format!("waft/lamp/image/0a1b{bad}");
            assert_eq!(chunk_number(&topic, "waft/lamp/image/0a1b"), None, "{bad}");
        }
    }
}
