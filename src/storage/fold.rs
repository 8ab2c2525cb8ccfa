//! What a log file comes to: its messages that are still alive as a new segment, and everything else as an entry of the
//! manifest. Records are looked at where they lie in the file; what is kept of a message meanwhile are 24 bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;

use super::batch;
use super::disk::Disk;
use super::entry;
use super::error::Error;
use super::files::Files;
use super::index::{Key, Run};
use super::names::Name;
use super::ranges::{self, Range};
use super::segment::{self, Head};
use super::shared::Shared;
use crate::amqp::Message;
use crate::broker::record::{self, Enqueue, NEVER, Record, Returned};

/// A buffer that has grown beyond this for one large file is given back.
const KEPT_BUFFER: usize = 16 << 20;
/// Read at once where messages are counted.
const PORTION: usize = 256 << 10;

/// A message of the file: where its `Enqueue` and its bytes are.
#[derive(Clone, Copy, Debug)]
struct Enqueued {
    position: u64,
    slot: u32,
    enqueue: u32,
    message: u32,
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    first: u64,
    last: u64,
    slot: u32,
    /// Whether other positions than those of messages are among them.
    sparse: bool,
    /// No message of this level was in the file yet.
    before_all: bool,
}

/// A level of a queue that the file has something about.
#[derive(Clone, Copy, Debug)]
struct Slot {
    key: Key,
    level: u8,
    highest: Option<u64>,
}

/// A segment that is on the disk, and what the manifest is to say about it and the log file.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) entry: Vec<u8>,
    /// Queues that messages came to, and the highest position in each.
    pub(super) stored: Vec<(u32, u64, u64)>,
}

/// Folds one file after the other; the allocations stay.
#[derive(Debug, Default)]
pub(super) struct Fold {
    /// The file.
    pub(super) bytes: Vec<u8>,
    name: String,
    enqueued: Vec<Enqueued>,
    ended: Vec<Ended>,
    slots: Vec<Slot>,
    recent: u32,
    lookup: HashMap<(Key, u8), u32, FixedState>,
    returned: Vec<(Key, Returned)>,
    delivered: BTreeMap<Key, u64>,
    cleaned: BTreeSet<u32>,
    forgotten: BTreeSet<Key>,
    /// Definitions and their ends: where the records are.
    definitions: Vec<(u32, usize, usize)>,
    /// For the segments that are written.
    buffer: Vec<u8>,
}

impl Fold {
    /// Reads the first `end` bytes of a log file, or all that there is.
    pub(super) fn load(&mut self, disk: &dyn Disk, number: u64, end: u64) -> Result<(), Error> {
        self.name = Name::Log(number).to_string();
        let failed = |error| Error::io(&self.name, error);
        let file = disk.open(&self.name).map_err(failed)?;
        let end = end.min(file.len().map_err(failed)?);
        let length = usize::try_from(end).ok().filter(|length| u32::try_from(*length).is_ok());
        let length = length.ok_or_else(|| self.damaged(0, "no log file is that long"))?;
        self.bytes.resize(length, 0);
        let read = file.read_at(&mut self.bytes, 0).map_err(failed)?;
        self.bytes.truncate(read);
        Ok(())
    }

    /// Takes the contents of a log file from elsewhere.
    pub(super) fn give(&mut self, number: u64, bytes: Vec<u8>) {
        self.name = Name::Log(number).to_string();
        self.bytes = bytes;
    }

    fn damaged(&self, offset: usize, what: &'static str) -> Error {
        Error::damaged(&self.name, offset as u64, what)
    }

    /// Looks at the batches of the file, which are right up to `end`. Messages are looked into where another process
    /// wrote them.
    pub(super) fn walk(&mut self, end: usize, foreign: bool) -> Result<(), Error> {
        self.clear();
        let bytes = std::mem::take(&mut self.bytes);
        let walked = self.walk_batches(&bytes[..end.min(bytes.len())], foreign);
        self.bytes = bytes;
        walked.map_err(|(offset, what)| self.damaged(offset, what))
    }

    fn clear(&mut self) {
        self.enqueued.clear();
        self.ended.clear();
        self.slots.clear();
        self.lookup.clear();
        self.returned.clear();
        self.delivered.clear();
        self.cleaned.clear();
        self.forgotten.clear();
        self.definitions.clear();
    }

