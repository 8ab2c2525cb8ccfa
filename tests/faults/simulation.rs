//! A storage over the worst disk, driven by a seed: everything that the threads of a server would do to it, in any order, with
//! failures and ends at any moment; what it has afterwards is compared with a model.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::io::Write;
use std::sync::Arc;

use leveret::broker::record::{Records, Stored};
use leveret::storage::{Batch, Disk, Load, Opened, Options, Sealed, open};

use crate::check::{Recovery, Verdict, View, Whole};
use crate::choice::{Positions, Tastes};
use crate::disk::{End, Faults, SimDisk};
use crate::model::{self, Change, Counts, Entry, Model, VHOSTS, Vhost};
use crate::random::Random;

/// Something that has been given to the log and is not known to be on the disk.
#[derive(Clone, Debug)]
struct Written {
    vhost: usize,
    changes: Vec<Change>,
}

/// What there is as long as the process lives.
#[derive(Debug)]
struct Process {
    opened: Opened,
    sealed: VecDeque<Sealed>,
    /// Up to which position messages of a queue can be loaded.
    stored: BTreeMap<(usize, u64), u64>,
    next: [Positions; 2],
    /// Ended since everything was folded last: may still be loaded.
    ended: BTreeMap<Whole, Entry>,
    spilled: BTreeMap<Whole, Entry>,
    /// Spilled, and not needed any more.
    released: BTreeMap<Whole, Entry>,
    /// Batches that were refused and have to be given again.
    refused: Option<(Vec<Batch>, Vec<Written>)>,
}

pub(crate) struct Simulation {
    random: Random,
    disk: SimDisk,
    options: Options,
    tastes: Tastes,
    process: Option<Process>,
    /// What the broker thinks.
    model: Model,
    /// What is on the disk for certain.
    durable: Model,
    /// Committed after that, in order.
    unsynced: Vec<Written>,
    /// The first so many of them have been written, so only a power cut can take them.
    written: usize,
    /// A sync failed that nobody was promised anything by; so was nothing since.
    in_doubt: bool,
    is_faulty: bool,
    trace: bool,
    pub(crate) reopened: usize,
    pub(crate) committed: usize,
}

