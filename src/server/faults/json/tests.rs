//! Rules as JSON: what is read, what is shown, what is refused.

use super::*;

fn refused(rule: Json) -> String {
    Rule::from_json(rule).expect_err("a refusal").to_string()
}

/// Each kind with what it needs, and nothing else.
fn simplest(kind: &str) -> Json {
    match kind {
        "delay" | "slow-disk" => json!({"kind": kind, "ms": 10}),
        "truncate" => json!({"kind": kind, "after": 3}),
        "close-connection" | "close-channel" => json!({"kind": kind, "code": 406}),
        "raise-alarm" => json!({"kind": kind, "alarm": "memory"}),
        _ => json!({"kind": kind}),
    }
}

#[test]
fn every_kind_is_read_and_shown_as_it_is_read() {
    for kind in KINDS {
        let rule = Rule::from_json(json!({"name": "one", "action": simplest(kind)})).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(rule.action.kind(), kind);
        assert_eq!(Rule::from_json(rule.to_json()), Ok(rule), "{kind}");
    }
    let full = json!({
        "name": "some confirms", "probability": 0.5, "seed": 7, "times": 3,
        "match": {"connection": "shop*", "user": "u", "vhost": "v", "channel": 1, "queue": "q", "exchange": "", "routing_key": "q",
                  "method": "basic.publish", "direction": "in"},
        "action": {"kind": "nack", "lose": true},
    });
    assert_eq!(Rule::from_json(full.clone()).expect("a rule").to_json(), full);
}

#[test]
fn what_is_unknown_is_named() {
    let drop = json!({"kind": "drop"});
    for (rule, why) in [
        (json!([]), "a rule is an object"),
        (json!({}), "action is missing"),
        (json!({"action": {}}), "action.kind is missing"),
        (json!({"action": drop, "nht": 1}), "unknown field 'nht'"),
        (json!({"action": drop, "match": {"exchagne": "x"}}), "unknown field 'match.exchagne'"),
        (json!({"action": drop, "match": 3}), "match is an object"),
        (json!({"action": {"kind": "drop", "ms": 1}}), "unknown field 'action.ms'"),
        (json!({"action": {"kind": "truncate"}}), "action.after is missing"),
        (json!({"action": {"kind": "truncate", "after": 1, "then": "wait"}}), "action.then 'wait' is none of nothing, close"),
        (json!({"action": {"kind": "delay"}}), "action.ms is missing"),
        (json!({"action": {"kind": "delay", "ms": -1}}), "action.ms is a whole number that is not negative"),
        (json!({"action": {"kind": "delay", "ms": 86_400_001}}), "action.ms is 86400000 at most"),
        (json!({"action": {"kind": "close-channel"}}), "action.code is missing"),
        (json!({"action": {"kind": "close-channel", "code": 999}}), "action.code 999 is no reply code of AMQP"),
        (json!({"action": {"kind": "nack", "lose": "yes"}}), "action.lose is true or false"),
        (json!({"action": {"kind": "raise-alarm"}}), "action.alarm is missing"),
        (json!({"action": {"kind": "raise-alarm", "alarm": "cpu"}}), "action.alarm 'cpu' is none of memory, disk"),
        (json!({"action": {"kind": "fail-disk", "on": ["erase"]}}), "action.on has \"erase\", which is none of read, write, sync"),
        (json!({"action": {"kind": "fail-disk", "on": []}}), "action.on is empty"),
        (json!({"action": drop, "match": {"channel": 70_000}}), "match.channel is 65535 at most"),
        (json!({"action": drop, "match": {"direction": "both"}}), "match.direction 'both' is none of in, out"),
        (json!({"action": drop, "probability": "often"}), "probability is a number from 0 to 1"),
    ] {
        assert_eq!(refused(rule), why);
    }
    let unknown = refused(json!({"action": {"kind": "explode"}}));
    assert!(unknown.starts_with("action.kind 'explode' is none of drop, delay, "), "{unknown}");
    let second = Rule::list_from_json(json!([{"action": drop}, {"action": drop, "nth": 0}])).expect_err("a refusal");
    assert_eq!(second.to_string(), "rule 2: nth is 1 or more");
}

