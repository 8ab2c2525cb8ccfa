//! The node's part of RabbitMQ's definitions (behaviour §9.1): users, virtual hosts, permissions, parameters, in JSON. The same text
//! keeps a node over restarts.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::Node;
use super::password::{Algorithm, PasswordHash, SALT};
use super::permissions::{Permissions, TopicPermissions};
use super::users::{User, UserLimits};
use super::vhosts::{Vhost, VhostLimits};
use crate::broker::queue::QueueType;

/// The component of the parameters in which definitions have the limits of virtual hosts.
pub const VHOST_LIMITS: &str = "vhost-limits";

/// Salt for passwords that come in plain text.
pub type Salt = [u8; SALT];

impl Node {
    /// The sections of definitions that are the node's: of one virtual host, or of all with the users.
    #[must_use]
    pub fn to_definitions(&self, only: Option<&str>) -> Map<String, Json> {
        let wanted = |vhost: &str| only.is_none_or(|only| only == vhost);
        let mut sections = Map::new();
        let mut add = |name: &str, values: Vec<Json>| drop(sections.insert(name.to_owned(), Json::Array(values)));
        if only.is_none() {
            add("users", self.users.values().map(|user| user_to_json(user)).collect());
            add("vhosts", self.vhosts.values().map(|vhost| vhost_to_json(vhost)).collect());
            let permissions = self.permissions.iter().map(|((user, vhost), permissions)| {
                let mut entry = permissions_to_json(permissions);
                entry.insert("user".to_owned(), json!(**user));
                entry.insert("vhost".to_owned(), json!(**vhost));
                Json::Object(entry)
            });
            add("permissions", permissions.collect());
            let topics = self.topic_permissions.iter().map(|((user, vhost, exchange), topic)| {
                json!({"user": **user, "vhost": **vhost, "exchange": **exchange, "write": topic.write, "read": topic.read})
            });
            add("topic_permissions", topics.collect());
            let global = self.global_parameters.iter().map(|(name, value)| json!({"name": name, "value": value}));
            add("global_parameters", global.collect());
        }
        let limits = self.vhosts.values().filter(|vhost| wanted(&vhost.name)).filter_map(|vhost| {
            let value = limits_to_json(&vhost.limits);
            let some = !value.is_empty();
            some.then(|| json!({"component": VHOST_LIMITS, "vhost": *vhost.name, "name": "limits", "value": value}))
        });
        let parameters = self.parameters.iter().filter(|(_, vhost, _, _)| wanted(vhost));
        let parameters =
            parameters.map(|(component, vhost, name, value)| json!({"component": component, "vhost": vhost, "name": name, "value": value}));
        add("parameters", limits.chain(parameters).collect());
        sections
    }

    /// Takes in one entry of `users`. `salt` is for a password that stands there in plain text.
    ///
    /// # Errors
    /// What RabbitMQ says of a user that it refuses.
    pub fn take_user(&mut self, entry: &Json, salt: Salt) -> Result<(), String> {
        let name = text(entry, "name").ok_or("a user without a name")?;
        let before = self.user(name);
        let password = password(entry, salt)?;
        let password = password.or_else(|| before.map(|user| user.password.clone())).unwrap_or_else(PasswordHash::none);
        let tags = match (entry.get("tags"), before) {
            (None, Some(before)) => before.tags.clone(),
            (tags, _) => tags.map_or_else(Vec::new, tags_from_json),
        };
        let limits = match (entry.get("limits"), before) {
            (Some(Json::Object(limits)), _) => user_limits(limits),
            (_, Some(before)) => before.limits,
            (_, None) => UserLimits::default(),
        };
        self.put_user(User { name: name.into(), password, tags, limits });
        Ok(())
    }

