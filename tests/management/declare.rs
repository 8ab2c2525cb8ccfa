//! Declaring, binding, publishing, getting and purging over HTTP.

use serde_json::{Value as Json, json};

use super::http::Http;
use super::support::broker::{Broker, End, Home};
use super::support::eventually;

fn publish(http: &Http, exchange: &str, key: &str, payload: &str) -> super::http::Answer {
    let body = json!({"routing_key": key, "properties": {"delivery_mode": 2}, "payload": payload, "payload_encoding": "string"});
    http.post(&format!("/api/exchanges/%2F/{exchange}/publish"), &body)
}

fn get(http: &Http, queue: &str, mode: &str) -> Vec<Json> {
    let body = json!({"count": 10, "ackmode": mode, "encoding": "auto"});
    http.post(&format!("/api/queues/%2F/{queue}/get"), &body).ok().as_array().expect("a list").clone()
}

fn payloads(messages: &[Json]) -> Vec<&str> {
    messages.iter().map(|message| message["payload"].as_str().expect("text")).collect()
}

#[test]
fn a_queue_is_declared_once() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/queues/%2F/q", &json!({"durable": true, "arguments": {"x-max-length": 2}})).is(201);
    http.put("/api/queues/%2F/q", &json!({"durable": true, "arguments": {"x-max-length": 2}})).is(204);
    let reason = "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'";
    http.put("/api/queues/%2F/q", &json!({})).refuses(400, "bad_request", reason);
    http.put("/api/queues/%2F/amq.q", &json!({})).refuses(401, "not_authorised", "Access refused.");
    http.put("/api/queues/nowhere/q", &json!({})).refuses(404, "not_found", "vhost_not_found");
    http.put("/api/queues/%2F/w", &json!({"durable": "maybe"})).is(400);
    http.put("/api/queues/%2F/w", &json!({"arguments": {"x-max-length": "two"}})).is(400);
    http.delete("/api/queues/%2F/q").is(204);
    http.delete("/api/queues/%2F/q").refuses(404, "Object Not Found", "Not Found");
}

#[test]
fn exchanges_and_bindings() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/exchanges/%2F/x", &json!({})).is(201);
    http.put("/api/exchanges/%2F/x", &json!({"type": "direct"})).is(204);
    http.put("/api/exchanges/%2F/y", &json!({"type": "nope"})).is(400);
    http.put("/api/exchanges/%2F/amq.y", &json!({"type": "direct"})).refuses(401, "not_authorised", "Access refused.");
    http.put("/api/exchanges/%2F/t", &json!({"type": "topic", "durable": true})).is(201);
    http.put("/api/queues/%2F/a%2Fb", &json!({})).is(201);
    let bound = http.post("/api/bindings/%2F/e/t/q/a%2Fb", &json!({"routing_key": "k.#"}));
    bound.is(201);
    let location = bound.header("location").expect("a location").to_owned();
    assert!(location.starts_with("a%2Fb/"), "{location}");
    http.post("/api/bindings/%2F/e/x/e/t", &json!({"routing_key": "k.1", "arguments": {"a": 1}})).is(201);
    let missing = http.post("/api/bindings/%2F/e/x/q/none", &json!({}));
    missing.refuses(404, "not_found", "no queue 'none' in vhost '/'");
    assert_eq!(publish(&http, "x", "k.1", "m").ok(), json!({"routed": true}));
    assert_eq!(publish(&http, "x", "k.2", "m").ok(), json!({"routed": false}));
    assert_eq!(payloads(&get(&http, "a%2Fb", "ack_requeue_false")), ["m"]);
    http.delete(&format!("/api/bindings/%2F/e/t/q/{location}")).is(204);
    http.delete(&format!("/api/bindings/%2F/e/t/q/{location}")).is(404);
    assert_eq!(publish(&http, "x", "k.1", "m").ok(), json!({"routed": false}));
    http.delete("/api/exchanges/%2F/t?if-unused=true").is(204);
    http.delete("/api/exchanges/%2F/amq.topic").refuses(401, "not_authorised", "Access refused.");
    http.delete("/api/exchanges/%2F/none").is(404);
}

#[test]
fn messages_go_back_to_where_they_were() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/queues/%2F/q", &json!({"durable": true})).is(201);
    for payload in ["1", "2", "3"] {
        assert_eq!(publish(&http, "amq.default", "q", payload).ok(), json!({"routed": true}));
    }
    let first = get(&http, "q", "ack_requeue_true");
    assert_eq!(payloads(&first), ["1", "2", "3"]);
    assert_eq!(first[0]["redelivered"], false);
    assert_eq!(first[0]["message_count"], 2);
    assert_eq!(first[0]["properties"], json!({"delivery_mode": 2}));
    let again = get(&http, "q", "reject_requeue_true");
    assert_eq!((payloads(&again), &again[0]["redelivered"]), (vec!["1", "2", "3"], &json!(true)));
    http.delete("/api/queues/%2F/q?if-empty=true").refuses(400, "bad_request", "queue 'q' in vhost '/' not empty");
    assert_eq!(get(&http, "q", "ack_requeue_false").len(), 3);
    assert!(get(&http, "q", "ack_requeue_true").is_empty());
    publish(&http, "amq.default", "q", "4").ok();
    http.delete("/api/queues/%2F/q/contents").is(204);
    assert!(get(&http, "q", "ack_requeue_true").is_empty());
    http.delete("/api/queues/%2F/none/contents").is(404);
}

