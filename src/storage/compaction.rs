//! Keeps the disk from filling with what has ended: segments of which little is alive are written together anew, and so
//! are many small ones.
//!
//! How many messages of a segment have ended is known; which of them were the long ones is not. Where that could make
//! the difference, the segment is read once to find out.

use super::Mover;
use super::batch::FILE_HEADER;
use super::error::Error;
use super::fold::Prepared;
use super::index::{Index, Key, Run, Segment};
use super::names::Name;
use super::ranges;
use super::{entry, segment};

/// Read at once.
const PORTION: usize = 1 << 20;
/// So many small segments of about the same size become one.
const ALIKE: usize = 8;

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    /// Count what is alive.
    Weigh(u64),
    /// Write what is alive in these to a new one.
    Merge(Vec<u64>),
}

/// Bytes of its messages, alive or not. Its header does not count: a segment of one short message would have little alive
/// in it however often it is written anew.
fn content(segment: &Segment) -> u64 {
    segment.length.saturating_sub(FILE_HEADER as u64)
}

impl Mover {
    /// One step; true if there may be more to do.
    pub fn compact(&mut self) -> Result<bool, Error> {
        self.settle()?;
        if self.manifest.is_broken() || self.manifest.is_long(self.options.log_bytes / 32) {
            self.manifest.rewrite(self.shared.disk.as_ref(), &self.shared.index)?;
            return Ok(true);
        }
        let step = self.next_step(&self.shared.index.lock());
        let (done, about) = match step {
            Step::Nothing => return Ok(false),
            Step::Weigh(id) => (self.weigh(id).map(|()| None), vec![id]),
            Step::Merge(ids) => (self.merge(&ids).map(Some), ids),
        };
        match done {
            Ok(None) => Ok(true),
            Ok(Some(prepared)) => self.commit(None, prepared).map(|()| true),
            Err(error) => {
                // It would be read again and again.
                if let Error::Damaged { file, .. } = &error {
                    self.unreadable.extend(about.into_iter().filter(|id| Name::Segment(*id).to_string() == *file));
                }
                Err(error)
            }
        }
    }

    fn next_step(&self, index: &Index) -> Step {
        let readable = || index.segments.iter().filter(|(id, _)| !self.unreadable.contains(id));
        let (mut length, mut live, mut least) = (0u64, 0u64, 0u64);
        for (_, segment) in readable() {
            length += content(segment);
            live += segment.live;
            least += segment.live_at_least;
        }
        let floor = self.options.log_bytes / 64;
        let dead = length.saturating_sub(live);
        if dead > floor && dead > live / 4 {
            return Step::Merge(self.deadest(readable()));
        }
        if length - least.min(length) > floor && length - least.min(length) > least / 4 {
            let uncertain = readable().map(|(id, segment)| (segment.live.saturating_sub(segment.live_at_least), *id, segment.length));
            if let Some((_, id, _)) = uncertain.filter(|(bytes, _, length)| *bytes > length / 8).max() {
                return Step::Weigh(id);
            }
        }
        let small = readable().filter(|(_, segment)| segment.live < self.options.log_bytes / 8);
        let mut alike: [Vec<u64>; 22] = Default::default();
        for (id, segment) in small {
            alike[segment.live.max(1).ilog2() as usize / 3].push(*id);
        }
        alike.into_iter().find(|ids| ids.len() >= ALIKE).map_or(Step::Nothing, Step::Merge)
    }

