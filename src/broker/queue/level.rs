//! Messages of one priority in a queue, in order. Where a storage has them, those between the head and the tail need not
//! be in memory: of them there is a span, which is no more than a few numbers.

use std::collections::{BTreeMap, VecDeque};

use super::Entry;
use crate::amqp::Message;

/// Messages that are on disk alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub count: u64,
    /// Bytes of the bodies.
    pub bytes: u64,
    /// Messages that can expire.
    pub expiring: u64,
    /// Positions.
    pub first: u64,
    pub last: u64,
}

impl Span {
    fn add(&mut self, entry: &Entry) {
        if self.count == 0 {
            self.first = entry.position;
        }
        self.count += 1;
        self.bytes += entry.message.body_len() as u64;
        self.expiring += u64::from(entry.can_expire());
        self.last = entry.position;
    }

    /// Adds messages that lie behind those of this span.
    pub fn extend(&mut self, other: Self) {
        if self.count == 0 {
            self.first = other.first;
        }
        self.count += other.count;
        self.bytes += other.bytes;
        self.expiring += other.expiring;
        self.last = other.last;
    }
}

#[derive(Debug, Default)]
struct Paged {
    /// Between what is in `published` and the tail.
    span: Span,
    tail: VecDeque<Entry>,
    /// Bytes of memory that the head takes.
    head_memory: u64,
    /// The next messages of the span have been asked for, from this position on.
    loading: Option<u64>,
}

/// Invariant: positions in `published`, then the span, then the tail rise, as do those in each; `requeued` holds only what
/// was taken from the head before. A span is never empty.
#[derive(Debug, Default)]
pub(super) struct Level {
    published: VecDeque<Entry>,
    /// By position, or in a quorum queue by the order in which they came back.
    requeued: BTreeMap<u64, Entry>,
    paged: Option<Box<Paged>>,
    spilled: Option<Box<Spilled>>,
}

/// Transient messages that were given to the disk to save memory.
#[derive(Clone, Debug, Default)]
struct Spilled {
    /// Ranges of positions, in order: all that were in memory from the first to below the other end. Between them there may be
    /// messages that were too near the head to be given away.
    ranges: Vec<Given>,
    /// Below this position nothing is given away any more.
    given: u64,
    /// Below this they are no longer needed.
    freed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Given {
    first: u64,
    below: u64,
    /// The disk has them.
    there: bool,
}

impl Spilled {
    fn has(&self, position: u64) -> bool {
        let at = self.ranges.partition_point(|range| range.below <= position);
        self.ranges.get(at).is_some_and(|range| range.there && range.first <= position)
    }
}

/// Which entries may leave memory.
#[derive(Clone, Copy, Debug)]
pub struct Leaving {
    /// Up to this position, what is to survive is on disk.
    pub stored: u64,
    /// Bytes of memory that the head may take.
    pub window: u64,
    pub keeps: Keeps,
}

/// Which messages of a queue are written down so that they survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    Nothing,
    Persistent,
    Everything,
}

impl Keeps {
    #[must_use]
    pub fn keeps(self, message: &Message) -> bool {
        match self {
            Self::Nothing => false,
            Self::Persistent => message.is_persistent(),
            Self::Everything => true,
        }
    }
}

impl Leaving {
    fn may(self, entry: &Entry, spilled: Option<&Spilled>) -> bool {
        if self.keeps.keeps(&entry.message) {
            entry.position <= self.stored
        } else {
            spilled.is_some_and(|spilled| spilled.has(entry.position))
        }
    }
}

impl Level {
    pub(super) fn is_empty(&self) -> bool {
        self.published.is_empty() && self.requeued.is_empty() && self.paged.is_none()
    }

    pub(super) fn push(&mut self, entry: Entry) {
        match &mut self.paged {
            Some(paged) => paged.tail.push_back(entry),
            None => self.published.push_back(entry),
        }
    }

