//! Settlements and bounded queues against models that are plain lists.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame};
use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{AMQPClass, basic, confirm, queue};
use amq_protocol::types::{AMQPValue, FieldTable};
use proptest::prelude::*;

use super::bench::{Bench, got};
use super::wire::{cases, frame_bytes, method_bytes};

fn publish(bench: &mut Bench, body: &[u8]) -> Vec<AMQPFrame> {
    let method = basic::Publish { routing_key: "q".into(), ..basic::Publish::default() };
    let mut bytes = method_bytes(1, AMQPClass::Basic(basic::AMQPMethod::Publish(method)));
    let properties = basic::AMQPProperties::default();
    bytes.extend(frame_bytes(&AMQPFrame::Header(1, AMQPContentHeader { class_id: 60, body_size: body.len() as u64, properties })));
    if !body.is_empty() {
        bytes.extend(frame_bytes(&AMQPFrame::Body(1, body.to_vec())));
    }
    bench.say(&bytes)
}

fn declare(bench: &mut Bench, arguments: FieldTable) {
    let declare = queue::Declare { queue: "q".into(), arguments, ..queue::Declare::default() };
    bench.method(AMQPClass::Queue(queue::AMQPMethod::Declare(declare)));
}

fn basic_method(bench: &mut Bench, method: basic::AMQPMethod) -> Vec<AMQPFrame> {
    bench.method(AMQPClass::Basic(method))
}

/// Tags and bodies of what was delivered.
fn delivered(frames: &[AMQPFrame]) -> Vec<(u64, u8)> {
    let mut all = Vec::new();
    for frame in frames {
        match frame {
            AMQPFrame::Method(_, AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver))) => all.push((deliver.delivery_tag, u8::MAX)),
            AMQPFrame::Body(_, body) => all.last_mut().expect("a method first").1 = body[0],
            _ => {}
        }
    }
    all
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Ack,
    Discard,
    Requeue,
    Reject,
}

