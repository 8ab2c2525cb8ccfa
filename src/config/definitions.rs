//! A definitions file: RabbitMQ's JSON of what exists in a node.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::FileError;
use crate::broker::policy::Policy;
use crate::node::Node;
use crate::node::definitions::{self, Salt};

/// The component of the parameters that are operator policies.
const OPERATOR_POLICY: &str = "operator_policy";

/// A policy of a virtual host.
#[derive(Clone, Debug, PartialEq)]
pub struct VhostPolicy {
    pub vhost: Arc<str>,
    pub operator: bool,
    pub policy: Policy,
}

impl VhostPolicy {
    fn is_about_the_same(&self, other: &Self) -> bool {
        let key = |p: &Self| (Arc::clone(&p.vhost), p.operator, p.policy.name.clone());
        key(self) == key(other)
    }
}

/// What a file defines.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    pub policies: Vec<VhostPolicy>,
    /// All sections as they stand in the file.
    pub sections: Map<String, Json>,
}

impl Definitions {
    /// Reads a file; entries without a virtual host belong to `default_vhost`.
    ///
    /// # Errors
    /// An unreadable file, bad JSON, a policy that RabbitMQ would refuse. The file is named.
    pub fn load(path: &Path, default_vhost: &str) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        let read = text.and_then(|text| Self::parse(&text, default_vhost));
        read.map_err(|why| FileError(format!("{}: {why}", path.display())))
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// Bad JSON, a policy that RabbitMQ would refuse.
    pub fn parse(text: &str, default_vhost: &str) -> Result<Self, String> {
        let json = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Self::from_json(json, default_vhost)
    }

    /// # Errors
    /// A policy that RabbitMQ would refuse, a section that is no list.
    pub fn from_json(mut json: Map<String, Json>, default_vhost: &str) -> Result<Self, String> {
        let mut policies = Self::default();
        for name in ["policies", "parameters", "permissions", "topic_permissions", "exchanges", "queues", "bindings"] {
            for entry in json.get_mut(name).and_then(Json::as_array_mut).into_iter().flatten().filter_map(Json::as_object_mut) {
                entry.entry("vhost").or_insert_with(|| default_vhost.into());
            }
        }
        for entry in section(&json, "policies")? {
            policies.add(VhostPolicy { vhost: vhost_of(entry), operator: false, policy: policy("policy", entry, entry, false)? });
        }
        let is_operator_policy = |entry: &&Json| entry.get("component").and_then(Json::as_str) == Some(OPERATOR_POLICY);
        for entry in section(&json, "parameters")?.iter().filter(is_operator_policy) {
            let value = entry.get("value").unwrap_or(&Json::Null);
            policies.add(VhostPolicy { vhost: vhost_of(entry), operator: true, policy: policy("operator policy", entry, value, true)? });
        }
        Ok(Self { sections: json, ..policies })
    }

    /// Gives a node what is defined for it: users, virtual hosts, permissions, parameters.
    ///
    /// # Errors
    /// What RabbitMQ would refuse, and what belongs to a virtual host that does not exist.
    pub fn apply_to(&self, node: &mut Node, salt: impl FnMut() -> Salt) -> Result<(), String> {
        definitions::take_all(node, &self.sections, salt)?;
        let missing = self.policies.iter().find(|policy| node.vhost(&policy.vhost).is_none());
        missing.map_or(Ok(()), |policy| {
            let what = if policy.operator { "operator policy" } else { "policy" };
            Err(format!("{what} '{}': virtual host '{}' does not exist", policy.policy.name, policy.vhost))
        })
    }

    /// The entries of a section; none when it is not there.
    pub fn entries(&self, name: &str) -> &[Json] {
        section(&self.sections, name).unwrap_or_default()
    }

    /// The last one of a name counts.
    fn add(&mut self, policy: VhostPolicy) {
        self.policies.retain(|other| !other.is_about_the_same(&policy));
        self.policies.push(policy);
    }

    /// What is new or has changed since the file was read before.
    pub fn changed_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a VhostPolicy> {
        self.policies.iter().filter(|policy| !before.policies.contains(policy))
    }

    /// What is gone since then.
    pub fn gone_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a VhostPolicy> {
        before.policies.iter().filter(|policy| !self.policies.iter().any(|now| now.is_about_the_same(policy)))
    }
}

