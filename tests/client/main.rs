//! Our own client: against the broker as a process, and against a scripted peer for what a broker does not do.

mod anywhere;
mod calling;
mod consuming;
mod ending;
mod hostile;
mod peer;
mod publishing;
mod uri;

#[path = "../server/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of the server")]
mod support;

use leveret::amqp::{AMQPClass, FieldTable, queue};
use leveret::client::{Channel, Connection, Consumer, Delivery, Error, Options};
use tokio::net::TcpStream;

use support::broker::Broker;
use support::client::soon;

/// A connection of guest's to the default virtual host.
async fn connect(broker: &Broker) -> Connection {
    connect_with(broker, Options::plain("guest", "guest", "/")).await.expect("a connection")
}

async fn connect_with(broker: &Broker, options: Options) -> Result<Connection, Error> {
    let stream = TcpStream::connect(broker.address()).await.expect("a socket");
    soon(Connection::open(stream, options)).await
}

async fn open(connection: &Connection) -> Channel {
    soon(connection.channel()).await.expect("a channel")
}

/// A channel that confirms.
async fn confirming(connection: &Connection) -> Channel {
    let channel = open(connection).await;
    soon(channel.confirm_select()).await.expect("confirms");
    channel
}

fn declaring(name: &str) -> queue::Declare {
    queue::Declare {
        queue: name.into(),
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: FieldTable::default(),
    }
}

async fn call_queue(channel: &Channel, method: queue::AMQPMethod) -> Result<queue::AMQPMethod, Error> {
    match soon(channel.call(AMQPClass::Queue(method))).await? {
        AMQPClass::Queue(reply) => Ok(reply),
        other => panic!("not of the class queue: {other:?}"),
    }
}

async fn declare(channel: &Channel, name: &str) -> queue::DeclareOk {
    match call_queue(channel, queue::AMQPMethod::Declare(declaring(name))).await.expect("a queue") {
        queue::AMQPMethod::DeclareOk(declare_ok) => declare_ok,
        other => panic!("not declare-ok: {other:?}"),
    }
}

/// Messages that a queue has ready.
async fn ready(channel: &Channel, name: &str) -> u32 {
    let passive = queue::Declare { passive: true, ..declaring(name) };
    match call_queue(channel, queue::AMQPMethod::Declare(passive)).await.expect("the queue") {
        queue::AMQPMethod::DeclareOk(declare_ok) => declare_ok.message_count,
        other => panic!("not declare-ok: {other:?}"),
    }
}

/// Looks until a queue has so many messages ready.
async fn eventually_ready(channel: &Channel, name: &str, count: u32) {
    soon(async {
        while ready(channel, name).await != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn next(consumer: &mut Consumer) -> Delivery {
    soon(consumer.next()).await.expect("no error").expect("not cancelled")
}

/// Code and text of what the server closed.
fn closed_by_server(error: &Error) -> (u16, &str, Option<u16>) {
    match error {
        Error::Closed { by_server: true, code, text, channel, .. } => (*code, text, *channel),
        other => panic!("not closed by the server: {other:?}"),
    }
}
