//! A stream: an append-only log that many readers read at their own pace, and that consuming does not shorten.
//!
//! Messages lie in segments. Retention drops whole segments, oldest first; a reader that was behind goes on at what is
//! left. Finding an offset or a time is a binary search over the segments (behaviour Q22, Q23).

use std::collections::VecDeque;

use super::ConsumerId;
use super::effective::Effective;
use crate::amqp::Message;
use crate::amqp::properties::Properties;
use crate::amqp::table::Value;
use crate::broker::Timestamp;
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
    bytes: u64,
    messages: Vec<Stored>,
}

impl Segment {
    fn begun(&self) -> Timestamp {
        self.messages.first().map_or(Timestamp::NEVER, |stored| stored.appended)
    }

    fn ended(&self) -> Timestamp {
        self.messages.last().map_or(Timestamp::NEVER, |stored| stored.appended)
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
#[derive(Clone, Debug)]
pub struct Reader {
    pub next: u64,
    pub filter: Option<Filter>,
    /// It stands among those that wait for the next message.
    pub waiting: bool,
}

/// What a reader finds at its place.
#[derive(Debug)]
pub enum Read<'a> {
    Message(u64, &'a Message),
    /// Nothing so far among the messages that were looked at; there are more.
    Paused,
    End,
}

/// Messages that a reader's filter may pass over at a time, so that nobody waits for it.
const SCANNED: usize = 4096;

/// Invariant: offsets have no gap from the first message to `next`; no segment is empty.
#[derive(Debug, Default)]
pub struct Stream {
    segments: VecDeque<Segment>,
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
                || share.is_some_and(|share| segment.begun().after(share) < now)
        };
        if self.segments.back().is_none_or(full) {
            self.segments.push_back(Segment { first: self.next, bytes: 0, messages: Vec::new() });
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes += size;
            segment.messages.push(Stored { message, appended: now });
        }
        self.next += 1;
        self.bytes += size;
    }

    /// The oldest segment, if its time is over or the stream without it is still as long as it may be. The one that is
    /// being written goes only when its time is over.
    fn is_doomed(&self, now: Timestamp, effective: &Effective) -> bool {
        let Some(oldest) = self.segments.front() else { return false };
        let too_old = effective.max_age.is_some_and(|age| oldest.ended().after(age) <= now);
        let too_long = self.segments.len() > 1 && effective.max_length_bytes.is_some_and(|max| self.bytes > max);
        too_old || too_long
    }

    /// Takes a segment's messages that are no longer kept.
    pub fn retire(&mut self, now: Timestamp, effective: &Effective) -> Option<impl Iterator<Item = Message> + use<>> {
        if !self.is_doomed(now, effective) {
            return None;
        }
        let segment = self.segments.pop_front()?;
        self.bytes -= segment.bytes;
        Some(segment.messages.into_iter().map(|stored| stored.message))
    }

    /// Takes everything.
    pub fn drain(&mut self) -> impl Iterator<Item = Message> + use<> {
        self.bytes = 0;
        std::mem::take(&mut self.segments).into_iter().flat_map(|segment| segment.messages).map(|stored| stored.message)
    }

    /// When the oldest segment is too old.
    #[must_use]
    pub fn retires_at(&self, effective: &Effective) -> Option<Timestamp> {
        Some(self.segments.front()?.ended().after(effective.max_age?))
    }

    /// The offset that a reader starts from.
    #[must_use]
    pub fn seek(&self, start: Start) -> u64 {
        match start {
            Start::First => self.first(),
            Start::Last => self.next.saturating_sub(1).max(self.first()),
            Start::Next => self.next,
            // One that is still to come is waited for.
            Start::Offset(offset) => offset.max(self.first()),
            Start::Time(time) => {
                let at = self.segments.partition_point(|segment| segment.ended() < time);
                let Some(segment) = self.segments.get(at) else { return self.next };
                segment.first + segment.messages.partition_point(|stored| stored.appended < time) as u64
            }
        }
    }

    fn segment(&self, offset: u64) -> Option<&Segment> {
        let at = self.segments.partition_point(|segment| segment.first <= offset);
        self.segments.get(at.checked_sub(1)?)
    }

    /// The next message for a reader, whose place is moved behind it.
    #[must_use]
    pub fn read(&self, reader: &mut Reader) -> Read<'_> {
        reader.next = reader.next.max(self.first());
        let Reader { next, filter, .. } = reader;
        for _ in 0..SCANNED {
            let Some(segment) = self.segment(*next) else { return Read::End };
            let index = usize::try_from(*next - segment.first).unwrap_or(usize::MAX);
            let Some(stored) = segment.messages.get(index) else { return Read::End };
            let offset = *next;
            *next += 1;
            if filter.as_ref().is_none_or(|filter| filter.wants(stored.message.properties())) {
                return Read::Message(offset, &stored.message);
            }
        }
        Read::Paused
    }

    /// The messages from the oldest to the newest.
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        self.segments.iter().flat_map(|segment| segment.messages.iter().map(|stored| &stored.message))
    }
}