proptest! {
    #![proptest_config(cases(128))]

    /// Any sequence of settlements: what is outstanding, what comes back with which tag, and what is an error.
    #[test]
    fn settlements_follow_the_model(
        count in 0..12u8,
        steps in prop::collection::vec((prop::sample::select(vec![How::Ack, How::Discard, How::Requeue, How::Reject]), 0..20u64, any::<bool>()), 0..12),
    ) {
        let mut bench = Bench::new();
        declare(&mut bench, FieldTable::default());
        let consume = basic::Consume { queue: "q".into(), consumer_tag: "c".into(), ..basic::Consume::default() };
        basic_method(&mut bench, basic::AMQPMethod::Consume(consume));
        // Tag and body, in the order of the tags.
        let mut outstanding: Vec<(u64, u8)> = Vec::new();
        for n in 0..count {
            outstanding.extend(delivered(&publish(&mut bench, &[n])));
        }
        let mut next_tag = u64::from(count);
        for (how, tag, multiple) in steps {
            let multiple = multiple && how != How::Reject;
            let answer = basic_method(&mut bench, match how {
                How::Ack => basic::AMQPMethod::Ack(basic::Ack { delivery_tag: tag, multiple }),
                How::Discard | How::Requeue => basic::AMQPMethod::Nack(basic::Nack { delivery_tag: tag, multiple, requeue: how == How::Requeue }),
                How::Reject => basic::AMQPMethod::Reject(basic::Reject { delivery_tag: tag, requeue: true }),
            });
            let all = multiple && tag == 0;
            let known = all || outstanding.iter().any(|(t, _)| *t == tag);
            let closed = bench.reopened(&answer);
            prop_assert_eq!(closed, (!known).then_some(406), "{:?} {} of {:?}", how, tag, outstanding);
            if !known {
                // All of them are ready again, in their places.
                outstanding.sort_by_key(|(_, body)| *body);
                let queue = &bench.broker.queue_snapshots()[0];
                let bodies: Vec<Vec<u8>> = outstanding.iter().map(|(_, body)| vec![*body]).collect();
                prop_assert_eq!((&queue.ready_bodies, queue.unacked), (&bodies, 0));
                return Ok(());
            }
            let (mut taken, left): (Vec<_>, Vec<_>) = outstanding.into_iter().partition(|(t, _)| all || *t == tag || multiple && *t < tag);
            outstanding = left;
            if matches!(how, How::Requeue | How::Reject) {
                taken.sort_by_key(|(_, body)| *body);
                let back: Vec<(u64, u8)> = (next_tag + 1..).zip(taken.iter().map(|(_, body)| *body)).collect();
                next_tag += taken.len() as u64;
                prop_assert_eq!(delivered(&answer), back.clone());
                outstanding.extend(back);
            } else {
                prop_assert!(delivered(&answer).is_empty());
            }
            let queue = &bench.broker.queue_snapshots()[0];
            prop_assert_eq!((queue.ready, queue.unacked), (0, outstanding.len()));
            prop_assert_eq!(bench.broker.channel_snapshots()[0].unacked, outstanding.len());
        }
    }

    /// A bounded queue, in messages or bytes, with either overflow: what is in it, and what the publisher hears.
    #[test]
    fn bounds_follow_the_model(
        max_length in prop::option::weighted(0.7, 0..5i32),
        max_bytes in prop::option::weighted(0.5, 0..40i32),
        reject in any::<bool>(),
        steps in prop::collection::vec((0..10u8, 1..16usize), 0..40),
    ) {
        let mut bench = Bench::new();
        let mut arguments = FieldTable::default();
        for (name, bound) in [("x-max-length", max_length), ("x-max-length-bytes", max_bytes)] {
            if let Some(bound) = bound {
                arguments.insert(name.into(), AMQPValue::LongInt(bound));
            }
        }
        if reject {
            arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        }
        declare(&mut bench, arguments);
        bench.method(AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false })));
        let exceeds = |bodies: &[Vec<u8>]| {
            let bytes: usize = bodies.iter().map(Vec::len).sum();
            max_length.is_some_and(|max| bodies.len() > usize::try_from(max).expect("no negative bound"))
                || max_bytes.is_some_and(|max| bytes > usize::try_from(max).expect("no negative bound"))
        };
        let mut ready: Vec<Vec<u8>> = Vec::new();
        let mut held: Vec<(u64, Vec<u8>)> = Vec::new();
        let (mut published, mut tags) = (0u8, 0);
        for (what, size) in steps {
            match what {
                0..=5 => {
                    published += 1;
                    let body = vec![published; size];
                    let answer = publish(&mut bench, &body);
                    ready.push(body);
                    let refused = reject && exceeds(&ready);
                    if refused {
                        ready.pop();
                    }
                    let tag = u64::from(published);
                    let expected = if refused {
                        basic::AMQPMethod::Nack(basic::Nack { delivery_tag: tag, multiple: false, requeue: false })
                    } else {
                        basic::AMQPMethod::Ack(basic::Ack { delivery_tag: tag, multiple: false })
                    };
                    prop_assert_eq!(answer, vec![AMQPFrame::Method(1, AMQPClass::Basic(expected))]);
                }
                6 | 7 => {
                    basic_method(&mut bench, basic::AMQPMethod::Get(basic::Get { queue: "q".into(), no_ack: false }));
                    if !ready.is_empty() {
                        tags += 1;
                        held.push((tags, ready.remove(0)));
                    }
                }
                _ if !held.is_empty() => {
                    let (delivery_tag, body) = held.remove(size % held.len());
                    basic_method(&mut bench, basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue: true }));
                    ready.push(body);
                    ready.sort_by_key(|body| body[0]);
                }
                _ => {}
            }
            while !reject && exceeds(&ready) {
                ready.remove(0);
            }
            let queue = &bench.broker.queue_snapshots()[0];
            prop_assert_eq!((&queue.ready_bodies, queue.unacked), (&ready, held.len()));
            prop_assert_eq!(queue.ready_bytes, ready.iter().map(|body| body.len() as u64).sum::<u64>());
        }
        bench.method(AMQPClass::Queue(queue::AMQPMethod::Delete(queue::Delete { queue: "q".into(), ..queue::Delete::default() })));
        let all = basic::AMQPMethod::Ack(basic::Ack { delivery_tag: 0, multiple: true });
        basic_method(&mut bench, all);
        prop_assert_eq!(bench.broker.memory(), 0);
    }
}

/// A single active consumer is alone, whatever credit comes back to the one before.
#[test]
fn a_consumer_that_gave_way_gets_nothing_more() {
    for prefetch in [1, 2] {
        let mut bench = Bench::new();
        let arguments = [("x-queue-type", AMQPValue::LongString("quorum".into())), ("x-single-active-consumer", AMQPValue::Boolean(true))];
        bench.declare("q", &arguments);
        bench.qos(prefetch);
        bench.consume("q", "first", &[]);
        let mut held = Vec::new();
        for n in 0..6u8 {
            held.extend(got(&bench.publish("q", AMQPProperties::default(), &[n])));
        }
        assert_eq!(held.len(), usize::from(prefetch));
        let mut later = got(&bench.consume("q", "second", &[("x-priority", AMQPValue::LongInt(1))]));
        for got_before in held {
            later.extend(got(&bench.ack(got_before.tag)));
        }
        let consumers: Vec<&str> = later.iter().map(|got| got.consumer.as_str()).collect();
        assert_eq!(consumers, vec!["second"; usize::from(prefetch)], "prefetch {prefetch}");
    }
}
