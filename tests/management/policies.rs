//! Policies and operator policies over HTTP: what is refused, who may, and what queues make of them at once.

use serde_json::{Value as Json, json};

use super::http::Http;
use super::support::broker::{Broker, End, Home};
use super::support::client::{confirming, connect, declare, publish, ready};

/// A user of one virtual host with a tag.
pub(super) fn user(http: &Http, tag: &str, vhost: &str) -> Http {
    http.put(&format!("/api/users/{tag}"), &json!({"password": "p", "tags": tag})).is(201);
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    http.put(&format!("/api/permissions/{vhost}/{tag}"), &all).is(201);
    http.r#as(tag, "p")
}

#[test]
fn policies_come_and_go() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    assert_eq!(http.get("/api/policies").ok(), json!([]));
    http.put("/api/policies/%2F/p", &json!({"pattern": "^a", "definition": {"max-length": 3}})).is(201);
    let expected = json!({"vhost": "/", "name": "p", "pattern": "^a", "apply-to": "all", "definition": {"max-length": 3}, "priority": 0});
    assert_eq!(http.get("/api/policies/%2F/p").ok(), expected);
    let other = json!({"pattern": "^a", "definition": {"max-length": 4}, "priority": 2, "apply-to": "queues"});
    http.put("/api/policies/%2F/p", &other).is(204);
    let expected =
        json!({"vhost": "/", "name": "p", "pattern": "^a", "apply-to": "queues", "definition": {"max-length": 4}, "priority": 2});
    for path in ["/api/policies", "/api/policies/%2F"] {
        assert_eq!(http.get(path).ok(), json!([expected]));
    }
    assert_eq!(http.get("/api/policies?page=1&columns=name").ok()["items"], json!([{"name": "p"}]));
    assert_eq!(http.get("/api/operator-policies").ok(), json!([]));
    http.get("/api/policies/nothing").refuses(404, "Object Not Found", "Not Found");
    http.get("/api/policies/%2F/nothing").refuses(404, "Object Not Found", "Not Found");
    http.delete("/api/policies/%2F/p").is(204);
    http.delete("/api/policies/%2F/p").refuses(404, "Object Not Found", "Not Found");
}

/// The texts are RabbitMQ's.
#[test]
fn what_is_no_policy() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let bad = |body: &Json, reason: &str| http.put("/api/policies/%2F/p", body).refuses(400, "bad_request", reason);
    bad(&json!({}), "[{key_missing,pattern},{key_missing,definition}]");
    bad(&json!({"definition": {"max-length": 3}}), "[{key_missing,pattern}]");
    bad(
        &json!({"pattern": "^a", "definition": {"k": 3}}),
        "Validation failed\n\n[{&lt;&lt;\"k\"&gt;&gt;,3}] are not recognised policy settings\n",
    );
    bad(
        &json!({"pattern": "^a", "definition": {"max-length": "3"}}),
        "Validation failed\n\n&lt;&lt;\"3\"&gt;&gt; is not a valid maximum length\n",
    );
    bad(&json!({"pattern": "^a", "definition": {}}), "Validation failed\n\nno policy provided\n");
    bad(
        &json!({"pattern": "^a", "definition": {"max-length": 3}, "priority": "high"}),
        "Validation failed\n\npriority should be a number, actually was &lt;&lt;\"high\"&gt;&gt;\n",
    );
    http.request("PUT", "/api/policies/%2F/p", "[]").refuses(400, "bad_request", "not_json");
    let right = json!({"pattern": "^a", "definition": {"max-length": 3}});
    http.put("/api/policies/nothing/p", &right).refuses(404, "not_found", "vhost_not_found");
    http.put("/api/operator-policies/nothing/p", &right).refuses(404, "not_found", "vhost_not_found");
    let not_for_operators = json!({"pattern": "^a", "definition": {"dead-letter-exchange": "x"}});
    let reason = "Validation failed\n\n[{<<\"dead-letter-exchange\">>,<<\"x\">>}] are not recognised policy settings\n";
    http.put("/api/operator-policies/%2F/o", &not_for_operators).refuses(400, "bad_request", reason);
    assert_eq!(http.get("/api/policies").ok(), json!([]));
    http.request("POST", "/api/policies/%2F/p", "{}").is(405);
}

#[test]
fn who_may() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/vhosts/v", &json!({})).is(201);
    let policy = json!({"pattern": "^a", "definition": {"max-length": 3}});
    for path in ["/api/policies/v/p", "/api/operator-policies/v/o", "/api/policies/%2F/other"] {
        http.put(path, &policy).is(201);
    }
    let no_object = |answer: super::http::Answer| answer.refuses(401, "not_authorised", "User not authorised to access object");
    let no_vhost = |answer: super::http::Answer| answer.refuses(401, "not_authorised", "User not authorised to access virtual host");
    for tag in ["management", "monitoring", "policymaker"] {
        let user = user(&http, tag, "v");
        for path in ["/api/policies", "/api/policies/v"] {
            let names: Vec<Json> = user.get(path).ok().as_array().expect("a list").iter().map(|row| row["name"].clone()).collect();
            assert_eq!(names, ["p"], "{tag} {path}");
        }
        assert_eq!(user.get("/api/operator-policies/v").ok().as_array().expect("a list").len(), 1);
        no_vhost(user.get("/api/policies/%2F"));
        no_vhost(user.get("/api/operator-policies/%2F"));
        no_object(user.put("/api/policies/%2F/p", &policy));
        no_object(user.delete("/api/policies/%2F/other"));
        for answer in [user.get("/api/operator-policies/v/o"), user.put("/api/operator-policies/v/o", &policy)] {
            answer.refuses(401, "not_authorised", "Not administrator user");
        }
        if tag == "policymaker" {
            user.put("/api/policies/v/q", &policy).is(201);
            user.get("/api/policies/v/q").ok();
            user.delete("/api/policies/v/q").is(204);
        } else {
            no_object(user.get("/api/policies/v/p"));
            no_object(user.put("/api/policies/v/p", &policy));
            no_object(user.delete("/api/policies/v/p"));
        }
    }
    http.delete("/api/operator-policies/v/o").is(204);
    http.delete("/api/operator-policies/v/o").is(404);
}

/// What has been answered holds for the next message, and after a crash.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn policies_apply_at_once_and_survive() {
    let home = Home::new();
    let broker = home.start();
    let http = Http::guest(broker.http());
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    for body in ["a", "b", "c"] {
        publish(&channel, "", "q", body.as_bytes()).await;
    }
    http.put("/api/policies/%2F/p", &json!({"pattern": "^q", "definition": {"max-length": 2}})).is(201);
    assert_eq!(ready(&channel, "q").await, 2);
    http.put("/api/operator-policies/%2F/o", &json!({"pattern": "^q", "definition": {"max-length": 1}})).is(201);
    assert_eq!(ready(&channel, "q").await, 1);
    http.delete("/api/policies/%2F/p").is(204);
    broker.end(End::Killed);
    let broker = home.start();
    let http = Http::guest(broker.http());
    assert_eq!(http.get("/api/policies").ok(), json!([]));
    assert_eq!(http.get("/api/operator-policies/%2F/o").ok()["definition"], json!({"max-length": 1}));
}
