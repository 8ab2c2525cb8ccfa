//! A consumer that does not read its socket harms only itself.

use std::time::{Duration, Instant};

use crate::support::broker::Broker;
use crate::support::raw::Raw;
use crate::support::wire;

const BODY: usize = 64_000;
/// Together 200 MB.
const MESSAGES: u32 = 3125;
/// Messages that fit into the outbox (1 MiB) and the buffers of two sockets (a few MiB each, as the kernel likes).
const UNDER_WAY: u32 = 350;

/// A broker with a backlog in `q`, and the connection that published it.
fn backlog() -> (Broker, Raw) {
    let broker = Broker::start();
    let mut publisher = Raw::channel(&broker);
    publisher.declare("q", 0);
    let message = wire::publish(1, "", "q", &[7; BODY]);
    for _ in 0..MESSAGES {
        publisher.send(&message);
    }
    assert_eq!(publisher.declare("q", 1), MESSAGES);
    (broker, publisher)
}

/// A consumer without acks that reads nothing after consume-ok.
fn deaf(broker: &Broker) -> Raw {
    let mut deaf = Raw::channel(broker);
    deaf.send(&wire::consume(1, "q", 2));
    deaf.expect(wire::CONSUME_OK);
    deaf
}

#[test]
fn what_a_deaf_consumer_cannot_take_stays_in_the_queue_for_others() {
    let (broker, mut publisher) = backlog();
    let before = broker.resident("VmHWM:");
    let mut deaf = deaf(&broker);
    let ready = publisher.declare("q", 1);
    assert!(ready >= MESSAGES - UNDER_WAY, "{ready} of {MESSAGES} left");

    let mut other = Raw::channel(&broker);
    other.send(&wire::consume(1, "q", 2));
    other.expect(wire::CONSUME_OK);
    other.skip_deliveries(usize::try_from(MESSAGES - UNDER_WAY).unwrap());
    let after = broker.resident("VmHWM:");
    assert!(after < before + (30 << 20), "grew from {} to {} MiB", before >> 20, after >> 20);

    // When it reads again, it gets its own, and more.
    publisher.send(&wire::publish(1, "", "q", b"last").repeat(1000));
    deaf.skip_deliveries(10);
}

#[test]
fn a_deaf_consumer_with_acks_is_held_by_its_outbox_too() {
    let (broker, mut publisher) = backlog();
    let mut deaf = Raw::channel(&broker);
    deaf.send(&wire::consume(1, "q", 0));
    deaf.expect(wire::CONSUME_OK);
    let ready = publisher.declare("q", 1);
    assert!(ready >= MESSAGES - UNDER_WAY, "{ready} of {MESSAGES} left");
    drop(deaf);
    // Everything it had comes back.
    let mut other = Raw::channel(&broker);
    other.send(&wire::consume(1, "q", 2));
    other.expect(wire::CONSUME_OK);
    other.skip_deliveries(usize::try_from(MESSAGES).unwrap());
}

#[test]
fn a_deaf_consumer_does_not_hold_up_the_rpc_of_another_connection() {
    let (broker, _publisher) = backlog();
    let _deaf = deaf(&broker);
    let mut caller = Raw::channel(&broker);
    caller.declare("rpc", 0);
    let began = Instant::now();
    for _ in 0..200 {
        caller.round_trip("rpc");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
}

#[test]
fn fan_out_to_a_deaf_consumer_and_a_keen_one() {
    let broker = Broker::start();
    let mut publisher = Raw::channel(&broker);
    let mut consumers = Vec::new();
    for queue in ["deaf", "keen"] {
        let mut consumer = Raw::channel(&broker);
        consumer.declare(queue, 0);
        let bind = wire::Fields::new().short(0).text(queue).text("amq.fanout").text("").byte(0).bytes(&[]);
        consumer.send(&wire::method(1, wire::QUEUE_BIND, &bind));
        consumer.expect(wire::QUEUE_BIND_OK);
        consumer.send(&wire::consume(1, queue, 2));
        consumer.expect(wire::CONSUME_OK);
        consumers.push(consumer);
    }
    let message = wire::publish(1, "amq.fanout", "", &[7; BODY]);
    for _ in 0..1000 {
        publisher.send(&message);
    }
    consumers[1].skip_deliveries(1000);
    let left = publisher.declare("deaf", 1);
    assert!(left >= 1000 - UNDER_WAY, "{left} left");
    consumers[0].skip_deliveries(1000);
    assert_eq!(publisher.declare("deaf", 1), 0);
}
