//! What exchanges remember of messages counts as memory, and is given back.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame};
use amq_protocol::protocol::{AMQPClass, basic, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};
use proptest::prelude::*;

use super::bench::Bench;
use super::wire::{cases, frame_bytes, method_bytes};

#[derive(Clone, Debug)]
enum Step {
    /// To which exchange, with which header value and CC key, how large.
    Publish(usize, i32, Option<&'static str>, usize),
    Bind(usize, &'static str),
    Unbind(usize, &'static str),
    BindExchanges,
    UnbindExchanges,
    Purge,
    DeleteExchange(usize),
}

const EXCHANGES: [&str; 3] = ["history", "short", "once"];

fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn declare(bench: &mut Bench, index: usize) {
    let (kind, arguments) = match index {
        0 => ("x-recent-history", table(&[("x-recent-history-length", AMQPValue::LongInt(3))])),
        1 => (
            "x-recent-history",
            table(&[("x-recent-history-length", AMQPValue::LongInt(1)), ("x-message-deduplication", AMQPValue::Boolean(true))]),
        ),
        _ => ("direct", table(&[("x-message-deduplication", AMQPValue::Boolean(true)), ("x-cache-size", AMQPValue::LongInt(2))])),
    };
    let (exchange, kind) = (EXCHANGES[index].into(), kind.into());
    bench.method(AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
        exchange,
        kind,
        arguments,
        ..exchange::Declare::default()
    })));
}

fn step() -> impl Strategy<Value = Step> {
    let key = || prop::sample::select(vec!["", "k", "c"]);
    let publish = (0..3usize, 0..4, prop::option::of(key()), prop::sample::select(vec![0, 10, 9000]));
    prop_oneof![
        6 => publish.prop_map(|(exchange, value, cc, size)| Step::Publish(exchange, value, cc, size)),
        2 => (0..3usize, key()).prop_map(|(exchange, key)| Step::Bind(exchange, key)),
        1 => (0..3usize, key()).prop_map(|(exchange, key)| Step::Unbind(exchange, key)),
        1 => Just(Step::BindExchanges),
        1 => Just(Step::UnbindExchanges),
        1 => Just(Step::Purge),
        1 => (0..3usize).prop_map(Step::DeleteExchange),
    ]
}

fn carry_out(bench: &mut Bench, step: &Step) {
    match step {
        Step::Publish(exchange, value, cc, size) => {
            let mut headers = table(&[("x-deduplication-header", AMQPValue::LongInt(*value))]);
            if let Some(cc) = cc {
                headers.insert("CC".into(), AMQPValue::FieldArray(vec![AMQPValue::LongString((*cc).into())].into()));
            }
            let method = basic::Publish { exchange: EXCHANGES[*exchange].into(), routing_key: "k".into(), ..basic::Publish::default() };
            let mut bytes = method_bytes(1, AMQPClass::Basic(basic::AMQPMethod::Publish(method)));
            let properties = basic::AMQPProperties::default().with_headers(headers);
            bytes.extend(frame_bytes(&AMQPFrame::Header(1, AMQPContentHeader { class_id: 60, body_size: *size as u64, properties })));
            if *size > 0 {
                bytes.extend(frame_bytes(&AMQPFrame::Body(1, vec![7; *size])));
            }
            bench.say(&bytes);
        }
        Step::Bind(exchange, key) => {
            let bind = queue::Bind {
                queue: "q".into(),
                exchange: EXCHANGES[*exchange].into(),
                routing_key: (*key).into(),
                ..queue::Bind::default()
            };
            bench.method(AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
        }
        Step::Unbind(exchange, key) => {
            let unbind = queue::Unbind {
                queue: "q".into(),
                exchange: EXCHANGES[*exchange].into(),
                routing_key: (*key).into(),
                ..queue::Unbind::default()
            };
            bench.method(AMQPClass::Queue(queue::AMQPMethod::Unbind(unbind)));
        }
        Step::BindExchanges => {
            let bind = exchange::Bind { source: EXCHANGES[0].into(), destination: EXCHANGES[1].into(), ..exchange::Bind::default() };
            bench.method(AMQPClass::Exchange(exchange::AMQPMethod::Bind(bind)));
        }
        Step::UnbindExchanges => {
            let unbind = exchange::Unbind { source: EXCHANGES[0].into(), destination: EXCHANGES[1].into(), ..exchange::Unbind::default() };
            bench.method(AMQPClass::Exchange(exchange::AMQPMethod::Unbind(unbind)));
        }
        Step::Purge => {
            let purge = queue::Purge { queue: "q".into(), ..queue::Purge::default() };
            bench.method(AMQPClass::Queue(queue::AMQPMethod::Purge(purge)));
        }
        Step::DeleteExchange(exchange) => {
            let delete = exchange::Delete { exchange: EXCHANGES[*exchange].into(), ..exchange::Delete::default() };
            bench.method(AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete)));
            declare(bench, *exchange);
        }
    }
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn all_memory_is_given_back(steps in prop::collection::vec(step(), 1..40)) {
        let mut bench = Bench::new();
        for index in 0..EXCHANGES.len() {
            declare(&mut bench, index);
        }
        // Dead letters are remembered, too.
        let arguments = table(&[("x-max-length", AMQPValue::LongInt(2)), ("x-dead-letter-exchange", AMQPValue::LongString("history".into()))]);
        let declare = queue::Declare { queue: "q".into(), arguments, ..queue::Declare::default() };
        bench.method(AMQPClass::Queue(queue::AMQPMethod::Declare(declare)));
        let before = bench.broker.memory();
        for step in &steps {
            carry_out(&mut bench, step);
        }
        carry_out(&mut bench, &Step::Purge);
        for index in 0..EXCHANGES.len() {
            carry_out(&mut bench, &Step::DeleteExchange(index));
        }
        prop_assert_eq!(bench.broker.memory(), before);
    }

    #[test]
    fn a_history_holds_no_more_than_its_length(bodies in prop::collection::vec(prop::sample::select(vec![0usize, 10, 20_000]), 1..20)) {
        let mut bench = Bench::new();
        declare(&mut bench, 0);
        for (n, size) in bodies.iter().enumerate() {
            carry_out(&mut bench, &Step::Publish(0, i32::try_from(n).expect("a few"), None, *size));
            let kept: usize = bodies[..=n].iter().rev().take(3).sum();
            let memory = usize::try_from(bench.broker.memory()).expect("a little");
            prop_assert!((kept..kept + 3 * 400).contains(&memory), "{} bytes for {} of bodies", memory, kept);
        }
    }
}
