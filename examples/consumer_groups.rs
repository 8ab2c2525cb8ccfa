//! Groups of consumers: every group gets every message (fan-out), and within a group each message goes to one member
//! (load balancing). One exchange, one queue per group, several consumers per queue.
//!
//! Run the broker (`cargo run --release`), then `cargo run --example consumer_groups`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

use std::collections::BTreeMap;

use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::sync::mpsc;

const EXCHANGE: &str = "leveret.example.orders";
const ORDERS: usize = 12;
/// The groups, and how many members each has.
const GROUPS: [(&str, usize); 3] = [("billing", 2), ("shipping", 3), ("statistics", 1)];

/// A member of a group and an order that it got.
type Received = (String, String);

async fn connect() -> lapin::Result<Connection> {
    let uri = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://127.0.0.1:5672".to_owned());
    Connection::connect(&uri, ConnectionProperties::default()).await
}

/// The group's queue, which all its members share.
async fn create_group(channel: &Channel, group: &str) -> lapin::Result<String> {
    let queue = format!("{EXCHANGE}.{group}");
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.as_str().into(), exclusive, FieldTable::default()).await?;
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.as_str().into(), EXCHANGE.into(), "".into(), options, FieldTable::default()).await?;
    Ok(queue)
}

async fn join_group(connection: &Connection, queue: &str, member: String, received: mpsc::UnboundedSender<Received>) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut orders = channel.basic_consume(queue.into(), member.as_str().into(), options, FieldTable::default()).await?;
    tokio::spawn(async move {
        while let Some(Ok(order)) = orders.next().await {
            let _ = received.send((member.clone(), String::from_utf8_lossy(&order.data).into_owned()));
            if let Err(error) = order.ack(BasicAckOptions::default()).await {
                eprintln!("{member}: {error}");
            }
        }
    });
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let connection = connect().await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    // Goes with its last binding, so nothing is left of this example.
    let auto_delete = ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Fanout, auto_delete, FieldTable::default()).await?;

    let (sender, mut receiver) = mpsc::unbounded_channel();
    for (group, members) in GROUPS {
        let queue = create_group(&channel, group).await?;
        for n in 1..=members {
            join_group(&connection, &queue, format!("{group} {n}"), sender.clone()).await?;
        }
    }

    for n in 1..=ORDERS {
        let order = format!("#{n}");
        let sent = channel
            .basic_publish(EXCHANGE.into(), "".into(), BasicPublishOptions::default(), order.as_bytes(), BasicProperties::default())
            .await?;
        sent.await?;
    }

    let mut by_member: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for _ in 0..ORDERS * GROUPS.len() {
        let (member, order) = receiver.recv().await.ok_or("the consumers are gone")?;
        by_member.entry(member).or_default().push(order);
    }
    for (member, orders) in by_member {
        println!("{member:>12} got {:2}: {}", orders.len(), orders.join(" "));
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}
