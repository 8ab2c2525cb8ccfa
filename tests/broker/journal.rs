//! What the journal tells: every kind of event, and that a message keeps its number from its publish to its end.

use std::collections::BTreeSet;
use std::sync::Arc;

use leveret::amqp::{AMQPClass, AMQPValue, Command, Fate, FieldTable, Message, Method, Publish};
use leveret::amqp::{basic, confirm, connection, exchange, queue, table, tx};
use leveret::broker::journal::{Event, What};
use leveret::broker::{Capabilities, ConnectionId, Input, Opened, Rights};

use crate::client::{CLIENT, OTHER, ack, arguments, consume, delete, get, nack, text};
use crate::core::{Core, publish};

fn journaled() -> Core {
    let mut core = Core::new(2);
    core.broker.keep_journal(0);
    core
}

/// `number what [queue] [reason]` of each event since the last time.
fn told(core: &mut Core) -> Vec<String> {
    core.broker.take_events().iter().map(shown).collect()
}

fn shown(event: &Event) -> String {
    let mut line = format!("{} {}", event.about.as_ref().map_or_else(|| "-".to_owned(), |about| about.id.to_string()), event.what.name());
    let queues: Vec<&str> = event.queues.iter().map(|queue| &**queue).collect();
    for part in event.queue.as_deref().into_iter().chain((!queues.is_empty()).then_some(&*queues.join(","))).chain(event.reason) {
        line.push(' ');
        line.push_str(part);
    }
    line
}

/// To a queue, through the default exchange.
fn message(queue: &str) -> Message {
    Message::new(b"", queue.as_bytes(), &[0, 0], b"body")
}

fn send(core: &mut Core, queue: &str) {
    core.publish(CLIENT, vec![publish(message(queue))]);
}

fn send_mandatory(core: &mut Core, queue: &str) {
    let publish = Publish { mandatory: true, immediate: false, oversize: None, fate: Fate::default(), message: message(queue) };
    core.publish(CLIENT, vec![Command::Publish(1, publish)]);
}

fn reject(core: &mut Core, delivery_tag: u64, requeue: bool) {
    core.command(CLIENT, Command::Reject { channel: 1, delivery_tag, requeue });
}

fn purge(core: &mut Core, queue: &str) {
    core.method(CLIENT, AMQPClass::Queue(queue::AMQPMethod::Purge(queue::Purge { queue: queue.into(), nowait: true })));
}

#[test]
fn from_publish_to_ack() {
    let mut core = journaled();
    core.queue(CLIENT, "q", FieldTable::default());
    send(&mut core, "q");
    consume(&mut core, CLIENT, "q", false);
    let events = core.broker.take_events();
    let delivered = events.last().expect("an event");
    assert_eq!(delivered.what, What::Delivered);
    assert_eq!(delivered.consumer_tag.as_deref(), Some("tag"));
    assert_eq!(delivered.delivery_tag, Some(1));
    assert_eq!(delivered.client.as_ref().map(|client| (&*client.connection, client.channel)), Some(("127.0.0.1:0 -> 127.0.0.1:0", 1)));
    assert_eq!(events.iter().map(shown).collect::<Vec<_>>(), ["1 published", "1 routed q", "1 enqueued q", "1 delivered q"]);
    ack(&mut core, 1);
    assert_eq!(told(&mut core), ["1 acked q"]);
    // At once to a consumer, and to one that does not acknowledge.
    send(&mut core, "q");
    ack(&mut core, 2);
    assert_eq!(told(&mut core), ["2 published", "2 routed q", "2 enqueued q", "2 delivered q", "2 acked q"]);
    core.queue(CLIENT, "no-ack", FieldTable::default());
    consume(&mut core, OTHER, "no-ack", true);
    send(&mut core, "no-ack");
    let delivered = core.broker.take_events().pop().expect("an event");
    assert!(delivered.no_ack, "{delivered:?}");
    assert_eq!(core.broker.journaled(), 0);
}