    /// `order` decides where it goes among what came back, and before what was published behind it.
    pub(super) fn requeue(&mut self, order: u64, entry: Entry) {
        self.requeued.insert(order, entry);
    }

    /// `None` as well when the head is on disk.
    pub(super) fn peek(&self) -> Option<&Entry> {
        let Some((order, requeued)) = self.requeued.first_key_value() else { return self.published.front() };
        match self.published.front() {
            Some(published) if published.position < *order => Some(published),
            _ => Some(requeued),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        let Some(requeued) = self.requeued.first_entry() else { return self.pop_published() };
        match self.published.front() {
            Some(published) if published.position < *requeued.key() => self.pop_published(),
            _ => Some(requeued.remove()),
        }
    }

    fn pop_published(&mut self) -> Option<Entry> {
        let entry = self.published.pop_front()?;
        match &mut self.paged {
            Some(paged) => paged.head_memory = paged.head_memory.saturating_sub(entry.memory()),
            None if self.published.is_empty() && self.published.capacity() > 1024 => self.published = VecDeque::new(),
            None => {}
        }
        Some(entry)
    }

    /// What is in memory, head first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.head_iter().chain(self.paged.iter().flat_map(|paged| &paged.tail))
    }

    /// What of that is before all that is on disk.
    pub(super) fn head_iter(&self) -> impl Iterator<Item = &Entry> {
        let mut requeued = self.requeued.iter().peekable();
        let mut published = self.published.iter().peekable();
        std::iter::from_fn(move || match (requeued.peek(), published.peek()) {
            (Some((order, _)), Some(p)) if p.position < **order => published.next(),
            (Some(_), _) => requeued.next().map(|(_, entry)| entry),
            (None, _) => published.next(),
        })
    }

    /// How many entries from the head take at most this much memory, and how much that is.
    fn head(&self, window: u64) -> (usize, u64) {
        let mut memory = 0;
        let fits = |entry: &&Entry| {
            let fits = memory + entry.memory() <= window;
            memory += if fits { entry.memory() } else { 0 };
            fits
        };
        let kept = self.published.iter().take_while(fits).count();
        (kept, memory)
    }

    /// Messages that are in memory alone and not near the head, as many as take `room` bytes of memory: they count as given to
    /// the disk from now on.
    pub(super) fn spill(&mut self, (window, keeps): (u64, Keeps), room: &mut u64) -> Vec<Entry> {
        let given = self.spilled.as_ref().map_or(0, |spilled| spilled.given);
        let (entries, head) = match &self.paged {
            Some(paged) => (&paged.tail, 0),
            None => (&self.published, self.head(window).0),
        };
        let behind = entries.iter().skip(head);
        let mut spilled = Vec::new();
        for entry in behind.filter(|entry| entry.position >= given && !keeps.keeps(&entry.message)) {
            if *room < entry.memory() {
                *room = 0;
                break;
            }
            *room -= entry.memory();
            spilled.push(entry.clone());
        }
        if let [first, .., last] | [first @ last] = spilled.as_slice() {
            let into = self.spilled.get_or_insert_default();
            into.given = last.position + 1;
            into.ranges.push(Given { first: first.position, below: into.given, there: false });
        }
        spilled
    }

    pub(super) fn has_spilled(&self) -> bool {
        self.spilled.is_some()
    }

    /// Messages below this position that were given to the disk are there.
    pub(super) fn set_spilled(&mut self, below: u64) {
        let ranges = self.spilled.iter_mut().flat_map(|spilled| &mut spilled.ranges);
        ranges.filter(|range| range.below <= below).for_each(|range| range.there = true);
    }

