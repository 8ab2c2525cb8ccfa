//! lapin, with a time limit on everything that is awaited.

use std::future::Future;

use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};

use super::PATIENCE;
use super::broker::Broker;

/// Awaits what must come soon.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

pub(crate) fn uri(broker: &Broker) -> String {
    format!("amqp://guest:guest@{}/%2f", broker.address())
}

pub(crate) async fn connect(broker: &Broker) -> Connection {
    soon(Connection::connect(&uri(broker), ConnectionProperties::default())).await.expect("a connection")
}

/// A channel of a connection of its own; the connection lasts as long as the channel.
pub(crate) async fn channel(connection: &Connection) -> Channel {
    soon(connection.create_channel()).await.expect("a channel")
}

/// A channel that confirms what is published on it.
pub(crate) async fn confirming(connection: &Connection) -> Channel {
    let channel = channel(connection).await;
    soon(channel.confirm_select(Default::default())).await.expect("confirms");
    channel
}

pub(crate) fn arguments(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), value.clone());
    }
    table
}

pub(crate) fn words(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.as_bytes().into())
}

pub(crate) async fn declare(channel: &Channel, queue: &str) {
    declare_with(channel, queue, QueueDeclareOptions::default(), FieldTable::default()).await;
}

pub(crate) async fn declare_with(channel: &Channel, queue: &str, options: QueueDeclareOptions, arguments: FieldTable) {
    soon(channel.queue_declare(queue.into(), options, arguments)).await.expect("a queue");
}

pub(crate) async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) {
    let options = QueueBindOptions::default();
    soon(channel.queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default())).await.expect("a binding");
}

/// Messages that a queue has ready.
pub(crate) async fn ready(channel: &Channel, queue: &str) -> u32 {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    soon(channel.queue_declare(queue.into(), passive, FieldTable::default())).await.expect("the queue").message_count()
}

/// Looks until a queue has so many messages ready.
pub(crate) async fn eventually_ready(channel: &Channel, queue: &str, count: u32) {
    let looked = async {
        while ready(channel, queue).await != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.unwrap_or_else(|_| panic!("{queue} never had {count} messages"));
}

/// Publishes, and on a confirming channel awaits the confirm.
pub(crate) async fn publish(channel: &Channel, exchange: &str, key: &str, body: &[u8]) {
    publish_with(channel, exchange, key, body, BasicProperties::default()).await;
}

pub(crate) async fn publish_with(channel: &Channel, exchange: &str, key: &str, body: &[u8], properties: BasicProperties) {
    let options = BasicPublishOptions::default();
    let sent = soon(channel.basic_publish(exchange.into(), key.into(), options, body, properties)).await;
    let confirmation = soon(sent.expect("sent")).await.expect("a confirm");
    assert!(!confirmation.is_nack(), "{key} was refused");
}

pub(crate) async fn prefetch(channel: &Channel, count: u16) {
    soon(channel.basic_qos(count, BasicQosOptions::default())).await.expect("a prefetch");
}

pub(crate) async fn consume(channel: &Channel, queue: &str) -> Consumer {
    consume_with(channel, queue, BasicConsumeOptions::default()).await
}

pub(crate) async fn consume_with(channel: &Channel, queue: &str, options: BasicConsumeOptions) -> Consumer {
    soon(channel.basic_consume(queue.into(), "".into(), options, FieldTable::default())).await.expect("a consumer")
}

pub(crate) async fn next(consumer: &mut Consumer) -> Delivery {
    soon(consumer.next()).await.expect("not cancelled").expect("a delivery")
}

/// The next delivery's body, acknowledged.
pub(crate) async fn take(consumer: &mut Consumer) -> String {
    let delivery = next(consumer).await;
    soon(delivery.ack(BasicAckOptions::default())).await.expect("an ack");
    text(&delivery.data)
}

/// So many bodies, acknowledged.
pub(crate) async fn take_many(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        taken.push(take(consumer).await);
    }
    taken
}

pub(crate) fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).expect("text")
}
