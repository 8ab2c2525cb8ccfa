//! What an x-recent-history exchange keeps: its last messages, for those that bind later (behaviour X21).

use std::collections::VecDeque;

use super::Published;
use crate::amqp::table::Value;
use crate::amqp::{AMQPValue, FieldTable, Message};
use crate::broker::error::{Error, erlang_term};

const LENGTH: &str = "x-recent-history-length";
const DEFAULT_LENGTH: usize = 20;
const NO_STORE: &str = "x-recent-history-no-store";

/// A message that is kept, with its CC and BCC keys.
#[derive(Clone, Debug)]
pub struct Kept {
    pub message: Message,
    pub more_keys: Vec<Vec<u8>>,
}

impl Kept {
    /// Bytes of memory beside the message.
    #[must_use]
    pub fn memory(&self) -> u64 {
        (size_of::<Self>() + self.more_keys.iter().map(|key| size_of::<Vec<u8>>() + key.len()).sum::<usize>()) as u64
    }
}

#[derive(Debug)]
pub struct RecentHistory {
    length: usize,
    /// The oldest first.
    kept: VecDeque<Kept>,
}

impl RecentHistory {
    pub(super) fn new(arguments: &FieldTable) -> Result<Self, Error> {
        // Unsigned integers are no integers here, as in RabbitMQ.
        let length = match arguments.inner().get(LENGTH) {
            None => Ok(DEFAULT_LENGTH),
            Some(AMQPValue::ShortShortInt(n)) => usize::try_from(*n).map_err(drop),
            Some(AMQPValue::ShortInt(n)) => usize::try_from(*n).map_err(drop),
            Some(AMQPValue::LongInt(n)) => usize::try_from(*n).map_err(drop),
            Some(AMQPValue::LongLongInt(n)) => usize::try_from(*n).map_err(drop),
            Some(_) => Err(()),
        };
        match (length, arguments.inner().get(LENGTH)) {
            (Err(()) | Ok(0), Some(value)) => {
                Err(Error::precondition(format!("Invalid argument {}, '{LENGTH}' must be a positive integer", erlang_term(value))))
            }
            (length, _) => Ok(Self { length: length.unwrap_or(DEFAULT_LENGTH), kept: VecDeque::new() }),
        }
    }

    /// Keeps a message, unless it asks not to be kept; returns whether it did.
    pub(in crate::broker) fn keep(&mut self, published: Published<'_>) -> Option<&Kept> {
        if published.message.properties().header(NO_STORE) == Some(Value::Bool(true)) {
            return None;
        }
        self.kept.push_back(Kept { message: published.message.clone(), more_keys: published.more_keys.to_vec() });
        self.kept.back()
    }

    /// Takes out the oldest message, if there are more than the exchange keeps.
    pub(in crate::broker) fn take_excess(&mut self) -> Option<Kept> {
        if self.kept.len() > self.length { self.kept.pop_front() } else { None }
    }

    /// The kept messages, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Kept> {
        self.kept.iter()
    }

    /// Takes all of them.
    pub(in crate::broker) fn drain(&mut self) -> VecDeque<Kept> {
        std::mem::take(&mut self.kept)
    }

    pub(in crate::broker) fn into_kept(self) -> VecDeque<Kept> {
        self.kept
    }
}
