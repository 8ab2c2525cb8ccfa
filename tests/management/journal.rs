//! /api/test: the journal, waiting for events and for rest, looking at what is unacked.

use std::collections::BTreeSet;

use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicRejectOptions, QueueDeclareOptions};
use serde_json::{Value as Json, json};

use super::http::{Answer, Http};
use super::support::broker::{Broker, Scratch, leveret};
use super::support::client::{
    arguments, confirming, connect, consume, consume_with, declare, declare_with, next, prefetch, publish, publish_with, soon, words,
};

/// A broker that was started for tests.
fn tested(options: &[&str]) -> (Broker, Http) {
    let mut command = leveret();
    command.arg("--test-api").args(options);
    let broker = Broker::launch(command, Scratch::new());
    let http = Http::guest(broker.http());
    (broker, http)
}

fn events(http: &Http, query: &str) -> Vec<Json> {
    http.get(&format!("/api/test/journal?{query}")).ok()["events"].as_array().expect("a list").clone()
}

fn names(events: &[Json]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().expect("a name")).collect()
}

/// What a request is answered with that takes its time; the runtime goes on meanwhile.
async fn asked(http: &Http, path: &'static str, body: Json) -> Answer {
    let http = http.clone();
    tokio::task::spawn_blocking(move || http.post(path, &body)).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_test_api_there_is_no_journal() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    for path in ["/api/test/journal", "/api/test/journal/story/1", "/api/test/queues/%2F/q/messages", "/api/test/errors", "/api/test/lint"]
    {
        assert_eq!(http.get(path).status, 404, "{path}");
    }
    assert_eq!(http.post("/api/test/settle", &json!({})).status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_from_its_publish_to_its_ack() {
    let (broker, http) = tested(&[]);
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    assert_eq!(http.get("/api/extensions").ok(), json!([{"test_api": true}]), "for the web page");
    declare(&channel, "q").await;
    let properties = BasicProperties::default().with_message_id("order-1".into()).with_correlation_id("c".into());
    publish_with(&channel, "", "q", b"body", properties).await;
    // The publisher has been told, so it is in the journal.
    let all = events(&http, "");
    assert_eq!(names(&all), ["published", "routed", "enqueued", "confirmed"]);
    let published = &all[0];
    assert_eq!(published["seq"], 1);
    assert_eq!(published["vhost"], "/");
    assert_eq!(published["exchange"], "");
    assert_eq!(published["routing_key"], "q");
    assert_eq!(published["size"], 4);
    assert_eq!(published["channel"], 1);
    assert_eq!(published["properties"], json!({"message_id": "order-1", "correlation_id": "c"}));
    let names_of_connections = http.get("/api/connections").ok();
    assert_eq!(published["connection"], names_of_connections[0]["name"]);
    assert_eq!(all[1]["queues"], json!(["q"]));
    assert!(all.iter().all(|event| event["message"] == published["message"]), "{all:?}");

    let mut consumer = consume(&channel, "q").await;
    let delivery = next(&mut consumer).await;
    soon(delivery.ack(BasicAckOptions::default())).await.expect("an ack");
    let waited = asked(&http, "/api/test/journal/wait", json!({"match": {"queue": "q", "event": "acked"}})).await.ok();
    assert_eq!(names(waited["events"].as_array().expect("a list")), ["acked"]);
    assert_eq!(names(&events(&http, "event=delivered,acked")), ["delivered", "acked"]);
    assert_eq!(names(&events(&http, "message_id=order-*&limit=2")), ["published", "routed"]);
    assert_eq!(events(&http, "since=6").len(), 1);

    let story = http.get("/api/test/journal/story/1");
    assert_eq!(story.header("content-type"), Some("text/plain; charset=utf-8"));
    let text = story.text();
    let steps: Vec<&str> = text.lines().collect();
    assert_eq!(steps[0], "message 1 (message_id \"order-1\") in virtual host \"/\", 4 bytes");
    assert!(steps[1].contains("  published by ") && steps[1].ends_with(" to the default exchange with key \"q\""), "{text}");
    assert_eq!(steps[2], "    +0.000 s  routed to \"q\"");
    assert!(text.contains(" acknowledged by "), "{text}");
    let by_name = http.send("GET", "/api/test/journal/story/order-1", &[("accept", "application/json")], b"").ok();
    assert_eq!(by_name["steps"].as_array().map(Vec::len), Some(6));
    http.get("/api/test/journal/story/77").refuses(404, "not_found", "the journal has no message '77'");

    http.delete("/api/test/journal").is(204);
    assert_eq!(http.get("/api/test/journal").ok(), json!({"events": [], "next": 7, "first": 7}));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_json_are_the_same_events() {
    let (broker, http) = tested(&[]);
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    publish(&channel, "", "q", b"body").await;
    let lines = http.send("GET", "/api/test/journal", &[("accept", "application/x-ndjson")], b"");
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    let parsed: Vec<Json> = lines.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(parsed, events(&http, ""));
    assert_eq!(http.get("/api/test/journal?format=jsonl").text(), lines.text());
    http.get("/api/test/journal?event=acknowledged").refuses(
        400,
        "bad_request",
        "there is no event 'acknowledged': there are published, routed, unroutable, returned, delayed, delay-over, enqueued, delivered, \
         got, acked, nacked, rejected, requeued, expired, dead-lettered, held, dropped, confirmed, nacked-to-publisher, restored",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_what_it_waits_for_has_come() {
    let (broker, http) = tested(&[]);
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    let waiting = {
        let http = http.clone();
        let body = json!({"match": {"event": ["enqueued"], "queue": "q"}, "count": 3, "timeout_ms": 20_000});
        tokio::task::spawn_blocking(move || http.post("/api/test/journal/wait", &body))
    };
    for _ in 0..3 {
        publish(&channel, "", "q", b"body").await;
    }
    let came = soon(waiting).await.expect("an answer").ok();
    assert_eq!(came["events"].as_array().map(Vec::len), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_in_vain_says_what_happened_instead() {
    let (broker, http) = tested(&[]);
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    declare(&channel, "other").await;
    publish(&channel, "", "q", b"body").await;
    publish(&channel, "", "other", b"body").await;
    let got = soon(channel.basic_get("q".into(), BasicGetOptions::default())).await.expect("an answer").expect("a message");
    soon(got.delivery.reject(BasicRejectOptions { requeue: true })).await.expect("sent");
    asked(&http, "/api/test/journal/wait", json!({"match": {"event": "requeued"}})).await.ok();
    let body = json!({"match": {"queue": "q", "event": "enqueued"}, "count": 2, "timeout_ms": 50});
    let missed = asked(&http, "/api/test/journal/wait", body).await;
    assert_eq!(missed.status, 408);
    let missed = missed.json();
    assert_eq!(missed["error"], "timeout");
    assert_eq!(missed["expected"], json!({"match": {"queue": ["q"], "event": ["enqueued"]}, "count": 2, "since": 0}));
    assert_eq!(missed["events"].as_array().map(Vec::len), Some(1));
    let text = missed["reason"].as_str().expect("a text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "expected 2 × event enqueued, queue q");
    assert_eq!(lines[1], "got 1 in 50 ms");
    assert_eq!(lines[2], "  #3 message 1 enqueued in \"q\"");
    assert_eq!(lines[3], "nearest misses:");
    assert!(lines.contains(&"  1 with queue other; the last one: #7 message 2 enqueued in \"other\""), "{text}");
    assert!(lines.contains(&"what happened in queue \"q\": 1 enqueued, 1 got, 1 rejected, 1 requeued"), "{text}");
    assert_eq!(lines.last(), Some(&"it has 1 ready, 0 unacked, 0 consumers"));
}

#[tokio::test(flavor = "multi_thread")]
async fn settling_waits_for_the_last_ack() {
    let (broker, http) = tested(&[]);
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    asked(&http, "/api/test/settle", json!({"queues": ["q"]})).await.ok();
    asked(&http, "/api/test/settle", json!({"queues": ["missing"]})).await.refuses(404, "not_found", "there is no queue 'missing' in /");
    prefetch(&channel, 1).await;
    let mut consumer = consume(&channel, "q").await;
    publish(&channel, "", "q", b"1").await;
    publish(&channel, "", "q", b"2").await;
    let first = next(&mut consumer).await;
    let left = asked(&http, "/api/test/settle", json!({"vhost": "/", "timeout_ms": 50})).await;
    assert_eq!(left.status, 408);
    let left = left.json();
    let queue = &left["left"][0]["queues"][0];
    assert_eq!((&queue["ready"], &queue["unacked"]), (&json!(1), &json!(1)));
    assert_eq!(queue["held_by"][0]["channel"], 1);
    let text = left["reason"].as_str().expect("a text");
    assert!(
        text.starts_with("not at rest after 50 ms\n  queue \"q\" in \"/\" has 1 ready, 1 unacked, 1 consumers\n    1 unacked by 127"),
        "{text}"
    );
    let waiting = {
        let http = http.clone();
        tokio::task::spawn_blocking(move || http.post("/api/test/settle", &json!({"queues": ["q"], "timeout_ms": 20_000})))
    };
    soon(first.ack(BasicAckOptions::default())).await.expect("an ack");
    let second = next(&mut consumer).await;
    soon(second.ack(BasicAckOptions::default())).await.expect("an ack");
    soon(waiting).await.expect("an answer").ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unacked_is_seen_with_who_has_it() {
    let (broker, http) = tested(&["--clock", "virtual"]);
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare_with(&channel, "q", QueueDeclareOptions { exclusive: true, ..Default::default() }, Default::default()).await;
    for body in ["1", "2", "3", "4"] {
        publish(&channel, "", "q", body.as_bytes()).await;
    }
    prefetch(&channel, 2).await;
    let mut consumer = consume_with(&channel, "q", BasicConsumeOptions::default()).await;
    next(&mut consumer).await;
    next(&mut consumer).await;
    http.post("/api/test/clock/advance", &json!({"ms": 1500})).ok();
    let unacked = http.get("/api/test/queues/%2F/q/messages?state=unacked&offset=1").ok();
    let messages = unacked["messages"].as_array().expect("a list");
    assert_eq!(messages.len(), 1);
    let message = &messages[0];
    assert_eq!((&message["payload"], &message["delivery_tag"], &message["message"]), (&json!("2"), &json!(2), &json!(2)));
    assert_eq!((&message["channel"], &message["unacked_ms"]), (&json!(1), &json!(1500)));
    assert_eq!(message["connection"], http.get("/api/connections").ok()[0]["name"]);
    assert_eq!(message["consumer_tag"], consumer.tag().as_str());
    let ready = http.get("/api/test/queues/%2F/q/messages?offset=1&count=5").ok();
    let bodies: Vec<&Json> = ready["messages"].as_array().expect("a list").iter().map(|message| &message["payload"]).collect();
    assert_eq!(bodies, [&json!("4")]);
    assert_eq!(http.get("/api/test/queues/%2F/none/messages").status, 404);
    // Nobody has touched anything.
    let queue = http.get("/api/queues/%2F/q").ok();
    assert_eq!((&queue["messages_ready"], &queue["messages_unacknowledged"]), (&json!(2), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_not_given_twice_by_virtual_hosts() {
    let (broker, http) = tested(&["--clock", "virtual"]);
    http.put("/api/vhosts/second", &json!({})).is(201);
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    let to_dead = [("x-message-ttl", lapin::types::AMQPValue::LongInt(50)), ("x-dead-letter-exchange", words(""))];
    declare_with(&channel, "q", QueueDeclareOptions::default(), arguments(&to_dead)).await;
    publish(&channel, "", "q", b"").await;
    http.post("/api/test/clock/advance", &json!({"ms": 60})).ok();
    let in_second = json!({"routing_key": "nowhere", "properties": {}, "payload": "", "payload_encoding": "string"});
    http.post("/api/exchanges/second/amq.default/publish", &in_second).ok();
    let all = events(&http, "");
    let expired = all.iter().find(|event| event["event"] == "expired").expect("it is over");
    let published = &all[0];
    assert_eq!(expired["time"].as_u64(), published["time"].as_u64().map(|at| at + 50), "it expires when it is due");
    let numbers: BTreeSet<u64> = all.iter().filter_map(|event| event["message"].as_u64()).collect();
    assert_eq!(numbers.len(), 2, "{all:?}");
    assert_eq!(names(&events(&http, "vhost=second")), ["published", "unroutable", "returned", "confirmed"]);
}
