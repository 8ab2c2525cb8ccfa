//! Which messages are alive and where they lie: some bytes for every run of messages, none for a message.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch::FILE_HEADER;
use super::ranges::{self, Range};
use super::segment::SHORTEST;
use crate::broker::record::Returned;

/// Virtual host and queue.
pub(super) type Key = (u32, u64);

/// Messages of one level of a queue that lie together in a segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) count: u32,
    pub(super) alive: u32,
    pub(super) body_bytes: u64,
    pub(super) timed: u32,
    pub(super) begun: u64,
    pub(super) ended: u64,
    /// Bytes of the longest message.
    pub(super) longest: u32,
    /// What has ended; every position in it is of a message.
    pub(super) gone: Option<Arc<Vec<Range>>>,
}

impl Run {
    pub(super) fn gone(&self) -> &[Range] {
        self.gone.as_ref().map_or(&[], |gone| gone.as_slice())
    }
}

/// A run with what is known about the bytes of it that are alive.
#[derive(Clone, Debug)]
struct Weighed {
    run: Run,
    /// Bytes of those that were alive when they were counted last, and how many these were.
    known: (u64, u32),
}

impl Weighed {
    /// Bytes that are alive: likely, and at least.
    fn live(&self) -> (u64, u64) {
        let (bytes, count) = self.known;
        let likely = u128::from(bytes) * u128::from(self.run.alive) / u128::from(count.max(1));
        let ended = u64::from(count.saturating_sub(self.run.alive));
        let least = bytes.saturating_sub(ended * u64::from(self.run.longest)).max(u64::from(self.run.alive) * SHORTEST);
        let likely = u64::try_from(likely).unwrap_or(u64::MAX);
        (likely, least.min(likely))
    }
}

#[derive(Debug, Default)]
struct Queue {
    levels: Vec<(u8, Vec<Weighed>)>,
    /// Messages that came back, each with when that was.
    returned: BTreeMap<(u8, u64), (u64, Returned)>,
}

/// What is known of a segment as a whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    pub(super) length: u64,
    /// Bytes of messages that are alive, as far as that is known without reading.
    pub(super) live: u64,
    /// There are at least so many.
    pub(super) live_at_least: u64,
    /// How many runs are left.
    pub(super) left: usize,
    /// Where its runs are; some may have ended.
    pub(super) levels: Vec<(Key, u8)>,
}

/// Transient messages that memory had no room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spilled {
    pub(super) file: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) first: u64,
    pub(super) last: u64,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    queues: BTreeMap<Key, Queue>,
    pub(super) segments: BTreeMap<u64, Segment>,
    /// Segments without anything alive whose files are still there.
    pub(super) dead: Vec<u64>,
    pub(super) spilled: BTreeMap<(Key, u8), Vec<Spilled>>,
    /// Rises with each message that comes back.
    returns: u64,
}

impl Index {
    /// The runs of a level that have positions from `first` to `last`.
    pub(super) fn runs(&self, key: Key, level: u8, first: u64, last: u64) -> impl Iterator<Item = &Run> {
        let runs = self.level(key, level);
        let from = runs.partition_point(|weighed| weighed.run.last < first);
        runs[from..].iter().map(|weighed| &weighed.run).take_while(move |run| run.first <= last)
    }

    fn level(&self, key: Key, level: u8) -> &[Weighed] {
        let levels = self.queues.get(&key).map_or(&[][..], |queue| &queue.levels);
        levels.binary_search_by_key(&level, |(level, _)| *level).map_or(&[], |at| &levels[at].1)
    }

    /// The runs of a segment, by queue, level and position.
    pub(super) fn of_segment(&self, id: u64) -> Vec<(Key, u8, Run)> {
        let levels = self.segments.get(&id).map_or(&[][..], |segment| &segment.levels);
        let runs = levels.iter().flat_map(|&(key, level)| self.level(key, level).iter().map(move |weighed| (key, level, &weighed.run)));
        runs.filter(|(.., run)| run.segment == id).map(|(key, level, run)| (key, level, run.clone())).collect()
    }

    /// The highest position that a level has a message at.
    pub(super) fn last(&self, key: Key, level: u8) -> Option<u64> {
        self.level(key, level).last().map(|weighed| weighed.run.last)
    }

