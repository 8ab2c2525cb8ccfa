//! What the node is short of: memory above the watermark, a disk that fails or has no room. Whoever publishes is blocked then (behaviour O6).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shell;
use super::broker_loop::BrokerLoop;
use crate::broker::Alarms;

/// How often the room on the disk is looked at.
const DISK_CHECK: Duration = Duration::from_secs(1);
/// How long it is not tried again to put transient messages on the disk when there were none, in milliseconds.
const SPILL_RESTS_MS: u64 = 100;

impl Shell {
    /// Memory in use may have crossed the watermark.
    pub(super) fn check_memory(&self) {
        let (used, changed) = {
            let mut watermark = self.watermark.lock();
            // Looked at, decided and noted under one lock: who comes last has seen the last, and that is what stays.
            let used = self.held.bytes() + self.queued();
            let changed = watermark.update(used);
            if let Some(raised) = changed {
                self.alarm.store(raised, Ordering::SeqCst);
            }
            (used, changed)
        };
        if used > self.controls.paging_limit() {
            self.spill_transient();
        }
        if let Some(raised) = changed {
            self.announce(raised, used);
        }
    }

    /// Transient messages are put on the disk, a portion at a time and not more often than helps.
    pub(super) fn spill_transient(&self) {
        if !self.storage.as_ref().is_some_and(|storage| storage.has_spilled()) {
            return;
        }
        let now = self.time.now().0;
        // What was asked for last has been done by now; if it was in vain, so would this be for a while.
        if now >= self.spill_rests_until.load(Ordering::Relaxed) && !self.spill_asked.swap(true, Ordering::Relaxed) {
            self.loops().iter().for_each(BrokerLoop::spill_transient);
        }
    }

    /// Transient messages were to be put on the disk; whether there were any.
    pub(super) fn spill_answered(&self, any: bool) {
        if !any {
            self.spill_rests_until.store(self.time.now().0.saturating_add(SPILL_RESTS_MS), Ordering::Relaxed);
        }
        self.spill_asked.store(false, Ordering::Relaxed);
    }

    /// Bytes that queues hold, and that consumers can drain.
    pub(super) fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// The disk fails, or works again.
    pub(super) fn disk_fails(&self, fails: bool) {
        self.disk_fails.store(fails, Ordering::SeqCst);
        self.spread_alarms();
    }

    /// Looks now and then how much room the disk has (behaviour O6).
    pub(super) async fn watch_disk(self: Arc<Self>) {
        let mut each = tokio::time::interval(DISK_CHECK);
        while self.storage.is_some() {
            each.tick().await;
            self.check_disk();
        }
    }

    /// The room on the disk may have crossed its limit.
    pub(super) fn check_disk(&self) {
        let Some(storage) = &self.storage else { return };
        if !self.controls.monitors_disk() {
            return;
        }
        let limit = self.controls.disk_free_limit();
        let free = match storage.free_bytes() {
            Ok(free) => free,
            Err(error) => return tracing::error!("cannot tell how much room the disk has: {error}"),
        };
        let short = free < limit;
        if short != self.disk_short.swap(short, Ordering::SeqCst) {
            if short {
                tracing::warn!(free, limit, "free disk space is below its limit: publishers are blocked");
            } else {
                tracing::info!(free, limit, "disk alarm cleared");
            }
            self.spread_alarms();
        }
    }

    /// Tells all loops what the node is short of, if that has changed.
    pub(super) fn spread_alarms(&self) {
        let mut known = self.alarms.lock();
        let (memory, disk) = self.forced();
        let disk = disk || self.disk_fails.load(Ordering::SeqCst) || self.disk_short.load(Ordering::SeqCst);
        let alarms = Alarms { memory: memory || self.alarm.load(Ordering::SeqCst), disk };
        if std::mem::replace(&mut *known, alarms) == alarms {
            return;
        }
        // Under the lock, so that every loop hears of the last change last.
        let loops = self.loops();
        loops.iter().for_each(|broker_loop| broker_loop.push_alarms(alarms));
        self.alarms_told.send_replace(alarms);
        drop(known);
        loops.iter().for_each(BrokerLoop::poke);
    }

    pub(super) fn announce(&self, memory: bool, used: u64) {
        let limit = self.controls.memory_limit();
        if memory {
            tracing::warn!(used, limit, "memory watermark exceeded: publishers are blocked");
        } else {
            tracing::info!(used, limit, "memory alarm cleared");
        }
        if !memory {
            self.alarm_ended.notify_waiters();
        }
        self.spread_alarms();
    }
}
