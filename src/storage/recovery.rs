//! Opening a data directory: what the manifest says, and then the log files that it does not know of, folded as always.
//!
//! Nothing is removed before everything that is there has been understood.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch::{self, FILE_HEADER, FileHeader, Kind, NoHeader};
use super::disk::Disk;
use super::error::{Error, OpenError};

use super::index::Index;
use super::log::{Log, Spares};
use super::manifest::{self, Manifest};
use super::mover::Mover;
use super::names::Name;
use super::reader::Reader;
use super::shared::Shared;
use super::state::{self, Definitions};
use super::{Opened, Options, Progress, RecoveredVhost};
use crate::broker::record::{Recovered, RecoveredQueue, Run};

/// Opens a data directory, a new one or one that was used before.
pub fn open(disk: Arc<dyn Disk>, options: &Options, vhosts: &[&str], progress: &mut dyn FnMut(Progress)) -> Result<Opened, OpenError> {
    let found = Contents::list(disk.as_ref())?;
    let mut index = Index::default();
    let mut definitions = Definitions::default();
    let manifest = match found.manifest(disk.as_ref())? {
        None => Manifest::create(disk.as_ref())?,
        Some(number) => {
            let highest = found.manifests.last().copied().unwrap_or(number);
            Manifest::open(disk.as_ref(), number, highest, &mut |entry| state::apply(entry, Some(&mut index), Some(&mut definitions)))?
        }
    };
    found.check_segments(&mut index)?;
    // Their files go with everything else that is left over.
    index.dead.clear();
    let chain = chain(disk.as_ref(), &found.logs, definitions.done)?;
    let highest_log = found.logs.last().copied().unwrap_or(0).max(definitions.done);
    // One that is dead but named has no file any more; its number given again, the new file would be taken for it and removed.
    let last_segment = found.segments.keys().max().copied().unwrap_or(0).max(definitions.highest_segment);
    let next_segment = last_segment.saturating_add(1);
    let kept = manifest.number();
    let shared = Arc::new(Shared::new(disk.clone(), index));
    let spares = Arc::new(Spares::default());
    let mut mover = Mover::new(shared.clone(), options.clone(), manifest, spares.clone(), definitions, next_segment);
    fold(&mut mover, disk.as_ref(), &chain, progress)?;
    let numbers = number(&mut mover, vhosts)?;
    for name in found.leftovers(kept, &shared.index.lock()) {
        mover.remove(name);
    }
    let definitions = mover.take_definitions();
    let vhosts = recovered(definitions, &shared.index.lock(), &numbers);
    let log = Log::new(disk, options.clone(), spares, highest_log.saturating_add(1));
    Ok(Opened { log, mover, reader: Reader::new(shared), vhosts })
}

/// What a data directory has, all of it in order.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) manifests: Vec<u64>,
    pub(super) logs: Vec<u64>,
    /// With their lengths.
    pub(super) segments: BTreeMap<u64, u64>,
    others: Vec<Name>,
}

impl Contents {
    pub(super) fn list(disk: &dyn Disk) -> Result<Self, Error> {
        let mut found = Self::default();
        for (name, length) in disk.list().map_err(|error| Error::io("data directory", error))? {
            match Name::parse(&name) {
                Some(Name::Manifest(number)) => found.manifests.push(number),
                Some(Name::Log(number)) => found.logs.push(number),
                Some(Name::Segment(number)) => drop(found.segments.insert(number, length)),
                Some(name @ (Name::Spill(_) | Name::Spare(_))) => found.others.push(name),
                None => {}
            }
        }
        found.manifests.sort_unstable();
        found.logs.sort_unstable();
        Ok(found)
    }

    /// The manifest that counts: the newest complete one.
    pub(super) fn manifest(&self, disk: &dyn Disk) -> Result<Option<u64>, Error> {
        for number in self.manifests.iter().rev() {
            match manifest::check_header(disk, *number)? {
                Ok(()) => return Ok(Some(*number)),
                Err(NoHeader::Damaged) => {}
                Err(other @ NoHeader::OtherVersion) => {
                    return Err(Error::header(&Name::Manifest(*number).to_string(), other));
                }
            }
        }
        // The first manifest is there before anything else, and has nothing but its header then.
        let begun = self.manifests.last().is_none_or(|number| *number == 1)
            && self.logs.is_empty()
            && self.segments.is_empty()
            && match self.manifests.last() {
                Some(number) => {
                    let name = Name::Manifest(*number).to_string();
                    let length = disk.open(&name).and_then(|file| file.len()).map_err(|error| Error::io(&name, error))?;
                    length <= FILE_HEADER as u64
                }
                None => true,
            };
        if begun {
            return Ok(None);
        }
        let name = Name::Manifest(self.manifests.last().copied().unwrap_or(1)).to_string();
        Err(if self.manifests.is_empty() {
            Error::damaged(&name, 0, "the file is missing")
        } else {
            Error::header(&name, NoHeader::Damaged)
        })
    }

