//! A published message: exchange, routing key, properties and body as received, in one allocation when it is small.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::properties::Properties;
use super::table;

/// Bodies up to this many bytes are stored beside their envelope in one right-sized allocation and copied into
/// the output of a connection; larger ones travel by reference from the read to the vectored write.
pub const LARGE_BODY: usize = 8 * 1024;

/// Properties length (u32, little-endian), marks, exchange length, routing key length.
const HEAD: usize = 7;
const MARKS: usize = 4;
const EXCHANGE_LENGTH: usize = 5;

/// What the broker knows about a message and nobody else can see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Its x-death header was written here, not by a client (V18).
    pub died: bool,
    /// Its headers have a BCC that nobody is to see, but that counts when it is dead-lettered (behaviour D5).
    pub blind_copies: bool,
    /// It was dead-lettered with a key of the queue's, so that CC and BCC count no more (behaviour D5).
    pub keys_replaced: bool,
}

const DIED: u8 = 1;
const BLIND_COPIES: u8 = 1 << 1;
const KEYS_REPLACED: u8 = 1 << 3;
/// It has an expiration. Kept here so that a queue need not look for it.
const CAN_EXPIRE: u8 = 1 << 2;

/// What a message consists of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    pub exchange: &'a [u8],
    pub routing_key: &'a [u8],
    /// Property flags and values as received.
    pub properties: &'a [u8],
    /// The body when it is stored beside the envelope; empty for a large one.
    pub small_body: &'a [u8],
}

/// A message, cheap to clone; immutable once published.
#[derive(Clone, Debug)]
pub struct Message {
    /// HEAD, exchange, routing key, properties, and the body unless it is large.
    blob: Bytes,
    large: Option<Arc<Vec<Bytes>>>,
}

/// A complete `basic.publish`: method, content header and body.
#[derive(Clone, Debug)]
pub struct Publish {
    pub mandatory: bool,
    pub immediate: bool,
    /// The announced body size, in bytes, when it is over the limit; the body was thrown away then.
    pub oversize: Option<u64>,
    pub fate: Fate,
    pub message: Message,
}

/// What becomes of a publish. A client cannot ask for any but the usual; whoever tests how it copes with others can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    pub route: Goes,
    /// What a channel in confirm mode says of it.
    pub confirm: Confirm,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Goes {
    #[default]
    ToQueues,
    /// Nowhere, as if nothing were bound: it is returned if it is mandatory.
    Unroutable,
    /// Nowhere, and nobody hears of it.
    Lost,
}

/// What the publisher is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confirm {
    #[default]
    Ack,
    Nack,
    Nothing,
}

impl Message {
    /// Copies everything into one allocation. `exchange` and `routing_key` are short strings (255 bytes at most).
    #[must_use]
    pub fn new(exchange: &[u8], routing_key: &[u8], properties: &[u8], body: &[u8]) -> Self {
        Self::marked(exchange, routing_key, properties, body, Marks::default())
    }

    fn marked(exchange: &[u8], routing_key: &[u8], properties: &[u8], body: &[u8], marks: Marks) -> Self {
        let mut blob = Vec::with_capacity(HEAD + exchange.len() + routing_key.len() + properties.len() + body.len());
        let died = if marks.died { DIED } else { 0 };
        let blind_copies = if marks.blind_copies { BLIND_COPIES } else { 0 };
        let can_expire = if Properties::checked(properties).can_expire() { CAN_EXPIRE } else { 0 };
        let keys_replaced = if marks.keys_replaced { KEYS_REPLACED } else { 0 };
        let [p0, p1, p2, p3] = u32::try_from(properties.len()).unwrap_or(u32::MAX).to_le_bytes();
        let marks = died | blind_copies | keys_replaced | can_expire;
        let head: [u8; HEAD] = [p0, p1, p2, p3, marks, short(exchange.len()), short(routing_key.len())];
        blob.extend_from_slice(&head);
        blob.extend_from_slice(exchange);
        blob.extend_from_slice(routing_key);
        blob.extend_from_slice(properties);
        blob.extend_from_slice(body);
        // As long as its capacity, so this takes the allocation over.
        Self { blob: blob.into(), large: None }
    }

    /// Keeps a large body as the parts in which it was received.
    #[must_use]
    pub fn with_large_body(exchange: &[u8], routing_key: &[u8], properties: &[u8], body: Vec<Bytes>) -> Self {
        Self { large: Some(Arc::new(body)), ..Self::new(exchange, routing_key, properties, &[]) }
    }

    /// The same message with other properties; a large body is shared, not copied.
    #[must_use]
    pub fn with_properties(&self, properties: &[u8]) -> Self {
        self.readdressed(self.exchange(), self.routing_key(), properties, self.marks())
    }

    /// The same body on another way; a large one is shared, not copied.
    #[must_use]
    pub fn readdressed(&self, exchange: &[u8], routing_key: &[u8], properties: &[u8], marks: Marks) -> Self {
        Self { large: self.large.clone(), ..Self::marked(exchange, routing_key, properties, self.small_body(), marks) }
    }

