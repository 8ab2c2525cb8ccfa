//! Laying policies over what exists, live (behaviour P1).

use std::sync::Arc;

use super::policy::{Applied, Definition, Policy};
use super::queue::effective::{Effective, Overflow};
use super::queue::{QueueId, QueueType};
use super::{Broker, Effects};
use crate::amqp::FieldTable;

impl Broker {
    pub(super) fn set_policy(&mut self, operator: bool, policy: &Policy, user: &str, effects: &mut Effects) {
        let before = self.applying_policies();
        self.policies.set(operator, policy.clone());
        self.define_policy(operator, policy);
        self.apply_policies(effects);
        self.policy_was_set(operator, policy, user, &before);
    }

    pub(super) fn clear_policy(&mut self, operator: bool, name: &str, user: &str, effects: &mut Effects) {
        let before = self.applying_policies();
        if self.policies.clear(operator, name) {
            self.undefine_policy(operator, name);
            self.apply_policies(effects);
            self.policy_was_cleared(operator, name, user, &before);
        }
    }

    fn apply_policies(&mut self, effects: &mut Effects) {
        let ids: Vec<QueueId> = self.queues.keys().collect();
        for id in ids {
            let queue = &self.queues[id];
            let policy = self.policies.for_queue(&queue.name, queue.kind);
            let effective = self.effective(queue.kind, &queue.arguments, policy.as_deref());
            self.queues[id].policy = policy;
            let queue = &self.queues[id];
            if *effective != *queue.effective {
                // RabbitMQ: a bound is applied before what is to happen at it, so what is too much by then goes even if the
                // same policy says reject-publish.
                let dropped_heads = queue.kind == QueueType::Classic && queue.effective.overflow == Overflow::DropHead;
                // Deliveries that are out keep the deadline they were given; a longer consumer timeout helps them, a shorter one
                // counts for those to come.
                self.queues[id].apply(effective);
                if dropped_heads {
                    self.shed(id);
                }
                self.drop_overflow(id);
                self.retire(id);
                self.note_used(id);
                self.pump(id, effects);
            }
        }
        for exchange in self.exchanges.values_mut() {
            exchange.apply(self.policies.for_exchange(&exchange.name));
        }
        self.topology += 1;
    }

    /// What applies to a queue with these arguments and policies.
    pub(super) fn effective(&self, kind: QueueType, arguments: &FieldTable, policy: Option<&Applied>) -> Arc<Effective> {
        if kind == QueueType::Classic && arguments.inner().is_empty() && policy.is_none() {
            return Arc::clone(&self.plain);
        }
        let nothing = Definition::default();
        Arc::new(Effective::new(kind, arguments, policy.map_or(&nothing, |applied| &applied.definition), &self.settings))
    }
}
