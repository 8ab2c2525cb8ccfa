//! What the operating system says of this process.

use std::fs;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there() {
        assert!(resident_bytes() > Some(100_000));
        assert!(open_files() >= Some(3));
        assert!(open_files_limit() >= open_files());
        assert!(context_switches() > Some(0));
        assert_eq!(field("a: 1\nab:\t 20 kB\n", "ab:"), Some(20));
        assert_eq!(field("a: x\n", "a:"), None);
    }
}
