//! What has arrived in part, and answers that nobody reads, count towards the limit as well.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::broker::Broker;
use crate::support::eventually;
use crate::support::raw::Raw;
use crate::support::wire;

/// A socket that has taken nothing for this long is not read any more.
const STOPPED: Duration = Duration::from_secs(1);
const MIB: u64 = 1 << 20;

/// Announces 16 MiB on a channel and sends half of it.
fn half(channel: u16) -> Vec<u8> {
    let mut bytes = wire::publish_method(channel, "", "q");
    bytes.extend(wire::content_header(channel, 16 * MIB));
    for _ in 0..64 {
        bytes.extend(wire::body(channel, &[7; 131_064]));
    }
    bytes
}

fn open_channels(raw: &mut Raw, channels: u16) {
    for channel in 2..=channels {
        raw.open_channel(channel);
    }
}

/// Publishes and gets, whether or not it is blocked for a while.
fn publishing_works(raw: &mut Raw) {
    raw.send(&[wire::publish(1, "", "q", b"still here"), wire::get(1, "q")].concat());
    raw.skip_to(wire::GET_OK);
}

#[test]
fn an_announcement_alone_takes_no_memory() {
    let broker = Broker::with_config("vm_memory_high_watermark.absolute = 64MiB\n");
    let mut raw = Raw::channel(&broker);
    open_channels(&mut raw, 100);
    let before = broker.resident("VmHWM:");
    for channel in 1..=100 {
        raw.send(&wire::publish_method(channel, "", "q"));
        raw.send(&wire::content_header(channel, 16 * MIB));
    }
    raw.open_channel(101);
    assert!(broker.resident("VmHWM:") < before + 8 * MIB);
}

#[test]
fn halves_of_contents_on_many_channels_stop_at_the_limit() {
    let broker = Broker::with_config("vm_memory_high_watermark.absolute = 64MiB\n");
    let idle = broker.resident("VmRSS:");
    let mut witness = Raw::channel(&broker);
    witness.declare("q", 0);
    let mut raw = Raw::channel(&broker);
    open_channels(&mut raw, 24);
    let mut sent = 0;
    for channel in 1..=24 {
        sent += raw.flood_once(&half(channel), STOPPED);
    }
    let most = broker.resident("VmHWM:");
    assert!(most < idle + 90 * MIB, "{} MiB resident after {} MiB in halves", most / MIB, sent >> 20);
    assert_eq!(witness.declare("q", 1), 0, "others are answered");
    // With the connection, its halves are gone, and others may publish.
    drop(raw);
    publishing_works(&mut witness);
}

#[test]
fn halves_of_contents_on_many_connections_stop_at_the_limit() {
    let broker = Broker::with_config("vm_memory_high_watermark.absolute = 64MiB\n");
    let idle = broker.resident("VmRSS:");
    let mut witness = Raw::channel(&broker);
    witness.declare("q", 0);
    let mut connections = Vec::new();
    for _ in 0..14 {
        let mut raw = Raw::channel(&broker);
        raw.flood_once(&half(1), STOPPED / 4);
        connections.push(raw);
    }
    let most = broker.resident("VmHWM:");
    assert!(most < idle + 90 * MIB, "{} MiB resident", most / MIB);
    drop(connections);
    publishing_works(&mut witness);
}

#[test]
fn contents_that_fill_the_memory_between_them_are_finished() {
    let broker = Broker::with_config("vm_memory_high_watermark.absolute = 64MiB\n");
    let mut consumer = Raw::channel(&broker);
    consumer.declare("q", 0);
    consumer.send(&wire::consume(1, "q", 2));
    consumer.expect(wire::CONSUME_OK);
    // Twelve publishers with 8 of 16 MiB each: no queue holds anything, so only they themselves can make room.
    let size = usize::try_from(16 * MIB).unwrap();
    let whole = wire::publish(1, "", "q", &vec![7; size]);
    let (first, second) = whole.split_at(whole.len() / 2);
    thread::scope(|scope| {
        let mut publishers: Vec<Raw> = (0..12).map(|_| Raw::channel(&broker)).collect();
        for publisher in &mut publishers {
            publisher.flood_once(first, STOPPED / 8);
        }
        for mut publisher in publishers {
            scope.spawn(move || {
                let rest = [std::mem::take(&mut publisher.unsent), second.to_vec()].concat();
                publisher.send(&rest);
                publisher.declare("q", 1);
            });
        }
        consumer.skip_deliveries(12);
    });
}

