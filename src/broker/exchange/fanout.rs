//! The fanout exchange: every destination once, whatever the keys.

use super::Destination;

#[derive(Debug, Default)]
pub(super) struct Fanout {
    destinations: Vec<Destination>,
    /// Beside each destination: with how many different keys it is bound.
    keys: Vec<u32>,
}

impl Fanout {
    pub(super) fn bind(&mut self, destination: Destination) {
        if let Some(at) = self.destinations.iter().position(|d| *d == destination) {
            self.keys[at] += 1;
        } else {
            self.destinations.push(destination);
            self.keys.push(1);
        }
    }

    pub(super) fn unbind(&mut self, destination: Destination) {
        if let Some(at) = self.destinations.iter().position(|d| *d == destination) {
            self.keys[at] -= 1;
            if self.keys[at] == 0 {
                self.destinations.remove(at);
                self.keys.remove(at);
            }
        }
    }

    pub(super) fn route(&self, found: &mut Vec<Destination>) {
        found.extend_from_slice(&self.destinations);
    }
}
