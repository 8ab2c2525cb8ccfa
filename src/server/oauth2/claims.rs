//! What the claims of a token mean to the broker: whose it is, until when, and its scopes, in the places where
//! rabbitmq_auth_backend_oauth2 looks for them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use crate::broker::{Timestamp, Wildcard};
use crate::config::ResourceServer;
use crate::node::identity::Token;

/// Scopes of a token.
const MOST_SCOPES: usize = 2048;
/// Where a requesting party token has its permissions.
const OF_REQUESTING_PARTY: &str = "authorization.permissions.scopes";
/// What somebody is called whom no claim names.
const UNKNOWN: &str = "unknown";

const TAGS: &[&str] = &["monitoring", "administrator", "management", "policymaker"];
const PERMISSIONS: &[&str] = &["read", "write", "configure"];

/// Who reads claims for a resource server, with what the configuration says of it.
#[derive(Debug)]
pub(super) struct Reader {
    id: String,
    kind: Option<String>,
    prefix: String,
    more: Vec<String>,
    aliases: BTreeMap<String, Vec<String>>,
    names: Vec<String>,
    require_exp: bool,
}

/// A token that is good, and whose it is.
#[derive(Clone, Debug)]
pub(in crate::server) struct Verified {
    pub(in crate::server) name: String,
    pub(in crate::server) token: Token,
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

impl Reader {
    pub(super) fn new(id: String, server: &ResourceServer, require_exp: bool) -> Self {
        let names: Vec<String> = server.preferred_username_claims.values().cloned().collect();
        Self {
            prefix: server.scope_prefix.clone().unwrap_or_else(|| format!("{id}.")),
            kind: server.resource_server_type.clone(),
            more: server.additional_scopes_key.as_deref().map(words).unwrap_or_default(),
            aliases: server.scope_aliases.iter().map(|(alias, scopes)| (alias.to_owned(), words(scopes))).collect(),
            names: if names.is_empty() { vec!["sub".to_owned(), "client_id".to_owned()] } else { names },
            require_exp,
            id,
        }
    }

    /// What the broker is called.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// # Errors
    /// Why the token is not good.
    pub(super) fn read(&self, claims: &Map<String, Json>, now_s: u64) -> Result<Verified, String> {
        let expires = self.expiry(claims, now_s)?;
        let scopes = self.scopes(claims)?;
        let texts = claims.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        let name = self.names.iter().find_map(|name| claims.get(name).and_then(Json::as_str)).unwrap_or(UNKNOWN).to_owned();
        Ok(Verified { name, token: Token { scopes, claims: texts.collect(), expires } })
    }

    fn expiry(&self, claims: &Map<String, Json>, now_s: u64) -> Result<Timestamp, String> {
        let Some(expires) = claims.get("exp") else {
            let why = "Provided JWT token has no exp claim";
            return if self.require_exp { Err(why.to_owned()) } else { Ok(Timestamp::NEVER) };
        };
        let number = expires.as_u64().or_else(|| expires.as_f64().map(whole));
        let expires = number.ok_or("Provided JWT token has an invalid exp claim: value is not a number")?;
        if expires <= now_s {
            return Err(format!("Provided JWT token has expired at timestamp {expires} (validated at {now_s})"));
        }
        Ok(Timestamp(expires.saturating_mul(1000)))
    }

    fn scopes(&self, claims: &Map<String, Json>) -> Result<Vec<String>, String> {
        let mut all = claims.get("scope").map(|scope| self.listed(scope)).unwrap_or_default();
        for path in self.more.iter().map(String::as_str).chain([OF_REQUESTING_PARTY]) {
            let path: Vec<&str> = path.split('.').filter(|part| !part.is_empty()).collect();
            self.collect(claims, &path, &mut all);
        }
        let meant: Vec<String> = all.iter().filter_map(|scope| self.aliases.get(scope)).flatten().cloned().collect();
        all.extend(meant);
        if let Some(Json::Array(details)) = claims.get("authorization_details") {
            details.iter().for_each(|detail| self.of_detail(detail, &mut all));
        }
        let ours: BTreeSet<String> = all.iter().filter_map(|scope| scope.strip_prefix(&self.prefix)).map(str::to_owned).collect();
        if ours.len() > MOST_SCOPES {
            return Err("too_many_scopes".to_owned());
        }
        Ok(ours.into_iter().collect())
    }

