//! Definitions: RabbitMQ's JSON of what exists in a node (behaviour §9.1), from a file or from the HTTP API.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use super::FileError;
use crate::broker::Declaration;
use crate::broker::policy::Policy;
use crate::node::definitions::{self, Salt};
use crate::node::{Node, parameters};

/// Components that mean nothing here, in definitions of brokers where they do.
const WITHOUT_EFFECT: [&str; 2] = ["federation-upstream", "federation-upstream-set"];
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
    fn what(&self) -> &'static str {
        if self.operator { "operator policy" } else { "policy" }
    }

    fn is_about_the_same(&self, other: &Self) -> bool {
        let key = |p: &Self| (Arc::clone(&p.vhost), p.operator, p.policy.name.clone());
        key(self) == key(other)
    }
}

/// An exchange, a queue or a binding of a virtual host.
#[derive(Clone, Debug, PartialEq)]
pub struct VhostDeclaration {
    pub vhost: Arc<str>,
    pub declaration: Declaration,
}

/// An entry that is not taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What it is, for a person.
    pub entry: String,
    /// Where it belongs, as RabbitMQ puts it behind its texts.
    pub path: Option<String>,
    pub why: String,
}

impl Refused {
    /// What RabbitMQ's HTTP API says.
    #[must_use]
    pub fn reason(&self) -> String {
        match &self.path {
            Some(path) => format!("{} ({path})", self.why),
            None => self.why.clone(),
        }
    }

    /// Something belongs to a virtual host that does not exist.
    #[must_use]
    pub fn no_vhost(entry: String, vhost: &str) -> Self {
        let why = if vhost.is_empty() {
            "Virtual host does not exist and is not specified in definitions file.".to_owned()
        } else {
            format!("Please create virtual host \"{vhost}\" prior to importing definitions.")
        };
        Self { entry, path: None, why }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let colon = if self.entry.is_empty() { "" } else { ": " };
        write!(f, "{}{colon}{}", self.entry, self.why)
    }
}

/// What a file defines.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    pub policies: Vec<VhostPolicy>,
    /// Exchanges, then queues, then bindings.
    pub declarations: Vec<VhostDeclaration>,
    /// All sections as they stand in the file.
    pub sections: Map<String, Json>,
    /// The first entry that cannot be taken in; nothing of what comes after it is here.
    pub refused: Option<Refused>,
    /// Stands for the text of the file; empty without one.
    pub digest: String,
}

/// Makes a declaration of an entry.
type Read = fn(&Json) -> Result<Declaration, String>;

/// Sections whose entries belong to virtual hosts.
const OF_VHOSTS: [&str; 7] = ["policies", "parameters", "permissions", "topic_permissions", "exchanges", "queues", "bindings"];
/// Sections that are about the whole node.
const OF_THE_NODE: [&str; 5] = ["users", "vhosts", "permissions", "topic_permissions", "global_parameters"];

