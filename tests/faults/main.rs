//! The storage over a disk that fails: whatever is committed is there after every kind of end, and nothing else is.
//!
//! `SEED=n` replays one run, with `TRACE=1` step by step on standard error; `SEEDS=n` makes so many.

mod check;
mod choice;
mod disk;
mod model;
#[path = "../broker/simulation/random.rs"]
#[allow(dead_code, reason = "shared with the simulation of the broker")]
mod random;
mod simulation;
mod streams;
mod worst_disk;

use simulation::Simulation;

/// How many seeds a run of the tests takes.
const SEEDS: u64 = 200;
const STEPS: usize = 150;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|n| n.parse().unwrap_or_else(|e| panic!("{name}={n}: {e}")));
    match number("SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

#[test]
fn what_is_committed_survives() {
    let (mut committed, mut reopened) = (0, 0);
    for seed in seeds() {
        let mut simulation = Simulation::new(seed);
        if let Err(fault) = simulation.run(STEPS) {
            panic!("{fault}\nreplay with: SEED={seed} TRACE=1 cargo test --test faults what_is_committed_survives");
        }
        committed += simulation.committed;
        reopened += simulation.reopened;
    }
    if std::env::var_os("SEED").is_some() {
        return;
    }
    // Otherwise there was nothing to see.
    assert!(committed > 30 * seeds().len() && reopened > 5 * seeds().len(), "{committed} batches, opened {reopened} times");
}

/// The checks are able to fail.
#[test]
fn a_disk_that_lies_is_found_out() {
    let found = (0..20).filter(|seed| {
        let mut simulation = Simulation::new(*seed);
        simulation.disk().set_faults(|faults| faults.lies = true);
        simulation.run(STEPS).is_err()
    });
    assert!(found.count() > 15);
}
