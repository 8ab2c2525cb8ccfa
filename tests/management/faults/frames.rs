//! Frames that are lost, late, doubled, cut short, spoilt; both ways.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Faulty, hears_nothing, publish};
use crate::support::client::{channel, connect, consume, declare, next, publish as publish_by_lapin, soon, take};
use crate::support::raw::Raw;
use crate::support::wire;

#[test]
fn a_publish_is_lost_with_its_content() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    let rule = faulty.on("basic.publish", &json!({"kind": "drop"}), &json!({"nth": 2}));
    for body in [b"1", b"2", b"3"] {
        publish(&mut raw, body);
    }
    assert_eq!(raw.declare("q", 0), 2);
    raw.send(&wire::consume(1, "q", 2));
    assert_eq!((raw.delivery().body, raw.delivery().body), (b"1".to_vec(), b"3".to_vec()));
    assert_eq!(faulty.hits(rule), 1);
}

#[tokio::test]
async fn an_ack_that_is_lost_brings_the_message_back() {
    let faulty = Faulty::start();
    let connection = connect(&faulty.broker).await;
    let first = channel(&connection).await;
    declare(&first, "q").await;
    publish_by_lapin(&first, "", "q", b"once").await;
    let rule = faulty.on("basic.ack", &json!({"kind": "drop"}), &json!({}));
    let mut consumer = consume(&first, "q").await;
    assert_eq!(take(&mut consumer).await, "once");
    soon(connection.close(200, "bye".into())).await.expect("closed");
    assert_eq!(faulty.hits(rule), 1);
    let second = connect(&faulty.broker).await;
    let mut consumer = consume(&channel(&second).await, "q").await;
    let again = next(&mut consumer).await;
    assert_eq!((&*again.data, again.redelivered), (&b"once"[..], true));
}

#[test]
fn a_delivery_is_lost_and_its_tag_with_it() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    faulty.add(&json!({"match": {"queue": "q", "direction": "out"}, "nth": 1, "action": {"kind": "drop"}}));
    raw.send(&wire::consume(1, "q", 0));
    raw.expect(wire::CONSUME_OK);
    publish(&mut raw, b"lost");
    publish(&mut raw, b"there");
    let delivery = raw.delivery();
    assert_eq!((delivery.tag, &*delivery.body), (2, &b"there"[..]));
}

#[test]
fn what_is_late_keeps_its_order_with_what_is_behind_it() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    raw.open_channel(2);
    publish(&mut raw, b"1");
    for (method, direction) in [("basic.get", "in"), ("basic.get-ok", "out")] {
        let late = json!({"match": {"method": method, "direction": direction}, "action": {"kind": "delay", "ms": 400}});
        let rule = faulty.add(&late);
        let began = Instant::now();
        raw.send(&[wire::get(1, "q"), wire::queue_declare(2, "q", 0)].concat());
        raw.expect(wire::GET_OK);
        assert!(began.elapsed() >= Duration::from_millis(400), "{method}: {:?}", began.elapsed());
        raw.next().expect("a header");
        raw.next().expect("a body");
        raw.expect(wire::QUEUE_DECLARE_OK);
        faulty.remove(rule);
        publish(&mut raw, b"2");
    }
}

#[test]
fn what_is_late_arrives_though_its_sender_has_gone() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    faulty.on("basic.publish", &json!({"kind": "delay", "ms": 300}), &json!({}));
    publish(&mut raw, b"late");
    raw.shut_write();
    raw.ends();
    assert_eq!(faulty.ready(), 1);
}

#[test]
fn what_was_late_and_durable_is_confirmed_at_last() {
    let faulty = Faulty::start();
    let mut raw = Raw::channel(&faulty.broker);
    raw.declare("durable", 2);
    raw.send(&wire::method(1, wire::CONFIRM_SELECT, &wire::Fields::new().byte(0)));
    raw.expect(wire::CONFIRM_SELECT_OK);
    faulty.add(&json!({"match": {"method": "basic.ack", "direction": "out"}, "action": {"kind": "delay", "ms": 300}}));
    let began = Instant::now();
    raw.send(&wire::publish_persistent(1, "", "durable", b"kept"));
    raw.expect(wire::ACK);
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_publish_arrives_twice() {
    let faulty = Faulty::start();
    let connection = connect(&faulty.broker).await;
    let on = channel(&connection).await;
    declare(&on, "q").await;
    faulty.on("basic.publish", &json!({"kind": "duplicate"}), &json!({"times": 1}));
    publish_by_lapin(&on, "", "q", &[7; 200_000]).await;
    publish_by_lapin(&on, "", "q", b"another").await;
    let mut consumer = consume(&on, "q").await;
    let sizes =
        [next(&mut consumer).await, next(&mut consumer).await, next(&mut consumer).await].map(|got| (got.data.len(), got.redelivered));
    assert_eq!(sizes, [(200_000, false), (200_000, false), (7, false)]);
}

#[test]
fn a_delivery_arrives_twice_with_the_same_tag() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    faulty.on("basic.deliver", &json!({"kind": "duplicate"}), &json!({}));
    raw.send(&wire::consume(1, "q", 0));
    publish(&mut raw, b"twice");
    let (first, second) = (raw.delivery(), raw.delivery());
    assert_eq!(((first.tag, first.body), (second.tag, second.body)), ((1, b"twice".to_vec()), (1, b"twice".to_vec())));
}

