//! Consuming: settlement, redelivery, what happens when a consumer or its queue goes away, RPC.

use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicRejectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection};

use crate::support::broker::Broker;
use crate::support::client::{
    channel, confirming, connect, consume, consume_with, declare, declare_with, next, prefetch, publish, publish_with, ready, soon, take,
    take_many, text,
};
use crate::support::raw::{Close, Raw};
use crate::support::wire;

/// A queue with these bodies in it, and the channel that published them.
async fn filled(connection: &Connection, bodies: &[&str]) -> Channel {
    let channel = confirming(connection).await;
    declare(&channel, "q").await;
    for body in bodies {
        publish(&channel, "", "q", body.as_bytes()).await;
    }
    channel
}

fn seen(delivery: &Delivery) -> (String, bool) {
    (text(&delivery.data), delivery.redelivered)
}

async fn get(channel: &Channel) -> Option<(String, bool)> {
    let got = soon(channel.basic_get("q".into(), BasicGetOptions { no_ack: true })).await.expect("an answer");
    got.map(|message| seen(&message.delivery))
}

#[tokio::test]
async fn what_is_requeued_returns_to_its_place_redelivered() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let publisher = filled(&connection, &["1", "2", "3", "4", "5"]).await;
    let consuming = channel(&connection).await;
    let mut consumer = consume(&consuming, "q").await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(next(&mut consumer).await);
    }
    soon(consuming.basic_cancel(consumer.tag(), BasicCancelOptions::default())).await.expect("cancelled");
    // Out of order, one by one: 4 rejected, 2 nacked, 3 acked, 5 dropped; 1 returns with the channel.
    soon(held[3].reject(BasicRejectOptions { requeue: true })).await.expect("a reject");
    soon(held[1].nack(BasicNackOptions { requeue: true, multiple: false })).await.expect("a nack");
    soon(held[2].ack(BasicAckOptions::default())).await.expect("an ack");
    soon(held[4].nack(BasicNackOptions { requeue: false, multiple: false })).await.expect("a nack");
    soon(consuming.close(200, "".into())).await.expect("closed");
    let mut left = Vec::new();
    while let Some(message) = get(&publisher).await {
        left.push(message);
    }
    assert_eq!(left, [("1".to_owned(), true), ("2".to_owned(), true), ("4".to_owned(), true)]);
}

#[tokio::test]
async fn multiple_settles_all_up_to_a_tag() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let publisher = filled(&connection, &["1", "2", "3", "4"]).await;
    let consuming = channel(&connection).await;
    let mut consumer = consume(&consuming, "q").await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(next(&mut consumer).await);
    }
    soon(held[1].ack(BasicAckOptions { multiple: true })).await.expect("an ack");
    soon(consuming.basic_cancel(consumer.tag(), BasicCancelOptions::default())).await.expect("cancelled");
    soon(held[3].nack(BasicNackOptions { requeue: true, multiple: true })).await.expect("a nack");
    // Settlements have no answer; the next method on their channel has.
    assert_eq!(ready(&consuming, "q").await, 2);
    assert_eq!(get(&publisher).await, Some(("3".to_owned(), true)));
    assert_eq!(get(&publisher).await, Some(("4".to_owned(), true)));
}

#[test]
fn an_unknown_delivery_tag_closes_the_channel_and_nothing_else() {
    let broker = Broker::start();
    let mut raw = Raw::channel(&broker);
    raw.open_channel(2);
    raw.send(&wire::method(2, wire::ACK, &wire::Fields::new().longlong(99).byte(0)));
    let close = Close::of(&raw.expect(wire::CHANNEL_CLOSE));
    let text = "PRECONDITION_FAILED - unknown delivery tag 99".to_owned();
    assert_eq!(close, Close { code: 406, text, id: wire::ACK });
    raw.round_trip_on_new_queue("q");
}

#[tokio::test]
async fn the_messages_of_a_dead_consumer_go_to_another() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let publisher = filled(&connection, &[]).await;
    let mut dying = Raw::channel(&broker);
    dying.send(&wire::consume(1, "q", 0));
    dying.expect(wire::CONSUME_OK);
    for body in ["1", "2", "3"] {
        publish(&publisher, "", "q", body.as_bytes()).await;
    }
    for _ in 0..3 {
        dying.skip_to(wire::DELIVER);
    }
    let mut heir = consume(&channel(&connection).await, "q").await;
    drop(dying);
    for body in ["1", "2", "3"] {
        assert_eq!(seen(&next(&mut heir).await), (body.to_owned(), true));
    }
}

