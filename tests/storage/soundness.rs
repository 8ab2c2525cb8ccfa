//! Whatever a data directory has in it: a clean error, or a state that can be worked with. Never a panic.

use std::sync::Arc;

use leveret::amqp::Message;
use leveret::broker::record::{Enqueue, NEVER, Records, Recovered};
use leveret::storage::{self, Batch, Disk, Load, MemoryDisk, OpenError, Opened, Options, repair};

const VHOSTS: [&str; 2] = ["/", "other"];

fn options() -> Options {
    Options { log_bytes: 16 << 10, log_messages: 300, sync: true }
}

fn open(disk: &Arc<MemoryDisk>) -> Result<Opened, OpenError> {
    storage::open(disk.clone(), &options(), &VHOSTS, &mut |_| {})
}

fn recovered(opened: &Opened) -> Vec<Recovered> {
    opened.vhosts.iter().map(|vhost| vhost.recovered.clone()).collect()
}

/// Reads all that is said to be there; errors are fine, messages have to be where they belong.
fn load_everything(opened: &Opened) {
    for vhost in &opened.vhosts {
        for (number, queue) in &vhost.recovered.queues {
            for run in &queue.runs {
                let mut after = run.first.checked_sub(1);
                loop {
                    let load = Load { vhost: vhost.number, queue: *number, level: run.level, after, up_to: run.last, max_bytes: 2_000 };
                    let Ok(loaded) = opened.reader.load(&load) else { break };
                    assert!(loaded.windows(2).all(|two| two[0].position < two[1].position));
                    let Some(last) = loaded.last() else { break };
                    assert!(
                        loaded.iter().all(|one| (run.first..=run.last).contains(&one.position) && after.is_none_or(|at| one.position > at))
                    );
                    after = Some(last.position);
                }
                let _ = opened.reader.fetch(vhost.number, *number, run.level, &[run.first, run.last]);
            }
        }
    }
}

/// A broker goes on with it. The queue is one that nobody has heard of.
fn work(mut opened: Opened) -> bool {
    let vhost = &opened.vhosts[0];
    let Some(queue) = vhost.recovered.highest_queue.checked_add(1) else { return false };
    let number = vhost.number;
    let message = Message::new(b"", b"queue", &[0, 0], &[7; 500]);
    let mut records = Records::default();
    records.enable();
    records.define(b"key", b"value");
    for position in 1..=50 {
        records.next_message();
        records.enqueue(&message, Enqueue { queue, position, at: NEVER, ..Enqueue::default() });
    }
    records.ack(queue, 0, 7, 500);
    let enqueued = records.enqueued;
    let batch = Batch { vhost: number, records: records.take(Vec::new()), enqueued, ended_bytes: 0 };
    opened.log.commit(&[batch]).expect("a good disk");
    opened.log.seal().expect("a good disk");
    while let Some(sealed) = opened.log.take_sealed() {
        opened.mover.fold(&sealed).expect("what was just written is right");
    }
    for _ in 0..100 {
        // A damaged segment is found, and then left alone.
        if matches!(opened.mover.compact(), Ok(false)) {
            break;
        }
    }
    let load = Load { vhost: number, queue, level: 0, after: None, up_to: u64::MAX, max_bytes: usize::MAX / 2 };
    let loaded = opened.reader.load(&load).expect("a good disk");
    assert_eq!(loaded.len(), 49);
    true
}

pub(crate) fn check(disk: MemoryDisk) {
    let disk = Arc::new(disk);
    let looked_at: Arc<dyn Disk> = disk.clone();
    let before = disk.list().expect("a list");
    let report = repair::inspect(&looked_at);
    assert_eq!(disk.list().expect("a list"), before, "looking changes nothing");
    let other = Arc::new(disk.copy());
    if let Ok(opened) = open(&disk) {
        let first = recovered(&opened);
        load_everything(&opened);
        drop(opened);
        let again = open(&disk).expect("what was opened can be opened again");
        assert_eq!(recovered(&again), first);
        if work(again) {
            load_everything(&open(&disk).expect("what was worked with can be opened again"));
        }
    }
    let Ok(report) = report else { return };
    let as_disk: Arc<dyn Disk> = other.clone();
    let repaired = repair::repair(&as_disk).unwrap_or_else(|error| panic!("{error}\nwhere this was seen: {report}"));
    assert_eq!(repaired, report);
    if report.is_clean() {
        return;
    }
    let opened = open(&other).unwrap_or_else(|error| panic!("{error}\nafter repairing: {report}"));
    load_everything(&opened);
    drop(opened);
    let again = repair::inspect(&as_disk).expect("it can be looked at");
    assert!(again.is_clean(), "left: {again}\nfirst: {report}");
}
