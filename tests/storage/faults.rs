//! A disk that fails, a process that is killed, a power cut: what was confirmed is there, once, and nothing else is.

use std::sync::Arc;

use leveret::broker::record::Records;
use leveret::storage::Options;

use crate::faulty::Faulty;
use crate::model::World;

/// A life of a broker on a disk that fails: everything is tried until it works, or until the end comes.
fn life(world: &mut World, disk: &Faulty) {
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
    disk.die();
}

fn lives(seed: u64, fails: u64) {
    let mut world = World::new(seed, Options { log_bytes: 8 << 10, log_messages: 300, sync: true });
    world.longest = 120;
    let mut faulty = Arc::new(Faulty::new(seed, &world.disk));
    for _ in 0..12 {
        world.over = faulty.clone();
        if !world.random.one_in(3) {
            faulty.fail_one_in(fails);
        }
        // Opening may fail as well, or be interrupted.
        let mut opened = world.try_open();
        for _ in 0..20 {
            if opened.is_err() {
                opened = world.try_open();
            }
        }
        if opened.is_err() {
            faulty.fail_one_in(0);
            opened = world.try_open();
        }
        world.begin(opened.unwrap_or_else(|error| panic!("{error}")));
        life(&mut world, &faulty);
        let next = world.random.next();
        faulty = Arc::new(if world.random.one_in(2) { Faulty::new(next, &faulty.after_power_cut()) } else { faulty.after_kill(next) });
    }
    world.over = faulty;
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
