//! A storage as simple as can be: it folds the records of a broker in memory, answers what is asked of the disk, and gives
//! everything back after a restart. It holds the broker to what records promise: nothing ends that is not there.

#![allow(dead_code, reason = "each test that includes this uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};

use leveret::amqp::Message;
use leveret::broker::record::{Enqueue, Record, Recovered, RecoveredQueue, Returned, Run, Stored, decode};
use leveret::broker::{Broker, Load, Loaded, Purpose, Unneeded};

#[derive(Clone, Debug)]
struct Kept {
    enqueue: Enqueue,
    message: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    messages: BTreeMap<(u8, u64), Kept>,
    highest: u64,
    delivered: u64,
    returned: Vec<Returned>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Keeper {
    definitions: BTreeMap<Vec<u8>, Vec<u8>>,
    queues: BTreeMap<u64, Queue>,
    highest_queue: u64,
    gone: BTreeSet<u64>,
    /// Transient messages that were given away to save memory.
    spilled: BTreeMap<(u64, u8, u64), Stored>,
}

impl Keeper {
    /// After a restart: what was given away to save memory is gone.
    pub(crate) fn restarted(&self) -> Self {
        Self { spilled: BTreeMap::new(), ..self.clone() }
    }

    /// Takes what a broker has given away; returns queue, level and up to where.
    pub(crate) fn take_spills(&mut self, broker: &mut Broker) -> Vec<(u64, u8, u64)> {
        for Unneeded { queue, level, below } in broker.take_unneeded() {
            self.spilled.retain(|(q, l, position), _| (*q, *l) != (queue, level) || *position >= below);
        }
        let spilled = broker.take_spills().into_iter().map(|spill| {
            let last = spill.messages.last().expect("some messages").position;
            for stored in spill.messages {
                self.spilled.insert((spill.queue, spill.level, stored.position), stored);
            }
            (spill.queue, spill.level, last)
        });
        spilled.collect()
    }

    /// Takes what a broker has written down; returns the queues in which something has arrived, and up to where.
    pub(crate) fn take(&mut self, broker: &mut Broker) -> Vec<(u64, u64)> {
        let records = broker.records().take(Vec::new());
        self.fold(&records)
    }

    pub(crate) fn fold(&mut self, records: &[u8]) -> Vec<(u64, u64)> {
        let mut arrived = BTreeMap::new();
        let mut message: &[u8] = &[];
        for record in decode(records) {
            match record.expect("the broker writes records") {
                Record::Message(bytes) => message = bytes,
                Record::Enqueue(enqueue) => {
                    assert!(!message.is_empty(), "a message comes before {enqueue:?}");
                    assert!(!self.gone.contains(&enqueue.queue), "{enqueue:?} in a queue that is gone");
                    self.highest_queue = self.highest_queue.max(enqueue.queue);
                    let queue = self.queues.entry(enqueue.queue).or_default();
                    let is_first = queue.highest == 0 && queue.messages.is_empty();
                    assert!(is_first || enqueue.position > queue.highest, "{enqueue:?} not above {}", queue.highest);
                    queue.highest = enqueue.position;
                    queue.messages.insert((enqueue.level, enqueue.position), Kept { enqueue, message: message.to_vec() });
                    arrived.insert(enqueue.queue, enqueue.position);
                }
                Record::Ack { queue, level, position, count } => {
                    for position in position..position + u64::from(count) {
                        self.end(queue, level, position);
                    }
                }
                Record::Returned { queue, returned } => {
                    let kept = self.queues.get_mut(&queue).expect("a queue");
                    assert!(kept.messages.contains_key(&(returned.level, returned.position)), "{returned:?} is not in {queue}");
                    kept.returned.retain(|other| other.position != returned.position);
                    kept.returned.push(returned);
                }
                Record::Delivered { queue, below } => {
                    let kept = self.queues.entry(queue).or_default();
                    kept.delivered = kept.delivered.max(below);
                }
                Record::Drop { queue, level, first, last } => {
                    let kept = self.queues.entry(queue).or_default();
                    let doomed: Vec<u64> =
                        kept.messages.range((level, first)..=(level, last)).map(|((_, position), _)| *position).collect();
                    for position in doomed {
                        self.end(queue, level, position);
                    }
                }
                Record::Forget { queue } => {
                    self.queues.remove(&queue);
                    self.gone.insert(queue);
                }
                Record::Define { key, value } => {
                    self.definitions.insert(key.to_vec(), value.to_vec());
                }
                Record::Undefine { key } => {
                    assert!(self.definitions.remove(key).is_some(), "{:?} was not defined", String::from_utf8_lossy(key));
                }
                Record::Clean => self.queues.values_mut().for_each(|queue| queue.delivered = 0),
            }
        }
        arrived.into_iter().collect()
    }

