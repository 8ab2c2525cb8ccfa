//! The arguments of queue.declare: one table with their checks, in RabbitMQ's order (behaviour Q10, Q11).

use crate::amqp::{AMQPValue, FieldTable};
use crate::broker::error::{self, Error, integer, type_name};
use crate::broker::settings::Profile;

use super::{QueueType, effective};

/// Ten years in milliseconds, the longest time to live and expiry.
const MAX_EXPIRY_MS: i64 = 315_360_000_000;

type Check = fn(&AMQPValue, &FieldTable, &Profile) -> Result<(), String>;

/// A known argument, its check, and which types of queue have it.
struct Known {
    name: &'static str,
    check: Check,
    of: &'static [QueueType],
}

const fn known(name: &'static str, check: Check, of: &'static [QueueType]) -> Known {
    Known { name, check, of }
}

const ALL: &[QueueType] = &[QueueType::Classic, QueueType::Quorum, QueueType::Stream];
const CLASSIC: &[QueueType] = &[QueueType::Classic];
const QUORUM: &[QueueType] = &[QueueType::Quorum];
const STREAM: &[QueueType] = &[QueueType::Stream];
const BOTH: &[QueueType] = &[QueueType::Classic, QueueType::Quorum];

const KNOWN: &[Known] = &[
    known("x-expires", expires, BOTH),
    known("x-message-ttl", message_ttl, BOTH),
    known("x-dead-letter-exchange", dead_letter_exchange, BOTH),
    known("x-dead-letter-routing-key", dead_letter_routing_key, BOTH),
    known("x-dead-letter-strategy", dead_letter_strategy, QUORUM),
    known("x-max-length", not_negative, BOTH),
    known("x-max-length-bytes", not_negative, ALL),
    known("x-max-in-memory-length", not_negative, QUORUM),
    known("x-max-in-memory-bytes", not_negative, QUORUM),
    known("x-max-priority", max_priority, CLASSIC),
    known("x-overflow", overflow, BOTH),
    known("x-queue-mode", queue_mode, CLASSIC),
    known("x-queue-version", queue_version, CLASSIC),
    known("x-single-active-consumer", boolean, BOTH),
    known("x-queue-type", queue_type, ALL),
    known("x-quorum-initial-group-size", positive, QUORUM),
    known("x-max-age", max_age, STREAM),
    known("x-stream-max-segment-size-bytes", not_negative, STREAM),
    known("x-stream-filter-size-bytes", not_negative, STREAM),
    known("x-initial-cluster-size", positive, STREAM),
    known("x-queue-leader-locator", leader_locator, ALL),
    known("x-queue-master-locator", master_locator, CLASSIC),
    known("x-delivery-limit", delivery_limit, QUORUM),
    known("x-consumer-timeout", not_negative, QUORUM),
];

/// The type that x-queue-type names; classic without it, and where it is wrong.
#[must_use]
pub fn queue_type_of(arguments: &FieldTable) -> QueueType {
    let named = arguments.inner().get("x-queue-type").and_then(text);
    named.and_then(QueueType::named).unwrap_or_default()
}

/// x-max-priority of arguments that were checked.
#[must_use]
pub fn max_priority_of(arguments: &FieldTable) -> u8 {
    let value = arguments.inner().get("x-max-priority").and_then(integer);
    value.and_then(|n| u8::try_from(n).ok()).unwrap_or(0)
}

/// x-single-active-consumer.
#[must_use]
pub fn is_single_active(arguments: &FieldTable) -> bool {
    matches!(arguments.inner().get("x-single-active-consumer"), Some(AMQPValue::Boolean(true)))
}

