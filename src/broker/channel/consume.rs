//! basic.consume, basic.cancel, basic.qos: consumers come and go, and how much they may hold.

use std::sync::Arc;

use super::reply_to;
use crate::amqp::{AMQPClass, basic};
use crate::broker::access::{Permission, Resource};
use crate::broker::error::{self, integer, type_name};
use crate::broker::journal::Lint;
use crate::broker::queue::arguments;
use crate::broker::queue::{Consumer, ConsumerId, QueueId, QueueType};
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
        if global && self.journal.is_some() {
            self.journal_note(Some(at), Lint::GlobalQos, format!("prefetch_count {prefetch_count}"), 1);
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
        self.unpark(consumers, effects);
        Ok(())
    }

    /// A single active consumer that is to give way does so at once when it holds nothing.
    fn hand_over_if_idle(&mut self, id: QueueId) {
        let consumers = &mut self.queues[id].consumers;
        let is_idle = consumers.active().is_some_and(|active| {
            consumers.is_handing_over(active) && self.consumers.get(active).is_none_or(|consumer| consumer.unacked == 0)
        });
        if is_idle {
            consumers.activate_next();
        }
    }

    fn has_global_qos(&mut self, at: At) -> bool {
        self.open_channel(at).global_prefetch != 0
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
        self.check_permission(at, Permission::Read, Resource::Queue(&name))?;
        let id = self.queue_for(at, &name)?;
        let priority = match consume.arguments.inner().get("x-priority") {
            None => 0,
            Some(value) => integer(value).ok_or_else(|| {
                let why = format!("\"expected integer, got {}\"", type_name(value));
                Error::invalid_argument("x-priority", &error::queue(&self.vhost, &name), &why)
            })?,
        };
        let queue = &self.queues[id];
        let kind = queue.kind;
        let reader = self.reader(at, id, consume)?;
        if kind != QueueType::Classic && self.has_global_qos(at) {
            return Err(Error::no_global_qos(&self.vhost, &name));
        }
        arguments::check_consumer(kind, &self.vhost, &name, &consume.arguments)?;
        let queue = &self.queues[id];
        // Only a classic queue knows exclusive consumers (behaviour B12).
        let exclusive = consume.exclusive && kind == QueueType::Classic;
        if exclusive && queue.consumers.is_single_active() {
            return Err(Error::queue_in_exclusive_use(&self.vhost, &name));
        }
        if queue.consumers.exclusive.is_some() || (exclusive && !queue.consumers.is_empty()) {
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
            reader,
            arguments: consume.arguments.clone(),
        });
        let queue = &mut self.queues[id];
        queue.consumers.add(consumer, priority);
        if kind == QueueType::Quorum && self.settings.profile.priority_takes_over {
            queue.consumers.give_way(consumer);
            self.hand_over_if_idle(id);
        }
        let queue = &mut self.queues[id];
        if exclusive {
            queue.consumers.exclusive = Some(consumer);
        }
        self.open_channel(at).consumers.insert(tag.clone(), consumer);
        self.consumer_created(consumer, exclusive, &consume.arguments);
        if self.journal.is_some() {
            let unlimited = !consume.no_ack && prefetch == 0 && !self.has_global_qos(at);
            self.journal_consumes(at, id, unlimited);
        }
        if !consume.nowait {
            // Before the first delivery (gotcha 40).
            let ok = basic::ConsumeOk { consumer_tag: String::from(tag).into() };
            self.reply(at, effects, &AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)));
        }
        if self.queues[id].stream.is_some() {
            self.read_on(consumer, effects);
        } else {
            self.pump(id, effects);
        }
        Ok(())
    }

    pub(super) fn basic_cancel(&mut self, at: At, cancel: &basic::Cancel, effects: &mut Effects) -> Result<(), Error> {
        let tag = cancel.consumer_tag.as_str();
        let user = self.user(at.connection);
        let channel = self.open_channel(at);
        if channel.reply_consumer.as_ref().is_some_and(|c| &*c.tag == tag) {
            channel.reply_consumer = None;
        }
        let mut left = None;
        // What it has not settled stays with the channel (gotcha 41).
        if let Some(consumer) = channel.consumers.remove(tag)
            && let Some(queue) = self.remove_consumer(consumer, &user)
        {
            // Before cancel-ok (gotcha 27).
            left = Some(queue);
            self.consumer_has_left(queue, effects);
        }
        if !cancel.nowait {
            let ok = basic::CancelOk { consumer_tag: cancel.consumer_tag.clone() };
            self.reply(at, effects, &AMQPClass::Basic(basic::AMQPMethod::CancelOk(ok)));
        }
        if let Some(queue) = left {
            // Another one may be the active consumer now.
            self.pump(queue, effects);
        }
        Ok(())
    }

    /// An auto-delete queue goes with its last consumer; x-expires begins to count.
    pub(super) fn consumer_has_left(&mut self, queue: QueueId, effects: &mut Effects) {
        if self.queues.get(queue).is_some_and(|queue| queue.consumers.is_empty()) {
            self.note_used(queue);
            self.auto_delete_queue(queue, effects);
        }
    }

    /// Removes a consumer from its queue, which is returned.
    pub(super) fn remove_consumer(&mut self, id: ConsumerId, user: &str) -> Option<QueueId> {
        let mut consumer = self.consumers.remove(id)?;
        let reader = consumer.reader.take();
        self.drop_page(reader);
        let queue = self.queues.get_mut(consumer.queue)?;
        queue.consumers.remove(id);
        if let Some(stream) = &mut queue.stream {
            stream.waiting.retain(|reader| *reader != id);
        }
        let name = Arc::clone(&queue.name);
        self.consumer_deleted(&consumer, &name, Some(user));
        Some(consumer.queue)
    }

    /// A consumer may not go on: the client is told if it understands.
    pub(in crate::broker) fn cancel_consumer(&mut self, id: ConsumerId, queue: &str, effects: &mut Effects) {
        let Some(at) = self.consumers.get(id).map(|consumer| consumer.queue) else { return };
        if let Some(queue) = self.queues.get_mut(at) {
            queue.consumers.remove(id);
            if let Some(stream) = &mut queue.stream {
                stream.waiting.retain(|reader| *reader != id);
            }
        }
        self.cancel_notify(id, queue, effects);
        self.consumer_has_left(at, effects);
        if self.queues.get(at).is_some_and(|queue| queue.consumers.is_single_active()) {
            self.pump(at, effects);
        }
    }

    /// The queue of a consumer is gone: the client is told if it understands (behaviour B16).
    pub(in crate::broker) fn cancel_notify(&mut self, id: ConsumerId, queue: &str, effects: &mut Effects) {
        let Some(mut consumer) = self.consumers.remove(id) else { return };
        let reader = consumer.reader.take();
        self.drop_page(reader);
        self.consumer_deleted(&consumer, queue, None);
        let Consumer { connection, channel, tag, .. } = consumer;
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
