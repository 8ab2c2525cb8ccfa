//! What survives: a log that is written ahead, segments that messages are moved to, a manifest that says which of them count.
//!
//! State machines over [`Disk`], without threads, clocks or randomness, so that a whole disk and its failures can be simulated.
//! What the records mean to a broker is not known here beyond what it takes to know which messages are alive.

mod disk;
mod error;

pub use disk::{Directory, Disk, File};
pub use error::{Error, OpenError};
