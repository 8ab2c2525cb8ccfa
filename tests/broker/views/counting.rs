//! Counters: what each counts, and that totals are sums over what is there and what is gone.

use std::collections::BTreeMap;

use amq_protocol::protocol::basic;
use amq_protocol::types::AMQPValue;
use leveret::broker::counters::{ChannelCounters, Churn, DeliveryCounters, ExchangeCounters, QueueCounters, Strategy};
use leveret::broker::queue::QueueType;
use leveret::broker::{ConnectionId, Input, Profile, Reason};

use super::{plain, *};

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// Each way of getting a message counts once, in its queue and in the channel.
#[test]
fn deliveries_and_their_settlements() {
    let mut bench = Bench::new();
    bench.declare("q", &[]);
    for body in [b"1", b"2", b"3", b"4", b"5"] {
        bench.publish("q", plain(), body);
    }
    let got = bench.get("q", false).expect("a message");
    bench.ack(got.tag);
    bench.get("q", true).expect("a message");
    bench.consume("q", "c", &[]);
    // Three were delivered; one comes back, and is delivered again.
    bench.reject(3, true);
    bench.ack(4);
    bench.reject(5, false);
    bench.cancel("c");
    assert!(bench.get("q", true).is_none());
    bench.consume_without_ack("q", "d");
    bench.publish("q", plain(), b"6");
    let queue = QueueCounters {
        publish: 6,
        deliver: 4,
        deliver_no_ack: 1,
        get: 1,
        get_no_ack: 1,
        get_empty: 1,
        ack: 2,
        redeliver: 1,
        ..QueueCounters::default()
    };
    assert_eq!(bench.counted("q"), queue);
    assert_eq!(queue.deliver_get(), 7);
    let channel = ChannelCounters {
        publish: 6,
        deliver: 4,
        deliver_no_ack: 1,
        get: 1,
        get_no_ack: 1,
        get_empty: 1,
        ack: 2,
        redeliver: 1,
        ..ChannelCounters::default()
    };
    assert_eq!(bench.channel_counted(), channel);
    assert_eq!(channel.deliver_get(), 7);
    assert_eq!(bench.exchange_counted(""), ExchangeCounters { publish_in: 6, publish_out: 6 });
}

/// What comes back unsettled is redelivered to whoever gets it, by basic.get as well.
#[test]
fn redeliveries() {
    let mut bench = Bench::new();
    bench.declare("q", &[]);
    bench.publish("q", plain(), b"1");
    bench.publish("q", plain(), b"2");
    bench.get("q", false).expect("a message");
    bench.get("q", false).expect("a message");
    bench.close_channel();
    bench.open_channel();
    assert!(bench.get("q", false).expect("a message").redelivered);
    assert!(bench.get("q", true).expect("a message").redelivered);
    let counted = bench.counted("q");
    assert_eq!((counted.get, counted.get_no_ack, counted.redeliver, counted.ack), (3, 1, 2, 0));
    let counted = bench.channel_counted();
    assert_eq!((counted.get, counted.get_no_ack, counted.redeliver), (1, 1, 2), "of the new channel");
}

/// One ack may settle many messages.
#[test]
fn an_ack_of_many_counts_each() {
    let mut bench = Bench::new();
    bench.declare("q", &[]);
    (0..3).for_each(|_| drop(bench.publish("q", plain(), b"m")));
    bench.consume("q", "c", &[]);
    bench.basic(basic::AMQPMethod::Ack(basic::Ack { delivery_tag: 3, multiple: true }));
    assert_eq!((bench.counted("q").ack, bench.channel_counted().ack), (3, 3));
}

/// The exchange that a client publishes to counts, and not those behind it.
#[test]
fn exchanges() {
    let mut bench = Bench::new();
    bench.declare_exchange("front", "fanout");
    bench.declare_exchange("back", "fanout");
    bench.bind_exchange("back", "front", "");
    for name in ["q1", "q2", "q3"] {
        bench.declare(name, &[]);
    }
    bench.bind("q1", "front", "");
    bench.bind("q2", "back", "");
    bench.bind("q3", "back", "");
    // The second goes the way of the first.
    (0..2).for_each(|_| bench.publish_to("front", "", b"m"));
    bench.publish_to("back", "", b"m");
    assert_eq!(bench.exchange_counted("front"), ExchangeCounters { publish_in: 2, publish_out: 6 });
    assert_eq!(bench.exchange_counted("back"), ExchangeCounters { publish_in: 1, publish_out: 2 });
    assert_eq!(bench.exchange_counted(""), ExchangeCounters::default());
    assert_eq!([bench.counted("q1").publish, bench.counted("q2").publish, bench.counted("q3").publish], [2, 3, 3]);
    assert_eq!(bench.channel_counted().publish, 3);
}

