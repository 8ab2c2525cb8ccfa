//! How connections end.

use leveret::amqp::{AMQPClass, queue};
use leveret::client::{Consume, Error, Options, Publication};

use super::{Broker, closed_by_server, confirming, connect, connect_with, declare, declaring, eventually_ready, open, soon};

#[tokio::test]
async fn a_shutdown_is_told_to_everybody_alike() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    declare(&channel, "q").await;
    let mut consumer = soon(channel.consume(Consume::from("q"))).await.expect("a consumer");
    let waiting = tokio::spawn(async move { consumer.next().await.map(|_| ()) });
    let closed = tokio::spawn({
        let connection = connection.clone();
        async move { connection.closed().await }
    });
    broker.signal("TERM");
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    let error = soon(closed).await.expect("no panic");
    assert_eq!(closed_by_server(&error), (320, text, None));
    assert_eq!(closed_by_server(&soon(waiting).await.expect("no panic").expect_err("320")), (320, text, None));
    assert_eq!(closed_by_server(&soon(connection.channel()).await.expect_err("320")), (320, text, None));
    assert_eq!(closed_by_server(&soon(connection.close()).await.expect_err("320")), (320, text, None));
    let mut broker = broker;
    assert_eq!(broker.ended().code(), Some(0));
}

#[tokio::test]
async fn a_broker_that_is_gone_is_noticed() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    broker.end(super::support::broker::End::Killed);
    assert!(matches!(soon(connection.closed()).await, Error::Io(_)));
    assert!(matches!(soon(channel.confirm_select()).await, Err(Error::Io(_))));
}

#[tokio::test]
async fn an_error_of_the_connection_ends_all_its_channels() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (one, two) = (open(&connection).await, open(&connection).await);
    declare(&one, "q").await;
    let mut consumer = soon(two.consume(Consume { consumer_tag: "c".to_owned(), ..Consume::from("q") })).await.expect("a consumer");
    // What nobody implements is the connection's end.
    let flow = AMQPClass::Channel(leveret::amqp::channel::AMQPMethod::Flow(leveret::amqp::channel::Flow { active: false }));
    let error = soon(one.call(flow)).await.expect_err("540");
    let (code, text, channel) = closed_by_server(&error);
    assert_eq!((code, channel), (540, None));
    let heard = soon(consumer.next()).await.expect_err("540");
    assert_eq!(closed_by_server(&heard), (540, text, None));
    assert_eq!(soon(connection.closed()).await.code(), Some(540));
}

#[tokio::test]
async fn a_close_sends_what_was_published_and_fails_what_waits() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    declare(&channel, "q").await;
    for _ in 0..100 {
        soon(channel.publish(Publication::new("", "q", vec![7; 20_000]))).await.expect("sent");
    }
    let mut consumer = soon(channel.consume(Consume::from("missing"))).await.err();
    assert_eq!(consumer.take().and_then(|error| error.code()), Some(404));
    let channel = open(&connection).await;
    declare(&channel, "empty").await;
    let mut waits = soon(channel.consume(Consume::from("empty"))).await.expect("a consumer");
    let waiting = tokio::spawn(async move { waits.next().await.map(|_| ()) });
    soon(connection.close()).await.expect("closed");
    soon(connection.close()).await.expect("and it stays so");
    assert!(matches!(soon(waiting).await.expect("no panic"), Err(Error::Closed { by_server: false, code: 200, channel: None, .. })));
    let other = connect(&broker).await;
    eventually_ready(&open(&other).await, "q", 100).await;
}

#[tokio::test]
async fn a_connection_lasts_as_long_as_anything_of_it() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    let exclusive = queue::Declare { exclusive: true, ..declaring("mine") };
    crate::call_queue(&channel, queue::AMQPMethod::Declare(exclusive)).await.expect("a queue");
    let consumer = soon(channel.consume(Consume::from("mine"))).await.expect("a consumer");
    drop((connection, channel));
    let other = connect(&broker).await;
    let looks = |channel| async move {
        let passive = queue::Declare { passive: true, ..declaring("mine") };
        crate::call_queue(&channel, queue::AMQPMethod::Declare(passive)).await.expect_err("there is nothing for others").code()
    };
    assert_eq!(looks(open(&other).await).await, Some(405), "locked: its owner is there");
    drop(consumer);
    soon(async {
        while looks(open(&other).await).await != Some(404) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn heartbeats_keep_an_idle_connection_alive() {
    let broker = Broker::start();
    let connection =
        connect_with(&broker, Options { heartbeat_s: 1, ..Options::plain("guest", "guest", "/") }).await.expect("a connection");
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    // Longer than either side would bear with silence.
    let ended = tokio::time::timeout(std::time::Duration::from_millis(3500), connection.closed()).await;
    assert!(ended.is_err(), "{ended:?}");
    assert!(soon(channel.publish(Publication::new("", "q", "x"))).await.expect("confirmed").acked);
}
