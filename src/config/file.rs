//! The configuration file: rabbitmq.conf syntax, `key = value`, with RabbitMQ's key names where it has the key.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::{Config, DiskFreeLimit, Fsync, MemoryWatermark};
use crate::broker::Profile;
use crate::broker::queue::QueueType;
use crate::broker::queue::effective::Overflow;

/// What is wrong with a configuration file, with the line where that is known.
#[derive(Debug, PartialEq, Eq)]
pub struct FileError(pub(super) String);

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FileError {}

const KEYS: &[&str] = &[
    "listeners.tcp.default",
    "management.tcp.port",
    "data_dir",
    "fsync",
    "disk_free_limit.absolute",
    "disk_free_limit.relative",
    "log.console.level",
    "compat",
    "default_user",
    "default_pass",
    "default_vhost",
    "loopback_users",
    "loopback_users.guest",
    "heartbeat",
    "frame_max",
    "initial_frame_max",
    "channel_max",
    "handshake_timeout",
    "max_message_size",
    "vm_memory_high_watermark.relative",
    "vm_memory_high_watermark.absolute",
    "vm_memory_high_watermark_paging_ratio",
    "default_max_length",
    "default_max_length_bytes",
    "default_overflow",
    "connection_max",
    "consumer_max_per_channel",
    "consumer_timeout",
    "default_queue_type",
    "outbox_high",
    "tracing",
    "event_exchange",
    "load_definitions",
];

impl Config {
    /// Reads a file over what is set so far.
    ///
    /// # Errors
    /// An unreadable file, and the first line that is not understood.
    pub fn read_file(&mut self, path: &Path) -> Result<(), FileError> {
        let text = std::fs::read_to_string(path).map_err(|error| FileError(format!("{}: {error}", path.display())))?;
        self.read(&text).map_err(|FileError(why)| FileError(format!("{}: {why}", path.display())))
    }

    /// Reads the text of a file over what is set so far.
    ///
    /// # Errors
    /// The first line that is not understood.
    pub fn read(&mut self, text: &str) -> Result<(), FileError> {
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let result = match line.split_once('=') {
                Some((key, value)) => self.set(key.trim(), value.trim().trim_matches('\'')),
                None => Err("expected key = value".to_owned()),
            };
            result.map_err(|why| FileError(format!("line {}: {why}", number + 1)))?;
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "listeners.tcp.default" => self.amqp = address(value, self.amqp.ip())?,
            "management.tcp.port" => self.http = address(value, self.http.ip())?,
            "data_dir" => self.data_dir = Some(value.into()),
            "fsync" => self.fsync = fsync(value)?,
            "disk_free_limit.absolute" => self.disk_free_limit = DiskFreeLimit::Absolute(bytes(value)?),
            "disk_free_limit.relative" => self.disk_free_limit = DiskFreeLimit::Relative(factor(value)?),
            "log.console.level" => self.log_level = value.parse().map_err(|_| format!("'{value}' is no log level"))?,
            "compat" => self.compat = profile(value)?,
            "default_user" => value.clone_into(&mut self.default_user),
            "default_pass" => value.clone_into(&mut self.default_pass),
            "default_vhost" => value.clone_into(&mut self.default_vhost),
            "loopback_users" if value == "none" => self.loopback_only = false,
            "loopback_users.guest" => self.loopback_only = boolean(value)?,
            "heartbeat" => self.heartbeat_s = number(value)?,
            "frame_max" => self.frame_max = number(value)?,
            "initial_frame_max" => self.initial_frame_max = number(value)?,
            "channel_max" => self.channel_max = number(value)?,
            "handshake_timeout" => self.handshake_timeout_ms = number(value)?,
            "max_message_size" => self.max_message_size = Some(bytes(value)?),
            "vm_memory_high_watermark.relative" => self.memory_watermark = MemoryWatermark::Relative(share(value)?),
            "vm_memory_high_watermark.absolute" => self.memory_watermark = MemoryWatermark::Absolute(bytes(value)?),
            "vm_memory_high_watermark_paging_ratio" => self.paging_ratio = share(value)?,
            "default_max_length" => self.default_max_length = Some(number(value)?),
            "default_max_length_bytes" => self.default_max_length_bytes = Some(bytes(value)?),
            "default_overflow" => self.default_overflow = overflow(value)?,
            "connection_max" => self.connection_max = limit(value)?,
            "default_queue_type" => self.default_queue_type = queue_type(value)?,
            "consumer_timeout" => self.consumer_timeout_ms = limit(value)?,
            "consumer_max_per_channel" => self.consumer_max_per_channel = limit(value)?,
            "outbox_high" => self.outbox_high = usize::try_from(bytes(value)?).map_err(|e| e.to_string())?,
            "tracing" => self.tracing = boolean(value)?,
            "event_exchange" => self.event_exchange = boolean(value)?,
            "load_definitions" => self.load_definitions = Some(value.into()),
            _ => return Err(unknown(key)),
        }
        Ok(())
    }
}

