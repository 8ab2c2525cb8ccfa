//! AMQP beside the HTTP API, by the client of the project.

use std::net::SocketAddr;

use leveret::amqp::{AMQPClass, FieldTable, queue};
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

/// How many consumers a queue has.
pub(crate) fn consumers(address: SocketAddr, name: &str) -> u32 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let channel = connect(address, "guest", "/").await.expect("connected").channel().await.expect("a channel");
        let declare = queue::Declare {
            queue: name.into(),
            passive: true,
            durable: false,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        match soon(channel.call(AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))).await {
            Ok(AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok))) => ok.consumer_count,
            other => panic!("{other:?}"),
        }
    })
}
