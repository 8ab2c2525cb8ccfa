//! What a shovel's definition says, once it has passed `node::shovel`: keys as RabbitMQ's, the older ones too.

use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::amqp::FieldTable;
use crate::broker::json;
use crate::client::uri::Uri;

/// Deliveries that may wait for their settlement unless the definition says how many.
const PREFETCH: u16 = 1000;
/// Seconds between attempts unless the definition says how many.
const RECONNECT_DELAY_S: u64 = 5;

/// When a delivery is acknowledged to the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckMode {
    OnConfirm,
    OnPublish,
    NoAck,
}

/// After how many messages a shovel has done its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeleteAfter {
    Never,
    /// As many as the queue has at the start.
    QueueLength,
    Messages(u64),
}

/// Where messages come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum From {
    Queue {
        name: String,
        arguments: FieldTable,
    },
    /// A queue of the shovel's own is bound to it.
    Exchange {
        name: String,
        key: String,
    },
}

/// Where they go.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum To {
    Queue {
        name: String,
        arguments: FieldTable,
    },
    /// `None`: as the message came.
    Exchange {
        name: Option<String>,
        key: Option<String>,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) source_uris: Vec<Uri>,
    pub(super) destination_uris: Vec<Uri>,
    pub(super) from: From,
    pub(super) to: To,
    /// Queues are there already, or nothing works.
    pub(super) source_predeclared: bool,
    pub(super) destination_predeclared: bool,
    pub(super) consumer_arguments: FieldTable,
    /// 0 is no limit.
    pub(super) prefetch: u16,
    pub(super) delete_after: DeleteAfter,
    pub(super) ack_mode: AckMode,
    /// `None`: one attempt only.
    pub(super) reconnect_delay: Option<Duration>,
    pub(super) adds_forward_headers: bool,
    pub(super) adds_timestamp_header: bool,
    pub(super) publish_properties: Map<String, Json>,
}

/// Reads a definition's values.
struct Reader<'a>(&'a Json);

impl Reader<'_> {
    /// Under the first of these names that is there.
    fn get(&self, names: &[&str]) -> Option<&Json> {
        names.iter().find_map(|name| self.0.get(name))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.as_str().map(ToOwned::to_owned)
    }

    fn is_true(&self, names: &[&str]) -> bool {
        self.get(names).and_then(Json::as_bool).unwrap_or(false)
    }

    fn table(&self, name: &str) -> Result<FieldTable, String> {
        let entries = self.0.get(name).and_then(Json::as_object);
        entries.map_or(Ok(FieldTable::default()), |entries| json::to_table(entries).map_err(|why| format!("{name}: {why}")))
    }

    fn uris(&self, name: &str) -> Result<Vec<Uri>, String> {
        let found = uris(self.0, name).map(|uri| Uri::from_str(uri).map_err(|why| format!("{name}: {why}")));
        let found: Vec<Uri> = found.collect::<Result<_, _>>()?;
        if found.is_empty() { Err(format!("{name}: there is no URI")) } else { Ok(found) }
    }
}

/// The URIs under a name: one, or a list.
fn uris<'a>(definition: &'a Json, name: &str) -> impl Iterator<Item = &'a str> {
    let value = definition.get(name);
    let many = value.and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
    value.and_then(Json::as_str).into_iter().chain(many)
}

impl Definition {
    /// # Errors
    /// What cannot be made sense of, in words without passwords.
    pub(super) fn read(definition: &Json) -> Result<Self, String> {
        let reader = Reader(definition);
        let from = match (reader.text("src-queue"), reader.text("src-exchange")) {
            (Some(name), _) => From::Queue { name, arguments: reader.table("src-queue-args")? },
            (None, Some(name)) => From::Exchange { name, key: reader.text("src-exchange-key").unwrap_or_default() },
            (None, None) => return Err("there is neither src-queue nor src-exchange".to_owned()),
        };
        let to = match reader.text("dest-queue") {
            Some(name) => To::Queue { name, arguments: reader.table("dest-queue-args")? },
            None => To::Exchange { name: reader.text("dest-exchange"), key: reader.text("dest-exchange-key") },
        };
        let prefetch = reader.get(&["src-prefetch-count", "prefetch-count"]).and_then(Json::as_u64);
        let delete_after = reader.get(&["src-delete-after", "delete-after"]);
        let properties = reader.get(&["dest-publish-properties", "publish-properties"]).and_then(Json::as_object);
        Ok(Self {
            source_uris: reader.uris("src-uri")?,
            destination_uris: reader.uris("dest-uri")?,
            from,
            to,
            source_predeclared: reader.is_true(&["src-predeclared"]),
            destination_predeclared: reader.is_true(&["dest-predeclared"]),
            consumer_arguments: reader.table("src-consumer-args")?,
            prefetch: prefetch.map_or(PREFETCH, |count| u16::try_from(count).unwrap_or(u16::MAX)),
            delete_after: match delete_after {
                Some(Json::String(text)) if text == "queue-length" => DeleteAfter::QueueLength,
                Some(Json::Number(number)) => number.as_u64().map_or(DeleteAfter::Never, DeleteAfter::Messages),
                _ => DeleteAfter::Never,
            },
            ack_mode: match definition.get("ack-mode").and_then(Json::as_str) {
                Some("no-ack") => AckMode::NoAck,
                Some("on-publish") => AckMode::OnPublish,
                _ => AckMode::OnConfirm,
            },
            reconnect_delay: match definition.get("reconnect-delay") {
                None => Some(Duration::from_secs(RECONNECT_DELAY_S)),
                // RabbitMQ: whatever is no positive integer means that nothing is tried again.
                Some(delay) => delay.as_u64().filter(|seconds| *seconds > 0).map(Duration::from_secs),
            },
            adds_forward_headers: reader.is_true(&["dest-add-forward-headers", "add-forward-headers"]),
            adds_timestamp_header: reader.is_true(&["dest-add-timestamp-header", "add-timestamp-header"]),
            publish_properties: properties.cloned().unwrap_or_default(),
        })
    }
}

