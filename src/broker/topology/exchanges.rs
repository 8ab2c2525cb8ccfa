//! exchange.declare and exchange.delete (behaviour X1–X10).

use std::sync::Arc;

use crate::amqp::{AMQPClass, AMQPValue, FieldTable, exchange as methods};
use crate::broker::access::{Permission, Resource};
use crate::broker::channel::strip_cr_lf;
use crate::broker::error;
use crate::broker::exchange::{Destination, Exchange, ExchangeId, Kind};
use crate::broker::queue::arguments::equivalent;
use crate::broker::trace;
use crate::broker::{At, Broker, Effects, Error};

const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// Behaviour X1.
const PREDECLARED: [(&str, Kind); 6] = [
    ("amq.direct", Kind::Direct),
    ("amq.fanout", Kind::Fanout),
    ("amq.headers", Kind::Headers),
    ("amq.match", Kind::Headers),
    ("amq.topic", Kind::Topic),
    (trace::EXCHANGE, Kind::Topic),
];

/// An exchange that is to be created.
pub(in crate::broker) struct NewExchange<'a> {
    pub(in crate::broker) name: &'a str,
    pub(in crate::broker) kind: Kind,
    pub(in crate::broker) durable: bool,
    pub(in crate::broker) auto_delete: bool,
    pub(in crate::broker) internal: bool,
    pub(in crate::broker) arguments: FieldTable,
}

impl Broker {
    pub(in crate::broker) fn declare_predeclared_exchanges(&mut self) {
        for (name, kind) in PREDECLARED {
            self.predeclare(name, kind, name == trace::EXCHANGE);
        }
    }

    /// Adds an exchange that is there without anybody declaring it.
    pub(in crate::broker) fn predeclare(&mut self, name: &str, kind: Kind, internal: bool) {
        let exchange = Exchange::new(&self.vhost, name.into(), kind, true, FieldTable::default());
        let mut exchange = exchange.expect("no arguments are wrong");
        exchange.internal = internal;
        self.add_exchange(exchange);
    }

    pub(in crate::broker) fn add_exchange(&mut self, exchange: Exchange) -> ExchangeId {
        let name = Arc::clone(&exchange.name);
        let id = self.exchanges.insert(exchange);
        self.exchange_names.insert(name, id);
        self.topology += 1;
        id
    }

    pub(in crate::broker) fn exchange_declare(&mut self, at: At, declare: methods::Declare, effects: &mut Effects) -> Result<(), Error> {
        let name = strip_cr_lf(declare.exchange.as_str());
        let nowait = declare.nowait;
        if declare.passive {
            check_not_default(&name)?;
            self.check_passive(at, Resource::Exchange(&name))?;
            // Type and flags do not count (behaviour X4).
            self.exchange_named(&name)?;
        } else {
            let kind = self.exchange_type(declare.kind.as_str())?;
            check_not_default(&name)?;
            self.check_permission(at, Permission::Configure, Resource::Exchange(&name))?;
            match self.exchange_names.get(&*name) {
                Some(&id) => {
                    let compared = self.assert_equivalent_exchange(&self.exchanges[id], kind, &declare);
                    if compared.is_err() && self.journal.is_some() {
                        self.journal_compares_exchange(id, &declare);
                    }
                    compared?;
                }
                None => {
                    if name.starts_with("amq.") {
                        return Err(Error::reserved_name("exchange", &name));
                    }
                    if let Some(alternate) = self.alternate_exchange(&name, &declare.arguments)? {
                        self.check_permission(at, Permission::Read, Resource::Exchange(&name))?;
                        self.check_permission(at, Permission::Write, Resource::Exchange(&alternate))?;
                    }
                    let user = self.user(at.connection);
                    let new = NewExchange {
                        name: &name,
                        kind,
                        durable: declare.durable,
                        auto_delete: declare.auto_delete,
                        internal: declare.internal,
                        arguments: declare.arguments,
                    };
                    self.create_exchange(new, &user)?;
                }
            }
        }
        if !nowait {
            let ok = AMQPClass::Exchange(methods::AMQPMethod::DeclareOk(methods::DeclareOk {}));
            effects.output(at.connection).method(at.channel, &ok);
        }
        Ok(())
    }

    pub(in crate::broker) fn exchange_type(&self, name: &str) -> Result<Kind, Error> {
        Kind::named(name).ok_or_else(|| {
            if self.settings.profile.unknown_exchange_type_is_503 {
                Error::invalid_exchange_type(name)
            } else {
                Error::unknown_exchange_type(name)
            }
        })
    }

    pub(in crate::broker) fn exchange_named(&self, name: &str) -> Result<ExchangeId, Error> {
        self.exchange_names.get(name).copied().ok_or_else(|| Error::no_exchange(&self.vhost, name))
    }

    /// Where an exchange with these arguments sends what it cannot route.
    pub(in crate::broker) fn alternate_exchange(&self, exchange: &str, arguments: &FieldTable) -> Result<Option<String>, Error> {
        match arguments.inner().get(ALTERNATE_EXCHANGE) {
            None => Ok(None),
            Some(AMQPValue::LongString(alternate)) => Ok(Some(String::from_utf8_lossy(alternate.as_bytes()).into_owned())),
            Some(other) => {
                let resource = error::exchange(&self.vhost, exchange);
                Err(Error::invalid_argument_type(ALTERNATE_EXCHANGE, &resource, other))
            }
        }
    }

