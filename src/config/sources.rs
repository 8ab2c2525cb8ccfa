//! Putting a configuration together: settings from files, the environment and the command line, the last one of a key counting.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::keys::{self, Key};
use super::syntax::{self, Statement, segment};
use super::{Config, ignored};
use crate::node::parameters;

/// How deep files may include each other.
const INCLUDES_MAX: usize = 16;
/// How many files may be read in all.
const FILES_MAX: usize = 1000;
/// A longer key is not compared with those that exist.
const COMPARED_MAX: usize = 200;
/// How often a reference may lead to another one.
const REFERENCES_MAX: usize = 16;

/// What is wrong with a configuration: a line for each thing, with the place where that is known.
#[derive(Debug, PartialEq, Eq)]
pub struct FileError(pub(super) String);

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FileError {}

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The number of a line of a text without a name.
    Text(usize),
    File(PathBuf, usize),
    /// The name of a variable.
    Environment(&'static str),
    /// The name of an option.
    CommandLine(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(line) => write!(f, "line {line}"),
            Self::File(path, line) => write!(f, "{}: line {line}", path.display()),
            Self::Environment(variable) => write!(f, "environment: {variable}"),
            Self::CommandLine(option) => write!(f, "command line: {option}"),
        }
    }
}

#[derive(Debug)]
struct Setting {
    value: String,
    origin: Origin,
    /// The how manieth it was.
    number: usize,
}

/// Looks a variable of the environment up.
type Lookup = Box<dyn Fn(&str) -> Option<String>>;

/// All settings so far.
pub struct Sources {
    settings: BTreeMap<String, Setting>,
    number: usize,
    files: usize,
    wrong: Vec<(usize, String)>,
    notes: Vec<String>,
    variable: Lookup,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("settings", &self.settings).field("wrong", &self.wrong).finish_non_exhaustive()
    }
}

impl Sources {
    /// Nothing yet. Values refer to variables as `$(NAME)`; `variable` looks them up.
    pub fn new(variable: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Self { settings: BTreeMap::new(), number: 0, files: 0, wrong: Vec::new(), notes: Vec::new(), variable: Box::new(variable) }
    }

    /// Sets a key in place of what it was.
    pub fn set(&mut self, key: &str, value: &str, origin: Origin) {
        self.number += 1;
        self.settings.insert(key.to_owned(), Setting { value: value.to_owned(), origin, number: self.number });
    }

    /// Takes away what was set of a key, and of those that begin with it.
    pub fn forget(&mut self, prefix: &str) {
        self.settings.retain(|key, _| !begins_with(key, prefix));
    }

    /// Whether a key is set, or one that begins with it.
    pub(super) fn has(&self, prefix: &str) -> bool {
        self.settings.keys().any(|key| begins_with(key, prefix))
    }

    /// Something that is said once, with the keys that mean nothing here.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Adds the lines of a file; of all files that end in .conf, in the order of their names, where `path` is a directory; or of
    /// all that fit, where its last part has a `*`.
    pub fn read(&mut self, path: &Path) {
        self.read_at(path, 0);
    }

    fn read_at(&mut self, path: &Path, depth: usize) {
        let files =
            files(path).and_then(|files| files.into_iter().map(|file| std::fs::read_to_string(&file).map(|text| (file, text))).collect());
        let files: Vec<(PathBuf, String)> = match files {
            Ok(files) => files,
            Err(error) => return self.fault(format!("{}: {error}", path.display())),
        };
        for (file, text) in files {
            self.files += 1;
            if self.files > FILES_MAX {
                return self.fault(format!("{}: more than {FILES_MAX} files are read", file.display()));
            }
            self.read_text(&text, &|line| Origin::File(file.clone(), line), file.parent(), depth);
        }
    }

    fn read_text(&mut self, text: &str, origin: &dyn Fn(usize) -> Origin, folder: Option<&Path>, depth: usize) {
        for (line, statement) in syntax::parse(text) {
            match statement {
                Ok(Statement::Setting { key, value }) => self.set(&key, &value, origin(line)),
                Ok(Statement::Include(path)) if depth < INCLUDES_MAX => {
                    let before = self.wrong.len();
                    self.read_at(&folder.map_or_else(|| PathBuf::from(&path), |folder| folder.join(&path)), depth + 1);
                    for (_, why) in &mut self.wrong[before..] {
                        *why = format!("{}: {why}", origin(line));
                    }
                }
                Ok(Statement::Include(path)) => self.fault(format!("{}: {path} is included too deep", origin(line))),
                Err(why) => self.fault(format!("{}: {why}", origin(line))),
            }
        }
    }

    fn fault(&mut self, why: String) {
        self.number += 1;
        self.wrong.push((self.number, why));
    }

    /// What the settings make over the defaults.
    ///
    /// # Errors
    /// Whatever is not understood: lines, keys, values, unreadable files, each with the place.
    pub fn config(&self) -> Result<Config, FileError> {
        let mut config = Config::default();
        self.apply(&mut config)?;
        let shovels = config.shovels.iter().filter_map(|(name, definition)| {
            let refused = parameters::check(parameters::SHOVEL, name, &Json::Object(definition.clone())).err()?;
            let why = refused.lines().skip(2).collect::<Vec<_>>().join("; ");
            Some(format!("shovel.{}: {why}", segment(name)))
        });
        let tokens = config.auth_oauth2.faults().into_iter().map(|(key, why)| {
            let place = self.origin(&key).map(|origin| format!("{origin}: ")).unwrap_or_default();
            format!("{place}{key}: {why}")
        });
        let wrong: Vec<String> = shovels.chain(tokens).collect();
        if wrong.is_empty() { Ok(config) } else { Err(FileError(wrong.join("\n"))) }
    }

