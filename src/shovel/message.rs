//! What a shovel changes of a message on its way.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::Value as Json;

use super::Id;
use super::definition::{Definition, From, To};
use crate::amqp::properties::Properties;
use crate::amqp::table::{self, Value};
use crate::broker::json;
use crate::client::{Delivery, Publication};

const FORWARDED: &[u8] = b"x-shovelled";
const TIMESTAMP: &[u8] = b"x-shovelled-timestamp";
/// Where RabbitMQ keeps headers that were in the way of its own.
const INVALID: &[u8] = b"x-invalid-headers";

/// Makes publications of deliveries.
#[derive(Debug)]
pub(super) struct Forward {
    /// `None`: as the message came.
    exchange: Option<Bytes>,
    routing_key: Option<Bytes>,
    /// The way, as an entry of the header: a table with its type letter.
    way: Option<Vec<u8>>,
    adds_timestamp: bool,
    /// By name, as on the wire.
    properties: Vec<(String, Vec<u8>)>,
}

impl Forward {
    /// `source` and `destination` are URIs without credentials.
    pub(super) fn new(definition: &Definition, id: &Id, by: &str, source: &str, destination: &str) -> Result<Self, String> {
        let bytes = |text: &String| Bytes::copy_from_slice(text.as_bytes());
        let (exchange, routing_key) = match &definition.to {
            To::Queue { name, .. } => (Some(Bytes::new()), Some(bytes(name))),
            To::Exchange { name, key } => (name.as_ref().map(bytes), key.as_ref().map(bytes)),
        };
        let properties = definition.publish_properties.iter().map(|(name, value)| Ok((name.clone(), on_the_wire(name, value)?)));
        Ok(Self {
            exchange,
            routing_key,
            way: definition.adds_forward_headers.then(|| way(definition, id, by, source, destination)),
            adds_timestamp: definition.adds_timestamp_header,
            properties: properties.collect::<Result<_, String>>()?,
        })
    }

    pub(super) fn publication(&self, delivery: Delivery) -> Publication {
        let mut properties = delivery.raw_properties;
        if !self.properties.is_empty() {
            properties = Properties::checked(&properties).with(&self.properties).into();
        }
        if let Some(way) = &self.way {
            let headers = Properties::checked(&properties).headers().unwrap_or_default();
            properties = Properties::checked(&properties).with_headers(&prepended(headers, way)).into();
        }
        if self.adds_timestamp {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
            let headers = Properties::checked(&properties).headers().unwrap_or_default();
            let now = Value::Int(i64::try_from(now).unwrap_or(i64::MAX));
            let headers = table::with_entries(headers, &[(TIMESTAMP, now)]);
            properties = Properties::checked(&properties).with_headers(&headers).into();
        }
        Publication {
            exchange: self.exchange.clone().unwrap_or(delivery.exchange),
            routing_key: self.routing_key.clone().unwrap_or(delivery.routing_key),
            // As in RabbitMQ: what goes to no queue is dropped there.
            mandatory: false,
            properties,
            body: delivery.body,
        }
    }
}

/// The entry of the header that says which way a message went, in RabbitMQ's words.
fn way(definition: &Definition, id: &Id, by: &str, source: &str, destination: &str) -> Vec<u8> {
    let mut entries =
        vec![("shovelled-by", by), ("shovel-type", if id.vhost.is_some() { "dynamic" } else { "static" }), ("shovel-name", &*id.name)];
    entries.extend(id.vhost.as_deref().map(|vhost| ("shovel-vhost", vhost)));
    entries.extend([("src-uri", source), ("dest-uri", destination)]);
    // Those of the configuration say no more.
    if id.vhost.is_some() {
        match &definition.from {
            From::Queue { name, .. } => entries.push(("src-queue", name)),
            From::Exchange { name, key } => entries.extend([("src-exchange", &**name), ("src-exchange-key", &**key)]),
        }
        match &definition.to {
            To::Queue { name, .. } => entries.push(("dest-queue", name)),
            To::Exchange { name, key } => {
                entries.extend(name.as_deref().map(|name| ("dest-exchange", name)));
                entries.extend(key.as_deref().map(|key| ("dest-exchange-key", key)));
            }
        }
    }
    let mut written = Vec::new();
    for (name, value) in entries {
        table::put(&mut written, name.as_bytes(), Value::String(value.as_bytes()));
    }
    let mut way = Vec::new();
    table::put_value(&mut way, Value::Table(&written));
    way
}

/// Headers with this entry before those that other shovels have left. What is in its place and is no list is put aside.
fn prepended(headers: &[u8], way: &[u8]) -> Vec<u8> {
    let value = |name: &[u8]| table::entries(headers).find(|(key, _)| *key == name).map(|(_, value)| value);
    let mut ways = way.to_vec();
    let mut aside = Vec::new();
    match value(FORWARDED) {
        None => {}
        Some(Value::Array(before)) => ways.extend_from_slice(before),
        Some(other) => {
            table::put_value(&mut aside, other);
            let invalid = if let Some(Value::Table(invalid)) = value(INVALID) { invalid } else { &[] };
            if let Some((_, Value::Array(before))) = table::entries(invalid).find(|(key, _)| *key == FORWARDED) {
                aside.extend_from_slice(before);
            }
            let invalid = table::with_entries(invalid, &[(FORWARDED, Value::Array(&aside))]);
            return table::with_entries(headers, &[(INVALID, Value::Table(&invalid)), (FORWARDED, Value::Array(&ways))]);
        }
    }
    table::with_entries(headers, &[(FORWARDED, Value::Array(&ways))])
}

