//! The headers exchange: binding arguments against the message's header table (behaviour X16).

use super::Destination;
use crate::amqp::frame::erlang_binary;
use crate::amqp::properties::Properties;
use crate::amqp::table::{self, Value};
use crate::amqp::{AMQPValue, FieldTable};
use crate::broker::error::{integer, type_name};

#[derive(Debug)]
struct Condition {
    name: Box<[u8]>,
    /// `Void` asks only that the header is there.
    value: AMQPValue,
}

#[derive(Debug)]
struct Binding {
    destination: Destination,
    key: Box<str>,
    arguments: FieldTable,
    /// `any` or `any-with-x`: one condition is enough.
    any: bool,
    conditions: Vec<Condition>,
}

#[derive(Debug, Default)]
pub(super) struct Headers {
    bindings: Vec<Binding>,
}

fn x_match(arguments: &FieldTable) -> Option<&AMQPValue> {
    arguments.inner().get("x-match")
}

/// Checks the x-match argument.
pub(super) fn check(arguments: &FieldTable) -> Result<(), String> {
    match x_match(arguments) {
        None => Ok(()),
        Some(AMQPValue::LongString(mode)) => match mode.as_bytes() {
            b"all" | b"any" | b"all-with-x" | b"any-with-x" => Ok(()),
            other => {
                Err(format!("Invalid x-match field value {}; expected all, any, all-with-x, or any-with-x", erlang_binary(other, true)))
            }
        },
        Some(other) => {
            Err(format!("Invalid x-match field type {} (value {}); expected longstr", type_name(other), crate::broker::error::plain(other)))
        }
    }
}

impl Headers {
    pub(super) fn bind(&mut self, destination: Destination, key: &str, arguments: &FieldTable) {
        let mode = match x_match(arguments) {
            Some(AMQPValue::LongString(mode)) => mode.as_bytes(),
            _ => b"all",
        };
        let (any, with_x) = (mode.starts_with(b"any"), mode.ends_with(b"-with-x"));
        let counts = |name: &str| name != "x-match" && (with_x || !name.starts_with("x-"));
        let conditions = arguments.into_iter().filter(|(name, _)| counts(name.as_str()));
        let conditions = conditions.map(|(name, value)| Condition { name: name.as_str().as_bytes().into(), value: value.clone() });
        let conditions = conditions.collect();
        self.bindings.push(Binding { destination, key: key.into(), arguments: arguments.clone(), any, conditions });
    }

    pub(super) fn unbind(&mut self, destination: Destination, key: &str, arguments: &FieldTable) {
        let same = |b: &Binding| b.destination == destination && &*b.key == key && b.arguments == *arguments;
        if let Some(at) = self.bindings.iter().position(same) {
            self.bindings.remove(at);
        }
    }

    pub(super) fn route(&self, properties: Properties<'_>, found: &mut Vec<Destination>) {
        let headers: Vec<(&[u8], Value<'_>)> = properties.headers().map(table::entries).into_iter().flatten().collect();
        for binding in &self.bindings {
            let holds = |c: &Condition| headers.iter().any(|(name, value)| *name == &*c.name && matches(&c.value, *value));
            let matched = if binding.any { binding.conditions.iter().any(holds) } else { binding.conditions.iter().all(holds) };
            if matched {
                found.push(binding.destination);
            }
        }
    }
}

/// Values are compared exactly; numbers of any width by value. `1`, `"1"` and `true` are three things.
fn matches(wanted: &AMQPValue, value: Value<'_>) -> bool {
    if let Some(wanted) = integer(wanted) {
        #[expect(clippy::cast_precision_loss, reason = "RabbitMQ compares integers and floats as numbers, too")]
        return match value {
            Value::Int(v) => v == wanted,
            Value::Float(v) => v == wanted as f64,
            Value::Timestamp(v) => i64::try_from(v) == Ok(wanted),
            _ => false,
        };
    }
    match (wanted, value) {
        (AMQPValue::Void, _) => true,
        (AMQPValue::Boolean(wanted), Value::Bool(v)) => *wanted == v,
        (AMQPValue::Float(wanted), Value::Float(v)) => f64::from(*wanted) == v,
        (AMQPValue::Double(wanted), Value::Float(v)) => *wanted == v,
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        (AMQPValue::Double(wanted), Value::Int(v)) => *wanted == v as f64,
        (AMQPValue::LongString(wanted), Value::String(v) | Value::Bytes(v)) => wanted.as_bytes() == v,
        (AMQPValue::ByteArray(wanted), Value::Bytes(v) | Value::String(v)) => wanted.as_slice() == v,
        (AMQPValue::Timestamp(wanted), Value::Timestamp(v)) => *wanted == v,
        (AMQPValue::Timestamp(wanted), Value::Int(v)) => i64::try_from(*wanted) == Ok(v),
        (AMQPValue::DecimalValue(wanted), Value::Decimal(scale, v)) => (wanted.scale, wanted.value) == (scale, v),
        (AMQPValue::FieldTable(wanted), Value::Table(v)) => same_table(wanted, v),
        (AMQPValue::FieldArray(wanted), Value::Array(v)) => same_array(wanted.as_slice(), v),
        _ => false,
    }
}

fn same_table(wanted: &FieldTable, raw: &[u8]) -> bool {
    let found: Vec<_> = table::entries(raw).collect();
    found.len() == wanted.inner().len()
        && found.iter().all(|(name, value)| {
            let name = std::str::from_utf8(name).ok();
            name.and_then(|name| wanted.inner().get(name)).is_some_and(|wanted| matches(wanted, *value))
        })
}

fn same_array(wanted: &[AMQPValue], raw: &[u8]) -> bool {
    let found: Vec<_> = table::values(raw).collect();
    found.len() == wanted.len() && wanted.iter().zip(found).all(|(wanted, value)| matches(wanted, value))
}
