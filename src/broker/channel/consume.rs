//! basic.consume, basic.cancel, basic.qos: consumers come and go, and how much they may hold.

use super::reply_to;
use crate::amqp::{AMQPClass, basic};
use crate::broker::error::{self, integer, type_name};
use crate::broker::queue::{Consumer, ConsumerId, QueueId};
use crate::broker::{At, Broker, Effects, Error};

impl Broker {
    pub(super) fn basic_qos(
        &mut self,
        at: At,
        prefetch_size: u32,
        prefetch_count: u16,
        global: bool,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        if prefetch_size != 0 {
            return Err(Error::not_implemented(format!("prefetch_size!=0 ({prefetch_size})")));
        }
        let global = global && !self.settings.profile.global_qos_ignored;
        let channel = self.open_channel(at);
        if global {
            channel.global_prefetch = prefetch_count;
        } else {
            // For consumers to come (behaviour B17).
            channel.prefetch = prefetch_count;
        }
        let consumers: Vec<ConsumerId> = channel.consumers.values().copied().collect();
        self.reply(at, effects, &AMQPClass::Basic(basic::AMQPMethod::QosOk(basic::QosOk {})));
        for consumer in consumers {
            self.unpark(consumer, effects);
        }
        Ok(())
    }

    pub(super) fn basic_consume(&mut self, at: At, consume: &basic::Consume, effects: &mut Effects) -> Result<(), Error> {
        let limit = self.settings.consumer_max_per_channel;
        let channel = self.open_channel(at);
        let tag = consume.consumer_tag.as_str();
        if let Some(limit) = limit.filter(|limit| channel.consumers.len() >= *limit) {
            return Err(Error::consumer_max_reached(limit));
        }
        let reply_tag = channel.reply_consumer.as_ref().is_some_and(|c| &*c.tag == tag);
        if channel.consumers.contains_key(tag) || (reply_tag && !tag.is_empty()) {
            return Err(Error::consumer_tag_in_use(tag));
        }
        if reply_to::is_pseudo_queue(consume.queue.as_str()) {
            return self.consume_replies(at, consume, effects);
        }
        let name = self.expand_queue_name(at, consume.queue.as_str())?;
        let id = self.queue_for(at, &name)?;
        let priority = match consume.arguments.inner().get("x-priority") {
            None => 0,
            Some(value) => integer(value).ok_or_else(|| {
                let why = format!("\"expected integer, got {}\"", type_name(value));
                Error::invalid_argument("x-priority", &error::queue(&self.vhost, &name), &why)
            })?,
        };
        let queue = &self.queues[id];
        if queue.consumers.exclusive.is_some() || (consume.exclusive && !queue.consumers.is_empty()) {
            return Err(Error::queue_in_exclusive_use(&self.vhost, &name));
        }
        let tag: Box<str> = match tag {
            "" => self.random.name("amq.ctag-").into(),
            tag => tag.into(),
        };
        let prefetch = self.open_channel(at).prefetch;
        let consumer = self.consumers.insert(Consumer {
            connection: at.connection,
            channel: at.channel,
            tag: tag.clone(),
            queue: id,
            no_ack: consume.no_ack,
            prefetch,
            priority,
            unacked: 0,
            parked: false,
        });
        let queue = &mut self.queues[id];
        queue.consumers.add(consumer, priority);
        if consume.exclusive {
            queue.consumers.exclusive = Some(consumer);
        }
        self.open_channel(at).consumers.insert(tag.clone(), consumer);
        if !consume.nowait {
            // Before the first delivery (gotcha 40).
            let ok = basic::ConsumeOk { consumer_tag: String::from(tag).into() };
            self.reply(at, effects, &AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)));
        }
        self.pump(id, effects);
        Ok(())
    }

    pub(super) fn basic_cancel(&mut self, at: At, cancel: &basic::Cancel, effects: &mut Effects) -> Result<(), Error> {
        let tag = cancel.consumer_tag.as_str();
        let channel = self.open_channel(at);
        if channel.reply_consumer.as_ref().is_some_and(|c| &*c.tag == tag) {
            channel.reply_consumer = None;
        }
        // What it has not settled stays with the channel (gotcha 41).
        if let Some(consumer) = channel.consumers.remove(tag)
            && let Some(queue) = self.remove_consumer(consumer)
        {
            // Before cancel-ok (gotcha 27).
            self.auto_delete_queue(queue, effects);
        }
        if !cancel.nowait {
            let ok = basic::CancelOk { consumer_tag: cancel.consumer_tag.clone() };
            self.reply(at, effects, &AMQPClass::Basic(basic::AMQPMethod::CancelOk(ok)));
        }
        Ok(())
    }

    /// Removes a consumer from its queue; returns the queue when that was its last one.
    pub(super) fn remove_consumer(&mut self, id: ConsumerId) -> Option<QueueId> {
        let consumer = self.consumers.remove(id)?;
        let queue = self.queues.get_mut(consumer.queue)?;
        queue.consumers.remove(id);
        queue.consumers.is_empty().then_some(consumer.queue)
    }

    /// The queue of a consumer is gone: the client is told if it understands (behaviour B16).
    pub(in crate::broker) fn cancel_notify(&mut self, id: ConsumerId, effects: &mut Effects) {
        let Some(Consumer { connection, channel, tag, .. }) = self.consumers.remove(id) else { return };
        let at = At { connection, channel };
        let Some(connection) = self.connection(connection) else { return };
        let told = connection.opened.capabilities.consumer_cancel_notify && connection.is_running();
        if let Some(channel) = connection.channels.get_mut(&channel)
            && channel.consumers.remove(&tag).is_some()
            && told
        {
            let cancel = basic::Cancel { consumer_tag: String::from(tag).into(), nowait: true };
            self.reply(at, effects, &AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)));
        }
    }
}
