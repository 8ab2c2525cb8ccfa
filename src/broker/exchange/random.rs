//! The x-random and x-local-random exchanges: one binding, chosen at random (behaviour X18, X19).

use super::Destination;
use crate::broker::random::Random as Source;

#[derive(Debug, Default)]
pub(super) struct Random {
    /// One for each binding: a destination with two has two chances.
    bound: Vec<Destination>,
}

/// Checks a binding key of x-local-random.
pub(super) fn check_local_key(key: &str) -> Result<(), String> {
    if key.is_empty() { Ok(()) } else { Err(format!("Non empty binding '{key}' key not permitted")) }
}

impl Random {
    pub(super) fn bind(&mut self, destination: Destination) {
        self.bound.push(destination);
    }

    pub(super) fn unbind(&mut self, destination: Destination) {
        if let Some(at) = self.bound.iter().position(|d| *d == destination) {
            self.bound.swap_remove(at);
        }
    }

    pub(super) fn route(&self, random: &mut Source, found: &mut Vec<Destination>) {
        if !self.bound.is_empty() {
            found.push(self.bound[random.below(self.bound.len())]);
        }
    }
}
