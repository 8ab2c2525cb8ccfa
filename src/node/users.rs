//! Users and how they prove who they are: PLAIN, AMQPLAIN and ANONYMOUS (behaviour C3, C4, C6).

use std::sync::Arc;

use crate::amqp::table::{self, Value};

/// A user as configured.
#[derive(Clone, Debug)]
pub struct User {
    pub name: Arc<str>,
    pub password: String,
    /// May log in from this machine only (behaviour C10).
    pub loopback_only: bool,
}

#[derive(Debug, Default)]
pub struct Users(Vec<User>);

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The response is not of the mechanism's form.
    Malformed,
    /// Unknown user, wrong password, or from another machine.
    Login,
}

impl Users {
    #[must_use]
    pub fn new(users: Vec<User>) -> Self {
        Self(users)
    }

    /// Checks a mechanism's response. `None` for a mechanism that does not exist.
    pub fn authenticate(&self, mechanism: &str, response: &[u8], from_loopback: bool) -> Option<Result<Arc<str>, Refused>> {
        let credentials = match mechanism {
            "PLAIN" => plain(response),
            "AMQPLAIN" => amqplain(response),
            // Acts as the first user, guest by default (V6).
            "ANONYMOUS" => return Some(self.first(from_loopback)),
            _ => return None,
        };
        Some(credentials.ok_or(Refused::Malformed).and_then(|(name, password)| self.login(name, password, from_loopback)))
    }

    fn first(&self, from_loopback: bool) -> Result<Arc<str>, Refused> {
        let user = self.0.first().ok_or(Refused::Login)?;
        if user.loopback_only && !from_loopback { Err(Refused::Login) } else { Ok(Arc::clone(&user.name)) }
    }

    fn login(&self, name: &[u8], password: &[u8], from_loopback: bool) -> Result<Arc<str>, Refused> {
        let user = self.0.iter().find(|user| user.name.as_bytes() == name).ok_or(Refused::Login)?;
        let right = same_in_constant_time(user.password.as_bytes(), password);
        // Behaviour P5: an empty password lets nobody in.
        if right && !password.is_empty() && (from_loopback || !user.loopback_only) {
            Ok(Arc::clone(&user.name))
        } else {
            Err(Refused::Login)
        }
    }
}

/// How long it takes tells nothing about how much of the password was right.
fn same_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
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

    fn users(loopback_only: bool) -> Users {
        Users::new(vec![User { name: "guest".into(), password: "secret".to_owned(), loopback_only }])
    }

    /// Behaviour C10.
    #[test]
    fn a_loopback_user_is_refused_from_elsewhere() {
        let response = b"\0guest\0secret";
        assert_eq!(users(true).authenticate("PLAIN", response, true), Some(Ok("guest".into())));
        assert_eq!(users(true).authenticate("PLAIN", response, false), Some(Err(Refused::Login)));
        assert_eq!(users(false).authenticate("PLAIN", response, false), Some(Ok("guest".into())));
        assert_eq!(users(true).authenticate("ANONYMOUS", b"", false), Some(Err(Refused::Login)));
    }

    #[test]
    fn an_empty_password_lets_nobody_in() {
        let open = Users::new(vec![User { name: "guest".into(), password: String::new(), loopback_only: false }]);
        assert_eq!(open.authenticate("PLAIN", b"\0guest\0", true), Some(Err(Refused::Login)));
    }

    #[test]
    fn responses_of_another_form_are_malformed() {
        for response in [&b""[..], b"guest", b"\0guest"] {
            assert_eq!(users(true).authenticate("PLAIN", response, true), Some(Err(Refused::Malformed)));
        }
        assert_eq!(users(true).authenticate("AMQPLAIN", b"\x05LOGINS", true), Some(Err(Refused::Malformed)));
        assert_eq!(users(true).authenticate("GSSAPI", b"", true), None);
    }
}
