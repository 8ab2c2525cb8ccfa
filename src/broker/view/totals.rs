//! A virtual host as a whole.

use std::ops::AddAssign;

use super::ChannelView;
use super::queue::memory;
use crate::broker::Broker;
use crate::broker::counters::{Amount, ByType, ChannelCounters, Churn, DeadLetters, Sizes};

/// How many there are, without connections of the node to itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    pub connections: usize,
    /// Open ones.
    pub channels: usize,
    /// With the default exchange.
    pub exchanges: usize,
    pub queues: usize,
    pub consumers: usize,
    /// Channels that have published.
    pub publishers: usize,
}

impl AddAssign for Objects {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.channels += other.channels;
        self.exchanges += other.exchanges;
        self.queues += other.queues;
        self.consumers += other.consumers;
        self.publishers += other.publishers;
    }
}

/// What open channels have before them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InChannels {
    /// Deliveries that are not settled.
    pub unacked: u64,
    /// Publishes without a confirm yet.
    pub unconfirmed: u64,
    /// Publishes in transactions.
    pub uncommitted: u64,
    /// Messages acknowledged in transactions.
    pub acks_uncommitted: u64,
    /// The sums of what channels allow consumers to come, and all of theirs together.
    pub prefetch: u64,
    pub global_prefetch: u64,
}

impl AddAssign for InChannels {
    fn add_assign(&mut self, other: Self) {
        self.unacked += other.unacked;
        self.unconfirmed += other.unconfirmed;
        self.uncommitted += other.uncommitted;
        self.acks_uncommitted += other.acks_uncommitted;
        self.prefetch += other.prefetch;
        self.global_prefetch += other.global_prefetch;
    }
}

impl From<ChannelView> for InChannels {
    fn from(channel: ChannelView) -> Self {
        Self {
            unacked: channel.unacked as u64,
            unconfirmed: channel.unconfirmed,
            uncommitted: channel.uncommitted as u64,
            acks_uncommitted: channel.acks_uncommitted as u64,
            prefetch: channel.prefetch_count.into(),
            global_prefetch: channel.global_prefetch_count.into(),
        }
    }
}

/// Everything in a virtual host taken together; those of several can be added. What is counted includes what was counted by
/// queues and channels that are no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub objects: Objects,
    pub ready: Amount,
    pub unacked: Amount,
    pub persistent: Amount,
    pub in_memory: Amount,
    pub paged_out: Amount,
    /// By channels: RabbitMQ's message_stats.
    pub messages: ChannelCounters,
    /// By queues of each type.
    pub queues: ByType,
    /// Of messages published.
    pub sizes: Sizes,
    pub churn: Churn,
    pub dead_letters: DeadLetters,
    /// Bytes of messages and their entries.
    pub memory: u64,
    /// Bytes of memory that queues take with their messages, about: the sum of what their views say.
    pub queue_memory: u64,
    /// Of streams.
    pub segments: u64,
    pub channels: InChannels,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.ready += other.ready;
        self.unacked += other.unacked;
        self.persistent += other.persistent;
        self.in_memory += other.in_memory;
        self.paged_out += other.paged_out;
        self.messages += other.messages;
        self.queues += other.queues;
        self.sizes += other.sizes;
        self.churn += other.churn;
        self.dead_letters += other.dead_letters;
        self.memory += other.memory;
        self.queue_memory += other.queue_memory;
        self.segments += other.segments;
        self.channels += other.channels;
    }
}

impl Broker {
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            messages: self.gone.channels,
            queues: self.gone.queues,
            sizes: self.sizes,
            churn: self.churn,
            dead_letters: self.dead_letters,
            memory: self.memory,
            ..Totals::default()
        };
        for queue in self.queues.values() {
            let amounts = queue.amounts();
            totals.ready += amounts.ready;
            totals.unacked += amounts.unacked;
            totals.persistent += amounts.persistent;
            totals.in_memory += amounts.in_memory;
            totals.paged_out += amounts.paged_out;
            totals.queues.add(queue.kind, queue.counters);
            totals.queue_memory += memory(queue, amounts.in_memory);
            totals.segments += queue.stream.as_ref().map_or(0, |stream| stream.segments() as u64);
        }
        for (connection, number, channel) in self.all_channels() {
            let view = channel.view(connection, number);
            let counters = view.counters;
            if !self.is_own(connection) {
                totals.channels += view.into();
                totals.objects.channels += 1;
                totals.objects.publishers += usize::from(counters.publish > 0);
            }
            totals.messages += counters;
        }
        totals.objects.connections = self.all_connections().filter(|(id, _)| !self.is_own(*id)).count();
        totals.objects.exchanges = self.exchanges.len() + 1;
        totals.objects.queues = self.queues.len();
        totals.objects.consumers = self.consumers.len();
        totals
    }
}
