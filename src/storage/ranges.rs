//! Sets of positions as sorted ranges, both ends included.

pub(super) type Range = (u64, u64);

/// Sorts, and joins what overlaps or touches.
pub(super) fn normalize(ranges: &mut Vec<Range>) {
    if !ranges.is_sorted() {
        ranges.sort_unstable();
    }
    ranges.dedup_by(|next, before| {
        let joined = next.0 <= before.1.saturating_add(1);
        if joined {
            before.1 = before.1.max(next.1);
        }
        joined
    });
}

/// Everything that is in one of two normal sets.
pub(super) fn union(a: &[Range], b: &[Range]) -> Vec<Range> {
    let mut all = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a, b);
    while let (Some(x), Some(y)) = (a.first(), b.first()) {
        let from = if x <= y { &mut a } else { &mut b };
        all.push(from[0]);
        *from = &from[1..];
    }
    all.extend_from_slice(a);
    all.extend_from_slice(b);
    normalize(&mut all);
    all
}

/// What is in the first of two normal sets, but not in the second.
pub(super) fn subtract(a: &[Range], b: &[Range]) -> Vec<Range> {
    let mut left = Vec::new();
    let mut b = b;
    for &(mut first, last) in a {
        while b.first().is_some_and(|y| y.1 < first) {
            b = &b[1..];
        }
        let mut others = b;
        loop {
            match others.first() {
                Some(&(from, to)) if from <= last => {
                    if first < from {
                        left.push((first, from - 1));
                    }
                    if to >= last {
                        break;
                    }
                    first = to + 1;
                    others = &others[1..];
                }
                _ => {
                    left.push((first, last));
                    break;
                }
            }
        }
    }
    left
}

/// The part of a normal set from `first` to `last`.
pub(super) fn clip(ranges: &[Range], first: u64, last: u64) -> Vec<Range> {
    let from = ranges.partition_point(|range| range.1 < first);
    ranges[from..].iter().take_while(|range| range.0 <= last).map(|range| (range.0.max(first), range.1.min(last))).collect()
}

/// How many positions.
pub(super) fn total(ranges: &[Range]) -> u64 {
    ranges.iter().fold(0u64, |sum, range| sum.saturating_add((range.1 - range.0).saturating_add(1)))
}

pub(super) fn contains(ranges: &[Range], position: u64) -> bool {
    let at = ranges.partition_point(|range| range.1 < position);
    ranges.get(at).is_some_and(|range| range.0 <= position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn set(ranges: &[Range]) -> BTreeSet<u64> {
        ranges.iter().flat_map(|range| range.0..=range.1).collect()
    }

    #[test]
    fn sets_are_what_sets_of_numbers_are() {
        let mut state = 7u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..2_000 {
            let mut sets = [Vec::new(), Vec::new()];
            for ranges in &mut sets {
                for _ in 0..next(6) {
                    let first = next(30);
                    ranges.push((first, first + next(5)));
                }
                let before = set(ranges);
                normalize(ranges);
                assert_eq!(set(ranges), before);
                assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            }
            let (a, b) = (set(&sets[0]), set(&sets[1]));
            assert_eq!(set(&union(&sets[0], &sets[1])), &a | &b);
            assert_eq!(set(&subtract(&sets[0], &sets[1])), &a - &b);
            assert_eq!(set(&clip(&sets[0], 5, 20)), a.iter().copied().filter(|x| (5..=20).contains(x)).collect());
            assert_eq!(total(&sets[0]), a.len() as u64);
            assert!((0..40).all(|x| contains(&sets[0], x) == a.contains(&x)));
        }
        assert_eq!(subtract(&[(0, u64::MAX)], &[(3, u64::MAX)]), [(0, 2)]);
        assert_eq!(total(&[(0, u64::MAX)]), u64::MAX);
    }
}
