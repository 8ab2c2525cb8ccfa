//! What a program on lapin does with a broker, checked one promise at a time.

mod features;
mod loss;
mod refusals;
mod routing;
mod settling;
mod words;

use futures_lite::StreamExt;
use interop::{IDLE, Names, QUIET, Relay, Section, WAIT, host, mebibyte, port};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, Error, ErrorKind, ExchangeKind,
    message::Delivery,
    options::*,
    types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable},
};
use std::{
    fmt::Debug,
    process::ExitCode,
    sync::{Arc, Mutex},
};
use tokio::time::timeout;

use features::*;
use loss::*;
use refusals::*;
use routing::*;
use settling::*;
use words::*;

#[tokio::main]
async fn main() -> ExitCode {
    let mut section = Section::of("lapin");
    let names = Names::new("lapin");
    macro_rules! check {
        ($what:literal, $body:ident) => {
            let names = names.clone();
            let body = async move {
                let connection = connect(&uri("")).await;
                let own = Own { connection, names, channels: Mutex::default() };
                $body(&own).await;
                own.connection.close(200, "done".into()).await.unwrap();
            };
            section.check($what, body).await
        };
    }
    interop::every_client!(check);
    check!("connection loss: automatic recovery of channel and consumer", recovers_automatically);
    check!("a wrong password is an ACCESS_REFUSED protocol error", refuses_password);
    check!("update-secret is answered", updates_secret);
    check!("time to live: queue's and message's, the shorter of both, only at the head", expires_messages);
    check!("x-expires: an unused queue goes, one with a consumer stays", expires_queues);
    check!("dead letters: rejected, expired and overflowing messages with their history", dead_letters);
    check!("delayed retry: TTL and back, deaths counted, parked after three attempts", retries_later);
    check!("priorities: higher first, in order within one", orders_by_priority);
    check!("single active consumer: the next one takes over", takes_over);
    check!("quorum queue: x-delivery-count, and the delivery limit that dead-letters", limits_deliveries);
    check!("stream: first, last, an offset, a time and an age; offsets in headers", reads_stream);
    check!("406 for wrong arguments", refuses_arguments);
    check!("nothing left behind", leaves_nothing);
    section.end()
}

// Content

async fn carries_everything(own: &Own) {
    let list = FieldArray::from(vec![AMQPValue::LongInt(1), string("two"), AMQPValue::Double(3.5)]);
    let inner = table([("deep", AMQPValue::LongInt(1))]);
    let headers = table([
        ("text", string("ünïcode")),
        ("bool", AMQPValue::Boolean(true)),
        ("i8", AMQPValue::ShortShortInt(-8)),
        ("u8", AMQPValue::ShortShortUInt(200)),
        ("i16", AMQPValue::ShortInt(-16000)),
        ("u16", AMQPValue::ShortUInt(60000)),
        ("i32", AMQPValue::LongInt(-32)),
        ("u32", AMQPValue::LongUInt(4_000_000_000)),
        ("i64", AMQPValue::LongLongInt(i64::MIN)),
        ("f32", AMQPValue::Float(1.5)),
        ("f64", AMQPValue::Double(std::f64::consts::PI)),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 12345 })),
        ("time", AMQPValue::Timestamp(1_700_000_000)),
        ("nothing", AMQPValue::Void),
        ("bytes", AMQPValue::ByteArray(ByteArray::from(vec![0, 1, 206, 255]))),
        ("list", AMQPValue::FieldArray(list)),
        ("table", AMQPValue::FieldTable(table([("inner", AMQPValue::FieldTable(inner))]))),
    ]);
    let properties = BasicProperties::default()
        .with_content_type("application/octet-stream".into())
        .with_content_encoding("identity".into())
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_priority(5)
        .with_correlation_id("correlation".into())
        .with_reply_to("reply".into())
        .with_expiration("60000".into())
        .with_message_id("message".into())
        .with_timestamp(1_600_000_000)
        .with_type("type".into())
        .with_user_id("guest".into())
        .with_app_id("app".into())
        .with_cluster_id("cluster".into());
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let body = mebibyte();
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), queue.as_str().into(), options, &body, properties.clone());
    sent.await.unwrap();
    let delivery = take(&mut consume(&channel, &queue).await).await;
    assert!(body == delivery.data, "the body changed");
    assert_eq!(properties, delivery.properties);
}

async fn carries_nothing(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish(&channel, "", &queue, "", BasicProperties::default()).await;
    let delivery = take(&mut consume(&channel, &queue).await).await;
    assert!(delivery.data.is_empty());
    assert_eq!(BasicProperties::default(), delivery.properties);
}

// The rest

async fn keeps_idle_open(_: &Own) {
    let connection = connect(&uri("?heartbeat=1")).await;
    assert_eq!(1, connection.configuration().heartbeat());
    tokio::time::sleep(IDLE).await;
    assert!(connection.status().connected());
    let channel = connection.create_channel().await.unwrap();
    channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

async fn transacts(own: &Own) {
    let (channel, observer) = (own.channel().await, own.channel().await);
    let queue = own.exclusive_queue(&channel).await;
    channel.tx_select().await.unwrap();
    publish_numbers(&channel, &queue, 1..=1).await;
    message_count(&channel, &queue).await; // its answer proves that the publish before it arrived
    assert_eq!(0, message_count(&observer, &queue).await);
    channel.tx_commit().await.unwrap();
    assert_eq!(1, message_count(&observer, &queue).await);
    publish_numbers(&channel, &queue, 2..=2).await;
    channel.tx_rollback().await.unwrap();
    assert_eq!(1, message_count(&observer, &queue).await);
}

async fn notifies_cancel(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let mut inbox = consume(&channel, &queue).await;
    delete_queue(&own.channel().await, &queue).await.unwrap();
    assert!(timeout(WAIT, inbox.next()).await.expect("no cancel came").is_none());
    assert!(channel.status().connected());
    own.exclusive_queue(&channel).await;
}

async fn updates_secret(own: &Own) {
    own.connection.update_secret("guest".into(), "renewed".into()).await.unwrap();
}

async fn leaves_nothing(own: &Own) {
    for queue in own.names.queues() {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let channel = own.channel().await;
        let found = channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await;
        refused(404, &format!("NOT_FOUND - no queue '{queue}' in vhost '/'"), found);
    }
    for exchange in own.names.exchanges() {
        let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
        let channel = own.channel().await;
        let kind = ExchangeKind::Direct;
        let found = channel.exchange_declare(exchange.as_str().into(), kind, options, FieldTable::default()).await;
        refused(404, &format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'"), found);
    }
}
