//! Publishing and consuming over HTTP without AMQP.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::amqp;
use super::http::Http;
use super::support::broker::{Broker, End, Home};

fn declare(http: &Http, queue: &str) {
    http.put(&format!("/api/queues/%2F/{queue}"), &json!({"durable": true})).is(201);
}

fn publish(http: &Http, key: &str, body: &[u8]) -> super::http::Answer {
    http.send("POST", &format!("/v1/%2F/exchanges/amq.default?routing_key={key}"), &[], body)
}

fn poll(http: &Http, queue: &str, query: &str) -> Vec<Json> {
    http.get(&format!("/v1/%2F/queues/{queue}/messages?{query}")).ok().as_array().expect("a list").clone()
}

fn payloads(messages: &[Json]) -> Vec<&str> {
    messages.iter().map(|message| message["payload"].as_str().expect("text")).collect()
}

fn tokens(messages: &[Json]) -> Vec<Json> {
    messages.iter().map(|message| message["ack_token"].clone()).collect()
}

fn ready(http: &Http, queue: &str) -> usize {
    let body = json!({"count": 1000, "ackmode": "ack_requeue_true", "encoding": "auto"});
    http.post(&format!("/api/queues/%2F/{queue}/get"), &body).ok().as_array().expect("a list").len()
}

#[test]
fn a_body_as_it_is() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    declare(&http, "q");
    let headers = [("content-type", "image/png"), ("x-message-id", "m1"), ("x-priority", "3"), ("x-header-trace", "t1")];
    let answer = http.send("POST", "/v1/%2F/exchanges/amq.default?routing_key=q", &headers, &[0, 159, 146, 150]);
    assert_eq!((answer.status, answer.json()), (201, json!({"routed": true})));
    let unrouted = publish(&http, "nowhere", b"x");
    assert_eq!((unrouted.status, unrouted.json()), (200, json!({"routed": false})));
    let got = http.send("GET", "/v1/%2F/queues/q/messages", &[("accept", "application/octet-stream")], b"");
    assert_eq!((got.status, &got.body[..]), (200, &[0, 159, 146, 150][..]));
    assert_eq!((got.header("content-type"), got.header("x-message-id")), (Some("image/png"), Some("m1")));
    let token = got.header("x-ack-token").expect("a token").to_owned();
    assert_eq!(ready(&http, "q"), 0, "it is out");
    let settled = http.post("/v1/%2F/ack", &json!({"tokens": [token], "requeue": true})).ok();
    assert_eq!(settled, json!({"settled": 1, "gone": []}));
    let again = poll(&http, "q", "");
    let properties =
        json!({"content_type": "image/png", "message_id": "m1", "priority": 3, "delivery_mode": 2, "headers": {"trace": "t1"}});
    assert_eq!((&again[0]["properties"], &again[0]["redelivered"]), (&properties, &json!(true)));
    let nothing = http.send("GET", "/v1/%2F/queues/q/messages", &[("accept", "application/octet-stream")], b"");
    nothing.is(204);
}

#[test]
fn batches() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    declare(&http, "q");
    let lines = "{\"routing_key\":\"q\",\"payload\":\"a\"}\n\n{\"routing_key\":\"q\",\"payload\":{\"b\":1}}\n\
                 {\"routing_key\":\"none\",\"payload\":\"c\"}\n{\"routing_key\":\"q\",\"payload\":\"/w==\",\"payload_encoding\":\"base64\"}";
    let post =
        |lines: &str| http.send("POST", "/v1/%2F/exchanges/amq.default", &[("content-type", "application/x-ndjson")], lines.as_bytes());
    let answer = post(lines);
    assert_eq!((answer.status, answer.json()), (201, json!({"routed": 3, "unrouted": 1, "refused": 0})));
    let got = poll(&http, "q", "count=10&ack=auto");
    assert_eq!(payloads(&got), ["a", "{\"b\":1}", "/w=="]);
    assert_eq!((&got[2]["payload_encoding"], &got[0]["ack_token"]), (&json!("base64"), &Json::Null));
    // One bad line, and nothing of the batch is published.
    post("{\"routing_key\":\"q\",\"payload\":\"a\"}\n{").refuses(400, "bad_request", "line 2: not_json");
    assert_eq!(ready(&http, "q"), 0);
    let full = json!({"arguments": {"x-max-length": 1, "x-overflow": "reject-publish"}});
    http.put("/api/queues/%2F/full", &full).is(201);
    let answer = post("{\"routing_key\":\"full\",\"payload\":\"a\"}\n{\"routing_key\":\"full\",\"payload\":\"b\"}");
    assert_eq!((answer.status, answer.json()), (429, json!({"routed": 1, "unrouted": 0, "refused": 1})));
}

