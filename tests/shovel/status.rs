//! /api/shovels: what it says, and to whom.

use serde_json::{Value as Json, json};

use super::http::{Answer, Http};
use super::support::broker::Broker;
use super::two::{Two, durable, fill, talk};

fn user(http: &Http, tag: &str, vhost: &str) -> Http {
    http.put(&format!("/api/users/{tag}"), &json!({"password": "p", "tags": tag})).is(201);
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    http.put(&format!("/api/permissions/{vhost}/{tag}"), &all).is(201);
    http.r#as(tag, "p")
}

#[tokio::test]
async fn one_that_runs() {
    let two = Two::start();
    let (from, filling) = talk(&two.source).await;
    durable(&from, "q").await;
    fill(&filling, "", "q", 0..5).await;
    two.shovel("s", json!({"src-queue": "q", "dest-exchange": "amq.fanout", "dest-exchange-key": "k", "src-delete-after": 9}));
    let mut row = two.until("s", "has moved all", |row| row["forwarded"] == 5 && row["pending"] == 0);
    let timestamp = row.as_object_mut().expect("an object").remove("timestamp").expect("a time");
    assert!(timestamp.as_str().is_some_and(|text| text.starts_with("20") && text.matches(':').count() == 2), "{timestamp}");
    let expected = json!({
        "node": "leveret@localhost", "name": "s", "vhost": "/", "type": "dynamic", "state": "running", "blocked_status": "running",
        "src_uri": format!("amqp://{}", two.source.address()), "dest_uri": "amqp://",
        "src_protocol": "amqp091", "dest_protocol": "amqp091",
        "src_queue": "q", "dest_exchange": "amq.fanout", "dest_exchange_key": "k",
        "remaining": 4, "remaining_unacked": 4, "pending": 0, "forwarded": 5,
    });
    assert_eq!(row, expected);
    assert_eq!(two.http.get("/api/shovels?columns=name,state").ok(), json!([{"name": "s", "state": "running"}]));
    // At once after it was defined it is there, whatever it has come to.
    two.shovel("t", json!({"src-queue": "q", "dest-queue": "r"}));
    let row = two.status("t");
    assert_eq!((&row["name"], &row["remaining"], &row["forwarded"]), (&json!("t"), &json!("unlimited"), &json!(0)));
}

#[test]
fn one_that_is_restarted_and_deleted() {
    let two = Two::start();
    let path = "/api/shovels/vhost/%2F/s";
    two.http.delete(&format!("{path}/restart")).refuses(404, "Object Not Found", "Not Found");
    two.http.get(path).is(404);
    let refused = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    two.shovel("s", json!({"src-uri": format!("amqp://{refused}"), "src-queue": "q", "reconnect-delay": 3600}));
    let failed = two.until("s", "fails", |row| row["state"] == "terminated");
    assert!(failed["reason"].as_str().is_some_and(|reason| reason.starts_with(&format!("source: amqp://{refused}: "))), "{failed}");
    let listener = std::net::TcpListener::bind(refused).expect("the port is still free");
    // It would have tried again in an hour.
    two.http.delete(&format!("{path}/restart")).is(204);
    listener.accept().expect("it tries again");
    two.http.post(&format!("{path}/restart"), &json!({})).is(204);
    listener.accept().expect("and again");
    let shown = two.http.get(path).ok();
    assert_eq!((&shown["component"], &shown["name"], &shown["value"]["src-queue"]), (&json!("shovel"), &json!("s"), &json!("q")));
    two.http.delete(path).is(204);
    two.until_gone("s");
    two.http.delete(path).is(204);
    two.http.delete("/api/shovels/vhost/nowhere/s").is(404);
}

#[test]
fn who_may() {
    let broker = Broker::with_config("shovel.static.src-uri = amqp://\nshovel.static.src-queue = q\nshovel.static.dest-uri = amqp://\n");
    let http = Http::guest(broker.http());
    http.put("/api/vhosts/v", &json!({})).is(201);
    let value = json!({"src-uri": "amqp://u:secret@127.0.0.1:1/x", "dest-uri": ["amqp://u:secret@h"], "src-queue": "q"});
    for vhost in ["v", "%2F"] {
        http.put(&format!("/api/parameters/shovel/{vhost}/s"), &json!({"value": value})).is(201);
    }
    let refused = |answer: Answer| answer.refuses(401, "not_authorised", "Not monitor user");
    let policymaker = user(&http, "policymaker", "v");
    for path in ["/api/shovels", "/api/shovels/v", "/api/shovels/vhost/v/s"] {
        refused(policymaker.get(path));
    }
    refused(policymaker.delete("/api/shovels/vhost/v/s"));
    refused(policymaker.delete("/api/shovels/vhost/v/s/restart"));
    let monitor = user(&http, "monitoring", "v");
    let names = |answer: &Json| -> Vec<(Json, Json)> {
        let rows = answer.as_array().expect("a list").iter();
        rows.map(|row| (row["name"].clone(), row["vhost"].clone())).collect()
    };
    assert_eq!(names(&monitor.get("/api/shovels").ok()), [(json!("s"), json!("v"))], "of its own virtual hosts");
    let all = names(&http.get("/api/shovels").ok());
    assert_eq!(all, [(json!("static"), Json::Null), (json!("s"), json!("/")), (json!("s"), json!("v"))]);
    let seen = monitor.get("/api/shovels/vhost/v/s").ok();
    assert_eq!((&seen["value"]["src-uri"], &seen["value"]["dest-uri"]), (&json!("amqp://127.0.0.1:1/x"), &json!(["amqp://h:5672"])));
    assert_eq!(http.get("/api/shovels/vhost/v/s").ok()["value"], value);
    monitor.delete("/api/shovels/vhost/%2F/s").is(401);
    assert!(!http.get("/api/shovels").text().contains("secret"));
}
