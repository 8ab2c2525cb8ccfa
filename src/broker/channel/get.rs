//! basic.get (behaviour B8): one message, whatever the prefetch.

use super::unacked::Delivery;
use crate::amqp::encoder::{Delivered, Recipient};
use crate::amqp::{AMQPClass, basic};
use crate::broker::delivery::delivered_properties;
use crate::broker::queue::{QueueId, QueueType};
use crate::broker::{At, Broker, Effects, Error};

impl Broker {
    pub(super) fn basic_get(&mut self, at: At, get: &basic::Get, effects: &mut Effects) -> Result<(), Error> {
        let name = self.expand_queue_name(at, get.queue.as_str())?;
        let id = self.queue_for(at, &name)?;
        self.check_gettable(id)?;
        self.note_used(id);
        let queue = &mut self.queues[id];
        let kind = queue.kind;
        let Some(entry) = queue.ready.pop() else {
            self.reply(at, effects, &AMQPClass::Basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {})));
            return Ok(());
        };
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
        let to = Recipient { channel: at.channel, consumer_tag: &[], frame_max };
        let properties = delivered_properties(kind, &entry, &self.settings.profile);
        let delivered = Delivered { message: &entry.message, properties: properties.as_deref(), redelivered: entry.redelivered };
        effects.output(at.connection).basic_get_ok(to, tag, delivered, message_count);
        if get.no_ack {
            self.leave_queue(id, &entry);
            self.release_entry(entry);
        } else {
            let queue = &mut self.queues[id];
            queue.unacked += 1;
            queue.unacked_bytes += entry.message.body_len() as u64;
            let delivered = self.now;
            let timeout = queue.effective.consumer_timeout;
            self.open_channel(at).unacked.push(Delivery { tag, queue: id, consumer: None, delivered, entry });
            if let Some(timeout) = timeout {
                self.arm_settlement(at, delivered.after(timeout));
            }
        }
        Ok(())
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
