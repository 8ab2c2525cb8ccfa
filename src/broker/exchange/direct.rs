//! The direct exchange: the routing key equals the binding key (behaviour X14).

use std::collections::HashMap;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::Destination;

#[derive(Debug, Default)]
pub(super) struct Direct {
    /// Looked up only, never iterated: its order is arbitrary.
    by_key: HashMap<Box<[u8]>, SmallVec<[Destination; 1]>, FixedState>,
}

impl Direct {
    pub(super) fn bind(&mut self, destination: Destination, key: &str) {
        self.by_key.entry(key.as_bytes().into()).or_default().push(destination);
    }

    pub(super) fn unbind(&mut self, destination: Destination, key: &str) {
        if let Some(destinations) = self.by_key.get_mut(key.as_bytes()) {
            destinations.retain(|d| *d != destination);
            if destinations.is_empty() {
                self.by_key.remove(key.as_bytes());
            }
        }
    }

    pub(super) fn route(&self, routing_key: &[u8], found: &mut Vec<Destination>) {
        if let Some(destinations) = self.by_key.get(routing_key) {
            found.extend_from_slice(destinations);
        }
    }
}
