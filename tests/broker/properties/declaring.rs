//! Arguments of any type and value: a queue is declared, or refused with nothing left of it. Policies of any content, and
//! how they and the arguments are put together.

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{AMQPClass, basic, confirm, exchange, queue};
use amq_protocol::types::AMQPValue;
use leveret::broker::Input;
use leveret::broker::Profile;
use leveret::broker::policy::Policy;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::bench::{Bench, table_of};
use super::wire::{cases, value};

const ARGUMENTS: [&str; 26] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-quorum-initial-group-size",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-initial-cluster-size",
    "x-queue-leader-locator",
    "x-queue-master-locator",
    "x-delivery-limit",
    "x-consumer-timeout",
    "x-unheard-of",
    "alternate-exchange",
];

/// Words that one argument or another takes.
const WORDS: [&str; 22] = [
    "classic",
    "quorum",
    "stream",
    "drop-head",
    "reject-publish",
    "reject-publish-dlx",
    "at-most-once",
    "at-least-once",
    "default",
    "lazy",
    "7D",
    "0D",
    "7",
    "999999999999999999999Y",
    "99999999999999Y",
    "client-local",
    "balanced",
    "min-masters",
    "q",
    "",
    "first",
    "é",
];

fn argument() -> impl Strategy<Value = AMQPValue> {
    let number =
        prop::sample::select(vec![i64::MIN, -1, 0, 1, 2, 5, 15, 16, 255, 256, 3_000_000_001, 315_360_000_000, 315_360_000_001, i64::MAX]);
    prop_oneof![
        3 => value(),
        3 => prop::sample::select(WORDS.to_vec()).prop_map(|word| AMQPValue::LongString(word.into())),
        3 => number.prop_map(AMQPValue::LongLongInt),
        1 => any::<bool>().prop_map(AMQPValue::Boolean),
    ]
}

proptest! {
    #![proptest_config(cases(384))]

    #[test]
    fn a_queue_is_declared_or_refused(
        chosen in prop::collection::btree_map(prop::sample::select(ARGUMENTS.to_vec()), argument(), 0..4),
        kind in prop::option::of(prop::sample::select(vec!["classic", "quorum", "stream"])),
        durable in prop::bool::weighted(0.8),
        exclusive in prop::bool::weighted(0.1),
        auto_delete in prop::bool::weighted(0.1),
        named in prop::bool::weighted(0.9),
        profile in prop::sample::select(Profile::NAMES.to_vec()),
    ) {
        let mut bench = Bench::of(Profile::named(profile).expect("a profile"));
        bench.declare("other", &[]);
        bench.publish("other", AMQPProperties::default(), b"x");
        let mut arguments: Vec<(&str, AMQPValue)> = chosen.into_iter().collect();
        if let Some(kind) = kind.filter(|_| !arguments.iter().any(|(name, _)| *name == "x-queue-type")) {
            arguments.push(("x-queue-type", AMQPValue::LongString(kind.into())));
        }
        let name = if named { "q" } else { "" };
        let declare = queue::Declare { queue: name.into(), durable, exclusive, auto_delete, arguments: table_of(&arguments), ..queue::Declare::default() };
        let declare = || AMQPClass::Queue(queue::AMQPMethod::Declare(declare.clone()));
        let before = (bench.broker.queue_snapshots(), bench.broker.memory(), bench.broker.next_deadline());
        let answer = bench.method(declare());
        let declared = answer.iter().find_map(|frame| match frame {
            AMQPFrame::Method(1, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok))) => Some(ok.queue.to_string()),
            _ => None,
        });
        match declared {
            Some(name) => {
                prop_assert_eq!(answer.len(), 1);
                prop_assert_eq!(bench.broker.queue_snapshots().len(), 2);
                if named {
                    prop_assert!(matches!(bench.method(declare())[0], AMQPFrame::Method(1, AMQPClass::Queue(_))), "it is not equal to itself");
                }
                bench.delete(&name);
            }
            None => {
                let (code, text) = bench.refusal(&answer).expect("a reply of either kind");
                let properties = ["non-durable", "exclusive-owner", "auto-delete", "server-named", "transient_nonexcl_queues"];
                let because = arguments.iter().map(|(name, _)| *name).chain(properties);
                prop_assert!(because.into_iter().any(|why| text.contains(why)), "{} {} of {:?}", code, text, arguments);
                prop_assert!(text.len() <= 255);
            }
        }
        prop_assert_eq!((bench.broker.queue_snapshots(), bench.broker.memory()), (before.0, before.1));
        let again = queue::Declare { queue: "q".into(), passive: true, ..queue::Declare::default() };
        if bench.broker.channel_snapshots().len() == 1 {
            let answer = bench.method(AMQPClass::Queue(queue::AMQPMethod::Declare(again)));
            prop_assert_eq!(bench.reopened(&answer), Some(404));
        }
    }
}

