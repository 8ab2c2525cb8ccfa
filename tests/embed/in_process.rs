//! Connections without a network, of lapin as well.

use async_compat::Compat;
use futures_lite::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::tcp::AsyncTcpStream;
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use leveret::Broker;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{soon, start};

async fn lapin(broker: &Broker, url: &str) -> lapin::Result<Connection> {
    let connector = broker.connector();
    let connect = async move |_, _| Ok(AsyncTcpStream::Plain(Compat::new(connector.connect()?.into_tcp()?)));
    let runtime = lapin::runtime::default_runtime()?;
    Connection::connector(url.parse().expect("a URL"), runtime, connect, ConnectionProperties::default()).await
}

/// Messages of all sizes go out and come back.
async fn round_trips(broker: &Broker) {
    let connection = soon(lapin(broker, &broker.amqp_url())).await.expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    channel.queue_declare("q".into(), QueueDeclareOptions::default(), FieldTable::default()).await.expect("declared");
    let tag = "c".into();
    let mut consumer =
        channel.basic_consume("q".into(), tag, BasicConsumeOptions::default(), FieldTable::default()).await.expect("a consumer");
    for size in [0, 1, 4096, 128 * 1024, 1024 * 1024] {
        let body = vec![7; size];
        let publish = channel.basic_publish("".into(), "q".into(), BasicPublishOptions::default(), &body, BasicProperties::default());
        let confirmed = soon(async { publish.await?.await }).await.expect("confirmed");
        assert!(confirmed.is_ack(), "{size}");
        let delivery = soon(consumer.next()).await.expect("a delivery").expect("open");
        assert!(delivery.data == body, "{size}");
        delivery.ack(BasicAckOptions::default()).await.expect("sent");
    }
    let settled = soon(broker.queue_until("/", "q", |queue| queue.unacked == 0)).await.expect("a queue");
    assert_eq!((settled.ready, settled.consumers), (0, 1));
    soon(connection.close(200, "done".into())).await.expect("closed");
    soon(broker.queue_until("/", "q", |queue| queue.consumers == 0)).await.expect("a queue");
}

#[tokio::test]
async fn lapin_on_one_thread() {
    round_trips(&start(Broker::builder().no_amqp()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lapin_on_two_threads() {
    round_trips(&start(Broker::builder().no_amqp()).await).await;
}

#[tokio::test]
async fn lapin_needs_the_password() {
    let broker = start(Broker::builder().no_amqp()).await;
    let refused = soon(lapin(&broker, "amqp://guest:wrong@localhost/%2F")).await.expect_err("refused");
    assert!(refused.to_string().contains("ACCESS_REFUSED"), "{refused}");
}

#[test]
fn a_client_may_be_on_another_runtime() {
    let of_the_broker = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let of_the_client = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let broker = of_the_broker.block_on(start(Broker::builder().no_amqp()));
    of_the_client.block_on(round_trips(&broker));
    of_the_broker.block_on(broker.stop());
}

#[tokio::test]
async fn a_stream_carries_what_any_socket_does() {
    let broker = start(Broker::builder().no_amqp()).await;
    let mut stream = broker.connect().expect("a stream");
    stream.write_all(b"HTTP/1.1").await.expect("written");
    stream.shutdown().await.expect("shut");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("read");
    assert!(answer.len() == 8 && answer.starts_with(b"AMQP"), "{answer:?}");
}

#[tokio::test]
async fn nobody_gets_in_once_it_has_stopped() {
    let broker = start(Broker::builder()).await;
    let connector = broker.connector();
    assert!(connector.connect().is_ok());
    broker.stop().await;
    assert_eq!(connector.connect().expect_err("refused").kind(), std::io::ErrorKind::ConnectionRefused);
}
