//! What the operating system and the runtime say of this process.

use std::fs;

use super::stats::NODE;
use crate::server::Handle;

/// Bytes that are resident.
pub(super) fn resident_bytes() -> u64 {
    field_kib("/proc/self/status", "VmRSS:") * 1024
}

/// A value in KiB out of a file of `Name:   1234 kB` lines; 0 where there is none.
fn field_kib(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    field(&text, name)
}

/// The first number behind a name.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Files and sockets that are open.
pub(super) fn open_files() -> u64 {
    // The directory itself is open while it is read.
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1) as u64)
}

/// How many there may be.
pub(super) fn open_files_limit() -> u64 {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    field(&text, "Max open files")
}

/// Of all threads.
pub(super) fn context_switches() -> u64 {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return 0 };
    let of = |status: String| field(&status, "voluntary_ctxt_switches:") + field(&status, "nonvoluntary_ctxt_switches:");
    threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok()).map(of).sum()
}

/// Bytes read from disks, and written to them.
pub(super) fn disk_bytes() -> (u64, u64) {
    let text = fs::read_to_string("/proc/self/io").unwrap_or_default();
    (field(&text, "read_bytes:"), field(&text, "write_bytes:"))
}

/// Tasks of the runtime, and how many of them wait for a thread.
pub(super) fn tasks() -> (u64, u64) {
    let metrics = tokio::runtime::Handle::current().metrics();
    (metrics.num_alive_tasks() as u64, metrics.global_queue_depth() as u64)
}

pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// The values of [`NODE`].
pub(super) fn node_values(handle: &Handle) -> [u64; NODE.len()] {
    let disk_free = handle.disk().map_or(0, |disk| disk.free);
    [context_switches(), disk_free, open_files(), resident_bytes(), tasks().0, handle.sockets() as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there() {
        assert!(resident_bytes() > 100_000);
        assert!(open_files() >= 3);
        assert!(open_files_limit() >= open_files());
        assert!(context_switches() > 0);
    }

    #[test]
    fn numbers_are_found_behind_their_names() {
        let text = "VmRSS:\t  12 kB\nMax open files            1024                 4096                 files\n";
        assert_eq!((field(text, "VmRSS:"), field(text, "Max open files"), field(text, "none")), (12, 1024, 0));
    }
}
