//! The API that rules are set with, and whom they mean.

use serde_json::{Value as Json, json};

use super::{Faulty, publish};
use crate::http::Http;
use crate::support::broker::{Broker, Scratch, leveret};
use crate::support::raw::Raw;
use crate::support::wire;

#[test]
fn rules_are_added_shown_and_taken_away() {
    let faulty = Faulty::start();
    let http = &faulty.http;
    assert_eq!(http.get("/api/test/faults").ok(), json!([]));
    let rules = json!([
        {"name": "lossy", "match": {"method": "basic.publish", "queue": "q"}, "every": 2, "action": {"kind": "drop"}},
        {"probability": 0.5, "seed": 3, "action": {"kind": "refuse-handshake"}},
    ]);
    let answer = http.post("/api/test/faults", &rules);
    assert_eq!((answer.status, answer.json()), (201, json!({"ids": [1, 2]})));
    assert_eq!(http.get("/api/test").ok()["faults"], 2);
    faulty.remove(2);
    http.delete("/api/test/faults/2").is(404);
    http.get("/api/test/faults/2").is(404);
    http.get("/api/test/faults/lossy").is(404);
    let mut raw = faulty.client();
    for _ in 0..5 {
        publish(&mut raw, b"m");
    }
    assert_eq!(raw.declare("q", 0), 3);
    let expected = json!({
        "id": 1, "name": "lossy", "match": {"method": "basic.publish", "queue": "q"}, "every": 2, "action": {"kind": "drop"},
        "matched": 5, "hits": 2, "spent": false,
    });
    assert_eq!(http.get("/api/test/faults").ok(), json!([expected]));
    http.delete("/api/test/faults").is(204);
    assert_eq!(http.get("/api/test/faults").ok(), json!([]));
    assert_eq!(faulty.add(&json!({"action": {"kind": "drop"}, "times": 1})), 3, "numbers are not given twice");
}

#[test]
fn what_is_no_rule_is_refused_with_what_is_wrong() {
    let faulty = Faulty::start();
    let refused = |rule: Json| {
        let answer = faulty.http.post("/api/test/faults", &rule);
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("bad_request")));
        answer.json()["reason"].as_str().expect("a reason").to_owned()
    };
    let drop = json!({"kind": "drop"});
    assert_eq!(refused(json!({"action": drop, "matches": {}})), "unknown field 'matches'");
    assert_eq!(refused(json!([{"action": drop}, {"action": drop, "nth": 1, "every": 2}])), "rule 2: nth and every exclude each other");
    assert_eq!(faulty.http.get("/api/test/faults").ok(), json!([]), "all of them or none");
    let answer = faulty.http.request("POST", "/api/test/faults", "{");
    assert_eq!((answer.status, &answer.json()["reason"]), (400, &json!("not_json")));
}

#[test]
fn they_are_for_administrators_of_a_broker_that_is_for_tests() {
    let faulty = Faulty::start();
    let manager = crate::manager(&faulty.http);
    let drop = json!({"action": {"kind": "drop"}});
    manager.post("/api/test/faults", &drop).is(401);
    Http::nobody(faulty.broker.http()).get("/api/test/faults").is(401);
    let broker = Broker::start();
    Http::guest(broker.http()).post("/api/test/faults", &drop).is(404);
}

