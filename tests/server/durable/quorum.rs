//! Quorum queues: how often a message came back is known after a restart, and so is the order of those that did (behaviour Q20, Q21).

use lapin::options::{BasicNackOptions, BasicRejectOptions};
use lapin::types::AMQPValue;

use super::{BOTH, Client, header};
use crate::support::broker::Home;
use crate::support::client::{soon, text, words};

/// A declaration's arguments.
fn quorum(limit: i32) -> [(&'static str, AMQPValue); 4] {
    [
        ("x-queue-type", words("quorum")),
        ("x-delivery-limit", AMQPValue::LongInt(limit)),
        ("x-dead-letter-exchange", words("")),
        ("x-dead-letter-routing-key", words("dead")),
    ]
}

/// Gets the next message and returns it to the queue, in a way that counts.
async fn reject(client: &Client, body: &str) {
    let got = client.get("q").await.expect("a message");
    assert_eq!(text(&got.data), body);
    soon(got.reject(BasicRejectOptions { requeue: true })).await.expect("sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn returns_are_counted_over_restarts_up_to_the_limit() {
    for how in BOTH {
        let home = Home::new();
        let mut broker = home.start();
        let mut client = Client::of(&broker).await;
        client.queue("dead", &[]).await;
        client.queue("q", &quorum(2)).await;
        client.fill("q", &["1"]).await;
        for count in 1..=2 {
            reject(&client, "1").await;
            // A confirm after it, so that it is written down.
            client.fill("q", &[&format!("behind {count}")]).await;
            broker.end(how);
            broker = home.start();
            client = Client::of(&broker).await;
            let got = client.get("q").await.expect("a message");
            assert_eq!((text(&got.data).as_str(), got.redelivered), ("1", true), "after {how:?}");
            let AMQPValue::LongLongInt(told) = header(&got, "x-delivery-count") else { panic!("no long") };
            assert!(told >= count, "{told} of {count} after {how:?}");
            // Which does not count as a return.
            soon(got.nack(BasicNackOptions { requeue: true, ..Default::default() })).await.expect("sent");
        }
        reject(&client, "1").await;
        assert_eq!(client.ready("dead").await, 1, "after {how:?}");
        let dead = client.drain("dead").await.remove(0);
        assert_eq!(header(&dead, "x-first-death-reason"), words("delivery_limit"));
        let left = client.marked("q").await;
        assert_eq!(left.len(), 2, "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn those_that_came_back_come_first_in_the_order_in_which_they_did() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.queue("dead", &[]).await;
        client.queue("q", &quorum(20)).await;
        client.fill("q", &["1", "2", "3", "4", "5"]).await;
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(client.get("q").await.expect("a message"));
        }
        for n in [2, 0, 3] {
            soon(held[n].reject(BasicRejectOptions { requeue: true })).await.expect("sent");
        }
        soon(held[1].ack(Default::default())).await.expect("sent");
        client.fill("q", &["6"]).await;
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        assert_eq!(client.ready("q").await, 5);
        let marked = client.marked("q").await;
        assert_eq!(marked[..3], ["again: 3", "again: 1", "again: 4"], "after {how:?}");
        let bare: Vec<_> = marked[3..].iter().map(|body| body.trim_start_matches("again: ")).collect();
        assert_eq!(bare, ["5", "6"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn priorities_of_quorum_queues() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.queue("dead", &[]).await;
        client.queue("q", &quorum(20)).await;
        for (body, priority) in [("low 1", 0), ("high 1", 31), ("middle 1", 5), ("high 2", 31), ("low 2", 0)] {
            client.publish_with("", "q", body.as_bytes(), super::persistent().with_priority(priority)).await;
        }
        let returned = client.get("q").await.expect("a message");
        soon(returned.reject(BasicRejectOptions { requeue: true })).await.expect("sent");
        client.publish_with("", "q", b"middle 2", super::persistent().with_priority(5)).await;
        let expected_before = ["high 1", "high 2", "middle 1", "middle 2", "low 1", "low 2"];
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        assert_eq!(client.bodies("q").await, expected_before, "after {how:?}");
    }
}
