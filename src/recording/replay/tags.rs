//! Delivery tags and the numbers of publishes: what they were in the recording, and what they are now.

use std::collections::{BTreeMap, BTreeSet};

/// What a channel was given and has not settled.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    /// By the tag in the recording: the one of now.
    by_recorded: BTreeMap<u64, u64>,
    /// The tags of now that wait to be settled.
    open: BTreeSet<u64>,
}

/// What settles the same messages: tags of now, each with whether all up to it are meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settling {
    /// As it is: the broker's answer is what is compared.
    AsRecorded,
    Tags(Vec<(u64, bool)>),
    /// The message has not come.
    Missing,
}

impl Deliveries {
    pub(super) fn paired(&mut self, recorded: u64, now: u64) {
        self.by_recorded.insert(recorded, now);
        self.open.insert(now);
    }

    /// What the client settled with this tag then.
    pub(super) fn settle(&mut self, recorded: u64, multiple: bool, may_be_missing: bool) -> Settling {
        if !multiple {
            let Some(now) = self.by_recorded.remove(&recorded) else {
                return if may_be_missing { Settling::Missing } else { Settling::AsRecorded };
            };
            self.open.remove(&now);
            return Settling::Tags(vec![(now, false)]);
        }
        if recorded == 0 {
            self.by_recorded.clear();
            self.open.clear();
            return Settling::Tags(vec![(0, true)]);
        }
        let later = self.by_recorded.split_off(&(recorded + 1));
        let settled: BTreeSet<u64> = std::mem::replace(&mut self.by_recorded, later).into_values().collect();
        let Some(last) = settled.last().copied() else {
            return if may_be_missing { Settling::Missing } else { Settling::AsRecorded };
        };
        let is_all = self.open.range(..=last).count() == settled.len();
        self.open.retain(|tag| !settled.contains(tag));
        if is_all { Settling::Tags(vec![(last, true)]) } else { Settling::Tags(settled.into_iter().map(|tag| (tag, false)).collect()) }
    }

    /// They have all gone back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What has become of the publishes of a channel with confirms.
#[derive(Debug, Default)]
pub(super) struct Confirms {
    /// Whether it was acked, by number.
    outcomes: BTreeMap<u64, bool>,
}

impl Confirms {
    /// Brokers may put any of them together.
    pub(super) fn take(&mut self, tag: u64, multiple: bool, acked: bool) {
        let first = if multiple { 1 } else { tag };
        // From the last one that is known up to here: those before have been.
        let first = first.max(if multiple { self.first_unknown() } else { tag });
        for number in first..=tag {
            self.outcomes.entry(number).or_insert(acked);
        }
    }

    fn first_unknown(&self) -> u64 {
        let mut next = 1;
        for number in self.outcomes.keys() {
            if *number != next {
                break;
            }
            next += 1;
        }
        next
    }

    /// Numbers of publishes that this covers beside what is known already.
    pub(super) fn covered(&self, tag: u64, multiple: bool) -> Vec<u64> {
        if !multiple {
            return vec![tag];
        }
        (self.first_unknown()..=tag).filter(|number| !self.outcomes.contains_key(number)).collect()
    }

    pub(super) fn outcome(&self, number: u64) -> Option<bool> {
        self.outcomes.get(&number).copied()
    }
}
