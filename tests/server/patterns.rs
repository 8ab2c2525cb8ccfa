//! The three ways of spreading messages: load balancing, fan-out, and groups of consumers that do both.

use futures_lite::StreamExt;
use lapin::options::{BasicAckOptions, ExchangeDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{BasicProperties, Channel, Consumer, ExchangeKind};

use crate::support::broker::Broker;
use crate::support::client::{
    bind, channel, confirming, connect, consume, declare, next, prefetch, publish, publish_with, ready, soon, take_many, text,
};

async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind) {
    let options = ExchangeDeclareOptions::default();
    soon(channel.exchange_declare(name.into(), kind, options, FieldTable::default())).await.expect("an exchange");
}

fn numbers(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|n| n.to_string()).collect()
}

/// Twelve messages over three consumers that take one at a time: every third each.
async fn check_round_robin(publisher: &Channel, consumers: &mut [Consumer]) {
    for n in 0..12 {
        publish(publisher, "", "work", n.to_string().as_bytes()).await;
    }
    for (first, consumer) in (0u32..).zip(consumers) {
        assert_eq!(take_many(consumer, 4).await, numbers((0..4).map(|n| first + 3 * n)));
    }
}

#[tokio::test]
async fn load_balancing_over_consumers_of_one_connection() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let publisher = confirming(&connection).await;
    declare(&publisher, "work").await;
    let consuming = channel(&connection).await;
    let mut consumers = Vec::new();
    for _ in 0..3 {
        consumers.push(consume(&consuming, "work").await);
    }
    check_round_robin(&publisher, &mut consumers).await;
}

#[tokio::test]
async fn load_balancing_over_connections() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let publisher = confirming(&connection).await;
    declare(&publisher, "work").await;
    let mut held = Vec::new();
    let mut consumers = Vec::new();
    for _ in 0..3 {
        let connection = connect(&broker).await;
        let channel = channel(&connection).await;
        consumers.push(consume(&channel, "work").await);
        held.push((connection, channel));
    }
    check_round_robin(&publisher, &mut consumers).await;
}

#[tokio::test]
async fn prefetch_gives_the_work_to_whoever_is_done() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let publisher = confirming(&connection).await;
    declare(&publisher, "work").await;
    let (slow, fast) = (channel(&connection).await, channel(&connection).await);
    prefetch(&slow, 1).await;
    prefetch(&fast, 1).await;
    let mut slow = consume(&slow, "work").await;
    let mut fast = consume(&fast, "work").await;
    for n in 0..10 {
        publish(&publisher, "", "work", n.to_string().as_bytes()).await;
    }
    let kept = next(&mut slow).await;
    assert_eq!(text(&kept.data), "0");
    assert_eq!(take_many(&mut fast, 9).await, numbers(1..10));
    // The slow one gets more only when it is done.
    publish(&publisher, "", "work", b"10").await;
    assert_eq!(take_many(&mut fast, 1).await, ["10"]);
    soon(kept.ack(BasicAckOptions::default())).await.expect("an ack");
    publish(&publisher, "", "work", b"11").await;
    publish(&publisher, "", "work", b"12").await;
    let mut last = [take_many(&mut slow, 1).await, take_many(&mut fast, 1).await].concat();
    last.sort();
    assert_eq!(last, ["11", "12"]);
}

#[tokio::test]
async fn fan_out_gives_everyone_everything() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let publisher = confirming(&connection).await;
    exchange(&publisher, "news", ExchangeKind::Fanout).await;
    let mut consumers = Vec::new();
    for queue in ["a", "b", "c"] {
        let channel = channel(&connection).await;
        declare(&channel, queue).await;
        bind(&channel, queue, "news", "").await;
        consumers.push(consume(&channel, queue).await);
    }
    for n in 0..20 {
        publish(&publisher, "news", "", n.to_string().as_bytes()).await;
    }
    for consumer in &mut consumers {
        assert_eq!(take_many(consumer, 20).await, numbers(0..20));
    }
}

