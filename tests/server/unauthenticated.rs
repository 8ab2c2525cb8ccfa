//! What strangers send before they have said who they are.

use std::time::{Duration, Instant};

use crate::malformed::nested;
use crate::support::broker::Broker;
use crate::support::raw::{Close, Raw};
use crate::support::wire::{self, Fields, Id};

#[test]
fn a_wrong_protocol_header_is_answered_with_a_right_one() {
    let broker = Broker::start();
    for (sent, answer) in [
        (&b"AMQP\x00\x00\x0a\x00"[..], &b"AMQP\x00\x00\x09\x01"[..]),
        (b"AMQP\x03\x01\x00\x00", b"AMQP\x03\x01\x00\x00"),
        (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", b"AMQP\x03\x01\x00\x00"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"AMQP\x03\x01\x00\x00"),
        (b"\x00", b"AMQP\x03\x01\x00\x00"),
    ] {
        let mut raw = Raw::connect(&broker);
        raw.send(sent);
        assert_eq!(raw.all(), answer, "{}", sent.escape_ascii());
    }
}

/// The credentials of a start-ok that goes wrong, in full.
fn start_ok(table: &[u8], mechanism: &str, response: &[u8]) -> Vec<u8> {
    wire::method(0, wire::START_OK, &Fields::new().bytes(table).text(mechanism).bytes(response).text("en_US"))
}

#[test]
fn each_mistake_of_a_handshake_has_its_code() {
    let broker = Broker::start();
    let mut witness = Raw::channel(&broker);
    witness.declare("witness", 0);
    let capable = wire::capabilities();
    let plain = b"\0guest\0guest";
    let cases: Vec<(&str, Vec<u8>, u16, &str, Id)> = vec![
        ("table nested 2000 deep", start_ok(&nested(900), "PLAIN", plain), 502, "SYNTAX_ERROR - ", wire::START_OK),
        (
            "unknown type in the table",
            start_ok(&Fields::new().text("k").byte(b'?').0, "PLAIN", plain),
            501,
            "FRAME_ERROR - ",
            wire::START_OK,
        ),
        (
            "frame above initial_frame_max",
            start_ok(&Fields::new().text("k").byte(b'S').bytes(&[b'x'; 9000]).0, "PLAIN", plain),
            501,
            "FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,",
            (0, 0),
        ),
        (
            "unknown mechanism",
            start_ok(&capable, "MAGIC", plain),
            530,
            "NOT_ALLOWED - unknown authentication mechanism 'MAGIC'",
            wire::START_OK,
        ),
        ("response that is none", start_ok(&capable, "PLAIN", b"guest"), 502, "SYNTAX_ERROR - ", wire::START_OK),
        ("deep table as AMQPLAIN response", start_ok(&capable, "AMQPLAIN", &nested(900)), 502, "SYNTAX_ERROR - ", wire::START_OK),
        (
            "wrong password",
            start_ok(&capable, "PLAIN", b"\0guest\0tseug"),
            403,
            "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.",
            (0, 0),
        ),
        ("tune-ok too early", wire::tune_ok(0, 0, 0), 504, "CHANNEL_ERROR - unexpected method in connection state starting", wire::TUNE_OK),
        ("open too early", wire::open(), 504, "CHANNEL_ERROR - unexpected method in connection state starting", wire::OPEN),
        ("a channel too early", wire::channel_open(1), 505, "UNEXPECTED_FRAME - type 1, ", (0, 0)),
        ("unknown method", wire::method(0, (10, 99), &Fields::new()), 540, "NOT_IMPLEMENTED - ", (10, 99)),
        ("body", wire::body(1, b"x"), 505, "UNEXPECTED_FRAME - ", (0, 0)),
    ];
    for (what, bytes, code, text, id) in cases {
        let mut raw = Raw::connect(&broker);
        raw.send(wire::HEADER);
        raw.expect(wire::START);
        raw.send_regardless(&bytes);
        raw.about = what;
        let close = raw.closed();
        assert_eq!((close.code, close.id), (code, id), "{what}: {}", close.text);
        assert!(close.text.starts_with(text), "{what}: {}", close.text);
        witness.round_trip("witness");
    }
}

#[test]
fn a_refused_client_that_does_not_answer_is_closed_all_the_same() {
    let broker = Broker::start();
    let mut silent = Raw::connect(&broker);
    silent.send(wire::HEADER);
    silent.expect(wire::START);
    silent.send(&start_ok(&wire::capabilities(), "PLAIN", b"\0guest\0tseug"));
    let refused = Instant::now();
    assert_eq!(Close::of(&silent.expect(wire::CLOSE)).code, 403);
    silent.ends();
    assert!(refused.elapsed() < Duration::from_secs(6), "took {:?}", refused.elapsed());
}

#[test]
fn what_tune_ok_may_ask_for() {
    let broker = Broker::start();
    for (channel_max, frame_max, text) in [
        (2048, 131_072, "NOT_ALLOWED - negotiated channel_max = 2048 is higher than the maximum allowed value (2047)"),
        (0, 131_072, "NOT_ALLOWED - negotiated channel_max = 0 is higher than the maximum allowed value (2047)"),
        (2047, 131_073, "NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value (131072)"),
        (2047, 0, "NOT_ALLOWED - negotiated frame_max = 0 is higher than the maximum allowed value (131072)"),
        (2047, 4095, "NOT_ALLOWED - negotiated frame_max = 4095 is lower than the minimum allowed value (4096)"),
    ] {
        let mut raw = Raw::connect(&broker);
        raw.send(wire::HEADER);
        raw.send(&wire::start_ok("guest", "guest"));
        raw.send(&wire::tune_ok(channel_max, frame_max, 0));
        assert_eq!(raw.closed(), Close { code: 530, text: text.to_owned(), id: wire::TUNE });
    }
}

#[test]
fn a_client_that_does_not_finish_its_handshake_is_closed() {
    let broker = Broker::with_config("handshake_timeout = 300\n");
    let whole = [&wire::HEADER[..], &wire::start_ok("guest", "guest"), &wire::tune_ok(0, 0, 0)].concat();
    for so_far in [0, 5, 8, 30, whole.len() - 20] {
        let began = Instant::now();
        let mut raw = Raw::connect(&broker);
        raw.send(&whole[..so_far]);
        raw.all();
        let took = began.elapsed();
        assert!((Duration::from_millis(290)..Duration::from_secs(3)).contains(&took), "after {so_far} bytes: {took:?}");
    }
    // Who has finished may be silent for longer.
    let mut raw = Raw::channel(&broker);
    let mut slow = Raw::connect(&broker);
    slow.all();
    raw.round_trip_on_new_queue("q");
}

#[test]
fn sending_slowly_does_not_extend_the_handshake() {
    let broker = Broker::with_config("handshake_timeout = 300\n");
    let began = Instant::now();
    let mut raw = Raw::connect(&broker);
    raw.send(wire::HEADER);
    raw.expect(wire::START);
    raw.stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a time limit");
    // A byte of an endless frame every 50 ms, until the broker has had enough.
    let mut answer = [0; 1];
    raw.send_regardless(&[1, 0, 0, 0, 0, 30, 0]);
    while !matches!(std::io::Read::read(&mut raw.stream, &mut answer), Ok(0)) && std::io::Write::write(&mut raw.stream, &[0]).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5), "still open");
    }
    assert!(began.elapsed() >= Duration::from_millis(290));
}
