//! Field tables in JSON, as RabbitMQ's HTTP API and definitions have them.

use serde_json::{Map, Value as Json, json};

use crate::amqp::table::MAX_DEPTH;
use crate::amqp::{AMQPValue, FieldArray, FieldTable};

/// The arguments that JSON stands for: integers are 64 bits wide.
///
/// # Errors
/// A key that is longer than a short string, values that nest too deeply, a number that fits nothing.
pub fn to_table(entries: &Map<String, Json>) -> Result<FieldTable, String> {
    table(entries, MAX_DEPTH)
}

fn table(entries: &Map<String, Json>, depth: usize) -> Result<FieldTable, String> {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        if key.len() > usize::from(u8::MAX) {
            return Err(format!("argument name of {} bytes is longer than 255 bytes", key.len()));
        }
        table.insert(key.as_str().into(), to_value(value, depth)?);
    }
    Ok(table)
}

fn to_value(value: &Json, depth: usize) -> Result<AMQPValue, String> {
    let deeper = || depth.checked_sub(1).ok_or_else(|| "arguments nest too deeply".to_owned());
    Ok(match value {
        Json::Null => AMQPValue::Void,
        Json::Bool(value) => AMQPValue::Boolean(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => AMQPValue::LongLongInt(integer),
            (None, Some(float)) if number.is_f64() => AMQPValue::Double(float),
            _ => return Err(format!("the number {number} is too large for an argument")),
        },
        Json::String(text) => AMQPValue::LongString(text.as_bytes().into()),
        Json::Array(values) => {
            let depth = deeper()?;
            let mut array = FieldArray::default();
            for value in values {
                array.push(to_value(value, depth)?);
            }
            AMQPValue::FieldArray(array)
        }
        Json::Object(entries) => AMQPValue::FieldTable(table(entries, deeper()?)?),
    })
}

/// A table as JSON; texts that are not UTF-8 lose what is not.
#[must_use]
pub fn of_table(table: &FieldTable) -> Json {
    Json::Object(table.inner().iter().map(|(key, value)| (key.to_string(), of_value(value))).collect())
}

fn of_value(value: &AMQPValue) -> Json {
    let text = |bytes: &[u8]| Json::String(String::from_utf8_lossy(bytes).into_owned());
    match value {
        AMQPValue::Boolean(value) => json!(value),
        AMQPValue::ShortShortInt(value) => json!(value),
        AMQPValue::ShortShortUInt(value) => json!(value),
        AMQPValue::ShortInt(value) => json!(value),
        AMQPValue::ShortUInt(value) => json!(value),
        AMQPValue::LongInt(value) => json!(value),
        AMQPValue::LongUInt(value) => json!(value),
        AMQPValue::LongLongInt(value) => json!(value),
        AMQPValue::Timestamp(value) => json!(value),
        AMQPValue::Float(value) => json!(value),
        AMQPValue::Double(value) => json!(value),
        AMQPValue::DecimalValue(decimal) => json!(f64::from(decimal.value) / 10f64.powi(i32::from(decimal.scale))),
        AMQPValue::ShortString(value) => json!(value.as_str()),
        AMQPValue::LongString(value) => text(value.as_bytes()),
        AMQPValue::ByteArray(value) => text(value.as_slice()),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(of_value).collect(),
        AMQPValue::FieldTable(table) => of_table(table),
        AMQPValue::Void => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(json: Json) -> Map<String, Json> {
        if let Json::Object(entries) = json { entries } else { Map::new() }
    }

    #[test]
    fn what_json_says_comes_back() {
        let all = json!({"n": -3, "big": i64::MAX, "f": 1.5, "t": "ü", "b": true, "none": null, "list": [1, "a", {"x": []}], "o": {}});
        let table = to_table(&entries(all.clone())).expect("arguments");
        assert_eq!(table.inner().get("n"), Some(&AMQPValue::LongLongInt(-3)));
        assert_eq!(of_table(&table), all);
    }

    #[test]
    fn what_is_no_argument() {
        let long = entries(json!({"k".repeat(256): 1}));
        assert_eq!(to_table(&long), Err("argument name of 256 bytes is longer than 255 bytes".to_owned()));
        let large = entries(json!({"k": u64::MAX}));
        assert_eq!(to_table(&large), Err("the number 18446744073709551615 is too large for an argument".to_owned()));
        let mut deep = json!(1);
        for _ in 0..=MAX_DEPTH {
            deep = json!([deep]);
        }
        assert_eq!(to_table(&entries(json!({"k": deep}))), Err("arguments nest too deeply".to_owned()));
    }
}