#[test]
fn a_poll_waits_for_what_comes() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    declare(&http, "q");
    let began = Instant::now();
    assert!(poll(&http, "q", "").is_empty());
    assert!(poll(&http, "q", "wait=1").is_empty());
    assert!(began.elapsed() >= Duration::from_secs(1));
    let waiting = {
        let http = http.clone();
        std::thread::spawn(move || poll(&http, "q", "wait=20&count=5"))
    };
    super::support::eventually("somebody waits", || (amqp::consumers(broker.address(), "q") > 0).then_some(()));
    publish(&http, "q", b"late").is(201);
    let got = waiting.join().expect("an answer");
    assert_eq!(payloads(&got), ["late"]);
    assert_eq!(http.post("/v1/%2F/ack", &json!({"tokens": tokens(&got)})).ok()["settled"], 1);
    assert_eq!(http.post("/v1/%2F/ack", &json!({"tokens": tokens(&got)})).ok(), json!({"settled": 0, "gone": tokens(&got)}));
    assert_eq!(ready(&http, "q"), 0);
}

#[test]
fn what_is_not_acknowledged_in_time_comes_again() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    declare(&http, "q");
    for body in [b"a", b"b"] {
        publish(&http, "q", body).is(201);
    }
    let first = poll(&http, "q", "count=2&ack_timeout=1");
    assert_eq!(http.post("/v1/%2F/ack", &json!({"tokens": [first[0]["ack_token"]]})).ok()["settled"], 1);
    let again = poll(&http, "q", "wait=20");
    assert_eq!((payloads(&again), &again[0]["redelivered"]), (vec!["b"], &json!(true)));
    let late = http.post("/v1/%2F/ack", &json!({"tokens": [first[1]["ack_token"]]})).ok();
    assert_eq!(late["settled"], 0);
}

/// Tokens are of no use to others.
#[test]
fn a_user_needs_permissions_and_no_tag() {
    let broker = Broker::start();
    let guest = Http::guest(broker.http());
    declare(&guest, "q");
    guest.put("/api/users/u", &json!({"password": "p", "tags": ""})).is(201);
    let u = guest.r#as("u", "p");
    publish(&u, "q", b"x").refuses(401, "not_authorised", "User not authorised to access virtual host");
    guest.put("/api/permissions/%2F/u", &json!({"configure": "", "write": ".*", "read": ""})).is(201);
    publish(&u, "q", b"x").is(201);
    u.get("/v1/%2F/queues/q/messages").is(401);
    u.get("/api/whoami").is(401);
    let got = poll(&guest, "q", "");
    assert_eq!(u.post("/v1/%2F/ack", &json!({"tokens": tokens(&got)})).ok()["settled"], 0);
    assert_eq!(guest.post("/v1/%2F/ack", &json!({"tokens": tokens(&got)})).ok()["settled"], 1);
    Http::nobody(broker.http()).get("/v1/%2F/queues/q/messages").is(401);
    guest.get("/v1/%2F/queues/none/messages").refuses(404, "not_found", "NOT_FOUND - no queue 'none' in vhost '/'");
    for wrong in ["count=0", "count=1001", "wait=61", "wait=x", "ack=maybe"] {
        guest.get(&format!("/v1/%2F/queues/q/messages?{wrong}")).is(400);
    }
}

/// The next event of a stream: its lines.
fn event(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Vec<String> {
    lines
        .map(|line| line.expect("a line"))
        .skip_while(|line| !line.starts_with("id:") && !line.starts_with("event:"))
        .take_while(|line| !line.is_empty())
        .collect()
}

fn data(event: &[String]) -> Json {
    let data = event.iter().find_map(|line| line.strip_prefix("data: ")).expect("data");
    serde_json::from_str(data).expect("JSON")
}

#[test]
fn events_as_they_come() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    declare(&http, "q");
    let stream = http.open("/v1/%2F/queues/q/events?prefetch=2");
    let mut lines = BufReader::new(stream).lines();
    for body in [b"1", b"2", b"3"] {
        publish(&http, "q", body).is(201);
    }
    let (first, second) = (event(&mut lines), event(&mut lines));
    assert_eq!((&data(&first)["payload"], &data(&second)["payload"]), (&json!("1"), &json!("2")));
    // The third comes when one of them is settled.
    http.post("/v1/%2F/ack", &json!({"tokens": [data(&first)["ack_token"]]})).ok();
    assert_eq!(data(&event(&mut lines))["payload"], "3");
    drop(lines);
    super::support::eventually("what is unacknowledged is back", || (ready(&http, "q") == 2).then_some(()));
    let stream = http.open("/v1/%2F/queues/q/events?ack=auto");
    let mut lines = BufReader::new(stream).lines();
    assert_eq!(data(&event(&mut lines))["payload"], "2");
    http.delete("/api/queues/%2F/q").is(204);
    let ends = std::iter::from_fn(|| Some(event(&mut lines))).take(3).any(|event| event.iter().any(|line| line == "event: cancelled"));
    assert!(ends, "the client is told that its queue is gone");
}

#[test]
fn a_publish_that_was_answered_survives() {
    let home = Home::new();
    let broker = home.start();
    let http = Http::guest(broker.http());
    declare(&http, "q");
    publish(&http, "q", b"m").is(201);
    broker.end(End::Killed);
    let broker = home.start();
    assert_eq!(payloads(&poll(&Http::guest(broker.http()), "q", "")), ["m"]);
}
