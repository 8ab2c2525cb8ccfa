//! The ready messages of a queue, in the order in which they were published; requeued ones go back to their place.

use super::level::{Keeps, Leaving, Level, Span};
use crate::amqp::Message;
use crate::broker::Timestamp;
use crate::broker::counters::Amount;

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

    /// Bytes that it takes with its message.
    #[must_use]
    pub fn memory(&self) -> u64 {
        Self::MEMORY + self.message.memory() as u64
    }

    /// Ends the entry; bytes that are free by that.
    #[must_use]
    pub fn freed(self) -> u64 {
        Self::MEMORY + self.message.freed()
    }

    pub(super) fn can_expire(&self) -> bool {
        self.expires != Timestamp::NEVER
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
        self.settle(u8::try_from(at + 1).unwrap_or(u8::MAX));
        entry
    }

    /// The level of this priority may be empty by now.
    fn settle(&mut self, priority: u8) {
        let Some(at) = usize::from(priority).checked_sub(1) else { return };
        if self.levels[at].is_empty() {
            self.occupied[at / 64] &= !(1 << (at % 64));
        }
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
    /// Levels of which a part is on disk alone.
    paged: usize,
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
        self.level(entry.priority).push(entry);
    }

    /// Puts an entry back to its original position (gotcha 1), at its level (gotcha 71).
    pub fn requeue(&mut self, entry: Entry) {
        let order = match &mut self.next_return {
            Some(next) => {
                *next += 1;
                *next - 1
            }
            None => entry.position,
        };
        self.count(&entry);
        self.level(entry.priority).requeue(order, entry);
    }

    /// Gives an entry that came back a place at the tail, as if it were new.
    pub fn at_tail(&mut self, mut entry: Entry) -> Entry {
        entry.position = self.next_position;
        self.next_position += 1;
        entry
    }

    fn count(&mut self, entry: &Entry) {
        self.len += 1;
        self.bytes += entry.message.body_len() as u64;
        self.expiring += usize::from(entry.can_expire());
    }

    fn level_at(&mut self, priority: u8) -> &mut Level {
        match &mut self.higher {
            Some(higher) if priority > 0 => &mut higher.levels[usize::from(priority) - 1],
            _ => &mut self.lowest,
        }
    }

    /// The level that something is added to.
    fn level(&mut self, priority: u8) -> &mut Level {
        match &mut self.higher {
            Some(higher) if priority > 0 => higher.fill(usize::from(priority) - 1),
            _ => &mut self.lowest,
        }
    }

    /// The head; `None` as well when it is on disk.
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

    /// Takes the head; `None` as well when it is on disk.
    pub fn pop(&mut self) -> Option<Entry> {
        let lowest_is_due = self.lowest_is_due();
        let entry = match self.higher.as_mut().filter(|_| !lowest_is_due) {
            Some(higher) if higher.top().is_some() => higher.pop()?,
            _ => self.lowest.pop()?,
        };
        if let Some(in_a_row) = &mut self.in_a_row {
            *in_a_row = if entry.priority > 0 { *in_a_row + 1 } else { 0 };
        }
        self.len -= 1;
        self.bytes -= entry.message.body_len() as u64;
        self.expiring -= usize::from(entry.can_expire());
        Some(entry)
    }

    /// Those that are in memory, from head to tail.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        let higher = self.higher.iter().flat_map(|higher| higher.levels.iter().rev());
        higher.chain(std::iter::once(&self.lowest)).flat_map(Level::iter)
    }

    /// The same up to where a message is on disk.
    pub fn iter_to_disk(&self) -> impl Iterator<Item = &Entry> {
        let higher = self.higher.iter().flat_map(|higher| higher.levels.iter().rev());
        let mut above_all_disk = true;
        let levels = higher.chain(std::iter::once(&self.lowest)).take_while(move |level| {
            let shown = above_all_disk;
            above_all_disk &= !level.has_span();
            shown
        });
        levels.flat_map(Level::head_iter)
    }

    /// What is on disk alone.
    #[must_use]
    pub fn on_disk(&self) -> Amount {
        if self.paged == 0 {
            return Amount::default();
        }
        let higher = self.higher.iter().flat_map(|higher| &higher.levels);
        let spans = higher.chain(std::iter::once(&self.lowest)).map(Level::span);
        spans.map(|span| Amount { messages: span.count, bytes: span.bytes }).sum()
    }

    /// Each level with its priority.
    fn levels_mut(&mut self) -> impl Iterator<Item = (u8, &mut Level)> {
        let higher = self.higher.iter_mut().flat_map(|higher| &mut higher.levels);
        (0..=u8::MAX).zip(std::iter::once(&mut self.lowest).chain(higher))
    }

    /// Lets go of what is on disk and not near the head.
    pub fn page_out(&mut self, leaving: Leaving, mut gone: impl FnMut(Entry)) {
        for (_, level) in self.levels_mut() {
            level.page_out(leaving, &mut gone);
        }
        self.count_paged();
    }

    /// Whether a part is on disk alone.
    #[must_use]
    pub fn is_paged(&self) -> bool {
        self.paged > 0
    }

    fn count_paged(&mut self) {
        self.paged = self.levels_mut().filter(|(_, level)| level.has_span()).count();
    }

    /// The highest priority that makes a difference here.
    #[must_use]
    pub fn max_priority(&self) -> u8 {
        self.higher.as_ref().map_or(0, |higher| u8::try_from(higher.levels.len()).unwrap_or(u8::MAX))
    }

    /// Transient messages to give to the disk, by priority; `room` in bytes of memory.
    pub fn spill(&mut self, window: u64, keeps: Keeps, room: &mut u64) -> Vec<(u8, Vec<Entry>)> {
        let spilled = self.levels_mut().map(|(priority, level)| (priority, level.spill((window, keeps), room)));
        spilled.filter(|(_, entries)| !entries.is_empty()).collect()
    }

    /// They are there, below this position.
    pub fn set_spilled(&mut self, priority: u8, below: u64) {
        self.level_at(priority).set_spilled(below);
    }

    /// Whether any was ever given to the disk.
    #[must_use]
    pub fn has_spilled(&self) -> bool {
        let higher = self.higher.iter().flat_map(|higher| &higher.levels);
        higher.chain(std::iter::once(&self.lowest)).any(Level::has_spilled)
    }

    /// Those that are needed no more, by priority: below these positions.
    pub fn unneeded(&mut self) -> Vec<(u8, u64)> {
        self.levels_mut().filter_map(|(priority, level)| Some((priority, level.unneeded()?))).collect()
    }

    /// Messages that survived a restart; `priority` is that of a level.
    pub fn restore(&mut self, priority: u8, span: Span) {
        if span.count == 0 {
            return;
        }
        self.count_span(span);
        self.level(priority).restore(span);
        self.count_paged();
    }

    /// No position up to this one is given again.
    pub fn skip_positions(&mut self, highest: u64) {
        self.next_position = self.next_position.max(highest + 1);
    }

    /// Which positions to load next, of the first so many levels from the one whose turn it is, if a head is short of `window`
    /// bytes of memory. They are not named again until they have been loaded.
    pub fn wants_load(&mut self, window: u64, first: usize) -> Option<(u8, u64, u64)> {
        if !self.is_paged() {
            return None;
        }
        let Some(higher) = &mut self.higher else {
            return self.lowest.wants_load(window).map(|(first, last)| (0, first, last));
        };
        let levels = (1..=u8::MAX).zip(&mut higher.levels).rev().chain(std::iter::once((0, &mut self.lowest)));
        let mut next = levels.filter(|(_, level)| !level.is_empty()).take(first);
        next.find_map(|(priority, level)| level.wants_load(window).map(|(first, last)| (priority, first, last)))
    }

    /// Whether messages of this priority from this position on are still waited for.
    #[must_use]
    pub fn awaits(&self, priority: u8, first: u64) -> bool {
        match &self.higher {
            Some(higher) if priority > 0 => higher.levels[usize::from(priority) - 1].awaits(first),
            _ => self.lowest.awaits(first),
        }
    }

    /// Takes in messages that were asked for: all there are up to this position.
    pub fn loaded(&mut self, priority: u8, entries: Vec<Entry>, next: u64) {
        let before = self.level_at(priority).span();
        self.uncount(before);
        entries.iter().for_each(|entry| self.count(entry));
        let level = self.level_at(priority);
        level.loaded(entries, next);
        let after = level.span();
        self.count_span(after);
        if let Some(higher) = &mut self.higher {
            higher.settle(priority);
        }
        self.count_paged();
    }

    fn count_span(&mut self, span: Span) {
        self.len += usize::try_from(span.count).unwrap_or(usize::MAX);
        self.bytes += span.bytes;
        self.expiring += usize::try_from(span.expiring).unwrap_or(usize::MAX);
    }

    fn uncount(&mut self, span: Span) {
        self.len -= usize::try_from(span.count).unwrap_or(usize::MAX);
        self.bytes -= span.bytes;
        self.expiring -= usize::try_from(span.expiring).unwrap_or(usize::MAX);
    }

    /// Drops what is on disk: the spans by level.
    pub fn take_spans(&mut self) -> Vec<(u8, Span)> {
        let spans: Vec<(u8, Span)> = self.levels_mut().filter_map(|(priority, level)| Some((priority, level.take_span()?))).collect();
        for (priority, span) in &spans {
            self.uncount(*span);
            if let Some(higher) = &mut self.higher {
                higher.settle(*priority);
            }
        }
        self.paged = 0;
        spans
    }
}
