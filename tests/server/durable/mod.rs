//! What survives a restart, and what does not: brokers with a data directory that are stopped, or killed, and started again.
//! The runtime has a thread of its own: lapin has to answer connection.close while a test waits for the broker's end.

mod backlog;
mod bindings;
mod crash;
mod dead_letters;
mod definitions;
mod directory;
mod full_disk;
mod messages;
mod quorum;
mod repairing;
mod settled;
mod stream;
mod time;

use lapin::message::{BasicGetMessage, Delivery};
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ExchangeKind};

use crate::support::broker::{Broker, End};
use crate::support::client::{self, arguments, confirming, connect, soon, text};

/// A broker may be stopped in either way, and what it promised holds.
const BOTH: [End; 2] = [End::InOrder, End::Killed];

const DURABLE: QueueDeclareOptions =
    QueueDeclareOptions { passive: false, durable: true, exclusive: false, auto_delete: false, nowait: false };

/// Properties of a message that is to survive.
fn persistent() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

/// A connection with a channel that confirms.
struct Client {
    connection: Connection,
    channel: Channel,
}

impl Client {
    async fn of(broker: &Broker) -> Self {
        let connection = connect(broker).await;
        let channel = confirming(&connection).await;
        Self { connection, channel }
    }

    /// Declares a durable queue.
    async fn queue(&self, name: &str, entries: &[(&str, AMQPValue)]) {
        client::declare_with(&self.channel, name, DURABLE, arguments(entries)).await;
    }

    /// Declares a queue on a channel of its own, and says what is wrong with it.
    async fn try_queue(&self, name: &str, options: QueueDeclareOptions, entries: &[(&str, AMQPValue)]) -> Result<u32, String> {
        let channel = client::channel(&self.connection).await;
        let declared = soon(channel.queue_declare(name.into(), options, arguments(entries))).await;
        declared.map(|queue| queue.message_count()).map_err(|error| error.to_string())
    }

    async fn has_queue(&self, name: &str) -> bool {
        let passive = QueueDeclareOptions { passive: true, ..DURABLE };
        match self.try_queue(name, passive, &[]).await {
            Ok(_) => true,
            Err(error) => {
                assert!(error.contains(&format!("NOT_FOUND - no queue '{name}'")), "{error}");
                false
            }
        }
    }

    /// Declares a durable exchange.
    async fn exchange(&self, name: &str, kind: &str, entries: &[(&str, AMQPValue)]) {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        self.try_exchange(name, kind, options, entries).await.expect("an exchange");
    }

    /// The same on a channel of its own, which says what is wrong with it.
    async fn try_exchange(
        &self,
        name: &str,
        kind: &str,
        options: ExchangeDeclareOptions,
        entries: &[(&str, AMQPValue)],
    ) -> Result<(), String> {
        let channel = client::channel(&self.connection).await;
        let kind = ExchangeKind::Custom(kind.to_owned());
        soon(channel.exchange_declare(name.into(), kind, options, arguments(entries))).await.map_err(|error| error.to_string())
    }

    async fn has_exchange(&self, name: &str) -> bool {
        let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        match self.try_exchange(name, "direct", passive, &[]).await {
            Ok(()) => true,
            Err(error) => {
                assert!(error.contains(&format!("NOT_FOUND - no exchange '{name}'")), "{error}");
                false
            }
        }
    }

    async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        self.bind_with(queue, exchange, key, &[]).await;
    }

    async fn bind_with(&self, queue: &str, exchange: &str, key: &str, entries: &[(&str, AMQPValue)]) {
        let options = QueueBindOptions::default();
        let bound = self.channel.queue_bind(queue.into(), exchange.into(), key.into(), options, arguments(entries));
        soon(bound).await.expect("a binding");
    }

    /// From one exchange to another.
    async fn link(&self, destination: &str, source: &str, key: &str) {
        let options = ExchangeBindOptions::default();
        let bound = self.channel.exchange_bind(destination.into(), source.into(), key.into(), options, FieldTable::default());
        soon(bound).await.expect("a binding");
    }

    /// Publishes a persistent message and awaits its confirm.
    async fn publish(&self, exchange: &str, key: &str, body: &str) {
        self.publish_with(exchange, key, body.as_bytes(), persistent()).await;
    }

    async fn publish_with(&self, exchange: &str, key: &str, body: &[u8], properties: BasicProperties) {
        client::publish_with(&self.channel, exchange, key, body, properties).await;
    }

    /// Publishes persistent messages to a queue, with their bodies.
    async fn fill(&self, queue: &str, bodies: &[&str]) {
        for body in bodies {
            self.publish("", queue, body).await;
        }
    }

    /// Whether a message with this key and these headers gets into a queue at all.
    async fn is_routed(&self, exchange: &str, key: &str, headers: FieldTable) -> bool {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = BasicProperties::default().with_headers(headers);
        let sent = self.channel.basic_publish(exchange.into(), key.into(), options, b"is it there?", properties);
        soon(soon(sent).await.expect("sent")).await.expect("a confirm").take_message().is_none()
    }

    /// The next message of a queue, which is not acknowledged.
    async fn get(&self, queue: &str) -> Option<BasicGetMessage> {
        soon(self.channel.basic_get(queue.into(), BasicGetOptions::default())).await.expect("an answer")
    }

    /// All that a queue has ready, acknowledged.
    async fn drain(&self, queue: &str) -> Vec<Delivery> {
        let mut taken = Vec::new();
        while let Some(got) = soon(self.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true })).await.expect("an answer") {
            taken.push(got.delivery);
        }
        taken
    }

    /// The bodies of all that a queue has ready, acknowledged.
    async fn bodies(&self, queue: &str) -> Vec<String> {
        self.drain(queue).await.iter().map(|delivery| text(&delivery.data)).collect()
    }

    /// The same with what is redelivered among them marked.
    async fn marked(&self, queue: &str) -> Vec<String> {
        let mark = |delivery: &Delivery| if delivery.redelivered { "again: " } else { "" }.to_owned() + &text(&delivery.data);
        self.drain(queue).await.iter().map(mark).collect()
    }

    async fn ready(&self, queue: &str) -> u32 {
        client::ready(&self.channel, queue).await
    }
}

/// A header of a message that has it.
fn header(delivery: &Delivery, name: &str) -> AMQPValue {
    let headers = delivery.properties.headers().as_ref().expect("headers");
    headers.inner().get(name).unwrap_or_else(|| panic!("no {name} in {headers:?}")).clone()
}
