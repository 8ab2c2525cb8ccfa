//! States to go back to, beginning again, and crashes, with clients that look on.

use lapin::ExchangeKind;
use lapin::options::{BasicAckOptions, BasicGetOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use serde_json::json;

use super::{consume, declare, get, persistent, publish, virtual_broker};
use crate::support::broker::{Broker, Scratch};
use crate::support::client::{confirming, connect, soon, uri, words};
use crate::{Http, publish as publish_raw};

/// Queues of all kinds with something in each, and something delayed.
async fn furnish(channel: &Channel) {
    declare(channel, "q", &[]).await;
    declare(channel, "first", &[("x-max-priority", AMQPValue::ShortShortUInt(5))]).await;
    declare(channel, "quorum", &[("x-queue-type", words("quorum"))]).await;
    declare(channel, "stream", &[("x-queue-type", words("stream"))]).await;
    declare(channel, "short", &[("x-message-ttl", AMQPValue::LongInt(60_000))]).await;
    let mut delayed = FieldTable::default();
    delayed.insert("x-delayed-type".into(), words("fanout"));
    let kind = ExchangeKind::Custom("x-delayed-message".to_owned());
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    soon(channel.exchange_declare("later".into(), kind, options, delayed)).await.expect("an exchange");
    soon(channel.queue_bind("q".into(), "later".into(), "".into(), QueueBindOptions::default(), FieldTable::default()))
        .await
        .expect("bound");
    for body in ["a", "b", "c"] {
        publish(channel, "", "q", body, persistent()).await;
        publish(channel, "", "quorum", body, persistent()).await;
        publish(channel, "", "stream", body, persistent()).await;
    }
    publish(channel, "", "q", "transient", BasicProperties::default()).await;
    publish(channel, "", "first", "low", persistent().with_priority(1)).await;
    publish(channel, "", "first", "high", persistent().with_priority(5)).await;
    publish(channel, "", "short", "expiring", persistent()).await;
    let mut headers = FieldTable::default();
    headers.insert("x-delay".into(), AMQPValue::LongInt(30_000));
    publish(channel, "later", "", "delayed", persistent().with_headers(headers)).await;
}

fn counts(http: &Http) -> Vec<(String, u64)> {
    let queues = http.get("/api/queues").ok();
    let of = |queue: &serde_json::Value| (queue["name"].as_str().expect("a name").to_owned(), queue["messages"].as_u64().expect("a count"));
    queues.as_array().expect("a list").iter().map(of).collect()
}

fn furnished() -> Vec<(String, u64)> {
    [("first", 2), ("q", 4), ("quorum", 3), ("short", 1), ("stream", 3)].map(|(name, count)| (name.to_owned(), count)).to_vec()
}

async fn take_all(broker: &Broker, http: &Http) {
    let connection = connect(broker).await;
    let channel = confirming(&connection).await;
    assert_eq!(counts(http), furnished());
    for body in ["a", "b", "c", "transient"] {
        assert_eq!(get(&channel, "q").await, Some((body.to_owned(), body == "a")), "{body}");
    }
    assert_eq!(get(&channel, "first").await, Some(("high".to_owned(), false)));
    assert_eq!(get(&channel, "first").await, Some(("low".to_owned(), false)));
    for body in ["a", "b", "c"] {
        assert_eq!(get(&channel, "quorum").await, Some((body.to_owned(), false)));
    }
    let fired = super::advance(http, 30_000);
    assert_eq!(fired[0]["what"], "delayed-routed");
    assert_eq!(get(&channel, "q").await, Some(("delayed".to_owned(), false)));
    let fired = super::advance(http, 30_000);
    assert_eq!((&fired[0]["what"], &fired[0]["queue"]), (&json!("message-expired"), &json!("short")));
}

#[tokio::test]
async fn a_virtual_host_goes_back_to_what_it_was() {
    let (broker, http) = virtual_broker();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    furnish(&channel).await;
    // Held by a consumer when it is taken: it is back, and redelivered.
    let held = soon(channel.basic_get("q".into(), BasicGetOptions::default())).await.expect("an answer").expect("a message");
    let saved = http.post("/api/test/snapshots", &json!({"vhost": "/", "id": "furnished"})).json();
    assert_eq!(saved, json!({"id": "furnished", "node": false, "vhosts": {"/": {"queues": 5, "messages": 14}}}));
    soon(held.delivery.ack(BasicAckOptions::default())).await.expect("acked");
    for _ in 0..3 {
        get(&channel, "q").await;
    }
    http.delete("/api/queues/%2F/quorum").is(204);
    http.put("/api/queues/%2F/new", &json!({})).is(201);
    http.post("/api/test/snapshots/furnished/restore", &json!({})).is(204);
    // Who was connected is told why no more.
    let error = soon(async {
        loop {
            if let Err(error) = channel.queue_declare("q".into(), QueueDeclareOptions::default(), FieldTable::default()).await {
                return error;
            }
        }
    });
    let error = error.await.to_string();
    assert!(error.contains("connection") || error.contains("test reset"), "{error}");
    take_all(&broker, &http).await;
    // As often as one likes, and the stream from its first offset on.
    http.post("/api/test/snapshots/furnished/restore", &json!({})).is(204);
    assert_eq!(counts(&http)[4], ("stream".to_owned(), 3));
    assert_eq!(http.get("/api/test/snapshots").ok().as_array().map(Vec::len), Some(1));
    http.delete("/api/test/snapshots/furnished").is(204);
    http.post("/api/test/snapshots/furnished/restore", &json!({})).is(404);
    http.post("/api/test/snapshots", &json!({"vhost": "nowhere"})).is(404);
}

#[tokio::test]
async fn a_node_is_kept_in_a_file() {
    let scratch = Scratch::new();
    let file = scratch.path("node.saved");
    let file = file.to_str().expect("text");
    {
        let (broker, http) = virtual_broker();
        let connection = connect(&broker).await;
        let channel = confirming(&connection).await;
        furnish(&channel).await;
        let held = soon(channel.basic_get("q".into(), BasicGetOptions::default())).await.expect("an answer").expect("a message");
        http.put("/api/vhosts/other", &json!({})).is(201);
        http.put("/api/users/u", &json!({"password": "secret", "tags": ""})).is(201);
        let saved = http.post("/api/test/snapshots", &json!({"file": file}));
        assert_eq!((saved.status, &saved.json()["node"]), (201, &json!(true)));
        drop(held);
    }
    let (broker, http) = virtual_broker();
    http.put("/api/vhosts/later", &json!({})).is(201);
    let loaded = http.post("/api/test/snapshots", &json!({"from_file": file})).json();
    let id = loaded["id"].as_str().expect("a name");
    http.post(&format!("/api/test/snapshots/{id}/restore"), &json!({})).is(204);
    http.get("/api/vhosts/other").is(200);
    http.get("/api/vhosts/later").is(404);
    http.get("/api/users/u").is(200);
    take_all(&broker, &http).await;
    let nonsense = scratch.file("nonsense", "leveret saved 1\nbut no more");
    let refused = http.post("/api/test/snapshots", &json!({"from_file": nonsense.to_str()}));
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.json()["reason"].as_str().is_some_and(|reason| reason.ends_with("it ends too early")), "{}", refused.text());
    http.post("/api/test/snapshots", &json!({"from_file": "/no/such/file"})).is(400);
}