    /// Takes in one entry of `vhosts`: what it does not say stays as it is.
    ///
    /// # Errors
    /// An entry without a name, or a queue type that does not exist.
    pub fn take_vhost(&mut self, entry: &Json) -> Result<(), String> {
        let name = text(entry, "name").ok_or("a virtual host without a name")?;
        let before = self.vhost(name);
        if let (None, Some(limit)) = (before, self.vhost_max.filter(|limit| self.vhosts.len() >= *limit)) {
            return Err(format!("cannot create vhost '{name}': vhost limit of {limit} is reached"));
        }
        let mut vhost = before.map_or_else(|| Vhost::new(name), |vhost| Vhost::clone(vhost));
        let metadata = entry.get("metadata").unwrap_or(&Json::Null);
        let get = |key: &str| entry.get(key).or_else(|| metadata.get(key)).filter(|value| !value.is_null());
        if let Some(description) = get("description").and_then(Json::as_str) {
            description.clone_into(&mut vhost.description);
        }
        if let Some(tags) = get("tags") {
            vhost.tags = tags_from_json(tags);
        }
        if let Some(kind) = get("default_queue_type").and_then(Json::as_str).filter(|kind| !matches!(*kind, "" | "undefined")) {
            // Before 3.13, definitions had the name of RabbitMQ's module.
            let short = kind.strip_prefix("rabbit_").and_then(|kind| kind.strip_suffix("_queue")).unwrap_or(kind);
            let named = QueueType::named(short.as_bytes());
            vhost.default_queue_type = Some(named.ok_or_else(|| format!("invalid queue type: {kind}"))?);
        }
        if let Some(protected) = get("protected_from_deletion").and_then(Json::as_bool) {
            vhost.protected_from_deletion = protected;
        }
        if let Some(tracing) = get("tracing").and_then(Json::as_bool) {
            vhost.tracing = tracing;
        }
        if let Some(Json::Array(limits)) = entry.get("limits") {
            vhost.limits =
                limits.iter().filter_map(|l| Some((text(l, "name")?.to_owned(), l.get("value")?.clone()))).collect::<Map<_, _>>().into();
        } else if let Some(Json::Object(limits)) = entry.get("limits") {
            vhost.limits = limits.clone().into();
        }
        self.put_vhost(vhost);
        Ok(())
    }

    /// Takes in one entry of `permissions`.
    ///
    /// # Errors
    /// What is missing, does not exist, or is no pattern.
    pub fn take_permissions(&mut self, entry: &Json) -> Result<(), String> {
        let (user, vhost) = (needed(entry, "user")?, needed(entry, "vhost")?);
        let permissions = Permissions::new(needed(entry, "configure")?, needed(entry, "write")?, needed(entry, "read")?)?;
        self.set_permissions(user, vhost, permissions).map_err(|refusal| refusal.to_string())
    }

    /// Takes in one entry of `topic_permissions`.
    ///
    /// # Errors
    /// What is missing, does not exist, or is no pattern.
    pub fn take_topic_permissions(&mut self, entry: &Json) -> Result<(), String> {
        let (user, vhost, exchange) = (needed(entry, "user")?, needed(entry, "vhost")?, needed(entry, "exchange")?);
        let topic = TopicPermissions::new(needed(entry, "write")?, needed(entry, "read")?)?;
        self.set_topic_permissions(user, vhost, exchange, topic).map_err(|refusal| refusal.to_string())
    }

    /// Takes in one entry of `parameters`, but for policies, which are a broker's.
    ///
    /// # Errors
    /// What is missing, and a virtual host that does not exist.
    pub fn take_parameter(&mut self, entry: &Json) -> Result<(), String> {
        let (component, vhost, name) = (needed(entry, "component")?, needed(entry, "vhost")?, needed(entry, "name")?);
        let value = entry.get("value").ok_or_else(|| missing("value"))?;
        let known = self.vhost(vhost).ok_or_else(|| format!("Virtual host \"{vhost}\" does not exist"))?;
        if let (VHOST_LIMITS, Json::Object(limits)) = (component, value) {
            let limited = Vhost { limits: limits.clone().into(), ..Vhost::clone(known) };
            self.put_vhost(limited);
        } else {
            self.parameters.set(component, vhost, name, value.clone());
        }
        Ok(())
    }

    /// Takes in one entry of `global_parameters`.
    ///
    /// # Errors
    /// What is missing.
    pub fn take_global_parameter(&mut self, entry: &Json) -> Result<(), String> {
        let value = entry.get("value").ok_or_else(|| missing("value"))?;
        self.global_parameters.insert(needed(entry, "name")?.to_owned(), value.clone());
        Ok(())
    }
}

/// A user as definitions have it.
#[must_use]
pub fn user_to_json(user: &User) -> Json {
    let mut limits = Map::new();
    let all = [("max-connections", user.limits.max_connections), ("max-channels", user.limits.max_channels)];
    for (name, limit) in all {
        limit.map(|limit| limits.insert(name.to_owned(), json!(limit)));
    }
    json!({
        "name": *user.name,
        "password_hash": user.password.to_base64(),
        "hashing_algorithm": user.password.algorithm.name(),
        "tags": user.tags,
        "limits": limits,
    })
}

