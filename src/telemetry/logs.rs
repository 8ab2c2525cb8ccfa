//! The log as an output beside the console and the file.

use std::fmt;

use serde_json::{Map, Value as Json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::{Outlet, now};

/// A line of the log.
#[derive(Debug)]
pub struct Line {
    /// Nanoseconds since the Unix epoch.
    pub(super) at: u64,
    /// As OpenTelemetry counts it.
    pub(super) severity: u8,
    pub(super) level: &'static str,
    pub(super) message: String,
    pub(super) target: String,
    pub(super) fields: Map<String, Json>,
}

/// An output of the log.
#[derive(Clone, Debug)]
pub struct Logs(Outlet<Line>);

impl Logs {
    pub(super) fn new(outlet: Outlet<Line>) -> Self {
        Self(outlet)
    }

    #[must_use]
    pub fn outlet(&self) -> &Outlet<Line> {
        &self.0
    }
}

impl<S: Subscriber> Layer<S> for Logs {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (severity, level) = match *event.metadata().level() {
            Level::TRACE => (1, "TRACE"),
            Level::DEBUG => (5, "DEBUG"),
            Level::INFO => (9, "INFO"),
            Level::WARN => (13, "WARN"),
            Level::ERROR => (17, "ERROR"),
        };
        let target = event.metadata().target().to_owned();
        let Fields { message, fields } = fields;
        self.0.push(Line { at: now(), severity, level, message, target, fields });
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    fields: Map<String, Json>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Json>) {
        self.fields.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.put(field, format!("{value:?}"));
        }
    }
}
