//! What a shovel's parameter may say (rabbit_shovel_parameters of RabbitMQ), with RabbitMQ's refusals.

use serde_json::Value as Json;

use super::parameters::{Key, Need, binary, boolean, check_keys, list, number, one_of};
use crate::broker::terms;

const KEYS: [Key; 29] = [
    ("internal", boolean, Need::Optional),
    ("internal_owner", object, Need::Optional),
    ("reconnect-delay", number, Need::Optional),
    ("ack-mode", ack_mode, Need::Optional),
    ("src-protocol", protocol, Need::Optional),
    ("dest-protocol", protocol, Need::Optional),
    ("src-uri", uris, Need::Mandatory),
    ("src-exchange", binary, Need::Optional),
    ("src-exchange-key", binary, Need::Optional),
    ("src-queue", binary, Need::Optional),
    ("src-queue-args", object, Need::Optional),
    ("src-consumer-args", object, Need::Optional),
    ("prefetch-count", number, Need::Optional),
    ("src-prefetch-count", number, Need::Optional),
    ("delete-after", delete_after, Need::Optional),
    ("src-delete-after", delete_after, Need::Optional),
    ("src-predeclared", boolean, Need::Optional),
    ("dest-uri", uris, Need::Mandatory),
    ("dest-exchange", binary, Need::Optional),
    ("dest-exchange-key", binary, Need::Optional),
    ("dest-queue", binary, Need::Optional),
    ("dest-queue-args", object, Need::Optional),
    ("add-forward-headers", boolean, Need::Optional),
    ("add-timestamp-header", boolean, Need::Optional),
    ("dest-add-forward-headers", boolean, Need::Optional),
    ("dest-add-timestamp-header", boolean, Need::Optional),
    ("publish-properties", properties, Need::Optional),
    ("dest-publish-properties", properties, Need::Optional),
    ("dest-predeclared", boolean, Need::Optional),
];

const PROPERTIES: [Key; 14] = [
    ("content_type", binary, Need::Optional),
    ("content_encoding", binary, Need::Optional),
    ("headers", object, Need::Optional),
    ("delivery_mode", number, Need::Optional),
    ("priority", number, Need::Optional),
    ("correlation_id", binary, Need::Optional),
    ("reply_to", binary, Need::Optional),
    ("expiration", binary, Need::Optional),
    ("message_id", binary, Need::Optional),
    ("timestamp", number, Need::Optional),
    ("type", binary, Need::Optional),
    ("user_id", binary, Need::Optional),
    ("app_id", binary, Need::Optional),
    ("cluster_id", binary, Need::Optional),
];

/// Everything that is wrong with a shovel, in RabbitMQ's order.
pub(super) fn check(name: &str, value: &Json) -> Vec<String> {
    let has = |key: &str| value.get(key).is_some();
    let mut refusals = Vec::new();
    let mut refuse = |is_wrong: bool, text: &str| {
        if is_wrong {
            refusals.push(text.to_owned());
        }
    };
    if value.is_object() {
        refuse(!has("src-exchange") && !has("src-queue"), "Must specify 'src-exchange' or 'src-queue'");
        refuse(has("src-exchange") && has("src-queue"), "Cannot specify 'src-exchange' and 'src-queue'");
        let after = value.get("src-delete-after").or_else(|| value.get("delete-after"));
        let without_acks = value.get("ack-mode").is_some_and(|mode| mode == "no-ack");
        let counted = after.is_some_and(Json::is_i64);
        refuse(without_acks && counted, "Cannot specify 'no-ack' and numerical 'delete-after'");
        refuse(has("dest-exchange") && has("dest-queue"), "Cannot specify 'dest-exchange' and 'dest-queue'");
    }
    refusals.extend(check_keys(name, &KEYS, value));
    refusals
}

fn ack_mode(key: &str, value: &Json) -> Option<String> {
    one_of(&["no-ack", "on-publish", "on-confirm"], key, value)
}

/// Of RabbitMQ's protocols the one that is spoken here.
fn protocol(key: &str, value: &Json) -> Option<String> {
    one_of(&["amqp091"], key, value)
}

fn object(key: &str, value: &Json) -> Option<String> {
    let is_none = value.as_array().is_some_and(Vec::is_empty);
    (!value.is_object() && !is_none).then(|| format!("{key} not a list {}", terms::of_json(value)))
}

fn properties(key: &str, value: &Json) -> Option<String> {
    let refusals = check_keys(key, &PROPERTIES, value);
    (!refusals.is_empty()).then(|| refusals.join("\n"))
}

fn delete_after(key: &str, value: &Json) -> Option<String> {
    let is_right = value.is_u64() || value.as_str().is_some_and(|text| matches!(text, "never" | "queue-length"));
    let expected = "a number greater than or equal to 0, \"never\" or \"queue-length\"";
    (!is_right).then(|| format!("{key} should be {expected}, actually was {}", terms::of_json(value)))
}