fn vhost_to_json(vhost: &Vhost) -> Json {
    let kind = vhost.default_queue_type.map(QueueType::name);
    let mut entry = json!({
        "name": *vhost.name,
        "description": vhost.description,
        "tags": vhost.tags,
        "metadata": {"description": vhost.description, "tags": vhost.tags},
    });
    if let Some(kind) = kind {
        entry["default_queue_type"] = json!(kind);
        entry["metadata"]["default_queue_type"] = json!(kind);
    }
    for (key, is) in [("protected_from_deletion", vhost.protected_from_deletion), ("tracing", vhost.tracing)] {
        if is {
            entry["metadata"][key] = json!(true);
        }
    }
    entry
}

/// `configure`, `write` and `read`.
#[must_use]
pub fn permissions_to_json(permissions: &Permissions) -> Map<String, Json> {
    let Permissions { configure, write, read } = permissions;
    let all = [("configure", configure), ("write", write), ("read", read)];
    all.into_iter().map(|(name, pattern)| (name.to_owned(), json!(pattern.source()))).collect()
}

/// Limits by RabbitMQ's names; those that are not set are left out.
#[must_use]
pub fn limits_to_json(limits: &VhostLimits) -> Map<String, Json> {
    let all = [("max-connections", limits.max_connections), ("max-queues", limits.max_queues)];
    all.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), json!(limit?)))).collect()
}

/// A negative limit is none (behaviour P8).
fn limit(limits: &Map<String, Json>, name: &str) -> Option<u64> {
    limits.get(name)?.as_u64()
}

impl From<Map<String, Json>> for VhostLimits {
    fn from(limits: Map<String, Json>) -> Self {
        Self { max_connections: limit(&limits, "max-connections"), max_queues: limit(&limits, "max-queues") }
    }
}

/// A user's limits from RabbitMQ's names.
#[must_use]
pub fn user_limits(limits: &Map<String, Json>) -> UserLimits {
    UserLimits { max_connections: limit(limits, "max-connections"), max_channels: limit(limits, "max-channels") }
}

/// Tags as a list, or with commas between them as RabbitMQ had them before 3.9.
#[must_use]
pub fn tags_from_json(tags: &Json) -> Vec<String> {
    let text = |tag: &str| Some(tag.trim().to_owned()).filter(|tag| !tag.is_empty());
    match tags {
        Json::String(tags) => tags.split(',').filter_map(text).collect(),
        Json::Array(tags) => tags.iter().filter_map(Json::as_str).filter_map(text).collect(),
        _ => Vec::new(),
    }
}

/// What an entry says of a password: a hash, or the password itself. `None` when it says nothing.
fn password(entry: &Json, salt: Salt) -> Result<Option<PasswordHash>, String> {
    let algorithm = match text(entry, "hashing_algorithm") {
        None => Algorithm::default(),
        Some(name) => Algorithm::named(name).ok_or_else(|| format!("unknown hashing algorithm '{name}'"))?,
    };
    if let Some(password) = text(entry, "password") {
        return Ok(Some(PasswordHash::new(algorithm, salt, password)));
    }
    match text(entry, "password_hash") {
        None => Ok(None),
        Some("") => Ok(Some(PasswordHash::none())),
        Some(hash) => PasswordHash::from_base64(algorithm, hash).map(Some).ok_or_else(|| "password_hash is not base64".to_owned()),
    }
}

fn text<'a>(entry: &'a Json, key: &str) -> Option<&'a str> {
    entry.get(key)?.as_str()
}

fn needed<'a>(entry: &'a Json, key: &str) -> Result<&'a str, String> {
    text(entry, key).ok_or_else(|| missing(key))
}

fn missing(key: &str) -> String {
    format!("key '{key}' is missing")
}

/// Reads the sections that [`Node::to_definitions`] has written, over what the node has.
///
/// # Errors
/// Which entry is wrong.
pub fn take_all(node: &mut Node, sections: &Map<String, Json>, mut salt: impl FnMut() -> Salt) -> Result<(), String> {
    let entries = |name: &str| match sections.get(name) {
        None | Some(Json::Null) => Ok(&[][..]),
        Some(Json::Array(entries)) => Ok(&entries[..]),
        Some(_) => Err(format!("'{name}' is not a list")),
    };
    for user in entries("users")? {
        node.take_user(user, salt()).map_err(|why| of("user", user, &why))?;
    }
    for vhost in entries("vhosts")? {
        node.take_vhost(vhost).map_err(|why| of("virtual host", vhost, &why))?;
    }
    for entry in entries("permissions")? {
        node.take_permissions(entry).map_err(|why| of("permissions", entry, &why))?;
    }
    for entry in entries("topic_permissions")? {
        node.take_topic_permissions(entry).map_err(|why| of("topic permissions", entry, &why))?;
    }
    for entry in entries("parameters")?.iter().filter(|entry| text(entry, "component") != Some("operator_policy")) {
        node.take_parameter(entry).map_err(|why| of("parameter", entry, &why))?;
    }
    for entry in entries("global_parameters")? {
        node.take_global_parameter(entry).map_err(|why| of("global parameter", entry, &why))?;
    }
    Ok(())
}

