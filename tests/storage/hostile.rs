//! Directories that were changed by somebody else: bytes, files, and contents behind checksums that are right.

use leveret::storage::{Disk, MemoryDisk, Options};

use crate::model::World;
use crate::random::Random;
use crate::{checksums, soundness};

/// A directory that was in use, and is as a killed process leaves it.
fn used(seed: u64) -> (MemoryDisk, Random) {
    let mut world = World::new(seed, Options { log_bytes: 8 << 10, log_messages: 300, sync: true });
    world.longest = 100;
    for _ in 0..1 + world.random.below(30) {
        let steps = 1 + world.random.below(12);
        world.round(steps);
        if world.random.one_in(3) {
            world.fold();
        }
        if world.random.one_in(6) {
            let _ = world.opened.mover.compact();
        }
    }
    if world.random.one_in(3) {
        world.fold_all();
    }
    (world.disk.copy(), world.random)
}

fn pick(random: &mut Random, disk: &MemoryDisk) -> String {
    let names = disk.list().expect("a list");
    names[random.index(names.len())].0.clone()
}

/// Changes a few bytes, most of them where there is something.
fn scribble(random: &mut Random, bytes: &mut [u8]) {
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for _ in 0..=random.below(4) {
        if used == 0 {
            return;
        }
        let at = random.index(used);
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = u8::try_from(random.below(256)).expect("a byte"),
            2 => bytes[at] = if random.one_in(2) { 0 } else { 0xFF },
            3 => {
                let length = random.index(20).min(used - at);
                bytes[at..at + length].fill(0);
            }
            _ => {
                let from = random.index(used);
                let length = random.index(40).min(used - at).min(used - from);
                bytes.copy_within(from..from + length, at);
            }
        }
    }
}

fn change(random: &mut Random, disk: &MemoryDisk) {
    let name = pick(random, disk);
    let mut bytes = disk.contents(&name).expect("it is there");
    match random.below(12) {
        0 => disk.remove(&name).expect("it is there"),
        1 => {
            bytes.truncate(random.index(bytes.len() + 1));
            disk.put(&name, bytes);
        }
        2 => {
            let other = pick(random, disk);
            let mut bytes = disk.contents(&other).expect("it is there");
            if random.one_in(2) {
                checksums::all(&name, &mut bytes);
            }
            disk.put(&name, bytes);
        }
        3 => {
            let (kind, _) = name.split_once('-').expect("a kind");
            let other = format!("{kind}-{:010}", random.below(12));
            if random.one_in(2) {
                checksums::all(&other, &mut bytes);
            }
            disk.put(&other, bytes);
        }
        4..=7 => {
            scribble(random, &mut bytes);
            disk.put(&name, bytes);
        }
        _ => {
            scribble(random, &mut bytes);
            checksums::all(&name, &mut bytes);
            disk.put(&name, bytes);
        }
    }
}

#[test]
fn any_directory_gives_an_error_or_a_sound_state() {
    let seeds = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).map_or(0..1_000, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let (disk, mut random) = used(seed);
        for _ in 0..=random.below(3) {
            change(&mut random, &disk);
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| soundness::check(disk)));
        assert!(outcome.is_ok(), "SEED={seed}");
    }
}

/// What the fuzz target does with bytes that it likes.
#[test]
fn files_of_any_bytes_give_an_error_or_a_sound_state() {
    let mut random = Random::new(1);
    for _ in 0..2_000 {
        let disk = MemoryDisk::default();
        for kind in ["manifest", "log", "segment"] {
            for number in 0..random.below(3) {
                let name = format!("{kind}-{:010}", number + 1);
                let mut bytes: Vec<u8> = (0..random.below(200)).map(|_| u8::try_from(random.below(256)).expect("a byte")).collect();
                checksums::all(&name, &mut bytes);
                disk.put(&name, bytes);
            }
        }
        soundness::check(disk);
    }
}
