//! AMQP beside the HTTP API, by the client of the project.

use std::net::SocketAddr;

use leveret::client::{Connection, Error, Options};
use tokio::net::TcpStream;

use super::support::client::soon;

/// As a user whose password is `guest`.
pub(crate) async fn connect(address: SocketAddr, user: &str, vhost: &str) -> Result<Connection, Error> {
    let stream = soon(TcpStream::connect(address)).await.expect("the broker");
    soon(Connection::open(stream, Options::plain(user, "guest", vhost))).await
}

/// Why the broker has closed a connection.
pub(crate) async fn closed(connection: &Connection) -> String {
    soon(connection.closed()).await.to_string()
}
