//! Looking for damage, and giving up what is damaged so that the rest can be used again.
//!
//! Looking changes nothing. Repairing writes what is left to a new manifest, to new segments, and removes the rest; what
//! it drops is exactly what looking shows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::batch::{self, FILE_HEADER, HEADER};
use super::disk::Disk;
use super::error::Error;
use super::fold::Prepared;
use super::index::{Index, Key};
use super::log::Spares;
use super::manifest::Manifest;
use super::mover::Mover;
use super::names::Name;
use super::recovery::{Contents, Unfolded};
use super::salvage::{self, Left};
use super::shared::Shared;
use super::state::{self, Definitions};
use super::{Options, entry, recovery};
use crate::amqp::Message;
use crate::broker::record::{self, Record};

/// What is damaged, and what has to be given up for that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub damages: Vec<Damage>,
    /// Rounds of the broker whose records are lost, as far as that can be told.
    pub batches: u64,
    /// Messages that are lost, by virtual host and number of the queue, as far as that can be told.
    pub messages: BTreeMap<(String, u64), u64>,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub file: String,
    pub offset: u64,
    pub what: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Damage { file, offset, what } in &self.damages {
            writeln!(f, "{file}: damaged at byte {offset}: {what}")?;
        }
        for ((vhost, queue), count) in &self.messages {
            writeln!(f, "lost: {count} messages of queue {queue} in virtual host {vhost}")?;
        }
        write!(f, "{} damages; lost: {} batches, {} messages, {} bytes", self.damages.len(), self.batches, self.lost(), self.bytes)
    }
}

impl Report {
    fn lost(&self) -> u64 {
        self.messages.values().sum()
    }

    /// Whether there is nothing to repair.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damages.is_empty()
    }

    fn damage(&mut self, file: &str, offset: u64, what: &str, bytes: u64) {
        self.damages.push(Damage { file: file.to_owned(), offset, what: what.to_owned() });
        self.bytes += bytes;
    }
}

/// What is damaged, and what would be dropped.
pub fn inspect(disk: &Arc<dyn Disk>) -> Result<Report, Error> {
    examine(disk.as_ref()).map(|examined| examined.report)
}

/// Drops what [`inspect`] reports, so that the directory can be opened.
pub fn repair(disk: &Arc<dyn Disk>) -> Result<Report, Error> {
    let examined = examine(disk.as_ref())?;
    if examined.report.is_clean() {
        return Ok(examined.report);
    }
    let Examined { report, contents, index, definitions, segments, logs } = examined;
    let next = contents.segments.keys().chain(index.segments.keys()).max().copied().unwrap_or(0).saturating_add(1);
    let number = contents.manifests.last().copied().unwrap_or(0).saturating_add(1);
    let shared = Arc::new(Shared::new(disk.clone(), index));
    let manifest = Manifest::write(disk.as_ref(), number, &shared.index, &definitions, &mut false)?;
    let done = definitions.done;
    let mut mover = Mover::new(shared.clone(), Options::default(), manifest, Arc::new(Spares::default()), definitions, next);
    for (id, left) in segments {
        let name = Name::Segment(mover.next_segment());
        let Name::Segment(new) = name else { continue };
        let runs = salvage::write(disk.as_ref(), id, new, &left)?;
        let mut writer = entry::Writer::default();
        writer.gone(id);
        if !runs.is_empty() {
            writer.segment(new, &runs);
        }
        mover.commit(None, Prepared { entry: writer.take(), ..Prepared::default() })?;
    }
    for (number, bytes) in logs {
        let end = bytes.len();
        mover.loaded().give(number, bytes);
        mover.fold_loaded(number, end, true)?;
    }
    // Log files that nothing was left of count as folded too.
    if let Some(last) = contents.logs.last().filter(|last| **last > done) {
        let mut writer = entry::Writer::default();
        writer.log_done(*last);
        mover.commit(Some(*last), Prepared { entry: writer.take(), ..Prepared::default() })?;
    }
    let kept = mover.manifest.number();
    for name in contents.leftovers(kept, &shared.index.lock()) {
        mover.remove(name);
    }
    Ok(report)
}

