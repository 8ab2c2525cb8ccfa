//! Who connects, and within which limits.

use crate::amqp::{AMQPValue, FieldTable};

/// What a connection is opened with. Its `Debug` does not show the response, which holds the password.
#[derive(Clone)]
pub struct Options {
    /// How to log in: `PLAIN`, `AMQPLAIN`, `EXTERNAL` …
    pub mechanism: String,
    /// What the mechanism says.
    pub response: Vec<u8>,
    pub vhost: String,
    /// Bytes; 0 leaves it to the server.
    pub frame_max: u32,
    /// Channels; 0 leaves it to the server.
    pub channel_max: u16,
    /// Seconds; 0 is off.
    pub heartbeat_s: u16,
    pub client_properties: FieldTable,
}

/// As RabbitMQ's shovels have it.
const HEARTBEAT_S: u16 = 10;
const CHANNEL_MAX: u16 = 2047;

impl Options {
    /// With a user's password.
    #[must_use]
    pub fn plain(user: &str, password: &str, vhost: &str) -> Self {
        Self::with_mechanism("PLAIN", format!("\0{user}\0{password}").into_bytes(), vhost)
    }

    /// With any mechanism that takes one step.
    #[must_use]
    pub fn with_mechanism(mechanism: &str, response: Vec<u8>, vhost: &str) -> Self {
        Self {
            mechanism: mechanism.to_owned(),
            response,
            vhost: vhost.to_owned(),
            frame_max: 0,
            channel_max: CHANNEL_MAX,
            heartbeat_s: HEARTBEAT_S,
            client_properties: client_properties(),
        }
    }

    /// With a name for whoever lists connections.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.client_properties.insert("connection_name".into(), AMQPValue::LongString(name.into()));
        self
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("mechanism", &self.mechanism)
            .field("vhost", &self.vhost)
            .field("frame_max", &self.frame_max)
            .field("channel_max", &self.channel_max)
            .field("heartbeat_s", &self.heartbeat_s)
            .field("client_properties", &self.client_properties)
            .finish_non_exhaustive()
    }
}

/// Who we are, and what we understand.
fn client_properties() -> FieldTable {
    let mut capabilities = FieldTable::default();
    for capability in [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "exchange_exchange_bindings",
        "publisher_confirms",
    ] {
        capabilities.insert(capability.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    for (name, value) in [("product", "leveret"), ("version", env!("CARGO_PKG_VERSION")), ("platform", "Rust")] {
        properties.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    properties
}
