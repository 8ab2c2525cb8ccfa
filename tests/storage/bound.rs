//! The disk holds little more than what is alive, however messages come and go.

use leveret::amqp::Message;
use leveret::broker::record::Records;
use leveret::storage::{Disk, Options};

use crate::model::World;

const LOG: u64 = 256 << 10;
/// What a segment adds to each message.
const FRAME: u64 = 25;

fn world(seed: u64) -> World {
    World::new(seed, Options { log_bytes: LOG, log_messages: 65_536, sync: true })
}

fn live(world: &World) -> u64 {
    let queues = world.vhosts.iter().flat_map(|vhost| vhost.queues.values());
    queues.flat_map(|queue| queue.messages.values()).map(|kept| kept.message.len() as u64 + FRAME).sum()
}

/// Everything that can be done without new input is done. Returns what the disk has then.
fn settle(world: &mut World) -> u64 {
    world.fold();
    while world.opened.mover.compact().expect("a good disk") {}
    world.opened.mover.prepare_spare().expect("a good disk");
    let used: u64 = world.disk.list().expect("a good disk").iter().map(|(_, length)| length).sum();
    let live = live(world);
    assert!(used <= live + live / 2 + 2 * LOG, "{used} bytes for {live}");
    used
}

fn publish(world: &mut World, records: &mut Records, queue: u64, length: u64) {
    records.next_message();
    let body = vec![7; usize::try_from(length).expect("a length")];
    world.enqueue(0, queue, 0, &Message::new(b"", b"queue", &[0, 0], &body), records);
}

/// Ends the `nth` message of a queue.
fn end(world: &mut World, records: &mut Records, queue: u64, nth: usize) {
    let Some(kept) = world.vhosts[0].queues.get_mut(&queue) else { return };
    let Some(at) = kept.messages.keys().nth(nth).copied() else { return };
    let length = kept.messages.remove(&at).map_or(0, |kept| kept.message.len());
    records.ack(queue, at.0, at.1, length);
}

fn left(world: &World, queue: u64) -> usize {
    world.vhosts[0].queues.get(&queue).map_or(0, |kept| kept.messages.len())
}

/// Fills up to `high` messages in a queue, takes away down to `low`, and so on, with `pick` saying which one goes.
fn tides(seed: u64, queues: u64, (low, high): (usize, usize), lengths: &[u64], pick: impl Fn(&mut World, usize) -> usize) {
    let mut world = world(seed);
    let mut most = 0;
    for _ in 0..5 {
        for rising in [true, false] {
            loop {
                let mut records = Records::default();
                records.enable();
                for queue in 1..=queues {
                    for _ in 0..40 {
                        let at = world.random.index(lengths.len());
                        let goes = !world.random.one_in(4);
                        if goes == rising {
                            publish(&mut world, &mut records, queue, lengths[at]);
                        } else {
                            let length = left(&world, queue);
                            let nth = pick(&mut world, length);
                            end(&mut world, &mut records, queue, nth);
                        }
                    }
                }
                world.commit(0, &mut records);
                if world.random.one_in(10) {
                    most = most.max(settle(&mut world));
                }
                let there = left(&world, 1);
                if if rising { there >= high } else { there <= low } {
                    break;
                }
            }
        }
        settle(&mut world);
    }
    world.fold_all();
    world.check_loads();
    settle(&mut world);
    assert!(most > 2 * LOG, "the test did not fill the disk");
}

#[test]
fn first_in_first_out() {
    tides(1, 1, (100, 2_000), &[1_000], |_, _| 0);
}

#[test]
fn in_any_order() {
    tides(2, 1, (200, 1_700), &[10, 100, 1_000, 3_000], |world, length| world.random.index(length.max(1)));
}

#[test]
fn several_queues() {
    tides(3, 7, (20, 300), &[200, 1_500], |world, length| if world.random.one_in(3) { world.random.index(length.max(1)) } else { 0 });
}

/// One in a hundred stays for long.
#[test]
fn stragglers() {
    tides(4, 2, (100, 1_200), &[800], |world, length| if world.random.one_in(100) { length.saturating_sub(1) } else { length / 50 });
}

/// What goes are the long ones, which counting messages does not show.
#[test]
fn only_short_ones_stay() {
    let mut world = world(5);
    for round in 0..400 {
        let mut records = Records::default();
        records.enable();
        for _ in 0..20 {
            for _ in 0..9 {
                publish(&mut world, &mut records, 1, 20);
            }
            publish(&mut world, &mut records, 1, 5_000);
        }
        world.commit(0, &mut records);
        let long: Vec<_> =
            world.vhosts[0].queues[&1].messages.iter().filter(|(_, kept)| kept.message.len() > 3_000).map(|(at, _)| *at).collect();
        // They live long enough to come to a segment.
        for at in long.iter().take(long.len().saturating_sub(150)) {
            let kept = world.vhosts[0].queues.get_mut(&1).and_then(|queue| queue.messages.remove(at)).expect("it is there");
            records.ack(1, at.0, at.1, kept.message.len());
        }
        world.commit(0, &mut records);
        if round % 7 == 0 {
            settle(&mut world);
        }
    }
    settle(&mut world);
    world.fold_all();
    world.check_loads();
}

/// Folding early, as an idle server does, leaves no heap of small files.
#[test]
fn many_small_segments_become_few() {
    let mut world = world(6);
    for _ in 0..600 {
        let mut records = Records::default();
        records.enable();
        publish(&mut world, &mut records, 1, 100);
        world.commit(0, &mut records);
        world.fold_all();
        settle(&mut world);
    }
    let segments = world.disk.list().expect("a good disk").iter().filter(|(name, _)| name.starts_with("segment-")).count();
    assert!(segments < 60, "{segments} segments");
    world.reopen();
    world.check_loads();
}

/// A queue that nobody stores anything in any more costs nothing.
#[test]
fn nothing_is_left_of_what_has_ended() {
    let mut world = world(7);
    for _ in 0..100 {
        let mut records = Records::default();
        records.enable();
        for _ in 0..100 {
            publish(&mut world, &mut records, 1, 1_000);
        }
        world.commit(0, &mut records);
        while left(&world, 1) > 0 {
            end(&mut world, &mut records, 1, 0);
        }
        world.commit(0, &mut records);
    }
    world.fold_all();
    settle(&mut world);
    let names: Vec<String> = world.disk.list().expect("a good disk").into_iter().map(|(name, _)| name).collect();
    assert!(names.iter().all(|name| !name.starts_with("segment-") && !name.starts_with("log-")), "{names:?}");
}
