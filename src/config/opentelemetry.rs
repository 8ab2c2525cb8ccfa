//! What an OpenTelemetry collector is told.

/// Where spans and the log go, beside all else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTelemetry {
    /// `http://host:port`, perhaps with a path, of a collector that takes OTLP over HTTP; `None`: nobody is told anything.
    pub endpoint: Option<String>,
    /// Whether it is told what traced messages go through.
    pub traces: bool,
    /// Whether it gets the log.
    pub logs: bool,
    /// What it is to call this broker.
    pub service_name: String,
}

impl Default for OpenTelemetry {
    fn default() -> Self {
        Self { endpoint: None, traces: true, logs: true, service_name: "leveret".to_owned() }
    }
}
