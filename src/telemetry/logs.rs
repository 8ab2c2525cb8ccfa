//! The log as an output beside the console and the file.

use serde_json::{Map, Value as Json};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::fields::Fields;
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
        let Fields { message, others: fields } = Fields::of(event);
        let message = message.unwrap_or_default();
        let (severity, level) = match *event.metadata().level() {
            Level::TRACE => (1, "TRACE"),
            Level::DEBUG => (5, "DEBUG"),
            Level::INFO => (9, "INFO"),
            Level::WARN => (13, "WARN"),
            Level::ERROR => (17, "ERROR"),
        };
        let target = event.metadata().target().to_owned();
        self.0.push(Line { at: now(), severity, level, message, target, fields });
    }
}
