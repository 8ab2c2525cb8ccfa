//! Users, permissions, limits: over HTTP, and what AMQP clients notice of it.

use serde_json::json;

use super::http::Http;
use super::support::broker::{Broker, End, Home};

#[test]
fn users_come_and_go() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    assert_eq!(http.get("/api/whoami").ok(), json!({"name": "guest", "tags": ["administrator"], "is_internal_user": true}));
    http.put("/api/users/u", &json!({"password": "p", "tags": "management,custom"})).is(201);
    http.put("/api/users/u", &json!({"password": "q", "tags": ["management"]})).is(204);
    let user = http.get("/api/users/u").ok();
    assert_eq!((&user["name"], &user["tags"], &user["limits"]), (&json!("u"), &json!(["management"]), &json!({})));
    assert_eq!(user["hashing_algorithm"], "rabbit_password_hashing_sha256");
    let names = |users: serde_json::Value| users.as_array().expect("a list").iter().map(|u| u["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(http.get("/api/users").ok()), ["guest", "u"]);
    assert_eq!(names(http.get("/api/users/without-permissions").ok()), ["u"]);
    let (old, new) = (http.r#as("u", "p"), http.r#as("u", "q"));
    old.get("/api/whoami").refuses(401, "not_authorized", "Not_Authorized");
    assert_eq!(new.get("/api/whoami").ok()["name"], "u");
    new.get("/api/users").refuses(401, "not_authorised", "Not administrator user");
    http.delete("/api/users/u").is(204);
    http.delete("/api/users/u").refuses(404, "Object Not Found", "Not Found");
    new.get("/api/whoami").is(401);
}

#[test]
fn what_is_no_user() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/users/u", &json!({"password": "p"})).refuses(400, "bad_request", "tags_not_present");
    let both = json!({"password": "p", "password_hash": "x", "tags": ""});
    http.put("/api/users/u", &both).refuses(400, "bad_request", "both_password_and_password_hash_are_provided");
    http.request("PUT", "/api/users/u", "{").refuses(400, "bad_request", "not_json");
    http.get("/api/users/u").is(404);
    http.put("/api/permissions/%2F/guest", &json!({"configure": ""})).refuses(
        400,
        "bad_request",
        "[{key_missing,write},{key_missing,read}]",
    );
    let none = json!({"configure": "", "write": "", "read": ""});
    http.put("/api/permissions/%2F/nobody", &none).refuses(400, "bad_request", "vhost_or_user_not_found");
}

#[test]
fn hashes_that_rabbitmq_made_let_their_users_in() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
    http.put("/api/users/u", &json!({"password_hash": hash, "tags": "monitoring"})).is(201);
    assert_eq!(http.r#as("u", "test12").get("/api/whoami").ok()["tags"], json!(["monitoring"]));
    assert_eq!(http.get("/api/users/u").ok()["password_hash"], hash);
}

#[test]
fn limits_of_users() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    assert_eq!(http.get("/api/user-limits").ok(), json!([]));
    http.put("/api/user-limits/guest/max-connections", &json!({"value": 7})).is(204);
    assert_eq!(http.get("/api/user-limits/guest").ok(), json!([{"user": "guest", "value": {"max-connections": 7}}]));
    http.put("/api/user-limits/guest/max-nothing", &json!({"value": 7})).is(400);
    http.put("/api/user-limits/nobody/max-channels", &json!({"value": 7})).is(404);
    http.delete("/api/user-limits/guest/max-connections").is(204);
    assert_eq!(http.get("/api/user-limits").ok(), json!([]));
}

/// What is changed over HTTP is there after a crash.
#[test]
fn users_and_permissions_survive() {
    let home = Home::new();
    let broker = home.start();
    let http = Http::guest(broker.http());
    http.put("/api/users/u", &json!({"password": "p", "tags": "management"})).is(201);
    http.put("/api/permissions/%2F/u", &json!({"configure": "^a", "write": "", "read": ".*"})).is(201);
    let topic = json!({"exchange": "amq.topic", "write": "^w", "read": "^r"});
    http.put("/api/topic-permissions/%2F/u", &topic).is(201);
    http.delete("/api/users/guest").is(204);
    broker.end(End::Killed);
    let broker = home.start();
    Http::guest(broker.http()).get("/api/whoami").is(401);
    let u = Http::new(broker.http(), "u", "p");
    assert_eq!(u.get("/api/whoami").ok()["name"], "u");
    let node = std::fs::read_to_string(home.data().join("node.json")).expect("a file");
    assert!(!node.contains("\"p\""), "passwords are not written down");
}
