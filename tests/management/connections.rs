//! Connections: looking at them, and ending them.

use serde_json::json;

use super::http::Http;
use super::support::broker::Broker;
use super::support::raw::{Close, Raw};
use super::support::wire;
use super::{all, encode, manager, monitor};

fn path(broker: &Broker, raw: &Raw) -> String {
    format!("/api/connections/{}", encode(&format!("{} -> {}", raw.stream.local_addr().expect("an address"), broker.address())))
}

#[test]
fn a_connection_with_all_its_fields() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let raw = Raw::channel(&broker);
    let peer = raw.stream.local_addr().expect("an address");
    let mut connection = http.get(&path(&broker, &raw)).ok();
    let number = |field: &str| connection[field].as_u64().unwrap_or_else(|| panic!("{field}"));
    // A header of 8 bytes, start-ok, tune-ok, open, channel.open: and what answers them.
    assert!((100..2000).contains(&number("recv_oct")) && (100..2000).contains(&number("send_oct")), "{connection}");
    assert!(number("recv_cnt") >= 4 && number("send_cnt") >= 4, "{connection}");
    assert!(number("connected_at") > 1_700_000_000_000);
    let varying = ["recv_oct", "send_oct", "recv_cnt", "send_cnt", "connected_at", "garbage_collection"];
    for field in varying {
        connection.as_object_mut().expect("an object").remove(field);
    }
    for field in ["recv_oct_details", "send_oct_details"] {
        connection[field] = json!({});
    }
    let capabilities = json!({"authentication_failure_close": true, "connection.blocked": true, "consumer_cancel_notify": true});
    let expected = json!({
        "name": format!("{peer} -> {}", broker.address()), "user_provided_name": null, "node": "leveret@localhost", "type": "network",
        "protocol": "AMQP 0-9-1", "vhost": "/", "user": "guest", "user_who_performed_action": "guest", "auth_mechanism": "PLAIN",
        "state": "running", "channels": 1, "channel_max": connection["channel_max"], "frame_max": connection["frame_max"],
        "timeout": connection["timeout"], "client_properties": {"capabilities": capabilities},
        "host": "127.0.0.1", "port": broker.address().port(), "peer_host": "127.0.0.1", "peer_port": peer.port(),
        "ssl": false, "ssl_protocol": null, "ssl_key_exchange": null, "ssl_cipher": null, "ssl_hash": null,
        "peer_cert_subject": null, "peer_cert_issuer": null, "peer_cert_validity": null,
        "recv_oct_details": {}, "send_oct_details": {}, "send_pend": 0, "reductions": 0, "reductions_details": {"rate": 0.0},
    });
    assert_eq!(connection, expected);
    assert_eq!(http.get(&format!("{}/sessions", path(&broker, &raw))).ok(), json!([]));
}

/// Clients of the stream protocol have lists of their own, with nobody on them.
#[test]
fn nobody_speaks_the_stream_protocol() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let _raw = Raw::channel(&broker);
    for of in ["connections", "publishers", "consumers"] {
        assert_eq!(http.get(&format!("/api/stream/{of}")).ok(), json!([]));
        assert_eq!(http.get(&format!("/api/stream/{of}/%2F")).ok(), json!([]));
        assert_eq!(http.get(&format!("/api/stream/{of}?page=1")).ok()["items"], json!([]));
        http.get(&format!("/api/stream/{of}/nowhere")).is(404);
        Http::nobody(broker.http()).get(&format!("/api/stream/{of}")).is(401);
    }
}

/// Exactly what has gone over the socket.
#[test]
fn bytes_are_counted() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let mut raw = Raw::channel(&broker);
    let bytes = |field: &str| http.get(&path(&broker, &raw)).ok()[field].as_u64().expect("a number");
    let before = (bytes("recv_oct"), bytes("send_oct"));
    let sent = wire::queue_declare(1, "q", 0);
    raw.send(&sent);
    let answer = raw.expect(wire::QUEUE_DECLARE_OK);
    let bytes = |field: &str| http.get(&path(&broker, &raw)).ok()[field].as_u64().expect("a number");
    assert_eq!(bytes("recv_oct") - before.0, sent.len() as u64);
    assert_eq!(bytes("send_oct") - before.1, answer.payload.len() as u64 + 8);
}

#[test]
fn lists_of_connections() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let (one, _other) = (Raw::channel(&broker), Raw::channel(&broker));
    // The API's own connections do not show.
    http.put("/api/queues/%2F/q", &json!({})).is(201);
    let names = all(&http.get("/api/connections").ok(), "name");
    assert_eq!(names.len(), 2);
    assert_eq!(all(&http.get("/api/vhosts/%2F/connections").ok(), "name"), names);
    assert_eq!(http.get("/api/overview").ok()["object_totals"]["connections"], 2);
    let page = http.get("/api/connections?page=1&page_size=1&sort=channels").ok();
    assert_eq!((&page["total_count"], &page["item_count"]), (&json!(2), &json!(1)));
    let tracked = http.get("/api/connections/username/guest").ok();
    assert_eq!(tracked[0], json!({"name": names[0], "vhost": "/", "user": "guest", "node": "leveret@localhost"}));
    assert_eq!(http.get("/api/connections/username/nobody").ok(), json!([]));
    let (manager, monitor) = (manager(&http), monitor(&http));
    assert_eq!(all(&monitor.get("/api/connections").ok(), "name"), names);
    assert_eq!(manager.get("/api/connections/username/m").ok(), json!([]));
    manager.get("/api/connections/username/guest").refuses(401, "not_authorised", "User not authorised to access object");
    manager.get(&path(&broker, &one)).refuses(401, "not_authorised", "User not authorised to access object");
    for nowhere in ["/api/connections/none", "/api/connections/none/sessions", "/api/vhosts/nowhere/connections"] {
        http.get(nowhere).refuses(404, "Object Not Found", "Not Found");
    }
}

/// What a client is told that is closed.
fn closed(raw: &mut Raw) -> (u16, String) {
    let Close { code, text, .. } = raw.closed();
    (code, text)
}

#[test]
fn connections_are_closed_with_a_reason() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let (manager, monitor) = (manager(&http), monitor(&http));
    let (mut one, mut two) = (Raw::channel(&broker), Raw::channel(&broker));
    for nobody in [&manager, &monitor] {
        nobody.delete(&path(&broker, &one)).refuses(401, "not_authorised", "User not authorised to access object");
        nobody.delete("/api/connections/username/guest").refuses(401, "not_authorised", "User not authorised to access object");
    }
    http.send("DELETE", &path(&broker, &one), &[("X-Reason", "you are too slow")], b"").is(204);
    assert_eq!(closed(&mut one), (320, "CONNECTION_FORCED - you are too slow".to_owned()));
    http.delete(&path(&broker, &two)).is(204);
    assert_eq!(closed(&mut two), (320, "CONNECTION_FORCED - Closed via management plugin".to_owned()));
    http.delete("/api/connections/none").refuses(404, "Object Not Found", "Not Found");
    let (mut three, mut four) = (Raw::channel(&broker), Raw::channel(&broker));
    http.send("DELETE", "/api/connections/username/guest", &[("X-Reason", "all")], b"").is(204);
    for raw in [&mut three, &mut four] {
        assert_eq!(closed(raw), (320, "CONNECTION_FORCED - all".to_owned()));
    }
}
