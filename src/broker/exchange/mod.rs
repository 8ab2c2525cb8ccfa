//! Exchanges and their bindings: which destinations a routing key and headers lead to. Knows no queue, only ids.

mod direct;
mod fanout;
mod headers;
mod topic;

use std::collections::BTreeMap;
use std::sync::Arc;

use slotmap::new_key_type;

use super::delayed::Delayed;
use super::policy::Definition;
use super::queue::QueueId;
use crate::amqp::properties::Properties;
use crate::amqp::{AMQPValue, FieldTable};

new_key_type! {
    /// An exchange of one virtual host.
    pub struct ExchangeId;
}

/// The exchange types of AMQP 0-9-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Direct,
    Fanout,
    Topic,
    Headers,
}

impl Kind {
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "direct" => Self::Direct,
            "fanout" => Self::Fanout,
            "topic" => Self::Topic,
            "headers" => Self::Headers,
            _ => return None,
        })
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }
}

/// Where a binding leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    Queue(QueueId),
    Exchange(ExchangeId),
}

/// From which exchanges a destination is bound, and by how many bindings each.
#[derive(Debug, Default)]
pub struct Sources(BTreeMap<ExchangeId, usize>);

impl Sources {
    pub fn add(&mut self, exchange: ExchangeId) {
        *self.0.entry(exchange).or_default() += 1;
    }

    /// Forgets this many of its bindings.
    pub fn remove(&mut self, exchange: ExchangeId, bindings: usize) {
        if let Some(count) = self.0.get_mut(&exchange) {
            *count = count.saturating_sub(bindings);
            if *count == 0 {
                self.0.remove(&exchange);
            }
        }
    }

    pub fn exchanges(&self) -> Vec<ExchangeId> {
        self.0.keys().copied().collect()
    }
}

/// One exchange with the bindings of which it is the source.
#[derive(Debug)]
pub struct Exchange {
    pub name: Arc<str>,
    pub kind: Kind,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: FieldTable,
    pub alternate: Option<Box<str>>,
    /// What an x-delayed-message exchange keeps.
    pub(super) delayed: Option<Box<Delayed>>,
    /// Exchanges that have a binding to this one.
    pub sources: Sources,
    /// (destination, binding key) → the arguments of each binding between them.
    bindings: BTreeMap<(Destination, Box<str>), Vec<FieldTable>>,
    router: Router,
}

#[derive(Debug)]
enum Router {
    Direct(direct::Direct),
    Fanout(fanout::Fanout),
    Topic(topic::Topic),
    Headers(headers::Headers),
}

impl Exchange {
    #[must_use]
    pub fn new(name: Arc<str>, kind: Kind, durable: bool) -> Self {
        let router = match kind {
            Kind::Direct => Router::Direct(direct::Direct::default()),
            Kind::Fanout => Router::Fanout(fanout::Fanout::default()),
            Kind::Topic => Router::Topic(topic::Topic::default()),
            Kind::Headers => Router::Headers(headers::Headers::default()),
        };
        Self {
            name,
            kind,
            durable,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::default(),
            alternate: None,
            delayed: None,
            sources: Sources::default(),
            bindings: BTreeMap::new(),
            router,
        }
    }

    /// Checks the arguments of a binding before anything is changed (behaviour X16).
    ///
    /// # Errors
    /// The explanation for a 406.
    pub fn check_binding(&self, arguments: &FieldTable) -> Result<(), String> {
        match self.kind {
            Kind::Headers => headers::check(arguments),
            _ => Ok(()),
        }
    }

    /// Adds a binding; `false` when the same one is there already (behaviour X11).
    pub fn bind(&mut self, destination: Destination, key: &str, arguments: FieldTable) -> bool {
        let same_ends = self.bindings.entry((destination, key.into())).or_default();
        if same_ends.contains(&arguments) {
            return false;
        }
        match &mut self.router {
            Router::Headers(headers) => headers.bind(destination, key, &arguments),
            router if same_ends.is_empty() => router.bind(destination, key),
            _ => {}
        }
        same_ends.push(arguments);
        true
    }

    #[must_use]
    pub fn is_bound(&self, destination: Destination, key: &str, arguments: &FieldTable) -> bool {
        self.bindings.get(&(destination, key.into())).is_some_and(|same_ends| same_ends.contains(arguments))
    }

    /// Removes a binding; `false` when there is none with these arguments.
    pub fn unbind(&mut self, destination: Destination, key: &str, arguments: &FieldTable) -> bool {
        let ends = (destination, Box::from(key));
        let Some(same_ends) = self.bindings.get_mut(&ends) else { return false };
        let Some(at) = same_ends.iter().position(|a| a == arguments) else { return false };
        same_ends.remove(at);
        let last = same_ends.is_empty();
        if last {
            self.bindings.remove(&ends);
        }
        match &mut self.router {
            Router::Headers(headers) => headers.unbind(destination, key, arguments),
            router if last => router.unbind(destination, key),
            _ => {}
        }
        true
    }

    /// Removes every binding to a destination; returns how many there were.
    pub fn unbind_all(&mut self, destination: Destination) -> usize {
        let from = (destination, Box::from(""));
        let to_it = self.bindings.range(from..).take_while(|((d, _), _)| *d == destination);
        let doomed: Vec<_> = to_it.flat_map(|((_, key), all)| all.iter().map(|a| (key.clone(), a.clone()))).collect();
        for (key, arguments) in &doomed {
            self.unbind(destination, key, arguments);
        }
        doomed.len()
    }

    /// A policy, or the lack of one, has changed what applies: the argument is stronger (behaviour X10, P2).
    pub fn apply(&mut self, policy: &Definition) {
        let argument = match self.arguments.inner().get("alternate-exchange") {
            Some(AMQPValue::LongString(name)) => Some(String::from_utf8_lossy(name.as_bytes()).into_owned()),
            _ => None,
        };
        self.alternate = argument.or_else(|| policy.text("alternate-exchange").map(str::to_owned)).map(Into::into);
    }

    #[must_use]
    pub fn has_bindings(&self) -> bool {
        !self.bindings.is_empty()
    }

    /// Every binding: destination, key, arguments.
    pub fn bindings(&self) -> impl Iterator<Item = (Destination, &str, &FieldTable)> {
        self.bindings.iter().flat_map(|((d, key), all)| all.iter().map(move |a| (*d, &**key, a)))
    }

    /// Adds the destinations that a message leads to; a destination may be added more than once.
    pub fn route(&self, routing_key: &[u8], properties: Properties<'_>, found: &mut Vec<Destination>) {
        match &self.router {
            Router::Direct(direct) => direct.route(routing_key, found),
            Router::Fanout(fanout) => fanout.route(found),
            Router::Topic(topic) => topic.route(routing_key, found),
            Router::Headers(headers) => headers.route(properties, found),
        }
    }

    /// Whether routing depends on more than the routing key.
    #[must_use]
    pub fn looks_at_headers(&self) -> bool {
        self.kind == Kind::Headers
    }
}

impl Router {
    fn bind(&mut self, destination: Destination, key: &str) {
        match self {
            Self::Direct(direct) => direct.bind(destination, key),
            Self::Fanout(fanout) => fanout.bind(destination),
            Self::Topic(topic) => topic.bind(destination, key),
            Self::Headers(_) => {}
        }
    }

    fn unbind(&mut self, destination: Destination, key: &str) {
        match self {
            Self::Direct(direct) => direct.unbind(destination, key),
            Self::Fanout(fanout) => fanout.unbind(destination),
            Self::Topic(topic) => topic.unbind(destination, key),
            Self::Headers(_) => {}
        }
    }
}