/// Checks every known argument; unknown ones are kept and never compared (behaviour Q9).
///
/// # Errors
/// 406 with RabbitMQ's text.
pub fn check(vhost: &str, name: &str, arguments: &FieldTable, profile: &Profile) -> Result<(), Error> {
    let resource = || error::queue(vhost, name);
    let table = arguments.inner();
    let kind = queue_type_of(arguments);
    let present = |known: &'static Known| Some((known, table.get(known.name)?));
    let (own, foreign): (Vec<_>, Vec<_>) = KNOWN.iter().filter_map(present).partition(|(known, _)| known.of.contains(&kind));
    for (known, value) in own {
        (known.check)(value, arguments, profile).map_err(|why| Error::invalid_argument(known.name, &resource(), &why))?;
    }
    if let Some((known, _)) = foreign.first() {
        return Err(Error::argument_of_other_queue_type(known.name, &resource(), kind.module()));
    }
    check_sizes(arguments)
}

/// The largest x-stream-max-segment-size-bytes.
const MAX_SEGMENT_SIZE: i64 = 3_000_000_000;

/// Behaviour Q23: these have texts of their own.
fn check_sizes(arguments: &FieldTable) -> Result<(), Error> {
    let size = |name: &str| arguments.inner().get(name).and_then(integer);
    if size("x-stream-max-segment-size-bytes").is_some_and(|size| size > MAX_SEGMENT_SIZE) {
        return Err(Error::precondition("Exceeded max value for x-stream-max-segment-size-bytes"));
    }
    if size("x-stream-filter-size-bytes").is_some_and(|size| !(16..=255).contains(&size)) {
        return Err(Error::precondition("Invalid value for  x-stream-filter-size-bytes"));
    }
    Ok(())
}

/// The arguments of basic.consume that only some types of queue have.
const OF_CONSUMERS: [(&str, &[QueueType]); 5] = [
    ("x-cancel-on-ha-failover", CLASSIC),
    ("x-priority", BOTH),
    ("x-stream-filter", STREAM),
    ("x-stream-match-unfiltered", STREAM),
    ("x-stream-offset", STREAM),
];

/// Whether a consumer's arguments suit the type of its queue (behaviour Q20, Q22).
///
/// # Errors
/// 406 for one of another type.
pub fn check_consumer(kind: QueueType, vhost: &str, name: &str, arguments: &FieldTable) -> Result<(), Error> {
    let foreign = OF_CONSUMERS.iter().find(|(name, of)| !of.contains(&kind) && arguments.inner().contains_key(*name));
    match foreign {
        Some((argument, _)) => Err(Error::argument_of_other_queue_type(argument, &error::queue(vhost, name), kind.module())),
        None => Ok(()),
    }
}