impl Definitions {
    /// Reads a file; entries without a virtual host belong to `default_vhost`.
    ///
    /// # Errors
    /// An unreadable file, bad JSON, an entry that RabbitMQ would refuse. The file is named.
    pub fn load(path: &Path, default_vhost: &str) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        let read = text.and_then(|text| Self::parse(&text, default_vhost));
        read.map_err(|why| FileError(format!("{}: {why}", path.display())))
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// Bad JSON, an entry that RabbitMQ would refuse.
    pub fn parse(text: &str, default_vhost: &str) -> Result<Self, String> {
        let json = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| error.to_string())?;
        let mut definitions = Self::read(json, Some(default_vhost));
        definitions.refused.as_ref().map_or(Ok(()), |refused| Err(refused.to_string()))?;
        definitions.digest = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(definitions)
    }

    /// Those of one virtual host, to which everything in them belongs.
    #[must_use]
    pub fn of_vhost(mut json: Map<String, Json>, vhost: &str) -> Self {
        for name in OF_THE_NODE {
            json.remove(name);
        }
        for name in OF_VHOSTS {
            for entry in json.get_mut(name).and_then(Json::as_array_mut).into_iter().flatten().filter_map(Json::as_object_mut) {
                entry.insert("vhost".to_owned(), vhost.into());
            }
        }
        Self::read(json, Some(vhost))
    }

    /// Reads all there is, up to the first entry that is refused.
    #[must_use]
    pub fn read(mut json: Map<String, Json>, default_vhost: Option<&str>) -> Self {
        for name in OF_VHOSTS.iter().filter(|_| default_vhost.is_some()) {
            for entry in json.get_mut(*name).and_then(Json::as_array_mut).into_iter().flatten().filter_map(Json::as_object_mut) {
                entry.entry("vhost").or_insert_with(|| default_vhost.unwrap_or_default().into());
            }
        }
        let mut definitions = Self::default();
        definitions.refused = definitions.take(&mut json).err();
        definitions.sections = json;
        definitions
    }

    fn take(&mut self, json: &mut Map<String, Json>) -> Result<(), Refused> {
        self.take_parameters(json)?;
        for entry in section(json, "policies")? {
            self.add(false, entry, entry)?;
        }
        let kinds: [(_, _, Read); 3] = [
            ("exchanges", "exchange", Declaration::exchange),
            ("queues", "queue", Declaration::queue),
            ("bindings", "binding", Declaration::binding),
        ];
        for (name, what, read) in kinds {
            for entry in section(json, name)? {
                let vhost = vhost_of(entry);
                let declaration = read(entry).map_err(|why| {
                    let why = format!("{}: {why}", described(what, entry));
                    Refused { entry: String::new(), path: None, why }
                })?;
                self.declarations.push(VhostDeclaration { vhost, declaration });
            }
        }
        Ok(())
    }

    /// Sees to it that the section has no parameters but those that may be taken in.
    fn take_parameters(&mut self, json: &mut Map<String, Json>) -> Result<(), Refused> {
        let mut outcome = Ok(());
        let entries = section(json, "parameters")?;
        let fine = entries.iter().position(|entry| {
            outcome = self.take_parameter(entry);
            outcome.is_err()
        });
        if let Some(fine) = fine
            && let Some(Json::Array(entries)) = json.get_mut("parameters")
        {
            entries.truncate(fine);
        }
        outcome
    }

    fn take_parameter(&mut self, entry: &Json) -> Result<(), Refused> {
        let text = |key: &str| entry.get(key).and_then(Json::as_str).unwrap_or_default();
        let value = entry.get("value").unwrap_or(&Json::Null);
        match text("component") {
            OPERATOR_POLICY => self.add(true, entry, value),
            // Kept for the day they go back: who moves a broker here shall not have to take its definitions apart.
            component if WITHOUT_EFFECT.contains(&component) => {
                tracing::warn!("{} is kept and has no effect: there is no {component} here", described("parameter", entry));
                Ok(())
            }
            component => parameters::check(component, text("name"), value).map_err(|why| Refused {
                entry: described("parameter", entry),
                path: Some(format!("{}/{component}/{}", text("vhost"), text("name"))),
                why,
            }),
        }
    }

    /// Gives a node what is defined for it: users, virtual hosts, permissions, parameters.
    ///
    /// # Errors
    /// What RabbitMQ would refuse. What came before it has been taken in.
    pub fn apply_to(&self, node: &mut Node, salt: impl FnMut() -> Salt) -> Result<(), Refused> {
        definitions::take_all(node, &self.sections, salt).map_err(|why| Refused { entry: String::new(), path: None, why })
    }

    /// The first entry that belongs to a virtual host that does not exist.
    #[must_use]
    pub fn misplaced(&self, node: &Node) -> Option<Refused> {
        let policies = self.policies.iter().map(|policy| (&policy.vhost, policy.what(), &*policy.policy.name));
        let declarations = self.declarations.iter().map(|d| (&d.vhost, d.declaration.what(), d.declaration.name()));
        let (vhost, what, name) = policies.chain(declarations).find(|(vhost, ..)| node.vhost(vhost).is_none())?;
        Some(Refused::no_vhost(format!("{what} '{name}'"), vhost))
    }

    /// The entries of a section; none when it is not there.
    pub fn entries(&self, name: &str) -> &[Json] {
        section(&self.sections, name).unwrap_or_default()
    }

    /// The last policy of a name counts.
    fn add(&mut self, operator: bool, entry: &Json, value: &Json) -> Result<(), Refused> {
        let vhost = vhost_of(entry);
        let what = if operator { "operator policy" } else { "policy" };
        let Some(name) = entry.get("name").and_then(Json::as_str) else {
            let why = format!("{what} in virtual host '{vhost}' has undefined name");
            return Err(Refused { entry: format!("a {what} without a name"), path: None, why });
        };
        let path = if operator { format!("{vhost}/{OPERATOR_POLICY}/{name}") } else { format!("{vhost}/{name}") };
        let refused = |why| Refused { entry: format!("{what} '{name}'"), path: Some(path), why };
        let policy = VhostPolicy { policy: Policy::from_json(operator, name, value).map_err(refused)?, vhost, operator };
        self.policies.retain(|other| !other.is_about_the_same(&policy));
        self.policies.push(policy);
        Ok(())
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

fn section<'a>(json: &'a Map<String, Json>, name: &str) -> Result<&'a [Json], Refused> {
    match json.get(name) {
        None | Some(Json::Null) => Ok(&[]),
        Some(Json::Array(entries)) => Ok(entries),
        Some(_) => Err(Refused { entry: String::new(), path: None, why: format!("'{name}' is not a list") }),
    }
}

