//! A content being put together: its method, then its header, then its bodies.

use bytes::{BufMut, Bytes, BytesMut};

use super::content::Fate;
use super::content::{LARGE_BODY, Message, Publish};

/// Large bodies are kept in parts of this many bytes, so that an announcement alone costs no memory.
const BODY_PART: usize = 256 * 1024;

/// A content whose frames have not all arrived.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) mandatory: bool,
    pub(super) immediate: bool,
    pub(super) exchange: Vec<u8>,
    pub(super) routing_key: Vec<u8>,
    pub(super) properties: Vec<u8>,
    /// `None` until the content header has come.
    pub(super) body_size: Option<u64>,
    pub(super) received: u64,
    pub(super) oversize: bool,
    pub(super) small: Vec<u8>,
    pub(super) parts: Vec<Bytes>,
    pub(super) part: BytesMut,
}

impl Content {
    /// Bytes held.
    pub(super) fn memory(&self) -> usize {
        self.small.len() + self.part.len() + self.parts.iter().map(Bytes::len).sum::<usize>()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.body_size == Some(self.received)
    }

    /// Bytes of body that are still to come; `None` until the content header has come.
    pub(super) fn left(&self) -> Option<u64> {
        self.body_size.map(|size| size - self.received)
    }

    /// Adds what has arrived of the body, no more than was announced; returns how many bytes of it are kept.
    pub(super) fn take_body(&mut self, mut bytes: &[u8]) -> usize {
        let size = self.body_size.unwrap_or(0);
        let kept = bytes.len();
        if self.oversize {
            self.received += bytes.len() as u64;
            return 0;
        }
        if size <= LARGE_BODY as u64 {
            self.received += bytes.len() as u64;
            self.small.extend_from_slice(bytes);
            return kept;
        }
        while !bytes.is_empty() {
            if self.part.capacity() == 0 {
                let left = usize::try_from(size - self.received).unwrap_or(BODY_PART);
                self.part = BytesMut::with_capacity(left.min(BODY_PART));
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.part.capacity() - self.part.len()));
            self.part.put_slice(now);
            self.received += now.len() as u64;
            if self.part.len() == self.part.capacity() || self.received == size {
                self.parts.push(std::mem::take(&mut self.part).freeze());
            }
            bytes = later;
        }
        kept
    }

    pub(super) fn into_publish(self) -> Publish {
        let (exchange, key, properties) = (&self.exchange, &self.routing_key, &self.properties);
        let message = if self.parts.is_empty() {
            Message::new(exchange, key, properties, &self.small)
        } else {
            Message::with_large_body(exchange, key, properties, self.parts)
        };
        let oversize = self.body_size.filter(|_| self.oversize);
        Publish { mandatory: self.mandatory, immediate: self.immediate, oversize, fate: Fate::default(), message }
    }
}
