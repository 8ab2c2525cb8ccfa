//! What can still be read of a damaged segment.

use std::collections::BTreeMap;

use super::batch::{FILE_HEADER, FileHeader, Kind, NoHeader, u32_at, u64_at};
use super::disk::Disk;
use super::error::Error;
use super::index::{Key, Run};
use super::names::Name;
use super::ranges;
use super::segment::{self, SHORTEST, Writer};

/// What is left of a segment, and what is not.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Where and why, and how many bytes that concerns.
    pub(super) damages: Vec<(u64, &'static str, u64)>,
    /// Messages that are not left.
    pub(super) lost: BTreeMap<Key, u64>,
    /// Those that are, by run: where they lie.
    runs: Vec<(Key, u8, Vec<Whole>)>,
}

/// A message that is as it was written.
#[derive(Clone, Copy, Debug)]
struct Whole {
    offset: usize,
    length: usize,
    position: u64,
}

/// Looks at all that is alive in a segment.
pub(super) fn read(bytes: &[u8], id: u64, runs: &[(Key, u8, Run)]) -> Result<Left, Error> {
    let mut left = Left::default();
    match FileHeader::decode(bytes, Kind::Segment, id) {
        Ok(_) => {}
        Err(NoHeader::Damaged) => left.damages.push((0, "the header is not valid", FILE_HEADER as u64)),
        Err(other @ NoHeader::OtherVersion) => return Err(Error::header(&Name::Segment(id).to_string(), other)),
    }
    for (key, level, run) in runs {
        let found = read_run(bytes, run, *level, &mut left);
        let lost = u64::from(run.alive).saturating_sub(found.len() as u64);
        if lost > 0 {
            *left.lost.entry(*key).or_default() += lost;
            if left.damages.is_empty() {
                left.damages.push((run.offset, "messages are missing", 0));
            }
        }
        left.runs.push((*key, *level, found));
    }
    Ok(left)
}

/// The messages of a run that are alive and whole.
fn read_run(bytes: &[u8], run: &Run, level: u8, left: &mut Left) -> Vec<Whole> {
    let end = usize::try_from(run.offset.saturating_add(run.length)).unwrap_or(usize::MAX);
    if end > bytes.len() {
        left.damages.push((bytes.len() as u64, "the file ends too early", (end - bytes.len()) as u64));
    }
    let mut at = usize::try_from(run.offset).unwrap_or(usize::MAX).min(bytes.len());
    let bytes = &bytes[..end.min(bytes.len())];
    let mut found = Vec::new();
    let mut least = run.first;
    let mut bad_from = None;
    while at < bytes.len() {
        let span = (least, run.last);
        let Some(whole) = whole(bytes, at, span) else {
            bad_from.get_or_insert(at);
            // The next one, if this one's length can be trusted; or else the next that is found.
            let next = framed(bytes, at, span)
                .map(|length| at + length)
                .filter(|next| *next == bytes.len() || self::whole(bytes, *next, span).is_some());
            at = next.unwrap_or(at + 1);
            continue;
        };
        if let Some(from) = bad_from.take() {
            left.damages.push((from as u64, "the checksum does not match", (at - from) as u64));
        }
        at += whole.length;
        let Some(next) = whole.position.checked_add(1) else {
            found.push(whole);
            break;
        };
        least = next;
        if ranges::contains(run.gone(), whole.position) {
            continue;
        }
        if segment::decode(&bytes[whole.offset..at], level).is_some() {
            found.push(whole);
        } else {
            left.damages.push((whole.offset as u64, "this is no message", whole.length as u64));
        }
    }
    if let Some(from) = bad_from {
        left.damages.push((from as u64, "the checksum does not match", (bytes.len() - from) as u64));
    }
    found
}

/// How long the message at `at` is, if it looks like one.
fn framed(bytes: &[u8], at: usize, (least, last): (u64, u64)) -> Option<usize> {
    let rest = bytes.get(at..).filter(|rest| rest.len() as u64 >= SHORTEST)?;
    let length = (u32_at(rest, 0) as usize).checked_add(8)?;
    let position = u64_at(rest, 8);
    (length as u64 >= SHORTEST && length <= rest.len() && (least..=last).contains(&position)).then_some(length)
}

fn whole(bytes: &[u8], at: usize, span: (u64, u64)) -> Option<Whole> {
    let length = framed(bytes, at, span)?;
    let message = &bytes[at..at + length];
    let sum = crc32c::crc32c_append(crc32c::crc32c(&message[..4]), &message[8..]);
    (sum == u32_at(message, 4)).then(|| Whole { offset: at, length, position: u64_at(message, 8) })
}

/// Writes what is left of segment `id` to a new one.
pub(super) fn write(disk: &dyn Disk, id: u64, new: u64, left: &Left) -> Result<Vec<(Key, u8, Run)>, Error> {
    let name = Name::Segment(id).to_string();
    let file = disk.open(&name).map_err(|error| Error::io(&name, error))?;
    let mut writer = Writer::new(disk, Name::Segment(new).to_string(), new, Vec::new())?;
    let mut runs = Vec::new();
    let mut message = Vec::new();
    for (key, level, found) in &left.runs {
        let mut run = Run { segment: new, offset: writer.offset(), ..Run::default() };
        for whole in found {
            message.resize(whole.length, 0);
            file.read_at(&mut message, whole.offset as u64).map_err(|error| Error::io(&name, error))?;
            let at = segment::time_of(&message);
            if run.count == 0 {
                (run.first, run.begun) = (whole.position, at);
            }
            (run.last, run.ended) = (whole.position, at);
            run.add(whole.length as u64, segment::body_of(&message), at);
            writer.append(&message)?;
        }
        if run.count > 0 {
            runs.push((*key, *level, run));
        }
    }
    writer.finish(disk)?;
    Ok(runs)
}
