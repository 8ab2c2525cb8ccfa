//! What the storage costs apart from the disk: folding a log file, reading messages back, opening a large directory.

use std::sync::Arc;

use divan::Bencher;
use divan::counter::BytesCount;
use leveret::amqp::Message;
use leveret::broker::record::{Enqueue, NEVER, Records};
use leveret::storage::{self, Batch, Directory, Disk, Load, MemoryDisk, Opened, Options};

fn main() {
    divan::main();
}

const BODY: usize = 1024;
const MESSAGES: u64 = 7_000;

fn batch(first: u64, count: u64, queue: u64, message: &Message) -> Batch {
    let mut records = Records::default();
    records.enable();
    for position in first..first + count {
        records.next_message();
        records.enqueue(message, Enqueue { queue, position, at: NEVER, ..Enqueue::default() });
    }
    let enqueued = records.enqueued;
    Batch { vhost: 1, records: records.take(Vec::new()), enqueued, ended_bytes: 0 }
}

fn open(disk: Arc<dyn Disk>) -> Opened {
    storage::open(disk, &Options::default(), &["/"], &mut |_| {}).expect("a directory")
}

fn directory() -> (std::path::PathBuf, Arc<dyn Disk>) {
    let path = std::env::temp_dir().join(format!("leveret-bench-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    let disk = Arc::new(Directory::open(&path).expect("a directory"));
    (path, disk)
}

fn fold_on(bencher: Bencher<'_, '_>, disk: Arc<dyn Disk>) {
    let mut opened = open(disk);
    let message = Message::new(b"", b"queue", &[0, 0], &[7; BODY]);
    let mut first = 1;
    let Opened { log, mover, .. } = &mut opened;
    bencher
        .counter(BytesCount::new(MESSAGES * BODY as u64))
        .with_inputs(|| {
            let batches: Vec<Batch> = (0..MESSAGES / 100).map(|n| batch(first + n * 100, 100, 1, &message)).collect();
            first += MESSAGES;
            log.commit(&batches).expect("a good disk");
            log.seal().expect("a good disk");
            log.take_sealed().expect("something")
        })
        .bench_local_values(|sealed| mover.fold(&sealed).expect("a good disk"));
}

#[divan::bench(sample_count = 30)]
fn fold_in_memory(bencher: Bencher<'_, '_>) {
    fold_on(bencher, Arc::new(MemoryDisk::default()));
}

#[divan::bench(sample_count = 30)]
fn fold_on_disk(bencher: Bencher<'_, '_>) {
    let (path, disk) = directory();
    fold_on(bencher, disk);
    let _ = std::fs::remove_dir_all(path);
}

#[divan::bench(sample_count = 30)]
fn load_a_log_file(bencher: Bencher<'_, '_>) {
    let (path, disk) = directory();
    let mut opened = open(disk);
    let message = Message::new(b"", b"queue", &[0, 0], &[7; BODY]);
    opened.log.commit(&[batch(1, MESSAGES, 1, &message)]).expect("a good disk");
    opened.log.seal().expect("a good disk");
    let sealed = opened.log.take_sealed().expect("something");
    opened.mover.fold(&sealed).expect("a good disk");
    bencher.counter(BytesCount::new(MESSAGES * BODY as u64)).bench_local(|| {
        let mut after = None;
        loop {
            let load = Load { vhost: 1, queue: 1, level: 0, after, up_to: u64::MAX, max_bytes: 256 << 10 };
            let loaded = opened.reader.load(&load).expect("a good disk");
            let Some(last) = loaded.last() else { break };
            after = Some(last.position);
        }
    });
    let _ = std::fs::remove_dir_all(path);
}

/// 1,300 segments, 100,000 definitions.
#[divan::bench(sample_count = 10)]
fn open_a_large_directory(bencher: Bencher<'_, '_>) {
    let (path, disk) = directory();
    let mut opened = open(disk.clone());
    let message = Message::new(b"", b"queue", &[0, 0], &[7; BODY]);
    let mut records = Records::default();
    records.enable();
    for queue in 0..100_000u64 {
        records.define(format!("queue/{queue}").as_bytes(), &[7; 60]);
        if queue % 1_000 == 999 {
            let batch = Batch { vhost: 1, records: records.take(Vec::new()), ..Batch::default() };
            opened.log.commit(&[batch]).expect("a good disk");
        }
    }
    for segment in 0..1_300 {
        opened.log.commit(&[batch(1 + segment * 10, 10, segment % 100, &message)]).expect("a good disk");
        opened.log.seal().expect("a good disk");
        while let Some(sealed) = opened.log.take_sealed() {
            opened.mover.fold(&sealed).expect("a good disk");
        }
    }
    drop(opened);
    bencher.bench_local(|| open(disk.clone()).vhosts[0].recovered.definitions.len());
    let _ = std::fs::remove_dir_all(path);
}
