//! The end of a virtual host: nothing of it stays, in memory or on the disk.

use super::exchange::ExchangeId;
use super::queue::QueueId;
use super::{Broker, Effects, INTERNAL_USER};

impl Broker {
    /// Takes away all queues, exchanges but those that are always there, and policies. Whoever is connected has been told to go.
    pub(super) fn reset(&mut self, effects: &mut Effects) {
        for id in self.queues.keys().collect::<Vec<QueueId>>() {
            self.delete_queue(id, INTERNAL_USER, effects);
        }
        let declared = self.exchanges.iter().filter(|(_, exchange)| !exchange.name.starts_with("amq."));
        for id in declared.map(|(id, _)| id).collect::<Vec<ExchangeId>>() {
            self.delete_exchange(id, INTERNAL_USER);
        }
        // What binds the exchanges that stay has gone with what it was bound to, but for what binds them to each other.
        for id in self.exchanges.keys().collect::<Vec<ExchangeId>>() {
            let bindings = self.exchanges[id].bindings();
            let left: Vec<_> = bindings.map(|(to, key, arguments)| (to, key.to_owned(), arguments.clone())).collect();
            left.iter().for_each(|(to, key, arguments)| self.unbind(id, *to, key, arguments, INTERNAL_USER));
        }
        for operator in [false, true] {
            let names: Vec<String> = self.policies.all(operator).map(|policy| policy.name.clone()).collect();
            for name in names {
                self.clear_policy(operator, &name, INTERNAL_USER, effects);
            }
        }
    }
}