fn of(what: &str, entry: &Json, why: &str) -> String {
    let name: Arc<str> = ["name", "user"].iter().find_map(|key| text(entry, key)).unwrap_or_default().into();
    format!("{what} '{name}': {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Node, String> {
        let mut node = Node::default();
        let sections: Map<String, Json> = serde_json::from_str(text).expect("JSON");
        take_all(&mut node, &sections, || [1, 2, 3, 4]).map(|()| node)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let node = read(
            r#"{
                "rabbit_version": "3.8.1",
                "users": [
                    {"name": "old", "password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "tags": "administrator,x"},
                    {"name": "new", "password": "test12", "hashing_algorithm": "rabbit_password_hashing_sha512", "tags": ["management"],
                     "limits": {"max-connections": 5, "max-channels": -1}},
                    {"name": "none", "password_hash": "", "tags": []}
                ],
                "vhosts": [{"name": "/"}, {"name": "v", "metadata": {"description": "d", "tags": ["t"], "default_queue_type": "quorum"}}],
                "permissions": [{"user": "old", "vhost": "v", "configure": "", "write": "^a", "read": ".*"}],
                "topic_permissions": [{"user": "old", "vhost": "v", "exchange": "amq.topic", "write": "w", "read": "r"}],
                "parameters": [
                    {"component": "vhost-limits", "vhost": "v", "name": "limits", "value": {"max-queues": 3, "max-connections": -1}},
                    {"component": "shovel", "vhost": "/", "name": "s", "value": {"src-queue": "q"}},
                    {"component": "operator_policy", "vhost": "/", "name": "o", "value": {}}
                ],
                "global_parameters": [{"name": "cluster_name", "value": "c"}]
            }"#,
        )
        .expect("definitions");
        assert!(node.login("old", b"test12", false).is_some());
        assert!(node.login("new", b"test12", false).is_some());
        assert!(node.login("none", b"", false).is_none());
        assert_eq!(node.user("old").expect("a user").tags, ["administrator", "x"]);
        assert_eq!(node.user("new").expect("a user").limits, UserLimits { max_connections: Some(5), max_channels: None });
        let vhost = node.vhost("v").expect("a virtual host");
        assert_eq!((vhost.default_queue_type, &*vhost.description), (Some(QueueType::Quorum), "d"));
        assert_eq!(vhost.limits, VhostLimits { max_connections: None, max_queues: Some(3) });
        let written = node.to_definitions(None);
        let mut again = Node::default();
        take_all(&mut again, &written, || [0; 4]).expect("what was written");
        assert_eq!(again.to_definitions(None), written);
        assert_eq!(again.parameters.get("shovel", "/", "s"), Some(&json!({"src-queue": "q"})));
        let of_vhost = node.to_definitions(Some("v"));
        assert_eq!(of_vhost.keys().collect::<Vec<_>>(), ["parameters"]);
    }

    #[test]
    fn what_is_refused() {
        for (text, why) in [
            (r#"{"users": {}}"#, "'users' is not a list"),
            (r#"{"users": [{"tags": []}]}"#, "user '': a user without a name"),
            (r#"{"users": [{"name": "u", "password_hash": "?"}]}"#, "user 'u': password_hash is not base64"),
            (r#"{"users": [{"name": "u", "hashing_algorithm": "rot13"}]}"#, "user 'u': unknown hashing algorithm 'rot13'"),
            (r#"{"permissions": [{"user": "u", "vhost": "v"}]}"#, "permissions 'u': key 'configure' is missing"),
            (
                r#"{"permissions": [{"user": "u", "vhost": "v", "configure": "", "write": "", "read": ""}]}"#,
                "permissions 'u': User \"u\" does not exist",
            ),
        ] {
            assert_eq!(read(text).map(|_| ()), Err(why.to_owned()), "{text}");
        }
    }
}
