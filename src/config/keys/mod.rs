//! Every key that has an effect: how it is set, how it is printed, what it means. Errors, suggestions, `leveret config` and
//! docs/CONFIGURATION.md are made of these tables.

mod authentication;
mod broker;
mod listening;
mod node;
mod oauth2;
mod opentelemetry;
mod shovels;
mod testing;
mod tls;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::PathBuf;

use super::Config;
use super::syntax::{segment, segments};
use super::values::boolean;

/// Sets a key to a value. Where its pattern has a `$` segment, the name that stands there comes before; where it has several, their names
/// with dots between them, as they are in the key.
type Set = fn(&mut Config, &str, &str) -> Result<(), String>;
/// The values that a key has, with the names that stand for its `$` segment.
type Show = fn(&Config) -> Vec<(String, String)>;

/// A key, or all keys of a pattern.
pub(super) struct Key {
    /// A segment that begins with `$` stands for any.
    pub(super) pattern: &'static str,
    /// One line for the documentation.
    pub(super) meaning: &'static str,
    pub(super) set: Set,
    pub(super) show: Show,
    /// Takes away what is there by default, once any of the keys is set.
    pub(super) clear: Option<fn(&mut Config)>,
    /// Is not printed.
    pub(super) secret: bool,
    /// The key that is printed instead.
    pub(super) alias_of: Option<&'static str>,
}

const fn key(pattern: &'static str, meaning: &'static str, set: Set, show: Show) -> Key {
    Key { pattern, meaning, set, show, clear: None, secret: false, alias_of: None }
}

/// Another name of a key.
const fn alias(pattern: &'static str, of: &'static str, set: Set) -> Key {
    Key { alias_of: Some(of), ..key(pattern, "", set, |_| Vec::new()) }
}

impl Key {
    const fn replacing(self, clear: fn(&mut Config)) -> Self {
        Self { clear: Some(clear), ..self }
    }

    /// The key with a name in the place of its `$` segment, or of each of them.
    pub(super) fn named(&self, name: &str) -> String {
        let is_name = |part: &str| part.starts_with('$');
        let has_several = self.pattern.split('.').filter(|part| is_name(part)).count() > 1;
        let mut names = if has_several { segments(name) } else { vec![name.to_owned()] }.into_iter();
        let mut fill = |part: &str| if is_name(part) { names.next().map(|name| segment(&name)) } else { Some(part.to_owned()) };
        self.pattern.split('.').filter_map(&mut fill).collect::<Vec<_>>().join(".")
    }

    /// The name in a key that this pattern is for, or all of them; empty where the pattern has no `$`.
    pub(super) fn name_in(&self, key: &str) -> Option<String> {
        let mut parts = self.pattern.split('.');
        let mut names = Vec::new();
        for segment in segments(key) {
            let part = parts.next()?;
            if part.starts_with('$') {
                names.push(segment);
            } else if part != segment {
                return None;
            }
        }
        parts.next().is_none().then(|| if names.len() > 1 { within(&names) } else { names.concat() })
    }
}

/// Several names as they are in a key.
fn within(names: &[impl AsRef<str>]) -> String {
    names.iter().map(|name| segment(name.as_ref())).collect::<Vec<_>>().join(".")
}

/// All tables, in the order in which keys are set and printed. What comes later has the last word.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    [
        node::NODE,
        node::LOG,
        node::LISTENERS,
        listening::SOCKETS,
        tls::TLS,
        tls::HTTPS,
        listening::METRICS,
        authentication::AUTHENTICATION,
        oauth2::OAUTH2,
        oauth2::RESOURCE_SERVERS,
        oauth2::PROVIDERS,
        broker::LIMITS,
        broker::USERS,
        broker::QUEUES,
        node::DEFINITIONS,
        node::STATISTICS,
        shovels::SHOVELS,
        opentelemetry::OPEN_TELEMETRY,
        testing::TESTING,
    ]
    .into_iter()
    .flatten()
}

fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

/// Puts what nothing can be wrong with.
fn take<T>(place: &mut T, value: impl Into<T>) -> Result<(), String> {
    *place = value.into();
    Ok(())
}

/// Puts what may be missing.
fn some<T>(place: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *place = Some(value?);
    Ok(())
}

fn path(place: &mut Option<PathBuf>, value: &str) -> Result<(), String> {
    *place = Some(value.into());
    Ok(())
}

/// Puts a name into a set, or takes it out.
fn member(set: &mut BTreeSet<String>, name: &str, value: &str) -> Result<(), String> {
    if boolean(value)? {
        set.insert(name.to_owned());
    } else {
        set.remove(name);
    }
    Ok(())
}

fn json(value: &str) -> Result<bool, String> {
    match value {
        "json" => Ok(true),
        "plaintext" => Ok(false),
        _ => Err(format!("'{value}' is neither plaintext nor json")),
    }
}

fn one(value: impl Display) -> Vec<(String, String)> {
    vec![(String::new(), value.to_string())]
}

fn maybe(value: Option<impl Display>) -> Vec<(String, String)> {
    value.map_or_else(Vec::new, one)
}

fn infinite(value: Option<impl Display>) -> Vec<(String, String)> {
    value.map_or_else(|| one("infinity"), one)
}

fn path_of(path: Option<&PathBuf>) -> Vec<(String, String)> {
    maybe(path.map(|path| path.display()))
}

fn format_name(json: bool) -> Vec<(String, String)> {
    one(if json { "json" } else { "plaintext" })
}

fn named<'a, V: Display>(values: impl IntoIterator<Item = (&'a String, V)>) -> Vec<(String, String)> {
    values.into_iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
}
