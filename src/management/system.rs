//! What the operating system and the runtime say of this process; `None` where the system has no such file.

use std::fs;

use super::stats::NODE;
use crate::server::Handle;

/// What is resident, in bytes.
pub(super) fn resident_bytes() -> Option<u64> {
    first_number("/proc/self/status", "VmRSS:").map(|kib| kib * 1024)
}

/// Files and sockets that are open.
pub(super) fn open_files() -> Option<u64> {
    // The directory itself is open while it is read.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64)
}

/// How many there may be.
pub(super) fn open_files_limit() -> Option<u64> {
    first_number("/proc/self/limits", "Max open files")
}

/// Bytes that were read from disks.
pub(super) fn read_bytes() -> Option<u64> {
    first_number("/proc/self/io", "read_bytes:")
}

/// Bytes that were written to disks, or will be.
pub(super) fn written_bytes() -> Option<u64> {
    first_number("/proc/self/io", "write_bytes:")
}

/// Of all threads that there are.
pub(super) fn context_switches() -> Option<u64> {
    let of = |status: &str| Some(field(status, "voluntary_ctxt_switches:")? + field(status, "nonvoluntary_ctxt_switches:")?);
    let threads = fs::read_dir("/proc/self/task").ok()?;
    Some(threads.flatten().filter_map(|thread| of(&fs::read_to_string(thread.path().join("status")).ok()?)).sum())
}

fn first_number(path: &str, name: &str) -> Option<u64> {
    field(&fs::read_to_string(path).ok()?, name)
}

/// The first number on the line that begins with a name.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
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
    let [switches, files, resident] = [context_switches(), open_files(), resident_bytes()].map(Option::unwrap_or_default);
    [switches, disk_free, files, resident, tasks().0, handle.sockets() as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there() {
        assert!(resident_bytes() > Some(100_000));
        assert!(open_files() >= Some(3));
        assert!(open_files_limit() >= open_files());
        assert!(context_switches() > Some(0));
    }

    #[test]
    fn numbers_are_found_behind_their_names() {
        assert_eq!(field("a: 1\nab:\t 20 kB\n", "ab:"), Some(20));
        assert_eq!(field("a: x\n", "a:"), None);
        let text = "VmRSS:\t  12 kB\nMax open files            1024                 4096                 files\n";
        assert_eq!([field(text, "VmRSS:"), field(text, "Max open files"), field(text, "none")], [Some(12), Some(1024), None]);
    }
}
