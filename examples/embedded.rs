//! A broker in this program: started, used with lapin, and stopped. Nothing else has to run.
//!
//! `cargo run --example embedded`

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::time::Instant;

use futures_lite::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use leveret::Broker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let began = Instant::now();
    let broker = Broker::builder().start().await?;
    println!("{} serves after {:?}", broker.amqp_url(), began.elapsed());

    let connection = Connection::connect(&broker.amqp_url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.queue_declare("greetings".into(), QueueDeclareOptions::default(), FieldTable::default()).await?;
    let publish =
        channel.basic_publish("".into(), "greetings".into(), BasicPublishOptions::default(), b"hello", BasicProperties::default());
    publish.await?.await?;
    println!("published: {:?}", broker.queue("/", "greetings").await.ok_or("no queue")?);

    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut consumer = channel.basic_consume("greetings".into(), "reader".into(), options, arguments).await?;
    let delivery = consumer.next().await.ok_or("no delivery")??;
    println!("delivered: {:?} {:?}", String::from_utf8_lossy(&delivery.data), broker.queue("/", "greetings").await.ok_or("no queue")?);
    delivery.ack(BasicAckOptions::default()).await?;
    let settled = broker.queue_until("/", "greetings", |queue| queue.unacked == 0).await;
    println!("settled:   {:?}", settled.ok_or("no queue")?);

    connection.close(200, "done".into()).await?;
    broker.stop().await;
    println!("all of it in {:?}", began.elapsed());
    Ok(())
}