#[test]
fn messages_that_lead_nowhere() {
    let mut bench = Bench::new();
    for mandatory in [true, false, false] {
        let publish = basic::Publish { routing_key: "nowhere".into(), mandatory, ..basic::Publish::default() };
        bench.say(&crate::properties::bench::publish_as(publish, plain(), b"m"));
    }
    let counted = bench.channel_counted();
    assert_eq!((counted.publish, counted.return_unroutable, counted.drop_unroutable), (3, 1, 2));
    assert_eq!(bench.exchange_counted(""), ExchangeCounters { publish_in: 3, publish_out: 0 });
}

/// A publish that is refused with an error is none.
#[test]
fn refused_publishes_do_not_count() {
    let mut bench = Bench::new();
    let answer = bench.say(&publish_to("no such exchange", "", plain(), b"m"));
    assert_eq!(bench.reopened(&answer), Some(404));
    assert_eq!(bench.broker.totals().messages, ChannelCounters::default());
}

/// A nack is no confirm, and what a queue refuses has reached it all the same.
#[test]
fn confirms() {
    let mut bench = Bench::new();
    bench.declare("q", &[("x-max-length", AMQPValue::LongInt(1)), ("x-overflow", text("reject-publish"))]);
    bench.publish("q", plain(), b"before");
    bench.confirm_select();
    bench.publish("q", plain(), b"refused");
    bench.publish("nowhere", plain(), b"dropped");
    bench.purge("q");
    bench.publish("q", plain(), b"taken");
    let counted = bench.channel_counted();
    assert_eq!((counted.publish, counted.publish_confirm, counted.confirm, counted.drop_unroutable), (4, 3, 2, 1));
    assert_eq!((bench.counted("q").publish, bench.queue("q").ready.messages), (3, 1));
    let channel = bench.channel();
    assert_eq!((channel.confirm, channel.transactional, channel.unconfirmed), (true, false, 0));
}

/// Transactions count when they are committed.
#[test]
fn transactions() {
    let mut bench = Bench::new();
    bench.declare("q", &[]);
    bench.publish("q", plain(), b"1");
    bench.publish("q", plain(), b"2");
    bench.consume("q", "c", &[]);
    bench.tx_select();
    bench.publish("q", plain(), b"3");
    bench.ack(1);
    bench.reject(2, false);
    let channel = bench.channel();
    assert_eq!((channel.transactional, channel.uncommitted, channel.acks_uncommitted, channel.unacked), (true, 1, 1, 0));
    assert_eq!((channel.counters.publish, channel.counters.ack), (2, 0));
    assert_eq!((bench.counted("q").publish, bench.counted("q").ack, bench.queue("q").unacked.messages), (2, 0, 2));
    bench.tx_commit();
    let channel = bench.channel();
    assert_eq!((channel.uncommitted, channel.acks_uncommitted, channel.unacked), (0, 0, 1));
    assert_eq!((channel.counters.publish, channel.counters.publish_confirm, channel.counters.ack), (3, 1, 1));
    assert_eq!((bench.counted("q").publish, bench.counted("q").ack), (3, 1));
    assert_eq!(bench.exchange_counted("").publish_in, 3);
}

/// What no client has published just now is not counted as published.
#[test]
fn dead_letters_are_forwarded() {
    let mut bench = Bench::new();
    bench.declare("dead", &[]);
    let to_dead = [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("dead"))];
    bench.declare("q", &to_dead);
    bench.publish("q", plain(), b"m");
    let got = bench.get("q", false).expect("a message");
    bench.reject(got.tag, false);
    let counted = bench.counted("dead");
    assert_eq!((counted.publish, counted.forwarded), (0, 1));
    assert_eq!(bench.exchange_counted("").publish_in, 1);
    assert_eq!(bench.counted("q").ack, 0, "a reject is no ack");
}