    fn end(&mut self, queue: u64, level: u8, position: u64) {
        let kept = self.queues.get_mut(&queue).expect("a queue");
        let ended = kept.messages.remove(&(level, position));
        assert!(ended.is_some(), "{position} of level {level} ended in {queue}, where it is not");
        kept.returned.retain(|returned| returned.position != position);
    }

    /// Answers with at most this many messages at a time.
    pub(crate) fn answer(&self, load: Load, at_most: usize) -> Loaded {
        let empty = Queue::default();
        let queue = self.queues.get(&load.queue).unwrap_or(&empty);
        let wanted: Vec<&Kept> = match &load.purpose {
            Purpose::Returned(positions) => positions.iter().filter_map(|position| queue.messages.get(&(load.level, *position))).collect(),
            _ => queue.messages.range((load.level, load.first)..=(load.level, load.last)).map(|(_, kept)| kept).collect(),
        };
        let messages = wanted.iter().map(|kept| {
            let returned = queue.returned.iter().find(|returned| returned.position == kept.enqueue.position);
            Stored {
                level: kept.enqueue.level,
                position: kept.enqueue.position,
                at: kept.enqueue.at,
                redelivered: kept.enqueue.redelivered || returned.is_some(),
                returns: returned.map_or(kept.enqueue.returns, |returned| returned.returns),
                uncounted: returned.map_or(kept.enqueue.uncounted, |returned| returned.uncounted),
                message: Message::from_stored(&kept.message).expect("a message"),
            }
        });
        let mut messages: Vec<Stored> = messages.collect();
        let mut complete = true;
        if !matches!(load.purpose, Purpose::Returned(_)) {
            let spilled = self.spilled.range((load.queue, load.level, load.first)..=(load.queue, load.level, load.last));
            messages.extend(spilled.map(|(_, stored)| Stored { message: stored.message.copied(), ..stored.clone() }));
            messages.sort_by_key(|stored| stored.position);
            complete = messages.len() <= at_most;
            messages.truncate(at_most);
        }
        Loaded { messages, complete, load }
    }

    /// What is left after a restart, in runs of a few messages.
    pub(crate) fn recovered(&self) -> Recovered {
        let definitions = self.definitions.clone().into_iter().collect();
        let recovered = |queue: &Queue| {
            let mut runs: Vec<Run> = Vec::new();
            for ((level, position), kept) in &queue.messages {
                let body = Message::from_stored(&kept.message).expect("a message").body_len() as u64;
                let timed = u64::from(kept.enqueue.at != u64::MAX);
                match runs.last_mut().filter(|run| run.level == *level && run.count < 5) {
                    Some(run) => {
                        run.last = *position;
                        run.count += 1;
                        run.body_bytes += body;
                        run.timed += timed;
                        run.ended = kept.enqueue.at;
                    }
                    None => runs.push(Run {
                        level: *level,
                        first: *position,
                        last: *position,
                        count: 1,
                        body_bytes: body,
                        timed,
                        begun: kept.enqueue.at,
                        ended: kept.enqueue.at,
                    }),
                }
            }
            RecoveredQueue { highest: queue.highest, delivered: queue.delivered, returned: queue.returned.clone(), runs }
        };
        let queues = self.queues.iter().map(|(number, queue)| (*number, recovered(queue))).collect();
        Recovered { definitions, queues, highest_queue: self.highest_queue.max(self.gone.last().copied().unwrap_or(0)) }
    }
}
