//! What a broker writes down next, drawn from the seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret::amqp::Message;
use leveret::broker::record::{Enqueue, NEVER, Returned};

use crate::model::{Change, Place, Queue, Vhost};
use crate::random::Random;

/// How a run tastes.
#[derive(Debug)]
pub(crate) struct Tastes {
    /// Queues at a time.
    pub(crate) queues: usize,
    /// Levels of each.
    pub(crate) levels: usize,
    /// Of a hundred messages, how many are longer than most.
    pub(crate) large: usize,
    /// Bytes of those, at most.
    pub(crate) large_bytes: usize,
    /// Messages that a queue gets before acks come more often than messages.
    pub(crate) backlog: usize,
    /// Of a hundred acks, how many are in order.
    pub(crate) in_order: usize,
}

impl Tastes {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            queues: 1 + random.below(4),
            levels: [1, 1, 2, 4][random.below(4)],
            large: [0, 3, 15][random.below(3)],
            large_bytes: [2_000, 20_000, 60_000][random.below(3)],
            backlog: [5, 40, 150][random.below(3)],
            in_order: [0, 50, 95, 100][random.below(4)],
        }
    }

    pub(crate) fn message(&self, random: &mut Random) -> Arc<Message> {
        let most = if random.percent(self.large) { self.large_bytes } else { 120 };
        let body: Vec<u8> = std::iter::repeat_n(random.next().to_le_bytes(), 1 + random.below(most) / 8).flatten().collect();
        let key = format!("key-{}", random.below(10));
        // Flags without any value behind them: no properties.
        Arc::new(Message::new(random.pick(&["", "x"]).as_bytes(), key.as_bytes(), &[0, 0], &body))
    }

    fn level(&self, random: &mut Random) -> u8 {
        [0, 1, 7, 255][random.below(self.levels)]
    }

    /// `next` has the position that each queue gives next.
    pub(crate) fn batch(&self, vhost: &Vhost, next: &mut Positions, random: &mut Random) -> Vec<Change> {
        // Changes are chosen one after the other, each knowing of those before.
        let mut scratch = vhost.clone();
        let mut changes = Vec::new();
        let most = [1, 3, 12][random.below(3)];
        for _ in 0..=random.below(most) {
            for change in self.changes(&scratch, next, random) {
                scratch.apply(&change, &mut |_, _, _| {});
                changes.push(change);
            }
        }
        changes
    }

    fn changes(&self, vhost: &Vhost, next: &mut Positions, random: &mut Random) -> Vec<Change> {
        let some: Vec<u64> = next.queues.keys().copied().filter(|queue| vhost.queues.contains_key(queue)).collect();
        let backlog: usize = vhost.queues.values().map(|queue| queue.entries.len()).sum();
        let ends = if backlog > self.backlog { 130 } else { 50 };
        let Some(number) = (!some.is_empty()).then(|| some[random.below(some.len())]) else { return self.enqueue(next, random) };
        let queue = &vhost.queues[&number];
        let Some(place) = self.place(queue, random) else { return self.enqueue(next, random) };
        match random.weighted(&[80, ends, 15, 8, 3, 1, 6, 3, 1]) {
            0 => self.enqueue(next, random),
            1 => {
                let (level, position) = place;
                let most = if random.percent(30) { 1 + random.below(10) } else { 1 };
                let run = queue.entries.range(place..).take(most);
                let in_row = run.zip(position..).take_while(|(((of, at), _), due)| *of == level && at == due);
                in_row.map(|(((_, position), _), _)| Change::Ack { queue: number, level, position: *position }).collect()
            }
            2 => {
                let counts = queue.entries[&place].counts;
                let (returns, uncounted) = (counts.returns + u32::from(random.percent(50)), counts.uncounted + 1);
                vec![Change::Returned { queue: number, returned: Returned { level: place.0, position: place.1, returns, uncounted } }]
            }
            3 => vec![Change::Delivered { queue: number, up_to: place.1 }],
            4 => {
                let last = if random.percent(50) { place.1 + random.next() % 20 } else { queue.highest };
                vec![Change::Drop { queue: number, level: place.0, first: if random.percent(50) { 0 } else { place.1 }, last }]
            }
            5 => {
                next.queues.remove(&number);
                vec![Change::Forget { queue: number }]
            }
            6 => vec![Change::Define { key: key(random), value: vec![random.next().to_le_bytes()[0]; random.below(300)] }],
            7 => vec![Change::Undefine { key: key(random) }],
            _ => vec![Change::Clean],
        }
    }

    /// Of one message to some queues.
    fn enqueue(&self, next: &mut Positions, random: &mut Random) -> Vec<Change> {
        while next.queues.len() < self.queues {
            next.queue += 1;
            next.queues.insert(next.queue, 1);
        }
        let message = self.message(random);
        let numbers: Vec<u64> = next.queues.keys().copied().collect();
        let mut changes = Vec::new();
        for queue in numbers {
            if !changes.is_empty() && random.percent(70) {
                continue;
            }
            let counted = random.percent(10);
            changes.push(Change::Enqueue(
                message.clone(),
                Enqueue {
                    queue,
                    level: self.level(random),
                    position: next.give(queue, random),
                    at: if random.percent(70) { NEVER } else { random.next() % 10_000 },
                    redelivered: random.percent(20),
                    returns: if counted { 2 } else { 0 },
                    uncounted: if counted { 1 } else { 0 },
                },
            ));
        }
        changes
    }

    /// Of a message in a queue: the oldest, or any.
    fn place(&self, queue: &Queue, random: &mut Random) -> Option<Place> {
        if queue.entries.is_empty() {
            return None;
        }
        let at = if random.percent(self.in_order) { 0 } else { random.below(queue.entries.len()) };
        queue.entries.keys().nth(at).copied()
    }
}

fn key(random: &mut Random) -> Vec<u8> {
    format!("queue {}", random.below(12)).into_bytes()
}

/// The next position of each queue there is, and the number of the last queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Positions {
    pub(crate) queues: BTreeMap<u64, u64>,
    pub(crate) queue: u64,
}

impl Positions {
    /// Positions rise; some are left out, as transient messages that are never written down do.
    pub(crate) fn give(&mut self, queue: u64, random: &mut Random) -> u64 {
        let next = self.queues.get_mut(&queue).expect("a queue that is there");
        let position = *next + if random.percent(10) { random.next() % 5 } else { 0 };
        *next = position + 1;
        position
    }
}
