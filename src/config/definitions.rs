//! A definitions file: RabbitMQ's JSON of what exists in a node. Policies and operator policies are read; the other sections need
//! what does not exist yet, and are named.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::FileError;
use crate::broker::policy::Policy;

/// Sections with things that do not exist yet. Others, such as `rabbit_version`, say nothing about the node.
const NOT_THERE_YET: [&str; 8] =
    ["users", "vhosts", "permissions", "topic_permissions", "global_parameters", "queues", "exchanges", "bindings"];

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
#[derive(Debug, Default)]
pub struct Definitions {
    pub policies: Vec<VhostPolicy>,
    /// Sections that were left out although they are not empty.
    pub left_out: Vec<&'static str>,
}

impl Definitions {
    /// Reads a file; `vhosts` are the virtual hosts of the node.
    ///
    /// # Errors
    /// An unreadable file, bad JSON, a policy that RabbitMQ would refuse or of another virtual host. The file is named.
    pub fn load(path: &Path, vhosts: &[Arc<str>]) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        let read = text.and_then(|text| Self::parse(&text, vhosts));
        read.map_err(|why| FileError(format!("{}: {why}", path.display())))
    }

    fn parse(text: &str, vhosts: &[Arc<str>]) -> Result<Self, String> {
        let json: Map<String, Json> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut definitions = Self::default();
        for entry in section(&json, "policies")? {
            let vhost = vhost_of(entry, "policy", vhosts)?;
            definitions.add(VhostPolicy { vhost, operator: false, policy: policy("policy", entry, entry, false)? });
        }
        let parameters = section(&json, "parameters")?;
        let is_operator_policy = |entry: &&Json| entry.get("component").and_then(Json::as_str) == Some(OPERATOR_POLICY);
        for entry in parameters.iter().filter(is_operator_policy) {
            let vhost = vhost_of(entry, "operator policy", vhosts)?;
            let value = entry.get("value").unwrap_or(&Json::Null);
            definitions.add(VhostPolicy { vhost, operator: true, policy: policy("operator policy", entry, value, true)? });
        }
        let is_filled = |section: &&&str| json.get(**section).and_then(Json::as_array).is_some_and(|entries| !entries.is_empty());
        definitions.left_out = NOT_THERE_YET.iter().filter(is_filled).copied().collect();
        if parameters.iter().any(|entry| !is_operator_policy(&entry)) {
            definitions.left_out.push("parameters");
        }
        Ok(definitions)
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

fn name_of(entry: &Json) -> Option<&str> {
    entry.get("name").and_then(Json::as_str)
}

/// An entry without a virtual host belongs to the default one.
fn vhost_of(entry: &Json, what: &str, vhosts: &[Arc<str>]) -> Result<Arc<str>, String> {
    let named = match entry.get("vhost") {
        Some(vhost) => vhost.as_str().unwrap_or_default(),
        None => vhosts.first().map_or("/", |vhost| vhost),
    };
    let found = vhosts.iter().find(|vhost| &***vhost == named);
    found.cloned().ok_or_else(|| format!("{what} '{}': virtual host '{named}' does not exist", name_of(entry).unwrap_or_default()))
}

fn policy(what: &str, entry: &Json, value: &Json, operator: bool) -> Result<Policy, String> {
    let name = name_of(entry).ok_or_else(|| format!("a {what} without a name"))?;
    Policy::from_json(operator, name, value).map_err(|why| format!("{what} '{name}': {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Definitions, String> {
        Definitions::parse(text, &["/".into(), "other".into()])
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
        assert_eq!(definitions.left_out, ["queues", "bindings", "parameters"]);
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
