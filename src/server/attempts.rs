//! How often somebody has tried to log in, and how often not rightly; by address and user as well, where that is asked for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

/// Addresses with users that are told apart: who makes up names is not to fill the memory.
const SOURCES: usize = 10_000;

/// Over what somebody logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Amqp,
    Http,
}

impl Protocol {
    const ALL: [Self; 2] = [Self::Amqp, Self::Http];

    /// RabbitMQ's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Amqp => "amqp091",
            Self::Http => "http",
        }
    }
}

/// Attempts over one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempted {
    pub protocol: Protocol,
    pub succeeded: u64,
    pub failed: u64,
}

/// Where an attempt comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptSource {
    pub address: IpAddr,
    /// Who it says it is.
    pub user: String,
}

#[derive(Debug, Default)]
pub(super) struct Attempts {
    succeeded: [AtomicU64; 2],
    failed: [AtomicU64; 2],
    tracks_sources: AtomicBool,
    by_source: Mutex<BTreeMap<(AttemptSource, Protocol), Attempted>>,
}

impl Attempts {
    pub(super) fn new(tracks_sources: bool) -> Self {
        Self { tracks_sources: AtomicBool::new(tracks_sources), ..Self::default() }
    }

    /// From now on sources are told apart, or no more.
    pub(super) fn track_sources(&self, on: bool) {
        self.tracks_sources.store(on, Ordering::Relaxed);
    }

    pub(super) fn count(&self, protocol: Protocol, succeeded: bool, source: impl FnOnce() -> AttemptSource) {
        let counters = if succeeded { &self.succeeded } else { &self.failed };
        counters[protocol as usize].fetch_add(1, Ordering::Relaxed);
        if !self.tracks_sources.load(Ordering::Relaxed) {
            return;
        }
        let key = (source(), protocol);
        let mut by_source = self.by_source.lock();
        if by_source.len() >= SOURCES && !by_source.contains_key(&key) {
            return;
        }
        let attempted = by_source.entry(key).or_insert(Attempted { protocol, succeeded: 0, failed: 0 });
        *(if succeeded { &mut attempted.succeeded } else { &mut attempted.failed }) += 1;
    }

    pub(super) fn all(&self) -> Vec<Attempted> {
        let of = |counters: &[AtomicU64; 2], protocol: Protocol| counters[protocol as usize].load(Ordering::Relaxed);
        let attempted = |protocol| Attempted { protocol, succeeded: of(&self.succeeded, protocol), failed: of(&self.failed, protocol) };
        Protocol::ALL.map(attempted).to_vec()
    }

    pub(super) fn by_source(&self) -> Vec<(AttemptSource, Attempted)> {
        self.by_source.lock().iter().map(|((source, _), attempted)| (source.clone(), *attempted)).collect()
    }

    pub(super) fn reset(&self) {
        self.succeeded.iter().chain(&self.failed).for_each(|counter| counter.store(0, Ordering::Relaxed));
        self.by_source.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart_up_to_a_limit() {
        let attempts = Attempts::new(false);
        let from = |user: usize| move || AttemptSource { address: IpAddr::from([127, 0, 0, 1]), user: user.to_string() };
        attempts.count(Protocol::Amqp, false, from(0));
        assert_eq!(attempts.by_source(), []);
        attempts.track_sources(true);
        (0..SOURCES + 5).for_each(|user| attempts.count(Protocol::Http, false, from(user)));
        attempts.count(Protocol::Http, true, from(3));
        let found = attempts.by_source();
        assert_eq!(found.len(), SOURCES);
        let (_, third) = found.iter().find(|(source, _)| source.user == "3").expect("counted");
        assert_eq!((third.succeeded, third.failed), (1, 1));
        assert_eq!(attempts.all()[1].failed, SOURCES as u64 + 5, "all are counted");
    }
}
