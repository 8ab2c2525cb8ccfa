//! The x-consistent-hash exchange: a ring of points (behaviour X17).
//!
//! Each destination has points on a ring of 64 bits, as many as its weight asks for; a message goes to the owner of the first
//! point at or after its own hash. A new destination takes keys from the others in proportion to its weight and moves no
//! others; one that goes gives up only its own.

use std::collections::BTreeMap;

use super::hash::{hash, spread};
use super::{Binding, Destination, Published};
use crate::amqp::frame::erlang_binary;
use crate::amqp::{AMQPValue, FieldTable};
use crate::broker::error::Error;

/// Points for one of weight: with these, destinations of the same weight get shares that differ by an eighth or so.
const POINTS: u64 = 64;
/// A weight beyond this is refused, for the memory that its points take.
const MAX_WEIGHT: u64 = 10_000;

const HASH_HEADER: &str = "hash-header";
const HASH_PROPERTY: &str = "hash-property";

/// What of a message is hashed.
#[derive(Debug, Default, PartialEq, Eq)]
enum HashOn {
    #[default]
    RoutingKey,
    Header(Box<str>),
    CorrelationId,
    MessageId,
    Timestamp,
}

/// A destination's share of the ring.
#[derive(Debug)]
struct Member {
    /// Where its row of points starts.
    seed: u64,
    points: u64,
}

#[derive(Debug, Default)]
pub(super) struct ConsistentHash {
    on: HashOn,
    members: BTreeMap<Destination, Member>,
    ring: BTreeMap<u64, Destination>,
}

fn text_argument<'a>(arguments: &'a FieldTable, name: &str, resource: &str) -> Result<Option<&'a [u8]>, Error> {
    match arguments.inner().get(name) {
        None => Ok(None),
        Some(AMQPValue::LongString(text)) => Ok(Some(text.as_bytes())),
        // RabbitMQ crashes here, and the connection with it.
        Some(other) => Err(Error::invalid_argument_type(name, resource, other)),
    }
}

/// A binding key as a weight.
fn weight(key: &str) -> Result<u64, String> {
    let unsigned = key.strip_prefix(['+', '-']).unwrap_or(key);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("The binding key must be an integer: {}", erlang_binary(key.as_bytes(), true)));
    }
    let digits = unsigned.trim_start_matches('0');
    if digits.is_empty() || key.starts_with('-') {
        return Err("The binding key must be greater than 0".to_owned());
    }
    match digits.parse() {
        Ok(weight) if weight <= MAX_WEIGHT => Ok(weight),
        _ => Err(format!("The binding key must not exceed {MAX_WEIGHT}")),
    }
}

/// Checks a binding key.
pub(super) fn check_key(key: &str) -> Result<(), String> {
    weight(key).map(drop)
}

impl ConsistentHash {
    pub(super) fn new(arguments: &FieldTable, resource: &str) -> Result<Self, Error> {
        let header = text_argument(arguments, HASH_HEADER, resource)?;
        let property = text_argument(arguments, HASH_PROPERTY, resource)?;
        let on = match (header, property) {
            (None, None) => HashOn::RoutingKey,
            (Some(name), None) => HashOn::Header(String::from_utf8_lossy(name).into()),
            (None, Some(b"correlation_id")) => HashOn::CorrelationId,
            (None, Some(b"message_id")) => HashOn::MessageId,
            (None, Some(b"timestamp")) => HashOn::Timestamp,
            (None, Some(other)) => return Err(Error::precondition(format!("Unsupported property: {}", String::from_utf8_lossy(other)))),
            (Some(_), Some(_)) => return Err(Error::precondition("hash-header and hash-property are mutually exclusive")),
        };
        Ok(Self { on, ..Self::default() })
    }

    /// The first binding of a destination gives it its weight; others of it change nothing, as in RabbitMQ.
    pub(super) fn bind(&mut self, binding: &Binding<'_>) {
        let destination = binding.destination;
        let (false, Ok(weight)) = (self.members.contains_key(&destination), weight(binding.key)) else { return };
        let kind = match destination {
            Destination::Exchange(_) => b'x',
            Destination::Queue(_) => b'q',
        };
        let member = Member { seed: hash(&[&[kind], binding.name.as_bytes()].concat()), points: weight * POINTS };
        for point in member.points() {
            self.ring.entry(point).or_insert(destination);
        }
        self.members.insert(destination, member);
    }

    /// Any binding that goes takes its destination off the ring, whatever other bindings it has, as in RabbitMQ.
    pub(super) fn unbind(&mut self, destination: Destination) {
        let Some(member) = self.members.remove(&destination) else { return };
        for point in member.points() {
            if self.ring.get(&point) == Some(&destination) {
                self.ring.remove(&point);
            }
        }
    }

    pub(super) fn route(&self, published: Published<'_>, found: &mut Vec<Destination>) {
        let point = self.point(published);
        let owner = self.ring.range(point..).next().or_else(|| self.ring.first_key_value());
        found.extend(owner.map(|(_, destination)| *destination));
    }

    /// CC keys do not count. What has no such header or property is all alike.
    fn point(&self, published: Published<'_>) -> u64 {
        let properties = published.message.properties();
        let hashed = match &self.on {
            HashOn::RoutingKey => Some(hash(published.message.routing_key())),
            HashOn::Header(name) => properties.raw_header(name).map(hash),
            HashOn::CorrelationId => properties.correlation_id().map(hash),
            HashOn::MessageId => properties.message_id().map(hash),
            HashOn::Timestamp => properties.timestamp().map(|timestamp| hash(&timestamp.to_be_bytes())),
        };
        hashed.unwrap_or(0)
    }

    pub(super) fn is_by_routing_key(&self) -> bool {
        self.on == HashOn::RoutingKey
    }
}

impl Member {
    fn points(&self) -> impl Iterator<Item = u64> + use<> {
        let seed = self.seed;
        (1..=self.points).map(move |n| spread(seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15))))
    }
}