impl Simulation {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let log_bytes = [8_192, 16_384, 65_536][random.below(3)];
        let options = Options { log_bytes, log_messages: [20, 1_000][random.below(2)], sync: random.percent(80) };
        Self {
            disk: SimDisk::new(random.next()),
            tastes: Tastes::new(&mut random),
            options,
            random,
            process: None,
            model: Model::default(),
            durable: Model::default(),
            unsynced: Vec::new(),
            written: 0,
            in_doubt: false,
            is_faulty: false,
            trace: std::env::var_os("TRACE").is_some(),
            reopened: 0,
            committed: 0,
        }
    }

    pub(crate) fn disk(&self) -> &SimDisk {
        &self.disk
    }

    pub(crate) fn run(&mut self, steps: usize) -> Verdict {
        self.open(&[])?;
        for _ in 0..steps {
            self.step()?;
            if self.disk.has_ended() {
                self.end()?;
            }
        }
        self.heal();
        self.restart(End::PowerCut)?;
        self.settle()?;
        self.restart(End::PowerCut)
    }

    fn tell(&self, what: &dyn Debug) {
        if self.trace {
            writeln!(std::io::stderr(), "{what:?}").expect("standard error");
        }
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("a process is there between two ends")
    }

    fn step(&mut self) -> Verdict {
        match self.random.weighted(&[60, 25, 10, 4, 3, 5, 12, 3, 1, 2, 3, 5, 4]) {
            0 => self.commit(),
            1 => self.fold(),
            2 => self.compact(),
            3 => {
                let sealed = self.process().opened.log.seal();
                self.tell(&("seal", &sealed));
                self.in_doubt |= sealed.is_err();
                self.allow(sealed)
            }
            4 => {
                let prepared = self.process().opened.mover.prepare_spare();
                self.tell(&("spare", &prepared));
                self.allow(prepared)
            }
            5 => self.spill(),
            6 => self.load(),
            7 => self.settle(),
            8 => self.restart(End::Killed),
            9 => self.restart(End::PowerCut),
            10 => {
                let after = self.random.next() % 12;
                self.tell(&("to end after", after));
                self.disk.set_faults(|faults| faults.end_after = Some(after));
                Ok(())
            }
            11 => {
                self.break_something();
                Ok(())
            }
            _ => {
                self.heal();
                self.sync()
            }
        }
    }

    fn break_something(&mut self) {
        let sync = self.options.sync;
        let kind = self.random.below(5);
        let (room, count) = (self.random.next() % 20_000, 1 + u32::try_from(self.random.below(3)).expect("a few"));
        let used = self.disk.used();
        let names = self.disk.list().unwrap_or_default();
        let unreadable = (!names.is_empty()).then(|| {
            let (name, length) = &names[self.random.below(names.len())];
            (name.clone(), self.random.next() % (length + 1) / 4096 * 4096)
        });
        self.disk.set_faults(|faults| match kind {
            0 => faults.capacity = Some(used + room),
            // What is not synced by itself is not promised to anybody when a sync fails and the kernel drops the pages.
            1 => (faults.failing_syncs, faults.keeps_pages) = (count, !sync),
            2 => faults.read_only = true,
            3 => faults.closed_directory = true,
            _ => faults.unreadable = unreadable,
        });
        self.tell(&("broken", kind));
        self.is_faulty = true;
    }

    fn heal(&mut self) {
        self.disk.set_faults(Faults::heal);
        self.is_faulty = false;
    }

    /// Errors are for a disk that is broken.
    fn allow<T, E: std::fmt::Display>(&self, result: Result<T, E>) -> Verdict {
        match result {
            Err(error) if !self.is_faulty && !self.disk.has_ended() => Err(format!("an error, and the disk is well: {error}")),
            _ => Ok(()),
        }
    }

    fn commit(&mut self) -> Verdict {
        let (batches, written) = match self.process().refused.take() {
            Some(refused) => refused,
            None => self.batches(),
        };
        let committed = self.process().opened.log.commit(&batches);
        self.tell(&("commit", batches.len(), &committed));
        if let Err(error) = committed {
            self.process().refused = Some((batches, written));
            self.in_doubt = true;
            return self.allow::<(), _>(Err(error));
        }
        self.committed += batches.len();
        self.unsynced.extend(written);
        if self.options.sync {
            self.synced();
        }
        self.collect_sealed();
        Ok(())
    }

    /// Everything that was committed is on the disk.
    fn synced(&mut self) {
        self.in_doubt = false;
        for Written { vhost, changes } in std::mem::take(&mut self.unsynced) {
            changes.iter().for_each(|change| self.durable.vhosts[vhost].apply(change, &mut |_, _, _| {}));
        }
    }

    fn collect_sealed(&mut self) {
        let process = self.process();
        while let Some(sealed) = process.opened.log.take_sealed() {
            process.sealed.push_back(sealed);
        }
    }

    fn batches(&mut self) -> (Vec<Batch>, Vec<Written>) {
        let Self { random, tastes, process, model, .. } = self;
        let process = process.as_mut().expect("a process is there between two ends");
        let (mut batches, mut written) = (Vec::new(), Vec::new());
        for _ in 0..=random.below(4) {
            let at = usize::from(random.percent(25));
            let vhost = &mut model.vhosts[at];
            let changes = tastes.batch(vhost, &mut process.next[at], random);
            let mut records = Records::default();
            records.enable();
            // What a record says of what ends is counted before it does.
            for change in &changes {
                model::write(std::slice::from_ref(change), vhost, &mut records);
                vhost.apply(change, &mut |queue, place, entry| drop(process.ended.insert((at, queue, place), entry)));
                if let Change::Forget { queue } = change {
                    process.forget(at, *queue);
                }
            }
            let (enqueued, ended_bytes) = (records.enqueued, records.ended_bytes);
            let number = process.opened.vhosts[at].number;
            batches.push(Batch { vhost: number, records: records.take(Vec::new()), enqueued, ended_bytes });
            written.push(Written { vhost: at, changes });
        }
        (batches, written)
    }

    fn sync(&mut self) -> Verdict {
        let synced = self.process().opened.log.sync();
        self.tell(&("sync", &synced));
        self.in_doubt |= synced.is_err();
        if synced.is_ok() {
            self.synced();
        }
        self.collect_sealed();
        self.allow(synced)
    }

    /// Folds the oldest file that is sealed; again if it could not be folded before.
    fn fold(&mut self) -> Verdict {
        self.collect_sealed();
        let process = self.process();
        let Some(sealed) = process.sealed.front().copied() else { return Ok(()) };
        let folded = process.opened.mover.fold(&sealed);
        if let Ok(folded) = &folded {
            process.sealed.pop_front();
            for (number, queue, up_to) in &folded.stored {
                let at = process.opened.vhosts.iter().position(|vhost| vhost.number == *number).ok_or("a virtual host nobody has")?;
                let stored = process.stored.entry((at, *queue)).or_default();
                *stored = (*up_to).max(*stored);
            }
        }
        self.tell(&("fold", sealed, &folded));
        self.allow(folded)
    }

    fn compact(&mut self) -> Verdict {
        let compacted = self.process().opened.mover.compact();
        self.tell(&("compact", &compacted));
        self.allow(compacted)
    }

    fn spill(&mut self) -> Verdict {
        let Self { random, tastes, process, .. } = self;
        let process = process.as_mut().expect("a process is there between two ends");
        let at = usize::from(random.percent(25));
        let queues: Vec<u64> = process.next[at].queues.keys().copied().collect();
        if queues.is_empty() {
            return Ok(());
        }
        let queue = queues[random.below(queues.len())];
        let level = [0, 7][random.below(2)];
        if random.percent(30) {
            let up_to = random.next() % process.next[at].queues[&queue];
            process.unspill(at, queue, level, up_to);
            return Ok(());
        }
        let mut messages = Vec::new();
        for _ in 0..=random.below(10) {
            let message = (*tastes.message(random)).clone();
            let (position, redelivered) = (process.next[at].give(queue, random), random.percent(20));
            messages.push(Stored { level, position, at: random.next() % 1_000, redelivered, returns: 0, uncounted: 0, message });
        }
        let spilled = process.opened.mover.spill(process.opened.vhosts[at].number, queue, level, &messages);
        if spilled.is_ok() {
            for stored in &messages {
                let counts = Counts { redelivered: stored.redelivered, ..Counts::default() };
                let entry = Entry { message: Arc::new(stored.message.clone()), at: stored.at, counts, earlier: Vec::new() };
                process.spilled.insert((at, queue, (level, stored.position)), entry);
            }
        }
        self.tell(&("spill", at, queue, level, messages.first().map(|stored| stored.position), messages.len(), &spilled));
        self.allow(spilled)
    }

    /// Loads some messages of a level that can be loaded.
    fn load(&mut self) -> Verdict {
        let places: Vec<(usize, u64)> =
            self.process().next.iter().zip(0..).flat_map(|(next, at)| next.queues.keys().map(move |q| (at, *q))).collect();
        if places.is_empty() {
            return Ok(());
        }
        let (at, queue) = places[self.random.below(places.len())];
        let stored = self.process().stored.get(&(at, queue)).copied().unwrap_or(0);
        let level = [0, 0, 1, 7, 255][self.random.below(5)];
        let after = self.random.percent(60).then(|| self.random.next() % (stored + 1));
        let up_to = if self.random.percent(60) { stored } else { self.random.next() % (stored + 1) };
        let max_bytes = [0, 500, 5_000, 1_000_000][self.random.below(4)];
        let number = self.process().opened.vhosts[at].number;
        let request = Load { vhost: number, queue, level, after, up_to, max_bytes };
        let loaded = self.process().opened.reader.load(&request);
        self.tell(&("load", request, loaded.as_ref().map(Vec::len)));
        match loaded {
            Ok(loaded) => self.view().check_loaded(at, &request, &loaded).map(|_| ()),
            Err(error) => self.allow::<(), _>(Err(error)),
        }
    }

    /// Everything is folded, and then everything is as the model has it.
    fn settle(&mut self) -> Verdict {
        self.heal();
        if self.process().refused.is_some() {
            self.commit()?;
        }
        let sealed = self.process().opened.log.seal();
        self.tell(&("settle", &sealed));
        self.allow(sealed)?;
        if self.disk.has_ended() {
            return Ok(());
        }
        self.synced();
        self.collect_sealed();
        while !self.process().sealed.is_empty() && !self.disk.has_ended() {
            self.fold()?;
        }
        let mut steps = 0;
        while !self.disk.has_ended() {
            match self.process().opened.mover.compact() {
                Ok(true) => steps += 1,
                Ok(false) => break,
                Err(error) => self.allow::<(), _>(Err(error))?,
            }
            if steps > 1_000 {
                return Err("compaction never ends".to_owned());
            }
        }
        if self.disk.has_ended() {
            return Ok(());
        }
        self.process().ended.clear();
        self.model.vhosts.iter_mut().for_each(Vhost::forget_earlier);
        self.check_everything()?;
        self.check_disk_use()
    }

    fn check_disk_use(&self) -> Verdict {
        let process = self.process.as_ref().expect("a process is there between two ends");
        if !process.spilled.is_empty() || !process.released.is_empty() {
            return Ok(());
        }
        let entries = self.model.vhosts.iter().flat_map(|vhost| vhost.queues.values()).flat_map(|queue| queue.entries.values());
        let live: u64 = entries.map(|entry| entry.message.stored_len() as u64 + 33).sum();
        let definitions =
            self.model.vhosts.iter().flat_map(|vhost| &vhost.definitions).map(|(key, value)| (key.len() + value.len()) as u64);
        let allowed = (live + definitions.sum::<u64>()) * 3 / 2 + 2 * self.options.log_bytes;
        // With log files as small as these the manifest would be the most of it.
        let files = self.disk.list().map_err(|error| error.to_string())?;
        let used: u64 = files.iter().filter(|(name, _)| !name.starts_with("manifest")).map(|(_, length)| length).sum();
        if used > allowed {
            return Err(format!(
                "{used} bytes used, {allowed} allowed, {live} alive, log files of {}: {:?}",
                self.options.log_bytes, files
            ));
        }
        Ok(())
    }

    fn view(&self) -> View<'_> {
        let Process { spilled, ended, released, .. } = self.process.as_ref().expect("a process is there between two ends");
        View { model: &self.model, spilled, former: [ended, released] }
    }

    fn end(&mut self) -> Verdict {
        let end = if self.random.percent(60) { End::PowerCut } else { End::Killed };
        self.restart(end)
    }

    /// The process ends, and another one opens what is left.
    fn restart(&mut self, end: End) -> Verdict {
        self.tell(&("restart", end));
        self.written = if end == End::Killed && !self.in_doubt { self.unsynced.len() } else { 0 };
        let refused = self.process.take().and_then(|process| process.refused);
        let mut uncertain = std::mem::take(&mut self.unsynced);
        uncertain.extend(refused.map(|(_, written)| written).unwrap_or_default());
        self.disk.restart(end);
        self.open(&uncertain)
    }

    /// Opens what is there, after however many attempts that fail or end half-way. It has what was durable, and of what is
    /// uncertain the first so many batches.
    fn open(&mut self, uncertain: &[Written]) -> Verdict {
        self.is_faulty = false;
        let opened = loop {
            if self.random.percent(30) {
                let after = self.random.next() % 20;
                self.tell(&("to end after", after));
                self.disk.set_faults(|faults| faults.end_after = Some(after));
            } else if self.random.percent(15) {
                self.break_something();
            }
            let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
            let opened = open(disk, &self.options, &VHOSTS, &mut |_| {});
            self.tell(&("open", opened.as_ref().map(|opened| &opened.vhosts)));
            match opened {
                Ok(opened) if !self.disk.has_ended() => break opened,
                Err(error) if !self.disk.has_ended() && !self.is_faulty => return Err(format!("it does not open: {error}")),
                _ => {}
            }
            self.is_faulty = false;
            let end = if self.random.percent(60) { End::PowerCut } else { End::Killed };
            self.tell(&("again", end));
            self.disk.restart(end);
            if end == End::PowerCut {
                self.written = 0;
            }
        };
        self.heal();
        self.reopened += 1;
        let mut model = self.durable.clone();
        let mut matching = Recovery { opened: &opened, random: &mut self.random }.check(&model).map(|()| model.clone());
        for (count, Written { vhost, changes }) in (1..).zip(uncertain) {
            changes.iter().for_each(|change| model.vhosts[*vhost].apply(change, &mut |_, _, _| {}));
            let verdict = Recovery { opened: &opened, random: &mut self.random }.check(&model).map(|()| model.clone());
            matching = match (matching, verdict) {
                (_, Ok(model)) => Ok(model),
                (Ok(model), Err(_)) if count > self.written => Ok(model),
                (Ok(_), Err(more)) => Err(format!("{} batches were written, {count} are not there: {more}", self.written)),
                (Err(before), Err(more)) => Err(format!("{before}\nwith {count} of {} more batches: {more}", uncertain.len())),
            };
        }
        let mut model = matching.map_err(|error| format!("after opening: {error}"))?;
        model.vhosts.iter_mut().for_each(Vhost::forget_earlier);
        (self.model, self.durable) = (model.clone(), model);
        let mut process = Process {
            sealed: VecDeque::new(),
            stored: BTreeMap::new(),
            next: Default::default(),
            ended: BTreeMap::new(),
            spilled: BTreeMap::new(),
            released: BTreeMap::new(),
            refused: None,
            opened,
        };
        for (at, vhost) in process.opened.vhosts.iter().enumerate() {
            process.next[at].queue = vhost.recovered.highest_queue;
            for (number, queue) in &vhost.recovered.queues {
                process.next[at].queues.insert(*number, queue.highest + 1);
                process.stored.insert((at, *number), queue.highest);
            }
        }
        self.process = Some(process);
        Ok(())
    }

    fn check_everything(&mut self) -> Verdict {
        let levels = self.view().levels();
        for level in levels {
            let max_bytes = [100, 3_000, 1_000_000][self.random.below(3)];
            let opened = &self.process.as_ref().expect("a process is there between two ends").opened;
            self.view().check_level(opened, level, max_bytes)?;
        }
        Ok(())
    }
}

impl Process {
    fn unspill(&mut self, at: usize, queue: u64, level: u8, up_to: u64) {
        self.opened.mover.unspill(self.opened.vhosts[at].number, queue, level, up_to);
        let places = (at, queue, (level, 0))..=(at, queue, (level, up_to));
        let released: Vec<Whole> = self.spilled.range(places).map(|(whole, _)| *whole).collect();
        for whole in released {
            self.released.extend(self.spilled.remove_entry(&whole));
        }
    }

    /// A queue is gone, and what it had beyond memory with it.
    fn forget(&mut self, at: usize, queue: u64) {
        let levels: Vec<u8> =
            self.spilled.range((at, queue, (0, 0))..=(at, queue, (u8::MAX, u64::MAX))).map(|(whole, _)| whole.2.0).collect();
        for level in levels {
            self.unspill(at, queue, level, u64::MAX);
        }
    }
}
