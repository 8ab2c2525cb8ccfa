//! Consumers: order, prefetch, cancellation by either side, and what happens while nobody polls them.

use leveret::amqp::{AMQPClass, queue};
use leveret::client::{BUFFERED_HIGH, BUFFERED_MAX, Channel, Connection, Consume, DEFAULT_PREFETCH, Error, Publication};

use super::{Broker, confirming, connect, declare, eventually_ready, next, open, ready, soon};

/// Publishes so many bodies of this size, each beginning with its number.
async fn fill(connection: &Connection, queue: &str, count: u32, size: usize) {
    let channel = confirming(connection).await;
    let mut confirms = Vec::new();
    for n in 0..count {
        let mut body = vec![0; size.max(4)];
        body[..4].copy_from_slice(&n.to_be_bytes());
        confirms.push(soon(channel.start_publish(Publication::new("", queue.to_owned(), body))).await.expect("sent"));
    }
    for confirm in confirms {
        assert!(soon(confirm).await.expect("confirmed").acked);
    }
}

fn number(body: &[u8]) -> u32 {
    u32::from_be_bytes(*body.first_chunk().expect("a number"))
}

async fn delete(channel: &Channel, queue: &str) {
    let delete = queue::Delete { queue: queue.into(), if_unused: false, if_empty: false, nowait: false };
    soon(channel.call(AMQPClass::Queue(queue::AMQPMethod::Delete(delete)))).await.expect("deleted");
}

#[tokio::test]
async fn deliveries_come_in_order_and_are_acknowledged() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    declare(&channel, "q").await;
    fill(&connection, "q", 3000, 0).await;
    let mut consumer = soon(channel.consume(Consume::from("q"))).await.expect("a consumer");
    for n in 0..3000 {
        let delivery = next(&mut consumer).await;
        assert_eq!((number(&delivery.body), delivery.message_count), (n, None));
        assert_eq!(&delivery.consumer_tag, consumer.tag());
        if n % 100 == 99 {
            soon(channel.ack(delivery.delivery_tag, true)).await.expect("sent");
        }
    }
    assert_eq!(ready(&channel, "q").await, 0);
    drop((consumer, channel));
    // Nothing comes back.
    eventually_ready(&open(&connection).await, "q", 0).await;
}

#[tokio::test]
async fn a_prefetch_bounds_what_is_under_way_and_there_always_is_one() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    declare(&channel, "q").await;
    fill(&connection, "q", 2000, 0).await;
    let consumer = soon(channel.consume(Consume::from("q"))).await.expect("a consumer");
    eventually_ready(&channel, "q", 2000 - u32::from(DEFAULT_PREFETCH)).await;
    drop(consumer);
    // What it had not handed out is back.
    eventually_ready(&channel, "q", 2000).await;
    let channel = open(&connection).await;
    soon(channel.qos(7, false)).await.expect("a prefetch");
    let mut consumer = soon(channel.consume(Consume::from("q"))).await.expect("a consumer");
    eventually_ready(&channel, "q", 1993).await;
    let first = next(&mut consumer).await;
    soon(channel.ack(first.delivery_tag, false)).await.expect("sent");
    eventually_ready(&channel, "q", 1992).await;
}

#[tokio::test]
async fn what_was_sent_before_a_cancel_still_comes_out() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    declare(&channel, "q").await;
    fill(&connection, "q", 10, 0).await;
    let consume = Consume { consumer_tag: "mine".to_owned(), no_ack: true, ..Consume::from("q") };
    let mut consumer = soon(channel.consume(consume.clone())).await.expect("a consumer");
    assert_eq!(consumer.tag(), "mine");
    assert!(matches!(soon(channel.consume(consume.clone())).await, Err(Error::Protocol(_))), "the tag is taken");
    eventually_ready(&channel, "q", 0).await;
    soon(channel.cancel(b"mine")).await.expect("cancelled");
    for n in 0..10 {
        assert_eq!(number(&next(&mut consumer).await.body), n);
    }
    assert!(soon(consumer.next()).await.expect("no error").is_none());
    assert!(soon(consumer.next()).await.expect("no error").is_none());
    assert!(!consumer.is_cancelled_by_broker());
    // The tag is free, and the one that had it has no part in it.
    let mut second = soon(channel.consume(consume)).await.expect("a consumer");
    drop(consumer);
    fill(&connection, "q", 1, 0).await;
    next(&mut second).await;
}

#[tokio::test]
async fn a_queue_that_is_deleted_cancels_its_consumer() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    declare(&channel, "q").await;
    declare(&channel, "r").await;
    let mut consumer = soon(channel.consume(Consume::from("q"))).await.expect("a consumer");
    let mut other = soon(channel.consume(Consume::from("r"))).await.expect("a consumer");
    delete(&open(&connection).await, "q").await;
    assert!(soon(consumer.next()).await.expect("no error").is_none());
    assert!(consumer.is_cancelled_by_broker());
    drop(consumer);
    fill(&connection, "r", 1, 0).await;
    next(&mut other).await;
}