/// Compares the arguments of a redeclaration with those of the queue (behaviour E7, Q4, gotchas 32 and 33).
///
/// # Errors
/// 406 for the first known argument that differs.
pub fn assert_equivalent(vhost: &str, name: &str, current: &FieldTable, received: &FieldTable) -> Result<(), Error> {
    let kind = queue_type_of(current);
    for Known { name: argument, .. } in KNOWN.iter().filter(|known| known.of.contains(&kind)) {
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

fn not_negative(value: &AMQPValue, _: &FieldTable, _: &Profile) -> Result<(), String> {
    match any_integer(value)? {
        n if n < 0 => Err(format!("{{value_negative,{n}}}")),
        _ => Ok(()),
    }
}

fn positive(value: &AMQPValue, _: &FieldTable, _: &Profile) -> Result<(), String> {
    match any_integer(value)? {
        0 => Err("{value_zero,0}".to_owned()),
        n if n < 0 => Err(format!("{{value_negative,{n}}}")),
        _ => Ok(()),
    }
}

fn message_ttl(value: &AMQPValue, arguments: &FieldTable, profile: &Profile) -> Result<(), String> {
    not_negative(value, arguments, profile)?;
    match integer(value) {
        Some(n) if n > MAX_EXPIRY_MS => Err(format!("{{value_too_large,{n}}}")),
        _ => Ok(()),
    }
}

fn expires(value: &AMQPValue, arguments: &FieldTable, profile: &Profile) -> Result<(), String> {
    match any_integer(value)? {
        0 => Err("{value_zero,0}".to_owned()),
        _ => message_ttl(value, arguments, profile),
    }
}

fn dead_letter_exchange(value: &AMQPValue, _: &FieldTable, _: &Profile) -> Result<(), String> {
    text(value).map(drop).ok_or_else(|| unacceptable(value))
}

fn dead_letter_routing_key(value: &AMQPValue, arguments: &FieldTable, _: &Profile) -> Result<(), String> {
    text(value).ok_or_else(|| unacceptable(value))?;
    match arguments.inner().get("x-dead-letter-exchange") {
        Some(_) => Ok(()),
        None => Err("routing_key_but_no_dlx_defined".to_owned()),
    }
}

fn dead_letter_strategy(value: &AMQPValue, _: &FieldTable, _: &Profile) -> Result<(), String> {
    match text(value) {
        Some(b"at-most-once" | b"at-least-once") => Ok(()),
        Some(_) => Err("invalid_dlx_strategy".to_owned()),
        None => Err(unacceptable(value)),
    }
}

fn max_priority(value: &AMQPValue, arguments: &FieldTable, profile: &Profile) -> Result<(), String> {
    not_negative(value, arguments, profile)?;
    match integer(value) {
        Some(n) if n > 255 => Err(format!("{{max_value_exceeded,{n}}}")),
        _ => Ok(()),
    }
}

fn overflow(value: &AMQPValue, _: &FieldTable, _: &Profile) -> Result<(), String> {
    match text(value) {
        Some(b"drop-head" | b"reject-publish" | b"reject-publish-dlx") => Ok(()),
        Some(_) => Err("invalid_overflow".to_owned()),
        None => Err(unacceptable(value)),
    }
}

fn queue_mode(value: &AMQPValue, _: &FieldTable, _: &Profile) -> Result<(), String> {
    match text(value) {
        Some(b"default" | b"lazy") => Ok(()),
        Some(_) => Err("invalid_queue_mode".to_owned()),
        None => Err(unacceptable(value)),
    }
}

fn queue_version(value: &AMQPValue, _: &FieldTable, profile: &Profile) -> Result<(), String> {
    match any_integer(value)? {
        1 if profile.queue_version_1_refused => Err("\"unsupported queue version '1'\"".to_owned()),
        1 | 2 => Ok(()),
        n => Err(format!("\"unsupported version {n}\"")),
    }
}

fn boolean(value: &AMQPValue, _: &FieldTable, _: &Profile) -> Result<(), String> {
    match value {
        AMQPValue::Boolean(_) => Ok(()),
        other => Err(unacceptable(other)),
    }
}

fn queue_type(value: &AMQPValue, _: &FieldTable, _: &Profile) -> Result<(), String> {
    match text(value) {
        Some(b"classic" | b"quorum" | b"stream") => Ok(()),
        Some(other) => Err(format!("\"unsupported queue type '{}'\"", String::from_utf8_lossy(other))),
        None => Err(unacceptable(value)),
    }
}

fn max_age(value: &AMQPValue, _: &FieldTable, _: &Profile) -> Result<(), String> {
    let Some(age) = text(value) else { return Err(unacceptable(value)) };
    effective::parse_max_age(age).map(drop).ok_or_else(|| "invalid_max_age".to_owned())
}

/// RabbitMQ 4.x takes -1 for no limit (behaviour Q21).
fn delivery_limit(value: &AMQPValue, arguments: &FieldTable, profile: &Profile) -> Result<(), String> {
    if profile.delivery_limit.is_none() {
        return not_negative(value, arguments, profile);
    }
    any_integer(value).map(drop)
}

fn master_locator(value: &AMQPValue, _: &FieldTable, _: &Profile) -> Result<(), String> {
    match text(value) {
        Some(b"min-masters" | b"client-local" | b"random") => Ok(()),
        Some(_) => Err("invalid_queue_master_locator".to_owned()),
        None => Err(unacceptable(value)),
    }
}

fn leader_locator(value: &AMQPValue, _: &FieldTable, _: &Profile) -> Result<(), String> {
    match text(value) {
        Some(b"client-local" | b"balanced" | b"random" | b"least-leaders") => Ok(()),
        Some(_) => Err("invalid_queue_locator_arg".to_owned()),
        None => Err(unacceptable(value)),
    }
}
