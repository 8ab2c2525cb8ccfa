//! Every argument of the wrong type, sign, size or combination, with RabbitMQ's text (behaviour Q10, Q11, X10, X16, X17, B13), as one
//! table. After each refusal nothing is there: no queue, no exchange, no binding, no consumer, no byte.

use leveret::amqp::{AMQPClass, AMQPValue, Command, FieldArray, FieldTable, basic, channel, exchange, queue};
use leveret::broker::{ConnectionId, Input};

use crate::core::Core;

const CLIENT: ConnectionId = ConnectionId(0);

struct World(Core);

impl World {
    fn new() -> Self {
        Self(Core::new(1))
    }

    /// The text of the refusal, if there was one.
    fn method(&mut self, class: AMQPClass) -> Option<String> {
        self.0.method(CLIENT, class)
    }

    fn declare_queue(&mut self, name: &str, arguments: FieldTable) -> Option<String> {
        self.0.queue(CLIENT, name, arguments)
    }

    fn declare_exchange(&mut self, name: &str, kind: &str, arguments: FieldTable) -> Option<String> {
        self.method(AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
            exchange: name.into(),
            kind: kind.into(),
            durable: true,
            arguments,
            ..exchange::Declare::default()
        })))
    }

    fn bind(&mut self, exchange: &str, key: &str, arguments: FieldTable) -> Option<String> {
        self.method(AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
            queue: "q".into(),
            exchange: exchange.into(),
            routing_key: key.into(),
            arguments,
            ..queue::Bind::default()
        })))
    }

    fn consume(&mut self, arguments: FieldTable) -> Option<String> {
        let qos = Command::Qos { channel: 1, prefetch_size: 0, prefetch_count: 10, global: false };
        self.0.handle(Input::Received(CLIENT, &mut vec![qos]));
        self.method(AMQPClass::Basic(basic::AMQPMethod::Consume(basic::Consume {
            queue: "q".into(),
            consumer_tag: "t".into(),
            arguments,
            ..basic::Consume::default()
        })))
    }
}

/// A value as the tables below write it: `5`, `-1`, `"text"`, `true`, `1.5`, `void`, `[]`, `{}`, `@5` (a timestamp).
fn value(text: &str) -> AMQPValue {
    match text {
        "true" => AMQPValue::Boolean(true),
        "void" => AMQPValue::Void,
        "[]" => AMQPValue::FieldArray(FieldArray::default()),
        "{}" => AMQPValue::FieldTable(FieldTable::default()),
        _ if text.starts_with('"') => AMQPValue::LongString(text.trim_matches('"').as_bytes().into()),
        _ if text.starts_with('@') => AMQPValue::Timestamp(text[1..].parse().expect("seconds")),
        _ if text.contains('.') => AMQPValue::Double(text.parse().expect("a number")),
        _ => AMQPValue::LongLongInt(text.parse().expect("an integer")),
    }
}

fn arguments(text: &str) -> FieldTable {
    let mut table = FieldTable::default();
    for entry in text.split(", ").filter(|entry| !entry.is_empty()) {
        let (name, written) = entry.split_once('=').expect("name=value");
        table.insert(name.into(), value(written));
    }
    table
}

