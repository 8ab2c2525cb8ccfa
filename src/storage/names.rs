//! How the files of a data directory are called.

/// What a file is for, with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Log(u64),
    Segment(u64),
    Spill(u64),
    Manifest(u64),
    Spare(u64),
}

type Kind = fn(u64) -> Name;

const KINDS: [(&str, Kind); 5] =
    [("log-", Name::Log), ("segment-", Name::Segment), ("spill-", Name::Spill), ("manifest-", Name::Manifest), ("spare-", Name::Spare)];

impl Name {
    /// `None` for files that are not ours; they are left alone.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (digits, kind) = KINDS.iter().find_map(|(prefix, kind)| Some((name.strip_prefix(prefix)?, kind)))?;
        let found = kind(digits.parse().ok()?);
        // One spelling for each number, or two files could be the same one.
        (found.to_string() == name).then_some(found)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Log(number) => write!(f, "log-{number:010}"),
            Self::Segment(number) => write!(f, "segment-{number:010}"),
            Self::Spill(number) => write!(f, "spill-{number:010}"),
            Self::Manifest(number) => write!(f, "manifest-{number:010}"),
            Self::Spare(number) => write!(f, "spare-{number:010}"),
        }
    }
}
