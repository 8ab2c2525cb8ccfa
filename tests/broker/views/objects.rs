//! Views of queues, exchanges, bindings, connections, channels, consumers and policies, field by field.

use amq_protocol::protocol::{AMQPClass, basic, queue};
use amq_protocol::types::{AMQPValue, FieldTable};
use leveret::broker::policy::{ApplyTo, Policy};
use leveret::broker::queue::QueueType;
use leveret::broker::view::{ActiveConsumer, ActivityStatus, BindingView, ConnectionState, DestinationKind};
use leveret::broker::{Alarms, Broker, ConnectionId, Input, Timestamp};
use serde_json::json;

use super::{plain, *};
use crate::core::{Core, publish};
use crate::properties::bench::table_of;

const ONE: ConnectionId = ConnectionId(0);
const OTHER: ConnectionId = ConnectionId(1);

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn policy(operator: bool, name: &str, value: &serde_json::Value) -> Policy {
    Policy::from_json(operator, name, value).expect("a policy")
}

/// A consumer on channel 1 of a connection.
fn consume(core: &mut Core, id: ConnectionId, queue: &str, tag: &str, arguments: FieldTable) {
    let consume = basic::Consume { queue: queue.into(), consumer_tag: tag.into(), arguments, ..basic::Consume::default() };
    assert_eq!(core.method(id, AMQPClass::Basic(basic::AMQPMethod::Consume(consume))), None);
}

fn declare(core: &mut Core, id: ConnectionId, declare: queue::Declare) {
    assert_eq!(core.method(id, AMQPClass::Queue(queue::AMQPMethod::Declare(declare))), None);
}

#[test]
fn what_a_queue_was_declared_with() {
    let mut core = Core::new(2);
    let arguments = table_of(&[("x-max-length", AMQPValue::LongInt(10)), ("custom", text("kept"))]);
    core.queue(ONE, "durable", arguments.clone());
    declare(&mut core, OTHER, queue::Declare { queue: "mine".into(), exclusive: true, auto_delete: true, ..queue::Declare::default() });
    core.queue(ONE, "quorum", table_of(&[("x-queue-type", text("quorum")), ("x-delivery-limit", AMQPValue::LongInt(7))]));
    let views = core.broker.queue_views();
    let names: Vec<&str> = views.iter().map(|view| &*view.name).collect();
    assert_eq!(names, ["durable", "mine", "quorum"]);
    let (durable, mine, quorum) = (&views[0], &views[1], &views[2]);
    assert_eq!((durable.durable, durable.auto_delete, durable.owner, durable.kind), (true, false, None, QueueType::Classic));
    assert_eq!((&durable.arguments, durable.delivery_limit), (&arguments, None));
    assert_eq!((mine.durable, mine.auto_delete, mine.owner), (false, true, Some(OTHER)));
    assert_eq!((quorum.kind, quorum.delivery_limit), (QueueType::Quorum, Some(7)));
    assert!(durable.stream.is_none() && durable.policy.is_none());
    assert_eq!(core.broker.queue_view("durable").as_ref(), Some(durable));
    assert_eq!(core.broker.queue_view("no such queue"), None);
}

/// Ready and unacked, in messages and bytes; what they take of memory.
#[test]
fn what_is_in_a_queue() {
    let mut bench = Bench::new();
    bench.declare("q", &[]);
    let empty = bench.queue("q").memory;
    bench.pass(5);
    bench.publish("q", plain().with_timestamp(1_234_567_890), b"12345");
    bench.publish("q", plain(), b"123");
    let view = bench.queue("q");
    assert_eq!((view.ready.messages, view.ready.bytes, view.unacked.messages), (2, 8, 0));
    assert_eq!(view.head_timestamp, Some(1_234_567_890));
    assert_eq!(view.idle_since, Timestamp(bench.now));
    assert!(view.memory > empty + 8, "{} with two messages, {empty} without", view.memory);
    bench.pass(5);
    assert_eq!(bench.queue("q").idle_since, Timestamp(bench.now - 5));
    let got = bench.get("q", false).expect("a message");
    let view = bench.queue("q");
    assert_eq!((view.ready.messages, view.ready.bytes), (1, 3));
    assert_eq!((view.unacked.messages, view.unacked.bytes), (1, 5));
    assert_eq!((view.total().messages, view.total().bytes), (2, 8));
    assert_eq!((view.in_memory, view.paged_out.messages, view.head_timestamp), (view.total(), 0, None));
    assert_eq!(view.idle_since, Timestamp(bench.now));
    bench.pass(5);
    bench.ack(got.tag);
    assert_eq!((bench.queue("q").unacked.messages, bench.queue("q").idle_since), (0, Timestamp(bench.now)));
    // Nothing survives where nothing is written down.
    bench.publish("q", persistent(), b"m");
    assert_eq!(bench.queue("q").persistent.messages, 0);
}

