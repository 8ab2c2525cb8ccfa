//! The x-modulus-hash exchange: the hash of the routing keys picks one of the bindings in their order (behaviour X20).
//! It is RabbitMQ's hash and RabbitMQ's order, so both send a message to the same queue.

use super::hash::phash2;
use super::{Binding, Destination, Published};

/// Exchanges before queues, then by name.
type Rank = (bool, Box<str>);

#[derive(Debug, Default)]
pub(super) struct ModulusHash {
    /// One for each binding, in order.
    bound: Vec<(Rank, Destination)>,
}

impl ModulusHash {
    pub(super) fn bind(&mut self, binding: &Binding<'_>) {
        let rank = (matches!(binding.destination, Destination::Queue(_)), binding.name.into());
        let at = self.bound.partition_point(|(other, _)| *other <= rank);
        self.bound.insert(at, (rank, binding.destination));
    }

    pub(super) fn unbind(&mut self, destination: Destination) {
        if let Some(at) = self.bound.iter().position(|(_, d)| *d == destination) {
            self.bound.remove(at);
        }
    }

    pub(super) fn route(&self, published: Published<'_>, found: &mut Vec<Destination>) {
        if !self.bound.is_empty() {
            let hash = phash2(published.keys()) as usize;
            found.push(self.bound[hash % self.bound.len()].1);
        }
    }
}
