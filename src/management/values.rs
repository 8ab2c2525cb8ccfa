//! Between AMQP's values and JSON, as RabbitMQ converts them (rabbit_mgmt_format).

use serde_json::{Map, Value as Json};

use super::error::ApiError;
use crate::amqp::basic::AMQPProperties;
use crate::amqp::{FieldTable, properties};
use crate::broker::json;

pub(super) fn table_to_json(table: &FieldTable) -> Json {
    json::of_table(table)
}

pub(super) fn table_from_json(fields: &Map<String, Json>) -> Result<FieldTable, ApiError> {
    json::to_table(fields).map_err(ApiError::bad_request)
}

/// The properties of a message as `/get` shows them: those that are set.
pub(super) fn properties_to_json(properties: &AMQPProperties) -> Json {
    let mut json = Map::new();
    let mut set = |name: &str, value: Option<Json>| drop(value.map(|value| json.insert(name.to_owned(), value)));
    let text = |text: &Option<crate::amqp::ShortString>| text.as_ref().map(|text| text.as_str().into());
    set("content_type", text(properties.content_type()));
    set("content_encoding", text(properties.content_encoding()));
    set("headers", properties.headers().as_ref().map(table_to_json));
    set("delivery_mode", properties.delivery_mode().map(Into::into));
    set("priority", properties.priority().map(Into::into));
    set("correlation_id", text(properties.correlation_id()));
    set("reply_to", text(properties.reply_to()));
    set("expiration", text(properties.expiration()));
    set("message_id", text(properties.message_id()));
    set("timestamp", properties.timestamp().map(Into::into));
    set("type", text(properties.kind()));
    set("user_id", text(properties.user_id()));
    set("app_id", text(properties.app_id()));
    set("cluster_id", text(properties.cluster_id()));
    // What RabbitMQ answers, whose empty list of properties looks like one.
    if json.is_empty() { Json::Array(Vec::new()) } else { Json::Object(json) }
}

/// Properties from what somebody publishes over HTTP; what RabbitMQ does not know it leaves out, so this does, too.
pub(super) fn properties_from_json(json: &Json) -> Result<AMQPProperties, ApiError> {
    let mut properties = AMQPProperties::default();
    let empty = Map::new();
    let fields = match json {
        Json::Object(fields) => fields,
        Json::Array(none) if none.is_empty() => &empty,
        _ => return Err(ApiError::bad_request("properties should be an object")),
    };
    for (name, value) in fields {
        let text = || match value {
            Json::String(text) if text.len() <= 255 => Ok(text.as_str().into()),
            Json::Number(number) => Ok(number.to_string().as_str().into()),
            other => Err(ApiError::bad_request(format!("{{{name},{other}}} is not a text"))),
        };
        let number = || value.as_u64().or_else(|| value.as_str()?.parse().ok());
        let number = || number().ok_or_else(|| ApiError::bad_request(format!("{{{name},{value}}} is not a number")));
        let small = || u8::try_from(number()?).map_err(|_| ApiError::bad_request(format!("{{{name},{value}}} is too large")));
        properties = match name.as_str() {
            "content_type" => properties.with_content_type(text()?),
            "content_encoding" => properties.with_content_encoding(text()?),
            "headers" => match value {
                Json::Object(fields) => properties.with_headers(table_from_json(fields)?),
                _ => return Err(ApiError::bad_request("headers should be an object")),
            },
            "delivery_mode" => properties.with_delivery_mode(small()?),
            "priority" => properties.with_priority(small()?),
            "correlation_id" => properties.with_correlation_id(text()?),
            "reply_to" => properties.with_reply_to(text()?),
            "expiration" => properties.with_expiration(text()?),
            "message_id" => properties.with_message_id(text()?),
            "timestamp" => properties.with_timestamp(number()?),
            "type" => properties.with_type(text()?),
            "user_id" => properties.with_user_id(text()?),
            "app_id" => properties.with_app_id(text()?),
            "cluster_id" => properties.with_cluster_id(text()?),
            _ => properties,
        };
    }
    Ok(properties)
}

/// The properties of a delivery.
pub(super) fn properties_of(raw: &[u8]) -> AMQPProperties {
    properties::decode(raw).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::amqp::AMQPValue;

    #[test]
    fn arguments_there_and_back() {
        let fields = json!({"x-max-length": 5, "x-ratio": 1.5, "x-flag": true, "x-text": "t", "x-list": [1, "a"], "x-table": {"a": 1}});
        let table = table_from_json(fields.as_object().expect("an object")).expect("a table");
        assert_eq!(table.inner().get("x-max-length"), Some(&AMQPValue::LongLongInt(5)));
        assert_eq!(table_to_json(&table), fields);
    }

    #[test]
    fn properties_there_and_back() {
        assert_eq!(properties_to_json(&AMQPProperties::default()), json!([]));
        let set = json!({"delivery_mode": 2, "headers": {"a": "b"}, "type": "t", "timestamp": 7, "priority": 3, "message_id": "m"});
        assert_eq!(properties_to_json(&properties_from_json(&set).expect("properties")), set);
        assert_eq!(
            properties_to_json(&properties_from_json(&json!({"delivery_mode": "2", "what": 1})).expect("these")),
            json!({"delivery_mode": 2})
        );
        assert!(properties_from_json(&json!({"priority": 300})).is_err());
        assert!(properties_from_json(&json!({"headers": 1})).is_err());
    }
}
