//! What a binding looks like from outside, those included that every queue has to the default exchange.

use std::fmt::Write;
use std::sync::Arc;

use crate::amqp::{FieldTable, table};
use crate::broker::Broker;
use crate::broker::exchange::{Destination, Exchange, digest};
use crate::broker::queue::Queue;

/// What a binding leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DestinationKind {
    Exchange,
    Queue,
}

impl DestinationKind {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Queue => "queue",
        }
    }
}

/// A binding.
#[derive(Clone, Debug, PartialEq)]
pub struct BindingView {
    /// The name of an exchange; empty for the default exchange.
    pub source: Arc<str>,
    pub destination: Arc<str>,
    pub destination_kind: DestinationKind,
    pub routing_key: Arc<str>,
    pub arguments: FieldTable,
}

impl BindingView {
    /// What tells this binding from others between the same ends, fit for a URL: the routing key, or `~` if that is empty, and
    /// with arguments `~` and a number that stands for them. RabbitMQ has another number there; clients read it and give it back.
    #[must_use]
    pub fn properties_key(&self) -> String {
        let mut out = String::with_capacity(self.routing_key.len() + 20);
        for byte in self.routing_key.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => out.push(char::from(byte)),
                b' ' => out.push('+'),
                byte => write!(out, "%{byte:02X}").expect("a string takes all"),
            }
        }
        if !self.arguments.inner().is_empty() {
            write!(out, "~{:016x}", digest(&table::encode(&self.arguments))).expect("a string takes all");
        } else if out.is_empty() {
            out.push('~');
        }
        out
    }

    fn order(&self) -> (&str, DestinationKind, &str, &str) {
        (&self.source, self.destination_kind, &self.destination, &self.routing_key)
    }
}

impl Broker {
    /// Every binding, by source, destination and routing key.
    #[must_use]
    pub fn binding_views(&self) -> Vec<BindingView> {
        let explicit = self.exchanges.values().flat_map(|exchange| self.bindings_of(exchange, None));
        sorted(explicit.chain(self.queues.values().map(implicit)))
    }

    /// Those to this queue; none if there is no such queue.
    #[must_use]
    pub fn bindings_of_queue(&self, name: &str) -> Vec<BindingView> {
        let Some(&id) = self.queue_names.get(name) else { return Vec::new() };
        let queue = &self.queues[id];
        let sources = queue.sources.exchanges().into_iter().filter_map(|source| self.exchanges.get(source));
        let explicit = sources.flat_map(|source| self.bindings_of(source, Some(Destination::Queue(id))));
        sorted(explicit.chain([implicit(queue)]))
    }

    /// Those whose source is this exchange; none if there is no such exchange.
    #[must_use]
    pub fn bindings_from(&self, exchange: &str) -> Vec<BindingView> {
        if exchange.is_empty() {
            return sorted(self.queues.values().map(implicit));
        }
        let source = self.exchange_names.get(exchange).map(|id| &self.exchanges[*id]);
        sorted(source.into_iter().flat_map(|source| self.bindings_of(source, None)))
    }

    /// Those to this exchange; none if there is no such exchange.
    #[must_use]
    pub fn bindings_to(&self, exchange: &str) -> Vec<BindingView> {
        let Some(&id) = self.exchange_names.get(exchange) else { return Vec::new() };
        let sources = self.exchanges[id].sources.exchanges().into_iter().filter_map(|source| self.exchanges.get(source));
        sorted(sources.flat_map(|source| self.bindings_of(source, Some(Destination::Exchange(id)))))
    }

    /// How many bindings every exchange has but the default one.
    #[must_use]
    pub fn binding_counts(&self) -> Vec<(Arc<str>, usize)> {
        self.exchanges.values().map(|exchange| (Arc::clone(&exchange.name), exchange.bindings_to(None).count())).collect()
    }

    /// The bindings from an exchange, all or those to one destination.
    fn bindings_of<'a>(&'a self, exchange: &'a Exchange, to: Option<Destination>) -> impl Iterator<Item = BindingView> + 'a {
        exchange.bindings_to(to).filter_map(|(destination, key, arguments)| {
            let (destination_kind, destination) = match destination {
                Destination::Queue(id) => (DestinationKind::Queue, &self.queues.get(id)?.name),
                Destination::Exchange(id) => (DestinationKind::Exchange, &self.exchanges.get(id)?.name),
            };
            Some(BindingView {
                source: Arc::clone(&exchange.name),
                destination: Arc::clone(destination),
                destination_kind,
                routing_key: key.into(),
                arguments: arguments.clone(),
            })
        })
    }
}

/// What binds a queue to the default exchange.
fn implicit(queue: &Queue) -> BindingView {
    BindingView {
        source: "".into(),
        destination: Arc::clone(&queue.name),
        destination_kind: DestinationKind::Queue,
        routing_key: Arc::clone(&queue.name),
        arguments: FieldTable::default(),
    }
}

fn sorted(bindings: impl Iterator<Item = BindingView>) -> Vec<BindingView> {
    let mut all: Vec<BindingView> = bindings.collect();
    all.sort_by(|a, b| a.order().cmp(&b.order()));
    all
}