const KEYS: [&str; 30] = [
    "alternate-exchange",
    "dead-letter-exchange",
    "dead-letter-routing-key",
    "dead-letter-strategy",
    "message-ttl",
    "expires",
    "max-length",
    "max-length-bytes",
    "overflow",
    "delivery-limit",
    "max-age",
    "stream-max-segment-size-bytes",
    "consumer-timeout",
    "ha-mode",
    "ha-params",
    "ha-sync-mode",
    "ha-sync-batch-size",
    "ha-promote-on-shutdown",
    "ha-promote-on-failure",
    "queue-master-locator",
    "queue-leader-locator",
    "queue-mode",
    "queue-version",
    "initial-cluster-size",
    "target-group-size",
    "federation-upstream",
    "federation-upstream-set",
    "max-in-memory-length",
    "max-in-memory-bytes",
    "unheard-of",
];

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        prop::sample::select(vec![i64::MIN, -1, 0, 1, 3, 100, i64::MAX]).prop_map(Json::from),
        Just(Json::from(u64::MAX)),
        (-8i32..8).prop_map(|n| Json::from(f64::from(n) / 2.0)),
        prop::sample::select(WORDS.to_vec()).prop_map(Json::from),
        "\\PC{0,20}".prop_map(Json::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            prop::collection::vec(("[a-z]{0,4}", inner), 0..3).prop_map(|all| Json::Object(all.into_iter().collect())),
        ]
    })
}

fn limit() -> impl Strategy<Value = Option<i64>> {
    prop::option::of(-1..4i64)
}

fn policy(operator: bool, name: &str, pattern: &str, priority: i64, definition: &Json) -> Policy {
    let value = json!({ "pattern": pattern, "priority": priority, "apply-to": "queues", "definition": definition });
    Policy::from_json(operator, name, &value).expect("a policy")
}

