//! Publishing: confirms, returns, transactions, bodies of every size.

use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Channel, Confirmation};

use crate::support::broker::Broker;
use crate::support::client::{
    channel, confirming, connect, consume, declare, declare_with, next, publish, publish_with, ready, soon, text,
};

async fn mandatory(channel: &Channel, exchange: &str, key: &str) -> Confirmation {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent = channel.basic_publish(exchange.into(), key.into(), options, b"wanted", BasicProperties::default());
    soon(soon(sent).await.expect("sent")).await.expect("a confirm")
}

#[tokio::test]
async fn every_publish_is_confirmed() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    let mut waiting = Vec::new();
    for _ in 0..1000 {
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish("".into(), "q".into(), options, b"x", BasicProperties::default());
        waiting.push(soon(sent).await.expect("sent"));
    }
    for confirm in waiting {
        assert_eq!(soon(confirm).await.expect("a confirm"), Confirmation::Ack(None));
    }
    assert_eq!(ready(&channel, "q").await, 1000);
}

#[tokio::test]
async fn a_mandatory_message_without_a_queue_comes_back_and_is_confirmed() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    assert_eq!(mandatory(&channel, "", "q").await, Confirmation::Ack(None));
    let Confirmation::Ack(Some(returned)) = mandatory(&channel, "amq.direct", "nowhere").await else { panic!("no return") };
    assert_eq!((returned.reply_code, returned.reply_text.as_str()), (312, "NO_ROUTE"));
    assert_eq!((returned.delivery.exchange.as_str(), returned.delivery.routing_key.as_str()), ("amq.direct", "nowhere"));
    assert_eq!(text(&returned.delivery.data), "wanted");
    // Without mandatory, it is confirmed and gone.
    publish(&channel, "amq.direct", "nowhere", b"unwanted").await;
}

#[tokio::test]
async fn a_full_queue_refuses_when_it_is_told_to() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert("x-overflow".into(), AMQPValue::LongString(LongString::from("reject-publish")));
    declare_with(&channel, "q", QueueDeclareOptions::default(), arguments).await;
    assert!(mandatory(&channel, "", "q").await.is_ack());
    assert!(mandatory(&channel, "", "q").await.is_nack());
}

#[tokio::test]
async fn publishing_to_an_exchange_that_is_missing_closes_the_channel_only() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (broken, whole) = (confirming(&connection).await, confirming(&connection).await);
    let options = BasicPublishOptions::default();
    let sent = soon(broken.basic_publish("missing".into(), "k".into(), options, b"x", BasicProperties::default())).await;
    let error = soon(sent.expect("sent")).await.expect_err("no confirm");
    assert!(error.to_string().contains("NOT_FOUND - no exchange 'missing' in vhost '/'"), "{error}");
    declare(&whole, "q").await;
    publish(&whole, "", "q", b"x").await;
    assert_eq!(ready(&whole, "q").await, 1);
}

#[tokio::test]
async fn transactions_are_all_or_nothing() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (writer, reader) = (channel(&connection).await, channel(&connection).await);
    declare(&reader, "q").await;
    soon(writer.tx_select()).await.expect("a transaction");
    publish(&writer, "", "q", b"1").await;
    publish(&writer, "", "q", b"2").await;
    assert_eq!(ready(&writer, "q").await, 0, "nothing before the commit");
    soon(writer.tx_commit()).await.expect("a commit");
    assert_eq!(ready(&reader, "q").await, 2);
    publish(&writer, "", "q", b"3").await;
    soon(writer.tx_rollback()).await.expect("a rollback");
    assert_eq!(ready(&reader, "q").await, 2);

    // An ack in a transaction that is rolled back leaves the message unacked.
    let got = soon(writer.basic_get("q".into(), BasicGetOptions::default())).await.expect("an answer").expect("a message");
    soon(got.ack(Default::default())).await.expect("an ack");
    soon(writer.tx_rollback()).await.expect("a rollback");
    soon(writer.close(200, "".into())).await.expect("closed");
    assert_eq!(ready(&reader, "q").await, 2);
}

/// Bytes that differ from place to place, so that a piece in the wrong place shows.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n ^ (n >> 8) ^ (n >> 16)).to_le_bytes()[0]).collect()
}

#[tokio::test]
async fn bodies_of_every_size_arrive_as_they_were_sent() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let publisher = confirming(&connection).await;
    declare(&publisher, "q").await;
    let mut consumer = consume(&channel(&connection).await, "q").await;
    // Around the sizes at which frames, reads and parts of large bodies end; up to 15 MiB.
    let frame = 131_072 - 8;
    for size in [0, 1, frame - 1, frame, frame + 1, 2 * frame, 256 * 1024, 262_145, 1 << 20, 15 << 20] {
        let sent = pattern(size);
        publish(&publisher, "", "q", &sent).await;
        let delivery = next(&mut consumer).await;
        assert!(delivery.data == sent, "{size} bytes");
        soon(delivery.ack(Default::default())).await.expect("an ack");
    }
}

#[tokio::test]
async fn a_large_body_reaches_every_queue() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let publisher = confirming(&connection).await;
    let sent = pattern(1 << 20);
    for queue in ["a", "b", "c"] {
        declare(&publisher, queue).await;
        let bound = publisher.queue_bind(queue.into(), "amq.fanout".into(), "".into(), Default::default(), FieldTable::default());
        soon(bound).await.expect("a binding");
    }
    publish(&publisher, "amq.fanout", "", &sent).await;
    for queue in ["a", "b", "c"] {
        let got = soon(publisher.basic_get(queue.into(), BasicGetOptions { no_ack: true })).await.expect("an answer");
        assert!(got.expect("a message").data == sent, "{queue}");
    }
}

#[tokio::test]
async fn properties_travel_unchanged() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    let mut headers = FieldTable::default();
    headers.insert("attempt".into(), AMQPValue::LongInt(-3));
    headers.insert("nested".into(), AMQPValue::FieldTable(headers.clone()));
    let properties = BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_priority(5)
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_message_id("m".into())
        .with_timestamp(1_700_000_000)
        .with_type("t".into())
        .with_user_id("guest".into())
        .with_app_id("a".into());
    publish_with(&channel, "", "q", b"x", properties.clone()).await;
    let got = soon(channel.basic_get("q".into(), BasicGetOptions { no_ack: true })).await.expect("an answer").expect("a message");
    assert_eq!(got.properties, properties);
}
