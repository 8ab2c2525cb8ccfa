//! Any bytes as the files of a data directory: an error or a sound state, never a panic.

#![no_main]

#[path = "../../tests/storage/checksums.rs"]
mod checksums;
#[path = "../../tests/storage/soundness.rs"]
mod soundness;

use leveret::storage::MemoryDisk;
use libfuzzer_sys::fuzz_target;

const KINDS: [&str; 5] = ["manifest", "log", "segment", "spill", "spare"];

// A file is: kind and number (a byte), whether checksums are made right (a bit of it), length (two bytes), contents.
fuzz_target!(|bytes: &[u8]| {
    let disk = MemoryDisk::default();
    let mut rest = bytes;
    while let Some((&[what, low, high], after)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(after.len());
        let (contents, after) = after.split_at(length);
        rest = after;
        let kind = KINDS[usize::from(what & 7) % KINDS.len()];
        let name = format!("{kind}-{:010}", 1 + (what >> 3 & 7));
        let mut contents = contents.to_vec();
        if what & 0x80 == 0 {
            checksums::all(&name, &mut contents);
        }
        disk.put(&name, contents);
    }
    soundness::check(disk);
});
