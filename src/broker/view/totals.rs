//! A virtual host as a whole.

use std::ops::AddAssign;

use crate::broker::Broker;
use crate::broker::counters::{Amount, ByType, ChannelCounters, Churn, DeadLetters};

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
    pub churn: Churn,
    pub dead_letters: DeadLetters,
    /// Bytes of messages and their entries.
    pub memory: u64,
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
        self.churn += other.churn;
        self.dead_letters += other.dead_letters;
        self.memory += other.memory;
    }
}

impl Broker {
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            messages: self.gone.channels,
            queues: self.gone.queues,
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
        }
        for (id, _, channel) in self.all_channels() {
            let counters = channel.counters();
            if !self.is_own(id) {
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