    /// Every run, by queue, level and position.
    pub(super) fn all(&self) -> impl Iterator<Item = (Key, u8, &Run)> {
        self.queues
            .iter()
            .flat_map(|(key, queue)| queue.levels.iter().flat_map(|(level, runs)| runs.iter().map(|weighed| (*key, *level, &weighed.run))))
    }

    /// The message's counts, if it came back.
    pub(super) fn returned(&self, key: Key, level: u8, position: u64) -> Option<Returned> {
        self.queues.get(&key)?.returned.get(&(level, position)).map(|(_, returned)| *returned)
    }

    pub(super) fn has_returned(&self, key: Key) -> bool {
        self.queues.get(&key).is_some_and(|queue| !queue.returned.is_empty())
    }

    /// Messages of all queues that came back, in the order in which they did.
    pub(super) fn all_returned(&self) -> Vec<(Key, Returned)> {
        let each = self.queues.iter().flat_map(|(key, queue)| queue.returned.values().map(|(order, returned)| (*order, *key, *returned)));
        let mut all: Vec<(u64, Key, Returned)> = each.collect();
        all.sort_unstable_by_key(|(order, ..)| *order);
        all.into_iter().map(|(_, key, returned)| (key, returned)).collect()
    }

    /// A message came back; ignored when it is not there.
    pub(super) fn add_returned(&mut self, key: Key, returned: Returned) {
        if self.is_alive(key, returned.level, returned.position)
            && let Some(queue) = self.queues.get_mut(&key)
        {
            self.returns += 1;
            queue.returned.insert((returned.level, returned.position), (self.returns, returned));
        }
    }

    pub(super) fn is_alive(&self, key: Key, level: u8, position: u64) -> bool {
        self.runs(key, level, position, position).any(|run| !ranges::contains(run.gone(), position))
    }

