//! Message deduplication (behaviour Q28): a bounded memory of header values that were seen, for exchanges and queues.
//! The arguments and headers are those of the widespread plugin and of LavinMQ.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::amqp::properties::Properties;
use crate::amqp::table::Value;
use crate::amqp::{AMQPValue, FieldTable};
use crate::broker::Timestamp;
use crate::broker::error::{Error, integer};
use crate::broker::queue::QueueType;

/// Turns deduplication on for an exchange of any type, or a queue.
pub const ARGUMENT: &str = "x-message-deduplication";
const SIZE: &str = "x-cache-size";
const DEFAULT_SIZE: usize = 128;
/// Milliseconds; as a header it is for that message alone.
const TTL: &str = "x-cache-ttl";
const PERSISTENCE: &str = "x-cache-persistence";
/// The header whose value makes a message a duplicate; as an argument, the name of another header.
const HEADER: &str = "x-deduplication-header";

/// Values that were seen, the oldest forgotten first.
#[derive(Debug)]
pub struct Cache {
    size: usize,
    /// For how many milliseconds a value is remembered; `None` is for as long as there is room.
    ttl: Option<u64>,
    /// Looked up only, never iterated.
    seen: HashMap<Arc<[u8]>, Seen, FixedState>,
    /// By number: in the order in which they were seen.
    order: BTreeMap<u64, Arc<[u8]>>,
    next: u64,
    /// Bytes of all values.
    bytes: usize,
}

#[derive(Debug)]
struct Seen {
    number: u64,
    until: Option<Timestamp>,
}

impl Cache {
    /// `size` in values, at least one; `ttl` in milliseconds.
    #[must_use]
    pub fn new(size: usize, ttl: Option<u64>) -> Self {
        Self { size: size.max(1), ttl, seen: HashMap::default(), order: BTreeMap::new(), next: 0, bytes: 0 }
    }

    /// Whether this value is remembered.
    #[must_use]
    pub fn contains(&self, value: &[u8], now: Timestamp) -> bool {
        self.seen.get(value).is_some_and(|seen| seen.until.is_none_or(|until| now < until))
    }

    /// Remembers a value from now on, unless it is remembered already. `ttl` takes the place of the cache's own.
    pub fn insert(&mut self, value: &[u8], ttl: Option<u64>, now: Timestamp) {
        if self.contains(value, now) {
            return;
        }
        self.forget(value);
        if self.order.len() >= self.size
            && let Some((_, oldest)) = self.order.first_key_value()
        {
            let oldest = Arc::clone(oldest);
            self.forget(&oldest);
        }
        let value: Arc<[u8]> = value.into();
        let until = ttl.or(self.ttl).map(|ttl| Timestamp(now.0.saturating_add(ttl)));
        self.bytes += value.len();
        self.order.insert(self.next, Arc::clone(&value));
        self.seen.insert(value, Seen { number: self.next, until });
        self.next += 1;
    }

