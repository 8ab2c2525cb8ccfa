//! queue.declare, queue.purge, queue.delete, and the other ways in which queues end (behaviour Q1–Q9, Q24, Q25).

use std::sync::Arc;

use crate::amqp::{AMQPClass, AMQPValue, FieldTable, queue as methods};
use crate::broker::access::{Permission, Resource};
use crate::broker::channel::{reply_to, strip_cr_lf};
use crate::broker::error;
use crate::broker::exchange::Destination;
use crate::broker::exchange::deduplication::Deduplication;
use crate::broker::journal::reason;
use crate::broker::queue::arguments;
use crate::broker::queue::{Flags, Queue, QueueId, QueueType};
use crate::broker::{At, Broker, ConnectionId, Effects, Error, INTERNAL_USER};

const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";

/// A queue that is to be created.
pub(in crate::broker) struct NewQueue {
    pub(in crate::broker) name: String,
    /// The name is not one that the broker made up.
    pub(in crate::broker) was_named: bool,
    pub(in crate::broker) flags: Flags,
    pub(in crate::broker) owner: Option<ConnectionId>,
    pub(in crate::broker) arguments: FieldTable,
}

impl Broker {
    pub(in crate::broker) fn queue_declare(&mut self, at: At, declare: methods::Declare, effects: &mut Effects) -> Result<(), Error> {
        let named = strip_cr_lf(declare.queue.as_str());
        let nowait = declare.nowait;
        if named.as_bytes().starts_with(reply_to::NAME) {
            return self.declare_reply_to(at, &named, nowait, effects);
        }
        let id = if declare.passive {
            self.check_passive(at, Resource::Queue(&named))?;
            self.queue_for(at, &named)?
        } else {
            self.declare(at, &named, declare)?
        };
        self.note_used(id);
        let queue = &self.queues[id];
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let ok = methods::DeclareOk {
            queue: queue.name.to_string().into(),
            message_count: count(queue.message_count()),
            consumer_count: count(if queue.stream.is_some() { 0 } else { queue.consumers.len() }),
        };
        self.declare_ok(at, ok, nowait, effects);
        Ok(())
    }

    fn declare_ok(&mut self, at: At, ok: methods::DeclareOk, nowait: bool, effects: &mut Effects) {
        self.set_last_queue(at, ok.queue.as_str().into());
        if !nowait {
            let ok = AMQPClass::Queue(methods::AMQPMethod::DeclareOk(ok));
            effects.output(at.connection).method(at.channel, &ok);
        }
    }

    /// Declaring the pseudo-queue or a requester's address asks whether it is there; nothing is created (behaviour B22).
    fn declare_reply_to(&mut self, at: At, name: &str, nowait: bool, effects: &mut Effects) -> Result<(), Error> {
        let there = reply_to::is_pseudo_queue(name) || self.requester(name.as_bytes()).is_some();
        if !there {
            return Err(Error::no_queue(&self.vhost, name));
        }
        let ok = methods::DeclareOk { queue: name.into(), message_count: 0, consumer_count: 1 };
        self.declare_ok(at, ok, nowait, effects);
        Ok(())
    }

