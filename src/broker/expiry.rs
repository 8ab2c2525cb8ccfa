//! What time does: messages and queues expire, and everything else that was armed comes due.

use std::sync::Arc;

use super::dead_letter::Reason;
use super::queue::{Entry, QueueId};
use super::timers::Due;
use super::{Broker, Effects, Fired, INTERNAL_USER, Timestamp};

impl Broker {
    /// Lets everything happen that is due by now, in the order of the deadlines and as if each had been kept exactly.
    pub(super) fn pass_time(&mut self, now: Timestamp, effects: &mut Effects) {
        self.asked = self.asked.max(now);
        while let Some((at, due)) = self.timers.pop(now) {
            self.now = self.now.max(at);
            self.come_due(due, effects);
            self.finish(effects);
        }
        self.now = self.now.max(now);
    }

    fn come_due(&mut self, due: Due, effects: &mut Effects) {
        match due {
            Due::Expiry(queue) => self.head_is_due(queue, effects),
            Due::Unused(queue) => self.unused_is_due(queue, effects),
            Due::Retention(queue) => self.retention_is_due(queue),
            Due::DeadLetters(queue) => self.retry_dead_letters(queue),
            Due::Delayed(exchange) => self.delayed_is_due(exchange, effects),
            Due::Settlement(at) => self.settlement_is_due(at, effects),
            Due::Reading(consumer) => self.read_on(consumer, effects),
            Due::Credential(connection) => self.credential_is_due(connection, effects),
        }
    }

    /// When to call again: the earliest deadline there is.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// Takes dead messages off the head of a queue, and sees to it that the next one is looked at in time. Messages expire
    /// at the head alone (behaviour D2, gotcha 19).
    pub(super) fn settle_head(&mut self, id: QueueId) {
        while let Some(queue) = self.queues.get_mut(id).filter(|queue| queue.ready.has_expiring()) {
            let Some(&Entry { expires, .. }) = queue.ready.peek() else { return };
            if expires > self.now {
                if expires != Timestamp::NEVER {
                    self.timers.arm(&mut queue.extra().expiry, expires, Due::Expiry(id));
                }
                return;
            }
            let Some(entry) = self.take_head(id) else { return };
            if self.fired.is_some() {
                let name = Arc::clone(&self.queues[id].name);
                self.fired(Fired::MessageExpired, &name, 1);
            }
            self.bury(id, entry, Reason::Expired);
        }
    }

    fn head_is_due(&mut self, id: QueueId, effects: &mut Effects) {
        let now = self.now;
        let is_due = self.queues.get_mut(id).is_some_and(|queue| queue.extra().expiry.is_due(now));
        if is_due {
            self.pump(id, effects);
        }
    }

    /// Starts the time of x-expires anew (behaviour Q12: by declare and get, and when the last consumer goes).
    pub(super) fn note_used(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(id) else { return };
        let Some(expires) = queue.effective.expires else { return };
        let extra = queue.extra();
        extra.last_used = self.now;
        self.timers.arm(&mut extra.unused, self.now.after(expires), Due::Unused(id));
    }

    fn unused_is_due(&mut self, id: QueueId, effects: &mut Effects) {
        let Some(queue) = self.queues.get_mut(id) else { return };
        let (expires, in_use) = (queue.effective.expires, !queue.consumers.is_empty());
        let extra = queue.extra();
        // With consumers, the time begins when the last one goes.
        let (true, false, Some(expires)) = (extra.unused.is_due(self.now), in_use, expires) else { return };
        let over = extra.last_used.after(expires);
        if over > self.now {
            self.timers.arm(&mut extra.unused, over, Due::Unused(id));
        } else {
            let name = Arc::clone(&queue.name);
            self.fired(Fired::QueueExpired, &name, 1);
            self.delete_queue(id, INTERNAL_USER, effects);
        }
    }
}
