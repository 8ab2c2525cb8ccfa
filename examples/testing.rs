//! Five problems of testing what uses a broker, and how a broker in the test solves each, without a sleep: retries with back-off, dead
//! letters, a consumer that dies, a broker that restarts, a consumer that does not keep up.
//!
//! `cargo test --example testing`

#![cfg_attr(not(test), allow(dead_code, unused_imports, reason = "only its tests use it"))]
#![expect(clippy::print_stdout, reason = "a program has to say something")]

use std::time::Duration;

use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions, BasicRejectOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use leveret::Broker;

fn main() {
    println!("cargo test --example testing");
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

async fn channel(broker: &Broker) -> lapin::Result<(Connection, Channel)> {
    let connection = Connection::connect(&broker.amqp_url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

async fn declare(channel: &Channel, name: &str, arguments: &[(&str, AMQPValue)]) -> lapin::Result<()> {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert((*key).into(), value.clone());
    }
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), options, table).await.map(drop)
}

/// Publishes a persistent message, and waits for its confirm; whether the broker took it.
async fn publish(channel: &Channel, queue: &str, body: &str) -> lapin::Result<bool> {
    let properties = BasicProperties::default().with_delivery_mode(2);
    let sent = channel.basic_publish("".into(), queue.into(), BasicPublishOptions::default(), body.as_bytes(), properties).await?;
    Ok(sent.await?.is_ack())
}

async fn consume(channel: &Channel, queue: &str, prefetch: u16) -> lapin::Result<Consumer> {
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default()).await
}

async fn next(consumer: &mut Consumer) -> lapin::Result<Delivery> {
    consumer.next().await.unwrap_or_else(|| Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()))
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// How long each retry waits.
const BACK_OFF: [(&str, i32); 3] = [("jobs.retry.1", 1_000), ("jobs.retry.2", 10_000), ("jobs.retry.3", 60_000)];

/// A worker that fails: what it has tried waits in a queue of its own, and comes back from there when its time is over.
async fn put_off(channel: &Channel, job: &Delivery, attempt: usize) -> lapin::Result<()> {
    publish(channel, BACK_OFF[attempt].0, &String::from_utf8_lossy(&job.data)).await?;
    job.ack(BasicAckOptions::default()).await.map(drop)
}

