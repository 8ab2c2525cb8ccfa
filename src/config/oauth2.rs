//! How tokens of OAuth 2 are read: what the broker is called in them, and whose keys they are signed with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::ClientTls;
use super::syntax::segment;

/// Several names of the broker, each of which may be that of a resource server in its own right, and several who make tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthOAuth2 {
    /// The resource server without a section of its own. What the others do not say they have from it.
    pub root: ResourceServer,
    /// The others, by the names of their sections.
    pub resource_servers: BTreeMap<String, ResourceServer>,
    /// Whether tokens have to end some day.
    pub require_exp: bool,
    /// Who makes tokens where nobody is named.
    pub provider: OAuthProvider,
    /// The others, by their names.
    pub oauth_providers: BTreeMap<String, OAuthProvider>,
}

/// How the tokens are read that are for the broker by one of its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceServer {
    /// What the broker is called in them.
    pub id: Option<String>,
    /// The type of what is meant for it among their authorization details.
    pub resource_server_type: Option<String>,
    /// What its scopes begin with; `None`: its name and a dot.
    pub scope_prefix: Option<String>,
    /// Claims that have scopes as well, with spaces between them.
    pub additional_scopes_key: Option<String>,
    pub scope_aliases: Aliases,
    /// Claims that name the user, by their numbers; when there are none, `sub` and `client_id`.
    pub preferred_username_claims: BTreeMap<u32, String>,
    /// Whether the broker has to be in their audience; it has to where nothing is said.
    pub verify_aud: Option<bool>,
    /// Who makes them; `None`: who is not named.
    pub oauth_provider_id: Option<String>,
}

/// Other names of scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases {
    /// By what they are called, the scopes they stand for, with spaces between them.
    pub named: BTreeMap<String, String>,
    /// The same, by numbers.
    pub(super) numbered: BTreeMap<String, NumberedAlias>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NumberedAlias {
    pub(super) alias: Option<String>,
    pub(super) scope: Option<String>,
}

/// Who makes tokens, and with which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthProvider {
    /// Files with keys, by what tokens call them.
    pub signing_keys: BTreeMap<String, PathBuf>,
    /// The key of a token that names none.
    pub default_key: Option<String>,
    /// Algorithms of signatures; when there are none, all that go with the key.
    pub algorithms: BTreeMap<String, String>,
    /// Where there are more keys.
    pub jwks_url: Option<String>,
    /// Who knows where they are.
    pub issuer: Option<String>,
    /// Where to ask it.
    pub discovery_endpoint_path: String,
    /// With what in the query.
    pub discovery_endpoint_params: BTreeMap<String, String>,
    pub tls: ClientTls,
}

impl Default for AuthOAuth2 {
    fn default() -> Self {
        Self {
            root: ResourceServer { verify_aud: Some(true), ..ResourceServer::default() },
            resource_servers: BTreeMap::new(),
            require_exp: true,
            provider: OAuthProvider::default(),
            oauth_providers: BTreeMap::new(),
        }
    }
}

impl Default for OAuthProvider {
    fn default() -> Self {
        Self {
            signing_keys: BTreeMap::new(),
            default_key: None,
            algorithms: BTreeMap::new(),
            jwks_url: None,
            issuer: None,
            discovery_endpoint_path: ".well-known/openid-configuration".to_owned(),
            discovery_endpoint_params: BTreeMap::new(),
            tls: ClientTls::default(),
        }
    }
}

impl Aliases {
    /// By what they are called, what they stand for.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let plain = self.named.iter().map(|(alias, scopes)| (alias.as_str(), scopes.as_str()));
        let numbered = self.numbered.values().filter_map(|both| Some((both.alias.as_deref()?, both.scope.as_deref()?)));
        plain.chain(numbered)
    }

    fn is_empty(&self) -> bool {
        self.named.is_empty() && self.numbered.is_empty()
    }
}

impl OAuthProvider {
    fn has_keys(&self) -> bool {
        !self.signing_keys.is_empty() || self.jwks_url.is_some() || self.issuer.is_some()
    }
}