/// Whether a user may define this: its URIs are ones that can be used, and those of the node itself name virtual hosts that are
/// open to the user, because nobody logs in there.
///
/// # Errors
/// RabbitMQ's texts, a line each.
pub fn check(definition: &Json, user: &str, may_open: impl Fn(&str) -> bool) -> Result<(), String> {
    let mut refusals = Vec::new();
    for text in ["src-uri", "dest-uri"].into_iter().flat_map(|name| uris(definition, name)) {
        match Uri::from_str(text) {
            Err(why) => refusals.push(format!("\"{text}\" not a valid URI: {why}")),
            Ok(uri) if uri.host.is_none() && !may_open(&uri.vhost) => {
                refusals.push(format!("user \"{user}\" may not connect to vhost \"{}\"", uri.vhost));
            }
            Ok(_) => {}
        }
    }
    if refusals.is_empty() {
        refusals.extend(Definition::read(definition).err());
    }
    if refusals.is_empty() { Ok(()) } else { Err(format!("Validation failed\n\n{}\n", refusals.join("\n"))) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Json) -> Definition {
        Definition::read(value).expect("a definition")
    }

    #[test]
    fn what_is_not_said_is_as_in_rabbitmq() {
        let plain = read(&json!({"src-uri": "amqp://", "dest-uri": ["amqp://a", "amqp://b"], "src-queue": "q"}));
        assert_eq!((plain.prefetch, plain.ack_mode, plain.delete_after), (1000, AckMode::OnConfirm, DeleteAfter::Never));
        assert_eq!(plain.reconnect_delay, Some(Duration::from_secs(5)));
        assert_eq!(plain.to, To::Exchange { name: None, key: None });
        assert_eq!(plain.destination_uris.len(), 2);
        assert!(!plain.adds_forward_headers && !plain.adds_timestamp_header && !plain.source_predeclared);
    }

    #[test]
    fn older_keys_count_where_the_newer_are_not_there() {
        let old = json!({
            "src-uri": "amqp://", "dest-uri": "amqp://", "src-exchange": "x", "prefetch-count": 7, "delete-after": 9,
            "add-forward-headers": true, "reconnect-delay": 0,
        });
        let shovel = read(&old);
        assert_eq!((shovel.prefetch, shovel.delete_after, shovel.reconnect_delay), (7, DeleteAfter::Messages(9), None));
        assert_eq!(shovel.from, From::Exchange { name: "x".into(), key: String::new() });
        assert!(shovel.adds_forward_headers);
        let mut new = old;
        new["src-prefetch-count"] = json!(8);
        new["src-delete-after"] = json!("queue-length");
        new["dest-add-forward-headers"] = json!(false);
        let shovel = read(&new);
        assert_eq!((shovel.prefetch, shovel.delete_after, shovel.adds_forward_headers), (8, DeleteAfter::QueueLength, false));
    }

    #[test]
    fn who_may_not_open_a_virtual_host_cannot_shovel_there() {
        let local = json!({"src-uri": "amqp:///v", "dest-uri": "amqp://h", "src-queue": "q"});
        assert_eq!(check(&local, "u", |vhost| vhost == "v"), Ok(()));
        let refused = "Validation failed\n\nuser \"u\" may not connect to vhost \"v\"\n";
        assert_eq!(check(&local, "u", |_| false), Err(refused.to_owned()));
        let remote = json!({"src-uri": "amqp://h/v", "dest-uri": "amqp://h", "src-queue": "q"});
        assert_eq!(check(&remote, "u", |_| false), Ok(()));
        let none = json!({"src-uri": [], "dest-uri": "amqp://h", "src-queue": "q"});
        assert_eq!(check(&none, "u", |_| true), Err("Validation failed\n\nsrc-uri: there is no URI\n".to_owned()));
    }
}
