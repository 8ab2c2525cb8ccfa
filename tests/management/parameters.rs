//! Parameters and global parameters over HTTP.

use serde_json::{Value as Json, json};

use super::http::{Answer, Http};
use super::policies::user;
use super::support::broker::{Broker, End, Home};

fn shovel() -> Json {
    json!({"src-uri": "amqp://", "dest-uri": "amqp://u:p@host", "src-queue": "q", "dest-queue": "r"})
}

#[test]
fn parameters_come_and_go_and_survive() {
    let home = Home::new();
    let broker = home.start();
    let http = Http::guest(broker.http());
    let path = "/api/parameters/shovel/%2F/s";
    http.put(path, &json!({"value": shovel()})).is(201);
    http.put(path, &json!({"value": shovel()})).is(204);
    let row = json!({"value": shovel(), "vhost": "/", "component": "shovel", "name": "s"});
    assert_eq!(http.get(path).ok(), row);
    broker.end(End::Killed);
    let broker = home.start();
    let http = Http::guest(broker.http());
    for list in ["/api/parameters", "/api/parameters/shovel", "/api/parameters/shovel/%2F"] {
        assert_eq!(http.get(list).ok(), json!([row]), "{list}");
    }
    assert_eq!(http.get("/api/parameters/nothing").ok(), json!([]));
    http.get("/api/parameters/shovel/nothing").is(404);
    http.get("/api/parameters/shovel/%2F/nothing").refuses(404, "Object Not Found", "Not Found");
    http.delete(path).is(204);
    http.delete(path).refuses(404, "Object Not Found", "Not Found");
}

/// The texts are RabbitMQ's.
#[test]
fn what_is_no_parameter() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let bad = |path: &str, value: Json, reason: &str| {
        http.put(&format!("/api/parameters/{path}"), &json!({"value": value})).refuses(400, "bad_request", reason);
    };
    bad("federation-upstream/%2F/u", json!({"uri": "amqp://"}), "Validation failed\n\ncomponent federation-upstream not found\n");
    bad("policy/%2F/p", json!({}), "policies may not be set using this method");
    bad(
        "shovel/%2F/s",
        json!({}),
        "Validation failed\n\nMust specify 'src-exchange' or 'src-queue'\nKey \"dest-uri\" not found in s\nKey \"src-uri\" not found in s\n",
    );
    let mut unknown = shovel();
    unknown["foo"] = json!("<b>");
    bad(
        "shovel/%2F/s",
        unknown,
        "Validation failed\n\nUnrecognised terms [{&lt;&lt;\"foo\"&gt;&gt;,&lt;&lt;\"&lt;b&gt;\"&gt;&gt;}] in s\n",
    );
    http.put("/api/parameters/shovel/%2F/s", &json!({})).refuses(400, "bad_request", "[{key_missing,value}]");
    http.put("/api/parameters/shovel/nothing/s", &json!({"value": shovel()})).refuses(404, "not_found", "vhost_not_found");
    assert_eq!(http.get("/api/parameters").ok(), json!([]));
}

/// What is kept elsewhere is a parameter all the same.
#[test]
fn limits_and_operator_policies_are_parameters() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let limits = "/api/parameters/vhost-limits/%2F/limits";
    http.put(limits, &json!({"value": {"max-queues": 3}})).is(201);
    http.put(limits, &json!({"value": {"max-queues": 4}})).is(204);
    assert_eq!(http.get("/api/vhost-limits/%2F").ok(), json!([{"vhost": "/", "value": {"max-queues": 4}}]));
    let reason = "Validation failed\n\nmax-queues should be a number, actually was &lt;&lt;\"x\"&gt;&gt;\n";
    http.put(limits, &json!({"value": {"max-queues": "x"}})).refuses(400, "bad_request", reason);
    let policy = json!({"pattern": "^a", "definition": {"max-length": 3}, "priority": 0});
    http.put("/api/parameters/operator_policy/%2F/o", &json!({"value": policy})).is(201);
    assert_eq!(http.get("/api/operator-policies/%2F/o").ok()["pattern"], "^a");
    let names: Vec<Json> = http.get("/api/parameters").ok().as_array().expect("a list").iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, ["limits", "o"]);
    for path in [limits, "/api/parameters/operator_policy/%2F/o"] {
        http.delete(path).is(204);
        http.delete(path).is(404);
    }
    assert_eq!(http.get("/api/vhost-limits").ok(), json!([]));
    assert_eq!(http.get("/api/operator-policies").ok(), json!([]));
}

#[test]
fn global_parameters_come_and_go() {
    let home = Home::new();
    let broker = home.start();
    let http = Http::guest(broker.http());
    http.put("/api/global-parameters/a", &json!({"value": {"x": 1}})).is(201);
    http.put("/api/global-parameters/a", &json!({"value": [1, 2]})).is(204);
    http.put("/api/global-parameters/a", &json!({})).refuses(400, "bad_request", "[{key_missing,value}]");
    broker.end(End::Killed);
    let broker = home.start();
    let http = Http::guest(broker.http());
    assert_eq!(http.get("/api/global-parameters/a").ok(), json!({"value": [1, 2], "name": "a"}));
    assert_eq!(http.get("/api/global-parameters").ok(), json!([{"value": [1, 2], "name": "a"}]));
    http.delete("/api/global-parameters/a").is(204);
    http.delete("/api/global-parameters/a").is(404);
    http.get("/api/global-parameters/a").is(404);
}

#[test]
fn who_may() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/vhosts/v", &json!({})).is(201);
    http.put("/api/parameters/shovel/%2F/other", &json!({"value": shovel()})).is(201);
    let refused = |answer: Answer| answer.refuses(401, "not_authorised", "User not authorised to access object");
    for tag in ["management", "monitoring"] {
        let user = user(&http, tag, "v");
        for path in
            ["/api/parameters", "/api/parameters/shovel", "/api/parameters/shovel/v", "/api/global-parameters", "/api/global-parameters/a"]
        {
            refused(user.get(path));
        }
        refused(user.put("/api/parameters/shovel/v/s", &json!({"value": shovel()})));
        refused(user.put("/api/global-parameters/a", &json!({"value": 1})));
    }
    let policymaker = user(&http, "policymaker", "v");
    // Nobody logs in at the node itself: it has to be a virtual host that is open to who defines the shovel.
    let reason = "Validation failed\n\nuser \"policymaker\" may not connect to vhost \"/\"\n";
    policymaker.put("/api/parameters/shovel/v/s", &json!({"value": shovel()})).refuses(400, "bad_request", reason);
    let mut own = shovel();
    own["src-uri"] = json!("amqp:///v");
    policymaker.put("/api/parameters/shovel/v/s", &json!({"value": own})).is(201);
    policymaker.put("/api/global-parameters/a", &json!({"value": 1})).is(201);
    assert_eq!(policymaker.get("/api/parameters?columns=name").ok(), json!([{"name": "s"}]), "of its own virtual hosts");
    refused(policymaker.get("/api/parameters/shovel/%2F/other"));
    refused(policymaker.delete("/api/parameters/shovel/%2F/other"));
}