impl ResourceServer {
    /// With what `other` says where this one says nothing.
    fn or(&self, other: &Self) -> Self {
        let or = |own: &Option<String>, other: &Option<String>| own.as_ref().or(other.as_ref()).cloned();
        let who_names_users = if self.preferred_username_claims.is_empty() { other } else { self };
        let who_names_scopes = if self.scope_aliases.is_empty() { other } else { self };
        Self {
            id: or(&self.id, &other.id),
            resource_server_type: or(&self.resource_server_type, &other.resource_server_type),
            scope_prefix: or(&self.scope_prefix, &other.scope_prefix),
            additional_scopes_key: or(&self.additional_scopes_key, &other.additional_scopes_key),
            scope_aliases: who_names_scopes.scope_aliases.clone(),
            preferred_username_claims: who_names_users.preferred_username_claims.clone(),
            verify_aud: self.verify_aud.or(other.verify_aud),
            oauth_provider_id: or(&self.oauth_provider_id, &other.oauth_provider_id),
        }
    }
}

impl AuthOAuth2 {
    /// All resource servers by what the broker is called in their tokens, whole.
    #[must_use]
    pub fn servers(&self) -> BTreeMap<String, ResourceServer> {
        let root = self.root_id().map(|id| (id.to_owned(), self.root.clone()));
        let others = self.sections().map(|(_, id, server)| (id.to_owned(), server.or(&self.root)));
        others.chain(root).collect()
    }

    /// All who make tokens, with the keys that theirs are under; the one without a name first.
    pub fn providers(&self) -> impl Iterator<Item = (Option<&String>, String, &OAuthProvider)> {
        let named = self.oauth_providers.iter().map(|(name, provider)| (Some(name), provider_key(name), provider));
        std::iter::once((None, "auth_oauth2".to_owned(), &self.provider)).chain(named)
    }

    fn root_id(&self) -> Option<&str> {
        self.root.id.as_deref().filter(|id| !id.is_empty())
    }

    /// The name of each section, and the id that it is about: its name, where it does not say another.
    fn sections(&self) -> impl Iterator<Item = (&str, &str, &ResourceServer)> {
        self.resource_servers.iter().map(|(name, server)| (name.as_str(), server.id.as_deref().unwrap_or(name), server))
    }

    /// What does not go together: keys, each with what is wrong there.
    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let root = ("auth_oauth2.default_oauth_provider".to_owned(), &self.root);
        let others = self.sections().map(|(name, _, server)| (server_key(name, "oauth_provider_id"), server));
        let mut faults = Vec::new();
        for (key, server) in std::iter::once(root).chain(others) {
            let Some(name) = &server.oauth_provider_id else { continue };
            if !self.oauth_providers.get(name).is_some_and(OAuthProvider::has_keys) {
                let provider = provider_key(name);
                faults
                    .push((key, format!("'{name}' has no keys: {provider}.signing_keys.$name, {provider}.jwks_uri or {provider}.issuer")));
            }
        }
        let mut ids: BTreeSet<&str> = self.root_id().into_iter().collect();
        let again = self.sections().filter(|(_, id, _)| !ids.insert(id));
        faults.extend(again.map(|(name, id, _)| (server_key(name, "id"), format!("'{id}' is another resource server already"))));
        faults
    }

    /// # Errors
    /// Why tokens cannot be read like this.
    pub(super) fn check(&self, place: &str) -> Result<(), String> {
        let servers = self.servers();
        if servers.is_empty() {
            return Err(format!("{place} = oauth2 needs auth_oauth2.resource_server_id or auth_oauth2.resource_servers.$name.id"));
        }
        if servers.values().any(|server| server.oauth_provider_id.is_none()) && !self.provider.has_keys() {
            return Err(format!("{place} = oauth2 needs keys: auth_oauth2.signing_keys.$name, auth_oauth2.jwks_url or auth_oauth2.issuer"));
        }
        match self.faults().first() {
            Some((key, why)) => Err(format!("{key}: {why}")),
            None => Ok(()),
        }
    }
}

