//! Exchanges and their bindings: which destinations a routing key and headers lead to. Knows no queue, only ids.

mod consistent_hash;
pub mod deduplication;
mod direct;
mod fanout;
mod hash;
mod headers;
mod kind;
mod modulus_hash;
mod random;
mod recent_history;
#[cfg(test)]
mod tests;
mod topic;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use slotmap::new_key_type;

use super::Timestamp;
use super::counters::ExchangeCounters;
use super::delayed::Delayed;
use super::error::{self, Error};
use super::policy::Applied;
use super::queue::QueueId;
use super::random::Random;
use crate::amqp::{AMQPValue, FieldTable, Message};
use deduplication::Deduplication;
pub use kind::Kind;
pub use recent_history::{Kept, RecentHistory};

new_key_type! {
    /// An exchange of one virtual host.
    pub struct ExchangeId;
}

/// Where a binding leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    Queue(QueueId),
    Exchange(ExchangeId),
}

/// A binding that comes, as the routers see it.
struct Binding<'a> {
    destination: Destination,
    /// The destination's name: what must not depend on the order of declarations depends on it.
    name: &'a str,
    key: &'a str,
    arguments: &'a FieldTable,
    /// There is no other between these ends with this key.
    first: bool,
}

/// A message with all its routing keys.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    pub message: &'a Message,
    /// CC and BCC keys.
    pub more_keys: &'a [Vec<u8>],
}

impl<'a> Published<'a> {
    pub fn keys(self) -> impl Iterator<Item = &'a [u8]> {
        std::iter::once(self.message.routing_key()).chain(self.more_keys.iter().map(Vec::as_slice))
    }
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
    /// Messages seen before are not routed again.
    pub deduplication: Option<Deduplication>,
    /// The last messages, for those that bind later.
    pub history: Option<RecentHistory>,
    /// What the messages that it delays are known by in the records; 0 where none are kept.
    pub(super) number: u64,
    /// The policies that apply.
    pub(super) policy: Option<Arc<Applied>>,
    pub(super) counters: ExchangeCounters,
    /// (destination, binding key) → the arguments of each binding between them.
    bindings: BTreeMap<(Destination, Box<str>), Vec<FieldTable>>,
    /// What it routes as: its own type, or what x-delayed-type says.
    routes_as: Kind,
    router: Router,
}

#[derive(Debug)]
enum Router {
    Direct(direct::Direct),
    Fanout(fanout::Fanout),
    Topic(topic::Topic),
    Headers(headers::Headers),
    ConsistentHash(consistent_hash::ConsistentHash),
    Random(random::Random),
    ModulusHash(modulus_hash::ModulusHash),
}

impl Exchange {
    /// # Errors
    /// 406 for arguments that this type does not take; `vhost` is for the text.
    pub fn new(vhost: &str, name: Arc<str>, kind: Kind, durable: bool, arguments: FieldTable) -> Result<Self, Error> {
        let resource = error::exchange(vhost, &name);
        let routes_as = if kind == Kind::DelayedMessage { delayed_type(&arguments)? } else { kind };
        let router = match routes_as {
            Kind::Direct => Router::Direct(direct::Direct::default()),
            Kind::Fanout | Kind::RecentHistory | Kind::MessageDeduplication | Kind::DelayedMessage => {
                Router::Fanout(fanout::Fanout::default())
            }
            Kind::Topic => Router::Topic(topic::Topic::default()),
            Kind::Headers => Router::Headers(headers::Headers::default()),
            Kind::ConsistentHash => Router::ConsistentHash(consistent_hash::ConsistentHash::new(&arguments, &resource)?),
            Kind::Random | Kind::LocalRandom => Router::Random(random::Random::default()),
            Kind::ModulusHash => Router::ModulusHash(modulus_hash::ModulusHash::default()),
        };
        let history = if routes_as == Kind::RecentHistory { Some(RecentHistory::new(&arguments)?) } else { None };
        let deduplication = Deduplication::new(&arguments, &resource, routes_as == Kind::MessageDeduplication)?;
        Ok(Self {
            name,
            kind,
            durable,
            auto_delete: false,
            internal: false,
            arguments,
            alternate: None,
            delayed: (kind == Kind::DelayedMessage).then(Box::default),
            sources: Sources::default(),
            deduplication,
            history,
            number: 0,
            policy: None,
            counters: ExchangeCounters::default(),
            bindings: BTreeMap::new(),
            routes_as,
            router,
        })
    }

    /// Checks the key and arguments of a binding before anything is changed (behaviour X16, X17, X19).
    ///
    /// # Errors
    /// The explanation for a 406.
    pub fn check_binding(&self, key: &str, arguments: &FieldTable) -> Result<(), String> {
        match self.routes_as {
            Kind::Headers => headers::check(arguments),
            Kind::ConsistentHash => consistent_hash::check_key(key),
            Kind::LocalRandom => random::check_local_key(key),
            _ => Ok(()),
        }
    }

