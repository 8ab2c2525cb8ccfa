//! What no client should send: each gets the right code, and none harms the connection beside it.

use crate::support::broker::Broker;
use crate::support::raw::{Close, Raw};
use crate::support::wire::{self, Fields, Id};

/// A case: what it is, what is sent, the code, how the text begins, the method that is blamed.
type Case = (&'static str, Vec<u8>, u16, &'static str, Id);

/// Sends each on a connection of its own with channel 1 open, and looks after each whether others are still served.
fn check(cases: Vec<Case>) {
    let broker = Broker::start();
    let mut witness = Raw::channel(&broker);
    witness.declare("witness", 0);
    for (what, bytes, code, text, id) in cases {
        let mut raw = Raw::channel(&broker);
        raw.about = what;
        raw.send_regardless(&bytes);
        let Close { code: got_code, text: got_text, id: got_id } = raw.closed();
        assert_eq!((got_code, got_id), (code, id), "{what}: {got_text}");
        assert!(got_text.starts_with(text), "{what}: {got_text}");
        witness.round_trip("witness");
    }
}

fn ending_with(mut frame: Vec<u8>, end: u8) -> Vec<u8> {
    *frame.last_mut().expect("a frame") = end;
    frame
}

/// queue.declare with these table entries.
fn declare_with_table(entries: &[u8]) -> Vec<u8> {
    wire::method(1, wire::QUEUE_DECLARE, &Fields::new().short(0).text("q").byte(0).bytes(entries))
}

/// A table nested so deep.
pub(crate) fn nested(depth: usize) -> Vec<u8> {
    let mut entries = Vec::new();
    for _ in 0..depth {
        entries = Fields::new().text("t").byte(b'F').bytes(&entries).0;
    }
    entries
}

/// The beginning of a publish that announces ten bytes.
fn announced() -> Vec<u8> {
    [wire::publish_method(1, "", "nowhere"), wire::content_header(1, 10)].concat()
}

