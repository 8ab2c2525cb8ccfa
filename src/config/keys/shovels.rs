//! The keys that define shovels: those of RabbitMQ's shovel parameters, behind `shovel.` and a name.

use serde_json::{Map, Value as Json};

use super::super::Config;
use super::super::values::boolean;
use super::{Key, key};

/// One key, with what its value is read as.
macro_rules! shovel {
    ($name:literal, $read:expr, $meaning:expr) => {
        key(concat!("shovel.$name.", $name), $meaning, |c, shovel, v| set(c, shovel, $name, $read(v)), |c| shown(c, $name))
    };
}

pub(super) const SHOVELS: &[Key] = &[
    Key {
        secret: true,
        ..shovel!(
            "src-uri",
            uris,
            "Where a shovel takes messages from: URIs of brokers that stand for each other, with spaces between them."
        )
    },
    shovel!("src-protocol", text, "`amqp091`."),
    shovel!("src-queue", text, "The queue that it consumes from."),
    shovel!("src-exchange", text, "Instead: the exchange that it binds a queue of its own to."),
    shovel!("src-exchange-key", text, "The routing key of that binding."),
    shovel!("src-queue-args", object, "Arguments, in JSON, for a source queue that is not there yet."),
    shovel!("src-consumer-args", object, "Arguments, in JSON, of the consumer."),
    shovel!("src-predeclared", truth, "Whether the source queue has to be there."),
    shovel!("src-prefetch-count", number, "How many messages may be on their way; 1000 where nothing is said."),
    shovel!(
        "src-delete-after",
        after,
        "`never`; `queue-length`: it ends after as many messages as there are at its start; or a number of them."
    ),
    Key { secret: true, ..shovel!("dest-uri", uris, "Where a shovel takes messages to, as `src-uri`.") },
    shovel!("dest-protocol", text, "`amqp091`."),
    shovel!("dest-queue", text, "The queue that it publishes to."),
    shovel!("dest-exchange", text, "Instead: the exchange that it publishes to; that of the message where neither is said."),
    shovel!("dest-exchange-key", text, "The routing key; that of the message where nothing is said."),
    shovel!("dest-queue-args", object, "Arguments, in JSON, for a destination queue that is not there yet."),
    shovel!("dest-predeclared", truth, "Whether the destination queue has to be there."),
    shovel!("dest-add-forward-headers", truth, "Whether messages get a header `x-shovelled`."),
    shovel!("dest-add-timestamp-header", truth, "Whether messages get a header `x-shovelled-timestamp`."),
    shovel!("dest-publish-properties", object, "Properties, in JSON, that messages get in place of their own."),
    shovel!("ack-mode", text, "When the source hears that a message has gone over: `on-confirm`, `on-publish` or `no-ack`."),
    shovel!("reconnect-delay", number, "Seconds between attempts; 0: it is not tried again. 5 where nothing is said."),
];

fn set(config: &mut Config, shovel: &str, key: &str, value: Result<Json, String>) -> Result<(), String> {
    let definition: &mut Map<String, Json> = config.shovels.entry(shovel.to_owned()).or_default();
    definition.insert(key.to_owned(), value?);
    Ok(())
}

fn shown(config: &Config, key: &str) -> Vec<(String, String)> {
    let text = |value: &Json| match value {
        Json::String(text) => text.clone(),
        Json::Array(uris) => uris.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    config.shovels.iter().filter_map(|(shovel, definition)| Some((shovel.clone(), text(definition.get(key)?)))).collect()
}

fn text(value: &str) -> Result<Json, String> {
    Ok(value.into())
}

fn uris(value: &str) -> Result<Json, String> {
    Ok(value.split_whitespace().collect())
}

fn truth(value: &str) -> Result<Json, String> {
    boolean(value).map(Json::Bool)
}

fn number(value: &str) -> Result<Json, String> {
    super::super::values::number::<u64>(value).map(Json::from)
}

fn after(value: &str) -> Result<Json, String> {
    if matches!(value, "never" | "queue-length") { text(value) } else { number(value) }
}

fn object(value: &str) -> Result<Json, String> {
    match serde_json::from_str(value) {
        Ok(Json::Object(object)) => Ok(Json::Object(object)),
        _ => Err(format!("'{value}' is no object in JSON")),
    }
}
