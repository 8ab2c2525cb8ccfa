//! A queue as the model sees it: every copy that came, in order, and what became of each.

use std::collections::{BTreeMap, BTreeSet};

use super::super::op::QueueSpec;
use super::At;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) id: u64,
    /// It was with somebody and came back.
    pub(super) redelivered: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) unique: u64,
    pub(super) spec: QueueSpec,
    pub(super) owner: Option<u32>,
    pub(super) ready: BTreeMap<u64, Copy>,
    /// On their way to a consumer, past the ready ones.
    pub(super) flying: BTreeMap<u64, Copy>,
    pub(super) unacked: usize,
    pub(super) consumers: BTreeSet<(At, String)>,
    pub(super) exclusive_consumer: bool,
    next_position: u64,
    pub(super) tally: Tally,
    /// The highest position ever given to a consumer or a getter for the first time, before this step and with it.
    pub(super) first_given: Option<u64>,
    pub(super) first_given_before: Option<u64>,
}

/// Copies by what became of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) arrived: usize,
    pub(super) acked: usize,
    pub(super) discarded: usize,
    /// Given away without a settlement to follow.
    pub(super) given_no_ack: usize,
    pub(super) overflowed: usize,
    pub(super) purged: usize,
}

impl Queue {
    pub(super) fn new(unique: u64, spec: QueueSpec, owner: Option<u32>) -> Self {
        Self {
            unique,
            spec,
            owner,
            ready: BTreeMap::new(),
            flying: BTreeMap::new(),
            unacked: 0,
            consumers: BTreeSet::new(),
            exclusive_consumer: false,
            next_position: 0,
            tally: Tally::default(),
            first_given: None,
            first_given_before: None,
        }
    }

    pub(super) fn max_length(&self) -> Option<usize> {
        self.spec.max_length.map(|n| usize::try_from(n).expect("no negative bound"))
    }

    pub(super) fn next_position(&mut self) -> u64 {
        self.next_position += 1;
        self.next_position
    }

    pub(super) fn is_full(&self) -> bool {
        self.max_length().is_some_and(|max| self.ready.len() + 1 > max)
    }

    /// Drops heads until the bound holds.
    pub(super) fn drop_overflow(&mut self) {
        let Some(max) = self.max_length().filter(|_| !self.spec.reject_publish) else { return };
        while self.ready.len() > max {
            self.ready.pop_first();
            self.tally.overflowed += 1;
        }
    }

    pub(super) fn find(&self, id: u64) -> Option<u64> {
        let mut all = self.flying.iter().chain(&self.ready);
        all.find(|(_, copy)| copy.id == id).map(|(position, _)| *position)
    }

    /// Every copy is somewhere, and only once.
    pub(super) fn check_conservation(&self, name: &str) {
        let Tally { arrived, acked, discarded, given_no_ack, overflowed, purged } = self.tally;
        let accounted = self.ready.len() + self.unacked + acked + discarded + given_no_ack + overflowed + purged;
        assert_eq!(arrived, accounted, "queue {name}: copies that came, and what became of them: {self:?}");
    }
}
