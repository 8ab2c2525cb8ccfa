//! Definitions: what is exported can be imported elsewhere, what RabbitMQ has exported as well, and all of it survives.

use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::AMQPValue;
use lapin::{Channel, ExchangeKind};
use serde_json::{Value as Json, json};

use super::http::Http;
use super::policies::user;
use super::support::broker::{Broker, End, Home};
use super::support::client::{arguments, bind, channel, connect, declare_with, soon, words};

const DURABLE: QueueDeclareOptions =
    QueueDeclareOptions { passive: false, durable: true, exclusive: false, auto_delete: false, nowait: false };

/// Names of what a section has.
fn names(definitions: &Json, section: &str) -> Vec<String> {
    let entries = definitions[section].as_array().unwrap_or_else(|| panic!("no {section}"));
    entries.iter().map(|entry| entry["name"].as_str().unwrap_or_default().to_owned()).collect()
}

fn queue(name: &str) -> Json {
    json!({"name": name, "vhost": "/", "durable": true, "auto_delete": false, "arguments": {}})
}

async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind, entries: &[(&str, AMQPValue)]) {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    soon(channel.exchange_declare(name.into(), kind, options, arguments(entries))).await.expect("an exchange");
}

/// A broker with something of every kind.
async fn fill(broker: &Broker) {
    let http = Http::guest(broker.http());
    http.put("/api/vhosts/v", &json!({"description": "d", "tags": "t", "default_queue_type": "quorum"})).is(201);
    http.put("/api/users/u", &json!({"password": "p", "tags": "monitoring"})).is(201);
    http.put("/api/user-limits/u/max-channels", &json!({"value": 5})).is(204);
    http.put("/api/vhost-limits/v/max-queues", &json!({"value": 50})).is(204);
    http.put("/api/permissions/v/u", &json!({"configure": "", "write": "^w", "read": ".*"})).is(201);
    http.put("/api/topic-permissions/v/u", &json!({"exchange": "amq.topic", "write": "^w", "read": "^r"})).is(201);
    http.put("/api/global-parameters/g", &json!({"value": {"x": [1]}})).is(201);
    // From where nobody is: a shovel that runs would declare its queue.
    let shovel = json!({"src-uri": "amqp://127.0.0.1:1", "dest-uri": "amqp://127.0.0.1:1", "src-queue": "q"});
    http.put("/api/parameters/shovel/v/s", &json!({"value": shovel})).is(201);
    let policy = json!({"pattern": "^q", "definition": {"max-length": 9}, "priority": 3, "apply-to": "queues"});
    http.put("/api/policies/v/p", &policy).is(201);
    http.put("/api/operator-policies/%2F/o", &policy).is(201);
    let queues = json!({"queues": [queue("of v")]});
    http.post("/api/definitions/v", &queues).is(204);
    let connection = connect(broker).await;
    let channel = channel(&connection).await;
    exchange(&channel, "x", ExchangeKind::Topic, &[("alternate-exchange", words("y"))]).await;
    exchange(&channel, "y", ExchangeKind::Custom("x-consistent-hash".into()), &[]).await;
    let all = [("x-max-length", AMQPValue::LongInt(5)), ("x-dead-letter-exchange", words("x")), ("x-overflow", words("reject-publish"))];
    declare_with(&channel, "classic", DURABLE, arguments(&all)).await;
    declare_with(&channel, "quorum", DURABLE, arguments(&[("x-queue-type", words("quorum"))])).await;
    declare_with(&channel, "stream", DURABLE, arguments(&[("x-queue-type", words("stream"))])).await;
    declare_with(&channel, "transient", QueueDeclareOptions::default(), arguments(&[])).await;
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    declare_with(&channel, "exclusive", exclusive, arguments(&[])).await;
    bind(&channel, "classic", "x", "a.#").await;
    bind(&channel, "quorum", "amq.direct", "k").await;
    bind(&channel, "exclusive", "amq.direct", "k").await;
    let headers = arguments(&[("x-match", words("any")), ("n", AMQPValue::LongInt(1))]);
    let bound = channel.queue_bind("classic".into(), "amq.headers".into(), "".into(), Default::default(), headers);
    soon(bound).await.expect("a binding");
    let bound = channel.exchange_bind("y".into(), "x".into(), "b".into(), ExchangeBindOptions::default(), arguments(&[]));
    soon(bound).await.expect("a binding");
    // Its exclusive queue is there while this is exported.
    let exported = http.get("/api/definitions").ok();
    assert_eq!(names(&exported, "queues"), ["classic", "quorum", "stream", "transient", "of v"]);
    let destinations: Vec<_> = exported["bindings"].as_array().expect("a list").iter().map(|b| b["destination"].clone()).collect();
    assert_eq!(destinations, ["quorum", "classic", "y", "classic"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_exported_is_the_same_after_it_was_imported() {
    let full = Broker::start();
    fill(&full).await;
    let exported = Http::guest(full.http()).get("/api/definitions").ok();
    let head = ["rabbitmq_definition_format", "original_cluster_name", "explanation", "product_name"].map(|key| exported[key].clone());
    let cluster = "leveret@localhost";
    assert_eq!(head, ["cluster", cluster, &format!("Definitions of cluster '{cluster}'"), "RabbitMQ"]);
    assert_eq!(exported["rabbit_version"], exported["rabbitmq_version"]);
    let home = Home::new();
    let empty = home.start();
    let http = Http::guest(empty.http());
    http.post("/api/definitions", &exported).is(204);
    // The answer says that all of it is on the disk.
    empty.end(End::Killed);
    let empty = home.start();
    let http = Http::guest(empty.http());
    // Transient queues do not survive, and with them nothing else that is durable.
    let mut expected = exported.clone();
    expected["queues"].as_array_mut().expect("a list").retain(|queue| queue["durable"] == true);
    assert_eq!(http.get("/api/definitions").ok(), expected);
    http.post("/api/all-configuration", &exported).is(204);
    assert_eq!(http.get("/api/all-configuration").ok(), exported, "with the transient queue");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_virtual_host_alone_may_become_another() {
    let broker = Broker::start();
    fill(&broker).await;
    let http = Http::guest(broker.http());
    let exported = http.get("/api/definitions/v").ok();
    let head = ["rabbitmq_definition_format", "original_vhost_name", "description"].map(|key| exported[key].clone());
    assert_eq!(head, ["single_virtual_host", "v", "d"]);
    assert_eq!(exported["metadata"]["default_queue_type"], "quorum");
    assert_eq!(exported["limits"], json!({"max-queues": 50}));
    assert!(exported.get("users").is_none());
    assert_eq!(names(&exported, "queues"), ["of v"]);
    assert_eq!(names(&exported, "policies"), ["p"]);
    assert_eq!(names(&exported, "parameters"), ["limits", "s"]);
    assert!(exported["queues"][0].get("vhost").is_none());
    http.put("/api/vhosts/w", &json!({"description": "d", "tags": "t", "default_queue_type": "quorum"})).is(201);
    http.post("/api/definitions/w", &exported).is(204);
    let sections = |name: &str| {
        let exported = http.get(&format!("/api/definitions/{name}")).ok();
        ["parameters", "policies", "exchanges", "queues", "bindings", "limits"].map(|section| exported[section].clone())
    };
    assert_eq!(sections("w"), sections("v"));
    http.get("/api/definitions/nothing").refuses(400, "bad_request", "vhost_not_found");
    http.post("/api/definitions/nothing", &exported).refuses(404, "not_found", "vhost_not_found");
}

/// Files as RabbitMQ exports them.
#[test]
fn exports_of_rabbitmq_load() {
    for (file, queues, vhosts) in [
        (include_str!("exports/3.6.json"), &["events", "ha.orders"][..], &["/", "shop"][..]),
        (include_str!("exports/3.12.json"), &["classic", "quorum", "stream"], &["/", "v"]),
        (include_str!("exports/4.1.json"), &["dead", "jobs", "plain"], &["/", "kept"]),
    ] {
        let broker = Broker::start();
        let http = Http::guest(broker.http());
        http.request("POST", "/api/definitions", file).is(204);
        // The password of the file's guest is another one.
        http.get("/api/whoami").is(401);
        let http = http.r#as("guest", "test12");
        let exported = http.get("/api/definitions").ok();
        let loaded: Json = serde_json::from_str(file).expect("JSON");
        assert_eq!((names(&exported, "queues"), names(&exported, "vhosts")), (to_owned(queues), to_owned(vhosts)));
        for section in ["exchanges", "bindings"] {
            assert_eq!(sorted(&exported[section]), sorted(&loaded[section]));
        }
        for section in ["policies", "users", "permissions", "global_parameters"] {
            assert_eq!(exported[section].as_array().map(Vec::len), loaded[section].as_array().map(Vec::len), "{section}");
        }
        assert_eq!(exported["policies"], loaded["policies"]);
    }
}

fn to_owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn sorted(entries: &Json) -> Vec<String> {
    let mut entries: Vec<String> = entries.as_array().expect("a list").iter().map(Json::to_string).collect();
    entries.sort();
    entries
}

/// A queue of the type that the file says, where it says none of the virtual host's.
#[test]
fn types_of_queues() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.request("POST", "/api/definitions", include_str!("exports/4.1.json")).is(204);
    let http = http.r#as("guest", "test12");
    let all = [json!({"name": "by default"}), json!({"name": "transient", "durable": false}), json!({"name": "said", "type": "classic"})];
    http.post("/api/definitions/kept", &json!({"queues": all})).is(204);
    let exported = http.get("/api/definitions/kept").ok();
    let types: Vec<_> = exported["queues"].as_array().expect("a list").iter().map(|q| (q["name"].clone(), q["type"].clone())).collect();
    let expected = [
        ("by default", "quorum"),
        ("dead", "quorum"),
        ("jobs", "quorum"),
        ("plain", "classic"),
        ("said", "classic"),
        ("transient", "classic"),
    ];
    assert_eq!(types, expected.map(|(name, kind)| (json!(name), json!(kind))));
}

/// What exists stays as it is, and nothing is lost.
#[test]
fn importing_merges() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.post("/api/definitions", &json!({"queues": [queue("q"), queue("mine")]})).is(204);
    let mut other = queue("q");
    other["arguments"] = json!({"x-max-length": 5});
    let exchange = json!({"name": "amq.direct", "vhost": "/", "type": "fanout"});
    let reserved = json!({"name": "amq.mine", "vhost": "/"});
    http.post(
        "/api/definitions",
        &json!({"queues": [other, reserved], "exchanges": [exchange, {"name": "", "vhost": "/", "type": "direct"}]}),
    )
    .is(204);
    let exported = http.get("/api/definitions").ok();
    assert_eq!(names(&exported, "queues"), ["mine", "q"]);
    assert_eq!(exported["queues"][1]["arguments"], json!({}));
    assert_eq!(exported["exchanges"], json!([]));
    http.post("/api/definitions", &json!({})).is(204);
}

#[test]
fn what_is_refused_is_named_and_what_came_before_is_there() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let bad = |definitions: Json, reason: &str| http.post("/api/definitions", &definitions).refuses(400, "bad_request", reason);
    let mut wrong = queue("wrong");
    wrong["arguments"] = json!({"x-max-length": "many"});
    bad(
        json!({"vhosts": [{"name": "v"}], "queues": [queue("before"), wrong, queue("after")]}),
        "precondition_failed: invalid arg 'x-max-length' for queue 'wrong' in vhost '/': \"expected integer, got longstr\" (//wrong)",
    );
    bad(json!({"bindings": [{"source": "amq.direct", "vhost": "/"}]}), "binding 'amq.direct': key 'destination' is missing");
    let exported = http.get("/api/definitions").ok();
    assert_eq!((names(&exported, "vhosts"), names(&exported, "queues")), (to_owned(&["/", "v"]), to_owned(&["before"])));
    bad(
        json!({"policies": [{"name": "p", "vhost": "/", "pattern": "a", "definition": {"foo": 1}}], "queues": [queue("after")]}),
        "Validation failed\n\n[{&lt;&lt;\"foo\"&gt;&gt;,1}] are not recognised policy settings\n (//p)",
    );
    bad(
        json!({"policies": [{"vhost": "/", "pattern": "a", "definition": {"max-length": 1}}]}),
        "policy in virtual host '/' has undefined name",
    );
    bad(
        json!({"parameters": [{"name": "p", "vhost": "/", "component": "foo", "value": {"foo": 1}}]}),
        "Validation failed\n\ncomponent foo not found\n (//foo/p)",
    );
    bad(json!({"queues": [{"name": "q", "vhost": "w"}]}), "Please create virtual host \"w\" prior to importing definitions.");
    bad(json!({"queues": [{"name": "q"}]}), "Virtual host does not exist and is not specified in definitions file.");
    bad(json!({"queues": 5}), "'queues' is not a list");
    bad(
        json!({"permissions": [{"user": "nobody", "vhost": "/", "configure": "", "write": "", "read": ""}]}),
        "permissions 'nobody': User \"nobody\" does not exist",
    );
    http.put("/api/vhost-limits/v/max-queues", &json!({"value": 1})).is(204);
    http.post("/api/definitions/v", &json!({"queues": [queue("a"), queue("b")]})).refuses(
        400,
        "bad_request",
        "Adding 2 queue(s) to virtual host \"v\" would exceed the limit of 1 queue(s).\n\nThis virtual host currently has 0 queue(s) \
         defined.\n\nImport aborted!",
    );
    assert_eq!(names(&http.get("/api/definitions").ok(), "queues"), ["before"]);
    for body in ["{", "[]", "5"] {
        http.request("POST", "/api/definitions", body).refuses(400, "bad_request", "failed_to_parse_json");
    }
    http.send("POST", "/api/definitions", &[("content-type", "text/plain")], b"{}").is(415);
}

#[test]
fn uploads_of_forms() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let form = |name: &str, redirect: &str| {
        let file = json!({"queues": [queue(name)]});
        let body = format!(
            "--b\r\nContent-Disposition: form-data; name=\"redirect\"\r\n\r\n{redirect}\r\n\
             --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.json\"\r\nContent-Type: application/json\r\n\r\n{file}\r\n--b--\r\n"
        );
        http.send("POST", "/api/definitions", &[("content-type", "multipart/form-data; boundary=b")], body.as_bytes())
    };
    let answer = form("q", "../#/import-succeeded");
    answer.is(303);
    assert_eq!(answer.header("location"), Some("../#/import-succeeded"));
    assert_eq!(names(&http.get("/api/definitions").ok(), "queues"), ["q"]);
    let without_file = b"--b\r\nContent-Disposition: form-data; name=\"redirect\"\r\n\r\nx\r\n--b--\r\n";
    let answer = http.send("POST", "/api/definitions", &[("content-type", "multipart/form-data; boundary=b")], without_file);
    answer.refuses(400, "bad_request", "failed_to_parse_json");
    let kept = http.get("/api/definitions?download=rabbit%40host.json");
    assert_eq!(kept.header("content-disposition"), Some("attachment; filename=rabbit@host.json"));
    assert_eq!(http.get("/api/definitions?download=a%0D%0Ab").header("content-disposition"), None);
}

#[test]
fn for_administrators_only() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    for tag in ["management", "monitoring", "policymaker"] {
        let user = user(&http, tag, "%2F");
        for path in ["/api/definitions", "/api/definitions/%2F", "/api/all-configuration"] {
            user.get(path).refuses(401, "not_authorised", "Not administrator user");
            user.post(path, &json!({})).refuses(401, "not_authorised", "Not administrator user");
        }
    }
}
