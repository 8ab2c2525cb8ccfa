//! /api/test with real clients: a clock that is moved, states to go back to, crashes.

mod clock;
mod state;
mod vhosts;

use lapin::options::{BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Consumer};
use serde_json::{Value as Json, json};

use super::http::Http;
use super::support::broker::Broker;
use super::support::client::{self, declare_with, soon};

/// A broker whose time stands still.
pub(super) fn virtual_broker() -> (Broker, Http) {
    let broker = Broker::with_config("test_api = true\nclock = virtual\nseed = 7");
    let http = Http::guest(broker.http());
    (broker, http)
}

pub(super) fn durable() -> QueueDeclareOptions {
    QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() }
}

pub(super) async fn declare(channel: &Channel, queue: &str, arguments: &[(&str, AMQPValue)]) {
    declare_with(channel, queue, durable(), client::arguments(arguments)).await;
}

/// Publishes to a queue, and waits for the confirm.
pub(super) async fn publish(channel: &Channel, exchange: &str, key: &str, body: &str, properties: BasicProperties) {
    let options = BasicPublishOptions::default();
    let confirm = soon(channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties)).await.expect("published");
    let confirm = soon(confirm).await.expect("an outcome");
    assert!(confirm.is_ack(), "{confirm:?}");
}

pub(super) fn persistent() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

pub(super) async fn consume(channel: &Channel, queue: &str) -> Consumer {
    soon(channel.basic_consume(queue.into(), "c".into(), BasicConsumeOptions::default(), FieldTable::default())).await.expect("a consumer")
}

/// Takes the head of a queue for good: its body, and whether it is redelivered.
pub(super) async fn get(channel: &Channel, queue: &str) -> Option<(String, bool)> {
    let got = soon(channel.basic_get(queue.into(), BasicGetOptions { no_ack: true })).await.expect("an answer")?;
    Some((String::from_utf8(got.delivery.data.clone()).expect("text"), got.delivery.redelivered))
}

/// Moves the clock; what has fired, with its times.
pub(super) fn advance(http: &Http, ms: u64) -> Vec<Json> {
    let answer = http.post("/api/test/clock/advance", &json!({"ms": ms})).ok();
    answer["fired"].as_array().expect("a list").clone()
}

pub(super) fn now(http: &Http) -> u64 {
    http.get("/api/test/clock").ok()["now"].as_u64().expect("a time")
}

#[test]
fn it_is_there_only_when_asked_for_and_for_administrators() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    for path in ["/api/test", "/api/test/clock", "/api/test/snapshots"] {
        http.get(path).is(404);
    }
    http.post("/api/test/crash", &json!({})).is(404);
    let (broker, http) = virtual_broker();
    let found = http.get("/api/test").ok();
    assert_eq!(found["clock"]["virtual"], true);
    Http::nobody(broker.http()).get("/api/test").is(401);
    for other in [super::manager(&http), super::monitor(&http)] {
        other.get("/api/test").is(401);
        other.post("/api/test/crash", &json!({})).is(401);
        other.post("/api/test/clock/advance", &json!({"ms": 1})).is(401);
    }
}

#[test]
fn alarms_are_raised_and_cleared() {
    let (_broker, http) = virtual_broker();
    http.put("/api/test/alarms", &json!({"memory": true})).is(204);
    assert_eq!(http.get("/api/test").ok()["alarms"], json!({"memory": true, "disk": false}));
    http.put("/api/test/alarms", &json!({"memory": false, "disk": true})).is(204);
    assert_eq!(http.get("/api/test").ok()["alarms"], json!({"memory": false, "disk": true}));
    http.put("/api/test/alarms", &json!({"disk": "perhaps"})).is(400);
}
