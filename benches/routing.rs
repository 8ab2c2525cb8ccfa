//! What finding a message's way costs with many bindings: the budget is 5 µs a message with 100,000 bindings on one topic
//! exchange. Every message has another routing key than the one before, so that no route is remembered; its delivery to a
//! consumer is included. Times are per batch of `BATCH` messages.

#[path = "../tests/core/mod.rs"]
mod core;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use leveret::amqp::{AMQPClass, AMQPValue, Command, FieldTable, Message, basic, exchange, queue};
use leveret::broker::ConnectionId;

use crate::core::{Core, publish};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 1000;
const QUEUES: usize = 100;
const CONNECTION: ConnectionId = ConnectionId(0);

fn main() {
    divan::main();
}

/// A broker with an exchange `x` and queues that are read at once.
struct World(Core);

impl World {
    fn new(kind: &str, arguments: FieldTable) -> Self {
        let mut world = Self(Core::new(1));
        let declare = exchange::Declare { exchange: "x".into(), kind: kind.into(), arguments, ..exchange::Declare::default() };
        world.method(AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)));
        for n in 0..QUEUES {
            let declare = queue::Declare { queue: queue_name(n).into(), ..queue::Declare::default() };
            world.method(AMQPClass::Queue(queue::AMQPMethod::Declare(declare)));
            let consume = basic::Consume { queue: queue_name(n).into(), no_ack: true, ..basic::Consume::default() };
            world.method(AMQPClass::Basic(basic::AMQPMethod::Consume(consume)));
        }
        world
    }

    fn method(&mut self, class: AMQPClass) {
        let refusal = self.0.method(CONNECTION, class);
        assert_eq!(refusal, None);
    }

    /// Binds one of the queues, in turn.
    fn bind(&mut self, n: usize, key: &str, arguments: FieldTable) {
        let (queue, exchange, routing_key) = (queue_name(n % QUEUES).into(), "x".into(), key.into());
        let bind = queue::Bind { queue, exchange, routing_key, nowait: true, arguments };
        self.method(AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
    }

    /// Measures messages with these keys, in an order that is neither theirs nor any other.
    fn measure(mut self, bencher: Bencher<'_, '_>, keys: &[String], properties: &[u8]) {
        let mut next = 0;
        let batch = move || {
            let messages = (0..BATCH).map(|_| {
                next = (next + 7919) % keys.len();
                publish(Message::new(b"x", keys[next].as_bytes(), properties, &[7; 16]))
            });
            messages.collect::<Vec<Command>>()
        };
        bencher.counter(ItemsCount::new(BATCH)).with_inputs(batch).bench_local_values(|batch| self.0.publish(CONNECTION, batch));
        assert!(black_box(self.0.sent) > 0, "nothing was delivered");
    }
}

fn queue_name(n: usize) -> String {
    format!("q{n:02}")
}

/// delivery_mode 1 and nothing else.
const PLAIN: &[u8] = &[0x10, 0, 1];

/// Literal keys, `*` and `#` at the front, in the middle and at the end, all mixed.
#[divan::bench(args = [1_000, 100_000])]
fn topic(bencher: Bencher<'_, '_>, bindings: usize) {
    let mut world = World::new("topic", FieldTable::default());
    let mut keys = Vec::new();
    for n in 0..bindings {
        let (site, device) = (n % 50, format!("device{n:06}"));
        let pattern = match n % 8 {
            0..=2 => format!("site{site}.{device}.temperature"),
            3 => format!("site{site}.{device}.*"),
            4 => format!("*.{device}.temperature"),
            5 => format!("site{site}.{device}.#"),
            6 => format!("#.{device}.*"),
            _ => format!("*.{device}.#.temperature"),
        };
        world.bind(n, &pattern, FieldTable::default());
        keys.push(format!("site{site}.{device}.temperature"));
    }
    world.measure(bencher, &keys, PLAIN);
}

/// 27 patterns match each message, all for the same queue, and many more begin to: what the exchange costs without deliveries.
#[divan::bench]
fn topic_with_overlapping_patterns(bencher: Bencher<'_, '_>) {
    let mut world = World::new("topic", FieldTable::default());
    let mut keys = Vec::new();
    for a in 0..46 {
        for b in 0..46 {
            for c in 0..46 {
                let word = |letter: char, value: usize| match value {
                    0 => "*".to_owned(),
                    1 => "#".to_owned(),
                    other => format!("{letter}{other}"),
                };
                world.bind(0, &format!("{}.{}.{}", word('a', a), word('b', b), word('c', c)), FieldTable::default());
                keys.push(format!("a{a}.b{b}.c{c}"));
            }
        }
    }
    world.measure(bencher, &keys, PLAIN);
}

#[divan::bench(args = [1_000, 100_000])]
fn direct(bencher: Bencher<'_, '_>, bindings: usize) {
    let mut world = World::new("direct", FieldTable::default());
    let keys: Vec<String> = (0..bindings).map(|n| format!("device{n:06}.temperature")).collect();
    for (n, key) in keys.iter().enumerate() {
        world.bind(n, key, FieldTable::default());
    }
    world.measure(bencher, &keys, PLAIN);
}

/// A hundred bindings with two headers each, of which a message matches one.
#[divan::bench]
fn headers(bencher: Bencher<'_, '_>) {
    let mut world = World::new("headers", FieldTable::default());
    for n in 0..100 {
        let mut arguments = FieldTable::default();
        arguments.insert("region".into(), AMQPValue::LongString("eu".into()));
        arguments.insert("device".into(), AMQPValue::LongInt(n));
        world.bind(usize::try_from(n).unwrap_or_default(), "", arguments);
    }
    let mut table = Vec::new();
    table.extend_from_slice(b"\x06regionS\x00\x00\x00\x02eu");
    table.extend_from_slice(b"\x06deviceI\x00\x00\x00\x2A");
    let mut properties = vec![0x20, 0];
    properties.extend_from_slice(&u32::try_from(table.len()).unwrap_or_default().to_be_bytes());
    properties.extend_from_slice(&table);
    world.measure(bencher, &["k".to_owned()], &properties);
}

/// A hundred queues of the same weight.
#[divan::bench]
fn consistent_hash(bencher: Bencher<'_, '_>) {
    let mut world = World::new("x-consistent-hash", FieldTable::default());
    for n in 0..QUEUES {
        world.bind(n, "1", FieldTable::default());
    }
    let keys: Vec<String> = (0..100_000).map(|n| format!("order-{n}")).collect();
    world.measure(bencher, &keys, PLAIN);
}
