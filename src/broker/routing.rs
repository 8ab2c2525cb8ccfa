//! From an exchange to queues: bindings between exchanges, each visited once, and alternate exchanges.

use smallvec::{SmallVec, smallvec};

use super::Broker;
use super::exchange::{Destination, ExchangeId};
use super::queue::QueueId;
use crate::amqp::Message;

impl Broker {
    /// Adds the queues that a message leads to, perhaps more than once each. Returns whether the outcome depends on
    /// the exchange and the routing key alone.
    pub(super) fn route(&mut self, exchange: ExchangeId, message: &Message, more_keys: &[Vec<u8>], queues: &mut Vec<QueueId>) -> bool {
        let mut only_by_key = true;
        let mut to_visit: SmallVec<[ExchangeId; 4]> = smallvec![exchange];
        let mut seen = to_visit.clone();
        let mut found = std::mem::take(&mut self.found);
        while let Some(id) = to_visit.pop() {
            let Some(exchange) = self.exchanges.get(id) else { continue };
            only_by_key &= !exchange.looks_at_headers();
            exchange.route(message.routing_key(), message.properties(), &mut found);
            for key in more_keys {
                exchange.route(key, message.properties(), &mut found);
            }
            if found.is_empty() {
                // Behaviour X10: a missing alternate exchange is ignored.
                let alternate = exchange.alternate.as_deref().and_then(|name| self.exchange_names.get(name));
                found.extend(alternate.map(|id| Destination::Exchange(*id)));
            }
            for destination in found.drain(..) {
                match destination {
                    Destination::Queue(queue) => queues.push(queue),
                    // Cycles are allowed (behaviour X13, gotcha 64).
                    Destination::Exchange(next) if seen.contains(&next) => {}
                    Destination::Exchange(next) => {
                        seen.push(next);
                        to_visit.push(next);
                    }
                }
            }
        }
        self.found = found;
        only_by_key
    }
}
