//! Connections that do not come about.

use std::time::{Duration, Instant};

use lapin::{Connection, ConnectionProperties};
use serde_json::json;

use super::{Faulty, hears_nothing};
use crate::support::client::{connect, soon, uri};
use crate::support::raw::Raw;
use crate::support::wire;

async fn refused(faulty: &Faulty) -> String {
    soon(Connection::connect(&uri(&faulty.broker), ConnectionProperties::default())).await.expect_err("a refusal").to_string()
}

#[tokio::test]
async fn the_socket_is_closed_before_the_start() {
    let faulty = Faulty::start();
    let rule = faulty.add(&json!({"times": 2, "action": {"kind": "refuse-handshake"}}));
    let mut raw = Raw::connect(&faulty.broker);
    raw.send(wire::HEADER);
    raw.ends();
    let said = refused(&faulty).await;
    assert!(!said.is_empty());
    assert_eq!(faulty.hits(rule), 2);
    assert!(connect(&faulty.broker).await.status().connected(), "the third is let in");
}

#[tokio::test]
async fn the_virtual_host_is_refused_with_a_code_and_a_text() {
    let faulty = Faulty::start();
    let refuse = json!({"kind": "refuse-handshake", "at": "open", "code": 530, "text": "vhost / is down"});
    faulty.add(&json!({"match": {"user": "guest", "vhost": "/"}, "action": refuse}));
    let said = refused(&faulty).await;
    assert!(said.contains("vhost / is down"), "{said}");
    let mut raw = Raw::connect(&faulty.broker);
    raw.send(wire::HEADER);
    raw.expect(wire::START);
    raw.send(&wire::start_ok("guest", "guest"));
    raw.expect(wire::TUNE);
    raw.send(&[wire::tune_ok(2047, 131_072, 0), wire::open()].concat());
    let close = raw.closed();
    assert_eq!((close.code, &*close.text, close.id), (530, "NOT_ALLOWED - vhost / is down", wire::OPEN));
}

#[test]
fn the_broker_does_not_go_on_until_the_rule_is_gone() {
    let faulty = Faulty::start();
    for at in ["start", "tune", "open"] {
        let rule = faulty.add(&json!({"action": {"kind": "stall-handshake", "at": at}}));
        let mut raw = Raw::connect(&faulty.broker);
        raw.about = at;
        raw.send(wire::HEADER);
        if at != "start" {
            raw.expect(wire::START);
            raw.send(&wire::start_ok("guest", "guest"));
        }
        if at == "open" {
            raw.expect(wire::TUNE);
            raw.send(&[wire::tune_ok(2047, 131_072, 0), wire::open()].concat());
        }
        hears_nothing(&mut raw);
        faulty.remove(rule);
        match at {
            "start" => {
                raw.expect(wire::START);
                raw.send(&wire::start_ok("guest", "guest"));
                raw.expect(wire::TUNE);
                raw.send(&[wire::tune_ok(2047, 131_072, 0), wire::open()].concat());
            }
            "tune" => {
                raw.expect(wire::TUNE);
                raw.send(&[wire::tune_ok(2047, 131_072, 0), wire::open()].concat());
            }
            _ => {}
        }
        raw.expect(wire::OPEN_OK);
        raw.open_channel(1);
    }
}

#[tokio::test]
async fn the_broker_goes_on_after_a_while() {
    let faulty = Faulty::start();
    faulty.add(&json!({"action": {"kind": "stall-handshake", "ms": 300}}));
    let began = Instant::now();
    assert!(connect(&faulty.broker).await.status().connected());
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_login_that_is_right_fails() {
    let faulty = Faulty::start();
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";
    let rule = faulty.add(&json!({"match": {"user": "gu*"}, "times": 2, "action": {"kind": "fail-authentication"}}));
    let said = refused(&faulty).await;
    assert!(said.contains(text), "{said}");
    let mut raw = Raw::connect(&faulty.broker);
    raw.send(wire::HEADER);
    raw.expect(wire::START);
    raw.send(&wire::start_ok("guest", "guest"));
    let close = raw.closed();
    assert_eq!((close.code, &*close.text, close.id), (403, text, (0, 0)));
    assert_eq!(faulty.hits(rule), 2);
    assert!(connect(&faulty.broker).await.status().connected());
}
