//! Versions as update-management encodes them (draft-ietf-suit-update-management §4.4).

use crate::ota::cbor::Reader;
use crate::ota::refusal::Refusal;
use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

/// A version: one to three numbers of a release, then, of a pre-release, -1 (rc), -2 (beta) or -3 (alpha) and its
/// numbers. `1.2.0-rc.3` is `[1, 2, 0, -1, 3]`.
///
/// Ordered as the draft compares: number by number; a number that is missing counts as 0, so that `1.2-rc` is before
/// `1.2`, and that, as the shorter one, just before `1.2.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    numbers: [i32; Version::MAX],
    len: u8,
}

impl Version {
    /// The most numbers that a version has here.
    pub const MAX: usize = 6;

    /// The version of these numbers.
    ///
    /// `None` where they are none or more than [`MAX`](Self::MAX), the first is negative, more than three come before
    /// the pre-release's, or a second one is negative.
    #[must_use]
    pub fn new(numbers: &[i32]) -> Option<Self> {
        let mut version = Self { numbers: [0; Self::MAX], len: u8::try_from(numbers.len()).ok()? };
        // Not by `copy_from_slice`, which keeps a panic in firmware.
        for (place, number) in version.numbers.get_mut(..numbers.len())?.iter_mut().zip(numbers) {
            *place = *number;
        }
        version.is_one().then_some(version)
    }

    /// Whether its numbers are those of a version.
    fn is_one(&self) -> bool {
        let (mut release, mut pre) = (0_u8, false);
        for number in self.numbers() {
            if *number >= 0 {
                release = release.wrapping_add((!pre).into());
            } else if pre || *number < -3 {
                return false;
            } else {
                pre = true;
            }
        }
        matches!(release, 1..=3)
    }

    /// Its numbers.
    #[must_use]
    pub fn numbers(&self) -> &[i32] {
        self.numbers.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// What is to be [read](Self::read).
    pub(crate) const NONE: Self = Self { numbers: [0; Self::MAX], len: 0 };

    /// Becomes the `SUIT_Condition_Version_Comparison_Value` that is read.
    pub(crate) fn read(&mut self, reader: &Reader<'_>) {
        let len = reader.array();
        *self = Self { len: u8::try_from(len).unwrap_or(u8::MAX), ..Self::NONE };
        for number in self.numbers.get_mut(..len).unwrap_or_default() {
            *number = reader.i32();
        }
        // Of too many none is one.
        reader.unless(self.is_one(), Refusal::Argument);
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.numbers, self.len).cmp(&(other.numbers, other.len))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, number) in self.numbers().iter().enumerate() {
            match number {
                -1 => f.write_str("-rc")?,
                -2 => f.write_str("-beta")?,
                -3 => f.write_str("-alpha")?,
                _ if n == 0 => write!(f, "{number}")?,
                _ => write!(f, ".{number}")?,
            }
        }
        Ok(())
    }
}

/// The text is no version that [`Version`] can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAVersion;

impl fmt::Display for NotAVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a version: one to three numbers, then perhaps -alpha, -beta or -rc with numbers, as in 1.2.0-rc.3",
        )
    }
}

impl core::error::Error for NotAVersion {}

impl FromStr for Version {
    type Err = NotAVersion;

    /// Reads `1`, `1.2`, `1.2.0`, `1.2.0-rc`, `1.2.0-rc.3`; build metadata has no place in a manifest (§3.1).
    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let (release, pre) = match text.split_once('-') {
            Some((release, pre)) => (release, Some(pre)),
            None => (text, None),
        };
        let mut numbers = [0; Self::MAX];
        let mut places = numbers.iter_mut();
        let mut put = |number| places.next().map(|place| *place = number).ok_or(NotAVersion);
        let mut len = 0usize;
        for part in release.split('.') {
            put(number(part)?)?;
            len = len.saturating_add(1);
        }
        if let Some(pre) = pre {
            for (n, part) in pre.split('.').enumerate() {
                put(match (n, part) {
                    (0, "rc") => -1,
                    (0, "beta") => -2,
                    (0, "alpha") => -3,
                    (0, _) => return Err(NotAVersion),
                    _ => number(part)?,
                })?;
                len = len.saturating_add(1);
            }
        }
        numbers.get(..len).and_then(Self::new).ok_or(NotAVersion)
    }
}

/// Digits only: no sign, as `str::parse` would take.
fn number(text: &str) -> Result<i32, NotAVersion> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_err(|_| NotAVersion)
    } else {
        Err(NotAVersion)
    }
}

/// How an installed version has to compare to the one stated (draft-ietf-suit-update-management §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Comparison {
    /// Later than.
    Greater = 1,
    /// That one or later.
    GreaterEqual = 2,
    /// That one.
    Equal = 3,
    /// That one or earlier.
    LesserEqual = 4,
    /// Earlier than.
    Lesser = 5,
}

/// A requirement on the installed version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionMatch {
    /// How it has to compare
    pub comparison: Comparison,
    /// to this one.
    pub version: Version,
}

