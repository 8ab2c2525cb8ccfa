//! Views of queues that have a disk behind them: what survives, what is in memory, what was written and read.

use amq_protocol::types::AMQPValue;
use leveret::amqp::Message;
use leveret::broker::Input;
use leveret::broker::queue::Ready;
use leveret::broker::queue::level::{Keeps, Leaving};

use super::{plain, *};

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// Messages that are written down are counted as long as they are ready or unacked.
#[test]
fn persistent_messages() {
    let mut bench = Bench::durable(false);
    bench.declare("q", &[]);
    bench.publish("q", persistent(), b"12345");
    bench.publish("q", plain(), b"1");
    bench.publish("q", persistent(), b"123");
    let amount = |bench: &Bench| (bench.queue("q").persistent.messages, bench.queue("q").persistent.bytes);
    assert_eq!((amount(&bench), bench.counted("q").disk_writes), ((2, 8), 2));
    let got = bench.get("q", false).expect("a message");
    assert_eq!(amount(&bench), (2, 8));
    bench.reject(got.tag, true);
    assert_eq!(amount(&bench), (2, 8));
    bench.get("q", true).expect("a message");
    assert_eq!(amount(&bench), (1, 3));
    bench.purge("q");
    assert_eq!(amount(&bench), (0, 0));
}

/// One that a consumer takes for good at once is never written down; one that has to be acked is.
#[test]
fn messages_that_do_not_stay() {
    let mut bench = Bench::durable(false);
    bench.declare("q", &[]);
    bench.consume_without_ack("q", "c");
    bench.publish("q", persistent(), b"m");
    assert_eq!((bench.queue("q").persistent.messages, bench.counted("q").disk_writes), (0, 0));
    bench.cancel("c");
    bench.consume("q", "c", &[]);
    bench.publish("q", persistent(), b"m");
    assert_eq!((bench.queue("q").persistent.messages, bench.counted("q").disk_writes), (1, 1));
    bench.ack(2);
    assert_eq!(bench.queue("q").persistent.messages, 0);
}

/// What is in memory and what is not add up; loading counts as reading.
#[test]
fn paging() {
    let mut bench = Bench::durable(true);
    bench.declare("q", &[]);
    bench.answers = false;
    (0..12u8).for_each(|body| drop(bench.publish("q", persistent(), &[body])));
    let view = bench.queue("q");
    assert_eq!((view.ready.messages, view.persistent.messages, view.counters.disk_writes), (12, 12, 12));
    assert!(view.paged_out.messages > 0 && view.paged_out.messages == view.paged_out.bytes, "{view:?}");
    assert_eq!(view.in_memory.messages + view.paged_out.messages, 12);
    assert_eq!(view.counters.disk_reads, 0);
    let peek = bench.broker.peek("q", 10, 0).expect("a queue");
    assert_eq!((peek.messages.len() as u64, peek.on_disk), (view.in_memory.messages, view.paged_out.messages));
    // The disk answers, three messages at a time.
    bench.answers = true;
    bench.input(Input::Tick);
    let got = bench.get("q", false).expect("a message");
    let read = bench.counted("q").disk_reads;
    assert!(read >= 3, "{read}");
    let view = bench.queue("q");
    assert_eq!((view.in_memory.messages + view.paged_out.messages, view.persistent.messages), (12, 12));
    assert!(view.paged_out.messages > 0, "{view:?}");
    // With the rest on disk, a purge leaves what is unacked.
    bench.answers = false;
    bench.purge("q");
    assert_eq!((bench.queue("q").ready.messages, bench.queue("q").persistent.messages), (0, 1));
    bench.ack(got.tag);
    bench.publish("q", plain(), b"transient");
    let view = bench.queue("q");
    assert_eq!((view.ready.messages, view.persistent.messages, view.persistent.bytes), (1, 0, 0));
}