    #[must_use]
    pub fn marks(&self) -> Marks {
        let byte = self.blob[MARKS];
        Marks { died: byte & DIED != 0, blind_copies: byte & BLIND_COPIES != 0, keys_replaced: byte & KEYS_REPLACED != 0 }
    }

    /// Whether it has an expiration.
    #[must_use]
    pub fn can_expire(&self) -> bool {
        self.blob[MARKS] & CAN_EXPIRE != 0
    }

    /// All of it, taken apart once.
    #[inline]
    #[must_use]
    pub fn parts(&self) -> Parts<'_> {
        let (head, rest) = self.blob.split_first_chunk::<HEAD>().expect("a message has a head");
        let (exchange, rest) = rest.split_at(usize::from(head[EXCHANGE_LENGTH]));
        let (routing_key, rest) = rest.split_at(usize::from(head[EXCHANGE_LENGTH + 1]));
        let (properties, small_body) = rest.split_at(u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize);
        Parts { exchange, routing_key, properties, small_body }
    }

    #[must_use]
    pub fn exchange(&self) -> &[u8] {
        self.parts().exchange
    }

    #[must_use]
    pub fn routing_key(&self) -> &[u8] {
        self.parts().routing_key
    }

    /// Exchange and routing key with their lengths: what decides the route, beside the headers.
    #[must_use]
    pub fn address(&self) -> &[u8] {
        let end = HEAD + usize::from(self.blob[EXCHANGE_LENGTH]) + usize::from(self.blob[EXCHANGE_LENGTH + 1]);
        &self.blob[EXCHANGE_LENGTH..end]
    }

    #[must_use]
    pub fn properties(&self) -> Properties<'_> {
        Properties::checked(self.raw_properties())
    }

    /// Property flags and values as received.
    #[must_use]
    pub fn raw_properties(&self) -> &[u8] {
        self.parts().properties
    }

    /// The properties without what nobody is to see.
    #[must_use]
    pub fn visible_properties(&self) -> Cow<'_, [u8]> {
        let raw = self.raw_properties();
        if !self.marks().blind_copies {
            return Cow::Borrowed(raw);
        }
        let properties = Properties::checked(raw);
        let headers = table::without_entry(properties.headers().unwrap_or_default(), b"BCC");
        Cow::Owned(properties.with_headers_left(&headers))
    }

    /// The body when it is stored beside the envelope; empty for a large one.
    #[must_use]
    pub fn small_body(&self) -> &[u8] {
        self.parts().small_body
    }

    /// The parts of a large body; none when it is stored beside the envelope.
    #[must_use]
    pub fn large_body(&self) -> &[Bytes] {
        self.large.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Bytes of the body.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.small_body().len() + self.large_body().iter().map(Bytes::len).sum::<usize>()
    }

    /// Bytes of memory that this message holds, allocator overhead apart.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.blob.len() + self.large_body().iter().map(Bytes::len).sum::<usize>() + 16
    }

    /// The same message in an allocation of its own; a large body is shared.
    #[must_use]
    pub fn copied(&self) -> Self {
        Self { blob: Bytes::copy_from_slice(&self.blob), large: self.large.clone() }
    }

    /// Bytes of [`Message::store`].
    #[must_use]
    pub fn stored_len(&self) -> usize {
        self.blob.len() + self.large_body().iter().map(Bytes::len).sum::<usize>()
    }

    /// Appends the message as it is stored: what holds a small message in memory, and a large body behind it
    /// (docs/STORAGE.md).
    pub fn store(&self, out: &mut Vec<u8>) {
        out.reserve(self.stored_len());
        out.extend_from_slice(&self.blob);
        for part in self.large_body() {
            out.extend_from_slice(part);
        }
    }

    /// Reads back what [`Message::store`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_stored(stored: &[u8]) -> Option<Self> {
        let (head, rest) = stored.split_first_chunk::<HEAD>()?;
        let names = usize::from(head[EXCHANGE_LENGTH]) + usize::from(head[EXCHANGE_LENGTH + 1]);
        let properties_length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let properties = rest.get(names..names.checked_add(properties_length)?)?;
        let can_expire = Properties::check(properties).ok()?.can_expire();
        let known = DIED | BLIND_COPIES | KEYS_REPLACED | CAN_EXPIRE;
        if head[MARKS] & !known != 0 || (head[MARKS] & CAN_EXPIRE != 0) != can_expire {
            return None;
        }
        let body_at = HEAD + names + properties_length;
        let body = &stored[body_at..];
        if body.len() <= LARGE_BODY {
            return Some(Self { blob: Bytes::copy_from_slice(stored), large: None });
        }
        let large = Some(Arc::new(vec![Bytes::copy_from_slice(body)]));
        Some(Self { blob: Bytes::copy_from_slice(&stored[..body_at]), large })
    }

    /// Whether it asks to survive (behaviour B6).
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.properties().delivery_mode() == Some(2)
    }

    /// This holder lets go; bytes of memory that are free by that: none unless it was the last.
    #[must_use]
    pub fn freed(self) -> u64 {
        if self.blob.is_unique() { self.memory() as u64 } else { 0 }
    }
}

/// The length of a short string.
pub(super) fn short(n: usize) -> u8 {
    u8::try_from(n).expect("a short string has at most 255 bytes")
}
