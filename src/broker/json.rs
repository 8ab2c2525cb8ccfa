//! Field tables in JSON, as RabbitMQ's HTTP API and definitions have them.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Value as Json};

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

/// A table as a JSON object, written without making one; texts that are not UTF-8 lose what is not.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a>(pub &'a FieldTable);

impl Serialize for Table<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.0.inner();
        let mut map = serializer.serialize_map(Some(entries.len()))?;
        for (name, value) in entries {
            map.serialize_entry(name.as_str(), &Written(value))?;
        }
        map.end()
    }
}

struct Written<'a>(&'a AMQPValue);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            AMQPValue::Boolean(value) => serializer.serialize_bool(*value),
            AMQPValue::ShortShortInt(value) => serializer.serialize_i8(*value),
            AMQPValue::ShortShortUInt(value) => serializer.serialize_u8(*value),
            AMQPValue::ShortInt(value) => serializer.serialize_i16(*value),
            AMQPValue::ShortUInt(value) => serializer.serialize_u16(*value),
            AMQPValue::LongInt(value) => serializer.serialize_i32(*value),
            AMQPValue::LongUInt(value) => serializer.serialize_u32(*value),
            AMQPValue::LongLongInt(value) => serializer.serialize_i64(*value),
            AMQPValue::Float(value) => serializer.serialize_f32(*value),
            AMQPValue::Double(value) => serializer.serialize_f64(*value),
            AMQPValue::DecimalValue(value) => serializer.serialize_f64(f64::from(value.value) / 10f64.powi(i32::from(value.scale))),
            AMQPValue::ShortString(value) => serializer.serialize_str(value.as_str()),
            AMQPValue::LongString(value) => serializer.serialize_str(&String::from_utf8_lossy(value.as_bytes())),
            AMQPValue::ByteArray(value) => serializer.serialize_str(&String::from_utf8_lossy(value.as_slice())),
            AMQPValue::Timestamp(value) => serializer.serialize_u64(*value),
            AMQPValue::FieldTable(value) => Table(value).serialize(serializer),
            AMQPValue::FieldArray(value) => Array(value).serialize(serializer),
            AMQPValue::Void => serializer.serialize_none(),
        }
    }
}

struct Array<'a>(&'a FieldArray);

impl Serialize for Array<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values = self.0.as_slice();
        let mut sequence = serializer.serialize_seq(Some(values.len()))?;
        for value in values {
            sequence.serialize_element(&Written(value))?;
        }
        sequence.end()
    }
}

/// A table as JSON.
#[must_use]
pub fn of_table(table: &FieldTable) -> Json {
    serde_json::to_value(Table(table)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    #[test]
    fn values_of_every_kind() {
        let mut inner = FieldTable::default();
        inner.insert("n".into(), AMQPValue::LongLongInt(-5));
        let mut array = FieldArray::default();
        array.push(AMQPValue::Boolean(true));
        array.push(AMQPValue::Void);
        let mut table = FieldTable::default();
        table.insert("text".into(), AMQPValue::LongString("a\u{e4}".into()));
        table.insert("table".into(), AMQPValue::FieldTable(inner));
        table.insert("array".into(), AMQPValue::FieldArray(array));
        table.insert("time".into(), AMQPValue::Timestamp(7));
        table.insert("bytes".into(), AMQPValue::ByteArray(vec![0xff, b'a'].into()));
        let json = serde_json::to_string(&Table(&table)).expect("JSON");
        assert_eq!(json, r#"{"array":[true,null],"bytes":"�a","table":{"n":-5},"text":"aä","time":7}"#);
    }
}