fn vhost_of(entry: &Json) -> Arc<str> {
    entry.get("vhost").and_then(Json::as_str).unwrap_or_default().into()
}

fn described(what: &str, entry: &Json) -> String {
    let name = ["name", "source"].iter().find_map(|key| entry.get(key)?.as_str()).unwrap_or_default();
    format!("{what} '{name}'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::vhosts::Vhost;

    fn parse(text: &str) -> Result<Definitions, String> {
        let definitions = Definitions::parse(text, "/")?;
        let mut node = Node::default();
        node.put_vhost(Vhost::new("/"));
        definitions.apply_to(&mut node, || [0; 4]).map_err(|refused| refused.to_string())?;
        definitions.misplaced(&node).map_or(Ok(definitions), |refused| Err(refused.to_string()))
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
                "bindings": [{"source": "x", "destination": "q"}],
                "policies": [
                    {"vhost": "/", "name": "p", "pattern": ".*", "apply-to": "queues", "priority": 1, "definition": {"max-length": 1}},
                    {"vhost": "other", "name": "p", "pattern": ".*", "definition": {"max-length": 2}},
                    {"vhost": "/", "name": "p", "pattern": ".*", "definition": {"max-length": 3}}
                ],
                "parameters": [
                    {"vhost": "/", "component": "operator_policy", "name": "o", "value": {"pattern": ".*", "definition": {"expires": 5}}},
                    {"vhost": "/", "component": "shovel", "name": "s",
                     "value": {"src-uri": "amqp://", "dest-uri": "amqp://", "src-queue": "q"}}
                ]
            }"#,
        )
        .expect("definitions");
        assert_eq!(names(definitions.policies.iter()), ["/ operator o", "other user p", "/ user p"]);
        assert_eq!(definitions.policies[2].policy.definition.integer("max-length"), Some(3), "the last one of a name counts");
        assert_eq!(definitions.entries("queues"), [serde_json::json!({"name": "q", "vhost": "/"})]);
    }

    /// Of a broker that is federated.
    #[test]
    fn what_means_nothing_here_is_kept() {
        let upstream = r#"{"vhost": "/", "component": "federation-upstream", "name": "u", "value": {"uri": "amqp://elsewhere"}}"#;
        let definitions = Definitions::parse(&format!(r#"{{"parameters": [{upstream}]}}"#), "/").expect("definitions");
        assert_eq!(definitions.entries("parameters").len(), 1);
    }

    #[test]
    fn what_is_refused() {
        for (text, why) in [
            ("{", "EOF while parsing an object at line 1 column 1"),
            (r#"{"policies": 5}"#, "'policies' is not a list"),
            (
                r#"{"policies": [{"pattern": "q", "definition": {"max-length": 1}}]}"#,
                "a policy without a name: policy in virtual host '/' has undefined name",
            ),
            (
                r#"{"policies": [{"name": "p", "pattern": "q", "definition": {"max-length": "3"}}]}"#,
                "policy 'p': Validation failed\n\n<<\"3\">> is not a valid maximum length\n",
            ),
            (
                r#"{"policies": [{"name": "p", "vhost": "v", "pattern": "q", "definition": {"max-length": 3}}]}"#,
                "policy 'p': Please create virtual host \"v\" prior to importing definitions.",
            ),
            (
                r#"{"parameters": [{"component": "operator_policy", "name": "o", "value": {"pattern": "q", "definition": {}}}]}"#,
                "operator policy 'o': Validation failed\n\nno policy provided\n",
            ),
            (
                r#"{"parameters": [{"component": "mqtt", "name": "u", "value": {}}]}"#,
                "parameter 'u': Validation failed\n\ncomponent mqtt not found\n",
            ),
            (r#"{"queues": [{"name": "q", "arguments": 5}]}"#, "queue 'q': arguments are not an object"),
            (r#"{"exchanges": [{"name": "x"}]}"#, "exchange 'x': key 'type' is missing"),
            (
                r#"{"bindings": [{"source": "x", "destination": "q", "destination_type": "table"}]}"#,
                "binding 'x': unknown destination type 'table'",
            ),
        ] {
            assert_eq!(parse(text).map(|_| ()), Err(why.to_owned()), "{text}");
        }
    }

    /// What comes before an entry that is refused is there, and nothing of what comes after it.
    #[test]
    fn reading_stops_where_something_is_refused() {
        let read = |text: &str| Definitions::read(serde_json::from_str(text).expect("JSON"), None);
        let definitions = read(
            r#"{
                "parameters": [
                    {"component": "vhost-limits", "vhost": "/", "name": "limits", "value": {}},
                    {"component": "what", "vhost": "/", "name": "n", "value": {}},
                    {"component": "vhost-limits", "vhost": "/", "name": "limits", "value": {}}
                ],
                "policies": [{"name": "p", "vhost": "/", "pattern": "q", "definition": {"max-length": 3}}]
            }"#,
        );
        assert_eq!((definitions.entries("parameters").len(), definitions.policies.len()), (1, 0));
        let refused = definitions.refused.expect("a refusal");
        assert_eq!(refused.reason(), "Validation failed\n\ncomponent what not found\n (//what/n)");
        let definitions = read(r#"{"exchanges": [{"name": "x", "type": "direct"}], "queues": [{"name": "q"}, {}], "bindings": [{}]}"#);
        assert_eq!(definitions.declarations.len(), 2);
        assert_eq!(definitions.refused.expect("a refusal").to_string(), "queue '': key 'name' is missing");
    }

    #[test]
    fn those_of_one_virtual_host_are_all_its_own() {
        let sections = serde_json::json!({
            "users": [{"name": "u"}],
            "vhosts": [{"name": "w"}],
            "policies": [{"name": "p", "pattern": "q", "definition": {"max-length": 3}}],
            "queues": [{"name": "q", "vhost": "w"}],
        });
        let Json::Object(sections) = sections else { return };
        let definitions = Definitions::of_vhost(sections, "v");
        let vhosts = (&*definitions.policies[0].vhost, &*definitions.declarations[0].vhost);
        assert_eq!((vhosts, definitions.entries("users")), (("v", "v"), &[][..]));
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
