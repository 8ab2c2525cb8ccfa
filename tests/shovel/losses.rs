//! Brokers that are killed in the middle: with confirms nothing is lost, and each queue's order stays.

use std::collections::BTreeSet;

use lapin::Connection;
use serde_json::{Value as Json, json};

use super::http::Http;
use super::support::broker::{Broker, End, Home};
use super::support::client::{channel, connect, consume, eventually_ready, ready, soon, take};
use super::two::{Fixed, Two, durable, fill, talk, uri};

const MESSAGES: u32 = 10_000;

fn moved(row: &Json) -> u64 {
    row["forwarded"].as_u64().unwrap_or(0)
}

/// Takes all that a queue has. Every number is there, and the first of each come in order; how many came more than once.
async fn complete(connection: &Connection, queue: &str) -> u32 {
    let channel = channel(connection).await;
    let count = ready(&channel, queue).await;
    let mut consumer = consume(&channel, queue).await;
    let mut seen = BTreeSet::new();
    let mut last = None;
    for _ in 0..count {
        let number: u32 = take(&mut consumer).await.parse().expect("a number");
        if seen.insert(number) {
            assert!(last < Some(number), "{number} after {last:?}");
            last = Some(number);
        }
    }
    let missing: Vec<u32> = (0..MESSAGES).filter(|number| !seen.contains(number)).take(5).collect();
    assert!(missing.is_empty(), "lost: {missing:?} …, {} of {MESSAGES} are there", seen.len());
    count - MESSAGES
}

fn drained(two: &Two) {
    two.until("s", "has moved all", |row| row["state"] == "running" && row["pending"] == 0 && moved(row) >= u64::from(MESSAGES));
}

#[tokio::test]
async fn the_destination_is_killed() {
    let destination = Fixed::new();
    let there = destination.start();
    let two = Two::start();
    let (from, filling) = talk(&two.source).await;
    durable(&from, "q").await;
    fill(&filling, "", "q", 0..MESSAGES).await;
    two.shovel("s", json!({"src-queue": "q", "dest-uri": destination.uri(), "dest-queue": "r", "src-prefetch-count": 50}));
    let row = two.until("s", "is in the middle", |row| moved(row) > 100);
    assert!(moved(&row) < u64::from(MESSAGES), "it was too fast to be caught in the middle");
    there.end(End::Killed);
    let row = two.until("s", "has noticed", |row| row["state"] == "terminated");
    assert!(row["reason"].as_str().is_some_and(|reason| reason.starts_with("destination: ")), "{row}");
    let there = destination.start();
    drained(&two);
    eventually_ready(&filling, "q", 0).await;
    let repeated = complete(&connect(&there).await, "r").await;
    assert!(repeated <= 50, "{repeated} came twice, and no more than the prefetch may");
}

#[tokio::test]
async fn the_source_is_killed() {
    let source = Fixed::new();
    let two = Two::of(source.start(), Broker::start());
    let (from, filling) = talk(&two.source).await;
    durable(&from, "q").await;
    fill(&filling, "", "q", 0..MESSAGES).await;
    two.shovel("s", json!({"src-uri": source.uri(), "src-queue": "q", "dest-queue": "r", "src-delete-after": "queue-length"}));
    two.until("s", "is in the middle", |row| moved(row) > 100);
    let Two { source: broker, here, http } = two;
    broker.end(End::Killed);
    let two = Two { source: source.start(), here, http };
    two.until_gone("s");
    let (_from, looking) = talk(&two.source).await;
    assert_eq!(ready(&looking, "q").await, 0, "it does not end before the queue is empty");
    complete(&connect(&two.here).await, "r").await;
}

#[tokio::test]
async fn the_node_that_shovels_is_killed() {
    let (source, home) = (Broker::start(), Home::new());
    let two = Two::of(source, home.start());
    let (from, filling) = talk(&two.source).await;
    durable(&from, "q").await;
    fill(&filling, "", "q", 0..MESSAGES).await;
    two.shovel("s", json!({"src-queue": "q", "dest-queue": "r", "src-delete-after": "queue-length"}));
    let row = two.until("s", "is in the middle", |row| moved(row) > 100);
    assert!(row["remaining"].as_u64().is_some_and(|left| left > 0), "{row}");
    let Two { source, here, .. } = two;
    here.end(End::Killed);
    let here = home.start();
    let two = Two { source, http: Http::guest(here.http()), here };
    two.until_gone("s");
    assert_eq!(ready(&filling, "q").await, 0);
    complete(&connect(&two.here).await, "r").await;
}

/// Whoever stops in order says what was confirmed before it goes: nothing comes twice.
#[tokio::test]
async fn an_orderly_stop_repeats_nothing() {
    let (source, home) = (Broker::start(), Home::new());
    let two = Two::of(source, home.start());
    let (from, filling) = talk(&two.source).await;
    durable(&from, "q").await;
    fill(&filling, "", "q", 0..MESSAGES).await;
    two.shovel("s", json!({"src-queue": "q", "dest-queue": "r"}));
    two.until("s", "is in the middle", |row| moved(row) > 100);
    let Two { source, here, .. } = two;
    here.end(End::InOrder);
    let here = home.start();
    let two = Two { source, http: Http::guest(here.http()), here };
    eventually_ready(&filling, "q", 0).await;
    two.until("s", "has moved all", |row| row["pending"] == 0);
    assert_eq!(complete(&connect(&two.here).await, "r").await, 0);
}

#[tokio::test]
async fn the_next_uri_of_the_list_is_tried() {
    let two = Two::start();
    let other = Broker::start();
    let refused = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let (from, filling) = talk(&two.source).await;
    durable(&from, "q").await;
    let uris = json!([format!("amqp://{refused}"), uri(&other), "amqp://"]);
    two.shovel("s", json!({"src-queue": "q", "dest-uri": uris, "dest-queue": "r"}));
    let row = two.until_running("s");
    assert_eq!(row["dest_uri"], format!("amqp://{}", other.address()));
    fill(&filling, "", "q", 0..10).await;
    two.until("s", "has moved some", |row| moved(row) == 10);
    other.end(End::Killed);
    let row = two.until("s", "runs elsewhere", |row| row["state"] == "running" && row["dest_uri"] == "amqp://");
    assert_eq!(moved(&row), 10, "what it has done before counts");
    fill(&filling, "", "q", 10..20).await;
    let here = connect(&two.here).await;
    let mut consumer = consume(&channel(&here).await, "r").await;
    for number in 10..20 {
        assert_eq!(soon(take(&mut consumer)).await, number.to_string());
    }
}

#[tokio::test]
async fn without_a_delay_nothing_is_tried_again() {
    let two = Two::start();
    let refused = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    two.shovel("s", json!({"src-uri": format!("amqp://{refused}"), "src-queue": "q", "dest-queue": "r", "reconnect-delay": 0}));
    let first = two.until("s", "fails", |row| row["state"] == "terminated");
    two.shovel("t", json!({"src-uri": format!("amqp://{refused}"), "src-queue": "q", "dest-queue": "r", "reconnect-delay": 1}));
    let before = two.until("t", "fails", |row| row["state"] == "terminated");
    two.until("t", "fails again", |row| row["state"] == "terminated" && row["timestamp"] != before["timestamp"]);
    assert_eq!(two.status("s"), first);
}