#[test]
fn an_answer_is_cut_short_and_then_there_is_nothing_or_the_end() {
    let faulty = Faulty::start();
    let cut = |then: &str| json!({"kind": "truncate", "after": 9, "then": then});
    let rule = faulty.on("basic.get-ok", &cut("close"), &json!({}));
    let mut raw = faulty.client();
    publish(&mut raw, b"1");
    raw.send(&wire::get(1, "q"));
    let all = raw.all();
    assert_eq!((all.len(), &all[..3], &all[7..]), (9, &[1, 0, 1][..], &[0, 60][..]), "{all:?}");
    faulty.remove(rule);

    faulty.on("basic.get-ok", &cut("nothing"), &json!({}));
    let mut raw = faulty.client();
    publish(&mut raw, b"2");
    raw.send(&wire::get(1, "q"));
    let mut first = [0; 9];
    std::io::Read::read_exact(&mut raw.stream, &mut first).expect("nine bytes");
    raw.send(&wire::queue_declare(1, "q", 0));
    hears_nothing(&mut raw);
}

#[test]
fn a_publish_is_cut_short() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    faulty.on("basic.publish", &json!({"kind": "truncate", "after": 12}), &json!({}));
    publish(&mut raw, b"never");
    raw.send(&wire::queue_declare(1, "q", 0));
    hears_nothing(&mut raw);
    assert_eq!(faulty.ready(), 0);
}

#[test]
fn a_frame_that_the_broker_gets_does_not_end_as_it_should() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    faulty.on("basic.get", &json!({"kind": "corrupt-frame-end"}), &json!({}));
    raw.send(&wire::get(1, "q"));
    let close = raw.closed();
    assert_eq!(close.code, 501);
    assert!(close.text.ends_with("{invalid_frame_end_marker,0}"), "{}", close.text);
}

#[tokio::test]
async fn a_frame_that_the_client_gets_does_not_end_as_it_should() {
    let faulty = Faulty::start();
    let connection = connect(&faulty.broker).await;
    let on = channel(&connection).await;
    faulty.on("queue.declare-ok", &json!({"kind": "corrupt-frame-end"}), &json!({}));
    let declared = soon(on.queue_declare("q".into(), Default::default(), Default::default())).await;
    declared.expect_err("no frame");
    crate::support::eventually("lapin gives up", || (!connection.status().connected()).then_some(()));
}

#[test]
fn the_parts_of_a_content_can_be_named() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    faulty.on("body", &json!({"kind": "drop"}), &json!({"nth": 1}));
    publish(&mut raw, b"no body");
    // The broker still waits for it.
    raw.send(&wire::queue_declare(1, "q", 0));
    let close = raw.closed();
    assert_eq!((close.code, &*close.text), (505, "UNEXPECTED_FRAME - expected content body, got non content body frame instead"));
}

#[test]
fn frames_come_through_in_whatever_portions() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    // A rule that looks at all and does nothing, and one that comes in the middle of a frame.
    let bytes = [wire::publish(1, "", "q", &[1; 300]), wire::publish(1, "", "q", b""), wire::publish(1, "", "q", &[2; 20])].concat();
    for (at, byte) in bytes.iter().enumerate() {
        raw.send(&[*byte]);
        if at == 5 || at == 100 {
            faulty.add(&json!({"match": {"queue": "another"}, "action": {"kind": "drop"}}));
        }
        if at == 200 {
            faulty.http.delete("/api/test/faults").is(204);
        }
    }
    assert_eq!(raw.declare("q", 0), 3);
    raw.send(&wire::consume(1, "q", 2));
    let sizes = [raw.delivery().body.len(), raw.delivery().body.len(), raw.delivery().body.len()];
    assert_eq!(sizes, [300, 0, 20]);
}
