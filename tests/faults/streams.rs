//! What a stream needs of the storage: its oldest part goes, and what is left begins where it does.

use std::sync::Arc;

use leveret::amqp::Message;
use leveret::broker::record::{Enqueue, Records};
use leveret::storage::{Batch, Disk, Opened, Options, open};

use crate::disk::{End, SimDisk};

fn opened(disk: &SimDisk) -> Opened {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    open(disk, &Options::default(), &["/"], &mut |_| {}).expect("it opens")
}

/// Writes something down and has it folded.
fn write(opened: &mut Opened, what: impl FnOnce(&mut Records)) {
    let mut records = Records::default();
    records.enable();
    what(&mut records);
    let vhost = opened.vhosts[0].number;
    let (enqueued, ended_bytes) = (records.enqueued, records.ended_bytes);
    let batch = Batch { vhost, records: records.take(Vec::new()), enqueued, ended_bytes };
    opened.log.commit(&[batch]).expect("a commit");
    opened.log.seal().expect("a seal");
    let sealed = opened.log.take_sealed().expect("a file that was sealed");
    opened.mover.fold(&sealed).expect("a fold");
}

#[test]
fn what_is_left_of_a_stream_begins_and_ends_with_messages() {
    let disk = SimDisk::new(1);
    let mut process = opened(&disk);
    let message = Message::new(b"", b"s", &[0, 0], b"body");
    write(&mut process, |records| {
        for position in 0..100 {
            records.enqueue(&message, Enqueue { queue: 1, position, ..Enqueue::default() });
        }
    });
    write(&mut process, |records| records.drop_all(1, 0, (0, 49), 200));
    disk.restart(End::PowerCut);
    let process = opened(&disk);
    let runs = &process.vhosts[0].recovered.queues[&1].runs;
    let ends: Vec<_> = runs.iter().map(|run| (run.first, run.last, run.count)).collect();
    assert_eq!(ends, [(50, 99, 50)]);
}