    fn check_segments(&self, index: &mut Index) -> Result<(), Error> {
        for (id, segment) in &mut index.segments {
            let name = Name::Segment(*id).to_string();
            match self.segments.get(id) {
                None => return Err(Error::damaged(&name, 0, "the file is missing")),
                Some(length) if *length < segment.length => return Err(Error::damaged(&name, *length, "the file ends too early")),
                // Runs at its end that have ended as a whole are not in the manifest, but still take their room.
                Some(length) => segment.length = *length,
            }
        }
        Ok(())
    }

    /// Files that are not needed any more once everything has been folded.
    pub(super) fn leftovers(&self, manifest: u64, index: &Index) -> Vec<Name> {
        let manifests = self.manifests.iter().filter(|number| **number != manifest).map(|number| Name::Manifest(*number));
        let logs = self.logs.iter().map(|number| Name::Log(*number));
        let segments = self.segments.keys().filter(|id| !index.segments.contains_key(id)).map(|id| Name::Segment(*id));
        manifests.chain(logs).chain(segments).chain(self.others.iter().copied()).collect()
    }
}

/// A log file that has not been folded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfolded {
    pub(super) number: u64,
    /// Where its contents end; `None` for the last file, where nobody has written that down.
    pub(super) end: Option<u64>,
    /// The file is the last one by name, but has no header: it was being made, unless it has batches that were synced.
    pub(super) headless: bool,
}

/// The log files to fold, in order. Each file says which one came before it.
pub(super) fn chain(disk: &dyn Disk, logs: &[u64], done: u64) -> Result<Vec<Unfolded>, Error> {
    let mut chain = Vec::new();
    let mut files = logs.iter().copied().filter(|number| *number > done).rev();
    let mut previous = None;
    for number in files.by_ref() {
        match log_header(disk, number)? {
            Ok(header) => {
                chain.push(Unfolded { number, end: None, headless: false });
                previous = Some((number, header.previous));
                break;
            }
            Err(NoHeader::Damaged) => chain.push(Unfolded { number, end: None, headless: true }),
            Err(none @ NoHeader::OtherVersion) => return Err(Error::header(&Name::Log(number).to_string(), none)),
        }
    }
    while let Some((next, (number, end))) = previous.filter(|(_, (number, _))| *number > done) {
        let name = Name::Log(number).to_string();
        if number >= next {
            return Err(Error::damaged(&Name::Log(next).to_string(), 0, "the file that came before it cannot have been this one"));
        }
        // Files between the two had nothing that counts.
        if !files.by_ref().any(|other| other == number) {
            return Err(Error::damaged(&name, 0, "the file is missing"));
        }
        let header = log_header(disk, number)?.map_err(|none| Error::header(&name, none))?;
        chain.push(Unfolded { number, end: Some(end), headless: false });
        previous = Some((number, header.previous));
    }
    chain.reverse();
    Ok(chain)
}

fn log_header(disk: &dyn Disk, number: u64) -> Result<Result<FileHeader, NoHeader>, Error> {
    let name = Name::Log(number).to_string();
    let failed = |error| Error::io(&name, error);
    let file = disk.open(&name).map_err(failed)?;
    let mut header = [0; FILE_HEADER];
    let read = file.read_at(&mut header, 0).map_err(failed)?;
    Ok(FileHeader::decode(&header[..read], Kind::Log, number))
}

fn fold(mover: &mut Mover, disk: &dyn Disk, chain: &[Unfolded], progress: &mut dyn FnMut(Progress)) -> Result<(), Error> {
    let mut last_sequence = None;
    for (done, unfolded) in chain.iter().enumerate() {
        progress(Progress { folded: done as u64, files: chain.len() as u64 });
        let log = mover.loaded();
        log.load(disk, unfolded.number, unfolded.end.unwrap_or(u64::MAX))?;
        let end = check(&log.bytes, *unfolded, &mut last_sequence)?;
        if !unfolded.headless {
            mover.fold_loaded(unfolded.number, end, true)?;
        }
    }
    Ok(())
}

