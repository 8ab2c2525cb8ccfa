//! Time passes when it is told to, and not before.

use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use lapin::ExchangeKind;
use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;

use super::{advance, consume, declare, get, now, persistent, publish, virtual_broker};
use crate::support::client::{confirming, connect, soon, words};

#[tokio::test]
async fn messages_expire_when_time_is_moved() {
    let (broker, http) = virtual_broker();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "dead", &[]).await;
    let dead_letters = [("x-dead-letter-exchange", words("")), ("x-dead-letter-routing-key", words("dead"))];
    let [exchange, key] = dead_letters;
    declare(&channel, "q", &[exchange, key, ("x-message-ttl", AMQPValue::LongInt(30_000))]).await;
    let began = now(&http);
    publish(&channel, "", "q", "one", persistent()).await;
    publish(&channel, "", "q", "two", persistent().with_expiration("10000".into())).await;
    assert_eq!(advance(&http, 29_999), [] as [serde_json::Value; 0]);
    assert_eq!(now(&http), began + 29_999);
    // The second one has been over for long, and was behind the first.
    let fired = advance(&http, 1);
    let expected = json!({
        "vhost": "/", "what": "message-expired", "queue": "q", "count": 2, "first": began + 30_000, "last": began + 30_000
    });
    assert_eq!(fired, [expected]);
    assert_eq!(get(&channel, "dead").await, Some(("one".to_owned(), false)));
    assert_eq!(get(&channel, "dead").await, Some(("two".to_owned(), false)));
    assert_eq!(get(&channel, "q").await, None);
}

#[tokio::test]
async fn all_that_waits_for_a_time_fires_in_its_order() {
    let (broker, http) = virtual_broker();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    let began = now(&http);
    let mut delayed = FieldTable::default();
    delayed.insert("x-delayed-type".into(), words("direct"));
    let kind = ExchangeKind::Custom("x-delayed-message".to_owned());
    soon(channel.exchange_declare("later".into(), kind, ExchangeDeclareOptions::default(), delayed)).await.expect("an exchange");
    declare(&channel, "q", &[("x-queue-type", words("quorum"))]).await;
    soon(channel.queue_bind("q".into(), "later".into(), "k".into(), QueueBindOptions::default(), FieldTable::default()))
        .await
        .expect("bound");
    declare(&channel, "short", &[("x-expires", AMQPValue::LongInt(5000))]).await;
    declare(&channel, "ttl", &[("x-message-ttl", AMQPValue::LongInt(7000))]).await;
    publish(&channel, "", "ttl", "x", persistent()).await;
    let mut headers = FieldTable::default();
    headers.insert("x-delay".into(), AMQPValue::LongInt(6000));
    publish(&channel, "later", "k", "late", persistent().with_headers(headers)).await;
    let mut timing_out = consume(&channel, "q").await;
    let next = http.post("/api/test/clock/advance", &json!({"to_next": true})).ok();
    assert_eq!(
        (&next["now"], &next["fired"][0]["what"], &next["fired"][0]["queue"]),
        (&json!(began + 5000), &json!("queue-expired"), &json!("short"))
    );
    let fired = http.post("/api/test/clock/advance", &json!({"to": began + 10_000})).ok()["fired"].clone();
    let seen: Vec<_> = fired.as_array().expect("a list").iter().map(|f| (f["what"].clone(), f["first"].clone())).collect();
    assert_eq!(seen, [(json!("delayed-routed"), json!(began + 6000)), (json!("message-expired"), json!(began + 7000))]);
    // It is on its way by the time that the answer is.
    let delivery = soon(timing_out.next()).await.expect("a delivery").expect("no error");
    assert_eq!(delivery.data, b"late");
    let fired = advance(&http, 1_800_000);
    assert_eq!((&fired[0]["what"], &fired[0]["queue"]), (&json!("consumer-timeout"), &json!("q")));
    assert!(soon(timing_out.next()).await.is_none(), "the consumer is cancelled");
    assert_eq!(get(&channel, "q").await, Some(("late".to_owned(), true)));
}

#[tokio::test]
async fn a_clock_goes_on_when_it_is_let_go() {
    let (broker, http) = virtual_broker();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q", &[("x-message-ttl", AMQPValue::LongInt(100))]).await;
    publish(&channel, "", "q", "x", persistent()).await;
    let shown = http.put("/api/test/clock", &json!({"frozen": false})).ok();
    assert_eq!((&shown["frozen"], &shown["virtual"]), (&json!(false), &json!(true)));
    let gone = || (http.get("/api/queues/%2F/q").ok()["messages"] == 0).then_some(());
    crate::support::eventually("the message expires by itself", gone);
    let stopped = http.put("/api/test/clock", &json!({"frozen": true})).ok()["now"].clone();
    assert_eq!(http.get("/api/test/clock").ok()["now"], stopped);
}

#[test]
fn what_cannot_be_is_refused() {
    let (_broker, http) = virtual_broker();
    let began = now(&http);
    for wrong in [json!({}), json!({"ms": -1}), json!({"ms": 1, "to": began}), json!({"to": "tomorrow"}), json!({"to_next": 3})] {
        http.post("/api/test/clock/advance", &wrong).is(400);
    }
    let back = http.post("/api/test/clock/advance", &json!({"to": began - 1}));
    assert_eq!(back.json()["reason"], format!("time does not go back: the clock shows {began}"));
    let set = http.put("/api/test/clock", &json!({"now": "2100-01-01T00:00:00Z"})).ok();
    assert_eq!((&set["now"], &set["now_text"]), (&json!(4_102_444_800_000u64), &json!("2100-01-01T00:00:00Z")));
    let real = super::Broker::with_config("test_api = true");
    let refused = super::Http::guest(real.http()).post("/api/test/clock/advance", &json!({"ms": 1}));
    assert_eq!(refused.json()["reason"], "the clock is the machine's: start the broker with --clock virtual to move it");
}

#[tokio::test]
async fn sockets_are_moved_only_when_asked() {
    let (broker, http) = virtual_broker();
    let mut raw = crate::support::raw::Raw::open_with(&broker, 60);
    advance(&http, 3_600_000);
    raw.open_channel(1);
    raw.declare("q", 0);
    http.post("/api/test/clock/advance", &json!({"ms": 600_000, "sockets": true})).ok();
    // Its heartbeats have been missing for ten minutes, and the broker has sent some of its own.
    while let Some(frame) = raw.next() {
        assert!(frame.is_heartbeat(), "{frame:?}");
    }
}

/// Slow machines included, that is a bound on the kind of work, not a measurement.
#[tokio::test]
async fn an_hour_with_many_expiring_messages_passes_quickly() {
    let (broker, http) = virtual_broker();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    let mut confirms = Vec::new();
    for queue in 0..10 {
        declare(&channel, &format!("q{queue}"), &[("x-message-ttl", AMQPValue::LongInt(360_000 * (queue + 1)))]).await;
        for _ in 0..1000 {
            let options = BasicPublishOptions::default();
            let key = format!("q{queue}");
            confirms.push(soon(channel.basic_publish("".into(), key.into(), options, b"x", persistent())).await.expect("published"));
        }
    }
    for confirm in confirms {
        soon(confirm).await.expect("confirmed");
    }
    let began = Instant::now();
    let fired = advance(&http, 3_600_000);
    assert_eq!(fired.len(), 10);
    assert_eq!(fired.iter().map(|fire| fire["count"].as_u64().expect("a count")).sum::<u64>(), 10_000);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
