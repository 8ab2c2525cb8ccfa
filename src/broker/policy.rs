//! Policies: settings that an administrator lays over queues and exchanges by a pattern on their names (behaviour P1–P4).
//!
//! Of all policies that match, the one with the highest priority applies, alone; an operator policy is merged into it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fancy_regex::Regex;
use serde_json::{Map, Value as Json};

use super::queue::QueueType;
use super::queue::effective::{Overflow, parse_max_age};
use super::terms;

/// What a policy may be laid over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplyTo {
    #[default]
    All,
    Queues,
    ClassicQueues,
    QuorumQueues,
    Streams,
    Exchanges,
}

impl ApplyTo {
    /// The value of `apply-to` with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "all" => Self::All,
            "queues" => Self::Queues,
            "classic_queues" => Self::ClassicQueues,
            "quorum_queues" => Self::QuorumQueues,
            "streams" => Self::Streams,
            "exchanges" => Self::Exchanges,
            _ => return None,
        })
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Queues => "queues",
            Self::ClassicQueues => "classic_queues",
            Self::QuorumQueues => "quorum_queues",
            Self::Streams => "streams",
            Self::Exchanges => "exchanges",
        }
    }

    fn covers_queue(self, kind: QueueType) -> bool {
        match self {
            Self::All | Self::Queues => true,
            Self::ClassicQueues => kind == QueueType::Classic,
            Self::QuorumQueues => kind == QueueType::Quorum,
            Self::Streams => kind == QueueType::Stream,
            Self::Exchanges => false,
        }
    }

    fn covers_exchanges(self) -> bool {
        matches!(self, Self::All | Self::Exchanges)
    }
}

/// What a policy sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definition {
    values: BTreeMap<String, Json>,
    /// An operator's `overflow`, which is stronger than an argument.
    pub operator_overflow: Option<String>,
}

impl Definition {
    #[must_use]
    pub fn integer(&self, key: &str) -> Option<i64> {
        self.values.get(key)?.as_i64()
    }

    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key)?.as_str()
    }

    /// Keys and their values.
    #[must_use]
    pub fn values(&self) -> &BTreeMap<String, Json> {
        &self.values
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Lays an operator's definition over this one (behaviour P4: of numbers the lowest).
    fn merge_operator(&mut self, operator: &Self) {
        for (key, value) in &operator.values {
            if key == "overflow" {
                self.operator_overflow = value.as_str().map(str::to_owned);
            }
            let lower = match (self.integer(key), value.as_i64()) {
                // A delivery limit that is off gives way to one that is not.
                (Some(current), Some(operator)) if current < 0 || operator < 0 => operator > current,
                (Some(current), Some(operator)) => operator < current,
                _ => true,
            };
            if lower {
                self.values.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The policies that apply to a queue or an exchange, by name, and what they set together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    pub policy: Option<Arc<str>>,
    pub operator_policy: Option<Arc<str>>,
    pub definition: Definition,
}

/// A policy, or an operator policy.
#[derive(Clone, Debug)]
pub struct Policy {
    pub name: String,
    pub pattern: String,
    pub apply_to: ApplyTo,
    pub priority: i64,
    pub definition: Definition,
    regex: Regex,
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        let all = |p: &Self| (p.name.clone(), p.pattern.clone(), p.apply_to, p.priority, p.definition.clone());
        all(self) == all(other)
    }
}

/// Keys that operators may set (behaviour P4).
const OPERATOR_KEYS: [&str; 9] = [
    "expires",
    "message-ttl",
    "max-length",
    "max-length-bytes",
    "max-in-memory-length",
    "max-in-memory-bytes",
    "delivery-limit",
    "overflow",
    "target-group-size",
];

/// Keys that are known and mean nothing on one node, or belong to what does not exist here.
const WITHOUT_EFFECT: [&str; 10] = [
    "ha-mode",
    "ha-params",
    "ha-sync-mode",
    "ha-sync-batch-size",
    "ha-promote-on-shutdown",
    "ha-promote-on-failure",
    "queue-master-locator",
    "target-group-size",
    "federation-upstream",
    "federation-upstream-set",
];

impl Policy {
    /// From the value of a policy as it stands in definitions and in the HTTP API: `pattern`, `definition` and perhaps
    /// `priority` and `apply-to`. An operator policy has fewer keys to set.
    ///
    /// # Errors
    /// RabbitMQ's text.
    pub fn from_json(operator: bool, name: &str, value: &Json) -> Result<Self, String> {
        let policy = Self::parse(operator, name, value);
        policy.map_err(|why| format!("Validation failed\n\n{why}\n"))
    }

    fn parse(operator: bool, name: &str, value: &Json) -> Result<Self, String> {
        let needed = |key: &str| value.get(key).ok_or_else(|| format!("Key \"{key}\" not found in {name}"));
        let priority = match value.get("priority") {
            None => 0,
            Some(priority) => {
                priority.as_i64().ok_or_else(|| format!("priority should be a number, actually was {}", terms::of_json(priority)))?
            }
        };
        let pattern = needed("pattern")?;
        let pattern = pattern.as_str().ok_or_else(|| format!("pattern should be a binary, actually was {}", terms::of_json(pattern)))?;
        let apply_to = match value.get("apply-to") {
            None => ApplyTo::All,
            Some(named) => named.as_str().and_then(ApplyTo::named).ok_or_else(|| unknown_apply_to(named))?,
        };
        let definition = needed("definition")?;
        let definition =
            definition.as_object().ok_or_else(|| format!("parse error while reading policy: {}", terms::of_json(definition)))?;
        let invalid = |error| format!("pattern should be regular expression but is invalid: {error}");
        let regex = Regex::new(pattern).map_err(invalid)?;
        let definition = Definition { values: checked(operator, definition)?, operator_overflow: None };
        Ok(Self { name: name.to_owned(), pattern: pattern.to_owned(), apply_to, priority, definition, regex })
    }

    /// What [`Policy::from_json`] takes.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let definition: Map<String, Json> = self.definition.values.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        serde_json::json!({
            "pattern": self.pattern,
            "apply-to": self.apply_to.name(),
            "priority": self.priority,
            "definition": definition,
        })
    }

    /// A pattern that takes too many steps matches nothing.
    fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name).unwrap_or(false)
    }
}