    /// The next message with this value is new again: a queue forgets the values of messages that leave it.
    pub fn forget(&mut self, value: &[u8]) {
        if let Some(seen) = self.seen.remove(value) {
            self.order.remove(&seen.number);
            self.bytes -= value.len();
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Bytes of memory that the values take, with what keeps them.
    #[must_use]
    pub fn memory(&self) -> u64 {
        const EACH: usize = 2 * size_of::<Arc<[u8]>>() + size_of::<Seen>() + size_of::<u64>() + 2 * size_of::<usize>();
        (self.bytes + self.len() * EACH) as u64
    }
}

/// A cache, and what it knows messages by.
#[derive(Debug)]
pub struct Deduplication {
    header: Box<str>,
    /// A value counts for as long as its message is in the queue.
    while_present: bool,
    pub cache: Cache,
}

impl Deduplication {
    /// What the arguments of an exchange or queue ask for; `always` without asking, where the size must be given.
    /// `resource` as texts render it.
    ///
    /// # Errors
    /// 406 for an argument of the wrong type or value.
    pub fn new(arguments: &FieldTable, resource: &str, always: bool) -> Result<Option<Self>, Error> {
        let table = arguments.inner();
        match table.get(ARGUMENT) {
            Some(AMQPValue::Boolean(true)) => {}
            Some(AMQPValue::Boolean(false)) | None if always => {}
            Some(AMQPValue::Boolean(false)) | None => return Ok(None),
            Some(other) => return Err(Error::invalid_argument_type(ARGUMENT, resource, other)),
        }
        let size = match table.get(SIZE) {
            None if !always => DEFAULT_SIZE,
            value => value
                .and_then(positive)
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| Error::precondition(format!("Missing or invalid argument, '{SIZE}' must be an integer greater than 0")))?,
        };
        let ttl = match table.get(TTL) {
            None => None,
            Some(value) => Some(
                positive(value)
                    .ok_or_else(|| Error::precondition(format!("Invalid argument, '{TTL}' must be an integer greater than 0")))?,
            ),
        };
        match table.get(PERSISTENCE) {
            None => {}
            Some(AMQPValue::LongString(text)) if matches!(text.as_bytes(), b"disk" | b"memory") => {}
            Some(_) => {
                return Err(Error::precondition(format!("Invalid argument, '{PERSISTENCE}' must be either 'disk' or 'memory'")));
            }
        }
        let header = match table.get(HEADER) {
            None => HEADER.into(),
            Some(AMQPValue::LongString(name)) => String::from_utf8_lossy(name.as_bytes()).into(),
            Some(other) => return Err(Error::invalid_argument_type(HEADER, resource, other)),
        };
        Ok(Some(Self { header, while_present: false, cache: Cache::new(size, ttl) }))
    }

    /// The same for a queue: without x-cache-size, and unless it is a stream, which nothing leaves, a message is a duplicate for as long as the other one is in the queue (as
    /// in the plugin), with it while the value is in the cache (as in LavinMQ).
    ///
    /// # Errors
    /// As for [`Deduplication::new`].
    pub fn for_queue(arguments: &FieldTable, resource: &str, kind: QueueType) -> Result<Option<Self>, Error> {
        let mut found = Self::new(arguments, resource, false)?;
        if let Some(deduplication) = &mut found
            && kind != QueueType::Stream
            && !arguments.inner().contains_key(SIZE)
        {
            deduplication.cache.size = usize::MAX;
            deduplication.while_present = true;
        }
        Ok(found)
    }

    /// A message has left the queue.
    pub fn forget_left(&mut self, properties: Properties<'_>) {
        if self.while_present
            && let Some(value) = self.value(properties)
        {
            self.cache.forget(value);
        }
    }

    /// Nothing is remembered any more.
    pub fn forget_all(&mut self) {
        self.cache = Cache::new(self.cache.size, self.cache.ttl);
    }

    /// The value that this message is known by: the header as it is on the wire, type and all.
    #[must_use]
    pub fn value<'a>(&self, properties: Properties<'a>) -> Option<&'a [u8]> {
        properties.raw_header(&self.header)
    }

    /// Whether a message with the same header is remembered.
    #[must_use]
    pub fn is_duplicate(&self, properties: Properties<'_>, now: Timestamp) -> bool {
        self.value(properties).is_some_and(|value| self.cache.contains(value, now))
    }

    /// Changes what is remembered; `memory` is the account that its bytes are on.
    pub fn change(&mut self, memory: &mut u64, change: impl FnOnce(&mut Self)) {
        *memory -= self.cache.memory();
        change(self);
        *memory += self.cache.memory();
    }

    /// Remembers a message.
    pub fn remember(&mut self, properties: Properties<'_>, now: Timestamp) {
        let Some(value) = self.value(properties) else { return };
        let ttl = match properties.header(TTL) {
            Some(Value::Int(ttl)) => u64::try_from(ttl).ok(),
            _ => None,
        };
        self.cache.insert(value, ttl, now);
    }
}

/// An integer above zero, or one written out: the plugin takes both.
fn positive(value: &AMQPValue) -> Option<u64> {
    let number = match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok()?.parse().ok()?,
        other => u64::try_from(integer(other)?).ok()?,
    };
    (number > 0).then_some(number)
}
