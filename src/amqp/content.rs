//! A published message: exchange, routing key, properties and body as received, in one allocation when it is small.

use std::sync::Arc;

use bytes::Bytes;

use super::properties::Properties;

/// Bodies up to this many bytes are stored beside their envelope in one right-sized allocation and copied into
/// the output of a connection; larger ones travel by reference from the read to the vectored write.
pub const LARGE_BODY: usize = 8 * 1024;

/// Properties length (u32, little-endian), exchange length, routing key length.
const HEAD: usize = 6;
const EXCHANGE_LENGTH: usize = 4;

/// A message, cheap to clone; immutable once published.
#[derive(Clone, Debug)]
pub struct Message {
    /// HEAD, exchange, routing key, properties, and the body unless it is large.
    blob: Bytes,
    large: Option<Arc<Vec<Bytes>>>,
}

/// A complete `basic.publish`: method, content header and body.
#[derive(Debug)]
pub struct Publish {
    pub mandatory: bool,
    pub immediate: bool,
    /// The announced body size, in bytes, when it is over the limit; the body was thrown away then.
    pub oversize: Option<u64>,
    pub message: Message,
}

impl Message {
    /// Copies everything into one allocation. `exchange` and `routing_key` are short strings (255 bytes at most).
    #[must_use]
    pub fn new(exchange: &[u8], routing_key: &[u8], properties: &[u8], body: &[u8]) -> Self {
        let mut blob = Vec::with_capacity(HEAD + exchange.len() + routing_key.len() + properties.len() + body.len());
        blob.extend_from_slice(&u32::try_from(properties.len()).unwrap_or(u32::MAX).to_le_bytes());
        blob.extend_from_slice(&[short(exchange.len()), short(routing_key.len())]);
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
        Self { large: self.large.clone(), ..Self::new(self.exchange(), self.routing_key(), properties, self.small_body()) }
    }

    fn lengths(&self) -> (usize, usize, usize) {
        let blob = &self.blob;
        let properties = u32::from_le_bytes([blob[0], blob[1], blob[2], blob[3]]);
        (usize::from(blob[EXCHANGE_LENGTH]), usize::from(blob[EXCHANGE_LENGTH + 1]), properties as usize)
    }

    #[must_use]
    pub fn exchange(&self) -> &[u8] {
        let (exchange, ..) = self.lengths();
        &self.blob[HEAD..HEAD + exchange]
    }

    #[must_use]
    pub fn routing_key(&self) -> &[u8] {
        let (exchange, key, _) = self.lengths();
        &self.blob[HEAD + exchange..HEAD + exchange + key]
    }

    /// Exchange and routing key with their lengths: what decides the route, beside the headers.
    #[must_use]
    pub fn address(&self) -> &[u8] {
        let (exchange, key, _) = self.lengths();
        &self.blob[EXCHANGE_LENGTH..HEAD + exchange + key]
    }

    #[must_use]
    pub fn properties(&self) -> Properties<'_> {
        Properties::checked(self.raw_properties())
    }

    /// Property flags and values as received.
    #[must_use]
    pub fn raw_properties(&self) -> &[u8] {
        let (exchange, key, properties) = self.lengths();
        let at = HEAD + exchange + key;
        &self.blob[at..at + properties]
    }

    /// The body when it is stored beside the envelope; empty for a large one.
    #[must_use]
    pub fn small_body(&self) -> &[u8] {
        let (exchange, key, properties) = self.lengths();
        &self.blob[HEAD + exchange + key + properties..]
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

    /// Whether nobody else holds this message: dropping it frees its memory.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.blob.is_unique()
    }
}

fn short(n: usize) -> u8 {
    u8::try_from(n).expect("a short string has at most 255 bytes")
}
