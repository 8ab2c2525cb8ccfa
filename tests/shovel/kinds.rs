//! What shovels take and where they bring it.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, ExchangeKind};
use serde_json::json;

use super::support::broker::{Broker, Scratch};
use super::support::client::{
    bind, channel, connect, consume, declare, declare_with, eventually_ready, next, publish, publish_with, ready, soon,
};
use super::support::tls::{self, Authority};
use super::two::{Two, durable, fill, numbers, talk};

async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind) {
    soon(channel.exchange_declare(name.into(), kind, ExchangeDeclareOptions::default(), FieldTable::default())).await.expect("an exchange");
}

#[tokio::test]
async fn from_queue_to_queue_in_order_with_each_ack_mode() {
    let two = Two::start();
    let (from, filling) = talk(&two.source).await;
    let to = connect(&two.here).await;
    for mode in ["on-confirm", "on-publish", "no-ack"] {
        let (queue, there) = (format!("q-{mode}"), format!("r-{mode}"));
        durable(&from, &queue).await;
        fill(&filling, "", &queue, 0..500).await;
        two.shovel(mode, json!({"src-queue": queue, "dest-queue": there, "ack-mode": mode, "src-prefetch-count": 20}));
        two.until(mode, "has moved all", |row| row["forwarded"] == 500 && row["pending"] == 0);
        // Those that come while it runs as well.
        fill(&filling, "", &queue, 500..600).await;
        assert_eq!(numbers(&to, &there, 600).await, (0..600).collect::<Vec<u32>>(), "{mode}");
        two.until(mode, "has settled all", |row| row["forwarded"] == 600 && row["pending"] == 0);
        two.http.delete(&format!("/api/parameters/shovel/%2F/{mode}")).is(204);
        two.until_gone(mode);
        // When its consumer is gone, nothing has come back: all was settled.
        let looking = channel(&from).await;
        let idle = async {
            let passive = QueueDeclareOptions { passive: true, ..Default::default() };
            loop {
                let queue = looking.queue_declare(queue.as_str().into(), passive, FieldTable::default()).await.expect("the queue");
                if queue.consumer_count() == 0 {
                    return queue.message_count();
                }
            }
        };
        assert_eq!(soon(idle).await, 0, "{mode}");
    }
}

#[tokio::test]
async fn from_exchange_to_exchange_with_keys_of_its_own_or_those_of_the_messages() {
    let two = Two::start();
    let (_from, filling) = talk(&two.source).await;
    exchange(&filling, "news", ExchangeKind::Topic).await;
    let (to, receiving) = talk(&two.here).await;
    exchange(&receiving, "copy", ExchangeKind::Topic).await;
    exchange(&receiving, "news", ExchangeKind::Topic).await;
    for (queue, exchange, key) in [("as-it-came", "copy", "a.*"), ("renamed", "copy", "z"), ("same", "news", "#")] {
        declare(&receiving, queue).await;
        bind(&receiving, queue, exchange, key).await;
    }
    let from_news = json!({"src-exchange": "news", "src-exchange-key": "a.#"});
    let with = |more: serde_json::Value| {
        let mut value = from_news.clone();
        value.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        value
    };
    two.shovel("as-it-came", with(json!({"dest-exchange": "copy"})));
    two.shovel("renamed", with(json!({"dest-exchange": "copy", "dest-exchange-key": "z"})));
    two.shovel("same", from_news.clone());
    ["as-it-came", "renamed", "same"].iter().for_each(|name| drop(two.until_running(name)));
    for key in ["a.b", "b.c", "a.d"] {
        publish(&filling, "news", key, key.as_bytes()).await;
    }
    for queue in ["as-it-came", "renamed", "same"] {
        let mut consumer = consume(&channel(&to).await, queue).await;
        let (first, second) = (next(&mut consumer).await, next(&mut consumer).await);
        assert_eq!((&first.data[..], &second.data[..]), (&b"a.b"[..], &b"a.d"[..]), "{queue}");
        let key = if queue == "renamed" { "z" } else { "a.b" };
        assert_eq!((first.routing_key.as_str(), first.exchange.as_str()), (key, if queue == "same" { "news" } else { "copy" }));
    }
}