    fn walk_batches(&mut self, bytes: &[u8], foreign: bool) -> Result<(), (usize, &'static str)> {
        let mut at = batch::FILE_HEADER;
        while at < bytes.len() {
            let found = batch::skim(bytes, at).ok_or((at, "no batch begins here"))?;
            let start = at + batch::HEADER;
            let mut message = None;
            let mut rest = found.records;
            while !rest.is_empty() {
                let offset = start + found.records.len() - rest.len();
                let record = record::one(&mut rest).ok_or((offset, "no record begins here"))?;
                let next = start + found.records.len() - rest.len();
                match record {
                    Record::Message(stored) if foreign && Message::from_stored(stored).is_none() => {
                        return Err((offset, "this is no message"));
                    }
                    Record::Message(_) => message = Some(offset),
                    Record::Enqueue(enqueue) => {
                        let message = message.ok_or((offset, "a queue gets a message that is not there"))?;
                        self.enqueue(found.vhost, enqueue, offset, message);
                    }
                    Record::Define { .. } | Record::Undefine { .. } => self.definitions.push((found.vhost, offset, next)),
                    other => self.other(found.vhost, other),
                }
            }
            at = found.end;
        }
        Ok(())
    }

    fn slot(&mut self, key: Key, level: u8) -> u32 {
        // Most records are about the same level as the one before.
        if self.slots.get(self.recent as usize).is_some_and(|slot| slot.key == key && slot.level == level) {
            return self.recent;
        }
        self.recent = *self.lookup.entry((key, level)).or_insert_with(|| {
            self.slots.push(Slot { key, level, highest: None });
            offset32(self.slots.len() - 1)
        });
        self.recent
    }

    fn enqueue(&mut self, vhost: u32, enqueue: Enqueue, offset: usize, message: usize) {
        let slot = self.slot((vhost, enqueue.queue), enqueue.level);
        let highest = &mut self.slots[slot as usize].highest;
        *highest = (*highest).max(Some(enqueue.position));
        self.enqueued.push(Enqueued { position: enqueue.position, slot, enqueue: offset32(offset), message: offset32(message) });
    }

    fn other(&mut self, vhost: u32, record: Record<'_>) {
        match record {
            Record::Ack { queue, level, position, count } => {
                if count > 0 {
                    let slot = self.slot((vhost, queue), level);
                    let last = position.saturating_add(u64::from(count) - 1);
                    self.ended.push(Ended { first: position, last, slot, sparse: false, before_all: false });
                }
            }
            Record::Drop { queue, level, first, last } => {
                let slot = self.slot((vhost, queue), level);
                // What comes later is not meant, however far the range goes.
                let highest = self.slots[slot as usize].highest;
                let last = highest.map_or(last, |highest| last.min(highest));
                if first <= last {
                    self.ended.push(Ended { first, last, slot, sparse: true, before_all: highest.is_none() });
                }
            }
            Record::Returned { queue, returned } => self.returned.push(((vhost, queue), returned)),
            Record::Delivered { queue, below } => {
                let mark = self.delivered.entry((vhost, queue)).or_default();
                *mark = below.max(*mark);
            }
            Record::Forget { queue } => {
                self.forgotten.insert((vhost, queue));
            }
            Record::Clean => {
                self.delivered.retain(|(of, _), _| *of != vhost);
                self.cleaned.insert(vhost);
            }
            Record::Message(_) | Record::Enqueue(_) | Record::Define { .. } | Record::Undefine { .. } => {}
        }
    }

    /// Writes the segment `id` for what is alive. Nothing is changed but that file.
    pub(super) fn prepare(&mut self, shared: &Shared, number: u64, id: u64) -> Result<Prepared, Error> {
        self.sort();
        let mut highest = BTreeMap::new();
        for slot in self.slots.iter().filter(|slot| !self.forgotten.contains(&slot.key)) {
            if let Some(position) = slot.highest {
                let queue: &mut u64 = highest.entry(slot.key).or_default();
                *queue = position.max(*queue);
            }
        }
        let buffer = std::mem::take(&mut self.buffer);
        let mut output =
            Output { shared, id, writer: None, buffer, runs: Vec::new(), deltas: entry::Writer::default(), ended: BTreeMap::new() };
        let levels = self.levels(&mut output);
        let finished = levels.and_then(|()| output.writer.take().map_or(Ok(None), |writer| writer.finish(shared.disk.as_ref()).map(Some)));
        let finished = finished.inspect_err(|_| {
            // Half a segment is of no use; it may be all that the disk has room for.
            let _ = shared.disk.remove(&Name::Segment(id).to_string());
        })?;
        self.buffer = finished.unwrap_or(output.buffer);
        let mut writer = entry::Writer::default();
        if !output.runs.is_empty() {
            writer.segment(id, &output.runs);
        }
        writer.bytes.extend_from_slice(&output.deltas.take());
        self.rest(&mut writer, &highest, &output.ended);
        writer.log_done(number);
        if self.bytes.capacity() > KEPT_BUFFER {
            self.bytes = Vec::new();
        }
        let stored = highest.into_iter().map(|((vhost, queue), position)| (vhost, queue, position)).collect();
        Ok(Prepared { entry: writer.take(), stored })
    }

