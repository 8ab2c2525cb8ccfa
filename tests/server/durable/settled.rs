//! What is known of deliveries: acknowledged messages are gone, the others are in their places, redelivered when somebody may
//! have had them (behaviour B24).

use super::{BOTH, Client, DURABLE};
use crate::support::broker::{End, Home};
use crate::support::client::{self, consume, next, prefetch, soon, text};
use lapin::options::{BasicAckOptions, BasicNackOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn after_an_orderly_stop_what_was_never_delivered_is_not_redelivered() {
    let home = Home::new();
    let broker = home.start();
    let client = Client::of(&broker).await;
    client.queue("q", &[]).await;
    client.fill("q", &["1", "2", "3", "4", "5"]).await;
    let other = client::channel(&client.connection).await;
    prefetch(&other, 3).await;
    let mut consumer = consume(&other, "q").await;
    for n in ["1", "2", "3"] {
        let delivery = next(&mut consumer).await;
        assert_eq!((text(&delivery.data).as_str(), delivery.redelivered), (n, false));
        if n == "2" {
            soon(delivery.ack(BasicAckOptions::default())).await.expect("sent");
        }
    }
    // The ack of the second has made room for the fourth.
    assert_eq!(text(&next(&mut consumer).await.data), "4");
    broker.end(End::InOrder);

    let broker = home.start();
    let client = Client::of(&broker).await;
    assert_eq!(client.marked("q").await, ["again: 1", "again: 3", "again: 4", "5"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_delivered_before_a_crash_comes_back_redelivered() {
    let home = Home::new();
    let broker = home.start();
    let client = Client::of(&broker).await;
    for queue in ["delivered", "got", "untouched", "taken"] {
        client.queue(queue, &[]).await;
        client.fill(queue, &["1", "2", "3"]).await;
    }
    client.queue("straight", &[]).await;
    let mut consumer = consume(&client.channel, "delivered").await;
    for _ in 0..3 {
        next(&mut consumer).await;
    }
    assert!(client.get("got").await.is_some());
    // Handed to a consumer that waited, and written down at the same time.
    let mut waiting = consume(&client.channel, "straight").await;
    client.fill("straight", &["1"]).await;
    next(&mut waiting).await;
    assert_eq!(client.bodies("taken").await.len(), 3);
    client.fill("taken", &["4"]).await;
    broker.end(End::Killed);

    let broker = home.start();
    let client = Client::of(&broker).await;
    assert_eq!(client.marked("delivered").await, ["again: 1", "again: 2", "again: 3"]);
    assert_eq!(client.marked("straight").await, ["again: 1"]);
    assert_eq!(client.marked("untouched").await, ["1", "2", "3"]);
    assert_eq!(client.marked("got").await[0], "again: 1");
    // What was sent without a wait for acks is gone once that is written down.
    let left = client.bodies("taken").await;
    assert_eq!(left, ["4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_delivered_long_ago_is_still_redelivered_after_two_crashes() {
    let home = Home::new();
    let broker = home.start();
    let client = Client::of(&broker).await;
    client.queue("q", &[]).await;
    client.fill("q", &["1"]).await;
    assert!(client.get("q").await.is_some());
    broker.end(End::Killed);
    home.start().end(End::Killed);
    home.start().end(End::InOrder);

    let broker = home.start();
    let client = Client::of(&broker).await;
    client.fill("q", &["2"]).await;
    assert_eq!(client.marked("q").await, ["again: 1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_came_back_before_the_stop_is_redelivered_in_its_place() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.queue("q", &[]).await;
        client.fill("q", &["1", "2", "3", "4"]).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(client.get("q").await.expect("a message"));
        }
        // The third, then the first: each goes back to where it was.
        for n in [2, 0] {
            soon(held[n].nack(BasicNackOptions { requeue: true, ..Default::default() })).await.expect("sent");
        }
        soon(held[1].ack(Default::default())).await.expect("sent");
        client.fill("q", &["5"]).await;
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        let marked = client.marked("q").await;
        assert_eq!(marked[..2], ["again: 1", "again: 3"], "after {how:?}");
        let bare: Vec<_> = marked.iter().map(|body| body.trim_start_matches("again: ")).collect();
        assert_eq!(bare, ["1", "3", "4", "5"], "after {how:?}");
        if how == End::InOrder {
            assert_eq!(marked[2..], ["4", "5"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn acknowledgements_of_many_at_once() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.queue("q", &[]).await;
        let bodies: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        client.fill("q", &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let mut held = Vec::new();
        for _ in 0..40 {
            held.push(client.get("q").await.expect("a message"));
        }
        soon(held[29].ack(BasicAckOptions { multiple: true })).await.expect("sent");
        client.fill("q", &["last"]).await;
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        assert_eq!(client.ready("q").await, 21, "after {how:?}");
        let marked = client.marked("q").await;
        assert_eq!(marked[0], "again: 30");
        assert_eq!(marked[9], "again: 39");
        assert_eq!(marked[20].trim_start_matches("again: "), "last");
    }
}

/// An ack that was followed by a confirm on the same channel has been written down; what it ended does not come back, even if
/// the queue is then declared, read and left alone over and over.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_has_ended_stays_ended_over_many_restarts() {
    let home = Home::new();
    let broker = home.start();
    let client = Client::of(&broker).await;
    client.queue("q", &[]).await;
    client.fill("q", &["1", "2", "3", "4", "5", "6"]).await;
    broker.end(End::Killed);
    for n in 1..6 {
        let broker = home.start();
        let client = Client::of(&broker).await;
        let got = client.get("q").await.expect("a message");
        assert_eq!(text(&got.data), n.to_string());
        soon(got.ack(Default::default())).await.expect("sent");
        // An answer that waits for what was written before it.
        client.channel.queue_declare(format!("q{n}").as_str().into(), DURABLE, Default::default()).await.expect("a queue");
        broker.end(End::Killed);
    }
    let broker = home.start();
    let left = Client::of(&broker).await.bodies("q").await;
    assert_eq!(left, ["6"]);
}