fn section<'a>(json: &'a Map<String, Json>, name: &str) -> Result<&'a [Json], String> {
    match json.get(name) {
        None => Ok(&[]),
        Some(Json::Array(entries)) => Ok(entries),
        Some(_) => Err(format!("'{name}' is not a list")),
    }
}

fn vhost_of(entry: &Json) -> Arc<str> {
    entry.get("vhost").and_then(Json::as_str).unwrap_or_default().into()
}

fn policy(what: &str, entry: &Json, value: &Json, operator: bool) -> Result<Policy, String> {
    let name = entry.get("name").and_then(Json::as_str).ok_or_else(|| format!("a {what} without a name"))?;
    Policy::from_json(operator, name, value).map_err(|why| format!("{what} '{name}': {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::vhosts::Vhost;

    fn parse(text: &str) -> Result<Definitions, String> {
        let definitions = Definitions::parse(text, "/")?;
        let mut node = Node::default();
        node.put_vhost(Vhost::new("/"));
        definitions.apply_to(&mut node, || [0; 4])?;
        Ok(definitions)
    }

    fn names<'a>(policies: impl Iterator<Item = &'a VhostPolicy>) -> Vec<String> {
        policies.map(|p| format!("{} {} {}", p.vhost, if p.operator { "operator" } else { "user" }, p.policy.name)).collect()
    }

    #[test]
    fn policies_of_users_and_operators() {
        let definitions = parse(
            r#"{
                "rabbit_version": "3.13.7",
                "users": [],
                "vhosts": [{"name": "other"}],
                "queues": [{"name": "q"}],
                "bindings": [{"source": "x"}],
                "policies": [
                    {"vhost": "/", "name": "p", "pattern": ".*", "apply-to": "queues", "priority": 1, "definition": {"max-length": 1}},
                    {"vhost": "other", "name": "p", "pattern": ".*", "definition": {"max-length": 2}},
                    {"vhost": "/", "name": "p", "pattern": ".*", "definition": {"max-length": 3}}
                ],
                "parameters": [
                    {"vhost": "/", "component": "operator_policy", "name": "o", "value": {"pattern": ".*", "definition": {"expires": 5}}},
                    {"vhost": "/", "component": "shovel", "name": "s", "value": {}}
                ]
            }"#,
        )
        .expect("definitions");
        assert_eq!(names(definitions.policies.iter()), ["other user p", "/ user p", "/ operator o"]);
        assert_eq!(definitions.policies[1].policy.definition.integer("max-length"), Some(3), "the last one of a name counts");
        assert_eq!(definitions.entries("queues"), [serde_json::json!({"name": "q", "vhost": "/"})]);
    }

    #[test]
    fn what_is_refused() {
        for (text, why) in [
            ("{", "EOF while parsing an object at line 1 column 1"),
            (r#"{"policies": 5}"#, "'policies' is not a list"),
            (r#"{"policies": [{"pattern": "q", "definition": {"max-length": 1}}]}"#, "a policy without a name"),
            (
                r#"{"policies": [{"name": "p", "pattern": "q", "definition": {"max-length": "3"}}]}"#,
                "policy 'p': Validation failed\n\n<<\"3\">> is not a valid maximum length\n",
            ),
            (
                r#"{"policies": [{"name": "p", "vhost": "v", "pattern": "q", "definition": {"max-length": 3}}]}"#,
                "policy 'p': virtual host 'v' does not exist",
            ),
            (
                r#"{"parameters": [{"component": "operator_policy", "name": "o", "value": {"pattern": "q", "definition": {}}}]}"#,
                "operator policy 'o': Validation failed\n\nno policy provided\n",
            ),
        ] {
            assert_eq!(parse(text).map(|_| ()), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn the_difference_to_the_file_before() {
        let file = |policies: &[(&str, u32)]| {
            let policies: Vec<String> = policies
                .iter()
                .map(|(name, max)| format!(r#"{{"name": "{name}", "pattern": "q", "definition": {{"max-length": {max}}}}}"#))
                .collect();
            parse(&format!(r#"{{"policies": [{}]}}"#, policies.join(","))).expect("definitions")
        };
        let before = file(&[("same", 1), ("other", 1), ("gone", 1)]);
        let now = file(&[("new", 1), ("other", 2), ("same", 1)]);
        assert_eq!(names(now.changed_since(&before)), ["/ user new", "/ user other"]);
        assert_eq!(names(now.gone_since(&before)), ["/ user gone"]);
    }
}
