//! What consumers are given again, or as if again.

use lapin::options::{BasicAckOptions, BasicConsumeOptions};
use serde_json::json;

use super::{Faulty, QUIET, publish};
use crate::support::client::{channel, connect, consume, consume_with, declare, next, prefetch, publish as publish_by_lapin, ready, soon};
use crate::support::wire;
use futures_lite::StreamExt;

#[tokio::test]
async fn a_message_comes_again_with_a_tag_of_its_own_and_both_are_acknowledged() {
    let faulty = Faulty::start();
    let connection = connect(&faulty.broker).await;
    let on = channel(&connection).await;
    declare(&on, "q").await;
    let rule = faulty.add(&json!({"match": {"queue": "q"}, "nth": 1, "action": {"kind": "duplicate-delivery"}}));
    prefetch(&on, 1).await;
    let mut consumer = consume(&on, "q").await;
    publish_by_lapin(&on, "", "q", b"one").await;
    let (first, second) = (next(&mut consumer).await, next(&mut consumer).await);
    assert_eq!((first.delivery_tag, first.redelivered, &*first.data), (1, false, &b"one"[..]));
    assert_eq!((second.delivery_tag, second.redelivered, &*second.data), (2, true, &b"one"[..]));
    for delivery in [first, second] {
        soon(delivery.ack(BasicAckOptions::default())).await.expect("an ack");
    }
    publish_by_lapin(&on, "", "q", b"two").await;
    let third = next(&mut consumer).await;
    assert_eq!((third.delivery_tag, third.redelivered, &*third.data), (3, false, &b"two"[..]));
    soon(third.ack(BasicAckOptions::default())).await.expect("an ack");
    assert_eq!((ready(&on, "q").await, faulty.hits(rule)), (0, 1));
    soon(connection.close(200, "bye".into())).await.expect("closed in order");
    assert_eq!(faulty.ready(), 0);
}

/// An ack that is sent at once is never before the second delivery.
#[test]
fn a_fast_ack_does_not_keep_the_message_from_coming_again() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    faulty.on("basic.deliver", &json!({"kind": "duplicate-delivery"}), &json!({}));
    raw.send(&wire::consume(1, "q", 0));
    for round in 0..200u64 {
        publish(&mut raw, b"m");
        let first = raw.delivery();
        raw.send(&wire::ack(1, first.tag, 0));
        let second = raw.delivery();
        raw.send(&wire::ack(1, second.tag, 0));
        assert_eq!((first.tag, second.tag, second.redelivered), (2 * round + 1, 2 * round + 2, true));
    }
}

#[tokio::test]
async fn what_needs_no_ack_does_not_come_again() {
    let faulty = Faulty::start();
    let connection = connect(&faulty.broker).await;
    let on = channel(&connection).await;
    declare(&on, "q").await;
    let rule = faulty.on("basic.deliver", &json!({"kind": "duplicate-delivery"}), &json!({}));
    let mut consumer = consume_with(&on, "q", BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() }).await;
    publish_by_lapin(&on, "", "q", b"one").await;
    next(&mut consumer).await;
    assert!(tokio::time::timeout(QUIET, consumer.next()).await.is_err());
    assert_eq!(faulty.hits(rule), 0);
}

#[test]
fn a_delivery_claims_to_come_again() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    faulty.add(&json!({"match": {"queue": "q"}, "every": 2, "action": {"kind": "mark-redelivered"}}));
    raw.send(&wire::consume(1, "q", 0));
    for body in [b"1", b"2", b"3"] {
        publish(&mut raw, body);
    }
    assert_eq!([raw.delivery().redelivered, raw.delivery().redelivered, raw.delivery().redelivered], [false, true, false]);
    let mut raw = faulty.client();
    raw.declare("other", 0);
    faulty.add(&json!({"match": {"queue": "other"}, "action": {"kind": "mark-redelivered"}}));
    raw.send(&[wire::publish(1, "", "other", b"m"), wire::get(1, "other")].concat());
    let got = raw.expect(wire::GET_OK);
    assert_eq!(got.arguments()[8], 1);
}