/// What a directory has, damaged or not.
struct Examined {
    report: Report,
    contents: Contents,
    /// Without the segments that are missing.
    index: Index,
    definitions: Definitions,
    /// Segments that are damaged, and what is left of them.
    segments: Vec<(u64, Left)>,
    /// Log files to fold, without what is damaged.
    logs: Vec<(u64, Vec<u8>)>,
}

fn examine(disk: &dyn Disk) -> Result<Examined, Error> {
    let contents = Contents::list(disk)?;
    let mut report = Report::default();
    let mut index = Index::default();
    let mut definitions = Definitions::default();
    let number = match contents.manifest(disk) {
        Ok(number) => number,
        // Of two that have no header, the older one was complete once.
        Err(Error::Damaged { file, offset, what }) => {
            report.damage(&file, offset, what, 0);
            contents.manifests.first().copied()
        }
        Err(error) => return Err(error),
    };
    if let Some(number) = number {
        read_manifest(disk, number, &mut report, &mut index, &mut definitions)?;
    }
    let mut lost: BTreeMap<Key, u64> = BTreeMap::new();
    let segments = check_segments(disk, &contents, &mut report, &mut index, &mut lost)?;
    let logs = read_logs(disk, &contents, &mut report, &index, definitions.done, &mut lost)?;
    for ((vhost, queue), count) in lost.into_iter().filter(|(_, count)| *count > 0) {
        let name = definitions.vhosts.get(&vhost).map(|vhost| vhost.name.clone()).unwrap_or_default();
        *report.messages.entry((name, queue)).or_default() += count;
    }
    Ok(Examined { report, contents, index, definitions, segments, logs })
}

fn read_all(disk: &dyn Disk, name: &str) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::io(name, error);
    let file = disk.open(name).map_err(failed)?;
    let length = usize::try_from(file.len().map_err(failed)?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, 0).map_err(failed)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn read_manifest(disk: &dyn Disk, number: u64, report: &mut Report, index: &mut Index, definitions: &mut Definitions) -> Result<(), Error> {
    let name = Name::Manifest(number).to_string();
    let bytes = read_all(disk, &name)?;
    let mut at = FILE_HEADER;
    while let Some((found_at, found)) = batch::search(&bytes, at, number).next() {
        if found_at > at {
            report.damage(&name, at as u64, "the checksum does not match", (found_at - at) as u64);
            report.batches += 1;
        }
        if let Err(none) = state::apply(found.records, Some(&mut *index), Some(&mut *definitions)) {
            report.damage(&name, (found_at + HEADER + none.offset) as u64, none.what, (found.records.len() - none.offset) as u64);
        }
        at = found.end;
    }
    Ok(())
}

fn check_segments(
    disk: &dyn Disk,
    contents: &Contents,
    report: &mut Report,
    index: &mut Index,
    lost: &mut BTreeMap<Key, u64>,
) -> Result<Vec<(u64, Left)>, Error> {
    let mut damaged = Vec::new();
    let ids: Vec<u64> = index.segments.keys().copied().collect();
    for id in ids {
        let name = Name::Segment(id).to_string();
        let runs = index.of_segment(id);
        if contents.segments.contains_key(&id) {
            let left = salvage::read(&read_all(disk, &name)?, id, &runs)?;
            if left.damages.is_empty() {
                continue;
            }
            for (offset, what, bytes) in &left.damages {
                report.damage(&name, *offset, what, *bytes);
            }
            for (key, count) in &left.lost {
                *lost.entry(*key).or_default() += count;
            }
            damaged.push((id, left));
        } else {
            let length = index.segments.get(&id).map_or(0, |segment| segment.length);
            report.damage(&name, 0, "the file is missing", length);
            for (key, _, run) in &runs {
                *lost.entry(*key).or_default() += u64::from(run.alive);
            }
            index.remove_segment(id);
            index.tidy(runs.iter().map(|(key, ..)| *key));
        }
    }
    index.dead.clear();
    Ok(damaged)
}

