//! Counters of pairs: each pair counts what is between its ends, and ends with either of them.

use std::sync::Arc;

use amq_protocol::types::AMQPValue;
use leveret::broker::counters::{DeliveryCounters, PublishCounters};
use leveret::broker::{ConnectionId, Input, Pair};

use super::{plain, *};

const HERE: ConnectionId = ConnectionId(0);

/// Names and counters; what a pair is numbered is looked at apart.
fn counted<N, C>(pairs: Vec<(N, Pair<C>)>) -> Vec<(N, C)> {
    pairs.into_iter().map(|(name, pair)| (name, pair.counters)).collect()
}

fn by_name<C: Copy>(pairs: &[(&str, C)]) -> Vec<(Arc<str>, C)> {
    pairs.iter().map(|(name, counters)| (Arc::from(*name), *counters)).collect()
}

impl Bench {
    fn published(&self) -> Vec<(Arc<str>, PublishCounters)> {
        counted(self.broker.published_by_channel(HERE, 1))
    }

    fn delivered(&self) -> Vec<(Arc<str>, DeliveryCounters)> {
        counted(self.broker.delivered_to_channel(HERE, 1))
    }

    fn incoming(&self, queue: &str) -> Vec<(Arc<str>, u64)> {
        counted(self.broker.routed_to_queue(queue))
    }

    fn outgoing(&self, exchange: &str) -> Vec<(Arc<str>, u64)> {
        counted(self.broker.routed_by_exchange(exchange))
    }

    /// How many pairs there are of each kind.
    fn pairs(&self) -> [usize; 3] {
        let sample = self.broker.sample();
        [sample.published.len(), sample.delivered.len(), sample.routed.len()]
    }

    fn mandatory(&mut self, exchange: &str, key: &str) {
        let publish = basic::Publish { exchange: exchange.into(), routing_key: key.into(), mandatory: true, ..basic::Publish::default() };
        self.say(&crate::properties::bench::publish_as(publish, plain(), b"m"));
    }
}

/// `front` leads to `q1` and, through `back`, to `q2`.
fn topology(bench: &mut Bench) {
    bench.declare_exchange("front", "fanout");
    bench.declare_exchange("back", "fanout");
    bench.bind_exchange("back", "front", "");
    bench.declare("q1", &[]);
    bench.declare("q2", &[]);
    bench.bind("q1", "front", "");
    bench.bind("q2", "back", "");
}

/// The exchange that a client publishes to counts, for all queues that the message comes to.
#[test]
fn publishes() {
    let mut bench = Bench::detailed();
    topology(&mut bench);
    bench.confirm_select();
    // The second goes the way of the first.
    (0..2).for_each(|_| bench.publish_to("front", "", b"m"));
    bench.publish_to("back", "", b"m");
    bench.publish("q1", plain(), b"m");
    bench.publish("nowhere", plain(), b"m");
    bench.mandatory("amq.direct", "nowhere");
    let published =
        |publish, drop_unroutable, return_unroutable| PublishCounters { publish, confirm: publish, drop_unroutable, return_unroutable };
    let expected = by_name(&[
        ("", published(2, 1, 0)),
        ("amq.direct", published(1, 0, 1)),
        ("back", published(1, 0, 0)),
        ("front", published(2, 0, 0)),
    ]);
    assert_eq!(bench.published(), expected);
    for (exchange, counters) in expected {
        assert_eq!(counted(bench.broker.published_to_exchange(&exchange)), [((HERE, 1), counters)], "{exchange}");
    }
    assert_eq!(bench.incoming("q1"), by_name(&[("", 1), ("front", 2)]));
    assert_eq!(bench.incoming("q2"), by_name(&[("back", 1), ("front", 2)]));
    assert_eq!(bench.outgoing("front"), by_name(&[("q1", 2), ("q2", 2)]));
    assert_eq!(bench.outgoing(""), by_name(&[("q1", 1)]));
    assert!(bench.outgoing("amq.direct").is_empty());
    // Nothing was given to anybody.
    assert_eq!((bench.delivered(), bench.broker.delivered_by_queue("q1")), (vec![], vec![]));
}

#[test]
fn a_refused_publish_is_not_confirmed() {
    let mut bench = Bench::detailed();
    bench.declare("q", &[("x-max-length", AMQPValue::LongInt(1)), ("x-overflow", AMQPValue::LongString("reject-publish".into()))]);
    bench.confirm_select();
    (0..3).for_each(|_| drop(bench.publish("q", plain(), b"m")));
    let expected = PublishCounters { publish: 3, confirm: 1, ..PublishCounters::default() };
    assert_eq!(bench.published(), by_name(&[("", expected)]));
    assert_eq!(bench.incoming("q"), by_name(&[("", bench.counted("q").publish)]), "refused ones included");
}