#[test]
fn streams() {
    let mut bench = Bench::new();
    bench.declare("s", &[("x-queue-type", text("stream"))]);
    bench.publish("s", plain(), b"12");
    bench.publish("s", plain(), b"345");
    bench.qos(10);
    bench.consume("s", "reader", &[("x-stream-offset", text("first"))]);
    let view = bench.queue("s");
    let stream = view.stream.expect("a stream");
    assert_eq!((stream.first_offset, stream.next_offset, stream.segments, stream.readers), (0, 2, 1, 1));
    assert_eq!((view.ready.messages, view.ready.bytes, view.unacked.messages), (2, 5, 0));
    // What is delivered is still there.
    assert_eq!((view.total().messages, view.in_memory.messages, view.in_memory.bytes), (2, 2, 5));
    assert_eq!((bench.broker.consumer_views()[0].unacked, bench.channel().unacked), (2, 2));
    assert_eq!((view.counters.publish, view.counters.deliver, bench.broker.totals().queues.of(QueueType::Stream).deliver), (2, 2, 2));
}

/// The names of what applies, and what it sets, for queues and exchanges alike, as it changes.
#[test]
fn policies() {
    let mut bench = Bench::new();
    bench.declare("early", &[]);
    bench.set_policy(false, policy(false, "low", &json!({ "pattern": "", "definition": { "max-length": 9, "expires": 9000 } })));
    let value = json!({ "pattern": "^late", "priority": 3, "apply-to": "queues", "definition": { "max-length": 5 } });
    bench.set_policy(false, policy(false, "high", &value));
    let bound = json!({ "pattern": "", "apply-to": "queues", "definition": { "max-length": 7, "message-ttl": 100 } });
    bench.set_policy(true, policy(true, "bound", &bound));
    bench.declare("late", &[]);
    let applied = |bench: &Bench, queue: &str| {
        let applied = bench.queue(queue).policy.expect("policies");
        let values: Vec<String> = applied.definition.values().iter().map(|(key, value)| format!("{key}={value}")).collect();
        (applied.policy.as_deref().map(str::to_owned), applied.operator_policy.as_deref().map(str::to_owned), values.join(" "))
    };
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(applied(&bench, "early"), (named("low"), named("bound"), "expires=9000 max-length=7 message-ttl=100".to_owned()));
    assert_eq!(applied(&bench, "late"), (named("high"), named("bound"), "max-length=5 message-ttl=100".to_owned()));
    let of_exchange = |bench: &Bench| bench.broker.exchange_view("amq.direct").expect("an exchange").policy;
    let on_exchange = of_exchange(&bench).expect("a policy");
    assert_eq!((on_exchange.policy.as_deref(), on_exchange.operator_policy.as_deref()), (Some("low"), None));
    bench.input(Input::ClearPolicy { operator: false, name: "high", user: "guest" });
    assert_eq!(applied(&bench, "late").0, named("low"));
    bench.input(Input::ClearPolicy { operator: false, name: "low", user: "guest" });
    assert_eq!(applied(&bench, "late"), (None, named("bound"), "max-length=7 message-ttl=100".to_owned()));
    assert_eq!(of_exchange(&bench), None);
    assert_eq!(bench.broker.policy_views(false), []);
    bench.set_policy(false, policy(false, "high", &value));
    let users = bench.broker.policy_views(false);
    let [high] = users.as_slice() else { panic!("{users:?}") };
    assert_eq!((&*high.name, &*high.pattern, high.apply_to, high.priority), ("high", "^late", ApplyTo::Queues, 3));
    assert_eq!(high.definition.integer("max-length"), Some(5));
    assert_eq!(bench.broker.policy_views(true).len(), 1);
}

