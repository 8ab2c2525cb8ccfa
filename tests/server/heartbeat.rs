//! Heartbeats in both directions. Time is what is tested, so these take seconds.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::broker::Broker;
use crate::support::raw::Raw;
use crate::support::wire;

#[test]
fn the_broker_sends_one_every_half_interval() {
    let broker = Broker::start();
    let mut raw = Raw::open_with(&broker, 1);
    let began = Instant::now();
    for _ in 0..6 {
        assert!(raw.next().expect("a heartbeat").is_heartbeat());
        raw.send(&wire::HEARTBEAT);
    }
    let took = began.elapsed();
    assert!((Duration::from_millis(2400)..Duration::from_millis(4500)).contains(&took), "six in {took:?}");
}

#[test]
fn a_silent_client_is_gone_after_two_intervals_and_its_messages_are_redelivered() {
    let broker = Broker::start();
    let mut silent = Raw::open_with(&broker, 1);
    silent.open_channel(1);
    silent.declare("q", 0);
    silent.send(&wire::consume(1, "q", 0));
    silent.expect(wire::CONSUME_OK);
    let mut other = Raw::channel(&broker);
    other.send(&wire::publish(1, "", "q", b"work"));
    silent.expect(wire::DELIVER);
    let began = Instant::now();
    other.send(&wire::consume(1, "q", 0));
    other.expect(wire::CONSUME_OK);
    let delivered = other.expect(wire::DELIVER);
    let took = began.elapsed();
    let redelivered = delivered.arguments()[1 + usize::from(delivered.arguments()[0]) + 8];
    assert_eq!(redelivered, 1);
    assert!((Duration::from_millis(1500)..Duration::from_millis(5000)).contains(&took), "{took:?}");
    // The silent one saw nothing but heartbeats, then the end: no connection.close (behaviour C23).
    while let Some(frame) = silent.next() {
        assert!(frame.kind != 1, "{frame:?}");
    }
}

#[test]
fn any_byte_counts_and_so_do_heartbeats() {
    let broker = Arc::new(Broker::start());
    let beating = |bytes: Vec<u8>| {
        let broker = Arc::clone(&broker);
        thread::spawn(move || {
            let mut raw = Raw::open_with(&broker, 1);
            raw.open_channel(1);
            raw.declare_exclusive();
            let began = Instant::now();
            // The broker's own heartbeats are the clock: two a second.
            while began.elapsed() < Duration::from_millis(4500) {
                raw.send(&bytes);
                while !raw.next().expect("the connection lives on").is_heartbeat() {}
            }
        })
    };
    let threads = [beating(wire::HEARTBEAT.to_vec()), beating(wire::publish(1, "", "nowhere", b"x"))];
    for thread in threads {
        thread.join().expect("it lived on");
    }
}

#[test]
fn zero_is_off() {
    let broker = Broker::with_config("heartbeat = 1\n");
    let mut raw = Raw::open_with(&broker, 0);
    raw.open_channel(1);
    let mut watched = Raw::open_with(&broker, 1);
    // A connection with heartbeats dies of silence; the one without outlives it, and has heard nothing meanwhile.
    while watched.next().is_some() {}
    raw.send(&wire::queue_declare(1, "q", 0));
    assert_eq!(raw.next().expect("an answer").id(), wire::QUEUE_DECLARE_OK);
}
