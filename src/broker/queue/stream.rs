//! A stream: an append-only log that many readers read at their own pace, and that consuming does not shorten.
//!
//! Messages lie in segments. Retention drops whole segments, oldest first; a reader that was behind goes on at what is
//! left. Finding an offset or a time is a binary search over the segments (behaviour Q22, Q23). Where a storage has the
//! messages, only the last segments keep them in memory; readers that are further behind load pages of their own.

use std::collections::VecDeque;

use super::ConsumerId;
use super::effective::Effective;
use crate::amqp::Message;
use crate::amqp::properties::Properties;
use crate::amqp::table::Value;
use crate::broker::Timestamp;
use crate::broker::counters::Amount;
use crate::broker::record;
use crate::broker::timers::Deadline;

/// Segments are cut at x-stream-max-segment-size-bytes, at the latest here: small ones keep retention close to its bounds.
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
const SEGMENT_MESSAGES: usize = 16 * 1024;
/// A segment covers at most this share of x-max-age.
const SEGMENTS_PER_AGE: u64 = 16;

/// The header that a publisher sets, by which readers filter.
const FILTER_VALUE: &str = "x-stream-filter-value";

#[derive(Debug)]
struct Stored {
    message: Message,
    appended: Timestamp,
}

#[derive(Debug)]
struct Segment {
    first: u64,
    count: u64,
    bytes: u64,
    /// When its first and its last message were appended.
    begun: Timestamp,
    ended: Timestamp,
    /// None when they are on disk alone.
    messages: Vec<Stored>,
}

impl Segment {
    fn last(&self) -> u64 {
        self.first + self.count - 1
    }

    fn memory(&self) -> u64 {
        self.messages.iter().map(|stored| Stream::MEMORY + stored.message.memory() as u64).sum()
    }
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    First,
    Last,
    Next,
    Offset(u64),
    /// The first message that was appended then or later.
    Time(Timestamp),
}

/// What a reader leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub values: Vec<Vec<u8>>,
    /// Whether messages without a value are wanted, too.
    pub match_unfiltered: bool,
}

impl Filter {
    fn wants(&self, properties: Properties<'_>) -> bool {
        match properties.header(FILTER_VALUE) {
            Some(Value::String(value)) => self.values.iter().any(|wanted| wanted == value),
            _ => self.match_unfiltered,
        }
    }
}

/// A consumer's place in a stream.
#[derive(Debug, Default)]
pub struct Reader {
    pub next: u64,
    pub filter: Option<Filter>,
    /// Messages that were appended before this are left out.
    pub not_before: Timestamp,
    /// It stands among those that wait for the next message.
    pub waiting: bool,
    /// Messages from the disk, and whether more have been asked for.
    pub page: VecDeque<record::Stored>,
    pub loading: bool,
}

impl Reader {
    fn wants(&self, message: &Message, appended: Timestamp) -> bool {
        appended >= self.not_before && self.filter.as_ref().is_none_or(|filter| filter.wants(message.properties()))
    }
}

/// What a reader finds at its place.
#[derive(Debug)]
pub enum Read {
    Message(u64, Message),
    /// From this offset to that one, on disk alone.
    OnDisk(u64, u64),
    /// Nothing so far among the messages that were looked at; there are more.
    Paused,
    End,
}

/// Messages that a reader's filter may pass over at a time, so that nobody waits for it.
const SCANNED: usize = 4096;

/// A segment that is no longer kept.
#[derive(Debug)]
pub struct Retired {
    pub first: u64,
    pub last: u64,
    /// Bytes of the bodies.
    pub bytes: u64,
    /// Those that were in memory.
    pub messages: Vec<Message>,
}

/// Invariant: offsets have no gap from the first message to `next`; no segment is empty; those on disk alone come first.
#[derive(Debug, Default)]
pub struct Stream {
    segments: VecDeque<Segment>,
    /// Segments that are on disk alone.
    on_disk: usize,
    next: u64,
    bytes: u64,
    /// Readers that have read all there is and have credit.
    pub waiting: Vec<ConsumerId>,
    pub(in crate::broker) retention: Deadline,
}

