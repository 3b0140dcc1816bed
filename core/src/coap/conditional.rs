//! Conditional requests (RFC 7252 §5.10.6.2, §5.10.8): what the options of a request say about the version that is there.

use super::{
    code::Code,
    event::ETag,
    option::{self, Options},
};

/// What is to be done with a request, by its ETag, If-Match and If-None-Match options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// What it asks for.
    Proceed,
    /// Answer 2.03 Valid with this version's ETag and no body: the client has it (§5.10.6.2).
    Valid,
    /// Answer 4.12 Precondition Failed, and do nothing (§5.10.8).
    Failed,
}

impl<'a> Options<'a> {
    /// What these options of a request with this method say where `exists` a representation, and this is its version.
    ///
    /// If-Match holds where one of its values is the ETag, or is empty and there is a representation; If-None-Match where
    /// there is none. A GET or FETCH with an ETag option that is the ETag needs no body.
    #[must_use]
    pub fn condition(self, method: Code, exists: bool, etag: Option<ETag>) -> Condition {
        let is = |value: &[u8]| exists && etag.is_some_and(|etag| etag.as_bytes() == value);
        let mut wanted = self.all(option::IF_MATCH).peekable();
        let refused = wanted.peek().is_some() && !wanted.any(|value| is(value) || (exists && value.is_empty()));
        if refused || (exists && self.get(option::IF_NONE_MATCH).is_some()) {
            return Condition::Failed;
        }
        if matches!(method, Code::GET | Code::FETCH) && self.all(option::ETAG).any(is) {
            return Condition::Valid;
        }
        Condition::Proceed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_carried_out_where_its_conditions_hold() {
        let a = ETag::new(b"a");
        let none: &[u8] = &[];
        let if_match = |value: &'static [u8]| match value {
            [] => &[0x10][..],
            _ => &[0x11, b'a'],
        };
        let etags = [0x41, b'b', 0x01, b'a'];
        use Condition::{Failed, Proceed, Valid};
        for (wire, method, exists, etag, condition) in [
            (none, Code::PUT, false, None, Proceed),
            (none, Code::GET, true, a, Proceed),
            (if_match(b"a"), Code::PUT, true, a, Proceed),
            (if_match(b"a"), Code::PUT, true, ETag::new(b"b"), Failed),
            (if_match(b"a"), Code::PUT, true, None, Failed),
            (if_match(b"a"), Code::PUT, false, a, Failed),
            (if_match(b""), Code::DELETE, true, None, Proceed),
            (if_match(b""), Code::DELETE, false, None, Failed),
            (&[0x11, b'b', 0x01, b'a'], Code::PUT, true, a, Proceed),
            (&[0x50], Code::PUT, false, None, Proceed),
            (&[0x50], Code::PUT, true, a, Failed),
            (&etags, Code::GET, true, a, Valid),
            (&etags, Code::FETCH, true, a, Valid),
            (&etags, Code::POST, true, a, Proceed),
            (&etags, Code::GET, true, ETag::new(b"c"), Proceed),
            (&etags, Code::GET, false, a, Proceed),
        ] {
            let options = Options::from_parts(wire, 0);
            assert_eq!(options.condition(method, exists, etag), condition, "{wire:x?} {method:?} {exists} {etag:?}");
        }
    }
}
