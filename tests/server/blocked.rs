//! The memory watermark: publishers are blocked, told so and read no more; consumers drain; publishing goes on.

use std::thread;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;

use crate::support::broker::Broker;
use crate::support::client::{channel, connect, declare, publish, soon};
use crate::support::raw::{Close, Raw};
use crate::support::wire;

const LIMIT: u64 = 64 << 20;
/// What the process may take at most beyond an idle one: its limit, and what allocation and buffers add to it.
const MOST: u64 = LIMIT / 10 * 15;
/// One read of a publisher, as bytes and as messages.
const UNDER_WAY: u64 = 512 << 10;

fn limited() -> Broker {
    Broker::with_config("vm_memory_high_watermark.absolute = 64MiB\n")
}

/// A publisher with a queue `q` that has been blocked; what it has sent, in bytes.
fn flooded(broker: &Broker, message: &[u8]) -> (Raw, usize) {
    let mut publisher = Raw::channel(broker);
    publisher.declare("q", 0);
    let sent = publisher.flood(message, 1 << 30);
    assert!(sent < 1 << 30, "nothing stops a publisher");
    let blocked = publisher.expect(wire::BLOCKED);
    assert_eq!(blocked.arguments(), wire::Fields::new().text("low on memory").0);
    (publisher, sent)
}

/// Takes messages without acknowledging them, so many.
fn drain(broker: &Broker, messages: usize) -> Raw {
    let mut consumer = Raw::channel(broker);
    consumer.send(&wire::consume(1, "q", 2));
    consumer.expect(wire::CONSUME_OK);
    consumer.skip_deliveries(messages);
    consumer
}

fn within_limit(broker: &Broker) {
    within_limit_with(broker, 1);
}

/// What a connection has just sent is in nobody's account yet.
fn within_limit_with(broker: &Broker, publishers: u64) {
    let idle = limited().resident("VmRSS:");
    let most = broker.resident("VmHWM:");
    assert!(most < idle + MOST + publishers * UNDER_WAY, "{} MiB resident of at most {}", most >> 20, (idle + MOST) >> 20);
}

#[test]
fn a_flood_is_stopped_until_a_consumer_has_drained_it() {
    let broker = limited();
    let message = wire::publish(1, "", "q", &[7; 16_000]);
    let (mut publisher, sent) = flooded(&broker, &message);
    within_limit(&broker);
    // Whole messages that were sent; some of them still wait in the sockets' buffers, and come once these are read.
    let mut consumer = drain(&broker, sent / message.len());
    publisher.expect(wire::UNBLOCKED);
    let rest = std::mem::take(&mut publisher.unsent);
    publisher.send(&rest);
    publisher.send(&message);
    assert_eq!(publisher.declare("q", 1), 0);
    consumer.skip_deliveries(if rest.is_empty() { 1 } else { 2 });
    within_limit(&broker);
}

#[test]
fn small_messages_count_for_what_they_take() {
    let broker = limited();
    let message = wire::publish(1, "", "q", b"x").repeat(1000);
    flooded(&broker, &message);
    within_limit(&broker);
}

#[test]
fn fan_out_counts_in_every_queue() {
    let broker = limited();
    let mut publisher = Raw::channel(&broker);
    for n in 0..50 {
        let queue = format!("q{n}");
        publisher.declare(&queue, 0);
        let bind = wire::Fields::new().short(0).text(&queue).text("amq.fanout").text("").byte(0).bytes(&[]);
        publisher.send(&wire::method(1, wire::QUEUE_BIND, &bind));
        publisher.expect(wire::QUEUE_BIND_OK);
    }
    // Three million entries of queues, and hardly any bytes of messages.
    let message = wire::publish(1, "amq.fanout", "", b"x").repeat(1000);
    publisher.flood(&message, 4 << 20);
    publisher.expect(wire::BLOCKED);
    within_limit(&broker);
}

#[test]
fn large_messages_count_while_they_arrive() {
    let broker = limited();
    let message = wire::publish(1, "", "q", &vec![7; 8 << 20]);
    flooded(&broker, &message);
    within_limit(&broker);
}

#[test]
fn twenty_publishers_are_stopped_at_the_same_limit() {
    let broker = limited();
    let message = wire::publish(1, "", "q", &[7; 16_000]);
    let mut publishers: Vec<(Raw, usize)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(|| flooded(&broker, &message))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it was blocked")).collect()
    });
    within_limit_with(&broker, 20);
    let whole: usize = publishers.iter().map(|(_, sent)| sent / message.len()).sum();
    let mut consumer = drain(&broker, whole);
    let mut more = 0;
    for (publisher, _) in &mut publishers {
        publisher.expect(wire::UNBLOCKED);
        let rest = std::mem::take(&mut publisher.unsent);
        publisher.send(&rest);
        publisher.send(&message);
        more += if rest.is_empty() { 1 } else { 2 };
    }
    consumer.skip_deliveries(more);
    // What one thread has freed is of use only to it, so filling anew while draining takes more, once.
    let (most, idle) = (broker.resident("VmHWM:"), limited().resident("VmRSS:"));
    assert!(most < idle + 2 * LIMIT, "{} MiB resident, {} MiB of them idle", most >> 20, idle >> 20);
}

