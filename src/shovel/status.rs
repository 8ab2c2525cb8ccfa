//! How a shovel does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use serde_json::Value as Json;

use super::Id;

/// Stands for a number without a limit.
const UNLIMITED: u64 = u64::MAX;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It connects, declares, begins to consume.
    Starting,
    Running {
        /// URIs without users, passwords and parameters.
        source: String,
        destination: String,
        /// The destination has said that it takes nothing for now.
        blocked: bool,
    },
    /// It has ended: for good, or until its delay is over.
    Terminated { reason: String },
}

/// What a shovel has come to; counts go on over reconnects.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) cluster_name: Arc<str>,
    state: Mutex<(State, SystemTime)>,
    /// The work that it was defined for is done.
    over: AtomicBool,
    forwarded: AtomicU64,
    pending: AtomicU64,
    remaining: AtomicU64,
    remaining_unacked: AtomicU64,
}

/// What is told about a shovel.
#[derive(Clone, Debug)]
pub struct Report {
    pub id: Id,
    pub definition: Json,
    pub state: State,
    /// Since when it is in this state.
    pub since: SystemTime,
    /// Messages that have gone over: confirmed, or sent where nothing is confirmed.
    pub forwarded: u64,
    /// Messages that were published and wait for their confirm.
    pub pending: u64,
    /// Messages that are to go over, and to be published, before the shovel has done its work; `None` where it never has.
    pub remaining: Option<u64>,
    pub remaining_unacked: Option<u64>,
}

impl Progress {
    pub(super) fn new(cluster_name: Arc<str>) -> Self {
        Self {
            cluster_name,
            state: Mutex::new((State::Starting, SystemTime::now())),
            over: AtomicBool::new(false),
            forwarded: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            remaining: AtomicU64::new(UNLIMITED),
            remaining_unacked: AtomicU64::new(UNLIMITED),
        }
    }

    pub(super) fn enter(&self, state: State) {
        let mut current = self.state.lock();
        if current.0 != state {
            *current = (state, SystemTime::now());
        }
    }

    pub(super) fn set_blocked(&self, now: bool) {
        let mut current = self.state.lock();
        if let (State::Running { blocked, .. }, since) = &mut *current
            && *blocked != now
        {
            (*blocked, *since) = (now, SystemTime::now());
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub(super) fn set_over(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub(super) fn forwarded(&self, count: u64) {
        self.forwarded.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn set_pending(&self, count: usize) {
        self.pending.store(count as u64, Ordering::Relaxed);
    }

    pub(super) fn set_remaining(&self, remaining: Option<u64>, unacked: Option<u64>) {
        self.remaining.store(remaining.unwrap_or(UNLIMITED), Ordering::Relaxed);
        self.remaining_unacked.store(unacked.unwrap_or(UNLIMITED), Ordering::Relaxed);
    }

    pub(super) fn report(&self, id: &Id, definition: &Json) -> Report {
        let (state, since) = self.state.lock().clone();
        let limited = |number: &AtomicU64| Some(number.load(Ordering::Relaxed)).filter(|number| *number != UNLIMITED);
        Report {
            id: id.clone(),
            definition: definition.clone(),
            state,
            since,
            forwarded: self.forwarded.load(Ordering::Relaxed),
            pending: self.pending.load(Ordering::Relaxed),
            remaining: limited(&self.remaining),
            remaining_unacked: limited(&self.remaining_unacked),
        }
    }
}
