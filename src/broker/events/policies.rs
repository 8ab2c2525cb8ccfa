//! Events about policies, and about queues that have got others.

use super::Headers;
use crate::broker::Broker;
use crate::broker::policy::Policy;
use crate::broker::queue::QueueId;

/// Which policies apply to a queue: a user's and an operator's.
pub(in crate::broker) type Applying = (Option<Policy>, Option<Policy>);

impl Broker {
    /// What applies to each queue, for [`Broker::policy_was_set`] and [`Broker::policy_was_cleared`] to compare; nothing without an
    /// event exchange.
    pub(in crate::broker) fn applying_policies(&self) -> Vec<(QueueId, Applying)> {
        if self.reports.events.is_none() {
            return Vec::new();
        }
        let applying = |queue: &crate::broker::Queue| self.policies.applying(&queue.name, queue.kind);
        self.queues.iter().map(|(id, queue)| (id, applying(queue))).collect()
    }

    pub(in crate::broker) fn policy_was_set(&mut self, operator: bool, policy: &Policy, user: &str, before: &[(QueueId, Applying)]) {
        if operator {
            self.parameter_event("parameter.set", &policy.name, user, Some(policy));
        }
        self.event("policy.set", |broker, headers| {
            put_value(headers, policy);
            headers.text("user_who_performed_action", user);
            headers.text("vhost", &broker.vhost);
            headers.text("name", &policy.name);
        });
        for queue in self.queues_with_other_policies(before) {
            self.queue_event("queue.policy.updated", queue, user, Some(policy));
        }
    }

    pub(in crate::broker) fn policy_was_cleared(&mut self, operator: bool, name: &str, user: &str, before: &[(QueueId, Applying)]) {
        if operator {
            self.parameter_event("parameter.cleared", name, user, None);
        }
        self.event(if operator { "operator.policy.cleared" } else { "policy.cleared" }, |broker, headers| {
            headers.text("user_who_performed_action", user);
            headers.text("vhost", &broker.vhost);
            headers.text("name", name);
        });
        for queue in self.queues_with_other_policies(before) {
            self.queue_event("queue.policy.cleared", queue, user, None);
        }
    }

    fn queues_with_other_policies(&self, before: &[(QueueId, Applying)]) -> Vec<QueueId> {
        let has_others = |(id, applied): &&(QueueId, Applying)| {
            let queue = self.queues.get(*id);
            queue.is_some_and(|queue| self.policies.applying(&queue.name, queue.kind) != *applied)
        };
        before.iter().filter(has_others).map(|(id, _)| *id).collect()
    }

    /// Operator policies are parameters in RabbitMQ.
    fn parameter_event(&mut self, key: &str, name: &str, user: &str, policy: Option<&Policy>) {
        self.event(key, |broker, headers| {
            headers.text("user_who_performed_action", user);
            if let Some(policy) = policy {
                headers.table("value", |headers| put_value(headers, policy));
            }
            headers.text("name", name);
            headers.text("component", "operator_policy");
            headers.text("vhost", &broker.vhost);
        });
    }

    /// RabbitMQ: the virtual host is in there twice.
    fn queue_event(&mut self, key: &str, id: QueueId, user: &str, policy: Option<&Policy>) {
        self.event(key, |broker, headers| {
            let queue = &broker.queues[id];
            if let Some(policy) = policy {
                put_value(headers, policy);
            }
            headers.text("user_who_performed_action", user);
            headers.text("type", queue.kind.module());
            headers.text("vhost", &broker.vhost);
            headers.resource("name", &queue.name, &broker.vhost);
        });
    }
}

fn put_value(headers: &mut Headers, policy: &Policy) {
    headers.text("apply-to", policy.apply_to.name());
    headers.json("priority", &policy.priority.into());
    headers.table("definition", |headers| {
        for (key, value) in policy.definition.values().iter().rev() {
            headers.json(key, value);
        }
    });
    headers.text("pattern", &policy.pattern);
}