#[tokio::test]
async fn a_connection_that_closes_gives_back_what_it_has_not_settled() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let publisher = filled(&connection, &["1", "2"]).await;
    let other = connect(&broker).await;
    let consuming = channel(&other).await;
    let mut consumer = consume(&consuming, "q").await;
    soon(next(&mut consumer).await.ack(BasicAckOptions::default())).await.expect("an ack");
    next(&mut consumer).await;
    soon(other.close(200, "done".into())).await.expect("closed");
    // With close-ok it has happened.
    assert_eq!(ready(&publisher, "q").await, 1);
    assert_eq!(get(&publisher).await, Some(("2".to_owned(), true)));
}

#[tokio::test]
async fn an_exclusive_queue_is_its_connections_and_goes_with_it() {
    let broker = Broker::start();
    let (owner, other) = (connect(&broker).await, connect(&broker).await);
    let owning = channel(&owner).await;
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    declare_with(&owning, "mine", exclusive, FieldTable::default()).await;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let look = async || {
        let channel = channel(&other).await;
        soon(channel.queue_declare("mine".into(), passive, FieldTable::default())).await.expect_err("refused").to_string()
    };
    let locked = look().await;
    assert!(locked.contains("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine'"), "{locked}");
    soon(owner.close(200, "done".into())).await.expect("closed");
    let gone = look().await;
    assert!(gone.contains("NOT_FOUND - no queue 'mine' in vhost '/'"), "{gone}");
}

#[tokio::test]
async fn a_consumer_hears_that_its_queue_is_deleted() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let publisher = filled(&connection, &["1"]).await;
    let consuming = channel(&connection).await;
    let mut consumer = consume(&consuming, "q").await;
    assert_eq!(take(&mut consumer).await, "1");
    soon(publisher.queue_delete("q".into(), Default::default())).await.expect("deleted");
    assert!(soon(consumer.next()).await.is_none(), "the stream of deliveries ends");
    // The channel is as good as before.
    declare(&consuming, "q").await;
}

#[tokio::test]
async fn a_cancelled_consumer_gets_no_more_and_others_do() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let publisher = filled(&connection, &[]).await;
    let consuming = channel(&connection).await;
    let (mut first, mut second) = (consume(&consuming, "q").await, consume(&consuming, "q").await);
    soon(consuming.basic_cancel(first.tag(), BasicCancelOptions::default())).await.expect("cancelled");
    for body in ["1", "2", "3"] {
        publish(&publisher, "", "q", body.as_bytes()).await;
    }
    assert_eq!(take_many(&mut second, 3).await, ["1", "2", "3"]);
    assert!(soon(first.next()).await.is_none());
}

#[tokio::test]
async fn without_acks_prefetch_does_not_count() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let publisher = filled(&connection, &["1", "2", "3"]).await;
    let consuming = channel(&connection).await;
    prefetch(&consuming, 1).await;
    let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut consumer = consume_with(&consuming, "q", no_ack).await;
    for body in ["1", "2", "3"] {
        assert_eq!(seen(&next(&mut consumer).await), (body.to_owned(), false));
    }
    assert_eq!(ready(&publisher, "q").await, 0);
}

#[tokio::test]
async fn an_rpc_over_direct_reply_to() {
    let broker = Broker::start();
    let (client, server) = (connect(&broker).await, connect(&broker).await);
    let serving = channel(&server).await;
    declare(&serving, "q").await;
    let mut requests = consume(&serving, "q").await;
    tokio::spawn(async move {
        while let Some(Ok(request)) = requests.next().await {
            let reply_to = request.properties.reply_to().clone().expect("where to");
            let id = request.properties.correlation_id().clone().expect("which");
            let answer = format!("{} squared", text(&request.data));
            publish_with(&serving, "", reply_to.as_str(), answer.as_bytes(), BasicProperties::default().with_correlation_id(id)).await;
            request.ack(BasicAckOptions::default()).await.expect("an ack");
        }
    });
    let asking = channel(&client).await;
    let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut replies = consume_with(&asking, "amq.rabbitmq.reply-to", no_ack).await;
    for n in 1..=3 {
        let properties = BasicProperties::default().with_reply_to("amq.rabbitmq.reply-to".into()).with_correlation_id(n.to_string().into());
        publish_with(&asking, "", "q", n.to_string().as_bytes(), properties).await;
        let reply = next(&mut replies).await;
        assert_eq!(text(&reply.data), format!("{n} squared"));
        assert_eq!(reply.properties.correlation_id().as_ref().map(|id| id.as_str().to_owned()), Some(n.to_string()));
    }
}