#[tokio::test]
async fn groups_share_the_work_within_and_everything_between() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let publisher = confirming(&connection).await;
    exchange(&publisher, "events", ExchangeKind::Fanout).await;
    let mut groups: Vec<Vec<Consumer>> = Vec::new();
    for (group, members) in [("billing", 2u32), ("search", 3), ("audit", 1)] {
        let channel = channel(&connection).await;
        declare(&channel, group).await;
        bind(&channel, group, "events", "").await;
        let mut consumers = Vec::new();
        for _ in 0..members {
            consumers.push(consume(&channel, group).await);
        }
        groups.push(consumers);
    }
    for n in 0..12 {
        publish(&publisher, "events", "", n.to_string().as_bytes()).await;
    }
    for group in &mut groups {
        let members = u32::try_from(group.len()).unwrap();
        for (first, consumer) in (0u32..).zip(group) {
            let expected = numbers((first..12).step_by(members as usize));
            assert_eq!(take_many(consumer, expected.len()).await, expected);
        }
    }
}

#[tokio::test]
async fn topics_are_matched_word_by_word() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    let bindings = [("one", "stock.*.nyse"), ("many", "stock.#"), ("end", "#.nyse"), ("all", "#"), ("exact", "stock.usd.nyse")];
    for (queue, pattern) in bindings {
        declare(&channel, queue).await;
        bind(&channel, queue, "amq.topic", pattern).await;
    }
    for key in ["stock.usd.nyse", "stock", "stock.usd.eu.nyse", "nyse", ""] {
        publish(&channel, "amq.topic", key, key.as_bytes()).await;
    }
    let mut counts = Vec::new();
    for (queue, _) in bindings {
        counts.push(ready(&channel, queue).await);
    }
    assert_eq!(counts, [1, 3, 3, 5, 1]);
}

#[tokio::test]
async fn headers_are_matched_all_or_any() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    let table = |entries: &[(&str, &str)]| {
        let mut table = FieldTable::default();
        for (key, value) in entries {
            table.insert(ShortString::from(*key), AMQPValue::LongString(LongString::from(*value)));
        }
        table
    };
    for (queue, x_match) in [("all", "all"), ("any", "any")] {
        declare(&channel, queue).await;
        let arguments = table(&[("x-match", x_match), ("format", "pdf"), ("size", "a4")]);
        let bound = channel.queue_bind(queue.into(), "amq.headers".into(), "".into(), Default::default(), arguments);
        soon(bound).await.expect("a binding");
    }
    for entries in [&[("format", "pdf"), ("size", "a4")][..], &[("format", "pdf")], &[("size", "a5")], &[]] {
        let properties = BasicProperties::default().with_headers(table(entries));
        publish_with(&channel, "amq.headers", "", b"x", properties).await;
    }
    assert_eq!((ready(&channel, "all").await, ready(&channel, "any").await), (1, 2));
}

#[tokio::test]
async fn a_queue_that_is_drained_by_many_loses_and_doubles_nothing() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let publisher = confirming(&connection).await;
    declare(&publisher, "work").await;
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let mut held = Vec::new();
    for _ in 0..4 {
        let connection = connect(&broker).await;
        let channel = channel(&connection).await;
        prefetch(&channel, 7).await;
        let mut consumer = consume(&channel, "work").await;
        let sender = sender.clone();
        held.push((connection, channel));
        tokio::spawn(async move {
            while let Some(Ok(delivery)) = consumer.next().await {
                delivery.ack(BasicAckOptions::default()).await.expect("an ack");
                sender.send(text(&delivery.data)).expect("the test waits");
            }
        });
    }
    for n in 0..500 {
        publish(&publisher, "", "work", n.to_string().as_bytes()).await;
    }
    let mut all = Vec::new();
    while all.len() < 500 {
        all.push(soon(received.recv()).await.expect("a body").parse::<u32>().expect("a number"));
    }
    all.sort_unstable();
    assert_eq!(all, (0..500).collect::<Vec<u32>>());
    assert_eq!(ready(&publisher, "work").await, 0);
}