#[tokio::test]
async fn messages_keep_what_they_have_and_say_where_they_have_been() {
    let two = Two::start();
    let (from, filling) = talk(&two.source).await;
    durable(&from, "q").await;
    let mut headers = FieldTable::default();
    headers.insert("own".into(), AMQPValue::LongInt(7));
    let properties = BasicProperties::default().with_headers(headers).with_priority(4).with_message_id("m".into()).with_type("t".into());
    publish_with(&filling, "", "q", b"body", properties).await;
    two.shovel(
        "s",
        json!({
            "src-queue": "q", "dest-queue": "r", "dest-add-forward-headers": true, "dest-add-timestamp-header": true,
            "dest-publish-properties": {"type": "u", "delivery_mode": 2},
        }),
    );
    two.until("s", "has moved it", |row| row["forwarded"] == 1);
    let to = connect(&two.here).await;
    let got = next(&mut consume(&channel(&to).await, "r").await).await;
    let properties = &got.properties;
    assert_eq!((&got.data[..], *properties.priority(), *properties.delivery_mode()), (&b"body"[..], Some(4), Some(2)));
    assert_eq!(properties.message_id().as_ref().map(ShortString::as_str), Some("m"));
    assert_eq!(properties.kind().as_ref().map(ShortString::as_str), Some("u"));
    let headers = properties.headers().as_ref().expect("headers").inner();
    assert_eq!(headers["own"], AMQPValue::LongInt(7));
    let AMQPValue::FieldArray(ways) = &headers["x-shovelled"] else { panic!("{headers:?}") };
    let [AMQPValue::FieldTable(way)] = ways.as_slice() else { panic!("{ways:?}") };
    let said = |key: &str| match way.inner().get(key) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{key}: {other:?}"),
    };
    assert_eq!((said("shovel-name"), said("shovel-vhost"), said("shovel-type")), ("s".into(), "/".into(), "dynamic".into()));
    assert_eq!(said("src-uri"), format!("amqp://{}", two.source.address()), "without its password");
    assert_eq!((said("src-queue"), said("dest-queue"), said("dest-uri")), ("q".into(), "r".into(), "amqp://".into()));
    assert!(matches!(headers["x-shovelled-timestamp"], AMQPValue::LongLongInt(1_700_000_000..)), "{headers:?}");
}

#[tokio::test]
async fn it_ends_after_so_many_messages_and_leaves_the_rest() {
    let two = Two::start();
    let (from, filling) = talk(&two.source).await;
    let to = connect(&two.here).await;
    durable(&from, "q").await;
    fill(&filling, "", "q", 0..1000).await;
    for mode in ["on-confirm", "on-publish"] {
        two.shovel("some", json!({"src-queue": "q", "dest-queue": mode, "src-delete-after": 300, "ack-mode": mode}));
        two.until_gone("some");
    }
    assert_eq!(numbers(&to, "on-confirm", 300).await, (0..300).collect::<Vec<u32>>());
    assert_eq!(numbers(&to, "on-publish", 300).await, (300..600).collect::<Vec<u32>>());
    eventually_ready(&filling, "q", 400).await;
    two.shovel("all", json!({"src-queue": "q", "dest-queue": "all", "src-delete-after": "queue-length", "src-prefetch-count": 7}));
    two.until_gone("all");
    assert_eq!(numbers(&to, "all", 400).await, (600..1000).collect::<Vec<u32>>());
    assert_eq!(ready(&filling, "q").await, 0);
    // Of a queue that is empty, or not there, it is done at once.
    two.shovel("none", json!({"src-queue": "new", "dest-queue": "all", "src-delete-after": "queue-length"}));
    two.until_gone("none");
    eventually_ready(&filling, "new", 0).await;
}

