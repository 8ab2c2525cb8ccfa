//! A retained log with groups of consumers: one stream keeps the messages, and every group reads all of them at its own pace,
//! from where it wants to: from the beginning, from a time, from now on, or from where it left off.
//!
//! A group that wants to continue keeps its place itself. This one keeps it in a queue that holds one message.
//!
//! Run the broker (`cargo run --release`), then `cargo run --example stream_groups`.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::time::{Duration, SystemTime};

use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions, BasicRejectOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};

const STREAM: &str = "leveret.example.readings";
/// Where billing keeps the offset of the last reading it has dealt with.
const BILLING_OFFSET: &str = "leveret.example.readings.billing";
const READINGS: usize = 12;
const BEFORE_THE_CRASH: usize = 5;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

async fn connect() -> lapin::Result<Connection> {
    let uri = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://127.0.0.1:5672".to_owned());
    Connection::connect(&uri, ConnectionProperties::default()).await
}

async fn declare<const N: usize>(channel: &Channel, queue: &str, arguments: [(&str, AMQPValue); N]) -> lapin::Result<()> {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert(name.into(), value);
    }
    channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), table).await?;
    Ok(())
}

async fn publish(channel: &Channel, queue: &str, body: &str) -> lapin::Result<()> {
    let properties = BasicProperties::default().with_delivery_mode(2);
    channel.basic_publish("".into(), queue.into(), BasicPublishOptions::default(), body.as_bytes(), properties).await?.await?;
    Ok(())
}

/// A group's reader. Groups do not know of each other, and reading takes nothing away.
async fn read_from(channel: &Channel, group: &str, offset: AMQPValue) -> lapin::Result<Consumer> {
    // How far a reader may be ahead of its acknowledgements; streams insist on a limit.
    channel.basic_qos(10, BasicQosOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), offset);
    channel.basic_consume(STREAM.into(), group.into(), BasicConsumeOptions::default(), arguments).await
}

/// The next reading, and where in the stream it is.
async fn next(readings: &mut Consumer) -> Result<(i64, String)> {
    let reading = readings.next().await.ok_or("the broker cancelled the reader")??;
    let headers = reading.properties.headers().as_ref();
    let offset = headers.and_then(|headers| headers.inner().get("x-stream-offset")?.as_long_long_int()).ok_or("no offset")?;
    // Makes room for another one; the message itself stays in the stream.
    reading.ack(BasicAckOptions::default()).await?;
    Ok((offset, String::from_utf8_lossy(&reading.data).into_owned()))
}

async fn take(group: &str, readings: &mut Consumer, count: usize) -> Result<()> {
    let mut seen = Vec::new();
    for _ in 0..count {
        let (offset, reading) = next(readings).await?;
        seen.push(format!("{offset}={reading}"));
    }
    println!("{group:>9} read {count:2}: {}", seen.join(" "));
    Ok(())
}

/// Billing's work: its place is stored with every reading, so that the next process goes on behind it.
async fn bill(connection: &Connection, count: usize) -> Result<()> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let start = match channel.basic_get(BILLING_OFFSET.into(), BasicGetOptions::default()).await? {
        Some(stored) => {
            let last: i64 = std::str::from_utf8(&stored.data)?.parse()?;
            println!("  billing continues behind {last}");
            // It goes when a newer one pushes it out, not before.
            stored.reject(BasicRejectOptions { requeue: true }).await?;
            AMQPValue::LongLongInt(last + 1)
        }
        None => {
            println!("  billing has no place yet, and begins at the beginning");
            AMQPValue::LongString("first".into())
        }
    };
    let mut readings = read_from(&channel, "billing", start).await?;
    for _ in 0..count {
        let (offset, reading) = next(&mut readings).await?;
        println!("  billing read {offset}={reading}");
        // Only now: a process that dies before this sees the reading again.
        publish(&channel, BILLING_OFFSET, &offset.to_string()).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let connection = connect().await?;
    let publisher = connection.create_channel().await?;
    publisher.confirm_select(ConfirmSelectOptions::default()).await?;
    // Kept for a week, or a gigabyte, whichever ends first.
    let week = [
        ("x-queue-type", AMQPValue::LongString("stream".into())),
        ("x-max-age", AMQPValue::LongString("7D".into())),
        ("x-max-length-bytes", AMQPValue::LongLongInt(1_000_000_000)),
    ];
    declare(&publisher, STREAM, week).await?;
    declare(&publisher, BILLING_OFFSET, [("x-max-length", AMQPValue::LongInt(1))]).await?;

    for n in 0..READINGS / 2 {
        publish(&publisher, STREAM, &format!("{}°", 15 + n)).await?;
    }
    // Times of the protocol are whole seconds, and the second half shall be in another one.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let noon = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let live_channel = connection.create_channel().await?;
    let mut live = read_from(&live_channel, "live", AMQPValue::LongString("next".into())).await?;
    for n in READINGS / 2..READINGS {
        publish(&publisher, STREAM, &format!("{}°", 15 + n)).await?;
    }

    // A process of the billing group that dies on the way, and the one that goes on.
    let crashing = connect().await?;
    bill(&crashing, BEFORE_THE_CRASH).await?;
    crashing.close(200, "crashed".into()).await?;
    bill(&connection, READINGS - BEFORE_THE_CRASH).await?;

    take("live", &mut live, READINGS - READINGS / 2).await?;
    for (group, start, count) in
        [("replay", AMQPValue::LongString("first".into()), READINGS), ("afternoon", AMQPValue::Timestamp(noon), READINGS - READINGS / 2)]
    {
        let channel = connection.create_channel().await?;
        let mut readings = read_from(&channel, group, start).await?;
        take(group, &mut readings, count).await?;
    }

    for queue in [STREAM, BILLING_OFFSET] {
        publisher.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}
