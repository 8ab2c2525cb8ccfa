//! Samples of counters over a day, finer the younger they are: a bounded number of them.

use std::collections::VecDeque;

use super::stats::{History, Point, Range};

/// Samples a history has at most, whatever is asked for.
const POINTS: usize = 1000;

/// How far apart samples are, in milliseconds, and how many of them are kept: RabbitMQ's `sample_retention_policies`.
pub(super) type Retention = &'static [(u64, usize)];

/// Of the node as a whole: ten minutes, an hour, eight hours, a day.
pub(super) const GLOBAL: Retention = &[(5_000, 121), (60_000, 61), (600_000, 49), (1_800_000, 49)];
/// Of one queue: ten minutes, an hour.
pub(super) const BASIC: Retention = &[(5_000, 121), (60_000, 61)];

#[derive(Debug)]
pub(super) struct Ring<const N: usize>(Vec<Level<N>>);

#[derive(Debug)]
struct Level<const N: usize> {
    step_ms: u64,
    most: usize,
    /// By time.
    samples: VecDeque<(u64, [u64; N])>,
}

impl<const N: usize> Ring<N> {
    pub(super) fn new(retention: Retention) -> Self {
        Self(retention.iter().map(|&(step_ms, most)| Level { step_ms, most, samples: VecDeque::new() }).collect())
    }

    /// Takes a sample, at a time in milliseconds. It counts from the step of the finest samples in which that is, and no earlier.
    pub(super) fn add(&mut self, at_ms: u64, values: [u64; N]) {
        let Some(finest_ms) = self.0.first().map(|level| level.step_ms) else { return };
        let at = at_ms - at_ms % finest_ms;
        for level in &mut self.0 {
            if level.samples.back().is_none_or(|(last, _)| last / level.step_ms < at / level.step_ms) {
                if level.samples.len() == level.most {
                    level.samples.pop_front();
                }
                level.samples.push_back((at, values));
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.iter_mut().for_each(|level| level.samples.clear());
    }

    /// A column's values back from `now_ms`, as far as they are known.
    pub(super) fn history(&self, column: usize, range: Range, now_ms: u64) -> History {
        let newest = now_ms - now_ms % range.step_ms;
        let oldest = newest.saturating_sub(range.age_ms);
        let times = (0..).map_while(|n: u64| newest.checked_sub(n * range.step_ms)).take_while(|at| *at >= oldest).take(POINTS);
        let points = times.map_while(|timestamp| Some(Point { sample: self.at(timestamp)?[column], timestamp }));
        History(points.collect())
    }

    /// What was known at a time, from the finest samples that go back so far.
    fn at(&self, at_ms: u64) -> Option<&[u64; N]> {
        self.0.iter().find_map(|level| {
            let after = level.samples.partition_point(|(at, _)| *at <= at_ms);
            Some(&level.samples.get(after.checked_sub(1)?)?.1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(seconds: u64) -> Ring<1> {
        let mut ring = Ring::new(BASIC);
        for at in (0..=seconds).step_by(5) {
            ring.add(at * 1000 + 321, [at]);
        }
        ring
    }

    fn values(history: &History) -> Vec<u64> {
        history.0.iter().map(|point| point.sample).collect()
    }

    #[test]
    fn histories_begin_now_and_go_back() {
        let history = filled(100).history(0, Range { age_ms: 20_000, step_ms: 5_000 }, 101_000);
        assert_eq!(values(&history), [100, 95, 90, 85, 80]);
        assert_eq!(history.0[0].timestamp, 100_000);
    }

    #[test]
    fn what_is_older_is_known_less_finely() {
        let ring = filled(3600);
        let history = ring.history(0, Range { age_ms: 1_800_000, step_ms: 300_000 }, 3_600_000);
        assert_eq!(values(&history), [3600, 3300, 3000, 2700, 2400, 2100, 1800]);
        assert_eq!(ring.0.iter().map(|level| level.samples.len()).collect::<Vec<_>>(), [121, 61]);
    }

    #[test]
    fn nothing_is_said_of_what_is_not_known() {
        let history = filled(10).history(0, Range { age_ms: 600_000, step_ms: 5_000 }, 12_000);
        assert_eq!(values(&history), [10, 5, 0]);
        assert!(Ring::<1>::new(BASIC).history(0, Range { age_ms: 60_000, step_ms: 5_000 }, 12_000).0.is_empty());
    }

    /// Whatever the time of day at which the first sample was taken.
    #[test]
    fn nothing_is_made_up_of_the_time_before() {
        let mut ring = Ring::new(BASIC);
        ring.add(57_000, [7]);
        let history = ring.history(0, Range { age_ms: 60_000, step_ms: 5_000 }, 57_000);
        assert_eq!(history.0, [Point { sample: 7, timestamp: 55_000 }]);
    }

    #[test]
    fn a_history_has_an_end() {
        let history = filled(3600).history(0, Range { age_ms: u64::MAX, step_ms: 1 }, 3_600_000);
        assert_eq!(history.0.len(), POINTS);
    }
}
