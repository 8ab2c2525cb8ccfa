//! Virtual hosts that come and go, their limits, and what clients notice.

use serde_json::json;

use super::amqp;
use super::http::Http;
use super::support::broker::{Broker, End, Home};

#[test]
fn virtual_hosts_come_and_go() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/vhosts/v", &json!({"description": "d", "tags": "a,b", "default_queue_type": "quorum"})).is(201);
    http.put("/api/vhosts/v", &json!({})).is(204);
    let vhost = http.get("/api/vhosts/v").ok();
    assert_eq!((&vhost["description"], &vhost["tags"], &vhost["default_queue_type"]), (&json!("d"), &json!(["a", "b"]), &json!("quorum")));
    assert_eq!((&vhost["messages"], &vhost["tracing"]), (&json!(0), &json!(false)));
    http.put("/api/vhosts/w", &json!({"default_queue_type": "nope"})).is(400);
    let names = http.get("/api/vhosts?columns=name").ok();
    assert_eq!(names, json!([{"name": "/"}, {"name": "v"}]));
    http.post("/api/vhosts/v/deletion/protection", &json!({})).is(204);
    http.delete("/api/vhosts/v").is(412);
    http.delete("/api/vhosts/v/deletion/protection").is(204);
    http.delete("/api/vhosts/v").is(204);
    http.delete("/api/vhosts/v").is(404);
    http.get("/api/vhosts/v").is(404);
}

#[test]
fn limits_of_virtual_hosts() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/vhost-limits/%2F/max-queues", &json!({"value": 1})).is(204);
    assert_eq!(http.get("/api/vhost-limits").ok(), json!([{"vhost": "/", "value": {"max-queues": 1}}]));
    http.put("/api/queues/%2F/a", &json!({})).is(201);
    let reason = "cannot declare queue 'b': queue limit in vhost '/' (1) is reached";
    http.put("/api/queues/%2F/b", &json!({})).refuses(400, "bad_request", reason);
    http.delete("/api/vhost-limits/%2F/max-queues").is(204);
    http.put("/api/queues/%2F/b", &json!({})).is(201);
}

/// Who is in a virtual host when it is deleted is sent away, and what was in it does not come back with its name, also after a
/// crash.
#[tokio::test]
async fn a_deleted_virtual_host_is_gone() {
    let home = Home::new();
    let broker = home.start();
    let http = Http::guest(broker.http());
    http.put("/api/vhosts/v", &json!({})).is(201);
    http.put("/api/queues/v/q", &json!({"durable": true})).is(201);
    let connection = amqp::connect(broker.address(), "guest", "v").await.expect("connected");
    http.delete("/api/vhosts/v").is(204);
    let why = amqp::closed(&connection).await;
    assert!(why.contains("CONNECTION_FORCED - vhost 'v' is deleted"), "{why}");
    broker.end(End::Killed);
    let broker = home.start();
    let http = Http::guest(broker.http());
    assert_eq!(http.get("/api/vhosts?columns=name").ok(), json!([{"name": "/"}]));
    http.put("/api/vhosts/v", &json!({})).is(201);
    http.delete("/api/queues/v/q").is(404);
}

#[tokio::test]
async fn a_deleted_user_is_sent_away() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/users/u", &json!({"password": "guest", "tags": ""})).is(201);
    http.put("/api/permissions/%2F/u", &json!({"configure": ".*", "write": ".*", "read": ".*"})).is(201);
    let connection = amqp::connect(broker.address(), "u", "/").await.expect("connected");
    http.delete("/api/users/u").is(204);
    let why = amqp::closed(&connection).await;
    assert!(why.contains("CONNECTION_FORCED - user 'u' is deleted"), "{why}");
}

