//! Runtime parameters: named values of components such as shovels, per virtual host or for the whole node. What a value may be is
//! the component's to say; policies are kept by the brokers, and limits with what they limit. The refusals are RabbitMQ's
//! (rabbit_runtime_parameters, rabbit_parameter_validation).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::definitions::VHOST_LIMITS;
use super::shovel;
use crate::broker::terms;

/// By component, virtual host and name.
#[derive(Clone, Debug, Default)]
pub struct Parameters(BTreeMap<(String, Arc<str>, String), Json>);

impl Parameters {
    pub fn set(&mut self, component: &str, vhost: &str, name: &str, value: Json) {
        self.0.insert(key(component, vhost, name), value);
    }

    /// Whether there was one.
    pub fn clear(&mut self, component: &str, vhost: &str, name: &str) -> bool {
        self.0.remove(&key(component, vhost, name)).is_some()
    }

    #[must_use]
    pub fn get(&self, component: &str, vhost: &str, name: &str) -> Option<&Json> {
        self.0.get(&key(component, vhost, name))
    }

    /// Component, virtual host, name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &str, &Json)> {
        self.0.iter().map(|((component, vhost, name), value)| (&**component, &**vhost, &**name, value))
    }

    pub(super) fn forget_vhost(&mut self, name: &str) {
        self.0.retain(|(_, vhost, _), _| **vhost != *name);
    }
}

fn key(component: &str, vhost: &str, name: &str) -> (String, Arc<str>, String) {
    (component.to_owned(), vhost.into(), name.to_owned())
}

/// The global parameter that has the name of the cluster.
pub const CLUSTER_NAME: &str = "cluster_name";
/// And what is said of it.
pub const CLUSTER_TAGS: &str = "cluster_tags";

/// By name.
pub type GlobalParameters = BTreeMap<String, Json>;

/// The component that is a shovel.
pub const SHOVEL: &str = "shovel";

/// Whether a component may have a parameter of this name and value.
///
/// # Errors
/// RabbitMQ's text.
pub fn check(component: &str, name: &str, value: &Json) -> Result<(), String> {
    let refusals = match component {
        "policy" => return Err("policies may not be set using this method".to_owned()),
        SHOVEL => shovel::check(name, value),
        VHOST_LIMITS => {
            let limits: [Key; 2] = [("max-connections", integer, Need::Optional), ("max-queues", integer, Need::Optional)];
            check_keys(name, &limits, value)
        }
        other => vec![format!("component {other} not found")],
    };
    if refusals.is_empty() { Ok(()) } else { Err(format!("Validation failed\n\n{}\n", refusals.join("\n"))) }
}

/// Whether a key has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Mandatory,
    Optional,
}

/// A key that an object may have, and what is wrong with a value of it.
pub(super) type Key = (&'static str, fn(&str, &Json) -> Option<String>, Need);

/// What is wrong with an object that may have these keys and no others, in the order in which RabbitMQ says it.
pub(super) fn check_keys(name: &str, keys: &[Key], value: &Json) -> Vec<String> {
    let Json::Object(entries) = value else { return vec![format!("{name} not a list {}", terms::of_json(value))] };
    let mut refusals = unrecognised(name, keys, entries);
    refusals.extend(keys.iter().rev().filter_map(|(key, check, need)| match entries.get(*key) {
        Some(value) => check(key, value),
        None => (*need == Need::Mandatory).then(|| format!("Key \"{key}\" not found in {name}")),
    }));
    refusals
}

fn unrecognised(name: &str, keys: &[Key], entries: &Map<String, Json>) -> Vec<String> {
    let is_known = |key: &str| keys.iter().any(|(known, ..)| *known == key);
    let unknown: Vec<String> = entries
        .iter()
        .filter(|(key, _)| !is_known(key))
        .map(|(key, value)| format!("{{{},{}}}", terms::of_json(&Json::String(key.clone())), terms::of_json(value)))
        .collect();
    if unknown.is_empty() { Vec::new() } else { vec![format!("Unrecognised terms [{}] in {name}", unknown.join(","))] }
}

fn unless(is_right: bool, key: &str, expected: &str, value: &Json) -> Option<String> {
    (!is_right).then(|| format!("{key} should be {expected}, actually was {}", terms::of_json(value)))
}

pub(super) fn integer(key: &str, value: &Json) -> Option<String> {
    unless(value.is_i64(), key, "a number", value)
}

pub(super) fn number(key: &str, value: &Json) -> Option<String> {
    unless(value.is_number(), key, "a number", value)
}

pub(super) fn boolean(key: &str, value: &Json) -> Option<String> {
    unless(value.is_boolean(), key, "boolean", value)
}

pub(super) fn binary(key: &str, value: &Json) -> Option<String> {
    unless(value.is_string(), key, "binary", value)
}

pub(super) fn list(key: &str, value: &Json) -> Option<String> {
    unless(value.is_array(), key, "list", value)
}

/// One of a few texts.
pub(super) fn one_of(allowed: &[&str], key: &str, value: &Json) -> Option<String> {
    let is_one = value.as_str().is_some_and(|text| allowed.contains(&text));
    let all: Vec<String> = allowed.iter().map(|text| format!("<<\"{text}\">>")).collect();
    unless(is_one, key, &format!("one of [{}]", all.join(",")), value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The texts are those of RabbitMQ 3.10.
    #[test]
    fn what_is_no_parameter() {
        let failed = |lines: &str| Err(format!("Validation failed\n\n{lines}\n"));
        assert_eq!(check("federation-upstream", "u", &json!({"uri": "amqp://"})), failed("component federation-upstream not found"));
        assert_eq!(check("policy", "p", &json!({})), Err("policies may not be set using this method".to_owned()));
        let limits = |value: Json| check(VHOST_LIMITS, "limits", &value);
        assert_eq!(limits(json!({"max-queues": 3, "max-connections": -1})), Ok(()));
        assert_eq!(limits(json!({"max-foo": 3})), failed("Unrecognised terms [{<<\"max-foo\">>,3}] in limits"));
        assert_eq!(limits(json!(5)), failed("limits not a list 5"));
        assert_eq!(limits(json!({"max-queues": "x"})), failed("max-queues should be a number, actually was <<\"x\">>"));
    }
}