/// Arguments of queue.declare, and what follows `invalid arg 'NAME' for queue 'q' in vhost '/'`.
const QUEUES: &[(&str, &str, &str)] = &[
    ("x-message-ttl=-1", "x-message-ttl", ": {value_negative,-1}"),
    ("x-message-ttl=315360000001", "x-message-ttl", ": {value_too_large,315360000001}"),
    ("x-message-ttl=\"5\"", "x-message-ttl", ": \"expected integer, got longstr\""),
    ("x-message-ttl=true", "x-message-ttl", ": \"expected integer, got bool\""),
    ("x-message-ttl=1.5", "x-message-ttl", ": \"expected integer, got double\""),
    ("x-message-ttl=void", "x-message-ttl", ": \"expected integer, got void\""),
    ("x-message-ttl=[]", "x-message-ttl", ": \"expected integer, got array\""),
    ("x-message-ttl={}", "x-message-ttl", ": \"expected integer, got table\""),
    ("x-message-ttl=@5", "x-message-ttl", ": \"expected integer, got timestamp\""),
    ("x-expires=0", "x-expires", ": {value_zero,0}"),
    ("x-expires=-1", "x-expires", ": {value_negative,-1}"),
    ("x-expires=315360000001", "x-expires", ": {value_too_large,315360000001}"),
    ("x-expires=\"1\"", "x-expires", ": \"expected integer, got longstr\""),
    ("x-max-length=-1", "x-max-length", ": {value_negative,-1}"),
    ("x-max-length=true", "x-max-length", ": \"expected integer, got bool\""),
    ("x-max-length-bytes=-5", "x-max-length-bytes", ": {value_negative,-5}"),
    ("x-max-priority=-1", "x-max-priority", ": {value_negative,-1}"),
    ("x-max-priority=256", "x-max-priority", ": {max_value_exceeded,256}"),
    ("x-max-priority=\"5\"", "x-max-priority", ": \"expected integer, got longstr\""),
    ("x-overflow=\"drop\"", "x-overflow", ": invalid_overflow"),
    ("x-overflow=5", "x-overflow", ": {unacceptable_type,long}"),
    ("x-dead-letter-routing-key=\"k\"", "x-dead-letter-routing-key", ": routing_key_but_no_dlx_defined"),
    ("x-dead-letter-exchange=\"x\", x-dead-letter-routing-key=5", "x-dead-letter-routing-key", ": {unacceptable_type,long}"),
    ("x-single-active-consumer=1", "x-single-active-consumer", ": {unacceptable_type,long}"),
    ("x-queue-type=\"foo\"", "x-queue-type", ": \"unsupported queue type 'foo'\""),
    ("x-queue-type=5", "x-queue-type", ": {unacceptable_type,long}"),
    ("x-queue-mode=\"fast\"", "x-queue-mode", ": invalid_queue_mode"),
    ("x-queue-leader-locator=\"here\"", "x-queue-leader-locator", ": invalid_queue_locator_arg"),
    // Of another type of queue (behaviour Q10).
    ("x-max-age=\"7D\"", "x-max-age", " of queue type rabbit_classic_queue"),
    ("x-delivery-limit=5", "x-delivery-limit", " of queue type rabbit_classic_queue"),
    ("x-dead-letter-strategy=\"at-least-once\"", "x-dead-letter-strategy", " of queue type rabbit_classic_queue"),
    ("x-stream-max-segment-size-bytes=5", "x-stream-max-segment-size-bytes", " of queue type rabbit_classic_queue"),
    ("x-quorum-initial-group-size=3", "x-quorum-initial-group-size", " of queue type rabbit_classic_queue"),
    ("x-queue-type=\"quorum\", x-max-priority=5", "x-max-priority", " of queue type rabbit_quorum_queue"),
    ("x-queue-type=\"quorum\", x-max-age=\"7D\"", "x-max-age", " of queue type rabbit_quorum_queue"),
    ("x-queue-type=\"quorum\", x-queue-mode=\"lazy\"", "x-queue-mode", " of queue type rabbit_quorum_queue"),
    ("x-queue-type=\"stream\", x-message-ttl=5", "x-message-ttl", " of queue type rabbit_stream_queue"),
    ("x-queue-type=\"stream\", x-max-length=5", "x-max-length", " of queue type rabbit_stream_queue"),
    ("x-queue-type=\"stream\", x-expires=5", "x-expires", " of queue type rabbit_stream_queue"),
    ("x-queue-type=\"stream\", x-overflow=\"drop-head\"", "x-overflow", " of queue type rabbit_stream_queue"),
    ("x-queue-type=\"stream\", x-dead-letter-exchange=\"x\"", "x-dead-letter-exchange", " of queue type rabbit_stream_queue"),
    ("x-queue-type=\"stream\", x-single-active-consumer=true", "x-single-active-consumer", " of queue type rabbit_stream_queue"),
    // What only these types have.
    ("x-queue-type=\"quorum\", x-delivery-limit=\"5\"", "x-delivery-limit", ": \"expected integer, got longstr\""),
    ("x-queue-type=\"quorum\", x-quorum-initial-group-size=0", "x-quorum-initial-group-size", ": {value_zero,0}"),
    ("x-queue-type=\"quorum\", x-dead-letter-strategy=\"maybe\"", "x-dead-letter-strategy", ": invalid_dlx_strategy"),
    ("x-queue-type=\"quorum\", x-max-in-memory-length=-1", "x-max-in-memory-length", ": {value_negative,-1}"),
    ("x-queue-type=\"stream\", x-max-age=\"7X\"", "x-max-age", ": invalid_max_age"),
    ("x-queue-type=\"stream\", x-max-age=\"0s\"", "x-max-age", ": invalid_max_age"),
    ("x-queue-type=\"stream\", x-max-age=7", "x-max-age", ": {unacceptable_type,long}"),
    ("x-queue-type=\"stream\", x-initial-cluster-size=-1", "x-initial-cluster-size", ": {value_negative,-1}"),
    ("x-queue-type=\"stream\", x-stream-filter-size-bytes=-1", "x-stream-filter-size-bytes", ": {value_negative,-1}"),
];

