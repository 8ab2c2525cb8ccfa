//! Values as Erlang prints them, which is how RabbitMQ shows them in its texts (behaviour E8).

use std::fmt::Write;

use serde_json::Value as Json;

use super::error::type_name;
use crate::amqp::{AMQPValue, FieldTable};

/// A JSON value as RabbitMQ decodes and shows it.
#[must_use]
pub fn of_json(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => number.as_f64().filter(|_| number.is_f64()).map_or_else(|| number.to_string(), float),
        Json::String(text) => binary(text.as_bytes()),
        Json::Array(values) => list(values.iter().map(of_json)),
        Json::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{} => {}", binary(key.as_bytes()), of_json(value))).collect();
            format!("#{{{}}}", entries.join(","))
        }
    }
}

/// The entries of a table, each as a tuple of key, type and value.
pub(super) fn of_entries(table: &FieldTable) -> impl Iterator<Item = String> {
    table.inner().iter().map(|(key, value)| format!("{{{},{},{}}}", binary(key.as_str().as_bytes()), type_name(value), of_value(value)))
}

fn of_value(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(value) => value.to_string(),
        AMQPValue::ShortShortUInt(value) => value.to_string(),
        AMQPValue::ShortInt(value) => value.to_string(),
        AMQPValue::ShortUInt(value) => value.to_string(),
        AMQPValue::LongInt(value) => value.to_string(),
        AMQPValue::LongUInt(value) => value.to_string(),
        AMQPValue::LongLongInt(value) => value.to_string(),
        AMQPValue::Float(value) => float(f64::from(*value)),
        AMQPValue::Double(value) => float(*value),
        AMQPValue::DecimalValue(decimal) => format!("{{{},{}}}", decimal.scale, decimal.value),
        AMQPValue::ShortString(text) => binary(text.as_str().as_bytes()),
        AMQPValue::LongString(text) => binary(text.as_bytes()),
        AMQPValue::ByteArray(bytes) => binary(bytes.as_slice()),
        AMQPValue::FieldArray(values) => {
            list(values.as_slice().iter().map(|value| format!("{{{},{}}}", type_name(value), of_value(value))))
        }
        AMQPValue::Timestamp(value) => value.to_string(),
        AMQPValue::FieldTable(table) => list(of_entries(table)),
        AMQPValue::Void => "undefined".to_owned(),
    }
}

fn list(terms: impl Iterator<Item = String>) -> String {
    format!("[{}]", terms.collect::<Vec<_>>().join(","))
}

/// The shortest digits that read back the same, always with a point.
fn float(value: f64) -> String {
    let shown = format!("{value:?}");
    match shown.split_once('e') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0e{exponent}"),
        _ => shown,
    }
}

/// `<<"text">>` where every byte is a printable character of Latin-1, as Erlang sees it, and `<<1,2>>` otherwise.
fn binary(bytes: &[u8]) -> String {
    let is_printable = |byte: &u8| matches!(byte, 8..=13 | 27 | 32..=126 | 160..=255);
    if !bytes.iter().all(is_printable) {
        let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
        return format!("<<{}>>", numbers.join(","));
    }
    if bytes.is_empty() {
        return "<<>>".to_owned();
    }
    let mut shown = String::from("<<\"");
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '"' => shown.push_str("\\\""),
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            '\u{8}' => shown.push_str("\\b"),
            '\u{b}' => shown.push_str("\\v"),
            '\u{c}' => shown.push_str("\\f"),
            '\u{1b}' => shown.push_str("\\e"),
            other => {
                let _ = write!(shown, "{other}");
            }
        }
    }
    shown.push_str("\">>");
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As RabbitMQ 3.10.8 says them in the refusal of a policy.
    #[test]
    fn json_as_erlang_prints_it() {
        for (json, term) in [
            ("-1", "-1"),
            ("1.5", "1.5"),
            ("1e30", "1.0e30"),
            ("true", "true"),
            ("null", "null"),
            ("\"3\"", "<<\"3\">>"),
            ("\"\"", "<<>>"),
            ("\"a\\\"b\"", "<<\"a\\\"b\">>"),
            ("[1,{\"a\":null}]", "[1,#{<<\"a\">> => null}]"),
            ("{\"a\":1.5}", "#{<<\"a\">> => 1.5}"),
            ("\"\\u0001\"", "<<1>>"),
        ] {
            let value: Json = serde_json::from_str(json).expect("JSON");
            assert_eq!(of_json(&value), term);
        }
    }
}
