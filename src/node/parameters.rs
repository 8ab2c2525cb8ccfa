//! Runtime parameters: named values of components such as shovels, per virtual host or for the whole node. What a value may be is
//! the component's to say; policies are kept by the brokers, and limits with what they limit.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

/// By component, virtual host and name.
#[derive(Clone, Debug, Default)]
pub struct Parameters(BTreeMap<(String, Arc<str>, String), Json>);

impl Parameters {
    pub fn set(&mut self, component: &str, vhost: &str, name: &str, value: Json) {
        self.0.insert(key(component, vhost, name), value);
    }

    /// Whether there was one.
    pub fn clear(&mut self, component: &str, vhost: &str, name: &str) -> bool {
        self.0.remove(&key(component, vhost, name)).is_some()
    }

    #[must_use]
    pub fn get(&self, component: &str, vhost: &str, name: &str) -> Option<&Json> {
        self.0.get(&key(component, vhost, name))
    }

    /// Component, virtual host, name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &str, &Json)> {
        self.0.iter().map(|((component, vhost, name), value)| (&**component, &**vhost, &**name, value))
    }

    pub(super) fn forget_vhost(&mut self, name: &str) {
        self.0.retain(|(_, vhost, _), _| **vhost != *name);
    }
}

fn key(component: &str, vhost: &str, name: &str) -> (String, Arc<str>, String) {
    (component.to_owned(), vhost.into(), name.to_owned())
}

/// By name.
pub type GlobalParameters = BTreeMap<String, Json>;
