//! Channels and consumers.

use serde_json::{Value as Json, json};

use super::http::Http;
use super::support::broker::Broker;
use super::support::raw::Raw;
use super::support::wire;
use super::{all, confirm, encode, manager, monitor, publish};

fn name(broker: &Broker, raw: &Raw) -> String {
    format!("{} -> {}", raw.stream.local_addr().expect("an address"), broker.address())
}

#[test]
fn a_channel_with_all_its_fields() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let mut raw = Raw::channel(&broker);
    confirm(&mut raw);
    raw.declare("q", 0);
    publish(&mut raw, "", "q", b"1");
    publish(&mut raw, "", "nowhere", b"2");
    raw.send(&wire::method(1, wire::QOS, &wire::Fields::new().long(0).short(5).byte(0)));
    raw.send(&wire::consume(1, "q", 0));
    raw.skip_to(wire::CONSUME_OK);
    raw.delivery();
    let connection = name(&broker, &raw);
    let port = raw.stream.local_addr().expect("an address").port();
    let mut channel = http.get(&format!("/api/channels/{}", encode(&format!("{connection} (1)")))).ok();
    let consumer = channel["consumer_details"][0].clone();
    assert_eq!(consumer["channel_details"]["name"], format!("{connection} (1)"));
    assert_eq!((&consumer["prefetch_count"], &consumer["queue"]), (&json!(5), &json!({"name": "q", "vhost": "/"})));
    assert_eq!(http.get("/api/consumers").ok(), json!([consumer]));
    assert_eq!(http.get("/api/consumers/%2F").ok(), json!([consumer]));
    let mut stats = json!({});
    for (name, count) in [
        ("ack", 0),
        ("confirm", 2),
        ("deliver", 1),
        ("deliver_get", 1),
        ("deliver_no_ack", 0),
        ("drop_unroutable", 1),
        ("get", 0),
        ("get_empty", 0),
        ("get_no_ack", 0),
        ("publish", 2),
        ("redeliver", 0),
        ("return_unroutable", 0),
    ] {
        stats[name] = json!(count);
        stats[format!("{name}_details")] = json!({"rate": 0.0});
    }
    assert!(channel["idle_since"].is_string());
    for field in ["idle_since", "consumer_details", "garbage_collection"] {
        channel.as_object_mut().expect("an object").remove(field);
    }
    // A sample may have been taken meanwhile.
    for name in all_names(&stats) {
        channel["message_stats"][&name] =
            if name.ends_with("_details") { json!({"rate": 0.0}) } else { channel["message_stats"][&name].clone() };
    }
    let expected = json!({
        "name": format!("{connection} (1)"), "number": 1, "node": "leveret@localhost", "vhost": "/", "user": "guest",
        "user_who_performed_action": "guest", "state": "running",
        "connection_details": {"name": connection, "peer_host": "127.0.0.1", "peer_port": port},
        "confirm": true, "transactional": false, "prefetch_count": 5, "global_prefetch_count": 0, "consumer_count": 1,
        "messages_unacknowledged": 1, "messages_unconfirmed": 0, "messages_uncommitted": 0, "acks_uncommitted": 0,
        "pending_raft_commands": 0, "message_stats": stats, "reductions": 0, "reductions_details": {"rate": 0.0},
        "deliveries": [], "publishes": [],
    });
    assert_eq!(channel, expected);
}

fn all_names(object: &Json) -> Vec<String> {
    object.as_object().expect("an object").keys().cloned().collect()
}

#[test]
fn lists_of_channels() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let (mut one, other) = (Raw::channel(&broker), Raw::channel(&broker));
    one.open_channel(2);
    let numbers = |path: &str| all(&http.get(path).ok(), "number");
    assert_eq!(numbers("/api/channels").len(), 3);
    assert_eq!(numbers("/api/vhosts/%2F/channels").len(), 3);
    assert_eq!(numbers(&format!("/api/connections/{}/channels", encode(&name(&broker, &one)))), [1, 2]);
    assert_eq!(numbers(&format!("/api/connections/{}/channels", encode(&name(&broker, &other)))), [1]);
    let (manager, monitor) = (manager(&http), monitor(&http));
    assert_eq!(monitor.get("/api/channels").ok().as_array().map(Vec::len), Some(3));
    for theirs in ["/api/channels", "/api/vhosts/%2F/channels", "/api/consumers", "/api/connections"] {
        assert_eq!(manager.get(theirs).ok(), json!([]), "{theirs}");
    }
    let channel = format!("/api/channels/{}", encode(&format!("{} (2)", name(&broker, &one))));
    assert_eq!(monitor.get(&channel).ok()["number"], 2);
    manager.get(&channel).refuses(401, "not_authorised", "User not authorised to access object");
    for path in ["/api/channels/none", "/api/vhosts/nowhere/channels", "/api/consumers/nowhere", "/api/connections/none/channels"] {
        http.get(path).refuses(404, "Object Not Found", "Not Found");
    }
}
