//! Policies: settings that an administrator lays over queues and exchanges by a pattern on their names (behaviour P1–P4).
//!
//! Of all policies that match, the one with the highest priority applies, alone; an operator policy is merged into it.

use std::collections::BTreeMap;

use fancy_regex::Regex;
use serde_json::{Map, Value as Json};

use super::queue::QueueType;
use super::queue::effective::{Overflow, parse_max_age};

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
const WITHOUT_EFFECT: [&str; 16] = [
    "ha-mode",
    "ha-params",
    "ha-sync-mode",
    "ha-sync-batch-size",
    "ha-promote-on-shutdown",
    "ha-promote-on-failure",
    "queue-master-locator",
    "queue-leader-locator",
    "queue-mode",
    "queue-version",
    "initial-cluster-size",
    "target-group-size",
    "federation-upstream",
    "federation-upstream-set",
    "max-in-memory-length",
    "max-in-memory-bytes",
];

impl Policy {
    /// # Errors
    /// RabbitMQ's explanation, without `Validation failed`.
    pub fn new(name: &str, pattern: &str, apply_to: ApplyTo, priority: i64, definition: &Map<String, Json>) -> Result<Self, String> {
        let regex = Regex::new(pattern).map_err(|error| format!("pattern: {error}"))?;
        if definition.is_empty() {
            return Err("no policy provided".to_owned());
        }
        let unknown: Vec<String> = definition
            .iter()
            .filter(|(key, _)| check_of(key).is_none())
            .map(|(key, value)| format!("{{<<\"{key}\">>,{}}}", term(value)))
            .collect();
        if !unknown.is_empty() {
            return Err(format!("[{}] are not recognised policy settings", unknown.join(",")));
        }
        for (key, value) in definition {
            let Some((what, check)) = check_of(key) else { continue };
            if !check(value) {
                return Err(format!("{} is not a valid {what}", term(value)));
            }
        }
        let values = definition.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let definition = Definition { values, operator_overflow: None };
        Ok(Self { name: name.to_owned(), pattern: pattern.to_owned(), apply_to, priority, definition, regex })
    }

    /// The same, with the keys that operators have.
    ///
    /// # Errors
    /// As for [`Policy::new`].
    pub fn new_operator(
        name: &str,
        pattern: &str,
        apply_to: ApplyTo,
        priority: i64,
        definition: &Map<String, Json>,
    ) -> Result<Self, String> {
        let foreign = definition.iter().filter(|(key, _)| !OPERATOR_KEYS.contains(&key.as_str()));
        let foreign: Vec<String> = foreign.map(|(key, value)| format!("{{<<\"{key}\">>,{}}}", term(value))).collect();
        if !foreign.is_empty() {
            return Err(format!("[{}] are not recognised policy settings", foreign.join(",")));
        }
        Self::new(name, pattern, apply_to, priority, definition)
    }

    /// A pattern that takes too many steps matches nothing.
    fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name).unwrap_or(false)
    }
}

/// A JSON value as Erlang writes it.
fn term(value: &Json) -> String {
    match value {
        Json::String(text) => format!("<<\"{text}\">>"),
        other => other.to_string(),
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
        "max-age" => ("max age", is_age),
        "stream-max-segment-size-bytes" => ("segment size", is_positive),
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
}

impl Policies {
    pub(super) fn set(&mut self, operator: bool, policy: Policy) {
        self.of(operator).insert(policy.name.clone(), policy);
    }

    pub(super) fn clear(&mut self, operator: bool, name: &str) {
        self.of(operator).remove(name);
    }

    fn of(&mut self, operator: bool) -> &mut BTreeMap<String, Policy> {
        if operator { &mut self.operators } else { &mut self.users }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.operators.is_empty()
    }

    /// What applies to a queue.
    pub(super) fn for_queue(&self, name: &str, kind: QueueType) -> Definition {
        self.merged(|policy| policy.apply_to.covers_queue(kind) && policy.matches(name))
    }

    pub(super) fn for_exchange(&self, name: &str) -> Definition {
        self.merged(|policy| policy.apply_to.covers_exchanges() && policy.matches(name))
    }

    fn merged(&self, applies: impl Fn(&Policy) -> bool) -> Definition {
        let strongest = |all: &BTreeMap<String, Policy>| {
            let first = all.values().filter(|policy| applies(policy)).max_by_key(|policy| policy.priority);
            first.map(|policy| policy.definition.clone())
        };
        let mut definition = strongest(&self.users).unwrap_or_default();
        if let Some(operator) = strongest(&self.operators) {
            definition.merge_operator(&operator);
        }
        definition
    }
}
