//! The ready messages of a queue, in the order in which they were published; requeued ones go back to their place.

use std::collections::{BTreeMap, VecDeque};

use crate::amqp::Message;

/// A message in a queue.
#[derive(Clone, Debug)]
pub struct Entry {
    pub message: Message,
    /// Its place in the queue: rises with every publish, kept when it is requeued.
    pub position: u64,
    /// It was handed out before and came back.
    pub redelivered: bool,
}

impl Entry {
    /// Bytes that an entry takes beside its message: itself, and what collections that grow keep in reserve.
    pub const MEMORY: u64 = 2 * size_of::<Entry>() as u64 + 16;
}

/// Invariant: positions in `published` rise; `requeued` holds only positions that were taken from it before.
#[derive(Debug, Default)]
pub struct Ready {
    published: VecDeque<Entry>,
    requeued: BTreeMap<u64, Entry>,
    next_position: u64,
    bytes: u64,
}

impl Ready {
    #[must_use]
    pub fn len(&self) -> usize {
        self.published.len() + self.requeued.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.published.is_empty() && self.requeued.is_empty()
    }

    /// Bytes of the bodies.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives a message its place at the tail.
    pub fn entry(&mut self, message: Message) -> Entry {
        let position = self.next_position;
        self.next_position += 1;
        Entry { message, position, redelivered: false }
    }

    /// Adds an entry made by [`Ready::entry`].
    pub fn push(&mut self, entry: Entry) {
        self.bytes += entry.message.body_len() as u64;
        self.published.push_back(entry);
    }

    /// Puts an entry back to its original position (gotcha 1).
    pub fn requeue(&mut self, entry: Entry) {
        self.bytes += entry.message.body_len() as u64;
        self.requeued.insert(entry.position, entry);
    }

    pub fn pop(&mut self) -> Option<Entry> {
        let entry = self.pop_either()?;
        self.bytes -= entry.message.body_len() as u64;
        if self.published.is_empty() && self.published.capacity() > 1024 {
            self.published = VecDeque::new();
        }
        Some(entry)
    }

    fn pop_either(&mut self) -> Option<Entry> {
        let Some(requeued) = self.requeued.first_entry() else { return self.published.pop_front() };
        match self.published.front() {
            Some(published) if published.position < *requeued.key() => self.published.pop_front(),
            _ => Some(requeued.remove()),
        }
    }

    /// The ready messages from head to tail.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        let mut requeued = self.requeued.values().peekable();
        let mut published = self.published.iter().peekable();
        std::iter::from_fn(move || match (requeued.peek(), published.peek()) {
            (Some(r), Some(p)) if p.position < r.position => published.next(),
            (Some(_), _) => requeued.next(),
            (None, _) => published.next(),
        })
    }
}
