//! queue.bind, queue.unbind, exchange.bind, exchange.unbind (behaviour X11–X13).

use std::sync::Arc;

use crate::amqp::{AMQPClass, FieldTable, Message, exchange as exchange_methods, queue as queue_methods};
use crate::broker::access::{Permission, Resource};
use crate::broker::channel::{reply_to, strip_cr_lf};
use crate::broker::delivery::Arrival;
use crate::broker::exchange::{Destination, ExchangeId, Kept, Kind};
use crate::broker::queue::QueueType;
use crate::broker::routing::{Routed, Source};
use crate::broker::{At, Broker, Effects, Error};

impl Broker {
    pub(in crate::broker) fn queue_bind(&mut self, at: At, bind: queue_methods::Bind, effects: &mut Effects) -> Result<(), Error> {
        let named = &*strip_cr_lf(bind.queue.as_str());
        let exchange = strip_cr_lf(bind.exchange.as_str());
        if reply_to::is_pseudo_queue(named) {
            self.check_permission(at, Permission::Write, Resource::Queue(named))?;
            return Err(Error::volatile_queue());
        }
        let queue = self.expand_queue_name(at, named)?;
        // Empty queue name and empty key: the key becomes the queue's name (gotcha 37).
        let key = match bind.routing_key.as_str() {
            "" if named.is_empty() => &*queue,
            key => key,
        };
        self.check_binding(at, &exchange, Resource::Queue(&queue), key)?;
        let source = self.exchange_named(&exchange)?;
        let destination = Destination::Queue(self.queue_for(at, &queue)?);
        let user = self.user(at.connection);
        let is_new = self.bind(source, destination, key, bind.arguments, &user)?;
        if !bind.nowait {
            let ok = AMQPClass::Queue(queue_methods::AMQPMethod::BindOk(queue_methods::BindOk {}));
            effects.output(at.connection).method(at.channel, &ok);
        }
        if is_new {
            self.replay(source, destination, effects);
        }
        Ok(())
    }

    pub(in crate::broker) fn queue_unbind(&mut self, at: At, unbind: &queue_methods::Unbind, effects: &mut Effects) -> Result<(), Error> {
        let named = &*strip_cr_lf(unbind.queue.as_str());
        let exchange = strip_cr_lf(unbind.exchange.as_str());
        if reply_to::is_pseudo_queue(named) {
            self.check_permission(at, Permission::Write, Resource::Queue(named))?;
            return Err(Error::volatile_queue());
        }
        let queue = self.expand_queue_name(at, named)?;
        let key = match unbind.routing_key.as_str() {
            "" if named.is_empty() => &*queue,
            key => key,
        };
        self.check_binding(at, &exchange, Resource::Queue(&queue), key)?;
        // Whatever is missing, the reply is unbind-ok (behaviour X12); a lock guards only a binding that is there.
        let source = self.exchange_named(&exchange);
        if let (Some(&destination), Ok(source)) = (self.queue_names.get(&*queue), source) {
            let destination = Destination::Queue(destination);
            if self.exchanges[source].is_bound(destination, key, &unbind.arguments) {
                self.queue_for(at, &queue)?;
                let user = self.user(at.connection);
                self.unbind(source, destination, key, &unbind.arguments, &user);
            }
        }
        let ok = AMQPClass::Queue(queue_methods::AMQPMethod::UnbindOk(queue_methods::UnbindOk {}));
        effects.output(at.connection).method(at.channel, &ok);
        Ok(())
    }

    pub(in crate::broker) fn exchange_bind(&mut self, at: At, bind: exchange_methods::Bind, effects: &mut Effects) -> Result<(), Error> {
        let (source, destination) = (strip_cr_lf(bind.source.as_str()), strip_cr_lf(bind.destination.as_str()));
        self.check_binding(at, &source, Resource::Exchange(&destination), bind.routing_key.as_str())?;
        let source = self.exchange_named(&source)?;
        let destination = Destination::Exchange(self.exchange_named(&destination)?);
        let user = self.user(at.connection);
        let is_new = self.bind(source, destination, bind.routing_key.as_str(), bind.arguments, &user)?;
        if !bind.nowait {
            let ok = AMQPClass::Exchange(exchange_methods::AMQPMethod::BindOk(exchange_methods::BindOk {}));
            effects.output(at.connection).method(at.channel, &ok);
        }
        if is_new {
            self.replay(source, destination, effects);
        }
        Ok(())
    }

