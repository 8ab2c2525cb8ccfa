//! A strict reader of Prometheus' text format: what Prometheus would put up with is refused here.

use std::collections::{BTreeMap, BTreeSet};

/// Labels in the order of their names.
pub(crate) type Labels = BTreeMap<String, String>;

#[derive(Debug, Default)]
pub(crate) struct Exposition {
    /// Types by the names of families.
    pub(crate) kinds: BTreeMap<String, String>,
    pub(crate) samples: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut read = Self::default();
        let mut helped = BTreeSet::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                assert!(is_name(name), "{line}");
                assert!(matches!(kind, "counter" | "gauge" | "histogram" | "untyped"), "{line}");
                assert!(read.kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "a family comes twice: {line}");
                family = name.to_owned();
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and a text");
                assert_eq!(name, family, "{line}");
                assert!(!help.is_empty() && helped.insert(family.clone()), "{line}");
            } else {
                let (name, labels, value) = sample(line);
                let is_part = read.kinds.get(&family).is_some_and(|kind| kind == "histogram")
                    && ["_bucket", "_count", "_sum"].iter().any(|suffix| name == format!("{family}{suffix}"));
                assert!(name == family || is_part, "a sample outside of its family: {line}");
                assert!(helped.contains(&family), "no HELP before {line}");
                assert!(!name.is_empty() && is_name(&name), "{line}");
                assert!(read.samples.insert((name, labels), value).is_none(), "a series comes twice: {line}");
            }
        }
        read
    }

    /// The sample without labels.
    #[track_caller]
    pub(crate) fn value(&self, name: &str) -> f64 {
        self.with(name, &[])
    }

    #[track_caller]
    pub(crate) fn with(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let key = (name.to_owned(), labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        *self.samples.get(&key).unwrap_or_else(|| panic!("no {name} {labels:?}: {:?}", self.of(name).collect::<Vec<_>>()))
    }

    /// All samples of a family.
    pub(crate) fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Labels, f64)> {
        self.samples.iter().filter(move |((of, _), _)| of == name).map(|((_, labels), value)| (labels, *value))
    }

    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.of(name).map(|(_, value)| value).sum()
    }

    /// The only sample of a family that has this label.
    #[track_caller]
    pub(crate) fn labels<'a>(&'a self, name: &'a str) -> &'a Labels {
        let all: Vec<_> = self.of(name).collect();
        assert_eq!(all.len(), 1, "{name}");
        all[0].0
    }
}

fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

/// Name, labels, value of a line.
#[track_caller]
fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).expect("a name");
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, behind) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            assert!(is_name(label), "{line}");
            let (value, behind) = unquote(behind, line);
            assert!(labels.insert(label.to_owned(), value).is_none(), "a label comes twice: {line}");
            if let Some(behind) = behind.strip_prefix(',') {
                rest = behind;
            } else {
                rest = behind.strip_prefix('}').unwrap_or_else(|| panic!("the labels have no end: {line}"));
                break;
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line}"));
    (name.to_owned(), labels, value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
}

/// A value up to its quote, and what is behind that.
fn unquote<'a>(text: &'a str, line: &str) -> (String, &'a str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().map(|(_, c)| c) {
                Some('\\') => '\\',
                Some('"') => '"',
                Some('n') => '\n',
                _ => panic!("what is escaped: {line}"),
            }),
            c => value.push(c),
        }
    }
    panic!("a quote has no end: {line}")
}