#[test]
fn a_message_in_two_queues_has_one_number() {
    let mut core = journaled();
    for queue in ["a", "b"] {
        core.queue(CLIENT, queue, FieldTable::default());
        let bind = queue::Bind { queue: queue.into(), exchange: "amq.fanout".into(), ..queue::Bind::default() };
        core.method(CLIENT, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
    }
    core.publish(CLIENT, vec![publish(Message::new(b"amq.fanout", b"key", &[0, 0], b""))]);
    assert_eq!(told(&mut core), ["1 published", "1 routed a,b", "1 enqueued a", "1 enqueued b"]);
    purge(&mut core, "a");
    delete(&mut core, "b");
    assert_eq!(told(&mut core), ["1 dropped a purged", "1 dropped b queue-deleted"]);
}

#[test]
fn what_comes_back_says_why() {
    let mut core = journaled();
    core.queue(CLIENT, "q", FieldTable::default());
    send(&mut core, "q");
    told(&mut core);
    get(&mut core, "q");
    nack(&mut core, 1, true);
    get(&mut core, "q");
    reject(&mut core, 2, true);
    get(&mut core, "q");
    core.method(CLIENT, AMQPClass::Basic(basic::AMQPMethod::Recover(basic::Recover { requeue: true })));
    get(&mut core, "q");
    assert_eq!(
        told(&mut core),
        [
            "1 got q",
            "1 nacked q",
            "1 requeued q nack",
            "1 got q",
            "1 rejected q",
            "1 requeued q reject",
            "1 got q",
            "1 requeued q recover",
            "1 got q",
        ]
    );
    // The channel is closed: nobody knows this tag.
    ack(&mut core, 77);
    assert_eq!(told(&mut core), ["1 requeued q channel-closed"]);
    consume(&mut core, OTHER, "q", false);
    core.handle(Input::Disconnected(OTHER));
    assert_eq!(told(&mut core), ["1 delivered q", "1 requeued q connection-closed"]);
}

#[test]
fn an_unacked_message_of_a_deleted_queue_ends_when_it_is_settled() {
    let mut core = journaled();
    core.queue(CLIENT, "q", FieldTable::default());
    send(&mut core, "q");
    send(&mut core, "q");
    get(&mut core, "q");
    get(&mut core, "q");
    delete(&mut core, "q");
    told(&mut core);
    ack(&mut core, 1);
    nack(&mut core, 2, true);
    assert_eq!(told(&mut core), ["1 acked q", "2 nacked q", "2 dropped q queue-deleted"]);
    assert_eq!(core.broker.journaled(), 0);
}

#[test]
fn confirms_and_returns() {
    let mut core = journaled();
    core.method(CLIENT, AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: true })));
    send_mandatory(&mut core, "nowhere");
    send(&mut core, "nowhere");
    assert_eq!(told(&mut core), ["1 published", "1 unroutable", "1 returned", "1 confirmed", "2 published", "2 unroutable", "2 confirmed"]);
    core.queue(CLIENT, "full", arguments(&[("x-max-length", AMQPValue::LongInt(1)), ("x-overflow", text("reject-publish"))]));
    send(&mut core, "full");
    send(&mut core, "full");
    let events = core.broker.take_events();
    assert_eq!(events.last().and_then(|event| event.delivery_tag), Some(4), "the fourth publish of the channel");
    assert_eq!(
        events.iter().map(shown).collect::<Vec<_>>(),
        [
            "3 published",
            "3 routed full",
            "3 enqueued full",
            "3 confirmed",
            "4 published",
            "4 routed full",
            "4 dropped full reject-publish",
            "4 nacked-to-publisher",
        ]
    );
}

