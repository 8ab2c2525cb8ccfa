//! The journal of a simulated node: the same each time, complete, and without influence on what it tells of.

use leveret::broker::journal::What;

use super::{run, run_with, seeds};

#[test]
fn the_same_seed_gives_the_same_journal() {
    let mut told = 0;
    for seed in seeds(4) {
        let plain = run(seed);
        let [first, second] = [(); 2].map(|()| {
            let mut world = run_with(seed, |world| world.broker.keep_journal(0));
            assert_eq!(world.hash, plain.hash, "seed {seed}: the journal has changed what clients get");
            assert_eq!(world.broker.journaled(), 0, "seed {seed}: messages are known that are gone");
            let events = world.broker.take_events();
            let unseen = events.iter().find(|event| event.what == What::Restored);
            assert!(unseen.is_none(), "seed {seed}: nobody has seen this come: {unseen:?}");
            let lines = (0..).zip(&events).map(|(seq, event)| serde_json::to_string(&event.line(seq, "/")).expect("JSON") + "\n");
            lines.collect::<String>()
        });
        assert!(first == second, "seed {seed}");
        told += first.lines().count();
    }
    assert!(told > 1000, "little has happened: {told}");
}
