//! A restart against the broker that did not restart: what one gives out, the other gives out too.

use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{AMQPClass, basic, exchange, queue, tx};
use amq_protocol::types::{AMQPValue, FieldTable};
use leveret::broker::Input;
use proptest::prelude::*;

use super::bench::{Bench, Got, table_of};
use super::wire::cases;

#[derive(Clone, Debug)]
enum Step {
    /// To a queue: persistent or not, with a priority, perhaps with an expiration, perhaps delayed.
    Publish {
        to: usize,
        persistent: bool,
        priority: u8,
        expiration: Option<u16>,
        delay: Option<u16>,
        size: u16,
    },
    Get {
        from: usize,
        no_ack: bool,
    },
    Consume {
        from: usize,
        prefetch: u8,
    },
    Settle {
        which: u8,
        how: u8,
    },
    Purge(usize),
    Recreate(usize),
    Commit(bool),
    Pass(u16),
    Reconnect,
    Restart,
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// Name and arguments.
fn queues() -> Vec<(&'static str, Vec<(&'static str, AMQPValue)>)> {
    vec![
        ("plain", vec![]),
        ("dead", vec![]),
        (
            "priority",
            vec![
                ("x-max-priority", AMQPValue::LongInt(3)),
                ("x-dead-letter-exchange", text("")),
                ("x-dead-letter-routing-key", text("dead")),
            ],
        ),
        ("quorum", vec![("x-queue-type", text("quorum")), ("x-delivery-limit", AMQPValue::LongInt(3))]),
        ("endless", vec![("x-queue-type", text("quorum")), ("x-delivery-limit", AMQPValue::LongInt(-1))]),
        (
            "bounded",
            vec![
                ("x-max-length", AMQPValue::LongInt(4)),
                ("x-dead-letter-exchange", text("")),
                ("x-dead-letter-routing-key", text("dead")),
            ],
        ),
        (
            "brief",
            vec![
                ("x-message-ttl", AMQPValue::LongInt(500)),
                ("x-dead-letter-exchange", text("")),
                ("x-dead-letter-routing-key", text("quorum")),
            ],
        ),
        ("unique", vec![("x-message-deduplication", AMQPValue::Boolean(true))]),
    ]
}

fn declare(bench: &mut Bench) {
    for (name, arguments) in queues() {
        bench.declare(name, &arguments);
    }
    let arguments = table_of(&[("x-delayed-type", text("direct"))]);
    let declare = exchange::Declare {
        exchange: "later".into(),
        kind: "x-delayed-message".into(),
        durable: true,
        arguments,
        ..exchange::Declare::default()
    };
    bench.method(AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)));
    for (name, _) in queues() {
        let bind = queue::Bind { queue: name.into(), exchange: "later".into(), routing_key: name.into(), ..queue::Bind::default() };
        bench.method(AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
    }
}

fn step() -> impl Strategy<Value = Step> {
    let queue = 0..queues().len();
    prop_oneof![
        8 => (queue.clone(), any::<bool>(), 0..5u8, prop::option::weighted(0.2, 0..900u16), prop::option::weighted(0.1, 1..900u16), 0..400u16)
            .prop_map(|(to, persistent, priority, expiration, delay, size)| Step::Publish { to, persistent, priority, expiration, delay, size }),
        2 => (queue.clone(), any::<bool>()).prop_map(|(from, no_ack)| Step::Get { from, no_ack }),
        2 => (queue.clone(), 1..4u8).prop_map(|(from, prefetch)| Step::Consume { from, prefetch }),
        6 => (any::<u8>(), 0..5u8).prop_map(|(which, how)| Step::Settle { which, how }),
        1 => queue.clone().prop_map(Step::Purge),
        1 => queue.prop_map(Step::Recreate),
        1 => any::<bool>().prop_map(Step::Commit),
        1 => (0..700u16).prop_map(Step::Pass),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Restart),
    ]
}

/// Every message that is left, by queue, in the order in which it is given out.
fn drain(bench: &mut Bench, survivors: bool) -> Vec<(&'static str, Vec<Got>)> {
    let all = queues().into_iter().map(|(name, arguments)| {
        let mut all = Vec::new();
        while let Some(got) = bench.get(name, true) {
            all.push(Got { tag: 0, ..got });
        }
        let quorum = arguments.iter().any(|(key, _)| *key == "x-queue-type");
        all.retain(|got| !survivors || quorum || *got.properties.delivery_mode() == Some(2));
        (name, all)
    });
    all.collect()
}

struct World {
    bench: Bench,
    pages: bool,
    published: u32,
    consumers: u32,
    outstanding: Vec<u64>,
    in_transaction: bool,
}

impl World {
    fn restart(&mut self, now: u64) {
        self.bench = Bench::started(&self.bench.keeper(), now, self.pages);
        self.outstanding.clear();
        self.in_transaction = false;
    }

    fn note(&mut self, frames: &[amq_protocol::frame::AMQPFrame]) {
        self.outstanding.extend(super::bench::got(frames).iter().map(|got| got.tag));
    }