/// Arguments whose texts have another form.
const QUEUES_WITH_TEXTS: &[(&str, &str)] = &[
    ("x-dead-letter-exchange=5", "invalid type 'long' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'"),
    ("x-queue-type=\"stream\", x-stream-max-segment-size-bytes=3000000001", "Exceeded max value for x-stream-max-segment-size-bytes"),
    ("x-queue-type=\"stream\", x-stream-filter-size-bytes=15", "Invalid value for  x-stream-filter-size-bytes"),
    ("x-queue-type=\"stream\", x-stream-filter-size-bytes=256", "Invalid value for  x-stream-filter-size-bytes"),
    ("x-message-deduplication=\"yes\"", "invalid type 'longstr' for arg 'x-message-deduplication' in queue 'q' in vhost '/'"),
    ("x-message-deduplication=true, x-cache-size=0", "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0"),
];

/// Type and arguments of exchange.declare.
const EXCHANGES: &[(&str, &str, &str)] = &[
    ("direct", "alternate-exchange=5", "invalid type 'long' for arg 'alternate-exchange' in exchange 'x' in vhost '/'"),
    ("fanout", "alternate-exchange=true", "invalid type 'bool' for arg 'alternate-exchange' in exchange 'x' in vhost '/'"),
    ("nothing", "", "unknown exchange type 'nothing'"),
    ("x-delayed-message", "", "Invalid argument, 'x-delayed-type' must be an existing exchange type"),
    ("x-delayed-message", "x-delayed-type=5", "Invalid argument, 'x-delayed-type' must be an existing exchange type"),
    ("x-delayed-message", "x-delayed-type=\"foo\"", "Invalid argument, 'x-delayed-type' must be an existing exchange type"),
    ("x-consistent-hash", "hash-property=\"priority\"", "Unsupported property: priority"),
    ("x-consistent-hash", "hash-header=\"h\", hash-property=\"message_id\"", "hash-header and hash-property are mutually exclusive"),
    ("x-recent-history", "x-recent-history-length=0", "Invalid argument 0, 'x-recent-history-length' must be a positive integer"),
    ("x-message-deduplication", "", "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0"),
];

/// Exchange, key and arguments of queue.bind.
const BINDINGS: &[(&str, &str, &str, &str)] = &[
    ("amq.headers", "", "x-match=\"foo\"", "Invalid x-match field value <<\"foo\">>; expected all, any, all-with-x, or any-with-x"),
    ("amq.headers", "", "x-match=5", "Invalid x-match field type long (value 5); expected longstr"),
    ("hash", "abc", "", "The binding key must be an integer: <<\"abc\">>"),
    ("hash", "0", "", "The binding key must be greater than 0"),
    ("local", "k", "", "Non empty binding 'k' key not permitted"),
];

