//! SIGTERM, SIGINT, the end of standard input: connections are closed with 320, the process ends with 0, whatever clients do.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;

use crate::support::broker::{Broker, Scratch, leveret};
use crate::support::client;
use crate::support::eventually;
use crate::support::raw::{Close, Raw};
use crate::support::wire;

fn ends_with_0_in_5_seconds(mut broker: Broker, asked: Instant) {
    let status = broker.ended();
    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "took {:?}", asked.elapsed());
}

#[test]
fn connections_are_closed_with_320() {
    for signal in ["TERM", "INT"] {
        let broker = Broker::start();
        let mut raw = Raw::channel(&broker);
        let asked = Instant::now();
        broker.signal(signal);
        let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'".to_owned();
        assert_eq!(raw.closed(), Close { code: 320, text, id: (0, 0) });
        drop(raw);
        ends_with_0_in_5_seconds(broker, asked);
        assert!(asked.elapsed() < Duration::from_secs(2), "nobody was waited for");
    }
}

#[test]
fn without_connections_it_ends_at_once() {
    let broker = Broker::start();
    let asked = Instant::now();
    broker.signal("TERM");
    ends_with_0_in_5_seconds(broker, asked);
    assert!(asked.elapsed() < Duration::from_secs(1), "nobody was waited for");
}

#[test]
fn a_client_that_never_answers_does_not_hold_it_up() {
    let broker = Broker::start();
    let mut raw = Raw::channel(&broker);
    let asked = Instant::now();
    broker.signal("TERM");
    assert_eq!(Close::of(&raw.expect(wire::CLOSE)).code, 320);
    ends_with_0_in_5_seconds(broker, asked);
}

#[test]
fn clients_in_the_middle_of_something_do_not_hold_it_up() {
    let broker = Broker::start();
    let _silent = Raw::connect(&broker);
    let mut greeted = Raw::connect(&broker);
    greeted.send(wire::HEADER);
    greeted.expect(wire::START);
    let mut publishing = Raw::channel(&broker);
    publishing.declare("q", 0);
    publishing.send(&wire::publish_method(1, "", "q"));
    publishing.send(&wire::content_header(1, 1_000_000));
    publishing.send(&wire::body(1, &[7; 100_000]));
    let asked = Instant::now();
    broker.signal("TERM");
    ends_with_0_in_5_seconds(broker, asked);
}

#[test]
fn a_client_that_does_not_read_does_not_hold_it_up() {
    let broker = Broker::start();
    let mut deaf = Raw::channel(&broker);
    deaf.declare("q", 0);
    deaf.send(&wire::consume(1, "q", 2));
    deaf.expect(wire::CONSUME_OK);
    let mut publisher = Raw::channel(&broker);
    let message = wire::publish(1, "", "q", &[7; 1_000_000]);
    for _ in 0..40 {
        publisher.send(&message);
    }
    assert!(publisher.declare("q", 1) > 0, "the socket is full");
    let asked = Instant::now();
    broker.signal("TERM");
    ends_with_0_in_5_seconds(broker, asked);
}

#[test]
fn no_one_new_is_served_while_it_stops() {
    let broker = Broker::start();
    let mut waiting = Raw::channel(&broker);
    broker.signal("TERM");
    waiting.expect(wire::CLOSE);
    // The connection above keeps the broker waiting for its close-ok; who comes now gets no connection.start.
    if let Ok(stream) = std::net::TcpStream::connect(broker.address()) {
        let mut late = Raw::over(stream);
        late.send_regardless(wire::HEADER);
        assert_eq!(late.next(), None);
    }
}

#[test]
fn it_stops_when_its_standard_input_closes() {
    let (broker, mut held) = Broker::until_stdin_closes();
    let mut raw = Raw::channel(&broker);
    // What is written there is nothing to it.
    held.write_all(&[b'\n'; 10_000]).expect("somebody who reads");
    raw.round_trip_on_new_queue("q");
    let asked = Instant::now();
    drop(held);
    assert_eq!(raw.closed().code, 320);
    drop(raw);
    ends_with_0_in_5_seconds(broker, asked);
}

#[test]
fn a_signal_does_not_wait_for_its_standard_input() {
    let (broker, _held) = Broker::until_stdin_closes();
    let asked = Instant::now();
    broker.signal("TERM");
    ends_with_0_in_5_seconds(broker, asked);
}

#[test]
fn without_standard_input_it_stops_at_once() {
    let scratch = Scratch::new();
    let ready = scratch.path("ready.json");
    let mut command = leveret();
    command.args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--until-stdin-closes", "--ready-file"]).arg(&ready);
    command.env("XDG_RUNTIME_DIR", scratch.path(""));
    let output = command.stdin(Stdio::null()).output().expect("the broker runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(ready.exists(), "it has served");
}

#[tokio::test]
async fn lapin_hears_why() {
    let mut broker = Broker::start();
    let connection = client::connect(&broker).await;
    let mut events = connection.events_listener();
    broker.signal("TERM");
    loop {
        let event = client::soon(events.next()).await.expect("an event before the end");
        if let lapin::Event::Error(error) = event
            && error.to_string().contains("CONNECTION_FORCED")
        {
            break;
        }
    }
    assert_eq!(broker.ended().code(), Some(0));
    eventually("the state of the connection", || (!connection.status().connected()).then_some(()));
}
