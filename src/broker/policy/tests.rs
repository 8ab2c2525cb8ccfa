//! What is refused as a policy, and with which texts: RabbitMQ 3.10.8's where it has the key.

use super::*;

fn refusal(operator: bool, value: &str) -> String {
    let value: Json = serde_json::from_str(value).expect("JSON");
    Policy::from_json(operator, "p", &value).map(|_| ()).expect_err("is refused")
}

fn check(operator: bool, definition: &str, why: &str) {
    let value = format!(r#"{{"pattern": "^q", "definition": {definition}}}"#);
    assert_eq!(refusal(operator, &value), format!("Validation failed\n\n{why}\n"), "{definition}");
}

/// Behaviour P3.
#[test]
fn definitions_that_are_refused() {
    for (definition, why) in [
        (r#"{"max-length": "3"}"#, r#"<<"3">> is not a valid maximum length"#),
        (r#"{"max-length": -1}"#, "-1 is not a valid maximum length"),
        (r#"{"max-length": 1.5}"#, "1.5 is not a valid maximum length"),
        (r#"{"max-length": null}"#, "null is not a valid maximum length"),
        (r#"{"max-length": [1]}"#, "[1] is not a valid maximum length"),
        (r#"{"max-length-bytes": true}"#, "true is not a valid maximum length in bytes"),
        (r#"{"message-ttl": -1}"#, "-1 is not a valid message TTL"),
        (r#"{"expires": 0}"#, "0 is not a valid queue expiry"),
        (r#"{"overflow": "foo"}"#, r#"<<"foo">> is not a valid overflow value"#),
        (r#"{"dead-letter-exchange": 1}"#, "1 is not a valid dead letter exchange name"),
        (r#"{"dead-letter-routing-key": 1}"#, "1 is not a valid dead letter routing key"),
        (r#"{"dead-letter-strategy": "foo"}"#, r#"<<"foo">> is not a valid dead letter strategy"#),
        (r#"{"alternate-exchange": 1}"#, "1 is not a valid alternate exchange name"),
        (r#"{"delivery-limit": "1"}"#, r#"<<"1">> is not a valid delivery limit"#),
        (r#"{"max-in-memory-length": -1}"#, "-1 is not a valid maximum memory in bytes"),
        (r#"{"max-in-memory-bytes": -1}"#, "-1 is not a valid maximum memory in bytes"),
        (r#"{"stream-max-segment-size-bytes": -1}"#, "-1 is not a valid segment size"),
        (r#"{"stream-max-segment-size-bytes": 5000000000}"#, "5000000000 is not a valid segment size"),
        (r#"{"initial-cluster-size": -1}"#, "-1 is not a valid cluster size"),
        (r#"{"queue-leader-locator": "foo"}"#, r#"<<"foo">> is not a valid queue leader locator value"#),
        (r#"{"queue-mode": "foo"}"#, r#"<<"foo">> is not a valid queue-mode value"#),
        (r#"{"queue-version": 3}"#, "3 is not a valid queue-version value"),
        (r#"{"foo": 1}"#, r#"[{<<"foo">>,1}] are not recognised policy settings"#),
        (r#"{"foo": 1, "bar": "x"}"#, r#"[{<<"bar">>,<<"x">>},{<<"foo">>,1}] are not recognised policy settings"#),
        (r#"{"foo": [1, {"a": null}], "max-length": 1}"#, r#"[{<<"foo">>,[1,#{<<"a">> => null}]}] are not recognised policy settings"#),
        (r#"{"foo": 1, "max-length": -1}"#, "-1 is not a valid maximum length"),
        (r#"{"max-length": -1, "message-ttl": -1}"#, "-1 is not a valid maximum length"),
        ("{}", "no policy provided"),
    ] {
        check(false, definition, why);
    }
}

/// Behaviour P4.
#[test]
fn operators_may_set_less() {
    check(true, r#"{"alternate-exchange": "x"}"#, r#"[{<<"alternate-exchange">>,<<"x">>}] are not recognised policy settings"#);
    check(true, r#"{"dead-letter-exchange": 1}"#, r#"[{<<"dead-letter-exchange">>,1}] are not recognised policy settings"#);
    check(true, r#"{"max-length": "3"}"#, r#"<<"3">> is not a valid maximum length"#);
}

#[test]
fn what_is_refused_beside_the_definition() {
    for (value, why) in [
        (r#"{"definition": {"max-length": 1}}"#, r#"Key "pattern" not found in p"#),
        (r#"{"pattern": "q"}"#, r#"Key "definition" not found in p"#),
        (r#"{"pattern": "q", "definition": 5}"#, "parse error while reading policy: 5"),
        (r#"{"pattern": "q", "definition": {"max-length": 1}, "priority": "5"}"#, r#"priority should be a number, actually was <<"5">>"#),
        (
            r#"{"pattern": "q", "definition": {"max-length": 1}, "apply-to": "foo"}"#,
            "apply-to 'foo' unrecognised; should be one of: \
             'queues', 'classic_queues', 'quorum_queues', 'streams', 'exchanges' or 'all'",
        ),
    ] {
        assert_eq!(refusal(false, value), format!("Validation failed\n\n{why}\n"), "{value}");
    }
    let text = refusal(false, r#"{"pattern": "(", "definition": {"max-length": 1}}"#);
    assert!(text.starts_with("Validation failed\n\npattern should be regular expression but is invalid: "), "{text}");
}
