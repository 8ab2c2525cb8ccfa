//! Whose time it is that messages and queues live in: the machine's, or a virtual one that is moved by hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::broker::Timestamp;
use crate::config::ClockKind;

#[derive(Debug)]
pub(super) struct Time {
    /// `None`: the machine's.
    moved: Option<Mutex<Moved>>,
    /// Milliseconds by which sockets are ahead of the machine.
    sockets_ahead: AtomicU64,
}

/// Where a virtual clock stands.
#[derive(Debug)]
struct Moved {
    /// What it showed when it was last set, in milliseconds since the epoch.
    shown: u64,
    /// Since when it goes from there; `None`: it stands still.
    goes_since: Option<Instant>,
}

impl Moved {
    fn now(&self) -> u64 {
        let since = self.goes_since.map_or(Duration::ZERO, |since| since.elapsed());
        self.shown.saturating_add(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Time {
    /// A virtual clock begins with the machine's time, and stands still.
    pub(super) fn new(kind: ClockKind) -> Self {
        let moved = match kind {
            ClockKind::Real => None,
            ClockKind::Virtual => Some(Mutex::new(Moved { shown: machine().0, goes_since: None })),
        };
        Self { moved, sockets_ahead: AtomicU64::new(0) }
    }

    pub(super) fn now(&self) -> Timestamp {
        match &self.moved {
            None => machine(),
            Some(moved) => Timestamp(moved.lock().now()),
        }
    }

    pub(super) fn is_virtual(&self) -> bool {
        self.moved.is_some()
    }

    pub(super) fn stands_still(&self) -> bool {
        self.moved.as_ref().is_some_and(|moved| moved.lock().goes_since.is_none())
    }

    /// Sets a virtual clock; `false` when it shows a later time already, or is the machine's.
    pub(super) fn set(&self, to: Timestamp) -> bool {
        let Some(moved) = &self.moved else { return false };
        let mut moved = moved.lock();
        if moved.now() > to.0 {
            return false;
        }
        moved.shown = to.0;
        moved.goes_since = moved.goes_since.map(|_| Instant::now());
        true
    }

    /// Stops a virtual clock, or has it go on.
    pub(super) fn freeze(&self, frozen: bool) {
        let Some(moved) = &self.moved else { return };
        let mut moved = moved.lock();
        moved.shown = moved.now();
        moved.goes_since = (!frozen).then(Instant::now);
    }

    /// The time that sockets live in: the machine's, unless it was moved for them too.
    pub(super) fn of_sockets(&self) -> Instant {
        Instant::now() + self.sockets_ahead()
    }

    /// When the machine's clock shows what sockets take for this time.
    pub(super) fn on_machine(&self, of_sockets: Instant) -> Instant {
        of_sockets.checked_sub(self.sockets_ahead()).unwrap_or_else(Instant::now)
    }

    /// Moves the time of sockets as well: heartbeats, and how long a client may take to answer.
    pub(super) fn advance_sockets(&self, milliseconds: u64) {
        self.sockets_ahead.fetch_add(milliseconds, Ordering::SeqCst);
    }

    fn sockets_ahead(&self) -> Duration {
        Duration::from_millis(self.sockets_ahead.load(Ordering::Relaxed))
    }
}

/// What the machine's clock shows.
fn machine() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_clock_stands_still_until_it_is_set() {
        let time = Time::new(ClockKind::Virtual);
        let now = time.now();
        assert!(time.stands_still());
        assert!(time.set(now.after(60_000)));
        assert_eq!(time.now(), now.after(60_000));
        assert!(!time.set(now), "it does not go back");
        assert_eq!(time.now(), now.after(60_000));
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_from_where_it_was() {
        let time = Time::new(ClockKind::Virtual);
        let now = time.now();
        time.freeze(false);
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(time.now(), now.after(1500));
        assert!(time.set(now.after(10_000)));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(time.now(), now.after(10_500));
        time.freeze(true);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(time.now(), now.after(10_500));
    }

    #[test]
    fn the_machines_clock_cannot_be_set() {
        let time = Time::new(ClockKind::Real);
        assert!(!time.is_virtual() && !time.stands_still());
        assert!(!time.set(Timestamp(u64::MAX)));
    }

    #[tokio::test(start_paused = true)]
    async fn sockets_are_moved_apart() {
        let time = Time::new(ClockKind::Virtual);
        let before = time.of_sockets();
        time.advance_sockets(30_000);
        assert_eq!(time.of_sockets(), before + Duration::from_secs(30));
        assert_eq!(time.on_machine(before + Duration::from_secs(31)), before + Duration::from_secs(1));
    }
}
