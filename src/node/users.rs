//! Users, and how they prove who they are: PLAIN, AMQPLAIN and ANONYMOUS (behaviour C3, C4, C6, P5).

use std::sync::Arc;

use super::Node;
use super::identity::Backends;
use super::password::PasswordHash;
use crate::amqp::table::{self, Value};

/// A user of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: Arc<str>,
    pub password: PasswordHash,
    pub tags: Vec<String>,
    pub limits: UserLimits,
}

/// Behaviour P9; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    pub max_connections: Option<u64>,
    pub max_channels: Option<u64>,
}

/// What a user's tags let it do in the HTTP API; each includes those before it, but for policymaker and monitoring, of which
/// neither includes the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    Management,
    Policymaker,
    Monitoring,
    Administrator,
}

impl User {
    /// Whether one of the user's tags is this one or includes it.
    #[must_use]
    pub fn may(&self, tag: Tag) -> bool {
        self.tags.iter().any(|has| match has.as_str() {
            "administrator" => true,
            "monitoring" => matches!(tag, Tag::Monitoring | Tag::Management),
            "policymaker" => matches!(tag, Tag::Policymaker | Tag::Management),
            "management" => tag == Tag::Management,
            _ => false,
        })
    }

    /// Whether it may publish in the name of others (behaviour B13).
    #[must_use]
    pub fn is_impersonator(&self) -> bool {
        self.tags.iter().any(|tag| tag == "impersonator")
    }
}

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The response is not of the mechanism's form.
    Malformed,
    /// Unknown user, wrong password, or from another machine.
    Login,
}

impl Node {
    /// Checks a mechanism's response. `None` for a mechanism that does not exist.
    #[must_use]
    pub fn authenticate(&self, mechanism: &str, response: &[u8], from_loopback: bool) -> Option<Result<Arc<User>, Refused>> {
        let (name, password) = match mechanism {
            // V6.
            "ANONYMOUS" => (&*self.anonymous_user, self.anonymous_pass.as_bytes()),
            _ => match credentials(mechanism, response)? {
                Ok(credentials) => credentials,
                Err(refused) => return Some(Err(refused)),
            },
        };
        Some(self.login(name, password, from_loopback).cloned().ok_or(Refused::Login))
    }

    /// Whether not only the node itself knows users.
    #[must_use]
    pub fn asks_others(&self) -> bool {
        self.backends.iter().any(|backends| *backends != Backends::INTERNAL)
    }

    /// Logs in somebody whose name is certain already, by a certificate (behaviour C5).
    ///
    /// # Errors
    /// Nobody is named, there is no such user, or it may not log in from there.
    pub fn vouched_for(&self, name: Option<&str>, from_loopback: bool) -> Result<Arc<User>, Refused> {
        let user = name.and_then(|name| self.users.get(name)).ok_or(Refused::Login)?;
        if self.may_come_from(user, from_loopback) { Ok(Arc::clone(user)) } else { Err(Refused::Login) }
    }

    /// The user with this name and password, if it may log in from there. A wrong name takes as long as a wrong password.
    #[must_use]
    pub fn login(&self, name: &str, password: &[u8], from_loopback: bool) -> Option<&Arc<User>> {
        let user = self.users.get(name);
        let nobody = PasswordHash::none();
        let right = user.map_or(&nobody, |user| &user.password).is_of(password);
        user.filter(|user| right && self.may_come_from(user, from_loopback))
    }

    /// Behaviour C10.
    #[must_use]
    pub fn may_come_from(&self, user: &User, from_loopback: bool) -> bool {
        from_loopback || !self.loopback_users.contains(&*user.name)
    }
}

/// The name and the password that somebody gives. `None` for a mechanism without them.
pub fn credentials<'a>(mechanism: &str, response: &'a [u8]) -> Option<Result<(&'a str, &'a [u8]), Refused>> {
    let found = match mechanism {
        "PLAIN" => plain(response),
        "AMQPLAIN" => amqplain(response),
        _ => return None,
    };
    Some(found.map(|(name, password)| (std::str::from_utf8(name).unwrap_or_default(), password)).ok_or(Refused::Malformed))
}

/// `authorisation identity NUL user NUL password`; the first is ignored.
fn plain(response: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = response.splitn(3, |b| *b == 0);
    parts.next()?;
    Some((parts.next()?, parts.next()?))
}