/// What is shown ends where the disk begins, or it would not be in order; of priorities as well.
#[test]
fn a_look_ends_at_the_disk() {
    let mut ready = Ready::new(1, false);
    for priority in [0, 1, 1, 1, 1] {
        let mut entry = ready.entry(Message::new(b"", b"q", &[0, 0], b"m"));
        entry.priority = priority;
        ready.push(entry);
    }
    let positions = |ready: &Ready| ready.iter_to_disk().map(|entry| entry.position).collect::<Vec<u64>>();
    assert_eq!((positions(&ready), ready.on_disk().messages), (vec![1, 2, 3, 4, 0], 0));
    // The first of the higher priority stays for being the head, the next two are on disk, the last one is in memory alone.
    let window = ready.peek().expect("a head").memory();
    let leaving = Leaving { stored: 3, window, keeps: Keeps::Everything };
    ready.page_out(leaving, drop);
    assert_eq!((positions(&ready), ready.on_disk().messages, ready.on_disk().bytes), (vec![1], 2, 2));
    assert_eq!(ready.iter().map(|entry| entry.position).collect::<Vec<u64>>(), [1, 4, 0]);
}

/// After a restart, the account of what survives begins with what has survived.
#[test]
fn a_restart() {
    let mut bench = Bench::durable(false);
    bench.declare("q", &[]);
    bench.declare("p", &[("x-queue-type", text("quorum"))]);
    for queue in ["q", "q", "p"] {
        bench.publish(queue, persistent(), b"123");
    }
    let mut bench = Bench::started(&bench.keeper(), bench.now, false);
    let view = bench.queue("q");
    assert_eq!((view.ready.messages, view.persistent.messages, view.persistent.bytes), (2, 2, 6));
    assert_eq!((bench.queue("p").persistent.messages, bench.broker.totals().persistent.bytes), (1, 9));
    bench.get("q", true).expect("a message");
    bench.get("p", true).expect("a message");
    assert_eq!((bench.queue("q").persistent.messages, bench.queue("p").persistent.messages), (1, 0));
    assert_eq!(bench.broker.totals().churn.queue_created, 0, "they were there before");
}

/// Policies are kept with what they apply to, predeclared exchanges among it.
#[test]
fn policies_after_a_restart() {
    let mut bench = Bench::durable(false);
    bench.declare("q", &[]);
    let value = serde_json::json!({ "pattern": "", "definition": { "alternate-exchange": "amq.fanout", "max-length": 5 } });
    bench.set_policy(false, leveret::broker::policy::Policy::from_json(false, "p", &value).expect("a policy"));
    let mut bench = Bench::started(&bench.keeper(), bench.now, false);
    assert_eq!(bench.queue("q").policy.expect("a policy").policy.as_deref(), Some("p"));
    let exchange = bench.broker.exchange_view("amq.direct").expect("an exchange");
    assert_eq!(exchange.policy.expect("a policy").policy.as_deref(), Some("p"));
    bench.bind("q", "amq.fanout", "");
    bench.publish_to("amq.direct", "unroutable", b"m");
    assert_eq!(bench.queue("q").ready.messages, 1);
}

/// A stream writes all that it is given; what is read for its readers is counted.
#[test]
fn streams_on_disk() {
    let mut bench = Bench::durable(true);
    bench.declare("s", &[("x-queue-type", text("stream"))]);
    (0..4u8).for_each(|body| drop(bench.publish("s", plain(), &[body])));
    let view = bench.queue("s");
    assert_eq!((view.ready.messages, view.persistent.messages, view.counters.disk_writes), (4, 4, 4));
    assert_eq!(view.in_memory.messages + view.paged_out.messages, 4);
    assert!(view.paged_out.messages > 0, "{view:?}");
    assert_eq!(bench.broker.peek("s", 10, 0).expect("a stream").messages.len(), 0, "its beginning is on disk");
    bench.qos(10);
    bench.consume("s", "c", &[("x-stream-offset", text("first"))]);
    assert!(bench.counted("s").disk_reads > 0);
    assert_eq!(bench.counted("s").deliver, 4);
}
