//! What a broker has been told to keep: definitions, and messages by queue, level and position.

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret::amqp::Message;
use leveret::broker::record::{Enqueue, Records, Returned};

/// One thing that is written down.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Enqueue(Arc<Message>, Enqueue),
    Ack { queue: u64, level: u8, position: u64 },
    Returned { queue: u64, returned: Returned },
    Delivered { queue: u64, up_to: u64 },
    Drop { queue: u64, level: u8, first: u64, last: u64 },
    Forget { queue: u64 },
    Define { key: Vec<u8>, value: Vec<u8> },
    Undefine { key: Vec<u8> },
    Clean,
}

/// How often a message came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) redelivered: bool,
    pub(crate) returns: u32,
    pub(crate) uncounted: u16,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) message: Arc<Message>,
    pub(crate) at: u64,
    pub(crate) counts: Counts,
    /// What `counts` were before.
    pub(crate) earlier: Vec<Counts>,
}

/// Level and position.
pub(crate) type Place = (u8, u64);

#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    pub(crate) highest: u64,
    pub(crate) delivered: u64,
    pub(crate) entries: BTreeMap<Place, Entry>,
    /// In the order in which they came back last.
    pub(crate) returned: Vec<Place>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Vhost {
    pub(crate) definitions: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) queues: BTreeMap<u64, Queue>,
    /// The highest number of a queue that had a message.
    pub(crate) highest_queue: u64,
}

pub(crate) const VHOSTS: [&str; 2] = ["/", "other"];

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) vhosts: [Vhost; 2],
}

impl Vhost {
    /// Applies a change; what ended by it goes to `ended`.
    pub(crate) fn apply(&mut self, change: &Change, ended: &mut impl FnMut(u64, Place, Entry)) {
        match change {
            Change::Enqueue(message, enqueue) => {
                self.highest_queue = self.highest_queue.max(enqueue.queue);
                let queue = self.queues.entry(enqueue.queue).or_default();
                queue.highest = queue.highest.max(enqueue.position);
                let Enqueue { at, redelivered, returns, uncounted, .. } = *enqueue;
                let counts = Counts { redelivered, returns, uncounted };
                let entry = Entry { message: message.clone(), at, counts, earlier: Vec::new() };
                queue.entries.insert((enqueue.level, enqueue.position), entry);
            }
            Change::Ack { queue, level, position } => self.end(*queue, (*level, *position), ended),
            Change::Returned { queue, returned } => {
                let place = (returned.level, returned.position);
                let Some(queue) = self.queues.get_mut(queue) else { return };
                let Some(entry) = queue.entries.get_mut(&place) else { return };
                entry.earlier.push(entry.counts);
                entry.counts = Counts { redelivered: true, returns: returned.returns, uncounted: returned.uncounted };
                queue.returned.retain(|other| *other != place);
                queue.returned.push(place);
            }
            Change::Delivered { queue, up_to } => {
                if let Some(queue) = self.queues.get_mut(queue) {
                    queue.delivered = queue.delivered.max(*up_to);
                }
            }
            Change::Drop { queue, level, first, last } => {
                let Some(entries) = self.queues.get(queue).map(|queue| &queue.entries) else { return };
                let places: Vec<Place> = entries.range((*level, *first)..=(*level, *last)).map(|(place, _)| *place).collect();
                places.into_iter().for_each(|place| self.end(*queue, place, ended));
            }
            Change::Forget { queue } => {
                for (place, entry) in self.queues.remove(queue).unwrap_or_default().entries {
                    ended(*queue, place, entry);
                }
            }
            Change::Define { key, value } => drop(self.definitions.insert(key.clone(), value.clone())),
            Change::Undefine { key } => drop(self.definitions.remove(key)),
            Change::Clean => self.queues.values_mut().for_each(|queue| queue.delivered = 0),
        }
    }

    /// What messages were known as before is not to be seen any more.
    pub(crate) fn forget_earlier(&mut self) {
        let entries = self.queues.values_mut().flat_map(|queue| queue.entries.values_mut());
        entries.for_each(|entry| entry.earlier.clear());
    }

    fn end(&mut self, number: u64, place: Place, ended: &mut impl FnMut(u64, Place, Entry)) {
        let Some(queue) = self.queues.get_mut(&number) else { return };
        if let Some(entry) = queue.entries.remove(&place) {
            queue.returned.retain(|other| *other != place);
            ended(number, place, entry);
        }
    }
}

/// A change as the core writes it. Enqueues of one message in a row share it.
pub(crate) fn write(changes: &[Change], vhost: &Vhost, records: &mut Records) {
    let mut current: Option<&Arc<Message>> = None;
    let length = |queue: &u64, place: Place| {
        let entry = vhost.queues.get(queue).and_then(|queue| queue.entries.get(&place));
        entry.map_or(0, |entry| entry.message.body_len())
    };
    for change in changes {
        match change {
            Change::Enqueue(message, enqueue) => {
                if !current.is_some_and(|current| Arc::ptr_eq(current, message)) {
                    records.next_message();
                    current = Some(message);
                }
                records.enqueue(message, *enqueue);
            }
            Change::Ack { queue, level, position } => records.ack(*queue, *level, *position, length(queue, (*level, *position))),
            Change::Returned { queue, returned } => records.returned(*queue, *returned),
            Change::Delivered { queue, up_to } => records.delivered(*queue, *up_to),
            Change::Drop { queue, level, first, last } => {
                let entries = vhost.queues.get(queue).map(|queue| queue.entries.range((*level, *first)..=(*level, *last)));
                let bytes = entries.into_iter().flatten().map(|(_, entry)| entry.message.body_len() as u64).sum();
                records.drop_all(*queue, *level, (*first, *last), bytes);
            }
            Change::Forget { queue } => {
                let entries = vhost.queues.get(queue).map(|queue| queue.entries.values());
                records.forget(*queue, entries.into_iter().flatten().map(|entry| entry.message.body_len() as u64).sum());
            }
            Change::Define { key, value } => records.define(key, value),
            Change::Undefine { key } => records.undefine(key),
            Change::Clean => records.clean(),
        }
    }
}
