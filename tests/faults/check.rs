//! Whether a storage has what the model has.

use std::collections::{BTreeMap, BTreeSet};

use leveret::broker::record::{RecoveredQueue, Returned, Stored};
use leveret::storage::{Load, Opened};

use crate::model::{Entry, Model, Place, Queue, Vhost};
use crate::random::Random;

pub(crate) type Verdict<T = ()> = Result<T, String>;

/// Virtual host (by place), queue, level and position.
pub(crate) type Whole = (usize, u64, Place);

/// What may be loaded, and what must be.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) model: &'a Model,
    pub(crate) spilled: &'a BTreeMap<Whole, Entry>,
    /// What may be there still.
    pub(crate) former: [&'a BTreeMap<Whole, Entry>; 2],
}

fn same(stored: &Stored, entry: &Entry) -> Verdict {
    let mut bytes = [Vec::new(), Vec::new()];
    stored.message.store(&mut bytes[0]);
    entry.message.store(&mut bytes[1]);
    if bytes[0] != bytes[1] || stored.message.body_len() != entry.message.body_len() {
        return Err("is another message".to_owned());
    }
    if stored.at != entry.at {
        return Err(format!("has time {}, not {}", stored.at, entry.at));
    }
    let counts = (stored.redelivered, stored.returns, stored.uncounted);
    let known = std::iter::once(&entry.counts).chain(&entry.earlier);
    if !known.clone().any(|known| (known.redelivered, known.returns, known.uncounted) == counts) {
        return Err(format!("came back {counts:?}, not one of {:?}", known.collect::<Vec<_>>()));
    }
    Ok(())
}

impl View<'_> {
    fn queue(&self, at: usize, number: u64) -> Option<&Queue> {
        self.model.vhosts[at].queues.get(&number)
    }

    /// Every level that has anything, and some that have nothing.
    pub(crate) fn levels(&self) -> BTreeSet<(usize, u64, u8)> {
        let mut levels: BTreeSet<_> = self.spilled.keys().map(|(at, queue, (level, _))| (*at, *queue, *level)).collect();
        for (at, vhost) in self.model.vhosts.iter().enumerate() {
            for (number, queue) in &vhost.queues {
                levels.extend(queue.entries.keys().map(|(level, _)| (at, *number, *level)));
                levels.extend([(at, *number, 0), (at, *number, 7)]);
            }
        }
        levels
    }

    /// Whether this is what a load may give; returns whether it gave everything there is.
    pub(crate) fn check_loaded(&self, at: usize, request: &Load, loaded: &[Stored]) -> Verdict<bool> {
        let positions: Vec<u64> = loaded.iter().map(|stored| stored.position).collect();
        let about = |text: &str| format!("{text}: {request:?} (virtual host {at}) gave {positions:?}");
        let first = request.after.map_or(0, |after| after + 1);
        if !positions.is_sorted_by(|a, b| a < b) {
            return Err(about("not in order"));
        }
        for stored in loaded {
            if stored.position < first || stored.position > request.up_to || stored.level != request.level {
                return Err(about("not asked for"));
            }
            let whole = (at, request.queue, (request.level, stored.position));
            let alive = self.queue(at, request.queue).and_then(|queue| queue.entries.get(&whole.2));
            let entry =
                alive.into_iter().chain([self.spilled, self.former[0], self.former[1]].iter().find_map(|map| map.get(&whole))).next();
            let entry = entry.ok_or_else(|| about(&format!("{} is not there", stored.position)))?;
            same(stored, entry).map_err(|what| about(&format!("{} {what}", stored.position)))?;
        }
        if first > request.up_to {
            return Ok(true);
        }
        let (from, to) = ((request.level, first), (request.level, request.up_to));
        let entries = self.queue(at, request.queue).into_iter().flat_map(|queue| queue.entries.range(from..=to).map(|(place, _)| place.1));
        let spilled = self.spilled.range((at, request.queue, from)..=(at, request.queue, to)).map(|((_, _, place), _)| place.1);
        let due: BTreeSet<u64> = entries.chain(spilled).collect();
        let last = positions.last();
        match due.iter().find(|due| last.is_none_or(|last| *due < last) && !positions.contains(due)) {
            Some(missing) => Err(about(&format!("{missing} is missing"))),
            None => Ok(due.last().is_none_or(|due| last.is_some_and(|last| last >= due))),
        }
    }

    /// Reads a whole level, in portions.
    pub(crate) fn check_level(&self, opened: &Opened, (at, queue, level): (usize, u64, u8), max_bytes: usize) -> Verdict {
        let mut after = None;
        loop {
            let request = Load { vhost: opened.vhosts[at].number, queue, level, after, up_to: u64::MAX, max_bytes };
            let loaded = opened.reader.load(&request).map_err(|error| format!("an error, and the disk is well: {error}"))?;
            self.check_loaded(at, &request, &loaded)?;
            let Some(last) = loaded.last() else { return Ok(()) };
            after = Some(last.position);
        }
    }
}