    /// The segments with the least alive in them, as long as it is a file's worth together.
    fn deadest<'a>(&self, segments: impl Iterator<Item = (&'a u64, &'a Segment)>) -> Vec<u64> {
        let mut shares: Vec<(u64, u64, u64, u64)> = segments
            .map(|(id, segment)| {
                let length = content(segment);
                (segment.live.saturating_mul(1024) / length.max(1), *id, segment.live, length)
            })
            .collect();
        shares.sort_unstable();
        let mut survivors = 0;
        let mut chosen = Vec::new();
        for (_, id, live, length) in shares {
            survivors += live;
            if !chosen.is_empty() && (survivors > self.options.log_bytes || live > length - length / 8) {
                break;
            }
            chosen.push(id);
        }
        chosen
    }

    fn weigh(&self, id: u64) -> Result<(), Error> {
        let runs = self.shared.index.lock().of_segment(id);
        let open = self.shared.files.get(Name::Segment(id))?;
        let mut buffer = Vec::new();
        for (key, level, run) in runs {
            let mut walk = open.walk((run.offset, run.offset + run.length), PORTION, buffer);
            let (mut bytes, mut longest) = (0, 0);
            while let Some(found) = walk.next()? {
                if !ranges::contains(run.gone(), found.position) {
                    bytes += found.length as u64;
                    longest = longest.max(u32::try_from(found.length).unwrap_or(u32::MAX));
                }
            }
            buffer = walk.into_buffer();
            self.shared.index.lock().weigh(key, level, run.first, bytes, longest);
        }
        Ok(())
    }

    fn merge(&mut self, ids: &[u64]) -> Result<Prepared, Error> {
        let mut runs: Vec<(Key, u8, Run)> = Vec::new();
        for id in ids {
            runs.extend(self.shared.index.lock().of_segment(*id));
        }
        runs.sort_unstable_by_key(|(key, level, run)| (*key, *level, run.first));
        let id = self.next_segment();
        let written = self.write_merged(id, ids, &runs);
        let merged = written.inspect_err(|_| self.remove(Name::Segment(id)))?;
        let mut writer = entry::Writer::default();
        for id in ids {
            writer.gone(*id);
        }
        if !merged.is_empty() {
            writer.segment(id, &merged);
        }
        Ok(Prepared { entry: writer.take(), stored: Vec::new() })
    }

    fn write_merged(&self, id: u64, from: &[u64], runs: &[(Key, u8, Run)]) -> Result<Vec<(Key, u8, Run)>, Error> {
        let disk = self.shared.disk.as_ref();
        let mut writer = segment::Writer::new(disk, Name::Segment(id).to_string(), id, Vec::new())?;
        let mut merged: Vec<(Key, u8, Run)> = Vec::new();
        let mut buffer = Vec::new();
        for (key, level, run) in runs {
            let joined = merged.last().is_some_and(|(last_key, last_level, last)| {
                (last_key, last_level) == (key, level) && self.is_next(*key, *level, (last.last, run.first), from)
            });
            let mut target = if joined { merged.pop().map(|(.., run)| run) } else { None }.unwrap_or_default();
            let open = self.shared.files.get(Name::Segment(run.segment))?;
            let mut walk = open.walk((run.offset, run.offset + run.length), PORTION, buffer);
            while let Some(found) = walk.next()? {
                if !(run.first..=run.last).contains(&found.position) {
                    return Err(walk.damaged(found.offset, "a message is not where it belongs"));
                }
                if ranges::contains(run.gone(), found.position) {
                    continue;
                }
                let bytes = walk.read(found)?;
                let (at, body) = (segment::time_of(bytes), segment::body_of(bytes));
                if target.count == 0 {
                    (target.segment, target.offset, target.first, target.begun) = (id, writer.offset(), found.position, at);
                }
                (target.last, target.ended) = (found.position, at);
                target.add(found.length as u64, body, at);
                writer.append(bytes)?;
            }
            buffer = walk.into_buffer();
            if target.count > 0 {
                merged.push((*key, *level, target));
            }
        }
        if merged.is_empty() {
            drop(writer);
            let _ = disk.remove(&Name::Segment(id).to_string());
        } else {
            writer.finish(disk)?;
        }
        Ok(merged)
    }

    /// Whether no other segment has anything between these positions; its run stays where it is, so those around it
    /// cannot become one.
    fn is_next(&self, key: Key, level: u8, (last, first): (u64, u64), from: &[u64]) -> bool {
        let (last, first) = (last.saturating_add(1), first.saturating_sub(1));
        last > first || self.shared.index.lock().runs(key, level, last, first).all(|run| from.contains(&run.segment))
    }
}
