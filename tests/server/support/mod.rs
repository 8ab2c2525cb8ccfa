//! What the tests are written with: a broker process, a raw client that may misbehave, lapin with a time limit.

pub(crate) mod broker;
pub(crate) mod client;
pub(crate) mod raw;
pub(crate) mod tls;
pub(crate) mod volume;
pub(crate) mod wire;

use std::time::{Duration, Instant};

/// How long anything that must happen may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Looks until there is something to see; for what tells nobody when it changes (a file, a process's state).
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(started.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