fn server_key(name: &str, key: &str) -> String {
    format!("auth_oauth2.resource_servers.{}.{key}", segment(name))
}

fn provider_key(name: &str) -> String {
    format!("auth_oauth2.oauth_providers.{}", segment(name))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Origin, Sources};
    use super::*;

    fn oauth2(text: &str) -> AuthOAuth2 {
        let mut config = Config::default();
        config.read(text).expect("understood");
        config.auth_oauth2
    }

    #[test]
    fn aliases_have_two_forms() {
        let numbered = "scope_aliases.1.alias = a b\nPREFIX.scope_aliases.1.scope = r.read:*/* r.tag:x\n";
        for (prefix, find) in [
            ("auth_oauth2", (|config| config.root) as fn(AuthOAuth2) -> ResourceServer),
            ("auth_oauth2.resource_servers.s", |mut config| config.resource_servers.remove("s").expect("a section")),
        ] {
            let text = format!("PREFIX.{numbered}PREFIX.scope_aliases.dev = r.write:*/*\n").replace("PREFIX", prefix);
            let aliases = find(oauth2(&text)).scope_aliases;
            assert_eq!(aliases.iter().collect::<Vec<_>>(), [("dev", "r.write:*/*"), ("a b", "r.read:*/* r.tag:x")]);
        }
    }

    #[test]
    fn resource_servers_have_what_they_do_not_say_from_the_root() {
        let config = oauth2(
            "auth_oauth2.resource_server_id = root\nauth_oauth2.resource_server_type = hutch\nauth_oauth2.verify_aud = false\n\
             auth_oauth2.additional_scopes_key = roles\nauth_oauth2.default_oauth_provider = a\n\
             auth_oauth2.preferred_username_claims.1 = name\nauth_oauth2.preferred_username_claims.2 = email\n\
             auth_oauth2.scope_aliases.dev = root.tag:x\n\
             auth_oauth2.resource_servers.1.id = prod\nauth_oauth2.resource_servers.1.scope_prefix = p:\n\
             auth_oauth2.resource_servers.1.verify_aud = true\nauth_oauth2.resource_servers.1.oauth_provider_id = b\n\
             auth_oauth2.resource_servers.1.preferred_username_claims.3 = sub\nauth_oauth2.resource_servers.1.scope_aliases.ops = p:tag:y\n\
             auth_oauth2.resource_servers.dev.additional_scopes_key = groups\n",
        );
        let servers = config.servers();
        assert_eq!(servers.keys().collect::<Vec<_>>(), ["dev", "prod", "root"]);
        let (dev, prod) = (&servers["dev"], &servers["prod"]);
        assert_eq!(*dev, ResourceServer { id: dev.id.clone(), additional_scopes_key: Some("groups".to_owned()), ..config.root.clone() });
        assert_eq!((prod.scope_prefix.as_deref(), dev.scope_prefix.as_deref()), (Some("p:"), None));
        assert_eq!((prod.verify_aud, dev.verify_aud), (Some(true), Some(false)));
        assert_eq!((prod.oauth_provider_id.as_deref(), dev.oauth_provider_id.as_deref()), (Some("b"), Some("a")));
        assert_eq!(prod.resource_server_type.as_deref(), Some("hutch"));
        assert_eq!(prod.preferred_username_claims, BTreeMap::from([(3, "sub".to_owned())]));
        assert_eq!(prod.scope_aliases.iter().collect::<Vec<_>>(), [("ops", "p:tag:y")]);
        // What a prefix is made of is the name of each; one that is set is that of all.
        assert_eq!(
            oauth2("auth_oauth2.scope_prefix = x\nauth_oauth2.resource_servers.s.id = t").servers()["t"].scope_prefix.as_deref(),
            Some("x")
        );
    }

    #[test]
    fn what_does_not_go_together_is_named_with_its_place() {
        let faults = |settings: &[(&str, &str)]| {
            let mut sources = Sources::new(|_| None);
            for (index, (key, value)) in settings.iter().enumerate() {
                sources.set(&format!("auth_oauth2.{key}"), value, Origin::Text(index + 1));
            }
            sources.config().map(drop).map_err(|wrong| wrong.to_string())
        };
        let no_keys = |name: &str| {
            let key = format!("auth_oauth2.oauth_providers.{name}");
            format!("'{name}' has no keys: {key}.signing_keys.$name, {key}.jwks_uri or {key}.issuer")
        };
        let keys = ("oauth_providers.hutch.issuer", "https://hutch.example");
        assert_eq!(faults(&[keys, ("default_oauth_provider", "hutch"), ("resource_servers.a.oauth_provider_id", "hutch")]), Ok(()));
        assert_eq!(
            faults(&[keys, ("default_oauth_provider", "burrow"), ("resource_servers.a.oauth_provider_id", "form")]),
            Err(format!(
                "line 2: auth_oauth2.default_oauth_provider: {}\nline 3: auth_oauth2.resource_servers.a.oauth_provider_id: {}",
                no_keys("burrow"),
                no_keys("form")
            ))
        );
        assert_eq!(
            faults(&[("oauth_providers.bare.default_key", "k"), ("resource_servers.a.oauth_provider_id", "bare")]),
            Err(format!("line 2: auth_oauth2.resource_servers.a.oauth_provider_id: {}", no_keys("bare")))
        );
        assert_eq!(
            faults(&[
                ("resource_server_id", "a"),
                ("resource_servers.1.id", "a"),
                ("resource_servers.2.id", "b"),
                ("resource_servers.b.verify_aud", "true")
            ]),
            Err("line 2: auth_oauth2.resource_servers.1.id: 'a' is another resource server already\n\
                 auth_oauth2.resource_servers.b.id: 'b' is another resource server already"
                .to_owned())
        );
        assert_eq!(faults(&[("resource_servers.1.id", "")]), Err("line 1: auth_oauth2.resource_servers.1.id: it is empty".to_owned()));
    }

    #[test]
    fn who_makes_tokens_has_keys() {
        let check = |text: &str| oauth2(text).check("here");
        let named = "auth_oauth2.oauth_providers.a.jwks_uri = https://a.example/keys\n";
        let by = "auth_oauth2.resource_servers.s.oauth_provider_id";
        let needs_keys = "here = oauth2 needs keys: auth_oauth2.signing_keys.$name, auth_oauth2.jwks_url or auth_oauth2.issuer";
        assert_eq!(check(&format!("{named}auth_oauth2.default_oauth_provider = a\nauth_oauth2.resource_server_id = r\n")), Ok(()));
        assert_eq!(check(&format!("{named}{by} = a\n")), Ok(()));
        assert_eq!(check(&format!("{named}{by} = a\nauth_oauth2.resource_server_id = r\n")), Err(needs_keys.to_owned()));
        assert!(check(&format!("{named}{by} = b\n")).is_err_and(|why| why.starts_with(&format!("{by}: 'b' has no keys"))));
        let needs_name = "here = oauth2 needs auth_oauth2.resource_server_id or auth_oauth2.resource_servers.$name.id";
        assert_eq!(check("auth_oauth2.resource_server_id = ''\nauth_oauth2.issuer = https://a.example\n"), Err(needs_name.to_owned()));
    }

    /// Where users of a page log in is asked by nobody here.
    #[test]
    fn what_only_pages_ask_for_means_nothing() {
        let mut sources = Sources::new(|_| None);
        for key in ["token_endpoint", "authorization_endpoint", "end_session_endpoint", "https.depth", "issuer"] {
            sources.set(&format!("auth_oauth2.oauth_providers.a.{key}"), "https://a.example/x", Origin::Text(1));
        }
        sources.set("auth_oauth2.resource_servers.b.id", "c", Origin::Text(1));
        let ignored = "authorization_endpoint end_session_endpoint https.depth token_endpoint";
        let ignored: Vec<String> = ignored.split(' ').map(|key| format!("auth_oauth2.oauth_providers.a.{key}")).collect();
        assert_eq!(sources.warnings(), [format!("keys of RabbitMQ that mean nothing here: {}", ignored.join(", "))]);
    }
}
