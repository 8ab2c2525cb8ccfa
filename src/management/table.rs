//! Field tables as the HTTP API shows them.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::amqp::{AMQPValue, FieldArray, FieldTable};

/// A table as a JSON object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a>(pub(super) &'a FieldTable);

impl Serialize for Table<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.0.inner();
        let mut map = serializer.serialize_map(Some(entries.len()))?;
        for (name, value) in entries {
            map.serialize_entry(name.as_str(), &Value(value))?;
        }
        map.end()
    }
}

struct Value<'a>(&'a AMQPValue);

impl Serialize for Value<'_> {
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
            AMQPValue::DecimalValue(value) => serializer.collect_str(&format_args!("{}e-{}", value.value, value.scale)),
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
            sequence.serialize_element(&Value(value))?;
        }
        sequence.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
