//! Text for parsers in firmware: nom's own input of `&str` brings panics and Unicode along. This one goes by bytes, which
//! is enough where all that a grammar names is ASCII.

use core::{
    iter::{Copied, Enumerate},
    slice,
};
use nom::{Compare, CompareResult, Input, Needed, Offset};

/// Text, byte by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text<'a>(pub(super) &'a str);

/// `text` in two at a byte's place; all of it and nothing where that is no place to part it.
pub(super) fn part(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// What stands before the first `mark`, and what behind it.
pub(super) fn split_once(text: &str, mark: u8) -> (&str, Option<&str>) {
    match text.bytes().position(|b| b == mark) {
        Some(at) => {
            let (before, rest) = part(text, at);
            (before, Some(part(rest, 1).1))
        }
        None => (text, None),
    }
}

/// What stands between the `mark`s: one more than there are marks.
pub(super) fn split(text: &str, mark: u8) -> impl Iterator<Item = &str> + Clone {
    let mut rest = Some(text);
    core::iter::from_fn(move || {
        let (piece, after) = split_once(rest?, mark);
        rest = after;
        Some(piece)
    })
}

impl<'a> Input for Text<'a> {
    type Item = u8;
    type Iter = Copied<slice::Iter<'a, u8>>;
    type IterIndices = Enumerate<Self::Iter>;

    fn input_len(&self) -> usize {
        self.0.len()
    }

    fn take(&self, index: usize) -> Self {
        Self(part(self.0, index).0)
    }

    fn take_from(&self, index: usize) -> Self {
        Self(part(self.0, index).1)
    }

    fn take_split(&self, index: usize) -> (Self, Self) {
        let (before, after) = part(self.0, index);
        (Self(after), Self(before))
    }

    fn position<P: Fn(u8) -> bool>(&self, predicate: P) -> Option<usize> {
        self.0.bytes().position(predicate)
    }

    fn iter_elements(&self) -> Self::Iter {
        self.0.as_bytes().iter().copied()
    }

    fn iter_indices(&self) -> Self::IterIndices {
        self.iter_elements().enumerate()
    }

    fn slice_index(&self, count: usize) -> Result<usize, Needed> {
        self.0.len().checked_sub(count).map(|_| count).ok_or(Needed::Unknown)
    }
}

impl Offset for Text<'_> {
    fn offset(&self, second: &Self) -> usize {
        // `second` is a rest of this.
        self.0.len().saturating_sub(second.0.len())
    }
}

impl Compare<&str> for Text<'_> {
    fn compare(&self, t: &str) -> CompareResult {
        self.matches(t, |a, b| a == b)
    }

    fn compare_no_case(&self, t: &str) -> CompareResult {
        self.matches(t, |a, b| a.eq_ignore_ascii_case(&b))
    }
}

impl Text<'_> {
    fn matches(&self, t: &str, same: fn(u8, u8) -> bool) -> CompareResult {
        if !self.0.bytes().zip(t.bytes()).all(|(a, b)| same(a, b)) {
            CompareResult::Error
        } else if self.0.len() < t.len() {
            CompareResult::Incomplete
        } else {
            CompareResult::Ok
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_parted_at_marks_only() {
        assert_eq!(part("aé", 2), ("aé", ""));
        assert_eq!(part("ab", 9), ("ab", ""));
        assert_eq!(split_once("a?b?c", b'?'), ("a", Some("b?c")));
        assert_eq!(split_once("a", b'?'), ("a", None));
        assert!(split("/a//b", b'/').eq(["", "a", "", "b"]));
        assert!(split("", b'/').eq([""]));
    }
}
