//! What a shovel declares before it begins.

use super::definition::From;
use crate::amqp::{AMQPClass, FieldTable, ShortString, queue};
use crate::client::{Channel, Connection, Error};

const NOT_FOUND: u16 = 404;

/// Sees to it that a queue is there; one that is not is declared durable, with these arguments, unless it has to be there already.
///
/// # Errors
/// That of the connection; that the queue cannot be declared, or is not there.
pub(super) async fn ensure_queue(connection: &Connection, name: &str, arguments: &FieldTable, predeclared: bool) -> Result<(), Error> {
    // A channel of its own, because a queue that is missing ends it.
    let channel = connection.channel().await?;
    match declare_passive(&channel, name).await {
        Err(error) if error.code() == Some(NOT_FOUND) && !predeclared => {
            let channel = connection.channel().await?;
            let declare = queue::Declare { durable: true, arguments: arguments.clone(), ..declaration(name)? };
            channel.call(AMQPClass::Queue(queue::AMQPMethod::Declare(declare))).await?;
            channel.close().await
        }
        Err(error) => Err(error),
        Ok(_) => channel.close().await,
    }
}

/// How many messages a queue has ready.
///
/// # Errors
/// As for any method; 404 when it is not there.
pub(super) async fn declare_passive(channel: &Channel, name: &str) -> Result<u64, Error> {
    let declare = queue::Declare { passive: true, ..declaration(name)? };
    match channel.call(AMQPClass::Queue(queue::AMQPMethod::Declare(declare))).await? {
        AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => Ok(ok.message_count.into()),
        other => Err(Error::Protocol(format!("{other:?} is no answer to queue.declare"))),
    }
}

/// The queue to consume from; for an exchange that is one of the shovel's own, bound to it.
///
/// # Errors
/// See [`ensure_queue`]; that the exchange is not there.
pub(super) async fn source_queue(connection: &Connection, channel: &Channel, from: &From, predeclared: bool) -> Result<String, Error> {
    match from {
        From::Queue { name, arguments } => {
            ensure_queue(connection, name, arguments, predeclared).await?;
            Ok(name.clone())
        }
        From::Exchange { name, key } => {
            let declare = queue::Declare { exclusive: true, ..declaration("")? };
            let own = match channel.call(AMQPClass::Queue(queue::AMQPMethod::Declare(declare))).await? {
                AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => ok.queue,
                other => return Err(Error::Protocol(format!("{other:?} is no answer to queue.declare"))),
            };
            let (exchange, routing_key) = (short(name)?, short(key)?);
            let arguments = FieldTable::default();
            let bind = queue::Bind { queue: own.clone(), exchange, routing_key, nowait: false, arguments };
            channel.call(AMQPClass::Queue(queue::AMQPMethod::Bind(bind))).await?;
            Ok(own.to_string())
        }
    }
}

fn declaration(name: &str) -> Result<queue::Declare, Error> {
    Ok(queue::Declare {
        queue: short(name)?,
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: FieldTable::default(),
    })
}

fn short(text: &str) -> Result<ShortString, Error> {
    ShortString::try_new(text).map_err(|_| Error::Protocol(format!("{text} is longer than 255 bytes")))
}
