//! The values of keys: numbers, amounts of bytes, addresses, levels, in the forms that RabbitMQ takes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::Fsync;
use crate::broker::queue::QueueType;
use crate::broker::queue::effective::Overflow;
use crate::broker::{Pattern, Profile};

/// Where all interfaces are meant.
pub(super) const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// A port, which is one of all interfaces, or an address with a port: `127.0.0.1:5672`, `[::1]:5672`, `::1:5672`, `:::5672`.
pub(super) fn listener(value: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = value.parse() {
        return Ok(SocketAddr::new(ANYWHERE, port));
    }
    let bare = || {
        let (ip, port) = value.rsplit_once(':')?;
        Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
    };
    value.parse().ok().or_else(bare).ok_or_else(|| format!("'{value}' is neither a port nor an address with a port"))
}

pub(super) fn ip(value: &str) -> Result<IpAddr, String> {
    value.parse().map_err(|_| format!("'{value}' is no IP address"))
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

pub(super) fn boolean(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| format!("'{value}' is neither true nor false"))
}

/// What cuttlefish calls a flag.
pub(super) fn on_or_off(value: &str) -> Result<bool, String> {
    match value {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err(format!("'{value}' is neither on nor off")),
    }
}

pub(super) fn number<T: FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("'{value}' is not a number in range"))
}

/// A limit; `infinity` is none.
pub(super) fn limit<T: FromStr>(value: &str) -> Result<Option<T>, String> {
    if value == "infinity" { Ok(None) } else { number(value).map(Some) }
}

/// A limit that leaves room for somebody.
pub(super) fn places(value: &str) -> Result<Option<usize>, String> {
    limit(value).and_then(|most| if most == Some(0) { Err("0 would let nobody in".to_owned()) } else { Ok(most) })
}

pub(super) fn share(value: &str) -> Result<f64, String> {
    let share: f64 = number(value)?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("'{value}' is not between 0 and 1")) }
}

pub(super) fn factor(value: &str) -> Result<f64, String> {
    let factor: f64 = number(value)?;
    if factor.is_finite() && factor >= 0.0 { Ok(factor) } else { Err(format!("'{value}' is not a number from 0 on")) }
}

/// `always`, `never`, or an interval in milliseconds.
pub(super) fn fsync(value: &str) -> Result<Fsync, String> {
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

/// A number of bytes, with RabbitMQ's units: k, M, G, T and the same with i or iB are powers of 1024, with B powers of 1000.
/// Upper and lower case are the same.
pub(super) fn bytes(value: &str) -> Result<u64, String> {
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (amount, unit) = value.split_at(digits);
    if amount.is_empty() {
        return Err(format!("'{value}' is no amount of bytes"));
    }
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "t" | "ti" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(format!("'{}' is no unit of bytes", unit.trim())),
    };
    number::<u64>(amount)?.checked_mul(factor).ok_or_else(|| format!("'{value}' is too large"))
}

/// The same for what fits into fewer bits.
pub(super) fn size<T: TryFrom<u64>>(value: &str) -> Result<T, String> {
    T::try_from(bytes(value)?).map_err(|_| format!("'{value}' is too large"))
}

pub(super) fn overflow(value: &str) -> Result<Overflow, String> {
    match value {
        "drop-head" => Ok(Overflow::DropHead),
        "reject-publish" => Ok(Overflow::RejectPublish),
        _ => Err(format!("'{value}' is neither drop-head nor reject-publish")),
    }
}

pub(super) fn queue_type(value: &str) -> Result<QueueType, String> {
    let short = value.strip_prefix("rabbit_").and_then(|value| value.strip_suffix("_queue")).unwrap_or(value);
    QueueType::named(short.as_bytes()).ok_or_else(|| format!("'{value}' is neither classic nor quorum nor stream"))
}

/// RabbitMQ's levels, and `warn` and `trace`. There is nothing between info and warning, and nothing above error, except none at all.
///
/// # Errors
/// Another word.
pub fn level(value: &str) -> Result<LevelFilter, String> {
    match value {
        "trace" => Ok(LevelFilter::TRACE),
        "debug" => Ok(LevelFilter::DEBUG),
        "info" => Ok(LevelFilter::INFO),
        "notice" | "warning" | "warn" => Ok(LevelFilter::WARN),
        "error" | "critical" | "alert" | "emergency" => Ok(LevelFilter::ERROR),
        "none" => Ok(LevelFilter::OFF),
        _ => Err(format!("'{value}' is no log level; there are debug, info, warning, error and none")),
    }
}

