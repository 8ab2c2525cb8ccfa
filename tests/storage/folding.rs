//! Whatever is committed is there: after folding, after merging segments, after starting again.

use leveret::storage::Options;

use crate::model::World;

fn small() -> Options {
    Options { log_bytes: 16 << 10, log_messages: 300, sync: true }
}

#[test]
fn what_was_committed_is_there() {
    for seed in 0..60 {
        let mut world = World::new(seed, small());
        for round in 0..150 {
            let steps = 1 + world.random.below(12);
            world.round(steps);
            if world.random.one_in(3) {
                world.fold();
            }
            if world.random.one_in(5) {
                while world.opened.mover.compact().expect("a good disk") {}
            }
            if world.random.one_in(10) {
                world.opened.mover.prepare_spare().expect("a good disk");
            }
            if world.random.one_in(40) {
                world.reopen();
            }
            if round % 50 == 49 {
                world.fold_all();
                world.check_loads();
            }
        }
        world.reopen();
        world.check_loads();
    }
}