#[tokio::test]
async fn connections_are_counted_by_user_and_by_virtual_host() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/user-limits/guest/max-connections", &json!({"value": 1})).is(204);
    let first = amqp::connect(broker.address(), "guest", "/").await.expect("connected");
    let why = amqp::connect(broker.address(), "guest", "/").await.expect_err("one is the most").to_string();
    assert!(why.contains("user connection limit (1) is reached"), "{why}");
    http.delete("/api/user-limits/guest/max-connections").is(204);
    http.put("/api/vhost-limits/%2F/max-connections", &json!({"value": 1})).is(204);
    let why = amqp::connect(broker.address(), "guest", "/").await.expect_err("one is the most").to_string();
    assert!(why.contains("access to vhost '/' refused for user 'guest'"), "{why}");
    first.close().await.expect("closed");
    http.delete("/api/vhost-limits/%2F/max-connections").is(204);
    amqp::connect(broker.address(), "guest", "/").await.expect("connected");
    http.put("/api/permissions/%2F/guest", &json!({"configure": "", "write": "", "read": ""})).is(204);
    http.delete("/api/permissions/%2F/guest").is(204);
    let why = amqp::connect(broker.address(), "guest", "/").await.expect_err("not permitted").to_string();
    assert!(why.contains("access to vhost '/' refused for user 'guest'"), "{why}");
}

/// `vhost_max`: no more than so many, and those that are there stay when it is lowered.
#[test]
fn there_may_be_so_many_virtual_hosts() {
    let home = Home::with_config("vhost_max = 2\n");
    let broker = home.start();
    let http = Http::guest(broker.http());
    http.put("/api/vhosts/v", &json!({})).is(201);
    http.put("/api/vhosts/v", &json!({"description": "d"})).is(204);
    let reason = "cannot create vhost 'w': vhost limit of 2 is reached";
    http.put("/api/vhosts/w", &json!({})).refuses(400, "bad_request", reason);
    http.post("/api/definitions", &json!({"vhosts": [{"name": "w"}]})).is(400);
    broker.end(End::InOrder);
    home.configure("vhost_max = 1\n");
    let broker = home.start();
    let http = Http::guest(broker.http());
    assert_eq!(http.get("/api/vhosts?columns=name").ok(), json!([{"name": "/"}, {"name": "v"}]));
    http.delete("/api/vhosts/v").is(204);
}

#[tokio::test]
async fn a_node_may_have_so_many_channels() {
    let broker = Broker::with_config("channel_max_per_node = 2\n");
    let first = amqp::connect(broker.address(), "guest", "/").await.expect("connected");
    let second = amqp::connect(broker.address(), "guest", "/").await.expect("connected");
    let (_one, _two) = (first.channel().await.expect("a channel"), second.channel().await.expect("a channel"));
    let why = first.channel().await.expect_err("two are the most").to_string();
    assert!(why.contains("number of channels opened on node 'leveret@localhost' has reached the maximum allowed limit of (2)"), "{why}");
}

/// P9: virtual hosts know nothing of each other, and yet.
#[tokio::test]
async fn channels_are_counted_over_all_virtual_hosts() {
    let broker = Broker::with_config("channel_max_per_node = 4\n");
    let http = Http::guest(broker.http());
    http.put("/api/vhosts/v", &json!({})).is(201);
    http.put("/api/users/u", &json!({"password": "guest", "tags": ""})).is(201);
    for vhost in ["%2F", "v"] {
        http.put(&format!("/api/permissions/{vhost}/u"), &json!({"configure": ".*", "write": ".*", "read": ".*"})).is(201);
    }
    let connect = |user: &'static str, vhost: &'static str| amqp::connect(broker.address(), user, vhost);
    let (here, there) = (connect("u", "/").await.expect("connected"), connect("u", "v").await.expect("connected"));
    let kept = here.channel().await.expect("one");
    // The limit comes while there is one.
    http.put("/api/user-limits/u/max-channels", &json!({"value": 2})).is(204);
    let second = there.channel().await.expect("two");
    let why = there.channel().await.expect_err("two are the most").to_string();
    assert!(why.contains("number of channels opened for user 'u' has reached the maximum allowed user limit of (2)"), "{why}");
    drop(second);
    let there = connect("u", "v").await.expect("connected again");
    let second = there.channel().await.expect("that of a connection that is closed does not count");
    kept.close().await.expect("closed");
    let _third = there.channel().await.expect("one in the other virtual host has been closed");
    let mine = connect("guest", "/").await.expect("connected");
    let _two = (mine.channel().await.expect("three of the node"), mine.channel().await.expect("four"));
    let why = mine.channel().await.expect_err("four are the most").to_string();
    assert!(why.contains("number of channels opened on node 'leveret@localhost' has reached the maximum allowed limit of (4)"), "{why}");
    drop(second);
}
