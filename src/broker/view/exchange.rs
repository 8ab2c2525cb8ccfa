//! What an exchange looks like from outside.

use std::sync::Arc;

use crate::amqp::FieldTable;
use crate::broker::Broker;
use crate::broker::counters::ExchangeCounters;
use crate::broker::exchange::{Exchange, Kind};
use crate::broker::policy::Applied;

/// An exchange; the name of the default exchange is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeView {
    pub name: Arc<str>,
    pub kind: Kind,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: FieldTable,
    /// Which policies apply, and what they set.
    pub policy: Option<Arc<Applied>>,
    /// How many messages an x-delayed-message exchange keeps.
    pub delayed: Option<usize>,
    pub counters: ExchangeCounters,
}

impl Broker {
    /// Every exchange, by name: the default one first.
    #[must_use]
    pub fn exchange_views(&self) -> Vec<ExchangeView> {
        let mut all: Vec<ExchangeView> = self.exchanges.values().map(view).collect();
        all.push(self.default_exchange_view());
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }

    #[must_use]
    pub fn exchange_view(&self, name: &str) -> Option<ExchangeView> {
        match name {
            "" => Some(self.default_exchange_view()),
            name => self.exchange_names.get(name).map(|id| view(&self.exchanges[*id])),
        }
    }

    fn default_exchange_view(&self) -> ExchangeView {
        ExchangeView {
            name: "".into(),
            kind: Kind::Direct,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::default(),
            policy: None,
            delayed: None,
            counters: self.default_exchange,
        }
    }
}

fn view(exchange: &Exchange) -> ExchangeView {
    ExchangeView {
        name: Arc::clone(&exchange.name),
        kind: exchange.kind,
        durable: exchange.durable,
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        arguments: exchange.arguments.clone(),
        policy: exchange.policy.clone(),
        delayed: exchange.delayed.as_ref().map(|delayed| delayed.len()),
        counters: exchange.counters,
    }
}
