//! What survives: a log that is written ahead, segments that messages are moved to, a manifest that says which of them count.
//!
//! State machines over [`Disk`], without threads, clocks or randomness, so that a whole disk and its failures can be simulated.
//! What the records mean to a broker is not known here beyond what it takes to know which messages are alive.
//! docs/STORAGE.md describes the files and what they promise.

mod batch;
mod compaction;
mod disk;
mod entry;
mod error;
mod files;
mod fold;
mod forgetful;
mod index;
mod log;
mod manifest;
mod memory;
mod mover;
mod names;
mod ranges;
mod reader;
mod recovery;
pub mod repair;
mod restore;
mod salvage;
mod segment;
mod shared;
mod spill;
mod state;

pub use disk::{Directory, Disk, File};
pub use error::{Error, OpenError};
pub use forgetful::{ForgetfulDisk, Unsynced};
pub use log::{Log, Sealed};
pub use memory::MemoryDisk;
pub use mover::Mover;
pub use reader::{Load, Reader};
pub use recovery::open;
pub use restore::RestoreError;

pub use crate::broker::record::Stored;

use crate::broker::record::Recovered;

#[derive(Clone, Debug)]
pub struct Options {
    /// How much the log may take for each of its two files: one is sealed when it has three quarters of this, or when
    /// messages of so many bytes have ended in it, earlier if it is not much that is alive.
    pub log_bytes: u64,
    /// Or when so many messages have been enqueued in it.
    pub log_messages: u32,
    /// Whether what is committed is on the disk.
    pub sync: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { log_bytes: 3 << 20, log_messages: 65_536, sync: true }
    }
}

impl Options {
    /// Bytes of a log file, one of which is in use while another lies ready. What is left of two times `log_bytes` is for
    /// the manifest, and for what has ended but is not worth removing yet.
    fn file_bytes(&self) -> u64 {
        (self.log_bytes - self.log_bytes / 4).next_multiple_of(8)
    }
}

/// Records of one virtual host that survive together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub vhost: u32,
    pub records: Vec<u8>,
    /// Messages that arrive in queues.
    pub enqueued: u32,
    /// Bytes of bodies that end.
    pub ended_bytes: u64,
}

/// How far opening a data directory has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Log files that have been folded.
    pub folded: u64,
    pub files: u64,
}

/// A data directory in use.
#[derive(Debug)]
pub struct Opened {
    pub log: Log,
    pub mover: Mover,
    pub reader: Reader,
    /// In the order asked for, then all others that there are.
    pub vhosts: Vec<RecoveredVhost>,
}

#[derive(Clone, Debug)]
pub struct RecoveredVhost {
    pub number: u32,
    pub name: String,
    pub recovered: Recovered,
}

/// What [`Mover::fold`] has moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Virtual host, queue and position: messages of that queue up to that position that are alive can be loaded.
    pub stored: Vec<(u32, u64, u64)>,
}