#[test]
fn all_exchanges_and_the_default_one() {
    let mut bench = Bench::new();
    bench.declare_exchange("x", "topic");
    let delayed = amq_protocol::protocol::exchange::Declare {
        exchange: "later".into(),
        kind: "x-delayed-message".into(),
        internal: true,
        auto_delete: true,
        arguments: table_of(&[("x-delayed-type", text("direct"))]),
        ..Default::default()
    };
    bench.method(AMQPClass::Exchange(amq_protocol::protocol::exchange::AMQPMethod::Declare(delayed)));
    let views = bench.broker.exchange_views();
    let names: Vec<(&str, &str)> = views.iter().map(|view| (&*view.name, view.kind.name())).collect();
    let expected = [
        ("", "direct"),
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
        ("amq.rabbitmq.trace", "topic"),
        ("amq.topic", "topic"),
        ("later", "x-delayed-message"),
        ("x", "topic"),
    ];
    assert_eq!(names, expected);
    let flags = |name: &str| {
        let view = bench.broker.exchange_view(name).expect("an exchange");
        (view.durable, view.auto_delete, view.internal, view.delayed)
    };
    assert_eq!(flags(""), (true, false, false, None));
    assert_eq!(flags("amq.rabbitmq.trace"), (true, false, true, None));
    assert_eq!(flags("later"), (false, true, true, Some(0)));
    assert_eq!(views[7].arguments.inner().len(), 1);
    assert_eq!(bench.broker.totals().objects.exchanges, views.len());
    assert_eq!(bench.broker.exchange_view("no such exchange"), None);
}

fn shown(bindings: &[BindingView]) -> Vec<String> {
    let show = |binding: &BindingView| {
        let kind = binding.destination_kind.name();
        format!("{} -{}-> {kind} {}", binding.source, binding.properties_key(), binding.destination)
    };
    bindings.iter().map(show).collect()
}

#[test]
fn bindings() {
    let mut bench = Bench::new();
    bench.declare_exchange("x", "topic");
    bench.declare_exchange("y", "fanout");
    bench.declare("q", &[]);
    bench.declare("r", &[]);
    bench.bind("q", "x", "a.#");
    bench.bind("q", "x", "");
    bench.bind("r", "y", "");
    bench.bind_exchange("y", "x", "b c~d");
    let x_to_q = ["x --> queue q", "x -a.%23-> queue q"].map(|binding| binding.replace("x -->", "x -~->"));
    let all = shown(&bench.broker.binding_views());
    let to_y = "x -b+c%7Ed-> exchange y".to_owned();
    let expected = [
        " -q-> queue q".to_owned(),
        " -r-> queue r".to_owned(),
        to_y.clone(),
        x_to_q[0].clone(),
        x_to_q[1].clone(),
        "y -~-> queue r".to_owned(),
    ];
    assert_eq!(all, expected);
    assert_eq!(shown(&bench.broker.bindings_of_queue("q")), [expected[0].clone(), x_to_q[0].clone(), x_to_q[1].clone()]);
    assert_eq!(shown(&bench.broker.bindings_of_queue("r")), [expected[1].clone(), expected[5].clone()]);
    assert_eq!(shown(&bench.broker.bindings_from("")), expected[..2]);
    assert_eq!(shown(&bench.broker.bindings_from("x")), [to_y.clone(), x_to_q[0].clone(), x_to_q[1].clone()]);
    assert_eq!(shown(&bench.broker.bindings_to("y")), [to_y]);
    for none in [bench.broker.bindings_to("x"), bench.broker.bindings_from("no"), bench.broker.bindings_of_queue("no")] {
        assert_eq!(none, []);
    }
    bench.delete("r");
    assert_eq!(bench.broker.binding_views().len(), 4);
}

/// Bindings that differ in their arguments alone have keys that differ.
#[test]
fn keys_of_bindings_with_arguments() {
    let binding = |key: &str, arguments: &[(&str, AMQPValue)]| BindingView {
        source: "x".into(),
        destination: "q".into(),
        destination_kind: DestinationKind::Queue,
        routing_key: key.into(),
        arguments: table_of(arguments),
    };
    let one = binding("k", &[("a", AMQPValue::LongInt(1))]).properties_key();
    let same = binding("k", &[("a", AMQPValue::LongInt(1))]).properties_key();
    let two = binding("k", &[("a", AMQPValue::LongInt(2))]).properties_key();
    let no_key = binding("", &[("a", AMQPValue::LongInt(1))]).properties_key();
    assert_eq!(one, same);
    assert_ne!(one, two);
    assert!(one.starts_with("k~") && one.len() == 2 + 16, "{one}");
    assert_eq!(no_key, one[1..]);
}