#[test]
fn bodies_that_are_no_text() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/queues/%2F/q", &json!({})).is(201);
    let message = json!({"routing_key": "q", "properties": {}, "payload": "/wABAg==", "payload_encoding": "base64"});
    http.post("/api/exchanges/%2F/amq.default/publish", &message).ok();
    let got = get(&http, "q", "ack_requeue_true");
    let (payload, encoding, bytes) = (&got[0]["payload"], &got[0]["payload_encoding"], &got[0]["payload_bytes"]);
    assert_eq!((payload, encoding, bytes), (&json!("/wABAg=="), &json!("base64"), &json!(4)));
    let truncated = json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "base64", "truncate": 1});
    let got = http.post("/api/queues/%2F/q/get", &truncated).ok();
    assert_eq!((&got[0]["payload"], &got[0]["payload_bytes"]), (&json!("/w=="), &json!(4)));
}

#[test]
fn what_is_no_message() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let missing = "[{key_missing,properties},{key_missing,payload},{key_missing,payload_encoding}]";
    http.post("/api/exchanges/%2F/amq.default/publish", &json!({"routing_key": "q"})).refuses(400, "bad_request", missing);
    let no_exchange = "404 NOT_FOUND - no exchange 'none' in vhost '/'";
    publish(&http, "none", "q", "m").refuses(400, "bad_request", no_exchange);
    let get = http.post("/api/queues/%2F/q/get", &json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}));
    get.refuses(404, "Object Not Found", "Not Found");
}

/// A full queue is a refusal, and an alarm is one that says when to try again.
#[test]
fn a_publish_that_is_not_taken_says_so() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let full = json!({"arguments": {"x-max-length": 0, "x-overflow": "reject-publish"}});
    http.put("/api/queues/%2F/full", &full).is(201);
    let answer = publish(&http, "amq.default", "full", "m");
    answer.refuses(429, "too_many_requests", "Unable to publish message. Check queue limits.");
    // Of another broker, where everything is too much.
    let broker = Broker::with_config("vm_memory_high_watermark.absolute = 1\n");
    let http = Http::guest(broker.http());
    http.put("/api/queues/%2F/q", &json!({})).is(201);
    // The first one fills the memory; one of the next is refused.
    let answer = eventually("publishers are blocked", || {
        let answer = publish(&http, "amq.default", "q", "m");
        (answer.status != 200).then_some(answer)
    });
    answer.refuses(503, "service_unavailable", "publishers are blocked: low on memory");
    assert_eq!(answer.header("retry-after"), Some("1"));
    // Everything else goes on.
    http.delete("/api/queues/%2F/q/contents").is(204);
}

/// Memory runs short while a publish is on its way, is free again, and so on: each is taken or refused, and none waits.
#[test]
fn a_publish_is_answered_whenever_memory_runs_short() {
    let broker = Broker::with_config("vm_memory_high_watermark.absolute = 1\n");
    let http = Http::guest(broker.http());
    http.put("/api/queues/%2F/q", &json!({})).is(201);
    for _ in 0..50 {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let status = publish(&http, "amq.default", "q", "m").status;
                        assert!(matches!(status, 200 | 503), "{status}");
                    }
                });
            }
        });
        http.delete("/api/queues/%2F/q/contents").is(204);
    }
}

/// What has been answered has happened: it survives a crash.
#[test]
fn what_was_declared_and_published_survives() {
    let home = Home::new();
    let broker = home.start();
    let http = Http::guest(broker.http());
    http.put("/api/vhosts/v", &json!({"description": "d"})).is(201);
    http.put("/api/queues/%2F/q", &json!({"durable": true})).is(201);
    publish(&http, "amq.default", "q", "m").ok();
    broker.end(End::Killed);
    let broker = home.start();
    let http = Http::guest(broker.http());
    assert_eq!(payloads(&get(&http, "q", "ack_requeue_true")), ["m"]);
    assert_eq!(http.get("/api/vhosts/v?columns=description").ok(), json!({"description": "d"}));
}

/// Permissions are those of the user, with AMQP's checks.
#[test]
fn a_user_may_what_its_permissions_say() {
    let broker = Broker::start();
    let guest = Http::guest(broker.http());
    guest.put("/api/users/u", &json!({"password": "p", "tags": "management"})).is(201);
    let u = guest.r#as("u", "p");
    u.put("/api/queues/%2F/a", &json!({})).refuses(401, "not_authorised", "User not authorised to access virtual host");
    guest.put("/api/permissions/%2F/u", &json!({"configure": "^a", "write": "", "read": ""})).is(201);
    u.put("/api/queues/%2F/a", &json!({})).is(201);
    u.put("/api/queues/%2F/b", &json!({})).refuses(401, "not_authorised", "Access refused.");
    u.delete("/api/queues/%2F/a/contents").refuses(401, "not_authorised", "Access refused.");
    let answer = publish(&u, "amq.default", "a", "m");
    assert_eq!(answer.status, 400, "{}", answer.text());
    guest.put("/api/permissions/%2F/u", &json!({"configure": "", "write": "", "read": ".*"})).is(204);
    u.delete("/api/queues/%2F/a/contents").is(204);
    u.delete("/api/queues/%2F/a").refuses(401, "not_authorised", "Access refused.");
}
