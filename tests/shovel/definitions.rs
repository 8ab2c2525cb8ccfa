//! Parameters that come, change and go.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::{Value as Json, json};

use super::http::Http;
use super::support::broker::{Broker, End, Home};
use super::support::client::{channel, connect, eventually_ready, publish, soon};
use super::two::{Two, durable, fill, talk};

/// Waits until a queue has so many consumers.
async fn consumers(channel: &lapin::Channel, queue: &str, count: u32) {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let seen = async {
        while channel.queue_declare(queue.into(), passive, FieldTable::default()).await.expect("there").consumer_count() != count {}
    };
    soon(seen).await;
}

#[tokio::test]
async fn a_changed_one_begins_anew_and_a_deleted_one_stops() {
    let two = Two::start();
    let (from, filling) = talk(&two.source).await;
    durable(&from, "q").await;
    let to = connect(&two.here).await;
    let looking = channel(&to).await;
    two.shovel("s", json!({"src-queue": "q", "dest-queue": "a"}));
    two.until_running("s");
    publish(&filling, "", "q", b"1").await;
    eventually_ready(&looking, "a", 1).await;
    // The same again changes nothing.
    let before = two.status("s");
    two.shovel("s", json!({"src-queue": "q", "dest-queue": "a"}));
    assert_eq!(two.status("s")["timestamp"], before["timestamp"]);
    assert_eq!(two.status("s")["forwarded"], 1);
    two.shovel("s", json!({"src-queue": "q", "dest-queue": "b"}));
    let row = two.until("s", "is another", |row| row["state"] == "running" && row["dest_queue"] == "b");
    assert_eq!(row["forwarded"], 0);
    publish(&filling, "", "q", b"2").await;
    eventually_ready(&looking, "b", 1).await;
    consumers(&filling, "q", 1).await;
    two.http.delete("/api/parameters/shovel/%2F/s").is(204);
    assert_eq!(two.http.get("/api/shovels").ok(), json!([]));
    consumers(&filling, "q", 0).await;
    publish(&filling, "", "q", b"3").await;
    eventually_ready(&filling, "q", 1).await;
    // One with work of its own, at once after one of the same name.
    two.shovel("s", json!({"src-queue": "q", "dest-queue": "c", "src-delete-after": 1}));
    two.until_gone("s");
    publish(&filling, "", "q", b"4").await;
    two.shovel("s", json!({"src-queue": "q", "dest-queue": "c", "src-delete-after": 1}));
    two.until_gone("s");
    eventually_ready(&looking, "c", 2).await;
}

#[tokio::test]
async fn those_of_a_virtual_host_go_with_it() {
    let two = Two::start();
    let (from, filling) = talk(&two.source).await;
    durable(&from, "q").await;
    two.http.put("/api/vhosts/v", &json!({})).is(201);
    let local = two.definition(json!({"src-queue": "q", "dest-uri": "amqp:///v", "dest-queue": "r"}));
    // Who made it may open it.
    two.http.delete("/api/permissions/v/guest").is(204);
    let reason = "Validation failed\n\nuser \"guest\" may not connect to vhost \"v\"\n";
    two.http.put("/api/parameters/shovel/v/s", &json!({"value": local})).refuses(400, "bad_request", reason);
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    two.http.put("/api/permissions/v/guest", &all).is(201);
    two.http.put("/api/parameters/shovel/v/s", &json!({"value": local})).is(201);
    let row = two.until_running("s");
    assert_eq!((&row["vhost"], &row["dest_uri"]), (&json!("v"), &json!("amqp:///v")));
    assert_eq!(two.http.get("/api/shovels/v").ok().as_array().map(Vec::len), Some(1));
    assert_eq!(two.http.get("/api/shovels/%2F").ok(), json!([]));
    fill(&filling, "", "q", 0..3).await;
    two.until("s", "has moved all", |row| row["forwarded"] == 3);
    two.http.delete("/api/vhosts/v").is(204);
    assert_eq!(two.http.get("/api/shovels").ok(), json!([]));
    two.http.get("/api/shovels/v").is(404);
    consumers(&filling, "q", 0).await;
}

#[tokio::test]
async fn they_are_there_again_after_a_restart_and_come_with_definitions() {
    let home = Home::new();
    let two = Two::of(Broker::start(), home.start());
    let (from, filling) = talk(&two.source).await;
    durable(&from, "q").await;
    let value = two.definition(json!({"src-queue": "q", "dest-queue": "r"}));
    let definitions = json!({"parameters": [{"vhost": "/", "component": "shovel", "name": "s", "value": value}]});
    two.http.post("/api/definitions", &definitions).is(204);
    two.until_running("s");
    let Two { source, here, .. } = two;
    here.end(End::Killed);
    let here = home.start();
    let two = Two { source, http: Http::guest(here.http()), here };
    fill(&filling, "", "q", 0..3).await;
    two.until("s", "has moved all", |row| row["forwarded"] == 3);
}

/// The texts are RabbitMQ's, for what RabbitMQ refuses.
#[test]
fn what_is_no_shovel() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let bad = |value: Json, reason: &str| {
        let reason = format!("Validation failed\n\n{reason}\n");
        http.put("/api/parameters/shovel/%2F/s", &json!({"value": value})).refuses(400, "bad_request", &reason);
    };
    bad(json!({}), "Must specify 'src-exchange' or 'src-queue'\nKey \"dest-uri\" not found in s\nKey \"src-uri\" not found in s");
    let with = |more: Json| {
        let mut value = json!({"src-uri": "amqp://", "dest-uri": "amqp://", "src-queue": "q"});
        value.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        value
    };
    bad(with(json!({"src-exchange": "x"})), "Cannot specify 'src-exchange' and 'src-queue'");
    bad(with(json!({"dest-exchange": "x", "dest-queue": "q"})), "Cannot specify 'dest-exchange' and 'dest-queue'");
    bad(with(json!({"ack-mode": "no-ack", "src-delete-after": 5})), "Cannot specify 'no-ack' and numerical 'delete-after'");
    let amqp10 = "src-protocol should be one of [&lt;&lt;\"amqp091\"&gt;&gt;], actually was &lt;&lt;\"amqp10\"&gt;&gt;";
    bad(with(json!({"src-protocol": "amqp10"})), amqp10);
    bad(with(json!({"dest-uri": "amqps://"})), "\"amqps://\" not a valid URI: TLS without a host");
    bad(with(json!({"src-uri": []})), "src-uri: there is no URI");
    assert_eq!(http.get("/api/shovels").ok(), json!([]));
}