    fn step(&mut self, step: &Step) {
        let names: Vec<&str> = queues().iter().map(|(name, _)| *name).collect();
        match *step {
            Step::Publish { to, persistent, priority, expiration, delay, size } => {
                self.published += 1;
                // A transient message keeps what is behind it from expiring, from its bound or, as a duplicate, out, until the restart: they are
                // kept apart.
                let mixed = matches!(names[to], "plain" | "quorum" | "endless");
                let persistent = persistent || !mixed;
                let expiration = expiration.filter(|_| !matches!(names[to], "plain" | "unique"));
                let mut headers = FieldTable::default();
                headers.insert("x-deduplication-header".into(), AMQPValue::LongInt(i32::from(priority)));
                if let Some(delay) = delay {
                    headers.insert("x-delay".into(), AMQPValue::LongInt(delay.into()));
                }
                let mut properties = AMQPProperties::default()
                    .with_delivery_mode(if persistent { 2 } else { 1 })
                    .with_priority(priority)
                    .with_headers(headers);
                if let Some(expiration) = expiration {
                    properties = properties.with_expiration(expiration.to_string().into());
                }
                let mut body = self.published.to_be_bytes().to_vec();
                body.resize(4 + usize::from(size), 7);
                let exchange = if delay.is_some() { "later" } else { "" };
                let frames = self.bench.say(&super::bench::publish_to(exchange, names[to], properties, &body));
                self.note(&frames);
            }
            Step::Get { from, no_ack } => {
                if let Some(got) = self.bench.get(names[from], no_ack).filter(|_| !no_ack) {
                    self.outstanding.push(got.tag);
                }
            }
            Step::Consume { from, prefetch } => {
                self.consumers += 1;
                self.bench.qos(prefetch.into());
                let frames = self.bench.consume(names[from], &format!("c{}", self.consumers), &[]);
                self.note(&frames);
            }
            Step::Settle { which, how } => {
                if self.outstanding.is_empty() {
                    return;
                }
                let tag = self.outstanding.swap_remove(usize::from(which) % self.outstanding.len());
                let frames = match how {
                    0 | 1 => self.bench.ack(tag),
                    2 => self.bench.reject(tag, true),
                    3 => self.bench.reject(tag, false),
                    _ => self.bench.basic(basic::AMQPMethod::Nack(basic::Nack { delivery_tag: tag, multiple: false, requeue: true })),
                };
                self.note(&frames);
            }
            Step::Purge(which) => {
                let purge = queue::Purge { queue: names[which].into(), ..queue::Purge::default() };
                self.bench.method(AMQPClass::Queue(queue::AMQPMethod::Purge(purge)));
            }
            Step::Recreate(which) => {
                self.bench.delete(names[which]);
                declare(&mut self.bench);
            }
            Step::Commit(selects) => {
                let method = if selects || !self.in_transaction {
                    tx::AMQPMethod::Select(tx::Select {})
                } else {
                    tx::AMQPMethod::Commit(tx::Commit {})
                };
                self.in_transaction = true;
                let frames = self.bench.method(AMQPClass::Tx(method));
                self.note(&frames);
            }
            Step::Pass(milliseconds) => {
                let frames = self.bench.pass(milliseconds.into());
                self.note(&frames);
            }
            Step::Reconnect => {
                self.bench.reconnect();
                self.outstanding.clear();
                self.in_transaction = false;
            }
            Step::Restart => {
                let now = self.bench.now;
                self.bench.reconnect();
                self.bench.input(Input::Settled);
                self.restart(now);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(96))]

    /// Whatever happened before: an orderly restart loses transient messages and nothing else, and a crash flags at least what was
    /// given out.
    #[test]
    fn a_restart_changes_nothing_that_is_to_survive(steps in prop::collection::vec(step(), 0..120), pages in any::<bool>(), down in 0..600u64) {
        let mut world = World { bench: Bench::durable(pages), pages, published: 0, consumers: 0, outstanding: Vec::new(), in_transaction: false };
        declare(&mut world.bench);
        for step in &steps {
            world.step(step);
        }
        let now = world.bench.now + down;
        let mut crashed = Bench::started(&world.bench.keeper(), now, pages);
        world.bench.reconnect();
        world.bench.input(Input::Settled);
        let mut restarted = Bench::started(&world.bench.keeper(), world.bench.now, pages);
        // What is delayed comes, what has expired goes.
        for bench in [&mut crashed, &mut world.bench, &mut restarted] {
            // From one deadline to the next: what comes from the disk is late otherwise.
            while bench.now < now + 2_000 {
                let next = bench.broker.next_deadline().map_or(now + 2_000, |next| next.0.clamp(bench.now + 1, now + 2_000));
                bench.pass(next - bench.now);
            }
        }
        let (before, after, crashed_left) = (drain(&mut world.bench, true), drain(&mut restarted, true), drain(&mut crashed, true));
        for ((name, before), (_, after)) in before.iter().zip(&after) {
            prop_assert_eq!(before, after, "{}", name);
        }
        // What was behind a head that has gone by now may have died.
        drain(&mut restarted, true);
        prop_assert_eq!(restarted.broker.memory(), 0, "nothing is left in the account");
        let bodies = |all: &[Got]| { let mut bodies: Vec<_> = all.iter().map(|got| got.body.clone()).collect(); bodies.sort(); bodies };
        for ((name, before), (_, crashed)) in before.iter().zip(&crashed_left) {
            // A crash does not count as a return, so that it may leave more where returns have a limit.
            if *name != "quorum" && *name != "dead" {
                prop_assert_eq!(bodies(before), bodies(crashed), "{}", name);
            }
            for got in crashed {
                let same = before.iter().find(|other| other.body == got.body);
                prop_assert!(got.redelivered || same.is_none_or(|other| !other.redelivered), "{}: {:?} was given out", name, got);
            }
        }
    }
}