#[test]
fn what_contradicts_itself_is_refused() {
    let rule = |kind: &str, matches: Json| json!({"match": matches, "action": simplest(kind)});
    let when = |more: Json| {
        let mut rule = rule("drop", json!({}));
        rule.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        rule
    };
    for (rule, why) in [
        (when(json!({"nth": 1, "every": 2})), "nth and every exclude each other"),
        (when(json!({"every": 2, "probability": 0.1})), "every and probability exclude each other"),
        (when(json!({"nth": 3, "times": 2})), "nth fires once: times means nothing beside it"),
        (when(json!({"every": 0})), "every is 1 or more"),
        (when(json!({"times": 0})), "times is 1 or more"),
        (when(json!({"probability": 1.5})), "probability is a number from 0 to 1"),
        (when(json!({"seed": 1})), "seed means nothing without probability"),
        (rule("drop", json!({"method": "basic.pubish"})), "match.method: there is no method 'basic.pubish'"),
        (rule("drop", json!({"method": "basic.deliver", "direction": "in"})), "match.direction 'in': basic.deliver never goes that way"),
        (rule("drop", json!({"method": "basic.ack", "queue": "q"})), "match.queue: basic.ack names none"),
        (rule("drop", json!({"method": "queue.declare", "exchange": "x"})), "match.exchange: queue.declare names none"),
        (rule("nack", json!({"method": "queue.declare"})), "nack cannot happen to match.method 'queue.declare'"),
        (rule("nack", json!({"direction": "out"})), "match.direction 'out': basic.publish never goes that way"),
        (rule("close-channel", json!({"channel": 0})), "match.channel 0 is the connection: close-channel cannot happen to it"),
        (rule("close-channel", json!({"method": "connection.*"})), "close-channel cannot happen to match.method 'connection.*'"),
        (rule("fail-authentication", json!({"vhost": "/"})), "match.vhost means nothing to fail-authentication"),
        (rule("refuse-handshake", json!({"user": "guest"})), "match.user means nothing to refuse-handshake"),
        (rule("slow-disk", json!({"queue": "q"})), "match.queue means nothing to slow-disk"),
        (json!({"action": {"kind": "refuse-handshake", "at": "tune"}}), "action.at is start or open for refuse-handshake"),
        (
            json!({"action": {"kind": "refuse-handshake", "code": 403}}),
            "action.code and action.text mean nothing at the start, where the socket is closed",
        ),
        (
            json!({"times": 1, "action": {"kind": "raise-alarm", "alarm": "disk"}}),
            "raise-alarm without a match happens at once: times means nothing",
        ),
    ] {
        assert_eq!(refused(rule), why);
    }
}

#[test]
fn a_whole_number_may_have_a_fraction_of_nothing() {
    let delay = |ms: Json| Rule::from_json(json!({"action": {"kind": "delay", "ms": ms}}));
    assert_eq!(delay(json!(400.0)), delay(json!(400)));
    assert_eq!(delay(json!(0.5)).expect_err("a refusal").to_string(), "action.ms is a whole number that is not negative");
}

#[test]
fn the_name_of_a_code_is_not_said_twice() {
    let close = |text: &str| match Rule::from_json(json!({"action": {"kind": "close-channel", "code": 404, "text": text}})) {
        Ok(Rule { action: Action::CloseChannel { code, text }, .. }) => (code.code(), text),
        other => panic!("{other:?}"),
    };
    assert_eq!(close("no queue 'q' in vhost '/'"), (404, "no queue 'q' in vhost '/'".to_owned()));
    assert_eq!(close("NOT_FOUND - no queue 'q' in vhost '/'"), (404, "no queue 'q' in vhost '/'".to_owned()));
}
