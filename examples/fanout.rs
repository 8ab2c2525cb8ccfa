//! Fan-out: one exchange, a queue for every subscriber, every message to all of them.
//!
//! Run the broker (`cargo run --release`), then `cargo run --example fanout`.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use futures_lite::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties, Consumer, ExchangeKind};

const EXCHANGE: &str = "leveret.example.news";
const NEWS: [&str; 4] = ["rain from the west", "carrots are ripe", "the fox is away", "good night"];

async fn connect() -> lapin::Result<Connection> {
    let uri = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://127.0.0.1:5672".to_owned());
    Connection::connect(&uri, ConnectionProperties::default()).await
}

/// A queue of one's own, bound to the exchange: from now on everything published there arrives here too.
async fn subscribe(connection: &Connection) -> lapin::Result<Consumer> {
    let channel = connection.create_channel().await?;
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await?.name().clone();
    channel.queue_bind(queue.clone(), EXCHANGE.into(), "".into(), QueueBindOptions::default(), FieldTable::default()).await?;
    let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    channel.basic_consume(queue, "".into(), no_ack, FieldTable::default()).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let connection = connect().await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    // Goes with its last binding, so nothing is left of this example.
    let auto_delete = ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Fanout, auto_delete, FieldTable::default()).await?;

    let mut subscribers = Vec::new();
    for name in ["radio", "paper", "archive"] {
        subscribers.push((name, subscribe(&connection).await?));
    }

    for news in NEWS {
        let sent = channel
            .basic_publish(EXCHANGE.into(), "".into(), BasicPublishOptions::default(), news.as_bytes(), BasicProperties::default())
            .await?;
        sent.await?;
    }

    for (name, mut consumer) in subscribers {
        let mut received = Vec::new();
        while received.len() < NEWS.len() {
            let delivery = consumer.next().await.ok_or("cancelled")??;
            received.push(String::from_utf8_lossy(&delivery.data).into_owned());
        }
        println!("{name:>7} got {}: {}", received.len(), received.join(", "));
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}