/// By the type of the queue, what becomes of them, and why they died.
#[test]
fn deaths() {
    use QueueType::{Classic, Quorum};
    let mut bench = Bench::of(Profile::PERMISSIVE);
    bench.declare("dead", &[]);
    let to = |exchange: &str| ("x-dead-letter-exchange", text(exchange));
    let key = ("x-dead-letter-routing-key", text("dead"));
    let quorum = ("x-queue-type", text("quorum"));
    bench.declare("none", &[]);
    bench.declare("missing", &[to("no such exchange")]);
    bench.declare("once", &[to(""), key.clone(), ("x-max-length", AMQPValue::LongInt(1))]);
    bench.declare("limited", &[quorum.clone(), to(""), key.clone(), ("x-delivery-limit", AMQPValue::LongInt(0))]);
    let sure = [quorum, to(""), key, ("x-dead-letter-strategy", text("at-least-once")), ("x-overflow", text("reject-publish"))];
    bench.declare("sure", &sure);
    for queue in ["none", "missing", "sure"] {
        bench.publish(queue, plain(), b"m");
        let got = bench.get(queue, false).expect("a message");
        bench.reject(got.tag, false);
    }
    bench.publish("none", plain().with_expiration("10".into()), b"m");
    bench.pass(10);
    bench.publish("once", plain(), b"m");
    bench.publish("once", plain(), b"m");
    bench.publish("limited", plain(), b"m");
    let got = bench.get("limited", false).expect("a message");
    bench.reject(got.tag, true);
    let died = bench.broker.totals().dead_letters;
    let mut expected = leveret::broker::counters::DeadLetters::default();
    let all = [
        (Classic, Strategy::Disabled, Reason::Rejected, 2),
        (Classic, Strategy::Disabled, Reason::Expired, 1),
        (Classic, Strategy::AtMostOnce, Reason::MaxLength, 1),
        (Quorum, Strategy::AtMostOnce, Reason::DeliveryLimit, 1),
        (Quorum, Strategy::AtLeastOnce, Reason::Rejected, 1),
    ];
    for (kind, strategy, reason, count) in all {
        assert_eq!(died.count(kind, strategy, reason), count, "{kind:?} {strategy:?} {reason:?}");
    }
    let sum: u64 = Reason::ALL.into_iter().map(|reason| died.of(reason)).sum();
    assert_eq!((sum, died.confirmed), (6, 1));
    expected += died;
    assert_eq!(expected, died);
}

/// Queues and channels that go leave what they have counted.
#[test]
fn totals_keep_what_is_gone() {
    let mut bench = Bench::new();
    bench.declare("classic", &[]);
    bench.declare("quorum", &[("x-queue-type", text("quorum"))]);
    bench.confirm_select();
    for queue in ["classic", "quorum", "quorum"] {
        bench.publish(queue, plain(), b"m");
        bench.get(queue, false).expect("a message");
    }
    bench.ack(1);
    bench.ack(2);
    let before = bench.broker.totals();
    bench.delete("quorum");
    bench.close_channel();
    assert_eq!((before.messages, before.queues), (bench.broker.totals().messages, bench.broker.totals().queues));
    assert_eq!((before.messages.publish, before.messages.get, before.messages.ack), (3, 3, 2));
    assert_eq!((before.messages.publish_confirm, before.messages.confirm), (3, 3));
    let of = |kind| (before.queues.of(kind).publish, before.queues.of(kind).get, before.queues.of(kind).ack);
    assert_eq!((of(QueueType::Classic), of(QueueType::Quorum), of(QueueType::Stream)), ((1, 1, 1), (2, 2, 1), (0, 0, 0)));
    assert_eq!(before.queues.sum().publish, 3);
    // A channel that the broker closes is gone as well, though its number is not free yet.
    bench.open_channel();
    bench.publish("classic", plain(), b"m");
    bench.publish_to("no such exchange", "", b"m");
    assert_eq!((bench.broker.totals().messages.publish, bench.broker.totals().objects.channels), (4, 0));
}

#[test]
fn churn() {
    let mut bench = Bench::new();
    bench.declare("q", &[]);
    bench.declare("q", &[]);
    bench.declare("q", &[("x-max-length", AMQPValue::LongInt(1))]);
    // That was refused, and closed the channel.
    bench.reconnect();
    bench.declare("gone", &[]);
    bench.delete("gone");
    bench.close_channel();
    let expected = Churn {
        connection_created: 2,
        connection_closed: 1,
        channel_created: 2,
        channel_closed: 2,
        queue_declared: 4,
        queue_created: 2,
        queue_deleted: 1,
    };
    assert_eq!(bench.broker.totals().churn, expected);
    bench.input(Input::Disconnected(ConnectionId(0)));
    bench.input(Input::Disconnected(ConnectionId(0)));
    assert_eq!(bench.broker.totals().churn, Churn { connection_closed: 2, ..expected });
}

/// Names and numbers, for those who print them.
#[test]
fn counters_have_names() {
    let counters = ExchangeCounters { publish_in: 1, publish_out: 2 };
    assert_eq!(counters.iter().collect::<Vec<_>>(), [("publish_in", 1), ("publish_out", 2)]);
}