#[test]
fn dead_letters_keep_their_number() {
    let mut core = journaled();
    let to_dead = [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("dead"))];
    core.queue(CLIENT, "dead", FieldTable::default());
    core.queue(CLIENT, "q", arguments(&[to_dead[0].clone(), to_dead[1].clone(), ("x-message-ttl", AMQPValue::LongInt(50))]));
    core.queue(CLIENT, "short", arguments(&[to_dead[0].clone(), to_dead[1].clone(), ("x-max-length", AMQPValue::LongInt(1))]));
    send(&mut core, "q");
    send(&mut core, "q");
    send(&mut core, "short");
    send(&mut core, "short");
    get(&mut core, "q");
    told(&mut core);
    nack(&mut core, 1, false);
    core.pass(50);
    assert_eq!(
        told(&mut core),
        [
            "1 nacked q",
            "1 dead-lettered q rejected",
            "1 routed dead",
            "1 enqueued dead",
            "2 expired q",
            "2 dead-lettered q expired",
            "2 routed dead",
            "2 enqueued dead",
        ]
    );
    send(&mut core, "short");
    assert_eq!(told(&mut core)[3..], ["4 dead-lettered short maxlen", "4 routed dead", "4 enqueued dead"]);
}

#[test]
fn what_dies_without_a_way_out_says_so() {
    let mut core = journaled();
    core.queue(CLIENT, "q", arguments(&[("x-message-ttl", AMQPValue::LongInt(50)), ("x-max-length", AMQPValue::LongInt(1))]));
    send(&mut core, "q");
    send(&mut core, "q");
    assert_eq!(told(&mut core)[6..], ["1 dropped q max-length"]);
    core.pass(50);
    assert_eq!(told(&mut core), ["2 expired q", "2 dropped q no-dead-letter-exchange"]);
    core.queue(CLIENT, "gone", arguments(&[("x-dead-letter-exchange", text("missing"))]));
    core.queue(CLIENT, "nowhere", arguments(&[("x-dead-letter-exchange", text("amq.direct"))]));
    for queue in ["gone", "nowhere"] {
        send(&mut core, queue);
        get(&mut core, queue);
    }
    told(&mut core);
    reject(&mut core, 1, false);
    reject(&mut core, 2, false);
    assert_eq!(
        told(&mut core),
        [
            "3 rejected gone",
            "3 dead-lettered gone rejected",
            "3 dropped no-dead-letter-exchange",
            "4 rejected nowhere",
            "4 dead-lettered nowhere rejected",
            "4 dropped dead-letter-unroutable",
        ]
    );
    // Where it has expired before, it does not come back on its own.
    let back = [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("circle"))];
    core.queue(CLIENT, "circle", arguments(&[back[0].clone(), back[1].clone(), ("x-message-ttl", AMQPValue::LongInt(50))]));
    send(&mut core, "circle");
    told(&mut core);
    core.pass(50);
    assert_eq!(told(&mut core), ["5 expired circle", "5 dead-lettered circle expired", "5 dropped circle cycle"]);
    assert_eq!(core.broker.journaled(), 0);
}

#[test]
fn quorum_queues_count_and_hold() {
    let mut core = journaled();
    core.queue(CLIENT, "q", arguments(&[("x-queue-type", text("quorum")), ("x-delivery-limit", AMQPValue::LongInt(0))]));
    send(&mut core, "q");
    get(&mut core, "q");
    told(&mut core);
    reject(&mut core, 1, true);
    assert_eq!(told(&mut core), ["1 rejected q", "1 dropped q delivery-limit"]);
    let held = [
        ("x-queue-type", text("quorum")),
        ("x-dead-letter-exchange", text("amq.direct")),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ];
    core.queue(CLIENT, "careful", arguments(&held));
    send(&mut core, "careful");
    get(&mut core, "careful");
    told(&mut core);
    reject(&mut core, 2, false);
    assert_eq!(told(&mut core), ["2 rejected careful", "2 held careful rejected"]);
    delete(&mut core, "careful");
    assert_eq!(told(&mut core), ["2 dropped careful queue-deleted"]);
    assert_eq!(core.broker.journaled(), 0);
}

