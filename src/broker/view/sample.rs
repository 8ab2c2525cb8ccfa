//! The counters of everything at one moment, for who tells rates from how they change.

use std::sync::Arc;

use super::Totals;
use crate::broker::counters::{ChannelCounters, DeliveryCounters, ExchangeCounters, PublishCounters, QueueCounters};
use crate::broker::{Broker, ConnectionId, Pair};

/// A virtual host's counters. What has counted nothing yet is left out.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub totals: Totals,
    pub queues: Vec<QueueSample>,
    pub exchanges: Vec<(Arc<str>, ExchangeCounters)>,
    /// With the serial of their connection, and their number.
    pub channels: Vec<((u64, u16), ChannelCounters)>,
    /// All connections, by serial.
    pub connections: Vec<(u64, ConnectionId)>,
    /// Between channels and exchanges, channels and queues, exchanges and queues: where that is counted.
    pub published: Vec<Pair<PublishCounters>>,
    pub delivered: Vec<Pair<DeliveryCounters>>,
    pub routed: Vec<Pair<u64>>,
}

#[derive(Clone, Debug)]
pub struct QueueSample {
    pub name: Arc<str>,
    pub counters: QueueCounters,
    /// Messages.
    pub ready: u64,
    pub unacked: u64,
}

impl Broker {
    #[must_use]
    pub fn sample(&self) -> Sample {
        let queues = self.queues.values().map(|queue| {
            let (ready, unacked) = match &queue.stream {
                Some(stream) => (stream.len() as u64, 0),
                None => (queue.ready.len() as u64, queue.unacked as u64),
            };
            (queue, ready, unacked)
        });
        let has_counted = |counters: QueueCounters, messages: u64| messages > 0 || counters != QueueCounters::default();
        let queues = queues
            .filter(|(queue, ready, unacked)| has_counted(queue.counters, ready + unacked))
            .map(|(queue, ready, unacked)| QueueSample { name: Arc::clone(&queue.name), counters: queue.counters, ready, unacked });
        let exchanges = self.exchanges.values().map(|exchange| (Arc::clone(&exchange.name), exchange.counters));
        let default = ("".into(), self.default_exchange);
        let serial = |id: ConnectionId| self.connections.get(id.index()).and_then(Option::as_ref).map_or(0, |c| c.serial);
        let pairs = self.breakdown.as_deref();
        Sample {
            totals: self.totals(),
            queues: queues.collect(),
            exchanges: exchanges.chain([default]).filter(|(_, counters)| *counters != ExchangeCounters::default()).collect(),
            channels: self
                .all_channels()
                .map(|(connection, number, channel)| ((serial(connection), number), channel.counters()))
                .filter(|(_, counters)| *counters != ChannelCounters::default())
                .collect(),
            connections: self.all_connections().map(|(id, connection)| (connection.serial, id)).collect(),
            published: pairs.map_or_else(Vec::new, |pairs| pairs.published.all().collect()),
            delivered: pairs.map_or_else(Vec::new, |pairs| pairs.delivered.all().collect()),
            routed: pairs.map_or_else(Vec::new, |pairs| pairs.routed.all().collect()),
        }
    }
}
