//! What a token grants in one virtual host: names with wildcards, as RabbitMQ's scopes have them.

use percent_encoding::percent_decode_str;

use super::Timestamp;
use super::access::{Access, Permission, Subject};

/// A pattern in which `*` stands for any text and `%XX` for a byte, such as one of `/` or `*` itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wildcard(Vec<Box<[u8]>>);

impl Wildcard {
    /// `None` where a `%` is not followed by two hexadecimal digits.
    #[must_use]
    pub fn new(pattern: &str) -> Option<Self> {
        pattern.split('*').map(decoded).collect::<Option<_>>().map(Self)
    }

    /// What stands between two wildcards is found where it comes first, and never looked for again: `a*b` does not cover `abab`, as in
    /// RabbitMQ.
    #[must_use]
    pub fn covers(&self, subject: &str) -> bool {
        let Some((first, parts)) = self.0.split_first() else { return false };
        let Some(mut rest) = subject.as_bytes().strip_prefix(&**first) else { return false };
        let mut parts = parts.iter().map(|part| &**part).peekable();
        while let Some(part) = parts.next() {
            if part.is_empty() {
                if parts.peek().is_none() {
                    return true;
                }
            } else {
                let Some(at) = rest.windows(part.len()).position(|window| window == part) else { return false };
                rest = &rest[at + part.len()..];
            }
        }
        rest.is_empty()
    }
}

fn decoded(part: &str) -> Option<Box<[u8]>> {
    let part = part.replace('+', " ");
    let well_formed = |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    part.split('%').skip(1).all(well_formed).then(|| percent_decode_str(&part).collect())
}

/// One thing that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub permission: Permission,
    /// Of a queue or an exchange.
    pub name: Wildcard,
    /// Which routing keys of topic exchanges; none where it says nothing about them.
    pub key: Option<Wildcard>,
}

/// All that is allowed, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    pub all: Vec<Grant>,
    pub expires: Timestamp,
}

impl Grants {
    #[must_use]
    pub(super) fn allow(&self, access: &Access) -> bool {
        self.all.iter().any(|grant| {
            grant.permission == access.permission
                && match &access.subject {
                    Subject::Queue(name) | Subject::Exchange(name) => grant.name.covers(name),
                    Subject::Topic { exchange, key } => {
                        grant.name.covers(exchange) && grant.key.as_ref().is_some_and(|pattern| pattern.covers(key))
                    }
                }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered<'a>(pattern: &str, subjects: &[&'a str]) -> Vec<&'a str> {
        let wildcard = Wildcard::new(pattern).expect("well formed");
        subjects.iter().copied().filter(|subject| wildcard.covers(subject)).collect()
    }

    #[test]
    fn stars_stand_for_any_text() {
        let names = ["", "q", "a.q", "q.b", "a.q.b", "qq"];
        assert_eq!(covered("*", &names), names);
        assert_eq!(covered("q", &names), ["q"]);
        assert_eq!(covered("q*", &names), ["q", "q.b", "qq"]);
        assert_eq!(covered("*q", &names), ["q", "a.q"]);
        assert_eq!(covered("*q*", &names), ["q", "a.q", "q.b", "a.q.b", "qq"]);
        assert_eq!(covered("a*q*b", &names), ["a.q.b"]);
        assert_eq!(covered("", &names), [""]);
    }

    #[test]
    fn what_comes_first_is_taken() {
        assert_eq!(covered("a*b", &["ab", "a-b", "abab", "ba"]), ["ab", "a-b"]);
        assert_eq!(covered("a**b", &["ab", "acb"]), ["ab", "acb"]);
    }

    #[test]
    fn bytes_may_be_written_as_numbers() {
        assert_eq!(covered("%2F", &["/", "%2F"]), ["/"]);
        assert_eq!(covered("%2a", &["*", "x"]), ["*"]);
        assert_eq!(covered("h%C3%A4+se", &["hä se"]), ["hä se"]);
        for broken in ["%", "%2", "%zz", "a%2F%"] {
            assert_eq!(Wildcard::new(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_topic_needs_a_grant_that_says_so() {
        let grant = |key: Option<&str>| Grant {
            permission: Permission::Write,
            name: Wildcard::new("t*").expect("well formed"),
            key: key.and_then(Wildcard::new),
        };
        let grants = Grants { all: vec![grant(None), grant(Some("k.*"))], expires: Timestamp::NEVER };
        let topic = |key: &str| Subject::Topic { exchange: "topic".to_owned(), key: key.to_owned() };
        let allow = |permission, subject| grants.allow(&Access { permission, subject });
        assert!(allow(Permission::Write, topic("k.1")));
        assert!(!allow(Permission::Write, topic("other")));
        assert!(!allow(Permission::Read, topic("k.1")));
        assert!(allow(Permission::Write, Subject::Exchange("topic".to_owned())));
        assert!(!allow(Permission::Write, Subject::Exchange("x".to_owned())));
    }
}
