//! What is counted for those who watch: numbers that only rise, with RabbitMQ's names and meanings.
//!
//! Queues, exchanges and channels count in their own memory, which what is counted touches anyway. When one of them goes, its
//! numbers go to the account of those that are gone, so that a total is the sum of what is there and what is gone.

use std::iter::Sum;
use std::ops::AddAssign;

use super::dead_letter::Reason;
use super::queue::QueueType;

/// How many messages, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub messages: u64,
    /// Of the bodies.
    pub bytes: u64,
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        let mut sum = Self::default();
        all.for_each(|amount| sum += amount);
        sum
    }
}

/// Declares a struct of counters, each known by its name.
macro_rules! counters {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl $name {
            /// All of them by name.
            pub fn iter(self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field)),*].into_iter()
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

counters! {
    /// What a queue counts, and what queues of one type count together.
    QueueCounters {
        /// Messages that clients have published and that were routed to it, those included that it refused.
        publish,
        /// Messages that came in another way: dead letters, delayed messages, traces, events. RabbitMQ does not count them.
        forwarded,
        /// Deliveries to consumers that acknowledge.
        deliver,
        deliver_no_ack,
        /// Answers to basic.get, to be acknowledged.
        get,
        get_no_ack,
        get_empty,
        /// Messages acknowledged; not those that were rejected.
        ack,
        /// Those of all deliveries that had `redelivered` set.
        redeliver,
        /// Messages read from the disk, and written to it: none without a data directory.
        disk_reads,
        disk_writes,
    }
}

counters! {
    /// What an exchange counts.
    ExchangeCounters {
        /// Messages that clients have published to it.
        publish_in,
        /// For each of those, the queues that it was routed to, through other exchanges as well.
        publish_out,
    }
}

counters! {
    /// What a channel counts, and what all channels count together.
    ChannelCounters {
        /// Messages published; in a transaction they count when it is committed.
        publish,
        /// Those of them whose publisher waits to hear of them: of confirms, or of the commit.
        publish_confirm,
        /// Messages confirmed with basic.ack.
        confirm,
        /// Unroutable messages that were published as mandatory.
        return_unroutable,
        /// Unroutable messages that were not.
        drop_unroutable,
        deliver,
        deliver_no_ack,
        get,
        get_no_ack,
        get_empty,
        ack,
        redeliver,
    }
}

counters! {
    /// What a channel counts of one exchange.
    PublishCounters {
        publish,
        confirm,
        return_unroutable,
        drop_unroutable,
    }
}

counters! {
    /// What a channel counts of one queue, and the queue of it.
    DeliveryCounters {
        deliver,
        deliver_no_ack,
        get,
        get_no_ack,
        get_empty,
        ack,
        redeliver,
    }
}

/// Who counts how messages are handed out.
macro_rules! handing_out {
    ($($name:ident),*) => {
        $(impl $name {
            /// Messages that clients were given in any way.
            #[must_use]
            pub fn deliver_get(self) -> u64 {
                self.deliver + self.deliver_no_ack + self.get + self.get_no_ack
            }
        })*
    };
}

handing_out!(QueueCounters, ChannelCounters, DeliveryCounters);

counters! {
    /// What has come and gone.
    Churn {
        connection_created,
        connection_closed,
        channel_created,
        channel_closed,
        /// Declarations by clients, of queues that were there already as well; passive ones do not count.
        queue_declared,
        queue_created,
        queue_deleted,
    }
}

/// How large the messages are that clients have published, in RabbitMQ's classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Of each class; the last one is above all bounds.
    counts: [u64; 9],
    /// Of all bodies together.
    pub bytes: u64,
}

impl Sizes {
    /// The largest body of each class but the last one, in bytes.
    pub const BOUNDS: [u64; 8] = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000];

    pub(super) fn add(&mut self, bytes: u64) {
        let class = Self::BOUNDS.iter().position(|bound| bytes <= *bound).unwrap_or(Self::BOUNDS.len());
        self.counts[class] += 1;
        self.bytes += bytes;
    }

    /// How many messages are no larger than each bound, and at the end how many there are.
    #[must_use]
    pub fn up_to(&self) -> [u64; 9] {
        let mut sum = 0;
        self.counts.map(|count| {
            sum += count;
            sum
        })
    }
}

impl AddAssign for Sizes {
    fn add_assign(&mut self, other: Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(mine, other)| *mine += other);
        self.bytes += other.bytes;
    }
}

/// What becomes of a message that dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Nothing: its queue has no dead-letter exchange, or one that is not there.
    Disabled,
    AtMostOnce,
    AtLeastOnce,
}

impl Strategy {
    pub const ALL: [Self; 3] = [Self::Disabled, Self::AtMostOnce, Self::AtLeastOnce];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::AtMostOnce => "at_most_once",
            Self::AtLeastOnce => "at_least_once",
        }
    }
}

/// Messages that have died, by the type of their queue, the strategy and the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadLetters {
    counts: [[[u64; 4]; 3]; 3],
    /// Those under at-least-once of which a queue has taken a copy.
    pub confirmed: u64,
}

impl DeadLetters {
    #[must_use]
    pub fn count(&self, kind: QueueType, strategy: Strategy, reason: Reason) -> u64 {
        self.counts[kind as usize][strategy as usize][reason as usize]
    }

    /// For this reason, all together.
    #[must_use]
    pub fn of(&self, reason: Reason) -> u64 {
        self.counts.iter().flatten().map(|by_reason| by_reason[reason as usize]).sum()
    }

    pub(super) fn add(&mut self, kind: QueueType, strategy: Strategy, reason: Reason) {
        self.counts[kind as usize][strategy as usize][reason as usize] += 1;
    }
}

impl AddAssign for DeadLetters {
    fn add_assign(&mut self, other: Self) {
        let mine = self.counts.iter_mut().flatten().flatten();
        mine.zip(other.counts.iter().flatten().flatten()).for_each(|(mine, other)| *mine += other);
        self.confirmed += other.confirmed;
    }
}

/// Counters of queues by type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByType([QueueCounters; 3]);

impl ByType {
    #[must_use]
    pub fn of(&self, kind: QueueType) -> QueueCounters {
        self.0[kind as usize]
    }

    /// All types together.
    #[must_use]
    pub fn sum(&self) -> QueueCounters {
        let mut sum = QueueCounters::default();
        self.0.iter().for_each(|counters| sum += *counters);
        sum
    }

    pub(super) fn add(&mut self, kind: QueueType, counters: QueueCounters) {
        self.0[kind as usize] += counters;
    }
}

impl AddAssign for ByType {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, other)| *mine += other);
    }
}

/// What was counted by those that are no more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gone {
    pub(super) queues: ByType,
    pub(super) channels: ChannelCounters,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_in_its_class() {
        let mut sizes = Sizes::default();
        for bytes in [0, 100, 101, 1_000, 10_000_001, 100_000_001] {
            sizes.add(bytes);
        }
        assert_eq!(sizes.up_to(), [2, 4, 4, 4, 4, 4, 5, 5, 6]);
        assert_eq!(sizes.bytes, 110_001_203);
    }
}
