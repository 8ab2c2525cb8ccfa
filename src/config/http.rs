//! How much of the node the clients of an HTTP listener may take.

use std::time::Duration;

/// The limits of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections served at a time; those beyond wait to be accepted. `None` is no limit.
    pub max_connections: Option<usize>,
    /// How long a client may take to send the head of a request, and to send nothing between two.
    pub request_timeout_ms: u64,
}

impl HttpLimits {
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self { max_connections: Some(1024), request_timeout_ms: 30_000 }
    }
}
