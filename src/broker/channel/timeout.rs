//! The consumer timeout: a delivery that is not settled in time (behaviour V17).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::settle::Outcome;
use super::unacked::Delivery;
use crate::broker::queue::{ConsumerId, QueueId};
use crate::broker::timers::Due;
use crate::broker::{At, Broker, Effects, Error, Timestamp};

impl Broker {
    /// A deadline of a channel has come: of its deliveries, or of one that was settled since.
    pub(in crate::broker) fn settlement_is_due(&mut self, at: At, effects: &mut Effects) {
        let now = self.now;
        if !self.channel(at).is_some_and(|channel| channel.settlement.is_due(now)) {
            return;
        }
        let Some(over) = self.oldest_deadline(at) else { return };
        if over > now {
            self.arm_settlement(at, over);
            return;
        }
        let unacked = &self.open_channel(at).unacked;
        let queue = unacked.iter().map(|delivery| delivery.queue).collect::<Vec<_>>();
        let timeouts = queue.into_iter().filter_map(|queue| self.queues.get(queue)?.effective.consumer_timeout);
        if let Some(timeout) = timeouts.min() {
            self.time_out(at, timeout, effects);
        }
    }

    /// Ends the channel, or where the release does so the consumers alone, whose deliveries were not settled in time.
    fn time_out(&mut self, at: At, timeout: u64, effects: &mut Effects) {
        let cancels = self.settings.profile.consumer_timeout_cancels;
        let told = self.connection(at.connection).is_some_and(|connection| connection.opened.capabilities.consumer_cancel_notify);
        if !cancels || !told {
            // The row of RabbitMQ 4.3 has -1 here, whatever was configured.
            let used = if cancels { "-1".to_owned() } else { timeout.to_string() };
            self.refuse(at, (0, 0), &Error::delivery_timed_out(at.channel, &used), effects);
            return;
        }
        let now = self.now;
        let is_over = |broker: &Self, queue: QueueId, delivered: Timestamp| {
            let timeout = broker.queues.get(queue).and_then(|queue| queue.effective.consumer_timeout);
            timeout.is_some_and(|timeout| delivered.after(timeout) <= now)
        };
        let unacked = self.open_channel(at).unacked.take_all();
        let late: BTreeSet<Option<ConsumerId>> =
            unacked.iter().filter(|d| is_over(self, d.queue, d.delivered)).map(|delivery| delivery.consumer).collect();
        // What a consumer that is cancelled holds goes back; what was got without one, only when it is late itself.
        let (returned, kept): (Vec<Delivery>, Vec<Delivery>) = unacked.into_iter().partition(|delivery| match delivery.consumer {
            Some(_) => late.contains(&delivery.consumer),
            None => is_over(self, delivery.queue, delivery.delivered),
        });
        self.open_channel(at).unacked.restore(kept);
        let mut left: Vec<QueueId> = Vec::new();
        for consumer in late.into_iter().flatten() {
            let id = self.consumers.get(consumer).map(|consumer| consumer.queue);
            if let Some(queue) = id.and_then(|queue| self.queues.get_mut(queue)) {
                queue.consumers.remove(consumer);
                let name = Arc::clone(&queue.name);
                left.extend(id);
                self.cancel_notify(consumer, &name, effects);
            }
        }
        let queues: BTreeSet<QueueId> = returned.iter().map(|delivery| delivery.queue).collect();
        self.requeue(at, returned, Outcome::Requeue, effects);
        for queue in left {
            self.consumer_has_left(queue, effects);
        }
        for queue in queues {
            self.pump(queue, effects);
        }
        if let Some(oldest) = self.oldest_deadline(at) {
            self.arm_settlement(at, oldest);
        }
    }

    fn oldest_deadline(&mut self, at: At) -> Option<Timestamp> {
        let unacked = std::mem::take(&mut self.channel(at)?.unacked);
        let deadlines = unacked.iter().filter_map(|delivery| {
            let timeout = self.queues.get(delivery.queue)?.effective.consumer_timeout?;
            Some(delivery.delivered.after(timeout))
        });
        let oldest = deadlines.min();
        self.open_channel(at).unacked = unacked;
        oldest
    }

    pub(super) fn arm_settlement(&mut self, at: At, deadline: Timestamp) {
        let slot = self.connections.get_mut(at.connection.index()).and_then(Option::as_mut);
        if let Some(channel) = slot.and_then(|connection| connection.channels.get_mut(&at.channel)) {
            self.timers.arm(&mut channel.settlement, deadline, Due::Settlement(at));
        }
    }
}
