//! What a storage should hold, kept in plain maps beside the real one, and both brought to compare.

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret::amqp::Message;
use leveret::broker::record::{Enqueue, NEVER, Records, Returned};
use leveret::storage::{self, Batch, Disk, Load, MemoryDisk, OpenError, Opened, Options, Sealed, Stored};

use crate::random::Random;

pub(crate) const VHOSTS: [&str; 2] = ["/", "other"];
const LEVELS: u64 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) message: Vec<u8>,
    pub(crate) enqueue: Enqueue,
    /// When it came back last.
    pub(crate) returned: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    pub(crate) highest: u64,
    pub(crate) delivered: u64,
    pub(crate) messages: BTreeMap<(u8, u64), Kept>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Vhost {
    pub(crate) queues: BTreeMap<u64, Queue>,
    pub(crate) definitions: BTreeMap<Vec<u8>, Vec<u8>>,
    highest_queue: u64,
}

/// A storage and what it should hold.
pub(crate) struct World {
    pub(crate) disk: Arc<MemoryDisk>,
    pub(crate) options: Options,
    pub(crate) opened: Opened,
    pub(crate) vhosts: [Vhost; 2],
    pub(crate) random: Random,
    /// Bytes of bodies.
    pub(crate) longest: u64,
    /// What is opened, if it is not `disk`.
    pub(crate) over: Arc<dyn Disk>,
    /// What may be there instead of `vhosts` after a start, since nobody knows whether the last commit counts.
    pub(crate) otherwise: Option<[Vhost; 2]>,
    sealed: Vec<Sealed>,
    clock: u64,
}

pub(crate) fn stored(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.store(&mut bytes);
    bytes
}

impl World {
    pub(crate) fn new(seed: u64, options: Options) -> Self {
        let disk = Arc::new(MemoryDisk::default());
        let opened = storage::open(disk.clone(), &options, &VHOSTS, &mut |_| {}).expect("a new directory");
        let random = Random::new(seed);
        Self {
            over: disk.clone(),
            disk,
            options,
            opened,
            vhosts: Default::default(),
            random,
            longest: 300,
            otherwise: None,
            sealed: Vec::new(),
            clock: 0,
        }
    }

    /// What was not committed is forgotten by both.
    pub(crate) fn reopen(&mut self) {
        self.disk = Arc::new(self.disk.copy());
        self.over = self.disk.clone();
        let opened = self.try_open().expect("opening again");
        self.begin(opened);
    }

    pub(crate) fn try_open(&self) -> Result<Opened, OpenError> {
        storage::open(self.over.clone(), &self.options, &VHOSTS, &mut |_| {})
    }

    /// Goes on with what a start has found, which has to be what was committed.
    pub(crate) fn begin(&mut self, opened: Opened) {
        self.opened = opened;
        self.sealed.clear();
        let found = self.check_recovered(&self.vhosts);
        if let Some(otherwise) = self.otherwise.take()
            && found.is_err()
        {
            self.vhosts = otherwise;
            let other = self.check_recovered(&self.vhosts);
            assert!(other.is_ok(), "neither what was there, {other:?}, nor what was to be there, {found:?}");
        } else {
            assert!(found.is_ok(), "{found:?}");
        }
    }

    /// What a mover does, as far as the disk lets it.
    pub(crate) fn move_on(&mut self) {
        self.sealed.extend(std::iter::from_fn(|| self.opened.log.take_sealed()));
        while let Some(sealed) = self.sealed.first() {
            if self.opened.mover.fold(sealed).is_err() {
                return;
            }
            self.sealed.remove(0);
        }
        while matches!(self.opened.mover.compact(), Ok(true)) {}
    }

    pub(crate) fn batch(&mut self, place: usize, records: &mut Records) -> Batch {
        let (enqueued, ended_bytes) = (records.enqueued, records.ended_bytes);
        Batch { vhost: self.opened.vhosts[place].number, records: records.take(Vec::new()), enqueued, ended_bytes }
    }

    pub(crate) fn message(&mut self) -> Message {
        let length = if self.random.one_in(40) { self.longest * 20 } else { self.random.below(self.longest) };
        let byte = u8::try_from(self.random.below(256)).expect("a byte");
        Message::new(b"exchange", b"key", &[0, 0], &vec![byte; usize::try_from(length).expect("a length")])
    }

    /// One round of a broker: some things happen, and are committed together.
    pub(crate) fn round(&mut self, steps: u64) {
        let place = self.random.index(self.vhosts.len());
        let mut records = Records::default();
        records.enable();
        for _ in 0..steps {
            self.step(place, &mut records);
        }
        self.commit(place, &mut records);
    }

    pub(crate) fn commit(&mut self, place: usize, records: &mut Records) {
        let batch = self.batch(place, records);
        self.opened.log.commit(&[batch]).expect("a good disk");
    }

