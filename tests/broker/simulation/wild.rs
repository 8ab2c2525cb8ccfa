//! Arguments, properties and policies of any kind, good and bad, for those whom no model follows.

use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::types::{AMQPValue, FieldArray, FieldTable};
use leveret::broker::policy::Policy;
use leveret::broker::{Pattern, Rights, TopicRights};
use serde_json::{Map, Value as Json, json};

use super::random::Random;

/// Their queues and exchanges, where dead letters may go.
const QUEUES: [&str; 5] = ["noiseq0", "noiseq1", "noiseq2", "noiseq3", "noise-nowhere"];
const EXCHANGES: [&str; 5] = ["", "noisee0", "noisee1", "noisee2", "noise-nowhere"];

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn number(random: &mut Random, below: usize) -> AMQPValue {
    let odd = random.below(40) == 0;
    AMQPValue::LongLongInt(if odd { -1 } else { i64::try_from(random.below(below)).expect("a small number") })
}

pub(super) fn queue_arguments(seed: u64, table: &mut FieldTable) {
    let mut random = Random::new(seed);
    let kind = random.pick(&["classic", "quorum", "stream"]);
    table.insert("x-queue-type".into(), text(kind));
    let suits: &[&str] = match kind {
        "classic" => &[
            "x-message-ttl",
            "x-expires",
            "x-max-length",
            "x-max-priority",
            "x-single-active-consumer",
            "x-overflow",
            "x-dead-letter-exchange",
        ],
        "quorum" => &[
            "x-message-ttl",
            "x-expires",
            "x-max-length",
            "x-delivery-limit",
            "x-consumer-timeout",
            "x-single-active-consumer",
            "x-overflow",
            "x-dead-letter-exchange",
            "x-dead-letter-strategy",
        ],
        _ => &["x-max-length-bytes", "x-max-age", "x-stream-max-segment-size-bytes"],
    };
    for name in suits {
        if random.percent(50) {
            continue;
        }
        let value = match *name {
            "x-single-active-consumer" => AMQPValue::Boolean(random.percent(80)),
            "x-overflow" => text(random.pick(&["drop-head", "reject-publish", "reject-publish-dlx"])),
            "x-dead-letter-exchange" => text(random.pick(&EXCHANGES)),
            "x-dead-letter-strategy" => text(random.pick(&["at-most-once", "at-least-once"])),
            "x-max-age" => text(random.pick(&["1s", "2m", "1D"])),
            "x-max-length" | "x-max-priority" | "x-delivery-limit" => number(&mut random, 5),
            _ => number(&mut random, 3000),
        };
        table.insert((*name).into(), value);
    }
    if table.inner().contains_key("x-dead-letter-exchange") && random.percent(70) {
        table.insert("x-dead-letter-routing-key".into(), text(random.pick(&QUEUES)));
    }
}

pub(super) fn properties(seed: u64) -> AMQPProperties {
    let mut random = Random::new(seed);
    let mut properties = AMQPProperties::default();
    if random.percent(40) {
        let expiration = if random.below(30) == 0 { "soon".to_owned() } else { random.below(1000).to_string() };
        properties = properties.with_expiration(expiration.into());
    }
    if random.percent(40) {
        properties = properties.with_priority(u8::try_from(random.below(256)).expect("a byte"));
    }
    let mut headers = FieldTable::default();
    if random.percent(30) {
        headers.insert("x-delay".into(), number(&mut random, 2000));
    }
    if random.percent(30) {
        headers.insert("x-stream-filter-value".into(), text(random.pick(&["a", "b"])));
    }
    for name in ["CC", "BCC", "x-death"] {
        if random.percent(15) {
            let keys: Vec<AMQPValue> = (0..random.below(3)).map(|_| text(random.pick(&QUEUES))).collect();
            headers.insert(name.into(), AMQPValue::FieldArray(FieldArray::from(keys)));
        }
    }
    properties.with_headers(headers)
}

pub(super) fn consumer_arguments(seed: u64, table: &mut FieldTable) {
    let mut random = Random::new(seed);
    if random.percent(50) {
        let offset = match random.below(4) {
            0 => number(&mut random, 50),
            1 => AMQPValue::Timestamp(random.next() % 2_000_000_000),
            _ => text(random.pick(&["first", "last", "next", "1m", "never"])),
        };
        table.insert("x-stream-offset".into(), offset);
    }
    if random.percent(30) {
        table.insert("x-stream-filter".into(), text(random.pick(&["a", "b", "c"])));
        table.insert("x-stream-match-unfiltered".into(), AMQPValue::Boolean(random.percent(50)));
    }
}

/// A policy over everything whose name begins so, or `None`.
pub(super) fn policy(seed: u64, operator: bool, prefix: &str) -> Option<Policy> {
    let mut random = Random::new(seed);
    let mut definition: Map<String, Json> = Map::new();
    for key in ["message-ttl", "expires", "max-length", "max-length-bytes", "delivery-limit"] {
        if random.percent(40) {
            definition.insert(key.to_owned(), json!(1 + random.below(if key.starts_with("max") { 20 } else { 2000 })));
        }
    }
    if random.percent(30) {
        definition.insert("overflow".to_owned(), json!(random.pick(&["drop-head", "reject-publish", "reject-publish-dlx"])));
    }
    if !operator && random.percent(40) {
        definition.insert("dead-letter-exchange".to_owned(), json!(random.pick(&EXCHANGES)));
        definition.insert("alternate-exchange".to_owned(), json!(random.pick(&EXCHANGES[1..])));
        definition.insert("consumer-timeout".to_owned(), json!(1 + random.below(2000)));
        definition.insert("max-age".to_owned(), json!("1s"));
    }
    let value = json!({ "pattern": format!("^{prefix}"), "definition": definition });
    Policy::from_json(operator, prefix, &value).ok()
}

/// Rights that leave out some of what has to do with names that begin so.
pub(super) fn rights(seed: u64, prefix: &str) -> Rights {
    let mut random = Random::new(seed);
    let (theirs, some) = (format!("^({prefix}|amq\\.)"), format!("^(?!{prefix}.*[02468]$)"));
    let sources = [".*", ".*", theirs.as_str(), some.as_str(), ""];
    let mut pattern = || Pattern::new(random.pick(&sources)).expect("a regular expression");
    let topic = TopicRights { exchange: "amq.topic".into(), write: pattern(), read: pattern() };
    Rights { configure: pattern(), write: pattern(), read: pattern(), topics: vec![topic], ..Rights::all() }
}