    /// Adds a binding to the destination with this name; `false` when the same one is there already (behaviour X11).
    pub fn bind(&mut self, destination: Destination, name: &str, key: &str, arguments: FieldTable) -> bool {
        let same_ends = self.bindings.entry((destination, key.into())).or_default();
        if same_ends.contains(&arguments) {
            return false;
        }
        self.router.bind(&Binding { destination, name, key, arguments: &arguments, first: same_ends.is_empty() });
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
            Router::ConsistentHash(ring) => ring.unbind(destination),
            Router::Random(random) => random.unbind(destination),
            Router::ModulusHash(modulus) => modulus.unbind(destination),
            Router::Direct(direct) if last => direct.unbind(destination, key),
            Router::Fanout(fanout) if last => fanout.unbind(destination),
            Router::Topic(topic) if last => topic.unbind(destination, key),
            Router::Direct(_) | Router::Fanout(_) | Router::Topic(_) => {}
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
    pub fn apply(&mut self, policy: Option<Arc<Applied>>) {
        let set = policy.as_ref().and_then(|applied| applied.definition.text("alternate-exchange"));
        let argument = match self.arguments.inner().get("alternate-exchange") {
            Some(AMQPValue::LongString(name)) => Some(String::from_utf8_lossy(name.as_bytes()).into_owned()),
            _ => None,
        };
        self.alternate = argument.or_else(|| set.map(str::to_owned)).map(Into::into);
        self.policy = policy;
    }

    #[must_use]
    pub fn has_bindings(&self) -> bool {
        !self.bindings.is_empty()
    }

    /// Every binding: destination, key, arguments.
    pub fn bindings(&self) -> impl Iterator<Item = (Destination, &str, &FieldTable)> {
        self.bindings.iter().flat_map(|((d, key), all)| all.iter().map(move |a| (*d, &**key, a)))
    }

    /// The same, all or those to one destination.
    pub fn bindings_to(&self, to: Option<Destination>) -> impl Iterator<Item = (Destination, &str, &FieldTable)> {
        let from = to.map_or(Bound::Unbounded, |to| Bound::Included((to, Box::from(""))));
        let wanted = self.bindings.range((from, Bound::Unbounded)).take_while(move |((d, _), _)| to.is_none_or(|to| to == *d));
        wanted.flat_map(|((d, key), all)| all.iter().map(move |a| (*d, &**key, a)))
    }

    /// Adds the destinations that a message leads to; a destination may be added more than once.
    pub(in crate::broker) fn route(&self, published: Published<'_>, random: &mut Random, found: &mut Vec<Destination>) {
        match &self.router {
            Router::Direct(direct) => published.keys().for_each(|key| direct.route(key, found)),
            Router::Fanout(fanout) => fanout.route(found),
            Router::Topic(topic) => published.keys().for_each(|key| topic.route(key, found)),
            Router::Headers(headers) => headers.route(published.message.properties(), found),
            Router::ConsistentHash(ring) => ring.route(published, found),
            Router::Random(one) => one.route(random, found),
            Router::ModulusHash(modulus) => modulus.route(published, found),
        }
    }

    /// Whether it remembers messages that it routes.
    #[must_use]
    pub fn remembers(&self) -> bool {
        self.deduplication.is_some() || self.history.is_some()
    }

    /// Whether this message is a duplicate of one before.
    #[must_use]
    pub fn has_seen(&self, published: Published<'_>, now: Timestamp) -> bool {
        self.deduplication.as_ref().is_some_and(|deduplication| deduplication.is_duplicate(published.message.properties(), now))
    }

    /// Whether messages with the same routing key always go the same way, with no effect but that: routes that only
    /// such exchanges are part of can be kept for the next message.
    #[must_use]
    pub fn routes_by_key_alone(&self) -> bool {
        let router = match &self.router {
            Router::Direct(_) | Router::Fanout(_) | Router::Topic(_) | Router::ModulusHash(_) => true,
            Router::ConsistentHash(ring) => ring.is_by_routing_key(),
            Router::Headers(_) | Router::Random(_) => false,
        };
        router && !self.remembers() && self.delayed.is_none()
    }
}

/// A number that stands for these bytes, the same in every release.
pub(super) fn digest(bytes: &[u8]) -> u64 {
    hash::hash(bytes)
}

/// The type that an x-delayed-message exchange routes as (behaviour X22).
fn delayed_type(arguments: &FieldTable) -> Result<Kind, Error> {
    let named = match arguments.inner().get("x-delayed-type") {
        Some(AMQPValue::LongString(name)) => std::str::from_utf8(name.as_bytes()).ok().and_then(Kind::named),
        _ => None,
    };
    let refusal = || Error::precondition("Invalid argument, 'x-delayed-type' must be an existing exchange type");
    named.filter(|kind| *kind != Kind::DelayedMessage).ok_or_else(refusal)
}

impl Router {
    fn bind(&mut self, binding: &Binding<'_>) {
        let &Binding { destination, key, arguments, first, .. } = binding;
        match self {
            Self::Headers(headers) => headers.bind(destination, key, arguments),
            Self::ConsistentHash(ring) => ring.bind(binding),
            Self::Random(random) => random.bind(destination),
            Self::ModulusHash(modulus) => modulus.bind(binding),
            Self::Direct(direct) if first => direct.bind(destination, key),
            Self::Fanout(fanout) if first => fanout.bind(destination),
            Self::Topic(topic) if first => topic.bind(destination, key),
            Self::Direct(_) | Self::Fanout(_) | Self::Topic(_) => {}
        }
    }
}