/// What is valid of the log files that have not been folded, each as a file of its own.
fn read_logs(
    disk: &dyn Disk,
    contents: &Contents,
    report: &mut Report,
    index: &Index,
    done: u64,
    lost: &mut BTreeMap<Key, u64>,
) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let (chain, broken) = match recovery::chain(disk, &contents.logs, done) {
        Ok(chain) => (chain, false),
        Err(Error::Damaged { file, offset, what }) => {
            report.damage(&file, offset, what, 0);
            let all = contents.logs.iter().filter(|number| **number > done);
            (all.map(|number| Unfolded { number: *number, end: None, headless: false }).collect(), true)
        }
        Err(error) => return Err(error),
    };
    let mut logs = Vec::new();
    let mut last_sequence: Option<u64> = None;
    let mut positions: BTreeMap<(Key, u8), u64> = BTreeMap::new();
    for unfolded in &chain {
        let name = Name::Log(unfolded.number).to_string();
        let bytes = read_all(disk, &name)?;
        let limit = unfolded.end.map_or(bytes.len(), |end| usize::try_from(end).unwrap_or(usize::MAX).min(bytes.len()));
        // What a torn tail leaves is no damage, unless it had been synced.
        let mut before = last_sequence;
        let fold_end = recovery::check(&bytes, *unfolded, &mut before);
        let is_torn = fold_end.is_ok() && !broken && unfolded.end.is_none();
        if let Err(Error::Damaged { offset, what, .. }) = &fold_end {
            report.damage(&name, *offset, what, 0);
        }
        let stop = if let (true, Ok(end)) = (is_torn, &fold_end) { *end } else { limit };
        let mut kept = bytes[..FILE_HEADER.min(bytes.len())].to_vec();
        kept.resize(FILE_HEADER, 0);
        let mut at = FILE_HEADER;
        while let Some((found_at, found)) = batch::search(&bytes[..stop], at, unfolded.number).next() {
            if found_at > at {
                report.bytes += (found_at - at) as u64;
                count_enqueued(&bytes[at..found_at], lost);
            }
            if let Some(gap) = last_sequence.and_then(|last| found.sequence.checked_sub(last.saturating_add(1))) {
                report.batches += gap;
            }
            if let Some(what) = objection(found, index, &mut positions) {
                report.damage(&name, found_at as u64, what, found.records.len() as u64);
                report.batches += 1;
                count_enqueued(&bytes[found_at..found.end.min(stop)], lost);
            } else {
                kept.extend_from_slice(&bytes[found_at..found.end.min(stop)]);
                kept.resize(kept.len().next_multiple_of(batch::ALIGNMENT), 0);
            }
            last_sequence = Some(found.sequence);
            at = found.end;
        }
        if at < stop && unfolded.end.is_some() {
            report.bytes += (stop - at) as u64;
            count_enqueued(&bytes[at..stop], lost);
        }
        logs.push((unfolded.number, kept));
    }
    Ok(logs)
}

/// Why a valid batch cannot be folded.
fn objection(found: batch::Batch<'_>, index: &Index, positions: &mut BTreeMap<(Key, u8), u64>) -> Option<&'static str> {
    let mut has_message = false;
    let mut risen = BTreeMap::new();
    for record in record::decode(found.records) {
        match record {
            Err(_) => return Some("no record begins here"),
            Ok(Record::Message(stored)) if Message::from_stored(stored).is_none() => return Some("this is no message"),
            Ok(Record::Message(_)) => has_message = true,
            Ok(Record::Enqueue(_)) if !has_message => return Some("a queue gets a message that is not there"),
            Ok(Record::Enqueue(enqueue)) => {
                let key = (found.vhost, enqueue.queue);
                let level = (key, enqueue.level);
                let before = risen.get(&level).or_else(|| positions.get(&level)).copied().or_else(|| index.last(key, enqueue.level));
                if before.is_some_and(|before| before >= enqueue.position) {
                    return Some("a position was given twice");
                }
                risen.insert(level, enqueue.position);
            }
            Ok(_) => {}
        }
    }
    positions.append(&mut risen);
    None
}

/// Counts the messages of a batch that is to be dropped, as far as it can be understood.
fn count_enqueued(bytes: &[u8], lost: &mut BTreeMap<Key, u64>) {
    let Some(found) = batch::skim(bytes, 0) else { return };
    for record in record::decode(found.records) {
        if let Ok(Record::Enqueue(enqueue)) = record {
            *lost.entry((found.vhost, enqueue.queue)).or_default() += 1;
        }
    }
}
