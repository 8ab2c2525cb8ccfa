//! Topic and headers exchanges against matching by definition, through a broker, with bindings that come and go.

use std::collections::BTreeMap;

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame};
use amq_protocol::protocol::{AMQPClass, basic, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable, ShortString};
use proptest::prelude::*;

use super::bench::Bench;
use super::wire::{cases, frame_bytes, method_bytes};

const QUEUES: usize = 3;

fn bench(kind: &str) -> Bench {
    let mut bench = Bench::new();
    let declare = exchange::Declare { exchange: "x".into(), kind: kind.into(), ..exchange::Declare::default() };
    bench.method(AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)));
    for n in 0..QUEUES {
        let declare = queue::Declare { queue: format!("q{n}").into(), ..queue::Declare::default() };
        bench.method(AMQPClass::Queue(queue::AMQPMethod::Declare(declare)));
    }
    bench
}

#[derive(Clone, Debug, PartialEq)]
struct Binding {
    queue: usize,
    key: String,
    arguments: FieldTable,
}

fn bind(bench: &mut Bench, binding: &Binding) {
    let (queue, exchange, routing_key) = (format!("q{}", binding.queue).into(), "x".into(), binding.key.as_str().into());
    let bind = queue::Bind { queue, exchange, routing_key, nowait: false, arguments: binding.arguments.clone() };
    bench.method(AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
}

fn unbind(bench: &mut Bench, binding: &Binding) {
    let (queue, exchange, routing_key) = (format!("q{}", binding.queue).into(), "x".into(), binding.key.as_str().into());
    let unbind = queue::Unbind { queue, exchange, routing_key, arguments: binding.arguments.clone() };
    bench.method(AMQPClass::Queue(queue::AMQPMethod::Unbind(unbind)));
}

/// Publishes a message; how many copies each queue got.
fn publish(bench: &mut Bench, key: &str, headers: Option<FieldTable>) -> Vec<usize> {
    let method = basic::Publish { exchange: "x".into(), routing_key: key.into(), ..basic::Publish::default() };
    let mut bytes = method_bytes(1, AMQPClass::Basic(basic::AMQPMethod::Publish(method)));
    let properties = headers.into_iter().fold(basic::AMQPProperties::default(), basic::AMQPProperties::with_headers);
    bytes.extend(frame_bytes(&AMQPFrame::Header(1, AMQPContentHeader { class_id: 60, body_size: 0, properties })));
    for n in 0..QUEUES {
        let purge = queue::Purge { queue: format!("q{n}").into(), nowait: true };
        bench.method(AMQPClass::Queue(queue::AMQPMethod::Purge(purge)));
    }
    bench.say(&bytes);
    bench.broker.queue_snapshots().iter().map(|queue| queue.ready).collect()
}

/// Binds and unbinds as told, and after each step compares every message's way with the definition's.
fn compare<M>(
    kind: &str,
    steps: &[(bool, Binding)],
    messages: &[M],
    send: impl Fn(&mut Bench, &M) -> Vec<usize>,
    matches: impl Fn(&Binding, &M) -> bool,
) -> Result<(), TestCaseError> {
    let mut bench = bench(kind);
    let mut bound: Vec<Binding> = Vec::new();
    for (adds, binding) in steps {
        if *adds {
            bind(&mut bench, binding);
            bound.push(binding.clone());
        } else {
            // Mostly one that is there.
            let index = binding.key.len() + binding.queue;
            let binding = if bound.is_empty() { binding.clone() } else { bound[index % bound.len()].clone() };
            unbind(&mut bench, &binding);
            bound.retain(|b| *b != binding);
        }
        for message in messages {
            let got = send(&mut bench, message);
            let expected = (0..QUEUES).map(|n| usize::from(bound.iter().any(|b| b.queue == n && matches(b, message))));
            prop_assert_eq!(got, expected.collect::<Vec<_>>(), "bindings {:?}", bound);
        }
    }
    Ok(())
}

fn topic_matches(pattern: &[&str], words: &[&str]) -> bool {
    let Some((first, pattern)) = pattern.split_first() else { return words.is_empty() };
    match *first {
        "#" => (0..=words.len()).any(|taken| topic_matches(pattern, &words[taken..])),
        "*" => !words.is_empty() && topic_matches(pattern, &words[1..]),
        literal => words.first() == Some(&literal) && topic_matches(pattern, &words[1..]),
    }
}

/// The empty key has no word; elsewhere empty words count.
fn words(key: &str) -> Vec<&str> {
    if key.is_empty() { Vec::new() } else { key.split('.').collect() }
}

fn key(letters: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(letters), 0..6).prop_map(|words| words.join("."))
}