    pub(in crate::broker) fn exchange_unbind(
        &mut self,
        at: At,
        unbind: &exchange_methods::Unbind,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        let (source, destination) = (strip_cr_lf(unbind.source.as_str()), strip_cr_lf(unbind.destination.as_str()));
        self.check_binding(at, &source, Resource::Exchange(&destination), unbind.routing_key.as_str())?;
        let ends = (self.exchange_named(&source), self.exchange_named(&destination));
        if let (Ok(source), Ok(destination)) = ends {
            let user = self.user(at.connection);
            self.unbind(source, Destination::Exchange(destination), unbind.routing_key.as_str(), &unbind.arguments, &user);
        }
        if !unbind.nowait {
            let ok = AMQPClass::Exchange(exchange_methods::AMQPMethod::UnbindOk(exchange_methods::UnbindOk {}));
            effects.output(at.connection).method(at.channel, &ok);
        }
        Ok(())
    }

    /// Whether the binding was not there before.
    pub(in crate::broker) fn bind(
        &mut self,
        source: ExchangeId,
        destination: Destination,
        key: &str,
        arguments: FieldTable,
        user: &str,
    ) -> Result<bool, Error> {
        if self.journal.is_some() {
            self.journal_binds(source, key);
        }
        let exchange = &self.exchanges[source];
        exchange.check_binding(key, &arguments).map_err(Error::precondition)?;
        if exchange.kind == Kind::LocalRandom {
            self.check_local(destination)?;
        }
        if let (Some(allowed), Kind::Topic) = (self.settings.profile.topic_wildcards_max, exchange.kind) {
            let used = key.split('.').filter(|word| *word == "#").count();
            if used > allowed {
                return Err(Error::topic_key_has_too_many_wildcards(key, used, allowed));
            }
        }
        let name = match destination {
            Destination::Queue(queue) => Arc::clone(&self.queues[queue].name),
            Destination::Exchange(exchange) => Arc::clone(&self.exchanges[exchange].name),
        };
        let binding = self.describe_binding(&exchange.name, destination, key, &arguments);
        let kept = if self.log.is_enabled() { arguments.clone() } else { FieldTable::default() };
        let is_new = self.exchanges[source].bind(destination, &name, key, arguments);
        if is_new {
            self.topology += 1;
            match destination {
                Destination::Queue(queue) => self.queues[queue].sources.add(source),
                Destination::Exchange(exchange) => self.exchanges[exchange].sources.add(source),
            }
            self.define_binding(source, destination, key, &kept);
            self.binding_created(binding, user);
        }
        Ok(is_new)
    }

    /// Behaviour X19.
    fn check_local(&self, destination: Destination) -> Result<(), Error> {
        let Destination::Queue(queue) = destination else { return Err(Error::precondition("Destination not found")) };
        match self.queues[queue].kind {
            QueueType::Classic => Ok(()),
            other => Err(Error::precondition(format!("Queue type {} not valid for this exchange type", other.module()))),
        }
    }

    /// A recent-history exchange gives what it keeps to a new destination (behaviour X21): to a queue the oldest first, through
    /// an exchange the newest first, as RabbitMQ does.
    pub(in crate::broker) fn replay(&mut self, source: ExchangeId, destination: Destination, effects: &mut Effects) {
        let Some(history) = &self.exchanges[source].history else { return };
        match destination {
            Destination::Queue(queue) => {
                let messages: Vec<Message> = history.iter().map(|kept| kept.message.clone()).collect();
                for message in messages {
                    self.log.next_message();
                    self.journal_go_on(None);
                    self.enqueue(queue, message, Arrival::Forwarded, effects);
                }
            }
            Destination::Exchange(exchange) => {
                let all: Vec<Kept> = history.iter().rev().cloned().collect();
                for kept in all {
                    let mut routed = Routed::default();
                    self.route(Source::Named(exchange), &kept.message, &kept.more_keys, &mut routed);
                    self.journal_go_on(None);
                    self.hand_out(kept.message, routed, effects);
                }
            }
        }
    }

    pub(in crate::broker) fn unbind(
        &mut self,
        source: ExchangeId,
        destination: Destination,
        key: &str,
        arguments: &FieldTable,
        user: &str,
    ) {
        let name = Arc::clone(&self.exchanges[source].name);
        if !self.exchanges[source].unbind(destination, key, arguments) {
            return;
        }
        self.topology += 1;
        self.undefine_binding(source, destination, key, arguments);
        match destination {
            Destination::Queue(queue) => self.queues[queue].sources.remove(source, 1),
            Destination::Exchange(exchange) => self.exchanges[exchange].sources.remove(source, 1),
        }
        let binding = self.describe_binding(&name, destination, key, arguments);
        self.auto_delete_exchange(source, user);
        self.binding_deleted(binding, user);
    }
}
