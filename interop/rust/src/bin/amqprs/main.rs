//! What a program on amqprs does with a broker, checked one promise at a time.

mod loss;
mod refusals;
mod routing;
mod settling;
mod words;

use amqprs::{
    Ack, BasicProperties, ByteArray, Cancel, Close, CloseChannel, DecimalValue, FieldArray, FieldTable, FieldValue, Nack, Return,
    callbacks::{ChannelCallback, ConnectionCallback},
    channel::*,
    connection::{Connection, OpenConnectionArguments},
    error::Error,
    security::SecurityCredentials,
};
use async_trait::async_trait;
use interop::{IDLE, Names, QUIET, Relay, Section, WAIT, host, mebibyte, port};
use std::{
    fmt::Debug,
    process::ExitCode,
    sync::{Arc, Mutex},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};

use loss::*;
use refusals::*;
use routing::*;
use settling::*;
use words::*;

#[tokio::main]
async fn main() -> ExitCode {
    let mut section = Section::of("amqprs");
    let names = Names::new("amqprs");
    macro_rules! check {
        ($what:literal, $body:ident) => {
            let names = names.clone();
            let body = async move {
                let own = Own::new(names, &arguments()).await;
                $body(&own).await;
                own.close().await;
            };
            section.check($what, body).await
        };
    }
    interop::every_client!(check);
    check!("AMQPLAIN logs in", logs_in_with_amqplain);
    check!("a wrong password opens no connection", refuses_password);
    check!("channel.flow and update-secret are answered", answers_the_rest);
    check!("nothing left behind", leaves_nothing);
    section.end()
}

// Content

async fn carries_everything(own: &Own) {
    let list = vec![FieldValue::I(1), string("two"), FieldValue::d(3.5)];
    let inner = table([("deep", FieldValue::I(1))]);
    let headers = table([
        ("text", string("ünïcode")),
        ("bool", FieldValue::t(true)),
        ("i8", FieldValue::b(-8)),
        ("u8", FieldValue::B(200)),
        ("i16", FieldValue::s(-16000)),
        ("u16", FieldValue::u(60000)),
        ("i32", FieldValue::I(-32)),
        ("u32", FieldValue::i(4_000_000_000)),
        ("i64", FieldValue::l(i64::MIN)),
        ("f32", FieldValue::f(1.5)),
        ("f64", FieldValue::d(std::f64::consts::PI)),
        ("decimal", FieldValue::D(DecimalValue::new(2, 12345))),
        ("time", FieldValue::T(1_700_000_000)),
        ("nothing", FieldValue::V),
        ("bytes", FieldValue::x(ByteArray::try_from(vec![0, 1, 206, 255]).unwrap())),
        ("list", FieldValue::A(FieldArray::try_from(list).unwrap())),
        ("table", FieldValue::F(table([("inner", FieldValue::F(inner))]))),
    ]);
    let properties = BasicProperties::default()
        .with_content_type("application/octet-stream")
        .with_content_encoding("identity")
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_priority(5)
        .with_correlation_id("correlation")
        .with_reply_to("reply")
        .with_expiration("60000")
        .with_message_id("message")
        .with_timestamp(1_600_000_000)
        .with_message_type("type")
        .with_user_id("guest")
        .with_app_id("app")
        .with_cluster_id("cluster")
        .finish();
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let body = mebibyte();
    publish_with(&channel, "", &queue, body.clone(), properties.clone()).await;
    let mut inbox = consume(&channel, &queue, "").await;
    let message = timeout(WAIT, inbox.recv()).await.expect("no delivery came").unwrap();
    assert!(Some(body) == message.content, "the body changed");
    let received = message.basic_properties.unwrap();
    assert_eq!(properties.headers(), received.headers());
    assert_eq!(properties.content_type(), received.content_type());
    assert_eq!(properties.content_encoding(), received.content_encoding());
    assert_eq!(properties.delivery_mode(), received.delivery_mode());
    assert_eq!(properties.priority(), received.priority());
    assert_eq!(properties.correlation_id(), received.correlation_id());
    assert_eq!(properties.reply_to(), received.reply_to());
    assert_eq!(properties.expiration(), received.expiration());
    assert_eq!(properties.message_id(), received.message_id());
    assert_eq!(properties.timestamp(), received.timestamp());
    assert_eq!(properties.message_type(), received.message_type());
    assert_eq!(properties.user_id(), received.user_id());
    assert_eq!(properties.app_id(), received.app_id());
    assert_eq!(properties.cluster_id(), received.cluster_id());
}

async fn carries_nothing(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish(&channel, "", &queue, "").await;
    let mut inbox = consume(&channel, &queue, "").await;
    assert_eq!("", take(&mut inbox).await.body);
}

// The rest

async fn keeps_idle_open(_: &Own) {
    let connection = connect(arguments().heartbeat(1)).await;
    assert_eq!(1, connection.heartbeat());
    tokio::time::sleep(IDLE).await;
    assert!(connection.is_open());
    connection.open_channel(None).await.unwrap().close().await.unwrap();
    connection.close().await.unwrap();
}

async fn transacts(own: &Own) {
    let ((channel, _), (observer, _)) = (own.channel().await, own.channel().await);
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
    let (channel, mut events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let _inbox = consume(&channel, &queue, "reader").await;
    let (other, _) = own.channel().await;
    other.queue_delete(QueueDeleteArguments::new(&queue)).await.unwrap();
    assert_eq!(Event::Cancelled("reader".into()), next(&mut events).await);
    assert!(channel.is_open());
    own.exclusive_queue(&channel).await;
}

async fn answers_the_rest(own: &Own) {
    let (channel, _events) = own.channel().await;
    assert!(channel.flow(true).await.unwrap());
    own.connection.update_secret("guest", "renewed").await.unwrap();
}

async fn leaves_nothing(own: &Own) {
    for queue in own.names.queues() {
        let (channel, mut events) = own.channel().await;
        let found = channel.queue_declare(QueueDeclareArguments::new(&queue).passive(true).finish()).await;
        refused(404, &format!("NOT_FOUND - no queue '{queue}' in vhost '/'"), found, &mut events).await;
    }
    for exchange in own.names.exchanges() {
        let (channel, mut events) = own.channel().await;
        let declare = ExchangeDeclareArguments::new(&exchange, "").passive(true).finish();
        let found = channel.exchange_declare(declare).await;
        refused(404, &format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'"), found, &mut events).await;
    }
}
