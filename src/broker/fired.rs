//! What came due while time was moved, for who has moved it.

use std::sync::Arc;

use super::{Broker, Timestamp};

/// Something that happens by itself when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fired {
    MessageExpired,
    QueueExpired,
    /// A stream has let go of messages by their age.
    Retention,
    /// An exchange that delays has let messages go.
    DelayedRouted,
    /// A channel was closed over a delivery that was not settled in time.
    ConsumerTimeout,
    /// Messages that could not be dead-lettered were tried again.
    DeadLetterRetried,
}

impl Fired {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MessageExpired => "message-expired",
            Self::QueueExpired => "queue-expired",
            Self::Retention => "retention",
            Self::DelayedRouted => "delayed-routed",
            Self::ConsumerTimeout => "consumer-timeout",
            Self::DeadLetterRetried => "dead-letter-retried",
        }
    }
}

/// The same thing, as often as it happened to one queue or exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    pub what: Fired,
    /// The queue, or the exchange of delayed messages.
    pub object: Arc<str>,
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
}

impl Broker {
    /// From now on what comes due is noted, until it is taken.
    pub fn note_fired(&mut self) {
        self.fired = Some(Vec::new());
    }

    /// What has come due since, in the order in which it began to.
    pub fn take_fired(&mut self) -> Vec<Firing> {
        self.fired.take().unwrap_or_default()
    }

    pub(super) fn fired(&mut self, what: Fired, object: &Arc<str>, times: u64) {
        let now = self.now;
        let Some(fired) = self.fired.as_mut().filter(|_| times > 0) else { return };
        // What fires is rarely of more than a few kinds, and mostly the same as before.
        match fired.iter_mut().rev().find(|firing| firing.what == what && firing.object == *object) {
            Some(firing) => {
                firing.count += times;
                firing.last = now;
            }
            None => fired.push(Firing { what, object: Arc::clone(object), count: times, first: now, last: now }),
        }
    }
}