    fn declare(&mut self, at: At, named: &str, mut declare: methods::Declare) -> Result<QueueId, Error> {
        let flags = Flags {
            // An exclusive queue ends with its connection, whatever it says (V22; RabbitMQ 3.10 does the same).
            durable: declare.durable && !declare.exclusive,
            exclusive: declare.exclusive,
            auto_delete: declare.auto_delete,
        };
        let name = match named {
            "" => self.make_up_name(at),
            name if name.starts_with("amq.") => return Err(Error::reserved_name("queue", name)),
            name => name.to_owned(),
        };
        self.check_permission(at, Permission::Configure, Resource::Queue(&name))?;
        let owner = flags.exclusive.then_some(at.connection);
        let was_named = !declare.queue.as_str().is_empty();
        declare.arguments = self.with_default_type(flags, was_named, declare.arguments);
        if let Some(&id) = self.queue_names.get(&*name) {
            self.churn.queue_declared += 1;
            let compared = self.assert_equivalent_queue(&self.queues[id], flags, owner, &declare);
            if compared.is_err() && self.journal.is_some() {
                self.journal_compares_queue(id, flags, &declare);
            }
            return compared.map(|()| id);
        }
        if self.journal.is_some() {
            self.journal_declares_queue(at, &name, flags, &declare.arguments);
        }
        self.check_transient(flags)?;
        if let Some(exchange) = self.dead_letter_exchange(&name, &declare.arguments)? {
            self.check_permission(at, Permission::Read, Resource::Queue(&name))?;
            self.check_permission(at, Permission::Write, Resource::Exchange(&exchange))?;
        }
        self.churn.queue_declared += 1;
        let user = self.user(at.connection);
        let id = self.create_queue(NewQueue { name, was_named, flags, owner, arguments: declare.arguments }, &user)?;
        if flags.exclusive
            && let Some(connection) = self.connection(at.connection)
        {
            connection.exclusive_queues.push(id);
        }
        Ok(id)
    }

    /// V14.
    pub(in crate::broker) fn check_transient(&self, flags: Flags) -> Result<(), Error> {
        if self.settings.profile.transient_nonexcl_queues_denied && !flags.durable && !flags.exclusive {
            let text = "Its use is not permitted per the configuration (overriding the default, which is permitted) using the \
                        `deprecated_features.permit.transient_nonexcl_queues` setting";
            return Err(Error::deprecated("transient_nonexcl_queues", text));
        }
        Ok(())
    }

    /// Where a queue with these arguments lets its messages die.
    pub(in crate::broker) fn dead_letter_exchange(&self, queue: &str, arguments: &FieldTable) -> Result<Option<String>, Error> {
        match arguments.inner().get(DEAD_LETTER_EXCHANGE) {
            None => Ok(None),
            Some(AMQPValue::LongString(exchange)) => Ok(Some(String::from_utf8_lossy(exchange.as_bytes()).into_owned())),
            Some(other) => {
                let resource = error::queue(&self.vhost, queue);
                Err(Error::invalid_argument_type(DEAD_LETTER_EXCHANGE, &resource, other))
            }
        }
    }

    /// The default type, of the virtual host or else of the node, stands in for x-queue-type where a queue can be of that type (behaviour Q19, gotcha 33).
    pub(in crate::broker) fn with_default_type(&self, flags: Flags, was_named: bool, mut arguments: FieldTable) -> FieldTable {
        let default = self.limits.default_queue_type.unwrap_or(self.settings.default_queue_type);
        let is_possible = was_named && flags.durable && !flags.exclusive && !flags.auto_delete;
        if default != QueueType::Classic && is_possible && !arguments.inner().contains_key("x-queue-type") {
            let kind = AMQPValue::LongString(default.name().as_bytes().into());
            arguments.insert("x-queue-type".into(), kind);
        }
        arguments
    }

    /// Its dead-letter exchange has been looked at before.
    pub(in crate::broker) fn create_queue(&mut self, new: NewQueue, user: &str) -> Result<QueueId, Error> {
        let NewQueue { name, was_named, flags, owner, arguments } = new;
        arguments::check(&self.vhost, &name, &arguments, &self.settings.profile)?;
        let kind = arguments::queue_type_of(&arguments);
        self.check_queue_limit(&name)?;
        self.check_properties(kind, &name, flags, was_named)?;
        let deduplication = Deduplication::for_queue(&arguments, &error::queue(&self.vhost, &name), kind)?;
        let policy = self.policies.for_queue(&name, kind);
        let effective = self.effective(kind, &arguments, policy.as_deref());
        let mut queue = Queue::new(name.into(), flags, owner, arguments, effective, &self.settings.profile);
        queue.policy = policy;
        queue.active = self.now;
        queue.deduplication = deduplication.map(Box::new);
        let id = self.add_queue(queue);
        self.define_queue(id);
        self.churn.queue_created += 1;
        self.queue_created(id, user);
        Ok(id)
    }

