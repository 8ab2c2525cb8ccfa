//! The arguments of queue.declare: one table with their checks, in RabbitMQ's order (behaviour Q10, Q11).

use crate::amqp::{AMQPValue, FieldTable};
use crate::broker::error::{self, Error, integer, type_name};
use crate::broker::settings::Settings;

/// Ten years in milliseconds, the longest time to live and expiry.
const MAX_EXPIRY_MS: i64 = 315_360_000_000;

type Check = fn(&AMQPValue, &FieldTable) -> Result<(), String>;

/// Each known argument with its check, and whether a classic queue has it.
const KNOWN: &[(&str, Check, bool)] = &[
    ("x-expires", expires, true),
    ("x-message-ttl", message_ttl, true),
    ("x-dead-letter-exchange", dead_letter_exchange, true),
    ("x-dead-letter-routing-key", dead_letter_routing_key, true),
    ("x-dead-letter-strategy", dead_letter_strategy, false),
    ("x-max-length", not_negative, true),
    ("x-max-length-bytes", not_negative, true),
    ("x-max-in-memory-length", not_negative, false),
    ("x-max-in-memory-bytes", not_negative, false),
    ("x-max-priority", max_priority, true),
    ("x-overflow", overflow, true),
    ("x-queue-mode", queue_mode, true),
    ("x-queue-version", queue_version, true),
    ("x-single-active-consumer", boolean, true),
    ("x-queue-type", queue_type, true),
    ("x-quorum-initial-group-size", positive, false),
    ("x-max-age", max_age, false),
    ("x-stream-max-segment-size-bytes", not_negative, false),
    ("x-initial-cluster-size", positive, false),
    ("x-queue-leader-locator", leader_locator, true),
    ("x-delivery-limit", not_negative, false),
];

/// What happens when a bound is reached (behaviour Q14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    #[default]
    DropHead,
    RejectPublish,
}

/// The bounds of a queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// Ready messages.
    pub max_length: Option<u64>,
    /// Bytes of their bodies.
    pub max_length_bytes: Option<u64>,
    pub overflow: Overflow,
}

impl Bounds {
    #[must_use]
    pub fn exceeded(&self, length: u64, bytes: u64) -> bool {
        self.max_length.is_some_and(|max| length > max) || self.max_length_bytes.is_some_and(|max| bytes > max)
    }

    /// From arguments that were checked; what they leave open is the node's default.
    #[must_use]
    pub fn new(arguments: &FieldTable, settings: &Settings) -> Self {
        let number = |name: &str| {
            let value = arguments.inner().get(name).and_then(integer);
            value.and_then(|n| u64::try_from(n).ok())
        };
        let overflow = match arguments.inner().get("x-overflow") {
            Some(AMQPValue::LongString(s)) if s.as_bytes().starts_with(b"reject-publish") => Overflow::RejectPublish,
            Some(_) => Overflow::DropHead,
            None => settings.default_overflow,
        };
        Self {
            max_length: number("x-max-length").or(settings.default_max_length),
            max_length_bytes: number("x-max-length-bytes").or(settings.default_max_length_bytes),
            overflow,
        }
    }
}

/// Checks every known argument; unknown ones are kept and never compared (behaviour Q9).
///
/// # Errors
/// 406 with RabbitMQ's text, or 540 for a queue type that does not exist here yet.
pub fn check(vhost: &str, name: &str, arguments: &FieldTable) -> Result<(), Error> {
    let resource = || error::queue(vhost, name);
    let table = arguments.inner();
    for (argument, check, classic) in KNOWN {
        let Some(value) = table.get(*argument) else { continue };
        check(value, arguments).map_err(|why| Error::invalid_argument(argument, &resource(), &why))?;
        if *argument == "x-queue-type" && !is_classic(value) {
            return Err(Error::not_implemented(format!("{} of type {} is not supported yet", resource(), error::plain(value))));
        }
        if !classic {
            return Err(Error::argument_of_other_queue_type(argument, &resource(), "rabbit_classic_queue"));
        }
    }
    Ok(())
}

/// Compares the arguments of a redeclaration with those of the queue (behaviour E7, Q4, gotchas 32 and 33).
///
/// # Errors
/// 406 for the first known argument that differs.
pub fn assert_equivalent(vhost: &str, name: &str, current: &FieldTable, received: &FieldTable) -> Result<(), Error> {
    for (argument, ..) in KNOWN {
        let (current, received) = (current.inner().get(*argument), received.inner().get(*argument));
        let missing_is_classic = |value: Option<&AMQPValue>| value.is_none_or(is_classic);
        if *argument == "x-queue-type" && missing_is_classic(current) && missing_is_classic(received) {
            continue;
        }
        if !equivalent(current, received) {
            return Err(Error::inequivalent_argument(argument, &error::queue(vhost, name), received, current));
        }
    }
    Ok(())
}