#[test]
fn connections() {
    let mut core = Core::new(2);
    let of = |broker: &Broker, id: ConnectionId| broker.connection_views().into_iter().find(|view| view.id == id).expect("a connection");
    let view = of(&core.broker, OTHER);
    assert_eq!((view.serial, &*view.user, view.frame_max, view.channel_max), (2, "guest", 131_072, 0));
    assert_eq!((view.channels, view.published, view.connected_at, view.pending), (1, false, core.now, 0));
    assert_eq!(view.state, ConnectionState::Running);
    core.broker.set_pending(OTHER, 17);
    assert_eq!(of(&core.broker, OTHER).pending, 17);
    // Who has not published will be blocked when it does.
    core.publish(ONE, vec![publish(leveret::amqp::Message::new(b"", b"nowhere", &[0, 0], b""))]);
    core.handle(Input::Alarms(Alarms { memory: true, disk: false }));
    assert_eq!((of(&core.broker, ONE).state, of(&core.broker, OTHER).state), (ConnectionState::Blocked, ConnectionState::Blocking));
    assert!(of(&core.broker, ONE).published);
    core.handle(Input::Alarms(Alarms::default()));
    core.handle(Input::Shutdown("bye"));
    assert_eq!(of(&core.broker, ONE).state, ConnectionState::Closing);
    assert_eq!((of(&core.broker, ONE).channels, core.broker.totals().objects.connections), (0, 2));
    core.handle(Input::Disconnected(ONE));
    assert_eq!(core.broker.connection_views().len(), 1);
}

#[test]
fn channels() {
    let mut core = Core::new(2);
    core.queue(ONE, "q", FieldTable::default());
    for (prefetch_count, global) in [(3, false), (5, true)] {
        core.handle(Input::Received(ONE, &mut vec![leveret::amqp::Command::Qos { channel: 1, prefetch_size: 0, prefetch_count, global }]));
    }
    consume(&mut core, ONE, "q", "c", FieldTable::default());
    core.pass(50);
    core.publish(OTHER, vec![publish(leveret::amqp::Message::new(b"", b"q", &[0, 0], b"m"))]);
    let views = core.broker.channel_views();
    let [one, other] = views.as_slice() else { panic!("{views:?}") };
    assert_eq!((one.connection, one.number, other.connection, other.number), (ONE, 1, OTHER, 1));
    assert_eq!((one.prefetch_count, one.global_prefetch_count, one.consumer_count, one.unacked), (3, 5, 1, 1));
    assert_eq!((other.prefetch_count, other.consumer_count, other.confirm, other.transactional), (0, 0, false, false));
    assert_eq!((one.idle_since, other.idle_since), (core.now, core.now), "one was given something, the other has published");
    assert_eq!((one.counters.deliver, other.counters.publish), (1, 1));
    core.pass(50);
    core.publish(OTHER, vec![publish(leveret::amqp::Message::new(b"", b"nowhere", &[0, 0], b"m"))]);
    let views = core.broker.channel_views();
    assert_eq!((views[0].idle_since.after(50), views[1].idle_since), (core.now, core.now));
    assert_eq!((core.broker.totals().objects.channels, core.broker.totals().objects.publishers), (2, 1));
}

