//! Alarms and disks.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Faulty, hears_nothing, publish};
use crate::support::raw::Raw;
use crate::support::{eventually, wire};

fn reason(frame: &crate::support::raw::Frame) -> String {
    String::from_utf8(frame.arguments()[1..].to_vec()).expect("text")
}

#[test]
fn an_alarm_lasts_until_its_rule_is_gone() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    for (alarm, why) in [("memory", "low on memory"), ("disk", "low on disk")] {
        let rule = faulty.add(&json!({"action": {"kind": "raise-alarm", "alarm": alarm}}));
        assert_eq!(faulty.hits(rule), 1);
        publish(&mut raw, b"m");
        assert_eq!(reason(&raw.expect(wire::BLOCKED)), why);
        raw.send(&wire::queue_declare(1, "q", 0));
        hears_nothing(&mut raw);
        faulty.remove(rule);
        raw.skip_to(wire::UNBLOCKED);
        raw.skip_to(wire::QUEUE_DECLARE_OK);
    }
}

#[test]
fn an_alarm_is_raised_by_a_frame_for_a_while() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    faulty.on("basic.publish", &json!({"kind": "raise-alarm", "alarm": "memory", "ms": 300}), &json!({"nth": 2}));
    publish(&mut raw, b"1");
    assert_eq!(raw.declare("q", 0), 1);
    let began = Instant::now();
    publish(&mut raw, b"2");
    raw.expect(wire::BLOCKED);
    raw.expect(wire::UNBLOCKED);
    assert!(began.elapsed() >= Duration::from_millis(300));
}

/// With a durable queue, on a channel that confirms.
fn confirming(faulty: &Faulty) -> Raw {
    let mut raw = Raw::channel(&faulty.broker);
    raw.declare("durable", 2);
    raw.send(&wire::method(1, wire::CONFIRM_SELECT, &wire::Fields::new().byte(0)));
    raw.expect(wire::CONFIRM_SELECT_OK);
    raw
}

#[test]
fn a_slow_disk_makes_confirms_late() {
    let faulty = Faulty::start();
    let mut raw = confirming(&faulty);
    let rule = faulty.add(&json!({"action": {"kind": "slow-disk", "ms": 300, "on": ["sync"]}}));
    let began = Instant::now();
    raw.send(&wire::publish_persistent(1, "", "durable", b"kept"));
    raw.expect(wire::ACK);
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(faulty.hits(rule) >= 1);
}

#[test]
fn a_disk_that_fails_blocks_publishers_until_it_works_again() {
    let faulty = Faulty::start();
    for (on, error) in [("write", "ENOSPC"), ("sync", "EIO")] {
        let mut raw = confirming(&faulty);
        let rule = faulty.add(&json!({"action": {"kind": "fail-disk", "on": [on], "error": error}}));
        raw.send(&wire::publish_persistent(1, "", "durable", b"kept"));
        assert_eq!(reason(&raw.expect(wire::BLOCKED)), "low on disk", "{on}");
        hears_nothing(&mut raw);
        assert!(faulty.hits(rule) >= 1);
        faulty.remove(rule);
        let mut heard = [raw.next().expect("a frame").id(), raw.next().expect("a frame").id()];
        heard.sort_unstable();
        assert_eq!(heard, [wire::UNBLOCKED, wire::ACK], "{on}");
    }
    let mut raw = confirming(&faulty);
    assert_eq!(raw.declare("durable", 2), 2);
}

#[test]
fn a_disk_that_cannot_be_read_makes_deliveries_wait() {
    let faulty = Faulty::start();
    let mut raw = confirming(&faulty);
    let backlog = wire::publish_persistent(1, "", "durable", &[b'x'; 1000]).repeat(1000);
    raw.send(&backlog);
    let mut confirmed = 0;
    while confirmed < 1000 {
        confirmed = wire::delivery_tag(raw.expect(wire::ACK).arguments());
    }
    // Then they are on the disk alone.
    assert_eq!(faulty.http.post("/api/test/crash", &json!({})).status, 200);
    let rule = faulty.add(&json!({"action": {"kind": "fail-disk", "on": ["read"]}}));
    let mut raw = Raw::channel(&faulty.broker);
    raw.send(&wire::consume(1, "durable", 0));
    raw.expect(wire::CONSUME_OK);
    let text = "messages cannot be read, which is tried again: ";
    eventually("somebody is told", || faulty.broker.log().contains(text).then_some(()));
    hears_nothing(&mut raw);
    assert!(faulty.hits(rule) >= 1);
    faulty.remove(rule);
    for tag in 1..=1000 {
        let delivery = raw.delivery();
        assert_eq!((delivery.tag, delivery.body.len()), (tag, 1000));
    }
}