/// A port, or an address with a port.
fn address(value: &str, ip: IpAddr) -> Result<SocketAddr, String> {
    match value.parse::<u16>() {
        Ok(port) => Ok(SocketAddr::new(ip, port)),
        Err(_) => value.parse().map_err(|_| format!("'{value}' is neither a port nor an address with a port")),
    }
}

/// Checks the name of a compatibility profile.
///
/// # Errors
/// A name that [`Profile::named`] does not know.
pub fn profile(value: &str) -> Result<String, String> {
    match Profile::named(value) {
        Some(_) => Ok(value.to_owned()),
        None => Err(format!("unknown profile '{value}'; there are {}", Profile::NAMES.join(", "))),
    }
}

fn boolean(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| format!("'{value}' is neither true nor false"))
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("'{value}' is not a number in range"))
}

/// A limit; `infinity` is none.
fn limit<T: std::str::FromStr>(value: &str) -> Result<Option<T>, String> {
    if value == "infinity" { Ok(None) } else { number(value).map(Some) }
}

fn share(value: &str) -> Result<f64, String> {
    let share: f64 = number(value)?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("'{value}' is not between 0 and 1")) }
}

fn factor(value: &str) -> Result<f64, String> {
    let factor: f64 = number(value)?;
    if factor.is_finite() && factor >= 0.0 { Ok(factor) } else { Err(format!("'{value}' is not a number from 0 on")) }
}

/// `always`, `never`, or an interval in milliseconds.
fn fsync(value: &str) -> Result<Fsync, String> {
    let interval = || value.strip_suffix("ms").unwrap_or(value).trim_end().parse().ok().filter(|ms| *ms > 0);
    match value {
        "always" => Ok(Fsync::Always),
        "never" => Ok(Fsync::Never),
        _ => match interval() {
            Some(ms) => Ok(Fsync::Every(Duration::from_millis(ms))),
            None => Err(format!("'{value}' is neither always nor never nor a number of milliseconds")),
        },
    }
}

/// A number of bytes, with RabbitMQ's units.
fn bytes(value: &str) -> Result<u64, String> {
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (amount, unit) = value.split_at(digits);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "k" | "KiB" | "kiB" | "K" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        other => return Err(format!("'{other}' is no unit of bytes")),
    };
    number::<u64>(amount)?.checked_mul(factor).ok_or_else(|| format!("'{value}' is too large"))
}

fn overflow(value: &str) -> Result<Overflow, String> {
    match value {
        "drop-head" => Ok(Overflow::DropHead),
        "reject-publish" => Ok(Overflow::RejectPublish),
        _ => Err(format!("'{value}' is neither drop-head nor reject-publish")),
    }
}

fn queue_type(value: &str) -> Result<QueueType, String> {
    QueueType::named(value.as_bytes()).ok_or_else(|| format!("'{value}' is neither classic nor quorum nor stream"))
}

fn unknown(key: &str) -> String {
    let nearest = KEYS.iter().min_by_key(|known| distance(known, key));
    format!("unknown key '{key}'; did you mean '{}'?", nearest.unwrap_or(&""))
}

/// How many insertions, deletions and replacements lie between two words.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// config/leveret.conf shows every key at its default, commented out.
    #[test]
    fn the_sample_file_shows_the_defaults() {
        let sample = include_str!("../../config/leveret.conf");
        let shown: String =
            sample.lines().filter_map(|line| line.strip_prefix("# ").filter(|l| l.contains(" = "))).map(|l| format!("{l}\n")).collect();
        let mut config = Config::default();
        config.read(&shown).expect("every line of the sample is understood");
        assert_eq!(config, Config { max_message_size: config.max_message_size, ..Config::default() });
        for key in KEYS {
            assert!(sample.contains(&format!("{key} =")), "{key} is not in the sample");
        }
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_key() {
        let error = Config::default().read("\nheartbeats = 5\n").expect_err("no such key");
        assert_eq!(error.to_string(), "line 2: unknown key 'heartbeats'; did you mean 'heartbeat'?");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for line in
            ["channel_max = 70000", "vm_memory_high_watermark.relative = 2", "compat = 5.0", "default_overflow = drop", "frame_max 5"]
        {
            assert!(Config::default().read(line).is_err(), "{line}");
        }
    }
}