#[test]
fn consumers_and_others_who_do_not_publish_go_on() {
    let broker = limited();
    let message = wire::publish(1, "", "q", &[7; 16_000]);
    let (_publisher, _) = flooded(&broker, &message);
    let mut other = Raw::channel(&broker);
    other.declare("other", 0);
    assert!(other.declare("q", 1) > 1000);
    other.send(&wire::get(1, "q"));
    other.expect(wire::GET_OK);
    // One that connects during the alarm and publishes is blocked at once.
    let mut late = Raw::channel(&broker);
    late.send(&wire::publish(1, "", "other", b"x"));
    late.expect(wire::BLOCKED);
}

#[test]
fn an_alarm_ends_when_the_queue_is_deleted() {
    let broker = limited();
    let (mut publisher, _) = flooded(&broker, &wire::publish(1, "", "q", &[7; 16_000]));
    let mut other = Raw::channel(&broker);
    other.send(&wire::method(1, wire::QUEUE_DELETE, &wire::Fields::new().short(0).text("q").byte(0)));
    other.expect(wire::QUEUE_DELETE_OK);
    publisher.skip_to(wire::UNBLOCKED);
}

#[test]
fn a_blocked_publisher_that_goes_away_leaves_nothing_behind() {
    let broker = limited();
    let (publisher, _) = flooded(&broker, &wire::publish(1, "", "q", &[7; 16_000]));
    let mut owner = Raw::channel(&broker);
    owner.declare("exclusive", 4);
    drop(publisher);
    drain(&broker, 1000);
    let mut other = Raw::channel(&broker);
    other.send(&wire::method(1, wire::QUEUE_DELETE, &wire::Fields::new().short(0).text("q").byte(0)));
    other.expect(wire::QUEUE_DELETE_OK);
    other.round_trip_on_new_queue("r");
}

#[test]
fn a_dead_publisher_takes_its_exclusive_queue_along() {
    let broker = limited();
    let mut publisher = Raw::channel(&broker);
    publisher.declare("exclusive", 4);
    let message = wire::publish(1, "", "exclusive", &[7; 16_000]);
    for _ in 0..LIMIT / 16_000 - 200 {
        publisher.send(&message);
    }
    // The rest in small steps: more than fits into the sockets would keep its end from being seen.
    let mut answer = wire::QUEUE_DECLARE_OK;
    while answer == wire::QUEUE_DECLARE_OK {
        for _ in 0..4 {
            publisher.send(&message);
        }
        publisher.send(&wire::queue_declare(1, "exclusive", 4));
        answer = publisher.next().expect("an answer").id();
    }
    assert_eq!(answer, wire::BLOCKED);
    let mut other = Raw::channel(&broker);
    other.declare("q", 0);
    other.send(&wire::publish(1, "", "q", b"x"));
    other.expect(wire::BLOCKED);
    drop(publisher);
    other.about = "the publisher is dead";
    other.expect(wire::UNBLOCKED);
}

#[test]
fn a_blocked_publisher_is_not_missed() {
    let broker = limited();
    let mut publisher = Raw::open_with(&broker, 1);
    publisher.open_channel(1);
    publisher.declare("q", 0);
    publisher.flood(&wire::publish(1, "", "q", &[7; 16_000]), 1 << 30);
    publisher.expect(wire::BLOCKED);
    // Three seconds more of silence on a connection that is not read: its heartbeats go on, and so does it.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(3200) {
        publisher.next().expect("the broker does not close");
    }
    drain(&broker, 1000);
    let mut other = Raw::channel(&broker);
    other.send(&wire::method(1, wire::QUEUE_DELETE, &wire::Fields::new().short(0).text("q").byte(0)));
    other.expect(wire::QUEUE_DELETE_OK);
    publisher.skip_to(wire::UNBLOCKED);
}

#[test]
fn a_blocked_publisher_is_told_of_a_shutdown() {
    let mut broker = limited();
    let (mut publisher, _) = flooded(&broker, &wire::publish(1, "", "q", &[7; 16_000]));
    let asked = Instant::now();
    broker.signal("TERM");
    assert_eq!(Close::of(&publisher.skip_to(wire::CLOSE)).code, 320);
    // Its close-ok is stuck behind what the broker has not read; nobody waits for long.
    assert_eq!(broker.ended().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn lapin_is_told() {
    let broker = Broker::with_config("vm_memory_high_watermark.absolute = 1MiB\n");
    let connection = connect(&broker).await;
    let mut events = connection.events_listener();
    let publisher = channel(&connection).await;
    declare(&publisher, "q").await;
    publish(&publisher, "", "q", &vec![7; 2 << 20]).await;
    loop {
        if let lapin::Event::ConnectionBlocked(reason) = soon(events.next()).await.expect("an event") {
            assert_eq!(reason, "low on memory");
            break;
        }
    }
    // Whether it still is does not matter: between the socket and the queue, the message may have counted for nothing.
    let other = connect(&broker).await;
    let purging = channel(&other).await;
    soon(purging.queue_purge("q".into(), Default::default())).await.expect("purged");
    while !matches!(soon(events.next()).await.expect("an event"), lapin::Event::ConnectionUnblocked) {}
    publish(&publisher, "", "q", b"again").await;
}
