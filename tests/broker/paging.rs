//! Messages that are on disk alone, and a disk that takes its time.

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{AMQPClass, basic, queue};
use leveret::amqp::Message;
use leveret::broker::queue::Ready;
use leveret::broker::queue::level::{Keeps, Leaving};
use leveret::broker::{Input, Profile};

use crate::properties::bench::{Bench, got};

/// A queue with these messages, all on disk; from now on the disk does not answer.
fn with_messages(bodies: &[&[u8]]) -> Bench {
    let mut bench = Bench::durable(true);
    bench.declare("q", &[]);
    for body in bodies {
        bench.publish("q", AMQPProperties::default().with_delivery_mode(2), body);
    }
    // What the head has been loaded with goes; the next load is under way.
    bench.answers = false;
    bench
}

fn get() -> basic::AMQPMethod {
    basic::AMQPMethod::Get(basic::Get { queue: "q".into(), no_ack: true })
}

fn purge(bench: &mut Bench) -> Vec<AMQPFrame> {
    bench.method(AMQPClass::Queue(queue::AMQPMethod::Purge(queue::Purge { queue: "q".into(), ..queue::Purge::default() })))
}

fn answer(bench: &mut Bench) -> Vec<AMQPFrame> {
    let mut frames = Vec::new();
    while !bench.unanswered.is_empty() {
        let load = bench.unanswered.remove(0);
        let loaded = bench.keeper().answer(load, 1);
        frames.extend(bench.input(Input::Loaded(loaded)));
    }
    frames
}

fn count(bench: &mut Bench) -> u32 {
    let declare = queue::Declare { queue: "q".into(), passive: true, ..queue::Declare::default() };
    let answer = bench.method(AMQPClass::Queue(queue::AMQPMethod::Declare(declare)));
    answer
        .iter()
        .find_map(|frame| match frame {
            AMQPFrame::Method(_, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok))) => Some(ok.message_count),
            _ => None,
        })
        .expect("declare-ok")
}

/// A get waits for the disk, and everything that the connection has sent since waits with it, in order.
#[test]
fn a_get_waits_and_so_does_what_is_behind_it() {
    let mut bench = with_messages(&[b"1", b"2", b"3", b"4"]);
    let mut early = Vec::new();
    for _ in 0..4 {
        early.extend(got(&bench.basic(get())));
    }
    let declared = bench.declare("behind", &[]);
    assert!(early.len() < 4 && declared.is_empty(), "{} came at once, and {declared:?}", early.len());
    let late = answer(&mut bench);
    let bodies: Vec<Vec<u8>> = early.iter().chain(&got(&late)).map(|got| got.body.clone()).collect();
    assert_eq!(bodies, [b"1", b"2", b"3", b"4"]);
    assert!(matches!(late.last(), Some(AMQPFrame::Method(1, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(_))))), "{late:?}");
    assert_eq!(bench.broker.memory(), 0);
}

/// What was asked for before a purge comes after it, and is no message any more.
#[test]
fn what_comes_after_a_purge_is_gone() {
    let mut bench = with_messages(&[b"1", b"2", b"3", b"4"]);
    // The disk gives three at a time.
    (0..3).for_each(|_| drop(bench.get("q", true).expect("a message of the head")));
    assert!(!bench.unanswered.is_empty(), "the next ones have been asked for");
    purge(&mut bench);
    bench.publish("q", AMQPProperties::default().with_delivery_mode(2), b"new");
    bench.publish("q", AMQPProperties::default().with_delivery_mode(2), b"newer");
    answer(&mut bench);
    assert_eq!(count(&mut bench), 2);
    bench.answers = true;
    bench.input(Input::Tick);
    let left: Vec<Vec<u8>> = std::iter::from_fn(|| bench.get("q", true)).map(|got| got.body).collect();
    assert_eq!(left, [b"new".to_vec(), b"newer".to_vec()]);
    assert_eq!((count(&mut bench), bench.broker.memory()), (0, 0));
}

