//! Transient messages on the disk, between those that are there to stay.

use std::collections::BTreeMap;

use leveret::broker::record::{Enqueue, NEVER, Records};
use leveret::storage::{Disk, Load, Options, Stored};

use crate::model::{Kept, World, compare, stored};

#[test]
fn spilled_messages_come_in_between() {
    for seed in 0..30 {
        let mut world = World::new(seed, Options { log_bytes: 8 << 10, log_messages: 300, sync: true });
        let vhost = world.opened.vhosts[0].number;
        let mut all: BTreeMap<u64, Kept> = BTreeMap::new();
        let mut spilled = Vec::new();
        let mut position = 0;
        for _ in 0..300 {
            position += 1;
            let message = world.message();
            let at = if world.random.one_in(2) { NEVER } else { position };
            let enqueue = Enqueue { queue: 1, level: 0, position, at, redelivered: world.random.one_in(5), ..Enqueue::default() };
            all.insert(position, Kept { message: stored(&message), enqueue, returned: None });
            if world.random.one_in(2) {
                let mut records = Records::default();
                records.enable();
                records.next_message();
                records.enqueue(&message, enqueue);
                world.commit(0, &mut records);
                world.fold_all();
            } else {
                let Enqueue { level, position, at, redelivered, returns, uncounted, .. } = enqueue;
                spilled.push(Stored { level, position, at, redelivered, returns, uncounted, message });
                if spilled.len() > world.random.index(9) {
                    world.opened.mover.spill(vhost, 1, 0, &spilled).expect("a good disk");
                    spilled.clear();
                }
            }
            while world.opened.mover.compact().expect("a good disk") {}
        }
        world.opened.mover.spill(vhost, 1, 0, &spilled).expect("a good disk");
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let max_bytes = world.random.index(4_000);
            let loaded =
                world.opened.reader.load(&Load { vhost, queue: 1, level: 0, after, up_to: u64::MAX, max_bytes }).expect("a good disk");
            let Some(last) = loaded.last() else { break };
            after = Some(last.position);
            found.extend(loaded);
        }
        compare(&found, &all.values().collect::<Vec<_>>(), 1);
        let some: Vec<u64> = (1..=300).filter(|_| world.random.one_in(3)).collect();
        let fetched = world.opened.reader.fetch(vhost, 1, 0, &some).expect("a good disk");
        compare(&fetched, &some.iter().map(|position| &all[position]).collect::<Vec<_>>(), 1);
        for up_to in [100, u64::MAX] {
            world.opened.mover.unspill(vhost, 1, 0, up_to);
        }
        let names = world.disk.list().expect("a good disk");
        assert!(names.iter().all(|(name, _)| !name.starts_with("spill-")), "{names:?}");
    }
}

#[test]
fn spilled_messages_do_not_outlive_the_process() {
    let mut world = World::new(1, Options::default());
    let vhost = world.opened.vhosts[0].number;
    let message = world.message();
    let spilled = Stored { level: 0, position: 5, at: NEVER, redelivered: false, returns: 0, uncounted: 0, message };
    world.opened.mover.spill(vhost, 1, 0, &[spilled]).expect("a good disk");
    assert!(world.disk.contents("spill-0000000001").is_some());
    world.reopen();
    assert!(world.disk.contents("spill-0000000001").is_none());
    let load = Load { vhost, queue: 1, level: 0, after: None, up_to: u64::MAX, max_bytes: 1 };
    assert!(world.opened.reader.load(&load).expect("a good disk").is_empty());
}