/// What was recovered, to be compared with models.
pub(crate) struct Recovery<'a> {
    pub(crate) opened: &'a Opened,
    pub(crate) random: &'a mut Random,
}

impl Recovery<'_> {
    pub(crate) fn check(&mut self, model: &Model) -> Verdict {
        for (at, vhost) in model.vhosts.iter().enumerate() {
            check_vhost(self.opened, at, vhost).map_err(|what| format!("virtual host {at}: {what}"))?;
        }
        let none = BTreeMap::new();
        let view = View { model, spilled: &none, former: [&none, &none] };
        for level in view.levels() {
            view.check_level(self.opened, level, [100, 3_000, 1_000_000][self.random.below(3)])?;
        }
        Ok(())
    }
}

fn check_vhost(opened: &Opened, at: usize, vhost: &Vhost) -> Verdict {
    let recovered = &opened.vhosts[at].recovered;
    let defined: Vec<_> = vhost.definitions.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    if recovered.definitions != defined {
        let show = |defined: &[(Vec<u8>, Vec<u8>)]| {
            let shown = defined.iter().map(|(key, value)| format!("{}: {}x{:?}", String::from_utf8_lossy(key), value.len(), value.first()));
            shown.collect::<Vec<_>>().join(", ")
        };
        return Err(format!("definitions {}, not {}", show(&recovered.definitions), show(&defined)));
    }
    if recovered.highest_queue < vhost.highest_queue {
        return Err(format!("highest queue {}, not {}", recovered.highest_queue, vhost.highest_queue));
    }
    if let Some(number) = recovered.queues.keys().find(|number| !vhost.queues.contains_key(number)) {
        return Err(format!("queue {number} is not there"));
    }
    for (number, queue) in &vhost.queues {
        let recovered = recovered.queues.get(number).ok_or_else(|| format!("queue {number} is lost"))?;
        check_queue(recovered, queue).map_err(|what| format!("queue {number}: {what}"))?;
    }
    Ok(())
}

fn check_queue(recovered: &RecoveredQueue, queue: &Queue) -> Verdict {
    if recovered.highest < queue.highest {
        return Err(format!("highest position {}, not {}", recovered.highest, queue.highest));
    }
    if recovered.delivered != queue.delivered {
        return Err(format!("delivered up to {}, not {}", recovered.delivered, queue.delivered));
    }
    let returned: Vec<Returned> = queue.returned.iter().map(|place| returned(queue, *place)).collect();
    if recovered.returned != returned {
        return Err(format!("came back {:?}, not {returned:?}", recovered.returned));
    }
    let levels: BTreeSet<u8> = queue.entries.keys().map(|place| place.0).chain(recovered.runs.iter().map(|run| run.level)).collect();
    for level in levels {
        let entries = || queue.entries.range((level, 0)..=(level, u64::MAX)).map(|(place, entry)| (place.1, entry));
        let runs = || recovered.runs.iter().filter(|run| run.level == level);
        let (count, due) = (runs().map(|run| run.count).sum::<u64>(), entries().count() as u64);
        if count != due {
            return Err(format!("level {level} has {count} messages, not {due}"));
        }
        if let Some((position, _)) = entries().find(|(position, _)| !runs().any(|run| (run.first..=run.last).contains(position))) {
            return Err(format!("level {level}: {position} is in none of {:?}", recovered.runs));
        }
        let timed = entries().filter(|(_, entry)| entry.at != leveret::broker::record::NEVER).count() as u64;
        if runs().map(|run| run.timed).sum::<u64>() < timed {
            return Err(format!("level {level}: {timed} messages have a time, not {:?}", recovered.runs));
        }
    }
    Ok(())
}

fn returned(queue: &Queue, place: Place) -> Returned {
    let counts = queue.entries[&place].counts;
    Returned { level: place.0, position: place.1, returns: counts.returns, uncounted: counts.uncounted }
}
