//! What the manifest says, taken in: the same for an entry just written and for one read at the start.

use std::collections::BTreeMap;

use super::entry::{self, Said};
use super::index::{Index, Key};
use super::ranges::{self, Range};
use crate::broker::record::Record;

/// What is not kept in memory while the broker runs.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    pub(super) vhosts: BTreeMap<u32, Vhost>,
    /// Log files up to this number have been folded.
    pub(super) done: u64,
    /// The highest number of a segment that the manifest names, whatever became of it.
    pub(super) highest_segment: u64,
}

#[derive(Debug, Default)]
pub(super) struct Vhost {
    /// Empty until it is known, which it is before anything else is said about it.
    pub(super) name: String,
    pub(super) definitions: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) highest: BTreeMap<u64, u64>,
    pub(super) delivered: BTreeMap<u64, u64>,
    pub(super) highest_queue: u64,
}

/// What is no entry: where in it, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoEntry {
    pub(super) offset: usize,
    pub(super) what: &'static str,
}

/// Ended positions of one level that follow each other in an entry are put into their runs together.
#[derive(Default)]
struct Acks {
    of: (Key, u8),
    ranges: Vec<Range>,
}

impl Acks {
    fn add(&mut self, index: &mut Index, of: (Key, u8), range: Range) {
        if self.of != of {
            self.flush(index);
            self.of = of;
        }
        self.ranges.push(range);
    }

    fn flush(&mut self, index: &mut Index) {
        if !self.ranges.is_empty() {
            ranges::normalize(&mut self.ranges);
            index.end(self.of.0, self.of.1, &self.ranges);
            self.ranges.clear();
        }
    }
}

/// Takes an entry in. Either part may be left out.
pub(super) fn apply(bytes: &[u8], mut index: Option<&mut Index>, mut definitions: Option<&mut Definitions>) -> Result<(), NoEntry> {
    let mut vhost = 0;
    let mut acks = Acks::default();
    let mut touched: Vec<Key> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let offset = bytes.len() - rest.len();
        let said = entry::one(&mut rest).ok_or(NoEntry { offset, what: "no record begins here" })?;
        if let Said::In { vhost: number } = said {
            vhost = number;
        }
        if let Some(index) = index.as_deref_mut() {
            locate(index, &mut acks, &mut touched, vhost, said).map_err(|what| NoEntry { offset, what })?;
        }
        if let Some(definitions) = definitions.as_deref_mut() {
            remember(definitions, vhost, said);
        }
    }
    if let Some(index) = index {
        acks.flush(index);
        index.tidy(touched.into_iter());
    }
    Ok(())
}

fn locate(index: &mut Index, acks: &mut Acks, touched: &mut Vec<Key>, vhost: u32, said: Said<'_>) -> Result<(), &'static str> {
    match said {
        Said::Record(Record::Ack { queue, level, position, count }) => {
            if count > 0 {
                acks.add(index, ((vhost, queue), level), (position, position.saturating_add(u64::from(count) - 1)));
            }
            return Ok(());
        }
        Said::Record(Record::Message(_) | Record::Enqueue(_)) => return Err("a message is not for the manifest"),
        _ => acks.flush(index),
    }
    match said {
        Said::Record(Record::Drop { queue, level, first, last }) => {
            if first <= last {
                index.drop_runs((vhost, queue), level, first, last);
            }
        }
        Said::Record(Record::Returned { queue, returned }) => index.add_returned((vhost, queue), returned),
        Said::Record(Record::Forget { queue }) => index.forget((vhost, queue)),
        Said::Segment { id, runs } => index.add_segment(id, &runs.iter().collect::<Vec<_>>())?,
        Said::Gone { id } => {
            touched.extend(index.segments.get(&id).into_iter().flat_map(|segment| segment.levels.iter().map(|(key, _)| *key)));
            index.remove_segment(id);
        }
        Said::Record(_) | Said::LogDone { .. } | Said::In { .. } | Said::Highest { .. } | Said::Vhost { .. } => {}
    }
    Ok(())
}

fn remember(definitions: &mut Definitions, number: u32, said: Said<'_>) {
    match said {
        Said::LogDone { number } => {
            definitions.done = definitions.done.max(number);
            return;
        }
        Said::Vhost { number, name } => {
            name.clone_into(&mut definitions.vhosts.entry(number).or_default().name);
            return;
        }
        Said::Segment { id, runs } => {
            definitions.highest_segment = definitions.highest_segment.max(id);
            for ((number, queue), _, run) in runs.iter() {
                let vhost = definitions.vhosts.entry(number).or_default();
                vhost.seen(queue);
                vhost.reached(queue, run.last);
            }
            return;
        }
        Said::Gone { .. } | Said::In { .. } => return,
        Said::Record(_) | Said::Highest { .. } => {}
    }
    let vhost = definitions.vhosts.entry(number).or_default();
    match said {
        Said::Highest { queue, position } => {
            vhost.seen(queue);
            vhost.reached(queue, position);
        }
        Said::Record(Record::Delivered { queue, below }) => {
            vhost.seen(queue);
            let mark = vhost.delivered.entry(queue).or_default();
            *mark = below.max(*mark);
        }
        Said::Record(Record::Forget { queue }) => {
            vhost.seen(queue);
            vhost.highest.remove(&queue);
            vhost.delivered.remove(&queue);
        }
        Said::Record(Record::Define { key, value }) => {
            vhost.definitions.insert(key.to_vec(), value.to_vec());
        }
        Said::Record(Record::Undefine { key }) => {
            vhost.definitions.remove(key);
        }
        Said::Record(Record::Clean) => vhost.delivered.clear(),
        _ => {}
    }
}

impl Vhost {
    fn seen(&mut self, queue: u64) {
        self.highest_queue = self.highest_queue.max(queue);
    }

    fn reached(&mut self, queue: u64, position: u64) {
        let highest = self.highest.entry(queue).or_default();
        *highest = position.max(*highest);
    }
}
