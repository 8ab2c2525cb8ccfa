//! Deadlines are moments, not durations: time goes on while the broker is down.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapin::types::AMQPValue;

use super::{BOTH, Client, header, persistent};
use crate::support::broker::{End, Home};
use crate::support::client::{arguments, consume, eventually_ready, next, soon, text, words};
use crate::support::eventually;

fn dying(to: &str) -> [(&'static str, AMQPValue); 2] {
    [("x-dead-letter-exchange", words("")), ("x-dead-letter-routing-key", words(to))]
}

/// Returns once this much time has passed since `then`; the broker is down meanwhile.
fn once_passed(time: Duration, then: SystemTime) {
    eventually("time passes", || then.elapsed().is_ok_and(|passed| passed > time).then_some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_expired_while_nobody_was_there_is_dead_lettered_at_the_start() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.queue("dead", &[]).await;
        client.queue("by property", &dying("dead")).await;
        client.queue("by queue", &[&dying("dead")[..], &[("x-message-ttl", AMQPValue::LongInt(300))]].concat()).await;
        let began = SystemTime::now();
        let timed = persistent().with_expiration("300".into());
        client.publish_with("", "by property", b"1", timed.clone()).await;
        client.publish_with("", "by property", b"2", timed).await;
        client.publish_with("", "by property", b"3", persistent().with_expiration("3600000".into())).await;
        client.fill("by queue", &["4"]).await;
        assert_eq!(client.ready("by property").await, 3, "it was too slow for this test");
        broker.end(how);
        once_passed(Duration::from_millis(400), began);

        let broker = home.start();
        let client = Client::of(&broker).await;
        eventually_ready(&client.channel, "dead", 3).await;
        let mut dead = client.drain("dead").await;
        dead.sort_by(|a, b| a.data.cmp(&b.data));
        for (message, (body, queue)) in dead.iter().zip([("1", "by property"), ("2", "by property"), ("4", "by queue")]) {
            assert_eq!(text(&message.data), body);
            let AMQPValue::FieldArray(deaths) = header(message, "x-death") else { panic!("no array") };
            let [AMQPValue::FieldTable(death)] = deaths.as_slice() else { panic!("{deaths:?}") };
            let field = |name: &str| death.inner().get(name).cloned();
            assert_eq!((field("queue"), field("reason")), (Some(words(queue)), Some(words("expired"))));
            assert_eq!(field("count"), Some(AMQPValue::LongLongInt(1)));
            let Some(AMQPValue::Timestamp(time)) = field("time") else { panic!("no time") };
            assert!(UNIX_EPOCH + Duration::from_secs(time + 1) > began, "it did not die before it could");
            assert!(!message.redelivered);
        }
        assert_eq!(client.bodies("by property").await, ["3"], "after {how:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_has_time_left_has_no_more_than_that() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.queue("dead", &[]).await;
        client.queue("q", &dying("dead")).await;
        let began = SystemTime::now();
        client.publish_with("", "q", b"1", persistent().with_expiration("1500".into())).await;
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        let mut consumer = consume(&client.channel, "dead").await;
        assert_eq!(text(&next(&mut consumer).await.data), "1");
        let took = began.elapsed().expect("time goes on");
        assert!(took >= Duration::from_millis(1499), "{took:?} after {how:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_queue_that_expires_is_there_for_its_time_after_the_start() {
    let home = Home::new();
    let broker = home.start();
    let client = Client::of(&broker).await;
    client.queue("q", &[("x-expires", AMQPValue::LongInt(400))]).await;
    client.queue("other", &[]).await;
    let began = SystemTime::now();
    broker.end(End::Killed);
    once_passed(Duration::from_millis(400), began);

    // A restart counts as use.
    let broker = home.start();
    let client = Client::of(&broker).await;
    let gone = async {
        while client.is_routed("", "q", Default::default()).await {
            tokio::task::yield_now().await;
        }
    };
    soon(gone).await;
    // Nobody was promised that; what is declared now is, and with it all that came before.
    client.queue("safe", &[]).await;
    broker.end(End::Killed);
    let broker = home.start();
    let client = Client::of(&broker).await;
    assert!(!client.has_queue("q").await);
    assert!(client.has_queue("other").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn delayed_messages_come_when_they_are_due() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.exchange("later", "x-delayed-message", &[("x-delayed-type", words("direct"))]).await;
        client.queue("q", &[]).await;
        client.bind("q", "later", "k").await;
        let began = SystemTime::now();
        for (body, delay) in [("third", 2000), ("first", 200), ("much later", 86_400_000), ("second", 300)] {
            let headers = arguments(&[("x-delay", AMQPValue::LongInt(delay)), ("mine", words("kept"))]);
            client.publish_with("later", "k", body.as_bytes(), persistent().with_headers(headers)).await;
        }
        broker.end(how);
        once_passed(Duration::from_millis(350), began);

        let broker = home.start();
        let client = Client::of(&broker).await;
        let mut consumer = consume(&client.channel, "q").await;
        for (body, delay) in [("first", 200), ("second", 300), ("third", 2000)] {
            let delivery = next(&mut consumer).await;
            assert_eq!((text(&delivery.data).as_str(), delivery.redelivered), (body, false), "after {how:?}");
            assert!(began.elapsed().expect("time goes on") >= Duration::from_millis(delay - 1));
            assert_eq!(header(&delivery, "mine"), words("kept"));
        }
        // What was handed on does not come again.
        client.publish("", "q", "last").await;
        assert_eq!(text(&next(&mut consumer).await.data), "last");
        broker.end(End::InOrder);
        let broker = home.start();
        assert_eq!(Client::of(&broker).await.marked("q").await, ["again: first", "again: second", "again: third", "again: last"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn delayed_messages_go_with_their_exchange() {
    let home = Home::new();
    let broker = home.start();
    let client = Client::of(&broker).await;
    client.queue("q", &[]).await;
    let began = SystemTime::now();
    for _ in 0..2 {
        client.exchange("later", "x-delayed-message", &[("x-delayed-type", words("fanout"))]).await;
        client.bind("q", "later", "").await;
        let headers = arguments(&[("x-delay", AMQPValue::LongInt(300))]);
        client.publish_with("later", "", b"never", persistent().with_headers(headers)).await;
        soon(client.channel.exchange_delete("later".into(), Default::default())).await.expect("deleted");
    }
    client.exchange("later", "x-delayed-message", &[("x-delayed-type", words("fanout"))]).await;
    client.bind("q", "later", "").await;
    broker.end(End::Killed);
    once_passed(Duration::from_millis(301), began);

    let broker = home.start();
    let client = Client::of(&broker).await;
    client.publish("later", "", "at once").await;
    assert_eq!(client.bodies("q").await, ["at once"]);
}
