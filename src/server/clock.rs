//! The alarm clock of a loop: sleeps until the next deadline of its broker, which may come nearer meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::time::Time;
use crate::broker::Timestamp;

#[derive(Debug)]
pub(super) struct Clock {
    /// Milliseconds since the Unix epoch.
    deadline: AtomicU64,
    /// Told when the deadline has come nearer.
    nearer: Notify,
}

impl Default for Clock {
    fn default() -> Self {
        Self { deadline: AtomicU64::new(Timestamp::NEVER.0), nearer: Notify::new() }
    }
}

impl Clock {
    /// Sets the next deadline.
    pub(super) fn wake_at(&self, deadline: Option<Timestamp>) {
        let deadline = deadline.unwrap_or(Timestamp::NEVER).0;
        let before = self.deadline.load(Ordering::Relaxed);
        if deadline != before {
            self.deadline.store(deadline, Ordering::Release);
            if deadline < before {
                self.nearer.notify_one();
            }
        }
    }

    /// The time has been moved: it is looked at again.
    pub(super) fn moved(&self) {
        self.nearer.notify_one();
    }

    /// Returns when the deadline has come, which then has to be set anew.
    pub(super) async fn deadline(&self, time: &Time) {
        loop {
            let deadline = self.deadline.load(Ordering::Acquire);
            let left = deadline.saturating_sub(time.now().0);
            if left == 0 {
                // Not again before the loop has handled this one.
                self.deadline.store(Timestamp::NEVER.0, Ordering::Release);
                return;
            }
            // The system's clock may be set: an hour at most until it is read again.
            let nap = Duration::from_millis(left.min(3_600_000));
            tokio::select! {
                () = tokio::time::sleep(nap), if deadline != Timestamp::NEVER.0 && !time.stands_still() => {}
                () = self.nearer.notified() => {}
            }
        }
    }
}