/// The name of a level, as [`level`] takes it.
pub(super) fn level_name(level: LevelFilter) -> String {
    match level {
        LevelFilter::OFF => "none".to_owned(),
        LevelFilter::WARN => "warning".to_owned(),
        other => other.to_string(),
    }
}

/// A regular expression of names.
pub(super) fn pattern(value: &str) -> Result<String, String> {
    Pattern::new(value).map(|_| value.to_owned())
}

/// A secret that is not encrypted.
pub(super) fn secret(value: &str) -> Result<String, String> {
    if value.starts_with("encrypted:") { Err("encrypted values cannot be read".to_owned()) } else { Ok(value.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners() {
        for (value, address) in [
            ("5672", "0.0.0.0:5672"),
            ("127.0.0.1:5672", "127.0.0.1:5672"),
            ("[::1]:5672", "[::1]:5672"),
            ("::1:5672", "[::1]:5672"),
            (":::5672", "[::]:5672"),
            ("0.0.0.0:0", "0.0.0.0:0"),
        ] {
            assert_eq!(listener(value), Ok(address.parse().expect("an address")), "{value}");
        }
        for value in ["", "65536", "-1", "localhost:5672", "127.0.0.1", "127.0.0.1:", "::", "1.2.3.4:99999"] {
            assert!(listener(value).is_err(), "{value}");
        }
    }

    #[test]
    fn units_of_bytes() {
        for (value, amount) in [
            ("0", 0),
            ("50000", 50_000),
            ("1B", 1),
            ("2k", 2048),
            ("2kiB", 2048),
            ("2KiB", 2048),
            ("2 Ki", 2048),
            ("2kB", 2000),
            ("500KB", 500_000),
            ("3M", 3 << 20),
            ("3MiB", 3 << 20),
            ("50mb", 50_000_000),
            ("4G", 4 << 30),
            ("4GiB", 4 << 30),
            ("2GB", 2_000_000_000),
            ("1T", 1 << 40),
            ("1TB", 1_000_000_000_000),
        ] {
            assert_eq!(bytes(value), Ok(amount), "{value}");
        }
        assert_eq!(bytes("64 gallons"), Err("'gallons' is no unit of bytes".to_owned()));
        assert_eq!(bytes("99999999999TB"), Err("'99999999999TB' is too large".to_owned()));
        for value in ["", "MB", "-1", "1.5GB", "1e3"] {
            assert!(bytes(value).is_err(), "{value}");
        }
        assert_eq!(size::<u32>("5G"), Err("'5G' is too large".to_owned()));
    }

    #[test]
    fn numbers_shares_and_limits() {
        assert_eq!(number::<u16>("65535"), Ok(65_535));
        assert_eq!(number::<u16>("65536"), Err("'65536' is not a number in range".to_owned()));
        assert_eq!(limit::<usize>("infinity"), Ok(None));
        assert_eq!(limit::<usize>("5"), Ok(Some(5)));
        assert!(limit::<usize>("none").is_err());
        assert_eq!(share("0.4"), Ok(0.4));
        assert!(share("1.1").is_err() && share("NaN").is_err());
        assert_eq!(factor("2.0"), Ok(2.0));
        assert!(factor("inf").is_err() && factor("-1").is_err());
        assert_eq!((boolean("true"), boolean("false"), boolean("on").is_err()), (Ok(true), Ok(false), true));
        assert_eq!((on_or_off("on"), on_or_off("off"), on_or_off("1").is_err()), (Ok(true), Ok(false), true));
        assert_eq!((ip("::"), ip("0.0.0.0").is_ok(), ip("host").is_err()), (Ok(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)), true, true));
    }

    #[test]
    fn levels_are_read_back() {
        for name in ["trace", "debug", "info", "warning", "error", "none"] {
            assert_eq!(level(name).map(level_name), Ok(name.to_owned()));
        }
        assert_eq!((level("notice"), level("critical")), (Ok(LevelFilter::WARN), Ok(LevelFilter::ERROR)));
        assert!(level("loud").is_err());
    }

    #[test]
    fn words() {
        assert_eq!(queue_type("quorum"), queue_type("rabbit_quorum_queue"));
        assert!(queue_type("mirrored").is_err());
        assert_eq!((fsync("always"), fsync("5 ms")), (Ok(Fsync::Always), Ok(Fsync::Every(Duration::from_millis(5)))));
        assert!(fsync("0").is_err() && overflow("drop").is_err() && profile("5.0").is_err());
        assert_eq!(secret("encrypted:abc="), Err("encrypted values cannot be read".to_owned()));
        assert_eq!(secret("s"), Ok("s".to_owned()));
        assert_eq!((pattern("^a.*$"), pattern("(").is_err()), (Ok("^a.*$".to_owned()), true));
    }
}
