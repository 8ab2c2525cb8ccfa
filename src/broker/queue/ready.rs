//! The ready messages of a queue, in the order in which they were published; requeued ones go back to their place.

use std::collections::{BTreeMap, VecDeque};

use crate::amqp::Message;
use crate::broker::Timestamp;

/// A message in a queue.
#[derive(Clone, Debug)]
pub struct Entry {
    pub message: Message,
    /// Its place in the queue: rises with every publish, kept when it is requeued. In a stream: its offset.
    pub position: u64,
    /// When it is dead (behaviour D2: fixed when it is enqueued).
    pub expires: Timestamp,
    /// How often it came back in a way that counts towards x-delivery-limit (quorum queues).
    pub returns: u32,
    /// How often it came back otherwise; stops at the top.
    pub uncounted_returns: u16,
    /// Its level in a queue with priorities; 0 is the lowest.
    pub priority: u8,
    /// It was handed out before and came back.
    pub redelivered: bool,
}

impl Entry {
    /// Bytes that an entry takes beside its message: itself, and what collections that grow keep in reserve.
    pub const MEMORY: u64 = 2 * size_of::<Entry>() as u64 + 16;

    #[must_use]
    pub fn new(message: Message, position: u64) -> Self {
        let expires = Timestamp::NEVER;
        Self { message, position, expires, returns: 0, uncounted_returns: 0, priority: 0, redelivered: false }
    }

    fn can_expire(&self) -> bool {
        self.expires != Timestamp::NEVER
    }
}

/// Messages of one priority.
///
/// Invariant: positions in `published` rise; `requeued` holds only positions that were taken from it before.
#[derive(Debug, Default)]
struct Level {
    published: VecDeque<Entry>,
    requeued: BTreeMap<u64, Entry>,
}

impl Level {
    fn is_empty(&self) -> bool {
        self.published.is_empty() && self.requeued.is_empty()
    }

    fn peek(&self) -> Option<&Entry> {
        let Some((position, requeued)) = self.requeued.first_key_value() else { return self.published.front() };
        match self.published.front() {
            Some(published) if published.position < *position => Some(published),
            _ => Some(requeued),
        }
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.pop_either()?;
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

    fn iter(&self) -> impl Iterator<Item = &Entry> {
        let mut requeued = self.requeued.values().peekable();
        let mut published = self.published.iter().peekable();
        std::iter::from_fn(move || match (requeued.peek(), published.peek()) {
            (Some(r), Some(p)) if p.position < r.position => published.next(),
            (Some(_), _) => requeued.next(),
            (None, _) => published.next(),
        })
    }
}

/// The levels above the lowest, of a queue with priorities.
#[derive(Debug)]
struct Higher {
    levels: Vec<Level>,
    /// A bit for each level that is not empty, by its index.
    occupied: [u64; 4],
}

impl Higher {
    fn new(max_priority: u8) -> Self {
        let mut levels = Vec::new();
        levels.resize_with(usize::from(max_priority), Level::default);
        Self { levels, occupied: [0; 4] }
    }

    fn top(&self) -> Option<usize> {
        let word = self.occupied.iter().rposition(|word| *word != 0)?;
        Some(word * 64 + 63 - self.occupied[word].leading_zeros() as usize)
    }

    fn fill(&mut self, at: usize) -> &mut Level {
        self.occupied[at / 64] |= 1 << (at % 64);
        &mut self.levels[at]
    }

