//! What the loop of a virtual host costs per publish, delivery and ack, without sockets: the budget is 300 ns for a
//! publish with its delivery and 100 ns for an ack. Times are per batch of `BATCH` messages.

#[path = "../tests/core/mod.rs"]
mod core;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use leveret::amqp::{AMQPClass, AMQPValue, Command, FieldTable, Message, basic, exchange, queue};
use leveret::broker::{ConnectionId, Input};

use crate::core::{Core, publish};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 1000;
const PUBLISHER: ConnectionId = ConnectionId(0);
const CONSUMER: ConnectionId = ConnectionId(1);

fn main() {
    divan::main();
}

/// A broker whose sockets take everything at once.
struct World {
    core: Core,
    acked: u64,
}

impl World {
    fn new() -> Self {
        Self { core: Core::new(2), acked: 0 }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.core.handle(input);
    }

    fn method(&mut self, id: ConnectionId, class: AMQPClass) {
        let refusal = self.core.method(id, class);
        assert_eq!(refusal, None);
    }

    fn queue(&mut self, name: &str) {
        self.queue_with(name, FieldTable::default());
    }

    fn queue_with(&mut self, name: &str, arguments: FieldTable) {
        let refusal = self.core.queue(PUBLISHER, name, arguments);
        assert_eq!(refusal, None);
    }

    fn exchange(&mut self, name: &str, kind: &str) {
        let declare = exchange::Declare {
            exchange: name.into(),
            kind: kind.into(),
            passive: false,
            durable: false,
            auto_delete: false,
            internal: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.method(PUBLISHER, AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)));
    }

    fn bind(&mut self, queue: &str, exchange: &str, key: &str) {
        let bind = queue::Bind {
            queue: queue.into(),
            exchange: exchange.into(),
            routing_key: key.into(),
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.method(PUBLISHER, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
    }

    fn consume(&mut self, queue: &str, no_ack: bool) {
        let consume = basic::Consume {
            queue: queue.into(),
            consumer_tag: queue.into(),
            no_local: false,
            no_ack,
            exclusive: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.method(CONSUMER, AMQPClass::Basic(basic::AMQPMethod::Consume(consume)));
    }

    fn cancel(&mut self, tag: &str) {
        let cancel = basic::Cancel { consumer_tag: tag.into(), nowait: true };
        self.method(CONSUMER, AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)));
    }

    fn publish(&mut self, batch: Vec<Command>) {
        self.core.publish(PUBLISHER, batch);
    }

    fn ack(&mut self, count: usize, multiple: bool) {
        let count = count as u64;
        let mut acks = if multiple {
            vec![Command::Ack { channel: 1, delivery_tag: self.acked + count, multiple }]
        } else {
            (1..=count).map(|n| Command::Ack { channel: 1, delivery_tag: self.acked + n, multiple }).collect()
        };
        self.acked += count;
        self.handle(Input::Received(CONSUMER, &mut acks));
    }
}

/// delivery_mode 1 and nothing else.
const PROPERTIES: &[u8] = &[0x10, 0, 1];

fn batch(exchange: &str, keys: &[String], body: &[u8]) -> Vec<Command> {
    (0..BATCH).map(|i| publish(Message::new(exchange.as_bytes(), keys[i % keys.len()].as_bytes(), PROPERTIES, body))).collect()
}

/// One publish and one delivery without ack, 16 bytes and 1 KiB.
#[divan::bench(args = [16, 1024])]
fn publish_and_deliver(bencher: Bencher<'_, '_>, size: usize) {
    let mut world = World::new();
    world.queue("q");
    world.consume("q", true);
    let (keys, body) = (["q".to_owned()], vec![7; size]);
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(|| batch("", &keys, &body)).bench_local_values(|b| world.publish(b));
    black_box(world.core.sent);
}

/// The same, and an ack for every message.
#[divan::bench]
fn publish_deliver_and_ack_each(bencher: Bencher<'_, '_>) {
    let mut world = World::new();
    world.queue("q");
    world.consume("q", false);
    let keys = ["q".to_owned()];
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(|| batch("", &keys, &[7; 16])).bench_local_values(|b| {
        world.publish(b);
        world.ack(BATCH, false);
    });
}

/// The same, and one ack for all.
#[divan::bench]
fn publish_deliver_and_ack_multiple(bencher: Bencher<'_, '_>) {
    let mut world = World::new();
    world.queue("q");
    world.consume("q", false);
    let keys = ["q".to_owned()];
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(|| batch("", &keys, &[7; 16])).bench_local_values(|b| {
        world.publish(b);
        world.ack(BATCH, true);
    });
}

/// A fanout exchange to ten queues with a consumer each: ten deliveries an item.
#[divan::bench]
fn fanout_to_ten(bencher: Bencher<'_, '_>) {
    let mut world = World::new();
    world.exchange("x", "fanout");
    for i in 0..10 {
        let name = format!("q{i}");
        world.queue(&name);
        world.bind(&name, "x", "");
        world.consume(&name, true);
    }
    let keys = ["k".to_owned()];
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(|| batch("x", &keys, &[7; 16])).bench_local_values(|b| world.publish(b));
}