#[test]
fn a_transaction_keeps_what_it_was_given() {
    let mut core = journaled();
    core.queue(CLIENT, "q", FieldTable::default());
    core.method(CLIENT, AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {})));
    send(&mut core, "q");
    core.method(CLIENT, AMQPClass::Tx(tx::AMQPMethod::Rollback(tx::Rollback {})));
    send(&mut core, "q");
    assert_eq!(told(&mut core), ["1 published transaction", "1 dropped rolled-back", "2 published transaction"]);
    core.method(CLIENT, AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {})));
    get(&mut core, "q");
    nack(&mut core, 1, true);
    assert_eq!(told(&mut core), ["2 routed q", "2 enqueued q", "2 got q"]);
    core.method(CLIENT, AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {})));
    assert_eq!(told(&mut core), ["2 nacked q", "2 requeued q nack"]);
}

fn publish_delayed(core: &mut Core, key: &str) {
    let mut headers = Vec::new();
    table::put(&mut headers, b"x-delay", table::Value::Int(100));
    let length = u32::try_from(headers.len()).expect("small").to_be_bytes();
    let properties = [&[0x20, 0], &length[..], &headers].concat();
    core.publish(CLIENT, vec![publish(Message::new(b"x", key.as_bytes(), &properties, b""))]);
}

#[test]
fn delayed_messages_keep_their_number() {
    let mut core = journaled();
    let declare = exchange::Declare {
        exchange: "x".into(),
        kind: "x-delayed-message".into(),
        arguments: arguments(&[("x-delayed-type", text("direct"))]),
        ..exchange::Declare::default()
    };
    core.method(CLIENT, AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)));
    core.queue(CLIENT, "q", FieldTable::default());
    let bind = queue::Bind { queue: "q".into(), exchange: "x".into(), routing_key: "key".into(), ..queue::Bind::default() };
    core.method(CLIENT, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
    publish_delayed(&mut core, "key");
    publish_delayed(&mut core, "key");
    let events = core.broker.take_events();
    assert_eq!(events.iter().map(shown).collect::<Vec<_>>(), ["1 published", "1 delayed", "2 published", "2 delayed"]);
    assert_eq!(events[1].until, Some(core.now.after(100)));
    let id = core.broker.delayed_snapshots("x")[1].id;
    core.handle(Input::CancelDelayed { exchange: "x", id });
    core.pass(100);
    assert_eq!(told(&mut core), ["2 dropped cancelled", "1 delay-over", "1 routed q", "1 enqueued q"]);
    publish_delayed(&mut core, "key");
    let delete = exchange::Delete { exchange: "x".into(), ..exchange::Delete::default() };
    core.method(CLIENT, AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete)));
    assert_eq!(told(&mut core), ["3 published", "3 delayed", "3 dropped exchange-deleted"]);
}

#[test]
fn streams_keep_what_is_acknowledged() {
    let mut core = journaled();
    core.queue(CLIENT, "s", arguments(&[("x-queue-type", text("stream"))]));
    send(&mut core, "s");
    core.command(CLIENT, Command::Qos { channel: 1, prefetch_size: 0, prefetch_count: 10, global: false });
    for tag in ["first", "second"] {
        let consume = basic::Consume {
            queue: "s".into(),
            consumer_tag: tag.into(),
            arguments: arguments(&[("x-stream-offset", text("first"))]),
            ..basic::Consume::default()
        };
        core.method(CLIENT, AMQPClass::Basic(basic::AMQPMethod::Consume(consume)));
    }
    ack(&mut core, 1);
    delete(&mut core, "s");
    assert_eq!(
        told(&mut core),
        ["1 published", "1 routed s", "1 enqueued s", "1 delivered s", "1 delivered s", "1 acked s", "1 dropped s queue-deleted",]
    );
}

