//! What the node tells an OpenTelemetry collector: spans of messages that are traced, and its log. OTLP over HTTP in JSON, which needs
//! no more than what serves the HTTP API (docs/OBSERVABILITY.md).
//!
//! What is told goes into a queue with a bound, and is counted and thrown away when that is full: nobody waits for a collector.

mod exporter;
mod fields;
mod json;
mod logs;

pub use exporter::{Exporter, Outlet, Told};
pub use fields::Fields;
pub use json::Resource;
pub use logs::Logs;

use crate::broker::spans::Span;
use crate::config::OpenTelemetry;

/// Spans that wait to be sent.
const SPANS: usize = 8192;
/// The same of the log's lines.
const LINES: usize = 2048;

/// Spans of a virtual host.
#[derive(Debug)]
pub struct Traced {
    pub vhost: std::sync::Arc<str>,
    pub span: Span,
    /// When it ended, if the span does not say that: nanoseconds since the Unix epoch.
    pub ended: u64,
    /// What tells it from all others.
    pub id: [u8; 8],
}

/// Where spans go, and what sends them from there; `None` when nobody wants them.
#[must_use]
pub fn traces(config: &OpenTelemetry, node: &str) -> Option<(Outlet<Traced>, Exporter<Traced>)> {
    let endpoint = config.endpoint.as_ref().filter(|_| config.traces)?;
    Some(exporter::pair(SPANS, format!("{endpoint}/v1/traces"), Resource::new(&config.service_name, node), json::traces))
}

/// The same for the log.
#[must_use]
pub fn logs(config: &OpenTelemetry, node: &str) -> Option<(Logs, Exporter<logs::Line>)> {
    let endpoint = config.endpoint.as_ref().filter(|_| config.logs)?;
    let resource = Resource::new(&config.service_name, node);
    let (outlet, exporter) = exporter::pair(LINES, format!("{endpoint}/v1/logs"), resource, json::logs);
    Some((Logs::new(outlet), exporter))
}

/// Nanoseconds since the Unix epoch.
#[must_use]
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
