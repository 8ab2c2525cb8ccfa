//! Reading exchanges.

use serde_json::json;

use super::http::Http;
use super::support::broker::Broker;
use super::support::raw::Raw;
use super::{all, confirm, manager, publish};

#[test]
fn exchanges_and_what_they_count() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/exchanges/%2F/e", &json!({"type": "topic", "arguments": {"a": 1}})).is(201);
    http.put("/api/queues/%2F/q", &json!({})).is(201);
    http.post("/api/bindings/%2F/e/e/q/q", &json!({"routing_key": "k.#"})).is(201);
    let none = json!({"publish_in": 0, "publish_in_details": {"rate": 0.0}, "publish_out": 0, "publish_out_details": {"rate": 0.0}});
    let fresh = json!({"name": "e", "vhost": "/", "type": "topic", "durable": false, "auto_delete": false, "internal": false,
        "arguments": {"a": 1}, "policy": null, "message_stats": none, "user_who_performed_action": null, "incoming": [], "outgoing": []});
    assert_eq!(http.get("/api/exchanges/%2F/e").ok(), fresh);
    let mut raw = Raw::channel(&broker);
    confirm(&mut raw);
    publish(&mut raw, "e", "k.1", b"in");
    publish(&mut raw, "e", "other", b"nowhere");
    publish(&mut raw, "", "q", b"default");
    let stats = |name: &str| http.get(&format!("/api/exchanges/%2F/{name}")).ok()["message_stats"].clone();
    assert_eq!((&stats("e")["publish_in"], &stats("e")["publish_out"]), (&json!(2), &json!(1)));
    assert_eq!((&stats("amq.default")["publish_in"], &stats("amq.default")["publish_out"]), (&json!(1), &json!(1)));
    let default = http.get("/api/exchanges/%2F/amq.default").ok();
    assert_eq!((&default["name"], &default["user_who_performed_action"]), (&json!(""), &json!("rmq-internal")));
}

#[test]
fn lists_of_exchanges() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/vhosts/other", &json!({})).is(201);
    let predeclared = ["", "amq.direct", "amq.fanout", "amq.headers", "amq.match", "amq.rabbitmq.trace", "amq.topic"];
    assert_eq!(all(&http.get("/api/exchanges/%2F").ok(), "name"), predeclared);
    assert_eq!(http.get("/api/exchanges").ok().as_array().map(Vec::len), Some(14));
    let page = http.get("/api/exchanges?page=2&page_size=5").ok();
    assert_eq!((&page["item_count"], &page["page_count"]), (&json!(5), &json!(3)));
    let manager = manager(&http);
    assert_eq!(manager.get("/api/exchanges").ok().as_array().map(Vec::len), Some(7));
    manager.get("/api/exchanges/other/amq.topic").refuses(401, "not_authorised", "User not authorised to access virtual host");
    http.get("/api/exchanges/%2F/none").refuses(404, "Object Not Found", "Not Found");
    http.get("/api/exchanges/nowhere").refuses(404, "Object Not Found", "Not Found");
    assert_eq!(http.get("/api/exchanges/%2F?columns=type&name=amq.match").ok(), json!([{"type": "headers"}]));
}