#[tokio::test]
async fn a_reset_leaves_definitions_or_nothing() {
    let (broker, http) = virtual_broker();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    furnish(&channel).await;
    http.post("/api/test/reset", &json!({"vhost": "/", "keep": "definitions", "connections": "keep"})).is(204);
    assert!(counts(&http).iter().all(|(_, count)| *count == 0), "{:?}", counts(&http));
    assert_eq!(counts(&http).len(), 5);
    // The connection goes on as if nothing had been.
    publish(&channel, "", "q", "again", persistent()).await;
    assert_eq!(get(&channel, "q").await, Some(("again".to_owned(), false)));
    assert_eq!(super::advance(&http, 60_000), [] as [serde_json::Value; 0], "nothing delayed is left");
    let mut cancelled = consume(&channel, "q").await;
    http.post("/api/vhosts/%2F/reset", &json!({"keep": "nothing", "connections": "keep"})).is(204);
    assert_eq!(counts(&http), []);
    assert!(soon(futures_lite::StreamExt::next(&mut cancelled)).await.is_none(), "the consumer is cancelled");
    http.get("/api/exchanges/%2F/later").is(404);
    declare(&channel, "q", &[]).await;
    http.post("/api/test/reset", &json!({"keep": "everything"})).is(400);
    http.post("/api/test/reset", &json!({"vhost": "nowhere"})).is(404);
    // Publishing over HTTP is on a connection of its own, which a reset closes as well.
    let message = json!({"properties": {}, "routing_key": "q", "payload": "x", "payload_encoding": "string"});
    assert_eq!(http.post("/api/exchanges/%2F/amq.default/publish", &message).ok()["routed"], true);
    http.put("/api/users/u", &json!({"password": "secret", "tags": ""})).is(201);
    http.post("/api/test/reset", &json!({})).is(204);
    http.get("/api/users/u").is(404);
    assert_eq!(counts(&http), []);
    assert_eq!(http.post("/api/exchanges/%2F/amq.default/publish", &message).ok()["routed"], false);
}

