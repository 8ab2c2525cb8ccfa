//! Messages: what is persistent in a durable queue is there again, whole and in order (behaviour O8, B6).

use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, DecimalValue, FieldArray};

use super::{BOTH, Client, persistent};
use crate::support::broker::{End, Home};
use crate::support::client::{self, arguments, publish_with, soon, text, words};

/// Every property but delivery_mode and expiration, and headers of every type.
fn all_properties() -> BasicProperties {
    let mut array = FieldArray::default();
    for value in [words("one"), AMQPValue::LongInt(2), AMQPValue::Void] {
        array.push(value);
    }
    let headers = arguments(&[
        ("boolean", AMQPValue::Boolean(true)),
        ("b", AMQPValue::ShortShortInt(-1)),
        ("B", AMQPValue::ShortShortUInt(200)),
        ("s", AMQPValue::ShortInt(-300)),
        ("u", AMQPValue::ShortUInt(60_000)),
        ("I", AMQPValue::LongInt(-70_000)),
        ("i", AMQPValue::LongUInt(4_000_000_000)),
        ("l", AMQPValue::LongLongInt(i64::MIN)),
        ("f", AMQPValue::Float(0.5)),
        ("d", AMQPValue::Double(-0.25)),
        ("D", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 314 })),
        ("S", words("ein Hase läuft")),
        ("T", AMQPValue::Timestamp(1_700_000_000)),
        ("x", AMQPValue::ByteArray(vec![0, 255, 206].into())),
        ("A", AMQPValue::FieldArray(array)),
        ("F", AMQPValue::FieldTable(arguments(&[("inner", words("table"))]))),
        ("V", AMQPValue::Void),
    ]);
    BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_content_encoding("gzip".into())
        .with_headers(headers)
        .with_priority(3)
        .with_correlation_id("c".repeat(255).into())
        .with_reply_to("answers".into())
        .with_message_id("m".into())
        .with_timestamp(1_700_000_001)
        .with_type("t".into())
        .with_user_id("guest".into())
        .with_app_id("a".into())
        .with_cluster_id("cluster".into())
        .with_delivery_mode(2)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bodies_of_every_size_with_all_properties_in_order() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.queue("q", &[]).await;
        client.bind("q", "amq.topic", "some.#").await;
        let sizes = [0usize, 1, 10 << 10, 5 << 20, 131_064, 131_065, 7];
        for (n, size) in sizes.into_iter().enumerate() {
            let body = vec![u8::try_from(n).expect("a few"); size];
            client.publish_with("amq.topic", &format!("some.{n}"), &body, all_properties()).await;
        }
        client.publish_with("", "q", b"bare", persistent()).await;
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        let mut messages = client.drain("q").await.into_iter();
        for (n, size) in sizes.into_iter().enumerate() {
            let message = messages.next().expect("a message");
            assert_eq!((message.exchange.as_str(), message.routing_key.as_str()), ("amq.topic", &*format!("some.{n}")));
            assert_eq!(message.properties, all_properties());
            assert!(message.data.len() == size && message.data.iter().all(|byte| usize::from(*byte) == n), "body {n} after {how:?}");
            assert!(!message.redelivered);
        }
        let bare = messages.next().expect("a message");
        assert_eq!((bare.exchange.as_str(), bare.routing_key.as_str(), &bare.properties), ("", "q", &persistent()));
        assert_eq!(text(&bare.data), "bare");
        assert!(messages.next().is_none());
    }
}