    /// Takes in what a new segment has, or nothing.
    pub(super) fn add_segment(&mut self, id: u64, runs: &[(Key, u8, Run)]) -> Result<(), &'static str> {
        if self.segments.contains_key(&id) {
            return Err("a segment is announced twice");
        }
        let mut end = FILE_HEADER as u64;
        let mut before = None;
        for (key, level, run) in runs {
            let span = run.last.checked_sub(run.first).ok_or("a run ends before it begins")?;
            let fits = run.count > 0 && u64::from(run.count) - 1 <= span && u64::from(run.count) * SHORTEST <= run.length;
            if !fits || run.offset < end || u64::from(run.longest) > run.length {
                return Err("a run has no room for its messages");
            }
            if before >= Some((*key, *level, run.first)) {
                return Err("the runs of a segment are not in order");
            }
            if self.runs(*key, *level, run.first, run.last).next().is_some() {
                return Err("two runs have the same positions");
            }
            end = run.offset.checked_add(run.length).ok_or("a run has no end")?;
            before = Some((*key, *level, run.last));
        }
        if runs.is_empty() {
            return Err("a segment has no messages");
        }
        let mut segment = Segment { length: end, left: runs.len(), ..Segment::default() };
        for (key, level, run) in runs {
            let queue = self.queues.entry(*key).or_default();
            let at = queue.levels.binary_search_by_key(level, |(level, _)| *level).unwrap_or_else(|at| {
                queue.levels.insert(at, (*level, Vec::new()));
                at
            });
            let others = &mut queue.levels[at].1;
            let at = others.partition_point(|other| other.run.last < run.first);
            others.insert(at, Weighed { known: (run.length, run.count), run: run.clone() });
            segment.live += run.length;
            segment.live_at_least += run.length;
            if segment.levels.last() != Some(&(*key, *level)) {
                segment.levels.push((*key, *level));
            }
        }
        self.segments.insert(id, segment);
        Ok(())
    }

    /// The messages of a segment are elsewhere now.
    pub(super) fn remove_segment(&mut self, id: u64) {
        let Some(segment) = self.segments.remove(&id) else { return };
        for (key, level) in segment.levels {
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            if let Ok(at) = queue.levels.binary_search_by_key(&level, |(level, _)| *level) {
                queue.levels[at].1.retain(|weighed| weighed.run.segment != id);
            }
        }
        self.dead.push(id);
    }

    /// Queues that had nothing left after [`Index::remove_segment`] and got nothing since.
    pub(super) fn tidy(&mut self, keys: impl Iterator<Item = Key>) {
        for key in keys {
            if let Some(queue) = self.queues.get_mut(&key) {
                queue.levels.retain(|(_, runs)| !runs.is_empty());
                if queue.levels.is_empty() {
                    self.queues.remove(&key);
                }
            }
        }
    }

    /// These positions, a normal set, have ended; those that are no message's count for nothing outside of runs.
    pub(super) fn end(&mut self, key: Key, level: u8, ended: &[Range]) {
        let (Some(&(first, _)), Some(&(_, last))) = (ended.first(), ended.last()) else { return };
        self.change(key, level, (first, last), |run| {
            let newly = ranges::subtract(&ranges::clip(ended, run.first, run.last), run.gone());
            run.alive = run.alive.saturating_sub(u32::try_from(ranges::total(&newly)).unwrap_or(u32::MAX));
            if !newly.is_empty() {
                run.gone = Some(Arc::new(ranges::union(run.gone(), &newly)));
            }
        });
        if let Some(queue) = self.queues.get_mut(&key).filter(|queue| !queue.returned.is_empty()) {
            for &(first, last) in ended {
                forget_returned(queue, level, first, last);
            }
        }
    }

    /// The runs that lie within these positions have ended.
    pub(super) fn drop_runs(&mut self, key: Key, level: u8, first: u64, last: u64) {
        self.change(key, level, (first, last), |run| {
            if run.first >= first && run.last <= last {
                run.alive = 0;
            }
        });
        if let Some(queue) = self.queues.get_mut(&key) {
            forget_returned(queue, level, first, last);
        }
    }

    /// A queue is gone with everything in it.
    pub(super) fn forget(&mut self, key: Key) {
        let levels: Vec<u8> = self.queues.get(&key).map_or_else(Vec::new, |queue| queue.levels.iter().map(|(level, _)| *level).collect());
        for level in levels {
            self.drop_runs(key, level, 0, u64::MAX);
        }
        self.queues.remove(&key);
    }

    fn change(&mut self, key: Key, level: u8, (first, last): (u64, u64), mut change: impl FnMut(&mut Run)) {
        let Some(queue) = self.queues.get_mut(&key) else { return };
        let Ok(at) = queue.levels.binary_search_by_key(&level, |(level, _)| *level) else { return };
        let runs = &mut queue.levels[at].1;
        let from = runs.partition_point(|weighed| weighed.run.last < first);
        let mut ended = false;
        for weighed in runs[from..].iter_mut().take_while(|weighed| weighed.run.first <= last) {
            let before = weighed.live();
            change(&mut weighed.run);
            let after = weighed.live();
            let id = weighed.run.segment;
            let Some(segment) = self.segments.get_mut(&id) else { continue };
            segment.live = segment.live.saturating_sub(before.0).saturating_add(after.0);
            segment.live_at_least = segment.live_at_least.saturating_sub(before.1).saturating_add(after.1);
            if weighed.run.alive == 0 {
                ended = true;
                segment.left -= 1;
                if segment.left == 0 {
                    self.segments.remove(&id);
                    self.dead.push(id);
                }
            }
        }
        if ended {
            runs.retain(|weighed| weighed.run.alive > 0);
            if runs.is_empty() {
                queue.levels.remove(at);
            }
            if queue.levels.is_empty() {
                self.queues.remove(&key);
            }
        }
    }

    /// Somebody has counted what is alive of a run: its bytes, and those of its longest message.
    pub(super) fn weigh(&mut self, key: Key, level: u8, first: u64, bytes: u64, longest: u32) {
        let Some(queue) = self.queues.get_mut(&key) else { return };
        let Ok(at) = queue.levels.binary_search_by_key(&level, |(level, _)| *level) else { return };
        for weighed in queue.levels[at].1.iter_mut().filter(|weighed| weighed.run.first == first) {
            let before = weighed.live();
            weighed.known = (bytes, weighed.run.alive);
            weighed.run.longest = longest;
            let after = weighed.live();
            if let Some(segment) = self.segments.get_mut(&weighed.run.segment) {
                segment.live = segment.live.saturating_sub(before.0).saturating_add(after.0);
                segment.live_at_least = segment.live_at_least.saturating_sub(before.1).saturating_add(after.1);
            }
        }
    }
}

fn forget_returned(queue: &mut Queue, level: u8, first: u64, last: u64) {
    let ended: Vec<(u8, u64)> = queue.returned.range((level, first)..=(level, last)).map(|(at, _)| *at).collect();
    for at in ended {
        queue.returned.remove(&at);
    }
}