#[tokio::test]
async fn a_crash_leaves_what_was_confirmed() {
    let (broker, http) = virtual_broker();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    furnish(&channel).await;
    soon(channel.queue_declare("transient".into(), QueueDeclareOptions::default(), FieldTable::default())).await.expect("a queue");
    let held = soon(channel.basic_get("q".into(), BasicGetOptions::default())).await.expect("an answer").expect("a message");
    let answer = http.post("/api/test/crash", &json!({})).ok();
    assert!(answer["ms"].as_f64().is_some_and(|ms| ms < 3000.0), "{answer}");
    assert!(!connection.status().connected() || soon(held.delivery.ack(BasicAckOptions::default())).await.is_err());
    let mut expected = furnished();
    // The transient message and the transient queue are gone.
    expected[1].1 = 3;
    assert_eq!(counts(&http), expected);
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    assert_eq!(get(&channel, "q").await, Some(("a".to_owned(), true)), "it may have been delivered");
    publish(&channel, "", "q", "after", persistent()).await;
    for unsynced in [json!({"unsynced": "kept"}), json!({"unsynced": "torn", "seed": 3}), json!({"unsynced": "lost"})] {
        http.post("/api/test/crash", &unsynced).ok();
    }
    assert_eq!(counts(&http)[1], ("q".to_owned(), 3));
    http.post("/api/test/crash", &json!({"unsynced": "some"})).is(400);
    // Virtual hosts that come after a crash are kept as well.
    http.put("/api/vhosts/new", &json!({})).is(201);
    http.put("/api/queues/new/n", &json!({"durable": true})).is(201);
    http.post("/api/test/crash", &json!({})).ok();
    http.get("/api/queues/new/n").is(200);
}

#[test]
fn crashes_under_load_lose_nothing_that_was_confirmed() {
    let (broker, http) = virtual_broker();
    let mut confirmed = 0;
    for round in 0..10 {
        let mut raw = crate::Raw::channel(&broker);
        crate::confirm(&mut raw);
        raw.declare("q", 2);
        for _ in 0..50 {
            raw.send(&crate::wire::publish_persistent(1, "", "q", b"x"));
            raw.expect(crate::wire::ACK);
            confirmed += 1;
        }
        // Some more are under way; whether they are there afterwards is open.
        (0..50).for_each(|_| raw.send(&crate::wire::publish_persistent(1, "", "q", b"unconfirmed")));
        let unsynced = ["lost", "kept", "torn"][round % 3];
        http.post("/api/test/crash", &json!({"unsynced": unsynced, "seed": round})).ok();
        let there = counts(&http)[0].1;
        assert!(there >= confirmed, "round {round}: {there} of {confirmed}");
        confirmed = there;
    }
    let mut raw = crate::Raw::channel(&broker);
    crate::confirm(&mut raw);
    publish_raw(&mut raw, "", "q", b"and it goes on");
}

#[tokio::test]
async fn who_connects_during_a_crash_is_let_in_or_reset() {
    let (broker, http) = virtual_broker();
    let crashes = tokio::task::spawn_blocking(move || (0..20).for_each(|_| drop(http.post("/api/test/crash", &json!({})).ok())));
    let mut connections = 0;
    while !crashes.is_finished() {
        // What must not happen is that nobody ever answers.
        if let Ok(connection) = soon(lapin::Connection::connect(&uri(&broker), lapin::ConnectionProperties::default())).await {
            let _ = soon(connection.create_channel()).await;
            connections += 1;
        }
    }
    crashes.await.expect("crashes");
    assert!(connections > 0);
}
