//! When a log file ends and another one begins.

use std::fmt;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// What makes a log file end, and how many old ones are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes from which on a file ends; `None`: however large it is.
    pub size: Option<u64>,
    pub date: Option<Schedule>,
    /// Old files that are kept.
    pub count: usize,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { size: None, date: None, count: 10 }
    }
}

/// A point of time that comes again and again, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    Hourly {
        minute: u64,
    },
    Daily {
        hour: u64,
    },
    /// From Sunday, which is 0.
    Weekly {
        day: u64,
        hour: u64,
    },
    /// From 1. The last one where a month has fewer.
    Monthly {
        day: u64,
        hour: u64,
    },
}

impl Schedule {
    /// As RabbitMQ writes it: `$H30`, `$D23`, `$W0D23`, `$M1D5`.
    ///
    /// # Errors
    /// What is written otherwise.
    pub fn named(value: &str) -> Result<Self, String> {
        let wrong = || format!("'{value}' is no time for rotation, such as $D0, $W0D23, $M1D5 or $H30");
        let within = |digits: &str, range: std::ops::RangeInclusive<u64>| digits.parse().ok().filter(|number| range.contains(number));
        // Without an hour it is midnight.
        let with_hour = |rest: &str, days: std::ops::RangeInclusive<u64>| {
            let (day, hour) = rest.split_once('D').unwrap_or((rest, "0"));
            Some((within(day, days)?, within(hour, 0..=23)?))
        };
        let rest = value.strip_prefix('$').ok_or_else(wrong)?;
        let schedule = match rest.split_at_checked(1) {
            Some(("H", minute)) => within(minute, 0..=59).map(|minute| Self::Hourly { minute }),
            Some(("D", hour)) => within(hour, 0..=23).map(|hour| Self::Daily { hour }),
            Some(("W", rest)) => with_hour(rest, 0..=6).map(|(day, hour)| Self::Weekly { day, hour }),
            Some(("M", rest)) => with_hour(rest, 1..=31).map(|(day, hour)| Self::Monthly { day, hour }),
            _ => None,
        };
        schedule.ok_or_else(wrong)
    }

    /// When it was last, at this time or before: both in seconds since 1970.
    #[must_use]
    pub fn last(self, now: u64) -> u64 {
        let every = |period: u64, offset: u64| (now.saturating_sub(offset) / period) * period + offset;
        match self {
            Self::Hourly { minute } => every(HOUR, minute * 60),
            Self::Daily { hour } => every(DAY, hour * HOUR),
            // 1970 began on a Thursday.
            Self::Weekly { day, hour } => every(7 * DAY, (day + 3) % 7 * DAY + hour * HOUR),
            Self::Monthly { day, hour } => {
                let (first, length) = month(now / DAY);
                let of = |first: u64, length: u64| (first + day.min(length) - 1) * DAY + hour * HOUR;
                let this = of(first, length);
                if this <= now {
                    return this;
                }
                let (first, length) = month(first.saturating_sub(1));
                of(first, length)
            }
        }
    }
}

/// The first day of the month that has a day, since 1970, and how many days it has.
fn month(day: u64) -> (u64, u64) {
    let (mut first, mut year) = (0, 1970);
    loop {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for length in lengths {
            if day < first + length {
                return (first, length);
            }
            first += length;
        }
        year += 1;
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hourly { minute } => write!(f, "$H{minute:02}"),
            Self::Daily { hour } => write!(f, "$D{hour}"),
            Self::Weekly { day, hour } => write!(f, "$W{day}D{hour}"),
            Self::Monthly { day, hour } => write!(f, "$M{day}D{hour}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Sunday, 2026-11-29 14:37:46.
    const NOW: u64 = 1_795_963_066;
    const TODAY: u64 = NOW / DAY * DAY;

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["$H00", "$H59", "$D0", "$D23", "$W0D0", "$W6D23", "$M1D0", "$M31D23"] {
            assert_eq!(Schedule::named(text).map(|schedule| schedule.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(Schedule::named("$W5"), Ok(Schedule::Weekly { day: 5, hour: 0 }));
        for wrong in ["", "$", "D0", "$D24", "$H60", "$W7D0", "$M0D0", "$M32", "$D", "$X1", "$D0x", "$\u{e4}"] {
            assert!(Schedule::named(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn when_it_was_last() {
        let last = |text: &str| Schedule::named(text).map(|schedule| schedule.last(NOW));
        assert_eq!(last("$H37"), Ok(TODAY + 14 * HOUR + 37 * 60));
        assert_eq!(last("$H38"), Ok(TODAY + 13 * HOUR + 38 * 60));
        assert_eq!(last("$D14"), Ok(TODAY + 14 * HOUR));
        assert_eq!(last("$D15"), Ok(TODAY - DAY + 15 * HOUR));
        assert_eq!(last("$W0D14"), Ok(TODAY + 14 * HOUR));
        assert_eq!(last("$W0D15"), Ok(TODAY - 7 * DAY + 15 * HOUR));
        assert_eq!(last("$W6D0"), Ok(TODAY - DAY));
        assert_eq!(last("$M29D0"), Ok(TODAY));
        assert_eq!(last("$M30D0"), Ok(TODAY - 30 * DAY), "the 30th of October");
        assert_eq!(last("$M31D0"), Ok(TODAY - 29 * DAY), "the 31st of October");
    }
}
