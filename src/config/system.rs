//! What the machine, or the control group that the process runs in, has.

/// Bytes of memory that this process may use: the machine's, or the control group's limit where that is lower.
pub(super) fn memory_bytes() -> u64 {
    let total = machine().unwrap_or(1 << 30);
    control_group().map_or(total, |limit| limit.min(total))
}

fn machine() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

fn control_group() -> Option<u64> {
    let paths = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    paths.iter().find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok())
}
