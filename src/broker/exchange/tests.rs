//! The exchange types that choose: how evenly, and what moves when bindings come and go.

use std::collections::BTreeMap;

use proptest::prelude::*;
use slotmap::SlotMap;

use super::deduplication::Cache;
use super::{Destination, Exchange, Kind, Published};
use crate::amqp::{AMQPValue, FieldTable, Message};
use crate::broker::Timestamp;
use crate::broker::queue::QueueId;
use crate::broker::random::Random;

/// An exchange with queues that are known by their names.
struct Bench {
    exchange: Exchange,
    ids: SlotMap<QueueId, String>,
    queues: BTreeMap<String, QueueId>,
    random: Random,
}

impl Bench {
    fn new(kind: Kind) -> Self {
        Self::with_arguments(kind, FieldTable::default())
    }

    fn with_arguments(kind: Kind, arguments: FieldTable) -> Self {
        let exchange = Exchange::new("/", "x".into(), kind, false, arguments).expect("an exchange");
        Self { exchange, ids: SlotMap::with_key(), queues: BTreeMap::new(), random: Random::new(1) }
    }

    fn bind(&mut self, queue: &str, key: &str) {
        let id = *self.queues.entry(queue.to_owned()).or_insert_with(|| self.ids.insert(queue.to_owned()));
        self.exchange.bind(Destination::Queue(id), queue, key, FieldTable::default());
    }

    fn unbind_all(&mut self, queue: &str) {
        self.exchange.unbind_all(Destination::Queue(self.queues[queue]));
    }

    /// Where a message goes, one queue at most.
    fn route(&mut self, message: &Message) -> Option<String> {
        let mut found = Vec::new();
        self.exchange.route(Published { message, more_keys: &[] }, &mut self.random, &mut found);
        assert!(found.len() <= 1, "{found:?}");
        match found.first()? {
            Destination::Queue(id) => Some(self.ids[*id].clone()),
            Destination::Exchange(_) => None,
        }
    }

    /// The owners of so many keys.
    fn owners(&mut self, keys: usize) -> Vec<Option<String>> {
        (0..keys).map(|n| self.route(&keyed(&format!("key-{n}")))).collect()
    }
}

fn keyed(key: &str) -> Message {
    Message::new(b"x", key.as_bytes(), &[0, 0], b"")
}

const KEYS: usize = 2000;

/// Queues with different names and a weight each.
fn members() -> impl Strategy<Value = BTreeMap<String, u32>> {
    prop::collection::btree_map("[a-z]{1,8}", 1..6u32, 2..10)
}