/// Twice, so that what came back once is written down still.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn messages_outlive_any_number_of_restarts() {
    let home = Home::new();
    let broker = home.start();
    let client = Client::of(&broker).await;
    client.queue("q", &[]).await;
    broker.end(End::Killed);
    let mut expected = Vec::new();
    for (n, how) in [End::Killed, End::InOrder, End::Killed, End::Killed, End::InOrder, End::InOrder].into_iter().enumerate() {
        let broker = home.start();
        let client = Client::of(&broker).await;
        for part in ["a", "b"] {
            expected.push(format!("{part}{n}"));
            client.publish("", "q", &format!("{part}{n}")).await;
        }
        assert_eq!(client.ready("q").await as usize, expected.len());
        broker.end(how);
    }
    let broker = home.start();
    assert_eq!(Client::of(&broker).await.bodies("q").await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn transient_messages_survive_only_where_every_message_does() {
    let log = [("x-queue-type", words("stream"))];
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.queue("classic", &[]).await;
        client.queue("quorum", &[("x-queue-type", words("quorum"))]).await;
        client.queue("stream", &log).await;
        for queue in ["classic", "quorum", "stream"] {
            client.bind(queue, "amq.fanout", "").await;
        }
        for (body, mode) in [("unset", None), ("1", Some(1)), ("2", Some(2))] {
            let properties = mode.map_or_else(BasicProperties::default, |mode| BasicProperties::default().with_delivery_mode(mode));
            client.publish_with("amq.fanout", "", body.as_bytes(), properties).await;
        }
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        assert_eq!(client.bodies("classic").await, ["2"], "after {how:?}");
        assert_eq!(client.ready("stream").await, 3);
        let kept = client.drain("quorum").await;
        let modes: Vec<_> = kept.iter().map(|message| (text(&message.data), *message.properties.delivery_mode())).collect();
        // The property is as it was published.
        assert_eq!(modes, [("unset".to_owned(), None), ("1".to_owned(), Some(1)), ("2".to_owned(), Some(2))], "after {how:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_message_to_many_queues() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        for queue in ["a", "b", "c"] {
            client.queue(queue, &[]).await;
            client.bind(queue, "amq.fanout", "").await;
        }
        client.try_queue("transient", QueueDeclareOptions::default(), &[]).await.expect("a queue");
        client.bind("transient", "amq.fanout", "").await;
        let large = "x".repeat(100_000);
        for body in ["small", &large] {
            client.publish("amq.fanout", "", body).await;
        }
        // What ends in one queue is still there in the others.
        assert_eq!(client.bodies("transient").await.len(), 2);
        assert_eq!(client.bodies("b").await.len(), 2);
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        for (queue, expected) in [("a", 2), ("b", 0), ("c", 2)] {
            let bodies = client.bodies(queue).await;
            assert_eq!(bodies, &["small", &large][..expected], "{queue} after {how:?}");
        }
        assert!(!client.has_queue("transient").await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_purged_or_acknowledged_does_not_come_back() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        for queue in ["purged", "acknowledged"] {
            client.queue(queue, &[]).await;
            client.fill(queue, &["1", "2", "3", "4", "5"]).await;
        }
        assert_eq!(soon(client.channel.queue_purge("purged".into(), Default::default())).await.expect("purged"), 5);
        client.fill("purged", &["6"]).await;
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(client.get("acknowledged").await.expect("a message"));
        }
        // Out of order: all but the second and the fourth.
        for n in [4, 0, 2] {
            soon(held[n].ack(Default::default())).await.expect("sent");
        }
        // Its answer comes after the acks were heard, and the confirm when they are written down.
        client.fill("acknowledged", &["6"]).await;
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        assert_eq!(client.bodies("purged").await, ["6"], "after {how:?}");
        assert_eq!(
            client.marked("acknowledged").await.iter().map(|body| body.trim_start_matches("again: ")).collect::<Vec<_>>(),
            ["2", "4", "6"]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn priorities_keep_their_order() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.queue("q", &[("x-max-priority", AMQPValue::ShortShortUInt(5))]).await;
        for (body, priority) in [("low 1", 0), ("high 1", 5), ("middle 1", 2), ("high 2", 9), ("low 2", 0), ("middle 2", 2)] {
            client.publish_with("", "q", body.as_bytes(), persistent().with_priority(priority)).await;
        }
        client.fill("q", &["low 3"]).await;
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        client.publish_with("", "q", b"high 3", persistent().with_priority(5)).await;
        let expected = ["high 1", "high 2", "high 3", "middle 1", "middle 2", "low 1", "low 2", "low 3"];
        assert_eq!(client.bodies("q").await, expected, "after {how:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bounds_hold_for_what_has_come_back() {
    let home = Home::new();
    let broker = home.start();
    let client = Client::of(&broker).await;
    client.queue("by number", &[("x-max-length", AMQPValue::LongInt(3))]).await;
    client.queue("by bytes", &[("x-max-length-bytes", AMQPValue::LongInt(3))]).await;
    for queue in ["by number", "by bytes"] {
        client.fill(queue, &["1", "2", "3"]).await;
    }
    broker.end(End::Killed);

    let broker = home.start();
    let client = Client::of(&broker).await;
    for queue in ["by number", "by bytes"] {
        client.fill(queue, &["4", "5"]).await;
        assert_eq!(client.bodies(queue).await, ["3", "4", "5"], "{queue}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_queue_that_deduplicates_knows_what_is_in_it() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.queue("q", &[("x-message-deduplication", AMQPValue::Boolean(true))]).await;
        let marked = |id: &str| persistent().with_headers(arguments(&[("x-deduplication-header", words(id))]));
        for (body, id) in [("1", "one"), ("2", "two"), ("1 again", "one")] {
            client.publish_with("", "q", body.as_bytes(), marked(id)).await;
        }
        assert_eq!(client.ready("q").await, 2);
        let first = soon(client.channel.basic_get("q".into(), BasicGetOptions { no_ack: true })).await.expect("an answer");
        assert_eq!(text(&first.expect("a message").data), "1");
        // A confirm after that get, so that it is written down.
        client.publish_with("", "q", b"3", marked("three")).await;
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        for (body, id) in [("2 again", "two"), ("3 again", "three"), ("1 anew", "one")] {
            client.publish_with("", "q", body.as_bytes(), marked(id)).await;
        }
        assert_eq!(client.bodies("q").await, ["2", "3", "1 anew"], "after {how:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_transaction_is_there_as_a_whole_or_not_at_all() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        for queue in ["a", "b"] {
            client.queue(queue, &[]).await;
            client.fill(queue, &["before"]).await;
        }
        let transacted = client::channel(&client.connection).await;
        soon(transacted.tx_select()).await.expect("a transaction");
        let before = soon(transacted.basic_get("a".into(), BasicGetOptions::default())).await.expect("an answer").expect("a message");
        soon(before.ack(Default::default())).await.expect("sent");
        for (queue, body) in [("a", "1"), ("b", "2"), ("a", "3")] {
            publish_with(&transacted, "", queue, body.as_bytes(), persistent()).await;
        }
        soon(transacted.tx_commit()).await.expect("committed");
        let before = soon(transacted.basic_get("b".into(), BasicGetOptions::default())).await.expect("an answer").expect("a message");
        soon(before.ack(Default::default())).await.expect("sent");
        publish_with(&transacted, "", "a", b"never committed", persistent()).await;
        // Heard by the broker for certain, as it is answered on the same channel.
        soon(transacted.queue_declare("b".into(), super::DURABLE, Default::default())).await.expect("the same");
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        assert_eq!(client.bodies("a").await, ["1", "3"], "after {how:?}");
        assert_eq!(client.marked("b").await, ["again: before", "2"], "after {how:?}");
    }
}