    /// Positions that were given to the disk and are needed no more: below this.
    pub(super) fn unneeded(&mut self) -> Option<u64> {
        let spilled = self.spilled.as_mut()?;
        let first = self.published.front().map(|entry| entry.position);
        let there = spilled.ranges.iter().rev().find(|range| range.there).map_or(0, |range| range.below);
        let needed = first.or(self.paged.as_ref().map(|paged| paged.span.first)).unwrap_or(there).min(there);
        spilled.ranges.retain(|range| range.below > needed);
        let more = needed > spilled.freed;
        spilled.freed = needed;
        more.then_some(needed)
    }

    /// Lets go of what is on disk and not near the head.
    pub(super) fn page_out(&mut self, leaving: Leaving, mut gone: impl FnMut(Entry)) {
        let spilled = self.spilled.as_deref();
        if self.paged.is_none() {
            let (near, mut head_memory) = self.head(leaving.window);
            let may = |entry: &Entry| leaving.may(entry, spilled);
            let Some(more) = self.published.iter().skip(near).position(may) else { return };
            head_memory += self.published.range(near..near + more).map(Entry::memory).sum::<u64>();
            let kept = near + more;
            let tail = self.published.split_off(kept);
            self.published.shrink_to_fit();
            self.paged = Some(Box::new(Paged { tail, head_memory, ..Paged::default() }));
        }
        let Some(paged) = &mut self.paged else { return };
        while paged.tail.front().is_some_and(|entry| leaving.may(entry, spilled)) {
            let Some(entry) = paged.tail.pop_front() else { break };
            paged.span.add(&entry);
            gone(entry);
        }
        if paged.tail.is_empty() && paged.tail.capacity() > 1024 {
            paged.tail = VecDeque::new();
        }
    }

    /// A level of which all is on disk, after a restart.
    pub(super) fn restore(&mut self, span: Span) {
        if span.count > 0 {
            self.paged.get_or_insert_default().span.extend(span);
        }
    }

    /// The positions to load next, if the head is short and they have not been asked for: they have been, now.
    pub(super) fn wants_load(&mut self, window: u64) -> Option<(u64, u64)> {
        let paged = self.paged.as_mut().filter(|paged| paged.loading.is_none() && paged.head_memory <= window)?;
        paged.loading = Some(paged.span.first);
        Some((paged.span.first, paged.span.last))
    }

    /// Whether messages from this position on are waited for; those of a span that was dropped meanwhile are not.
    pub(super) fn awaits(&self, first: u64) -> bool {
        self.paged.as_ref().is_some_and(|paged| paged.loading == Some(first))
    }

    pub(super) fn has_span(&self) -> bool {
        self.paged.is_some()
    }

    /// What is on disk alone; after a restart, its numbers are estimates.
    pub(super) fn span(&self) -> Span {
        self.paged.as_ref().map_or(Span::default(), |paged| paged.span)
    }

    /// Takes in all messages of the span up to `next`.
    pub(super) fn loaded(&mut self, entries: Vec<Entry>, next: u64) {
        let Some(paged) = &mut self.paged else { return };
        paged.loading = None;
        paged.span.first = next;
        for entry in entries {
            let span = &mut paged.span;
            span.count = span.count.saturating_sub(1);
            span.bytes = span.bytes.saturating_sub(entry.message.body_len() as u64);
            span.expiring = span.expiring.saturating_sub(u64::from(entry.can_expire()));
            paged.head_memory += entry.memory();
            self.published.push_back(entry);
        }
        if paged.span.first <= paged.span.last {
            // A span is never empty.
            paged.span.count = paged.span.count.max(1);
            return;
        }
        let mut tail = std::mem::take(&mut paged.tail);
        self.paged = None;
        if tail.len() > self.published.len() {
            for entry in self.published.drain(..).rev() {
                tail.push_front(entry);
            }
            self.published = tail;
        } else {
            self.published.append(&mut tail);
        }
    }

    /// Drops what is on disk.
    pub(super) fn take_span(&mut self) -> Option<Span> {
        let mut paged = self.paged.take()?;
        self.published.append(&mut paged.tail);
        Some(paged.span)
    }
}