/// Every way to get a message, and its settlement, as queue and channel count them.
#[test]
fn deliveries() {
    let mut bench = Bench::detailed();
    bench.declare("q", &[]);
    bench.declare("empty", &[]);
    for body in [b"1", b"2", b"3", b"4", b"5"] {
        bench.publish("q", plain(), body);
    }
    let got = bench.get("q", false).expect("a message");
    bench.ack(got.tag);
    bench.get("q", true).expect("a message");
    assert!(bench.get("empty", true).is_none());
    bench.consume("q", "c", &[]);
    // Three were delivered; one comes back, and is delivered again.
    bench.reject(3, true);
    bench.ack(4);
    bench.reject(5, false);
    bench.cancel("c");
    bench.consume_without_ack("q", "d");
    bench.publish("q", plain(), b"6");
    let expected = DeliveryCounters { deliver: 4, deliver_no_ack: 1, get: 1, get_no_ack: 1, get_empty: 0, ack: 2, redeliver: 1 };
    let nothing = DeliveryCounters { get_empty: 1, ..DeliveryCounters::default() };
    assert_eq!(bench.delivered(), by_name(&[("empty", nothing), ("q", expected)]));
    assert_eq!(counted(bench.broker.delivered_by_queue("q")), [((HERE, 1), expected)]);
    assert_eq!(expected.deliver_get(), bench.counted("q").deliver_get());
}

#[test]
fn transactions_count_when_they_commit() {
    let mut bench = Bench::detailed();
    topology(&mut bench);
    bench.publish("q1", plain(), b"m");
    bench.get("q1", false).expect("a message");
    bench.tx_select();
    bench.ack(1);
    for exchange in ["front", "back"] {
        bench.publish_to(exchange, "", b"m");
    }
    assert_eq!((bench.published().len(), bench.delivered()[0].1.ack), (1, 0));
    // What goes before the commit has no pairs after it.
    bench.delete_exchange("back");
    bench.delete("q2");
    bench.tx_commit();
    let one = PublishCounters { publish: 1, ..PublishCounters::default() };
    assert_eq!(bench.published(), by_name(&[("", one), ("front", one)]));
    assert_eq!((bench.delivered()[0].1.ack, bench.outgoing("front")), (1, by_name(&[("q1", 1)])));
    assert_eq!(bench.pairs(), [2, 1, 2]);
}

/// Whichever end goes, its pairs go; one of the same name that comes later begins with nothing, in another pair.
#[test]
fn pairs_end_with_what_they_are_between() {
    let mut bench = Bench::detailed();
    topology(&mut bench);
    bench.publish_to("front", "", b"m");
    bench.get("q1", false).expect("a message");
    bench.get("q2", true).expect("a message");
    assert_eq!(bench.pairs(), [1, 2, 2]);
    let number = |bench: &Bench| bench.broker.routed_by_exchange("front")[0].1.number;
    let before = number(&bench);

    bench.delete("q1");
    assert_eq!((bench.pairs(), bench.outgoing("front")), ([1, 1, 1], by_name(&[("q2", 1)])));
    // It has left a message with the channel, which makes no pair with another queue of that name.
    bench.declare("q1", &[]);
    bench.ack(1);
    assert_eq!((bench.incoming("q1"), bench.delivered().len()), (vec![], 1));
    bench.bind("q1", "front", "");
    bench.publish_to("front", "", b"m");
    assert_eq!(bench.incoming("q1"), by_name(&[("front", 1)]));
    assert_ne!(number(&bench), before);

    bench.delete_exchange("front");
    assert_eq!((bench.pairs(), bench.incoming("q1"), bench.published()), ([0, 1, 0], vec![], vec![]));
    bench.declare_exchange("front", "fanout");
    assert_eq!((bench.outgoing("front"), bench.broker.published_to_exchange("front")), (vec![], vec![]));

    bench.bind("q1", "front", "");
    bench.publish_to("front", "", b"m");
    bench.close_channel();
    assert_eq!((bench.pairs(), bench.broker.delivered_by_queue("q2")), ([0, 0, 1], vec![]));
    bench.open_channel();
    assert_eq!((bench.published(), bench.delivered()), (vec![], vec![]));
    // A channel that the broker closes is gone as well, though its number is not free yet.
    bench.publish_to("front", "", b"m");
    bench.publish_to("no such exchange", "", b"m");
    assert_eq!(bench.pairs(), [0, 0, 1]);
    bench.reconnect();
    bench.publish_to("front", "", b"m");
    bench.get("q1", true).expect("a message");
    bench.input(Input::Disconnected(HERE));
    bench.input(Input::Reset);
    assert_eq!(bench.pairs(), [0, 0, 0]);
}

#[test]
fn nothing_is_counted_that_nobody_wants() {
    let mut bench = Bench::new();
    topology(&mut bench);
    bench.publish_to("front", "", b"m");
    bench.get("q1", false).expect("a message");
    assert_eq!(bench.pairs(), [0, 0, 0]);
    assert_eq!((bench.published(), bench.delivered(), bench.incoming("q1"), bench.outgoing("front")), (vec![], vec![], vec![], vec![]));
}
