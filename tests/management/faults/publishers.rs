//! What a publisher is told, and what it is not.

use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation};
use serde_json::json;

use super::{Faulty, QUIET};
use crate::support::client::{confirming, connect, declare, eventually_ready, ready, soon};

/// Publishes to `q` and awaits what the broker says of it.
async fn publish(on: &Channel, key: &str, mandatory: bool) -> Option<Confirmation> {
    let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
    let sent = soon(on.basic_publish("".into(), key.into(), options, b"m", BasicProperties::default())).await.expect("sent");
    tokio::time::timeout(QUIET, sent).await.ok().map(|confirmed| confirmed.expect("a confirm"))
}

fn is_ack(confirmation: Option<&Confirmation>) -> bool {
    matches!(confirmation, Some(Confirmation::Ack(None)))
}

#[tokio::test]
async fn every_third_publish_is_nacked() {
    let faulty = Faulty::start();
    let connection = connect(&faulty.broker).await;
    let on = confirming(&connection).await;
    declare(&on, "q").await;
    let rule = faulty.add(&json!({"match": {"routing_key": "q"}, "every": 3, "action": {"kind": "nack", "lose": true}}));
    let mut nacked = Vec::new();
    for number in 1..=7 {
        let confirmation = publish(&on, "q", false).await.expect("an answer");
        if confirmation.is_nack() {
            nacked.push(number);
        }
    }
    assert_eq!((nacked, ready(&on, "q").await, faulty.hits(rule)), (vec![3, 6], 5, 2));
}

#[tokio::test]
async fn what_is_nacked_may_be_there_nevertheless() {
    let faulty = Faulty::start();
    let connection = connect(&faulty.broker).await;
    let on = confirming(&connection).await;
    declare(&on, "q").await;
    faulty.add(&json!({"match": {"queue": "q"}, "action": {"kind": "nack"}}));
    assert!(publish(&on, "q", false).await.expect("an answer").is_nack());
    eventually_ready(&on, "q", 1).await;
    assert!(is_ack(publish(&on, "nowhere", false).await.as_ref()), "another queue's");
}

#[tokio::test]
async fn a_confirm_never_comes_and_those_of_others_do() {
    let faulty = Faulty::start();
    let connection = connect(&faulty.broker).await;
    let on = confirming(&connection).await;
    declare(&on, "q").await;
    faulty.on("basic.publish", &json!({"kind": "withhold-confirm"}), &json!({"nth": 2}));
    let options = BasicPublishOptions::default();
    let mut waiting = Vec::new();
    for _ in 0..6 {
        waiting.push(soon(on.basic_publish("".into(), "q".into(), options, b"m", BasicProperties::default())).await.expect("sent"));
    }
    let mut heard = Vec::new();
    for (number, confirm) in (1..).zip(waiting) {
        if tokio::time::timeout(QUIET, confirm).await.is_ok() {
            heard.push(number);
        }
    }
    assert_eq!((heard, ready(&on, "q").await), (vec![1, 3, 4, 5, 6], 6));
}

#[tokio::test]
async fn a_message_is_returned_though_its_queue_is_there() {
    let faulty = Faulty::start();
    let connection = connect(&faulty.broker).await;
    let on = confirming(&connection).await;
    declare(&on, "q").await;
    let rule = faulty.on("basic.publish", &json!({"kind": "return-unroutable"}), &json!({"times": 2}));
    let Some(Confirmation::Ack(Some(returned))) = publish(&on, "q", true).await else { panic!("returned, then confirmed") };
    assert_eq!((returned.reply_code, returned.reply_text.as_str(), &*returned.delivery.data), (312, "NO_ROUTE", &b"m"[..]));
    assert!(is_ack(publish(&on, "q", false).await.as_ref()), "not mandatory");
    assert_eq!((ready(&on, "q").await, faulty.hits(rule)), (0, 2));
    assert!(is_ack(publish(&on, "q", true).await.as_ref()), "the rule is spent");
    assert_eq!(ready(&on, "q").await, 1);
}
