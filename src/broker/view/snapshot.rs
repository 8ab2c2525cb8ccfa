//! Read-only views, exact at the moment they are taken: for tests that check invariants, and for management.

use crate::broker::{Broker, ConnectionId};

/// What a queue looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSnapshot {
    pub name: String,
    pub ready: usize,
    pub ready_bytes: u64,
    pub unacked: usize,
    pub consumers: usize,
    pub max_length: Option<u64>,
    /// Bodies of the ready messages, head first.
    pub ready_bodies: Vec<Vec<u8>>,
}

/// What a channel holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSnapshot {
    pub connection: ConnectionId,
    pub channel: u16,
    pub unacked: usize,
}

impl Broker {
    /// Every queue, sorted by name.
    #[must_use]
    pub fn queue_snapshots(&self) -> Vec<QueueSnapshot> {
        let mut all: Vec<QueueSnapshot> = self
            .queues
            .values()
            .map(|queue| QueueSnapshot {
                name: queue.name.to_string(),
                ready: queue.message_count(),
                ready_bytes: queue.stream.as_ref().map_or(queue.ready.bytes(), |stream| stream.bytes()),
                unacked: queue.unacked,
                consumers: queue.consumers.len(),
                max_length: queue.effective.max_length,
                ready_bodies: queue.messages().map(body).collect(),
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Every channel, by connection and number.
    #[must_use]
    pub fn channel_snapshots(&self) -> Vec<ChannelSnapshot> {
        let mut all = Vec::new();
        for (id, connection) in (0u32..).zip(&self.connections) {
            for (&channel, state) in connection.iter().flat_map(|c| &c.channels) {
                let connection = ConnectionId(id);
                all.push(ChannelSnapshot { connection, channel, unacked: state.unacked.len() });
            }
        }
        all
    }

    /// The names of all exchanges but the default one, sorted.
    #[must_use]
    pub fn exchange_names(&self) -> Vec<String> {
        let mut all: Vec<String> = self.exchanges.values().map(|exchange| exchange.name.to_string()).collect();
        all.sort();
        all
    }
}

fn body(message: &crate::amqp::Message) -> Vec<u8> {
    let mut body = message.small_body().to_vec();
    for part in message.large_body() {
        body.extend_from_slice(part);
    }
    body
}
