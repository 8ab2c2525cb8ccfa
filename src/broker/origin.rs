//! Who is at the other end of a connection, for those who watch the broker (behaviour O11, O12, C29).

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::amqp::FieldTable;

#[derive(Clone, Debug)]
pub struct Origin {
    /// The client's end.
    pub peer: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
    /// How the client proved who it is.
    pub mechanism: String,
    pub client_properties: FieldTable,
    /// Negotiated; 0 is off.
    pub heartbeat_s: u16,
}

impl Origin {
    /// What RabbitMQ calls the connection.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} -> {}", self.peer, self.local)
    }
}

impl Default for Origin {
    fn default() -> Self {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self { peer: nowhere, local: nowhere, mechanism: String::new(), client_properties: FieldTable::default(), heartbeat_s: 0 }
    }
}
