//! Exchanges, queues and policies: those that are durable are there again as they were, the others are gone.

use lapin::options::{BasicConsumeOptions, ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::AMQPValue;

use super::{BOTH, Client, DURABLE};
use crate::definitions::GUEST;
use crate::support::broker::{End, Home};
use crate::support::client::{arguments, consume_with, soon, words};

/// Exchange types with the arguments that they need.
fn types() -> Vec<(&'static str, Vec<(&'static str, AMQPValue)>)> {
    vec![
        ("direct", vec![]),
        ("fanout", vec![]),
        ("topic", vec![]),
        ("headers", vec![]),
        ("x-consistent-hash", vec![("hash-header", words("customer"))]),
        ("x-random", vec![]),
        ("x-local-random", vec![]),
        ("x-modulus-hash", vec![]),
        ("x-recent-history", vec![("x-recent-history-length", AMQPValue::LongInt(7))]),
        ("x-message-deduplication", vec![("x-cache-size", AMQPValue::LongInt(100))]),
        ("x-delayed-message", vec![("x-delayed-type", words("topic"))]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn exchanges_of_every_type_come_back_as_they_were() {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        for (kind, mut entries) in types() {
            entries.push(("anything", words("else")));
            client.exchange(&format!("the {kind} one"), kind, &entries).await;
        }
        let (internal, auto_delete) =
            (ExchangeDeclareOptions { internal: true, ..durable }, ExchangeDeclareOptions { auto_delete: true, ..durable });
        client.try_exchange("internal", "fanout", internal, &[]).await.expect("an exchange");
        client.try_exchange("auto-delete", "fanout", auto_delete, &[]).await.expect("an exchange");
        client.try_exchange("transient", "fanout", ExchangeDeclareOptions::default(), &[]).await.expect("an exchange");
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        for (kind, mut entries) in types() {
            let name = format!("the {kind} one");
            assert!(client.has_exchange(&name).await, "{name} after {how:?}");
            let error = client.try_exchange(&name, kind, ExchangeDeclareOptions::default(), &entries).await.expect_err("durable");
            assert!(error.contains(&format!("inequivalent arg 'durable' for exchange '{name}'")), "{error}");
            let other = if kind == "fanout" { "direct" } else { "fanout" };
            let error = client.try_exchange(&name, other, durable, &entries).await.expect_err("another type");
            assert!(error.contains(&format!("inequivalent arg 'type' for exchange '{name}'")), "{error}");
            entries.push(("anything", words("else")));
            client.try_exchange(&name, kind, durable, &entries).await.expect("the same");
        }
        client.try_exchange("internal", "fanout", internal, &[]).await.expect("the same");
        client.try_exchange("auto-delete", "fanout", auto_delete, &[]).await.expect("the same");
        assert!(client.try_exchange("internal", "fanout", durable, &[]).await.is_err());
        assert!(client.try_exchange("auto-delete", "fanout", durable, &[]).await.is_err());
        assert!(!client.has_exchange("transient").await, "after {how:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn arguments_of_exchanges_still_count() {
    let home = Home::new();
    let broker = home.start();
    let client = Client::of(&broker).await;
    client.exchange("alternate", "fanout", &[]).await;
    client.exchange("main", "direct", &[("alternate-exchange", words("alternate"))]).await;
    client
        .exchange("once", "fanout", &[("x-message-deduplication", AMQPValue::Boolean(true)), ("x-cache-size", AMQPValue::LongInt(9))])
        .await;
    client.queue("q", &[]).await;
    client.bind("q", "alternate", "").await;
    client.bind("q", "once", "").await;
    broker.end(End::Killed);

    let broker = home.start();
    let client = Client::of(&broker).await;
    client.publish("main", "nowhere", "by the alternate exchange").await;
    assert_eq!(client.bodies("q").await, ["by the alternate exchange"]);
    let headers = arguments(&[("x-deduplication-header", words("one"))]);
    for body in ["first", "second"] {
        client.publish_with("once", "", body.as_bytes(), super::persistent().with_headers(headers.clone())).await;
    }
    assert_eq!(client.bodies("q").await, ["first"]);
}

/// Queues with arguments, and for each an argument that they would have to be refused with.
fn queues() -> Vec<(&'static str, Vec<(&'static str, AMQPValue)>)> {
    let kind = |name: &str| ("x-queue-type", words(name));
    vec![
        ("plain", vec![]),
        ("bounded", vec![("x-max-length", AMQPValue::LongInt(2)), ("x-overflow", words("reject-publish"))]),
        ("timed", vec![("x-message-ttl", AMQPValue::LongLongInt(86_400_000)), ("x-expires", AMQPValue::LongInt(86_400_000))]),
        ("dying", vec![("x-dead-letter-exchange", words("")), ("x-dead-letter-routing-key", words("plain"))]),
        ("ranked", vec![("x-max-priority", AMQPValue::ShortShortUInt(9))]),
        ("one by one", vec![("x-single-active-consumer", AMQPValue::Boolean(true))]),
        ("once", vec![("x-message-deduplication", AMQPValue::Boolean(true)), ("x-cache-size", AMQPValue::LongInt(5))]),
        ("quorum", vec![kind("quorum"), ("x-delivery-limit", AMQPValue::LongInt(3))]),
        ("stream", vec![kind("stream"), ("x-max-age", words("7D")), ("x-max-length-bytes", AMQPValue::LongInt(1 << 30))]),
        ("odd", vec![("something", words("of one's own")), ("nothing", AMQPValue::Void)]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn queues_of_every_type_come_back_with_their_arguments() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        for (name, entries) in queues() {
            client.queue(name, &entries).await;
        }
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        for (name, mut entries) in queues() {
            assert!(client.has_queue(name).await, "{name} after {how:?}");
            assert_eq!(client.try_queue(name, DURABLE, &entries).await, Ok(0));
            let transient = QueueDeclareOptions::default();
            if !["quorum", "stream"].contains(&name) {
                let error = client.try_queue(name, transient, &entries).await.expect_err("it is durable");
                assert!(error.contains(&format!("inequivalent arg 'durable' for queue '{name}'")), "{error}");
            }
            entries.retain(|(argument, _)| *argument != "x-message-ttl");
            let ttl = if name == "timed" { 86_400_001 } else { 5 };
            entries.push(("x-message-ttl", AMQPValue::LongInt(ttl)));
            if name != "stream" {
                let error = client.try_queue(name, DURABLE, &entries).await.expect_err("it has no such argument");
                assert!(error.contains(&format!("inequivalent arg 'x-message-ttl' for queue '{name}'")), "{error}");
            }
        }
        let age = [("x-queue-type", words("stream")), ("x-max-age", words("8D")), ("x-max-length-bytes", AMQPValue::LongInt(1 << 30))];
        let error = client.try_queue("stream", DURABLE, &age).await.expect_err("another age");
        assert!(error.contains("inequivalent arg 'x-max-age' for queue 'stream'"), "{error}");
        client.fill("bounded", &["1", "2"]).await;
        let refused = client.channel.basic_publish("".into(), "bounded".into(), Default::default(), b"3", super::persistent());
        assert!(soon(soon(refused).await.expect("sent")).await.expect("an answer").is_nack(), "after {how:?}");
        assert_eq!(client.bodies("bounded").await, ["1", "2"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn transient_and_exclusive_queues_are_gone() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        let plain = QueueDeclareOptions::default();
        let queues = [
            ("transient", plain),
            ("auto-delete", QueueDeclareOptions { auto_delete: true, ..plain }),
            ("exclusive", QueueDeclareOptions { exclusive: true, ..plain }),
            ("durable and exclusive", QueueDeclareOptions { exclusive: true, ..DURABLE }),
        ];
        for (name, options) in queues {
            client.try_queue(name, options, &[]).await.expect("a queue");
            client.publish("", name, "x").await;
        }
        client.queue("durable", &[]).await;
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        for (name, _) in queues {
            assert!(!client.has_queue(name).await, "{name} after {how:?}");
        }
        assert!(client.has_queue("durable").await);
        // Nothing is left of them that would get in the way of new ones.
        for (name, options) in queues {
            assert_eq!(client.try_queue(name, options, &[]).await, Ok(0), "{name}");
        }
    }
}

/// A durable queue that deletes itself goes with its last consumer; one that never had any, or whose broker was killed under
/// it, is there again.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_durable_queue_that_deletes_itself() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        let auto_delete = QueueDeclareOptions { auto_delete: true, ..DURABLE };
        for name in ["unused", "used"] {
            client.try_queue(name, auto_delete, &[]).await.expect("a queue");
            client.publish("", name, "x").await;
        }
        let consumer = consume_with(&client.channel, "used", BasicConsumeOptions::default()).await;
        broker.end(how);
        drop(consumer);

        let broker = home.start();
        let client = Client::of(&broker).await;
        assert_eq!(client.ready("unused").await, 1, "after {how:?}");
        assert_eq!(client.has_queue("used").await, how == End::Killed, "after {how:?}");
        client.try_queue("unused", auto_delete, &[]).await.expect("the same");
        let consumer = consume_with(&client.channel, "unused", BasicConsumeOptions::default()).await;
        soon(client.channel.basic_cancel(consumer.tag(), Default::default())).await.expect("cancelled");
        assert!(!client.has_queue("unused").await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_deleted_stays_deleted() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        for name in ["gone", "again"] {
            client.exchange(name, "fanout", &[]).await;
            client.queue(name, &[]).await;
            client.bind(name, name, "").await;
            client.publish(name, "", "old").await;
            soon(client.channel.queue_delete(name.into(), Default::default())).await.expect("deleted");
            soon(client.channel.exchange_delete(name.into(), Default::default())).await.expect("deleted");
        }
        client.exchange("again", "direct", &[]).await;
        client.queue("again", &[("x-max-length", AMQPValue::LongInt(5))]).await;
        client.fill("again", &["new"]).await;
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        assert!(!client.has_queue("gone").await, "after {how:?}");
        assert!(!client.has_exchange("gone").await, "after {how:?}");
        client.exchange("again", "direct", &[]).await;
        client.queue("again", &[("x-max-length", AMQPValue::LongInt(5))]).await;
        assert_eq!(client.bodies("again").await, ["new"], "nothing of the old one's, after {how:?}");
        assert!(!client.is_routed("again", "", Default::default()).await, "no binding of the old one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn policies_of_the_definitions_file_are_there_without_the_file() {
    let policy = r#"{"vhost": "/", "name": "p", "pattern": "^p", "apply-to": "queues", "definition": {"max-length": 2}}"#;
    let operator =
        r#"{"vhost": "/", "component": "operator_policy", "name": "o", "value": {"pattern": "^o", "definition": {"max-length": 1}}}"#;
    for how in BOTH {
        let home = Home::new();
        let file = home.scratch().file("definitions.json", &format!(r#"{{{GUEST}, "policies": [{policy}], "parameters": [{operator}]}}"#));
        home.configure(&format!("load_definitions = {}\n", file.display()));
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.queue("p", &[]).await;
        client.fill("p", &["a", "b", "c"]).await;
        assert_eq!(client.ready("p").await, 2);
        broker.end(how);

        home.configure("");
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.queue("o", &[]).await;
        client.queue("free", &[]).await;
        client.fill("p", &["d"]).await;
        client.fill("o", &["a", "b"]).await;
        client.fill("free", &["a", "b", "c"]).await;
        assert_eq!(client.bodies("p").await, ["c", "d"], "after {how:?}");
        assert_eq!(client.bodies("o").await, ["b"]);
        assert_eq!(client.ready("free").await, 3);
    }
}