/// What a client does with a queue at random.
#[derive(Clone, Copy, Debug)]
enum Step {
    Publish,
    Get { no_ack: bool },
    Consume { no_ack: bool },
    Cancel,
    Ack,
    Requeue,
    Discard,
    Reopen,
}

fn step() -> impl proptest::strategy::Strategy<Value = Step> {
    use proptest::prelude::*;
    prop_oneof![
        6 => Just(Step::Publish),
        2 => any::<bool>().prop_map(|no_ack| Step::Get { no_ack }),
        1 => any::<bool>().prop_map(|no_ack| Step::Consume { no_ack }),
        1 => Just(Step::Cancel),
        3 => Just(Step::Ack),
        2 => Just(Step::Requeue),
        1 => Just(Step::Discard),
        1 => Just(Step::Reopen),
    ]
}

proptest::proptest! {
    /// Whatever came is still there, or left in a way that is counted; each message that was given out was so once, or again.
    #[test]
    fn nothing_gets_lost_in_the_counting(steps in proptest::collection::vec(step(), 1..80), quorum: bool, bounded: bool, durable: bool) {
        let mut bench = if durable { Bench::durable(true) } else { Bench::detailed() };
        let mut arguments = vec![("x-queue-type", text(if quorum { "quorum" } else { "classic" }))];
        arguments.extend(bounded.then_some(("x-max-length", AMQPValue::LongInt(2))));
        bench.declare("q", &arguments);
        let mut held: Vec<u64> = Vec::new();
        let mut tags = 0;
        for step in steps {
            let answer = match step {
                Step::Publish => bench.publish("q", if durable { persistent() } else { plain() }, b"m"),
                Step::Get { no_ack } => bench.basic(basic::AMQPMethod::Get(basic::Get { queue: "q".into(), no_ack })),
                Step::Consume { no_ack } => {
                    tags += 1;
                    let consumer_tag = format!("{no_ack}{tags}").into();
                    let consume = basic::Consume { queue: "q".into(), consumer_tag, no_ack, ..basic::Consume::default() };
                    bench.basic(basic::AMQPMethod::Consume(consume))
                }
                Step::Cancel => {
                    ["true", "false"].iter().for_each(|no_ack| bench.cancel(&format!("{no_ack}{tags}")));
                    Vec::new()
                }
                Step::Ack => held.pop().map_or_else(Vec::new, |tag| bench.ack(tag)),
                Step::Requeue if !held.is_empty() => bench.reject(held.remove(0), true),
                Step::Discard if !held.is_empty() => bench.reject(held.remove(0), false),
                Step::Requeue | Step::Discard => Vec::new(),
                Step::Reopen => {
                    bench.close_channel();
                    held.clear();
                    bench.open_channel();
                    Vec::new()
                }
            };
            let acks = |got: &crate::properties::bench::Got| match step {
                Step::Get { no_ack } => !no_ack,
                _ => got.consumer.starts_with("false"),
            };
            held.extend(crate::properties::bench::got(&answer).iter().filter(|got| acks(got)).map(|got| got.tag));
            let QueueCounters { publish, deliver, deliver_no_ack, get, get_no_ack, ack, redeliver, .. } = bench.counted("q");
            let view = bench.queue("q");
            let totals = bench.broker.totals();
            let dead: u64 = Reason::ALL.into_iter().map(|reason| totals.dead_letters.of(reason)).sum();
            proptest::prop_assert_eq!(publish, view.total().messages + ack + deliver_no_ack + get_no_ack + dead);
            proptest::prop_assert_eq!(view.unacked.messages, held.len() as u64);
            proptest::prop_assert!(redeliver <= deliver + deliver_no_ack + get + get_no_ack);
            proptest::prop_assert_eq!(totals.messages.deliver_get(), view.counters.deliver_get());
            proptest::prop_assert_eq!(totals.messages.ack, ack);
            if durable {
                proptest::prop_assert_eq!(view.persistent, view.total());
                continue;
            }
            // There is one queue: what the channel counts of it is all that it counts.
            let channel: BTreeMap<&str, u64> = bench.channel_counted().iter().collect();
            let pairs = bench.broker.delivered_to_channel(ConnectionId(0), 1);
            let pair = pairs.first().map_or_else(DeliveryCounters::default, |(_, pair)| pair.counters);
            for (name, value) in pair.iter() {
                proptest::prop_assert_eq!((name, value), (name, channel[name]));
            }
        }
    }
}
