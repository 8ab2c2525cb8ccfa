//! Who has published where, what came from where to which queue, who was given what from where: counters of pairs, for
//! `rates_mode = detailed`. Off, it costs one look at an option for each publish, delivery, get and settlement.
//!
//! A pair comes with the first message that it counts and ends with either of its ends, so that there are never more of them than
//! what is there has used. Ends are known by what is not given out again, or is taken out before it is.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::At;
use super::counters::{DeliveryCounters, PublishCounters};
use super::exchange::ExchangeId;
use super::queue::QueueId;

/// What is counted between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pair<C> {
    /// Of this pair alone: two with the same names, one after the other, have two.
    pub number: u64,
    pub counters: C,
}

/// Counters that are found from either end.
#[derive(Debug)]
pub(super) struct Pairs<A, B, C> {
    of_first: BTreeMap<A, BTreeMap<B, Pair<C>>>,
    of_second: BTreeMap<B, BTreeSet<A>>,
}

impl<A, B, C> Default for Pairs<A, B, C> {
    fn default() -> Self {
        Self { of_first: BTreeMap::new(), of_second: BTreeMap::new() }
    }
}

impl<A: Copy + Ord, B: Copy + Ord, C: Copy + Default> Pairs<A, B, C> {
    fn between(&mut self, first: A, second: B, last_number: &mut u64) -> &mut C {
        let pair = match self.of_first.entry(first).or_default().entry(second) {
            Entry::Occupied(pair) => pair.into_mut(),
            Entry::Vacant(place) => {
                *last_number += 1;
                self.of_second.entry(second).or_default().insert(first);
                place.insert(Pair { number: *last_number, counters: C::default() })
            }
        };
        &mut pair.counters
    }

    fn end_first(&mut self, first: A) {
        for second in self.of_first.remove(&first).into_iter().flat_map(BTreeMap::into_keys) {
            if let Some(others) = self.of_second.get_mut(&second) {
                others.remove(&first);
                if others.is_empty() {
                    self.of_second.remove(&second);
                }
            }
        }
    }

    fn end_second(&mut self, second: B) {
        for first in self.of_second.remove(&second).into_iter().flatten() {
            if let Some(others) = self.of_first.get_mut(&first) {
                others.remove(&second);
                if others.is_empty() {
                    self.of_first.remove(&first);
                }
            }
        }
    }

    pub(super) fn of_first(&self, first: A) -> impl Iterator<Item = (B, Pair<C>)> {
        self.of_first.get(&first).into_iter().flatten().map(|(second, pair)| (*second, *pair))
    }

    pub(super) fn of_second(&self, second: B) -> impl Iterator<Item = (A, Pair<C>)> {
        let firsts = self.of_second.get(&second).into_iter().flatten();
        firsts.filter_map(move |first| Some((*first, *self.of_first.get(first)?.get(&second)?)))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Pair<C>> {
        self.of_first.values().flat_map(BTreeMap::values).copied()
    }
}

/// `None` is the default exchange.
pub(super) type Published = Option<ExchangeId>;

#[derive(Debug, Default)]
pub(super) struct Breakdown {
    pub(super) published: Pairs<At, Published, PublishCounters>,
    pub(super) delivered: Pairs<At, QueueId, DeliveryCounters>,
    /// Messages published to an exchange that came to a queue, through other exchanges as well.
    pub(super) routed: Pairs<Published, QueueId, u64>,
    last_number: u64,
}

impl Breakdown {
    pub(super) fn publish(&mut self, at: At, exchange: Published) -> &mut PublishCounters {
        self.published.between(at, exchange, &mut self.last_number)
    }

    pub(super) fn route(&mut self, exchange: Published, queue: QueueId) {
        *self.routed.between(exchange, queue, &mut self.last_number) += 1;
    }

    #[cold]
    #[inline(never)]
    pub(super) fn deliver(&mut self, at: At, queue: QueueId, no_ack: bool, redelivered: bool) {
        let counters = self.between(at, queue);
        counters.deliver += u64::from(!no_ack);
        counters.deliver_no_ack += u64::from(no_ack);
        counters.redeliver += u64::from(redelivered);
    }

    #[cold]
    #[inline(never)]
    pub(super) fn get(&mut self, at: At, queue: QueueId, no_ack: bool, redelivered: bool) {
        let counters = self.between(at, queue);
        counters.get += u64::from(!no_ack);
        counters.get_no_ack += u64::from(no_ack);
        counters.redeliver += u64::from(redelivered);
    }

    #[cold]
    #[inline(never)]
    pub(super) fn get_empty(&mut self, at: At, queue: QueueId) {
        self.between(at, queue).get_empty += 1;
    }

    pub(super) fn ack(&mut self, at: At, queue: QueueId) {
        self.between(at, queue).ack += 1;
    }

    fn between(&mut self, at: At, queue: QueueId) -> &mut DeliveryCounters {
        self.delivered.between(at, queue, &mut self.last_number)
    }

    pub(super) fn channel_ends(&mut self, at: At) {
        self.published.end_first(at);
        self.delivered.end_first(at);
    }

    pub(super) fn queue_ends(&mut self, queue: QueueId) {
        self.delivered.end_second(queue);
        self.routed.end_second(queue);
    }

    pub(super) fn exchange_ends(&mut self, exchange: ExchangeId) {
        self.published.end_second(Some(exchange));
        self.routed.end_first(Some(exchange));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whichever end goes, nothing is left of its pairs, and what comes later is another pair.
    #[test]
    fn pairs_end_with_either_end() {
        let mut pairs: Pairs<u8, char, u64> = Pairs::default();
        let mut last = 0;
        for (first, second) in [(1, 'a'), (1, 'b'), (2, 'a'), (1, 'a')] {
            *pairs.between(first, second, &mut last) += 1;
        }
        let pair = |number, counters| Pair { number, counters };
        assert_eq!(pairs.of_first(1).collect::<Vec<_>>(), [('a', pair(1, 2)), ('b', pair(2, 1))]);
        assert_eq!(pairs.of_second('a').collect::<Vec<_>>(), [(1, pair(1, 2)), (2, pair(3, 1))]);
        pairs.end_second('a');
        assert_eq!(pairs.all().collect::<Vec<_>>(), [pair(2, 1)]);
        *pairs.between(1, 'a', &mut last) += 1;
        assert_eq!(pairs.of_second('a').collect::<Vec<_>>(), [(1, pair(4, 1))]);
        pairs.end_first(1);
        assert!(pairs.of_first.is_empty() && pairs.of_second.is_empty());
    }
}