#[test]
fn consumers() {
    let mut core = Core::new(2);
    core.queue(ONE, "many", FieldTable::default());
    core.queue(ONE, "single", table_of(&[("x-single-active-consumer", AMQPValue::Boolean(true))]));
    declare(&mut core, ONE, queue::Declare { queue: "alone".into(), exclusive: true, ..queue::Declare::default() });
    let arguments = table_of(&[("x-priority", AMQPValue::LongInt(4)), ("custom", text("kept"))]);
    core.handle(Input::Received(
        ONE,
        &mut vec![leveret::amqp::Command::Qos { channel: 1, prefetch_size: 0, prefetch_count: 9, global: false }],
    ));
    consume(&mut core, ONE, "many", "b", arguments.clone());
    consume(&mut core, ONE, "many", "a", FieldTable::default());
    consume(&mut core, OTHER, "single", "first", FieldTable::default());
    consume(&mut core, ONE, "single", "second", FieldTable::default());
    let exclusive = basic::Consume { queue: "alone".into(), consumer_tag: "e".into(), exclusive: true, no_ack: true, ..Default::default() };
    core.method(ONE, AMQPClass::Basic(basic::AMQPMethod::Consume(exclusive)));
    core.publish(OTHER, vec![publish(leveret::amqp::Message::new(b"", b"single", &[0, 0], b"m"))]);
    let views = core.broker.consumer_views();
    let order: Vec<(&str, &str)> = views.iter().map(|view| (&*view.queue, &*view.tag)).collect();
    assert_eq!(order, [("alone", "e"), ("many", "a"), ("many", "b"), ("single", "second"), ("single", "first")]);
    let [alone, a, b, second, first] = views.as_slice() else { panic!("{views:?}") };
    assert_eq!((alone.exclusive, alone.ack_required, a.exclusive, a.ack_required), (true, false, false, true));
    assert_eq!((b.priority, &b.arguments, a.priority, a.prefetch, first.prefetch), (4, &arguments, 0, 9, 0));
    assert_eq!((b.connection, b.channel, first.connection), (ONE, 1, OTHER));
    let statuses = [a.status, first.status, second.status];
    assert_eq!(statuses, [ActivityStatus::Up, ActivityStatus::SingleActive, ActivityStatus::Waiting]);
    assert_eq!([a.is_active(), first.is_active(), second.is_active()], [true, true, false]);
    assert_eq!((first.unacked, second.unacked), (1, 0));
    let queue = core.broker.queue_view("single").expect("a queue");
    assert_eq!(queue.active_consumer, Some(ActiveConsumer { tag: "first".into(), connection: OTHER, channel: 1 }));
    assert_eq!((queue.consumers, queue.exclusive_consumer), (2, None));
    assert_eq!(core.broker.queue_view("alone").expect("a queue").exclusive_consumer.as_deref(), Some("e"));
    assert_eq!(core.broker.totals().objects.consumers, 5);
}

/// What is shown is what consumers would get, and it stays where it is.
#[test]
fn a_look_at_messages() {
    let mut bench = Bench::new();
    bench.declare("q", &[("x-max-priority", AMQPValue::LongInt(5))]);
    let memory = bench.broker.memory();
    bench.publish("q", plain(), b"low");
    bench.publish("q", plain().with_priority(3).with_message_id("id".into()), b"high");
    bench.publish("q", plain(), &[7; 10_000]);
    let got = bench.get("q", false).expect("a message");
    bench.reject(got.tag, true);
    let peek = bench.broker.peek("q", 2, 0).expect("a queue");
    let shown: Vec<(&[u8], bool, u64)> = peek.messages.iter().map(|m| (m.message.small_body(), m.redelivered, m.position)).collect();
    assert_eq!((shown, peek.on_disk), (vec![(b"high".as_slice(), true, 1), (b"low".as_slice(), false, 0)], 0));
    assert_eq!((peek.messages[0].message.exchange(), peek.messages[0].message.routing_key()), (b"".as_slice(), b"q".as_slice()));
    assert_eq!(peek.messages[0].message.properties().message_id(), Some(b"id".as_slice()));
    let rest = bench.broker.peek("q", 10, 2).expect("a queue");
    assert_eq!((rest.messages.len(), rest.messages[0].message.body_len()), (1, 10_000));
    assert!(bench.broker.peek("no such queue", 1, 0).is_none());
    assert_eq!((bench.queue("q").ready.messages, bench.counted("q").get), (3, 1));
    // What was shown keeps nothing in the broker's account of memory.
    bench.purge("q");
    drop((peek, rest));
    assert_eq!(bench.broker.memory(), memory);
}

#[test]
fn a_look_into_a_stream() {
    let mut bench = Bench::new();
    bench.declare("s", &[("x-queue-type", text("stream"))]);
    (0..5u8).for_each(|body| drop(bench.publish("s", plain(), &[body])));
    let peek = bench.broker.peek("s", 2, 3).expect("a stream");
    let shown: Vec<(u64, &[u8])> = peek.messages.iter().map(|peeked| (peeked.position, peeked.message.small_body())).collect();
    assert_eq!(shown, [(3, [3].as_slice()), (4, [4].as_slice())]);
    let offset = peek.messages[0].message.properties().header("x-stream-offset");
    assert_eq!(offset, Some(leveret::amqp::table::Value::Int(3)));
}
