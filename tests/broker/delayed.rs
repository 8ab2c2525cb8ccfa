//! What an administrator can do with delayed messages: list them and take them back.

use std::sync::Arc;

use leveret::amqp::{AMQPClass, AMQPValue, Command, FieldTable, Message, Method, Publish, channel, exchange, queue, table};
use leveret::broker::{Broker, Capabilities, ConnectionId, Effects, Input, Opened, Settings, Timestamp};

const CLIENT: ConnectionId = ConnectionId(0);

struct World {
    broker: Broker,
    effects: Effects,
    now: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self { broker: Broker::new("/", Arc::new(Settings::default()), 1), effects: Effects::default(), now: 1_000_000 };
        let opened = Opened {
            user: "guest".into(),
            capabilities: Capabilities::default(),
            frame_max: 131_072,
            channel_max: 0,
            origin: Box::default(),
        };
        world.handle(Input::Connected(CLIENT, opened));
        world.method(AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
        let mut arguments = FieldTable::default();
        arguments.insert("x-delayed-type".into(), AMQPValue::LongString("fanout".into()));
        world.method(AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
            exchange: "x".into(),
            kind: "x-delayed-message".into(),
            passive: false,
            durable: true,
            auto_delete: false,
            internal: false,
            nowait: true,
            arguments,
        })));
        world.method(AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
            queue: "q".into(),
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            nowait: true,
            arguments: FieldTable::default(),
        })));
        world.method(AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
            queue: "q".into(),
            exchange: "x".into(),
            routing_key: "".into(),
            nowait: true,
            arguments: FieldTable::default(),
        })));
        world
    }

    fn handle(&mut self, input: Input<'_>) {
        self.broker.handle(Timestamp(self.now), input, &mut self.effects);
        self.effects.drain_outputs(|_, _| {});
    }

    fn method(&mut self, class: AMQPClass) {
        let method = Method { class_method: (0, 0), class };
        self.handle(Input::Received(CLIENT, &mut vec![Command::Method(1, Box::new(method))]));
    }

    fn publish(&mut self, delay: i64, key: &str) {
        let mut headers = Vec::new();
        table::put(&mut headers, b"x-delay", table::Value::Int(delay));
        let mut properties = vec![0x20, 0];
        properties.extend_from_slice(&u32::try_from(headers.len()).expect("small").to_be_bytes());
        properties.extend_from_slice(&headers);
        let message = Message::new(b"x", key.as_bytes(), &properties, key.as_bytes());
        let publish = Publish { mandatory: false, immediate: false, oversize: None, message };
        self.handle(Input::Received(CLIENT, &mut vec![Command::Publish(1, publish)]));
    }

    fn ready(&self) -> Vec<Vec<u8>> {
        self.broker.queue_snapshots().remove(0).ready_bodies
    }
}

#[test]
fn delayed_messages_are_listed_by_when_they_are_due() {
    let mut world = World::new();
    world.publish(300, "late");
    world.publish(100, "early");
    let listed = world.broker.delayed_snapshots("x");
    let shown: Vec<(u64, &str, usize)> = listed.iter().map(|d| (d.due.0 - world.now, d.routing_key.as_str(), d.body_len)).collect();
    assert_eq!(shown, [(100, "early", 5), (300, "late", 4)]);
    assert_eq!(world.broker.delayed_snapshots("no such exchange"), []);
}

#[test]
fn a_cancelled_message_never_comes_and_leaves_no_memory() {
    let mut world = World::new();
    let before = world.broker.memory();
    world.publish(100, "kept");
    world.publish(100, "cancelled");
    let id = world.broker.delayed_snapshots("x")[1].id;
    world.handle(Input::CancelDelayed { exchange: "x", id });
    world.handle(Input::CancelDelayed { exchange: "x", id });
    assert_eq!(world.broker.delayed_snapshots("x").len(), 1);
    world.now += 100;
    world.handle(Input::Tick);
    assert_eq!(world.ready(), [b"kept".to_vec()]);
    assert_eq!(world.broker.delayed_snapshots("x"), []);
    world.method(AMQPClass::Queue(queue::AMQPMethod::Purge(queue::Purge { queue: "q".into(), nowait: true })));
    assert_eq!(world.broker.memory(), before);
}

#[test]
fn the_next_deadline_is_that_of_the_earliest() {
    let mut world = World::new();
    assert_eq!(world.broker.next_deadline(), None);
    world.publish(300, "late");
    world.publish(100, "early");
    assert_eq!(world.broker.next_deadline(), Some(Timestamp(world.now + 100)));
    world.now += 100;
    world.handle(Input::Tick);
    assert_eq!(world.broker.next_deadline(), Some(Timestamp(world.now + 200)));
}
