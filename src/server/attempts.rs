//! How often somebody has tried to log in, and how often not rightly.

use std::sync::atomic::{AtomicU64, Ordering};

/// Over what somebody logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

#[derive(Debug, Default)]
pub(super) struct Attempts {
    succeeded: [AtomicU64; 2],
    failed: [AtomicU64; 2],
}

impl Attempts {
    pub(super) fn count(&self, protocol: Protocol, succeeded: bool) {
        let counters = if succeeded { &self.succeeded } else { &self.failed };
        counters[protocol as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn all(&self) -> Vec<Attempted> {
        let of = |counters: &[AtomicU64; 2], protocol: Protocol| counters[protocol as usize].load(Ordering::Relaxed);
        let attempted = |protocol| Attempted { protocol, succeeded: of(&self.succeeded, protocol), failed: of(&self.failed, protocol) };
        Protocol::ALL.map(attempted).to_vec()
    }

    pub(super) fn reset(&self) {
        self.succeeded.iter().chain(&self.failed).for_each(|counter| counter.store(0, Ordering::Relaxed));
    }
}
