//! What is to happen later: one heap of deadlines for everything in a virtual host.
//!
//! Whoever waits for something has one deadline in here, not one for each message: a queue that of its head, a channel
//! that of its oldest delivery. A deadline is never taken out. Its owner keeps the one that counts ([`Deadline`]), and
//! one that no longer does is passed over when its time comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::exchange::ExchangeId;
use super::queue::{ConsumerId, QueueId};
use super::{At, ConnectionId, Timestamp};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The head of a queue expires.
    Expiry(QueueId),
    /// A queue may have been unused for as long as x-expires allows.
    Unused(QueueId),
    /// A stream has messages that are older than x-max-age.
    Retention(QueueId),
    /// Messages that could not be dead-lettered are tried again (at-least-once).
    DeadLetters(QueueId),
    /// A delayed message is to be routed.
    Delayed(ExchangeId),
    /// A delivery has not been settled for as long as the consumer timeout allows.
    Settlement(At),
    /// A reader of a stream goes on after a pause.
    Reading(ConsumerId),
    /// The credential of a connection's user expires.
    Credential(ConnectionId),
}

/// The deadline that counts, kept by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline(Timestamp);

impl Default for Deadline {
    fn default() -> Self {
        Self(Timestamp::NEVER)
    }
}

impl Deadline {
    /// Whether this deadline, which has come, is the one that counts. It counts no more then.
    pub(super) fn is_due(&mut self, now: Timestamp) -> bool {
        let due = self.0 <= now;
        if due {
            self.0 = Timestamp::NEVER;
        }
        due
    }

    /// Whether nothing is waited for until this time.
    pub(super) fn is_later_than(self, at: Timestamp) -> bool {
        self.0 > at
    }
}

#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Timestamp, Due)>>);

impl Timers {
    /// Sees to it that the owner of `deadline` is called at `at`, or before.
    pub(super) fn arm(&mut self, deadline: &mut Deadline, at: Timestamp, due: Due) {
        if deadline.is_later_than(at) {
            *deadline = Deadline(at);
            self.0.push(Reverse((at, due)));
        }
    }

    /// Calls back at `at`, once.
    pub(super) fn push(&mut self, at: Timestamp, due: Due) {
        self.0.push(Reverse((at, due)));
    }

    /// When to look again.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the earliest that is due.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, Due)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(first)| first)
    }
}
