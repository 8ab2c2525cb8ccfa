//! basic.get (behaviour B8): one message, whatever the prefetch.

use super::unacked::Delivery;
use crate::amqp::encoder::{Delivered, Recipient};
use crate::amqp::{AMQPClass, basic, method};
use crate::broker::access::{Permission, Resource};
use crate::broker::delivery::delivered_properties;
use crate::broker::journal::Given;
use crate::broker::queue::{QueueId, QueueType};
use crate::broker::{At, Broker, Effects, Error};

impl Broker {
    pub(super) fn basic_get(&mut self, at: At, get: &basic::Get, effects: &mut Effects) -> Result<(), Error> {
        let name = self.expand_queue_name(at, get.queue.as_str())?;
        self.check_permission(at, Permission::Read, Resource::Queue(&name))?;
        let id = self.queue_for(at, &name)?;
        self.check_gettable(id)?;
        if self.journal.is_some() {
            self.journal_consumes(at, id, false);
        }
        self.note_used(id);
        self.get_from(at, id, get.no_ack, effects);
        Ok(())
    }

    /// The head of the queue has come from the disk.
    pub(in crate::broker) fn resume_get(&mut self, at: At, (id, name): (QueueId, &str), no_ack: bool, effects: &mut Effects) {
        // Its channel may have been closed meanwhile: by the consumer timeout.
        if self.channel(at).is_none_or(|channel| channel.closing) {
            return;
        }
        if self.queues.contains_key(id) {
            self.get_from(at, id, no_ack, effects);
        } else {
            self.refuse(at, method::BASIC_GET, &Error::no_queue(&self.vhost, name), effects);
        }
    }

    fn get_from(&mut self, at: At, id: QueueId, no_ack: bool, effects: &mut Effects) {
        let kind = self.queues[id].kind;
        let Some(entry) = self.take_head(id) else {
            if self.queues[id].ready.is_empty() {
                self.queues[id].counters.get_empty += 1;
                self.open_channel(at).counters.get_empty += 1;
                if let Some(breakdown) = &mut self.breakdown {
                    breakdown.get_empty(at, id);
                }
                self.reply(at, effects, &AMQPClass::Basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {})));
            } else {
                self.stall(at, id, no_ack, effects);
            }
            return;
        };
        if Self::write_delivery(&mut self.log, &mut self.queues[id], &entry, self.rounds) {
            effects.hold(at.connection);
        }
        let count = |broker: &Self| u32::try_from(broker.queues[id].ready.len()).unwrap_or(u32::MAX);
        // A quorum queue still counts what is dead behind the message.
        let with_dead = count(self);
        self.settle_head(id);
        let message_count = if kind == QueueType::Quorum { with_dead } else { count(self) };
        if self.reports.tracing.is_some() {
            self.trace_delivery(at, id, &entry);
        }
        let frame_max = self.connection(at.connection).map_or(0, |c| c.opened.frame_max);
        let tag = self.open_channel(at).unacked.next_tag();
        if self.journal.is_some() {
            self.journal_got(at, id, &entry, &Given { consumer_tag: None, delivery_tag: tag, no_ack, stays: false });
        }
        if let Some(mut spans) = self.spans.take() {
            let name = || self.connection(at.connection).map_or_else(String::new, |connection| connection.opened.origin.name());
            spans.delivered(id, entry.position, no_ack, name);
            self.spans = Some(spans);
        }
        let to = Recipient { channel: at.channel, consumer_tag: &[], frame_max };
        let properties = delivered_properties(kind, &entry, &self.settings.profile);
        let delivered = Delivered { message: &entry.message, properties: properties.as_deref(), redelivered: entry.redelivered };
        effects.output(at.connection).basic_get_ok(to, tag, delivered, message_count);
        self.count_get(at, id, no_ack, entry.redelivered);
        if no_ack {
            self.leave_queue(id, &entry);
            self.end_entry(id, entry);
        } else {
            let queue = &mut self.queues[id];
            queue.unacked += 1;
            queue.unacked_bytes += entry.message.body_len() as u64;
            let delivered = self.now;
            let timeout = queue.effective.consumer_timeout;
            self.open_channel(at).unacked.push(Delivery { tag, queue: id, consumer: None, delivered, entry, again: false });
            if let Some(timeout) = timeout {
                self.arm_settlement(at, delivered.after(timeout));
            }
        }
    }

    fn count_get(&mut self, at: At, id: QueueId, no_ack: bool, redelivered: bool) {
        let queue = &mut self.queues[id];
        queue.active = self.now;
        queue.counters.get += u64::from(!no_ack);
        queue.counters.get_no_ack += u64::from(no_ack);
        queue.counters.redeliver += u64::from(redelivered);
        let counters = &mut self.open_channel(at).counters;
        counters.get += u64::from(!no_ack);
        counters.get_no_ack += u64::from(no_ack);
        counters.redeliver += u64::from(redelivered);
        if let Some(breakdown) = &mut self.breakdown {
            breakdown.get(at, id, no_ack, redelivered);
        }
    }

    fn check_gettable(&self, id: QueueId) -> Result<(), Error> {
        let queue = &self.queues[id];
        match queue.kind {
            QueueType::Stream => Err(Error::not_by_streams("basic.get", "stream queues", &self.vhost, &queue.name)),
            QueueType::Quorum if queue.consumers.is_single_active() => {
                Err(Error::no_get_with_single_active_consumer(&self.vhost, &queue.name))
            }
            QueueType::Quorum | QueueType::Classic => Ok(()),
        }
    }
}