    /// Numbers the slots by queue and level, and puts messages and ends in the order of slots and positions.
    fn sort(&mut self) {
        let mut order: Vec<u32> = (0..offset32(self.slots.len())).collect();
        order.sort_unstable_by_key(|slot| (self.slots[*slot as usize].key, self.slots[*slot as usize].level));
        let mut rank = vec![0; order.len()];
        for (place, slot) in order.iter().enumerate() {
            rank[*slot as usize] = offset32(place);
        }
        self.slots = order.iter().map(|slot| self.slots[*slot as usize]).collect();
        for enqueued in &mut self.enqueued {
            enqueued.slot = rank[enqueued.slot as usize];
        }
        for ended in &mut self.ended {
            ended.slot = rank[ended.slot as usize];
        }
        self.enqueued.sort_unstable_by_key(|enqueued| (enqueued.slot, enqueued.position));
        self.ended.sort_unstable_by_key(|ended| (ended.slot, ended.first));
    }

    fn levels(&self, output: &mut Output<'_>) -> Result<(), Error> {
        let (mut enqueued, mut ended) = (&self.enqueued[..], &self.ended[..]);
        for (number, slot) in self.slots.iter().enumerate() {
            let (mine, others) = enqueued.split_at(enqueued.partition_point(|one| one.slot as usize <= number));
            let (ends, other_ends) = ended.split_at(ended.partition_point(|one| one.slot as usize <= number));
            (enqueued, ended) = (others, other_ends);
            if self.forgotten.contains(&slot.key) {
                continue;
            }
            let first = mine.first().map(|one| one.position);
            let (mut acks, mut drops) = (Vec::new(), Vec::new());
            for one in ends {
                let last = match first {
                    Some(first) if one.before_all => one.last.min(first.saturating_sub(1)),
                    _ => one.last,
                };
                if one.first <= last {
                    let ranges = if one.sparse { &mut drops } else { &mut acks };
                    ranges.push((one.first, last));
                }
            }
            ranges::normalize(&mut acks);
            ranges::normalize(&mut drops);
            output.older(slot, &acks, &drops)?;
            let ended = ranges::union(&acks, &drops);
            self.alive(output, slot, mine, &ended)?;
            if !self.returned.is_empty() {
                output.ended.insert((slot.key, slot.level), ended);
            }
        }
        Ok(())
    }

    /// Writes those of these messages that have not ended.
    fn alive(&self, output: &mut Output<'_>, slot: &Slot, messages: &[Enqueued], mut ended: &[Range]) -> Result<(), Error> {
        let Some(first) = messages.first() else { return Ok(()) };
        let last = output.shared.index.lock().last(slot.key, slot.level);
        let twice = "a position was given twice";
        if last.is_some_and(|last| last >= first.position) {
            return Err(self.damaged(first.enqueue as usize, twice));
        }
        if let Some(pair) = messages.windows(2).find(|pair| pair[0].position == pair[1].position) {
            return Err(self.damaged(pair[1].enqueue as usize, twice));
        }
        let mut run = Run::default();
        for message in messages {
            while ended.first().is_some_and(|range| range.1 < message.position) {
                ended = &ended[1..];
            }
            if ended.first().is_none_or(|range| range.0 > message.position) {
                self.write(output, &mut run, *message)?;
            }
        }
        if run.count > 0 {
            output.runs.push((slot.key, slot.level, run));
        }
        Ok(())
    }

    fn write(&self, output: &mut Output<'_>, run: &mut Run, message: Enqueued) -> Result<(), Error> {
        let mut record = &self.bytes[message.enqueue as usize..];
        let Some(Record::Enqueue(enqueue)) = record::one(&mut record) else { return Ok(()) };
        let mut record = &self.bytes[message.message as usize..];
        let Some(Record::Message(stored)) = record::one(&mut record) else { return Ok(()) };
        let Enqueue { position, at, redelivered, returns, uncounted, .. } = enqueue;
        let writer = output.writer()?;
        let start = writer.offset();
        writer.push(Head { position, at, redelivered, returns, uncounted }, stored)?;
        let length = writer.offset() - start;
        if run.count == 0 {
            (run.segment, run.offset, run.first, run.begun) = (output.id, start, position, at);
        }
        (run.last, run.ended) = (position, at);
        run.add(length, segment::body_len(stored), at);
        Ok(())
    }