    fn check_queue_limit(&self, name: &str) -> Result<(), Error> {
        match self.limits.max_queues {
            Some(limit) if self.queues.len() as u64 >= limit => Err(Error::queue_limit_reached(&self.vhost, name, limit)),
            _ => Ok(()),
        }
    }

    pub(in crate::broker) fn add_queue(&mut self, queue: Queue) -> QueueId {
        let name = Arc::clone(&queue.name);
        let id = self.queues.insert(queue);
        self.queue_names.insert(name, id);
        self.topology += 1;
        id
    }

    /// What replicated queues cannot be (behaviour Q2, Q20, Q22).
    fn check_properties(&self, kind: QueueType, name: &str, flags: Flags, was_named: bool) -> Result<(), Error> {
        if kind == QueueType::Classic {
            return Ok(());
        }
        if !was_named {
            return Err(Error::no_server_named(kind.module()));
        }
        let refused = [(flags.auto_delete, "auto-delete"), (flags.exclusive, "exclusive-owner"), (!flags.durable, "non-durable")];
        match refused.iter().find(|(is, _)| *is) {
            Some((_, property)) => Err(Error::invalid_property(property, &self.vhost, name)),
            None => Ok(()),
        }
    }

    /// Behaviour Q4: the owner, then durable, auto_delete, the arguments.
    fn assert_equivalent_queue(
        &self,
        current: &Queue,
        flags: Flags,
        owner: Option<ConnectionId>,
        declare: &methods::Declare,
    ) -> Result<(), Error> {
        if current.owner != owner {
            return Err(Error::queue_locked(&self.vhost, &current.name));
        }
        let compared = [("durable", flags.durable, current.durable), ("auto_delete", flags.auto_delete, current.auto_delete)];
        for (flag, received, is) in compared {
            if received != is {
                let resource = error::queue(&self.vhost, &current.name);
                return Err(Error::inequivalent(flag, &resource, &received.to_string(), &is.to_string()));
            }
        }
        arguments::assert_equivalent(&self.vhost, &current.name, &current.arguments, &declare.arguments)
    }

    pub(in crate::broker) fn queue_purge(&mut self, at: At, purge: &methods::Purge, effects: &mut Effects) -> Result<(), Error> {
        let name = self.expand_queue_name(at, purge.queue.as_str())?;
        self.check_permission(at, Permission::Read, Resource::Queue(&name))?;
        let id = self.queue_for(at, &name)?;
        if self.queues[id].stream.is_some() {
            return Err(Error::not_by_streams("queue.purge", "stream queues", &self.vhost, &name));
        }
        let purged = self.drop_ready(id, reason::PURGED);
        if !purge.nowait {
            let ok = methods::PurgeOk { message_count: u32::try_from(purged).unwrap_or(u32::MAX) };
            let ok = AMQPClass::Queue(methods::AMQPMethod::PurgeOk(ok));
            effects.output(at.connection).method(at.channel, &ok);
        }
        Ok(())
    }

    /// Drops the ready messages; returns how many.
    pub(in crate::broker) fn drop_ready(&mut self, id: QueueId, why: &'static str) -> usize {
        let dropped = self.queues[id].ready.len();
        if let Some(spans) = &mut self.spans {
            spans.dropped(id, why);
        }
        let spans = self.queues[id].ready.take_spans();
        let were_on_disk = !spans.is_empty();
        for (level, span) in spans {
            if self.journal.is_some() {
                self.journal_dropped_on_disk(id, span.count, why);
            }
            self.write_drop(id, level, span);
        }
        while let Some(entry) = self.queues[id].ready.pop() {
            if self.journal.is_some() {
                self.journal_dropped(id, &entry, why);
            }
            self.leave_queue(id, &entry);
            self.end_entry(id, entry);
        }
        if were_on_disk {
            self.queues[id].kept = self.kept_by_channels(id);
        }
        self.note_unneeded(id);
        dropped
    }

