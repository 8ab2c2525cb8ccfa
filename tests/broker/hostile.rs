//! Much of one thing: what costs little once must not become deep, long or large when there is a million of it.

use std::time::Instant;

use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::types::AMQPValue;

use crate::properties::bench::{Bench, got, publish_bytes, table_of};

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// A million, but in debug builds.
const MANY: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

/// Publishes so many in a few large portions.
fn publish_many(bench: &mut Bench, queue: &str, properties: &AMQPProperties, count: usize) {
    const PORTION: usize = 5_000;
    let portion = publish_bytes(queue, properties.clone(), b"12345678").repeat(PORTION);
    for _ in 0..count / PORTION {
        bench.say(&portion);
    }
}

/// Every queue gives its message to the next one at once, within one input, on a stack that no recursion would fit on.
#[test]
fn a_long_chain_of_dead_letter_exchanges_is_no_chain_of_calls() {
    const LENGTH: usize = if cfg!(debug_assertions) { 400 } else { 4_000 };
    let chain = || {
        let mut bench = Bench::new();
        for n in 0..LENGTH {
            let next = text(&format!("q{}", (n + 1) % LENGTH));
            let ttl = AMQPValue::LongInt(0);
            bench.declare(
                &format!("q{n}"),
                &[("x-message-ttl", ttl), ("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", next)],
            );
        }
        bench.publish("q0", AMQPProperties::default(), b"x");
        // The last one would close the circle.
        assert_eq!((bench.broker.memory(), bench.broker.next_deadline()), (0, None));
    };
    let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(chain).expect("a thread");
    thread.join().expect("the chain ends");
}

#[test]
fn a_million_messages_expire_at_once() {
    let mut bench = Bench::new();
    bench.declare("q", &[("x-message-ttl", AMQPValue::LongInt(60_000))]);
    let began = Instant::now();
    publish_many(&mut bench, "q", &AMQPProperties::default(), MANY);
    let published = began.elapsed();
    bench.pass(59_999);
    assert_eq!(bench.get("q", false).map(|got| got.tag), Some(1));
    let began = Instant::now();
    bench.pass(1);
    assert!(began.elapsed() < published, "to throw messages away takes longer than to take them in");
    assert_eq!(bench.get("q", false), None);
    bench.reject(1, true);
    assert_eq!((bench.broker.memory(), bench.broker.next_deadline()), (0, None));
}

/// One that finds nothing lets others be served, input by input.
#[test]
fn a_reader_that_finds_nothing_holds_nobody_up() {
    let mut bench = Bench::new();
    bench.declare("s", &[("x-queue-type", text("stream"))]);
    bench.declare("q", &[]);
    let filtered = |value: &str| AMQPProperties::default().with_headers(table_of(&[("x-stream-filter-value", text(value))]));
    publish_many(&mut bench, "s", &filtered("other"), MANY);
    bench.qos(10);
    bench.consume("s", "wants", &[("x-stream-offset", text("first")), ("x-stream-filter", text("wanted"))]);
    let mut inputs = 0;
    while bench.broker.next_deadline().is_some() {
        inputs += 1;
        bench.now += 1;
        bench.publish("q", AMQPProperties::default(), b"x");
        assert!(bench.get("q", true).is_some());
        assert!(inputs <= MANY / 1_000, "it never comes to the end");
    }
    assert!(inputs > MANY / 10_000, "it looked at all messages in {inputs} inputs");
    let delivered = got(&bench.publish("s", filtered("wanted"), b"at last"));
    assert_eq!(delivered.iter().map(|got| (got.consumer.as_str(), got.body.as_slice())).collect::<Vec<_>>(), [("wants", &b"at last"[..])]);
}