/// Where the contents of a log file end, all of which are valid.
pub(super) fn check(bytes: &[u8], unfolded: Unfolded, last_sequence: &mut Option<u64>) -> Result<usize, Error> {
    let Unfolded { number, end, headless } = unfolded;
    let name = Name::Log(number).to_string();
    let mut at = FILE_HEADER;
    if !headless {
        let limit = end.map_or(bytes.len() as u64, |end| end.max(FILE_HEADER as u64));
        while (at as u64) < limit
            && let Some(found) = batch::parse(bytes, at, number)
            && last_sequence.is_none_or(|last| last.checked_add(1) == Some(found.sequence))
        {
            *last_sequence = Some(found.sequence);
            at = found.end;
        }
        if end.is_some() && at as u64 != limit {
            return Err(Error::damaged(&name, at as u64, "the checksum does not match"));
        }
    }
    if end.is_none() && is_synced(bytes, number, (at, headless), *last_sequence) {
        let damaged = Error::damaged(&name, at as u64, "the checksum does not match");
        return Err(if headless { Error::header(&name, NoHeader::Damaged) } else { damaged });
    }
    Ok(at.min(bytes.len()))
}

/// Whether what a file does not have at `at` was on the disk once, according to what comes behind it.
fn is_synced(bytes: &[u8], number: u64, (at, headless): (usize, bool), last_sequence: Option<u64>) -> bool {
    let mut lowest = last_sequence.map(|last| last.saturating_add(1));
    for (offset, found) in batch::search(bytes, at, number) {
        // Without anything that came before, the batches themselves have to tell: the one right before this one, which
        // is not there, was synced; or one that is there, after the header, which is not.
        let has_predecessor = offset > FILE_HEADER && last_sequence.is_none() && (!headless || offset > at);
        if has_predecessor && found.synced.saturating_add(1) >= found.sequence && found.synced > 0 {
            return true;
        }
        if *lowest.get_or_insert(found.sequence) <= found.synced {
            return true;
        }
    }
    false
}

/// The numbers of these virtual hosts, of which those that are new get one, and then of all others.
fn number(mover: &mut Mover, vhosts: &[&str]) -> Result<Vec<(u32, String)>, Error> {
    let known = mover.definitions.get_or_insert_default();
    let known = known.vhosts.iter().map(|(number, vhost)| (*number, vhost.name.clone()));
    mover.vhosts = known.collect();
    let mut numbers = Vec::new();
    for name in vhosts {
        numbers.push((mover.number(name)?, (*name).to_owned()));
    }
    let is_other = |(number, name): &&(u32, String)| !name.is_empty() && !numbers.iter().any(|(asked, _)| asked == number);
    let others: Vec<_> = mover.vhosts.iter().filter(is_other).cloned().collect();
    numbers.extend(others);
    Ok(numbers)
}

fn recovered(definitions: Definitions, index: &Index, numbers: &[(u32, String)]) -> Vec<RecoveredVhost> {
    let mut all: BTreeMap<u32, Recovered> = BTreeMap::new();
    for (number, vhost) in definitions.vhosts {
        let recovered = all.entry(number).or_default();
        recovered.definitions = vhost.definitions.into_iter().collect();
        recovered.highest_queue = vhost.highest_queue;
        for (queue, highest) in vhost.highest {
            recovered.queues.entry(queue).or_default().highest = highest;
        }
        for (queue, delivered) in vhost.delivered {
            recovered.queues.entry(queue).or_default().delivered = delivered;
        }
    }
    let mut queue = |(vhost, queue): (u32, u64), take: &mut dyn FnMut(&mut RecoveredQueue)| {
        take(all.entry(vhost).or_default().queues.entry(queue).or_default());
    };
    for (key, level, run) in index.all() {
        let body_bytes = u128::from(run.body_bytes) * u128::from(run.alive) / u128::from(run.count.max(1));
        // A stream counts its messages by these, so what ended at either end is not among them.
        let (mut first, mut last) = (run.first, run.last);
        if let Some((_, to)) = run.gone().first().filter(|(from, _)| *from == first) {
            first = to + 1;
        }
        if let Some((from, _)) = run.gone().last().filter(|(_, to)| *to == last) {
            last = from - 1;
        }
        let run = Run {
            level,
            first,
            last,
            count: run.alive.into(),
            body_bytes: u64::try_from(body_bytes).unwrap_or(u64::MAX),
            timed: run.timed.min(run.alive).into(),
            begun: run.begun,
            ended: run.ended,
        };
        queue(key, &mut |queue| queue.runs.push(run));
    }
    for (key, returned) in index.all_returned() {
        queue(key, &mut |queue| queue.returned.push(returned));
    }
    let each = numbers.iter().enumerate().map(|(place, (number, name))| {
        let again = numbers[place + 1..].iter().any(|(other, _)| other == number);
        let recovered = if again { all.get(number).cloned() } else { all.remove(number) };
        RecoveredVhost { number: *number, name: name.clone(), recovered: recovered.unwrap_or_default() }
    });
    each.collect()
}
