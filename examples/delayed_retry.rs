//! Retrying later: a job that fails waits in a queue with a time to live, comes back by dead-lettering when its time is up, and
//! is parked for a human after so many attempts. No timers in the program, and nothing is lost if it dies.
//!
//! Run the broker (`cargo run --release`), then `cargo run --example delayed_retry`.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicRejectOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

const WORK: &str = "leveret.example.retry.work";
const DELAY: &str = "leveret.example.retry.delay";
const PARKING: &str = "leveret.example.retry.parking";

const DELAY_MS: i32 = 200;
const ATTEMPTS: i64 = 3;
/// The jobs, and at which attempt each succeeds, if ever.
const JOBS: [(&str, Option<i64>); 4] =
    [("resize a picture", Some(1)), ("send a mail", Some(2)), ("call a partner", Some(3)), ("divide by zero", None)];

async fn connect() -> lapin::Result<Connection> {
    let uri = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://127.0.0.1:5672".to_owned());
    Connection::connect(&uri, ConnectionProperties::default()).await
}

/// A queue whose dead letters go to another queue, if it has one.
async fn declare(channel: &Channel, queue: &str, dead_letters_to: Option<&str>, time_to_live_ms: Option<i32>) -> lapin::Result<()> {
    let mut arguments = FieldTable::default();
    if let Some(target) = dead_letters_to {
        // The exchange without a name takes a message to the queue that the routing key names.
        arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
        arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(target.into()));
    }
    if let Some(time_to_live_ms) = time_to_live_ms {
        arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(time_to_live_ms));
    }
    // Exclusive, so that nothing is left of this example; real work would have a durable queue.
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), options, arguments).await?;
    Ok(())
}

/// The attempts before this one: the broker counts in the message how often it was rejected from the work queue.
fn failures(job: &Delivery) -> i64 {
    let headers = job.properties.headers().as_ref();
    let Some(AMQPValue::FieldArray(deaths)) = headers.and_then(|headers| headers.inner().get("x-death")) else { return 0 };
    let deaths = deaths.as_slice().iter().filter_map(AMQPValue::as_field_table);
    let is = |death: &FieldTable, field: &str, text: &str| death.inner().get(field) == Some(&AMQPValue::LongString(text.into()));
    let mut rejections = deaths.filter(|death| is(death, "queue", WORK) && is(death, "reason", "rejected"));
    rejections.next().and_then(|death| death.inner().get("count")?.as_long_long_int()).unwrap_or(0)
}

async fn publish(channel: &Channel, queue: &str, body: &[u8]) -> lapin::Result<()> {
    let properties = BasicProperties::default().with_delivery_mode(2);
    channel.basic_publish("".into(), queue.into(), BasicPublishOptions::default(), body, properties).await?.await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let connection = connect().await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    declare(&channel, WORK, Some(DELAY), None).await?;
    declare(&channel, DELAY, Some(WORK), Some(DELAY_MS)).await?;
    declare(&channel, PARKING, None, None).await?;

    for (job, _) in JOBS {
        publish(&channel, WORK, job.as_bytes()).await?;
    }

    let options = BasicConsumeOptions::default();
    let mut jobs = channel.basic_consume(WORK.into(), "worker".into(), options, FieldTable::default()).await?;
    let mut open = JOBS.len();
    while open > 0 {
        let job = jobs.next().await.ok_or("the broker cancelled the consumer")??;
        let name = String::from_utf8_lossy(&job.data).into_owned();
        let attempt = failures(&job) + 1;
        let succeeds_at = JOBS.iter().find(|(job, _)| *job == name).and_then(|(_, attempt)| *attempt);
        if succeeds_at.is_some_and(|succeeds_at| attempt >= succeeds_at) {
            println!("{name}: done at attempt {attempt}");
            job.ack(BasicAckOptions::default()).await?;
            open -= 1;
        } else if attempt < ATTEMPTS {
            println!("{name}: attempt {attempt} failed, again in {DELAY_MS} ms");
            job.reject(BasicRejectOptions { requeue: false }).await?;
        } else {
            println!("{name}: attempt {attempt} failed, parked");
            // First there, then gone here: at worst it is parked twice.
            publish(&channel, PARKING, &job.data).await?;
            job.ack(BasicAckOptions::default()).await?;
            open -= 1;
        }
    }

    while let Some(parked) = channel.basic_get(PARKING.into(), BasicGetOptions { no_ack: true }).await? {
        println!("in the parking queue: {}", String::from_utf8_lossy(&parked.data));
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}