    pub(super) fn apply(&self, config: &mut Config) -> Result<(), FileError> {
        let mut wrong = self.wrong.clone();
        for (key, setting) in &self.settings {
            if find(key).is_none() && !ignored::is_ignored(key) {
                wrong.push((setting.number, format!("{}: {}", setting.origin, unknown(key))));
            }
        }
        let renamed = self.first_listener();
        for key in keys::all() {
            let set = self.settings.iter().filter_map(|(set, setting)| {
                let as_if = if renamed == Some(set) { "listeners.tcp.default" } else { set };
                Some((key.name_in(as_if)?, set, setting))
            });
            for (index, (name, set, setting)) in set.enumerate() {
                if let Some(clear) = key.clear.filter(|_| index == 0) {
                    clear(config);
                }
                // What the environment and the command line say is meant as it is.
                let value = match setting.origin {
                    Origin::Text(_) | Origin::File(..) => self.value(&setting.value, 0),
                    Origin::Environment(_) | Origin::CommandLine(_) => Ok(setting.value.clone()),
                };
                if let Err(why) = value.and_then(|value| (key.set)(config, &name, &value)) {
                    wrong.push((setting.number, format!("{}: {set}: {why}", setting.origin)));
                }
            }
        }
        wrong.sort();
        let lines: Vec<String> = wrong.into_iter().map(|(_, why)| why).collect();
        if lines.is_empty() { Ok(()) } else { Err(FileError(lines.join("\n"))) }
    }

    /// A listener that takes the place of the default one: as in RabbitMQ, there is none beside those that are named.
    fn first_listener(&self) -> Option<&String> {
        let mut named = self.settings.keys().filter(|key| key.starts_with("listeners.tcp."));
        let first = named.next();
        let has_default = self.settings.contains_key("listeners.tcp.default");
        first.filter(|_| !has_default)
    }

    /// A value with what it refers to: variables, and other keys.
    fn value(&self, value: &str, depth: usize) -> Result<String, String> {
        let lookup = |name: &str| {
            let of_setting = || self.settings.get(name).filter(|_| depth < REFERENCES_MAX);
            (self.variable)(name).or_else(|| self.value(&of_setting()?.value, depth + 1).ok())
        };
        syntax::interpolated(value, &lookup)
    }

    /// Where a key was set last.
    pub(super) fn origin(&self, key: &str) -> Option<&Origin> {
        let key = match self.first_listener() {
            Some(first) if key == "listeners.tcp.default" => first,
            _ => key,
        };
        self.settings.get(key).map(|setting| &setting.origin)
    }

    /// What is worth a warning, a line each; first the keys of RabbitMQ that mean nothing here.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let ignored: Vec<&str> = self.settings.keys().filter(|key| find(key).is_none()).map(String::as_str).collect();
        let ignored = (!ignored.is_empty()).then(|| format!("keys of RabbitMQ that mean nothing here: {}", ignored.join(", ")));
        ignored.into_iter().chain(self.notes.iter().cloned()).collect()
    }
}

/// The files that a path stands for.
fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let pattern = path.file_name().and_then(|name| name.to_str()).filter(|name| name.contains('*'));
    let (folder, pattern) = match pattern {
        _ if path.is_dir() => (path, "*.conf"),
        Some(pattern) => (path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")), pattern),
        None => return Ok(vec![path.to_owned()]),
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| fits(name, pattern)) && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a name is what a pattern says, in which `*` stands for anything. Hidden files need to be named.
fn fits(name: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    if name.starts_with('.') && first.is_empty() {
        return false;
    }
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

impl Config {
    /// Reads a file over what is set so far.
    ///
    /// # Errors
    /// An unreadable file, and the lines that are not understood.
    pub fn read_file(&mut self, path: &Path) -> Result<(), FileError> {
        let mut sources = Sources::new(|_| None);
        sources.read(path);
        sources.apply(self)
    }

    /// Reads the text of a file over what is set so far.
    ///
    /// # Errors
    /// The lines that are not understood.
    pub fn read(&mut self, text: &str) -> Result<(), FileError> {
        let mut sources = Sources::new(|_| None);
        sources.read_text(text, &Origin::Text, None, 0);
        sources.apply(self)
    }
}

fn begins_with(key: &str, prefix: &str) -> bool {
    key.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn find(key: &str) -> Option<&'static Key> {
    keys::all().find(|known| known.name_in(key).is_some())
}

fn unknown(key: &str) -> String {
    if key.len() > COMPARED_MAX {
        return format!("unknown key '{key}'");
    }
    let known = keys::all().map(|known| known.pattern.to_owned()).chain(ignored::patterns());
    let nearest = known.map(|pattern| filled_in(&pattern, key)).min_by_key(|known| distance(known, key));
    format!("unknown key '{key}'; did you mean '{}'?", nearest.unwrap_or_default())
}

/// A pattern with the names that a key has in the places of its `$` segments.
fn filled_in(pattern: &str, key: &str) -> String {
    let names = syntax::segments(key);
    let fill = |(index, part): (usize, &str)| match names.get(index) {
        Some(name) if part.starts_with('$') => syntax::segment(name),
        _ => part.to_owned(),
    };
    pattern.split('.').enumerate().map(fill).collect::<Vec<_>>().join(".")
}

/// How many insertions, deletions and replacements lie between two words.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