/// A property's value as it is written.
fn on_the_wire(name: &str, value: &Json) -> Result<Vec<u8>, String> {
    let wrong = || format!("dest-publish-properties: {name} cannot be {value}");
    Ok(match (name, value) {
        ("headers", Json::Object(entries)) => table::encode(&json::to_table(entries)?),
        ("delivery_mode" | "priority", number) => vec![number.as_u64().and_then(|n| u8::try_from(n).ok()).ok_or_else(wrong)?],
        ("timestamp", number) => number.as_u64().ok_or_else(wrong)?.to_be_bytes().to_vec(),
        (_, Json::String(text)) => {
            let mut written = vec![u8::try_from(text.len()).map_err(|_| wrong())?];
            written.extend_from_slice(text.as_bytes());
            written
        }
        _ => return Err(wrong()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::amqp::AMQPValue;
    use crate::amqp::basic::AMQPProperties;
    use crate::amqp::properties;

    fn forwarded(definition: &Json, before: &AMQPProperties) -> Publication {
        let mut whole = json!({"src-uri": "amqp://", "dest-uri": "amqp://", "src-queue": "q"});
        for (key, value) in definition.as_object().expect("an object") {
            whole[key] = value.clone();
        }
        let definition = Definition::read(&whole).expect("a definition");
        let id = Id { vhost: Some("v".into()), name: "s".into() };
        let forward = Forward::new(&definition, &id, "me", "amqp://a", "amqp://b").expect("what it does");
        forward.publication(Delivery {
            delivery_tag: 1,
            redelivered: false,
            exchange: "x".into(),
            routing_key: "k".into(),
            raw_properties: properties::encode(before).into(),
            body: "body".into(),
            message_count: None,
            consumer_tag: Bytes::new(),
        })
    }

    fn to(publication: &Publication) -> (&[u8], &[u8]) {
        (&publication.exchange, &publication.routing_key)
    }

    #[test]
    fn messages_go_where_the_definition_says() {
        let none = AMQPProperties::default();
        assert_eq!(to(&forwarded(&json!({}), &none)), (&b"x"[..], &b"k"[..]));
        assert_eq!(to(&forwarded(&json!({"dest-queue": "r"}), &none)), (&b""[..], &b"r"[..]));
        assert_eq!(to(&forwarded(&json!({"dest-exchange": "y"}), &none)), (&b"y"[..], &b"k"[..]));
        assert_eq!(to(&forwarded(&json!({"dest-exchange": "y", "dest-exchange-key": ""}), &none)), (&b"y"[..], &b""[..]));
    }

    #[test]
    fn properties_are_replaced_and_the_rest_stays() {
        let before = AMQPProperties::default().with_content_type("a".into()).with_priority(3).with_message_id("m".into());
        let set = json!({"dest-publish-properties": {"content_type": "b", "delivery_mode": 2, "timestamp": 5, "headers": {"h": "1"}}});
        let after = properties::decode(&forwarded(&set, &before).properties).expect("properties");
        let mut headers = crate::amqp::FieldTable::default();
        headers.insert("h".into(), AMQPValue::LongString("1".into()));
        let expected = before.with_content_type("b".into()).with_delivery_mode(2).with_timestamp(5).with_headers(headers);
        assert_eq!(after, expected);
        let unchanged = AMQPProperties::default().with_app_id("a".into());
        assert_eq!(forwarded(&json!({}), &unchanged).properties, properties::encode(&unchanged));
    }

    fn ways(raw: &[u8]) -> Vec<Vec<(String, String)>> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let Some(Value::Array(ways)) = Properties::checked(raw).header("x-shovelled") else { return Vec::new() };
        let entry = |(key, value): (&[u8], Value<'_>)| match value {
            Value::String(value) => (text(key), text(value)),
            other => panic!("{other:?}"),
        };
        table::values(ways)
            .map(|way| match way {
                Value::Table(way) => table::entries(way).map(entry).collect(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn the_way_is_written_down_last_one_first() {
        let set = json!({"dest-add-forward-headers": true, "dest-add-timestamp-header": true, "dest-queue": "r"});
        let once = forwarded(&set, &AMQPProperties::default());
        let way: Vec<(String, String)> = [
            ("shovelled-by", "me"),
            ("shovel-type", "dynamic"),
            ("shovel-name", "s"),
            ("shovel-vhost", "v"),
            ("src-uri", "amqp://a"),
            ("dest-uri", "amqp://b"),
            ("src-queue", "q"),
            ("dest-queue", "r"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        assert_eq!(ways(&once.properties), std::slice::from_ref(&way));
        assert!(matches!(Properties::checked(&once.properties).header("x-shovelled-timestamp"), Some(Value::Int(1_700_000_000..))));
        let again = forwarded(&set, &properties::decode(&once.properties).expect("properties"));
        assert_eq!(ways(&again.properties).len(), 2);
        assert_eq!(ways(&again.properties)[0], way);
    }

    #[test]
    fn what_is_in_the_way_of_the_header_is_put_aside() {
        let mut headers = crate::amqp::FieldTable::default();
        headers.insert("x-shovelled".into(), AMQPValue::LongString("odd".into()));
        let after = forwarded(&json!({"dest-add-forward-headers": true}), &AMQPProperties::default().with_headers(headers));
        assert_eq!(ways(&after.properties).len(), 1);
        let Some(Value::Table(invalid)) = Properties::checked(&after.properties).header("x-invalid-headers") else { panic!("nothing") };
        let Some((name, Value::Array(values))) = table::entries(invalid).next() else { panic!("nothing") };
        assert_eq!(name, b"x-shovelled");
        assert_eq!(table::values(values).collect::<Vec<_>>(), [Value::String(b"odd")]);
    }
}