    pub(in crate::broker) fn queue_delete(&mut self, at: At, delete: &methods::Delete, effects: &mut Effects) -> Result<(), Error> {
        let name = self.expand_queue_name(at, &strip_cr_lf(delete.queue.as_str()))?;
        self.check_permission(at, Permission::Configure, Resource::Queue(&name))?;
        let mut doomed = None;
        // Deleting what is not there succeeds (gotcha 34).
        if self.queue_names.contains_key(&*name) {
            let id = self.queue_for(at, &name)?;
            let queue = &self.queues[id];
            if queue.kind == QueueType::Quorum && (delete.if_unused || delete.if_empty) {
                let flag = if delete.if_unused { "if-unused" } else { "if-empty" };
                return Err(Error::quorum_delete_flag(flag, &self.vhost, &name));
            }
            let is_stream = queue.kind == QueueType::Stream;
            if delete.if_empty && !is_stream && queue.message_count() > 0 {
                return Err(Error::queue_not_empty(&self.vhost, &name));
            }
            if delete.if_unused && !is_stream && !queue.consumers.is_empty() {
                return Err(Error::queue_in_use(&self.vhost, &name));
            }
            doomed = Some((id, queue.ready.len()));
        }
        if !delete.nowait {
            // Before the consumers of the queue hear of it, which may be on this channel.
            let ok = methods::DeleteOk { message_count: doomed.map_or(0, |(_, ready)| u32::try_from(ready).unwrap_or(u32::MAX)) };
            let ok = AMQPClass::Queue(methods::AMQPMethod::DeleteOk(ok));
            effects.output(at.connection).method(at.channel, &ok);
        }
        if let Some((id, _)) = doomed {
            let user = self.user(at.connection);
            self.delete_queue(id, &user, effects);
        }
        Ok(())
    }

    /// Ends a queue with its bindings and consumers.
    pub(in crate::broker) fn delete_queue(&mut self, id: QueueId, user: &str, effects: &mut Effects) {
        if !self.queues.contains_key(id) {
            return;
        }
        self.undefine_queue(id);
        self.drop_ready(id, reason::QUEUE_DELETED);
        if self.journal.is_some() {
            self.journal_forgets_queue(id);
            self.journal_drop_rest(id);
        }
        let Some(mut queue) = self.queues.remove(id) else { return };
        self.churn.queue_deleted += 1;
        self.gone.queues.add(queue.kind, queue.counters);
        self.memory -= queue.deduplication.take().map_or(0, |deduplication| deduplication.cache.memory());
        for message in queue.stream.iter_mut().flat_map(|stream| stream.drain()) {
            self.release_stored(message);
        }
        for (entry, _) in queue.extra.iter_mut().flat_map(|extra| std::mem::take(&mut extra.held)) {
            self.release_entry(entry);
        }
        self.queue_names.remove(&queue.name);
        if let Some(breakdown) = &mut self.breakdown {
            breakdown.queue_ends(id);
        }
        self.topology += 1;
        if let Some(owner) = queue.owner.and_then(|owner| self.connection(owner)) {
            owner.exclusive_queues.retain(|q| *q != id);
        }
        for consumer in queue.consumers.all() {
            self.cancelled_with_queue(consumer, &queue.name, user);
            self.cancel_notify(consumer, &queue.name, effects);
        }
        self.unbind_destination(Destination::Queue(id), &queue.name, queue.sources.exchanges(), INTERNAL_USER);
        self.queue_deleted(&queue.name, user);
        self.go_on_with_gets(id, effects);
    }

    /// An auto-delete queue goes with its last consumer (behaviour Q6); it has had one when this is called.
    pub(in crate::broker) fn auto_delete_queue(&mut self, id: QueueId, effects: &mut Effects) {
        let unused = |queue: &Queue| queue.auto_delete && queue.consumers.is_empty();
        if self.queues.get(id).is_some_and(unused) {
            self.delete_queue(id, INTERNAL_USER, effects);
        }
    }
}
