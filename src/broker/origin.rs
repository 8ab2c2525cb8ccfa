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
    /// What TLS has agreed on, over TLS.
    pub ssl: Option<Box<Ssl>>,
}

/// A connection over TLS, in RabbitMQ's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssl {
    /// `tlsv1.2`, `tlsv1.3`.
    pub protocol: &'static str,
    /// `any` in TLS 1.3.
    pub key_exchange: String,
    pub cipher: String,
    pub hash: &'static str,
    /// The client's certificate, where it has shown one that was checked.
    pub certificate: Option<PeerCertificate>,
}

/// Names as in RFC 4514, times as in ISO 8601.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    pub subject: String,
    pub issuer: String,
    /// `from - to`.
    pub validity: String,
}

impl Origin {
    #[must_use]
    pub fn new(peer: SocketAddr, local: SocketAddr, mechanism: String, client_properties: &FieldTable, heartbeat_s: u16) -> Self {
        let client_properties = table::encode(client_properties).into();
        Self { peer, local, mechanism, client_properties, heartbeat_s, is_own: false, ssl: None }
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
        let mechanism = String::new();
        Self { peer: nowhere, local: nowhere, mechanism, client_properties: Box::default(), heartbeat_s: 0, is_own: false, ssl: None }
    }
}
