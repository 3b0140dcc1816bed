//! Which delivery model an update takes: data, not code, so that the device's owner can override it.
//!
//! The default is Table 3 of the paper that waft follows (Thantharate et al.): high severity over MQTT alone (A),
//! medium with an MQTT notice and a CoAP download (B), low by whichever of the two the device's link makes cheaper.

/// How an update reaches the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Model {
    /// MQTT only: manifest and image are retained messages.
    A = 0,
    /// MQTT carries the manifest, its URI names a CoAP server that has the image.
    B = 1,
    /// CoAP only: the device observes a gateway and fetches manifest and image from it.
    C = 2,
}

impl Model {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::A, Self::B, Self::C];

    /// The model with that number.
    #[must_use]
    pub const fn from_u8(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::A),
            1 => Some(Self::B),
            2 => Some(Self::C),
            _ => None,
        }
    }

    /// `"a"`, `"b"` or `"c"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::C => "c",
        }
    }
}

/// What an update is for. It travels in the manifest's [private parameter](super::manifest::PRIVATE).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum UpdateType {
    /// New or changed function. What a manifest without the private parameter is taken for.
    Software = 0,
    /// It closes a hole.
    Security = 1,
}

impl UpdateType {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Software, Self::Security];

    /// The type with that number.
    #[must_use]
    pub const fn from_u8(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Software),
            1 => Some(Self::Security),
            _ => None,
        }
    }

    /// `"software"` or `"security"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Software => "software",
            Self::Security => "security",
        }
    }
}

/// How urgent an update is. Travels as suit-parameter-update-priority (draft-ietf-suit-update-management §4.3: smaller
/// is more urgent); the numbers are those of LwM2M's `Severity` (object 5, resource 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Severity {
    /// Cannot wait. LwM2M: critical.
    High = 0,
    /// Has to be taken. LwM2M: mandatory. What a manifest that states no priority is taken for.
    Medium = 1,
    /// May be taken. LwM2M: optional.
    Low = 2,
}

impl Severity {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Medium, Self::Low];

    /// The severity with that number.
    #[must_use]
    pub const fn from_u8(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::High),
            1 => Some(Self::Medium),
            2 => Some(Self::Low),
            _ => None,
        }
    }

    /// What a SUIT update-priority stands for: 0 and below are high, 1 is medium, 2 and above are low.
    #[must_use]
    pub const fn from_priority(priority: i64) -> Self {
        match priority {
            ..=0 => Self::High,
            1 => Self::Medium,
            2.. => Self::Low,
        }
    }

    /// The SUIT update-priority an author writes for it.
    #[must_use]
    pub const fn priority(self) -> u8 {
        self as u8
    }

    /// `"high"`, `"medium"` or `"low"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// One entry of a [`Policy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Choice {
    /// Always model A.
    A = 0,
    /// Always model B.
    B = 1,
    /// A or B, by the device's [`Link`].
    Cheaper = 2,
    /// Always model C.
    C = 3,
}

impl Choice {
    /// The choice with that number.
    #[must_use]
    pub const fn from_u8(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::A),
            1 => Some(Self::B),
            2 => Some(Self::Cheaper),
            3 => Some(Self::C),
            _ => None,
        }
    }
}

/// What a device's link makes of the two models: any unit (bytes on air, energy, money), as long as it is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Link {
    /// What a kilobyte of image costs by model A.
    pub a: u32,
    /// What it costs by model B.
    pub b: u32,
}

impl Default for Link {
    /// Both cost the same.
    fn default() -> Self {
        Self { a: 1, b: 1 }
    }
}

impl Link {
    /// The cheaper model. Where they cost the same: A, whose connection is open already.
    #[must_use]
    pub const fn cheaper(self) -> Model {
        if self.b < self.a { Model::B } else { Model::A }
    }
}

/// Update type × severity → choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Rows in the order of [`UpdateType::ALL`], columns in that of [`Severity::ALL`].
    pub table: [[Choice; 3]; 2],
}

impl Default for Policy {
    fn default() -> Self {
        Self::PAPER
    }
}

impl Policy {
    /// The paper's Table 3. It treats both update types alike.
    pub const PAPER: Self = Self { table: [[Choice::A, Choice::B, Choice::Cheaper]; 2] };

    /// This policy with one entry replaced.
    #[must_use]
    pub fn with(mut self, kind: UpdateType, severity: Severity, choice: Choice) -> Self {
        if let Some(entry) = self.table.get_mut(kind as usize).and_then(|row| row.get_mut(severity as usize)) {
            *entry = choice;
        }
        self
    }

    /// The entry for such an update.
    #[must_use]
    pub fn choice(&self, kind: UpdateType, severity: Severity) -> Choice {
        let [software, security] = &self.table;
        let [high, medium, low] = match kind {
            UpdateType::Software => software,
            UpdateType::Security => security,
        };
        match severity {
            Severity::High => *high,
            Severity::Medium => *medium,
            Severity::Low => *low,
        }
    }

    /// The model such an update takes on such a link.
    #[must_use]
    pub fn choose(&self, kind: UpdateType, severity: Severity, link: Link) -> Model {
        match self.choice(kind, severity) {
            Choice::A => Model::A,
            Choice::B => Model::B,
            Choice::C => Model::C,
            Choice::Cheaper => link.cheaper(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_papers_table_3() {
        let (tcp, udp) = (Link { a: 1, b: 2 }, Link { a: 2, b: 1 });
        for kind in UpdateType::ALL {
            let choose = |severity, link| Policy::default().choose(kind, severity, link);
            for link in [tcp, udp] {
                assert_eq!(choose(Severity::High, link), Model::A);
                assert_eq!(choose(Severity::Medium, link), Model::B);
            }
            assert_eq!(choose(Severity::Low, tcp), Model::A);
            assert_eq!(choose(Severity::Low, udp), Model::B);
            assert_eq!(choose(Severity::Low, Link::default()), Model::A);
        }
    }

    #[test]
    fn an_override_changes_its_entry_and_no_other() {
        let policy = Policy::PAPER.with(UpdateType::Software, Severity::Low, Choice::C);
        for kind in UpdateType::ALL {
            for severity in Severity::ALL {
                let hit = kind == UpdateType::Software && severity == Severity::Low;
                let expected = if hit { Choice::C } else { Policy::PAPER.choice(kind, severity) };
                assert_eq!(policy.choice(kind, severity), expected);
            }
        }
    }

    #[test]
    fn a_smaller_priority_is_more_urgent() {
        assert_eq!(Severity::from_priority(i64::MIN), Severity::High);
        assert_eq!(Severity::from_priority(i64::MAX), Severity::Low);
        for severity in Severity::ALL {
            assert_eq!(Severity::from_priority(severity.priority().into()), severity);
            assert_eq!(Severity::from_u8(severity as u8), Some(severity));
        }
        assert_eq!(Severity::from_u8(3), None);
    }

    #[test]
    fn numbers_and_values_go_both_ways() {
        assert!(Model::ALL.iter().all(|m| Model::from_u8(*m as u8) == Some(*m)));
        assert!(UpdateType::ALL.iter().all(|t| UpdateType::from_u8(*t as u8) == Some(*t)));
        for n in 0..4 {
            assert_eq!(Choice::from_u8(n).unwrap() as u8, n);
        }
        assert_eq!((Model::from_u8(3), UpdateType::from_u8(2), Choice::from_u8(4)), (None, None, None));
    }
}