    /// What is no matter of single messages.
    fn rest(&mut self, writer: &mut entry::Writer, highest: &BTreeMap<Key, u64>, ended: &BTreeMap<(Key, u8), Vec<Range>>) {
        for vhost in &self.cleaned {
            writer.within(*vhost);
            writer.record(Record::Clean);
        }
        for ((vhost, queue), position) in highest {
            writer.within(*vhost);
            writer.highest(*queue, *position);
        }
        let mut seen = BTreeSet::new();
        let latest: Vec<_> = self.returned.drain(..).rev().filter(|(key, one)| seen.insert((*key, one.level, one.position))).collect();
        for ((vhost, queue), returned) in latest.into_iter().rev().filter(|(key, _)| !self.forgotten.contains(key)) {
            let ended = ended.get(&((vhost, queue), returned.level)).map_or(&[][..], Vec::as_slice);
            if ranges::contains(ended, returned.position) {
                continue;
            }
            writer.within(vhost);
            writer.record(Record::Returned { queue, returned });
        }
        for ((vhost, queue), below) in self.delivered.iter().filter(|(key, _)| !self.forgotten.contains(key)) {
            writer.within(*vhost);
            writer.record(Record::Delivered { queue: *queue, below: *below });
        }
        for (vhost, queue) in &self.forgotten {
            writer.within(*vhost);
            writer.record(Record::Forget { queue: *queue });
        }
        for (vhost, from, to) in &self.definitions {
            writer.within(*vhost);
            writer.bytes.extend_from_slice(&self.bytes[*from..*to]);
        }
    }
}

/// Offsets are below the length of the file, which [`Fold::load`] has checked.
fn offset32(offset: usize) -> u32 {
    u32::try_from(offset).expect("a log file has less than 4 GiB")
}

impl Run {
    /// A message was written behind the others.
    pub(super) fn add(&mut self, length: u64, body: u64, at: u64) {
        self.count += 1;
        self.alive += 1;
        self.length += length;
        self.body_bytes += body;
        self.timed += u32::from(at != NEVER);
        self.longest = self.longest.max(u32::try_from(length).unwrap_or(u32::MAX));
    }
}

/// What [`Fold::prepare`] writes.
struct Output<'a> {
    shared: &'a Shared,
    id: u64,
    writer: Option<segment::Writer>,
    buffer: Vec<u8>,
    runs: Vec<(Key, u8, Run)>,
    /// What ended of older segments.
    deltas: entry::Writer,
    /// What ended, where messages came back.
    ended: BTreeMap<(Key, u8), Vec<Range>>,
}

impl Output<'_> {
    fn writer(&mut self) -> Result<&mut segment::Writer, Error> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let buffer = std::mem::take(&mut self.buffer);
                segment::Writer::new(self.shared.disk.as_ref(), Name::Segment(self.id).to_string(), self.id, buffer)?
            }
        };
        Ok(self.writer.insert(writer))
    }

    /// Says what these ends mean to the runs of older segments, exactly: which runs ended as a whole, which positions
    /// of others. So nothing has to be read to take it in.
    fn older(&mut self, slot: &Slot, acks: &[Range], drops: &[Range]) -> Result<(), Error> {
        let first = acks.first().into_iter().chain(drops.first()).map(|range| range.0).min();
        let last = acks.last().into_iter().chain(drops.last()).map(|range| range.1).max();
        let (Some(first), Some(last)) = (first, last) else { return Ok(()) };
        let runs: Vec<Run> = self.shared.index.lock().runs(slot.key, slot.level, first, last).cloned().collect();
        for run in runs {
            let dropped = ranges::clip(drops, run.first, run.last);
            let mut ended = ranges::clip(acks, run.first, run.last);
            let mut whole = dropped == [(run.first, run.last)];
            if !whole && !dropped.is_empty() {
                ended = ranges::union(&ended, &positions(&self.shared.files, &run, &dropped)?);
            }
            let newly = ranges::subtract(&ended, run.gone());
            whole |= ranges::total(&newly) >= u64::from(run.alive);
            self.deltas.within(slot.key.0);
            if whole {
                let (queue, level) = (slot.key.1, slot.level);
                self.deltas.record(Record::Drop { queue, level, first: run.first, last: run.last });
            } else {
                self.deltas.acks(slot.key.1, slot.level, &newly);
            }
        }
        Ok(())
    }
}

/// The positions of a run's messages that are among these.
fn positions(files: &Files, run: &Run, among: &[Range]) -> Result<Vec<Range>, Error> {
    let open = files.get(Name::Segment(run.segment))?;
    let mut walk = open.walk((run.offset, run.offset + run.length), PORTION, Vec::new());
    let mut found = Vec::new();
    while let Some(message) = walk.next()? {
        if ranges::contains(among, message.position) {
            found.push((message.position, message.position));
        }
    }
    ranges::normalize(&mut found);
    Ok(found)
}
