//! What happens by time alone, in the running broker: nobody asks, and nothing else is going on.

use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, ExchangeKind};

use crate::support::broker::Broker;
use crate::support::client::{
    arguments, bind, confirming, connect, consume, consume_with, declare, declare_with, next, publish, publish_with, soon, take, text,
    words,
};

/// Whether a mandatory publish with this key comes back.
async fn is_unroutable(channel: &Channel, key: &str) -> bool {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent = soon(channel.basic_publish("".into(), key.into(), options, b"is it there?", BasicProperties::default())).await;
    let confirmation = soon(sent.expect("sent")).await.expect("a confirm");
    confirmation.take_message().is_some()
}

#[tokio::test]
async fn a_message_expires_into_the_hands_of_who_waits_for_dead_letters() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "dead").await;
    let to_dead = arguments(&[("x-dead-letter-exchange", words("")), ("x-dead-letter-routing-key", words("dead"))]);
    declare_with(&channel, "q", QueueDeclareOptions::default(), to_dead).await;
    let mut dead = consume(&channel, "dead").await;
    publish_with(&channel, "", "q", b"late", BasicProperties::default().with_expiration("150".into())).await;
    publish_with(&channel, "", "q", b"behind it", BasicProperties::default().with_expiration("100".into())).await;
    assert_eq!(take(&mut dead).await, "late");
    assert_eq!(take(&mut dead).await, "behind it");
}

#[tokio::test]
async fn a_queue_that_nobody_uses_is_gone() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare_with(&channel, "q", QueueDeclareOptions::default(), arguments(&[("x-expires", AMQPValue::LongInt(100))])).await;
    let gone = async {
        while !is_unroutable(&channel, "q").await {
            tokio::task::yield_now().await;
        }
    };
    soon(gone).await;
}

#[tokio::test]
async fn a_delayed_message_arrives_and_an_earlier_one_that_came_later_before_it() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    let kind = ExchangeKind::Custom("x-delayed-message".to_owned());
    let direct = arguments(&[("x-delayed-type", words("direct"))]);
    soon(channel.exchange_declare("later".into(), kind, ExchangeDeclareOptions::default(), direct)).await.expect("an exchange");
    declare(&channel, "q").await;
    bind(&channel, "q", "later", "k").await;
    let mut consumer = consume(&channel, "q").await;
    for (body, delay) in [("second", 400), ("first", 100)] {
        let headers = arguments(&[("x-delay", AMQPValue::LongInt(delay))]);
        publish_with(&channel, "later", "k", body.as_bytes(), BasicProperties::default().with_headers(headers)).await;
    }
    assert_eq!(take(&mut consumer).await, "first");
    assert_eq!(take(&mut consumer).await, "second");
}

#[tokio::test]
async fn a_delivery_that_is_not_settled_in_time_ends_its_channel() {
    let broker = Broker::with_config("compat = 3.13\nconsumer_timeout = 200\n");
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    publish(&channel, "", "q", b"slow").await;
    let mut consumer = consume(&channel, "q").await;
    let held = next(&mut consumer).await;
    assert!(!held.redelivered);
    let error = soon(async {
        loop {
            match futures_lite::StreamExt::next(&mut consumer).await {
                Some(Err(error)) => return error.to_string(),
                Some(Ok(_)) => {}
                None => return "the consumer ended".to_owned(),
            }
        }
    })
    .await;
    assert!(error.contains("delivery acknowledgement on channel") || error.contains("ended"), "{error}");
    let other = confirming(&connection).await;
    let mut again = consume_with(&other, "q", Default::default()).await;
    let redelivered = next(&mut again).await;
    assert!(redelivered.redelivered);
    assert_eq!(text(&redelivered.data), "slow");
    assert!(broker.log().contains("Timeout value used: 200 ms"), "{}", broker.log());
}

#[tokio::test]
async fn the_default_queue_type_stands_in_where_it_can() {
    let broker = Broker::with_config("default_queue_type = quorum\n");
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    declare_with(&channel, "q", durable, FieldTable::default()).await;
    // What was put in at the first declaration is there at every other one.
    declare_with(&channel, "q", durable, FieldTable::default()).await;
    declare_with(&channel, "q", durable, arguments(&[("x-queue-type", words("quorum"))])).await;
    // A transient queue cannot be a quorum queue, so it is a classic one.
    declare_with(&channel, "t", QueueDeclareOptions::default(), arguments(&[("x-queue-type", words("classic"))])).await;
    let classic = arguments(&[("x-queue-type", words("classic"))]);
    let error = soon(channel.queue_declare("q".into(), durable, classic)).await.expect_err("another type");
    assert!(error.to_string().contains("inequivalent arg 'x-queue-type' for queue 'q' in vhost '/'"), "{error}");
}
