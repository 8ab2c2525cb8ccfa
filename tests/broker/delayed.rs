//! What an administrator can do with delayed messages: list them and take them back.

use leveret::amqp::{AMQPClass, AMQPValue, FieldTable, Message, exchange, queue, table};
use leveret::broker::{ConnectionId, Input, Timestamp};

use crate::core::{Core, publish};

const CLIENT: ConnectionId = ConnectionId(0);

/// A broker with a delayed fanout exchange `x` and a queue `q` bound to it.
fn with_delays() -> Core {
    let mut core = Core::new(1);
    let mut arguments = FieldTable::default();
    arguments.insert("x-delayed-type".into(), AMQPValue::LongString("fanout".into()));
    let declare = exchange::Declare {
        exchange: "x".into(),
        kind: "x-delayed-message".into(),
        durable: true,
        arguments,
        ..exchange::Declare::default()
    };
    core.method(CLIENT, AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)));
    core.queue(CLIENT, "q", FieldTable::default());
    let bind = queue::Bind { queue: "q".into(), exchange: "x".into(), ..queue::Bind::default() };
    core.method(CLIENT, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
    core
}

fn publish_delayed(core: &mut Core, delay: i64, key: &str) {
    let mut headers = Vec::new();
    table::put(&mut headers, b"x-delay", table::Value::Int(delay));
    let mut properties = vec![0x20, 0];
    properties.extend_from_slice(&u32::try_from(headers.len()).expect("small").to_be_bytes());
    properties.extend_from_slice(&headers);
    core.publish(CLIENT, vec![publish(Message::new(b"x", key.as_bytes(), &properties, key.as_bytes()))]);
}

#[test]
fn delayed_messages_are_listed_by_when_they_are_due() {
    let mut core = with_delays();
    publish_delayed(&mut core, 300, "late");
    publish_delayed(&mut core, 100, "early");
    let listed = core.broker.delayed_snapshots("x");
    let shown: Vec<(u64, &str, usize)> = listed.iter().map(|d| (d.due.0 - core.now.0, d.routing_key.as_str(), d.body_len)).collect();
    assert_eq!(shown, [(100, "early", 5), (300, "late", 4)]);
    assert_eq!(core.broker.delayed_snapshots("no such exchange"), []);
}

#[test]
fn a_cancelled_message_never_comes_and_leaves_no_memory() {
    let mut core = with_delays();
    let before = core.broker.memory();
    publish_delayed(&mut core, 100, "kept");
    publish_delayed(&mut core, 100, "cancelled");
    let id = core.broker.delayed_snapshots("x")[1].id;
    core.handle(Input::CancelDelayed { exchange: "x", id });
    core.handle(Input::CancelDelayed { exchange: "x", id });
    assert_eq!(core.broker.delayed_snapshots("x").len(), 1);
    core.pass(100);
    assert_eq!(core.broker.queue_snapshots().remove(0).ready_bodies, [b"kept".to_vec()]);
    assert_eq!(core.broker.delayed_snapshots("x"), []);
    core.method(CLIENT, AMQPClass::Queue(queue::AMQPMethod::Purge(queue::Purge { queue: "q".into(), nowait: true })));
    assert_eq!(core.broker.memory(), before);
}

#[test]
fn the_next_deadline_is_that_of_the_earliest() {
    let mut core = with_delays();
    assert_eq!(core.broker.next_deadline(), None);
    publish_delayed(&mut core, 300, "late");
    publish_delayed(&mut core, 100, "early");
    assert_eq!(core.broker.next_deadline(), Some(Timestamp(core.now.0 + 100)));
    core.pass(100);
    assert_eq!(core.broker.next_deadline(), Some(Timestamp(core.now.0 + 200)));
}