fn ring(members: &BTreeMap<String, u32>) -> Bench {
    let mut bench = Bench::new(Kind::ConsistentHash);
    for (queue, weight) in members {
        bench.bind(queue, &weight.to_string());
    }
    bench
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_new_queue_takes_its_share_and_moves_nothing_else(members in members(), weight in 1..6u32) {
        let mut bench = ring(&members);
        let before = bench.owners(KEYS);
        bench.bind("a new queue", &weight.to_string());
        let after = bench.owners(KEYS);
        let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
        prop_assert!(moved.iter().all(|(_, after)| after.as_deref() == Some("a new queue")));
        let total: u32 = members.values().sum::<u32>() + weight;
        let fair = KEYS * weight as usize / total as usize;
        prop_assert!((fair / 3..=fair * 2).contains(&moved.len()), "{} of {KEYS} moved, {fair} would be fair", moved.len());
        // And it gives back what it took.
        bench.unbind_all("a new queue");
        prop_assert_eq!(bench.owners(KEYS), before);
    }

    #[test]
    fn a_queue_that_goes_moves_only_its_own_keys(members in members()) {
        let mut bench = ring(&members);
        let before = bench.owners(KEYS);
        let gone = members.keys().next().cloned();
        bench.unbind_all(gone.as_deref().unwrap_or_default());
        let after = bench.owners(KEYS);
        for (before, after) in before.iter().zip(&after) {
            prop_assert_eq!(before == after, *before != gone);
        }
    }

    #[test]
    fn the_order_of_bindings_does_not_matter(members in members()) {
        let mut backwards = Bench::new(Kind::ConsistentHash);
        // Ids are others, too.
        backwards.bind("another", "5");
        for (queue, weight) in members.iter().rev() {
            backwards.bind(queue, &format!("0{weight}"));
        }
        backwards.unbind_all("another");
        prop_assert_eq!(backwards.owners(KEYS), ring(&members).owners(KEYS));
    }

    #[test]
    fn a_cache_remembers_as_a_list_does(
        size in 1..5usize,
        ttl in prop::option::of(1..20u64),
        steps in prop::collection::vec((0..8u8, prop::option::weighted(0.3, 1..20u64), 0..6u64, prop::bool::weighted(0.1)), 1..80),
    ) {
        let mut cache = Cache::new(size, ttl);
        let mut list: Vec<(u8, Option<u64>)> = Vec::new();
        let mut now = 0;
        for (value, own_ttl, passed, forgets) in steps {
            now += passed;
            if forgets {
                cache.forget(&[value]);
                list.retain(|(v, _)| *v != value);
                continue;
            }
            let known = list.iter().any(|(v, until)| *v == value && until.is_none_or(|until| now < until));
            prop_assert_eq!(cache.contains(&[value], Timestamp(now)), known);
            cache.insert(&[value], own_ttl, Timestamp(now));
            prop_assert!(cache.contains(&[value], Timestamp(now)));
            if !known {
                list.retain(|(v, _)| *v != value);
                if list.len() == size {
                    list.remove(0);
                }
                list.push((value, own_ttl.or(ttl).map(|ttl| now + ttl)));
            }
            prop_assert_eq!(cache.len(), list.len());
            prop_assert_eq!(cache.memory() > 0, !list.is_empty());
        }
    }
}

#[test]
fn shares_follow_the_weights() {
    let weights = BTreeMap::from([("a", 1), ("b", 1), ("c", 2), ("d", 4), ("e", 8)].map(|(name, weight)| (name.to_owned(), weight)));
    let total: u32 = weights.values().sum();
    let keys = 32_000;
    let owners = ring(&weights).owners(keys);
    for (queue, weight) in weights {
        let got = owners.iter().filter(|owner| owner.as_ref() == Some(&queue)).count();
        let fair = keys * weight as usize / total as usize;
        assert!((fair * 2 / 3..=fair * 3 / 2).contains(&got), "{queue} of weight {weight} got {got}, {fair} would be fair");
    }
}

/// Properties with a header table of one entry.
fn with_header(name: &str, value: &[u8]) -> Vec<u8> {
    let mut table = vec![u8::try_from(name.len()).expect("short")];
    table.extend_from_slice(name.as_bytes());
    table.extend_from_slice(value);
    let mut properties = vec![0x20, 0];
    properties.extend_from_slice(&u32::try_from(table.len()).expect("short").to_be_bytes());
    properties.extend_from_slice(&table);
    properties
}

fn hashing(argument: &str, value: &str) -> Bench {
    let mut arguments = FieldTable::default();
    arguments.insert(argument.into(), AMQPValue::LongString(value.into()));
    let mut bench = Bench::with_arguments(Kind::ConsistentHash, arguments);
    for n in 0..16 {
        bench.bind(&format!("q{n}"), "1");
    }
    bench
}

/// Whether messages with these properties, under many routing keys, all go to one queue; which.
fn one_owner(bench: &mut Bench, properties: &[u8]) -> Option<String> {
    let owner = bench.route(&Message::new(b"x", b"", properties, b""));
    for n in 0..20 {
        assert_eq!(bench.route(&Message::new(b"x", format!("{n}").as_bytes(), properties, b"")), owner);
    }
    owner
}

