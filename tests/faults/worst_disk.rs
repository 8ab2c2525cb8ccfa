//! The disk of the simulation keeps what a disk must keep, and really loses what it may lose.

use leveret::storage::{Disk, File};

use crate::disk::{End, SimDisk};

fn content(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(name).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().expect("a length")).expect("a short file")];
    assert_eq!(file.read_at(&mut bytes, 0).expect("a read"), bytes.len());
    Some(bytes)
}

/// A file of two pages that is there for certain.
fn prepared(seed: u64) -> (SimDisk, Box<dyn File>) {
    let disk = SimDisk::new(seed);
    let file = disk.create("a").expect("a file");
    file.write_at(&[1; 8192], 0).expect("a write");
    file.sync().expect("a sync");
    disk.sync_directory().expect("a sync");
    (disk, file)
}

#[test]
fn what_is_synced_stays() {
    for seed in 0..50 {
        let (disk, file) = prepared(seed);
        file.write_at(&[2; 100], 300).expect("a write");
        disk.restart(End::PowerCut);
        let bytes = content(&disk, "a").expect("its name was synced");
        // Whatever became of the first sector, in which the write was.
        let untouched = &bytes[512..];
        assert!(untouched.iter().all(|byte| *byte == 1) && bytes.len() == 8192, "seed {seed}");
    }
}

/// How often something is so in many runs.
fn count(is_so: impl Fn(u64) -> bool) -> usize {
    (0..200).filter(|seed| is_so(*seed)).count()
}

#[test]
fn what_is_not_synced_may_go_or_stay() {
    let names = count(|seed| {
        let disk = SimDisk::new(seed);
        disk.create("a").expect("a file").sync().expect("a sync");
        disk.restart(End::PowerCut);
        content(&disk, "a").is_some()
    });
    assert!((20..180).contains(&names), "{names} of 200");
    let renamed = count(|seed| {
        let (disk, _) = prepared(seed);
        disk.rename("a", "b").expect("a rename");
        disk.restart(End::PowerCut);
        assert!(content(&disk, "a").is_some() != content(&disk, "b").is_some(), "seed {seed}: a rename is atomic");
        content(&disk, "b").is_some()
    });
    assert!((20..180).contains(&renamed), "{renamed} of 200");
    let torn = count(|seed| {
        let (disk, file) = prepared(seed);
        file.write_at(&[2; 8192], 0).expect("a write");
        disk.restart(End::PowerCut);
        let bytes = content(&disk, "a").expect("its name was synced");
        bytes.contains(&1) && bytes.contains(&2)
    });
    assert!(torn > 20, "{torn} of 200");
    let reordered = count(|seed| {
        let (disk, file) = prepared(seed);
        file.write_at(&[2; 512], 0).expect("a write");
        file.write_at(&[2; 512], 4096).expect("a write");
        disk.restart(End::PowerCut);
        let bytes = content(&disk, "a").expect("its name was synced");
        bytes[0] == 1 && bytes[4096] == 2
    });
    assert!(reordered > 5, "{reordered} of 200");
    let shorter = count(|seed| {
        let (disk, file) = prepared(seed);
        file.write_at(&[2; 512], 8192).expect("a write");
        disk.restart(End::PowerCut);
        content(&disk, "a").expect("its name was synced").len() == 8192
    });
    assert!((20..180).contains(&shorter), "{shorter} of 200");
}

#[test]
fn a_process_that_is_killed_loses_nothing_that_was_written() {
    let (disk, file) = prepared(1);
    file.write_at(&[2; 8192], 0).expect("a write");
    disk.create("b").expect("a file");
    disk.restart(End::Killed);
    assert_eq!(content(&disk, "a"), Some(vec![2; 8192]));
    assert_eq!(content(&disk, "b"), Some(Vec::new()));
    file.len().expect_err("the handle of a process that ended");
}

#[test]
fn after_a_failed_sync_the_next_proves_nothing() {
    let lost = count(|seed| {
        let (disk, file) = prepared(seed);
        file.write_at(&[2; 8192], 0).expect("a write");
        disk.set_faults(|faults| faults.failing_syncs = 1);
        file.sync().expect_err("it was told to fail");
        file.sync().expect("a sync");
        disk.restart(End::PowerCut);
        content(&disk, "a").expect("its name was synced").contains(&1)
    });
    assert!(lost > 100, "{lost} of 200");
}

#[test]
fn a_full_disk_takes_a_part_and_has_room_again() {
    let (disk, file) = prepared(1);
    disk.set_faults(|faults| faults.capacity = Some(10_000));
    let error = file.write_at(&[2; 4096], 8192).expect_err("no room");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(file.len().expect("a length"), 10_000);
    file.write_at(&[3; 8192], 0).expect("what has room already");
    disk.set_faults(|faults| faults.capacity = None);
    file.write_at(&[2; 4096], 8192).expect("room");
}

#[test]
fn it_ends_in_the_middle_when_told_to() {
    let (disk, file) = prepared(1);
    disk.set_faults(|faults| faults.end_after = Some(1));
    file.write_at(&[2; 10], 0).expect("one more");
    file.write_at(&[2; 10], 0).expect_err("the end");
    assert!(disk.has_ended());
    file.len().expect_err("nothing works any more");
    disk.restart(End::PowerCut);
    assert!(content(&disk, "a").is_some());
}
