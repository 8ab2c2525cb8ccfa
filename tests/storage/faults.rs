//! A disk that fails, a process that is killed, a power cut: what was confirmed is there, once, and nothing else is.

use std::sync::Arc;

use leveret::broker::record::Records;
use leveret::storage::Options;

use crate::model::World;
use crate::simulated::disk::{End, Faults, SimDisk};

/// A life of a broker on a disk that fails: everything is tried until it works, or until the end comes.
fn life(world: &mut World) {
    let rounds = 1 + world.random.below(60);
    for _ in 0..rounds {
        let before = world.vhosts.clone();
        let place = world.random.index(2);
        let steps = 1 + world.random.below(12);
        let mut records = Records::default();
        records.enable();
        for _ in 0..steps {
            world.step(place, &mut records);
        }
        let batch = world.batch(place, &mut records);
        while world.opened.log.commit(std::slice::from_ref(&batch)).is_err() {
            if world.random.one_in(4) {
                // Never confirmed: there or not.
                world.otherwise = Some(before);
                return;
            }
        }
        if world.random.one_in(3) {
            world.move_on();
        }
        if world.random.one_in(8) {
            let _ = world.opened.mover.prepare_spare();
        }
    }
}

fn lives(seed: u64, fails: usize) {
    let mut world = World::new(seed, Options { log_bytes: 8 << 10, log_messages: 300, sync: true });
    world.longest = 120;
    let disk = SimDisk::new(seed);
    world.over = Arc::new(disk.clone());
    for _ in 0..12 {
        if !world.random.one_in(3) {
            disk.set_faults(|faults| faults.one_in = fails);
        }
        // Opening may fail as well, or be interrupted.
        let mut opened = world.try_open();
        for _ in 0..20 {
            if opened.is_err() {
                opened = world.try_open();
            }
        }
        if opened.is_err() {
            disk.set_faults(Faults::heal);
            opened = world.try_open();
        }
        world.begin(opened.unwrap_or_else(|error| panic!("{error}")));
        life(&mut world);
        disk.restart(if world.random.one_in(2) { End::PowerCut } else { End::Killed });
    }
    let opened = world.try_open().unwrap_or_else(|error| panic!("{error}"));
    world.begin(opened);
    world.check_loads();
}

#[test]
fn what_was_confirmed_survives() {
    let seeds = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).map_or(0..150, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let fails = [20, 60, 300][usize::try_from(seed % 3).expect("small")];
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| lives(seed, fails)));
        assert!(outcome.is_ok(), "SEED={seed}");
    }
}
