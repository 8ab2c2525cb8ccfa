//! What the manifest says beyond the records of a broker, as bytes; and reading both.

use super::batch::{u32_at, u64_at};
use super::index::{Key, Run};
use super::ranges::Range;
use crate::broker::record::{self, Record};

const SEGMENT: u8 = 20;
const GONE: u8 = 21;
const LOG_DONE: u8 = 22;
const IN: u8 = 23;
const HIGHEST: u8 = 24;
const VHOST: u8 = 25;

/// Bytes of a run in a `Segment`.
const RUN: usize = 81;

/// One thing that the manifest says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said<'a> {
    Record(Record<'a>),
    Segment { id: u64, runs: Runs<'a> },
    Gone { id: u64 },
    LogDone { number: u64 },
    In { vhost: u32 },
    Highest { queue: u64, position: u64 },
    Vhost { number: u32, name: &'a str },
}

/// The directory of a segment, not yet looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runs<'a> {
    segment: u64,
    bytes: &'a [u8],
}

impl Runs<'_> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, u8, Run)> {
        let segment = self.segment;
        self.bytes.chunks_exact(RUN).map(move |bytes| {
            let run = Run {
                segment,
                first: u64_at(bytes, 13),
                last: u64_at(bytes, 21),
                count: u32_at(bytes, 29),
                alive: u32_at(bytes, 29),
                body_bytes: u64_at(bytes, 33),
                timed: u32_at(bytes, 41),
                begun: u64_at(bytes, 45),
                ended: u64_at(bytes, 53),
                offset: u64_at(bytes, 61),
                length: u64_at(bytes, 69),
                longest: u32_at(bytes, 77),
                gone: None,
            };
            ((u32_at(bytes, 0), u64_at(bytes, 4)), bytes[12], run)
        })
    }
}

/// Takes one thing off these bytes.
pub(super) fn one<'a>(bytes: &mut &'a [u8]) -> Option<Said<'a>> {
    let kind = *bytes.first()?;
    if kind < SEGMENT {
        return record::one(bytes).map(Said::Record);
    }
    let rest = &bytes[1..];
    let (said, length) = match kind {
        SEGMENT => {
            let head = rest.first_chunk::<12>()?;
            let (id, length) = (u64_at(head, 0), (u32_at(head, 8) as usize).checked_mul(RUN)?);
            let end = length.checked_add(12)?;
            (Said::Segment { id, runs: Runs { segment: id, bytes: rest.get(12..end)? } }, end)
        }
        GONE => (Said::Gone { id: u64_at(rest.first_chunk::<8>()?, 0) }, 8),
        LOG_DONE => (Said::LogDone { number: u64_at(rest.first_chunk::<8>()?, 0) }, 8),
        IN => (Said::In { vhost: u32_at(rest.first_chunk::<4>()?, 0) }, 4),
        HIGHEST => {
            let head = rest.first_chunk::<16>()?;
            (Said::Highest { queue: u64_at(head, 0), position: u64_at(head, 8) }, 16)
        }
        VHOST => {
            let head = rest.first_chunk::<6>()?;
            let end = 6 + usize::from(u16::from_le_bytes([head[4], head[5]]));
            (Said::Vhost { number: u32_at(head, 0), name: std::str::from_utf8(rest.get(6..end)?).ok()? }, end)
        }
        _ => return None,
    };
    *bytes = &rest[length..];
    Some(said)
}

/// Writes what the manifest is to say.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    vhost: Option<u32>,
}

impl Writer {
    /// What follows is about this virtual host.
    pub(super) fn within(&mut self, vhost: u32) {
        if self.vhost != Some(vhost) {
            self.vhost = Some(vhost);
            self.bytes.push(IN);
            self.u32(vhost);
        }
    }

    /// What was written so far, to be followed by more that does not depend on it.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self).bytes
    }

    fn u32(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn segment(&mut self, id: u64, runs: &[(Key, u8, Run)]) {
        self.bytes.reserve(13 + runs.len() * RUN);
        self.bytes.push(SEGMENT);
        self.u64(id);
        self.u32(u32::try_from(runs.len()).expect("fewer runs than messages"));
        for ((vhost, queue), level, run) in runs {
            self.u32(*vhost);
            self.u64(*queue);
            self.bytes.push(*level);
            self.u64(run.first);
            self.u64(run.last);
            self.u32(run.count);
            self.u64(run.body_bytes);
            self.u32(run.timed);
            self.u64(run.begun);
            self.u64(run.ended);
            self.u64(run.offset);
            self.u64(run.length);
            self.u32(run.longest);
        }
    }

    pub(super) fn gone(&mut self, id: u64) {
        self.bytes.push(GONE);
        self.u64(id);
    }

    pub(super) fn log_done(&mut self, number: u64) {
        self.bytes.push(LOG_DONE);
        self.u64(number);
    }

    pub(super) fn highest(&mut self, queue: u64, position: u64) {
        self.bytes.push(HIGHEST);
        self.u64(queue);
        self.u64(position);
    }

    pub(super) fn vhost(&mut self, number: u32, name: &str) {
        self.bytes.push(VHOST);
        self.u32(number);
        self.bytes.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
    }

    pub(super) fn record(&mut self, record: Record<'_>) {
        record.write(&mut self.bytes);
    }

    /// These positions, which are all of messages, have ended.
    pub(super) fn acks(&mut self, queue: u64, level: u8, ranges: &[Range]) {
        for &(first, last) in ranges {
            let mut position = first;
            loop {
                let count = u32::try_from((last - position).saturating_add(1)).unwrap_or(u32::MAX);
                self.record(Record::Ack { queue, level, position, count });
                if last - position < u64::from(count) {
                    break;
                }
                position += u64::from(count);
            }
        }
    }
}
