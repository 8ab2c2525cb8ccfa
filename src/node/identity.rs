//! Who has logged in, and who answers for what it may do: the node, a token, or a service beside the node (behaviour P11).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Node;
use super::password::PasswordHash;
use super::users::User;
use crate::broker::{Grant, Grants, Permission, Rights, Source, Timestamp, Wildcard};

/// What somebody is asked for about users, or what knows about them itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The users of the node.
    Internal,
    /// A service, as rabbitmq_auth_backend_http asks it; what it has said is kept for a while, or not.
    Http { cached: bool },
    /// Tokens, as rabbitmq_auth_backend_oauth2 reads them.
    OAuth2,
}

/// Who says who somebody is, and who says what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backends {
    pub authn: Backend,
    pub authz: Backend,
}

impl Backends {
    pub const INTERNAL: Self = Self { authn: Backend::Internal, authz: Backend::Internal };
}

/// Who says what a user may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    Node,
    Service { cached: bool },
    Token(Arc<Token>),
}

/// Somebody who has logged in. Unless the node answers for it, the user need not be one of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user: Arc<User>,
    pub authority: Authority,
}

impl Identity {
    /// A user of the node.
    #[must_use]
    pub fn of_node(user: Arc<User>) -> Self {
        Self { user, authority: Authority::Node }
    }

    /// Somebody whom another one than the node answers for; limits are the node's to set in any case.
    #[must_use]
    pub fn elsewhere(node: &Node, name: &str, tags: Vec<String>, authority: Authority) -> Self {
        let limits = node.user(name).map(|user| user.limits).unwrap_or_default();
        Self { user: Arc::new(User { name: name.into(), password: PasswordHash::none(), tags, limits }), authority }
    }

    /// What it may do in a virtual host; `None` when it may not open it. Whether it may is not asked where a service says it.
    #[must_use]
    pub fn rights(&self, node: &Node, vhost: &str) -> Option<Rights> {
        let said_by = |source| {
            let max_channels = self.user.limits.max_channels.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
            Rights { max_channels, ..Rights::said_by(source) }
        };
        let rights = match &self.authority {
            Authority::Node => node.rights(&self.user.name, vhost)?,
            Authority::Service { .. } => said_by(Source::Service),
            Authority::Token(token) => said_by(Source::Token(Arc::new(token.grants(vhost)?))),
        };
        Some(Rights { impersonator: rights.impersonator || self.user.is_impersonator(), ..rights })
    }
}

/// What a token says, once it was found to be good. Never the token itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The scopes that are meant for this broker, without their prefix.
    pub scopes: Vec<String>,
    /// What scopes may refer to: the claims that are texts.
    pub claims: BTreeMap<String, String>,
    pub expires: Timestamp,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("scopes", &self.scopes).field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl Token {
    /// The tags of its user.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        self.scopes.iter().filter_map(|scope| scope.strip_prefix("tag:")).map(str::to_owned).collect()
    }

    /// What it allows in a virtual host; `None` when nothing of it is about that one.
    #[must_use]
    pub fn grants(&self, vhost: &str) -> Option<Grants> {
        let all: Vec<Grant> = self.scopes.iter().filter_map(|scope| self.grant(scope, vhost)).collect();
        (!all.is_empty()).then_some(Grants { all, expires: self.expires })
    }

    /// `permission:virtual host/name` or `permission:virtual host/name/routing key`.
    fn grant(&self, scope: &str, vhost: &str) -> Option<Grant> {
        let scope = self.filled_in(scope, vhost)?;
        let (permission, resource) = scope.split_once(':')?;
        let permission = match permission {
            "configure" => Permission::Configure,
            "write" => Permission::Write,
            "read" => Permission::Read,
            _ => return None,
        };
        let mut parts = resource.split('/');
        let (of_vhost, name, key) = (parts.next()?, parts.next()?, parts.next());
        if parts.next().is_some() || !Wildcard::new(of_vhost)?.covers(vhost) {
            return None;
        }
        Some(Grant { permission, name: Wildcard::new(name)?, key: key.and_then(Wildcard::new) })
    }

    /// `{vhost}` and `{claim}` stand for what they are called after. What is filled in means itself: it makes no wildcard, and no other
    /// part of the scope.
    fn filled_in(&self, scope: &str, vhost: &str) -> Option<String> {
        let mut text = String::new();
        let mut rest = scope;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}')?;
            let value = if name == "vhost" { vhost } else { self.claims.get(name).map_or(name, String::as_str) };
            text.push_str(before);
            text.push_str(&escaped(value));
            rest = behind;
        }
        text.push_str(rest);
        Some(text)
    }
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '%' => text.push_str("%25"),
            '*' => text.push_str("%2A"),
            '+' => text.push_str("%2B"),
            '/' => text.push_str("%2F"),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(scopes: &[&str]) -> Token {
        let claims = BTreeMap::from([("sub".to_owned(), "h*re".to_owned())]);
        Token { scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(), claims, expires: Timestamp(7000) }
    }

    #[test]
    fn scopes_are_of_virtual_hosts() {
        let token = token(&["read:%2F/q*", "write:*/x", "configure:v", "read:v/a/b/c", "tag:administrator", "other:v/x", "read:%/x"]);
        let granted = |vhost: &str| token.grants(vhost).map(|grants| grants.all.len());
        assert_eq!(granted("/"), Some(2));
        assert_eq!(granted("v"), Some(1));
        assert_eq!(token.tags(), ["administrator"]);
        assert_eq!(super::Token { scopes: vec!["read:a/b".to_owned()], ..token }.grants("v"), None);
    }

    #[test]
    fn what_is_filled_in_means_itself() {
        let token = token(&["read:{vhost}/{sub}-{unknown}*", "write:{vhost/x"]);
        let grants = token.grants("a/b*").expect("the first one");
        assert_eq!(grants.all.len(), 1);
        assert!(grants.all[0].name.covers("h*re-unknown."));
        assert!(!grants.all[0].name.covers("hare-unknown."));
        assert_eq!(grants.expires, Timestamp(7000));
    }

    #[test]
    fn limits_are_those_of_the_node_s_user() {
        let mut node = Node::default();
        let limits = super::super::users::UserLimits { max_channels: Some(3), ..Default::default() };
        node.put_user(User { name: "u".into(), password: PasswordHash::none(), tags: Vec::new(), limits });
        let tags = vec!["impersonator".to_owned()];
        let known = Identity::elsewhere(&node, "u", tags, Authority::Service { cached: false }).rights(&node, "v").expect("rights");
        assert_eq!((known.max_channels, known.impersonator), (Some(3), true));
        let unknown = Identity::elsewhere(&node, "w", Vec::new(), Authority::Service { cached: false }).rights(&node, "v").expect("rights");
        assert_eq!((unknown.max_channels, unknown.impersonator), (None, false));
    }
}