    fn pop(&mut self) -> Option<Entry> {
        let at = self.top()?;
        let entry = self.levels[at].pop();
        if self.levels[at].is_empty() {
            self.occupied[at / 64] &= !(1 << (at % 64));
        }
        entry
    }
}

/// The first is delivered first: the highest priority, and within it the lowest position.
#[derive(Debug, Default)]
pub struct Ready {
    lowest: Level,
    higher: Option<Box<Higher>>,
    next_position: u64,
    len: usize,
    bytes: u64,
    /// Messages that can expire.
    expiring: usize,
    /// Two of the high level go before one of the low one; how many have gone. `None`: the highest always goes first.
    in_a_row: Option<u8>,
    /// In a quorum queue: what comes back goes before all else, in the order in which it comes back.
    next_return: Option<u64>,
}

/// Where the positions of a quorum queue begin; below are those of messages that came back.
const FIRST_PUBLISHED: u64 = 1 << 62;

impl Ready {
    /// With levels 0 to `max_priority` (behaviour Q17).
    #[must_use]
    pub fn new(max_priority: u8, is_quorum: bool) -> Self {
        let higher = (max_priority > 0).then(|| Box::new(Higher::new(max_priority)));
        let (next_position, next_return) = if is_quorum { (FIRST_PUBLISHED, Some(0)) } else { (0, None) };
        Self { higher, next_position, next_return, ..Self::default() }
    }

    /// Of a quorum queue that has a high and a low priority and lets neither starve.
    #[must_use]
    pub fn two_to_one() -> Self {
        Self { in_a_row: Some(0), ..Self::new(1, true) }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the bodies.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether any message can expire.
    #[must_use]
    pub fn has_expiring(&self) -> bool {
        self.expiring > 0
    }

    /// Gives a message its place at the tail.
    pub fn entry(&mut self, message: Message) -> Entry {
        let position = self.next_position;
        self.next_position += 1;
        Entry::new(message, position)
    }

    /// Adds an entry made by [`Ready::entry`]; its priority is that of a level, at most.
    pub fn push(&mut self, entry: Entry) {
        self.count(&entry);
        self.level(entry.priority).published.push_back(entry);
    }

    /// Puts an entry back to its original position (gotcha 1), at its level (gotcha 71).
    pub fn requeue(&mut self, mut entry: Entry) {
        if let Some(next) = &mut self.next_return {
            entry.position = *next;
            *next += 1;
        }
        self.count(&entry);
        self.level(entry.priority).requeued.insert(entry.position, entry);
    }

    /// Puts an entry behind all others, as if it were new.
    pub fn append(&mut self, mut entry: Entry) {
        entry.position = self.next_position;
        self.next_position += 1;
        self.push(entry);
    }

    fn count(&mut self, entry: &Entry) {
        self.len += 1;
        self.bytes += entry.message.body_len() as u64;
        self.expiring += usize::from(entry.can_expire());
    }

    fn level(&mut self, priority: u8) -> &mut Level {
        match &mut self.higher {
            Some(higher) if priority > 0 => higher.fill(usize::from(priority) - 1),
            _ => &mut self.lowest,
        }
    }

    /// The head.
    #[must_use]
    pub fn peek(&self) -> Option<&Entry> {
        match self.higher.as_ref().and_then(|higher| Some(&higher.levels[higher.top()?])) {
            Some(level) if !self.lowest_is_due() => level.peek(),
            _ => self.lowest.peek(),
        }
    }

    fn lowest_is_due(&self) -> bool {
        self.in_a_row.is_some_and(|in_a_row| in_a_row >= 2) && !self.lowest.is_empty()
    }

    pub fn pop(&mut self) -> Option<Entry> {
        let lowest_is_due = self.lowest_is_due();
        let higher = self.higher.as_mut().filter(|_| !lowest_is_due);
        let entry = higher.and_then(|higher| higher.pop()).or_else(|| self.lowest.pop())?;
        if let Some(in_a_row) = &mut self.in_a_row {
            *in_a_row = if entry.priority > 0 { *in_a_row + 1 } else { 0 };
        }
        self.len -= 1;
        self.bytes -= entry.message.body_len() as u64;
        self.expiring -= usize::from(entry.can_expire());
        Some(entry)
    }

    /// The ready messages from head to tail.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        let higher = self.higher.iter().flat_map(|higher| higher.levels.iter().rev());
        higher.chain(std::iter::once(&self.lowest)).flat_map(Level::iter)
    }
}
