//! What the client needs of any broker: `LEVERET_CLIENT_URL=amqp://guest:guest@127.0.0.1:5672` has it ask another than ours.

use bytes::Bytes;
use leveret::amqp::{AMQPClass, queue};
use leveret::client::uri::Uri;
use leveret::client::{BUFFERED_HIGH, Connection, Consume, Error, Options, Publication};
use tokio::net::TcpStream;

use super::{Broker, confirming, declare, declaring, next, open, ready, soon};

/// Where to go, and our own broker if it is that.
fn broker() -> (Uri, Option<Broker>) {
    match std::env::var("LEVERET_CLIENT_URL") {
        Ok(url) => (url.parse().expect("LEVERET_CLIENT_URL is a URI"), None),
        Err(_) => {
            let broker = Broker::start();
            (format!("amqp://guest:guest@{}", broker.address()).parse().expect("a URI"), Some(broker))
        }
    }
}

async fn connect(uri: &Uri, options: Options) -> Result<Connection, Error> {
    let host = uri.host.as_deref().expect("a host");
    let stream = soon(TcpStream::connect((host, uri.port))).await.expect("a socket");
    soon(Connection::open(stream, options)).await
}

/// A queue of this connection's alone.
async fn own_queue(channel: &leveret::client::Channel) -> String {
    let exclusive = queue::Declare { exclusive: true, ..declaring("") };
    match super::call_queue(channel, queue::AMQPMethod::Declare(exclusive)).await.expect("a queue") {
        queue::AMQPMethod::DeclareOk(declare_ok) => declare_ok.queue.to_string(),
        other => panic!("not declare-ok: {other:?}"),
    }
}

#[tokio::test]
async fn publishes_are_confirmed_or_returned() {
    let (uri, _broker) = broker();
    let connection = connect(&uri, uri.options().expect("options").named("client tests")).await.expect("a connection");
    let channel = confirming(&connection).await;
    let queue = own_queue(&channel).await;
    let mut confirms = Vec::new();
    for n in 0..3000 {
        let key = if n % 3 == 0 { "nowhere at all" } else { &queue };
        let publication = Publication::new("", key.to_owned(), n.to_string()).mandatory();
        confirms.push(soon(channel.start_publish(publication)).await.expect("sent"));
    }
    for (n, confirm) in confirms.into_iter().enumerate() {
        let confirmation = soon(confirm).await.expect("confirmed");
        assert_eq!((confirmation.acked, confirmation.returned.map(|returned| returned.code)), (true, (n % 3 == 0).then_some(312)));
    }
    for len in [0, 1, 131_064, 131_065, 5 << 20] {
        let body: Bytes = (0..len).map(|n| u8::try_from(n % 251).expect("a byte")).collect();
        soon(channel.publish(Publication::new("", queue.clone(), body.clone()))).await.expect("confirmed");
    }
    let mut bodies = Vec::new();
    while let Some(delivery) = soon(channel.get(&queue, true)).await.expect("an answer") {
        bodies.push(delivery.body);
    }
    let lengths: Vec<usize> = bodies[2000..].iter().map(Bytes::len).collect();
    assert_eq!(lengths, [0, 1, 131_064, 131_065, 5 << 20]);
    assert!(bodies[2004].iter().enumerate().all(|(n, byte)| usize::from(*byte) == n % 251));
    assert!(bodies[..2000].iter().zip((0..3000).filter(|n| n % 3 != 0)).all(|(body, n)| *body == n.to_string()));
    soon(channel.close()).await.expect("closed");
    soon(connection.close()).await.expect("closed");
}