/// Three retries, after a second, ten, and a minute: the test takes milliseconds, and sees that none comes too early.
#[tokio::test]
async fn retries_wait_longer_and_longer() -> Outcome {
    let broker = Broker::builder().virtual_clock().start().await?;
    let (_connection, channel) = channel(&broker).await?;
    declare(&channel, "jobs", &[]).await?;
    for (name, ms) in BACK_OFF {
        let back =
            [("x-message-ttl", AMQPValue::LongInt(ms)), ("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("jobs"))];
        declare(&channel, name, &back).await?;
    }
    publish(&channel, "jobs", "mail the invoice").await?;
    let mut jobs = consume(&channel, "jobs", 1).await?;
    for (attempt, (name, ms)) in BACK_OFF.into_iter().enumerate() {
        put_off(&channel, &next(&mut jobs).await?, attempt).await?;
        broker.queue_until("/", name, |waiting| waiting.ready == 1).await.ok_or("no virtual host")?;

        let nearly = Duration::from_millis(u64::try_from(ms)? - 1);
        assert!(broker.advance(nearly).await?.is_empty(), "it comes too early");
        assert_eq!(broker.advance(Duration::from_millis(1)).await?.len(), 1, "it comes when its time is over");
    }
    next(&mut jobs).await?.ack(BasicAckOptions::default()).await?;
    broker.queue_until("/", "jobs", |jobs| (jobs.ready, jobs.unacked) == (0, 0)).await.ok_or("no virtual host")?;
    Ok(())
}

/// What a worker rejects, and what nobody fetches in time, ends up where somebody looks, with the reason.
#[tokio::test]
async fn dead_letters_say_why() -> Outcome {
    let broker = Broker::builder().virtual_clock().test_api(true).start().await?;
    let (_connection, channel) = channel(&broker).await?;
    declare(&channel, "dead", &[]).await?;
    let to_the_dead =
        [("x-message-ttl", AMQPValue::LongInt(30_000)), ("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("dead"))];
    declare(&channel, "orders", &to_the_dead).await?;
    publish(&channel, "orders", "not an order").await?;
    publish(&channel, "orders", "a late order").await?;
    let order = channel.basic_get("orders".into(), BasicGetOptions::default()).await?.ok_or("no order")?;
    order.reject(BasicRejectOptions { requeue: false }).await?;
    broker.queue_until("/", "dead", |dead| dead.ready == 1).await.ok_or("no virtual host")?;
    broker.advance(Duration::from_secs(30)).await?;
    assert_eq!(broker.queue("/", "dead").await.map(|dead| dead.ready), Some(2));

    for (body, why) in [("not an order", "rejected"), ("a late order", "expired")] {
        let letter = channel.basic_get("dead".into(), BasicGetOptions::default()).await?.ok_or("no dead letter")?;
        assert_eq!(letter.data, body.as_bytes());
        let headers = letter.properties.headers().as_ref().ok_or("no headers")?;
        assert_eq!(headers.inner().get("x-first-death-reason"), Some(&text(why)));
    }
    // The journal tells the same, without a client.
    let told = broker.journal(&[("queue", "orders"), ("event", "dead-lettered")]).await?;
    assert_eq!(told.iter().filter_map(|recorded| recorded.event.reason).collect::<Vec<_>>(), ["rejected", "expired"]);
    Ok(())
}

/// A consumer dies in the middle of its work: what it had goes to another, marked as redelivered, and nothing is lost or done twice.
#[tokio::test]
async fn what_a_dead_consumer_had_goes_to_another() -> Outcome {
    let broker = Broker::builder().start().await?;
    let (_publisher, publishing) = channel(&broker).await?;
    declare(&publishing, "jobs", &[]).await?;
    for n in 0..3 {
        publish(&publishing, "jobs", &n.to_string()).await?;
    }
    let address = broker.amqp_addr().ok_or("no TCP")?;
    let stream = tokio::net::TcpStream::connect(address).await?;
    let options = leveret::client::Options::plain("guest", "guest", "/");
    let doomed = leveret::client::Connection::open(stream, options).await?;
    let mut its_jobs = doomed.channel().await?.consume(leveret::client::Consume::from("jobs")).await?;
    assert_eq!(&its_jobs.next().await?.ok_or("no job")?.body[..], b"0");
    broker.queue_until("/", "jobs", |jobs| (jobs.ready, jobs.unacked) == (0, 3)).await.ok_or("no virtual host")?;
    // Its socket closes without a word, as when its process is killed.
    drop((its_jobs, doomed));
    broker.queue_until("/", "jobs", |jobs| (jobs.ready, jobs.consumers) == (3, 0)).await.ok_or("no virtual host")?;

    let (_connection, working) = channel(&broker).await?;
    let mut jobs = consume(&working, "jobs", 10).await?;
    for n in 0..3 {
        let job = next(&mut jobs).await?;
        assert_eq!((&*job.data, job.redelivered), (n.to_string().as_bytes(), true));
        job.ack(BasicAckOptions::default()).await?;
    }
    broker.queue_until("/", "jobs", |jobs| (jobs.ready, jobs.unacked) == (0, 0)).await.ok_or("no virtual host")?;
    Ok(())
}

/// The broker dies and is there again: what was confirmed is, too, and a client that connects again goes on.
#[tokio::test]
async fn what_was_confirmed_survives_the_broker() -> Outcome {
    let broker = Broker::builder().test_api(true).start().await?;
    let (_before, publishing) = channel(&broker).await?;
    declare(&publishing, "orders", &[]).await?;
    for n in 0..10 {
        assert!(publish(&publishing, "orders", &n.to_string()).await?, "confirmed");
    }
    broker.crash().await?;
    assert!(publish(&publishing, "orders", "lost").await.is_err(), "its connection is gone");

    let (_after, working) = channel(&broker).await?;
    let mut orders = consume(&working, "orders", 0).await?;
    for n in 0..10 {
        let order = next(&mut orders).await?;
        assert_eq!(&*order.data, n.to_string().as_bytes());
        order.ack(BasicAckOptions::default()).await?;
    }
    broker.queue_until("/", "orders", |orders| (orders.ready, orders.unacked) == (0, 0)).await.ok_or("no virtual host")?;
    Ok(())
}

/// A consumer that does not keep up: it holds no more than its prefetch, the queue takes no more than its bound and says so to the
/// publisher, and whoever holds a job of a quorum queue for too long loses it to another.
#[tokio::test]
async fn a_slow_consumer_slows_publishers_and_loses_what_it_sits_on() -> Outcome {
    let broker = Broker::builder().virtual_clock().test_api(true).start().await?;
    let (_publisher, publishing) = channel(&broker).await?;
    let bounds = [("x-queue-type", text("quorum")), ("x-max-length", AMQPValue::LongInt(3)), ("x-overflow", text("reject-publish"))];
    declare(&publishing, "jobs", &bounds).await?;
    let (_slow, working) = channel(&broker).await?;
    let mut jobs = consume(&working, "jobs", 2).await?;
    let mut taken = 0u64;
    while publish(&publishing, "jobs", &taken.to_string()).await? {
        taken += 1;
    }
    let held = broker.queue("/", "jobs").await.ok_or("no queue")?;
    assert_eq!((held.unacked, held.ready), (2, taken - 2), "the rest waits in the queue, which is full");
    assert_eq!(&*next(&mut jobs).await?.data, b"0");

    // Half an hour later the consumer has not settled anything: it is cancelled, and its jobs are there for another.
    let fired = broker.advance(Duration::from_secs(1801)).await?;
    assert_eq!(fired.iter().map(|fire| fire.firing.what.name()).collect::<Vec<_>>(), ["consumer-timeout"]);
    let (_other, rescuing) = channel(&broker).await?;
    let mut rescued = consume(&rescuing, "jobs", 0).await?;
    let first = next(&mut rescued).await?;
    assert_eq!((&*first.data, first.redelivered), (&b"0"[..], true));
    for _ in 1..taken {
        next(&mut rescued).await?;
    }
    Ok(())
}