    /// A list, a text with spaces in between, or what an object has for this broker, without a prefix.
    fn listed(&self, value: &Json) -> Vec<String> {
        match value {
            Json::String(text) => words(text),
            Json::Array(all) => all.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
            Json::Object(by_server) => {
                let ours = by_server.get(&self.id).filter(|ours| !ours.is_object());
                let ours = ours.map(|ours| self.listed(ours)).unwrap_or_default();
                ours.into_iter().map(|scope| format!("{}.{scope}", self.id)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What is at a path, through the elements of lists as well.
    fn collect(&self, claims: &Map<String, Json>, path: &[&str], found: &mut Vec<String>) {
        let Some((first, rest)) = path.split_first() else { return };
        let Some(value) = claims.get(*first) else { return };
        match value {
            value if rest.is_empty() => found.extend(self.listed(value)),
            Json::Object(inner) => self.collect(inner, rest, found),
            Json::Array(all) => all.iter().filter_map(Json::as_object).for_each(|inner| self.collect(inner, rest, found)),
            _ => {}
        }
    }

    /// A rich authorization request: actions on locations such as `cluster:a/vhost:b/queue:c`.
    fn of_detail(&self, detail: &Json, found: &mut Vec<String>) {
        let field = |name: &str| detail.get(name);
        let is_meant = self.kind.is_some() && field("type").and_then(Json::as_str) == self.kind.as_deref();
        let (Some(actions), Some(locations), true) = (field("actions"), field("locations"), is_meant) else { return };
        let texts = |value: &Json| match value {
            Json::String(text) => vec![text.clone()],
            Json::Array(all) => all.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let places: Vec<String> = texts(locations).iter().filter_map(|location| self.place(location)).collect();
        for action in texts(actions) {
            if TAGS.contains(&action.as_str()) && !places.is_empty() {
                found.push(format!("{}tag:{action}", self.prefix));
            } else if PERMISSIONS.contains(&action.as_str()) {
                found.extend(places.iter().map(|place| format!("{}{action}:{place}", self.prefix)));
            }
        }
    }

    /// The end of a scope that a location means; `None` for one of another cluster.
    fn place(&self, location: &str) -> Option<String> {
        let parts = location.split('/').filter_map(|part| part.split_once(':'));
        let parts: BTreeMap<&str, &str> = parts.filter(|(_, value)| !value.is_empty()).collect();
        if !Wildcard::new(parts.get("cluster")?)?.covers(&self.id) {
            return None;
        }
        let name = match (parts.get("queue"), parts.get("exchange")) {
            (Some(queue), Some(exchange)) if queue != exchange => return None,
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => "*",
        };
        let or_any = |part: &str| parts.get(part).copied().unwrap_or("*");
        Some(format!("{}/{name}/{}", or_any("vhost"), or_any("routing-key")))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates, and a token of the past has expired")]
fn whole(seconds: f64) -> u64 {
    seconds as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reader(change: impl FnOnce(&mut ResourceServer)) -> Reader {
        let mut config = ResourceServer::default();
        change(&mut config);
        Reader::new("rabbitmq".to_owned(), &config, true)
    }

    fn read(reader: &Reader, claims: Json) -> Result<Verified, String> {
        let mut all = json!({"exp": 100});
        let Json::Object(more) = claims else { panic!("no object") };
        all.as_object_mut().expect("an object").extend(more);
        reader.read(all.as_object().expect("an object"), 50)
    }

    fn scopes(reader: &Reader, claims: Json) -> Vec<String> {
        read(reader, claims).expect("a good token").token.scopes
    }

    #[test]
    fn scopes_are_those_with_the_prefix() {
        let plain = reader(|_| {});
        let expected = ["read:a/b", "tag:x"];
        assert_eq!(scopes(&plain, json!({"scope": "rabbitmq.tag:x openid rabbitmq.read:a/b"})), expected);
        assert_eq!(scopes(&plain, json!({"scope": ["rabbitmq.tag:x", "rabbitmq.read:a/b", "rabbitmq.read:a/b", 3]})), expected);
        assert_eq!(
            scopes(&reader(|config| config.scope_prefix = Some("api://".to_owned())), json!({"scope": "api://x rabbitmq.y"})),
            ["x"]
        );
        assert_eq!(scopes(&reader(|config| config.scope_prefix = Some(String::new())), json!({"scope": "x y"})), ["x", "y"]);
        assert_eq!(scopes(&plain, json!({})), [""; 0]);
    }

    #[test]
    fn scopes_are_in_other_claims_as_well() {
        let more = reader(|config| config.additional_scopes_key = Some("roles a.b missing.too".to_owned()));
        let claims = json!({
            "roles": {"rabbitmq": ["read:a/b"], "other": ["read:c/d"]},
            "a": [{"b": "rabbitmq.write:a/b"}, {"b": ["rabbitmq.tag:x"]}, 3],
            "authorization": {"permissions": [{"scopes": ["rabbitmq.configure:a/b"]}]},
        });
        assert_eq!(scopes(&more, claims), ["configure:a/b", "read:a/b", "tag:x", "write:a/b"]);
    }

    #[test]
    fn aliases_stand_for_scopes() {
        let aliased =
            reader(|config| drop(config.scope_aliases.named.insert("dev".to_owned(), "rabbitmq.read:*/* rabbitmq.tag:x".to_owned())));
        assert_eq!(scopes(&aliased, json!({"scope": "dev"})), ["read:*/*", "tag:x"]);
    }

    #[test]
    fn authorization_details_are_scopes_in_another_form() {
        let rich = reader(|config| config.resource_server_type = Some("hutch".to_owned()));
        let detail = |more: Json| {
            let mut detail = json!({"type": "hutch", "actions": ["read", "write"], "locations": ["cluster:rabbit*/vhost:v/queue:q"]});
            detail.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            scopes(&rich, json!({"authorization_details": [detail]}))
        };
        assert_eq!(detail(json!({})), ["read:v/q/*", "write:v/q/*"]);
        assert_eq!(detail(json!({"actions": ["administrator", "nonsense"], "locations": "cluster:rabbitmq"})), ["tag:administrator"]);
        let exchange = "cluster:*/exchange:x/routing-key:k";
        assert_eq!(detail(json!({"actions": "configure", "locations": exchange})), ["configure:*/x/k"]);
        for nothing in [
            json!({"type": "other"}),
            json!({"locations": ["cluster:other/vhost:v"]}),
            json!({"locations": ["vhost:v"]}),
            json!({"locations": ["cluster:*/queue:a/exchange:b"]}),
        ] {
            assert_eq!(detail(nothing.clone()), [""; 0], "{nothing}");
        }
        assert_eq!(scopes(&reader(|_| {}), json!({"authorization_details": [{"actions": ["read"], "locations": ["cluster:*"]}]})), [""; 0]);
    }

    #[test]
    fn users_are_named_by_the_first_claim_that_is_there() {
        let name = |reader: &Reader, claims: Json| read(reader, claims).expect("a good token").name;
        let plain = reader(|_| {});
        assert_eq!(name(&plain, json!({"client_id": "c", "sub": "s"})), "s");
        assert_eq!(name(&plain, json!({"client_id": "c", "sub": 3})), "c");
        assert_eq!(name(&plain, json!({})), "unknown");
        let preferred = reader(|config| drop(config.preferred_username_claims.insert(1, "user_name".to_owned())));
        assert_eq!(name(&preferred, json!({"user_name": "u", "sub": "s"})), "u");
    }

    #[test]
    fn tokens_are_not_for_ever() {
        let plain = reader(|_| {});
        let lenient = Reader::new("rabbitmq".to_owned(), &ResourceServer::default(), false);
        let refused = |claims: Json| read(&plain, claims).map(|verified| verified.name).expect_err("it is not good");
        assert!(read(&plain, json!({"exp": 50.9e9})).is_ok());
        assert_eq!(refused(json!({"exp": 50})), "Provided JWT token has expired at timestamp 50 (validated at 50)");
        assert_eq!(refused(json!({"exp": -1})), "Provided JWT token has expired at timestamp 0 (validated at 50)");
        assert_eq!(refused(json!({"exp": "100"})), "Provided JWT token has an invalid exp claim: value is not a number");
        let nothing = Map::new();
        assert_eq!(lenient.read(&nothing, 50).expect("a good token").token.expires, Timestamp::NEVER);
        let no_end = plain.read(&nothing, 50).map(|verified| verified.name);
        assert_eq!(no_end, Err("Provided JWT token has no exp claim".to_owned()));
    }

    #[test]
    fn too_many_scopes_are_none() {
        let many: Vec<String> = (0..=MOST_SCOPES).map(|number| format!("rabbitmq.read:v/{number}")).collect();
        assert_eq!(read(&reader(|_| {}), json!({"scope": many})).map(|verified| verified.name), Err("too_many_scopes".to_owned()));
    }
}