#[tokio::test]
async fn consumers_acknowledge_and_are_cancelled() {
    let (uri, _broker) = broker();
    let connection = connect(&uri, uri.options().expect("options")).await.expect("a connection");
    let channel = confirming(&connection).await;
    let queue = own_queue(&channel).await;
    for n in 0..200 {
        soon(channel.publish(Publication::new("", queue.clone(), n.to_string()))).await.expect("confirmed");
    }
    soon(channel.qos(10, false)).await.expect("a prefetch");
    let mut consumer = soon(channel.consume(Consume::from(queue.clone()))).await.expect("a consumer");
    for n in 0..150 {
        let delivery = next(&mut consumer).await;
        assert_eq!((&delivery.body[..], delivery.redelivered), (n.to_string().as_bytes(), false));
        soon(channel.ack(delivery.delivery_tag, false)).await.expect("sent");
    }
    drop(consumer);
    super::eventually_ready(&channel, &queue, 50).await;
    let mut consumer = soon(channel.consume(Consume::from(queue.clone()))).await.expect("a consumer");
    assert_eq!(next(&mut consumer).await.body, "150");
    let delete = queue::Delete { queue: queue.as_str().into(), if_unused: false, if_empty: false, nowait: false };
    soon(channel.call(AMQPClass::Queue(queue::AMQPMethod::Delete(delete)))).await.expect("deleted");
    while soon(consumer.next()).await.expect("no error").is_some() {}
    assert!(consumer.is_cancelled_by_broker());
}

#[tokio::test]
async fn one_that_is_not_polled_holds_up_nobody() {
    let (uri, _broker) = broker();
    let connection = connect(&uri, uri.options().expect("options")).await.expect("a connection");
    let channel = confirming(&connection).await;
    let (stuck, other) = (own_queue(&channel).await, own_queue(&channel).await);
    let body = Bytes::from(vec![7; 64 * 1024]);
    for _ in 0..4 * BUFFERED_HIGH / body.len() {
        soon(channel.publish(Publication::new("", stuck.clone(), body.clone()))).await.expect("confirmed");
    }
    let consume = Consume { no_ack: true, ..Consume::from(stuck) };
    let mut unpolled = soon(open(&connection).await.consume(consume)).await.expect("a consumer");
    let mut consumer = soon(channel.consume(Consume::from(other.clone()))).await.expect("a consumer");
    for n in 0..50 {
        soon(channel.publish(Publication::new("", other.clone(), n.to_string()))).await.expect("confirmed");
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.body, n.to_string());
        soon(channel.ack(delivery.delivery_tag, false)).await.expect("sent");
    }
    for _ in 0..4 * BUFFERED_HIGH / body.len() {
        assert_eq!(next(&mut unpolled).await.body.len(), body.len());
    }
}

#[tokio::test]
async fn refusals_have_their_codes() {
    let (uri, _broker) = broker();
    let Err(Error::Refused(why)) = connect(&uri, Options::plain("guest", "wrong", "/")).await else { panic!("not refused") };
    assert!(why.starts_with("403 ACCESS_REFUSED"), "{why}");
    let Err(Error::Refused(why)) = connect(&uri, Options { vhost: "none".to_owned(), ..uri.options().expect("options") }).await else {
        panic!("not refused")
    };
    assert!(why.starts_with("530 NOT_ALLOWED"), "{why}");
    let connection = connect(&uri, uri.options().expect("options")).await.expect("a connection");
    let channel = open(&connection).await;
    let error = soon(channel.consume(Consume::from("no such queue"))).await.expect_err("404");
    assert_eq!(error.code(), Some(404));
    let confirming = confirming(&connection).await;
    let error = soon(confirming.publish(Publication::new("no such exchange", "", "x"))).await.expect_err("404");
    assert_eq!(error.code(), Some(404));
    let last = open(&connection).await;
    let queue = own_queue(&last).await;
    assert_eq!(ready(&last, &queue).await, 0);
    let error = soon(last.ack(1, false)).await;
    assert!(error.is_ok(), "it is not answered");
    assert_eq!(soon(last.qos(1, false)).await.expect_err("406").code(), Some(406));
    let again = open(&connection).await;
    declare(&again, &format!("client-tests-{}", std::process::id())).await;
    let delete =
        queue::Delete { queue: format!("client-tests-{}", std::process::id()).into(), if_unused: false, if_empty: false, nowait: false };
    soon(again.call(AMQPClass::Queue(queue::AMQPMethod::Delete(delete)))).await.expect("deleted");
}