fn unknown_apply_to(named: &Json) -> String {
    let named = named.as_str().map_or_else(|| terms::of_json(named), str::to_owned);
    let known = "'queues', 'classic_queues', 'quorum_queues', 'streams', 'exchanges' or 'all'";
    format!("apply-to '{named}' unrecognised; should be one of: {known}")
}

/// The settings, if every one is known and well-formed. RabbitMQ names the first bad value, or else all unknown keys.
fn checked(operator: bool, definition: &Map<String, Json>) -> Result<BTreeMap<String, Json>, String> {
    if definition.is_empty() {
        return Err("no policy provided".to_owned());
    }
    let check_of = |key: &str| check_of(key).filter(|_| !operator || OPERATOR_KEYS.contains(&key));
    for (key, value) in definition {
        let Some((what, check)) = check_of(key) else { continue };
        if !check(value) {
            return Err(format!("{} is not a valid {what}", terms::of_json(value)));
        }
    }
    let unknown = definition.iter().filter(|(key, _)| check_of(key).is_none());
    let unknown: Vec<String> = unknown.map(|(key, value)| format!("{{<<\"{key}\">>,{}}}", terms::of_json(value))).collect();
    if unknown.is_empty() {
        Ok(definition.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    } else {
        Err(format!("[{}] are not recognised policy settings", unknown.join(",")))
    }
}

type Check = fn(&Json) -> bool;

fn is_not_negative(value: &Json) -> bool {
    value.as_u64().is_some()
}

fn is_integer(value: &Json) -> bool {
    value.as_i64().is_some()
}

fn is_positive(value: &Json) -> bool {
    value.as_u64().is_some_and(|n| n > 0)
}

fn is_text(value: &Json) -> bool {
    value.is_string()
}

fn is_overflow(value: &Json) -> bool {
    value.as_str().is_some_and(|name| Overflow::named(name.as_bytes()).is_some())
}

fn is_strategy(value: &Json) -> bool {
    matches!(value.as_str(), Some("at-most-once" | "at-least-once"))
}

fn is_age(value: &Json) -> bool {
    value.as_str().is_some_and(|age| parse_max_age(age.as_bytes()).is_some())
}

/// Larger segments do not fit what RabbitMQ counts their positions with.
fn is_segment_size(value: &Json) -> bool {
    value.as_u64().is_some_and(|bytes| bytes <= 3_000_000_000)
}

fn is_locator(value: &Json) -> bool {
    matches!(value.as_str(), Some("client-local" | "balanced" | "random" | "least-leaders"))
}

fn is_queue_mode(value: &Json) -> bool {
    matches!(value.as_str(), Some("default" | "lazy"))
}

fn is_queue_version(value: &Json) -> bool {
    matches!(value.as_i64(), Some(1 | 2))
}

/// What a key is called where its value is wrong, and its check.
fn check_of(key: &str) -> Option<(&'static str, Check)> {
    Some(match key {
        "alternate-exchange" => ("alternate exchange name", is_text),
        "dead-letter-exchange" => ("dead letter exchange name", is_text),
        "dead-letter-routing-key" => ("dead letter routing key", is_text),
        "dead-letter-strategy" => ("dead letter strategy", is_strategy),
        "message-ttl" => ("message TTL", is_not_negative),
        "expires" => ("queue expiry", is_positive),
        "max-length" => ("maximum length", is_not_negative),
        "max-length-bytes" => ("maximum length in bytes", is_not_negative),
        "overflow" => ("overflow value", is_overflow),
        "delivery-limit" => ("delivery limit", is_integer),
        "max-in-memory-length" | "max-in-memory-bytes" => ("maximum memory in bytes", is_not_negative),
        "initial-cluster-size" => ("cluster size", is_not_negative),
        "queue-leader-locator" => ("queue leader locator value", is_locator),
        "queue-mode" => ("queue-mode value", is_queue_mode),
        "queue-version" => ("queue-version value", is_queue_version),
        "max-age" => ("max age", is_age),
        "stream-max-segment-size-bytes" => ("segment size", is_segment_size),
        "consumer-timeout" => ("consumer timeout", is_positive),
        key if WITHOUT_EFFECT.contains(&key) => ("value", |_| true),
        _ => return None,
    })
}

/// All policies of a virtual host, by name.
#[derive(Debug, Default)]
pub(super) struct Policies {
    users: BTreeMap<String, Policy>,
    operators: BTreeMap<String, Policy>,
    /// What applies, by the names of both policies: shared by all to which they apply.
    applied: BTreeMap<(Option<String>, Option<String>), Arc<Applied>>,
}

impl Policies {
    pub(super) fn set(&mut self, operator: bool, policy: Policy) {
        self.applied.clear();
        self.of(operator).insert(policy.name.clone(), policy);
    }

    /// `false` if there is none of this name.
    pub(super) fn clear(&mut self, operator: bool, name: &str) -> bool {
        self.applied.clear();
        self.of(operator).remove(name).is_some()
    }

    fn of(&mut self, operator: bool) -> &mut BTreeMap<String, Policy> {
        if operator { &mut self.operators } else { &mut self.users }
    }

    /// All of one sort, by name.
    pub(super) fn all(&self, operator: bool) -> impl Iterator<Item = &Policy> {
        if operator { self.operators.values() } else { self.users.values() }
    }

    /// What applies to a queue.
    pub(super) fn for_queue(&mut self, name: &str, kind: QueueType) -> Option<Arc<Applied>> {
        self.merged(|policy| policy.apply_to.covers_queue(kind) && policy.matches(name))
    }

    pub(super) fn for_exchange(&mut self, name: &str) -> Option<Arc<Applied>> {
        self.merged(|policy| policy.apply_to.covers_exchanges() && policy.matches(name))
    }

    /// The name of the policy that applies to an exchange.
    pub(super) fn name_for_exchange(&self, name: &str) -> Option<&str> {
        let applies = |policy: &Policy| policy.apply_to.covers_exchanges() && policy.matches(name);
        strongest(&self.users, applies).map(|policy| policy.name.as_str())
    }

    /// What applies to a queue, a user's policy and an operator's, not merged.
    pub(super) fn applying(&self, name: &str, kind: QueueType) -> (Option<Policy>, Option<Policy>) {
        let applies = |policy: &Policy| policy.apply_to.covers_queue(kind) && policy.matches(name);
        (strongest(&self.users, applies).cloned(), strongest(&self.operators, applies).cloned())
    }

    fn merged(&mut self, applies: impl Fn(&Policy) -> bool) -> Option<Arc<Applied>> {
        let (user, operator) = (strongest(&self.users, &applies), strongest(&self.operators, &applies));
        if user.is_none() && operator.is_none() {
            return None;
        }
        let name = |policy: Option<&Policy>| policy.map(|policy| policy.name.clone());
        let merge = || {
            let mut definition = user.map_or_else(Definition::default, |policy| policy.definition.clone());
            if let Some(operator) = operator {
                definition.merge_operator(&operator.definition);
            }
            let name = |policy: Option<&Policy>| policy.map(|policy| policy.name.as_str().into());
            Arc::new(Applied { policy: name(user), operator_policy: name(operator), definition })
        };
        Some(Arc::clone(self.applied.entry((name(user), name(operator))).or_insert_with(merge)))
    }
}

/// Of the policies that apply, the one of the highest priority.
fn strongest(all: &BTreeMap<String, Policy>, applies: impl Fn(&Policy) -> bool) -> Option<&Policy> {
    all.values().filter(|policy| applies(policy)).max_by_key(|policy| policy.priority)
}

#[cfg(test)]
mod tests;
