//! The headers of an event, written as they come.

use serde_json::Value as Json;

use crate::amqp::FieldTable;
use crate::amqp::table::{self, Value};
use crate::broker::terms;

/// The entries of a field table.
#[derive(Default)]
pub(super) struct Headers(pub(super) Vec<u8>);

impl Headers {
    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.put(name, Value::String(value.as_bytes()));
    }

    pub(super) fn flag(&mut self, name: &str, value: bool) {
        self.put(name, Value::Bool(value));
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.put(name, Value::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    /// The name of something in a virtual host.
    pub(super) fn resource(&mut self, kind: &str, name: &str, vhost: &str) {
        self.text(kind, name);
        self.text("vhost", vhost);
    }

    /// Arguments, each as the text of an Erlang term.
    pub(super) fn terms(&mut self, name: &str, arguments: &FieldTable) {
        let mut values = Vec::new();
        for term in terms::of_entries(arguments) {
            table::put_value(&mut values, Value::String(term.as_bytes()));
        }
        self.put(name, Value::Array(&values));
    }

    pub(super) fn table(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.put(name, Value::Table(&inner.0));
    }

    pub(super) fn json(&mut self, name: &str, value: &Json) {
        with_json(value, &mut |value| self.put(name, value));
    }

    fn put(&mut self, name: &str, value: Value<'_>) {
        table::put(&mut self.0, name.as_bytes(), value);
    }
}

/// A JSON value as a field.
fn with_json(value: &Json, put: &mut dyn FnMut(Value<'_>)) {
    match value {
        Json::Null => put(Value::Void),
        Json::Bool(value) => put(Value::Bool(*value)),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => put(Value::Int(integer)),
            None => put(Value::Float(number.as_f64().unwrap_or_default())),
        },
        Json::String(text) => put(Value::String(text.as_bytes())),
        Json::Array(values) => {
            let mut inner = Vec::new();
            for value in values {
                with_json(value, &mut |value| table::put_value(&mut inner, value));
            }
            put(Value::Array(&inner));
        }
        Json::Object(entries) => {
            let mut inner = Headers::default();
            for (name, value) in entries.iter().rev() {
                inner.json(name, value);
            }
            put(Value::Table(&inner.0));
        }
    }
}