/// Whether two values of one argument mean the same: integers by value, all else exactly.
#[must_use]
pub fn equivalent(current: Option<&AMQPValue>, received: Option<&AMQPValue>) -> bool {
    match (current, received) {
        (Some(a), Some(b)) => match (integer(a), integer(b)) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        },
        (None, None) => true,
        _ => false,
    }
}

fn is_classic(value: &AMQPValue) -> bool {
    matches!(value, AMQPValue::LongString(s) if s.as_bytes() == b"classic")
}

fn unacceptable(value: &AMQPValue) -> String {
    format!("{{unacceptable_type,{}}}", type_name(value))
}

fn text(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(s) => Some(s.as_bytes()),
        _ => None,
    }
}

fn any_integer(value: &AMQPValue) -> Result<i64, String> {
    integer(value).ok_or_else(|| format!("\"expected integer, got {}\"", type_name(value)))
}

fn not_negative(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    match any_integer(value)? {
        n if n < 0 => Err(format!("{{value_negative,{n}}}")),
        _ => Ok(()),
    }
}

fn positive(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    match any_integer(value)? {
        0 => Err("{value_zero,0}".to_owned()),
        n if n < 0 => Err(format!("{{value_negative,{n}}}")),
        _ => Ok(()),
    }
}

fn message_ttl(value: &AMQPValue, arguments: &FieldTable) -> Result<(), String> {
    not_negative(value, arguments)?;
    match integer(value) {
        Some(n) if n > MAX_EXPIRY_MS => Err(format!("{{value_too_large,{n}}}")),
        _ => Ok(()),
    }
}

fn expires(value: &AMQPValue, arguments: &FieldTable) -> Result<(), String> {
    match any_integer(value)? {
        0 => Err("{value_zero,0}".to_owned()),
        _ => message_ttl(value, arguments),
    }
}

fn dead_letter_exchange(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    text(value).map(drop).ok_or_else(|| unacceptable(value))
}

fn dead_letter_routing_key(value: &AMQPValue, arguments: &FieldTable) -> Result<(), String> {
    text(value).ok_or_else(|| unacceptable(value))?;
    match arguments.inner().get("x-dead-letter-exchange") {
        Some(_) => Ok(()),
        None => Err("routing_key_but_no_dlx_defined".to_owned()),
    }
}

fn dead_letter_strategy(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    match text(value) {
        Some(b"at-most-once" | b"at-least-once") => Ok(()),
        Some(_) => Err("invalid_dlx_strategy".to_owned()),
        None => Err(unacceptable(value)),
    }
}

fn max_priority(value: &AMQPValue, arguments: &FieldTable) -> Result<(), String> {
    not_negative(value, arguments)?;
    match integer(value) {
        Some(n) if n > 255 => Err(format!("{{max_value_exceeded,{n}}}")),
        _ => Ok(()),
    }
}

fn overflow(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    match text(value) {
        Some(b"drop-head" | b"reject-publish" | b"reject-publish-dlx") => Ok(()),
        Some(_) => Err("invalid_overflow".to_owned()),
        None => Err(unacceptable(value)),
    }
}

fn queue_mode(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    match text(value) {
        Some(b"default" | b"lazy") => Ok(()),
        Some(_) => Err("invalid_queue_mode".to_owned()),
        None => Err(unacceptable(value)),
    }
}

fn queue_version(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    match any_integer(value)? {
        1 | 2 => Ok(()),
        n => Err(format!("\"unsupported version {n}\"")),
    }
}

fn boolean(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    match value {
        AMQPValue::Boolean(_) => Ok(()),
        other => Err(unacceptable(other)),
    }
}

fn queue_type(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    match text(value) {
        Some(b"classic" | b"quorum" | b"stream") => Ok(()),
        Some(other) => Err(format!("\"unsupported queue type '{}'\"", String::from_utf8_lossy(other))),
        None => Err(unacceptable(value)),
    }
}

fn max_age(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    let Some(age) = text(value) else { return Err(unacceptable(value)) };
    let well_formed = age
        .split_last()
        .is_some_and(|(unit, number)| b"YMDhms".contains(unit) && !number.is_empty() && number.iter().all(u8::is_ascii_digit));
    if well_formed { Ok(()) } else { Err("invalid_max_age".to_owned()) }
}

fn leader_locator(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    match text(value) {
        Some(b"client-local" | b"balanced" | b"random" | b"least-leaders") => Ok(()),
        Some(_) => Err("invalid_queue_locator_arg".to_owned()),
        None => Err(unacceptable(value)),
    }
}