impl VersionMatch {
    /// Whether `installed` meets it. Only as many numbers are compared as the requirement states (§4.4).
    #[must_use]
    pub fn holds(&self, installed: &Version) -> bool {
        let stated = self.version.numbers();
        let order = installed.numbers.get(..stated.len()).unwrap_or_default().cmp(stated);
        match self.comparison {
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterEqual => order.is_ge(),
            Comparison::Equal => order.is_eq(),
            Comparison::LesserEqual => order.is_le(),
            Comparison::Lesser => order.is_lt(),
        }
    }

    /// What is to be [read](Self::read).
    pub(crate) const NONE: Self = Self { comparison: Comparison::Equal, version: Version::NONE };

    /// Becomes the `SUIT_Parameter_Version_Match` that is read.
    pub(crate) fn read(&mut self, reader: &Reader<'_>) {
        reader.array_with(2, Refusal::Malformed);
        self.comparison = match reader.uint() {
            1 => Comparison::Greater,
            2 => Comparison::GreaterEqual,
            3 => Comparison::Equal,
            4 => Comparison::LesserEqual,
            5 => Comparison::Lesser,
            _ => {
                reader.set(Refusal::Argument);
                Comparison::Equal
            }
        };
        self.version.read(reader);
    }
}

impl Comparison {
    /// All of them, with the sign that stands for each, in an order in which the first sign that fits is the right one.
    const SIGNS: [(&'static str, Self); 5] = [
        (">=", Self::GreaterEqual),
        ("<=", Self::LesserEqual),
        (">", Self::Greater),
        ("<", Self::Lesser),
        ("=", Self::Equal),
    ];
}

impl fmt::Display for VersionMatch {
    /// `>=1.2.0`, and likewise `<=`, `>`, `<`, `=`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = Comparison::SIGNS.iter().find(|(_, comparison)| *comparison == self.comparison);
        write!(f, "{}{}", sign.map_or("", |(sign, _)| sign), self.version)
    }
}

impl FromStr for VersionMatch {
    type Err = NotAVersion;

    /// Reads what is printed.
    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let (rest, comparison) = Comparison::SIGNS
            .iter()
            .find_map(|(sign, comparison)| text.strip_prefix(sign).map(|rest| (rest, *comparison)))
            .ok_or(NotAVersion)?;
        Ok(Self { comparison, version: rest.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn the_drafts_examples_read_and_print() {
        for (text, numbers) in [
            ("1.2.3", &[1, 2, 3][..]),
            ("1.2-rc.3", &[1, 2, -1, 3]),
            ("1.2-beta", &[1, 2, -2]),
            ("1.2-alpha", &[1, 2, -3]),
            ("1.2.3-alpha.4", &[1, 2, 3, -3, 4]),
        ] {
            assert_eq!(version(text).numbers(), numbers);
            assert_eq!(version(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in
            ["", ".", "1.", "1.2.3.4", "-rc", "1-gamma", "1.+2", "1.2.3-rc.1.2.3", "1.2-rc.-1", "4294967296", "1.2.3+b"]
        {
            assert_eq!(text.parse::<Version>(), Err(NotAVersion), "{text}");
        }
        assert_eq!(Version::new(&[]), None);
        assert_eq!(Version::new(&[-1]), None);
        assert_eq!(Version::new(&[1, -4]), None);
        assert_eq!(Version::new(&[1, -1, -1]), None);
        assert_eq!(Version::new(&[1, 2, 3, 4]), None);
    }

    #[test]
    fn versions_are_ordered_as_the_draft_says() {
        let ordered = ["1.9.9", "2.0-alpha", "2.0-beta.2", "2.0-rc", "2.0-rc.1", "2.0.0", "2.0.1", "2.1", "10"];
        for pair in ordered.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn a_requirement_compares_only_the_numbers_it_states() {
        let holds = |comparison, stated, installed| {
            VersionMatch { comparison, version: version(stated) }.holds(&version(installed))
        };
        assert!(holds(Comparison::Equal, "1", "1.7.3"));
        assert!(holds(Comparison::GreaterEqual, "1.0", "1.0.5"));
        assert!(holds(Comparison::Lesser, "1.10", "1.9.9"));
        assert!(!holds(Comparison::Lesser, "1.10", "1.10.0"));
        assert!(!holds(Comparison::Greater, "1.2", "1.2.9"));
        assert!(holds(Comparison::LesserEqual, "1.2", "1.2.9"));
    }

    #[test]
    fn a_requirement_reads_as_it_prints() {
        for text in [">=1.2.0", "<=1", ">2.0-rc.1", "<1.10", "=3.1"] {
            assert_eq!(text.parse::<VersionMatch>().unwrap().to_string(), text);
        }
        for text in ["1.2", "==1", "> 1", "=>1", ">=", "~1"] {
            assert_eq!(text.parse::<VersionMatch>(), Err(NotAVersion), "{text}");
        }
    }
}
