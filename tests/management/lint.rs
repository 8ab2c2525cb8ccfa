//! /api/test/errors, /api/test/lint and --fail-on: what clients have been told, and what they should be.

use lapin::options::{BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::{Value as Json, json};

use super::http::Http;
use super::support::broker::{Broker, Scratch, leveret};
use super::support::client::{arguments, channel, connect, declare, declare_with, prefetch, soon};

fn started(options: &[&str]) -> (Broker, Http) {
    let mut command = leveret();
    command.args(options);
    let broker = Broker::launch(command, Scratch::new());
    let http = Http::guest(broker.http());
    (broker, http)
}

fn errors(http: &Http) -> Vec<Json> {
    http.get("/api/test/errors").ok()["errors"].as_array().expect("a list").clone()
}

/// `lint subject count` of each finding of a group.
fn found(http: &Http, group: &str) -> Vec<String> {
    let report = http.get(&format!("/api/test/lint?only={group}")).ok();
    let findings = report["findings"].as_array().expect("a list");
    let shown = findings
        .iter()
        .map(|f| format!("{} {} {}", f["lint"].as_str().expect("a name"), f["subject"].as_str().expect("a text"), f["count"]));
    shown.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inequivalent_declaration_is_compared_field_by_field() {
    let (broker, http) = started(&["--test-api"]);
    let connection = connect(&broker).await;
    let first = channel(&connection).await;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let existing = arguments(&[("x-max-length", AMQPValue::LongInt(10)), ("x-message-ttl", AMQPValue::LongInt(1000))]);
    declare_with(&first, "q", durable, existing).await;
    let declared = arguments(&[("x-max-length", AMQPValue::LongLongInt(10)), ("x-expires", AMQPValue::LongInt(5))]);
    soon(first.queue_declare("q".into(), QueueDeclareOptions::default(), declared)).await.expect_err("another queue");
    let all = errors(&http);
    assert_eq!(all.len(), 1, "{all:?}");
    let error = &all[0];
    let text = "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'";
    assert_eq!((&error["code"], &error["text"], &error["channel"]), (&json!(406), &json!(text), &json!(1)));
    assert_eq!((&error["vhost"], &error["user"]), (&json!("/"), &json!("guest")));
    assert_eq!(error["connection"], http.get("/api/connections").ok()[0]["name"]);
    assert_eq!(
        error["compared"],
        json!([
            {"field": "durable", "declared": "false", "existing": "true", "differs": true},
            {"field": "exclusive", "declared": "false", "existing": "false", "differs": false},
            {"field": "auto_delete", "declared": "false", "existing": "false", "differs": false},
            {"field": "arguments.x-expires", "declared": "5 (signedint)", "existing": null, "differs": true},
            {"field": "arguments.x-max-length", "declared": "10 (long)", "existing": "10 (signedint)", "differs": false},
            {"field": "arguments.x-message-ttl", "declared": null, "existing": "1000 (signedint)", "differs": true},
        ])
    );
    let frames: Vec<&str> = error["frames"].as_array().expect("a list").iter().map(|frame| frame.as_str().expect("a text")).collect();
    assert!(frames[0].ends_with("channel 1: channel.open"), "{frames:?}");
    assert!(
        frames[1].ends_with("queue.declare \"q\" durable {x-max-length = 10 (signedint), x-message-ttl = 1000 (signedint)}"),
        "{frames:?}"
    );
    assert!(frames[2].ends_with("queue.declare \"q\" {x-expires = 5 (signedint), x-max-length = 10 (long)}"), "{frames:?}");
    assert_eq!(frames.len(), 3);

    let uri = format!("amqp://guest:wrong@{}/%2f", broker.address());
    soon(Connection::connect(&uri, ConnectionProperties::default())).await.expect_err("a wrong password");
    let refused = errors(&http).pop().expect("an error");
    assert_eq!((&refused["code"], &refused["vhost"]), (&json!(403), &Json::Null));
    assert!(refused["text"].as_str().expect("a text").starts_with("ACCESS_REFUSED - Login was refused"), "{refused}");
    assert_eq!(http.get("/api/test/errors?count=1").ok()["errors"].as_array().map(Vec::len), Some(1));
    assert_eq!(found(&http, "errors"), [format!("error {text} 1")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_frames_are_kept_than_twenty() {
    let (broker, http) = started(&["--test-api"]);
    let connection = connect(&broker).await;
    let first = channel(&connection).await;
    declare(&first, "q").await;
    for _ in 0..30 {
        let sent = first.basic_publish("".into(), "q".into(), BasicPublishOptions::default(), b"body", BasicProperties::default());
        soon(sent).await.expect("sent");
    }
    soon(first.queue_purge("missing".into(), Default::default())).await.expect_err("no such queue");
    let error = errors(&http).pop().expect("an error");
    let frames = error["frames"].as_array().expect("a list");
    assert_eq!(frames.len(), 20);
    assert!(
        frames[0].as_str().expect("a text").ends_with("channel 1: basic.publish exchange \"\" routing-key \"q\", 4 bytes"),
        "{frames:?}"
    );
    assert!(frames[19].as_str().expect("a text").ends_with("channel 1: queue.purge \"missing\""), "{frames:?}");
    assert_eq!(error["compared"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn habits_are_told_by_group() {
    let (broker, http) = started(&["--test-api"]);
    let connection = connect(&broker).await;
    let first = channel(&connection).await;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    declare(&first, "transient").await;
    declare_with(&first, "durable", durable, FieldTable::default()).await;
    declare_with(&first, "unused", durable, FieldTable::default()).await;
    soon(first.basic_consume("transient".into(), "".into(), BasicConsumeOptions::default(), FieldTable::default()))
        .await
        .expect("a consumer");
    prefetch(&first, 10).await;
    soon(first.basic_consume("durable".into(), "".into(), BasicConsumeOptions::default(), FieldTable::default()))
        .await
        .expect("a consumer");
    for _ in 0..2 {
        let sent = first.basic_publish("amq.topic".into(), "a.b".into(), BasicPublishOptions::default(), b"", BasicProperties::default());
        soon(sent).await.expect("sent");
    }
    let second = channel(&connection).await;
    soon(second.basic_qos(5, BasicQosOptions { global: true })).await.expect("a prefetch");
    http.put("/api/policies/%2F/mirrored", &json!({"pattern": ".*", "definition": {"ha-mode": "all"}})).is(201);
    assert_eq!(found(&http, "deprecated"), ["transient-queue transient 1", "global-qos prefetch_count 5 1", "mirrored-policy mirrored 1"]);
    assert_eq!(found(&http, "unroutable"), ["unroutable exchange \"amq.topic\" key \"a.b\" 2"]);
    assert_eq!(found(&http, "never-consumed"), ["never-consumed unused 1"]);
    assert_eq!(found(&http, "no-prefetch"), ["no-prefetch transient 1"]);
    assert_eq!(found(&http, "leaks"), ["connection-open  1", "channel-open  1", "channel-open  1"]);
    let acked = second.basic_ack(77, Default::default());
    soon(acked).await.expect("sent");
    // The channel is closed for it.
    soon(second.basic_qos(5, BasicQosOptions::default())).await.expect_err("no channel");
    assert_eq!(found(&http, "unknown-tag"), ["unknown-tag PRECONDITION_FAILED - unknown delivery tag 77 1"]);
    let text = http.get("/api/test/lint?format=text&only=unroutable").text();
    assert!(
        text.starts_with(
            "unroutable: a message that went nowhere\n  exchange \"amq.topic\" key \"a.b\" (2 times) in virtual host \"/\", 127."
        ),
        "{text}"
    );
    http.get("/api/test/lint?only=everything").refuses(
        400,
        "bad_request",
        "'everything' is none of leaks, deprecated, unroutable, never-consumed, no-prefetch, unacked, unknown-tag, errors",
    );
    http.delete("/api/test/journal").is(204);
    assert_eq!(found(&http, "unroutable"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_to_be_found_decides_the_exit_code() {
    for (groups, code) in [("unroutable,leaks", 3), ("deprecated", 0)] {
        let (mut broker, http) = started(&["--fail-on", groups]);
        assert_eq!(http.get("/api/test/lint").status, 404, "the test API is another matter");
        let connection = connect(&broker).await;
        let first = channel(&connection).await;
        let sent = first.basic_publish("amq.topic".into(), "a.b".into(), BasicPublishOptions::default(), b"", BasicProperties::default());
        soon(sent).await.expect("sent");
        // Behind the publish.
        prefetch(&first, 1).await;
        broker.signal("TERM");
        assert_eq!(broker.ended().code(), Some(code), "{groups}");
        let log = broker.log();
        assert_eq!(log.contains("\nunroutable: a message that went nowhere\n  exchange \"amq.topic\" key \"a.b\" in"), code == 3, "{log}");
        assert_eq!(log.contains("\nleaks: a connection that is open\n  in virtual host"), code == 3, "{log}");
    }
}
