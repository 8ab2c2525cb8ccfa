//! Many messages: counts are known at once, and what waits on disk does not fill the memory.

use std::collections::VecDeque;

use crate::support::broker::{Broker, End, Home};
use crate::support::raw::Raw;
use crate::support::wire::{self, Fields};

const FANOUT: &str = "amq.fanout";
const QUEUE_PURGE: wire::Id = (50, 30);
const QUEUE_PURGE_OK: wire::Id = (50, 31);
/// Confirms that may be awaited at a time.
const WINDOW: u64 = 8000;
const PORTION: usize = 1000;

/// Number `n`, and something behind it.
fn body(n: u64, size: usize) -> Vec<u8> {
    let mut body = n.to_be_bytes().to_vec();
    body.resize(size, b'x');
    body
}

/// Publishes so many persistent messages and awaits their confirms.
fn fill(broker: &Broker, exchange: &str, key: &str, numbers: std::ops::Range<u64>, size: usize) {
    let mut raw = Raw::channel(broker);
    raw.send(&wire::method(1, wire::CONFIRM_SELECT, &Fields::new().byte(0)));
    raw.expect(wire::CONFIRM_SELECT_OK);
    let count = numbers.end - numbers.start;
    let (mut sent, mut confirmed) = (0, 0);
    let mut numbers = numbers.collect::<VecDeque<u64>>();
    while confirmed < count {
        while sent < count && sent - confirmed < WINDOW {
            let portion: Vec<u8> = numbers
                .drain(..numbers.len().min(PORTION))
                .flat_map(|n| wire::publish_persistent(1, exchange, key, &body(n, size)))
                .collect();
            raw.send(&portion);
            sent = count - numbers.len() as u64;
        }
        confirmed = confirmed.max(wire::delivery_tag(raw.expect(wire::ACK).arguments()));
    }
    assert_eq!(sent, count);
}

/// Takes so many messages with a prefetch and returns their numbers; acknowledges them by the hundred.
fn drain(raw: &mut Raw, queue: &str, count: u64) -> Vec<(u64, bool)> {
    raw.send(&wire::method(1, wire::QOS, &Fields::new().long(0).short(500).byte(0)));
    raw.expect((60, 11));
    raw.send(&wire::consume(1, queue, 0));
    raw.expect(wire::CONSUME_OK);
    let mut taken = Vec::new();
    for n in 1..=count {
        let delivery = raw.delivery();
        taken.push((u64::from_be_bytes(*delivery.body.first_chunk().expect("a number")), delivery.redelivered));
        assert_eq!(delivery.tag, n);
        if n % 100 == 0 || n == count {
            raw.send(&wire::ack(1, n, 1));
        }
    }
    taken
}

fn count_of(frame: &crate::support::raw::Frame) -> u32 {
    u32::from_be_bytes(*frame.arguments().first_chunk().expect("a count"))
}

#[test]
fn counts_are_right_at_once() {
    for how in [End::InOrder, End::Killed] {
        let home = Home::new();
        let broker = home.start();
        let mut raw = Raw::channel(&broker);
        for queue in ["purged", "deleted", "read"] {
            raw.declare(queue, 2);
            raw.send(&wire::method(1, wire::QUEUE_BIND, &Fields::new().short(0).text(queue).text(FANOUT).text("").byte(0).bytes(&[])));
            raw.expect(wire::QUEUE_BIND_OK);
        }
        fill(&broker, FANOUT, "", 0..50_000, 16);
        broker.end(how);

        let broker = home.start();
        let mut raw = Raw::channel(&broker);
        for queue in ["purged", "deleted", "read"] {
            assert_eq!(raw.declare(queue, 2), 50_000, "{queue} after {how:?}");
        }
        raw.send(&wire::get(1, "purged"));
        raw.expect(wire::GET_OK);
        raw.next().expect("a content header");
        assert_eq!(raw.next().expect("a body").payload, body(0, 16));
        assert_eq!(raw.declare("purged", 2), 49_999);
        raw.send(&wire::method(1, QUEUE_PURGE, &Fields::new().short(0).text("purged").byte(0)));
        assert_eq!(count_of(&raw.expect(QUEUE_PURGE_OK)), 49_999);
        raw.send(&wire::method(1, wire::QUEUE_DELETE, &Fields::new().short(0).text("deleted").byte(0)));
        assert_eq!(count_of(&raw.expect(wire::QUEUE_DELETE_OK)), 50_000);
        broker.end(how);

        let broker = home.start();
        let mut raw = Raw::channel(&broker);
        assert_eq!(raw.declare("purged", 2), 0, "after {how:?}");
        assert_eq!(raw.declare("deleted", 2), 0, "after {how:?}");
        assert_eq!(raw.declare("read", 2), 50_000, "after {how:?}");
    }
}

