//! When a rule fires among what matches it: the nth, every nth, some by chance, so many times.

use super::rule::Rule;

/// What a rule has seen and done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    /// How many have matched.
    pub(super) matched: u64,
    /// How often it has fired.
    pub(super) hits: u64,
    random: u64,
}

impl Count {
    pub(super) fn new(rule: &Rule) -> Self {
        Self { matched: 0, hits: 0, random: rule.seed }
    }

    /// Something matches the rule: whether it fires.
    pub(super) fn fires(&mut self, rule: &Rule) -> bool {
        if self.is_spent(rule) {
            return false;
        }
        self.matched += 1;
        let fires = match (rule.nth, rule.every, rule.probability) {
            (Some(nth), ..) => self.matched == nth,
            (_, Some(every), _) => self.matched.is_multiple_of(every),
            (.., Some(probability)) => self.chance() < probability,
            _ => true,
        };
        self.hits += u64::from(fires);
        fires
    }

    /// It never fires again.
    pub(super) fn is_spent(&self, rule: &Rule) -> bool {
        let most = if rule.nth.is_some() { Some(1) } else { rule.times };
        most.is_some_and(|most| self.hits >= most)
    }

    /// From 0 to less than 1, by SplitMix64: the same rule does the same to the same frames.
    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        f64::from(u32::try_from(z >> 32).unwrap_or(u32::MAX)) / 4_294_967_296.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::faults::rule::Action;

    /// The numbers, from 1, of those at which a rule fires, among so many.
    fn hits(rule: &Rule, among: u64) -> Vec<u64> {
        let mut count = Count::new(rule);
        (1..=among).filter(|_| count.fires(rule)).collect()
    }

    fn rule() -> Rule {
        Rule::new(Action::Drop)
    }

    #[test]
    fn the_nth_every_nth_and_so_many_times() {
        assert_eq!(hits(&rule(), 3), [1, 2, 3]);
        assert_eq!(hits(&Rule { nth: Some(3), ..rule() }, 9), [3]);
        assert_eq!(hits(&Rule { every: Some(3), ..rule() }, 9), [3, 6, 9]);
        assert_eq!(hits(&Rule { every: Some(3), times: Some(2), ..rule() }, 12), [3, 6]);
        assert_eq!(hits(&Rule { times: Some(2), ..rule() }, 5), [1, 2]);
    }

    #[test]
    fn chance_is_as_likely_as_asked_for_and_the_same_for_a_seed() {
        let likely = |probability, seed| Rule { probability: Some(probability), seed, ..rule() };
        assert!(hits(&likely(0.0, 1), 1000).is_empty());
        assert_eq!(hits(&likely(1.0, 1), 1000).len(), 1000);
        let some = hits(&likely(0.25, 7), 10_000);
        assert!((2300..2700).contains(&some.len()), "{}", some.len());
        assert_eq!(some, hits(&likely(0.25, 7), 10_000));
        assert_ne!(some, hits(&likely(0.25, 8), 10_000));
        assert_eq!(hits(&Rule { times: Some(3), ..likely(0.25, 7) }, 10_000), some[..3]);
    }
}