    pub(crate) fn step(&mut self, place: usize, records: &mut Records) {
        match self.random.below(100) {
            0..=59 => self.publish(place, records),
            60..=84 => self.ack(place, records),
            85..=89 => self.give_back(place, records),
            90..=92 => self.purge(place, records),
            93 => self.forget(place, records),
            94..=95 => {
                let queue = self.queue(place);
                let vhost = &mut self.vhosts[place];
                if let Some(kept) = vhost.queues.get_mut(&queue).filter(|kept| kept.highest > 0) {
                    kept.delivered = kept.highest;
                    records.delivered(queue, kept.highest);
                }
            }
            96 => {
                records.clean();
                self.vhosts[place].queues.values_mut().for_each(|queue| queue.delivered = 0);
            }
            _ => self.define(place, records),
        }
    }

    /// A queue that is there, or a new one.
    fn queue(&mut self, place: usize) -> u64 {
        let vhost = &self.vhosts[place];
        let wanted = self.random.index(5);
        vhost.queues.keys().nth(wanted).copied().unwrap_or(vhost.highest_queue + 1)
    }

    pub(crate) fn publish(&mut self, place: usize, records: &mut Records) {
        records.next_message();
        let message = self.message();
        let copies = if self.random.one_in(5) { 3 } else { 1 };
        for _ in 0..copies {
            let queue = self.queue(place);
            let level = if queue.is_multiple_of(2) { u8::try_from(self.random.below(LEVELS)).expect("a level") } else { 0 };
            self.enqueue(place, queue, level, &message, records);
        }
    }

    pub(crate) fn enqueue(&mut self, place: usize, queue: u64, level: u8, message: &Message, records: &mut Records) {
        let vhost = &mut self.vhosts[place];
        vhost.highest_queue = vhost.highest_queue.max(queue);
        let kept = vhost.queues.entry(queue).or_default();
        // Transient messages have positions too.
        kept.highest += if self.random.one_in(4) { 2 } else { 1 };
        let at = if self.random.one_in(3) { self.random.below(1_000_000) } else { NEVER };
        let returns = if self.random.one_in(6) { 2 } else { 0 };
        let redelivered = self.random.one_in(8);
        let enqueue = Enqueue { queue, level, position: kept.highest, at, redelivered, returns, uncounted: 0 };
        records.enqueue(message, enqueue);
        kept.messages.insert((level, kept.highest), Kept { message: stored(message), enqueue, returned: None });
    }

    /// The oldest of a queue, or any.
    fn pick(&mut self, place: usize) -> Option<(u64, u8, u64)> {
        let queue = self.queue(place);
        let messages = &self.vhosts[place].queues.get(&queue)?.messages;
        let nth = if queue.is_multiple_of(3) { self.random.index(messages.len()) } else { 0 };
        messages.keys().nth(nth).map(|(level, position)| (queue, *level, *position))
    }

    pub(crate) fn ack(&mut self, place: usize, records: &mut Records) {
        for _ in 0..=self.random.below(3) {
            let Some((queue, level, position)) = self.pick(place) else { return };
            let kept = self.vhosts[place].queues.get_mut(&queue).and_then(|queue| queue.messages.remove(&(level, position)));
            records.ack(queue, level, position, kept.map_or(0, |kept| kept.message.len()));
        }
    }

    fn give_back(&mut self, place: usize, records: &mut Records) {
        let Some((queue, level, position)) = self.pick(place) else { return };
        self.clock += 1;
        let kept = self.vhosts[place].queues.get_mut(&queue).and_then(|queue| queue.messages.get_mut(&(level, position)));
        let kept = kept.expect("it was picked");
        kept.enqueue.redelivered = true;
        kept.enqueue.returns += 1;
        kept.enqueue.uncounted += 3;
        kept.returned = Some(self.clock);
        let Enqueue { returns, uncounted, .. } = kept.enqueue;
        records.returned(queue, Returned { level, position, returns, uncounted });
    }

    /// From the start, or somewhere between.
    fn purge(&mut self, place: usize, records: &mut Records) {
        let Some((queue, level, position)) = self.pick(place) else { return };
        let highest = self.vhosts[place].queues[&queue].highest;
        let (first, last) = match self.random.below(4) {
            0 => (0, u64::MAX),
            1 => (position, position + self.random.below(20)),
            2 => (0, position + self.random.below(20)),
            _ => (position, highest),
        };
        let messages = &mut self.vhosts[place].queues.get_mut(&queue).expect("it was picked").messages;
        messages.retain(|(other, at), _| *other != level || *at < first || *at > last);
        records.drop_all(queue, level, (first, last.min(if self.random.one_in(2) { highest } else { u64::MAX })), 0);
    }

    fn forget(&mut self, place: usize, records: &mut Records) {
        let queue = self.queue(place);
        if self.vhosts[place].queues.remove(&queue).is_some() {
            records.forget(queue, 0);
        }
    }