impl Stream {
    /// Messages.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.next - self.first()).unwrap_or(usize::MAX)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Bytes of the bodies.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What of it is in memory.
    #[must_use]
    pub fn in_memory(&self) -> Amount {
        self.segments.range(self.on_disk..).map(|segment| Amount { messages: segment.count, bytes: segment.bytes }).sum()
    }

    #[must_use]
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Messages from this offset on, up to where one is on disk alone.
    pub fn iter_from(&self, offset: u64) -> impl Iterator<Item = (u64, &Message)> {
        let offsets = offset.max(self.first())..self.next;
        offsets.map_while(|offset| {
            let segment = self.segment(offset)?;
            let index = usize::try_from(offset - segment.first).ok()?;
            Some((offset, &segment.messages.get(index)?.message))
        })
    }

    /// Messages that are in memory, with their offsets.
    pub fn iter_in_memory(&self) -> impl Iterator<Item = (u64, &Message)> {
        let segments = self.segments.range(self.on_disk..);
        segments.flat_map(|segment| (segment.first..).zip(segment.messages.iter().map(|stored| &stored.message)))
    }

    /// The offset of the oldest message, or of the next one when there is none.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.segments.front().map_or(self.next, |segment| segment.first)
    }

    /// Bytes that a message takes beside itself, with what a growing segment keeps in reserve.
    pub const MEMORY: u64 = 2 * size_of::<Stored>() as u64;

    pub fn append(&mut self, message: Message, now: Timestamp, effective: &Effective) {
        let size = message.body_len() as u64;
        let limit = effective.segment_size.unwrap_or(SEGMENT_BYTES).min(SEGMENT_BYTES);
        let share = effective.max_age.map(|age| age / SEGMENTS_PER_AGE);
        let full = |segment: &Segment| {
            segment.bytes >= limit
                || segment.messages.len() >= SEGMENT_MESSAGES
                || segment.messages.is_empty()
                || share.is_some_and(|share| segment.begun.after(share) < now)
        };
        if self.segments.back().is_none_or(full) {
            let messages = Vec::new();
            self.segments.push_back(Segment { first: self.next, count: 0, bytes: 0, begun: now, ended: now, messages });
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes += size;
            segment.count += 1;
            segment.ended = now;
            segment.messages.push(Stored { message, appended: now });
        }
        self.next += 1;
        self.bytes += size;
    }

    /// The oldest segment, if its time is over or the stream without it is still as long as it may be. The one that is
    /// being written goes only when its time is over.
    fn is_doomed(&self, now: Timestamp, effective: &Effective) -> bool {
        let Some(oldest) = self.segments.front() else { return false };
        let too_old = effective.max_age.is_some_and(|age| oldest.ended.after(age) <= now);
        let too_long = self.segments.len() > 1 && effective.max_length_bytes.is_some_and(|max| self.bytes > max);
        too_old || too_long
    }

    /// Takes a segment that is no longer kept.
    pub fn retire(&mut self, now: Timestamp, effective: &Effective) -> Option<Retired> {
        if !self.is_doomed(now, effective) {
            return None;
        }
        let segment = self.segments.pop_front()?;
        self.bytes -= segment.bytes;
        self.on_disk = self.on_disk.saturating_sub(1);
        let (first, last, bytes) = (segment.first, segment.last(), segment.bytes);
        Some(Retired { first, last, bytes, messages: segment.messages.into_iter().map(|stored| stored.message).collect() })
    }

    /// Lets go of segments that are on disk up to this offset and not among the last `window` bytes of memory.
    pub fn page_out(&mut self, up_to: u64, window: u64, mut gone: impl FnMut(Message)) {
        let mut behind = 0;
        let mut keeps = |segment: &Segment| {
            let keeps = behind < window;
            behind += segment.memory();
            keeps
        };
        let kept = self.segments.iter().skip(self.on_disk).rev().take_while(|segment| keeps(segment)).count();
        let end = self.segments.len() - kept;
        while self.on_disk < end {
            let segment = &mut self.segments[self.on_disk];
            if segment.last() > up_to {
                return;
            }
            std::mem::take(&mut segment.messages).into_iter().for_each(|stored| gone(stored.message));
            self.on_disk += 1;
        }
    }

    /// What survived a restart.
    pub fn restore(&mut self, runs: &[record::Run], next: u64) {
        for run in runs.iter().filter(|run| run.count > 0) {
            self.bytes += run.body_bytes;
            self.segments.push_back(Segment {
                first: run.first,
                count: run.last - run.first + 1,
                bytes: run.body_bytes,
                begun: Timestamp(run.begun),
                ended: Timestamp(run.ended),
                messages: Vec::new(),
            });
        }
        self.on_disk = self.segments.len();
        self.next = next;
    }

    /// The offset of the next message.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Takes everything.
    pub fn drain(&mut self) -> impl Iterator<Item = Message> + use<> {
        self.bytes = 0;
        self.on_disk = 0;
        std::mem::take(&mut self.segments).into_iter().flat_map(|segment| segment.messages).map(|stored| stored.message)
    }

    /// When the oldest segment is too old.
    #[must_use]
    pub fn retires_at(&self, effective: &Effective) -> Option<Timestamp> {
        Some(self.segments.front()?.ended.after(effective.max_age?))
    }

    /// The offset that a reader starts from; where it starts from a time, it has to look at the times as well.
    #[must_use]
    pub fn seek(&self, start: Start) -> u64 {
        match start {
            Start::First => self.first(),
            Start::Last => self.next.saturating_sub(1).max(self.first()),
            Start::Next => self.next,
            // One that is still to come is waited for.
            Start::Offset(offset) => offset.max(self.first()),
            Start::Time(time) => {
                let at = self.segments.partition_point(|segment| segment.ended < time);
                let Some(segment) = self.segments.get(at) else { return self.next };
                segment.first + segment.messages.partition_point(|stored| stored.appended < time) as u64
            }
        }
    }

    fn segment(&self, offset: u64) -> Option<&Segment> {
        let at = self.segments.partition_point(|segment| segment.first <= offset);
        self.segments.get(at.checked_sub(1)?)
    }

    /// The next message for a reader, whose place is moved behind it. What of its page it does not want goes to `left_out`.
    #[must_use]
    pub fn read(&self, reader: &mut Reader, left_out: &mut Vec<Message>) -> Read {
        reader.next = reader.next.max(self.first());
        for _ in 0..SCANNED {
            let Some(segment) = self.segment(reader.next).filter(|segment| reader.next <= segment.last()) else { return Read::End };
            let index = usize::try_from(reader.next - segment.first).unwrap_or(usize::MAX);
            if let Some(stored) = segment.messages.get(index) {
                let offset = reader.next;
                reader.next += 1;
                if reader.wants(&stored.message, stored.appended) {
                    return Read::Message(offset, stored.message.clone());
                }
                continue;
            }
            let Some(stored) = reader.page.pop_front() else { return Read::OnDisk(reader.next, segment.last()) };
            if stored.position >= reader.next {
                reader.next = stored.position + 1;
                if reader.wants(&stored.message, Timestamp(stored.at)) {
                    return Read::Message(stored.position, stored.message);
                }
            }
            left_out.push(stored.message);
        }
        Read::Paused
    }

    /// The same with their offsets, and when they were appended.
    pub fn entries(&self) -> impl Iterator<Item = (u64, Timestamp, &Message)> {
        self.segments
            .iter()
            .flat_map(|segment| (segment.first..).zip(&segment.messages).map(|(offset, stored)| (offset, stored.appended, &stored.message)))
    }

    /// Those that are in memory, from the oldest to the newest.
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        self.segments.iter().flat_map(|segment| segment.messages.iter().map(|stored| &stored.message))
    }
}
