//! What is told of messages whose publishers trace them: a span for each publish and for each queue that they were in, and nothing that
//! is kept for ever.

use leveret::amqp::{AMQPClass, AMQPValue, FieldTable, Message, properties, queue, table};
use leveret::broker::spans::{FOLLOWED, Span, Work};

use crate::client::{CLIENT, OTHER, ack, arguments, consume, delete, get, nack, text};
use crate::core::{Core, publish};

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NOT_SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn traced() -> Core {
    let mut core = Core::new(2);
    core.broker.keep_spans();
    core.broker.set_span_time(|| 1000);
    core
}

fn message(queue: &str, parent: &str) -> Message {
    let mut headers = Vec::new();
    table::put(&mut headers, b"traceparent", table::Value::String(parent.as_bytes()));
    Message::new(b"", queue.as_bytes(), &properties::only_headers(&headers), b"body")
}

fn send(core: &mut Core, queue: &str) {
    core.publish(CLIENT, vec![publish(message(queue, SAMPLED))]);
}

/// Each span in a word or two, since the last time.
fn told(core: &mut Core) -> Vec<String> {
    let (spans, missed) = core.broker.take_spans();
    assert_eq!(missed, 0);
    spans.iter().map(shown).collect()
}

fn shown(span: &Span) -> String {
    let moments = span.moments.iter().map(|moment| format!(" {}", moment.what)).collect::<String>();
    match &span.work {
        Work::Publish { queues, routed, .. } => format!("publish {queues}{}", if *routed { "" } else { " unroutable" }),
        Work::Queue { queue, outcome } => format!("{queue}{moments}: {outcome}"),
    }
}

#[test]
fn from_publish_to_ack() {
    let mut core = traced();
    core.queue(CLIENT, "q", FieldTable::default());
    send(&mut core, "q");
    assert_eq!(told(&mut core), ["publish 1"]);
    assert_eq!(core.broker.followed(), 1);
    core.broker.set_span_time(|| 2000);
    consume(&mut core, CLIENT, "q", false);
    core.broker.set_span_time(|| 5000);
    ack(&mut core, 1);
    let (spans, _) = core.broker.take_spans();
    let [span] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(shown(span), "q deliver: ack");
    assert_eq!((span.began, span.moments[0].at, span.ended), (1000, 2000, Some(5000)));
    assert_eq!(span.moments[0].connection.as_deref(), Some("127.0.0.1:0 -> 127.0.0.1:0"));
    assert_eq!((span.parent.trace_id[0], span.parent.span_id[7], span.size), (0x0a, 0x31, 4));
    // At once to a consumer that is there; to one that does not acknowledge.
    send(&mut core, "q");
    ack(&mut core, 2);
    assert_eq!(told(&mut core), ["publish 1", "q deliver: ack"]);
    core.queue(CLIENT, "n", FieldTable::default());
    consume(&mut core, OTHER, "n", true);
    send(&mut core, "n");
    assert_eq!(told(&mut core), ["publish 1", "n deliver: no-ack"]);
    assert_eq!(core.broker.followed(), 0);
}

#[test]
fn only_what_its_publisher_has_sampled() {
    let mut core = traced();
    core.queue(CLIENT, "q", FieldTable::default());
    for parent in [NOT_SAMPLED, "", "00-nonsense"] {
        core.publish(CLIENT, vec![publish(message("q", parent))]);
    }
    core.publish(CLIENT, vec![publish(Message::new(b"", b"q", &[0, 0], b""))]);
    consume(&mut core, CLIENT, "q", true);
    assert_eq!(told(&mut core), Vec::<String>::new());
}

#[test]
fn nothing_without_being_asked() {
    let mut core = Core::new(1);
    core.queue(CLIENT, "q", FieldTable::default());
    send(&mut core, "q");
    assert_eq!((core.broker.take_spans(), core.broker.followed()), ((Vec::new(), 0), 0));
}

#[test]
fn what_comes_back_goes_on() {
    let mut core = traced();
    for kind in ["classic", "quorum"] {
        core.queue(CLIENT, kind, arguments(&[("x-queue-type", text(kind))]));
        send(&mut core, kind);
        let tag = if kind == "classic" { 1 } else { 3 };
        get(&mut core, kind);
        nack(&mut core, tag, true);
        get(&mut core, kind);
        ack(&mut core, tag + 1);
        assert_eq!(told(&mut core), ["publish 1".to_owned(), format!("{kind} deliver requeue deliver: ack")]);
    }
}

/// Every way in which a message leaves a queue, and the queue that a dead letter goes to.
#[test]
fn all_ends() {
    let mut core = traced();
    core.queue(CLIENT, "dead", FieldTable::default());
    let dead_letters = [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("dead"))];
    let with = |more: &[(&str, AMQPValue)]| arguments(&[&dead_letters[..], more].concat());
    core.queue(CLIENT, "rejects", with(&[]));
    send(&mut core, "rejects");
    get(&mut core, "rejects");
    nack(&mut core, 1, false);
    assert_eq!(told(&mut core), ["publish 1", "rejects deliver: rejected"]);
    core.queue(CLIENT, "short", with(&[("x-max-length", AMQPValue::LongInt(1))]));
    send(&mut core, "short");
    send(&mut core, "short");
    assert_eq!(told(&mut core), ["publish 1", "publish 1", "short: maxlen"]);
    core.queue(CLIENT, "brief", with(&[("x-message-ttl", AMQPValue::LongInt(10))]));
    send(&mut core, "brief");
    core.pass(10);
    assert_eq!(told(&mut core), ["publish 1", "brief: expired"]);
    // Three dead letters, and what is left in the short queue.
    assert_eq!(core.broker.followed(), 4);
    let purge = queue::Purge { queue: "short".into(), nowait: true };
    core.method(CLIENT, AMQPClass::Queue(queue::AMQPMethod::Purge(purge)));
    assert_eq!(told(&mut core), ["short: purged"]);
    // Deleted, one of its messages is still unacked: it goes when its channel does.
    get(&mut core, "dead");
    delete(&mut core, "dead");
    assert_eq!(told(&mut core), ["dead: queue-deleted", "dead: queue-deleted"]);
    nack(&mut core, 2, true);
    assert_eq!(told(&mut core), ["dead deliver: queue-deleted"]);
    send(&mut core, "nowhere");
    assert_eq!(told(&mut core), ["publish 0 unroutable"]);
    assert_eq!(core.broker.followed(), 0);
}

#[test]
fn there_is_a_bound() {
    let mut core = traced();
    core.queue(CLIENT, "q", FieldTable::default());
    for _ in 0..FOLLOWED / 64 + 1 {
        core.publish(CLIENT, (0..64).map(|_| publish(message("q", SAMPLED))).collect());
    }
    let (spans, missed) = core.broker.take_spans();
    assert_eq!((spans.len(), missed, core.broker.followed()), (FOLLOWED + 64, 64, FOLLOWED));
    delete(&mut core, "q");
    assert_eq!((core.broker.take_spans().0.len(), core.broker.followed()), (FOLLOWED, 0));
}
