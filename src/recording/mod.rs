//! Recordings of what connections say: written by a broker that serves, shown, exported for Wireshark, and played again against any broker
//! (docs/RECORDING.md).

mod command;
mod file;
mod format;
mod frames;
mod pcapng;
mod replay;
mod show;
#[cfg(test)]
mod tests;
mod writer;

pub use command::{Record, Replay};
pub use writer::{Recorder, Tape};
