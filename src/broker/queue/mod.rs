//! A queue: ready messages in order, its consumers in turn, its bounds. Knows no channel and no connection's socket.

pub mod arguments;
mod consumers;
mod ready;

use std::sync::Arc;

use slotmap::new_key_type;

pub use consumers::{Consumer, ConsumerId, Consumers};
pub use ready::{Entry, Ready};

use super::effects::ConnectionId;
use super::exchange::Sources;
use crate::amqp::FieldTable;
use arguments::Bounds;

new_key_type! {
    /// A queue of one virtual host.
    pub struct QueueId;
}

/// What a client says about a queue when it declares it, beside the name and the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
}

#[derive(Debug)]
pub struct Queue {
    pub name: Arc<str>,
    pub durable: bool,
    pub auto_delete: bool,
    /// The connection that declared it exclusive.
    pub owner: Option<ConnectionId>,
    pub arguments: FieldTable,
    pub bounds: Bounds,
    pub ready: Ready,
    pub consumers: Consumers,
    /// Messages delivered and not settled yet, and the bytes of their bodies.
    pub unacked: usize,
    pub unacked_bytes: u64,
    /// Exchanges that have a binding to this queue.
    pub sources: Sources,
}

impl Queue {
    #[must_use]
    pub fn new(name: Arc<str>, flags: Flags, owner: Option<ConnectionId>, arguments: FieldTable, bounds: Bounds) -> Self {
        Self {
            name,
            durable: flags.durable,
            auto_delete: flags.auto_delete,
            owner,
            arguments,
            bounds,
            ready: Ready::default(),
            consumers: Consumers::default(),
            unacked: 0,
            unacked_bytes: 0,
            sources: Sources::default(),
        }
    }

    /// Whether one more message of this size would exceed a bound (behaviour Q14, reject-publish).
    #[must_use]
    pub fn would_overflow(&self, body_len: usize) -> bool {
        self.bounds.exceeded(self.ready.len() as u64 + 1, self.ready.bytes() + body_len as u64)
    }

    /// Whether the head has to go (behaviour Q13: ready messages and the bytes of their bodies count).
    #[must_use]
    pub fn overflows(&self) -> bool {
        self.bounds.exceeded(self.ready.len() as u64, self.ready.bytes())
    }
}