#[test]
fn a_large_content_under_way_during_an_alarm_is_finished_after_it() {
    let broker = Broker::with_config("vm_memory_high_watermark.absolute = 16MiB\n");
    let mut large = Raw::open_with(&broker, 1);
    large.open_channel(1);
    large.declare("large", 0);
    large.send(&[wire::publish_method(1, "", "large"), wire::content_header(1, 2 * MIB)].concat());
    for _ in 0..8 {
        large.send(&wire::body(1, &[7; 131_072 - 8]));
    }
    let mut publisher = Raw::channel(&broker);
    publisher.declare("q", 0);
    let message = wire::publish(1, "", "q", &[7; 16_000]);
    for _ in 0..16 * MIB / 16_000 {
        publisher.send(&message);
    }
    publisher.expect(wire::BLOCKED);
    // For longer than two heartbeat intervals, the broker may not read it. It beats, and must not be thought dead.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(3500) {
        large.send(&wire::HEARTBEAT);
        large.next().expect("the broker does not close");
    }
    let mut other = Raw::channel(&broker);
    other.send(&wire::method(1, wire::QUEUE_DELETE, &wire::Fields::new().short(0).text("q").byte(0)));
    other.expect(wire::QUEUE_DELETE_OK);
    let rest = usize::try_from(2 * MIB).unwrap() - 8 * (131_072 - 8);
    for part in vec![7; rest].chunks(131_064) {
        large.send(&wire::body(1, part));
    }
    assert_eq!(large.declare("large", 1), 1, "the content has arrived whole");
}

#[test]
fn returns_that_nobody_reads_stop_their_publisher() {
    let broker = Broker::start();
    let mut deaf = Raw::channel(&broker);
    let mut message = wire::method(1, wire::PUBLISH, &wire::Fields::new().short(0).text("").text("nowhere").byte(1));
    message.extend(wire::content_header(1, 60_000));
    message.extend(wire::body(1, &[7; 60_000]));
    let mut sent = 0;
    while sent < 300 << 20 && deaf.unsent.is_empty() {
        sent += deaf.flood_once(&message, STOPPED);
    }
    assert!(!deaf.unsent.is_empty(), "nothing stops it");
    let resident = broker.resident("VmHWM:");
    assert!(resident < 80 * MIB, "{} MiB resident", resident / MIB);
    // It reads at last, and gets every one.
    for _ in 0..sent / message.len() {
        deaf.skip_to(wire::RETURN);
    }
}

#[test]
fn gets_that_nobody_reads_stop_their_client() {
    let broker = Broker::start();
    let mut publisher = Raw::channel(&broker);
    publisher.declare("q", 0);
    let message = wire::publish(1, "", "q", &vec![7; 1_000_000]);
    for _ in 0..150 {
        publisher.send(&message);
    }
    assert_eq!(publisher.declare("q", 1), 150);
    let before = broker.resident("VmRSS:");
    let mut deaf = Raw::channel(&broker);
    // One get at a time, each in a read of its own: the broker reads on only while little waits.
    for _ in 0..150 {
        deaf.send(&wire::get(1, "q"));
    }
    let left = eventually("some gets are answered", || Some(publisher.declare("q", 1)).filter(|left| *left < 150));
    assert!(broker.resident("VmHWM:") < before + 80 * MIB, "{left} left");
    for _ in 0..150 {
        deaf.skip_to(wire::GET_OK);
    }
    assert_eq!(publisher.declare("q", 1), 0);
}
