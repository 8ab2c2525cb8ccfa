//! What is counted between channels, exchanges and queues: all empty unless [`crate::broker::Settings::detailed_rates`].

use std::sync::Arc;

use crate::broker::breakdown::{Breakdown, Pair, Published};
use crate::broker::counters::{DeliveryCounters, PublishCounters};
use crate::broker::queue::QueueId;
use crate::broker::{At, Broker, ConnectionId};

/// Pairs by the name of their other end, in the order of these.
pub type ByName<C> = Vec<(Arc<str>, Pair<C>)>;
/// Pairs by the channel that is their other end; without those of the node's connections to itself.
pub type ByChannel<C> = Vec<((ConnectionId, u16), Pair<C>)>;

impl Broker {
    /// What a channel has published, by exchange.
    #[must_use]
    pub fn published_by_channel(&self, connection: ConnectionId, channel: u16) -> ByName<PublishCounters> {
        self.named(|of| of.published.of_first(At { connection, channel }), Self::name_of_exchange)
    }

    /// What a channel was given, by queue.
    #[must_use]
    pub fn delivered_to_channel(&self, connection: ConnectionId, channel: u16) -> ByName<DeliveryCounters> {
        self.named(|of| of.delivered.of_first(At { connection, channel }), Self::name_of_queue)
    }

    /// How many messages came to a queue, by the exchange that they were published to.
    #[must_use]
    pub fn routed_to_queue(&self, queue: &str) -> ByName<u64> {
        let Some(id) = self.queue_names.get(queue).copied() else { return Vec::new() };
        self.named(|of| of.routed.of_second(id), Self::name_of_exchange)
    }

    /// How many messages published to an exchange came to each queue.
    #[must_use]
    pub fn routed_by_exchange(&self, exchange: &str) -> ByName<u64> {
        let Some(id) = self.published_to(exchange) else { return Vec::new() };
        self.named(|of| of.routed.of_first(id), Self::name_of_queue)
    }

    /// What a queue has given to each channel.
    #[must_use]
    pub fn delivered_by_queue(&self, queue: &str) -> ByChannel<DeliveryCounters> {
        let Some(id) = self.queue_names.get(queue).copied() else { return Vec::new() };
        self.by_channel(|of| of.delivered.of_second(id))
    }

    /// What each channel has published to an exchange.
    #[must_use]
    pub fn published_to_exchange(&self, exchange: &str) -> ByChannel<PublishCounters> {
        let Some(id) = self.published_to(exchange) else { return Vec::new() };
        self.by_channel(|of| of.published.of_second(id))
    }

    fn named<'a, K, C, I: Iterator<Item = (K, Pair<C>)>>(
        &'a self,
        pairs: impl FnOnce(&'a Breakdown) -> I,
        name: impl Fn(&Self, K) -> Option<Arc<str>>,
    ) -> ByName<C> {
        let pairs = self.breakdown.as_deref().map(pairs).into_iter().flatten();
        let mut all: ByName<C> = pairs.filter_map(|(key, pair)| Some((name(self, key)?, pair))).collect();
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        all
    }

    fn by_channel<'a, C, I: Iterator<Item = (At, Pair<C>)>>(&'a self, pairs: impl FnOnce(&'a Breakdown) -> I) -> ByChannel<C> {
        let pairs = self.breakdown.as_deref().map(pairs).into_iter().flatten();
        pairs.filter(|(at, _)| !self.is_own(at.connection)).map(|(at, pair)| ((at.connection, at.channel), pair)).collect()
    }

    fn name_of_exchange(&self, id: Published) -> Option<Arc<str>> {
        id.map_or_else(|| Some("".into()), |id| self.exchanges.get(id).map(|exchange| Arc::clone(&exchange.name)))
    }

    fn name_of_queue(&self, id: QueueId) -> Option<Arc<str>> {
        self.queues.get(id).map(|queue| Arc::clone(&queue.name))
    }

    fn published_to(&self, exchange: &str) -> Option<Published> {
        if exchange.is_empty() { Some(None) } else { self.exchange_names.get(exchange).map(|id| Some(*id)) }
    }
}
