//! Exchanges and bindings as plain lists, and routing by looking at every one of them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::op::{BindingSpec, ExchangeSpec, Headers};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Queue(String),
    Exchange(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Binding {
    to: End,
    spec: BindingSpec,
}

#[derive(Debug)]
pub(super) struct Topology {
    exchanges: BTreeMap<String, ExchangeSpec>,
    bindings: Vec<Binding>,
}

impl Topology {
    pub(super) fn new() -> Self {
        let predeclared = [
            ("amq.direct", "direct", false),
            ("amq.fanout", "fanout", false),
            ("amq.headers", "headers", false),
            ("amq.match", "headers", false),
            ("amq.topic", "topic", false),
            ("amq.rabbitmq.trace", "topic", true),
        ];
        let exchanges = predeclared
            .into_iter()
            .map(|(name, kind, internal)| (name.to_owned(), ExchangeSpec { kind, auto_delete: false, internal, alternate: None }));
        Self { exchanges: exchanges.collect(), bindings: Vec::new() }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.exchanges.keys().cloned().collect()
    }

    pub(super) fn exchange(&self, name: &str) -> Option<&ExchangeSpec> {
        self.exchanges.get(name)
    }

    pub(super) fn declare(&mut self, name: &str, spec: &ExchangeSpec) -> Result<(), u16> {
        match self.exchanges.get(name) {
            Some(current) if current != spec => Err(406),
            Some(_) => Ok(()),
            None => {
                self.exchanges.insert(name.to_owned(), spec.clone());
                Ok(())
            }
        }
    }

    pub(super) fn delete(&mut self, name: &str, if_unused: bool) -> Result<(), u16> {
        if if_unused && self.exchanges.contains_key(name) && self.is_source(name) {
            return Err(406);
        }
        self.remove_exchange(name);
        Ok(())
    }

    fn is_source(&self, name: &str) -> bool {
        self.bindings.iter().any(|b| b.spec.source == name)
    }

    fn remove_exchange(&mut self, name: &str) {
        if self.exchanges.remove(name).is_some() {
            self.bindings.retain(|b| b.spec.source != name);
            self.remove_destination(&End::Exchange(name.to_owned()));
        }
    }

    /// Bindings to something that is gone go as well, and the auto-delete exchanges that lose their last one.
    pub(super) fn remove_destination(&mut self, to: &End) {
        let sources: BTreeSet<String> = self.bindings.iter().filter(|b| b.to == *to).map(|b| b.spec.source.clone()).collect();
        self.bindings.retain(|b| b.to != *to);
        for source in sources {
            self.auto_delete(&source);
        }
    }

    fn auto_delete(&mut self, name: &str) {
        if self.exchanges.get(name).is_some_and(|e| e.auto_delete) && !self.is_source(name) {
            self.remove_exchange(name);
        }
    }

    pub(super) fn bind(&mut self, to: End, spec: &BindingSpec) {
        let binding = Binding { to, spec: spec.clone() };
        if !self.bindings.contains(&binding) {
            self.bindings.push(binding);
        }
    }

    pub(super) fn is_bound(&self, to: &End, spec: &BindingSpec) -> bool {
        self.bindings.iter().any(|b| b.to == *to && b.spec == *spec)
    }

    pub(super) fn unbind(&mut self, to: &End, spec: &BindingSpec) {
        let before = self.bindings.len();
        self.bindings.retain(|b| b.to != *to || b.spec != *spec);
        if self.bindings.len() < before {
            self.auto_delete(&spec.source);
        }
    }

    /// The queues that a message published to this exchange leads to.
    pub(super) fn route(&self, exchange: &str, key: &str, headers: &Headers) -> BTreeSet<String> {
        let mut queues = BTreeSet::new();
        let mut seen = BTreeSet::new();
        self.visit(exchange, key, headers, &mut seen, &mut queues);
        queues
    }

    fn visit(&self, name: &str, key: &str, headers: &Headers, seen: &mut BTreeSet<String>, queues: &mut BTreeSet<String>) {
        let Some(exchange) = self.exchanges.get(name) else { return };
        if !seen.insert(name.to_owned()) {
            return;
        }
        let mut leads_nowhere = true;
        for binding in self.bindings.iter().filter(|b| b.spec.source == name) {
            let spec = &binding.spec;
            let matched = match exchange.kind {
                "fanout" => true,
                "direct" => spec.key == key,
                "topic" => topic_matches(&words(&spec.key), &words(key)),
                _ => headers_match(spec, headers),
            };
            if matched {
                leads_nowhere = false;
                match &binding.to {
                    End::Queue(queue) => drop(queues.insert(queue.clone())),
                    End::Exchange(next) => self.visit(next, key, headers, seen, queues),
                }
            }
        }
        if let (true, Some(alternate)) = (leads_nowhere, &exchange.alternate) {
            self.visit(alternate, key, headers, seen, queues);
        }
    }
}

fn words(key: &str) -> Vec<&str> {
    if key.is_empty() { Vec::new() } else { key.split('.').collect() }
}

/// `*` is one word, `#` any number of them.
fn topic_matches(pattern: &[&str], words: &[&str]) -> bool {
    match (pattern, words) {
        ([], []) => true,
        (["#", rest @ ..], _) => (0..=words.len()).any(|n| topic_matches(rest, &words[n..])),
        (["*", rest @ ..], [_, words @ ..]) => topic_matches(rest, words),
        ([literal, rest @ ..], [word, words @ ..]) => literal == word && topic_matches(rest, words),
        _ => false,
    }
}

fn headers_match(spec: &BindingSpec, headers: &Headers) -> bool {
    let mut wanted = spec.headers.iter().map(|(name, value)| headers.get(name) == Some(value));
    match spec.mode {
        Some("any") => wanted.any(|holds| holds),
        _ => wanted.all(|holds| holds),
    }
}
