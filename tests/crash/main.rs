//! Nothing that was confirmed is lost: the real broker is killed at random moments, over and over, while clients publish, consume,
//! declare and delete; now and then everything is taken out of it and judged.
//!
//! `CRASH_ROUNDS=200` kills it so many times, `SEED=7` draws other loads and moments. How far the broker had come when it was
//! killed is not in the seed, so a failure may need more than one run to come again; the broker's files stay for a look when it fails.

mod client;
mod consuming;
mod declaring;
#[path = "../faults/disk.rs"]
#[allow(dead_code, reason = "shared with the tests of the storage")]
mod disk;
mod disk_use;
mod ledger;
mod load;
mod message;
mod node;
mod publishing;
#[path = "../broker/simulation/random.rs"]
#[allow(dead_code, reason = "shared with the simulation")]
mod random;
mod simulated;
mod stream;
mod topology;
#[path = "../server/support/wire.rs"]
#[allow(dead_code, reason = "shared with the tests of the server")]
mod wire;
mod world;

use node::Processes;
use simulated::Simulated;
use world::World;

fn number(name: &str, usually: u64) -> u64 {
    std::env::var(name).map_or(usually, |n| n.parse().unwrap_or_else(|e| panic!("{name}={n}: {e}")))
}

#[test]
fn nothing_confirmed_is_lost() {
    let (rounds, seed) = (number("CRASH_ROUNDS", 10), number("SEED", 1));
    let again = format!("CRASH_ROUNDS={rounds} SEED={seed} cargo test --test crash");
    let mut world = World::new(seed, again, Box::new(Processes::new()));
    world.begin();
    for round in 1..=rounds {
        world.round();
        if round == rounds || world.random.percent(25) {
            world.judge();
        }
    }
    world.report();
}

/// The same with everything drawn from the seed, and with power cuts and a disk that fails: `SEEDS=100` takes so many.
#[test]
fn nothing_confirmed_is_lost_by_a_disk_that_fails() {
    let seeds = match std::env::var("SEED") {
        Ok(_) => vec![number("SEED", 0)],
        Err(_) => (0..number("SEEDS", 4)).collect(),
    };
    for seed in seeds {
        let again = format!("SEED={seed} cargo test --test crash nothing_confirmed_is_lost_by_a_disk_that_fails");
        let mut world = World::new(seed, again, Box::new(Simulated::new(seed)));
        world.begin();
        for round in 1..=6 {
            world.round();
            if round == 6 || world.random.percent(30) {
                world.judge();
            }
        }
        world.report();
    }
}