/// Type of queue, arguments of basic.consume, and what follows `invalid arg 'NAME' for queue 'q' in vhost '/'`.
const CONSUMERS: &[(&str, &str, &str, &str)] = &[
    ("classic", "x-priority=\"5\"", "x-priority", ": \"expected integer, got longstr\""),
    ("classic", "x-priority=true", "x-priority", ": \"expected integer, got bool\""),
    ("classic", "x-stream-offset=\"first\"", "x-stream-offset", " of queue type rabbit_classic_queue"),
    ("quorum", "x-stream-offset=\"first\"", "x-stream-offset", " of queue type rabbit_quorum_queue"),
    ("quorum", "x-cancel-on-ha-failover=true", "x-cancel-on-ha-failover", " of queue type rabbit_quorum_queue"),
    ("stream", "x-priority=5", "x-priority", " of queue type rabbit_stream_queue"),
    ("stream", "x-stream-offset=\"5x\"", "x-stream-offset", ": {invalid_stream_offset_arg,{longstr,<<\"5x\">>}}"),
    ("stream", "x-stream-offset=true", "x-stream-offset", ": {invalid_stream_offset_arg,{bool,true}}"),
];

fn precondition(text: &str) -> Option<String> {
    Some(format!("PRECONDITION_FAILED - {text}"))
}

#[test]
fn queues_are_refused_whole() {
    let invalid = QUEUES.iter().map(|(given, name, why)| (*given, format!("invalid arg '{name}' for queue 'q' in vhost '/'{why}")));
    let others = QUEUES_WITH_TEXTS.iter().map(|(given, text)| (*given, (*text).to_owned()));
    for (given, text) in invalid.chain(others) {
        let mut world = World::new();
        let before = world.0.broker.memory();
        assert_eq!(world.declare_queue("q", arguments(given)), precondition(&text), "{given}");
        assert_eq!(world.0.broker.queue_snapshots(), [], "{given}");
        assert_eq!((world.0.broker.memory(), world.0.broker.next_deadline()), (before, None), "{given}");
    }
}

#[test]
fn exchanges_are_refused_whole() {
    for (kind, given, text) in EXCHANGES {
        let mut world = World::new();
        let before = (world.0.broker.exchange_names(), world.0.broker.memory());
        assert_eq!(world.declare_exchange("x", kind, arguments(given)), precondition(text), "{kind} {given}");
        assert_eq!((world.0.broker.exchange_names(), world.0.broker.memory()), before, "{kind} {given}");
    }
}

#[test]
fn bindings_are_refused_whole() {
    for (exchange, key, given, text) in BINDINGS {
        let mut world = World::new();
        assert_eq!(world.declare_queue("q", FieldTable::default()), None);
        assert_eq!(world.declare_exchange("hash", "x-consistent-hash", FieldTable::default()), None);
        assert_eq!(world.declare_exchange("local", "x-local-random", FieldTable::default()), None);
        assert_eq!(world.bind(exchange, key, arguments(given)), precondition(text), "{exchange} {key} {given}");
        // An exchange without a binding is unused, so that it can be deleted.
        let unused = exchange::Delete { exchange: (*exchange).into(), if_unused: true, nowait: false };
        let close_ok = AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}));
        world.method(close_ok);
        world.method(AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
        let refusal = world.method(AMQPClass::Exchange(exchange::AMQPMethod::Delete(unused)));
        assert!(refusal.is_none_or(|text| text.starts_with("ACCESS_REFUSED - deletion of system exchange")), "{exchange} {key}");
    }
}

#[test]
fn consumers_are_refused_whole() {
    for (kind, given, name, why) in CONSUMERS {
        let mut world = World::new();
        assert_eq!(world.declare_queue("q", arguments(&format!("x-queue-type=\"{kind}\""))), None);
        let text = format!("invalid arg '{name}' for queue 'q' in vhost '/'{why}");
        assert_eq!(world.consume(arguments(given)), precondition(&text), "{kind} {given}");
        assert_eq!(world.0.broker.queue_snapshots()[0].consumers, 0, "{kind} {given}");
    }
}