#[test]
fn they_come_from_a_file_without_the_api() {
    let scratch = Scratch::new();
    let file = scratch.file("faults.json", r#"[{"match": {"method": "basic.get"}, "action": {"kind": "close-channel", "code": 404}}]"#);
    let mut command = leveret();
    command.arg("--faults").arg(&file);
    let broker = Broker::launch(command, Scratch::new());
    let mut raw = Raw::channel(&broker);
    raw.declare("q", 0);
    raw.send(&wire::get(1, "q"));
    raw.expect(wire::CHANNEL_CLOSE);

    let file = scratch.file("wrong.json", r#"[{"action": {"kind": "drop"}}, {"action": {"kind": "dorp"}}]"#);
    let output = leveret().args(["serve", "--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--faults"]).arg(&file).output().expect("run");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("wrong.json: rule 2: action.kind 'dorp' is none of drop, "), "{told}");
}

/// A user of its own in a virtual host of its own, with a connection of this name and the queue `q`.
fn stranger(faulty: &Faulty) -> Raw {
    let http = &faulty.http;
    http.put("/api/users/other", &json!({"password": "other", "tags": ""})).is(201);
    http.put("/api/vhosts/elsewhere", &json!({})).is(201);
    http.put("/api/permissions/elsewhere/other", &json!({"configure": ".*", "write": ".*", "read": ".*"})).is(201);
    let mut raw = Raw::connect(&faulty.broker);
    raw.send(wire::HEADER);
    raw.expect(wire::START);
    let properties = wire::Fields::new().text("connection_name").byte(b'S').bytes(b"shop-7").0;
    let start_ok = wire::Fields::new().bytes(&properties).text("PLAIN").bytes(b"\0other\0other").text("en_US");
    raw.send(&wire::method(0, wire::START_OK, &start_ok));
    raw.expect(wire::TUNE);
    let open = wire::method(0, wire::OPEN, &wire::Fields::new().text("elsewhere").text("").byte(0));
    raw.send(&[wire::tune_ok(2047, 131_072, 0), open].concat());
    raw.expect(wire::OPEN_OK);
    raw.open_channel(1);
    raw.declare("q", 0);
    raw
}

#[test]
fn a_rule_means_whom_it_says() {
    let faulty = Faulty::start();
    let (mut here, mut there) = (faulty.client(), stranger(&faulty));
    for asked in [json!({"connection": "shop-*"}), json!({"user": "other"}), json!({"vhost": "else*"})] {
        let mut asked = asked;
        asked["method"] = json!("basic.publish");
        let rule = faulty.add(&json!({"match": asked, "action": {"kind": "drop"}}));
        let (before_here, before_there) = (here.declare("q", 0), there.declare("q", 0));
        publish(&mut here, b"m");
        publish(&mut there, b"m");
        assert_eq!((here.declare("q", 0), there.declare("q", 0)), (before_here + 1, before_there), "{asked}");
        assert_eq!(faulty.hits(rule), 1, "{asked}");
        faulty.remove(rule);
    }
}

#[test]
fn a_rule_means_what_it_says() {
    let faulty = Faulty::start();
    let mut raw = faulty.client();
    raw.open_channel(2);
    raw.declare("other", 0);
    let publish = |channel, exchange: &str, key: &str| wire::publish(channel, exchange, key, b"m");
    for (asked, lost) in [
        (json!({"channel": 2}), [false, true, false, false]),
        (json!({"queue": "ot*"}), [false, false, true, false]),
        (json!({"routing_key": "q"}), [true, true, false, true]),
        (json!({"exchange": "amq.fanout"}), [false, false, false, true]),
        (json!({"exchange": ""}), [true, true, true, false]),
    ] {
        let mut matches = asked.clone();
        matches["method"] = json!("basic.*");
        matches["direction"] = json!("in");
        let rule = faulty.add(&json!({"match": matches, "action": {"kind": "drop"}}));
        let all = [publish(1, "", "q"), publish(2, "", "q"), publish(1, "", "other"), publish(1, "amq.fanout", "q")];
        for (bytes, lost) in all.iter().zip(lost) {
            let before = faulty.hits(rule);
            raw.send(bytes);
            raw.declare("q", 0);
            assert_eq!(faulty.hits(rule) - before, u64::from(lost), "{asked}");
        }
        faulty.remove(rule);
    }
}

#[test]
fn nothing_happens_to_what_the_broker_does_itself() {
    let faulty = Faulty::start();
    faulty.client();
    faulty.add(&json!({"action": {"kind": "drop"}}));
    faulty.add(&json!({"action": {"kind": "refuse-handshake"}}));
    let message = json!({"routing_key": "q", "payload": "m", "payload_encoding": "string", "properties": {}});
    let published = faulty.http.post("/api/exchanges/%2F/amq.default/publish", &message).ok();
    assert_eq!(published, json!({"routed": true}));
}