    fn define(&mut self, place: usize, records: &mut Records) {
        let key = vec![b'k', u8::try_from(self.random.below(20)).expect("a byte")];
        if self.random.one_in(3) {
            self.vhosts[place].definitions.remove(&key);
            records.undefine(&key);
        } else {
            let value = self.random.next().to_le_bytes().to_vec();
            records.define(&key, &value);
            self.vhosts[place].definitions.insert(key, value);
        }
    }

    /// Everything that is sealed is folded.
    pub(crate) fn fold(&mut self) {
        while let Some(sealed) = self.opened.log.take_sealed() {
            self.opened.mover.fold(&sealed).expect("a good disk");
        }
    }

    pub(crate) fn fold_all(&mut self) {
        self.opened.log.seal().expect("a good disk");
        self.fold();
    }

    /// Everything that is folded can be read as it was written.
    pub(crate) fn check_loads(&mut self) {
        for place in 0..VHOSTS.len() {
            let vhost = self.opened.vhosts[place].number;
            for (queue, kept) in self.vhosts[place].queues.clone() {
                for level in 0..u8::try_from(LEVELS).expect("few") {
                    self.check_level(vhost, queue, level, &kept);
                }
            }
        }
    }

    fn check_level(&mut self, vhost: u32, queue: u64, level: u8, kept: &Queue) {
        let expected: Vec<&Kept> = kept.messages.range((level, 0)..=(level, u64::MAX)).map(|(_, kept)| kept).collect();
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let max_bytes = usize::try_from(self.random.below(3_000)).expect("small");
            let load = Load { vhost, queue, level, after, up_to: kept.highest, max_bytes };
            let loaded = self.opened.reader.load(&load).expect("a good disk");
            let Some(last) = loaded.last() else { break };
            after = Some(last.position);
            assert!(loaded.len() == 1 || loaded.iter().map(|one| one.message.stored_len()).sum::<usize>() <= max_bytes);
            found.extend(loaded);
        }
        compare(&found, &expected, queue);
        let some: Vec<&Kept> = expected.iter().copied().filter(|_| self.random.one_in(4)).collect();
        let positions: Vec<u64> = some.iter().map(|kept| kept.enqueue.position).collect();
        compare(&self.opened.reader.fetch(vhost, queue, level, &positions).expect("a good disk"), &some, queue);
    }

    /// What a start finds is what was committed.
    fn check_recovered(&self, vhosts: &[Vhost; 2]) -> Result<(), String> {
        let same = |right: bool, what: String| if right { Ok(()) } else { Err(what) };
        for (place, model) in vhosts.iter().enumerate() {
            let recovered = &self.opened.vhosts[place].recovered;
            same(recovered.definitions == model.definitions.clone().into_iter().collect::<Vec<_>>(), "definitions".into())?;
            same(recovered.highest_queue >= model.highest_queue, "a number would be given again".into())?;
            for (number, queue) in &recovered.queues {
                let empty = Queue::default();
                let kept = model.queues.get(number).unwrap_or(&empty);
                same((queue.highest, queue.delivered) == (kept.highest, kept.delivered), format!("marks of queue {number}"))?;
                let alive: u64 = queue.runs.iter().map(|run| run.count).sum();
                same(alive == kept.messages.len() as u64, format!("{alive} of {} messages in queue {number}", kept.messages.len()))?;
                let mut returned: Vec<_> = kept.messages.values().filter(|kept| kept.returned.is_some()).collect();
                returned.sort_by_key(|kept| kept.returned);
                let order: Vec<u64> = returned.iter().map(|kept| kept.enqueue.position).collect();
                let found: Vec<u64> = queue.returned.iter().map(|one| one.position).collect();
                same(found == order, format!("returned in queue {number}: {found:?} for {order:?}"))?;
                let apart = queue.runs.windows(2).all(|two| (two[0].level, two[0].last) < (two[1].level, two[1].first));
                same(apart, format!("runs of queue {number}"))?;
            }
            for (number, kept) in &model.queues {
                same(kept.messages.is_empty() || recovered.queues.contains_key(number), format!("queue {number} is gone"))?;
            }
        }
        Ok(())
    }
}

pub(crate) fn compare(found: &[Stored], expected: &[&Kept], queue: u64) {
    let positions: Vec<u64> = found.iter().map(|stored| stored.position).collect();
    assert_eq!(positions, expected.iter().map(|kept| kept.enqueue.position).collect::<Vec<_>>(), "queue {queue}");
    for (found, kept) in found.iter().zip(expected) {
        assert!(stored(&found.message) == kept.message, "queue {queue}, position {}", found.position);
        let Enqueue { level, at, redelivered, returns, uncounted, .. } = kept.enqueue;
        let same = (found.level, found.at, found.redelivered, found.returns, found.uncounted);
        assert_eq!(same, (level, at, redelivered, returns, uncounted), "queue {queue}, position {}", found.position);
    }
}
