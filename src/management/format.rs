//! Values as RabbitMQ writes them.

use serde::Serialize;

use crate::broker::Timestamp;

/// A process's garbage collection: there is none here. RabbitMQ says -1 where it does not know, which clients that take it for a count
/// cannot read.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Garbage {
    max_heap_size: u8,
    min_bin_vheap_size: u8,
    min_heap_size: u8,
    fullsweep_after: u8,
    minor_gcs: u8,
}

impl Garbage {
    pub(super) const NONE: Self = Self { max_heap_size: 0, min_bin_vheap_size: 0, min_heap_size: 0, fullsweep_after: 0, minor_gcs: 0 };
}

/// `2026-11-29T11:02:22.311+00:00`.
pub(super) fn iso8601(at: Timestamp) -> String {
    let (days, ms) = (at.0 / 86_400_000, at.0 % 86_400_000);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}+00:00", ms % 1000)
}

/// The Gregorian date so many days after 1970-01-01. Years are taken to begin in March, so that leap days come last.
fn date(days: u64) -> (u64, u64, u64) {
    /// Days in four hundred years, and from the first of March of the year 0 to 1970.
    const ERA: u64 = 146_097;
    const TO_1970: u64 = 719_468;
    let days = days + TO_1970;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (400 * era + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000+00:00"),
            (951_782_399_999, "2000-02-28T23:59:59.999+00:00"),
            (951_782_400_000, "2000-02-29T00:00:00.000+00:00"),
            (1_795_950_142_311, "2026-11-29T11:02:22.311+00:00"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000+00:00"),
        ] {
            assert_eq!(iso8601(Timestamp(ms)), text);
        }
    }
}