proptest! {
    #![proptest_config(cases(256))]

    /// Whatever it says, it is refused with a text, or lies over what there is without harm, and is taken off again.
    #[test]
    fn any_policy_is_survived(
        entries in prop::collection::btree_map(prop::sample::select(KEYS.to_vec()), any_json(), 0..4),
        pattern in prop_oneof![3 => Just(".*".to_owned()), 1 => Just("^(a+)+$".to_owned()), 1 => "\\PC{0,12}", 1 => "[()\\[\\]{}*+?|^$.\\\\ab]{0,8}"],
        apply_to in prop::sample::select(vec!["all", "queues", "classic_queues", "quorum_queues", "streams", "exchanges"]),
        priority in any::<i64>(),
        odd in prop::option::weighted(0.3, (prop::sample::select(vec!["pattern", "apply-to", "priority", "definition", "name", "more"]), any_json())),
        operator in any::<bool>(),
    ) {
        let mut bench = Bench::new();
        let kinds = ["classic", "quorum", "stream"];
        let name = |kind: &str| format!("{}{kind}", "a".repeat(30));
        for kind in kinds {
            bench.declare(&name(kind), &[("x-queue-type", AMQPValue::LongString(kind.into()))]);
        }
        let declare = exchange::Declare { exchange: "x".into(), kind: "fanout".into(), ..exchange::Declare::default() };
        bench.method(AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)));
        let publish = |bench: &mut Bench| {
            for kind in kinds {
                for _ in 0..3 {
                    bench.publish(&name(kind), AMQPProperties::default(), b"x");
                }
            }
        };
        publish(&mut bench);
        let mut value = json!({ "pattern": pattern, "apply-to": apply_to, "priority": priority, "definition": entries });
        if let Some((field, what)) = odd {
            value[field] = what;
        }
        match Policy::from_json(operator, "p", &value) {
            Err(text) => prop_assert!(!text.is_empty()),
            Ok(policy) => {
                bench.set_policy(operator, policy);
                publish(&mut bench);
                bench.pass(10);
                bench.input(Input::ClearPolicy { operator, name: "p", user: "guest" });
                bench.pass(1_000_000_000);
                publish(&mut bench);
            }
        }
        for kind in kinds {
            bench.delete(&name(kind));
        }
        prop_assert_eq!(bench.broker.memory(), 0);
    }

    /// Of numbers the lowest counts, wherever it comes from; of policies that match, the one with the highest priority, alone.
    #[test]
    fn the_lowest_number_counts(
        argument in prop::option::of(1..9u32),
        strong in prop::option::of(1..9u32),
        weak in prop::option::of(1..9u32),
        operator in prop::option::of(1..9u32),
        before in any::<bool>(),
    ) {
        let mut bench = Bench::new();
        let declare = |bench: &mut Bench| {
            for name in ["max-length", "message-ttl", "expires"] {
                let given = argument.map(|n| (format!("x-{name}"), AMQPValue::LongUInt(n)));
                let given: Vec<(&str, AMQPValue)> = given.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
                bench.declare(name, &given);
            }
        };
        if before {
            declare(&mut bench);
        }
        for name in ["max-length", "message-ttl", "expires"] {
            let lay = |bench: &mut Bench, as_operator: bool, priority: i64, n: Option<u32>| {
                let Some(n) = n else { return };
                let called = format!("{name}{priority}");
                bench.set_policy(as_operator, policy(as_operator, &called, &format!("^{name}$"), priority, &json!({ name: n })));
            };
            lay(&mut bench, false, 3, strong);
            lay(&mut bench, false, 2, weak);
            lay(&mut bench, true, 1, operator);
        }
        if !before {
            declare(&mut bench);
        }
        let user = strong.or(weak);
        let expected = [argument, user, operator].into_iter().flatten().min();
        let snapshots = bench.broker.queue_snapshots();
        prop_assert_eq!(snapshots[1].max_length, expected.map(u64::from));
        bench.publish("message-ttl", AMQPProperties::default(), b"x");
        // From now on, time shows the other two.
        let mut lived = [None, None];
        for passed in 1..12 {
            bench.pass(1);
            let there = bench.broker.queue_snapshots();
            let empty = there.iter().any(|queue| queue.name == "message-ttl" && queue.ready == 0);
            let gone = !there.iter().any(|queue| queue.name == "expires");
            for (lived, over) in lived.iter_mut().zip([empty, gone]) {
                *lived = lived.or(over.then_some(passed));
            }
        }
        prop_assert_eq!(lived, [expected, expected]);
    }

    /// Of delivery limits the lowest counts as well, but one that is off gives way to one that is not.
    #[test]
    fn a_delivery_limit_is_hard_to_switch_off(argument in limit(), user in limit(), operator in limit()) {
        let mut bench = Bench::new();
        let mut arguments = vec![("x-queue-type", AMQPValue::LongString("quorum".into()))];
        arguments.extend(argument.map(|limit| ("x-delivery-limit", AMQPValue::LongLongInt(limit))));
        bench.declare("q", &arguments);
        for (as_operator, limit) in [(false, user), (true, operator)] {
            if let Some(limit) = limit {
                bench.set_policy(as_operator, policy(as_operator, "p", "^q$", 0, &json!({ "delivery-limit": limit })));
            }
        }
        bench.publish("q", AMQPProperties::default(), b"x");
        let mut returns = 0;
        while let Some(got) = bench.get("q", false).filter(|_| returns < 30) {
            bench.reject(got.tag, true);
            returns += 1;
        }
        let all = [argument, user, operator].into_iter().flatten();
        let limited = all.clone().filter(|limit| *limit >= 0).min();
        // After so many returns, the next one is the end.
        let expected = limited.map_or(if all.count() > 0 { 30 } else { 21 }, |limit| limit + 1);
        prop_assert_eq!(returns, expected);
    }

    /// Texts: the argument is stronger than the policy, but for the overflow of a quorum queue; the operator's overflow is stronger than both.
    #[test]
    fn texts_have_an_order(
        quorum in any::<bool>(),
        argument in any::<Option<bool>>(), user in any::<Option<bool>>(), operator in any::<Option<bool>>(),
    ) {
        let mut bench = Bench::new();
        let overflow = |rejects: bool| if rejects { "reject-publish" } else { "drop-head" };
        let exchange = |rejects: bool| if rejects { "" } else { "nowhere" };
        let mut arguments = vec![("x-max-length", AMQPValue::LongInt(1)), ("x-dead-letter-routing-key", AMQPValue::LongString("dead".into()))];
        if let Some(argument) = argument {
            arguments.push(("x-overflow", AMQPValue::LongString(overflow(argument).into())));
        }
        // Without an exchange of its own there is no key, either.
        match argument {
            Some(argument) => arguments.push(("x-dead-letter-exchange", AMQPValue::LongString(exchange(argument).into()))),
            None => drop(arguments.remove(1)),
        }
        if quorum {
            arguments.push(("x-queue-type", AMQPValue::LongString("quorum".into())));
        }
        bench.declare("dead", &[]);
        bench.declare("q", &arguments);
        if let Some(rejects) = user {
            let entries = json!({ "overflow": overflow(rejects), "dead-letter-exchange": exchange(rejects), "dead-letter-routing-key": "dead" });
            bench.set_policy(false, policy(false, "p", "^q$", 0, &entries));
        }
        if let Some(rejects) = operator {
            bench.set_policy(true, policy(true, "o", "^q$", 0, &json!({ "overflow": overflow(rejects) })));
        }
        bench.method(AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false })));
        // A quorum queue refuses only what comes when it is over its bound.
        let fill = if quorum { vec![b"0", b"1"] } else { vec![b"1"] };
        for body in &fill {
            bench.publish("q", AMQPProperties::default(), *body);
        }
        let answer = bench.publish("q", AMQPProperties::default(), b"2");
        let refused = answer.iter().any(|frame| matches!(frame, AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Nack(_)))));
        let own = if quorum { user.or(argument) } else { argument.or(user) };
        let rejects = operator.or(own).unwrap_or(false);
        prop_assert_eq!(refused, rejects);
        let left = bench.get("q", false).expect("one of the two");
        prop_assert_eq!(&left.body, if rejects { fill[0] } else { b"2" });
        bench.reject(left.tag, false);
        let to_dead = argument.or(user).unwrap_or(false);
        let dead = bench.broker.queue_snapshots().into_iter().find(|queue| queue.name == "dead").expect("it is there");
        prop_assert_eq!(dead.ready, if !to_dead { 0 } else if rejects { 1 } else { fill.len() + 1 });
    }
}