/// A topic exchange with this many bindings, wildcards in all of them, and keys that change with every message.
#[divan::bench(args = [100, 10_000, 100_000])]
fn topic(bencher: Bencher<'_, '_>, bindings: usize) {
    let mut world = World::new();
    world.exchange("x", "topic");
    for i in 0..10 {
        world.queue(&format!("q{i}"));
        world.consume(&format!("q{i}"), true);
    }
    let mut keys = Vec::new();
    for i in 0..bindings {
        let pattern = match i % 4 {
            0 => format!("k{i:06}.*.end"),
            1 => format!("k{i:06}.#"),
            2 => format!("*.m{i:06}.#"),
            _ => format!("#.k{i:06}.*.end"),
        };
        world.bind(&format!("q{}", i % 10), "x", &pattern);
        keys.push(if i % 4 == 2 { format!("k.m{i:06}.end") } else { format!("k{i:06}.mid.end") });
    }
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(|| batch("x", &keys, &[7; 16])).bench_local_values(|b| world.publish(b));
}

/// The queues of the benches below: what they are declared with.
fn arguments_of(kind: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    let text = |text: &str| AMQPValue::LongString(text.as_bytes().into());
    let (name, value) = match kind {
        "ttl" => ("x-message-ttl", AMQPValue::LongInt(60_000)),
        "dead-letter exchange" => ("x-dead-letter-exchange", text("amq.fanout")),
        "10 priorities" => ("x-max-priority", AMQPValue::LongInt(10)),
        "single active consumer" => ("x-single-active-consumer", AMQPValue::Boolean(true)),
        "quorum" | "stream" => ("x-queue-type", text(kind)),
        _ => return arguments,
    };
    arguments.insert(name.into(), value);
    arguments
}

const KINDS: [&str; 7] = ["plain", "ttl", "dead-letter exchange", "10 priorities", "single active consumer", "quorum", "stream"];

/// Messages with a priority from 0 to 9 each.
fn batch_with_priorities() -> Vec<Command> {
    let message = |i: usize| {
        let properties = [0x18, 0, 1, u8::try_from(i % 10).expect("a digit")];
        Message::new(b"", b"q", &properties, &[7; 16])
    };
    (0..BATCH).map(|i| publish(message(i))).collect()
}

fn world_with(kind: &str) -> World {
    let mut world = World::new();
    world.queue_with("q", arguments_of(kind));
    world.handle(Input::Received(CONSUMER, &mut vec![Command::Qos { channel: 1, prefetch_size: 0, prefetch_count: 2000, global: false }]));
    world
}

/// A queue of each kind that is never longer than a moment: publish, delivery, one ack for all.
#[divan::bench(args = KINDS)]
fn straight_through(bencher: Bencher<'_, '_>, kind: &str) {
    let mut world = world_with(kind);
    world.consume("q", false);
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(batch_with_priorities).bench_local_values(|b| {
        world.publish(b);
        world.ack(BATCH, true);
    });
}

/// A queue of each kind that takes a batch first, and gives it to a consumer that comes then.
#[divan::bench(args = ["plain", "ttl", "dead-letter exchange", "10 priorities", "single active consumer", "quorum"])]
fn filled_and_drained(bencher: Bencher<'_, '_>, kind: &str) {
    let mut world = world_with(kind);
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(batch_with_priorities).bench_local_values(|b| {
        world.publish(b);
        world.consume("q", false);
        world.ack(BATCH, true);
        world.cancel("q");
    });
}

/// Publish, delivery, a reject for each, and what a dead-letter exchange makes of it: a new message in another queue.
#[divan::bench]
fn rejected_and_dead_lettered(bencher: Bencher<'_, '_>) {
    let mut world = world_with("dead-letter exchange");
    world.consume("q", false);
    world.queue("dead");
    world.bind("dead", "amq.fanout", "");
    world.consume("dead", true);
    let keys = ["q".to_owned()];
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(|| batch("", &keys, &[7; 16])).bench_local_values(|b| {
        world.publish(b);
        // A tag goes to each of the two deliveries of a message; the rejected ones come first.
        let first = world.acked;
        let mut nack = vec![Command::Nack { channel: 1, delivery_tag: first + BATCH as u64, multiple: true, requeue: false }];
        world.acked += 2 * BATCH as u64;
        world.handle(Input::Received(CONSUMER, &mut nack));
    });
}

/// What management asks for: all of 10,000 queues, with a message each.
#[divan::bench]
fn views_of_queues(bencher: Bencher<'_, '_>) {
    let mut world = World::new();
    let names: Vec<String> = (0..10_000).map(|i| format!("q{i}")).collect();
    names.iter().for_each(|name| world.queue(name));
    names.chunks(BATCH).for_each(|names| world.publish(batch("", names, &[7; 16])));
    bencher.bench_local(|| world.core.broker.queue_views().len());
}

/// A reader comes to a stream of this length, at an offset in its middle, gets one message, and goes.
#[divan::bench(args = [1_000, 1_000_000])]
fn a_reader_comes_to_a_stream(bencher: Bencher<'_, '_>, length: usize) {
    let mut world = World::new();
    world.queue_with("q", arguments_of("stream"));
    let keys = ["q".to_owned()];
    for _ in 0..length / BATCH {
        world.publish(batch("", &keys, &[7; 16]));
    }
    world.handle(Input::Received(CONSUMER, &mut vec![Command::Qos { channel: 1, prefetch_size: 0, prefetch_count: 1, global: false }]));
    let middle = i64::try_from(length / 2).expect("small");
    bencher.bench_local(|| {
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), AMQPValue::LongLongInt(middle));
        let consume = basic::Consume { queue: "q".into(), consumer_tag: "q".into(), arguments, ..basic::Consume::default() };
        world.method(CONSUMER, AMQPClass::Basic(basic::AMQPMethod::Consume(consume)));
        world.ack(1, true);
        world.cancel("q");
    });
}