#[test]
fn a_header_or_property_decides_and_the_key_does_not() {
    let mut by_header = hashing("hash-header", "h");
    let mut by_id = hashing("hash-property", "message_id");
    let mut by_correlation = hashing("hash-property", "correlation_id");
    let mut by_time = hashing("hash-property", "timestamp");
    let (mut headers, mut ids, mut correlations, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for n in 0..32u8 {
        headers.push(one_owner(&mut by_header, &with_header("h", &[b'B', n])));
        ids.push(one_owner(&mut by_id, &[0, 0x80, 1, n]));
        correlations.push(one_owner(&mut by_correlation, &[0x04, 0, 1, n]));
        times.push(one_owner(&mut by_time, &[0, 0x40, 0, 0, 0, 0, 0, 0, 0, n]));
        // What is not there is alike.
        let other = with_header("i", &[b'B', n]);
        let nothing = one_owner(&mut by_header, &[0, 0]);
        assert!(nothing.is_some());
        assert_eq!(one_owner(&mut by_header, &other), nothing);
        assert_eq!(one_owner(&mut by_id, &other), one_owner(&mut by_id, &[0, 0]));
    }
    for mut owners in [headers, ids, correlations, times] {
        owners.sort();
        owners.dedup();
        assert!(owners.len() > 8, "32 values go to {} of 16 queues", owners.len());
    }
}

#[test]
fn a_random_choice_is_among_bindings() {
    let mut bench = Bench::new(Kind::Random);
    for (queue, key) in [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("c", "")] {
        bench.bind(queue, key);
    }
    let counts = |bench: &mut Bench| {
        let owners = bench.owners(5000);
        ["a", "b", "c"].map(|name| owners.iter().filter(|owner| owner.as_deref() == Some(name)).count())
    };
    let [a, b, c] = counts(&mut bench);
    assert!((2800..3200).contains(&a) && (850..1150).contains(&b) && (850..1150).contains(&c), "{a} {b} {c}");
    bench.unbind_all("a");
    let [a, b, c] = counts(&mut bench);
    assert!(a == 0 && (2300..2700).contains(&b) && (2300..2700).contains(&c), "{a} {b} {c}");
}

#[test]
fn a_random_choice_comes_from_the_seed() {
    let choices = |seed| {
        let mut bench = Bench::new(Kind::Random);
        bench.random = Random::new(seed);
        for queue in ["a", "b", "c"] {
            bench.bind(queue, "");
        }
        bench.owners(50)
    };
    assert_eq!(choices(7), choices(7));
    assert_ne!(choices(7), choices(8));
}

#[test]
fn only_what_depends_on_the_key_alone_may_be_remembered() {
    let expected = [
        (Kind::Direct, true),
        (Kind::Fanout, true),
        (Kind::Topic, true),
        (Kind::Headers, false),
        (Kind::ConsistentHash, true),
        (Kind::Random, false),
        (Kind::LocalRandom, false),
        (Kind::ModulusHash, true),
        (Kind::RecentHistory, false),
    ];
    for (kind, by_key) in expected {
        assert_eq!(Bench::new(kind).exchange.routes_by_key_alone(), by_key, "{kind:?}");
    }
    assert!(!hashing("hash-header", "h").exchange.routes_by_key_alone());
    assert!(!hashing("hash-property", "timestamp").exchange.routes_by_key_alone());
    let mut arguments = FieldTable::default();
    arguments.insert("x-message-deduplication".into(), AMQPValue::Boolean(true));
    assert!(!Bench::with_arguments(Kind::Direct, arguments).exchange.routes_by_key_alone());
}

#[test]
fn names_lead_back_to_their_kinds() {
    for kind in Kind::ALL {
        assert_eq!(Kind::named(kind.name()), Some(kind));
    }
    assert_eq!(Kind::named("x-unknown"), None);
}
