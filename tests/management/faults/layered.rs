//! Faults where AMQP does not go over a bare socket: under TLS, and in the frames of WebSocket.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Faulty, hears_nothing, publish};
use crate::http::Http;
use crate::support::broker::{Broker, Scratch, leveret};
use crate::support::raw::{Close, Raw};
use crate::support::tls::{Authority, Trust, Tunnel, server_lines};
use crate::support::{eventually, wire};
use crate::websocket::tunnel;

/// A broker, and places that lead to it over TLS and over WebSocket.
struct Ways {
    faulty: Faulty,
    ways: [(&'static str, SocketAddr); 2],
    _tls: Tunnel,
}

impl Ways {
    fn open() -> Self {
        let authority = Authority::new();
        let scratch = Scratch::new();
        let lines = server_lines(&scratch, &authority, &authority.issue("server"));
        let config = scratch.file("leveret.conf", &lines);
        let mut command = leveret();
        command.args(["--test-api", "--amqps", "127.0.0.1:0", "--config"]).arg(config);
        let broker = Broker::launch(command, scratch);
        let http = Http::guest(broker.http());
        let tls = Tunnel::over_tls(broker.tls_address(), &Trust::in_authority(&authority.certificate));
        let ways = [("TLS", tls.address), ("WebSocket", tunnel(broker.http(), 1000))];
        Self { faulty: Faulty { broker, http }, ways, _tls: tls }
    }

    /// With both, one after the other: a client with channel 1 open and the queue `q`, which is empty.
    fn each(&self, mut test: impl FnMut(&Faulty, &mut Raw)) {
        for (about, address) in self.ways {
            let mut raw = Raw::channel_at(address);
            raw.about = about;
            raw.declare("q", 0);
            test(&self.faulty, &mut raw);
            self.faulty.http.delete("/api/queues/%2F/q").is(204);
        }
    }
}

#[test]
fn frames_are_lost_late_and_doubled() {
    Ways::open().each(|faulty, raw| {
        let about = raw.about;
        let lost = faulty.on("basic.publish", &json!({"kind": "drop"}), &json!({"nth": 1}));
        publish(raw, b"1");
        publish(raw, b"2");
        assert_eq!((raw.declare("q", 0), faulty.hits(lost)), (1, 1), "{about}");
        faulty.remove(lost);
        let doubled = faulty.on("basic.publish", &json!({"kind": "duplicate"}), &json!({"nth": 1}));
        publish(raw, b"3");
        assert_eq!((raw.declare("q", 0), faulty.hits(doubled)), (3, 1), "{about}");
        faulty.remove(doubled);
        let late = faulty.on("queue.declare", &json!({"kind": "delay", "ms": 300}), &json!({}));
        let began = Instant::now();
        raw.declare("q", 0);
        assert!(began.elapsed() >= Duration::from_millis(300), "{about}");
        faulty.remove(late);
    });
}

#[test]
fn a_frame_is_spoilt_on_its_way_out() {
    Ways::open().each(|faulty, raw| {
        let rule = faulty.add(&json!({"match": {"method": "queue.declare-ok"}, "action": {"kind": "corrupt-frame-end"}}));
        raw.send(&wire::queue_declare(1, "q", 0));
        let mut heard = [0; 22];
        raw.stream.read_exact(&mut heard).expect("a queue.declare-ok");
        assert_eq!(heard[..11], [1, 0, 1, 0, 0, 0, 14, 0, 50, 0, 11], "{}", raw.about);
        assert_ne!(heard[21], 0xCE, "{}", raw.about);
        faulty.remove(rule);
    });
}

#[test]
fn connections_are_not_read_for_a_while() {
    Ways::open().each(|faulty, raw| {
        let rule = faulty.add(&json!({"match": {"user": "guest"}, "action": {"kind": "stop-reading"}}));
        eventually("it has fired", || (faulty.hits(rule) > 0).then_some(()));
        raw.send(&wire::queue_declare(1, "q", 0));
        hears_nothing(raw);
        faulty.remove(rule);
        raw.expect(wire::QUEUE_DECLARE_OK);
    });
}

#[test]
fn connections_are_reset_and_closed() {
    Ways::open().each(|faulty, raw| {
        let rule = faulty.on("basic.publish", &json!({"kind": "close-connection", "code": 320, "text": "as asked"}), &json!({}));
        publish(raw, b"never");
        let close = Close::of(&raw.expect(wire::CLOSE));
        assert_eq!((close.code, &*close.text), (320, "CONNECTION_FORCED - as asked"), "{}", raw.about);
        faulty.remove(rule);
    });
    Ways::open().each(|faulty, raw| {
        let rule = faulty.on("basic.publish", &json!({"kind": "reset"}), &json!({"nth": 2}));
        publish(raw, b"there");
        publish(raw, b"never");
        // What a tunnel makes of a reset is an end without a close.
        raw.ends();
        faulty.eventually_ready(1);
        faulty.remove(rule);
    });
}

#[test]
fn the_broker_says_no_more_and_reads_on() {
    let ways = Ways::open();
    // A WebSocket has no halves: its close is for both.
    let mut raw = Raw::channel_at(ways.ways[0].1);
    raw.declare("q", 0);
    ways.faulty.on("basic.publish", &json!({"kind": "half-close"}), &json!({"nth": 1}));
    publish(&mut raw, b"1");
    raw.ends();
    publish(&mut raw, b"2");
    ways.faulty.eventually_ready(2);
}

#[test]
fn handshakes_are_stalled_and_refused() {
    let ways = Ways::open();
    for (about, address) in ways.ways {
        let rule = ways.faulty.add(&json!({"action": {"kind": "stall-handshake", "at": "start"}}));
        let mut raw = Raw::over(TcpStream::connect(address).expect("somebody accepts"));
        raw.about = about;
        raw.send(wire::HEADER);
        hears_nothing(&mut raw);
        ways.faulty.remove(rule);
        raw.expect(wire::START);
        let rule = ways.faulty.add(&json!({"match": {"user": "guest"}, "action": {"kind": "fail-authentication"}}));
        raw.send(&wire::start_ok("guest", "guest"));
        assert_eq!(Close::of(&raw.expect(wire::CLOSE)).code, 403, "{about}");
        ways.faulty.remove(rule);
    }
}