#[tokio::test]
async fn queues_are_declared_with_their_arguments_or_have_to_be_there() {
    let two = Two::start();
    two.shovel(
        "s",
        json!({
            "src-queue": "q", "src-queue-args": {"x-queue-type": "quorum"}, "src-consumer-args": {"x-priority": 5},
            "dest-queue": "r", "dest-queue-args": {"x-max-length": 3},
        }),
    );
    two.until_running("s");
    let (from, filling) = talk(&two.source).await;
    let quorum = super::support::client::arguments(&[("x-queue-type", super::support::client::words("quorum"))]);
    let durable_options = QueueDeclareOptions { durable: true, ..Default::default() };
    declare_with(&channel(&from).await, "q", durable_options, quorum).await;
    fill(&filling, "", "q", 0..10).await;
    two.until("s", "has moved all", |row| row["forwarded"] == 10);
    let to = connect(&two.here).await;
    assert_eq!(numbers(&to, "r", 3).await, [7, 8, 9]);
    two.shovel("t", json!({"src-queue": "nowhere", "src-predeclared": true, "dest-queue": "r"}));
    let row = two.until("t", "fails", |row| row["state"] == "terminated");
    let reason = row["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("source: ") && reason.contains("404") && reason.contains("no queue 'nowhere' in vhost '/'"), "{reason}");
    declare(&filling, "nowhere").await;
    two.until_running("t");
}

/// RabbitMQ gives back to the source what the destination refuses.
#[tokio::test]
async fn what_the_destination_refuses_goes_back() {
    let two = Two::start();
    let (from, filling) = talk(&two.source).await;
    durable(&from, "q").await;
    fill(&filling, "", "q", 0..20).await;
    let full = json!({"x-max-length": 5, "x-overflow": "reject-publish"});
    two.shovel("s", json!({"src-queue": "q", "dest-queue": "r", "dest-queue-args": full}));
    two.until("s", "has moved some", |row| row["forwarded"] == 5);
    let to = connect(&two.here).await;
    let mut all = numbers(&to, "r", 20).await;
    all.sort_unstable();
    assert_eq!(all, (0..20).collect::<Vec<u32>>());
    two.until("s", "has moved all", |row| row["forwarded"] == 20 && row["pending"] == 0);
}

#[tokio::test]
async fn a_destination_that_is_blocked_is_waited_for() {
    let two = Two::of(Broker::start(), Broker::with_config("vm_memory_high_watermark.absolute = 2MiB\n"));
    let (from, filling) = talk(&two.source).await;
    durable(&from, "q").await;
    let to = connect(&two.here).await;
    let looking = channel(&to).await;
    for _ in 0..100 {
        publish(&filling, "", "q", &[7; 60_000]).await;
    }
    two.shovel("s", json!({"src-queue": "q", "dest-queue": "r"}));
    let row = two.until("s", "is blocked", |row| row["state"] == "blocked");
    assert_eq!(row["blocked_status"], "blocked");
    assert!(row["forwarded"].as_u64().is_some_and(|moved| moved < 100), "{row}");
    let mut got = 0;
    while got < 100 {
        got += soon(looking.queue_purge("r".into(), QueuePurgeOptions::default())).await.expect("purged");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let row = two.until("s", "runs again", |row| row["state"] == "running" && row["pending"] == 0);
    assert_eq!(row["forwarded"], 100);
}

#[tokio::test]
async fn over_tls_with_authorities_or_without_a_look_and_not_otherwise() {
    let authority = Authority::new();
    let source = tls::broker(&authority, "");
    let address = source.tls_address();
    let two = Two::of(source, Broker::start());
    let scratch = Scratch::new();
    let trusted = scratch.file("authority.pem", &authority.certificate);
    let other = scratch.file("other.pem", &Authority::new().certificate);
    let with = |parameters: String| format!("amqps://guest:guest@{address}?{parameters}");
    let from = |parameters: String| json!({"src-uri": with(parameters), "src-queue": "q", "dest-queue": "r"});
    two.shovel("trusted", from(format!("cacertfile={}&verify=verify_peer", trusted.display())));
    two.shovel("blind", from("verify=verify_none".to_owned()));
    two.until_running("blind");
    let row = two.until_running("trusted");
    assert_eq!(row["src_uri"], format!("amqps://{address}"));
    for (name, parameters, why) in [
        ("silent", String::new(), "TLS needs cacertfile"),
        ("other", format!("cacertfile={}", other.display()), "invalid peer certificate"),
        ("nothing", "cacertfile=/nowhere.pem".to_owned(), "/nowhere.pem"),
    ] {
        two.shovel(name, from(parameters));
        let row = two.until(name, "fails", |row| row["state"] == "terminated");
        let reason = row["reason"].as_str().expect("a reason");
        assert!(reason.contains(why) && !reason.contains("guest"), "{reason}");
    }
}

/// A user in a URI without a host logs in at the node itself.
#[tokio::test]
async fn within_the_node_as_a_user_or_as_nobody() {
    let two = Two::start();
    two.http.put("/api/users/u", &json!({"password": "p", "tags": ""})).is(201);
    let may = json!({"configure": "^r$", "write": "^(r|amq.default)$", "read": "^r$"});
    two.http.put("/api/permissions/%2F/u", &may).is(201);
    let (_to, filling) = talk(&two.here).await;
    declare(&filling, "q").await;
    fill(&filling, "", "q", 0..3).await;
    let local = |dest: &str| json!({"src-uri": "amqp://", "src-queue": "q", "dest-uri": dest, "dest-queue": "r"});
    two.shovel("wrong", local("amqp://u:wrong@"));
    let row = two.until("wrong", "fails", |row| row["state"] == "terminated");
    assert!(row["reason"].as_str().is_some_and(|reason| reason.ends_with("user 'u' - invalid credentials")), "{row}");
    two.http.delete("/api/parameters/shovel/%2F/wrong").is(204);
    two.shovel("right", local("amqp://u:p@"));
    two.until("right", "has moved all", |row| row["forwarded"] == 3);
    two.shovel("refused", json!({"src-uri": "amqp://u:p@", "src-queue": "q", "dest-queue": "r"}));
    let row = two.until("refused", "fails", |row| row["state"] == "terminated");
    assert!(row["reason"].as_str().is_some_and(|reason| reason.contains("403")), "{row}");
}