fn frames(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn frames_that_are_none() {
    check(vec![
        (
            "method frame with a wrong end",
            ending_with(wire::channel_open(2), 0),
            501,
            "FRAME_ERROR - type 1, all octets = <<0,20,0,10,0>>: {invalid_frame_end_marker,0}",
            (0, 0),
        ),
        (
            "small body with a wrong end",
            frames(&[announced(), ending_with(wire::body(1, &[7; 10]), 1)]),
            501,
            "FRAME_ERROR - type 3, ",
            (0, 0),
        ),
        (
            "large body with a wrong end",
            frames(&[wire::publish_method(1, "", "q"), wire::content_header(1, 100_000), ending_with(wire::body(1, &[7; 100_000]), 1)]),
            501,
            "FRAME_ERROR - type 3, ",
            (0, 0),
        ),
        (
            "frame larger than frame_max",
            wire::frame(1, 1, &[0; 200_000]),
            501,
            "FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,200000,131064}",
            (0, 0),
        ),
        (
            "announcement of 4 GiB",
            Fields::new().byte(3).short(1).long(u32::MAX).0,
            501,
            "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4294967295,131064}",
            (0, 0),
        ),
        ("unknown frame type", wire::frame(5, 1, &[]), 501, "FRAME_ERROR - type 5, all octets = <<>>: unknown_frame", (0, 0)),
        ("frame type 0", wire::frame(0, 0, &[1, 2, 3]), 501, "FRAME_ERROR - type 0, all octets = <<1,2,3>>: unknown_frame", (0, 0)),
        (
            "method frame of three bytes",
            wire::frame(1, 1, &[0, 50, 0]),
            501,
            "FRAME_ERROR - type 1, all octets = <<0,50,0>>: unknown_frame",
            (0, 0),
        ),
        ("heartbeat on a channel", wire::frame(8, 1, &[]), 505, "UNEXPECTED_FRAME - type 8, all octets = <<>>", (0, 0)),
        ("heartbeat with content", wire::frame(8, 0, &[1]), 501, "FRAME_ERROR - type 8, all octets = <<1>>", (0, 0)),
        ("content header on channel 0", wire::content_header(0, 0), 505, "UNEXPECTED_FRAME - type 2, ", (0, 0)),
        ("body on channel 0", wire::body(0, &[1]), 505, "UNEXPECTED_FRAME - type 3, all octets = <<1>>", (0, 0)),
        ("plain text", b"GET / HTTP/1.1\r\nHost: here\r\n\r\n".to_vec(), 501, "FRAME_ERROR - type 71, ", (0, 0)),
    ]);
}

#[test]
fn methods_that_are_none() {
    let mut cut = Fields::new().short(50).short(10).short(0).byte(5);
    cut.0.extend(b"ab");
    let qos = |arguments: &[u8]| wire::method(1, wire::QOS, &Fields(arguments.to_vec()));
    check(vec![
        ("truncated arguments", wire::frame(1, 1, &cut.0), 501, "FRAME_ERROR - cannot decode <<0,0,5,97,98>>", wire::QUEUE_DECLARE),
        ("no arguments", wire::method(1, wire::PUBLISH, &Fields::new()), 501, "FRAME_ERROR - cannot decode <<>>", wire::PUBLISH),
        ("truncated ack", wire::method(1, wire::ACK, &Fields::new().long(1)), 501, "FRAME_ERROR - cannot decode <<0,0,0,1>>", wire::ACK),
        ("bytes behind the arguments", qos(&[0, 0, 0, 0, 0, 1, 0, 9]), 501, "FRAME_ERROR - cannot decode ", wire::QOS),
        ("unknown class", wire::method(1, (99, 10), &Fields::new()), 540, "NOT_IMPLEMENTED - ", (99, 10)),
        ("unknown method", wire::method(1, (60, 99), &Fields::new()), 540, "NOT_IMPLEMENTED - ", (60, 99)),
        ("unknown method on channel 0", wire::method(0, (10, 99), &Fields::new()), 540, "NOT_IMPLEMENTED - ", (10, 99)),
        (
            "table longer than its method",
            wire::method(1, wire::QUEUE_DECLARE, &Fields::new().short(0).text("q").byte(0).long(500)),
            501,
            "FRAME_ERROR - cannot decode ",
            wire::QUEUE_DECLARE,
        ),
        (
            "table with an unknown type",
            declare_with_table(&Fields::new().text("k").byte(b'?').long(1).0),
            501,
            "FRAME_ERROR - cannot decode ",
            wire::QUEUE_DECLARE,
        ),
        (
            "table with a value cut off",
            declare_with_table(&Fields::new().text("k").byte(b'I').short(1).0),
            501,
            "FRAME_ERROR - cannot decode ",
            wire::QUEUE_DECLARE,
        ),
        ("table nested too deep", declare_with_table(&nested(2000)), 502, "SYNTAX_ERROR - ", wire::QUEUE_DECLARE),
        (
            "the same in a method that only servers send",
            wire::method(0, wire::START, &Fields::new().short(9).bytes(&nested(15_000)).bytes(b"PLAIN").bytes(b"en_US")),
            502,
            "SYNTAX_ERROR - ",
            wire::START,
        ),
    ]);
}

#[test]
fn contents_out_of_step() {
    let header = |class: u16, weight: u16, rest: &[u8]| {
        let mut payload = Fields::new().short(class).short(weight).longlong(3);
        payload.0.extend(rest);
        wire::frame(2, 1, &payload.0)
    };
    let begun = || wire::publish_method(1, "", "witness");
    let expected_header = "UNEXPECTED_FRAME - expected content header for class 60, ";
    let expected_body = "UNEXPECTED_FRAME - expected content body, got non content body frame instead";
    check(vec![
        (
            "header without a method",
            wire::content_header(1, 3),
            505,
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
            (0, 0),
        ),
        (
            "body without a method",
            wire::body(1, b"abc"),
            505,
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
            (0, 0),
        ),
        ("method instead of the header", frames(&[begun(), wire::queue_declare(1, "q", 0)]), 505, expected_header, wire::PUBLISH),
        ("body instead of the header", frames(&[begun(), wire::body(1, b"abc")]), 505, expected_header, wire::PUBLISH),
        ("header of another class", frames(&[begun(), header(10, 0, &[0, 0])]), 505, expected_header, wire::PUBLISH),
        ("second header", frames(&[announced(), wire::content_header(1, 10)]), 505, expected_body, wire::PUBLISH),
        ("method instead of the body", frames(&[announced(), wire::queue_declare(1, "q", 0)]), 505, expected_body, wire::PUBLISH),
        (
            "method in the middle of the body",
            frames(&[announced(), wire::body(1, b"abc"), wire::channel_open(1)]),
            505,
            expected_body,
            wire::PUBLISH,
        ),
        (
            "body larger than announced",
            frames(&[announced(), wire::body(1, &[7; 11])]),
            501,
            "FRAME_ERROR - content body frame exceeds remaining content size",
            wire::PUBLISH,
        ),
        (
            "second body larger than what is left",
            frames(&[announced(), wire::body(1, &[7; 8]), wire::body(1, &[7; 3])]),
            501,
            "FRAME_ERROR - content body frame exceeds remaining content size",
            wire::PUBLISH,
        ),
        (
            "body after the last",
            frames(&[announced(), wire::body(1, &[7; 10]), wire::body(1, &[])]),
            505,
            "UNEXPECTED_FRAME - expected method frame, ",
            (0, 0),
        ),
        (
            "announcement of a gigabyte",
            frames(&[begun(), wire::content_header(1, 1 << 30)]),
            501,
            "FRAME_ERROR - content body size 1073741824 exceeds maximum allowed size 536870912",
            wire::PUBLISH,
        ),
        (
            "announcement of all there is",
            frames(&[begun(), wire::content_header(1, u64::MAX)]),
            501,
            "FRAME_ERROR - content body size 18446744073709551615 exceeds",
            wire::PUBLISH,
        ),
        ("properties cut off", frames(&[begun(), header(60, 0, &[0x80, 0, 9, b'a'])]), 502, "SYNTAX_ERROR - ", wire::PUBLISH),
        ("properties without their flags", frames(&[begun(), header(60, 0, &[])]), 502, "SYNTAX_ERROR - ", wire::PUBLISH),
        (
            "headers nested too deep",
            frames(&[begun(), header(60, 0, &[&[0x20, 0][..], &Fields::new().bytes(&nested(2000)).0].concat())]),
            502,
            "SYNTAX_ERROR - ",
            wire::PUBLISH,
        ),
        (
            "header of ten bytes",
            frames(&[begun(), wire::frame(2, 1, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 3])]),
            501,
            "FRAME_ERROR - ",
            wire::PUBLISH,
        ),
    ]);
}