/// A journal that begins late: after a restart, messages are there already.
#[test]
fn what_was_there_before_gets_a_number_when_it_is_seen() {
    let mut core = Core::new(1);
    core.queue(CLIENT, "q", FieldTable::default());
    send(&mut core, "q");
    core.broker.keep_journal(1000);
    get(&mut core, "q");
    send(&mut core, "q");
    assert_eq!(told(&mut core), ["1001 restored q", "1001 got q", "1002 published", "1002 routed q", "1002 enqueued q"]);
    let names: BTreeSet<&str> = What::ALL.iter().map(|what| what.name()).collect();
    assert_eq!(names.len(), What::ALL.len());
}

#[test]
fn nobody_hears_of_what_is_not_kept() {
    let mut core = Core::new(1);
    core.queue(CLIENT, "q", FieldTable::default());
    send(&mut core, "q");
    assert_eq!(core.broker.take_events(), []);
    assert_eq!(core.broker.journal_id("q", 0), None);
}

/// `lint subject count` of what clients have done wrong since the last time.
fn noted(core: &mut Core) -> Vec<String> {
    let (notes, _) = core.broker.take_notes();
    notes.iter().map(|note| format!("{} {} {}", note.lint.name(), note.subject, note.count)).collect()
}

#[test]
fn what_a_connection_leaves_is_noted() {
    let mut core = journaled();
    core.queue(CLIENT, "q", FieldTable::default());
    for _ in 0..3 {
        send(&mut core, "q");
    }
    consume(&mut core, OTHER, "q", false);
    assert_eq!(noted(&mut core), ["no-prefetch q 1"]);
    core.handle(Input::Disconnected(OTHER));
    assert_eq!(noted(&mut core), ["unacked q 3", "connection-not-closed  1"]);
    let close = connection::Close { reply_code: 200, reply_text: "bye".into(), class_id: 0, method_id: 0 };
    let close = AMQPClass::Connection(connection::AMQPMethod::Close(close));
    core.command(CLIENT, Command::Method(0, Box::new(Method { class_method: (10, 50), class: close })));
    core.handle(Input::Disconnected(CLIENT));
    assert_eq!(noted(&mut core), Vec::<String>::new());
}

#[test]
fn a_queue_that_nobody_used_is_noted_when_it_goes() {
    let mut core = journaled();
    core.queue(CLIENT, "unused", FieldTable::default());
    core.queue(CLIENT, "got", FieldTable::default());
    get(&mut core, "got");
    let standing: Vec<String> = core.broker.standing_notes().into_iter().map(|note| note.subject).filter(|name| !name.is_empty()).collect();
    assert_eq!(standing, ["unused"]);
    delete(&mut core, "unused");
    delete(&mut core, "got");
    assert_eq!(noted(&mut core), ["never-consumed unused 1"]);
}

#[test]
fn small_frames_and_many_wildcards_are_noted() {
    let mut core = journaled();
    core.handle(Input::Connected(
        ConnectionId(2),
        Opened {
            user: "guest".into(),
            capabilities: Capabilities::default(),
            frame_max: 4096,
            channel_max: 0,
            origin: Box::default(),
            rights: Arc::new(Rights::all()),
        },
    ));
    core.queue(CLIENT, "q", arguments(&[("x-queue-version", AMQPValue::LongInt(1))]));
    for key in ["#.a.#.b", "#.a.#.b.#"] {
        let bind = queue::Bind { queue: "q".into(), exchange: "amq.topic".into(), routing_key: key.into(), ..queue::Bind::default() };
        core.method(CLIENT, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
    }
    let expected = ["frame-max frame_max 4096 1", "queue-version-1 q 1", "topic-wildcards exchange \"amq.topic\" key \"#.a.#.b.#\" 1"];
    assert_eq!(noted(&mut core), expected);
}