/// A URI, or a list of them.
fn uris(key: &str, value: &Json) -> Option<String> {
    match value {
        Json::String(uri) => uri_refused(uri),
        Json::Array(uris) => uris.iter().find_map(|uri| self::uris(key, uri)),
        other => list(key, other),
    }
}

fn uri_refused(uri: &str) -> Option<String> {
    let why = match uri.split_once("://") {
        None => "{unable_to_parse_uri,no_scheme}".to_owned(),
        Some(("amqp" | "amqps", rest)) => {
            // Parameters may have slashes in them, such as paths of certificates.
            let rest = rest.split(['?', '#']).next().unwrap_or_default();
            let (authority, vhost) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            // What is behind the last bracket: the colons of an IPv6 address are no port's.
            let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
            let port = behind.rsplit_once(':').map(|(_, port)| port);
            if vhost.contains('/') {
                format!("{{invalid_vhost,\"{vhost}\"}}")
            } else if port.is_some_and(|port| port.parse::<u16>().is_err()) {
                "{unable_to_parse_uri,malformed_uri}".to_owned()
            } else {
                return None;
            }
        }
        Some((scheme, _)) => format!("{{unexpected_uri_scheme,\"{scheme}\"}}"),
    };
    // An empty text is an empty list to Erlang.
    let shown = if uri.is_empty() { "[]".to_owned() } else { format!("\"{uri}\"") };
    Some(format!("\"{uri}\" not a valid URI: {{{why},{shown}}}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(value: &Json) -> String {
        check("s", value).join("\n")
    }

    /// The texts are those of RabbitMQ 3.10.
    #[test]
    fn what_is_no_shovel() {
        assert_eq!(
            all(&json!({})),
            "Must specify 'src-exchange' or 'src-queue'\nKey \"dest-uri\" not found in s\nKey \"src-uri\" not found in s"
        );
        let with = |more: Json| {
            let mut value =
                json!({"src-uri": "amqp://", "dest-uri": ["amqp://u:p@[::1]:5672/%2f?heartbeat=5", "amqps://h"], "src-queue": "q"});
            for (key, more) in more.as_object().expect("an object") {
                value[key] = more.clone();
            }
            all(&value)
        };
        assert_eq!(with(json!({})), "");
        assert_eq!(with(json!({"dest-publish-properties": {"delivery_mode": 2, "headers": {"a": 1}}, "src-delete-after": 5})), "");
        assert_eq!(
            with(json!({"src-exchange": "x", "dest-queue": "q", "dest-exchange": "y"})),
            "Cannot specify 'src-exchange' and 'src-queue'\nCannot specify 'dest-exchange' and 'dest-queue'"
        );
        assert_eq!(
            with(json!({"src-uri": "foo", "dest-uri": 5, "src-queue": 5})),
            "dest-uri should be list, actually was 5\nsrc-queue should be binary, actually was 5\n\
             \"foo\" not a valid URI: {{unable_to_parse_uri,no_scheme},\"foo\"}"
        );
        assert_eq!(
            with(json!({
                "src-uri": ["amqp://", "http://x"], "ack-mode": "never", "src-delete-after": "x", "reconnect-delay": "a",
                "src-prefetch-count": "z", "add-forward-headers": 4,
            })),
            "add-forward-headers should be boolean, actually was 4\n\
             src-delete-after should be a number greater than or equal to 0, \"never\" or \"queue-length\", actually was <<\"x\">>\n\
             src-prefetch-count should be a number, actually was <<\"z\">>\n\
             \"http://x\" not a valid URI: {{unexpected_uri_scheme,\"http\"},\"http://x\"}\n\
             ack-mode should be one of [<<\"no-ack\">>,<<\"on-publish\">>,<<\"on-confirm\">>], actually was <<\"never\">>\n\
             reconnect-delay should be a number, actually was <<\"a\">>"
        );
        assert_eq!(with(json!({"foo": 4})), "Unrecognised terms [{<<\"foo\">>,4}] in s");
        assert_eq!(with(json!({"delete-after": 5, "ack-mode": "no-ack"})), "Cannot specify 'no-ack' and numerical 'delete-after'");
        assert_eq!(with(json!({"dest-publish-properties": {"foo": 4}})), "Unrecognised terms [{<<\"foo\">>,4}] in dest-publish-properties");
        assert_eq!(with(json!({"dest-publish-properties": 5})), "dest-publish-properties not a list 5");
        assert_eq!(with(json!({"src-uri": "amqp:///a/b"})), "\"amqp:///a/b\" not a valid URI: {{invalid_vhost,\"a/b\"},\"amqp:///a/b\"}");
        assert_eq!(with(json!({"src-uri": ""})), "\"\" not a valid URI: {{unable_to_parse_uri,no_scheme},[]}");
        assert_eq!(with(json!({"src-uri": "amqps://h?cacertfile=/a/b.pem"})), "");
        assert!(with(json!({"src-uri": "amqp://h:x"})).starts_with("\"amqp://h:x\" not a valid URI: {"));
    }
}
