//! Streams: the same offsets after a restart, and retention that goes on (behaviour Q22, Q23).

use lapin::Consumer;
use lapin::options::{BasicAckOptions, BasicConsumeOptions};
use lapin::types::AMQPValue;

use super::{BOTH, Client, header};
use crate::support::broker::{Broker, End, Home};
use crate::support::client::{self, arguments, eventually_ready, next, prefetch, soon, text, words};

fn stream(more: &[(&'static str, AMQPValue)]) -> Vec<(&'static str, AMQPValue)> {
    let mut entries = vec![("x-queue-type", words("stream"))];
    entries.extend_from_slice(more);
    entries
}

/// A reader from this offset on.
async fn read(client: &Client, from: AMQPValue) -> Consumer {
    let channel = client::channel(&client.connection).await;
    prefetch(&channel, 100).await;
    let table = arguments(&[("x-stream-offset", from)]);
    soon(channel.basic_consume("s".into(), "".into(), BasicConsumeOptions::default(), table)).await.expect("a consumer")
}

/// The next offset and body.
async fn next_of(reader: &mut Consumer) -> (i64, String) {
    let delivery = next(reader).await;
    soon(delivery.ack(BasicAckOptions::default())).await.expect("sent");
    let AMQPValue::LongLongInt(offset) = header(&delivery, "x-stream-offset") else { panic!("no long") };
    (offset, text(&delivery.data))
}

async fn started(home: &Home) -> (Broker, Client) {
    let broker = home.start();
    let client = Client::of(&broker).await;
    (broker, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn offsets_are_the_same() {
    for how in BOTH {
        let home = Home::new();
        let (broker, client) = started(&home).await;
        client.queue("s", &stream(&[])).await;
        for n in 0..10 {
            client.publish("", "s", &n.to_string()).await;
        }
        // What was read is still there for others.
        let mut reader = read(&client, words("first")).await;
        for n in 0..10 {
            assert_eq!(next_of(&mut reader).await, (n, n.to_string()));
        }
        broker.end(how);

        let (_broker, client) = started(&home).await;
        assert_eq!(client.ready("s").await, 10);
        let mut waiting = read(&client, words("next")).await;
        client.publish("", "s", "10").await;
        assert_eq!(next_of(&mut waiting).await, (10, "10".to_owned()), "after {how:?}");
        for (from, first) in [(words("first"), 0), (words("last"), 10), (AMQPValue::LongLongInt(7), 7), (words("1h"), 0)] {
            let mut reader = read(&client, from.clone()).await;
            for n in first..=10 {
                assert_eq!(next_of(&mut reader).await, (n, n.to_string()), "{from:?} after {how:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_time_from_before_the_restart() {
    let home = Home::new();
    let (broker, client) = started(&home).await;
    client.queue("s", &stream(&[])).await;
    client.publish("", "s", "early").await;
    // Timestamps have seconds: the next one that begins after this.
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let between = now() + 1;
    crate::support::eventually("the next second", || (now() >= between).then_some(()));
    client.publish("", "s", "late").await;
    broker.end(End::Killed);

    let (_broker, client) = started(&home).await;
    let mut reader = read(&client, AMQPValue::Timestamp(between)).await;
    assert_eq!(next_of(&mut reader).await, (1, "late".to_owned()));
    let mut reader = read(&client, AMQPValue::Timestamp(between - 60)).await;
    assert_eq!(next_of(&mut reader).await, (0, "early".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn filters_still_find_what_is_theirs() {
    let home = Home::new();
    let (broker, client) = started(&home).await;
    client.queue("s", &stream(&[])).await;
    for (body, value) in [("1", "red"), ("2", "blue"), ("3", "red")] {
        let headers = arguments(&[("x-stream-filter-value", words(value))]);
        client.publish_with("", "s", body.as_bytes(), super::persistent().with_headers(headers)).await;
    }
    broker.end(End::Killed);

    let (_broker, client) = started(&home).await;
    let channel = client::channel(&client.connection).await;
    prefetch(&channel, 10).await;
    let table = arguments(&[("x-stream-offset", words("first")), ("x-stream-filter", words("red"))]);
    let consumer = channel.basic_consume("s".into(), "".into(), BasicConsumeOptions::default(), table);
    let mut reader = soon(consumer).await.expect("a consumer");
    assert_eq!(next_of(&mut reader).await, (0, "1".to_owned()));
    assert_eq!(next_of(&mut reader).await, (2, "3".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn retention_by_size_goes_on() {
    for how in BOTH {
        let home = Home::new();
        let (broker, client) = started(&home).await;
        let segments =
            [("x-max-length-bytes", AMQPValue::LongInt(400_000)), ("x-stream-max-segment-size-bytes", AMQPValue::LongInt(100_000))];
        client.queue("s", &stream(&segments)).await;
        let body = "x".repeat(10_000);
        for _ in 0..100 {
            client.publish("", "s", &body).await;
        }
        let before = client.ready("s").await;
        assert!((30..=50).contains(&before), "{before}");
        broker.end(how);

        let (_broker, client) = started(&home).await;
        assert_eq!(client.ready("s").await, before, "after {how:?}");
        let mut reader = read(&client, words("first")).await;
        assert_eq!(next_of(&mut reader).await.0, i64::from(100 - before));
        for _ in 0..100 {
            client.publish("", "s", &body).await;
        }
        let after = client.ready("s").await;
        assert!((30..=50).contains(&after), "{after} after {how:?}");
        let mut reader = read(&client, words("first")).await;
        assert_eq!(next_of(&mut reader).await.0, i64::from(200 - after));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_became_too_old_while_nobody_was_there_is_gone() {
    let home = Home::new();
    let (broker, client) = started(&home).await;
    client.queue("s", &stream(&[("x-max-age", words("1s"))])).await;
    client.publish("", "s", "old").await;
    broker.end(End::Killed);

    let (_broker, client) = started(&home).await;
    eventually_ready(&client.channel, "s", 0).await;
    client.publish("", "s", "new").await;
    let mut reader = read(&client, words("first")).await;
    assert_eq!(next_of(&mut reader).await, (1, "new".to_owned()));
}