#[test]
fn a_large_backlog_comes_once_and_in_order_and_does_not_fill_the_memory() {
    const MESSAGES: u64 = 200_000;
    /// Beside what an idle broker takes.
    const MOST: u64 = 48 << 20;
    let home = Home::new();
    let broker = home.start();
    let most = broker.resident("VmRSS:") + MOST;
    Raw::channel(&broker).declare("q", 2);
    fill(&broker, "", "q", 0..MESSAGES, 512);
    assert!(broker.resident("VmHWM:") < most, "{} MiB while it fills", broker.resident("VmHWM:") >> 20);
    broker.end(End::Killed);

    let broker = home.start();
    assert!(broker.resident("VmHWM:") < most, "{} MiB at the start", broker.resident("VmHWM:") >> 20);
    let mut raw = Raw::channel(&broker);
    let half = drain(&mut raw, "q", MESSAGES / 2);
    assert!(half.into_iter().eq((0..MESSAGES / 2).map(|n| (n, false))), "in order, once each");
    drop(raw);
    // More arrives while the old is still on disk.
    fill(&broker, "", "q", MESSAGES..MESSAGES + 1000, 512);
    assert!(broker.resident("VmHWM:") < most, "{} MiB in the middle", broker.resident("VmHWM:") >> 20);
    broker.end(End::Killed);

    let broker = home.start();
    let mut raw = Raw::channel(&broker);
    assert_eq!(raw.declare("q", 2), 101_000);
    let rest = drain(&mut raw, "q", 101_000);
    assert!(rest.iter().map(|(n, _)| *n).eq(MESSAGES / 2..MESSAGES + 1000), "in order, once each");
    assert!(!rest[100_999].1, "what came last was not delivered before");
    assert!(broker.resident("VmHWM:") < most, "{} MiB at the end", broker.resident("VmHWM:") >> 20);
    assert_eq!(raw.declare("q", 2), 0);
    broker.end(End::InOrder);
    assert_eq!(Raw::channel(&home.start()).declare("q", 2), 0);
}

/// Two consumers of one backlog: between them each message once, each of them in order.
#[test]
fn two_consumers_share_a_backlog_after_a_restart() {
    const MESSAGES: u64 = 20_000;
    let home = Home::new();
    let broker = home.start();
    Raw::channel(&broker).declare("q", 2);
    fill(&broker, "", "q", 0..MESSAGES, 1024);
    broker.end(End::InOrder);

    let broker = home.start();
    let mut consumers = [Raw::channel(&broker), Raw::channel(&broker)];
    let taken = std::thread::scope(|scope| {
        let half = |raw| scope.spawn(move || drain(raw, "q", MESSAGES / 4));
        let threads: Vec<_> = consumers.iter_mut().map(half).collect();
        threads.into_iter().map(|thread| thread.join().expect("it took its half")).collect::<Vec<_>>()
    });
    assert!(taken.iter().all(|taken| taken.is_sorted()));
    let mut all = taken.concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len() as u64, MESSAGES / 2, "none twice");
}