    /// Its alternate exchange has been looked at before.
    pub(in crate::broker) fn create_exchange(&mut self, new: NewExchange<'_>, user: &str) -> Result<(), Error> {
        let NewExchange { name, kind, durable, auto_delete, internal, arguments } = new;
        let mut exchange = Exchange::new(&self.vhost, name.into(), kind, durable, arguments)?;
        exchange.auto_delete = auto_delete;
        exchange.internal = internal;
        exchange.apply(self.policies.for_exchange(name));
        let id = self.add_exchange(exchange);
        self.define_exchange(id);
        self.exchange_created(name, user);
        Ok(())
    }

    /// Behaviour X3: in this order, and of the arguments only the alternate exchange.
    fn assert_equivalent_exchange(&self, current: &Exchange, kind: Kind, declare: &methods::Declare) -> Result<(), Error> {
        let resource = || error::exchange(&self.vhost, &current.name);
        if current.kind != kind {
            return Err(Error::inequivalent("type", &resource(), &kind.atom(), &current.kind.atom()));
        }
        let flags = [
            ("durable", declare.durable, current.durable),
            ("auto_delete", declare.auto_delete, current.auto_delete),
            ("internal", declare.internal, current.internal),
        ];
        for (flag, received, current) in flags {
            if received != current {
                return Err(Error::inequivalent(flag, &resource(), &received.to_string(), &current.to_string()));
            }
        }
        let alternate = |arguments: &FieldTable| arguments.inner().get(ALTERNATE_EXCHANGE).cloned();
        let (received, current) = (alternate(&declare.arguments), alternate(&current.arguments));
        if equivalent(current.as_ref(), received.as_ref()) {
            Ok(())
        } else {
            Err(Error::inequivalent_argument(ALTERNATE_EXCHANGE, &resource(), received.as_ref(), current.as_ref()))
        }
    }

    pub(in crate::broker) fn exchange_delete(&mut self, at: At, delete: &methods::Delete, effects: &mut Effects) -> Result<(), Error> {
        let name = strip_cr_lf(delete.exchange.as_str());
        check_not_default(&name)?;
        if name.starts_with("amq.") {
            return Err(Error::system_exchange(&self.vhost, &name));
        }
        self.check_permission(at, Permission::Configure, Resource::Exchange(&name))?;
        if let Some(&id) = self.exchange_names.get(&*name) {
            if delete.if_unused && self.exchanges[id].has_bindings() {
                return Err(Error::exchange_in_use(&self.vhost, &name));
            }
            let user = self.user(at.connection);
            self.delete_exchange(id, &user);
        }
        // Deleting what is not there succeeds (behaviour X7).
        if !delete.nowait {
            let ok = AMQPClass::Exchange(methods::AMQPMethod::DeleteOk(methods::DeleteOk {}));
            effects.output(at.connection).method(at.channel, &ok);
        }
        Ok(())
    }

    pub(in crate::broker) fn delete_exchange(&mut self, id: ExchangeId, user: &str) {
        if !self.exchanges.contains_key(id) {
            return;
        }
        self.undefine_exchange(id);
        let Some(mut exchange) = self.exchanges.remove(id) else { return };
        if let Some(delayed) = exchange.delayed.take() {
            self.drop_delayed(id, *delayed);
        }
        self.exchange_names.remove(&exchange.name);
        if let Some(breakdown) = &mut self.breakdown {
            breakdown.exchange_ends(id);
        }
        self.topology += 1;
        self.exchange_deleted(&exchange.name, user);
        for (destination, key, arguments) in exchange.bindings() {
            let binding = self.describe_binding(&exchange.name, destination, key, arguments);
            self.binding_deleted(binding, user);
            match destination {
                Destination::Queue(queue) => {
                    if let Some(queue) = self.queues.get_mut(queue) {
                        queue.sources.remove(id, 1);
                    }
                }
                Destination::Exchange(other) => {
                    if let Some(other) = self.exchanges.get_mut(other) {
                        other.sources.remove(id, 1);
                    }
                }
            }
        }
        self.forget_published(&mut exchange);
        self.unbind_destination(Destination::Exchange(id), &exchange.name, exchange.sources.exchanges(), user);
    }

    /// A destination is gone: so are the bindings to it, and auto-delete exchanges that have no other.
    pub(in crate::broker) fn unbind_destination(
        &mut self,
        destination: Destination,
        name: &Arc<str>,
        sources: Vec<ExchangeId>,
        user: &str,
    ) {
        for source in sources {
            let gone = self.describe_bindings(source, destination, name);
            if let Some(exchange) = self.exchanges.get_mut(source) {
                exchange.unbind_all(destination);
                self.topology += 1;
                self.auto_delete_exchange(source, user);
            }
            for binding in gone {
                self.binding_deleted(Some(binding), user);
            }
        }
    }

    /// An auto-delete exchange goes with its last binding (behaviour X9); it has had one when this is called.
    pub(in crate::broker) fn auto_delete_exchange(&mut self, id: ExchangeId, user: &str) {
        let unused = |exchange: &Exchange| exchange.auto_delete && !exchange.has_bindings();
        if self.exchanges.get(id).is_some_and(unused) {
            self.delete_exchange(id, user);
        }
    }
}

/// Behaviour X6.
pub(in crate::broker) fn check_not_default(name: &str) -> Result<(), Error> {
    if name.is_empty() { Err(Error::default_exchange()) } else { Ok(()) }
}