#[tokio::test]
async fn a_consumer_hears_why_its_channel_ended() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    declare(&channel, "q").await;
    let error = soon(channel.consume(Consume::from("missing"))).await.expect_err("404");
    assert_eq!(error.code(), Some(404));
    let channel = open(&connection).await;
    fill(&connection, "q", 20, 0).await;
    let mut with_acks = soon(channel.consume(Consume { no_ack: false, ..Consume::from("q") })).await.expect("a consumer");
    eventually_ready(&channel, "q", 0).await;
    soon(channel.ack(4711, false)).await.expect("sent");
    assert_eq!(soon(channel.qos(1, false)).await.expect_err("406").code(), Some(406));
    // What it holds goes to somebody else: it gets none of it any more.
    assert_eq!(soon(with_acks.next()).await.expect_err("406").code(), Some(406));
    let channel = open(&connection).await;
    let mut without = soon(channel.consume(Consume { no_ack: true, ..Consume::from("q") })).await.expect("a consumer");
    eventually_ready(&channel, "q", 0).await;
    soon(channel.close()).await.expect("closed");
    // Nobody else has these.
    for n in 0..20 {
        assert_eq!(number(&next(&mut without).await.body), n);
    }
    assert!(matches!(soon(without.next()).await, Err(Error::Closed { by_server: false, .. })));
}

#[tokio::test]
async fn a_consumer_that_is_not_polled_holds_up_nobody() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let stuck = open(&connection).await;
    declare(&stuck, "q").await;
    declare(&stuck, "r").await;
    // More than is read when nobody waits for anything.
    let (count, size) = (300, 64 * 1024);
    assert!(count as usize * size > 3 * BUFFERED_HIGH && (count as usize * size) < BUFFERED_MAX / 2);
    fill(&connection, "q", count, size).await;
    let mut consumer = soon(stuck.consume(Consume { no_ack: true, ..Consume::from("q") })).await.expect("a consumer");
    // Another channel: replies, confirms, deliveries, acks.
    let channel = confirming(&connection).await;
    let mut other = soon(channel.consume(Consume::from("r"))).await.expect("a consumer");
    for n in 0..100_u32 {
        let publication = Publication::new("", "r", n.to_be_bytes().to_vec());
        assert!(soon(channel.publish(publication)).await.expect("confirmed").acked);
        let delivery = next(&mut other).await;
        assert_eq!(number(&delivery.body), n);
        soon(channel.ack(delivery.delivery_tag, false)).await.expect("sent");
    }
    assert_eq!(ready(&channel, "r").await, 0);
    for n in 0..count {
        assert_eq!(number(&next(&mut consumer).await.body), n);
    }
}

#[tokio::test]
async fn what_nobody_takes_is_not_read() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    declare(&channel, "q").await;
    let (count, size) = (2000, 64 * 1024);
    assert!(count as usize * size > BUFFERED_MAX);
    let filling = connect(&broker).await;
    fill(&filling, "q", count, size).await;
    let mut consumer = soon(channel.consume(Consume { no_ack: true, ..Consume::from("q") })).await.expect("a consumer");
    // The queue stops shrinking while most of it is still there: it is looked at until it has not for a while.
    let looking = open(&filling).await;
    let (mut left, mut the_same) = (count, 0);
    while the_same < 200 {
        let now = ready(&looking, "q").await;
        the_same = if now == left { the_same + 1 } else { 0 };
        left = now;
    }
    assert!(left > count / 2, "{left} of {count} left");
    for n in 0..count {
        assert_eq!(number(&next(&mut consumer).await.body), n);
    }
}

#[tokio::test]
async fn a_consumer_that_is_never_polled_is_cancelled_before_it_fills_the_memory() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let stuck = open(&connection).await;
    declare(&stuck, "q").await;
    let (count, size) = (3000, 64 * 1024);
    assert!(count as usize * size > 2 * BUFFERED_MAX);
    let filling = connect(&broker).await;
    fill(&filling, "q", count, size).await;
    let mut consumer = soon(stuck.consume(Consume { no_ack: true, ..Consume::from("q") })).await.expect("a consumer");
    // Somebody always waits on another channel, so everything is read.
    declare(&stuck, "r").await;
    let channel = open(&connection).await;
    let mut waiting = soon(channel.consume(Consume::from("r"))).await.expect("a consumer");
    let waits = tokio::spawn(async move { next(&mut waiting).await });
    let looking = open(&filling).await;
    soon(async {
        loop {
            let passive = queue::Declare { passive: true, ..crate::declaring("q") };
            match crate::call_queue(&looking, queue::AMQPMethod::Declare(passive)).await.expect("the queue") {
                queue::AMQPMethod::DeclareOk(queue) if queue.consumer_count == 0 => break,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    // Nothing is lost: what was sent comes out of it, then the reason, and the rest is where it was.
    let left = ready(&looking, "q").await;
    assert!(left > 0 && left < count, "{left}");
    for n in 0..count - left {
        assert_eq!(number(&next(&mut consumer).await.body), n);
    }
    assert!(matches!(soon(consumer.next()).await, Err(Error::Protocol(_))));
    fill(&filling, "r", 1, 0).await;
    soon(waits).await.expect("the other one goes on");
}

#[tokio::test]
async fn a_consumer_that_is_given_up_before_it_began_leaves_nothing_behind() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    declare(&channel, "q").await;
    fill(&connection, "q", 5, 0).await;
    let given_up = tokio::time::timeout(std::time::Duration::ZERO, channel.consume(Consume::from("q"))).await;
    drop(given_up);
    eventually_ready(&channel, "q", 5).await;
    let mut consumer = soon(channel.consume(Consume::from("q"))).await.expect("a consumer");
    for _ in 0..5 {
        next(&mut consumer).await;
    }
}