/// Values that are often the same number, text or truth in different types.
fn header_value() -> impl Strategy<Value = AMQPValue> {
    let small = 0..3i8;
    prop_oneof![
        small.clone().prop_map(AMQPValue::ShortShortInt),
        small.clone().prop_map(|n| AMQPValue::LongInt(n.into())),
        small.clone().prop_map(|n| AMQPValue::LongLongInt(n.into())),
        (0..3u16).prop_map(AMQPValue::ShortUInt),
        (0..6i8).prop_map(|n| AMQPValue::Double(f64::from(n) / 2.0)),
        small.prop_map(|n| AMQPValue::LongString(n.to_string().into())),
        any::<bool>().prop_map(AMQPValue::Boolean),
        Just(AMQPValue::Void),
    ]
}

fn header_table() -> impl Strategy<Value = BTreeMap<ShortString, AMQPValue>> {
    let name = prop::sample::select(vec!["a", "b", "x-c", "x"]).prop_map(ShortString::from);
    prop::collection::btree_map(name, header_value(), 0..4)
}

fn headers_binding() -> impl Strategy<Value = Binding> {
    let modes = prop::sample::select(vec!["", "all", "any", "all-with-x", "any-with-x"]);
    (0..QUEUES, modes, header_table(), prop::sample::select(vec!["", "k"])).prop_map(|(queue, mode, mut arguments, key)| {
        if !mode.is_empty() {
            arguments.insert("x-match".into(), AMQPValue::LongString(mode.into()));
        }
        Binding { queue, key: key.to_owned(), arguments: arguments.into() }
    })
}

fn number(value: &AMQPValue) -> Option<f64> {
    Some(match value {
        AMQPValue::ShortShortInt(n) => f64::from(*n),
        AMQPValue::LongInt(n) => f64::from(*n),
        AMQPValue::LongLongInt(n) => f64::from(i32::try_from(*n).ok()?),
        AMQPValue::ShortUInt(n) => f64::from(*n),
        AMQPValue::Double(n) => *n,
        _ => return None,
    })
}

fn headers_match(binding: &Binding, headers: &Option<FieldTable>) -> bool {
    let arguments = binding.arguments.inner();
    let mode = match arguments.get("x-match") {
        Some(AMQPValue::LongString(mode)) => String::from_utf8_lossy(mode.as_bytes()).into_owned(),
        _ => "all".to_owned(),
    };
    let counts = |name: &str| name != "x-match" && (mode.ends_with("-with-x") || !name.starts_with("x-"));
    let mut holds = arguments.iter().filter(|(name, _)| counts(name.as_str())).map(|(name, wanted)| {
        let Some(value) = headers.as_ref().and_then(|h| h.inner().get(name)) else { return false };
        match (number(wanted), number(value)) {
            _ if *wanted == AMQPValue::Void => true,
            (Some(wanted), Some(value)) => (wanted - value).abs() < 0.1,
            _ => wanted == value,
        }
    });
    if mode.starts_with("any") { holds.any(|h| h) } else { holds.all(|h| h) }
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn topics_match_by_definition(
        steps in prop::collection::vec((prop::bool::weighted(0.7), 0..QUEUES, key(&["a", "b", "", "*", "#"])), 1..14),
        keys in prop::collection::vec(key(&["a", "b", "", "c", "*", "#"]), 1..5),
    ) {
        let steps: Vec<_> =
            steps.into_iter().map(|(adds, queue, key)| (adds, Binding { queue, key, arguments: FieldTable::default() })).collect();
        let send = |bench: &mut Bench, key: &String| publish(bench, key, None);
        compare("topic", &steps, &keys, send, |binding, key| topic_matches(&words(&binding.key), &words(key)))?;
    }

    #[test]
    fn headers_match_by_definition(
        steps in prop::collection::vec((prop::bool::weighted(0.7), headers_binding()), 1..10),
        messages in prop::collection::vec(prop::option::weighted(0.9, header_table()), 1..5),
    ) {
        let messages: Vec<Option<FieldTable>> = messages.into_iter().map(|m| m.map(FieldTable::from)).collect();
        let send = |bench: &mut Bench, headers: &Option<FieldTable>| publish(bench, "k", headers.clone());
        compare("headers", &steps, &messages, send, headers_match)?;
    }

    #[test]
    fn direct_and_fanout_match_by_definition(
        steps in prop::collection::vec((prop::bool::weighted(0.7), 0..QUEUES, key(&["a", "", "*"])), 1..10),
        keys in prop::collection::vec(key(&["a", "", "*"]), 1..4),
        fanout in any::<bool>(),
    ) {
        let steps: Vec<_> =
            steps.into_iter().map(|(adds, queue, key)| (adds, Binding { queue, key, arguments: FieldTable::default() })).collect();
        let send = |bench: &mut Bench, key: &String| publish(bench, key, None);
        let kind = if fanout { "fanout" } else { "direct" };
        compare(kind, &steps, &keys, send, |binding, key| fanout || binding.key == *key)?;
    }
}
