//! Connections that break in other ways than by their frames.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use serde_json::json;

use super::{Faulty, hears_nothing, publish};
use crate::support::client::{channel, connect, declare, soon};
use crate::support::raw::{Close, Raw};
use crate::support::{eventually, wire};

#[test]
fn the_broker_stops_reading_until_the_rule_is_gone() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    let rule = faulty.add(&json!({"match": {"user": "guest"}, "action": {"kind": "stop-reading"}}));
    eventually("it has fired", || (faulty.hits(rule) > 0).then_some(()));
    raw.send(&wire::queue_declare(1, "q", 0));
    hears_nothing(&mut raw);
    faulty.remove(rule);
    raw.expect(wire::QUEUE_DECLARE_OK);
    raw.round_trip("q");
}

#[test]
fn the_broker_stops_reading_for_a_while_after_a_frame() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    let rule = faulty.on("basic.publish", &json!({"kind": "stop-reading", "ms": 300}), &json!({"nth": 1}));
    let began = std::time::Instant::now();
    publish(&mut raw, b"1");
    assert_eq!(raw.declare("q", 0), 1);
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(faulty.hits(rule), 1);
}

#[test]
fn a_client_that_is_not_read_is_held_back_by_tcp() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    faulty.add(&json!({"match": {"method": "basic.publish"}, "nth": 1, "action": {"kind": "stop-reading"}}));
    let message = wire::publish(1, "", "q", &[7; 100_000]);
    let mut sent = 0;
    while raw.unsent.is_empty() {
        sent += raw.flood_once(&message, Duration::from_millis(250));
        assert!(sent < 100_000_000, "it reads on");
    }
}

#[test]
fn no_heartbeats_are_sent() {
    let faulty = Faulty::start();
    let mut raw = Raw::open_with(&faulty.broker, 1);
    assert!(raw.next().expect("a frame").is_heartbeat(), "they come by themselves");
    let rule = faulty.add(&json!({"action": {"kind": "stop-heartbeats"}}));
    eventually("it has fired", || (faulty.hits(rule) > 0).then_some(()));
    // One may have been on its way; the client's own keep the connection.
    let mut heard = [0; 64];
    raw.stream.set_read_timeout(Some(Duration::from_millis(1600))).expect("a time limit");
    raw.send(&wire::HEARTBEAT);
    if raw.stream.read(&mut heard).is_ok_and(|n| n == 8) {
        raw.send(&wire::HEARTBEAT);
        let silence = raw.stream.read(&mut heard).map_err(|error| error.kind());
        assert!(matches!(silence, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "{silence:?}");
    }
    raw.send(&wire::HEARTBEAT);
    faulty.remove(rule);
    assert!(raw.next().expect("a frame").is_heartbeat(), "they come again");
}

#[test]
fn the_connection_is_reset() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    faulty.on("basic.publish", &json!({"kind": "reset"}), &json!({"nth": 2}));
    publish(&mut raw, b"there");
    publish(&mut raw, b"never");
    let mut heard = [0; 64];
    let end = raw.stream.read(&mut heard).expect_err("no end in order");
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    faulty.eventually_ready(1);
}

#[test]
fn a_connection_that_is_open_is_reset_at_once() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    let mut other = Raw::over(std::net::TcpStream::connect(faulty.broker.address()).expect("the broker accepts"));
    other.negotiate(0);
    let name = format!("{}*", raw.stream.local_addr().expect("an address"));
    faulty.add(&json!({"match": {"connection": name}, "action": {"kind": "reset"}}));
    let mut heard = [0; 64];
    assert_eq!(raw.stream.read(&mut heard).expect_err("no end in order").kind(), ErrorKind::ConnectionReset);
    other.open_channel(1);
    other.declare("q", 0);
    other.round_trip("q");
}

#[test]
fn the_broker_says_no_more_and_reads_on() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    faulty.on("basic.publish", &json!({"kind": "half-close"}), &json!({"nth": 1}));
    publish(&mut raw, b"1");
    raw.ends();
    publish(&mut raw, b"2");
    faulty.eventually_ready(2);
}

#[tokio::test]
async fn the_connection_is_closed_with_a_code_and_a_text() {
    let faulty = Faulty::start();
    let connection = connect(&faulty.broker).await;
    let on = channel(&connection).await;
    let action = json!({"kind": "close-connection", "code": 320, "text": "as asked"});
    faulty.on("queue.declare", &action, &json!({}));
    let error = soon(on.queue_declare("q".into(), Default::default(), Default::default())).await.expect_err("closed");
    let said = error.to_string();
    assert!(said.contains("CONNECTION_FORCED - as asked") || said.contains("CONNECTION-FORCED"), "{said}");
    eventually("lapin has closed", || (!connection.status().connected()).then_some(()));
    assert!(connect(&faulty.broker).await.status().connected());
}

#[test]
fn a_close_names_the_method_that_is_to_blame() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    faulty.on("basic.get-empty", &json!({"kind": "close-connection", "code": 541, "text": "INTERNAL_ERROR - out"}), &json!({}));
    raw.send(&wire::get(1, "q"));
    assert_eq!(raw.closed(), Close { code: 541, text: "INTERNAL_ERROR - out".to_owned(), id: (0, 0) });
    let mut raw = faulty.client();
    faulty.on("basic.get", &json!({"kind": "close-connection", "code": 541}), &json!({}));
    raw.send(&wire::get(1, "q"));
    let text = "INTERNAL_ERROR - closed by a fault of the test API".to_owned();
    assert_eq!(raw.closed(), Close { code: 541, text, id: wire::GET });
}

#[tokio::test]
async fn a_channel_is_closed_and_the_connection_is_not() {
    let faulty = Faulty::start();
    let connection = connect(&faulty.broker).await;
    let (on, other) = (channel(&connection).await, channel(&connection).await);
    declare(&on, "q").await;
    let action = json!({"kind": "close-channel", "code": 404, "text": "no queue 'q' in vhost '/'"});
    faulty.on("queue.purge", &action, &json!({}));
    let error = soon(on.queue_purge("q".into(), Default::default())).await.expect_err("closed");
    assert!(error.to_string().contains("NOT_FOUND - no queue 'q' in vhost '/'"), "{error}");
    declare(&other, "q").await;
    eventually("lapin has closed the channel", || (!on.status().connected()).then_some(()));
    assert!(connection.status().connected());
}

#[test]
fn a_channel_is_closed_in_place_of_a_delivery() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    let matches = json!({"queue": "q", "method": "basic.deliver"});
    faulty.add(&json!({"match": matches, "nth": 2, "action": {"kind": "close-channel", "code": 406, "text": "enough"}}));
    raw.send(&wire::consume(1, "q", 0));
    publish(&mut raw, b"1");
    publish(&mut raw, b"2");
    assert_eq!(raw.delivery().tag, 1);
    let close = Close::of(&raw.expect(wire::CHANNEL_CLOSE));
    assert_eq!((close.code, &*close.text), (406, "PRECONDITION_FAILED - enough"));
    raw.send(&wire::method(1, wire::CHANNEL_CLOSE_OK, &wire::Fields::new()));
    faulty.eventually_ready(2);
}
