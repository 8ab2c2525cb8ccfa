//! The keys about what an OpenTelemetry collector is told (docs/OBSERVABILITY.md).

use super::super::values::boolean;
use super::{Key, key, maybe, one, put, some, take};

pub(super) const OPEN_TELEMETRY: &[Key] = &[
    key(
        "opentelemetry.endpoint",
        "Where an OpenTelemetry collector takes OTLP over HTTP: `http://host:4318`. Spans go to /v1/traces there, the log to /v1/logs. \
         Nothing is sent where nothing is said.",
        |c, _, v| some(&mut c.opentelemetry.endpoint, endpoint(v)),
        |c| maybe(c.opentelemetry.endpoint.as_ref()),
    ),
    key(
        "opentelemetry.traces",
        "Whether it gets spans of messages whose publishers trace them.",
        |c, _, v| put(&mut c.opentelemetry.traces, boolean(v)),
        |c| one(c.opentelemetry.traces),
    ),
    key(
        "opentelemetry.logs",
        "Whether it gets the log.",
        |c, _, v| put(&mut c.opentelemetry.logs, boolean(v)),
        |c| one(c.opentelemetry.logs),
    ),
    key(
        "opentelemetry.service_name",
        "What the broker is called there.",
        |c, _, v| take(&mut c.opentelemetry.service_name, v),
        |c| one(&c.opentelemetry.service_name),
    ),
];

fn endpoint(value: &str) -> Result<String, String> {
    match value.strip_prefix("http://") {
        Some(host) if !host.is_empty() && !host.starts_with('/') => Ok(value.trim_end_matches('/').to_owned()),
        _ => Err(format!("'{value}' is not http://host:port")),
    }
}