/// The entries of a field table, without its length.
fn amqplain(response: &[u8]) -> Option<(&[u8], &[u8])> {
    table::check(response).ok()?;
    let find = |wanted: &[u8]| {
        table::entries(response).find_map(|(key, value)| match value {
            Value::String(text) if key == wanted => Some(text),
            _ => None,
        })
    };
    Some((find(b"LOGIN")?, find(b"PASSWORD")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::password::Algorithm;

    fn node(password: &str, loopback_only: bool) -> Node {
        let mut node = Node { anonymous_user: "guest".into(), anonymous_pass: "secret".to_owned(), ..Node::default() };
        let password = PasswordHash::new(Algorithm::Sha256, [1, 2, 3, 4], password);
        node.put_user(User { name: "guest".into(), password, tags: Vec::new(), limits: UserLimits::default() });
        if loopback_only {
            node.loopback_users.insert("guest".to_owned());
        }
        node
    }

    fn authenticated(node: &Node, mechanism: &str, response: &[u8], from_loopback: bool) -> Option<Result<String, Refused>> {
        Some(node.authenticate(mechanism, response, from_loopback)?.map(|user| user.name.to_string()))
    }

    /// Behaviour C10.
    #[test]
    fn a_loopback_user_is_refused_from_elsewhere() {
        let response = b"\0guest\0secret";
        let (anywhere, here) = (node("secret", false), node("secret", true));
        assert_eq!(authenticated(&here, "PLAIN", response, true), Some(Ok("guest".into())));
        assert_eq!(authenticated(&here, "PLAIN", response, false), Some(Err(Refused::Login)));
        assert_eq!(authenticated(&anywhere, "PLAIN", response, false), Some(Ok("guest".into())));
        assert_eq!(authenticated(&here, "ANONYMOUS", b"", false), Some(Err(Refused::Login)));
        assert_eq!(authenticated(&here, "ANONYMOUS", b"", true), Some(Ok("guest".into())));
    }

    /// V6: whoever needs no password does not become a user of another password.
    #[test]
    fn anonymous_is_a_user_with_the_password_that_is_configured() {
        assert_eq!(authenticated(&node("another", false), "ANONYMOUS", b"", true), Some(Err(Refused::Login)));
        let mut gone = node("secret", false);
        gone.delete_user("guest").expect("there is one");
        assert_eq!(authenticated(&gone, "ANONYMOUS", b"", true), Some(Err(Refused::Login)));
    }

    #[test]
    fn an_empty_password_lets_nobody_in() {
        assert_eq!(authenticated(&node("", false), "PLAIN", b"\0guest\0", true), Some(Err(Refused::Login)));
    }

    #[test]
    fn unknown_users_and_wrong_passwords_are_refused_alike() {
        let node = node("secret", false);
        assert_eq!(authenticated(&node, "PLAIN", b"\0nobody\0secret", true), Some(Err(Refused::Login)));
        assert_eq!(authenticated(&node, "PLAIN", b"\0guest\0wrong", true), Some(Err(Refused::Login)));
    }

    #[test]
    fn responses_of_another_form_are_malformed() {
        let node = node("secret", false);
        for response in [&b""[..], b"guest", b"\0guest"] {
            assert_eq!(authenticated(&node, "PLAIN", response, true), Some(Err(Refused::Malformed)));
        }
        assert_eq!(authenticated(&node, "AMQPLAIN", b"\x05LOGINS", true), Some(Err(Refused::Malformed)));
        assert_eq!(authenticated(&node, "GSSAPI", b"", true), None);
    }

    #[test]
    fn what_tags_include() {
        let with = |tag: &str| User {
            name: "u".into(),
            password: PasswordHash::none(),
            tags: vec!["custom".to_owned(), tag.to_owned()],
            limits: UserLimits::default(),
        };
        let all = [Tag::Management, Tag::Policymaker, Tag::Monitoring, Tag::Administrator];
        let may = |tag: &str| all.map(|wanted| with(tag).may(wanted));
        assert_eq!(may("administrator"), [true; 4]);
        assert_eq!(may("monitoring"), [true, false, true, false]);
        assert_eq!(may("policymaker"), [true, true, false, false]);
        assert_eq!(may("management"), [true, false, false, false]);
        assert_eq!(may("impersonator"), [false; 4]);
        assert!(with("impersonator").is_impersonator());
    }
}
