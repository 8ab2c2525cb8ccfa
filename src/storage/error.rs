//! What can go wrong with files, naming the file and, for damage, the byte.

use std::{fmt, io};

use super::batch::NoHeader;

/// The disk failed, or what is on it is not what was written.
#[derive(Debug)]
pub enum Error {
    Io {
        file: String,
        error: io::Error,
    },
    Damaged {
        file: String,
        offset: u64,
        what: &'static str,
    },
    /// The format is not one that this version knows.
    OtherVersion {
        file: String,
    },
}

/// Why a data directory cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    InUse { directory: String },
    Failed(Error),
}

impl Error {
    pub(super) fn io(file: &str, error: io::Error) -> Self {
        Self::Io { file: file.to_owned(), error }
    }

    pub(super) fn damaged(file: &str, offset: u64, what: &'static str) -> Self {
        Self::Damaged { file: file.to_owned(), offset, what }
    }

    pub(super) fn header(file: &str, none: NoHeader) -> Self {
        match none {
            NoHeader::Damaged => Self::damaged(file, 0, "the header is not valid"),
            NoHeader::OtherVersion => Self::OtherVersion { file: file.to_owned() },
        }
    }

    /// Whether the disk had no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { error, .. } if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

impl OpenError {
    pub(super) fn io(file: &str, error: io::Error) -> Self {
        Self::Failed(Error::io(file, error))
    }

    pub(super) fn in_use(directory: &str) -> Self {
        Self::InUse { directory: directory.to_owned() }
    }
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { file, error } => write!(f, "{file}: {error}"),
            Self::Damaged { file, offset, what } => write!(f, "{file}: damaged at byte {offset}: {what}"),
            Self::OtherVersion { file } => write!(f, "{file}: written by another version of leveret"),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { directory } => write!(f, "data directory {directory} is in use by another process"),
            Self::Failed(error @ (Error::Io { .. } | Error::OtherVersion { .. })) => error.fmt(f),
            Self::Failed(error @ Error::Damaged { .. }) => {
                write!(f, "{error}; leveret repair --data-dir DIR shows what it would drop")
            }
        }
    }
}

impl std::error::Error for Error {}
impl std::error::Error for OpenError {}
