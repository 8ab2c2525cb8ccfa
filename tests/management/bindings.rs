//! Reading bindings.

use serde_json::json;

use super::http::Http;
use super::support::broker::Broker;
use super::{all, encode, manager};

#[test]
fn bindings_from_every_side() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/queues/%2F/q", &json!({})).is(201);
    http.put("/api/exchanges/%2F/e", &json!({"type": "topic"})).is(201);
    http.put("/api/exchanges/%2F/f", &json!({"type": "fanout"})).is(201);
    http.post("/api/bindings/%2F/e/e/q/q", &json!({"routing_key": "k.#", "arguments": {"z": 2}})).is(201);
    http.post("/api/bindings/%2F/e/e/e/f", &json!({"routing_key": "x"})).is(201);
    let default = json!({"source": "", "vhost": "/", "destination": "q", "destination_type": "queue", "routing_key": "q", "arguments": {},
        "properties_key": "q"});
    let to_exchange = json!({"source": "e", "vhost": "/", "destination": "f", "destination_type": "exchange", "routing_key": "x",
        "arguments": {}, "properties_key": "x"});
    let rows = http.get("/api/bindings").ok();
    let mut to_queue = rows[2].clone();
    let key = to_queue["properties_key"].as_str().expect("a key").to_owned();
    assert!(key.starts_with("k.%23~"), "{key}");
    assert_eq!(rows, json!([default, to_exchange, to_queue]));
    assert_eq!(http.get("/api/bindings/%2F").ok(), rows);
    let list = |path: &str| http.get(path).ok();
    assert_eq!(list("/api/queues/%2F/q/bindings"), json!([default, to_queue]));
    assert_eq!(list("/api/exchanges/%2F/e/bindings/source"), json!([to_exchange, to_queue]));
    assert_eq!(list("/api/exchanges/%2F/amq.default/bindings/source"), json!([default]));
    assert_eq!(list("/api/exchanges/%2F/f/bindings/destination"), json!([to_exchange]));
    assert_eq!(list("/api/bindings/%2F/e/e/q/q"), json!([to_queue]));
    assert_eq!(list("/api/bindings/%2F/e/amq.default/q/q"), json!([default]));
    assert_eq!(list("/api/bindings/%2F/e/e/e/f"), json!([to_exchange]));
    for nothing in ["/api/bindings/%2F/e/none/q/q", "/api/bindings/%2F/e/e/q/none", "/api/queues/%2F/none/bindings"] {
        assert_eq!(list(nothing), json!([]), "{nothing}");
    }
    // As it is, and once more encoded.
    assert_eq!(list(&format!("/api/bindings/%2F/e/e/q/q/{key}")), to_queue);
    assert_eq!(list(&format!("/api/bindings/%2F/e/e/q/q/{}", encode(&key))), to_queue);
    assert_eq!(list("/api/bindings/%2F/e/e/e/f/x"), to_exchange);
    http.get("/api/bindings/%2F/e/e/q/q/k.%23~other").refuses(404, "Object Not Found", "Not Found");
    to_queue["arguments"] = json!({"z": 2});
    assert_eq!(to_queue, rows[2]);
}

#[test]
fn who_sees_which_bindings() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/vhosts/other", &json!({})).is(201);
    http.put("/api/queues/%2F/q", &json!({})).is(201);
    http.put("/api/queues/other/p", &json!({})).is(201);
    let manager = manager(&http);
    assert_eq!(all(&http.get("/api/bindings").ok(), "destination"), ["q", "p"]);
    assert_eq!(all(&manager.get("/api/bindings").ok(), "destination"), ["q"]);
    manager.get("/api/queues/other/p/bindings").refuses(401, "not_authorised", "User not authorised to access virtual host");
    http.get("/api/bindings/nowhere").refuses(404, "Object Not Found", "Not Found");
}
