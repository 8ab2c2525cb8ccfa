//! Who is at the other end of a connection, for those who watch the broker (behaviour O11, O12, C29).

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::amqp::{FieldTable, table};

#[derive(Clone, Debug)]
pub struct Origin {
    /// The client's end.
    pub peer: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
    /// How the client proved who it is.
    pub mechanism: String,
    /// Encoded: parsed, they take several times the room, and hardly anybody looks.
    client_properties: Box<[u8]>,
    /// Negotiated; 0 is off.
    pub heartbeat_s: u16,
    /// The node has connected to itself, for somebody who uses its HTTP API.
    pub is_own: bool,
}

impl Origin {
    #[must_use]
    pub fn new(peer: SocketAddr, local: SocketAddr, mechanism: String, client_properties: &FieldTable, heartbeat_s: u16) -> Self {
        Self { peer, local, mechanism, client_properties: table::encode(client_properties).into(), heartbeat_s, is_own: false }
    }

    #[must_use]
    pub fn client_properties(&self) -> FieldTable {
        table::decode(&self.client_properties)
    }

    /// What RabbitMQ calls the connection.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} -> {}", self.peer, self.local)
    }
}

impl Default for Origin {
    fn default() -> Self {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self { peer: nowhere, local: nowhere, mechanism: String::new(), client_properties: Box::default(), heartbeat_s: 0, is_own: false }
    }
}
