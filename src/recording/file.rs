//! Reading a recording.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::format::{self, Event, Record, Side};
use super::frames::{Frames, Piece};

/// A recording in memory.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The wall clock at the beginning, in microseconds since 1970.
    pub(crate) wall_us: u64,
    pub(crate) records: Vec<Record>,
    /// Its last record is cut off.
    pub(crate) is_cut_off: bool,
}

impl Recording {
    /// # Errors
    /// Why it cannot be read.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::read(&bytes).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(crate) fn read(mut bytes: &[u8]) -> Result<Self, format::Malformed> {
        let wall_us = format::read_header(&mut bytes)?;
        let mut records = Vec::new();
        let mut now_us = 0;
        loop {
            let before = bytes;
            let Some(record) = format::read(&mut bytes, now_us)? else {
                return Ok(Self { wall_us, records, is_cut_off: !before.is_empty() });
            };
            now_us = record.at_us;
            records.push(record);
        }
    }

    /// Everything in order, with the bytes cut into frames. A frame is where its last byte is.
    pub(crate) fn told(&self) -> Vec<Told> {
        let mut streams: HashMap<(u64, Side), Frames> = HashMap::new();
        let mut all = Vec::new();
        for Record { connection, at_us, event } in &self.records {
            let mut tell = |what| all.push(Told { connection: *connection, at_us: *at_us, what });
            match event {
                Event::Opened { peer, local } => tell(What::Opened { peer: peer.clone(), local: local.clone() }),
                Event::Bytes(side, bytes) => {
                    let pieces = streams.entry((*connection, *side)).or_default().feed(bytes);
                    pieces.into_iter().for_each(|piece| tell(What::Said(*side, piece)));
                }
                Event::Lost(side, count) => {
                    streams.entry((*connection, *side)).or_default().lose();
                    tell(What::Lost(*side, *count));
                }
                Event::Closed => tell(What::Closed),
            }
        }
        all
    }
}

/// What has happened, frame by frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) connection: u64,
    pub(crate) at_us: u64,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Opened { peer: String, local: String },
    Said(Side, Piece),
    Lost(Side, u64),
    Closed,
}
