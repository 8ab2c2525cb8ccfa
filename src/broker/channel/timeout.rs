//! The consumer timeout: a delivery that is not settled in time (behaviour V17).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::settle::Outcome;
use super::unacked::Delivery;
use crate::broker::journal::reason;
use crate::broker::queue::{ConsumerId, QueueId};
use crate::broker::timers::Due;
use crate::broker::{At, Broker, Effects, Error, Fired, Timestamp};

impl Broker {
    /// A deadline of a channel has come: of its deliveries, or of one that was settled since.
    pub(in crate::broker) fn settlement_is_due(&mut self, at: At, effects: &mut Effects) {
        let now = self.now;
        if !self.channel(at).is_some_and(|channel| channel.settlement.is_due(now)) {
            return;
        }
        match self.next_late(at) {
            Some((over, _)) if over > now => self.arm_settlement(at, over),
            Some((_, timeout)) => {
                self.note_late(at);
                self.time_out(at, timeout, effects);
            }
            None => {}
        }
    }

    /// Says of which queue the delivery is that is late.
    fn note_late(&mut self, at: At) {
        let now = self.now;
        let slot = self.connections.get(at.connection.index()).and_then(Option::as_ref);
        let deliveries = slot.and_then(|connection| connection.channels.get(&at.channel)).map(|channel| &channel.unacked);
        let late =
            deliveries.and_then(|unacked| unacked.iter().find(|delivery| self.late_at(delivery).is_some_and(|(over, _)| over <= now)));
        if let Some(name) = late.and_then(|delivery| self.queues.get(delivery.queue)).map(|queue| Arc::clone(&queue.name)) {
            self.fired(Fired::ConsumerTimeout, &name, 1);
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
        let is_over = |broker: &Self, delivery: &Delivery| broker.late_at(delivery).is_some_and(|(over, _)| over <= now);
        let unacked = self.open_channel(at).unacked.take_all();
        let late: BTreeSet<Option<ConsumerId>> =
            unacked.iter().filter(|delivery| is_over(self, delivery)).map(|delivery| delivery.consumer).collect();
        // What a consumer that is cancelled holds goes back; what was got without one, only when it is late itself.
        let (returned, kept): (Vec<Delivery>, Vec<Delivery>) = unacked.into_iter().partition(|delivery| match delivery.consumer {
            Some(_) => late.contains(&delivery.consumer),
            None => is_over(self, delivery),
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
        self.journal_why(reason::CONSUMER_TIMEOUT);
        let queues: BTreeSet<QueueId> = returned.iter().map(|delivery| delivery.queue).collect();
        self.requeue(at, returned, Outcome::Requeue, effects);
        for queue in left {
            self.consumer_has_left(queue, effects);
        }
        for queue in queues {
            self.pump(queue, effects);
        }
        if let Some((next, _)) = self.next_late(at) {
            self.arm_settlement(at, next);
        }
    }

    /// When a delivery is late, and the timeout that says so, in milliseconds.
    fn late_at(&self, delivery: &Delivery) -> Option<(Timestamp, u64)> {
        let timeout = self.queues.get(delivery.queue)?.effective.consumer_timeout?;
        Some((delivery.delivered.after(timeout), timeout))
    }

    /// The same for the delivery of a channel that is late first.
    fn next_late(&self, at: At) -> Option<(Timestamp, u64)> {
        let connection = self.connections.get(at.connection.index())?.as_ref()?;
        let unacked = &connection.channels.get(&at.channel)?.unacked;
        unacked.iter().filter_map(|delivery| self.late_at(delivery)).min()
    }

    pub(super) fn arm_settlement(&mut self, at: At, deadline: Timestamp) {
        let slot = self.connections.get_mut(at.connection.index()).and_then(Option::as_mut);
        if let Some(channel) = slot.and_then(|connection| connection.channels.get_mut(&at.channel)) {
            self.timers.arm(&mut channel.settlement, deadline, Due::Settlement(at));
        }
    }
}
