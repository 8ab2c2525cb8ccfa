//! The journal of the node: what all virtual hosts tell of their messages, in one order, as much of it as there is room for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

use crate::broker::Broker;
use crate::broker::Timestamp;
use crate::broker::journal::{Event, Explained, Lint, Note};

/// Events that are kept, and bytes of memory that they may take.
const EVENTS: usize = 250_000;
const BYTES: usize = 128 * 1024 * 1024;

/// How many messages a virtual host may number before its numbers could be those of another one. What JavaScript can count with
/// leaves room for a million virtual hosts.
const NUMBERS: u64 = 10_000_000_000;

/// Errors that are kept, and different findings.
const ERRORS: usize = 500;
const FINDINGS: usize = 10_000;

/// An error that a client has been sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SentError {
    /// `None` before the client got to one.
    pub vhost: Option<Arc<str>>,
    #[serde(flatten)]
    pub explained: Explained,
}

/// Something that clients have done wrong, or that is left, with how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub vhost: Arc<str>,
    pub lint: Lint,
    pub subject: String,
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    /// Who did it last.
    pub connection: Option<Arc<str>>,
    pub channel: Option<u16>,
    pub user: Option<Arc<str>>,
}

impl Finding {
    pub(super) fn of(vhost: &Arc<str>, note: &Note) -> Self {
        Self {
            vhost: Arc::clone(vhost),
            lint: note.lint,
            subject: note.subject.clone(),
            count: note.count,
            first: note.at,
            last: note.at,
            connection: note.client.as_ref().map(|client| Arc::clone(&client.connection)),
            channel: note.client.as_ref().map(|client| client.channel),
            user: note.user.clone(),
        }
    }
}

#[derive(Debug, Default)]
struct Misdeeds {
    errors: VecDeque<SentError>,
    findings: BTreeMap<(Arc<str>, Lint, String), Finding>,
}

impl Misdeeds {
    fn keep(&mut self, vhost: Option<Arc<str>>, explained: Explained) {
        if self.errors.len() == ERRORS {
            self.errors.pop_front();
        }
        self.errors.push_back(SentError { vhost, explained });
    }

    fn note(&mut self, vhost: &Arc<str>, note: &Note) {
        let finding = Finding::of(vhost, note);
        let key = (Arc::clone(vhost), note.lint, note.subject.clone());
        if let Some(known) = self.findings.get_mut(&key) {
            *known = Finding { count: known.count + finding.count, first: known.first, ..finding };
        } else if self.findings.len() < FINDINGS {
            self.findings.insert(key, finding);
        }
    }
}

/// An event, in its place among all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub seq: u64,
    pub vhost: Arc<str>,
    pub event: Event,
}

impl Recorded {
    /// What JSON has of it.
    #[must_use]
    pub fn line(&self) -> impl Serialize + '_ {
        self.event.line(self.seq, &self.vhost)
    }

    fn memory(&self) -> usize {
        self.event.memory() + size_of::<Self>() - size_of::<Event>()
    }
}

/// How much a journal has.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub struct Extent {
    /// The events that are kept.
    pub events: usize,
    /// The number of the oldest one, and of the next.
    pub first: u64,
    pub next: u64,
}

/// What is kept of the past.
#[derive(Debug)]
pub(super) struct Journal {
    ring: Mutex<Ring>,
    /// The number of the next event, for who waits for it.
    told: watch::Sender<u64>,
    misdeeds: Mutex<Misdeeds>,
    /// Virtual hosts that have been given numbers for their messages.
    attached: AtomicU64,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Arc<Recorded>>,
    next: u64,
    bytes: usize,
}

impl Ring {
    fn push(&mut self, recorded: Recorded) {
        self.bytes += recorded.memory();
        self.events.push_back(Arc::new(recorded));
        while self.events.len() > EVENTS || self.bytes > BYTES {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.memory();
        }
    }
}

impl Journal {
    pub(super) fn new() -> Self {
        let ring = Ring { events: VecDeque::new(), next: 1, bytes: 0 };
        Self { ring: Mutex::new(ring), told: watch::Sender::new(1), misdeeds: Mutex::default(), attached: AtomicU64::new(0) }
    }

    /// From now on a virtual host tells what happens in it; it numbers its messages as no other one does or has done.
    pub(super) fn attach(&self, broker: &mut Broker) {
        broker.keep_journal(self.attached.fetch_add(1, Ordering::Relaxed) * NUMBERS);
    }

    /// Takes what a virtual host has told in a round.
    pub(super) fn take(&self, vhost: &Arc<str>, broker: &mut Broker) {
        let (notes, errors) = broker.take_notes();
        if !(notes.is_empty() && errors.is_empty()) {
            let mut misdeeds = self.misdeeds.lock();
            notes.iter().for_each(|note| misdeeds.note(vhost, note));
            errors.into_iter().for_each(|error| misdeeds.keep(Some(Arc::clone(vhost)), error));
        }
        self.append(vhost, broker.take_events());
    }

    /// A client has been refused before it got to a virtual host.
    pub(super) fn refused(&self, error: Explained) {
        self.misdeeds.lock().keep(None, error);
    }

    /// Errors that clients have been sent, the oldest first.
    pub(super) fn errors(&self) -> Vec<SentError> {
        self.misdeeds.lock().errors.iter().cloned().collect()
    }

    /// What clients have done wrong, and how often.
    pub(super) fn findings(&self) -> Vec<Finding> {
        self.misdeeds.lock().findings.values().cloned().collect()
    }

    fn append(&self, vhost: &Arc<str>, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut ring = self.ring.lock();
        for event in events {
            let seq = ring.next;
            ring.next += 1;
            ring.push(Recorded { seq, vhost: Arc::clone(vhost), event });
        }
        let next = ring.next;
        drop(ring);
        // Rounds of virtual hosts end side by side: the highest number counts.
        self.told.send_if_modified(|told| {
            let is_news = *told < next;
            *told = next.max(*told);
            is_news
        });
    }

    /// Forgets everything but the numbers that have been given.
    pub(super) fn forget(&self) {
        *self.misdeeds.lock() = Misdeeds::default();
        let mut ring = self.ring.lock();
        ring.events.clear();
        ring.bytes = 0;
    }

    pub(super) fn extent(&self) -> Extent {
        let ring = self.ring.lock();
        let first = ring.events.front().map_or(ring.next, |oldest| oldest.seq);
        Extent { events: ring.events.len(), first, next: ring.next }
    }

    /// Events from this number on, up to so many that are wanted, and the number to go on with.
    pub(super) fn read(&self, since: u64, limit: usize, wanted: impl Fn(&Recorded) -> bool) -> (Vec<Arc<Recorded>>, u64) {
        let (all, next) = {
            let ring = self.ring.lock();
            let from = ring.events.partition_point(|recorded| recorded.seq < since);
            (ring.events.range(from..).cloned().collect::<Vec<_>>(), ring.next)
        };
        let mut found = Vec::new();
        for recorded in all {
            if found.len() == limit {
                return (found, recorded.seq);
            }
            if wanted(&recorded) {
                found.push(recorded);
            }
        }
        (found, next)
    }

    /// The number of the next event, to be waited for.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }
}
