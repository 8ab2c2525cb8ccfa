//! A broker among clients that do whatever a seed says, judged by a model of its own.
//!
//! Clients, sockets, time and faults are drawn from the seed; real bytes go both ways, through leveret's codec on its
//! side and `amq-protocol`'s on the other. `SEED=n` replays one run, with `TRACE=1` step by step on
//! standard error; `SEEDS=n` makes so many.

mod choice;
mod client;
mod coverage;
mod journal;
mod link;
mod model;
mod noise;
mod op;
mod random;
mod semantics;
mod totals;
mod wild;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use choice::Tastes;
use coverage::Coverage;
use random::Random;
use world::World;

const TICKS: usize = 6_000;
/// How many seeds a run of the tests takes.
const SEEDS: u64 = 60;

/// The seeds to run: the one asked for, as many as asked for, or these.
fn seeds(usually: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|n| n.parse().unwrap_or_else(|e| panic!("{name}={n}: {e}")));
    match number("SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SEEDS").unwrap_or(usually)).collect(),
    }
}

fn run(seed: u64) -> World {
    run_with(seed, |_| ())
}

fn run_with(seed: u64, prepare: impl FnOnce(&mut World)) -> World {
    let mut random = Random::new(seed ^ 0x5EED);
    let tastes = Tastes {
        prefix: String::new(),
        queues: 1 + random.below(7),
        exchanges: 1 + random.below(9),
        large: [0, 5, 30][random.below(3)],
        bounded: [0, 30, 60][random.below(3)],
        shared: random.percent(70),
        wild: false,
    };
    let connections = 1 + random.below(5);
    let mut world = World::new(seed, tastes, connections);
    prepare(&mut world);
    for tick in 1..=TICKS {
        world.tick();
        if tick % 100 == 0 {
            world.check();
        }
        if tick % 1500 == 0 {
            world.come_to_rest();
        }
    }
    world.end();
    world
}

/// Says how to see it again when a run fails.
fn replayable<T>(test: &str, seed: u64, run: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|failure| {
        let text = failure.downcast_ref::<String>().map(String::as_str).or_else(|| failure.downcast_ref::<&str>().copied());
        match text {
            Some(text) => panic!("{text}\nreplay with: SEED={seed} cargo test --test broker {test}"),
            None => resume_unwind(failure),
        }
    })
}

#[test]
fn the_broker_keeps_its_promises() {
    let mut reached = Coverage::default();
    for seed in seeds(SEEDS) {
        reached.merge(replayable("the_broker_keeps_its_promises", seed, || run(seed)).reached);
    }
    if std::env::var_os("SEED").is_none() {
        reached.check();
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in seeds(2) {
        let (first, second) = (run(seed).hash, run(seed).hash);
        assert_eq!(first, second, "seed {seed}");
    }
}

/// The names of the others are far from anything that damage can turn the noisy ones' into.
#[test]
fn damaged_bytes_harm_nobody_else() {
    for seed in seeds(12) {
        replayable("damaged_bytes_harm_nobody_else", seed, || {
            let tastes =
                Tastes { prefix: "undisturbed-".to_owned(), queues: 3, exchanges: 9, large: 5, bounded: 30, shared: false, wild: false };
            let mut world = World::new(seed, tastes, 2);
            world.add_noise(3);
            for tick in 1..=3_000 {
                world.tick();
                world.make_noise();
                if tick % 100 == 0 {
                    world.check();
                }
            }
            world.end_noise();
            world.end();
        });
    }
}
