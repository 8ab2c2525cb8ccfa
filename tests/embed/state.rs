//! What is known of queues, and waiting for it.

use std::time::Duration;

use leveret::amqp::{AMQPClass, queue};
use leveret::client::Consume;
use leveret::server::AdvanceError;
use leveret::{Broker, QueueState};

use crate::support::{connect, declare, publish, soon, start};

#[tokio::test]
async fn a_queue_is_seen_as_it_is() {
    let broker = start(Broker::builder()).await;
    assert_eq!(broker.queue("/", "jobs").await, None);
    assert_eq!(broker.queue("nowhere", "jobs").await, None);
    let channel = connect(&broker).await.channel().await.expect("a channel");
    channel.confirm_select().await.expect("confirms");
    declare(&channel, "jobs", false).await;
    for n in 0..3 {
        publish(&channel, "jobs", &n.to_string()).await;
    }
    assert_eq!(broker.queue("/", "jobs").await, Some(QueueState { ready: 3, unacked: 0, consumers: 0 }));
    channel.qos(2, false).await.expect("a prefetch");
    let mut consumer = channel.consume(Consume::from("jobs")).await.expect("a consumer");
    assert_eq!(broker.queue("/", "jobs").await, Some(QueueState { ready: 1, unacked: 2, consumers: 1 }));
    let first = consumer.next().await.expect("open").expect("a delivery");
    channel.ack(first.delivery_tag, false).await.expect("sent");
    let settled = soon(broker.queue_until("/", "jobs", |jobs| jobs.ready == 0)).await;
    assert_eq!(settled, Some(QueueState { ready: 0, unacked: 2, consumers: 1 }));
}

#[tokio::test]
async fn what_is_waited_for_may_come_later() {
    let broker = start(Broker::builder()).await;
    assert_eq!(broker.queue_until("nowhere", "late", |_| true).await, None);
    let connection = connect(&broker).await;
    let channel = connection.channel().await.expect("a channel");
    channel.confirm_select().await.expect("confirms");
    let waits = broker.queue_until("/", "late", |late| late.ready == 2);
    let comes = async {
        declare(&channel, "late", false).await;
        publish(&channel, "late", "1").await;
        publish(&channel, "late", "2").await;
        publish(&channel, "late", "3").await;
    };
    let (found, ()) = soon(async { tokio::join!(waits, comes) }).await;
    assert_eq!(found, Some(QueueState { ready: 2, unacked: 0, consumers: 0 }), "as it was when it was so");

    // Who gives up is forgotten, and nobody else is disturbed.
    let given_up = tokio::time::timeout(Duration::from_millis(5), broker.queue_until("/", "late", |late| late.ready == 100)).await;
    assert!(given_up.is_err());
    publish(&channel, "late", "4").await;
    assert_eq!(broker.queue("/", "late").await.map(|late| late.ready), Some(4));

    let goes = async {
        let delete = queue::Delete { queue: "late".into(), ..queue::Delete::default() };
        channel.call(AMQPClass::Queue(queue::AMQPMethod::Delete(delete))).await.expect("deleted");
    };
    let (gone, ()) = soon(async { tokio::join!(broker.queue_gone("/", "late"), goes) }).await;
    assert_eq!((gone, broker.queue("/", "late").await), (Some(()), None));
    assert_eq!(soon(broker.queue_gone("/", "never")).await, Some(()));
}

#[tokio::test]
async fn time_is_moved_by_hand() {
    let definitions = r#"{"queues": [
        {"name": "brief", "durable": true, "arguments": {"x-message-ttl": 60000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "late"}},
        {"name": "late", "durable": true, "arguments": {}}]}"#;
    let broker = start(Broker::builder().virtual_clock().definitions(definitions)).await;
    let channel = connect(&broker).await.channel().await.expect("a channel");
    channel.confirm_select().await.expect("confirms");
    publish(&channel, "brief", "hello").await;
    let ready = async |name| broker.queue("/", name).await.map(|queue| queue.ready);
    assert_eq!(broker.advance(Duration::from_millis(59_999)).await, Ok(Vec::new()));
    assert_eq!((ready("brief").await, ready("late").await), (Some(1), Some(0)));
    let fired = broker.advance_to_next().await.expect("a virtual clock");
    assert_eq!(fired.len(), 1, "{fired:?}");
    assert_eq!((ready("brief").await, ready("late").await), (Some(0), Some(1)));

    let real = start(Broker::builder().test_api(true)).await;
    assert_eq!(real.advance(Duration::from_secs(1)).await, Err(AdvanceError::RealClock));
}
