//! What queues do with messages beyond handing them out: time, deaths, priorities, single active consumers, quorum queues,
//! streams, policies. Methods come one by one, and a reference of plain lists predicts what each leads to.

mod choice;
mod heard;
mod methods;
mod model;
mod spec;
mod world;

use std::collections::BTreeSet;

use super::{replayable, seeds};
use world::World;

const STEPS: usize = 400;

fn run(seed: u64, small_steps: bool) -> World {
    let mut world = World::new(seed, small_steps);
    for _ in 0..STEPS {
        world.tick();
    }
    world.end();
    world
}

/// What the runs have to come upon.
const REACHED: [&str; 19] = [
    "consumer timeout",
    "cycle",
    "dead letter",
    "delivery_limit",
    "expired",
    "expiry",
    "fail-over",
    "hand-over",
    "kept",
    "maxlen",
    "nowhere to go",
    "overflow",
    "policy",
    "refused",
    "refused and dead-lettered",
    "rejected",
    "retention",
    "stream",
    "unused queue",
];

#[test]
fn queues_do_as_the_reference_does() {
    let mut reached = BTreeSet::new();
    for seed in seeds(60) {
        reached.append(&mut replayable("queues_do_as_the_reference_does", seed, || run(seed, false)).model.reached);
    }
    let missing: Vec<&&str> = REACHED.iter().filter(|what| !reached.contains(*what)).collect();
    assert!(std::env::var_os("SEED").is_some() || missing.is_empty(), "never came up: {missing:?}");
}

/// Deadlines between two inputs are kept exactly, whether anybody looks or not.
#[test]
fn time_may_pass_at_once_or_bit_by_bit() {
    for seed in seeds(15) {
        replayable("time_may_pass_at_once_or_bit_by_bit", seed, || {
            let (jumps, steps) = (run(seed, false).hashes, run(seed, true).hashes);
            assert_eq!(jumps, steps, "what each connection is sent");
        });
    }
}