#[test]
fn methods_in_the_wrong_state() {
    let running = "CHANNEL_ERROR - unexpected method in connection state running";
    let not_open = "CHANNEL_ERROR - expected 'channel.open'";
    check(vec![
        ("second channel.open", wire::channel_open(1), 504, "CHANNEL_ERROR - second 'channel.open' seen", wire::CHANNEL_OPEN),
        ("channel.open on channel 0", wire::channel_open(0), 504, running, wire::CHANNEL_OPEN),
        ("publish on channel 0", wire::publish_method(0, "", "q"), 504, running, wire::PUBLISH),
        ("second connection.open", wire::open(), 504, running, wire::OPEN),
        ("second start-ok", wire::start_ok("guest", "guest"), 504, running, wire::START_OK),
        ("second tune-ok", wire::tune_ok(0, 0, 0), 504, running, wire::TUNE_OK),
        ("method on a channel that is not open", wire::queue_declare(2, "q", 0), 504, not_open, wire::QUEUE_DECLARE),
        ("publish on a channel that is not open", wire::publish(2, "", "q", b"x"), 504, not_open, wire::PUBLISH),
        (
            "connection.close on a channel",
            wire::method(1, wire::CLOSE, &Fields::new().short(200).text("").short(0).short(0)),
            503,
            "COMMAND_INVALID - unimplemented method",
            wire::CLOSE,
        ),
        (
            "channel.close-ok for nothing",
            wire::method(1, wire::CHANNEL_CLOSE_OK, &Fields::new()),
            503,
            "COMMAND_INVALID - unimplemented method",
            wire::CHANNEL_CLOSE_OK,
        ),
        (
            "a method of the server",
            wire::method(1, wire::CHANNEL_OPEN_OK, &Fields::new().long(0)),
            503,
            "COMMAND_INVALID - unimplemented method",
            wire::CHANNEL_OPEN_OK,
        ),
    ]);
}

#[test]
fn frames_on_a_channel_that_the_broker_has_closed_are_ignored() {
    let broker = Broker::start();
    let mut raw = Raw::channel(&broker);
    raw.declare("q", 0);
    raw.send(&wire::publish(1, "no such exchange", "q", b"lost"));
    let close = Close::of(&raw.expect(wire::CHANNEL_CLOSE));
    assert_eq!((close.code, close.id), (404, wire::PUBLISH));
    // Until close-ok: methods, whole contents and pieces of them mean nothing.
    raw.send(&wire::publish(1, "", "q", b"ignored"));
    raw.send(&wire::queue_declare(1, "not declared", 0));
    raw.send(&frames(&[wire::publish_method(1, "", "q"), wire::content_header(1, 5), wire::body(1, b"abc")]));
    raw.send(&wire::method(1, wire::CHANNEL_CLOSE_OK, &Fields::new()));
    raw.open_channel(1);
    assert_eq!(raw.declare("q", 1), 0, "nothing of it was published");
    // And after close-ok it is a channel that is not open.
    raw.send(&wire::publish(1, "no such exchange", "q", b"lost"));
    raw.expect(wire::CHANNEL_CLOSE);
    raw.send(&wire::method(1, wire::CHANNEL_CLOSE_OK, &Fields::new()));
    raw.send(&wire::method(1, wire::ACK, &Fields::new().longlong(1).byte(0)));
    let close = raw.closed();
    assert_eq!((close.code, close.text.as_str(), close.id), (504, "CHANNEL_ERROR - expected 'channel.open'", wire::ACK));
}

#[test]
fn nothing_is_answered_behind_connection_close() {
    let broker = Broker::start();
    let mut raw = Raw::channel(&broker);
    raw.send(&wire::channel_open(1));
    raw.expect(wire::CLOSE);
    raw.send(&wire::queue_declare(1, "q", 0));
    raw.send(&wire::frame(9, 9, &[9]));
    raw.send(&wire::method(0, wire::CLOSE_OK, &Fields::new()));
    raw.ends();
}