/// A queue that goes while a get waits for it is not there, and the channel is closed with 404.
#[test]
fn a_get_from_a_queue_that_goes_is_refused() {
    let mut bench = Bench::durable(true);
    bench.declare("q", &[("x-expires", amq_protocol::types::AMQPValue::LongInt(1_000))]);
    for body in [b"1", b"2", b"3", b"4"] {
        bench.publish("q", AMQPProperties::default().with_delivery_mode(2), body);
    }
    bench.answers = false;
    (0..3).for_each(|_| drop(bench.get("q", true).expect("a message of the head")));
    let waits = bench.basic(get());
    assert!(waits.is_empty(), "{waits:?}");
    let answer = bench.pass(2_000);
    let (code, text) = bench.refusal(&answer).expect("a refusal");
    assert_eq!((code, text.as_str()), (404, "NOT_FOUND - no queue 'q' in vhost '/'"));
}

/// A channel that is closed while its get waits for the disk is given nothing any more, and the message stays in its queue.
#[test]
fn a_get_ends_with_its_channel() {
    let mut bench = Bench::durable_of(Profile::named("4.0").expect("a profile"), true);
    bench.declare("q", &[]);
    for body in [b"1", b"2", b"3", b"4", b"5"] {
        bench.publish("q", AMQPProperties::default().with_delivery_mode(2), body);
    }
    bench.get("q", false).expect("a message, which is never acked");
    bench.answers = false;
    let mut taken = 0;
    while !bench.basic(get()).is_empty() {
        taken += 1;
    }
    let closed = bench.pass(1_800_000);
    assert_eq!(bench.reopened(&closed), Some(406));
    let late = answer(&mut bench);
    assert_eq!(got(&late), []);
    bench.answers = true;
    assert_eq!(count(&mut bench), 5 - taken);
}

/// What was given out has to come back as redelivered after a crash: nobody gets it before that is written, and safe.
#[test]
fn nobody_gets_a_message_before_its_delivery_would_be_known() {
    let mut bench = Bench::durable(false);
    bench.declare("q", &[]);
    for body in [b"1", b"2", b"3", b"4"] {
        bench.publish("q", AMQPProperties::default().with_delivery_mode(2), body);
    }
    let mut get = |now: u64, safe: u64| {
        bench.broker.begin_round(now, safe);
        assert!(bench.get("q", false).is_some());
        bench.held
    };
    assert!(get(10, 9), "this delivery is written in round 10");
    assert!(get(11, 10), "this one in 11, with those of the next messages");
    assert!(get(12, 10), "which is not safe yet, whoever gets them");
    assert!(!get(13, 11), "and is now");
}

/// The window shrinks when memory is short: what was near the head when the rest was given to the disk, and is not any more,
/// must not leave memory, for nobody else has it.
#[test]
fn only_what_the_disk_has_leaves_memory() {
    for (window_then, window_now, rounds) in [(1_000, 0, 1), (400, 0, 3), (0, 1_000, 2), (2_000, 300, 4)] {
        let mut ready = Ready::new(0, false);
        let (mut given, mut gone) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            for _ in 0..20 {
                let entry = ready.entry(Message::new(b"", b"q", &[0, 0], &[7; 50]));
                ready.push(entry);
            }
            let mut room = 2_000;
            for (_, entries) in ready.spill(window_then, Keeps::Nothing, &mut room) {
                let last = entries.last().expect("some").position;
                given.extend(entries.iter().map(|entry| entry.position));
                ready.set_spilled(0, last + 1);
            }
            let leaving = Leaving { stored: 0, window: window_now, keeps: Keeps::Nothing };
            ready.page_out(leaving, |entry| gone.push(entry.position));
        }
        assert!(!gone.is_empty() && gone.iter().all(|position| given.contains(position)), "{gone:?} of {given:?}");
        assert_eq!(ready.iter().count() + gone.len(), ready.len(), "the rest is in memory");
    }
}
