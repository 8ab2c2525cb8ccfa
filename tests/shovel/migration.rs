//! A broker drained into ours, and back: `LEVERET_CLIENT_URL=amqp://guest:guest@127.0.0.1:5672` has it be another than ours, and
//! `SHOVEL_MESSAGES=100000` says how many messages go.

use std::time::Instant;

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde_json::json;

use super::http::Http;
use super::support::broker::{Broker, Home};
use super::support::client::{channel, confirming, connect, ready, soon};
use super::two::{Two, durable, fill, numbers, uri};

const QUEUE: &str = "leveret.shovel.migration";
/// How many are published before the confirms are awaited.
const PORTION: u32 = 5000;

#[tokio::test]
async fn a_broker_is_drained_and_filled_again() {
    let count: u32 = std::env::var("SHOVEL_MESSAGES").map_or(20_000, |count| count.parse().expect("a number"));
    let home = Home::new();
    let two = Two::of(Broker::start(), home.start());
    let other = std::env::var("LEVERET_CLIENT_URL").unwrap_or_else(|_| uri(&two.source));
    let from = soon(Connection::connect(&other, ConnectionProperties::default())).await.expect("a connection");
    soon(channel(&from).await.queue_delete(QUEUE.into(), QueueDeleteOptions::default())).await.expect("none before");
    durable(&from, QUEUE).await;
    let filling = confirming(&from).await;
    for first in (0..count).step_by(PORTION as usize) {
        fill(&filling, "", QUEUE, first..count.min(first + PORTION)).await;
    }
    let here = |http: &Http, name: &str, value: serde_json::Value| {
        let started = Instant::now();
        http.put(&format!("/api/parameters/shovel/%2F/{name}"), &json!({"value": value})).is(201);
        while !two.status(name).is_null() {
            assert!(started.elapsed().as_secs() < 300, "{}", two.status(name));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        #[expect(clippy::print_stderr, reason = "a figure for whoever looks at it")]
        {
            eprintln!("{name}: {:.0} messages a second", f64::from(count) / started.elapsed().as_secs_f64());
        }
    };
    let into =
        json!({"src-uri": other, "src-queue": QUEUE, "dest-uri": "amqp://", "dest-queue": QUEUE, "src-delete-after": "queue-length"});
    here(&two.http, "into", into);
    let local = connect(&two.here).await;
    assert_eq!(ready(&channel(&local).await, QUEUE).await, count);
    assert_eq!(ready(&channel(&from).await, QUEUE).await, 0);
    let back =
        json!({"src-uri": "amqp://", "src-queue": QUEUE, "dest-uri": other, "dest-queue": QUEUE, "src-delete-after": "queue-length"});
    here(&two.http, "back", back);
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let left = soon(channel(&local).await.queue_declare(QUEUE.into(), passive, FieldTable::default())).await.expect("the queue");
    assert_eq!(left.message_count(), 0);
    assert_eq!(numbers(&from, QUEUE, count).await, (0..count).collect::<Vec<u32>>(), "in order, and none twice");
    soon(channel(&from).await.queue_delete(QUEUE.into(), QueueDeleteOptions::default())).await.expect("deleted");
}
